/* Handing messages out to polls and taking acknowledges: handles, redelivery, duplicates and lost acks on order. */
#include "base/log.h"
#include "base/text.h"
#include "endpoint/engine.h"
#include "endpoint/storage.h"
#include "proto/receipt.h"
#include <stdlib.h>
#include <string.h>

/* ---- handles ---- */

xo_handle *xo_handle_new(xo_topic *t, const unsigned char id[16], int32_t queue, int64_t offset, int64_t good_ms, void (*expire)(xo_timer *))
{
    xo_engine *e = t->engine;
    char hex[33];
    xo_hex(hex, id, 16, 1);
    char *text = xo_receipt_write(hex, (int64_t)++e->serial, xo_engine_now(e), good_ms, XO_BROKER, queue, offset);
    size_t n = text ? strlen(text) : 0;
    xo_handle *h = text ? xo_calloc(1, sizeof *h + n + 1) : NULL;
    if (h) {
        memcpy(h->text, text, n);
        h->topic = t;
        xo_map_put(&e->handles, &h->by_text, xo_hash(h->text, n));
        xo_engine_timer(e, &h->timer, xo_mono_ms() + good_ms, expire);
    }
    free(text);
    return h;
}

void xo_handle_free(xo_handle *h)
{
    xo_engine *e = h->topic->engine;
    xo_map_remove(&e->handles, &h->by_text);
    xo_timer_clear(&e->timers, &h->timer);
    xo_list_remove(&h->of);
    free(h);
}

void xo_node_orphan(xo_node *n)
{
    while (!xo_list_empty(&n->handles)) {
        xo_handle *h = XO_OF(xo_handle, of, n->handles.next);
        xo_list_remove(&h->of);
        h->node = NULL;
    }
}

xo_handle_state xo_handle_find(xo_topic *t, const xo_group *g, const char *text, xo_handle **out)
{
    uint64_t hash = xo_hash(text, strlen(text));
    for (xo_mapped *m = xo_map_first(&t->engine->handles, hash); m; m = xo_map_again(m)) {
        xo_handle *h = XO_OF(xo_handle, by_text, m);
        if (strcmp(h->text, text) != 0)
            continue;
        if (h->topic != t || h->group != g)
            return XO_HANDLE_INVALID;
        *out = h;
        return h->timer.at > xo_mono_ms() ? XO_HANDLE_GOOD : XO_HANDLE_STALE;
    }
    xo_receipt r;
    return xo_receipt_read(&r, text) && strcmp(r.broker, XO_BROKER) == 0 ? XO_HANDLE_STALE : XO_HANDLE_INVALID;
}

/* ---- handing out ---- */

static void expire(xo_timer *timer);

int xo_pick_add(xo_poll *p, const xo_handle *h)
{
    xo_pick *k = &p->picks[p->npicks];
    memset(k, 0, sizeof *k);
    k->handle = xo_strdup(h->text);
    if (!k->handle)
        return -1;
    p->npicks++;
    return 0;
}

static int hand_out(xo_poll *p, xo_node *n)
{
    xo_group *g = n->group;
    xo_engine *e = g->topic->engine;
    const xo_entry *entry = xo_topic_entry(g->topic, n->pos);
    int64_t good = p->ordered ? e->opt.redeliver_ordered_ms : e->opt.redeliver_ms;
    xo_handle *h = xo_handle_new(g->topic, entry->id, entry->queue, entry->offset, good, expire);
    if (!h || xo_pick_add(p, h) != 0) {
        if (h)
            xo_handle_free(h);
        return -1;
    }
    h->group = g;
    h->node = n;
    xo_list_push(&n->handles, &h->of);
    int64_t now = xo_engine_now(e);
    if (n->first == 0)
        n->first = now;
    else
        e->counts.redelivered++;
    n->times++;
    xo_pick *k = &p->picks[p->npicks - 1];
    k->n = entry->n;
    k->born = entry->born;
    k->first = n->first;
    k->next = now + good;
    k->times = n->times;
    memcpy(k->id, entry->id, sizeof k->id);
    if (!xo_linked(&n->unsaved))
        xo_list_push(&g->unsaved, &n->unsaved);
    e->counts.handed_out++;
    return 0;
}

