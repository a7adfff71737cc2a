#!/usr/bin/env bash
# kill.sh ENGINE: consumers die at every failpoint and at random moments, messages come twice, acks are lost: every payment is booked once.
. "$(dirname "$0")/crashlib.sh"
use_engine "$1"
start_endpoint --duplicate 10% --lose-ack 10%
kill_consumers
is "$POINTS" "$(wc -w <<<"$FAILPOINTS")" "$ENGINE: a consumer was killed at each failpoint"
drain
is "$(count_all)" "$(balanced)" "$ENGINE: every payment once after $KILLS kills"
is "$(judge "SELECT COUNT(*) FROM transaction_record")" "$MESSAGES" "$ENGINE: one record a message"
is "$(judge "SELECT COUNT(*) FROM xonce_rejected")" 0 "$ENGINE: nothing was rejected"
done_testing
