# What the crash tests share: payments through a faulty endpoint into a table, consumers that are killed, and a judge that asks the database.
. "${TOP_SRCDIR:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}/tests/lib/tap.sh"

export ALIBABA_CLOUD_ACCESS_KEY_ID=crash-test ALIBABA_CLOUD_ACCESS_KEY_SECRET=secret-of-the-crash-test
GROUP=GID_crash
FAILPOINTS="polled begun claimed handled committing commit-sent committed settled"
if [ -n "${XONCE_LONG:-}" ]; then
    MESSAGES=${MESSAGES:-20000} RANDOM_KILLS=${RANDOM_KILLS:-20}
else
    MESSAGES=${MESSAGES:-5000} RANDOM_KILLS=${RANDOM_KILLS:-8}
fi
AMOUNTS=$((MESSAGES * (MESSAGES + 1) / 2)) # message i books i
SQL="INSERT INTO payments (id, amount) VALUES (:body.id, :body.amount)"

# use_engine sqlite|postgres|mysql: a database with our tables and an empty table payments without any key; sets STORE
use_engine() {
    database "$1"
    DIRECT=$STORE # the judge's way, never through a proxy
    "$XONCE" init --store "$STORE" >"$T/init.out" 2>&1 || bail "init: $(cat "$T/init.out")"
    judge "CREATE TABLE payments (id varchar(40), amount bigint)" >/dev/null || bail "no table"
}

# judge SQL: the database's own client answers
judge() {
    case $ENGINE in
        sqlite) sqlite "$T/shop.db" "$1" ;;
        postgres) PGOPTIONS='-c client_min_messages=error' "$(servers_postgres_bin)/psql" -XAtq -d "$DIRECT" -c "$1" ;;
        mysql) printf '%s;\n' "$1" | servers_mysql_root "$(servers_dir mysql)" 2>/dev/null || printf 'USE xonce; %s;\n' "$1" | servers_mysql_root "$(servers_dir mysql)" ;;
    esac
}

# start_endpoint ARGS...: the endpoint, and the messages in a file; feed sends them
start_endpoint() {
    start_serve serve --data "$T/serve" --instance MQ_INST_crash --redeliver 2s "$@" || bail "serve"
    local i
    for ((i = 1; i <= MESSAGES; i++)); do printf '{"body":"{\\"id\\":\\"p%d\\",\\"amount\\":%d}","key":"p%d"}\n' "$i" "$i" "$i"; done >"$T/messages"
    FED=0
}

# feed N: sends the next N messages, all that are left when there are fewer
feed() {
    local to=$((FED + $1))
    [ "$to" -le "$MESSAGES" ] || to=$MESSAGES
    [ "$to" -gt "$FED" ] || return 0
    sed -n "$((FED + 1)),${to}p" "$T/messages" >"$T/part"
    "$XONCE" send --to "$SERVE_URL" --instance MQ_INST_crash --topic payments --json "$T/part" >"$T/send.out" 2>&1 || bail "send: $(tail -n 3 "$T/send.out")"
    [ "$(tail -n 1 "$T/send.out")" = "sent $((to - FED))" ] || bail "send: $(tail -n 1 "$T/send.out")"
    FED=$to
}

# consumer NAME ARGS...: one consumer process in the background
consumer() {
    local name=$1
    shift
    start "$name" "$XONCE" consume --from "$SERVE_URL" --instance MQ_INST_crash --topic payments --group "$GROUP" --store "$STORE" --sql "$SQL" \
        --workers 2 --batch 16 "$@"
}

applied() { judge "SELECT COUNT(*) FROM payments"; }
has_applied() {
    local n
    n=$(applied 2>/dev/null) && [ "${n:-0}" -ge "$1" ]
}
gone() { ! servers_runs "$1"; }
# progress_or_end PID N: until N rows are there, or the process has ended
progress_or_end() { gone "$1" || has_applied "$2"; }

# Consumer A dies at each failpoint, B is killed at RANDOM_KILLS moments, each in the middle of a part of the messages.
kill_consumers() {
    local extra=("$@") point a b i part before kills=0 points=0
    part=$((MESSAGES / (RANDOM_KILLS + $(wc -w <<<"$FAILPOINTS") + 1)))
    consumer b "${extra[@]}"
    b=$STARTED
    for point in $FAILPOINTS; do
        XONCE_FAILPOINTS="$point=crash@$((RANDOM % 3 + 1))" consumer "a-$point" "${extra[@]}"
        a=$STARTED
        # a few messages at a time: B, which runs already, takes all that is there while A still starts, and leaves it only duplicates
        before=$FED
        for ((i = 1; i <= 4; i++)); do
            feed $((part / 4))
            wait_for 10 gone "$a" && break
        done
        if gone "$a"; then points=$((points + 1)); else note "failpoint $point was not reached"; fi
        stop "$a" KILL
        feed $((before + part - FED))
    done
    for ((i = 1; i <= RANDOM_KILLS; i++)); do
        before=$(applied)
        feed "$part"
        wait_for 30 has_applied "$((before + RANDOM % part))" || note "slow: $(applied) rows"
        stop "$b" KILL
        kills=$((kills + 1))
        consumer "b-$i" "${extra[@]}"
        b=$STARTED
    done
    feed "$MESSAGES"
    wait_for 120 has_applied "$((MESSAGES - MESSAGES / 10))" || note "slow: $(applied) rows"
    stop "$b" KILL
    KILLS=$((points + kills + 1)) POINTS=$points
}

# Lets one consumer take what is left; the last lost acks come back after 2 s.
drain() {
    "$XONCE" consume --from "$SERVE_URL" --instance MQ_INST_crash --topic payments --group "$GROUP" --store "$STORE" --sql "$SQL" --workers 2 --batch 32 \
        --exit-when-idle 6s "$@" >"$T/drain.out" 2>"$T/drain.err" </dev/null || note "drain: $(tail -n 3 "$T/drain.err")"
    note "last consumer: $(tail -n 1 "$T/drain.out")"
}

# The judge: as many rows as messages, each id once, the money right.
count_all() { printf '%s rows, %s ids, %s booked\n' "$(applied)" "$(judge 'SELECT COUNT(DISTINCT id) FROM payments')" "$(judge 'SELECT SUM(amount) FROM payments')"; }
balanced() { printf '%s rows, %s ids, %s booked\n' "$MESSAGES" "$MESSAGES" "$AMOUNTS"; }
