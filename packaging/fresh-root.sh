# A fresh Debian in a folder, sourced by the checks that need one: what is missing for it, the folder, commands in it, results with their times.
# The caller has set $out, the folder for logs, and $me, its name.
suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)

# fresh_needs PROGRAM:PACKAGE...: ends with 77 when one is missing
fresh_needs() {
    local pair missing=
    for pair in debootstrap:debootstrap unshare:util-linux "$@"; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${pair%:*}" >/dev/null 2>&1 || missing+=" ${pair#*:}"
    done
    [ -z "$missing" ] || { echo "$me: missing packages:$missing"; exit 77; }
    [ "$(id -u)" -eq 0 ] || { echo "$me: root is needed for debootstrap and chroot"; exit 77; }
    unshare --mount --uts --ipc --pid --fork true 2>/dev/null || { echo "$me: namespaces (unshare) are not allowed here"; exit 77; }
}
# Makes $work, which goes at the end with all that is in it.
fresh_begin() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/xonce-fresh-XXXXXX") || exit 1
    trap 'rm -rf --one-file-system "$work"' EXIT
    trap 'exit 143' INT TERM HUP
    rm -rf "$out"
    mkdir -p "$out" || exit 1
    unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
}
# step LOG NAME COMMAND...: runs it and says how long it took; its output is in $out/LOG.log
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
# fresh_root FOLDER [PACKAGES]: the smallest Debian, and these packages
fresh_root() {
    debootstrap --variant=minbase ${2:+"--include=$2"} "$suite" "$1" || return 1
    cp /etc/resolv.conf "$1/etc/resolv.conf" && echo '127.0.0.1 localhost fresh' >"$1/etc/hosts"
}
# in_root FOLDER COMMAND...: as root in it; mounts and whatever it leaves running end with it. The network is the machine's.
in_root() {
    local root=$1
    shift
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive ${http_proxy:+"http_proxy=$http_proxy"} \
        unshare --mount --uts --ipc --pid --fork --kill-child sh -c 'root=$1; shift
            hostname fresh && mount -t proc proc "$root/proc" && mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm" && mount -t tmpfs -o mode=755 tmpfs "$root/run" &&
                mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts" && exec chroot "$root" "$@"' \
        in_root "$root" "$@"
}
# fresh_packages BUILDDIR VERSION: the Debian packages from the archive of `make dist`, into $out
fresh_packages() {
    local archive=$1/xonce-$2.tar.xz
    cp "$archive" "$work/xonce_$2.orig.tar.xz" && tar -C "$work" -xf "$archive" || exit 1
    : "${DEB_BUILD_OPTIONS=nocheck terse}"
    export DEB_BUILD_OPTIONS
    step build "build of the packages" env -C "$work/xonce-$2" dpkg-buildpackage -us -uc
    mv "$work"/*.deb "$work"/*.dsc "$work"/*.debian.tar.* "$work"/*.orig.tar.* "$work"/*.changes "$work"/*.buildinfo "$out/"
}
# fresh_quiet ROOT: what is installed there from now on is not started by its installation
fresh_quiet() {
    printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
    chmod +x "$1/usr/sbin/policy-rc.d"
}
