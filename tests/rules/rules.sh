# The tree keeps the rules of CONTRIBUTING.md, and the checker finds every kind of breach in a tree made up to break them.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
checker=$TOP_SRCDIR/tests/rules/check.sh

out=$(bash "$checker" "$TOP_SRCDIR")
for rule in rooms clients calls comments length banner words paths fragments; do
    is "$(printf '%s\n' "$out" | grep -E "^[^ ]+: $rule: ")" "" "the tree keeps its rules: $rule"
done

# bad FILE RULE TEXT: a tree with one breach; the checker must name it, and nothing else
bad() {
    local file=$1 rule=$2 text=$3 tree=$T/bad
    rm -rf "$tree"
    mkdir -p "$tree/$(dirname "$file")"
    printf '%b' "$text" >"$tree/$file"
    case $file in docs/*) ;; *) printf 'x_SOURCES = %s\n' "$file" >"$tree/$(echo "$file" | cut -d/ -f1,2)/local.mk" ;; esac
    out=$(bash "$checker" "$tree")
    is "$?: $(printf '%s\n' "$out" | sed -E 's/^[^ ]+: ([a-z]+): .*/\1/' | sort -u)" "1: $rule" "found: $rule in $file"
}
good() {
    local tree=$T/good
    rm -rf "$tree"
    mkdir -p "$tree/$(dirname "$1")"
    printf '%b' "$2" >"$tree/$1"
    out=$(bash "$checker" "$tree")
    is "$?: $out" "0: " "allowed: $3"
}
top='/* A job. */\n'
bad src/store/a.c rooms "$top#include \"consumer/worker.h\"\n"
bad src/store/a.c rooms "$top#include \"source/source.h\"\n"
bad src/base/a.c rooms "$top#include \"message/message.h\"\n"
bad src/endpoint/a.c rooms "$top#include \"consumer/worker.h\"\n"
bad src/store/a.c rooms "$top#include \"../base/buf.h\"\n"
bad src/store/claim.c clients "$top#include <libpq-fe.h>\n"
bad src/store/mysql/a.c clients "$top#include \"store/postgres/impl.h\"\n"
bad src/consumer/a.c clients "$top#include \"xonce/sqlite.h\"\n"
bad src/proto/a.c clients "$top#include <jansson.h>\n"
bad src/store/a.c clients "$top#include <curl/curl.h>\n"
bad src/base/a.c calls "${top}void f(char *a)\n{\n    strcpy(a, \"x\");\n}\n"
bad src/store/a.c calls "${top}void f(void)\n{\n    printf(\"x\");\n}\n"
bad src/consumer/a.c calls "${top}void f(void)\n{\n    exit (1);\n}\n"
bad src/cli/a.c calls "${top}int f(char *a)\n{\n    return atoi(a);\n}\n"
bad src/base/a.c comments "${top}int a; // why\n"
bad src/base/a.c length "${top}int f(void)\n{\n$(printf '    ;\\n%.0s' $(seq 80))}\n"
bad src/base/a.c length "$top$(printf 'int a%s;\\n' $(seq 801))"
bad src/base/a.c banner "int a;\n"
bad src/base/a.c words "${top}/* TO""DO later */\n"
bad docs/a.md words "FIX""ME\n"
bad docs/a.md paths "see /hom""e/ada/xonce\n"
good src/store/postgres/x.c "$top#include <libpq-fe.h>\n#include \"base/buf.h\"\nint f(void); /* exit(1), http://x */\nconst char *s = \"// printf(\";\n" "client headers at home, words in comments and strings"
mkdir -p "$T/good/src/store/postgres"
printf 'x_SOURCES += src/store/postgres/x.c src/store/gone.c\n' >"$T/good/src/store/local.mk"
like "$(bash "$checker" "$T/good")" 'fragments: there is no src/store/gone.c' "found: a fragment that names a missing file"
printf 'x_SOURCES =\n' >"$T/good/src/store/local.mk"
like "$(bash "$checker" "$T/good")" 'fragments: src/store/postgres/x.c is missing' "found: a source that no fragment names"

