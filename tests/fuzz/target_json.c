/* Fuzz targets: JSON bodies, by jansson's measure, and the lines of `xonce send`. */
#include "base/mem.h"
#include "cli/line.h"
#include "cli/sqltemplate.h"
#include "proto/properties.h"
#include "proto/xml.h"
#include "tests/fuzz/targets.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const json_t *child(const json_t *v, const char *step)
{
    size_t index = strtoul(step, NULL, 10);
    char back[32];
    if (json_is_object(v)) {
        return json_object_get(v, step);
    }
    snprintf(back, sizeof(back), "%zu", index);
    return json_is_array(v) && strcmp(back, step) == 0 ? json_array_get(v, index) : NULL;
}

static int same(const json_t *v, const xonce_value *x)
{
    if (!v || json_is_null(v)) {
        return x->kind == XONCE_NULL;
    }
    if (json_is_boolean(v)) {
        return x->kind == XONCE_BOOL && x->v.i == json_is_true(v);
    }
    if (json_is_number(v)) {
        return x->kind == XONCE_DECIMAL;
    }
    if (x->kind == XONCE_TEXT && json_is_string(v)) {
        return x->len == json_string_length(v) && memcmp(x->v.p, json_string_value(v), x->len) == 0;
    }
    json_t *again = json_loadb(x->v.p, x->len, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
    int equal = x->kind == XONCE_TEXT && again && json_equal(again, v);
    json_decref(again);
    return equal;
}

/* Two readers of one text agree, but for what either cannot hold. */
static void compare(const char *s, size_t n, const xo_msg_field *f, xonce_status st, const xonce_value *x)
{
    json_error_t e;
    xo_json root;
    if (n && memchr(s, 0, n)) { /* jansson passes over some */
        return;
    }
    json_t *all = json_loadb(s, n, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &e);
    int good = xo_json_check(&root, s, n) == XONCE_OK;
    if (!all) {
        enum json_error_code why = json_error_code(&e);
        PROMISE(!good || why == json_error_numeric_overflow || why == json_error_null_byte_in_key);
        return;
    }
    PROMISE(good || strstr(xonce_error_last()->text, "levels"));
    if (good && st == XONCE_OK) {
        const json_t *v = all;
        for (size_t i = 0; i < f->nsteps && v; i++) {
            v = child(v, f->steps[i]);
        }
        PROMISE(same(v, x));
    }
    json_decref(all);
}

/* "path.to.field\nJSON": the whole is checked, and the field read. */
void fuzz_json(const uint8_t *p, size_t n)
{
    const uint8_t *end = n ? memchr(p, '\n', n) : NULL;
    size_t npath = end ? (size_t)(end - p) : 0, skip = end ? npath + 1 : 0;
    char *path = fuzz_text(p, npath), *name = xo_printf("body.%s", npath ? path : "a"), *s = fuzz_bytes(p + skip, n - skip);
    xonce_message *m;
    xo_msg_field f;
    PROMISE(name && xonce_message_wrap(&m, "t", "i", s, n - skip, NULL, NULL) == XONCE_OK);
    if (xo_field_parse(&f, name, strlen(name)) == XONCE_OK) {
        xo_field_reader r = {.m = m};
        xonce_value v = xonce_null();
        xonce_status st = xo_field_read(&r, &f, &v);
        if (f.kind == XO_FIELD_JSON) {
            compare(s, n - skip, &f, st, &v);
        }
        xo_field_reader_end(&r);
        xo_field_free(&f);
    }
    xonce_message_free(m);
    free(s);
    free(name);
    free(path);
}

/* A line that becomes a message is one that the protocol carries unchanged. */
static void line(const xo_line_rules *r, const char *s, size_t n)
{
    xonce_message *m;
    xo_buf doc = {0};
    xo_xml_send got;
    if (xo_line_message(&m, r, s, n) != XONCE_OK) {
        PROMISE(!m && xonce_error_last()->text[0]);
        return;
    }
    PROMISE(xo_check_http_message(m) == XONCE_OK && xo_xml_write_message(&doc, m) == XONCE_OK);
    PROMISE(xo_xml_read_send(&got, doc.p, doc.len) == XONCE_OK);
    PROMISE(got.body_len == m->body_len && memcmp(got.body, m->body, m->body_len) == 0);
    PROMISE(r->json || (m->body_len == n && memcmp(m->body, s, n) == 0));
    PROMISE(strcmp(got.tag ? got.tag : "", xonce_message_tag(m)) == 0);
    xo_xml_send_free(&got);
    xo_buf_free(&doc);
    xonce_message_free(m);
}

void fuzz_line(const uint8_t *p, size_t n)
{
    static const char *const properties[] = {"region=eu", "a=b=c"};
    char *s = fuzz_bytes(p, n);
    const xo_line_rules json = {.topic = "t", .delay_ms = -1, .deliver_at_ms = -1, .json = 1};
    const xo_line_rules more = {.topic = "t", .tag = "tag", .key = "key", .properties = properties, .nproperties = 1, .delay_ms = -1, .deliver_at_ms = 1700000000000, .json = 1};
    const xo_line_rules plain = {.topic = "t", .delay_ms = 5, .deliver_at_ms = -1};
    line(&json, s, n);
    line(&more, s, n);
    line(&plain, s, n);
    free(s);
}
