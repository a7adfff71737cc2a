# tests/store: see tests/local.mk for the variables

# the conformance suite, once per engine
check_LTLIBRARIES += tests/store/libsuite.la
tests_store_libsuite_la_SOURCES = tests/store/suite.c tests/store/suite.h tests/store/suite_batches.c tests/store/suite_claims.c \
	tests/store/suite_ahead.c tests/store/suite_breakers.c tests/store/suite_concurrency.c tests/store/suite_corners.c tests/store/suite_escapes.c tests/store/suite_offset.c tests/store/suite_positions.c tests/store/suite_ranges.c tests/store/suite_refusals.c \
	tests/store/suite_rejects.c tests/store/suite_sources.c tests/store/suite_takeout.c
suite_programs = tests/store/suite_sqlite tests/store/suite_postgres tests/store/suite_mysql tests/store/suite_mysql_plain \
	tests/store/suite_postgres_days tests/store/suite_mysql_days tests/store/suite_mysql_plain_days
SUITE_LIBS = tests/store/libsuite.la $(CORE_LIBS)
check_PROGRAMS += $(suite_programs)
tests_store_suite_sqlite_SOURCES = tests/store/on_sqlite.c
tests_store_suite_sqlite_LDADD = $(SUITE_LIBS)
tests_store_suite_postgres_SOURCES = tests/store/on_postgres.c
tests_store_suite_postgres_LDADD = $(SUITE_LIBS)
tests_store_suite_mysql_SOURCES = tests/store/on_mysql.c
tests_store_suite_mysql_LDADD = $(SUITE_LIBS)
tests_store_suite_mysql_plain_SOURCES = tests/store/on_mysql_plain.c
tests_store_suite_mysql_plain_LDADD = $(SUITE_LIBS)
tests_store_suite_postgres_days_SOURCES = tests/store/on_postgres_days.c
tests_store_suite_postgres_days_LDADD = $(SUITE_LIBS)
tests_store_suite_mysql_days_SOURCES = tests/store/on_mysql_days.c
tests_store_suite_mysql_days_LDADD = $(SUITE_LIBS)
tests_store_suite_mysql_plain_days_SOURCES = tests/store/on_mysql_plain_days.c
tests_store_suite_mysql_plain_days_LDADD = $(SUITE_LIBS)
TESTS += tests/store/suite_sqlite
SERVER_TESTS += tests/store/suite_postgres tests/store/suite_mysql tests/store/suite_mysql_plain \
	tests/store/suite_postgres_days tests/store/suite_mysql_days tests/store/suite_mysql_plain_days
SANITIZER_TESTS += $(suite_programs)
THREAD_TESTS += $(suite_programs)
VALGRIND_TESTS += tests/store/suite_sqlite

# random deliveries, handlers and failures; XONCE_TORTURE_SECONDS for longer runs
torture_programs = tests/store/torture_sqlite tests/store/torture_postgres tests/store/torture_mysql tests/store/torture_mysql_plain
check_PROGRAMS += $(torture_programs)
tests_store_torture_sqlite_SOURCES = tests/store/torture.c tests/store/on_sqlite.c
tests_store_torture_sqlite_LDADD = $(CORE_LIBS)
tests_store_torture_postgres_SOURCES = tests/store/torture.c tests/store/on_postgres.c
tests_store_torture_postgres_LDADD = $(CORE_LIBS)
tests_store_torture_mysql_SOURCES = tests/store/torture.c tests/store/on_mysql.c
tests_store_torture_mysql_LDADD = $(CORE_LIBS)
tests_store_torture_mysql_plain_SOURCES = tests/store/torture.c tests/store/on_mysql_plain.c
tests_store_torture_mysql_plain_LDADD = $(CORE_LIBS)
TESTS += tests/store/torture_sqlite
SERVER_TESTS += tests/store/torture_postgres tests/store/torture_mysql tests/store/torture_mysql_plain
SANITIZER_TESTS += $(torture_programs)
THREAD_TESTS += $(torture_programs)

