/* /status.json: everything, for the page and for scripts. */
#include "base/clock.h"
#include "base/config.h"
#include "base/text.h"
#include "status/inside.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- pieces: each writes "name":value with a comma in front unless it is the first of its object ---- */

static void name_it(xo_buf *b, const char *name)
{
    char last = b->len ? b->p[b->len - 1] : 0;
    if (last != '{' && last != '[') {
        xo_buf_char(b, ',');
    }
    if (name) {
        xo_buf_printf(b, "\"%s\":", name);
    }
}

static void number(xo_buf *b, const char *name, int64_t value)
{
    name_it(b, name);
    xo_buf_printf(b, "%" PRId64, value);
}

static void count(xo_buf *b, const char *name, uint64_t value)
{
    name_it(b, name);
    xo_buf_printf(b, "%" PRIu64, value);
}

/* Less than from: not known. */
static void number_from(xo_buf *b, const char *name, int64_t value, int64_t from)
{
    if (value >= from) {
        number(b, name, value);
    } else {
        name_it(b, name);
        xo_buf_str(b, "null");
    }
}

static void text(xo_buf *b, const char *name, const char *value)
{
    name_it(b, name);
    if (value) {
        xo_buf_json(b, value, strlen(value));
    } else {
        xo_buf_str(b, "null");
    }
}

static void yes_no(xo_buf *b, const char *name, int value)
{
    name_it(b, name);
    xo_buf_str(b, value ? "true" : "false");
}

static void open_it(xo_buf *b, const char *name, char bracket)
{
    name_it(b, name);
    xo_buf_char(b, bracket);
}

/* Reasons, one a line, as a list. */
static void verdict(xo_buf *b, const char *name, xo_status *s, int (*ask)(xo_status *s, xo_buf *reasons))
{
    xo_buf reasons = {0};
    int ok = ask(s, &reasons);
    open_it(b, name, '{');
    yes_no(b, "ok", ok);
    open_it(b, "reasons", '[');
    for (const char *p = reasons.p; p && *p && !reasons.failed;) {
        size_t n = strcspn(p, "\n");
        name_it(b, NULL);
        xo_buf_json(b, p, n);
        p += n + (p[n] == '\n');
    }
    xo_buf_str(b, "]}");
    xo_buf_free(&reasons);
}

/* ---- one consumer ---- */

static void show_rejected(xo_buf *b, const xo_heard *h)
{
    open_it(b, "rejected", '{');
    number_from(b, "stored", h ? h->figures.rejected : -1, 0);
    yes_no(b, "exact", h && h->figures.rejected_exact);
    open_it(b, "latest", '[');
    for (size_t i = 0; h && i < h->nrejected; i++) {
        const xo_rejected *r = &h->rejected[i];
        open_it(b, NULL, '{');
        text(b, "id", r->id);
        text(b, "topic", r->topic);
        text(b, "reason", r->reason);
        number(b, "attempts", r->attempts);
        number(b, "at", r->at);
        yes_no(b, "replay", r->replay);
        xo_buf_char(b, '}');
    }
    xo_buf_str(b, "]}");
}

static void show_pruned(xo_buf *b, const xo_prune_seen *p)
{
    open_it(b, "prune", '{');
    number_from(b, "last", p->last, 1);
    number_from(b, "took_ms", p->last ? p->took_ms : -1, 0);
    number_from(b, "deleted", p->last ? p->deleted : -1, 0);
    count(b, "total", p->total);
    count(b, "runs", p->runs);
    count(b, "failed", p->failed);
    text(b, "error", p->error[0] ? p->error : NULL);
    xo_buf_char(b, '}');
}

