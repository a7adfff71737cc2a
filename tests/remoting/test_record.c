/* Stored messages: every field, every form, properties, checksums, inner batches, and bytes that are none. */
#include "base/mem.h"
#include "base/text.h"
#include "remoting/record.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { V1 = 0, V2 = 1 };

static int says(const char *word)
{
    return strstr(xonce_error_last()->text, word) != NULL;
}

static uint32_t crc(const void *p, size_t n)
{
    return (uint32_t)crc32(0, p, (uInt)n) & 0x7fffffff;
}

static void set(xo_record *r, const char *body, const char *properties)
{
    r->body = body;
    r->body_len = strlen(body);
    r->crc = crc(body, r->body_len);
    r->properties = properties;
    r->nproperties = strlen(properties);
}

static xo_record sample(int version, int sys_flag)
{
    xo_record r = {.magic = version == V1 ? 0xdaa320a7 : 0xdaa320ab, .queue = 3, .flag = -7, .sys_flag = sys_flag, .reconsume = 2, .queue_offset = INT64_C(0x0102030405060708),
                   .log_offset = 267, .born_time = INT64_C(1795385574677), .store_time = INT64_C(1795385574712), .prepared_offset = -1, .topic = "orders", .ntopic = 6};
    r.nborn = sys_flag & XO_SYS_BORN_V6 ? 20 : 8;
    r.nstore = sys_flag & XO_SYS_STORE_V6 ? 20 : 8;
    for (size_t i = 0; i < r.nborn; i++)
        r.born_host[i] = (unsigned char)(0x40 + i);
    memcpy(r.store_host, r.nstore == 8 ? "\x7f\0\0\1\0\0\x71\x53" : "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2\0\0\x2a\x9f", r.nstore);
    set(&r, "hello", "UNIQ_KEY\1U1\2KEYS\1k1 k2\2");
    return r;
}

/* The bytes in an allocation that is exactly as large. */
static char *exact(const xo_record *r, size_t *n)
{
    xo_buf b = {0};
    xo_record_encode(r, &b);
    ck_assert_int_eq(b.failed, 0);
    char *p = malloc(b.len);
    ck_assert_ptr_nonnull(p);
    memcpy(p, b.p, b.len);
    *n = b.len;
    xo_buf_free(&b);
    return p;
}

static xonce_message *message(const xo_record *r)
{
    xonce_message *m;
    ck_assert_msg(xo_record_message(r, "broker-a", &m) == XONCE_OK, "%s", xonce_error_last()->text);
    return m;
}

START_TEST(forms)
{
    static const int hosts[] = {0, XO_SYS_BORN_V6, XO_SYS_STORE_V6, XO_SYS_BORN_V6 | XO_SYS_STORE_V6};
    char long_topic[256];
    memset(long_topic, 't', 255);
    for (int version = V1; version <= V2; version++)
        for (size_t h = 0; h < 4; h++) {
            xo_record r = sample(version, hosts[h]), got;
            char id[XO_OFFSET_ID_SIZE];
            size_t n, at = 0;
            int more;
            if (version == V2) {
                r.topic = long_topic;
                r.ntopic = 255;
            }
            char *p = exact(&r, &n);
            ck_assert_int_eq(xo_record_next(p, n, &at, &got, &more), XONCE_OK);
            ck_assert_int_eq(more, 1);
            ck_assert_uint_eq(at, n);
            ck_assert_int_eq(got.queue, 3);
            ck_assert_int_eq(got.flag, -7);
            ck_assert_int_eq(got.queue_offset, INT64_C(0x0102030405060708));
            ck_assert_int_eq(got.log_offset, 267);
            ck_assert_int_eq(got.prepared_offset, -1);
            ck_assert_int_eq(got.reconsume, 2);
            ck_assert_int_eq(got.member, 0);
            ck_assert_mem_eq(got.born_host, r.born_host, 20);
            ck_assert_mem_eq(got.store_host, r.store_host, 20);
            ck_assert_uint_eq(got.ntopic, r.ntopic);
            ck_assert_mem_eq(got.body, "hello", 5);
            xo_record_id(&got, id);
            ck_assert_str_eq(id, got.nstore == 8 ? "7F00000100007153000000000000010B" : "FD00000000000000000000000000000200002A9F000000000000010B");
            ck_assert_int_eq(xo_record_next(p, n, &at, &got, &more), XONCE_OK);
            ck_assert_int_eq(more, 0);
            free(p);
        }
}
END_TEST

