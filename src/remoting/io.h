/* The inside of remoting. What is marked "shared" is guarded by r->lock; all else belongs to the I/O thread, which therefore needs no locks. */
#ifndef XO_REMOTING_IO_H
#define XO_REMOTING_IO_H
#include "base/credentials.h"
#include "remoting/remoting.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

enum { XO_ADDRESS_SIZE = 280, XO_HOST_SIZE = 264 };
enum { XO_WAITING_MAX = 64 << 20 };  /* bytes that wait to be written, of one address */
enum { XO_BACKOFF_FIRST = 100, XO_BACKOFF_MAX = 10000 };
enum { XO_IDLE_MS = 110000 };        /* a little less than the 120 s of the servers, so that they do not close what is just being written to */
enum { XO_SILENCE_MS = 10000 };      /* a request's time is up and nothing at all came for so long: the connection is dead */
enum { XO_DRAIN_MS = 30000 };        /* how long a connection lives after GO_AWAY for what is pending */
enum { XO_LINGER_MS = 500 };         /* at close, for oneway requests that are not written yet */
enum { XO_OWED_MAX = 4096 };         /* requests of the other side without an answer yet */

typedef struct xo_conn xo_conn;
typedef struct xo_lookup xo_lookup;

/* Something to send, from the call of the user's to its answer. In the inbox, then in a connection's write queue (queued) and, a request, among those that wait for an answer (waiting);
   freed when in none of them. */
typedef struct xo_item {
    struct xo_item *next, *prev;          /* inbox or write queue */
    struct xo_item *wait_next, *wait_prev; /* of its connection's */
    struct xo_item *chain;                /* of its place in the table */
    enum { XO_ITEM_REQUEST, XO_ITEM_ONEWAY, XO_ITEM_REPLY, XO_ITEM_DISCONNECT } kind;
    char address[XO_ADDRESS_SIZE];
    char *frame;
    size_t len, at;
    int started, queued, waiting;
    int reserved;                         /* one of r->reserve */
    int32_t opaque, code;
    xo_answer_fn fn;
    void *arg;
    int64_t timeout, deadline;            /* monotonic */
    xo_conn *conn;
    size_t place;                         /* in the heap */
    xo_error *why;                        /* it failed before it got here */
    int failed;
} xo_item;

/* Requests that wait for an answer: by deadline (a heap) and by opaque (a table). */
typedef struct {
    xo_item **heap;
    size_t n, cap;
    xo_item **table;
    size_t size;                          /* a power of two, or 0 */
} xo_waits;
int xo_waits_add(xo_waits *w, xo_item *i); /* -1: no memory */
void xo_waits_remove(xo_waits *w, xo_item *i);
xo_item *xo_waits_find(const xo_waits *w, const xo_conn *c, int32_t opaque);
void xo_waits_free(xo_waits *w);

/* An address we were asked to send to. */
typedef struct xo_peer {
    struct xo_peer *next;                 /* shared; changed by the I/O thread only */
    char address[XO_ADDRESS_SIZE];
    xo_conn *conn;                        /* NULL: none */
    int failures;
    int64_t until;                        /* shared: backing off until then (monotonic); 0 = not */
    xo_error cause;                       /* shared: why */
    atomic_size_t unsent;                 /* bytes in the write queue */
    int64_t used;
} xo_peer;

typedef enum { XO_CONN_RESOLVING, XO_CONN_CONNECTING, XO_CONN_HANDSHAKE, XO_CONN_OPEN, XO_CONN_DEAD } xo_conn_state;
struct xo_conn {
    xo_conn *next;
    xo_remoting *r;
    xo_peer *peer;                        /* NULL: it drains, another one may have taken its place */
    char address[XO_ADDRESS_SIZE], host[XO_HOST_SIZE], port[8];
    xo_conn_state state;
    int fd;
    void *ssl;
    int ssl_wants_write, write_blocked;
    xo_lookup *lookup;
    struct addrinfo *found, *trying;
    char tried[160];                      /* the last failure of one of several addresses */
    int64_t deadline, attempt_deadline;   /* of connecting: all of it, this address */
    int64_t opened, used, heard_at, asked_at, drain_until; /* asked_at: of the first request after heard_at, 0 = none */
    int heard;                            /* a whole frame came */
    xo_item *first, *last, *waiting;
    size_t nwaiting;
    unsigned char head[4];
    size_t nhead, need, have;
    char *frame;
    int32_t *owed;
    size_t nowed, cap_owed;
};

