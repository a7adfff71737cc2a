#!/usr/bin/env bash
# Runs inside a machine that check-systemd.sh has booted: uses the unit as docs/installing.md says, and judges by SQL. At the first boot it ends with the power being cut,
# at the second it looks whether all goes on, and removes the packages.
# it restarts services and cuts the power: nowhere else
[ -e /check/only-here ] && [ "$(readlink -f "$0")" = /check/in-systemd.sh ] || { echo "in-systemd.sh: runs inside the machine of check-systemd.sh only"; exit 77; }
export TOP_SRCDIR=/check XONCE=/usr/bin/xonce TMPDIR=/tmp
. /check/tests/lib/tap.sh
. /check/tests/docs/blocks.sh
cd / || exit 1

say() { printf '# figure: %s\n' "$*"; }
# what systemd knows of an instance, and what it has said
property() { systemctl show -P "$2" "xonce@$1"; }
lines() { journalctl -q --no-pager -o cat -u "xonce@$1" "${@:2}"; }
has() { [ "$(property "$1" "$2")" = "$3" ]; }
is_active() { has "$1" ActiveState active; }
# the user of the service, in its folder, while it does not run too
as_xonce() { systemd-run --quiet --pipe --wait -p DynamicUser=yes -p User=xonce -p StateDirectory=xonce -p WorkingDirectory=/var/lib/xonce "$@"; }
postgres() { su postgres -c "psql -X -A -t -q -v ON_ERROR_STOP=1 ${1:-shop}" 2>&1; }
orders() { echo 'SELECT count(*), count(DISTINCT id) FROM orders' | postgres; }
bills() { sqlite3 /var/lib/xonce/shop.db 'SELECT count(*), count(DISTINCT id) FROM bills'; }
send_orders() { seq "$1" "$2" | sed 's/.*/{"id":&,"amount":"1.50"}/' | xonce send --set send.timeout=2m --to http://127.0.0.1:8080 --topic orders; }
has_orders() { [ "$(orders)" = "$1|$1" ]; }
has_bills() { [ "$(bills)" = "$1|$1" ]; }
more_orders() { [ "$(echo 'SELECT count(*) FROM orders' | postgres)" -ge "$1" ]; }
health() { curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:9464/$1"; }
is_ready() { [ "$(health readyz)" = "$1" ]; }
says() { lines "$1" | grep -qF -- "$2"; }
export ALIBABA_CLOUD_ACCESS_KEY_ID=id ALIBABA_CLOUD_ACCESS_KEY_SECRET=secret

# ---- the first boot ----

write_broker() {
    cat >/etc/systemd/system/broker.service <<'UNIT'
[Service]
Type=exec
Environment=ALIBABA_CLOUD_ACCESS_KEY_ID=id ALIBABA_CLOUD_ACCESS_KEY_SECRET=secret
ExecStart=/usr/bin/xonce serve --listen 127.0.0.1:8080 --data /var/lib/broker --redeliver 15s --duplicate 20% --fsync
[Install]
WantedBy=multi-user.target
UNIT
    systemctl daemon-reload && systemctl enable -q --now broker
}

# The section of the manual, command by command, and what it shows as /etc/xonce/shop.conf; only the broker is ours.
follow_manual() {
    mkdir "$T/page" && blocks_split /check/installing.md "$T/page" || return 1
    echo 'set -eu' >"$T/manual"
    for block in "$T/page"/[0-9][0-9]; do
        [ "$(cat "$block.section")" = "As a service" ] || continue
        case $(cat "$block.kind") in
            ini) ! grep -q '^# /etc/xonce/shop.conf' "$block" || sed 's/broker\.example/127.0.0.1/' "$block" >/etc/xonce/shop.conf ;;
            'sh service') cat "$block" >>"$T/manual" ;;
        esac
    done
    [ -e /etc/xonce/shop.conf ] && [ "$(wc -l <"$T/manual")" -gt 15 ] && bash "$T/manual"
}
# each row takes so many seconds
slow() { postgres <<<"CREATE OR REPLACE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep($1); RETURN NEW; END'"; }
# a second subscription and a second database, smaller batches, and rows that take a while, to be killed at
widen() {
    sed -i '1a batch.max = 8\nlog.level = info' /etc/xonce/shop.conf
    cat >>/etc/xonce/shop.conf <<'CONF'

[subscription bills]
from  = http://127.0.0.1:8080
group = GID_shop
topic = bills
store = local
sql   = INSERT INTO bills (id) VALUES (:body.id)

[store local]
uri   = sqlite:shop.db
CONF
    as_xonce sqlite3 shop.db 'CREATE TABLE bills (id INTEGER NOT NULL)'
    slow 0.02 && postgres <<<'CREATE TRIGGER slowly BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION slowly()'
}

