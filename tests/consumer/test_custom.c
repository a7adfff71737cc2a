/* Sources of the user's: one thread and never two calls at once, prompt acks, cumulative acks that never cover an open message, redelivery by the library where the source has none. */
#include "source/runs.h"
#include "tests/consumer/rig.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rig R;
static xonce_source *S;
static xonce_consumer *C;

/* A log with positions, as a partition of a Kafka-like system: it hands out once, in order, and remembers acknowledged positions. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    int known, inside, woken, closed;  /* closed: calls after close are errors */
    int stubborn;             /* a poll with nothing ends when it is woken, after a minute at the latest */
    int queues, per_queue, next[8];
    int64_t acked[8];         /* last acknowledged offset of each, -1 */
    int ack_calls, acks, nacks, extends, wakes, subscribes, polls_failing, refuse_acks;
    int retries[8192];        /* nacked, to be handed out again: queue * 1000 + offset */
    int nretries;
    int misuses;              /* what the source found wrong with a call */
    int64_t ack_waited;       /* longest time between handing out and ack, when each message is acked alone */
    char topic[32], tags[32], group[32];
    const char *why;          /* what the source says of a failed poll */
} fake_log;
static fake_log L;

static void enter(fake_log *l)
{
    pthread_mutex_lock(&l->lock);
    if (!l->known) {
        l->thread = pthread_self();
        l->known = 1;
    }
    l->misuses += !pthread_equal(l->thread, pthread_self()) || l->inside || l->closed;
    l->inside = 1;
}

static void leave(fake_log *l)
{
    l->inside = 0;
    pthread_mutex_unlock(&l->lock);
}

static xonce_status l_subscribe(void *self, const char *group, const char *topic, const char *tags)
{
    fake_log *l = self;
    enter(l);
    l->subscribes++;
    snprintf(l->group, sizeof(l->group), "%s", group);
    snprintf(l->topic, sizeof(l->topic), "%s", topic);
    snprintf(l->tags, sizeof(l->tags), "%s", tags);
    leave(l);
    return XONCE_OK;
}

static xonce_message *make(int queue, int offset, int attempt)
{
    xonce_message *m;
    char id[32];
    snprintf(id, sizeof(id), "%d-%d", queue, offset);
    ck_assert_int_eq(xonce_message_new(&m, "orders", id, "x", 1), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_origin(m, "log", queue, offset), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_attempt(m, attempt), XONCE_OK);
    return m;
}

static xonce_status l_poll(void *self, size_t max, int timeout_ms, xonce_message **out, size_t *n)
{
    fake_log *l = self;
    int64_t end = xo_mono_ms() + (l->stubborn ? 60000 : timeout_ms);
    enter(l);
    *n = 0;
    if (l->polls_failing > 0) {
        l->polls_failing--;
        leave(l);
        return l->why ? xonce_set_error(XONCE_E_CONNECT, "no broker at %s", l->why) : XONCE_E_PROTOCOL;
    }
    while (l->nretries && *n < max) {
        int r = l->retries[--l->nretries];
        out[(*n)++] = make(r / 1000, r % 1000, 2);
    }
    for (int q = 0; q < l->queues; q++) {
        for (int i = 0; i < 5 && *n < max && l->next[q] < l->per_queue; i++) {
            out[(*n)++] = make(q, l->next[q]++, 1);
        }
    }
    l->inside = 0; /* the wait lets wake in, nothing else: the thread itself is here */
    while (!*n && !l->woken && xo_mono_ms() < end) {
        xo_cond_wait_ms(&l->changed, &l->lock, end);
    }
    l->woken = 0;
    leave(l);
    return XONCE_OK;
}

static xonce_status l_ack(void *self, const xonce_message *const *m, size_t n, xonce_status *each)
{
    fake_log *l = self;
    enter(l);
    l->ack_calls++;
    for (size_t i = 0; i < n; i++) {
        int32_t q;
        int64_t offset = xonce_message_offset(m[i], NULL, &q);
        l->misuses += each[i] != XONCE_OK;
        if (l->refuse_acks > 0) {
            l->refuse_acks--;
            each[i] = XONCE_E_CONNECT;
            continue;
        }
        l->acks++;
        l->misuses += offset <= l->acked[q] && l->acked[q] >= 0 && l->ack_waited == 0;
        if (offset > l->acked[q]) {
            l->acked[q] = offset;
        }
    }
    leave(l);
    return XONCE_OK;
}

static xonce_status l_nack(void *self, const xonce_message *m, int64_t delay_ms)
{
    fake_log *l = self;
    int32_t q;
    int64_t offset = xonce_message_offset(m, NULL, &q);
    (void)delay_ms;
    enter(l);
    l->nacks++;
    l->retries[l->nretries++] = (int)(q * 1000 + offset);
    leave(l);
    return XONCE_OK;
}

