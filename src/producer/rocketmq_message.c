/* From a message to what RocketMQ is sent: names, properties, identity, time of delivery, compression. */
#include "base/clock.h"
#include "base/mem.h"
#include "producer/rocketmq.h"
#include "remoting/record.h"
#include "remoting/sending.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMPRESSION_LEVEL = 5, LONGEST_DIGITS = 18 };

/* The delays of a broker as it comes, level 1 first. */
static const int64_t levels[] = {1000, 5000, 10000, 30000, 60000, 120000, 180000, 240000, 300000, 360000, 420000, 480000, 540000, 600000, 1200000, 1800000, 3600000, 7200000};
/* Each of them says when a message is delivered. TIMER_* are known to brokers from 5.0. */
static const char *const when_names[] = {"DELAY", "__STARTDELIVERTIME", "TIMER_DELAY_SEC", "TIMER_DELAY_MS", "TIMER_DELIVER_MS"};
enum { WHEN_DELAY = 0, WHEN_START = 1, WHENS = 5 };

/* -1: it is delivered at once. XONCE_E_INVALID: twice, or no number. */
static xonce_status when_of(const xonce_message *m, int *which)
{
    *which = -1;
    for (int i = 0; i < WHENS; i++) {
        const char *v = xonce_message_property(m, when_names[i]);
        if (!v) {
            continue;
        }
        size_t n = strlen(v);
        if (n == 0 || n > LONGEST_DIGITS || strspn(v, "0123456789") != n || (i == WHEN_DELAY && (n > 3 || strspn(v, "0") == n))) {
            return xo_fail(XONCE_E_INVALID, "the property %s of a message of %.127s is \"%.30s\": it must be %s", when_names[i], m->topic, v,
                           i == WHEN_DELAY ? "a level from 1" : "a number of milliseconds (TIMER_DELAY_SEC: of seconds)");
        }
        if (*which >= 0) {
            return xo_fail(XONCE_E_INVALID, "a message of %.127s says twice when it is to be delivered: %s and %s", m->topic, when_names[*which], when_names[i]);
        }
        *which = i;
    }
    return XONCE_OK;
}

static xonce_status check_names(const char *topic, const char *group)
{
    int special = strncmp(topic, "%RETRY%", 7) == 0 || strncmp(topic, "%DLQ%", 5) == 0;
    xonce_status st = xo_send_check_name("topic", topic, special ? 255 : XO_SEND_TOPIC_MAX);
    return st ? st : xo_send_check_name("group", group, XO_SEND_GROUP_MAX);
}

static xonce_status check_body(const xonce_message *m)
{
    if (m->body_len == 0) {
        return xo_fail(XONCE_E_INVALID, "a message of %.127s has no body: brokers refuse it", m->topic);
    }
    if (m->body_len > XO_BODY_MAX) {
        return xo_fail(XONCE_E_INVALID, "a message of %.127s has %zu bytes: %d at most, and no more than 4 MiB once compressed", m->topic, m->body_len, XO_BODY_MAX);
    }
    return XONCE_OK;
}

static xonce_status too_long(const xo_rmq_send *s)
{
    return xo_fail(XONCE_E_INVALID, "%s of %.127s has %zu bytes to be sent: brokers take 4 MiB at most", s->kind == XO_RMQ_BATCH ? "a batch" : "a message", s->shown,
                   s->body_len);
}

/* The same for every sending of this UNIQ_KEY, so that a message sent again by the application stays the same message. */
static void exactly_once_id(const char *id, char *out, size_t size)
{
    uint32_t h = 2166136261u;
    for (const char *p = id; *p; p++) {
        h = (h ^ (unsigned char)*p) * 16777619u;
    }
    (void)snprintf(out, size, "%s%08" PRIX32, id, h);
}

static xonce_status add_identity(xo_rmq_producer *p, const xonce_message *m, xo_buf *out, char id[XO_RMQ_ID])
{
    const char *own = xonce_message_property(m, "UNIQ_KEY");
    char extended[XO_RMQ_ID + 8];
    if (own && (!*own || strlen(own) >= XO_RMQ_ID)) {
        return xo_fail(XONCE_E_INVALID, "the UNIQ_KEY of a message of %.127s has %zu bytes: 1 to %d are allowed", m->topic, strlen(own), XO_RMQ_ID - 1);
    }
    if (own) {
        memcpy(id, own, strlen(own) + 1);
    } else {
        xo_make_uniq(id);
        xo_wire_property(out, "UNIQ_KEY", id);
    }
    if (p->exactly_once && !xonce_message_property(m, "EXTEND_UNIQ_INFO")) {
        exactly_once_id(id, extended, sizeof(extended));
        xo_wire_property(out, "EXTEND_UNIQ_INFO", extended);
    }
    if (*p->space && !xonce_message_property(m, "INSTANCE_ID")) {
        xo_wire_property(out, "INSTANCE_ID", p->space);
    }
    return XONCE_OK;
}

