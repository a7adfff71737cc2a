/* Ordered lanes: under failures, lost acknowledgements, copies and times that run out, each lane's effects stand in order, once. The judge is SQL. */
#include "tests/consumer/rig.h"
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static rig R;
static broker B;
static xonce_consumer *C;
static int retry_percent, busy[64], overlaps, seed = 1;

static int dice(int percent)
{
    unsigned x = (unsigned)__atomic_add_fetch(&seed, 0x61c88647, __ATOMIC_RELAXED);
    return percent && (int)(rand_r(&x) % 100) < percent;
}

static xonce_verdict apply(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    const char *lane = xonce_message_property(m, "__SHARDINGKEY");
    int *b = &busy[atoi(lane + 1) % 64];
    if (__atomic_exchange_n(b, 1, __ATOMIC_ACQ_REL)) {
        __atomic_fetch_add(&overlaps, 1, __ATOMIC_RELAXED);
    }
    xonce_status st = xonce_exec(tx, "INSERT INTO effects (id, lane, seq) VALUES ($1, $2, $3)", xonce_text(xonce_message_id(m)), xonce_text(lane),
                                 xonce_int(atoll(xonce_message_property(m, "SEQ"))));
    __atomic_store_n(b, 0, __ATOMIC_RELEASE);
    return st != XONCE_OK || dice(retry_percent) ? XONCE_RETRY : XONCE_DONE;
}

static xonce_verdict refuse_first(xonce_tx *tx, const xonce_message *m, void *arg)
{
    int *calls = arg;
    if (strcmp(xonce_message_property(m, "SEQ"), "0") == 0) {
        __atomic_fetch_add(calls, 1, __ATOMIC_RELAXED);
        xonce_fail(tx, "never");
        return XONCE_RETRY;
    }
    return apply(tx, m, NULL);
}

static void begin(const char *const *settings)
{
    rig_open(&R, settings, 1);
    broker_init(&B);
    B.lanes = 1;
    B.deaf = 1;
    overlaps = retry_percent = 0;
    ck_assert_msg(xonce_consumer_new(&C, R.store, &B.base, R.cfg) == XONCE_OK, "%s", xonce_error_last()->text);
}

static void finish(void)
{
    xonce_consumer_free(C);
    broker_free(&B);
    rig_close(&R);
}

static void start(void)
{
    ck_assert_msg(xonce_consumer_start(C) == XONCE_OK, "%s", xonce_error_last()->text);
}

static void stop(void)
{
    ck_assert_int_eq(xonce_consumer_stop(C, 50000), XONCE_OK);
    ck_assert_uint_eq(B.out_now, 0);
    xonce_counts n = {.size = sizeof(n)};
    ck_assert_int_eq(xonce_consumer_counts(C, &n), XONCE_OK);
    ck_assert_uint_eq(n.in_flight, 0);
}

static void in_order(int64_t n)
{
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects"), n);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(DISTINCT id) FROM effects"), n);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects a JOIN effects b ON a.lane = b.lane AND a.n < b.n AND a.seq > b.seq"), 0);
    ck_assert_int_eq(overlaps, 0);
}

START_TEST(lanes_keep_their_order)
{
    begin((const char *const[]){"workers", "4", "batch.max", "7", "suspend", "10ms", "attempts", "280", NULL});
    retry_percent = 3;
    ck_assert_int_eq(xonce_on_ordered(C, "orders", "*", apply, NULL), XONCE_OK);
    broker_add(&B, "orders", 900, 9, 0);
    start();
    WAIT_FOR(broker_is_done, &B);
    stop();
    in_order(900);
    finish();
}
END_TEST

START_TEST(lanes_keep_their_order_when_time_runs_out)
{
    begin((const char *const[]){"workers", "4", "batch.max", "5", "suspend", "20ms", "attempts", "280", NULL});
    retry_percent = 5;
    B.invisible = 60;
    B.duplicates = 5;
    B.lose_acks = 5;
    ck_assert_int_eq(xonce_on_ordered(C, "orders", "*", apply, NULL), XONCE_OK);
    broker_add(&B, "orders", 400, 4, 0);
    start();
    WAIT_FOR(broker_is_done, &B);
    stop();
    in_order(400);
    finish();
}
END_TEST

/* Now and then the database fails in the middle. */
static xonce_status hiccup(const xo_item *items, size_t n)
{
    (void)items, (void)n;
    return dice(5) ? xo_fail_sql(XONCE_E_CONNECT, XO_SQL_LOST, 0, NULL, "gone for a moment") : XONCE_OK;
}

START_TEST(lanes_keep_their_order_over_outages)
{
    begin((const char *const[]){"workers", "3", "batch.max", "16", "suspend", "10ms", NULL});
    run_hook = hiccup;
    ck_assert_int_eq(xonce_on_ordered(C, "orders", "*", apply, NULL), XONCE_OK);
    broker_add(&B, "orders", 300, 30, 0);
    start();
    WAIT_FOR(broker_is_done, &B);
    stop();
    in_order(300);
    finish();
}
END_TEST

