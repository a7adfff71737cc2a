/* The in-process RocketMQ cluster: what brokers and the name server answer, but for pulls and sends. */
#include "base/clock.h"
#include "base/text.h"
#include "remoting/wirejson.h"
#include "tests/remoting/broker_inside.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- parts of answers ---- */

static const char *text_of(const xo_command *r, const char *name)
{
    const char *v = xo_command_get(r, name);
    return v ? v : "";
}

static int64_t int_of(const xo_command *r, const char *name, int64_t fallback)
{
    const char *v = xo_command_get(r, name);
    return v && *v ? strtoll(v, NULL, 10) : fallback;
}

void mq_answer(mq *m, conn *c, xo_command *answer, int32_t opaque)
{
    answer->flag = XO_FLAG_RESPONSE;
    answer->language = XO_LANGUAGE_JAVA;
    answer->version = m->version_4 ? 407 : 479;
    answer->opaque = opaque;
    mq_send(m, c, answer);
}

static void code(xo_command *a, int32_t number, const char *remark)
{
    xo_command_init(a, number);
    a->remark = remark;
}

static void set_body(xo_command *a, json_t *o)
{
    char *text = json_dumps(o, JSON_COMPACT);
    xo_buf b = {0};
    MQ_MUST(text);
    xo_buf_str(&b, text);
    xo_command_take_body(a, &b);
    free(text);
    json_decref(o);
}

static json_t *body_of(const xo_command *r)
{
    json_t *o = r->body_len ? xo_wire_json(r->body, r->body_len) : json_object();
    return o ? o : json_object();
}

static json_t *name_queue(const char *topic_name, const char *broker_name, int id)
{
    return json_pack("{s:s,s:i,s:s}", "brokerName", broker_name, "queueId", id, "topic", topic_name);
}

/* ---- name server ---- */

static json_t *broker_data(const broker *k)
{
    return json_pack("{s:{s:s},s:s,s:s,s:b}", "brokerAddrs", "0", k->address, "brokerName", k->name, "cluster", "DefaultCluster",
                     "enableActingMaster", 0);
}

static void route(mq *m, const xo_command *r, xo_command *a)
{
    const char *name = text_of(r, "topic");
    json_t *brokers = json_array(), *queues = json_array();
    for (int i = 0; i < m->nb; i++) {
        broker *k = &m->b[i];
        topic *t = k->in_route ? log_topic(k, name) : NULL;
        int template = k->in_route && m->auto_create && !strcmp(name, "TBW102");
        if (!t && !template)
            continue;
        json_array_append_new(brokers, broker_data(k));
        int n = t ? t->n : 8;
        json_array_append_new(queues, json_pack("{s:s,s:i,s:i,s:i,s:i}", "brokerName", k->name, "perm", t ? t->perm : 7, "readQueueNums", n,
                                                "topicSysFlag", 0, "writeQueueNums", n));
    }
    if (!json_array_size(queues)) {
        json_decref(brokers);
        json_decref(queues);
        code(a, XO_RMQ_NO_TOPIC,
             "No topic route info in name server for the topic\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.");
        return;
    }
    code(a, XO_RMQ_OK, NULL);
    json_t *o = json_pack("{s:o,s:{},s:o}", "brokerDatas", brokers, "filterServerTable", "queueDatas", queues);
    if (m->order_conf[0] && !strcmp(m->order_topic, name))
        json_object_set_new(o, "orderTopicConf", json_string(m->order_conf));
    set_body(a, o);
}

static void cluster_info(mq *m, xo_command *a)
{
    xo_buf b = {0};
    const char *comma = "";
    xo_buf_str(&b, "{\"brokerAddrTable\":{");
    for (int i = 0; i < m->nb; i++)
        if (m->b[i].in_route) {
            xo_buf_printf(&b,
                          "%s\"%s\":{\"brokerAddrs\":{0:\"%s\"},\"brokerName\":\"%s\",\"cluster\":\"DefaultCluster\",\"enableActingMaster\":false}",
                          comma, m->b[i].name, m->b[i].address, m->b[i].name);
            comma = ",";
        }
    xo_buf_str(&b, "},\"clusterAddrTable\":{\"DefaultCluster\":[");
    comma = "";
    for (int i = 0; i < m->nb; i++)
        if (m->b[i].in_route) {
            xo_buf_printf(&b, "%s\"%s\"", comma, m->b[i].name);
            comma = ",";
        }
    xo_buf_str(&b, "]}}");
    code(a, XO_RMQ_OK, NULL);
    xo_command_take_body(a, &b);
}

