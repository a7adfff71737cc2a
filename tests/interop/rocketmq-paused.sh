#!/usr/bin/env bash
# A member is stopped (SIGSTOP) in the middle of a batch, with a transaction open and messages in memory; its broker gives it up, another member takes its queues over; then it wakes. Each
# message is applied once, in PostgreSQL and MariaDB. Under the same events a group
# without claims (--no-dedup) applies some twice: the judge can fail.
. "$(dirname "$0")/rmqlib.sh"
rocketmq_need
engines_start postgres mysql
rocketmq_begin channelExpiredTimeout=8000
rocketmq_topic pause 4 || bail "no topic"
SHOPS="pg my"
shop pg postgres
shop my mysql
shop plain postgres
# each row takes its time, so that a batch can be met in the middle; on PostgreSQL, which gets a batch in one piece and may make an end by itself, much of it when that is asked for
slow_pg="CREATE TABLE slowness (n int); CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(CASE WHEN EXISTS (SELECT FROM slowness) THEN 2 ELSE 0.02 END); RETURN NEW; END'; CREATE TRIGGER slow BEFORE INSERT ON payments FOR EACH ROW EXECUTE FUNCTION slowly()"
judge pg "$slow_pg" >/dev/null && judge plain "$slow_pg" >/dev/null && judge my "CREATE TRIGGER slow BEFORE INSERT ON payments FOR EACH ROW DO SLEEP(0.02)" >/dev/null || bail "no triggers"

# a transaction that a stopped member leaves open is ended by its database after handler.timeout
member() { # SHOP NAME
    local claim=("${CLAIM_ARGS[@]}") more=()
    [ "$1" != plain ] || CLAIM_ARGS=() more=(--no-dedup)
    SETTINGS="handler.timeout=4s store.lock-timeout=2s" consumer "$1-$2" "$1" pause "GID_$1" "${more[@]}"
    PID[$1-$2]=$STARTED
    CLAIM_ARGS=("${claim[@]}")
}
# The local ports of a process, as a list for SQL.
ports() {
    local inodes
    inodes=$(find "/proc/$1/fd" -lname 'socket:*' -printf '%l\n' 2>/dev/null | tr -dc '0-9\n' | sort -u | tr '\n' ' ')
    awk -v list="$inodes" 'BEGIN { n = split(list, a, " "); for (i = 1; i <= n; i++) own[a[i]] = 1 }
        $10 in own { split($2, at, ":"); print at[2] }' /proc/net/tcp /proc/net/tcp6 2>/dev/null | while read -r port; do printf '%d,' "0x$port"; done
    echo 0
}
# open_transactions SHOP PID: how many of the process are open
open_transactions() {
    case ${ENGINE[$1]} in
        postgres) judge "$1" "SELECT COUNT(*) FROM pg_stat_activity WHERE client_port IN ($(ports "$2")) AND xact_start IS NOT NULL" ;;
        mysql) judge "$1" "SELECT COUNT(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id
            WHERE SUBSTRING_INDEX(p.host, ':', -1) IN ($(ports "$2"))" ;;
    esac
}
faster() { [ "${ENGINE[$1]}" != postgres ] || judge "$1" "DELETE FROM slowness" >/dev/null; }
is_busy() { [ "$(open_transactions "$1" "$2")" -gt 0 ]; }
# pause SHOP NAME: stops the member when it has a transaction open that does not end by itself. In its last tries any will do: of a whole batch that was sent in one piece the database makes
# an end alone.
pause() {
    local s=$1 pid=${PID[$1-$2]} try seen
    OPEN=0
    [ "${ENGINE[$s]}" != postgres ] || judge "$s" "INSERT INTO slowness VALUES (1)" >/dev/null
    for try in {1..30}; do
        # it may have done all that there was while others were looked at
        wait_for 4 is_busy "$s" "$pid" || { feed 200 && fed; }
        kill -STOP "$pid"
        [ "$try" -gt 20 ] || tap_pause 0.4 # what its database was asked for is done by then
        seen=$(open_transactions "$s" "$pid")
        OPEN=$((try > 20))
        if [ "${seen:-0}" -gt 0 ]; then faster "$s"; return 0; fi
        kill -CONT "$pid"
        tap_pause 0.05
    done
    faster "$s"
    return 1
}

