/* Queues whose messages are claimed by offset: who has one, and where its row stands while nobody runs. Each take-over raises the queue's epoch, and every claim names the epoch that it was
 * made under: so a member that was taken over, a paused one for instance, settles nothing more. */
#include "store/settled.h"
#include "store/tx.h"

#define OF_QUEUE " WHERE consumer_group = $1 AND topic_name = $2 AND broker_name = $3 AND queue_id = $4"

/* ---- take ---- */

typedef struct {
    xo_range *r;
    const xo_range *loaded;
    size_t n, seen;
    int changed;               /* the rows are not those that were loaded */
    int64_t epoch;
} taking;

static int on_row(const xonce_row *row, void *arg)
{
    taking *t = arg;
    const xo_range *x = t->seen < t->n ? &t->loaded[t->seen] : NULL;
    t->seen++;
    if (!x || x->generation != xonce_row_int(row, 0) || x->next != xonce_row_int(row, 1) || x->epoch != xonce_row_int(row, 2))
        t->changed = 1;
    t->epoch = xonce_row_int(row, 2) > t->epoch ? xonce_row_int(row, 2) : t->epoch;
    return 0;
}

/* Not to be tried again as it is. */
static xonce_status others(const xonce_store *s, const xo_range *r)
{
    return xo_fail(XONCE_E_CONFLICT, "taking over queue %d of %.100s at %.100s for group %s: its rows in xonce_settled have changed meanwhile", (int)r->queue, r->topic, r->broker, s->group);
}

static xonce_status look_and_lock(xonce_tx *tx, taking *t, const xonce_value *key)
{
    xo_buf sql = {0};
    xo_buf_printf(&sql, "SELECT generation, next_offset, epoch FROM xonce_settled" OF_QUEUE " ORDER BY generation%s", tx->s->d->sql_for_update);
    t->seen = 0;
    t->changed = 0;
    t->epoch = -1;
    xonce_status st = xo_buf_status(&sql);
    if (st == XONCE_OK)
        st = xo_tx_query(tx, sql.p, key, 4, on_row, t, NULL);
    xo_buf_free(&sql);
    t->changed |= t->seen != t->n;
    return st == XONCE_OK && t->changed ? others(tx->s, t->r) : st;
}

static xonce_status write_taken(xonce_tx *tx, taking *t, const xonce_value *key, int64_t epoch)
{
    const xo_range *r = t->r;
    int there = 0;
    xonce_value v[] = {key[0], key[1], key[2], key[3], xonce_int(epoch), r->by_offset ? xonce_int(r->record_before) : xonce_null(), xonce_int(r->generation), xonce_text(r->tags),
                       xonce_int(r->first), xonce_int(r->next), xonce_int(r->last_store_time), xonce_int(r->last_log_offset)};
    for (size_t i = 0; i < t->n; i++)
        there |= t->loaded[i].generation == r->generation;
    xonce_status st = XONCE_OK;
    if (t->n)
        st = xo_tx_query(tx, "UPDATE xonce_settled SET epoch = $5, record_before = $6" OF_QUEUE, v, 6, NULL, NULL, NULL);
    if (st != XONCE_OK || there)
        return st;
    st = xo_tx_query(tx,
                     "INSERT INTO xonce_settled (consumer_group, topic_name, broker_name, queue_id, epoch, record_before, generation, tags, first_offset, next_offset, last_store_time, last_log_offset)"
                     " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
                     v, 12, NULL, NULL, NULL);
    t->changed = st != XONCE_OK && xo_error_class() == XO_SQL_DATA; /* its first row: somebody else was first */
    return t->changed ? others(tx->s, r) : st;
}

static xonce_status take_once(xonce_store *s, void *arg)
{
    taking *t = arg;
    const xo_range *r = t->r;
    const xonce_value key[] = {xonce_text(s->group), xonce_text(r->topic), xonce_text(r->broker), xonce_int(r->queue)};
    size_t failed = 0;
    xonce_tx tx = {0};
    xonce_status st = xo_tx_open(&tx, s);
    if (st != XONCE_OK)
        return st;
    st = look_and_lock(&tx, t, key);
    if (st == XONCE_OK)
        st = write_taken(&tx, t, key, t->epoch + 1);
    if (st == XONCE_OK)
        st = xo_tx_commit(&tx, &failed);
    xo_tx_close(&tx, st != XONCE_OK);
    return st;
}

