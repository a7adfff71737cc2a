# tests/consumer: see tests/local.mk for the variables

if WITH_SQLITE
consumer_tests = tests/consumer/test_consumer tests/consumer/test_ordered tests/consumer/test_custom tests/consumer/test_lane tests/consumer/test_offset tests/consumer/test_positions tests/consumer/test_prune \
	tests/consumer/test_size tests/consumer/test_tell tests/consumer/test_stores tests/consumer/test_batches
check_PROGRAMS += $(consumer_tests)
TESTS += $(consumer_tests)
SANITIZER_TESTS += $(consumer_tests)
THREAD_TESTS += $(consumer_tests)
endif
# rig.c stands in front of xo_run, to let the database fail
consumer_rig = tests/consumer/rig.c tests/consumer/rig.h
consumer_ldflags = $(AM_LDFLAGS) -Wl,--wrap=xo_run
tests_consumer_test_consumer_SOURCES = tests/consumer/test_consumer.c $(consumer_rig)
tests_consumer_test_consumer_LDFLAGS = $(consumer_ldflags)
tests_consumer_test_consumer_LDADD = $(CORE_LIBS)
tests_consumer_test_ordered_SOURCES = tests/consumer/test_ordered.c $(consumer_rig)
tests_consumer_test_ordered_LDFLAGS = $(consumer_ldflags)
tests_consumer_test_ordered_LDADD = $(CORE_LIBS)
tests_consumer_test_custom_SOURCES = tests/consumer/test_custom.c $(consumer_rig)
tests_consumer_test_custom_LDFLAGS = $(consumer_ldflags)
tests_consumer_test_custom_LDADD = $(CORE_LIBS)
tests_consumer_test_offset_SOURCES = tests/consumer/test_offset.c $(consumer_rig)
tests_consumer_test_offset_LDFLAGS = $(consumer_ldflags)
tests_consumer_test_offset_LDADD = $(CORE_LIBS)
tests_consumer_test_positions_SOURCES = tests/consumer/test_positions.c $(consumer_rig)
tests_consumer_test_positions_LDFLAGS = $(consumer_ldflags)
tests_consumer_test_positions_LDADD = $(CORE_LIBS)
tests_consumer_test_prune_SOURCES = tests/consumer/test_prune.c $(consumer_rig)
tests_consumer_test_prune_LDFLAGS = $(consumer_ldflags)
tests_consumer_test_prune_LDADD = $(CORE_LIBS)
tests_consumer_test_stores_SOURCES = tests/consumer/test_stores.c $(consumer_rig)
tests_consumer_test_stores_LDFLAGS = $(consumer_ldflags)
tests_consumer_test_stores_LDADD = $(CORE_LIBS)
tests_consumer_test_tell_SOURCES = tests/consumer/test_tell.c $(consumer_rig)
tests_consumer_test_tell_LDFLAGS = $(consumer_ldflags)
tests_consumer_test_tell_LDADD = $(CORE_LIBS)
tests_consumer_test_size_SOURCES = tests/consumer/test_size.c
tests_consumer_test_size_LDADD = $(CORE_LIBS)
tests_consumer_test_batches_SOURCES = tests/consumer/test_batches.c $(consumer_rig)
tests_consumer_test_batches_LDFLAGS = $(consumer_ldflags)
tests_consumer_test_batches_LDADD = $(CORE_LIBS)

# the program's commands
if WITH_SQLITE
TESTS += tests/consumer/cli.sh tests/consumer/serve.sh
endif
EXTRA_DIST += tests/consumer/cli.sh tests/consumer/serve.sh
tests_consumer_test_lane_SOURCES = tests/consumer/test_lane.c
tests_consumer_test_lane_LDADD = $(CORE_LIBS)

# bad input; mangle spoils answers on their way
if WITH_PROGRAM
check_PROGRAMS += tests/consumer/mangle
if WITH_SQLITE
TESTS += tests/consumer/bad-input.sh tests/consumer/bad-handler.sh tests/consumer/bad-rejected.sh tests/consumer/bad-endpoint.sh tests/consumer/bad-answers.sh tests/consumer/bad-sqlite.sh \
	tests/consumer/tls.sh
endif
INTEROP_TESTS += tests/consumer/bad-postgres.sh tests/consumer/bad-mysql.sh tests/consumer/stores.sh
endif
tests_consumer_mangle_SOURCES = tests/consumer/mangle.c
EXTRA_DIST += tests/consumer/badlib.sh tests/consumer/bad-input.sh tests/consumer/bad-handler.sh tests/consumer/bad-rejected.sh tests/consumer/bad-endpoint.sh tests/consumer/bad-answers.sh \
	tests/consumer/tls.sh tests/consumer/bad-store.sh tests/consumer/bad-postgres.sh tests/consumer/bad-mysql.sh tests/consumer/stores.sh tests/consumer/bad-sqlite.sh
