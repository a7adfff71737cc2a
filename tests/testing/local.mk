# tests/testing: libxonce-test; see tests/local.mk for the variables
if WITH_PROGRAM
check_PROGRAMS += tests/testing/test_testing
TESTS += tests/testing/test_testing
SANITIZER_TESTS += tests/testing/test_testing
THREAD_TESTS += tests/testing/test_testing
endif
tests_testing_test_testing_SOURCES = tests/testing/test_testing.c
tests_testing_test_testing_LDADD = libxonce-test.la libxonce.la $(CHECK_LIBS)

# the examples: with Check and with GoogleTest; loops around xonce_once() on other brokers
if WITH_PROGRAM
TESTS += tests/testing/examples.sh
endif
INTEROP_TESTS += tests/testing/middleware.sh
EXTRA_DIST += tests/testing/examples.sh tests/testing/middleware.sh
