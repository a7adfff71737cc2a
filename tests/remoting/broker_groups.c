/* The in-process RocketMQ cluster: who is in which group, with which subscription, offsets and locks. */
#include "base/clock.h"
#include "remoting/cluster.h"
#include "tests/remoting/broker_inside.h"
#include <stdlib.h>
#include <string.h>

group *group_find(broker *k, const char *name, int producer, int make)
{
    for (size_t i = 0; i < k->ngroups; i++)
        if (k->groups[i]->producer == producer && !strcmp(k->groups[i]->name, name))
            return k->groups[i];
    if (!make)
        return NULL;
    mq_grow(&k->groups, &k->cap_groups, k->ngroups, sizeof *k->groups);
    group *g = xo_calloc(1, sizeof *g);
    MQ_MUST(g);
    mq_copy(g->name, sizeof g->name, name);
    g->producer = producer;
    return k->groups[k->ngroups++] = g;
}

member *group_has(group *g, const char *client)
{
    for (size_t i = 0; i < g->n; i++)
        if (!strcmp(g->members[i].client, client))
            return &g->members[i];
    return NULL;
}

void sub_free(subscription *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->tags[i]);
    free(s->tags);
    free(s->codes);
    free(s->text);
}

void sub_parse(subscription *s, const char *text)
{
    MQ_MUST(s->text = xo_strdup(text));
    size_t cap_codes = 0, cap_tags = 0;
    for (const char *p = strcmp(text, "*") && *text ? text : NULL; p;) {
        const char *end = strstr(p, "||");
        size_t n = end ? (size_t)(end - p) : strlen(p);
        while (n && *p == ' ')
            p++, n--;
        while (n && p[n - 1] == ' ')
            n--;
        mq_grow(&s->codes, &cap_codes, s->n, sizeof *s->codes);
        mq_grow(&s->tags, &cap_tags, s->n, sizeof *s->tags);
        MQ_MUST(s->tags[s->n] = xo_memdup0(p, n));
        s->codes[s->n] = xo_java_hash(s->tags[s->n]);
        s->n++;
        p = end ? end + 2 : NULL;
    }
}

/* The newest version of a subscription counts; it is what the group has. */
void group_subscribe(group *g, const char *topic_name, const char *text, int64_t version)
{
    subscription *s = NULL;
    for (size_t i = 0; i < g->nsubs; i++)
        if (!strcmp(g->subs[i].topic, topic_name))
            s = &g->subs[i];
    if (s && s->version >= version)
        return;
    if (!s) {
        mq_grow(&g->subs, &g->cap_subs, g->nsubs, sizeof *g->subs);
        s = &g->subs[g->nsubs++];
    } else {
        sub_free(s);
    }
    memset(s, 0, sizeof *s);
    mq_copy(s->topic, sizeof s->topic, topic_name);
    s->version = version;
    sub_parse(s, text);
}

void group_notify(mq *m, group *g)
{
    for (size_t i = 0; i < g->n; i++) {
        conn *c = g->members[i].conn ? mq_conn_of(m, g->members[i].conn) : NULL;
        if (!c || g->producer)
            continue;
        xo_command x;
        xo_command_init(&x, XO_RMQ_CONSUMERS_CHANGED);
        x.flag = XO_FLAG_ONEWAY;
        x.opaque = ++m->last_opaque;
        xo_command_set(&x, "consumerGroup", g->name);
        mq_send(m, c, &x);
    }
}

static void group_free(group *g)
{
    for (size_t i = 0; i < g->nsubs; i++)
        sub_free(&g->subs[i]);
    free(g->subs);
    free(g->members);
    free(g);
}

void group_leave(mq *m, broker *k, group *g, size_t i)
{
    memmove(&g->members[i], &g->members[i + 1], (--g->n - i) * sizeof *g->members);
    group_notify(m, g);
    if (g->n)
        return;
    for (size_t j = 0; j < k->ngroups; j++)
        if (k->groups[j] == g) {
            k->groups[j] = k->groups[--k->ngroups];
            break;
        }
    group_free(g);
}

