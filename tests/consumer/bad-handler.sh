#!/usr/bin/env bash
# Programs that fail, hang, are killed or are not there, and stops in the middle of work, over SQLite.
. "${TOP_SRCDIR:?}/tests/consumer/badlib.sh"
make_store
start_endpoint serve
last() { tail -n 1 "$1"; }
records() { db "SELECT COUNT(*) FROM transaction_record WHERE consumer_group = '$1'"; }
# program NAME <<SCRIPT
program() { { echo '#!/bin/sh'; cat; } >"$1" && chmod +x "$1"; }

# ---- programs: each gets a group of its own, all at once ----
feed work 3
head -c 1000000 /dev/zero | tr '\0' y | send large >out 2>&1
program done <<<'cat >/dev/null'
program reject <<<'echo "first line" >&2; echo "the reason" >&2; exit 65'
program again <<<'[ "$XONCE_ATTEMPT" -gt 1 ] || { echo "not yet" >&2; exit 1; }'
program killed <<<'[ "$XONCE_ATTEMPT" -gt 1 ] || kill -KILL $$'
program hangs <<<'[ "$XONCE_ATTEMPT" -gt 1 ] || exec sleep 100'
program deaf <<<'[ "$XONCE_ATTEMPT" -gt 1 ] || { trap "" TERM; sleep 100 & wait; sleep 100; }' # SIGKILL follows 5 s later
program never <<<'echo "no luck" >&2; exit 3'
program ignores <<<'exit 0' # a body of 1 MB that nobody reads
echo 'no program' >broken
cp broken plain
chmod +x broken
n='[0-9]+' # depends on when the second delivery comes
declare -A counts=([done]='3 fresh, 0 duplicate, 0 rejected, 0 retried' [reject]='0 fresh, 0 duplicate, 3 rejected, 0 retried' [again]="3 fresh, $n duplicate, 0 rejected, $n retried"
    [killed]="3 fresh, $n duplicate, 0 rejected, $n retried" [hangs]="3 fresh, $n duplicate, 0 rejected, $n retried" [deaf]="1 fresh, $n duplicate, 0 rejected, $n retried"
    [never]="0 fresh, $n duplicate, 3 rejected, $n retried" [ignores]='1 fresh, 0 duplicate, 0 rejected, 0 retried')
cp shop.db empty.db
for p in "${!counts[@]}"; do
    cp empty.db "$p.db"
    topic=work
    [[ $p != ignores && $p != deaf ]] || topic=large # one message
    (INTO=sqlite:$T/$p.db IDLE=3s consume "$topic" "GID_$p" --exec "./$p" --exec-timeout 500ms --attempts 2 >"$p.out" 2>"$p.err" </dev/null; echo $? >"$p.status") &
done
wait
for p in "${!counts[@]}"; do
    is "$(cat "$p.status")" 0 "--exec, $p: it goes on"
    like "$(last "$p.out")" "^consumed ${counts[$p]}\$" "--exec, $p: what became of the messages"
done
reason() { "$x" rejected --store "sqlite:$T/$1.db" --group "GID_$1" --json | grep -o '"reason":"[^"]*"' | sort -u; }
is "$(reason reject)" '"reason":"the reason"' "the last line of stderr is the reason"
is "$(reason never)" '"reason":"delivery 2 of at most 2 failed: exit 3: no luck"' "or the exit status and that line"
refused 1 'broken cannot be run: Exec format error' "a program that the system cannot run stops it" consume work GID_broken --exec ./broken --attempts 1
IDLE=2500ms consume work GID_broken --exec ./done >out 2>&1
is "$(last out)" "consumed 3 fresh, 0 duplicate, 0 rejected, 0 retried" "and nothing is lost"
refused 2 'plain" is no program that can be run' "a program that may not be run" consume work GID_bad --exec ./plain
refused 2 'nowhere" is no program that can be run' "a program that is not there" consume work GID_bad --exec ./nowhere
refused 2 'is no program that can be run' "a folder" consume work GID_bad --exec "$T"
refused 2 'longer than handler.timeout' "--exec-timeout beyond handler.timeout" consume work GID_bad --exec ./done --exec-timeout 2h --config <(echo handler.timeout = 1h)

# ---- SIGTERM in the middle ----
program slow <<<'sleep 0.2'
feed stop 40
for within in 10s 0; do
    start "stop$within" "$x" consume --from "$SERVE_URL" "${endpoint[@]}" --topic stop --group GID_stop --store "$STORE" --exec ./slow --workers 2 --stop-within "$within"
    before=$(records GID_stop)
    wait_for 20 eval "[ \"\$(records GID_stop)\" -ge $((before + 4)) ]"
    began=$SECONDS
    stop "$STARTED" TERM 20 && [ $((SECONDS - began)) -le 3 ] && ok "SIGTERM with --stop-within $within stops it in time" || not_ok "SIGTERM with --stop-within $within stops it in time" "$(cat "stop$within.err")"
    like "$(last "stop$within.out")" '^consumed [0-9]+ fresh, ' "it still counts"
done
like "$(cat stop0.err)" 'their messages come again' "what was cut off is told"
start killed "$x" consume --from "$SERVE_URL" "${endpoint[@]}" --topic stop --group GID_stop --store "$STORE" --sql "$GOOD" --workers 2
stop "$STARTED" KILL
IDLE=2500ms consume stop GID_stop --sql "$GOOD" >good.out 2>good.err
is "$(records GID_stop) records, $(db "SELECT COUNT(DISTINCT message_id) FROM transaction_record WHERE consumer_group = 'GID_stop'") messages" "40 records, 40 messages" "nothing is lost"
done_testing