typedef struct {
    int up;      /* atomic: the file is held */
    int64_t ms;
} hold;

/* Another writer that holds the file for longer than some of the store's tries last. */
static void *hog(void *arg)
{
    hold *h = arg;
    sqlite3 *db = NULL;
    sqlite3_open(R.file, &db);
    sqlite3_busy_timeout(db, 10000);
    sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    __atomic_store_n(&h->up, 1, __ATOMIC_RELEASE);
    xo_pause_ms(h->ms);
    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    sqlite3_close(db);
    return NULL;
}

static int is_up(void *arg)
{
    return __atomic_load_n(&((hold *)arg)->up, __ATOMIC_ACQUIRE);
}

/* A batch that the database does not take goes in parts: what is behind the part that had to give up must not go either. */
START_TEST(a_busy_database_does_not_break_the_order)
{
    enum { N = 4 };
    hold h = {.ms = 500 + 150 * _i};
    pthread_t thread;
    xo_item items[N] = {0};
    xo_spec spec = {.one = apply, .ordered = 1};
    begin((const char *const[]){"store.lock-timeout", "100ms", "store.tries", "2", NULL});
    broker_add(&B, "orders", N, 1, 0);
    xonce_message *list = NULL, *m;
    ck_assert_int_eq(B.base.ops->poll(&B.base, N, 1000, &list), XONCE_OK);
    m = list;
    for (int i = 0; i < N; i++, m = m->next) {
        items[i].m = m;
    }
    ck_assert_int_eq(pthread_create(&thread, NULL, hog, &h), 0);
    WAIT_FOR(is_up, &h);
    (void)xo_run(R.store, items, N, &spec);
    pthread_join(thread, NULL);
    for (int i = 1; i < N; i++) {
        ck_assert_msg(items[i - 1].outcome != XONCE_DEFERRED || items[i].outcome == XONCE_DEFERRED, "message %d passed the one before it", i);
    }
    B.base.ops->ack(&B.base, list);
    finish();
}
END_TEST

START_TEST(a_failing_head_is_rejected_in_place_and_the_rest_goes_on)
{
    int calls = 0;
    begin((const char *const[]){"workers", "2", "suspend", "10ms", "attempts", "4", NULL});
    ck_assert_int_eq(xonce_on_ordered(C, "orders", "*", refuse_first, &calls), XONCE_OK);
    broker_add(&B, "orders", 20, 2, 0);
    start();
    WAIT_FOR(broker_is_done, &B);
    stop();
    in_order(18);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM xonce_rejected"), 2);
    for (size_t i = 0; i < B.n; i++) {
        ck_assert_int_eq(B.all[i].deliveries, 1); /* tried in place, never given back */
    }
    ck_assert_int_ge(calls, 8);
    finish();
}
END_TEST

static int some_effects(void *n)
{
    return rig_int(&R, "SELECT COUNT(*) FROM effects") >= *(int *)n;
}

static int three_calls(void *calls)
{
    return __atomic_load_n((int *)calls, __ATOMIC_RELAXED) >= 3;
}

START_TEST(a_suspended_lane_does_not_hold_others)
{
    int calls = 0;
    begin((const char *const[]){"workers", "1", "suspend", "30s", NULL});
    ck_assert_int_eq(xonce_on_ordered(C, "orders", "*", refuse_first, &calls), XONCE_OK);
    broker_add(&B, "orders", 3, 1, 0);   /* L0: 0 1 2 */
    B.all[1].lane[1] = B.all[2].lane[1] = '7';
    start();
    WAIT_FOR(some_effects, &(int){2});
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects"), 2);
    stop(); /* gives back the suspended one, does not wait for it */
    ck_assert_int_eq(B.all[0].acked, 0);
    finish();
}
END_TEST

START_TEST(a_lane_whose_time_is_over_is_dropped_as_a_whole)
{
    int calls = 0;
    begin((const char *const[]){"workers", "1", "suspend", "30s", NULL});
    B.invisible = 200;
    ck_assert_int_eq(xonce_on_ordered(C, "orders", "*", refuse_first, &calls), XONCE_OK);
    broker_add(&B, "orders", 10, 1, 0);
    start();
    WAIT_FOR(three_calls, &calls); /* each time its time was over it came again, at the head of its lane */
    stop();
    ck_assert_int_ge(B.all[0].deliveries, 3);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects"), 0);
    finish();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ordered");
    TCase *t = tcase_create("ordered");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, lanes_keep_their_order);
    tcase_add_test(t, lanes_keep_their_order_when_time_runs_out);
    tcase_add_test(t, lanes_keep_their_order_over_outages);
    tcase_add_loop_test(t, a_busy_database_does_not_break_the_order, 0, 6);
    tcase_add_test(t, a_failing_head_is_rejected_in_place_and_the_rest_goes_on);
    tcase_add_test(t, a_suspended_lane_does_not_hold_others);
    tcase_add_test(t, a_lane_whose_time_is_over_is_dropped_as_a_whole);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
