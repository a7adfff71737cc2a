/* The I/O thread: takes what is to be sent, waits for sockets and times, and ends what is overdue. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "remoting/io.h"
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PEER_KEPT_MS = 600000 };

typedef struct {
    xo_remoting *r;
    struct pollfd *fds;
    xo_conn **of;     /* whose they are; [0] is the pipe's */
    size_t cap_fds, cap_of, n;
    int64_t until;    /* at close: when lingering ends */
} io_loop;

/* ---- the inbox ---- */

static xo_item *take_inbox(xo_remoting *r)
{
    pthread_mutex_lock(&r->lock);
    xo_item *first = r->inbox;
    r->inbox = NULL;
    r->inbox_end = &r->inbox;
    r->inbox_bytes = 0;
    int stop = r->stop;
    pthread_mutex_unlock(&r->lock);
    if (stop && !r->stopping) {
        r->stopping = 1;
        for (xo_conn *c = r->conns; c; c = c->next) {
            xo_error why;
            (void)xo_fail(XONCE_E_CLOSED, "the connections are being closed");
            xo_error_save(&why);
            xo_conn_fail_all(c, &why);
        }
    }
    return first;
}

static xo_peer *find_peer(xo_remoting *r, const char *address)
{
    xo_peer *p = r->peers;
    while (p && strcmp(p->address, address)) {
        p = p->next;
    }
    if (!p && (p = xo_calloc(1, sizeof(*p)))) {
        memcpy(p->address, address, sizeof(p->address));
        atomic_init(&p->unsent, 0);
        pthread_mutex_lock(&r->lock);
        p->next = r->peers;
        r->peers = p;
        pthread_mutex_unlock(&r->lock);
    }
    return p;
}

/* The connection to send on; NULL: the error is set. */
static xo_conn *connection_for(xo_remoting *r, const xo_item *i)
{
    xo_peer *p = find_peer(r, i->address);
    if (!p) {
        (void)xo_nomem();
        return NULL;
    }
    p->used = r->now;
    if (!p->conn) {
        if (p->until > r->now) {
            (void)xo_error_restore(&p->cause);
            return NULL;
        }
        (void)xo_conn_new(r, p);
    }
    return p->conn;
}

static void fail_item(xo_remoting *r, xo_item *i)
{
    xo_item_end(r, i, xonce_error_last()->code, NULL);
}

static void send_item(xo_remoting *r, xo_item *i)
{
    if (r->stopping && i->kind == XO_ITEM_REQUEST) {
        (void)xo_fail(XONCE_E_CLOSED, "the connections are being closed");
        fail_item(r, i);
        return;
    }
    xo_conn *c = connection_for(r, i);
    if (!c) {
        fail_item(r, i);
        return;
    }
    i->conn = c;
    if (i->kind == XO_ITEM_REQUEST) {
        if (xo_waits_add(&r->waits, i)) {
            (void)xo_nomem();
            fail_item(r, i);
            return;
        }
        i->waiting = 1;
        i->wait_next = c->waiting;
        if (c->waiting) {
            c->waiting->wait_prev = i;
        }
        c->waiting = i;
        c->nwaiting++;
        if (c->asked_at == 0) {
            c->asked_at = r->now;
        }
    }
    xo_conn_queue(c, i);
}

static void send_reply(xo_remoting *r, xo_item *i)
{
    for (xo_conn *c = r->conns; c; c = c->next) {
        if (c->state == XO_CONN_OPEN && strcmp(c->address, i->address) == 0 && xo_conn_paid(c, i->opaque)) {
            xo_conn_queue(c, i);
            return;
        }
    }
    xo_item_free(r, i); /* who asked is gone */
}

static void disconnect(xo_remoting *r, const char *address)
{
    for (xo_conn *c = r->conns; c; c = c->next) {
        if (strcmp(c->address, address) == 0) {
            (void)xo_fail(XONCE_E_CONNECT, "%s: we closed the connection", address);
            xo_conn_end(c, 1);
        }
    }
}

