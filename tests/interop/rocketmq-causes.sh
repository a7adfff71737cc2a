#!/usr/bin/env bash
# Why a broker delivers a message again, cause by cause: each is brought about on purpose, and nothing is applied twice or lost.
#
#   cause                                                   where
#   offset not committed, consumer crashed                  crash below, and rocketmq-kills.sh
#   queues change hands while both members run              rocketmq-kills.sh, rocketmq-java.sh
#   a stale member commits an old offset                    stale
#   broker crash: the last commits of offsets are lost      lost; queue locks lost: rocketmq-kills.sh
#   failover to a copy that lacks the end of the log        rocketmq-history.sh 1 and 2 (the log is cut)
#   operator's reset; console sends one message again (309) rocketmq-history.sh 5; console
#   sent back, and the original comes again too             back
#   sent back twice, since the first answer was lost        answer
#   sent back by a member that gave up waiting for it       late
#   producer sends again under the same id                  resend
#   transaction committed twice                             tran
#   delayed messages delivered again by a restarted broker  delay
#   dead letters sent again by an operator                  dead
#   mirrored topic                                          mirror
#   retries of a batch, whose members share one id          batch (the opposite danger: siblings taken for one message)
#   pop: xonce does not use it
. "$(dirname "$0")/rmqlib.sh"
rocketmq_need
rocketmq_begin "messageDelayLevel=1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s" flushDelayOffsetInterval=600000
CAUSES="crash stale lost console back late resend tran delay dead mirror batch"
for c in $CAUSES elsewhere; do rocketmq_topic "$c" 2 || bail "no topic $c"; done
for c in $CAUSES; do shop "$c" sqlite; done

declare -A PID
# first SHOP...: a consumer of each topic into the shop of its name
first() {
    local c
    for c in "$@"; do
        consumer "$c-1" "$c" "$c" "GID_$c"
        PID[$c]=$STARTED
    done
}
again() { rocketmq_java Again "$NS" "$@" >"$T/again.out" 2>&1 || bail "again: $(tail -n 3 "$T/again.out")"; }
queue_ends() { echo $(($(rocketmq_offset broker-a 30 none "$1" 0) + $(rocketmq_offset broker-a 30 none "$1" 1))); }
retry_end() { rocketmq_offset broker-a 30 none "%RETRY%GID_$1" 0; }
has_copies() { [ "$(retry_end "$1")" -ge "$2" ]; }
# Has the group settled all there is? What it committed says so, of the topic and of its retry topic.
settled() {
    local q end
    for q in 0 1; do
        end=$(rocketmq_offset broker-a 30 none "$1" $q)
        [ "$end" = 0 ] || [ "$(rocketmq_offset broker-a 14 "GID_$1" "$1" $q)" = "$end" ] || return 1
    done
    end=$(retry_end "$1")
    [ "$end" = 0 ] || [ "$(rocketmq_offset broker-a 14 "GID_$1" "%RETRY%GID_$1" 0)" = "$end" ]
}
end_all() { local c; for c in "$@"; do stop "${PID[$c]}" || not_ok "$c: it ends in order" "$(tail -n 3 "$T/$c"-*.err)"; done; }
counted() { judge "$1" "SELECT COUNT(*) || ' rows, ' || COUNT(DISTINCT id) || ' ids, ' || COALESCE(SUM(amount), 0) || ' booked' FROM payments"; }
# once SHOP LAST MINIMUM NAME: each payment from 1 to LAST stands there once, and the second consumer met MINIMUM duplicates at least
once() {
    local count
    count=$(tail -n 1 "$T/$1-2.out")
    is "$(counted "$1")" "$(balanced 1 "$2")" "$4: each once"
    [ "$3" = 0 ] || check "$4: they did come again ($count)" [ "$(sed -n 's/.* \([0-9]*\) duplicate.*/\1/p' <<<"$count")" -ge "$3" ]
}

