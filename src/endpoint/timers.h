/* Timers in order of their time: an intrusive pairing heap, so that setting one never fails. */
#ifndef XO_TIMERS_H
#define XO_TIMERS_H
#include <stddef.h>
#include <stdint.h>
typedef struct xo_timer {
    int64_t at; /* xo_mono_ms() */
    void (*fire)(struct xo_timer *t);
    struct xo_timer *child, *next, *prev; /* prev: the left neighbour, or the parent of a first child */
    int set;
} xo_timer; /* zero-initialised = not set */
typedef struct {
    xo_timer *first; /* the next to fire */
} xo_timers;
/* Sets t (again) to a time. 1 when it is now the first. */
int xo_timer_set(xo_timers *h, xo_timer *t, int64_t at, void (*fire)(xo_timer *));
void xo_timer_clear(xo_timers *h, xo_timer *t); /* fine when not set */
#endif
