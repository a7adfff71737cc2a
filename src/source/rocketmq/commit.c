/* Positions: the settled prefix of each queue goes to the database, and only then to its broker. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "source/rocketmq/data.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is to be written of one queue. */
typedef struct {
    xo_rmq_queue *q;           /* stays: only this thread frees queues */
    uint64_t mark;
    size_t at, n;              /* its ranges */
    int moves;                 /* by offset: its row is to be moved so, from there */
    xo_range row;
    int64_t stands;
    int64_t next, from;        /* ends of its current range, and of its prefix */
    int durable;               /* the database has it (or there is none) */
} part;
typedef struct {
    part *parts;
    xo_range *ranges;
    size_t n, nranges;
    int fenced;                /* one of them turned out to be another's */
} batch;

static void batch_free(batch *b)
{
    free(b->parts);
    free(b->ranges);
}

/* Under the lock. */
static void collect_queue(xo_rocketmq *s, batch *b, xo_rmq_queue *q)
{
    part *p = &b->parts[b->n++];
    *p = (part){.q = q, .mark = q->mark, .at = b->nranges, .next = q->track.now.next, .from = xo_offset_told(q), .durable = 1};
    if (xo_rmq_by_offset(q)) {
        p->moves = xo_offset_due(q, &p->row, &p->stands);
        p->durable = !p->moves;
        return;
    }
    if (!s->positions || !q->track.changed) {
        return;
    }
    p->durable = 0;
    p->n = xo_track_ranges(&q->track, b->ranges + b->nranges, q->track.nclosed + 1);
    for (size_t i = 0; i < p->n; i++) {
        xo_range *r = &b->ranges[b->nranges++];
        r->topic = q->topic;
        r->broker = q->broker;
        r->tags = (char *)xo_queue_tags(q);
        r->queue = q->id;
    }
}