START_TEST(several)
{
    xo_record r = sample(V1, 0), got;
    xo_buf b = {0};
    size_t at = 0, n = 0;
    int more;
    for (int i = 0; i < 32; i++) {
        r.queue_offset = i;
        xo_record_encode(&r, &b);
    }
    while (ck_assert_msg(xo_record_next(b.p, b.len, &at, &got, &more) == XONCE_OK, "at %zu", at), more)
        ck_assert_int_eq(got.queue_offset, (int64_t)n++);
    ck_assert_uint_eq(n, 32);
    at = 0;
    ck_assert_int_eq(xo_record_next(NULL, 0, &at, &got, &more), XONCE_OK);
    ck_assert_int_eq(more, 0);
    at = b.len + 1;
    ck_assert_int_eq(xo_record_next(b.p, b.len, &at, &got, &more), XONCE_E_PROTOCOL);
    /* something is left behind the last one: the whole answer is not to be believed */
    xo_buf_char(&b, 0);
    at = b.len - 1;
    ck_assert_int_eq(xo_record_next(b.p, b.len, &at, &got, &more), XONCE_E_PROTOCOL);
    ck_assert_int_eq(more, 0);
    xo_buf_free(&b);
}
END_TEST

START_TEST(damaged)
{
    static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff};
    for (int version = V1; version <= V2; version++) {
        xo_record r = sample(version, XO_SYS_BORN_V6), got;
        size_t n, at = 0;
        int more;
        char *p = exact(&r, &n);
        for (size_t cut = 1; cut < n; cut++) {
            char *q = malloc(cut);
            memcpy(q, p, cut);
            at = 0;
            ck_assert_int_eq(xo_record_next(q, cut, &at, &got, &more), XONCE_E_PROTOCOL);
            ck_assert_int_eq(more, 0);
            ck_assert_uint_eq(at, 0);
            if (cut >= 4) { /* and with a size that says so */
                q[2] = (char)(cut >> 8);
                q[3] = (char)cut;
                ck_assert_int_eq(xo_record_next(q, cut, &at, &got, &more), XONCE_E_PROTOCOL);
            }
            free(q);
        }
        for (size_t k = 0; k < n; k++)
            for (size_t v = 0; v < sizeof values; v++) {
                char old = p[k];
                p[k] = (char)values[v];
                at = 0;
                if (xo_record_next(p, n, &at, &got, &more) == XONCE_OK) {
                    xonce_message *m = NULL;
                    ck_assert_uint_eq(at, n);
                    xonce_status st = xo_record_message(&got, "b", &m);
                    ck_assert(st == XONCE_OK || st == XONCE_E_PROTOCOL);
                    ck_assert((st == XONCE_OK) == (m != NULL));
                    xonce_message_free(m);
                }
                p[k] = old;
            }
        free(p);
    }
    /* the filler at the end of a log file */
    char p[0x5b] = "\0\0\0\x5b\xcb\xd4\x31\x94";
    xo_record got;
    size_t at = 0;
    int more;
    ck_assert_int_eq(xo_record_next(p, sizeof p, &at, &got, &more), XONCE_E_PROTOCOL);
    ck_assert(says("no message"));
}
END_TEST

/* n bytes more at the end: of the record, and (grown) of its properties. */
static xonce_status stretched(uint32_t more_size, uint32_t more_properties, size_t bytes)
{
    xo_record r = sample(V1, 0), got;
    xo_buf b = {0};
    size_t at = 0;
    int more;
    set(&r, "x", "");
    xo_record_encode(&r, &b);
    xo_record_encode(&r, &b);
    size_t second = b.len / 2, size = second + more_size;
    for (int i = 0; i < 4; i++)
        b.p[second + (size_t)i] = (char)(size >> (24 - 8 * i) & 0xff);
    b.p[b.len - 2] = (char)(more_properties >> 8);
    b.p[b.len - 1] = (char)(more_properties & 0xff);
    char *p = malloc(b.len + bytes);
    ck_assert_ptr_nonnull(p);
    memcpy(p, b.p, b.len);
    memset(p + b.len, 'p', bytes);
    ck_assert_int_eq(xo_record_next(p, b.len + bytes, &at, &got, &more), XONCE_OK);
    xonce_status st = xo_record_next(p, b.len + bytes, &at, &got, &more);
    xo_buf_free(&b);
    free(p);
    return st;
}

