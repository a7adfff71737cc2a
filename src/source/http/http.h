/* The HTTP source's own state: one I/O thread drives all polls and acknowledgements, the others only touch what the
 * lock guards. */
#ifndef XO_SOURCE_HTTP_H
#define XO_SOURCE_HTTP_H
#include "proto/httpclient.h"
#include "source/source.h"
#include <poll.h>
#include <pthread.h>

enum { XO_ACK_MAX = 16, XO_ACK_SLOTS = 32, XO_POLLS_LEAST = 2 };
typedef struct xo_http_sub xo_http_sub;

typedef struct { /* a message list by ->next */
    xonce_message *first, **last;
    size_t n;
} xo_http_list;

typedef struct { /* one long poll; the I/O thread's */
    xo_http_call call;
    xo_http_sub *sub;
    int running;
    int quick;       /* it does not wait: to see whether the endpoint is there */
    size_t asked;    /* messages it may bring */
    int64_t started; /* monotonic */
} xo_http_poll;

typedef struct { /* one acknowledging request; the I/O thread's */
    xo_http_call call;
    xo_http_sub *sub;
    int running;
    xo_http_list list;
    int64_t began_us;
} xo_http_ack;

struct xo_http_sub {
    char *topic, *what; /* what: "consuming TOPIC as GROUP", for errors */
    char *poll_target, *ack_target;
    int ordered;
    /* the I/O thread's */
    xo_http_poll *polls;
    int running, target; /* polls in flight; how many there should be: more while they come back full, fewer while empty */
    int64_t next_at;     /* monotonic; no poll is started before */
    int failures, quick; /* in a row: failed; came back empty long before their time */
    int known;           /* the endpoint has answered since the last failure: a long poll that hears nothing need not say so */
    /* under the lock */
    xo_http_list acks; /* settled, not sent */
    int64_t acks_due, acks_not_before;
    int ack_failures;
    int64_t empty_at; /* when a poll last came back empty; -1 */
    int held;         /* by the consumer: no more polls */
};

typedef struct {
    xonce_source base;
    xo_http_endpoint endpoint;
    /* configuration */
    int polls, batch; /* polls: the most of a subscription */
    int64_t wait_s, linger_ms, timeout_ms;
    size_t max_messages, max_bytes;
    xo_http_sub **subs;
    size_t nsubs, cap_subs;
    /* the I/O thread's */
    CURLM *multi;
    struct pollfd *fds; /* [0] is the pipe's, the others are curl's */
    size_t nfds, cap_fds;
    int64_t curl_at; /* monotonic: when curl has a timer; -1: it has none */
    int wake[2];     /* a pipe; -1: not open */
    pthread_t thread;
    int started, slots; /* slots: the polls that a subscription has memory for */
    xo_http_ack acks[XO_ACK_SLOTS];
    size_t asked; /* by all running polls */
    size_t turn;  /* whose polls start first */
    size_t body_average;
    /* under the lock */
    pthread_mutex_t lock;
    pthread_cond_t ready, settled;
    xo_http_list buffer;
    size_t bytes;   /* of bodies in memory: buffered, out, not acknowledged */
    size_t out;     /* handed to the consumer, not settled */
    size_t unacked; /* settled, acknowledgement not answered */
    size_t window,
        least_window; /* how many messages may be buffered: grows while the consumer waits, shrinks while messages do */
    int held;         /* a poll is held back for want of room */
    int poked, woken, stopping, quit;
    int failed;
    xo_error permanent, transient;
    uint64_t ntransient;
    int64_t reported_at;
    xo_source_counts counts;
} xo_http_source;

static inline void xo_http_list_init(xo_http_list *l)
{
    l->first = NULL;
    l->last = &l->first;
    l->n = 0;
}
static inline void xo_http_list_append(xo_http_list *l, xonce_message *m)
{
    m->next = NULL;
    *l->last = m;
    l->last = &m->next;
    l->n++;
}
xonce_message *xo_http_list_take(xo_http_list *l); /* NULL when empty */
void xo_http_list_free(xo_http_list *l);

/* loop.c */
void *xo_http_loop(void *source);
xonce_status xo_http_loop_open(xo_http_source *s); /* what the thread needs, and what wakes it */
void xo_http_loop_close(xo_http_source *s);        /* after the thread; fine when it was not opened */
/* Under the lock: 1 when the I/O thread must be woken, by xo_http_wake() after the lock is given back. */
int xo_http_poke(xo_http_source *s);
void xo_http_wake(xo_http_source *s);
/* Keeps the thread's last error, for poll() to report; permanent ones end the polling. Not under the lock. */
void xo_http_report(xo_http_source *s);
/* Pause before try number failures + 1: 100 ms doubling to 30 s, with jitter. */
int64_t xo_http_backoff(int failures);

/* polls.c, acks.c: on the I/O thread. start: what can be started now; lowers *next to when there may be more. */
void xo_http_start_polls(xo_http_source *s, int64_t now, int64_t *next);
void xo_http_poll_done(xo_http_source *s, xo_http_poll *p, CURLcode rc);
void xo_http_cancel_polls(xo_http_source *s);
void xo_http_start_acks(xo_http_source *s, int64_t now, int64_t *next);
void xo_http_ack_done(xo_http_source *s, xo_http_ack *a, CURLcode rc);
void xo_http_cancel_acks(xo_http_source *s);
#endif
