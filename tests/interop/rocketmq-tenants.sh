#!/usr/bin/env bash
# One group whose messages go to four databases by tenant, two on PostgreSQL, where the next claim travels behind a COMMIT, MariaDB and SQLite: records of all are pruned, the positions in one and their copies in the
# others are all that remembers, and an operator's reset applies nothing twice. Three topics, one of them in one database alone, one in order. Database servers that are killed hold up nobody but their own tenants,
# with far more messages behind them than there is memory for.
. "$(dirname "$0")/rmqlib.sh"
rocketmq_need
engines_start postgres mysql
rocketmq_begin flushConsumerOffsetInterval=1000
rocketmq_topic pay 2 && rocketmq_topic bills 2 && rocketmq_topic steps 1 || bail "no topics"
shop pg postgres
shop two postgres
shop my mysql
shop lite sqlite
FROM=rocketmq://$NS
LAST=0
# feed N: payments, as many bills and as many steps, of the tenants a, b, c and d in turn
feed() {
    local topic
    for topic in pay bills steps; do
        awk -v from=$((LAST + 1)) -v to=$((LAST + $1)) -v p="$topic" \
            'BEGIN { for (i = from; i <= to; i++) printf "{\"body\":{\"id\":\"%s%d\",\"amount\":%d},\"properties\":{\"tenant\":\"%c\"}}\n", p, i, i, 97 + i % 4 }' |
            "$XONCE" send --to "$FROM" --topic $topic --parallel 1 --json >/dev/null || bail "send"
    done
    LAST=$((LAST + $1))
}
# shellcheck disable=SC2086
settings "$T/all.conf" $QUICK buffer.messages=400 rocketmq.queue-messages=100 prune.keep=1s prune.every=1s prune.unsafe=on log.level=info
cat >>"$T/all.conf" <<END
[consume]
from = $FROM
group = GID_all
[store first]
uri = ${STORE[pg]}
tenants = a
[store other]
uri = ${STORE[two]}
tenants = b
[store second]
uri = ${STORE[lite]}
tenants = c
[store third]
uri = ${STORE[my]}
tenants = d
[subscription pay]
topic = pay
route = :property.tenant
sql = INSERT INTO payments (id, amount, place) VALUES (:body.id, :body.amount, :property.tenant)
[subscription bills]
topic = bills
store = second
sql = INSERT INTO payments (id, amount, place) VALUES (:body.id, :body.amount, 'bill')
[subscription steps]
topic = steps
ordered = yes
route = :property.tenant
sql = INSERT INTO payments (id, amount, place, seq) VALUES (:body.id, :body.amount, :property.tenant, :body.amount)
END
member() {
    start "$1" "$XONCE" consume --config "$T/all.conf"
    PID[$1]=$STARTED
}
SHOPS="pg two my lite"
so_many() { local s; for s in $SHOPS; do "$1" "$s"; done; }
wanted() { printf '%s\n' $((LAST / 2)) $((LAST / 2)) $((LAST / 2)) $((LAST / 2 + LAST)); } # LAST is a multiple of 4
there() { [ "$(so_many applied)" = "$(wanted)" ]; }
are_pruned() { no_records pg && no_records two && no_records my && no_records lite; }
at_ends() { at_end_of pay GID_all 2 && at_end_of bills GID_all 2 && at_end_of steps GID_all 1; }
# each_once NAME: all is applied where it belongs, nothing twice, and no record is left
each_once() {
    wait_for 90 there || not_ok "all comes" "$(so_many applied) of $LAST: $(tail -n 5 "$T"/*.err)"
    wait_for 60 at_ends || not_ok "the broker hears of it"
    # shellcheck disable=SC2086
    nothing_comes $SHOPS
    is "$(so_many rows)" "$(wanted)" "$1"
    check "its records are pruned" wait_for 90 are_pruned
}
wrong() { judge pg "SELECT COUNT(*) FROM payments WHERE place <> 'a'"; judge two "SELECT COUNT(*) FROM payments WHERE place <> 'b'"; judge my "SELECT COUNT(*) FROM payments WHERE place <> 'd'"; judge lite "SELECT COUNT(*) FROM payments WHERE place NOT IN ('c', 'bill')"; }

