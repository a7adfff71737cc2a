#!/usr/bin/env bash
# Builds the Debian packages from the distributed sources, looks at them with lintian, installs them in a fresh Debian made by debootstrap, uses them there and removes
# them: check-packages.sh SRCDIR BUILDDIR VERSION. Needs root and a Debian mirror; the packages are left in BUILDDIR/packages. Ends with 77 when something is missing.
set -u
src=${1:?} build=${2:?} version=${3:?}
out=$build/packages
suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)

missing=
for pair in dpkg-buildpackage:dpkg-dev dh:debhelper lintian:lintian debootstrap:debootstrap fakeroot:fakeroot; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%:*}" >/dev/null 2>&1 || missing+=" ${pair#*:}"
done
[ -z "$missing" ] || { echo "check-packages: missing packages:$missing"; exit 77; }
[ "$(id -u)" -eq 0 ] || { echo "check-packages: root is needed for debootstrap and chroot"; exit 77; }

work=$(mktemp -d "${TMPDIR:-/tmp}/xonce-packages-XXXXXX") || exit 1
root=$work/root
end() {
    umount "$root/proc" 2>/dev/null
    # rather leave a folder behind than remove through a mount
    if grep -q " $root/" /proc/mounts; then echo "check-packages: still mounted, not removed: $work" >&2; else rm -rf --one-file-system "$work"; fi
}
trap end EXIT
trap 'exit 143' INT TERM HUP
# step LOG NAME COMMAND...
step() {
    local log=$out/$1.log name=$2 began=$SECONDS
    shift 2
    if "$@" >"$log" 2>&1 </dev/null; then
        printf '%5ds  %s\n' $((SECONDS - began)) "$name"
    else
        printf '%5ds  %s FAILED: %s\n' $((SECONDS - began)) "$name" "$log"
        tail -n 40 "$log"
        exit 1
    fi
}

rm -rf "$out"
mkdir -p "$out"
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
cp "$build/xonce-$version.tar.xz" "$work/xonce_$version.orig.tar.xz" || exit 1
tar -C "$work" -xf "$work/xonce_$version.orig.tar.xz" || exit 1
: "${DEB_BUILD_OPTIONS=nocheck terse}"
export DEB_BUILD_OPTIONS
step build "build of the packages" env -C "$work/xonce-$version" dpkg-buildpackage -us -uc
mv "$work"/*.deb "$work"/*.dsc "$work"/*.debian.tar.* "$work"/*.orig.tar.* "$work"/*.changes "$work"/*.buildinfo "$out/"
step lintian "lintian finds no errors" lintian --allow-root --fail-on error --tag-display-limit 0 "$out"/*.changes
cat "$out/lintian.log"
step debootstrap "a fresh $suite" debootstrap --variant=minbase --include=gcc,g++,libc6-dev,pkg-config,cmake,make "$suite" "$root"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
mkdir "$root/packages"
cp "$out"/xonce_*.deb "$out"/libxonce1_*.deb "$out"/libxonce-dev_*.deb "$src/packaging/in-chroot.sh" "$root/packages/"
cp /etc/resolv.conf "$root/etc/resolv.conf"
mount -t proc proc "$root/proc" || exit 1
step chroot "install, use and remove" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C DEBIAN_FRONTEND=noninteractive \
    ${http_proxy:+"http_proxy=$http_proxy"} chroot "$root" bash /packages/in-chroot.sh
sed -n 's/^ok /       /p' "$out/chroot.log"
echo "packages: $out"
