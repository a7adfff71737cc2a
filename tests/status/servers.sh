#!/usr/bin/env bash
# The status server over PostgreSQL and MariaDB: figures of their tables, plain and by day; a dead database makes it not ready, and it gets ready again by itself.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
export ALIBABA_CLOUD_ACCESS_KEY_ID=status-test ALIBABA_CLOUD_ACCESS_KEY_SECRET=status-secret
unset ALIBABA_CLOUD_SECURITY_TOKEN XONCE_STORE
cd "$T" || exit 1
command -v curl >/dev/null || skip_all "curl is not installed (Debian package curl)"
code() { curl -sS --max-time 20 -o /dev/null -w '%{http_code}' "$STATUS$1"; }
answers() { [ "$(code "$1")" = "$2" ]; }
value() { curl -sS --max-time 20 "$STATUS/metrics" | awk -v name="$1" 'index($0, name " ") == 1 { print $2 }'; }
has() { [ "$(value "$1")" = "$2" ]; }
STORE1='{group="GID_status",store="1"}'

# watch NAME [OPTION]...: a consumer over $store, with its status
watch() {
    local line
    start "$1" "$XONCE" consume --from "$SERVE_URL" --instance MQ_INST_demo --topic orders --group GID_status --store "$store" --sql 'INSERT INTO orders VALUES (:body.id, :body.amount)' --status 127.0.0.1:0 "${@:2}"
    CONSUMER=$STARTED
    line=$(wait_for_line 20 "$T/$1.out" '^status on http://') || { note "$(tail -n 5 "$T/$1.err")"; return 1; }
    STATUS=${line#status on }
}

# The databases are asked every 5 s: it has been waiting for an answer for a while.
waits() { curl -sS --max-time 20 "$STATUS/status.json" | awk -F'"now":|"checked":' '{ exit !($2 - $3 > 6000) }'; }
# everybody SIGNAL ENGINE: to all processes of the server
everybody() { kill -"$1" $(servers_pid "$2") $(pgrep -P "$(servers_pid "$2")") 2>/dev/null; }

start_serve serve --data "$T/queues" --instance MQ_INST_demo || bail "serve did not start"
for engine in postgres mysql; do
    begin_server $engine || continue
    store=$STORE
    for kind in plain partitioned; do
        "$XONCE" init --store "$store" $([ $kind = plain ] || echo --partitioned) >/dev/null || bail "init failed"
        db 'CREATE TABLE orders (id varchar(40) PRIMARY KEY, amount int CHECK (amount < 30))' >/dev/null
        seq 1 30 | sed 's/.*/{"id":"o&","amount":&}/' >orders.txt
        "$XONCE" send --to "$SERVE_URL" --instance MQ_INST_demo --topic orders orders.txt >/dev/null || bail "send failed"
        watch "$engine-$kind" || bail "consume --status tells no address"
        check "$engine, $kind: it gets ready" wait_for 30 answers /readyz 200
        check "$engine, $kind: rejected messages are counted in the table" wait_for 30 has "xonce_rejected_messages$STORE1" 1
        check "$engine, $kind: records are counted" wait_for 30 has "xonce_records$STORE1" 30
        like "$(value "xonce_oldest_record_timestamp_seconds$STORE1")" '^[1-9][0-9]{9}' "$engine, $kind: the oldest is told"
        [ $engine-$kind != postgres-plain ] || # it takes as long as a poll over HTTP
            check "$engine, $kind: the watermark is told" wait_for 30 eval '[ -n "$(value "xonce_watermark_timestamp_seconds$STORE1")" ]'
        like "$(curl -sS "$STATUS/status.json")" '"latest":\[\{"id":"[^"]+","topic":"orders","reason":"[^"]' "$engine, $kind: the rejected one is listed with its reason"
        unlike "$(curl -sS "$STATUS/status.json" "$STATUS/metrics")" 'xonce:xonce@' "$engine, $kind: no password is shown"
        if [ $kind = plain ]; then
            servers_kill $engine
            check "$engine: killed, it is not ready" wait_for 30 answers /readyz 503
            like "$(curl -sS "$STATUS/readyz")" 'group GID_status: the database cannot be used: ' "$engine: and says why"
            is "$(code /healthz)" 200 "$engine: but healthy: another process would not help"
            check "$engine: the metrics say so" has "xonce_database_up$STORE1" 0
            servers_start $engine || bail "$engine does not start again"
            check "$engine: it is ready again" wait_for 60 answers /readyz 200
        fi
        stop "$CONSUMER"
        like "$(tail -n 1 "$engine-$kind.out")" '^consumed [0-9]+ fresh' "$engine, $kind: it stops in order"
        if [ $kind = partitioned ]; then # a consumer that has nothing to write: only who asks how the database is waits for it
            watch "$engine-frozen" --no-dedup || bail "consume --status tells no address"
            check "$engine: it gets ready" wait_for 30 answers /readyz 200
            everybody STOP $engine
            check "$engine: frozen, it lets a question wait" wait_for 30 waits
            kill -TERM "$CONSUMER"
            check "$engine: a stop does not wait for the answer" servers_wait_gone "$CONSUMER" 5
            everybody CONT $engine
        fi
        db 'DROP TABLE transaction_record, xonce_rejected, xonce_watermark, xonce_settled, xonce_store, orders' >/dev/null
    done
    servers_end
done
done_testing