/* A parked message goes out; perhaps another poll is to get it as well. */
static int hand_out_parked(xo_poll *p, xo_node *n)
{
    if (hand_out(p, n) != 0)
        return -1;
    xo_node_take(n);
    xo_group *g = n->group;
    /* of a lane only its first: a later one could overtake it on the way */
    if ((!p->ordered || n->lane->out == 1) && xo_dice(g->topic->engine->opt.faults->duplicate)) {
        n->twin_not_for = p->serial;
        xo_list_push(&g->twins, &n->twin);
        xo_topic_touch(g->topic);
    }
    return 0;
}

static void take_twins(xo_poll *p)
{
    xo_link *head = &p->group->twins;
    for (xo_link *l = head->next, *next; l != head && p->npicks < p->max; l = next) {
        xo_node *n = XO_OF(xo_node, twin, l);
        next = l->next;
        if (n->twin_not_for == p->serial || !xo_poll_wants(p, xo_node_tag(n)))
            continue;
        if (hand_out(p, n) != 0)
            return;
        xo_list_remove(&n->twin);
        p->group->topic->engine->counts.duplicated++;
    }
}

/* What is parked of one lane, in order. Its first message out locks it for other polls. */
static int take_lane(xo_poll *p, xo_lane *lane)
{
    for (xo_link *l = lane->parked.next, *next; l != &lane->parked && p->npicks < p->max; l = next) {
        xo_node *n = XO_OF(xo_node, in_lane, l);
        next = l->next;
        if (xo_poll_wants(p, xo_node_tag(n)) && hand_out_parked(p, n) != 0)
            return -1;
    }
    return 0;
}

static void take_lanes(xo_poll *p)
{
    xo_group *g = p->group;
    size_t window = 16 * XO_POLL_MAX; /* deep enough to find several messages of a lane at once */
    xo_group_window(g, g->parked < window ? window - g->parked : 0);
    do {
        for (xo_link *l = g->eligible.next, *next; l != &g->eligible && p->npicks < p->max; l = next) {
            next = l->next;
            if (take_lane(p, XO_OF(xo_lane, eligible, l)) != 0)
                return;
        }
    } while (p->npicks < p->max && xo_group_window(g, window) > 0);
}

static void take(xo_poll *p)
{
    if (!p->group) {
        xo_half_pick(p);
        return;
    }
    take_twins(p);
    if (p->ordered) {
        take_lanes(p);
        return;
    }
    for (xo_node *n; p->npicks < p->max && (n = xo_group_next(p->group, p));)
        if (hand_out_parked(p, n) != 0)
            return;
}

/* ---- polls ---- */

void xo_poll_cancel(xo_poll *p)
{
    if (!xo_linked(&p->link))
        return;
    xo_list_remove(&p->link);
    xo_timer_clear(&p->topic->engine->timers, &p->timer);
}

static void finish(xo_poll *p)
{
    xo_poll_cancel(p);
    p->wake(p);
}

static void give_up(xo_timer *timer)
{
    finish(XO_OF(xo_poll, timer, timer));
}

/* Messages for a peer that has gone would be away until NextConsumeTime. */
static int is_gone(xo_poll *p)
{
    if (!p->gone || !p->gone(p))
        return 0;
    p->topic->engine->counts.dead_peers++;
    return 1;
}

int xo_poll_begin(xo_poll *p, int64_t wait_ms)
{
    xo_engine *e = p->topic->engine;
    p->serial = ++e->serial;
    if (wait_ms > 0 && is_gone(p))
        return 1;
    take(p);
    if (p->npicks || wait_ms <= 0 || e->draining)
        return 1;
    xo_list_push(p->group ? &p->group->polls : &p->topic->half_polls, &p->link);
    xo_engine_timer(e, &p->timer, xo_mono_ms() + wait_ms, give_up);
    return 0;
}

static int nothing_for(const xo_poll *p)
{
    const xo_group *g = p->group;
    if (!g)
        return xo_list_empty(&p->topic->due_halves);
    return g->parked == 0 && xo_list_empty(&g->twins) && g->cursor >= g->topic->next_pos;
}

static void serve(xo_link *polls)
{
    for (xo_link *l = polls->next, *next; l != polls; l = next) {
        xo_poll *p = XO_OF(xo_poll, link, l);
        next = l->next;
        if (nothing_for(p))
            return;
        if (is_gone(p)) {
            finish(p);
            continue;
        }
        take(p);
        if (p->npicks)
            finish(p);
    }
}

