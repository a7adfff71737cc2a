/* What /healthz and /readyz say. */
#include "status/inside.h"

static void add(xo_buf *reasons, const xo_watched *w, const char *group, const char *text)
{
    xo_buf_printf(reasons, "group %s%s%s: %s\n", group, w->name ? " " : "", w->name ? w->name : "", text);
}

static int is_live(const xo_watched *w, const xo_view_of *v, xo_buf *reasons)
{
    for (size_t i = 0; i < v->ndeadly; i++) {
        add(reasons, w, v->group, v->reasons[i]);
    }
    return v->live;
}

static int is_ready(const xo_watched *w, const xo_view_of *v, xo_buf *reasons)
{
    char why[XO_REASON_SIZE];
    int ready = is_live(w, v, reasons);
    if (v->state == XO_VIEW_NEW || v->state == XO_VIEW_STOPPING) {
        add(reasons, w, v->group, v->state == XO_VIEW_NEW ? "it is not started" : "it is stopping");
        ready = 0;
    }
    for (size_t i = 0; i < v->nstores; i++) {
        if (!xo_store_is_ok(w, v, i, why)) {
            xo_buf_printf(reasons, "group %s%s%s: the database cannot be used: %s\n", v->group, w->name ? " " : "", w->name ? w->name : "", why);
            ready = 0;
        }
    }
    if (!v->source_ok) {
        xo_buf_printf(reasons, "group %s%s%s: the source cannot be asked: %s\n", v->group, w->name ? " " : "", w->name ? w->name : "", v->metrics.source_error);
        ready = 0;
    } else if (!v->source_started && v->state == XO_VIEW_RUNNING) {
        add(reasons, w, v->group, "the source has not answered yet");
        ready = 0;
    }
    return ready;
}

static int ask_all(xo_status *s, xo_buf *reasons, int (*ask)(const xo_watched *w, const xo_view_of *v, xo_buf *reasons))
{
    int yes = 1;
    for (xo_watched *w = NULL; (w = xo_watched_next(s, w));) {
        xo_view_of v;
        if (xo_consumer_view(w->c, &v) != XONCE_OK) {
            xo_buf_str(reasons, "out of memory\n");
            return 0;
        }
        pthread_mutex_lock(&s->lock);
        yes &= ask(w, &v, reasons);
        pthread_mutex_unlock(&s->lock);
        xo_consumer_unview(&v);
    }
    return yes;
}

int xo_status_live(xo_status *s, xo_buf *reasons)
{
    return ask_all(s, reasons, is_live);
}

int xo_status_ready(xo_status *s, xo_buf *reasons)
{
    int ready = ask_all(s, reasons, is_ready);
    int none = !xo_watched_next(s, NULL);
    if (none) {
        xo_buf_str(reasons, "no consumer has been started yet\n");
    }
    return ready && !none;
}
