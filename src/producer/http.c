/* Sending over the HTTP protocol: blocking calls on easy handles that any thread borrows. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "producer/producer.h"
#include "proto/xml.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CONNECT_TRIES = 3, CONNECT_PAUSE_MS = 100 };

xo_pooled_call *xo_producer_take(xonce_producer *p)
{
    pthread_mutex_lock(&p->lock);
    xo_pooled_call *c = p->idle;
    if (c)
        p->idle = c->next;
    pthread_mutex_unlock(&p->lock);
    if (c)
        return c;
    if (!(c = xo_calloc(1, sizeof *c)) || xo_http_call_init(&c->call)) {
        free(c);
        (void)xo_nomem();
        return NULL;
    }
    return c;
}

void xo_producer_give(xonce_producer *p, xo_pooled_call *c)
{
    pthread_mutex_lock(&p->lock);
    c->next = p->idle;
    p->idle = c;
    pthread_mutex_unlock(&p->lock);
}

/* Tries again only when no byte of the request can have been carried out. */
static xonce_status perform(xonce_producer *p, xo_http_call *c, const char *method, const char *target)
{
    for (int i = 1;; i++) {
        xonce_status st = xo_http_prepare(c, &p->endpoint, method, target, p->timeout_ms);
        if (!st)
            st = xo_http_perform(c);
        if (st != XONCE_E_CONNECT || !c->retry_hint || i == CONNECT_TRIES)
            return st;
        xo_pause_ms(CONNECT_PAUSE_MS * i);
    }
}

static void fill_sent(xonce_sent *out, const xo_xml_sent *s)
{
    xonce_sent all;
    memset(&all, 0, sizeof all);
    all.size = out->size && out->size < sizeof all ? out->size : sizeof all;
    (void)snprintf(all.id, sizeof all.id, "%s", s->id);
    all.queue = -1;
    all.offset = -1;
    memcpy(out, &all, all.size); /* no more than the caller's struct has */
}

static xonce_status check_md5(const xonce_message *m, const xo_xml_sent *s)
{
    unsigned char digest[16];
    char hex[33];
    if (!*s->body_md5 || xo_md5(m->body, m->body_len, digest))
        return XONCE_OK;
    xo_hex(hex, digest, sizeof digest, 1);
    if (!strcasecmp(hex, s->body_md5))
        return XONCE_OK;
    xonce_status st = xo_fail(
        XONCE_E_PROTOCOL,
        "message %.64s for %s was stored with another body (MD5 %.32s, not %s): something on the way changes it", s->id,
        m->topic, s->body_md5, hex);
    xo_error_set_native(0, 0);
    return st;
}

static xonce_status read_answer(const xo_http_call *c, const xonce_message *m, xonce_sent *out, char **handle)
{
    char what[300];
    (void)snprintf(what, sizeof what, "sending to %s", m->topic);
    if (c->status < 200 || c->status >= 300)
        return xo_http_error(c, what, NULL);
    xo_xml_sent s;
    xonce_status st = xo_xml_read_sent(&s, c->answer.p ? c->answer.p : "", c->answer.len);
    if (st) {
        xo_error_context("%s: status %ld, but whether the message was stored is not known", what, c->status);
        xo_error_set_native((int)c->status, 0);
        return st;
    }
    st = check_md5(m, &s);
    if (!st && out)
        fill_sent(out, &s);
    if (!st && handle) {
        *handle = s.handle;
        s.handle = NULL;
    }
    xo_xml_sent_free(&s);
    return st;
}

xonce_status xo_producer_send(xonce_producer *p, const xonce_message *m, xonce_sent *out, char **handle)
{
    xo_buf target = {0};
    if (handle)
        *handle = NULL;
    xo_pooled_call *c = xo_producer_take(p);
    if (!c)
        return XONCE_E_NOMEM;
    xo_buf_reset(&c->call.request);
    xonce_status st = xo_xml_write_message(&c->call.request, m);
    if (!st)
        st = xo_http_target(&target, &p->endpoint, m->topic, NULL);
    if (!st) {
        st = perform(p, &c->call, "POST", target.p);
        if (st)
            xo_error_context("sending to %s", m->topic);
        else
            st = read_answer(&c->call, m, out, handle);
    }
    xo_buf_free(&target);
    if (c->call.request.cap > 1024 * 1024)
        xo_buf_free(&c->call.request);
    xo_producer_give(p, c);
    return st;
}

/* The endpoint's answer to commit or rollback; a handle that ran out is in an Errors document. */
static xonce_status read_end(const xo_http_call *c, const char *what)
{
    xo_xml_ack_error *e;
    size_t n;
    if (c->status >= 200 && c->status < 300)
        return XONCE_OK;
    if (xo_xml_read_ack_errors(&e, &n, c->answer.p ? c->answer.p : "", c->answer.len))
        return xo_http_error(c, what, NULL);
    xonce_status st = xo_fail(XONCE_E_NOT_FOUND, "%s: %.60s: %.160s", what, e[0].code, e[0].message);
    xo_error_set_native((int)c->status, 0);
    xo_xml_ack_errors_free(e, n);
    return st;
}

xonce_status xo_producer_end(xonce_producer *p, const char *topic, const char *group, const char *handle, int commit)
{
    xo_buf target = {0};
    char what[300];
    (void)snprintf(what, sizeof what, "%s of a half message of %s", commit ? "commit" : "rollback", topic);
    xo_pooled_call *c = xo_producer_take(p);
    if (!c)
        return XONCE_E_NOMEM;
    xo_buf_reset(&c->call.request);
    xonce_status st = xo_xml_write_handles(&c->call.request, &handle, 1);
    if (!st)
        st = xo_http_target(&target, &p->endpoint, topic, group);
    xo_buf_str(&target, commit ? "&trans=commit" : "&trans=rollback");
    if (!st && !(st = xo_buf_status(&target))) {
        st = perform(p, &c->call, "DELETE", target.p);
        st = st ? xo_error_context("%s", what) : read_end(&c->call, what);
    }
    xo_buf_free(&target);
    xo_producer_give(p, c);
    return st;
}
