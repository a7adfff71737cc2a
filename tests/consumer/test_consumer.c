/* The consumer from poll to settle: batches, back-pressure, expiry, attempts, stopping, errors of the database and of the source. The judge is SQL. */
#include "tests/consumer/rig.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static rig R;
static broker B;
static xonce_consumer *C;

/* ---- handlers ---- */

static struct {
    pthread_mutex_t lock;
    int running, most, calls, fail_every, sleep_ms, block;
    size_t sizes[4096];
    int64_t first_at;
} H = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void handler_reset(void)
{
    pthread_mutex_lock(&H.lock);
    H.running = H.most = H.calls = H.fail_every = H.sleep_ms = H.block = 0;
    H.first_at = 0;
    pthread_mutex_unlock(&H.lock);
}

static int handler_get(const int *what)
{
    pthread_mutex_lock(&H.lock);
    int v = *what;
    pthread_mutex_unlock(&H.lock);
    return v;
}

static void handler_set(int *what, int v)
{
    pthread_mutex_lock(&H.lock);
    *what = v;
    pthread_mutex_unlock(&H.lock);
}

static int enter(size_t size)
{
    pthread_mutex_lock(&H.lock);
    int call = H.calls++, pause = H.sleep_ms;
    H.sizes[call % 4096] = size;
    if (!H.first_at) {
        H.first_at = xo_mono_ms();
    }
    if (++H.running > H.most) {
        H.most = H.running;
    }
    pthread_mutex_unlock(&H.lock);
    if (pause) {
        xo_pause_ms(pause);
    }
    while (handler_get(&H.block)) {
        xo_pause_ms(2);
    }
    return call;
}

static void leave(void)
{
    pthread_mutex_lock(&H.lock);
    H.running--;
    pthread_mutex_unlock(&H.lock);
}

static xonce_status effect(xonce_tx *tx, const xonce_message *m)
{
    const char *lane = xonce_message_property(m, "__SHARDINGKEY");
    return xonce_exec(tx, "INSERT INTO effects (id, lane, seq) VALUES ($1, $2, $3)", xonce_text(xonce_message_id(m)), xonce_text(lane),
                      xonce_int(atoll(xonce_message_property(m, "SEQ"))));
}

static xonce_verdict apply(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    int call = enter(1);
    xonce_status st = effect(tx, m);
    int every = handler_get(&H.fail_every);
    leave();
    return st == XONCE_OK && !(every && call % every == every - 1) ? XONCE_DONE : XONCE_RETRY;
}

static xonce_verdict apply_batch(xonce_tx *tx, xonce_batch *batch, void *arg)
{
    (void)arg;
    (void)enter(xonce_batch_count(batch));
    for (size_t i = 0; i < xonce_batch_count(batch); i++) {
        effect(tx, xonce_batch_at(batch, i));
    }
    leave();
    return XONCE_DONE;
}

static xonce_verdict refuse(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg, (void)m;
    (void)enter(1);
    leave();
    xonce_fail(tx, "never");
    return XONCE_RETRY;
}

/* ---- set-up ---- */

static void begin(const char *const *settings)
{
    handler_reset();
    rig_open(&R, settings, 1);
    broker_init(&B);
    ck_assert_msg(xonce_consumer_new(&C, R.store, &B.base, R.cfg) == XONCE_OK, "%s", xonce_error_last()->text);
}

static void finish(void)
{
    xonce_consumer_free(C);
    broker_free(&B);
    rig_close(&R);
}

static xonce_counts counts(void)
{
    xonce_counts n = {.size = sizeof(n)};
    ck_assert_int_eq(xonce_consumer_counts(C, &n), XONCE_OK);
    return n;
}

static void start(void)
{
    ck_assert_msg(xonce_consumer_start(C) == XONCE_OK, "%s", xonce_error_last()->text);
}

