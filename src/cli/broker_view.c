/* Requests to all masters of a cluster, and their answers put together. */
#include "cli/broker_view.h"
#include "remoting/wirejson.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
    xo_cluster *cluster;
    const char *wanted; /* topic as on the wire; NULL: all */
    xo_view *view;
} collecting;

static int by_place(const void *a, const void *b)
{
    const xo_view_queue *x = a, *y = b;
    int c = strcmp(x->topic, y->topic);
    c = c ? c : strcmp(x->broker, y->broker);
    return c ? c : (x->queue > y->queue) - (x->queue < y->queue);
}

static int64_t number_or(const json_t *o, const char *name, int64_t none)
{
    return json_object_get(o, name) ? xo_json_int(o, name) : none;
}

/* One member of an offsetTable: its name is the JSON of a queue. */
static xonce_status add(collecting *to, const char *key, const json_t *value)
{
    json_t *mq = xo_wire_json(key, strlen(key));
    const char *topic = mq ? xo_json_text(mq, "topic") : NULL, *broker = mq ? xo_json_text(mq, "brokerName") : NULL;
    xonce_status st = XONCE_OK;
    if (!topic || !broker) {
        st = xo_fail(XONCE_E_PROTOCOL, "the broker named a queue in a way that is not understood: %.80s", key);
    } else if (!to->wanted || strcmp(topic, to->wanted) == 0) {
        xo_buf space = {0};
        xo_view *v = to->view;
        xo_view_queue *list = xo_grow(v->queues, &v->cap, v->n + 1, sizeof(*list));
        xo_view_queue q = {.topic = xo_strdup(xo_cluster_unwrap(to->cluster, topic, &space)), .broker = xo_strdup(broker), .queue = (int32_t)xo_json_int(mq, "queueId")};
        xo_buf_free(&space);
        if (list) {
            v->queues = list;
        }
        if (list && q.topic && q.broker) {
            q.min = number_or(value, "minOffset", -1);
            q.max = number_or(value, json_object_get(value, "brokerOffset") ? "brokerOffset" : "maxOffset", -1);
            q.committed = number_or(value, "consumerOffset", -1);
            int64_t last = number_or(value, "lastTimestamp", number_or(value, "lastUpdateTimestamp", 0));
            q.last_time = last > 0 ? last : -1;
            list[v->n++] = q;
        } else {
            free(q.topic);
            free(q.broker);
            st = xo_nomem();
        }
    }
    json_decref(mq);
    return st;
}

static xonce_status add_table(collecting *to, const xo_command *answer)
{
    json_t *body = xo_wire_json(answer->body, answer->body_len);
    if (!body) {
        return xonce_error_last()->code;
    }
    xonce_status st = XONCE_OK;
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(body, "offsetTable"), key, value)
    {
        st = add(to, key, value);
        if (st != XONCE_OK) {
            break;
        }
    }
    json_decref(body);
    return st;
}

static const char *master_of(const xo_broker *b)
{
    for (size_t i = 0; i < b->nnodes; i++) {
        if (b->nodes[i].id == 0) {
            return b->nodes[i].address;
        }
    }
    return NULL;
}

/* Asks every master the same at once. fn gets each answer with code 0; an answer of `nothing` means that this broker has nothing to tell. */
static xonce_status ask_all(xo_cluster *c, const xo_command *request, const char *what, int nothing, xonce_status (*fn)(collecting *to, const xo_command *answer), collecting *to,
                            size_t *answered)
{
    xo_broker *brokers = NULL;
    size_t n = 0, k = 0;
    *answered = 0;
    xonce_status st = xo_cluster_brokers(c, &brokers, &n);
    if (st != XONCE_OK) {
        return st;
    }
    xo_call *calls = xo_calloc(n ? n : 1, sizeof(*calls));
    for (size_t i = 0; calls && i < n; i++) {
        const char *address = master_of(&brokers[i]);
        if (!address || strlen(address) >= sizeof(calls->address)) {
            continue;
        }
        xo_call *call = &calls[k++];
        memcpy(call->address, address, strlen(address) + 1);
        xo_command_init(&call->request, request->code);
        for (size_t f = 0; f < request->nfields; f++) {
            xo_command_set(&call->request, request->fields[f].name, request->fields[f].value);
        }
    }
    st = calls ? XONCE_OK : xo_nomem();
    if (calls) {
        xo_remoting_call_all(xo_cluster_remoting(c), calls, k, xo_cluster_timeout(c));
    }
    for (size_t i = 0; i < k; i++) {
        xo_call *call = &calls[i];
        if (st == XONCE_OK && call->status != XONCE_OK) {
            st = xo_error_restore(&call->error);
            st = xo_error_context("%s at %s", what, call->address);
        } else if (st == XONCE_OK && call->answer.code != nothing) {
            st = xo_command_error(&call->answer, what);
            st = st == XONCE_OK && fn ? fn(to, &call->answer) : st;
            *answered += st == XONCE_OK;
        }
        xo_command_free(&call->answer);
    }
    if (st == XONCE_OK && k == 0) {
        st = xo_fail(XONCE_E_NOT_FOUND, "%s: the name server knows no broker", what);
    }
    free(calls);
    xo_brokers_free(brokers, n);
    return st;
}

