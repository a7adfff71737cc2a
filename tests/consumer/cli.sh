#!/usr/bin/env bash
# The program: each documented command run as it is documented, with its output lines and exit codes, over SQLite.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
export ALIBABA_CLOUD_ACCESS_KEY_ID=cli-test ALIBABA_CLOUD_ACCESS_KEY_SECRET=cli-secret
unset ALIBABA_CLOUD_SECURITY_TOKEN XONCE_STORE
cd "$T" || exit 1
x=$XONCE
endpoint=(--instance MQ_INST_demo)
store=sqlite:$T/shop.db
db() { sqlite "$T/shop.db" "$1"; }
# consume TOPIC GROUP ARGS...: into the store until idle
consume() {
    local topic=$1 group=$2
    shift 2
    timeout 60 "$x" consume --from "$SERVE_URL" "${endpoint[@]}" --topic "$topic" --group "$group" --store "${STORE:-$store}" --exit-when-idle "${IDLE:-2s}" "$@"
}
send() { "$x" send --to "$SERVE_URL" "${endpoint[@]}" --topic "$@"; }
last() { tail -n 1 "$1"; }

# ---- the program itself ----
exits 0 "--version" "$x" --version
like "$(cat out)" '^xonce [0-9]+\.[0-9]+\.[0-9]+' "it tells its version"
exits 0 "--help" "$x" --help
for c in init check doctor consume send serve stats seen explain rejected replay prune; do
    exits 0 "$c --help" "$x" "$c" --help
    like "$(cat out)" "example:.*xonce $c" "$c --help has an example"
    exits 2 "$c with an unknown option" "$x" "$c" --no-such-option
done
exits 2 "no command" "$x"
exits 2 "an unknown command" "$x" consum
like "$(cat err)" 'did you mean "consume"' "it names the nearest command"
exits 2 "a misspelt option" "$x" seen --stroe x
like "$(cat err)" 'did you mean --store' "it names the nearest option"
exits 2 "no store" "$x" check
like "$(cat err)" 'XONCE_STORE' "it names the variable"
exits 1 "a full disk is a failure" bash -c '"$0" init --store sqlite:x --print >/dev/full' "$x"

# ---- serve without credentials ----
exits 2 "serve without credentials" env -u ALIBABA_CLOUD_ACCESS_KEY_ID -u ALIBABA_CLOUD_ACCESS_KEY_SECRET timeout 20 "$x" serve --listen 127.0.0.1:0 --data "$T/none"
like "$(cat err)" 'ALIBABA_CLOUD_ACCESS_KEY_ID' "it names the variables"

start_serve serve --data "$T/queues" "${endpoint[@]}" --redeliver 2s || bail "serve did not start"

# ---- init, check ----
exits 0 "init --print" "$x" init --store postgresql:///nowhere --print
like "$(cat out)" 'CREATE TABLE.*transaction_record' "it prints the schema without a connection"
exits 1 "check of a file that is not there" "$x" check --store "$store"
like "$(cat err)" "no file $T/shop.db.*xonce init" "it says what makes it"
exits 1 "consume into a file that is not there" consume orders GID_a --sql 'SELECT :id'
check "neither has made it" test ! -e "$T/shop.db"
: >"$T/shop.db"
exits 3 "check of an empty database" "$x" check --store "$store"
exits 1 "consume without the table" consume orders GID_a --sql 'SELECT :id'
like "$(cat err)" 'transaction_record|xonce init' "it says what is missing"
exits 0 "init" env XONCE_STORE="$store" "$x" init
exits 0 "init again" "$x" init --store "$store"
exits 0 "check" "$x" check --store "$store"
exits 0 "check --json" "$x" check --store "$store" --json
like "$(cat out)" '"problems":false' "no problems, as JSON"
db 'CREATE TABLE orders (id TEXT PRIMARY KEY, amount TEXT, big TEXT, paid INTEGER, note TEXT, sku TEXT, odd TEXT, tag TEXT, key TEXT, prop TEXT, attempt INTEGER, items TEXT);
    CREATE TABLE lines (id TEXT, n INTEGER CHECK (n < 1000)); PRAGMA journal_mode=WAL' >/dev/null

