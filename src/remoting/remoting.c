/* Remoting as its users see it: what they want to send is encoded and signed on their threads and put into the inbox of the I/O thread. */
#include "remoting/remoting.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/mem.h"
#include "remoting/io.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- addresses ---- */

xonce_status xo_address_split(const char *address, char host[XO_HOST_SIZE], char port[8])
{
    const char *begin = address, *end = strrchr(address, ':');
    if (*address == '[') {
        const char *close = strchr(address, ']');
        begin = address + 1;
        end = close && close[1] == ':' ? close : NULL;
    }
    const char *digits = end ? end + (*end == ']' ? 2 : 1) : NULL;
    size_t nhost = end ? (size_t)(end - begin) : 0, nport = digits ? strlen(digits) : 0;
    if (nhost == 0 || nhost >= XO_HOST_SIZE || nport == 0 || nport > 5 || strspn(digits, "0123456789") != nport ||
        strtol(digits, NULL, 10) > 65535 || strtol(digits, NULL, 10) == 0 || (begin == address && memchr(begin, ':', nhost))) {
        return xo_fail(XONCE_E_INVALID, "\"%.100s\" is no address: host:port, or [IPv6]:port", address);
    }
    memcpy(host, begin, nhost);
    host[nhost] = 0;
    memcpy(port, digits, nport + 1);
    return XONCE_OK;
}

/* ---- items ---- */

static xo_item *item_new(xo_remoting *r, const char *address)
{
    xo_item *i = xo_calloc(1, sizeof(*i));
    if (!i) {
        pthread_mutex_lock(&r->lock);
        i = r->spare;
        if (i) {
            r->spare = i->next;
            memset(i, 0, sizeof(*i));
            i->reserved = 1;
        }
        pthread_mutex_unlock(&r->lock);
    }
    if (i) {
        memcpy(i->address, address, strnlen(address, sizeof(i->address) - 1));
    }
    return i;
}

void xo_item_free(xo_remoting *r, xo_item *i)
{
    free(i->frame);
    free(i->why);
    if (i->reserved) {
        pthread_mutex_lock(&r->lock);
        i->next = r->spare;
        r->spare = i;
        pthread_mutex_unlock(&r->lock);
    } else {
        free(i);
    }
}

void xo_item_end(xo_remoting *r, xo_item *i, xonce_status st, xo_command *answer)
{
    xo_answer_fn fn = i->fn;
    void *arg = i->arg;
    i->fn = NULL;
    if (!i->queued) {
        xo_error why;
        xo_error_save(&why);
        xo_item_free(r, i);
        (void)xo_error_restore(&why);
    }
    if (fn) {
        fn(st, st == XONCE_OK ? answer : NULL, arg);
    }
}

/* Under r->lock. */
static void wake_locked(xo_remoting *r)
{
    if (!r->woken) {
        r->woken = 1;
        while (write(r->wake[1], "", 1) < 0 && errno == EINTR) {
        }
    }
}

void xo_remoting_wake(void *arg)
{
    xo_remoting *r = arg;
    pthread_mutex_lock(&r->lock);
    wake_locked(r);
    pthread_mutex_unlock(&r->lock);
}

