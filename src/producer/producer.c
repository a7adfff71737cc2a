/* The public functions of the producer. */
#include "producer/producer.h"
#include "base/config.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

xonce_status xonce_producer_open(xonce_producer **out, const char *uri, const xonce_config *cfg)
{
    if (!out || !uri)
        return xo_fail(XONCE_E_INVALID, "xonce_producer_open: out and uri must not be NULL");
    *out = NULL;
    xonce_producer *p = xo_calloc(1, sizeof *p);
    if (!p)
        return xo_nomem();
    p->timeout_ms = xo_config_int(cfg, "http.timeout");
    p->wait_s = xo_config_int(cfg, "http.wait") / 1000;
    pthread_mutex_init(&p->lock, NULL);
    xonce_status st = xo_http_endpoint_open(&p->endpoint, uri, cfg);
    if (st) {
        xonce_producer_close(p);
        return st;
    }
    *out = p;
    return XONCE_OK;
}

xonce_status xonce_producer_send(xonce_producer *p, const xonce_message *m, xonce_sent *out)
{
    if (!p || !m)
        return xo_fail(XONCE_E_INVALID, "xonce_producer_send: producer and message must not be NULL");
    return xo_producer_send(p, m, out, NULL);
}

void xonce_producer_close(xonce_producer *p)
{
    if (!p)
        return;
    xo_checkers_stop(p);
    for (xo_pooled_call *c = p->idle, *next; c; c = next) {
        next = c->next;
        xo_http_call_free(&c->call);
        free(c);
    }
    pthread_mutex_destroy(&p->lock);
    xo_http_endpoint_close(&p->endpoint);
    free(p);
}
