# The loops of docs/dedup-middleware.md against real brokers: Kafka (librdkafka's mock cluster), AMQP (a private RabbitMQ), NATS JetStream (a private nats-server). Each loses
# acknowledges on purpose; the table must not show it.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
PATH=$PATH:/usr/sbin:/sbin
cd "$T" || exit 1

# built NAME PACKAGE: 1 when the example was not built, which is reported
built() {
    [ -x "$TOP_BUILDDIR/examples/$1" ] || { skip "configure found no $2 (Debian package)" "$1"; return 1; }
}
free_port() { # three in a row, as far as one can tell
    local port
    for _ in $(seq 50); do
        port=$((RANDOM % 20000 + 20000))
        { : <>"/dev/tcp/127.0.0.1/$port" || : <>"/dev/tcp/127.0.0.1/$((port + 1))" || : <>"/dev/tcp/127.0.0.1/$((port + 2))"; } 2>/dev/null || { echo "$port"; return 0; }
    done
    return 1
}
listens() { : <>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null
# run NAME ARGS...: its output, and what it says on failure
run() {
    local name=$1
    shift
    timeout 120 "$TOP_BUILDDIR/examples/$name" "$@" 2>"$T/err" || { echo "exit status $?"; cat "$T/err"; }
}
rows() { sqlite "$1" 'SELECT count(*), count(DISTINCT id) FROM clicks'; }

if built 10-kafka librdkafka-dev; then
    is "$(run 10-kafka)" $'fresh 7, duplicate 0\nfresh 13, duplicate 2' "10-kafka: the second consumer replays what the first did not commit"
    is "$(run 10-kafka)" $'fresh 0, duplicate 7\nfresh 0, duplicate 15' "10-kafka: a topic replayed from its beginning changes nothing"
    is "$(rows kafka.db)" '20|20' "10-kafka: 20 clicks, once each"
fi

if built 12-nats libnats-dev; then
    if ! command -v nats-server >/dev/null; then
        skip "there is no nats-server (Debian package nats-server)" "12-nats"
    else
        start nats nats-server --addr 127.0.0.1 --port -1 --ports_file_dir "$T" --jetstream --store_dir "$T/jetstream"
        ports=$T/nats-server_$STARTED.ports
        wait_for 30 test -s "$ports" || note "nats-server did not start:" "$(tail -n 5 nats.err)"
        url=$(grep -oE 'nats://[0-9.]+:[0-9]+' "$ports" | head -n 1)
        is "$(run 12-nats "$url")" "fresh 20, duplicate 4" "12-nats: what was not acknowledged comes again, and is a duplicate"
        is "$(rows nats.db)" '20|20' "12-nats: 20 clicks, once each"
        stop "$STARTED"
    fi
fi

rabbit=/usr/lib/rabbitmq/bin/rabbitmq-server
if built 11-amqp librabbitmq-dev; then
    if [ ! -x $rabbit ]; then
        skip "there is no RabbitMQ (Debian package rabbitmq-server)" "11-amqp"
    else
        port=$(free_port)
        export ERL_EPMD_PORT=$((port + 1))
        at_end 'epmd -port "$ERL_EPMD_PORT" -kill >/dev/null 2>&1'
        start rabbit env HOME="$T" ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_NODENAME="xonce$port@localhost" RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$port" \
            RABBITMQ_DIST_PORT=$((port + 2)) RABBITMQ_MNESIA_BASE="$T/mnesia" RABBITMQ_LOG_BASE="$T/log" RABBITMQ_ENABLED_PLUGINS_FILE="$T/plugins" \
            RABBITMQ_CONFIG_FILE="$T/none" RABBITMQ_CONF_ENV_FILE="$T/none" $rabbit
        wait_for 90 listens "$port" || note "RabbitMQ did not start:" "$(tail -n 5 rabbit.out rabbit.err)"
        is "$(run 11-amqp "$port")" $'fresh 20, duplicate 0\nfresh 0, duplicate 4' "11-amqp: what was not acknowledged comes again, and is a duplicate"
        is "$(run 11-amqp "$port")" $'fresh 0, duplicate 20\nfresh 0, duplicate 4' "11-amqp: all sent once more under the same ids changes nothing"
        is "$(rows amqp.db)" '20|20' "11-amqp: 20 clicks, once each"
        stop "$STARTED" TERM 30
    fi
fi
[ "$tap_count" -gt 0 ] || skip "none of librdkafka-dev, librabbitmq-dev, libnats-dev was there" "all"
done_testing
