#!/usr/bin/env bash
# Wrong options, SQL, messages, values and handlers, over SQLite: each with a clear error, and every message applied once, rejected with its reason, or still there.
. "${TOP_SRCDIR:?}/tests/consumer/badlib.sh"
make_store
db 'CREATE TABLE parent (id INTEGER PRIMARY KEY); CREATE TABLE child (id TEXT, parent INTEGER REFERENCES parent (id) DEFERRABLE);
    CREATE TABLE small (id TEXT UNIQUE, n INTEGER CHECK (n < 1000)); CREATE TABLE numbers (name TEXT, v TEXT); CREATE TABLE free (name, v)'
start_endpoint serve
last() { tail -n 1 "$1"; }
rejected() { "$x" rejected --store "$STORE" --group "$1"; }

# ---- options ----
feed orders 10
refused 2 'did you mean --batch' "an unknown option" consume orders GID_bad --sql "$GOOD" --bacth 3
refused 2 '1 to 1024' "no batch" consume orders GID_bad --sql "$GOOD" --batch 0
refused 2 'not a whole number' "a batch of words" consume orders GID_bad --sql "$GOOD" --batch many
refused 2 '1 to 1000' "too many workers" consume orders GID_bad --sql "$GOOD" --workers 100000
refused 2 '1 to 280' "too many attempts" consume orders GID_bad --sql "$GOOD" --attempts 500
refused 2 'no duration' "a time that is none" consume orders GID_bad --sql "$GOOD" --linger soon
refused 2 'needs a value' "an option without its value" "$x" consume --from
refused 2 '--topic is missing' "no topic" "$x" consume --from "$SERVE_URL" --group g --store "$STORE" --sql "$GOOD"
refused 2 '--group is missing' "no group" "$x" consume --from "$SERVE_URL" --topic orders --store "$STORE" --sql "$GOOD"
refused 2 '--store URI is missing.*XONCE_STORE' "no store" "$x" consume --from "$SERVE_URL" --topic orders --group g --sql "$GOOD"
refused 2 'byte 0x23' "a group with a #" consume orders 'GID#bad' --sql "$GOOD"
refused 2 'applied again after its record was deleted' "--keep below the floor, and why" consume orders GID_bad --sql "$GOOD" --keep 1h
refused 2 'applied twice once its record is gone' "prune --keep below the floor, and why" "$x" prune --store "$STORE" --group GID_bad --keep 24h
refused 2 'did you mean "rejected"' "an unknown command" "$x" rejectd
for wrong in '--duplicate 200%' '--error 503' '--error 99:5%' '--cut five' '--redeliver 0' '--clock-skew soon' '--topic a:b' '--instance a/b'; do
    refused 2 "${wrong%% *}" "serve $wrong" timeout 20 "$x" serve --listen 127.0.0.1:0 --data none $wrong
done

# ---- SQL that cannot work is refused before a message is taken ----
refused 1 'syntax error' "--sql with a syntax error" consume orders GID_bad --sql 'INSRT INTO done VALUES (:id)'
refused 1 'no such table: nowhere' "an unknown table" consume orders GID_bad --sql 'INSERT INTO nowhere VALUES (:id)'
refused 1 'no column named bodi' "an unknown column" consume orders GID_bad --sql 'INSERT INTO done (bodi) VALUES (:id)'
refused 2 'did you mean :body' "an unknown parameter" consume orders GID_bad --sql 'INSERT INTO done (body) VALUES (:bodi)'
refused 2 'write :name' "a parameter by number" consume orders GID_bad --sql 'INSERT INTO done (body) VALUES ($1)'
refused 2 'no end' "a quote without an end" consume orders GID_bad --sql "INSERT INTO done (body) VALUES ('x)"
refused 2 'no statement' "no statement" consume orders GID_bad --sql ' ; -- nothing'
for end in COMMIT END ROLLBACK 'BEGIN IMMEDIATE' '/* */ commit'; do
    refused 2 'xonce begins and commits' "$end in --sql" consume orders GID_bad --sql "$GOOD; $end"
done
is "$(db 'SELECT COUNT(*) FROM transaction_record')" 0 "none of them claimed a message"
IDLE=500ms consume orders GID_bad --sql "$GOOD" >good.out 2>good.err
is "$(last good.out)" "consumed 10 fresh, 0 duplicate, 0 rejected, 0 retried" "none of them took one: all come at once"
all_once orders 10 "and are applied once"

