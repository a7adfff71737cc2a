/* What is gathered while nobody asks: a point of each consumer every few seconds, and what its databases say. */
#include "base/clock.h"
#include "status/inside.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SWEEP_MS = 500, PING_MS = 5000, FIGURES_MS = 60000, HANGS_MS = 15000 };

/* ---- points ---- */

const xo_point *xo_point_at(const xo_watched *w, size_t i)
{
    return &w->points[(w->first + i) % XO_POINTS];
}

int64_t xo_queue_lag(const xo_source_queue *q)
{
    return q->position < 0 || q->end < 0 ? -1 : q->end > q->position ? q->end - q->position : 0;
}

int64_t xo_lag_of(const xo_source_queue *q, size_t n)
{
    int64_t all = -1;
    for (size_t i = 0; i < n; i++) {
        int64_t lag = xo_queue_lag(&q[i]);
        if (lag >= 0) {
            all = all < 0 ? lag : all + lag;
        }
    }
    return all;
}

static int64_t lag_now(xonce_consumer *c)
{
    xo_source_queue *q;
    size_t n;
    int64_t lag = -1;
    if (xo_consumer_queues(c, &q, &n) == XONCE_OK) {
        lag = xo_lag_of(q, n);
        xo_source_queues_free(q, n);
    }
    return lag;
}

static void take_point(xo_status *s, xo_watched *w)
{
    xo_view_of v;
    if (xo_consumer_view(w->c, &v) != XONCE_OK) {
        return;
    }
    xo_point p = {.at = xo_now_ms(), .seen = v.seen, .in_flight = v.in_flight, .lag = lag_now(w->c)};
    memcpy(p.times, v.metrics.times, sizeof(p.times));
    xo_consumer_unview(&v);
    pthread_mutex_lock(&s->lock);
    w->points[(w->first + w->n) % XO_POINTS] = p;
    if (w->n < XO_POINTS) {
        w->n++;
    } else {
        w->first = (w->first + 1) % XO_POINTS;
    }
    pthread_mutex_unlock(&s->lock);
}

/* Waits until then. 0: it ends. */
static int wait_until(xo_status *s, int64_t then)
{
    pthread_mutex_lock(&s->lock);
    while (!s->stopping && xo_mono_ms() < then) {
        xo_cond_wait_ms(&s->tick, &s->lock, then);
    }
    int go_on = !s->stopping;
    pthread_mutex_unlock(&s->lock);
    return go_on;
}

void *xo_sampler_main(void *status)
{
    xo_status *s = status;
    int64_t now = xo_mono_ms(), next = now;
    while (wait_until(s, now + SWEEP_MS)) {
        now = xo_mono_ms();
        xo_clients_sweep(s);
        if (now < next) {
            continue;
        }
        for (xo_watched *w = NULL; (w = xo_watched_next(s, w));) {
            take_point(s, w);
        }
        next += XO_STEP_MS;
        if (next < now) { /* the machine slept */
            next = now + XO_STEP_MS;
        }
    }
    return NULL;
}

/* ---- databases ---- */

static void free_rejected(xo_rejected *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(r[i].id);
        free(r[i].topic);
        free(r[i].reason);
    }
}

void xo_heard_free(xo_heard *h, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free_rejected(h[i].rejected, h[i].nrejected);
    }
    free(h);
}

/* Texts of at most that many bytes, whole characters: the page shows them, the table has them all. */
static char *some_of(const char *text, size_t most)
{
    size_t n = strlen(text);
    if (n > most) {
        n = most;
        while (n && ((unsigned char)text[n] & 0xC0) == 0x80) {
            n--;
        }
    }
    return xo_memdup0(text, n);
}

typedef struct {
    xo_rejected list[XO_REJECTED_SHOWN];
    size_t n;
} gathered;

static int on_rejected(const xonce_row *r, void *arg)
{
    enum { TEXT_MAX = 500 };
    gathered *g = arg;
    if (g->n == XO_REJECTED_SHOWN) {
        return 1;
    }
    xo_rejected *x = &g->list[g->n];
    const char *id = xonce_row_text(r, 0), *hash = strrchr(id, '#');
    *x = (xo_rejected){.id = xo_memdup0(id, hash ? (size_t)(hash - id) : strlen(id)), .topic = some_of(xonce_row_text(r, 1), TEXT_MAX), .reason = some_of(xonce_row_text(r, 2), TEXT_MAX),
                       .attempts = xonce_row_int(r, 3), .at = xonce_row_int(r, 4), .replay = !xonce_row_is_null(r, 5)};
    g->n++;
    return !x->id || !x->topic || !x->reason;
}

