#!/usr/bin/env bash
# What is written while messages come: formats, levels and signals, files that are turned over, few lines for many messages; and the trace that a message belongs to.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
export ALIBABA_CLOUD_ACCESS_KEY_ID=cli-test ALIBABA_CLOUD_ACCESS_KEY_SECRET=cli-secret
unset ALIBABA_CLOUD_SECURITY_TOKEN XONCE_STORE
cd "$T" || exit 1
x=$XONCE
endpoint=(--instance MQ_INST_demo)
store=sqlite:$T/shop.db
trace=4bf92f3577b34da6a3ce929d0e0e4736
parent=00-$trace-00f067aa0ba902b7-01
send() { "$x" send --to "$SERVE_URL" "${endpoint[@]}" --topic "$@" >/dev/null; }
# consume TOPIC GROUP ARGS...: until idle
consume() {
    local topic=$1 group=$2
    shift 2
    timeout 60 "$x" consume --from "$SERVE_URL" "${endpoint[@]}" --topic "$topic" --group "$group" --store "$store" --exit-when-idle 1s "$@"
}
json() { # all lines are JSON, as far as this machine can tell
    ! command -v python3 >/dev/null || python3 -c 'import json, sys
for line in sys.stdin:
    json.loads(line)'
}

start_serve serve --data "$T/queues" "${endpoint[@]}" --redeliver 2s --duplicate 100% || bail "serve did not start"
"$x" init --store "$store" >/dev/null
sqlite shop.db 'CREATE TABLE orders (id TEXT, n INTEGER CHECK (n < 100))'

