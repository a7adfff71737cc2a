/* What a database that is down may hold of the memory for messages, beside others that go on. Its messages beyond that are given back to the source, as if they had not come: no attempt is counted, none is tried.
   Topics that would bring nothing else, or that must stay in order, are asked for no more until it is back. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "consumer/parts.h"
#include <stdlib.h>

enum {
    KEPT = 4,                 /* of a source that brings them again when told to: enough to find out whether the database is back */
    WORK_PART = 4,
    HANGS_MS = 10000,         /* a database where nothing ends for so long is as good as down */
    SLOW_TIMES = 4,
    GRACE_MS = 2000,          /* of others, where what is given back stays away for minutes */
    HANDOUTS_PART = 4         /* and where it is given out so often only: the last quarter is left for the time after */
};

static size_t at_least_one(size_t n)
{
    return n ? n : 1;
}

int xo_place_hangs(const xonce_consumer *c, const xo_place *p, int64_t ms)
{
    int64_t least = SLOW_TIMES * p->usual_ms; /* where handlers are slow nothing ends for long */
    return c->nplaces > 1 && p->running && xo_mono_ms() - p->moved >= (least > ms ? least : ms);
}

size_t xo_stuck(const xonce_consumer *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->nplaces && c->nplaces > 1 && c->running; i++) {
        const xo_place *p = &c->places[i];
        n += p->down || xo_place_hangs(c, p, XO_STUCK_MS) ? p->running : 0;
    }
    return n;
}

/* What a database that hangs has in its transactions cannot be given back, and must not be all that there is room for, here or in the source. */
size_t xo_work_left(const xonce_consumer *c, const xo_pace *own, const xo_place *p)
{
    if (c->nplaces < 2) {
        return SIZE_MAX;
    }
    size_t queue = c->source->queue_messages, most = at_least_one((queue && queue < c->buffer_messages ? queue : c->buffer_messages) / WORK_PART);
    size_t others = p->in_work - (own->sub && &c->places[own->sub->place] == p ? own->n : 0);
    return others < most ? most - others : 0;
}

static int is_away(const xonce_consumer *c, const xo_place *p)
{
    return p->down || xo_place_hangs(c, p, HANGS_MS);
}

typedef struct {
    size_t messages, bytes;
} part;
/* Lock held. What one of them may keep of the memory: all that are away together half of it. */
static part part_of(const xonce_consumer *c)
{
    return (part){c->source->again ? KEPT : at_least_one(c->buffer_messages / (2 * c->nplaces)), at_least_one(c->buffer_size / (2 * c->nplaces))};
}

/* Lock held. Has it its part? more: of a part that it had, is more than half left? */
static int has_part(const xonce_consumer *c, const xo_place *p, int more)
{
    part most = part_of(c);
    return more ? p->held * 2 > most.messages || p->held_bytes * 2 > most.bytes : p->held >= most.messages || p->held_bytes >= most.bytes;
}

/* Lock held. Where giving back costs something it waits until memory is short. */
static int is_pressing(const xonce_consumer *c, const xo_place *p)
{
    if (c->source->keeps_back) {
        return 0;
    }
    return c->source->again || ((c->in_flight * 2 >= c->buffer_messages || c->in_flight_bytes * 2 >= c->buffer_size) && xo_mono_ms() - (p->down ? p->down_since : p->moved) >= GRACE_MS);
}

static int may_wait(const xonce_consumer *c, const xonce_message *m)
{
    int most = c->source->max_attempts;
    return !most || m->attempt < most - most / HANDOUTS_PART;
}

int xo_crowds(const xonce_consumer *c, const xo_sub *s, const xonce_message *m)
{
    const xo_place *p = &c->places[s->place];
    return c->nplaces > 1 && is_away(c, p) && !s->in_lanes && has_part(c, p, 0) && may_wait(c, m) && is_pressing(c, p);
}

void xo_place_has(xonce_consumer *c, const xo_sub *s, const xonce_message *m)
{
    c->places[s->place].held++;
    c->places[s->place].held_bytes += m->body_len;
}

void xo_place_lost(xo_place *p, const xo_list *l)
{
    p->held -= l->n;
    p->held_bytes -= xo_list_bytes(l);
}

