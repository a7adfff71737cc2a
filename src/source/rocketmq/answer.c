/* Answers to pulls: what they bring is handed over; where the queue goes on, or why it cannot. On the I/O thread. */
#include "base/clock.h"
#include "base/log.h"
#include "source/rocketmq/data.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    PAUSE_MS = 1000,      /* after an error; up to three times that */
    LAST_TRY = 3,         /* what is damaged after so many pulls stays so */
    EMPTY_EVERY_MS = 100  /* a broker that does not hold pulls is not asked more often */
};

/* What the header of an answer says. */
typedef struct {
    int64_t next, min, max, node;
} bounds;
/* What was found out under the lock, to be logged after it. */
typedef struct {
    int64_t lost_from, lost_to; /* offsets that the broker has no more */
    int told, again;
} findings;

/* Under the lock: the pull's queue, if it still wants its answer. */
static xo_rmq_queue *queue_of(const xo_pull *p)
{
    xo_rmq_queue *q = xo_rmq_find(p->s, p->mark);
    if (!q || q->turn != p->turn) {
        return NULL;
    }
    q->pulling = 0;
    int wanted = !p->s->stopping && q->state == XO_Q_RUNNING && !q->look_back && q->seek < 0 && q->reopen < 0 && (p->again ? q->again : q->pull_from) == p->offset && xo_locks_held(q, xo_mono_ms());
    return wanted ? q : NULL;
}

/* Under the lock. The queue that the pull asked for, as it is by now; NULL when it is not ours any more. */
static xo_rmq_queue *same_queue(const xo_pull *p)
{
    for (xo_rmq_queue *q = p->s->queues; q && !p->s->stopping; q = q->next) {
        if (q->id == p->id && q->state != XO_Q_LEAVING && strcmp(q->wire, p->wire) == 0 && strcmp(q->broker, p->broker) == 0) {
            return q;
        }
    }
    return NULL;
}

static void pause_queue(xo_rmq_queue *q, int64_t ms)
{
    q->pull_due = xo_mono_ms() + ms;
    q->empty = 0;
}

static void failed(const xo_pull *p, int broken, int quiet)
{
    xo_rocketmq *s = p->s;
    int tell = 0;
    pthread_mutex_lock(&s->lock);
    xo_rmq_queue *q = queue_of(p);
    if (q) {
        q->failing++;
        pause_queue(q, PAUSE_MS * (q->failing < 3 ? q->failing : 3));
        q->node = 0;
        /* what was stored meanwhile may stand where we have been already: a broker that died can lose its last messages and use their offsets again */
        if (broken && p->node == 0) {
            q->look_back = 1;
        }
        tell = !(quiet && q->failing < 3) && xo_queue_tell(q);
        pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->lock);
    if (tell) {
        xo_log(XO_WARN, "rocketmq", "queue %" PRId32 " of %s at %s cannot be read at offset %" PRId64 ", tried again: %s", p->id, p->topic, p->broker,
               p->offset, xonce_error_last()->text);
    }
}

void xo_pull_failed(const xo_pull *p, xonce_status st)
{
    failed(p, st == XONCE_E_CONNECT || st == XONCE_E_CLOSED, 0);
}

static xonce_status read_bounds(const xo_pull *p, const xo_command *a, bounds *b)
{
    xonce_status st = xo_command_get_int(a, "nextBeginOffset", &b->next);
    b->min = b->max = -1;
    b->node = 0;
    if (st == XONCE_OK && (b->next < 0 || b->next == INT64_MAX)) {
        st = xo_fail(XONCE_E_PROTOCOL, "nextBeginOffset %" PRId64 " cannot be", b->next);
    }
    if (st != XONCE_OK) {
        return st;
    }
    if (xo_command_get(a, "minOffset")) {
        (void)xo_command_get_int(a, "minOffset", &b->min);
    }
    if (xo_command_get(a, "maxOffset")) {
        (void)xo_command_get_int(a, "maxOffset", &b->max);
    }
    if (xo_command_get(a, "suggestWhichBrokerId")) {
        (void)xo_command_get_int(a, "suggestWhichBrokerId", &b->node);
    }
    (void)p;
    return XONCE_OK;
}

/* Of adding: the queue goes on with another row, which does not begin before all is settled that stands here. */
enum { STOP = 2 };

/* Under the lock. Offsets up to end that the broker has no more. They are in no range; but only what was not settled in an earlier time is a loss. */
static int add_hole(xo_rocketmq *s, xo_rmq_queue *q, int64_t end, findings *f)
{
    int64_t from = q->track.to;
    int by_offset = xo_rmq_by_offset(q), stop = by_offset && end > q->handed;
    if (stop) {
        q->reopen = end;
        from = from > q->handed ? from : q->handed;
    } else if (xo_track_add(&q->track, end, -1, -1, 1, by_offset ? 0 : XO_HOLE) != 0) {
        return -1;
    }
    for (size_t i = 0; i < q->nrows; i++) {
        from = q->rows[i].next > from ? q->rows[i].next : from;
    }
    if (from < end) {
        s->red |= XO_RED_LOSS;
        f->lost_from = f->lost_to ? f->lost_from : from;
        f->lost_to = end;
    }
    return stop ? STOP : 0;
}

