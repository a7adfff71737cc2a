/* A local endpoint of the RocketMQ HTTP protocol, for tests and demos: `xonce serve`. */
#ifndef XO_ENDPOINT_H
#define XO_ENDPOINT_H
#include "base/buf.h"
#include "endpoint/faults.h"
#include "proto/sign.h"
typedef struct xo_endpoint xo_endpoint;
typedef struct {
    const char *listen;               /* "127.0.0.1:8080", "[::1]:0"; port 0: any free one */
    const char *data;                 /* folder of the queues, made when missing */
    const char *instance;             /* "" for none */
    int64_t redeliver_ms;             /* 0: 5 min, ordered 1 min */
    const char *tls_cert, *tls_key;   /* PEM files; both or none */
    const char *const *topics;        /* "NAME" or "NAME:KIND" */
    size_t ntopics;
    int strict;                       /* no topics but those and earlier ones */
    int sync;                         /* fsync each commit */
    const xo_credentials *credentials; /* NULL: signatures are not checked */
    xo_faults faults;
} xo_endpoint_options; /* all is copied or read at the start */
xonce_status xo_endpoint_start(xo_endpoint **out, const xo_endpoint_options *o);
const char *xo_endpoint_url(const xo_endpoint *ep); /* "http://127.0.0.1:40123" */
struct xo_engine *xo_endpoint_engine(xo_endpoint *ep);           /* its queues */
void xo_endpoint_set_faults(xo_endpoint *ep, const xo_faults *f); /* from now on these; any thread */
const char *xo_endpoint_page(const xo_endpoint *ep); /* the address of its page for browsers; with a token when signatures are checked */
void xo_endpoint_stats(xo_endpoint *ep, xo_buf *out); /* one line */
void xo_endpoint_stop(xo_endpoint *ep);               /* answers what waits, then stops; NULL is fine */
#endif
