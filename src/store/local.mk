# The store: databases behind one dialect interface.
libxonce_core_la_SOURCES += \
	src/store/ahead.c src/store/attempt.c src/store/batch.c src/store/batch.h src/store/claim.c src/store/claim.h src/store/covered.c src/store/rewind.c src/store/rewind.h \
	src/store/dialect.h src/store/figures.c src/store/figures.h src/store/leave.c src/store/offset.c src/store/offset.h src/store/partition.c src/store/partition.h src/store/pool.c src/store/prune.c src/store/prune.h \
	src/store/reject.c src/store/run.c src/store/run.h src/store/schema.c src/store/schema_files.h src/store/settled.c src/store/settled.h \
	src/store/sqltext.c src/store/sqltext.h src/store/store.c src/store/store.h src/store/takeout.c src/store/takeover.c src/store/tx.c src/store/tx.h \
	src/store/value.c src/store/watermark.c

if WITH_SQLITE
libxonce_core_la_SOURCES += \
	src/store/sqlite.c src/store/sqlite.h src/store/sqlite_check.c src/store/sqlite_claim.c src/store/sqlite_error.c src/store/sqlite_native.c \
	src/store/sqlite_stmt.c
else
libxonce_core_la_SOURCES += src/store/sqlite_none.c
endif

if WITH_POSTGRESQL
libxonce_core_la_SOURCES += \
	src/store/postgres.c src/store/postgres_check.c src/store/postgres_check_table.c src/store/postgres_claim.c \
	src/store/postgres_error.c src/store/postgres_exchange.c src/store/postgres_int.h src/store/postgres_native.c \
	src/store/postgres_open.c src/store/postgres_partition.c src/store/postgres_prepared.c src/store/postgres_prune.c src/store/postgres_run.c \
	src/store/postgres_value.c
else
libxonce_core_la_SOURCES += src/store/postgres_none.c
endif

if WITH_MYSQL
libxonce_core_la_SOURCES += \
	src/store/mysql.c src/store/mysql_bind.c src/store/mysql_check.c src/store/mysql_claim.c src/store/mysql_compound.c src/store/mysql_error.c \
	src/store/mysql_impl.h src/store/mysql_native.c src/store/mysql_open.c src/store/mysql_partition.c src/store/mysql_prune.c src/store/mysql_run.c \
	src/store/mysql_stmt.c
else
libxonce_core_la_SOURCES += src/store/mysql_none.c
endif
