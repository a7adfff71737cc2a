/* Starting queues: each round takes those that wait, reads their rows, asks their brokers side by side, and lets those run whose answers came. What is
 * decided from the answers is in place.c. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "source/rocketmq/place.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AGAIN_MS = 2000, AGAIN_SLOW_MS = 10000, TAKE_TRIES = 3 };

/* In xo_rmq_queue.look_back: its start is being looked for; what sets it to 1 meanwhile is not lost. */
enum { LOOKING = 2 };
/* In xo_rmq_queue.node of a queue that waits for its start: others had it when it became ours, so the broker's offset counts, also when they are long
   gone before the start succeeds. */
enum { FROM_BROKER = -1 };

const char *xo_queue_tags(const xo_rmq_queue *q)
{
    return q->sub ? q->sub->filter.text : "*";
}

int xo_queue_tell(xo_rmq_queue *q)
{
    int64_t now = xo_mono_ms();
    if (q->told && now - q->told < XO_TELL_EVERY_MS) {
        return 0;
    }
    q->told = now;
    return 1;
}

void xo_offset_request(const xo_rocketmq *s, const xo_rmq_queue *q, int32_t code, xo_command *c)
{
    xo_command_init(c, code);
    if (code == XO_RMQ_QUERY_OFFSET || code == XO_RMQ_UPDATE_OFFSET) {
        xo_command_set(c, "consumerGroup", s->wire_group);
    }
    xo_command_set(c, "topic", q->wire);
    xo_command_set_int(c, "queueId", q->id);
    if (code == XO_RMQ_QUERY_OFFSET) {
        xo_command_set_bool(c, "setZeroIfNotFound", 0);
    }
}

/* ---- which queues ---- */

static void begin_free(xo_begin *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        xo_ranges_free(b[i].rows, b[i].nrows);
    }
    free(b);
}

static int is_waiting(const xo_rocketmq *s, const xo_rmq_queue *q, int64_t now, int troubled)
{
    if (q->pull_due > now || (q->failing > 0) != troubled || !xo_locks_held(q, now)) {
        return 0;
    }
    if (q->state == XO_Q_WANTED) {
        return !xo_offset_waits(s, q);
    }
    return q->state == XO_Q_RUNNING && (q->look_back || q->seek >= 0 || xo_offset_reopens(q));
}

/* Under the lock. Of a queue by offset the database's rows are the position, and moved with what was settled: what it has once, it has for good. */
static void begin(const xo_rocketmq *s, xo_begin *b, xo_rmq_queue *q, int foreign)
{
    int wanted = q->state == XO_Q_WANTED, again = xo_rmq_by_offset(q) && q->epoch >= 0, first = wanted || xo_rmq_by_offset(q);
    if (wanted && !again && (foreign || s->start_broker || !s->positions)) {
        q->node = FROM_BROKER;
    }
    *b = (xo_begin){.q = q, .wanted = wanted, .first = first, .seek = q->seek, .prefix = first ? -1 : xo_track_prefix(&q->track), .foreign = foreign && !again,
                    .from_broker = wanted && q->node == FROM_BROKER, .committed = -1, .min = -1, .max = -1, .searched = -1};
    b->look_later = !wanted && q->look_back && q->seek >= 0;
    b->reopens = !wanted && !q->look_back && xo_offset_reopens(q);
    b->reopen = q->reopen;
    q->reopen = -1;
    q->look_back = LOOKING;
}

