# TAP for test scripts, sourced by bash: results, deadlines, cleanup, and the processes that tests start.
#
#   . "${TOP_SRCDIR:?}/tests/lib/tap.sh"
#   is "$(command)" "expected" "what it shows";  check "it works" command args;  like "$text" 'regex' "..." ;  skip "why" "name";  done_testing
# $T is a folder of the test's own, removed at the end (kept when a test failed and XONCE_KEEP is set). Everything started by start_* is ended.
set -u
: "${TOP_SRCDIR:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
: "${TOP_BUILDDIR:=$TOP_SRCDIR/build}"
: "${XONCE:=$TOP_BUILDDIR/xonce}"
export TOP_SRCDIR TOP_BUILDDIR XONCE
. "$TOP_SRCDIR/tests/lib/servers.sh"

tap_count=0
tap_failed=0
tap_pids=()
T=$(mktemp -d "${TMPDIR:-/tmp}/xonce-test-XXXXXX") || exit 1

note() { printf '%s\n' "$*" | sed 's/^/# /'; }
ok() { tap_count=$((tap_count + 1)); printf 'ok %d - %s\n' "$tap_count" "$1"; }
not_ok() {
    tap_count=$((tap_count + 1))
    tap_failed=$((tap_failed + 1))
    printf 'not ok %d - %s\n' "$tap_count" "$1"
    [ -z "${2:-}" ] || note "$2"
}
skip() { tap_count=$((tap_count + 1)); printf 'ok %d - %s # SKIP %s\n' "$tap_count" "$2" "$1"; }
skip_all() { printf '1..0 # SKIP %s\n' "$1"; exit 0; }
bail() { printf 'Bail out! %s\n' "$*"; exit 1; }
done_testing() {
    printf '1..%d\n' "$tap_count"
    [ "$tap_failed" -eq 0 ]
    exit
}

