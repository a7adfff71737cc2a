/* What comes in: answers go to who waits for them, requests of the other side to the user. */
#include "base/log.h"
#include "base/mem.h"
#include "remoting/io.h"
#include <string.h>

static void owe(xo_conn *c, int32_t opaque)
{
    int32_t *owed = xo_grow(c->owed, &c->cap_owed, c->nowed + 1, sizeof(*owed));
    if (!owed || c->nowed >= XO_OWED_MAX) {
        c->owed = owed ? owed : c->owed;
        return; /* its answer will not be sent: the other side waits in vain, as it does for a client that is gone */
    }
    c->owed = owed;
    c->owed[c->nowed++] = opaque;
}

int xo_conn_paid(xo_conn *c, int32_t opaque)
{
    for (size_t i = 0; i < c->nowed; i++) {
        if (c->owed[i] == opaque) {
            memmove(&c->owed[i], &c->owed[i + 1], (c->nowed - i - 1) * sizeof(*c->owed));
            c->nowed--;
            return 1;
        }
    }
    return 0;
}

static void on_answer(xo_conn *c, xo_command *answer)
{
    xo_item *i = xo_waits_find(&c->r->waits, c, answer->opaque);
    if (answer->code == XO_RMQ_GO_AWAY) {
        xo_log(XO_INFO, "rocketmq", "%s is going away: the next request makes a new connection", c->address);
        xo_conn_drain(c);
    }
    if (i) { /* else its time was up before */
        xo_conn_forget(c, i);
        xo_item_end(c->r, i, XONCE_OK, answer);
    }
}

static void on_request(xo_conn *c, xo_command *request)
{
    int oneway = request->flag & XO_FLAG_ONEWAY;
    if (!oneway) {
        owe(c, request->opaque);
    }
    if (c->r->events.request) {
        c->r->events.request(c->r->self, c->address, request);
    } else if (!oneway) {
        xo_remoting_reply(c->r, c->address, request->opaque, XO_RMQ_NOT_SUPPORTED, "this client takes no requests", NULL);
    }
}

int xo_conn_frame(xo_conn *c, char *frame, size_t n)
{
    xo_command in;
    if (xo_command_decode(&in, frame, n)) {
        (void)xo_error_context("%s", c->address);
        xo_conn_end(c, 0);
        return -1;
    }
    c->heard = 1;
    if (c->peer) {
        c->peer->failures = 0;
    }
    if (in.flag & XO_FLAG_RESPONSE) {
        on_answer(c, &in);
    } else {
        on_request(c, &in);
    }
    xo_command_free(&in);
    return 0;
}
