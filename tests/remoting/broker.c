/* The in-process RocketMQ cluster: its thread, connections, frames, life, and faults. */
#include "base/clock.h"
#include "tests/remoting/broker_inside.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void mq_must(int ok, const char *file, int line, const char *what)
{
    if (!ok) {
        fprintf(stderr, "%s:%d: fake broker: not so: %s\n", file, line, what);
        abort();
    }
}

void mq_grow(void *array, size_t *cap, size_t n, size_t size)
{
    void *p;
    memcpy(&p, array, sizeof p);
    if (n < *cap)
        return;
    p = xo_grow(p, cap, n + 1, size);
    MQ_MUST(p);
    memcpy(array, &p, sizeof p);
}

void mq_copy(char *out, size_t size, const char *text)
{
    MQ_MUST(strlen(text) < size);
    memmove(out, text, strlen(text) + 1);
}

broker *mq_broker(mq *m, int b)
{
    MQ_MUST(b == MQ_NAME_SERVER || (b >= 0 && b < m->nb));
    return b == MQ_NAME_SERVER ? &m->ns : &m->b[b];
}

void mq_wake(mq *m)
{
    (void)!write(m->wake[1], "", 1);
}

conn *mq_conn_of(mq *m, int id)
{
    for (size_t i = 0; i < m->nconns; i++)
        if (m->conns[i]->id == id && !m->conns[i]->closing)
            return m->conns[i];
    return NULL;
}

/* ---- sockets ---- */

