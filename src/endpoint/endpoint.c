/* The endpoint's server: listening, reading requests, stopping. */
#include "endpoint/endpoint.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/text.h"
#include "endpoint/inside.h"
#include "endpoint/request.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { THREADS = 2, CONNECTIONS_MAX = 4096, CONNECTION_MEMORY = 64 * 1024, IDLE_S = 120, STOP_MS = 5000, FILE_MAX = 1024 * 1024 };

/* ---- requests ---- */

static void *begin(void *arg, const char *target, struct MHD_Connection *connection)
{
    xo_endpoint *ep = arg;
    xo_request *r = xo_calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->ep = ep;
    r->connection = connection;
    r->body.max = XO_REQUEST_BODY_MAX;
    r->target = xo_strdup(target);
    r->page = xo_page_is(target);
    unsigned char random[16];
    uint64_t a = xo_random(), b = xo_random();
    memcpy(random, &a, 8);
    memcpy(random + 8, &b, 8);
    xo_hex(r->id, random, 12, 1);
    pthread_mutex_lock(&ep->lock);
    ep->running++;
    ep->requests += !r->page;
    pthread_mutex_unlock(&ep->lock);
    return r;
}

static void request_free(xo_request *r)
{
    xo_engine *e = r->ep->engine;
    xo_engine_lock(e); /* it may still wait when the server stops */
    xo_poll_cancel(&r->poll);
    xo_timer_clear(&e->timers, &r->delay);
    xo_list_remove(&r->delayed);
    xo_engine_unlock(e);
    xo_poll_clear(&r->poll);
    xo_url_free(&r->url);
    xo_xml_send_free(&r->message);
    xo_xml_handles_free(r->handles, r->nhandles);
    xo_buf_free(&r->body);
    free(r->states);
    free(r->tags);
    free(r->properties);
    free(r->send.handle);
    free(r->target);
    free(r->method_text);
    free(r);
}

static void completed(void *arg, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode why)
{
    xo_endpoint *ep = arg;
    (void)connection;
    (void)why;
    if (!*context)
        return;
    request_free(*context);
    *context = NULL;
    pthread_mutex_lock(&ep->lock);
    ep->running--;
    pthread_cond_broadcast(&ep->idle);
    pthread_mutex_unlock(&ep->lock);
}

static enum MHD_Result head(xo_request *r, const char *method)
{
    r->begun = 1;
    r->method_text = xo_strdup(method);
    if (!r->target || !r->method_text)
        return MHD_NO;
    r->method = strcmp(method, "POST") == 0 ? XO_SEND : strcmp(method, "GET") == 0 ? XO_CONSUME : strcmp(method, "DELETE") == 0 ? XO_ACK : XO_OTHER;
    r->refusal = r->page ? XO_INVALID_URL : xo_auth_check(r); /* a page's request has no body to keep */
    return MHD_YES;
}

/* A body is read to its end even when it is refused: a client that has sent it all can then read the answer. */
static enum MHD_Result body(xo_request *r, const char *data, size_t n)
{
    r->received += (int64_t)n;
    if (r->received > XO_REQUEST_DRAIN_MAX)
        return MHD_NO;
    if (r->refusal == XO_NO_REFUSAL && r->received <= XO_REQUEST_BODY_MAX)
        xo_buf_add(&r->body, data, n);
    else
        xo_buf_free(&r->body);
    return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
                                  const char *data, size_t *size, void **context)
{
    xo_request *r = *context;
    (void)arg;
    (void)url;
    (void)version;
    if (!r)
        return MHD_NO;
    r->connection = connection;
    if (!r->begun)
        return head(r, method);
    if (*size) {
        enum MHD_Result rc = body(r, data, *size);
        *size = 0;
        return rc;
    }
    if (r->page)
        return xo_page_answer(r);
    return r->stage == XO_READING ? xo_request_run(r) : xo_request_resume(r);
}

static void on_log(void *arg, const char *format, va_list ap)
{
    char text[512];
    (void)arg;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)vsnprintf(text, sizeof text, format, ap);
#pragma GCC diagnostic pop
    text[strcspn(text, "\r\n")] = 0;
    xo_log(XO_DEBUG, "endpoint", "%s", text);
}

/* ---- starting ---- */

/* Listens, and notes the address: as URL, and as the four bytes that message ids begin with. */
static xonce_status start_listening(xo_endpoint *ep, const char *listen_on, unsigned char id_host[4])
{
    xo_listener l;
    xonce_status st = xo_listen(&l, "--listen", listen_on);
    if (st != XONCE_OK)
        return st;
    ep->listen_fd = l.fd;
    if (l.bound.ss_family == AF_INET)
        memcpy(id_host, &((const struct sockaddr_in *)(const void *)&l.bound)->sin_addr, 4);
    else
        memcpy(id_host, ((const struct sockaddr_in6 *)(const void *)&l.bound)->sin6_addr.s6_addr + 12, 4);
    ep->url = xo_printf("%s://%s", ep->secure ? "https" : "http", l.address);
    free(l.address);
    return ep->url ? XONCE_OK : xo_nomem();
}

