/* Housekeeping: hand-out counts and floors are written once a second, messages older than a broker keeps them are dropped now and then; and the counts
 * are noted down every few seconds, for the page. */
#include "endpoint/engine.h"
#include "endpoint/storage.h"
#include <stdlib.h>

enum { SAVE_MS = 1000, PRUNE_MS = 60000, PRUNE_ROWS = 5000 };
#define KEEP_MS (INT64_C(3) * 24 * 3600 * 1000)

/* ---- counts and floors ---- */

typedef struct {
    xo_op op;
    xo_group *group;
    int64_t floor;
    size_t n;
    xo_progress rows[];
} save_op;

static int save_run(xo_op *op, xo_storage *s)
{
    save_op *o = XO_OF(save_op, op, op);
    if (xo_storage_group(s, o->group) != 0 || xo_storage_floor(s, o->group->id, o->floor) != 0)
        return -1;
    size_t n = 0;
    for (size_t i = 0; i < o->n; i++)
        if (o->rows[i].pos >= o->floor)
            o->rows[n++] = o->rows[i];
    o->n = n;
    return xo_storage_progress(s, o->group->id, o->rows, n, 0);
}

static void save_done(xo_op *op, int ok)
{
    (void)ok; /* only the numbers of deliveries are behind then */
    free(XO_OF(save_op, op, op));
}

int xo_group_save(xo_group *g)
{
    size_t n = 0;
    for (xo_link *l = g->unsaved.next; l != &g->unsaved; l = l->next)
        n++;
    if (n == 0 && g->floor == g->floor_saved)
        return 0;
    save_op *o = xo_calloc(1, sizeof *o + n * sizeof o->rows[0]);
    if (!o)
        return -1;
    o->group = g;
    o->floor = g->floor_saved = g->floor;
    while (!xo_list_empty(&g->unsaved)) {
        xo_node *k = XO_OF(xo_node, unsaved, g->unsaved.next);
        xo_list_remove(&k->unsaved);
        o->rows[o->n++] = (xo_progress){k->pos, k->first, k->times};
    }
    o->op.run = save_run;
    o->op.done = save_done;
    xo_engine_write(g->topic->engine, &o->op);
    return 0;
}

static void save_all(xo_timer *timer)
{
    xo_engine *e = XO_OF(xo_engine, second, timer);
    for (xo_link *l = e->topics.next; l != &e->topics; l = l->next) {
        xo_topic *t = XO_OF(xo_topic, link, l);
        for (xo_link *k = t->groups.next; k != &t->groups; k = k->next)
            xo_group_save(XO_OF(xo_group, link, k)); /* without memory: next time */
    }
    xo_engine_timer(e, &e->second, xo_mono_ms() + SAVE_MS, save_all);
}

/* ---- pruning ---- */

typedef struct {
    xo_op op;
    xo_topic *topic;
    xo_counters counters; /* so that positions and offsets go on when no message is left to tell them */
    size_t n;
    int64_t rows[PRUNE_ROWS];
} prune_op;

static int prune_run(xo_op *op, xo_storage *s)
{
    prune_op *o = XO_OF(prune_op, op, op);
    if (xo_storage_topic(s, o->topic) != 0 || xo_storage_counters(s, o->topic, &o->counters) != 0)
        return -1;
    for (size_t i = 0; i < o->n; i++)
        if (xo_storage_delete(s, o->rows[i]) != 0)
            return -1;
    return 0;
}

static void prune_done(xo_op *op, int ok)
{
    prune_op *o = XO_OF(prune_op, op, op);
    if (ok)
        xo_topic_forget(o->topic, o->topic->base_pos + (int64_t)o->n);
    o->topic->pruning = 0;
    free(o);
}

static int prune_topic(xo_topic *t, int64_t before)
{
    if (t->pruning || t->base_pos >= t->next_pos || xo_topic_entry(t, t->base_pos)->at >= before)
        return 0;
    prune_op *o = xo_calloc(1, sizeof *o);
    if (!o)
        return 0;
    o->topic = t;
    o->counters = t->kept;
    for (int64_t pos = t->base_pos; pos < t->next_pos && o->n < PRUNE_ROWS && xo_topic_entry(t, pos)->at < before; pos++)
        o->rows[o->n++] = xo_topic_entry(t, pos)->n;
    o->op.run = prune_run;
    o->op.done = prune_done;
    t->pruning = 1;
    xo_engine_write(t->engine, &o->op);
    return o->n == PRUNE_ROWS;
}

static void prune_all(xo_timer *timer)
{
    xo_engine *e = XO_OF(xo_engine, prune, timer);
    int more = 0;
    for (xo_link *l = e->topics.next; l != &e->topics; l = l->next)
        more |= prune_topic(XO_OF(xo_topic, link, l), xo_engine_now(e) - KEEP_MS);
    xo_engine_timer(e, &e->prune, xo_mono_ms() + (more ? SAVE_MS : PRUNE_MS), prune_all);
}

/* ---- the last minutes ---- */

static void take_point(xo_timer *timer)
{
    xo_engine *e = XO_OF(xo_engine, sample, timer);
    e->points[xo_series_add(&e->series)] = e->counts;
    xo_engine_timer(e, &e->sample, xo_series_next(timer->at, xo_mono_ms()), take_point);
}

void xo_keep_start(xo_engine *e)
{
    xo_engine_timer(e, &e->sample, xo_mono_ms(), take_point);
    xo_engine_timer(e, &e->second, xo_mono_ms() + SAVE_MS, save_all);
    xo_engine_timer(e, &e->prune, xo_mono_ms(), prune_all);
}
