/* Transactional messages over HTTP: half message, local transaction, commit or rollback, and the answers to checks. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "producer/http.h"
#include "proto/xml.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_AFTER_S "30"
enum { CHECK_BATCH = 16, FIRST_PAUSE_MS = 500, LONGEST_PAUSE_MS = 30000 };

/* The group that commits: the protocol wants one, and only the checker's is known to be the producer's. NULL: none; the
 * caller frees. */
static char *group_of(xo_http_producer *p, const char *topic, int *known)
{
    char *group = NULL;
    *known = 0;
    pthread_mutex_lock(&p->lock);
    for (const xo_checker *c = p->checkers; c; c = c->next)
        if (!strcmp(c->topic, topic)) {
            *known = 1;
            group = xo_strdup(c->group);
        }
    pthread_mutex_unlock(&p->lock);
    return group;
}

static xonce_status send_half(xo_http_producer *p, const xonce_message *m, xonce_sent *out, char **handle)
{
    xonce_message *copy = NULL;
    xonce_status st = XONCE_OK;
    if (!xonce_message_property(m, "__TransCheckT")) {
        st = xonce_message_copy(&copy, m);
        if (!st)
            st = xonce_message_set_property(copy, "__TransCheckT", CHECK_AFTER_S);
    }
    if (!st)
        st = xo_http_producer_send(p, copy ? copy : m, out, handle);
    xonce_message_free(copy);
    if (!st && !*handle) {
        st = xo_fail(XONCE_E_PROTOCOL, "the endpoint took a half message of %s as a plain one: it is visible already",
                     m->topic);
        xo_error_set_native(0, 0);
    }
    return st;
}

xonce_status xo_http_send_transaction(xonce_producer *base, const xonce_message *m, xonce_transaction_fn execute, void *arg, xonce_sent *out)
{
    xo_http_producer *p = (xo_http_producer *)base;
    int known;
    char *group = group_of(p, m->topic, &known), *handle = NULL;
    if (!known)
        return xo_fail(XONCE_E_INVALID,
                       "xonce_producer_send_transaction: call xonce_producer_on_check() for topic %.100s first: its "
                       "group commits, and its check decides when a commit is lost",
                       m->topic);
    if (!group)
        return xo_nomem();
    xonce_status st = send_half(p, m, out, &handle);
    if (!st) {
        xonce_transaction_state state = execute(m, arg);
        if (state != XONCE_TRANSACTION_UNKNOWN &&
            xo_http_producer_end(p, m->topic, group, handle, state == XONCE_TRANSACTION_COMMIT))
            xo_log(XO_WARN, "producer", "%s; the check decides", xonce_error_last()->text);
    }
    free(handle);
    free(group);
    return st;
}

/* ---- the checker ---- */

static int closing(xo_http_producer *p)
{
    pthread_mutex_lock(&p->lock);
    int yes = p->closing;
    pthread_mutex_unlock(&p->lock);
    return yes;
}

/* A blocking call that close() can end: XONCE_E_CLOSED then. */
static xonce_status perform(xo_checker *k)
{
    xo_http_call *c = &k->call;
    if (curl_multi_add_handle(k->multi, c->easy) != CURLM_OK)
        return xo_nomem();
    int running = 1;
    CURLcode rc = CURLE_ABORTED_BY_CALLBACK;
    while (running && !closing(k->producer)) {
        curl_multi_perform(k->multi, &running);
        if (running)
            curl_multi_poll(k->multi, NULL, 0, 1000, NULL);
    }
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(k->multi, &left));)
        if (m->msg == CURLMSG_DONE)
            rc = m->data.result;
    curl_multi_remove_handle(k->multi, c->easy);
    return running ? xo_fail(XONCE_E_CLOSED, "the producer is closing") : xo_http_finish(c, rc);
}

/* Half messages to be asked about; none is fine. */
static xonce_status fetch(xo_checker *k, const char *target, xonce_message **list)
{
    xo_http_call *c = &k->call;
    char code[64];
    size_t n;
    *list = NULL;
    xo_buf_reset(&c->request);
    xonce_status st =
        xo_http_prepare(c, &k->producer->endpoint, "GET", target, k->producer->wait_s * 1000 + k->producer->ack_ms);
    if (!st)
        st = perform(k);
    if (st)
        return st;
    if (c->status >= 200 && c->status < 300)
        return xo_xml_read_messages(list, &n, k->topic, c->answer.p ? c->answer.p : "", c->answer.len, c->date_ms);
    st = xo_http_error(c, "fetching half messages", code);
    return strcmp(code, "MessageNotExist") ? st : XONCE_OK;
}

