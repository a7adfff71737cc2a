# The store: databases behind one dialect interface.
libxonce_core_la_SOURCES += \
	src/store/ahead.c src/store/attempt.c src/store/batch.c src/store/batch.h src/store/claim.c src/store/claim.h src/store/covered.c src/store/rewind.c src/store/rewind.h \
	src/store/dialect.h src/store/figures.c src/store/figures.h src/store/leave.c src/store/offset.c src/store/offset.h src/store/partition.c src/store/partition.h src/store/pool.c src/store/prune.c src/store/prune.h \
	src/store/reject.c src/store/run.c src/store/run.h src/store/schema.c src/store/schema_files.h src/store/settled.c src/store/settled.h \
	src/store/sqltext.c src/store/sqltext.h src/store/store.c src/store/store.h src/store/takeout.c src/store/takeover.c src/store/tx.c src/store/tx.h \
	src/store/value.c src/store/watermark.c

if WITH_SQLITE
libxonce_core_la_SOURCES += \
	src/store/sqlite/sqlite.c src/store/sqlite/impl.h src/store/sqlite/check.c src/store/sqlite/claim.c src/store/sqlite/error.c src/store/sqlite/native.c \
	src/store/sqlite/stmt.c
else
libxonce_core_la_SOURCES += src/store/sqlite/none.c
endif

if WITH_POSTGRESQL
libxonce_core_la_SOURCES += \
	src/store/postgres/postgres.c src/store/postgres/check.c src/store/postgres/check_table.c src/store/postgres/claim.c \
	src/store/postgres/error.c src/store/postgres/exchange.c src/store/postgres/impl.h src/store/postgres/native.c \
	src/store/postgres/open.c src/store/postgres/partition.c src/store/postgres/prepared.c src/store/postgres/prune.c src/store/postgres/run.c \
	src/store/postgres/value.c
else
libxonce_core_la_SOURCES += src/store/postgres/none.c
endif

if WITH_MYSQL
libxonce_core_la_SOURCES += \
	src/store/mysql/mysql.c src/store/mysql/bind.c src/store/mysql/check.c src/store/mysql/claim.c src/store/mysql/compound.c src/store/mysql/error.c \
	src/store/mysql/impl.h src/store/mysql/native.c src/store/mysql/open.c src/store/mysql/partition.c src/store/mysql/prune.c src/store/mysql/run.c \
	src/store/mysql/stmt.c
else
libxonce_core_la_SOURCES += src/store/mysql/none.c
endif
