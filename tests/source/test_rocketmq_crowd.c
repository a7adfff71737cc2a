/* The RocketMQ source and a consumer one of whose databases is down: what is put off waits at the broker, costs no memory, holds up nothing behind it, and comes again when it is wanted. */
#include "tests/source/rmq.h"

static mq *m;
static db d;

static void setup(void)
{
    lines_reset();
    m = mq_start(1);
    mq_topic(m, 0, "ONE", 1);
    db_open(&d, "0badcafe");
}

static void teardown(void)
{
    mq_stop(m);
    db_close(&d);
}

/* Every third is of the database that is down. */
static void put(int n)
{
    for (int i = 0; i < n; i++) {
        char body[32], uniq[32];
        int64_t at = mq_max(m, 0, "ONE", 0);
        snprintf(body, sizeof body, "%s%lld", at % 3 ? "up" : "down", (long long)at);
        snprintf(uniq, sizeof uniq, "U%lld", (long long)at);
        mq_put(m, 0, "ONE", 0, at % 2 ? "A" : "B", uniq, body);
    }
}

static void put_off(rmq *r, size_t i)
{
    xonce_message *x = r->got[i];
    ck_assert_ptr_nonnull(x);
    x->put_off = 1;
    r->got[i] = NULL;
    r->s->ops->nack(r->s, x, 30000);
}

/* Until n or a few more came in all: acknowledges, and while it is down puts off what belongs to that database. */
static void work_until(rmq *r, size_t n, int down)
{
    int64_t end = xo_mono_ms() + RMQ_PATIENCE_MS;
    for (;;) {
        for (size_t i = 0; i < r->n; i++) {
            if (!r->got[i])
                continue;
            if (down && r->bodies[i][0] == 'd')
                put_off(r, i);
            else
                rmq_ack(r, i);
        }
        if (r->n >= n)
            break;
        rmq_poll(r);
        ck_assert_msg(xo_mono_ms() < end, "only %zu of %zu came", r->n, n);
    }
}

/* Not one more. */
static void work(rmq *r, size_t n, int down)
{
    work_until(r, n, down);
    ck_assert_uint_eq(r->n, n);
}

/* From message number `from` on: those of the database that was down, each once, in order, with the attempt that they had. */
static void ck_only_down(const rmq *r, size_t from)
{
    for (size_t i = from; i < r->n; i++) {
        ck_assert_msg(r->bodies[i][0] == 'd', "%s came again", r->bodies[i]);
        ck_assert_int_eq(rmq_has(r, r->bodies[i]), 2);
    }
}

static xo_source_queue look(const rmq *r)
{
    xo_source_queue *q, found = {.position = -2};
    size_t n;
    ck_assert_int_eq(r->s->queues(r->s, &q, &n), XONCE_OK);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(q[i].topic, "ONE"))
            found = q[i];
    xo_source_queues_free(q, n);
    return found;
}

#define SMALL SETTINGS("rocketmq.queue-messages", "20", "buffer.messages", "100", "rocketmq.pull-batch", "8", "rocketmq.long-poll", "20s")

START_TEST(waits_at_the_broker_and_comes_again)
{
    rmq r;
    put(600);
    rmq_open(&r, m, &d, "ONE", "*", 0, SMALL);
    work(&r, 600, 1);
    ck_assert_int_eq(look(&r).position, 0);
    put(30); /* behind them, and still at the end of the queue */
    work(&r, 630, 1);
    ck_assert_int_le(mq_committed(m, 0, "G", "ONE", 0), 0);
    ck_assert_int_eq(db_covers(&d, "ONE", "broker-a", 0, 0), 0);
    ck_assert_int_eq(r.s->ops->caught_up(r.s), 0);
    WAIT(mq_polling(m, 0, "ONE", 0) > 0); /* a long poll is under way: it is not waited for */
    int64_t began = xo_mono_ms();
    r.s->again(r.s);
    work(&r, 630 + 210, 0);
    ck_assert_int_lt(xo_mono_ms() - began, 15000);
    ck_only_down(&r, 630);
    WAIT(mq_committed(m, 0, "G", "ONE", 0) == 630);
    put(3);
    work(&r, 843, 0);
    WAIT(mq_committed(m, 0, "G", "ONE", 0) == 633);
    rmq_close(&r);
}
END_TEST

