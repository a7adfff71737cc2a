/* The in-process RocketMQ cluster: topics, queues and the log of a broker. */
#include "base/clock.h"
#include "tests/remoting/broker_inside.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

topic *log_topic(broker *k, const char *name)
{
    for (size_t i = 0; i < k->ntopics; i++)
        if (!strcmp(k->topics[i]->name, name))
            return k->topics[i];
    return NULL;
}

topic *log_make_topic(broker *k, const char *name, int queues)
{
    topic *t = log_topic(k, name);
    if (!t) {
        mq_grow(&k->topics, &k->cap_topics, k->ntopics, sizeof *k->topics);
        MQ_MUST(t = xo_calloc(1, sizeof *t));
        mq_copy(t->name, sizeof t->name, name);
        t->perm = 6;
        k->topics[k->ntopics++] = t;
    }
    if (queues > t->n) {
        queue *grown = realloc(t->queues, (size_t)queues * sizeof *grown);
        MQ_MUST(grown);
        memset(grown + t->n, 0, (size_t)(queues - t->n) * sizeof *grown);
        t->queues = grown;
        t->n = queues;
    }
    return t;
}

queue *log_queue(broker *k, const char *name, int id)
{
    topic *t = log_topic(k, name);
    return t && id >= 0 && id < t->n ? &t->queues[id] : NULL;
}

stored *log_at(broker *k, int64_t log_offset)
{
    for (size_t i = 0; i < k->nlog; i++)
        if (k->log[i]->r.log_offset == log_offset)
            return k->log[i]->gone ? NULL : k->log[i];
    return NULL;
}

/* ---- messages on their way ---- */

void spec_free(spec *s)
{
    xo_buf_free(&s->properties);
    xo_buf_free(&s->body);
}

/* The value's place; the last one of the name. */
static const char *find(const spec *s, const char *name, size_t *len, const char **begin)
{
    const char *p = s->properties.p, *end = p ? p + s->properties.len : p, *found = NULL;
    size_t n = strlen(name);
    while (p && p < end) {
        const char *stop = memchr(p, 2, (size_t)(end - p));
        if (!stop)
            stop = end;
        const char *sep = memchr(p, 1, (size_t)(stop - p));
        if (sep && (size_t)(sep - p) == n && !memcmp(p, name, n)) {
            found = sep + 1;
            *len = (size_t)(stop - found);
            *begin = p;
        }
        p = stop + (stop < end);
    }
    return found;
}

char *spec_get(const spec *s, const char *name)
{
    size_t len = 0;
    const char *begin, *v = find(s, name, &len, &begin);
    return v ? xo_memdup0(v, len) : NULL;
}

void spec_set(spec *s, const char *name, const char *value)
{
    size_t len = 0;
    const char *begin, *v;
    while ((v = find(s, name, &len, &begin))) {
        size_t from = (size_t)(begin - s->properties.p), to = (size_t)(v - s->properties.p) + len;
        if (to < s->properties.len)
            to++;
        memmove(s->properties.p + from, s->properties.p + to, s->properties.len - to);
        s->properties.len -= to - from;
    }
    if (s->properties.len && s->properties.p[s->properties.len - 1] != 2)
        xo_buf_char(&s->properties, 2);
    if (value)
        xo_buf_printf(&s->properties, "%s\001%s\002", name, value);
}

void spec_of(spec *s, const stored *x)
{
    const xo_record *r = &x->r;
    memset(s, 0, sizeof *s);
    MQ_MUST(r->ntopic < sizeof s->topic && r->nborn == sizeof s->born);
    memcpy(s->topic, r->topic, r->ntopic);
    xo_buf_add(&s->body, r->body, r->body_len);
    s->queue = r->queue;
    s->flag = r->flag;
    s->sys_flag = r->sys_flag;
    s->reconsume = r->reconsume;
    s->born_time = r->born_time;
    s->prepared = r->prepared_offset;
    memcpy(s->born, r->born_host, sizeof s->born);
    const char *p = r->properties, *end = p + r->nproperties;
    while (p < end) {
        const char *stop = memchr(p, 2, (size_t)(end - p));
        if (!stop)
            stop = end;
        const char *sep = memchr(p, 1, (size_t)(stop - p));
        if (sep) {
            char *name = xo_memdup0(p, (size_t)(sep - p)), *value = xo_memdup0(sep + 1, (size_t)(stop - sep - 1));
            MQ_MUST(name && value);
            spec_set(s, name, value);
            free(name);
            free(value);
        }
        p = stop + (stop < end);
    }
}