xonce_status xo_view_create_topic(xo_cluster *c, const char *topic, int queues, int order, const char *message_type)
{
    char *wire = xo_cluster_wrap(c, topic), attribute[64];
    size_t answered;
    if (!wire) {
        return xo_nomem();
    }
    xo_command r;
    xo_command_init(&r, XO_RMQ_CREATE_TOPIC);
    xo_command_set(&r, "topic", wire);
    xo_command_set(&r, "defaultTopic", "TBW102");
    xo_command_set_int(&r, "readQueueNums", queues);
    xo_command_set_int(&r, "writeQueueNums", queues);
    xo_command_set_int(&r, "perm", 6);
    xo_command_set(&r, "topicFilterType", "SINGLE_TAG");
    xo_command_set_int(&r, "topicSysFlag", 0);
    xo_command_set_bool(&r, "order", order);
    if (message_type) {
        (void)snprintf(attribute, sizeof(attribute), "+message.type=%.32s", message_type);
        xo_command_set(&r, "attributes", attribute);
    }
    xonce_status st = ask_all(c, &r, "creating the topic", -1, NULL, NULL, &answered);
    xo_command_free(&r);
    free(wire);
    return st;
}

static xonce_status view(xo_cluster *c, const xo_command *r, const char *what, int nothing, const char *wanted, xo_view *out, size_t *answered)
{
    collecting to = {.cluster = c, .wanted = wanted, .view = out};
    xonce_status st = ask_all(c, r, what, nothing, add_table, &to, answered);
    if (out->n) {
        qsort(out->queues, out->n, sizeof(*out->queues), by_place);
    }
    return st;
}

xonce_status xo_view_topic(xo_cluster *c, const char *topic, xo_view *out)
{
    *out = (xo_view){0};
    char *wire = xo_cluster_wrap(c, topic);
    size_t answered = 0;
    if (!wire) {
        return xo_nomem();
    }
    xo_command r;
    xo_command_init(&r, XO_RMQ_TOPIC_STATS);
    xo_command_set(&r, "topic", wire);
    xonce_status st = view(c, &r, "asking for the topic", XO_RMQ_NO_TOPIC, NULL, out, &answered);
    xo_command_free(&r);
    free(wire);
    if (st == XONCE_OK && !answered) {
        st = xo_fail(XONCE_E_NOT_FOUND, "no broker has topic %s; xonce topic create makes it", topic);
    }
    if (st != XONCE_OK) {
        xo_view_free(out);
    }
    return st;
}

xonce_status xo_view_group(xo_cluster *c, const char *group, const char *topic, xo_view *out)
{
    *out = (xo_view){0};
    char *wire_group = xo_cluster_wrap(c, group), *wire = topic ? xo_cluster_wrap(c, topic) : NULL;
    size_t answered = 0;
    xonce_status st = wire_group && (!topic || wire) ? XONCE_OK : xo_nomem();
    if (st == XONCE_OK) {
        xo_command r;
        xo_command_init(&r, XO_RMQ_CONSUME_STATS);
        xo_command_set(&r, "consumerGroup", wire_group);
        xo_command_set(&r, "topic", wire);
        st = view(c, &r, "asking for the group", XO_RMQ_SYSTEM_ERROR, wire, out, &answered);
        xo_command_free(&r);
    }
    free(wire_group);
    free(wire);
    if (st != XONCE_OK) {
        xo_view_free(out);
    }
    return st;
}

xonce_status xo_view_online(xo_cluster *c, const char *group, size_t *brokers)
{
    char *wire = xo_cluster_wrap(c, group);
    if (!wire) {
        return xo_nomem();
    }
    xo_command r;
    xo_command_init(&r, XO_RMQ_CONSUMER_CONNECTIONS);
    xo_command_set(&r, "consumerGroup", wire);
    xonce_status st = ask_all(c, &r, "asking for the members of the group", XO_RMQ_NOT_ONLINE, NULL, NULL, brokers);
    xo_command_free(&r);
    free(wire);
    return st;
}

void xo_view_free(xo_view *v)
{
    for (size_t i = 0; i < v->n; i++) {
        free(v->queues[i].topic);
        free(v->queues[i].broker);
    }
    free(v->queues);
    *v = (xo_view){0};
}