# ---- send ----
printf '%s\n' '{"id":"o1","amount":19.99,"big":12345678901234567890,"paid":true,"note":null,"items":[{"sku":"A-1"}],"odd-name":"a\u00e9\"b"}' \
    '{"id":"o2","amount":0.10,"big":1,"paid":false,"items":[]}' >orders.txt
exits 0 "send FILE" send orders --tag new --key K1 --property color=red orders.txt
is "$(last out)" "sent 2" "its last line counts"
out=$(printf 'a\nb' | send stdin)
is "$out" "sent 2" "send from stdin"
out=$(printf 'one\n\nthree\n' | send bad 2>err)
is "$?/$(tail -n1 <<<"$out")" "1/sent 1" "a line that cannot be sent stops sending"
like "$(cat err)" 'line 2' "its number is told"
out=$(printf '{"body":"b1","tag":"t","key":"k","properties":{"p":"v"}}\n{"body":1.50}\nnot json\n{"body":"x"}\n' | send json --json 2>err)
is "$?/$out" "1/sent 2" "send --json"
like "$(cat err)" 'line 3' "its bad line is told"
exits 2 "send --delay and --deliver-at" send t --delay 5s --deliver-at 1
exits 2 "send --property without =" send t --property x
exits 1 "send without credentials to an endpoint that wants some" env -u ALIBABA_CLOUD_ACCESS_KEY_ID -u ALIBABA_CLOUD_ACCESS_KEY_SECRET "$x" send --to "$SERVE_URL" --topic t orders.txt
like "$(cat err)" 'ALIBABA_CLOUD_ACCESS_KEY_ID' "it names the variables"
exits 1 "send to a host that is not there" "$x" send --to http://127.0.0.1:1 --topic t orders.txt
is "$(last out)" "sent 0" "nothing was sent"

# ---- consume --print ----
exits 0 "consume --print" timeout 60 "$x" consume --from "$SERVE_URL" "${endpoint[@]}" --topic orders --group GID_print --print --exit-when-idle 1s
like "$(cat out)" 'tag=new key=K1 .*"id":"o1"' "it shows the messages"
exits 0 "consume --print --json" timeout 60 "$x" consume --from "$SERVE_URL" "${endpoint[@]}" --topic json --group GID_print --print --json --exit-when-idle 1s
like "$(cat out)" '"tag":"t","key":"k",.*"p":"v".*"body":"b1"' "and as JSON"

# ---- consume --sql ----
insert='INSERT INTO orders VALUES (:body.id, :body.amount, :body.big, :body.paid, :body.note, :body.items.0.sku, :"body.odd-name", :tag, :key, :property.color, :attempt, :body.items);
    INSERT INTO lines VALUES (:id, 1) -- :nothing'
exits 2 "--sql with an unknown parameter" consume orders GID_a --sql 'INSERT INTO orders (id) VALUES (:boddy.id)'
like "$(cat err)" 'did you mean :body' "it names the nearest"
exits 1 "--sql with a syntax error" consume orders GID_a --sql 'INSRT INTO orders VALUES (:id)'
like "$(cat err)" 'syntax error' "in the database's words"
exits 1 "--sql with an unknown table" consume orders GID_a --sql 'INSERT INTO nowhere VALUES (:id)'
exits 1 "--sql with an unknown column" consume orders GID_a --sql 'INSERT INTO orders (idd) VALUES (:id)'
exits 2 "--sql that commits" consume orders GID_a --sql 'INSERT INTO orders (id) VALUES (:id); COMMIT'
exits 2 "neither --sql nor --exec" consume orders GID_a
exits 2 "--sql and --exec" consume orders GID_a --sql 'SELECT :id' --exec true
exits 2 "a bad group" consume orders 'GID a' --sql 'SELECT :id'
exits 2 "a bad store" timeout 20 "$x" consume --from "$SERVE_URL" --topic t --group g --store mysq://u:hunter2@h/d --sql 'SELECT :id'
unlike "$(cat out err)" hunter2 "no password is told"
exits 2 "--keep below the floor" consume orders GID_a --sql "$insert" --keep 1h
exits 0 "consume --sql" consume orders GID_a --sql "$insert" --workers 2 --batch 8
is "$(last out)" "consumed 2 fresh, 0 duplicate, 0 rejected, 0 retried" "its last line counts"
is "$(db 'SELECT * FROM orders ORDER BY id')" 'o1|19.99|12345678901234567890|1||A-1|aé"b|new|K1|red|1|[{"sku":"A-1"}]
o2|0.10|1|0||||new|K1|red|1|[]' "values arrive digit for digit"
is "$(db 'SELECT count(*) FROM lines')" 2 "all statements of a message are one transaction"