/* ---- groups ---- */

static int joined(group *g, const char *client, const conn *c, const xo_command *r)
{
    member *x = group_has(g, client);
    int is_new = !x || x->conn != c->id;
    if (!x) {
        mq_grow(&g->members, &g->cap, g->n, sizeof *g->members);
        x = &g->members[g->n++];
        mq_copy(x->client, sizeof x->client, client);
    }
    x->conn = c->id;
    x->language = r->language;
    x->version = r->version;
    return is_new;
}

static int subscribe(group *g, json_t *list)
{
    size_t i;
    json_t *s;
    int changed = 0;
    json_array_foreach(list, i, s)
    {
        const char *name = xo_json_text(s, "topic");
        size_t before = g->nsubs;
        group_subscribe(g, name ? name : "", xo_json_text(s, "subString") ? xo_json_text(s, "subString") : "*", xo_json_int(s, "subVersion"));
        changed |= g->nsubs != before;
        for (size_t j = 0; name && j < g->nsubs; j++)
            if (!strcmp(g->subs[j].topic, name) && g->subs[j].version == xo_json_int(s, "subVersion")) {
                /* the codes are what the client says, as on the real one: a wrong hash filters wrongly */
                const json_t *codes = json_object_get(s, "codeSet");
                MQ_MUST(json_array_size(codes) <= g->subs[j].n || !g->subs[j].n);
                g->subs[j].n = json_array_size(codes) < g->subs[j].n ? json_array_size(codes) : g->subs[j].n;
                for (size_t n = 0; n < g->subs[j].n; n++)
                    g->subs[j].codes[n] = (int32_t)json_integer_value(json_array_get(codes, n));
            }
    }
    return changed;
}

static void heartbeat(mq *m, broker *k, conn *c, const xo_command *r, xo_command *a)
{
    json_t *o = body_of(r), *x;
    size_t i;
    char name[256];
    const char *client = xo_json_text(o, "clientID");
    json_array_foreach(json_object_get(o, "producerDataSet"), i, x)
        joined(group_find(k, xo_json_text(x, "groupName") ? xo_json_text(x, "groupName") : "", 1, 1), client ? client : "", c, r);
    json_array_foreach(json_object_get(o, "consumerDataSet"), i, x)
    {
        group *g = group_find(k, xo_json_text(x, "groupName") ? xo_json_text(x, "groupName") : "", 0, 1);
        mq_copy(g->type, sizeof g->type, xo_json_text(x, "consumeType") ? xo_json_text(x, "consumeType") : "");
        mq_copy(g->model, sizeof g->model, xo_json_text(x, "messageModel") ? xo_json_text(x, "messageModel") : "");
        mq_copy(g->from, sizeof g->from, xo_json_text(x, "consumeFromWhere") ? xo_json_text(x, "consumeFromWhere") : "");
        snprintf(name, sizeof name, "%%RETRY%%%.240s", g->name);
        log_make_topic(k, name, 1);
        int changed = joined(g, client ? client : "", c, r);
        changed |= subscribe(g, json_object_get(x, "subscriptionDataSet"));
        if (changed)
            group_notify(m, g);
    }
    json_decref(o);
    code(a, XO_RMQ_OK, NULL);
    if (!m->version_4) {
        xo_command_set(a, "IS_SUPPORT_HEART_BEAT_V2", "true");
        xo_command_set(a, "IS_SUB_CHANGE", "true");
    }
}

static void unregister(mq *m, broker *k, const xo_command *r, xo_command *a)
{
    for (int producer = 0; producer < 2; producer++) {
        const char *name = xo_command_get(r, producer ? "producerGroup" : "consumerGroup");
        group *g = name ? group_find(k, name, producer, 0) : NULL;
        member *x = g ? group_has(g, text_of(r, "clientID")) : NULL;
        if (x)
            group_leave(m, k, g, (size_t)(x - g->members));
    }
    code(a, XO_RMQ_OK, NULL);
}