static xonce_status read_file(const char *option, const char *path, char **out)
{
    FILE *f = fopen(path, "re");
    char *text = f ? xo_calloc(1, FILE_MAX + 1) : NULL;
    size_t n = text ? fread(text, 1, FILE_MAX, f) : 0;
    int error = errno, bad = !f || !text || ferror(f);
    if (f)
        fclose(f);
    if (bad || n == 0) {
        free(text);
        return xo_fail(XONCE_E_INVALID, "%s: cannot read %s: %s", option, path, bad ? strerror(error) : "it is empty");
    }
    *out = text;
    return XONCE_OK;
}

static xonce_status make_topics(xo_endpoint *ep, const xo_endpoint_options *o)
{
    xonce_status st = XONCE_OK;
    for (size_t i = 0; i < o->ntopics && st == XONCE_OK; i++) {
        size_t n = strcspn(o->topics[i], ":");
        xo_kind kind = XO_KIND_ANY;
        char *name = xo_memdup0(o->topics[i], n);
        if (!name)
            return xo_nomem();
        if (!xo_name_ok(name) || (o->topics[i][n] && (!o->topics[i][n + 1] || !xo_kind_read(o->topics[i] + n + 1, &kind))))
            st = xo_fail(XONCE_E_INVALID, "--topic: '%s' is not NAME, NAME:ordered, NAME:timed or NAME:transaction", o->topics[i]);
        else
            st = xo_inside_topic(ep, name, kind);
        free(name);
    }
    return st;
}

static xonce_status start_daemon(xo_endpoint *ep)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_SUPPRESS_DATE_NO_CLOCK | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem secure[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, ep->cert}, {MHD_OPTION_HTTPS_MEM_KEY, 0, ep->key}, {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
    ep->daemon = MHD_start_daemon(flags | (ep->secure ? (unsigned)MHD_USE_TLS : 0), 0, xo_connection_welcome, ep, on_request, ep,
                                  MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, ep->listen_fd, MHD_OPTION_THREAD_POOL_SIZE,
                                  (unsigned)THREADS, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                  (size_t)CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_URI_LOG_CALLBACK, begin, ep,
                                  MHD_OPTION_NOTIFY_COMPLETED, completed, ep, MHD_OPTION_NOTIFY_CONNECTION, xo_connection_notify, ep,
                                  MHD_OPTION_ARRAY, ep->secure ? secure : plain, MHD_OPTION_END);
    if (!ep->daemon)
        return xo_fail(XONCE_E_CONNECT, "the HTTP server does not start%s", ep->secure ? ": are certificate and key PEM files that belong together?" : "");
    ep->listen_fd = -1; /* the daemon's now */
    return XONCE_OK;
}

static xonce_status copy_options(xo_endpoint *ep, const xo_endpoint_options *o)
{
    ep->faults = o->faults;
    ep->strict = o->strict;
    ep->secure = o->tls_cert != NULL;
    ep->instance = xo_strdup(o->instance ? o->instance : "");
    ep->data = xo_strdup(o->data);
    if (!ep->instance || !ep->data)
        return xo_nomem();
    if (o->credentials) {
        ep->check = 1;
        ep->credentials.access_key_id = xo_strdup(o->credentials->access_key_id);
        ep->credentials.access_key_secret = xo_strdup(o->credentials->access_key_secret);
        ep->credentials.security_token = xo_strdup(o->credentials->security_token);
        if (!ep->credentials.access_key_id || !ep->credentials.access_key_secret ||
            (o->credentials->security_token && !ep->credentials.security_token))
            return xo_nomem();
    }
    xonce_status st = XONCE_OK;
    if (ep->secure)
        st = read_file("--tls-cert", o->tls_cert, &ep->cert);
    if (st == XONCE_OK && ep->secure)
        st = read_file("--tls-key", o->tls_key, &ep->key);
    return st;
}

