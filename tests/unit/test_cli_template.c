/* The language of --sql, fields of messages, and lines of `xonce send`. */
#include "cli/line.h"
#include "cli/sqltemplate.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static xo_template *t;

static void make(xo_dialect_kind dialect, const char *sql)
{
    xo_template_free(t);
    ck_assert_msg(xo_template_make(&t, dialect, sql) == XONCE_OK, "%s: %s", sql, xonce_error_last()->text);
}

static void teardown(void)
{
    xo_template_free(t);
    t = NULL;
}

START_TEST(fields_become_parameters)
{
    make(XO_DIALECT_PG, "INSERT INTO t VALUES (:id, :body.a.0, :\"body.odd-name\", :property.x.y, :id::text, ':id', \"x:id\", $$:id$$, '1'::int) -- :id\n");
    ck_assert_uint_eq(t->n, 1);
    ck_assert_str_eq(t->statements[0].sql, "INSERT INTO t VALUES ($1, $2, $3, $4, $5::text, ':id', \"x:id\", $$:id$$, '1'::int) -- :id\n");
    ck_assert_uint_eq(t->statements[0].nfields, 5);
    const xo_msg_field *f = t->statements[0].fields;
    ck_assert_int_eq(f[0].kind, XO_FIELD_ID);
    ck_assert_int_eq(f[1].kind, XO_FIELD_JSON);
    ck_assert_uint_eq(f[1].nsteps, 2);
    ck_assert_str_eq(f[1].steps[1], "0");
    ck_assert_str_eq(f[2].steps[0], "odd-name");
    ck_assert_str_eq(f[3].property, "x.y");
    ck_assert_int_eq(f[4].kind, XO_FIELD_ID);
}
END_TEST

START_TEST(statements_are_split)
{
    make(XO_DIALECT_SQLITE, "INSERT INTO a VALUES (:id) ;; INSERT INTO b VALUES (';', :key, :body.x);\n /* the end */ ");
    ck_assert_uint_eq(t->n, 2);
    ck_assert_str_eq(t->statements[0].sql, "INSERT INTO a VALUES ($1) ");
    ck_assert_str_eq(t->statements[1].sql, " INSERT INTO b VALUES (';', $1, $2)");
    ck_assert_uint_eq(t->most_fields, 2);
}
END_TEST

START_TEST(mistakes_are_named)
{
    static const struct {
        const char *sql, *said;
    } bad[] = {
        {"", "no statement"},
        {" ; -- nothing\n;", "no statement"},
        {"INSERT INTO t VALUES (:idd)", "did you mean :id"},
        {"INSERT INTO t VALUES (:nothing_like_it)", "there is no parameter :nothing_like_it"},
        {"INSERT INTO t VALUES (:property)", "there is no parameter :property"},
        {"INSERT INTO t VALUES (:\"body.\")", "empty name"},
        {"INSERT INTO t VALUES (:\"body.a..b\")", "empty name"},
        {"INSERT INTO t VALUES ($1)", "$1"},
        {"INSERT INTO t VALUES ('x)", "has no end"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        xo_template *none = (xo_template *)&bad;
        ck_assert_msg(xo_template_make(&none, XO_DIALECT_PG, bad[i].sql) == XONCE_E_INVALID, "taken: %s", bad[i].sql);
        ck_assert_ptr_null(none);
        ck_assert_msg(strstr(xonce_error_last()->text, bad[i].said) != NULL, "%s: %s", bad[i].sql, xonce_error_last()->text);
    }
}
END_TEST

/* The value of a field of a message with this body. */
static xonce_value value_of(const char *field, const char *body, char *text, size_t size)
{
    xonce_message *m;
    xo_msg_field f;
    xonce_value v;
    ck_assert_int_eq(xonce_message_new(&m, "topic", "id-1", body, strlen(body)), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_property(m, "TAGS", "red"), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_property(m, "p.q", "v"), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_attempt(m, 3), XONCE_OK);
    ck_assert_msg(xo_field_parse(&f, field, strlen(field)) == XONCE_OK, "%s", xonce_error_last()->text);
    xo_field_reader r = {.m = m};
    text[0] = 0;
    if (xo_field_read(&r, &f, &v) != XONCE_OK) {
        v = xonce_null();
        ck_assert_int_eq(xonce_error_last()->code, XONCE_E_INVALID);
        (void)snprintf(text, size, "%s", xonce_error_last()->text);
    } else if (v.kind == XONCE_TEXT || v.kind == XONCE_DECIMAL || v.kind == XONCE_BLOB) {
        ck_assert_uint_lt(v.len, size);
        memcpy(text, v.v.p, v.len);
        text[v.len] = 0;
    }
    xo_field_reader_end(&r);
    xo_field_free(&f);
    xonce_message_free(m);
    return v;
}

START_TEST(values_come_as_the_message_has_them)
{
    static const char body[] = "{\"n\":19.99,\"big\":12345678901234567890,\"t\":true,\"f\":false,\"z\":null,\"s\":\"a\\u00e9\\n\",\"e\":\"\",\"o\":{\"x\": 1},"
                               "\"odd-name\":1,\"a.b\":{\"c\":7},\"q\\\"\":8}";
    static const struct {
        const char *field;
        xonce_kind kind;
        const char *text;
    } cases[] = {
        {"id", XONCE_TEXT, "id-1"}, {"topic", XONCE_TEXT, "topic"}, {"tag", XONCE_TEXT, "red"}, {"key", XONCE_NULL, ""}, {"body", XONCE_TEXT, body},
        {"property.p.q", XONCE_TEXT, "v"}, {"property.none", XONCE_NULL, ""}, {"body.n", XONCE_DECIMAL, "19.99"}, {"body.big", XONCE_DECIMAL, "12345678901234567890"},
        {"body.z", XONCE_NULL, ""}, {"body.none", XONCE_NULL, ""}, {"body.s", XONCE_TEXT, "a\xc3\xa9\n"}, {"body.e", XONCE_TEXT, ""}, {"body.o", XONCE_TEXT, "{\"x\": 1}"},
        {"\"body.odd-name\"", XONCE_DECIMAL, "1"}, {"\"body.a\\.b.c\"", XONCE_DECIMAL, "7"}, {"\"body.q\"\"\"", XONCE_DECIMAL, "8"},
    };
    char text[400];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        xonce_value v = value_of(cases[i].field, body, text, sizeof(text));
        ck_assert_msg(v.kind == cases[i].kind, "%s: kind %d", cases[i].field, v.kind);
        ck_assert_str_eq(text, cases[i].text);
    }
    ck_assert_int_eq(value_of("attempt", "x", text, sizeof(text)).v.i, 3);
    xonce_value v = value_of("body.t", body, text, sizeof(text));
    ck_assert_int_eq(v.kind, XONCE_BOOL);
    ck_assert_int_eq(v.v.i, 1);
    v = value_of("body.f", body, text, sizeof(text));
    ck_assert_int_eq(v.kind, XONCE_BOOL);
    ck_assert_int_eq(v.v.i, 0);
    (void)value_of("body.x", "no json", text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "not JSON"));
    (void)value_of("body.x", "{\"x\":\"a\\u0000\"}", text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "zero character"));
}
END_TEST

