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

size_t xo_batch_max(const xonce_consumer *c, const xo_sub *s)
{
    return s->batch_most && s->batch_most < c->batch_max ? s->batch_most : c->batch_max;
}

enum { GAP_US = 20000, WRITER_GAP_US = 50000, GAP_DOUBLES = 5 };
static const int64_t NEVER_US = INT64_MAX;

static int64_t in_ms(int64_t us)
{
    return us == NEVER_US ? INT64_MAX : us / 1000 + 1;
}

/* With a linger: has the batch filled, or waited long enough? If not, *look_us says when it will have at the latest. */
static int linger_is_over(const xonce_consumer *c, const xo_sub *s, int64_t now_us, int64_t *look_us)
{
    if (s->waiting.n >= s->size.max || c->full) {
        return 1;
    }
    int64_t left = c->linger - (xo_boot_ms() - s->waiting.head->polled_boot);
    if (left <= 0) {
        return 1;
    }
    if (now_us + left * 1000 < *look_us) {
        *look_us = now_us + left * 1000;
    }
    return 0;
}

static size_t ready(const xo_sub *s)
{
    return s->in_lanes ? xo_lane_ready(s, s->size.limit) : s->waiting.n;
}

/* After how long without a new batch another may begin all the same. Where the database is what is slow more workers make it slower still: of those beyond the useful number each two wait twice as long as the two
   before. */
static int64_t gap_us(const xonce_consumer *c, const xo_sub *s, size_t all, size_t here, int full)
{
    if (!full && all < c->crew.at_once) {
        return xo_size_patience_us(&s->size, here);
    }
    size_t more = all < c->crew.at_once ? 0 : (all - c->crew.at_once) / 2;
    return (int64_t)(c->crew.most == 1 ? WRITER_GAP_US : GAP_US) << (more < GAP_DOUBLES ? more : GAP_DOUBLES);
}

/* Of several databases none gets more than three quarters of the workers: when it stops to answer all that it has are stuck within a moment, and the others are for those that do. */
static int is_for_others(const xonce_consumer *c, const xo_sub *s, const xo_pace *own)
{
    size_t part = c->workers_max - c->workers_max / 4, there = c->places[s->place].running - (own && own->sub && own->sub->place == s->place);
    return c->nplaces > 1 && there >= (part > 1 && part == c->workers_max ? part - 1 : part);
}

/* May a worker, which is at the batch of p or (NULL) at none, begin one now? Nobody else at work: at once. A few messages: two at a time, others only when these have waited about as long as it takes a
   worker to be free. Full batches: as many at once as that makes faster. If no worker has begun one for a while, those that there are take long: another may. If not, *look_us says when to ask again. */
static int may_begin(const xonce_consumer *c, const xo_sub *s, const xo_pace *p, size_t stuck, int64_t now_us, int64_t *look_us)
{
    size_t own = p && p->sub, others = c->running - own, all = others > stuck ? others - stuck : 0, here = s->running - (own && p->sub == s), n = ready(s);
    if (!n) {
        return s->in_lanes && s->suspended.head; /* some may be due */
    }
    if (c->places[s->place].down) {
        return 1;
    }
    if (others >= c->workers_max || is_for_others(c, s, p)) {
        return 0; /* one that ends looks again */
    }
    if (c->linger && !s->in_lanes && !linger_is_over(c, s, now_us, look_us)) {
        return 0;
    }
    int full = n >= s->size.limit || c->full || c->linger;
    if (!all || (all < c->crew.at_once && (full || here < 2))) {
        return 1;
    }
    int64_t at = s->taken_us + gap_us(c, s, all, here, full);
    if (at <= now_us) {
        return 1;
    }
    if (at < *look_us) {
        *look_us = at;
    }
    return 0;
}