static xonce_status check_properties(const xonce_message *m, const xo_buf *properties)
{
    xonce_status st = xo_buf_status(properties);
    if (!st && properties->len > XO_SEND_PROPERTIES_MAX) {
        st = xo_fail(XONCE_E_INVALID, "the properties of a message of %.127s have %zu bytes with those that are added: %d at most", m->topic, properties->len,
                     XO_SEND_PROPERTIES_MAX);
    }
    return st;
}

/* A message that was received from a transaction and is sent on would become a half message that nobody ends. */
static xonce_status check_plain(const xonce_message *m)
{
    const char *half = xonce_message_property(m, "TRAN_MSG");
    if (half && strcmp(half, "true") == 0) {
        return xo_fail(XONCE_E_INVALID, "the property TRAN_MSG makes a message of %.127s a half message: send it by xonce_producer_send_transaction, or without it", m->topic);
    }
    return XONCE_OK;
}

static xonce_status add_half(const xonce_message *m, const char *group, int when, xo_buf *out)
{
    const char *immunity = xonce_message_property(m, "__TransCheckT");
    if (when >= 0) {
        return xo_fail(XONCE_E_INVALID, "a half message of %.127s cannot be delayed: it has the property %s", m->topic, when_names[when]);
    }
    if (xonce_message_property(m, "TRAN_MSG") || xonce_message_property(m, "PGROUP")) {
        return xo_fail(XONCE_E_INVALID, "a message of %.127s has the property TRAN_MSG or PGROUP, which are the producer's", m->topic);
    }
    xo_wire_property(out, "TRAN_MSG", "true");
    xo_wire_property(out, "PGROUP", group);
    if (immunity && *immunity && strspn(immunity, "0123456789") == strlen(immunity) && !xonce_message_property(m, "CHECK_IMMUNITY_TIME_IN_SECONDS")) {
        xo_wire_property(out, "CHECK_IMMUNITY_TIME_IN_SECONDS", immunity);
    }
    return XONCE_OK;
}

static void set_lane(xo_rmq_send *s, const xonce_message *m)
{
    const char *key = xonce_message_property(m, "__SHARDINGKEY");
    if (key && *key) {
        s->keyed = 1;
        s->hash = xo_java_hash(key);
    }
}

static xonce_status begin(xo_rmq_producer *p, const char *topic, xo_rmq_kind kind, const char *group, xo_rmq_send *s)
{
    memset(s, 0, sizeof(*s));
    s->kind = kind;
    s->begun = xo_mono_ms();
    s->deadline = s->begun + p->base.timeout_ms;
    s->born = xo_now_ms();
    s->left = p->retries + 1;
    s->queue = -1;
    s->offset = -1;
    s->shown = xo_strdup(topic);
    s->topic = xo_cluster_wrap(p->cluster, topic);
    s->group = xo_strdup(group);
    return s->shown && s->topic && s->group ? check_names(s->topic, s->group) : xo_nomem();
}

static void note_for_trace(xo_rmq_producer *p, xo_rmq_send *s, const xonce_message *m)
{
    if (p->trace) {
        xo_buf_str(&s->ids, s->ids.len ? "," : "");
        xo_buf_str(&s->ids, s->id);
        xo_buf_str(&s->tags, s->tags.len ? "" : xonce_message_tag(m));
        xo_buf_str(&s->keys, s->keys.len ? " " : "");
        xo_buf_str(&s->keys, xonce_message_key(m));
    }
}

static xonce_status pack(xo_rmq_producer *p, const xonce_message *m, xo_rmq_send *s)
{
    s->body = m->body;
    s->body_len = m->body_len;
    if (p->codec && m->body_len > 0 && (int64_t)m->body_len >= p->compress_over) {
        xonce_status st = xo_codec_pack(p->codec, COMPRESSION_LEVEL, m->body, m->body_len, &s->packed);
        if (st) {
            return st;
        }
        if (s->packed.len < m->body_len) {
            s->body = s->packed.p;
            s->body_len = s->packed.len;
            s->sys_flag |= XO_SYS_COMPRESSED | p->codec;
        } else {
            xo_buf_free(&s->packed);
        }
    }
    return s->body_len > XO_SEND_BODY_MAX ? too_long(s) : XONCE_OK;
}

