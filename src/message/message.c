/* One message: making, copying, properties, getters. */
#include "message/message.h"
#include "base/clock.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than 32 KiB of properties, which is all that a broker keeps, can hold; a name is looked up among all. */
enum { PROPERTIES_MAX = 8192 };

static char nothing[1];

void xo_message_defaults(xonce_message *m)
{
    m->broker = nothing;
    m->queue = -1;
    m->offset = m->store_time = m->born_time = m->log_offset = -1;
    m->copy_offset = m->copy_log_offset = -1;
    m->claim_from = m->claim_generation = m->claim_epoch = -1;
    m->attempt = 1;
    m->expires_mono = INT64_MAX;
}

/* Struct, topic, id and (when copied) body are one block. */
static xonce_status make(xonce_message **out, const char *topic, const char *id, const void *body, size_t len, int copy_body)
{
    *out = NULL;
    size_t ntopic = topic ? strlen(topic) : 0, nid = id ? strlen(id) : 0, all;
    if (ntopic == 0 || ntopic > 255) {
        return xo_fail(XONCE_E_INVALID, "a message needs a topic of 1 to 255 bytes");
    }
    if (id && nid == 0) {
        return xo_fail(XONCE_E_INVALID, "the id of a message must not be empty");
    }
    if (!body && len > 0) {
        return xo_fail(XONCE_E_INVALID, "the body of a message is NULL but has %zu bytes", len);
    }
    if (__builtin_add_overflow(sizeof(xonce_message) + ntopic + 1 + 1, nid, &all) ||
        (copy_body && (__builtin_add_overflow(all, len, &all) || __builtin_add_overflow(all, 1, &all)))) {
        return xo_nomem();
    }
    xonce_message *m = malloc(all);
    if (!m) {
        return xo_nomem();
    }
    memset(m, 0, sizeof(*m));
    char *p = (char *)(m + 1);
    m->topic = memcpy(p, topic, ntopic + 1);
    p += ntopic + 1;
    m->id = memcpy(p, id ? id : "", nid + 1);
    p += nid + 1;
    m->body = body ? body : nothing;
    m->body_len = len;
    if (copy_body) {
        if (len) {
            memcpy(p, body, len);
        }
        p[len] = 0;
        m->body = p;
    }
    xo_message_defaults(m);
    m->polled_boot = xo_boot_ms();
    *out = m;
    return XONCE_OK;
}

xonce_status xonce_message_new(xonce_message **out, const char *topic, const char *id, const void *body, size_t len)
{
    return make(out, topic, id, body, len, 1);
}

xonce_status xonce_message_wrap(xonce_message **out, const char *topic, const char *id, const void *body, size_t len,
                                void (*release)(void *owner), void *owner)
{
    xonce_status rc = make(out, topic, id, body, len, 0);
    if (rc == XONCE_OK) {
        (*out)->release = release;
        (*out)->owner = owner;
    }
    return rc;
}

/* Most messages own none of these. */
static void free_texts(xonce_message *m)
{
    char *const texts[] = {m->own_body, m->own_broker, m->handle, m->uniq, m->refuse, m->copy_topic, m->copy_broker};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i]) {
            free(texts[i]);
        }
    }
}

void xonce_message_free(xonce_message *m)
{
    if (!m) {
        return;
    }
    if (m->release) {
        m->release(m->owner);
    }
    if (m->cap_properties) {
        for (size_t i = 0; i < m->nproperties; i++) {
            free(m->properties[i].name);
        }
        free(m->properties);
    }
    free_texts(m);
    if (m->pack) {
        xo_pack_drop(m->pack);
    } else {
        free(m);
    }
}

static xo_property *find(const xonce_message *m, const char *name, size_t n)
{
    for (size_t i = 0; i < m->nproperties; i++) {
        const char *own = m->properties[i].name;
        if (own[0] == name[0] && strncmp(own, name, n) == 0 && own[n] == 0) {
            return &m->properties[i];
        }
    }
    return NULL;
}

