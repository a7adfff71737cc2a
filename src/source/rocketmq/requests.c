/* What brokers ask of a member: to share out again, to move positions by an operator's order, to say how it is. */
#include "base/clock.h"
#include "base/log.h"
#include "source/rocketmq/rocketmq.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

xonce_status xo_rmq_json(json_t *o, xo_buf *out)
{
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (!text) {
        return xo_nomem();
    }
    xo_buf_str(out, text);
    free(text);
    return xo_buf_status(out);
}

json_t *xo_rmq_mq(const char *topic, const char *broker, int32_t id)
{
    return json_pack("{s:s, s:i, s:s}", "brokerName", broker, "queueId", (int)id, "topic", topic);
}

/* Java's maps with objects as keys are no JSON, but what the other side reads. */
static void add_entry(xo_buf *b, const xo_rmq_queue *q, json_t *value)
{
    char *key_text = NULL, *value_text = NULL;
    json_t *key = xo_rmq_mq(q->wire, q->broker, q->id);
    if (key && value) {
        key_text = json_dumps(key, JSON_COMPACT);
        value_text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    }
    if (key_text && value_text) {
        xo_buf_printf(b, "%s%s:%s", b->len && b->p[b->len - 1] != '{' ? "," : "", key_text, value_text);
    } else {
        b->failed = 1;
    }
    json_decref(key);
    json_decref(value);
    free(key_text);
    free(value_text);
}

static void reply(xo_rocketmq *s, const char *address, const xo_command *c, int32_t code, const char *remark, xo_buf *body)
{
    if (!(c->flag & XO_FLAG_ONEWAY)) {
        xo_remoting_reply(xo_cluster_remoting(s->cluster), address, c->opaque, code, remark, body);
    }
}

static void reply_body(xo_rocketmq *s, const char *address, const xo_command *c, xo_buf *body)
{
    if (xo_buf_status(body) == XONCE_OK) {
        reply(s, address, c, XO_RMQ_OK, NULL, body);
    } else {
        reply(s, address, c, XO_RMQ_SYSTEM_ERROR, "out of memory", NULL);
    }
    xo_buf_free(body);
}

static int is_for_us(const xo_rocketmq *s, const xo_command *c, const char *field)
{
    const char *group = xo_command_get(c, field);
    return group && strcmp(group, s->wire_group) == 0;
}

/* ---- 220: an operator moves positions ---- */

static size_t seek_queue(xo_rocketmq *s, const json_t *mq, int64_t offset)
{
    const char *topic = xo_json_text(mq, "topic"), *broker = xo_json_text(mq, "brokerName");
    int64_t id = xo_json_int(mq, "queueId");
    size_t n = 0;
    pthread_mutex_lock(&s->lock);
    for (xo_rmq_queue *q = s->queues; q && topic && broker && offset >= 0; q = q->next) {
        if (q->id == id && !strcmp(q->wire, topic) && !strcmp(q->broker, broker) && q->state != XO_Q_LEAVING) {
            q->seek = offset;
            n++;
        }
    }
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    return n;
}

static size_t seek_table(xo_rocketmq *s, json_t *table)
{
    size_t n = 0;
    if (json_is_array(table)) {
        size_t i;
        json_t *mq;
        json_array_foreach(table, i, mq) {
            n += seek_queue(s, mq, json_object_get(mq, "offset") ? xo_json_int(mq, "offset") : -1);
        }
        return n;
    }
    for (void *i = json_object_iter(table); i; i = json_object_iter_next(table, i)) {
        const char *key = json_object_iter_key(i);
        const json_t *value = json_object_iter_value(i);
        json_t *mq = xo_wire_json(key, strlen(key));
        n += seek_queue(s, mq, json_is_integer(value) ? (int64_t)json_integer_value(value) : -1);
        json_decref(mq);
    }
    return n;
}

static void reset_offsets(xo_rocketmq *s, const char *address, const xo_command *c)
{
    if (!is_for_us(s, c, "group")) {
        return;
    }
    json_t *body = xo_wire_json(c->body, c->body_len);
    if (!body) {
        xo_log(XO_WARN, "rocketmq", "%s asks to reset positions, but cannot be understood: %s", address, xonce_error_last()->text);
        return;
    }
    size_t n = seek_table(s, json_object_get(body, "offsetTable"));
    const char *topic = xo_command_get(c, "topic");
    json_decref(body);
    xo_log(XO_WARN, "rocketmq", "an operator resets positions of %s: %zu queues of ours; what is read again is found a duplicate, replays are made by xonce rewind", topic ? topic : "a topic", n);
}

/* ---- 221, 307: how are you ---- */

static void status(xo_rocketmq *s, const char *address, const xo_command *c)
{
    const char *topic = xo_command_get(c, "topic");
    if (!is_for_us(s, c, "group")) {
        reply(s, address, c, XO_RMQ_SYSTEM_ERROR, "no such group in this client", NULL);
        return;
    }
    xo_buf b = {0};
    xo_buf_str(&b, "{\"messageQueueTable\":{");
    pthread_mutex_lock(&s->lock);
    for (const xo_rmq_queue *q = s->queues; q; q = q->next) {
        if (q->state == XO_Q_RUNNING && (!topic || !strcmp(topic, q->wire))) {
            add_entry(&b, q, json_integer(xo_track_prefix(&q->track)));
        }
    }
    pthread_mutex_unlock(&s->lock);
    xo_buf_str(&b, "}}");
    reply_body(s, address, c, &b);
}

