/* Sending to RocketMQ brokers: tries, what their answers mean, and asynchronous sends. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "producer/rocketmq.h"
#include "remoting/sending.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAUSE_MS = 100, LONGEST_PAUSE_MS = 5000, OTHER_PAUSE_MS = 10, LEAST_TRY_MS = 100 };
typedef enum { SENT, AGAIN, FAILED } verdict;

/* ---- one try ---- */

/* Makes the request for the next try; *timeout is its share of the time that is left. */
static xonce_status next_request(xo_rmq_producer *p, xo_rmq_send *s, xo_command *request, int64_t *timeout)
{
    int64_t now = xo_mono_ms(), left = s->deadline - now;
    if (left <= 0) {
        return xo_fail(XONCE_E_TIMEOUT, "sending to %.127s: not done within %" PRId64 " ms", s->shown, p->base.timeout_ms);
    }
    xonce_status st = xo_rmq_choose(p, s);
    s->try_begun = xo_mono_ms();
    left = s->deadline - s->try_begun;
    *timeout = left / (s->left > 0 ? s->left : 1);
    if (*timeout < LEAST_TRY_MS) {
        *timeout = left < LEAST_TRY_MS ? (left > 0 ? left : 1) : LEAST_TRY_MS;
    }
    if (!st) {
        xo_send_command(request, &(xo_send_parts){.group = s->group,
                                                  .topic = s->topic,
                                                  .broker = s->place.broker,
                                                  .queue = s->place.queue,
                                                  .sys_flag = s->sys_flag,
                                                  .born_time = s->born,
                                                  .properties = s->properties.len ? s->properties.p : "",
                                                  .body = s->body,
                                                  .body_len = s->body_len,
                                                  .batch = s->kind == XO_RMQ_BATCH});
    }
    return st;
}

static void copy_text(char *out, size_t size, const char *text)
{
    (void)snprintf(out, size, "%s", text ? text : "");
}

static void trace(xo_rmq_producer *p, const xo_rmq_send *s, const xo_command *answer)
{
    if (!xo_trace_wanted(p->trace, answer ? xo_command_get(answer, "TRACE_ON") : NULL)) {
        return;
    }
    char *group = xo_strdup(s->group);
    xo_buf space = {0};
    xo_trace_pub(p->trace, &(xo_trace_record){.time = s->born,
                                              .region = answer ? xo_command_get(answer, "MSG_REGION") : NULL,
                                              .group = group ? xo_cluster_unwrap(p->cluster, group, &space) : "",
                                              .topic = s->shown,
                                              .id = s->ids.p,
                                              .tags = s->tags.p,
                                              .keys = s->keys.p,
                                              .store_host = s->place.address,
                                              .offset_id = s->offset_id,
                                              .body_len = (int64_t)s->body_len,
                                              .cost_ms = xo_mono_ms() - s->begun,
                                              .type = s->trace_type,
                                              .success = answer != NULL});
    xo_buf_free(&space);
    free(group);
}

/* It is stored, as weakly as the code says. */
static verdict accept(xo_rmq_producer *p, xo_rmq_send *s, const xo_command *answer)
{
    int64_t queue = s->place.queue, offset = -1;
    s->code = answer->code;
    (void)(xo_command_get(answer, "queueId") && xo_command_get_int(answer, "queueId", &queue));
    (void)(xo_command_get(answer, "queueOffset") && xo_command_get_int(answer, "queueOffset", &offset));
    s->queue = (int32_t)queue;
    s->offset = s->trace_type == XO_TRACE_DELAYED ? -1 : offset; /* where it waits is not where it will be */
    copy_text(s->offset_id, sizeof(s->offset_id), xo_command_get(answer, "msgId"));
    copy_text(s->transaction_id, sizeof(s->transaction_id), xo_command_get(answer, "transactionId"));
    if (answer->code != XO_RMQ_OK) {
        (void)xo_command_error(answer, "its broker took it");
        xo_log(XO_WARN, "producer", "message %.64s for %.127s is stored on %.127s, but not as safely as the broker is set up to: %s", s->id, s->shown, s->place.broker,
               xonce_error_last()->text);
    }
    trace(p, s, answer);
    return SENT;
}