START_TEST(lines_become_messages)
{
    xonce_message *m;
    static const char *const properties[] = {"a=1", "b=x=y"};
    xo_line_rules plain = {.topic = "t", .tag = "tag", .key = "key", .sharding_key = "s", .properties = properties, .nproperties = 2, .delay_ms = -1, .deliver_at_ms = 77};
    ck_assert_int_eq(xo_line_message(&m, &plain, "hello", 5), XONCE_OK);
    ck_assert_str_eq(xonce_message_body(m, NULL), "hello");
    ck_assert_str_eq(xonce_message_property(m, "b"), "x=y");
    ck_assert_str_eq(xonce_message_property(m, "__SHARDINGKEY"), "s");
    ck_assert_str_eq(xonce_message_property(m, "__STARTDELIVERTIME"), "77");
    ck_assert_str_eq(xonce_message_tag(m), "tag");
    xonce_message_free(m);
    ck_assert_int_eq(xo_line_message(&m, &plain, "", 0), XONCE_E_INVALID);
    ck_assert_int_eq(xo_line_message(&m, &plain, "a\x01", 2), XONCE_E_INVALID);
    xo_line_rules json = {.topic = "t", .tag = "default", .delay_ms = -1, .deliver_at_ms = -1, .json = 1};
    static const char good[] = "{\"body\":{\"n\":1.50},\"key\":7,\"properties\":{\"p\":\"v\",\"n\":2}}";
    ck_assert_int_eq(xo_line_message(&m, &json, good, strlen(good)), XONCE_OK);
    ck_assert_str_eq(xonce_message_body(m, NULL), "{\"n\":1.50}");
    ck_assert_str_eq(xonce_message_key(m), "7");
    ck_assert_str_eq(xonce_message_tag(m), "default");
    ck_assert_str_eq(xonce_message_property(m, "n"), "2");
    xonce_message_free(m);
    static const char *const bad[] = {"x", "[]", "{}", "{\"body\":null}", "{\"body\":\"\"}", "{\"body\":\"x\",\"bodi\":1}", "{\"body\":\"x\",\"properties\":[]}",
                                      "{\"body\":\"x\",\"properties\":{\"a\":{}}}", "{\"body\":\"x\",\"tag\":{}}", "{\"body\":\"x\",\"properties\":{\"a\":\"b|c\"}}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(xo_line_message(&m, &json, bad[i], strlen(bad[i])) == XONCE_E_INVALID, "taken: %s", bad[i]);
        ck_assert_ptr_null(m);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("template");
    TCase *c = tcase_create("template");
    suite_add_tcase(s, c);
    tcase_add_checked_fixture(c, NULL, teardown);
    tcase_add_test(c, fields_become_parameters);
    tcase_add_test(c, statements_are_split);
    tcase_add_test(c, mistakes_are_named);
    tcase_add_test(c, values_come_as_the_message_has_them);
    tcase_add_test(c, lines_become_messages);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
