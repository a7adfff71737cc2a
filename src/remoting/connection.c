/* One connection: being made, written to, read from, ended. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "remoting/io.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- the write queue ---- */

void xo_conn_queue(xo_conn *c, xo_item *i)
{
    i->next = NULL;
    i->prev = c->last;
    if (c->last) {
        c->last->next = i;
    } else {
        c->first = i;
    }
    c->last = i;
    i->queued = 1;
    c->used = c->r->now;
    if (c->peer) {
        atomic_fetch_add(&c->peer->unsent, i->len);
    }
}

void xo_conn_unqueue(xo_conn *c, xo_item *i)
{
    *(i->prev ? &i->prev->next : &c->first) = i->next;
    *(i->next ? &i->next->prev : &c->last) = i->prev;
    i->next = i->prev = NULL;
    i->queued = 0;
    if (c->peer) {
        atomic_fetch_sub(&c->peer->unsent, i->len);
    }
}

/* ---- the end ---- */

static void back_off(xo_peer *p, const xo_error *why, int64_t now)
{
    int64_t pause = XO_BACKOFF_FIRST;
    for (int n = 1; n < p->failures && pause < XO_BACKOFF_MAX; n++) {
        pause *= 2;
    }
    pause = pause * (int64_t)(750 + xo_random() % 500) / 1000;
    p->cause = *why;
    p->until = now + (pause < XO_BACKOFF_MAX ? pause : XO_BACKOFF_MAX);
}

/* From now on its address is another connection's. */
static void leave_peer(xo_conn *c)
{
    c->peer->conn = NULL;
    atomic_store(&c->peer->unsent, 0);
    c->peer = NULL;
}

static void let_go(xo_conn *c, const xo_error *why, int clean, int was_open)
{
    xo_peer *p = c->peer;
    leave_peer(c);
    p->used = c->r->now;
    /* one that worked may be made again at once: only when that fails there is a pause */
    int worked = was_open && c->heard && why->pub.code != XONCE_E_PROTOCOL;
    if (!clean && !worked) {
        p->failures += p->failures < 32;
        xo_log(p->failures == 1 ? XO_WARN : XO_DEBUG, "rocketmq", "%s", why->pub.text);
        pthread_mutex_lock(&c->r->lock);
        back_off(p, why, c->r->now);
        pthread_mutex_unlock(&c->r->lock);
    } else {
        xo_log(clean ? XO_DEBUG : XO_INFO, "rocketmq", "%s", why->pub.text);
    }
    if (was_open && c->r->events.changed && !c->r->stopping) {
        c->r->events.changed(c->r->self, c->address, 0);
    }
}

static void close_socket(xo_conn *c)
{
    xo_tls_end(c);
    if (c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
    }
    xo_lookup_free(c->lookup);
    c->lookup = NULL;
    if (c->found) {
        freeaddrinfo(c->found);
        c->found = c->trying = NULL;
    }
}

void xo_conn_forget(xo_conn *c, xo_item *i)
{
    xo_waits_remove(&c->r->waits, i);
    *(i->wait_prev ? &i->wait_prev->wait_next : &c->waiting) = i->wait_next;
    if (i->wait_next) {
        i->wait_next->wait_prev = i->wait_prev;
    }
    i->wait_next = i->wait_prev = NULL;
    i->waiting = 0;
    c->nwaiting--;
}

void xo_conn_fail_all(xo_conn *c, const xo_error *why)
{
    while (c->waiting) {
        xo_item *i = c->waiting;
        xo_conn_forget(c, i);
        if (i->queued && !i->started) {
            xo_conn_unqueue(c, i);
        }
        xo_item_end(c->r, i, xo_error_restore(why), NULL);
    }
}

void xo_conn_end(xo_conn *c, int clean)
{
    xo_error why;
    int was_open = c->state == XO_CONN_OPEN;
    if (c->state == XO_CONN_DEAD) {
        return;
    }
    xo_error_save(&why);
    close_socket(c);
    c->state = XO_CONN_DEAD;
    if (c->peer) {
        let_go(c, &why, clean, was_open);
    }
    xo_conn_fail_all(c, &why);
    while (c->first) {
        xo_item *i = c->first;
        xo_conn_unqueue(c, i);
        xo_item_free(c->r, i);
    }
}

