/* Fuzz targets: what comes over RocketMQ's TCP protocol. */
#include "base/mem.h"
#include "remoting/command.h"
#include "remoting/record.h"
#include "remoting/wirejson.h"
#include "tests/fuzz/targets.h"
#include <stdlib.h>
#include <string.h>

/* ---- frames */

static int same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void same_command(const xo_command *a, const xo_command *b)
{
    PROMISE(a->code == b->code && a->version == b->version && a->opaque == b->opaque && a->flag == b->flag);
    PROMISE(a->binary == b->binary && a->nfields == b->nfields && a->body_len == b->body_len);
    PROMISE(same_text(a->remark, b->remark) || !a->binary); /* what is no UTF-8 in it changes in JSON */
    PROMISE(a->body_len == 0 || memcmp(a->body, b->body, a->body_len) == 0);
    for (size_t i = 0; i < a->nfields; i++) {
        PROMISE(same_text(a->fields[i].name, b->fields[i].name) && same_text(a->fields[i].value, b->fields[i].value));
    }
}

/* What was read is written, and reads as the same again; in the binary form it is the same bytes. */
static void write_again(const xo_command *c, const uint8_t *p, size_t n)
{
    xo_buf out = {0};
    xo_command again;
    if (xo_command_encode(c, &out) == XONCE_OK) {
        PROMISE(out.len > 8 && xo_command_decode(&again, fuzz_bytes((uint8_t *)out.p + 4, out.len - 4), out.len - 4) == XONCE_OK);
        same_command(c, &again);
        size_t header = c->binary ? n - c->body_len : 0; /* bytes behind the fields are passed over */
        PROMISE(!c->binary || out.len - 4 != n || memcmp(out.p + 4, p, header) == 0);
        xo_command_free(&again);
    } else {
        PROMISE(!c->binary && out.len == 0);
    }
    xo_buf_free(&out);
}

