# What end-to-end.sh, latency.sh and http.sh share: servers, one run of one system between two marks, CPU times and memory from /proc, JSON lines and medians.
. "${TOP_SRCDIR:=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}/tests/interop/rmqlib.sh"
TABLE="CREATE TABLE orders (n %s PRIMARY KEY, id varchar(64), payload varchar(200))"
# xonce runs with its own defaults; BENCH_XONCE="batch.max=512 ..." are other settings
: "${BENCH_ROUNDS:=3}" "${BENCH_ENGINES:=mysql postgres}" "${BENCH_QUEUES:=16}" "${BENCH_WORKERS:=20}" "${BENCH_XONCE:=}" "${BENCH_JAVA_OPTIONS:=-Xmx512m}"
# BENCH_FSYNC_US: the database's syncs take that much longer than on this machine's disk, as on a network disk
: "${BENCH_FSYNC_US:=0}" "${BENCH_OUT:=.}" "${BENCH_DEADLINE:=900}"
programs=$TOP_BUILDDIR/bench
HERTZ=$(getconf CLK_TCK)

bench_servers() { # JSON-FILE
    JSON=$1
    rocketmq_need
    ons=$(rocketmq_path clients,ons-1.8.8.5) || skip_all "Maven cannot get the jars of com.aliyun.openservices:ons-client:1.8.8.5.Final"
    [ "$BENCH_FSYNC_US" = 0 ] || ${CC:-cc} -D_GNU_SOURCE -O2 -shared -fPIC -o "$T/slow-fsync.so" "$TOP_SRCDIR/bench/slow-fsync.c" -ldl || bail "slow-fsync.c"
    chmod 755 "$T"
    # shellcheck disable=SC2086
    SLOW_FSYNC_US=$BENCH_FSYNC_US LD_PRELOAD=$([ "$BENCH_FSYNC_US" = 0 ] || echo "$T/slow-fsync.so") engines_start $BENCH_ENGINES
    # the tests' servers are set up for little memory: such a load would measure checkpoints
    if [[ $BENCH_ENGINES == *mysql* ]]; then
        servers_mysql_root "$(servers_dir mysql)" <<<'SET GLOBAL innodb_log_file_size = 1073741824; SET GLOBAL innodb_buffer_pool_size = 1073741824'
    fi
    if [[ $BENCH_ENGINES == *postgres* ]]; then
        JUDGE_DB=xonce judge_run postgres "ALTER SYSTEM SET max_wal_size = '4GB'"
        JUDGE_DB=xonce judge_run postgres "SELECT pg_reload_conf()" >/dev/null
    fi
    # a broker as in production: compiled fully
    _JAVA_OPTIONS="-XX:TieredStopAtLevel=4" ROCKETMQ_HEAP=1g rocketmq_begin mappedFileSizeCommitLog=268435456
    json_machine
    note "a small synced write takes $(fsync_us) us"
}
# microseconds that a small synced write takes here: what each commit waits for
fsync_us() { LC_ALL=C dd if=/dev/zero of="$T/synced" bs=4k count=300 oflag=dsync 2>&1 | awk -v more="$BENCH_FSYNC_US" '/copied/ { for (i = 2; i <= NF; i++) if ($i == "s,") printf "%d\n", $(i - 1) * 1e6 / 300 + more }'; }
json_machine() {
    printf '{"bench":"machine","fsync_us":%d,"cpu":"%s","cores":%d,"kernel":"%s","date":"%s","rocketmq":"%s","ons":"1.8.8.5","java":"%s","postgresql":"%s","mariadb":"%s","sqlite":"%s","commit":"%s"}\n' "$(fsync_us)" \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" "$(uname -r)" "$(date -u +%FT%TZ)" "$ROCKETMQ_VERSION" \
        "$("${JAVA:-java}" -version 2>&1 | sed -n 's/.* version "\([^"]*\)".*/\1/p' | head -n 1)" "$("$(servers_postgres_bin)/postgres" -V 2>/dev/null | awk '{ print $3 }')" \
        "$("$(servers_mysqld)" -V 2>/dev/null | sed 's/.*Ver \([^ ]*\).*/\1/')" "$(sqlite3 --version 2>/dev/null | cut -d' ' -f1)" "$(git -C "$TOP_SRCDIR" rev-parse --short HEAD 2>/dev/null)" >"$JSON"
}
engine_name() { [ "$1" = postgres ] && echo postgresql || echo "$1"; }
# java_url SHOP: statements are prepared on the server, in PostgreSQL from the fifth time on, its driver's default
java_url() {
    local url
    url=$(jdbc "$1")
    [[ $url == jdbc:mariadb* ]] && url="$url&useServerPrepStmts=true"
    printf '%s\n' "$url"
}

