#!/usr/bin/env bash
# Configuration of the program: files, environment and options; several subscriptions and databases; new settings while it runs; signals.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
export ALIBABA_CLOUD_ACCESS_KEY_ID=config-test ALIBABA_CLOUD_ACCESS_KEY_SECRET=config-secret
unset ALIBABA_CLOUD_SECURITY_TOKEN XONCE_STORE
command -v sqlite3 >/dev/null 2>&1 || skip_all "sqlite3 is not installed"
cd "$T" || exit 1
x=$XONCE
start_serve serve --data "$T/queues" --instance MQ_INST_demo --redeliver 3s || bail "serve did not start"
export XONCE_INSTANCE=MQ_INST_demo
send() { "$x" send --to "$SERVE_URL" --topic "$@" >/dev/null; }
db() { sqlite "$T/$1.db" "$2"; }
sub=(--from "$SERVE_URL" --topic orders --group GID_one --store "sqlite:$T/one.db" --sql 'INSERT INTO orders VALUES (:body.id)')
for s in one two three; do
    "$x" init --store "sqlite:$T/$s.db" >/dev/null || bail "no database"
    db $s 'CREATE TABLE orders (id TEXT); CREATE TABLE bills (id TEXT, tenant TEXT)'
done

# ---- --help says the defaults of the table ----
"$x" consume --help | awk '/^options:/ { on = 1 } on && /^  --/ { print line; line = "" } on { sub(/^ +/, " "); line = line $0 } END { print line }' >help
for pair in workers:workers batch:batch.max linger:batch.linger attempts:attempts keep:prune.keep prune-every:prune.every; do
    wanted=$(sed -n "s/^#${pair#*:} = //p" "$TOP_SRCDIR/docs/xonce.conf")
    like "$(grep "^ --${pair%%:*} " help)" "default $wanted([^0-9a-z]|\$)" "--${pair%%:*} has the default of ${pair#*:}"
done

# ---- file < environment < command line ----
# a value that is refused at start shows which one counts
echo 'prune.keep = 1h' >keep.conf
exits 2 "a file's value" timeout 30 "$x" consume "${sub[@]}" --config keep.conf
like "$(cat err)" 'prune.keep=1h is too short' "it counts"
exits 2 "a variable" env XONCE_PRUNE_KEEP=2h timeout 30 "$x" consume "${sub[@]}" --config keep.conf
like "$(cat err)" 'prune.keep=2h is too short' "it counts more than the file"
exits 2 "an option" env XONCE_PRUNE_KEEP=2h timeout 30 "$x" consume "${sub[@]}" --config keep.conf --keep 3h
like "$(cat err)" 'prune.keep=3h is too short' "it counts more than the variable"
exits 2 "an empty variable" env XONCE_PRUNE_KEEP= timeout 30 "$x" consume "${sub[@]}" --config keep.conf
like "$(cat err)" 'prune.keep=1h' "it is as if it were not there"
exits 2 "a bad variable" env XONCE_BATCH_MAX=many timeout 30 "$x" consume "${sub[@]}"
like "$(cat err)" 'XONCE_BATCH_MAX: batch.max: "many" is not a whole number' "the error names it"
exits 0 "a mistyped variable" env XONCE_BATCHMAX=3 timeout 30 "$x" prune --store "sqlite:$T/one.db" --group GID_one --dry-run
like "$(cat err)" 'XONCE_BATCHMAX is no setting; did you mean XONCE_BATCH_MAX' "it is told, and nothing fails"
unlike "$(cat err)" 'XONCE_INSTANCE' "one that is right is not"