xonce_status xo_position_take(void *self, xo_range *r, const xo_range *loaded, size_t n)
{
    taking t = {.r = r, .loaded = loaded, .n = n};
    xonce_status st = xo_patiently(self, take_once, &t, "taking over a queue");
    if (st == XONCE_OK)
        r->epoch = t.epoch + 1;
    return st != XONCE_OK && t.changed ? others(self, r) : st;
}

/* ---- advance ---- */

typedef struct {
    const xo_range *r;
    int64_t from;
} advancing;

static int on_there(const xonce_row *r, void *arg)
{
    (void)r;
    *(int *)arg = 1;
    return 1;
}

#define STANDS OF_QUEUE " AND generation = $5 AND epoch = $6 AND next_offset BETWEEN $7 AND $8"

static xonce_status advance_once(xonce_store *s, void *arg)
{
    const advancing *a = arg;
    const xo_range *r = a->r;
    int64_t changed = 0;
    int there = 0;
    const xonce_value v[] = {xonce_text(s->group), xonce_text(r->topic), xonce_text(r->broker), xonce_int(r->queue), xonce_int(r->generation), xonce_int(r->epoch), xonce_int(a->from),
                             xonce_int(r->next), xonce_int(r->record_before), xonce_int(r->last_store_time), xonce_int(r->last_log_offset)};
    xonce_status st = xo_store_query(s,
                                     "UPDATE xonce_settled SET next_offset = $8, record_before = $9, last_store_time = CASE WHEN last_store_time < $10 THEN $10 ELSE last_store_time END,"
                                     " last_log_offset = CASE WHEN last_log_offset < $11 THEN $11 ELSE last_log_offset END" STANDS,
                                     v, 11, NULL, NULL, &changed);
    if (st == XONCE_OK && changed == 0) /* or it stands there already: MySQL counts what is another by now */
        st = xo_store_query(s, "SELECT 1 FROM xonce_settled" STANDS, v, 8, on_there, &there, NULL);
    if (st == XONCE_OK && changed == 0 && !there)
        return xo_fail(XONCE_E_FENCED, "queue %d of %.100s at %.100s was taken over by another member of group %s", (int)r->queue, r->topic, r->broker, s->group);
    return st;
}

xonce_status xo_position_advance(void *self, const xo_range *r, int64_t from)
{
    advancing a = {.r = r, .from = from};
    return xo_patiently(self, advance_once, &a, "moving a position");
}

/* ---- recorded ---- */

typedef struct {
    const char *topic, *broker;
    int32_t queue;
    int64_t offset;
    int yes;
} asking;

static xonce_status recorded_once(xonce_store *s, void *arg)
{
    asking *a = arg;
    const xonce_value v[] = {xonce_text(s->group), xonce_text(a->topic), xonce_text(a->broker), xonce_int(a->queue), xonce_int(a->offset)};
    xo_buf sql = {0};
    xo_buf_printf(&sql, "SELECT 1 FROM transaction_record" OF_QUEUE " AND %s >= $5 LIMIT 1", s->d->quoted_offset);
    a->yes = 0;
    xonce_status st = xo_buf_status(&sql);
    if (st == XONCE_OK)
        st = xo_store_query(s, sql.p, v, 5, on_there, &a->yes, NULL);
    xo_buf_free(&sql);
    return st;
}

xonce_status xo_position_recorded(void *self, const char *topic, const char *broker, int32_t queue, int64_t offset, int *yes)
{
    asking a = {.topic = topic, .broker = broker, .queue = queue, .offset = offset};
    xonce_status st = xo_patiently(self, recorded_once, &a, "looking for records of a queue");
    *yes = a.yes;
    return st;
}