struct xo_remoting {
    xo_remoting_events events;
    void *self;
    xo_credentials credentials;
    char *ons_channel;
    int64_t connect_ms;
    _Atomic int64_t idle_ms, silence_ms;
    void *tls;                            /* SSL_CTX, NULL: plain */
    int tls_verify;
    pthread_t thread;
    int wake[2];
    atomic_int opaque;

    pthread_mutex_t lock;
    xo_item *inbox, **inbox_end;          /* shared */
    size_t inbox_bytes;                   /* shared */
    int woken, stop, closed;              /* shared */
    xo_peer *peers;                       /* shared */
    xo_item reserve[64], *spare;          /* shared: items for when there is no memory, so that each request gets its end */

    int stopping;
    xo_conn *conns;
    xo_waits waits;
    int64_t now;                          /* monotonic, of this round */
    char *scratch;
};
enum { XO_SCRATCH = 256 << 10 };

/* ---- remoting.c */
void xo_item_free(xo_remoting *r, xo_item *i);
void xo_remoting_wake(void *r);
int xo_remoting_inside(const xo_remoting *r);               /* is this the I/O thread? It must not wait for an answer. */
/* Calls its function with the thread's error (st) or an answer; the item is then no more, unless it is queued. */
void xo_item_end(xo_remoting *r, xo_item *i, xonce_status st, xo_command *answer);
/* "host:port" or "[v6]:port". XONCE_E_INVALID. */
xonce_status xo_address_split(const char *address, char host[XO_HOST_SIZE], char port[8]);
/* For tests: how long a connection may be idle, and how long silent while requests run out of time. */
void xo_remoting_tune(xo_remoting *r, int64_t idle_ms, int64_t silence_ms);

/* ---- loop.c */
void *xo_remoting_main(void *r);

/* ---- connection.c */
xo_conn *xo_conn_new(xo_remoting *r, xo_peer *p);           /* NULL: the error is set */
void xo_conn_queue(xo_conn *c, xo_item *i);                 /* appends to the write queue */
void xo_conn_unqueue(xo_conn *c, xo_item *i);
short xo_conn_events(const xo_conn *c);                     /* for poll() */
void xo_conn_ready(xo_conn *c, short events);
void xo_conn_resolved(xo_conn *c);                          /* looks whether the name's addresses are there */
void xo_conn_write(xo_conn *c);
void xo_conn_overdue(xo_conn *c);                           /* attempt_deadline has passed */
/* Ends it with the thread's error: what waits fails with it. clean: nobody's fault, no back-off. */
void xo_conn_end(xo_conn *c, int clean);
void xo_conn_forget(xo_conn *c, xo_item *i);                /* it waits for no answer any more */
void xo_conn_fail_all(xo_conn *c, const xo_error *why);     /* what waits */
void xo_conn_drain(xo_conn *c);                             /* nothing new goes over it */
void xo_conn_free(xo_conn *c);
/* dispatch.c: a whole frame came (taken). 0: go on; -1: the connection was ended. */
int xo_conn_frame(xo_conn *c, char *frame, size_t n);
int xo_conn_paid(xo_conn *c, int32_t opaque);               /* an answer to this request goes out. 0: none is due */

/* ---- resolve.c: name lookups, on threads of their own. */
xonce_status xo_lookup_start(xo_lookup **out, const char *host, const char *port, void (*done)(void *arg), void *arg);
/* 1: it ended; *found (the caller's, freeaddrinfo) or, NULL, the error is set. 0: not yet. */
int xo_lookup_done(xo_lookup *l, struct addrinfo **found);
void xo_lookup_free(xo_lookup *l);                          /* also while it runs: done is not called any more */
struct addrinfo *xo_lookup_numeric(const char *host, const char *port); /* NULL: host is a name */

/* ---- tls.c */
xonce_status xo_tls_open(xo_remoting *r, const xonce_config *cfg);
void xo_tls_close(xo_remoting *r);
xonce_status xo_tls_start(xo_conn *c);
/* 1: done, 0: go on when the socket is ready, -1: the error is set. */
int xo_tls_handshake(xo_conn *c);
/* As recv() and send(): bytes, 0 = end of it (read), -1 = wait, -2 = failed, the error is set. */
long xo_tls_read(xo_conn *c, void *p, size_t n);
long xo_tls_write(xo_conn *c, const void *p, size_t n);
int xo_tls_pending(const xo_conn *c);
void xo_tls_end(xo_conn *c);
#endif
