#!/usr/bin/env bash
# Pruning while nobody consumes, with the clock moved on: members were killed with messages applied and not acknowledged, others wait in the retry topic for their delay. xonce prune and the
# SQL that it prints are run again and again, and the members come back: nothing is applied twice, nothing is lost. Then the same by the safe rules, which do delete once a group has caught
# up, and everything comes again. Into PostgreSQL, MariaDB and SQLite; the servers' clocks are moved, and those of all programs that ask them.
. "$(dirname "$0")/rmqlib.sh"
rocketmq_need
faketime=$(ls -d /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib/faketime/libfaketimeMT.so.1 /usr/local/lib/faketime/libfaketimeMT.so.1 2>/dev/null | head -n 1)
[ -n "$faketime" ] || skip_all "there is no libfaketimeMT.so.1 here (Debian package libfaketime)"
engines_start postgres mysql
rocketmq_begin "messageDelayLevel=1s 1s 20s 5s 5s 5s 5s 5s 5s 5s 5s 5s 5s 5s 5s 5s 5s 5s"
rocketmq_topic cash 4 || bail "no topic"
SHOPS="pg my lite"
shop pg postgres
shop my mysql
shop lite sqlite
# a payment with a tag that is not open yet fails, and is tried again
FIRST_SQL="INSERT INTO uses (tag) VALUES (:tag)"
for s in $SHOPS; do
    judge "$s" "CREATE TABLE open_tags (tag varchar(20) PRIMARY KEY); CREATE TABLE uses (tag varchar(20) NOT NULL, FOREIGN KEY (tag) REFERENCES open_tags (tag)); INSERT INTO open_tags VALUES ('ok')" >/dev/null ||
        bail "$s: no tables"
done

# ---- a clock that can be moved: for whoever is started with it (a folder that the servers' users can read)
CLOCK=$XONCE_SERVERS_DIR/clock
with_clock=(env "LD_PRELOAD=$faketime" "FAKETIME_TIMESTAMP_FILE=$CLOCK" FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1)
ahead() { # ENGINE: by how many seconds its clock is ahead
    local now
    case $1 in
        postgres) now=$(JUDGE_DB=xonce judge_run postgres "SELECT CAST(extract(epoch FROM clock_timestamp()) AS bigint)") ;;
        mysql) now=$(JUDGE_DB=xonce judge_run mysql "SELECT UNIX_TIMESTAMP()") ;;
    esac
    echo $((now - $(date +%s)))
}
is_at() { local off=$(($(ahead "$1") - $2)); [ "$off" -ge -2 ] && [ "$off" -le 2 ]; }
# clock SECONDS: servers and programs are that far ahead
clock() {
    local engine
    printf '+%s\n' "$1" >"$CLOCK"
    chmod 644 "$CLOCK"
    for engine in postgres mysql; do wait_for 60 is_at $engine "$1" || bail "the clock of $engine cannot be moved: it is ahead by $(ahead $engine) s"; done
}
# libfaketime makes a semaphore of its process when it is loaded: by the user who needs it later
eval "true_$(declare -f servers_as)"
moved=()
servers_as() {
    local user=$1
    shift
    true_servers_as "$user" env "${moved[@]}" "$@"
}
# what libfaketime leaves of a process that ended
swept() { local pid; for pid in "${faked[@]}"; do rm -f "/dev/shm/sem.faketime_sem_$pid" "/dev/shm/faketime_shm_$pid"; done; }
faked=()
at_end 'servers_end; swept'
# restarted moved|true: the servers, with that clock
restarted() {
    local engine
    moved=()
    [ "$1" = true ] || moved=("${with_clock[@]:1}")
    for engine in postgres mysql; do
        servers_stop $engine
        servers_start $engine || bail "$engine does not start with its clock $1"
        [ "$1" = true ] || faked+=("$(servers_pid $engine)")
    done
}

members() { # NAME [ARGS...]
    local name=$1 s
    shift
    for s in $SHOPS; do
        consumer "$name-$s" "$s" cash "GID_$s" "$@"
        PID[$name-$s]=$STARTED
    done
}
names() { local s; for s in $SHOPS; do printf '%s-%s ' "$1" "$s"; done; }
killed() { local name; for name in "$@"; do stop "${PID[$name]}" KILL; done; }
each_once() { # LAST WHAT
    local s
    # shellcheck disable=SC2086
    settle_down "$1" 120 $SHOPS
    for s in $SHOPS; do is "$(counted "$s")" "$(balanced 1 "$1")" "$s: $2"; done
}
# pruned SHOP ARGS...: by the program; prints how many it deleted
pruned() {
    local s=$1
    shift
    "${with_clock[@]}" "$XONCE" prune --store "${STORE[$s]}" --group "GID_$s" --json "$@" 2>"$T/prune.err" | sed -n 's/.*"deleted":\([0-9]*\).*/\1/p'
}
# pruned_by_sql SHOP ARGS...: by what it prints, in the database's own client
pruned_by_sql() {
    local s=$1 before sql
    shift
    sql=$("${with_clock[@]}" "$XONCE" prune --store "${STORE[$s]}" --group "GID_$s" --print-sql "$@" 2>"$T/prune.err") || { cat "$T/prune.err"; return 1; }
    before=$(records "$s")
    case ${ENGINE[$s]} in
        sqlite) printf '%s' "$sql" | "${with_clock[@]}" sqlite3 -batch "$T/$s.db" ;;
        postgres) printf '%s' "$sql" | PGPASSWORD=xonce "$(servers_postgres_bin)/psql" -XAtq -v ON_ERROR_STOP=1 -d "${STORE[$s]}" ;;
        mysql) printf '%s' "$sql" | mariadb --no-defaults -uroot -S "$(servers_dir mysql)/s" -BN "$s" ;;
    esac 2>&1 || return 1
    echo $((before - $(records "$s")))
}

