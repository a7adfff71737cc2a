#!/usr/bin/env bash
# Answers that are none: garbage, cut, late or endless ones, malformed XML, entity bombs, documents that lack something. Each is told, the consumer goes on,
# and the messages that were lost on the way come again and are applied once.
. "${TOP_SRCDIR:?}/tests/consumer/badlib.sh"
make_store
start_endpoint serve
start_mangle() {
    local line
    start "$1" "$TOP_BUILDDIR/tests/consumer/mangle" "${SERVE_URL#http://}" "${@:2}" || bail "no mangle"
    line=$(wait_for_line 20 "$1.out" '^listening on ') || bail "no mangle"
    MANGLE_URL=http://${line#listening on }
}
# spoiled NAME HOW IDLE COUNT: a consumer, and on its way a proxy that spoils the first COUNT answers with messages (0: all); its status goes to NAME.status
spoiled() {
    local name=$1 how=$2 conf=$2.conf
    [ -f "$conf" ] || conf=one.conf
    start_mangle "$name-proxy" GET "$how" "$4"
    cp empty.db "$name.db" # a file of its own: they run side by side
    (
        FROM=$MANGLE_URL INTO=sqlite:$T/$name.db IDLE=$3 consume "$how" "GID_$4" --sql "$GOOD" --config "$conf" >"$name.out" 2>"$name.err" </dev/null
        echo $? >"$name.status"
    ) &
}
printf 'http.polls = 1\n' >one.conf
printf 'http.polls = 1\nhttp.wait = 1s\nhttp.timeout = 1s\n' >silent.conf
cp shop.db empty.db
declare -A told=([garbage]='not HTTP' [page]='document type' [cut]='broke off' [silent]='no complete answer in time' [malformed]='not well-formed' [endless]='larger than'
    [bomb]='document type' [empty]='' [other]='unexpected: html' [digest]='MessageBodyMD5' [nohandle]='ReceiptHandle' [nothing]='empty XML')

for how in "${!told[@]}"; do
    idle=2500ms
    [[ $how != silent && $how != endless ]] || idle=8s # each failure takes its time
    feed "$how" 10
    spoiled "$how-first" "$how" "$idle" 2
    [ "$how" = endless ] || spoiled "$how-all" "$how" 2500ms 0
done
wait
for how in "${!told[@]}"; do
    is "$(cat "$how-first.status")" 0 "$how: it goes on when the answers are good again"
    like "$(cat "$how-first.err")" "${told[$how]}" "$how: what was wrong is told"
    is "$(sqlite "$how-first.db" "SELECT COUNT(*), COUNT(DISTINCT body) FROM done")" "10|10" "$how: each message is applied once"
    case $how in
        endless) ;;
        empty) is "$(cat "$how-all.status")" 0 "$how: for ever, it is idle" ;;
        *) is "$(cat "$how-all.status")" 1 "$how: for ever, it gives up" ;;
    esac
done

# ---- lost answers to acknowledgements and to a send ----
feed acks 10
start_mangle ack-proxy DELETE cut 2
FROM=$MANGLE_URL nothing_lost acks 10 "answers to acknowledgements are cut"
start_mangle send-proxy POST garbage 1
out=$(seq 1 5 | "$x" send --to "$MANGLE_URL" "${endpoint[@]}" --topic unsure --parallel 1 2>err)
is "$?/$out" "1/sent 0" "a send whose answer is garbage is not counted, nor sent again"
like "$(cat err)" 'line 1: .*not HTTP' "its line is told"
nothing_lost unsure 1 "the endpoint had taken it"
done_testing
