# The examples that test a handler with libxonce-test: they pass as they stand.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
cd "$T" || exit 1
check "13-test-check passes" timeout 120 "$TOP_BUILDDIR/examples/13-test-check"
if [ -x "$TOP_BUILDDIR/examples/14-test-gtest" ]; then
    check "14-test-gtest passes" timeout 120 "$TOP_BUILDDIR/examples/14-test-gtest"
else
    skip "configure found no GoogleTest (Debian package libgtest-dev)" "14-test-gtest"
fi

# The two libraries hand each other things whose inside both know: of different versions they do not begin.
if [ ! -e "$TOP_BUILDDIR/.libs/libxonce-test.so" ]; then
    skip "it was built without shared libraries: there is one version" "another version is refused"
elif command -v "${CC:-cc}" >/dev/null; then
    echo 'const char *xonce_version(void); const char *xonce_version(void) { return "0.0.7"; }' >version.c
    check "a libxonce that says it is of another version" "${CC:-cc}" -shared -fPIC -o version.so version.c
    exits 1 "libxonce-test refuses it" env LD_PRELOAD="$T/version.so" timeout 120 "$TOP_BUILDDIR/examples/13-test-check"
    like "$(cat out err)" 'libxonce-test is of version [0-9.]+, libxonce of 0\.0\.7: install and link both of one version' "and says why"
else
    skip "there is no C compiler (Debian package gcc)" "another version is refused"
fi
done_testing
