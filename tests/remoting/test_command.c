/* Commands: building and both header forms, what decoding accepts and refuses, answer codes as errors, signatures. */
#include "base/mem.h"
#include "remoting/command.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int says(const char *word)
{
    return strstr(xonce_error_last()->text, word) != NULL;
}

/* From an allocation of exactly these bytes; form: 0 JSON, 1 binary. */
static xonce_status decode(xo_command *c, unsigned form, const char *header, size_t nheader, const char *body)
{
    size_t nbody = strlen(body), n = 4 + nheader + nbody;
    char *frame = malloc(n);
    ck_assert_ptr_nonnull(frame);
    frame[0] = (char)form;
    for (int i = 0; i < 3; i++)
        frame[1 + i] = (char)(nheader >> (16 - 8 * i) & 0xff);
    memcpy(frame + 4, header, nheader);
    if (nbody)
        memcpy(frame + 4 + nheader, body, nbody);
    return xo_command_decode(c, frame, n);
}

static xonce_status json(xo_command *c, const char *header)
{
    return decode(c, 0, header, strlen(header), "");
}

START_TEST(building)
{
    xo_command c;
    int64_t v = 0;
    xo_command_init(&c, XO_RMQ_PULL);
    ck_assert_int_eq(c.version, XO_REMOTING_VERSION);
    ck_assert_int_eq(c.language, XO_LANGUAGE_CPP);
    ck_assert_ptr_null(xo_command_get(&c, "topic"));
    char name[] = "topic", value[] = "orders";
    xo_command_set(&c, name, value);
    memset(name, 'x', 5);
    memset(value, 'x', 6);
    ck_assert_str_eq(xo_command_get(&c, "topic"), "orders");
    xo_command_set(&c, "topic", NULL);
    ck_assert_str_eq(xo_command_get(&c, "topic"), "orders");
    xo_command_set(&c, "absent", NULL);
    ck_assert_uint_eq(c.nfields, 1);
    xo_command_set(&c, "topic", "b");
    ck_assert_uint_eq(c.nfields, 1);
    ck_assert_str_eq(xo_command_get(&c, "topic"), "b");
    xo_command_set_int(&c, "min", INT64_MIN);
    xo_command_set_int(&c, "max", INT64_MAX);
    xo_command_set_bool(&c, "yes", 7);
    xo_command_set_bool(&c, "no", 0);
    ck_assert_str_eq(xo_command_get(&c, "yes"), "true");
    ck_assert_str_eq(xo_command_get(&c, "no"), "false");
    ck_assert_int_eq(xo_command_get_int(&c, "min", &v), XONCE_OK);
    ck_assert_int_eq(v, INT64_MIN);
    ck_assert_int_eq(xo_command_get_int(&c, "max", &v), XONCE_OK);
    ck_assert_int_eq(v, INT64_MAX);
    for (int i = 0; i < 300; i++) {
        char field[16];
        snprintf(field, sizeof field, "f%d", i);
        xo_command_set_int(&c, field, i);
    }
    ck_assert_uint_eq(c.nfields, 305);
    ck_assert_str_eq(xo_command_get(&c, "f0"), "0");
    ck_assert_str_eq(xo_command_get(&c, "f299"), "299");
    ck_assert_int_eq(c.failed, 0);
    xo_command_free(&c);
    ck_assert_ptr_null(c.fields);
    ck_assert_uint_eq(c.nfields, 0);
    xo_command_free(&c);
}
END_TEST

