/* Transactions over RocketMQ: half message, local transaction, its end, and the brokers' questions.
 *
 * A commit that reaches the broker twice makes two messages. So a commit is sent once; when its answer is lost the broker's question decides. And a question that may have crossed our own commit on
 * the way is left open: if the half message is still there, the broker asks again. It is never answered by a guess that could lose the message. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "producer/rocketmq.h"
#include "remoting/record.h"
#include "remoting/sending.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMMIT = 8, ROLLBACK = 12, UNKNOWN = 0 };
enum { CROSSED_MS = 10000 }; /* a question may have been on its way for so long when our commit was carried out */

typedef struct { /* a half message as its end names it */
    const char *address, *broker, *group, *topic, *id, *transaction_id;
    int64_t table_offset, log_offset;
    int from_check;
} half_place;

/* ---- what became of them ---- */

/* Returns its number, -1 when it cannot be kept: then questions are simply asked. */
static int half_begin(xo_rmq_producer *p, const char *id)
{
    int at = -1;
    char *copy = xo_strdup(id);
    pthread_mutex_lock(&p->base.lock);
    if (!p->halves) {
        p->halves = xo_calloc(XO_HALVES, sizeof(*p->halves));
    }
    for (int i = 0; p->halves && copy && at < 0 && i < XO_HALVES; i++) {
        size_t n = (p->next_half + (size_t)i) % XO_HALVES;
        if (p->halves[n].state != XO_HALF_RUNNING) {
            at = (int)n;
        }
    }
    if (at >= 0) {
        xo_half *h = &p->halves[at];
        free(h->id);
        free(h->broker);
        *h = (xo_half){.id = copy, .state = XO_HALF_RUNNING, .since = xo_mono_ms()};
        copy = NULL;
        p->next_half = (size_t)at + 1;
    }
    pthread_mutex_unlock(&p->base.lock);
    free(copy);
    return at;
}

static void half_set(xo_rmq_producer *p, int at, xo_half_state state, const char *broker)
{
    if (at < 0) {
        return;
    }
    char *copy = xo_strdup(broker);
    pthread_mutex_lock(&p->base.lock);
    xo_half *h = &p->halves[at];
    h->state = state;
    h->since = xo_mono_ms();
    if (copy) {
        free(h->broker);
        h->broker = copy;
    }
    pthread_mutex_unlock(&p->base.lock);
}

/* What is known about the half message that a broker asks about; *elsewhere: another broker holds the one that was sent, this is a copy of a try whose answer was lost. */
static xo_half_state half_known(xo_rmq_producer *p, const char *id, const char *broker, int64_t *age, int *elsewhere)
{
    const xo_half *found = NULL;
    xo_half_state state = XO_HALF_NONE;
    *elsewhere = 0;
    *age = 0;
    pthread_mutex_lock(&p->base.lock);
    for (size_t i = 0; p->halves && *id && i < XO_HALVES; i++) {
        const xo_half *h = &p->halves[i];
        if (h->state != XO_HALF_NONE && strcmp(h->id, id) == 0 && (!found || h->state == XO_HALF_RUNNING || (found->state != XO_HALF_RUNNING && h->since > found->since))) {
            found = h;
        }
    }
    if (found) {
        state = found->state;
        *age = xo_mono_ms() - found->since;
        *elsewhere = found->broker && *broker && strcmp(found->broker, broker) != 0;
    }
    pthread_mutex_unlock(&p->base.lock);
    return state;
}

void xo_rmq_halves_free(xo_rmq_producer *p)
{
    for (size_t i = 0; p->halves && i < XO_HALVES; i++) {
        free(p->halves[i].id);
        free(p->halves[i].broker);
    }
    free(p->halves);
    for (xo_rmq_checker *k = p->checkers, *next; k; k = next) {
        next = k->next;
        free(k->topic);
        free(k->group);
        free(k->wire_topic);
        free(k->wire_group);
        free(k);
    }
}

