/* A source of the user's: one thread makes all its calls, in turn; the consumer's threads leave lists and requests for it. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "source/runs.h"
#include "source/source.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LONG_POLL_MS = 500,     /* a poll that wake() can end; short enough for a wake that came just before it */
    SHORT_POLL_MS = 50,     /* one that nothing can end: acks wait behind it */
    ACK_MAX = 512,
    EMPTY_MS = 1000,        /* polls that bring nothing for so long: the source is empty */
    AGAIN_MAX = 1000,       /* with so many to hand out again ourselves, no more are asked for */
    EXTEND_EVERY_MS = 10000, EXTEND_BY_MS = 30000,
    KEEP_FLOOR_MS = 24 * 3600 * 1000
};

typedef struct {
    xonce_message *head, *tail;
    size_t n;
} list;
/* A message in the library's hands, for extend. */
typedef struct {
    const xonce_message *m;
    int64_t extend_at;
} held;
typedef enum { ASK_NOTHING, ASK_SUBSCRIBE, ASK_POLL, ASK_CLOSE } ask_kind;

typedef struct {
    xonce_source base;
    xonce_source_ops user;
    void *self;
    pthread_t thread;
    pthread_mutex_t asking;      /* one request at a time */
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    /* guarded by lock */
    ask_kind ask;
    const char *group, *topic, *tags; /* ASK_SUBSCRIBE */
    size_t max;                  /* ASK_POLL */
    int64_t deadline;
    xonce_message *polled;       /* the answers */
    xo_error error;
    list acks, nacks;            /* a nack's delay stands in expires_mono as the time when it is due */
    int woken, stopped, in_poll, poked;
    size_t busy;                 /* acks and nacks that the thread is at */
    size_t outside;              /* polled, neither acknowledged nor given back */
    int64_t quiet_until;         /* until then something that was given back may still come */
    int64_t empty_since;
    int seen_empty;
    uint64_t acked, ack_failed, polls, answers;
    xo_histogram settling;
    /* the thread's own */
    list again;                  /* to be handed out again by us */
    xo_runs runs;
    held *helds;
    size_t nhelds, cap_helds;
    xonce_message **got;
    size_t cap_got;
} custom;

static custom *of(xonce_source *s)
{
    return (custom *)s;
}

static void push(list *l, xonce_message *m)
{
    m->next = NULL;
    if (l->tail) {
        l->tail->next = m;
    } else {
        l->head = m;
    }
    l->tail = m;
    l->n++;
}

static xonce_message *pop(list *l)
{
    xonce_message *m = l->head;
    if (m) {
        l->head = m->next;
        l->tail = l->head ? l->tail : NULL;
        l->n--;
        m->next = NULL;
    }
    return m;
}

static void free_list(list *l)
{
    for (xonce_message *m; (m = pop(l));) {
        xonce_message_free(m);
    }
}

static int cumulative(const custom *c)
{
    return (c->user.flags & XONCE_SOURCE_CUMULATIVE) != 0;
}

xonce_status xonce_set_error(xonce_status code, const char *fmt, ...)
{
    char text[sizeof xonce_error_last()->text];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return xo_fail(code, "%s", text);
}

/* A function of the user's returned st: the reason is its own, when it set one. */
static void user_failed(xonce_status st, const char *function, const char *topic)
{
    const char *of = *topic ? " for topic " : "";
    if (xonce_error_last()->code == st)
        (void)xo_error_context("the source's %s failed%s%s", function, of, topic);
    else
        (void)xo_fail(st, "the source's %s failed%s%s: %s", function, of, topic, xonce_status_name(st));
}

/* ---- the thread ---- */

static void hold(custom *c, const xonce_message *m)
{
    if (!c->user.extend) {
        return;
    }
    held *h = xo_grow(c->helds, &c->cap_helds, c->nhelds + 1, sizeof(*h));
    if (!h) {
        return; /* it may come to another consumer as well: the claim stops that */
    }
    c->helds = h;
    h[c->nhelds++] = (held){.m = m, .extend_at = xo_mono_ms() + EXTEND_EVERY_MS};
}

static void unhold(custom *c, const xonce_message *m)
{
    for (size_t i = 0; i < c->nhelds; i++) {
        if (c->helds[i].m == m) {
            c->nhelds--;
            memmove(&c->helds[i], &c->helds[i + 1], (c->nhelds - i) * sizeof(held));
            return;
        }
    }
}

