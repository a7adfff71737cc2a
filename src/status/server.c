/* The status server: life, and what it answers. */
#include "base/clock.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/page.h"
#include "status/inside.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const char xo_status_page[];

enum { CONNECTION_MEMORY = 16 * 1024, IDLE_S = 10 };

/* ---- answers ---- */

static void header(struct MHD_Response *r, const char *name, const char *value)
{
    (void)MHD_add_response_header(r, name, value); /* without memory for one the answer is still right */
}

static enum MHD_Result queue(struct MHD_Connection *connection, unsigned status, struct MHD_Response *r, const char *type)
{
    if (!r) {
        return MHD_NO;
    }
    header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    header(r, "X-Content-Type-Options", "nosniff");
    header(r, "Referrer-Policy", "no-referrer");
    header(r, "Cross-Origin-Resource-Policy", "same-origin");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    }
    enum MHD_Result rc = MHD_queue_response(connection, status, r);
    MHD_destroy_response(r);
    return rc;
}

static const char plain[] = "text/plain; charset=utf-8";

static enum MHD_Result say(struct MHD_Connection *connection, unsigned status, const char *text)
{
    return queue(connection, status, MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT), plain);
}

/* Takes what is in b. */
static enum MHD_Result send_buf(struct MHD_Connection *connection, unsigned status, xo_buf *b, const char *type)
{
    size_t n = b->len;
    char *text = xo_buf_take(b);
    if (!text) {
        return say(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
    }
    struct MHD_Response *r = MHD_create_response_from_buffer(n, text, MHD_RESPMEM_MUST_FREE);
    if (!r) {
        free(text);
    }
    return queue(connection, status, r, type);
}

static enum MHD_Result send_page(xo_status *s, struct MHD_Connection *connection)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(strlen(xo_status_page), (void *)(uintptr_t)xo_status_page, MHD_RESPMEM_PERSISTENT);
    if (r) {
        header(r, "Content-Security-Policy", s->policy);
    }
    return queue(connection, MHD_HTTP_OK, r, "text/html; charset=utf-8");
}

static enum MHD_Result send_document(struct MHD_Connection *connection, xo_status *s, xonce_status (*make)(xo_status *s, xo_buf *out), const char *type)
{
    xo_buf b = {0};
    if (make(s, &b) != XONCE_OK) {
        xo_buf_free(&b);
        return say(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "it cannot be put together now\n");
    }
    return send_buf(connection, MHD_HTTP_OK, &b, type);
}

static enum MHD_Result send_health(struct MHD_Connection *connection, xo_status *s, int (*ask)(xo_status *s, xo_buf *reasons))
{
    xo_buf reasons = {0};
    if (ask(s, &reasons)) {
        xo_buf_free(&reasons);
        return say(connection, MHD_HTTP_OK, "ok\n");
    }
    return send_buf(connection, MHD_HTTP_SERVICE_UNAVAILABLE, &reasons, plain);
}

static void mark_answered(xo_status *s, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    xo_client *c = info ? info->socket_context : NULL;
    if (c) {
        pthread_mutex_lock(&s->lock);
        c->answered = 1;
        pthread_mutex_unlock(&s->lock);
    }
}

static enum MHD_Result on_request(void *status, struct MHD_Connection *connection, const char *url, const char *method, const char *version, const char *data, size_t *size, void **context)
{
    xo_status *s = status;
    (void)version;
    (void)data;
    (void)size;
    (void)context;
    mark_answered(s, connection);
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        return say(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "this server is for looking only: GET and HEAD\n");
    }
    if (strcmp(url, "/") == 0) {
        return send_page(s, connection);
    }
    if (strcmp(url, "/metrics") == 0) {
        return send_document(connection, s, xo_status_prometheus, "text/plain; version=0.0.4; charset=utf-8");
    }
    if (strcmp(url, "/status.json") == 0) {
        return send_document(connection, s, xo_status_json, "application/json");
    }
    if (strcmp(url, "/healthz") == 0) {
        return send_health(connection, s, xo_status_live);
    }
    if (strcmp(url, "/readyz") == 0) {
        return send_health(connection, s, xo_status_ready);
    }
    return say(connection, MHD_HTTP_NOT_FOUND, "there are /, /status.json, /metrics, /healthz and /readyz\n");
}

static void on_log(void *arg, const char *format, va_list ap) XO_PRINTF(2, 0);
static void on_log(void *arg, const char *format, va_list ap)
{
    char text[512];
    (void)arg;
    (void)vsnprintf(text, sizeof(text), format, ap);
    text[strcspn(text, "\r\n")] = 0;
    xo_log(XO_DEBUG, "status", "%s", text);
}

/* ---- life ---- */

static xonce_status start_daemon(xo_status *s)
{
    s->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, xo_client_welcome, s, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
                                 MHD_OPTION_LISTEN_SOCKET, s->fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)XO_CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
                                 MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_NOTIFY_CONNECTION, xo_client_notify, s, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (!s->daemon) {
        return xo_fail(XONCE_E_NOMEM, "the status server does not start: no memory, thread or descriptor to be had");
    }
    s->fd = -1; /* the daemon's now */
    return XONCE_OK;
}

static xonce_status start_threads(xo_status *s)
{
    s->threads = pthread_create(&s->sampler, NULL, xo_sampler_main, s) == 0;
    s->threads += s->threads && pthread_create(&s->prober, NULL, xo_prober_main, s) == 0;
    return s->threads == 2 ? XONCE_OK : xo_fail(XONCE_E_NOMEM, "the status server's threads cannot be started");
}

