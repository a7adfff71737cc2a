/* Long polls of the HTTP source. Where nothing is known yet, at the start and after a failure, one of them does not wait: it would be long until an
 * empty topic tells that the endpoint is there. */
#include "base/clock.h"
#include "base/mem.h"
#include "proto/xml.h"
#include "source/http/http.h"
#include <stdlib.h>
#include <string.h>

/* How many messages a poll may ask for now; 0: there is no room. */
static size_t room(xo_http_source *s)
{
    size_t want = 0, batch = (size_t)s->batch;
    pthread_mutex_lock(&s->lock);
    size_t waiting = s->buffer.n + s->asked, all = waiting + s->out + s->unacked;
    size_t average = s->body_average ? s->body_average : 1, expected = s->bytes + s->asked * average;
    if (all + batch <= s->max_messages && waiting < s->window && expected < s->max_bytes) {
        want = (s->max_bytes - expected) / average;
        want = want < 1 ? 1 : want > batch ? batch : want;
    } else if (!s->asked && !s->buffer.n && all < s->max_messages && s->bytes < s->max_bytes) {
        want = 1; /* nearly full of what the consumer holds: never stand still */
    }
    s->held = !want;
    pthread_mutex_unlock(&s->lock);
    return want;
}

static xonce_status begin(xo_http_source *s, xo_http_poll *p, size_t want, int64_t now)
{
    xo_buf *target = &p->call.request; /* a GET has no body */
    if (!p->call.easy && xo_http_call_init(&p->call))
        return XONCE_E_NOMEM;
    xo_buf_reset(target);
    xo_buf_printf(target, "%s&numOfMessages=%zu", p->sub->poll_target, want);
    p->quick = s->wait_s > 0 && !p->sub->known;
    if (s->wait_s > 0 && !p->quick)
        xo_buf_printf(target, "&waitseconds=%lld", (long long)s->wait_s);
    xonce_status st = xo_buf_status(target);
    if (!st)
        st = xo_http_prepare(&p->call, &s->endpoint, "GET", target->p, (p->quick ? 0 : s->wait_s * 1000) + s->timeout_ms);
    if (!st && curl_multi_add_handle(s->multi, p->call.easy) != CURLM_OK)
        st = xo_nomem();
    if (st)
        return st;
    p->running = 1;
    p->sub->known |= p->quick; /* one is enough; it says when it was not so */
    p->sub->running++;
    p->asked = want;
    p->started = now;
    s->asked += want;
    return XONCE_OK;
}

/* Of several that end together only the first counts. */
static void pause_polls(xo_http_sub *sub, int64_t now, int64_t pause, int *count)
{
    if (now < sub->next_at)
        return;
    sub->next_at = now + pause;
    if (*count < 30)
        ++*count;
}

/* With two, one waits at the endpoint while the other's messages are on their way. */
static void want_fewer(const xo_http_source *s, xo_http_sub *sub, int by)
{
    int least = s->polls < XO_POLLS_LEAST ? s->polls : XO_POLLS_LEAST;
    sub->target = sub->target - by < least ? least : sub->target - by;
}

static void failed(xo_http_source *s, xo_http_poll *p)
{
    pause_polls(p->sub, xo_mono_ms(), xo_http_backoff(p->sub->failures), &p->sub->failures);
    want_fewer(s, p->sub, p->sub->target / 2);
    p->sub->known = 0;
    xo_http_report(s);
}

void xo_http_start_polls(xo_http_source *s, int64_t now, int64_t *next)
{
    size_t n = s->nsubs * (size_t)s->polls;
    for (size_t i = 0; i < n; i++) {
        /* subscription by subscription, so that one with a full queue leaves room to the others */
        size_t k = (s->turn + i) % n;
        xo_http_sub *sub = s->subs[k % s->nsubs];
        xo_http_poll *p = &sub->polls[k / s->nsubs];
        if (p->running || sub->running >= sub->target || __atomic_load_n(&sub->held, __ATOMIC_ACQUIRE))
            continue;
        if (sub->next_at > now) {
            if (sub->next_at < *next)
                *next = sub->next_at;
            continue;
        }
        size_t want = room(s);
        if (!want)
            break;
        if (begin(s, p, want, now)) {
            failed(s, p);
            if (sub->next_at < *next)
                *next = sub->next_at;
        }
    }
    s->turn = n ? (s->turn + 1) % n : 0;
}

static void ended(xo_http_source *s, xo_http_poll *p)
{
    p->running = 0;
    p->sub->running--;
    s->asked -= p->asked;
    p->asked = 0;
}

