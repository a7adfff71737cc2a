# The published interface is the one that is written down, and a change of it would be noticed.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
tool=$TOP_SRCDIR/packaging/abi.sh
recorded=$TOP_SRCDIR/packaging/libxonce.abi
symbols=$TOP_SRCDIR/debian/libxonce1.symbols

out=$(bash "$tool" compare "$TOP_SRCDIR" "$TOP_BUILDDIR")
status=$?
[ $status -ne 77 ] || skip_all "$out"
how="after a change that was meant: set -version-info in Makefile.am by its rule, then make abi"
[ $status -ne 1 ] || note "this breaks programs that were linked before; $how"
[ $status -ne 3 ] || note "the interface has grown; $how"
is "$status: $out" "0: " "the library has the interface of packaging/libxonce.abi"

# compare with a record that was changed: what is taken from the record was added to the library, and the other way round
compare() { bash "$tool" compare "$TOP_SRCDIR" "$TOP_BUILDDIR" "$T/abi" >"$T/out"; }
awk '/<elf-symbol name=.xonce_version. / { next } /<function-decl name=.xonce_version. / { on = 1 } !on { print } /<\/function-decl>/ { on = 0 }' "$recorded" >"$T/abi"
exits 3 "a new function is noticed" compare
like "$(cat "$T/out")" 'xonce_version' "and named"
sed 's/xonce_version/xonce_vanished/g' "$recorded" >"$T/abi"
exits 1 "a function that is gone is noticed" compare
sed -E "s/(enumerator name='XONCE_E_FENCED' value=')[0-9]+/\1900/" "$recorded" >"$T/abi"
exits 1 "a number that changed is noticed" compare
sed -E "/class-decl name='xonce_counts'/,/<\/class-decl>/s/(layout-offset-in-bits=')64'/\196'/" "$recorded" >"$T/abi"
exits 1 "a field that moved is noticed" compare

${NM:-nm} -D --defined-only "$TOP_BUILDDIR/.libs/libxonce.so" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort >"$T/exported"
sed -n 's/^ \([a-z_0-9]*\)@Base .*/\1/p' "$symbols" | sort >"$T/listed"
is "$(diff "$T/exported" "$T/listed")" "" "debian/libxonce1.symbols lists each function ($(wc -l <"$T/listed"))"
is "$(sed -n '1s/ .*//p' "$symbols")" "$(objdump -p "$TOP_BUILDDIR/.libs/libxonce.so" | awk '$1 == "SONAME" { print $2 }')" "and the library's name"
is "$(sed -n '1s/^xonce (\(.*\)-[^-]*) .*/\1/p' "$TOP_SRCDIR/debian/changelog")" "$(sed -n 's/^#define XONCE_VERSION "\(.*\)"$/\1/p' "$TOP_SRCDIR/include/xonce/xonce.h")" \
    "debian/changelog is of this version"
done_testing
