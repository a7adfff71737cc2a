/* How large a batch may be, and how many workers run at once: learnt from how long transactions take. docs/design.md, "Batches and workers", says why so. */
#include "consumer/parts.h"
#include <string.h>

enum {
    SHORT_US = 50000,         /* a transaction so short may be made longer without asking whether that pays */
    MOST_US = 1000000,        /* and none is planned to be longer, pay as it may */
    FORGET_US = 60000000,     /* what was learnt so long ago may not be true any more */
    PATIENCE_MAX_US = 5000
};
/* A batch twice as large pays when a message of it takes at most so much of the time (percent); from the others on half the batch is as good. Between the two nothing changes. */
enum { PAYS = 80, NO_GAIN_LONG = 90, NO_GAIN = 95 };

/* ---- the batch ---- */

/* Batches of 2^(k-1)+1 to 2^k messages are kept together. */
static unsigned step_of(size_t n)
{
    unsigned k = 0;
    while (k + 1 < XO_SIZE_STEPS && ((size_t)1 << k) < n) {
        k++;
    }
    return k;
}

static size_t size_of(const xo_size *z, unsigned k)
{
    size_t n = (size_t)1 << k;
    return n < z->max ? n : z->max;
}

void xo_size_init(xo_size *z, size_t max, int at_once)
{
    *z = (xo_size){.max = max, .limit = at_once ? max : 1};
}

void xo_size_limit(xo_size *z, size_t max, int at_once)
{
    z->max = max;
    z->limit = at_once || z->limit > max ? max : z->limit;
}

/* What a message takes in a batch of this step, in ns; 0: not known (any more). */
static int64_t each_of(const xo_size *z, unsigned k, int64_t now_us)
{
    return k < XO_SIZE_STEPS && now_us - z->learnt_us[k] <= FORGET_US ? z->each_ns[k] : 0;
}

static void learn(xo_size *z, unsigned k, int64_t each, int64_t now_us)
{
    int64_t known = each_of(z, k, now_us);
    /* good news counts more: a stall of the disk is no reason to stay small for long */
    z->each_ns[k] = known ? known + (each - known) / (each < known ? 2 : 4) : each;
    z->each_ns[k] += !z->each_ns[k];
    z->learnt_us[k] = now_us;
}

static int pays(const xo_size *z, unsigned k, int64_t each, int64_t took_us, int64_t now_us)
{
    int64_t larger = each_of(z, k + 1, now_us), smaller = k ? each_of(z, k - 1, now_us) : 0;
    if (2 * took_us <= SHORT_US) {
        return 1;
    }
    if (larger) {
        return larger * 100 <= each * PAYS && larger / 1000 * (int64_t)size_of(z, k + 1) <= MOST_US;
    }
    return 2 * took_us <= MOST_US && (!k || (smaller && each * 100 <= smaller * PAYS)); /* of one message nothing is known yet: two are tried */
}

static int too_large(const xo_size *z, unsigned k, int64_t each, int64_t took_us, int64_t now_us)
{
    int64_t smaller = k ? each_of(z, k - 1, now_us) : 0;
    int as_good = took_us > 2 * SHORT_US ? NO_GAIN_LONG : NO_GAIN;
    return k && (took_us > MOST_US || (took_us > SHORT_US && (!smaller || each * 100 > smaller * as_good)));
}

void xo_size_ran(xo_size *z, size_t n, int64_t took_us, int64_t now_us)
{
    unsigned k = step_of(n), most = step_of(z->max);
    learn(z, k, took_us * 1000 / (int64_t)n, now_us);
    int64_t each = z->each_ns[k], took = each * (int64_t)n / 1000;
    if (n < z->limit) {
        /* few messages took long: what was learnt of full batches is not true any more */
        if (took > SHORT_US && size_of(z, k + 1) < z->limit) {
            z->limit = size_of(z, k + 1);
        }
    } else if (n == z->limit && k < most && pays(z, k, each, took, now_us)) {
        z->limit = size_of(z, k + 1);
    } else if (n == z->limit && too_large(z, k, each, took, now_us)) {
        do {
            k--;
        } while (k && each * (int64_t)size_of(z, k) / 1000 > MOST_US);
        z->limit = size_of(z, k);
    }
}

size_t xo_size_within(const xo_size *z, int64_t left_ms)
{
    int64_t each = 0;
    for (unsigned k = step_of(z->limit) + 1; k && !each; k--) {
        each = z->each_ns[k - 1];
    }
    if (!each || left_ms >= INT64_MAX / 2000000) {
        return z->limit;
    }
    int64_t n = left_ms * (1000000 / 4) / each; /* a quarter of the time that is left */
    return n < 1 ? 1 : n < (int64_t)z->limit ? (size_t)n : z->limit;
}

