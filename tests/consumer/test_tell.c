/* Log lines about single messages: which there are, what they say, and how few they are when there is much to say. */
#include "tests/consumer/rig.h"
#include "consumer/parts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rig R;
static broker B;
static xonce_consumer *C;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char lines[1 << 20];
static size_t len;

static void take(int level, const char *area, const char *text, void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    int n = snprintf(lines + len, sizeof(lines) - len, "%d %s %s\n", level, area, text);
    ck_assert(n > 0 && (size_t)n < sizeof(lines) - len);
    len += (size_t)n;
    pthread_mutex_unlock(&lock);
}

static void begin(const char *const *settings)
{
    rig_open(&R, settings, 1);
    broker_init(&B);
    len = 0;
    lines[0] = 0;
    xonce_set_log(take, NULL);
    ck_assert_int_eq(xonce_consumer_new(&C, R.store, &B.base, R.cfg), XONCE_OK);
}

static void finish(void)
{
    xonce_set_log(NULL, NULL);
    xonce_consumer_free(C);
    rig_close(&R);
    broker_free(&B);
}

static int count(const char *text)
{
    int n = 0;
    pthread_mutex_lock(&lock);
    for (const char *p = lines; (p = strstr(p, text)); p++) {
        n++;
    }
    pthread_mutex_unlock(&lock);
    return n;
}

/* How many were left out, as the lines say. */
static long left_out(const char *text)
{
    long n = 0;
    pthread_mutex_lock(&lock);
    for (const char *p = lines; (p = strstr(p, text)); p++) {
        const char *number = strstr(p, "messages=");
        ck_assert_ptr_nonnull(number);
        n += strtol(number + 9, NULL, 10);
    }
    pthread_mutex_unlock(&lock);
    return n;
}

/* ---- by hand ---- */

