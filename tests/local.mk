# Tests. All print TAP: Check programs by srunner_set_tap(sr, "-") and srunner_run_all(sr, CK_SILENT), scripts by tests/lib/tap.sh.
#
# A C test:      check_PROGRAMS += tests/unit/test_x
#                TESTS += tests/unit/test_x
#                tests_unit_test_x_SOURCES = tests/unit/test_x.c
#                tests_unit_test_x_LDADD = $(CORE_LIBS)
# A script:      TESTS += tests/rules/rules.sh      EXTRA_DIST += tests/rules/rules.sh
# TESTS is what `make check` runs: no server, in about a minute. `make check-all` goes on with the lists below; a name may stand in several, in TESTS or not.

# run again with private databases in XONCE_TEST_POSTGRES_URI and XONCE_TEST_MYSQL_URI; without these they skip that engine visibly
SERVER_TESTS =
# run again, with the databases, in builds with address,undefined and with thread
SANITIZER_TESTS =
THREAD_TESTS =
# run again under valgrind, with the databases
VALGRIND_TESTS =
# scripts (.sh) for check-all only; each starts what it needs by tests/lib/with-servers.sh
CRASH_TESTS =
INTEROP_TESTS =
# likewise, for `make check-long` only
LONG_TESTS =

TEST_EXTENSIONS = .sh
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
SH_LOG_DRIVER = $(LOG_DRIVER)
SH_LOG_COMPILER = $(BASH_PROGRAM)
# What every test finds in its environment. CK_*: Check's own deadlines, wide enough for two busy cores.
AM_TESTS_ENVIRONMENT = \
	TOP_SRCDIR='$(abs_top_srcdir)'; TOP_BUILDDIR='$(abs_top_builddir)'; XONCE='$(abs_top_builddir)/xonce'; CC='$(CC)'; CXX='$(CXX)'; \
	NM='$(NM)'; CLIENT_CFLAGS='$(POSTGRESQL_CFLAGS) $(MYSQL_CFLAGS) $(SQLITE_CFLAGS)'; \
	HAVE_POSTGRESQL='$(HAVE_POSTGRESQL)'; HAVE_MYSQL='$(HAVE_MYSQL)'; HAVE_SQLITE='$(HAVE_SQLITE)'; \
	CK_DEFAULT_TIMEOUT=$${CK_DEFAULT_TIMEOUT:-120}; \
	export TOP_SRCDIR TOP_BUILDDIR XONCE CC CXX NM CLIENT_CFLAGS HAVE_POSTGRESQL HAVE_MYSQL HAVE_SQLITE CK_DEFAULT_TIMEOUT; \
	unset XONCE_STORE XONCE_FAILPOINTS ALIBABA_CLOUD_ACCESS_KEY_ID ALIBABA_CLOUD_ACCESS_KEY_SECRET ALIBABA_CLOUD_SECURITY_TOKEN;

check_env = MAKE='$(MAKE)' SERVER_TESTS='$(SERVER_TESTS)' SANITIZER_TESTS='$(SANITIZER_TESTS)' THREAD_TESTS='$(THREAD_TESTS)' \
	VALGRIND_TESTS='$(VALGRIND_TESTS)' CRASH_TESTS='$(CRASH_TESTS)' INTEROP_TESTS='$(INTEROP_TESTS)' LONG_TESTS='$(LONG_TESTS)'

# a TCP proxy that cuts, delays and refuses on order
check_PROGRAMS += tests/lib/proxy
tests_lib_proxy_SOURCES = tests/lib/proxy.c

EXTRA_DIST += tests/lib/servers.sh tests/lib/with-servers.sh tests/lib/tap.sh tests/lib/check-all.sh tests/lib/summary.sh tests/lib/valgrind.sh \
	tests/demo/demo.sh

include tests/unit/local.mk
include tests/store/local.mk
include tests/proto/local.mk
include tests/testing/local.mk
include tests/remoting/local.mk
include tests/source/local.mk
include tests/cli/local.mk
include tests/docs/local.mk
include tests/consumer/local.mk
include tests/status/local.mk
include tests/crash/local.mk
include tests/interop/local.mk
include tests/fuzz/local.mk
include tests/rules/local.mk
include tests/packaging/local.mk