/* Under the lock. [to, end): with a filter, what the broker did not give us is not ours; without one it is missing. */
static int add_gap(xo_rocketmq *s, xo_rmq_queue *q, int64_t end, findings *f)
{
    if (end <= q->track.to) {
        return 0;
    }
    return q->sub && q->sub->filter.n ? xo_track_add(&q->track, end, -1, -1, 1, 0) : add_hole(s, q, end, f);
}

/* Only then is_known() has to look closer. */
static int may_be_known(const xo_rmq_queue *q, int64_t offset)
{
    int may = q->track.skip_before;
    for (size_t i = 0; i < q->nrows && !may; i++) {
        may = xo_range_inside(&q->rows[i], offset);
    }
    return may;
}

/* What a member with another filter passed over while it had the queue is not known, although a younger row begins behind it. */
static int is_known(const xo_rmq_queue *q, const xo_pulled *it)
{
    const char *tag = it->m ? xonce_message_property(it->m, "TAGS") : NULL;
    return xo_ranges_cover(q->rows, q->nrows, it->offset, it->store_time, it->log_offset, tag) ||
           (q->track.skip_before && xo_ranges_before(q->rows, q->nrows, it->offset, it->store_time, it->log_offset) &&
            !xo_ranges_hide(q->rows, q->nrows, it->offset, it->store_time, it->log_offset, tag));
}

/* Under the lock. 1: the message is to be handed over; 0: not; -1: no memory; STOP: neither it nor what follows is looked at. */
static int add_item(xo_rocketmq *s, xo_rmq_queue *q, xo_pulled *it, findings *f)
{
    if (it->offset < q->track.to) { /* read again, for the sake of what was given back */
        if (!it->m || !xo_track_come_back(&q->track, it->offset, it->store_time, it->log_offset)) {
            return 0;
        }
        q->away--;
        xo_rmq_count(s, q, it->m);
        return 1;
    }
    int known = it->m && may_be_known(q, it->offset) && is_known(q, it);
    int by_offset = xo_rmq_by_offset(q), opens = !known && !by_offset && xo_track_newer(&q->track, it->offset, it->store_time, it->log_offset);
    if (by_offset && it->m && !known && xo_offset_newer(q, it)) {
        q->reopen = it->offset;
        return STOP;
    }
    int rc = add_gap(s, q, it->offset, f);
    if (rc != 0) {
        return rc;
    }
    if (xo_track_add(&q->track, it->offset + 1, it->store_time, it->log_offset, !it->m || known, opens ? XO_OPENS : 0) != 0) {
        return -1;
    }
    if (!it->m || known) {
        return 0;
    }
    if (by_offset) {
        xo_offset_hand(q, it->m);
    }
    xo_rmq_count(s, q, it->m);
    return 1;
}

/* Under the lock. All items in order, as far as memory allows; ask: those whose origin is to be asked first. */
static int add_items(xo_rocketmq *s, xo_rmq_queue *q, xo_unpacked *u, int64_t next, xonce_message **ask, findings *f)
{
    xo_rmq_list list = {.first = NULL, .last = &list.first, .n = 0};
    int rc = 0;
    for (size_t i = 0; rc >= 0 && rc != STOP && i < u->n; i++) {
        xonce_message *m = u->items[i].m;
        rc = add_item(s, q, &u->items[i], f);
        if (rc == 1) {
            u->items[i].m = m->next = NULL;
            if (u->items[i].ask) {
                *ask = m;
                ask = &m->next;
            } else {
                *list.last = m;
                list.last = &m->next;
                list.n++;
            }
        }
    }
    if (rc >= 0 && rc != STOP) {
        rc = add_gap(s, q, next, f);
    }
    q->pull_from = q->track.to;
    if (rc < 0) {
        pause_queue(q, PAUSE_MS);
    } else if (rc == STOP) {
        pthread_cond_signal(&s->work);
    }
    if (list.n) {
        xo_rmq_hand_over(s, &list);
    }
    return rc;
}

/* Under the lock. What was given back is not there as it was: the queue is looked at anew, from its first message that is not settled. */
static void anew(xo_rocketmq *s, xo_rmq_queue *q)
{
    q->again = -1;
    q->look_back = 1;
    pthread_cond_signal(&s->work);
}