START_TEST(lengths)
{
    ck_assert_int_eq(stretched(0, 0, 0), XONCE_OK);
    ck_assert_int_eq(stretched(1, 1, 1), XONCE_OK);
    ck_assert_int_eq(stretched(32767, 32767, 32767), XONCE_OK);
    ck_assert_int_eq(stretched(1, 0, 1), XONCE_E_PROTOCOL);         /* a byte that belongs to nothing */
    ck_assert_int_eq(stretched(0, 1, 1), XONCE_E_PROTOCOL);
    ck_assert_int_eq(stretched(1, 1, 0), XONCE_E_PROTOCOL);         /* beyond the end of the answer, though not larger than it */
    ck_assert_int_eq(stretched(32768, 32768, 32768), XONCE_E_PROTOCOL); /* negative for Java */
    ck_assert_int_eq(stretched((uint32_t)-98, 0, 0), XONCE_E_PROTOCOL); /* a size of 0, of 3 */
    ck_assert_int_eq(stretched((uint32_t)-95, 0, 0), XONCE_E_PROTOCOL);
}
END_TEST

START_TEST(unwritable)
{
    xo_record r = sample(V1, 0);
    xo_buf b = {0};
    r.ntopic = 256;
    xo_record_encode(&r, &b);
    ck_assert_int_eq(b.failed, 1);
    xo_buf_reset(&b);
    r = sample(V1, 0);
    r.nproperties = 32768;
    xo_record_encode(&r, &b);
    ck_assert_int_eq(b.failed, 1);
    xo_buf_reset(&b);
    r = sample(V1, 0);
    r.nborn = 21;
    xo_record_encode(&r, &b);
    ck_assert_int_eq(b.failed, 1);
    xo_buf_free(&b);
}
END_TEST

static const char *property(const xo_record *r, const char *name, size_t which)
{
    static char text[64];
    size_t n = 0;
    const char *v = xo_record_property(r, name, which, &n);
    if (!v)
        return NULL;
    ck_assert_uint_lt(n, sizeof text);
    memcpy(text, v, n);
    text[n] = 0;
    return text;
}

START_TEST(properties)
{
    xo_record r = sample(V1, 0);
    set(&r, "x", "A\1one\2B\1\2A\1two\2nothing\2\1unnamed\2C\1=\1=\2A\1\2\2\2D\1last");
    ck_assert_str_eq(property(&r, "A", 0), "one");
    ck_assert_str_eq(property(&r, "A", 1), "two");
    ck_assert_str_eq(property(&r, "A", 2), "");
    ck_assert_ptr_null(property(&r, "A", 3));
    ck_assert_str_eq(property(&r, "B", 0), "");
    ck_assert_str_eq(property(&r, "C", 0), "=\1=");
    ck_assert_str_eq(property(&r, "D", 0), "last");
    ck_assert_ptr_null(property(&r, "", 0));
    ck_assert_ptr_null(property(&r, "nothing", 0));
    ck_assert_ptr_null(property(&r, "AA", 0));
    xonce_message *m = message(&r);
    ck_assert_ptr_null(m->refuse);
    ck_assert_str_eq(xonce_message_property(m, "A"), "two"); /* the last that is not empty */
    ck_assert_str_eq(xonce_message_property(m, "B"), "");
    ck_assert_str_eq(xonce_message_property(m, "D"), "last");
    ck_assert_uint_eq(m->nproperties, 4);
    xonce_message_free(m);
    static const char *const texts[] = {"", "\2", "\1", "\1\2\1\2", "A", "A\1", "\2\2A"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        set(&r, "x", texts[i]);
        ck_assert_ptr_null(property(&r, "B", 0));
        m = message(&r);
        ck_assert_uint_le(m->nproperties, 1);
        xonce_message_free(m);
    }
    static const char *const uniq[][2] = {
        {"UNIQ_KEY\1own\2X\1y\2UNIQ_KEY\1batch\2", "own"}, {"UNIQ_KEY\1\2UNIQ_KEY\1batch\2", "batch"}, {"UNIQ_KEY\1own\2UNIQ_KEY\1\2", "own"}, {"UNIQ_KEY\1only", "only"}};
    for (size_t i = 0; i < 4; i++) {
        set(&r, "x", uniq[i][0]);
        m = message(&r);
        ck_assert_str_eq(xonce_message_property(m, "UNIQ_KEY"), uniq[i][1]);
        xonce_message_free(m);
    }
}
END_TEST