void xo_conn_drain(xo_conn *c)
{
    if (c->peer) {
        leave_peer(c);
        c->drain_until = c->r->now + XO_DRAIN_MS;
        if (c->r->events.changed) {
            c->r->events.changed(c->r->self, c->address, 0);
        }
    }
}

void xo_conn_free(xo_conn *c)
{
    free(c->frame);
    free(c->owed);
    free(c);
}

/* ---- being made ---- */

xo_conn *xo_conn_new(xo_remoting *r, xo_peer *p)
{
    xo_conn *c = xo_calloc(1, sizeof(*c));
    if (!c) {
        (void)xo_nomem();
        return NULL;
    }
    c->r = r;
    c->fd = -1;
    memcpy(c->address, p->address, sizeof(c->address));
    xonce_status st = xo_address_split(c->address, c->host, c->port);
    if (!st) {
        c->found = xo_lookup_numeric(c->host, c->port);
        if (!c->found) {
            st = xo_lookup_start(&c->lookup, c->host, c->port, xo_remoting_wake, r);
        }
    }
    if (st) {
        free(c);
        return NULL;
    }
    c->state = XO_CONN_RESOLVING;
    c->used = r->now;
    c->deadline = c->attempt_deadline = r->now + r->connect_ms;
    c->peer = p;
    p->conn = c;
    c->next = r->conns;
    r->conns = c;
    return c;
}

static void opened(xo_conn *c)
{
    c->state = XO_CONN_OPEN;
    c->opened = c->used = c->heard_at = c->r->now;
    freeaddrinfo(c->found);
    c->found = c->trying = NULL;
    xo_log(c->peer && c->peer->failures ? XO_INFO : XO_DEBUG, "rocketmq", "%s: connected", c->address);
    if (c->r->events.changed) {
        c->r->events.changed(c->r->self, c->address, 1);
    }
    xo_conn_write(c);
}

static void handshake(xo_conn *c)
{
    int rc = xo_tls_handshake(c);
    if (rc < 0) {
        xo_conn_end(c, 0);
    } else if (rc > 0) {
        opened(c);
    }
}

static void connected(xo_conn *c)
{
    if (!c->r->tls) {
        opened(c);
        return;
    }
    c->state = XO_CONN_HANDSHAKE;
    c->attempt_deadline = c->deadline;
    if (xo_tls_start(c)) {
        xo_conn_end(c, 0);
    } else {
        handshake(c);
    }
}

static void set_options(int fd)
{
    const int on = 1, idle = 30, every = 10, times = 3;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
#ifdef TCP_KEEPIDLE
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times));
#else
    (void)idle, (void)every, (void)times;
#endif
}

/* 1: under way or done, 0: failed, errno says why. */
static int try_address(xo_conn *c)
{
    c->fd = socket(c->trying->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        return 0;
    }
    set_options(c->fd);
    return connect(c->fd, c->trying->ai_addr, c->trying->ai_addrlen) == 0 || errno == EINPROGRESS || errno == EINTR;
}

static void try_next(xo_conn *c, const char *failure)
{
    for (;;) {
        if (failure) {
            (void)snprintf(c->tried, sizeof(c->tried), "%s", failure);
            c->trying = c->trying->ai_next;
        }
        if (c->fd >= 0) {
            close(c->fd);
            c->fd = -1;
        }
        if (!c->trying) {
            (void)xo_fail(XONCE_E_CONNECT, "%s: cannot connect (%s); check that it runs, and its host and port", c->address, c->tried);
            xo_conn_end(c, 0);
            return;
        }
        if (try_address(c)) {
            break;
        }
        failure = strerror(errno);
    }
    int64_t left = c->deadline - c->r->now, addresses = 1;
    for (const struct addrinfo *a = c->trying->ai_next; a; a = a->ai_next) {
        addresses++;
    }
    c->state = XO_CONN_CONNECTING;
    c->attempt_deadline = c->r->now + (left > 0 ? left / addresses : 0); /* one that hangs leaves time for the others */
}

