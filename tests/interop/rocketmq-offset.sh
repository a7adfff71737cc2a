#!/usr/bin/env bash
# Crash tests of consumers once more, with claims by offset; the longer ones in make check-long only.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
export CLAIM=offset
names="kills paused"
[ -z "${XONCE_LONG:-}" ] || names="kills paused history retry ranges prune"
for name in $names; do other "by offset: $name" "$TOP_SRCDIR/tests/interop/rocketmq-$name.sh"; done
done_testing
