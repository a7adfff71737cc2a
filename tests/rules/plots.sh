# bench/plot: sound drawings and tables of measurements, clear errors; and docs/performance.md shows the measurements beside it.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
plot=$TOP_BUILDDIR/bench/plot
[ -x "$plot" ] || skip_all "bench/plot is not built"

speed() { # BENCH MODE BATCH PER_SECOND MORE
    printf '{"bench":"%s","engine":"postgresql","mode":"%s","handler":"queued","batch":%d,"connections":1,"duplicates":5,"bad":0,"rows":0%s,"rounds":3,"per_second":%s,"min":%s,"max":%s}\n' \
        "$1" "$2" "$3" "${5:-}" "$4" "$4" "$4"
}
{
    echo '{"bench":"machine","cpu":"a <b> | c","cores":2,"mysql":"8.4.0","fsync_us":200,"commit":""}'
    echo '{"bench":"machine","cpu":"a <b> | c","fsync_us":1300,"commit":"abc"}'
    speed batch bare 1 1000
    speed batch none 128 50000
    speed batch none 128 16000
    speed batch none 1 1500
    speed batch record 1 900
    speed batch record 128 12000
    for rtt in 0 500; do speed rtt bare 1 $((1000 - rtt)) ",\"rtt_us\":$rtt"; speed rtt record 128 20000 ",\"rtt_us\":$rtt"; done
    for n in 1 4 16; do speed connections record 32 10000 | sed "s/\"connections\":1/\"connections\":$n/"; done
    for n in 0 10000000; do speed rows record 128 10000 | sed "s/\"rows\":0/\"rows\":$n/"; done
    for n in 0 50; do speed duplicates record 128 1${n}00 | sed "s/\"duplicates\":5/\"duplicates\":$n/"; done
    speed bad record 128 10000
    speed bad record 128 8000 ',"bad_by":"verdict"' | sed 's/"bad":0/"bad":1/'
    echo '{"bench":"end-to-end","engine":"mysql","system":"xonce","per_second":20000,"client_cpu_us":9.5,"database_cpu_us":30,"broker_cpu_us":8,"rss_mb":20}'
    echo '{"bench":"end-to-end","engine":"mysql","system":"<Java & \"co\">\u0001","per_second":2000,"client_cpu_us":190}'
    echo '{"bench":"http","engine":"sqlite","system":"xonce","per_second":20000}'
    for load in 200 2000; do echo "{\"bench\":\"latency\",\"engine\":\"mysql\",\"system\":\"xonce\",\"load_per_second\":$load,\"p50_us\":1500,\"p99_us\":2500,\"p999_us\":9000}"; done
} >"$T/good.json"

printf '# Kept\n<!-- table batch postgresql -->\nold\n<!-- end -->\nkept too\n<!-- table machine -->\n<!-- end -->\n<!-- table bad -->\n<!-- end -->\n<!-- table rtt -->\n<!-- end -->\n<!-- table batch sqlite -->\nstays\n<!-- end -->\n' >"$T/figures.md"
cp "$T/figures.md" "$T/before.md"
exits 0 "drawings and tables are made" "$plot" "$T/good.json" --out "$T/figures"
like "$(cat "$T/err")" "nothing measured for the table batch sqlite: it stays as it is" "what was not measured is told"
is "$(cd "$T/figures" && echo *)" "batch-postgresql.svg connections.svg duplicates.svg end-to-end.svg http.svg latency.svg rows.svg rtt.svg" "one drawing for each question"
for svg in "$T"/figures/*.svg; do
    name=$(basename "$svg")
    if command -v xmllint >/dev/null 2>&1; then check "$name is well-formed" xmllint --noout "$svg"; else skip "xmllint is not installed" "$name is well-formed"; fi
    is "$(grep -ciE '<script|href|http://[^w]|https:|nan|inf[^o]' "$svg") $(grep -c '<title id' "$svg") $(grep -c 'prefers-color-scheme:dark' "$svg")" "0 1 1" "$name stands alone, has a title, and colours for dark readers"
done
like "$(cat "$T/figures/end-to-end.svg")" '&lt;Java &amp; &quot;co&quot;&gt; <' "names are escaped"
like "$(cat "$T/figures/end-to-end.svg")" '>MySQL<' "MySQL is not called MariaDB"
is "$(sed -n 's/^<line class="grid".* y1="\([0-9.]*\)".*/\1/p' "$T/figures/batch-postgresql.svg" | tr '\n' ' ')" "362.0 307.5 253.0 181.0 126.5 72.0 " "500 to 20k are spread over the height, by their logarithms"
is "$(sed -n 's/.*<line class="line s3 dash2 thin" .* y1="\([0-9.]*\)".*/\1/p' "$T/figures/batch-postgresql.svg")" \
    "$(awk '/class="grid"/ { y = $4 } />1k<\/text>/ { gsub(/[^0-9.]/, "", y); sub(/^1/, "", y); print y; exit }' "$T/figures/batch-postgresql.svg")" "1000 a second lies on the gridline of 1k"