static void stop(void)
{
    ck_assert_msg(xonce_consumer_stop(C, 50000) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_uint_eq(B.out_now, 0); /* everything acknowledged or given back */
    ck_assert_uint_eq(counts().in_flight, 0);
    ck_assert_uint_eq(B.late_polls, 0);
}

static void each_once(int64_t n)
{
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects"), n);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(DISTINCT id) FROM effects"), n);
}

static int some_run(void *n)
{
    return handler_get(&H.running) >= *(int *)n;
}

/* ---- tests ---- */

START_TEST(every_message_once)
{
    begin((const char *const[]){"workers", "4", "suspend", "10ms", NULL});
    B.duplicates = 10;
    B.lose_acks = 10;
    B.invisible = 500;
    handler_set(&H.fail_every, 97);
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    broker_add(&B, "orders", 2000, 0, 0);
    start();
    WAIT_FOR(broker_is_done, &B);
    stop();
    each_once(2000);
    xonce_counts n = counts();
    ck_assert_uint_eq(n.fresh, 2000);
    ck_assert_uint_gt(n.duplicate, 0);
    ck_assert_uint_gt(n.retried, 0);
    ck_assert_int_eq(n.healthy, 1);
    ck_assert_int_ge(n.last_poll_ms, 0);
    finish();
}
END_TEST

START_TEST(batches_have_their_bounds)
{
    begin((const char *const[]){"workers", "1", "batch.max", "10", "batch.linger", "1s", NULL});
    ck_assert_int_eq(xonce_on_batch(C, "orders", "*", apply_batch, NULL), XONCE_OK);
    broker_add(&B, "orders", 25, 0, 0);
    start();
    WAIT_FOR(broker_is_done, &B);
    stop();
    each_once(25);
    ck_assert_int_ge(H.calls, 3);
    ck_assert_uint_eq(H.sizes[0], 10);
    ck_assert_uint_le(H.sizes[1], 10); /* fewer when the first took long: a transaction is bounded by time too */
    finish();
}
END_TEST

/* As many are out with the consumer. */
static int some_out(void *n)
{
    return broker_get(&B, &B.out_max) >= *(size_t *)n;
}

START_TEST(linger_waits_and_ends)
{
    begin((const char *const[]){"workers", "2", "batch.max", "100", "batch.linger", "1s", NULL});
    ck_assert_int_eq(xonce_on_batch(C, "orders", "*", apply_batch, NULL), XONCE_OK);
    int64_t began = xo_mono_ms();
    broker_add(&B, "orders", 3, 0, 0);
    start();
    WAIT_FOR(some_out, &(size_t){3});
    broker_add(&B, "orders", 4, 0, 0);
    WAIT_FOR(broker_is_done, &B);
    ck_assert_int_ge(H.first_at - began, 1000);
    stop();
    each_once(7);
    ck_assert_int_eq(H.calls, 1);
    ck_assert_uint_eq(H.sizes[0], 7);
    finish();
}
END_TEST

/* SQLite has one writer, so the workers are seen where they enter the store. */
static xonce_status meet(const xo_item *items, size_t n)
{
    (void)items;
    (void)enter(n);
    leave();
    return XONCE_OK;
}

START_TEST(workers_run_at_once)
{
    begin((const char *const[]){"workers", "3", "batch.max", "2", NULL});
    run_hook = meet;
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    handler_set(&H.block, 1);
    broker_add(&B, "orders", 20, 0, 0);
    start();
    WAIT_FOR(some_run, &(int){3});
    handler_set(&H.block, 0);
    WAIT_FOR(broker_is_done, &B);
    stop();
    each_once(20);
    ck_assert_int_ge(H.most, 3);
    finish();
}
END_TEST

START_TEST(a_flood_does_not_starve_another_topic)
{
    begin((const char *const[]){"workers", "1", "batch.max", "4", NULL});
    ck_assert_int_eq(xonce_on(C, "flood", "*", apply, NULL), XONCE_OK);
    ck_assert_int_eq(xonce_on(C, "quiet", "*", apply, NULL), XONCE_OK);
    handler_set(&H.block, 1);
    broker_add(&B, "flood", 600, 0, 0);
    start();
    WAIT_FOR(some_run, &(int){1});
    WAIT_FOR(some_out, &(size_t){600});
    broker_add(&B, "quiet", 1, 0, 0);
    WAIT_FOR(some_out, &(size_t){601});
    handler_set(&H.block, 0);
    WAIT_FOR(broker_is_done, &B);
    stop();
    each_once(601);
    ck_assert_int_lt(rig_int(&R, "SELECT n FROM effects WHERE id = 'm600'"), 300); /* n-th of all effects */
    finish();
}
END_TEST