void group_forget(mq *m, broker *k, int conn_id)
{
    if (!conn_id) {
        while (k->ngroups)
            group_free(k->groups[--k->ngroups]);
        k->nlocks = 0;
        return;
    }
    for (size_t i = k->ngroups; i-- > 0;) {
        group *g = k->groups[i];
        for (size_t j = g->n, last = 0; j-- > 0 && !last;)
            if (g->members[j].conn == conn_id) {
                last = g->n == 1;
                group_leave(m, k, g, j);
            }
    }
}

commit *commit_find(broker *k, const char *group_name, const char *topic_name, int id, int make)
{
    for (size_t i = 0; i < k->ncommits; i++)
        if (k->commits[i].queue == id && !strcmp(k->commits[i].group, group_name) && !strcmp(k->commits[i].topic, topic_name))
            return &k->commits[i];
    if (!make)
        return NULL;
    mq_grow(&k->commits, &k->cap_commits, k->ncommits, sizeof *k->commits);
    commit *c = &k->commits[k->ncommits++];
    *c = (commit){.queue = id, .offset = -1, .reset = -1};
    mq_copy(c->group, sizeof c->group, group_name);
    mq_copy(c->topic, sizeof c->topic, topic_name);
    return c;
}

lock *lock_find(broker *k, const char *group_name, const char *topic_name, int id)
{
    for (size_t i = 0; i < k->nlocks; i++)
        if (k->locks[i].queue == id && !strcmp(k->locks[i].group, group_name) && !strcmp(k->locks[i].topic, topic_name))
            return &k->locks[i];
    return NULL;
}

/* ---- what tests ask for ---- */

int64_t mq_committed(mq *m, int b, const char *group_name, const char *topic_name, int id)
{
    pthread_mutex_lock(&m->lock);
    commit *c = commit_find(mq_broker(m, b), group_name, topic_name, id, 0);
    int64_t v = c ? c->offset : -1;
    pthread_mutex_unlock(&m->lock);
    return v;
}

void mq_commit(mq *m, int b, const char *group_name, const char *topic_name, int id, int64_t offset)
{
    pthread_mutex_lock(&m->lock);
    commit_find(mq_broker(m, b), group_name, topic_name, id, 1)->offset = offset;
    pthread_mutex_unlock(&m->lock);
}

void mq_forget_commits(mq *m, int b)
{
    pthread_mutex_lock(&m->lock);
    mq_broker(m, b)->ncommits = mq_broker(m, b)->nflushed = 0;
    pthread_mutex_unlock(&m->lock);
}

void mq_flush_commits(mq *m, int b)
{
    pthread_mutex_lock(&m->lock);
    broker *k = mq_broker(m, b);
    free(k->flushed);
    k->flushed = k->ncommits ? xo_calloc(k->ncommits, sizeof *k->flushed) : NULL;
    if ((k->nflushed = k->ncommits)) {
        MQ_MUST(k->flushed);
        memcpy(k->flushed, k->commits, k->ncommits * sizeof *k->flushed);
    }
    pthread_mutex_unlock(&m->lock);
}

static int count_members(mq *m, int b, const char *name, int producer)
{
    pthread_mutex_lock(&m->lock);
    group *g = group_find(mq_broker(m, b), name, producer, 0);
    int n = g ? (int)g->n : 0;
    pthread_mutex_unlock(&m->lock);
    return n;
}

int mq_members(mq *m, int b, const char *name)
{
    return count_members(m, b, name, 0);
}

int mq_producers(mq *m, int b, const char *name)
{
    return count_members(m, b, name, 1);
}

int mq_client_id(mq *m, int b, const char *name, int n, char *out, size_t size)
{
    pthread_mutex_lock(&m->lock);
    group *g = group_find(mq_broker(m, b), name, 0, 0);
    int there = g && n >= 0 && (size_t)n < g->n;
    if (there)
        mq_copy(out, size, g->members[n].client);
    pthread_mutex_unlock(&m->lock);
    return there;
}

