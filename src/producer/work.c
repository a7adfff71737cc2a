/* A queue of jobs and the threads that run them. */
#include "producer/work.h"
#include "base/clock.h"
#include "base/mem.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local const xo_work *inside;

xonce_status xo_work_init(xo_work *w, size_t most_threads)
{
    memset(w, 0, sizeof(*w));
    w->end = &w->first;
    w->most = most_threads;
    w->threads = xo_calloc(most_threads, sizeof(*w->threads));
    if (!w->threads || pthread_mutex_init(&w->lock, NULL) != 0) {
        free(w->threads);
        w->threads = NULL;
        return xo_nomem();
    }
    if (xo_cond_init(&w->changed) != 0) {
        pthread_mutex_destroy(&w->lock);
        free(w->threads);
        w->threads = NULL;
        return xo_nomem();
    }
    return XONCE_OK;
}

static void append(xo_work *w, xo_job *job)
{
    job->next = NULL;
    *w->end = job;
    w->end = &job->next;
}

/* Moves what is due behind the others. Returns when the next one will be, 0 when none waits. */
static int64_t ripen(xo_work *w)
{
    int64_t now = xo_mono_ms(), next = 0;
    for (xo_job **p = &w->later; *p;) {
        xo_job *job = *p;
        if (job->due <= now || w->closing) {
            *p = job->next;
            append(w, job);
        } else {
            next = next == 0 || job->due < next ? job->due : next;
            p = &job->next;
        }
    }
    return next;
}

static void *work_main(void *arg)
{
    xo_work *w = arg;
    inside = w;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        int64_t next = ripen(w);
        xo_job *job = w->first;
        if (job) {
            w->first = job->next;
            if (!w->first) {
                w->end = &w->first;
            }
            pthread_mutex_unlock(&w->lock);
            job->run(job);
            pthread_mutex_lock(&w->lock);
        } else if (w->closing) {
            break;
        } else {
            w->idle++;
            if (next) {
                (void)xo_cond_wait_ms(&w->changed, &w->lock, next);
            } else {
                (void)pthread_cond_wait(&w->changed, &w->lock);
            }
            w->idle--;
        }
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* Lock held. */
static int start_one(xo_work *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&w->threads[w->started], NULL, work_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    w->started += rc == 0;
    return rc;
}

xonce_status xo_work_ready(xo_work *w)
{
    pthread_mutex_lock(&w->lock);
    int rc = w->started || w->closing ? 0 : start_one(w);
    pthread_mutex_unlock(&w->lock);
    return rc ? xo_fail(XONCE_E_NOMEM, "cannot start a thread: %s", strerror(rc)) : XONCE_OK;
}

void xo_work_push(xo_work *w, xo_job *job, int64_t due)
{
    pthread_mutex_lock(&w->lock);
    job->due = due;
    if (due) {
        job->next = w->later;
        w->later = job;
    } else {
        append(w, job);
        if (w->idle == 0 && w->started < w->most && !w->closing) {
            (void)start_one(w); /* the others do it when it cannot be started */
        }
    }
    (void)pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

int xo_work_inside(const xo_work *w)
{
    return inside == w;
}

void xo_work_close(xo_work *w)
{
    if (!w->threads) {
        return;
    }
    pthread_mutex_lock(&w->lock);
    w->closing = 1;
    (void)pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < w->started; i++) {
        pthread_join(w->threads[i], NULL);
    }
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w->threads);
    w->threads = NULL;
}
