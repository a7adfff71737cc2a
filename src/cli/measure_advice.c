/* What figures say: medians, the loads that were measured, and which batch and how many workers are enough. */
#include "cli/measure.h"
#include <stdio.h>
#include <stdlib.h>

/* So near the best counts as the best: repeated runs differ by more. */
static const double NEAR = 0.9;
/* No disk without a cache of its own that survives a power cut answers sooner. */
static const double SOONEST_US = 40;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double xo_measure_median(double *v, size_t n)
{
    qsort(v, n, sizeof(*v), by_value);
    return n == 0 ? 0 : n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

double xo_figure_of(const xo_figure *f, size_t n, xo_load_mode mode, size_t batch, int connections)
{
    for (size_t i = 0; i < n; i++) {
        if (f[i].load.mode == mode && f[i].load.batch == batch && f[i].load.connections == connections) {
            return f[i].per_second;
        }
    }
    return 0;
}

int xo_measure_suspicious(double round_trip_us, double commit_us)
{
    return commit_us - round_trip_us < SOONEST_US;
}

static const xo_figure *choose(const xo_figure *f, size_t n, const xo_figure **best)
{
    const xo_figure *least = NULL;
    *best = NULL;
    for (size_t i = 0; i < n; i++) {
        if (f[i].load.mode == XO_LOAD_RECORD && (!*best || f[i].per_second > (*best)->per_second)) {
            *best = &f[i];
        }
    }
    for (size_t i = 0; *best && i < n; i++) {
        const xo_load *a = &f[i].load, *b = least ? &least->load : NULL;
        if (a->mode == XO_LOAD_RECORD && f[i].per_second >= NEAR * (*best)->per_second &&
            (!b || a->connections < b->connections || (a->connections == b->connections && a->batch < b->batch))) {
            least = &f[i];
        }
    }
    return least;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static void explain(const xo_figure *f, size_t n, const xo_figure *best, double round_trip_us, double commit_us, xo_advice *a)
{
    char more[120] = "";
    double single = xo_figure_of(f, n, XO_LOAD_RECORD, 1, a->workers), one_worker = xo_figure_of(f, n, XO_LOAD_RECORD, a->batch, 1);
    if (a->workers > 1 && one_worker > 0) {
        (void)snprintf(more, sizeof(more), "; %d workers take %.1f times as many as one", a->workers, ratio(a->per_second, one_worker));
    } else if (best->load.connections > a->workers) {
        (void)snprintf(more, sizeof(more), "; %d workers add only %.0f %%", best->load.connections, 100 * (ratio(best->per_second, a->per_second) - 1));
    }
    if (a->batch > 1) {
        (void)snprintf(a->why, sizeof(a->why), "a COMMIT takes %.2f ms here, %.2f ms of it on the way, and %zu messages share one: %.1f times as many as one by one%s", commit_us / 1000,
                       round_trip_us / 1000, a->batch, ratio(a->per_second, single), more);
    } else {
        (void)snprintf(a->why, sizeof(a->why), "a COMMIT takes only %.2f ms here, so that batches gain less than a tenth%s", commit_us / 1000, more);
    }
}

void xo_measure_advise(const xo_figure *f, size_t n, double round_trip_us, double commit_us, xo_advice *out)
{
    const xo_figure *best, *least = choose(f, n, &best);
    *out = (xo_advice){.batch = 1, .workers = 1};
    if (least) {
        out->batch = least->load.batch;
        out->workers = least->load.connections;
        out->per_second = least->per_second;
        explain(f, n, best, round_trip_us, commit_us, out);
    }
}