static void join(mq *m, broker *k, const char *name, const char *client, const char *topic_name, const char *tags)
{
    group *g = group_find(k, name, 0, 1);
    if (!g->type[0])
        mq_copy(g->type, sizeof g->type, "CONSUME_PASSIVELY");
    if (!g->model[0])
        mq_copy(g->model, sizeof g->model, "CLUSTERING");
    if (!g->from[0])
        mq_copy(g->from, sizeof g->from, "CONSUME_FROM_LAST_OFFSET");
    if (!group_has(g, client)) {
        mq_grow(&g->members, &g->cap, g->n, sizeof *g->members);
        g->members[g->n] = (member){.language = XO_LANGUAGE_JAVA, .version = 479};
        mq_copy(g->members[g->n].client, sizeof g->members[g->n].client, client);
        g->n++;
    }
    if (tags)
        group_subscribe(g, topic_name, tags, xo_now_ms() + 60000);
    group_notify(m, g);
}

void mq_join(mq *m, int b, const char *name, const char *client, const char *topic_name, const char *tags)
{
    pthread_mutex_lock(&m->lock);
    for (int i = 0; i < m->nb; i++)
        if (b == MQ_ALL || b == i)
            join(m, &m->b[i], name, client, topic_name, tags);
    mq_wake(m);
    pthread_mutex_unlock(&m->lock);
}

void mq_leave(mq *m, int b, const char *name, const char *client)
{
    pthread_mutex_lock(&m->lock);
    for (int i = 0; i < m->nb; i++) {
        group *g = b == MQ_ALL || b == i ? group_find(&m->b[i], name, 0, 0) : NULL;
        member *x = g ? group_has(g, client) : NULL;
        if (x)
            group_leave(m, &m->b[i], g, (size_t)(x - g->members));
    }
    mq_wake(m);
    pthread_mutex_unlock(&m->lock);
}

void mq_subscription(mq *m, int b, const char *name, const char *topic_name, const char *tags)
{
    pthread_mutex_lock(&m->lock);
    for (int i = 0; i < m->nb; i++)
        if (b == MQ_ALL || b == i)
            group_subscribe(group_find(&m->b[i], name, 0, 1), topic_name, tags, (INT64_C(1) << 60) + ++m->last_version);
    pthread_mutex_unlock(&m->lock);
}

int mq_lock_owner(mq *m, int b, const char *name, const char *topic_name, int id, char *out, size_t size)
{
    pthread_mutex_lock(&m->lock);
    lock *l = lock_find(mq_broker(m, b), name, topic_name, id);
    int locked = l && l->until > xo_mono_ms();
    if (locked)
        mq_copy(out, size, l->client);
    pthread_mutex_unlock(&m->lock);
    return locked;
}

void mq_lock(mq *m, int b, const char *name, const char *topic_name, int id, const char *client)
{
    pthread_mutex_lock(&m->lock);
    broker *k = mq_broker(m, b);
    lock *l = lock_find(k, name, topic_name, id);
    if (!client) {
        if (l)
            *l = k->locks[--k->nlocks];
    } else {
        if (!l) {
            mq_grow(&k->locks, &k->cap_locks, k->nlocks, sizeof *k->locks);
            l = &k->locks[k->nlocks++];
            memset(l, 0, sizeof *l);
            mq_copy(l->group, sizeof l->group, name);
            mq_copy(l->topic, sizeof l->topic, topic_name);
            l->queue = id;
        }
        mq_copy(l->client, sizeof l->client, client);
        l->until = xo_mono_ms() + 60000;
    }
    pthread_mutex_unlock(&m->lock);
}

void mq_reset_5(mq *m, int b, const char *name, const char *topic_name, int id, int64_t offset)
{
    pthread_mutex_lock(&m->lock);
    commit *c = commit_find(mq_broker(m, b), name, topic_name, id, 1);
    c->offset = c->reset = offset;
    pthread_mutex_unlock(&m->lock);
}
