/* The HTTP source as the consumer sees it: open, subscribe, poll, ack, stop. */
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "proto/properties.h"
#include "source/http/http.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { REPORT_EVERY_MS = 1000, FIRST_POLLS = 4, HANDOUTS_MAX = 280 /* the service gives a message out 288 times */ };

/* ---- lists ---- */

xonce_message *xo_http_list_take(xo_http_list *l)
{
    xonce_message *m = l->first;
    if (!m)
        return NULL;
    if (!(l->first = m->next))
        l->last = &l->first;
    l->n--;
    m->next = NULL;
    return m;
}

void xo_http_list_free(xo_http_list *l)
{
    for (xonce_message *m; (m = xo_http_list_take(l));)
        xonce_message_free(m);
    xo_http_list_init(l);
}

/* ---- subscriptions ---- */

static void free_sub(xo_http_sub *sub, int slots)
{
    for (int i = 0; sub->polls && i < slots; i++)
        if (sub->polls[i].call.easy)
            xo_http_call_free(&sub->polls[i].call);
    xo_http_list_free(&sub->acks);
    free(sub->polls);
    free(sub->topic);
    free(sub->what);
    free(sub->poll_target);
    free(sub->ack_target);
    free(sub);
}

static xonce_status make_targets(xo_http_source *s, xo_http_sub *sub, const char *group, const char *tags)
{
    xo_buf b = {0};
    xonce_status st = xo_http_target(&b, &s->endpoint, sub->topic, group);
    if (!st) {
        sub->ack_target = xo_strdup(b.p);
        if (tags && *tags && strcmp(tags, "*")) {
            char *encoded = xo_percent(tags);
            if (encoded)
                xo_buf_printf(&b, "&tag=%s", encoded);
            else
                b.failed = 1;
            free(encoded);
        }
        if (sub->ordered)
            xo_buf_str(&b, "&trans=order");
        st = xo_buf_status(&b);
        sub->poll_target = st ? NULL : xo_buf_take(&b);
        sub->what = xo_printf("consuming %s as %s", sub->topic, group);
        if (!st && (!sub->ack_target || !sub->poll_target || !sub->what))
            st = xo_nomem();
    }
    xo_buf_free(&b);
    return st;
}

static xonce_status fill_sub(xo_http_source *s, xo_http_sub *sub, const char *group, const char *topic,
                             const char *tags)
{
    xonce_status st = tags ? xo_check_xml_text("tags", tags, strlen(tags)) : XONCE_OK;
    if (st)
        return st;
    sub->topic = xo_strdup(topic);
    sub->polls = xo_calloc((size_t)s->slots, sizeof *sub->polls);
    if (!sub->topic || !sub->polls)
        return xo_nomem();
    for (int i = 0; i < s->slots; i++)
        sub->polls[i].sub = sub;
    return make_targets(s, sub, group, tags);
}

static xonce_status subscribe(xonce_source *base, const char *group, const char *topic, const char *tags, int ordered)
{
    xo_http_source *s = (xo_http_source *)base;
    if (s->started)
        return xo_fail(XONCE_E_INVALID, "subscribe to %.100s before the source is started", topic);
    for (size_t i = 0; i < s->nsubs; i++)
        if (!strcmp(s->subs[i]->topic, topic))
            return xo_fail(XONCE_E_INVALID, "topic %.100s is subscribed already", topic);
    xo_http_sub **grown = xo_grow(s->subs, &s->cap_subs, s->nsubs + 1, sizeof *grown);
    if (!grown)
        return xo_nomem();
    s->subs = grown;
    xo_http_sub *sub = xo_calloc(1, sizeof *sub);
    if (!sub)
        return xo_nomem();
    xo_http_list_init(&sub->acks);
    sub->ordered = ordered;
    sub->empty_at = -1;
    xonce_status st = fill_sub(s, sub, group, topic, tags);
    if (st)
        free_sub(sub, s->slots);
    else
        s->subs[s->nsubs++] = sub;
    return st;
}

/* ---- start, stop ---- */

static xonce_status start_thread(xo_http_source *s)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the application's signals are for its own threads */
    int rc = pthread_create(&s->thread, NULL, xo_http_loop, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc)
        return xo_fail(XONCE_E_NOMEM, "cannot start the source's thread: %s", strerror(rc));
    return XONCE_OK;
}

