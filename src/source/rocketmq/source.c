/* The RocketMQ source as the consumer sees it: open, subscribe, poll, settle, stop. */
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "source/rocketmq/data.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPORT_EVERY_MS = 1000, END_MS = 2000 };

/* ---- shared with the other files ---- */

static void list_init(xo_rmq_list *l)
{
    *l = (xo_rmq_list){.last = NULL};
    l->last = &l->first;
}

static void list_append(xo_rmq_list *l, xonce_message *m)
{
    m->next = NULL;
    *l->last = m;
    l->last = &m->next;
    l->n++;
}

xo_rmq_queue *xo_rmq_find(xo_rocketmq *s, uint64_t mark)
{
    xo_rmq_queue *q = s->queues;
    while (q && q->mark != mark) {
        q = q->next;
    }
    return q;
}

/* Bytes that come into memory with m, the first of its pack that is counted, or go with the last. */
static size_t weight(const xonce_message *m, int alone)
{
    size_t own = m->own_body || !m->pack ? m->body_len : 0;
    return own + (m->pack && alone ? m->pack->size : 0);
}

void xo_rmq_count(xo_rocketmq *s, xo_rmq_queue *q, const xonce_message *m)
{
    size_t bytes = weight(m, m->pack && m->pack->held++ == 0);
    q->held++;
    q->bytes += bytes;
    s->held++;
    s->bytes += bytes;
}

/* Under the lock. All of xo_rmq_release but freeing it, which takes longest. */
static void uncount(xo_rocketmq *s, const xonce_message *m, int settled)
{
    xo_rmq_queue *q = xo_rmq_find(s, m->mark);
    size_t bytes = weight(m, m->pack && --m->pack->held == 0);
    if (q) {
        q->held--;
        q->bytes -= bytes;
        if (settled) {
            (void)xo_track_settle(&q->track, m->copy_offset >= 0 ? m->copy_offset : m->offset);
            q->durable = m->claim_epoch >= 0 && m->offset >= q->durable ? m->offset + 1 : q->durable;
            if (xo_offset_reopens(q)) {
                pthread_cond_signal(&s->work);
            }
        }
    }
    s->held--;
    s->bytes -= bytes;
    if (!s->held || (q && q->state == XO_Q_LEAVING && !q->held)) {
        pthread_cond_broadcast(&s->settled);
    }
}

void xo_rmq_release(xo_rocketmq *s, xonce_message *m, int settled)
{
    uncount(s, m, settled);
    xonce_message_free(m);
}

void xo_rmq_hand_over(xo_rocketmq *s, xo_rmq_list *l)
{
    const xo_rmq_queue *q = NULL;
    size_t n = 0;
    for (xonce_message *m = l->first, *next; m; m = next) {
        next = m->next;
        if (!q || q->mark != m->mark) {
            q = xo_rmq_find(s, m->mark);
        }
        if (!q || q->state == XO_Q_LEAVING || s->stopping) {
            xo_rmq_release(s, m, 0);
        } else {
            list_append(&s->buffer, m);
            n++;
        }
    }
    list_init(l);
    if (n) {
        pthread_cond_signal(&s->ready);
    }
}

void xo_rmq_drop(xo_rocketmq *s, uint64_t mark)
{
    xo_rmq_list keep, all = s->buffer;
    list_init(&keep);
    for (xonce_message *m = all.first, *next; m; m = next) {
        next = m->next;
        if (m->mark == mark) {
            xo_rmq_release(s, m, 0);
        } else {
            list_append(&keep, m);
        }
    }
    list_init(&s->buffer);
    if (keep.first) {
        s->buffer = keep;
    }
    for (size_t i = 0; i < s->nlater;) {
        if (s->later[i].m->mark == mark) {
            xo_rmq_release(s, s->later[i].m, 0);
            s->later[i] = s->later[--s->nlater];
        } else {
            i++;
        }
    }
}

void xo_rmq_transient(xo_rocketmq *s)
{
    xo_error_save(&s->transient);
    s->ntransient++;
    pthread_cond_signal(&s->ready);
}

void xo_rmq_permanent(xo_rocketmq *s)
{
    if (!s->failed) {
        s->failed = 1;
        xo_error_save(&s->permanent);
        s->permanent.pub.again = 0;
    }
    pthread_cond_broadcast(&s->ready);
}

/* ---- subscriptions ---- */