static void l_wake(void *self)
{
    fake_log *l = self;
    pthread_mutex_lock(&l->lock);
    l->wakes++;
    l->woken = 1;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

static void l_close(void *self)
{
    fake_log *l = self;
    enter(l);
    l->closed = 1;
    leave(l);
}

static xonce_verdict apply(xonce_tx *tx, const xonce_message *m, void *arg)
{
    int percent = *(int *)arg;
    static int seed;
    unsigned x = (unsigned)__atomic_add_fetch(&seed, 0x61c88647, __ATOMIC_RELAXED);
    xonce_status st = xonce_exec(tx, "INSERT INTO effects (id) VALUES ($1)", xonce_text(xonce_message_id(m)));
    return st != XONCE_OK || (percent && (int)(rand_r(&x) % 100) < percent) ? XONCE_RETRY : XONCE_DONE;
}

static int percent;

static void begin(xonce_source_ops *ops, int queues, int per_queue)
{
    memset(&L, 0, sizeof(L));
    pthread_mutex_init(&L.lock, NULL);
    xo_cond_init(&L.changed);
    L.queues = queues;
    L.per_queue = per_queue;
    for (int i = 0; i < 8; i++) {
        L.acked[i] = -1;
    }
    ops->size = sizeof(*ops);
    ck_assert_msg(xonce_source_custom(&S, ops, &L) == XONCE_OK, "%s", xonce_error_last()->text);
    rig_open(&R, (const char *const[]){"workers", "3", "batch.max", "6", "suspend", "10ms", NULL}, 1);
    ck_assert_int_eq(xonce_consumer_new(&C, R.store, S, R.cfg), XONCE_OK);
    ck_assert_int_eq(xonce_on(C, "orders", "a||b", apply, &percent), XONCE_OK);
    percent = 0;
}

static void finish(void)
{
    xonce_consumer_free(C);
    xonce_source_close(S);
    ck_assert_int_eq(L.closed, 1);
    ck_assert_int_eq(L.misuses, 0);
    rig_close(&R);
    pthread_mutex_destroy(&L.lock);
    pthread_cond_destroy(&L.changed);
}

static int all_covered(void *arg)
{
    (void)arg;
    int yes = 1;
    pthread_mutex_lock(&L.lock);
    for (int q = 0; q < L.queues; q++) {
        yes = yes && L.acked[q] == L.per_queue - 1;
    }
    pthread_mutex_unlock(&L.lock);
    return yes;
}

static int some_covered(void *arg)
{
    int n = 0;
    pthread_mutex_lock(&L.lock);
    for (int q = 0; q < L.queues; q++) {
        n += (int)L.acked[q] + 1;
    }
    pthread_mutex_unlock(&L.lock);
    return n >= *(int *)arg;
}

static int all_acked(void *arg)
{
    pthread_mutex_lock(&L.lock);
    int yes = L.acks >= *(int *)arg;
    pthread_mutex_unlock(&L.lock);
    return yes;
}

static void each_once(int64_t n)
{
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects"), n);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(DISTINCT id) FROM effects"), n);
}

START_TEST(one_thread_one_call)
{
    begin(&(xonce_source_ops){.subscribe = l_subscribe, .poll = l_poll, .ack = l_ack, .nack = l_nack, .wake = l_wake, .close = l_close}, 3, 300);
    L.ack_waited = 1;
    percent = 5;
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    WAIT_FOR(all_acked, &(int){900});
    ck_assert_int_eq(xonce_consumer_stop(C, 50000), XONCE_OK);
    each_once(900);
    ck_assert_int_eq(L.subscribes, 1);
    ck_assert_str_eq(L.topic, "orders");
    ck_assert_str_eq(L.tags, "a||b");
    ck_assert_str_eq(L.group, "GID_test");
    ck_assert_int_gt(L.nacks, 0);
    xonce_counts n = {.size = sizeof(n)};
    ck_assert_int_eq(xonce_consumer_counts(C, &n), XONCE_OK);
    ck_assert_uint_eq(n.acked, 900);
    finish();
}
END_TEST

START_TEST(acks_do_not_wait_for_the_poll)
{
    begin(&(xonce_source_ops){.poll = l_poll, .ack = l_ack, .wake = l_wake, .close = l_close}, 1, 1);
    L.stubborn = 1;
    int64_t began = xo_mono_ms();
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    WAIT_FOR(all_acked, &(int){1});
    ck_assert_int_lt(xo_mono_ms() - began, 50000);
    ck_assert_int_eq(xonce_consumer_stop(C, 50000), XONCE_OK);
    finish();
}
END_TEST