# ---- messages that cannot be sent ----
# unsent N LINE REGEX NAME ARGS...: of stdin N messages are sent, then this line is told
unsent() {
    local n=$1 line=$2 text=$3 name=$4 out
    shift 4
    out=$(send "$@" 2>err)
    is "$?/$(tail -n 1 <<<"$out")" "1/sent $n" "$name"
    like "$(cat err)" "line $line: .*$text" "$name: line and reason"
}
unsent 2 3 'byte 0x01 at offset 0' "a control character" bad < <(printf 'a\nb\n\001c\nd\n')
unsent 1 2 'byte 0xff at offset 1' "bytes that are no UTF-8" bad < <(printf 'a\nb\xff\nc\n')
unsent 1 2 'is empty' "an empty body" bad < <(printf 'a\n\nc\n')
unsent 1 2 '5000000 bytes' "5 MB" bad < <(echo a; head -c 5000000 /dev/zero | tr '\0' x; printf '\nc\n')
unsent 0 1 "byte 0x3a ':'" "a property with a colon" bad --property a=b:c < <(printf 'a\n')
unsent 1 2 "property x:y" "a property's name with a colon" bad --json < <(printf '{"body":"a"}\n{"body":"b","properties":{"x:y":"z"}}\n{"body":"c"}\n')
unsent 1 2 'not JSON' "a line that is not JSON" bad --json < <(printf '{"body":"a"}\n{"body":"b"\n{"body":"c"}\n')
unsent 1 2 'none of body, tag' "a field that there is not" bad --json < <(printf '{"body":"a"}\n{"body":"b","text":"c"}\n')
unsent 100 101 'byte 0x02' "in the middle of many" many < <(seq 1 100; printf '\002\n'; seq 1 1000)
{ echo a; head -c 4194304 /dev/zero | tr '\0' x; printf '\n<&>"]]>\r\n'; } | send large >out 2>&1
is "$(last out)" "sent 3" "4 MiB and every character of XML can be sent"
nothing_lost many 100 "what was sent before the bad line"
consume large GID_bad --sql "INSERT INTO free VALUES (length(:body), :body)" >out 2>&1
is "$(db 'SELECT name FROM free ORDER BY 1')" $'1\n8\n4194304' "and all of it arrives"
is "$(db 'SELECT hex(v) FROM free WHERE name = 8')" "3C263E225D5D3E0D" "byte for byte"
db 'DELETE FROM free'

# ---- numbers digit for digit ----
digits=(19.99 12345678901234567890 1e400 -0.0 1.10 0.1 -1 1E2 123456789012345678901234567890.123456789)
for n in "${digits[@]}"; do echo "{\"n\":$n}"; done | send numbers >out 2>&1
consume numbers GID_bad --sql 'INSERT INTO numbers VALUES (:body, :body.n); INSERT INTO free VALUES (:body, :body.n)' >out 2>&1
is "$(db 'SELECT name FROM numbers WHERE name <> '"'{\"n\":' || v || '}'")" "" "numbers keep their digits in a text column"
is "$(db 'SELECT COUNT(*) FROM numbers')" "${#digits[@]}" "all of them"
is "$(db "SELECT group_concat(v, ' ') FROM (SELECT v FROM free WHERE typeof(v) = 'text' ORDER BY length(v), v)")" "1E2 -0.0 1.10 1e400 12345678901234567890 123456789012345678901234567890.123456789" \
    "what no number of SQLite holds exactly stays text"

# ---- data errors reject at once, a missing parent comes again ----
printf '%s\n' '{"id":"a","n":1}' 'not json' '{"id":"b","n":5000}' '{"id":"a","n":2}' '{"id":"c"' '[]' | send data --parallel 1 >out 2>&1
IDLE=2500ms consume data GID_data --sql 'INSERT INTO small VALUES (:body.id, :body.n)' --workers 1 >out 2>&1
is "$(last out)" "consumed 2 fresh, 0 duplicate, 4 rejected, 0 retried" "bad data is rejected at once"
said=$(rejected GID_data)
like "$said" 'CHECK constraint failed: n < 1000' "with the database's text"
like "$said" 'UNIQUE constraint failed: small.id' "each with its own"
like "$said" ':body.id is wanted: not JSON' "or with what is wrong with the body"
is "$(db "SELECT COUNT(*) FROM transaction_record WHERE consumer_group = 'GID_data'")/$(db 'SELECT COUNT(*) FROM small')" "6/2" "each is settled"
printf '%s\n' '{"id":"x","p":1}' '{"id":"y","p":2}' | send family >out 2>&1
start family "$x" consume --from "$SERVE_URL" "${endpoint[@]}" --topic family --group GID_family --store "$STORE" --sql 'INSERT INTO child VALUES (:body.id, :body.p)' --exit-when-idle 2500ms
db 'INSERT INTO parent VALUES (1)'
has_child() { [ "$(db 'SELECT COUNT(*) FROM child')" = "$1" ]; }
wait_for 20 has_child 1 && ok "a child is applied when its parent is there" || not_ok "a child is applied when its parent is there"
db 'INSERT INTO parent VALUES (2)'
wait_for 20 has_child 2 && ok "the other one still comes again" || not_ok "the other one still comes again"
wait_for 20 eval "! servers_runs $STARTED" || stop "$STARTED"
like "$(last family.out)" 'consumed 2 fresh, 0 duplicate, 0 rejected, [1-9][0-9]* retried' "nothing of it is rejected"

# ---- a full disk: messages wait, none is rejected, and all are applied when there is room ----
feed full 100
db VACUUM
pages=$(($(db 'PRAGMA page_count') + 20))
start full "$x" consume --from "$SERVE_URL" "${endpoint[@]}" --topic full --group GID_bad --store "$STORE" --attempts 1 --batch 4 \
    --sql "PRAGMA max_page_count = $pages; INSERT INTO done VALUES (:topic, substr(:body || ':' || hex(zeroblob(2000)), 1, 2000))"
line=$(wait_for_line 30 full.err 'the database cannot be used')
like "$line" 'is full' "a full disk is told"
stop "$STARTED" && ok "it stops all the same" || not_ok "it stops all the same"
like "$(last full.out)" ' 0 rejected' "it rejects nothing"
nothing_lost full 100 "there is room again"
done_testing