/* ---- ending one ---- */

static const char *state_name(xonce_transaction_state state)
{
    return state == XONCE_TRANSACTION_COMMIT ? "COMMIT_MESSAGE" : state == XONCE_TRANSACTION_ROLLBACK ? "ROLLBACK_MESSAGE" : "UNKNOW";
}

static void trace_end(xo_rmq_producer *p, const half_place *h, const xonce_message *m, const char *group, xonce_transaction_state state)
{
    if (xo_trace_wanted(p->trace, xonce_message_property(m, "TRACE_ON"))) {
        xo_trace_end(p->trace, &(xo_trace_record){.region = xonce_message_property(m, "MSG_REGION"),
                                                  .group = group,
                                                  .topic = m->topic,
                                                  .id = h->id,
                                                  .tags = xonce_message_tag(m),
                                                  .keys = xonce_message_key(m),
                                                  .store_host = h->address,
                                                  .type = XO_TRACE_HALF,
                                                  .transaction_id = h->transaction_id,
                                                  .state = state_name(state),
                                                  .from_check = h->from_check});
    }
}

/* Sent once. "Unknown" has no answer. */
static xonce_status end_half(xo_rmq_producer *p, const half_place *h, xonce_transaction_state state)
{
    xo_command request, answer = {0};
    char what[200];
    xo_command_init(&request, XO_RMQ_END_TRANSACTION);
    xo_command_set(&request, "producerGroup", h->group);
    xo_command_set(&request, "topic", h->topic);
    xo_command_set_int(&request, "tranStateTableOffset", h->table_offset);
    xo_command_set_int(&request, "commitLogOffset", h->log_offset);
    xo_command_set_int(&request, "commitOrRollback", state == XONCE_TRANSACTION_COMMIT ? COMMIT : state == XONCE_TRANSACTION_ROLLBACK ? ROLLBACK : UNKNOWN);
    xo_command_set_bool(&request, "fromTransactionCheck", h->from_check);
    xo_command_set(&request, "msgId", h->id);
    xo_command_set(&request, "transactionId", h->transaction_id);
    xo_command_set(&request, "bname", *h->broker ? h->broker : NULL);
    if (state == XONCE_TRANSACTION_UNKNOWN) {
        return xo_remoting_oneway(xo_cluster_remoting(p->cluster), h->address, &request);
    }
    (void)snprintf(what, sizeof(what), "%s of half message %.64s", state == XONCE_TRANSACTION_COMMIT ? "commit" : "rollback", h->id);
    xonce_status st = xo_remoting_call(xo_cluster_remoting(p->cluster), h->address, &request, xo_cluster_timeout(p->cluster), &answer);
    if (st) {
        return xo_error_context("%s", what);
    }
    st = xo_command_error(&answer, what);
    xo_command_free(&answer);
    return st;
}

/* ---- sending one ---- */

/* The group that checks this topic. NULL with the error set: none. */
static const xo_rmq_checker *checker_of(xo_rmq_producer *p, const char *topic)
{
    pthread_mutex_lock(&p->base.lock);
    const xo_rmq_checker *k = p->checkers;
    while (k && strcmp(k->topic, topic) != 0) {
        k = k->next;
    }
    pthread_mutex_unlock(&p->base.lock);
    if (!k) {
        (void)xo_fail(XONCE_E_INVALID,
                      "xonce_producer_send_transaction: call xonce_producer_on_check() for topic %.100s first: its group commits, and its check decides when a commit is lost",
                      topic);
    }
    return k;
}

/* m with the UNIQ_KEY under which it was sent; the body stays m's. */
static xonce_status identified(xonce_message **out, const xonce_message *m, const char *id)
{
    xonce_status st = xonce_message_wrap(out, m->topic, m->id[0] ? m->id : NULL, m->body, m->body_len, NULL, NULL);
    for (size_t i = 0; !st && i < m->nproperties; i++) {
        st = xonce_message_set_property(*out, m->properties[i].name, m->properties[i].value);
    }
    if (!st) {
        st = xonce_message_set_property(*out, "UNIQ_KEY", id);
    }
    if (st) {
        xonce_message_free(*out);
        *out = NULL;
    }
    return st;
}

