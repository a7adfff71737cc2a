/* Who may begin a batch, when, and of how many messages: by hand first, with the clock moved where time matters, then with threads. */
#include "base/failpoint.h"
#include "consumer/parts.h"
#include "tests/consumer/rig.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- by hand ---- */

enum { WORKERS = 6, MAX = 16 };
static xonce_consumer C;
static xo_sub subs[2];
static xo_worker W[WORKERS];
static xo_place place;
static xo_item items[WORKERS][MAX];
static xonce_message *messages[WORKERS][MAX];
static xo_fate fates[WORKERS][MAX];
static int serial;
static int64_t look;

static void setup(void)
{
    memset(&C, 0, sizeof(C));
    memset(subs, 0, sizeof(subs));
    C.subs = subs;
    C.nsubs = 2;
    C.nworkers = WORKERS;
    C.batch_max = MAX;
    C.workers_max = WORKERS;
    C.places = &place;
    C.nplaces = 1;
    C.watch_at = INT64_MAX;
    pthread_mutex_init(&C.lock, NULL);
    pthread_cond_init(&C.work, NULL);
    xo_crew_init(&C.crew, WORKERS, 0);
    for (size_t i = 0; i < 2; i++) {
        xo_size_init(&subs[i].size, MAX, 1);
    }
    for (size_t i = 0; i < WORKERS; i++) {
        W[i] = (xo_worker){.c = &C, .items = items[i], .messages = messages[i], .fates = fates[i], .room = MAX};
    }
}

static void add(size_t sub, int n)
{
    for (int i = 0; i < n; i++) {
        char id[16];
        xonce_message *m;
        snprintf(id, sizeof(id), "m%d", serial++);
        ck_assert_int_eq(xonce_message_new(&m, "t", id, "", 0), XONCE_OK);
        xo_enqueue(&C, &subs[sub], m);
    }
}

static size_t take(size_t worker)
{
    xo_list dropped = {0};
    look = INT64_MAX;
    for (size_t i = 0; i < W[worker].n; i++) { /* what it had is through */
        xonce_message_free(W[worker].messages[i]);
    }
    W[worker].n = 0;
    size_t n = xo_take(&C, &W[worker], &dropped, &look);
    ck_assert_uint_eq(dropped.n, 0);
    return n;
}

/* As if the last batch of sub had been taken so long ago. */
static void later(size_t sub, int64_t us)
{
    subs[sub].taken_us -= us;
}

static void teardown(void)
{
    xo_list rest = {0};
    xo_empty_queues(&C, &rest);
    for (xonce_message *m; (m = xo_list_pop(&rest));) {
        xonce_message_free(m);
    }
    for (size_t i = 0; i < WORKERS; i++) {
        for (size_t k = 0; k < W[i].n; k++) {
            xonce_message_free(W[i].messages[k]);
        }
    }
    pthread_mutex_destroy(&C.lock);
    pthread_cond_destroy(&C.work);
}

START_TEST(the_first_one_goes_at_once)
{
    ck_assert_uint_eq(take(0), 0);
    ck_assert_int_eq(look, INT64_MAX);
    add(0, 1);
    ck_assert_uint_eq(take(0), 1);
    add(0, 3);
    ck_assert_uint_eq(take(1), 3); /* beside one at work, still */
}
END_TEST

START_TEST(a_few_wait_for_who_is_about_to_be_free)
{
    add(0, 1);
    ck_assert_uint_eq(take(0), 1);
    add(0, 1);
    ck_assert_uint_eq(take(1), 1);
    add(0, 2);
    ck_assert_uint_eq(take(2), 0);
    ck_assert_int_lt(look, xo_mono_ms() + 20); /* not for long */
    add(0, 1);
    ck_assert_uint_eq(take(1), 3); /* that one is free: all that came meanwhile */
    add(0, 1);
    ck_assert_uint_eq(take(2), 0);
    later(0, 10000); /* nobody was free so soon */
    ck_assert_uint_eq(take(2), 1);
}
END_TEST

