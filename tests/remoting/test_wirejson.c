/* JSON with Java's member names: what is read, what is refused, and within which bounds. */
#include "base/buf.h"
#include "remoting/command.h"
#include "remoting/wirejson.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

/* From an allocation of exactly these bytes: reading behind them is found by the sanitizers. */
static json_t *parse_n(const char *s, size_t n)
{
    char *exact = malloc(n ? n : 1);
    ck_assert_ptr_nonnull(exact);
    if (n)
        memcpy(exact, s, n);
    json_t *v = xo_wire_json(exact, n);
    free(exact);
    return v;
}

static json_t *parse(const char *s)
{
    return parse_n(s, strlen(s));
}

START_TEST(read)
{
    static const struct {
        const char *text, *same;
    } cases[] = {
        {"{}", "{}"},
        {"[]", "[]"},
        {" { \"a\" : [ 1 , 2.5 , true , null ] } \r\n", "{\"a\":[1,2.5,true,null]}"},
        {"{0:\"a\"}", "{\"0\":\"a\"}"},
        {"{ 0 :\"a\" , 1:\"b\", -1 : \"c\"}", "{\"0\":\"a\",\"1\":\"b\",\"-1\":\"c\"}"},
        {"{1.5:1}", "{\"1.5\":1}"},
        {"{{\"t\":\"x\"}:5}", "{\"{\\\"t\\\":\\\"x\\\"}\":5}"},
        {"{\"o\":{{\"t\":\"a\",\"q\":0}:5,{\"t\":\"b\",\"q\":1}:{\"max\":7}},\"z\":1}",
         "{\"o\":{\"{\\\"t\\\":\\\"a\\\",\\\"q\\\":0}\":5,\"{\\\"t\\\":\\\"b\\\",\\\"q\\\":1}\":{\"max\":7}},\"z\":1}"},
        {"{{\"t\":\"}\\\"{\"}:[{0:1},{0:2}]}", "{\"{\\\"t\\\":\\\"}\\\\\\\"{\\\"}\":[{\"0\":1},{\"0\":2}]}"},
        {"[{1:{2:{3:[{4:5}]}}}]", "[{\"1\":{\"2\":{\"3\":[{\"4\":5}]}}}]"},
        {"{\"a\":\"{0:1}\",\"b\":\"\\\\\",\"c\":\"\\\"{\"}", "{\"a\":\"{0:1}\",\"b\":\"\\\\\",\"c\":\"\\\"{\"}"},
        {"{{\"标签\":[0]}:\"😀\"}", "{\"{\\\"标签\\\":[0]}\":\"😀\"}"},
        {"{{}:1,{ }:2}", "{\"{}\":1,\"{ }\":2}"},
        {"{{{\"a\":1}:2}:3}", "{\"{{\\\"a\\\":1}:2}\":3}"},
        {"{\"a\":1,\"a\":2}", "{\"a\":2}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_error_t e;
        json_t *got = parse(cases[i].text), *want = json_loads(cases[i].same, 0, &e);
        ck_assert_msg(want != NULL, "%s", cases[i].same);
        ck_assert_msg(got != NULL, "%s: %s", cases[i].text, xonce_error_last()->text);
        ck_assert_msg(json_equal(got, want), "%s", cases[i].text);
        json_decref(got);
        json_decref(want);
    }
}
END_TEST

START_TEST(refused)
{
    static const char *const cases[] = {
        "",      " ",       "{",         "}",          "[",        "]",         "x",          "1",          "\"a\"",        "null",  "{a:1}",    "{true:1}", "{[1]:2}",
        "{0}",   "{0:}",    "{0:1",      "{0:1,}",     "{0 1:2}",  "{,0:1}",    "{\"a\"1}",   "{{}",        "{{}:",         "{{}:1", "{{}}",     "{{:1}",    "{{\"a\":1]:2}:3",
        "},0:1",  "],1", "{}x",   "{}{}",    "[1,]",      "[0:1]",      "{]",       "[}",        "{\"a\":\"b", "{\"a\":\"\\", "{\"a\":\"\\\"}", "{--:",  "{\"a\":01}", "{\"a\":+1}", "{\"a\":NaN}",
        "{\"a\":\"\\u0000\"}", "{\"a\":\"\xff\"}", "{{\"a\":\"\xc3\"", "{\"a\":\"\n\"}", "{\"a\":99999999999999999999}", "{\"\\ud800\":1}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *v = parse(cases[i]);
        ck_assert_msg(v == NULL, "%s", cases[i]);
        ck_assert_msg(xonce_error_last()->code == XONCE_E_PROTOCOL && xonce_error_last()->text[0], "%s", cases[i]);
    }
    ck_assert_ptr_null(parse_n("{\"a\":1}\0", 8));
    ck_assert_ptr_null(parse_n("{0\0:1}", 6));
    ck_assert_ptr_null(xo_wire_json(NULL, 0));
}
END_TEST

START_TEST(cut_short)
{
    static const char text[] = "{\"offsetTable\":{{\"brokerName\":\"b\\\"}\",\"queueId\":0,\"topic\":\"t\"}:5,{\"brokerName\":\"b\",\"queueId\":1,\"x\":[{}]}:{\"min\":-1}},\"brokerAddrs\":{0:\"a\",12:\"b\"}}";
    json_t *whole = parse(text);
    ck_assert_ptr_nonnull(whole);
    json_decref(whole);
    for (size_t n = 0; n < strlen(text); n++) {
        ck_assert_ptr_null(parse_n(text, n));
        ck_assert_int_eq(xonce_error_last()->code, XONCE_E_PROTOCOL);
    }
    for (size_t k = 0; k < strlen(text); k++) {
        static const char others[] = "{}[]\":,\\0x \xff";
        for (size_t o = 0; o < sizeof others; o++) {
            char copy[sizeof text];
            memcpy(copy, text, sizeof text);
            copy[k] = others[o];
            json_decref(parse_n(copy, sizeof text - 1));
        }
    }
}
END_TEST

static void repeat(xo_buf *b, const char *s, size_t n)
{
    while (n--)
        xo_buf_str(b, s);
}

/* `open` n times, then `close` as often. */
static json_t *nested(const char *open, const char *middle, const char *close, size_t n)
{
    xo_buf b = {0};
    repeat(&b, open, n);
    xo_buf_str(&b, middle);
    repeat(&b, close, n);
    json_t *v = parse_n(b.p, b.len);
    xo_buf_free(&b);
    return v;
}

START_TEST(levels)
{
    static const struct {
        const char *open, *middle, *close;
    } kinds[] = {{"[", "", "]"}, {"{\"a\":", "1", "}"}, {"{0:", "1", "}"}};
    for (size_t k = 0; k < 3; k++) {
        json_t *v = nested(kinds[k].open, kinds[k].middle, kinds[k].close, 64);
        ck_assert_ptr_nonnull(v);
        json_decref(v);
        ck_assert_ptr_null(nested(kinds[k].open, kinds[k].middle, kinds[k].close, 65));
        ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "levels"));
        ck_assert_ptr_null(nested(kinds[k].open, kinds[k].middle, kinds[k].close, 1000000));
    }
    /* objects as names of objects as names */
    json_t *v = nested("{", "{}", ":1}", 63);
    ck_assert_ptr_nonnull(v);
    json_decref(v);
    ck_assert_ptr_null(nested("{", "{}", ":1}", 64));
    ck_assert_ptr_null(nested("{", "{}", ":1}", 100000));
    ck_assert_ptr_null(nested("{{\"a\":[", "", "]}:1}", 100000));
}
END_TEST

