# The examples: each by itself, from the published headers and the library alone; run by examples/run.sh.
EXAMPLES =
if WITH_SQLITE
EXAMPLES += examples/01-quickstart examples/04-sqlite examples/05-batch examples/06-ordered examples/07-own-loop examples/08-join examples/09-transaction
endif
if WITH_POSTGRESQL
EXAMPLES += examples/02-libpq examples/08-join-postgres
endif
if WITH_MYSQL
EXAMPLES += examples/03-mysql examples/08-join-mysql
endif
check_PROGRAMS += $(EXAMPLES)
TESTS += examples/run.sh
SERVER_TESTS += examples/run.sh
SANITIZER_TESTS += examples/run.sh
EXTRA_DIST += examples/run.sh

EXAMPLE_CPPFLAGS = -D_GNU_SOURCE -I$(top_srcdir)/include
examples_01_quickstart_SOURCES = examples/01-quickstart.c
examples_01_quickstart_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
examples_01_quickstart_LDADD = libxonce.la
examples_02_libpq_SOURCES = examples/02-libpq.c
examples_02_libpq_CPPFLAGS = $(EXAMPLE_CPPFLAGS) $(POSTGRESQL_CFLAGS)
examples_02_libpq_LDADD = libxonce.la $(POSTGRESQL_LIBS)
examples_03_mysql_SOURCES = examples/03-mysql.c
examples_03_mysql_CPPFLAGS = $(EXAMPLE_CPPFLAGS) $(MYSQL_CFLAGS)
examples_03_mysql_LDADD = libxonce.la $(MYSQL_LIBS)
examples_04_sqlite_SOURCES = examples/04-sqlite.c
examples_04_sqlite_CPPFLAGS = $(EXAMPLE_CPPFLAGS) $(SQLITE_CFLAGS)
examples_04_sqlite_LDADD = libxonce.la $(SQLITE_LIBS)
examples_05_batch_SOURCES = examples/05-batch.c
examples_05_batch_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
examples_05_batch_LDADD = libxonce.la
examples_06_ordered_SOURCES = examples/06-ordered.c
examples_06_ordered_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
examples_06_ordered_LDADD = libxonce.la
examples_07_own_loop_SOURCES = examples/07-own-loop.c
examples_07_own_loop_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
examples_07_own_loop_LDADD = libxonce.la
examples_08_join_SOURCES = examples/08-join.c
examples_08_join_CPPFLAGS = $(EXAMPLE_CPPFLAGS) $(SQLITE_CFLAGS)
examples_08_join_LDADD = libxonce.la $(SQLITE_LIBS)
examples_08_join_postgres_SOURCES = examples/08-join-postgres.c
examples_08_join_postgres_CPPFLAGS = $(EXAMPLE_CPPFLAGS) $(POSTGRESQL_CFLAGS)
examples_08_join_postgres_LDADD = libxonce.la $(POSTGRESQL_LIBS)
examples_08_join_mysql_SOURCES = examples/08-join-mysql.c
examples_08_join_mysql_CPPFLAGS = $(EXAMPLE_CPPFLAGS) $(MYSQL_CFLAGS)
examples_08_join_mysql_LDADD = libxonce.la $(MYSQL_LIBS)
examples_09_transaction_SOURCES = examples/09-transaction.c
examples_09_transaction_CPPFLAGS = $(EXAMPLE_CPPFLAGS) $(SQLITE_CFLAGS)
examples_09_transaction_LDADD = libxonce.la $(SQLITE_LIBS)

# dedup middleware, where the client library is there; run by tests/testing/middleware.sh
if WITH_SQLITE
if WITH_KAFKA
check_PROGRAMS += examples/10-kafka
endif
if WITH_AMQP
check_PROGRAMS += examples/11-amqp
endif
if WITH_NATS
check_PROGRAMS += examples/12-nats
endif
endif
examples_10_kafka_SOURCES = examples/10-kafka.c
examples_10_kafka_CPPFLAGS = $(EXAMPLE_CPPFLAGS) $(KAFKA_CFLAGS)
examples_10_kafka_LDADD = libxonce.la $(KAFKA_LIBS)
examples_11_amqp_SOURCES = examples/11-amqp.c
examples_11_amqp_CPPFLAGS = $(EXAMPLE_CPPFLAGS) $(AMQP_CFLAGS)
examples_11_amqp_LDADD = libxonce.la $(AMQP_LIBS)
examples_12_nats_SOURCES = examples/12-nats.c
examples_12_nats_CPPFLAGS = $(EXAMPLE_CPPFLAGS) $(NATS_CFLAGS)
examples_12_nats_LDADD = libxonce.la $(NATS_LIBS)

# tests of handlers, with libxonce-test; run by tests/testing/examples.sh
if WITH_PROGRAM
check_PROGRAMS += examples/13-test-check
if WITH_GTEST
check_PROGRAMS += examples/14-test-gtest
endif
endif
examples_13_test_check_SOURCES = examples/13-test-check.c
examples_13_test_check_CPPFLAGS = $(EXAMPLE_CPPFLAGS) $(CHECK_CFLAGS)
examples_13_test_check_LDADD = libxonce-test.la libxonce.la $(CHECK_LIBS)
examples_14_test_gtest_SOURCES = examples/14-test-gtest.cc
examples_14_test_gtest_CPPFLAGS = $(EXAMPLE_CPPFLAGS) $(GTEST_CFLAGS)
examples_14_test_gtest_LDADD = libxonce-test.la libxonce.la $(GTEST_LIBS)
