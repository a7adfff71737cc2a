/* A message by its place at the broker: topic, queue and offset, for those whose id is not at hand and those that leave no record. */
#include "cli/story.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_RANGES = 100, NAME_MOST = 255 };

/* Digits alone. */
static int whole(const char *p, int64_t most, int64_t *out)
{
    if (!*p || p[strspn(p, "0123456789")]) {
        return 0;
    }
    errno = 0;
    long long v = strtoll(p, NULL, 10);
    *out = v;
    return errno == 0 && v <= most;
}

xonce_status xo_story_place_parse(xo_story_place *p, const char *text)
{
    *p = (xo_story_place){.topic = xo_strdup(text)};
    if (!p->topic) {
        return xo_nomem();
    }
    /* no topic has a '/', a broker may */
    char *broker = strchr(p->topic, '/'), *offset = strrchr(p->topic, '/'), *queue = NULL;
    if (broker && broker != offset) {
        *broker++ = 0;
        *offset++ = 0;
        queue = strrchr(broker, '/');
    }
    if (!queue || !*p->topic || queue == broker || strlen(p->topic) > NAME_MOST || queue - broker > NAME_MOST || !whole(queue + 1, INT32_MAX, &p->queue) || !whole(offset, INT64_MAX, &p->offset)) {
        xo_story_place_free(p);
        return xo_fail(XONCE_E_INVALID, "\"%.300s\" is no place; write TOPIC/BROKER/QUEUE/OFFSET, as orders/broker-a/0/4711", text);
    }
    *queue = 0;
    p->broker = xo_strdup(broker);
    if (!p->broker) {
        xo_story_place_free(p);
        return xo_nomem();
    }
    return XONCE_OK;
}

void xo_story_place_free(xo_story_place *p)
{
    free(p->topic);
    free(p->broker);
    *p = (xo_story_place){.topic = NULL};
}

/* The newest is the one that is meant; another one stood there before it, or in the other table. */
static int on_key(const xonce_row *r, void *arg)
{
    xo_story *s = arg;
    const char *key = xonce_row_text(r, 0);
    if (!s->key[0]) {
        size_t n = strlen(key);
        s->id = xo_story_id(s, key);
        memcpy(s->key, key, n < sizeof(s->key) ? n + 1 : 0);
    } else if (strcmp(s->key, key) != 0 && !s->other) {
        s->other = xo_story_id(s, key);
    }
    return 0;
}

static int on_range(const xonce_row *r, void *arg)
{
    xo_story *s = arg;
    xo_story_range *list = xo_grow(s->ranges, &s->cap_ranges, s->nranges + 1, sizeof(*list));
    if (!list) {
        s->failed = 1;
        return 1;
    }
    s->ranges = list;
    const char *tags = xonce_row_text(r, 5);
    list[s->nranges++] = (xo_story_range){.generation = xonce_row_int(r, 0),
                                          .first = xonce_row_int(r, 1),
                                          .next = xonce_row_int(r, 2),
                                          .last_stored = xonce_row_int(r, 3),
                                          .record_before = xonce_row_is_null(r, 4) ? -1 : xonce_row_int(r, 4),
                                          .tags = xo_story_text(s, tags, strlen(tags))};
    return s->nranges == MOST_RANGES;
}

static int on_queues(const xonce_row *r, void *arg)
{
    ((xo_story *)arg)->queues = xonce_row_int(r, 0);
    return 1;
}

/* There is no key on places, since it would cost each claim: the whole table is read. */
static xonce_status find_keys(xo_story *s, const char *table, const char *order, const xonce_value *v)
{
    char *sql = xo_printf("SELECT message_id FROM %s WHERE consumer_group = $1 AND topic_name = $2 AND broker_name = $3 AND queue_id = $4 AND %s = $5 ORDER BY %s DESC", table,
                          s->store->d->quoted_offset, order);
    xonce_status st = sql ? xo_store_query(s->store, sql, v, 5, on_key, s, NULL) : xo_nomem();
    free(sql);
    return st;
}

xonce_status xo_story_at(xo_story *s)
{
    const xo_story_place *p = s->at;
    xonce_value v[] = {xonce_text(s->store->group), xonce_text(p->topic), xonce_text(p->broker), xonce_int(p->queue), xonce_int(p->offset)};
    xonce_status st = find_keys(s, "transaction_record", "ctime", v);
    if (st == XONCE_OK && s->has_ours) {
        st = find_keys(s, "xonce_rejected", "id", v);
    }
    if (st == XONCE_OK && s->has_ours) {
        st = xo_store_query(s->store,
                            "SELECT generation, first_offset, next_offset, last_store_time, record_before, tags FROM xonce_settled"
                            " WHERE consumer_group = $1 AND topic_name = $2 AND broker_name = $3 AND queue_id = $4 ORDER BY generation",
                            v, 4, on_range, s, NULL);
    }
    if (st == XONCE_OK && s->has_ours) {
        st = xo_store_query(s->store, 
                            "SELECT COUNT(*) FROM (SELECT DISTINCT broker_name, queue_id FROM xonce_settled WHERE consumer_group = $1 AND topic_name = $2) q", v, 2, on_queues, s, NULL);
    }
    return st;
}

const xo_story_range *xo_story_holds(const xo_story *s, int64_t sent)
{
    for (size_t i = s->nranges; i > 0; i--) {
        const xo_story_range *r = &s->ranges[i - 1];
        if (r->first <= s->at->offset && s->at->offset < r->next && r->last_stored >= sent) {
            return r;
        }
    }
    return NULL;
}