static void extend_due(custom *c)
{
    int64_t now = xo_mono_ms();
    for (size_t i = 0; i < c->nhelds; i++) {
        held *h = &c->helds[i];
        if (h->extend_at <= now) {
            h->extend_at = now + EXTEND_EVERY_MS;
            xonce_status st = c->user.extend(c->self, h->m, EXTEND_BY_MS);
            if (st != XONCE_OK) {
                xo_log(XO_WARN, "source", "the source's extend failed: %s", xonce_status_name(st));
            }
        }
    }
}

/* One call of the user's ack, and the end of these messages. */
static void ack_some(custom *c, xonce_message **m, size_t n)
{
    xonce_status each[ACK_MAX];
    for (size_t i = 0; i < n; i++) {
        each[i] = XONCE_OK;
    }
    int64_t began = xo_mono_us();
    xonce_status st = c->user.ack(c->self, (const xonce_message *const *)m, n, each);
    size_t failed = 0;
    for (size_t i = 0; i < n; i++) {
        failed += st != XONCE_OK || each[i] != XONCE_OK;
        xonce_message_free(m[i]);
    }
    if (failed) {
        xo_log(XO_WARN, "source", "the source did not take %zu of %zu acknowledgements (%s): these messages come again as duplicates", failed, n, xonce_status_name(st));
    }
    pthread_mutex_lock(&c->lock);
    c->acked += n - failed;
    c->ack_failed += failed;
    xo_histogram_add(&c->settling, xo_mono_us() - began);
    pthread_mutex_unlock(&c->lock);
}

static void do_acks(custom *c, list *acks)
{
    xonce_message *some[ACK_MAX];
    size_t n = 0;
    for (xonce_message *m; (m = pop(acks));) {
        unhold(c, m);
        if (!cumulative(c)) {
            some[n++] = m;
        } else {
            xonce_message *last;
            xo_runs_settled(&c->runs, m, &last);
            if (!last) {
                continue;
            }
            /* a later one of the same queue covers it */
            size_t i = 0;
            while (i < n && (some[i]->queue != last->queue || strcmp(some[i]->broker, last->broker) != 0)) {
                i++;
            }
            if (i < n) {
                xonce_message_free(some[i]);
                some[i] = last;
            } else {
                some[n++] = last;
            }
        }
        if (n == ACK_MAX) {
            ack_some(c, some, n);
            n = 0;
        }
    }
    if (n) {
        ack_some(c, some, n);
    }
}

/* A source by position hands nothing out again by itself when it has no nack, or refuses it: then we do. */
static void do_nacks(custom *c, list *nacks)
{
    for (xonce_message *m; (m = pop(nacks));) {
        int64_t delay = m->expires_mono - xo_mono_ms();
        unhold(c, m);
        xonce_status st = c->user.nack ? c->user.nack(c->self, m, delay > 0 ? delay : 0) : XONCE_OK;
        if (st != XONCE_OK) {
            xo_log(XO_WARN, "source", "the source's nack failed: %s", xonce_status_name(st));
        }
        if (cumulative(c) && (!c->user.nack || st != XONCE_OK)) {
            push(&c->again, m);
        } else {
            xonce_message_free(m);
        }
    }
}

/* Messages of ours that are due again; *next is when the next one is. */
static xonce_message *take_again(custom *c, size_t max, int64_t *next)
{
    list due = {0}, rest = {0};
    int64_t now = xo_mono_ms();
    *next = INT64_MAX;
    for (xonce_message *m; (m = pop(&c->again));) {
        if (m->expires_mono <= now && due.n < max) {
            m->expires_mono = INT64_MAX;
            m->attempt += !m->put_off;
            m->polled_boot = xo_boot_ms();
            hold(c, m);
            push(&due, m);
        } else {
            if (m->expires_mono < *next) {
                *next = m->expires_mono;
            }
            push(&rest, m);
        }
    }
    c->again = rest;
    return due.head;
}

static xonce_message *take_polled(custom *c, size_t n)
{
    list l = {0};
    int64_t boot = xo_boot_ms();
    for (size_t i = 0; i < n; i++) {
        xonce_message *m = c->got[i];
        if (m) {
            m->polled_boot = boot;
            if (cumulative(c)) {
                xo_runs_delivered(&c->runs, m);
            }
            hold(c, m);
            push(&l, m);
        }
    }
    return l.head;
}

