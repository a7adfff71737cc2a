/* Checked allocation and the arena. */
#include "base/mem.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *xo_calloc(size_t n, size_t size)
{
    size_t all;
    if (__builtin_mul_overflow(n, size, &all)) {
        return NULL;
    }
    return calloc(1, all ? all : 1);
}

void *xo_grow(void *p, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap && p) {
        return p;
    }
    size_t want = *cap < SIZE_MAX / 2 ? *cap * 2 : need, all;
    if (want < need) {
        want = need;
    }
    if (want < 8) {
        want = 8;
    }
    if (__builtin_mul_overflow(want, size, &all)) {
        return NULL;
    }
    void *q = realloc(p, all);
    if (q) {
        *cap = want;
    }
    return q;
}

char *xo_strdup(const char *s)
{
    return s ? xo_memdup0(s, strlen(s)) : NULL;
}

char *xo_memdup0(const void *p, size_t n)
{
    if (n == SIZE_MAX) {
        return NULL;
    }
    char *s = malloc(n + 1);
    if (s) {
        if (n) {
            memcpy(s, p, n);
        }
        s[n] = 0;
    }
    return s;
}

char *xo_printf(const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *s = n < 0 ? NULL : malloc((size_t)n + 1);
    if (s) {
        (void)vsnprintf(s, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    return s;
}

void xo_wipe(void *p, size_t n)
{
    if (p && n) {
        memset(p, 0, n);
        __asm__ __volatile__("" : : "r"(p) : "memory");
    }
}

void xo_wipe_free(char *s)
{
    if (s) {
        xo_wipe(s, strlen(s));
        free(s);
    }
}

struct xo_arena_block {
    xo_arena_block *next;
    size_t used, size;
    max_align_t data[];
};

enum { FIRST_BLOCK = 8 * 1024, BLOCK = 64 * 1024, ALIGN = sizeof(max_align_t) };

static xo_arena_block *block_new(size_t size)
{
    if (size > SIZE_MAX - sizeof(xo_arena_block)) {
        return NULL;
    }
    xo_arena_block *b = malloc(sizeof(*b) + size);
    if (b) {
        b->next = NULL;
        b->used = 0;
        b->size = size;
    }
    return b;
}

int xo_arena_room(xo_arena *a, size_t n)
{
    a->first = a->current = block_new(n > SIZE_MAX - ALIGN ? n : (n + ALIGN - 1) / ALIGN * ALIGN);
    return a->first ? 0 : -1;
}

void *xo_arena_alloc(xo_arena *a, size_t n)
{
    if (n > SIZE_MAX - ALIGN) {
        return NULL;
    }
    size_t need = n ? (n + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
    xo_arena_block *b = a->current;
    if (!b || b->size - b->used < need) {
        size_t usual = a->first ? BLOCK : FIRST_BLOCK;
        b = block_new(need > usual ? need : usual);
        if (!b) {
            return NULL;
        }
        if (a->current) {
            a->current->next = b;
        } else {
            a->first = b;
        }
        a->current = b;
    }
    void *p = (char *)b->data + b->used;
    b->used += need;
    return memset(p, 0, need);
}

char *xo_arena_dup(xo_arena *a, const void *p, size_t n)
{
    char *s = n < SIZE_MAX ? xo_arena_alloc(a, n + 1) : NULL;
    if (s && n) {
        memcpy(s, p, n);
    }
    return s;
}

static void free_from(xo_arena_block *b)
{
    while (b) {
        xo_arena_block *next = b->next;
        free(b);
        b = next;
    }
}

void xo_arena_reset(xo_arena *a)
{
    if (a->first) {
        free_from(a->first->next);
        a->first->next = NULL;
        a->first->used = 0;
    }
    a->current = a->first;
}

void xo_arena_free(xo_arena *a)
{
    free_from(a->first);
    a->first = a->current = NULL;
}
