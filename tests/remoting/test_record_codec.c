/* Codecs of bodies: what is packed unpacks, what is cut, damaged or too large is refused, and what becomes of such messages. */
#include "base/mem.h"
#include "remoting/record.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const int codecs[] = {XO_SYS_ZLIB, XO_SYS_LZ4, XO_SYS_ZSTD};

static int says(const char *word)
{
    return strstr(xonce_error_last()->text, word) != NULL;
}

/* Half of it compresses well, half does not. */
static char *bytes(size_t n)
{
    char *p = malloc(n ? n : 1);
    uint32_t x = 1;
    ck_assert_ptr_nonnull(p);
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525 + 1013904223;
        p[i] = (char)(i / 100 % 2 ? x >> 24 : i % 7);
    }
    return p;
}

static void pack(int codec, const void *p, size_t n, xo_buf *out)
{
    ck_assert_msg(xo_codec_pack(codec, 3, p, n, out) == XONCE_OK, "%s", xonce_error_last()->text);
}

/* Java clients read LZ4 frames of independent blocks only: bit 5 of the frame's flags. */
START_TEST(lz4_blocks_stand_alone)
{
    static char body[300000];
    xo_buf packed = {0};
    ck_assert_int_eq(xo_codec_pack(XO_SYS_LZ4, 0, body, sizeof(body), &packed), XONCE_OK);
    ck_assert_uint_gt(packed.len, 5);
    ck_assert_int_eq(packed.p[4] & 0x20, 0x20);
    xo_buf_free(&packed);
}
END_TEST

START_TEST(there_and_back)
{
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 65536, 300000, 5000000};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t c = 0; c < 3; c++) {
            char *p = bytes(sizes[s]);
            xo_buf packed = {0}, out = {0};
            xo_buf_str(&packed, "before");
            xo_buf_str(&out, "x");
            pack(codecs[c], p, sizes[s], &packed);
            ck_assert_mem_eq(packed.p, "before", 6);
            ck_assert_msg(xo_codec_unpack(codecs[c] | XO_SYS_COMPRESSED, packed.p + 6, packed.len - 6, sizes[s], &out) == XONCE_OK, "%s", xonce_error_last()->text);
            ck_assert_uint_eq(out.len, sizes[s] + 1);
            ck_assert_int_eq(out.p[0], 'x');
            ck_assert(!memcmp(out.p + 1, p, sizes[s]));
            ck_assert_int_eq(out.p[out.len], 0);
            if (sizes[s]) { /* a bound that is one too small; what was there before stays */
                out.len = 1;
                ck_assert_int_eq(xo_codec_unpack(codecs[c] | XO_SYS_COMPRESSED, packed.p + 6, packed.len - 6, sizes[s] - 1, &out), XONCE_E_PROTOCOL);
                ck_assert(says("more than"));
                ck_assert_str_eq(out.p, "x");
            }
            xo_buf_free(&packed);
            xo_buf_free(&out);
            free(p);
        }
}
END_TEST

START_TEST(which_codec)
{
    xo_buf packed = {0}, out = {0};
    pack(XO_SYS_ZLIB, "hello hello hello", 17, &packed);
    ck_assert_int_eq(xo_codec_unpack(XO_SYS_COMPRESSED, packed.p, packed.len, 100, &out), XONCE_OK); /* before there were others */
    ck_assert_str_eq(out.p, "hello hello hello");
    out.len = 0;
    ck_assert_int_eq(xo_codec_unpack(XO_SYS_ZLIB, packed.p, packed.len, 100, &out), XONCE_OK); /* not compressed: as it is */
    ck_assert_uint_eq(out.len, packed.len);
    ck_assert_int_eq(xo_codec_unpack(0, packed.p, packed.len, packed.len - 1, &out), XONCE_E_PROTOCOL);
    for (int codec = 0x400; codec <= 0x700; codec += 0x100) {
        ck_assert_int_eq(xo_codec_unpack(XO_SYS_COMPRESSED | codec, packed.p, packed.len, 100, &out), XONCE_E_PROTOCOL);
        ck_assert(says("not known"));
        ck_assert_int_eq(xo_codec_pack(codec, 1, "x", 1, &out), XONCE_E_INVALID);
    }
    ck_assert_int_eq(xo_codec_pack(0, 1, "x", 1, &out), XONCE_E_INVALID);
    ck_assert_int_eq(xo_codec_pack(XO_SYS_ZLIB, 1, "x", (size_t)XO_BODY_MAX + 1, &out), XONCE_E_INVALID);
    xo_buf_free(&packed);
    for (int level = -5; level < 30; level += 5) /* levels out of range are no error */
        for (size_t c = 0; c < 3; c++) {
            ck_assert_int_eq(xo_codec_pack(codecs[c], level, "hello", 5, &packed), XONCE_OK);
            out.len = 0;
            ck_assert_int_eq(xo_codec_unpack(codecs[c] | XO_SYS_COMPRESSED, packed.p, packed.len, 100, &out), XONCE_OK);
            ck_assert_str_eq(out.p, "hello");
            packed.len = 0;
        }
    xo_buf_free(&packed);
    xo_buf_free(&out);
}
END_TEST