static int worth_again(const xo_command *answer)
{
    static const int32_t codes[] = {XO_RMQ_SYSTEM_ERROR, XO_RMQ_BUSY, XO_RMQ_NOT_AVAILABLE, XO_RMQ_NO_PERMISSION, XO_RMQ_NO_TOPIC, 204, 205, XO_RMQ_GO_AWAY};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (answer->code == codes[i]) {
            return 1;
        }
    }
    return 0;
}

static verdict refuse(xo_rmq_producer *p, xo_rmq_send *s, const xo_command *answer)
{
    char what[XO_RMQ_NAME + 300];
    (void)snprintf(what, sizeof(what), "sending to %.127s at %.255s", s->shown, s->place.broker);
    if (answer->code == XO_RMQ_NO_TOPIC || answer->code == XO_RMQ_NO_PERMISSION || answer->code == XO_RMQ_NOT_AVAILABLE) {
        xo_rmq_stale(p, s->topic);
    }
    xonce_status st = xo_command_error(answer, what);
    int rights = st == XONCE_E_AUTH && answer->code == XO_RMQ_SYSTEM_ERROR; /* the same everywhere */
    return worth_again(answer) && !rights ? AGAIN : FAILED;
}

/* What the end of a try means, with the thread's error unless it is SENT. *pause: how long to wait before the next. */
static verdict judge(xo_rmq_producer *p, xo_rmq_send *s, xonce_status st, const xo_command *answer, int64_t *pause)
{
    verdict v;
    int64_t took = xo_mono_ms() - s->try_begun;
    *pause = 0;
    if (!st && answer->code != XO_RMQ_OK && (answer->code < XO_RMQ_FLUSH_DISK_TIMEOUT || answer->code > XO_RMQ_FLUSH_SLAVE_TIMEOUT)) {
        v = refuse(p, s, answer);
        xo_rmq_heard(p, s->place.broker, answer->version, took, v == AGAIN && answer->code != XO_RMQ_GO_AWAY);
    } else if (!st) {
        xo_rmq_heard(p, s->place.broker, answer->version, took, 0);
        return accept(p, s, answer);
    } else {
        /* a place may not be found for a moment, or a connection be lost; whether the broker has the message is not known then */
        v = xonce_error_last()->again && st != XONCE_E_NOMEM && !(st == XONCE_E_NOT_FOUND && !*s->place.broker) ? AGAIN : FAILED;
        if (v == AGAIN && *s->place.broker) {
            xo_rmq_heard(p, s->place.broker, 0, took, 1);
        }
        if (st != XONCE_E_TIMEOUT) { /* another broker may be its master by now */
            xo_rmq_stale(p, s->topic);
        }
        (void)xo_error_context("sending to %.127s%s%.255s", s->shown, *s->place.broker ? " at " : "", s->place.broker);
    }
    s->tries++;
    s->left--;
    int same = !*s->place.broker || s->keyed || strcmp(s->failed, s->place.broker) == 0;
    *pause = !same && s->tries == 1 ? OTHER_PAUSE_MS : s->tries < 7 ? PAUSE_MS << (s->tries - 1) : LONGEST_PAUSE_MS;
    if (v == AGAIN && (s->left <= 0 || xo_mono_ms() + *pause >= s->deadline)) {
        v = FAILED;
    }
    if (v == AGAIN) {
        copy_text(s->failed, sizeof(s->failed), s->place.broker);
    } else {
        trace(p, s, NULL);
    }
    return v;
}

/* ---- waiting for it ---- */

xonce_status xo_rmq_run(xo_rmq_producer *p, xo_rmq_send *s)
{
    for (;;) {
        int64_t timeout, pause;
        xo_command request, answer = {0};
        xonce_status st = next_request(p, s, &request, &timeout);
        if (!st) {
            st = xo_remoting_call(xo_cluster_remoting(p->cluster), s->place.address, &request, timeout, &answer);
        }
        verdict v = judge(p, s, st, &answer, &pause);
        if (!st) {
            xo_command_free(&answer);
        }
        if (v != AGAIN) {
            return v == SENT ? XONCE_OK : xonce_error_last()->code;
        }
        xo_pause_ms(pause);
    }
}

static xonce_status run_and_tell(xo_rmq_producer *p, xo_rmq_send *s, xonce_sent *out)
{
    xonce_status st = xo_rmq_run(p, s);
    if (!st) {
        xo_sent_fill(out, s->id, s->place.broker, s->queue, s->offset);
    }
    xo_rmq_send_free(s);
    return st;
}

