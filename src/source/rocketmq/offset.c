/* Queues whose messages are claimed by offset: the consumer moves the queue's row in the transaction of the messages. Here is what a queue is taken over with, what each message is claimed by, and
 * what becomes of a queue whose row does not stand where it should.
 *
 * What is handed over follows what was handed over before, under one epoch. Nothing is handed over across a beginning of another row: the queue stops there, and when all before is settled it is taken
 * over anew, with the new row. */
#include "base/clock.h"
#include "source/rocketmq/place.h"
#include <stdlib.h>

int xo_rmq_by_offset(const xo_rmq_queue *q)
{
    return q->sub && q->sub->by_offset;
}

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Under the lock. What waits here is dropped, and what the consumer has speaks of the queue no more: its row is read again. */
static void disown(xo_rocketmq *s, xo_rmq_queue *q)
{
    xo_rmq_drop(s, q->mark);
    q->mark = ++s->last_mark;
    q->held = q->bytes = 0;
    q->empty = 0;
    q->committed = q->committed == XO_COMMITTING ? -1 : q->committed;
    q->reopen = -1;
}

/* ---- taking over ---- */

int xo_offset_waits(const xo_rocketmq *s, const xo_rmq_queue *q)
{
    return q->sub && (s->mixed == XO_MIXED_CLAIMS || (s->mixed == XO_MIXED_FOREIGN && xo_rmq_by_offset(q)));
}

int xo_offset_reopens(const xo_rmq_queue *q)
{
    return q->reopen >= 0 && !q->track.n;
}

int xo_offset_takes(const xo_begin *b)
{
    int takes = xo_rmq_by_offset(b->q);
    for (size_t i = 0; i < b->nrows; i++) {
        takes |= b->rows[i].by_offset;
    }
    return takes;
}

/* Did others work on the queue, or may they have, without moving its rows? Then what they had in hand has records, or copies in the retry topic. */
static int others_worked(const xo_begin *b, const xo_range *own, int seen)
{
    if (seen) {
        return 1;
    }
    return own ? !own->by_offset || b->committed > xo_place_end(b) : b->committed >= 0;
}

/* Up to where messages are claimed by record as well. */
static xonce_status find_record_before(xo_rocketmq *s, const xo_begin *b, int64_t *out)
{
    const xo_rmq_queue *q = b->q;
    const xo_range *own = xo_ranges_youngest(b->rows, b->nrows);
    int64_t end = xo_place_end(b), v = own ? own->record_before : 0;
    int yes = 0;
    pthread_mutex_lock(&s->lock);
    int seen = s->mixed_seen || s->foreign_seen;
    if (own && own->by_offset && own->epoch == q->epoch) { /* it is still ours, and may know more than is written */
        v = q->record_before;
    }
    pthread_mutex_unlock(&s->lock);
    *out = INT64_MAX;
    if (v == INT64_MAX || others_worked(b, own, seen)) {
        return XONCE_OK;
    }
    if (own && b->range.generation != own->generation && b->range.first < end) {
        v = greater(v, end); /* what an older row reaches up to may have been handed over to be claimed by record only */
    }
    xonce_status st = s->positions->recorded(s->positions_self, q->topic, q->broker, q->id, greater(v, b->range.next), &yes);
    *out = yes ? INT64_MAX : v;
    return st;
}

/* What the queue holds now others may have had in hand; what comes later they cannot claim any more. A broker or a database that does not say so, or does not hear it, is no failure: then the first answer to a
   pull says it, and all is claimed by record as well meanwhile. */
static xonce_status find_end(xo_rocketmq *s, const xo_begin *b, xo_range *r)
{
    xo_command c, answer;
    int64_t end;
    xo_offset_request(s, b->q, XO_RMQ_MAX_OFFSET, &c);
    xonce_status st = xo_cluster_ask(s->cluster, b->q->broker, &c, "asking for the end of a queue", &answer);
    if (st == XONCE_OK) {
        st = xo_command_get_int(&answer, "offset", &end);
        xo_command_free(&answer);
    }
    if (st != XONCE_OK) {
        return XONCE_OK;
    }
    r->record_before = greater(greater(end, xo_place_end(b)), r->next);
    st = s->positions->advance(s->positions_self, r, r->next);
    if (st != XONCE_OK) {
        r->record_before = INT64_MAX;
    }
    return st == XONCE_E_FENCED ? st : XONCE_OK;
}

