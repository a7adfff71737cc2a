/* Options of the program, and the environment of --exec. */
#include "base/config.h"
#include "cli/exec.h"
#include "cli/options.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const char *text;
    int on;
    int64_t n, ms;
    xo_list_value list;
    xonce_config *cfg;
    size_t nrest;
    char *argv[20];
} got;

/* Parses words separated by blanks. What is said goes to stderr. */
static int parse(const char *line)
{
    static char copy[300];
    static const xo_arg args[] = {
        {"text", "TEXT", XO_ARG_TEXT, &got.text, NULL, 0, 0, "a text"},
        {"on", NULL, XO_ARG_SWITCH, &got.on, NULL, 0, 0, "a switch"},
        {"number", "N", XO_ARG_INT, &got.n, NULL, 1, 10, "a number"},
        {"time", "TIME", XO_ARG_DURATION, &got.ms, NULL, 0, 60000, "a time"},
        {"item", "X", XO_ARG_LIST, &got.list, NULL, 0, 0, "again and again"},
        {"workers", "N", XO_ARG_SETTING, &got.cfg, "workers", 0, 0, "a setting"},
        {"set", "KEY=VALUE", XO_ARG_SETTINGS, &got.cfg, NULL, 0, 0, "any setting"},
        {"config", "FILE", XO_ARG_CONFIG, &got.cfg, NULL, 0, 0, "a file"},
    };
    static const xo_usage usage = {"test", "[OPTION]...", "About.", "  example", NULL, args, sizeof(args) / sizeof(args[0]), 2};
    int argc = 0;
    char *save = NULL;
    xo_list_free(&got.list);
    xonce_config_free(got.cfg);
    memset(&got, 0, sizeof(got));
    ck_assert_int_eq(xonce_config_new(&got.cfg), XONCE_OK);
    ck_assert_uint_lt(strlen(line), sizeof(copy));
    memcpy(copy, line, strlen(line) + 1);
    got.argv[argc++] = (char *)(uintptr_t)"test";
    for (char *p = strtok_r(copy, " ", &save); p && argc < 19; p = strtok_r(NULL, " ", &save)) {
        got.argv[argc++] = p;
    }
    return xo_args_parse(&usage, argc, got.argv, &got.nrest);
}

START_TEST(settings_are_made_in_order)
{
    ck_assert_int_eq(parse("--set workers=7 --set batch.max=5 --set=workers=8"), XO_GO_ON);
    ck_assert_int_eq(xo_config_int(got.cfg, "workers"), 8);
    ck_assert_int_eq(xo_config_int(got.cfg, "batch.max"), 5);
    ck_assert_int_eq(parse("--set workers"), XO_EXIT_USAGE);
    ck_assert_int_eq(parse("--set =7"), XO_EXIT_USAGE);
    ck_assert_int_eq(parse("--set wokers=7"), XO_EXIT_USAGE);
    ck_assert_int_eq(parse("--set workers=x"), XO_EXIT_USAGE);
}
END_TEST

START_TEST(options_are_taken)
{
    ck_assert_int_eq(parse("one --text a --on --number=7 --time 2s --item x --item=y=z --workers 9 - "), XO_GO_ON);
    ck_assert_str_eq(got.text, "a");
    ck_assert_int_eq(got.on, 1);
    ck_assert_int_eq(got.n, 7);
    ck_assert_int_eq(got.ms, 2000);
    ck_assert_uint_eq(got.list.n, 2);
    ck_assert_str_eq(got.list.items[1], "y=z");
    ck_assert_int_eq(xo_config_int(got.cfg, "workers"), 9);
    ck_assert_uint_eq(got.nrest, 2);
    ck_assert_str_eq(got.argv[1], "one");
    ck_assert_str_eq(got.argv[2], "-");
    ck_assert_int_eq(parse("--text --on -- --on"), XO_GO_ON);
    ck_assert_str_eq(got.text, "--on");
    ck_assert_int_eq(got.on, 0);
    ck_assert_uint_eq(got.nrest, 1);
    ck_assert_str_eq(got.argv[1], "--on");
}
END_TEST

