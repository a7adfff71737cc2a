/* Claims by offset: no row a message. In the batch's own transaction, ahead of all that its handlers write, the row of each of its queues moves behind the messages that the batch has of that queue,
 * provided that it still stands where the first of them expects it, under the epoch of the take-over by which they were read. */
#include "store/offset.h"
#include "store/run.h"
#include <stdlib.h>
#include <string.h>

#define OF_ROW " WHERE consumer_group = $1 AND topic_name = $2 AND broker_name = $3 AND queue_id = $4 AND generation = $5 AND epoch = $6"

enum { MOVE_PARAMS = 11 };
#define MOVE                                                                                                                       \
    "UPDATE xonce_settled SET next_offset = $9, last_store_time = CASE WHEN last_store_time < $10 THEN $10 ELSE last_store_time END," \
    " last_log_offset = CASE WHEN last_log_offset < $11 THEN $11 ELSE last_log_offset END" OF_ROW " AND next_offset BETWEEN $7 AND $8"

/* Messages of one queue that follow each other. */
typedef struct {
    const xonce_message *first;
    size_t item;               /* the first's */
    int64_t next, store_time, log_offset;
} stretch;

static void bind_move(const xonce_store *s, const stretch *t, xonce_value v[MOVE_PARAMS])
{
    const xonce_message *m = t->first;
    const xonce_value all[MOVE_PARAMS] = {xonce_text(s->group),         xonce_text(m->topic),           xonce_text(m->broker), xonce_int(m->queue),
                                          xonce_int(m->claim_generation), xonce_int(m->claim_epoch),      xonce_int(m->claim_from), xonce_int(m->offset),
                                          xonce_int(t->next),           xonce_int(t->store_time),       xonce_int(t->log_offset)};
    memcpy(v, all, sizeof all);
}

static stretch begin(const xonce_message *m, size_t item)
{
    return (stretch){.first = m, .item = item, .next = m->offset + 1, .store_time = m->store_time, .log_offset = m->log_offset};
}

static int same_queue(const xonce_message *a, const xonce_message *b)
{
    return a->queue == b->queue && strcmp(a->broker, b->broker) == 0 && strcmp(a->topic, b->topic) == 0;
}

/* 1: m goes on where t ends. */
static int goes_on(stretch *t, const xonce_message *m)
{
    if (m->claim_epoch != t->first->claim_epoch || m->claim_generation != t->first->claim_generation || m->claim_from > t->next || m->offset < t->next)
        return 0;
    t->next = m->offset + 1;
    t->store_time = m->store_time > t->store_time ? m->store_time : t->store_time;
    t->log_offset = m->log_offset > t->log_offset ? m->log_offset : t->log_offset;
    return 1;
}

/* So that two transactions lock the rows of several queues in the same order. */
static int by_queue(const void *a, const void *b)
{
    const xonce_message *x = ((const stretch *)a)->first, *y = ((const stretch *)b)->first;
    int c = strcmp(x->topic, y->topic);
    if (c == 0)
        c = strcmp(x->broker, y->broker);
    return c ? c : (x->queue > y->queue) - (x->queue < y->queue);
}

static xonce_status not_in_order(xo_runner *r, size_t item)
{
    r->tx.failed_item = item;
    return xo_fail(XONCE_E_FENCED, "offset %lld does not follow what was taken before it of its queue", (long long)r->all[item].cl.m->offset);
}

/* Adds one to the stretch of its queue. The messages of a lane stand side by side, so the last one is mostly it. */
static xonce_status add(xo_runner *r, stretch *all, size_t *n, size_t item)
{
    const xonce_message *m = r->all[item].cl.m;
    for (size_t i = *n; i-- > 0;)
        if (same_queue(all[i].first, m))
            return goes_on(&all[i], m) ? XONCE_OK : not_in_order(r, item);
    all[(*n)++] = begin(m, item);
    return XONCE_OK;
}

xonce_status xo_offset_claim(xo_runner *r, const size_t *set, size_t n)
{
    xonce_value v[MOVE_PARAMS];
    size_t k = 0;
    if (!r->by_offset)
        return XONCE_OK;
    stretch *all = xo_calloc(n, sizeof *all);
    xonce_status st = all ? XONCE_OK : xo_nomem();
    for (size_t i = 0; st == XONCE_OK && i < n; i++)
        if (xo_by_offset(r->all[set[i]].cl.m) && !r->all[set[i]].left)
            st = add(r, all, &k, set[i]);
    if (st == XONCE_OK && k > 1)
        qsort(all, k, sizeof *all, by_queue);
    for (size_t i = 0; st == XONCE_OK && i < k; i++) {
        bind_move(r->s, &all[i], v);
        st = xo_tx_fence(&r->tx, MOVE, v, MOVE_PARAMS, all[i].item);
    }
    free(all);
    return st;
}

xonce_status xo_offset_move(xonce_tx *tx, const xonce_message *m)
{
    xonce_value v[MOVE_PARAMS];
    stretch t = begin(m, 0);
    int64_t changed = 0;
    bind_move(tx->s, &t, v);
    xonce_status st = xo_tx_query(tx, MOVE, v, MOVE_PARAMS, NULL, NULL, &changed);
    if (st == XONCE_OK && changed != 1)
        st = xo_fail(XONCE_E_FENCED, "its position was moved by another member");
    return st;
}

static int on_next(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = xonce_row_int(r, 0);
    return 1;
}

int xo_offset_stands(xonce_tx *tx, const xonce_message *m)
{
    const xonce_value v[] = {xonce_text(tx->s->group), xonce_text(m->topic), xonce_text(m->broker), xonce_int(m->queue), xonce_int(m->claim_generation), xonce_int(m->claim_epoch)};
    int64_t next = -1;
    xo_buf sql = {0};
    xo_buf_printf(&sql, "SELECT next_offset FROM xonce_settled" OF_ROW "%s", tx->s->d->sql_for_update);
    xonce_status st = xo_buf_status(&sql);
    if (st == XONCE_OK)
        st = xo_tx_query(tx, sql.p, v, 6, on_next, &next, NULL);
    xo_buf_free(&sql);
    return st == XONCE_OK ? next > m->offset : -1;
}

int xo_offset_settled(xonce_store *s, const xonce_message *m)
{
    xonce_tx tx = {0};
    size_t failed = 0;
    if (xo_tx_open(&tx, s) != XONCE_OK)
        return -1;
    int stands = xo_offset_stands(&tx, m);
    if (stands == 1 && xo_tx_commit(&tx, &failed) != XONCE_OK)
        stands = -1;
    xo_tx_close(&tx, stands != 1);
    return stands;
}