# ---- what is wrong with sections ----
# wrong TEXT REGEX NAME
wrong() {
    printf '%b' "$1" >wrong.conf
    exits 2 "$3" timeout 30 "$x" consume --from "$SERVE_URL" --group GID_one --config wrong.conf
    like "$(cat err)" "$2" "it is named"
}
wrong '[subscription a]\nsql = SELECT 1\nstore = sqlite:one.db\n' '\[subscription a\]: topic is missing' "a subscription without a topic"
wrong '[subscription a]\ntopic = t\nsql = SELECT 1\nstore = nowhere\n' 'there is no \[store nowhere\]' "a store that is not there"
wrong '[subscription a]\ntopic =\ntags =\nsql = SELECT 1\nstore = sqlite:one.db\n' '\[subscription a\]: topic is missing' "an empty line is as none"
wrong '[subscription a]\ntopic = t\ntopic = u\n' 'wrong.conf:3: topic is given twice' "a line twice"
wrong '[subscription a]\ntopc = t\n' 'wrong.conf:2: .*did you mean "topic"' "a mistyped line"
wrong '[subscription]\n' 'wrong.conf:1: expected' "a section without a name"
wrong '[subscription a]\nbatch = 0\n' 'wrong.conf:2: .*whole number of 1 to 1024' "a batch of none"
wrong '[subscripton a]\n' 'wrong.conf:1: expected' "an unknown section"
wrong '[store a]\nuri = sqlite:one.db\nbatch.max = 3\n' 'wrong.conf:3: .*batch.max' "a setting that no single store has"
wrong '[store a]\nstore.tries = 3\n[subscription s]\ntopic = t\nsql = SELECT 1\n' '\[store a\]: uri is missing' "a store without a URI"
wrong '[store a]\nuri = sqlite:one.db\n[store a]\n' 'stands here twice' "a section twice"
wrong '[subscription a]\ntopic = t\nsql = SELECT 1\nexec = cat\nstore = sqlite:one.db\n' 'exclude each other' "sql and exec"
wrong '[subscription a]\ntopic = t\nsql = SELECT 1\nroute = :property.t\n' 'no \[store\] says which tenants' "a route without tenants"
wrong '[store a]\nuri = sqlite:one.db\ntenants = x||y\n[store b]\nuri = sqlite:two.db\ntenants = y\n[subscription s]\ntopic = t\nsql = SELECT 1\nroute = :key\n' 'tenant "y" is of two stores' \
    "a tenant of two stores"
wrong '[store a]\nuri = sqlite:one.db\n[subscription s]\ntopic = t\nsql = SELECT 1\n[subscription r]\ntopic = t\nsql = SELECT 1\n' 'same topic for the same group' "a topic twice"
printf '[subscription a]\ntopic = t\nsql = SELECT 1\nstore = sqlite:one.db\n' >one.conf
exits 2 "sections and --topic" timeout 30 "$x" consume "${sub[@]}" --config one.conf
like "$(cat err)" 'stand in them' "it is told"
exits 0 "other commands pass over sections" timeout 30 "$x" prune --store "sqlite:$T/one.db" --group GID_one --dry-run --config one.conf

# ---- several topics, stores, groups; tenants ----
printf '%s\n' '{"id":"o1"}' '{"id":"o2"}' | send orders
printf '%s\n' '{"body":{"id":"b1"},"properties":{"tenant":"acme"}}' '{"body":{"id":"b2"},"properties":{"tenant":"globex"}}' \
    '{"body":{"id":"b3"},"properties":{"tenant":"initech"}}' '{"body":{"id":"b4"},"properties":{"tenant":"stranger"}}' '{"body":{"id":"b5"}}' | send bills --json
printf '%s\n' p1 p2 p3 | send plain
printf '%s\n' '#!/bin/sh' "cat >>'$T/ran'; echo >>'$T/ran'" >run.sh && chmod +x run.sh
cat >all.conf <<END
prune.every = 0
[consume]
from = $SERVE_URL
group = GID_many
[store eu]
uri = sqlite:\${T}/two.db       # tenants of Europe
tenants = acme || initech
store.lock-timeout = 2s
[store us]
uri = sqlite:\${T}/three.db
tenants = globex
[subscription orders]
topic = orders
store = sqlite:\${T}/one.db
sql = INSERT INTO orders \\
    VALUES (:body.id)