/* The same rules when there are so many that they are sorted. */
START_TEST(many_properties)
{
    for (unsigned n = 0; n < 200; n += 3) {
        xo_record r = sample(V1, 0);
        xo_buf b = {0};
        xo_buf_str(&b, "A\1one\2B\1\2UNIQ_KEY\1\2UNIQ_KEY\1own\2AA\1x\2");
        for (unsigned i = 0; i < n; i++)
            xo_buf_printf(&b, "p%u\1%u\2", i * 7919 % 10007, i);
        xo_buf_str(&b, "A\1two\2UNIQ_KEY\1batch\2A\1\2B\1late\2p\1q\2UNIQ_KEY\1\2A\1three\2");
        set(&r, "x", b.p);
        xonce_message *m = message(&r);
        ck_assert_ptr_null(m->refuse);
        ck_assert_uint_eq(m->nproperties, n + 5);
        ck_assert_str_eq(xonce_message_property(m, "A"), "three");
        ck_assert_str_eq(xonce_message_property(m, "AA"), "x");
        ck_assert_str_eq(xonce_message_property(m, "B"), "late");
        ck_assert_str_eq(xonce_message_property(m, "p"), "q");
        ck_assert_str_eq(xonce_message_property(m, "UNIQ_KEY"), "own");
        ck_assert_str_eq(m->properties[0].name, "A");
        ck_assert_str_eq(m->properties[m->nproperties - 1].name, "p");
        ck_assert_int_eq(xonce_message_set_property(m, "A", "mine"), XONCE_OK);
        ck_assert_int_eq(xonce_message_set_property(m, "new", "more"), XONCE_OK);
        ck_assert_str_eq(xonce_message_property(m, "A"), "mine");
        ck_assert_uint_eq(m->nproperties, n + 6);
        xonce_message_free(m);
        xo_buf_free(&b);
    }
}
END_TEST

/* What no table can hold makes the message one to be rejected, not one that stops its queue for ever. */
START_TEST(impossible_properties)
{
    xo_record r = sample(V1, 0);
    r.properties = "A\1x\0y\2B\1z\2";
    r.nproperties = 10;
    xonce_message *m = message(&r);
    ck_assert_ptr_nonnull(m->refuse);
    ck_assert_ptr_nonnull(strstr(m->refuse, "zero byte"));
    ck_assert_str_eq(xonce_message_property(m, "B"), "z");
    ck_assert_ptr_null(xonce_message_property(m, "A"));
    xonce_message_free(m);
    r.properties = "A\0\1x\2B\1z\2";
    r.nproperties = 9;
    m = message(&r);
    ck_assert_ptr_nonnull(m->refuse);
    ck_assert_uint_eq(m->nproperties, 1);
    xonce_message_free(m);
    xo_buf b = {0};
    for (int i = 0; b.len < 32700; i++)
        xo_buf_printf(&b, "%x\1\2", (unsigned)i);
    r.properties = b.p;
    r.nproperties = b.len;
    m = message(&r);
    ck_assert_ptr_null(m->refuse);
    ck_assert_uint_gt(m->nproperties, 5000);
    xonce_message_free(m);
    /* more names than are kept fit in only with all 253 of one byte */
    xo_buf_reset(&b);
    for (int i = 0; b.len < 32764; i++) {
        if (i >= 253)
            xo_buf_char(&b, (char)(3 + i / 200));
        xo_buf_char(&b, (char)(3 + (i < 253 ? i : i % 200)));
        xo_buf_str(&b, "\1\2");
    }
    r.properties = b.p;
    r.nproperties = b.len;
    m = message(&r);
    ck_assert_ptr_nonnull(m->refuse);
    ck_assert_ptr_nonnull(strstr(m->refuse, "properties"));
    xonce_message_free(m);
    xo_buf_free(&b);
}
END_TEST