START_TEST(sizes)
{
    xo_buf b = {0};
    xo_buf_char(&b, '[');
    repeat(&b, "0,", 100000);
    xo_buf_str(&b, "0]");
    json_t *v = parse_n(b.p, b.len);
    ck_assert_uint_eq(json_array_size(v), 100001);
    json_decref(v);
    xo_buf_reset(&b);
    xo_buf_char(&b, '[');
    repeat(&b, "{},", 400000);
    xo_buf_str(&b, "0]");
    ck_assert_ptr_null(parse_n(b.p, b.len));
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "too many values"));
    xo_buf_reset(&b);
    xo_buf_str(&b, "[\"");
    repeat(&b, "0123456789abcdef", XO_FRAME_MAX / 16);
    xo_buf_str(&b, "\"]");
    ck_assert_ptr_null(parse_n(b.p, b.len));
    ck_assert_int_eq(xonce_error_last()->code, XONCE_E_PROTOCOL);
    xo_buf_free(&b);
}
END_TEST

START_TEST(members)
{
    json_t *o = parse("{\"n\":5,\"t\":\"x\",\"nt\":\"-17\",\"bad\":\"1x\",\"none\":\"\",\"big\":\"9223372036854775808\",\"max\":9223372036854775807,\"r\":1.5,\"null\":null,\"b\":true}");
    ck_assert_int_eq(xo_json_int(o, "n"), 5);
    ck_assert_int_eq(xo_json_int(o, "nt"), -17);
    ck_assert_int_eq(xo_json_int(o, "max"), INT64_MAX);
    static const char *const zero[] = {"t", "bad", "none", "big", "r", "null", "b", "absent"};
    for (size_t i = 0; i < sizeof zero / sizeof *zero; i++)
        ck_assert_msg(xo_json_int(o, zero[i]) == 0, "%s", zero[i]);
    ck_assert_str_eq(xo_json_text(o, "t"), "x");
    ck_assert_str_eq(xo_json_text(o, "n"), "");
    ck_assert_str_eq(xo_json_text(o, "absent"), "");
    ck_assert_str_eq(xo_json_text(NULL, "a"), "");
    ck_assert_int_eq(xo_json_int(NULL, "a"), 0);
    json_decref(o);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("wire JSON");
    TCase *c = tcase_create("wirejson");
    tcase_add_test(c, read);
    tcase_add_test(c, refused);
    tcase_add_test(c, cut_short);
    tcase_add_test(c, levels);
    tcase_add_test(c, sizes);
    tcase_add_test(c, members);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
