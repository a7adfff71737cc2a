/* The configuration table, values, and files. */
#include "base/config.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static xonce_config *cfg;

static void setup(void)
{
    ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
}

static void teardown(void)
{
    xonce_config_free(cfg);
}

/* A file with this text, loaded. */
static xonce_status load(const char *text)
{
    char path[] = "/tmp/xonce-config-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    xonce_status rc = xonce_config_load(cfg, path);
    unlink(path);
    return rc;
}

START_TEST(every_default_is_in_range)
{
    for (size_t i = 0; i < xo_config_count; i++) {
        const xo_config_key *k = &xo_config_keys[i];
        ck_assert_uint_gt(strlen(k->sentence), 20);
        ck_assert_int_eq(k->sentence[strlen(k->sentence) - 1], '.');
        if (k->fallback) {
            ck_assert_msg(xonce_config_set(cfg, k->key, k->fallback) == XONCE_OK, "%s: %s", k->key, xonce_error_last()->text);
        }
        for (size_t j = 0; j < i; j++) {
            ck_assert_str_ne(xo_config_keys[j].key, k->key);
        }
        for (const char *p = k->alias; p && *p;) { /* no alias stands twice: each finds its own key */
            char name[64];
            size_t n = strcspn(p, "|");
            (void)snprintf(name, sizeof(name), "%.*s", (int)n, p);
            xo_config_key *found = NULL;
            for (size_t j = 0; j < xo_config_count; j++) {
                const char *in = xo_config_keys[j].alias ? strstr(xo_config_keys[j].alias, name) : NULL;
                if (in && (in == xo_config_keys[j].alias || in[-1] == '|') && (in[n] == 0 || in[n] == '|')) {
                    ck_assert_msg(!found, "%s stands for two keys", name);
                    found = (xo_config_key *)(uintptr_t)&xo_config_keys[j];
                }
            }
            ck_assert_ptr_eq(found, k);
            ck_assert_ptr_null(xo_config_elsewhere(name));
            p += n + (p[n] == '|');
        }
    }
}
END_TEST

START_TEST(defaults_hold_without_a_configuration)
{
    ck_assert_int_eq(xo_config_int(NULL, "workers"), 20);
    ck_assert_int_eq(xo_config_int(NULL, "prune.keep"), INT64_C(4) * 86400000);
    ck_assert_int_eq(xo_config_int(NULL, "buffer.size"), INT64_C(512) << 20);
    ck_assert_int_eq(xo_config_int(NULL, "sql.errors"), 0);
    ck_assert_ptr_null(xo_config_text(NULL, "instance"));
    ck_assert(!xo_config_is_set(NULL, "workers"));
}
END_TEST

START_TEST(values_are_parsed_and_bounded)
{
    ck_assert_int_eq(xonce_config_set(cfg, "workers", "8"), XONCE_OK);
    ck_assert_int_eq(xo_config_int(cfg, "workers"), 8);
    ck_assert(xo_config_is_set(cfg, "workers"));
    ck_assert_int_eq(xonce_config_set(cfg, "workers", "0"), XONCE_E_INVALID);
    ck_assert_str_eq(xonce_error_last()->text, "workers: 0 is out of range; it may be 1 to 1000");
    ck_assert_int_eq(xo_config_int(cfg, "workers"), 8);
    ck_assert_int_eq(xonce_config_set(cfg, "sql.errors", "judge"), XONCE_OK);
    ck_assert_int_eq(xo_config_int(cfg, "sql.errors"), 1);
    ck_assert_int_eq(xonce_config_set(cfg, "sql.errors", "jud"), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_config_set(cfg, "suspend", "5ms"), XONCE_E_INVALID);
    ck_assert_str_eq(xonce_error_last()->text, "suspend: 5ms is out of range; it may be 10ms to 30s");
    static const char *const bad[] = {"", "x", "1x", " 1", "1 ", "0x10", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(xonce_config_set(cfg, "workers", bad[i]), XONCE_E_INVALID);
    }
    ck_assert_int_eq(xonce_config_set(cfg, "buffer.size", "99999999999G"), XONCE_E_INVALID);
}
END_TEST

