/* The brokers' locks of ordered queues: so that two members do not run one queue at a time. */
#include "base/clock.h"
#include "base/log.h"
#include "source/rocketmq/rocketmq.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One broker's part of a round. */
typedef struct {
    char *broker;
    json_t *queues;
} lock_part;
typedef struct {
    lock_part *parts;
    xo_call *calls;
    size_t n, cap;
} lock_round;

int xo_locks_held(const xo_rmq_queue *q, int64_t now)
{
    return !q->sub || !q->sub->ordered || (q->locked && now - q->locked < XO_LOCK_FRESH_MS);
}

static int is_ordered(const xo_rmq_queue *q)
{
    return q->sub && q->sub->ordered;
}

static void round_free(lock_round *r)
{
    for (size_t i = 0; i < r->n; i++) {
        free(r->parts[i].broker);
        json_decref(r->parts[i].queues);
        if (r->calls) {
            xo_command_free(&r->calls[i].answer);
        }
    }
    free(r->parts);
    free(r->calls);
}

static int round_add(lock_round *r, const xo_rmq_queue *q)
{
    size_t i = 0;
    while (i < r->n && strcmp(r->parts[i].broker, q->broker)) {
        i++;
    }
    if (i == r->n) {
        lock_part *grown = xo_grow(r->parts, &r->cap, r->n + 1, sizeof(*grown));
        if (!grown) {
            return -1;
        }
        r->parts = grown;
        grown[i] = (lock_part){.broker = xo_strdup(q->broker), .queues = json_array()};
        r->n++;
        if (!grown[i].broker || !grown[i].queues) {
            return -1;
        }
    }
    return json_array_append_new(r->parts[i].queues, xo_rmq_mq(q->wire, q->broker, q->id));
}

/* Asks every broker at once; what cannot be asked has a status that is not OK. */
static void round_run(xo_rocketmq *s, lock_round *r, int32_t code)
{
    r->calls = xo_calloc(r->n ? r->n : 1, sizeof(*r->calls));
    if (!r->calls) {
        return;
    }
    xo_call *calls = xo_calloc(r->n ? r->n : 1, sizeof(*calls));
    size_t *of = xo_calloc(r->n ? r->n : 1, sizeof(*of)), n = 0;
    for (size_t i = 0; calls && of && i < r->n; i++) {
        xo_buf body = {0};
        json_t *o = json_pack("{s:s, s:s, s:b, s:O}", "consumerGroup", s->wire_group, "clientId", s->client_id, "onlyThisBroker", 0, "mqSet", r->parts[i].queues);
        r->calls[i].status = xo_rmq_json(o, &body);
        if (r->calls[i].status == XONCE_OK) {
            r->calls[i].status = xo_cluster_broker(s->cluster, r->parts[i].broker, 0, calls[n].address, sizeof(calls[n].address));
        }
        if (r->calls[i].status == XONCE_OK) {
            xo_command_init(&calls[n].request, code);
            xo_command_take_body(&calls[n].request, &body);
            of[n++] = i;
        } else {
            xo_error_save(&r->calls[i].error);
        }
        xo_buf_free(&body);
    }
    if (calls && of) {
        xo_remoting_call_all(xo_cluster_remoting(s->cluster), calls, n, s->timeout);
        for (size_t i = 0; i < n; i++) {
            r->calls[of[i]] = calls[i];
        }
    } else {
        free(r->calls);
        r->calls = NULL;
    }
    free(calls);
    free(of);
}

static int is_listed(const json_t *list, const xo_rmq_queue *q)
{
    size_t i;
    json_t *mq;
    json_array_foreach(list, i, mq) {
        const char *topic = xo_json_text(mq, "topic"), *broker = xo_json_text(mq, "brokerName");
        if (topic && broker && !strcmp(topic, q->wire) && !strcmp(broker, q->broker) && xo_json_int(mq, "queueId") == q->id) {
            return 1;
        }
    }
    return 0;
}

