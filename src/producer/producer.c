/* The public functions of the producer: each transport does them in its own way. */
#include "producer/producer.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/mem.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what the transports share ---- */

xonce_status xo_producer_init(xonce_producer *p, const xo_producer_ops *ops, const xonce_config *cfg, size_t threads)
{
    p->ops = ops;
    p->timeout_ms = xo_config_int(cfg, "send.timeout");
    xonce_status st = xo_work_init(&p->work, threads);
    if (st) {
        return st;
    }
    if (pthread_mutex_init(&p->lock, NULL) != 0 || xo_cond_init(&p->room) != 0) {
        xo_work_close(&p->work);
        return xo_nomem();
    }
    return XONCE_OK;
}

void xo_producer_free(xonce_producer *p)
{
    xo_work_close(&p->work);
    pthread_cond_destroy(&p->room);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void xo_sent_fill(xonce_sent *out, const char *id, const char *broker, int32_t queue, int64_t offset)
{
    xonce_sent all;
    if (!out) {
        return;
    }
    memset(&all, 0, sizeof(all));
    all.size = out->size && out->size < sizeof(all) ? out->size : sizeof(all);
    (void)snprintf(all.id, sizeof(all.id), "%s", id);
    (void)snprintf(all.broker, sizeof(all.broker), "%s", broker);
    all.queue = queue;
    all.offset = offset;
    memcpy(out, &all, all.size);
}

/* Waits for room, but not on the thread that makes it. */
static xonce_status enter(xonce_producer *p, size_t bytes)
{
    xonce_status st = XONCE_OK;
    int64_t deadline = xo_mono_ms() + p->timeout_ms;
    int waits = !xo_work_inside(&p->work);
    pthread_mutex_lock(&p->lock);
    while (waits && !p->closing && p->sends > 0 && (p->sends >= XO_ASYNC_SENDS || p->bytes + bytes > XO_ASYNC_BYTES)) {
        if (xo_cond_wait_ms(&p->room, &p->lock, deadline)) {
            st = xo_fail(XONCE_E_TIMEOUT, "%zu messages are on their way already and there was no room for more within %" PRId64 " ms: this one was not sent", p->sends, p->timeout_ms);
            break;
        }
    }
    if (!st && p->closing) {
        st = xo_fail(XONCE_E_CLOSED, "the producer is closing");
    }
    if (!st) {
        p->sends++;
        p->bytes += bytes;
    }
    pthread_mutex_unlock(&p->lock);
    return st;
}

static void leave(xonce_producer *p, size_t bytes)
{
    pthread_mutex_lock(&p->lock);
    p->sends--;
    p->bytes -= bytes;
    (void)pthread_cond_broadcast(&p->room);
    pthread_mutex_unlock(&p->lock);
}

void xo_async_end(const xo_async *a, xonce_status st, const xonce_sent *sent)
{
    a->done(st, st ? NULL : sent, a->arg);
    leave(a->producer, a->bytes);
}

/* ---- public ---- */

xonce_status xonce_producer_open(xonce_producer **out, const char *uri, const xonce_config *cfg)
{
    static const struct {
        const char *prefix;
        xonce_status (*open)(xonce_producer **out, const char *uri, const xonce_config *cfg);
    } transports[] = {{"rocketmq:", xo_producer_rocketmq_open}, {"", xo_producer_http_open}};
    if (!out || !uri) {
        return xo_fail(XONCE_E_INVALID, "xonce_producer_open: out and uri must not be NULL");
    }
    *out = NULL;
    size_t i = 0;
    while (strncmp(uri, transports[i].prefix, strlen(transports[i].prefix)) != 0) {
        i++;
    }
    return transports[i].open(out, uri, cfg);
}

xonce_status xonce_producer_send(xonce_producer *p, const xonce_message *m, xonce_sent *out)
{
    if (!p || !m) {
        return xo_fail(XONCE_E_INVALID, "xonce_producer_send: producer and message must not be NULL");
    }
    return p->ops->send(p, m, out);
}

xonce_status xonce_producer_send_async(xonce_producer *p, const xonce_message *m, xonce_sent_fn done, void *arg)
{
    if (!p || !m || !done) {
        return xo_fail(XONCE_E_INVALID, "xonce_producer_send_async: producer, message and done must not be NULL");
    }
    xo_async a = {p, m->body_len, done, arg};
    xonce_status st = xo_work_ready(&p->work);
    if (!st) {
        st = enter(p, a.bytes);
    }
    if (st) {
        return st;
    }
    st = p->ops->send_async(p, m, &a);
    if (st) {
        leave(p, a.bytes);
    }
    return st;
}

xonce_status xonce_producer_send_oneway(xonce_producer *p, const xonce_message *m)
{
    if (!p || !m) {
        return xo_fail(XONCE_E_INVALID, "xonce_producer_send_oneway: producer and message must not be NULL");
    }
    return p->ops->send_oneway ? p->ops->send_oneway(p, m) : xo_fail(XONCE_E_INVALID, "%s", p->ops->no_oneway);
}

xonce_status xonce_producer_send_batch(xonce_producer *p, const xonce_message *const *m, size_t n, xonce_sent *out)
{
    if (!p || !m || n == 0) {
        return xo_fail(XONCE_E_INVALID, "xonce_producer_send_batch: producer and messages must not be NULL, and there must be one at least");
    }
    for (size_t i = 0; i < n; i++) {
        if (!m[i] || strcmp(m[i]->topic, m[0]->topic) != 0) {
            return xo_fail(XONCE_E_INVALID, "xonce_producer_send_batch: message %zu is %s", i, m[i] ? "of another topic than the first" : "NULL");
        }
    }
    return p->ops->send_batch ? p->ops->send_batch(p, m, n, out) : xo_fail(XONCE_E_INVALID, "%s", p->ops->no_batch);
}

xonce_status xonce_producer_send_transaction(xonce_producer *p, const xonce_message *m, xonce_transaction_fn execute, void *arg, xonce_sent *out)
{
    if (!p || !m || !execute) {
        return xo_fail(XONCE_E_INVALID, "xonce_producer_send_transaction: producer, message and execute must not be NULL");
    }
    return p->ops->send_transaction(p, m, execute, arg, out);
}

xonce_status xonce_producer_on_check(xonce_producer *p, const char *topic, const char *group, xonce_transaction_fn check, void *arg)
{
    if (!p || !topic || !group || !check) {
        return xo_fail(XONCE_E_INVALID, "xonce_producer_on_check: producer, topic, group and check must not be NULL");
    }
    return p->ops->on_check(p, topic, group, check, arg);
}

/* Each send in flight ends by its time at the latest. */
void xonce_producer_close(xonce_producer *p)
{
    if (!p) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->closing = 1;
    (void)pthread_cond_broadcast(&p->room);
    while (p->sends > 0) {
        (void)pthread_cond_wait(&p->room, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    p->ops->close(p);
}

/* ---- for the program ---- */

xonce_status xo_producer_check(xonce_producer *p, const xonce_message *m)
{
    return (p ? p->ops : &xo_http_ops)->check(p, m);
}

xonce_status xo_producer_later(xonce_producer *p, xonce_message *m, int64_t delay_ms, int64_t at_ms)
{
    return (p ? p->ops : &xo_http_ops)->later(p, m, delay_ms, at_ms);
}

int xo_producer_batchable(xonce_producer *p, const xonce_message *m)
{
    return p->ops->send_batch && p->ops->batchable(p, m);
}

int xo_producer_busy(const xonce_producer *p)
{
    return p->ops->busy();
}
