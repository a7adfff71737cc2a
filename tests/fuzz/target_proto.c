/* Fuzz targets: what comes over HTTP, and the credentials. */
#include "base/config.h"
#include "base/mem.h"
#include "proto/properties.h"
#include "proto/receipt.h"
#include "proto/sign.h"
#include "proto/xml.h"
#include "tests/fuzz/targets.h"
#include "tests/proto/plain.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* ---- XML ---- */

static void messages(const char *doc, size_t n)
{
    xonce_message *list = NULL;
    size_t count = 0, listed = 0;
    if (xo_xml_read_messages(&list, &count, "topic", doc, n, n & 1 ? -1 : INT64_C(253402300799000)) != XONCE_OK) {
        PROMISE(!list && !count);
        return;
    }
    for (xonce_message *m = list, *next; m; m = next) {
        next = m->next;
        listed++;
        PROMISE(m->handle && m->handle[0] && m->id[0] && m->attempt >= 1 && m->queue >= -1 && m->offset >= -1);
        xonce_message_free(m);
    }
    PROMISE(listed == count);
}

/* What was read as a message is written as a request, and reads as the same again. */
static void send_again(const xo_xml_send *send)
{
    xonce_message *m;
    xo_buf doc = {0};
    xo_xml_send again;
    if (xonce_message_new(&m, "topic", NULL, send->body, send->body_len) != XONCE_OK) {
        return;
    }
    if ((!send->properties || xo_properties_read(m, send->properties, strlen(send->properties)) == XONCE_OK) &&
        (!send->tag || xonce_message_set_property(m, "TAGS", send->tag) == XONCE_OK) && xo_xml_write_message(&doc, m) == XONCE_OK) {
        const char *tag = xonce_message_tag(m);
        PROMISE(xo_xml_read_send(&again, doc.p, doc.len) == XONCE_OK);
        PROMISE(again.body_len == send->body_len && memcmp(again.body, send->body, send->body_len) == 0);
        PROMISE(strcmp(again.tag ? again.tag : "", tag) == 0);
        xo_xml_send_free(&again);
    }
    xo_buf_free(&doc);
    xonce_message_free(m);
}

static void acknowledge_again(char **handles, size_t count)
{
    xo_buf doc = {0};
    char **again;
    size_t n;
    PROMISE(xo_xml_write_handles(&doc, (const char *const *)handles, count) == XONCE_OK);
    PROMISE(xo_xml_read_handles(&again, &n, doc.p, doc.len) == XONCE_OK && n == count);
    for (size_t i = 0; i < n; i++) {
        PROMISE(strcmp(handles[i], again[i]) == 0);
    }
    xo_xml_handles_free(again, n);
    xo_buf_free(&doc);
}

void fuzz_xml(const uint8_t *p, size_t n)
{
    char *doc = fuzz_bytes(p, n);
    size_t count;
    xo_xml_sent sent;
    if (xo_xml_read_sent(&sent, doc, n) == XONCE_OK) {
        PROMISE(sent.id && sent.id[0] && sent.body_md5);
        xo_xml_sent_free(&sent);
    }
    messages(doc, n);
    for (int i = 0; i < PLAIN_SHAPES; i++) {
        PROMISE(plain_compare(&plain_shapes[i], doc, n) >= 0);
    }
    xo_xml_error e;
    if (xo_xml_read_error(&e, doc, n) == XONCE_OK) {
        PROMISE(e.code && e.message && e.request_id && e.host_id);
        xo_xml_error_free(&e);
    }
    xo_xml_ack_error *acks;
    if (xo_xml_read_ack_errors(&acks, &count, doc, n) == XONCE_OK) {
        PROMISE(count > 0 && acks[count - 1].handle && acks[count - 1].code);
        xo_xml_ack_errors_free(acks, count);
    }
    xo_xml_send send;
    if (xo_xml_read_send(&send, doc, n) == XONCE_OK) {
        PROMISE(send.body && send.body_len && strlen(send.body) == send.body_len);
        send_again(&send);
        xo_xml_send_free(&send);
    }
    char **handles;
    if (xo_xml_read_handles(&handles, &count, doc, n) == XONCE_OK) {
        acknowledge_again(handles, count);
        xo_xml_handles_free(handles, count);
    }
    free(doc);
}

/* ---- properties ---- */

/* What was read can be written, unless HTTP cannot carry it, and reads as the same again. */
void fuzz_properties(const uint8_t *p, size_t n)
{
    xonce_message *m, *again;
    if (xonce_message_new(&m, "t", "i", "x", 1) != XONCE_OK) {
        return;
    }
    if (xonce_message_new(&again, "t", "i", "x", 1) == XONCE_OK) {
        char *s = fuzz_bytes(p, n);
        xo_buf out = {0};
        xonce_status st = xo_properties_read(m, s, n);
        PROMISE(st == XONCE_OK || memchr(s, 0, n) || n > 8192); /* what is no pair is passed over */
        if (st == XONCE_OK && xo_properties_write(&out, m) == XONCE_OK) {
            PROMISE(xo_properties_read(again, out.p ? out.p : "", out.len) == XONCE_OK);
            PROMISE(again->nproperties + (xonce_message_property(m, "TAGS") != NULL) == m->nproperties);
            for (size_t i = 0; i < again->nproperties; i++) {
                const char *v = xonce_message_property(m, again->properties[i].name);
                PROMISE(v && strcmp(v, again->properties[i].value) == 0);
            }
        }
        xo_buf_free(&out);
        free(s);
        xonce_message_free(again);
    }
    xonce_message_free(m);
}

