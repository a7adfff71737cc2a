/* Consuming by offset: queues run in order, a failing message is tried again in place, and what belongs to a queue that was taken over goes back to its source. */
#include "tests/consumer/rig.h"
#include "store/settled.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUES = 3, EACH = 200 };

/* Some queues in memory, read as a source with offsets does: from the database's position on, under the epoch of its take-over. */
typedef struct {
    xonce_source base;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct {
        xo_range r;
        int64_t at;       /* the next to hand over */
        int64_t handed;   /* the end of the last one */
        uint64_t mark;
        int stale;        /* to be started anew */
    } q[QUEUES];
    xonce_store *store;
    uint64_t marks;
    int by_offset, stopped, fenced, nacked;
    size_t out;
} queues;

static rig R;
static queues S;
static xonce_consumer *C;

static xonce_status q_subscribe(xonce_source *s, const char *group, const char *topic, const char *tags, int ordered)
{
    (void)s;
    (void)group;
    (void)topic;
    (void)tags;
    (void)ordered;
    return XONCE_OK;
}

static xonce_status q_by_offset(xonce_source *s, const char *topic)
{
    ck_assert_str_eq(topic, "orders");
    ((queues *)s)->by_offset = 1;
    return XONCE_OK;
}

/* 0: the row has changed since it was read. */
static int take_once(queues *s, int k)
{
    const xo_position_ops *ops = xo_store_positions();
    xo_range *rows = NULL, *r = &s->q[k].r;
    size_t n = 0;
    ck_assert_int_eq(ops->load(s->store, "orders", "b", k, &rows, &n), XONCE_OK);
    *r = (xo_range){.topic = (char *)(uintptr_t)"orders", .broker = (char *)(uintptr_t)"b", .tags = (char *)(uintptr_t)"*", .queue = k, .last_store_time = -1, .last_log_offset = -1, .by_offset = 1};
    if (n) {
        r->next = rows[0].next;
    }
    xonce_status st = ops->take(s->store, r, rows, n);
    ck_assert_msg(st == XONCE_OK || st == XONCE_E_CONFLICT, "%s", xonce_error_last()->text);
    xo_ranges_free(rows, n);
    return st == XONCE_OK;
}

static void q_take(queues *s, int k)
{
    const xo_range *r = &s->q[k].r;
    while (!take_once(s, k)) {
    }
    s->q[k].handed = r->next;
    s->q[k].at = r->next + (r->next % 5 == 1); /* which is not wanted, wherever one begins */
    s->q[k].mark = ++s->marks;
    s->q[k].stale = 0;
}

static xonce_status q_start(xonce_source *base)
{
    queues *s = (queues *)base;
    for (int k = 0; k < QUEUES; k++) {
        q_take(s, k);
    }
    return XONCE_OK;
}

static xonce_message *make(queues *s, int k, int64_t offset)
{
    char id[24], key[8];
    xonce_message *m = NULL;
    snprintf(id, sizeof(id), "q%d-%d", k, (int)offset);
    snprintf(key, sizeof(key), "k%d", (int)offset % 3);
    ck_assert_int_eq(xonce_message_new(&m, "orders", id, "x", 1), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_property(m, "__SHARDINGKEY", key), XONCE_OK); /* by offset a queue is one lane all the same */
    ck_assert_int_eq(xonce_message_set_origin(m, "b", k, offset), XONCE_OK);
    m->store_time = 1000 + offset;
    m->log_offset = 100 * offset;
    m->expires_mono = INT64_MAX;
    m->mark = s->q[k].mark;
    m->claim_from = s->q[k].handed;
    m->claim_generation = 0;
    m->claim_epoch = s->q[k].r.epoch;
    s->q[k].handed = offset + 1;
    return m;
}

