/* Histograms of durations. */
#include "base/histogram.h"

const int64_t xo_bucket_us[XO_BUCKETS] = {100,    250,    500,     1000,    2500,    5000,     10000,    25000,     50000,     100000,
                                          250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000, 120000000, 900000000, INT64_C(7200000000)};

void xo_histogram_add(xo_histogram *h, int64_t us)
{
    size_t i = 0;
    if (us < 0) {
        us = 0;
    }
    while (i < XO_BUCKETS && us > xo_bucket_us[i]) {
        i++;
    }
    h->n[i]++;
    h->count++;
    h->sum_us += us;
}

void xo_histogram_since(xo_histogram *out, const xo_histogram *now, const xo_histogram *before)
{
    *out = *now;
    for (size_t i = 0; before && i <= XO_BUCKETS; i++) {
        out->n[i] -= before->n[i];
    }
    if (before) {
        out->count -= before->count;
        out->sum_us -= before->sum_us;
    }
}

double xo_histogram_quantile(const xo_histogram *h, double q)
{
    if (!h->count) {
        return -1;
    }
    double rank = q * (double)h->count, below = 0;
    for (size_t i = 0; i < XO_BUCKETS; i++) {
        double here = (double)h->n[i];
        if (here > 0 && below + here >= rank) {
            double from = i ? (double)xo_bucket_us[i - 1] : 0, to = (double)xo_bucket_us[i], share = (rank - below) / here;
            return from + (to - from) * (share > 0 ? share : 0);
        }
        below += here;
    }
    return (double)xo_bucket_us[XO_BUCKETS - 1];
}