/* Every poll in flight reserves what it may bring; each subscription must have room for one at least. */
static void fit_polls(xo_http_source *s)
{
    size_t share = s->max_messages / s->nsubs;
    if (share < (size_t)s->batch)
        s->batch = share ? (int)share : 1;
    share /= (size_t)s->batch;
    if (share < (size_t)s->polls)
        s->polls = share ? (int)share : 1;
    int first = s->polls < FIRST_POLLS ? s->polls : FIRST_POLLS;
    for (size_t i = 0; i < s->nsubs; i++)
        s->subs[i]->target = first;
    s->least_window = s->nsubs * (size_t)s->batch;
    s->window = 2 * s->nsubs * (size_t)first * (size_t)s->batch;
}

static xonce_status start(xonce_source *base)
{
    xo_http_source *s = (xo_http_source *)base;
    if (s->started)
        return XONCE_OK;
    if (!s->nsubs)
        return xo_fail(XONCE_E_INVALID, "nothing is subscribed");
    fit_polls(s);
    for (int i = 0; i < XO_ACK_SLOTS; i++)
        xo_http_list_init(&s->acks[i].list);
    xonce_status st = xo_http_loop_open(s);
    if (st)
        return st;
    curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, (long)(s->nsubs * (size_t)s->polls + XO_ACK_SLOTS));
    s->started = 1;
    st = start_thread(s);
    if (st)
        s->started = 0;
    return st;
}

/* Polls in flight are cut at once: what they might still bring could only be dropped. A message that the endpoint hands
   out in that very moment comes again at its NextConsumeTime, as do the buffered ones; the protocol has no way to give
   a message back. */
static xonce_status stop(xonce_source *base, int64_t timeout_ms)
{
    xo_http_source *s = (xo_http_source *)base;
    xo_http_list dropped;
    int64_t deadline = xo_mono_ms() + timeout_ms;
    pthread_mutex_lock(&s->lock);
    s->stopping = 1;
    dropped = s->buffer;
    if (!dropped.first)
        xo_http_list_init(&dropped);
    xo_http_list_init(&s->buffer);
    for (const xonce_message *m = dropped.first; m; m = m->next)
        s->bytes -= m->body_len;
    pthread_cond_broadcast(&s->ready);
    int wake = xo_http_poke(s);
    pthread_mutex_unlock(&s->lock);
    if (wake)
        xo_http_wake(s);
    xo_http_list_free(&dropped);
    pthread_mutex_lock(&s->lock);
    int late = 0;
    while (s->started && s->unacked && !late)
        late = xo_cond_wait_ms(&s->settled, &s->lock, deadline) != 0;
    size_t left = s->started ? s->unacked : 0;
    char why[200] = "";
    if (left && s->ntransient)
        memcpy(why, s->transient.pub.text, sizeof why - 1);
    pthread_mutex_unlock(&s->lock);
    if (left)
        return xo_fail(
            XONCE_E_TIMEOUT,
            "%zu acknowledgements were not sent in time: the messages will come again and be found duplicates%s%s",
            left, *why ? "; " : "", why);
    return XONCE_OK;
}

static void close_source(xonce_source *base)
{
    xo_http_source *s = (xo_http_source *)base;
    if (!s)
        return;
    if (s->started) {
        pthread_mutex_lock(&s->lock);
        s->quit = s->stopping = 1;
        pthread_mutex_unlock(&s->lock);
        xo_http_wake(s);
        pthread_join(s->thread, NULL);
    }
    for (size_t i = 0; i < s->nsubs; i++)
        free_sub(s->subs[i], s->slots);
    free(s->subs);
    for (int i = 0; i < XO_ACK_SLOTS; i++)
        if (s->acks[i].call.easy)
            xo_http_call_free(&s->acks[i].call);
    xo_http_loop_close(s);
    xo_http_list_free(&s->buffer);
    pthread_cond_destroy(&s->ready);
    pthread_cond_destroy(&s->settled);
    pthread_mutex_destroy(&s->lock);
    xo_http_endpoint_close(&s->endpoint);
    free(s);
}

/* ---- poll ---- */

/* Under the lock. Takes up to max into out, drops those whose time is up, and fits the window to the consumer's pace:
   what waits in the buffer for long comes to others again, and each time it does one of its 288 hand-outs is gone. */
