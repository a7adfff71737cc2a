#!/usr/bin/env bash
# `xonce serve` as a program: its first line, options, credentials, TLS, signals, a kill in the middle of a send.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
unset ALIBABA_CLOUD_ACCESS_KEY_ID ALIBABA_CLOUD_ACCESS_KEY_SECRET ALIBABA_CLOUD_SECURITY_TOKEN
last() { tail -n 1 "$1"; }

# ---- wrong use
exits 2 "no credentials" "$XONCE" serve --listen 127.0.0.1:0 --data "$T/data"
like "$(cat "$T/err")" 'ALIBABA_CLOUD_ACCESS_KEY_ID.*ALIBABA_CLOUD_ACCESS_KEY_SECRET' "names the variables"
like "$(cat "$T/err")" '--no-auth' "and the way without"
exits 2 "no folder" "$XONCE" serve --listen 127.0.0.1:0 --no-auth
for options in '--listen 127.0.0.1' '--duplicate 5' '--error 200:5%' '--error 503' '--cut 200%' '--clock-skew x' '--redeliver -1s' '--tls-cert f' '--topic a:b' '--odd'; do
    case $options in --listen*) listen=() ;; *) listen=(--listen 127.0.0.1:0) ;; esac
    read -ra words <<<"$options"
    exits 2 "$options" "$XONCE" serve "${listen[@]}" --data "$T/data" --no-auth "${words[@]}"
    like "$(cat "$T/err")" "${words[0]}" "is named"
done
exits 0 "--help" "$XONCE" serve --help
like "$(cat "$T/out")" 'example:' "has an example"

# ---- it serves
export ALIBABA_CLOUD_ACCESS_KEY_ID=key ALIBABA_CLOUD_ACCESS_KEY_SECRET=secret
start_serve first --data "$T/data" --instance MQ_INST_t || bail "no endpoint"
like "$(head -n 1 "$T/first.out")" '^listening on http://127\.0\.0\.1:[1-9][0-9]*$' "the first line is the address"
to=(--to "$SERVE_URL" --instance MQ_INST_t --topic t)
seq 1 20000 >"$T/lines"
begun=$SECONDS
exits 0 "20,000 messages are sent" "$XONCE" send "${to[@]}" "$T/lines"
is "$(last "$T/out")" "sent 20000" "all of them"
[ $((SECONDS - begun)) -le 30 ] && ok "in seconds" || not_ok "in seconds" "$((SECONDS - begun)) s"
exits 1 "another instance is refused" "$XONCE" send --to "$SERVE_URL" --instance MQ_INST_other --topic t "$T/lines"
like "$(cat "$T/err")" 'TopicNotExist' "as an unknown topic"
ALIBABA_CLOUD_ACCESS_KEY_SECRET=wrong exits 1 "a wrong secret is refused" "$XONCE" send "${to[@]}" "$T/lines"
like "$(cat "$T/err")" 'SignatureDoesNotMatch' "by its signature"
exits 1 "the folder is in use" "$XONCE" serve --listen 127.0.0.1:0 --data "$T/data"
kill -USR1 "$SERVE_PID"
like "$(wait_for_line 10 "$T/first.err" 'accepted')" ' 20000 accepted' "SIGUSR1 tells figures"
kill -TERM "$SERVE_PID"
wait_for 20 eval "! kill -0 $SERVE_PID 2>/dev/null" && ok "SIGTERM ends it" || not_ok "SIGTERM ends it"

# ---- its clock is off
start_serve skewed --data "$T/skewed" --clock-skew -20m || bail "no endpoint"
exits 1 "a clock 20 minutes off is refused" "$XONCE" send --to "$SERVE_URL" --topic t "$T/lines"
like "$(cat "$T/err")" '(TimeExpired|clock)' "and told"
stop "$SERVE_PID"

# ---- TLS
if command -v openssl >/dev/null; then
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$T/key.pem" -out "$T/cert.pem" -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 2>/dev/null
    start_serve tls --data "$T/tls-data" --tls-cert "$T/cert.pem" --tls-key "$T/key.pem" || bail "no endpoint"
    like "$SERVE_URL" '^https://127\.0\.0\.1:' "the address is https"
    seq 1 50 >"$T/fifty"
    exits 1 "an unknown certificate is refused" "$XONCE" send --to "$SERVE_URL" --topic t "$T/fifty"
    exits 0 "with --cacert it is known" "$XONCE" send --to "$SERVE_URL" --topic t --cacert "$T/cert.pem" "$T/fifty"
    check "a table" "$XONCE" init --store "sqlite:$T/tls.db"
    sqlite "$T/tls.db" 'CREATE TABLE got(body TEXT)'
    exits 0 "and consumed" "$XONCE" consume --from "$SERVE_URL" --topic t --group G --cacert "$T/cert.pem" --store "sqlite:$T/tls.db" \
        --sql 'INSERT INTO got VALUES (:body)' --exit-when-idle 2s
    is "$(sqlite "$T/tls.db" 'SELECT count(*), count(DISTINCT body) FROM got')" "50|50" "every message once"
    stop "$SERVE_PID"
else
    skip "there is no openssl here" "TLS"
fi

# ---- kill -9 while `send` runs: what it says was sent is there
more_than() { [ "$(sqlite "$T/killed/queues.db" 'SELECT count(*) FROM message')" -gt "$1" ]; }
killed=0
for round in 1 2 3; do
    start_serve "round$round" --data "$T/killed" --no-auth --redeliver 2s || bail "no endpoint"
    seq -f "$round-%.0f" 1 1000000 >"$T/many"
    start "send$round" "$XONCE" send --to "$SERVE_URL" --topic t "$T/many"
    wait_for 20 more_than $((killed + 500))
    kill -KILL "$SERVE_PID"
    wait_for_line 30 "$T/send$round.out" '^sent [0-9]+$' >"$T/sent" || not_ok "send $round ends"
    killed=$((killed + $(sed 's/sent //' "$T/sent")))
done
start_serve after --data "$T/killed" --no-auth || bail "no endpoint"
kept=$(sqlite "$T/killed/queues.db" 'SELECT count(DISTINCT body) FROM message')
note "$killed accepted, $kept kept"
[ "$killed" -gt 1000 ] && [ "$kept" -ge "$killed" ] && [ "$kept" -le $((killed + 3 * 64)) ] && ok "three kills lose nothing accepted" ||
    not_ok "three kills lose nothing accepted"
stop "$SERVE_PID"
done_testing