START_TEST(whole_message)
{
    xo_record r = sample(V1, 0);
    xonce_message *m = message(&r), *bad = NULL;
    ck_assert_str_eq(m->topic, "orders");
    ck_assert_str_eq(m->id, "7F00000100007153000000000000010B");
    ck_assert_str_eq(m->broker, "broker-a");
    ck_assert_int_eq(m->queue, 3);
    ck_assert_int_eq(m->offset, r.queue_offset);
    ck_assert_int_eq(m->copy_offset, r.queue_offset);
    ck_assert_int_eq(m->log_offset, 267);
    ck_assert_int_eq(m->copy_log_offset, 267);
    ck_assert_int_eq(m->store_time, r.store_time);
    ck_assert_int_eq(m->attempt, 3);
    ck_assert_int_eq(m->expires_mono, INT64_MAX);
    ck_assert_int_gt(m->polled_boot, 0);
    ck_assert_ptr_null(m->uniq);
    ck_assert_ptr_null(m->handle);
    ck_assert_uint_eq(m->mark, 0);
    xonce_message_free(m);
    static const int32_t times[][2] = {{0, 1}, {-1, 1}, {INT32_MIN, 1}, {INT32_MAX, INT32_MAX}, {15, 16}};
    for (size_t i = 0; i < 5; i++) {
        r.reconsume = times[i][0];
        m = message(&r);
        ck_assert_int_eq(m->attempt, times[i][1]);
        xonce_message_free(m);
    }
    r = sample(V2, 0);
    r.ntopic = 0;
    ck_assert_int_eq(xo_record_message(&r, "b", &bad), XONCE_E_PROTOCOL);
    r.topic = "a\0b";
    r.ntopic = 3;
    ck_assert_int_eq(xo_record_message(&r, "b", &bad), XONCE_E_PROTOCOL);
    char topic[256];
    memset(topic, 't', 256);
    r.topic = topic;
    r.ntopic = 256;
    ck_assert_int_eq(xo_record_message(&r, "b", &bad), XONCE_E_PROTOCOL);
    ck_assert_ptr_null(bad);
    r.ntopic = 255;
    ck_assert_int_eq(xo_record_message(&r, NULL, &m), XONCE_OK);
    ck_assert_str_eq(m->broker, "");
    xonce_message_free(m);
    r = sample(V1, 0);
    set(&r, "", "");
    m = message(&r);
    ck_assert_uint_eq(m->body_len, 0);
    ck_assert_uint_eq(m->nproperties, 0);
    xonce_message_free(m);
}
END_TEST

static void same_message(const xonce_message *a, const xonce_message *b)
{
    ck_assert_str_eq(a->topic, b->topic);
    ck_assert_str_eq(a->id, b->id);
    ck_assert_str_eq(a->broker, b->broker);
    ck_assert(a->queue == b->queue && a->offset == b->offset && a->store_time == b->store_time && a->log_offset == b->log_offset && a->attempt == b->attempt);
    ck_assert_int_eq(a->copy_offset, b->copy_offset);
    ck_assert_int_eq(a->copy_log_offset, b->copy_log_offset);
    ck_assert_uint_eq(a->body_len, b->body_len);
    ck_assert_mem_eq(a->body, b->body, a->body_len + 1); /* the zero byte behind it too */
    ck_assert_uint_eq(a->nproperties, b->nproperties);
    for (size_t i = 0; i < a->nproperties; i++) {
        ck_assert_str_eq(a->properties[i].name, b->properties[i].name);
        ck_assert_str_eq(a->properties[i].value, b->properties[i].value);
    }
    ck_assert_pstr_eq(a->refuse, b->refuse);
}

/* What comes together and stays where it stands is what each would be alone, and lives as long as itself. */
START_TEST(packed_together)
{
    enum { N = 9 };
    xo_record r[N], got;
    xo_buf b = {0}, zipped = {0}, many = {0};
    xonce_message *alone[N], *m[N];
    for (int i = 0; i < 40; i++)
        xo_buf_printf(&many, "name%d\1value%d\2", i % 38, i);
    for (size_t i = 0; i < N; i++) {
        r[i] = sample(i % 2 ? V2 : V1, i % 3 ? 0 : XO_SYS_STORE_V6);
        r[i].queue_offset = (int64_t)i;
    }
    set(&r[1], "", "");
    set(&r[2], "last value without an end", "A\0011\2TAGS\1t");
    set(&r[3], "doubles", "A\1first\2B\1\2A\1\2A\1last\2\1nameless\2no value\2UNIQ_KEY\1own\2UNIQ_KEY\1batch's\2");
    set(&r[4], "many", many.p);
    ck_assert_int_eq(xo_codec_pack(XO_SYS_ZLIB, 5, "unpacked body", 13, &zipped), XONCE_OK);
    r[5].sys_flag |= XO_SYS_COMPRESSED | XO_SYS_ZLIB;
    r[5].body = zipped.p;
    r[5].body_len = zipped.len;
    r[5].crc = crc(zipped.p, zipped.len);
    r[6].sys_flag |= XO_SYS_COMPRESSED | XO_SYS_ZLIB; /* but it is none: refused */
    r[7].properties = "A\1x\0y\2B\1ok\2";
    r[7].nproperties = 11;
    for (size_t i = 0; i < N; i++) {
        alone[i] = message(&r[i]);
        xo_record_encode(&r[i], &b);
    }
    ck_assert_int_eq(b.failed, 0);
    char *frame = malloc(b.len + 1);
    memcpy(frame, b.p, b.len);
    frame[b.len] = 0;
    xo_pack *k = xo_pack_new(64);
    ck_assert(k && xo_pack_keep(k, frame, b.len));
    ck_assert_uint_eq(k->size, b.len);
    size_t at = 0;
    int more;
    for (size_t i = 0; i < N; i++) {
        ck_assert(xo_record_next(frame, b.len, &at, &got, &more) == XONCE_OK && more);
        ck_assert_msg(xo_record_put(&got, k, "orders", "broker-a", NULL, &m[i]) == XONCE_OK, "%zu: %s", i, xonce_error_last()->text);
        ck_assert(i == 5 || !m[i]->body_len || ((const char *)m[i]->body > frame && (const char *)m[i]->body < frame + b.len));
    }
    ck_assert(xo_record_next(frame, b.len, &at, &got, &more) == XONCE_OK && !more);
    xo_pack_drop(k);
    ck_assert_str_eq(xonce_message_property(m[3], "A"), "last");
    ck_assert_ptr_nonnull(m[6]->refuse);
    ck_assert_ptr_nonnull(m[7]->refuse);
    static const size_t order[N] = {4, 0, 8, 3, 1, 7, 5, 6, 2};
    for (size_t i = 0; i < N; i++) {
        for (size_t j = i; j < N; j++)
            same_message(m[order[j]], alone[order[j]]);
        xonce_message_free(m[order[i]]);
        xonce_message_free(alone[order[i]]);
    }
    xo_buf_free(&b);
    xo_buf_free(&zipped);
    xo_buf_free(&many);
}
END_TEST

