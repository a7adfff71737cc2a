/* Routes: which topics there are, and whether a broker's master moved. */
#include "base/clock.h"
#include "base/log.h"
#include "source/rocketmq/rocketmq.h"
#include <stdlib.h>
#include <string.h>

enum { TELL_MS = 60000 };

static uint64_t mix(uint64_t sum, const char *text, int64_t number)
{
    for (; *text; text++) {
        sum = (sum ^ (unsigned char)*text) * UINT64_C(1099511628211);
    }
    return (sum ^ (uint64_t)number) * UINT64_C(1099511628211);
}

static uint64_t sum_of(uint64_t sum, const char *topic, const xo_route *r)
{
    sum = mix(sum, topic, 0);
    for (size_t i = 0; i < r->nqueues; i++) {
        sum = mix(sum, r->queues[i].broker, (int64_t)r->queues[i].read << 8 | r->queues[i].perm);
    }
    return sum;
}

static void moved(xo_rocketmq *s, const char *broker)
{
    pthread_mutex_lock(&s->lock);
    for (xo_rmq_queue *q = s->queues; q; q = q->next) {
        if (!strcmp(q->broker, broker) && q->state != XO_Q_LEAVING) {
            q->look_back = 1;
        }
    }
    s->heartbeat_now = s->locks_now = s->rebalance_now = 1;
    pthread_mutex_unlock(&s->lock);
}

static void note_master(xo_rocketmq *s, const char *broker, const char *address)
{
    xo_rmq_master *at = NULL;
    for (size_t i = 0; i < s->nmasters; i++) {
        at = strcmp(s->masters[i].name, broker) ? at : &s->masters[i];
    }
    if (at && !strcmp(at->address, address)) {
        return;
    }
    char *copy = xo_strdup(address);
    if (!copy) {
        return; /* seen at the next look */
    }
    if (at) {
        xo_log(XO_WARN, "rocketmq", "the master of broker %s moved from %s to %s: its queues are read again from before the last settled messages", broker, at->address, address);
        xo_remoting_disconnect(xo_cluster_remoting(s->cluster), at->address); /* what still lives there serves nobody any more */
        free(at->address);
        at->address = copy;
        moved(s, broker);
        return;
    }
    xo_rmq_master *grown = realloc(s->masters, (s->nmasters + 1) * sizeof(*grown));
    char *name = xo_strdup(broker);
    if (grown) {
        s->masters = grown;
    }
    if (!grown || !name) {
        free(copy);
        free(name);
        return;
    }
    s->masters[s->nmasters++] = (xo_rmq_master){.name = name, .address = copy};
}

static void note_masters(xo_rocketmq *s, const xo_route *r)
{
    for (size_t i = 0; i < r->nbrokers; i++) {
        for (size_t k = 0; k < r->brokers[i].nnodes; k++) {
            if (r->brokers[i].nodes[k].id == 0) {
                note_master(s, r->brokers[i].name, r->brokers[i].nodes[k].address);
            }
        }
    }
}

/* The thread's last error says why sub has no route. */
static void no_route(xo_rocketmq *s, xo_rmq_sub *sub, xonce_status why)
{
    int64_t now = xo_mono_ms();
    int tell;
    pthread_mutex_lock(&s->lock);
    tell = why == XONCE_E_NOT_FOUND && (!sub->told || now - sub->told > TELL_MS);
    if (why == XONCE_E_NOT_FOUND) {
        sub->routed = 0;
    }
    if (tell) {
        sub->told = now;
    }
    if (why == XONCE_E_AUTH) {
        xo_rmq_permanent(s);
    } else if (why != XONCE_E_NOT_FOUND) {
        xo_rmq_transient(s);
    }
    xo_error_save(&s->route_error);
    pthread_mutex_unlock(&s->lock);
    if (tell) {
        xo_log(XO_WARN, "rocketmq", "topic %s has no route: it is read as soon as it exists: %s", sub->topic, xonce_error_last()->text);
    }
}

xonce_status xo_routes_queues(xo_rocketmq *s, const char *wire, xo_queue_id **out, size_t *n)
{
    xo_route *r = NULL;
    xonce_status st = xo_cluster_route(s->cluster, wire, s->route_every, &r);
    if (st == XONCE_OK) {
        st = xo_route_queues_of(r, 0, out, n);
    }
    xo_route_free(r);
    return st;
}

void xo_routes_refresh(xo_rocketmq *s)
{
    uint64_t sum = UINT64_C(14695981039346656037);
    int routes = 0, whole = 1;
    for (size_t i = 0; i <= s->nsubs; i++) {
        xo_rmq_sub *sub = i < s->nsubs ? &s->subs[i] : NULL;
        const char *wire = sub ? sub->wire : s->retry_wire;
        xo_route *r = NULL;
        xonce_status st = xo_cluster_route(s->cluster, wire, 0, &r);
        if (st == XONCE_OK) {
            sum = sum_of(sum, wire, r);
            note_masters(s, r);
            if (sub) {
                pthread_mutex_lock(&s->lock);
                sub->routed = 1;
                pthread_mutex_unlock(&s->lock);
            }
        } else if (sub) {
            no_route(s, sub, st);
        }
        xo_route_free(r);
        if (st != XONCE_OK && st != XONCE_E_NOT_FOUND) { /* no name server answers: waiting for each topic anew would hold up everything else */
            whole = 0;
            break;
        }
    }
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->nsubs; i++) {
        routes += s->subs[i].routed == 1;
    }
    s->routes = routes;
    if (whole && sum != s->route_sum) {
        s->rebalance_now = 1;
        s->route_sum = sum;
    }
    pthread_mutex_unlock(&s->lock);
}
