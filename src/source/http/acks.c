/* Acknowledgements of the HTTP source: gathered, sent in the background, answered handle by handle. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/xml.h"
#include "source/http/http.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LONGEST_BACKOFF_MS = 2000 /* a handle lives for minutes only, and while acknowledgements wait no messages are asked
                                 for beyond the buffer */
};

/* It is known what became of the messages of a request. */
static void settle(xo_http_source *s, xo_http_ack *a, size_t acked, size_t lost)
{
    size_t bytes = 0;
    for (const xonce_message *m = a->list.first; m; m = m->next)
        bytes += m->body_len;
    pthread_mutex_lock(&s->lock);
    s->counts.acked += acked;
    s->counts.ack_failed += lost;
    xo_histogram_add(&s->counts.settling, xo_mono_us() - a->began_us);
    s->unacked -= acked + lost;
    s->bytes -= bytes;
    if (!s->unacked)
        pthread_cond_broadcast(&s->settled);
    pthread_mutex_unlock(&s->lock);
    xo_http_list_free(&a->list);
}

/* Takes up to XO_ACK_MAX that are due. Messages whose handle ran out while tries failed are dropped: they come again
 * anyway. */
static void gather(xo_http_source *s, xo_http_sub *sub, xo_http_ack *a, int64_t now, int64_t *next)
{
    pthread_mutex_lock(&s->lock);
    size_t dropped = 0;
    int64_t due = sub->acks.n >= XO_ACK_MAX || s->stopping ? 0 : sub->acks_due;
    if (due < sub->acks_not_before)
        due = sub->acks_not_before;
    if (sub->acks.n && due > now) {
        if (due < *next)
            *next = due;
    } else {
        while (sub->acks.n && a->list.n < XO_ACK_MAX) {
            xonce_message *m = xo_http_list_take(&sub->acks);
            if (sub->ack_failures && m->expires_mono <= now) {
                s->bytes -= m->body_len;
                xonce_message_free(m);
                dropped++;
            } else {
                xo_http_list_append(&a->list, m);
            }
        }
        sub->acks_due = now + s->linger_ms;
    }
    s->unacked -= dropped;
    s->counts.ack_failed += dropped;
    if (!s->unacked)
        pthread_cond_broadcast(&s->settled);
    pthread_mutex_unlock(&s->lock);
    if (dropped)
        xo_log(XO_WARN, "http",
               "%zu acknowledgements for %s could not be delivered in time: the messages will come again", dropped,
               sub->topic);
}

/* The request failed on its way: its messages wait for another try. */
static void again(xo_http_source *s, xo_http_ack *a)
{
    xo_http_sub *sub = a->sub;
    pthread_mutex_lock(&s->lock);
    *a->list.last = sub->acks.first;
    if (!sub->acks.n)
        sub->acks.last = a->list.last;
    sub->acks.first = a->list.first;
    sub->acks.n += a->list.n;
    int64_t now = xo_mono_ms();
    if (now >= sub->acks_not_before) { /* else one of several that failed together */
        int64_t pause = xo_http_backoff(sub->ack_failures);
        sub->acks_not_before = now + (pause < LONGEST_BACKOFF_MS ? pause : LONGEST_BACKOFF_MS);
        if (sub->ack_failures < 30)
            sub->ack_failures++;
    }
    pthread_mutex_unlock(&s->lock);
    xo_http_list_init(&a->list);
    xo_http_report(s);
}

static xonce_status begin(xo_http_source *s, xo_http_sub *sub, xo_http_ack *a)
{
    const char *handles[XO_ACK_MAX];
    size_t n = 0;
    if (!a->call.easy && xo_http_call_init(&a->call))
        return XONCE_E_NOMEM;
    for (const xonce_message *m = a->list.first; m; m = m->next)
        handles[n++] = m->handle;
    xo_buf_reset(&a->call.request);
    xonce_status st = xo_xml_write_handles(&a->call.request, handles, n);
    if (!st)
        st = xo_http_prepare(&a->call, &s->endpoint, "DELETE", sub->ack_target, s->timeout_ms);
    if (!st && curl_multi_add_handle(s->multi, a->call.easy) != CURLM_OK)
        st = xo_nomem();
    a->running = !st;
    a->began_us = xo_mono_us();
    return st;
}

void xo_http_start_acks(xo_http_source *s, int64_t now, int64_t *next)
{
    for (size_t i = 0, slot = 0; i < s->nsubs && slot < XO_ACK_SLOTS;) {
        xo_http_ack *a = &s->acks[slot];
        if (a->running) {
            slot++;
            continue;
        }
        a->sub = s->subs[i];
        gather(s, a->sub, a, now, next);
        if (!a->list.n) {
            i++;
            continue;
        }
        if (begin(s, a->sub, a))
            again(s, a);
        slot++;
    }
}

void xo_http_cancel_acks(xo_http_source *s)
{
    for (int i = 0; i < XO_ACK_SLOTS; i++) {
        if (s->acks[i].running)
            curl_multi_remove_handle(s->multi, s->acks[i].call.easy);
        s->acks[i].running = 0;
        xo_http_list_free(&s->acks[i].list);
    }
}

/* Looks the failed handles up in the request. */
static size_t count_failed(const xo_http_ack *a, const xo_xml_ack_error *e, size_t n)
{
    size_t failed = 0;
    for (const xonce_message *m = a->list.first; m; m = m->next)
        for (size_t i = 0; i < n; i++)
            if (!strcmp(m->handle, e[i].handle)) {
                failed++;
                xo_log(XO_INFO, "http",
                       "message %s of %s is not acknowledged (%.40s): it will come again and be found a duplicate",
                       m->id, m->topic, e[i].code);
                break;
            }
    return failed;
}

/* XONCE_OK when it is known what became of each handle. */
static xonce_status answered(xo_http_source *s, xo_http_ack *a)
{
    const xo_http_call *c = &a->call;
    xo_xml_ack_error *errors;
    size_t n, failed;
    char code[64], what[300];
    if (c->status >= 200 && c->status < 300) {
        settle(s, a, a->list.n, 0);
        return XONCE_OK;
    }
    if (c->status < 500 && !xo_xml_read_ack_errors(&errors, &n, c->answer.p ? c->answer.p : "", c->answer.len)) {
        failed = count_failed(a, errors, n);
        xo_xml_ack_errors_free(errors, n);
        settle(s, a, a->list.n - failed, failed);
        return XONCE_OK;
    }
    (void)snprintf(what, sizeof what, "acknowledging %s", a->sub->topic);
    xonce_status st = xo_http_error(c, what, code);
    if (xonce_error_last()->again)
        return st;
    /* the whole request was refused */
    xo_log(XO_WARN, "http", "%zu messages of %s are not acknowledged, they will come again: %s", a->list.n,
           a->sub->topic, xonce_error_last()->text);
    if (strcmp(code, "MessageNotExist") && strcmp(code, "ReceiptHandleError"))
        xo_http_report(s);
    settle(s, a, 0, a->list.n);
    return XONCE_OK;
}

void xo_http_ack_done(xo_http_source *s, xo_http_ack *a, CURLcode rc)
{
    a->running = 0;
    xonce_status st = xo_http_finish(&a->call, rc);
    if (st)
        xo_error_context("acknowledging %s", a->sub->topic);
    else
        st = answered(s, a);
    if (st) {
        again(s, a);
        return;
    }
    pthread_mutex_lock(&s->lock);
    a->sub->ack_failures = 0;
    a->sub->acks_not_before = 0;
    pthread_mutex_unlock(&s->lock);
}
