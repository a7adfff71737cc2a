/* Which messages of one queue are settled, and the ranges that come of it. */
#include "source/rocketmq/track.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static xo_span *at(const xo_track *t, size_t i)
{
    return &t->spans[(t->first + i) % t->cap];
}

static xo_range begun(int64_t generation, int64_t offset, int64_t epoch)
{
    return (xo_range){.generation = generation, .first = offset, .next = offset, .last_store_time = -1, .last_log_offset = -1, .epoch = epoch};
}

void xo_track_start(xo_track *t, int64_t offset, const xo_range *now, int64_t generation)
{
    t->first = t->n = t->open = t->opening = t->nclosed = 0;
    t->from = t->to = t->last_open = offset;
    t->changed = t->skip_before = 0;
    if (now) {
        t->now = *now;
        t->now.topic = t->now.broker = t->now.tags = NULL;
    } else {
        t->now = begun(generation, offset, 0);
    }
}

/* The prefix moves over a span. The maxima of a range rise only together with its end: what is read again below it was counted before. Room for the
   closed range was made when the span was added. */
static void pass(xo_track *t, const xo_span *s)
{
    if (s->opens) {
        t->closed[t->nclosed++] = t->now;
        t->now = begun(t->now.generation + 1, s->opens == XO_HOLE ? s->end : t->from, t->now.epoch);
        t->opening--;
        t->changed = 1;
    }
    t->from = s->end;
    if (s->end > t->now.next) {
        t->now.next = s->end;
        t->now.last_store_time = larger(t->now.last_store_time, s->store_time);
        t->now.last_log_offset = larger(t->now.last_log_offset, s->log_offset);
        t->changed = 1;
    }
}

static int make_room(xo_track *t, int opens, int in_ring)
{
    if (opens) {
        xo_range *closed = xo_grow(t->closed, &t->cap_closed, t->nclosed + t->opening + 1, sizeof(*closed));
        if (!closed) {
            return -1;
        }
        t->closed = closed;
    }
    if (in_ring && t->n == t->cap) {
        size_t before = t->cap;
        xo_span *spans = xo_grow(t->spans, &t->cap, t->n + 1, sizeof(*spans));
        if (!spans) {
            return -1;
        }
        t->spans = spans;
        /* what went round the old end goes on behind it: the ring has at least doubled */
        size_t wrapped = t->first + t->n > before ? t->first + t->n - before : 0;
        if (wrapped) {
            memcpy(spans + before, spans, wrapped * sizeof(*spans));
        }
    }
    return 0;
}

/* A done span behind a done one becomes part of it, so that what is filtered while one message takes long needs no memory. Not across the end of the
   range, which decides whose maxima count. */
static int merge(xo_track *t, const xo_span *s)
{
    xo_span *last = at(t, t->n - 1);
    if (!last->done || !s->done || s->opens || last->opens == XO_HOLE || (last->end <= t->now.next && s->end > t->now.next)) {
        return 0;
    }
    last->end = s->end;
    last->store_time = larger(last->store_time, s->store_time);
    last->log_offset = larger(last->log_offset, s->log_offset);
    return 1;
}

int xo_track_add(xo_track *t, int64_t end, int64_t store_time, int64_t log_offset, int done, int opens)
{
    xo_span s = {.end = end, .store_time = store_time, .log_offset = log_offset, .done = (unsigned char)(done != 0), .opens = (unsigned char)opens};
    if (end <= t->to) {
        return -1;
    }
    if (t->n > 0 && merge(t, &s)) {
        t->to = end;
        return 0;
    }
    int in_ring = t->n > 0 || !done;
    if (make_room(t, opens, in_ring) != 0) {
        return -1;
    }
    t->to = end;
    t->opening += opens != 0;
    if (!in_ring) {
        pass(t, &s);
        return 0;
    }
    t->n++;
    *at(t, t->n - 1) = s;
    if (!done) {
        t->open++;
        t->last_open = end;
    }
    return 0;
}