# is GOT WANTED NAME
is() { if [ "$1" = "$2" ]; then ok "$3"; else not_ok "$3" "got:    $1
wanted: $2"; fi; }
# like TEXT REGEX NAME; unlike likewise
like() { if [[ $1 =~ $2 ]]; then ok "$3"; else not_ok "$3" "got:     $1
to match: $2"; fi; }
unlike() { if [[ $1 =~ $2 ]]; then not_ok "$3" "got:         $1
not to match: $2"; else ok "$3"; fi; }
# check NAME COMMAND...: it succeeds; its output is shown when it does not
check() {
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then ok "$name"; else not_ok "$name" "exit status $? of: $*
$out"; fi
}
# exits STATUS NAME COMMAND...: it ends with this status; its output is left in $T/out and $T/err
exits() {
    local want=$1 name=$2 got
    shift 2
    "$@" >"$T/out" 2>"$T/err" </dev/null
    got=$?
    if [ "$got" -eq "$want" ]; then ok "$name"; else not_ok "$name" "exit status $got, wanted $want: $*
$(tail -n 5 "$T/out" "$T/err")"; fi
}

# other LABEL SCRIPT ARGS...: runs another test script, as one result of this one
other() {
    local status
    "$BASH" "${@:2}" >"$T/other" 2>&1
    status=$?
    if grep -q '^1\.\.0 # SKIP' "$T/other"; then
        skip "$(sed -n 's/^1\.\.0 # SKIP //p' "$T/other")" "$1"
    elif [ $status -eq 0 ] && grep -q '^1\.\.[1-9]' "$T/other"; then
        ok "$1 ($(grep -c '^ok' "$T/other") results)"
    else
        not_ok "$1" "$(grep -A 4 '^not ok' "$T/other"; tail -n 5 "$T/other")"
    fi
}
# Sleeps for at most a moment, without a process.
tap_pause() { read -rt "${1:-0.05}" <> <(:) || :; }
# wait_for SECONDS COMMAND...: until it succeeds; 1 when the time is up
wait_for() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || return 1
        tap_pause
    done
}
# wait_for_line SECONDS FILE REGEX: until a line matches; prints the first that does
wait_for_line() {
    wait_for "$1" grep -qE -- "$3" "$2" || return 1
    grep -m1 -E -- "$3" "$2"
}

# start NAME COMMAND...: in the background; output in $T/NAME.out and $T/NAME.err; the process id in $STARTED
start() {
    local name=$1
    shift
    "$@" >"$T/$name.out" 2>"$T/$name.err" </dev/null &
    STARTED=$!
    tap_pids+=("$STARTED")
    disown "$STARTED"
}
# stop PID [SIGNAL [SECONDS]]: and wait until it is gone
stop() {
    [ -n "${1:-}" ] || return 0
    kill -"${2:-TERM}" "$1" 2>/dev/null
    servers_wait_gone "$1" "${3:-20}"
}

# start_serve NAME ARGS...: xonce serve on a free port; sets SERVE_URL and SERVE_PID
start_serve() {
    local name=$1 line
    shift
    start "$name" "$XONCE" serve --listen 127.0.0.1:0 "$@"
    SERVE_PID=$STARTED
    line=$(wait_for_line 20 "$T/$name.out" '^listening on ') || { note "xonce serve did not start:" "$(tail -n 5 "$T/$name.err")"; return 1; }
    SERVE_URL=${line#listening on }
}

# start_proxy NAME HOST:PORT [LISTEN-PORT]: the proxy of proxy.c; sets PROXY_PORT; orders by: proxy_order NAME cut
start_proxy() {
    local name=$1 line
    mkfifo "$T/$name.orders" || return 1
    exec {PROXY_FD}<>"$T/$name.orders"
    "$TOP_BUILDDIR/tests/lib/proxy" "$2" ${3:+"$3"} >"$T/$name.out" 2>"$T/$name.err" <"$T/$name.orders" &
    PROXY_PID=$!
    tap_pids+=("$PROXY_PID")
    disown "$PROXY_PID"
    line=$(wait_for_line 20 "$T/$name.out" '^listening on ') || return 1
    PROXY_PORT=${line##*:}
}
# Sends an order and waits until the proxy has answered it; prints the answer.
proxy_order() {
    local name=$1 before
    shift
    before=$(wc -l <"$T/$name.out")
    printf '%s\n' "$*" >"$T/$name.orders"
    wait_for 10 eval "[ \$(wc -l <'$T/$name.out') -gt $before ]" || return 1
    tail -n 1 "$T/$name.out"
}

# sqlite FILE SQL: one value or table, with a deadline for locks
sqlite() { sqlite3 -batch -noheader -cmd '.timeout 10000' "$1" "$2"; }

# database sqlite|postgres|mysql: a file in $T, or a private server that ends with the script; sets ENGINE and STORE, its URI. A server that is not installed skips the script.
database() {
    ENGINE=$1 STORE=sqlite:$T/shop.db
    [ "$1" != sqlite ] || { command -v sqlite3 >/dev/null || skip_all "it needs the Debian package sqlite3"; return 0; }
    [ -z "$(servers_missing "$1")" ] || skip_all "$1 needs the Debian package $(servers_missing "$1")"
    XONCE_SERVERS_DIR=$(servers_new_dir) || bail "no folder for servers"
    export XONCE_SERVERS_DIR
    at_end servers_end
    servers_start "$1" || bail "$1 does not start"
    STORE=$(servers_uri "$1")
}
# begin_server ENGINE: the same for one of several in a script; one that is not installed is a skipped result, and the answer 1. servers_end ends it.
begin_server() {
    [ -z "$(servers_missing "$1")" ] || { skip "it needs the Debian package $(servers_missing "$1")" "$1"; return 1; }
    database "$1"
}
# db SQL: asked by the client of its engine, as the owner; columns with | between them
db() {
    case $ENGINE in
        sqlite) sqlite "${STORE#sqlite:}" "$1" ;;
        postgres) PGOPTIONS='-c client_min_messages=error' "$(servers_postgres_bin)/psql" -XAtq -d "$(servers_uri postgres)" -c "$1" ;;
        mysql) printf 'USE xonce; %s;\n' "$1" | servers_mysql_root "$(servers_dir mysql)" | tr '\t' '|' ;;
    esac
}

tap_at_end=()
# at_end COMMAND: to be run at the end, the last one first
at_end() { tap_at_end=("$1" "${tap_at_end[@]}"); }
tap_end() {
    local status=$? pid command
    trap '' INT TERM HUP
    for command in "${tap_at_end[@]}"; do eval "$command"; done
    for pid in "${tap_pids[@]}"; do kill -KILL "$pid" 2>/dev/null; done
    if [ -n "${XONCE_KEEP:-}" ] && { [ "$tap_failed" -gt 0 ] || [ "$status" -ne 0 ]; }; then
        note "kept: $T"
    else
        rm -rf "$T"
    fi
    exit "$status"
}
trap tap_end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
