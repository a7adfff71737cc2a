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
    tcase_add_test(c, copies_are_deep);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
