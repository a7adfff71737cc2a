/* The property text, and what HTTP refuses before sending. */
#include "base/mem.h"
#include "proto/properties.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static xonce_message *make(const char *body)
{
    xonce_message *m;
    ck_assert_int_eq(xonce_message_new(&m, "orders", NULL, body, strlen(body)), XONCE_OK);
    return m;
}

static int says(const char *word)
{
    return strstr(xonce_error_last()->text, word) != NULL;
}

START_TEST(write_and_read)
{
    xonce_message *m = make("x"), *back = make("y");
    xo_buf b = {0};
    xonce_message_set_property(m, "TAGS", "a|b:c");
    xonce_message_set_property(m, "KEYS", "键");
    xonce_message_set_property(m, "a b", "1 2\t3");
    ck_assert_int_eq(xo_properties_write(&b, m), XONCE_OK);
    ck_assert_str_eq(b.p, "KEYS:键|a b:1 2\t3|");
    ck_assert_int_eq(xo_properties_read(back, b.p, b.len), XONCE_OK);
    ck_assert_uint_eq(back->nproperties, 2);
    ck_assert_str_eq(xonce_message_property(back, "a b"), "1 2\t3");
    ck_assert_str_eq(xonce_message_key(back), "键");
    xo_buf_free(&b);
    xonce_message_free(m);
    xonce_message_free(back);
}
END_TEST

START_TEST(odd_pairs)
{
    xonce_message *m = make("x");
    const char *text = "||a:1:2|nocolon|:noname|b:|c:3|c:4|last:5";
    ck_assert_int_eq(xo_properties_read(m, text, strlen(text)), XONCE_OK);
    ck_assert_uint_eq(m->nproperties, 4);
    ck_assert_str_eq(xonce_message_property(m, "a"), "1:2");
    ck_assert_str_eq(xonce_message_property(m, "b"), "");
    ck_assert_str_eq(xonce_message_property(m, "c"), "4");
    ck_assert_str_eq(xonce_message_property(m, "last"), "5");
    ck_assert_int_eq(xo_properties_read(m, "", 0), XONCE_OK);
    ck_assert_int_eq(xo_properties_read(m, "q:zz", 3), XONCE_OK); /* not beyond n */
    ck_assert_str_eq(xonce_message_property(m, "q"), "z");
    xonce_message_free(m);
}
END_TEST

START_TEST(forbidden)
{
    static const char *const bad[] = {"'", "\"", "&", "<", ">", "|", ":", "\x01", "\x7f\xff", "\xed\xa0\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (int name = 0; name < 2; name++) {
            xonce_message *m = make("x");
            xo_buf b = {0};
            char *text = xo_printf("ab%s", bad[i]);
            ck_assert_int_eq(xonce_message_set_property(m, name ? text : "n", name ? "v" : text), XONCE_OK);
            ck_assert_int_eq(xo_properties_write(&b, m), XONCE_E_INVALID);
            ck_assert(says(bad[i][0] == '\x7f' ? "offset 3" : "offset 2"));
            ck_assert_int_eq(xo_check_http_message(m), XONCE_E_INVALID);
            ck_assert(says("0x"));
            free(text);
            xo_buf_free(&b);
            xonce_message_free(m);
        }
    xonce_message *m = make("x");
    xonce_message_set_property(m, "empty", "");
    ck_assert_int_eq(xo_check_http_message(m), XONCE_E_INVALID);
    ck_assert(says("empty"));
    xonce_message_free(m);
}
END_TEST