void log_usual(mq *m, spec *s)
{
    char *had;
    if (s->bare)
        return;
    spec_set(s, "MSG_REGION", "DefaultRegion");
    spec_set(s, "TRACE_ON", "true");
    spec_set(s, "CLUSTER", "DefaultCluster");
    if (!(had = spec_get(s, "UNIQ_KEY")) && !m->version_4) {
        char made[40];
        snprintf(made, sizeof made, "7F0000010001BB%018X", ++m->uniq);
        spec_set(s, "UNIQ_KEY", made);
    }
    free(had);
}

/* ---- the log ---- */

stored *log_append(mq *m, broker *k, spec *s)
{
    static const unsigned char host[4] = {127, 0, 0, 1};
    topic *t = log_topic(k, s->topic);
    MQ_MUST(t && s->queue >= 0 && s->queue < t->n);
    queue *q = &t->queues[s->queue];
    int64_t now = s->store_time ? s->store_time : xo_now_ms();
    if (!s->store_time && now < k->last_store)
        now = k->last_store;
    k->last_store = now;
    xo_record r = {.magic = 0xDAA320A7u,
                   .queue = s->queue,
                   .flag = s->flag,
                   .sys_flag = s->sys_flag,
                   .reconsume = s->reconsume,
                   .queue_offset = (int64_t)q->n,
                   .log_offset = k->log_end,
                   .born_time = s->born_time ? s->born_time : now,
                   .store_time = now,
                   .prepared_offset = s->prepared,
                   .nborn = 8,
                   .nstore = 8};
    if (strlen(s->topic) > 127)
        r.magic = 0xDAA320ABu;
    r.crc = (uint32_t)(crc32(0, (const Bytef *)(s->body.p ? s->body.p : ""), (uInt)s->body.len) & 0x7fffffffu);
    memcpy(r.born_host, s->born, 8);
    memcpy(r.store_host, host, 4);
    r.store_host[6] = (unsigned char)(k->port >> 8);
    r.store_host[7] = (unsigned char)k->port;
    r.body = s->body.p ? s->body.p : "";
    r.body_len = s->body.len;
    r.topic = s->topic;
    r.ntopic = strlen(s->topic);
    r.properties = s->properties.p ? s->properties.p : "";
    r.nproperties = s->properties.len;
    xo_buf b = {0};
    xo_record_encode(&r, &b);
    MQ_MUST(!b.failed && b.len > 0);
    stored *x = xo_calloc(1, sizeof *x);
    MQ_MUST(x);
    x->n = b.len;
    MQ_MUST(x->bytes = xo_buf_take(&b));
    size_t at = 0;
    int more = 0;
    MQ_MUST(!xo_record_next(x->bytes, x->n, &at, &x->r, &more) && more && at == x->n);
    mq_grow(&k->log, &k->cap_log, k->nlog, sizeof *k->log);
    k->log[k->nlog++] = x;
    for (int i = 0; i < (s->members > 1 ? s->members : 1); i++) {
        mq_grow(&q->at, &q->cap, q->n, sizeof *q->at);
        q->at[q->n++] = x;
    }
    k->log_end += (int64_t)x->n;
    int id = s->queue;
    spec_free(s);
    mq_arrived(m, k, t->name, id);
    return x;
}

void log_later(mq *m, broker *k, spec *s, int64_t ms)
{
    mq_grow(&k->later, &k->cap_later, k->nlater, sizeof *k->later);
    k->later[k->nlater++] = (delayed){xo_mono_ms() + ms / m->divisor, *s};
}

