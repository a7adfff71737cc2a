#!/usr/bin/env bash
# Metrics, alert rules and dashboard belong together: what docs/monitoring names is there, and Prometheus' own checker has nothing to say against it.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
export ALIBABA_CLOUD_ACCESS_KEY_ID=status-test ALIBABA_CLOUD_ACCESS_KEY_SECRET=status-marker-secret
unset ALIBABA_CLOUD_SECURITY_TOKEN XONCE_STORE
cd "$T" || exit 1
store=sqlite:$T/shop.db
docs=$TOP_SRCDIR/docs/monitoring

start_serve serve --data "$T/queues" --instance MQ_INST_demo --duplicate 30% || bail "serve did not start"
"$XONCE" init --store "$store" >/dev/null || bail "init failed"
sqlite shop.db 'CREATE TABLE orders (id TEXT PRIMARY KEY, amount INT CHECK (amount < 40)); PRAGMA journal_mode=WAL' >/dev/null
seq 1 50 | sed 's/.*/{"id":"o&","amount":&}/' >orders.txt
"$XONCE" send --to "$SERVE_URL" --instance MQ_INST_demo --topic orders orders.txt >/dev/null || bail "send failed"

# consume NAME ARGS...: in the background; sets STATUS, what it serves
consume() {
    local name=$1 line
    shift
    start "$name" "$XONCE" consume --from "$SERVE_URL" --instance MQ_INST_demo --topic orders --group GID_status --store "$store" \
        --sql 'INSERT INTO orders VALUES (:body.id, :body.amount)' "$@"
    CONSUMER=$STARTED
    line=$(wait_for_line 20 "$T/$name.out" '^status on http://') || { note "$(tail -n 5 "$T/$name.err")"; return 1; }
    STATUS=${line#status on }
}
get() { curl -sS --max-time 20 "$STATUS$1"; }
code() { curl -sS --max-time 20 -o /dev/null -w '%{http_code}' "$@"; }
value() { get /metrics | awk -v name="$1" 'index($0, name " ") == 1 { print $2 }'; }
all_settled() {
    local n
    n=$(get /metrics | awk '/^xonce_messages_total.*(fresh|rejected)/ { n += $2 } END { print n + 0 }')
    [ "$n" -ge 50 ]
}

command -v curl >/dev/null || skip_all "curl is not installed (Debian package curl)"
consume first --status 127.0.0.1:0 || bail "consume --status tells no address"
check "all messages are settled" wait_for 30 all_settled
is_ready() { [ "$(code "$STATUS/readyz")" = 200 ]; }
check "it gets ready" wait_for 20 is_ready
is "$(get /healthz)" ok "healthy"
is "$(value 'xonce_messages_total{group="GID_status",topic="orders",outcome="fresh"}')" "$(sqlite shop.db 'SELECT COUNT(*) FROM orders')" "fresh is what stands in the table"
is "$(value 'xonce_messages_total{group="GID_status",topic="orders",outcome="duplicate"}' | grep -c '^[1-9]')" 1 "duplicates are counted"
unlike "$(get /status.json)$(get /metrics)" 'status-marker-secret' "no secret is shown"
like "$(get /status.json)" '"key":"status","value":"127.0.0.1:0","set":true' "the settings are"
is "$(code -X POST -d x "$STATUS/")" 405 "it is for looking only"
is "$(code "$STATUS/")" 200 "the page is there"

# ---- what docs/monitoring names ----
get /metrics >metrics.txt
sed -n 's/^# TYPE \([^ ]*\) histogram$/\1_bucket\n\1_sum\n\1_count/p; t; s/^# TYPE \([^ ]*\) .*/\1/p' metrics.txt | sort -u >there
sed -n 's/^# TYPE \([^ ]*\) histogram$/\1/p' metrics.txt >histograms # texts name them as a whole
# named WHAT FILE < TEXT: all that it names is there
named() {
    grep -oE '\b(xonce|process)_[a-z_]+' | grep -vE '^xonce_(consumer_status_listen|consumer_status_address|prune_)$' | sort -u >named
    is "$(comm -13 "$2" named)" "" "every metric that $1 names is there ($(wc -l <named))"
}
sort -u there histograms >both
named alerts.yml there < <(grep -E '^ *expr:' "$docs/alerts.yml")
named grafana-dashboard.json there < <(grep -E '"(expr|query|definition)"' "$docs/grafana-dashboard.json")
named "the texts of alerts.yml" both <"$docs/alerts.yml"
named README.md both <"$docs/README.md"
is "$(grep -oE '\bxonce_[a-z_]+' "$docs/grafana-dashboard.json" "$docs/alerts.yml" "$docs/README.md" -h | sort -u | sed 's/_bucket$//' | wc -l | awk '{ print ($1 >= 30) }')" 1 "they name many"
if command -v promtool >/dev/null; then
    check "promtool check metrics" promtool check metrics <metrics.txt
    check "promtool check rules" promtool check rules "$docs/alerts.yml"
    check "promtool test rules" promtool test rules "$TOP_SRCDIR/tests/status/alerts-test.yml"
else
    skip "promtool is not installed (Debian package prometheus)" "promtool check metrics"
    skip "promtool is not installed (Debian package prometheus)" "promtool check rules"
fi

# ---- addresses ----
exits 2 "an address that is none" timeout 20 "$XONCE" consume --from "$SERVE_URL" --instance MQ_INST_demo --topic orders --group GID_status --store "$store" --sql 'SELECT 1' --status nowhere
like "$(cat err)" 'HOST:PORT' "what it should be is told"
exits 1 "an address that is taken" timeout 20 "$XONCE" consume --from "$SERVE_URL" --instance MQ_INST_demo --topic orders --group GID_status --store "$store" --sql 'SELECT 1' --status "${STATUS#http://}"
like "$(cat err)" 'cannot listen on 127.0.0.1' "why is told"
stop "$CONSUMER"
like "$(tail -n 1 first.out)" '^consumed [0-9]+ fresh' "it stops in order"

# ---- sections in force ----
cat >sections.conf <<CONF
status = 127.0.0.1:0
[consume]
from = $SERVE_URL?instance=MQ_INST_demo
group = GID_sections
[store north]
uri = $store
tenants = n
store.tries = 3
[store south]
uri = $store
[subscription paid]
topic = paid
route = :tag
store = south
sql = INSERT INTO orders VALUES (:body.id, :body.amount)
CONF
start sections "$XONCE" consume --config sections.conf
line=$(wait_for_line 20 sections.out '^status on http://') || bail "consume --config tells no address: $(tail -n 3 sections.err)"
STATUS=${line#status on }
force=$(get /status.json | grep -oE '"in_force":\[[^]]*\]' | sed 's/"section":"\([^"]*\)","key":"\([^"]*\)","value":"\([^"]*\)"/\1: \2 = \3/g')
is "$force" "\"in_force\":[{subscription paid: from = $SERVE_URL?instance=MQ_INST_demo},{subscription paid: group = GID_sections},{subscription paid: topic = paid},{subscription paid: tags = *},\
{subscription paid: sql = INSERT INTO orders VALUES (:body.id, :body.amount)},{subscription paid: route = :tag},{subscription paid: store = south, north},\
{store north: uri = $store},{store north: tenants = n},{store north: store.tries = 3},{store south: uri = $store}]" "sections are told as they are in force"
sed -i 's/^sql = .*/sql = INSERT INTO orders VALUES (:body.id, 1)/' sections.conf
kill -HUP "$STARTED"
retold() { get /status.json | grep -q '"key":"sql","value":"INSERT INTO orders VALUES (:body.id, 1)"'; }
check "and told anew when they were read again" wait_for 20 retold
stop "$STARTED"
done_testing