xonce_status xo_status_start(xo_status **out, const char *listen)
{
    *out = NULL;
    xo_status *s = xo_calloc(1, sizeof(*s));
    if (!s) {
        return xo_nomem();
    }
    s->fd = -1;
    s->started = xo_now_ms();
    for (size_t i = 0; i < XO_CONNECTIONS; i++) {
        s->clients[i].fd = -1;
    }
    pthread_mutex_init(&s->lock, NULL);
    xo_cond_init(&s->tick);
    xo_listener l;
    xonce_status st = xo_listen(&l, "status", listen);
    if (st == XONCE_OK) {
        s->fd = l.fd;
        s->address = xo_printf("http://%s", l.address);
        s->policy = xo_page_policy(xo_status_page);
        free(l.address);
        st = s->address && s->policy ? XONCE_OK : xo_nomem();
    }
    st = st == XONCE_OK ? start_threads(s) : st;
    st = st == XONCE_OK ? start_daemon(s) : st;
    if (st != XONCE_OK) {
        xo_error why;
        xo_error_save(&why);
        xo_status_stop(s);
        return xo_error_restore(&why);
    }
    *out = s;
    return XONCE_OK;
}

xonce_status xo_status_add(xo_status *s, xonce_consumer *c, const char *name)
{
    xo_watched *w = xo_calloc(1, sizeof(*w));
    if (!w || (name && !(w->name = xo_strdup(name)))) {
        free(w);
        return xo_nomem();
    }
    w->c = c;
    pthread_mutex_lock(&s->lock);
    xo_watched **at = &s->list;
    while (*at) {
        at = &(*at)->next;
    }
    *at = w;
    pthread_mutex_unlock(&s->lock);
    return XONCE_OK;
}

xo_watched *xo_watched_next(xo_status *s, const xo_watched *w)
{
    pthread_mutex_lock(&s->lock);
    xo_watched *next = w ? w->next : s->list;
    pthread_mutex_unlock(&s->lock);
    return next;
}

const char *xo_status_address(const xo_status *s)
{
    return s->address;
}

static void free_status(xo_status *s)
{
    for (xo_watched *w = s->list, *next; w; w = next) {
        next = w->next;
        xo_heard_free(w->heard, w->nheard);
        xo_facts_free(w);
        free(w->name);
        free(w);
    }
    pthread_cond_destroy(&s->tick);
    pthread_mutex_destroy(&s->lock);
    free(s->address);
    free(s->policy);
    free(s);
}

void xo_prober_ends(xo_status *s)
{
    pthread_mutex_lock(&s->lock);
    s->gone = 1;
    int left = s->left;
    pthread_cond_broadcast(&s->tick);
    pthread_mutex_unlock(&s->lock);
    if (left) {
        free_status(s);
    }
}

/* 1: it has ended. 0: it waits for a database, and frees everything when that is over. */
static int end_prober(xo_status *s)
{
    enum { PATIENCE_MS = 200, LOOK_MS = 1000 };
    int64_t until = xo_mono_ms() + PATIENCE_MS;
    pthread_mutex_lock(&s->lock);
    while (!s->gone && (!s->leavable || xo_mono_ms() < until)) {
        xo_cond_wait_ms(&s->tick, &s->lock, s->leavable ? until : xo_mono_ms() + LOOK_MS);
    }
    int ended = s->gone;
    s->left = !ended;
    pthread_t prober = s->prober;
    pthread_mutex_unlock(&s->lock);
    if (ended) {
        pthread_join(prober, NULL);
    } else {
        pthread_detach(prober);
    }
    return ended;
}

void xo_status_stop(xo_status *s)
{
    if (!s) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    s->stopping = 1;
    pthread_cond_broadcast(&s->tick);
    pthread_mutex_unlock(&s->lock);
    if (s->daemon) {
        xo_clients_end(s);
        MHD_stop_daemon(s->daemon);
    }
    if (s->threads > 0) {
        pthread_join(s->sampler, NULL);
    }
    if (s->fd >= 0) {
        close(s->fd);
    }
    if (s->threads < 2 || end_prober(s)) {
        free_status(s);
    }
}

/* ---- the published calls ---- */

static void end_watch(void *status)
{
    xo_status_stop(status);
}

xonce_status xonce_consumer_status_listen(xonce_consumer *c, const char *listen)
{
    if (!c || !listen) {
        return xo_fail(XONCE_E_INVALID, "xonce_consumer_status_listen: a consumer and HOST:PORT are needed");
    }
    if (xo_consumer_watcher(c)) {
        return xo_fail(XONCE_E_INVALID, "xonce_consumer_status_listen: the consumer's status is served already, at %s", xonce_consumer_status_address(c));
    }
    xo_status *s;
    void *was;
    xonce_status st = xo_status_start(&s, listen);
    if (st != XONCE_OK) {
        return st;
    }
    st = xo_status_add(s, c, NULL);
    if (st != XONCE_OK) {
        xo_status_stop(s);
        return st;
    }
    xo_consumer_watched(c, s, end_watch, &was);
    if (was) { /* two threads at once: the last one stays */
        xo_status_stop(was);
    }
    return XONCE_OK;
}

const char *xonce_consumer_status_address(xonce_consumer *c)
{
    const xo_status *s = c ? xo_consumer_watcher(c) : NULL;
    return s ? s->address : NULL;
}