static void take(xo_http_source *s, size_t max, xo_http_list *out, xo_http_list *expired)
{
    int64_t now = xo_mono_ms(), boot = xo_boot_ms();
    int late = 0;
    while (out->n < max && s->buffer.n) {
        xonce_message *m = xo_http_list_take(&s->buffer);
        int64_t waited = boot - m->polled_boot;
        if (m->expires_mono <= now) {
            s->bytes -= m->body_len;
            s->counts.expired++;
            xo_http_list_append(expired, m);
            late = 1;
            continue;
        }
        if (m->expires_mono != INT64_MAX && waited * 8 > m->expires_mono - now + waited)
            late = 1;
        s->out++;
        xo_http_list_append(out, m);
    }
    if (late) {
        s->window /= 2;
        if (s->window < s->least_window)
            s->window = s->least_window;
    }
}

/* Under the lock: 1 when an error is to be returned now. */
static int error_due(xo_http_source *s, int64_t now, xo_error *e, uint64_t *failures)
{
    *failures = 0;
    if (s->failed) {
        *e = s->permanent;
        return 1;
    }
    if (!s->ntransient || now < s->reported_at + REPORT_EVERY_MS)
        return 0;
    *e = s->transient;
    *failures = s->ntransient;
    s->ntransient = 0;
    s->reported_at = now;
    return 1;
}

/* Under the lock: waits until there is something to return or the deadline. */
static int wait_for(xo_http_source *s, int64_t deadline, xo_error *e, uint64_t *failures)
{
    for (;;) {
        int64_t now = xo_mono_ms(), until = deadline;
        if (s->stopping || s->failed || (!s->buffer.n && s->ntransient))
            if (error_due(s, now, e, failures))
                return 1;
        if (s->buffer.n || s->woken || s->stopping || now >= deadline)
            return 0;
        if (s->held && s->window < s->max_messages) { /* the consumer is faster than the window lets it be */
            s->window *= 2;
            if (xo_http_poke(s))
                xo_http_wake(s);
        }
        if (s->ntransient && s->reported_at + REPORT_EVERY_MS < until)
            until = s->reported_at + REPORT_EVERY_MS;
        xo_cond_wait_ms(&s->ready, &s->lock, until);
    }
}

static xonce_status poll_messages(xonce_source *base, size_t max, int64_t timeout_ms, xonce_message **list)
{
    xo_http_source *s = (xo_http_source *)base;
    xo_http_list out, expired;
    xo_error e;
    uint64_t failures;
    xo_http_list_init(&out);
    xo_http_list_init(&expired);
    *list = NULL;
    pthread_mutex_lock(&s->lock);
    int error = wait_for(s, xo_mono_ms() + timeout_ms, &e, &failures), stopping = s->stopping;
    s->woken = 0;
    if (!error && !stopping)
        take(s, max, &out, &expired);
    int wake = s->held && s->buffer.n * 2 <= s->window && xo_http_poke(s);
    pthread_mutex_unlock(&s->lock);
    if (wake)
        xo_http_wake(s);
    xo_http_list_free(&expired);
    *list = out.first;
    if (error) {
        xonce_status st = xo_error_restore(&e);
        return failures > 1 ? xo_error_context("%llu requests failed, the last", (unsigned long long)failures) : st;
    }
    return stopping ? xo_fail(XONCE_E_CLOSED, "the source is stopping") : XONCE_OK;
}

static void wake(xonce_source *base)
{
    xo_http_source *s = (xo_http_source *)base;
    pthread_mutex_lock(&s->lock);
    s->woken = 1;
    pthread_cond_broadcast(&s->ready);
    pthread_mutex_unlock(&s->lock);
}

/* ---- settle ---- */

static xo_http_sub *sub_of(xo_http_source *s, const xonce_message *m)
{
    for (size_t i = 0; i < s->nsubs; i++)
        if (!strcmp(s->subs[i]->topic, m->topic))
            return s->subs[i];
    return NULL;
}

/* Under the lock: 1 when the I/O thread must know. */
static int enqueue(xo_http_source *s, xonce_message *m)
{
    xo_http_sub *sub = sub_of(s, m);
    s->out--;
    if (!sub || !m->handle || !s->started) {
        s->bytes -= m->body_len;
        xonce_message_free(m);
        return 0;
    }
    xo_http_list_append(&sub->acks, m);
    s->unacked++;
    if (sub->acks.n == 1)
        sub->acks_due = sub->ordered ? 0 : xo_mono_ms() + s->linger_ms;
    return sub->acks.n == 1 || sub->acks.n == XO_ACK_MAX || s->stopping;
}

static void ack(xonce_source *base, xonce_message *list)
{
    xo_http_source *s = (xo_http_source *)base;
    int wake_up = 0;
    pthread_mutex_lock(&s->lock);
    for (xonce_message *m = list, *next; m; m = next) {
        next = m->next;
        wake_up |= enqueue(s, m);
    }
    wake_up = (wake_up || s->held) && xo_http_poke(s);
    pthread_mutex_unlock(&s->lock);
    if (wake_up)
        xo_http_wake(s);
}

