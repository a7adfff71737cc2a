/* JSON bodies: what is JSON, and values as they stand in the text. */
#include "cli/jsonpath.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

static xo_json root;

static void parse(const char *text)
{
    ck_assert_msg(xo_json_check(&root, text, strlen(text)) == XONCE_OK, "%s: %s", text, xonce_error_last()->text);
}

/* The text of the value under a path written with blanks between its steps. */
static void is(const char *path, xo_json_kind kind, const char *text)
{
    char copy[100], *steps[10], *save = NULL;
    size_t n = 0;
    ck_assert_uint_lt(strlen(path), sizeof(copy));
    memcpy(copy, path, strlen(path) + 1);
    for (char *p = strtok_r(copy, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
        steps[n++] = p;
    }
    xo_json v = xo_json_find(root, (const char *const *)steps, n);
    ck_assert_int_eq(v.kind, kind);
    if (text) {
        ck_assert_uint_eq(v.len, strlen(text));
        ck_assert_mem_eq(v.p, text, v.len);
    }
}

START_TEST(numbers_keep_their_digits)
{
    parse(" {\"a\" : 19.99, \"big\":12345678901234567890,\"e\":-1.50E+10 ,\"z\":0}\n");
    is("a", XO_JSON_NUMBER, "19.99");
    is("big", XO_JSON_NUMBER, "12345678901234567890");
    is("e", XO_JSON_NUMBER, "-1.50E+10");
    is("z", XO_JSON_NUMBER, "0");
    is("missing", XO_JSON_MISSING, NULL);
    is("a b", XO_JSON_MISSING, NULL);
}
END_TEST

START_TEST(paths_go_through_objects_and_arrays)
{
    parse("{\"items\":[{\"sku\":\"x\"},[true,false,null]],\"o\":{\"0\":\"zero\"},\"s\":\"]}\\\"\"}");
    is("items 0 sku", XO_JSON_STRING, "\"x\"");
    is("items 1 0", XO_JSON_TRUE, "true");
    is("items 1 1", XO_JSON_FALSE, "false");
    is("items 1 2", XO_JSON_NULL, "null");
    is("items 1 3", XO_JSON_MISSING, NULL);
    is("items 00", XO_JSON_MISSING, NULL);
    is("items -1", XO_JSON_MISSING, NULL);
    is("items sku", XO_JSON_MISSING, NULL);
    is("items 99999999999999999999999", XO_JSON_MISSING, NULL);
    is("items 1", XO_JSON_ARRAY, "[true,false,null]");
    is("o 0", XO_JSON_STRING, "\"zero\"");
    is("o", XO_JSON_OBJECT, "{\"0\":\"zero\"}");
    is("s", XO_JSON_STRING, "\"]}\\\"\"");
    is("s 0", XO_JSON_MISSING, NULL);
    parse("[]");
    is("0", XO_JSON_MISSING, NULL);
    parse("\"text\"");
    is("a", XO_JSON_MISSING, NULL);
    is("", XO_JSON_STRING, "\"text\"");
}
END_TEST

START_TEST(names_are_compared_without_escapes_and_the_last_counts)
{
    parse("{\"a\":1,\"\\u0061\":2,\"ab\":3,\"\":4}");
    is("a", XO_JSON_NUMBER, "2");
    is("ab", XO_JSON_NUMBER, "3");
}
END_TEST

START_TEST(strings_are_resolved)
{
    xo_buf b = {0};
    parse("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDE00\xc3\xa9\\u0041\"");
    ck_assert(xo_json_has_escape(root));
    xo_json_string(&b, root);
    ck_assert_str_eq(b.p, "\"\\/\b\f\n\r\t\xc3\xa9\xf0\x9f\x98\x80\xc3\xa9" "A");
    xo_buf_free(&b);
    parse("\"\"");
    xo_json_string(&b, root);
    ck_assert_uint_eq(b.len, 0);
    xo_buf_free(&b);
}
END_TEST

START_TEST(what_is_not_json_is_refused)
{
    static const char *const bad[] = {
        "", " ", "{", "}", "[", "[1", "[1,", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{'a':1}", "{\"a\":1 \"b\":2}", "1 2", "01", "-", "1.", ".5",
        "1e", "1e+", "+1", "0x1", "NaN", "Infinity", "tru", "truee", "nul", "\"", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\udc00\"",
        "\"\\ud800\\u0041\"", "\"a\nb\"", "\"\x01\"", "\"\xff\"", "\xef\xbb\xbf{}", "[1]]", "{\"a\":1}}", "// x\n1", "[1}", "{\"a\":1]",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(xo_json_check(&root, bad[i], strlen(bad[i])) == XONCE_E_INVALID, "taken: %s", bad[i]);
    }
    ck_assert_int_eq(xo_json_check(&root, "1\0", 2), XONCE_E_INVALID);
    /* a text that ends anywhere is refused without reading on */
    const char whole[] = "{\"a\":[1.5e3,\"\\u00e9\\ud83d\\ude00\",true,null,{\"b\":{}}]}";
    for (size_t n = 0; n < sizeof(whole) - 1; n++) {
        char *exact = malloc(n ? n : 1);
        memcpy(exact, whole, n);
        ck_assert_int_eq(xo_json_check(&root, exact, n), XONCE_E_INVALID);
        free(exact);
    }
}
END_TEST

START_TEST(depth_is_bounded)
{
    char text[2 * XO_JSON_DEPTH + 3];
    memset(text, '[', XO_JSON_DEPTH);
    memset(text + XO_JSON_DEPTH, ']', XO_JSON_DEPTH);
    ck_assert_int_eq(xo_json_check(&root, text, 2 * XO_JSON_DEPTH), XONCE_OK);
    memset(text, '[', XO_JSON_DEPTH + 1);
    memset(text + XO_JSON_DEPTH + 1, ']', XO_JSON_DEPTH + 1);
    ck_assert_int_eq(xo_json_check(&root, text, 2 * XO_JSON_DEPTH + 2), XONCE_E_INVALID);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("json");
    TCase *c = tcase_create("json");
    suite_add_tcase(s, c);
    tcase_add_test(c, numbers_keep_their_digits);
    tcase_add_test(c, paths_go_through_objects_and_arrays);
    tcase_add_test(c, names_are_compared_without_escapes_and_the_last_counts);
    tcase_add_test(c, strings_are_resolved);
    tcase_add_test(c, what_is_not_json_is_refused);
    tcase_add_test(c, depth_is_bounded);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
