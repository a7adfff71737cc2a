#!/usr/bin/env bash
# Prints a manual page with what stands between '.\" options of COMMAND' and '.\" end of options', and '.\" example of COMMAND' and '.\" end of example', as `xonce COMMAND --help` has
# it: fill.sh XONCE PAGE
set -u
xonce=${1:?} page=${2:?}

# The options of a command as troff
options() {
    "$xonce" "$1" --help | awk '
        function esc(s) { gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); return s }
        function put() { if (name != "") printf ".TP\n.B %s\n%s\n", esc(name), text ~ /^[.\047]/ ? "\\&" esc(text) : esc(text); name = text = "" }
        /^options:$/ { on = 1; next }
        on && /^$/ { exit }
        on && /^  --/ {
            put()
            line = substr($0, 3)
            if (match(line, /  +/)) { name = substr(line, 1, RSTART - 1); text = substr(line, RSTART + RLENGTH) } else name = line
            next
        }
        on { sub(/^ +/, ""); text = text (text == "" ? "" : " ") $0 }
        END { put() }'
}
# And its example
example() {
    echo .nf
    "$xonce" "$1" --help | awk '
        /^example:$/ { on = 1; next }
        on { sub(/^  /, ""); gsub(/\\/, "\\e"); gsub(/-/, "\\-"); print ($0 ~ /^[.\047]/ ? "\\&" : "") $0 }'
    echo .fi
}
skip=
while IFS= read -r line; do
    case $line in
        '.\" options of '*) printf '%s\n' "$line"; options "${line#.\\\" options of }" || exit 1; skip=1 ;;
        '.\" example of '*) printf '%s\n' "$line"; example "${line#.\\\" example of }" || exit 1; skip=1 ;;
        '.\" end of options' | '.\" end of example') skip=; printf '%s\n' "$line" ;;
        *) [ -n "$skip" ] || printf '%s\n' "$line" ;;
    esac
done <"$page"
