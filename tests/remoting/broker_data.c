/* The in-process RocketMQ cluster: pulls with their long poll and filter, sends, batches and half messages. */
#include "base/clock.h"
#include "remoting/cluster.h"
#include "tests/remoting/broker_inside.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- pull ---- */

enum { COMMIT = 1, SUSPEND = 2, WITH_SUBSCRIPTION = 4, MOST_MESSAGES = 32, MOST_BYTES = 256 << 10 };

/* As the broker compares: by hash code only. */
static int matches(const subscription *s, const stored *x)
{
    char tag[256];
    size_t len = 0;
    const char *v = NULL;
    for (size_t i = 0; s->n && (xo_record_property(&x->r, "TAGS", i, &len)); i++)
        v = xo_record_property(&x->r, "TAGS", i, &len);
    if (!s->n)
        return 1;
    if (!v || len >= sizeof tag)
        return 0;
    memcpy(tag, v, len);
    tag[len] = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->codes[i] == xo_java_hash(tag))
            return 1;
    return 0;
}

static void said(xo_command *a, int32_t number, const char *remark, int64_t next, const queue *q)
{
    a->code = number;
    a->remark = remark;
    xo_command_set(a, "suggestWhichBrokerId", "0");
    xo_command_set_int(a, "nextBeginOffset", next);
    xo_command_set_int(a, "minOffset", q ? q->min : 0);
    xo_command_set_int(a, "maxOffset", q ? (int64_t)q->n : 0);
    xo_command_set(a, "topicSysFlag", "0");
    xo_command_set(a, "groupSysFlag", "0");
}

/* The subscription that filters: the request's or the group's. NULL: a is the answer. */
static const subscription *filter_of(broker *k, const xo_command *r, subscription *own, xo_command *a)
{
    if (int_of(r, "sysFlag", 0) & WITH_SUBSCRIPTION) {
        sub_parse(own, text_of(r, "subscription"));
        return own;
    }
    group *g = group_find(k, text_of(r, "consumerGroup"), 0, 0);
    a->code = XO_RMQ_NO_SUBSCRIPTION;
    a->remark = "the consumer's group info not exist";
    if (!g || !g->n)
        return NULL;
    a->remark = "the consumer's subscription not exist";
    for (size_t i = 0; i < g->nsubs; i++)
        if (!strcmp(g->subs[i].topic, text_of(r, "topic"))) {
            if (g->subs[i].version >= int_of(r, "subVersion", 0))
                return &g->subs[i];
            a->code = XO_RMQ_OLD_SUBSCRIPTION;
            a->remark = "the consumer's subscription not latest";
        }
    return NULL;
}

static void read_queue(broker *k, const xo_command *r, const queue *q, const subscription *s, xo_command *a)
{
    int64_t at = int_of(r, "queueOffset", 0), max = (int64_t)q->n, most = int_of(r, "maxMsgNums", MOST_MESSAGES), n = 0;
    xo_buf b = {0};
    if (most > MOST_MESSAGES)
        most = MOST_MESSAGES;
    for (; at < max && n < most; at++) {
        const stored *x = q->at[at];
        if (!matches(s, x) || (n && x == q->at[at - 1])) /* the next member of an inner batch */
            continue;
        if (n && b.len + x->n > MOST_BYTES)
            break;
        xo_buf_add(&b, x->bytes, x->n);
        if (k->twice > 0)
            xo_buf_add(&b, x->bytes, x->n);
        n++;
    }
    if (n && k->twice > 0)
        k->twice--;
    said(a, n ? XO_RMQ_OK : XO_RMQ_PULL_AGAIN, n ? "FOUND" : "NO_MATCHED_MESSAGE", at, q);
    if (n)
        xo_command_take_body(a, &b);
    xo_buf_free(&b);
}