/* Polls that bring nothing make the source empty; what disturbed a poll proves nothing. Lock held. */
static void note_empty(custom *c, int64_t began, int empty)
{
    int64_t now = xo_mono_ms();
    if (!empty) {
        c->empty_since = 0;
        c->seen_empty = 0;
        return;
    }
    if (c->poked) {
        return;
    }
    if (!c->empty_since) {
        c->empty_since = began;
    }
    c->seen_empty = c->seen_empty || now - c->empty_since >= EMPTY_MS;
}

/* One call of the user's poll. Lock held at entry and exit. 1: the request is answered. */
static int poll_once(custom *c)
{
    int64_t now = xo_mono_ms(), next;
    int64_t left = c->deadline > now ? c->deadline - now : 0;
    size_t max = c->max;
    xonce_message *m = take_again(c, max, &next);
    if (m) {
        c->polled = m;
        for (; m; m = m->next) {
            c->outside++;
        }
        return 1;
    }
    if (c->again.n >= AGAIN_MAX) {
        xo_cond_wait_ms(&c->work, &c->lock, next < c->deadline ? next : c->deadline);
        return c->woken || xo_mono_ms() >= c->deadline;
    }
    int64_t timeout = c->user.wake ? LONG_POLL_MS : SHORT_POLL_MS;
    timeout = timeout < left ? timeout : left;
    if (next - now < timeout) {
        timeout = next - now > 0 ? next - now : 0;
    }
    c->in_poll = 1;
    c->poked = 0;
    c->polls++;
    pthread_mutex_unlock(&c->lock);
    size_t n = 0;
    (void)xo_fail(XONCE_OK, "%s", "");
    xonce_status st = c->user.poll(c->self, max, (int)timeout, c->got, &n);
    xo_error error = {.pub.code = XONCE_OK};
    if (st != XONCE_OK) {
        user_failed(st, "poll", "");
        xo_error_save(&error); /* what follows may set another */
    }
    if (n > max) {
        xo_log(XO_ERROR, "source", "the source's poll says %zu messages, %zu were asked for", n, max);
        n = max;
    }
    m = take_polled(c, n);
    pthread_mutex_lock(&c->lock);
    c->in_poll = 0;
    c->answers += st == XONCE_OK;
    note_empty(c, now, st == XONCE_OK && !m);
    c->polled = m;
    for (; m; m = m->next) {
        c->outside++;
    }
    if (st != XONCE_OK) {
        c->error = error;
        c->error.pub.again = 1; /* a source of the user's is always asked again */
    }
    return c->polled || st != XONCE_OK || c->woken || xo_mono_ms() >= c->deadline;
}

/* Answers a request. Lock held at entry and exit. 1: done. */
static int answer(custom *c)
{
    if (c->ask == ASK_POLL) {
        return poll_once(c);
    }
    ask_kind ask = c->ask;
    pthread_mutex_unlock(&c->lock);
    xo_error e = {.pub.code = XONCE_OK};
    if (ask == ASK_SUBSCRIBE && c->user.subscribe) {
        (void)xo_fail(XONCE_OK, "%s", "");
        xonce_status st = c->user.subscribe(c->self, c->group, c->topic, c->tags);
        if (st != XONCE_OK) {
            user_failed(st, "subscribe", c->topic);
            xo_error_save(&e);
        }
    } else if (ask == ASK_CLOSE && c->user.close) {
        c->user.close(c->self);
    }
    pthread_mutex_lock(&c->lock);
    c->error = e;
    return 1;
}

static void settle(custom *c)
{
    list acks = c->acks, nacks = c->nacks;
    c->acks = c->nacks = (list){0};
    c->busy = acks.n + nacks.n;
    c->outside -= c->busy;
    pthread_mutex_unlock(&c->lock);
    do_acks(c, &acks);
    do_nacks(c, &nacks);
    pthread_mutex_lock(&c->lock);
    c->busy = 0;
    pthread_cond_broadcast(&c->done);
}