/* Changing what is shared touches nobody else's. */
START_TEST(packed_and_changed)
{
    xo_record r = sample(V1, 0), got;
    size_t n, at = 0;
    int more;
    xonce_message *m, *twin;
    char *bytes = exact(&r, &n), *frame = malloc(2 * n + 1);
    memcpy(frame, bytes, n);
    memcpy(frame + n, bytes, n);
    frame[2 * n] = 0;
    free(bytes);
    xo_pack *k = xo_pack_new(0);
    ck_assert(k && xo_pack_keep(k, frame, 2 * n));
    ck_assert(xo_record_next(frame, 2 * n, &at, &got, &more) == XONCE_OK && more);
    ck_assert_int_eq(xo_record_put(&got, k, "orders", "broker-a", NULL, &m), XONCE_OK);
    ck_assert(xo_record_next(frame, 2 * n, &at, &got, &more) == XONCE_OK && more);
    ck_assert_int_eq(xo_record_put(&got, k, "orders", "broker-a", NULL, &twin), XONCE_OK);
    xo_pack_drop(k);
    ck_assert_int_eq(xonce_message_set_property(m, "KEYS", "other"), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_property(m, "NEW", "x"), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_origin(m, "broker-b", 1, 2), XONCE_OK);
    xonce_message *copy;
    ck_assert_int_eq(xonce_message_copy(&copy, m), XONCE_OK);
    ck_assert_ptr_null(copy->pack);
    xonce_message_free(twin);
    ck_assert_str_eq(xonce_message_property(m, "UNIQ_KEY"), "U1");
    ck_assert_str_eq(xonce_message_property(m, "KEYS"), "other");
    ck_assert_uint_eq(m->nproperties, 3);
    ck_assert_str_eq(m->broker, "broker-b");
    xonce_message_free(m);
    ck_assert_str_eq(xonce_message_property(copy, "NEW"), "x");
    ck_assert_str_eq(copy->broker, "broker-b");
    ck_assert_mem_eq(copy->body, "hello", 6);
    xonce_message_free(copy);
}
END_TEST

START_TEST(checksums)
{
    xo_record r = sample(V1, 0);
    xo_buf b = {0};
    xonce_message *m = NULL;
    set(&r, "b", ""); /* its CRC-32 has the highest bit clear; that of "a" has it set: 0xe8b7be43 */
    set(&r, "a", "");
    ck_assert_uint_eq(r.crc, 0x68b7be43);
    ck_assert_int_eq(xo_record_body(&r, &b), XONCE_OK);
    r.crc = 0xe8b7be43; /* the whole of it is as good */
    ck_assert_int_eq(xo_record_body(&r, &b), XONCE_OK);
    r.crc = 0; /* nobody made one */
    ck_assert_int_eq(xo_record_body(&r, &b), XONCE_OK);
    ck_assert_str_eq(b.p, "aaa");
    r.crc = 0x68b7be42;
    ck_assert_int_eq(xo_record_body(&r, &b), XONCE_E_PROTOCOL);
    ck_assert(says("checksum"));
    ck_assert_str_eq(b.p, "aaa");
    ck_assert_int_eq(xo_record_message(&r, "b", &m), XONCE_E_PROTOCOL);
    ck_assert_ptr_null(m);
    ck_assert_int_eq(xo_record_refused(&r, "b", "damaged five times", &m), XONCE_OK);
    ck_assert_str_eq(m->refuse, "damaged five times");
    ck_assert_mem_eq(m->body, "a", 1);
    xonce_message_free(m);
    xo_buf_free(&b);
}
END_TEST

