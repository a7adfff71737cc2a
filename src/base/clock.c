/* Clocks, durations and pauses. */
#include "base/clock.h"
#include "base/mem.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec t;
    if (clock_gettime(id, &t) != 0) {
        return 0;
    }
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t xo_now_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

int64_t xo_mono_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t xo_boot_ms(void)
{
#ifdef CLOCK_BOOTTIME
    return read_us(CLOCK_BOOTTIME) / 1000;
#else
    return read_us(CLOCK_MONOTONIC) / 1000;
#endif
}

int64_t xo_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

static const struct {
    const char *name;
    int64_t ms;
} units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

static int64_t unit_ms(const char *name)
{
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(units[i].name, name) == 0) {
            return units[i].ms;
        }
    }
    return strcmp(name, "min") == 0 ? 60000 : 0;
}

xonce_status xo_parse_duration(const char *text, const char *unit, int64_t *ms)
{
    const char *p = text;
    int64_t n = 0;
    int digits = 0, over = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        over |= __builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *p - '0', &n);
        digits = 1;
    }
    int64_t each = digits ? unit_ms(*p ? p : unit) : 0;
    if (each == 0) {
        return xo_fail(XONCE_E_INVALID, "\"%.40s\" is no duration; write a whole number with ms, s, m, h or d, as 250ms or 4d", text);
    }
    if (over || __builtin_mul_overflow(n, each, &n)) {
        return xo_fail(XONCE_E_INVALID, "the duration \"%.40s\" is too long", text);
    }
    *ms = n;
    return XONCE_OK;
}

void xo_format_duration(int64_t ms, char *out, size_t size)
{
    size_t i = 0;
    while (i + 1 < sizeof(units) / sizeof(units[0]) && (ms == 0 || ms % units[i].ms != 0)) {
        i++;
    }
    (void)snprintf(out, size, "%" PRId64 "%s", ms / units[i].ms, ms == 0 ? "s" : units[i].name);
}

void xo_format_time(int64_t epoch_ms, char *out, size_t size)
{
    int64_t ms = epoch_ms % 1000;
    time_t s = (time_t)(epoch_ms / 1000);
    if (ms < 0) {
        ms += 1000;
        s--;
    }
    struct tm t;
    char text[64];
    if (!gmtime_r(&s, &t) || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &t) == 0) {
        (void)snprintf(out, size, "%" PRId64, epoch_ms);
        return;
    }
    (void)snprintf(out, size, "%s.%03dZ", text, (int)ms);
}

/* The next n digits as a number; -1: there are not so many. */
static int digits(const char **p, int n)
{
    int v = 0;
    for (; n > 0; n--, ++*p) {
        if (**p < '0' || **p > '9') {
            return -1;
        }
        v = v * 10 + (**p - '0');
    }
    return v;
}

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)));
}

xonce_status xo_parse_time(const char *text, int64_t *epoch_ms)
{
    static const char between[] = "--T::";
    size_t n = strlen(text), number = strspn(text, "0123456789");
    int v[6], ms = 0, good = 1, plain = n == 14 && number == n; /* nothing stands between */
    const char *p = text;
    if (n > 0 && n <= 18 && number == n && !plain) {
        *epoch_ms = strtoll(text, NULL, 10);
        return XONCE_OK;
    }
    for (int i = 0; good && i < 6; i++) {
        good = i == 0 || plain || *p++ == between[i - 1];
        v[i] = good ? digits(&p, i == 0 ? 4 : 2) : -1;
        good = v[i] >= 0;
    }
    if (good && *p == '.') {
        p++;
        ms = digits(&p, 3);
    }
    good = good && ms >= 0 && (plain || *p++ == 'Z') && *p == 0;
    if (!good || v[0] < 1970 || v[1] < 1 || v[1] > 12 || v[2] < 1 || v[2] > days_of(v[0], v[1]) || v[3] > 23 || v[4] > 59 || v[5] > 59) {
        return xo_fail(XONCE_E_INVALID, "\"%.40s\" is no time; write 2026-11-24T08:00:00Z or 20261124080000, both in UTC, or ms since 1970", text);
    }
    struct tm t = {.tm_year = v[0] - 1900, .tm_mon = v[1] - 1, .tm_mday = v[2], .tm_hour = v[3], .tm_min = v[4], .tm_sec = v[5]};
    *epoch_ms = (int64_t)timegm(&t) * 1000 + ms;
    return XONCE_OK;
}

void xo_pause_ms(int64_t ms)
{
    if (ms <= 0) {
        return;
    }
    struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR) {
    }
}

int xo_cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    int rc = pthread_condattr_init(&attr);
    if (rc == 0) {
        rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        if (rc == 0) {
            rc = pthread_cond_init(c, &attr);
        }
        pthread_condattr_destroy(&attr);
    }
    return rc;
}

int xo_cond_wait_ms(pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline_mono_ms)
{
    if (deadline_mono_ms == INT64_MAX) {
        return pthread_cond_wait(c, m);
    }
    if (deadline_mono_ms < 0) {
        deadline_mono_ms = 0;
    }
    struct timespec t = {.tv_sec = (time_t)(deadline_mono_ms / 1000), .tv_nsec = (long)(deadline_mono_ms % 1000) * 1000000};
    return pthread_cond_timedwait(c, m, &t);
}

uint64_t xo_random(void)
{
    static _Thread_local uint64_t state;
    if (state == 0 && getrandom(&state, sizeof(state), GRND_NONBLOCK) != (ssize_t)sizeof(state)) {
        state = (uint64_t)read_us(CLOCK_REALTIME) ^ (uint64_t)(uintptr_t)&state;
    }
    /* a Weyl sequence through two rounds of multiply and shift: plenty for jitter and names */
    uint64_t x = state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
    return x ^ (x >> 32);
}