# ---- the first round: all is applied, and some of it is on its way to come again
printf '#!/bin/sh\n[ "$XONCE_ATTEMPT" -ge 2 ] || exit 1\necho "$XONCE_KEY" >>"%s/done-$XONCE_TOPIC"\n' "$T" >"$T/fail-first"
chmod +x "$T/fail-first"
jobs="crash mixed 1 100 -- stale normal 1 50 -- lost normal 1 40 -- console normal 1 10 -- back normal 1 30 -- late normal 1 10 -- resend twice 1 40 -- delay delayed 1 20 level=2 -- dead normal 1 10"
# shellcheck disable=SC2086
rocketmq_java Send "$NS" $jobs -- elsewhere batch 1 40 -- batch batch 1 64 >"$T/send.out" 2>&1 || bail "send: $(tail -n 3 "$T/send.out")"
again commit-twice tran 1 10
SETTINGS="rocketmq.commit-every=10m" first crash lost
first stale console late delay dead
settings "$T/back.conf" $QUICK rocketmq.commit-every=10m
start back "$XONCE" consume --from "$FROM" --topic back --group GID_back --store "${STORE[back]}" --config "$T/back.conf" --exec false --workers 8
PID[back]=$STARTED
settings "$T/batch.conf" $QUICK
start batch-2 "$XONCE" consume --from "$FROM" --topic batch --group GID_batch --store "${STORE[batch]}" --config "$T/batch.conf" --exec "$T/fail-first" --workers 8
PID[batch]=$STARTED
again copy elsewhere mirror
again copy elsewhere mirror
for c in "crash 100" "lost 40" "stale 50" "console 10" "late 10" "delay 20" "dead 10"; do
    # shellcheck disable=SC2086
    wait_for 120 has_applied $c || note "slow: $c"
done
wait_for 90 has_copies back 30 || note "nothing was sent back: $(tail -n 3 "$T/back.err")"

# ---- what goes wrong
stop "${PID[crash]}" KILL
stop "${PID[back]}" KILL
member=$(rocketmq_members GID_console)
rocketmq_admin queryMsgByUniqueKey -t console -i "$(judge console "SELECT substr(message_id, 1, 32) FROM transaction_record LIMIT 1")" -g GID_console -d "$member" >"$T/direct" 2>&1
note "the console was told: $(grep -oE 'consumeResult=[A-Z_]*|CODE: [0-9]+ *DESC: .*' "$T/direct" | head -n 1 | cut -c 1-120)"
end_all lost stale console late delay dead
cp "$T/console-1.out" "$T/console-2.out"
for c in late:1 dead:-1; do
    for at in $(judge "${c%:*}" "SELECT log_offset FROM transaction_record"); do
        rocketmq_ask "$(rocketmq_port broker-a)" 36 '"offset":"'"$at"'","group":"GID_'"${c%:*}"'","delayLevel":"'"${c#*:}"'","originTopic":"'"${c%:*}"'","unitMode":"false","maxReconsumeTimes":"100"' >/dev/null
    done
done
check "copies lie in the retry topic" wait_for 60 has_copies late 10
again copy %DLQ%GID_dead dead
is "$(cat "$T/again.out")" "sent 10" "ten dead letters are sent again"
# the broker crashes: it forgets what was committed last, and what it has delivered of the delayed messages
check "offsets are on the broker's disk" wait_for 60 grep -q '"lost@GID_lost"' "$ROCKETMQ_DIR/broker-a/store/config/consumerOffset.json"
delayed=$(queue_ends delay)
rocketmq_kill broker-a
sed -i '/"lost@GID_lost"/,/}/ s/:[1-9][0-9]*/:0/g' "$ROCKETMQ_DIR/broker-a/store/config/consumerOffset.json"
rm -f "$ROCKETMQ_DIR"/broker-a/store/config/delayOffset.json* "$ROCKETMQ_DIR"/broker-a/store/config/consumerOffset.json.bak
rocketmq_start broker-a || bail "the broker does not come back"
is "$(rocketmq_offset broker-a 14 GID_lost lost 0)" 0 "the broker has lost commits"
judge lost "DELETE FROM xonce_settled" >/dev/null
check "the restarted broker delivers delayed messages again" wait_for 90 eval '[ "$(queue_ends delay)" -ge $((delayed + 20)) ]'
is "$(queue_ends resend) $(queue_ends tran) $(queue_ends mirror)" "80 20 80" "resent, committed twice, mirrored: the broker has each twice"