/* All but the body. */
static xonce_status properties_of(xo_rmq_producer *p, const xonce_message *m, xo_rmq_send *s)
{
    int when;
    xonce_status st = when_of(m, &when);
    if (!st) {
        st = xo_wire_properties(m, &s->properties);
    }
    if (!st) {
        st = add_identity(p, m, &s->properties, s->id);
    }
    if (!st) {
        st = s->kind == XO_RMQ_HALF ? add_half(m, s->group, when, &s->properties) : check_plain(m);
    }
    if (!st && when == WHEN_START) {
        xo_wire_property(&s->properties, "TIMER_DELIVER_MS", xonce_message_property(m, when_names[WHEN_START]));
    }
    s->timed = when > WHEN_START || (when == WHEN_START && !p->cloud);
    s->trace_type = s->kind == XO_RMQ_HALF ? XO_TRACE_HALF : when >= 0 ? XO_TRACE_DELAYED : s->keyed ? XO_TRACE_ORDERED : XO_TRACE_NORMAL;
    return st ? st : check_properties(m, &s->properties);
}

xonce_status xo_rmq_prepare(xo_rmq_producer *p, const xonce_message *m, xo_rmq_kind kind, const char *group, xo_rmq_send *s)
{
    xonce_status st = begin(p, m->topic, kind, group, s);
    set_lane(s, m);
    if (!st) {
        st = check_body(m);
    }
    if (!st) {
        st = properties_of(p, m, s);
    }
    if (!st) {
        s->sys_flag = kind == XO_RMQ_HALF ? XO_SYS_HALF : 0;
        st = pack(p, m, s);
        note_for_trace(p, s, m);
    }
    if (st) {
        xo_rmq_send_free(s);
    }
    return st;
}

xonce_status xo_rmq_check(xonce_producer *base, const xonce_message *m)
{
    xo_rmq_producer *p = (xo_rmq_producer *)base;
    xo_rmq_send s;
    xonce_status st = begin(p, m->topic, XO_RMQ_PLAIN, p->group, &s);
    if (!st) {
        st = check_body(m);
    }
    if (!st) {
        st = properties_of(p, m, &s);
    }
    if (!st && (!p->codec || (int64_t)m->body_len < p->compress_over) && (s.body_len = m->body_len) > XO_SEND_BODY_MAX) {
        st = too_long(&s);
    }
    xo_rmq_send_free(&s);
    return st;
}

/* ---- batches ---- */

static void be32(xo_buf *b, size_t v)
{
    const unsigned char c[4] = {(unsigned char)(v >> 24), (unsigned char)(v >> 16), (unsigned char)(v >> 8), (unsigned char)v};
    xo_buf_add(b, c, 4);
}

static xonce_status add_member(xo_rmq_producer *p, const xonce_message *m, xo_rmq_send *s, int first)
{
    enum { FIXED = 4 + 4 + 4 + 4 + 4 + 2 };
    int when;
    char id[XO_RMQ_ID];
    xo_buf *properties = &s->properties; /* of one member at a time; those of the batch itself stay empty */
    xo_buf_reset(properties);
    xonce_status st = check_body(m);
    if (!st) {
        st = when_of(m, &when);
    }
    if (!st && when >= 0) {
        st = xo_fail(XONCE_E_INVALID, "a message in a batch of %.127s cannot be delayed: it has the property %s", m->topic, when_names[when]);
    }
    if (!st) {
        st = check_plain(m);
    }
    if (!st) {
        st = xo_wire_properties(m, properties);
    }
    if (!st) {
        st = add_identity(p, m, properties, id);
    }
    if (!st) {
        st = check_properties(m, properties);
    }
    if (st) {
        return st;
    }
    const unsigned char n[2] = {(unsigned char)(properties->len >> 8), (unsigned char)properties->len};
    be32(&s->packed, FIXED + m->body_len + properties->len);
    be32(&s->packed, 0);
    be32(&s->packed, 0);
    be32(&s->packed, 0);
    be32(&s->packed, m->body_len);
    xo_buf_add(&s->packed, m->body, m->body_len);
    xo_buf_add(&s->packed, n, 2);
    xo_buf_add(&s->packed, properties->p, properties->len);
    char head[XO_RMQ_ID];
    memcpy(head, s->id, sizeof(head));
    memcpy(s->id, id, sizeof(id));
    note_for_trace(p, s, m);
    if (!first) {
        memcpy(s->id, head, sizeof(head));
    }
    s->body_len = s->packed.len;
    return s->packed.len > XO_SEND_BODY_MAX ? too_long(s) : XONCE_OK;
}