/* port 0: any. Bound, and not listening yet: connecting is refused, and nobody else gets the port. */
static int take_port(int *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    socklen_t n = sizeof a;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    MQ_MUST(fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    MQ_MUST(!bind(fd, (struct sockaddr *)&a, sizeof a) && !getsockname(fd, (struct sockaddr *)&a, &n));
    *port = ntohs(a.sin_port);
    return fd;
}

static void come_up(broker *k)
{
    if (k->listener < 0)
        k->listener = take_port(&k->port);
    MQ_MUST(!listen(k->listener, 64));
    snprintf(k->address, sizeof k->address, "127.0.0.1:%d", k->port);
    k->up = k->in_route = 1;
}

static void accept_one(mq *m, int b, broker *k)
{
    int one = 1, fd = accept4(k->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    conn *c = xo_calloc(1, sizeof *c);
    MQ_MUST(c);
    c->fd = fd;
    c->b = b;
    c->id = ++m->last_conn;
    mq_grow(&m->conns, &m->cap_conns, m->nconns, sizeof *m->conns);
    m->conns[m->nconns++] = c;
}

void mq_send(mq *m, conn *c, xo_command *x)
{
    (void)m;
    MQ_MUST(!xo_command_encode(x, &c->out) && !c->out.failed);
    xo_command_free(x);
}

static void flush_out(conn *c)
{
    while (!c->closing && c->sent < c->out.len) {
        ssize_t n = send(c->fd, c->out.p + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0)
            c->closing = 1;
        else
            c->sent += (size_t)n;
    }
    xo_buf_reset(&c->out);
    c->sent = 0;
}

static void take_answer(mq *m, conn *c, xo_command *r)
{
    if (m->ask_conn == c->id && m->ask_opaque == r->opaque && !m->ask_done) {
        m->ask_answer = *r;
        memset(r, 0, sizeof *r);
        m->ask_done = 1;
        pthread_cond_broadcast(&m->answered);
    }
}

static void take_frames(mq *m, conn *c)
{
    size_t at = 0;
    while (!c->closing && c->in.len - at >= 4) {
        const unsigned char *p = (const unsigned char *)c->in.p + at;
        size_t n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        MQ_MUST(n >= 4 && n <= XO_FRAME_MAX);
        if (c->in.len - at < 4 + n)
            break;
        char *frame = xo_memdup0(p + 4, n);
        xo_command r;
        MQ_MUST(frame && !xo_command_decode(&r, frame, n));
        at += 4 + n;
        if (mq_broker(m, c->b)->hung)
            ;
        else if (r.flag & XO_FLAG_RESPONSE)
            take_answer(m, c, &r);
        else
            mq_handle(m, c, &r);
        xo_command_free(&r);
    }
    if (at) {
        memmove(c->in.p, c->in.p + at, c->in.len - at);
        c->in.len -= at;
    }
}

static void read_in(mq *m, conn *c)
{
    static char bytes[65536];
    ssize_t n;
    while ((n = recv(c->fd, bytes, sizeof bytes, 0)) > 0)
        xo_buf_add(&c->in, bytes, (size_t)n);
    int ended = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    take_frames(m, c);
    c->closing |= ended;
}

static void bury(mq *m)
{
    for (size_t i = 0; i < m->nconns;) {
        conn *c = m->conns[i];
        if (!c->closing) {
            i++;
            continue;
        }
        m->conns[i] = m->conns[--m->nconns];
        if (c->b >= 0)
            group_forget(m, &m->b[c->b], c->id);
        close(c->fd);
        xo_buf_free(&c->in);
        xo_buf_free(&c->out);
        free(c);
    }
}

/* ---- the thread ---- */

static int64_t run_timers(mq *m)
{
    int64_t next = INT64_MAX;
    for (int i = 0; i < m->nb; i++) {
        if (!m->b[i].up || m->b[i].hung)
            continue;
        int64_t a = log_run(m, &m->b[i]), b = polls_run(m, &m->b[i]);
        next = a < next ? a : next;
        next = b < next ? b : next;
    }
    return next;
}

static size_t fill(mq *m, struct pollfd *p)
{
    size_t n = 0;
    p[n++] = (struct pollfd){m->wake[0], POLLIN, 0};
    p[n++] = (struct pollfd){m->ns.up ? m->ns.listener : -1, POLLIN, 0};
    for (int i = 0; i < MQ_BROKERS; i++)
        p[n++] = (struct pollfd){i < m->nb && m->b[i].up ? m->b[i].listener : -1, POLLIN, 0};
    for (size_t i = 0; i < m->nconns; i++)
        p[n++] = (struct pollfd){m->conns[i]->fd, (short)(POLLIN | (m->conns[i]->out.len ? POLLOUT : 0)), 0};
    return n;
}

static void *run(void *arg)
{
    mq *m = arg;
    pthread_mutex_lock(&m->lock);
    while (!m->stopping) {
        int64_t next = run_timers(m), now = xo_mono_ms();
        for (size_t i = 0; i < m->nconns; i++)
            flush_out(m->conns[i]);
        bury(m);
        struct pollfd p[2 + MQ_BROKERS + 512];
        MQ_MUST(m->nconns < 500);
        size_t n = fill(m, p), conns = m->nconns;
        pthread_mutex_unlock(&m->lock);
        poll(p, (nfds_t)n, next == INT64_MAX ? 1000 : next > now ? (int)(next - now < 1000 ? next - now : 1000) : 0);
        pthread_mutex_lock(&m->lock);
        char drop[64];
        while (p[0].revents && read(m->wake[0], drop, sizeof drop) == sizeof drop)
            ;
        if (m->job) { /* sockets that it closes are not looked at below */
            m->job(m, m->job_b, m->job_lose, m->job_flags);
            m->job = NULL;
            pthread_cond_broadcast(&m->answered);
            continue;
        }
        for (size_t i = 0; i < conns; i++) /* only this thread adds and removes connections */
            if (p[2 + MQ_BROKERS + i].revents && !m->conns[i]->closing)
                read_in(m, m->conns[i]);
        if (p[1].revents && m->ns.up)
            accept_one(m, MQ_NAME_SERVER, &m->ns);
        for (int i = 0; i < m->nb; i++)
            if (p[2 + i].revents && m->b[i].up)
                accept_one(m, i, &m->b[i]);
    }
    for (size_t i = 0; i < m->nconns; i++)
        m->conns[i]->closing = 1;
    bury(m);
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* ---- life ---- */

static int add_broker(mq *m)
{
    MQ_MUST(m->nb < MQ_BROKERS);
    broker *k = &m->b[m->nb];
    k->listener = -1;
    snprintf(k->name, sizeof k->name, "broker-%c", 'a' + m->nb);
    come_up(k);
    return m->nb++;
}

mq *mq_start(int brokers)
{
    mq *m = xo_calloc(1, sizeof *m);
    MQ_MUST(m && !pthread_mutex_init(&m->lock, NULL) && !xo_cond_init(&m->answered));
    MQ_MUST(!pipe2(m->wake, O_CLOEXEC | O_NONBLOCK));
    m->divisor = 1000;
    m->ns.listener = -1;
    come_up(&m->ns);
    snprintf(m->uri, sizeof m->uri, "rocketmq://%s", m->ns.address);
    for (int i = 0; i < brokers; i++)
        add_broker(m);
    MQ_MUST(!pthread_create(&m->thread, NULL, run, m));
    return m;
}

static void forget_polls(broker *k)
{
    while (k->npolls)
        xo_command_free(&k->polls[--k->npolls].request);
}

void mq_stop(mq *m)
{
    pthread_mutex_lock(&m->lock);
    m->stopping = 1;
    mq_wake(m);
    pthread_mutex_unlock(&m->lock);
    pthread_join(m->thread, NULL);
    for (int i = 0; i < m->nb; i++) {
        broker *k = &m->b[i];
        forget_polls(k);
        group_forget(m, k, 0);
        log_free(k);
        free(k->polls);
        free(k->groups);
        free(k->commits);
        free(k->flushed);
        free(k->locks);
        if (k->listener >= 0)
            close(k->listener);
    }
    close(m->ns.listener);
    close(m->wake[0]);
    close(m->wake[1]);
    free(m->conns);
    free(m->rules);
    xo_command_free(&m->ask_answer);
    pthread_cond_destroy(&m->answered);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

const char *mq_uri(const mq *m)
{
    return m->uri;
}

const char *mq_address(const mq *m, int b)
{
    return b == MQ_NAME_SERVER ? m->ns.address : m->b[b].address;
}

const char *mq_name(const mq *m, int b)
{
    return m->b[b].name;
}

int mq_add_broker(mq *m)
{
    pthread_mutex_lock(&m->lock);
    int b = add_broker(m);
    mq_wake(m);
    pthread_mutex_unlock(&m->lock);
    return b;
}

void mq_topic(mq *m, int b, const char *name, int queues)
{
    pthread_mutex_lock(&m->lock);
    for (int i = 0; i < m->nb; i++)
        if (b == MQ_ALL || b == i)
            log_make_topic(&m->b[i], name, queues);
    pthread_mutex_unlock(&m->lock);
}

void mq_perm(mq *m, int b, const char *name, int perm)
{
    pthread_mutex_lock(&m->lock);
    topic *t = log_topic(mq_broker(m, b), name);
    MQ_MUST(t);
    t->perm = perm;
    pthread_mutex_unlock(&m->lock);
}

void mq_order(mq *m, const char *name, const char *conf)
{
    pthread_mutex_lock(&m->lock);
    mq_copy(m->order_topic, sizeof m->order_topic, name);
    mq_copy(m->order_conf, sizeof m->order_conf, conf);
    pthread_mutex_unlock(&m->lock);
}

static void set_number(mq *m, int *at, int value)
{
    pthread_mutex_lock(&m->lock);
    *at = value;
    pthread_mutex_unlock(&m->lock);
}

void mq_auto_create(mq *m, int on)
{
    set_number(m, &m->auto_create, on);
}

void mq_version_4(mq *m)
{
    set_number(m, &m->version_4, 1);
}

void mq_delay_divisor(mq *m, int64_t divisor)
{
    pthread_mutex_lock(&m->lock);
    m->divisor = divisor;
    pthread_mutex_unlock(&m->lock);
}

void mq_acl(mq *m, const char *access_key, const char *secret)
{
    pthread_mutex_lock(&m->lock);
    mq_copy(m->access_key, sizeof m->access_key, access_key ? access_key : "");
    mq_copy(m->secret, sizeof m->secret, secret ? secret : "");
    pthread_mutex_unlock(&m->lock);
}

/* ---- watching ---- */

void mq_watch(mq *m, mq_watch_fn fn, void *arg)
{
    pthread_mutex_lock(&m->lock);
    m->watch = fn;
    m->watch_arg = arg;
    pthread_mutex_unlock(&m->lock);
}

size_t mq_count(mq *m, int b, int number)
{
    size_t n = 0;
    MQ_MUST(number >= 0 && number < 512);
    pthread_mutex_lock(&m->lock);
    if (b == MQ_NAME_SERVER)
        n = m->ns.counts[number];
    for (int i = 0; i < m->nb; i++)
        if (b == MQ_ALL || b == i)
            n += m->b[i].counts[number];
    pthread_mutex_unlock(&m->lock);
    return n;
}

size_t mq_connections(mq *m, int b)
{
    size_t n = 0;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->nconns; i++)
        n += m->conns[i]->b == b && !m->conns[i]->closing;
    pthread_mutex_unlock(&m->lock);
    return n;
}

int mq_polling(mq *m, int b, const char *name, int id)
{
    int n = 0;
    pthread_mutex_lock(&m->lock);
    broker *k = mq_broker(m, b);
    for (size_t i = 0; i < k->npolls; i++) {
        const char *t = xo_command_get(&k->polls[i].request, "topic"), *q = xo_command_get(&k->polls[i].request, "queueId");
        n += t && q && !strcmp(t, name) && strtol(q, NULL, 10) == id && mq_conn_of(m, k->polls[i].conn);
    }
    pthread_mutex_unlock(&m->lock);
    return n;
}

/* ---- faults ---- */

static void cut_off(mq *m, int b)
{
    for (size_t i = 0; i < m->nconns; i++)
        if (m->conns[i]->b == b) {
            m->conns[i]->closing = 1;
            shutdown(m->conns[i]->fd, SHUT_RDWR);
        }
}

static void lose_state(mq *m, broker *k, int lose, int flags)
{
    forget_polls(k);
    group_forget(m, k, 0);
    log_cut(k, lose);
    for (size_t i = 0; i < k->nhalves; i++)
        k->halves[i].done |= k->halves[i].log_offset >= k->log_end;
    if (flags & MQ_LOSE_COMMITS) {
        k->ncommits = 0;
        for (size_t i = 0; i < k->nflushed; i++) {
            mq_grow(&k->commits, &k->cap_commits, k->ncommits, sizeof *k->commits);
            k->commits[k->ncommits++] = k->flushed[i];
        }
    }
    if (flags & MQ_LOSE_OFFSET_FILE)
        k->ncommits = k->nflushed = 0;
    for (size_t i = 0; i < k->ncommits; i++)
        k->commits[i].reset = -1; /* in memory only */
}

/* Runs a job on the cluster's thread, which alone opens and closes sockets, and waits for its end. */
static void on_thread(mq *m, void (*job)(mq *, int, int, int), int b, int lose, int flags)
{
    pthread_mutex_lock(&m->lock);
    MQ_MUST(!m->job);
    m->job = job;
    m->job_b = b;
    m->job_lose = lose;
    m->job_flags = flags;
    mq_wake(m);
    while (m->job)
        pthread_cond_wait(&m->answered, &m->lock);
    pthread_mutex_unlock(&m->lock);
}

static void do_kill(mq *m, int b, int lose, int flags)
{
    broker *k = mq_broker(m, b);
    MQ_MUST(k->up);
    cut_off(m, b);
    close(k->listener);
    k->listener = take_port(&k->port);
    k->up = 0;
    k->hung = 0;
    k->in_route = (flags & MQ_KEEP_ROUTE) != 0;
    lose_state(m, k, lose, flags);
}

static void do_cut(mq *m, int b, int lose, int flags)
{
    (void)flags;
    log_cut(mq_broker(m, b), lose);
}

static void do_restart(mq *m, int b, int lose, int flags)
{
    (void)lose;
    (void)flags;
    MQ_MUST(!mq_broker(m, b)->up);
    come_up(mq_broker(m, b));
}

static void do_disconnect(mq *m, int b, int lose, int flags)
{
    (void)lose;
    (void)flags;
    cut_off(m, b);
}

static void do_move(mq *m, int b, int lose, int flags)
{
    broker *k = mq_broker(m, b);
    cut_off(m, b);
    close(k->listener);
    k->listener = -1;
    k->port = 0;
    lose_state(m, k, lose, flags);
    come_up(k);
}

void mq_kill(mq *m, int b, int lose, int flags)
{
    on_thread(m, do_kill, b, lose, flags);
}

void mq_cut(mq *m, int b, int lose)
{
    on_thread(m, do_cut, b, lose, 0);
}

void mq_restart(mq *m, int b)
{
    on_thread(m, do_restart, b, 0, 0);
}

void mq_disconnect(mq *m, int b)
{
    on_thread(m, do_disconnect, b, 0, 0);
}

void mq_move(mq *m, int b)
{
    on_thread(m, do_move, b, 0, 0);
}

void mq_hang(mq *m, int b, int on)
{
    set_number(m, &mq_broker(m, b)->hung, on);
    mq_wake(m);
}

void mq_next(mq *m, int b, int number, int n, mq_fault what, int answer)
{
    pthread_mutex_lock(&m->lock);
    rule *r = NULL;
    for (size_t i = 0; i < m->nrules; i++)
        if (m->rules[i].code == number && m->rules[i].b == b)
            r = &m->rules[i];
    if (!r) {
        mq_grow(&m->rules, &m->cap_rules, m->nrules, sizeof *m->rules);
        r = &m->rules[m->nrules++];
    }
    *r = (rule){b, number, n, answer, what};
    pthread_mutex_unlock(&m->lock);
}

void mq_twice(mq *m, int b, int n)
{
    set_number(m, &mq_broker(m, b)->twice, n);
}

/* ---- requests to clients ---- */

static conn *client_conn(mq *m, int b, const char *group_name, const char *client)
{
    group *g = group_name ? group_find(mq_broker(m, b), group_name, 0, 0) : NULL;
    for (size_t i = 0; g && i < g->n; i++)
        if (g->members[i].conn && (!client || !strcmp(client, g->members[i].client)))
            return mq_conn_of(m, g->members[i].conn);
    for (size_t i = 0; !group_name && i < m->nconns; i++)
        if (m->conns[i]->b == b && !m->conns[i]->closing)
            return m->conns[i];
    return NULL;
}

int mq_ask(mq *m, int b, const char *group_name, const char *client, xo_command *r, int64_t timeout_ms, xo_command *answer)
{
    pthread_mutex_lock(&m->lock);
    conn *c = client_conn(m, b, group_name, client);
    int64_t deadline = xo_mono_ms() + timeout_ms;
    memset(answer, 0, sizeof *answer);
    if (!c) {
        pthread_mutex_unlock(&m->lock);
        xo_command_free(r);
        return 0;
    }
    r->opaque = ++m->last_opaque;
    m->ask_conn = c->id;
    m->ask_opaque = r->opaque;
    m->ask_done = 0;
    mq_send(m, c, r);
    mq_wake(m);
    while (!m->ask_done && !xo_cond_wait_ms(&m->answered, &m->lock, deadline))
        ;
    int done = m->ask_done;
    if (done)
        *answer = m->ask_answer;
    memset(&m->ask_answer, 0, sizeof m->ask_answer);
    m->ask_conn = 0;
    pthread_mutex_unlock(&m->lock);
    return done;
}

void mq_tell(mq *m, int b, const char *group_name, xo_command *r)
{
    xo_buf frame = {0};
    pthread_mutex_lock(&m->lock);
    group *g = group_find(mq_broker(m, b), group_name, 0, 0);
    r->flag |= XO_FLAG_ONEWAY;
    r->opaque = ++m->last_opaque;
    MQ_MUST(!xo_command_encode(r, &frame));
    for (size_t i = 0; g && i < g->n; i++) {
        conn *c = g->members[i].conn ? mq_conn_of(m, g->members[i].conn) : NULL;
        if (c)
            xo_buf_add(&c->out, frame.p, frame.len);
    }
    mq_wake(m);
    pthread_mutex_unlock(&m->lock);
    xo_buf_free(&frame);
    xo_command_free(r);
}

void mq_reset_4(mq *m, int b, const char *group_name, const char *name, int id, int64_t offset, int list)
{
    xo_command r;
    xo_buf body = {0};
    if (list)
        xo_buf_printf(&body, "{\"offsetTable\":[{\"brokerName\":\"%s\",\"queueId\":%d,\"topic\":\"%s\",\"offset\":%lld}]}", mq_name(m, b), id, name,
                      (long long)offset);
    else
        xo_buf_printf(&body, "{\"offsetTable\":{{\"brokerName\":\"%s\",\"queueId\":%d,\"topic\":\"%s\"}:%lld}}", mq_name(m, b), id, name,
                      (long long)offset);
    xo_command_init(&r, XO_RMQ_RESET_OFFSET);
    xo_command_set(&r, "topic", name);
    xo_command_set(&r, "group", group_name);
    xo_command_set(&r, "timestamp", "0");
    xo_command_set(&r, "isForce", "true");
    xo_command_take_body(&r, &body);
    mq_tell(m, b, group_name, &r);
}