xonce_status xo_rmq_send_one(xonce_producer *base, const xonce_message *m, xonce_sent *out)
{
    xo_rmq_producer *p = (xo_rmq_producer *)base;
    xo_rmq_send s;
    xonce_status st = xo_rmq_prepare(p, m, XO_RMQ_PLAIN, p->group, &s);
    return st ? st : run_and_tell(p, &s, out);
}

xonce_status xo_rmq_send_batch(xonce_producer *base, const xonce_message *const *m, size_t n, xonce_sent *out)
{
    xo_rmq_producer *p = (xo_rmq_producer *)base;
    xo_rmq_send s;
    xonce_status st = xo_rmq_prepare_batch(p, m, n, &s);
    return st ? st : run_and_tell(p, &s, out);
}

xonce_status xo_rmq_send_oneway(xonce_producer *base, const xonce_message *m)
{
    xo_rmq_producer *p = (xo_rmq_producer *)base;
    xo_rmq_send s;
    xo_command request;
    int64_t timeout;
    xonce_status st = xo_rmq_prepare(p, m, XO_RMQ_PLAIN, p->group, &s);
    if (st) {
        return st;
    }
    st = next_request(p, &s, &request, &timeout);
    if (!st) {
        st = xo_remoting_oneway(xo_cluster_remoting(p->cluster), s.place.address, &request);
    }
    if (st) {
        (void)xo_error_context("sending to %.127s", s.shown);
    }
    xo_rmq_send_free(&s);
    return st;
}

/* ---- not waiting for it ---- */

typedef struct {
    xo_job job;
    xo_async async;
    xo_rmq_producer *p;
    xo_rmq_send send;
    xonce_status status;
    xo_error why;
    xo_command answer;
} async_send;

static void on_answer(xonce_status st, xo_command *answer, void *arg)
{
    async_send *a = arg;
    a->status = st;
    if (st) {
        xo_error_save(&a->why);
    } else {
        a->answer = *answer;
        memset(answer, 0, sizeof(*answer));
    }
    xo_work_push(&a->p->base.work, &a->job, 0);
}

static void run_answer(xo_job *job);

static void run_try(xo_job *job)
{
    async_send *a = (async_send *)job;
    xo_command request;
    int64_t timeout;
    a->job.run = run_answer;
    a->status = next_request(a->p, &a->send, &request, &timeout);
    if (a->status) {
        xo_error_save(&a->why);
        xo_work_push(&a->p->base.work, &a->job, 0);
    } else {
        xo_remoting_send(xo_cluster_remoting(a->p->cluster), a->send.place.address, &request, timeout, on_answer, a);
    }
}

static void run_answer(xo_job *job)
{
    async_send *a = (async_send *)job;
    xonce_sent sent = {.size = sizeof(sent)};
    int64_t pause;
    if (a->status) {
        (void)xo_error_restore(&a->why);
    }
    verdict v = judge(a->p, &a->send, a->status, &a->answer, &pause);
    if (!a->status) {
        xo_command_free(&a->answer);
        memset(&a->answer, 0, sizeof(a->answer));
    }
    if (v == AGAIN) {
        a->job.run = run_try;
        xo_work_push(&a->p->base.work, &a->job, xo_mono_ms() + pause);
        return;
    }
    xo_sent_fill(&sent, a->send.id, a->send.place.broker, a->send.queue, a->send.offset);
    xo_rmq_send_free(&a->send);
    xo_async_end(&a->async, v == SENT ? XONCE_OK : xonce_error_last()->code, &sent);
    free(a);
}

/* The first try is made on the caller's thread, so that one connection sees the messages of a thread in their order. */
xonce_status xo_rmq_send_async(xonce_producer *base, const xonce_message *m, const xo_async *async)
{
    async_send *a = xo_calloc(1, sizeof(*a));
    if (!a) {
        return xo_nomem();
    }
    a->p = (xo_rmq_producer *)base;
    a->async = *async;
    xonce_status st = xo_rmq_prepare(a->p, m, XO_RMQ_PLAIN, a->p->group, &a->send);
    if (!st && (st = xo_rmq_send_keep(&a->send))) {
        xo_rmq_send_free(&a->send);
    }
    if (st) {
        free(a);
        return st;
    }
    run_try(&a->job);
    return XONCE_OK;
}