rocketmq_set_offset broker-a GID_stale stale 0 0
rocketmq_set_offset broker-a GID_stale stale 1 3
is "$(rocketmq_offset broker-a 14 GID_stale stale 0)" 0 "a stale member has committed an old offset"
judge stale "DELETE FROM xonce_settled" >/dev/null

# ---- the second round
second="crash stale lost back late resend tran delay dead mirror"
for c in $second; do
    consumer "$c-2" "$c" "$c" "GID_$c"
    PID[$c]=$STARTED
done
for c in $second batch; do wait_for 120 settled "$c" || note "$c: not settled: $(tail -n 3 "$T/$c-2.err")"; done
tap_pause 1 # what would come once more has this long
# shellcheck disable=SC2086
end_all $second batch
once crash 100 90 "offset not committed, consumer crashed"
once stale 50 40 "a stale member's offset"
once lost 40 40 "commits of offsets lost in a broker crash"
once console 10 0 "a console sends a message again (309)"
once back 30 20 "sent back and crashed before that was known: originals and copies come"
once late 10 10 "sent back by a member that gave up"
once resend 40 40 "a producer sends again under the same id"
once tran 10 10 "a transaction committed twice"
once delay 20 20 "delayed messages delivered again"
once dead 10 10 "dead letters sent again"
once mirror 40 40 "a mirrored topic"
is "$(sort "$T/done-batch" | uniq -c | awk '$1 == 1' | wc -l) of $(wc -l <"$T/done-batch")" "64 of 64" "a batch, each member tried again: none is taken for its sibling"
is "$(judge batch 'SELECT COUNT(*) FROM transaction_record')" 64 "and each has a record of its own"

# ---- the answer to a send-back is lost: a broker behind a proxy
if [ "${ROCKETMQ_VERSION%%.*}" -ge 5 ]; then
    ROCKETMQ_PORT=$(rocketmq_free_port)
    start_proxy proxy "127.0.0.2:$ROCKETMQ_PORT" "$ROCKETMQ_PORT" || bail "proxy: $(cat "$T/proxy.err")"
    rocketmq_start broker-b bindAddress=127.0.0.2 "messageDelayLevel=1s 1s 1s 1s 1s 1s" || bail "no broker behind a proxy"
    rocketmq_topic answer 1 broker-b || bail "no topic"
    shop answer sqlite
    rocketmq_java Send "$NS" answer normal 1 20 >/dev/null || bail "send"
    proxy_order proxy lose-answer '"code":36' >/dev/null
    settings "$T/answer.conf" $QUICK
    start answer "$XONCE" consume --from "$FROM" --topic answer --group GID_answer --store "${STORE[answer]}" --config "$T/answer.conf" --exec "$T/fail-first" --workers 2
    wait_for 120 eval '[ "$(judge answer "SELECT COUNT(*) FROM transaction_record")" -ge 20 ]'
    wait_for 60 eval '[ "$(rocketmq_offset broker-b 14 GID_answer %RETRY%GID_answer 0)" = "$(rocketmq_offset broker-b 30 none %RETRY%GID_answer 0)" ]' || note "not settled"
    tap_pause 2 # what would come once more has this long
    stop "$STARTED" || not_ok "it ends in order" "$(tail -n 3 "$T/answer.err")"
    is "$(sort "$T/done-answer" | uniq -c | awk '$1 == 1' | wc -l) of $(wc -l <"$T/done-answer")" "20 of 20" "the answer to a send-back is lost: each once ($(tail -n 1 "$T/answer.out"))"
    like "$(proxy_order proxy counts)" '^counts [0-9]+ [1-9]' "the connection was cut at that answer"
    note "copies in the retry topic: $(rocketmq_offset broker-b 30 none %RETRY%GID_answer 0)"
else
    skip "a 4.x broker cannot be bound to another address than the proxy's" "the answer to a send-back is lost"
fi
done_testing