START_TEST(wrong_use_is_exit_2)
{
    static const char *const bad[] = {"--nothing", "--txet a", "--text", "--on=1", "--number 0", "--number 11", "--number x", "--number 1x", "--time 61s", "--time -1s",
                                      "--text a --text b", "-x", "a b c", "--workers 0", "--config /nowhere/at/all"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(parse(bad[i]) == XO_EXIT_USAGE, "taken: %s", bad[i]);
    }
    ck_assert_int_eq(parse("--help"), XO_EXIT_OK);
}
END_TEST

START_TEST(options_win_over_the_file)
{
    char path[] = "/tmp/xonce-options-XXXXXX", line[100];
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_gt(fprintf(f, "workers = 3\nattempts = 5\n"), 0);
    ck_assert_int_eq(fclose(f), 0);
    (void)snprintf(line, sizeof(line), "--workers 8 --config %s", path);
    ck_assert_int_eq(parse(line), XO_GO_ON);
    ck_assert_int_eq(xo_config_int(got.cfg, "workers"), 8);
    ck_assert_int_eq(xo_config_int(got.cfg, "attempts"), 5);
    ck_assert_int_eq(remove(path), 0);
}
END_TEST

static const char *env_value(char **env, const char *name)
{
    const char *found = NULL;
    size_t n = strlen(name);
    for (; *env; env++) {
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=') {
            ck_assert_ptr_null(found);
            found = *env + n + 1;
        }
    }
    return found;
}

START_TEST(programs_get_the_message_in_their_environment)
{
    xonce_message *m;
    char *inherited[] = {(char *)(uintptr_t)"PATH=/bin", (char *)(uintptr_t)"XONCE_ID=old", (char *)(uintptr_t)"XONCE_PROPERTY_old=1", (char *)(uintptr_t)"XONCE_STORE=s", NULL};
    ck_assert_int_eq(xonce_message_new(&m, "topic", "id1", "x", 1), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_property(m, "TAGS", "red"), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_property(m, "a-b", "first"), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_property(m, "a.b", "second"), XONCE_OK);
    char **env = xo_exec_environment(m, inherited);
    ck_assert_ptr_nonnull(env);
    ck_assert_str_eq(env_value(env, "XONCE_ID"), "id1");
    ck_assert_str_eq(env_value(env, "XONCE_TOPIC"), "topic");
    ck_assert_str_eq(env_value(env, "XONCE_TAG"), "red");
    ck_assert_str_eq(env_value(env, "XONCE_KEY"), "");
    ck_assert_str_eq(env_value(env, "XONCE_ATTEMPT"), "1");
    ck_assert_str_eq(env_value(env, "XONCE_PROPERTY_a_b"), "first");
    ck_assert_str_eq(env_value(env, "PATH"), "/bin");
    ck_assert_str_eq(env_value(env, "XONCE_STORE"), "s");
    ck_assert_ptr_null(env_value(env, "XONCE_PROPERTY_old"));
    xo_exec_environment_free(env);
    xonce_message_free(m);
    xo_exec_program e;
    ck_assert_int_eq(xo_exec_find(&e, "sh", 1), XONCE_OK);
    ck_assert_ptr_nonnull(strchr(e.path, '/'));
    xo_exec_free(&e);
    ck_assert_int_eq(xo_exec_find(&e, "no-such-program-anywhere", 1), XONCE_E_INVALID);
    ck_assert_int_eq(xo_exec_find(&e, "/etc/passwd", 1), XONCE_E_INVALID);
    ck_assert_int_eq(xo_exec_find(&e, "/", 1), XONCE_E_INVALID);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("options");
    TCase *c = tcase_create("options");
    suite_add_tcase(s, c);
    tcase_add_test(c, settings_are_made_in_order);
    tcase_add_test(c, options_are_taken);
    tcase_add_test(c, wrong_use_is_exit_2);
    tcase_add_test(c, options_win_over_the_file);
    tcase_add_test(c, programs_get_the_message_in_their_environment);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
