/* Messages as a broker stores them: reading, writing, and what becomes of them in the library. */
#include "remoting/record.h"
#include "base/mem.h"
#include "base/text.h"
#include "remoting/wire.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define MAGIC_V1 UINT32_C(0xdaa320a7)
#define MAGIC_V2 UINT32_C(0xdaa320ab) /* two bytes of topic length */

/* ---- reading */

static xonce_status bad_record(size_t at, const char *what)
{
    return xo_fail(XONCE_E_PROTOCOL, "stored messages from a broker: %s at byte %zu", what, at);
}

static void read_host(xo_reader *r, int v6, unsigned char out[20], size_t *n)
{
    *n = v6 ? 20 : 8;
    const char *p = xo_take(r, *n);
    memset(out, 0, 20);
    if (p) {
        memcpy(out, p, *n);
    }
}

/* All behind the magic; r ends where the record does. */
static void read_record(xo_reader *r, xo_record *out)
{
    out->crc = xo_get32(r);
    out->queue = (int32_t)xo_get32(r);
    out->flag = (int32_t)xo_get32(r);
    out->queue_offset = (int64_t)xo_get64(r);
    out->log_offset = (int64_t)xo_get64(r);
    out->sys_flag = (int32_t)xo_get32(r);
    out->born_time = (int64_t)xo_get64(r);
    read_host(r, out->sys_flag & XO_SYS_BORN_V6, out->born_host, &out->nborn);
    out->store_time = (int64_t)xo_get64(r);
    read_host(r, out->sys_flag & XO_SYS_STORE_V6, out->store_host, &out->nstore);
    out->reconsume = (int32_t)xo_get32(r);
    out->prepared_offset = (int64_t)xo_get64(r);
    out->body_len = xo_get32(r);
    out->body = xo_take(r, out->body_len);
    out->ntopic = out->magic == MAGIC_V1 ? xo_get8(r) : xo_get16(r);
    out->topic = xo_take(r, out->ntopic);
    out->nproperties = xo_get16(r);
    out->properties = xo_take(r, out->nproperties);
    out->member = 0;
}

xonce_status xo_record_next(const void *p, size_t n, size_t *at, xo_record *out, int *more)
{
    xo_reader r = xo_reader_of(p, n);
    *more = 0;
    if (*at >= n) {
        return *at == n ? XONCE_OK : bad_record(*at, "a position behind the end");
    }
    r.at = *at;
    uint32_t size = xo_get32(&r);
    if (r.failed || size < 4 || size > n - *at) {
        return bad_record(*at, "a size that does not fit");
    }
    r.n = *at + size;
    out->magic = xo_get32(&r);
    if (!r.failed && out->magic != MAGIC_V1 && out->magic != MAGIC_V2) {
        return bad_record(*at, "something that is no message");
    }
    read_record(&r, out);
    if (r.failed || r.at != r.n || out->ntopic > INT16_MAX || out->nproperties > INT16_MAX) {
        return bad_record(*at, "lengths that do not add up");
    }
    *at = r.n;
    *more = 1;
    return XONCE_OK;
}

void xo_record_encode(const xo_record *r, xo_buf *out)
{
    int v1 = r->magic == MAGIC_V1;
    size_t size = 4 + 4 + 4 + 4 + 4 + 8 + 8 + 4 + 8 + r->nborn + 8 + r->nstore + 4 + 8 + 4 + r->body_len + (v1 ? 1 : 2) + r->ntopic + 2 + r->nproperties;
    if (size > UINT32_MAX || r->ntopic > (v1 ? UINT8_MAX : INT16_MAX) || r->nproperties > INT16_MAX || r->nborn > sizeof(r->born_host) ||
        r->nstore > sizeof(r->store_host)) {
        out->failed = 1;
        return;
    }
    xo_put32(out, (uint32_t)size);
    xo_put32(out, r->magic);
    xo_put32(out, r->crc);
    xo_put32(out, (uint32_t)r->queue);
    xo_put32(out, (uint32_t)r->flag);
    xo_put64(out, (uint64_t)r->queue_offset);
    xo_put64(out, (uint64_t)r->log_offset);
    xo_put32(out, (uint32_t)r->sys_flag);
    xo_put64(out, (uint64_t)r->born_time);
    xo_buf_add(out, r->born_host, r->nborn);
    xo_put64(out, (uint64_t)r->store_time);
    xo_buf_add(out, r->store_host, r->nstore);
    xo_put32(out, (uint32_t)r->reconsume);
    xo_put64(out, (uint64_t)r->prepared_offset);
    xo_put32(out, (uint32_t)r->body_len);
    xo_buf_add(out, r->body, r->body_len);
    if (v1) {
        xo_buf_char(out, (char)(unsigned char)r->ntopic);
    } else {
        xo_put16(out, (uint16_t)r->ntopic);
    }
    xo_buf_add(out, r->topic, r->ntopic);
    xo_put16(out, (uint16_t)r->nproperties);
    xo_buf_add(out, r->properties, r->nproperties);
}