static int open_at(int hour, int minute)
{
    return xo_window_open(xo_config_int(cfg, "prune.window"), ((INT64_C(20000) * 24 + hour) * 60 + minute) * 60000 + 59999);
}

START_TEST(a_window_is_two_times_of_day)
{
    static const char *const bad[] = {"", "always", "1:30-05:00", "01:30", "01:30-", "01:30-05:00x", "01:30-05:60", "24:00-01:00", "00:00-24:01", "01:30/05:00", "01:30 - 05:00", "-1:30-05:00", "0x:30-05:00"};
    ck_assert(open_at(12, 0)); /* unset */
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(xonce_config_set(cfg, "prune.window", bad[i]), XONCE_E_INVALID);
    }
    ck_assert_int_eq(xonce_config_set(cfg, "prune.window", "1-5"), XONCE_E_INVALID);
    ck_assert_str_eq(xonce_error_last()->text, "prune.window: \"1-5\" is no window; write two times of day in UTC, as 01:30-05:00 or 22:00-04:00");
    ck_assert_int_eq(xonce_config_set(cfg, "prune.window", "05:00-05:00"), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "is empty"));
    ck_assert_int_eq(xonce_config_set(cfg, "prune.window", "01:30-05:00"), XONCE_OK);
    ck_assert(!open_at(1, 29) && open_at(1, 30) && open_at(4, 59) && !open_at(5, 0) && !open_at(0, 0));
    ck_assert_int_eq(xonce_config_set(cfg, "prune.window", "22:00-04:00"), XONCE_OK);
    ck_assert(open_at(22, 0) && open_at(23, 59) && open_at(0, 0) && open_at(3, 59) && !open_at(4, 0) && !open_at(21, 59));
    ck_assert_int_eq(xonce_config_set(cfg, "prune.window", "00:00-24:00"), XONCE_OK);
    ck_assert(open_at(0, 0) && open_at(23, 59));
    ck_assert_int_eq(xonce_config_set(cfg, "prune.window", "00:00-00:01"), XONCE_OK);
    ck_assert(open_at(0, 0) && !open_at(0, 1) && !open_at(23, 59));
}
END_TEST

START_TEST(java_names_have_their_own_units)
{
    ck_assert_int_eq(xonce_config_set(cfg, "ConsumeThreadNums", "20"), XONCE_OK);
    ck_assert_int_eq(xo_config_int(cfg, "workers"), 20);
    ck_assert_int_eq(xonce_config_set(cfg, "ConsumeTimeout", "15"), XONCE_OK);
    ck_assert_int_eq(xo_config_int(cfg, "handler.timeout"), 900000);
    ck_assert_int_eq(xonce_config_set(cfg, "handler.timeout", "15000"), XONCE_OK);
    ck_assert_int_eq(xo_config_int(cfg, "handler.timeout"), 15000);
    ck_assert_int_eq(xonce_config_set(cfg, "BatchConsumeMaxAwaitDurationInSeconds", "2"), XONCE_OK);
    ck_assert_int_eq(xo_config_int(cfg, "batch.linger"), 2000);
    ck_assert_int_eq(xonce_config_set(cfg, "maxCachedMessageSizeInMiB", "64"), XONCE_OK);
    ck_assert_int_eq(xo_config_int(cfg, "buffer.size"), 64 << 20);
    ck_assert_int_eq(xonce_config_set(cfg, "SendMsgTimeoutMillis", "3000"), XONCE_OK);
    ck_assert_int_eq(xo_config_int(cfg, "send.timeout"), 3000);
    ck_assert_int_eq(xonce_config_set(cfg, "autoCommitIntervalMillis", "1000"), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(cfg, "pullThresholdSizeForQueue", "50"), XONCE_OK);
    ck_assert_int_eq(xo_config_int(cfg, "rocketmq.commit-every"), 1000);
    ck_assert_int_eq(xo_config_int(cfg, "rocketmq.queue-size"), 50 << 20);
    ck_assert_int_eq(xonce_config_set(cfg, "maxReconsumeTimes", "16"), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(cfg, "GROUP_ID", "GID_a"), XONCE_E_INVALID);
    ck_assert_str_eq(xonce_error_last()->text, "GROUP_ID is no setting here: the group is given with the store (--group)");
    ck_assert_int_eq(xonce_config_set(cfg, "http.wait", "7"), XONCE_OK);
    ck_assert_int_eq(xo_config_int(cfg, "http.wait"), 7000);
}
END_TEST

