/* Measuring on SQLite: loads do what they say and no more, stop when told, and go without a trace; and what figures advise. */
#include "cli/measure.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[200], uri[260];
static xonce_store *s;
static xo_measure m;

static void query(const char *sql)
{
    ck_assert_msg(xo_store_query(s, sql, NULL, 0, NULL, NULL, NULL) == XONCE_OK, "%s: %s", sql, xonce_error_last()->text);
}

static int on_int(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = xonce_row_int(r, 0);
    return 1;
}

static int64_t number(const char *sql)
{
    int64_t n = -1;
    ck_assert_msg(xo_store_query(s, sql, NULL, 0, on_int, &n, NULL) == XONCE_OK, "%s: %s", sql, xonce_error_last()->text);
    return n;
}

static void set_up(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/xonce-measure-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(uri, sizeof uri, "sqlite:%s/m.db", dir);
    ck_assert_int_eq(xonce_store_open(&s, uri, "GID_measure", NULL), XONCE_OK);
    ck_assert_int_eq(xonce_store_upgrade(s), XONCE_OK);
    ck_assert_int_eq(xo_measure_init(&m, s, "measured", XO_MEASURE_BODY), XONCE_OK);
    ck_assert_int_eq(xo_measure_create(&m), XONCE_OK);
}

static void tear_down(void)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    xo_measure_free(&m);
    xonce_store_close(s);
    for (size_t i = 0; i < 3; i++) {
        char path[260];
        snprintf(path, sizeof path, "%s/m.db%s", dir, ends[i]);
        unlink(path);
    }
    ck_assert_int_eq(rmdir(dir), 0);
}

static xo_measured run(xo_load load)
{
    xo_measured got = {0};
    load.connections = 1;
    ck_assert_msg(xo_measure_run(&m, &load, 0.15, &got) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert(got.per_second > 0);
    ck_assert(got.cpu_us > 0);
    return got;
}

START_TEST(records_once)
{
    run((xo_load){.mode = XO_LOAD_RECORD, .batch = 16, .duplicates = 30});
    int64_t rows = number("SELECT count(*) FROM measured");
    ck_assert_int_gt(rows, 16);
    ck_assert_int_eq(number("SELECT count(DISTINCT id) FROM measured"), rows);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record WHERE consumer_group = 'GID_measure'"), rows);
    ck_assert_int_eq(number("SELECT count(*) FROM measured WHERE length(payload) <> 200"), 0);
}
END_TEST

START_TEST(none_and_bare_keep_no_record)
{
    run((xo_load){.mode = XO_LOAD_NONE, .batch = 16, .duplicates = 30});
    int64_t rows = number("SELECT count(*) FROM measured");
    ck_assert_int_eq(rows % 16, 0);
    ck_assert_int_lt(number("SELECT count(DISTINCT id) FROM measured"), rows);
    run((xo_load){.mode = XO_LOAD_BARE, .batch = 1});
    ck_assert_int_gt(number("SELECT count(*) FROM measured"), rows);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), 0);
}
END_TEST

START_TEST(by_offset)
{
    for (int i = 0; i < 2; i++) { /* the second one goes on behind the first */
        run((xo_load){.mode = XO_LOAD_OFFSET, .batch = 16, .duplicates = 30});
    }
    ck_assert_int_eq(number("SELECT sum(next_offset) FROM xonce_settled"), number("SELECT count(*) FROM measured"));
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), 0);
}
END_TEST

START_TEST(bad_by_verdict)
{
    run((xo_load){.mode = XO_LOAD_RECORD, .batch = 16, .bad = 10, .bad_by_verdict = 1});
    ck_assert_int_gt(number("SELECT count(*) FROM xonce_rejected"), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), number("SELECT (SELECT count(*) FROM measured) + (SELECT count(*) FROM xonce_rejected)"));
}
END_TEST

START_TEST(bad_by_statement)
{
    run((xo_load){.mode = XO_LOAD_RECORD, .batch = 16, .bad = 10});
    ck_assert_int_gt(number("SELECT count(*) FROM measured"), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM measured WHERE payload = '!'"), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), number("SELECT count(*) FROM measured"));
}
END_TEST

static xonce_verdict count_and_fail(xonce_tx *tx, const xonce_message *message, void *arg)
{
    (void)message;
    ++*(int *)arg;
    xonce_fail(tx, "not today");
    return XONCE_RETRY;
}

START_TEST(a_handler_that_fails)
{
    int called = 0;
    xo_measured got;
    xo_load load = {.mode = XO_LOAD_RECORD, .batch = 4, .connections = 1, .handler = count_and_fail, .arg = &called};
    ck_assert_int_ne(xo_measure_run(&m, &load, 10, &got), XONCE_OK);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "not today"));
    ck_assert_int_gt(called, 0);
}
END_TEST

START_TEST(stops)
{
    xo_measured got;
    xo_load load = {.mode = XO_LOAD_RECORD, .batch = 4, .connections = 1};
    m.stop = 1;
    ck_assert_int_eq(xo_measure_run(&m, &load, 3600, &got), XONCE_E_CLOSED);
    m.stop = 0;
    load.batch = XO_MEASURE_BATCH_MAX + 1;
    ck_assert_int_eq(xo_measure_run(&m, &load, 1, &got), XONCE_E_INVALID);
    load = (xo_load){.mode = XO_LOAD_BARE, .batch = 2, .connections = 1};
    ck_assert_int_eq(xo_measure_run(&m, &load, 1, &got), XONCE_E_INVALID);
}
END_TEST