/* 0: it is too late, the I/O thread has ended. */
static int post(xo_remoting *r, xo_item *i)
{
    pthread_mutex_lock(&r->lock);
    int closed = r->closed;
    if (!closed) {
        i->next = NULL;
        *r->inbox_end = i;
        r->inbox_end = &i->next;
        r->inbox_bytes += i->len;
        if (!xo_remoting_inside(r)) { /* which looks there before it waits again */
            wake_locked(r);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return !closed;
}

/* May so many bytes be sent there now? */
static xonce_status admit(xo_remoting *r, const char *address, size_t bytes)
{
    xo_error why;
    xonce_status st = XONCE_OK;
    int64_t now = xo_mono_ms();
    pthread_mutex_lock(&r->lock);
    xo_peer *p = r->peers;
    while (p && strcmp(p->address, address)) {
        p = p->next;
    }
    size_t unsent = r->inbox_bytes + (p ? atomic_load(&p->unsent) : 0);
    if (r->stop) {
        st = XONCE_E_CLOSED;
    } else if (p && p->until > now) {
        st = XONCE_E_CONNECT;
        why = p->cause;
    } else if (unsent + bytes > XO_WAITING_MAX) {
        st = XONCE_E_CONFLICT;
    }
    pthread_mutex_unlock(&r->lock);
    switch (st) {
    case XONCE_OK: return XONCE_OK;
    case XONCE_E_CONNECT: return xo_error_restore(&why);
    case XONCE_E_CONFLICT: return xo_fail(st, "%s: %zu MiB wait to be sent already: it is too slow; try again later", address, unsent >> 20);
    default: return xo_fail(XONCE_E_CLOSED, "the connections are being closed");
    }
}

/* Signs (requests), encodes and checks. */
static xonce_status prepare(xo_remoting *r, xo_item *i, const char *address, xo_command *c)
{
    char host[XO_HOST_SIZE], port[8];
    xo_buf frame = {0};
    if (strlen(address) >= XO_ADDRESS_SIZE) {
        return xo_fail(XONCE_E_INVALID, "\"%.60s...\" is no address: it is too long", address);
    }
    xonce_status st = xo_address_split(address, host, port);
    if (!st && i->kind != XO_ITEM_REPLY) {
        c->opaque = atomic_fetch_add(&r->opaque, 1) & INT32_MAX;
        st = xo_acl_sign(c, r->credentials.access_key_id, r->credentials.access_key_secret, r->credentials.security_token, r->ons_channel);
    }
    i->opaque = c->opaque;
    i->code = c->code;
    if (!st) {
        st = xo_command_encode(c, &frame);
    }
    if (!st) {
        st = admit(r, address, frame.len);
    }
    if (!st) {
        i->len = frame.len;
        i->frame = xo_buf_take(&frame);
        st = i->frame ? XONCE_OK : xo_nomem();
    }
    xo_buf_free(&frame);
    return st;
}

/* ---- sending ---- */

void xo_remoting_send(xo_remoting *r, const char *address, xo_command *c, int64_t timeout_ms, xo_answer_fn fn, void *arg)
{
    xo_item *i = item_new(r, address);
    if (!i) { /* nothing left to carry it to the I/O thread with */
        xo_command_free(c);
        fn(xo_nomem(), NULL, arg);
        return;
    }
    i->kind = XO_ITEM_REQUEST;
    i->fn = fn;
    i->arg = arg;
    i->timeout = timeout_ms;
    i->deadline = xo_mono_ms() + timeout_ms;
    c->flag &= ~(XO_FLAG_RESPONSE | XO_FLAG_ONEWAY);
    if (prepare(r, i, address, c)) {
        i->failed = 1;
        i->why = xo_calloc(1, sizeof(*i->why));
        if (i->why) {
            xo_error_save(i->why);
        }
    }
    xo_command_free(c);
    if (!post(r, i)) {
        (void)xo_fail(XONCE_E_CLOSED, "the connections are closed");
        xo_item_end(r, i, XONCE_E_CLOSED, NULL);
    }
}

xonce_status xo_remoting_oneway(xo_remoting *r, const char *address, xo_command *c)
{
    xo_item *i = item_new(r, address);
    xonce_status st = i ? XONCE_OK : xo_nomem();
    if (!st) {
        i->kind = XO_ITEM_ONEWAY;
        c->flag = (c->flag & ~XO_FLAG_RESPONSE) | XO_FLAG_ONEWAY;
        st = prepare(r, i, address, c);
    }
    xo_command_free(c);
    if (!st && !post(r, i)) {
        st = xo_fail(XONCE_E_CLOSED, "the connections are closed");
    }
    if (st && i) {
        xo_error why;
        xo_error_save(&why);
        xo_item_free(r, i);
        (void)xo_error_restore(&why);
    }
    return st;
}

void xo_remoting_reply(xo_remoting *r, const char *address, int32_t opaque, int32_t code, const char *remark, xo_buf *body)
{
    xo_command c;
    xo_item *i = item_new(r, address);
    xo_command_init(&c, code);
    c.flag = XO_FLAG_RESPONSE;
    c.opaque = opaque;
    c.remark = remark;
    if (body) {
        xo_command_take_body(&c, body);
    }
    if (i) {
        i->kind = XO_ITEM_REPLY;
        if (prepare(r, i, address, &c) || !post(r, i)) {
            xo_item_free(r, i);
        }
    }
    xo_command_free(&c);
}

void xo_remoting_disconnect(xo_remoting *r, const char *address)
{
    xo_item *i = item_new(r, address);
    if (i) {
        i->kind = XO_ITEM_DISCONNECT;
        if (!post(r, i)) {
            xo_item_free(r, i);
        }
    }
}

/* ---- waiting for answers ---- */

int xo_remoting_inside(const xo_remoting *r)
{
    return pthread_equal(pthread_self(), r->thread) != 0;
}

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    size_t left;
} call_group;

typedef struct {
    call_group *group;
    xo_call *call;
} call_arg;

static void on_answer(xonce_status st, xo_command *answer, void *arg)
{
    call_arg *a = arg;
    pthread_mutex_lock(&a->group->lock);
    a->call->status = st;
    if (st) {
        xo_error_save(&a->call->error);
    } else {
        a->call->answer = *answer;
        memset(answer, 0, sizeof(*answer));
    }
    if (--a->group->left == 0) {
        pthread_cond_signal(&a->group->ended);
    }
    pthread_mutex_unlock(&a->group->lock);
}

static void refuse_all(xo_call *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        xo_command_free(&calls[i].request);
        memset(&calls[i].answer, 0, sizeof(calls[i].answer));
        calls[i].status = xonce_error_last()->code;
        xo_error_save(&calls[i].error);
    }
}

