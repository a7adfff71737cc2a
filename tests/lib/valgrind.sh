#!/usr/bin/env bash
# Runs the programs of $VALGRIND_TESTS under valgrind: one TAP line each, failed when memory was misused or lost or a test of the program failed.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
command -v valgrind >/dev/null || skip_all "valgrind is not installed (Debian package valgrind)"
[ -n "${VALGRIND_TESTS:-}" ] || skip_all "nothing to run"
export CK_FORK=no CK_DEFAULT_TIMEOUT=1200
for program in $VALGRIND_TESTS; do
    log=$T/$(basename "$program")
    valgrind -q --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=99 --child-silent-after-fork=yes \
 --log-file="$log.valgrind" "$TOP_BUILDDIR/$program" >"$log.out" 2>&1 </dev/null
    status=$?
    if [ "$status" -eq 0 ] && ! grep -q '^not ok' "$log.out"; then
        ok "$program under valgrind"
    else
        not_ok "$program under valgrind" "exit status $status
$(grep '^not ok' "$log.out" | head -n 20)
$(head -n 60 "$log.valgrind")"
    fi
done
done_testing
