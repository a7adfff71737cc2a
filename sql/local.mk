# The schema: installed for people to read, and compiled into the library.
SQL_FILES = sql/mysql/001-record.sql sql/mysql/002-xonce.sql sql/mysql/003-settled.sql \
	sql/postgresql/001-record.sql sql/postgresql/002-xonce.sql sql/postgresql/003-settled.sql \
	sql/sqlite/001-record.sql sql/sqlite/002-xonce.sql sql/sqlite/003-settled.sql \
	sql/mysql-partitioned/001-record.sql sql/postgresql-partitioned/001-record.sql
nobase_dist_pkgdata_DATA = $(SQL_FILES)
EXTRA_DIST += sql/embed.sh
nodist_libxonce_core_la_SOURCES += src/store/schema_files.c
CLEANFILES += src/store/schema_files.c
src/store/schema_files.c: $(SQL_FILES) sql/embed.sh
	$(AM_V_GEN)$(MKDIR_P) src/store && $(SHELL) $(top_srcdir)/sql/embed.sh $(top_srcdir)/sql > $@.tmp && mv $@.tmp $@
