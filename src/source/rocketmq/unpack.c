/* What a pull brought: stored messages become messages of ours, filtered exactly. */
#include "base/mem.h"
#include "source/rocketmq/data.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The subscription that a retry copy belongs to, by the topic of its original; its name without namespace is left in *topic (in space, or the record's own place). */
static const xo_rmq_sub *sub_of_retried(const xo_unpacked *u, const xo_record *r, xo_buf *space, const char **topic)
{
    size_t n;
    const char *wire = xo_record_property(r, "RETRY_TOPIC", 0, &n);
    *topic = NULL;
    if (!wire || n == 0 || n > 255 || memchr(wire, 0, n)) {
        return NULL;
    }
    char name[256];
    memcpy(name, wire, n);
    name[n] = 0;
    const char *plain = xo_cluster_unwrap(u->s->cluster, name, space);
    for (size_t i = 0; i < u->s->nsubs; i++) {
        if (strcmp(u->s->subs[i].topic, plain) == 0 || strcmp(u->s->subs[i].wire, name) == 0) {
            *topic = u->s->subs[i].topic;
            return &u->s->subs[i];
        }
    }
    if (plain != space->p) {
        xo_buf copy = {0};
        xo_buf_str(&copy, plain);
        xo_buf_free(space);
        *space = copy;
    }
    *topic = space->failed ? NULL : space->p;
    return NULL;
}

/* A copy of r in memory of its own, under the name that its topic is subscribed by: such copies are few and stay long. why: it cannot be unpacked and is to be rejected. */
static xonce_status copy(const xo_unpacked *u, const xo_record *r, const char *topic, const char *why, xonce_message **m)
{
    xo_record named = *r;
    named.topic = topic;
    named.ntopic = strlen(topic);
    return why ? xo_record_refused(&named, u->broker, why, m) : xo_record_message(&named, u->broker, m);
}

static xonce_status add(xo_unpacked *u, const xo_record *r, xonce_message *m, int ask)
{
    xo_pulled *items = xo_grow(u->items, &u->cap, u->n + 1, sizeof(*items));
    if (!items) {
        xonce_message_free(m);
        return xo_nomem();
    }
    u->items = items;
    items[u->n++] = (xo_pulled){.offset = r->queue_offset, .store_time = r->store_time, .log_offset = r->log_offset, .m = m, .ask = ask};
    u->next = r->queue_offset + 1;
    if (m) {
        m->mark = u->mark;
        m->copy_offset = r->queue_offset;
        m->copy_log_offset = r->log_offset;
    }
    return XONCE_OK;
}

/* A redelivery. Brokers give retry queues out unfiltered, and so do other clients take them: what failed once had been wanted. */
static xonce_status take_retried(xo_unpacked *u, const xo_record *r, const char *why)
{
    xo_buf space = {0};
    xonce_message *m;
    const char *topic;
    char reason[400];
    const xo_rmq_sub *sub = sub_of_retried(u, r, &space, &topic);
    if (!sub && !why) {
        snprintf(reason, sizeof(reason), topic ? "this consumer does not subscribe to its topic %s" : "it stands in the retry topic and does not say whence%s",
                 topic ? topic : "");
        why = reason;
    }
    xonce_status st = copy(u, r, topic ? topic : u->topic, why, &m);
    xo_buf_free(&space);
    if (st != XONCE_OK) {
        return st;
    }
    m->copy_topic = xo_strdup(u->topic);
    m->copy_broker = xo_strdup(u->broker);
    m->copy_queue = r->queue;
    m->copy_store_time = r->store_time;
    int known = m->copy_topic && m->copy_broker ? xo_origin_known(r, m) : -1;
    if (known < 0) {
        xonce_message_free(m);
        return xo_nomem();
    }
    return add(u, r, m, !known);
}

/* The dead letters of a batch's members share the batch's UNIQ_KEY; what tells them apart is where they came from. */
static xonce_status name_dead_letter(xonce_message *m)
{
    if (strncmp(m->topic, "%DLQ%", 5)) {
        return XONCE_OK;
    }
    const char *origin = xonce_message_property(m, "ORIGIN_MESSAGE_ID");
    if (!origin || !*origin) {
        return XONCE_OK;
    }
    m->uniq = xo_strdup(origin);
    return m->uniq ? XONCE_OK : xo_nomem();
}

