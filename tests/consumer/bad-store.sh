#!/usr/bin/env bash
# bad-store.sh ENGINE: databases that are not there, not ours, not ready, read-only, full, or without a right: each told clearly, before a message is taken
# wherever that can be, and afterwards every message is applied once.
. "${TOP_SRCDIR:?}/tests/consumer/badlib.sh"
database "$1"
APP=$STORE
if [ "$ENGINE" != sqlite ]; then
    port=${STORE##*:} port=${port%/*} scheme=${STORE%%:*}
    APP=$scheme://app:marker-password@127.0.0.1:$port/xonce
fi
last() { tail -n 1 "$1"; }
start_endpoint serve
feed orders 10
INTO=$APP

# ---- addresses ----
wrong_store() { INTO=$1 refused "$2" "$3" "$4" consume orders GID_bad --sql "$GOOD"; }
wrong_store sqlit:marker.db 2 'unknown scheme "sqlit".*sqlite:FILE' "an unknown scheme"
wrong_store "$T/shop.db" 2 'scheme' "no scheme"
case $ENGINE in
    sqlite)
        wrong_store sqlite: 2 'a file is needed' "no file"
        wrong_store sqlite:/nowhere/shop.db 1 'there is no file /nowhere/shop.db.*xonce init' "a folder that is not there"
        wrong_store "sqlite:$T" 1 'unable to open database file' "a folder"
        wrong_store "sqlite:$T/shop.db?mode=x" 2 'ro, rw or rwc' "a mode that there is not"
        wrong_store "sqlite:$T/shop.db?password=marker-password" 2 'unknown parameter "password"' "a parameter that there is not"
        head -c 5000 /dev/urandom >noise.db
        wrong_store sqlite:noise.db 1 'no SQLite database' "a file that is no database"
        ;;
    *)
        wrong_store "$scheme://nobody:marker-password@127.0.0.1:$port/xonce" 1 'nobody' "an unknown user"
        wrong_store "$scheme://xonce:marker-password@127.0.0.1:$port/xonce" 1 'password' "a wrong password"
        wrong_store "$scheme://xonce@127.0.0.1:$port/xonce" 1 'password' "no password"
        wrong_store "$scheme://xonce:marker-password@127.0.0.1:1/xonce" 1 '127.0.0.1.*1' "a port where nobody listens"
        wrong_store "$scheme://xonce:marker-password@127.0.0.1:99999/xonce" 2 'port 99999' "a port that cannot be"
        wrong_store "$scheme://xonce:marker-password@127.0.0.1:http/xonce" 2 'port .* not a number' "a port of letters"
        wrong_store "$scheme://xonce:marker-password@no-such-host.invalid/xonce" 1 'no-such-host.invalid' "an unknown host"
        wrong_store "$scheme://xonce:marker-password@127.0.0.1:$port/xonce?wrong=1" 2 '"wrong"' "a parameter that there is not"
        wrong_store "${STORE%/*}/nowhere" 1 'nowhere' "a database that is not there"
        ;;
esac

# ---- tables ----
[ "$ENGINE" != sqlite ] || : >"$T/shop.db"
INTO=$STORE refused 1 'transaction_record.*xonce init' "no record table, and what to do" consume orders GID_bad --sql "$GOOD"
"$x" init --store "$STORE" >out 2>&1 || bail "init: $(cat out)"
unlike "$(cat out)" 'xonce:xonce' "init tells no password"
INTO=$STORE refused 1 'done' "no table of the user's" consume orders GID_bad --sql "$GOOD"
case $ENGINE in
    sqlite) number=TEXT ;;
    postgres) number=numeric ;;
    mysql) number='decimal(65,9)' ;;
esac
db "CREATE TABLE done (topic varchar(100), body varchar(2000))"
db "CREATE TABLE parent (id int PRIMARY KEY)"
db "CREATE TABLE child (id varchar(20) PRIMARY KEY, parent int, FOREIGN KEY (parent) REFERENCES parent (id))"
db "CREATE TABLE numbers (name varchar(100), v $number)"
db "CREATE TABLE trouble (what int)"
case $ENGINE in
    postgres)
        db "CREATE ROLE app LOGIN PASSWORD 'marker-password'; CREATE ROLE mute LOGIN PASSWORD 'marker-password'"
        db "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app"
        db "GRANT SELECT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO mute"
        ;;
    mysql)
        db "CREATE USER app@'127.0.0.1' IDENTIFIED BY 'marker-password'; CREATE USER mute@'127.0.0.1' IDENTIFIED BY 'marker-password'"
        db "GRANT SELECT, INSERT, UPDATE, DELETE ON xonce.* TO app@'127.0.0.1'; GRANT SELECT, UPDATE, DELETE ON xonce.* TO mute@'127.0.0.1'"
        ;;
