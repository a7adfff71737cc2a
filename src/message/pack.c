/* Messages that share one memory. */
#include "message/message.h"
#include "base/clock.h"
#include <stdatomic.h>
#include <stdlib.h>

typedef struct xo_pack_block {
    struct xo_pack_block *next;
    void *p;
} block;

xo_pack *xo_pack_new(size_t room)
{
    xo_pack *k = xo_calloc(1, sizeof(*k));
    if (k && xo_arena_room(&k->memory, room) != 0) {
        free(k);
        return NULL;
    }
    if (k) {
        atomic_init(&k->users, 1);
        k->made_boot = xo_boot_ms();
    }
    return k;
}

int xo_pack_keep(xo_pack *k, void *p, size_t n)
{
    block *b = xo_arena_alloc(&k->memory, sizeof(*b));
    if (!b) {
        return 0;
    }
    *b = (block){k->blocks, p};
    k->blocks = b;
    k->size += n;
    return 1;
}

xonce_message *xo_pack_message(xo_pack *k)
{
    xonce_message *m = xo_arena_alloc(&k->memory, sizeof(*m));
    if (m) {
        xo_message_defaults(m);
        m->pack = k;
        m->polled_boot = k->made_boot;
        atomic_fetch_add_explicit(&k->users, 1, memory_order_relaxed);
    }
    return m;
}

void xo_pack_drop(xo_pack *k)
{
    if (!k || atomic_fetch_sub_explicit(&k->users, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (block *b = k->blocks; b; b = b->next) {
        free(b->p);
    }
    xo_arena_free(&k->memory);
    free(k);
}
