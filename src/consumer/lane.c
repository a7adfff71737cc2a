/* Lanes of ordered subscriptions: at most one run of a lane at a time, a failing head is tried again in place, and nothing ever passes it. */
#include "base/clock.h"
#include "base/mem.h"
#include "consumer/parts.h"
#include <stdlib.h>
#include <string.h>

static void enqueue_lane(xo_lanes *q, xo_lane *l)
{
    l->next = NULL;
    l->prev = q->tail;
    if (q->tail) {
        q->tail->next = l;
    } else {
        q->head = l;
    }
    q->tail = l;
}

static void unlink_lane(xo_lanes *q, xo_lane *l)
{
    *(l->prev ? &l->prev->next : &q->head) = l->next;
    *(l->next ? &l->next->prev : &q->tail) = l->prev;
    l->prev = l->next = NULL;
}

static size_t bucket(const char *name)
{
    uint32_t h = 2166136261u;
    for (; *name; name++) {
        h = (h ^ (unsigned char)*name) * 16777619u;
    }
    return (h ^ (h >> 16)) % XO_LANE_BUCKETS;
}

static xo_lane *find_or_make(xo_sub *s, const xonce_message *m)
{
    char name[512]; /* longer keys with the same beginning share a lane: in order still */
    xo_message_lane(m, name, sizeof(name));
    size_t b = bucket(name);
    for (xo_lane *l = s->table[b]; l; l = l->chain) {
        if (strcmp(l->name, name) == 0) {
            return l;
        }
    }
    xo_lane *l = xo_calloc(1, sizeof(*l));
    if (!l) {
        return NULL;
    }
    l->name = xo_strdup(name);
    if (!l->name) {
        free(l);
        return NULL;
    }
    l->chain = s->table[b];
    s->table[b] = l;
    l->state = XO_LANE_READY;
    enqueue_lane(&s->ready, l);
    return l;
}

/* An empty lane that is in no queue goes away. */
static void drop_lane(xo_sub *s, xo_lane *l)
{
    xo_lane **at = &s->table[bucket(l->name)];
    while (*at != l) {
        at = &(*at)->chain;
    }
    *at = l->chain;
    free(l->name);
    free(l);
}

static int same_id(const xonce_message *a, const xonce_message *b)
{
    return a->id[0] && strcmp(a->id, b->id) == 0;
}

static int is_behind(const xonce_message *m, const xonce_message *older)
{
    return older->offset >= 0 && m->offset > older->offset && m->queue == older->queue && strcmp(m->broker, older->broker) == 0;
}

static void insert_after(xo_list *l, xonce_message *before /* NULL: at the head */, xonce_message *m)
{
    if (before == l->tail) {
        xo_list_push(l, m);
        return;
    }
    xonce_message **link = before ? &before->next : &l->head;
    m->next = *link;
    *link = m;
    l->n++;
}

/* The place of m. Usually the end. A source that hands messages out again sends copies of what still waits or runs here, or an older message than those. A copy goes right
   behind its twin and an older one before what is newer, so that no later message passes an earlier one whichever copies are dropped. */
static void place(xo_lane *l, xonce_message *m)
{
    xonce_message *twin = NULL, *before_newer = NULL;
    int newer = 0, runs = 0;
    if (m->attempt > 1 || (l->waiting.tail && is_behind(l->waiting.tail, m))) {
        for (xonce_message *x = l->waiting.head, *prev = NULL; x; prev = x, x = x->next) {
            if (same_id(x, m)) {
                twin = x;
            }
            if (!newer && is_behind(x, m)) {
                newer = 1;
                before_newer = prev;
            }
        }
        for (const xonce_message *x = l->running.head; x; x = x->next) {
            runs = runs || same_id(x, m);
        }
    }
    if (twin) {
        insert_after(&l->waiting, twin, m);
    } else if (runs) {
        insert_after(&l->waiting, NULL, m);
    } else {
        insert_after(&l->waiting, newer ? before_newer : l->waiting.tail, m);
    }
}

int xo_lane_add(xonce_consumer *c, xo_sub *s, xonce_message *m)
{
    xo_lane *l = find_or_make(s, m);
    if (!l) {
        return -1;
    }
    place(l, m);
    c->waiting++;
    return 0;
}

/* Drops messages from the head whose time is up. Without a living copy right behind, all of the lane goes: the source hands it out again from there, in order. */
static void drop_expired(xonce_consumer *c, xo_lane *l, int64_t now, xo_list *dropped)
{
    while (l->waiting.head && l->waiting.head->expires_mono <= now) {
        const xonce_message *next = l->waiting.head->next;
        size_t n = next && same_id(next, l->waiting.head) ? 1 : l->waiting.n;
        l->failed = NULL;
        for (; n; n--) {
            xo_list_push(dropped, xo_list_pop(&l->waiting));
            c->waiting--;
        }
    }
}

static void resume_due(xonce_consumer *c, xo_sub *s, int64_t now, xo_list *dropped)
{
    if (!s->suspended.head || now < s->next_resume) {
        return;
    }
    s->next_resume = INT64_MAX;
    for (xo_lane *l = s->suspended.head, *next; l; l = next) {
        next = l->next;
        drop_expired(c, l, now, dropped);
        if (l->waiting.head && l->resume_at > now) {
            if (l->resume_at < s->next_resume) {
                s->next_resume = l->resume_at;
            }
            continue;
        }
        unlink_lane(&s->suspended, l);
        if (l->waiting.head) {
            l->state = XO_LANE_READY;
            enqueue_lane(&s->ready, l);
        } else {
            drop_lane(s, l);
        }
    }
}