/* The protocol has no negative acknowledgement: the message comes at its NextConsumeTime, whatever delay was wished
 * for. */
static void nack(xonce_source *base, xonce_message *m, int64_t delay_ms)
{
    xo_http_source *s = (xo_http_source *)base;
    (void)delay_ms;
    pthread_mutex_lock(&s->lock);
    s->out--;
    s->bytes -= m->body_len;
    int wake_up = s->held && xo_http_poke(s);
    pthread_mutex_unlock(&s->lock);
    if (wake_up)
        xo_http_wake(s);
    xonce_message_free(m);
}

static void hold(xonce_source *base, const char *topic, int on)
{
    xo_http_source *s = (xo_http_source *)base;
    int wake_up = 0;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->nsubs; i++)
        if (!strcmp(s->subs[i]->topic, topic)) {
            __atomic_store_n(&s->subs[i]->held, on, __ATOMIC_RELEASE);
            wake_up = !on && xo_http_poke(s);
        }
    pthread_mutex_unlock(&s->lock);
    if (wake_up)
        xo_http_wake(s);
}

/* An empty answer counts for a while, since with several subscriptions they do not come at one moment; that while is
 * nothing against keep_floor_ms. */
static int caught_up(xonce_source *base)
{
    xo_http_source *s = (xo_http_source *)base;
    int64_t now = xo_mono_ms(), fresh = 3 * s->wait_s * 1000 + 5000;
    pthread_mutex_lock(&s->lock);
    int yes = !s->buffer.n && !s->out && !s->unacked && !s->failed && !s->stopping && s->started;
    for (size_t i = 0; yes && i < s->nsubs; i++)
        yes = !s->subs[i]->held && s->subs[i]->empty_at >= 0 && now - s->subs[i]->empty_at <= fresh;
    for (size_t i = 0; yes && i < s->nsubs; i++)
        s->subs[i]->empty_at = -1;
    pthread_mutex_unlock(&s->lock);
    return yes;
}

static void counts(xonce_source *base, xo_source_counts *out)
{
    xo_http_source *s = (xo_http_source *)base;
    pthread_mutex_lock(&s->lock);
    *out = s->counts;
    out->buffered = s->buffer.n;
    out->unacked = s->unacked;
    pthread_mutex_unlock(&s->lock);
}

/* ---- open ---- */

static const xo_source_ops ops = {subscribe, start, poll_messages, ack, nack, caught_up, stop, wake, close_source, NULL, NULL, NULL};

xonce_status xo_source_http_open(xonce_source **out, const char *uri, const xonce_config *cfg)
{
    *out = NULL;
    xo_http_source *s = xo_calloc(1, sizeof *s);
    if (!s)
        return xo_nomem();
    s->base = (xonce_source){.ops = &ops, .kind = "http", .keep_floor_ms = INT64_C(24) * 3600 * 1000, .max_attempts = HANDOUTS_MAX, .counts = counts, .hold = hold};
    s->wake[0] = s->wake[1] = -1;
    s->polls = s->slots = (int)xo_config_int(cfg, "http.polls");
    s->batch = (int)xo_config_int(cfg, "http.batch");
    s->wait_s = xo_config_int(cfg, "http.wait") / 1000;
    int64_t idle = xo_config_int(cfg, "exit-when-idle");
    if (idle && !xo_config_is_set(cfg, "http.wait") && idle < 2000 * s->wait_s)
        s->wait_s = (idle + 1999) / 2000; /* who wants to end soon wants to hear soon that there is nothing */
    s->linger_ms = xo_config_int(cfg, "http.ack-linger");
    s->timeout_ms = xo_config_int(cfg, "http.timeout");
    s->max_messages = (size_t)xo_config_int(cfg, "buffer.messages");
    s->max_bytes = (size_t)xo_config_int(cfg, "buffer.size");
    s->reported_at = INT64_MIN / 2;
    xo_http_list_init(&s->buffer);
    pthread_mutex_init(&s->lock, NULL);
    xo_cond_init(&s->ready);
    xo_cond_init(&s->settled);
    xonce_status st = xo_http_endpoint_open(&s->endpoint, uri, cfg);
    if (st) {
        close_source(&s->base);
        return st;
    }
    *out = &s->base;
    return XONCE_OK;
}
