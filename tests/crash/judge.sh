#!/usr/bin/env bash
# The judge can fail: the same crashes without the claim book payments twice.
. "$(dirname "$0")/crashlib.sh"
MESSAGES=2000 RANDOM_KILLS=4
AMOUNTS=$((MESSAGES * (MESSAGES + 1) / 2))
use_engine sqlite
start_endpoint --duplicate 10% --lose-ack 10%
kill_consumers --no-dedup
drain --no-dedup
got=$(count_all)
if [ "$got" = "$(balanced)" ]; then not_ok "without the claim the judge finds payments booked twice" "$got"; else ok "without the claim the judge finds payments booked twice: $got"; fi
is "$(judge 'SELECT COUNT(DISTINCT id) FROM payments')" "$MESSAGES" "and none lost"
done_testing