START_TEST(numbers)
{
    static const char *const bad[] = {"", " ", "x", "1x", "1 ", " 1", "+1", "0x10", "1.5", "9223372036854775808", "-9223372036854775809", "-"};
    xo_command c;
    int64_t v = 42;
    xo_command_init(&c, 11);
    ck_assert_int_eq(xo_command_get_int(&c, "offset", &v), XONCE_E_PROTOCOL);
    ck_assert(says("offset"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        xo_command_set(&c, "offset", bad[i]);
        ck_assert_msg(xo_command_get_int(&c, "offset", &v) == XONCE_E_PROTOCOL && says("offset"), "%s", bad[i]);
    }
    ck_assert_int_eq(v, 42);
    xo_command_set(&c, "offset", "-0017");
    ck_assert_int_eq(xo_command_get_int(&c, "offset", &v), XONCE_OK);
    ck_assert_int_eq(v, -17);
    xo_command_free(&c);
}
END_TEST

START_TEST(written)
{
    static const char header[] = "{\"code\":105,\"extFields\":{\"topic\":\"a\\\"\\u0001标\"},\"flag\":0,\"language\":\"CPP\",\"opaque\":7,\"serializeTypeCurrentRPC\":\"JSON\",\"version\":433}";
    xo_command c, d;
    xo_buf out = {0}, body = {0};
    xo_buf_str(&out, "before");
    xo_command_init(&c, XO_RMQ_ROUTE);
    c.opaque = 7;
    xo_command_set(&c, "topic", "a\"\001标");
    xo_buf_add(&body, "bo\0dy", 5);
    xo_command_take_body(&c, &body);
    ck_assert_ptr_null(body.p);
    ck_assert_int_eq(xo_command_encode(&c, &out), XONCE_OK);
    ck_assert_uint_eq(out.len, 6 + 8 + sizeof header - 1 + 5);
    ck_assert_mem_eq(out.p, "before\0\0\0", 9);
    ck_assert_uint_eq((unsigned char)out.p[9], 4 + sizeof header - 1 + 5);
    ck_assert_mem_eq(out.p + 10, "\0\0\0", 3);
    ck_assert_uint_eq((unsigned char)out.p[13], sizeof header - 1);
    ck_assert_mem_eq(out.p + 14, header, sizeof header - 1);
    ck_assert_mem_eq(out.p + 14 + sizeof header - 1, "bo\0dy", 5);
    char *frame = xo_memdup0(out.p + 10, out.len - 10);
    ck_assert_int_eq(xo_command_decode(&d, frame, out.len - 10), XONCE_OK);
    ck_assert_str_eq(xo_command_get(&d, "topic"), "a\"\001标");
    ck_assert_uint_eq(d.body_len, 5);
    ck_assert_ptr_eq(d.body, frame + out.len - 10 - 5); /* not copied */
    xo_command_free(&d);
    xo_command_free(&c);
    xo_buf_free(&out);
}
END_TEST

START_TEST(answers_and_bodies)
{
    xo_command c, d;
    xo_buf out = {0}, body = {0};
    xo_command_init(&c, XO_RMQ_SYSTEM_ERROR);
    c.flag = XO_FLAG_RESPONSE;
    c.remark = "why\n\"not\"\xff"; /* a remark is for people: what is no UTF-8 is replaced */
    c.body = "abc";
    c.body_len = 3;
    for (int binary = 0; binary < 2; binary++) {
        xo_buf_reset(&out);
        c.binary = binary;
        ck_assert_int_eq(xo_command_encode(&c, &out), XONCE_OK);
        ck_assert_int_eq(xo_command_decode(&d, xo_memdup0(out.p + 4, out.len - 4), out.len - 4), XONCE_OK);
        ck_assert_int_eq(d.flag, XO_FLAG_RESPONSE);
        ck_assert_str_eq(d.remark, binary ? "why\n\"not\"\xff" : "why\n\"not\"\xef\xbf\xbd");
        ck_assert_uint_eq(d.nfields, 0);
        ck_assert_mem_eq(d.body, "abc", 3);
        xo_command_free(&d);
    }
    xo_command_take_body(&c, &body); /* an empty one replaces what was there */
    ck_assert_uint_eq(c.body_len, 0);
    ck_assert_ptr_nonnull(c.own_body);
    xo_buf_str(&body, "second");
    xo_command_take_body(&c, &body);
    ck_assert_uint_eq(c.body_len, 6);
    body.failed = 1;
    xo_command_take_body(&c, &body);
    ck_assert_int_eq(c.failed, 1);
    ck_assert_int_eq(xo_command_encode(&c, &out), XONCE_E_NOMEM);
    xo_command_free(&c);
    xo_buf_free(&out);
}
END_TEST

START_TEST(unwritable)
{
    xo_command c;
    xo_buf out = {0};
    xo_buf_str(&out, "x");
    xo_command_init(&c, 200050);
    c.binary = 1;
    ck_assert_int_eq(xo_command_encode(&c, &out), XONCE_E_INVALID);
    ck_assert_uint_eq(out.len, 1);
    ck_assert_str_eq(out.p, "x");
    c.code = -40000;
    ck_assert_int_eq(xo_command_encode(&c, &out), XONCE_E_INVALID);
    c.code = 11;
    c.version = 40000;
    ck_assert_int_eq(xo_command_encode(&c, &out), XONCE_E_INVALID);
    c.binary = 0;
    ck_assert_int_eq(xo_command_encode(&c, &out), XONCE_OK);
    out.len = 1;
    xo_command_set(&c, "a", "\xc3(");
    ck_assert_int_eq(xo_command_encode(&c, &out), XONCE_E_INVALID);
    ck_assert(says("UTF-8"));
    ck_assert_uint_eq(out.len, 1);
    xo_command_set(&c, "a", "b");
    xo_command_set(&c, "\xff", "b");
    ck_assert_int_eq(xo_command_encode(&c, &out), XONCE_E_INVALID);
    xo_command_free(&c);

    xo_command_init(&c, 10);
    char *big = calloc(1, XO_FRAME_MAX + 1);
    ck_assert_ptr_nonnull(big);
    c.body = big;
    c.body_len = XO_FRAME_MAX + 1;
    ck_assert_int_eq(xo_command_encode(&c, &out), XONCE_E_INVALID);
    c.body_len = XO_FRAME_MAX - 50;
    ck_assert_int_eq(xo_command_encode(&c, &out), XONCE_E_INVALID);
    ck_assert_uint_eq(out.len, 1);
    c.body_len = XO_FRAME_MAX - 200;
    ck_assert_int_eq(xo_command_encode(&c, &out), XONCE_OK);
    out.len = 1;
    memset(big, 'n', 40000);
    big[40000] = 0;
    c.body_len = 0;
    xo_command_set(&c, big, "v");
    c.binary = 1;
    ck_assert_int_eq(xo_command_encode(&c, &out), XONCE_E_INVALID);
    ck_assert(says("too long"));
    xo_command_free(&c);
    free(big);
    xo_buf_free(&out);
}
END_TEST

START_TEST(lenient)
{
    xo_command c;
    int64_t v;
    static const char *const without[] = {"{\"code\":0,\"opaque\":9}", "{\"code\":0,\"opaque\":9,\"extFields\":null,\"remark\":null,\"language\":null,\"flag\":null,\"version\":null}",
                                          "{\"code\":0,\"opaque\":9,\"extFields\":{},\"remark\":5,\"language\":\"C\"}", "{\"code\":0,\"opaque\":9,\"new\":{0:[{{\"a\":1}:2}]},\"language\":99}"};
    for (size_t i = 0; i < 4; i++) {
        ck_assert_msg(json(&c, without[i]) == XONCE_OK, "%s: %s", without[i], xonce_error_last()->text);
        ck_assert_int_eq(c.code, 0);
        ck_assert_int_eq(c.opaque, 9);
        ck_assert_int_eq(c.language, -1);
        ck_assert_int_eq(c.flag, 0);
        ck_assert_uint_eq(c.nfields, 0);
        ck_assert_ptr_null(c.remark);
        xo_command_free(&c);
    }
    ck_assert_int_eq(json(&c, " {\"version\":-1,\"extFields\":{\"i\":-12,\"t\":true,\"f\":false,\"n\":null,\"r\":1.5,\"o\":{\"a\":[1]},\"s\":\"x\",\"e\":\"\"},\"opaque\":-5,"
                              "\"code\":200050,\"language\":12,\"flag\":3,\"remark\":\"\"}\n"),
                     XONCE_OK);
    static const char *const fields[][2] = {{"i", "-12"}, {"t", "true"}, {"f", "false"}, {"r", "1.5"}, {"o", "{\"a\":[1]}"}, {"s", "x"}, {"e", ""}};
    ck_assert_uint_eq(c.nfields, 7);
    for (size_t i = 0; i < 7; i++) {
        ck_assert_str_eq(c.fields[i].name, fields[i][0]); /* in the order they came */
        ck_assert_str_eq(c.fields[i].value, fields[i][1]);
    }
    ck_assert_int_eq(xo_command_get_int(&c, "i", &v), XONCE_OK);
    ck_assert_int_eq(v, -12);
    ck_assert_int_eq(c.code, 200050);
    ck_assert_int_eq(c.version, -1);
    ck_assert_int_eq(c.opaque, -5);
    ck_assert_int_eq(c.language, 12);
    ck_assert_str_eq(c.remark, "");
    xo_command_set(&c, "s", "y"); /* a decoded one can be changed */
    xo_command_set(&c, "new", "z");
    ck_assert_str_eq(xo_command_get(&c, "s"), "y");
    ck_assert_uint_eq(c.nfields, 8);
    xo_command moved = c;
    memset(&c, 0, sizeof c);
    ck_assert_str_eq(xo_command_get(&moved, "new"), "z");
    xo_command_free(&moved);
}
END_TEST

/* What is read where it stands is what the JSON library reads: a blank in front leaves all to that. */
START_TEST(plain_headers)
{
    static const char *const headers[] = {
        "{\"code\":0,\"extFields\":{\"suggestWhichBrokerId\":\"0\",\"nextBeginOffset\":\"224\",\"maxOffset\":\"25000\",\"minOffset\":\"0\"},\"flag\":1,\"language\":\"JAVA\","
        "\"opaque\":85,\"remark\":\"FOUND\",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":479}",
        "{\"opaque\":999999999,\"language\":\"GO\",\"code\":-7}",
        "{\"opaque\":1,\"language\":\"GO\",\"code\":0,\"extFields\":{}}",
        "{\"opaque\":1,\"language\":\"\",\"code\":0,\"extFields\":{\"\":\"\",\"a\":\"\"},\"remark\":\"\"}",
        "{\"opaque\":-0,\"language\":\"CPP\",\"code\":200050,\"version\":0}",
        "{\"opaque\":2147483647,\"language\":\"CPP\",\"code\":0}",
        "{\"opaque\":1,\"opaque\":2,\"language\":\"CPP\",\"code\":0}",
        "{\"opaque\":1,\"language\":\"CPP\",\"code\":0,\"extFields\":{\"a\":\"1\",\"b\":\"x\",\"a\":\"2\"}}",
        "{\"opaque\":1,\"language\":\"CPP\",\"code\":0,\"extFields\":{\"a\":1,\"b\":null}}",
        "{\"opaque\":1,\"language\":\"CPP\",\"code\":0,\"extFields\":null,\"remark\":null}",
        "{\"opaque\":1,\"language\":\"CPP\",\"code\":0,\"remark\":\"a\\\"b\\u00e9\xc3\xa9\"}",
        "{\"opaque\":1,\"language\":\"CPP\",\"code\":0,\"new\":\"x\"}",
        "{\"opaque\":1,\"language\":\"CPP\",\"code\":0}\n",
    };
    static const char *const refused[] = {
        "{\"opaque\":01,\"language\":\"CPP\",\"code\":0}",  "{\"opaque\":1,\"language\":\"CPP\",\"code\":0,}", "{\"opaque\":1,\"language\":\"CPP\",\"code\":0",
        "{\"opaque\":1,\"language\":\"CPP\",\"code\":0}}", "{\"opaque\":,\"language\":\"CPP\",\"code\":0}",  "{\"opaque\":-,\"language\":\"CPP\",\"code\":0}",
        "{\"opaque\":1,\"language\":\"CPP,\"code\":0}",     "{\"opaque\":1,\"language\":\"C\nP\",\"code\":0}", "{\"opaque\":1,\"language\":\"CPP\",\"code\":0,\"extFields\":{\"a\":\"1\",}}",
        "{\"opaque\":1,\"language\":\"CPP\",\"code\":0,\"extFields\":{\"a\":\"\xff\"}}"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        xo_command plain, other;
        char text[600];
        snprintf(text, sizeof text, " %s", headers[i]);
        ck_assert_msg(json(&plain, headers[i]) == XONCE_OK, "%s: %s", headers[i], xonce_error_last()->text);
        ck_assert_int_eq(json(&other, text), XONCE_OK);
        ck_assert(plain.code == other.code && plain.opaque == other.opaque && plain.flag == other.flag && plain.version == other.version && plain.language == other.language);
        ck_assert_uint_eq(plain.nfields, other.nfields);
        for (size_t k = 0; k < plain.nfields; k++) {
            ck_assert_str_eq(plain.fields[k].name, other.fields[k].name);
            ck_assert_str_eq(plain.fields[k].value, other.fields[k].value);
        }
        ck_assert_pstr_eq(plain.remark, other.remark);
        xo_command_free(&plain);
        xo_command_free(&other);
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        xo_command c;
        ck_assert_msg(json(&c, refused[i]) == XONCE_E_PROTOCOL, "%s", refused[i]);
    }
}
END_TEST