/* It is down again before all came, and then it is not: what was put off a second time comes a third. */
START_TEST(put_off_twice)
{
    rmq r;
    put(300);
    rmq_open(&r, m, &d, "ONE", "A||B", 0, SMALL);
    work(&r, 300, 1);
    r.s->again(r.s);
    work_until(&r, 330, 1);
    r.s->again(r.s);
    int64_t end = xo_mono_ms() + RMQ_PATIENCE_MS;
    while (look(&r).position < 300) {
        work(&r, r.n, 0);
        rmq_poll(&r);
        ck_assert_msg(xo_mono_ms() < end, "position %lld", (long long)look(&r).position);
    }
    for (int i = 0; i < 300; i++) {
        char body[32];
        snprintf(body, sizeof body, "%s%d", i % 3 ? "up" : "down", i);
        ck_assert_int_ge(rmq_has(&r, body), 1 + (i % 3 == 0));
        ck_assert_int_le(rmq_has(&r, body), i % 3 ? 1 : 3);
    }
    rmq_close(&r);
}
END_TEST

/* A member that dies has told nobody: who reads the queue next begins at the first that was put off. */
START_TEST(after_a_crash)
{
    rmq r;
    put(90);
    rmq_open(&r, m, &d, "ONE", "*", 0, SMALL);
    for (size_t done = 0; done < 10;) { /* the first few are settled */
        rmq_poll(&r);
        for (; done < r.n && done < 10; done++)
            rmq_ack(&r, done);
    }
    work(&r, 90, 1);
    WAIT(db_next(&d, "ONE", "broker-a", 0) == 12);
    rmq_crash(&r);
    rmq_open(&r, m, &d, "ONE", "*", 0, SMALL);
    work(&r, 78, 0);
    for (int i = 12; i < 90; i++) {
        char body[32];
        snprintf(body, sizeof body, "%s%d", i % 3 ? "up" : "down", i);
        ck_assert_int_eq(rmq_has(&r, body), 1);
    }
    WAIT(db_next(&d, "ONE", "broker-a", 0) == 90);
    rmq_close(&r);
}
END_TEST

/* The broker has deleted some of them meanwhile: that is said, and the others come. */
START_TEST(gone_meanwhile)
{
    rmq r;
    put(90);
    rmq_open(&r, m, &d, "ONE", "*", 0, SMALL);
    work(&r, 90, 1);
    mq_trim(m, 0, "ONE", 0, 40);
    r.s->again(r.s);
    int64_t end = xo_mono_ms() + RMQ_PATIENCE_MS;
    while (mq_committed(m, 0, "G", "ONE", 0) != 90) {
        work(&r, r.n, 0);
        rmq_poll(&r);
        ck_assert_msg(xo_mono_ms() < end, "committed %lld", (long long)mq_committed(m, 0, "G", "ONE", 0));
    }
    for (int i = 42; i < 90; i += 3) {
        char body[32];
        snprintf(body, sizeof body, "down%d", i);
        ck_assert_int_eq(rmq_has(&r, body), 2);
    }
    ck_assert_int_ge(lines_with("gone"), 1);
    ck_assert(rmq_counts(&r).unhealthy);
    rmq_close(&r);
}
END_TEST

/* A copy out of the retry topic waits there as well. */
START_TEST(copies_of_the_retry_topic)
{
    rmq r;
    put(1);
    rmq_open(&r, m, &d, "ONE", "*", 0, SMALL);
    rmq_take(&r, 1);
    rmq_nack(&r, 0, 1);
    rmq_take(&r, 2);
    ck_assert_int_eq(r.got[1]->attempt, 2);
    put_off(&r, 1);
    put(1);
    work(&r, 3, 1);
    r.s->again(r.s);
    rmq_take(&r, 4);
    ck_assert_str_eq(r.bodies[3], "down0");
    ck_assert_int_eq(r.got[3]->attempt, 2); /* being put off is no attempt */
    rmq_ack(&r, 3);
    WAIT(mq_committed(m, 0, "G", "%RETRY%G", 0) == 1);
    rmq_close(&r);
}
END_TEST

