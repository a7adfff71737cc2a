#!/usr/bin/env bash
# A Java push consumer and two xonce members in one group: every queue has an owner, nothing is lost, and each side takes over from the other. Then the cloud vendor's plain
# producer with EXACTLYONCE_DELIVERY feeds xonce: the record's message_id has the 40-character form.
. "$(dirname "$0")/rmqlib.sh"
rocketmq_need
engines_start mysql
rocketmq_begin
QUEUES=8
PART=$((MESSAGES / 10))
rocketmq_topic orders $QUEUES && rocketmq_topic vendor 2 || bail "no topics"
shop mixed mysql
shop ons mysql
export SETTINGS="rocketmq.rebalance-every=2s"

FED=0
# part NAME MEMBERS...: PART payments over all queues; waits for them; says whether each queue was read by one member, and by which
part() {
    local name=$1 from=$((FED + 1)) to=$((FED + PART)) two who
    shift
    rocketmq_java Send "$NS" orders ordered $from $to queues=$QUEUES >/dev/null || bail "send"
    FED=$to
    wait_for 120 has_applied mixed $to || note "slow: $(applied mixed) of $to"
    is "$(judge mixed "SELECT COUNT(DISTINCT id) FROM payments WHERE amount BETWEEN $from AND $to")" $PART "$name: nothing is lost"
    two=$(judge mixed "SELECT COUNT(*) FROM (SELECT place FROM payments WHERE amount BETWEEN $from AND $to GROUP BY place HAVING COUNT(DISTINCT who) > 1) q")
    is "$two" 0 "$name: no queue is read by two"
    who=$(judge mixed "SELECT who FROM payments WHERE amount BETWEEN $from AND $to GROUP BY who ORDER BY who" | tr '\n' ' ')
    is "$who" "$* " "$name: read by these"
}
# Waits until the group has so many members, and each had time to share out anew: Java does so at once when told.
members_settle() {
    wait_for 120 rocketmq_has_members GID_mixed "$1" || note "members: $(rocketmq_members GID_mixed | tr '\n' ' ')"
    wait_for 120 allotted "$1" || note "queues are not shared out: $(owners)"
}
# How many queues each member says it has, by what the broker asks it (request 307)
owners() {
    local member
    for member in $(rocketmq_members GID_mixed); do
        printf '%s ' "$(rocketmq_ask "$(rocketmq_port broker-a)" 307 '"consumerGroup":"GID_mixed","clientId":"'"$member"'","jstackEnable":"false"' |
            sed 's/.*"mqTable"://; s/"statusTable".*//' | grep -oE '\{[^{}]*"topic":"orders"[^{}]*\}:' | grep -oE '"queueId":[0-9]+' | sort -u | tr '\n' '+')"
    done
    echo
}
allotted() {
    local seen
    seen=$(owners)
    [ "$(wc -w <<<"$seen")" -eq "$1" ] && [ "$(tr ' +' '\n\n' <<<"$seen" | grep -c queueId)" -eq $QUEUES ] && [ "$(tr ' +' '\n\n' <<<"$seen" | grep queueId | sort -u | wc -l)" -eq $QUEUES ]
}

consumer x1 mixed orders GID_mixed
x1=$STARTED
consumer x2 mixed orders GID_mixed
x2=$STARTED
start_java j1 Push "$NS" orders GID_mixed java jdbc="$(jdbc mixed)"
j1=$STARTED
members_settle 3
part "two xonce members and a Java member" java x1 x2

stop "$j1" && ok "the Java member leaves" || not_ok "the Java member leaves"
members_settle 2
part "Java has left" x1 x2

start_java j2 Push "$NS" orders GID_mixed java2 jdbc="$(jdbc mixed)"
j2=$STARTED
members_settle 3
part "Java is back" java2 x1 x2

stop "$x1" && ok "an xonce member leaves" || not_ok "an xonce member leaves" "$(tail -n 3 "$T/x1.err")"
stop "$x2" && ok "the other one too" || not_ok "the other one too" "$(tail -n 3 "$T/x2.err")"
members_settle 1
part "Java alone" java2

# under load: payments keep coming while Java is killed and xonce takes over
consumer x3 mixed orders GID_mixed
x3=$STARTED
members_settle 2
start_java load Send "$NS" orders ordered $((FED + 1)) $((FED + 3 * PART)) queues=$QUEUES pause=$((6000 / MESSAGES + 1))
load=$STARTED
wait_for 120 has_applied mixed $((FED + PART / 2))
stop "$j2"
wait_for 300 gone "$load" || note "the sender hangs"
FED=$((FED + 3 * PART))
settle_down $FED 120 mixed
is "$(applied mixed)" $FED "under load: nothing is lost when Java leaves"
is "$(judge mixed "SELECT COUNT(*) FROM (SELECT id FROM payments WHERE who LIKE 'x%' GROUP BY id HAVING COUNT(*) > 1) q")" 0 "nothing was applied twice by xonce"
note "applied by Java and again by xonce or Java, which alone may happen: $(judge mixed "SELECT COUNT(*) FROM (SELECT id FROM payments GROUP BY id HAVING COUNT(*) > 1) q")"
stop "$x3" && ok "the last member leaves" || not_ok "the last member leaves" "$(tail -n 3 "$T/x3.err")"

# the vendor's producer
rocketmq_java Ons "$NS" vendor send 1 100 exactly-once=1 >"$T/ons.out" 2>"$T/ons.err" || bail "ons-client: $(tail -n 3 "$T/ons.err")"
rocketmq_java Ons "$NS" vendor send 101 110 >>"$T/ons.out" 2>"$T/ons.err" || bail "ons-client: $(tail -n 3 "$T/ons.err")"
consumer x4 ons vendor GID_ons
wait_for 120 has_applied ons 110
is "$(counted ons)" "$(balanced 1 110)" "ons-client: every payment once"
is "$(judge ons "SELECT COUNT(*) FROM transaction_record WHERE CAST(message_id AS CHAR) REGEXP '^[0-9A-F]{40}#GID_ons\$'")" 100 "with EXACTLYONCE_DELIVERY the record has 40 characters and the group"
is "$(judge ons "SELECT COUNT(*) FROM transaction_record WHERE CAST(message_id AS CHAR) REGEXP '^[0-9A-F]{32}#GID_ons\$'")" 10 "without it 32"
judge ons "SELECT LEFT(CAST(message_id AS CHAR), 32) FROM transaction_record ORDER BY 1" >"$T/records"
is "$(cat "$T/records")" "$(grep -E '^[0-9A-F]{32}$' "$T/ons.out" | sort)" "and they are the ids that the producer was told"
done_testing