/* More fields than are looked for without the JSON library. */
START_TEST(many_fields)
{
    for (int n = 30; n < 40; n++) {
        xo_buf b = {0};
        xo_command c;
        xo_buf_str(&b, "{\"code\":0,\"opaque\":1,\"language\":\"JAVA\",\"extFields\":{");
        for (int i = 0; i < n; i++)
            xo_buf_printf(&b, "%s\"f%d\":\"v%d\"", i ? "," : "", i, i);
        xo_buf_str(&b, "}}");
        ck_assert_int_eq(json(&c, b.p), XONCE_OK);
        ck_assert_uint_eq(c.nfields, (size_t)n);
        ck_assert_str_eq(xo_command_get(&c, "f29"), "v29");
        xo_command_set(&c, "f29", "other");
        xo_command_set(&c, "more", "x");
        ck_assert_str_eq(xo_command_get(&c, "f29"), "other");
        ck_assert_str_eq(xo_command_get(&c, "more"), "x");
        xo_command_free(&c);
        xo_buf_free(&b);
    }
}
END_TEST

START_TEST(languages)
{
    static const char *const names[XO_LANGUAGES] = {"JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP", "OMS", "RUST", "NODE_JS"};
    for (int i = 0; i < XO_LANGUAGES; i++) {
        char header[100];
        xo_command c;
        for (int number = 0; number < 2; number++) {
            if (number)
                snprintf(header, sizeof header, "{\"code\":0,\"opaque\":0,\"language\":%d}", i);
            else
                snprintf(header, sizeof header, "{\"code\":0,\"opaque\":0,\"language\":\"%s\"}", names[i]);
            ck_assert_int_eq(json(&c, header), XONCE_OK);
            ck_assert_int_eq(c.language, i);
            xo_command_free(&c);
        }
    }
}
END_TEST