/* 1: a is the answer; 0: nothing yet, and the client may wait. */
static int pull(broker *k, const xo_command *r, int wait, xo_command *a)
{
    int id = (int)int_of(r, "queueId", -1);
    int64_t at = int_of(r, "queueOffset", 0);
    queue *q = log_queue(k, text_of(r, "topic"), id);
    subscription own = {0};
    xo_command_init(a, XO_RMQ_OK);
    topic *t = log_topic(k, text_of(r, "topic"));
    if (!t || !q || !(t->perm & 4)) {
        a->code = !t ? XO_RMQ_NO_TOPIC : q ? XO_RMQ_NO_PERMISSION : XO_RMQ_SYSTEM_ERROR;
        a->remark = !t ? "topic not exist, apply first please!" : q ? "the topic pulling message is forbidden" : "queueId is illegal";
        return 1;
    }
    const subscription *s = filter_of(k, r, &own, a);
    int done = 1;
    commit *c = commit_find(k, text_of(r, "consumerGroup"), text_of(r, "topic"), id, 0);
    if (!s) {
        ;
    } else if (c && c->reset >= 0) {
        said(a, XO_RMQ_PULL_MOVED, "OFFSET_RESET", c->reset, q);
        c->reset = -1;
    } else if (!q->n && at != 0) {
        said(a, XO_RMQ_PULL_MOVED, "NO_MESSAGE_IN_QUEUE", 0, q);
    } else if (at > (int64_t)q->n) {
        said(a, XO_RMQ_PULL_MOVED, "OFFSET_OVERFLOW_BADLY", (int64_t)q->n, q);
    } else if (at < q->min) {
        said(a, XO_RMQ_PULL_MOVED, "OFFSET_TOO_SMALL", q->min, q);
    } else if (at == (int64_t)q->n) {
        done = !(wait && (int_of(r, "sysFlag", 0) & SUSPEND));
        said(a, XO_RMQ_PULL_NOT_FOUND, at ? "OFFSET_OVERFLOW_ONE" : "NO_MESSAGE_IN_QUEUE", at, q);
    } else {
        read_queue(k, r, q, s, a);
    }
    sub_free(&own);
    if (!done)
        xo_command_free(a);
    return done;
}

void mq_handle_pull(mq *m, broker *k, conn *c, xo_command *r, int lose)
{
    xo_command a;
    int flag = (int)int_of(r, "sysFlag", 0);
    int done = pull(k, r, !lose, &a);
    if ((flag & COMMIT) && (flag & SUSPEND || flag & WITH_SUBSCRIPTION) && log_topic(k, text_of(r, "topic")))
        commit_find(k, text_of(r, "consumerGroup"), text_of(r, "topic"), (int)int_of(r, "queueId", -1), 1)->offset = int_of(r, "commitOffset", 0);
    if (done && lose)
        xo_command_free(&a);
    else if (done)
        mq_answer(m, c, &a, r->opaque);
    else {
        mq_grow(&k->polls, &k->cap_polls, k->npolls, sizeof *k->polls);
        k->polls[k->npolls++] = (held){c->id, xo_mono_ms() + int_of(r, "suspendTimeoutMillis", 0), *r};
        memset(r, 0, sizeof *r);
    }
}

/* Answers one that is held, if it can be. */
static int run_held(mq *m, broker *k, size_t i, int wait)
{
    held h = k->polls[i];
    xo_command a;
    conn *c = mq_conn_of(m, h.conn);
    if (c && !pull(k, &h.request, wait, &a))
        return 0;
    memmove(&k->polls[i], &k->polls[i + 1], (--k->npolls - i) * sizeof *k->polls);
    if (c)
        mq_answer(m, c, &a, h.request.opaque);
    xo_command_free(&h.request);
    return 1;
}

void mq_arrived(mq *m, broker *k, const char *topic_name, int id)
{
    for (size_t i = 0; i < k->npolls;) {
        const xo_command *r = &k->polls[i].request;
        queue *q = log_queue(k, topic_name, id);
        subscription own = {0};
        xo_command a = {0};
        int ours = !strcmp(text_of(r, "topic"), topic_name) && int_of(r, "queueId", -1) == id;
        const subscription *s = ours ? filter_of(k, r, &own, &a) : NULL;
        /* one that does not match leaves it held */
        int go = ours && (!s || (q->n && matches(s, q->at[q->n - 1])));
        sub_free(&own);
        if (!go || !run_held(m, k, i, 0))
            i++;
    }
}

int64_t polls_run(mq *m, broker *k)
{
    int64_t next = INT64_MAX, now = xo_mono_ms();
    for (size_t i = 0; i < k->npolls;) {
        if (k->polls[i].until <= now || !mq_conn_of(m, k->polls[i].conn)) {
            run_held(m, k, i, 0);
            continue;
        }
        if (k->polls[i].until < next)
            next = k->polls[i].until;
        i++;
    }
    return next;
}

/* ---- send ---- */

static const char *field(const xo_command *r, const char *letter, const char *name)
{
    return r->code == XO_RMQ_SEND ? text_of(r, name) : text_of(r, letter);
}

