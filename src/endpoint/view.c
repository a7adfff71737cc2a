/* What the endpoint's page shows, as JSON: figures, faults, topics with their queues and groups, what is in flight, messages. */
#include "base/text.h"
#include "endpoint/request.h"
#include "endpoint/storage.h"
#include <stdlib.h>
#include <string.h>

/* The lock is held meanwhile: so much is looked at, and no more. */
enum { TOPICS_MAX = 100, GROUPS_MAX = 50, FLIGHTS_MAX = 50, HANDLES_MAX = 4096, LIST_MAX = 10000, MESSAGES_MAX = XO_POLL_MAX, BODY_MAX = 16 * 1024 };
#define POSITIONS_MAX INT64_C(200000)

/* Adds v to list. A list that lost something is none: *failed. */
static void add(json_t *list, json_t *v, int *failed)
{
    *failed |= json_array_append_new(list, v) != 0;
}

static json_int_t length(const xo_link *head)
{
    json_int_t n = 0;
    for (const xo_link *l = head->next; l != head && n < LIST_MAX; l = l->next)
        n++;
    return n;
}

static json_t *numbers(const int64_t *v, size_t n)
{
    json_t *list = json_array();
    int failed = !list;
    for (size_t i = 0; !failed && i < n; i++)
        add(list, json_integer(v[i]), &failed);
    if (!failed)
        return list;
    json_decref(list);
    return NULL;
}

/* ---- topics ---- */

static json_t *view_group(const xo_group *g, int64_t *budget)
{
    int64_t lag, queues[XO_QUEUES];
    int exact = xo_group_lag(g, budget, &lag, queues);
    return json_pack("{s:s,s:I,s:I,s:I,s:o}", "name", g->name, "lag", (json_int_t)lag, "in_flight", (json_int_t)g->out, "polls", length(&g->polls),
                     "queues", exact ? numbers(queues, XO_QUEUES) : json_null());
}

static json_t *view_topic(const xo_topic *t, int64_t *budget)
{
    static const char *const kinds[] = {
        [XO_KIND_ANY] = "any", [XO_KIND_ORDERED] = "ordered", [XO_KIND_TIMED] = "timed", [XO_KIND_TRANSACTION] = "transaction"};
    json_t *groups = json_array();
    int failed = !groups, n = 0;
    for (const xo_link *l = t->groups.next; l != &t->groups && n < GROUPS_MAX; l = l->next, n++)
        add(groups, view_group(XO_OF(xo_group, link, l), budget), &failed);
    if (failed) {
        json_decref(groups);
        return NULL;
    }
    return json_pack("{s:s,s:s,s:I,s:I,s:I,s:o,s:o}", "name", t->name, "kind", kinds[t->kind], "stored", (json_int_t)(t->next_pos - t->base_pos),
                     "timed", length(&t->timed), "halves", length(&t->halves), "offsets", numbers(t->kept.offsets, XO_QUEUES), "groups", groups);
}

static json_t *view_topics(const xo_engine *e)
{
    int64_t budget = POSITIONS_MAX;
    json_t *topics = json_array();
    int failed = !topics, n = 0;
    for (const xo_link *l = e->topics.next; l != &e->topics && n < TOPICS_MAX; l = l->next, n++)
        add(topics, view_topic(XO_OF(xo_topic, link, l), &budget), &failed);
    if (!failed)
        return topics;
    json_decref(topics);
    return NULL;
}

/* ---- in flight ---- */

static int soonest(const void *a, const void *b)
{
    const xo_handle *x = *(const xo_handle *const *)a, *y = *(const xo_handle *const *)b;
    return x->timer.at < y->timer.at ? -1 : x->timer.at > y->timer.at;
}

static json_t *view_handle(const xo_handle *h, int64_t wall, int64_t mono)
{
    const xo_node *n = h->node;
    const xo_entry *entry = xo_topic_entry(h->topic, n->pos);
    char id[33];
    xo_hex(id, entry->id, sizeof entry->id, 1);
    return json_pack("{s:s,s:s,s:s,s:s*,s:i,s:I,s:i,s:I,s:I}", "topic", h->topic->name, "group", h->group->name, "id", id, "tag",
                     entry->tag ? entry->tag->text : NULL, "queue", (int)entry->queue, "offset", (json_int_t)entry->offset, "times", n->times, "first",
                     (json_int_t)n->first, "again", (json_int_t)(wall + h->timer.at - mono));
}

