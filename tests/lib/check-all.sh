#!/usr/bin/env bash
# What `make check-all` does: the fast tests, then side by side (two lanes) the same on real databases with crashes and interoperability, and builds
# with sanitizers and valgrind. The last line of the output sums up every TAP result. Usage: check-all.sh SRCDIR BUILDDIR
set -u
src=$1
build=$2
: "${MAKE:=make}" "${JOBS:=$(nproc 2>/dev/null || echo 2)}"
with_servers=$src/tests/lib/with-servers.sh
mine=$build/check-all
find "$build" -name '*.trs' -exec rm -f {} +
rm -rf "$mine"
mkdir -p "$mine"
# make's own jobs and variables are not for the makes that are started here
unset MAKEFLAGS MFLAGS MAKELEVEL

# step NAME COMMAND...: its output goes to check-all/NAME.log. A failed step counts as one more failed test: a later step that runs the same test again must not hide it.
step() {
    local name=$1 began=$SECONDS
    shift
    if "$@" >"$mine/$name.log" 2>&1 </dev/null; then
        printf '%5ds  %s\n' $((SECONDS - began)) "$name"
    else
        printf ':test-result: FAIL %s\n' "$name" >"$mine/$name.trs"
        printf '%5ds  %s FAILED: %s\n' $((SECONDS - began)) "$name" "$mine/$name.log"
        grep -E '^(FAIL|ERROR): |error: ' "$mine/$name.log" | head -n 20
        tail -n 12 "$mine/$name.log"
        return 1
    fi
}

# tests DIR LIST: `make check` of some tests in a build; scripts and programs by automake's own rules
tests() { "$MAKE" -C "$1" -k check TESTS="$2"; }
tests_with_servers() { "$with_servers" "$MAKE" -C "$1" -k check TESTS="$2"; }

# sanitized NAME SANITIZERS LIST: a build of its own, and its tests: side by side, as most of them wait, but for those that share the databases
sanitized() {
    local name=$1 dir=$build/$1 which=$2 list=$3
    mkdir -p "$dir"
    step "$name-configure" env -C "$dir" "$src/configure" -q --disable-shared --enable-sanitizers="$which" CFLAGS='-g -O1' || return
    step "$name-build" "$MAKE" -C "$dir" -j2 all || return
    local test shared="" others=""
    for test in $list; do
        case " $SERVER_TESTS " in *" $test "*) shared+=" $test" ;; *) others+=" $test" ;; esac
    done
    [ -z "$others" ] || step "$name-tests" "$MAKE" -C "$dir" -j4 -k check TESTS="$others"
    [ -z "$shared" ] || step "$name-databases" tests_with_servers "$dir" "$shared"
}

lane_databases() {
    [ -z "$SERVER_TESTS" ] || step databases tests_with_servers "$build" "$SERVER_TESTS"
    [ -z "$CRASH_TESTS" ] || step crash tests "$build" "$CRASH_TESTS"
    [ -z "$INTEROP_TESTS" ] || step interop "$MAKE" -C "$build" -j2 -k check TESTS="$INTEROP_TESTS" # these mostly wait
}

lane_instruments() {
    export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=0:second_deadlock_stack=1
    [ -z "$SANITIZER_TESTS" ] || sanitized asan address,undefined "$SANITIZER_TESTS"
    [ -z "$THREAD_TESTS" ] || sanitized tsan thread "$THREAD_TESTS"
    unset ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
    [ -z "$VALGRIND_TESTS" ] || step valgrind "$with_servers" "$MAKE" -C "$build" -k check TESTS=tests/lib/valgrind.sh VALGRIND_TESTS="$VALGRIND_TESTS"
}

step check "$MAKE" -C "$build" -j"$JOBS" -k check
lane_instruments &
instruments=$!
# ends every process below this one, the innermost first, so that with-servers.sh can stop its servers
end_all() {
    local child
    for child in $(ps -o pid= --ppid "$1"); do
        end_all "$child"
        kill -TERM "$child" 2>/dev/null
    done
}
trap 'trap "" INT TERM HUP; end_all $$; wait; exit 143' INT TERM HUP
lane_databases
wait "$instruments"
"$BASH" "$src/tests/lib/summary.sh" "$build"
