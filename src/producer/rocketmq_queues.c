/* Where a message goes: the queues of its topic, and which brokers are better left alone for a while. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "producer/rocketmq.h"
#include "remoting/sending.h"
#include <stdlib.h>
#include <string.h>

enum { MADE_UP_MS = 1000, ROUNDS = 8, FAILED_MS = 10000, REFRESH_MS = 10000 };
/* So slow an answer, and for how long its broker is then avoided. */
static const struct {
    int64_t took, avoid;
} slow[] = {{15000, 30000}, {5000, 10000}, {3000, 6000}, {1800, 5000}, {550, 2000}};

/* ---- brokers; lock held ---- */

static xo_rmq_broker *find_broker(const xo_rmq_producer *p, const char *name)
{
    xo_rmq_broker *b = p->brokers;
    while (b && strcmp(b->name, name) != 0) {
        b = b->next;
    }
    return b;
}

static xo_rmq_broker *make_broker(xo_rmq_producer *p, const char *name)
{
    xo_rmq_broker *b = find_broker(p, name);
    if (!b && (b = xo_calloc(1, sizeof(*b)))) {
        b->name = xo_strdup(name);
        if (!b->name) {
            free(b);
            return NULL;
        }
        b->next = p->brokers;
        p->brokers = b;
    }
    return b;
}

void xo_rmq_heard(xo_rmq_producer *p, const char *broker, int32_t version, int64_t took_ms, int failed)
{
    int64_t avoid = failed ? FAILED_MS : 0;
    for (size_t i = 0; !failed && avoid == 0 && i < sizeof(slow) / sizeof(slow[0]); i++) {
        avoid = took_ms >= slow[i].took ? slow[i].avoid : 0;
    }
    pthread_mutex_lock(&p->base.lock);
    xo_rmq_broker *b = *broker ? make_broker(p, broker) : NULL;
    if (b) {
        b->version = version ? version : b->version;
        if (took_ms >= 0) {
            b->avoid_until = avoid ? xo_mono_ms() + avoid : 0;
        }
    }
    pthread_mutex_unlock(&p->base.lock);
}

/* ---- topics ---- */

/* Lock held. */
static xo_rmq_topic *find_topic(const xo_rmq_producer *p, const char *name)
{
    xo_rmq_topic *t = p->topics;
    while (t && strcmp(t->name, name) != 0) {
        t = t->next;
    }
    return t;
}

/* Lock held. NULL on no memory. */
static xo_rmq_topic *make_topic(xo_rmq_producer *p, const char *name)
{
    xo_rmq_topic *t = find_topic(p, name);
    if (!t && (t = xo_calloc(1, sizeof(*t)))) {
        t->name = xo_strdup(name);
        if (!t->name) {
            free(t);
            return NULL;
        }
        t->turn = (size_t)xo_random() & 0xffff;
        t->next = p->topics;
        p->topics = t;
    }
    return t;
}

/* Asks; what is known stays when no name server can be asked, or none knows the topic: after a restart they know nothing until the brokers have told them. */
static xonce_status load(xo_rmq_producer *p, const char *name, int64_t max_age_ms)
{
    xo_queue_id *queues;
    size_t n;
    int made_up, new_topic = 0;
    xonce_status st = xo_send_queues(p->cluster, name, max_age_ms, &queues, &n, &made_up);
    pthread_mutex_lock(&p->base.lock);
    xo_rmq_topic *t = find_topic(p, name);
    if (!st && !t) {
        t = make_topic(p, name);
        new_topic = 1;
        if (!t) {
            pthread_mutex_unlock(&p->base.lock);
            xo_queue_ids_free(queues, n);
            return xo_nomem();
        }
    }
    if (!st) {
        xo_queue_id *old = t->queues;
        size_t nold = t->nqueues;
        t->queues = queues;
        t->nqueues = n;
        t->made_up = made_up;
        queues = old;
        n = nold;
    } else if (t && t->nqueues) {
        st = XONCE_OK;
    }
    if (t) {
        t->asked = xo_mono_ms();
    }
    pthread_mutex_unlock(&p->base.lock);
    xo_queue_ids_free(queues, n);
    if (new_topic) {
        xo_rmq_beat(p);
    }
    return st;
}