START_TEST(full_batches_use_those_who_help)
{
    add(0, 10 * MAX);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(take(i), MAX);
    }
    ck_assert_uint_eq(C.crew.at_once, 4);
    ck_assert_uint_eq(take(4), 0);
    ck_assert_int_lt(look, xo_mono_ms() + 30);
    ck_assert_uint_eq(take(2), MAX); /* one that was at work goes on */
    ck_assert_uint_eq(take(4), 0);
    later(0, 20000); /* all of them take long */
    ck_assert_uint_eq(take(4), MAX);
    ck_assert_uint_eq(C.running, 5);
    ck_assert_uint_eq(take(5), 0);
}
END_TEST

START_TEST(one_writer_has_one_worker_but_for_hangs)
{
    xo_crew_init(&C.crew, WORKERS, 1);
    add(0, 10 * MAX);
    ck_assert_uint_eq(take(0), MAX);
    ck_assert_uint_eq(take(1), 0);
    ck_assert_uint_eq(take(0), MAX);
    later(0, 20000);
    ck_assert_uint_eq(take(1), 0);
    later(0, 50000);
    ck_assert_uint_eq(take(1), MAX);
}
END_TEST

START_TEST(a_busy_topic_leaves_room_for_another)
{
    add(0, 10 * MAX);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(take(i), MAX);
    }
    add(1, 1);
    ck_assert_uint_eq(take(4), 1); /* though as many are at work as help */
    ck_assert_ptr_eq(W[4].sub, &subs[1]);
    ck_assert_uint_eq(take(4), 0);
    add(1, MAX);
    ck_assert_uint_eq(take(0), MAX); /* in turn */
    ck_assert_ptr_eq(W[0].sub, &subs[0]);
    ck_assert_uint_eq(take(1), MAX);
    ck_assert_ptr_eq(W[1].sub, &subs[1]);
}
END_TEST

START_TEST(the_next_batch_can_be_taken_before_the_end)
{
    xo_list dropped = {0};
    add(0, 1);
    ck_assert_uint_eq(take(0), 1);
    add(0, 2);
    xo_worker next = W[5];
    next.pace = W[0].pace;
    ck_assert_uint_eq(xo_take(&C, &next, &dropped, NULL), 2); /* the same thread: one at work, not two */
    ck_assert_uint_eq(C.running, 1);
    W[5].n = next.n;
    ck_assert_uint_eq(xo_take(&C, &W[1], &dropped, NULL), 0);
    ck_assert_int_eq(W[1].pace.watches, 0); /* it will not wait */
    W[0].pace = next.pace;
    ck_assert_uint_eq(take(0), 0);
    ck_assert_uint_eq(C.running, 0);
}
END_TEST

START_TEST(one_watches_for_all)
{
    add(0, 10 * MAX);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(take(i), MAX);
    }
    ck_assert_uint_eq(take(4), 0);
    ck_assert_int_ne(look, INT64_MAX);
    ck_assert_uint_eq(take(5), 0);
    ck_assert_int_eq(look, INT64_MAX);
    ck_assert_uint_eq(take(4), 0); /* the watcher again */
    ck_assert_int_ne(look, INT64_MAX);
    later(0, 20000);
    ck_assert_uint_eq(take(4), MAX);
    ck_assert_uint_eq(take(5), 0); /* nobody watches any more */
    ck_assert_int_ne(look, INT64_MAX);
}
END_TEST

START_TEST(no_room_for_more_ends_all_waiting)
{
    C.linger = 60000;
    add(0, 2);
    ck_assert_uint_eq(take(0), 0);
    ck_assert_int_gt(look, xo_mono_ms() + 50000);
    C.full = 1;
    ck_assert_uint_eq(take(0), 2);
}
END_TEST

/* ---- with threads ---- */

static rig R;
static broker B;
static xonce_consumer *K;
static struct {
    pthread_mutex_t lock;
    int running, most, runs, sleep_ms;
    size_t largest;
} H = {.lock = PTHREAD_MUTEX_INITIALIZER};

static xonce_status pass(const xo_item *all, size_t n)
{
    (void)all;
    pthread_mutex_lock(&H.lock);
    H.runs++;
    H.running++;
    H.most = H.running > H.most ? H.running : H.most;
    H.largest = n > H.largest ? n : H.largest;
    int pause = H.sleep_ms * (int)n;
    pthread_mutex_unlock(&H.lock);
    if (pause) {
        xo_pause_ms(pause); /* before the transaction: SQLite has one writer, and other databases are meant */
    }
    pthread_mutex_lock(&H.lock);
    H.running--;
    pthread_mutex_unlock(&H.lock);
    return XONCE_OK;
}

