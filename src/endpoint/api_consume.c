/* Taking messages: ranges, filter, the long poll, and whether anybody still waits for it. */
#include "endpoint/request.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum { WAIT_MAX_S = 30 };

static int gone(xo_poll *p)
{
    xo_request *r = XO_OF(xo_request, poll, p);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!info)
        return 1;
    struct pollfd fd = {.fd = info->connect_fd, .events = 0};
#ifdef POLLRDHUP
    fd.events = POLLRDHUP; /* also when unread bytes (TLS's goodbye) stand before the end */
#endif
    if (poll(&fd, 1, 0) > 0)
        return 1;
    char byte;
    ssize_t n = recv(fd.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

static void wake(xo_poll *p)
{
    xo_request_wake(XO_OF(xo_request, poll, p), XO_POLLED);
}

enum MHD_Result xo_api_consume(xo_request *r, xo_topic *t)
{
    int64_t max, wait = 0;
    if (!r->url.max || !xo_whole_number(r->url.max, &max) || max < 1 || max > XO_POLL_MAX)
        return xo_answer_refusal(r, XO_BAD_RANGE, "numOfMessages", 1LL, (long long)XO_POLL_MAX, "");
    if (r->url.wait && (!xo_whole_number(r->url.wait, &wait) || wait > WAIT_MAX_S)) /* 0 is a short poll */
        return xo_answer_refusal(r, XO_BAD_RANGE, "waitseconds", 1LL, (long long)WAIT_MAX_S, " seconds");
    xo_engine *e = r->ep->engine;
    r->poll.topic = t;
    r->poll.max = (int)max;
    r->poll.ordered = r->url.trans == XO_TRANS_ORDER;
    r->poll.gone = gone;
    r->poll.wake = wake;
    xo_engine_lock(e);
    if (r->url.trans != XO_TRANS_POP)
        r->poll.group = xo_group_get(t, r->url.consumer);
    int ready = -1;
    if (xo_url_tags(r, t) == 0 && (r->url.trans == XO_TRANS_POP || r->poll.group))
        ready = xo_poll_begin(&r->poll, wait * 1000);
    if (ready == 0)
        xo_request_suspend(r);
    xo_engine_serve(e); /* it may have left a duplicate for another poll */
    xo_engine_unlock(e);
    if (ready < 0)
        return xo_answer_refusal(r, XO_INTERNAL_ERROR);
    return ready ? xo_answer_messages(r) : MHD_YES;
}
