/* The engine's life: opening, the clock thread, serving polls, stopping. */
#include "endpoint/engine.h"
#include "endpoint/storage.h"
#include <stdlib.h>
#include <string.h>

void xo_engine_lock(xo_engine *e)
{
    pthread_mutex_lock(&e->lock);
}

void xo_engine_unlock(xo_engine *e)
{
    pthread_mutex_unlock(&e->lock);
}

int64_t xo_engine_now(const xo_engine *e)
{
    return xo_now_ms() + atomic_load(&e->skew_ms);
}

void xo_engine_timer(xo_engine *e, xo_timer *t, int64_t at, void (*fire)(xo_timer *))
{
    if (xo_timer_set(&e->timers, t, at, fire))
        pthread_cond_signal(&e->tick);
}

/* Serving a topic may touch it again, when a poll leaves a duplicate for another: until nothing new is handed out. */
void xo_engine_serve(xo_engine *e)
{
    while (!xo_list_empty(&e->touched)) {
        xo_topic *t = XO_OF(xo_topic, touched, e->touched.next);
        xo_list_remove(&t->touched);
        xo_poll_serve(t);
    }
}

static void *clock_main(void *arg)
{
    xo_engine *e = arg;
    xo_engine_lock(e);
    while (!e->stopping) {
        xo_timer *t = e->timers.first;
        if (!t) {
            pthread_cond_wait(&e->tick, &e->lock);
        } else if (t->at > xo_mono_ms()) {
            xo_cond_wait_ms(&e->tick, &e->lock, t->at);
        } else {
            xo_timer_clear(&e->timers, t);
            t->fire(t);
            if (!e->timers.first || e->timers.first->at > xo_mono_ms())
                xo_engine_serve(e);
        }
    }
    xo_engine_unlock(e);
    return NULL;
}

xonce_status xo_engine_open(xo_engine **out, const xo_engine_options *o, const unsigned char host[4])
{
    *out = NULL;
    xo_engine *e = xo_calloc(1, sizeof *e);
    if (!e)
        return xo_nomem();
    e->opt = *o;
    atomic_store(&e->skew_ms, o->faults->clock_skew_ms);
    memcpy(e->id_host, host, 4);
    e->id_month = -1;
    e->next_topic = e->next_group = 1;
    e->ops_tail = &e->ops;
    xo_list_init(&e->topics);
    xo_list_init(&e->touched);
    pthread_mutex_init(&e->lock, NULL);
    xo_cond_init(&e->tick);
    xo_cond_init(&e->work);
    xo_cond_init(&e->written);
    xo_engine_lock(e);
    xonce_status st = xo_storage_open(&e->storage, o->data, o->sync);
    if (st == XONCE_OK)
        st = xo_storage_load(e->storage, e);
    if (st == XONCE_OK) {
        xo_keep_start(e);
        e->have_clock = pthread_create(&e->clock, NULL, clock_main, e) == 0;
        e->have_writer = pthread_create(&e->writer, NULL, xo_writer_main, e) == 0;
        if (!e->have_clock || !e->have_writer)
            st = xo_fail(XONCE_E_NOMEM, "cannot start a thread");
    }
    xo_engine_unlock(e);
    if (st != XONCE_OK) {
        xo_engine_close(e);
        return st;
    }
    *out = e;
    return XONCE_OK;
}

static void end_polls(xo_link *polls)
{
    while (!xo_list_empty(polls)) {
        xo_poll *p = XO_OF(xo_poll, link, polls->next);
        xo_poll_cancel(p);
        p->wake(p);
    }
}

void xo_engine_drain(xo_engine *e)
{
    xo_engine_lock(e);
    e->draining = 1;
    for (xo_link *l = e->topics.next; l != &e->topics; l = l->next) {
        xo_topic *t = XO_OF(xo_topic, link, l);
        for (xo_link *k = t->groups.next; k != &t->groups; k = k->next)
            end_polls(&XO_OF(xo_group, link, k)->polls);
        end_polls(&t->half_polls);
    }
    while (e->ops || e->writing)
        pthread_cond_wait(&e->written, &e->lock);
    xo_engine_unlock(e);
}

/* What is out hangs on its handles only. */
static void free_handles(xo_engine *e)
{
    for (xo_mapped *m; (m = xo_map_any(&e->handles));) {
        xo_handle *h = XO_OF(xo_handle, by_text, m);
        xo_node *n = h->node;
        xo_handle_free(h);
        if (n && xo_list_empty(&n->handles)) {
            xo_list_remove(&n->twin);
            xo_list_remove(&n->unsaved);
            free(n);
        }
    }
    xo_map_free(&e->handles);
}

void xo_engine_close(xo_engine *e)
{
    if (!e)
        return;
    xo_engine_lock(e);
    for (xo_link *l = e->topics.next; e->have_writer && l != &e->topics; l = l->next) {
        xo_topic *t = XO_OF(xo_topic, link, l);
        for (xo_link *k = t->groups.next; k != &t->groups; k = k->next)
            xo_group_save(XO_OF(xo_group, link, k));
    }
    e->stopping = 1;
    pthread_cond_broadcast(&e->tick);
    pthread_cond_broadcast(&e->work);
    xo_engine_unlock(e);
    if (e->have_clock)
        pthread_join(e->clock, NULL);
    if (e->have_writer)
        pthread_join(e->writer, NULL);
    free_handles(e);
    while (!xo_list_empty(&e->topics))
        xo_topic_free(XO_OF(xo_topic, link, e->topics.next));
    xo_storage_close(e->storage);
    pthread_cond_destroy(&e->tick);
    pthread_cond_destroy(&e->work);
    pthread_cond_destroy(&e->written);
    pthread_mutex_destroy(&e->lock);
    free(e);
}
