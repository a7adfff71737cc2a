#!/usr/bin/env bash
# make bench-latency: from sent to committed, xonce beside the cloud vendor's plain Java client (autocommit), both with BENCH_WORKERS (20), from one broker into one database server in one run.
# Medians of BENCH_ROUNDS (3) rounds, a table, and JSON lines in $BENCH_OUT/bench-latency.json.
#
# How it is measured, the same for both: bench/load.c sends on a fixed schedule (an open loop: no send waits for another, so that a stall counts for every message that was due in it) and
# writes into the body when the message was DUE, by the wall clock in microseconds, not when it left. The client takes the clock right after COMMIT has returned: Java in the listener after
# executeUpdate() in autocommit, xonce where the source is told to acknowledge, the first thing after the COMMIT. One machine, so one clock. What the broker takes to store the message and the
# sender's own lateness are in both figures; the sender's are shown beside them.
# Before that each client works off BENCH_WARM (30000) messages that wait, which are not counted: connections, caches, the JIT. Then BENCH_SECONDS (20) of load.
# Loads: 200 a second; half of what Java applied at most just before (on a backlog), to both; half of what xonce applied at most, to xonce: Java cannot follow there. Above 1000 a second the
# messages of a millisecond are sent as one batch. BENCH_LOADS="200 java xonce" selects; a number is a load for both.
. "$(dirname "$0")/end-to-end-lib.sh"
: "${BENCH_WARM:=30000}" "${BENCH_SECONDS:=20}" "${BENCH_LOADS:=200 java xonce}" "${BENCH_SYSTEMS:=xonce xonce-offset java}"
bench_servers "$BENCH_OUT/bench-latency.json"
calibrate=$((BENCH_WARM * 3))
rocketmq_topic backlog "$BENCH_QUEUES" || bail "no topic"
"$programs/load" "$FROM" backlog $calibrate >"$T/sent" || bail "load"
for turn in 1 2 3 4; do "$programs/rocketmq" "$FROM" backlog "GID_raw_$turn" $calibrate >/dev/null || bail "raw"; done

# timed SYSTEM ENGINE LOAD SERIAL: LATENCY and SENDER, lines of NAME=VALUE
timed() {
    local topic=lat_$4 shop=t_$4 count=$(($3 * BENCH_SECONDS))
    rocketmq_topic "$topic" "$BENCH_QUEUES" || return 1
    "$programs/load" "$FROM" "$topic" "$BENCH_WARM" >"$T/sent" || return 1
    shop "$shop" "$2"
    client "$1" "$shop" "$topic" "GID_$4" "$BENCH_WARM" "$count"
    client_says warm || return 1
    "$programs/load" "$FROM" "$topic" "$count" "rate=$3" >"$T/sent" 2>"$T/load.err" || { note "load: $(cat "$T/load.err")"; return 1; }
    client_says latency || return 1
    LATENCY=$SAID
    SENDER=$(cat "$T/sent")
    client_end
    drop "$shop"
}
value() { sed -n "s/.*[ ]$1=\([0-9]*\).*/\1/p" <<<"$2"; }

for engine in $BENCH_ENGINES; do
    measure java "$engine" backlog "${engine}_max_java" "$BENCH_WARM" $((calibrate - BENCH_WARM)) && half_java=${RATE%.*} || bail "no maximum"
    drop "b_${engine}_max_java"
    measure xonce "$engine" backlog "${engine}_max_xonce" "$BENCH_WARM" $((calibrate - BENCH_WARM)) && half_xonce=${RATE%.*} || bail "no maximum"
    drop "b_${engine}_max_xonce"
    note "$(engine_name "$engine"): at most $half_java messages/s by java, $half_xonce by xonce"
    half_java=$((half_java / 2)) half_xonce=$((half_xonce / 2))
    for round in $(seq "$BENCH_ROUNDS"); do
        for load in $BENCH_LOADS; do
            for system in $BENCH_SYSTEMS; do
                case $load in
                    java) rate=$half_java ;;
                    xonce) [ "$system" != java ] || continue; rate=$half_xonce ;;
                    *) rate=$load ;;
                esac
                timed "$system" "$engine" "$rate" "${engine}_${system//-/_}_${load}_$round" || { note "$engine $system at $rate failed"; continue; }
                note "round $round $engine $system at $rate/s: ${LATENCY#latency } sender: ${SENDER#*distinct }"
                for what in p50_us p99_us p999_us max_us; do printf '%s ' "$(value $what "$LATENCY")"; done >>"$T/$engine.$load.$system"
                echo "$rate $(value late_p99_us "$SENDER") $(value late_max_us "$SENDER") $(value took_p50_us "$SENDER") $(value took_p99_us "$SENDER")" >>"$T/$engine.$load.$system"
            done
        done
    done
done

for engine in $BENCH_ENGINES; do
    printf '%s: microseconds from due to committed, medians of %d rounds of %d s\n  %-14s %10s %9s %9s %9s %9s   %s\n' "$(engine_name "$engine")" "$BENCH_ROUNDS" "$BENCH_SECONDS" "" messages/s p50 p99 p99.9 \
        max "the sender: late p99, send p50, p99"
    for load in $BENCH_LOADS; do
        for system in $BENCH_SYSTEMS; do
            file=$T/$engine.$load.$system
            [ -s "$file" ] || continue
            printf '  %-14s %10d %9d %9d %9d %9d   %d, %d, %d\n' "$system" "$(median "$file" 5)" "$(median "$file" 1)" "$(median "$file" 2)" "$(median "$file" 3)" "$(median "$file" 4)" "$(median "$file" 6)" \
                "$(median "$file" 8)" "$(median "$file" 9)"
            printf '{"bench":"latency","engine":"%s","system":"%s","mode":"%s","connections":%d,"rounds":%d,"seconds":%d,"load":"%s","load_per_second":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d,"max_us":%d,"sender_late_p99_us":%d,"sender_late_max_us":%d,"send_p50_us":%d,"send_p99_us":%d}\n' \
                "$(engine_name "$engine")" "$system" "$(case $system in *-offset) echo offset ;; java) echo bare ;; *) echo record ;; esac)" "$BENCH_WORKERS" "$(wc -l <"$file")" "$BENCH_SECONDS" \
                "$(case $load in java) echo "half of java" ;; xonce) echo "half of xonce" ;; *) echo "$load" ;; esac)" "$(median "$file" 5)" "$(median "$file" 1)" "$(median "$file" 2)" "$(median "$file" 3)" \
                "$(median "$file" 4)" "$(median "$file" 6)" "$(median "$file" 7)" "$(median "$file" 8)" "$(median "$file" 9)" >>"$JSON"
        done
    done
done