START_TEST(memory_is_bounded)
{
    begin((const char *const[]){"workers", "2", "batch.max", "4", "buffer.messages", "100", "buffer.size", "16M", NULL});
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    handler_set(&H.block, 1);
    broker_add(&B, "orders", 500, 0, 0);
    start();
    WAIT_FOR(some_run, &(int){1});
    WAIT_FOR(some_out, &(size_t){90});
    xo_pause_ms(200); /* more than it may have would come about now */
    handler_set(&H.block, 0);
    WAIT_FOR(broker_is_done, &B);
    ck_assert_uint_le(B.out_max, 100);
    stop();
    each_once(500);
    finish();
}
END_TEST

START_TEST(bodies_are_bounded)
{
    begin((const char *const[]){"workers", "2", "buffer.size", "16M", NULL});
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    handler_set(&H.block, 1);
    broker_add(&B, "orders", 20, 0, 4 << 20);
    start();
    WAIT_FOR(some_run, &(int){1});
    WAIT_FOR(some_out, &(size_t){3});
    xo_pause_ms(200); /* more than it may have would come about now */
    handler_set(&H.block, 0);
    WAIT_FOR(broker_is_done, &B);
    ck_assert_uint_ge(B.bytes_max, 12 << 20);
    ck_assert_uint_le(B.bytes_max, 16 << 20);
    stop();
    each_once(20);
    finish();
}
END_TEST

START_TEST(a_full_buffer_ends_the_linger)
{
    begin((const char *const[]){"workers", "1", "batch.max", "512", "batch.linger", "60s", "buffer.messages", "100", NULL});
    ck_assert_int_eq(xonce_on_batch(C, "orders", "*", apply_batch, NULL), XONCE_OK);
    broker_add(&B, "orders", 200, 0, 0);
    start();
    WAIT_FOR(broker_is_done, &B);
    stop();
    each_once(200);
    finish();
}
END_TEST

static int copies_came(void *arg)
{
    int yes = 1;
    (void)arg;
    pthread_mutex_lock(&B.lock);
    for (size_t i = 0; i < B.n; i++) {
        yes = yes && B.all[i].deliveries > 1;
    }
    pthread_mutex_unlock(&B.lock);
    return yes;
}

START_TEST(expired_messages_are_not_run)
{
    begin((const char *const[]){"workers", "1", "batch.max", "1", NULL});
    B.invisible = 150;
    B.deaf = 1;
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    handler_set(&H.block, 1);
    broker_add(&B, "orders", 10, 0, 0);
    start();
    WAIT_FOR(some_run, &(int){1});
    WAIT_FOR(copies_came, NULL); /* the first ones' time is over */
    broker_invisible(&B, 60000);
    handler_set(&H.block, 0);
    WAIT_FOR(broker_is_done, &B);
    stop();
    each_once(10);
    ck_assert_uint_gt(B.nacks, 0);
    ck_assert_int_eq(log_count("beyond the time"), 1);
    finish();
}
END_TEST

START_TEST(attempts_end_in_the_rejected_table)
{
    begin((const char *const[]){"workers", "2", "attempts", "3", "suspend", "10ms", NULL});
    ck_assert_int_eq(xonce_on(C, "orders", "*", refuse, NULL), XONCE_OK);
    broker_add(&B, "orders", 5, 0, 0);
    start();
    WAIT_FOR(broker_is_done, &B);
    stop();
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM xonce_rejected WHERE reason LIKE '%never%'"), 5);
    for (size_t i = 0; i < B.n; i++) {
        ck_assert_int_eq(B.all[i].deliveries, 3);
    }
    ck_assert_uint_eq(counts().rejected, 5);
    ck_assert_uint_eq(counts().retried, 10);
    finish();
}
END_TEST