# ---- lines about single messages ----
printf '{"n":1}\n{"n":500}\n' | send orders --property traceparent=$parent
exits 0 "consume with log.format=json" consume orders GID_log --sql 'INSERT INTO orders VALUES (:id, :body.n)' --set log.format=json --verbose
check "each line is JSON" json <err
good=$(sqlite shop.db 'SELECT id FROM orders')
bad=$(sqlite shop.db "SELECT message_id FROM xonce_rejected")
bad=${bad%#*}
like "$(grep -F "$good" err)" '"level":"info".*"msg":"duplicate.*"topic":"orders","id":"'"$good"'","group":"GID_log","attempt":[12],' "a duplicate has its line"
like "$(grep -F "$bad" err)" '"level":"warning".*"msg":"rejected.*"cause":"sql","reason":".*CHECK constraint failed.*"trace_id":"'$trace'","span_id":"00f067aa0ba902b7"' "a rejection has one, with reason and trace"
unlike "$(cat err)" 'cli-secret' "no secret is told"
exits 0 "consume with log.format=logfmt" consume orders GID_log2 --sql 'INSERT INTO orders VALUES (:id, :body.n)' --set log.format=logfmt
like "$(cat err)" 'time=[-0-9T:.]*Z level=warning pid=[0-9]* area=consumer msg="rejected[^"]*" topic=orders id='"$bad"' group=GID_log2 ' "name=value"
unlike "$(cat err)" duplicate "a duplicate is not told without --verbose"
printf '#!/bin/sh\necho "$TRACEPARENT/$TRACESTATE" >>traced\nread body\nmkdir "tried-$XONCE_ID" 2>/dev/null || exit 0\necho "not yet" >&2\nexit 1\n' >handler
chmod +x handler
echo '{"n":3}' | send traced --property traceparent=$parent --property tracestate=a=1
echo '{"n":4}' | send traced --property traceparent=00-nonsense
TRACEPARENT=00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-01 exits 0 "consume --exec" consume traced GID_exec --exec ./handler
is "$(sort -u traced)" "/
$parent/a=1" "a program gets the message's trace, and no other one"
like "$(cat err)" 'warning consumer: failed: it comes again topic=traced id=[0-9A-F]* group=GID_exec attempt=[12] .*cause=invalid reason="exit 1: not yet" trace_id='$trace "a failure has its line"

# ---- many messages, few lines ----
seq 700 | send many
exits 0 "consume many messages twice" consume many GID_many --sql "INSERT INTO orders VALUES (:id, 1)" --set log.file=many.log --set log.level=info --set log.format=logfmt --set log.rate=5
is "$(cat err)" "" "nothing is on standard error"
told=$(grep -c 'msg="duplicate' many.log)
left=$(sed -n 's/.*msg="more duplicates are not shown" messages=\([0-9]*\) .*/\1/p' many.log | awk '{ n += $1 } END { print n + 0 }')
like "$(cat out)" "consumed 700 fresh, $((told + left)) duplicate" "what was left out is counted"
[ "$told" -ge 1 ] && [ "$told" -lt "$left" ] && ok "lines are few" || not_ok "lines are few" "$told lines"

# ---- a file, turned over ----
exits 0 "a small log.size" consume many GID_small --sql "INSERT INTO orders VALUES (:id, 1)" --set log.file=small.log --set log.level=info --set log.size=64k --set log.files=3 --set log.rate=0
[ -s small.log ] && [ -s small.log.1 ] && [ "$(cat small.log* | wc -l)" -gt 700 ] && [ "$(stat -c %s small.log.1)" -le 65536 ] && ok "it is turned over" || not_ok "it is turned over" "$(ls -l small.log*)"
exits 2 "a log file that cannot be opened" consume many GID_small --sql 'SELECT :id' --set log.file=/nonexistent/x.log
like "$(cat err)" 'log file /nonexistent/x.log cannot be opened' "says so"

# ---- levels by signal ----
start running "$x" consume --from "$SERVE_URL" "${endpoint[@]}" --topic levels --group GID_levels --store "$store" --sql "INSERT INTO orders VALUES (:id, 1)" --set log.file=levels.log
pid=$STARTED
wait_for 20 test -e levels.log
kill -USR1 "$pid"
check "SIGUSR1 makes it more" wait_for_line 20 levels.log 'the log level is info now'
kill -USR1 "$pid"
check "and more" wait_for_line 20 levels.log 'the log level is debug now'
kill -USR2 "$pid"
wait_for 20 eval '[ "$(grep -c "level is info now" levels.log)" -eq 2 ]' && ok "SIGUSR2 makes it less" || not_ok "SIGUSR2 makes it less" "$(cat levels.log)"
echo 1 | send levels
check "a duplicate is told from then on" wait_for_line 20 levels.log 'info consumer: duplicate'
stop "$pid"
like "$(cat running.out)" 'consumed 1 fresh' "it went on all the while"

# ---- explain ----
exits 0 "explain: applied" "$x" explain --store "$store" --group GID_log "$good"
like "$(cat out)" "$good: applied by group GID_log.* topic  *orders.*committed in one transaction" "tells so"
exits 0 "explain: rejected" "$x" explain --store "$store" --group GID_log "$bad"
like "$(cat out)" "$bad: rejected by group GID_log.*reason .*CHECK constraint failed.*trace .*$trace.*xonce replay --group GID_log $bad" "tells why, and what to do"
exits 0 "explain --json" "$x" explain --store "$store" --group GID_log "$bad" --json
check "is JSON" json <out
like "$(cat out)" '"state":"rejected","records":\[\{.*"applied_ms":[0-9]+,.*"rejected":\[\{.*"attempts":[12],"marked_ms":null,"body_bytes":9,"trace_id":"'$trace'"' "with all that is known"
"$x" replay --store "$store" --group GID_log "$bad" >/dev/null
like "$("$x" explain --store "$store" --group GID_log "$bad")" 'marked for replay' "a mark is told"
for format in text logfmt json; do
    exits 0 "consume again, log.format=$format" consume orders "GID_$format" --sql 'INSERT INTO orders VALUES (:id, :body.n)' --set log.file=$format.log --set log.level=info --set log.format=$format --set log.rate=0
    mv $format.log $format.log.1
    : >$format.log
    exits 0 "explain --log of $format" "$x" explain --store "$store" --group "GID_$format" "$bad" --log $format.log
    like "$(cat out)" 'log .* rejected: it stands in xonce_rejected, delivery [12]: .*CHECK constraint failed.*In the logs: duplicate [01], failed 0, put off 0, rejected [12];' "finds its lines"
done
exits 0 "consume at log.level=debug" consume orders GID_debug --sql 'SELECT :body.n' --set log.file=debug.log --set log.level=debug --set log.format=json --set log.rate=0
like "$("$x" explain --store "$store" --group GID_debug "$good" --log debug.log)" '  log  *20[^ ]* applied, delivery.*Process [0-9]* applied it' "the log at debug says who applied it"
sqlite shop.db "DELETE FROM transaction_record WHERE consumer_group = 'GID_json'; DELETE FROM xonce_rejected WHERE consumer_group = 'GID_json'"
exits 3 "explain --log of a message whose record is gone" "$x" explain --store "$store" --group GID_json "$bad" --log json.log
like "$(cat out)" 'not known by group.*The log says that it had one' "the log knows more than the table"
exits 2 "explain --log of no file" "$x" explain --store "$store" --group GID_log "$bad" --log none.log
like "$(cat err)" 'none.log cannot be read' "says so"
exits 0 "explain: a key that is stored hashed" bash -c 'echo "a b" | "$@" >/dev/null' send "$x" send --to "$SERVE_URL" "${endpoint[@]}" --topic odd
exits 0 "is applied" consume odd GID_odd --sql 'SELECT :id' --id :body
exits 0 "found by the key" "$x" explain --store "$store" --group GID_odd 'a b'
hashed=$(sqlite shop.db "SELECT message_id FROM transaction_record WHERE consumer_group = 'GID_odd'")
exits 0 "and as it stands in the record" "$x" explain --store "$store" --group GID_odd "${hashed%#*}"
mark=$((($(date +%s) - 3600) * 1000))
sqlite shop.db "DELETE FROM xonce_watermark; INSERT INTO xonce_watermark VALUES ('GID_log', $mark, $mark)"
exits 3 "explain: never seen" "$x" explain --store "$store" --group GID_log 0000
like "$(cat out)" '0000: not known by group GID_log.*settled everything up to 20[0-9-]*T[0-9:]*.000Z.*kept for 4d.*--sent TIME' "tells what that means"
exits 3 "explain --sent" "$x" explain --store "$store" --group GID_log 0000 --sent "$(date -u +%Y-%m-%dT%H:%M:%SZ)" --json
like "$(cat out)" '"state":"not applied"' "a young one was not applied"
exits 3 "explain in a group that was never caught up" "$x" explain --store "$store" --group GID_nobody 0000
like "$(cat out)" 'not applied by group GID_nobody.*nothing was pruned' "nothing was pruned there"
exits 2 "explain without an id" "$x" explain --store "$store" --group GID_log
exits 2 "explain --sent of no time" "$x" explain --store "$store" --group GID_log 0000 --sent yesterday
exits 1 "explain without tables" "$x" explain --store "sqlite:$T/queues" --group GID_log 0000
done_testing
