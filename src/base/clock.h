/* Clocks, all in milliseconds, and durations as text. */
#ifndef XO_CLOCK_H
#define XO_CLOCK_H
#include "base/error.h"
int64_t xo_now_ms(void);  /* wall clock, since the epoch UTC */
int64_t xo_mono_ms(void); /* monotonic: for timeouts */
int64_t xo_boot_ms(void); /* monotonic and counting while the machine is suspended: for ages */
int64_t xo_mono_us(void); /* monotonic microseconds: for measuring */
/* "250ms" "30s" "5m" "24h" "4d"; a bare number is taken in the unit given ("ms", "s"). Refuses negative, overflow and rubbish. */
xonce_status xo_parse_duration(const char *text, const char *unit, int64_t *ms);
void xo_format_duration(int64_t ms, char *out, size_t size); /* the shortest exact form, "4d", "1500ms" */
void xo_format_time(int64_t epoch_ms, char *out, size_t size); /* 2026-11-24T08:00:00.123Z */
/* "2026-11-24T08:00:00Z", also with ".123", and "20261124080000", both UTC; another number is ms since 1970. Refuses days and hours that there are not. */
xonce_status xo_parse_time(const char *text, int64_t *epoch_ms);
/* A pause of this thread. Not for tests that wait for a condition. */
void xo_pause_ms(int64_t ms);
/* pthread condition variables on the monotonic clock. */
#include <pthread.h>
int xo_cond_init(pthread_cond_t *c);
int xo_cond_wait_ms(pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline_mono_ms); /* 0 or ETIMEDOUT */
uint64_t xo_random(void);                                /* not for secrets: jitter, names */
#endif