START_TEST(the_sources_own_limit_counts)
{
    begin((const char *const[]){"workers", "1", "attempts", "200", "suspend", "10ms", NULL});
    xonce_consumer_free(C);
    B.base.max_attempts = 2;
    ck_assert_int_eq(xonce_consumer_new(&C, R.store, &B.base, R.cfg), XONCE_OK);
    ck_assert_int_eq(xonce_on(C, "orders", "*", refuse, NULL), XONCE_OK);
    broker_add(&B, "orders", 1, 0, 0);
    start();
    WAIT_FOR(broker_is_done, &B);
    stop();
    ck_assert_int_eq(B.all[0].deliveries, 2);
    ck_assert_uint_eq(counts().rejected, 1);
    finish();
}
END_TEST

static int one_is_left(void *arg)
{
    (void)arg;
    return broker_get(&B, &B.out_now) == 1;
}

START_TEST(stop_finishes_what_runs_and_gives_back_the_rest)
{
    begin((const char *const[]){"workers", "1", "batch.max", "2", NULL});
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    handler_set(&H.block, 1);
    broker_add(&B, "orders", 50, 0, 0);
    start();
    WAIT_FOR(some_run, &(int){1});
    WAIT_FOR(some_out, &(size_t){50});
    ck_assert_int_eq(xonce_consumer_stop(C, 1), XONCE_E_TIMEOUT);
    WAIT_FOR(one_is_left, NULL); /* the first batch is one message; a handler that takes long keeps nobody else's from going back */
    handler_set(&H.block, 0);
    stop();
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects"), 1);
    ck_assert_uint_eq(B.acks, 1);
    ck_assert_uint_eq(B.nacks + B.acks, counts().polled);
    ck_assert_int_eq(B.stopped, 1);
    finish();
}
END_TEST

START_TEST(stop_in_vain_can_be_repeated)
{
    begin((const char *const[]){"workers", "2", "batch.max", "1", NULL});
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    handler_set(&H.block, 1);
    broker_add(&B, "orders", 10, 0, 0);
    start();
    WAIT_FOR(some_run, &(int){1});
    ck_assert_int_eq(xonce_consumer_stop(C, 100), XONCE_E_TIMEOUT);
    ck_assert_int_eq(xo_consumer_ended(C, NULL), 0);
    handler_set(&H.block, 0);
    stop();
    ck_assert_int_eq(xo_consumer_ended(C, NULL), 1);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects"), (int64_t)B.acks);
    finish();
}
END_TEST

static void on_signal(int sig)
{
    (void)sig;
    xonce_consumer_ask_stop(C);
}

START_TEST(a_signal_ends_run)
{
    begin((const char *const[]){"workers", "2", NULL});
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    struct sigaction old, sa = {.sa_handler = on_signal};
    sigaction(SIGALRM, &sa, &old);
    alarm(1);
    ck_assert_int_eq(xonce_consumer_run(C), XONCE_OK);
    sigaction(SIGALRM, &old, NULL);
    ck_assert_int_eq(xo_consumer_ended(C, NULL), 1);
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_E_INVALID);
    finish();
}
END_TEST

START_TEST(idle_ends_run)
{
    begin((const char *const[]){"workers", "2", "exit-when-idle", "200ms", NULL});
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    broker_add(&B, "orders", 100, 0, 0);
    ck_assert_int_eq(xonce_consumer_run(C), XONCE_OK);
    each_once(100);
    ck_assert_uint_eq(counts().fresh, 100);
    finish();
}
END_TEST

/* ---- the database fails ---- */

static int outage; /* atomic: 1 = xo_run fails */
static xonce_status outage_code;