/* Takes what waits. Those in trouble are taken apart, so that a broker that does not answer keeps no other one waiting. */
static xo_begin *collect(xo_rocketmq *s, int troubled, size_t *n)
{
    int64_t now = xo_mono_ms();
    size_t max = 0;
    *n = 0;
    pthread_mutex_lock(&s->lock);
    int foreign = s->many_stores || s->foreign || (s->foreign_seen && now - s->foreign_seen <= 2 * s->rebalance_every + s->timeout);
    for (const xo_rmq_queue *q = s->queues; q; q = q->next) {
        max += (size_t)is_waiting(s, q, now, troubled);
    }
    xo_begin *all = max ? xo_calloc(max, sizeof(*all)) : NULL;
    for (xo_rmq_queue *q = s->queues; all && q; q = q->next) {
        if (is_waiting(s, q, now, troubled)) {
            begin(s, &all[(*n)++], q, foreign);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return all;
}

/* This one does not start in this round, for the reason in the thread's error. */
static void give_up(xo_rocketmq *s, xo_begin *b)
{
    xo_rmq_queue *q = b->q;
    pthread_mutex_lock(&s->lock);
    b->failed = 1;
    q->failing++;
    /* what fails at once may be asked often; what lets us wait holds up the whole thread */
    int64_t pause = (int64_t)1000 << (q->failing < 5 ? q->failing - 1 : 4), max = xonce_error_last()->code == XONCE_E_TIMEOUT ? AGAIN_SLOW_MS : AGAIN_MS;
    q->pull_due = xo_mono_ms() + (pause < max ? pause : max);
    q->look_back = q->look_back != LOOKING || q->state != XO_Q_WANTED;
    int tell = xo_queue_tell(q);
    pthread_mutex_unlock(&s->lock);
    if (tell) {
        xo_log(XO_WARN, "rocketmq", "queue %" PRId32 " of %s at %s cannot be started, tried again: %s", q->id, q->topic, q->broker, xonce_error_last()->text);
    }
}

/* ---- the database ---- */

/* What others made of the queue meanwhile counts more than what is known of it here. */
static void heed_rows(xo_begin *b)
{
    const xo_range *own = xo_ranges_youngest(b->rows, b->nrows);
    b->reopens = b->reopens && own && own->epoch == b->q->epoch && own->generation == b->q->generation;
    b->first |= xo_offset_takes(b);
}

/* What is settled by now is written first, so that it need not be found a duplicate again. A database that fails once is not asked for the others in this round; of several each is asked for its own. */
static void load_rows(xo_rocketmq *s, xo_begin *all, size_t n)
{
    xonce_status st = XONCE_OK;
    xo_error why = {0};
    for (size_t i = 0; i < n && s->positions; i++) {
        xo_begin *b = &all[i];
        if (s->base.several) {
            st = XONCE_OK;
            why.pub.text[0] = 0;
        }
        if (st == XONCE_OK && !b->wanted) {
            st = xo_commit_queue(s, b->q);
        }
        if (st == XONCE_OK) {
            st = s->positions->load(s->positions_self, b->q->topic, b->q->broker, b->q->id, &b->rows, &b->nrows);
        }
        if (st != XONCE_OK) {
            if (!why.pub.text[0]) {
                xo_error_save(&why);
            }
            (void)xo_error_restore(&why);
            give_up(s, b);
            continue;
        }
        heed_rows(b);
    }
}

/* ---- the brokers ---- */

enum { ASK_COMMITTED, ASK_MIN, ASK_MAX, ASK_SEARCH, QUESTIONS };
static const int32_t codes[QUESTIONS] = {XO_RMQ_QUERY_OFFSET, XO_RMQ_MIN_OFFSET, XO_RMQ_MAX_OFFSET, XO_RMQ_SEARCH_OFFSET};

xonce_status xo_offset_read(const xo_call *c, int missing_is_fine, int64_t *out)
{
    if (c->status != XONCE_OK) {
        return xo_error_restore(&c->error);
    }
    if (missing_is_fine && c->answer.code == XO_RMQ_QUERY_NOT_FOUND) {
        *out = -1;
        return XONCE_OK;
    }
    xonce_status st = xo_command_error(&c->answer, "asking for an offset");
    if (st == XONCE_OK) {
        st = xo_command_get_int(&c->answer, "offset", out);
    }
    return st == XONCE_OK && *out < 0 ? xo_fail(XONCE_E_PROTOCOL, "the broker answered offset %" PRId64, *out) : st;
}

static void read_answers(xo_rocketmq *s, xo_begin *b, const xo_call *calls)
{
    int64_t *const out[QUESTIONS] = {&b->committed, &b->min, &b->max, &b->searched};
    xonce_status st = XONCE_OK;
    for (int k = 0; st == XONCE_OK && k < QUESTIONS; k++) {
        if (k != ASK_SEARCH || b->search_time >= 0) {
            st = xo_offset_read(&calls[k], k == ASK_COMMITTED, out[k]);
        }
    }
    if (st == XONCE_OK && b->max < b->min) {
        st = xo_fail(XONCE_E_PROTOCOL, "the broker says that the queue begins at %" PRId64 " and ends at %" PRId64, b->min, b->max);
    }
    if (st == XONCE_E_AUTH) { /* asking again does not help, and nothing coming must not look like nothing being there */
        xo_error_context("queue %" PRId32 " of %.100s at %.100s cannot be started", b->q->id, b->q->topic, b->q->broker);
        pthread_mutex_lock(&s->lock);
        xo_rmq_permanent(s);
        pthread_mutex_unlock(&s->lock);
    }
    if (st != XONCE_OK) {
        give_up(s, b);
    }
}

/* All questions about all queues at once. */
static void ask_brokers(xo_rocketmq *s, xo_begin *all, size_t n)
{
    xo_call *calls = xo_calloc(n * QUESTIONS, sizeof(*calls));
    size_t *at = xo_calloc(n, sizeof(*at)), ncalls = 0;
    for (size_t i = 0; i < n; i++) {
        xo_begin *b = &all[i];
        char address[280];
        if (b->failed) {
            continue;
        }
        if (!calls || !at) {
            (void)xo_nomem();
            give_up(s, b);
            continue;
        }
        if (xo_cluster_broker(s->cluster, b->q->broker, 0, address, sizeof(address)) != XONCE_OK) {
            give_up(s, b);
            continue;
        }
        xo_place_search_time(b, s->look_back_ms);
        at[i] = ncalls;
        for (int k = 0; k < QUESTIONS; k++) {
            if (k == ASK_SEARCH && b->search_time < 0) {
                continue;
            }
            xo_call *c = &calls[ncalls++];
            memcpy(c->address, address, sizeof(address));
            xo_offset_request(s, b->q, codes[k], &c->request);
            if (k == ASK_SEARCH) {
                xo_command_set_int(&c->request, "timestamp", b->search_time);
                xo_command_set(&c->request, "boundaryType", "LOWER");
            }
        }
    }
    if (calls && ncalls) {
        xo_remoting_call_all(xo_cluster_remoting(s->cluster), calls, ncalls, s->timeout);
    }
    for (size_t i = 0; calls && at && i < n; i++) {
        if (!all[i].failed) {
            read_answers(s, &all[i], calls + at[i]);
        }
    }
    for (size_t i = 0; calls && i < ncalls; i++) {
        xo_command_free(&calls[i].answer);
    }
    free(calls);
    free(at);
}

/* ---- deciding ---- */

/* Has the database rows of the queue by now? */
static xonce_status load_again(xo_rocketmq *s, xo_begin *b)
{
    xo_ranges_free(b->rows, b->nrows);
    b->rows = NULL;
    b->nrows = 0;
    xonce_status st = s->positions->load(s->positions_self, b->q->topic, b->q->broker, b->q->id, &b->rows, &b->nrows);
    if (st == XONCE_OK) {
        heed_rows(b);
    }
    return st;
}

/* Where a queue begins that neither broker nor database have a position of. */
static xonce_status begin_unknown(xo_rocketmq *s, xo_begin *b, xo_novelty *topics)
{
    const xo_rmq_queue *q = b->q;
    b->at = b->min;
    if (!q->sub || s->consume_from == 0) {
        return XONCE_OK;
    }
    xonce_status st = xo_consume_from(s, b, &topics[q->sub - s->subs]);
    /* who began the group, we or another member in this moment, has written where each queue begins */
    if (st == XONCE_OK && s->positions && (st = load_again(s, b)) == XONCE_OK && b->nrows) {
        (void)xo_place_find(b);
    } else if (st == XONCE_OK && topics[q->sub - s->subs] == XO_GROUP_KNOWN) {
        xo_log(XO_INFO, "rocketmq", "queue %" PRId32 " of %s at %s is new to group %s, which has read others of the topic: it is read from its beginning",
               q->id, q->topic, q->broker, s->group);
    }
    return st;
}

static xonce_status decide_queue(xo_rocketmq *s, xo_begin *b, xo_novelty *topics)
{
    xonce_status st = XONCE_OK;
    xo_place place = xo_place_find(b);
    if (place == XO_PLACE_KNOWN && b->ahead) {
        /* the member before us may have written both meanwhile: the database first, so it has it by now */
        if ((st = load_again(s, b)) == XONCE_OK) {
            place = xo_place_find(b);
        }
    }
    if (st == XONCE_OK && place == XO_PLACE_UNKNOWN) {
        st = begin_unknown(s, b, topics);
    }
    if (st == XONCE_OK) {
        xo_place_bound(b);
        xo_place_range(b, xo_queue_tags(b->q));
    }
    return st;
}

static void decide(xo_rocketmq *s, xo_begin *all, size_t n)
{
    xo_novelty *topics = xo_calloc(s->nsubs ? s->nsubs : 1, sizeof(*topics));
    for (size_t i = 0; i < n; i++) {
        if (!all[i].failed && (topics ? decide_queue(s, &all[i], topics) : xo_nomem()) != XONCE_OK) {
            give_up(s, &all[i]);
        }
    }
    free(topics);
}

/* ---- and go ---- */

/* The row is there before the first message: who checks a message against it has something to lock. A row that another member began meanwhile: again,
   with the rows as they are by then. */
static void save_rows(xo_rocketmq *s, xo_begin *all, size_t n)
{
    xo_range *rows = xo_calloc(n ? n : 1, sizeof(*rows));
    size_t k = 0;
    xonce_status st = rows ? XONCE_OK : xo_nomem();
    for (size_t i = 0; rows && i < n; i++) {
        const xo_rmq_queue *q = all[i].q;
        if (!all[i].failed && !xo_offset_takes(&all[i])) {
            rows[k] = all[i].range;
            rows[k].topic = q->topic;
            rows[k].broker = q->broker;
            rows[k].tags = (char *)xo_queue_tags(q);
            rows[k++].queue = q->id;
        }
    }
    if (st == XONCE_OK && s->positions && k) {
        st = s->positions->save(s->positions_self, rows, k);
    }
    k = 0;
    for (size_t i = 0; st != XONCE_OK && i < n; i++) {
        if (!all[i].failed && !xo_offset_takes(&all[i])) {
            xonce_status one = st == XONCE_E_CONFLICT || s->base.several ? s->positions->save(s->positions_self, &rows[k], 1) : st;
            if (one != XONCE_OK) {
                give_up(s, &all[i]);
            }
            k++;
        }
    }
    free(rows);
}

/* Somebody else wrote the rows between: a batch of ours that was under way, or another member. */
static xonce_status place_again(xo_rocketmq *s, xo_begin *b)
{
    xonce_status st = load_again(s, b);
    if (st != XONCE_OK) {
        return st;
    }
    b->ahead = b->cut = 0;
    b->lost_to = 0;
    if (xo_place_find(b) != XO_PLACE_KNOWN) {
        return xo_fail(XONCE_E_CONFLICT, "its rows were deleted while it was taken over");
    }
    xo_place_bound(b);
    xo_place_range(b, xo_queue_tags(b->q));
    return XONCE_OK;
}

static void take_over(xo_rocketmq *s, xo_begin *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        xo_begin *b = &all[i];
        if (b->failed || !xo_offset_takes(b)) {
            continue;
        }
        xonce_status st = xo_offset_take(s, b);
        for (int k = 0; st == XONCE_E_CONFLICT && k < TAKE_TRIES; k++) {
            st = place_again(s, b);
            st = st == XONCE_OK ? xo_offset_take(s, b) : st;
        }
        if (st != XONCE_OK) {
            give_up(s, b);
        }
    }
}

/* A reset can be undone by the very pull that reports it, and by reports under way: so the broker is told again, before anything else. */
static void confirm_seeks(xo_rocketmq *s, xo_begin *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        xo_begin *b = &all[i];
        if (b->failed || b->seek < 0) {
            continue;
        }
        xo_command c;
        xo_offset_request(s, b->q, XO_RMQ_UPDATE_OFFSET, &c);
        xo_command_set_int(&c, "commitOffset", b->at);
        if (xo_cluster_ask(s->cluster, b->q->broker, &c, "confirming a reset offset", NULL) != XONCE_OK) {
            give_up(s, b);
        } else {
            b->committed = b->at;
        }
    }
}

