/* Counting and measuring, and the picture of a consumer for who watches it. */
#include "base/clock.h"
#include "base/config.h"
#include "base/mem.h"
#include "consumer/parts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const xo_time_names[XO_TIME_KINDS] = {"claim", "handler", "commit", "settle", "end_to_end"};
const char *const xo_retry_names[XO_RETRY_CAUSES] = {"handler", "sql", "conflict", "database", "taken_over", "other"};
const char *const xo_failed_names[XO_FAILED_CAUSES] = {"conflict", "connection", "unknown_commit", "message", "other"};

/* ---- counting; lock held ---- */

static xo_retry_cause retry_cause(const xo_item *item)
{
    xonce_status code = item->error.pub.code;
    if (item->failed_run) {
        return item->error.cls != XO_SQL_NONE ? XO_RETRY_SQL : XO_RETRY_HANDLER;
    }
    if (code == XONCE_E_FENCED) {
        return XO_RETRY_TAKEN_OVER;
    }
    if (item->error.cls == XO_SQL_AGAIN || code == XONCE_E_CONFLICT) {
        return XO_RETRY_CONFLICT;
    }
    return item->error.cls == XO_SQL_LOST || code == XONCE_E_CONNECT || code == XONCE_E_UNKNOWN_COMMIT ? XO_RETRY_DATABASE : XO_RETRY_OTHER;
}

void xo_count_retry(xonce_consumer *c, xo_sub *s, const xo_item *item)
{
    s->seen.retried++;
    c->metrics.retries[retry_cause(item)]++;
}

static void count_items(xonce_consumer *c, const xo_worker *w)
{
    xo_outcomes *seen = &w->sub->seen;
    int64_t now = xo_now_ms();
    for (size_t i = 0; i < w->n; i++) {
        xonce_outcome what = w->items[i].outcome;
        seen->fresh += what == XONCE_FRESH;
        seen->duplicate += what == XONCE_DUPLICATE;
        seen->rejected += what == XONCE_REJECTED;
        if (what == XONCE_FRESH && w->messages[i]->born_time > 0) {
            xo_histogram_add(&c->metrics.times[XO_TIME_END_TO_END], (now - w->messages[i]->born_time) * 1000);
        }
    }
}

void xo_count_run(xonce_consumer *c, const xo_worker *w)
{
    static const xo_time_kind kinds[XO_STAGES] = {[XO_STAGE_CLAIM] = XO_TIME_CLAIM, [XO_STAGE_HANDLER] = XO_TIME_HANDLER, [XO_STAGE_COMMIT] = XO_TIME_COMMIT};
    xo_metrics *m = &c->metrics;
    size_t step = 0;
    count_items(c, w);
    while (step + 1 < XO_BATCH_STEPS && w->n > (size_t)1 << step) {
        step++;
    }
    m->sizes[step]++;
    m->batches++;
    m->taken += w->n;
    for (size_t i = 0; i < XO_STAGES; i++) {
        if (w->times.n[i]) {
            xo_histogram_add(&m->times[kinds[i]], w->times.us[i]);
        }
    }
    for (size_t i = 0; i < XO_FAILED_CAUSES; i++) {
        m->failed[i] += w->times.failed[i];
    }
}

void xo_count_prune(xo_prune_seen *p, xonce_status st, int64_t deleted, int64_t took_ms)
{
    p->runs++;
    p->failed += st != XONCE_OK;
    p->total += (uint64_t)deleted;
    p->last = xo_now_ms();
    p->took_ms = took_ms;
    p->deleted = deleted;
    (void)snprintf(p->error, sizeof(p->error), "%s", st == XONCE_OK ? "" : xonce_error_last()->text);
}

/* ---- health; lock held ---- */

enum { TX_LOST_MS = 300000, POLL_HANGS_MS = 120000, HANDLER_HANGS = 2 /* times what it may take */ };

static int lost_a_transaction(const xonce_consumer *c)
{
    return c->tx_lost_at && xo_mono_ms() - c->tx_lost_at <= TX_LOST_MS;
}

