#!/usr/bin/env bash
# Records pruned at once, so that only settled ranges remember what was applied: whatever brings old messages back, nothing is applied twice, and nothing new is taken for old.
# One topic is written into PostgreSQL, MariaDB and SQLite, by a group each. (Pruning while nobody runs, and with the clock moved on: rocketmq-prune.sh.)
[ -z "${XONCE_LONG:-}" ] || : "${MESSAGES:=50000}"
. "$(dirname "$0")/rmqlib.sh"
rocketmq_need
engines_start postgres mysql
rocketmq_begin flushConsumerOffsetInterval=1000
rocketmq_topic pay 4 && rocketmq_topic tags 2 || bail "no topics"
SHOPS="pg my lite"
shop pg postgres
shop my mysql
shop lite sqlite
shop tags_pg postgres
shop tags_my mysql
BRIEF="--keep 1s --prune-every 1s --unsafe-keep"
OFFSETS=$ROCKETMQ_DIR/broker-a/store/config/consumerOffset.json

# payment i goes to queue i modulo 4; all numbers of payments are multiples of 4, so that their offsets can be told
SENT=0
feed() {
    send pay ordered $((SENT + 1)) $((SENT + $1)) queues=4
    SENT=$((SENT + $1))
}
# members NAME [ARGS...]: one for each shop
members() {
    local name=$1 s
    shift
    for s in $SHOPS; do
        # shellcheck disable=SC2086
        consumer "$name-$s" "$s" pay "GID_$s" $BRIEF --verbose "$@"
        PID[$name-$s]=$STARTED
    done
}
names() { local s; for s in $SHOPS; do printf '%s-%s ' "$1" "$s"; done; }
# quiet: all that was sent is applied, every queue is committed up to its end (so what came again was looked at), and nothing is added any more
quiet() {
    local s
    # shellcheck disable=SC2086
    all_applied $SENT 120 $SHOPS
    for s in $SHOPS; do wait_for 120 at_end_of pay "GID_$s" 4 || note "$s is not at the end"; done
    # shellcheck disable=SC2086
    nothing_comes $SHOPS
}
each_once() {
    local s
    quiet
    for s in $SHOPS; do
        is "$(counted "$s")" "$(balanced 1 $SENT)" "$s: $1"
        wait_for 120 no_records "$s" || not_ok "$s: its records are pruned" "$(records "$s") are left"
    done
}
# read_again NAME...: these members have read each queue from its beginning
read_again() {
    local name
    for name in "$@"; do
        is "$(grep -oE 'queue [0-9]+ of [a-z]+ at broker-a is read from offset 0 ' "$T/$name.err" | sort -u | wc -l)" "${QUEUES:-4}" "$name has read each queue again"
    done
}
commits() { local q; for q in 0 1 2 3; do printf '%s ' "$(rocketmq_offset broker-a 14 "GID_$1" pay $q)"; done; }
commit() { local q; for q in 0 1 2 3; do rocketmq_set_offset broker-a "GID_$1" pay $q "$2"; done; }
on_disk() { tr -d ' \t\n' <"$OFFSETS" | grep -q "\"pay@GID_$1\":{0:$2,1:$2,2:$2,3:$2}"; }

# ---- all is applied, the records go; a copy of the broker's file of offsets is kept from the beginning
members a
feed $((MESSAGES / 40 * 4))
old=$((SENT / 4))
for s in $SHOPS; do wait_for 120 on_disk "$s" $old || bail "$s: the broker does not write down that $old of each queue are consumed: $(tr -d '\n' <"$OFFSETS")"; done
cp "$OFFSETS" "$T/old-offsets.json"
feed $((MESSAGES - SENT))
each_once "$MESSAGES applied"
for s in $SHOPS; do is "$(records "$s")" 0 "$s: only ranges are left"; done

# ---- an operator resets the groups to the beginning
check "an operator resets the groups to 0" for_each_shop rocketmq_admin resetOffsetByTime -g GID_@ -t pay -s 0
feed 100
each_once "reset to 0: nothing twice, and what came after is there"

# ---- a stale member commits old offsets
for_each_shop commit @ 3
feed 100
each_once "a stale member commits old offsets meanwhile: nothing twice"

# ---- a new member joins
SETTINGS="consume-from=first" members b
for s in $SHOPS; do wait_for 120 rocketmq_has_members "GID_$s" 2 || note "$s has not 2 members"; done
takes_part() { [ "$(judge "$1" "SELECT COUNT(*) FROM payments WHERE who = 'b-$1'")" -gt 0 ]; }
for try in 1 2 3 4 5 6 7 8 9 10; do
    feed 40
    # shellcheck disable=SC2086
    all_applied $SENT 60 $SHOPS
    for s in $SHOPS; do takes_part "$s" || continue 2; done
    break
done
for s in $SHOPS; do check "$s: the new member takes part" takes_part "$s"; done
each_once "a new member with consume-from=first beside another: nothing twice"
# shellcheck disable=SC2046
ended $(names a) $(names b)
read_again $(names a)

