#!/usr/bin/env bash
# xonce bench on private PostgreSQL and MariaDB servers.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
for engine in postgres mysql; do other "$engine" "$TOP_SRCDIR/tests/cli/bench.sh" $engine; done
done_testing
