#!/usr/bin/env bash
# Crash tests of consumers once more, with claims by offset; the longer ones in make check-long only.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
export CLAIM=offset
names="kills paused"
[ -z "${XONCE_LONG:-}" ] || names="kills paused history retry ranges prune"
for name in $names; do
    "$BASH" "$TOP_SRCDIR/tests/interop/rocketmq-$name.sh" >"$T/out" 2>&1
    status=$?
    if grep -q '^1\.\.0 # SKIP' "$T/out"; then
        skip "$(sed -n 's/^1\.\.0 # SKIP //p' "$T/out")" "by offset: $name"
    elif [ $status -eq 0 ] && grep -q '^1\.\.[1-9]' "$T/out"; then
        ok "by offset: $name ($(grep -c '^ok' "$T/out") results)"
    else
        not_ok "by offset: $name" "$(grep -A 4 '^not ok' "$T/out"; tail -n 5 "$T/out")"
    fi
done
done_testing
