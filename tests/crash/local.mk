# tests/crash: see tests/local.mk for the variables

# each needs a few minutes at most; the sizes of `make check-long` are in crashlib.sh
CRASH_TESTS += tests/crash/judge.sh tests/crash/kill-sqlite.sh tests/crash/kill-postgres.sh tests/crash/kill-mysql.sh \
	tests/crash/database-postgres.sh tests/crash/database-mysql.sh tests/crash/network-postgres.sh tests/crash/network-mysql.sh
EXTRA_DIST += $(CRASH_TESTS) tests/crash/crashlib.sh tests/crash/kill.sh tests/crash/database.sh tests/crash/network.sh