/* ---- receipt handles ---- */

void fuzz_receipt(const uint8_t *p, size_t n)
{
    char *s = fuzz_text(p, n);
    xo_receipt r, again;
    memset(&r, 0x55, sizeof(r));
    if (xo_receipt_read(&r, s)) {
        PROMISE(memchr(r.broker, 0, sizeof(r.broker)) && r.broker[0] && r.queue >= 0 && r.offset >= 0);
        char *made = xo_receipt_write("AC1400-1F", r.offset, r.pop_time, r.invisible_ms, r.broker, r.queue, r.offset);
        PROMISE(made && xo_receipt_read(&again, made));
        PROMISE(strcmp(r.broker, again.broker) == 0 && r.queue == again.queue && r.offset == again.offset);
        PROMISE(r.pop_time == again.pop_time && r.invisible_ms == again.invisible_ms);
        free(made);
    } else {
        PROMISE(r.queue == -1 && r.offset == -1);
    }
    free(s);
}

/* ---- signature and date ---- */

static void authorization(const char *s)
{
    char id[40], *made;
    const char *signature = NULL, *again;
    if (xo_parse_authorization(s, id, sizeof(id), &signature) != XONCE_OK) {
        PROMISE(!signature);
        return;
    }
    PROMISE(memchr(id, 0, sizeof(id)) && id[0] && !strchr(id, ':') && signature > s && signature < s + strlen(s));
    made = xo_printf("MQ %s:%s", id, signature);
    PROMISE(made && xo_parse_authorization(made, id, sizeof(id), &again) == XONCE_OK && strcmp(again, signature) == 0);
    free(made);
}

static void date(const char *s)
{
    char text[30];
    int64_t ms, again;
    if (xo_parse_http_date(s, &ms) == XONCE_OK) {
        xo_http_date(text, ms);
        PROMISE(ms >= 0 && xo_parse_http_date(text, &again) == XONCE_OK && again == ms);
        s += strspn(s, " \t"); /* the same text, but for the day of the week, and a leap second, which is read and never written */
        PROMISE(memcmp(s + 23, "60", 2) == 0 || memcmp(s + 5, text + 5, 24) == 0);
    }
}

enum { HEADERS = 16 };

/* The text's lines as target and headers; cuts s. */
static size_t request(char *s, xo_header *h)
{
    size_t n = 0;
    char *next = strchr(s, '\n');
    while (next && n < HEADERS) {
        char *line = next + 1, *colon;
        *next = 0;
        next = strchr(line, '\n');
        if (next) {
            *next = 0;
        }
        colon = strchr(line, ':');
        h[n++] = (xo_header){line, colon ? colon + 1 : ""};
        if (colon) {
            *colon = 0;
        }
    }
    return n;
}

static int has_twins(const xo_header *h, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcasecmp(h[i].name, h[k].name) == 0) {
                return 1;
            }
        }
    }
    return 0;
}

void fuzz_sign(const uint8_t *p, size_t n)
{
    char *s = fuzz_text(p, n), *one = NULL, *two = NULL, mac[29];
    xo_header h[HEADERS], back[HEADERS];
    authorization(s);
    date(s);
    size_t nh = request(s, h);
    PROMISE(xo_string_to_sign(&one, "GET", s, h, nh) == XONCE_OK);
    PROMISE(xo_sign(mac, "secret", one) == XONCE_OK && strlen(mac) == 28);
    for (size_t i = 0; i < nh; i++) {
        back[i] = h[nh - 1 - i];
    }
    if (!has_twins(h, nh)) { /* headers come in any order */
        PROMISE(xo_string_to_sign(&two, "GET", s, back, nh) == XONCE_OK && strcmp(one, two) == 0);
    }
    free(one);
    free(two);
    free(s);
}

void fuzz_credentials(const uint8_t *p, size_t n)
{
    char path[64];
    xonce_config *cfg = NULL;
    xo_credentials c;
    int fd = fuzz_file(p, n, path);
    PROMISE(fd >= 0 && xonce_config_new(&cfg) == XONCE_OK && xonce_config_set(cfg, "credentials.file", path) == XONCE_OK);
    if (xo_credentials_load(&c, cfg) == XONCE_OK) {
        const char *parts[] = {c.access_key_id, c.access_key_secret, c.security_token ? c.security_token : "x"};
        for (size_t i = 0; i < 3; i++) {
            PROMISE(parts[i] && parts[i][0] && !strpbrk(parts[i], " \t\r\n"));
        }
        PROMISE(!strchr(c.access_key_id, ':'));
        xo_credentials_free(&c);
    } else {
        PROMISE(!c.access_key_id && !c.access_key_secret && !c.security_token && xonce_error_last()->text[0]);
    }
    xonce_config_free(cfg);
    close(fd);
}
