/* The open connections, so that all can be ended before the server stops.
 *
 * MHD_stop_daemon must not meet one that has something to say: from its start on MHD_queue_response tells success and queues nothing, and
 * libmicrohttpd, when it refuses a malformed request itself at that moment, uses the response that is not there (transmit_error_response_len,
 * seen with 0.9.75). */
#include "endpoint/request.h"
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { SWEEP_MS = 50 };

typedef struct {
    xo_link link;
    int fd;
} open_connection;

enum MHD_Result xo_connection_welcome(void *endpoint, const struct sockaddr *from, socklen_t size)
{
    xo_endpoint *ep = endpoint;
    (void)from;
    (void)size;
    return atomic_load(&ep->stopping) ? MHD_NO : MHD_YES;
}

static void opened(xo_endpoint *ep, struct MHD_Connection *connection, void **context)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    open_connection *c = info ? xo_calloc(1, sizeof *c) : NULL;
    if (info && !c)
        (void)shutdown(info->connect_fd, SHUT_RDWR); /* none that is not in the list */
    if (!c)
        return;
    c->fd = info->connect_fd;
    *context = c;
    pthread_mutex_lock(&ep->lock);
    xo_list_push(&ep->connections, &c->link);
    if (ep->ending)
        (void)shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_unlock(&ep->lock);
}

/* libmicrohttpd is through with it, and closes its socket next. */
static void closed(xo_endpoint *ep, void **context)
{
    open_connection *c = *context;
    if (!c)
        return;
    *context = NULL;
    pthread_mutex_lock(&ep->lock);
    xo_list_remove(&c->link);
    pthread_cond_broadcast(&ep->idle);
    pthread_mutex_unlock(&ep->lock);
    free(c);
}

void xo_connection_notify(void *endpoint, struct MHD_Connection *connection, void **context, enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        opened(endpoint, connection, context);
    else
        closed(endpoint, context);
}

/* The end of a connection that came together with its last bytes is not seen by libmicrohttpd (0.9.75), which waits for the next edge: a half request
 * of a client that is gone would hold up the end until its timeout. Shutting down what is at its end already makes that edge, and nothing else. */
static void sweep(xo_endpoint *ep)
{
#ifdef POLLRDHUP
    for (xo_link *l = ep->connections.next; l != &ep->connections; l = l->next) {
        struct pollfd fd = {.fd = XO_OF(open_connection, link, l)->fd, .events = POLLRDHUP};
        if (poll(&fd, 1, 0) > 0)
            (void)shutdown(fd.fd, SHUT_RD);
    }
#else
    (void)ep;
#endif
}

void xo_connections_wait(xo_endpoint *ep, int64_t until)
{
    pthread_mutex_lock(&ep->lock);
    while (ep->running > 0 && xo_mono_ms() < until) {
        int64_t next = xo_mono_ms() + SWEEP_MS;
        sweep(ep);
        while (ep->running > 0 && xo_cond_wait_ms(&ep->idle, &ep->lock, next < until ? next : until) == 0)
            continue;
    }
    pthread_mutex_unlock(&ep->lock);
}

void xo_connections_end(xo_endpoint *ep, int64_t until)
{
    pthread_mutex_lock(&ep->lock);
    ep->ending = 1;
    while (!xo_list_empty(&ep->connections) && xo_mono_ms() < until) {
        int64_t next = xo_mono_ms() + SWEEP_MS;
        for (xo_link *l = ep->connections.next; l != &ep->connections; l = l->next)
            (void)shutdown(XO_OF(open_connection, link, l)->fd, SHUT_RDWR);
        while (!xo_list_empty(&ep->connections) && xo_cond_wait_ms(&ep->idle, &ep->lock, next < until ? next : until) == 0)
            continue;
    }
    pthread_mutex_unlock(&ep->lock);
}