static void *thread_main(void *source)
{
    custom *c = source;
    int64_t extend_at = xo_mono_ms() + EXTEND_EVERY_MS / 10;
    pthread_mutex_lock(&c->lock);
    for (int closed = 0; !closed;) {
        if (c->user.extend && xo_mono_ms() >= extend_at) {
            pthread_mutex_unlock(&c->lock);
            extend_due(c);
            pthread_mutex_lock(&c->lock);
            extend_at = xo_mono_ms() + EXTEND_EVERY_MS / 10;
        }
        if (c->acks.n || c->nacks.n) {
            settle(c);
        } else if (c->ask != ASK_NOTHING) {
            ask_kind ask = c->ask;
            if (answer(c)) {
                c->ask = ASK_NOTHING;
                pthread_cond_broadcast(&c->done);
                closed = ask == ASK_CLOSE;
            }
        } else {
            xo_cond_wait_ms(&c->work, &c->lock, c->nhelds ? extend_at : INT64_MAX);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* ---- called by the consumer ---- */

/* Leaves a request and waits for its answer. `asking` and lock held. */
static xonce_status ask(custom *c, ask_kind what)
{
    c->ask = what;
    c->error = (xo_error){.pub.code = XONCE_OK};
    pthread_cond_signal(&c->work);
    while (c->ask != ASK_NOTHING) {
        pthread_cond_wait(&c->done, &c->lock);
    }
    return c->error.pub.code == XONCE_OK ? XONCE_OK : xo_error_restore(&c->error);
}

static xonce_status op_subscribe(xonce_source *s, const char *group, const char *topic, const char *tags, int ordered)
{
    (void)ordered;
    custom *c = of(s);
    pthread_mutex_lock(&c->asking);
    pthread_mutex_lock(&c->lock);
    c->group = group;
    c->topic = topic;
    c->tags = tags;
    xonce_status st = ask(c, ASK_SUBSCRIBE);
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&c->asking);
    return st;
}

static xonce_status op_start(xonce_source *s)
{
    custom *c = of(s);
    pthread_mutex_lock(&c->lock);
    c->stopped = c->woken = 0;
    pthread_mutex_unlock(&c->lock);
    return XONCE_OK;
}

static xonce_status op_poll(xonce_source *s, size_t max, int64_t timeout_ms, xonce_message **out)
{
    custom *c = of(s);
    *out = NULL;
    pthread_mutex_lock(&c->asking);
    pthread_mutex_lock(&c->lock);
    xonce_message **got = xo_grow(c->got, &c->cap_got, max, sizeof(*got)); /* the thread is at no poll now */
    xonce_status st = got ? XONCE_OK : xo_nomem();
    if (got) {
        c->got = got;
    }
    if (got && !c->stopped && !c->woken) {
        c->max = max;
        c->deadline = xo_mono_ms() + timeout_ms;
        st = ask(c, ASK_POLL);
        *out = c->polled;
        c->polled = NULL;
        if (*out) {
            st = XONCE_OK; /* the messages first: an error will be back with the next poll */
        }
    }
    c->woken = 0;
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&c->asking);
    return st;
}

/* Makes a waiting poll return. Lock not held. */
static void poke(custom *c, int in_poll)
{
    if (in_poll && c->user.wake) {
        c->user.wake(c->self);
    }
}

static void op_ack(xonce_source *s, xonce_message *list_)
{
    custom *c = of(s);
    pthread_mutex_lock(&c->lock);
    for (xonce_message *m = list_, *next; m; m = next) {
        next = m->next;
        push(&c->acks, m);
    }
    int in_poll = c->in_poll;
    c->poked = 1;
    pthread_cond_signal(&c->work);
    pthread_mutex_unlock(&c->lock);
    poke(c, in_poll);
}

static void op_nack(xonce_source *s, xonce_message *m, int64_t delay_ms)
{
    custom *c = of(s);
    int64_t due = xo_mono_ms() + (delay_ms > 0 ? delay_ms : 0);
    m->expires_mono = due;
    pthread_mutex_lock(&c->lock);
    push(&c->nacks, m);
    if (due + EMPTY_MS > c->quiet_until) {
        c->quiet_until = due + EMPTY_MS;
    }
    int in_poll = c->in_poll;
    c->poked = 1;
    pthread_cond_signal(&c->work);
    pthread_mutex_unlock(&c->lock);
    poke(c, in_poll);
}

static int op_caught_up(xonce_source *s)
{
    custom *c = of(s);
    pthread_mutex_lock(&c->lock);
    int yes = c->seen_empty && !c->outside && !c->busy && xo_mono_ms() >= c->quiet_until;
    c->seen_empty = 0;
    c->empty_since = 0;
    pthread_mutex_unlock(&c->lock);
    return yes;
}

static xonce_status op_stop(xonce_source *s, int64_t timeout_ms)
{
    custom *c = of(s);
    int64_t deadline = xo_mono_ms() + timeout_ms;
    pthread_mutex_lock(&c->lock);
    c->stopped = 1;
    size_t left;
    while ((left = c->acks.n + c->nacks.n + c->busy) && xo_cond_wait_ms(&c->done, &c->lock, deadline) == 0) {
    }
    pthread_mutex_unlock(&c->lock);
    return left ? xo_fail(XONCE_E_TIMEOUT, "%zu messages could not be settled with the source within %lld ms", left, (long long)timeout_ms) : XONCE_OK;
}

static void op_wake(xonce_source *s)
{
    custom *c = of(s);
    pthread_mutex_lock(&c->lock);
    c->woken = c->poked = 1;
    int in_poll = c->in_poll;
    pthread_cond_signal(&c->work);
    pthread_mutex_unlock(&c->lock);
    poke(c, in_poll);
}

static void op_close(xonce_source *s)
{
    custom *c = of(s);
    pthread_mutex_lock(&c->asking);
    pthread_mutex_lock(&c->lock);
    (void)ask(c, ASK_CLOSE);
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&c->asking);
    pthread_join(c->thread, NULL);
    free_list(&c->again);
    xo_runs_free(&c->runs);
    free(c->helds);
    free(c->got);
    pthread_cond_destroy(&c->work);
    pthread_cond_destroy(&c->done);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->asking);
    free(c);
}