/* ---- inner batches */

typedef struct {
    size_t n, stop;
    int64_t first;
} counter;

static xonce_status count(const xo_record *m, void *arg)
{
    counter *c = arg;
    char want[64];
    ck_assert_int_eq(m->queue_offset, c->first + (int64_t)c->n);
    ck_assert_int_eq(m->member, (int32_t)c->n + 1);
    xonce_message *got = message(m);
    snprintf(want, sizeof want, "body %zu", c->n);
    ck_assert_ptr_null(got->refuse);
    ck_assert_int_eq(m->sys_flag, 0);
    ck_assert_uint_eq(got->body_len, strlen(want));
    ck_assert_mem_eq(got->body, want, got->body_len);
    snprintf(want, sizeof want, "7F00000100007153000000000000010B-%zu", c->n + 1);
    ck_assert_str_eq(got->id, want);
    ck_assert_str_eq(xonce_message_property(got, "UNIQ_KEY"), "own");
    ck_assert_str_eq(got->topic, "orders");
    ck_assert_int_eq(m->flag, (int32_t)c->n * 10);
    xonce_message_free(got);
    return ++c->n == c->stop ? xo_fail(XONCE_E_CLOSED, "enough") : XONCE_OK;
}

static void put(xo_buf *b, uint32_t v, int bytes)
{
    for (int i = bytes; i-- > 0;)
        xo_buf_char(b, (char)(v >> (8 * i) & 0xff));
}

static void member(xo_buf *b, unsigned i)
{
    char body[32];
    const char *p = "UNIQ_KEY\1own\2";
    snprintf(body, sizeof body, "body %u", i);
    put(b, (uint32_t)(4 + 4 + 4 + 4 + 4 + strlen(body) + 2 + strlen(p)), 4);
    put(b, 0, 4);
    put(b, 0, 4);
    put(b, i * 10, 4);
    put(b, (uint32_t)strlen(body), 4);
    xo_buf_str(b, body);
    put(b, (uint32_t)strlen(p), 2);
    xo_buf_str(b, p);
}

static void take(xo_record *r, const xo_buf *body)
{
    r->body = body->p;
    r->body_len = body->len;
    r->crc = crc(body->p, body->len);
}

static xonce_status one(const xo_record *m, void *arg)
{
    ck_assert_int_eq(m->member, 0);
    ++*(int *)arg;
    return XONCE_OK;
}

START_TEST(inner_batches)
{
    xo_record r = sample(V1, XO_SYS_INNER_BATCH);
    xo_buf body = {0}, packed = {0};
    for (unsigned i = 0; i < 5; i++)
        member(&body, i);
    take(&r, &body);
    counter c = {.first = r.queue_offset};
    ck_assert_int_eq(xo_record_members(&r, NULL, count, &c), XONCE_OK);
    ck_assert_uint_eq(c.n, 5);
    c = (counter){.first = r.queue_offset, .stop = 2};
    ck_assert_int_eq(xo_record_members(&r, NULL, count, &c), XONCE_E_CLOSED);
    ck_assert_uint_eq(c.n, 2);
    /* the whole compressed: its members are not */
    r.sys_flag |= XO_SYS_COMPRESSED | XO_SYS_ZSTD;
    ck_assert_int_eq(xo_codec_pack(XO_SYS_ZSTD, 3, body.p, body.len, &packed), XONCE_OK);
    take(&r, &packed);
    c = (counter){.first = r.queue_offset};
    ck_assert_int_eq(xo_record_members(&r, NULL, count, &c), XONCE_OK);
    ck_assert_uint_eq(c.n, 5);
    xo_buf_free(&packed);
    /* one of the two bits is not enough */
    int calls = 0;
    for (int bit = 0x40; bit <= 0x80; bit *= 2) {
        r = sample(V1, bit);
        ck_assert_int_eq(xo_record_members(&r, NULL, one, &calls), XONCE_OK);
    }
    ck_assert_int_eq(calls, 2);
    /* cut short at every byte: whole members come, then it is said */
    r = sample(V1, XO_SYS_INNER_BATCH);
    size_t each = body.len / 5;
    for (size_t n = 0; n < body.len; n++) {
        xo_buf cut = {0};
        xo_buf_add(&cut, body.p, n);
        take(&r, &cut);
        c = (counter){.first = r.queue_offset};
        ck_assert_int_eq(xo_record_members(&r, NULL, count, &c), n % each || n == 0 ? XONCE_E_PROTOCOL : XONCE_OK);
        ck_assert_uint_eq(c.n, n / each);
        xo_buf_free(&cut);
    }
    r.queue_offset = INT64_MAX - 1;
    take(&r, &body);
    c = (counter){.first = r.queue_offset};
    ck_assert_int_eq(xo_record_members(&r, NULL, count, &c), XONCE_E_PROTOCOL);
    ck_assert_uint_eq(c.n, 2);
    r.crc ^= 1;
    ck_assert_int_eq(xo_record_members(&r, NULL, count, &c), XONCE_E_PROTOCOL);
    xo_buf_free(&body);
}
END_TEST

