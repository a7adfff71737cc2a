/* A server that speaks remoting and misbehaves on order. */
#include "tests/remoting/peer.h"
#include "base/clock.h"
#include "base/mem.h"
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    peer *p;
    int fd, at;
    SSL *ssl;
    int32_t held[256];
    size_t nheld;
} wire;

/* ---- bytes ---- */

static int read_all(wire *w, void *to, size_t n)
{
    char *p = to;
    while (n > 0) {
        long got = w->ssl ? SSL_read(w->ssl, p, (int)n) : recv(w->fd, p, n, 0);
        if (got <= 0) {
            return 0;
        }
        p += got;
        n -= (size_t)got;
    }
    return 1;
}

static int write_all(wire *w, const void *from, size_t n)
{
    const char *p = from;
    while (n > 0) {
        long put = w->ssl ? SSL_write(w->ssl, p, (int)n) : send(w->fd, p, n, MSG_NOSIGNAL);
        if (put <= 0) {
            return 0;
        }
        p += put;
        n -= (size_t)put;
    }
    return 1;
}

static int read_command(wire *w, xo_command *c)
{
    unsigned char head[4];
    if (!read_all(w, head, 4)) {
        return 0;
    }
    size_t n = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    char *frame = malloc(n + 1);
    if (!frame || !read_all(w, frame, n)) {
        free(frame);
        return 0;
    }
    return xo_command_decode(c, frame, n) == XONCE_OK;
}

static int send_command(wire *w, xo_command *c, size_t cut)
{
    xo_buf b = {0};
    int ok = xo_command_encode(c, &b) == XONCE_OK && write_all(w, b.p, cut ? b.len - cut : b.len);
    xo_buf_free(&b);
    xo_command_free(c);
    return ok;
}

static int answer(wire *w, const xo_command *to, int32_t code, size_t cut)
{
    xo_command a;
    xo_command_init(&a, code);
    a.flag = XO_FLAG_RESPONSE;
    a.opaque = to->opaque;
    a.remark = code ? "as told" : NULL;
    a.body = to->body;
    a.body_len = to->body_len;
    for (size_t i = 0; i < to->nfields; i++) {
        xo_command_set(&a, to->fields[i].name, to->fields[i].value);
    }
    return send_command(w, &a, cut);
}

static int answer_held(wire *w)
{
    int ok = 1;
    while (ok && w->nheld > 0) {
        xo_command to = {.opaque = w->held[--w->nheld]};
        ok = answer(w, &to, 0, 0);
    }
    return ok;
}

/* ---- what is done ---- */

static int ask(wire *w, const xo_command *c)
{
    xo_command q, got;
    int64_t code = 0;
    (void)xo_command_get_int(c, "code", &code);
    xo_command_init(&q, (int32_t)code);
    q.opaque = 77;
    int oneway = xo_command_get(c, "oneway") != NULL;
    q.flag = oneway ? XO_FLAG_ONEWAY : 0;
    q.body = c->body;
    q.body_len = c->body_len;
    if (!send_command(w, &q, 0)) {
        return 0;
    }
    if (oneway) {
        return answer(w, c, 0, 0);
    }
    if (!read_command(w, &got)) {
        return 0;
    }
    int32_t opaque = got.opaque;
    got.opaque = c->opaque;
    int ok = opaque == 77 && (got.flag & XO_FLAG_RESPONSE) && answer(w, &got, got.code, 0);
    xo_command_free(&got);
    return ok;
}

static int serve_by(wire *w, const xo_command *c)
{
    xo_command a;
    xo_command_init(&a, 0);
    a.flag = XO_FLAG_RESPONSE;
    a.opaque = c->opaque;
    if (w->p->serve(w->p, c, &a)) {
        return send_command(w, &a, 0);
    }
    xo_command_free(&a);
    return 1;
}

/* 0: the connection is to be closed. */
static int serve(wire *w, const xo_command *c)
{
    const char *what = xo_command_get(c, "do");
    int64_t n = 0;
    what = what ? what : "echo";
    if (strcmp(what, "hold") == 0 && w->nheld < 256) {
        w->held[w->nheld++] = c->opaque;
        return 1;
    }
    if (strcmp(what, "release") == 0) {
        return answer_held(w) && answer(w, c, 0, 0);
    }
    if (strcmp(what, "never") == 0) {
        return 1;
    }
    if (strcmp(what, "late") == 0) {
        (void)xo_command_get_int(c, "ms", &n);
        xo_pause_ms(n);
    } else if (strcmp(what, "twice") == 0) {
        return answer(w, c, 0, 0) && answer(w, c, 0, 0);
    } else if (strcmp(what, "code") == 0) {
        (void)xo_command_get_int(c, "code", &n);
    } else if (strcmp(what, "cut") == 0) {
        (void)answer(w, c, 0, 10);
        return 0;
    } else if (strcmp(what, "close") == 0) {
        return 0;
    } else if (strcmp(what, "raw") == 0) {
        return write_all(w, c->body, c->body_len);
    } else if (strcmp(what, "goaway") == 0) {
        int ok = answer(w, c, XO_RMQ_GO_AWAY, 0);
        xo_pause_ms(100);
        return ok && answer_held(w);
    } else if (strcmp(what, "ask") == 0) {
        return ask(w, c);
    } else if (strcmp(what, "stop") == 0) {
        while (!atomic_load(&w->p->go) && !atomic_load(&w->p->stopping)) {
            xo_pause_ms(5);
        }
    }
    return answer(w, c, strcmp(what, "code") == 0 ? (int32_t)n : 0, 0);
}