first_messages() {
    check "what is sent is taken" send_orders 1 100
    check "the commands of docs/installing.md" follow_manual
    like "$(orders)" '^([0-9]+)\|\1$' "what they have applied is there once"
    unlike "$(orders)" '^0' "and it is something"
    check "a second database" widen
    seq 1 100 | sed 's/.*/{"id":&}/' | xonce send --set send.timeout=2m --to http://127.0.0.1:8080 --topic bills >/dev/null
    check "systemctl start xonce@shop" systemctl start xonce@shop
    wait_for 120 has_orders 100
    is "$(orders)" "100|100" "as a user made up by systemd, with peer authentication, it applies to PostgreSQL"
    wait_for 60 has_bills 100
    is "$(bills)" "100|100" "and, in the same process, to SQLite in /var/lib/xonce"
    is "$(stat -Lc '%U %a' /var/lib/xonce)" "xonce 750" "where nobody else can read"
    is "$(ps -o user= -p "$(property shop MainPID)")" "xonce" "the process is that user's"
    like "$(lines shop)" "status on http://127.0.0.1:9464" "journalctl shows its lines"
}

status_page() {
    is "$(health healthz) $(health readyz) $(health metrics)" "200 200 200" "health and metrics are served"
    like "$(curl -s http://127.0.0.1:9464/metrics)" 'xonce_' "metrics are metrics"
    local rated
    rated=$(systemd-analyze security --no-pager xonce@shop | tail -n 1)
    say "systemd-analyze security: $rated"
    check "systemd-analyze security of what runs: at most 1.5 of 10" systemd-analyze security --no-pager --threshold=15 xonce@shop
}

reload() {
    local pid=$(property shop MainPID)
    sed -i 's/^batch.max = 8/batch.max = 16/' /etc/xonce/shop.conf
    check "systemctl reload" systemctl reload xonce@shop
    check "it says what it took over" wait_for 20 says shop batch.max
    is "$(property shop MainPID) $(property shop ActiveState)" "$pid active" "and is the same process"
    sed -i 's/^batch.max = 16/batch.max = sixteen/' /etc/xonce/shop.conf
    systemctl reload xonce@shop
    check "a fault in the file is told" wait_for 20 says shop sixteen
    is "$(property shop MainPID) $(property shop ActiveState)" "$pid active" "and stops nothing"
    sed -i 's/^batch.max = sixteen/batch.max = 8/' /etc/xonce/shop.conf
    for turn in 1 2 3; do
        systemctl restart xonce@shop
        systemctl reload xonce@shop
    done
    wait_for 60 is_active shop
    is "$(property shop ActiveState) $(property shop NRestarts)" "active 0" "a reload at once after a start ends nothing"
    wait_for 60 is_ready 200
}

kills() {
    send_orders 101 400 >/dev/null
    for n in 120 180 240; do
        wait_for 120 more_orders $n
        pid=$(property shop MainPID)
        check "it runs, to be killed" [ "${pid:-0}" -gt 1 ] && kill -9 "$pid"
        wait_for 60 is_active shop
    done
    wait_for 180 has_orders 400
    is "$(property shop NRestarts)" "3" "killed three times at work, it is started again each time"
    is "$(orders)" "400|400" "and nothing is applied twice, nothing is lost"
}

is_away() { ! echo 'SELECT 1' | postgres; }
restarted() { [ "$(property shop NRestarts)" -ge 1 ]; }
outage() {
    local pid=$(property shop MainPID)
    systemctl stop postgresql
    send_orders 401 420 >/dev/null
    check "it is not ready while PostgreSQL is away" wait_for 90 is_ready 503
    systemctl start postgresql
    wait_for 120 has_orders 420
    is "$(orders) $(property shop MainPID)" "420|420 $pid" "and the same process goes on when it is back"
    systemctl stop xonce@shop postgresql
    wait_for 60 is_away
    systemctl start xonce@shop 2>/dev/null
    check "with PostgreSQL away at the start it is started again" wait_for 60 restarted
    systemctl start postgresql
    check "until it can" wait_for 60 is_active shop
}

orderly_stop() {
    local began=$SECONDS
    wait_for 60 is_ready 200
    check "systemctl stop" systemctl stop xonce@shop
    say "stopped in $((SECONDS - began)) s"
    is "$(property shop Result) $(property shop ExecMainStatus)" "success 0" "is orderly"
    like "$(lines shop -n 5)" 'consumed [0-9]+ fresh, ' "with its last line in the journal"
}

