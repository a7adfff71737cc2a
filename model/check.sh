#!/usr/bin/env bash
# Checks the models of this folder exhaustively: what is sound must pass, and with any one guard taken away the checker must find the failure. Two runs at a time, up to 1.9 GB each.
#   check.sh [WORD]     only the runs whose name holds WORD; with XONCE_LONG=1 also the larger ones; MODEL_JOBS: runs at a time
here=$(cd "$(dirname "$0")" && pwd)
TOP_SRCDIR=${TOP_SRCDIR:-$(dirname "$here")}
. "$TOP_SRCDIR/tests/lib/tap.sh"

command -v spin >/dev/null || skip_all "the models need the model checker: the program spin (Debian package spin) is not installed"
CC=${CC:-cc}
command -v "${CC%% *}" >/dev/null || skip_all "the models need a C compiler: $CC is not there"
only=${1:-}
runs=()
# sound NAME FILE SWITCHES...: passes; refuted NAME FILE SWITCHES...: an assertion fails
add() { [[ $2 == *"$only"* ]] && runs+=("$1|$2|${*:3}"); :; }
sound() { add sound "$@"; }
refuted() { add refuted "$@"; }

sound 'record mode: two messages, history change, send-back, crash' record -DN=2 -DCUTS=1 -DBACKS=1 -DCRASHES=1
sound 'record mode: nothing happens' record
sound 'record mode: all events, one message' record -DN=1 -DCUTS=1 -DMOVES=1 -DCRASHES=1 -DBACKS=1
sound 'record mode: all events, one message, topic made again' record -DN=1 -DCUTS=1 -DKIND=1 -DMOVES=1 -DCRASHES=1 -DBACKS=1
sound 'record mode: all events, one member' record -DMEMBERS=1 -DCUTS=1 -DMOVES=1 -DCRASHES=1 -DBACKS=1
sound 'record mode: all events but a history change' record -DCRASHES=1 -DMOVES=1 -DBACKS=1
sound 'record mode: two messages, all events but a send-back' record -DN=2 -DCRASHES=1 -DMOVES=1 -DCUTS=1
sound 'record mode: two messages, all events but a send-back, topic made again' record -DN=2 -DCRASHES=1 -DMOVES=1 -DCUTS=1 -DKIND=1
sound 'record mode: two messages, two send-backs' record -DN=2 -DMOVES=1 -DBACKS=2
sound 'record mode: history change' record -DCUTS=1
sound 'record mode: topic made again within a millisecond' record -DCUTS=1 -DKIND=1
sound 'ordered mode: two messages, all events' record -DORDERED -DN=2 -DCUTS=1 -DCRASHES=1 -DMOVES=1
sound 'ordered mode: two messages, all events, topic made again' record -DORDERED -DN=2 -DCUTS=1 -DKIND=1 -DCRASHES=1 -DMOVES=1
sound 'ordered mode: crash, take-overs or resets' record -DORDERED -DCRASHES=1 -DMOVES=2
sound 'ordered mode: history change' record -DORDERED -DCUTS=1
sound 'offset mode: all events' offset -DCUTS=1 -DCRASHES=1 -DMOVES=1 -DLOST=1
sound 'offset mode: all events, topic made again' offset -DCUTS=1 -DKIND=1 -DCRASHES=1 -DMOVES=1 -DLOST=1
sound 'offset mode: four messages, crash, two take-overs, lost answer' offset -DN=4 -DCRASHES=1 -DMOVES=2 -DLOST=1
sound 'from records to offsets: an old member that does not know it, a send-back, a crash' switch -DMORE=1
if [ -n "${XONCE_LONG:-}" ]; then
    sound 'from records to offsets: two later messages' switch -DMORE=2
    sound 'record mode: two messages, history change, take-over, nothing known from memory' record -DN=2 -DCUTS=1 -DMOVES=1 -DFORGETFUL
    sound 'record mode: history change, crash' record -DCUTS=1 -DCRASHES=1
    sound 'ordered mode: history change, crash' record -DORDERED -DCUTS=1 -DCRASHES=1
fi

