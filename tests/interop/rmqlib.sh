# What the tests on a real RocketMQ share: payments sent by Java clients, consumers that write them into a table without any key, and a judge that asks the database.
. "${TOP_SRCDIR:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}/tests/lib/tap.sh"
. "$TOP_SRCDIR/tests/lib/rocketmq/rocketmq.sh"

if [ -n "${XONCE_LONG:-}" ]; then MESSAGES=${MESSAGES:-20000}; else MESSAGES=${MESSAGES:-2000}; fi
TABLE="CREATE TABLE payments (n %s PRIMARY KEY, id varchar(40), amount bigint, place varchar(60), seq bigint, who varchar(40))"
# short waits, so that a test need not
QUICK="rocketmq.rebalance-every=3s rocketmq.route-every=2s rocketmq.heartbeat-every=2s rocketmq.commit-every=1s rocketmq.long-poll=4s"
export ALIBABA_CLOUD_ACCESS_KEY_ID=interop ALIBABA_CLOUD_ACCESS_KEY_SECRET=secret-of-the-interop-test
# CLAIM=offset runs a script with claims by offset: the queue's position is all that remembers
: "${CLAIM:=record}"
CLAIM_ARGS=()
[ "$CLAIM" = record ] || { CLAIM_ARGS=(--claim "$CLAIM"); note "claims by $CLAIM"; }
by_record() { [ "$CLAIM" = record ]; }

