#!/usr/bin/env bash
# Builds the Debian packages from the distributed sources, looks at them with lintian, installs them in a fresh Debian made by debootstrap, uses them there and removes
# them: check-packages.sh SRCDIR BUILDDIR VERSION. Needs root and a Debian mirror; the packages are left in BUILDDIR/packages. Ends with 77 when something is missing.
set -u
src=${1:?} build=${2:?} version=${3:?}
me=check-packages
out=$build/packages
. "$src/packaging/fresh-root.sh"
fresh_needs dpkg-buildpackage:dpkg-dev dh:debhelper lintian:lintian fakeroot:fakeroot
fresh_begin

fresh_packages "$build" "$version"
step lintian "lintian finds no errors" lintian --allow-root --fail-on error --tag-display-limit 0 "$out"/*.changes
cat "$out/lintian.log"
root=$work/root
step debootstrap "a fresh $suite" fresh_root "$root" gcc,g++,libc6-dev,pkg-config,cmake,make
fresh_quiet "$root"
mkdir "$root/packages"
cp "$out"/xonce_*.deb "$out"/libxonce1_*.deb "$out"/libxonce-dev_*.deb "$src/packaging/in-chroot.sh" "$root/packages/"
step chroot "install, use and remove" in_root "$root" bash /packages/in-chroot.sh
sed -n 's/^ok /       /p' "$out/chroot.log"
echo "packages: $out"
