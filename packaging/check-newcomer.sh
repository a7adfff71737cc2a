#!/usr/bin/env bash
# The newcomer's way, timed: in a fresh Debian with nothing but sudo, a user follows README.md, docs/quickstart.md and docs/installing.md to the letter
# (tests/docs/newcomer.sh): check-newcomer.sh SRCDIR BUILDDIR. Needs root and a Debian mirror; logs are left in BUILDDIR/newcomer. Ends with 77 when something is missing.
set -u
src=${1:?} build=${2:?}
me=check-newcomer
out=$build/newcomer
. "$src/packaging/fresh-root.sh"
fresh_needs git:git
# the root has the machine's network, and the page's PostgreSQL the usual port
! (exec 3<>/dev/tcp/127.0.0.1/5432) 2>/dev/null || { echo "$me: port 5432 of this machine is in use: stop that server"; exit 77; }
fresh_begin

# what a clone would have: everything but what git ignores
tree() {
    if [ -e "$src/.git" ]; then
        (cd "$src" && git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -T - -cf -)
    else
        tar -C "$src" --exclude='./build*' -cf - .
    fi
}
# machine NAME: a copy of the fresh Debian with a user who may use sudo, has the tree and says yes to apt-get
machine() {
    local root=$work/$1 home=$work/$1/home/newcomer
    cp -a "$work/base" "$root" && in_root "$root" useradd -m -s /bin/bash newcomer && mkdir "$home/xonce" && tree | tar -C "$home/xonce" -xf - || return 1
    echo 'newcomer ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/newcomer"
    echo 'APT::Get::Assume-Yes "true";' >"$root/etc/apt/apt.conf.d/yes"
    # in place of an init system, which would start the servers that are installed
    printf '#!/bin/sh\nexit 0\n' >"$root/usr/sbin/policy-rc.d" && chmod +x "$root/usr/sbin/policy-rc.d"
    in_root "$root" sh -c 'chown -R newcomer: ~newcomer'
}
# newcomer NAME: what tests/docs/newcomer.sh NAME does there, as that user
newcomer() { in_root "$work/$1" su - newcomer -c "cd xonce && ${NEWCOMER_CHECK:+NEWCOMER_CHECK=1} bash tests/docs/newcomer.sh $1"; }

echo "load of this machine: $(cut -d' ' -f1-3 /proc/loadavg), $(nproc) processors"
step debootstrap "a fresh $suite" fresh_root "$work/base" sudo
for way in ${NEWCOMER_WAYS:-source packages}; do
    step "machine-$way" "a machine for the way from $way" machine "$way"
    began=$SECONDS
    newcomer "$way" >"$out/$way.log" 2>&1 </dev/null
    status=$?
    printf '%5ds  the way from %s: %d results, %d failed\n' $((SECONDS - began)) "$way" "$(grep -cE '^(not )?ok ' "$out/$way.log")" "$(grep -c '^not ok ' "$out/$way.log")"
    sed -n 's/^# time: /       /p' "$out/$way.log"
    [ $status -eq 0 ] || { grep -A 30 '^not ok ' "$out/$way.log" || tail -n 40 "$out/$way.log"; exit 1; }
done
echo "load of this machine: $(cut -d' ' -f1-3 /proc/loadavg); logs: $out"
