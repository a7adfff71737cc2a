#!/usr/bin/env bash
# The Chinese pages show the same commands, files and names as the English ones: what stands in blocks and between `...` is equal, but for comments.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"

# blocks PAGE: the lines of fenced and indented blocks, without comments and blank lines
blocks() {
    awk '
        /^ *```/ { inside = !inside; next }
        inside || (/^    / && !/^ *[*|0-9-]/) {
            sub(/^ +/, ""); gsub(/\/\*[^*]*\*\//, "")
            if (/^#/ && !/^#include/) next
            sub(/ +# .*$/, ""); sub(/ +$/, "")
            if ($0 != "") print
        }' "$1"
}
# names PAGE: what stands between single backquotes outside of fenced blocks
names() { awk '/^ *```/ { inside = !inside; next } !inside && !/^    [^ ]/' "$1" | grep -oE '`[^`]+`' | sort -u; }
links() { grep -oE '\]\([^)]*\)' "$1" | sed 's/\.zh-CN\.md/.md/' | sort -u; }

for page in README docs/migrating-from-java; do
    en=$TOP_SRCDIR/$page.md zh=$TOP_SRCDIR/$page.zh-CN.md
    blocks "$en" >"$T/en" && blocks "$zh" >"$T/zh"
    [ -s "$T/en" ] && ok "$page shows commands" || not_ok "$page shows commands"
    is "$(diff "$T/en" "$T/zh")" "" "$page: the blocks are the same in both languages"
    is "$(diff <(names "$en") <(names "$zh"))" "" "$page: so are the names"
    is "$(grep -c '^#' "$zh")" "$(grep -c '^#' "$en")" "$page: and as many headings"
    is "$(grep -cE '^\| ' "$zh")" "$(grep -cE '^\| ' "$en")" "$page: and as many lines of tables"
    is "$(diff <(links "$en" | grep -v '(\(README\|migrating-from-java\|docs/migrating-from-java\)\.md)') <(links "$zh" | grep -v '(\(README\|migrating-from-java\|docs/migrating-from-java\)\.md)'))" "" "$page: and the same links"
    while read -r target; do
        [ -e "$(dirname "$zh")/$target" ] || not_ok "$page: $target is there"
    done < <(grep -oE '\]\([^)#:]+' "$zh" | sed 's/^](//')
done
done_testing