START_TEST(unknown_keys_get_a_suggestion)
{
    ck_assert_int_eq(xonce_config_set(cfg, "wokers", "1"), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "\"workers\""));
    ck_assert_int_eq(xonce_config_set(cfg, "consumethreadnums", "1"), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "\"ConsumeThreadNums\""));
    ck_assert_int_eq(xonce_config_set(cfg, "q", "1"), XONCE_E_INVALID);
}
END_TEST

START_TEST(files_are_read_whole_or_not_at_all)
{
    ck_assert_int_eq(setenv("XONCE_TEST_VALUE", "a # b", 1), 0);
    ck_assert_int_eq(load("# comment\n\n workers = 9 # more\r\ninstance=MQ#1\ncredentials.access-key-id = x${XONCE_TEST_VALUE}y"), XONCE_OK);
    ck_assert_int_eq(xo_config_int(cfg, "workers"), 9);
    ck_assert_str_eq(xo_config_text(cfg, "instance"), "MQ#1");
    ck_assert_str_eq(xo_config_text(cfg, "credentials.access-key-id"), "xa # by");
    ck_assert_int_eq(load("workers = 3\nattempts = x\n"), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, ":2: attempts: "));
    ck_assert_int_eq(xo_config_int(cfg, "workers"), 9);
    ck_assert_int_eq(load("workers 3\n"), XONCE_E_INVALID);
    ck_assert_int_eq(unsetenv("XONCE_TEST_UNSET"), 0);
    ck_assert_int_eq(load("instance = ${XONCE_TEST_UNSET}\n"), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "XONCE_TEST_UNSET"));
    ck_assert_int_eq(load("instance = ${XONCE\n"), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_config_load(cfg, "/nowhere/at/all"), XONCE_E_INVALID);
}
END_TEST

/* Each name of "a|b" sets the key it stands at. */
START_TEST(every_alias_sets_its_key)
{
    for (size_t i = 0; i < xo_config_count; i++) {
        const xo_config_key *k = &xo_config_keys[i];
        for (const char *p = k->alias; p && *p;) {
            xonce_config *one;
            char name[64], value[64];
            size_t n = strcspn(p, "|");
            (void)snprintf(name, sizeof(name), "%.*s", (int)n, p);
            if (k->type == XO_T_INT) {
                (void)snprintf(value, sizeof(value), "%lld", (long long)k->max);
            } else {
                const char *text = k->type == XO_T_DURATION ? "10s" : k->type == XO_T_SIZE ? "64M" : k->type == XO_T_BOOL ? "on" : "CLUSTERING";
                (void)snprintf(value, sizeof(value), "%s", text);
            }
            if (k->type == XO_T_SIZE && k->max < (64 << 20)) {
                (void)snprintf(value, sizeof(value), "%lldk", (long long)k->max / 1024);
            }
            ck_assert_int_eq(xonce_config_new(&one), XONCE_OK);
            ck_assert_msg(xonce_config_set(one, name, value) == XONCE_OK, "%s=%s: %s", name, value, xonce_error_last()->text);
            ck_assert_msg(xo_config_is_set(one, k->key), "%s sets another key than %s", name, k->key);
            xonce_config_free(one);
            p += n + (p[n] == '|');
        }
    }
    ck_assert_int_eq(xonce_config_set(cfg, "exactlyOnceDelivery", "true"), XONCE_OK);
    ck_assert_int_eq(xo_config_int(cfg, "send.exactly-once"), 1);
    ck_assert_int_eq(xonce_config_set(cfg, "msgTraceSwitch", "true"), XONCE_OK);
    ck_assert_int_eq(xo_config_int(cfg, "trace"), 1);
}
END_TEST

