# The library's manual comes from the headers: every published name has a page, nothing that a header says is lost on the way, and the troff is sound.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
cd "$TOP_SRCDIR/include" || exit 1
headers=(xonce/xonce.h xonce/postgres.h xonce/mysql.h xonce/sqlite.h xonce/test.h)
is "$(ls xonce/*.h | sort)" "$(printf '%s\n' "${headers[@]}" | sort)" "this test knows every header"
mkdir -p "$T/man/man3"
made() { LC_ALL=C awk -v dir="$T/man/man3" -f "$TOP_SRCDIR/docs/manpages.awk" "$@"; }
check "the pages are made" made "${headers[@]}"
pages=$(cd "$T/man/man3" && grep -L '^\.so' ./*.3 | sed 's|^\./||')
note_missing() { while read -r name; do [ -s "$T/man/man3/$name.3" ] || echo "$name"; done; }

# ---- names
sed -n 's/^ \(xonce_[a-z_0-9]*\)@.*/\1/p' "$TOP_SRCDIR/debian/libxonce1.symbols" >"$T/functions"
sed -nE 's/^XONCE_API .*[ *](xonce_[a-z_0-9]+)\(.*/\1/p; s/^static inline xonce_value (xonce_[a-z_0-9]+)\(.*/\1/p' "${headers[@]}" >>"$T/functions"
echo xonce_exec >>"$T/functions"
library=$TOP_BUILDDIR/.libs/libxonce.so
if [ -e "$library" ] && command -v nm >/dev/null 2>&1; then nm -D --defined-only "$library" | sed -n 's/.* T \(xonce_[a-z_0-9]*\).*/\1/p' >>"$T/functions"; fi
is "$(($(wc -l <"$T/functions") > 200))" 1 "there are names to look for"
is "$(note_missing <"$T/functions")" "" "every function has a page of its name"
is "$(sed -nE 's/^\} (xonce_[a-z_]+);.*/\1/p; s/^typedef .*\(\*(xonce_[a-z_]+)\)\(.*/\1/p; s/^typedef struct [a-z_]+ ([a-z_]+);.*/\1/p' "${headers[@]}" | note_missing)" "" "and every type"
is "$(cat "$T"/man/man3/*.3 | sed -n 's|^\.so man3/\(.*\)\.3$|\1|p' | sort -u | note_missing)" "" "pages that send elsewhere send to one that is there"
describes() {
    cd "$T/man/man3" && awk '
        FILENAME == "-" { asked[$0] = 1; next }
        /^\.so / { sends[substr(FILENAME, 1, length(FILENAME) - 2)] = substr($2, 6) }
        /^\.SS / { sub(/^\.SS /, ""); n = split($0, heading, ", "); for (i = 1; i <= n; i++) told[FILENAME, heading[i]] = 1 }
        END { for (name in asked) if (!((name in sends ? sends[name] : name ".3", name "()") in told)) print name }' - *.3
}
sort -u "$T/functions" | (describes || echo "awk failed") >"$T/undescribed"
is "$(cat "$T/undescribed")" "" "and that page has a section about it"
# shellcheck disable=SC2086
is "$(cd "$T/man/man3" && awk '/^\.S[SH] / { if (about && !said) print FILENAME ": " about; about = said = 0; if (/^\.SS/ && !/^\.SS xonce[a-z_.]*\(3\)/) about = $0; next } !/^\./ { said = 1 }' $pages)" "" \
    "that says something"
if command -v man >/dev/null 2>&1; then
    # shellcheck disable=SC2046
    is "$(man -M "$T/man" -w $(sort -u "$T/functions") 2>&1 | grep -cF "$T/man/man3/")" "$(sort -u "$T/functions" | wc -l)" "man finds each"
else
    skip "man is not installed (package man-db)" "man finds each"
fi
is "$(printf '%s\n' $pages | sed 's/\.3$//' | sort)" "$(sed -n 's/^\.BR \(xonce[a-z_.]*\) (3)[,.]*$/\1/p' "$TOP_SRCDIR/docs/man/libxonce.3" | sort -u)" "libxonce(3) names every page, and no other"

# ---- words: what a comment says stands in some page without a gap, letters and digits compared
squeezed() { tr -cd 'A-Za-z0-9\n'; }
for header in "${headers[@]}"; do
    awk '{ all = all $0 " " } END {
        while ((at = index(all, "/*")) > 0) {
            all = substr(all, at + 2); end = index(all, "*/"); said = substr(all, 1, end - 1); all = substr(all, end + 2)
            sub(/^ *---- [a-z_.]+\([0-9]\): /, "", said)
            if (said !~ /^ *-+$/) print said
        }
    }' "$header"
done | squeezed >"$T/comments"
is "$(($(wc -l <"$T/comments") > 250))" 1 "there are comments to look for"
if command -v groff >/dev/null 2>&1; then
    # one paragraph after the other, so that only the breaks of lines come in between
    for page in $pages; do
        groff -man -Tascii -rHY=0 -rcR=1 -P-c -P-b -P-u -P-o "$T/man/man3/$page" 2>/dev/null | tr -d '\n' | squeezed
        echo
    done >"$T/text"
    awk 'NR == FNR { text[++n] = $0; next } { for (i = 1; i <= n; i++) if (index(text[i], $0)) next; print }' "$T/text" "$T/comments" >"$T/lost"
    is "$(cat "$T/lost")" "" "nothing that the headers say is lost"
    is "$(cd "$T/man" && for page in $pages; do groff -man -ww -Tutf8 -z "man3/$page" 2>&1; done)" "" "groff has no warning"
else
    skip "groff is not installed (package groff-base)" "nothing is lost"
fi
if command -v mandoc >/dev/null 2>&1; then
    # pages without a date, so that they are the same whenever they are made
    is "$(cd "$T/man" && for page in $pages; do mandoc -T lint "man3/$page"; done 2>&1 | grep -v 'missing date')" "" "mandoc has no warning"
else
    skip "mandoc is not installed (package mandoc)" "mandoc has no warning"
fi

# ---- what would get lost is refused
refused() { printf '%s\n' "$2" >"$T/bad.h"; exits 1 "$1" awk -v dir="$T" -f "$TOP_SRCDIR/docs/manpages.awk" "$T/bad.h"; }
refused "a comment that ends on another line behind code is refused" "/* ---- xonce_x(3): x ---- */
XONCE_API int xonce_x(void); /* one
   two */"
refused "a declaration without an end is refused" "/* ---- xonce_x(3): x ---- */
XONCE_API int xonce_x(int a,"
refused "a comment without an end is refused" "/* ---- xonce_x(3): x ---- */
/* one"
done_testing
