#!/usr/bin/env bash
# Records pruned at once, so that only settled ranges remember what was applied: whatever brings old messages back, nothing is applied twice, and nothing new is taken for old.
. "$(dirname "$0")/rmqlib.sh"
rocketmq_need
engines_start postgres mysql
rocketmq_begin
rocketmq_topic pay 4 && rocketmq_topic tags 2 || bail "no topics"
shop pay postgres
shop tags mysql
BRIEF="--keep 1s --prune-every 1s --unsafe-keep"

send() { # TOPIC FIRST LAST [OPTION...]
    local topic=$1 from=$2 to=$3
    shift 3
    rocketmq_java Send "$NS" "$topic" normal "$from" "$to" "$@" >"$T/send.out" 2>&1 || bail "send: $(tail -n 3 "$T/send.out")"
}
records() { judge "$1" "SELECT COUNT(*) FROM transaction_record WHERE consumer_group = '$2'"; }
no_records() { [ "$(records "$1" "$2")" = 0 ]; }
wanted() { # SHOP FIRST LAST: what the table holds of these, when all is quiet
    settle_down $(($3 - $2 + 1)) 60 "$1"
    counted "$1"
}
at_end_of() { # TOPIC GROUP QUEUES: every queue is committed up to its end
    local q
    for ((q = 0; q < $3; q++)); do
        [ "$(rocketmq_offset broker-a 14 "$2" "$1" "$q")" = "$(rocketmq_offset broker-a 30 "$2" "$1" "$q")" ] || return 1
    done
}
end_in_order() { stop "$1" || not_ok "it ends in order" "$(tail -n 3 "$T/$2.err")"; }

# shellcheck disable=SC2086
{
send pay 1 "$MESSAGES"
consumer a pay pay GID_pay $BRIEF
a=$STARTED
is "$(wanted pay 1 "$MESSAGES")" "$(balanced 1 "$MESSAGES")" "$MESSAGES applied"
wait_for 90 no_records pay GID_pay || note "$(records pay GID_pay) records are left"
is "$(records pay GID_pay)" 0 "only ranges are left"
cp "$ROCKETMQ_DIR"/broker-a/store/config/consumerOffset.json "$T/old-offsets.json"

check "an operator resets the group to the beginning" rocketmq_admin resetOffsetByTime -g GID_pay -t pay -s 0
send pay $((MESSAGES + 1)) $((MESSAGES + 100))
all=$((MESSAGES + 100))
is "$(wanted pay 1 $all)" "$(balanced 1 $all)" "reset to 0: nothing twice, and what came after is there"

for q in 0 1 2 3; do rocketmq_set_offset broker-a GID_pay pay $q 3; done
end_in_order "$a" a
for q in 0 1 2 3; do rocketmq_set_offset broker-a GID_pay pay $q 3; done
consumer b pay pay GID_pay $BRIEF
b=$STARTED
send pay $((all + 1)) $((all + 100))
all=$((all + 100))
is "$(wanted pay 1 $all)" "$(balanced 1 $all)" "a stale member commits old offsets: nothing twice"
wait_for 30 at_end_of pay GID_pay 4 || note "not at the end"
end_in_order "$b" b

rocketmq_stop broker-a
cp "$T/old-offsets.json" "$ROCKETMQ_DIR"/broker-a/store/config/consumerOffset.json
rm -f "$ROCKETMQ_DIR"/broker-a/store/config/consumerOffset.json.bak
rocketmq_start broker-a || bail "the broker does not come back"
SETTINGS="consume-from=first" consumer c pay pay GID_pay $BRIEF
c=$STARTED
send pay $((all + 1)) $((all + 100))
all=$((all + 100))
is "$(wanted pay 1 $all)" "$(balanced 1 $all)" "an old file of offsets, and a new member with consume-from=first: nothing twice"
end_in_order "$c" c

# ---- the topic is made anew: the same offsets, other messages
check "the topic is deleted" rocketmq_admin deleteTopic -c "$(rocketmq_admin clusterList 2>/dev/null | awk 'NR == 2 { print $1 }')" -t pay
wait_for 30 eval '! rocketmq_route_has pay broker-a 4' || note "its route is still there"
rocketmq_topic pay 4 || bail "no new topic"
wait_for 60 eval '[ "$(rocketmq_offset broker-a 30 GID_pay pay 0)" = 0 ]' || note "its queues are not empty"
send pay $((all + 1)) $((all + 500))
all=$((all + 500))
consumer d pay pay GID_pay $BRIEF
d=$STARTED
is "$(wanted pay 1 $all)" "$(balanced 1 $all)" "a topic deleted and made again: all of its messages are applied"
wait_for 60 no_records pay GID_pay || note "$(records pay GID_pay) records are left"
end_in_order "$d" d

# ---- a wanted replay
before=$(rows pay)
check "rewound" "$XONCE" rewind --from "$FROM" --topic pay --queue 0 --group GID_pay --store "${STORE[pay]}" --to 0 --yes
again=$(rocketmq_offset broker-a 30 GID_pay pay 0)
consumer e pay pay GID_pay
e=$STARTED
wait_for 30 eval '[ "$(rows pay)" -ge $((before + again)) ]' || note "slow"
settle_down $all 30 pay
is "$(rows pay) rows, $(applied pay) ids" "$((before + again)) rows, $all ids" "rewind: exactly the $again messages of that queue again"
end_in_order "$e" e

# ---- a filter that becomes wider
for tag in red blue; do send tags $([ $tag = red ] && echo 1 200 || echo 201 400) tag=$tag; done
consumer f tags tags GID_tags $BRIEF --tags red
f=$STARTED
is "$(wanted tags 1 200)" "$(balanced 1 200)" "only red ones"
wait_for 60 no_records tags GID_tags || note "$(records tags GID_tags) records are left (several filters)"
end_in_order "$f" f
check "an operator resets it" rocketmq_admin resetOffsetByTime -g GID_tags -t tags -s 0
consumer g tags tags GID_tags --tags 'red || blue'
g=$STARTED
is "$(wanted tags 1 400)" "$(balanced 1 400)" "a wider filter and a reset: the newly wanted ones are applied, the others not again"
end_in_order "$g" g
}
done_testing
