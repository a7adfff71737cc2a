#!/usr/bin/env bash
# Traces of deliveries on a real RocketMQ: a Java consumer and xonce, each with a group of its own, read the same messages, of which one fails for each at first. mqadmin shows the same
# story of both, and the records that they wrote, read from the trace topic, have one shape. In make check-long only, as it starts many JVMs.
. "$(dirname "$0")/rmqlib.sh"
rocketmq_need
rocketmq_begin traceTopicEnable=true autoCreateTopicEnable=true "messageDelayLevel=1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s"
rocketmq_topic orders 1 && rocketmq_topic cloud 1 || bail "no topic"
shop traced sqlite
shop records sqlite
judge records "CREATE TABLE traces (body text)"

start_java j Push "$NS" orders GID_java java trace=1 fail=k2 show=1
j=$STARTED
cat >"$T/handle" <<'SH'
#!/bin/sh
[ "$XONCE_KEY" != k2 ] || [ "$XONCE_ATTEMPT" -ge 2 ]
SH
chmod +x "$T/handle"
# shellcheck disable=SC2086
settings "$T/x.conf" $QUICK trace=on
start x "$XONCE" consume --from "$FROM" --topic orders --group GID_x --store "${STORE[traced]}" --config "$T/x.conf" --exec "$T/handle"
x=$STARTED
TRACE=1 rocketmq_java Send "$NS" orders normal 1 3 tag=A >"$T/send.out" 2>&1 || bail "send: $(tail -n 3 "$T/send.out")"
printf '{"id":"p4","amount":4,"queue":"","seq":0}\n' | "$XONCE" send --to "$FROM" --topic orders --set trace=on >/dev/null || bail "send"
all_recorded() { [ "$(records traced)" = 4 ]; }
wait_for 60 all_recorded || note "$(records traced) were applied"
java_has() { [ "$(grep -c broker-a "$T/j.out")" -ge 4 ]; }
wait_for 60 java_has || note "Java: $(cat "$T/j.out")"
stop "$x" && ok "xonce ends in order, its traces written" || not_ok "xonce ends in order" "$(tail -n 3 "$T/x.err")"
stop "$j"
is "$(records traced)" 4 "each message was applied"

# ---- what the console of RocketMQ shows
# story KEY: "GROUP STATUS" a line, of each consumer's deliveries of the message with this key, in the order of time
story() {
    local id
    id=$(awk -v key="$1" '$4 == key { print $1 }' "$T/j.out" | head -n 1)
    rocketmq_admin queryMsgTraceById -i "$id" >"$T/story" || note "$(cat "$T/story")"
    awk '$1 == "Sub" { print $2, $NF }' "$T/story" | sort
}
is "$(story k1)" $'GID_java success\nGID_x success' "a message that both applied"
like "$(cat "$T/story")" 'Pub +GID_java_sender' "and who sent it"
is "$(story k2)" $'GID_java failed\nGID_java success\nGID_x failed\nGID_x success' "one that failed once: two deliveries in each group"
is "$(story null)" $'GID_java success\nGID_x success' "one without keys, sent by xonce"
like "$(cat "$T/story")" 'Pub +xonce_producer' "and who sent that"

# ---- what was written
settings "$T/short.conf" exit-when-idle=4s rocketmq.long-poll=2s
# read_traces TOPIC: all of its messages into the table traces
read_traces() {
    judge records "DELETE FROM traces"
    "$XONCE" consume --from "$FROM" --topic "$1" --group GID_records --store "${STORE[records]}" --config "$T/short.conf" --sql "INSERT INTO traces VALUES (:body)" \
        >"$T/records.out" 2>&1 || note "traces: $(tail -n 3 "$T/records.out")"
}
read_traces RMQ_SYS_TRACE_TOPIC
# Records of a group, each field that differs from delivery to delivery as what it is made of; one a line
shapes() {
    judge records "SELECT body FROM traces" | tr '\001\002' '|\n' | grep '|' | awk -F'|' -v group="$1" '
        $1 == "SubBefore" && $4 == group { mine[$5] = 1 }
        { line[NR] = $0 }
        END {
            for (i = 1; i <= NR; i++) {
                n = split(line[i], f, "|")
                if (!(f[1] == "SubBefore" && f[4] == group) && !(f[1] == "SubAfter" && f[2] in mine)) continue
                for (k = 1; k <= n; k++) {
                    if (f[k] == group) f[k] = "GROUP"
                    else if (length(f[k]) == 32 && f[k] !~ /[^0-9A-F]/ && k == (f[1] == "SubBefore" ? 5 : 2)) f[k] = "REQUEST"
                    else if (f[k] ~ /^1[0-9]{12}$/) f[k] = "TIME"
                    else if (f[1] == "SubAfter" && k == 4 && f[k] ~ /^[0-9]+$/) f[k] = "COST"
                    printf "%s%s", f[k], k < n ? "|" : "\n"
                }
            }
        }' | sort
}
shapes GID_java >"$T/java.shapes"
shapes GID_x >"$T/x.shapes"
is "$(grep -c . "$T/java.shapes")" 10 "Java wrote two records a delivery"
is "$(cat "$T/x.shapes")" "$(cat "$T/java.shapes")" "xonce's records differ from Java's in group, request, time and cost only"

# ---- in the cloud's form, where the last field says what the claim found; its topic is made by the first send here
shop cloud sqlite
rocketmq_java Send "$NS" cloud twice 1 3 >"$T/send.out" 2>&1 || bail "send: $(tail -n 3 "$T/send.out")"
"$XONCE" consume --from "$FROM" --topic cloud --group GID_cloud --store "${STORE[cloud]}" --config "$T/short.conf" --set trace=on --set rocketmq.ons-channel=CLOUD --exec true >"$T/cloud.out" 2>&1 || note "$(tail -n 3 "$T/cloud.out")"
like "$(cat "$T/cloud.out")" '3 fresh, 3 duplicate' "three messages, each sent twice"
read_traces rmq_sys_TRACE_DATA_DefaultRegion
is "$(judge records "SELECT body FROM traces" | tr '\001\002' '|\n' | awk -F'|' '$1 == "SubAfter" { print $5, $6, $7, $8 }' | sort)" \
    $'true k1 0 1\ntrue k1 0 2\ntrue k2 0 1\ntrue k2 0 2\ntrue k3 0 1\ntrue k3 0 2' "one delivery of each applied, the other a duplicate"
done_testing