static void member_list(broker *k, const xo_command *r, xo_command *a)
{
    group *g = group_find(k, text_of(r, "consumerGroup"), 0, 0);
    if (!g || !g->n) {
        code(a, XO_RMQ_SYSTEM_ERROR, "no consumer for this group");
        return;
    }
    json_t *ids = json_array();
    for (size_t i = g->n; i-- > 0;) /* their order says nothing: clients sort */
        json_array_append_new(ids, json_string(g->members[i].client));
    code(a, XO_RMQ_OK, NULL);
    set_body(a, json_pack("{s:o}", "consumerIdList", ids));
}

static json_t *subscription_json(const subscription *s)
{
    json_t *codes = json_array(), *tags = json_array();
    for (size_t i = 0; i < s->n; i++) {
        json_array_append_new(codes, json_integer(s->codes[i]));
        json_array_append_new(tags, json_string(s->tags[i]));
    }
    return json_pack("{s:b,s:o,s:s,s:s,s:I,s:o,s:s}", "classFilterMode", 0, "codeSet", codes, "expressionType", "TAG", "subString", s->text,
                     "subVersion", (json_int_t)s->version, "tagsSet", tags, "topic", s->topic);
}

static void connections(broker *k, const xo_command *r, xo_command *a)
{
    static const char *const languages[] = {"JAVA",  "CPP",  "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY",
                                            "OTHER", "HTTP", "GO",     "PHP",    "OMS",    "RUST",   "NODE_JS"};
    group *g = group_find(k, text_of(r, "consumerGroup"), 0, 0);
    if (!g || !g->n) {
        code(a, XO_RMQ_NOT_ONLINE, "the consumer group not online");
        return;
    }
    json_t *set = json_array(), *table = json_object();
    for (size_t i = 0; i < g->n; i++) {
        int l = g->members[i].language;
        json_array_append_new(set, json_pack("{s:s,s:s,s:s,s:i}", "clientAddr", "127.0.0.1:1", "clientId", g->members[i].client, "language",
                                             languages[l >= 0 && l < XO_LANGUAGES ? l : XO_LANGUAGE_OTHER], "version", g->members[i].version));
    }
    for (size_t i = 0; i < g->nsubs; i++)
        json_object_set_new(table, g->subs[i].topic, subscription_json(&g->subs[i]));
    code(a, XO_RMQ_OK, NULL);
    set_body(a, json_pack("{s:o,s:s,s:s,s:s,s:o}", "connectionSet", set, "consumeFromWhere", g->from, "consumeType", g->type, "messageModel",
                          g->model, "subscriptionTable", table));
}

/* ---- offsets ---- */

static void query_offset(mq *m, broker *k, const xo_command *r, xo_command *a)
{
    int id = (int)int_of(r, "queueId", -1);
    commit *c = commit_find(k, text_of(r, "consumerGroup"), text_of(r, "topic"), id, 0);
    queue *q = log_queue(k, text_of(r, "topic"), id);
    const char *zero = xo_command_get(r, "setZeroIfNotFound");
    code(a, XO_RMQ_OK, NULL);
    if (c && c->offset >= 0)
        xo_command_set_int(a, "offset", c->reset >= 0 ? c->reset : c->offset);
    else if ((zero && !strcmp(zero, "false") && !m->version_4) || (q && q->min > 0)) {
        a->code = XO_RMQ_QUERY_NOT_FOUND;
        a->remark = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first";
    } else {
        xo_command_set_int(a, "offset", 0);
    }
}

static void update_offset(broker *k, const xo_command *r, xo_command *a)
{
    if (!log_topic(k, text_of(r, "topic"))) {
        code(a, XO_RMQ_NO_TOPIC, "Topic not exist");
        return;
    }
    commit *c = commit_find(k, text_of(r, "consumerGroup"), text_of(r, "topic"), (int)int_of(r, "queueId", -1), 1);
    code(a, XO_RMQ_OK, c->reset >= 0 ? "Offset has been previously reset" : NULL);
    if (c->reset < 0)
        c->offset = int_of(r, "commitOffset", 0);
}