int xo_is_healthy(const xonce_consumer *c, const xo_source_counts *s)
{
    return !c->down && !c->source_down && !s->unhealthy && c->failure.pub.code == XONCE_OK && !lost_a_transaction(c);
}

static void reason(xo_view_of *v, const char *fmt, ...) XO_PRINTF(2, 3);
static void reason(xo_view_of *v, const char *fmt, ...)
{
    va_list ap;
    if (v->nreasons < XO_REASONS_MAX) {
        va_start(ap, fmt);
        (void)vsnprintf(v->reasons[v->nreasons++], XO_REASON_SIZE, fmt, ap);
        va_end(ap);
    }
}

/* What nothing but another process would mend. */
static void look_for_death(const xonce_consumer *c, xo_view_of *v)
{
    int64_t now = xo_mono_ms();
    if (c->failure.pub.code != XONCE_OK) {
        reason(v, "it cannot go on: %s", c->failure.pub.text);
    } else if (c->phase == XO_ENDED) {
        reason(v, "it has ended");
    }
    if (c->metrics.poll_since && now - c->metrics.poll_since > POLL_HANGS_MS && !c->stopping) {
        reason(v, "the source has not returned from a poll for %lld s", (long long)((now - c->metrics.poll_since) / 1000));
    }
    for (size_t i = 0; i < c->nworkers && c->phase == XO_RUNNING; i++) {
        const xo_worker *w = &c->workers[i];
        if (w->since && now - w->since > HANDLER_HANGS * c->handler_timeout) {
            reason(v, "topic %s: a transaction has not ended for %lld s", w->sub->topic, (long long)((now - w->since) / 1000));
            break;
        }
    }
    v->ndeadly = v->nreasons;
    v->live = !v->ndeadly;
}

static void look_for_trouble(const xonce_consumer *c, xo_view_of *v)
{
    for (size_t i = 0; i < v->nstores; i++) {
        if (v->stores[i].down) {
            reason(v, "the database cannot be used: %s", v->stores[i].error);
        }
    }
    if (c->source_down) {
        reason(v, "the source cannot be asked: %s", c->metrics.source_error);
    }
    if (v->source.unhealthy) {
        reason(v, "the source reports something that needs a person: the log said what");
    }
    if (lost_a_transaction(c)) {
        reason(v, "a handler ended its transaction less than five minutes ago");
    }
}

const char *xo_consumer_group(const xonce_consumer *c)
{
    return c->store->group;
}

/* ---- the picture ---- */

static const char *kind_name(xo_sub_kind kind)
{
    return kind == XO_MANY ? "batches" : kind == XO_ORDERED ? "ordered" : "messages";
}

/* A topic that goes to several databases has several subscriptions, one behind the other. */
static void view_topics(const xonce_consumer *c, xo_view_of *v)
{
    for (size_t i = 0; i < c->nsubs; i++) {
        const xo_sub *s = &c->subs[i];
        xo_topic_view *t = v->ntopics ? &v->topics[v->ntopics - 1] : NULL;
        if (!t || strcmp(t->topic, s->topic) != 0) {
            t = &v->topics[v->ntopics++];
            *t = (xo_topic_view){.topic = s->topic, .tags = s->tags, .kind = kind_name(s->kind), .by_offset = s->in_lanes && s->kind != XO_ORDERED, .waiting = s->in_lanes ? -1 : 0};
            t->by_offset |= (s->claim_set ? s->claim : c->claim) == XONCE_CLAIM_OFFSET && !c->no_dedup;
        }
        t->seen.fresh += s->seen.fresh;
        t->seen.duplicate += s->seen.duplicate;
        t->seen.rejected += s->seen.rejected;
        t->seen.retried += s->seen.retried;
        t->waiting += t->waiting < 0 ? 0 : (int64_t)s->waiting.n;
        t->batch_limit = s->size.limit;
    }
}

static void view_stores(const xonce_consumer *c, xo_view_of *v)
{
    for (size_t i = 0; i < c->nplaces; i++) {
        const xo_place *p = &c->places[i];
        xo_store_view *s = &v->stores[v->nstores++];
        *s = (xo_store_view){.store = p->store, .down = p->down, .prune = p->prune_seen};
        (void)snprintf(s->error, sizeof(s->error), "%s", p->error);
    }
}