START_TEST(json_refused)
{
    static const char *const cases[] = {
        "", "{", "[]", "null", "{}", "{\"code\":0}", "{\"opaque\":0}", "{\"code\":\"0\",\"opaque\":0}", "{\"code\":0,\"opaque\":2147483648}", "{\"code\":-2147483649,\"opaque\":0}",
        "{\"code\":1.0,\"opaque\":0}", "{\"code\":0,\"opaque\":0,\"flag\":\"1\"}", "{\"code\":0,\"opaque\":0,\"version\":{}}", "{\"code\":0,\"opaque\":0,\"extFields\":[]}",
        "{\"code\":0,\"opaque\":0,\"extFields\":\"a\"}", "{\"code\":0,\"opaque\":0,\"extFields\":{\"a\":\"\\u0000\"}}", "{\"code\":0,\"opaque\":0}x", "{\"code\":null,\"opaque\":0}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        xo_command c;
        memset(&c, 0x55, sizeof c);
        ck_assert_msg(json(&c, cases[i]) == XONCE_E_PROTOCOL, "%s", cases[i]);
        ck_assert_ptr_null(c.frame); /* taken, freed, nothing left to free */
        ck_assert_uint_eq(c.nfields, 0);
    }
}
END_TEST

START_TEST(lengths)
{
    static const struct {
        const char *bytes;
        size_t n;
    } cases[] = {{"", 0}, {"\0\0\0", 3}, {"\0\0\0\1", 4}, {"\0\0\0\3{}", 6}, {"\0\xff\xff\xff{}", 6}, {"\2\0\0\2{}", 6}, {"\xff\0\0\0", 4}, {"\0\0\0\0", 4}, {"\1\0\0\0", 4}};
    xo_command c;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *p = malloc(cases[i].n ? cases[i].n : 1);
        memcpy(p, cases[i].bytes, cases[i].n);
        ck_assert_int_eq(xo_command_decode(&c, p, cases[i].n), XONCE_E_PROTOCOL);
    }
    ck_assert_int_eq(xo_command_decode(&c, NULL, 0), XONCE_E_PROTOCOL);
    static const char good[] = "\0\0\0\x15{\"code\":0,\"opaque\":0}";
    for (int over = 0; over < 2; over++) {
        char *huge = calloc(1, XO_FRAME_MAX + 1);
        ck_assert_ptr_nonnull(huge);
        memcpy(huge, good, sizeof good - 1);
        ck_assert_int_eq(xo_command_decode(&c, huge, XO_FRAME_MAX + (size_t)over), over ? XONCE_E_PROTOCOL : XONCE_OK);
        xo_command_free(&c);
    }
    static const char zeros[21];
    ck_assert_int_eq(decode(&c, 1, zeros, sizeof zeros, ""), XONCE_OK);
    xo_command_free(&c);
    ck_assert_int_eq(decode(&c, 2, zeros, sizeof zeros, ""), XONCE_E_PROTOCOL);
    ck_assert_int_eq(decode(&c, 2, good + 4, sizeof good - 5, ""), XONCE_E_PROTOCOL);
    ck_assert_int_eq(decode(&c, 0, good + 4, sizeof good - 5, ""), XONCE_OK);
    xo_command_free(&c);
}
END_TEST

