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
    return p->nname == n && memcmp(p->name, name, n) == 0;
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
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), n ? p : (const void *)"", n) & UINT32_C(0x7fffffff);
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

/* xo_message_put for a name that m does not have yet, with room for it. */
static xonce_status append_property(xonce_message *m, const pair *p)
{
    if (memchr(p->name, 0, p->nname) || memchr(p->value, 0, p->nvalue)) {
        return refuse(m, "a property holds a zero byte");
    }
    char *block = malloc(p->nname + p->nvalue + 2); /* name and value are one, which the name points to */
    if (!block) {
        return xo_nomem();
    }
    memcpy(block, p->name, p->nname);
    block[p->nname] = 0;
    memcpy(block + p->nname + 1, p->value, p->nvalue);
    block[p->nname + 1 + p->nvalue] = 0;
    m->properties[m->nproperties++] = (xo_property){block, block + p->nname + 1};
    return XONCE_OK;
}

static xonce_status put_properties(xonce_message *m, const xo_record *r)
{
    pair few[FEW], *all = few, p;
    size_t n = 0;
    for (size_t at = 0; next_pair(r, &at, &p);) {
        n++;
    }
    xonce_status st = n > PROPERTIES_MAX ? refuse(m, "it has more than 8192 properties") : XONCE_OK;
    n = n > PROPERTIES_MAX ? PROPERTIES_MAX : n;
    if (st != XONCE_OK || n == 0) {
        return st;
    }
    m->properties = xo_calloc(n, sizeof(*m->properties));
    all = n > FEW ? xo_calloc(n, sizeof(*all)) : few;
    if (!m->properties || !all) {
        if (all != few) {
            free(all);
        }
        return xo_nomem();
    }
    m->cap_properties = n;
    for (size_t i = 0, at = 0; i < n && next_pair(r, &at, &all[i]); i++) {
    }
    st = merge_all(all, n);
    for (size_t i = 0; st == XONCE_OK && i < n; i++) {
        if (all[i].nname) {
            st = append_property(m, &all[i]);
        }
    }
    if (all != few) {
        free(all);
    }
    return st;
}

static xonce_status fill(xonce_message *m, const xo_record *r, const char *broker, const char *why)
{
    xonce_status st = xonce_message_set_origin(m, broker, r->queue, r->queue_offset);
    if (st == XONCE_OK && why) {
        st = refuse(m, why);
    }
    if (st == XONCE_OK) {
        st = put_properties(m, r);
    }
    m->store_time = r->store_time;
    m->log_offset = m->copy_log_offset = r->log_offset;
    m->copy_offset = r->queue_offset;
    m->attempt = r->reconsume < 0 ? 1 : r->reconsume == INT32_MAX ? INT32_MAX : r->reconsume + 1;
    return st;
}

/* body: made by the library, which the message takes; NULL: the record's own, which is copied. */
static xonce_status make(const xo_record *r, const char *broker, char *body, size_t n, const char *why, xonce_message **out)
{
    char id[XO_OFFSET_ID_SIZE + 16], topic[256];
    *out = NULL;
    if (r->ntopic == 0 || r->ntopic >= sizeof(topic) || memchr(r->topic, 0, r->ntopic)) {
        free(body);
        return xo_fail(XONCE_E_PROTOCOL, "the message at offset %" PRId64 " of queue %" PRId32 " has no topic of 1 to 255 bytes", r->queue_offset, r->queue);
    }
    memcpy(topic, r->topic, r->ntopic);
    topic[r->ntopic] = 0;
    xo_record_id(r, id);
    if (r->member) {
        size_t len = strlen(id);
        snprintf(id + len, sizeof(id) - len, "-%" PRId32, r->member);
    }
    xonce_status st = body ? xonce_message_wrap(out, topic, id, body, n, free, body) : xonce_message_new(out, topic, id, r->body, r->body_len);
    if (st != XONCE_OK) {
        free(body);
        return st;
    }
    st = fill(*out, r, broker, why);
    if (st != XONCE_OK) {
        xonce_message_free(*out);
        *out = NULL;
    }
    return st;
}

xonce_status xo_record_refused(const xo_record *r, const char *broker, const char *why, xonce_message **out)
{
    return make(r, broker, NULL, 0, why, out);
}

xonce_status xo_record_message(const xo_record *r, const char *broker, xonce_message **out)
{
    xo_buf body = {0};
    *out = NULL;
    xonce_status st = check_body(r);
    if (st != XONCE_OK) {
        return st;
    }
    if (!(r->sys_flag & XO_SYS_COMPRESSED)) {
        return make(r, broker, NULL, 0, NULL, out);
    }
    st = xo_codec_unpack(r->sys_flag, r->body, r->body_len, XO_BODY_MAX, &body);
    if (st == XONCE_E_PROTOCOL) {
        char why[sizeof(xonce_error_last()->text)];
        snprintf(why, sizeof(why), "%s", xonce_error_last()->text);
        xo_buf_free(&body);
        return make(r, broker, NULL, 0, why, out);
    }
    size_t n = body.len;
    char *p = st == XONCE_OK ? xo_buf_take(&body) : NULL;
    if (!p) {
        xo_buf_free(&body);
        return st == XONCE_OK ? xo_nomem() : st;
    }
    return make(r, broker, p, n, NULL, out);
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

xonce_status xo_record_members(const xo_record *r, xonce_status (*fn)(const xo_record *member, void *arg), void *arg)
{
    xo_buf body = {0};
    size_t at = 0;
    xo_record m = *r;
    if ((r->sys_flag & XO_SYS_INNER_BATCH) != XO_SYS_INNER_BATCH) {
        return fn(r, arg);
    }
    xonce_status st = xo_record_body(r, &body);
    m.sys_flag &= ~(XO_SYS_COMPRESSED | XO_SYS_CODEC | XO_SYS_INNER_BATCH);
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
    xo_buf_free(&body);
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