void xo_http_cancel_polls(xo_http_source *s)
{
    for (size_t i = 0; i < s->nsubs; i++)
        for (int j = 0; j < s->slots; j++) {
            xo_http_poll *p = &s->subs[i]->polls[j];
            if (!p->running)
                continue;
            /* closes the connection: that is how the endpoint learns of it */
            curl_multi_remove_handle(s->multi, p->call.easy);
            s->subs[i]->known = 0;
            ended(s, p);
        }
}

/* An endpoint that does not wait as asked must not be asked in a tight loop. Where it was not asked to, that there was nothing at that moment says too
 * little to go by. */
static void came_empty(xo_http_source *s, xo_http_poll *p)
{
    int64_t now = xo_mono_ms();
    xo_http_sub *sub = p->sub;
    if (p->quick) {
        sub->next_at = 0;
        return;
    }
    if (now - p->started < s->wait_s * 500 || !s->wait_s) {
        int64_t pause = (int64_t)10 << (sub->quick < 7 ? sub->quick : 7);
        pause_polls(sub, now, pause > 1000 ? 1000 : pause, &sub->quick);
    } else {
        sub->quick = 0;
        sub->next_at = 0;
    }
    want_fewer(s, sub, 1);
    pthread_mutex_lock(&s->lock);
    sub->empty_at = now;
    pthread_mutex_unlock(&s->lock);
}

/* Under the lock. Not while acknowledgements lag behind: what they wait for is the same endpoint. */
static void want_more(const xo_http_source *s, xo_http_sub *sub, size_t count)
{
    if (count >= (size_t)s->batch && sub->target < s->polls && s->unacked <= 4 * (size_t)sub->target * count)
        sub->target++;
}

static void came(xo_http_source *s, xo_http_poll *p, xonce_message *list, size_t count)
{
    size_t bytes = 0;
    int64_t boot = xo_boot_ms();
    xo_http_list l;
    xo_http_list_init(&l);
    for (xonce_message *m = list, *next; m; m = next) {
        next = m->next;
        m->ordered = p->sub->ordered;
        m->polled_boot = boot;
        bytes += m->body_len;
        xo_http_list_append(&l, m);
    }
    s->body_average = (s->body_average * 7 + bytes / count + 7) / 8;
    p->sub->quick = 0;
    p->sub->next_at = 0;
    pthread_mutex_lock(&s->lock);
    want_more(s, p->sub, count);
    if (s->stopping) {
        pthread_mutex_unlock(&s->lock);
        xo_http_list_free(&l);
        return;
    }
    *s->buffer.last = l.first;
    s->buffer.last = l.last;
    s->buffer.n += l.n;
    s->bytes += bytes;
    pthread_cond_signal(&s->ready);
    pthread_mutex_unlock(&s->lock);
}

/* *empty: it was a quick one that brought nothing. */
static xonce_status answered(xo_http_source *s, xo_http_poll *p, unsigned *empty)
{
    const xo_http_call *c = &p->call;
    xonce_message *list = NULL;
    size_t count = 0;
    char code[64];
    xonce_status st;
    if (c->status >= 200 && c->status < 300) {
        st = xo_xml_read_messages(&list, &count, p->sub->topic, c->answer.p ? c->answer.p : "", c->answer.len,
                                  c->date_ms);
        if (st)
            return xo_error_context("%s: %s", p->sub->what, s->endpoint.base);
        *empty = p->quick && !count ? 1 : 0;
        if (count)
            came(s, p, list, count);
        else
            came_empty(s, p);
        return XONCE_OK;
    }
    st = xo_http_error(c, p->sub->what, code);
    if (strcmp(code, "MessageNotExist"))
        return st;
    *empty = p->quick ? 1 : 0;
    came_empty(s, p);
    return XONCE_OK;
}

void xo_http_poll_done(xo_http_source *s, xo_http_poll *p, CURLcode rc)
{
    unsigned empty = 0;
    ended(s, p);
    pthread_mutex_lock(&s->lock);
    s->counts.polls++;
    pthread_mutex_unlock(&s->lock);
    xonce_status st = xo_http_finish(&p->call, rc);
    if (st)
        xo_error_context("%s", p->sub->what);
    else
        st = answered(s, p, &empty);
    if (st) {
        failed(s, p);
    } else {
        p->sub->failures = empty ? p->sub->failures : 0; /* where only these are answered, pauses grow all the same */
        pthread_mutex_lock(&s->lock);
        s->counts.answers += !empty;
        s->counts.heard += empty;
        pthread_mutex_unlock(&s->lock);
    }
    if (p->call.answer.cap > 1024 * 1024) /* a rare large answer must not stay for ever */
        xo_buf_free(&p->call.answer);
}
