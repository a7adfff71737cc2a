#!/usr/bin/env bash
# Everything is killed: consumers (SIGKILL, joins, leaves), the broker twice, the name server once, while Java sends. Two members each into PostgreSQL and MariaDB, unordered and ordered.
# Every payment is booked once, and in the order of its queue where that was asked for. A plain Java consumer under the same kills books some twice: the judge can fail.
. "$(dirname "$0")/rmqlib.sh"
rocketmq_need
engines_start postgres mysql
rocketmq_begin
QUEUES=4
rocketmq_topic loose $QUEUES && rocketmq_topic strict $QUEUES || bail "no topics"
shop loose_pg postgres
shop loose_my mysql
shop strict_pg postgres
shop strict_my mysql
shop plain mysql
SHOPS="loose_pg loose_my strict_pg strict_my"

# member SHOP NAME: one consumer of the shop's own group
member() {
    local mode=()
    [ "${1%_*}" = loose ] || mode=(--ordered)
    consumer "$1-$2" "$1" "${1%_*}" "GID_$1" "${mode[@]}"
    PID[$1-$2]=$STARTED
}
java_member() { start_java "plain-$1" Push "$NS" loose GID_plain "java-$1" "jdbc=$(jdbc plain)"; PID[plain]=$STARTED; }
# feed N: the next N payments to both topics, by Java, which goes on sending while things die; wait_fed waits for its end
FED=0
feed() {
    local to=$((FED + $1))
    [ "$to" -le "$MESSAGES" ] || to=$MESSAGES
    [ "$to" -gt "$FED" ] || return 0
    start_java "send-loose-$to" Send "$NS" loose mixed $((FED + 1)) "$to" large=100 pause="$PACE"
    SENDERS+=("$STARTED")
    # payment i has place i / 4 in its queue: a part begins where the last one ended
    start_java "send-strict-$to" Send "$NS" strict ordered $((FED + 1)) "$to" queues=$QUEUES pause="$PACE"
    SENDERS+=("$STARTED")
    FED=$to
}
wait_fed() {
    local pid
    for pid in "${SENDERS[@]}"; do wait_for 300 gone "$pid" || note "a sender hangs"; done
    SENDERS=()
}
SENDERS=()
PACE=$((4000 / MESSAGES))
part=$((MESSAGES / 5))

for s in $SHOPS; do member "$s" a; done
java_member 0
feed $part
for s in $SHOPS; do member "$s" b; done
# the Java member too: what it does now is what it will have done twice
for s in $SHOPS plain; do wait_for 120 has_applied "$s" $((part / 4)) || { note "$s: slow: $(rows "$s") rows"; show_troubles "$s-a" "$s-b"; }; done

# a member of each dies, another joins; Java too
for s in $SHOPS plain; do stop "${PID[$s-a]:-${PID[plain]}}" KILL; done
java_member 1
for s in $SHOPS; do member "$s" c; done
wait_fed
feed $part
for s in $SHOPS; do wait_for 120 has_applied "$s" $((part + part / 4)) || { note "$s: slow: $(rows "$s") rows"; show_troubles "$s-b" "$s-c"; }; done

# the broker dies, under load; while it is away a member leaves in order and one dies
rocketmq_kill broker-a
for s in strict_pg loose_my; do stop "${PID[$s-b]}" KILL; done
for s in strict_my loose_pg; do stop "${PID[$s-b]}" TERM || not_ok "$s: a member leaves in time while the broker is away" "$(tail -n 3 "$T/$s-b.err")"; done
rocketmq_start broker-a || bail "the broker does not come back"
for s in $SHOPS; do member "$s" d; done
wait_fed
feed $part
for s in $SHOPS; do wait_for 180 has_applied "$s" $((part * 2 + part / 4)) || { note "$s: slow: $(rows "$s") rows"; show_troubles "$s-c" "$s-d"; }; done

# the name server dies: nobody needs it until something changes
rocketmq_kill namesrv
stop "${PID[plain]}" KILL
wait_fed
for s in $SHOPS; do wait_for 120 has_applied "$s" $((part * 3)) || { note "$s: slow: $(rows "$s") rows"; show_troubles "$s-c" "$s-d"; }; done
rocketmq_start namesrv || bail "the name server does not come back"
wait_for 120 rocketmq_route_has loose broker-a $QUEUES || note "the broker does not register again"
java_member 2

# the broker dies again, with members
feed $part
for s in $SHOPS; do wait_for 120 has_applied "$s" $((part * 3 + part / 8)) || { note "$s: slow: $(rows "$s") rows"; show_troubles "$s-c" "$s-d"; }; done
rocketmq_kill broker-a
for s in $SHOPS; do
    stop "${PID[$s-c]}" KILL
    member "$s" e
done
rocketmq_start broker-a || bail "the broker does not come back"
wait_fed
feed "$MESSAGES"
wait_fed
for s in $SHOPS; do stop "${PID[$s-d]}" KILL; done
stop "${PID[plain]}" KILL
java_member 3

# shellcheck disable=SC2086
settle_down "$MESSAGES" 120 $SHOPS plain
for s in $SHOPS; do
    as_sent "$s" "${s%_*}" $QUEUES "$MESSAGES" "every payment once"
    [ "${s%_*}" = loose ] || is "$(in_order "$s")" 0 "$s: and in the order of its queue"
    each_recorded "$s" "$MESSAGES"
    is "$(judge "$s" 'SELECT COUNT(*) FROM xonce_rejected')" 0 "$s: nothing was rejected"
    stop "${PID[$s-e]}" && ok "$s: the last member ends in order" || not_ok "$s: the last member ends in order" "$(tail -n 3 "$T/$s-e.err")"
    note "$s: $(tail -n 1 "$T/$s-e.out")"
done
got=$(counted plain)
unlike "$got" "^$MESSAGES rows" "the plain Java consumer books payments twice under the same kills: $got"
is "$(applied plain)" "$MESSAGES" "and loses none"
done_testing
