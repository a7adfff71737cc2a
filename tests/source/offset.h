/* What the tests of claims by offset share: one queue of one cluster, and a "database" that moves rows and keeps records as the store does, so that every test also sees whether a message was
 * applied twice. */
#ifndef XO_TEST_OFFSET_H
#define XO_TEST_OFFSET_H
#include "source/rocketmq/data.h"
#include "tests/source/rmq.h"

static mq *m;
static db d;

static void setup(void)
{
    lines_reset();
    m = mq_start(1);
    mq_topic(m, 0, "T", 1);
    db_open(&d, "0badcafe");
}

static void teardown(void)
{
    mq_stop(m);
    db_close(&d);
}

/* n messages "m" and a number that goes up for the whole test. */
static int made;
static void put_tagged(int queue, const char *tag, int n)
{
    char body[32];
    for (int i = 0; i < n; i++) {
        snprintf(body, sizeof body, "m%d", made++);
        mq_put(m, 0, "T", queue, tag, NULL, body);
    }
}

static void put(int n)
{
    put_tagged(0, NULL, n);
}

static void row(int64_t generation, int64_t first, int64_t next)
{
    db_row(&d, "T", "broker-a", 0, generation, first, next, next > first ? mq_store_time(m, 0, "T", 0, next - 1) : -1,
           next > first ? mq_log_offset(m, 0, "T", 0, next - 1) : -1);
}

static void open_it(rmq *r, const char *const *settings)
{
    rmq_open_offset(r, m, &d, "T", "*", settings);
}

/* n messages, all in the consumer's hands. */
static void in_hand(rmq *r, int n, const char *const *settings)
{
    put(n);
    open_it(r, settings);
    rmq_take(r, (size_t)n);
}

/* The first n of them are applied and acknowledged. */
static void settle_first(rmq *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(db_claim(&d, r->got[i]), DB_FRESH);
        rmq_ack(r, i);
    }
}

static int64_t told(void)
{
    return mq_committed(m, 0, "G", "T", 0);
}

static int64_t next(void)
{
    return db_next(&d, "T", "broker-a", 0);
}

static xo_range youngest(void)
{
    xo_range r = {.next = -1};
    (void)db_get(&d, "T", "broker-a", 0, (int64_t)db_rows(&d, "T", "broker-a", 0) - 1, &r);
    return r;
}

#define WORK(r, cond) WAIT((rmq_work((r), &d), (cond)))

/* Settles all that comes until the row and the broker's offset are at `end`. */
static void work_to(rmq *r, int64_t end)
{
    WORK(r, youngest().next == end && told() == end);
}

/* Each of m[from], ..., m[to - 1] was applied once. */
static void applied_once(int from, int to)
{
    char body[32];
    for (int i = from; i < to; i++) {
        snprintf(body, sizeof body, "m%d", i);
        ck_assert_msg(db_applied(&d, body) == 1, "%s was applied %d times", body, db_applied(&d, body));
    }
}

static void claims(const xonce_message *x, int64_t from, int64_t generation, int record)
{
    ck_assert_msg(x->claim_from == from && x->claim_generation == generation && x->claim_record == record && x->claim_epoch >= 0,
                  "offset %lld is claimed from %lld, generation %lld, epoch %lld, record %d", (long long)x->offset, (long long)x->claim_from,
                  (long long)x->claim_generation, (long long)x->claim_epoch, x->claim_record);
}

static void with_queue(rmq *r, void (*fn)(xo_rocketmq *s, xo_rmq_queue *q))
{
    xo_rocketmq *s = (xo_rocketmq *)r->s;
    pthread_mutex_lock(&s->lock);
    xo_rmq_queue *q = s->queues;
    while (q && !q->sub)
        q = q->next;
    if (q)
        fn(s, q);
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

static xo_rmq_queue seen;
static void look(xo_rocketmq *s, xo_rmq_queue *q)
{
    (void)s;
    seen = *q;
}

static xo_rmq_queue queue(rmq *r)
{
    memset(&seen, 0, sizeof seen);
    with_queue(r, look);
    return seen;
}

static void some_heartbeats(void)
{
    size_t beats = mq_count(m, 0, XO_RMQ_HEARTBEAT);
    WAIT(mq_count(m, 0, XO_RMQ_HEARTBEAT) > beats + 3);
}

static void ten(rmq *r, const char *const *settings)
{
    put(10);
    open_it(r, settings);
    work_to(r, 10);
    mq_flush_commits(m, 0);
}
#endif