/* The physical offset is the end of the id that the broker gave. */
static xonce_status place_of(const xo_rmq_send *s, const char *group, half_place *h)
{
    size_t n = strlen(s->offset_id);
    char *end = NULL;
    h->log_offset = n >= 16 ? (int64_t)strtoull(s->offset_id + n - 16, &end, 16) : -1;
    if (!end || *end || h->log_offset < 0 || s->offset < 0) {
        return xo_fail(XONCE_E_PROTOCOL, "the broker %.100s took a half message of %.127s but does not say where it is (\"%.64s\"): its check decides", s->place.broker, s->shown,
                       s->offset_id);
    }
    h->address = s->place.address;
    h->broker = s->place.broker;
    h->group = group;
    h->topic = s->topic;
    h->id = s->id;
    h->transaction_id = *s->transaction_id ? s->transaction_id : s->id;
    h->table_offset = s->offset;
    h->from_check = 0;
    return XONCE_OK;
}

/* The half message is stored: runs execute and ends it. */
static xonce_status execute_and_end(xo_rmq_producer *p, const xo_rmq_checker *k, const xonce_message *m, const xo_rmq_send *s, int number, xonce_transaction_fn execute, void *arg)
{
    half_place h;
    xonce_status st = place_of(s, k->wire_group, &h);
    if (st) {
        half_set(p, number, XO_HALF_NONE, s->place.broker);
        return st;
    }
    if (s->code != XO_RMQ_OK) { /* what is not safe there must not be committed here */
        half_set(p, number, XO_HALF_ROLLED_BACK, s->place.broker);
        if (end_half(p, &h, XONCE_TRANSACTION_ROLLBACK)) {
            xo_log(XO_WARN, "producer", "%s; the check decides", xonce_error_last()->text);
        }
        st = xo_fail(XONCE_E_CONFLICT, "the half message of %.127s is not stored as safely as the broker is set up to (code %d): it was rolled back and execute was not called", m->topic,
                     (int)s->code);
        xo_error_set_native(s->code, 1);
        return st;
    }
    half_set(p, number, XO_HALF_RUNNING, s->place.broker);
    xonce_transaction_state state = execute(m, arg);
    /* Before it is sent: a question that arrives from here on may have crossed it. */
    half_set(p, number, state == XONCE_TRANSACTION_COMMIT ? XO_HALF_COMMITTED : state == XONCE_TRANSACTION_ROLLBACK ? XO_HALF_ROLLED_BACK : XO_HALF_NONE, s->place.broker);
    if (end_half(p, &h, state)) {
        xo_log(XO_WARN, "producer", "%s; the check decides", xonce_error_last()->text);
    }
    if (state == XONCE_TRANSACTION_COMMIT) {
        half_set(p, number, XO_HALF_COMMITTED, s->place.broker); /* counts from when it was answered or given up */
    }
    trace_end(p, &h, m, k->group, state);
    return XONCE_OK;
}

xonce_status xo_rmq_send_transaction(xonce_producer *base, const xonce_message *m, xonce_transaction_fn execute, void *arg, xonce_sent *out)
{
    xo_rmq_producer *p = (xo_rmq_producer *)base;
    const xo_rmq_checker *k = checker_of(p, m->topic);
    xo_rmq_send s;
    xonce_message *own = NULL;
    if (!k) {
        return XONCE_E_INVALID;
    }
    xonce_status st = xo_rmq_prepare(p, m, XO_RMQ_HALF, k->wire_group, &s);
    if (st) {
        return st;
    }
    int number = half_begin(p, s.id);
    st = identified(&own, m, s.id);
    if (!st) {
        st = xo_rmq_run(p, &s);
    }
    if (!st) {
        st = execute_and_end(p, k, own, &s, number, execute, arg);
        if (!st) {
            xo_sent_fill(out, s.id, s.place.broker, s.place.queue, -1);
        }
    } else {
        half_set(p, number, XO_HALF_NONE, "");
    }
    xonce_message_free(own);
    xo_rmq_send_free(&s);
    return st;
}