static xonce_status database(const xo_item *items, size_t n)
{
    (void)items, (void)n;
    return __atomic_load_n(&outage, __ATOMIC_ACQUIRE) ? xo_fail_sql(outage_code, XO_SQL_LOST, 0, NULL, "the database is gone") : XONCE_OK;
}

static int is_unhealthy(void *arg)
{
    (void)arg;
    return !counts().healthy;
}

static int is_healthy(void *arg)
{
    (void)arg;
    return counts().healthy;
}

static int no_poll_for_a_second(void *arg)
{
    (void)arg;
    size_t before = broker_get(&B, &B.polls);
    xo_pause_ms(1000);
    return broker_get(&B, &B.polls) == before;
}

START_TEST(an_outage_of_the_database_is_waited_for)
{
    begin((const char *const[]){"workers", "4", "buffer.messages", "200", NULL});
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    run_hook = database;
    outage_code = XONCE_E_CONNECT;
    __atomic_store_n(&outage, 1, __ATOMIC_RELEASE);
    broker_add(&B, "orders", 1000, 0, 0);
    start();
    WAIT_FOR(is_unhealthy, NULL);
    WAIT_FOR(no_poll_for_a_second, NULL); /* nothing more is asked for */
    ck_assert_uint_eq(broker_get(&B, &B.acks), 0);
    __atomic_store_n(&outage, 0, __ATOMIC_RELEASE);
    WAIT_FOR(broker_is_done, &B);
    WAIT_FOR(is_healthy, NULL);
    stop();
    each_once(1000);
    ck_assert_int_eq(log_count("cannot be used"), 1);
    ck_assert_int_eq(log_count("is back"), 1);
    finish();
}
END_TEST

START_TEST(an_outage_with_nothing_at_hand_ends_too)
{
    begin((const char *const[]){"workers", "2", NULL});
    B.invisible = 100;
    B.deaf = 1;
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    run_hook = database;
    outage_code = XONCE_E_CONNECT;
    __atomic_store_n(&outage, 1, __ATOMIC_RELEASE);
    broker_add(&B, "orders", 20, 0, 0);
    start();
    WAIT_FOR(is_unhealthy, NULL);
    xo_pause_ms(300); /* thrice the time after which what was polled has expired */
    __atomic_store_n(&outage, 0, __ATOMIC_RELEASE);
    broker_invisible(&B, 60000);
    WAIT_FOR(broker_is_done, &B);
    stop();
    each_once(20);
    finish();
}
END_TEST

START_TEST(a_permanent_error_ends_run_and_acks_nothing)
{
    begin((const char *const[]){"workers", "3", NULL});
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    run_hook = database;
    outage_code = XONCE_E_SCHEMA;
    __atomic_store_n(&outage, 1, __ATOMIC_RELEASE);
    broker_add(&B, "orders", 100, 0, 0);
    ck_assert_int_eq(xonce_consumer_run(C), XONCE_E_SCHEMA);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "the database is gone"));
    ck_assert_uint_eq(B.acks, 0);
    ck_assert_uint_eq(B.out_now, 0);
    ck_assert_int_eq(counts().healthy, 0);
    xo_error why;
    ck_assert_int_eq(xo_consumer_ended(C, &why), 1);
    ck_assert_int_eq(why.pub.code, XONCE_E_SCHEMA);
    finish();
}
END_TEST

START_TEST(a_missing_table_ends_run)
{
    handler_reset();
    rig_open(&R, NULL, 0);
    broker_init(&B);
    ck_assert_int_eq(xonce_consumer_new(&C, R.store, &B.base, R.cfg), XONCE_OK);
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    broker_add(&B, "orders", 3, 0, 0);
    ck_assert_int_ne(xonce_consumer_run(C), XONCE_OK);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "transaction_record"));
    ck_assert_uint_eq(B.acks, 0);
    ck_assert_int_eq(H.calls, 0);
    finish();
}
END_TEST

/* ---- the source fails ---- */

START_TEST(a_source_that_refuses_ends_run)
{
    begin(NULL);
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    B.fail = XONCE_E_AUTH;
    ck_assert_int_eq(xonce_consumer_run(C), XONCE_E_AUTH);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "told to fail"));
    finish();
}
END_TEST

