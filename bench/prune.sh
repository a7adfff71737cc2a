#!/usr/bin/env bash
# make bench-prune: what pruning costs those at work beside it (1 million old records, 15,000 deletions a second), the table's size over ten keep periods, and what 10 million records cost.
# BENCH_PRUNE="beside steady many" selects; BENCH_ROUNDS, BENCH_SECONDS, BENCH_BATCH, BENCH_ROWS. Run by tests/lib/with-servers.sh; the last needs about 8 GB of disk.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tests/lib/servers.sh"
: "${BENCH_PRUNE:=beside steady many}" "${BENCH_PROGRAM:=./bench/prune}" "${BENCH_ROUNDS:=9}" "${BENCH_SECONDS:=2}" "${BENCH_BATCH:=64}" "${BENCH_ROWS:=10000000}"
T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT
servers=() timed=() pairs=()
if [ -n "${XONCE_TEST_POSTGRES_URI:-}" ]; then
    servers+=("$XONCE_TEST_POSTGRES_URI") timed+=("$XONCE_TEST_POSTGRES_URI" --server "$(servers_pid postgres)") pairs+=("$XONCE_TEST_POSTGRES_URI" "${XONCE_TEST_POSTGRES_URI%/*}/many")
    PGPASSWORD=xonce "$(servers_postgres_bin)/psql" -Xq "$XONCE_TEST_POSTGRES_URI" -c 'CREATE DATABASE many' || exit 1
fi
if [ -n "${XONCE_TEST_MYSQL_URI:-}" ]; then
    servers+=("$XONCE_TEST_MYSQL_URI") timed+=("$XONCE_TEST_MYSQL_URI" --server "$(servers_pid mysql)") pairs+=("$XONCE_TEST_MYSQL_URI" "${XONCE_TEST_MYSQL_URI%/*}/many")
    # the tests' server has a log of 64 MB, which a load like this fills in seconds: it would measure checkpoints
    servers_mysql_root "$(servers_dir mysql)" <<<'CREATE DATABASE many' || exit 1
    servers_mysql_root "$(servers_dir mysql)" <<<'SET GLOBAL innodb_log_file_size = 1073741824; SET GLOBAL innodb_buffer_pool_size = 1073741824' || :
fi
run() { "$BENCH_PROGRAM" "$@" --rounds "$BENCH_ROUNDS" --batch "$BENCH_BATCH" --json "${BENCH_OUT:-.}/bench-prune.json"; }
for what in $BENCH_PRUNE; do
    case $what in
        beside) run beside --seconds "$BENCH_SECONDS" --rows 1000000 --rate 15000 "sqlite:$T/beside.db" "${timed[@]}" ;;
        steady) run steady --seconds 20 "sqlite:$T/steady.db" "${servers[@]}" ;;
        many) [ "${#pairs[@]}" -eq 0 ] || run many --seconds "$BENCH_SECONDS" --rows "$BENCH_ROWS" "${pairs[@]}" ;;
        *) echo "BENCH_PRUNE: $what is none of beside, steady, many" >&2; exit 2 ;;
    esac || exit 1
done
