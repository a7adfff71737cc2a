#!/usr/bin/env bash
# make soak: SOAK_SECONDS (300) of steady messages from Java through a real RocketMQ into PostgreSQL, while members, the broker, the name server and the database are killed at random. One member
# lives through it all: its memory and its file descriptors must stay flat. Prints the figures; every payment is booked once.
. "$(dirname "$0")/../interop/rmqlib.sh"
: "${SOAK_SECONDS:=300}" "${SOAK_SEED:=$$}"
RANDOM=$SOAK_SEED
rocketmq_need
engines_start postgres
rocketmq_begin
rocketmq_topic orders 4 || bail "no topic"
shop orders postgres
note "seed $SOAK_SEED (SOAK_SEED), $SOAK_SECONDS s (SOAK_SECONDS)"

consumer old orders orders GID_soak
old=$STARTED
consumer young-0 orders orders GID_soak
young=$STARTED
start_java sender Send "$NS" orders mixed 1 100000000 pause=4 large=200 seconds="$SOAK_SECONDS"
sender=$STARTED
began=$SECONDS
kills=0 broker_kills=0 server_kills=0 store_kills=0 ends=0
# SECONDS RESIDENT-KB DESCRIPTORS THREADS of the old member, a line every second
sample() {
    local rss
    rss=$(awk '/^VmRSS/ { r = $2 } /^Threads/ { print r, $2 }' "/proc/$old/status" 2>/dev/null) || return
    printf '%s %s %s %s\n' $((SECONDS - began)) "${rss% *}" "$(find "/proc/$old/fd" -mindepth 1 2>/dev/null | wc -l)" "${rss#* }" >>"$T/samples"
}
next=$((SECONDS + 10)) tick=$SECONDS
while servers_runs "$sender"; do
    if [ "$SECONDS" -gt "$tick" ]; then
        tick=$SECONDS
        sample
    fi
    if [ "$SECONDS" -ge "$next" ] && [ $((SECONDS - began)) -lt "$SOAK_SECONDS" ]; then
        case $((RANDOM % 10)) in
            0 | 1 | 2 | 3 | 4)
                stop "$young" KILL
                kills=$((kills + 1))
                consumer "young-$kills" orders orders GID_soak
                young=$STARTED
                ;;
            5)
                stop "$young" || not_ok "a member ends in order" "$(tail -n 3 "$T"/young-*.err | tail -n 3)"
                ends=$((ends + 1))
                consumer "young-e$ends" orders orders GID_soak
                young=$STARTED
                ;;
            6 | 7) rocketmq_kill broker-a; rocketmq_start broker-a || bail "the broker does not come back"; broker_kills=$((broker_kills + 1)) ;;
            8) rocketmq_kill namesrv; tap_pause 2; rocketmq_start namesrv || bail "the name server does not come back"; server_kills=$((server_kills + 1)) ;;
            9) servers_kill postgres; servers_start postgres || bail "the database does not come back"; store_kills=$((store_kills + 1)) ;;
        esac
        next=$((SECONDS + 4 + RANDOM % 8))
    fi
    tap_pause 0.2
done
sent=$(sed -n 's/^sent //p' "$T/sender.out")
[ "${sent:-0}" -gt 0 ] || bail "the sender failed: $(tail -n 3 "$T/sender.err")"
settle_down "$sent" 120 orders
sample
note "killed: $kills members, $broker_kills times the broker, $server_kills times the name server, $store_kills times the database; $ends members ended in order"
is "$(counted orders)" "$(balanced 1 "$sent")" "every one of $sent payments once"
is "$(judge orders 'SELECT COUNT(*) FROM xonce_rejected')" 0 "nothing was rejected"
check "the old member lives" servers_runs "$old"
# the first third warms up
figures=$(awk -v total="$(wc -l <"$T/samples")" '
    { third = NR <= total / 3 ? 1 : NR <= total * 2 / 3 ? 2 : 3
      if ($2 > rss[third]) rss[third] = $2
      if ($3 > fd[third]) fd[third] = $3
      if ($4 > threads[third]) threads[third] = $4
      last_rss = $2; last_fd = $3; if (NR == int(total / 6) + 1) { base_fd = $3 } }
    END { printf "%d %d %d %d %d %d %d %d %d %d %d", rss[1], rss[2], rss[3], last_rss, fd[1], fd[2], fd[3], last_fd, threads[1], threads[2], threads[3] }' "$T/samples")
read -r r1 r2 r3 rl f1 f2 f3 fl t1 t2 t3 <<<"$figures"
note "resident kB, greatest of each third: $r1 $r2 $r3, at the end $rl; descriptors: $f1 $f2 $f3, at the end $fl; threads: $t1 $t2 $t3"
check "its memory is flat: $r1 $r2 $r3 kB" [ $((r3 * 100)) -le $(((r1 > r2 ? r1 : r2) * 115 + 400000)) ]
check "its descriptors are flat: $f1 $f2 $f3, at the end $fl" [ "$f3" -le $(((f1 > f2 ? f1 : f2) + 4)) ]
stop "$old" && ok "it ends in order: $(tail -n 1 "$T/old.out")" || not_ok "it ends in order" "$(tail -n 3 "$T/old.err")"
stop "$young" || not_ok "the last young one too"
note "$sent messages in $((SECONDS - began)) s: $((sent / SOAK_SECONDS)) a second were sent"
done_testing
