/* What a request asks for: the checks in their order, then sending, taking or acknowledging. */
#include "endpoint/request.h"
#include "message/message.h"
#include "proto/properties.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

enum { CHECK_MIN_S = 10, CHECK_MAX_S = 300 };
#define DELAY_MAX_MS (INT64_C(40) * 24 * 3600 * 1000)

/* ---- waiting ---- */

void xo_request_suspend(xo_request *r)
{
    r->stage = XO_WAITING;
    MHD_suspend_connection(r->connection);
}

void xo_request_wake(xo_request *r, xo_stage stage)
{
    r->stage = stage;
    MHD_resume_connection(r->connection);
}

static void written(xo_wait *w, int ok)
{
    xo_request *r = XO_OF(xo_request, wait, w);
    r->failed |= !ok;
    if (--r->unwritten == 0)
        xo_request_wake(r, r->failed ? XO_NOT_WRITTEN : XO_WRITTEN);
}

/* ---- sending ---- */

/* The properties that mean something here. */
static enum MHD_Result read_properties(xo_request *r, int *good)
{
    xonce_message *m = NULL;
    const char *text = r->message.properties;
    int64_t v;
    *good = 0;
    xonce_status st = xonce_message_wrap(&m, r->url.topic, NULL, "", 0, NULL, NULL);
    if (st == XONCE_OK && text)
        st = xo_properties_read(m, text, strlen(text));
    if (st != XONCE_OK) {
        xonce_message_free(m);
        return st == XONCE_E_INVALID ? xo_answer_refusal(r, XO_BAD_ELEMENT, "Properties") : xo_answer_refusal(r, XO_INTERNAL_ERROR);
    }
    const char *at = xonce_message_property(m, "__STARTDELIVERTIME"), *check = xonce_message_property(m, "__TransCheckT"),
               *shard = xonce_message_property(m, "__SHARDINGKEY");
    enum MHD_Result rc = MHD_YES;
    if (at && !xo_whole_number(at, &r->send.deliver_at))
        rc = xo_answer_refusal(r, XO_BAD_ELEMENT, "__STARTDELIVERTIME");
    else if (at && r->send.deliver_at > xo_engine_now(r->ep->engine) + DELAY_MAX_MS)
        rc = xo_answer_refusal(r, XO_BAD_RANGE, "__STARTDELIVERTIME", 0LL, (long long)(DELAY_MAX_MS / 1000), " seconds from now");
    else if (check && (!xo_whole_number(check, &v) || v < CHECK_MIN_S || v > CHECK_MAX_S))
        rc = xo_answer_refusal(r, XO_BAD_RANGE, "__TransCheckT", (long long)CHECK_MIN_S, (long long)CHECK_MAX_S, " seconds");
    else
        *good = 1;
    if (*good && check)
        r->send.check_s = (int)v;
    if (*good && shard && *shard)
        r->send.shard = xo_hash(shard, strlen(shard));
    xonce_message_free(m);
    return rc;
}

/* The properties as they will be handed out: with the sender's address, as the service does it. */
static char *stored_properties(xo_request *r)
{
    const char *text = r->message.properties ? r->message.properties : "";
    size_t n = strlen(text);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char address[INET_ADDRSTRLEN] = "";
    if (info && info->client_addr && info->client_addr->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)info->client_addr)->sin_addr, address, sizeof address);
    const char *bar = n && text[n - 1] != '|' ? "|" : "";
    return *address && !strstr(text, "__BORNHOST:") ? xo_printf("%s%s__BORNHOST:%s|", text, bar, address) : xo_printf("%s%s", text, bar);
}

enum MHD_Result xo_api_send(xo_request *r, xo_topic *t)
{
    int good;
    xonce_status st = xo_xml_read_send(&r->message, r->body.p ? r->body.p : "", r->body.len);
    if (st == XONCE_E_PROTOCOL)
        return xo_answer_refusal(r, XO_BAD_ELEMENT, xonce_error_last()->text);
    if (st != XONCE_OK)
        return xo_answer_refusal(r, st == XONCE_E_NOMEM ? XO_INTERNAL_ERROR : XO_MALFORMED_XML);
    xo_buf_free(&r->body);
    if (r->message.body_len > XO_HTTP_BODY_MAX)
        return xo_answer_refusal(r, XO_TOO_LONG);
    enum MHD_Result rc = read_properties(r, &good);
    if (!good)
        return rc;
    if (!xo_send_fits(&r->send, t->kind))
        return xo_answer_refusal(r, XO_BAD_ELEMENT, "Properties");
    r->properties = stored_properties(r);
    if (!r->properties)
        return xo_answer_refusal(r, XO_INTERNAL_ERROR);
    r->send.topic = t;
    r->send.wait = &r->wait;
    r->send.tag = r->message.tag;
    r->send.properties = *r->properties ? r->properties : NULL;
    r->send.body = r->message.body;
    r->send.body_len = r->message.body_len;
    xo_engine_lock(r->ep->engine);
    int begun = xo_send_begin(&r->send) == 0;
    if (begun) {
        r->unwritten = 1;
        xo_request_suspend(r);
    }
    xo_engine_unlock(r->ep->engine);
    return begun ? MHD_YES : xo_answer_refusal(r, XO_INTERNAL_ERROR);
}

/* ---- acknowledging ---- */