xonce_status xo_rmq_prepare_batch(xo_rmq_producer *p, const xonce_message *const *m, size_t n, xo_rmq_send *s)
{
    xonce_status st = begin(p, m[0]->topic, XO_RMQ_BATCH, p->group, s);
    const char *key = xonce_message_property(m[0], "__SHARDINGKEY");
    set_lane(s, m[0]);
    for (size_t i = 0; !st && i < n; i++) {
        const char *own = xonce_message_property(m[i], "__SHARDINGKEY");
        if (strcmp(own ? own : "", key ? key : "") != 0) {
            st = xo_fail(XONCE_E_INVALID, "message %zu of a batch of %.127s has another sharding key than the first: a batch goes to one queue", i, m[0]->topic);
        } else {
            st = add_member(p, m[i], s, i == 0);
        }
    }
    if (!st) {
        st = xo_buf_status(&s->packed);
    }
    if (st) {
        xo_rmq_send_free(s);
        return st;
    }
    xo_buf_reset(&s->properties);
    s->body = s->packed.p;
    s->trace_type = s->keyed ? XO_TRACE_ORDERED : XO_TRACE_NORMAL;
    return XONCE_OK;
}

/* Not what a batch cannot carry, and nothing that would be compressed by itself. */
int xo_rmq_batchable(xonce_producer *base, const xonce_message *m)
{
    const xo_rmq_producer *p = (const xo_rmq_producer *)base;
    int when;
    return !when_of(m, &when) && when < 0 && !xonce_message_property(m, "__SHARDINGKEY") && (!p->codec || (int64_t)m->body_len < p->compress_over);
}

/* ---- time of delivery ---- */

static int level_of(int64_t delay_ms)
{
    for (int i = 0; i < (int)(sizeof(levels) / sizeof(levels[0])); i++) {
        if (levels[i] == delay_ms) {
            return i + 1;
        }
    }
    return 0;
}

xonce_status xo_rmq_later(xonce_producer *base, xonce_message *m, int64_t delay_ms, int64_t at_ms)
{
    xo_rmq_producer *p = (xo_rmq_producer *)base;
    char value[32];
    int32_t version = 0;
    const char *name = "__STARTDELIVERTIME";
    if (at_ms < 0 && delay_ms == 0) {
        return XONCE_OK;
    }
    if (!p->cloud) {
        char *topic = xo_cluster_wrap(p->cluster, m->topic);
        xonce_status st = topic ? xo_rmq_topic_version(p, topic, &version) : xo_nomem();
        free(topic);
        if (st) {
            return st;
        }
    }
    int64_t v = at_ms >= 0 ? at_ms : xo_now_ms() + delay_ms;
    if (!p->cloud && at_ms < 0 && version >= XO_RMQ_TIMERS_SINCE) {
        name = "TIMER_DELAY_MS"; /* by the broker's clock */
        v = delay_ms;
    } else if (!p->cloud && version < XO_RMQ_TIMERS_SINCE) {
        name = "DELAY";
        v = at_ms < 0 ? level_of(delay_ms) : 0;
        if (v == 0) {
            return xo_fail(XONCE_E_INVALID,
                           "the brokers of %.127s are older than 5.0 and would deliver it at once: they know only the delays 1s 5s 10s 30s 1m to 10m 20m 30m 1h 2h, and no times",
                           m->topic);
        }
    }
    (void)snprintf(value, sizeof(value), "%" PRId64, v);
    return xonce_message_set_property(m, name, value);
}

/* ---- life ---- */

xonce_status xo_rmq_send_keep(xo_rmq_send *s)
{
    if (s->body != s->packed.p) {
        xo_buf_reset(&s->packed);
        xo_buf_add(&s->packed, s->body, s->body_len);
        s->body = s->packed.p;
    }
    return xo_buf_status(&s->packed);
}

void xo_rmq_send_free(xo_rmq_send *s)
{
    free(s->topic);
    free(s->group);
    free(s->shown);
    xo_buf_free(&s->properties);
    xo_buf_free(&s->packed);
    xo_buf_free(&s->ids);
    xo_buf_free(&s->tags);
    xo_buf_free(&s->keys);
    memset(s, 0, sizeof(*s));
}