static xonce_status take_first(xo_unpacked *u, const xo_record *r, const char *why)
{
    size_t len = 0;
    const char *tag = u->sub->filter.n ? xo_record_last_property(r, "TAGS", &len) : NULL; /* the one that the broker's filter looked at */
    if (!xo_filter_has(&u->sub->filter, tag, len)) {
        if (!xo_filter_has_code(&u->sub->filter, tag, len)) {
            u->conflict = 1;
            snprintf(u->stranger, sizeof(u->stranger), "%.*s", (int)(len < 100 ? len : 100), tag ? tag : "");
        }
        return add(u, r, NULL, 0);
    }
    xonce_message *m;
    xonce_status st = xo_record_put(r, u->pack, u->packed_topic, u->packed_broker, why, &m);
    if (st != XONCE_OK) {
        return st;
    }
    m->ordered = u->sub->ordered;
    if ((st = name_dead_letter(m)) != XONCE_OK) {
        xonce_message_free(m);
        return st;
    }
    return add(u, r, m, 0);
}

static xonce_status take(xo_unpacked *u, const xo_record *r, const char *why)
{
    if (r->queue_offset < u->next) {
        return XONCE_OK; /* the first members of a batch that was pulled from the middle on */
    }
    if (r->queue_offset == INT64_MAX) {
        return xo_fail(XONCE_E_PROTOCOL, "a message at offset %" PRId64 ", which cannot be", r->queue_offset);
    }
    return u->sub ? take_first(u, r, why) : take_retried(u, r, why);
}

static xonce_status take_member(const xo_record *r, void *arg)
{
    return take(arg, r, NULL);
}

static void drop_from(xo_unpacked *u, size_t n)
{
    while (u->n > n) {
        xonce_message_free(u->items[--u->n].m);
    }
}

/* About how many records there are, and room for them; what is no record ends it. */
static xonce_status make_room(xo_unpacked *u, xo_command *answer)
{
    enum { USUAL_PROPERTIES = 12, TEXTS = 96, RECORD_MIN = 90 };
    const char *topic = u->sub ? u->sub->topic : u->topic;
    const unsigned char *p = answer->body;
    size_t n = 0, size;
    for (size_t at = 0; answer->body_len - at >= 4; at += size, n++) {
        size = (size_t)p[at] << 24 | (size_t)p[at + 1] << 16 | (size_t)p[at + 2] << 8 | p[at + 3];
        if (size < 4 || size > answer->body_len - at) {
            break;
        }
    }
    n = 1 + (n < answer->body_len / RECORD_MIN ? n : answer->body_len / RECORD_MIN);
    u->pack = xo_pack_new(1024 + n * (sizeof(xonce_message) + USUAL_PROPERTIES * sizeof(xo_property) + TEXTS));
    u->items = xo_calloc(n, sizeof(*u->items));
    u->cap = n;
    if (!u->pack || !u->items || !xo_pack_keep(u->pack, answer->frame, answer->body_len + (size_t)(p - (const unsigned char *)answer->frame))) {
        return xo_nomem();
    }
    answer->frame = NULL;
    u->packed_topic = xo_arena_dup(&u->pack->memory, topic, strlen(topic));
    u->packed_broker = xo_arena_dup(&u->pack->memory, u->broker, strlen(u->broker));
    return u->packed_topic && u->packed_broker ? XONCE_OK : xo_nomem();
}

xonce_status xo_unpack(xo_unpacked *u, xo_command *answer)
{
    xo_record r;
    int more = 1;
    xonce_status st = make_room(u, answer);
    for (size_t at = 0; st == XONCE_OK;) {
        if ((st = xo_record_next(answer->body, answer->body_len, &at, &r, &more)) != XONCE_OK || !more) {
            break;
        }
        size_t before = u->n;
        int64_t next = u->next;
        st = xo_record_members(&r, u->pack, take_member, u);
        if (st == XONCE_E_PROTOCOL && u->last_try) {
            char why[sizeof(xonce_error_last()->text)];
            snprintf(why, sizeof(why), "%s", xonce_error_last()->text);
            drop_from(u, before);
            u->next = next;
            st = take(u, &r, why);
        }
    }
    return st;
}

void xo_unpacked_free(xo_unpacked *u)
{
    drop_from(u, 0);
    free(u->items);
    xo_pack_drop(u->pack);
    u->pack = NULL;
    u->items = NULL;
    u->cap = 0;
}
