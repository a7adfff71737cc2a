# The examples that test a handler with libxonce-test: they pass as they stand.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
cd "$T" || exit 1
check "13-test-check passes" timeout 120 "$TOP_BUILDDIR/examples/13-test-check"
if [ -x "$TOP_BUILDDIR/examples/14-test-gtest" ]; then
    check "14-test-gtest passes" timeout 120 "$TOP_BUILDDIR/examples/14-test-gtest"
else
    skip "configure found no GoogleTest (Debian package libgtest-dev)" "14-test-gtest"
fi
done_testing