static size_t take_batch(xonce_consumer *c, xo_sub *s, xo_worker *w, size_t most, int64_t now, xo_list *dropped)
{
    size_t n = 0;
    while (n < most) {
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

static size_t most_now(const xo_sub *s, int64_t now)
{
    const xonce_message *first = s->in_lanes ? s->ready.head ? s->ready.head->waiting.head : NULL : s->waiting.head;
    return first && first->expires_mono > now ? xo_size_within(&s->size, first->expires_mono == INT64_MAX ? INT64_MAX : first->expires_mono - now) : s->size.limit;
}

static void end_pace(xonce_consumer *c, xo_pace *p, int64_t now_us)
{
    if (!p->sub) {
        return;
    }
    if (!c->places[p->sub->place].down) {
        xo_size_ran(&p->sub->size, p->n, now_us - p->began_us, now_us);
        xo_crew_ran(&c->crew, p->n, now_us);
    }
    p->sub->running--;
    c->running--;
    xo_place *place = &c->places[p->sub->place];
    place->running--;
    place->in_work -= p->n;
    place->moved = now_us / 1000;
    int64_t took = (now_us - p->began_us) / 1000, usual = place->usual_ms - place->usual_ms / 8 - (place->usual_ms != 0);
    place->usual_ms = !place->down && took > usual ? took : usual;
    p->sub = NULL;
}

void xo_pace_end(xonce_consumer *c, xo_worker *w)
{
    end_pace(c, &w->pace, xo_mono_us());
}

static void begin_pace(xonce_consumer *c, xo_pace *p, xo_sub *s, size_t n, int64_t now_us)
{
    end_pace(c, p, now_us);
    *p = (xo_pace){.sub = s, .n = n, .began_us = now_us};
    s->running++;
    s->taken_us = now_us;
    c->running++;
    xo_place *place = &c->places[s->place];
    place->moved = place->running++ ? place->moved : now_us / 1000;
    place->in_work += n;
    xo_crew_took(&c->crew, c->running, ready(s) > 0, now_us);
}

/* One idle worker wakes for all; the others sleep until they are called. */
static void watch(xonce_consumer *c, xo_pace *p, int64_t now, int64_t *look_again)
{
    if (c->running < c->crew.at_once) {
        xo_crew_took(&c->crew, c->running, 0, now * 1000);
    }
    if (*look_again == INT64_MAX) {
        return;
    }
    if (c->watch_at > now && c->watch_at <= *look_again) {
        *look_again = INT64_MAX;
        return;
    }
    c->watch_at = *look_again;
    p->watches = 1;
}

static void fill(xo_worker *w, xo_sub *s, size_t n, int64_t now)
{
    w->sub = s;
    w->n = n;
    w->expires = INT64_MAX;
    w->since = now;
    for (size_t k = 0; k < n; k++) {
        w->items[k].m = w->messages[k];
        w->items[k].outcome = XONCE_DEFERRED;
        w->items[k].failed_run = 0;
        w->items[k].error.pub.code = XONCE_OK;
        w->items[k].error.cls = XO_SQL_NONE;
        w->fates[k] = XO_FATE_HOLD;
        if (w->messages[k]->expires_mono < w->expires) {
            w->expires = w->messages[k]->expires_mono;
        }
    }
}

size_t xo_take(xonce_consumer *c, xo_worker *w, xo_list *dropped, int64_t *look_again)
{
    int64_t now_us = xo_mono_us(), now = now_us / 1000, look_us = NEVER_US, resume = INT64_MAX;
    if (look_again) {
        end_pace(c, &w->pace, now_us);
        c->watch_at = w->pace.watches ? INT64_MAX : c->watch_at;
        w->pace.watches = 0;
    }
    size_t stuck = xo_stuck(c);
    for (size_t i = 0; i < c->nsubs; i++) {
        xo_sub *s = &c->subs[(c->next_sub + i) % c->nsubs];
        if ((w->only && w->only != s->place + 1) || xo_place_rests(&c->places[s->place], &resume) || !may_begin(c, s, &w->pace, stuck, now_us, &look_us)) {
            continue;
        }
        size_t most = most_now(s, now);
        most = most < w->room ? most : w->room;
        size_t left = xo_work_left(c, &w->pace, &c->places[s->place]);
        most = most < left ? most : left;
        if (!most) {
            continue;
        }
        xo_list late = {0};
        size_t n = s->in_lanes ? xo_lane_take(c, s, w, most, &late, &resume) : take_batch(c, s, w, most, now, &late);
        if (late.n) {
            xo_place_lost(&c->places[s->place], &late);
            xo_list_append(dropped, &late);
        }
        if (n) {
            c->next_sub = (c->next_sub + i + 1) % c->nsubs;
            fill(w, s, n, now);
            begin_pace(c, &w->pace, s, n, now_us);
            return n;
        }
    }
    if (look_again) {
        int64_t look = in_ms(look_us);
        *look_again = look < resume ? look : resume;
        watch(c, &w->pace, now, look_again);
    }
    return 0;
}

void xo_call_worker(xonce_consumer *c)
{
    int64_t now_us = xo_mono_us(), look_us = NEVER_US;
    size_t stuck = xo_stuck(c);
    int call = c->down || c->stopping;
    for (size_t i = 0; i < c->nsubs && !call; i++) {
        call = may_begin(c, &c->subs[i], NULL, stuck, now_us, &look_us);
    }
    int64_t watched = c->watch_at > now_us / 1000 ? c->watch_at : INT64_MAX;
    if (call || in_ms(look_us) < watched) {
        pthread_cond_signal(&c->work);
    }
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
