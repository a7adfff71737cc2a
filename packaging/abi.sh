#!/usr/bin/env bash
# The published interface of the library: abi.sh record SRCDIR BUILDDIR writes it down, abi.sh compare SRCDIR BUILDDIR [DUMP] tells how a build differs from what is written down.
# compare ends with 0 the same, 1 it breaks programs that were linked before, 3 it adds to it, 77 it cannot be looked at here (the reason is printed).
set -u
what=${1:?} src=${2:?} build=${3:?}
recorded=${4:-$src/packaging/libxonce.abi}
library=$build/.libs/libxonce.so

cannot() { printf '%s\n' "$1"; exit 77; }
have() { command -v "$1" >/dev/null 2>&1; }
have abidw && have abidiff || cannot "abidw and abidiff are missing (package abigail-tools)"
have objdump || cannot "objdump is missing (package binutils)"
[ -e "$library" ] || cannot "this build has no shared library"
[ "$(uname -m)" = x86_64 ] || cannot "the interface is written down for x86_64"
objdump -h "$library" | grep -q '\.debug_info' || cannot "this build has no debug information (CFLAGS without -g)"
symbols() { objdump -T "$library" | awk '$NF ~ /^xonce_/ && !/\*UND\*/ { print $NF }' | sort -u; }
for function in xonce_tx_postgres xonce_tx_mysql xonce_tx_sqlite; do
    symbols | grep -qx "$function" || cannot "not every engine is built in: there is no $function"
done

# dump FILE: the interface of this build. Types of the database clients are left out: they are not ours.
dump() {
    abidw --drop-private-types --exported-interfaces-only --suppressions "$src/packaging/abi.suppress" --headers-dir "$src/include/xonce" --drop-undefined-syms \
        --no-elf-needed --no-comp-dir-path --no-show-locs --no-corpus-path --type-id-style hash "$library" | sed -E "s|path='(\.\./)*|path='|" >"$1"
    grep -q '^</abi-corpus>' "$1" || { echo "abidw failed" >&2; return 1; }
}
current=$(mktemp) || exit 2
trap 'rm -f "$current"' EXIT
dump "$current" || exit 2

case $what in
record)
    cp "$current" "$recorded" || exit 2
    # each symbol with the version that brought it, which stays
    list=$src/debian/libxonce1.symbols
    version=$(sed -n 's/^#define XONCE_VERSION "\(.*\)"$/\1/p' "$src/include/xonce/xonce.h")
    {
        printf 'libxonce.so.%s libxonce1 #MINVER#\n' "$(objdump -p "$library" | sed -n 's/.*SONAME *libxonce\.so\.//p')"
        symbols | while read -r name; do
            old=$(sed -n "s/^ $name@Base //p" "$list" 2>/dev/null)
            printf ' %s@Base %s\n' "$name" "${old:-$version}"
        done
    } >"$list.tmp" && mv "$list.tmp" "$list"
    ;;
compare)
    # both sides as they were written down: the library itself would be read with more in it
    out=$(abidiff "$recorded" "$current" 2>&1)
    status=$?
    [ -z "$out" ] || printf '%s\n' "$out"
    # words without a difference: it could not read the record
    [ $((status & 3)) -eq 0 ] && { [ $status -ne 0 ] || [ -z "$out" ]; } || exit 2
    [ $((status & 8)) -eq 0 ] || exit 1
    # Without a removed or changed function or variable, what differs was added.
    if [ $((status & 4)) -ne 0 ]; then
        printf '%s\n' "$out" | grep -qE '[1-9][0-9]* (Removed|Changed)' && exit 1
        exit 3
    fi
    ;;
*) echo "abi.sh: record or compare, not $what" >&2; exit 2 ;;
esac