void xo_conn_resolved(xo_conn *c)
{
    if (c->lookup) {
        if (!xo_lookup_done(c->lookup, &c->found)) {
            return;
        }
        if (!c->found) {
            xo_conn_end(c, 0);
            return;
        }
        xo_lookup_free(c->lookup);
        c->lookup = NULL;
    }
    c->trying = c->found;
    try_next(c, NULL);
}

/* Connecting to a port of this machine that nobody listens at may, by the rules of TCP, end up at our own socket. */
static int is_self(int fd)
{
    struct sockaddr_storage own, other;
    socklen_t nown = sizeof(own), nother = sizeof(other);
    memset(&own, 0, sizeof(own));
    memset(&other, 0, sizeof(other));
    return getsockname(fd, (struct sockaddr *)&own, &nown) == 0 && getpeername(fd, (struct sockaddr *)&other, &nother) == 0 && nown == nother &&
           memcmp(&own, &other, nown) == 0;
}

static void connect_ended(xo_conn *c)
{
    int error = 0;
    socklen_t n = sizeof(error);
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0) {
        error = errno;
    } else if (error == 0 && is_self(c->fd)) {
        error = ECONNREFUSED;
    }
    if (error) {
        try_next(c, strerror(error));
    } else {
        connected(c);
    }
}

void xo_conn_overdue(xo_conn *c)
{
    char after[32];
    xo_format_duration(c->r->connect_ms, after, sizeof(after));
    switch (c->state) {
    case XO_CONN_CONNECTING: try_next(c, "no answer in time"); return;
    case XO_CONN_RESOLVING: (void)xo_fail(XONCE_E_CONNECT, "%s: looking up the name takes longer than %s; check the DNS", c->address, after); break;
    default:
        (void)xo_fail(XONCE_E_CONNECT, "%s: the TLS handshake is not done within %s; is it the right port?", c->address, after);
        break;
    }
    xo_conn_end(c, 0);
}

/* ---- writing ---- */

static void lost(xo_conn *c, int error)
{
    const char *hint = c->heard ? "" : "; is it a RocketMQ port, and is tls set as it is there?";
    if (error) {
        (void)xo_fail(XONCE_E_CONNECT, "%s: the connection was lost (%s)%s", c->address, strerror(error), hint);
    } else {
        (void)xo_fail(XONCE_E_CONNECT, "%s: the connection was closed by the other side%s", c->address, hint);
    }
    /* servers close connections that nobody used for a while */
    int idle = !c->waiting && !c->first && !c->frame && c->nhead == 0 && (c->heard || c->r->now - c->opened > XO_SILENCE_MS);
    xo_conn_end(c, idle);
}

static void written(xo_conn *c, size_t n)
{
    while (n > 0) {
        xo_item *i = c->first;
        size_t part = i->len - i->at < n ? i->len - i->at : n;
        i->at += part;
        i->started = 1;
        n -= part;
        if (i->at == i->len) {
            xo_conn_unqueue(c, i);
            free(i->frame);
            i->frame = NULL;
            if (!i->waiting) {
                xo_item_free(c->r, i);
            }
        }
    }
}

static long write_plain(xo_conn *c)
{
    enum { PARTS = 64 };
    struct iovec parts[PARTS];
    struct msghdr m = {.msg_iov = parts};
    for (xo_item *i = c->first; i && m.msg_iovlen < PARTS; i = i->next) {
        parts[m.msg_iovlen++] = (struct iovec){i->frame + i->at, i->len - i->at};
    }
    long n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
    if (n >= 0) {
        return n;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ENOBUFS) {
        return -1;
    }
    lost(c, errno);
    return -2;
}

static long write_tls(xo_conn *c)
{
    c->first->started = 1; /* OpenSSL wants the same bytes again */
    long n = xo_tls_write(c, c->first->frame + c->first->at, c->first->len - c->first->at);
    if (n == -2) {
        xo_conn_end(c, 0);
    }
    return n;
}

void xo_conn_write(xo_conn *c)
{
    c->write_blocked = 0;
    while (c->first && c->state == XO_CONN_OPEN) {
        long n = c->ssl ? write_tls(c) : write_plain(c);
        if (n == -2) {
            return;
        }
        if (n < 0) {
            c->write_blocked = 1;
            break;
        }
        c->used = c->r->now;
        written(c, (size_t)n);
    }
}

/* ---- reading ---- */

