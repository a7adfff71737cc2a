# tests/cli: see tests/local.mk for the variables

# measuring, linked without the program
if WITH_SQLITE
check_PROGRAMS += tests/cli/test_measure
TESTS += tests/cli/test_measure
SANITIZER_TESTS += tests/cli/test_measure
THREAD_TESTS += tests/cli/test_measure
endif
tests_cli_test_measure_SOURCES = tests/cli/test_measure.c src/cli/measure.c src/cli/measure_advice.c src/cli/measure_tables.c
tests_cli_test_measure_LDADD = $(CORE_LIBS)

# what systemd is told, linked without the program
check_PROGRAMS += tests/cli/test_service
TESTS += tests/cli/test_service
SANITIZER_TESTS += tests/cli/test_service
tests_cli_test_service_SOURCES = tests/cli/test_service.c src/cli/service.c src/cli/output.c
tests_cli_test_service_LDADD = $(CORE_LIBS)

if WITH_PROGRAM
if WITH_SQLITE
TESTS += tests/cli/bench.sh tests/cli/config.sh tests/cli/trace.sh tests/cli/service.sh tests/cli/place.sh tests/cli/convert.sh tests/cli/doctor.sh
SANITIZER_TESTS += tests/cli/convert.sh
endif
INTEROP_TESTS += tests/cli/bench-servers.sh tests/cli/pages.sh tests/cli/explain-servers.sh tests/cli/doctor-servers.sh
endif
EXTRA_DIST += tests/cli/pages.sh tests/cli/bench.sh tests/cli/config.sh tests/cli/trace.sh tests/cli/explain.sh tests/cli/explain-servers.sh tests/cli/bench-servers.sh tests/cli/doctor.sh tests/cli/doctor-servers.sh
EXTRA_DIST += tests/cli/convert.sh tests/cli/convert tests/cli/place.sh tests/cli/service.sh
