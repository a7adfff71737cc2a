/* The producer as its transports see it: what each of them does, and what they share. */
#ifndef XO_PRODUCER_H
#define XO_PRODUCER_H
#include "message/message.h"
#include "producer/work.h"
#include <pthread.h>

/* An asynchronous send: from when it was accepted to when its function was called. */
typedef struct {
    xonce_producer *producer;
    size_t bytes;
    xonce_sent_fn done;
    void *arg;
} xo_async;
/* What a transport does; a NULL function is refused with the text in no_... */
typedef struct {
    void (*close)(xonce_producer *p); /* nothing is in flight any more */
    /* Can the message be carried at all? */
    xonce_status (*check)(xonce_producer *p, const xonce_message *m);
    xonce_status (*send)(xonce_producer *p, const xonce_message *m, xonce_sent *out);
    /* Takes what it needs of m; xo_async_end() follows, once, when it returns XONCE_OK. */
    xonce_status (*send_async)(xonce_producer *p, const xonce_message *m, const xo_async *a);
    xonce_status (*send_oneway)(xonce_producer *p, const xonce_message *m);
    xonce_status (*send_batch)(xonce_producer *p, const xonce_message *const *m, size_t n, xonce_sent *out);
    const char *no_oneway, *no_batch;
    xonce_status (*send_transaction)(xonce_producer *p, const xonce_message *m, xonce_transaction_fn execute, void *arg, xonce_sent *out);
    xonce_status (*on_check)(xonce_producer *p, const char *topic, const char *group, xonce_transaction_fn check, void *arg);
    /* Sets the properties by which m is delivered after delay_ms, or at at_ms (the other is -1), in the form that the other side honours; INVALID when it honours none. May ask it. */
    xonce_status (*later)(xonce_producer *p, xonce_message *m, int64_t delay_ms, int64_t at_ms);
    /* May m share a batch with others? */
    int (*batchable)(xonce_producer *p, const xonce_message *m);
    /* The thread's last error says: nothing was taken, it is too much at once. */
    int (*busy)(void);
} xo_producer_ops;
struct xonce_producer {
    const xo_producer_ops *ops;
    int64_t timeout_ms;     /* send.timeout */
    pthread_mutex_t lock;
    pthread_cond_t room;    /* for asynchronous sends */
    size_t sends, bytes;    /* of them in flight */
    int closing;
    xo_work work;           /* calls the functions of asynchronous sends */
};
enum { XO_ASYNC_SENDS = 1024, XO_ASYNC_BYTES = 64 << 20 };

/* Fills in what the transports share; work runs on at most so many threads. */
xonce_status xo_producer_init(xonce_producer *p, const xo_producer_ops *ops, const xonce_config *cfg, size_t threads);
/* Frees what xo_producer_init() made: the last step of close. */
void xo_producer_free(xonce_producer *p);
extern const xo_producer_ops xo_http_ops;
xonce_status xo_producer_http_open(xonce_producer **out, const char *uri, const xonce_config *cfg);
xonce_status xo_producer_rocketmq_open(xonce_producer **out, const char *uri, const xonce_config *cfg);
/* Calls the function with the thread's error when st is not XONCE_OK, and lets the next one in. */
void xo_async_end(const xo_async *a, xonce_status st, const xonce_sent *sent);
/* Writes no more than the caller's struct has. out may be NULL. */
void xo_sent_fill(xonce_sent *out, const char *id, const char *broker, int32_t queue, int64_t offset);

/* ---- for the program: the transport's own answers to what its options ask. p of the first two may be NULL: over HTTP nothing needs to be asked. */
xonce_status xo_producer_check(xonce_producer *p, const xonce_message *m);
xonce_status xo_producer_later(xonce_producer *p, xonce_message *m, int64_t delay_ms, int64_t at_ms);
int xo_producer_batchable(xonce_producer *p, const xonce_message *m);
int xo_producer_busy(const xonce_producer *p);
#endif
