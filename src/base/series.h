/* What the pages show of the last minutes: a point of the counts every few seconds, in a ring that its owner keeps as an array of XO_POINTS. */
#ifndef XO_SERIES_H
#define XO_SERIES_H
#include <stddef.h>
#include <stdint.h>

enum { XO_STEP_MS = 5000, XO_POINTS = 121 /* ten minutes */ };
typedef struct {
    size_t first, n;
} xo_series; /* zero-initialised: no point yet */

/* Where the i-th is, 0 the oldest. */
static inline size_t xo_series_at(const xo_series *s, size_t i)
{
    return (s->first + i) % XO_POINTS;
}

/* Where one more goes; the oldest makes room for it. */
static inline size_t xo_series_add(xo_series *s)
{
    size_t at = xo_series_at(s, s->n);
    if (s->n < XO_POINTS) {
        s->n++;
    } else {
        s->first = (s->first + 1) % XO_POINTS;
    }
    return at;
}

/* When the one behind that which was due then is due, monotonic: in step, unless the machine slept. */
static inline int64_t xo_series_next(int64_t due, int64_t now)
{
    return due + XO_STEP_MS < now ? now + XO_STEP_MS : due + XO_STEP_MS;
}
#endif
