/* The fuzz targets, shared by the fuzzers and by the replay of their corpus. */
#include "tests/fuzz/targets.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/sqltemplate.h"
#include "proto/properties.h"
#include "proto/receipt.h"
#include "proto/sign.h"
#include "proto/xml.h"
#include "store/sqltext.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PROMISE(x) ((x) ? (void)0 : broken(#x))
static void broken(const char *what)
{
    fprintf(stderr, "broken promise: %s\n", what);
    abort();
}

/* A copy of exactly n bytes with a NUL: reading behind it is found. */
static char *text_of(const uint8_t *p, size_t n)
{
    char *s = malloc(n + 1);
    PROMISE(s);
    if (n) {
        memcpy(s, p, n);
    }
    s[n] = 0;
    return s;
}

static void xml(const uint8_t *p, size_t n)
{
    char *doc = malloc(n ? n : 1); /* no NUL: the length counts */
    PROMISE(doc);
    if (n) {
        memcpy(doc, p, n);
    }
    xo_xml_sent sent;
    if (xo_xml_read_sent(&sent, doc, n) == XONCE_OK) {
        xo_xml_sent_free(&sent);
    }
    xonce_message *list = NULL;
    size_t count = 0, listed = 0;
    if (xo_xml_read_messages(&list, &count, "topic", doc, n, 0) == XONCE_OK) {
        for (xonce_message *m = list, *next; m; m = next) {
            next = m->next;
            listed++;
            PROMISE(m->handle && m->id[0] && m->attempt >= 1);
            xonce_message_free(m);
        }
        PROMISE(listed == count);
    }
    xo_xml_error e;
    if (xo_xml_read_error(&e, doc, n) == XONCE_OK) {
        PROMISE(e.code && e.message);
        xo_xml_error_free(&e);
    }
    xo_xml_ack_error *acks;
    if (xo_xml_read_ack_errors(&acks, &count, doc, n) == XONCE_OK) {
        xo_xml_ack_errors_free(acks, count);
    }
    xo_xml_send send;
    if (xo_xml_read_send(&send, doc, n) == XONCE_OK) {
        PROMISE(send.body && strlen(send.body) <= send.body_len);
        xo_xml_send_free(&send);
    }
    char **handles;
    if (xo_xml_read_handles(&handles, &count, doc, n) == XONCE_OK) {
        xo_xml_handles_free(handles, count);
    }
    free(doc);
}

/* What was read can be written, and reads as the same again. */
static void properties(const uint8_t *p, size_t n)
{
    xonce_message *m, *again;
    if (xonce_message_new(&m, "t", "i", "x", 1) != XONCE_OK) {
        return;
    }
    if (xonce_message_new(&again, "t", "i", "x", 1) == XONCE_OK) {
        char *s = text_of(p, n);
        xo_buf out = {0};
        if (xo_properties_read(m, s, n) == XONCE_OK && xo_properties_write(&out, m) == XONCE_OK) {
            PROMISE(xo_properties_read(again, out.p ? out.p : "", out.len) == XONCE_OK);
            for (size_t i = 0; i < m->nproperties; i++) {
                const char *v = xonce_message_property(again, m->properties[i].name);
                PROMISE(strcmp(m->properties[i].name, "TAGS") == 0 || (v && strcmp(v, m->properties[i].value) == 0));
            }
        }
        xo_buf_free(&out);
        free(s);
        xonce_message_free(again);
    }
    xonce_message_free(m);
}

static void receipt(const uint8_t *p, size_t n)
{
    char *s = text_of(p, n);
    xo_receipt r;
    memset(&r, 0x55, sizeof(r));
    if (xo_receipt_read(&r, s)) {
        PROMISE(memchr(r.broker, 0, sizeof(r.broker)) && r.queue >= 0 && r.offset >= 0);
    }
    free(s);
}

static void sign(const uint8_t *p, size_t n)
{
    char *s = text_of(p, n), id[40], *to_sign = NULL;
    const char *signature = NULL;
    int64_t ms;
    if (xo_parse_authorization(s, id, sizeof(id), &signature) == XONCE_OK) {
        PROMISE(memchr(id, 0, sizeof(id)) && signature >= s && signature <= s + strlen(s));
    }
    if (xo_parse_http_date(s, &ms) == XONCE_OK) {
        char back[30];
        int64_t again;
        xo_http_date(back, ms); /* not always the same text: a leap second is read, never written */
        PROMISE(xo_parse_http_date(back, &again) == XONCE_OK && again == ms);
    }
    /* the text's lines as target and headers */
    char *line[8] = {s};
    size_t lines = 1;
    for (char *q = s; *q && lines < 8; q++) {
        if (*q == '\n') {
            *q = 0;
            line[lines++] = q + 1;
        }
    }
    xo_header h[7];
    for (size_t i = 1; i < lines; i++) {
        char *colon = strchr(line[i], ':');
        h[i - 1] = (xo_header){line[i], colon ? colon + 1 : ""};
        if (colon) {
            *colon = 0;
        }
    }
    if (xo_string_to_sign(&to_sign, "GET", line[0], h, lines - 1) == XONCE_OK) {
        char signed_[29];
        PROMISE(xo_sign(signed_, "secret", to_sign) == XONCE_OK && strlen(signed_) == 28);
        free(to_sign);
    }
    free(s);
}

static void config(const uint8_t *p, size_t n)
{
    char path[64];
    xonce_config *c = NULL;
    int fd = memfd_create("config", 0);
    if (fd < 0) {
        return;
    }
    if (write(fd, p, n) == (ssize_t)n && xonce_config_new(&c) == XONCE_OK) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (xonce_config_load(c, path) != XONCE_OK) {
            PROMISE(xonce_error_last()->text[0]);
            for (size_t i = 0; i < xo_config_count; i++) {
                PROMISE(!xo_config_is_set(c, xo_config_keys[i].key)); /* unchanged after an error */
            }
        }
    }
    xonce_config_free(c);
    close(fd);
}