size_t xo_lane_ready(const xo_sub *s, size_t enough)
{
    size_t n = 0;
    for (const xo_lane *l = s->ready.head; l && n < enough; l = l->next) {
        n += l->waiting.n;
    }
    return n;
}

size_t xo_lane_take(xonce_consumer *c, xo_sub *s, xo_worker *w, size_t most, xo_list *dropped, int64_t *look_again)
{
    int64_t now = xo_mono_ms();
    size_t n = 0;
    resume_due(c, s, now, dropped);
    while (n < most && s->ready.head) {
        xo_lane *l = s->ready.head;
        drop_expired(c, l, now, dropped);
        if (n && l->failed && l->failed == l->waiting.head) {
            break; /* what failed lately does not run with other lanes */
        }
        unlink_lane(&s->ready, l);
        if (!l->waiting.head) {
            drop_lane(s, l);
            continue;
        }
        l->state = XO_LANE_BUSY;
        int64_t stale = 0;
        while (n < most && l->waiting.head && !stale) {
            /* behind a living one: left for the next look; and what was read before and after its queue's new start is not claimed together */
            stale = l->waiting.head->expires_mono <= now || (l->running.tail && l->waiting.head->claim_epoch != l->running.tail->claim_epoch);
            if (!stale) {
                w->lanes[n] = l;
                w->messages[n] = xo_list_pop(&l->waiting);
                xo_list_push(&l->running, w->messages[n++]);
                c->waiting--;
            }
        }
        if (l->failed && l->failed == l->running.head) {
            break;
        }
    }
    if (s->suspended.head && s->next_resume < *look_again) {
        *look_again = s->next_resume;
    }
    return n;
}

static void suspend(xonce_consumer *c, xo_sub *s, xo_lane *l)
{
    l->pause = l->pause ? l->pause * 2 : c->suspend;
    if (l->pause > XO_PAUSE_MAX) {
        l->pause = XO_PAUSE_MAX;
    }
    l->resume_at = xo_mono_ms() + l->pause;
    /* no use in waiting beyond the message's time: then the whole lane is given back */
    if (l->waiting.head->expires_mono < l->resume_at) {
        l->resume_at = l->waiting.head->expires_mono;
    }
    l->state = XO_LANE_SUSPENDED;
    if (!s->suspended.head || l->resume_at < s->next_resume) {
        s->next_resume = l->resume_at;
    }
    enqueue_lane(&s->suspended, l);
}

/* The queue was taken over: all that was read of it by then goes back. What was read after its new start stays. */
static void give_up_queue(xonce_consumer *c, xo_lane *l, uint64_t mark, xo_list *nacks)
{
    xo_list stay = {0};
    for (xonce_message *m; (m = xo_list_pop(&l->waiting));) {
        if (m->mark == mark) {
            xo_list_push(nacks, m);
            c->waiting--;
        } else {
            xo_list_push(&stay, m);
        }
    }
    l->waiting = stay;
    l->failed = NULL;
}

/* One lane's part of a run: items [from, to). */
static void return_lane(xonce_consumer *c, xo_worker *w, size_t from, size_t to, xo_list *acks, xo_list *nacks, int down)
{
    xo_lane *l = w->lanes[from];
    xo_sub *s = w->sub;
    xo_list back = {0};
    size_t head = to;
    l->running = (xo_list){0};
    for (size_t i = from; i < to; i++) {
        if (w->fates[i] == XO_FATE_ACK) {
            xo_list_push(acks, w->messages[i]);
            continue;
        }
        if (head == to) {
            head = i;
        }
        xo_list_push(&back, w->messages[i]);
    }
    c->waiting += back.n;
    xo_list_prepend(&l->waiting, &back);
    int fenced = head < to && w->messages[head]->fenced;
    if (fenced) {
        give_up_queue(c, l, w->messages[head]->mark, nacks);
    }
    if (head > from || fenced) {
        l->pause = 0;
    }
    int failed = head < to && !fenced && !down && w->items[head].failed_run;
    if (failed) {
        xonce_message *m = w->messages[head];
        l->runs = l->failed == m ? l->runs + 1 : 1;
        l->failed = m;
        if (m->attempt <= l->runs) { /* tries in place count as deliveries do */
            m->attempt = l->runs + 1;
        }
    } else if (l->failed != l->waiting.head) {
        l->failed = NULL;
    }
    if (!l->waiting.head) {
        drop_lane(s, l);
    } else if (failed || (head == from && !fenced && !down)) {
        suspend(c, s, l);
    } else {
        l->state = XO_LANE_READY;
        enqueue_lane(&s->ready, l);
    }
}

void xo_lane_return(xonce_consumer *c, xo_worker *w, xo_list *acks, xo_list *nacks, int down)
{
    for (size_t i = 0; i < w->n;) {
        size_t from = i;
        while (i < w->n && w->lanes[i] == w->lanes[from]) {
            i++;
        }
        return_lane(c, w, from, i, acks, nacks, down);
    }
}

void xo_lanes_empty(xonce_consumer *c, xo_sub *s, xo_list *out)
{
    xo_lanes *const queues[] = {&s->ready, &s->suspended};
    for (size_t q = 0; q < 2; q++) {
        while (queues[q]->head) {
            xo_lane *l = queues[q]->head;
            unlink_lane(queues[q], l);
            c->waiting -= l->waiting.n;
            xo_list_append(out, &l->waiting);
            drop_lane(s, l);
        }
    }
    /* of a lane that runs only what waits goes; it goes away itself when the run returns */
    for (size_t b = 0; b < XO_LANE_BUCKETS; b++) {
        for (xo_lane *l = s->table[b]; l; l = l->chain) {
            c->waiting -= l->waiting.n;
            l->failed = NULL;
            xo_list_append(out, &l->waiting);
        }
    }
}