static xonce_status check_name(const char *what, const char *name, size_t max)
{
    size_t n = strlen(name);
    if (n == 0 || n > max || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-%|") != n) {
        return xo_fail(XONCE_E_INVALID, "%s \"%.200s\": brokers take 1 to %zu letters, digits, _ - %% |", what, name, max);
    }
    return XONCE_OK;
}

static xonce_status set_group(xo_rocketmq *s, const char *group)
{
    if (s->group) {
        return strcmp(s->group, group) ? xo_fail(XONCE_E_INVALID, "one source serves one group: %.100s is not %.100s", group, s->group) : XONCE_OK;
    }
    xonce_status st = check_name("group", group, 120);
    if (st != XONCE_OK) {
        return st;
    }
    char *name = xo_strdup(group), *wire = xo_cluster_wrap(s->cluster, group), *retry = wire ? xo_printf("%%RETRY%%%s", wire) : NULL;
    if (!name || !wire || !retry) {
        free(name);
        free(wire);
        free(retry);
        return xo_nomem();
    }
    s->group = name;
    s->wire_group = wire;
    s->retry_wire = retry;
    return XONCE_OK;
}

static void free_sub(xo_rmq_sub *sub)
{
    free(sub->topic);
    free(sub->wire);
    xo_filter_free(&sub->filter);
}

static xonce_status subscribe(xonce_source *base, const char *group, const char *topic, const char *tags, int ordered)
{
    xo_rocketmq *s = (xo_rocketmq *)base;
    if (s->started) {
        return xo_fail(XONCE_E_INVALID, "subscribe to %.100s before the source is started", topic);
    }
    for (size_t i = 0; i < s->nsubs; i++) {
        if (!strcmp(s->subs[i].topic, topic)) {
            return xo_fail(XONCE_E_INVALID, "topic %.100s is subscribed already", topic);
        }
    }
    xonce_status st = check_name("topic", topic, 127);
    st = st == XONCE_OK ? set_group(s, group) : st;
    xo_rmq_sub sub = {.ordered = ordered, .version = xo_now_ms(), .routed = -1};
    st = st == XONCE_OK ? xo_filter_parse(&sub.filter, tags) : st;
    if (st != XONCE_OK) {
        return st;
    }
    xo_rmq_sub *grown = realloc(s->subs, (s->nsubs + 1) * sizeof(*grown));
    if (grown) {
        s->subs = grown;
    }
    sub.topic = xo_strdup(topic);
    sub.wire = xo_cluster_wrap(s->cluster, topic);
    if (!grown || !sub.topic || !sub.wire) {
        free_sub(&sub);
        return xo_nomem();
    }
    s->subs[s->nsubs++] = sub;
    return XONCE_OK;
}

static xonce_status by_offset(xonce_source *base, const char *topic)
{
    xo_rocketmq *s = (xo_rocketmq *)base;
    if (s->started || s->many_stores) {
        return xo_fail(XONCE_E_INVALID, s->started ? "topic %.100s is claimed by offset from the source's start on, or not at all"
                                                   : "topic %.100s cannot be claimed by offset with stores=many: no other database knows how far this one is", topic);
    }
    for (size_t i = 0; i < s->nsubs; i++) {
        if (!strcmp(s->subs[i].topic, topic)) {
            s->subs[i].by_offset = 1;
            return XONCE_OK;
        }
    }
    return xo_fail(XONCE_E_NOT_FOUND, "topic %.100s is not subscribed", topic);
}

static void positions(xonce_source *base, const xo_position_ops *ops, void *self)
{
    xo_rocketmq *s = (xo_rocketmq *)base;
    s->positions = ops;
    s->positions_self = self;
}

/* ---- start, stop ---- */

static xonce_status start_thread(xo_rocketmq *s)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the application's signals are for its own threads */
    int rc = pthread_create(&s->service, NULL, xo_rmq_service_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc ? xo_fail(XONCE_E_NOMEM, "cannot start the source's thread: %s", strerror(rc)) : XONCE_OK;
}

