/* The dispatcher: asks the source while there is room, and sorts what comes into the queues. */
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "consumer/parts.h"
#include <stdio.h>

enum { POLL_MS = 1000, POLL_MAX = 256, BIGGEST_BODY = 4 << 20, LOOK_MS = 500 };

/* How many messages there is room for; 0 = none now. Bodies of up to 4 MiB never overshoot buffer.size. Lock held. */
static size_t room(const xonce_consumer *c)
{
    int64_t retry_at = 0;
    int down = xo_all_down(c, &retry_at);
    if (down && (c->in_flight || xo_mono_ms() < retry_at)) {
        return 0; /* one message at a time is enough to find out whether it is back */
    }
    if (c->in_flight >= c->buffer_messages || c->in_flight_bytes >= c->buffer_size) {
        return 0;
    }
    size_t n = c->buffer_messages - c->in_flight, by_size = (c->buffer_size - c->in_flight_bytes) / BIGGEST_BODY;
    if (by_size < n) {
        n = by_size ? by_size : 1;
    }
    return down ? 1 : n < POLL_MAX ? n : POLL_MAX;
}

/* Waits for room. 0: stop. */
static size_t wait_for_room(xonce_consumer *c, int64_t *idle_since)
{
    size_t n = 0;
    pthread_mutex_lock(&c->lock);
    while (!c->stopping && !(n = room(c))) {
        int64_t retry_at = 0;
        int down = xo_all_down(c, &retry_at);
        if (!c->full && !down) {
            c->full = 1;
            xo_call_worker(c); /* who waits for a batch to fill would wait in vain */
        }
        int64_t look = c->nplaces > 1 ? xo_mono_ms() + LOOK_MS : INT64_MAX, until = down && !c->in_flight ? retry_at : INT64_MAX;
        xo_cond_wait_ms(&c->room, &c->lock, look < until ? look : until);
        *idle_since = xo_mono_ms();
        if (look < INT64_MAX) {
            pthread_mutex_unlock(&c->lock);
            xo_crowd_look(c);
            pthread_mutex_lock(&c->lock);
        }
    }
    if (c->stopping) {
        n = 0;
    }
    c->full = 0;
    pthread_mutex_unlock(&c->lock);
    return n;
}

/* 0: cannot go on. */
static int sort_in(xonce_consumer *c, xonce_message *list)
{
    xo_list all = {.head = list}, back = {0}, off = {0};
    size_t bytes = xo_list_bytes(&all);
    int broken = 0;
    for (const xonce_message *m = list; m; m = m->next) {
        all.n++;
    }
    for (xonce_message *m = list; m; m = m->next) {
        xo_route(c, m);
    }
    pthread_mutex_lock(&c->lock);
    c->polled += all.n;
    c->in_flight += all.n;
    c->in_flight_bytes += bytes;
    c->last_message = xo_mono_ms();
    for (xonce_message *m = list, *next; m; m = next) {
        next = m->next;
        m->failed = m->rejected = m->duplicate = m->put_off = 0; /* what an earlier delivery left in it */
        xo_sub *s = xo_sub_of(c, m);
        if (!s || c->stopping || broken) {
            xo_list_push(&back, m);
        } else if (xo_crowds(c, s, m)) {
            xo_count_put_off(c, &c->places[s->place], m);
            xo_list_push(&off, m);
        } else if (s->in_lanes && xo_lane_add(c, s, m) != 0) {
            broken = 1; /* going on would let later messages of the lane pass this one */
            xo_list_push(&back, m);
        } else {
            xo_place_has(c, s, m);
            if (!s->in_lanes) {
                xo_enqueue(c, s, m);
            }
        }
    }
    xo_call_worker(c);
    int stopping = c->stopping;
    pthread_mutex_unlock(&c->lock);
    if (broken) {
        xo_error why;
        (void)xo_nomem();
        xo_error_save(&why);
        xo_consumer_die(c, &why);
    } else if (back.n && !stopping) {
        xo_log(XO_ERROR, "consumer", "gave back %zu messages of topics that nobody subscribed to, among them %s", back.n, back.head->topic);
    }
    xo_give_back(c, &back, stopping || broken ? 0 : XO_PAUSE_MAX);
    xo_give_back(c, &off, XO_PAUSE_MAX);
    return !broken;
}