# schema, watermark and pruning over each engine that is there
check_PROGRAMS += tests/store/test_schema
TESTS += tests/store/test_schema
SERVER_TESTS += tests/store/test_schema
SANITIZER_TESTS += tests/store/test_schema
THREAD_TESTS += tests/store/test_schema
VALGRIND_TESTS += tests/store/test_schema
tests_store_test_schema_SOURCES = tests/store/test_schema.c
tests_store_test_schema_LDADD = $(CORE_LIBS)

# the record split by day
check_PROGRAMS += tests/store/test_partitions
SERVER_TESTS += tests/store/test_partitions
SANITIZER_TESTS += tests/store/test_partitions
THREAD_TESTS += tests/store/test_partitions
tests_store_test_partitions_SOURCES = tests/store/test_partitions.c
tests_store_test_partitions_LDADD = $(CORE_LIBS)

if WITH_SQLITE
sqlite_dialect_tests = tests/store/test_dialect_sqlite tests/store/test_dialect_sqlite_values
check_PROGRAMS += $(sqlite_dialect_tests)
TESTS += $(sqlite_dialect_tests)
SANITIZER_TESTS += $(sqlite_dialect_tests)
VALGRIND_TESTS += $(sqlite_dialect_tests)
tests_store_test_dialect_sqlite_SOURCES = tests/store/test_dialect_sqlite.c tests/store/lite.h
tests_store_test_dialect_sqlite_LDADD = $(CORE_LIBS)
tests_store_test_dialect_sqlite_values_SOURCES = tests/store/test_dialect_sqlite_values.c tests/store/lite.h
tests_store_test_dialect_sqlite_values_LDADD = $(CORE_LIBS)
endif

if WITH_POSTGRESQL
postgres_dialect_tests = tests/store/test_dialect_postgres tests/store/test_dialect_postgres_lost
check_PROGRAMS += $(postgres_dialect_tests)
tests_store_test_dialect_postgres_SOURCES = tests/store/test_dialect_postgres.c tests/store/postgres_help.c tests/store/postgres_help.h
tests_store_test_dialect_postgres_LDADD = $(CORE_LIBS)
tests_store_test_dialect_postgres_lost_SOURCES = tests/store/test_dialect_postgres_lost.c tests/store/postgres_help.c tests/store/postgres_help.h
tests_store_test_dialect_postgres_lost_LDADD = $(CORE_LIBS)
SERVER_TESTS += $(postgres_dialect_tests)
SANITIZER_TESTS += $(postgres_dialect_tests)
VALGRIND_TESTS += $(postgres_dialect_tests)
endif

if WITH_MYSQL
mysql_dialect_tests = tests/store/test_dialect_mysql tests/store/test_dialect_mysql_guard tests/store/test_dialect_mysql_values
check_PROGRAMS += $(mysql_dialect_tests)
tests_store_test_dialect_mysql_SOURCES = tests/store/test_dialect_mysql.c tests/store/my.h
tests_store_test_dialect_mysql_LDADD = $(CORE_LIBS)
tests_store_test_dialect_mysql_guard_SOURCES = tests/store/test_dialect_mysql_guard.c tests/store/my.h
tests_store_test_dialect_mysql_guard_LDADD = $(CORE_LIBS)
tests_store_test_dialect_mysql_values_SOURCES = tests/store/test_dialect_mysql_values.c tests/store/my.h
tests_store_test_dialect_mysql_values_LDADD = $(CORE_LIBS)
SERVER_TESTS += $(mysql_dialect_tests)
SANITIZER_TESTS += $(mysql_dialect_tests)
VALGRIND_TESTS += $(mysql_dialect_tests)
endif

# an older table becomes safe
SERVER_TESTS += tests/store/upgrade.sh
EXTRA_DIST += tests/store/upgrade.sh