static xonce_status start(xonce_source *base)
{
    xo_rocketmq *s = (xo_rocketmq *)base;
    char store[9] = "", suffix[32] = "", claims[XO_MARK_SIZE];
    if (s->started) {
        return XONCE_OK;
    }
    if (!s->nsubs) {
        return xo_fail(XONCE_E_INVALID, "nothing is subscribed");
    }
    xo_members_mark(s, claims);
    if (claims[0] && !s->positions) {
        return xo_fail(XONCE_E_INVALID, "claims by offset need a database for the positions");
    }
    xonce_status st = s->positions ? s->positions->store_id(s->positions_self, store) : XONCE_OK;
    if (st != XONCE_OK) {
        return st;
    }
    if (s->positions) { /* without a database of its own a member looks like any other client, and the broker's position counts */
        (void)snprintf(suffix, sizeof(suffix), "xonce-%s%s", store, claims);
    }
    st = xo_make_client_id(s->client_id, sizeof(s->client_id), s->instance_name, suffix[0] ? suffix : NULL);
    if (st != XONCE_OK) {
        return st;
    }
    s->started_at = xo_now_ms();
    s->started = 1;
    st = start_thread(s);
    if (st != XONCE_OK) {
        s->started = 0;
    }
    return st;
}

/* Under the lock. What waits here is dropped unsettled: whoever reads the queue next gets it. */
static void drop_all(xo_rocketmq *s)
{
    xonce_message *m = s->buffer.first;
    list_init(&s->buffer);
    for (xonce_message *next; m; m = next) {
        next = m->next;
        xo_rmq_release(s, m, 0);
    }
    while (s->nlater) {
        xo_rmq_release(s, s->later[--s->nlater].m, 0);
    }
}

static xonce_status stop(xonce_source *base, int64_t timeout_ms)
{
    xo_rocketmq *s = (xo_rocketmq *)base;
    int64_t deadline = xo_mono_ms() + timeout_ms;
    pthread_mutex_lock(&s->lock);
    s->stopping = s->woken = 1;
    drop_all(s);
    pthread_cond_broadcast(&s->ready);
    pthread_cond_signal(&s->work);
    if (timeout_ms == 0 || !s->started) {
        pthread_mutex_unlock(&s->lock);
        return XONCE_OK;
    }
    int late = 0;
    while (s->held && !late) {
        late = xo_cond_wait_ms(&s->settled, &s->lock, deadline) != 0;
    }
    size_t left = s->held;
    s->quit = 1;
    pthread_cond_signal(&s->work);
    pthread_cond_broadcast(&s->settled); /* the service thread may wait there */
    int64_t least = xo_mono_ms() + 2 * s->timeout + END_MS; /* for the last positions and to say good-bye */
    deadline = least > deadline ? least : deadline;
    for (late = 0; !s->ended && !late;) {
        late = xo_cond_wait_ms(&s->settled, &s->lock, deadline) != 0;
    }
    int ended = s->ended;
    pthread_mutex_unlock(&s->lock);
    if (left) {
        return xo_fail(XONCE_E_TIMEOUT, "%zu messages were not settled in time: they come again and are found duplicates", left);
    }
    return ended ? XONCE_OK : xo_fail(XONCE_E_TIMEOUT, "positions could not be written in time: what was settled last comes again and is found a duplicate");
}

static void free_queues(xo_rocketmq *s)
{
    for (xo_rmq_queue *q = s->queues, *next; q; q = next) {
        next = q->next;
        xo_track_free(&q->track);
        xo_ranges_free(q->rows, q->nrows);
        free(q->topic);
        free(q->wire);
        free(q->broker);
        free(q);
    }
}

static void close_source(xonce_source *base)
{
    xo_rocketmq *s = (xo_rocketmq *)base;
    if (!s) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    s->quit = s->stopping = 1;
    pthread_cond_signal(&s->work);
    pthread_cond_broadcast(&s->settled);
    pthread_mutex_unlock(&s->lock);
    if (s->started) {
        pthread_join(s->service, NULL);
    }
    xo_trace_close(s->trace);
    if (s->cluster) {
        xo_cluster_close(s->cluster); /* the last answers come in here */
    }
    pthread_mutex_lock(&s->lock);
    drop_all(s);
    pthread_mutex_unlock(&s->lock);
    free_queues(s);
    for (size_t i = 0; i < s->nsubs; i++) {
        free_sub(&s->subs[i]);
    }
    for (size_t i = 0; i < s->nmasters; i++) {
        free(s->masters[i].name);
        free(s->masters[i].address);
    }
    free(s->masters);
    free(s->subs);
    free(s->later);
    free(s->group);
    free(s->wire_group);
    free(s->retry_wire);
    free(s->instance_name);
    pthread_cond_destroy(&s->ready);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->settled);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- poll ---- */