static void *work(void *arg)
{
    wire *w = arg;
    peer *p = w->p;
    int going = 1;
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, NULL);
    if (p->tls) {
        w->ssl = SSL_new(p->tls);
        going = w->ssl && SSL_set_fd(w->ssl, w->fd) == 1 && SSL_accept(w->ssl) == 1;
    }
    while (going) {
        xo_command c;
        if (!read_command(w, &c)) {
            atomic_fetch_add(&p->ended, 1);
            break;
        }
        atomic_fetch_add(&p->requests, 1);
        if (xo_command_get(&c, "Signature")) {
            atomic_fetch_add(&p->signed_requests, 1);
        }
        if (c.flag & XO_FLAG_ONEWAY) {
            atomic_fetch_add(&p->oneways, 1);
        } else if (!(c.flag & XO_FLAG_RESPONSE)) {
            going = p->serve ? serve_by(w, &c) : serve(w, &c);
        }
        xo_command_free(&c);
    }
    SSL_free(w->ssl);
    ERR_clear_error();
    pthread_mutex_lock(&p->lock);
    close(w->fd);
    p->sockets[w->at] = -1;
    pthread_mutex_unlock(&p->lock);
    free(w);
    return NULL;
}

/* ---- life ---- */

static void *accept_all(void *arg)
{
    peer *p = arg;
    while (!atomic_load(&p->stopping)) {
        struct pollfd f = {.fd = p->listener, .events = POLLIN};
        if (poll(&f, 1, 20) <= 0) {
            continue;
        }
        int fd = accept(p->listener, NULL, NULL);
        if (fd < 0) {
            continue;
        }
        wire *w = xo_calloc(1, sizeof(*w));
        pthread_mutex_lock(&p->lock);
        ck_assert(w && p->connections < PEER_CONNECTIONS);
        w->p = p;
        w->fd = fd;
        w->at = p->connections++;
        p->sockets[w->at] = fd;
        ck_assert_int_eq(pthread_create(&p->workers[w->at], NULL, work, w), 0);
        pthread_mutex_unlock(&p->lock);
    }
    return NULL;
}

static int listen_at(int port, int backlog, char *address, size_t size, int *got_port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t n = sizeof(a);
    const int on = 1;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert(fd >= 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    ck_assert_int_eq(bind(fd, (struct sockaddr *)(void *)&a, sizeof(a)), 0);
    ck_assert_int_eq(listen(fd, backlog), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)(void *)&a, &n), 0);
    *got_port = ntohs(a.sin_port);
    (void)snprintf(address, size, "127.0.0.1:%d", *got_port);
    return fd;
}

void peer_start(peer *p, SSL_CTX *tls, int port)
{
    memset(p, 0, sizeof(*p));
    p->tls = tls;
    ck_assert_int_eq(pthread_mutex_init(&p->lock, NULL), 0);
    p->listener = listen_at(port, 100, p->address, sizeof(p->address), &p->port);
    ck_assert_int_eq(pthread_create(&p->thread, NULL, accept_all, p), 0);
}

void peer_cut(peer *p)
{
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < p->connections; i++) {
        if (p->sockets[i] >= 0) {
            (void)shutdown(p->sockets[i], SHUT_RDWR);
        }
    }
    pthread_mutex_unlock(&p->lock);
}

void peer_go(peer *p)
{
    atomic_store(&p->go, 1);
}

void peer_stop(peer *p)
{
    atomic_store(&p->stopping, 1);
    pthread_join(p->thread, NULL);
    close(p->listener);
    peer_cut(p);
    for (int i = 0; i < p->connections; i++) {
        pthread_join(p->workers[i], NULL);
    }
    pthread_mutex_destroy(&p->lock);
}

int peer_connections(peer *p)
{
    pthread_mutex_lock(&p->lock);
    int n = p->connections;
    pthread_mutex_unlock(&p->lock);
    return n;
}

int peer_free_port(void)
{
    char address[40];
    int port, fd = listen_at(0, 1, address, sizeof(address), &port);
    close(fd);
    return port;
}

/* A listener whose queue is full drops what comes. */
int peer_hang_start(peer_hang *h)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    int port;
    memset(h, 0, sizeof(*h));
    h->fds[h->n++] = listen_at(0, 0, h->address, sizeof(h->address), &port);
    a.sin_port = htons((uint16_t)port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    while (h->n < 16) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        ck_assert(fd >= 0);
        h->fds[h->n++] = fd;
        (void)connect(fd, (struct sockaddr *)(void *)&a, sizeof(a));
        struct pollfd f = {.fd = fd, .events = POLLOUT};
        if (poll(&f, 1, 100) == 0) {
            return 1;
        }
    }
    return 0;
}

void peer_hang_stop(peer_hang *h)
{
    for (size_t i = 0; i < h->n; i++) {
        close(h->fds[i]);
    }
}
