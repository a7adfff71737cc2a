#!/usr/bin/env bash
# What `make check-all` does: the fast tests, then side by side (three lanes) the same on real databases with crashes and interoperability, a build with
# the sanitizers of addresses and undefined behaviour and valgrind, and one with that of threads. The last line of the output sums up every TAP result. Usage: check-all.sh SRCDIR BUILDDIR
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

# Why a step failed, in at most 40 lines: errors of the compiler, and of each test that failed what it said itself; else the end of the step's log.
why() {
    local log=$1 dir=$2 test failed n=0 each
    failed=$(sed -nE 's/^(FAIL|ERROR): ([^ ]+).*/\2/p' "$log" | sort -u)
    for test in $failed; do n=$((n + 1)); done
    each=$((n > 0 ? 38 / n - 1 : 0))
    {
        grep -E ': (fatal )?error: ' "$log" | grep -vE '^(PASS|SKIP|FAIL|ERROR): ' | head -n 10
        for test in $failed; do
            printf '%s:\n' "$test"
            grep -E '^(not ok |# |Bail out|    #[0-9]|SUMMARY: )|^==[0-9]+==ERROR|runtime error: |WARNING: ThreadSanitizer' "$dir/${test%.sh}.log" | head -n $((each > 2 ? each : 2))
        done
        [ "$n" -gt 0 ] || grep -v ' is up to date\.$' "$log" | tail -n 20
    } 2>&1 | cut -c1-500 | head -n 40
}

# step NAME COMMAND...: its output goes to check-all/NAME.log; its tests are in the build $where (of its caller). A failed step counts as one more failed test: a later step
# that runs the same test again must not hide it.
where=$build
step() {
    local name=$1 began=$SECONDS
    shift
    if "$@" >"$mine/$name.log" 2>&1 </dev/null; then
        printf '%5ds  %s\n' $((SECONDS - began)) "$name"
    else
        printf ':test-result: FAIL %s\n' "$name" >"$mine/$name.trs"
        printf '%5ds  %s FAILED: %s\n%s\n' $((SECONDS - began)) "$name" "$mine/$name.log" "$(why "$mine/$name.log" "$where")"
        return 1
    fi
}

# tests NAME DIR [OPTION...] TESTS=LIST: a step that is `make check` of some tests in a build; scripts and programs by automake's own rules. Each has a summary of
# its own, as several run in one build at a time.
tests() {
    local name=$1 where=$2
    shift 2
    step "$name" "$MAKE" -C "$where" -k check TEST_SUITE_LOG="suite-$name.log" "$@"
}

# databases NAME DIR LIST: tests that need the databases, one after the other, as each empties its own; in two halves side by side, with servers for each
databases() {
    local name=$1 where=$2 test some="" others="" half
    for test in $3; do
        case $test in *postgres* | *plain*) some+=" $test" ;; *) others+=" $test" ;; esac
    done
    [ -z "$some" ] || step "$name-1" "$with_servers" "$MAKE" -C "$where" -k check TEST_SUITE_LOG="suite-$name-1.log" TESTS="$some" &
    half=$!
    [ -z "$others" ] || step "$name-2" "$with_servers" "$MAKE" -C "$where" -k check TEST_SUITE_LOG="suite-$name-2.log" TESTS="$others"
    wait "$half"
}

# sanitized NAME SANITIZERS LIST: a build of its own, and its tests: side by side, as most of them wait, but for those that need the databases
sanitized() {
    local name=$1 dir=$build/$1 which=$2 list=$3
    mkdir -p "$dir"
    step "$name-configure" env -C "$dir" "$src/configure" -q --disable-shared --enable-sanitizers="$which" CFLAGS='-g -O1' || return
    step "$name-build" "$MAKE" -C "$dir" -j2 all || return
    local test shared="" others=""
    for test in $list; do
        case " $SERVER_TESTS " in *" $test "*) shared+=" $test" ;; *) others+=" $test" ;; esac
    done
    [ -z "$others" ] || tests "$name-tests" "$dir" -j4 TESTS="$others"
    [ -z "$shared" ] || databases "$name-databases" "$dir" "$shared"
}

[ -z "${XONCE_LONG:-}" ] || INTEROP_TESTS+=" $LONG_TESTS"
lane_databases() {
    [ -z "$SERVER_TESTS" ] || databases databases "$build" "$SERVER_TESTS"
    [ -z "$CRASH_TESTS" ] || tests crash "$build" TESTS="$CRASH_TESTS"
    [ -z "$INTEROP_TESTS" ] || tests interop "$build" -j2 TESTS="$INTEROP_TESTS" # these mostly wait
}

lane_addresses() {
    [ -z "$SANITIZER_TESTS" ] || ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1 sanitized asan address,undefined "$SANITIZER_TESTS"
    [ -z "$VALGRIND_TESTS" ] ||
        step valgrind "$with_servers" "$MAKE" -C "$build" -k check TEST_SUITE_LOG=suite-valgrind.log TESTS=tests/lib/valgrind.sh VALGRIND_TESTS="$VALGRIND_TESTS"
}

lane_threads() {
    [ -z "$THREAD_TESTS" ] || TSAN_OPTIONS=halt_on_error=0:second_deadlock_stack=1 sanitized tsan thread "$THREAD_TESTS"
}

tests check "$build" -j$((JOBS * 2)) # most of the time is waiting here too
lane_addresses &
addresses=$!
lane_threads &
threads=$!
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
wait "$addresses" "$threads"
"$BASH" "$src/tests/lib/summary.sh" "$build"