void xo_remoting_call_all(xo_remoting *r, xo_call *calls, size_t n, int64_t timeout_ms)
{
    call_group g = {.left = n};
    call_arg one, *args = n == 1 ? &one : xo_calloc(n, sizeof(*args));
    if (xo_remoting_inside(r)) {
        (void)xo_fail(XONCE_E_INVALID, "a callback of a connection must not wait for an answer");
        refuse_all(calls, n);
    } else if (!args || pthread_mutex_init(&g.lock, NULL) != 0) {
        (void)xo_nomem();
        refuse_all(calls, n);
    } else if (xo_cond_init(&g.ended) != 0) {
        pthread_mutex_destroy(&g.lock);
        (void)xo_nomem();
        refuse_all(calls, n);
    } else {
        for (size_t i = 0; i < n; i++) {
            memset(&calls[i].answer, 0, sizeof(calls[i].answer));
            args[i] = (call_arg){&g, &calls[i]};
            xo_remoting_send(r, calls[i].address, &calls[i].request, timeout_ms, on_answer, &args[i]);
        }
        pthread_mutex_lock(&g.lock);
        while (g.left) {
            pthread_cond_wait(&g.ended, &g.lock); /* each request ends by its time at the latest */
        }
        pthread_mutex_unlock(&g.lock);
        pthread_cond_destroy(&g.ended);
        pthread_mutex_destroy(&g.lock);
    }
    if (args != &one) {
        free(args);
    }
}

