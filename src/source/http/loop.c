/* The I/O thread of the HTTP source: starts what is due, lets curl work, hands out what is done. */
#include "source/http/http.h"
#include "base/clock.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int xo_http_poke(xo_http_source *s)
{
    if (!s->started || s->poked)
        return 0;
    return s->poked = 1;
}

void xo_http_wake(xo_http_source *s)
{
    ssize_t n = write(s->wake[1], "", 1); /* a full pipe wakes it as well */
    (void)n;
}

int64_t xo_http_backoff(int failures)
{
    int64_t ms = failures > 8 ? 30000 : (int64_t)100 << failures;
    if (ms > 30000)
        ms = 30000;
    return ms / 2 + (int64_t)(xo_random() % (uint64_t)(ms / 2 + 1));
}

void xo_http_report(xo_http_source *s)
{
    xo_error e;
    xo_error_save(&e);
    pthread_mutex_lock(&s->lock);
    if (!e.pub.again && !s->failed) {
        s->permanent = e;
        s->failed = 1;
    } else if (e.pub.again) {
        s->transient = e;
        s->ntransient++;
    }
    pthread_cond_signal(&s->ready);
    pthread_mutex_unlock(&s->lock);
}

/* The number of finished transfers. */
static int finish_transfers(xo_http_source *s)
{
    int n = 0, left;
    CURLMsg *m;
    while ((m = curl_multi_info_read(s->multi, &left))) {
        if (m->msg != CURLMSG_DONE)
            continue;
        CURL *easy = m->easy_handle;
        CURLcode rc = m->data.result; /* m is gone after the removal */
        void *call = NULL;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&call);
        curl_multi_remove_handle(s->multi, easy);
        n++;
        int is_ack = 0;
        for (int i = 0; i < XO_ACK_SLOTS && !is_ack; i++)
            if (call == &s->acks[i].call) {
                xo_http_ack_done(s, &s->acks[i], rc);
                is_ack = 1;
            }
        if (!is_ack)
            xo_http_poll_done(s, (xo_http_poll *)call, rc); /* its call is the first member */
    }
    return n;
}

/* ---- sockets ----
 *
 * curl is told which of them are ready. Left to look for itself, as curl_multi_perform does, it asks the kernel about each request in flight, each
 * time that any of them moves. */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *source, void *unused)
{
    xo_http_source *s = source;
    size_t i = 1;
    (void)easy, (void)unused;
    while (i < s->nfds && s->fds[i].fd != fd)
        i++;
    if (what == CURL_POLL_REMOVE || what == CURL_POLL_NONE) { /* of a socket that nobody asks about poll() would tell errors for ever */
        if (i < s->nfds)
            s->fds[i] = s->fds[--s->nfds];
        return 0;
    }
    if (i == s->nfds) {
        struct pollfd *grown = xo_grow(s->fds, &s->cap_fds, s->nfds + 1, sizeof *grown);
        if (!grown)
            return -1;
        s->fds = grown;
        s->fds[s->nfds++] = (struct pollfd){.fd = fd};
    }
    s->fds[i].events = (short)((what & CURL_POLL_IN ? POLLIN : 0) | (what & CURL_POLL_OUT ? POLLOUT : 0));
    return 0;
}

static int on_timer(CURLM *multi, long ms, void *source)
{
    (void)multi;
    ((xo_http_source *)source)->curl_at = ms < 0 ? -1 : xo_mono_ms() + ms;
    return 0;
}

static void fire_timer(xo_http_source *s)
{
    int running;
    s->curl_at = -1;
    curl_multi_socket_action(s->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

/* From the last to the first: a socket that is removed meanwhile has the last one put in its place, which was seen. */
static void serve_sockets(xo_http_source *s)
{
    char bytes[64];
    for (size_t i = s->nfds; i-- > 1;) {
        if (i >= s->nfds || !s->fds[i].revents)
            continue;
        short is = s->fds[i].revents;
        int running, fd = s->fds[i].fd;
        s->fds[i].revents = 0;
        curl_multi_socket_action(s->multi, fd,
                                 (is & (POLLIN | POLLHUP) ? CURL_CSELECT_IN : 0) | (is & POLLOUT ? CURL_CSELECT_OUT : 0) |
                                     (is & (POLLERR | POLLNVAL) ? CURL_CSELECT_ERR : 0),
                                 &running);
        if (is & POLLNVAL)
            (void)on_socket(NULL, fd, CURL_POLL_REMOVE, s, NULL);
    }
    if (s->fds[0].revents)
        while (read(s->wake[0], bytes, sizeof bytes) > 0) {
        }
}

/* Until there is something to do, at most until `next`. */
static void wait_for_work(xo_http_source *s, int64_t next)
{
    int64_t pause = (s->curl_at >= 0 && s->curl_at < next ? s->curl_at : next) - xo_mono_ms();
    int n = poll(s->fds, (nfds_t)s->nfds, pause < 0 ? 0 : pause > INT_MAX ? INT_MAX : (int)pause);
    if (n > 0)
        serve_sockets(s);
}

xonce_status xo_http_loop_open(xo_http_source *s)
{
    if (s->wake[0] < 0 && pipe2(s->wake, O_CLOEXEC | O_NONBLOCK))
        return xo_fail(XONCE_E_NOMEM, "no pipe for the source's thread: %s", strerror(errno));
    if (!s->fds && !(s->fds = xo_grow(NULL, &s->cap_fds, 64, sizeof *s->fds)))
        return xo_nomem();
    s->fds[0] = (struct pollfd){.fd = s->wake[0], .events = POLLIN};
    s->nfds = 1;
    s->curl_at = -1;
    if (!s->multi && !(s->multi = curl_multi_init()))
        return xo_nomem();
    curl_multi_setopt(s->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(s->multi, CURLMOPT_SOCKETDATA, s);
    curl_multi_setopt(s->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(s->multi, CURLMOPT_TIMERDATA, s);
    return XONCE_OK;
}

void xo_http_loop_close(xo_http_source *s)
{
    if (s->multi)
        curl_multi_cleanup(s->multi);
    free(s->fds);
    for (int i = 0; i < 2; i++)
        if (s->wake[i] >= 0)
            close(s->wake[i]);
}

void *xo_http_loop(void *source)
{
    xo_http_source *s = source;
    for (;;) {
        int64_t now = xo_mono_ms(), next = now + 1000;
        pthread_mutex_lock(&s->lock);
        s->poked = s->held = 0;
        int quit = s->quit, polling = !s->stopping && !s->failed;
        pthread_mutex_unlock(&s->lock);
        if (quit)
            break;
        if (polling)
            xo_http_start_polls(s, now, &next);
        else
            xo_http_cancel_polls(s);
        xo_http_start_acks(s, now, &next);
        if (s->curl_at >= 0 && s->curl_at <= now)
            fire_timer(s);
        if (!finish_transfers(s))
            wait_for_work(s, next);
    }
    xo_http_cancel_polls(s);
    xo_http_cancel_acks(s);
    return NULL;
}
