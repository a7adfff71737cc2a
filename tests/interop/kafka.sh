#!/usr/bin/env bash
# examples/10-kafka.c on a real Kafka (KRaft, one node): killed again and again, with members that come and go and a broker that dies. The judge asks the database: each record is there, once.
# `make check-kafka`: not part of check-all, as it needs Java, Maven and kcat.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
here=$TOP_SRCDIR/tests/lib/kafka
: "${JAVA:=${JAVA_HOME:+$JAVA_HOME/bin/}java}" "${MVN:=mvn}" "${EXAMPLE:=$TOP_BUILDDIR/examples/10-kafka}"
for tool in "$JAVA:default-jre-headless" "$MVN:maven" kcat:kcat sqlite3:sqlite3; do
    command -v "${tool%:*}" >/dev/null || skip_all "there is no ${tool%:*} here (Debian package ${tool##*:})"
done
[ -x "$EXAMPLE" ] || skip_all "examples/10-kafka was not built (Debian package librdkafka-dev)"
# shellcheck disable=SC2086
timeout 600 "$MVN" -q -B ${MVN_ARGS:-} -f "$here/pom.xml" dependency:build-classpath -Dmdep.outputFile="$T/classpath" >"$T/mvn.log" 2>&1 </dev/null ||
    skip_all "Maven cannot get the jars of org.apache.kafka:kafka_2.13: $(tail -n 2 "$T/mvn.log" | tr '\n' ' ')"
cd "$T" || exit 1
PARTITIONS=4
ALL=0

