# the RocketMQ source against the in-process cluster of tests/remoting
rmq_tests = tests/source/test_rocketmq tests/source/test_rocketmq_start tests/source/test_rocketmq_group tests/source/test_rocketmq_retry \
	tests/source/test_rocketmq_names tests/source/test_rocketmq_trace tests/source/test_rocketmq_crowd
check_PROGRAMS += $(rmq_tests)
TESTS += $(rmq_tests)
SANITIZER_TESTS += $(rmq_tests)
THREAD_TESTS += $(rmq_tests)
check_LTLIBRARIES += tests/source/librmq.la
tests_source_librmq_la_SOURCES = tests/source/rmq.c tests/source/rmq.h
rmq_ldadd = tests/source/librmq.la tests/remoting/libbroker.la $(CORE_LIBS)
tests_source_test_rocketmq_SOURCES = tests/source/test_rocketmq.c
tests_source_test_rocketmq_LDADD = $(rmq_ldadd)
tests_source_test_rocketmq_start_SOURCES = tests/source/test_rocketmq_start.c
tests_source_test_rocketmq_start_LDADD = $(rmq_ldadd)
tests_source_test_rocketmq_group_SOURCES = tests/source/test_rocketmq_group.c
tests_source_test_rocketmq_group_LDADD = $(rmq_ldadd)
tests_source_test_rocketmq_retry_SOURCES = tests/source/test_rocketmq_retry.c
tests_source_test_rocketmq_retry_LDADD = $(rmq_ldadd)

tests_source_test_rocketmq_crowd_SOURCES = tests/source/test_rocketmq_crowd.c
tests_source_test_rocketmq_crowd_LDADD = $(rmq_ldadd)

# settled prefixes, and where a queue is read from: no cluster needed
position_tests = tests/source/test_track tests/source/test_place
check_PROGRAMS += $(position_tests)
TESTS += $(position_tests)
SANITIZER_TESTS += $(position_tests)
tests_source_test_track_SOURCES = tests/source/test_track.c
tests_source_test_track_LDADD = $(CORE_LIBS)
tests_source_test_place_SOURCES = tests/source/test_place.c
tests_source_test_place_LDADD = $(CORE_LIBS)

# its conduct in the group and towards brokers
control_tests = tests/source/test_members tests/source/test_members_of_group tests/source/test_settle
check_PROGRAMS += $(control_tests)
TESTS += $(control_tests)
SANITIZER_TESTS += $(control_tests)
THREAD_TESTS += $(control_tests)
tests_source_test_members_SOURCES = tests/source/test_members.c
tests_source_test_members_LDADD = $(CORE_LIBS)
tests_source_test_members_of_group_SOURCES = tests/source/test_members_of_group.c tests/source/control.h
tests_source_test_members_of_group_LDADD = $(rmq_ldadd)
tests_source_test_settle_SOURCES = tests/source/test_settle.c tests/source/control.h
tests_source_test_settle_LDADD = $(rmq_ldadd)

check_PROGRAMS += tests/source/test_begin
TESTS += tests/source/test_begin
SANITIZER_TESTS += tests/source/test_begin
THREAD_TESTS += tests/source/test_begin
tests_source_test_begin_SOURCES = tests/source/test_begin.c
tests_source_test_begin_LDADD = $(rmq_ldadd)
tests_source_test_rocketmq_names_SOURCES = tests/source/test_rocketmq_names.c
tests_source_test_rocketmq_names_LDADD = $(rmq_ldadd)

# claims by offset
offset_tests = tests/source/test_rocketmq_offset tests/source/test_rocketmq_claims
check_PROGRAMS += $(offset_tests)
TESTS += $(offset_tests)
SANITIZER_TESTS += $(offset_tests)
THREAD_TESTS += $(offset_tests)
tests_source_test_rocketmq_offset_SOURCES = tests/source/test_rocketmq_offset.c tests/source/offset.h
tests_source_test_rocketmq_offset_LDADD = $(rmq_ldadd)
tests_source_test_rocketmq_claims_SOURCES = tests/source/test_rocketmq_claims.c tests/source/offset.h
tests_source_test_rocketmq_claims_LDADD = $(rmq_ldadd)
tests_source_test_rocketmq_trace_SOURCES = tests/source/test_rocketmq_trace.c
tests_source_test_rocketmq_trace_LDADD = $(rmq_ldadd)
EXTRA_DIST += tests/source/trace-vectors.json
