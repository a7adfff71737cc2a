/* One consumer with several databases, and settings that change while it runs. */
#include "consumer/parts.h"
#include "store/settled.h"
#include "tests/consumer/rig.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rig R, Q; /* even messages belong to R, odd ones to Q */
static broker B;
static xonce_consumer *C;

/* What the handlers saw. Atomic: they run on many threads. */
static struct {
    int running, most, sleep_ms;
    size_t largest;
    int broken; /* the second database cannot be used */
} H;

static size_t by_number(const xonce_message *m, void *arg)
{
    ck_assert_str_eq(arg, "route");
    const char *seq = xonce_message_property(m, "SEQ");
    return (size_t)(atoi(seq) % 2);
}

static xonce_status hook(const xo_item *items, size_t n)
{
    size_t largest = __atomic_load_n(&H.largest, __ATOMIC_RELAXED);
    if (n > largest) {
        __atomic_store_n(&H.largest, n, __ATOMIC_RELAXED);
    }
    for (size_t i = 1; i < n; i++) {
        ck_assert_uint_eq(items[i].m->place, items[0].m->place);
    }
    return items[0].m->place == 1 && __atomic_load_n(&H.broken, __ATOMIC_RELAXED) ? xo_fail(XONCE_E_CONNECT, "the second database is away") : XONCE_OK;
}