/* ---- questions ---- */

typedef struct {
    xo_job job;
    xo_rmq_producer *p;
    xo_command request;
    char address[XO_RMQ_ADDRESS];
} question;

/* The half message in the body, its topic as the user knows it. */
static xonce_status read_half(xo_rmq_producer *p, const xo_command *c, const char *broker, xonce_message **out)
{
    xo_record r;
    size_t at = 0;
    int more = 0;
    xo_buf space = {0};
    *out = NULL;
    xonce_status st = xo_record_next(c->body, c->body_len, &at, &r, &more);
    if (!st && !more) {
        st = xo_fail(XONCE_E_PROTOCOL, "it holds no message");
    }
    if (!st) {
        st = xo_record_message(&r, broker, out);
    }
    if (!st) {
        const char *shown = xo_cluster_unwrap(p->cluster, (*out)->topic, &space);
        size_t n = strlen(shown), had = strlen((*out)->topic);
        memmove((*out)->topic, shown, n < had ? n : had);
        (*out)->topic[n < had ? n : had] = 0;
    }
    xo_buf_free(&space);
    return st;
}

static const xo_rmq_checker *checker_for(xo_rmq_producer *p, const xonce_message *m)
{
    const char *group = xonce_message_property(m, "PGROUP");
    pthread_mutex_lock(&p->base.lock);
    const xo_rmq_checker *k = p->checkers;
    while (k && (strcmp(k->topic, m->topic) != 0 || (group && strcmp(k->wire_group, group) != 0))) {
        k = k->next;
    }
    pthread_mutex_unlock(&p->base.lock);
    return k;
}

static xonce_transaction_state decide(xo_rmq_producer *p, const xo_rmq_checker *k, const half_place *h, const xonce_message *m)
{
    int64_t age;
    int elsewhere;
    switch (half_known(p, h->id, h->broker, &age, &elsewhere)) {
    case XO_HALF_RUNNING: return elsewhere ? XONCE_TRANSACTION_ROLLBACK : XONCE_TRANSACTION_UNKNOWN;
    case XO_HALF_ROLLED_BACK: return XONCE_TRANSACTION_ROLLBACK;
    case XO_HALF_COMMITTED:
        if (elsewhere) {
            return XONCE_TRANSACTION_ROLLBACK; /* the one that counts is committed at its own broker */
        }
        if (age < CROSSED_MS) {
            return XONCE_TRANSACTION_UNKNOWN;
        }
        break;
    case XO_HALF_NONE: break;
    }
    return k->check(m, k->arg);
}

