/* How far the queues are that this member reads. */
#include "source/rocketmq/rocketmq.h"
#include <stdlib.h>
#include <string.h>

static int describe(const xo_rmq_queue *q, xo_source_queue *out)
{
    *out = (xo_source_queue){.topic = xo_strdup(q->topic), .broker = xo_strdup(q->broker), .queue = q->id, .position = -1, .end = q->max_offset};
    if (q->state == XO_Q_RUNNING) {
        out->position = xo_track_prefix(&q->track);
    }
    return out->topic && out->broker;
}

static int by_name(const void *a, const void *b)
{
    const xo_source_queue *x = a, *y = b;
    int order = strcmp(x->topic, y->topic);
    order = order ? order : strcmp(x->broker, y->broker);
    return order ? order : (x->queue > y->queue) - (x->queue < y->queue);
}

xonce_status xo_rmq_queues(xonce_source *source, xo_source_queue **out, size_t *n)
{
    xo_rocketmq *s = (xo_rocketmq *)source;
    size_t all = 0;
    int whole = 1;
    *n = 0;
    pthread_mutex_lock(&s->lock);
    for (const xo_rmq_queue *q = s->queues; q; q = q->next) {
        all += q->state != XO_Q_LEAVING;
    }
    *out = xo_calloc(all ? all : 1, sizeof(**out));
    for (const xo_rmq_queue *q = s->queues; *out && q && whole; q = q->next) {
        if (q->state != XO_Q_LEAVING) {
            whole = describe(q, &(*out)[(*n)++]);
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (*out && whole) {
        qsort(*out, *n, sizeof(**out), by_name);
        return XONCE_OK;
    }
    xo_source_queues_free(*out, *n);
    *out = NULL;
    *n = 0;
    return xo_nomem();
}
