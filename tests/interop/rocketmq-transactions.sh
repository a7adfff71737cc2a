#!/usr/bin/env bash
# Transactional messages from the library's producer through a real broker: commit, rollback, unknown and then decided by the check, and a producer that is killed between the half message and
# its commit. What arrives is what the ledger, the producer's local transaction, says; each once.
. "$(dirname "$0")/rmqlib.sh"
rocketmq_need
rocketmq_begin
rocketmq_topic pay 4 || bail "no topic"
shop pay sqlite
program=$TOP_BUILDDIR/tests/interop/transactions
[ -x "$program" ] || bail "there is no $program"
transactions() { timeout 120 "$program" "$FROM" pay GID_payer "$T/ledger" "$@" </dev/null; }
consumer a pay pay GID_pay
a=$STARTED

check "40 payments in transactions" transactions send 1 40
committed() { awk '$3 == "commit" { print "p" $1 }' "$T/ledger" | sort; }
is "$(wc -l <"$T/ledger")" 40 "each local transaction was run once"
# who sent them is gone: a check goes to any member of the group
mkfifo "$T/checker.in"
start checker bash -c 'exec "$@" <"$0"' "$T/checker.in" "$program" "$FROM" pay GID_payer "$T/ledger" check
checker=$STARTED
exec {CHECKER_FD}>"$T/checker.in"
same_as_ledger() { [ "$(judge pay 'SELECT id FROM payments' | sort)" = "$(committed)" ]; }
checks() { grep -c "^check .* $1\$" "$T/checker.out"; }
wait_for 120 same_as_ledger || note "slow: $(rows pay) rows"
is "$(judge pay 'SELECT id FROM payments' | sort)" "$(committed)" "committed, or unknown and then committed by the check: there, once; rolled back: not"
# half of the unknown ones were committed, the others not
wait_for 90 eval '[ "$(checks rollback)" -ge 10 ]' || note "only $(checks rollback) rolled back by checks"
check "the undecided ones were asked for: $(checks commit) commits, $(checks rollback) rollbacks" [ "$(checks commit)" -ge 10 ]

# killed between half message and commit: once before its local transaction, once after
transactions die-before 101 >"$T/die" 2>&1
is "$?" 137 "a producer is killed before its local transaction"
transactions die-after 102 >"$T/die" 2>&1
is "$?" 137 "and another one after it"
check "the ledger has the second only" eval '! grep -q "^101 " "$T/ledger" && grep -q "^102 .* commit$" "$T/ledger"'
wait_for 120 same_as_ledger || note "slow"
wait_for 120 grep -q '^check 101 rollback$' "$T/checker.out"
is "$(judge pay 'SELECT id FROM payments' | sort)" "$(committed)" "the check decides: the second arrives, the first does not"
like "$(cat "$T/checker.out")" 'check 101 rollback' "the check has rolled back the first"
like "$(cat "$T/checker.out")" 'check 102 commit' "and committed the second"

# the broker is killed while half messages are open
transactions die-after 201 >"$T/die" 2>&1
rocketmq_kill broker-a
rocketmq_start broker-a || bail "the broker does not come back"
wait_for 180 same_as_ledger || note "slow: $(tail -n 3 "$T/checker.err")"
is "$(judge pay 'SELECT id FROM payments' | sort)" "$(committed)" "after a crash of the broker too"
echo >&"$CHECKER_FD"
check "the checker ends in order" wait_for 90 gone "$checker"
tap_pause 3 # what would be applied twice has this long to come
is "$(judge pay 'SELECT COUNT(*) = COUNT(DISTINCT id) FROM payments')" 1 "nothing was applied twice"
stop "$a" || not_ok "it ends in order" "$(tail -n 3 "$T/a.err")"
done_testing