/* In order, and by offset, nothing leaves its place. */
START_TEST(ordered_ones_stay)
{
    rmq r;
    put(6);
    rmq_open(&r, m, &d, "ONE", "*", 1, SMALL);
    rmq_take(&r, 6);
    xonce_message *x = r.got[0];
    x->put_off = 1;
    r.got[0] = NULL;
    r.s->ops->nack(r.s, x, 10);
    r.s->again(r.s);
    rmq_take(&r, 7);
    ck_assert_str_eq(r.bodies[6], "down0");
    ck_assert_ptr_eq(r.got[6], x); /* it has never left */
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "ONE", 0) == 6);
    rmq_close(&r);
}
END_TEST

/* So long: heartbeats are 100 ms apart. */
static void beats(rmq *r, size_t n)
{
    size_t was = mq_count(m, 0, XO_RMQ_HEARTBEAT);
    while (mq_count(m, 0, XO_RMQ_HEARTBEAT) < was + n)
        rmq_poll(r);
}

START_TEST(a_topic_is_held)
{
    rmq r;
    mq_topic(m, 0, "TWO", 1);
    rmq_new(&r, mq_uri(m), &d, SETTINGS("rocketmq.long-poll", "100ms"));
    ck_assert_int_eq(r.s->ops->subscribe(r.s, "G", "TWO", "*", 0), XONCE_OK);
    rmq_start(&r, "ONE", "*", 0);
    put(1);
    rmq_until(&r, "down0");
    r.s->hold(r.s, "ONE", 1);
    beats(&r, 4);                                 /* longer than a pull that was under way */
    WAIT(mq_polling(m, 0, "ONE", 0) == 0);
    put(3);
    mq_put(m, 0, "TWO", 0, NULL, "V", "other");
    rmq_until(&r, "other");
    beats(&r, 4);
    ck_assert_uint_eq(r.n, 2);
    r.s->hold(r.s, "ONE", 0);
    rmq_take(&r, 5);
    rmq_close(&r);
}
END_TEST

static void set_away(const char *topic)
{
    pthread_mutex_lock(&d.lock);
    d.away = topic;
    pthread_mutex_unlock(&d.lock);
}

/* The queues of a topic whose database is down cannot start; those of another one do, at the first start and after a broken connection. */
START_TEST(others_start)
{
    rmq r;
    mq_topic(m, 0, "TWO", 2);
    set_away("ONE");
    rmq_new(&r, mq_uri(m), &d, SETTINGS("rocketmq.long-poll", "100ms"));
    r.s->several = 1;
    ck_assert_int_eq(r.s->ops->subscribe(r.s, "G", "TWO", "*", 0), XONCE_OK);
    rmq_start(&r, "ONE", "*", 0);
    put(1);
    mq_put(m, 0, "TWO", 0, NULL, "V0", "other 0");
    rmq_until(&r, "other 0");
    rmq_ack_all(&r);
    mq_disconnect(m, 0);
    mq_put(m, 0, "TWO", 1, NULL, "V1", "other 1");
    rmq_until(&r, "other 1");
    ck_assert_uint_eq(r.n, 2);
    ck_assert_uint_ge(db_refused(&d), 2);
    set_away(NULL);
    rmq_until(&r, "down0");
    rmq_close(&r);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("crowd");
    tcase_add_checked_fixture(t, setup, teardown);
    ADD(t, waits_at_the_broker_and_comes_again);
    ADD(t, put_off_twice);
    ADD(t, after_a_crash);
    ADD(t, gone_meanwhile);
    ADD(t, copies_of_the_retry_topic);
    ADD(t, ordered_ones_stay);
    ADD(t, a_topic_is_held);
    ADD(t, others_start);
    return rmq_run(t);
}