xonce_status xo_remoting_call(xo_remoting *r, const char *address, xo_command *c, int64_t timeout_ms, xo_command *answer)
{
    xo_call call = {.address = "", .request = *c};
    memset(c, 0, sizeof(*c));
    memset(answer, 0, sizeof(*answer));
    if (strlen(address) >= sizeof(call.address)) {
        xo_command_free(&call.request);
        return xo_fail(XONCE_E_INVALID, "\"%.60s...\" is no address: it is too long", address);
    }
    memcpy(call.address, address, strlen(address) + 1);
    xo_remoting_call_all(r, &call, 1, timeout_ms);
    if (call.status) {
        return xo_error_restore(&call.error);
    }
    *answer = call.answer;
    return XONCE_OK;
}

/* ---- life ---- */

static void destroy(xo_remoting *r)
{
    for (int i = 0; i < 2; i++) {
        if (r->wake[i] >= 0) {
            close(r->wake[i]);
        }
    }
    while (r->peers) {
        xo_peer *p = r->peers;
        r->peers = p->next;
        free(p);
    }
    xo_waits_free(&r->waits);
    xo_tls_close(r);
    xo_credentials_free(&r->credentials);
    free(r->ons_channel);
    free(r->scratch);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static xonce_status settings(xo_remoting *r, const xonce_config *cfg)
{
    int found;
    xonce_status st = xo_credentials_find(&r->credentials, cfg, &found);
    const char *channel = xo_config_text(cfg, "rocketmq.ons-channel");
    if (!st && channel && *channel) {
        r->ons_channel = xo_strdup(channel);
        st = r->ons_channel ? XONCE_OK : xo_nomem();
    }
    if (!st && xo_config_int(cfg, "tls")) {
        st = xo_tls_open(r, cfg);
    }
    r->connect_ms = xo_config_int(cfg, "rocketmq.connect-timeout");
    xo_remoting_tune(r, XO_IDLE_MS, XO_SILENCE_MS);
    return st;
}

/* Signals are for the user's threads; and a write to a closed connection (OpenSSL's too) raises SIGPIPE on the thread that writes. */
static xonce_status start_thread(xo_remoting *r)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    sigset_t all, before;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        sigdelset(&all, faults[i]);
    }
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int rc = pthread_create(&r->thread, NULL, xo_remoting_main, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc ? xo_fail(XONCE_E_NOMEM, "no thread for the connections: %s", strerror(rc)) : XONCE_OK;
}

xonce_status xo_remoting_open(xo_remoting **out, const xonce_config *cfg, const xo_remoting_events *events, void *self)
{
    *out = NULL;
    xo_remoting *r = xo_calloc(1, sizeof(*r));
    if (!r || pthread_mutex_init(&r->lock, NULL) != 0) {
        free(r);
        return xo_nomem();
    }
    r->wake[0] = r->wake[1] = -1;
    r->inbox_end = &r->inbox;
    for (size_t i = 0; i < sizeof(r->reserve) / sizeof(r->reserve[0]); i++) {
        r->reserve[i].next = r->spare;
        r->spare = &r->reserve[i];
    }
    if (events) {
        r->events = *events;
    }
    r->self = self;
    r->scratch = xo_calloc(1, XO_SCRATCH);
    xonce_status st = r->scratch ? settings(r, cfg) : xo_nomem();
    if (!st && pipe2(r->wake, O_CLOEXEC | O_NONBLOCK) != 0) {
        st = xo_fail(XONCE_E_NOMEM, "no pipe for the connections: %s", strerror(errno));
    }
    if (!st) {
        st = start_thread(r);
    }
    if (st) {
        xo_error why;
        xo_error_save(&why);
        destroy(r);
        return xo_error_restore(&why);
    }
    *out = r;
    return XONCE_OK;
}

void xo_remoting_close(xo_remoting *r)
{
    if (!r) {
        return;
    }
    pthread_mutex_lock(&r->lock);
    r->stop = 1;
    wake_locked(r);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    destroy(r);
}

void xo_remoting_tune(xo_remoting *r, int64_t idle_ms, int64_t silence_ms)
{
    atomic_store(&r->idle_ms, idle_ms);
    atomic_store(&r->silence_ms, silence_ms);
}