/* Under the lock. The lock is another's, or was too long not renewed: the other may have moved on, so the queue begins anew when we get it back. */
static void lost(xo_rocketmq *s, xo_rmq_queue *q)
{
    if (q->locked) {
        q->locked = 0;
        q->look_back = 1;
        xo_rmq_drop(s, q->mark);
    }
}

/* One broker's answer; asked: when the round began, from which the broker counts at the earliest. */
static void take_answer(xo_rocketmq *s, const char *broker, const json_t *granted, int64_t asked, size_t *refused)
{
    pthread_mutex_lock(&s->lock);
    for (xo_rmq_queue *q = s->queues; q; q = q->next) {
        if (!is_ordered(q) || q->state == XO_Q_LEAVING || strcmp(q->broker, broker)) {
            continue;
        }
        if (is_listed(granted, q)) {
            q->locked = asked;
        } else {
            lost(s, q);
            ++*refused;
        }
    }
    pthread_mutex_unlock(&s->lock);
}

static void take_answers(xo_rocketmq *s, const lock_round *r, int64_t asked)
{
    for (size_t i = 0; r->calls && i < r->n; i++) {
        xo_call *c = &r->calls[i];
        char what[200];
        size_t refused = 0;
        (void)snprintf(what, sizeof(what), "locking queues of %.100s", r->parts[i].broker);
        xonce_status st = c->status == XONCE_OK ? xo_command_error(&c->answer, what) : xo_error_restore(&c->error);
        json_t *answer = st == XONCE_OK ? xo_wire_json(c->answer.body, c->answer.body_len) : NULL;
        if (answer) {
            take_answer(s, r->parts[i].broker, json_object_get(answer, "lockOKMQSet"), asked, &refused);
            json_decref(answer);
        } else {
            pthread_mutex_lock(&s->lock);
            xo_rmq_transient(s);
            pthread_mutex_unlock(&s->lock);
        }
        if (refused) {
            xo_log(XO_DEBUG, "rocketmq", "%zu ordered queues of %.100s are still locked by another member", refused, r->parts[i].broker);
        }
    }
}

/* Under the lock. What was not renewed for too long may be another's. */
static void expire(xo_rocketmq *s)
{
    int64_t now = xo_mono_ms();
    for (xo_rmq_queue *q = s->queues; q; q = q->next) {
        if (is_ordered(q) && q->locked && !xo_locks_held(q, now)) {
            lost(s, q);
        }
    }
}

void xo_locks_renew(xo_rocketmq *s)
{
    lock_round r = {0};
    int64_t asked = xo_mono_ms();
    int failed = 0;
    pthread_mutex_lock(&s->lock);
    for (xo_rmq_queue *q = s->queues; q && !failed; q = q->next) {
        if (is_ordered(q) && q->state != XO_Q_LEAVING) {
            failed = round_add(&r, q) != 0;
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (!failed && r.n) {
        round_run(s, &r, XO_RMQ_LOCK);
        take_answers(s, &r, asked);
    }
    round_free(&r);
    pthread_mutex_lock(&s->lock);
    expire(s);
    pthread_mutex_unlock(&s->lock);
}

static void release(xo_rocketmq *s, xo_rmq_queue *only)
{
    lock_round r = {0};
    pthread_mutex_lock(&s->lock);
    for (xo_rmq_queue *q = only ? only : s->queues; q; q = only ? NULL : q->next) {
        if (is_ordered(q) && q->locked) {
            q->locked = 0;
            (void)round_add(&r, q); /* without memory the lock runs out in a minute */
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (r.n) {
        round_run(s, &r, XO_RMQ_UNLOCK);
    }
    round_free(&r);
}

void xo_locks_release(xo_rocketmq *s, xo_rmq_queue *q)
{
    release(s, q);
}

void xo_locks_release_all(xo_rocketmq *s)
{
    release(s, NULL);
}
