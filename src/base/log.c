/* Log lines on their way to the user's function. */
#include "base/log.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void (*sink)(int level, const char *area, const char *text, void *arg);
static void *sink_arg;
static atomic_int enabled;

void xonce_set_log(void (*fn)(int level, const char *area, const char *text, void *arg), void *arg)
{
    pthread_mutex_lock(&lock);
    sink = fn;
    sink_arg = arg;
    atomic_store(&enabled, fn != NULL);
    pthread_mutex_unlock(&lock);
}

int xo_log_enabled(void)
{
    return atomic_load_explicit(&enabled, memory_order_relaxed);
}

void xo_log(int level, const char *area, const char *fmt, ...)
{
    if (!xo_log_enabled()) {
        return;
    }
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(text, sizeof(text), fmt, ap) < 0) {
        text[0] = 0;
    }
    va_end(ap);
    /* a database's text may have several lines; a log line is one */
    for (char *p = text; (p = strpbrk(p, "\r\n\t")) != NULL; p++) {
        *p = ' ';
    }
    pthread_mutex_lock(&lock);
    if (sink) {
        sink(level, area, text, sink_arg);
    }
    pthread_mutex_unlock(&lock);
}
