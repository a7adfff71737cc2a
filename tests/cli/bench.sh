#!/usr/bin/env bash
# bench.sh [sqlite|postgres|mysql]: xonce bench measures, tells, advises, refuses where it would do harm, and leaves nothing in the database.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
unset XONCE_STORE
cd "$T" || exit 1
x=$XONCE
database "${1:-sqlite}"
case $ENGINE in
    sqlite) tables() { db "SELECT count(*) FROM sqlite_master WHERE name = 'xonce_bench'"; } ;;
    *) tables() { db "SELECT count(*) FROM information_schema.tables WHERE table_name = 'xonce_bench'"; } ;;
esac
bench() { timeout 120 "$x" bench --store "$STORE" --workers 4 "$@"; }
records() { db "SELECT count(*) FROM transaction_record WHERE consumer_group = 'GID_xonce_bench'"; }
nothing_left() { is "$(tables)/$(records)" 0/0 "$1"; }

# ---- wrong use, and what it refuses ----
exits 2 "no store" "$x" bench
exits 2 "an unknown scheme" "$x" bench --store sqlit:shop.db
like "$(cat err)" 'unknown scheme "sqlit"' "is told"
exits 2 "seconds out of range" bench --seconds 0
exits 1 "a server that is not there" "$x" bench --store 'postgresql://u:hunter2@127.0.0.1:1/d'
unlike "$(cat err)" hunter2 "no password is told"
exits 1 "a database without tables" bench --seconds 1
like "$(cat err)" '(transaction_record is (missing|not there).*xonce init.*nothing was measured|there is no file .*xonce init)' "says what to do"
exits 0 "xonce init" "$x" init --store "$STORE"

# ---- measuring ----
exits 0 "bench" bench --seconds 2
like "$(cat out)" 'round trip [0-9.]+ ms, COMMIT [0-9.]+ ms; messages of 200 bytes, 5 % of them redelivered' "tells the ways"
like "$(cat out)" 'workers +batch +bare/s +no record/s +exactly once/s +x no record +x bare' "a table"
is "$(grep -cE '^1 +(1|32|128) .*[0-9]+ +[0-9]+ +[0-9.]+ +[0-9.]+$' out)" 3 "of three batch sizes for one worker"
is "$(grep -cE '^4 +(1|32|128) ' out)" "$([ "$ENGINE" = sqlite ] && echo 0 || echo 3)" "and for several where there can be several"
like "$(cat out)" 'batch.max = (1|32|128)
workers = (1|4)
    [0-9]+ messages/s: a COMMIT takes ' "advises, and says why"
is "$(cat err)" "" "and nothing else"
nothing_left "no table and no record is left"
exits 0 "bench --json" bench --seconds 1 --json --body 1000
json() { sqlite :memory: "SELECT json_extract(CAST(readfile('out') AS TEXT), '$1')"; }
is "$(sqlite :memory: "SELECT json_valid(CAST(readfile('out') AS TEXT))")" 1 "is JSON"
like "$(json '$.engine')/$(json '$.round_trip_us')/$(json '$.commit_us')/$(json '$.suspicious_commit')/$(json '$.body')" '^(sqlite|postgresql|mysql)/[0-9]+/[0-9]+/[01]/1000$' "of the database"
is "$(json '$.figures[0].mode')/$(json '$.figures[0].batch')/$(json '$.figures[0].connections')" bare/1/1 "with all figures"
is "$(sqlite :memory: "SELECT count(*) FROM json_each(CAST(readfile('out') AS TEXT), '\$.figures') WHERE json_extract(value, '\$.per_second') > 0
    AND json_extract(value, '\$.min') <= json_extract(value, '\$.per_second') AND json_extract(value, '\$.per_second') <= json_extract(value, '\$.max')")" "$([ "$ENGINE" = sqlite ] && echo 7 || echo 14)" "of each load"
like "$(json '$.advice."batch.max"')/$(json '$.advice.workers')/$(json '$.advice.why')" '^(1|32|128)/(1|4)/a COMMIT' "and the advice"
nothing_left "nothing is left then, too"

# ---- a database that others use ----
db "INSERT INTO transaction_record (consumer_group, message_id, topic_name, ctime, queue_id, broker_name, $([ "$ENGINE" = mysql ] && echo '`offset`' || echo '"offset"'))
    VALUES ('GID_orders', '7F0000014E0942A50000000000000001#GID_orders', 'orders', 1, 0, '', 0)"
exits 1 "records of another group" bench --seconds 1
like "$(cat err)" 'records of group GID_orders.*--live' "are not disturbed"
nothing_left "nothing was begun"
exits 0 "unless --live allows it" bench --seconds 1 --live
nothing_left "its own records are gone"
is "$(db 'SELECT count(*) FROM transaction_record')" 1 "the other group's is there"

# ---- stopped, and killed ----
start stopped "$x" bench --store "$STORE" --seconds 40 --workers 4 --live
wait_for 60 eval '[ "$(records)" -gt 0 ]' || not_ok "it works"
stop "$STARTED" TERM 60 && ok "SIGTERM stops it" || not_ok "SIGTERM stops it"
like "$(cat stopped.err)" 'stopped; what was measured is removed' "it says so"
is "$(cat stopped.out)" "" "there is no result"
nothing_left "and nothing is left"
start killed "$x" bench --store "$STORE" --seconds 40 --workers 4 --live
wait_for 60 eval '[ "$(records)" -gt 0 ]' || not_ok "it works"
stop "$STARTED" KILL 20
exits 1 "after a SIGKILL" bench --seconds 1 --live
like "$(cat err)" 'the table xonce_bench is there.*--clean' "it says what to do"
exits 0 "bench --clean" bench --clean
like "$(cat out)" '^removed [1-9][0-9]* records$' "removes what was left"
nothing_left "all of it"
is "$(db 'SELECT count(*) FROM transaction_record')" 1 "but nothing of others"

# ---- a database that may lose commits ----
case $ENGINE in
    postgres) db "ALTER SYSTEM SET fsync = off" && db "SELECT pg_reload_conf()" >/dev/null && wait_for 10 eval '[ "$(db "SHOW fsync")" = off ]' ;;
    mysql) db "SET GLOBAL innodb_flush_log_at_trx_commit = 2" ;;
esac
if [ "$ENGINE" != sqlite ]; then
    exits 0 "bench without fsync" bench --seconds 1 --live
    like "$(cat out)" 'UNSAFE: .*(fsync|flush_log)' "says that the figures are worth little"
fi
done_testing
