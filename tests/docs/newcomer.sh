#!/usr/bin/env bash
# newcomer.sh source|packages: follows the pages to the letter, in the folder of a clone, on a machine of which it may change everything: packaging/check-newcomer.sh
# makes one for it. Says the time of each section. NEWCOMER_CHECK=1: `./bootstrap check` too.
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP_SRCDIR/tests/docs/blocks.sh"
# the program, the library and all else must come from what the pages install
unset XONCE TOP_BUILDDIR
export -n TOP_SRCDIR
cd "$TOP_SRCDIR" || bail "no folder $TOP_SRCDIR"
export ONCE=$T/once NEWCOMER_CHECK

# once COMMAND: for what builds and installs: a page that shows it again gets the first output and time
once() {
    local memo out TIMEFORMAT='%R %U %S'
    memo=$ONCE-$(printf %s "$1" | cksum | tr ' ' -)
    out=$(readlink /proc/$$/fd/1)
    case $1 in './bootstrap check') [ -n "${NEWCOMER_CHECK:-}" ] || return 0 ;; esac
    if [ ! -e "$memo.ok" ]; then
        { time eval "$1" >"$memo.out" 2>&1; } 2>"$memo.time" || { cat "$memo.out"; return 1; }
        : >"$memo.ok"
    fi
    cat "$memo.out"
    cat "$memo.time" >>"${out%.out}.once"
}
export -f once
# follow PAGE KIND...: its blocks of the kind sh and of these
follow() {
    local name=$1 dir=$T/${1##*/} block began=$SECONDS
    shift
    mkdir "$dir"
    check "$name: its blocks" blocks_split "$TOP_SRCDIR/$name" "$dir"
    for block in $(grep -lxE 'sh (build|packages)' "$dir"/[0-9][0-9].kind); do
        block=${block%.kind}
        sed -i "s/ *#.*//; s/'/'\\\\''/g; s/.*/once '&'/" "$block"
    done
    blocks_run "$dir" "$TOP_SRCDIR" "$(servers_free_port)" 7200 sh "$@"
    blocks_judge "$name" "$dir" sh "$@"
    times "$name" "$dir"
}
# times NAME FOLDER: for each section the seconds of what built or installed, those of the processor in it, and those of the other commands
times() {
    local block
    for block in "$2"/[0-9][0-9]; do
        [ ! -e "$block.ok" ] || printf '%s\t%s\t%s\t%s\n' "$(cat "$block.section")" "$(cat "$block.began")" "$(cat "$block.ok")" "$(cat "$block.once" 2>/dev/null | awk '{ r += $1; p += $2 + $3 } END { print r + 0 "\t" p + 0 "\t" NR }')"
    done | LC_ALL=C awk -F'\t' -v page="$1" '
        $1 != section { say(); section = $1 }
        { if ($6) { built += $4; busy += $5 } else run += $3 - $2 }
        function say() {
            if (section != "") printf "# time: %-20s %-28s builds and installs %6.1f s (processor %.1f s), runs %5.1f s\n", page, section, built, busy, run
            built = busy = run = 0
        }
        END { say() }'
}

case ${1:?} in
    source)
        follow README.md 'sh build'
        follow docs/quickstart.md 'sh build' 'sh postgres'
        ;;
    packages)
        follow docs/installing.md 'sh packages'
        follow README.md
        follow docs/quickstart.md
        ;;
    *) bail "source or packages" ;;
esac
while read -r what; do note "time: apt-get: $what"; done < <(LC_ALL=C awk -F': *' '
    /^Start-Date/ { began = $0; sub(/^[^ ]* */, "", began) }
    /^Commandline/ { command = $2 }
    /^Install/ { n = gsub(/\), /, "), ") + 1 }
    /^End-Date/ { end = $0; sub(/^[^ ]* */, "", end); print began " to " end ": " n " packages by " substr(command, 1, 60) }' /var/log/apt/history.log 2>/dev/null)
done_testing
