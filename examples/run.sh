# Runs the examples, twice where that shows the point, and compares what they print. Those that need a server are skipped without its URI.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
cd "$T" || exit 1

# example NAME STATUS ARGS... : its output in $out; 1 when it was not built or was skipped (which is reported)
example() {
    local name=$1 program=$TOP_BUILDDIR/examples/$1
    shift
    [ -x "$program" ] || { skip "its engine is not built in" "$name"; return 1; }
    out=$("$program" "$@" 2>"$T/err")
    status=$?
    [ "$status" -eq 0 ] || out+=$(cat "$T/err")
    [ "$status" -ne 77 ] || { skip "${out#\# SKIP }" "$name"; return 1; }
}
# shows NAME FIRST SECOND: what its first run prints and what its second
shows() {
    example "$1" || return 0
    is "$status: $out" "0: $2" "$1, the first time"
    example "$1" || return 0
    is "$status: $out" "0: $3" "$1, everything delivered again"
}

shows 01-quickstart $'P-1: applied\nP-2: applied\nP-1: a duplicate, skipped\nP-3: applied\nP-2: a duplicate, skipped' \
    $'P-1: a duplicate, skipped\nP-2: a duplicate, skipped\nP-1: a duplicate, skipped\nP-3: a duplicate, skipped\nP-2: a duplicate, skipped'
shows 02-libpq $'L-1: applied\nL-2: applied\nL-1: duplicate\nL-3: rejected' $'L-1: duplicate\nL-2: duplicate\nL-1: duplicate\nL-3: duplicate'
shows 03-mysql $'O-1: applied\nO-2: applied\nO-1: duplicate\nO-3: applied' $'O-1: duplicate\nO-2: duplicate\nO-1: duplicate\nO-3: duplicate'
shows 04-sqlite $'T-1: applied\nT-2: applied\nT-1: duplicate\nT-3: applied' $'T-1: duplicate\nT-2: duplicate\nT-1: duplicate\nT-3: duplicate'
[ ! -e stock.db ] || is "$(sqlite stock.db "SELECT n FROM stock UNION ALL SELECT count(*) FROM back_orders")" $'0\n1' "04-sqlite: two in stock, one on back order"
shows 05-batch $'applied: 80\nduplicate: 19\nrejected: 1\nput off: 0' $'applied: 0\nduplicate: 100\nrejected: 0\nput off: 0'
ordered=$'A0: A0-1 A0-2 A0-3 A0-4\nA1: A1-1 A1-2 A1-3 A1-4\nA2: A2-1 A2-2 A2-3 A2-4\nacknowledged: 12'
shows 06-ordered "$ordered" "$ordered"
if example 07-own-loop 7; then
    is "$status: $out" "0: fresh 7, duplicate 0" "07-own-loop, killed after 7 records"
    example 07-own-loop
    is "$status: $out" "0: fresh 13, duplicate 2" "07-own-loop, replayed from the committed offset"
    is "$(sqlite clicks.db 'SELECT n FROM clicks')" 20 "07-own-loop: 20 clicks counted once each"
fi
joined=$'J-1: applied\nJ-2: applied\nJ-1: duplicate\nJ-2: duplicate\nJ-3: applied'
again=$'J-1: duplicate\nJ-2: duplicate\nJ-1: duplicate\nJ-2: duplicate\nJ-3: duplicate'
for name in 08-join 08-join-postgres 08-join-mysql; do shows "$name" "$joined" "$again"; done
sold=$'sold, and told\nnot sold, and not told'
shows 09-transaction "$sold" "$sold"
done_testing
