# tests/unit: see tests/local.mk for the variables

check_PROGRAMS += tests/unit/test_base tests/unit/test_config tests/unit/test_message
TESTS += tests/unit/test_base tests/unit/test_config tests/unit/test_message
SANITIZER_TESTS += tests/unit/test_base tests/unit/test_config tests/unit/test_message
tests_unit_test_base_SOURCES = tests/unit/test_base.c
tests_unit_test_base_LDADD = $(CORE_LIBS)
tests_unit_test_config_SOURCES = tests/unit/test_config.c
tests_unit_test_config_LDADD = $(CORE_LIBS)
tests_unit_test_message_SOURCES = tests/unit/test_message.c
tests_unit_test_message_LDADD = $(CORE_LIBS)

check_PROGRAMS += tests/unit/test_log
TESTS += tests/unit/test_log
SANITIZER_TESTS += tests/unit/test_log
THREAD_TESTS += tests/unit/test_log
tests_unit_test_log_SOURCES = tests/unit/test_log.c
tests_unit_test_log_LDADD = $(CORE_LIBS)

check_PROGRAMS += tests/unit/test_sqltext
TESTS += tests/unit/test_sqltext
SANITIZER_TESTS += tests/unit/test_sqltext
tests_unit_test_sqltext_SOURCES = tests/unit/test_sqltext.c
tests_unit_test_sqltext_LDADD = $(CORE_LIBS)

# parts of the program, linked without it
cli_tests = tests/unit/test_cli_json tests/unit/test_cli_options tests/unit/test_cli_template
check_PROGRAMS += $(cli_tests)
TESTS += $(cli_tests)
SANITIZER_TESTS += $(cli_tests)
tests_unit_test_cli_json_SOURCES = tests/unit/test_cli_json.c src/cli/jsonpath.c
tests_unit_test_cli_json_LDADD = $(CORE_LIBS)
tests_unit_test_cli_options_SOURCES = tests/unit/test_cli_options.c src/cli/exec.c src/cli/options.c src/cli/output.c src/cli/service.c
tests_unit_test_cli_options_LDADD = $(CORE_LIBS)
tests_unit_test_cli_template_SOURCES = tests/unit/test_cli_template.c src/cli/jsonpath.c src/cli/line.c src/cli/sqltemplate.c
tests_unit_test_cli_template_LDADD = $(CORE_LIBS)
