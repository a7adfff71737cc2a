/* What is gathered while nobody asks: a point of each consumer every few seconds. */
#include "base/clock.h"
#include "status/inside.h"
#include <string.h>

enum { SWEEP_MS = 500 };

/* ---- points ---- */

const xo_point *xo_point_at(const xo_watched *w, size_t i)
{
    return &w->points[xo_series_at(&w->series, i)];
}

int64_t xo_queue_lag(const xo_source_queue *q)
{
    return q->position < 0 || q->end < 0 ? -1 : q->end > q->position ? q->end - q->position : 0;
}

int64_t xo_lag_of(const xo_source_queue *q, size_t n)
{
    int64_t all = -1;
    for (size_t i = 0; i < n; i++) {
        int64_t lag = xo_queue_lag(&q[i]);
        if (lag >= 0) {
            all = all < 0 ? lag : all + lag;
        }
    }
    return all;
}

static int64_t lag_now(xonce_consumer *c)
{
    xo_source_queue *q;
    size_t n;
    int64_t lag = -1;
    if (xo_consumer_queues(c, &q, &n) == XONCE_OK) {
        lag = xo_lag_of(q, n);
        xo_source_queues_free(q, n);
    }
    return lag;
}

static void take_point(xo_status *s, xo_watched *w)
{
    xo_view_of v;
    if (xo_consumer_view(w->c, &v) != XONCE_OK) {
        return;
    }
    xo_point p = {.at = xo_now_ms(), .seen = v.seen, .in_flight = v.in_flight, .lag = lag_now(w->c)};
    memcpy(p.times, v.metrics.times, sizeof(p.times));
    xo_consumer_unview(&v);
    pthread_mutex_lock(&s->lock);
    w->points[xo_series_add(&w->series)] = p;
    pthread_mutex_unlock(&s->lock);
}

int xo_status_wait(xo_status *s, int64_t then)
{
    pthread_mutex_lock(&s->lock);
    while (!s->stopping && xo_mono_ms() < then) {
        xo_cond_wait_ms(&s->tick, &s->lock, then);
    }
    int go_on = !s->stopping;
    pthread_mutex_unlock(&s->lock);
    return go_on;
}

void *xo_sampler_main(void *status)
{
    xo_status *s = status;
    int64_t now = xo_mono_ms(), next = now;
    while (xo_status_wait(s, now + SWEEP_MS)) {
        now = xo_mono_ms();
        xo_clients_sweep(s);
        if (now < next) {
            continue;
        }
        for (xo_watched *w = NULL; (w = xo_watched_next(s, w));) {
            take_point(s, w);
        }
        next = xo_series_next(next, now);
    }
    return NULL;
}