static void queue_number(broker *k, const xo_command *r, xo_command *a)
{
    queue *q = log_queue(k, text_of(r, "topic"), (int)int_of(r, "queueId", -1));
    int64_t v = 0;
    if (q && r->code == XO_RMQ_MAX_OFFSET)
        v = (int64_t)q->n;
    else if (q && r->code == XO_RMQ_MIN_OFFSET)
        v = q->min;
    else if (q && r->code == XO_RMQ_SEARCH_OFFSET)
        v = log_search(q, int_of(r, "timestamp", 0), !strcmp(text_of(r, "boundaryType"), "UPPER"));
    else if (q && r->code == 32)
        v = q->min < (int64_t)q->n ? q->at[q->min]->r.store_time : -1;
    code(a, XO_RMQ_OK, NULL);
    xo_command_set_int(a, r->code == 32 ? "timestamp" : "offset", v);
}

static void view(broker *k, const xo_command *r, xo_command *a)
{
    stored *x = log_at(k, int_of(r, "offset", -1));
    if (!x) {
        code(a, XO_RMQ_SYSTEM_ERROR, "can not find message by the offset");
        return;
    }
    xo_buf b = {0};
    xo_buf_add(&b, x->bytes, x->n);
    code(a, XO_RMQ_OK, NULL);
    xo_command_take_body(a, &b);
}

static void create_topic(broker *k, const xo_command *r, xo_command *a)
{
    topic *t = log_make_topic(k, text_of(r, "topic"), (int)int_of(r, "readQueueNums", 8));
    t->perm = (int)int_of(r, "perm", 6);
    code(a, XO_RMQ_OK, "not set any response code");
}

/* 202 and 208: objects as member names. */
static void stats(broker *k, const xo_command *r, xo_command *a)
{
    xo_buf b = {0};
    const char *only = xo_command_get(r, "topic"), *comma = "";
    xo_buf_str(&b, r->code == XO_RMQ_CONSUME_STATS ? "{\"consumeTps\":0.0,\"offsetTable\":{" : "{\"offsetTable\":{");
    if (r->code == XO_RMQ_TOPIC_STATS && !log_topic(k, text_of(r, "topic"))) {
        xo_buf_free(&b);
        code(a, XO_RMQ_NO_TOPIC, "topic not exist");
        return;
    }
    for (size_t i = 0; i < k->ntopics; i++)
        for (int j = 0; j < k->topics[i]->n; j++) {
            const topic *t = k->topics[i];
            const queue *q = &t->queues[j];
            commit *c = commit_find(k, text_of(r, "consumerGroup"), t->name, j, 0);
            int64_t last = q->n > (size_t)q->min ? q->at[q->n - 1]->r.store_time : 0;
            if ((only && strcmp(only, t->name)) || (r->code == XO_RMQ_CONSUME_STATS && !c))
                continue;
            xo_buf_printf(&b, "%s{\"brokerName\":\"%s\",\"queueId\":%d,\"topic\":\"%s\"}:", comma, k->name, j, t->name);
            if (r->code == XO_RMQ_CONSUME_STATS)
                xo_buf_printf(&b, "{\"brokerOffset\":%zu,\"consumerOffset\":%lld,\"lastTimestamp\":%lld,\"pullOffset\":%lld}", q->n,
                              (long long)c->offset, (long long)last, (long long)c->offset);
            else
                xo_buf_printf(&b, "{\"lastUpdateTimestamp\":%lld,\"maxOffset\":%zu,\"minOffset\":%lld}", (long long)last, q->n, (long long)q->min);
            comma = ",";
        }
    xo_buf_str(&b, r->code == XO_RMQ_CONSUME_STATS ? "}}" : "},\"topicPutTps\":0.0}");
    code(a, XO_RMQ_OK, NULL);
    xo_command_take_body(a, &b);
}

/* ---- locks ---- */