for_each_shop commit @ 3
for s in $SHOPS; do is "$(commits "$s")" "3 3 3 3 " "$s: a stale member has committed old offsets"; done
SETTINGS="consume-from=first" members c
feed 100
each_once "a stale member's offsets while nobody ran, then a new member with consume-from=first: nothing twice"
# shellcheck disable=SC2046
ended $(names c)
read_again $(names c)

# ---- the broker's file of offsets is an old copy
rocketmq_kill broker-a
cp "$T/old-offsets.json" "$OFFSETS"
rm -f "$OFFSETS.bak"
rocketmq_start broker-a || bail "the broker does not come back"
for s in $SHOPS; do is "$(commits "$s")" "$old $old $old $old " "$s: the broker knows the offsets of long ago"; done
members d
feed 100
each_once "consumerOffset.json restored from an old copy: nothing twice"
# shellcheck disable=SC2046
ended $(names d)
read_again $(names d)

# ---- the topic is made anew: the same offsets, other messages. The group of PostgreSQL runs all the while.
SHOPS=pg members e
wait_for 90 rocketmq_has_members GID_pg 1 || note "not there yet"
check "the topic is deleted" rocketmq_admin deleteTopic -c "$ROCKETMQ_CLUSTER" -t pay
wait_for 90 eval '! rocketmq_route_has pay broker-a 4' || note "its route is still there"
check "and made again" rocketmq_admin updateTopic -c "$ROCKETMQ_CLUSTER" -t pay -r 4 -w 4
wait_for 90 rocketmq_route_has pay broker-a 4 || bail "no new topic"
for q in 0 1 2 3; do wait_for 120 eval '[ "$(rocketmq_offset broker-a 30 none pay $q)" = 0 ]' || note "queue $q is not empty"; done
fresh=$((SENT + 1))
feed 248
SHOPS="my lite" members e
tap_pause 0.3 # a rewind to a time needs one that lies clearly between the store times of the two halves
later=$(date +%s%3N) second=$((SENT + 1))
tap_pause 0.3
feed 252
each_once "a topic deleted and made again: all of its messages are applied"
# shellcheck disable=SC2046
ended $(names e)

# ---- wanted replays
# replayed SHOP CONDITION N NAME: the N payments that the condition chooses stand there twice, all others once
replayed() {
    local shop=$1 want=$((SENT + $3))
    wait_for 120 eval '[ "$(rows "$shop")" -ge "$want" ]' || note "$1: slow: $(rows "$1") rows"
    nothing_comes "$1"
    is "$(judge "$1" "SELECT SUM(CASE WHEN chosen = 1 AND n = 2 THEN 1 ELSE 0 END), SUM(CASE WHEN chosen = 0 AND n = 1 THEN 1 ELSE 0 END), COUNT(*)
        FROM (SELECT id, COUNT(*) AS n, MAX(CASE WHEN $2 THEN 1 ELSE 0 END) AS chosen FROM payments GROUP BY id) q")" "$3 $((SENT - $3)) $SENT" "$1: $4"
}
check "rewound by offset" "$XONCE" rewind --from "$FROM" --topic pay --queue 2 --group GID_pg --store "${STORE[pg]}" --to 50 --yes
for s in my lite; do check "rewound by time" "$XONCE" rewind --from "$FROM" --topic pay --group "GID_$s" --store "${STORE[$s]}" --to "$later" --yes; done
members f
replayed pg "amount >= $fresh AND MOD(amount, 4) = 2 AND (amount - $fresh) / 4 >= 50" 75 "rewind to an offset: exactly those behind it in that queue again"
for s in my lite; do replayed "$s" "amount >= $second" 252 "rewind to a time: exactly those since then again"; done
# shellcheck disable=SC2046
ended $(names f)

# ---- a filter that becomes wider
send tags normal 1 200 tag=red -- tags normal 201 400 tag=blue -- tags normal 401 450 tag=green
SHOPS="tags_pg tags_my"
for s in $SHOPS; do
    # shellcheck disable=SC2086
    consumer "g-$s" "$s" tags "GID_$s" $BRIEF --tags red
    PID[g-$s]=$STARTED
done
# shellcheck disable=SC2086
settle_down 200 60 $SHOPS
for s in $SHOPS; do
    is "$(counted "$s")" "$(balanced 1 200)" "$s: only red ones"
    wait_for 120 at_end_of tags "GID_$s" 2 || note "$s is not at the end"
    wait_for 120 no_records "$s" || note "$s: $(records "$s") records are left"
done
# shellcheck disable=SC2046
ended $(names g)
check "an operator resets them" for_each_shop rocketmq_admin resetOffsetByTime -g GID_@ -t tags -s 0
for s in $SHOPS; do
    # shellcheck disable=SC2086
    consumer "h-$s" "$s" tags "GID_$s" $BRIEF --verbose --tags 'red || blue'
    PID[h-$s]=$STARTED
done
# shellcheck disable=SC2086
settle_down 400 60 $SHOPS
for s in $SHOPS; do
    wait_for 120 at_end_of tags "GID_$s" 2 || note "$s is not at the end"
    is "$(counted "$s")" "$(balanced 1 400)" "$s: a wider filter and a reset: the newly wanted ones are applied, the others not again"
done
# shellcheck disable=SC2046
ended $(names h)
QUEUES=2 read_again $(names h)
done_testing