/* Under the lock: 1 when an error is to be returned now. */
static int error_due(xo_rocketmq *s, int64_t now, xo_error *e, uint64_t *failures)
{
    *failures = 0;
    if (s->failed) {
        *e = s->permanent;
        return 1;
    }
    if (s->stopping || s->buffer.n || now < s->reported_at + REPORT_EVERY_MS) {
        return 0;
    }
    if (s->ntransient) {
        *e = s->transient;
        *failures = s->ntransient;
        s->ntransient = 0;
    } else if (s->routes == 0 && s->route_error.pub.code != XONCE_OK) {
        *e = s->route_error;
    } else {
        return 0;
    }
    e->pub.again = 1;
    s->reported_at = now;
    return 1;
}

/* Under the lock: waits until there is something to return or the deadline. */
static int wait_for(xo_rocketmq *s, int64_t deadline, xo_error *e, uint64_t *failures)
{
    for (;;) {
        int64_t now = xo_mono_ms(), until = deadline;
        if (error_due(s, now, e, failures)) {
            return 1;
        }
        if (s->buffer.n || s->woken || now >= deadline) {
            return 0;
        }
        if (s->ntransient && s->reported_at + REPORT_EVERY_MS < until) {
            until = s->reported_at + REPORT_EVERY_MS;
        }
        xo_cond_wait_ms(&s->ready, &s->lock, until);
    }
}

/* Under the lock: up to max of what is there. */
static void take_buffered(xo_rocketmq *s, size_t max, xo_rmq_list *out)
{
    *out = s->buffer;
    list_init(&s->buffer);
    if (out->n > max) {
        xonce_message *last = out->first;
        for (size_t i = 1; i < max; i++) {
            last = last->next;
        }
        s->buffer = (xo_rmq_list){last->next, out->last, out->n - max};
        last->next = NULL;
    }
}

static xonce_status poll_messages(xonce_source *base, size_t max, int64_t timeout_ms, xonce_message **list)
{
    xo_rocketmq *s = (xo_rocketmq *)base;
    xo_rmq_list out;
    xo_error e;
    uint64_t failures;
    list_init(&out);
    pthread_mutex_lock(&s->lock);
    int error = wait_for(s, xo_mono_ms() + timeout_ms, &e, &failures);
    s->woken = 0;
    if (!error && s->buffer.n) {
        take_buffered(s, max, &out);
    }
    pthread_mutex_unlock(&s->lock);
    xo_rmq_trace_handed(s, out.first);
    *list = out.first;
    if (error) {
        xonce_status st = xo_error_restore(&e);
        return failures > 1 ? xo_error_context("%llu requests failed, the last", (unsigned long long)failures) : st;
    }
    return XONCE_OK; /* during a stop nothing comes any more, which is no failure */
}

static void wake(xonce_source *base)
{
    xo_rocketmq *s = (xo_rocketmq *)base;
    pthread_mutex_lock(&s->lock);
    s->woken = 1;
    pthread_cond_broadcast(&s->ready);
    pthread_mutex_unlock(&s->lock);
}

/* ---- settle ---- */

static void ack(xonce_source *base, xonce_message *list)
{
    xo_rocketmq *s = (xo_rocketmq *)base;
    for (const xonce_message *m = list; m && s->dead_letter; m = m->next) {
        if (m->rejected) {
            xo_dead_letter(s, m);
        }
    }
    pthread_mutex_lock(&s->lock);
    for (const xonce_message *m = list; m; m = m->next) {
        s->counts.acked++;
        uncount(s, m, 1);
    }
    int more = !s->stopping;
    pthread_mutex_unlock(&s->lock);
    if (more) {
        xo_pull_go(s);
    }
    for (xonce_message *m = list, *next; m; m = next) {
        next = m->next;
        xo_rmq_trace_settled(s, m, 1);
        xonce_message_free(m);
    }
}

/* Under the lock, which is given up between. m's claim was refused: its queue is another's by now. */
static void give_back_fenced(xo_rocketmq *s, xo_rmq_queue *q, xonce_message *m)
{
    int tell = xo_queue_tell(q);
    xo_offset_fenced(s, q);
    pthread_mutex_unlock(&s->lock);
    if (tell) {
        xo_log(XO_WARN, "rocketmq", XO_FENCED_TEXT, m->queue, m->topic, m->broker);
    }
    pthread_mutex_lock(&s->lock);
    xo_rmq_release(s, m, 0);
}