static void uri(const uint8_t *p, size_t n)
{
    char *s = text_of(p, n);
    xo_uri u;
    if (xo_uri_parse(&u, s) == XONCE_OK) {
        PROMISE(u.scheme && u.scheme[0] && u.host && u.path && u.port >= 0 && u.port <= 65535);
        char *mask = xo_uri_mask(s);
        /* a password of some length, which stands in the text once and as it is, is nowhere in the masked one */
        const char *at = mask && u.password && strlen(u.password) >= 8 ? strstr(s, u.password) : NULL;
        PROMISE(!at || strstr(at + 1, u.password) || !strstr(mask, u.password));
        free(mask);
        xo_uri_free(&u);
    } else {
        free(xo_uri_mask(s));
    }
    free(s);
}

static void sql(const uint8_t *p, size_t n)
{
    static const xo_dialect_kind kinds[] = {XO_DIALECT_PG, XO_DIALECT_MYSQL, XO_DIALECT_SQLITE};
    char *s = text_of(p, n);
    for (size_t k = 0; k < 3; k++) {
        xo_lexer l;
        xo_lex_span span;
        const char *at = s;
        xonce_status st;
        xo_lex_init(&l, kinds[k], s, n);
        while ((st = xo_lex_next(&l, &span)) == XONCE_OK && span.kind != XO_LEX_END) {
            PROMISE(span.p == at && span.len > 0);
            at += span.len;
        }
        PROMISE(st != XONCE_OK || at == s + n); /* spans joined are the text */
        xo_sql *q;
        if (xo_sql_make(&q, kinds[k], s) == XONCE_OK) {
            PROMISE(q->text && q->original);
            for (unsigned i = 0; i < q->nplaces && q->places; i++) {
                PROMISE(q->places[i] < q->nparams);
            }
            xo_sql_free(q);
        }
    }
    free(s);
}

static void sqltemplate(const uint8_t *p, size_t n)
{
    static const xo_dialect_kind kinds[] = {XO_DIALECT_PG, XO_DIALECT_MYSQL, XO_DIALECT_SQLITE};
    char *s = text_of(p, n);
    for (size_t k = 0; k < 3; k++) {
        xo_template *t;
        if (xo_template_make(&t, kinds[k], s) == XONCE_OK) {
            PROMISE(t->n > 0);
            for (size_t i = 0; i < t->n; i++) {
                xo_sql *q;
                /* what the template makes is at most refused, and has a parameter per field */
                if (xo_sql_make(&q, kinds[k], t->statements[i].sql) == XONCE_OK) {
                    PROMISE(q->nparams == t->statements[i].nfields);
                    xo_sql_free(q);
                }
            }
            xo_template_free(t);
        }
    }
    free(s);
}

/* "path.to.field\nJSON": the whole is checked, and the field read. */
static void json(const uint8_t *p, size_t n)
{
    char *s = text_of(p, n), *end = memchr(s, '\n', n);
    xonce_message *m;
    size_t skip = end ? (size_t)(end - s) + 1 : 0;
    char name[256];
    xo_field f;
    if (end) {
        *end = 0;
    }
    snprintf(name, sizeof(name), "body.%s", end ? s : "a");
    if (xonce_message_new(&m, "t", "i", s + skip, n - skip) == XONCE_OK) {
        if (xo_field_parse(&f, name, strlen(name)) == XONCE_OK) {
            xo_field_reader r = {.m = m};
            xonce_value v;
            xo_json root;
            xonce_status st = xo_field_read(&r, &f, &v);
            /* of JSON a zero byte in the field may be refused yet, anything else never is read */
            PROMISE(f.kind != XO_FIELD_JSON || st != XONCE_OK || xo_json_check(&root, s + skip, n - skip) == XONCE_OK);
            xo_field_reader_end(&r);
            xo_field_free(&f);
        }
        xonce_message_free(m);
    }
    free(s);
}

static void text(const uint8_t *p, size_t n)
{
    char *s = text_of(p, n);
    int64_t ms;
    size_t len, bad;
    if (xo_parse_duration(s, "ms", &ms) == XONCE_OK) {
        char back[32];
        int64_t again;
        xo_format_duration(ms, back, sizeof(back));
        PROMISE(ms >= 0 && xo_parse_duration(back, "ms", &again) == XONCE_OK && again == ms);
    }
    unsigned char *raw = xo_unbase64(s, n, &len);
    if (raw) {
        char *back = xo_base64(raw, len);
        PROMISE(back && strcmp(back, s) == 0);
        free(back);
        free(raw);
    }
    free(xo_unpercent(s, n, 1, &len));
    char *escaped = xo_percent(s), *plain = escaped ? xo_unpercent(escaped, strlen(escaped), 0, &len) : NULL;
    PROMISE(plain && strcmp(plain, s) == 0);
    free(plain);
    free(escaped);
    xo_buf b = {0};
    xo_buf_json(&b, s, n);
    xo_json root;
    PROMISE(xo_buf_status(&b) == XONCE_OK && xo_json_check(&root, b.p, b.len) == XONCE_OK);
    xo_buf_free(&b);
    (void)xo_utf8_valid(s, n, &bad);
    free(s);
}

const fuzz_target fuzz_targets[] = {
    {"xml", xml}, {"properties", properties}, {"receipt", receipt}, {"sign", sign}, {"config", config},
    {"uri", uri}, {"sql", sql},               {"template", sqltemplate}, {"json", json}, {"text", text},
};
const size_t fuzz_count = sizeof(fuzz_targets) / sizeof(fuzz_targets[0]);