START_TEST(every_key_has_a_variable_of_its_own)
{
    char names[256][XO_CONFIG_NAME];
    ck_assert_uint_lt(xo_config_count, 256);
    for (size_t i = 0; i < xo_config_count; i++) {
        const xo_config_key *k = &xo_config_keys[i];
        xo_config_variable(k->key, names[i], XO_CONFIG_NAME);
        ck_assert_uint_lt(strlen(k->key) + 6, XO_CONFIG_NAME);
        ck_assert_uint_eq(strspn(names[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789"), strlen(names[i]));
        for (size_t j = 0; j < i; j++) {
            ck_assert_str_ne(names[j], names[i]);
        }
        ck_assert_int_eq(setenv(names[i], k->fallback ? k->fallback : k->type == XO_T_WINDOW ? "01:00-02:00" : "text", 1), 0);
    }
    ck_assert_msg(xonce_config_env(cfg) == XONCE_OK, "%s", xonce_error_last()->text);
    for (size_t i = 0; i < xo_config_count; i++) {
        ck_assert_msg(xo_config_is_set(cfg, xo_config_keys[i].key), "%s", names[i]);
        ck_assert_int_eq(unsetenv(names[i]), 0);
    }
}
END_TEST

START_TEST(variables_are_taken_whole_or_not_at_all)
{
    char *near;
    ck_assert_int_eq(setenv("XONCE_BATCH_MAX", "7", 1), 0);
    ck_assert_int_eq(setenv("XONCE_WORKERS", "", 1), 0);
    ck_assert_int_eq(xonce_config_env(cfg), XONCE_OK);
    ck_assert_int_eq(xo_config_int(cfg, "batch.max"), 7);
    ck_assert(!xo_config_is_set(cfg, "workers"));
    ck_assert_int_eq(setenv("XONCE_BATCH_MAX", "9", 1), 0);
    ck_assert_int_eq(setenv("XONCE_PRUNE_EVERY", "soon", 1), 0);
    ck_assert_int_eq(xonce_config_env(cfg), XONCE_E_INVALID);
    ck_assert_ptr_eq(strstr(xonce_error_last()->text, "environment variable XONCE_PRUNE_EVERY: prune.every: "), xonce_error_last()->text);
    ck_assert_int_eq(xo_config_int(cfg, "batch.max"), 7);
    ck_assert_int_eq(unsetenv("XONCE_PRUNE_EVERY"), 0);
    ck_assert_int_eq(unsetenv("XONCE_BATCH_MAX"), 0);
    ck_assert_int_eq(unsetenv("XONCE_WORKERS"), 0);
    near = xo_config_mistyped("XONCE_PRUNE_EVRY");
    ck_assert_str_eq(near, "XONCE_PRUNE_EVERY");
    free(near);
    static const char *const fine[] = {"XONCE_PRUNE_EVERY", "XONCE_STORE", "XONCE_ATTEMPT", "XONCE_PROPERTY_trace", "XONCE_TEST_WORKERS", "XONCE_SOMETHING_ELSE_ALTOGETHER", "PRUNE_EVRY"};
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
        ck_assert_ptr_null(xo_config_mistyped(fine[i]));
    }
}
END_TEST

static char said[400];

static xonce_status on_section(const char *kind, const char *name, const char *key, const char *value, void *arg)
{
    ck_assert_str_eq(arg, "arg");
    (void)snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s|%s|%s|%s\n", kind, name, key ? key : "-", value ? value : "-");
    return value && strcmp(value, "refuse") == 0 ? xo_fail(XONCE_E_INVALID, "refused") : XONCE_OK;
}

static xonce_status load_sections(const char *text)
{
    char path[] = "/tmp/xonce-config-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    said[0] = 0;
    xonce_status st = xo_config_load_sections(cfg, path, on_section, (void *)(uintptr_t)"arg");
    unlink(path);
    return st;
}

START_TEST(sections_go_to_who_wants_them)
{
    ck_assert_int_eq(setenv("XONCE_TEST_VALUE", "v", 1), 0);
    ck_assert_int_eq(load_sections("workers = 4\n[consume]\ngroup = g # note\n [ store  a b ]\r\nuri = ${XONCE_TEST_VALUE}\n[subscription s]\nsql = one \\\n  two\\\r\nthree\nlast = \\"), XONCE_OK);
    ck_assert_str_eq(said, "consume||-|-\nconsume||group|g\nstore|a b|-|-\nstore|a b|uri|v\nsubscription|s|-|-\nsubscription|s|sql|one     two   three\nsubscription|s|last|\\\n");
    ck_assert_int_eq(xo_config_int(cfg, "workers"), 4);
    ck_assert_int_eq(load_sections("workers = 5\n[store a]\nsql = one \\\n two\nx = refuse\n"), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, ":5: refused"));
    ck_assert_int_eq(xo_config_int(cfg, "workers"), 4);
    static const char *const bad[] = {"[store]\n", "[consume x]\n", "[other x]\n", "[store a\n", "[\n", "[]\n", "[store a]x\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(load_sections(bad[i]), XONCE_E_INVALID);
        ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, ":1: expected [consume], [subscription NAME] or [store NAME]"));
        ck_assert_int_eq(load(bad[i]), XONCE_E_INVALID);
    }
    /* who does not want them need not have their variables */
    ck_assert_int_eq(unsetenv("XONCE_TEST_UNSET"), 0);
    ck_assert_int_eq(load("workers = 6\n[store a]\nuri = ${XONCE_TEST_UNSET}\n"), XONCE_OK);
    ck_assert_int_eq(xo_config_int(cfg, "workers"), 6);
    ck_assert_int_eq(load_sections("[store a]\nuri = ${XONCE_TEST_UNSET}\n"), XONCE_E_INVALID);
}
END_TEST