/* Name and value as one block, which the name points to. NULL: no memory. */
static char *pair_block(const char *name, size_t nname, const char *value, size_t nvalue)
{
    size_t all;
    char *p = __builtin_add_overflow(nname, nvalue, &all) || all > SIZE_MAX - 2 ? NULL : malloc(all + 2);
    if (p) {
        memcpy(p, name, nname);
        p[nname] = 0;
        if (nvalue) {
            memcpy(p + nname + 1, value, nvalue);
        }
        p[all + 1] = 0;
    }
    return p;
}

/* What was the pack's becomes the message's own. 0: no memory. */
static int own_properties(xonce_message *m)
{
    size_t n = m->nproperties;
    xo_property *list = xo_calloc(n, sizeof(*list));
    for (size_t i = 0; list && i < n; i++) {
        size_t nname = strlen(m->properties[i].name);
        list[i].name = pair_block(m->properties[i].name, nname, m->properties[i].value, strlen(m->properties[i].value));
        if (!list[i].name) {
            while (i > 0) {
                free(list[--i].name);
            }
            free(list);
            return 0;
        }
        list[i].value = list[i].name + nname + 1;
    }
    if (list) {
        m->properties = list;
        m->cap_properties = n;
    }
    return list != NULL;
}

xonce_status xo_message_put(xonce_message *m, const char *name, size_t nname, const char *value, size_t nvalue)
{
    if (nname == 0) {
        return xo_fail(XONCE_E_INVALID, "a property needs a name");
    }
    if (memchr(name, 0, nname) || (nvalue && memchr(value, 0, nvalue))) {
        return xo_fail(XONCE_E_INVALID, "a property holds a zero byte");
    }
    if (m->nproperties && !m->cap_properties && !own_properties(m)) {
        return xo_nomem();
    }
    xo_property *p = find(m, name, nname);
    if (!p && m->nproperties == PROPERTIES_MAX) {
        return xo_fail(XONCE_E_INVALID, "a message has at most %d properties", PROPERTIES_MAX);
    }
    if (!p) {
        xo_property *list = xo_grow(m->properties, &m->cap_properties, m->nproperties + 1, sizeof(*list));
        if (!list) {
            return xo_nomem();
        }
        m->properties = list;
    }
    char *block = pair_block(name, nname, value, nvalue);
    if (!block) {
        return xo_nomem();
    }
    if (p) {
        free(p->name);
    } else {
        p = &m->properties[m->nproperties++];
    }
    p->name = block;
    p->value = block + nname + 1;
    return XONCE_OK;
}

xonce_status xonce_message_set_property(xonce_message *m, const char *name, const char *value)
{
    if (!m || !name || !value) {
        return xo_fail(XONCE_E_INVALID, "xonce_message_set_property: message, name and value must not be NULL");
    }
    return xo_message_put(m, name, strlen(name), value, strlen(value));
}

xonce_status xonce_message_set_origin(xonce_message *m, const char *broker, int32_t queue, int64_t offset)
{
    if (!m || (broker && strlen(broker) > 255)) {
        return xo_fail(XONCE_E_INVALID, "a broker's name has at most 255 bytes");
    }
    char *name = nothing;
    if (broker && *broker) {
        name = xo_strdup(broker);
        if (!name) {
            return xo_nomem();
        }
    }
    free(m->own_broker);
    m->own_broker = name == nothing ? NULL : name;
    m->broker = name;
    m->queue = queue < 0 ? -1 : queue;
    m->offset = offset < 0 ? -1 : offset;
    return XONCE_OK;
}

xonce_status xonce_message_set_attempt(xonce_message *m, int attempt)
{
    if (!m || attempt < 1) {
        return xo_fail(XONCE_E_INVALID, "deliveries of a message count from 1, not %d", attempt);
    }
    m->attempt = attempt;
    return XONCE_OK;
}

static xonce_status copy_text(char **to, const char *from)
{
    *to = xo_strdup(from);
    return from && !*to ? xo_nomem() : XONCE_OK;
}

