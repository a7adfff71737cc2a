#!/usr/bin/env bash
# xonce doctor, over SQLite and the local endpoint: what is in order and what is not, what to do about it, as text and as JSON, and that it leaves no trace.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
unset XONCE_STORE ALIBABA_CLOUD_ACCESS_KEY_ID ALIBABA_CLOUD_ACCESS_KEY_SECRET ALIBABA_CLOUD_SECURITY_TOKEN
cd "$T" || exit 1
x=$XONCE
store=sqlite:$T/shop.db
doctor() { timeout 60 "$x" doctor "$@"; }

# ---- use ----
exits 0 "doctor --help" doctor --help
exits 2 "neither store nor source" doctor
like "$(cat err)" 'XONCE_STORE' "it names the variable"
exits 2 "an unknown option" doctor --stor x
like "$(cat err)" 'did you mean --store' "the nearest is named"

# ---- the database ----
exits 3 "a file that is not there" doctor --store "$store"
like "$(cat out)" "BROKEN: .*no file $T/shop.db.*xonce init" "what makes it is told"
check "it was not made" test ! -e shop.db
exits 3 "a scheme that there is not" doctor --store sqlit:shop.db
like "$(cat out)" 'BROKEN: .*unknown scheme' "is told"
exits 3 "a server that is not there" doctor --store 'postgresql://u:hunter2@127.0.0.1:1/d'
unlike "$(cat out err)" hunter2 "no password is told"
like "$(cat out)" '> check that it runs' "what to do is told"
: >shop.db
exits 3 "a database without tables" env XONCE_STORE="$store" "$x" doctor
like "$(cat out)" 'BROKEN: the table transaction_record is missing.*> run `xonce init`' "what to do is told"
is "$(grep -c 'xonce_rejected' out)" 1 "each table that is missing is told once"
"$x" init --store "$store" >/dev/null || bail "init failed"
exits 0 "a database in order" doctor --store "$store" --group GID_d
like "$(cat out)" 'ok: SQLite 3.*ok: tables, keys' "its version is told"
like "$(tail -n 1 out)" '^no problems were found' "the last line sums up"
sqlite shop.db "INSERT INTO xonce_rejected (consumer_group, message_id, topic_name, broker_name, queue_id, offset, store_time, attempts, reason, rejected_at) VALUES ('GID_d', 'm', 't', '', -1, -1, -1, 1, 'r', 1)" || bail "a row"
exits 0 "a rejected message" doctor --store "$store" --group GID_d
like "$(cat out)" 'note: messages of the group in xonce_rejected: 1' "is told"
exits 3 "a trigger on the record table" bash -c "sqlite3 shop.db 'CREATE TRIGGER t AFTER INSERT ON transaction_record BEGIN SELECT 1; END'; exec '$x' doctor --store '$store'"
cp out doctor.out
exits 3 "check says the same" "$x" check --store "$store"
is "$(grep UNSAFE out)" "$(sed -n 's/^  UNSAFE/UNSAFE/p' doctor.out)" "in the same words"
sqlite shop.db 'DROP TRIGGER t'