static void run(xo_rocketmq *s, xo_begin *b)
{
    xo_rmq_queue *q = b->q;
    pthread_mutex_lock(&s->lock);
    xo_rmq_drop(s, q->mark);
    q->mark = ++s->last_mark;
    s->counts.heard++; /* its broker has told the queue's offsets: it may be long until a message comes, or a pull ends without one */
    xo_track_start(&q->track, b->at, &b->range, 0);
    q->track.skip_before = b->seek < 0 && !b->from_broker && !b->foreign;
    xo_range *rows = q->rows;
    size_t nrows = q->nrows;
    q->rows = b->rows;
    q->nrows = b->nrows;
    b->rows = rows;
    b->nrows = nrows;
    q->pull_from = b->at;
    q->pull_due = xo_mono_ms();
    q->pulling = q->empty = 0;
    q->node = 0;
    q->held = q->bytes = q->away = 0;
    q->again = -1;
    q->committed = b->committed;
    q->max_offset = b->max;
    q->lag = b->max - b->at;
    q->failing = 0;
    q->seek = q->seek == b->seek ? -1 : q->seek;
    /* what happened meanwhile is done next time, when an ordered queue has its lock again */
    q->look_back = b->look_later || q->look_back != LOOKING || !xo_locks_held(q, xo_mono_ms());
    q->state = q->state == XO_Q_WANTED ? XO_Q_RUNNING : q->state;
    xo_offset_begin(q, b);
    s->ran |= q->sub != NULL;
    if (b->ahead) {
        s->red |= XO_RED_POSITION;
    }
    if (b->lost_to) {
        s->red |= XO_RED_LOSS;
    }
    pthread_mutex_unlock(&s->lock);
}