START_TEST(goes_without_a_trace)
{
    static const char other[] = "INSERT INTO transaction_record (consumer_group, message_id, topic_name, ctime, queue_id, \"offset\", broker_name)"
                                " VALUES ('GID_other', '" XO_MEASURE_IDS "0000000000000001#GID_other', 't', 1, 0, 0, ''), ('GID_measure', 'mine#GID_measure', 't', 1, 0, 0, '')";
    int64_t deleted = 0;
    double trip, commit;
    query(other);
    run((xo_load){.mode = XO_LOAD_RECORD, .batch = 256});
    int64_t rows = number("SELECT count(*) FROM measured");
    ck_assert_int_eq(xo_measure_ways(&m, &trip, &commit), XONCE_OK);
    ck_assert(trip >= 0 && commit > 0);
    ck_assert_int_ne(xo_measure_create(&m), XONCE_OK); /* it is there */
    ck_assert_int_eq(xo_measure_forget(&m, 1, NULL, &deleted), XONCE_OK);
    ck_assert_int_eq(deleted, rows);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), 2); /* another group's, and one that was not made here */
    ck_assert_int_eq(xo_measure_drop(&m), XONCE_OK);
    ck_assert_int_eq(number("SELECT count(*) FROM sqlite_master WHERE name = 'measured'"), 0);
    ck_assert_int_eq(xo_measure_forget(&m, 0, NULL, &deleted), XONCE_OK);
    ck_assert_int_eq(deleted, 0);
}
END_TEST

/* ---- advice ---- */

static xo_figure figure(xo_load_mode mode, size_t batch, int connections, double per_second)
{
    return (xo_figure){.load = {.mode = mode, .batch = batch, .connections = connections}, .per_second = per_second};
}

START_TEST(advice)
{
    xo_advice a;
    xo_figure f[] = {figure(XO_LOAD_BARE, 1, 1, 1000),    figure(XO_LOAD_NONE, 128, 1, 99000),  figure(XO_LOAD_RECORD, 1, 1, 900),    figure(XO_LOAD_RECORD, 32, 1, 9000),
                     figure(XO_LOAD_RECORD, 128, 1, 20000), figure(XO_LOAD_RECORD, 1, 4, 2000), figure(XO_LOAD_RECORD, 32, 4, 21500), figure(XO_LOAD_RECORD, 128, 4, 22000)};
    size_t n = sizeof f / sizeof f[0];
    xo_measure_advise(f, n, 100, 900, &a); /* one worker comes near four */
    ck_assert_uint_eq(a.batch, 128);
    ck_assert_int_eq(a.workers, 1);
    ck_assert_ptr_nonnull(strstr(a.why, "22.2 times"));
    ck_assert_ptr_nonnull(strstr(a.why, "4 workers add only 10 %"));
    f[4].per_second = 10000; /* now it does not, and of four the smaller batch does */
    xo_measure_advise(f, n, 100, 900, &a);
    ck_assert_uint_eq(a.batch, 32);
    ck_assert_int_eq(a.workers, 4);
    ck_assert_ptr_nonnull(strstr(a.why, "4 workers take 2.4 times"));
    f[2].per_second = 21900;
    xo_measure_advise(f, n, 1, 2, &a);
    ck_assert_uint_eq(a.batch, 1);
    ck_assert_ptr_nonnull(strstr(a.why, "gain less than a tenth"));
    xo_measure_advise(f, 0, 1, 2, &a);
    ck_assert_uint_eq(a.batch, 1);
    ck_assert(xo_figure_of(f, n, XO_LOAD_NONE, 128, 1) > 98999 && xo_figure_of(f, n, XO_LOAD_NONE, 1, 1) < 1);
}
END_TEST

START_TEST(numbers)
{
    double v[] = {5, 1, 3}, w[] = {4, 1, 3, 2};
    ck_assert(xo_measure_median(v, 3) > 2.9 && xo_measure_median(v, 3) < 3.1);
    ck_assert(xo_measure_median(w, 4) > 2.4 && xo_measure_median(w, 4) < 2.6);
    ck_assert_int_eq(xo_measure_suspicious(100, 110), 1);
    ck_assert_int_eq(xo_measure_suspicious(100, 90), 1);
    ck_assert_int_eq(xo_measure_suspicious(100, 300), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("measure");
    TCase *loads = tcase_create("loads"), *figures = tcase_create("figures");
    tcase_add_checked_fixture(loads, set_up, tear_down);
    tcase_add_test(loads, records_once);
    tcase_add_test(loads, none_and_bare_keep_no_record);
    tcase_add_test(loads, by_offset);
    tcase_add_test(loads, bad_by_verdict);
    tcase_add_test(loads, bad_by_statement);
    tcase_add_test(loads, a_handler_that_fails);
    tcase_add_test(loads, stops);
    tcase_add_test(loads, goes_without_a_trace);
    tcase_add_test(figures, advice);
    tcase_add_test(figures, numbers);
    suite_add_tcase(suite, loads);
    suite_add_tcase(suite, figures);
    SRunner *sr = srunner_create(suite);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
