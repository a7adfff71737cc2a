/* A worker: takes a batch, runs it through the store to its outcome, settles it with the source. */
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "consumer/parts.h"
#include <stdio.h>
#include <stdlib.h>

typedef enum {
    RUN_FINE,
    RUN_PUT_OFF, /* it went through, but the database took none of its messages */
    RUN_DOWN,    /* the database cannot be used now */
    RUN_DEAD     /* it never will be like this */
} run_kind;

static run_kind judge(xonce_status st)
{
    switch (st) {
    case XONCE_OK: return RUN_FINE;
    case XONCE_E_SCHEMA:
    case XONCE_E_AUTH:
    case XONCE_E_NOT_FOUND:
    case XONCE_E_INVALID: return RUN_DEAD;
    case XONCE_E_SQL: return xo_error_class() == XO_SQL_SETUP ? RUN_DEAD : RUN_DOWN;
    default: return RUN_DOWN;
    }
}

int64_t xo_next_pause(int64_t last, int64_t first)
{
    int64_t pause = last ? last * 2 : first;
    if (pause > XO_PAUSE_MAX) {
        pause = XO_PAUSE_MAX;
    }
    return pause - (int64_t)(xo_random() % (uint64_t)(pause / 4 + 1));
}

void xo_spec_of(const xonce_consumer *c, const xo_sub *s, void *worker, xo_spec *out)
{
    *out = (xo_spec){.one = s->one, .many = s->many, .arg = s->arg, .worker = worker, .stopping = &c->stop_asked, .ordered = s->in_lanes,
                     .no_dedup = c->no_dedup, .max_attempts = c->attempts};
}

/* ---- the two batches of a worker ---- */

static xonce_status make_room(xonce_consumer *c, xo_worker *w, size_t n)
{
    w->c = c;
    w->room = n;
    w->items = xo_calloc(n, sizeof(*w->items));
    w->messages = xo_calloc(n, sizeof(xonce_message *));
    w->fates = xo_calloc(n, sizeof(*w->fates));
    w->lanes = xo_calloc(n, sizeof(xo_lane *));
    w->spec = xo_calloc(1, sizeof(*w->spec));
    return w->items && w->messages && w->fates && w->lanes && w->spec ? XONCE_OK : xo_nomem();
}

static void free_room(xo_worker *w)
{
    free(w->items);
    free(w->messages);
    free(w->fates);
    free(w->lanes);
    free(w->spec);
}

xonce_status xo_worker_make(xonce_consumer *c, xo_worker *w)
{
    w->later = xo_calloc(1, sizeof(*w->later));
    w->states = xo_calloc(c->nplaces, sizeof(*w->states));
    if (!w->later || !w->states) {
        return xo_nomem();
    }
    xonce_status st = make_room(c, w, c->batch_max);
    return st == XONCE_OK ? make_room(c, w->later, c->batch_max) : st;
}

void xo_worker_free(xo_worker *w)
{
    if (w->later) {
        free_room(w->later);
        free(w->later);
    }
    free_room(w);
    free(w->states);
}

/* Room for larger batches, after batch.max was raised; it holds none now. Without memory for it the batches stay as large as they were. */
static void grow(xo_worker *w, size_t n)
{
    xo_worker one = {0}, two = {0};
    if (make_room(w->c, &one, n) != XONCE_OK || make_room(w->c, &two, n) != XONCE_OK) {
        free_room(&one);
        free_room(&two);
        return;
    }
    xo_worker *const old[] = {w, w->later}, *const made[] = {&one, &two};
    for (size_t i = 0; i < 2; i++) {
        free_room(old[i]);
        old[i]->room = n;
        old[i]->items = made[i]->items;
        old[i]->messages = made[i]->messages;
        old[i]->fates = made[i]->fates;
        old[i]->lanes = made[i]->lanes;
        old[i]->spec = made[i]->spec;
    }
}