esac

# ---- SQL ----
refused 1 'syntax' "--sql with a syntax error" consume orders GID_bad --sql 'INSRT INTO done VALUES (:id)'
refused 1 'nowhere' "an unknown table" consume orders GID_bad --sql 'INSERT INTO nowhere VALUES (:id)'
refused 1 'bodi' "an unknown column" consume orders GID_bad --sql 'INSERT INTO done (bodi) VALUES (:id)'
refused 2 'did you mean :body' "an unknown parameter" consume orders GID_bad --sql 'INSERT INTO done (body) VALUES (:bodi)'
refused 2 'xonce begins and commits' "a COMMIT" consume orders GID_bad --sql "$GOOD; COMMIT"
if [ "$ENGINE" = mysql ]; then
    for ddl in 'CREATE TABLE more (a int)' 'TRUNCATE trouble' 'LOCK TABLES done WRITE'; do
        refused 2 'MySQL commits by itself' "$ddl" consume orders GID_bad --sql "$GOOD; $ddl"
    done
fi

# ---- read-only, and without a right ----
case $ENGINE in
    sqlite) INTO=$APP?mode=ro refused 1 'read-?only' "?mode=ro" consume orders GID_bad --sql "$GOOD" ;;
    postgres)
        PGOPTIONS='-c default_transaction_read_only=on' refused 1 'read-only' "PGOPTIONS with default_transaction_read_only" consume orders GID_bad --sql "$GOOD"
        db "ALTER ROLE app SET default_transaction_read_only = on"
        refused 1 'read-only' "a role with default_transaction_read_only" consume orders GID_bad --sql "$GOOD"
        db "ALTER ROLE app RESET default_transaction_read_only"
        ;;
    mysql)
        db "SET GLOBAL read_only = 1"
        refused 1 'read-only' "a server with read_only" consume orders GID_bad --sql "$GOOD"
        db "SET GLOBAL read_only = 0"
        ;;
esac
if [ "$ENGINE" != sqlite ]; then
    INTO=${APP/app/mute} refused 1 'denied' "a user who may not insert" consume orders GID_bad --sql "$GOOD"
    if [ "$ENGINE" = postgres ]; then
        db "GRANT INSERT ON transaction_record, xonce_rejected, xonce_watermark TO mute; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO mute"
    else
        for t in transaction_record xonce_rejected xonce_watermark; do db "GRANT INSERT ON xonce.$t TO mute@'127.0.0.1'"; done
    fi
    INTO=${APP/app/mute} refused 1 'denied.*done' "a user who may insert nothing but the record" consume orders GID_bad --sql "$GOOD"
    refused 1 'denied' "init by a user without the right to create tables" env XONCE_STORE="${APP/xonce?*/xonce}" "$x" init
fi
is "$(db 'SELECT COUNT(*) FROM transaction_record')" 0 "until now no message was applied"
nothing_lost orders 10 "a user without the right to create tables"

# ---- passwords from elsewhere ----
case $ENGINE in
    postgres)
        printf '127.0.0.1:%s:xonce:app:marker-password\n' "$port" >pass && chmod 600 pass
        PGPASSFILE=$T/pass refused 0 '' "a password from PGPASSFILE" "$x" stats --store "postgresql://app@127.0.0.1:$port/xonce"
        PGPASSWORD=marker-password refused 0 '' "a password from PGPASSWORD" "$x" stats --store "postgresql://app@127.0.0.1:$port/xonce"
        ;;
    mysql)
        printf '[client]\npassword=marker-password\n' >my.cnf && chmod 600 my.cnf
        refused 0 '' "a password from a defaults-file" "$x" stats --store "mysql://app@127.0.0.1:$port/xonce?defaults-file=$T/my.cnf"
        ;;
esac