# shop NAME ENGINE...: a database of this name on each engine with our tables and an empty table payments; its URI in ${STORE[NAME]}. sqlite is a file.
declare -A STORE ENGINE
engines_start() {
    local engine
    XONCE_SERVERS_DIR=$(servers_new_dir) || bail "no folder for servers"
    export XONCE_SERVERS_DIR
    at_end servers_end
    for engine in "$@"; do
        [ -z "$(servers_missing "$engine")" ] || skip_all "$engine needs the Debian package $(servers_missing "$engine")"
        servers_start "$engine" || bail "$engine does not start"
    done
}
shop() {
    local name=$1 engine=$2 serial uri
    ENGINE[$name]=$engine
    case $engine in
        sqlite) STORE[$name]=sqlite:$T/$name.db serial="integer" ;;
        postgres) serial="bigserial" ;;
        mysql) serial="bigint AUTO_INCREMENT" ;;
    esac
    if [ "$engine" != sqlite ]; then
        uri=$(servers_uri "$engine")
        STORE[$name]=${uri%/*}/$name
        JUDGE_DB=xonce judge_run "$engine" "CREATE DATABASE $name" >/dev/null || bail "database $name"
    fi
    "$XONCE" init --store "${STORE[$name]}" >"$T/init.out" 2>&1 || bail "init: $(cat "$T/init.out")"
    # shellcheck disable=SC2059
    judge "$name" "$(printf "$TABLE" "$serial")" >/dev/null || bail "no table"
}
judge_run() { # ENGINE SQL, in the database $JUDGE_DB
    case $1 in
        sqlite) sqlite3 -batch -noheader -separator ' ' -cmd '.timeout 10000' "$T/$JUDGE_DB.db" "$2" ;;
        postgres) PGPASSWORD=xonce PGOPTIONS='-c client_min_messages=error' "$(servers_postgres_bin)/psql" -XAtq -F ' ' -d "$(servers_uri postgres | sed "s|[^/]*\$|$JUDGE_DB|")" -c "$2" ;;
        mysql) mariadb --no-defaults -uroot -S "$(servers_dir mysql)/s" -BN "$JUDGE_DB" -e "$2" | tr '\t' ' ' ;;
    esac
}
# judge SHOP SQL: the database's own client answers
judge() { JUDGE_DB=$1 judge_run "${ENGINE[$1]}" "$2"; }
# jdbc SHOP: for the Java consumer
jdbc() {
    local uri=${STORE[$1]}
    uri=${uri#*@}
    case ${ENGINE[$1]} in
        postgres) printf 'jdbc:postgresql://%s?user=xonce&password=xonce\n' "$uri" ;;
        mysql) printf 'jdbc:mariadb://%s?user=xonce&password=xonce\n' "$uri" ;;
    esac
}

# an orderly stop may take half a minute (--stop-within), and the machine be busy
eval "tap_$(declare -f stop)"
stop() { tap_stop "${1:-}" "${2:-TERM}" "${3:-60}"; }

# settings FILE KEY=VALUE...
settings() {
    local file=$1 pair
    shift
    for pair in "$@"; do printf '%s = %s\n' "${pair%%=*}" "${pair#*=}"; done >"$file"
}

# consumer NAME SHOP TOPIC GROUP ARGS...: a member in the background that signs its rows with NAME; process id in $STARTED. More settings: $SETTINGS (KEY=VALUE ...); SQL to be run before
# in the same transaction: $FIRST_SQL; a command to start it with: the array WITH
WITH=()
consumer() {
    local name=$1 shop=$2 topic=$3 group=$4
    shift 4
    # shellcheck disable=SC2086
    settings "$T/$name.conf" $QUICK ${SETTINGS:-}
    start "$name" "${WITH[@]}" "$XONCE" consume --from "$FROM" --topic "$topic" --group "$group" --store "${STORE[$shop]}" --config "$T/$name.conf" "${CLAIM_ARGS[@]}" \
        --sql "${FIRST_SQL:+$FIRST_SQL; }INSERT INTO payments (id, amount, place, seq, who) VALUES (:body.id, :body.amount, :body.queue, :body.seq, '$name')" --workers 2 "$@"
}
gone() { ! servers_runs "$1"; }

applied() { judge "$1" "SELECT COUNT(DISTINCT id) FROM payments"; }
has_applied() { # SHOP N
    local n
    n=$(applied "$1" 2>/dev/null) && [ "${n:-0}" -ge "$2" ]
}
rows() { judge "$1" "SELECT COUNT(*) FROM payments"; }
records() { judge "$1" "SELECT COUNT(*) FROM transaction_record"; }
no_records() { [ "$(records "$1")" = 0 ]; }
# each_recorded SHOP N: one record for each of N messages that were decided. By offset only those leave one that stood in a queue when it was first taken over.
each_recorded() {
    if by_record; then
        is "$(records "$1")" "$2" "$1: one record a message"
    else
        note "$1: $(records "$1") records"
    fi
}
# stored TOPIC QUEUES: how many messages the broker holds
stored() {
    local q n=0
    for ((q = 0; q < $2; q++)); do n=$((n + $(rocketmq_offset broker-a 30 none "$1" $q))); done
    echo $n
}
# as_sent SHOP TOPIC QUEUES LAST WHAT: payments 1 to LAST are there, each once. By offset a producer's resend, after an answer that a broker's crash swallowed, is another message: then each
# place in the queues once.
as_sent() {
    local n
    n=$(stored "$2" "$3")
    if by_record || [ "$n" = "$4" ]; then
        is "$(counted "$1")" "$(balanced 1 "$4")" "$1: $5"
    else
        is "$(applied "$1") ids, $(rows "$1") rows" "$4 ids, $n rows" "$1: $5 ($n were stored)"
    fi
}
# ended NAME...: members that were started under these names (their ids in ${PID[NAME]}) end in order, all at once
declare -A PID
ended() {
    local name
    for name in "$@"; do kill -TERM "${PID[$name]}" 2>/dev/null; done
    for name in "$@"; do servers_wait_gone "${PID[$name]}" 60 || not_ok "$name ends in order" "$(tail -n 3 "$T/$name.err")"; done
}
# said NAME WHAT: how many fresh, duplicate, rejected, retried a member counted, which has ended
said() { awk -v what="$2" '/^consumed / { for (i = 2; i < NF; i++) if (index($(i + 1), what) == 1) n = $i } END { print n + 0 }' "$T/$1.out"; }
# at_end_of TOPIC GROUP QUEUES: every queue is committed up to its end
at_end_of() {
    local q
    for ((q = 0; q < $3; q++)); do
        [ "$(rocketmq_offset broker-a 14 "$2" "$1" "$q")" = "$(rocketmq_offset broker-a 30 none "$1" "$q")" ] || return 1
    done
}
# send TOPIC MODE FIRST LAST [OPTION...]: by Java
send() { rocketmq_java Send "$NS" "$@" >"$T/send.out" 2>&1 || bail "send: $(tail -n 3 "$T/send.out")"; }

# counted SHOP: what the judge says; balanced FIRST LAST: what it must say when each payment of these is there once
counted() { printf '%s rows, %s ids, %s booked\n' $(judge "$1" "SELECT COUNT(*), COUNT(DISTINCT id), COALESCE(SUM(amount), 0) FROM payments"); }
balanced() { printf '%s rows, %s ids, %s booked\n' $(($2 - $1 + 1)) $(($2 - $1 + 1)) $((($1 + $2) * ($2 - $1 + 1) / 2)); }
# in_order SHOP: how many rows stand behind one of the same queue with a greater place: 0 when all are in order
in_order() {
    judge "$1" "SELECT COUNT(*) FROM (SELECT seq, LAG(seq) OVER (PARTITION BY place ORDER BY n) AS before_it FROM payments) q WHERE before_it $(by_record && echo '>=' || echo '>') seq"
}
# settle_down N SECONDS SHOP...: waits until N payments are in each, then until nothing was added anywhere for 3 seconds
settle_down() {
    local n=$1 seconds=$2
    shift 2
    all_applied "$n" "$seconds" "$@"
    nothing_comes "$@"
}
# all_applied N SECONDS SHOP...: waits until N payments are in each
all_applied() {
    local n=$1 seconds=$2 shop
    shift 2
    for shop in "$@"; do wait_for "$seconds" has_applied "$shop" "$n" || note "$shop: slow: $(rows "$shop") rows"; done
}
# nothing_comes SHOP...: waits until nothing was added anywhere for 3 seconds
nothing_comes() {
    local shop before="" now=
    until [ "$now" = "${before:-none}" ]; do
        [ -z "$now" ] || tap_pause 3
        before=$now
        now=$(for shop in "$@"; do rows "$shop"; done)
    done
}
# for_each_shop COMMAND...: for each of $SHOPS at the same time; @ stands for its name
for_each_shop() {
    local s pids=() status=0
    for s in $SHOPS; do
        "${@//@/$s}" >"$T/each-$s" 2>&1 &
        pids+=($!)
    done
    for s in "${pids[@]}"; do wait "$s" || status=1; done
    [ $status = 0 ] || cat "$T"/each-*
    return $status
}
# show_troubles NAME...: the last lines that consumers said, for a failed test
show_troubles() {
    local name
    for name in "$@"; do note "$name:" "$(tail -n 4 "$T/$name.err" 2>/dev/null)"; done
}