/* Under the lock. Messages up to next were read again; rc as of add_items. */
static void go_on_again(xo_rocketmq *s, xo_rmq_queue *q, const xo_pull *p, int64_t next, int rc)
{
    int64_t first = q->away ? xo_track_away(&q->track, p->offset) : -1;
    if (rc >= 0 && first >= 0 && first < next) {
        anew(s, q);
    } else {
        q->again = first;
    }
}

/* Under the lock. The broker answered as it should. */
static void succeeded(xo_rmq_queue *q, const xo_pull *p, const bounds *b, findings *f)
{
    f->again = q->failing >= 3 && q->told;
    q->failing = 0;
    q->node = b->node > 0 ? b->node : 0;
    q->max_offset = b->max;
    q->lag = b->max < 0 ? -1 : b->max > q->pull_from ? b->max - q->pull_from : 0;
    xo_offset_answered(q, p->node, b->max, q->track.to);
    q->empty = p->node == 0 && b->max >= 0 && q->pull_from >= b->max;
}

static void report(const xo_pull *p, const findings *f)
{
    if (f->again) {
        xo_log(XO_INFO, "rocketmq", "queue %" PRId32 " of %s at %s is read again", p->id, p->topic, p->broker);
    }
    if (f->lost_to) {
        xo_log(XO_ERROR, "rocketmq",
               "queue %" PRId32 " of %s at %s: the broker has lost messages: offsets %" PRId64 " to %" PRId64 " are gone and were not settled; it goes on at %" PRId64,
               p->id, p->topic, p->broker, f->lost_from, f->lost_to - 1, f->lost_to);
    }
}

/* A message came that our filter does not let through and whose hash it does not have: the broker filters for another subscription of the group, and
   has hidden from us what only ours wants. */
static void conflict(const xo_pull *p, const char *stranger)
{
    xo_rocketmq *s = p->s;
    int tell = 0;
    pthread_mutex_lock(&s->lock);
    xo_rmq_queue *q = queue_of(p);
    if (q && q->sub) {
        int64_t now = xo_mono_ms();
        q->sub->conflict = 1;
        s->red |= XO_RED_FILTER;
        tell = !q->sub->told || now - q->sub->told >= XO_TELL_EVERY_MS;
        q->sub->told = tell ? now : q->sub->told;
        pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->lock);
    if (tell) {
        xo_log(XO_ERROR, "rocketmq",
               "%s: the members of the group disagree about its filter: this one subscribes \"%s\", but the broker %s gives out tag \"%s\" as another one"
               " wants; the topic is not read until they agree", p->topic, p->sub->filter.text, p->broker, stranger);
    }
}

static xonce_status found(xo_pull *p, xo_command *a)
{
    xo_rocketmq *s = p->s;
    bounds b;
    findings f = {0};
    xonce_message *ask = NULL;
    xo_unpacked u = {.s = s, .sub = p->sub, .topic = p->topic, .broker = p->broker, .mark = p->mark, .next = p->offset, .last_try = p->tries >= LAST_TRY};
    xonce_status st = read_bounds(p, a, &b);
    if (st == XONCE_OK) {
        st = xo_unpack(&u, a);
    }
    if (st == XONCE_OK && (b.next < u.next || b.next == p->offset)) {
        st = xo_fail(XONCE_E_PROTOCOL, "messages up to offset %" PRId64 " came with nextBeginOffset %" PRId64, u.next - 1, b.next);
    }
    if (st == XONCE_OK && u.conflict) {
        conflict(p, u.stranger);
    } else if (st == XONCE_OK) {
        pthread_mutex_lock(&s->lock);
        xo_rmq_queue *q = queue_of(p);
        if (q) {
            s->counts.answers++;
            int rc = add_items(s, q, &u, b.next, &ask, &f);
            if (p->again) {
                go_on_again(s, q, p, b.next, rc);
            }
            succeeded(q, p, &b, &f);
        }
        pthread_mutex_unlock(&s->lock);
        report(p, &f);
    }
    xo_unpacked_free(&u);
    for (xonce_message *m; (m = ask);) {
        ask = m->next;
        m->next = NULL;
        xo_origin_ask(s, m);
    }
    return st;
}

/* 19: nothing new. 20: nothing for us up to nextBeginOffset. */
static xonce_status nothing(xo_pull *p, const xo_command *a)
{
    xo_rocketmq *s = p->s;
    bounds b;
    findings f = {0};
    xonce_status st = read_bounds(p, a, &b);
    if (st != XONCE_OK) {
        return st;
    }
    pthread_mutex_lock(&s->lock);
    xo_rmq_queue *q = queue_of(p);
    if (q && p->again) {
        s->counts.answers++;
        anew(s, q);
    } else if (q) {
        s->counts.answers++;
        int64_t before = q->pull_from;
        int rc = add_gap(s, q, b.next, &f);
        q->pull_from = q->track.to;
        succeeded(q, p, &b, &f);
        if (rc < 0) {
            pause_queue(q, PAUSE_MS);
        } else if (q->pull_from == before && q->pull_due < p->sent + EMPTY_EVERY_MS) {
            q->pull_due = p->sent + EMPTY_EVERY_MS;
            pthread_cond_signal(&s->work);
        }
    }
    pthread_mutex_unlock(&s->lock);
    report(p, &f);
    return XONCE_OK;
}

