/* libxonce-test: waiting until a group has settled, and looking at what it has not. */
#include "base/text.h"
#include "endpoint/inside.h"
#include "endpoint/look.h"
#include "endpoint/storage.h"
#include "testing/testing.h"
#include <stdlib.h>
#include <string.h>

/* ---- tags ---- */

typedef struct {
    char *text;          /* that all stand in */
    const char **items;  /* n of them; none: all tags */
    size_t n, cap;
} tag_list;

static void tags_free(tag_list *l)
{
    free(l->text);
    free(l->items);
}

/* "a || b"; NULL, "" and "*" are all. On failure l must be freed as well. */
static xonce_status tags_read(tag_list *l, const char *tags)
{
    memset(l, 0, sizeof *l);
    if (!tags || strcmp(tags, "*") == 0)
        return XONCE_OK;
    l->text = xo_strdup(tags);
    if (!l->text)
        return xo_nomem();
    for (char *p = l->text, *bar; p; p = bar ? bar + 2 : NULL) {
        bar = strstr(p, "||");
        if (bar)
            *bar = 0;
        p += strspn(p, " ");
        p[strcspn(p, " ")] = 0;
        if (!*p)
            continue;
        const char **grown = xo_grow(l->items, &l->cap, l->n + 1, sizeof *grown);
        if (!grown)
            return xo_nomem();
        l->items = grown;
        l->items[l->n++] = p;
    }
    return XONCE_OK;
}

static xonce_status no_topic(const char *topic)
{
    return xo_fail(XONCE_E_NOT_FOUND, "there is no topic %.255s: nothing was sent to it and nobody asked for it", topic);
}

/* ---- waiting ---- */

typedef struct {
    const xo_node *node;
    char id[33];
} oldest;

static void note_oldest(const xo_node *n, xo_handle *newest, void *arg)
{
    oldest *o = arg;
    (void)newest;
    if (!o->node || n->pos < o->node->pos)
        o->node = n;
}

/* What is missing, with the lock held. */
static xonce_status too_late(const xo_topic *topic, const char *group, const tag_list *tags)
{
    const xo_group *g = xo_look_group(topic, group);
    xo_look look;
    xo_look_at(topic, g, tags->items, tags->n, &look);
    if (!g)
        return xo_fail(XONCE_E_TIMEOUT, "group %.128s has not asked for topic %.255s yet: %lld messages wait", group, topic->name, (long long)look.messages);
    oldest o = {0};
    xo_look_out(topic, g, note_oldest, &o);
    (void)xo_fail(XONCE_E_TIMEOUT, "group %.128s has settled %lld of %lld messages of topic %.128s: %lld in flight, %lld waiting, %lld delayed", group,
                  (long long)look.settled, (long long)look.messages, topic->name, (long long)look.in_flight, (long long)look.waiting, (long long)look.timed);
    if (!o.node)
        return XONCE_E_TIMEOUT;
    char text[sizeof xonce_error_last()->text];
    memcpy(text, xonce_error_last()->text, sizeof text);
    xo_hex(o.id, xo_topic_entry(topic, o.node->pos)->id, 16, 1);
    return xo_fail(XONCE_E_TIMEOUT, "%.400s; %s was handed out %d times", text, o.id, o.node->times);
}

xonce_status xonce_test_wait(xonce_test *t, const char *topic, const char *group, const char *tags, int64_t timeout_ms)
{
    int64_t until = xo_mono_ms() + (timeout_ms > 0 ? timeout_ms : 0);
    tag_list list;
    xonce_status st = tags_read(&list, tags);
    if (st == XONCE_OK) {
        xo_engine_lock(t->engine);
        const xo_topic *found = xo_topic_find(t->engine, topic);
        if (!found)
            st = no_topic(topic);
        /* every change of what is settled ends in a COMMIT of the writer's, who then tells */
        while (st == XONCE_OK && !xo_look_settled(found, xo_look_group(found, group), list.items, list.n))
            if (xo_mono_ms() >= until || xo_cond_wait_ms(&t->engine->written, &t->engine->lock, until) != 0)
                st = xo_look_settled(found, xo_look_group(found, group), list.items, list.n) ? XONCE_OK : too_late(found, group, &list);
        xo_engine_unlock(t->engine);
    }
    tags_free(&list);
    return xo_testing_told(st);
}

xonce_status xonce_test_look(xonce_test *t, const char *topic, const char *group, const char *tags, xonce_test_progress *out)
{
    xo_look look = {0};
    tag_list list;
    xonce_status st = tags_read(&list, tags);
    if (st == XONCE_OK && out->size != sizeof *out)
        st = xo_fail(XONCE_E_INVALID, "xonce_test_progress.size is %zu: set it to sizeof(xonce_test_progress)", out->size);
    if (st == XONCE_OK) {
        xo_engine_lock(t->engine);
        const xo_topic *found = xo_topic_find(t->engine, topic);
        if (found)
            xo_look_at(found, xo_look_group(found, group), list.items, list.n, &look);
        else
            st = no_topic(topic);
        xo_engine_unlock(t->engine);
    }
    tags_free(&list);
    if (st == XONCE_OK)
        *out = (xonce_test_progress){sizeof *out, look.messages, look.settled, look.in_flight, look.waiting, look.timed, look.halves};
    return xo_testing_told(st);
}