static xonce_status q_poll(xonce_source *base, size_t max, int64_t timeout_ms, xonce_message **list)
{
    queues *s = (queues *)base;
    int64_t end = xo_mono_ms() + timeout_ms;
    *list = NULL;
    pthread_mutex_lock(&s->lock);
    while (!*list && !s->stopped && xo_mono_ms() < end) {
        for (int k = 0; k < QUEUES; k++) {
            if (s->q[k].stale) {
                q_take(s, k);
            }
        }
        for (size_t i = 0; i < max; i++) {
            int k = (int)(i % QUEUES);
            if (s->q[k].at < EACH) {
                xonce_message *m = make(s, k, s->q[k].at);
                s->q[k].at += 1 + (s->q[k].at % 5 == 0); /* some are not wanted */
                xonce_message **last = list;
                while (*last) {
                    last = &(*last)->next;
                }
                *last = m;
                s->out++;
            }
        }
        if (!*list) {
            xo_cond_wait_ms(&s->changed, &s->lock, end);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return XONCE_OK;
}

static void q_ack(xonce_source *base, xonce_message *list)
{
    queues *s = (queues *)base;
    pthread_mutex_lock(&s->lock);
    for (xonce_message *m = list, *next; m; m = next) {
        next = m->next;
        s->out--;
        xonce_message_free(m);
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void q_nack(xonce_source *base, xonce_message *m, int64_t delay_ms)
{
    queues *s = (queues *)base;
    (void)delay_ms;
    pthread_mutex_lock(&s->lock);
    s->nacked++;
    s->fenced += m->fenced;
    s->out--;
    if (m->mark == s->q[m->queue].mark && !s->stopped) {
        s->q[m->queue].stale = 1;
    }
    xonce_message_free(m);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static int q_caught_up(xonce_source *s)
{
    (void)s;
    return 0;
}

static xonce_status q_stop(xonce_source *base, int64_t timeout_ms)
{
    queues *s = (queues *)base;
    (void)timeout_ms;
    pthread_mutex_lock(&s->lock);
    s->stopped = 1;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return XONCE_OK;
}

static void q_wake(xonce_source *base)
{
    queues *s = (queues *)base;
    pthread_mutex_lock(&s->lock);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void q_close(xonce_source *s)
{
    (void)s;
}

static void q_positions(xonce_source *s, const xo_position_ops *ops, void *self)
{
    (void)s;
    (void)ops;
    (void)self;
}

static const xo_source_ops with_offsets = {q_subscribe, q_start, q_poll, q_ack, q_nack, q_caught_up, q_stop, q_wake, q_close, q_positions, NULL, q_by_offset};
static const xo_source_ops without = {q_subscribe, q_start, q_poll, q_ack, q_nack, q_caught_up, q_stop, q_wake, q_close, NULL, NULL, NULL};

static void begin_with(const xo_source_ops *ops, const char *const *settings)
{
    rig_open(&R, settings, 1);
    memset(&S, 0, sizeof(S));
    S.base = (xonce_source){.ops = ops, .kind = "queues", .keep_floor_ms = 1000};
    S.store = R.store;
    pthread_mutex_init(&S.lock, NULL);
    ck_assert_int_eq(xo_cond_init(&S.changed), 0);
    ck_assert_int_eq(xonce_consumer_new(&C, R.store, &S.base, R.cfg), XONCE_OK);
}

static const char *const by_offset[] = {"claim", "offset", "workers", "3", "batch.max", "16", "suspend", "10ms", "prune.every", "0", NULL};

static void finish(void)
{
    xonce_consumer_free(C);
    ck_assert_uint_eq(S.out, 0); /* each came back one way or another */
    pthread_cond_destroy(&S.changed);
    pthread_mutex_destroy(&S.lock);
    rig_close(&R);
}

static int all_settled(void *arg)
{
    (void)arg;
    return rig_int(&R, "SELECT COUNT(*) = 3 AND MIN(next_offset) >= 200 FROM xonce_settled") == 1;
}

/* Of each queue what is wanted once, in order. */
static void expect_all(int64_t less)
{
    int64_t wanted = 0;
    for (int64_t o = 0; o < EACH; o += 1 + (o % 5 == 0)) {
        wanted++;
    }
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects"), QUEUES * wanted - less);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(DISTINCT id) FROM effects"), QUEUES * wanted - less);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects a JOIN effects b ON a.lane = b.lane AND a.n < b.n AND a.seq > b.seq"), 0);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM transaction_record"), 0);
}

static void runs_to_the_end(int64_t less)
{
    WAIT_FOR(all_settled, NULL);
    ck_assert_int_eq(xonce_consumer_stop(C, 20000), XONCE_OK);
    expect_all(less);
}

static int fails_at, fails;
static xonce_verdict fails_with;

static xonce_verdict apply(xonce_tx *tx, const xonce_message *m, void *arg)
{
    char lane[16];
    (void)arg;
    snprintf(lane, sizeof(lane), "%d", m->queue);
    if (m->offset == fails_at && __atomic_load_n(&fails, __ATOMIC_SEQ_CST) > 0) {
        __atomic_sub_fetch(&fails, 1, __ATOMIC_SEQ_CST);
        return fails_with;
    }
    return xonce_exec(tx, "INSERT INTO effects (id, lane, seq) VALUES ($1, $2, $3)", xonce_text(m->id), xonce_text(lane), xonce_int(m->offset)) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

static void start(void)
{
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    ck_assert_msg(xonce_consumer_start(C) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_eq(S.by_offset, 1);
}

static xonce_counts counts(void)
{
    xonce_counts n = {.size = sizeof(n)};
    ck_assert_int_eq(xonce_consumer_counts(C, &n), XONCE_OK);
    return n;
}

START_TEST(each_once_and_in_order)
{
    fails = 0;
    begin_with(&with_offsets, by_offset);
    start();
    runs_to_the_end(0);
    ck_assert_uint_eq(counts().duplicate, 0);
    ck_assert_int_eq(S.fenced, 0);
    finish();
}
END_TEST

START_TEST(a_failing_one_is_tried_again_in_place)
{
    begin_with(&with_offsets, by_offset);
    fails_at = 50;
    fails = 6;
    fails_with = XONCE_RETRY;
    start();
    runs_to_the_end(0);
    ck_assert_uint_ge(counts().retried, 6);
    ck_assert_int_eq(S.nacked, 0); /* nothing was given back */
    finish();
}
END_TEST

START_TEST(a_bad_one_is_rejected)
{
    begin_with(&with_offsets, by_offset);
    fails_at = 75;
    fails = 3;
    fails_with = XONCE_REJECT;
    start();
    runs_to_the_end(3 * (75 % 5 == 0));
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM xonce_rejected"), 3);
    finish();
}
END_TEST

/* Another member takes queue 1 over again and again: what was read of it before goes back, once, and nothing is applied twice. */
START_TEST(taken_over_while_it_runs)
{
    fails = 0;
    begin_with(&with_offsets, by_offset);
    start();
    for (int k = 0; k < 20; k++) {
        rig_sql(&R, "UPDATE xonce_settled SET epoch = epoch + 1 WHERE queue_id = 1");
        xo_pause_ms(5); /* no wait: whatever it hits, the result is the same */
    }
    runs_to_the_end(0);
    ck_assert_int_eq(counts().healthy, 1);
    finish();
}
END_TEST

static xonce_status take_over_at_once(const xo_item *items, size_t n)
{
    static int once;
    for (size_t i = 0; i < n; i++) {
        if (items[i].m->queue == 1 && items[i].m->offset > 20 && !__atomic_exchange_n(&once, 1, __ATOMIC_SEQ_CST)) {
            rig_sql(&R, "UPDATE xonce_settled SET epoch = epoch + 1 WHERE queue_id = 1");
        }
    }
    return XONCE_OK;
}

START_TEST(the_source_is_told)
{
    fails = 0;
    begin_with(&with_offsets, by_offset);
    run_hook = take_over_at_once;
    start();
    runs_to_the_end(0);
    ck_assert_int_ge(S.fenced, 1);
    ck_assert_uint_eq(counts().retried, 0); /* no handler failed */
    finish();
}
END_TEST

static xonce_status identify(const xonce_message *m, char *id, size_t size, void *arg)
{
    (void)arg;
    snprintf(id, size, "%s", m->id);
    return XONCE_OK;
}

START_TEST(refused_where_it_cannot_be)
{
    static const char *const nothing[] = {NULL};
    begin_with(&without, by_offset);
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    ck_assert_int_eq(xonce_on_claim(C, "orders", XONCE_CLAIM_OFFSET), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "rocketmq://"));
    finish();
    begin_with(&with_offsets, nothing);
    ck_assert_int_eq(xonce_on_claim(C, "orders", XONCE_CLAIM_OFFSET), XONCE_E_NOT_FOUND);
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    ck_assert_int_eq(xonce_on_claim(C, "orders", (xonce_claim_mode)7), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_on_claim(C, "orders", XONCE_CLAIM_OFFSET), XONCE_OK);
    ck_assert_int_eq(xonce_store_identify(R.store, identify, NULL), XONCE_OK);
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "exclude each other"));
    finish();
}
END_TEST

START_TEST(one_topic_says_otherwise)
{
    begin_with(&with_offsets, by_offset);
    ck_assert_int_eq(xonce_on(C, "orders", "*", apply, NULL), XONCE_OK);
    ck_assert_int_eq(xonce_on_claim(C, "orders", XONCE_CLAIM_RECORD), XONCE_OK);
    S.stopped = 1; /* nothing to read */
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    ck_assert_int_eq(S.by_offset, 0);
    ck_assert_int_eq(xonce_on_claim(C, "orders", XONCE_CLAIM_OFFSET), XONCE_E_INVALID); /* too late */
    ck_assert_int_eq(xonce_consumer_stop(C, 20000), XONCE_OK);
    finish();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("offset");
    TCase *t = tcase_create("offset");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, each_once_and_in_order);
    tcase_add_test(t, a_failing_one_is_tried_again_in_place);
    tcase_add_test(t, a_bad_one_is_rejected);
    tcase_add_test(t, taken_over_while_it_runs);
    tcase_add_test(t, the_source_is_told);
    tcase_add_test(t, refused_where_it_cannot_be);
    tcase_add_test(t, one_topic_says_otherwise);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