/* Under the lock. m need not stay in memory, since it is read again when it is wanted. Not where order, or the position itself, would then be another's. */
static int may_be_away(const xo_rocketmq *s, xo_rmq_queue *q, const xonce_message *m)
{
    return q->state == XO_Q_RUNNING && !s->stopping && !q->look_back && m->claim_epoch < 0 && !(q->sub && (q->sub->ordered || q->sub->by_offset)) && q->away < XO_AWAY_MOST &&
           xo_track_put_off(&q->track, m->copy_offset >= 0 ? m->copy_offset : m->offset) == 0;
}

/* An ordered queue keeps its order only when its messages stay here. A copy from the retry topic left its queue long ago. */
static void nack(xonce_source *base, xonce_message *m, int64_t delay_ms)
{
    xo_rocketmq *s = (xo_rocketmq *)base;
    xo_rmq_trace_settled(s, m, 0);
    pthread_mutex_lock(&s->lock);
    xo_rmq_queue *q = xo_rmq_find(s, m->mark);
    int away = 0, back = m->failed && !m->fenced && !m->put_off && q && q->state == XO_Q_RUNNING && !s->stopping && !(q->sub && (q->sub->ordered || q->sub->by_offset));
    if (q && m->fenced) {
        give_back_fenced(s, q, m);
    } else if (q && m->put_off && may_be_away(s, q, m)) {
        q->away++;
        xo_rmq_release(s, m, 0);
        away = 1;
    } else if (q && m->claim_epoch >= 0 && q->state == XO_Q_RUNNING && !s->stopping) {
        xo_offset_given_back(s, q, delay_ms);
        xo_rmq_release(s, m, 0);
    } else if (!back) {
        xo_rmq_later_add(s, m, XO_LATER_DELIVER, xo_mono_ms() + delay_ms);
    }
    pthread_mutex_unlock(&s->lock);
    if (back) {
        xo_send_back(s, m, delay_ms);
    } else if (away) {
        xo_pull_go(s);
    }
}

/* ---- a consumer one of whose databases is down ---- */