# ---- duplicates, --no-dedup, --id ----
exits 0 "a business key" consume orders GID_key --sql 'INSERT INTO lines VALUES (:body.id, 2)' --id :body.id
send orders orders.txt >/dev/null
exits 0 "the same facts again" consume orders GID_key --sql 'INSERT INTO lines VALUES (:body.id, 2)' --id :body.id
is "$(last out)" "consumed 0 fresh, 2 duplicate, 0 rejected, 0 retried" "under new message ids they are duplicates"
exits 0 "--no-dedup" consume orders GID_plain --sql 'INSERT INTO lines VALUES (:id, 3)' --no-dedup
is "$(db 'SELECT count(*) FROM lines WHERE n = 3')/$(db "SELECT count(*) FROM transaction_record WHERE consumer_group = 'GID_plain'")" 4/0 "it keeps no record"

# ---- rejected ----
printf '%s\n' 'no json' '{"n":5000}' '{"n":7}' | send mixed >/dev/null
exits 0 "data errors do not stop it" consume mixed GID_m --sql 'INSERT INTO lines VALUES (:id, :body.n)' --workers 1
is "$(last out)" "consumed 1 fresh, 0 duplicate, 2 rejected, 0 retried" "they are rejected at once"
exits 0 "rejected" "$x" rejected --store "$store" --group GID_m
like "$(cat out)" 'not JSON' "the reason is ours"
like "$(cat out)" 'CHECK constraint failed' "or the database's"
exits 0 "rejected --json" "$x" rejected --store "$store" --group GID_m --json
is "$(grep -c '"id":"' out)" 2 "as JSON"
id=$(sed -n 's/.*"id":"\([^"]*\)".*CHECK constraint.*/\1/p' out)
exits 0 "seen" "$x" seen --store "$store" --group GID_m "$id"
exits 3 "seen: never" "$x" seen --store "$store" --group GID_m 0000
exits 3 "replay of what is not there" "$x" replay --store "$store" --group GID_m 0000
exits 0 "replay --dry-run" "$x" replay --store "$store" --group GID_m --dry-run
is "$(last out)" "would be marked 2" "counts"
exits 0 "replay ID" "$x" replay --store "$store" --group GID_m "$id"
is "$(last out)" "marked 1" "marks"
echo 'an odd key' | send odd >/dev/null
exits 0 "a key with blanks" consume odd GID_odd --sql 'SELECT :id' --id :body
exits 0 "seen: by that key" "$x" seen --store "$store" --group GID_odd 'an odd key'
hashed=$(db "SELECT message_id FROM transaction_record WHERE consumer_group = 'GID_odd'")
like "$hashed" '^sha256:' "it is stored hashed"
exits 0 "seen: by the id as it stands in the record" "$x" seen --store "$store" --group GID_odd "${hashed%#*}"
exits 0 "a running consumer takes what is marked" consume mixed GID_m --sql 'INSERT INTO lines VALUES (:id, :body.n % 1000)'
is "$(db "SELECT count(*) FROM lines WHERE id = '$id' AND n = 0")" 1 "and applies it"
exits 1 "replay --sql that fails" "$x" replay --store "$store" --group GID_m --sql 'INSERT INTO lines VALUES (:id, :body.n)'
is "$(last out)" "replayed 0, rejected again 1" "counts"
exits 0 "replay --sql" "$x" replay --store "$store" --group GID_m --sql "INSERT INTO lines VALUES (:body, 9)"
is "$(last out)" "replayed 1, rejected again 0" "applies"
exits 0 "rejected, when there are none" "$x" rejected --store "$store" --group GID_m
is "$(cat out)" "no rejected messages" "says so"

