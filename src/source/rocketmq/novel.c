/* Consume-from: where a group begins that nobody knows. */
#include "base/log.h"
#include "base/mem.h"
#include "source/rocketmq/place.h"
#include <inttypes.h>
#include <stdlib.h>

/* All read queues of a topic, and two questions about each: the group's offset, and where a new group would begin. */
typedef struct {
    xo_queue_id *ids;
    xo_call *calls;
    size_t n;
    int sent;
} survey;

static void survey_free(survey *v)
{
    for (size_t i = 0; v->calls && i < 2 * v->n; i++) {
        xo_command_free(v->sent ? &v->calls[i].answer : &v->calls[i].request);
    }
    free(v->calls);
    xo_queue_ids_free(v->ids, v->n);
}

static void beginning_request(const xo_rocketmq *s, const xo_rmq_queue *q, xo_command *c)
{
    if (s->consume_from == 1) {
        xo_offset_request(s, q, XO_RMQ_MAX_OFFSET, c);
        return;
    }
    xo_offset_request(s, q, XO_RMQ_SEARCH_OFFSET, c);
    xo_command_set_int(c, "timestamp", s->from_time);
    xo_command_set(c, "boundaryType", "LOWER");
}

/* A broker that cannot be asked is an error: a queue waits rather than begin at its end. */
static xonce_status run_survey(xo_rocketmq *s, char *wire, survey *v)
{
    xonce_status st = xo_routes_queues(s, wire, &v->ids, &v->n);
    if (st == XONCE_OK && !(v->calls = xo_calloc(2 * v->n + 1, sizeof(*v->calls)))) {
        st = xo_nomem();
    }
    for (size_t i = 0; st == XONCE_OK && i < v->n; i++) {
        xo_rmq_queue q = {.wire = wire, .id = v->ids[i].id};
        xo_call *c = &v->calls[2 * i];
        xo_offset_request(s, &q, XO_RMQ_QUERY_OFFSET, &c[0].request);
        beginning_request(s, &q, &c[1].request);
        for (int k = 0; k < 2 && st == XONCE_OK; k++) {
            st = xo_cluster_broker(s->cluster, v->ids[i].broker, 0, c[k].address, sizeof(c[k].address));
        }
    }
    if (st == XONCE_OK) {
        v->sent = 1;
        xo_remoting_call_all(xo_cluster_remoting(s->cluster), v->calls, 2 * v->n, s->timeout);
    }
    return st;
}

static xonce_status read_survey(const survey *v, int *known, int64_t *begins)
{
    xonce_status st = XONCE_OK;
    for (size_t i = 0; i < v->n; i++) {
        int64_t offset = -1;
        xonce_status one = xo_offset_read(&v->calls[2 * i], 1, &offset);
        *known |= one == XONCE_OK && offset >= 0;
        if (one == XONCE_OK && st == XONCE_OK) {
            one = xo_offset_read(&v->calls[2 * i + 1], 0, &begins[i]);
        }
        st = st == XONCE_OK ? one : st;
    }
    return *known ? XONCE_OK : st;
}

/* In one transaction. Another member that does the same in this moment is no trouble: its rows are as good. */
static xonce_status write_beginnings(xo_rocketmq *s, const xo_rmq_queue *q, const survey *v, const int64_t *begins)
{
    xo_range *rows = xo_calloc(v->n ? v->n : 1, sizeof(*rows));
    if (!rows) {
        return xo_nomem();
    }
    for (size_t i = 0; i < v->n; i++) {
        rows[i] = (xo_range){.topic = q->topic, .broker = v->ids[i].broker, .tags = (char *)xo_queue_tags(q), .queue = v->ids[i].id, .by_offset = xo_rmq_by_offset(q)};
        rows[i].first = rows[i].next = begins[i];
        rows[i].last_store_time = rows[i].last_log_offset = -1;
    }
    xonce_status st = v->n ? s->positions->save(s->positions_self, rows, v->n) : XONCE_OK;
    free(rows);
    return st == XONCE_E_CONFLICT ? XONCE_OK : st;
}

static xonce_status judge(xo_rocketmq *s, const xo_rmq_queue *q, xo_novelty *topic)
{
    int known = 0;
    survey v = {0};
    xonce_status st = s->positions ? s->positions->knows(s->positions_self, q->topic, &known) : XONCE_OK;
    if (st != XONCE_OK || known) {
        *topic = known ? XO_GROUP_KNOWN : XO_GROUP_NOT_ASKED;
        return st;
    }
    st = run_survey(s, q->wire, &v);
    int64_t *begins = xo_calloc(v.n ? v.n : 1, sizeof(*begins));
    if (st == XONCE_OK) {
        st = begins ? read_survey(&v, &known, begins) : xo_nomem();
    }
    if (st == XONCE_OK && !known && s->positions) {
        st = write_beginnings(s, q, &v, begins);
    }
    free(begins);
    survey_free(&v);
    if (st == XONCE_OK) {
        *topic = known ? XO_GROUP_KNOWN : XO_GROUP_NEW;
        xo_log(XO_INFO, "rocketmq", known ? "group %s has read topic %s before: consume-from does not count" : "group %s is new to topic %s: it begins as consume-from says",
               s->group, q->topic);
    }
    return st;
}

xonce_status xo_consume_from(xo_rocketmq *s, xo_begin *b, xo_novelty *topic)
{
    const xo_rmq_queue *q = b->q;
    xonce_status st = *topic == XO_GROUP_NOT_ASKED ? judge(s, q, topic) : XONCE_OK;
    b->at = b->min;
    if (st != XONCE_OK || *topic == XO_GROUP_KNOWN) {
        return st;
    }
    if (s->consume_from == 1) {
        b->at = b->max;
        return XONCE_OK;
    }
    xo_command c, answer;
    beginning_request(s, q, &c);
    st = xo_cluster_ask(s->cluster, q->broker, &c, "looking for an offset by time", &answer);
    if (st == XONCE_OK) {
        st = xo_command_get_int(&answer, "offset", &b->at);
        xo_command_free(&answer);
    }
    return st;
}