void log_delay(mq *m, broker *k, spec *s, int level)
{
    static const int seconds[] = {1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200};
    char number[16];
    if (level > 18)
        level = 18;
    snprintf(number, sizeof number, "%d", level);
    spec_set(s, "DELAY", number);
    spec_set(s, "REAL_TOPIC", s->topic);
    snprintf(number, sizeof number, "%d", s->queue);
    spec_set(s, "REAL_QID", number);
    log_later(m, k, s, (int64_t)seconds[level - 1] * 1000);
}

int64_t log_run(mq *m, broker *k)
{
    int64_t next = INT64_MAX, now = xo_mono_ms();
    for (size_t i = 0; i < k->nlater;) {
        if (k->later[i].due > now) {
            if (k->later[i].due < next)
                next = k->later[i].due;
            i++;
            continue;
        }
        spec s = k->later[i].s;
        memmove(&k->later[i], &k->later[i + 1], (--k->nlater - i) * sizeof *k->later);
        log_append(m, k, &s);
    }
    return next;
}

void log_cut(broker *k, int messages)
{
    for (; messages > 0 && k->nlog > 0; messages--) {
        stored *x = k->log[--k->nlog];
        for (size_t i = 0; i < k->ntopics; i++)
            for (int j = 0; j < k->topics[i]->n; j++) {
                queue *q = &k->topics[i]->queues[j];
                while (q->n && q->at[q->n - 1] == x)
                    q->n--;
                if (q->min > (int64_t)q->n)
                    q->min = (int64_t)q->n;
            }
        k->log_end = x->r.log_offset;
        free(x->bytes);
        free(x);
    }
}

void log_free(broker *k)
{
    for (size_t i = 0; i < k->nlog; i++) {
        free(k->log[i]->bytes);
        free(k->log[i]);
    }
    for (size_t i = 0; i < k->ntopics; i++) {
        for (int j = 0; j < k->topics[i]->n; j++)
            free(k->topics[i]->queues[j].at);
        free(k->topics[i]->queues);
        free(k->topics[i]);
    }
    for (size_t i = 0; i < k->nlater; i++)
        spec_free(&k->later[i].s);
    free(k->log);
    free(k->topics);
    free(k->later);
    free(k->halves);
}

int64_t log_search(const queue *q, int64_t time, int upper)
{
    int64_t n = (int64_t)q->n, found = upper ? q->min : n;
    for (int64_t i = n - 1; i >= q->min; i--) {
        int64_t t = q->at[i]->r.store_time;
        if (!upper && t >= time)
            found = i;
        if (upper && t <= time)
            return i;
    }
    return found;
}

/* ---- what tests ask for ---- */

int64_t mq_store(mq *m, int b, const mq_message *x)
{
    pthread_mutex_lock(&m->lock);
    broker *k = mq_broker(m, b);
    int port = x->born_port ? x->born_port : 4711;
    spec s = {.queue = x->queue,
              .sys_flag = x->sys_flag,
              .reconsume = x->reconsume,
              .born_time = x->born_time,
              .store_time = x->store_time,
              .bare = x->bare,
              .members = x->members,
              .born = {127, 0, 0, 1, 0, 0, (unsigned char)(port >> 8), (unsigned char)port}};
    mq_copy(s.topic, sizeof s.topic, x->topic);
    if (x->uniq)
        xo_buf_printf(&s.properties, "UNIQ_KEY\001%s\002", x->uniq);
    if (x->tags)
        xo_buf_printf(&s.properties, "TAGS\001%s\002", x->tags);
    if (x->keys)
        xo_buf_printf(&s.properties, "KEYS\001%s\002", x->keys);
    if (x->properties)
        xo_buf_str(&s.properties, x->properties);
    log_usual(m, &s);
    if (x->uniq2)
        xo_buf_printf(&s.properties, "UNIQ_KEY\001%s\002", x->uniq2);
    xo_buf_add(&s.body, x->body, x->body_len);
    int64_t at = log_append(m, k, &s)->r.queue_offset;
    mq_wake(m);
    pthread_mutex_unlock(&m->lock);
    return at;
}

