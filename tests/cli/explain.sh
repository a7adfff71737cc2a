#!/usr/bin/env bash
# explain.sh postgres|mysql: the story of messages in a server's tables, and the transaction where the server tells it.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
export ALIBABA_CLOUD_ACCESS_KEY_ID=cli-test ALIBABA_CLOUD_ACCESS_KEY_SECRET=cli-secret
unset ALIBABA_CLOUD_SECURITY_TOKEN XONCE_STORE
cd "$T" || exit 1
x=$XONCE
database "${1:?postgres or mysql}"
store=$STORE
"$x" init --store "$store" >/dev/null || bail "init failed"
db 'CREATE TABLE orders (id varchar(64), n integer)'
start_serve serve --data "$T/queues" --instance MQ_INST_demo || bail "serve did not start"
seq 5 | "$x" send --to "$SERVE_URL" --instance MQ_INST_demo --topic orders --property traceparent=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 >/dev/null
echo x | "$x" send --to "$SERVE_URL" --instance MQ_INST_demo --topic orders --property traceparent=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 >/dev/null
exits 0 "consume" timeout 60 "$x" consume --from "$SERVE_URL" --instance MQ_INST_demo --topic orders --group GID_e --store "$store" --exit-when-idle 1s --linger 1s --workers 1 \
    --sql 'INSERT INTO orders VALUES (:id, :body)'
is "$(tail -n 1 out)" "consumed 5 fresh, 0 duplicate, 1 rejected, 0 retried" "five are applied, one is rejected"
id=$(db 'SELECT min(id) FROM orders')
exits 0 "explain: applied" "$x" explain --store "$store" --group GID_e "$id"
like "$(cat out)" "$id: applied by group GID_e.* stored  *20.* \(by the broker\)" "tells when"
if [ "$ENGINE" = postgres ]; then
    like "$(cat out)" "transaction  *$(db "SELECT xmin FROM transaction_record WHERE message_id = '$id#GID_e'")(, with [1-4] other messages)?" "and in which transaction"
    n=$(db "SELECT count(*) FROM transaction_record WHERE xmin = (SELECT xmin FROM transaction_record WHERE message_id = '$id#GID_e')")
    exits 0 "explain --json" "$x" explain --store "$store" --group GID_e "$id" --json
    like "$(cat out)" "\"transaction_records\":$n,\"committed_ms\":null" "with how many records it wrote"
    if db 'ALTER SYSTEM SET track_commit_timestamp = on' && servers_restart postgres; then
        # the port may be another one now
        store=$(servers_uri postgres)
        echo 7 | "$x" send --to "$SERVE_URL" --instance MQ_INST_demo --topic later >/dev/null
        timeout 60 "$x" consume --from "$SERVE_URL" --instance MQ_INST_demo --topic later --group GID_e --store "$store" --exit-when-idle 1s --sql 'INSERT INTO orders VALUES (:id, :body)' >/dev/null
        id=$(db 'SELECT id FROM orders WHERE n = 7')
        like "$("$x" explain --store "$store" --group GID_e "$id" 2>&1)" 'committed  *20[-0-9]*T[0-9:.]*Z' "and when it committed, where the server keeps that"
    fi
else
    like "$(cat out)" 'does not tell which transaction' "the transaction is not told by this engine"
fi
bad=$(db "SELECT message_id FROM xonce_rejected")
exits 0 "explain: rejected" "$x" explain --store "$store" --group GID_e "${bad%#*}"
like "$(cat out)" "rejected by group GID_e.*reason .*[Ii]n(valid|correct).*body  *1 bytes.*trace  *4bf92f3577b34da6a3ce929d0e0e4736" "with reason, size and trace"
# another message under the same id: as a record of its own has it
db "INSERT INTO transaction_record (consumer_group, message_id, topic_name, ctime, queue_id, $([ "$ENGINE" = postgres ] && echo '"offset"' || echo '`offset`')) VALUES ('GID_e', '$id~0123456789ab#GID_e', 'orders', 1, -1, -1)"
exits 0 "explain: an id that two messages have" "$x" explain --store "$store" --group GID_e "$id"
like "$(cat out)" "applied  *1970.*  as $id~0123456789ab.*Another message came under the same id" "shows both"
exits 0 "the second one by its own id" "$x" explain --store "$store" --group GID_e "$id~0123456789ab"
exits 3 "explain: never seen" "$x" explain --store "$store" --group GID_e 0000
done_testing