static void report(const xo_begin *b)
{
    const xo_rmq_queue *q = b->q;
    char name[600];
    snprintf(name, sizeof(name), "queue %" PRId32 " of %.250s at %.250s", q->id, q->topic, q->broker);
    if (b->ahead) {
        xo_log(XO_ERROR, "rocketmq",
               "%s: the broker's offset is %" PRId64 ", but the database has settled up to %" PRId64 " only, and nobody else of the group is known:"
               " reading from the database's position. To begin at the broker's, say start=broker", name, b->committed, b->pos);
    }
    if (b->lost_to) {
        xo_log(XO_ERROR, "rocketmq", "%s: offsets %" PRId64 " to %" PRId64 " were not settled and are gone from the broker, whose first is %" PRId64, name,
               b->lost_from, b->lost_to - 1, b->min);
    }
    if (b->cut) {
        xo_log(XO_WARN, "rocketmq",
               "%s ends at %" PRId64 ", before our position %" PRId64 ": the broker has lost its last messages, or begun anew; it is read from there", name,
               b->max, b->pos);
    }
    xo_log(XO_INFO, "rocketmq",
           "%s is read from offset %" PRId64 " (settled up to %" PRId64 ", the broker's offset %" PRId64 ", it has %" PRId64 " to %" PRId64 ")", name, b->at,
           b->range.next, b->committed, b->min, b->max);
}

static void start_some(xo_rocketmq *s, int troubled)
{
    size_t n;
    xo_begin *all = collect(s, troubled, &n);
    if (!all) {
        return;
    }
    load_rows(s, all, n);
    ask_brokers(s, all, n);
    decide(s, all, n);
    save_rows(s, all, n);
    take_over(s, all, n);
    confirm_seeks(s, all, n);
    for (size_t i = 0; i < n; i++) {
        if (!all[i].failed) {
            run(s, &all[i]);
            report(&all[i]);
        }
    }
    begin_free(all, n);
    xo_pull_go(s);
}

void xo_start(xo_rocketmq *s)
{
    start_some(s, 0);
    start_some(s, 1);
}
