/* How far the group is, all its members together: the store time of the oldest message that is not settled in any queue of its topics, on any broker. Whoever prunes counts age from there.
 *
 * A queue's settled prefix is taken as the brokers were told, which is never ahead of the database. One queue or broker that cannot be asked makes the whole unknown. */
#include "base/clock.h"
#include "source/rocketmq/place.h"
#include <stdlib.h>
#include <string.h>

enum {
    MARGIN_MS = 5 * 60 * 1000, /* by so much may the clocks of brokers, database and ours differ: pruning stops beyond */
    PULL_WITH_FILTER = 4       /* the request carries its subscription: no heartbeat is asked for */
};

typedef struct {
    char *wire, *broker;
    int32_t id;
    int64_t committed, min, max; /* committed -1: none */
} place;
typedef struct {
    place *places;
    size_t n, cap;
} places;

static void places_free(places *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->places[i].wire);
        free(p->places[i].broker);
    }
    free(p->places);
}

static xonce_status add_queues(xo_rocketmq *s, const char *wire, places *to)
{
    xo_queue_id *ids = NULL;
    size_t n = 0;
    xonce_status st = xo_routes_queues(s, wire, &ids, &n);
    for (size_t i = 0; st == XONCE_OK && i < n; i++) {
        place *list = xo_grow(to->places, &to->cap, to->n + 1, sizeof(*list));
        place p = {.wire = xo_strdup(wire), .broker = xo_strdup(ids[i].broker), .id = ids[i].id, .committed = -1};
        if (list) {
            to->places = list;
        }
        if (list && p.wire && p.broker) {
            list[to->n++] = p;
        } else {
            free(p.wire);
            free(p.broker);
            st = xo_nomem();
        }
    }
    xo_queue_ids_free(ids, n);
    return st;
}

static xonce_status all_queues(xo_rocketmq *s, places *to)
{
    xonce_status st = add_queues(s, s->retry_wire, to);
    for (size_t i = 0; st == XONCE_OK && i < s->nsubs; i++) {
        st = add_queues(s, s->subs[i].wire, to);
    }
    return st;
}

/* Where each queue is committed, begins and ends. The end is asked with the rest, so what comes in between is seen as waiting at worst. */
static xonce_status ask_offsets(xo_rocketmq *s, places *p)
{
    static const int32_t codes[] = {XO_RMQ_MAX_OFFSET, XO_RMQ_MIN_OFFSET, XO_RMQ_QUERY_OFFSET};
    enum { EACH = 3 };
    xo_call *calls = xo_calloc(p->n * EACH + 1, sizeof(*calls));
    xonce_status st = calls ? XONCE_OK : xo_nomem();
    size_t n = 0;
    for (size_t i = 0; st == XONCE_OK && i < p->n; i++) {
        xo_rmq_queue q = {.wire = p->places[i].wire, .id = p->places[i].id};
        char address[280];
        st = xo_cluster_broker(s->cluster, p->places[i].broker, 0, address, sizeof(address));
        for (int k = 0; st == XONCE_OK && k < EACH; k++) {
            memcpy(calls[n].address, address, sizeof(address));
            xo_offset_request(s, &q, codes[k], &calls[n++].request);
        }
    }
    if (st != XONCE_OK) {
        for (size_t i = 0; i < n; i++) {
            xo_command_free(&calls[i].request);
        }
        free(calls);
        return st;
    }
    xo_remoting_call_all(xo_cluster_remoting(s->cluster), calls, n, s->timeout);
    for (size_t i = 0; i < p->n; i++) {
        int64_t *const out[EACH] = {&p->places[i].max, &p->places[i].min, &p->places[i].committed};
        for (int k = 0; k < EACH; k++) {
            xonce_status one = xo_offset_read(&calls[i * EACH + (size_t)k], k == 2, out[k]);
            st = one != XONCE_OK ? one : st;
            xo_command_free(&calls[i * EACH + (size_t)k].answer);
        }
    }
    free(calls);
    return st;
}

/* The store time of the first message from offset on. */
static xonce_status first_time(xo_rocketmq *s, const place *p, int64_t offset, int64_t *ms)
{
    xo_command c, answer;
    xo_command_init(&c, XO_RMQ_PULL);
    xo_command_set(&c, "consumerGroup", s->wire_group);
    xo_command_set(&c, "topic", p->wire);
    xo_command_set_int(&c, "queueId", p->id);
    xo_command_set_int(&c, "queueOffset", offset);
    xo_command_set_int(&c, "maxMsgNums", 1);
    xo_command_set_int(&c, "sysFlag", PULL_WITH_FILTER);
    xo_command_set_int(&c, "commitOffset", 0);
    xo_command_set_int(&c, "suspendTimeoutMillis", 0);
    xo_command_set_int(&c, "subVersion", 0);
    xo_command_set(&c, "subscription", "*");
    xo_command_set(&c, "expressionType", "TAG");
    xonce_status st = xo_cluster_ask(s->cluster, p->broker, &c, "reading the oldest message that waits", &answer);
    if (st != XONCE_OK) {
        return st;
    }
    xo_record r;
    size_t at = 0;
    int more = 0;
    st = xo_record_next(answer.body, answer.body_len, &at, &r, &more);
    if (st == XONCE_OK && !more) {
        st = xo_fail(XONCE_E_PROTOCOL, "an answer with messages holds none");
    }
    if (st == XONCE_OK) {
        *ms = r.store_time;
    }
    xo_command_free(&answer);
    return st;
}

xonce_status xo_watermark(xonce_source *source, int64_t *ms)
{
    xo_rocketmq *s = (xo_rocketmq *)source;
    places p = {0};
    int64_t oldest = xo_now_ms() - MARGIN_MS;
    *ms = -1;
    xonce_status st = all_queues(s, &p);
    if (st == XONCE_OK) {
        st = ask_offsets(s, &p);
    }
    for (size_t i = 0; st == XONCE_OK && i < p.n; i++) {
        const place *q = &p.places[i];
        int64_t from = q->committed > q->min ? q->committed : q->min, at = 0;
        if (from < q->max) {
            st = first_time(s, q, from, &at);
            oldest = st == XONCE_OK && at < oldest ? at : oldest;
        }
    }
    places_free(&p);
    *ms = st == XONCE_OK ? oldest : -1;
    return st;
}