/* A blank before the header leaves all of it to the JSON library: what is read without that must be the same. */
static void blank_before(const xo_command *c, const uint8_t *p, size_t n)
{
    size_t header = (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    xo_command other;
    if (p[0] || header >= 0xffffff || n == XO_FRAME_MAX) {
        return;
    }
    uint8_t *q = malloc(n + 1);
    memcpy(q + 5, p + 4, n - 4);
    q[0] = 0;
    q[1] = (uint8_t)((header + 1) >> 16);
    q[2] = (uint8_t)((header + 1) >> 8);
    q[3] = (uint8_t)(header + 1);
    q[4] = ' ';
    PROMISE(xo_command_decode(&other, (char *)q, n + 1) == XONCE_OK);
    same_command(c, &other);
    PROMISE(same_text(c->remark, other.remark) && c->language == other.language);
    xo_command_free(&other);
}

void fuzz_frame(const uint8_t *p, size_t n)
{
    xo_command c;
    int64_t v;
    if (xo_command_decode(&c, fuzz_bytes(p, n), n) != XONCE_OK) {
        PROMISE(!c.frame && !c.fields && xonce_error_last()->text[0]);
        return;
    }
    PROMISE(c.body_len <= n && (const char *)c.body >= c.frame && (const char *)c.body + c.body_len == c.frame + n);
    for (size_t i = 0; i < c.nfields; i++) {
        PROMISE(c.fields[i].name && c.fields[i].value && xo_command_get(&c, c.fields[i].name));
        (void)xo_command_get_int(&c, c.fields[i].name, &v);
    }
    PROMISE((xo_command_error(&c, "fuzz") == XONCE_OK) == (c.code == 0));
    blank_before(&c, p, n);
    write_again(&c, p, n);
    PROMISE(xo_acl_sign(&c, "AK", "SK", NULL, NULL) == XONCE_OK && strlen(xo_command_get(&c, "Signature")) == 28);
    xo_command_free(&c);
}

/* ---- stored messages */

static void check_message(const xo_record *r)
{
    xonce_message *m = NULL;
    if (xo_record_message(r, "broker-a", &m) == XONCE_OK) {
        PROMISE(m->topic[0] && m->id[0] && m->attempt >= 1 && m->log_offset == r->log_offset);
        PROMISE(m->refuse || (r->sys_flag & XO_SYS_COMPRESSED) || m->body_len == r->body_len);
    } else {
        PROMISE(!m && xonce_error_last()->text[0]);
    }
    xonce_message_free(m);
}

static xonce_status check_member(const xo_record *r, void *arg)
{
    size_t *left = arg;
    check_message(r);
    return --*left ? XONCE_OK : XONCE_E_CLOSED;
}

static void check_properties(const xo_record *r)
{
    size_t len;
    for (size_t i = 0; i < 4; i++) {
        const char *v = xo_record_property(r, "UNIQ_KEY", i, &len);
        PROMISE(!v || (v >= r->properties && v + len <= r->properties + r->nproperties));
    }
}

/* All messages that lie in the bytes, without copying them: the same as one by one. */
static void check_packed(const uint8_t *p, size_t n)
{
    char *s = fuzz_bytes(p, n), *frame = malloc(n + 1);
    xo_pack *k = xo_pack_new(0);
    xo_record r, twin;
    size_t at = 0, twin_at = 0, kept = 0;
    int more;
    xonce_message *m[64];
    memcpy(frame, p, n);
    frame[n] = 0;
    PROMISE(xo_pack_keep(k, frame, n));
    while (kept < 64 && xo_record_next(frame, n, &at, &r, &more) == XONCE_OK && more) {
        PROMISE(xo_record_next(s, n, &twin_at, &twin, &more) == XONCE_OK && more && at == twin_at);
        xonce_message *one = NULL;
        xonce_status st = xo_record_message(&twin, "b", &one);
        if (xo_record_put(&r, k, "t", "b", NULL, &m[kept]) == XONCE_OK) {
            PROMISE(st == XONCE_OK || twin.ntopic == 0 || twin.ntopic > 255 || memchr(twin.topic, 0, twin.ntopic));
            PROMISE(!one || (one->body_len == m[kept]->body_len && memcmp(one->body, m[kept]->body, one->body_len) == 0 && one->nproperties == m[kept]->nproperties));
            for (size_t i = 0; one && i < one->nproperties; i++) {
                PROMISE(same_text(one->properties[i].name, m[kept]->properties[i].name) && same_text(one->properties[i].value, m[kept]->properties[i].value));
            }
            kept++;
        } else {
            PROMISE(st != XONCE_OK);
        }
        xonce_message_free(one);
    }
    xo_pack_drop(k);
    while (kept > 0) {
        xonce_message_free(m[--kept]);
    }
    free(s);
}

void fuzz_record(const uint8_t *p, size_t n)
{
    check_packed(p, n);
    char *s = fuzz_bytes(p, n);
    xo_buf out = {0};
    xo_record r;
    size_t at = 0, begin = 0;
    int more;
    while (xo_record_next(s, n, &at, &r, &more) == XONCE_OK && more) {
        char id[XO_OFFSET_ID_SIZE];
        size_t members = 100;
        PROMISE(at > begin && at <= n);
        xo_buf_reset(&out);
        xo_record_encode(&r, &out);
        PROMISE(!out.failed && out.len == at - begin && memcmp(out.p, s + begin, out.len) == 0);
        xo_record_id(&r, id);
        PROMISE(strlen(id) == 2 * r.nstore + 16);
        check_properties(&r);
        check_message(&r);
        r.crc = 0; /* so that what a checksum would refuse is read */
        check_message(&r);
        (void)xo_record_members(&r, NULL, check_member, &members);
        begin = at;
    }
    PROMISE(at == begin);
    xo_buf_free(&out);
    free(s);
}

/* ---- bodies: a byte that names the codec, then the packed */

void fuzz_codec(const uint8_t *p, size_t n)
{
    static const int codecs[] = {0, XO_SYS_LZ4, XO_SYS_ZSTD, XO_SYS_ZLIB};
    enum { MAX = 1 << 16 };
    xo_buf out = {0}, packed = {0}, again = {0};
    if (n == 0) {
        return;
    }
    int codec = codecs[p[0] & 3];
    char *s = fuzz_bytes(p + 1, n - 1);
    if (xo_codec_unpack(codec | XO_SYS_COMPRESSED, s, n - 1, MAX, &out) == XONCE_OK) {
        PROMISE(out.len <= MAX);
        codec = codec ? codec : XO_SYS_ZLIB;
        PROMISE(xo_codec_pack(codec, 1, out.p, out.len, &packed) == XONCE_OK);
        PROMISE(xo_codec_unpack(codec | XO_SYS_COMPRESSED, packed.p, packed.len, out.len, &again) == XONCE_OK);
        PROMISE(again.len == out.len && (out.len == 0 || memcmp(again.p, out.p, out.len) == 0));
    } else {
        PROMISE(out.len == 0 && xonce_error_last()->text[0]);
    }
    xo_buf_free(&out);
    xo_buf_free(&packed);
    xo_buf_free(&again);
    free(s);
}

/* ---- JSON */

/* Names that are objects can be read again; each level is shorter. */
static void names(const json_t *v, int depth)
{
    const char *name;
    json_t *value;
    PROMISE(depth <= 64);
    if (json_is_array(v)) {
        for (size_t i = 0; i < json_array_size(v); i++) {
            names(json_array_get(v, i), depth + 1);
        }
    }
    if (json_is_object(v)) {
        json_object_foreach ((json_t *)(uintptr_t)v, name, value) {
            json_t *key = name[0] == '{' ? xo_wire_json(name, strlen(name)) : NULL;
            (void)xo_json_int(key, "queueId");
            PROMISE(xo_json_text(v, name));
            (void)xo_json_int(v, name);
            json_decref(key);
            names(value, depth + 1);
        }
    }
}

void fuzz_wirejson(const uint8_t *p, size_t n)
{
    char *s = fuzz_bytes(p, n);
    json_error_t e;
    json_t *ours = xo_wire_json(s, n), *plain = json_loadb(s, n, 0, &e);
    PROMISE(ours || xonce_error_last()->text[0]);
    if (plain) {
        PROMISE(ours ? json_equal(ours, plain) : strstr(xonce_error_last()->text, "levels") != NULL);
    }
    if (ours) {
        names(ours, 0);
    }
    json_decref(ours);
    json_decref(plain);
    free(s);
}
