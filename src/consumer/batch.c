/* The queues between the dispatcher and the workers, and what a worker takes as one batch. */
#include "base/clock.h"
#include "consumer/parts.h"
#include <string.h>

void xo_list_push(xo_list *l, xonce_message *m)
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

void xo_list_append(xo_list *l, xo_list *more)
{
    if (!more->head) {
        return;
    }
    if (l->tail) {
        l->tail->next = more->head;
    } else {
        l->head = more->head;
    }
    l->tail = more->tail;
    l->n += more->n;
    *more = (xo_list){0};
}

void xo_list_prepend(xo_list *l, xo_list *more)
{
    xo_list_append(more, l);
    *l = *more;
    *more = (xo_list){0};
}

xonce_message *xo_list_pop(xo_list *l)
{
    xonce_message *m = l->head;
    if (m) {
        l->head = m->next;
        if (!l->head) {
            l->tail = NULL;
        }
        l->n--;
        m->next = NULL;
    }
    return m;
}

xo_sub *xo_find_sub(xonce_consumer *c, const char *topic)
{
    for (size_t i = 0; i < c->nsubs; i++) {
        if (strcmp(c->subs[i].topic, topic) == 0) {
            return &c->subs[i];
        }
    }
    return NULL;
}

void xo_enqueue(xonce_consumer *c, xo_sub *s, xonce_message *m)
{
    xo_list_push(&s->waiting, m);
    c->waiting++;
}

size_t xo_list_bytes(const xo_list *l)
{
    size_t bytes = 0;
    for (const xonce_message *m = l->head; m; m = m->next) {
        bytes += m->body_len;
    }
    return bytes;
}

static void forget(xonce_consumer *c, size_t n, size_t bytes)
{
    pthread_mutex_lock(&c->lock);
    c->in_flight -= n;
    c->in_flight_bytes -= bytes;
    pthread_cond_signal(&c->room);
    pthread_mutex_unlock(&c->lock);
}

void xo_give_back(xonce_consumer *c, xo_list *l, int64_t delay_ms)
{
    size_t n = l->n, bytes = xo_list_bytes(l);
    for (xonce_message *m; (m = xo_list_pop(l));) {
        c->source->ops->nack(c->source, m, delay_ms);
    }
    if (n) {
        forget(c, n, bytes);
    }
}

void xo_acknowledge(xonce_consumer *c, xo_list *l)
{
    size_t n = l->n, bytes = xo_list_bytes(l);
    if (n) {
        c->source->ops->ack(c->source, l->head);
        *l = (xo_list){0};
        forget(c, n, bytes); /* not before: until here it is our memory */
    }
}

/* Is there a batch to take now? If not, *look_again says when it will be at the latest. */
static int batch_is_due(const xonce_consumer *c, const xo_sub *s, int64_t *look_again)
{
    if (!s->waiting.n) {
        return 0;
    }
    if (c->linger == 0 || s->waiting.n >= c->batch_max || c->full) {
        return 1;
    }
    int64_t left = c->linger - (xo_boot_ms() - s->waiting.head->polled_boot);
    if (left <= 0) {
        return 1;
    }
    int64_t at = xo_mono_ms() + left;
    if (at < *look_again) {
        *look_again = at;
    }
    return 0;
}

static size_t take_batch(xonce_consumer *c, xo_sub *s, xo_worker *w, xo_list *dropped)
{
    int64_t now = xo_mono_ms();
    size_t n = 0;
    while (n < c->batch_max) {
        xonce_message *m = xo_list_pop(&s->waiting);
        if (!m) {
            break;
        }
        c->waiting--;
        if (m->expires_mono <= now) { /* another consumer may have it by now: the claim would hold, but it would be work for nothing */
            xo_list_push(dropped, m);
            continue;
        }
        w->messages[n++] = m;
    }
    return n;
}

size_t xo_take(xonce_consumer *c, xo_worker *w, xo_list *dropped, int64_t *look_again)
{
    int64_t unasked = INT64_MAX;
    look_again = look_again ? look_again : &unasked;
    for (size_t i = 0; i < c->nsubs; i++) {
        xo_sub *s = &c->subs[(c->next_sub + i) % c->nsubs];
        size_t n = 0;
        if (s->in_lanes) {
            n = xo_lane_take(c, s, w, dropped, look_again);
        } else if (batch_is_due(c, s, look_again)) {
            n = take_batch(c, s, w, dropped);
        }
        if (!n) {
            continue;
        }
        c->next_sub = (c->next_sub + i + 1) % c->nsubs;
        w->sub = s;
        w->n = n;
        w->expires = INT64_MAX;
        for (size_t k = 0; k < n; k++) {
            memset(&w->items[k], 0, sizeof(w->items[k]));
            w->items[k].m = w->messages[k];
            w->items[k].outcome = XONCE_DEFERRED;
            w->fates[k] = XO_FATE_HOLD;
            if (w->messages[k]->expires_mono < w->expires) {
                w->expires = w->messages[k]->expires_mono;
            }
        }
        w->since = xo_mono_ms();
        return n;
    }
    return 0;
}

void xo_empty_queues(xonce_consumer *c, xo_list *out)
{
    for (size_t i = 0; i < c->nsubs; i++) {
        xo_sub *s = &c->subs[i];
        c->waiting -= s->waiting.n;
        xo_list_append(out, &s->waiting);
        if (s->in_lanes) {
            xo_lanes_empty(c, s, out);
        }
    }
}
