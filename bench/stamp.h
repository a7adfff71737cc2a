/* The send time in a body of the benches: 16 hex digits, microseconds of the wall clock; 0 = it is not timed. */
#ifndef BENCH_STAMP_H
#define BENCH_STAMP_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BENCH_STAMP = 16 };

static inline int64_t bench_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static inline int64_t bench_stamp_of(const char *body, size_t len)
{
    char text[BENCH_STAMP + 1];
    if (len < BENCH_STAMP)
        return 0;
    memcpy(text, body, BENCH_STAMP);
    text[BENCH_STAMP] = 0;
    return (int64_t)strtoull(text, NULL, 16);
}
#endif