static xonce_verdict apply(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    int now = __atomic_add_fetch(&H.running, 1, __ATOMIC_SEQ_CST), most = __atomic_load_n(&H.most, __ATOMIC_SEQ_CST);
    while (now > most && !__atomic_compare_exchange_n(&H.most, &most, now, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
    if (__atomic_load_n(&H.sleep_ms, __ATOMIC_RELAXED)) {
        xo_pause_ms(__atomic_load_n(&H.sleep_ms, __ATOMIC_RELAXED));
    }
    const char *lane = xonce_message_property(m, "__SHARDINGKEY");
    xonce_status st = xonce_exec(tx, "INSERT INTO effects (id, lane, seq) VALUES ($1, $2, $3)", xonce_text(xonce_message_id(m)), xonce_text(lane ? lane : ""),
                                 xonce_int(atoi(xonce_message_property(m, "SEQ"))));
    __atomic_sub_fetch(&H.running, 1, __ATOMIC_SEQ_CST);
    return st == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

static void open_both(const char *const *settings)
{
    memset(&H, 0, sizeof(H));
    rig_open(&Q, settings, 1);
    rig_open(&R, settings, 1);
    broker_init(&B);
    run_hook = hook;
    ck_assert_int_eq(xonce_consumer_new(&C, R.store, &B.base, R.cfg), XONCE_OK);
}

static void open_routed(const char *const *settings)
{
    open_both(settings);
    xonce_store *const stores[] = {R.store, Q.store};
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    ck_assert_msg(xonce_on_stores(C, "orders", stores, 2, by_number, (void *)(uintptr_t)"route") == XONCE_OK, "%s", xonce_error_last()->text);
}

static void close_both(void)
{
    xonce_consumer_free(C);
    broker_free(&B);
    rig_close(&R);
    rig_close(&Q);
}

static xonce_counts counts(void)
{
    xonce_counts n = {.size = sizeof(n)};
    ck_assert_int_eq(xonce_consumer_counts(C, &n), XONCE_OK);
    return n;
}

START_TEST(each_message_goes_to_its_own_database_once)
{
    open_routed(NULL);
    B.duplicates = 30;
    B.lose_acks = 20;
    B.invisible = 400;
    broker_add(&B, "orders", 300, 0, 0);
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    WAIT_FOR(broker_is_done, &B);
    ck_assert_int_eq(xonce_consumer_stop(C, 50000), XONCE_OK);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects WHERE seq % 2 = 0"), 150);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects"), 150);
    ck_assert_int_eq(rig_int(&Q, "SELECT COUNT(*) FROM effects WHERE seq % 2 = 1"), 150);
    ck_assert_int_eq(rig_int(&Q, "SELECT COUNT(*) FROM effects"), 150);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM transaction_record") + rig_int(&Q, "SELECT COUNT(*) FROM transaction_record"), 300);
    ck_assert_uint_eq(counts().fresh, 300);
    close_both();
}
END_TEST

START_TEST(lanes_stay_in_order_in_each)
{
    open_both(NULL);
    xonce_store *const stores[] = {Q.store, R.store};
    ck_assert_int_eq(xonce_on_ordered(C, "orders", "*", apply, NULL), XONCE_OK);
    ck_assert_int_eq(xonce_on_stores(C, "orders", stores, 2, by_number, (void *)(uintptr_t)"route"), XONCE_OK);
    broker_add(&B, "orders", 120, 3, 0);
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    WAIT_FOR(broker_is_done, &B);
    ck_assert_int_eq(xonce_consumer_stop(C, 50000), XONCE_OK);
    ck_assert_int_eq(rig_int(&Q, "SELECT COUNT(*) FROM effects") + rig_int(&R, "SELECT COUNT(*) FROM effects"), 120);
    static const char passed[] = "SELECT COUNT(*) FROM effects a JOIN effects b ON a.lane = b.lane AND a.n < b.n AND a.seq > b.seq";
    ck_assert_int_eq(rig_int(&Q, passed), 0);
    ck_assert_int_eq(rig_int(&R, passed), 0);
    close_both();
}
END_TEST

static int even_ones_are_done(void *arg)
{
    (void)arg;
    return rig_int(&R, "SELECT COUNT(*) FROM effects") == 100;
}

START_TEST(one_that_is_down_holds_up_no_other)
{
    open_routed(NULL);
    H.broken = 1;
    broker_add(&B, "orders", 200, 0, 0);
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    WAIT_FOR(even_ones_are_done, NULL);
    ck_assert_int_eq(rig_int(&Q, "SELECT COUNT(*) FROM effects"), 0);
    ck_assert(!counts().healthy);
    ck_assert_int_eq(log_count("the database cannot be used"), 1);
    broker_add(&B, "orders", 1, 0, 0); /* an even one, later */
    __atomic_store_n(&H.broken, 0, __ATOMIC_RELAXED);
    WAIT_FOR(broker_is_done, &B);
    ck_assert(counts().healthy);
    ck_assert_int_eq(xonce_consumer_stop(C, 50000), XONCE_OK);
    ck_assert_int_eq(rig_int(&Q, "SELECT COUNT(*) FROM effects"), 100);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects"), 101);
    close_both();
}
END_TEST

static int put_off(void *arg)
{
    (void)arg;
    return rig_int(&R, "SELECT COUNT(*) FROM effects") == 1000;
}

/* As over HTTP: what is given back comes again when its time is up, and not sooner. */
START_TEST(one_that_is_down_keeps_its_part_of_the_room)
{
    open_routed((const char *const[]){"buffer.messages", "100", NULL});
    H.broken = 1;
    B.deaf = 1;
    B.invisible = 8000;
    broker_add(&B, "orders", 2000, 0, 0);
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    WAIT_FOR(put_off, NULL);
    ck_assert_int_eq(rig_int(&Q, "SELECT COUNT(*) FROM effects"), 0);
    ck_assert_uint_ge(broker_get(&B, &B.nacks), 900);
    ck_assert_int_eq(log_count("the others go on"), 1);
    ck_assert_uint_eq(counts().retried, 0);
    ck_assert_uint_le(broker_get(&B, &B.out_max), 100 + 256);
    __atomic_store_n(&H.broken, 0, __ATOMIC_RELAXED);
    WAIT_FOR(broker_is_done, &B);
    ck_assert_int_eq(xonce_consumer_stop(C, 50000), XONCE_OK);
    ck_assert_int_eq(rig_int(&Q, "SELECT COUNT(*) FROM effects"), 1000);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects"), 1000);
    ck_assert_int_eq(rig_int(&Q, "SELECT COUNT(DISTINCT id) FROM effects"), 1000);
    close_both();
}
END_TEST

static int two_are_pruned(void *arg)
{
    (void)arg;
    return counts().pruned == 2;
}

static void old_record(const rig *r)
{
    char text[400];
    (void)snprintf(text, sizeof(text), "INSERT INTO transaction_record (consumer_group, message_id, topic_name, ctime, queue_id, \"offset\", broker_name) VALUES ('%s', 'old', 'orders', 1000, 0, 0, '')", r->store->group);
    rig_sql(r, text);
}

START_TEST(each_is_pruned)
{
    open_routed((const char *const[]){"prune.unsafe", "on", "prune.keep", "1s", "prune.every", "10ms", NULL});
    old_record(&R);
    old_record(&Q);
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    WAIT_FOR(two_are_pruned, NULL);
    ck_assert_int_eq(xonce_consumer_stop(C, 50000), XONCE_OK);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM transaction_record"), 0);
    ck_assert_int_eq(rig_int(&Q, "SELECT COUNT(*) FROM transaction_record"), 0);
    close_both();
}
END_TEST

START_TEST(wrong_uses_are_refused)
{
    open_both(NULL);
    xonce_store *other = NULL, *const both[] = {R.store, Q.store}, *const twice[] = {R.store, NULL};
    ck_assert_int_eq(xonce_store_for_group(&other, Q.store, "GID_other"), XONCE_OK);
    xonce_store *const mixed[] = {R.store, other};
    ck_assert_int_eq(xonce_on_stores(C, "orders", both, 2, by_number, NULL), XONCE_E_NOT_FOUND);
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    ck_assert_int_eq(xonce_on_stores(C, "orders", both, 0, by_number, NULL), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_on_stores(C, "orders", both, 2, NULL, NULL), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_on_stores(C, "orders", twice, 2, by_number, NULL), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_on_stores(C, "orders", mixed, 2, by_number, NULL), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "GID_other"));
    ck_assert_int_eq(xonce_on_stores(C, "orders", both, 2, by_number, NULL), XONCE_OK);
    ck_assert_int_eq(xonce_on_stores(C, "orders", both, 2, by_number, NULL), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_E_INVALID);
    xonce_consumer_free(C);
    C = NULL;
    xonce_store_close(other);
    close_both();
}
END_TEST

