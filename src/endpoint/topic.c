/* Topics: finding and making them, their log of visible messages, their tags and groups. */
#include "endpoint/engine.h"
#include "endpoint/storage.h"
#include <stdlib.h>
#include <string.h>

xo_topic *xo_topic_find(xo_engine *e, const char *name)
{
    for (xo_link *l = e->topics.next; l != &e->topics; l = l->next) {
        xo_topic *t = XO_OF(xo_topic, link, l);
        if (strcmp(t->name, name) == 0)
            return t;
    }
    return NULL;
}

xo_topic *xo_topic_new(xo_engine *e, int64_t id, const char *name, xo_kind kind)
{
    xo_topic *t = xo_calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->name = xo_strdup(name);
    if (!t->name) {
        free(t);
        return NULL;
    }
    t->engine = e;
    t->id = id;
    t->kind = kind;
    xo_list_init(&t->groups);
    xo_list_init(&t->halves);
    xo_list_init(&t->due_halves);
    xo_list_init(&t->half_polls);
    xo_list_init(&t->timed);
    xo_list_push(&e->topics, &t->link);
    if (id >= e->next_topic)
        e->next_topic = id + 1;
    return t;
}

typedef struct {
    xo_op op;
    xo_topic *topic;
} topic_op;

static int topic_run(xo_op *op, xo_storage *s)
{
    xo_topic *t = XO_OF(topic_op, op, op)->topic;
    t->saved = 0; /* its kind may be another now */
    return xo_storage_topic(s, t);
}

static void topic_done(xo_op *op, int ok)
{
    (void)ok; /* its first message tries again */
    free(XO_OF(topic_op, op, op));
}

xo_topic *xo_topic_declare(xo_engine *e, const char *name, xo_kind kind)
{
    topic_op *o = xo_calloc(1, sizeof *o);
    xo_topic *t = o ? xo_topic_find(e, name) : NULL;
    if (o && !t)
        t = xo_topic_new(e, e->next_topic, name, kind);
    if (!t) {
        free(o);
        return NULL;
    }
    t->kind = kind;
    o->topic = t;
    o->op.run = topic_run;
    o->op.done = topic_done;
    xo_engine_write(e, &o->op);
    return t;
}

const xo_tag *xo_tag_get(xo_topic *t, const char *text)
{
    size_t n = strlen(text);
    uint64_t hash = xo_hash(text, n);
    for (xo_mapped *m = xo_map_first(&t->tags, hash); m; m = xo_map_again(m))
        if (strcmp(XO_OF(xo_tag, by_text, m)->text, text) == 0)
            return XO_OF(xo_tag, by_text, m);
    xo_tag *tag = xo_calloc(1, sizeof *tag + n + 1);
    if (!tag)
        return NULL;
    memcpy(tag->text, text, n);
    xo_map_put(&t->tags, &tag->by_text, hash);
    return tag;
}

xo_entry *xo_topic_entry(const xo_topic *t, int64_t pos)
{
    size_t i = (size_t)(pos - t->chunk_pos);
    return &t->chunks[i / XO_LOG_CHUNK][i % XO_LOG_CHUNK];
}

int xo_topic_reserve(xo_topic *t)
{
    size_t need = (size_t)(t->next_pos + t->pending - t->chunk_pos) / XO_LOG_CHUNK + 1;
    while (t->nchunks < need) {
        xo_entry **grown = xo_grow(t->chunks, &t->cap_chunks, t->nchunks + 1, sizeof *grown);
        if (!grown)
            return -1;
        t->chunks = grown;
        xo_entry *chunk = xo_calloc(XO_LOG_CHUNK, sizeof *chunk);
        if (!chunk)
            return -1;
        t->chunks[t->nchunks++] = chunk;
    }
    t->pending++;
    return 0;
}

void xo_topic_unreserve(xo_topic *t)
{
    t->pending--;
}

void xo_topic_append(xo_topic *t, const xo_entry *entry, int64_t pos)
{
    *xo_topic_entry(t, pos) = *entry;
    t->pending--;
    t->next_pos = t->kept.next_pos = pos + 1;
    if (entry->offset >= t->kept.offsets[entry->queue])
        t->kept.offsets[entry->queue] = entry->offset + 1;
    xo_topic_touch(t);
}

/* Groups first: they still look at the entries. */
void xo_topic_forget(xo_topic *t, int64_t base)
{
    if (base <= t->base_pos)
        return;
    for (xo_link *l = t->groups.next; l != &t->groups; l = l->next)
        xo_group_forget(XO_OF(xo_group, link, l), base);
    t->base_pos = base;
    size_t whole = (size_t)(base - t->chunk_pos) / XO_LOG_CHUNK;
    if (whole > t->nchunks)
        whole = t->nchunks;
    for (size_t i = 0; i < whole; i++)
        free(t->chunks[i]);
    if (whole) {
        memmove(t->chunks, t->chunks + whole, (t->nchunks - whole) * sizeof *t->chunks);
        t->nchunks -= whole;
        t->chunk_pos += (int64_t)(whole * XO_LOG_CHUNK);
    }
}

void xo_topic_touch(xo_topic *t)
{
    if (!xo_linked(&t->touched))
        xo_list_push(&t->engine->touched, &t->touched);
}

xo_group *xo_group_new(xo_topic *t, int64_t id, const char *name, int64_t floor)
{
    xo_group *g = xo_calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->name = xo_strdup(name);
    if (!g->name) {
        free(g);
        return NULL;
    }
    g->topic = t;
    g->id = id;
    g->floor = g->cursor = g->state_pos = floor > t->base_pos ? floor : t->base_pos;
    g->floor_saved = floor;
    xo_list_init(&g->all);
    xo_list_init(&g->eligible);
    xo_list_init(&g->twins);
    xo_list_init(&g->unsaved);
    xo_list_init(&g->polls);
    xo_list_push(&t->groups, &g->link);
    if (id >= t->engine->next_group)
        t->engine->next_group = id + 1;
    return g;
}

xo_group *xo_group_get(xo_topic *t, const char *name)
{
    for (xo_link *l = t->groups.next; l != &t->groups; l = l->next) {
        xo_group *g = XO_OF(xo_group, link, l);
        if (strcmp(g->name, name) == 0)
            return g;
    }
    return xo_group_new(t, t->engine->next_group, name, 0);
}

void xo_topic_free(xo_topic *t)
{
    while (!xo_list_empty(&t->groups)) {
        xo_group *g = XO_OF(xo_group, link, t->groups.next);
        xo_list_remove(&g->link);
        xo_group_clear(g);
        free(g->name);
        free(g);
    }
    while (!xo_list_empty(&t->halves))
        xo_half_free(XO_OF(xo_half, link, t->halves.next));
    while (!xo_list_empty(&t->timed)) {
        xo_timed *d = XO_OF(xo_timed, link, t->timed.next);
        xo_list_remove(&d->link);
        xo_timer_clear(&t->engine->timers, &d->timer);
        free(d);
    }
    for (xo_mapped *m; (m = xo_map_any(&t->tags));) {
        xo_map_remove(&t->tags, m);
        free(XO_OF(xo_tag, by_text, m));
    }
    xo_map_free(&t->tags);
    for (size_t i = 0; i < t->nchunks; i++)
        free(t->chunks[i]);
    free(t->chunks);
    xo_list_remove(&t->touched);
    xo_list_remove(&t->link);
    free(t->name);
    free(t);
}