static void show_store(xo_buf *b, const xo_shot *s, size_t i)
{
    const xo_store_view *v = &s->v.stores[i];
    const xo_heard *h = i < s->w->nheard ? &s->w->heard[i] : NULL;
    char why[XO_REASON_SIZE];
    char *uri = xo_uri_mask(xo_pool_options(v->store->pool)->uri_text);
    int ok = xo_store_is_ok(s->w, &s->v, i, why);
    open_it(b, NULL, '{');
    text(b, "name", uri);
    text(b, "engine", v->store->d->name);
    yes_no(b, "ok", ok);
    text(b, "error", ok ? NULL : why);
    number_from(b, "checked", h ? h->checked : 0, 1);
    open_it(b, "table", '{');
    number_from(b, "rows", h ? h->figures.rows : -1, 0);
    yes_no(b, "exact", h && h->figures.exact);
    number_from(b, "oldest", h ? h->figures.oldest : -1, 1);
    number_from(b, "checked", h ? h->figured : 0, 1);
    xo_buf_char(b, '}');
    number_from(b, "watermark", h ? h->watermark : -1, 1);
    show_pruned(b, &v->prune);
    show_rejected(b, h);
    xo_buf_char(b, '}');
    free(uri);
}

static void show_source(xo_buf *b, const xo_view_of *v)
{
    open_it(b, "source", '{');
    text(b, "kind", v->source_kind);
    yes_no(b, "ok", v->source_ok);
    text(b, "error", v->source_ok ? NULL : v->metrics.source_error);
    count(b, "buffered", v->source.buffered);
    count(b, "unacked", v->source.unacked);
    count(b, "acked", v->source.acked);
    count(b, "ack_failed", v->source.ack_failed);
    count(b, "polls", v->source.polls);
    count(b, "expired", v->source.expired);
    xo_buf_char(b, '}');
}

static void show_counts(xo_buf *b, const xo_view_of *v)
{
    open_it(b, "counts", '{');
    count(b, "polled", v->polled);
    count(b, "fresh", v->seen.fresh);
    count(b, "duplicate", v->seen.duplicate);
    count(b, "rejected", v->seen.rejected);
    count(b, "retried", v->seen.retried);
    count(b, "replayed", v->replayed);
    count(b, "pruned", v->pruned);
    count(b, "conflicts", v->metrics.failed[XO_FAILED_CONFLICT]);
    count(b, "unknown_commits", v->metrics.failed[XO_FAILED_UNKNOWN_COMMIT]);
    xo_buf_char(b, '}');
    open_it(b, "retries", '{');
    for (size_t i = 0; i < XO_RETRY_CAUSES; i++) {
        count(b, xo_retry_names[i], v->metrics.retries[i]);
    }
    xo_buf_char(b, '}');
    open_it(b, "reruns", '{');
    for (size_t i = 0; i < XO_FAILED_CAUSES; i++) {
        count(b, xo_failed_names[i], v->metrics.failed[i]);
    }
    xo_buf_char(b, '}');
    count(b, "in_flight", v->in_flight);
    count(b, "in_flight_bytes", v->in_flight_bytes);
    count(b, "waiting", v->waiting);
    open_it(b, "workers", '{');
    count(b, "most", v->workers);
    count(b, "busy", v->busy);
    xo_buf_char(b, '}');
    number_from(b, "last_message", v->last_message_ms >= 0 ? xo_now_ms() - v->last_message_ms : -1, 0);
}

static void show_topics(xo_buf *b, const xo_view_of *v)
{
    open_it(b, "topics", '[');
    for (size_t i = 0; i < v->ntopics; i++) {
        const xo_topic_view *t = &v->topics[i];
        open_it(b, NULL, '{');
        text(b, "topic", t->topic);
        text(b, "tags", t->tags);
        text(b, "kind", t->kind);
        text(b, "claim", t->by_offset ? "offset" : "record");
        count(b, "fresh", t->seen.fresh);
        count(b, "duplicate", t->seen.duplicate);
        count(b, "rejected", t->seen.rejected);
        count(b, "retried", t->seen.retried);
        number_from(b, "waiting", t->waiting, 0);
        count(b, "batch_limit", t->batch_limit);
        xo_buf_char(b, '}');
    }
    xo_buf_char(b, ']');
}