static void fill_spec(xo_worker *w, xo_worker *batch)
{
    xo_spec_of(w->c, batch->sub, w->states[batch->sub->place], batch->spec);
    batch->spec->ahead = &w->ahead;
    batch->spec->times = &w->times;
}

/* Lock held. */
static void swap_batches(xo_worker *w)
{
    xo_worker was = *w, *b = w->later;
    w->sub = b->sub;
    w->items = b->items;
    w->messages = b->messages;
    w->fates = b->fates;
    w->lanes = b->lanes;
    w->spec = b->spec;
    w->n = b->n;
    w->expires = b->expires;
    b->sub = was.sub;
    b->items = was.items;
    b->messages = was.messages;
    b->fates = was.fates;
    b->lanes = was.lanes;
    b->spec = was.spec;
    b->n = was.n;
    b->expires = was.expires;
}

/* While a COMMIT is on its way: what is there now for the next batch. */
static size_t take_later(void *worker, xo_item **items, const xo_spec **spec)
{
    xo_worker *w = worker, *b = w->later;
    xonce_consumer *c = w->c;
    xo_list dropped = {0};
    pthread_mutex_lock(&c->lock);
    if (!c->stopping && !c->places[w->sub->place].down) {
        int64_t since = w->since;
        w->only = w->sub->place + 1; /* its claim travels on this connection */
        swap_batches(w);
        (void)xo_take(c, w, &dropped, NULL);
        swap_batches(w);
        w->only = 0;
        w->since = since;
    }
    pthread_mutex_unlock(&c->lock);
    xo_give_back(c, &dropped, 0);
    if (b->n) {
        fill_spec(w, b);
    }
    *items = b->items;
    *spec = b->spec;
    return b->n;
}

static run_kind run(xo_worker *w, xo_error *why)
{
    fill_spec(w, w);
    w->times = (xo_times){0};
    run_kind kind = judge(xo_run(w->c->places[w->sub->place].store, w->items, w->n, w->spec));
    size_t put_off = 0;
    if (kind != RUN_FINE) {
        xo_error_save(why);
    }
    for (size_t i = 0; i < w->n; i++) {
        const xo_item *item = &w->items[i];
        w->messages[i]->failed |= item->failed_run; /* for the source: an attempt is used up, though a later run in this delivery may have been cut short */
        w->messages[i]->rejected = item->outcome == XONCE_REJECTED;
        w->messages[i]->duplicate = item->outcome == XONCE_DUPLICATE;
        w->messages[i]->fenced = item->outcome == XONCE_DEFERRED && item->error.pub.code == XONCE_E_FENCED;
        if (item->outcome != XONCE_DEFERRED) {
            w->fates[i] = XO_FATE_ACK;
        } else if (kind == RUN_FINE || item->failed_run) {
            w->fates[i] = XO_FATE_NACK;
        }
        if (kind == RUN_FINE && item->outcome == XONCE_DEFERRED && !item->failed_run && item->error.pub.code != XONCE_OK && !w->messages[i]->fenced) {
            *why = item->error;
            put_off++;
        }
    }
    return put_off == w->n ? RUN_PUT_OFF : kind;
}

static void count(xonce_consumer *c, const xo_worker *w)
{
    for (size_t i = 0; i < w->n; i++) {
        const xo_item *item = &w->items[i];
        c->fresh += item->outcome == XONCE_FRESH;
        c->duplicate += item->outcome == XONCE_DUPLICATE;
        c->rejected += item->outcome == XONCE_REJECTED;
        if (w->sub->in_lanes ? item->outcome == XONCE_DEFERRED && item->failed_run : w->fates[i] == XO_FATE_NACK) {
            c->retried++;
            xo_count_retry(c, w->sub, item);
        }
        if (item->error.pub.code == XONCE_E_TX_LOST) {
            c->tx_lost_at = xo_mono_ms();
        }
    }
}

enum { PUT_OFF_MAX = 3 }; /* one message may be held by another process; run after run, it is the database */

