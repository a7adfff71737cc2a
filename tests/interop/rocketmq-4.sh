#!/usr/bin/env bash
# The tests that matter for an older broker, on RocketMQ 4.9.7; in make check-long only.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
[ -n "${XONCE_LONG:-}" ] || skip_all "RocketMQ 4.9.7 is tested in make check-long"
export XONCE_ROCKETMQ=4.9.7
for name in kills java history retry causes transactions; do
    "$BASH" "$TOP_SRCDIR/tests/interop/rocketmq-$name.sh" >"$T/out" 2>&1
    status=$?
    if grep -q '^1\.\.0 # SKIP' "$T/out"; then
        skip "$(sed -n 's/^1\.\.0 # SKIP //p' "$T/out")" "4.9.7: $name"
    elif [ $status -eq 0 ] && grep -q '^1\.\.[1-9]' "$T/out"; then
        ok "4.9.7: $name ($(grep -c '^ok' "$T/out") results)"
    else
        not_ok "4.9.7: $name" "$(grep -A 4 '^not ok' "$T/out"; tail -n 5 "$T/out")"
    fi
done
done_testing
