#!/usr/bin/env bash
# A real Prometheus scrapes a consumer over PostgreSQL with the rules of docs/monitoring: it answers every expression of the dashboard and of the alerts, or there is a reason, and the right alerts fire.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
export ALIBABA_CLOUD_ACCESS_KEY_ID=status-test ALIBABA_CLOUD_ACCESS_KEY_SECRET=status-secret
unset ALIBABA_CLOUD_SECURITY_TOKEN XONCE_STORE
cd "$T" || exit 1
docs=$TOP_SRCDIR/docs/monitoring
for tool in curl:curl prometheus:prometheus; do
    command -v "${tool%:*}" >/dev/null || skip_all "it needs the Debian package ${tool#*:}"
done
[ -z "$(servers_missing postgres)" ] || skip_all "it needs the Debian package $(servers_missing postgres)"

# What gives no data in this state, and why: expressions that match, as a regular expression.
nothing_from() {
    case $1 in
        *xonce_queue_lag_messages*) echo "over HTTP nobody tells what waits in a queue" ;;
        *xonce_oldest_record_timestamp_seconds*'> 8'* | *changes*) echo "it tells only of something that has happened" ;;
        *) return 1 ;;
    esac
}

# ---- a consumer that has something to show, and its Prometheus ----
begin_server postgres || bail "no PostgreSQL"
start_serve serve --data "$T/queues" --instance MQ_INST_demo --duplicate 30% || bail "serve did not start"
"$XONCE" init --store "$STORE" >/dev/null || bail "init failed"
db 'CREATE TABLE orders (id varchar(40) PRIMARY KEY, amount int CHECK (amount < 40))' >/dev/null || bail "no table"
start consumer "$XONCE" consume --from "$SERVE_URL" --instance MQ_INST_demo --topic orders --group GID_status --store "$STORE" --set http.wait=1s --prune-every 1s \
    --sql 'INSERT INTO orders VALUES (:body.id, :body.amount)' --status 127.0.0.1:0
CONSUMER=$STARTED
line=$(wait_for_line 20 "$T/consumer.out" '^status on http://') || bail "consume --status tells no address: $(tail -n 3 consumer.err)"
STATUS=${line#status on }
sed 's/^\( *for:\) .*/\1 1s/' "$docs/alerts.yml" >alerts.yml
is "$(grep -c 'for: 1s' alerts.yml)" "$(grep -c '^ *for: ' "$docs/alerts.yml")" "each alert that waits waits for less here"
cat >prometheus.yml <<YML
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [alerts.yml]
scrape_configs:
  - {job_name: xonce, static_configs: [{targets: ['${STATUS#http://}']}]}
YML
PROMETHEUS=http://127.0.0.1:$(servers_free_port) || bail "no free port"
start prometheus prometheus --config.file=prometheus.yml --storage.tsdb.path="$T/tsdb" --web.listen-address="${PROMETHEUS#http://}" --log.level=warn
# ask QUERY: the values of what it answers, one a line; NaN is none
ask() {
    curl -sG --max-time 20 --data-urlencode "query=$1" "$PROMETHEUS/api/v1/query" | tee answer | grep -oE '"value":\[[^]]*\]' | grep -v NaN | sed 's/.*,"\(.*\)"]$/\1/'
}
gives() { [ -n "$(ask "$1")" ]; }
says() { [ "$(ask "$1")" = "$2" ]; }
check "it is scraped" wait_for 30 gives 'xonce_healthy == 1'
seq 1 50 | sed 's/.*/{"id":"o&","amount":&}/' >orders.txt
check "messages are sent" "$XONCE" send --to "$SERVE_URL" --instance MQ_INST_demo --topic orders orders.txt
check "what was applied arrives there" wait_for 30 says 'xonce_messages_total{outcome="fresh"}' 39
check "and what was given up" wait_for 30 says 'xonce_messages_total{outcome="rejected"}' 11
check "and a first run of pruning" wait_for 30 gives 'xonce_watermark_timestamp_seconds and on (group) xonce_prune_last_timestamp_seconds'

# ---- every expression ----
# answers WHAT EXPRESSION: it gives data, or there is a reason
answers() {
    local why
    if why=$(nothing_from "$2"); then
        ask "$2" >got
        is "$(grep -oE '"status":"[a-z]+"' answer)$(cat got)" '"status":"success"' "$1: nothing, since $why: $2"
    else
        check "$1: $2" wait_for 15 gives "$2"
    fi
}
unescaped() { sed 's/^[^:]*: *"\(.*\)",\{0,1\}$/\1/; s/\\"/"/g; s/\\\\/\\/g'; }
while IFS= read -r expression; do
    expression=${expression//\$__rate_interval/1m}
    expression=${expression//\$__interval/1m}
    answers dashboard "${expression//\$group/.*}"
done < <(grep -E '^ *"expr":' "$docs/grafana-dashboard.json" | unescaped)
is "$(grep -cE '^ *"expr":' "$docs/grafana-dashboard.json")" "$(grep -oE '"expr":' "$docs/grafana-dashboard.json" | wc -l)" "each expression of the dashboard has a line of its own"
like "$(curl -sS --max-time 20 "$PROMETHEUS/api/v1/label/group/values")" '"GID_status"' "dashboard: the list of groups"
while IFS= read -r expression; do
    answers alert "$(sed -E 's/ (==|>|<) [0-9.]+( \* [0-9]+)?$//' <<<"$expression")"
done < <(sed -n 's/^ *expr: //p' "$docs/alerts.yml")

# ---- alerts ----
# firing: the names of those that fire, in one line
firing() { curl -sS --max-time 20 "$PROMETHEUS/api/v1/alerts" | grep -oE '"alertname":"[^"]*"[^}]*\}[^}]*\}[^}]*"state":"firing"' | sed 's/^"alertname":"\([^"]*\)".*/\1/' | sort -u | paste -sd' '; }
# told WHAT NAMES: within a minute these fire, and no others
told() {
    fires() { tap_pause 0.5; [ "$(firing)" = "$1" ]; }
    wait_for 60 fires "$2"
    is "$(firing)" "$2" "$1"
}
told "messages that were given up are told, nothing else" XonceMessagesRejected
servers_kill postgres
told "a dead database is told" 'XonceDatabaseDown XonceMessagesRejected XoncePruningFails XonceUnhealthy'
like "$(curl -sS --max-time 20 "$PROMETHEUS/api/v1/alerts")" 'group GID_status: the database cannot be used' "by its group"
servers_start postgres || bail "PostgreSQL does not start again"
told "and no longer when it is back" 'XonceMessagesRejected XoncePruningFails'
stop "$SERVE_PID" KILL
told "an endpoint that is gone is told" 'XonceMessagesRejected XoncePruningFails XonceSourceDown XonceUnhealthy'
stop "$CONSUMER" KILL
told "a consumer that is gone is told" 'XonceDown XonceMessagesRejected XoncePruningFails'
done_testing