# ---- some are applied and settled
part=$((MESSAGES / 10))
members a
send cash normal 1 $part tag=ok
# shellcheck disable=SC2086
all_applied $part 60 $SHOPS
for s in $SHOPS; do wait_for 120 at_end_of cash "GID_$s" 4 || note "$s is not at the end"; done
# some fail: their copies wait for their delay (in offset mode they stay where they are)
late=$((part + 40))
send cash normal $((part + 1)) $late tag=late
if by_record; then
    waits() { [ "$(rocketmq_offset broker-a 30 none SCHEDULE_TOPIC_XXXX 2)" -ge 120 ]; }
    wait_for 120 waits || note "copies that wait: $(rocketmq_offset broker-a 30 none SCHEDULE_TOPIC_XXXX 2)"
    for s in $SHOPS; do wait_for 120 at_end_of cash "GID_$s" 4 || note "$s is not at the end"; done
fi
# shellcheck disable=SC2046
killed $(names a)
# some are applied and not acknowledged: killed in the middle
SETTINGS="rocketmq.commit-every=10m" members b
start_java send Send "$NS" cash normal $((late + 1)) $((late + 3 * part)) tag=ok pause=2
sender=$STARTED
# shellcheck disable=SC2086
! by_record || all_applied $((part + part / 2)) 60 $SHOPS
# shellcheck disable=SC2046
killed $(names b)
wait_for 300 gone "$sender" || bail "the sender hangs"
all=$((late + 3 * part))
for s in $SHOPS; do note "$s: $(applied "$s") applied, $(records "$s") records"; done

# ---- the clock moves on, and whoever may prunes
printf '+0\n' >"$CLOCK"
chmod 644 "$CLOCK"
restarted moved
declare -A SAFE UNSAFE BEFORE
for s in $SHOPS; do SAFE[$s]=0 UNSAFE[$s]=0 BEFORE[$s]=$(records "$s"); done
for at in 2400 7200 86400 864000; do # 40 minutes: the watermark still counts as fresh; later it does not
    clock $at
    for s in $SHOPS; do
        for job in pruned pruned_by_sql; do
            n=$($job "$s" --keep 7h) && [ "$n" -ge 0 ] || bail "$s: $job: $n $(cat "$T/prune.err")"
            SAFE[$s]=$((SAFE[$s] + n))
        done
    done
done
for again in 1 2 3; do
    for s in $SHOPS; do
        for job in pruned_by_sql pruned; do
            n=$($job "$s" --keep 1s --unsafe-keep) && [ "$n" -ge 0 ] || bail "$s: $job: $n $(cat "$T/prune.err")"
            UNSAFE[$s]=$((UNSAFE[$s] + n))
        done
    done
done
for s in $SHOPS; do
    is "${SAFE[$s]}" 0 "$s: nothing is pruned while nobody consumes, however late it is"
    by_record || continue
    check "$s: --unsafe-keep prunes what a range covers: ${UNSAFE[$s]} of ${BEFORE[$s]}" [ "${UNSAFE[$s]}" -ge $part ]
    check "$s: but no record of what was applied and not acknowledged: $(records "$s") stay" [ "$(records "$s")" -ge $((part / 4)) ]
done

# ---- the members come back
restarted true
for s in $SHOPS; do judge "$s" "INSERT INTO open_tags VALUES ('late')" >/dev/null || bail "$s: open_tags"; done
members c
each_once $all "pruned again and again meanwhile: each message once, also those that waited or were not acknowledged"
for s in $SHOPS; do wait_for 120 at_end_of cash "GID_$s" 4 || note "$s is not at the end"; done
# shellcheck disable=SC2046
ended $(names c)

# ---- a day later the group has caught up: by the safe rules, too, the records may go
restarted moved
clock 86400
WITH=("${with_clock[@]}")
members d
WITH=()
mark() { judge "$1" "SELECT COALESCE(MAX(watermark_ms), 0) FROM xonce_watermark"; }
rose() { [ "$(mark "$1")" -gt $((($(date +%s) + 80000) * 1000)) ]; }
for s in $SHOPS; do
    wait_for 180 rose "$s" || not_ok "$s: the watermark rises" "$(mark "$s"), and it is $(date +%s)000 + 86400000; $(tail -n 2 "$T/d-$s.err")"
    SAFE[$s]=$(records "$s")
    job=pruned
    [ "$s" != my ] || job=pruned_by_sql
    is "$($job "$s" --keep 7h) of ${SAFE[$s]}" "${SAFE[$s]} of ${SAFE[$s]}" "$s: caught up, and a day older than --keep: the records go ($job)"
done
check "an operator resets them to 0" for_each_shop rocketmq_admin resetOffsetByTime -g GID_@ -t cash -s 0
send cash normal $((all + 1)) $((all + 100)) tag=ok
all=$((all + 100))
for s in $SHOPS; do wait_for 120 at_end_of cash "GID_$s" 4 || note "$s is not at the end"; done
each_once $all "after that a reset to 0: nothing twice"
# shellcheck disable=SC2046
ended $(names d)
done_testing