/* ---- properties */

typedef struct {
    const char *name, *value;
    size_t nname, nvalue;
} pair;

/* The next pair from *at on; 0 at the end. What has no 0x01 or no name is passed over; the last 0x02 may be missing. */
static int next_pair(const xo_record *r, size_t *at, pair *out)
{
    while (*at < r->nproperties) {
        const char *p = r->properties + *at, *end = memchr(p, 2, r->nproperties - *at);
        size_t n = end ? (size_t)(end - p) : r->nproperties - *at;
        const char *mid = memchr(p, 1, n);
        *at += n + (end != NULL);
        if (mid && mid != p) {
            *out = (pair){p, mid + 1, (size_t)(mid - p), n - (size_t)(mid - p) - 1};
            return 1;
        }
    }
    return 0;
}

static int is_named(const pair *p, const char *name, size_t n)
{
    return p->nname == n && p->name[0] == name[0] && memcmp(p->name, name, n) == 0;
}

const char *xo_record_property(const xo_record *r, const char *name, size_t which, size_t *len)
{
    pair p;
    size_t n = strlen(name);
    for (size_t at = 0; next_pair(r, &at, &p);) {
        if (is_named(&p, name, n) && which-- == 0) {
            *len = p.nvalue;
            return p.value;
        }
    }
    return NULL;
}

const char *xo_record_last_property(const xo_record *r, const char *name, size_t *len)
{
    pair p;
    const char *value = NULL;
    size_t n = strlen(name);
    *len = 0;
    for (size_t at = 0; next_pair(r, &at, &p);) {
        if (p.nvalue && is_named(&p, name, n)) {
            value = p.value;
            *len = p.nvalue;
        }
    }
    return value;
}

/* ---- ids and bodies */

void xo_record_id(const xo_record *r, char out[XO_OFFSET_ID_SIZE])
{
    unsigned char offset[8];
    for (int i = 0; i < 8; i++) {
        offset[i] = (unsigned char)((uint64_t)r->log_offset >> (56 - 8 * i) & 0xff);
    }
    xo_hex(out, r->store_host, r->nstore, 1);
    xo_hex(out + 2 * r->nstore, offset, sizeof(offset), 1);
}

static uint32_t checksum(const void *p, size_t n)
{
    return (uint32_t)crc32_z(0, n ? p : (const void *)"", n) & UINT32_C(0x7fffffff);
}

/* Of the bytes as stored. A checksum of 0 says that nobody made one: brokers that encode a message anew for a client may leave it out. */
static xonce_status check_body(const xo_record *r)
{
    if (r->crc == 0 || (r->crc & UINT32_C(0x7fffffff)) == checksum(r->body, r->body_len)) {
        return XONCE_OK;
    }
    return xo_fail(XONCE_E_PROTOCOL, "the body of the message at offset %" PRId64 " of queue %" PRId32 " was damaged: its checksum differs", r->queue_offset,
                   r->queue);
}

xonce_status xo_record_body(const xo_record *r, xo_buf *out)
{
    xonce_status st = check_body(r);
    return st == XONCE_OK ? xo_codec_unpack(r->sys_flag, r->body, r->body_len, XO_BODY_MAX, out) : st;
}

/* ---- messages */

/* Notes why the message is not to be run; the first reason stays. */
static xonce_status refuse(xonce_message *m, const char *why)
{
    if (!m->refuse) {
        m->refuse = xo_strdup(why);
    }
    return m->refuse ? XONCE_OK : xo_nomem();
}

/* Of a name twice the last value counts, as for Java, which never sees empty ones; but of a batch's UNIQ_KEY the first, which is the member's own. */
static void merge(pair *first, pair *again)
{
    again->nname = 0;
    if (again->nvalue && !(first->nvalue && is_named(first, "UNIQ_KEY", 8))) {
        first->value = again->value;
        first->nvalue = again->nvalue;
    }
}