/* The topic has queues, as fresh as they must be. */
static xonce_status ready(xo_rmq_producer *p, const char *name)
{
    int64_t now = xo_mono_ms(), max_age = -1;
    pthread_mutex_lock(&p->base.lock);
    xo_rmq_topic *t = find_topic(p, name);
    if (!t || t->nqueues == 0) {
        max_age = t ? 0 : p->route_ms;
    } else if (t->stale || (t->made_up && now - t->asked >= MADE_UP_MS)) {
        max_age = 0; /* for one of those who come; the others go on with what is known */
        t->stale = 0;
        t->asked = now;
    }
    pthread_mutex_unlock(&p->base.lock);
    return max_age < 0 ? XONCE_OK : load(p, name, max_age);
}

void xo_rmq_stale(xo_rmq_producer *p, const char *topic)
{
    pthread_mutex_lock(&p->base.lock);
    xo_rmq_topic *t = find_topic(p, topic);
    if (t) {
        t->stale = 1;
    }
    pthread_mutex_unlock(&p->base.lock);
}

/* Topics are only ever added, at the head. What is not reached in time, since name servers are slow, has its turn in the next round: heartbeats wait for this. */
void xo_rmq_refresh(xo_rmq_producer *p)
{
    int64_t end = xo_mono_ms() + REFRESH_MS;
    pthread_mutex_lock(&p->base.lock);
    for (xo_rmq_topic *t = p->topics; t && !p->stop && xo_mono_ms() < end; t = t->next) {
        if (xo_mono_ms() - t->asked >= p->route_ms) {
            pthread_mutex_unlock(&p->base.lock);
            if (load(p, t->name, p->route_ms / 2)) {
                xo_log(XO_WARN, "producer", "%s", xonce_error_last()->text);
            }
            pthread_mutex_lock(&p->base.lock);
        }
    }
    for (xo_rmq_checker *k = p->checkers; k && !p->stop && xo_mono_ms() < end; k = k->next) {
        if (!find_topic(p, k->wire_topic)) {
            pthread_mutex_unlock(&p->base.lock);
            (void)load(p, k->wire_topic, p->route_ms / 2); /* its first half message may make the topic */
            pthread_mutex_lock(&p->base.lock);
        }
    }
    pthread_mutex_unlock(&p->base.lock);
}

void xo_rmq_queues_free(xo_rmq_producer *p)
{
    for (xo_rmq_topic *t = p->topics, *next; t; t = next) {
        next = t->next;
        xo_queue_ids_free(t->queues, t->nqueues);
        free(t->name);
        free(t);
    }
    for (xo_rmq_broker *b = p->brokers, *next; b; b = next) {
        next = b->next;
        free(b->name);
        free(b);
    }
}

/* ---- the choice ---- */

static int too_old(const xo_rmq_send *s, const xo_rmq_broker *b)
{
    return s->timed && b && b->version && b->version < XO_RMQ_TIMERS_SINCE;
}

/* Lock held. pass 0: brokers that are well; 1: also those to be avoided; 2: also the one that just failed. */
static int suits(const xo_rmq_producer *p, const xo_rmq_send *s, const xo_queue_id *q, int pass)
{
    const xo_rmq_broker *b = find_broker(p, q->broker);
    if (too_old(s, b)) {
        return 0;
    }
    return pass == 2 || (strcmp(q->broker, s->failed) != 0 && (pass == 1 || !b || b->avoid_until <= xo_mono_ms()));
}

/* Lock held. NULL: none will do. */
static const xo_queue_id *pick(xo_rmq_producer *p, xo_rmq_topic *t, const xo_rmq_send *s)
{
    if (s->keyed) {
        int64_t r = s->hash % (int64_t)t->nqueues;
        const xo_queue_id *q = &t->queues[r < 0 ? -r : r];
        return suits(p, s, q, 2) ? q : NULL;
    }
    size_t turn = t->turn++;
    for (int pass = 0; pass < 3; pass++) {
        for (size_t i = 0; i < t->nqueues; i++) {
            const xo_queue_id *q = &t->queues[(turn + i) % t->nqueues];
            if (suits(p, s, q, pass)) {
                return q;
            }
        }
    }
    return NULL;
}