# cpu_at FILE: the times of all processes, at once
cpu_at() { cat /proc/[0-9]*/stat >"$1" 2>/dev/null; }
# cpu_of FILE PID: seconds that PID, its children that live and those that ended have used
cpu_of() {
    awk -v pid="$2" -v hz="$HERTZ" '{ id = $1; sub(/^.*\) /, ""); n = split($0, f, " ") }
        id == pid { sum += f[12] + f[13] + f[14] + f[15] }
        f[2] == pid { sum += f[12] + f[13] }
        END { printf "%.3f\n", sum / hz }' "$1"
}
# cpu_per BEFORE AFTER PID MESSAGES: microseconds a message
cpu_per() { awk -v a="$(cpu_of "$1" "$3")" -v b="$(cpu_of "$2" "$3")" -v n="$4" 'BEGIN { printf "%.1f\n", (b - a) * 1e6 / n }'; }
rss_mb() { awk '/^VmRSS/ { printf "%.1f\n", $2 / 1024 }' "/proc/$1/status"; }

# client SYSTEM SHOP TOPIC GROUP WARM COUNT: started in the background, its process in CLIENT, its lines on CLIENT_FD; it ends with client_end
client() {
    local system=$1 shop=$2 topic=$3 group=$4 command=() claim=record more=()
    shift 4
    case $system in
        xonce | xonce-offset)
            [ "$system" = xonce ] || claim=offset
            # shellcheck disable=SC2206
            command=("$programs/end-to-end" "$FROM" "$topic" "$group" "${STORE[$shop]}" "$1" "$2" "workers=$BENCH_WORKERS" "claim=$claim" $BENCH_XONCE)
            ;;
        java | java-record)
            [ "$system" = java ] || more=(record=1)
            # shellcheck disable=SC2086
            rocketmq_jvm "$ROCKETMQ_CLASSES/clients:$ons" Book "$NS" "$topic" "$group" "$1" "$2" "jdbc=$(java_url "$shop")" "threads=$BENCH_WORKERS" "${more[@]}"
            # as the JVM would be started for work, not as for a test
            for more in "${ROCKETMQ_JVM[@]}"; do
                [[ $more == -Xmx* || $more == -XX:+UseSerialGC || $more == -XX:TieredStopAtLevel=* ]] || command+=("$more")
            done
            # shellcheck disable=SC2206
            command=("${command[0]}" $BENCH_JAVA_OPTIONS "${command[@]:1}")
            ;;
        *) bail "no system is called $system" ;;
    esac
    rm -f "$T/in" "$T/said"
    mkfifo "$T/in" "$T/said" || bail "fifo"
    "${command[@]}" <"$T/in" >"$T/said" 2>"$T/client.err" &
    CLIENT=$!
    tap_pids+=("$CLIENT")
    disown "$CLIENT"
    exec {CLIENT_IN}>"$T/in" {CLIENT_FD}<"$T/said"
}
# client_says WORD: waits for a line that begins with it; it is in SAID
client_says() {
    local until=$((SECONDS + BENCH_DEADLINE))
    while IFS= read -rt $((until - SECONDS > 0 ? until - SECONDS : 1)) SAID <&"$CLIENT_FD"; do
        [[ $SAID != "$1"* ]] || return 0
    done
    note "the client does not say $1:" "$(tail -n 5 "$T/client.err")"
    return 1
}
client_end() {
    exec {CLIENT_IN}>&-
    servers_wait_gone "$CLIENT" 60 || kill -KILL "$CLIENT"
    exec {CLIENT_FD}<&-
    [ ! -s "$T/client.err" ] || note "$(grep -v SLF4J "$T/client.err" | tail -n 3)"
}
broker_pid() { rocketmq_pid broker-a; }
database_pid() { [ "$1" = sqlite ] || servers_pid "$1"; }

