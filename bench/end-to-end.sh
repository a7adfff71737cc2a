#!/usr/bin/env bash
# make bench-end-to-end: from a real broker into MariaDB and PostgreSQL, on one broker and one database server in one run, BENCH_ROUNDS (3) rounds by turns; medians, a table, and JSON lines in
# $BENCH_OUT/bench-end-to-end.json.
#
#   xonce, xonce-offset   bench/end-to-end.c: the library with its defaults, 20 workers ($BENCH_WORKERS), a queued INSERT a message, claims by record or by offset; other settings: $BENCH_XONCE
#   xonce-sql             xonce consume --sql with the same INSERT and settings
#   java                  the cloud vendor's plain client (ons-client 1.8.8.5, 20 threads, its own defaults of prefetching), HikariCP with 20 connections, autocommit: at least once
#   java-record           the same with a row of transaction_record in one transaction with the INSERT; a duplicate key is rolled back
#
# BENCH_WARM (50000) messages first, for the JIT and the caches, not counted; then BENCH_MESSAGES (200000) of 200 bytes on BENCH_QUEUES (16) queues, 5 % of them sent a second time, some 500
# messages later, under the same UNIQ_KEY and EXTEND_UNIQ_INFO. Each run reads them all as a new group into a new database. Time is that of the client, from the last message of the first part
# to the last of all committed; CPU is of processes, from /proc, between the same two marks; the database's with all its processes. The JVM gets $BENCH_JAVA_OPTIONS (-Xmx512m) and else what
# it chooses itself; the broker is compiled fully, and has given all messages out four times before. BENCH_FSYNC_US=500 makes the database's syncs that much slower, as on a network disk: what a
# commit waits for decides the ratios, and the machine's line in the JSON says how long it is here. A short run: BENCH_ROUNDS=1 BENCH_MESSAGES=20000 BENCH_WARM=5000 BENCH_ENGINES=mysql.
. "$(dirname "$0")/end-to-end-lib.sh"
: "${BENCH_MESSAGES:=200000}" "${BENCH_WARM:=50000}" "${BENCH_SYSTEMS:=xonce xonce-offset xonce-sql java java-record}"
bench_servers "$BENCH_OUT/bench-end-to-end.json"
rocketmq_topic orders "$BENCH_QUEUES" || bail "no topic"
total=$((BENCH_WARM + BENCH_MESSAGES))
"$programs/load" "$FROM" orders $total duplicates=5 send.exactly-once=on >"$T/sent" || bail "load"
distinct=$(sed 's/.*distinct //' "$T/sent")
note "$total messages, $distinct distinct"
# the broker's JIT, for all alike
for round in 1 2 3 4; do
    "$programs/rocketmq" "$FROM" orders "GID_raw_$round" $total >"$T/raw" || bail "raw"
done
note "taken and acknowledged only: $(cat "$T/raw")"

for round in $(seq "$BENCH_ROUNDS"); do
    for engine in $BENCH_ENGINES; do
        for system in $BENCH_SYSTEMS; do
            serial=${engine}_${system//-/_}_$round
            if [ "$system" = xonce-sql ]; then
                measure_sql "$engine" orders "$serial" "$BENCH_WARM" "$total" "$distinct"
            else
                measure "$system" "$engine" orders "$serial" "$BENCH_WARM" "$BENCH_MESSAGES"
            fi || { note "round $round $engine $system failed"; continue; }
            read -r booked ids < <(judge "b_$serial" "SELECT COUNT(*), COUNT(DISTINCT id) FROM orders")
            want=$distinct
            [ "$system" != xonce-offset ] || want=$total # there a second sending is a message of its own, with an id of its own
            [ "$ids" = "$want" ] || note "$engine $system: $ids messages of $want were booked!"
            [ "$booked" = "$ids" ] || [ "$system" = java ] || note "$engine $system: not exactly once!"
            echo "$RATE $CLIENT_CPU $DATABASE_CPU $BROKER_CPU $RSS $((booked - ids)) $SECONDS_TAKEN" >>"$T/$engine.$system"
            note "round $round $engine $system: $RATE messages/s, CPU us/message: client $CLIENT_CPU, database $DATABASE_CPU, broker $BROKER_CPU; $RSS MB; booked twice: $((booked - ids))"
            drop "b_$serial"
        done
    done
done

for engine in $BENCH_ENGINES; do
    printf '%s: %d messages, %d workers or threads, medians of %d rounds\n  %-14s %10s %10s %10s %10s %8s %12s %8s %12s\n' "$(engine_name "$engine")" "$BENCH_MESSAGES" "$BENCH_WORKERS" "$BENCH_ROUNDS" \
        "" messages/s "client us" "database us" "broker us" "RSS MB" "booked twice" "x java" "x java-record"
    for system in $BENCH_SYSTEMS; do
        file=$T/$engine.$system
        [ -s "$file" ] || continue
        rate=$(median "$file" 1)
        xjava=- xrecord=-
        [ ! -s "$T/$engine.java" ] || xjava=$(ratio "$rate" "$(median "$T/$engine.java" 1)")
        [ ! -s "$T/$engine.java-record" ] || xrecord=$(ratio "$rate" "$(median "$T/$engine.java-record" 1)")
        printf '  %-14s %10.0f %10.1f %10.1f %10.1f %8.1f %12d %8s %12s\n' "$system" "$rate" "$(median "$file" 2)" "$(median "$file" 3)" "$(median "$file" 4)" "$(median "$file" 5)" \
            "$(median "$file" 6)" "$xjava" "$xrecord"
        printf '{"bench":"end-to-end","engine":"%s","system":"%s","mode":"%s","handler":"%s","connections":%d,"duplicates":5,"messages":%d,"rounds":%d,"seconds":%s,"per_second":%s,"min":%s,"max":%s,"client_cpu_us":%s,"database_cpu_us":%s,"broker_cpu_us":%s,"rss_mb":%s,"booked_twice":%s,"settings":"%s"}\n' \
            "$(engine_name "$engine")" "$system" "$(case $system in *-offset) echo offset ;; java) echo bare ;; *) echo record ;; esac)" "$([[ $system == java* ]] && echo blocking || echo queued)" \
            "$BENCH_WORKERS" "$BENCH_MESSAGES" "$(wc -l <"$file")" "$(median "$file" 7)" "$rate" "$(least "$file" 1)" "$(most "$file" 1)" "$(median "$file" 2)" "$(median "$file" 3)" \
            "$(median "$file" 4)" "$(median "$file" 5)" "$(median "$file" 6)" "$([[ $system == java* ]] && echo "$BENCH_JAVA_OPTIONS" || echo "${BENCH_XONCE:-defaults}")" >>"$JSON"
    done
done