/* ---- properties to be sent */

START_TEST(wire_properties)
{
    xonce_message *m;
    xo_buf b = {0};
    ck_assert_int_eq(xonce_message_new(&m, "t", NULL, "x", 1), XONCE_OK);
    ck_assert_int_eq(xo_wire_properties(m, &b), XONCE_OK);
    ck_assert_uint_eq(b.len, 0);
    xonce_message_set_property(m, "KEYS", "键 2");
    xonce_message_set_property(m, "empty", "");
    ck_assert_int_eq(xo_wire_properties(m, &b), XONCE_OK);
    xo_wire_property(&b, "UNIQ_KEY", "U");
    ck_assert_str_eq(b.p, "KEYS\1键 2\2empty\1\2UNIQ_KEY\1U\2");
    xo_record r = sample(V1, 0);
    r.properties = b.p;
    r.nproperties = b.len;
    xonce_message *back = message(&r);
    ck_assert_str_eq(xonce_message_property(back, "KEYS"), "键 2");
    ck_assert_str_eq(xonce_message_property(back, "UNIQ_KEY"), "U");
    xonce_message_free(back);
    static const char *const bad[][2] = {{"a\1", "x"}, {"a\2", "x"}, {"a", "\1"}, {"a", "x\2y"}, {"\xff", "x"}, {"a", "\xc3("}};
    for (size_t i = 0; i < 6; i++) {
        xonce_message *other;
        ck_assert_int_eq(xonce_message_new(&other, "t", NULL, "x", 1), XONCE_OK);
        ck_assert_int_eq(xonce_message_set_property(other, bad[i][0], bad[i][1]), XONCE_OK);
        xo_buf_reset(&b);
        ck_assert_msg(xo_wire_properties(other, &b) == XONCE_E_INVALID, "%zu", i);
        xonce_message_free(other);
    }
    xonce_message_free(m);
    char *big = calloc(1, 32768);
    for (int over = 0; over < 2; over++) {
        ck_assert_int_eq(xonce_message_new(&m, "t", NULL, "x", 1), XONCE_OK);
        memset(big, 'v', 32767 - 3 + (size_t)over);
        ck_assert_int_eq(xonce_message_set_property(m, "n", big), XONCE_OK);
        xo_buf_reset(&b);
        ck_assert_int_eq(xo_wire_properties(m, &b), over ? XONCE_E_INVALID : XONCE_OK);
        ck_assert_uint_eq(b.len, 32767 + (size_t)over);
        xonce_message_free(m);
    }
    free(big);
    xo_buf_free(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("stored messages");
    TCase *c = tcase_create("record");
    tcase_add_test(c, forms);
    tcase_add_test(c, several);
    tcase_add_test(c, damaged);
    tcase_add_test(c, lengths);
    tcase_add_test(c, unwritable);
    tcase_add_test(c, properties);
    tcase_add_test(c, many_properties);
    tcase_add_test(c, impossible_properties);
    tcase_add_test(c, whole_message);
    tcase_add_test(c, packed_together);
    tcase_add_test(c, packed_and_changed);
    tcase_add_test(c, checksums);
    tcase_add_test(c, inner_batches);
    tcase_add_test(c, wire_properties);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