FED=0
feed() { # N [PAUSE]: in the background
    start_java "send-$FED" Send "$NS" pause ordered $((FED + 1)) $((FED + $1)) queues=4 pause="${2:-0}"
    SENDER=$STARTED
    FED=$((FED + $1))
}
fed() { wait_for 300 gone "$SENDER" || bail "the sender hangs"; }
# has every queue's last payment been applied by this member?
has_all_queues() { # SHOP WHO FROM
    [ "$(judge "$1" "SELECT COUNT(DISTINCT place) FROM payments WHERE who = '$1-$2' AND amount > $3")" = 4 ]
}
takes_part() { [ "$(judge "$1" "SELECT COUNT(*) FROM payments WHERE who = '$1-$2' AND amount > $3")" -gt 0 ]; }

ROUNDS=1
[ -z "${XONCE_LONG:-}" ] || ROUNDS=4
for ((round = 1; round <= ROUNDS; round++)); do
    # both members by turns
    [ $((round % 2)) = 1 ] && asleep=a awake=b || asleep=b awake=a
    began=$FED
    # more than they can do in the next seconds
    feed 1200
    fed
    [ "$round" != 1 ] || for s in $SHOPS plain; do member "$s" a; member "$s" b; done
    for s in $SHOPS plain; do
        wait_for 120 takes_part "$s" $asleep $began && wait_for 120 takes_part "$s" $awake $began || note "$s: a member has no part: $(judge "$s" "SELECT who, COUNT(*) FROM payments GROUP BY who" | tr '\n' ' ')"
        if [ "$s" = plain ]; then
            kill -STOP "${PID[$s-$asleep]}"
        else
            pause "$s" $asleep
            is "$?" 0 "$s: one of two is stopped in the middle of a transaction"
        fi
        [ "${OPEN:-0}" != 1 ] || note "$s: the whole batch had been sent"
    done
    for s in $SHOPS plain; do wait_for 180 rocketmq_has_members "GID_$s" 1 || note "$s: the broker does not give it up: $(rocketmq_members "GID_$s" | tr '\n' ' ')"; done
    at=$FED
    feed 200 5
    fed
    for s in $SHOPS plain; do check "$s: the other one has taken over all queues" wait_for 120 has_all_queues "$s" $awake $at; done
    [ "$round" != 1 ] || for s in $SHOPS; do note "$s: applied by the time it wakes: $(applied "$s") of $FED"; done
    feed 200 5
    for s in $SHOPS plain; do kill -CONT "${PID[$s-$asleep]}"; done
    fed
    for s in $SHOPS plain; do wait_for 180 rocketmq_has_members "GID_$s" 2 || not_ok "$s: it comes back" "$(tail -n 3 "$T/$s-$asleep.err")"; done
    # it has queues again as soon as it says so
    for s in $SHOPS; do
        for try in 1 2 3 4 5 6; do
            at=$FED
            feed 80
            fed
            all_applied $FED 120 "$s"
            takes_part "$s" $asleep $at && break
        done
        check "$s: and takes part again" takes_part "$s" $asleep $at
    done
done
# shellcheck disable=SC2086
settle_down $FED 180 $SHOPS plain
for s in $SHOPS; do
    for try in a b; do note "$s-$try: $(judge "$s" "SELECT COUNT(*) FROM payments WHERE who = '$s-$try'") rows"; done
    is "$(counted "$s")" "$(balanced 1 $FED)" "$s: every payment once"
    each_recorded "$s" $FED
    is "$(judge "$s" 'SELECT COUNT(*) FROM xonce_rejected')" 0 "$s: nothing was rejected"
done
unlike "$(counted plain)" "^$FED rows" "without claims some are applied twice: $(counted plain)"
# shellcheck disable=SC2046
ended pg-a pg-b my-a my-b plain-a plain-b
done_testing