START_TEST(a_source_that_fails_for_a_while_is_asked_again)
{
    begin(NULL);
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    B.fail = XONCE_E_CONNECT;
    B.fail_again = 1;
    broker_add(&B, "orders", 10, 0, 0);
    start();
    WAIT_FOR(is_unhealthy, NULL);
    pthread_mutex_lock(&B.lock);
    B.fail = XONCE_OK;
    pthread_mutex_unlock(&B.lock);
    WAIT_FOR(broker_is_done, &B);
    WAIT_FOR(is_healthy, NULL);
    stop();
    ck_assert_int_eq(log_count("cannot be asked"), 1);
    each_once(10);
    finish();
}
END_TEST

/* ---- maintenance, hooks, arguments ---- */

START_TEST(keep_below_the_floor_is_refused)
{
    begin((const char *const[]){"prune.keep", "12h", NULL});
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    ck_assert_int_eq(xonce_consumer_run(C), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "prune.keep=12h is too short"));
    ck_assert_int_eq(B.started, 0);
    finish();
    begin((const char *const[]){"prune.keep", "12h", "prune.every", "0", "exit-when-idle", "50ms", NULL});
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    ck_assert_int_eq(xonce_consumer_run(C), XONCE_OK);
    finish();
}
END_TEST

static int is_replayed(void *arg)
{
    (void)arg;
    return counts().replayed == 1;
}

static xonce_verdict reject_or_apply(xonce_tx *tx, const xonce_message *m, void *arg)
{
    if (!__atomic_load_n((int *)arg, __ATOMIC_ACQUIRE)) {
        xonce_fail(tx, "not yet");
        return XONCE_REJECT;
    }
    return xonce_exec(tx, "INSERT INTO effects (id) VALUES ($1)", xonce_text(xonce_message_id(m))) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

START_TEST(marked_messages_are_replayed)
{
    int ready = 0;
    begin((const char *const[]){"workers", "1", NULL});
    ck_assert_int_eq(xonce_on(C, "orders", "*", reject_or_apply, &ready), XONCE_OK);
    broker_add(&B, "orders", 2, 0, 0);
    start();
    WAIT_FOR(broker_is_done, &B);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM xonce_rejected"), 2);
    __atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
    rig_sql(&R, "UPDATE xonce_rejected SET replay_at = 1 WHERE message_id LIKE 'm1#%'");
    WAIT_FOR(is_replayed, NULL);
    stop();
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects WHERE id = 'm1'"), 1);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM xonce_rejected"), 1);
    finish();
}
END_TEST

static int watermark_moves(void *arg)
{
    (void)arg;
    return rig_int(&R, "SELECT COUNT(*) FROM xonce_watermark WHERE watermark_ms > 0") == 1;
}

START_TEST(the_watermark_moves_only_when_caught_up)
{
    begin((const char *const[]){"workers", "1", NULL});
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    run_hook = meet; /* held before its transaction, which would keep the watermark from being written */
    handler_set(&H.block, 1);
    broker_add(&B, "orders", 1, 0, 0);
    start();
    WAIT_FOR(some_run, &(int){1});
    broker_seen_again(&B); /* each time it would be written */
    ck_assert_int_eq(rig_int(&R, "SELECT COALESCE(MAX(watermark_ms), 0) FROM xonce_watermark"), 0);
    handler_set(&H.block, 0);
    WAIT_FOR(watermark_moves, NULL);
    stop();
    finish();
}
END_TEST

static int hook_starts, hook_ends, hook_seen;

static xonce_status worker_start(void *arg, void **worker)
{
    *worker = arg;
    __atomic_fetch_add(&hook_starts, 1, __ATOMIC_ACQ_REL);
    return XONCE_OK;
}

static void worker_end(void *arg, void *worker)
{
    ck_assert_ptr_eq(arg, worker);
    __atomic_fetch_add(&hook_ends, 1, __ATOMIC_ACQ_REL);
}

