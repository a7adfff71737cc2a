/* The pairing heap of timers.h. */
#include "endpoint/timers.h"

static xo_timer *meld(xo_timer *a, xo_timer *b)
{
    if (!a || !b)
        return a ? a : b;
    if (b->at < a->at) {
        xo_timer *t = a;
        a = b;
        b = t;
    }
    b->next = a->child;
    if (a->child)
        a->child->prev = b;
    b->prev = a;
    a->child = b;
    return a;
}

/* Melds siblings in pairs from left to right, then the pairs from right to left. */
static xo_timer *gather(xo_timer *t)
{
    xo_timer *pairs = NULL, *all = NULL;
    while (t) {
        xo_timer *a = t, *b = t->next;
        t = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b)
            b->next = b->prev = NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        xo_timer *next = pairs->next;
        pairs->next = NULL;
        all = meld(all, pairs);
        pairs = next;
    }
    return all;
}

void xo_timer_clear(xo_timers *h, xo_timer *t)
{
    if (!t->set)
        return;
    xo_timer *below = gather(t->child);
    if (h->first == t) {
        h->first = below;
    } else {
        if (t->prev->child == t)
            t->prev->child = t->next;
        else
            t->prev->next = t->next;
        if (t->next)
            t->next->prev = t->prev;
        h->first = meld(h->first, below);
    }
    t->child = t->next = t->prev = NULL;
    t->set = 0;
}

int xo_timer_set(xo_timers *h, xo_timer *t, int64_t at, void (*fire)(xo_timer *))
{
    xo_timer_clear(h, t);
    t->at = at;
    t->fire = fire;
    t->set = 1;
    h->first = meld(h->first, t);
    return h->first == t;
}
