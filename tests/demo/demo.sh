#!/usr/bin/env bash
# The demonstration: payments through a local endpoint that delivers some twice and forgets some acknowledgements, into SQLite, by two consumers that are
# SIGKILLed again and again. First at-least-once (--no-dedup), then with xonce. Everything stays in the folder $DEMO for a look.
set -u
XONCE=${XONCE:-$(command -v xonce)}
N=${DEMO_MESSAGES:-20000}
KILLS=${DEMO_KILLS:-40}
DEMO=${DEMO:-$(dirname "$XONCE")/demo}
export ALIBABA_CLOUD_ACCESS_KEY_ID=demo ALIBABA_CLOUD_ACCESS_KEY_SECRET=demo-secret
unset ALIBABA_CLOUD_SECURITY_TOKEN XONCE_STORE XONCE_FAILPOINTS

die() { printf '\ndemo: %s\n' "$*" >&2; exit 1; }
[ -x "$XONCE" ] || die "there is no program xonce: run ./bootstrap first"
command -v sqlite3 >/dev/null || die "sqlite3 is missing (Debian package sqlite3)"
rm -rf "$DEMO"
mkdir -p "$DEMO" || exit 1

pids=()
finish() {
    trap '' INT TERM
    for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null; done
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

sql() { sqlite3 -batch -cmd '.timeout 10000' "$1" "$2"; }
money() { printf '%d.%02d' $(($1 / 100)) $(($1 % 100)); }
pause() { read -rt "$1" <> <(:) || :; }
live() {
    if [ -t 1 ]; then printf '\r%-100s' "$1"; elif [ $((SECONDS - ${last_line:-0})) -ge 5 ]; then last_line=$SECONDS; printf '%s\n' "$1"; fi
}

sent_cents=$(awk -v n="$N" -v file="$DEMO/payments.jsonl" 'BEGIN {
    for (i = 1; i <= n; i++) { cents = 100 + (i * 7919) % 9900; sum += cents; printf "{\"payment_id\":\"P-%06d\",\"cents\":%d}\n", i, cents >file }
    printf "%d\n", sum
}')

# one consumer in the background; its number is $1
consume() {
    "$XONCE" consume --from "$url" --instance MQ_INST_demo --topic payments --group GID_demo --store "sqlite:$DEMO/$mode.db" --workers 2 \
        --sql 'INSERT INTO payments (id, cents) VALUES (:body.payment_id, :body.cents)' --exit-when-idle 4s $dedup >>"$DEMO/$mode-consumer$1.log" 2>&1 </dev/null &
    consumer[$1]=$!
    pids+=($!)
    disown
}
rows() { sql "$DEMO/$mode.db" 'SELECT count(*) FROM payments' 2>/dev/null || echo 0; }
runs() { [ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# run MODE FLAG: the whole job once
run() {
    local serve kills=0 which began=$SECONDS until line
    mode=$1 dedup=$2
    sql "$DEMO/$mode.db" "PRAGMA journal_mode=WAL; CREATE TABLE payments (id TEXT, cents INTEGER)" >/dev/null || exit 1
    "$XONCE" init --store "sqlite:$DEMO/$mode.db" >/dev/null || die "xonce init failed"
    "$XONCE" serve --listen 127.0.0.1:0 --data "$DEMO/$mode-endpoint" --instance MQ_INST_demo --redeliver 2s --duplicate 10% --lose-ack 10% \
        >"$DEMO/$mode-serve.log" 2>&1 </dev/null &
    serve=$!
    pids+=($!)
    disown
    until=$((SECONDS + 10))
    until line=$(grep -m1 '^listening on ' "$DEMO/$mode-serve.log" 2>/dev/null); do
        runs "$serve" && [ $SECONDS -lt $until ] || die "xonce serve did not start: $(tail -n 3 "$DEMO/$mode-serve.log")"
        pause 0.05
    done
    url=${line#listening on }
    "$XONCE" send --to "$url" --instance MQ_INST_demo --topic payments "$DEMO/payments.jsonl" >"$DEMO/$mode-send.log" 2>&1 &
    local sender=$!
    consume 0
    consume 1
    while [ $kills -lt "$KILLS" ] && [ "$(rows)" -lt "$N" ] && [ $((SECONDS - began)) -lt 20 ]; do
        pause "0.$((RANDOM % 30 + 10))"
        which=$((RANDOM % 2))
        kill -KILL "${consumer[$which]}" 2>/dev/null && kills=$((kills + 1))
        consume $which
        live "$3: $kills consumers killed, $(rows) rows"
    done
    wait $sender || die "xonce send failed: $(tail -n 1 "$DEMO/$mode-send.log")"
    until=$((SECONDS + 60))
    while runs "${consumer[0]}" || runs "${consumer[1]}"; do
        [ $SECONDS -lt $until ] || die "the consumers do not come to an end: see $DEMO/$mode-consumer0.log"
        live "$3: $kills consumers killed, $(rows) rows, the rest is coming in"
        pause 0.2
    done
    kill -TERM "$serve" 2>/dev/null
    until=$((SECONDS + 10))
    while runs "$serve" && [ $SECONDS -lt $until ]; do pause 0.05; done
    live "$3: $kills consumers killed, $(rows) rows"
    [ ! -t 1 ] || printf '\n'
    sql "$DEMO/$mode.db" "CREATE TABLE demo (what TEXT, n INTEGER); INSERT INTO demo VALUES ('kills', $kills)"
}

run without --no-dedup 'at least once'
run with '' 'with xonce'

# The figures are read from what was left behind: our tables, and the endpoint's last word.
figure() { sql "$DEMO/$1.db" "$2"; }
deliveries() { sed -nE 's/^.* ([0-9]+) handed out.*$/\1/p' "$DEMO/$1-serve.log" | tail -n 1; }
line() { printf '%-34s %16s %16s\n' "$1" "$2" "$3"; }
rows_sql='SELECT count(*) FROM payments'
distinct_sql='SELECT count(DISTINCT id) FROM payments'
cents_sql='SELECT coalesce(sum(cents), 0) FROM payments'
kills_sql="SELECT n FROM demo WHERE what = 'kills'"
without_cents=$(figure without "$cents_sql")
with_cents=$(figure with "$cents_sql")
verdict() { if [ "$1" -eq "$sent_cents" ]; then echo balances; else printf 'off by %s' "$(money $(($1 - sent_cents)))"; fi; }
printf '\n'
line '' --no-dedup xonce
line 'payments sent' "$N" "$N"
line 'deliveries by the endpoint' "$(deliveries without)" "$(deliveries with)"
line 'consumers killed (SIGKILL)' "$(figure without "$kills_sql")" "$(figure with "$kills_sql")"
line 'rows booked' "$(figure without "$rows_sql")" "$(figure with "$rows_sql")"
line 'different payments among them' "$(figure without "$distinct_sql")" "$(figure with "$distinct_sql")"
line 'money sent' "$(money "$sent_cents")" "$(money "$sent_cents")"
line 'money booked' "$(money "$without_cents")" "$(money "$with_cents")"
line '' "$(verdict "$without_cents")" "$(verdict "$with_cents")"
query='SELECT count(*), count(DISTINCT id), sum(cents) / 100.0 FROM payments'
printf "\nLook for yourself:\n  sqlite3 '%s' '%s'\n  sqlite3 '%s' '%s'\n" "$DEMO/without.db" "$query" "$DEMO/with.db" "$query"
[ "$(figure with "$rows_sql") $(figure with "$distinct_sql") $with_cents" = "$N $N $sent_cents" ] || die "the xonce column does not balance"
