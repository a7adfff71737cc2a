#!/usr/bin/env bash
# Sums the results of all TAP tests below the given folders (automake's .trs files). Names what failed and what was skipped; the last line is
# "N passed, N failed, N skipped". Fails when something failed or nothing passed.
set -u
find "$@" -name '*.trs' -exec awk '
    function log_name(f) { sub(/\.trs$/, ".log", f); return f }
    /^:test-result: / {
        kind = $2; sub(/:$/, "", kind)
        text = $0; sub(/^:test-result: [A-Z]+:? ?/, "", text)
        if (kind == "PASS" || kind == "XFAIL") passed++
        else if (kind == "SKIP") { skipped++; print "SKIP " FILENAME " " text }
        else { failed++; print "FAIL " log_name(FILENAME) " " text }
    }
    END { printf "sum %d %d %d\n", passed, failed, skipped }
' {} + | awk '
    $1 == "sum" { passed += $2; failed += $3; skipped += $4; next }
    { print }
    END {
        printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
        exit failed > 0 || passed == 0
    }'