# drop SHOP
drop() {
    [ "${ENGINE[$1]}" != sqlite ] || { rm -f "$T/$1.db"*; return; }
    JUDGE_DB=xonce judge_run "${ENGINE[$1]}" "DROP DATABASE $1" >/dev/null
    [ "${ENGINE[$1]}" != postgres ] || JUDGE_DB=xonce judge_run postgres CHECKPOINT >/dev/null
}
# figures CLIENT-PID ENGINE MESSAGES MICROSECONDS: from $T/cpu0 and $T/cpu1 RATE, CLIENT_CPU, DATABASE_CPU, BROKER_CPU (microseconds a message), RSS (MB), SECONDS_TAKEN
figures() {
    RSS=$(rss_mb "$1")
    RATE=$(awk -v n="$3" -v us="$4" 'BEGIN { printf "%.1f\n", n * 1e6 / us }')
    SECONDS_TAKEN=$(awk -v us="$4" 'BEGIN { printf "%.2f\n", us / 1e6 }')
    CLIENT_CPU=$(cpu_per "$T/cpu0" "$T/cpu1" "$1" "$3")
    DATABASE_CPU=$(cpu_per "$T/cpu0" "$T/cpu1" "$(database_pid "$2")" "$3")
    BROKER_CPU=$(cpu_per "$T/cpu0" "$T/cpu1" "$(broker_pid)" "$3")
}
# measure SYSTEM ENGINE TOPIC SERIAL WARM COUNT: a new database and group; the figures; leaves the database
measure() {
    local system=$1 engine=$2 topic=$3 shop=b_$4
    shop "$shop" "$engine"
    client "$system" "$shop" "$topic" "GID_$4" "$5" "$6"
    client_says warm || return 1
    cpu_at "$T/cpu0"
    client_says done || return 1
    cpu_at "$T/cpu1"
    figures "$CLIENT" "$engine" "$6" "${SAID#done }"
    client_end
}
# The same for xonce consume --sql: measure_sql ENGINE TOPIC SERIAL WARM TOTAL DISTINCT. The program has nowhere to look on: the records' times, of the database's clock, say how long it took
# from the WARMth on; CPU is of all the messages, and the database is seldom asked whether it has them.
measure_sql() {
    local engine=$1 shop=b_$3 warm=$4 total=$5 distinct=$6 ms
    shop "$shop" "$engine"
    # shellcheck disable=SC2086
    settings "$T/sql.conf" "workers=$BENCH_WORKERS" $BENCH_XONCE
    cpu_at "$T/cpu0"
    start sql "$XONCE" consume --from "$FROM" --topic "$2" --group "GID_$3" --store "${STORE[$shop]}" --config "$T/sql.conf" --sql "INSERT INTO orders (id, payload) VALUES (:id, :body)"
    wait_for "$BENCH_DEADLINE" all_booked "$shop" "$distinct" || { note "$(tail -n 3 "$T/sql.err")"; return 1; }
    cpu_at "$T/cpu1"
    ms=$(judge "$shop" "SELECT MAX(ctime) - (SELECT ctime FROM transaction_record ORDER BY ctime LIMIT 1 OFFSET $warm) FROM transaction_record")
    figures "$STARTED" "$engine" "$total" $((ms * 1000))
    RATE=$(awk -v n=$((distinct - warm)) -v all="$total" -v d="$distinct" -v ms="$ms" 'BEGIN { printf "%.1f\n", n * all / d * 1000 / (ms > 0 ? ms : 1) }') # with the duplicates among them
    stop "$STARTED"
}
all_booked() {
    tap_pause 0.5
    [ "$(judge "$1" "SELECT COALESCE(MAX(n), 0) FROM orders")" -ge "$2" ] && [ "$(judge "$1" "SELECT COUNT(*) FROM orders")" -ge "$2" ]
}
# median FILE COLUMN, least, most: of one number a line
median() { cut -d' ' -f"$2" "$1" | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] + 0 }'; }
least() { cut -d' ' -f"$2" "$1" | sort -g | head -n 1; }
most() { cut -d' ' -f"$2" "$1" | sort -g | tail -n 1; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f\n", (b > 0 ? a / b : 0) }'; }