static void refuse(xo_command *a, int32_t number, const char *remark)
{
    xo_command_init(a, number);
    a->remark = remark;
}

static void sent(mq *m, xo_command *a, const stored *x, const spec *s)
{
    char id[XO_OFFSET_ID_SIZE], *uniq = spec_get(s, "UNIQ_KEY");
    xo_record_id(&x->r, id);
    xo_command_init(a, XO_RMQ_OK);
    xo_command_set(a, "msgId", id);
    xo_command_set_int(a, "queueId", s->queue);
    xo_command_set_int(a, "queueOffset", x->r.queue_offset);
    if (!m->version_4)
        xo_command_set(a, "transactionId", uniq);
    xo_command_set(a, "MSG_REGION", "DefaultRegion");
    xo_command_set(a, "TRACE_ON", "true");
    free(uniq);
}

/* Half messages: in the log, in no queue that anyone reads. */
static stored *store_half(mq *m, broker *k, spec *s, const char *group_name)
{
    char number[16];
    snprintf(number, sizeof number, "%d", s->queue);
    spec_set(s, "REAL_TOPIC", s->topic);
    spec_set(s, "REAL_QID", number);
    log_make_topic(k, "RMQ_SYS_TRANS_HALF_TOPIC", 1);
    mq_copy(s->topic, sizeof s->topic, "RMQ_SYS_TRANS_HALF_TOPIC");
    s->queue = 0;
    s->sys_flag &= ~XO_SYS_TRANSACTION;
    stored *x = log_append(m, k, s);
    mq_grow(&k->halves, &k->cap_halves, k->nhalves, sizeof *k->halves);
    half *h = &k->halves[k->nhalves++];
    *h = (half){.log_offset = x->r.log_offset, .table_offset = x->r.queue_offset};
    mq_copy(h->group, sizeof h->group, group_name);
    return x;
}

static void copy_spec(spec *to, const spec *from)
{
    *to = *from;
    memset(&to->properties, 0, sizeof to->properties);
    memset(&to->body, 0, sizeof to->body);
    xo_buf_add(&to->properties, from->properties.p, from->properties.len);
    xo_buf_add(&to->body, from->body.p, from->body.len);
}

/* Whether it is to come later: puts it there, and keeps what the producer is told in a record of the intermediate topic. */
static int64_t wait_of(mq *m, const spec *s, int *level)
{
    char *delay = spec_get(s, "DELAY"), *sec = spec_get(s, "TIMER_DELAY_SEC"), *ms = spec_get(s, "TIMER_DELAY_MS"),
         *at = spec_get(s, "TIMER_DELIVER_MS");
    int64_t wait = 0;
    *level = delay ? (int)strtol(delay, NULL, 10) : 0;
    if (!m->version_4)
        wait = ms ? strtoll(ms, NULL, 10) : sec ? strtoll(sec, NULL, 10) * 1000 : at ? strtoll(at, NULL, 10) - xo_now_ms() : 0;
    free(delay);
    free(sec);
    free(ms);
    free(at);
    return wait;
}

static void store_one(mq *m, broker *k, spec *s, const char *group_name, xo_command *a)
{
    spec told;
    int level = 0;
    log_usual(m, s);
    copy_spec(&told, s);
    int64_t wait = wait_of(m, s, &level);
    if (s->sys_flag & XO_SYS_HALF) {
        sent(m, a, store_half(m, k, s, group_name), &told);
    } else if (level > 0 || wait > 0) {
        spec now;
        copy_spec(&now, s);
        log_make_topic(k, "SCHEDULE_TOPIC_XXXX", 1);
        mq_copy(now.topic, sizeof now.topic, "SCHEDULE_TOPIC_XXXX");
        now.queue = 0;
        sent(m, a, log_append(m, k, &now), &told);
        if (level > 0)
            log_delay(m, k, s, level);
        else
            log_later(m, k, s, wait);
    } else {
        sent(m, a, log_append(m, k, s), &told);
    }
    spec_free(&told);
}