static xo_view_state state_of(const xonce_consumer *c)
{
    if (c->failure.pub.code != XONCE_OK) {
        return XO_VIEW_FAILED;
    }
    return c->phase == XO_NEW ? XO_VIEW_NEW : c->phase == XO_ENDED ? XO_VIEW_ENDED : c->stopping ? XO_VIEW_STOPPING : XO_VIEW_RUNNING;
}

static void view_numbers(const xonce_consumer *c, xo_view_of *v)
{
    xo_histogram settle = v->source.settling;
    v->state = state_of(c);
    v->no_dedup = c->no_dedup;
    v->group = c->store->group;
    v->source_kind = c->source->kind;
    v->source_uri = c->source->uri;
    v->polled = c->polled;
    v->seen = (xo_outcomes){c->fresh, c->duplicate, c->rejected, c->retried};
    v->replayed = c->replayed;
    v->pruned = c->pruned;
    v->waiting = c->waiting;
    v->in_flight = c->in_flight;
    v->in_flight_bytes = c->in_flight_bytes;
    v->workers = c->workers_max;
    v->busy = c->running;
    v->last_message_ms = c->last_message ? xo_mono_ms() - c->last_message : -1;
    v->prune_every = c->prune.every;
    v->prune_keep = c->prune.keep;
    v->metrics = c->metrics;
    v->metrics.times[XO_TIME_SETTLE] = settle;
    v->healthy = xo_is_healthy(c, &v->source);
    v->source_ok = !c->source_down;
    v->source_started = c->polled > 0 || v->source.answers + v->source.heard > 0 || !c->source->counts;
}

xonce_status xo_consumer_view(xonce_consumer *c, xo_view_of *out)
{
    memset(out, 0, sizeof(*out));
    if (c->source->counts) {
        c->source->counts(c->source, &out->source);
    }
    pthread_mutex_lock(&c->lock);
    int begun = c->phase != XO_NEW; /* before, subscriptions are still being made, and nobody guards them */
    out->topics = xo_calloc(begun && c->nsubs ? c->nsubs : 1, sizeof(*out->topics));
    out->stores = xo_calloc(begun && c->nplaces ? c->nplaces : 1, sizeof(*out->stores));
    int failed = !out->topics || !out->stores;
    if (!failed) {
        view_numbers(c, out);
        if (begun) {
            view_topics(c, out);
            view_stores(c, out);
        }
        look_for_death(c, out);
        look_for_trouble(c, out);
    }
    pthread_mutex_unlock(&c->lock);
    if (failed) {
        xo_consumer_unview(out);
        return xo_nomem();
    }
    return XONCE_OK;
}

void xo_consumer_unview(xo_view_of *v)
{
    free(v->topics);
    free(v->stores);
    v->topics = NULL;
    v->stores = NULL;
    v->ntopics = v->nstores = 0;
}

xonce_status xo_consumer_settings(xonce_consumer *c, xonce_config **out)
{
    pthread_mutex_lock(&c->lock);
    xonce_status st = xo_config_copy(out, c->cfg);
    pthread_mutex_unlock(&c->lock);
    return st;
}

xonce_status xo_consumer_queues(xonce_consumer *c, xo_source_queue **out, size_t *n)
{
    *out = NULL;
    *n = 0;
    return c->source->queues ? c->source->queues(c->source, out, n) : XONCE_OK;
}

void xo_consumer_watched(xonce_consumer *c, void *arg, void (*end)(void *arg), void **was)
{
    pthread_mutex_lock(&c->lock);
    *was = c->watcher;
    c->watcher = arg;
    c->watcher_end = end;
    pthread_mutex_unlock(&c->lock);
}

void *xo_consumer_watcher(xonce_consumer *c)
{
    pthread_mutex_lock(&c->lock);
    void *watcher = c->watcher;
    pthread_mutex_unlock(&c->lock);
    return watcher;
}
