/* The consumer's own pruning: when it may, what it leaves alone, and what it comes back to. */
#include "tests/consumer/rig.h"
#include <stdio.h>
#include <string.h>

static rig R;
static broker B;
static xonce_consumer *C;

static xonce_verdict apply(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)tx, (void)m, (void)arg;
    return XONCE_DONE;
}

static xonce_counts counts(void)
{
    xonce_counts n = {.size = sizeof(n)};
    ck_assert_int_eq(xonce_consumer_counts(C, &n), XONCE_OK);
    return n;
}

static int three_are_pruned(void *arg)
{
    (void)arg;
    return counts().pruned == 3;
}

static int all_are_pruned(void *arg)
{
    (void)arg;
    return counts().pruned == 5;
}

static void old_record(const char *group, const char *name, const char *place)
{
    char text[300];
    (void)snprintf(text, sizeof(text), "INSERT INTO transaction_record (consumer_group, message_id, topic_name, ctime, queue_id, \"offset\", broker_name, store_time, log_offset) "
                   "VALUES ('%s', '%s', 'orders', 1000, %s)", group, name, place);
    rig_sql(&R, text);
}

/* Three old records of this group and one of another; a consumer that prunes as often as `every` says, in a window of two hours that begins so many hours from now. */
static void start_pruning(const char *every, int hours)
{
    char window[24];
    int64_t minute = (xo_now_ms() / 60000 + hours * 60) % 1440, end = (minute + 120) % 1440;
    (void)snprintf(window, sizeof(window), "%02d:%02d-%02d:%02d", (int)(minute / 60), (int)(minute % 60), (int)(end / 60), (int)(end % 60));
    rig_open(&R, (const char *const[]){"prune.unsafe", "on", "prune.keep", "1s", "prune.every", every, "prune.window", window, NULL}, 1);
    broker_init(&B);
    ck_assert_msg(xonce_consumer_new(&C, R.store, &B.base, R.cfg) == XONCE_OK, "%s", xonce_error_last()->text);
    old_record(R.store->group, "old1", "0, 0, '', NULL, NULL");
    old_record(R.store->group, "old2", "0, 0, '', NULL, NULL");
    old_record(R.store->group, "old3", "0, 0, '', NULL, NULL");
    old_record("GID_other", "old4", "0, 0, '', NULL, NULL");
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
}

static void start(void)
{
    ck_assert_msg(xonce_consumer_start(C) == XONCE_OK, "%s", xonce_error_last()->text);
}

static void finish(void)
{
    ck_assert_msg(xonce_consumer_stop(C, 20000) == XONCE_OK, "%s", xonce_error_last()->text);
    xonce_consumer_free(C);
    broker_free(&B);
    rig_close(&R);
}

static void nothing_is_pruned(void)
{
    start();
    broker_seen_again(&B);
    ck_assert_uint_eq(counts().pruned, 0);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM transaction_record"), 4);
    finish();
}

START_TEST(inside_its_window_only)
{
    start_pruning("10ms", 1);
    nothing_is_pruned();
    start_pruning("10ms", 23); /* since an hour, for another one */
    start();
    WAIT_FOR(three_are_pruned, NULL);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM transaction_record WHERE consumer_group = 'GID_other'"), 1);
    finish();
}
END_TEST

START_TEST(every_0_is_never)
{
    start_pruning("0", 23);
    nothing_is_pruned();
}
END_TEST

/* They are older than what went meanwhile, and were passed by. */
START_TEST(what_was_passed_by_is_come_back_to)
{
    start_pruning("10ms", 23);
    old_record(R.store->group, "place5", "1, 5, 'b', 500, 100");
    old_record(R.store->group, "place6", "1, 6, 'b', 500, 100");
    /* positions of the group, which cover neither of them: then what has no place stays 4 days longer, and that these are older than */
    rig_sql(&R, "INSERT INTO xonce_settled (consumer_group, topic_name, broker_name, queue_id, generation, tags, first_offset, next_offset, last_store_time, last_log_offset, epoch) "
                "VALUES ((SELECT consumer_group FROM transaction_record WHERE message_id = 'old1'), 'orders', 'b', 1, 0, '*', 0, 5, 1000, 1000, 1)");
    start();
    WAIT_FOR(three_are_pruned, NULL);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM transaction_record WHERE message_id LIKE 'place%'"), 2);
    rig_sql(&R, "UPDATE xonce_settled SET next_offset = 7");
    WAIT_FOR(all_are_pruned, NULL);
    finish();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("prune");
    TCase *t = tcase_create("prune");
    tcase_add_test(t, inside_its_window_only);
    tcase_add_test(t, every_0_is_never);
    tcase_add_test(t, what_was_passed_by_is_come_back_to);
    tcase_set_timeout(t, 90);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