void xo_count_put_off(xonce_consumer *c, xo_place *p, xonce_message *m)
{
    int64_t back = m->expires_mono == INT64_MAX ? xo_mono_ms() + XO_PAUSE_MAX : m->expires_mono;
    m->put_off = 1;
    p->put_off++;
    c->put_off_until = back > c->put_off_until ? back : c->put_off_until;
}

/* ---- a look at all, now and then ---- */

typedef struct {
    const char **topics;
    int *on;
    size_t n;
} switches;

static int is_held_up(const xonce_consumer *c, const xo_sub *s)
{
    size_t full = 0;
    for (size_t i = 0; i < s->nroutes; i++) {
        full += c->places[s[i].place].full != 0;
    }
    return s->in_lanes ? full > 0 : full == s->nroutes;
}

/* Lock held. Which topics are to be asked for no more, or again. */
static void find_switches(xonce_consumer *c, switches *w)
{
    for (size_t i = 0; i < c->nplaces; i++) {
        xo_place *p = &c->places[i];
        p->full = is_away(c, p) && has_part(c, p, p->full);
    }
    for (size_t i = 0; i < c->nsubs; i++) {
        xo_sub *s = &c->subs[i];
        int on = s->nroutes && is_held_up(c, s);
        if (on != s->held_up) {
            s->held_up = on;
            w->topics[w->n] = s->topic;
            w->on[w->n++] = on;
        }
    }
}

/* Lock held. Takes out of a queue what is beyond its database's part, the last first. */
static void shed(xonce_consumer *c, xo_sub *s, xo_list *off)
{
    xo_place *p = &c->places[s->place];
    xo_list keep = {0};
    part most = part_of(c);
    size_t bytes = 0;
    for (xonce_message *m; (m = xo_list_pop(&s->waiting));) {
        bytes += m->body_len;
        if (!keep.n || (keep.n < most.messages && bytes <= most.bytes) || !may_wait(c, m)) {
            xo_list_push(&keep, m);
        } else {
            p->held--;
            p->held_bytes -= m->body_len;
            c->waiting--;
            xo_count_put_off(c, p, m);
            xo_list_push(off, m);
        }
    }
    s->waiting = keep;
}

/* Lock held. Is what was put off to come again? Also when nothing is left that could show that its database is back. */
static int comes_again(xonce_consumer *c)
{
    int again = 0;
    for (size_t i = 0; i < c->nplaces; i++) {
        xo_place *p = &c->places[i];
        if (p->put_off && (!is_away(c, p) || (!p->held && xo_mono_ms() >= p->retry_at))) {
            p->put_off = 0;
            again = 1;
        }
    }
    return again;
}

/* Lock held. One line per outage. */
static size_t to_tell(xonce_consumer *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->nplaces; i++) {
        xo_place *p = &c->places[i];
        int away = is_away(c, p);
        n += p->put_off && away && !p->told;
        p->told = away && (p->told || p->put_off);
    }
    return n;
}

void xo_crowd_look(xonce_consumer *c)
{
    if (c->nplaces < 2) {
        return;
    }
    xo_list off = {0};
    switches w = {.topics = xo_calloc(c->nsubs, sizeof(*w.topics)), .on = xo_calloc(c->nsubs, sizeof(*w.on))};
    pthread_mutex_lock(&c->lock);
    if (w.topics && w.on && c->source->hold && !c->stopping) {
        find_switches(c, &w);
    }
    for (size_t i = 0; i < c->nsubs; i++) {
        xo_sub *s = &c->subs[i];
        const xo_place *p = &c->places[s->place];
        if (is_away(c, p) && !s->in_lanes && has_part(c, p, 0) && is_pressing(c, p)) {
            shed(c, s, &off);
        }
    }
    int again = comes_again(c);
    size_t tell = to_tell(c);
    pthread_mutex_unlock(&c->lock);
    xo_give_back(c, &off, XO_PAUSE_MAX);
    if (again && c->source->again) {
        c->source->again(c->source);
    }
    for (size_t i = 0; i < w.n; i++) {
        c->source->hold(c->source, w.topics[i], w.on[i]);
        xo_log(XO_INFO, "consumer", "topic %s: %s", w.topics[i], w.on[i] ? "no more is asked for, a database of it is down or hangs" : "messages are asked for again");
    }
    if (tell) {
        xo_log(XO_WARN, "consumer", "a database that is down, or hangs, has its part of the memory for messages: more of its messages are given back, to come again later; the others go on");
    }
    free(w.topics);
    free(w.on);
}
