/* An intrusive hash table: elements carry their hash and chain, callers compare. Putting in never fails. */
#ifndef XO_MAP_H
#define XO_MAP_H
#include <stddef.h>
#include <stdint.h>
typedef struct xo_mapped {
    struct xo_mapped *next;
    uint64_t hash;
} xo_mapped;
typedef struct {
    xo_mapped **slots; /* NULL while the one below is enough, or memory for more is missing */
    xo_mapped *one;
    size_t nslots, count;
} xo_map; /* zero-initialised = empty */
uint64_t xo_hash(const void *p, size_t n);
void xo_map_put(xo_map *m, xo_mapped *e, uint64_t hash);
void xo_map_remove(xo_map *m, xo_mapped *e);
/* Elements of that hash, one after the other: compare each. NULL at the end. */
xo_mapped *xo_map_first(const xo_map *m, uint64_t hash);
xo_mapped *xo_map_again(const xo_mapped *e);
/* Any element, for emptying a table; NULL when there is none. */
xo_mapped *xo_map_any(const xo_map *m);
/* The element behind e, in no order; of NULL the first; NULL at the end. Nothing may be put in or taken out meanwhile. */
xo_mapped *xo_map_next(const xo_map *m, const xo_mapped *e);
void xo_map_free(xo_map *m); /* the slots, not the elements */
#endif