# ---- the source ----
exits 3 "a source that is not there" doctor --from http://127.0.0.1:1 --topic orders --group GID_d
like "$(cat out)" 'BROKEN: it does not answer: .*cannot connect' "is told"
exits 3 "a source of an unknown kind" doctor --from kafka://127.0.0.1:1
exits 3 "no credentials for an endpoint elsewhere" doctor --from http://192.0.2.1
like "$(cat out)" 'ALIBABA_CLOUD_ACCESS_KEY_ID' "the variables are named"
exits 3 "name servers that are not there" doctor --from 'rocketmq://127.0.0.1:1;127.0.0.1:2' --topic orders --group GID_d
is "$(grep -c ': name server 127.0.0.1:[12]: ' out)/$(grep -c 'BROKEN: no name server answers' out)" 2/1 "each is told"
start_serve open --data "$T/open" --no-auth --strict --topic orders || bail "serve did not start"
url=$SERVE_URL
exits 0 "an endpoint that wants no credentials" doctor --from "$url" --topic orders --group GID_d --store "$store"
like "$(cat out)" 'ok: it wants no credentials.*ok: topic orders and group GID_d are accepted.*ok: the clock of the endpoint' "topic, group and clock are looked at"
exits 3 "a topic that there is not" doctor --from "$url" --topic order --group GID_d
like "$(cat out)" 'BROKEN: .*TopicNotExist' "is told"
exits 0 "only the address" doctor --from "$url"
like "$(cat out)" 'give --topic and --group' "what else could be looked at is told"
printf 'a\nb\n' | "$x" send --to "$url" --topic orders >/dev/null 2>send.err || bail "send: $(cat send.err)"
exits 0 "messages wait" doctor --from "$url" --topic orders --group GID_d
out=$("$x" consume --from "$url" --topic orders --group GID_d --store "$store" --sql 'SELECT :id' --exit-when-idle 1s 2>&1 | tail -n 1)
is "$out" "consumed 2 fresh, 0 duplicate, 0 rejected, 0 retried" "none was taken by looking"
start_serve skew --data "$T/skew" --no-auth --topic orders --clock-skew -10m || bail "serve did not start"
exits 3 "a clock that is ten minutes off" doctor --from "$SERVE_URL" --topic orders --group GID_d
like "$(cat out)" 'UNSAFE: the clock of the endpoint is (599|600|601) s behind' "is told"
export ALIBABA_CLOUD_ACCESS_KEY_ID=doc ALIBABA_CLOUD_ACCESS_KEY_SECRET=marker-secret
start_serve locked --data "$T/locked" --topic orders || bail "serve did not start"
exits 0 "credentials that are right" doctor --from "$SERVE_URL" --topic orders --group GID_d
like "$(cat out)" 'ok: the credentials are accepted' "are told so"
exits 3 "credentials that are wrong" env ALIBABA_CLOUD_ACCESS_KEY_SECRET=marker-wrong "$x" doctor --from "$SERVE_URL" --topic orders --group GID_d
like "$(cat out)" 'BROKEN: .*SignatureDoesNotMatch.*> check user, password or access key' "are told, with what to do"

# ---- a file with sections ----
printf '%s\n' '[consume]' "from = $SERVE_URL" 'group = GID_d' '[store one]' "uri = $store" '[store two]' "uri = sqlite:$T/two.db" '[subscription orders]' 'topic = orders' 'store = one' 'sql = SELECT :id' \
    '[subscription bills]' 'topic = bills' 'store = two' 'sql = SELECT :id' >sections.conf
exits 3 "a file with two databases and two topics" doctor --config sections.conf
like "$(cat out)" "database  $store.*ok: tables.*database  sqlite:$T/two.db.*BROKEN: .*no file.*ok: topic orders.*ok: topic bills" "all of them are looked at"
printf '%s\n' '[store one]' "uri = $store" 'store.tries = 7' >store.conf
exits 0 "a file with one [store] and no subscription" doctor --config store.conf --json
like "$(cat out)" "\"stores\":\[\{\"name\":\"one\",\"uri\":\"$store\",\"settings\":\{\"store.tries\":\"7\"\}\}\].*tables, keys, rights" "it is looked at, and its settings are in the report"
printf '%s\n' '[store two]' "uri = sqlite:$T/two.db" >>store.conf
exits 3 "a file with two" doctor --config store.conf
like "$(cat out)" "database  $store.*database  sqlite:$T/two.db.*BROKEN" "both are looked at"
exits 0 "--store names one of them" doctor --config store.conf --store one
unlike "$(cat out)" 'two\.db' "the other one is left out"
exits 2 "a [store] without an address" bash -c "printf '[store x]\nstore.tries = 7\n' >bad.conf; exec '$x' doctor --config bad.conf"
like "$(cat err)" '\[store x\]: uri is missing' "is told"

# ---- for support ----
printf 'workers = 4\ncredentials.access-key-id = doc\ncredentials.access-key-secret = marker-secret\n' >xonce.conf
chmod 600 xonce.conf
exits 0 "doctor --json" doctor --store "$store" --from "$SERVE_URL" --topic orders --group GID_d --config xonce.conf --set attempts=5 --json
unlike "$(cat out)" marker- "no secret is in it"
sqlite3 :memory: "SELECT json_extract(readfile('out'), '\$.settings.workers') || '/' || json_extract(readfile('out'), '\$.settings.attempts') || '/' ||
    json_extract(readfile('out'), '\$.problems') || '/' || (SELECT count(*) > 5 FROM json_each(readfile('out'), '\$.findings') WHERE json_extract(value, '\$.level') = 'ok')" >got 2>&1
like "$(cat out)" "\"area\":\"database\",\"severity\":-1,\"level\":\"ok\",\"about\":\"$store\"" "each finding says what it is about"
is "$(cat got)" "4/5/0/1" "it is JSON with settings and findings"
exits 3 "doctor --json with problems" doctor --store 'mysql://u:marker-password@127.0.0.1:1/d?password=marker-2' --json
like "$(cat out)" '"problems":true' "says so"
unlike "$(cat out err)" marker- "and masks the URI"
done_testing