/* Those that come again soonest, of the first HANDLES_MAX. */
static json_t *view_flights(const xo_engine *e)
{
    const xo_handle **found = xo_calloc(HANDLES_MAX, sizeof *found);
    json_t *list = json_array();
    int failed = !found || !list;
    size_t n = 0;
    int64_t wall = xo_engine_now(e), mono = xo_mono_ms();
    for (const xo_mapped *m = NULL; !failed && n < HANDLES_MAX && (m = xo_map_next(&e->handles, m));) {
        const xo_handle *h = XO_OF(xo_handle, by_text, m);
        if (h->node && h->group && h->node->pos >= h->topic->base_pos)
            found[n++] = h;
    }
    if (n)
        qsort(found, n, sizeof(*found), soonest);
    for (size_t i = 0; !failed && i < n && i < FLIGHTS_MAX; i++)
        add(list, view_handle(found[i], wall, mono), &failed);
    free(found);
    if (!failed)
        return list;
    json_decref(list);
    return NULL;
}

/* ---- the whole ---- */

static json_t *view_faults(const xo_faults *f, const xo_engine_counts *c, int64_t errors, int64_t cuts)
{
    return json_pack("{s:{s:f,s:I},s:{s:f,s:I},s:{s:f,s:I,s:i},s:{s:f,s:I},s:I,s:b,s:I}", "duplicate", "chance", f->duplicate, "made",
                     (json_int_t)c->duplicated, "lose_ack", "chance", f->lose_ack, "made", (json_int_t)c->acks_lost, "error", "chance", f->error,
                     "made", (json_int_t)errors, "status", f->error_status, "cut", "chance", f->cut, "made", (json_int_t)cuts, "delay_ack_ms",
                     (json_int_t)f->delay_ack_ms, "reorder", f->reorder, "clock_skew_ms", (json_int_t)f->clock_skew_ms);
}

static int64_t of_accepted(const xo_engine_counts *c)
{
    return c->accepted;
}

static int64_t of_handed_out(const xo_engine_counts *c)
{
    return c->handed_out;
}

static int64_t of_acknowledged(const xo_engine_counts *c)
{
    return c->acked;
}

/* The engine's redelivered are all that were handed out before, duplicates on order among them. */
static int64_t of_again(const xo_engine_counts *c)
{
    return c->redelivered - c->duplicated;
}

static int64_t of_duplicates(const xo_engine_counts *c)
{
    return c->duplicated;
}

static json_t *view_counts(const xo_engine_counts *c, int64_t requests)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "requests", (json_int_t)requests, "accepted", (json_int_t)c->accepted,
                     "handed_out", (json_int_t)c->handed_out, "again", (json_int_t)of_again(c), "duplicates",
                     (json_int_t)c->duplicated, "acknowledged", (json_int_t)c->acked, "committed", (json_int_t)c->half_committed, "rolled_back",
                     (json_int_t)c->half_rolled_back, "commits", (json_int_t)c->commits, "gone", (json_int_t)c->dead_peers, "given_up",
                     (json_int_t)c->dead_letters);
}

/* What was added in each step of the last minutes. */
static json_t *view_series(const xo_engine *e)
{
    static const struct {
        const char *name;
        int64_t (*of)(const xo_engine_counts *c);
    } each[] = {{"accepted", of_accepted}, {"handed_out", of_handed_out}, {"acknowledged", of_acknowledged}, {"again", of_again}, {"duplicates", of_duplicates}};
    json_t *series = json_pack("{s:i}", "step_ms", XO_STEP_MS);
    int failed = !series;
    for (size_t k = 0; k < sizeof each / sizeof each[0] && !failed; k++) {
        json_t *list = json_array();
        for (size_t i = 1; list && i < e->series.n; i++)
            add(list, json_integer(each[k].of(&e->points[xo_series_at(&e->series, i)]) - each[k].of(&e->points[xo_series_at(&e->series, i - 1)])), &failed);
        failed |= json_object_set_new(series, each[k].name, list) != 0;
    }
    if (!failed)
        return series;
    json_decref(series);
    return NULL;
}

json_t *xo_view_state(xo_endpoint *ep)
{
    xo_engine *e = ep->engine;
    pthread_mutex_lock(&ep->lock);
    int64_t requests = ep->requests, errors = ep->errors_made, cuts = ep->cuts_made;
    pthread_mutex_unlock(&ep->lock);
    xo_engine_lock(e);
    xo_engine_counts c = e->counts;
    xo_faults faults = ep->faults;
    json_t *topics = view_topics(e), *flights = view_flights(e), *series = view_series(e);
    json_int_t ntopics = length(&e->topics);
    xo_engine_unlock(e);
    return json_pack("{s:I,s:I,s:s,s:s,s:b,s:b,s:b,s:I,s:I,s:o,s:o,s:o,s:I,s:o,s:o}", "now", (json_int_t)xo_now_ms(), "started", (json_int_t)ep->started,
                     "url", ep->url, "instance", ep->instance, "checked", ep->check, "strict", ep->strict, "sync", e->opt.sync, "redeliver_ms",
                     (json_int_t)e->opt.redeliver_ms, "redeliver_ordered_ms", (json_int_t)e->opt.redeliver_ordered_ms, "counts",
                     view_counts(&c, requests), "faults", view_faults(&faults, &c, errors, cuts), "topics", topics, "topics_in_all", ntopics,
                     "in_flight", flights, "series", series);
}