is "$(sed -n '/table batch postgresql/,/end/p' "$T/figures.md")" '<!-- table batch postgresql -->

Bare inserts, each a transaction of its own: 1,000 a second.

| batch | no dedup | by record | × bare | × no dedup |
| ---: | ---: | ---: | ---: | ---: |
| 1 | 1,500 | 900 | 0.90 | 0.60 |
| 128 | 16,000 | 12,000 | 12.0 | 0.75 |

<!-- end -->' "a table has the figures, the later of two"
like "$(cat "$T/figures.md")" '\| 0 ms \| 1,000 \| 20,000 \| 20.0 \|.*\| 0.5 ms \| 500 \| 20,000 \| 40.0 \|' "bare inserts count at the same distance"
like "$(cat "$T/figures.md")" '1 %, refused by the handler \| 8,000 \| 0.80 \|' "bad messages are compared with none"
like "$(cat "$T/figures.md")" '\| cpu \| a &lt;b> \\\| c \|' "text from outside cannot break a table"
is "$(grep -cE '^\| (fsync_us \| 200, 1300|commit \| abc|cores \| 2) \|$' "$T/figures.md")" 3 "what several files say about the machine is one table"
is "$(grep -cE '^(# Kept|kept too|stays)$' "$T/figures.md")" 3 "all else in the document is kept"
cp -r "$T/figures" "$T/again" && cp "$T/figures.md" "$T/again.md"
"$plot" "$T/good.json" --out "$T/again" >/dev/null 2>&1
check "the same measurements make the same files" diff -r "$T/figures" "$T/again"
check "and the same document" cmp "$T/figures.md" "$T/again.md"

# refused NAME TEXT MESSAGE: measurements that are refused, and why
refused() {
    printf '%s\n' "$2" >"$T/bad.json"
    exits 1 "$1 is refused" "$plot" "$T/bad.json" --out "$T/none"
    like "$(cat "$T/err")" "$3" "$1: the message says why"
}
ok_line=$(speed batch record 1 900)
: >"$T/empty.json"
exits 1 "an empty file is refused" "$plot" "$T/empty.json" --out "$T/none"
like "$(cat "$T/err")" 'no measurement in these files' "an empty file: the message says why"
refused "a line that is no JSON" "$ok_line
{\"bench\":" 'bad.json:2: not JSON'
refused "a line that is no object" '[1]' 'bad.json:1: not an object with the text "bench"'
refused "a line without a figure" '{"bench":"batch","engine":"sqlite","mode":"record","batch":1}' 'bad.json:1: no number "per_second" above 0'
refused "a line without what it varies" '{"bench":"rows","engine":"sqlite","mode":"record","per_second":1}' 'bad.json:1: no number "rows"'
refused "an unknown engine" '{"bench":"batch","engine":"oracle","mode":"record","batch":1,"per_second":1}' '"engine" is none of'
refused "a latency without percentiles" '{"bench":"latency","engine":"mysql","system":"xonce","load_per_second":200,"p50_us":1}' 'no number "p99_us"'
refused "a figure below 0" '{"bench":"batch","engine":"sqlite","mode":"record","batch":1,"per_second":-1}' '"per_second" is below 0'
check "nothing was drawn of these" test ! -e "$T/none"
exits 1 "a file that is not there is refused" "$plot" "$T/no-such.json" --out "$T/none"
exits 2 "files without an order are refused" "$plot" "$T/good.json"
for broken in '<!-- table batch sqlite -->' '<!-- table nonsense -->
<!-- end -->'; do
    printf 'before\n%s\n' "$broken" >"$T/broken.md"
    cp "$T/broken.md" "$T/was.md"
    exits 1 "a document with a mark that is wrong is refused" "$plot" "$T/good.json" --tables "$T/broken.md"
    check "and left alone" cmp "$T/was.md" "$T/broken.md"
    check "with nothing beside it" test ! -e "$T/broken.md.part"
done

docs=$TOP_SRCDIR/docs
if ls "$docs"/performance/*.json >/dev/null 2>&1; then
    mkdir "$T/performance"
    cp "$docs/performance.md" "$T/performance.md"
    exits 0 "the measurements of docs/performance are read" "$plot" "$docs"/performance/*.json --out "$T/performance"
    check "docs/performance.md has their tables (make plots)" cmp "$docs/performance.md" "$T/performance.md"
    for svg in "$docs"/performance/*.svg; do check "$(basename "$svg") draws them (make plots)" cmp "$svg" "$T/performance/$(basename "$svg")"; done
    is "$(grep -oE '\(performance/[a-z-]*\.svg\)' "$docs/performance.md" | tr -d '()' | sort -u)" "$(cd "$docs" && ls performance/*.svg)" "docs/performance.md shows every drawing"
else
    skip "no measurements in docs/performance" "docs/performance.md has their tables"
fi
done_testing
