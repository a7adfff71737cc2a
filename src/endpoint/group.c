/* A group's view of its topic: what it has looked at, what is parked for it, in which lanes. */
#include "endpoint/engine.h"
#include <stdlib.h>
#include <string.h>

enum { UNSEEN = 0, MET = 1, DONE = 2, REORDER_WINDOW = 64 };

int xo_group_reach(xo_group *g, int64_t end)
{
    if (g->floor - g->state_pos > 4096 && (size_t)(g->floor - g->state_pos) > g->cap_state / 2) {
        size_t gone = (size_t)(g->floor - g->state_pos);
        gone = gone < g->cap_state ? gone : g->cap_state;
        memmove(g->state, g->state + gone, g->cap_state - gone);
        memset(g->state + g->cap_state - gone, 0, gone);
        g->state_pos = g->floor;
    }
    size_t need = end > g->state_pos ? (size_t)(end - g->state_pos) : 0, had = g->cap_state;
    if (need <= had)
        return 0;
    unsigned char *grown = xo_grow(g->state, &g->cap_state, need, 1);
    if (!grown) {
        g->cap_state = had;
        return -1;
    }
    g->state = grown;
    memset(g->state + had, 0, g->cap_state - had);
    return 0;
}

unsigned char xo_group_state(const xo_group *g, int64_t pos)
{
    if (pos < g->floor)
        return DONE;
    size_t i = (size_t)(pos - g->state_pos);
    return i < g->cap_state ? g->state[i] : UNSEEN;
}

/* Within what xo_group_reach() made. */
void xo_group_mark(xo_group *g, int64_t pos, int done)
{
    if (pos >= g->floor)
        g->state[pos - g->state_pos] = done ? DONE : MET;
}

void xo_group_settle_floor(xo_group *g)
{
    int64_t next = g->topic->next_pos;
    while (g->floor < next && xo_group_state(g, g->floor) == DONE)
        g->floor++;
    if (g->cursor < g->floor)
        g->cursor = g->floor;
}

int xo_group_lag(const xo_group *g, int64_t *budget, int64_t *lag, int64_t queues[XO_QUEUES])
{
    const xo_topic *t = g->topic;
    memset(queues, 0, XO_QUEUES * sizeof *queues);
    *lag = 0;
    if (t->next_pos - g->floor > *budget) {
        *lag = (int64_t)(g->parked + g->out) + (t->next_pos - g->cursor);
        return 0;
    }
    *budget -= t->next_pos - g->floor;
    for (int64_t pos = g->floor; pos < t->next_pos; pos++)
        if (xo_group_state(g, pos) != DONE) {
            queues[xo_topic_entry(t, pos)->queue]++;
            ++*lag;
        }
    return 1;
}

const xo_tag *xo_node_tag(const xo_node *n)
{
    return xo_topic_entry(n->group->topic, n->pos)->tag;
}

static xo_tagged *tagged_find(const xo_group *g, const xo_tag *tag)
{
    uint64_t hash = xo_hash(&tag, sizeof tag);
    for (xo_mapped *m = xo_map_first(&g->tagged, hash); m; m = xo_map_again(m))
        if (XO_OF(xo_tagged, by_tag, m)->tag == tag)
            return XO_OF(xo_tagged, by_tag, m);
    return NULL;
}

static xo_tagged *tagged_get(xo_group *g, const xo_tag *tag)
{
    xo_tagged *t = tagged_find(g, tag);
    if (t || !(t = xo_calloc(1, sizeof *t)))
        return t;
    t->tag = tag;
    xo_list_init(&t->parked);
    xo_map_put(&g->tagged, &t->by_tag, xo_hash(&tag, sizeof tag));
    return t;
}

static xo_lane *lane_get(xo_group *g, uint64_t key)
{
    xo_mapped *m = xo_map_first(&g->lanes, key); /* the key is a hash already: two keys in one lane only wait for each other */
    if (m)
        return XO_OF(xo_lane, by_key, m);
    xo_lane *l = xo_calloc(1, sizeof *l);
    if (!l)
        return NULL;
    xo_list_init(&l->parked);
    xo_map_put(&g->lanes, &l->by_key, key);
    return l;
}

static void lane_update(xo_group *g, xo_lane *l)
{
    int eligible = l->out == 0 && !xo_list_empty(&l->parked);
    if (eligible && !xo_linked(&l->eligible))
        xo_list_push(&g->eligible, &l->eligible);
    else if (!eligible)
        xo_list_remove(&l->eligible);
}

static void lane_leave(xo_group *g, xo_lane *l)
{
    if (--l->nodes == 0) {
        xo_list_remove(&l->eligible);
        xo_map_remove(&g->lanes, &l->by_key);
        free(l);
    } else {
        lane_update(g, l);
    }
}

xo_node *xo_node_new(xo_group *g, int64_t pos)
{
    const xo_entry *entry = xo_topic_entry(g->topic, pos);
    xo_tagged *tagged = tagged_get(g, entry->tag);
    xo_node *n = tagged && xo_group_reach(g, pos + 1) == 0 ? xo_calloc(1, sizeof *n) : NULL;
    xo_lane *lane = n ? lane_get(g, entry->lane) : NULL;
    if (!lane) {
        free(n);
        return NULL;
    }
    n->group = g;
    n->pos = pos;
    n->tagged = tagged;
    n->lane = lane;
    lane->nodes++;
    xo_list_init(&n->handles);
    xo_group_mark(g, pos, 0);
    return n;
}

