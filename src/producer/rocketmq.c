/* The producer over RocketMQ's own protocol: opening, closing, and the thread that keeps it known to the brokers. */
#include "producer/rocketmq.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "remoting/record.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROUP "xonce_producer" /* of all that is no transaction; nobody is asked about it */
enum { UNREGISTER_MS = 1000, LEAST_BEAT_MS = 100 }; /* connections may come and go quickly; heartbeats do not */

/* ---- heartbeats ---- */

static void add_group(xo_buf *b, const char *group, int *n)
{
    xo_buf_str(b, (*n)++ ? ",{\"groupName\":" : "{\"groupName\":");
    xo_buf_json(b, group, strlen(group));
    xo_buf_char(b, '}');
}

/* Lock held. Is it the first checker with its group? */
static int first_of_group(const xo_rmq_producer *p, const xo_rmq_checker *k)
{
    const xo_rmq_checker *c = p->checkers;
    while (strcmp(c->wire_group, k->wire_group) != 0) {
        c = c->next;
    }
    return c == k && strcmp(k->wire_group, p->group) != 0;
}

static xonce_status heartbeat(xo_rmq_producer *p, xo_command *request)
{
    xo_buf body = {0};
    int n = 0;
    xo_buf_str(&body, "{\"clientID\":");
    xo_buf_json(&body, p->client_id, strlen(p->client_id));
    xo_buf_str(&body, ",\"heartbeatFingerprint\":0,\"withoutSub\":false,\"consumerDataSet\":[],\"producerDataSet\":[");
    add_group(&body, p->group, &n);
    pthread_mutex_lock(&p->base.lock);
    for (const xo_rmq_checker *k = p->checkers; k; k = k->next) {
        if (first_of_group(p, k)) {
            add_group(&body, k->wire_group, &n);
        }
    }
    pthread_mutex_unlock(&p->base.lock);
    xo_buf_str(&body, "]}");
    xonce_status st = xo_buf_status(&body);
    if (!st) {
        xo_command_init(request, XO_RMQ_HEARTBEAT);
        xo_command_take_body(request, &body);
    }
    xo_buf_free(&body);
    return st;
}

xonce_status xo_rmq_greet(xo_rmq_producer *p, const char *broker, const char *address)
{
    xo_command request, answer = {0};
    xonce_status st = heartbeat(p, &request);
    if (!st) {
        st = xo_remoting_call(xo_cluster_remoting(p->cluster), address, &request, xo_cluster_timeout(p->cluster), &answer);
    }
    if (!st) {
        xo_rmq_heard(p, broker, answer.version, -1, 0);
        st = xo_command_error(&answer, "a heartbeat");
        xo_command_free(&answer);
    }
    return st ? xo_error_context("%s", address) : XONCE_OK;
}

/* To all masters at once, waiting for none longer than for one. */
static void beat_all(xo_rmq_producer *p)
{
    char **addresses;
    size_t n, made = 0;
    if (xo_cluster_addresses(p->cluster, 1, &addresses, &n)) {
        xo_log(XO_WARN, "producer", "heartbeats: %s", xonce_error_last()->text);
        return;
    }
    xo_call *calls = n ? xo_calloc(n, sizeof(*calls)) : NULL;
    for (size_t i = 0; calls && i < n; i++) {
        if (strlen(addresses[i]) < sizeof(calls[made].address) && !heartbeat(p, &calls[made].request)) {
            memcpy(calls[made++].address, addresses[i], strlen(addresses[i]) + 1);
        }
    }
    if (made) {
        xo_remoting_call_all(xo_cluster_remoting(p->cluster), calls, made, xo_cluster_timeout(p->cluster));
    }
    for (size_t i = 0; i < made; i++) {
        char broker[XO_RMQ_NAME] = "";
        xonce_status st = calls[i].status;
        if (st) {
            (void)xo_error_restore(&calls[i].error);
        } else {
            st = xo_command_error(&calls[i].answer, "a heartbeat");
            xo_cluster_broker_at(p->cluster, calls[i].address, broker, sizeof(broker));
            if (!st) {
                xo_rmq_heard(p, broker, calls[i].answer.version, -1, 0);
            }
            xo_command_free(&calls[i].answer);
        }
        if (st) {
            xo_log(XO_WARN, "producer", "a heartbeat to %s: %s", calls[i].address, xonce_error_last()->text);
        }
    }
    free(calls);
    xo_addresses_free(addresses, n);
    pthread_mutex_lock(&p->base.lock);
    p->beaten |= made > 0;
    pthread_mutex_unlock(&p->base.lock);
}