/* *unknown: the broker's version is to be asked for first. */
static xonce_status pick_place(xo_rmq_producer *p, xo_rmq_send *s, int *unknown)
{
    xonce_status st = XONCE_OK;
    *unknown = 0;
    pthread_mutex_lock(&p->base.lock);
    xo_rmq_topic *t = find_topic(p, s->topic);
    const xo_queue_id *q = t && t->nqueues ? pick(p, t, s) : NULL;
    if (q && strlen(q->broker) < sizeof(s->place.broker)) {
        const xo_rmq_broker *b = find_broker(p, q->broker);
        memcpy(s->place.broker, q->broker, strlen(q->broker) + 1);
        s->place.queue = q->id;
        *unknown = s->timed && !(b && b->version);
    } else if (q || !t || !t->nqueues) {
        st = xo_fail(XONCE_E_PROTOCOL, "the route of topic %.127s names no broker that can be used", s->shown);
    } else {
        st = xo_fail(XONCE_E_INVALID,
                     "a message of %.127s is to be delivered at a given time, but the brokers of the topic are older than 5.0 and would deliver it at once: use the property DELAY, a level",
                     s->shown);
    }
    pthread_mutex_unlock(&p->base.lock);
    if (st) {
        s->place.broker[0] = 0;
    }
    return st;
}

xonce_status xo_rmq_choose(xo_rmq_producer *p, xo_rmq_send *s)
{
    int unknown = 1;
    s->place.broker[0] = 0;
    xonce_status st = ready(p, s->topic);
    for (int i = 0; !st && unknown && i < ROUNDS; i++) {
        st = pick_place(p, s, &unknown);
        if (!st) {
            st = xo_cluster_broker(p->cluster, s->place.broker, 0, s->place.address, sizeof(s->place.address));
        }
        if (!st && unknown) {
            st = xo_rmq_greet(p, s->place.broker, s->place.address);
        }
    }
    if (!st && unknown) {
        st = xo_fail(XONCE_E_PROTOCOL, "the brokers of topic %.127s do not say their version, which a timed message needs", s->shown);
    }
    return st;
}

/* Copies the name of a broker of the topic whose version is unknown; "" when all are known. */
static void unknown_broker(xo_rmq_producer *p, const char *topic, char *name, size_t size, int32_t *newest)
{
    *name = 0;
    *newest = 0;
    pthread_mutex_lock(&p->base.lock);
    const xo_rmq_topic *t = find_topic(p, topic);
    for (size_t i = 0; t && i < t->nqueues; i++) {
        const xo_rmq_broker *b = find_broker(p, t->queues[i].broker);
        if (b && b->version) {
            *newest = b->version > *newest ? b->version : *newest;
        } else if (strlen(t->queues[i].broker) < size) {
            memcpy(name, t->queues[i].broker, strlen(t->queues[i].broker) + 1);
        }
    }
    pthread_mutex_unlock(&p->base.lock);
}

xonce_status xo_rmq_topic_version(xo_rmq_producer *p, const char *topic, int32_t *version)
{
    char name[XO_RMQ_NAME], address[XO_RMQ_ADDRESS];
    xonce_status st = ready(p, topic);
    for (int i = 0; !st && i < ROUNDS; i++) {
        unknown_broker(p, topic, name, sizeof(name), version);
        if (!*name || *version >= XO_RMQ_TIMERS_SINCE) {
            return XONCE_OK;
        }
        st = xo_cluster_broker(p->cluster, name, 0, address, sizeof(address));
        if (!st) {
            st = xo_rmq_greet(p, name, address);
        }
    }
    if (st && *version) {
        st = XONCE_OK; /* another one was asked */
    } else if (!st && !*version) {
        st = xo_fail(XONCE_E_PROTOCOL, "the brokers of topic %.127s do not say their version", topic);
    }
    return st;
}