[subscription bills]
topic = bills
route = :property.tenant
sql = INSERT INTO bills VALUES (:body.id, :property.tenant)
[subscription audit]
group = GID_audit
topic = bills
store = eu
id = :body.id
sql = INSERT INTO orders VALUES (:body.id)
[subscription plain]
group = GID_plain
topic = plain
store = us
exec = ./run.sh
END
export T
exits 0 "a file with four subscriptions" timeout 90 "$x" consume --config all.conf --exit-when-idle 2s
is "$(tail -n 1 out)" "consumed 13 fresh, 0 duplicate, 2 rejected, 0 retried" "all messages were taken"
is "$(grep -c '^group GID_' out)" 3 "and counted per group"
is "$(db one 'SELECT group_concat(id) FROM (SELECT id FROM orders ORDER BY id)')" o1,o2 "orders are in their database"
is "$(db two 'SELECT group_concat(id) FROM (SELECT id FROM bills ORDER BY id)')/$(db three 'SELECT group_concat(id) FROM bills')" b1,b3/b2 "each tenant's bills are in its own"
is "$(db two "SELECT group_concat(reason, '|') FROM (SELECT reason FROM xonce_rejected WHERE consumer_group = 'GID_many' ORDER BY reason)")" \
    'no store for it: :property.tenant is "stranger"|no store for it: :property.tenant is missing' "those of nobody are rejected, with the reason"
is "$(db two 'SELECT count(*) FROM orders')/$(sort "$T/ran" | tr '\n' ' ')" '5/p1 p2 p3 ' "the other groups have had theirs"
exits 0 "the same again" timeout 90 "$x" consume --config all.conf --exit-when-idle 1s
is "$(tail -n 1 out)" "consumed 0 fresh, 0 duplicate, 0 rejected, 0 retried" "nothing is left"

# ---- SIGHUP ----
printf 'prune.every = 0\nbatch.max = 4\nworkers = 3\nlog.level = info\n' >live.conf
start live "$x" consume "${sub[@]}" --config live.conf
live=$STARTED
printf '{"id":"o3"}\n' | send orders
check "it consumes" wait_for 20 eval '[ "$(db one "SELECT count(*) FROM orders WHERE id = '\''o3'\''")" = 1 ]'
printf 'prune.every = 0\nbatch.max = 40\nworkers = 9\nattempts = 3\nlog.level = info\n' >live.conf
kill -HUP "$live"
check "SIGHUP: what can change has" wait_for_line 20 live.err 'batch\.max has changed'
check "what cannot is named" wait_for_line 20 live.err 'attempts has changed in the configuration: it holds after a restart'
check "more workers than threads too" wait_for_line 20 live.err 'workers has changed in the configuration'
printf 'batch.max = lots\n' >live.conf
kill -HUP "$live"
check "a file that is wrong is told" wait_for_line 20 live.err 'live.conf:1: batch.max'
check "and changes nothing" wait_for_line 20 live.err 'the settings stay as they were'
printf 'prune.keep = 1h\n' >live.conf
kill -HUP "$live"
check "settings that are unsafe are refused" wait_for_line 20 live.err 'prune.keep=1h is too short'
printf '{"id":"o4"}\n' | send orders
check "it still consumes" wait_for 20 eval '[ "$(db one "SELECT count(*) FROM orders WHERE id = '\''o4'\''")" = 1 ]'