/* The database's state after a run in it. Returns 1 when it went down with it, -1 when it is back. Lock held. */
static int database_state(xonce_consumer *c, xo_worker *w, xo_place *p, run_kind kind)
{
    int was = p->down, probe = w->probing;
    w->probing = 0;
    if (probe) {
        p->probing = 0;
    }
    p->put_off_streak = kind == RUN_PUT_OFF ? p->put_off_streak + 1 : 0;
    if (kind == RUN_FINE) {
        p->down = 0;
        p->pause = 0;
    } else if (kind == RUN_DOWN || p->put_off_streak >= PUT_OFF_MAX) {
        p->down_since = was ? p->down_since : xo_mono_ms();
        p->down = 1;
        if (probe || !was) {
            p->pause = xo_next_pause(p->pause, 500);
            p->retry_at = xo_mono_ms() + p->pause;
        }
    }
    c->down += (size_t)p->down;
    c->down -= (size_t)was;
    return p->down - was;
}

static int64_t retry_delay(const xonce_consumer *c, const xonce_message *m)
{
    int64_t delay = c->suspend;
    for (int i = 1; i < m->attempt && delay < XO_PAUSE_MAX; i++) {
        delay *= 2;
    }
    return delay < XO_PAUSE_MAX ? delay : XO_PAUSE_MAX;
}

static void settle(xonce_consumer *c, xo_list *acks, xo_list *nacks)
{
    if (acks->n) {
        xo_acknowledge(c, acks);
        (void)xo_failpoint("settled");
    }
    for (xonce_message *m; (m = xo_list_pop(nacks));) {
        xo_list one = {.head = m, .tail = m, .n = 1};
        xo_give_back(c, &one, retry_delay(c, m));
    }
}

static void report(xonce_consumer *c, int change, const xo_error *why, run_kind kind)
{
    if (kind == RUN_DEAD) {
        xo_consumer_die(c, why);
    } else if (change > 0 && !xo_consumer_stopping(c)) {
        xo_log(XO_ERROR, "consumer", "the database cannot be used, messages wait: %s", why->pub.text);
    } else if (change < 0) {
        xo_log(XO_INFO, "consumer", "the database is back");
    }
}

/* Sorts out a batch by the fates of its messages; those that wait on go back to the head of their queue. Lock held. */
static void sort_out(xonce_consumer *c, xo_worker *w, xo_list *acks, xo_list *nacks, int down)
{
    xo_list held = {0};
    if (w->sub->in_lanes) {
        xo_lane_return(c, w, acks, nacks, down);
        return;
    }
    for (size_t i = 0; i < w->n; i++) {
        xo_list_push(w->fates[i] == XO_FATE_ACK ? acks : w->fates[i] == XO_FATE_NACK ? nacks : &held, w->messages[i]);
    }
    c->waiting += held.n;
    xo_list_prepend(&w->sub->waiting, &held);
}

/* The later batch is not begun where nothing is begun: all of it waits on. Lock held. */
static void put_back_later(xonce_consumer *c, xo_worker *w)
{
    xo_list none = {0};
    if (w->n && !w->ahead.next && (c->places[w->sub->place].down || c->stopping)) {
        sort_out(c, w, &none, &none, 1);
        w->n = 0;
        w->since = 0;
    }
}

