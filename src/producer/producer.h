/* The producer's own state. */
#ifndef XO_PRODUCER_H
#define XO_PRODUCER_H
#include "message/message.h"
#include "proto/httpclient.h"
#include <pthread.h>

typedef struct xo_pooled_call {
    xo_http_call call;
    struct xo_pooled_call *next;
} xo_pooled_call;

typedef struct xo_checker { /* asks what became of the half messages of one topic */
    xonce_producer *producer;
    char *topic, *group;
    xonce_transaction_fn check;
    void *arg;
    CURLM *multi;
    xo_http_call call;
    pthread_t thread;
    struct xo_checker *next;
} xo_checker;

struct xonce_producer {
    xo_http_endpoint endpoint;
    int64_t timeout_ms, wait_s;
    pthread_mutex_t lock;
    xo_pooled_call *idle; /* last used first: its connection is the warmest */
    xo_checker *checkers;
    int closing;
};

/* http.c */
/* Sends m; *handle gets the half message's handle, NULL when it is none; the caller frees. handle may be NULL. */
xonce_status xo_producer_send(xonce_producer *p, const xonce_message *m, xonce_sent *out, char **handle);
/* commit or rollback of a half message. */
xonce_status xo_producer_end(xonce_producer *p, const char *topic, const char *group, const char *handle, int commit);
/* One way for all calls of the pool: NULL on no memory, with the error set. */
xo_pooled_call *xo_producer_take(xonce_producer *p);
void xo_producer_give(xonce_producer *p, xo_pooled_call *c);
/* transaction.c */
void xo_checkers_stop(xonce_producer *p);
#endif