/* only: one queue; NULL: all that run or leave. Under the lock, so that all is of one moment. */
static xonce_status collect(xo_rocketmq *s, batch *b, xo_rmq_queue *only)
{
    size_t queues = 0, ranges = 0;
    pthread_mutex_lock(&s->lock);
    for (const xo_rmq_queue *q = s->queues; q; q = q->next) {
        queues++;
        ranges += q->track.nclosed + 1;
    }
    b->parts = xo_calloc(queues, sizeof(*b->parts));
    b->ranges = xo_calloc(ranges, sizeof(*b->ranges));
    for (xo_rmq_queue *q = s->queues; b->parts && b->ranges && q; q = q->next) {
        if ((!only || q == only) && q->state != XO_Q_WANTED && q->pull_from >= 0) {
            collect_queue(s, b, q);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return b->parts && b->ranges ? XONCE_OK : xo_nomem();
}

/* The database has it: the track may forget it. A row that somebody else began is looked at again by a start anew, under another generation. */
static void saved(xo_rocketmq *s, part *p, int conflict)
{
    pthread_mutex_lock(&s->lock);
    if (p->q->mark == p->mark) {
        if (conflict) {
            p->q->look_back = 1;
            pthread_cond_signal(&s->work);
        } else {
            xo_track_saved(&p->q->track, p->n - 1, p->next);
        }
    }
    pthread_mutex_unlock(&s->lock);
    p->durable = !conflict;
    if (conflict) {
        xo_log(XO_WARN, "rocketmq", "the position of queue %" PRId32 " of %s at %s was written by another member: it is read again from there", p->q->id,
               p->q->topic, p->q->broker);
    }
}

/* What was handed over meanwhile has moved the row, and no other member. */
static void moved(xo_rocketmq *s, batch *b, part *p, xonce_status st)
{
    int fenced = 0, tell = 0;
    pthread_mutex_lock(&s->lock);
    if (p->q->mark == p->mark) {
        fenced = st != XONCE_OK && p->q->handed == p->stands;
        if (fenced) {
            tell = xo_queue_tell(p->q);
            xo_offset_fenced(s, p->q);
            b->fenced = 1;
        } else if (st == XONCE_OK) {
            xo_offset_moved(p->q, &p->row);
            p->from = xo_offset_told(p->q);
            p->durable = 1;
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (tell) {
        xo_log(XO_WARN, "rocketmq", XO_FENCED_TEXT, p->q->id, p->q->topic, p->q->broker);
    }
}

static xonce_status move(xo_rocketmq *s, batch *b)
{
    xonce_status all = XONCE_OK;
    for (size_t i = 0; i < b->n; i++) {
        part *p = &b->parts[i];
        if (!p->moves) {
            continue;
        }
        xonce_status st = s->positions->advance(s->positions_self, &p->row, p->stands);
        if (st == XONCE_OK || st == XONCE_E_FENCED) {
            moved(s, b, p, st);
        } else if (s->base.several) {
            all = st;
        } else {
            return st;
        }
    }
    return all;
}

/* All in one transaction; when a row is in conflict, or one of several databases cannot be reached, each queue for itself to find which. */
static xonce_status save(xo_rocketmq *s, batch *b)
{
    xonce_status st = b->nranges ? s->positions->save(s->positions_self, b->ranges, b->nranges) : XONCE_OK, all = XONCE_OK;
    if (st != XONCE_OK && st != XONCE_E_CONFLICT && !s->base.several) {
        return st;
    }
    for (size_t i = 0; i < b->n; i++) {
        part *p = &b->parts[i];
        if (p->n == 0) {
            continue;
        }
        xonce_status one = st == XONCE_OK ? XONCE_OK : s->positions->save(s->positions_self, b->ranges + p->at, p->n);
        if (one == XONCE_OK || one == XONCE_E_CONFLICT) {
            saved(s, p, one == XONCE_E_CONFLICT);
        } else {
            all = one;
        }
    }
    st = move(s, b);
    return st == XONCE_OK ? all : st;
}

static void save_failed(xo_rocketmq *s, const batch *b)
{
    int tell = 0;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < b->n && !tell; i++) {
        tell = !b->parts[i].durable && xo_queue_tell(b->parts[i].q);
    }
    pthread_mutex_unlock(&s->lock);
    if (tell) {
        xo_log(XO_WARN, "rocketmq", "positions cannot be written, the brokers are not told them either meanwhile: %s", xonce_error_last()->text);
    }
}

xonce_status xo_commit_queue(xo_rocketmq *s, xo_rmq_queue *q)
{
    batch b = {0};
    xonce_status st = collect(s, &b, q);
    if (st == XONCE_OK) {
        st = save(s, &b);
    }
    batch_free(&b);
    return st == XONCE_OK && b.fenced ? xo_fail(XONCE_E_FENCED, "another member took it over") : st;
}

/* ---- telling the brokers ---- */

typedef struct {
    xo_rocketmq *s;
    uint64_t mark;
    int64_t offset, sent_us;
    char what[200];
} telling;

static void told(xonce_status st, xo_command *answer, void *arg)
{
    telling *t = arg;
    xo_rocketmq *s = t->s;
    int tell = 0;
    if (st == XONCE_OK) {
        st = xo_command_error(answer, t->what);
    }
    pthread_mutex_lock(&s->lock);
    if (st == XONCE_OK) {
        xo_histogram_add(&s->counts.settling, xo_mono_us() - t->sent_us);
    }
    xo_rmq_queue *q = xo_rmq_find(s, t->mark);
    if (q && q->committed == XO_COMMITTING) {
        q->committed = st == XONCE_OK ? t->offset : -1;
        tell = st != XONCE_OK && xo_queue_tell(q);
    }
    pthread_cond_broadcast(&s->settled);
    pthread_mutex_unlock(&s->lock);
    if (tell) {
        xo_log(XO_WARN, "rocketmq", "%s failed, tried again: %s", t->what, xonce_error_last()->text);
    }
    free(t);
}

/* Under the lock. While a stretch is read again that the database has, the broker keeps what it was told; and one report at a time, so that they cannot
   overtake each other. */
static int is_news(const xo_rmq_queue *q, const part *p)
{
    if (q->mark != p->mark || q->committed == XO_COMMITTING || q->committed == p->from) {
        return 0;
    }
    return !(p->from < q->committed && q->committed <= q->track.now.next);
}

/* Does not wait for the answer: a broker that hangs keeps nobody else from going on. */
static void tell_broker(xo_rocketmq *s, const part *p)
{
    char address[280];
    telling *t = malloc(sizeof(*t));
    if (!t || xo_cluster_broker(s->cluster, p->q->broker, 0, address, sizeof(address)) != XONCE_OK) {
        free(t);
        return;
    }
    *t = (telling){.s = s, .mark = p->mark, .offset = p->from, .sent_us = xo_mono_us()};
    snprintf(t->what, sizeof(t->what), "telling %.60s the position of queue %" PRId32 " of %.60s", p->q->broker, p->q->id, p->q->topic);
    pthread_mutex_lock(&s->lock);
    int news = p->durable && is_news(p->q, p);
    if (news) {
        p->q->committed = XO_COMMITTING;
    }
    pthread_mutex_unlock(&s->lock);
    if (!news) {
        free(t);
        return;
    }
    xo_command c;
    xo_offset_request(s, p->q, XO_RMQ_UPDATE_OFFSET, &c);
    xo_command_set_int(&c, "commitOffset", p->from);
    xo_remoting_send(xo_cluster_remoting(s->cluster), address, &c, s->timeout, told, t);
}

/* Until no report is under way, of one queue or of all. -1: it took too long. */
static int wait_told(xo_rocketmq *s, const xo_rmq_queue *only)
{
    int64_t deadline = xo_mono_ms() + s->timeout;
    int late = 0;
    pthread_mutex_lock(&s->lock);
    for (int waiting = 1; waiting && !late;) {
        waiting = 0;
        for (const xo_rmq_queue *q = s->queues; q; q = q->next) {
            waiting |= (!only || q == only) && q->committed == XO_COMMITTING;
        }
        late = waiting && xo_cond_wait_ms(&s->settled, &s->lock, deadline) != 0;
    }
    pthread_mutex_unlock(&s->lock);
    return late ? -1 : 0;
}

/* The others of this broker that leave now need not find out for themselves that it is away. */
static void is_away(xo_rocketmq *s, const char *broker)
{
    pthread_mutex_lock(&s->lock);
    for (xo_rmq_queue *q = s->queues; q; q = q->next) {
        if (q->state == XO_Q_LEAVING && strcmp(q->broker, broker) == 0) {
            q->failing++;
        }
    }
    pthread_mutex_unlock(&s->lock);
}

static xonce_status commit(xo_rocketmq *s, xo_rmq_queue *only)
{
    batch b = {0};
    xonce_status st = collect(s, &b, only);
    if (st == XONCE_OK) {
        st = save(s, &b);
    }
    if (st != XONCE_OK) {
        save_failed(s, &b);
    }
    for (size_t i = 0; i < b.n; i++) {
        tell_broker(s, &b.parts[i]);
    }
    batch_free(&b);
    return st;
}

void xo_commit(xo_rocketmq *s)
{
    (void)commit(s, NULL);
    pthread_mutex_lock(&s->lock);
    int last = s->quit;
    pthread_mutex_unlock(&s->lock);
    if (last) {
        (void)wait_told(s, NULL);
    }
}

/* ---- the end of a queue here ---- */

static void forget(xo_rocketmq *s, xo_rmq_queue *q)
{
    pthread_mutex_lock(&s->lock);
    for (xo_rmq_queue **at = &s->queues; *at; at = &(*at)->next) {
        if (*at == q) {
            *at = q->next;
            break;
        }
    }
    pthread_cond_broadcast(&s->settled);
    pthread_mutex_unlock(&s->lock);
    xo_track_free(&q->track);
    xo_ranges_free(q->rows, q->nrows);
    free(q->topic);
    free(q->wire);
    free(q->broker);
    free(q);
}

void xo_leave(xo_rocketmq *s, xo_rmq_queue *q, int64_t wait_ms)
{
    int64_t deadline = xo_mono_ms() + wait_ms;
    pthread_mutex_lock(&s->lock);
    q->state = XO_Q_LEAVING;
    xo_rmq_drop(s, q->mark);
    while (q->held && wait_ms > 0 && xo_cond_wait_ms(&s->settled, &s->lock, deadline) == 0) {
    }
    int never = q->pull_from < 0, away = q->failing > 0;
    pthread_mutex_unlock(&s->lock);
    if (!never) {
        if (!away && wait_told(s, q) != 0) { /* an older report must not arrive behind the last one */
            is_away(s, q->broker);
            away = 1;
        }
        (void)commit(s, q);
        if (!away && wait_told(s, q) != 0) {
            is_away(s, q->broker);
        }
    }
    xo_locks_release(s, q);
    forget(s, q);
}
