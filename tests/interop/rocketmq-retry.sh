#!/usr/bin/env bash
# Failing messages: a handler that fails every message twice (each is applied once, and comes again after the delays of the broker's levels), and one that fails for ever, which ends among
# the rejected ones with its reason.
. "$(dirname "$0")/rmqlib.sh"
rocketmq_need
rocketmq_begin "messageDelayLevel=1s 1s 2s 4s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s"
rocketmq_topic orders 4 && rocketmq_topic poison 2 && rocketmq_topic sql 2 || bail "no topics"
shop orders sqlite
shop poison sqlite
shop sql sqlite
N=$((MESSAGES / 20))
# by offset a queue stands still while its first message is tried again in place, after pauses of 1 s and 2 s
by_record || N=$((MESSAGES / 100))

# ---- a program that fails each message twice and writes down when it was called
cat >"$T/twice" <<SH
#!/bin/sh
echo "\$XONCE_KEY \$XONCE_ATTEMPT \$(date +%s%3N)" >>"$T/calls"
[ "\$XONCE_ATTEMPT" -ge 3 ]
SH
chmod +x "$T/twice"
: >"$T/calls"
rocketmq_java Send "$NS" orders normal 1 $N >/dev/null || bail "send"
settings "$T/quick" $QUICK attempts=5
start twice "$XONCE" consume --from "$FROM" --topic orders --group GID_twice --store "${STORE[orders]}" --config "$T/quick" "${CLAIM_ARGS[@]}" --exec "$T/twice" --workers 8 --verbose
twice=$STARTED
third_calls() { [ "$(awk '$2 >= 3' "$T/calls" | wc -l)" -ge $N ] && { ! by_record || [ "$(records orders)" -ge $N ]; }; }
wait_for 180 third_calls || note "slow: $(awk '{ n[$2]++ } END { for (a in n) print "attempt " a ": " n[a] }' "$T/calls")" "$(tail -n 3 "$T/twice.err")"
tap_pause 3 # what would be called once more has this long to come
each_recorded orders $N
is "$(awk '{ n[$1]++; a[$1] = a[$1] $2 } END { for (k in n) c[n[k] " calls, attempts " a[k]]++; for (k in c) print c[k], "messages:", k }' "$T/calls")" \
    "$N messages: 3 calls, attempts 123" "three calls for each, the third with success"
# the first copy waits for level 3 (2 s), the second for level 4 (4 s); the broker's clock, the poll and a busy machine add to them
least=(1800 3800)
by_record || least=(900 1900)
spacing=$(awk -v least1="${least[0]}" -v least2="${least[1]}" '{ t[$1, $2] = $3; k[$1] = 1 } END { lo1 = lo2 = 1e9; for (i in k) { a = t[i, 2] - t[i, 1]; b = t[i, 3] - t[i, 2];
    if (a < lo1) lo1 = a; if (a > hi1) hi1 = a; if (b < lo2) lo2 = b; if (b > hi2) hi2 = b }
    print (lo1 >= least1 && lo2 >= least2 && hi1 < 60000 && hi2 < 60000 ? "spaced" : "not spaced"), lo1, hi1, lo2, hi2 }' "$T/calls")
like "$spacing" '^spaced ' "arrivals are spaced by the delays: ms $spacing"
stop "$twice" || not_ok "it ends in order" "$(tail -n 3 "$T/twice.err")"
like "$(tail -n 1 "$T/twice.out")" "^consumed $N fresh, 0 duplicate, 0 rejected, $((2 * N)) retried" "and it says so"

# ---- SQL that fails, for the same reason twice: a missing parent row that comes later
judge sql "CREATE TABLE parents (id varchar(40) PRIMARY KEY); CREATE TABLE children (id varchar(40), parent varchar(40) NOT NULL REFERENCES parents (id))" >/dev/null
rocketmq_java Send "$NS" sql normal 1 20 >/dev/null || bail "send"
settings "$T/quick" $QUICK attempts=12
start sql "$XONCE" consume --from "$FROM" --topic sql --group GID_sql --store "${STORE[sql]}" --config "$T/quick" "${CLAIM_ARGS[@]}" --sql "INSERT INTO children (id, parent) VALUES (:body.id, :body.id)" --workers 2 --verbose
sql=$STARTED
if by_record; then
    wait_for 90 eval '[ "$(rocketmq_offset broker-a 30 GID_sql %RETRY%GID_sql 0)" -ge 20 ]' || note "nothing came back: $(tail -n 3 "$T/sql.err")"
else
    wait_for 90 grep -q 'of sql at .* is read from offset' "$T/sql.err"
fi
is "$(judge sql 'SELECT COUNT(*) FROM children')" 0 "no parent, no child"
judge sql "INSERT INTO parents SELECT 'p' || value FROM json_each('[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]')" >/dev/null
wait_for 120 eval '[ "$(judge sql "SELECT COUNT(*) FROM children")" -ge 20 ]'
is "$(judge sql 'SELECT COUNT(*), COUNT(DISTINCT id) FROM children')" "20 20" "with a parent each is applied once"
! by_record || is "$(judge sql 'SELECT COUNT(DISTINCT "offset") || CHAR(32) || MIN(topic_name) || CHAR(32) || MAX(topic_name) FROM transaction_record')" \
    "10 sql sql" "and the record has the original's topic and offset, not those of the retry topic"
stop "$sql" || not_ok "it ends in order" "$(tail -n 3 "$T/sql.err")"

# ---- poison
cat >"$T/refuse" <<'SH'
#!/bin/sh
case $XONCE_KEY in
    k3) echo "account 3 is closed" >&2; exit 65 ;;
    k7) echo "the moon is wrong" >&2; exit 1 ;;
esac
SH
chmod +x "$T/refuse"
rocketmq_java Send "$NS" poison normal 1 10 >/dev/null || bail "send"
settings "$T/quick" $QUICK attempts=3 rocketmq.dead-letter=on
start poison "$XONCE" consume --from "$FROM" --topic poison --group GID_poison --store "${STORE[poison]}" --config "$T/quick" "${CLAIM_ARGS[@]}" --exec "$T/refuse" --workers 2
poison=$STARTED
wait_for 120 eval '[ "$(judge poison "SELECT COUNT(*) FROM xonce_rejected")" -ge 2 ]' || note "$(tail -n 3 "$T/poison.err")"
wait_for 60 eval 'at_end_of poison GID_poison 2' || note "not at the end"
each_recorded poison 10
like "$(judge poison "SELECT reason FROM xonce_rejected ORDER BY id")" "account 3 is closed" "a message that its handler refuses is rejected with the reason"
like "$(judge poison "SELECT reason FROM xonce_rejected ORDER BY id")" "the moon is wrong" "one that fails for ever too, after its attempts"
wait_for 60 eval '[ "$(rocketmq_offset broker-a 30 GID_poison %DLQ%GID_poison 0)" = 2 ]'
is "$(rocketmq_offset broker-a 30 GID_poison %DLQ%GID_poison 0)" 2 "with rocketmq.dead-letter both are copied to the dead-letter topic"
stop "$poison" || not_ok "it ends in order" "$(tail -n 3 "$T/poison.err")"
done_testing