static void answer_question(xo_rmq_producer *p, const question *q)
{
    char broker[XO_RMQ_NAME] = "";
    xonce_message *m;
    half_place h = {.address = q->address, .from_check = 1};
    xo_cluster_broker_at(p->cluster, q->address, broker, sizeof(broker));
    h.broker = broker;
    xonce_status st = xo_command_get_int(&q->request, "tranStateTableOffset", &h.table_offset);
    if (!st) {
        st = xo_command_get_int(&q->request, "commitLogOffset", &h.log_offset);
    }
    if (!st) {
        st = read_half(p, &q->request, broker, &m);
    }
    if (st) {
        xo_log(XO_WARN, "producer", "%s asks about a half message, but: %s", q->address, xonce_error_last()->text);
        return;
    }
    const xo_rmq_checker *k = checker_for(p, m);
    if (!k) {
        xo_log(XO_WARN, "producer", "%s asks about a half message of topic %.127s, which this member of the group does not check: all members must check the same topics", q->address,
               m->topic);
        xonce_message_free(m);
        return;
    }
    const char *id = xonce_message_property(m, "UNIQ_KEY"), *transaction = xo_command_get(&q->request, "transactionId");
    h.id = id ? id : xo_command_get(&q->request, "msgId") ? xo_command_get(&q->request, "msgId") : "";
    h.transaction_id = transaction ? transaction : h.id;
    h.group = k->wire_group;
    h.topic = k->wire_topic;
    xonce_transaction_state state = decide(p, k, &h, m);
    int number = state == XONCE_TRANSACTION_COMMIT && *h.id ? half_begin(p, h.id) : -1;
    half_set(p, number, XO_HALF_COMMITTED, broker);
    if (end_half(p, &h, state)) {
        xo_log(XO_WARN, "producer", "%s; it will be asked again", xonce_error_last()->text);
    }
    half_set(p, number, XO_HALF_COMMITTED, broker);
    trace_end(p, &h, m, k->group, state);
    xonce_message_free(m);
}

static void run_question(xo_job *job)
{
    question *q = (question *)job;
    pthread_mutex_lock(&q->p->base.lock);
    int closing = q->p->base.closing;
    pthread_mutex_unlock(&q->p->base.lock);
    if (!closing) {
        answer_question(q->p, q);
    }
    xo_command_free(&q->request);
    free(q);
}

/* Left unanswered on no memory: the broker asks again. */
void xo_rmq_asked(xo_rmq_producer *p, const char *address, xo_command *c)
{
    pthread_mutex_lock(&p->base.lock);
    int ready = p->checkers != NULL && !p->base.closing;
    pthread_mutex_unlock(&p->base.lock);
    question *q = ready && strlen(address) < XO_RMQ_ADDRESS ? xo_calloc(1, sizeof(*q)) : NULL;
    if (q) {
        q->job.run = run_question;
        q->p = p;
        memcpy(q->address, address, strlen(address) + 1);
        q->request = *c;
        memset(c, 0, sizeof(*c));
        xo_work_push(&p->checks, &q->job, 0);
    }
}

xonce_status xo_rmq_on_check(xonce_producer *base, const char *topic, const char *group, xonce_transaction_fn check, void *arg)
{
    xo_rmq_producer *p = (xo_rmq_producer *)base;
    xo_rmq_checker *k = xo_calloc(1, sizeof(*k));
    if (!k) {
        return xo_nomem();
    }
    k->check = check;
    k->arg = arg;
    k->topic = xo_strdup(topic);
    k->group = xo_strdup(group);
    k->wire_topic = xo_cluster_wrap(p->cluster, topic);
    k->wire_group = xo_cluster_wrap(p->cluster, group);
    xonce_status st = k->topic && k->group && k->wire_topic && k->wire_group ? xo_send_check_name("topic", k->wire_topic, XO_SEND_TOPIC_MAX) : xo_nomem();
    if (!st) {
        st = xo_send_check_name("group", k->wire_group, XO_SEND_GROUP_MAX);
    }
    if (!st) {
        st = xo_work_ready(&p->checks);
    }
    pthread_mutex_lock(&p->base.lock);
    for (const xo_rmq_checker *c = p->checkers; c && !st; c = c->next) {
        if (strcmp(c->topic, topic) == 0) {
            st = xo_fail(XONCE_E_INVALID, "topic %.100s has a check already", topic);
        }
    }
    if (!st) {
        k->next = p->checkers;
        p->checkers = k;
    }
    pthread_mutex_unlock(&p->base.lock);
    if (st) {
        free(k->topic);
        free(k->group);
        free(k->wire_topic);
        free(k->wire_group);
        free(k);
        return st;
    }
    xo_rmq_beat(p);
    return XONCE_OK;
}