/* ---- positions ---- */

static xo_range row(const char *topic, int64_t first, int64_t next)
{
    return (xo_range){.topic = (char *)(uintptr_t)topic, .broker = (char *)(uintptr_t)"b", .tags = (char *)(uintptr_t)"*", .queue = 1, .first = first, .next = next, .last_store_time = 5, .last_log_offset = 6,
                      .epoch = 1};
}

START_TEST(positions_are_kept_in_one_and_copied)
{
    open_routed(NULL);
    ck_assert_int_eq(xonce_on(C, "bills", "*", apply, NULL), XONCE_OK);
    const xo_position_ops *p = xo_place_positions();
    xo_range rows[] = {row("orders", 0, 10), row("%RETRY%GID_test", 0, 3), row("bills", 0, 7)}, *loaded;
    size_t n;
    int known = 0;
    ck_assert_msg(p->save(C, rows, 3) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM xonce_settled"), 3);
    ck_assert_int_eq(rig_int(&Q, "SELECT COUNT(*) FROM xonce_settled"), 2);
    ck_assert_int_eq(rig_int(&Q, "SELECT COUNT(*) FROM xonce_settled WHERE topic_name = 'bills'"), 0);
    ck_assert_int_eq(p->knows(C, "orders", &known), XONCE_OK);
    ck_assert(known);
    /* what a copy missed it gets with the next one */
    rig_sql(&Q, "UPDATE xonce_settled SET next_offset = 4 WHERE topic_name = 'orders'");
    rows[0].next = 20;
    ck_assert_int_eq(p->save(C, rows, 1), XONCE_OK);
    ck_assert_int_eq(rig_int(&Q, "SELECT next_offset FROM xonce_settled WHERE topic_name = 'orders'"), 20);
    /* one that was begun otherwise is left alone, and stops nothing */
    rig_sql(&Q, "UPDATE xonce_settled SET tags = 'x' WHERE topic_name = 'orders'");
    rows[0].next = 30;
    ck_assert_int_eq(p->save(C, rows, 1), XONCE_OK);
    ck_assert_int_eq(rig_int(&Q, "SELECT next_offset FROM xonce_settled WHERE topic_name = 'orders'"), 20);
    ck_assert_int_eq(p->load(C, "orders", "b", 1, &loaded, &n), XONCE_OK);
    ck_assert_uint_eq(n, 1);
    ck_assert_int_eq(loaded[0].next, 30);
    xo_ranges_free(loaded, n);
    /* where they are kept, the source must hear of it */
    rig_sql(&R, "UPDATE xonce_settled SET tags = 'x' WHERE topic_name = 'orders'");
    rows[0].next = 40;
    ck_assert_int_eq(p->save(C, rows, 1), XONCE_E_CONFLICT);
    char one[9], two[9];
    ck_assert_int_eq(p->store_id(C, one), XONCE_OK);
    ck_assert_int_eq(xo_store_positions()->store_id(R.store, two), XONCE_OK);
    ck_assert_str_eq(one, two);
    close_both();
}
END_TEST

/* ---- new settings ---- */

static char left[400];

static void on_left(const char *key, void *arg)
{
    ck_assert_str_eq(arg, "left");
    (void)snprintf(left + strlen(left), sizeof(left) - strlen(left), "%s ", key);
}

static xonce_status reconfigure(const char *const *settings)
{
    xonce_config *cfg;
    left[0] = 0;
    ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
    for (; *settings; settings += 2) {
        ck_assert_int_eq(xonce_config_set(cfg, settings[0], settings[1]), XONCE_OK);
    }
    xonce_status st = xonce_consumer_reconfigure(C, cfg, on_left, (void *)(uintptr_t)"left");
    xonce_config_free(cfg);
    return st;
}

static void fill(int n)
{
    broker_add(&B, "orders", n, 0, 0);
    WAIT_FOR(broker_is_done, &B);
}

START_TEST(batches_and_workers_change_at_work)
{
    open_routed((const char *const[]){"batch.max", "2", "workers", "6", "batch.linger", "20ms", NULL});
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    fill(60);
    ck_assert_uint_eq(H.largest, 2);
    ck_assert_int_eq(reconfigure((const char *const[]){"batch.max", "64", "workers", "6", "batch.linger", "20ms", NULL}), XONCE_OK);
    ck_assert_str_eq(left, "");
    fill(400);
    ck_assert_uint_gt(__atomic_load_n(&H.largest, __ATOMIC_RELAXED), 2);
    ck_assert_uint_le(__atomic_load_n(&H.largest, __ATOMIC_RELAXED), 64);
    ck_assert_int_eq(reconfigure((const char *const[]){"batch.max", "3", "workers", "1", NULL}), XONCE_OK);
    ck_assert_str_eq(left, "");
    __atomic_store_n(&H.most, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&H.largest, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&H.sleep_ms, 2, __ATOMIC_SEQ_CST);
    fill(60);
    ck_assert_uint_le(__atomic_load_n(&H.largest, __ATOMIC_RELAXED), 3);
    ck_assert_int_eq(__atomic_load_n(&H.most, __ATOMIC_SEQ_CST), 1);
    ck_assert_int_eq(reconfigure((const char *const[]){"workers", "6", NULL}), XONCE_OK);
    ck_assert_int_eq(reconfigure((const char *const[]){"workers", "7", NULL}), XONCE_OK);
    ck_assert_str_eq(left, "workers ");
    ck_assert_int_eq(xonce_consumer_stop(C, 50000), XONCE_OK);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects") + rig_int(&Q, "SELECT COUNT(*) FROM effects"), 520);
    close_both();
}
END_TEST

START_TEST(what_may_change_is_said)
{
    open_routed((const char *const[]){"prune.keep", "5d", NULL});
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    ck_assert_int_eq(reconfigure((const char *const[]){"prune.keep", "6d", "prune.every", "2h", "attempts", "3", "http.wait", "5s", NULL}), XONCE_OK);
    ck_assert_str_eq(left, "attempts http.wait ");
    ck_assert_int_eq(log_count("prune.keep has changed"), 1);
    ck_assert_int_eq(reconfigure((const char *const[]){"prune.keep", "5d", "prune.every", "2h", NULL}), XONCE_OK);
    ck_assert_str_eq(left, "prune.keep "); /* claims still take messages that old */
    ck_assert_int_eq(reconfigure((const char *const[]){"prune.keep", "2h", "batch.max", "5", NULL}), XONCE_E_INVALID);
    ck_assert_int_eq(log_count("batch.max has changed"), 0);
    ck_assert_int_eq(xonce_consumer_reconfigure(C, NULL, NULL, NULL), XONCE_OK);
    ck_assert_int_eq(xonce_consumer_reconfigure(NULL, NULL, NULL, NULL), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_consumer_stop(C, 50000), XONCE_OK);
    close_both();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("stores");
    TCase *t = tcase_create("stores");
    suite_add_tcase(s, t);
    tcase_set_timeout(t, 180);
    tcase_add_test(t, each_message_goes_to_its_own_database_once);
    tcase_add_test(t, lanes_stay_in_order_in_each);
    tcase_add_test(t, one_that_is_down_holds_up_no_other);
    tcase_add_test(t, one_that_is_down_keeps_its_part_of_the_room);
    tcase_add_test(t, each_is_pruned);
    tcase_add_test(t, wrong_uses_are_refused);
    tcase_add_test(t, positions_are_kept_in_one_and_copied);
    tcase_add_test(t, batches_and_workers_change_at_work);
    tcase_add_test(t, what_may_change_is_said);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