void xo_poll_serve(xo_topic *t)
{
    for (xo_link *l = t->groups.next; l != &t->groups; l = l->next)
        serve(&XO_OF(xo_group, link, l)->polls);
    serve(&t->half_polls);
}

void xo_poll_clear(xo_poll *p)
{
    for (int i = 0; i < p->npicks; i++)
        free(p->picks[i].handle);
    p->npicks = 0;
}

/* ---- acknowledges ---- */

typedef struct {
    xo_op op;
    xo_group *group;
    xo_wait *wait;
    size_t n;
    xo_node *nodes[];
} ack_op;

static int ack_run(xo_op *op, xo_storage *s)
{
    ack_op *a = XO_OF(ack_op, op, op);
    if (xo_storage_group(s, a->group) != 0)
        return -1;
    xo_progress rows[XO_POLL_MAX];
    for (size_t i = 0, n; i < a->n; i += n) {
        for (n = 0; n < XO_POLL_MAX && i + n < a->n; n++) /* while a node settles nobody else changes it */
            rows[n] = (xo_progress){a->nodes[i + n]->pos, a->nodes[i + n]->first, a->nodes[i + n]->times};
        if (xo_storage_progress(s, a->group->id, rows, n, 1) != 0)
            return -1;
    }
    return 0;
}

static void ack_done(xo_op *op, int ok)
{
    ack_op *a = XO_OF(ack_op, op, op);
    for (size_t i = 0; i < a->n; i++) {
        if (ok)
            xo_node_finish(a->nodes[i]);
        else
            xo_node_back(a->nodes[i]);
    }
    if (ok)
        a->group->topic->engine->counts.acked += (int64_t)a->n;
    if (a->wait)
        a->wait->wake(a->wait, ok);
    free(a);
}

static ack_op *ack_new(xo_group *g, size_t n, xo_wait *w)
{
    ack_op *a = xo_calloc(1, sizeof *a + n * sizeof a->nodes[0]);
    if (!a)
        return NULL;
    a->group = g;
    a->wait = w;
    a->op.run = ack_run;
    a->op.done = ack_done;
    return a;
}

static void ack_add(ack_op *a, xo_node *n)
{
    n->state = XO_SETTLING;
    xo_node_orphan(n);
    xo_list_remove(&n->twin);
    xo_list_remove(&n->unsaved);
    a->nodes[a->n++] = n;
}

int xo_topic_acknowledge(xo_group *g, char *const *handles, size_t n, xo_handle_state *states, xo_wait *w)
{
    xo_engine *e = g->topic->engine;
    ack_op *a = ack_new(g, n, w);
    if (!a)
        return -1;
    for (size_t i = 0; i < n; i++) {
        xo_handle *h = NULL;
        states[i] = xo_handle_find(g->topic, g, handles[i], &h);
        if (states[i] != XO_HANDLE_GOOD)
            continue;
        if (h->node && xo_dice(e->opt.faults->lose_ack)) {
            e->counts.acks_lost++;
            continue;
        }
        if (h->node)
            ack_add(a, h->node);
        xo_handle_free(h);
    }
    if (a->n == 0) {
        free(a);
        return 0;
    }
    xo_engine_write(e, &a->op);
    return 1;
}

/* A handle's time is up: its message comes again, unless another handle of it is still good or it came too often. */
static void expire(xo_timer *timer)
{
    xo_handle *h = XO_OF(xo_handle, timer, timer);
    xo_node *n = h->node;
    xo_handle_free(h);
    if (!n || !xo_list_empty(&n->handles))
        return;
    ack_op *last = n->times >= XO_HANDOUTS_MAX ? ack_new(n->group, 1, NULL) : NULL;
    if (!last) {
        xo_node_back(n);
        return;
    }
    n->group->topic->engine->counts.dead_letters++;
    xo_log(XO_WARN, "endpoint", "topic %s: a message was handed out %d times to group %s and never acknowledged: it does not come again",
           n->group->topic->name, n->times, n->group->name);
    ack_add(last, n);
    xo_engine_write(n->group->topic->engine, &last->op);
}
