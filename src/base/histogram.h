/* Histograms of durations: fixed buckets, no lock, no allocation. */
#ifndef XO_HISTOGRAM_H
#define XO_HISTOGRAM_H
#include <stddef.h>
#include <stdint.h>
enum { XO_BUCKETS = 20 };
extern const int64_t xo_bucket_us[XO_BUCKETS]; /* upper ends, inclusive; what is longer is in n[XO_BUCKETS] */
typedef struct {
    uint64_t n[XO_BUCKETS + 1], count;
    int64_t sum_us;
} xo_histogram; /* zero-initialised = empty */
void xo_histogram_add(xo_histogram *h, int64_t us); /* less than 0 counts as 0: clocks differ */
/* What was added to now since before (an earlier state of it, or NULL). */
void xo_histogram_since(xo_histogram *out, const xo_histogram *now, const xo_histogram *before);
/* The duration in microseconds that the share q (0 to 1) of them does not exceed, estimated inside of its bucket; -1 when there is none. */
double xo_histogram_quantile(const xo_histogram *h, double q);
#endif
