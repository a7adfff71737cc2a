/* What the databases say while nobody asks: whether they are there, and now and then what the tables hold. */
#include "base/clock.h"
#include "base/config.h"
#include "status/inside.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PING_MS = 5000, FIGURES_MS = 60000, HANGS_MS = 15000, REFUSED_MS = 1000 };

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
        xonce_store_close(h[i].own);
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
static void ask_figures(xo_status *s, xonce_store *store, xo_heard *h, const xo_view_of *v, size_t i)
{
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

/* A database on the network may let us wait for long. So the prober has a connection of its own there, and xo_status_stop() leaves it behind, to end
   by itself, rather than wait for it. Not where the user has hooks on connections: their code may not run any more then. */
static int may_be_left(const xonce_store *store)
{
    void *arg;
    const xonce_hooks *hooks = xo_pool_get_hooks(store->pool, &arg);
    return store->d->kind != XO_DIALECT_SQLITE && !hooks->connected && !hooks->disconnected;
}

/* What opening one takes: copies, for the store may be closed meanwhile. */
typedef struct {
    char *uri, *group;
    xonce_config *cfg;
} opening;

static xonce_status prepare(const xonce_store *store, opening *out)
{
    const xo_open_options *o = xo_pool_options(store->pool);
    *out = (opening){.uri = xo_strdup(o->uri_text), .group = xo_strdup(store->group)};
    xonce_status st = out->uri && out->group ? xo_config_copy(&out->cfg, o->cfg) : xo_nomem();
    return st == XONCE_OK ? xonce_config_set(out->cfg, "store.connections", "1") : st;
}

static void opening_free(opening *o)
{
    xo_wipe_free(o->uri);
    free(o->group);
    xonce_config_free(o->cfg);
}

static void set_leavable(xo_status *s, int on)
{
    pthread_mutex_lock(&s->lock);
    s->leavable = on;
    pthread_cond_broadcast(&s->tick);
    pthread_mutex_unlock(&s->lock);
}

static xonce_status ping(xo_status *s, xonce_store *store, int claims, int64_t *watermark)
{
    xonce_status st = xo_store_ping(store, claims, watermark);
    if (st != XONCE_OK && xonce_error_last()->again && xo_status_wait(s, 0)) { /* the connection may have been a dead one: the next is new */
        st = xo_store_ping(store, claims, watermark);
    }
    return st;
}

/* 1: it answers, and figures are due. */
static int note_answer(xo_status *s, xo_heard *h, const xo_view_of *v, size_t i, xonce_status st, int64_t watermark)
{
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
    int due = st == XONCE_OK && !v->no_dedup && !s->stopping && (news || xo_mono_ms() >= h->figures_due);
    pthread_mutex_unlock(&s->lock);
    return due;
}

static void ask_store(xo_status *s, xo_heard *h, const xo_view_of *v, size_t i)
{
    int64_t watermark = -1, now = xo_mono_ms();
    xonce_store *store = v->stores[i].store;
    int own = may_be_left(store);
    opening how = {.uri = NULL};
    xonce_status st = own && !h->own ? prepare(store, &how) : XONCE_OK;
    pthread_mutex_lock(&s->lock);
    h->asking = now;
    h->batches_then = v->metrics.batches;
    pthread_mutex_unlock(&s->lock);
    set_leavable(s, own);
    if (st == XONCE_OK && how.uri) {
        st = xonce_store_open(&h->own, how.uri, how.group, how.cfg);
    }
    if (st != XONCE_OK && xo_mono_ms() - now < REFUSED_MS) { /* it may be one connection too many; the consumer has its own */
        set_leavable(s, 0);
        st = ping(s, store, !v->no_dedup, &watermark);
    } else if (st == XONCE_OK) {
        store = own ? h->own : store;
        st = ping(s, store, !v->no_dedup, &watermark);
    }
    if (note_answer(s, h, v, i, st, watermark)) {
        h->figures_due = now + FIGURES_MS;
        ask_figures(s, store, h, v, i);
    }
    set_leavable(s, 0);
    opening_free(&how);
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
    for (int64_t next = 0; xo_status_wait(s, next);) {
        int waits = !xo_watched_next(s, NULL);
        for (xo_watched *w = NULL; !is_stopping(s) && (w = xo_watched_next(s, w));) {
            ask_stores(s, w);
            waits |= !w->heard;
        }
        next = xo_mono_ms() + (waits ? SOON_MS : PING_MS);
    }
    xo_prober_ends(s);
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