void xo_rmq_beat(xo_rmq_producer *p)
{
    pthread_mutex_lock(&p->base.lock);
    p->beat_now = 1;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->base.lock);
}

static void *keep(void *arg)
{
    xo_rmq_producer *p = arg;
    int64_t next = 0, earliest = 0;
    pthread_mutex_lock(&p->base.lock);
    while (!p->stop) {
        int64_t due = p->beat_now ? earliest : next;
        if (xo_mono_ms() < due) {
            (void)xo_cond_wait_ms(&p->changed, &p->base.lock, due);
            continue;
        }
        int anything = p->topics || p->checkers;
        p->beat_now = 0;
        pthread_mutex_unlock(&p->base.lock);
        if (anything) {
            xo_rmq_refresh(p);
            beat_all(p);
        }
        earliest = xo_mono_ms() + LEAST_BEAT_MS;
        next = xo_mono_ms() + (p->beat_ms < p->route_ms ? p->beat_ms : p->route_ms);
        pthread_mutex_lock(&p->base.lock);
    }
    pthread_mutex_unlock(&p->base.lock);
    return NULL;
}

/* What brokers know of us goes with this; it is not waited for long. */
static void unregister(xo_rmq_producer *p, const char *group)
{
    char **addresses;
    size_t n, made = 0;
    if (xo_cluster_addresses(p->cluster, 1, &addresses, &n)) {
        return;
    }
    xo_call *calls = n ? xo_calloc(n, sizeof(*calls)) : NULL;
    for (size_t i = 0; calls && i < n; i++) {
        if (strlen(addresses[i]) < sizeof(calls[made].address)) {
            xo_command_init(&calls[made].request, XO_RMQ_UNREGISTER);
            xo_command_set(&calls[made].request, "clientID", p->client_id);
            xo_command_set(&calls[made].request, "producerGroup", group);
            memcpy(calls[made++].address, addresses[i], strlen(addresses[i]) + 1);
        }
    }
    if (made) {
        xo_remoting_call_all(xo_cluster_remoting(p->cluster), calls, made, UNREGISTER_MS);
    }
    for (size_t i = 0; i < made; i++) {
        if (!calls[i].status) {
            xo_command_free(&calls[i].answer);
        }
    }
    free(calls);
    xo_addresses_free(addresses, n);
}

/* ---- what brokers say; on the I/O thread ---- */

static void on_request(void *self, const char *address, xo_command *c)
{
    xo_rmq_producer *p = self;
    if (c->code == XO_RMQ_CHECK_TRANSACTION) {
        xo_rmq_asked(p, address, c);
    } else if (!(c->flag & XO_FLAG_ONEWAY)) {
        xo_remoting_reply(xo_cluster_remoting(p->cluster), address, c->opaque, XO_RMQ_NOT_SUPPORTED, "a producer does not do this", NULL);
    }
}

/* A broker forgets its clients with their connections. */
static void on_changed(void *self, const char *address, int made)
{
    (void)address;
    if (made) {
        xo_rmq_beat(self);
    }
}

/* ---- life ---- */

static void close_producer(xonce_producer *base)
{
    xo_rmq_producer *p = (xo_rmq_producer *)base;
    pthread_mutex_lock(&base->lock);
    p->stop = 1;
    base->closing = 1;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&base->lock);
    xo_work_close(&p->checks);
    if (p->kept) {
        pthread_join(p->keeper, NULL);
    }
    xo_trace_close(p->trace);
    if (p->beaten) {
        unregister(p, p->group);
        for (const xo_rmq_checker *k = p->checkers; k; k = k->next) {
            if (first_of_group(p, k)) {
                unregister(p, k->wire_group);
            }
        }
    }
    xo_cluster_close(p->cluster);
    xo_rmq_queues_free(p);
    xo_rmq_halves_free(p);
    free(p->group);
    free(p->space);
    pthread_cond_destroy(&p->changed);
    xo_producer_free(base);
}

