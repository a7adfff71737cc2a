#!/usr/bin/env bash
# database.sh ENGINE: the database server is killed and restarted three times under two consumers.
. "$(dirname "$0")/crashlib.sh"
use_engine "$1"
start_endpoint --duplicate 10% --lose-ack 10%
consumer a
a=$STARTED
consumer b
b=$STARTED
for i in 1 2 3; do
    feed $((MESSAGES / 4))
    wait_for 120 has_applied $((MESSAGES * i / 4 - MESSAGES / 8)) || note "slow: $(applied) rows"
    servers_kill "$ENGINE"
    servers_start "$ENGINE" || bail "$ENGINE does not come back"
done
feed "$MESSAGES"
wait_for 120 has_applied $((MESSAGES * 9 / 10)) || note "$(tail -n 3 "$T/a.err")"
check "$ENGINE: the consumers lived through it" kill -0 "$a" "$b"
stop "$a"
stop "$b"
drain
is "$(count_all)" "$(balanced)" "$ENGINE: every payment once after three database kills"
done_testing