static xonce_verdict see_worker(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)m;
    if (xonce_tx_worker(tx) == arg) {
        __atomic_fetch_add(&hook_seen, 1, __ATOMIC_ACQ_REL);
    }
    return XONCE_DONE;
}

START_TEST(hooks_run_once_a_worker)
{
    int mine;
    xonce_hooks hooks = {.size = sizeof(hooks), .worker_start = worker_start, .worker_end = worker_end};
    hook_starts = hook_ends = hook_seen = 0;
    begin((const char *const[]){"workers", "3", NULL});
    ck_assert_int_eq(xonce_store_hooks(R.store, &hooks, &mine), XONCE_OK);
    ck_assert_int_eq(xonce_on(C, "orders", "*", see_worker, &mine), XONCE_OK);
    broker_add(&B, "orders", 10, 0, 0);
    start();
    WAIT_FOR(broker_is_done, &B);
    stop();
    ck_assert_int_eq(hook_starts, 4); /* three workers, and the thread of replays */
    ck_assert_int_eq(hook_ends, 4);
    ck_assert_int_eq(hook_seen, 10);
    finish();
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    begin(NULL);
    xonce_consumer *none;
    ck_assert_int_eq(xonce_consumer_new(&none, NULL, &B.base, NULL), XONCE_E_INVALID);
    ck_assert_ptr_null(none);
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_E_INVALID); /* no subscription */
    ck_assert_int_eq(xonce_on(C, "", "*", apply, NULL), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_on(C, "orders", "*", NULL, NULL), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    ck_assert_int_eq(xonce_on_batch(C, "orders", "a", apply_batch, NULL), XONCE_E_INVALID);
    xonce_counts n = {.size = 0};
    ck_assert_int_eq(xonce_consumer_counts(C, &n), XONCE_E_INVALID);
    start();
    ck_assert_int_eq(xonce_on(C, "late", "*", apply, NULL), XONCE_E_INVALID);
    stop();
    ck_assert_int_eq(counts().last_poll_ms, -1);
    finish();
    xonce_consumer_free(NULL);
    begin(NULL); /* a stop before the start, as from an early signal, ends it at once */
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    xonce_consumer_ask_stop(C);
    ck_assert_int_eq(xonce_consumer_run(C), XONCE_OK);
    finish();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("consumer");
    TCase *t = tcase_create("consumer");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, every_message_once);
    tcase_add_test(t, batches_have_their_bounds);
    tcase_add_test(t, linger_waits_and_ends);
    tcase_add_test(t, workers_run_at_once);
    tcase_add_test(t, a_flood_does_not_starve_another_topic);
    tcase_add_test(t, memory_is_bounded);
    tcase_add_test(t, bodies_are_bounded);
    tcase_add_test(t, a_full_buffer_ends_the_linger);
    tcase_add_test(t, expired_messages_are_not_run);
    tcase_add_test(t, attempts_end_in_the_rejected_table);
    tcase_add_test(t, the_sources_own_limit_counts);
    tcase_add_test(t, stop_finishes_what_runs_and_gives_back_the_rest);
    tcase_add_test(t, stop_in_vain_can_be_repeated);
    tcase_add_test(t, a_signal_ends_run);
    tcase_add_test(t, idle_ends_run);
    tcase_add_test(t, an_outage_of_the_database_is_waited_for);
    tcase_add_test(t, an_outage_with_nothing_at_hand_ends_too);
    tcase_add_test(t, a_permanent_error_ends_run_and_acks_nothing);
    tcase_add_test(t, a_missing_table_ends_run);
    tcase_add_test(t, a_source_that_refuses_ends_run);
    tcase_add_test(t, a_source_that_fails_for_a_while_is_asked_again);
    tcase_add_test(t, keep_below_the_floor_is_refused);
    tcase_add_test(t, marked_messages_are_replayed);
    tcase_add_test(t, the_watermark_moves_only_when_caught_up);
    tcase_add_test(t, hooks_run_once_a_worker);
    tcase_add_test(t, wrong_arguments_are_refused);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
