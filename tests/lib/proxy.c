/* A TCP proxy for tests that cuts, delays, stalls and refuses on order: proxy HOST:PORT [LISTEN-PORT].
 *
 * First line on stdout: "listening on 127.0.0.1:PORT". Orders come as lines on stdin; each is answered with "ok" or "bad". End of stdin or "quit" ends it.
 *   cut              close all connections now (reset)
 *   refuse | accept  close new connections at once | take them again
 *   stall | resume   forward nothing | go on
 *   delay MS         hold every byte back for MS (0.25: a quarter of one), in each direction
 *   cut-after N      once N more bytes have gone to the server: forward them, then close that connection
 *   cut-at TEXT      the next time a client sends TEXT (any case): do not forward it, close that connection
 *   lose-answer TEXT the next time a client sends TEXT: forward it, wait for the server's answer, drop that and close: it was done and nobody knows
 *   counts           answers "counts CONNECTIONS CUTS BYTES-UP BYTES-DOWN" (all since the start) instead of "ok" */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LINKS = 256, CHUNK = 65536, MAX_QUEUED = 1 << 20, MAX_TEXT = 128 };

typedef struct chunk {
    struct chunk *next;
    int64_t due;
    size_t at, len;
    char data[];
} chunk;

/* One direction of a connection: what was read from one side and not yet written to the other. */
typedef struct {
    int from, to;
    chunk *first, **last;
    size_t queued;
    int ended;  /* the sender has closed */
    int closed; /* and the receiver has been told */
} pipe_state;

typedef struct {
    int open;
    int losing; /* the next answer of the server is dropped and the connection closed */
    char tail[MAX_TEXT];
    size_t tail_len;
    pipe_state up, down;
} link_state;