xonce_status xo_offset_take(xo_rocketmq *s, xo_begin *b)
{
    xo_rmq_queue *q = b->q;
    xo_range r = b->range;
    r.topic = q->topic;
    r.broker = q->broker;
    r.tags = (char *)xo_queue_tags(q);
    r.queue = q->id;
    r.by_offset = xo_rmq_by_offset(q);
    r.record_before = 0;
    xonce_status st = r.by_offset ? find_record_before(s, b, &r.record_before) : XONCE_OK;
    if (st != XONCE_OK) {
        return st;
    }
    pthread_mutex_lock(&s->lock);
    disown(s, q); /* what is in hand was read under another epoch */
    pthread_mutex_unlock(&s->lock);
    st = s->positions->take(s->positions_self, &r, b->rows, b->nrows);
    if (st == XONCE_OK && r.by_offset && r.record_before == INT64_MAX) {
        st = find_end(s, b, &r);
    }
    if (st == XONCE_OK) {
        b->range.epoch = r.epoch;
        b->range.by_offset = r.by_offset;
        b->range.record_before = r.record_before;
    }
    return st;
}

void xo_offset_begin(xo_rmq_queue *q, const xo_begin *b)
{
    q->epoch = xo_rmq_by_offset(q) ? b->range.epoch : -1;
    q->generation = b->range.generation;
    q->handed = q->durable = b->range.next;
    q->record_before = b->range.record_before;
    q->record_known = 0;
    q->reopen = -1;
}

/* ---- handing over ---- */

int xo_offset_newer(const xo_rmq_queue *q, const xo_pulled *it)
{
    int settled = 0;
    for (size_t i = 0; i < q->nrows; i++) {
        if (xo_range_older(&q->rows[i], it->store_time, it->log_offset)) {
            return 0;
        }
        settled |= q->rows[i].last_store_time >= 0;
    }
    return settled && it->offset < q->handed;
}

void xo_offset_hand(xo_rmq_queue *q, xonce_message *m)
{
    m->claim_record = m->offset < q->handed || m->offset < q->record_before;
    if (m->offset < q->handed) {
        return; /* another filter hid it when the row passed: by record only */
    }
    m->claim_from = q->handed;
    m->claim_generation = q->generation;
    m->claim_epoch = q->epoch;
    q->handed = m->offset + 1;
}

void xo_offset_answered(xo_rmq_queue *q, int64_t node, int64_t max, int64_t next)
{
    if (xo_rmq_by_offset(q) && q->record_before == INT64_MAX && node == 0 && max >= 0) {
        q->record_before = greater(max, next);
        q->record_known = 1;
    }
}

/* ---- positions ---- */

int64_t xo_offset_told(const xo_rmq_queue *q)
{
    int64_t prefix = xo_track_prefix(&q->track);
    return xo_rmq_by_offset(q) && q->durable < prefix ? q->durable : prefix;
}

int xo_offset_due(const xo_rmq_queue *q, xo_range *r, int64_t *from)
{
    int64_t prefix = xo_track_prefix(&q->track);
    if (!xo_rmq_by_offset(q) || q->track.n || (prefix <= q->durable && !q->record_known)) {
        return 0;
    }
    *r = q->track.now;
    r->topic = q->topic;
    r->broker = q->broker;
    r->tags = (char *)xo_queue_tags(q);
    r->queue = q->id;
    r->generation = q->generation;
    r->epoch = q->epoch;
    r->next = greater(prefix, q->handed);
    r->by_offset = 1;
    r->record_before = q->record_before;
    *from = q->handed;
    return 1;
}

void xo_offset_moved(xo_rmq_queue *q, const xo_range *r)
{
    q->durable = greater(q->durable, r->next);
    q->handed = greater(q->handed, r->next);
    if (r->record_before == q->record_before) {
        q->record_known = 0;
    }
}

/* ---- what goes wrong ---- */

enum { FENCED_MS = 1000 };

void xo_offset_fenced(xo_rocketmq *s, xo_rmq_queue *q)
{
    s->rebalance_now = 1;
    if (q->state == XO_Q_LEAVING) {
        q->pull_from = -1; /* its position is another's to tell */
        return;
    }
    disown(s, q);
    q->state = XO_Q_WANTED;
    q->pull_from = q->committed = -1;
    q->pulling = q->look_back = 0;
    q->node = 0;
    q->pull_due = xo_mono_ms() + FENCED_MS;
    pthread_cond_signal(&s->work);
}

void xo_offset_given_back(xo_rocketmq *s, xo_rmq_queue *q, int64_t delay_ms)
{
    disown(s, q);
    q->look_back = 1;
    q->pull_due = xo_mono_ms() + delay_ms;
    pthread_cond_signal(&s->work);
}