member a
feed 300
each_once "each tenant in its database, each message once"
is "$(wrong | tr '\n' ' ')" "0 0 0 0 " "and none in another's"
is "$(judge lite "SELECT COUNT(DISTINCT topic_name) FROM xonce_settled WHERE topic_name IN ('pay', 'bills', 'steps')")" 3 "the last has its own positions, and copies"
is "$(judge pg "SELECT COUNT(*) FROM xonce_settled WHERE topic_name = 'bills'")" 0 "the first has none of a topic that is not its"
check "an operator resets a topic to 0" rocketmq_admin resetOffsetByTime -g GID_all -t pay -s 0
check "and the other" rocketmq_admin resetOffsetByTime -g GID_all -t bills -s 0
feed 32
each_once "nothing twice, and what came after is there"
ended a
for topic in pay bills; do for q in 0 1; do rocketmq_set_offset broker-a GID_all $topic $q 1; done; done
member b
feed 32
each_once "a new member after old offsets were committed: nothing twice"
ended b

# shellcheck disable=SC2046
exits 0 "consume --print" timeout 90 "$XONCE" consume --from "$FROM" --topic bills --group GID_print --print --exit-when-idle 5s $(printf -- '--set %s ' $QUICK)
is "$(wc -l <"$T/out")/$(sort -u "$T/out" | wc -l)" "$LAST/$LAST" "it shows each message, and once"

# ---- servers that are away
passed() { local s; for s in $SHOPS; do judge "$s" "SELECT COUNT(*) FROM (SELECT seq, LAG(seq) OVER (ORDER BY n) AS before_it FROM payments WHERE seq IS NOT NULL) q WHERE before_it >= seq"; done; }
member c
feed 4000
BEGAN=$SECONDS
each_once "a load"
note "with all databases: $((SECONDS - BEGAN)) s"
servers_kill mysql || bail "mysql is not killed"
feed 4000
BEGAN=$SECONDS
# the topic in order waits for the one that is away: its messages stand between those of others
goes_on() { [ "$(judge pg "SELECT COUNT(*) FROM payments WHERE id LIKE 'pay%'") $(judge two "SELECT COUNT(*) FROM payments WHERE id LIKE 'pay%'") $(judge lite "SELECT COUNT(*) FROM payments WHERE place = 'bill'")" = "$((LAST / 4)) $((LAST / 4)) $LAST" ]; }
check "MariaDB is away: the others' messages are applied" wait_for 90 goes_on
note "without one: $((SECONDS - BEGAN)) s"
check "it is told once what becomes of its messages" test "$(grep -c 'the others go on' "$T/c.err")" = 1
is "$(grep -c 'topic bills: no more is asked for' "$T/c.err")" 0 "a topic of others is asked for all the time"
servers_restart mysql || bail "mysql is not started again"
each_once "it is back: each message once"
servers_kill postgres || bail "postgres is not killed"
feed 2000
goes_on() { [ "$(judge my "SELECT COUNT(*) FROM payments WHERE id LIKE 'pay%'") $(judge lite "SELECT COUNT(*) FROM payments WHERE place = 'bill'")" = "$((LAST / 4)) $LAST" ]; }
check "PostgreSQL is away, with two databases and where positions are kept: the others' messages are applied" wait_for 90 goes_on
servers_restart postgres || bail "postgres is not started again"
each_once "it is back: each message once"
kill -STOP "$(servers_pid mysql)"
feed 2000
goes_on() { [ "$(judge pg "SELECT COUNT(*) FROM payments WHERE id LIKE 'pay%'") $(judge two "SELECT COUNT(*) FROM payments WHERE id LIKE 'pay%'") $(judge lite "SELECT COUNT(*) FROM payments WHERE place = 'bill'")" = "$((LAST / 4)) $((LAST / 4)) $LAST" ]; }
check "MariaDB hangs: the others' messages are applied" wait_for 90 goes_on
kill -CONT "$(servers_pid mysql)"
each_once "it goes on: each message once"
is "$(passed | tr '\n' ' ')" "0 0 0 0 " "the topic in order is in order in each"
ended c
is "$(said c duplicate) $(said c rejected) $(said c retried)" "0 0 0" "nothing came twice for it, and nothing counted as tried"

done_testing