refuted 'the claim is not asked' record -DNO_CLAIM
refuted 'the row is written after the effects, not with them' record -DROW_LATER -DCRASHES=1
refuted 'settled before COMMIT' record -DSETTLED_EARLY -DCRASHES=1
refuted 'the range is read before the claim' record -DRANGE_FIRST -DMOVES=1
refuted 'no range is asked' record -DNO_RANGE -DMOVES=1
refuted 'a row goes that no range covers' record -DPRUNE_UNCOVERED
refuted 'rows go while retry copies are outstanding' record -DPRUNE_EARLY -DBACKS=1
refuted 'the row of a retry copy has the copy'\''s coordinates' record -DCOPY_ROW -DBACKS=1 -DMOVES=1
refuted 'a retry copy is judged by the range of its original' record -DCOPY_BY_ORIGINAL -DBACKS=1
refuted 'a retry copy is judged by no range' record -DCOPY_UNASKED -DBACKS=1
refuted 'the broker is told before the database' record -DBROKER_FIRST -DBACKS=1 -DCRASHES=1
refuted 'the broker'\''s offset is believed' record -DTRUST_BROKER
refuted 'a position passes over what is not settled' record -DGAPS -DCRASHES=1
refuted 'no look-back after a change of the history' record -DNO_LOOK_BACK -DCUTS=1
refuted 'what was handed out before the change is settled' record -DOLD_MARK -DCUTS=1
refuted 'the old row is cut off, no generation begun' record -DTRUNCATE -DCUTS=1
refuted 'the maxima rise alone, not with the end' record -DRAISED_ALONE -DCUTS=1
refuted 'a range covers without the store time' record -DNO_TIME -DCUTS=1
refuted 'a range covers without the place in the log' record -DNO_PLACE -DCUTS=1 -DKIND=1
refuted 'ordered: a later message passes an earlier one' record -DORDERED -DOVERTAKE
refuted 'ordered: a message is sent back' record -DORDERED -DSEND_BACK -DBACKS=1
refuted 'offset mode: the range is advanced without a condition' offset -DNO_FENCE
refuted 'offset mode: not fenced by the epoch' offset -DNO_EPOCH
refuted 'offset mode: not fenced by the expected offset' offset -DNO_EXPECTED -DLOST=1
refuted 'offset mode: a change of the history keeps the epoch' offset -DSAME_EPOCH -DCUTS=1
refuted 'offset mode: the range is advanced before the effects' offset -DADVANCE_FIRST -DCRASHES=1
refuted 'offset mode: the range is advanced after the effects' offset -DADVANCE_LATER -DCRASHES=1
refuted 'offset mode: the broker'\''s offset is believed' offset -DTRUST_BROKER
refuted 'offset mode: no look-back after a change of the history' offset -DNO_LOOK_BACK -DCUTS=1
refuted 'offset mode: a range covers without the store time' offset -DNO_TIME -DCUTS=1
refuted 'offset mode: a range covers without the place in the log' offset -DNO_PLACE -DCUTS=1 -DKIND=1
refuted 'from records to offsets: the old kind does not look for the mark' switch -DMORE=1 -DNO_MARK
refuted 'from records to offsets: the end is asked before the take-over' switch -DMORE=1 -DEND_FIRST
refuted 'from records to offsets: no records below the end' switch -DMORE=1 -DNO_RECORDS
refuted 'from records to offsets: after a crash the end is forgotten' switch -DMORE=1 -DFORGETS
# what is not promised must be seen too
refuted 'limit: other messages at the same offsets, in the same millisecond and at the same places' record -DCUTS=1 -DKIND=2
refuted 'limit: a member sleeps between rollback and send-back until the row was pruned' record -DSLOW_SENDER -DBACKS=1
refuted 'limit, offset mode: as the first of these' offset -DCUTS=1 -DKIND=2

# run_one NUMBER: writes $T/NUMBER.result
run_one() {
    local kind name model switches dir=$T/$1
    IFS='|' read -r kind name switches <<<"${runs[$1]}"
    model=${switches%% *}
    [[ $switches == *" "* ]] && switches=${switches#* } || switches=
    mkdir "$dir" && cd "$dir" || return
    {
        # shellcheck disable=SC2086
        spin -a $switches "$here/$model.pml" >spin.out 2>&1 &&
            $CC -O2 -w -DSAFETY -DNOREDUCE -DCOLLAPSE -DVECTORSZ=512 -DMEMLIM=1900 -o pan pan.c >cc.out 2>&1 &&
            timeout "${MODEL_SECONDS:-280}" ./pan -E -n -w22 -m20000 >pan.out 2>&1
        tail -n 3 spin.out cc.out >trouble 2>&1
    }
    rm -f pan pan.? pan.b
}
verdict() {
    local kind name dir=$T/$1 figures
    IFS='|' read -r kind name _ <<<"${runs[$1]}"
    figures=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1 states/p; s/^pan: elapsed time \([0-9.]*\) seconds/\1 s/p; s/.*\(errors: [0-9]*\)/\1/p' "$dir/pan.out" 2>/dev/null | paste -sd, | sed 's/,/, /g')
    if ! grep -q 'errors:' "$dir/pan.out" 2>/dev/null; then
        not_ok "$name" "no result: out of time, or: $(cat "$dir/trouble" "$dir/pan.out" 2>&1 | tail -n 12)"
    elif grep -qE 'too small|reached -DMEMLIM|truncated|out of memory' "$dir/pan.out"; then
        not_ok "$name" "not exhaustive: $(grep -E 'too small|reached|truncated|memory' "$dir/pan.out")"
    elif [ "$kind" = sound ]; then
        if grep -q 'errors: 0' "$dir/pan.out"; then ok "holds: $name ($figures)"; else not_ok "holds: $name" "$(grep violated "$dir/pan.out")"; fi
    elif grep -q 'assertion violated' "$dir/pan.out"; then
        ok "refuted: $name ($figures)"
    else
        not_ok "refuted: $name" "the checker found nothing ($figures)"
    fi
}

begin=$SECONDS
[ ${#runs[@]} -gt 0 ] || bail "no run has a name that holds \"$only\""
export -f run_one
at_once=${MODEL_JOBS:-2}
for ((i = 0; i < ${#runs[@]}; i++)); do
    while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do wait -n; done
    (trap - EXIT INT TERM HUP; run_one "$i") &
done
wait
for ((i = 0; i < ${#runs[@]}; i++)); do verdict "$i"; done
note "${#runs[@]} runs in $((SECONDS - begin)) s"
done_testing