static long receive(xo_conn *c, void *p, size_t n)
{
    if (c->ssl) {
        long got = xo_tls_read(c, p, n);
        if (got == -2) {
            xo_conn_end(c, 0);
        } else if (got == 0) {
            lost(c, 0);
            got = -2;
        }
        return got;
    }
    long got = recv(c->fd, p, n, 0);
    if (got > 0) {
        return got;
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return -1;
    }
    lost(c, got == 0 ? 0 : errno);
    return -2;
}

static int bad_length(xo_conn *c, uint32_t n)
{
    const char *hint = !c->r->tls && (n >> 16 == 0x1503 || n >> 16 == 0x1603) ? "; it speaks TLS: set tls=on" : n == 0x48545450 ? "; it speaks HTTP" : "";
    (void)xo_fail(XONCE_E_PROTOCOL, "%s: a frame of %u bytes came, 4 to %d are allowed%s", c->address, n, XO_FRAME_MAX, hint);
    xo_conn_end(c, 0);
    return -1;
}

static int frame_done(xo_conn *c)
{
    char *frame = c->frame;
    c->frame = NULL;
    c->nhead = 0;
    return xo_conn_frame(c, frame, c->need);
}

/* Takes n bytes. -1: the connection was ended. */
static int feed(xo_conn *c, const char *p, size_t n)
{
    while (n > 0) {
        if (c->nhead < 4) {
            c->head[c->nhead++] = (unsigned char)*p++;
            n--;
            if (c->nhead < 4) {
                continue;
            }
            uint32_t len = (uint32_t)c->head[0] << 24 | (uint32_t)c->head[1] << 16 | (uint32_t)c->head[2] << 8 | c->head[3];
            if (len < 4 || len > XO_FRAME_MAX) {
                return bad_length(c, len);
            }
            c->frame = malloc(len + 1);
            if (!c->frame) {
                (void)xo_nomem();
                xo_conn_end(c, 0);
                return -1;
            }
            c->frame[len] = 0;
            c->need = len;
            c->have = 0;
        }
        size_t part = c->need - c->have < n ? c->need - c->have : n;
        memcpy(c->frame + c->have, p, part);
        c->have += part;
        p += part;
        n -= part;
        if (c->have == c->need && frame_done(c)) {
            return -1;
        }
    }
    return 0;
}

static void read_some(xo_conn *c)
{
    enum { ROUNDS = 8, DIRECT = 64 << 10 };
    for (int i = 0; i < ROUNDS && c->state == XO_CONN_OPEN; i++) {
        int direct = c->frame && c->need - c->have >= DIRECT;
        size_t room = direct ? c->need - c->have : XO_SCRATCH;
        long n = receive(c, direct ? c->frame + c->have : c->r->scratch, room);
        if (n < 0) {
            return;
        }
        c->used = c->heard_at = c->r->now;
        c->asked_at = 0;
        if (!direct) {
            if (feed(c, c->r->scratch, (size_t)n)) {
                return;
            }
        } else {
            c->have += (size_t)n;
            if (c->have == c->need && frame_done(c)) {
                return;
            }
        }
        if ((size_t)n < room && !c->ssl) {
            return;
        }
    }
}

/* ---- poll ---- */

short xo_conn_events(const xo_conn *c)
{
    switch (c->state) {
    case XO_CONN_CONNECTING: return POLLOUT;
    case XO_CONN_HANDSHAKE: return c->ssl_wants_write ? POLLOUT : POLLIN;
    case XO_CONN_OPEN: return (short)(POLLIN | ((c->ssl ? c->ssl_wants_write : c->first != NULL) ? POLLOUT : 0));
    default: return 0;
    }
}

void xo_conn_ready(xo_conn *c, short events)
{
    if (c->state == XO_CONN_CONNECTING) {
        connect_ended(c);
    } else if (c->state == XO_CONN_HANDSHAKE) {
        handshake(c);
    } else if (c->state == XO_CONN_OPEN) {
        c->ssl_wants_write = 0;
        if (c->first && (c->ssl || (events & POLLOUT))) {
            xo_conn_write(c);
        }
        if (c->state == XO_CONN_OPEN && (c->ssl || (events & (POLLIN | POLLERR | POLLHUP)))) {
            read_some(c);
        }
    }
}