xonce_status xo_endpoint_start(xo_endpoint **out, const xo_endpoint_options *o)
{
    *out = NULL;
    xo_endpoint *ep = xo_calloc(1, sizeof *ep);
    if (!ep)
        return xo_nomem();
    ep->listen_fd = -1;
    pthread_mutex_init(&ep->lock, NULL);
    xo_cond_init(&ep->idle);
    xo_list_init(&ep->delayed);
    xo_list_init(&ep->connections);
    unsigned char host[4] = {0};
    xonce_status st = copy_options(ep, o);
    if (st == XONCE_OK)
        st = start_listening(ep, o->listen, host);
    xo_engine_options engine = {.data = ep->data,
                                .instance = ep->instance,
                                .redeliver_ms = o->redeliver_ms > 0 ? o->redeliver_ms : 5 * 60000,
                                .redeliver_ordered_ms = o->redeliver_ms > 0 ? o->redeliver_ms : 60000,
                                .sync = o->sync,
                                .faults = &ep->faults};
    if (st == XONCE_OK)
        st = xo_engine_open(&ep->engine, &engine, host);
    if (st == XONCE_OK)
        st = make_topics(ep, o);
    if (st == XONCE_OK)
        st = xo_page_start(ep);
    if (st == XONCE_OK)
        st = start_daemon(ep);
    if (st != XONCE_OK) {
        xo_endpoint_stop(ep);
        return st;
    }
    *out = ep;
    return XONCE_OK;
}

const char *xo_endpoint_url(const xo_endpoint *ep)
{
    return ep->url;
}

xo_engine *xo_endpoint_engine(xo_endpoint *ep)
{
    return ep->engine;
}

void xo_endpoint_set_faults(xo_endpoint *ep, const xo_faults *f)
{
    xo_engine_lock(ep->engine);
    pthread_mutex_lock(&ep->lock);
    ep->faults = *f;
    pthread_mutex_unlock(&ep->lock);
    atomic_store(&ep->engine->skew_ms, f->clock_skew_ms);
    xo_engine_unlock(ep->engine);
}

const char *xo_endpoint_page(const xo_endpoint *ep)
{
    return ep->page_url;
}

void xo_endpoint_figures(xo_endpoint *ep, xo_figures *out)
{
    xo_engine_lock(ep->engine);
    out->engine = ep->engine->counts;
    xo_engine_unlock(ep->engine);
    pthread_mutex_lock(&ep->lock);
    out->requests = ep->requests;
    out->errors = ep->errors_made;
    out->cuts = ep->cuts_made;
    pthread_mutex_unlock(&ep->lock);
}

void xo_endpoint_stats(xo_endpoint *ep, xo_buf *out)
{
    xo_figures f;
    xo_endpoint_figures(ep, &f);
    const xo_engine_counts *c = &f.engine;
    xo_buf_printf(out,
                  "%lld requests, %lld accepted, %lld handed out (%lld again, %lld duplicates), %lld acknowledged, %lld commits; faults made: "
                  "%lld lost acks, %lld errors, %lld cuts; %lld pollers had gone, %lld messages given up",
                  (long long)f.requests, (long long)c->accepted, (long long)c->handed_out, (long long)(c->redelivered - c->duplicated),
                  (long long)c->duplicated, (long long)c->acked, (long long)c->commits, (long long)c->acks_lost, (long long)f.errors, (long long)f.cuts,
                  (long long)c->dead_peers, (long long)c->dead_letters);
}

/* ---- stopping ---- */

/* All that is suspended is answered first: libmicrohttpd aborts the process otherwise. So may MHD_quiesce_daemon with a pool of epoll threads, when
 * one of them takes the listening socket out of its set at the same time (0.9.75): new connections are turned away by xo_connection_welcome. */
static void stop_daemon(xo_endpoint *ep)
{
    atomic_store(&ep->stopping, 1);
    xo_engine_lock(ep->engine);
    ep->engine->draining = 1;
    xo_api_hurry(ep);
    xo_engine_unlock(ep->engine);
    xo_engine_drain(ep->engine);
    xo_connections_wait(ep, xo_mono_ms() + STOP_MS);
    xo_engine_drain(ep->engine); /* what began meanwhile */
    xo_connections_end(ep, xo_mono_ms() + STOP_MS);
    MHD_stop_daemon(ep->daemon);
}

void xo_endpoint_stop(xo_endpoint *ep)
{
    if (!ep)
        return;
    if (ep->daemon)
        stop_daemon(ep);
    if (ep->listen_fd >= 0)
        close(ep->listen_fd);
    xo_engine_close(ep->engine);
    pthread_mutex_destroy(&ep->lock);
    pthread_cond_destroy(&ep->idle);
    xo_credentials_free(&ep->credentials);
    if (ep->key)
        xo_wipe(ep->key, strlen(ep->key));
    free(ep->key);
    free(ep->cert);
    free(ep->url);
    xo_wipe_free(ep->page_url);
    xo_wipe_free(ep->page_token);
    free(ep->page_policy);
    free(ep->instance);
    free(ep->data);
    free(ep);
}