static void lock_queues(broker *k, const xo_command *r, xo_command *a)
{
    json_t *o = body_of(r), *x, *ok = json_array();
    const char *name = xo_json_text(o, "consumerGroup"), *client = xo_json_text(o, "clientId");
    size_t i;
    json_array_foreach(json_object_get(o, "mqSet"), i, x)
    {
        const char *t = xo_json_text(x, "topic");
        int id = (int)xo_json_int(x, "queueId");
        if (!name || !client || !t || strcmp(k->name, xo_json_text(x, "brokerName") ? xo_json_text(x, "brokerName") : "") != 0)
            continue;
        lock *l = lock_find(k, name, t, id);
        int ours = l && !strcmp(l->client, client);
        if (r->code == XO_RMQ_UNLOCK) {
            if (ours)
                *l = k->locks[--k->nlocks];
            continue;
        }
        if (l && !ours && l->until > xo_mono_ms())
            continue;
        if (!l) {
            mq_grow(&k->locks, &k->cap_locks, k->nlocks, sizeof *k->locks);
            l = &k->locks[k->nlocks++];
        }
        *l = (lock){.queue = id, .until = xo_mono_ms() + 60000};
        mq_copy(l->group, sizeof l->group, name);
        mq_copy(l->topic, sizeof l->topic, t);
        mq_copy(l->client, sizeof l->client, client);
        json_array_append_new(ok, name_queue(t, k->name, id));
    }
    code(a, XO_RMQ_OK, NULL);
    if (r->code == XO_RMQ_LOCK)
        set_body(a, json_pack("{s:o}", "lockOKMQSet", ok));
    else
        json_decref(ok);
    json_decref(o);
}

/* ---- send-back ---- */

static void send_back(mq *m, broker *k, const xo_command *r, xo_command *a)
{
    const char *name = text_of(r, "group");
    stored *x = log_at(k, int_of(r, "offset", -1));
    char to[256], id[XO_OFFSET_ID_SIZE], *had;
    if (!x) {
        code(a, XO_RMQ_SYSTEM_ERROR, "look message by offset failed");
        return;
    }
    code(a, XO_RMQ_OK, NULL);
    spec s;
    spec_of(&s, x);
    int64_t level = int_of(r, "delayLevel", 0), most = r->version >= 121 ? int_of(r, "maxReconsumeTimes", 16) : 16;
    int dead = level < 0 || s.reconsume >= most;
    if (!(had = spec_get(&s, "RETRY_TOPIC")))
        spec_set(&s, "RETRY_TOPIC", s.topic);
    free(had);
    if (!(had = spec_get(&s, "ORIGIN_MESSAGE_ID"))) {
        xo_record_id(&x->r, id);
        spec_set(&s, "ORIGIN_MESSAGE_ID", id);
    }
    free(had);
    spec_set(&s, "WAIT", "false");
    snprintf(to, sizeof to, "%s%.240s", dead ? "%DLQ%" : "%RETRY%", name);
    log_make_topic(k, to, 1);
    mq_copy(s.topic, sizeof s.topic, to);
    s.queue = 0;
    if (dead) {
        s.reconsume++;
        spec_set(&s, "DELAY", "0");
        log_append(m, k, &s);
        return;
    }
    log_delay(m, k, &s, level > 0 ? (int)level : 3 + s.reconsume);
    k->later[k->nlater - 1].s.reconsume++;
}

/* ---- dispatch ---- */

static int signed_well(mq *m, const xo_command *r)
{
    const xo_command_field *sorted[64];
    size_t n = 0;
    if (!m->access_key[0])
        return 1;
    if (strcmp(text_of(r, "AccessKey"), m->access_key) != 0 || r->nfields > 64)
        return 0;
    for (size_t i = 0; i < r->nfields; i++)
        if (strcmp(r->fields[i].name, "Signature") != 0) {
            size_t at = n++;
            for (; at > 0 && strcmp(sorted[at - 1]->name, r->fields[i].name) > 0; at--)
                sorted[at] = sorted[at - 1];
            sorted[at] = &r->fields[i];
        }
    xo_buf b = {0};
    for (size_t i = 0; i < n; i++)
        xo_buf_str(&b, sorted[i]->value);
    xo_buf_add(&b, r->body, r->body_len);
    unsigned char mac[20];
    MQ_MUST(!xo_hmac_sha1(m->secret, strlen(m->secret), b.p ? b.p : "", b.len, mac));
    char *want = xo_base64(mac, sizeof mac);
    int ok = !strcmp(text_of(r, "Signature"), want);
    free(want);
    xo_buf_free(&b);
    return ok;
}