/* Figures cost more than a ping: each minute, after each prune, and when something was rejected. */
static void ask_figures(xo_status *s, xo_heard *h, const xo_view_of *v, size_t i)
{
    xonce_store *store = v->stores[i].store;
    xo_figures figures;
    gathered g = {.n = 0};
    xonce_status st = xo_store_figures(store, &figures);
    if (st == XONCE_OK) {
        st = xo_store_rejected(store, XO_REJECTED_SHOWN, on_rejected, &g);
    }
    if (st != XONCE_OK || (g.n && !g.list[g.n - 1].reason)) {
        free_rejected(g.list, g.n);
        return;
    }
    pthread_mutex_lock(&s->lock);
    free_rejected(h->rejected, h->nrejected);
    memcpy(h->rejected, g.list, g.n * sizeof(*g.list));
    h->nrejected = g.n;
    h->figures = figures;
    h->figured = xo_now_ms();
    h->rejected_then = v->seen.rejected + v->replayed;
    h->runs_then = v->stores[i].prune.runs;
    pthread_mutex_unlock(&s->lock);
}

static void ask_store(xo_status *s, xo_heard *h, const xo_view_of *v, size_t i)
{
    int64_t watermark = -1, now = xo_mono_ms();
    pthread_mutex_lock(&s->lock);
    h->asking = now;
    h->batches_then = v->metrics.batches;
    pthread_mutex_unlock(&s->lock);
    xonce_status st = xo_store_ping(v->stores[i].store, !v->no_dedup, &watermark);
    if (st != XONCE_OK && xonce_error_last()->again) { /* the connection may have been a dead one of the pool: the next is new */
        st = xo_store_ping(v->stores[i].store, !v->no_dedup, &watermark);
    }
    pthread_mutex_lock(&s->lock);
    h->asking = 0;
    h->asked = 1;
    h->failed = st != XONCE_OK;
    h->checked = xo_now_ms();
    (void)snprintf(h->error, sizeof(h->error), "%s", st == XONCE_OK ? "" : xonce_error_last()->text);
    if (st == XONCE_OK) {
        h->watermark = watermark;
    }
    int news = h->rejected_then != v->seen.rejected + v->replayed || h->runs_then != v->stores[i].prune.runs;
    pthread_mutex_unlock(&s->lock);
    if (st == XONCE_OK && !v->no_dedup && (news || now >= h->figures_due)) {
        h->figures_due = now + FIGURES_MS;
        ask_figures(s, h, v, i);
    }
}

/* 0: no memory, or it has none yet. */
static int make_room(xo_status *s, xo_watched *w, size_t n)
{
    pthread_mutex_lock(&s->lock);
    if (!w->heard && n) {
        w->heard = xo_calloc(n, sizeof(*w->heard));
        w->nheard = w->heard ? n : 0;
        for (size_t i = 0; i < w->nheard; i++) {
            w->heard[i].watermark = w->heard[i].figures.rows = w->heard[i].figures.oldest = w->heard[i].figures.rejected = -1;
        }
    }
    int fits = n && w->nheard == n;
    pthread_mutex_unlock(&s->lock);
    return fits;
}

static int is_stopping(xo_status *s)
{
    pthread_mutex_lock(&s->lock);
    int stopping = s->stopping;
    pthread_mutex_unlock(&s->lock);
    return stopping;
}

static void ask_stores(xo_status *s, xo_watched *w)
{
    xo_view_of v;
    if (xo_consumer_view(w->c, &v) != XONCE_OK) {
        return;
    }
    if (v.state != XO_VIEW_ENDED && make_room(s, w, v.nstores)) {
        for (size_t i = 0; i < v.nstores && !is_stopping(s); i++) {
            ask_store(s, &w->heard[i], &v, i);
        }
    }
    xo_consumer_unview(&v);
}

void *xo_prober_main(void *status)
{
    enum { SOON_MS = 500 };
    xo_status *s = status;
    for (int64_t next = 0; wait_until(s, next);) {
        int waits = !xo_watched_next(s, NULL);
        for (xo_watched *w = NULL; (w = xo_watched_next(s, w));) {
            ask_stores(s, w);
            waits |= !w->heard;
        }
        next = xo_mono_ms() + (waits ? SOON_MS : PING_MS);
    }
    return NULL;
}

int xo_store_is_ok(const xo_watched *w, const xo_view_of *v, size_t store, char why[XO_REASON_SIZE])
{
    const xo_heard *h = store < w->nheard ? &w->heard[store] : NULL;
    why[0] = 0;
    if (v->stores[store].down) {
        (void)snprintf(why, XO_REASON_SIZE, "%s", v->stores[store].error);
    } else if (!h || (!h->asked && !h->asking)) {
        (void)snprintf(why, XO_REASON_SIZE, "the database has not been asked yet");
    } else if (h->asking && xo_mono_ms() - h->asking > HANGS_MS && h->batches_then == v->metrics.batches) {
        (void)snprintf(why, XO_REASON_SIZE, "the database has not answered for %lld s", (long long)((xo_mono_ms() - h->asking) / 1000));
    } else if (h->failed) {
        (void)snprintf(why, XO_REASON_SIZE, "%s", h->error);
    } else if (!h->asked) {
        (void)snprintf(why, XO_REASON_SIZE, "the database has not answered yet");
    }
    return !why[0];
}
