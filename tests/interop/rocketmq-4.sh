#!/usr/bin/env bash
# The tests that matter for an older broker, on RocketMQ 4.9.7; in make check-long only.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
export XONCE_ROCKETMQ=4.9.7
for name in kills java history retry causes transactions; do other "4.9.7: $name" "$TOP_SRCDIR/tests/interop/rocketmq-$name.sh"; done
done_testing
