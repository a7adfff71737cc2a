#!/usr/bin/env bash
# Endpoints that refuse, that are not there, whose clock is off or that fail now and then: each with a clear error, and afterwards every message is applied once.
. "${TOP_SRCDIR:?}/tests/consumer/badlib.sh"
make_store
start_endpoint serve
feed orders 20

# ---- credentials ----
export -n ALIBABA_CLOUD_ACCESS_KEY_ID ALIBABA_CLOUD_ACCESS_KEY_SECRET
FROM=http://192.0.2.1:8080 refused 2 'ALIBABA_CLOUD_ACCESS_KEY_ID.*ALIBABA_CLOUD_ACCESS_KEY_SECRET' "consume without credentials names the variables" consume orders GID_bad --sql "$GOOD"
refused 1 'MissingAuthorizationHeader.*ALIBABA_CLOUD_ACCESS_KEY_ID' "an endpoint on this machine that wants some refuses" consume orders GID_bad --sql "$GOOD"
echo one >one
refused 1 'ALIBABA_CLOUD_ACCESS_KEY_ID' "send without credentials likewise" send orders one
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
refused 1 'cannot connect' "--print from there" timeout 60 "$x" consume --from http://127.0.0.1:1 --topic orders --group GID_bad --print --exit-when-idle 1s
FROM=http://user:marker-password@127.0.0.1:1 refused 2 'no user or password' "credentials in --from" consume orders GID_bad --sql "$GOOD"
FROM='http://127.0.0.1:1?secret=marker-password' refused 2 'only \?instance=' "something else in --from" consume orders GID_bad --sql "$GOOD"
FROM=http://127.0.0.1:99999 refused 2 'port 99999' "a port that cannot be" consume orders GID_bad --sql "$GOOD"
FROM=127.0.0.1:80 refused 2 'http://' "no scheme" consume orders GID_bad --sql "$GOOD"
FROM=https://${SERVE_URL#http://} refused 1 'TLS failed' "https where http is spoken" consume orders GID_bad --sql "$GOOD"
FROM=$SERVE_URL?instance=MQ_INST_other refused 1 'TopicNotExist.*instance' "another instance" consume orders GID_bad --sql "$GOOD"
refused 2 'topic a/b: byte 0x2f' "a topic that no URL can carry" consume a/b GID_bad --sql "$GOOD"
all_once orders 0 "until now no message was applied"
nothing_lost orders 20 "after all this"

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
