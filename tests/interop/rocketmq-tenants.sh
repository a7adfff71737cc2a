#!/usr/bin/env bash
# One group whose messages go to three databases by tenant, two on PostgreSQL, where the next claim travels behind a COMMIT, and SQLite: records of all are pruned, the positions in one and their copies in the
# others are all that remembers, and an operator's reset applies nothing twice. Two topics, one of them in one database alone.
. "$(dirname "$0")/rmqlib.sh"
rocketmq_need
engines_start postgres
rocketmq_begin flushConsumerOffsetInterval=1000
rocketmq_topic pay 2 && rocketmq_topic bills 2 || bail "no topics"
shop pg postgres
shop two postgres
shop lite sqlite
FROM=rocketmq://$NS
LAST=0
# feed N: payments and as many bills, of the tenants a, b and c in turn
feed() {
    local topic
    for topic in pay bills; do
        awk -v from=$((LAST + 1)) -v to=$((LAST + $1)) -v p="$topic" \
            'BEGIN { for (i = from; i <= to; i++) printf "{\"body\":{\"id\":\"%s%d\",\"amount\":%d},\"properties\":{\"tenant\":\"%c\"}}\n", p, i, i, 97 + i % 3 }' |
            "$XONCE" send --to "$FROM" --topic $topic --json >/dev/null || bail "send"
    done
    LAST=$((LAST + $1))
}
# shellcheck disable=SC2086
settings "$T/all.conf" $QUICK prune.keep=1s prune.every=1s prune.unsafe=on log.level=info
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
[subscription pay]
topic = pay
route = :property.tenant
sql = INSERT INTO payments (id, amount, place) VALUES (:body.id, :body.amount, :property.tenant)
[subscription bills]
topic = bills
store = second
sql = INSERT INTO payments (id, amount, place) VALUES (:body.id, :body.amount, 'bill')
END
member() {
    start "$1" "$XONCE" consume --config "$T/all.conf"
    PID[$1]=$STARTED
}
so_many() { "$1" pg; "$1" two; "$1" lite; }
wanted() { printf '%s\n' $((LAST / 3)) $((LAST / 3)) $((LAST / 3 + LAST)); } # LAST is a multiple of 3
there() { [ "$(so_many applied)" = "$(wanted)" ]; }
are_pruned() { no_records pg && no_records two && no_records lite; }
at_ends() { at_end_of pay GID_all 2 && at_end_of bills GID_all 2; }
# each_once NAME: all is applied where it belongs, nothing twice, and no record is left
each_once() {
    wait_for 90 there || not_ok "all comes" "$(so_many applied) of $LAST: $(tail -n 5 "$T"/*.err)"
    wait_for 60 at_ends || not_ok "the broker hears of it"
    nothing_comes pg two lite
    is "$(so_many rows)" "$(wanted)" "$1"
    check "its records are pruned" wait_for 90 are_pruned
}
wrong() { judge pg "SELECT COUNT(*) FROM payments WHERE place <> 'a'"; judge two "SELECT COUNT(*) FROM payments WHERE place <> 'b'"; judge lite "SELECT COUNT(*) FROM payments WHERE place NOT IN ('c', 'bill')"; }

member a
feed 300
each_once "each tenant in its database, each message once"
is "$(wrong | tr '\n' ' ')" "0 0 0 " "and none in another's"
is "$(judge lite "SELECT COUNT(DISTINCT topic_name) FROM xonce_settled WHERE topic_name IN ('pay', 'bills')")" 2 "the last has its own positions, and copies"
is "$(judge pg "SELECT COUNT(*) FROM xonce_settled WHERE topic_name = 'bills'")" 0 "the first has none of a topic that is not its"
check "an operator resets a topic to 0" rocketmq_admin resetOffsetByTime -g GID_all -t pay -s 0
check "and the other" rocketmq_admin resetOffsetByTime -g GID_all -t bills -s 0
feed 30
each_once "nothing twice, and what came after is there"
ended a
for topic in pay bills; do for q in 0 1; do rocketmq_set_offset broker-a GID_all $topic $q 1; done; done
member b
feed 30
each_once "a new member after old offsets were committed: nothing twice"
ended b

# shellcheck disable=SC2046
exits 0 "consume --print" timeout 90 "$XONCE" consume --from "$FROM" --topic bills --group GID_print --print --exit-when-idle 5s $(printf -- '--set %s ' $QUICK)
is "$(wc -l <"$T/out")/$(sort -u "$T/out" | wc -l)" "$LAST/$LAST" "it shows each message, and once"
done_testing