# ---- numbers digit for digit, data errors, missing parents ----
digits=(19.99 12345678901234567890 1.10 0.1 -1 123456789012345678901234567890.123456789)
for n in "${digits[@]}" '"abc"' ; do echo "{\"n\":$n}"; done | send numbers --parallel 1 >out 2>&1
IDLE=1500ms consume numbers GID_bad --sql 'INSERT INTO numbers VALUES (:body, :body.n)' >out 2>&1
is "$(db 'SELECT COUNT(*) FROM numbers')" "$([ "$ENGINE" = sqlite ] && echo 7 || echo 6)" "numbers arrive"
for n in "${digits[@]}"; do
    got=$(db "SELECT v FROM numbers WHERE name = '{\"n\":$n}'")
    [ "$ENGINE" != mysql ] || got=$(sed -E '/\./{s/0+$//;s/\.$//}' <<<"$got") # decimal(65,9) fills up with zeros
    [ "$ENGINE/$n" != mysql/1.10 ] || n=1.1
    is "$got" "$n" "$n digit for digit"
done
if [ "$ENGINE" != sqlite ]; then
    "$x" rejected --store "$STORE" --group GID_bad >out 2>&1
    like "$(cat out)" 'abc' "what is no number is rejected with the database's text"
    is "$(last out | grep -c marker-password)" 0 "which has no secret"
fi
printf '%s\n' '{"id":"x","p":1}' '{"id":"x2","p":1}' '{"id":"y","p":2}' | send family >out 2>&1
start family "$x" consume --from "$SERVE_URL" "${endpoint[@]}" --topic family --group GID_family --store "$STORE" --sql 'INSERT INTO child VALUES (:body.id, :body.p)' --exit-when-idle 4s
has_child() { [ "$(db 'SELECT COUNT(*) FROM child')" = "$1" ]; }
db 'INSERT INTO parent VALUES (1)'
wait_for 20 has_child 2 && ok "children are applied when their parent is there" || not_ok "children are applied when their parent is there" "$(cat family.err)"
db 'INSERT INTO parent VALUES (2)'
wait_for 20 has_child 3 && ok "another one still comes again" || not_ok "another one still comes again" "$(cat family.err)"
wait_for 30 eval "! servers_runs $STARTED" || stop "$STARTED"
like "$(last family.out)" 'consumed 3 fresh, [0-9]+ duplicate, 0 rejected, [1-9][0-9]* retried' "nothing of it is rejected"
echo '{"id":"x","p":1}' | send again >out 2>&1
IDLE=1500ms consume again GID_family --sql 'INSERT INTO child VALUES (:body.id, :body.p)' >out 2>&1
like "$(last out)" ' 1 rejected' "a key that is there is no missing parent: rejected at once"

# ---- a full disk ----
if [ "$ENGINE" = postgres ]; then
    db "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF EXISTS (SELECT 1 FROM trouble) THEN RAISE EXCEPTION ''could not extend file: No space left on device'' USING ERRCODE = ''53100''; END IF; RETURN NEW; END'"
    db "CREATE TRIGGER full_disk BEFORE INSERT ON done FOR EACH ROW EXECUTE PROCEDURE full_disk()"
elif [ "$ENGINE" = mysql ]; then
    db "SELECT 0;
DELIMITER //
CREATE TRIGGER full_disk BEFORE INSERT ON done FOR EACH ROW
IF EXISTS (SELECT 1 FROM trouble) THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1021, MESSAGE_TEXT = 'Disk full'; END IF//
DELIMITER ;
SELECT 0" >out
fi
if [ "$ENGINE" != sqlite ]; then
    db "INSERT INTO trouble VALUES (1)"
    feed full 20
    start full "$x" consume --from "$SERVE_URL" "${endpoint[@]}" --topic full --group GID_bad --store "$APP" --attempts 1 --sql "$GOOD" --exit-when-idle 3s
    line=$(wait_for_line 60 full.err 'the database cannot be used')
    like "$line" 'No space left|Disk full' "a full disk is told"
    db "DELETE FROM trouble"
    wait_for 60 has_applied full 20 && ok "when there is room, it goes on" || not_ok "when there is room, it goes on" "$(cat full.err)"
    wait_for 30 eval "! servers_runs $STARTED" || stop "$STARTED"
    like "$(last full.out)" 'consumed 20 fresh, [0-9]+ duplicate, 0 rejected' "nothing was rejected"
    all_once full 20 "each is applied once"
fi
unlike "$(cat ./*.err ./*.out)" "$SECRETS" "nowhere a secret"
done_testing
