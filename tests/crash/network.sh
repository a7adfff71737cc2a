#!/usr/bin/env bash
# network.sh ENGINE: the network between consumer and database is cut, also between a COMMIT and its answer.
. "$(dirname "$0")/crashlib.sh"
use_engine "$1"
address=${STORE#*@}
address=${address%%/*}
start_proxy proxy "$address" || bail "proxy: $(cat "$T/proxy.err")"
STORE=${STORE/$address/127.0.0.1:$PROXY_PORT}
start_endpoint --lose-ack 5%
consumer a
a=$STARTED
feed 100
wait_for 60 has_applied 50 || bail "nothing is consumed: $(tail -n 3 "$T/a.err")"
for i in 1 2 3 4 5 6; do
    case $((i % 3)) in
        0) proxy_order proxy cut >/dev/null ;;
        1) proxy_order proxy lose-answer COMMIT >/dev/null ;;
        2) proxy_order proxy cut-at COMMIT >/dev/null ;;
    esac
    feed $((MESSAGES / 7))
    wait_for 120 has_applied $((MESSAGES * i / 7 - MESSAGES / 14)) || note "slow: $(applied) rows"
done
feed "$MESSAGES"
wait_for 120 has_applied $((MESSAGES * 9 / 10))
check "$ENGINE: the consumer lived through it" kill -0 "$a"
stop "$a"
note "$(proxy_order proxy counts)"
drain
is "$(count_all)" "$(balanced)" "$ENGINE: every payment once after six cuts"
done_testing