/* By name, then in the order they came. */
static int by_name(const void *a, const void *b)
{
    const pair *x = *(const pair *const *)a, *y = *(const pair *const *)b;
    int order = memcmp(x->name, y->name, x->nname < y->nname ? x->nname : y->nname);
    if (order == 0) {
        order = (x->nname > y->nname) - (x->nname < y->nname);
    }
    return order ? order : (x > y) - (x < y);
}

enum { FEW = 32, PROPERTIES_MAX = 8192 /* of a message, whose functions refuse more */ };

/* Leaves one pair of each name; the others get an empty one. Comparing each with each is quickest for as many as messages usually have. */
static xonce_status merge_all(pair *p, size_t n)
{
    if (n <= FEW) {
        for (size_t i = 1; i < n; i++) {
            for (size_t k = 0; k < i && p[i].nname; k++) {
                if (is_named(&p[k], p[i].name, p[i].nname)) {
                    merge(&p[k], &p[i]);
                }
            }
        }
        return XONCE_OK;
    }
    pair **sorted = xo_calloc(n, sizeof(*sorted));
    if (!sorted) {
        return xo_nomem();
    }
    for (size_t i = 0; i < n; i++) {
        sorted[i] = &p[i];
    }
    qsort(sorted, n, sizeof(*sorted), by_name);
    for (size_t i = 1, first = 0; i < n; i++) {
        if (is_named(sorted[i], sorted[first]->name, sorted[first]->nname)) {
            merge(sorted[first], sorted[i]);
        } else {
            first = i;
        }
    }
    free(sorted);
    return XONCE_OK;
}

/* All pairs of r: the first FEW where few is, or a list of their own when there are more. NULL: no memory. */
static pair *read_pairs(const xo_record *r, pair *few, size_t *n)
{
    size_t at = 0, all = 0;
    pair rest;
    while (all < FEW && next_pair(r, &at, &few[all])) {
        all++;
    }
    for (*n = all; next_pair(r, &at, &rest); all++) {
    }
    if (all == *n) {
        return few;
    }
    pair *list = xo_calloc(all, sizeof(*list));
    at = 0;
    for (*n = 0; list && *n < all; ++*n) {
        (void)next_pair(r, &at, &list[*n]);
    }
    return list;
}

/* Ends what a 0x01 or 0x02 ended, or nothing (the last value of a record), with a zero byte instead. NULL: no memory. */
static char *terminated(xo_pack *k, const xo_record *r, const char *s, size_t n)
{
    char *text = (char *)s;
    if (s + n == r->properties + r->nproperties) {
        return text[n] ? xo_arena_dup(&k->memory, s, n) : text; /* that byte is the next record's first */
    }
    text[n] = 0;
    return text;
}

static xonce_status list_properties(xonce_message *m, const xo_record *r, const pair *p, size_t n)
{
    int zeros = memchr(r->properties, 0, r->nproperties) != NULL;
    m->properties = xo_arena_alloc(&m->pack->memory, n * sizeof(*m->properties));
    for (; m->properties && n > 0; n--, p++) {
        if (p->nname == 0) {
            continue;
        }
        if (zeros && (memchr(p->name, 0, p->nname) || memchr(p->value, 0, p->nvalue))) {
            if (refuse(m, "a property holds a zero byte") != XONCE_OK) {
                return XONCE_E_NOMEM;
            }
            continue;
        }
        xo_property *to = &m->properties[m->nproperties++];
        to->name = terminated(m->pack, r, p->name, p->nname);
        to->value = terminated(m->pack, r, p->value, p->nvalue);
        if (!to->name || !to->value) {
            return xo_nomem();
        }
    }
    return m->properties ? XONCE_OK : xo_nomem();
}

static xonce_status put_properties(xonce_message *m, const xo_record *r)
{
    pair few[FEW];
    size_t n;
    pair *all = read_pairs(r, few, &n);
    if (!all) {
        return xo_nomem();
    }
    xonce_status st = n > PROPERTIES_MAX ? refuse(m, "it has more than 8192 properties") : merge_all(all, n);
    if (st == XONCE_OK && n > 0 && n <= PROPERTIES_MAX) {
        st = list_properties(m, r, all, n);
    }
    if (all != few) {
        free(all);
    }
    return st;
}

/* offsetMsgId, and which member of a batch it is. */
static xonce_status put_id(xonce_message *m, const xo_record *r)
{
    enum { MEMBER = 12 };
    size_t n = 2 * (r->nstore + 8);
    m->id = xo_arena_alloc(&m->pack->memory, n + MEMBER + 1);
    if (!m->id) {
        return xo_nomem();
    }
    xo_record_id(r, m->id);
    if (r->member) {
        snprintf(m->id + n, MEMBER + 1, "-%" PRId32, r->member);
    }
    return XONCE_OK;
}