static void run_item(xo_remoting *r, xo_item *i)
{
    if (i->failed) {
        if (i->why) {
            (void)xo_error_restore(i->why);
        } else {
            (void)xo_nomem();
        }
        fail_item(r, i);
        return;
    }
    switch (i->kind) {
    case XO_ITEM_REQUEST:
    case XO_ITEM_ONEWAY: send_item(r, i); break;
    case XO_ITEM_REPLY: send_reply(r, i); break;
    case XO_ITEM_DISCONNECT:
        disconnect(r, i->address);
        xo_item_free(r, i);
        break;
    }
}

/* ---- times ---- */

static void request_overdue(xo_remoting *r, xo_item *i)
{
    char after[32];
    xo_conn *c = i->conn;
    int64_t since = c->asked_at ? c->asked_at : c->heard_at, timeout = i->timeout;
    xo_format_duration(timeout, after, sizeof(after));
    xo_conn_forget(c, i);
    if (i->queued && !i->started) {
        xo_conn_unqueue(c, i);
    }
    if (c->state == XO_CONN_OPEN) {
        (void)xo_fail(XONCE_E_TIMEOUT, "%s: no answer within %s", c->address, after);
    } else {
        (void)xo_fail(XONCE_E_CONNECT, "%s: no connection within %s; check host, port and firewall", c->address, after);
    }
    fail_item(r, i);
    if (c->state == XO_CONN_OPEN && r->now - since >= atomic_load(&r->silence_ms) && r->now - since >= timeout) {
        xo_format_duration((r->now - since) / 1000 * 1000, after, sizeof(after));
        (void)xo_fail(XONCE_E_CONNECT, "%s: nothing came for %s: the connection is given up", c->address, after);
        xo_conn_end(c, 0);
    }
}

/* When c is to be looked at again; INT64_MAX: when something comes. */
static int64_t due(const xo_conn *c, int64_t idle_ms)
{
    if (c->state < XO_CONN_OPEN) {
        return c->attempt_deadline;
    }
    if (!c->peer) {
        return c->waiting || c->first ? c->drain_until : 0;
    }
    return c->waiting || c->first ? INT64_MAX : c->used + idle_ms;
}

static void conn_overdue(xo_conn *c)
{
    if (c->state < XO_CONN_OPEN) {
        xo_conn_overdue(c);
        return;
    }
    if (c->peer) {
        (void)xo_fail(XONCE_E_CONNECT, "%s: nobody used the connection for a while, it is closed", c->address);
    } else {
        (void)xo_fail(XONCE_E_CONNECT, "%s: the other side is going away", c->address);
    }
    xo_conn_end(c, 1);
}

static void sweep(xo_remoting *r)
{
    for (xo_conn **at = &r->conns; *at;) {
        xo_conn *c = *at;
        if (c->state == XO_CONN_DEAD) {
            *at = c->next;
            xo_conn_free(c);
        } else {
            at = &c->next;
        }
    }
    for (xo_peer **at = &r->peers; *at;) {
        xo_peer *p = *at;
        if (!p->conn && p->until <= r->now && r->now - p->used > PEER_KEPT_MS) {
            pthread_mutex_lock(&r->lock);
            *at = p->next;
            pthread_mutex_unlock(&r->lock);
            free(p);
        } else {
            at = &p->next;
        }
    }
}

/* All that is overdue; returns when to wake up next. */
static int64_t run_times(io_loop *l)
{
    xo_remoting *r = l->r;
    int64_t idle_ms = atomic_load(&r->idle_ms);
    for (xo_conn *c = r->conns; c; c = c->next) {
        while (c->state != XO_CONN_DEAD && due(c, idle_ms) <= r->now) {
            conn_overdue(c);
        }
    }
    while (r->waits.n && r->waits.heap[0]->deadline <= r->now) {
        request_overdue(r, r->waits.heap[0]);
    }
    int64_t next = r->waits.n ? r->waits.heap[0]->deadline : INT64_MAX;
    for (xo_conn *c = r->conns; c; c = c->next) {
        int64_t at = c->state == XO_CONN_DEAD ? INT64_MAX : c->state == XO_CONN_OPEN && xo_tls_pending(c) ? r->now : due(c, idle_ms);
        next = at < next ? at : next;
    }
    sweep(r);
    return r->stopping && l->until < next ? l->until : next;
}

/* ---- a round ---- */

static void push_out(xo_remoting *r)
{
    for (xo_conn *c = r->conns; c; c = c->next) {
        if (c->state == XO_CONN_RESOLVING) {
            xo_conn_resolved(c);
        }
        if (c->state == XO_CONN_OPEN && c->first && !c->write_blocked) {
            xo_conn_write(c);
        }
    }
}

