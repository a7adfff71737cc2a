/* Log lines on their way to the user's function, and their level. */
#include "base/log.h"
#include "base/clock.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    void (*fn)(const xo_log_line *line, void *arg);
    void (*done)(void *arg);
    void *arg;
    void (*plain)(int level, const char *area, const char *text, void *arg); /* of xonce_set_log() */
} sink;
enum { NOBODY = -1, TEXT_MAX = 1024 };
static atomic_int enabled = NOBODY; /* the level up to which lines are taken */
static atomic_int wished = XO_DEBUG; /* likewise, when there is somebody to take them */
static atomic_int told = XO_DEBUG;   /* which one is known to who reads the log */

static int within(int level)
{
    return level < XO_ERROR ? XO_ERROR : level > XO_DEBUG ? XO_DEBUG : level;
}

void xo_log_to(void (*fn)(const xo_log_line *line, void *arg), void (*done)(void *arg), void *arg, int level)
{
    pthread_mutex_lock(&lock);
    void (*was_done)(void *) = sink.done;
    void *was = sink.arg;
    sink.fn = fn;
    sink.done = done;
    sink.arg = arg;
    atomic_store(&wished, within(level));
    atomic_store(&told, within(level));
    atomic_store(&enabled, fn ? within(level) : NOBODY);
    pthread_mutex_unlock(&lock);
    if (was_done) {
        was_done(was);
    }
}

/* A function that takes texts gets the fields behind the text. */
static void to_plain(const xo_log_line *line, void *arg)
{
    xo_buf b = {0};
    if (line->n == 0) {
        sink.plain(line->level, line->area, line->text, arg);
        return;
    }
    xo_log_line bare = {.text = line->text, .fields = line->fields, .n = line->n};
    xo_log_render(&b, XO_LOG_TEXT, &bare);
    sink.plain(line->level, line->area, b.failed || !b.len ? line->text : b.p, arg);
    xo_buf_free(&b);
}

void xonce_set_log(void (*fn)(int level, const char *area, const char *text, void *arg), void *arg)
{
    xo_log_to(NULL, NULL, NULL, XO_DEBUG);
    pthread_mutex_lock(&lock);
    sink.plain = fn;
    pthread_mutex_unlock(&lock);
    if (fn) {
        xo_log_to(to_plain, NULL, arg, XO_DEBUG);
    }
}

static void take_level(int level)
{
    if (atomic_load(&enabled) != NOBODY) {
        atomic_store(&enabled, level);
    }
}

int xonce_log_level(int level)
{
    if (level < XO_ERROR || level > XO_DEBUG) {
        return atomic_load(&wished);
    }
    int was = atomic_exchange(&wished, level);
    take_level(level);
    return was;
}

void xo_log_turn(int by)
{
    int was = atomic_load(&wished);
    while (!atomic_compare_exchange_weak(&wished, &was, within(was + by))) {
    }
    take_level(within(was + by));
}

void xo_log_start_at(int level)
{
    (void)xonce_log_level(level);
    atomic_store(&told, within(level));
}

int xo_log_enabled(int level)
{
    return level <= atomic_load_explicit(&enabled, memory_order_relaxed);
}

const char *xo_log_level_name(int level)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    return names[within(level)];
}

/* Lock held. */
static void hand_over(int level, const char *area, const char *text, const xo_log_field *fields, size_t n)
{
    const xo_log_line line = {.time = xo_now_ms(), .level = level, .area = area, .text = text, .fields = fields, .n = n};
    if (sink.fn) {
        sink.fn(&line, sink.arg);
    }
}

/* Whoever turned it up or down wants to see that it worked, whatever the level is now. Lock held. */
static void tell_level(void)
{
    int now = atomic_load(&wished);
    if (now != atomic_exchange(&told, now)) {
        char text[64];
        (void)snprintf(text, sizeof(text), "the log level is %s now", xo_log_level_name(now));
        hand_over(XO_INFO, "log", text, NULL, 0);
    }
}

void xo_log_notice(void)
{
    if (atomic_load_explicit(&wished, memory_order_relaxed) != atomic_load_explicit(&told, memory_order_relaxed)) {
        pthread_mutex_lock(&lock);
        tell_level();
        pthread_mutex_unlock(&lock);
    }
}

static void log_text(int level, const char *area, const xo_log_field *fields, size_t n, const char *fmt, va_list ap)
{
    char text[TEXT_MAX];
    if (vsnprintf(text, sizeof(text), fmt, ap) < 0) {
        text[0] = 0;
    }
    /* a database's text may have several lines; a log line is one */
    for (char *p = text; (p = strpbrk(p, "\r\n\t")) != NULL; p++) {
        *p = ' ';
    }
    pthread_mutex_lock(&lock);
    tell_level();
    hand_over(level, area, text, fields, n);
    pthread_mutex_unlock(&lock);
}

void xo_log(int level, const char *area, const char *fmt, ...)
{
    if (xo_log_enabled(level)) {
        va_list ap;
        va_start(ap, fmt);
        log_text(level, area, NULL, 0, fmt, ap);
        va_end(ap);
    }
}

void xo_log_fields(int level, const char *area, const xo_log_field *fields, size_t n, const char *fmt, ...)
{
    if (xo_log_enabled(level)) {
        va_list ap;
        va_start(ap, fmt);
        log_text(level, area, fields, n, fmt, ap);
        va_end(ap);
    }
}