START_TEST(characters)
{
    static const struct {
        const char *text;
        size_t n;
        int bad; /* offset, -1: fine */
    } t[] = {{"plain\t\n\r", 8, -1},
             {"a\0b", 3, 1},
             {"\x1f", 1, 0},
             {"\x7f", 1, -1},
             {"\xc2\x80", 2, -1},
             {"\xc1\x80", 2, 0},
             {"\xc3", 1, 0},
             {"ab\xe4\xb8", 4, 2},
             {"\xe4\xb8\xad", 3, -1},
             {"\xe0\x9f\xbf", 3, 0},
             {"\xed\x9f\xbf", 3, -1},
             {"\xed\xa0\x80", 3, 0},
             {"\xef\xbf\xbd", 3, -1},
             {"\xef\xbf\xbe", 3, 0},
             {"\xef\xbf\xbf", 3, 0},
             {"\xf0\x9f\x98\x80", 4, -1},
             {"\xf0\x8f\x80\x80", 4, 0},
             {"\xf4\x8f\xbf\xbf", 4, -1},
             {"\xf4\x90\x80\x80", 4, 0},
             {"\xf5\x80\x80\x80", 4, 0},
             {"\x80", 1, 0},
             {"\xff\xfe", 2, 0},
             {"", 0, -1},
             {"\xf0\x9f\xbf\xbe", 4, -1}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        char want[40];
        xonce_status st = xo_check_xml_text("body", t[i].text, t[i].n);
        ck_assert_msg((st == XONCE_OK) == (t[i].bad < 0), "case %zu", i);
        if (!st)
            continue;
        snprintf(want, sizeof want, "byte 0x%02x at offset %d", (unsigned char)t[i].text[t[i].bad], t[i].bad);
        ck_assert_msg(says(want) && says("body"), "case %zu: %s", i, xonce_error_last()->text);
    }
}
END_TEST

START_TEST(whole_messages)
{
    xonce_message *m = make("fine");
    ck_assert_int_eq(xo_check_http_message(m), XONCE_OK);
    xonce_message_set_property(m, "__STARTDELIVERTIME", "1795507200000");
    xonce_message_set_property(m, "__TransCheckT", "10");
    ck_assert_int_eq(xo_check_http_message(m), XONCE_OK);
    xonce_message_set_property(m, "__TransCheckT", "9");
    ck_assert_int_eq(xo_check_http_message(m), XONCE_E_INVALID);
    xonce_message_set_property(m, "__TransCheckT", "301");
    ck_assert_int_eq(xo_check_http_message(m), XONCE_E_INVALID);
    xonce_message_set_property(m, "__TransCheckT", "300");
    xonce_message_set_property(m, "__STARTDELIVERTIME", "soon");
    ck_assert_int_eq(xo_check_http_message(m), XONCE_E_INVALID);
    ck_assert(says("__STARTDELIVERTIME"));
    xonce_message_set_property(m, "__STARTDELIVERTIME", "99999999999999999999");
    ck_assert_int_eq(xo_check_http_message(m), XONCE_E_INVALID);
    xonce_message_set_property(m, "__STARTDELIVERTIME", "0");
    xonce_message_set_property(m, "TAGS", "a\x02");
    ck_assert_int_eq(xo_check_http_message(m), XONCE_E_INVALID);
    ck_assert(says("tag"));
    xonce_message_free(m);
    m = make("");
    ck_assert_int_eq(xo_check_http_message(m), XONCE_E_INVALID);
    ck_assert(says("empty"));
    xonce_message_free(m);
    char *big = xo_calloc(1, XO_HTTP_BODY_MAX + 1);
    memset(big, 'x', XO_HTTP_BODY_MAX + 1);
    ck_assert_int_eq(xonce_message_new(&m, "t", NULL, big, XO_HTTP_BODY_MAX), XONCE_OK);
    ck_assert_int_eq(xo_check_http_message(m), XONCE_OK);
    xonce_message_free(m);
    ck_assert_int_eq(xonce_message_new(&m, "t", NULL, big, XO_HTTP_BODY_MAX + 1), XONCE_OK);
    ck_assert_int_eq(xo_check_http_message(m), XONCE_E_INVALID);
    xonce_message_free(m);
    free(big);
    static const char *const topics[] = {"a/b", "a b", "a?b", "a#b", "%41", "..", ".", "ä", "a&b"};
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++) {
        ck_assert_int_eq(xonce_message_new(&m, topics[i], NULL, "x", 1), XONCE_OK);
        ck_assert_msg(xo_check_http_message(m) == XONCE_E_INVALID, "%s", topics[i]);
        xonce_message_free(m);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("properties");
    TCase *c = tcase_create("properties");
    tcase_add_test(c, write_and_read);
    tcase_add_test(c, odd_pairs);
    tcase_add_test(c, forbidden);
    tcase_add_test(c, characters);
    tcase_add_test(c, whole_messages);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
