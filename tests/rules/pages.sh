#!/usr/bin/env bash
# The pages for browsers, without one: readable colours in both schemes, nothing from elsewhere, no text that could become markup, and the text compiled in.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
base=$TOP_SRCDIR/src/base

# ---- contrast, as WCAG 2 reckons it: 4.5 for text, 3 for lines and the focus ring
contrast() {
    awk -v scheme="$1" '
        function channel(hex, at, v) { v = (index("0123456789abcdef", substr(hex, at, 1)) - 1) * 16 + index("0123456789abcdef", substr(hex, at + 1, 1)) - 1; v /= 255
            return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ^ 2.4 }
        function light(name, hex) { hex = colour[name]; if (hex == "") { print "no --" name; bad = 1 }
            return 0.2126 * channel(hex, 2) + 0.7152 * channel(hex, 4) + 0.0722 * channel(hex, 6) }
        function pair(a, b, least, x, y, r) { x = light(a); y = light(b); r = x > y ? (x + 0.05) / (y + 0.05) : (y + 0.05) / (x + 0.05); n++
            if (r < least) { printf "%s on %s: %.2f, wanted %.1f\n", a, b, r, least; bad = 1 } }
        /prefers-color-scheme: dark/ { dark = 1 }
        /^\* / { exit }
        dark == (scheme == "dark") { line = tolower($0)
            while (match(line, /--[a-z-]+: #[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f];/)) {
                split(substr(line, RSTART + 2, RLENGTH - 3), part, ": "); colour[part[1]] = part[2]; line = substr(line, RSTART + RLENGTH) } }
        END { split("back raised", backs, " ")
            for (i = 1; i <= 2; i++) { split("text soft one two", fronts, " "); for (k = 1; k <= 4; k++) pair(fronts[k], backs[i], 4.5); pair("focus", backs[i], 3) }
            pair("good", "good-back", 4.5); pair("bad", "bad-back", 4.5)
            printf "%d pairs\n", n; exit bad }' "$base/page.css"
}
for scheme in light dark; do
    is "$(contrast $scheme)" "12 pairs" "colours of the $scheme scheme can be read"
done

# ---- each page as it is compiled in
for page in endpoint:xo_serve_page status:xo_status_page; do
    room=${page%:*} symbol=${page#*:}
    file=$TOP_SRCDIR/src/$room/page.html
    check "$room: the text is made" sh -c "sh '$base/page.sh' $symbol '$file' >'$T/$room.c'"
    printf '#include "%s.c"\n#include <stdio.h>\nint main(void) { return fputs(%s, stdout) < 0; }\n' "$room" "$symbol" >"$T/print-$room.c"
    # shellcheck disable=SC2086
    check "$room: it compiles" ${CC:-cc} -std=c11 -Wall -Werror -Wno-overlength-strings -o "$T/print-$room" "$T/print-$room.c"
    "$T/print-$room" >"$T/$room.html"
    is "$(awk -v d="$base/" '$0 == "/* page.css */" || $0 == "/* page.js */" { f = d $2; while ((getline l <f) > 0) print l; close(f); next } { print }' "$file" | cksum)" \
        "$(cksum <"$T/$room.html")" "$room: every byte of it"
    is "$(grep -c '<style>' "$T/$room.html") $(grep -c '<script' "$T/$room.html")" "1 1" "$room: one style, one script: the policy names their digests"
    is "$(grep -nE 'innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|@import|url\(' "$T/$room.html")" "" "$room: text never becomes markup or code"
    is "$(grep -nE ' (src|style|on[a-z]+)="' "$T/$room.html")" "" "$room: nothing that the policy would stop"
    is "$(grep -noE 'https?://[^'\'' ]*' "$T/$room.html" | grep -v 'http://www.w3.org/2000/svg')" "" "$room: nothing from elsewhere"
    is "$(grep -c 'name="viewport" content="width=device-width, initial-scale=1"' "$T/$room.html")" 1 "$room: made for phones too"
done
done_testing