static void lane_insert(xo_lane *l, xo_node *n, int again)
{
    xo_link *at = &l->parked;
    if (again) {
        at = l->parked.next;
        while (at != &l->parked && XO_OF(xo_node, in_lane, at)->pos < n->pos)
            at = at->next;
    } else {
        while (at->prev != &l->parked && XO_OF(xo_node, in_lane, at->prev)->pos > n->pos)
            at = at->prev;
    }
    xo_list_before(at, &n->in_lane);
}

void xo_node_park(xo_node *n, int again)
{
    xo_group *g = n->group;
    int front = again || (g->topic->engine->opt.faults->reorder && xo_dice(0.5));
    n->state = XO_PARKED;
    if (front) {
        xo_list_unshift(&g->all, &n->in_all);
        xo_list_unshift(&n->tagged->parked, &n->in_tag);
    } else {
        xo_list_push(&g->all, &n->in_all);
        xo_list_push(&n->tagged->parked, &n->in_tag);
    }
    lane_insert(n->lane, n, again);
    g->parked++;
    lane_update(g, n->lane);
}

static void unpark(xo_node *n)
{
    xo_list_remove(&n->in_all);
    xo_list_remove(&n->in_tag);
    xo_list_remove(&n->in_lane);
    n->group->parked--;
}

void xo_node_take(xo_node *n)
{
    unpark(n);
    n->state = XO_OUT;
    n->lane->out++;
    n->group->out++;
    lane_update(n->group, n->lane);
}

static void no_longer_out(xo_node *n)
{
    n->lane->out--;
    n->group->out--;
}

void xo_node_drop(xo_node *n)
{
    xo_group *g = n->group;
    if (n->state == XO_PARKED && xo_linked(&n->in_all))
        unpark(n);
    else if (n->state != XO_PARKED)
        no_longer_out(n);
    xo_node_orphan(n);
    xo_list_remove(&n->twin);
    xo_list_remove(&n->unsaved);
    lane_leave(g, n->lane);
    free(n);
    xo_topic_touch(g->topic);
}

void xo_node_back(xo_node *n)
{
    if (n->pos < n->group->topic->base_pos) {
        xo_node_drop(n);
        return;
    }
    xo_list_remove(&n->twin);
    no_longer_out(n);
    xo_node_park(n, 1);
    xo_topic_touch(n->group->topic);
}

void xo_node_finish(xo_node *n)
{
    xo_group *g = n->group;
    xo_group_mark(g, n->pos, 1);
    xo_node_drop(n);
    xo_group_settle_floor(g);
}

/* The next of the log that was never looked at, parked. */
static int look_further(xo_group *g)
{
    while (g->cursor < g->topic->next_pos && xo_group_state(g, g->cursor) != UNSEEN)
        g->cursor++;
    if (g->cursor >= g->topic->next_pos)
        return 0;
    xo_node *n = xo_node_new(g, g->cursor);
    if (!n)
        return 0;
    g->cursor++;
    xo_node_park(n, 0);
    return 1;
}

size_t xo_group_window(xo_group *g, size_t n)
{
    size_t done = 0;
    while (done < n && look_further(g))
        done++;
    return done;
}

int xo_poll_wants(const xo_poll *p, const xo_tag *tag)
{
    if (!p->tags)
        return 1;
    for (size_t i = 0; i < p->ntags; i++)
        if (p->tags[i] == tag)
            return 1;
    return 0;
}

static xo_node *first_parked(const xo_group *g, const xo_poll *p)
{
    if (!p->tags)
        return xo_list_empty(&g->all) ? NULL : XO_OF(xo_node, in_all, g->all.next);
    xo_node *best = NULL;
    for (size_t i = 0; i < p->ntags; i++) {
        xo_tagged *t = tagged_find(g, p->tags[i]);
        if (!t || xo_list_empty(&t->parked))
            continue;
        xo_node *n = XO_OF(xo_node, in_tag, t->parked.next);
        if (!best || n->pos < best->pos)
            best = n;
    }
    return best;
}

xo_node *xo_group_next(xo_group *g, const xo_poll *p)
{
    if (g->topic->engine->opt.faults->reorder && g->parked < REORDER_WINDOW)
        xo_group_window(g, REORDER_WINDOW - g->parked);
    for (;;) {
        xo_node *n = first_parked(g, p);
        if (n || !look_further(g))
            return n;
    }
}

/* The log begins at base now: parked nodes below go, those that are out go when they come back. */
void xo_group_forget(xo_group *g, int64_t base)
{
    for (xo_link *l = g->all.next, *next; l != &g->all; l = next) {
        next = l->next;
        if (XO_OF(xo_node, in_all, l)->pos < base)
            xo_node_drop(XO_OF(xo_node, in_all, l));
    }
    for (xo_link *l = g->twins.next, *next; l != &g->twins; l = next) {
        next = l->next;
        if (XO_OF(xo_node, twin, l)->pos < base)
            xo_list_remove(l);
    }
    if (g->floor < base)
        g->floor = base;
    xo_group_settle_floor(g);
}

void xo_group_clear(xo_group *g)
{
    for (xo_mapped *m; (m = xo_map_any(&g->tagged));) {
        xo_map_remove(&g->tagged, m);
        free(XO_OF(xo_tagged, by_tag, m));
    }
    for (xo_mapped *m; (m = xo_map_any(&g->lanes));) {
        xo_map_remove(&g->lanes, m);
        free(XO_OF(xo_lane, by_key, m));
    }
    while (!xo_list_empty(&g->all)) {
        xo_node *n = XO_OF(xo_node, in_all, g->all.next);
        xo_list_remove(&n->in_all);
        xo_list_remove(&n->unsaved);
        free(n);
    }
    xo_map_free(&g->tagged);
    xo_map_free(&g->lanes);
    free(g->state);
}