static uint32_t u32_at(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* 320: i32 size, magic, crc, flag, body length, body, i16 properties' length, properties. */
static void send_batch(mq *m, broker *k, const spec *common, const xo_command *r, xo_command *a)
{
    const unsigned char *p = r->body, *end = p + r->body_len;
    xo_buf ids = {0};
    int64_t first = -1;
    refuse(a, XO_RMQ_MESSAGE_ILLEGAL, "the batch does not add up");
    for (const unsigned char *q = p; q < end; q += u32_at(q))
        if (end - q < 22 || u32_at(q) < 22 || u32_at(q) > (size_t)(end - q) || u32_at(q + 16) > u32_at(q) - 22 ||
            22 + u32_at(q + 16) + (uint32_t)(q[20 + u32_at(q + 16)] << 8 | q[21 + u32_at(q + 16)]) != u32_at(q))
            return;
    if (p == end)
        return;
    for (; p < end; p += u32_at(p)) {
        char id[XO_OFFSET_ID_SIZE];
        spec s;
        copy_spec(&s, common);
        size_t body_len = u32_at(p + 16), np = (size_t)(p[20 + body_len] << 8 | p[21 + body_len]);
        s.flag = (int32_t)u32_at(p + 12);
        xo_buf_add(&s.body, p + 20, body_len);
        xo_buf_reset(&s.properties);
        xo_buf_add(&s.properties, p + 22 + body_len, np);
        log_usual(m, &s);
        if (common->properties.len) /* the batch's are appended, also a second UNIQ_KEY */
            xo_buf_add(&s.properties, common->properties.p, common->properties.len);
        stored *x = log_append(m, k, &s);
        xo_record_id(&x->r, id);
        xo_buf_printf(&ids, "%s%s", ids.len ? "," : "", id);
        if (first < 0)
            first = x->r.queue_offset;
    }
    refuse(a, XO_RMQ_OK, NULL);
    xo_command_set(a, "msgId", ids.p);
    xo_command_set_int(a, "queueId", common->queue);
    xo_command_set_int(a, "queueOffset", first);
    char *uniq = spec_get(common, "UNIQ_KEY");
    if (!m->version_4)
        xo_command_set(a, "transactionId", uniq);
    xo_command_set(a, "MSG_REGION", "DefaultRegion");
    xo_command_set(a, "TRACE_ON", "true");
    free(uniq);
    xo_buf_free(&ids);
}

static void send(mq *m, broker *k, const xo_command *r, xo_command *a)
{
    const char *name = field(r, "b", "topic"), *group_name = field(r, "a", "producerGroup");
    topic *t = log_topic(k, name);
    if (!t && m->auto_create && !strcmp(field(r, "c", "defaultTopic"), "TBW102"))
        t = log_make_topic(k, name, (int)strtol(field(r, "d", "defaultTopicQueueNums"), NULL, 10));
    int id = (int)strtol(field(r, "e", "queueId"), NULL, 10);
    if (!t) {
        refuse(a, XO_RMQ_NO_TOPIC, "topic not exist, apply first please!");
        return;
    }
    if (id >= t->n || !(t->perm & 2)) {
        refuse(a, t->perm & 2 ? XO_RMQ_INVALID_PARAMETER : XO_RMQ_NO_PERMISSION,
               t->perm & 2 ? "request queueId is illegal" : "the broker sending message is forbidden");
        return;
    }
    const char *properties = field(r, "i", "properties");
    if (!r->body_len || r->body_len > 4 << 20 || strlen(properties) > 32767) {
        refuse(a, r->body_len ? XO_RMQ_MESSAGE_ILLEGAL : XO_RMQ_SYSTEM_ERROR, "the message is illegal");
        return;
    }
    spec s = {.queue = id < 0 ? (int)(k->picks++ % (unsigned)t->n) : id, .born = {127, 0, 0, 1, 0, 0, 0x12, 0x67}};
    mq_copy(s.topic, sizeof s.topic, name);
    s.sys_flag = (int32_t)strtol(field(r, "f", "sysFlag"), NULL, 10);
    s.born_time = strtoll(field(r, "g", "bornTimestamp"), NULL, 10);
    s.flag = (int32_t)strtol(field(r, "h", "flag"), NULL, 10);
    s.reconsume = (int32_t)strtol(field(r, "j", "reconsumeTimes"), NULL, 10);
    xo_buf_str(&s.properties, properties);
    if (s.properties.len && s.properties.p[s.properties.len - 1] != 2)
        xo_buf_char(&s.properties, 2);
    if (r->code == XO_RMQ_SEND_BATCH || !strcmp(text_of(r, "m"), "true")) {
        send_batch(m, k, &s, r, a);
        spec_free(&s);
        return;
    }
    xo_buf_add(&s.body, r->body, r->body_len);
    store_one(m, k, &s, group_name, a);
}

/* ---- transactions ---- */

static void end_transaction(mq *m, broker *k, const xo_command *r, xo_command *a)
{
    half *h = NULL;
    int64_t at = int_of(r, "commitLogOffset", -1);
    int how = (int)int_of(r, "commitOrRollback", 0);
    for (size_t i = 0; i < k->nhalves; i++)
        if (k->halves[i].log_offset == at)
            h = &k->halves[i];
    stored *x = log_at(k, at);
    if (!h || !x) {
        refuse(a, XO_RMQ_SYSTEM_ERROR, "Find prepared transaction message failed");
        return;
    }
    if (strcmp(h->group, text_of(r, "producerGroup")) != 0 || h->table_offset != int_of(r, "tranStateTableOffset", -1)) {
        refuse(a, XO_RMQ_SYSTEM_ERROR,
               strcmp(h->group, text_of(r, "producerGroup")) ? "The producer group wrong" : "The transaction state table offset wrong");
        return;
    }
    refuse(a, XO_RMQ_OK, NULL);
    if (how == 0)
        return;
    h->done = 1;
    if (how != 8) /* a rollback behind a commit does nothing; a second commit stores it again */
        return;
    spec s;
    spec_of(&s, x);
    char *name = spec_get(&s, "REAL_TOPIC"), *id = spec_get(&s, "REAL_QID");
    MQ_MUST(name && id);
    mq_copy(s.topic, sizeof s.topic, name);
    s.queue = (int)strtol(id, NULL, 10);
    s.sys_flag |= 8;
    s.prepared = at;
    free(name);
    free(id);
    log_append(m, k, &s);
}

void mq_handle_send(mq *m, broker *k, const xo_command *r, xo_command *a)
{
    if (r->code == XO_RMQ_END_TRANSACTION)
        end_transaction(m, k, r, a);
    else
        send(m, k, r, a);
}

/* One check: 39 to a producer of the half message's group. */
static int check_one(mq *m, broker *k, size_t at, int restore)
{
    group *g = group_find(k, k->halves[at].group, 1, 0);
    conn *c = g && g->n ? mq_conn_of(m, g->members[0].conn) : NULL;
    stored *x = log_at(k, k->halves[at].log_offset);
    if (!c || !x)
        return 0;
    if (restore) { /* the old place is no longer a half message */
        spec s;
        spec_of(&s, x);
        char *name = spec_get(&s, "REAL_TOPIC"), *id = spec_get(&s, "REAL_QID");
        MQ_MUST(name && id);
        mq_copy(s.topic, sizeof s.topic, name);
        s.queue = (int)strtol(id, NULL, 10);
        free(name);
        free(id);
        k->halves[at].done = 1;
        char group_name[256];
        mq_copy(group_name, sizeof group_name, k->halves[at].group);
        x = store_half(m, k, &s, group_name);
        at = k->nhalves - 1;
    }
    spec s;
    spec_of(&s, x);
    char id[XO_OFFSET_ID_SIZE], *uniq = spec_get(&s, "UNIQ_KEY"), *real = spec_get(&s, "REAL_TOPIC");
    xo_record_id(&x->r, id);
    xo_record shown = x->r; /* its topic field holds the real topic */
    shown.topic = real;
    shown.ntopic = strlen(real);
    xo_buf b = {0};
    xo_record_encode(&shown, &b);
    xo_command q;
    xo_command_init(&q, XO_RMQ_CHECK_TRANSACTION);
    q.flag = XO_FLAG_ONEWAY;
    q.opaque = ++m->last_opaque;
    xo_command_set_int(&q, "tranStateTableOffset", k->halves[at].table_offset);
    xo_command_set_int(&q, "commitLogOffset", k->halves[at].log_offset);
    xo_command_set(&q, "msgId", uniq);
    xo_command_set(&q, "transactionId", uniq);
    xo_command_set(&q, "offsetMsgId", id);
    xo_command_set(&q, "topic", "RMQ_SYS_TRANS_HALF_TOPIC");
    xo_command_set(&q, "bname", k->name);
    xo_command_take_body(&q, &b);
    mq_send(m, c, &q);
    free(uniq);
    free(real);
    spec_free(&s);
    return 1;
}

int mq_check(mq *m, int b, int restore)
{
    pthread_mutex_lock(&m->lock);
    broker *k = mq_broker(m, b);
    int n = 0;
    for (size_t i = 0, end = k->nhalves; i < end; i++)
        if (!k->halves[i].done)
            n += check_one(m, k, i, restore);
    mq_wake(m);
    pthread_mutex_unlock(&m->lock);
    return n;
}