static void hold(xonce_source *base, const char *topic, int on)
{
    xo_rocketmq *s = (xo_rocketmq *)base;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->nsubs; i++) {
        if (!strcmp(s->subs[i].topic, topic)) {
            s->subs[i].held = on;
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (!on) {
        xo_pull_go(s);
    }
}

/* A pull that is under way may wait at the broker for long: its answer is not waited for, and what it brings is asked for again. */
static void again(xonce_source *base)
{
    xo_rocketmq *s = (xo_rocketmq *)base;
    pthread_mutex_lock(&s->lock);
    for (xo_rmq_queue *q = s->queues; q; q = q->next) {
        if (q->away && q->state == XO_Q_RUNNING) {
            q->again = xo_track_away(&q->track, 0);
            q->turn++;
            q->pulling = 0;
        }
    }
    pthread_mutex_unlock(&s->lock);
    xo_pull_go(s);
}

/* ---- counts ---- */

static int caught_up(xonce_source *base)
{
    xo_rocketmq *s = (xo_rocketmq *)base;
    pthread_mutex_lock(&s->lock);
    int yes = s->started && s->all_ours && s->queues && !s->held && !s->busy && !s->failed && !s->stopping;
    for (const xo_rmq_queue *q = s->queues; q && yes; q = q->next) {
        yes = q->state == XO_Q_RUNNING && q->empty && !q->away && !q->look_back && q->seek < 0 && q->reopen < 0;
    }
    for (xo_rmq_queue *q = s->queues; q && yes; q = q->next) {
        q->empty = 0;
    }
    pthread_mutex_unlock(&s->lock);
    return yes;
}

static void counts(xonce_source *base, xo_source_counts *out)
{
    xo_rocketmq *s = (xo_rocketmq *)base;
    pthread_mutex_lock(&s->lock);
    *out = s->counts;
    out->buffered = s->buffer.n;
    out->unacked = s->busy;
    out->unhealthy = s->red || s->failed;
    pthread_mutex_unlock(&s->lock);
}

/* ---- open ---- */

static void read_limits(xo_rocketmq *s, const xonce_config *cfg)
{
    s->long_poll = xo_config_int(cfg, "rocketmq.long-poll");
    int64_t idle = xo_config_int(cfg, "exit-when-idle");
    if (idle && !xo_config_is_set(cfg, "rocketmq.long-poll") && idle < 2 * s->long_poll) {
        s->long_poll = (idle + 1) / 2; /* who wants to end soon wants to hear soon that there is nothing */
    }
    s->heartbeat_every = xo_config_int(cfg, "rocketmq.heartbeat-every");
    s->route_every = xo_config_int(cfg, "rocketmq.route-every");
    s->rebalance_every = xo_config_int(cfg, "rocketmq.rebalance-every");
    s->commit_every = xo_config_int(cfg, "rocketmq.commit-every");
    s->look_back_ms = xo_config_int(cfg, "look-back");
    s->handler_timeout = xo_config_int(cfg, "handler.timeout");
    s->pull_batch = xo_config_int(cfg, "rocketmq.pull-batch");
    s->queue_messages = xo_config_int(cfg, "rocketmq.queue-messages");
    s->base.queue_messages = (size_t)s->queue_messages;
    s->queue_bytes = xo_config_int(cfg, "rocketmq.queue-size");
    s->all_messages = xo_config_int(cfg, "buffer.messages");
    s->all_bytes = xo_config_int(cfg, "buffer.size");
    s->start_broker = xo_config_int(cfg, "start") == 1;
    s->many_stores = xo_config_int(cfg, "stores") == 1;
    s->dead_letter = xo_config_int(cfg, "rocketmq.dead-letter") != 0;
    s->attempts = (int)xo_config_int(cfg, "attempts");
}

static xonce_status read_settings(xo_rocketmq *s, const xonce_config *cfg)
{
    if (xo_config_int(cfg, "message-model") == 1) {
        return xo_fail(XONCE_E_INVALID, "message-model=BROADCASTING is refused: a message applied once by each of many members is applied many times; exactly once is per group,"
                                        " so give each member a group of its own instead");
    }
    read_limits(s, cfg);
    s->consume_from = (int)xo_config_int(cfg, "consume-from");
    const char *time = xo_config_text(cfg, "consume-from.time"), *name = xo_config_text(cfg, "rocketmq.instance-name");
    if (s->consume_from == 2 && !time) {
        return xo_fail(XONCE_E_INVALID, "consume-from=timestamp needs consume-from.time, as yyyyMMddHHmmss in UTC");
    }
    if (name && !(s->instance_name = xo_strdup(name))) {
        return xo_nomem();
    }
    if (time && xo_parse_time(time, &s->from_time) != XONCE_OK) {
        return xo_error_context("consume-from.time \"%.40s\"", time);
    }
    return XONCE_OK;
}

static const xo_source_ops ops = {subscribe, start, poll_messages, ack, nack, caught_up, stop, wake, close_source, positions, xo_watermark, by_offset};

xonce_status xo_source_rocketmq_open(xonce_source **out, const char *uri, const xonce_config *cfg)
{
    static const xo_remoting_events events = {.request = xo_rmq_request, .changed = xo_rmq_changed};
    *out = NULL;
    xo_rocketmq *s = xo_calloc(1, sizeof(*s));
    if (!s) {
        return xo_nomem();
    }
    s->base = (xonce_source){.ops = &ops, .kind = "rocketmq", .keep_floor_ms = INT64_C(6) * 3600 * 1000, .counts = counts, .queues = xo_rmq_queues, .hold = hold, .again = again};
    s->reported_at = INT64_MIN / 2;
    s->routes = -1;
    list_init(&s->buffer);
    pthread_mutex_init(&s->lock, NULL);
    xo_cond_init(&s->ready);
    xo_cond_init(&s->work);
    xo_cond_init(&s->settled);
    xonce_status st = read_settings(s, cfg);
    st = st == XONCE_OK ? xo_cluster_open(&s->cluster, uri, cfg, &events, s) : st;
    st = st == XONCE_OK ? xo_trace_open(&s->trace, s->cluster, cfg) : st;
    if (st != XONCE_OK) {
        xo_error why;
        xo_error_save(&why);
        close_source(&s->base);
        return xo_error_restore(&why);
    }
    s->timeout = xo_cluster_timeout(s->cluster);
    *out = &s->base;
    return XONCE_OK;
}