START_TEST(one_value_is_taken_from_another)
{
    xonce_config *other;
    ck_assert_int_eq(xonce_config_new(&other), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(other, "workers", "3"), XONCE_OK);
    ck_assert_int_eq(xo_config_take(cfg, other, "workers"), XONCE_OK);
    ck_assert_int_eq(xo_config_int(cfg, "workers"), 3);
    ck_assert_int_eq(xo_config_take(cfg, NULL, "workers"), XONCE_OK);
    ck_assert(!xo_config_is_set(cfg, "workers"));
    ck_assert(xo_config_reloads("batch.max") && !xo_config_reloads("attempts"));
    xonce_config_free(other);
}
END_TEST

START_TEST(copies_are_deep)
{
    xonce_config *copy;
    ck_assert_int_eq(xonce_config_set(cfg, "instance", "one"), XONCE_OK);
    ck_assert_int_eq(xo_config_copy(&copy, cfg), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(cfg, "instance", "two"), XONCE_OK);
    ck_assert_str_eq(xo_config_text(copy, "instance"), "one");
    xonce_config_free(copy);
    ck_assert_int_eq(xo_config_copy(&copy, NULL), XONCE_OK);
    ck_assert_int_eq(xo_config_int(copy, "workers"), 20);
    xonce_config_free(copy);
    xonce_config_free(NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("config");
    TCase *c = tcase_create("config");
    suite_add_tcase(s, c);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, every_default_is_in_range);
    tcase_add_test(c, defaults_hold_without_a_configuration);
    tcase_add_test(c, values_are_parsed_and_bounded);
    tcase_add_test(c, java_names_have_their_own_units);
    tcase_add_test(c, a_window_is_two_times_of_day);
    tcase_add_test(c, unknown_keys_get_a_suggestion);
    tcase_add_test(c, files_are_read_whole_or_not_at_all);
    tcase_add_test(c, every_alias_sets_its_key);
    tcase_add_test(c, every_key_has_a_variable_of_its_own);
    tcase_add_test(c, variables_are_taken_whole_or_not_at_all);
    tcase_add_test(c, sections_go_to_who_wants_them);
    tcase_add_test(c, one_value_is_taken_from_another);
    tcase_add_test(c, copies_are_deep);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