/* After a failed poll. 0: the source will never answer. */
static int source_failed(xonce_consumer *c, int64_t *pause)
{
    if (xo_consumer_stopping(c)) {
        return 0; /* it was told to stop while this poll waited, and said so */
    }
    xo_error why;
    xo_error_save(&why);
    if (!why.pub.again) {
        xo_consumer_die(c, &why);
        return 0;
    }
    pthread_mutex_lock(&c->lock);
    int news = !c->source_down;
    c->source_down = 1;
    (void)snprintf(c->metrics.source_error, sizeof(c->metrics.source_error), "%s", why.pub.text);
    pthread_mutex_unlock(&c->lock);
    if (news) {
        xo_log(XO_ERROR, "consumer", "the source cannot be asked: %s", why.pub.text);
    }
    *pause = xo_next_pause(*pause, 500);
    int64_t until = xo_mono_ms() + *pause;
    pthread_mutex_lock(&c->lock);
    while (!c->stopping && xo_mono_ms() < until) {
        xo_cond_wait_ms(&c->room, &c->lock, until);
    }
    pthread_mutex_unlock(&c->lock);
    return 1;
}

/* So many polls the source's other side has answered, with messages or without. That ours brought nothing says little: the long polls behind it may wait in vain. *reached: so often it
   has shown that it is there, with these or otherwise. */
static uint64_t answers(const xonce_consumer *c, uint64_t *reached)
{
    xo_source_counts n = {0};
    if (c->source->counts) {
        c->source->counts(c->source, &n);
    }
    *reached = n.answers + n.heard;
    return n.answers;
}

/* Some requests fail while others are answered: the source sees to its own pauses, and nothing has to wait. */
static void failed_in_part(int64_t *told)
{
    int64_t now = xo_mono_ms();
    if (!*told || now - *told > 60000) {
        *told = now;
        xo_log(XO_WARN, "consumer", "some requests to the source fail, others are answered: %s", xonce_error_last()->text);
    }
}

static void source_answered(xonce_consumer *c, int64_t *pause)
{
    if (!*pause) {
        return;
    }
    *pause = 0;
    pthread_mutex_lock(&c->lock);
    c->source_down = 0;
    pthread_mutex_unlock(&c->lock);
    xo_log(XO_INFO, "consumer", "the source answers again");
}

static int is_idle(xonce_consumer *c, int64_t *since)
{
    pthread_mutex_lock(&c->lock);
    int64_t now = xo_mono_ms();
    int quiet = c->in_flight == 0 && !c->down && !c->source_down && now >= c->put_off_until;
    pthread_mutex_unlock(&c->lock);
    if (!quiet) {
        *since = now;
    }
    return quiet && now - *since >= c->idle;
}

/* What the source had answered at the last message or outage, and at the last failure. */
typedef struct {
    uint64_t quiet, failure;
    int64_t told;
} answered_at;

/* After a failed poll. 0: the source will never answer. */
static int poll_failed(xonce_consumer *c, answered_at *at, int64_t *pause, int64_t *idle_since)
{
    uint64_t reached, n = answers(c, &reached);
    int in_part = xonce_error_last()->again && reached > at->failure;
    at->failure = reached;
    if (in_part) {
        failed_in_part(&at->told);
        source_answered(c, pause);
        return 1;
    }
    at->quiet = n;
    int go_on = source_failed(c, pause);
    *idle_since = xo_mono_ms();
    return go_on;
}

static void note_poll(xonce_consumer *c, int64_t since)
{
    pthread_mutex_lock(&c->lock);
    c->metrics.poll_since = since;
    pthread_mutex_unlock(&c->lock);
}

void *xo_dispatcher_main(void *consumer)
{
    xonce_consumer *c = consumer;
    int64_t pause = 0, idle_since = xo_mono_ms();
    answered_at at = {.told = 0};
    at.quiet = answers(c, &at.failure);
    for (size_t n; (n = wait_for_room(c, &idle_since));) {
        int64_t timeout = c->idle && c->idle < POLL_MS ? c->idle : POLL_MS;
        xonce_message *list = NULL;
        xo_crowd_look(c);
        note_poll(c, xo_mono_ms());
        xonce_status st = c->source->ops->poll(c->source, n, timeout, &list);
        note_poll(c, 0);
        if (st != XONCE_OK) {
            if (!poll_failed(c, &at, &pause, &idle_since)) {
                break;
            }
            continue;
        }
        uint64_t reached, now = answers(c, &reached);
        if (list || !c->source->counts || reached > at.failure) {
            source_answered(c, &pause);
        }
        if (list) {
            (void)xo_failpoint("polled");
            if (!sort_in(c, list)) {
                break;
            }
            idle_since = xo_mono_ms();
            at.quiet = now;
        } else if (c->idle && (!c->source->counts || now > at.quiet) && is_idle(c, &idle_since)) {
            xo_log(XO_INFO, "consumer", "no message for %lld ms: stopping", (long long)c->idle);
            xonce_consumer_ask_stop(c);
            break;
        }
    }
    return NULL;
}
