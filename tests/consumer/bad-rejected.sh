#!/usr/bin/env bash
# Rejected messages and their replay, and pruning, over SQLite: what is asked for wrongly, and that each message is applied once all the same.
. "${TOP_SRCDIR:?}/tests/consumer/badlib.sh"
make_store
db 'CREATE TABLE small (id TEXT, n INTEGER CHECK (n < 1000))'
start_endpoint serve
last() { tail -n 1 "$1"; }
records() { db "SELECT COUNT(*) FROM transaction_record WHERE consumer_group = '$1'"; }

# ---- rejected messages ----
printf '%s\n' '{"id":"a","n":5000}' '{"id":"b","n":6000}' '{"id":"c","n":7000}' | send data --parallel 1 >out 2>&1
insert='INSERT INTO small VALUES (:body.id, :body.n)'
consume data GID_data --sql "$insert" >out 2>&1
is "$(last out)" "consumed 0 fresh, 0 duplicate, 3 rejected, 0 retried" "three are rejected"
refused 0 '' "rejected lists them" "$x" rejected --store "$STORE" --group GID_data
mapfile -t ids < <(grep CHECK out | cut -d' ' -f1)
is "${#ids[@]}" 3 "all three"
refused 0 '' "a message that was rejected has a record" "$x" seen --store "$STORE" --group GID_data "${ids[0]}"
refused 3 '' "seen of an id that never came" "$x" seen --store "$STORE" --group GID_data 0123
refused 3 '' "seen in another group" "$x" seen --store "$STORE" --group GID_other "${ids[0]}"
refused 3 'no rejected message 0123' "replay of an id that is not there" "$x" replay --store "$STORE" --group GID_data 0123
refused 2 'xonce begins and commits' "replay --sql that commits" "$x" replay --store "$STORE" --group GID_data --sql "$insert; COMMIT"
refused 1 'no such table' "replay --sql into a table that is not there" "$x" replay --store "$STORE" --group GID_data --sql 'INSERT INTO nowhere VALUES (:id)'
refused 0 '' "replay ID" "$x" replay --store "$STORE" --group GID_data "${ids[0]}"
refused 0 '' "marking it twice" "$x" replay --store "$STORE" --group GID_data "${ids[0]}"
export IDLE=2500ms
consume data GID_data --sql 'INSERT INTO small VALUES (:body.id, :body.n / 10)' >out 2>&1 &
other=$!
consume data GID_data --sql 'INSERT INTO small VALUES (:body.id, :body.n / 10)' >out2 2>&1
wait "$other"
is "$(db 'SELECT id, n FROM small')" "a|500" "of two running consumers one applies it, once; the others stay"
refused 1 'CHECK constraint failed' "replay --sql that fails again" "$x" replay --store "$STORE" --group GID_data "${ids[1]}" --sql "$insert"
is "$(last out)" "replayed 0, rejected again 1" "it is still there"
refused 0 '' "replay --sql of what is left" "$x" replay --store "$STORE" --group GID_data --sql 'INSERT INTO small VALUES (:body.id, 1)'
is "$(last out)" "replayed 2, rejected again 0" "by itself"
refused 0 '' "replay of nothing" "$x" replay --store "$STORE" --group GID_data --sql 'INSERT INTO small VALUES (:body.id, 1)'
is "$(db 'SELECT id, n FROM small ORDER BY id')" $'a|500\nb|1\nc|1' "each is applied once"
is "$(records GID_data)/$(db 'SELECT COUNT(*) FROM xonce_rejected')" 3/0 "the records stay, the rejected rows are gone"

# ---- pruning ----
feed old 40
consume old GID_old --sql "$GOOD" >out 2>&1
prune() { "$x" prune --store "$STORE" --group GID_old "$@" 2>&1; }
watermark() { db "INSERT OR REPLACE INTO xonce_watermark (consumer_group, watermark_ms, updated_ms) VALUES ('GID_old', $1, $2)"; }
now=$(($(date +%s) * 1000)) day=86400000
db "UPDATE transaction_record SET ctime = ctime - 5 * $day WHERE consumer_group = 'GID_old' AND message_id IN
    (SELECT message_id FROM transaction_record WHERE consumer_group = 'GID_old' LIMIT 15)"
db 'DELETE FROM xonce_watermark'
like "$(prune)" '^deleted 0 .*no fresh watermark' "without a watermark nothing goes, and why"
watermark $((now - 3 * day)) "$now"
is "$(prune)" "deleted 0 records" "of an outage of three days nothing is forgotten"
watermark "$now" $((now - 2 * 3600000))
like "$(prune)" '^deleted 0 .*no fresh watermark' "nor while no consumer runs"
watermark "$now" "$now"
like "$(prune --dry-run)" '^15 records' "a dry run counts"
is "$(prune --dry-run --keep 6d | cut -d' ' -f1)/$(records GID_old)" 0/40 "and deletes nothing"
is "$(prune --keep 30d)" "deleted 0 records" "keep is kept"
is "$(prune)/$(records GID_old)/$(records GID_data)" "deleted 15 records/25/3" "prune deletes the old ones, of this group"
is "$(prune)" "deleted 0 records" "once"
done_testing
