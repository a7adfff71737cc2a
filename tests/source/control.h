/* What the tests of a member's conduct share: one cluster, one table of positions, two members. */
#ifndef XO_TEST_CONTROL_H
#define XO_TEST_CONTROL_H
#include "message/message.h"
#include "remoting/wirejson.h"
#include "source/rocketmq/rocketmq.h"
#include "tests/source/rmq.h"

#define STORE "0a1b2c3d"
static mq *m;
static db d;
static rmq a, b;

static void setup(void)
{
    m = mq_start(1);
    db_open(&d, STORE);
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    lines_reset();
}

static void teardown(void)
{
    rmq_close(&a);
    rmq_close(&b);
    mq_stop(m);
    db_close(&d);
}

static void put_n(const char *topic, int queue, int n, const char *name)
{
    for (int i = 0; i < n; i++) {
        char body[64], uniq[64];
        snprintf(body, sizeof body, "%s%d", name, i);
        snprintf(uniq, sizeof uniq, "U-%s-%d-%d", name, queue, i);
        mq_put(m, 0, topic, queue, "TagA", uniq, body);
    }
}

static size_t queues_of(rmq *r)
{
    xo_rocketmq *s = (xo_rocketmq *)r->s;
    size_t n = 0;
    pthread_mutex_lock(&s->lock);
    for (const xo_rmq_queue *q = s->queues; q; q = q->next)
        n += q->sub && q->state == XO_Q_RUNNING;
    pthread_mutex_unlock(&s->lock);
    return n;
}

static int run_suite(Suite *suite)
{
    SRunner *sr = srunner_create(suite);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
#endif
