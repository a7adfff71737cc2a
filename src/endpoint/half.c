/* Half messages of transactions: offered for a check when nobody settles them, committed or rolled back by their handle. */
#include "base/log.h"
#include "endpoint/engine.h"
#include "endpoint/storage.h"
#include <stdlib.h>
#include <string.h>

static void due(xo_timer *timer);

xo_half *xo_half_new(xo_topic *t)
{
    xo_half *h = xo_calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->topic = t;
    xo_list_init(&h->handles);
    return h;
}

void xo_half_add(xo_half *h, int64_t due_in_ms)
{
    xo_list_push(&h->topic->halves, &h->link);
    xo_engine_timer(h->topic->engine, &h->timer, xo_mono_ms() + due_in_ms, due);
}

static void void_handles(xo_half *h)
{
    while (!xo_list_empty(&h->handles))
        xo_handle_free(XO_OF(xo_handle, of, h->handles.next));
}

void xo_half_free(xo_half *h)
{
    void_handles(h);
    xo_list_remove(&h->link);
    xo_list_remove(&h->due);
    xo_timer_clear(&h->topic->engine->timers, &h->timer);
    free(h->timed);
    free(h);
}

/* ---- settling ---- */

static int settle_run(xo_op *op, xo_storage *s)
{
    xo_half *h = XO_OF(xo_half, op, op);
    if (!h->commit)
        return xo_storage_delete(s, h->n);
    if (h->timed)
        return xo_storage_place(s, &h->entry, -1, XO_ROW_TIMED);
    if (xo_storage_topic(s, h->topic) != 0)
        return -1;
    xo_log_assign(h->topic, &h->entry, &h->pos);
    return xo_storage_place(s, &h->entry, h->pos, XO_ROW_VISIBLE);
}

static void settle_done(xo_op *op, int ok)
{
    xo_half *h = XO_OF(xo_half, op, op);
    xo_topic *t = h->topic;
    xo_wait *w = h->wait;
    if (!ok) {
        if (h->commit)
            xo_topic_unreserve(t);
        free(h->timed);
        h->timed = NULL;
        h->settling = 0;
        xo_engine_timer(t->engine, &h->timer, xo_mono_ms() + 1000, due);
    } else {
        if (h->commit && h->timed) {
            h->timed->entry = h->entry;
            xo_timed_arm(h->timed); /* keeps the reservation */
            h->timed = NULL;
        } else if (h->commit) {
            xo_topic_append(t, &h->entry, h->pos);
        }
        xo_half_free(h);
    }
    if (w)
        w->wake(w, ok);
}

static int settle(xo_half *h, int commit, xo_wait *w)
{
    xo_engine *e = h->topic->engine;
    int64_t now = xo_engine_now(e);
    if (commit && h->deliver_at > now && !(h->timed = xo_timed_new(h->topic, h->deliver_at)))
        return -1;
    if (commit && xo_topic_reserve(h->topic) != 0) {
        free(h->timed);
        h->timed = NULL;
        return -1;
    }
    void_handles(h);
    xo_list_remove(&h->due);
    xo_timer_clear(&e->timers, &h->timer);
    h->settling = 1;
    h->commit = commit;
    h->wait = w;
    h->entry = (xo_entry){.n = h->n, .born = h->born, .at = now, .lane = h->lane, .tag = h->tag};
    memcpy(h->entry.id, h->id, sizeof h->id);
    h->op.run = settle_run;
    h->op.done = settle_done;
    xo_engine_write(e, &h->op);
    return 0;
}

int xo_half_settle(xo_topic *t, const char *text, int commit, xo_handle_state *state, xo_wait *w)
{
    xo_handle *handle = NULL;
    *state = xo_handle_find(t, NULL, text, &handle);
    if (*state != XO_HANDLE_GOOD)
        return 0;
    if (settle(handle->half, commit, w) != 0)
        return -1;
    if (commit)
        t->engine->counts.half_committed++;
    else
        t->engine->counts.half_rolled_back++;
    return 1;
}

/* ---- offering ---- */

static void due(xo_timer *timer)
{
    xo_half *h = XO_OF(xo_half, timer, timer);
    xo_topic *t = h->topic;
    if (xo_engine_now(t->engine) - h->born >= XO_HALF_AGE_MS) {
        xo_log(XO_WARN, "endpoint", "topic %s: a half message was neither committed nor rolled back within 24 hours: rolled back", t->name);
        settle(h, 0, NULL);
        return;
    }
    if (!xo_linked(&h->due))
        xo_list_push(&t->due_halves, &h->due);
    xo_topic_touch(t);
}

static void expire(xo_timer *timer)
{
    xo_handle_free(XO_OF(xo_handle, timer, timer));
}

static xo_handle *offer(xo_half *h, int64_t good_ms)
{
    xo_handle *handle = xo_handle_new(h->topic, h->id, 0, 0, good_ms, expire);
    if (!handle)
        return NULL;
    handle->half = h;
    xo_list_push(&h->handles, &handle->of);
    return handle;
}

int xo_half_handle(xo_half *h, int64_t good_ms, char **text)
{
    xo_handle *handle = offer(h, good_ms);
    *text = handle ? xo_strdup(handle->text) : NULL;
    return *text ? 0 : -1;
}

void xo_half_pick(xo_poll *p)
{
    xo_topic *t = p->topic;
    xo_engine *e = t->engine;
    while (p->npicks < p->max && !xo_list_empty(&t->due_halves)) {
        xo_half *h = XO_OF(xo_half, due, t->due_halves.next);
        void_handles(h);
        xo_handle *handle = offer(h, XO_HALF_EVERY_MS);
        if (!handle || xo_pick_add(p, handle) != 0)
            return;
        xo_list_remove(&h->due);
        int64_t now = xo_engine_now(e);
        if (h->first == 0)
            h->first = now;
        xo_pick *k = &p->picks[p->npicks - 1];
        k->n = h->n;
        k->born = h->born;
        k->first = h->first;
        k->next = now + XO_HALF_EVERY_MS;
        k->times = ++h->times;
        memcpy(k->id, h->id, sizeof k->id);
        e->counts.handed_out++;
        xo_engine_timer(e, &h->timer, xo_mono_ms() + XO_HALF_EVERY_MS, due);
    }
}