/* 21: the offset asked for is not in the queue, or an operator has set another. What is below the minimum is gone and passed over. Beyond the maximum the
   queue has lost its end, and what will be stored there next is new: it is looked for again, and the broker's advice to jump to the maximum not followed. */
static xonce_status moved(xo_pull *p, const xo_command *a)
{
    xo_rocketmq *s = p->s;
    bounds b;
    findings f = {0};
    const char *remark = a->remark ? a->remark : "", *what = NULL;
    xonce_status st = read_bounds(p, a, &b);
    if (st != XONCE_OK) {
        return st;
    }
    int beyond = (b.max >= 0 && p->offset > b.max) || !strcmp(remark, "OFFSET_OVERFLOW_BADLY") || !strcmp(remark, "NO_MESSAGE_IN_QUEUE") ||
                 !strcmp(remark, "NO_MATCHED_LOGIC_QUEUE");
    int reset = !strcmp(remark, "OFFSET_RESET");
    pthread_mutex_lock(&s->lock);
    xo_rmq_queue *q = queue_of(p);
    if (!q && reset) { /* said once only, and perhaps to a pull of before the queue's last start: it is the queue's all the same */
        q = same_queue(p);
    }
    if (q) {
        s->counts.answers++;
        q->empty = 0;
        if (p->node && !reset) {
            q->node = 0; /* a slave that lags, or starts its queues elsewhere: the master knows */
        } else if (p->again && !reset) {
            anew(s, q);
        } else if (reset) {
            q->seek = b.next;
            what = "an operator has reset its offset";
        } else if (beyond) {
            q->failing++;
            q->look_back = 1;
            pause_queue(q, q->failing > 1 ? PAUSE_MS : 0);
            what = "its broker has lost the end of the queue, which is read again from there";
        } else if (b.next > q->track.to) {
            if (add_hole(s, q, b.next, &f) < 0) {
                pause_queue(q, PAUSE_MS);
            }
            q->pull_from = q->track.to;
        } else {
            q->seek = b.next;
            what = "its offset was moved";
        }
        pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->lock);
    if (what) {
        xo_log(XO_WARN, "rocketmq",
               "queue %" PRId32 " of %s at %s: %s: asked for offset %" PRId64 ", answered %" PRId64 " (%s; the queue has %" PRId64 " to %" PRId64 ")", p->id,
               p->topic, p->broker, what, p->offset, b.next, remark, b.min, b.max);
    }
    report(p, &f);
    return XONCE_OK;
}

static void refused(xo_pull *p, const xo_command *a)
{
    xo_rocketmq *s = p->s;
    char what[400];
    int unknown = a->code == XO_RMQ_NO_SUBSCRIPTION || a->code == XO_RMQ_OLD_SUBSCRIPTION;
    snprintf(what, sizeof(what), "pull of %.150s from %.150s", p->topic, p->broker);
    (void)xo_command_error(a, what);
    pthread_mutex_lock(&s->lock);
    if (unknown) {
        s->heartbeat_now = 1; /* the broker has forgotten us, or not heard of us yet */
    } else {
        s->counts.answers++;
    }
    pthread_mutex_unlock(&s->lock);
    failed(p, 0, unknown);
    if (a->code == XO_RMQ_GO_AWAY) {
        char address[280];
        if (xo_cluster_broker(s->cluster, p->broker, 0, address, sizeof(address)) == XONCE_OK) {
            xo_remoting_disconnect(xo_cluster_remoting(s->cluster), address);
        }
    }
}

void xo_pull_answered(xonce_status st, xo_command *answer, void *arg)
{
    xo_pull *p = arg;
    xo_rocketmq *s = p->s;
    int broken = st == XONCE_E_CONNECT || st == XONCE_E_CLOSED;
    xo_pull_on_answers();
    if (st == XONCE_OK) {
        switch (answer->code) {
        case XO_RMQ_OK: st = found(p, answer); break;
        case XO_RMQ_PULL_NOT_FOUND:
        case XO_RMQ_PULL_AGAIN: st = nothing(p, answer); break;
        case XO_RMQ_PULL_MOVED: st = moved(p, answer); break;
        default: refused(p, answer); break;
        }
    }
    if (st != XONCE_OK) {
        failed(p, broken, 0);
    }
    xo_pull_free(p);
    xo_pull_go(s);
}
