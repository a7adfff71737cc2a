#!/usr/bin/env bash
# xonce explain on private PostgreSQL and MariaDB servers.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
for engine in postgres mysql; do
    for script in explain place; do other "$engine: $script" "$TOP_SRCDIR/tests/cli/$script.sh" $engine; done
done
done_testing
