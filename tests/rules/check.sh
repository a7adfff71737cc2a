#!/usr/bin/env bash
# Looks a source tree over and prints one line "FILE:LINE: rule: what" for each breach: check.sh ROOT. Fails when there is one.
set -u
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:?usage: check.sh ROOT}" || exit 2
LC_ALL=C
export LC_ALL

# Everything that belongs to the project, one a line; what is generated is not.
files() {
    find . \( -name .git -o -path './build*' -o -path './_build' -o -path './_inst' -o -path './m4' -o -path './autom4te.cache' \) -prune -o -type f -print |
        grep -Ev '^\./(configure~?|aclocal\.m4|Makefile\.in|LICENSE|Makefile|config\.(status|log)|libtool|xonce-[^/]*\.tar\..*)$' | sort
}
sources() { files | grep -E "^\./($1)/.*\.[ch]\$"; }
all=$(mktemp) && code=$(mktemp) || exit 2
trap 'rm -f "$all" "$code"' EXIT
sources 'src|include|tests|examples|bench' | xargs -r awk -f "$here/strip.awk" >"$code"

{
# Includes go downward only; rooms on one line do not know each other.
awk '
    BEGIN {
        rank["base"] = 0; rank["message"] = 1; rank["proto"] = rank["remoting"] = 2; rank["store"] = rank["source"] = rank["producer"] = 3
        rank["consumer"] = rank["endpoint"] = 4; rank["status"] = 5; rank["cli"] = rank["testing"] = 6
    }
    match($0, /#[ \t]*include[ \t]*["<][^">]*/) && $0 ~ /^\.\/src\// {
        split($0, at, ":"); split(at[1], part, "/"); room = part[3]
        header = substr($0, RSTART, RLENGTH); sub(/^#[ \t]*include[ \t]*["<]/, "", header)
        where = at[1] ":" at[2] ": "
        n = split(header, h, "/"); target = h[1]
        if (!(room in rank)) { print where "rooms: " room " is no room"; next }
        if (n > 1 && target in rank && target != room && rank[target] >= rank[room]) print where "rooms: " room " must not include " header
        else if (n > 1 && (target == "tests" || target == "examples")) print where "rooms: " room " must not include " header
        else if (index(header, "..") > 0) print where "rooms: no relative paths: " header
    }' "$code"

# Client libraries stay where they belong.
awk '
    function only(name, where_allowed) { if (header == name && at[1] !~ where_allowed) print at[1] ":" at[2] ": clients: " name " has no place here" }
    match($0, /#[ \t]*include[ \t]*["<][^">]*/) && $0 ~ /^\.\/(src|include)\// {
        split($0, at, ":")
        header = substr($0, RSTART, RLENGTH); sub(/^#[ \t]*include[ \t]*["<]/, "", header)
        only("libpq-fe.h", "^./(src/store/postgres/.*|include/xonce/postgres.h)$")
        only("xonce/postgres.h", "^./src/store/postgres/.*$")
        only("mysql.h", "^./(src/store/mysql/.*|include/xonce/mysql.h)$")
        only("xonce/mysql.h", "^./src/store/mysql/.*$")
        only("sqlite3.h", "^./(src/store/sqlite/.*|src/endpoint/storage[^/]*|include/xonce/sqlite.h)$")
        only("xonce/sqlite.h", "^./src/store/sqlite/.*$")
        only("store/postgres/impl.h", "^./src/store/postgres/.*$")
        only("store/mysql/impl.h", "^./src/store/mysql/.*$")
        only("store/sqlite/impl.h", "^./src/store/sqlite/.*$")
        if (header ~ /^microhttpd/ && at[1] !~ /^\.\/src\/(endpoint|status)\//) print at[1] ":" at[2] ": clients: " header " has no place here"
        if (header ~ /^jansson/ && at[1] !~ /^\.\/src\/(remoting|source\/rocketmq|endpoint|status|cli)\//) print at[1] ":" at[2] ": clients: " header " has no place here"
        if (header ~ /^(curl|libxml|openssl)\// && at[1] !~ /^\.\/src\/(base|message|proto|remoting|endpoint|cli)\//) print at[1] ":" at[2] ": clients: " header " has no place here"
    }' "$code"

# Calls that library code must not make.
grep -E '^\./src/' "$code" | grep -vE '^\./src/cli/' |
    grep -E '(^|[^A-Za-z0-9_.>])(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atof|abort|exit|_exit|printf|vprintf|puts|putchar|perror|system|popen|alloca) *\(' |
    sed -E 's/^([^:]*:[0-9]*):(.*)$/\1: calls: \2/'
grep -E '^\./src/cli/' "$code" | grep -E '(^|[^A-Za-z0-9_.>])(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atof|system|popen|alloca) *\(' |
    sed -E 's/^([^:]*:[0-9]*):(.*)$/\1: calls: \2/'

# Comments are /* */.
grep -E '^[^:]*:[0-9]*:.*//' "$code" | sed -E 's|^([^:]*:[0-9]*):.*|\1: comments: // comments are not used here|'

# Files and functions stay readable. A function is what stands between { and } in the first column.
awk '
    { match($0, /^[^:]*:[0-9]*:/); split(substr($0, 1, RLENGTH), at, ":"); text = substr($0, RLENGTH + 1); lines[at[1]] = at[2] }
    text ~ /^\{/ { begin = at[2]; name = before }
    text ~ /^\}/ { if (begin && at[2] - begin > 70) print at[1] ":" begin ": length: a function of " (at[2] - begin) " lines: " name; begin = 0 }
    text ~ /[^ \t]/ { before = text }
    END { for (f in lines) if (lines[f] > 800) print f ":1: length: " lines[f] " lines" }' "$code"
sources 'examples' | xargs -r awk 'FNR == 100 { print FILENAME ":1: length: an example has fewer than 100 lines" }'

# A banner says the one job of each file.
sources 'src|include|tests|examples|bench' | xargs -r awk 'FNR == 1 && $0 !~ /^\/\* / { print FILENAME ":1: banner: the first line is a comment that says the file\047s job" }'

# Nothing is left open, nothing names one machine.
files | xargs -r -d '\n' grep -HnIwE 'TO[D]O|FIX[M]E|XX[X]|HAC[K]' | sed -E 's/^([^:]*:[0-9]*):(.*)$/\1: words: \2/'
files | xargs -r -d '\n' grep -HnIE '(^|[^A-Za-z0-9_.])/(wor[k]|roo[t]|hom[e])/[A-Za-z]' | sed -E 's/^([^:]*:[0-9]*):(.*)$/\1: paths: \2/'

# Each source stands in its room's fragment, and each name in a fragment exists.
for fragment in src/*/local.mk tests/*/local.mk tests/local.mk examples/local.mk bench/local.mk; do
    [ -f "$fragment" ] || continue
    room=$(dirname "$fragment")
    { files | grep -E "^\./$room/.*\.[ch]\$" | sed 's|^\./||'
      [ "$room" != tests ] || :; } | while read -r file; do
        [ "$room" = tests ] && [ "$(dirname "$file")" != tests/lib ] && continue
        grep -qE "(^|[^A-Za-z0-9_/.-])${file//./\\.}([^A-Za-z0-9_.]|\$)" "$fragment" || echo "$fragment:1: fragments: $file is missing"
    done
    sed 's/#.*//' "$fragment" | grep -oE "(^|[ \t=])(src|tests|examples|bench)/[A-Za-z0-9_/.-]+\.(cc|c|h|html|sh|py|json|awk)" | tr -d ' \t=' | sort -u | while read -r file; do
        [ -f "$file" ] || [ "$file" = src/store/schema_files.c ] || [ "${file##*/}" = page_html.c ] || echo "$fragment:1: fragments: there is no $file"
    done
done
} | sort -u >"$all"

cat "$all"
[ ! -s "$all" ]
