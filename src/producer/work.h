/* A queue of jobs and the threads that run them, started when they are needed. */
#ifndef XO_WORK_H
#define XO_WORK_H
#include "base/error.h"
#include <pthread.h>

typedef struct xo_job {
    struct xo_job *next;
    int64_t due;                      /* xo_mono_ms() before which it is not run; 0 = at once */
    void (*run)(struct xo_job *job);  /* frees it, or pushes it again */
} xo_job;
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    xo_job *first, **end, *later;
    pthread_t *threads;
    size_t started, most, idle;
    int closing;
} xo_work;
xonce_status xo_work_init(xo_work *w, size_t most_threads);
/* At least one thread is there: from then on jobs can be pushed. */
xonce_status xo_work_ready(xo_work *w);
/* Any thread. Jobs that are due run in the order in which they came, on one thread one after the other. */
void xo_work_push(xo_work *w, xo_job *job, int64_t due);
/* Is this one of its threads? */
int xo_work_inside(const xo_work *w);
/* Runs what is there (also what is not due), ends the threads. Nothing may be pushed from outside any more. */
void xo_work_close(xo_work *w);
#endif