/* ---- messages ---- */

typedef struct {
    int64_t pos;
    xo_entry entry;
    json_t *groups;
} seen;

/* How far each group is with it: "waiting", "out" (or coming again), "done". */
static json_t *view_progress(const xo_topic *t, int64_t pos)
{
    static const char *const states[] = {"waiting", "out", "done"};
    json_t *groups = json_object();
    int failed = !groups, n = 0;
    for (const xo_link *l = t->groups.next; !failed && l != &t->groups && n < GROUPS_MAX; l = l->next, n++) {
        const xo_group *g = XO_OF(xo_group, link, l);
        failed = json_object_set_new(groups, g->name, json_string(states[xo_group_state(g, pos) % 3])) != 0;
    }
    if (!failed)
        return groups;
    json_decref(groups);
    return NULL;
}

static json_t *view_message(const seen *s, const xo_content *c)
{
    char id[33];
    xo_hex(id, s->entry.id, sizeof s->entry.id, 1);
    size_t shown = c->body_len < BODY_MAX ? c->body_len : BODY_MAX;
    while (shown < c->body_len && shown && ((unsigned char)c->body[shown] & 0xc0) == 0x80)
        shown--; /* not in the middle of a character */
    json_t *body = json_stringn(c->body, shown);
    if (!body)
        body = json_string("(not UTF-8)");
    return json_pack("{s:s,s:I,s:i,s:I,s:I,s:I,s:s*,s:s*,s:I,s:o,s:O}", "id", id, "pos", (json_int_t)s->pos, "queue", (int)s->entry.queue, "offset",
                     (json_int_t)s->entry.offset, "born", (json_int_t)s->entry.born, "visible", (json_int_t)s->entry.at, "tag", c->tag, "properties",
                     c->properties, "size", (json_int_t)c->body_len, "body", body, "groups", s->groups);
}

/* The bodies are read without the engine's lock; what was pruned meanwhile is left out. */
static json_t *view_read(xo_endpoint *ep, const seen *s, int n)
{
    xo_content content[MESSAGES_MAX];
    xo_pick picks[MESSAGES_MAX];
    memset(content, 0, sizeof content);
    memset(picks, 0, sizeof picks);
    for (int i = 0; i < n; i++)
        picks[i].n = s[i].entry.n;
    json_t *list = json_array();
    int failed = !list || xo_storage_read(ep->engine->storage, picks, n, content) != 0;
    for (int i = 0; i < n; i++) {
        if (!failed && content[i].body)
            add(list, view_message(&s[i], &content[i]), &failed);
        xo_content_free(&content[i]);
    }
    if (!failed)
        return list;
    json_decref(list);
    return NULL;
}

json_t *xo_view_messages(xo_endpoint *ep, const char *topic, int64_t before, unsigned *why)
{
    seen s[MESSAGES_MAX];
    int n = 0, failed = 0;
    memset(s, 0, sizeof s);
    xo_engine_lock(ep->engine);
    const xo_topic *t = xo_topic_find(ep->engine, topic);
    int64_t base = t ? t->base_pos : 0, from = t ? t->next_pos : 0;
    if (t && before >= 0 && before < from)
        from = before;
    for (int64_t pos = from - 1; t && pos >= base && n < MESSAGES_MAX; pos--, n++) {
        s[n] = (seen){.pos = pos, .entry = *xo_topic_entry(t, pos), .groups = view_progress(t, pos)};
        failed |= !s[n].groups;
    }
    xo_engine_unlock(ep->engine);
    if (!t)
        *why = MHD_HTTP_NOT_FOUND;
    json_t *list = t && !failed ? view_read(ep, s, n) : NULL;
    int64_t last = n ? s[n - 1].pos : base;
    for (int i = 0; i < n; i++)
        json_decref(s[i].groups);
    return list ? json_pack("{s:s,s:I,s:b,s:o}", "topic", topic, "next", (json_int_t)last, "more", last > base, "messages", list) : NULL;
}