/* With the lock held. 1: r waits, 0: it is decided, -1: no memory. */
static int settle(xo_request *r, xo_topic *t)
{
    if (r->url.trans == XO_TRANS_NONE) {
        int rc = xo_topic_acknowledge(r->group, r->handles, r->nhandles, r->states, &r->wait);
        r->unwritten = rc == 1;
        return rc;
    }
    for (size_t i = 0; i < r->nhandles; i++) {
        int rc = xo_half_settle(t, r->handles[i], r->url.trans == XO_TRANS_COMMIT, &r->states[i], &r->wait);
        if (rc < 0) {
            r->failed = 1;
            break;
        }
        r->unwritten += rc;
    }
    return r->unwritten ? 1 : r->failed ? -1 : 0;
}

static void delayed(xo_timer *timer)
{
    xo_request *r = XO_OF(xo_request, delay, timer);
    xo_list_remove(&r->delayed);
    int rc = settle(r, r->poll.topic);
    if (rc <= 0)
        xo_request_wake(r, rc == 0 ? XO_WRITTEN : XO_NOT_WRITTEN);
}

void xo_api_hurry(xo_endpoint *ep)
{
    while (!xo_list_empty(&ep->delayed)) {
        xo_request *r = XO_OF(xo_request, delayed, ep->delayed.next);
        xo_timer_clear(&ep->engine->timers, &r->delay);
        delayed(&r->delay);
    }
}

enum MHD_Result xo_api_acknowledge(xo_request *r, xo_topic *t)
{
    xonce_status st = xo_xml_read_handles(&r->handles, &r->nhandles, r->body.p ? r->body.p : "", r->body.len);
    if (st == XONCE_E_PROTOCOL)
        return xo_answer_refusal(r, XO_BAD_ELEMENT, xonce_error_last()->text);
    if (st != XONCE_OK)
        return xo_answer_refusal(r, st == XONCE_E_NOMEM ? XO_INTERNAL_ERROR : XO_MALFORMED_XML);
    if (r->nhandles == 0)
        return xo_answer_refusal(r, XO_MISSING_HANDLE);
    r->states = xo_calloc(r->nhandles, sizeof *r->states);
    if (!r->states)
        return xo_answer_refusal(r, XO_INTERNAL_ERROR);
    xo_engine *e = r->ep->engine;
    int rc = -1;
    xo_engine_lock(e);
    r->poll.topic = t;
    if (r->url.trans == XO_TRANS_NONE)
        r->group = xo_group_get(t, r->url.consumer);
    if (r->url.trans == XO_TRANS_NONE && r->group && r->ep->faults.delay_ack_ms > 0 && !e->draining) {
        xo_engine_timer(e, &r->delay, xo_mono_ms() + r->ep->faults.delay_ack_ms, delayed);
        xo_list_push(&r->ep->delayed, &r->delayed);
        rc = 1;
    } else if (r->url.trans != XO_TRANS_NONE || r->group) {
        rc = settle(r, t);
    }
    if (rc == 1)
        xo_request_suspend(r);
    xo_engine_unlock(e);
    if (rc == 1)
        return MHD_YES;
    return rc == 0 ? xo_answer_handles(r) : xo_answer_refusal(r, XO_INTERNAL_ERROR);
}

/* ---- the whole ---- */

/* The topic of the URL; NULL: there is none, or (*why) no memory. */
static xo_topic *find_topic(xo_request *r, xo_refusal *why)
{
    xo_endpoint *ep = r->ep;
    *why = XO_NO_TOPIC;
    if (strcmp(r->url.ns ? r->url.ns : "", ep->instance) != 0)
        return NULL;
    xo_engine_lock(ep->engine);
    xo_topic *t = xo_topic_find(ep->engine, r->url.topic);
    if (!t && !ep->strict) {
        t = xo_topic_declare(ep->engine, r->url.topic, XO_KIND_ANY);
        *why = XO_INTERNAL_ERROR;
    }
    xo_engine_unlock(ep->engine);
    return t;
}

static int error_on_order(xo_request *r)
{
    pthread_mutex_lock(&r->ep->lock);
    int made = xo_dice(r->ep->faults.error);
    r->error_status = r->ep->faults.error_status;
    r->ep->errors_made += made;
    pthread_mutex_unlock(&r->ep->lock);
    return made;
}

enum MHD_Result xo_request_run(xo_request *r)
{
    const char *what;
    if (atomic_load(&r->ep->stopping))
        return xo_answer_stopping(r);
    if (error_on_order(r))
        return xo_answer_fault(r);
    if (r->refusal != XO_NO_REFUSAL)
        return xo_answer_refusal(r, r->refusal);
    if (r->received > XO_REQUEST_BODY_MAX)
        return xo_answer_refusal(r, XO_TOO_LONG);
    if (r->body.failed)
        return xo_answer_refusal(r, XO_INTERNAL_ERROR);
    xo_refusal why = xo_digest_check(r);
    if (why != XO_NO_REFUSAL)
        return xo_answer_refusal(r, why);
    why = xo_url_parse(&r->url, r->target, r->method, &what);
    if (why != XO_NO_REFUSAL)
        return xo_answer_refusal(r, why, (int)strcspn(what, "=&"), what);
    r->wait.wake = written;
    xo_topic *t = find_topic(r, &why);
    if (!t)
        return xo_answer_refusal(r, why);
    switch (r->method) {
    case XO_SEND: return xo_api_send(r, t);
    case XO_CONSUME: return xo_api_consume(r, t);
    case XO_ACK: return xo_api_acknowledge(r, t);
    case XO_OTHER: break;
    }
    return xo_answer_refusal(r, XO_INVALID_URL);
}

enum MHD_Result xo_request_resume(xo_request *r)
{
    if (r->stage == XO_POLLED)
        return xo_answer_messages(r);
    if (r->stage != XO_WRITTEN)
        return xo_answer_refusal(r, XO_INTERNAL_ERROR);
    return r->method == XO_SEND ? xo_answer_sent(r) : xo_answer_handles(r);
}
