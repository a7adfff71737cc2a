#!/usr/bin/env bash
# Endpoints that refuse, lie, break off or are not there: each with a clear error, and afterwards every message is applied once.
. "${TOP_SRCDIR:?}/tests/consumer/badlib.sh"
make_store
start_endpoint serve
feed orders 20

# ---- credentials ----
export -n ALIBABA_CLOUD_ACCESS_KEY_ID ALIBABA_CLOUD_ACCESS_KEY_SECRET
refused 2 'ALIBABA_CLOUD_ACCESS_KEY_ID.*ALIBABA_CLOUD_ACCESS_KEY_SECRET' "consume without credentials names the variables" consume orders GID_bad --sql "$GOOD"
refused 2 'ALIBABA_CLOUD_ACCESS_KEY_ID' "send without credentials likewise" send orders
refused 2 'ALIBABA_CLOUD_ACCESS_KEY_ID' "serve without credentials likewise" timeout 20 "$x" serve --listen 127.0.0.1:0 --data "$T/none"
export ALIBABA_CLOUD_ACCESS_KEY_ID
refused 2 'without its secret' "an id without a secret" consume orders GID_bad --sql "$GOOD"
export ALIBABA_CLOUD_ACCESS_KEY_SECRET
printf 'access-key-id = a\nbogus = marker-secret\n' >credentials
chmod 600 credentials
refused 2 'credentials line 2' "a mistake in the credentials file" consume orders GID_bad --sql "$GOOD" --credentials credentials
refused 2 'No such file' "a credentials file that is not there" consume orders GID_bad --sql "$GOOD" --credentials nowhere
ALIBABA_CLOUD_ACCESS_KEY_SECRET=marker-secret-wrong refused 1 'SignatureDoesNotMatch.*ALIBABA_CLOUD_ACCESS_KEY_SECRET' "a wrong secret" consume orders GID_bad --sql "$GOOD"
ALIBABA_CLOUD_ACCESS_KEY_SECRET=marker-secret-wrong refused 1 'line 1: .*SignatureDoesNotMatch' "sending with a wrong secret" send orders "$T/credentials"
ALIBABA_CLOUD_ACCESS_KEY_ID=somebody refused 1 'InvalidAccessKeyId.*ALIBABA_CLOUD_ACCESS_KEY_ID' "a wrong key id" consume orders GID_bad --sql "$GOOD"

# ---- addresses ----
FROM=http://no-such-host.invalid refused 1 'no-such-host.invalid: the host is not known' "an unknown host" consume orders GID_bad --sql "$GOOD"
FROM=http://127.0.0.1:1 refused 1 '127.0.0.1:1: cannot connect.*check that the endpoint runs' "a port where nobody listens" consume orders GID_bad --sql "$GOOD"
FROM=http://user:marker-password@127.0.0.1:1 refused 2 'no user or password' "credentials in --from" consume orders GID_bad --sql "$GOOD"
FROM='http://127.0.0.1:1?secret=marker-password' refused 2 'only \?instance=' "something else in --from" consume orders GID_bad --sql "$GOOD"
FROM=http://127.0.0.1:99999 refused 2 'port 99999' "a port that cannot be" consume orders GID_bad --sql "$GOOD"
FROM=127.0.0.1:80 refused 2 'http://' "no scheme" consume orders GID_bad --sql "$GOOD"
FROM=https://${SERVE_URL#http://} refused 1 'TLS failed' "https where http is spoken" consume orders GID_bad --sql "$GOOD"
FROM=$SERVE_URL?instance=MQ_INST_other refused 1 'TopicNotExist.*instance' "another instance" consume orders GID_bad --sql "$GOOD"
refused 2 'topic a/b: byte 0x2f' "a topic that no URL can carry" consume a/b GID_bad --sql "$GOOD"
all_once orders 0 "until now no message was applied"
nothing_lost orders 20 "after all this"

# ---- answers that are none: the first two with messages are spoiled on the way, then all of them ----
printf 'http.timeout = 1s\nhttp.wait = 1s\nhttp.polls = 1\n' >quick.conf
declare -A wanted=([garbage]='not HTTP' [page]='document type' [cut]='broke off' [silent]='no complete answer in time' [malformed]='not well-formed' [endless]='larger than'
    [bomb]='document type' [empty]='' [other]='unexpected: html' [digest]='MessageBodyMD5' [nohandle]='ReceiptHandle' [nothing]='empty XML')
start_mangle() {
    local line
    start "$1" "$TOP_BUILDDIR/tests/consumer/mangle" "${SERVE_URL#http://}" "${@:2}" || bail "no mangle"
    line=$(wait_for_line 20 "$1.out" '^listening on ') || bail "no mangle"
    MANGLE_URL=http://${line#listening on }
}
# spoiled NAME HOW GROUP: a consumer behind it, its status in NAME.status
spoiled() { (FROM=$MANGLE_URL INTO=sqlite:$T/$2.db IDLE=${IDLE:-2500ms} consume "$2" "$3" --sql "$GOOD" --config quick.conf >"$1.out" 2>"$1.err" </dev/null; echo $? >"$1.status") & }
for how in "${!wanted[@]}"; do
    feed "$how" 10
    cp shop.db "$how.db"
    sqlite "$how.db" "DELETE FROM done; DELETE FROM transaction_record" # its own file: they run side by side
    start_mangle "proxy-$how" GET "$how" 2
    IDLE=$([ "$how" = silent ] && echo 6s || echo 2500ms) spoiled "some-$how" "$how" GID_some
    start_mangle "all-proxy-$how" GET "$how"
    spoiled "all-$how" "$how" GID_all
done
wait
for how in "${!wanted[@]}"; do
    is "$(cat "some-$how.status")" 0 "$how: it goes on when the answers are good again"
    like "$(cat "some-$how.err")" "${wanted[$how]}" "$how: what was wrong is told"
    is "$(sqlite "$how.db" "SELECT COUNT(*), COUNT(DISTINCT body) FROM done")" "10|10" "$how: each message is applied once"
    is "$(cat "all-$how.status")" "$([ "$how" = empty ] && echo 0 || echo 1)" "$how: for ever"
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

# ---- faults of the endpoint itself: a clock that is off, errors and cut answers ----
feed clock 5
feed faults 1000
stop "$SERVE_PID"
for skew in 20m:behind -20m:'ahead of'; do
    start_endpoint "skew${skew%%:*}" --clock-skew "${skew%%:*}"
    refused 1 "TimeExpired.*clock is (1199|1200|1201) s ${skew#*:} the server" "a clock that is 20 minutes ${skew#*:} the server's" consume clock GID_bad --sql "$GOOD"
    stop "$SERVE_PID"
done
start_endpoint faulty --error 503:20% --cut 10% --duplicate 10% --lose-ack 10%
IDLE=4s nothing_lost faults 1000 "errors, cut answers, duplicates and lost acks at once"
stop "$SERVE_PID"

# ---- topics that do not exist ----
start_endpoint strict --strict --topic known
refused 1 'TopicNotExist.*check topic' "consume from an unknown topic" consume unknown GID_bad --sql "$GOOD"
refused 1 'line 1: .*TopicNotExist' "send to an unknown topic" send unknown "$T/credentials"
is "$(tail -n 1 out)" "sent 0" "nothing was sent"
nothing_lost clock 5 "the clock is right again"
done_testing
