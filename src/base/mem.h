/* Checked allocation. Nothing here aborts; NULL means out of memory (or an overflowing size). */
#ifndef XO_MEM_H
#define XO_MEM_H
#include <stddef.h>
#include <stdint.h>
void *xo_calloc(size_t n, size_t size);
void *xo_grow(void *p, size_t *cap, size_t need, size_t size); /* at least doubles; p stays valid on NULL */
char *xo_strdup(const char *s);                                /* NULL stays NULL */
char *xo_memdup0(const void *p, size_t n);                     /* copy with a NUL behind it */
char *xo_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void xo_wipe(void *p, size_t n);                               /* not optimised away */
void xo_wipe_free(char *s);                                    /* wipes a secret string, then frees it; NULL is fine */

/* A bump allocator for what lives as long as one batch. Freed or reset as a whole. */
typedef struct xo_arena_block xo_arena_block;
typedef struct {
    xo_arena_block *first, *current;
} xo_arena;                                          /* zero-initialised = empty */
int xo_arena_room(xo_arena *a, size_t n);            /* of an empty one: makes its first block for n bytes. -1: no memory */
void *xo_arena_alloc(xo_arena *a, size_t n);         /* aligned for any type, zeroed; NULL on no memory */
char *xo_arena_dup(xo_arena *a, const void *p, size_t n); /* copy with a NUL behind it */
void xo_arena_reset(xo_arena *a);                    /* keeps its first block */
void xo_arena_free(xo_arena *a);
#endif
