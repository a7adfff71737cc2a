/* Sending and declaring from inside the endpoint's own process. */
#include "endpoint/inside.h"
#include "base/buf.h"
#include "base/text.h"
#include "endpoint/request.h"
#include "proto/properties.h"
#include <stdlib.h>
#include <string.h>

int xo_kind_read(const char *text, xo_kind *kind)
{
    static const char *const kinds[] = {[XO_KIND_ANY] = "", [XO_KIND_ORDERED] = "ordered", [XO_KIND_TIMED] = "timed", [XO_KIND_TRANSACTION] = "transaction"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i], text) == 0) {
            *kind = (xo_kind)i;
            return 1;
        }
    return 0;
}

xonce_status xo_inside_topic(xo_endpoint *ep, const char *name, xo_kind kind)
{
    xo_engine_lock(ep->engine);
    xo_topic *t = xo_topic_declare(ep->engine, name, kind);
    xo_engine_unlock(ep->engine);
    return t ? XONCE_OK : xo_nomem();
}

typedef struct {
    xo_wait wait;
    int done, ok;
} sent;

static void on_written(xo_wait *w, int ok)
{
    sent *s = XO_OF(sent, wait, w);
    s->done = 1;
    s->ok = ok;
}

/* The endpoint is not stopped while somebody sends, so the writer does answer. */
static xonce_status write_it(xo_engine *e, xo_send *send, sent *waiter, const char *topic)
{
    xo_engine_lock(e);
    send->topic = xo_topic_find(e, topic);
    if (!send->topic)
        send->topic = xo_topic_declare(e, topic, XO_KIND_ANY);
    int fits = send->topic && xo_send_fits(send, send->topic->kind), begun = fits && xo_send_begin(send) == 0;
    while (begun && !waiter->done)
        pthread_cond_wait(&e->written, &e->lock);
    xo_engine_unlock(e);
    if (send->topic && !fits)
        return xo_fail(XONCE_E_INVALID, "topic %s is of a kind that does not take such a message", topic);
    if (!begun)
        return xo_nomem();
    return waiter->ok ? XONCE_OK : xo_fail(XONCE_E_SQL, "the message for topic %s could not be stored in the endpoint's folder: is its disk full?", topic);
}

xonce_status xo_inside_send(xo_endpoint *ep, const xonce_message *m, char id[33])
{
    sent waiter = {.wait.wake = on_written};
    xo_send send = {.wait = &waiter.wait};
    xo_buf properties = {0};
    const char *at = xonce_message_property(m, "__STARTDELIVERTIME"), *shard = xonce_message_property(m, "__SHARDINGKEY");
    xonce_status st = xo_check_http_message(m);
    if (st == XONCE_OK && xonce_message_property(m, "__TransCheckT"))
        st = xo_fail(XONCE_E_INVALID, "a half message (property __TransCheckT) needs a producer: xonce_producer_send_transaction()");
    if (st == XONCE_OK)
        st = xo_properties_write(&properties, m);
    if (st != XONCE_OK) {
        xo_buf_free(&properties);
        return st;
    }
    size_t len;
    char *body = (char *)(uintptr_t)xonce_message_body(m, &len), *copy = xo_memdup0(body, len), *tag = xo_strdup(xonce_message_tag(m));
    if (at)
        (void)xo_whole_number(at, &send.deliver_at); /* it was checked to be one */
    if (shard && *shard)
        send.shard = xo_hash(shard, strlen(shard));
    send.tag = tag && *tag ? tag : NULL;
    send.properties = properties.len ? properties.p : NULL;
    send.body = copy;
    send.body_len = len;
    st = copy && tag ? write_it(ep->engine, &send, &waiter, xonce_message_topic(m)) : xo_nomem();
    if (st == XONCE_OK)
        xo_hex(id, send.id, sizeof send.id, 1);
    free(copy);
    free(tag);
    xo_buf_free(&properties);
    return st;
}