# ---- SIGHUP with sections ----
# sections SQL BATCH TOPIC [MORE]
sections() {
    printf '%b' "log.level = info\nprune.every = 0\nbatch.linger = 1ms\nstatus = 127.0.0.1:0\n[consume]\nfrom = $SERVE_URL\ngroup = GID_live\nstore = one\n[store one]\nuri = sqlite:$T/one.db\n" \
        "[subscription live]\ntopic = live\nsql = $1\nbatch = $2\n[subscription other]\ntopic = $3\nsql = INSERT INTO orders VALUES (:body)\n[subscription run]\ntopic = run\nexec = true\n${4:-}" >sections.conf
}
sections 'INSERT INTO bills VALUES (:body, NULL)' 16 other
start sections "$x" consume --config sections.conf
sections=$STARTED
limits() {
    local url
    url=$(sed -n 's|^status on http://\(.*\):\([0-9]*\)/*$|/dev/tcp/\1/\2|p' sections.out)
    (exec 3<>"$url" && printf 'GET /status.json HTTP/1.0\r\n\r\n' >&3 && timeout 10 cat <&3) | tr '{' '\n' | sed -n 's/.*"topic":"\([a-z]*\)".*"batch_limit":\([0-9]*\).*/\1 \2/p' | tr '\n' ' '
}
limits_are() { [ "$(limits 2>/dev/null)" = "$1" ]; }
check "each subscription has its own batches: as its section says, as all, a program's message alone" wait_for 20 limits_are "live 16 other 128 run 1 "
note "$(limits)"
printf 'one\n' | send live
bill() { [ "$(db one "SELECT count(*) FROM bills WHERE id = '$1' AND tenant IS $2")" = 1 ]; }
check "the SQL of the file is used" wait_for 20 bill one NULL
sections 'INSERT INTO bills VALUES (:body, nobody)' 7 other
kill -HUP "$sections"
check "new SQL that does not fit the database is told" wait_for_line 20 sections.err 'the new SQL cannot be used: all settings stay as they were'
check "and nothing is changed by halves" limits_are "live 16 other 128 run 1 "
printf 'two\n' | send live
check "the old one goes on" wait_for 20 bill two NULL
sections "INSERT INTO bills VALUES (:body, 'new')" 7 another '[subscription third]\ntopic = third\nsql = SELECT 1\n[store two]\nuri = sqlite:two.db\n'
sed -i 's/^uri = .*one.db$/&\ntenants = x/' sections.conf
kill -HUP "$sections"
check "new SQL is taken at work" wait_for_line 20 sections.err '\[subscription live\]: sql has changed'
check "and batches" wait_for 20 limits_are "live 7 other 128 run 1 "
check "a section that needs a restart is named, and why" wait_for_line 20 sections.err '\[subscription other\] topic: changed, but all of it stays as it was until a restart'
check "one that is new too" wait_for_line 20 sections.err '\[subscription third\] is new: it begins with a restart'
check "and databases" wait_for_line 20 sections.err '\[store one\] has changed: that holds after a restart'
printf 'three\n' | send live
check "the new SQL is used" wait_for 20 bill three "'new'"
kill -HUP "$sections"
check "what was taken is not told again" wait_for 20 eval '[ "$(grep -c "the configuration was read again" sections.err)" = 2 ]'
is "$(grep -c 'sql has changed' sections.err)" 1 "it is in force"
stop "$sections" TERM 20
is "$(tail -n 1 sections.out)" "consumed 3 fresh, 0 duplicate, 0 rejected, 0 retried" "each message once"

# ---- signals ----
stop "$live" TERM 20
check "one signal stops it in order" grep -q "^consumed 4 fresh" live.out
# begun tells that it runs; it ends when there is a file "go"
printf '%s\n' '#!/bin/sh' "echo begun >>'$T/begun'" "while [ ! -e '$T/go' ]; do sleep 0.1; done" >slow.sh && chmod +x slow.sh
# Has the process taken its first signal? From then on it catches none (bit 15 is SIGTERM's).
has_heard() { [ $((16#$(awk '$1 == "SigCgt:" { print $2 }' "/proc/$1/status") & 1 << 14)) -eq 0 ]; }
printf 'slow\n' | send slow
start slow "$x" consume --from "$SERVE_URL" --topic slow --group GID_slow --store "sqlite:$T/one.db" --exec ./slow.sh
wait_for 20 test -s begun
kill -TERM "$STARTED"
check "a signal is heard" wait_for 20 has_heard "$STARTED"
touch go
check "it ends" servers_wait_gone "$STARTED" 20
like "$(tail -n 1 slow.out)" '^consumed 1 fresh, 0 duplicate' "having waited for the program that ran"
rm -f begun go
printf 'slow\n' | send slow
start slow1 "$x" consume --from "$SERVE_URL" --topic slow --group GID_slow1 --store "sqlite:$T/one.db" --exec ./slow.sh
wait_for 20 test -s begun
kill -TERM "$STARTED"
check "while a program runs" wait_for 20 has_heard "$STARTED"
kill -INT "$STARTED"
check "a second signal, another one, ends it" servers_wait_gone "$STARTED" 5
rm -f begun
printf 'slow\n' | send slow
start slow2 "$x" consume --from "$SERVE_URL" --topic slow --group GID_slow2 --store "sqlite:$T/one.db" --exec ./slow.sh --stop-within 200ms
wait_for 20 test -s begun
kill -TERM "$STARTED"
check "--stop-within holds" servers_wait_gone "$STARTED" 5
like "$(cat slow2.err)" 'did not stop within 200ms' "and is what the error says"
done_testing