static int list_sockets(io_loop *l)
{
    size_t n = 1;
    for (xo_conn *c = l->r->conns; c; c = c->next) {
        n++;
    }
    struct pollfd *fds = xo_grow(l->fds, &l->cap_fds, n, sizeof(*fds));
    if (!fds) {
        return -1;
    }
    l->fds = fds;
    xo_conn **of = xo_grow(l->of, &l->cap_of, n, sizeof(*of));
    if (!of) {
        return -1;
    }
    l->of = of;
    fds[0] = (struct pollfd){.fd = l->r->wake[0], .events = POLLIN};
    l->n = 1;
    for (xo_conn *c = l->r->conns; c; c = c->next) {
        if (c->fd >= 0) {
            of[l->n] = c;
            fds[l->n++] = (struct pollfd){.fd = c->fd, .events = xo_conn_events(c)};
        }
    }
    return 0;
}

static void empty_pipe(xo_remoting *r)
{
    char bytes[64]; /* there is one, or none */
    pthread_mutex_lock(&r->lock);
    ssize_t n = read(r->wake[0], bytes, sizeof(bytes));
    r->woken = n > 0 && (size_t)n == sizeof(bytes);
    pthread_mutex_unlock(&r->lock);
}

/* What was sent from inside of a callback woke nobody. */
static int inbox_filled(xo_remoting *r)
{
    pthread_mutex_lock(&r->lock);
    int filled = r->inbox != NULL;
    pthread_mutex_unlock(&r->lock);
    return filled;
}

static void wait_and_serve(io_loop *l, int64_t until)
{
    until = inbox_filled(l->r) ? l->r->now : until;
    int64_t ms = until == INT64_MAX ? -1 : until - xo_mono_ms();
    if (list_sockets(l)) {
        xo_pause_ms(10); /* no memory */
        return;
    }
    int ready = poll(l->fds, (nfds_t)l->n, until == INT64_MAX ? -1 : ms < 0 ? 0 : ms > 60000 ? 60000 : (int)ms);
    l->r->now = xo_mono_ms();
    if (ready > 0 && l->fds[0].revents) {
        empty_pipe(l->r);
    }
    for (size_t i = 1; i < l->n; i++) {
        xo_conn *c = l->of[i];
        short events = ready > 0 ? l->fds[i].revents : 0;
        if (events || (c->state == XO_CONN_OPEN && xo_tls_pending(c))) {
            xo_conn_ready(c, events);
        }
    }
}

static int unsent(const xo_remoting *r)
{
    for (const xo_conn *c = r->conns; c; c = c->next) {
        if (c->first) {
            return 1;
        }
    }
    return 0;
}

static void run_inbox(xo_remoting *r)
{
    for (xo_item *i = take_inbox(r), *next; i; i = next) {
        next = i->next;
        i->next = NULL;
        run_item(r, i);
    }
}

static void end_all(xo_remoting *r)
{
    for (xo_conn *c = r->conns; c; c = c->next) {
        (void)xo_fail(XONCE_E_CLOSED, "the connections are being closed");
        xo_conn_end(c, 1);
    }
    int empty;
    do {
        run_inbox(r);
        pthread_mutex_lock(&r->lock);
        empty = r->inbox == NULL;
        r->closed = empty;
        pthread_mutex_unlock(&r->lock);
    } while (!empty);
    for (xo_conn *c = r->conns; c; c = c->next) {
        (void)xo_fail(XONCE_E_CLOSED, "the connections are being closed");
        xo_conn_end(c, 1);
    }
    sweep(r);
}

void *xo_remoting_main(void *arg)
{
    xo_remoting *r = arg;
    io_loop l = {.r = r};
    for (;;) {
        r->now = xo_mono_ms();
        run_inbox(r);
        push_out(r);
        int64_t next = run_times(&l);
        if (r->stopping) {
            if (l.until == 0) {
                l.until = r->now + XO_LINGER_MS;
                next = l.until;
            }
            if (!unsent(r) || r->now >= l.until) {
                break;
            }
        }
        wait_and_serve(&l, next);
    }
    end_all(r);
    free(l.fds);
    free(l.of);
    return NULL;
}