static void answer_broker(mq *m, broker *k, conn *c, const xo_command *r, xo_command *a)
{
    switch (r->code) {
    case XO_RMQ_HEARTBEAT: heartbeat(m, k, c, r, a); break;
    case XO_RMQ_UNREGISTER: unregister(m, k, r, a); break;
    case XO_RMQ_CONSUMER_LIST: member_list(k, r, a); break;
    case XO_RMQ_CONSUMER_CONNECTIONS: connections(k, r, a); break;
    case XO_RMQ_QUERY_OFFSET: query_offset(m, k, r, a); break;
    case XO_RMQ_UPDATE_OFFSET: update_offset(k, r, a); break;
    case XO_RMQ_MAX_OFFSET:
    case XO_RMQ_MIN_OFFSET:
    case XO_RMQ_SEARCH_OFFSET:
    case 32: queue_number(k, r, a); break;
    case XO_RMQ_VIEW_MESSAGE: view(k, r, a); break;
    case XO_RMQ_CREATE_TOPIC: create_topic(k, r, a); break;
    case XO_RMQ_TOPIC_STATS:
    case XO_RMQ_CONSUME_STATS: stats(k, r, a); break;
    case XO_RMQ_LOCK:
    case XO_RMQ_UNLOCK: lock_queues(k, r, a); break;
    case XO_RMQ_SEND_BACK: send_back(m, k, r, a); break;
    case XO_RMQ_SEND:
    case XO_RMQ_SEND_V2:
    case XO_RMQ_SEND_BATCH:
    case XO_RMQ_END_TRANSACTION: mq_handle_send(m, k, r, a); break;
    default: code(a, XO_RMQ_NOT_SUPPORTED, " request type not supported"); break;
    }
}

static rule *rule_for(mq *m, int b, int32_t number)
{
    for (size_t i = 0; i < m->nrules; i++)
        if (m->rules[i].n > 0 && m->rules[i].code == number && (m->rules[i].b == b || (m->rules[i].b == MQ_ALL && b >= 0)))
            return &m->rules[i];
    return NULL;
}

void mq_handle(mq *m, conn *c, xo_command *r)
{
    xo_command a = {0};
    broker *k = c->b == MQ_NAME_SERVER ? &m->ns : &m->b[c->b];
    if (m->watch)
        m->watch(m->watch_arg, c->b, r);
    if (r->code >= 0 && r->code < 512)
        k->counts[r->code]++;
    rule *x = rule_for(m, c->b, r->code);
    mq_fault fault = x ? x->what : MQ_ANSWER;
    if (x)
        x->n--;
    if (x && fault == MQ_LOSE_REQUEST)
        return;
    if (x && fault == MQ_ANSWER)
        code(&a, x->answer, "made to fail by the test");
    else if (!signed_well(m, r))
        code(&a, XO_RMQ_NO_PERMISSION, "[AclException] Check signature failed");
    else if (c->b == MQ_NAME_SERVER && r->code == XO_RMQ_ROUTE)
        route(m, r, &a);
    else if (c->b == MQ_NAME_SERVER && r->code == XO_RMQ_CLUSTER_INFO)
        cluster_info(m, &a);
    else if (c->b == MQ_NAME_SERVER)
        code(&a, XO_RMQ_NOT_SUPPORTED, " request type not supported");
    else if (r->code == XO_RMQ_PULL) {
        mq_handle_pull(m, k, c, r, x && fault == MQ_LOSE_ANSWER);
        return;
    } else
        answer_broker(m, k, c, r, &a);
    if ((x && fault == MQ_LOSE_ANSWER) || (r->flag & XO_FLAG_ONEWAY))
        xo_command_free(&a);
    else
        mq_answer(m, c, &a, r->opaque);
}
