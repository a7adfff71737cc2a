# tests/status: see tests/local.mk for the variables

if WITH_SQLITE
check_PROGRAMS += tests/status/test_status
TESTS += tests/status/test_status
SANITIZER_TESTS += tests/status/test_status
THREAD_TESTS += tests/status/test_status
endif
tests_status_test_status_SOURCES = tests/status/test_status.c $(consumer_rig)
tests_status_test_status_LDFLAGS = $(consumer_ldflags)
tests_status_test_status_LDADD = $(CORE_LIBS)

if WITH_PROGRAM
if WITH_SQLITE
TESTS += tests/status/monitoring.sh
endif
INTEROP_TESTS += tests/status/servers.sh
LONG_TESTS += tests/status/prometheus.sh
endif
EXTRA_DIST += tests/status/alerts-test.yml tests/status/monitoring.sh tests/status/prometheus.sh tests/status/servers.sh