static void tell_one(xonce_outcome outcome, xonce_status code, xo_sql_class cls, int failed_run, int fine)
{
    xonce_message *m;
    ck_assert_int_eq(xonce_message_new(&m, "orders", "id 1", "body", 4), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_property(m, "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_origin(m, "b-1", 3, 77), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_attempt(m, 5), XONCE_OK);
    xo_item item = {.m = m, .outcome = outcome, .failed_run = failed_run};
    item.error.pub.code = code;
    item.error.cls = cls;
    (void)snprintf(item.error.pub.text, sizeof(item.error.pub.text), "the \"why\"");
    (void)snprintf(item.error.pub.sqlstate, sizeof(item.error.pub.sqlstate), "%s", cls == XO_SQL_DATA ? "23514" : "");
    len = 0;
    lines[0] = 0;
    xo_tell(C, R.store, &item, 1, fine);
    xonce_message_free(m);
}

START_TEST(what_there_is_to_tell)
{
    begin(NULL);
    tell_one(XONCE_FRESH, XONCE_OK, XO_SQL_NONE, 0, 1);
    ck_assert_ptr_nonnull(strstr(lines, "3 consumer applied topic=orders"));
    (void)xonce_log_level(XONCE_LOG_INFO);
    tell_one(XONCE_FRESH, XONCE_OK, XO_SQL_NONE, 0, 1);
    ck_assert_int_eq(count("applied"), 0);
    tell_one(XONCE_DUPLICATE, XONCE_OK, XO_SQL_NONE, 0, 1);
    const char *id = strstr(lines, " id="); /* as in the record: an id with a blank is stored as its digest */
    ck_assert_ptr_nonnull(id);
    ck_assert_int_eq(strncmp(id, " id=sha256:", 11), 0);
    ck_assert_int_eq(strncmp(id + 11 + 64, " group=", 7), 0);
    ck_assert_ptr_nonnull(strstr(lines, "2 consumer duplicate: it was settled before topic=orders id="));
    ck_assert_ptr_nonnull(strstr(lines, " attempt=5 broker=b-1 queue=3 offset=77 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7\n"));
    tell_one(XONCE_REJECTED, XONCE_E_SQL, XO_SQL_DATA, 1, 1);
    ck_assert_ptr_nonnull(strstr(lines, "1 consumer rejected: it stands in xonce_rejected topic=orders"));
    ck_assert_ptr_nonnull(strstr(lines, " cause=sql sqlstate=23514 reason=\"the \\\"why\\\"\" trace_id="));
    tell_one(XONCE_DEFERRED, XONCE_E_INVALID, XO_SQL_NONE, 1, 1);
    ck_assert_ptr_nonnull(strstr(lines, "1 consumer failed: it comes again topic=orders"));
    tell_one(XONCE_DEFERRED, XONCE_E_CONFLICT, XO_SQL_AGAIN, 0, 1);
    ck_assert_ptr_nonnull(strstr(lines, "2 consumer put off: it comes again topic=orders"));
    ck_assert_ptr_nonnull(strstr(lines, " cause=conflict "));
    tell_one(XONCE_DEFERRED, XONCE_E_CONFLICT, XO_SQL_AGAIN, 0, 0); /* the database is down: one line tells all */
    ck_assert_str_eq(lines, "");
    tell_one(XONCE_DEFERRED, XONCE_E_CONFLICT, XO_SQL_NONE, 0, 1); /* it waits for one before it */
    ck_assert_str_eq(lines, "");
    (void)xonce_log_level(XONCE_LOG_WARN);
    tell_one(XONCE_DUPLICATE, XONCE_OK, XO_SQL_NONE, 0, 1);
    ck_assert_int_eq(count("duplicate"), 0);
    tell_one(XONCE_REJECTED, XONCE_E_SQL, XO_SQL_DATA, 1, 1);
    ck_assert_int_eq(count("rejected: "), 1);
    finish();
}
END_TEST

START_TEST(few_lines_for_many)
{
    begin((const char *const[]){"log.rate", "3", NULL});
    for (int i = 0; i < 200; i++) {
        tell_one(XONCE_DUPLICATE, XONCE_OK, XO_SQL_NONE, 0, 1);
    }
    tell_one(XONCE_REJECTED, XONCE_E_SQL, XO_SQL_DATA, 1, 1); /* each kind has lines of its own */
    ck_assert_int_eq(count("rejected: "), 1);
    len = 0;
    lines[0] = 0;
    xo_tell_rest(C, 0);
    ck_assert_str_eq(lines, ""); /* not yet */
    xo_tell_rest(C, 1);
    long left = left_out("more duplicates are not shown");
    ck_assert(left >= 100 && left <= 194); /* 6 at once, 3 a second */
    xo_tell_rest(C, 1);
    ck_assert_int_eq(count("more duplicates"), 1);
    finish();
    begin((const char *const[]){"log.rate", "0", NULL});
    for (int i = 0; i < 200; i++) {
        tell_one(XONCE_DUPLICATE, XONCE_OK, XO_SQL_NONE, 0, 1);
        ck_assert_int_eq(count("duplicate: "), 1);
    }
    finish();
}
END_TEST

/* ---- as they come ---- */

static xonce_verdict fail_once(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    if (xonce_message_attempt(m) == 1 && strcmp(xonce_message_id(m), "m0") == 0) {
        xonce_fail(tx, "not at once");
        return XONCE_RETRY;
    }
    return XONCE_DONE;
}

static int is_counted(void *arg)
{
    xonce_counts n = {.size = sizeof(n)};
    (void)arg;
    ck_assert_int_eq(xonce_consumer_counts(C, &n), XONCE_OK);
    return n.duplicate + n.rejected >= 20 && broker_is_done(&B);
}

START_TEST(a_lane_that_waits_is_not_told)
{
    begin((const char *const[]){"suspend", "10ms", NULL});
    ck_assert_int_eq(xonce_on_ordered(C, "orders", "*", fail_once, NULL), XONCE_OK);
    broker_add(&B, "orders", 20, 1, 0);
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    WAIT_FOR(broker_is_done, &B);
    ck_assert_int_eq(xonce_consumer_stop(C, 30000), XONCE_OK);
    ck_assert_int_ge(count("failed: it comes again topic=orders id=m0 "), 1);
    ck_assert_int_eq(count("topic=orders"), count("id=m0 ") - 1 + count("applied topic"));
    ck_assert_int_ge(count("reason=\"not at once\""), 1);
    finish();
}
END_TEST

START_TEST(all_are_told_or_counted)
{
    begin((const char *const[]){"log.rate", "1", NULL});
    B.duplicates = 100;
    ck_assert_int_eq(xonce_on(C, "orders", "*", fail_once, NULL), XONCE_OK);
    broker_add(&B, "orders", 60, 0, 0);
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    WAIT_FOR(is_counted, NULL);
    ck_assert_int_eq(xonce_consumer_stop(C, 30000), XONCE_OK);
    xonce_counts n = {.size = sizeof(n)};
    ck_assert_int_eq(xonce_consumer_counts(C, &n), XONCE_OK);
    ck_assert_int_eq(count("duplicate: ") + left_out("more duplicates are not shown"), (long)n.duplicate);
    ck_assert_int_lt(count("duplicate: "), (int)n.duplicate);
    finish();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("tell");
    TCase *t = tcase_create("tell");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, what_there_is_to_tell);
    tcase_add_test(t, few_lines_for_many);
    tcase_add_test(t, a_lane_that_waits_is_not_told);
    tcase_add_test(t, all_are_told_or_counted);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