/* ---- in flight ---- */

typedef struct {
    xo_pick pick;
    const xo_tag *tag; /* lives as long as its topic */
    int32_t queue;
    int64_t offset, again;
} flight;
typedef struct {
    flight *all;
    size_t n, cap;
    int failed;
} flights;

static void note_flight(const xo_node *n, xo_handle *newest, void *arg)
{
    flights *l = arg;
    const xo_entry *e = xo_topic_entry(n->group->topic, n->pos);
    flight *grown = l->failed ? NULL : xo_grow(l->all, &l->cap, l->n + 1, sizeof *grown);
    if (!grown) {
        l->failed = 1;
        return;
    }
    l->all = grown;
    flight *f = &l->all[l->n++];
    *f = (flight){.pick = {.n = e->n, .first = n->first, .times = n->times}, .tag = e->tag, .queue = e->queue, .offset = e->offset, .again = newest->timer.at};
    memcpy(f->pick.id, e->id, sizeof e->id);
}

static int by_first(const void *a, const void *b)
{
    const flight *x = a, *y = b;
    if (x->pick.first != y->pick.first)
        return x->pick.first < y->pick.first ? -1 : 1;
    return x->pick.n < y->pick.n ? -1 : x->pick.n > y->pick.n;
}

static xonce_status show(xo_engine *e, const flight *f, void (*fn)(const xonce_test_flight *f, void *arg), void *arg)
{
    xo_content text = {0};
    char id[33];
    if (xo_storage_read(e->storage, &f->pick, 1, &text) != 0)
        return xo_fail(XONCE_E_SQL, "the endpoint's folder cannot be read");
    xo_hex(id, f->pick.id, sizeof f->pick.id, 1);
    int64_t left = f->again - xo_mono_ms();
    const xonce_test_flight out = {.size = sizeof out, .id = id, .tag = f->tag ? f->tag->text : "", .body = text.body, .len = text.body_len,
                                   .queue = f->queue, .offset = f->offset, .times = f->pick.times, .first_ms = f->pick.first, .again_in_ms = left > 0 ? left : 0};
    if (text.body) /* else it was pruned meanwhile */
        fn(&out, arg);
    xo_content_free(&text);
    return XONCE_OK;
}

xonce_status xonce_test_in_flight(xonce_test *t, const char *topic, const char *group, void (*fn)(const xonce_test_flight *f, void *arg), void *arg)
{
    flights l = {0};
    xo_engine_lock(t->engine);
    const xo_topic *found = xo_topic_find(t->engine, topic);
    const xo_group *g = found ? xo_look_group(found, group) : NULL;
    if (g)
        xo_look_out(found, g, note_flight, &l);
    xo_engine_unlock(t->engine);
    xonce_status st = !found ? no_topic(topic) : l.failed ? xo_nomem() : XONCE_OK;
    if (l.n)
        qsort(l.all, l.n, sizeof *l.all, by_first);
    for (size_t i = 0; st == XONCE_OK && i < l.n; i++)
        st = show(t->engine, &l.all[i], fn, arg);
    free(l.all);
    return xo_testing_told(st);
}

typedef struct {
    xo_engine *engine;
    int64_t n;
} expiring;

/* All handles of a message end, else it would wait for the last. */
static void expire(const xo_node *n, xo_handle *newest, void *arg)
{
    expiring *x = arg;
    (void)newest;
    for (xo_link *l = n->handles.next; l != &n->handles; l = l->next) {
        xo_handle *h = XO_OF(xo_handle, of, l);
        xo_engine_timer(x->engine, &h->timer, xo_mono_ms(), h->timer.fire);
    }
    x->n++;
}

xonce_status xonce_test_expire(xonce_test *t, const char *topic, const char *group, int64_t *n)
{
    expiring x = {t->engine, 0};
    xo_engine_lock(t->engine);
    const xo_topic *found = xo_topic_find(t->engine, topic);
    const xo_group *g = found ? xo_look_group(found, group) : NULL;
    if (g)
        xo_look_out(found, g, expire, &x);
    xo_engine_unlock(t->engine);
    if (n)
        *n = x.n;
    return found ? XONCE_OK : xo_testing_told(no_topic(topic));
}

/* ---- figures ---- */

xonce_status xonce_test_count(xonce_test *t, xonce_test_counts *out)
{
    if (out->size != sizeof *out)
        return xo_testing_told(xo_fail(XONCE_E_INVALID, "xonce_test_counts.size is %zu: set it to sizeof(xonce_test_counts)", out->size));
    xo_figures f;
    xo_endpoint_figures(t->ep, &f);
    *out = (xonce_test_counts){.size = sizeof *out,
                               .requests = f.requests,
                               .accepted = f.engine.accepted,
                               .handed_out = f.engine.handed_out,
                               .again = f.engine.redelivered,
                               .duplicates = f.engine.duplicated,
                               .acknowledged = f.engine.acked,
                               .acks_lost = f.engine.acks_lost,
                               .errors = f.errors,
                               .cuts = f.cuts};
    return XONCE_OK;
}
