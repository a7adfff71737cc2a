/* The connections of the status server: few, each for one answer, and none for long. */
#include "base/clock.h"
#include "status/inside.h"
#include <sys/socket.h>

enum { REQUEST_MS = 5000, ANSWER_MS = 30000 };

/* Room for one more is made of who has been at its request longest: who says nothing keeps nobody out. Lock held. */
static void make_room(xo_status *s)
{
    xo_client *oldest = NULL;
    size_t free_ones = 0;
    for (size_t i = 0; i < XO_CONNECTIONS; i++) {
        xo_client *c = &s->clients[i];
        free_ones += c->fd < 0;
        if (c->fd >= 0 && (!oldest || c->since < oldest->since)) {
            oldest = c;
        }
    }
    if (free_ones < XO_CONNECTIONS / 4 && oldest) {
        (void)shutdown(oldest->fd, SHUT_RDWR);
        oldest->since = INT64_MAX; /* it goes: the next one then */
    }
}

enum MHD_Result xo_client_welcome(void *status, const struct sockaddr *from, socklen_t size)
{
    xo_status *s = status;
    (void)from;
    (void)size;
    pthread_mutex_lock(&s->lock);
    int stopping = s->stopping;
    if (!stopping) {
        make_room(s);
    }
    pthread_mutex_unlock(&s->lock);
    return stopping ? MHD_NO : MHD_YES;
}

static void opened(xo_status *s, struct MHD_Connection *connection, void **context)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!info) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < XO_CONNECTIONS && !*context; i++) {
        if (s->clients[i].fd < 0) {
            s->clients[i] = (xo_client){.fd = info->connect_fd, .since = xo_mono_ms()};
            *context = &s->clients[i];
        }
    }
    if (!*context || s->stopping) {
        (void)shutdown(info->connect_fd, SHUT_RDWR); /* none that is not in the list */
    }
    pthread_mutex_unlock(&s->lock);
}

/* libmicrohttpd is through with it, and closes its socket next. */
static void closed(xo_status *s, void **context)
{
    xo_client *c = *context;
    *context = NULL;
    if (c) {
        pthread_mutex_lock(&s->lock);
        c->fd = -1;
        pthread_cond_broadcast(&s->tick);
        pthread_mutex_unlock(&s->lock);
    }
}

void xo_client_notify(void *status, struct MHD_Connection *connection, void **context, enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        opened(status, connection, context);
    } else {
        closed(status, context);
    }
}

void xo_clients_sweep(xo_status *s)
{
    int64_t now = xo_mono_ms();
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < XO_CONNECTIONS; i++) {
        xo_client *c = &s->clients[i];
        if (c->fd >= 0 && c->since != INT64_MAX && now - c->since > (c->answered ? ANSWER_MS : REQUEST_MS)) {
            (void)shutdown(c->fd, SHUT_RDWR);
        }
    }
    pthread_mutex_unlock(&s->lock);
}

void xo_clients_end(xo_status *s)
{
    enum { STOP_MS = 3000 };
    int64_t until = xo_mono_ms() + STOP_MS;
    size_t open = 1;
    pthread_mutex_lock(&s->lock);
    while (open && xo_mono_ms() < until) {
        open = 0;
        for (size_t i = 0; i < XO_CONNECTIONS; i++) {
            if (s->clients[i].fd >= 0) {
                open++;
                (void)shutdown(s->clients[i].fd, SHUT_RDWR);
            }
        }
        if (open) {
            xo_cond_wait_ms(&s->tick, &s->lock, until);
        }
    }
    pthread_mutex_unlock(&s->lock);
}
