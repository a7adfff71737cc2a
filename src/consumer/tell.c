/* Log lines about single messages: duplicate, retried, put off, rejected, for debugging also applied; so many a second, and what is left out is counted. */
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "consumer/parts.h"
#include "message/trace.h"
#include "store/claim.h"
#include <string.h>

enum { REST_MS = 10000, MILLI = 1000 };

static const struct {
    int level;
    const char *text, *plural;
} kinds[XO_TELL_KINDS] = {
    [XO_TELL_DUPLICATE] = {XO_INFO, "duplicate: it was settled before", "more duplicates are not shown"},
    [XO_TELL_RETRIED] = {XO_WARN, "failed: it comes again", "more failed messages are not shown"},
    [XO_TELL_PUT_OFF] = {XO_INFO, "put off: it comes again", "more messages that were put off are not shown"},
    [XO_TELL_APPLIED] = {XO_DEBUG, "applied", "more applied messages are not shown"},
    [XO_TELL_REJECTED] = {XO_WARN, "rejected: it stands in xonce_rejected", "more rejected messages are not shown"},
};

/* XO_TELL_KINDS: there is nothing to tell. fine: the database could be used; else one line tells all, and it is not this one's. */
static xo_tell_kind kind_of(const xo_item *item, int fine)
{
    switch (item->outcome) {
    case XONCE_DUPLICATE: return XO_TELL_DUPLICATE;
    case XONCE_REJECTED: return XO_TELL_REJECTED;
    case XONCE_FRESH: return XO_TELL_APPLIED;
    case XONCE_DEFERRED: break;
    }
    if (item->failed_run) {
        return XO_TELL_RETRIED;
    }
    int behind = item->error.pub.code == XONCE_E_CONFLICT && item->error.cls == XO_SQL_NONE; /* it waits for one before it */
    return fine && item->error.pub.code != XONCE_OK && !behind ? XO_TELL_PUT_OFF : XO_TELL_KINDS;
}

/* Of `want` lines so many may be written now. Lock held. */
static size_t allowance(xo_telling *t, int64_t rate, size_t want, int64_t now)
{
    int64_t most = 2 * rate * MILLI;
    if (rate == 0) {
        return want;
    }
    t->credit = t->at ? t->credit + (now - t->at < REST_MS ? now - t->at : REST_MS) * rate : most;
    t->credit = t->credit < most ? t->credit : most;
    t->at = now;
    size_t n = (size_t)(t->credit / MILLI) < want ? (size_t)(t->credit / MILLI) : want;
    t->credit -= (int64_t)n * MILLI;
    if (n < want && t->hidden == 0) {
        t->since = now;
    }
    t->hidden += want - n;
    return n;
}

typedef struct {
    xo_log_field list[14];
    size_t n;
} fields;

static void add_text(fields *f, const char *name, const char *text)
{
    if (text && *text) {
        f->list[f->n++] = (xo_log_field){name, text, 0};
    }
}

static void add_number(fields *f, const char *name, int64_t n)
{
    f->list[f->n++] = (xo_log_field){name, NULL, n};
}

static void tell(const xonce_store *s, const xo_item *item, xo_tell_kind kind)
{
    const xonce_message *m = item->m;
    const xonce_error *e = &item->error.pub;
    xo_claimant cl;
    fields f = {.n = 0};
    char trace[XO_TRACE_ID + 1], span[XO_SPAN_ID + 1];
    const char *parent = xonce_message_traceparent(m);
    /* as the record has it, which is what `xonce explain` takes */
    (void)xo_claimant_init((xonce_store *)(uintptr_t)s, m, 0, &cl);
    size_t nid = strlen(cl.key), ngroup = strlen(s->group);
    if (nid > ngroup) {
        cl.key[nid - ngroup - 1] = 0;
    }
    add_text(&f, "topic", m->topic);
    add_text(&f, "id", cl.key[0] ? cl.key : m->id);
    add_text(&f, "group", s->group);
    add_number(&f, "attempt", m->attempt);
    if (m->offset >= 0) {
        add_text(&f, "broker", m->broker);
        add_number(&f, "queue", m->queue);
        add_number(&f, "offset", m->offset);
    }
    if (kind != XO_TELL_DUPLICATE && kind != XO_TELL_APPLIED) {
        add_text(&f, "cause", xonce_status_name(e->code));
        add_text(&f, "sqlstate", e->sqlstate);
        add_text(&f, "reason", e->text);
    }
    if (parent && xo_traceparent_parse(parent, trace, span)) {
        add_text(&f, "trace_id", trace);
        add_text(&f, "span_id", span);
    }
    xo_log_fields(kinds[kind].level, "consumer", f.list, f.n, "%s", kinds[kind].text);
}

void xo_tell_rest(xonce_consumer *c, int all)
{
    int64_t now = xo_mono_ms();
    uint64_t hidden[XO_TELL_KINDS] = {0};
    pthread_mutex_lock(&c->lock);
    for (size_t k = 0; k < XO_TELL_KINDS; k++) {
        xo_telling *t = &c->telling[k];
        if (t->hidden && (all || now - t->since >= REST_MS)) {
            hidden[k] = t->hidden;
            t->hidden = 0;
        }
    }
    pthread_mutex_unlock(&c->lock);
    for (size_t k = 0; k < XO_TELL_KINDS; k++) {
        if (hidden[k]) {
            const xo_log_field f[] = {{"messages", NULL, (int64_t)hidden[k]}, {"group", c->store->group, 0}};
            xo_log_fields(kinds[k].level, "consumer", f, 2, "%s", kinds[k].plural);
        }
    }
}

void xo_tell(xonce_consumer *c, const xonce_store *s, const xo_item *items, size_t n, int fine)
{
    size_t want[XO_TELL_KINDS + 1] = {0}, may[XO_TELL_KINDS + 1] = {0}, sum = 0;
    if (!xo_log_enabled(XO_WARN)) {
        return;
    }
    int most = xo_log_enabled(XO_DEBUG) ? XO_DEBUG : xo_log_enabled(XO_INFO) ? XO_INFO : XO_WARN;
    for (size_t i = 0; i < n; i++) {
        want[kind_of(&items[i], fine)]++;
    }
    for (size_t k = 0; k < XO_TELL_KINDS; k++) {
        want[k] = kinds[k].level <= most ? want[k] : 0;
        sum += want[k];
    }
    if (sum == 0) {
        return;
    }
    int64_t now = xo_mono_ms();
    pthread_mutex_lock(&c->lock);
    int64_t rate = xo_config_int(c->cfg, "log.rate");
    for (size_t k = 0; k < XO_TELL_KINDS; k++) {
        may[k] = want[k] ? allowance(&c->telling[k], rate, want[k], now) : 0;
    }
    pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < n; i++) {
        xo_tell_kind k = kind_of(&items[i], fine);
        if (may[k]) {
            may[k]--;
            tell(s, &items[i], k);
        }
    }
}