#define FIXED "\0\x69\x00\x01\xdf\0\0\0\7\0\0\0\2"
#define BIN(s) decode(&c, 1, s, sizeof(s) - 1, "tail")

START_TEST(binary)
{
    xo_command c;
    ck_assert_int_eq(BIN(FIXED "\0\0\0\2hi\0\0\0\x13\0\5topic\0\0\0\x08rm_basic"), XONCE_OK);
    ck_assert_int_eq(c.code, 105);
    ck_assert_int_eq(c.language, 0);
    ck_assert_int_eq(c.version, 479);
    ck_assert_int_eq(c.opaque, 7);
    ck_assert_int_eq(c.flag, 2);
    ck_assert_int_eq(c.binary, 1);
    ck_assert_str_eq(c.remark, "hi");
    ck_assert_uint_eq(c.nfields, 1);
    ck_assert_str_eq(xo_command_get(&c, "topic"), "rm_basic");
    ck_assert_mem_eq(c.body, "tail", 4);
    xo_command_free(&c);
    /* no value, no name, a name twice: as they stand, and of two the last counts */
    ck_assert_int_eq(BIN(FIXED "\0\0\0\0\0\0\0\x1c\0\1a\0\0\0\1""1\0\1a\0\0\0\1""2\0\0\0\0\0\0\0\1b\0\0\0\0"), XONCE_E_PROTOCOL);
    ck_assert_int_eq(BIN(FIXED "\0\0\0\0\0\0\0\x1d\0\1a\0\0\0\1""1\0\1a\0\0\0\1""2\0\0\0\0\0\0\0\1b\0\0\0\0"), XONCE_OK);
    ck_assert_ptr_null(c.remark);
    ck_assert_uint_eq(c.nfields, 4);
    ck_assert_str_eq(xo_command_get(&c, "a"), "2");
    ck_assert_str_eq(xo_command_get(&c, "b"), "");
    xo_buf out = {0};
    ck_assert_int_eq(xo_command_encode(&c, &out), XONCE_OK);
    ck_assert_mem_eq(out.p + 8, FIXED "\0\0\0\0\0\0\0\x1d\0\1a\0\0\0\1""1\0\1a\0\0\0\1""2\0\0\0\0\0\0\0\1b\0\0\0\0tail", 21 + 0x1d + 4);
    xo_buf_free(&out);
    xo_command_free(&c);
    /* codes are signed there */
    ck_assert_int_eq(BIN("\xff\xff\x63\xff\xfe\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), XONCE_OK);
    ck_assert_int_eq(c.code, -1);
    ck_assert_int_eq(c.version, -2);
    ck_assert_int_eq(c.language, 0x63);
    xo_command_free(&c);
}
END_TEST

START_TEST(binary_refused)
{
    xo_command c;
    ck_assert_int_eq(BIN(FIXED "\xff\xff\xff\xff\0\0\0\0"), XONCE_E_PROTOCOL);          /* remark: a negative length */
    ck_assert_int_eq(BIN(FIXED "\x7f\xff\xff\xff\0\0\0\0"), XONCE_E_PROTOCOL);
    ck_assert_int_eq(BIN(FIXED "\0\0\0\2h\0\0\0\0\0"), XONCE_E_PROTOCOL);               /* a zero byte inside */
    ck_assert_int_eq(BIN(FIXED "\0\0\0\0\xff\xff\xff\xff"), XONCE_E_PROTOCOL);          /* fields: negative, too long */
    ck_assert_int_eq(BIN(FIXED "\0\0\0\0\0\0\0\1"), XONCE_E_PROTOCOL);
    ck_assert_int_eq(BIN(FIXED "\0\0\0\0\0\0\0\6\xff\xff\0\0\0\0"), XONCE_E_PROTOCOL);  /* a name: negative, too long */
    ck_assert_int_eq(BIN(FIXED "\0\0\0\0\0\0\0\6\0\5\0\0\0\0"), XONCE_E_PROTOCOL);
    ck_assert_int_eq(BIN(FIXED "\0\0\0\0\0\0\0\6\0\0\xff\xff\xff\xff"), XONCE_E_PROTOCOL);
    ck_assert_int_eq(BIN(FIXED "\0\0\0\0\0\0\0\7\0\1a\0\0\0\1"), XONCE_E_PROTOCOL);
    ck_assert_int_eq(BIN(FIXED "\0\0\0\0\0\0\0\x08\0\1\0\0\0\0\1x"), XONCE_E_PROTOCOL); /* a zero byte in a name */
    /* a name of more than 32767 bytes has a negative length for Java */
    xo_buf name = {0};
    xo_buf_add(&name, FIXED "\0\0\0\0\0\0\x80\x07\x80\x01", 23);
    for (int i = 0; i < 0x8001; i++)
        xo_buf_char(&name, 'n');
    xo_buf_add(&name, "\0\0\0\0", 4);
    ck_assert_int_eq(decode(&c, 1, name.p, name.len, ""), XONCE_E_PROTOCOL);
    ck_assert(says("negative"));
    xo_buf_free(&name);
    static const char whole[] = FIXED "\0\0\0\2hi\0\0\0\x13\0\5topic\0\0\0\x08rm_basic";
    for (size_t n = 0; n < sizeof whole - 1; n++)
        ck_assert_int_eq(decode(&c, 1, whole, n, ""), XONCE_E_PROTOCOL);
    for (size_t k = 0; k < sizeof whole - 1; k++)
        for (int b = 0; b < 256; b += 5) {
            char copy[sizeof whole];
            memcpy(copy, whole, sizeof whole);
            copy[k] = (char)b;
            xonce_status st = decode(&c, 1, copy, sizeof whole - 1, "");
            ck_assert(st == XONCE_OK || st == XONCE_E_PROTOCOL);
            xo_command_free(&c);
        }
}
END_TEST

START_TEST(errors)
{
    static const struct {
        int32_t code;
        const char *remark;
        xonce_status status;
        int again;
        const char *says;
    } cases[] = {
        {0, "not set any response code", XONCE_OK, 0, NULL},
        {1, "look message by offset failed", XONCE_E_PROTOCOL, 1, "SYSTEM_ERROR (1): look message"},
        {1, "org.apache.rocketmq.acl.common.AclException: Check signature failed", XONCE_E_AUTH, 0, "AclException"},
        {2, "AclException: busy", XONCE_E_CONNECT, 1, "SYSTEM_BUSY"},
        {2, "[TIMEOUT_CLEAN_QUEUE]broker busy", XONCE_E_CONNECT, 1, "SYSTEM_BUSY"},
        {3, NULL, XONCE_E_INVALID, 0, "NOT_SUPPORTED"},
        {13, NULL, XONCE_E_INVALID, 0, "MESSAGE_ILLEGAL"},
        {14, NULL, XONCE_E_CONNECT, 1, "SERVICE_NOT_AVAILABLE"},
        {16, "the topic[x] sending message is forbidden", XONCE_E_AUTH, 0, "forbidden"},
        {17, NULL, XONCE_E_NOT_FOUND, 1, "TOPIC_NOT_EXIST"},
        {22, NULL, XONCE_E_NOT_FOUND, 0, "QUERY_NOT_FOUND"},
        {23, NULL, XONCE_E_INVALID, 0, ""},
        {24, NULL, XONCE_E_CONFLICT, 1, ""},
        {25, NULL, XONCE_E_CONFLICT, 1, ""},
        {26, NULL, XONCE_E_NOT_FOUND, 0, ""},
        {27, NULL, XONCE_E_CONFLICT, 1, ""},
        {28, NULL, XONCE_E_CONFLICT, 1, ""},
        {29, NULL, XONCE_E_INVALID, 0, ""},
        {206, NULL, XONCE_E_NOT_FOUND, 0, ""},
        {215, NULL, XONCE_E_CONNECT, 1, ""},
        {1500, NULL, XONCE_E_CONNECT, 1, "GO_AWAY"},
        {4711, "a\r\n\tat x.y.Z\n", XONCE_E_PROTOCOL, 1, "(4711): a at x.y.Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const xo_command a = {.code = cases[i].code, .remark = cases[i].remark};
        ck_assert_msg(xo_command_error(&a, "pull of orders") == cases[i].status, "%d", (int)cases[i].code);
        if (cases[i].status != XONCE_OK) {
            ck_assert_int_eq(xonce_error_last()->code, cases[i].status);
            ck_assert_int_eq(xonce_error_last()->native, cases[i].code);
            ck_assert_msg(xonce_error_last()->again == cases[i].again, "%d", (int)cases[i].code);
            ck_assert_msg(says("pull of orders: ") && says(cases[i].says), "%s", xonce_error_last()->text);
        }
    }
    /* a long remark is cut, and never inside of a character */
    for (size_t shift = 0; shift < 3; shift++) {
        char remark[3000] = "";
        for (size_t n = shift; n + 3 < sizeof remark; n += 3)
            memcpy(remark + n, "标", 4);
        memset(remark, 'a', shift);
        const xo_command a = {.code = 1, .remark = remark};
        (void)xo_command_error(&a, "x");
        const char *text = xonce_error_last()->text;
        ck_assert_uint_lt(strlen(text), 400);
        ck_assert_str_eq(text + strlen(text) - 3, "标");
    }
}
END_TEST

START_TEST(signing)
{
    xo_command c;
    xo_command_init(&c, 34);
    ck_assert_int_eq(xo_acl_sign(&c, NULL, NULL, NULL, NULL), XONCE_OK);
    ck_assert_uint_eq(c.nfields, 0);
    ck_assert_int_eq(xo_acl_sign(&c, "AK", NULL, NULL, NULL), XONCE_E_INVALID);
    ck_assert_int_eq(xo_acl_sign(&c, "AK", "", NULL, NULL), XONCE_E_INVALID);
    ck_assert_int_eq(xo_acl_sign(&c, "", "SK", NULL, NULL), XONCE_E_INVALID);
    ck_assert_ptr_null(xo_command_get(&c, "Signature"));
    /* empty optional parts are left out; the order is by name, upper case first, not by time of setting */
    xo_command_set(&c, "b", "2");
    xo_command_set(&c, "a", "1");
    xo_command_set(&c, "Z", "0");
    ck_assert_int_eq(xo_acl_sign(&c, "AK-test", "SK-secret-1234", "", ""), XONCE_OK);
    ck_assert_ptr_null(xo_command_get(&c, "SecurityToken"));
    ck_assert_ptr_null(xo_command_get(&c, "OnsChannel"));
    char *first = xo_strdup(xo_command_get(&c, "Signature"));
    ck_assert_str_eq(first, "ezwsd3mejNoMgopxAxFuIcuxv7Y="); /* of "AK-test012" */
    ck_assert_int_eq(xo_acl_sign(&c, "AK-test", "SK-secret-1234", NULL, NULL), XONCE_OK); /* again: the old signature does not count */
    ck_assert_str_eq(xo_command_get(&c, "Signature"), first);
    c.body = "x";
    c.body_len = 1;
    ck_assert_int_eq(xo_acl_sign(&c, "AK-test", "SK-secret-1234", NULL, NULL), XONCE_OK);
    ck_assert_str_ne(xo_command_get(&c, "Signature"), first);
    free(first);
    c.failed = 1;
    ck_assert_int_eq(xo_acl_sign(&c, "AK-test", "SK-secret-1234", NULL, NULL), XONCE_E_NOMEM);
    xo_command_free(&c);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("commands");
    TCase *c = tcase_create("command");
    tcase_add_test(c, building);
    tcase_add_test(c, numbers);
    tcase_add_test(c, written);
    tcase_add_test(c, answers_and_bodies);
    tcase_add_test(c, unwritable);
    tcase_add_test(c, lenient);
    tcase_add_test(c, plain_headers);
    tcase_add_test(c, many_fields);
    tcase_add_test(c, languages);
    tcase_add_test(c, json_refused);
    tcase_add_test(c, lengths);
    tcase_add_test(c, binary);
    tcase_add_test(c, binary_refused);
    tcase_add_test(c, errors);
    tcase_add_test(c, signing);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