faults() {
    sed 's/^batch.max = .*/batch.max = many/' /etc/xonce/shop.conf >/etc/xonce/wrong.conf
    systemctl start xonce@wrong 2>/dev/null
    wait_for 30 has wrong ActiveState failed
    tap_pause 7
    is "$(property wrong ActiveState) $(property wrong ExecMainStatus) $(property wrong NRestarts)" "failed 2 0" \
        "a fault in the settings ends it with 2, and it is not started again"
    like "$(lines wrong -p err)" "many" "the reason is in the journal, as an error"
    systemctl reset-failed xonce@wrong
    systemctl start xonce@missing 2>/dev/null
    wait_for 30 has missing ActiveState failed
    is "$(property missing ExecMainStatus)" "2" "so does a missing file"
    systemctl reset-failed xonce@missing
}

# a second instance, with a program, and its keys handed over by systemd
program() {
    printf '%s\n' '#!/bin/sh' 'IFS= read -r body' 'printf "%s\n" "$body" >>invoices.txt' >/usr/local/bin/invoice
    chmod +x /usr/local/bin/invoice
    cat >/etc/xonce/invoices.conf <<'CONF'
log.file = /var/log/xonce/invoices.log
log.level = info
credentials.file = ${CREDENTIALS_DIRECTORY}/keys
[subscription invoices]
from  = http://127.0.0.1:8080
group = GID_invoices
topic = invoices
store = sqlite:invoices.db
exec  = /usr/local/bin/invoice
CONF
    mkdir -p /etc/systemd/system/xonce@invoices.service.d
    printf '%s\n' '[Service]' 'LoadCredential=keys:/etc/xonce/invoices.keys' >/etc/systemd/system/xonce@invoices.service.d/keys.conf
    install -m 600 /dev/null /etc/xonce/invoices.keys
    printf '%s\n' 'access-key-id = id' 'access-key-secret = secret' >/etc/xonce/invoices.keys
    systemctl daemon-reload
    as_xonce xonce init --store sqlite:invoices.db
    seq 1 20 | xonce send --set send.timeout=2m --to http://127.0.0.1:8080 --topic invoices >/dev/null
    systemctl start xonce@invoices xonce@shop
    count() { [ "$(wc -l </var/lib/xonce/invoices.txt)" -ge 20 ]; }
    wait_for 60 count
    is "$(sort -nu /var/lib/xonce/invoices.txt | tr '\n' ' ')" "$(seq -s ' ' 1 20) " "a second instance runs a program for each message, with the first beside it"
    systemctl stop xonce@invoices
    is "$(property shop ActiveState)" "active" "and one stops without the other"
    check "log.file is in /var/log/xonce" test -s /var/log/xonce/invoices.log
    unlike "$(cat /var/log/xonce/invoices.log; lines invoices)" "can be read by others" "keys from LoadCredential are nobody else's"
}

# in the middle of its work
power_cut() {
    systemctl stop xonce@shop
    slow 1
    send_orders 421 900 >/dev/null
    touch /check/second
    sync /check
    systemctl start xonce@shop
    wait_for 120 more_orders 440
    unlike "$(orders)" '^900' "it is at work"
    printf '1..%d\n# cut the power\n' "$tap_count"
    sleep 600
}

first_boot() {
    systemctl is-system-running --wait >/dev/null
    is "$(systemctl --failed --no-legend --plain)" "" "the machine is up"
    check "a broker" write_broker
    first_messages
    status_page
    reload
    kills
    outage
    orderly_stop
    faults
    program
    power_cut
}

# ---- the second ----

second_boot() {
    wait_for 300 is_active shop
    is "$(property shop ActiveState)" "active" "after a power cut it starts by itself"
    slow 0
    wait_for 300 has_orders 900
    is "$(orders)" "900|900" "and what was in its hands is applied once"
    is "$(bills)" "100|100" "likewise in SQLite"

    local pid=$(property shop MainPID)
    check "the packages are installed over themselves" dpkg -i /check/xonce_*.deb /check/libxonce1_*.deb
    wait_for 60 is_active shop
    like "$(property shop ActiveState) $(property shop MainPID)" "^active [1-9]" "the service runs on"
    unlike "$(property shop MainPID)" "^$pid\$" "with the new program"
    check "the packages are removed" dpkg --remove xonce libxonce1
    is "$(pgrep -c -f '^/usr/bin/xonce consume')" "0" "and nothing of it runs any more"
    check "and purged" dpkg --purge xonce libxonce1
    is "$(find /etc/systemd /lib/systemd -name 'xonce@*' ! -name '*.d')" "" "no instance stays enabled"
    check "the data is left" test -s /var/lib/private/xonce/shop.db
    done_testing
}

# through a pipe, so that no program takes the line to the host for a terminal
if [ -e /check/second ]; then (second_boot); else (first_boot); fi 2>&1 | cat
systemctl poweroff