static void ask(xo_checker *k, xonce_message *list)
{
    for (xonce_message *m = list, *next; m; m = next) {
        next = m->next;
        if (!closing(k->producer)) {
            xonce_transaction_state state = k->check(m, k->arg);
            if (state != XONCE_TRANSACTION_UNKNOWN &&
                xo_http_producer_end(k->producer, k->topic, k->group, m->handle, state == XONCE_TRANSACTION_COMMIT))
                xo_log(XO_WARN, "producer", "%s; it will be asked again", xonce_error_last()->text);
        }
        xonce_message_free(m);
    }
}

/* Waits, but not beyond a close. */
static void pause_for(xo_checker *k, int64_t ms)
{
    for (int64_t until = xo_mono_ms() + ms, left; (left = until - xo_mono_ms()) > 0 && !closing(k->producer);)
        curl_multi_poll(k->multi, NULL, 0, (int)left, NULL);
}

static void *check_loop(void *arg)
{
    xo_checker *k = arg;
    xo_buf target = {0};
    int64_t pause = FIRST_PAUSE_MS;
    xonce_status st = xo_http_target(&target, &k->producer->endpoint, k->topic, k->group);
    xo_buf_printf(&target, "&numOfMessages=%d&trans=pop", CHECK_BATCH);
    if (k->producer->wait_s > 0)
        xo_buf_printf(&target, "&waitseconds=%lld", (long long)k->producer->wait_s);
    if (!st)
        st = xo_buf_status(&target);
    if (st)
        xo_log(XO_ERROR, "producer", "the check of %s ends: %s", k->topic, xonce_error_last()->text);
    while (!st && !closing(k->producer)) {
        xonce_message *list;
        int64_t begun = xo_mono_ms();
        xonce_status got = fetch(k, target.p, &list);
        if (got == XONCE_OK && (list || xo_mono_ms() - begun >= k->producer->wait_s * 500)) {
            pause = FIRST_PAUSE_MS;
            ask(k, list);
            if (k->producer->wait_s > 0)
                continue;
        } else if (got && got != XONCE_E_CLOSED) {
            xo_log(XO_WARN, "producer", "checking half messages of %s: %s", k->topic, xonce_error_last()->text);
        }
        pause_for(k, pause);
        pause = pause * 2 > LONGEST_PAUSE_MS ? LONGEST_PAUSE_MS : pause * 2;
    }
    xo_buf_free(&target);
    return NULL;
}

static void free_checker(xo_checker *k)
{
    if (k->call.easy)
        xo_http_call_free(&k->call);
    if (k->multi)
        curl_multi_cleanup(k->multi);
    free(k->topic);
    free(k->group);
    free(k);
}

static xonce_status start_checker(xo_checker *k)
{
    if (!k->topic || !k->group || xo_http_call_init(&k->call) || !(k->multi = curl_multi_init()))
        return xo_nomem();
    sigset_t all, before;
    xonce_status st = XONCE_OK;
    xo_http_producer *p = k->producer;
    pthread_mutex_lock(&p->lock);
    for (const xo_checker *c = p->checkers; c && !st; c = c->next)
        if (!strcmp(c->topic, k->topic))
            st = xo_fail(XONCE_E_INVALID, "topic %.100s has a check already", k->topic);
    if (!st) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int rc = pthread_create(&k->thread, NULL, check_loop, k);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (rc)
            st = xo_fail(XONCE_E_NOMEM, "cannot start the check's thread: %s", strerror(rc));
    }
    if (!st) {
        k->next = p->checkers;
        p->checkers = k;
    }
    pthread_mutex_unlock(&p->lock);
    return st;
}

xonce_status xo_http_on_check(xonce_producer *base, const char *topic, const char *group, xonce_transaction_fn check, void *arg)
{
    xo_http_producer *p = (xo_http_producer *)base;
    xo_buf target = {0};
    xonce_status st =
        xo_http_target(&target, &p->endpoint, topic, group); /* refuses bad names here, not on the thread */
    xo_buf_free(&target);
    if (st)
        return st;
    xo_checker *k = xo_calloc(1, sizeof *k);
    if (!k)
        return xo_nomem();
    k->producer = p;
    k->check = check;
    k->arg = arg;
    k->topic = xo_strdup(topic);
    k->group = xo_strdup(group);
    st = start_checker(k);
    if (st)
        free_checker(k);
    return st;
}

void xo_http_checkers_stop(xo_http_producer *p)
{
    pthread_mutex_lock(&p->lock);
    p->closing = 1;
    xo_checker *list = p->checkers;
    p->checkers = NULL;
    pthread_mutex_unlock(&p->lock);
    for (xo_checker *k = list; k; k = k->next)
        curl_multi_wakeup(k->multi);
    for (xo_checker *k = list, *next; k; k = next) {
        next = k->next;
        pthread_join(k->thread, NULL);
        free_checker(k);
    }
}