static void milliseconds(xo_buf *b, const char *name, const xo_histogram *h, double q)
{
    double us = xo_histogram_quantile(h, q);
    name_it(b, name);
    if (us < 0) {
        xo_buf_str(b, "null");
    } else {
        xo_buf_printf(b, "%.3f", us / 1000);
    }
}

/* Of the last minutes: what came since the point that was taken then. */
static void show_latency(xo_buf *b, const xo_shot *s)
{
    const xo_watched *w = s->w;
    const xo_point *then = w->series.n > XO_RECENT_STEPS ? xo_point_at(w, w->series.n - 1 - XO_RECENT_STEPS) : NULL;
    open_it(b, "latency", '[');
    for (size_t i = 0; i < XO_TIME_KINDS; i++) {
        const xo_histogram *now = &s->v.metrics.times[i];
        xo_histogram recent;
        xo_histogram_since(&recent, now, then ? &then->times[i] : NULL);
        open_it(b, NULL, '{');
        text(b, "step", xo_time_names[i]);
        count(b, "count", now->count);
        count(b, "recent", recent.count);
        milliseconds(b, "p50_ms", &recent, 0.5);
        milliseconds(b, "p95_ms", &recent, 0.95);
        milliseconds(b, "p99_ms", &recent, 0.99);
        xo_buf_char(b, '}');
    }
    xo_buf_char(b, ']');
}

static void show_lag(xo_buf *b, const xo_shot *s)
{
    open_it(b, "lag", '{');
    number_from(b, "total", xo_lag_of(s->queues, s->nqueues), 0);
    open_it(b, "queues", '[');
    for (size_t i = 0; i < s->nqueues; i++) {
        const xo_source_queue *q = &s->queues[i];
        open_it(b, NULL, '{');
        text(b, "topic", q->topic);
        text(b, "broker", q->broker);
        number(b, "queue", q->queue);
        number_from(b, "position", q->position, 0);
        number_from(b, "end", q->end, 0);
        number_from(b, "lag", xo_queue_lag(q), 0);
        xo_buf_char(b, '}');
    }
    xo_buf_str(b, "]}");
}

static void show_settings(xo_buf *b, const xo_shot *s)
{
    open_it(b, "prune", '{');
    number(b, "every_ms", s->v.prune_every);
    number(b, "keep_ms", s->v.prune_keep);
    xo_buf_char(b, '}');
    open_it(b, "config", '[');
    for (size_t i = 0; i < xo_config_count; i++) {
        const xo_config_key *k = &xo_config_keys[i];
        const char *value = xo_config_text(s->settings, k->key);
        open_it(b, NULL, '{');
        text(b, "key", k->key);
        text(b, "value", value && k->secret ? "***" : value);
        yes_no(b, "set", xo_config_is_set(s->settings, k->key));
        xo_buf_char(b, '}');
    }
    xo_buf_char(b, ']');
}

/* ---- the last minutes ---- */

typedef void (*point_fn)(xo_buf *b, const xo_point *now, const xo_point *before);

static void of_fresh(xo_buf *b, const xo_point *now, const xo_point *before)
{
    count(b, NULL, now->seen.fresh - before->seen.fresh);
}

static void of_duplicate(xo_buf *b, const xo_point *now, const xo_point *before)
{
    count(b, NULL, now->seen.duplicate - before->seen.duplicate);
}

static void of_rejected(xo_buf *b, const xo_point *now, const xo_point *before)
{
    count(b, NULL, now->seen.rejected - before->seen.rejected);
}

static void of_retried(xo_buf *b, const xo_point *now, const xo_point *before)
{
    count(b, NULL, now->seen.retried - before->seen.retried);
}

static void of_in_flight(xo_buf *b, const xo_point *now, const xo_point *before)
{
    (void)before;
    count(b, NULL, now->in_flight);
}

static void of_lag(xo_buf *b, const xo_point *now, const xo_point *before)
{
    (void)before;
    number_from(b, NULL, now->lag, 0);
}

