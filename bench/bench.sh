#!/usr/bin/env bash
# make bench: what exactly once costs on SQLite and on private PostgreSQL and MariaDB servers; prints tables and writes bench.json, one line a measurement. About five minutes.
# BENCH_ARGS goes to bench/bench (see there): BENCH_ARGS="--only rtt --engine postgresql" for a part, BENCH_ARGS="--rows 0,1000000,10000000" for large tables (hours on slow disks, 10 GB).
# BENCH_FSYNC_US: syncs take so much longer than on this machine's disk, as on a network disk.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tests/lib/servers.sh"
: "${BENCH_PROGRAM:=./bench/bench}" "${BENCH_PROXY:=./tests/lib/proxy}" "${BENCH_OUT:=.}" "${BENCH_ARGS:=}" "${BENCH_FSYNC_US:=0}"
BENCH_COMMIT=$(git -C "$here" rev-parse --short HEAD 2>/dev/null)
export BENCH_PROGRAM BENCH_PROXY BENCH_OUT BENCH_ARGS BENCH_COMMIT
if [ -z "${XONCE_SERVERS_DIR:-}" ]; then
    if [ "$BENCH_FSYNC_US" != 0 ]; then
        T=$(mktemp -d) && chmod 755 "$T" || exit 1
        trap 'rm -rf "$T"' EXIT
        ${CC:-cc} -D_GNU_SOURCE -O2 -shared -fPIC -o "$T/slow-fsync.so" "$here/slow-fsync.c" -ldl || exit 1
        export SLOW_FSYNC_US=$BENCH_FSYNC_US LD_PRELOAD=$T/slow-fsync.so
    fi
    "$BASH" "$here/../tests/lib/with-servers.sh" "$BASH" "$0"
    exit
fi
options=()
for engine in postgres mysql; do
    servers_alive "$engine" && options+=(--server "${engine/%postgres/postgresql}=$(servers_pid "$engine")")
done
# the tests' server has a log of 64 MB, which such loads fill in seconds: it would measure checkpoints
! servers_alive mysql || servers_mysql_root "$(servers_dir mysql)" <<<'SET GLOBAL innodb_log_file_size = 1073741824; SET GLOBAL innodb_buffer_pool_size = 1073741824' || :
# shellcheck disable=SC2086
"$BENCH_PROGRAM" --proxy "$BENCH_PROXY" --json "$BENCH_OUT/bench.json" "${options[@]}" $BENCH_ARGS
