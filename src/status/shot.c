/* All consumers at one moment. */
#include "base/config.h"
#include "status/inside.h"
#include <stdlib.h>

static xonce_status take(xo_status *s, const xo_watched *w, xo_shot *out)
{
    char why[XO_REASON_SIZE];
    *out = (xo_shot){.w = w};
    xonce_status st = xo_consumer_view(w->c, &out->v);
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < out->v.nstores; i++) { /* an idle consumer does not notice that its database is gone: who asks it does */
        out->v.healthy &= xo_store_is_ok(w, &out->v, i, why);
    }
    pthread_mutex_unlock(&s->lock);
    st = st == XONCE_OK ? xo_consumer_queues(w->c, &out->queues, &out->nqueues) : st;
    return st == XONCE_OK ? xo_consumer_settings(w->c, &out->settings) : st;
}

xonce_status xo_shots_take(xo_status *s, xo_shots *out)
{
    size_t n = 0;
    xonce_status st = XONCE_OK;
    for (xo_watched *w = NULL; (w = xo_watched_next(s, w));) {
        n++;
    }
    *out = (xo_shots){.list = xo_calloc(n ? n : 1, sizeof(xo_shot))};
    if (!out->list) {
        return xo_nomem();
    }
    for (xo_watched *w = NULL; st == XONCE_OK && out->n < n && (w = xo_watched_next(s, w));) {
        st = take(s, w, &out->list[out->n++]);
    }
    if (st != XONCE_OK) {
        xo_shots_free(out);
    }
    return st;
}

void xo_shots_free(xo_shots *s)
{
    for (size_t i = 0; i < s->n; i++) {
        xo_consumer_unview(&s->list[i].v);
        xo_source_queues_free(s->list[i].queues, s->list[i].nqueues);
        xonce_config_free(s->list[i].settings);
    }
    free(s->list);
    *s = (xo_shots){0};
}