int64_t mq_put(mq *m, int b, const char *name, int id, const char *tags, const char *uniq, const char *body)
{
    return mq_store(m, b, &(mq_message){.topic = name, .queue = id, .tags = tags, .uniq = uniq, .body = body, .body_len = strlen(body)});
}

static stored *find_stored(mq *m, int b, const char *name, int id, int64_t offset)
{
    queue *q = log_queue(mq_broker(m, b), name, id);
    return q && offset >= 0 && offset < (int64_t)q->n ? q->at[offset] : NULL;
}

void mq_corrupt(mq *m, int b, const char *name, int id, int64_t offset)
{
    pthread_mutex_lock(&m->lock);
    stored *x = find_stored(m, b, name, id, offset);
    MQ_MUST(x && x->r.body_len > 0);
    x->bytes[(const char *)x->r.body - x->bytes] ^= 0x20;
    pthread_mutex_unlock(&m->lock);
}

void mq_trim(mq *m, int b, const char *name, int id, int64_t min)
{
    pthread_mutex_lock(&m->lock);
    queue *q = log_queue(mq_broker(m, b), name, id);
    MQ_MUST(q && min <= (int64_t)q->n);
    for (int64_t i = 0; i < min; i++)
        q->at[i]->gone = 1;
    q->min = min;
    pthread_mutex_unlock(&m->lock);
}

void mq_expire(mq *m, int b, int64_t log_offset)
{
    pthread_mutex_lock(&m->lock);
    stored *x = log_at(mq_broker(m, b), log_offset);
    MQ_MUST(x);
    x->gone = 1;
    pthread_mutex_unlock(&m->lock);
}

size_t mq_record(mq *m, int b, const char *name, int id, int64_t offset, char **bytes)
{
    pthread_mutex_lock(&m->lock);
    stored *x = find_stored(m, b, name, id, offset);
    size_t n = x ? x->n : 0;
    *bytes = x ? xo_memdup0(x->bytes, n) : NULL;
    pthread_mutex_unlock(&m->lock);
    return n;
}

int64_t mq_log_offset(mq *m, int b, const char *name, int id, int64_t offset)
{
    pthread_mutex_lock(&m->lock);
    stored *x = find_stored(m, b, name, id, offset);
    int64_t v = x ? x->r.log_offset : -1;
    pthread_mutex_unlock(&m->lock);
    return v;
}

int64_t mq_store_time(mq *m, int b, const char *name, int id, int64_t offset)
{
    pthread_mutex_lock(&m->lock);
    stored *x = find_stored(m, b, name, id, offset);
    int64_t v = x ? x->r.store_time : -1;
    pthread_mutex_unlock(&m->lock);
    return v;
}

int64_t mq_max(mq *m, int b, const char *name, int id)
{
    pthread_mutex_lock(&m->lock);
    queue *q = log_queue(mq_broker(m, b), name, id);
    int64_t v = q ? (int64_t)q->n : 0;
    pthread_mutex_unlock(&m->lock);
    return v;
}

int64_t mq_min(mq *m, int b, const char *name, int id)
{
    pthread_mutex_lock(&m->lock);
    queue *q = log_queue(mq_broker(m, b), name, id);
    int64_t v = q ? q->min : 0;
    pthread_mutex_unlock(&m->lock);
    return v;
}

size_t mq_delayed(mq *m, int b)
{
    pthread_mutex_lock(&m->lock);
    size_t n = mq_broker(m, b)->nlater;
    pthread_mutex_unlock(&m->lock);
    return n;
}

size_t mq_halves(mq *m, int b)
{
    pthread_mutex_lock(&m->lock);
    broker *k = mq_broker(m, b);
    size_t n = 0;
    for (size_t i = 0; i < k->nhalves; i++)
        n += !k->halves[i].done;
    pthread_mutex_unlock(&m->lock);
    return n;
}
