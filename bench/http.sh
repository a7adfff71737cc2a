#!/usr/bin/env bash
# make bench-http: over HTTP from xonce serve, as users run it, into SQLite, beside the store alone and the endpoint alone; where the rest goes. Medians of BENCH_ROUNDS (3) rounds by turns, a
# table, and JSON lines in $BENCH_OUT/bench-http.json.
#
#   store       bench/direct.c: messages from memory, batches of 128, one thread: what the store itself applies
#   endpoint    bench/rocketmq.c: poll and acknowledge, nothing behind
#   xonce       bench/end-to-end.c: the library with a queued INSERT;  xonce-sql: xonce consume --sql with the same
#
# BENCH_MESSAGES (100000) of 200 bytes after BENCH_WARM (10000), each run as a new group into a new file (WAL, synchronous=FULL). BENCH_XONCE: settings of the
# consumer besides its defaults.
. "$(dirname "$0")/end-to-end-lib.sh"
: "${BENCH_MESSAGES:=100000}" "${BENCH_WARM:=10000}" "${BENCH_SYSTEMS:=store endpoint xonce xonce-sql}"
JSON=$BENCH_OUT/bench-http.json
json_machine
broker_pid() { printf '%s\n' "$SERVE_PID"; }
total=$((BENCH_WARM + BENCH_MESSAGES))
start_serve endpoint --data "$T/data" || bail "serve: $(cat "$T/endpoint.err")"
FROM=$SERVE_URL
cpu_at "$T/cpu0"
began=${EPOCHREALTIME/./}
"$programs/load" "$FROM" orders $total threads=16 >"$T/sent" || bail "load"
cpu_at "$T/cpu1"
note "sent: $(awk -v n=$total -v us=$((${EPOCHREALTIME/./} - began)) 'BEGIN { printf "%d", n * 1e6 / us }') a second, CPU of serve: $(cpu_per "$T/cpu0" "$T/cpu1" "$SERVE_PID" $total) us a message"

# own_words: RATE and CLIENT_CPU from what the program said, the endpoint's CPU from /proc
own_words() {
    cpu_at "$T/cpu1"
    RATE=$(awk '{ printf "%.1f\n", $1 * 1000 / $4 }' "$T/r") CLIENT_CPU=$(awk '{ print $7 }' "$T/r") SECONDS_TAKEN=$(awk '{ print $4 / 1000 }' "$T/r")
    BROKER_CPU=$(cpu_per "$T/cpu0" "$T/cpu1" "$SERVE_PID" "$1") RSS=0
}
one() { # SYSTEM SERIAL
    cpu_at "$T/cpu0"
    case $1 in
        store) shop "b_$2" sqlite && "$programs/direct" "${STORE[b_$2]}" "GID_$2" "$BENCH_MESSAGES" 128 >"$T/r" && own_words "$BENCH_MESSAGES" ;;
        # shellcheck disable=SC2086
        endpoint) timeout "$BENCH_DEADLINE" "$programs/rocketmq" "$FROM" orders "GID_$2" $total $BENCH_XONCE >"$T/r" && own_words $total ;;
        xonce-sql) measure_sql sqlite orders "$2" "$BENCH_WARM" $total $total ;;
        *) measure "$1" sqlite orders "$2" "$BENCH_WARM" "$BENCH_MESSAGES" ;;
    esac
}
for round in $(seq "$BENCH_ROUNDS"); do
    for system in $BENCH_SYSTEMS; do
        serial=${system//-/_}_$round
        one "$system" "$serial" || { note "round $round $system failed"; continue; }
        [ "$system" = endpoint ] || {
            booked=$(judge "b_$serial" "SELECT COUNT(*) FROM orders")
            [ "$booked" = $total ] || [ "$system" = store ] || note "$system: $booked orders of $total!"
            drop "b_$serial"
        }
        echo "$RATE $CLIENT_CPU $BROKER_CPU $RSS $SECONDS_TAKEN" >>"$T/http.$system"
        note "round $round $system: $RATE messages/s, CPU us/message: client $CLIENT_CPU, serve $BROKER_CPU"
    done
done
printf 'HTTP into SQLite: %d messages, %d workers, medians of %d rounds\n  %-14s %10s %10s %10s %8s %8s\n' "$BENCH_MESSAGES" "$BENCH_WORKERS" "$BENCH_ROUNDS" "" messages/s "client us" "serve us" "RSS MB" "x store"
for system in $BENCH_SYSTEMS; do
    file=$T/http.$system
    [ -s "$file" ] || continue
    xstore=-
    [ ! -s "$T/http.store" ] || xstore=$(ratio "$(median "$file" 1)" "$(median "$T/http.store" 1)")
    printf '  %-14s %10.0f %10.1f %10.1f %8.1f %8s\n' "$system" "$(median "$file" 1)" "$(median "$file" 2)" "$(median "$file" 3)" "$(median "$file" 4)" "$xstore"
    printf '{"bench":"http","engine":"sqlite","system":"%s","mode":"record","handler":"queued","connections":%d,"duplicates":0,"messages":%d,"rounds":%d,"seconds":%s,"per_second":%s,"min":%s,"max":%s,"client_cpu_us":%s,"broker_cpu_us":%s,"rss_mb":%s,"settings":"%s"}\n' \
        "$system" "$BENCH_WORKERS" "$BENCH_MESSAGES" "$(wc -l <"$file")" "$(median "$file" 5)" "$(median "$file" 1)" "$(least "$file" 1)" "$(most "$file" 1)" "$(median "$file" 2)" "$(median "$file" 3)" \
        "$(median "$file" 4)" "${BENCH_XONCE:-defaults}" >>"$JSON"
done