static int busy(void)
{
    int native = xonce_error_last()->native;
    return native == XO_RMQ_BUSY || native == XO_RMQ_FLOW_CONTROL;
}

static const xo_producer_ops ops = {
    .close = close_producer,
    .check = xo_rmq_check,
    .send = xo_rmq_send_one,
    .send_async = xo_rmq_send_async,
    .send_oneway = xo_rmq_send_oneway,
    .send_batch = xo_rmq_send_batch,
    .send_transaction = xo_rmq_send_transaction,
    .on_check = xo_rmq_on_check,
    .later = xo_rmq_later,
    .batchable = xo_rmq_batchable,
    .busy = busy,
};

/* The namespace, and from it and the channel whether this is the vendor's cloud, which knows __STARTDELIVERTIME. */
static xonce_status learn_space(xo_rmq_producer *p, const xonce_config *cfg)
{
    const char *channel = xo_config_text(cfg, "rocketmq.ons-channel");
    p->group = xo_cluster_wrap(p->cluster, GROUP);
    if (!p->group) {
        return xo_nomem();
    }
    size_t n = strlen(p->group) - strlen(GROUP);
    p->space = xo_memdup0(p->group, n > 0 ? n - 1 : 0);
    if (!p->space) {
        return xo_nomem();
    }
    p->cloud = (channel && *channel) || strncmp(p->space, "MQ_INST_", 8) == 0;
    return XONCE_OK;
}

static xonce_status settings(xo_rmq_producer *p, const xonce_config *cfg)
{
    static const int codecs[] = {XO_SYS_ZLIB, XO_SYS_LZ4, XO_SYS_ZSTD, 0}; /* as rocketmq.compression lists them */
    p->retries = (int)xo_config_int(cfg, "send.retries");
    p->exactly_once = xo_config_int(cfg, "send.exactly-once") != 0;
    p->codec = codecs[xo_config_int(cfg, "rocketmq.compression") & 3];
    p->compress_over = xo_config_int(cfg, "rocketmq.compress-over");
    p->route_ms = xo_config_int(cfg, "rocketmq.route-every");
    p->beat_ms = xo_config_int(cfg, "rocketmq.heartbeat-every");
    return xo_make_client_id(p->client_id, sizeof(p->client_id), xo_config_text(cfg, "rocketmq.instance-name"), NULL);
}

static xonce_status start(xo_rmq_producer *p, const char *uri, const xonce_config *cfg)
{
    static const xo_remoting_events events = {.request = on_request, .changed = on_changed};
    sigset_t all, before;
    xonce_status st = xo_work_init(&p->checks, 1);
    if (!st) {
        st = settings(p, cfg);
    }
    if (!st) {
        st = xo_cluster_open(&p->cluster, uri, cfg, &events, p);
    }
    if (!st) {
        st = learn_space(p, cfg);
    }
    if (!st) {
        st = xo_trace_open(&p->trace, p->cluster, cfg);
    }
    if (!st) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int rc = pthread_create(&p->keeper, NULL, keep, p);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        p->kept = rc == 0;
        st = rc ? xo_fail(XONCE_E_NOMEM, "cannot start the thread for heartbeats: %s", strerror(rc)) : XONCE_OK;
    }
    return st;
}

xonce_status xo_producer_rocketmq_open(xonce_producer **out, const char *uri, const xonce_config *cfg)
{
    xo_rmq_producer *p = xo_calloc(1, sizeof(*p));
    if (!p) {
        return xo_nomem();
    }
    xonce_status st = xo_producer_init(&p->base, &ops, cfg, 1);
    if (st) {
        free(p);
        return st;
    }
    if (xo_cond_init(&p->changed) != 0) {
        xo_producer_free(&p->base);
        return xo_nomem();
    }
    st = start(p, uri, cfg);
    if (st) {
        xo_error why;
        xo_error_save(&why);
        close_producer(&p->base);
        return xo_error_restore(&why);
    }
    *out = &p->base;
    return XONCE_OK;
}