START_TEST(damaged)
{
    char *p = bytes(3000);
    for (size_t c = 0; c < 3; c++) {
        xo_buf packed = {0}, out = {0};
        int flags = codecs[c] | XO_SYS_COMPRESSED;
        pack(codecs[c], p, 3000, &packed);
        for (size_t n = 0; n < packed.len; n++) {
            char *cut = malloc(n ? n : 1);
            memcpy(cut, packed.p, n);
            ck_assert_msg(xo_codec_unpack(flags, cut, n, 5000, &out) == XONCE_E_PROTOCOL, "%zu of %zu", n, packed.len);
            ck_assert_uint_eq(out.len, 0);
            free(cut);
        }
        for (size_t k = 0; k < packed.len; k++) {
            packed.p[k] = (char)~packed.p[k];
            xonce_status st = xo_codec_unpack(flags, packed.p, packed.len, 5000, &out);
            ck_assert(st == XONCE_E_PROTOCOL || (st == XONCE_OK && out.len <= 5000));
            out.len = 0;
            packed.p[k] = (char)~packed.p[k];
        }
        ck_assert_int_eq(xo_codec_unpack(flags, p, 3000, 5000, &out), XONCE_E_PROTOCOL);
        ck_assert_int_eq(xo_codec_unpack(flags, NULL, 0, 5000, &out), XONCE_E_PROTOCOL);
        xo_buf_free(&packed);
        xo_buf_free(&out);
    }
    free(p);
}
END_TEST

/* Java's streams read frames one behind the other, and zlib without a look at what follows. */
START_TEST(frames_in_a_row)
{
    xo_buf packed = {0}, out = {0};
    for (size_t c = 0; c < 3; c++) {
        pack(codecs[c], "one ", 4, &packed);
        pack(codecs[c], "two", 3, &packed);
        ck_assert_int_eq(xo_codec_unpack(codecs[c] | XO_SYS_COMPRESSED, packed.p, packed.len, 100, &out), XONCE_OK);
        ck_assert_str_eq(out.p, codecs[c] == XO_SYS_ZLIB ? "one " : "one two");
        packed.len = out.len = 0;
    }
    xo_buf_free(&packed);
    xo_buf_free(&out);
}
END_TEST

static xo_record message_of(int codec, const xo_buf *body)
{
    xo_record r = {.magic = 0xdaa320a7, .sys_flag = XO_SYS_COMPRESSED | codec, .nborn = 8, .nstore = 8, .topic = "t", .ntopic = 1, .properties = "A\1b", .nproperties = 3};
    r.body = body->p;
    r.body_len = body->len;
    r.crc = (uint32_t)crc32_z(0, (const Bytef *)body->p, body->len) & 0x7fffffff;
    return r;
}