static json_t *queue_info(const xo_rmq_queue *q, int64_t now)
{
    int64_t prefix = q->state == XO_Q_WANTED ? -1 : xo_track_prefix(&q->track), next = q->track.to;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:b}", "commitOffset", (json_int_t)prefix, "cachedMsgMinOffset", (json_int_t)(q->held ? prefix : 0), "cachedMsgMaxOffset",
                     (json_int_t)(q->held ? next - 1 : 0), "cachedMsgCount", (json_int_t)q->held, "cachedMsgSizeInMiB", (json_int_t)(q->bytes >> 20), "locked",
                     q->sub && q->sub->ordered && xo_locks_held(q, now), "lastLockTimestamp", (json_int_t)(q->locked ? xo_now_ms() - (now - q->locked) : 0), "droped", q->state == XO_Q_LEAVING);
}

static json_t *info_properties(const xo_rocketmq *s)
{
    static const char *const where[] = {"CONSUME_FROM_FIRST_OFFSET", "CONSUME_FROM_LAST_OFFSET", "CONSUME_FROM_TIMESTAMP"};
    int ordered = 0;
    for (size_t i = 0; i < s->nsubs; i++) {
        ordered |= s->subs[i].ordered;
    }
    json_t *p = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "PROP_CONSUME_TYPE", "CONSUME_PASSIVELY", "PROP_CONSUMEORDERLY", ordered ? "true" : "false", "PROP_CLIENT_VERSION", "xonce " XONCE_VERSION,
                          "messageModel", "CLUSTERING", "consumerGroup", s->wire_group, "consumeFromWhere", where[s->consume_from]);
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"PROP_CONSUMER_START_TIMESTAMP", s->started_at}, {"heartbeatBrokerInterval", s->heartbeat_every}, {"pollNameServerInterval", s->route_every},
                   {"persistConsumerOffsetInterval", s->commit_every}, {"pullBatchSize", s->pull_batch}, {"pullThresholdForQueue", s->queue_messages},
                   {"pullThresholdSizeForQueue", s->queue_bytes >> 20}, {"maxReconsumeTimes", s->attempts}};
    for (size_t i = 0; p && i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        json_object_set_new(p, numbers[i].name, json_sprintf("%" PRId64, numbers[i].value));
    }
    return p;
}

static void add_json(xo_buf *b, json_t *o)
{
    if (xo_rmq_json(o, b) != XONCE_OK) {
        b->failed = 1;
    }
}

static void running_info(xo_rocketmq *s, const char *address, const xo_command *c)
{
    if (!is_for_us(s, c, "consumerGroup")) {
        reply(s, address, c, XO_RMQ_SYSTEM_ERROR, "no such group in this client", NULL);
        return;
    }
    xo_buf b = {0};
    int64_t now = xo_mono_ms();
    xo_buf_str(&b, "{\"properties\":");
    add_json(&b, info_properties(s));
    pthread_mutex_lock(&s->lock);
    xo_buf_str(&b, ",\"subscriptionSet\":");
    add_json(&b, xo_members_subscriptions(s));
    xo_buf_str(&b, ",\"mqTable\":{");
    for (const xo_rmq_queue *q = s->queues; q; q = q->next) {
        add_entry(&b, q, queue_info(q, now));
    }
    pthread_mutex_unlock(&s->lock);
    xo_buf_str(&b, "},\"statusTable\":{}}");
    reply_body(s, address, c, &b);
}

/* ---- all of them ---- */

void xo_rmq_request(void *source, const char *address, xo_command *c)
{
    xo_rocketmq *s = source;
    switch (c->code) {
    case XO_RMQ_CONSUMERS_CHANGED:
        if (is_for_us(s, c, "consumerGroup")) {
            pthread_mutex_lock(&s->lock);
            s->rebalance_now = 1;
            pthread_cond_signal(&s->work);
            pthread_mutex_unlock(&s->lock);
        }
        break;
    case XO_RMQ_RESET_OFFSET: reset_offsets(s, address, c); break;
    case XO_RMQ_CONSUMER_STATUS: status(s, address, c); break;
    case XO_RMQ_RUNNING_INFO: running_info(s, address, c); break;
    case XO_RMQ_CONSUME_DIRECTLY:
        reply(s, address, c, XO_RMQ_SYSTEM_ERROR,
              "refused: this consumer applies each message exactly once, in transactions of its own database; to run one again use xonce rejected and xonce replay there", NULL);
        break;
    default: reply(s, address, c, XO_RMQ_NOT_SUPPORTED, "this client does not know that request", NULL); break;
    }
}

/* A broker that comes back has forgotten our registration and our locks, and may have another history than before. */
void xo_rmq_changed(void *source, const char *address, int made)
{
    xo_rocketmq *s = source;
    char broker[256] = "";
    if (!made) {
        return;
    }
    xo_cluster_broker_at(s->cluster, address, broker, sizeof(broker));
    if (!broker[0]) {
        return; /* a name server */
    }
    pthread_mutex_lock(&s->lock);
    for (xo_rmq_queue *q = s->queues; q; q = q->next) {
        if (!strcmp(q->broker, broker) && q->state != XO_Q_LEAVING) {
            q->look_back = 1;
        }
    }
    s->heartbeat_now = s->locks_now = s->rebalance_now = 1;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}
