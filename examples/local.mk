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
