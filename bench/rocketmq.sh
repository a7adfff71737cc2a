#!/usr/bin/env bash
# make bench-rocketmq: one broker, one run, BENCH_ROUNDS (3) rounds by turns. Raw: messages a second that leave the broker with nothing done about them, by our poll and settle and by the Java push
# consumer. Applied: into MariaDB by the cloud vendor's plain client, at least once, and by xonce, exactly once. Medians and ratios; each combination reads the same messages as a new group.
. "$(dirname "$0")/../tests/interop/rmqlib.sh"
: "${BENCH_ROUNDS:=3}" "${BENCH_RAW:=200000}" "${BENCH_APPLIED:=20000}"
rocketmq_need
engines_start mysql
rocketmq_begin flushDelayOffsetInterval=600000
rocketmq_topic raw 8 && rocketmq_topic applied 8 || bail "no topics"
JAVA_TIER=4 rocketmq_java Send "$NS" raw batch 1 "$BENCH_RAW" batch=200 padding=120 -- applied batch 1 "$BENCH_APPLIED" batch=8 padding=120 >"$T/send" || bail "send"
rate() { awk '/ messages in / { printf "%d\n", $1 * 1000 / ($4 > 0 ? $4 : 1) }' "$1"; }
raw_xonce() { timeout 120 "$TOP_BUILDDIR/bench/rocketmq" "$FROM" raw "GID_raw_x$1" "$BENCH_RAW" >"$T/r" && rate "$T/r"; }
raw_java() { JAVA_TIER=4 rocketmq_java Push "$NS" raw "GID_raw_j$1" java threads=20 count="$BENCH_RAW" >"$T/r" 2>"$T/e" && rate "$T/r"; }
applied_ons() {
    shop "ons_$1" mysql
    JAVA_TIER=4 rocketmq_java Ons "$NS" applied consume "GID_ons_$1" "$BENCH_APPLIED" "jdbc=$(jdbc "ons_$1")" threads=20 >"$T/r" 2>"$T/e" && rate "$T/r"
}
# from the first record to the last by the database's clock
applied_xonce() { # ROUND BATCH
    local shop=x$2_$1 ms
    shop "$shop" mysql
    settings "$T/bench.conf" workers=8 "batch.max=$2"
    start bench "$XONCE" consume --from "$FROM" --topic applied --group "GID_$shop" --store "${STORE[$shop]}" --config "$T/bench.conf" \
        --sql "INSERT INTO payments (id, amount, place, seq, who) VALUES (:body.id, :body.amount, :body.queue, :body.seq, 'xonce')"
    wait_for 120 has_applied "$shop" "$BENCH_APPLIED" || { note "slow: $(tail -n 3 "$T/bench.err")"; return 1; }
    stop "$STARTED"
    [ "$(judge "$shop" 'SELECT COUNT(*) FROM payments')" = "$BENCH_APPLIED" ] || note "not exactly once!"
    ms=$(judge "$shop" "SELECT MAX(ctime) - MIN(ctime) FROM transaction_record")
    echo "$BENCH_APPLIED messages in $ms ms" >"$T/r"
    rate "$T/r"
}
modes="raw_xonce raw_java applied_ons applied_xonce_1 applied_xonce_32"
for round in $(seq "$BENCH_ROUNDS"); do
    for mode in $modes; do
        case $mode in
            applied_xonce_*) applied_xonce "$round" "${mode##*_}" ;;
            *) "$mode" "$round" ;;
        esac >"$T/got" || note "$mode failed: $(tail -n 3 "$T/e")"
        cat "$T/got" >>"$T/$mode"
        note "round $round $mode: $(cat "$T/got") a second"
    done
done
median() { sort -n "$T/$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] + 0 }'; }
ratio() { awk -v a="$(median "$1")" -v b="$(median "$2")" 'BEGIN { printf "%.2f", b ? a / b : 0 }'; }
printf '%s\n' "messages a second, medians of $BENCH_ROUNDS rounds, bodies of about 200 bytes, 8 queues, server $ROCKETMQ_VERSION" \
    "  raw, xonce poll and settle              $(median raw_xonce)" \
    "  raw, Java push consumer, 20 threads     $(median raw_java)   xonce / Java: $(ratio raw_xonce raw_java)" \
    "  MariaDB, ons-client, 20 threads, at least once   $(median applied_ons)" \
    "  MariaDB, xonce, 8 workers, batch 1, exactly once $(median applied_xonce_1)   xonce / ons: $(ratio applied_xonce_1 applied_ons)" \
    "  MariaDB, xonce, 8 workers, batch 32              $(median applied_xonce_32)   xonce / ons: $(ratio applied_xonce_32 applied_ons)"