static xonce_verdict apply(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    return xonce_exec(tx, "INSERT INTO effects (id) VALUES ($1)", xonce_text(xonce_message_id(m))) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

static void consume(const char *const *settings, int many_writers)
{
    H.running = H.most = H.runs = H.sleep_ms = 0;
    H.largest = 0;
    rig_open(&R, settings, 1);
    broker_init(&B);
    ck_assert_int_eq(xonce_consumer_new(&K, R.store, &B.base, R.cfg), XONCE_OK);
    ck_assert_int_eq(xonce_on(K, "orders", "*", apply, NULL), XONCE_OK);
    if (many_writers) {
        xo_crew_init(&K->crew, K->nworkers, 0);
    }
    run_hook = pass;
}

static void finish(int n)
{
    WAIT_FOR(broker_is_done, &B);
    ck_assert_int_eq(xonce_consumer_stop(K, 50000), XONCE_OK);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects"), n);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(DISTINCT id) FROM effects"), n);
    xonce_consumer_free(K);
    broker_free(&B);
    rig_close(&R);
}

START_TEST(a_burst_takes_few_transactions)
{
    consume(NULL, 0);
    broker_add(&B, "orders", 3000, 0, 0);
    ck_assert_int_eq(xonce_consumer_start(K), XONCE_OK);
    finish(3000);
    ck_assert_uint_eq(H.largest, 128);
    ck_assert_int_lt(H.runs, 100); /* 24 full ones and the small ones of the beginning */
}
END_TEST

START_TEST(slow_handlers_are_spread_over_the_workers)
{
    consume((const char *const[]){"workers", "8", NULL}, 1);
    H.sleep_ms = 40;
    broker_add(&B, "orders", 150, 0, 0);
    ck_assert_int_eq(xonce_consumer_start(K), XONCE_OK);
    finish(150);
    ck_assert_int_ge(H.most, 6);
    ck_assert_uint_le(H.largest, 4);
}
END_TEST

START_TEST(a_batch_ends_before_the_messages_time_does)
{
    consume((const char *const[]){"workers", "1", NULL}, 1);
    H.sleep_ms = 10;
    B.invisible = 400;
    broker_add(&B, "orders", 20, 0, 0);
    ck_assert_int_eq(xonce_consumer_start(K), XONCE_OK);
    finish(20);
    ck_assert_uint_le(H.largest, 8); /* not more than a quarter of it, 100 ms */
}
END_TEST

START_TEST(a_commit_whose_answer_is_lost_is_counted)
{
    consume((const char *const[]){"workers", "1", NULL}, 0);
    ck_assert_int_eq(xo_failpoints_load("commit-sent=error@2"), XONCE_OK);
    broker_add(&B, "orders", 2000, 0, 0);
    ck_assert_int_eq(xonce_consumer_start(K), XONCE_OK);
    WAIT_FOR(broker_is_done, &B);
    ck_assert_int_eq(xonce_consumer_stop(K, 50000), XONCE_OK);
    ck_assert_int_eq(xo_failpoints_load(""), XONCE_OK);
    xonce_counts n = {.size = sizeof(n)};
    ck_assert_int_eq(xonce_consumer_counts(K, &n), XONCE_OK);
    ck_assert_uint_eq(n.unknown_commits, 1);
    ck_assert_uint_eq(n.conflicts, 0);
    ck_assert_uint_eq(n.fresh, 2000);
    finish(2000);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("batches");
    TCase *t = tcase_create("batches");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, the_first_one_goes_at_once);
    tcase_add_test(t, a_few_wait_for_who_is_about_to_be_free);
    tcase_add_test(t, full_batches_use_those_who_help);
    tcase_add_test(t, one_writer_has_one_worker_but_for_hangs);
    tcase_add_test(t, a_busy_topic_leaves_room_for_another);
    tcase_add_test(t, the_next_batch_can_be_taken_before_the_end);
    tcase_add_test(t, one_watches_for_all);
    tcase_add_test(t, no_room_for_more_ends_all_waiting);
    tcase_add_test(t, a_burst_takes_few_transactions);
    tcase_add_test(t, slow_handlers_are_spread_over_the_workers);
    tcase_add_test(t, a_batch_ends_before_the_messages_time_does);
    tcase_add_test(t, a_commit_whose_answer_is_lost_is_counted);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