# ---- consume --exec ----
cat >handler <<'EOF'
#!/bin/sh
body=$(cat)
printf '%s %s %s %s %s\n' "$XONCE_TOPIC" "$XONCE_TAG" "$XONCE_KEY" "$XONCE_PROPERTY_color" "$body" >>"$HANDLED"
case $body in
bad) echo first >&2; echo "this one is bad" >&2; exit 65 ;;
again) [ "$XONCE_ATTEMPT" -gt 1 ] || exit 1 ;;
slow) exec sleep 100 ;;
esac
EOF
chmod +x handler
export HANDLED=$T/handled
printf '%s\n' good bad again | send exec --tag T --key K --property color=blue >/dev/null
IDLE=5s exits 0 "consume --exec" consume exec GID_x --exec ./handler
is "$(last out)" "consumed 2 fresh, 0 duplicate, 1 rejected, 1 retried" "exit codes become outcomes"
is "$(sort -u "$HANDLED")" "exec T K blue again
exec T K blue bad
exec T K blue good" "the program sees message and fields"
exits 0 "rejected by a program" "$x" rejected --store "$store" --group GID_x --json
like "$(cat out)" '"reason":"this one is bad"' "the last line of stderr is the reason"
head -c 300000 /dev/zero | tr '\0' x >large
send large large >/dev/null
exits 0 "a program that does not read its body" consume large GID_x --exec true
is "$(last out)" "consumed 1 fresh, 0 duplicate, 0 rejected, 0 retried" "blocks nobody"
exits 0 "a program that reads a large body" bash -c 'printf "#!/bin/sh\nwc -c >>sizes\n" >count && chmod +x count'
exits 0 "all of it" consume large GID_y --exec ./count
is "$(tr -d ' ' <sizes)" 300000 "arrives"
echo slow | send slow >/dev/null
exits 0 "--exec-timeout" consume slow GID_x --exec ./handler --exec-timeout 200ms --attempts 1
is "$(last out)" "consumed 0 fresh, 0 duplicate, 1 rejected, 0 retried" "ends a program, and attempts end the message"
printf '#!/bin/sh\necho $$ >child.pid\nexec sleep 100\n' >sleeper && chmod +x sleeper
echo x | send orphan >/dev/null
start killed "$x" consume --from "$SERVE_URL" "${endpoint[@]}" --topic orphan --group GID_x --store "$store" --exec ./sleeper
wait_for 20 test -s child.pid && stop "$STARTED" KILL 10
wait_for 10 eval "! grep -q '^State:.[^Z]' /proc/$(cat child.pid)/status" && ok "a program ends with the consumer that was killed" || not_ok "a program ends with the consumer that was killed"
exits 2 "a program that is not there" consume exec GID_x --exec ./none

# ---- ordered, tags ----
for i in 1 2 3 4 5 6 7 8 9 10; do echo "$i"; done | send lane --sharding-key S >/dev/null
exits 0 "consume --ordered" consume lane GID_o --sql "INSERT INTO lines VALUES ('lane', :body)" --ordered
is "$(db "SELECT group_concat(n) FROM (SELECT n FROM lines WHERE id = 'lane' ORDER BY rowid)")" 1,2,3,4,5,6,7,8,9,10 "keeps the order"
echo 1 | send tagged --tag a >/dev/null
echo 2 | send tagged --tag b >/dev/null
echo 3 | send tagged --tag c >/dev/null
exits 0 "consume --tags" consume tagged GID_t --sql "INSERT INTO lines VALUES ('tags', :body)" --tags 'a||c'
is "$(db "SELECT group_concat(n) FROM (SELECT n FROM lines WHERE id = 'tags' ORDER BY n)")" 1,3 "takes those only"

