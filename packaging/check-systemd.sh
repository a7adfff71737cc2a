#!/usr/bin/env bash
# The systemd unit under a real systemd: boots a fresh Debian with the packages in a virtual machine, lets in-systemd.sh use the unit there, cuts the power and
# boots it again: check-systemd.sh SRCDIR BUILDDIR VERSION. Takes the packages of `make check-packages` from BUILDDIR/packages when they are of the same sources,
# or builds them. Needs root and a Debian mirror. The machine is emulated, which takes some minutes; XONCE_ACCEL=kvm uses KVM. Logs are left in BUILDDIR/systemd.
# Ends with 77 when something is missing.
set -u
src=${1:?} build=${2:?} version=${3:?}
me=check-systemd
out=$build/systemd
. "$src/packaging/fresh-root.sh"
[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || { echo "$me: is made for a Debian of amd64"; exit 77; }
fresh_needs qemu-system-x86_64:qemu-system-x86 mke2fs:e2fsprogs dpkg-buildpackage:dpkg-dev dh:debhelper fakeroot:fakeroot
fresh_begin

# are the packages that are there of these sources?
same_sources() {
    mkdir "$work/these" "$work/those" && tar -C "$work/these" -xf "$build/xonce-$version.tar.xz" && tar -C "$work/those" -xf "$build/packages/xonce_$version.orig.tar.xz" &&
        diff -r "$work/these" "$work/those"
}
debs=$build/packages
if same_sources >"$out/same.log" 2>&1; then
    echo "        packages: $debs"
else
    debs=$out
    fresh_packages "$build" "$version"
fi

root=$work/root
disk=$work/disk
step debootstrap "a fresh $suite" fresh_root "$root" systemd,systemd-sysv,dbus,libnss-systemd,linux-image-cloud-amd64,initramfs-tools,sqlite3,procps,curl
mkdir -p "$root/check/tests/lib" "$root/check/tests/docs"
cp "$debs/xonce_$version-1_amd64.deb" "$debs/libxonce1_$version-1_amd64.deb" "$src/packaging/in-systemd.sh" "$root/check/"
cp "$src/tests/lib/tap.sh" "$src/tests/lib/servers.sh" "$root/check/tests/lib/"
cp "$src/tests/docs/blocks.sh" "$root/check/tests/docs/"
: >"$root/check/only-here"
cp "$src/docs/installing.md" "$root/check/"
install_all() {
    fresh_quiet "$root"
    in_root "$root" sh -c 'apt-get -q update && apt-get -q install -y --no-install-recommends postgresql /check/*.deb && apt-get clean' || return 1
    rm "$root/usr/sbin/policy-rc.d"
    # another one than usual when a server of this machine has that
    sed -i 's/^port = .*/port = 5432/' "$root"/etc/postgresql/*/main/postgresql.conf || return 1
    printf '%s\n' '[Unit]' 'Description=the check' 'After=multi-user.target' '[Service]' 'Type=exec' 'ExecStart=/bin/bash /check/in-systemd.sh' 'StandardOutput=file:/dev/ttyS1' \
        'StandardError=inherit' '[Install]' 'WantedBy=multi-user.target' >"$root/etc/systemd/system/check.service"
    in_root "$root" systemctl enable check.service
}
step install "installation" install_all
image() { truncate -s 4G "$disk" && PATH=$PATH:/sbin:/usr/sbin mke2fs -q -t ext4 -d "$root" "$disk"; }
step image "its disk" image

qemu=
end_machine() {
    [ -z "$qemu" ] || kill -9 "$qemu" 2>/dev/null
    rm -rf --one-file-system "$work"
}
trap end_machine EXIT
# boot NUMBER: until it is off, or until it asks for the power to be cut; what it says is in $out/NUMBER.result
boot() {
    local result=$out/$1.result until=$((SECONDS + 2400))
    : >"$result"
    qemu-system-x86_64 -accel "${XONCE_ACCEL:-tcg}" -cpu max -m 1024 -smp 1 -nic none -display none -nodefaults -no-reboot -kernel "$root/vmlinuz" -initrd "$root/initrd.img" \
        -append 'root=/dev/vda rw console=ttyS0 quiet panic=-1' -drive "file=$disk,format=raw,if=virtio" -serial "file:$out/$1.console" -serial "file:$result" 2>"$out/$1.qemu" &
    qemu=$!
    while kill -0 $qemu 2>/dev/null; do
        if grep -q '^# cut the power' "$result"; then break; fi
        [ "$SECONDS" -lt $until ] || { echo "$me: the machine does not end: $out/$1.console $result"; return 1; }
        sleep 0.2
    done
    kill -9 $qemu 2>/dev/null
    wait $qemu 2>/dev/null
    qemu=
    tr -d '\r' <"$result" >"$result.txt" && mv "$result.txt" "$result"
    grep -q '^1\.\.[1-9]' "$result" && ! grep -q '^not ok' "$result"
}
for number in 1 2; do
    began=$SECONDS
    boot $number
    status=$?
    printf '%5ds  boot %d: %d results, %d failed\n' $((SECONDS - began)) $number "$(grep -cE '^(not )?ok ' "$out/$number.result")" "$(grep -c '^not ok ' "$out/$number.result")"
    sed -n 's/^ok [0-9]* - /       /p; s/^# figure: /       /p' "$out/$number.result"
    [ $status -eq 0 ] || { grep -A 30 '^not ok ' "$out/$number.result" || tail -n 30 "$out/$number.result" "$out/$number.console" "$out/$number.qemu"; exit 1; }
done