/* The first span that ends behind offset. */
static size_t find(const xo_track *t, int64_t offset)
{
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (at(t, mid)->end <= offset) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

/* The open span of the message at offset; NULL: there is none. */
static xo_span *open_at(const xo_track *t, int64_t offset)
{
    size_t i = find(t, offset);
    return i == t->n || at(t, i)->end != offset + 1 || at(t, i)->done ? NULL : at(t, i);
}

int xo_track_put_off(xo_track *t, int64_t offset)
{
    xo_span *s = open_at(t, offset);
    if (!s || s->away) {
        return -1;
    }
    s->away = 1;
    return 0;
}

int xo_track_come_back(xo_track *t, int64_t offset, int64_t store_time, int64_t log_offset)
{
    xo_span *s = open_at(t, offset);
    if (!s || !s->away || s->store_time != store_time || s->log_offset != log_offset) {
        return 0;
    }
    s->away = 0;
    return 1;
}

int64_t xo_track_away(const xo_track *t, int64_t from)
{
    for (size_t i = find(t, from); i < t->n; i++) {
        if (at(t, i)->away) {
            return at(t, i)->end - 1;
        }
    }
    return -1;
}

int xo_track_settle(xo_track *t, int64_t offset)
{
    size_t low = find(t, offset);
    if (low == t->n || at(t, low)->end != offset + 1 || at(t, low)->done) {
        return -1;
    }
    at(t, low)->done = 1;
    at(t, low)->away = 0;
    t->open--;
    if (low != 0) {
        return 0;
    }
    while (t->n > 0 && at(t, 0)->done) {
        pass(t, at(t, 0));
        t->first = (t->first + 1) % t->cap;
        t->n--;
    }
    return 1;
}

size_t xo_track_ranges(const xo_track *t, xo_range *out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < t->nclosed && n < max; i++) {
        out[n++] = t->closed[i];
    }
    if (n < max && n == t->nclosed) {
        out[n++] = t->now;
    }
    return n;
}

void xo_track_saved(xo_track *t, size_t nclosed, int64_t next)
{
    if (nclosed > t->nclosed) {
        nclosed = t->nclosed;
    }
    t->nclosed -= nclosed;
    if (t->nclosed) {
        memmove(t->closed, t->closed + nclosed, t->nclosed * sizeof(*t->closed));
    } else if (t->now.next == next) {
        t->changed = 0;
    }
}

int64_t xo_track_prefix(const xo_track *t)
{
    return t->from;
}

int64_t xo_track_span(const xo_track *t)
{
    return t->open ? t->last_open - at(t, 0)->end : 0;
}

void xo_track_free(xo_track *t)
{
    free(t->spans);
    free(t->closed);
    *t = (xo_track){0};
}

/* ---- rows ---- */

int xo_track_newer(const xo_track *t, int64_t offset, int64_t store_time, int64_t log_offset)
{
    return !t->opening && offset < t->now.next && !xo_range_older(&t->now, store_time, log_offset);
}

int xo_ranges_newer(const xo_range *r, size_t n, int64_t offset, int64_t store_time, int64_t log_offset)
{
    int newer = 0;
    for (size_t i = 0; i < n; i++) {
        if (xo_range_inside(&r[i], offset)) {
            if (xo_range_older(&r[i], store_time, log_offset)) {
                return 0;
            }
            newer = 1;
        }
    }
    return newer;
}

const xo_range *xo_ranges_youngest(const xo_range *r, size_t n)
{
    const xo_range *youngest = NULL;
    for (size_t i = 0; i < n; i++) {
        youngest = !youngest || r[i].generation > youngest->generation ? &r[i] : youngest;
    }
    return youngest;
}

int xo_ranges_before(const xo_range *r, size_t n, int64_t offset, int64_t store_time, int64_t log_offset)
{
    const xo_range *youngest = xo_ranges_youngest(r, n);
    return youngest && offset < youngest->first && xo_range_older(youngest, store_time, log_offset);
}

int xo_ranges_hide(const xo_range *r, size_t n, int64_t offset, int64_t store_time, int64_t log_offset, const char *tag)
{
    for (size_t i = 0; i < n; i++) {
        if (xo_range_inside(&r[i], offset) && xo_range_older(&r[i], store_time, log_offset) && !xo_range_wants(r[i].tags, tag)) {
            return 1;
        }
    }
    return 0;
}