static link_state links[MAX_LINKS];
static struct sockaddr_storage target;
static socklen_t target_len;
static int refusing, stalled;
static int used; /* links behind this one were never open */
static int64_t delay_us, cut_after = -1;
static char wanted[MAX_TEXT];
static int wanted_loses;
static uint64_t n_links, n_cuts, n_up, n_down;

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void set_up_socket(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void drop_queue(pipe_state *p)
{
    while (p->first) {
        chunk *next = p->first->next;
        free(p->first);
        p->first = next;
    }
    p->last = &p->first;
    p->queued = 0;
}

static void close_link(link_state *l, int reset)
{
    struct linger hard = {1, 0};
    if (reset) {
        setsockopt(l->up.from, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        setsockopt(l->up.to, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        n_cuts++;
    }
    close(l->up.from);
    close(l->up.to);
    drop_queue(&l->up);
    drop_queue(&l->down);
    l->open = 0;
}

static void cut_all(void)
{
    for (int i = 0; i < MAX_LINKS; i++)
        if (links[i].open)
            close_link(&links[i], 1);
}

static void accept_link(int listener)
{
    int client = accept(listener, NULL, NULL), server, i = 0;
    if (client < 0)
        return;
    while (i < MAX_LINKS && links[i].open)
        i++;
    server = refusing || i == MAX_LINKS ? -1 : socket(target.ss_family, SOCK_STREAM, 0);
    if (server >= 0 && connect(server, (struct sockaddr *)&target, target_len) != 0) {
        close(server);
        server = -1;
    }
    if (server < 0) {
        close(client);
        return;
    }
    set_up_socket(client);
    set_up_socket(server);
    memset(&links[i], 0, sizeof links[i]);
    links[i].open = 1;
    links[i].up = (pipe_state){.from = client, .to = server};
    links[i].down = (pipe_state){.from = server, .to = client};
    links[i].up.last = &links[i].up.first;
    links[i].down.last = &links[i].down.first;
    if (used <= i)
        used = i + 1;
    n_links++;
}

/* Does the client's stream, the end of the last piece included, hold the wanted text? */
static int holds_wanted(link_state *l, const char *data, size_t len)
{
    size_t want = strlen(wanted), n = l->tail_len + len, i;
    int found = 0;
    char *all = malloc(n + 1);
    if (!all)
        exit(1);
    memcpy(all, l->tail, l->tail_len);
    memcpy(all + l->tail_len, data, len);
    for (i = 0; want > 0 && i + want <= n && !found; i++)
        found = strncasecmp(all + i, wanted, want) == 0;
    l->tail_len = n < MAX_TEXT - 1 ? n : MAX_TEXT - 1;
    if (want > 0 && l->tail_len > want - 1)
        l->tail_len = want - 1;
    memcpy(l->tail, all + n - l->tail_len, l->tail_len);
    free(all);
    return found;
}

/* What the orders say about a piece that the client sent: 0 forward, 1 the link is closed. */
static int judge_up(link_state *l, const char *data, size_t len)
{
    if (holds_wanted(l, data, len)) {
        wanted[0] = 0;
        if (!wanted_loses) {
            close_link(l, 1);
            return 1;
        }
        l->losing = 1;
    }
    return 0;
}

static void read_side(link_state *l, pipe_state *p)
{
    int is_up = p == &l->up;
    chunk *c = malloc(sizeof *c + CHUNK);
    ssize_t n;
    if (!c)
        exit(1);
    n = recv(p->from, c->data, CHUNK, 0);
    if (n <= 0) {
        free(c);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0)
            close_link(l, 0);
        else
            p->ended = 1;
        return;
    }
    if ((is_up && judge_up(l, c->data, (size_t)n)) || (!is_up && l->losing)) {
        free(c);
        if (l->open)
            close_link(l, 1);
        return;
    }
    *(is_up ? &n_up : &n_down) += (uint64_t)n;
    c->next = NULL;
    c->at = 0;
    c->len = (size_t)n;
    c->due = now_us() + delay_us;
    *p->last = c;
    p->last = &c->next;
    p->queued += c->len;
}

/* 0 when the link was closed. */
static int write_side(link_state *l, pipe_state *p)
{
    while (p->first && p->first->due <= now_us()) {
        chunk *c = p->first;
        size_t len = c->len - c->at;
        ssize_t n;
        if (p == &l->up && cut_after >= 0 && (int64_t)len > cut_after)
            len = (size_t)cut_after;
        n = len ? send(p->to, c->data + c->at, len, MSG_NOSIGNAL) : 0;
        if (n < 0) {
            if (errno == EAGAIN || errno == EINTR)
                return 1;
            close_link(l, 0);
            return 0;
        }
        if (p == &l->up && cut_after >= 0 && (cut_after -= n) == 0) {
            cut_after = -1;
            close_link(l, 1);
            return 0;
        }
        c->at += (size_t)n;
        p->queued -= (size_t)n;
        if (c->at < c->len)
            continue;
        p->first = c->next;
        if (!p->first)
            p->last = &p->first;
        free(c);
    }
    if (p->ended && !p->first && !p->closed) {
        shutdown(p->to, SHUT_WR);
        p->closed = 1;
    }
    if (l->up.closed && l->down.closed) {
        close_link(l, 0);
        return 0;
    }
    return 1;
}

static int set_text(const char *text, int loses)
{
    if (!*text || strlen(text) >= sizeof wanted)
        return 0;
    memcpy(wanted, text, strlen(text) + 1);
    wanted_loses = loses;
    for (int i = 0; i < MAX_LINKS; i++)
        links[i].tail_len = 0;
    return 1;
}

static int set_delay(const char *ms)
{
    char *end;
    double d = strtod(ms, &end);
    if (end == ms || *end || !(d >= 0 && d <= 3600e3))
        return 0;
    delay_us = (int64_t)(d * 1000 + 0.5);
    return 1;
}

/* Carries out one order. 0 = unknown. */
static int obey(char *line)
{
    char *arg = line + strcspn(line, " ");
    if (*arg)
        *arg++ = 0;
    if (!strcmp(line, "cut"))
        cut_all();
    else if (!strcmp(line, "refuse") || !strcmp(line, "accept"))
        refusing = line[0] == 'r';
    else if (!strcmp(line, "stall") || !strcmp(line, "resume"))
        stalled = line[0] == 's';
    else if (!strcmp(line, "delay"))
        return set_delay(arg);
    else if (!strcmp(line, "cut-after"))
        cut_after = strtoll(arg, NULL, 10);
    else if (!strcmp(line, "cut-at") || !strcmp(line, "lose-answer"))
        return set_text(arg, line[0] == 'l');
    else if (!strcmp(line, "quit"))
        exit(0);
    else
        return 0;
    return 1;
}

static void read_orders(void)
{
    static char buf[1024];
    static size_t len;
    ssize_t n = read(0, buf + len, sizeof buf - 1 - len);
    char *nl;
    if (n <= 0)
        exit(0);
    len += (size_t)n;
    buf[len] = 0;
    while ((nl = memchr(buf, '\n', len)) != NULL) {
        *nl = 0;
        if (!strcmp(buf, "counts"))
            printf("counts %llu %llu %llu %llu\n", (unsigned long long)n_links, (unsigned long long)n_cuts, (unsigned long long)n_up,
                   (unsigned long long)n_down);
        else
            puts(obey(buf) ? "ok" : "bad");
        fflush(stdout);
        len -= (size_t)(nl + 1 - buf);
        memmove(buf, nl + 1, len);
    }
    if (len == sizeof buf - 1)
        exit(2);
}

static void add_poll(struct pollfd *p, nfds_t *n, int fd, short events)
{
    p[*n] = (struct pollfd){.fd = fd, .events = events};
    (*n)++;
}

/* Waits until something can be done; which bytes are due decides the time. */
static void turn(int listener)
{
    static struct pollfd p[2 + 2 * MAX_LINKS];
    nfds_t n = 0;
    int i;
    int64_t now = now_us(), wait = -1;
    add_poll(p, &n, 0, POLLIN);
    add_poll(p, &n, listener, POLLIN);
    for (i = 0; i < used; i++) {
        pipe_state *both[2] = {&links[i].up, &links[i].down};
        for (int k = 0; k < 2; k++) {
            pipe_state *in = both[k], *out = both[1 - k];
            short events = 0;
            if (links[i].open && !stalled) {
                if (!in->ended && in->queued < MAX_QUEUED)
                    events |= POLLIN;
                if (out->first && out->first->due <= now)
                    events |= POLLOUT;
                else if (out->first && (wait < 0 || out->first->due - now < wait))
                    wait = out->first->due - now;
            }
            add_poll(p, &n, events ? in->from : -1, events);
        }
    }
    struct timespec timeout = {wait / 1000000, wait % 1000000 * 1000};
    if (ppoll(p, n, wait < 0 ? NULL : &timeout, NULL) < 0)
        return;
    for (i = 0; i < used; i++) {
        if (!links[i].open || stalled)
            continue;
        if (p[2 + 2 * i].revents & (POLLIN | POLLHUP | POLLERR))
            read_side(&links[i], &links[i].up);
        if (links[i].open && p[3 + 2 * i].revents & (POLLIN | POLLHUP | POLLERR))
            read_side(&links[i], &links[i].down);
        if (links[i].open && write_side(&links[i], &links[i].up))
            write_side(&links[i], &links[i].down);
    }
    if (p[1].revents)
        accept_link(listener);
    if (p[0].revents)
        read_orders();
}

int main(int argc, char **argv)
{
    struct sockaddr_in me = {.sin_family = AF_INET};
    socklen_t me_len = sizeof me;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char *colon = argc > 1 ? strrchr(argv[1], ':') : NULL;
    int listener, one = 1;
    if (!colon) {
        fputs("usage: proxy HOST:PORT [LISTEN-PORT]\n", stderr);
        return 2;
    }
    *colon = 0;
    if (getaddrinfo(argv[1], colon + 1, &hints, &found) != 0)
        return 1;
    memcpy(&target, found->ai_addr, found->ai_addrlen);
    target_len = found->ai_addrlen;
    freeaddrinfo(found);
    signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_TIMERSLACK, 1000); /* ns: delays below a millisecond are meant */
    me.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    me.sin_port = htons((uint16_t)(argc > 2 ? strtol(argv[2], NULL, 10) : 0));
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(listener, (struct sockaddr *)&me, sizeof me) != 0 || listen(listener, 64) != 0 ||
        getsockname(listener, (struct sockaddr *)&me, &me_len) != 0) {
        perror("proxy");
        return 1;
    }
    printf("listening on 127.0.0.1:%u\n", ntohs(me.sin_port));
    fflush(stdout);
    for (;;)
        turn(listener);
}