/* A body that was made here becomes the message's; the record's own stays where it is. */
static void put_body(xonce_message *m, const xo_record *r, char *made, size_t nmade)
{
    m->body = "";
    if (made) {
        m->body = m->own_body = made;
        m->body_len = nmade;
    } else if (r->body_len) {
        char *end = (char *)r->body + r->body_len;
        *end = 0; /* the length of the topic, or of the properties */
        m->body = r->body;
        m->body_len = r->body_len;
    }
}

static xonce_status fill(xonce_message *m, const xo_record *r, const char *topic, const char *broker, const char *why)
{
    xonce_status st = put_id(m, r);
    if (st == XONCE_OK && why) {
        st = refuse(m, why);
    }
    if (st == XONCE_OK) {
        st = put_properties(m, r);
    }
    m->topic = (char *)topic;
    m->broker = (char *)broker;
    m->queue = r->queue < 0 ? -1 : r->queue;
    m->offset = r->queue_offset < 0 ? -1 : r->queue_offset;
    m->store_time = r->store_time;
    m->born_time = r->born_time;
    m->log_offset = m->copy_log_offset = r->log_offset;
    m->copy_offset = r->queue_offset;
    m->attempt = r->reconsume < 0 ? 1 : r->reconsume == INT32_MAX ? INT32_MAX : r->reconsume + 1;
    return st;
}

/* made: a body made here, which the message takes; NULL: the record's own. */
static xonce_status make(const xo_record *r, xo_pack *k, const char *topic, const char *broker, xo_buf *made, const char *why, xonce_message **out)
{
    xonce_message *m = xo_pack_message(k);
    xonce_status st = m ? fill(m, r, topic, broker, why) : xo_nomem();
    size_t n = made ? made->len : 0;
    char *body = st == XONCE_OK && made ? xo_buf_take(made) : NULL;
    if (st == XONCE_OK && made && !body) {
        st = xo_nomem();
    }
    if (st != XONCE_OK) {
        xonce_message_free(m);
        return st;
    }
    put_body(m, r, body, n);
    *out = m;
    return XONCE_OK;
}

xonce_status xo_record_put(const xo_record *r, xo_pack *k, const char *topic, const char *broker, const char *why, xonce_message **out)
{
    xo_buf body = {0};
    *out = NULL;
    xonce_status st = why ? XONCE_OK : check_body(r);
    if (st != XONCE_OK || why || !(r->sys_flag & XO_SYS_COMPRESSED)) {
        return st == XONCE_OK ? make(r, k, topic, broker, NULL, why, out) : st;
    }
    st = xo_codec_unpack(r->sys_flag, r->body, r->body_len, XO_BODY_MAX, &body);
    if (st == XONCE_E_PROTOCOL) {
        char cause[sizeof(xonce_error_last()->text)];
        snprintf(cause, sizeof(cause), "%s", xonce_error_last()->text);
        st = make(r, k, topic, broker, NULL, cause, out);
    } else if (st == XONCE_OK) {
        st = make(r, k, topic, broker, &body, NULL, out);
    }
    xo_buf_free(&body);
    return st;
}

/* One message with memory of its own, of a record in anybody's. */
static xonce_status single(const xo_record *r, const char *broker, const char *why, xonce_message **out)
{
    xo_record own = *r;
    *out = NULL;
    broker = broker ? broker : "";
    if (r->ntopic == 0 || r->ntopic > 255 || memchr(r->topic, 0, r->ntopic)) {
        return xo_fail(XONCE_E_PROTOCOL, "the message at offset %" PRId64 " of queue %" PRId32 " has no topic of 1 to 255 bytes", r->queue_offset, r->queue);
    }
    if (strlen(broker) > 255) {
        return xo_fail(XONCE_E_INVALID, "a broker's name has at most 255 bytes");
    }
    xo_pack *k = xo_pack_new(sizeof(xonce_message) + 512 + r->nproperties + r->body_len);
    const char *topic = k ? xo_arena_dup(&k->memory, r->topic, r->ntopic) : NULL, *name = k ? xo_arena_dup(&k->memory, broker, strlen(broker)) : NULL;
    own.properties = k ? xo_arena_dup(&k->memory, r->properties, r->nproperties) : NULL;
    own.body = k ? xo_arena_dup(&k->memory, r->body, r->body_len) : NULL;
    if (k) {
        k->size = r->body_len;
    }
    xonce_status st = topic && name && own.properties && own.body ? xo_record_put(&own, k, topic, name, why, out) : xo_nomem();
    xo_pack_drop(k);
    return st;
}

