/* Settled runs: an entry per open message, and one per stretch of settled messages behind an open one. Entries stand in offset order; messages without offsets stand in
   delivery order and are told apart by id. */
#include "source/runs.h"
#include "base/log.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    int64_t first, last;     /* offsets; -1 when unknown */
    char *id;                /* when the offset is unknown */
    xonce_message *done;     /* settled: the last message of the stretch */
    struct entry *prev, *next;
} entry;
struct xo_run_queue {
    char *broker;
    int32_t number;
    entry *head, *tail;
    xo_run_queue *next;
};

static xo_run_queue *find_queue(xo_runs *r, const xonce_message *m)
{
    for (xo_run_queue *q = r->queues; q; q = q->next) {
        if (q->number == m->queue && strcmp(q->broker, m->broker) == 0) {
            return q;
        }
    }
    return NULL;
}

static entry *find_entry(const xo_run_queue *q, const xonce_message *m)
{
    for (entry *e = q->head; e; e = e->next) {
        if (m->offset >= 0 ? e->first >= 0 && e->first <= m->offset && m->offset <= e->last : e->id && strcmp(e->id, m->id) == 0) {
            return e;
        }
    }
    return NULL;
}

static void unlink_entry(xo_run_queue *q, entry *e)
{
    *(e->prev ? &e->prev->next : &q->head) = e->next;
    *(e->next ? &e->next->prev : &q->tail) = e->prev;
    free(e->id);
    free(e);
}

static void insert(xo_run_queue *q, entry *e)
{
    entry *after = q->tail;
    while (after && e->first >= 0 && after->first > e->first) {
        after = after->prev;
    }
    e->prev = after;
    e->next = after ? after->next : q->head;
    *(after ? &after->next : &q->head) = e;
    *(e->next ? &e->next->prev : &q->tail) = e;
}

static xo_run_queue *add_queue(xo_runs *r, const xonce_message *m)
{
    xo_run_queue *q = xo_calloc(1, sizeof(*q));
    char *broker = q ? xo_strdup(m->broker) : NULL;
    if (!broker) {
        free(q);
        return NULL;
    }
    q->broker = broker;
    q->number = m->queue;
    q->next = r->queues;
    r->queues = q;
    return q;
}

/* A message that is not tracked must never be passed by an ack: so there are no more. */
static void give_up(xo_runs *r)
{
    r->broken = 1;
    xo_log(XO_ERROR, "source", "out of memory: nothing is acknowledged any more, messages from here on come again after a restart");
}

void xo_runs_delivered(xo_runs *r, const xonce_message *m)
{
    if (r->broken) {
        return;
    }
    xo_run_queue *q = find_queue(r, m);
    if (!q) {
        q = add_queue(r, m);
    }
    if (!q) {
        give_up(r);
        return;
    }
    if (find_entry(q, m)) {
        return;
    }
    entry *e = xo_calloc(1, sizeof(*e));
    if (e && m->offset < 0) {
        e->id = xo_strdup(m->id);
    }
    if (!e || (m->offset < 0 && !e->id)) {
        free(e);
        give_up(r);
        return;
    }
    e->first = e->last = m->offset;
    insert(q, e);
}

/* Joins two settled neighbours: a stretch behind an open message costs one entry and one message, however long it grows. */
static void join(xo_run_queue *q, entry *a, entry *b)
{
    if (!a || !b || !a->done || !b->done) {
        return;
    }
    xonce_message_free(a->done);
    a->done = NULL;
    if (a->first >= 0 && b->first >= 0) {
        b->first = a->first;
    }
    unlink_entry(q, a);
}

void xo_runs_settled(xo_runs *r, xonce_message *m, xonce_message **ack)
{
    *ack = NULL;
    xo_run_queue *q = find_queue(r, m);
    entry *e = q && !r->broken ? find_entry(q, m) : NULL;
    if (!e || e->done) { /* another copy of it was settled before */
        xonce_message_free(m);
        return;
    }
    e->done = m;
    join(q, e->prev, e);
    join(q, e, e->next);
    if (q->head->done) {
        *ack = q->head->done;
        unlink_entry(q, q->head);
    }
}

void xo_runs_free(xo_runs *r)
{
    while (r->queues) {
        xo_run_queue *q = r->queues;
        r->queues = q->next;
        while (q->head) {
            xonce_message_free(q->head->done);
            unlink_entry(q, q->head);
        }
        free(q->broker);
        free(q);
    }
}
