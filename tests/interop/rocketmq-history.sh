#!/usr/bin/env bash
# The history of queues changes: a broker loses the end of its log and fills the same offsets with other messages, queues and a broker are added while a group consumes from "last",
# the broker's file of consumer offsets is deleted, an operator resets the group to the beginning. Nothing is lost, nothing applied twice.
. "$(dirname "$0")/rmqlib.sh"
rocketmq_need
engines_start postgres mysql
rocketmq_begin
rocketmq_topic log 4 && rocketmq_topic news 2 || bail "no topics"
shop log postgres
shop news mysql

# are_there SHOP FIRST LAST...: each payment of these ranges is in the table, once
are_there() {
    local shop=$1 where="" n=0
    shift
    while [ $# -gt 0 ]; do
        where+="${where:+ OR }amount BETWEEN $1 AND $2"
        n=$((n + $2 - $1 + 1))
        shift 2
    done
    wait_for 120 has_applied "$shop" $n || note "slow: $(applied "$shop") of $n"
    tap_pause 1 # what is not wanted has this long to come
    printf '%s wanted, %s rows, %s ids, %s others\n' $n $(judge "$shop" "SELECT SUM(CASE WHEN $where THEN 1 ELSE 0 END), COUNT(DISTINCT id), SUM(CASE WHEN $where THEN 0 ELSE 1 END) FROM payments")
}
all_there() { printf '%s wanted, %s rows, %s ids, 0 others\n' "$1" "$1" "$1"; }
end_of_log() { rocketmq_ask "$(rocketmq_port broker-a)" 28 '' | rocketmq_member commitLogMaxOffset; }
# Kills the broker, cuts its log at this place, as a power failure does to what was not flushed, and starts it again.
lose_log_from() {
    local at=$1 file=$ROCKETMQ_DIR/broker-a/store/commitlog/00000000000000000000 size
    rocketmq_kill broker-a
    size=$(stat -c %s "$file")
    truncate -s "$at" "$file" && truncate -s "$size" "$file"
    rocketmq_start broker-a || bail "the broker does not come back"
}
ends() { local q; for q in 0 1 2 3; do rocketmq_offset broker-a 30 GID_log log $q; done | tr '\n' ' '; }

# ---- 1: the log's end is lost under a running consumer, and filled again
consumer a log log GID_log
a=$STARTED
send log normal 1 400
is "$(are_there log 1 400)" "$(all_there 400)" "before all that"
cut=$(end_of_log)
[ "${cut:-0}" -gt 0 ] || bail "the broker does not say where its log ends"
send log normal 401 500
is "$(are_there log 1 500)" "$(all_there 500)" "the last messages are applied"
ends_before=$(ends)
lose_log_from "$cut"
unlike "$(ends)" "^$ends_before\$" "the broker has lost them"
send log normal 1001 1100
is "$(ends)" "$ends_before" "other messages stand at their offsets"
is "$(are_there log 1 500 1001 1100)" "$(all_there 600)" "a running consumer applies them"

# ---- 2: the same while no consumer runs
cut=$(end_of_log)
send log normal 501 600
are_there log 1 600 1001 1100 >/dev/null
stop "$a" || not_ok "it ends in order" "$(tail -n 3 "$T/a.err")"
ends_before=$(ends)
lose_log_from "$cut"
send log normal 1101 1200
is "$(ends)" "$ends_before" "lost and filled again while nobody consumes"
consumer b log log GID_log
b=$STARTED
is "$(are_there log 1 600 1001 1200)" "$(all_there 800)" "the next consumer applies what is new"

# ---- 3: consume from last; a queue, then a broker is added
# a 4.x broker says that a group it does not know stands at 0, as long as its queues begin there: then all is read
NEW=101
[ "${ROCKETMQ_VERSION%%.*}" -ge 5 ] || NEW=1
send news normal 1 100
SETTINGS="consume-from=last" consumer c news news GID_news
c=$STARTED
wait_for 90 rocketmq_has_members GID_news 1
wait_for 90 eval '[ "$(judge news "SELECT COUNT(*) FROM xonce_settled")" -ge 2 ]' || note "no position was written"
send news normal 101 200
is "$(are_there news $NEW 200)" "$(all_there $((200 - NEW + 1)))" "consume-from=last begins at the end"
rocketmq_topic news 4 || bail "no more queues"
send news normal 201 300
is "$(are_there news $NEW 300)" "$(all_there $((300 - NEW + 1)))" "two queues added: their first messages count"
rocketmq_start broker-b && rocketmq_topic news 2 broker-b || bail "no second broker"
send news normal 301 400
like "$(rocketmq_offset broker-b 30 GID_news news 0) $(rocketmq_offset broker-b 30 GID_news news 1)" '^[1-9][0-9]* [1-9][0-9]*$' "the second broker has got messages"
is "$(are_there news $NEW 400)" "$(all_there $((400 - NEW + 1)))" "a broker added: its first messages count"

# ---- 4: the broker forgets where its groups are
stop "$c" || not_ok "it ends in order" "$(tail -n 3 "$T/c.err")"
send news normal 401 500
rocketmq_kill broker-a
rm -f "$ROCKETMQ_DIR"/broker-a/store/config/consumerOffset.json*
rocketmq_start broker-a || bail "the broker does not come back"
like "$(rocketmq_offset broker-a 14 GID_news news 0)" '^0?$' "the broker knows no offset of the group any more, or says 0"
SETTINGS="consume-from=last" consumer d news news GID_news
send news normal 501 600
is "$(are_there news $NEW 600)" "$(all_there $((600 - NEW + 1)))" "consumerOffset.json deleted, consume-from=last: nothing lost, nothing twice"
send log normal 601 700
is "$(are_there log 1 700 1001 1200)" "$(all_there 900)" "consumerOffset.json deleted under a running consumer: nothing lost, nothing twice"

# ---- 5: an operator resets the group to the beginning, twice: while it runs, and while it does not
send log normal 10001 $((10000 + MESSAGES))
is "$(are_there log 1 700 1001 1200 10001 $((10000 + MESSAGES)))" "$(all_there $((900 + MESSAGES)))" "and $MESSAGES more"
check "resetOffsetByTime" rocketmq_admin resetOffsetByTime -g GID_log -t log -s 0
wait_for 120 eval '[ "$(for q in 0 1 2 3; do rocketmq_offset broker-a 14 GID_log log $q; done | tr "\n" " ")" = "$(ends)" ]' || note "not consumed again to the end"
is "$(are_there log 1 700 1001 1200 10001 $((10000 + MESSAGES)))" "$(all_there $((900 + MESSAGES)))" "operator's reset to the beginning: nothing is applied twice"
# a 5.x broker answers each queue's next pull with the new offset, a 4.x broker tells the members
like "$(grep -oE 'queue [0-9]+ of log .*operator has reset its offset' "$T/b.err" | sort -u | wc -l) $(grep -o 'operator resets positions of log: [0-9]*' "$T/b.err")" '^4 |: 4$' "and each queue was read again"
# both brokers, the topic and the group as they are now, by a look that changes nothing
exits 0 "xonce doctor" "$XONCE" doctor --from "rocketmq://$NS;127.0.0.1:1" --topic log --group GID_log
like "$(cat "$T/out")" "ok: name server $NS answers.*unwise: name server 127.0.0.1:1" "a name server that is not there beside one that is"
like "$(cat "$T/out")" 'broker broker-a at .* version V[0-9].*the clock of broker-a .* agree.*broker broker-b at' "brokers, versions and clocks"
like "$(cat "$T/out")" 'topic log: .* brokers.*members of the group run.*the group is behind by [0-9]+' "topic, members and lag"
exits 3 "xonce doctor: a topic that there is not" "$XONCE" doctor --from "rocketmq://$NS" --topic lock --group GID_log
stop "$b" || not_ok "it ends in order" "$(tail -n 3 "$T/b.err")"
# without the positions only the records stand between a message and a second time; by offset there is nothing but positions
likewise="likewise"
! by_record || { judge log "DELETE FROM xonce_settled" >/dev/null && likewise="likewise, and the positions deleted"; }
check "resetOffsetByTime while nobody runs" rocketmq_admin resetOffsetByTime -g GID_log -t log -s 0
consumer e log log GID_log
e=$STARTED
send log normal 701 800
is "$(are_there log 1 800 1001 1200 10001 $((10000 + MESSAGES)))" "$(all_there $((1000 + MESSAGES)))" "$likewise: nothing lost, nothing twice"
wait_for 120 eval '[ "$(for q in 0 1 2 3; do rocketmq_offset broker-a 14 GID_log log $q; done | tr "\n" " ")" = "$(ends)" ]' || note "not consumed again to the end"
stop "$e" || not_ok "it ends in order" "$(tail -n 3 "$T/e.err")"
! by_record || check "all of them came again: $(said e duplicate) duplicates" [ "$(said e duplicate)" -ge "$MESSAGES" ]
is "$(judge log 'SELECT COUNT(*) FROM xonce_rejected') $(judge news 'SELECT COUNT(*) FROM xonce_rejected')" "0 0" "nothing was rejected"
done_testing