START_TEST(refused_acks_are_counted)
{
    begin(&(xonce_source_ops){.poll = l_poll, .ack = l_ack, .close = l_close}, 1, 10);
    L.refuse_acks = 3;
    L.ack_waited = 1;
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    WAIT_FOR(all_acked, &(int){7});
    ck_assert_int_eq(xonce_consumer_stop(C, 50000), XONCE_OK);
    xonce_counts n = {.size = sizeof(n)};
    ck_assert_int_eq(xonce_consumer_counts(C, &n), XONCE_OK);
    ck_assert_uint_eq(n.ack_failed, 3);
    ck_assert_uint_eq(n.acked, 7);
    finish();
}
END_TEST

START_TEST(cumulative_acks_with_redelivery_by_the_source)
{
    begin(&(xonce_source_ops){.flags = XONCE_SOURCE_CUMULATIVE, .poll = l_poll, .ack = l_ack, .nack = l_nack, .wake = l_wake, .close = l_close}, 4, 200);
    percent = 5;
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    WAIT_FOR(all_covered, NULL);
    ck_assert_int_eq(xonce_consumer_stop(C, 50000), XONCE_OK);
    each_once(800);
    ck_assert_int_lt(L.acks, 800);
    finish();
}
END_TEST

START_TEST(cumulative_acks_with_redelivery_by_us)
{
    begin(&(xonce_source_ops){.flags = XONCE_SOURCE_CUMULATIVE, .poll = l_poll, .ack = l_ack, .wake = l_wake, .close = l_close}, 2, 200);
    percent = 5;
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    WAIT_FOR(all_covered, NULL);
    ck_assert_int_eq(xonce_consumer_stop(C, 50000), XONCE_OK);
    each_once(400);
    finish();
}
END_TEST

START_TEST(a_stop_in_the_middle_acks_only_what_is_done)
{
    begin(&(xonce_source_ops){.flags = XONCE_SOURCE_CUMULATIVE, .poll = l_poll, .ack = l_ack, .wake = l_wake, .close = l_close}, 3, 1000);
    percent = 2;
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    WAIT_FOR(some_covered, &(int){60});
    ck_assert_int_eq(xonce_consumer_stop(C, 50000), XONCE_OK);
    for (int q = 0; q < 3; q++) {
        char sql[160];
        snprintf(sql, sizeof(sql), "SELECT COUNT(*) FROM effects WHERE id LIKE '%d-%%' AND CAST(substr(id, 3) AS INTEGER) <= %d", q, (int)L.acked[q]);
        ck_assert_int_eq(rig_int(&R, sql), L.acked[q] + 1); /* an ack covers nothing that has no effect */
    }
    finish();
}
END_TEST

START_TEST(failing_polls_are_repeated)
{
    begin(&(xonce_source_ops){.poll = l_poll, .ack = l_ack, .nack = l_nack, .wake = l_wake, .close = l_close}, 1, 20);
    L.polls_failing = 2;
    L.ack_waited = 1;
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    WAIT_FOR(all_acked, &(int){20});
    ck_assert_int_eq(xonce_consumer_stop(C, 50000), XONCE_OK);
    ck_assert_int_eq(log_count("the source's poll failed: protocol"), 1);
    each_once(20);
    finish();
}
END_TEST

START_TEST(a_source_says_why_it_failed)
{
    begin(&(xonce_source_ops){.poll = l_poll, .ack = l_ack, .nack = l_nack, .wake = l_wake, .close = l_close}, 1, 20);
    L.polls_failing = 1;
    L.why = "example:9092";
    ck_assert_int_eq(xonce_consumer_start(C), XONCE_OK);
    WAIT_FOR(all_acked, &(int){20});
    ck_assert_int_eq(xonce_consumer_stop(C, 50000), XONCE_OK);
    ck_assert_int_eq(log_count("the source's poll failed: no broker at example:9092"), 1);
    finish();
}
END_TEST

START_TEST(wrong_sources_are_refused)
{
    xonce_source *s = NULL;
    xonce_source_ops ops = {.poll = l_poll, .ack = l_ack};
    ck_assert_int_eq(xonce_source_custom(&s, &ops, NULL), XONCE_E_INVALID); /* no size */
    ops.size = sizeof(ops);
    ops.ack = NULL;
    ck_assert_int_eq(xonce_source_custom(&s, &ops, NULL), XONCE_E_INVALID);
    ops.ack = l_ack;
    ops.flags = 6;
    ck_assert_int_eq(xonce_source_custom(&s, &ops, NULL), XONCE_E_INVALID);
    ck_assert_ptr_null(s);
    ck_assert_int_eq(xonce_source_custom(NULL, &ops, NULL), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_source_open(&s, "htp://x", NULL), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "did you mean http"));
    ck_assert_int_eq(xonce_source_open(&s, "rocketmq://", NULL), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_source_open(&s, "", NULL), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_source_open(&s, NULL, NULL), XONCE_E_INVALID);
    xonce_source_close(NULL);
}
END_TEST

