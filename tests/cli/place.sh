#!/usr/bin/env bash
# place.sh [sqlite|postgres|mysql]: xonce explain --at: what became of a message by its place at the broker, from records, rejected messages, positions and the log.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
unset XONCE_STORE
cd "$T" || exit 1
database "${1:-sqlite}"
offset='"offset"'
[ "$ENGINE" != mysql ] || offset='`offset`'
explain() { "$XONCE" explain --store "$STORE" --group GID_p "$@"; }
"$XONCE" init --store "$STORE" >/dev/null || bail "init failed"
# record ID QUEUE OFFSET CTIME; rejected likewise; range QUEUE GENERATION FIRST NEXT LAST-STORED RECORD-BEFORE TAGS
record() { db "INSERT INTO transaction_record (consumer_group, message_id, topic_name, ctime, queue_id, broker_name, $offset, store_time) VALUES ('GID_p', '$1#GID_p', 'orders', $4, $2, 'broker-a', $3, 1000)"; }
rejected() {
    db "INSERT INTO xonce_rejected (consumer_group, message_id, topic_name, broker_name, queue_id, $offset, store_time, attempts, reason, rejected_at)
        VALUES ('GID_p', '$1#GID_p', 'orders', 'broker-a', $2, $3, 1000, 16, 'no such customer', 5000)"
}
range() {
    db "INSERT INTO xonce_settled (consumer_group, topic_name, broker_name, queue_id, generation, tags, first_offset, next_offset, last_store_time, last_log_offset, epoch, record_before)
        VALUES ('GID_p', 'orders', 'broker-a', $1, $2, '$7', $3, $4, $5, 9, 1, $6)"
}
range 0 0 100 200 2000 NULL '*'
range 1 0 0 50 2000 30 '*'
range 2 0 0 500 2000 NULL 'new||paid'
range 2 1 40 60 9000 NULL 'new||paid'
record ID1 0 150 3000
record OLD 0 160 3000
record NEW 0 160 4000
rejected BAD 0 170

exits 0 "a message with a record" explain --at orders/broker-a/0/150
like "$(cat out)" '^ID1: applied by group GID_p.*settled from offset 100 up to but without 200, stored by 1970-01-01T00:00:02.000Z.*place  *broker-a, queue 0, offset 150' "is named by its id"
exits 0 "two records at one place" explain --at orders/broker-a/0/160
like "$(cat out)" '^NEW: applied.*Another message stood at this place before or since: OLD' "the newer one is meant, the other one is told"
exits 0 "a rejected message" explain --at orders/broker-a/0/170
like "$(cat out)" '^BAD: rejected.*no such customer.*xonce replay --group GID_p BAD' "with its reason"
exits 0 "settled, without a record" explain --at orders/broker-a/0/120
like "$(cat out)" '^orders/broker-a/0/120: settled by.*the record was pruned.*A further delivery is a duplicate.*stored by 1970-01-01T00:00:02.000Z.*--sent' "says what that means, and for which message"
exits 0 "sent before all that is settled" explain --at orders/broker-a/0/120 --sent 1500
like "$(cat out)" ': settled by' "settled"
exits 3 "sent after it" explain --at orders/broker-a/0/120 --sent 2500
like "$(cat out)" ': not applied by.*is another one, and has not been applied' "is another message"
exits 3 "beyond the end" explain --at orders/broker-a/0/203
like "$(cat out)" ': not applied by.*settled up to offset 200: messages in front of it: 3\.' "waits"
exits 3 "before the beginning" explain --at orders/broker-a/0/99
like "$(cat out)" ': not known by.*began with offset 100' "was not the group's to settle"
exits 0 "claimed by offset" explain --at orders/broker-a/1/40
like "$(cat out)" 'claimed by offset from 30.*the position moved beyond it in the transaction of its effects' "leaves no record"
exits 0 "before that" explain --at orders/broker-a/1/20
like "$(cat out)" 'The group settled it and has no record' "it was claimed by record"
exits 0 "a queue that began anew: in the older stretch" explain --at orders/broker-a/2/400
like "$(cat out)" 'offset 0 up to but without 500.*offset 40 up to but without 60.*or its tag was not wanted' "both are shown, and the tags count"
exits 3 "and sent after that stretch" explain --at orders/broker-a/2/400 --sent 5000
like "$(cat out)" 'not applied by.*settled up to offset 60: messages in front of it: 340' "it waits in the newer one"
exits 3 "a queue that is not known" explain --at orders/broker-b/0/1
like "$(cat out)" 'not known by.*no position of this queue; of queues of topic orders it has 3\.' "how many are is told"
exits 3 "a topic that is not known" explain --at bills/broker-a/0/1
like "$(cat out)" 'neither a record nor a position of topic bills' "is told so"
exits 3 "another group" "$XONCE" explain --store "$STORE" --group GID_q --at orders/broker-a/0/150
exits 0 "--json" explain --at orders/broker-a/1/40 --json
like "$(cat out)" '"id":null,"group":"GID_p","state":"settled","records":\[\],"rejected":\[\],"at":\{"topic":"orders","broker":"broker-a","queue":1,"offset":40\},"ranges":\[\{"generation":0,"first":0,"next":50,"last_stored_ms":2000,"tags":"\*","record_before":30\}\]' \
    "has the positions"

# ---- the log knows places too ----
line='topic=orders id=X group=GID_p attempt=1 broker=broker-a queue=1 offset=40'
printf '%s\n' "2026-11-23T10:00:00.000Z debug consumer: applied ${line/=40/=140}" "2026-11-23T10:00:00.000Z debug consumer: applied $line" >text.log
printf '{"time":"2026-11-23T10:00:00.000Z","level":"info","pid":7,"area":"consumer","msg":"duplicate","topic":"orders","id":"X","group":"GID_p","attempt":2,"broker":"broker-a","queue":1,"offset":40}\n' >text.log.1
exits 0 "--log" explain --at orders/broker-a/1/40 --log text.log
like "$(cat out)" 'log .* duplicate, delivery 2.*log .* applied, delivery 1.*In the logs: duplicate 1,' "lines are found by place"
is "$(grep -c '^  log' out)" 2 "and no others"

# ---- wrong use ----
for place in orders orders/broker-a/0 orders//0/1 /broker-a/0/1 orders/broker-a/x/1 orders/broker-a/0/-1 orders/broker-a/0/99999999999999999999 orders/broker-a/2147483648/1; do
    exits 2 "--at $place" explain --at "$place"
    like "$(cat err)" 'is no place; write TOPIC/BROKER/QUEUE/OFFSET' "says how to write it"
done
exits 2 "an id and a place" explain ID1 --at orders/broker-a/0/150
exits 2 "neither" explain
exits 3 "a broker with / in its name" explain --at orders/zone/a/0/7
done_testing