# ---- the broker
PORT=$(servers_free_port)
CONTROLLER=$(servers_free_port)
BROKERS=127.0.0.1:$PORT
cat >server.properties <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$CONTROLLER
listeners=PLAINTEXT://$BROKERS,CONTROLLER://127.0.0.1:$CONTROLLER
advertised.listeners=PLAINTEXT://$BROKERS
controller.listener.names=CONTROLLER
log.dirs=$T/log
num.partitions=$PARTITIONS
auto.create.topics.enable=true
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=3000
CONF
kafka() { # CLASS ARGS...: leaves the command in the array KAFKA
    KAFKA=("$JAVA" -Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Djava.io.tmpdir="$T" -Djava.net.preferIPv4Stack=true
        -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$(cat "$T/classpath")" "$@")
}
answers() { timeout 5 kcat -b "$BROKERS" -L -m 3 2>/dev/null | grep -q '1 brokers'; }
kafka_start() {
    kafka kafka.Kafka server.properties
    start kafka "${KAFKA[@]}"
    KAFKA_PID=$STARTED
    wait_for 90 answers || bail "Kafka does not start: $(tail -n 3 kafka.out kafka.err)"
}
kafka kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qg -c server.properties
"${KAFKA[@]}" >format.log 2>&1 || bail "format: $(tail -n 3 format.log)"
kafka_start

# feed N: so many more records to each partition, numbered from 1 on
feed() {
    local p i
    for ((p = 0; p < PARTITIONS; p++)); do
        for ((i = 0; i < $1; i++)); do echo $((ALL + i * PARTITIONS + p + 1)); done | timeout 120 kcat -P -b "$BROKERS" -t clicks -p $p || bail "kcat cannot produce"
    done
    ALL=$((ALL + $1 * PARTITIONS))
}
topic_is_there() { echo | timeout 10 kcat -b "$BROKERS" -L -t clicks 2>/dev/null | grep -q "with $PARTITIONS partitions"; }
# The first question for a topic makes it.
wait_for 60 topic_is_there || bail "no topic"

# ---- members
# short times, so that a dead member's partitions are soon another's
member() { # NAME [SETTING...]
    local name=$1
    shift
    start "$name" "$EXAMPLE" "$BROKERS" session.timeout.ms 3000 heartbeat.interval.ms 500 topic.metadata.refresh.interval.ms 1000 "$@"
}
counted() { sqlite kafka.db 'SELECT count(*) FROM clicks' 2>/dev/null || echo 0; }
has() { [ "$(counted)" -ge "$1" ]; }
said() { sed -n "s/.*$2 \([0-9]*\).*/\1/p" "$1.out"; }
judge() { is "$(sqlite kafka.db 'SELECT count(*), count(DISTINCT id), count(DISTINCT n), min(n), max(n) FROM clicks')" "$ALL|$ALL|$ALL|1|$ALL" "$1: each record once"; }
ends() { stop "$1" TERM 30 && ok "$2 ends in order" || not_ok "$2 ends in order" "$(tail -n 3 "$2.err")"; }

feed 250
for life in 1 2 3 4 5; do
    member "killed$life"
    wait_for 60 has $((life * 150)) || note "life $life: $(counted)" "$(tail -n 3 "killed$life.err")"
    stop "$STARTED" KILL
done
member last
last=$STARTED
wait_for 90 has $ALL || note "$(counted) of $ALL" "$(tail -n 3 last.err)"
judge "killed five times"
ends "$last" last
[ "$(said last duplicate)" -le $((5 * PARTITIONS)) ] && ok "only what was not committed came again: $(said last duplicate)" || not_ok "only what was not committed came again" "$(cat last.out)"
member next
next=$STARTED
feed 1 # a partition is read in order: what was not committed comes before these
wait_for 60 has $ALL || note "$(counted) of $ALL"
ends "$next" next
is "$(cat next.out)" "fresh $PARTITIONS, duplicate 0" "an orderly end committed everything"

# ---- members come and go while records flow: what one had in hand another gets
for how in range,roundrobin cooperative-sticky; do
    member "a-$how" partition.assignment.strategy "$how"
    a=$STARTED
    feed 200
    wait_for 60 has $((ALL - 700)) || note "$(counted) of $ALL"
    member "b-$how" partition.assignment.strategy "$how"
    b=$STARTED
    feed 200
    wait_for 60 has $((ALL - 500)) || note "$(counted) of $ALL"
    member "c-$how" partition.assignment.strategy "$how"
    feed 100
    stop "$b" KILL
    wait_for 60 has $((ALL - 200)) || note "$(counted) of $ALL"
    stop "$STARTED" KILL
    feed 50
    wait_for 90 has $ALL || note "$(counted) of $ALL" "$(tail -n 3 "a-$how.err")"
    judge "$how: members come and die"
    ends "$a" "a-$how"
done

# ---- one that is stopped for longer than its session: another takes its partitions over; then it wakes
member frozen
frozen=$STARTED
feed 200
wait_for 60 has $((ALL - 600)) || note "$(counted) of $ALL"
# between two records: in a transaction it would keep SQLite's only writer
freeze() {
    kill -STOP "$frozen"
    sqlite3 -batch -cmd '.timeout 300' kafka.db 'BEGIN IMMEDIATE; ROLLBACK' || { kill -CONT "$frozen"; false; }
}
wait_for 30 freeze || note "it is always in a transaction"
at_freeze=$(counted)
[ "$at_freeze" -lt $ALL ] && ok "a member is stopped, with records in hand" || not_ok "a member is stopped, with records in hand" "$at_freeze of $ALL"
member thaw
thaw=$STARTED
check "another takes its partitions over" wait_for 60 has $ALL
kill -CONT "$frozen"
feed 50
wait_for 90 has $ALL || note "$(counted) of $ALL"
judge "one was stopped and woke"
ends "$frozen" frozen
ends "$thaw" thaw

# ---- the broker dies, and its clients find it again
member broker
member_pid=$STARTED
feed 100
wait_for 60 has $((ALL - 300)) || note "$(counted) of $ALL"
stop "$KAFKA_PID" KILL
kafka_start
feed 100
wait_for 90 has $ALL || note "$(counted) of $ALL" "$(tail -n 3 broker.err)"
judge "the broker was killed"
ends "$member_pid" broker
note "duplicates that were delivered: $(cat ./*.out | sed -n 's/.*duplicate //p' | awk '{ n += $1 } END { print n + 0 }'), by those that lived to tell"
done_testing