int64_t xo_size_patience_us(const xo_size *z, size_t running)
{
    int64_t single = z->each_ns[0] / 1000;
    single = single < 200 ? 200 : single < PATIENCE_MAX_US ? single : PATIENCE_MAX_US;
    return single * (int64_t)running;
}

/* ---- the workers ---- */

enum {
    START = 4,                /* helps on every engine with more than one writer, hurts on none */
    MEASURE_US = 200000,
    TRY_US = 1000000, TRY_MAX_US = 60000000,
    FASTER = 110, AS_FAST = 97, /* percent: what more workers must bring, and fewer must keep, twice in a row; a neighbour's load may pass for either once */
    CLEAR = 170
};

void xo_crew_init(xo_crew *w, size_t most, int one_writer)
{
    *w = (xo_crew){.most = one_writer ? 1 : most, .up = 1, .wait_us = TRY_US};
    w->at_once = w->home = w->most < START ? w->most : START;
}

static void measure_anew(xo_crew *w, size_t skip);

void xo_crew_limit(xo_crew *w, size_t most, int one_writer)
{
    w->most = one_writer ? 1 : most;
    w->home = w->home < w->most ? w->home : w->most;
    w->at_once = w->home;
    w->up = 1;
    w->wins = 0;
    w->wait_us = TRY_US;
    measure_anew(w, w->skip);
}

static size_t next_crew(const xo_crew *w, int up)
{
    if (up) {
        return 2 * w->home < w->most ? 2 * w->home : w->most;
    }
    size_t n = 1;
    while (2 * n < w->home) {
        n *= 2;
    }
    return n;
}

static void measure_anew(xo_crew *w, size_t skip)
{
    w->since_us = 0;
    w->extra = 0;
    w->done = w->batches = 0;
    w->skip = skip;
}

void xo_crew_took(xo_crew *w, size_t running, int more, int64_t now_us)
{
    if (w->skip) {
        return;
    }
    w->extra = w->extra || running > w->at_once;
    if (more && running >= w->at_once) {
        return;
    }
    if (w->at_once != w->home) { /* a trial without work for all tells nothing */
        w->at_once = w->home;
        w->wins = 0;
        w->try_us = now_us + TRY_US;
    }
    measure_anew(w, 0);
}

static void go_home(xo_crew *w, int64_t now_us)
{
    measure_anew(w, w->at_once);
    w->at_once = w->home;
    w->wins = 0;
    w->up = !w->up;
    w->try_us = now_us + w->wait_us;
    w->wait_us = 2 * w->wait_us < TRY_MAX_US ? 2 * w->wait_us : TRY_MAX_US;
}

static void try_next(xo_crew *w, int extra)
{
    w->up = w->up || extra; /* fewer are of no use where more were needed */
    size_t next = next_crew(w, w->up);
    if (next == w->home && !extra) {
        w->up = !w->up;
        next = next_crew(w, w->up);
    }
    measure_anew(w, next > w->home ? next : w->home); /* until all that was begun before has ended */
    w->at_once = next;
}

static int won(const xo_crew *w, int64_t rate)
{
    return rate * 100 >= w->rate * (w->at_once > w->home ? FASTER : AS_FAST) && !(w->extra && w->at_once < w->home);
}

void xo_crew_ran(xo_crew *w, size_t n, int64_t now_us)
{
    if (w->skip) {
        w->skip--;
        return;
    }
    if (!w->since_us) {
        w->since_us = now_us;
        return;
    }
    w->done += n;
    w->batches++;
    int64_t took = now_us - w->since_us;
    if (took < MEASURE_US || w->batches < 2 * w->at_once || w->most == 1) {
        return;
    }
    int64_t rate = (int64_t)w->done * 1000000 / took;
    if (w->at_once == w->home) {
        int extra = w->extra;
        w->rate = rate;
        measure_anew(w, 0);
        if (now_us >= w->try_us) {
            try_next(w, extra);
        }
    } else if (won(w, rate) && (w->wins || rate * 100 >= w->rate * CLEAR)) {
        w->home = w->at_once;
        w->rate = rate;
        w->wins = 0;
        w->wait_us = TRY_US;
        w->try_us = now_us;
        measure_anew(w, 0);
    } else if (won(w, rate)) {
        w->wins = 1;
        w->try_us = now_us;
        measure_anew(w, w->at_once);
        w->at_once = w->home;
    } else {
        go_home(w, now_us);
    }
}
