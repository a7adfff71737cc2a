/* Sending over the HTTP protocol: blocking calls on easy handles that any thread borrows. */
#include "base/clock.h"
#include "base/config.h"
#include "base/mem.h"
#include "base/text.h"
#include "producer/http.h"
#include "proto/properties.h"
#include "proto/xml.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CONNECT_TRIES = 3, CONNECT_PAUSE_MS = 100, ASYNC_THREADS = 8, BUSY = 503 };

/* NULL on no memory, with the error set. */
static xo_pooled_call *take(xo_http_producer *p)
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

static void give(xo_http_producer *p, xo_pooled_call *c)
{
    pthread_mutex_lock(&p->lock);
    c->next = p->idle;
    p->idle = c;
    pthread_mutex_unlock(&p->lock);
}

/* Tries again only when no byte of the request can have been carried out. */
static xonce_status perform(xo_http_producer *p, xo_http_call *c, const char *method, const char *target, int64_t timeout_ms)
{
    for (int i = 1;; i++) {
        xonce_status st = xo_http_prepare(c, &p->endpoint, method, target, timeout_ms);
        if (!st)
            st = xo_http_perform(c);
        if (st != XONCE_E_CONNECT || !c->retry_hint || i == CONNECT_TRIES)
            return st;
        xo_pause_ms(CONNECT_PAUSE_MS * i);
    }
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
    if (!st)
        xo_sent_fill(out, s.id, "", -1, -1);
    if (!st && handle) {
        *handle = s.handle;
        s.handle = NULL;
    }
    xo_xml_sent_free(&s);
    return st;
}

xonce_status xo_http_producer_send(xo_http_producer *p, const xonce_message *m, xonce_sent *out, char **handle)
{
    xo_buf target = {0};
    if (handle)
        *handle = NULL;
    xo_pooled_call *c = take(p);
    if (!c)
        return XONCE_E_NOMEM;
    xo_buf_reset(&c->call.request);
    xonce_status st = xo_xml_write_message(&c->call.request, m);
    if (!st)
        st = xo_http_target(&target, &p->endpoint, m->topic, NULL);
    if (!st) {
        st = perform(p, &c->call, "POST", target.p, p->send_ms);
        if (st)
            xo_error_context("sending to %s", m->topic);
        else
            st = read_answer(&c->call, m, out, handle);
    }
    xo_buf_free(&target);
    if (c->call.request.cap > 1024 * 1024)
        xo_buf_free(&c->call.request);
    give(p, c);
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

xonce_status xo_http_producer_end(xo_http_producer *p, const char *topic, const char *group, const char *handle, int commit)
{
    xo_buf target = {0};
    char what[300];
    (void)snprintf(what, sizeof what, "%s of a half message of %s", commit ? "commit" : "rollback", topic);
    xo_pooled_call *c = take(p);
    if (!c)
        return XONCE_E_NOMEM;
    xo_buf_reset(&c->call.request);
    xonce_status st = xo_xml_write_handles(&c->call.request, &handle, 1);
    if (!st)
        st = xo_http_target(&target, &p->endpoint, topic, group);
    xo_buf_str(&target, commit ? "&trans=commit" : "&trans=rollback");
    if (!st && !(st = xo_buf_status(&target))) {
        st = perform(p, &c->call, "DELETE", target.p, p->ack_ms);
        st = st ? xo_error_context("%s", what) : read_end(&c->call, what);
    }
    xo_buf_free(&target);
    give(p, c);
    return st;
}

/* ---- the transport ---- */

static xonce_status check(xonce_producer *base, const xonce_message *m)
{
    (void)base;
    return xo_check_http_message(m);
}

static xonce_status send_one(xonce_producer *base, const xonce_message *m, xonce_sent *out)
{
    return xo_http_producer_send((xo_http_producer *)base, m, out, NULL);
}

typedef struct {
    xo_job job;
    xo_async async;
    xonce_message *m;
} async_send;

static void run_async(xo_job *job)
{
    async_send *a = (async_send *)job;
    xonce_sent sent = {.size = sizeof(sent)};
    xonce_status st = xo_http_producer_send((xo_http_producer *)a->async.producer, a->m, &sent, NULL);
    xonce_message_free(a->m);
    xo_async_end(&a->async, st, &sent);
    free(a);
}

static xonce_status send_async(xonce_producer *base, const xonce_message *m, const xo_async *async)
{
    xonce_status st = xo_check_http_message(m);
    if (st)
        return st;
    async_send *a = xo_calloc(1, sizeof(*a));
    if (!a)
        return xo_nomem();
    a->async = *async;
    a->job.run = run_async;
    st = xonce_message_copy(&a->m, m);
    if (st) {
        free(a);
        return st;
    }
    xo_work_push(&base->work, &a->job, 0);
    return XONCE_OK;
}

static xonce_status later(xonce_producer *base, xonce_message *m, int64_t delay_ms, int64_t at_ms)
{
    char when[32];
    (void)base;
    (void)snprintf(when, sizeof when, "%" PRId64, at_ms >= 0 ? at_ms : xo_now_ms() + delay_ms);
    return xonce_message_set_property(m, "__STARTDELIVERTIME", when);
}

/* An endpoint that says it is busy has not taken the message; any other doubt would make two messages of one. */
static int busy(void)
{
    return xonce_error_last()->native == BUSY;
}

static void close_producer(xonce_producer *base)
{
    xo_http_producer *p = (xo_http_producer *)base;
    xo_http_checkers_stop(p);
    xo_work_close(&base->work);
    for (xo_pooled_call *c = p->idle, *next; c; c = next) {
        next = c->next;
        xo_http_call_free(&c->call);
        free(c);
    }
    pthread_mutex_destroy(&p->lock);
    xo_http_endpoint_close(&p->endpoint);
    xo_producer_free(base);
}

const xo_producer_ops xo_http_ops = {
    .close = close_producer,
    .check = check,
    .send = send_one,
    .send_async = send_async,
    .no_oneway = "the HTTP protocol has no oneway messages: each request has an answer; use xonce_producer_send or _send_async",
    .no_batch = "the HTTP protocol has no batches: each request carries one message; use xonce_producer_send_async",
    .send_transaction = xo_http_send_transaction,
    .on_check = xo_http_on_check,
    .later = later,
    .busy = busy,
};

xonce_status xo_producer_http_open(xonce_producer **out, const char *uri, const xonce_config *cfg)
{
    xo_http_producer *p = xo_calloc(1, sizeof *p);
    if (!p)
        return xo_nomem();
    xonce_status st = xo_producer_init(&p->base, &xo_http_ops, cfg, ASYNC_THREADS);
    if (st) {
        free(p);
        return st;
    }
    p->send_ms = p->base.timeout_ms;
    p->ack_ms = xo_config_int(cfg, "http.timeout");
    p->wait_s = xo_config_int(cfg, "http.wait") / 1000;
    pthread_mutex_init(&p->lock, NULL);
    st = xo_http_endpoint_open(&p->endpoint, uri, cfg);
    if (st) {
        close_producer(&p->base);
        return st;
    }
    *out = &p->base;
    return XONCE_OK;
}