# The published headers, alone and in use, as strict C99 and as C++11.
read -ra clients <<<"${CLIENT_CFLAGS:-}"
clients=("${clients[@]/#-I/-isystem}")
cat >"$T/use.c" <<'C'
#include <xonce/xonce.h>
xonce_status use(xonce_tx *tx);
xonce_status use(xonce_tx *tx)
{
    xonce_exec(tx, "DELETE FROM t");
#ifdef __cplusplus
    return xonce_exec(tx, "INSERT INTO t VALUES ($1, $2)", {xonce_text("a"), xonce_int(7)});
#else
    return xonce_exec(tx, "INSERT INTO t VALUES ($1, $2)", xonce_text("a"), xonce_int(7));
#endif
}
C
for header in xonce test postgres mysql sqlite; do
    case $header in postgres) have=${HAVE_POSTGRESQL:-} ;; mysql) have=${HAVE_MYSQL:-} ;; sqlite) have=${HAVE_SQLITE:-} ;; *) have=1 ;; esac
    [ -n "$have" ] || { skip "its engine is not built in" "$header.h"; continue; }
    printf '#include <xonce/%s.h>\nextern int xonce_nothing;\n' "$header" >"$T/$header.c"
    cp "$T/$header.c" "$T/$header.cc"
    check "$header.h is C99" ${CC:-cc} -std=c99 -pedantic -Wall -Wextra -Werror "-I$TOP_SRCDIR/include" "${clients[@]}" -fsyntax-only "$T/$header.c"
    check "$header.h is C++11" ${CXX:-c++} -std=c++11 -Wall -Wextra -Werror "-I$TOP_SRCDIR/include" "${clients[@]}" -fsyntax-only "$T/$header.cc"
done
cp "$T/use.c" "$T/use.cc"
check "xonce_exec is C99" ${CC:-cc} -std=c99 -pedantic -Wall -Wextra -Werror "-I$TOP_SRCDIR/include" -fsyntax-only "$T/use.c"
check "xonce_exec is C++11" ${CXX:-c++} -std=c++11 -Wall -Wextra -Werror "-I$TOP_SRCDIR/include" -fsyntax-only "$T/use.cc"

# The shared library shows what the headers publish, and needs no HTTP server.
so=$TOP_BUILDDIR/.libs/libxonce.so
if [ -e "$so" ]; then
    ${NM:-nm} -D --defined-only "$so" | awk '$2 ~ /^[TDBRVW]$/ { sub(/@.*/, "", $3); print $3 }' | sort >"$T/exported"
    is "$(grep -v '^xonce_' "$T/exported")" "" "nothing but xonce_ symbols is exported"
    for header in xonce ${HAVE_POSTGRESQL:+postgres} ${HAVE_MYSQL:+mysql} ${HAVE_SQLITE:+sqlite}; do
        cat "$TOP_SRCDIR/include/xonce/$header.h"
    done | sed -nE 's/^XONCE_API .*[ *](xonce_[a-z_0-9]+)\(.*/\1/p' | sort >"$T/published"
    is "$(comm -13 "$T/exported" "$T/published")" "" "every published function is there ($(wc -l <"$T/published"))"
    is "$(comm -23 "$T/exported" "$T/published")" "" "every exported function is published"
else
    skip "this build has no shared library" "exported symbols"
fi
so=$TOP_BUILDDIR/.libs/libxonce-test.so
if [ -e "$so" ]; then
    is "$(${NM:-nm} -D --defined-only "$so" | awk '$2 ~ /^[TDBRVW]$/ { sub(/@.*/, "", $3); print $3 }' | sort)" \
        "$(sed -nE 's/^XONCE_API .*[ *](xonce_[a-z_0-9]+)\(.*/\1/p' "$TOP_SRCDIR/include/xonce/test.h" | sort)" "libxonce-test exports what test.h publishes, and nothing else"
else
    skip "this build has no shared libxonce-test" "exported symbols of libxonce-test"
fi

is "$(find "$TOP_SRCDIR" -maxdepth 1 -name bootstrap -perm -u+x | wc -l)" 1 "bootstrap can be run"
done_testing
