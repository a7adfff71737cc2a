/* Asking for messages: one long poll per queue, as far as memory allows. */
#include "base/clock.h"
#include "base/mem.h"
#include "source/rocketmq/data.h"
#include <stdlib.h>
#include <string.h>

enum {
    /* brokers look after waiting pulls every 5 s only, and one that is busy needs its time */
    ANSWER_MARGIN_MS = 15000,
    /* never 1, which commits an offset on the side: last writer wins, an operator's reset included */
    PULL_SUSPEND = 2,
    PULL_WITH_FILTER = 4 /* what is filtered by is in the request: another member's subscription hides nothing until it is noticed */
};

void xo_pull_free(xo_pull *p)
{
    if (p) {
        free(p->topic);
        free(p->wire);
        free(p->broker);
        free(p);
    }
}

/* Would this queue be pulled now, were it due? Under the lock. */
static int may_pull(const xo_rocketmq *s, const xo_rmq_queue *q, int64_t now)
{
    if (s->stopping || q->state != XO_Q_RUNNING || q->pulling || q->look_back || q->seek >= 0 || q->reopen >= 0 || (q->sub && (q->sub->conflict || q->sub->held)) || !xo_locks_held(q, now)) {
        return 0;
    }
    if (s->held >= (size_t)s->all_messages || s->bytes >= (size_t)s->all_bytes) {
        return 0;
    }
    if (q->held >= (size_t)s->queue_messages || q->bytes >= (size_t)s->queue_bytes) {
        return 0;
    }
    /* behind one that is not settled only so many are taken, since all come again after a crash; but those that are put off must not hold up the others */
    return q->again >= 0 || (q->away ? q->away < XO_AWAY_MOST : xo_track_span(&q->track) <= 2 * s->queue_messages);
}

/* The queue whose turn it is: the one that has least in memory, so that when all share the last room none starves. */
static xo_rmq_queue *choose(const xo_rocketmq *s, int64_t now, int may_wait)
{
    xo_rmq_queue *best = NULL;
    for (xo_rmq_queue *q = s->queues; q; q = q->next) {
        if (q->pull_due <= now && (!best || q->held < best->held) && (may_wait || !q->node) && may_pull(s, q, now)) {
            best = q;
        }
    }
    return best;
}

static xo_pull *pull_of(xo_rocketmq *s, const xo_rmq_queue *q, int64_t now)
{
    xo_pull *p = xo_calloc(1, sizeof(*p));
    if (!p) {
        return NULL;
    }
    *p = (xo_pull){.s = s, .mark = q->mark, .sub = q->sub, .id = q->id, .offset = q->again >= 0 ? q->again : q->pull_from, .again = q->again >= 0, .turn = q->turn, .node = q->node, .sent = now, .tries = q->failing};
    p->version = q->sub ? q->sub->version : 0;
    p->topic = xo_strdup(q->topic);
    p->wire = xo_strdup(q->wire);
    p->broker = xo_strdup(q->broker);
    if (!p->topic || !p->wire || !p->broker) {
        xo_pull_free(p);
        return NULL;
    }
    return p;
}

/* The address of the node that the broker suggested; of its master when there is no such node. May have to ask for the route. */
static xonce_status address_of(xo_pull *p, char *out, size_t size)
{
    xo_route *r = NULL;
    int found = 0;
    if (p->node && xo_cluster_route(p->s->cluster, p->wire, INT64_MAX, &r) == XONCE_OK) {
        for (size_t i = 0; i < r->nbrokers; i++) {
            const xo_broker *b = &r->brokers[i];
            for (size_t j = 0; strcmp(b->name, p->broker) == 0 && j < b->nnodes; j++) {
                size_t n = strlen(b->nodes[j].address);
                if (b->nodes[j].id == p->node && n < size) {
                    memcpy(out, b->nodes[j].address, n + 1);
                    found = 1;
                }
            }
        }
        xo_route_free(r);
    }
    if (found) {
        return XONCE_OK;
    }
    p->node = 0;
    return xo_cluster_broker(p->s->cluster, p->broker, 0, out, size);
}

static void send_pull(xo_pull *p)
{
    const xo_rocketmq *s = p->s;
    char address[280];
    xonce_status st = address_of(p, address, sizeof(address));
    if (st != XONCE_OK) {
        xo_pull_failed(p, st);
        xo_pull_free(p);
        return;
    }
    xo_command c;
    xo_command_init(&c, XO_RMQ_PULL);
    xo_command_set(&c, "consumerGroup", s->wire_group);
    xo_command_set(&c, "topic", p->wire);
    xo_command_set_int(&c, "queueId", p->id);
    xo_command_set_int(&c, "queueOffset", p->offset);
    xo_command_set_int(&c, "maxMsgNums", s->pull_batch);
    xo_command_set_int(&c, "sysFlag", PULL_SUSPEND | PULL_WITH_FILTER);
    xo_command_set_int(&c, "commitOffset", 0);
    xo_command_set_int(&c, "suspendTimeoutMillis", s->long_poll);
    xo_command_set_int(&c, "subVersion", p->version);
    xo_command_set(&c, "subscription", p->sub ? p->sub->filter.text : "*");
    xo_command_set(&c, "expressionType", "TAG");
    xo_remoting_send(xo_cluster_remoting(s->cluster), address, &c, s->long_poll + ANSWER_MARGIN_MS, xo_pull_answered, p);
}

/* Set on the thread that answers come on, which must not wait for a route. A queue has a node other than the master only after one came. */
static _Thread_local int answers_come_here;

void xo_pull_go(xo_rocketmq *s)
{
    for (;;) {
        int64_t now = xo_mono_ms();
        pthread_mutex_lock(&s->lock);
        xo_rmq_queue *q = choose(s, now, !answers_come_here);
        xo_pull *p = q ? pull_of(s, q, now) : NULL;
        if (p) {
            q->pulling = 1;
        } else if (q) {
            q->pull_due = now + 1000; /* no memory */
        } else if (answers_come_here && choose(s, now, 1)) {
            pthread_cond_signal(&s->work);
        }
        pthread_mutex_unlock(&s->lock);
        if (p) {
            send_pull(p);
        } else if (!q) {
            return;
        }
    }
}

void xo_pull_on_answers(void)
{
    answers_come_here = 1;
}

int64_t xo_pull_next_due(const xo_rocketmq *s)
{
    int64_t due = INT64_MAX, now = xo_mono_ms();
    for (const xo_rmq_queue *q = s->queues; q; q = q->next) {
        if (may_pull(s, q, now) && q->pull_due < due) {
            due = q->pull_due;
        }
    }
    return due;
}
