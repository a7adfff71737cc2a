/* Requests that wait for an answer: a heap by deadline and a table by opaque. */
#include "base/mem.h"
#include "remoting/io.h"
#include <stdlib.h>

static void put(xo_waits *w, size_t at, xo_item *i)
{
    w->heap[at] = i;
    i->place = at;
}

static void sift_up(xo_waits *w, size_t at, xo_item *i)
{
    while (at > 0 && w->heap[(at - 1) / 2]->deadline > i->deadline) {
        put(w, at, w->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(w, at, i);
}

static void sift_down(xo_waits *w, size_t at, xo_item *i)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= w->n) {
            break;
        }
        if (child + 1 < w->n && w->heap[child + 1]->deadline < w->heap[child]->deadline) {
            child++;
        }
        if (w->heap[child]->deadline >= i->deadline) {
            break;
        }
        put(w, at, w->heap[child]);
        at = child;
    }
    put(w, at, i);
}

/* Opaques are numbered one after the other: the low bits spread them well. */
static xo_item **slot(const xo_waits *w, int32_t opaque)
{
    return &w->table[(uint32_t)opaque & (w->size - 1)];
}

static int grow_table(xo_waits *w)
{
    xo_waits bigger = {.size = w->size ? 2 * w->size : 64};
    bigger.table = xo_calloc(bigger.size, sizeof(*bigger.table));
    if (!bigger.table) {
        return -1;
    }
    for (size_t n = 0; n < w->n; n++) {
        xo_item **s = slot(&bigger, w->heap[n]->opaque);
        w->heap[n]->chain = *s;
        *s = w->heap[n];
    }
    free(w->table);
    w->table = bigger.table;
    w->size = bigger.size;
    return 0;
}

int xo_waits_add(xo_waits *w, xo_item *i)
{
    xo_item **heap = xo_grow(w->heap, &w->cap, w->n + 1, sizeof(*w->heap));
    if (!heap) {
        return -1;
    }
    w->heap = heap;
    if (w->n >= w->size && grow_table(w)) {
        return -1;
    }
    xo_item **s = slot(w, i->opaque);
    i->chain = *s;
    *s = i;
    sift_up(w, w->n++, i);
    return 0;
}

void xo_waits_remove(xo_waits *w, xo_item *i)
{
    xo_item **s = slot(w, i->opaque);
    while (*s != i) {
        s = &(*s)->chain;
    }
    *s = i->chain;
    i->chain = NULL;
    xo_item *last = w->heap[--w->n];
    if (last != i) {
        size_t at = i->place;
        if (last->deadline < i->deadline) {
            sift_up(w, at, last);
        } else {
            sift_down(w, at, last);
        }
    }
}

xo_item *xo_waits_find(const xo_waits *w, const xo_conn *c, int32_t opaque)
{
    xo_item *i = w->size ? *slot(w, opaque) : NULL;
    while (i && (i->opaque != opaque || i->conn != c)) {
        i = i->chain;
    }
    return i;
}

void xo_waits_free(xo_waits *w)
{
    free(w->heap);
    free(w->table);
}
