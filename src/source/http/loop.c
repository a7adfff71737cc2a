/* The I/O thread of the HTTP source: starts what is due, lets curl work, hands out what is done. */
#include "source/http/http.h"
#include "base/clock.h"

int xo_http_poke(xo_http_source *s)
{
    if (!s->started || s->poked)
        return 0;
    return s->poked = 1;
}

void xo_http_wake(xo_http_source *s)
{
    curl_multi_wakeup(s->multi);
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

void *xo_http_loop(void *source)
{
    xo_http_source *s = source;
    for (;;) {
        int running;
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
        curl_multi_perform(s->multi, &running);
        if (finish_transfers(s))
            continue;
        int64_t pause = next - xo_mono_ms();
        if (pause > 0)
            curl_multi_poll(s->multi, NULL, 0, (int)pause, NULL);
    }
    xo_http_cancel_polls(s);
    xo_http_cancel_acks(s);
    return NULL;
}