xonce_status xo_record_refused(const xo_record *r, const char *broker, const char *why, xonce_message **out)
{
    return single(r, broker, why, out);
}

xonce_status xo_record_message(const xo_record *r, const char *broker, xonce_message **out)
{
    xonce_status st = check_body(r);
    *out = NULL;
    return st == XONCE_OK ? single(r, broker, NULL, out) : st;
}

/* ---- inner batches */

/* One member as the sender wrote it: size, magic, crc (both unused there), flag, body, properties. */
static xonce_status read_member(const char *p, size_t n, size_t *at, xo_record *m)
{
    xo_reader r = xo_reader_of(p, n);
    r.at = *at;
    uint32_t size = xo_get32(&r);
    if (r.failed || size < 4 || size > n - *at) {
        return bad_record(*at, "a member of a batch with a size that does not fit");
    }
    r.n = *at + size;
    (void)xo_get64(&r);
    m->flag = (int32_t)xo_get32(&r);
    m->body_len = xo_get32(&r);
    m->body = xo_take(&r, m->body_len);
    m->nproperties = xo_get16(&r);
    m->properties = xo_take(&r, m->nproperties);
    if (r.failed || r.at != r.n || m->nproperties > INT16_MAX) {
        return bad_record(*at, "a member of a batch with lengths that do not add up");
    }
    m->crc = checksum(m->body, m->body_len);
    *at = r.n;
    return XONCE_OK;
}

xonce_status xo_record_members(const xo_record *r, xo_pack *keep, xonce_status (*fn)(const xo_record *member, void *arg), void *arg)
{
    xo_buf body = {0};
    size_t at = 0;
    xo_record m = *r;
    if ((r->sys_flag & XO_SYS_INNER_BATCH) != XO_SYS_INNER_BATCH) {
        return fn(r, arg);
    }
    xonce_status st = xo_record_body(r, &body);
    m.sys_flag &= ~(XO_SYS_COMPRESSED | XO_SYS_CODEC | XO_SYS_INNER_BATCH);
    int kept = st == XONCE_OK && keep && body.p && xo_pack_keep(keep, body.p, body.cap);
    if (st == XONCE_OK && keep && body.p && !kept) {
        st = xo_nomem();
    }
    if (st == XONCE_OK && body.len == 0) {
        st = bad_record(0, "a batch without members");
    }
    for (int32_t i = 0; st == XONCE_OK && at < body.len; i++) {
        if (__builtin_add_overflow(r->queue_offset, i, &m.queue_offset)) {
            st = bad_record(at, "an offset that cannot be");
            break;
        }
        m.member = i + 1;
        st = read_member(body.p, body.len, &at, &m);
        if (st == XONCE_OK) {
            st = fn(&m, arg);
        }
    }
    if (!kept) {
        xo_buf_free(&body);
    }
    return st;
}

/* ---- properties of messages to be sent */

enum { PROPERTIES_SIZE_MAX = 32767 };

void xo_wire_property(xo_buf *out, const char *name, const char *value)
{
    xo_buf_str(out, name);
    xo_buf_char(out, 1);
    xo_buf_str(out, value);
    xo_buf_char(out, 2);
}

xonce_status xo_wire_properties(const xonce_message *m, xo_buf *out)
{
    for (size_t i = 0; i < m->nproperties; i++) {
        const xo_property *p = &m->properties[i];
        if (!*p->name || strpbrk(p->name, "\1\2") || strpbrk(p->value, "\1\2")) {
            return xo_fail(XONCE_E_INVALID, "property \"%.100s\": a name must not be empty, and nothing may hold the bytes 1 and 2, which separate properties",
                           p->name);
        }
        if (!xo_utf8_valid(p->name, strlen(p->name), NULL) || !xo_utf8_valid(p->value, strlen(p->value), NULL)) {
            return xo_fail(XONCE_E_INVALID, "property number %zu is no UTF-8, and RocketMQ carries no other text", i + 1);
        }
        xo_wire_property(out, p->name, p->value);
    }
    if (out->len > PROPERTIES_SIZE_MAX) {
        return xo_fail(XONCE_E_INVALID, "the properties of a message take %zu bytes; RocketMQ carries %d", out->len, PROPERTIES_SIZE_MAX);
    }
    return xo_buf_status(out);
}