# ---- what cannot be reached ----
exits 1 "consume from a port where nothing listens" timeout 60 "$x" consume --from http://127.0.0.1:1 --topic t --group g --store "$store" --sql 'SELECT :id' --exit-when-idle 1s
like "$(cat err)" 'cannot connect' "says so"
is "$(last out)" "consumed 0 fresh, 0 duplicate, 0 rejected, 0 retried" "and ends all the same"
exits 2 "consume without credentials" env -u ALIBABA_CLOUD_ACCESS_KEY_ID timeout 20 "$x" consume --from "$SERVE_URL" --topic t --group g --store "$store" --sql 'SELECT :id'
exits 1 "consume with a wrong secret" env ALIBABA_CLOUD_ACCESS_KEY_SECRET=wrong timeout 60 "$x" consume --from "$SERVE_URL" "${endpoint[@]}" --topic t --group g --store "$store" \
    --sql 'SELECT :id' --exit-when-idle 1s
unlike "$(cat out err)" cli-secret "no secret is told"
STORE=sqlite:$T/none/none.db exits 1 "a database that is not there" consume orders GID_a --sql 'SELECT :id'

# ---- settings, stop, stats, prune ----
printf 'workers = 2\nexit-when-idle = 1s\n' >xonce.conf
exits 0 "consume --config" timeout 60 "$x" consume --from "$SERVE_URL" "${endpoint[@]}" --topic orders --group GID_c --store "$store" --sql 'SELECT :id' --config xonce.conf
printf 'wokers = 2\n' >bad.conf
exits 2 "a mistake in the settings" consume orders GID_c --sql 'SELECT :id' --config bad.conf
like "$(cat err)" 'bad.conf:1.*"workers"' "is told with file, line and the nearest key"
start long "$x" consume --from "$SERVE_URL" "${endpoint[@]}" --topic orders --group GID_stop --store "$store" --sql 'INSERT INTO lines VALUES (:id, 11)'
wait_for 20 eval "[ \"\$(sqlite '$T/shop.db' 'SELECT count(*) FROM lines WHERE n = 11')\" = 4 ]" && ok "it consumes until it is stopped" || not_ok "it consumes until it is stopped"
stop "$STARTED" TERM 20 && ok "SIGTERM stops it" || not_ok "SIGTERM stops it"
is "$(last long.out)" "consumed 4 fresh, 0 duplicate, 0 rejected, 0 retried" "in order, with its last line"
exits 0 "stats" "$x" stats --store "$store"
like "$(cat out)" 'group GID_a' "names the groups"
exits 0 "stats --group --json" "$x" stats --store "$store" --group GID_a --json
like "$(cat out)" '^\{"groups":\[\{"group":"GID_a","records":2,.*"topic":"orders","records":2,.*"rejected":0' "counts"
exits 0 "prune --dry-run" "$x" prune --store "$store" --group GID_a --dry-run
exits 0 "prune" "$x" prune --store "$store" --group GID_a
like "$(last out)" "^deleted 0 records" "nothing is old enough"
exits 2 "prune below the floor" "$x" prune --store "$store" --group GID_a --keep 1h

# ---- secrets ----
start secret "$x" consume --from "$SERVE_URL" --topic t --group g --store 'mysql://u:hunter2secret@127.0.0.1:1/d' --sql 'SELECT :id'
wait_for 10 eval "! tr '\\0' ' ' </proc/$STARTED/cmdline | grep -q hunter2secret" && ok "a password does not stay in the process list" || not_ok "a password does not stay in the process list"
wait_for 30 eval "! [ -d /proc/$STARTED ]"
unlike "$(cat secret.out secret.err)" hunter2secret "nor is it told"
done_testing