static void work(xo_worker *w)
{
    xonce_consumer *c = w->c;
    xo_error why = {.pub.code = XONCE_OK};
    run_kind kind = run(w, &why);
    xo_tell(c, c->places[w->sub->place].store, w->items, w->n, kind == RUN_FINE || kind == RUN_PUT_OFF);
    int64_t now = xo_mono_ms(), took = now - w->since, over = now - w->expires;
    const char *topic = w->sub->topic;
    xo_place *place = &c->places[w->sub->place];
    xo_list acks = {0}, nacks = {0};

    pthread_mutex_lock(&c->lock);
    w->since = 0;
    count(c, w);
    xo_count_run(c, w);
    sort_out(c, w, &acks, &nacks, kind == RUN_DOWN || kind == RUN_DEAD);
    if (c->nplaces > 1) {
        xo_place_lost(place, &acks);
        xo_place_lost(place, &nacks);
    }
    w->n = 0;
    swap_batches(w);
    w->since = w->n ? xo_mono_ms() : 0;
    int change = database_state(c, w, place, kind);
    if (change > 0) {
        (void)snprintf(place->error, sizeof(place->error), "%s", why.pub.text);
    }
    put_back_later(c, w);
    xo_call_worker(c);
    if (change < 0) {
        pthread_cond_broadcast(&c->work);
    }
    if (change) {
        pthread_cond_signal(&c->room);
    }
    pthread_mutex_unlock(&c->lock);
    if (change && c->nplaces > 1) {
        c->source->ops->wake(c->source); /* the dispatcher has to look at what may wait and what may come */
    }

    settle(c, &acks, &nacks);
    report(c, change, &why, kind);
    if (over > 0) {
        xo_warn_slow(c, topic, took, over);
    }
}

void xo_warn_slow(xonce_consumer *c, const char *topic, int64_t ran_ms, int64_t over_ms)
{
    int64_t now = xo_mono_ms();
    pthread_mutex_lock(&c->lock);
    int quiet = c->warned_at && now - c->warned_at < 60000;
    if (!quiet) {
        c->warned_at = now;
    }
    pthread_mutex_unlock(&c->lock);
    if (!quiet) {
        xo_log(XO_WARN, "consumer",
               "topic %s: a transaction has run for %lld ms, %lld ms beyond the time for which the source keeps its messages from others: they are delivered again and"
               " counted as duplicates. Make handlers faster or batch.max smaller",
               topic, (long long)ran_ms, (long long)over_ms);
    }
}

/* Waits for work. 0: stop. */
static int next_batch(xo_worker *w, xo_list *dropped)
{
    xonce_consumer *c = w->c;
    int go = 0;
    size_t wanted = 0;
    pthread_mutex_lock(&c->lock);
    while (!c->stopping) {
        int64_t look_again = INT64_MAX;
        if (w->room < c->batch_max && wanted != c->batch_max) {
            wanted = c->batch_max;
            pthread_mutex_unlock(&c->lock);
            grow(w, wanted);
            pthread_mutex_lock(&c->lock);
            continue; /* a stop may have come meanwhile, and nobody calls twice */
        }
        size_t n = xo_take(c, w, dropped, &look_again);
        if (n && c->places[w->sub->place].down) {
            c->places[w->sub->place].probing = w->probing = 1;
        }
        if (n || dropped->n) {
            go = 1;
            if (c->waiting && !(n && w->probing)) {
                xo_call_worker(c); /* the next one */
            }
            break;
        }
        xo_cond_wait_ms(&c->work, &c->lock, look_again);
    }
    pthread_mutex_unlock(&c->lock);
    return go;
}

void *xo_worker_main(void *worker)
{
    xo_worker *w = worker;
    size_t n = 0;
    xonce_status st = xo_states_start(w->c, w->states, &n);
    if (st != XONCE_OK) {
        xo_states_end(w->c, w->states, n);
        xo_error why;
        (void)xo_error_context("worker_start");
        xo_error_save(&why);
        why.pub.code = st;
        xo_consumer_die(w->c, &why);
        return NULL;
    }
    w->ahead = (xo_ahead){.take = take_later, .arg = w};
    for (xo_list dropped = {0}; w->n || next_batch(w, &dropped);) {
        xo_give_back(w->c, &dropped, 0);
        if (w->n) {
            work(w);
        }
    }
    pthread_mutex_lock(&w->c->lock);
    xo_pace_end(w->c, w);
    pthread_mutex_unlock(&w->c->lock);
    xo_ahead_drop(&w->ahead);
    xo_states_end(w->c, w->states, n);
    return NULL;
}