static void custom_counts(xonce_source *s, xo_source_counts *out)
{
    custom *c = of(s);
    pthread_mutex_lock(&c->lock);
    *out = (xo_source_counts){.acked = c->acked, .ack_failed = c->ack_failed, .polls = c->polls, .answers = c->answers, .unacked = c->acks.n + c->busy,
                              .settling = c->settling};
    pthread_mutex_unlock(&c->lock);
}

static const xo_source_ops ops = {op_subscribe, op_start, op_poll, op_ack, op_nack, op_caught_up, op_stop, op_wake, op_close, NULL, NULL, NULL};

static int start_thread(custom *c)
{
    if (pthread_mutex_init(&c->asking, NULL) != 0) {
        return -1;
    }
    if (pthread_mutex_init(&c->lock, NULL) != 0) {
        goto no_lock;
    }
    if (xo_cond_init(&c->work) != 0) {
        goto no_work;
    }
    if (xo_cond_init(&c->done) != 0) {
        goto no_done;
    }
    if (pthread_create(&c->thread, NULL, thread_main, c) == 0) {
        return 0;
    }
    pthread_cond_destroy(&c->done);
no_done:
    pthread_cond_destroy(&c->work);
no_work:
    pthread_mutex_destroy(&c->lock);
no_lock:
    pthread_mutex_destroy(&c->asking);
    return -1;
}

xonce_status xonce_source_custom(xonce_source **out, const xonce_source_ops *user, void *self)
{
    if (!out) {
        return xo_fail(XONCE_E_INVALID, "xonce_source_custom: no place for the source");
    }
    *out = NULL;
    size_t least = offsetof(xonce_source_ops, ack) + sizeof(user->ack);
    if (!user || user->size < least) {
        return xo_fail(XONCE_E_INVALID, "xonce_source_custom: set ops.size to sizeof(xonce_source_ops)");
    }
    if (!user->poll || !user->ack) {
        return xo_fail(XONCE_E_INVALID, "xonce_source_custom: poll and ack are needed");
    }
    if (user->flags & ~XONCE_SOURCE_CUMULATIVE) {
        return xo_fail(XONCE_E_INVALID, "xonce_source_custom: unknown flags 0x%x", user->flags & ~XONCE_SOURCE_CUMULATIVE);
    }
    custom *c = xo_calloc(1, sizeof(*c));
    if (!c) {
        return xo_nomem();
    }
    memcpy(&c->user, user, user->size < sizeof(c->user) ? user->size : sizeof(c->user));
    c->self = self;
    c->base = (xonce_source){.ops = &ops, .kind = "custom", .keep_floor_ms = KEEP_FLOOR_MS, .counts = custom_counts, .keeps_back = cumulative(c) && !c->user.nack};
    if (start_thread(c) != 0) {
        free(c);
        return xo_fail(XONCE_E_NOMEM, "xonce_source_custom: its thread cannot be started");
    }
    *out = &c->base;
    return XONCE_OK;
}
