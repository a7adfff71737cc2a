/* The hash table of map.h: chains in a power of two of slots. */
#include "endpoint/map.h"
#include "base/mem.h"
#include <stdlib.h>

uint64_t xo_hash(const void *p, size_t n)
{
    const unsigned char *s = p;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n; i++)
        h = (h ^ s[i]) * UINT64_C(0x100000001b3);
    h ^= h >> 32; /* the low bits choose the slot */
    h *= UINT64_C(0x9e3779b97f4a7c15);
    return h ^ (h >> 29);
}

static xo_mapped **slot(const xo_map *m, uint64_t hash)
{
    return m->slots ? &m->slots[hash & (m->nslots - 1)] : (xo_mapped **)&m->one;
}

static void grow(xo_map *m)
{
    size_t n = m->nslots ? m->nslots * 2 : 16;
    xo_mapped **fresh = xo_calloc(n, sizeof *fresh);
    if (!fresh)
        return; /* longer chains, still right */
    size_t old = m->slots ? m->nslots : 1;
    for (size_t i = 0; i < old; i++) {
        xo_mapped *e = m->slots ? m->slots[i] : m->one, *next;
        for (; e; e = next) {
            next = e->next;
            e->next = fresh[e->hash & (n - 1)];
            fresh[e->hash & (n - 1)] = e;
        }
    }
    free(m->slots);
    m->slots = fresh;
    m->nslots = n;
    m->one = NULL;
}

void xo_map_put(xo_map *m, xo_mapped *e, uint64_t hash)
{
    if (m->count >= m->nslots)
        grow(m);
    xo_mapped **s = slot(m, hash);
    e->hash = hash;
    e->next = *s;
    *s = e;
    m->count++;
}

void xo_map_remove(xo_map *m, xo_mapped *e)
{
    for (xo_mapped **s = slot(m, e->hash); *s; s = &(*s)->next)
        if (*s == e) {
            *s = e->next;
            e->next = NULL;
            m->count--;
            return;
        }
}

static xo_mapped *same(xo_mapped *e, uint64_t hash)
{
    while (e && e->hash != hash)
        e = e->next;
    return e;
}

xo_mapped *xo_map_first(const xo_map *m, uint64_t hash)
{
    return same(*slot(m, hash), hash);
}

xo_mapped *xo_map_again(const xo_mapped *e)
{
    return same(e->next, e->hash);
}

xo_mapped *xo_map_any(const xo_map *m)
{
    if (!m->slots)
        return m->one;
    for (size_t i = 0; i < m->nslots; i++)
        if (m->slots[i])
            return m->slots[i];
    return NULL;
}

xo_mapped *xo_map_next(const xo_map *m, const xo_mapped *e)
{
    if (!e)
        return xo_map_any(m);
    if (e->next || !m->slots)
        return e->next;
    for (size_t i = (e->hash & (m->nslots - 1)) + 1; i < m->nslots; i++)
        if (m->slots[i])
            return m->slots[i];
    return NULL;
}

void xo_map_free(xo_map *m)
{
    free(m->slots);
    m->slots = NULL;
    m->one = NULL;
    m->nslots = m->count = 0;
}