static void of_end_to_end(xo_buf *b, const xo_point *now, const xo_point *before)
{
    xo_histogram step;
    xo_histogram_since(&step, &now->times[XO_TIME_END_TO_END], &before->times[XO_TIME_END_TO_END]);
    milliseconds(b, NULL, &step, 0.95);
}

static void show_series(xo_buf *b, const xo_watched *w)
{
    static const struct {
        const char *name;
        point_fn fn;
    } each[] = {{"fresh", of_fresh}, {"duplicate", of_duplicate}, {"rejected", of_rejected}, {"retried", of_retried}, {"in_flight", of_in_flight}, {"lag", of_lag}, {"end_to_end_p95_ms", of_end_to_end}};
    open_it(b, "series", '{');
    number(b, "step_ms", XO_STEP_MS);
    number(b, "end", w->series.n ? xo_point_at(w, w->series.n - 1)->at : xo_now_ms());
    for (size_t k = 0; k < sizeof(each) / sizeof(each[0]); k++) {
        open_it(b, each[k].name, '[');
        for (size_t i = 1; i < w->series.n; i++) {
            each[k].fn(b, xo_point_at(w, i), xo_point_at(w, i - 1));
        }
        xo_buf_char(b, ']');
    }
    xo_buf_char(b, '}');
}

static const char *state_name(xo_view_state state)
{
    static const char *const names[] = {[XO_VIEW_NEW] = "new", [XO_VIEW_RUNNING] = "running", [XO_VIEW_STOPPING] = "stopping", [XO_VIEW_ENDED] = "ended", [XO_VIEW_FAILED] = "failed"};
    return names[state];
}

/* All that is wrong, as the consumer sees it, and what the databases said when they were asked. */
static void show_health(xo_buf *b, const xo_shot *s)
{
    char why[XO_REASON_SIZE];
    yes_no(b, "healthy", s->v.healthy);
    open_it(b, "reasons", '[');
    for (size_t i = 0; i < s->v.nreasons; i++) {
        text(b, NULL, s->v.reasons[i]);
    }
    for (size_t i = 0; i < s->v.nstores; i++) {
        if (!s->v.stores[i].down && !xo_store_is_ok(s->w, &s->v, i, why)) {
            name_it(b, NULL);
            xo_buf line = {0};
            xo_buf_printf(&line, "the database cannot be used: %s", why);
            xo_buf_json(b, line.p ? line.p : "", line.len);
            xo_buf_free(&line);
        }
    }
    xo_buf_char(b, ']');
}

static void show_consumer(xo_buf *b, const xo_shot *s)
{
    open_it(b, NULL, '{');
    text(b, "name", s->w->name);
    text(b, "group", s->v.group);
    text(b, "state", state_name(s->v.state));
    show_health(b, s);
    open_it(b, "stores", '[');
    for (size_t i = 0; i < s->v.nstores; i++) {
        show_store(b, s, i);
    }
    xo_buf_char(b, ']');
    show_source(b, &s->v);
    show_counts(b, &s->v);
    show_topics(b, &s->v);
    show_latency(b, s);
    show_lag(b, s);
    xo_buf_str(b, ",\"in_force\":");
    xo_facts_json(b, s);
    show_settings(b, s);
    show_series(b, s->w);
    xo_buf_char(b, '}');
}

xonce_status xo_status_json(xo_status *s, xo_buf *out)
{
    xo_shots all;
    xonce_status st = xo_shots_take(s, &all);
    if (st != XONCE_OK) {
        return st;
    }
    xo_buf_char(out, '{');
    number(out, "now", xo_now_ms());
    text(out, "version", XONCE_VERSION);
    number(out, "started", s->started);
    verdict(out, "live", s, xo_status_live);
    verdict(out, "ready", s, xo_status_ready);
    open_it(out, "consumers", '[');
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < all.n; i++) {
        show_consumer(out, &all.list[i]);
    }
    pthread_mutex_unlock(&s->lock);
    xo_buf_str(out, "]}\n");
    xo_shots_free(&all);
    return xo_buf_status(out);
}
