#!/usr/bin/env bash
# Over HTTP, one consumer with a database on each engine: one that is killed, and one that hangs, hold up none of the others, with more messages behind them than there is memory for; and each message once.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
for engine in postgres mysql; do [ -z "$(servers_missing $engine)" ] || skip_all "$engine needs the Debian package $(servers_missing $engine)"; done
[ -n "${XONCE_SERVERS_DIR:-}" ] || { rm -rf "$T"; exec "$BASH" "$TOP_SRCDIR/tests/lib/with-servers.sh" "$BASH" "$0"; }
export ALIBABA_CLOUD_ACCESS_KEY_ID=stores ALIBABA_CLOUD_ACCESS_KEY_SECRET=stores-secret XONCE_INSTANCE=MQ_INST_stores
command -v sqlite3 >/dev/null 2>&1 || skip_all "sqlite3 is not installed"
# what is given back stays away for so long
start_serve serve --data "$T/queues" --instance "$XONCE_INSTANCE" --redeliver 20s || bail "serve did not start"
declare -A URI=([pg]=$(servers_uri postgres) [my]=$(servers_uri mysql) [lite]=sqlite:$T/lite.db)
ask() { # STORE SQL
    case $1 in
        pg) PGPASSWORD=xonce "$(servers_postgres_bin)/psql" -XAtq -d "${URI[pg]}" -c "$2" ;;
        my) mariadb --no-defaults -uroot -S "$(servers_dir mysql)/s" -BN xonce -e "$2" ;;
        lite) sqlite "$T/lite.db" "$2" ;;
    esac
}
for s in pg my lite; do
    "$XONCE" init --store "${URI[$s]}" >/dev/null || bail "no tables in $s"
    ask $s 'CREATE TABLE paid (id varchar(40))' || bail "no table in $s"
done
LAST=0
# feed N: of three tenants in turn, and as many of a topic of the one on MariaDB alone
feed() {
    awk -v from=$((LAST + 1)) -v to=$((LAST + $1)) 'BEGIN { for (i = from; i <= to; i++) printf "{\"body\":{\"id\":\"p%d\"},\"properties\":{\"tenant\":\"%c\"}}\n", i, 97 + i % 3 }' |
        "$XONCE" send --to "$SERVE_URL" --topic pay --json >/dev/null && seq -f '{"id":"b%.0f"}' $((LAST + 1)) $((LAST + $1)) | "$XONCE" send --to "$SERVE_URL" --topic bills >/dev/null || bail "send"
    LAST=$((LAST + $1))
}
cat >"$T/all.conf" <<END
prune.every = 0
buffer.messages = 200
log.level = info
[consume]
from = $SERVE_URL
group = GID_stores
[store pg]
uri = ${URI[pg]}
tenants = a
[store my]
uri = ${URI[my]}
tenants = b
[store lite]
uri = ${URI[lite]}
tenants = c
[subscription pay]
topic = pay
store = pg
route = :property.tenant
sql = INSERT INTO paid VALUES (:body.id)
[subscription bills]
topic = bills
store = my
sql = INSERT INTO paid VALUES (:body.id)
END
paid() { ask "$1" "SELECT COUNT(*) FROM paid WHERE id LIKE 'p%'"; }
have() { local s; for s in "$@"; do [ "$(paid "$s")" = $((LAST / 3)) ] || return 1; done; }
all_there() { have pg my lite && [ "$(ask my "SELECT COUNT(*) FROM paid WHERE id LIKE 'b%'")" = "$LAST" ]; }
twice() { local s; for s in pg my lite; do ask $s 'SELECT COUNT(*) - COUNT(DISTINCT id) FROM paid'; done | tr '\n' ' '; }
start all "$XONCE" consume --config "$T/all.conf"
member=$STARTED
feed 300
check "three databases, each its tenant's messages" wait_for 60 all_there
servers_kill mysql || bail "mysql is not killed"
feed 1500
check "MariaDB is killed: the others' messages are applied" wait_for 60 have pg lite
check "what becomes of its messages is told" grep -q 'the others go on' "$T/all.err"
check "its own topic is not asked for" grep -q 'topic bills: no more is asked for' "$T/all.err"
servers_restart mysql || bail "mysql is not started again"
check "it is back, and so are its messages" wait_for 120 all_there
check "its own topic is asked for again" grep -q 'topic bills: messages are asked for again' "$T/all.err"
kill -STOP "$(servers_pid postgres)" $(ps -o pid= --ppid "$(servers_pid postgres)")
feed 1500
check "PostgreSQL hangs: the others' messages are applied" wait_for 90 have my lite
kill -CONT $(ps -o pid= --ppid "$(servers_pid postgres)") "$(servers_pid postgres)"
check "it goes on, and all is there" wait_for 120 all_there
is "$(twice)" "0 0 0 " "nothing twice"
stop "$member" TERM 40
like "$(tail -n 1 "$T/all.out")" "^consumed $((2 * LAST)) fresh, [0-9]+ duplicate, 0 rejected, " "each message is counted fresh once"
done_testing