/* ---- runs by themselves: random settling against a plain table ---- */

START_TEST(runs_cover_exactly_the_settled_prefix)
{
    enum { N = 400 };
    unsigned seed = (unsigned)_i + 1;
    xo_runs runs = {0};
    char settled[N] = {0};
    xonce_message *open[N];
    int nopen = 0, next = 0, covered = -1;
    while (covered < N - 1) {
        if (next < N && (nopen == 0 || rand_r(&seed) % 2)) {
            open[nopen] = make(0, next * 3, 1); /* positions with holes, as of a compacted log */
            xo_runs_delivered(&runs, open[nopen++]);
            next++;
            int64_t o = xonce_message_offset(open[(unsigned)rand_r(&seed) % (unsigned)nopen], NULL, NULL);
            if (rand_r(&seed) % 8 == 0 && !settled[o / 3]) { /* a second copy of something open, the first to be settled */
                xonce_message *twin = make(0, (int)o, 2), *ack;
                xo_runs_delivered(&runs, twin);
                settled[o / 3] = 1;
                xo_runs_settled(&runs, twin, &ack);
                if (ack) {
                    covered = (int)xonce_message_offset(ack, NULL, NULL) / 3;
                    xonce_message_free(ack);
                }
            }
            continue;
        }
        int i = rand_r(&seed) % nopen;
        xonce_message *m = open[i], *ack;
        open[i] = open[--nopen];
        settled[xonce_message_offset(m, NULL, NULL) / 3] = 1;
        xo_runs_settled(&runs, m, &ack);
        if (ack) {
            int64_t o = xonce_message_offset(ack, NULL, NULL) / 3;
            ck_assert_int_gt(o, covered);
            covered = (int)o;
            xonce_message_free(ack);
        }
        int prefix = 0;
        while (prefix < next && settled[prefix]) {
            prefix++;
        }
        ck_assert_int_eq(covered, prefix - 1);
    }
    while (nopen) {
        xonce_message_free(open[--nopen]);
    }
    xo_runs_free(&runs);
}
END_TEST

START_TEST(a_rewound_message_is_open_again)
{
    xo_runs runs = {0};
    xonce_message *m[3] = {make(0, 10, 1), make(0, 5, 2), make(0, 11, 1)}, *ack;
    xo_runs_delivered(&runs, m[0]);
    xo_runs_settled(&runs, m[0], &ack);
    ck_assert_ptr_eq(ack, m[0]);
    xonce_message_free(ack);
    xo_runs_delivered(&runs, m[1]);
    xo_runs_delivered(&runs, m[2]);
    xo_runs_settled(&runs, m[2], &ack);
    ck_assert_ptr_null(ack);
    xo_runs_settled(&runs, m[1], &ack);
    ck_assert_ptr_eq(ack, m[2]);
    xonce_message_free(ack);
    xo_runs_free(&runs);
}
END_TEST

START_TEST(runs_without_offsets_go_by_delivery)
{
    xo_runs runs = {0};
    xonce_message *m[3], *ack;
    for (int i = 0; i < 3; i++) {
        m[i] = make(1, -1, 1);
        m[i]->id[0] = (char)('a' + i);
        xo_runs_delivered(&runs, m[i]);
    }
    xo_runs_settled(&runs, m[1], &ack);
    ck_assert_ptr_null(ack);
    xo_runs_settled(&runs, m[0], &ack);
    ck_assert_ptr_eq(ack, m[1]);
    xonce_message_free(ack);
    xo_runs_settled(&runs, m[2], &ack);
    ck_assert_ptr_eq(ack, m[2]);
    xonce_message_free(ack);
    xo_runs_free(&runs);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("custom");
    TCase *t = tcase_create("custom");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, one_thread_one_call);
    tcase_add_test(t, acks_do_not_wait_for_the_poll);
    tcase_add_test(t, refused_acks_are_counted);
    tcase_add_test(t, cumulative_acks_with_redelivery_by_the_source);
    tcase_add_test(t, cumulative_acks_with_redelivery_by_us);
    tcase_add_test(t, a_stop_in_the_middle_acks_only_what_is_done);
    tcase_add_test(t, failing_polls_are_repeated);
    tcase_add_test(t, a_source_says_why_it_failed);
    tcase_add_test(t, wrong_sources_are_refused);
    tcase_add_loop_test(t, runs_cover_exactly_the_settled_prefix, 0, 30);
    tcase_add_test(t, a_rewound_message_is_open_again);
    tcase_add_test(t, runs_without_offsets_go_by_delivery);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