/* A small frame that would fill the memory is noticed while it is unpacked, and its message goes to the rejected ones. */
START_TEST(bombs)
{
    size_t n = (size_t)XO_BODY_MAX + 1;
    char *zeros = calloc(1, n);
    ck_assert_ptr_nonnull(zeros);
    for (size_t c = 0; c < 3; c++) {
        for (int over = codecs[c] != XO_SYS_LZ4; over < 2; over++) { /* that the bound itself is allowed is seen with the fastest alone */
            xo_buf packed = {0};
            xonce_message *m;
            if (over) { /* pack refuses that size, so in two steps: 64 MiB and one byte more, as frames in a row or, for zlib, one stream */
                if (codecs[c] == XO_SYS_ZLIB) {
                    uLongf size = compressBound((uLong)n);
                    packed.p = malloc(size);
                    ck_assert_int_eq(compress2((Bytef *)packed.p, &size, (Bytef *)zeros, (uLong)n, 1), Z_OK);
                    packed.len = packed.cap = size;
                } else {
                    pack(codecs[c], zeros, XO_BODY_MAX, &packed);
                    pack(codecs[c], zeros, 1, &packed);
                }
            } else {
                pack(codecs[c], zeros, XO_BODY_MAX, &packed);
            }
            ck_assert_uint_lt(packed.len, 400000);
            xo_record r = message_of(codecs[c], &packed);
            ck_assert_int_eq(xo_record_message(&r, "b", &m), XONCE_OK);
            ck_assert_uint_eq(m->body_len, over ? packed.len : (size_t)XO_BODY_MAX);
            ck_assert_int_eq(m->refuse != NULL, over);
            ck_assert_str_eq(xonce_message_property(m, "A"), "b");
            xonce_message_free(m);
            xo_buf_free(&packed);
        }
    }
    free(zeros);
}
END_TEST

/* A frame that asks for a window greater than any body is refused before it gets one. */
START_TEST(windows)
{
    static const char huge[] = "\x28\xb5\x2f\xfd\x00\x88\x01\x00\x00"; /* no content size, window 2^27, one empty block */
    static const char small[] = "\x28\xb5\x2f\xfd\x00\x00\x01\x00\x00"; /* the same with a window of 1 KiB */
    xo_buf out = {0};
    ck_assert_int_eq(xo_codec_unpack(XO_SYS_COMPRESSED | XO_SYS_ZSTD, huge, sizeof huge - 1, XO_BODY_MAX, &out), XONCE_E_PROTOCOL);
    ck_assert(says("memory"));
    ck_assert_msg(xo_codec_unpack(XO_SYS_COMPRESSED | XO_SYS_ZSTD, small, sizeof small - 1, XO_BODY_MAX, &out) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_uint_eq(out.len, 0);
    xo_buf_free(&out);
}
END_TEST

START_TEST(messages)
{
    char *p = bytes(6000);
    for (size_t c = 0; c < 3; c++) {
        xo_buf packed = {0};
        xonce_message *m;
        pack(codecs[c], p, 6000, &packed);
        xo_record r = message_of(codecs[c], &packed);
        ck_assert_int_eq(xo_record_message(&r, "b", &m), XONCE_OK);
        ck_assert_uint_eq(m->body_len, 6000);
        ck_assert(!memcmp(m->body, p, 6000));
        ck_assert_ptr_null(m->refuse);
        xonce_message_free(m);
        r.crc ^= 4; /* the checksum is of the packed bytes */
        ck_assert_int_eq(xo_record_message(&r, "b", &m), XONCE_E_PROTOCOL);
        packed.len /= 2;
        r = message_of(codecs[c], &packed); /* its sender packed half of it: it will never be another way */
        ck_assert_int_eq(xo_record_message(&r, "b", &m), XONCE_OK);
        ck_assert_ptr_nonnull(strstr(m->refuse, "does not unpack"));
        ck_assert_uint_eq(m->body_len, packed.len);
        ck_assert(!memcmp(m->body, packed.p, packed.len));
        xonce_message_free(m);
        xo_buf_free(&packed);
    }
    free(p);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("codecs");
    TCase *c = tcase_create("codec");
    tcase_add_test(c, lz4_blocks_stand_alone);
    tcase_add_test(c, there_and_back);
    tcase_add_test(c, which_codec);
    tcase_add_test(c, damaged);
    tcase_add_test(c, frames_in_a_row);
    tcase_add_test(c, bombs);
    tcase_add_test(c, windows);
    tcase_add_test(c, messages);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