static xonce_status copy_rest(xonce_message *c, const xonce_message *m)
{
    xonce_status rc = xonce_message_set_origin(c, m->broker, m->queue, m->offset);
    for (size_t i = 0; rc == XONCE_OK && i < m->nproperties; i++) {
        const xo_property *p = &m->properties[i];
        rc = xo_message_put(c, p->name, strlen(p->name), p->value, strlen(p->value));
    }
    if (rc == XONCE_OK) {
        rc = copy_text(&c->handle, m->handle);
    }
    if (rc == XONCE_OK) {
        rc = copy_text(&c->uniq, m->uniq);
    }
    if (rc == XONCE_OK) {
        rc = copy_text(&c->refuse, m->refuse);
    }
    if (rc == XONCE_OK) {
        rc = copy_text(&c->copy_topic, m->copy_topic);
    }
    if (rc == XONCE_OK) {
        rc = copy_text(&c->copy_broker, m->copy_broker);
    }
    c->copy_queue = m->copy_queue;
    c->copy_store_time = m->copy_store_time;
    c->store_time = m->store_time;
    c->born_time = m->born_time;
    c->log_offset = m->log_offset;
    c->attempt = m->attempt;
    memcpy(c->body_md5, m->body_md5, sizeof(c->body_md5));
    c->polled_boot = m->polled_boot;
    c->expires_mono = m->expires_mono;
    c->ordered = m->ordered;
    c->mark = m->mark;
    c->copy_offset = m->copy_offset;
    c->copy_log_offset = m->copy_log_offset;
    return rc;
}

xonce_status xonce_message_copy(xonce_message **out, const xonce_message *m)
{
    *out = NULL;
    if (!m) {
        return xo_fail(XONCE_E_INVALID, "xonce_message_copy: the message must not be NULL");
    }
    xonce_message *c;
    xonce_status rc = make(&c, m->topic, m->id[0] ? m->id : NULL, m->body, m->body_len, 1);
    if (rc != XONCE_OK) {
        return rc;
    }
    rc = copy_rest(c, m);
    if (rc != XONCE_OK) {
        xonce_message_free(c);
        return rc;
    }
    *out = c;
    return XONCE_OK;
}

const char *xonce_message_id(const xonce_message *m)
{
    return m->id;
}

const char *xonce_message_topic(const xonce_message *m)
{
    return m->topic;
}

const void *xonce_message_body(const xonce_message *m, size_t *len)
{
    if (len) {
        *len = m->body_len;
    }
    return m->body;
}

const char *xonce_message_property(const xonce_message *m, const char *name)
{
    xo_property *p = m->nproperties ? find(m, name, strlen(name)) : NULL;
    return p ? p->value : NULL;
}

void xonce_message_each_property(const xonce_message *m, void (*fn)(const char *name, const char *value, void *arg), void *arg)
{
    for (size_t i = 0; i < m->nproperties; i++) {
        fn(m->properties[i].name, m->properties[i].value, arg);
    }
}

const char *xonce_message_tag(const xonce_message *m)
{
    const char *v = xonce_message_property(m, "TAGS");
    return v ? v : "";
}

const char *xonce_message_key(const xonce_message *m)
{
    const char *v = xonce_message_property(m, "KEYS");
    return v ? v : "";
}

int64_t xonce_message_offset(const xonce_message *m, const char **broker, int32_t *queue)
{
    if (broker) {
        *broker = m->broker;
    }
    if (queue) {
        *queue = m->queue;
    }
    return m->offset;
}

int xonce_message_attempt(const xonce_message *m)
{
    return m->attempt;
}

int64_t xonce_message_store_time(const xonce_message *m)
{
    return m->store_time;
}

void *xonce_message_owner(const xonce_message *m)
{
    return m->owner;
}

void xo_message_lane(const xonce_message *m, char *out, size_t size)
{
    const char *key = xonce_message_property(m, "__SHARDINGKEY");
    if (key && *key && m->claim_epoch < 0) {
        (void)snprintf(out, size, "%s", key);
    } else {
        (void)snprintf(out, size, "%s/%d", m->broker, (int)m->queue);
    }
}
