/* The producer over the HTTP protocol: its own state. */
#ifndef XO_PRODUCER_HTTP_H
#define XO_PRODUCER_HTTP_H
#include "producer/producer.h"
#include "proto/httpclient.h"

typedef struct xo_pooled_call {
    xo_http_call call;
    struct xo_pooled_call *next;
} xo_pooled_call;

typedef struct xo_http_producer xo_http_producer;
typedef struct xo_checker { /* asks what became of the half messages of one topic */
    xo_http_producer *producer;
    char *topic, *group;
    xonce_transaction_fn check;
    void *arg;
    CURLM *multi;
    xo_http_call call;
    pthread_t thread;
    struct xo_checker *next;
} xo_checker;

struct xo_http_producer {
    xonce_producer base;
    xo_http_endpoint endpoint;
    int64_t send_ms, ack_ms, wait_s;
    pthread_mutex_t lock;
    xo_pooled_call *idle; /* last used first: its connection is the warmest */
    xo_checker *checkers;
    int closing;
};

/* http.c */
/* Sends m; *handle gets the half message's handle, NULL when it is none; the caller frees. handle may be NULL. */
xonce_status xo_http_producer_send(xo_http_producer *p, const xonce_message *m, xonce_sent *out, char **handle);
/* commit or rollback of a half message. */
xonce_status xo_http_producer_end(xo_http_producer *p, const char *topic, const char *group, const char *handle, int commit);
/* http_transaction.c */
xonce_status xo_http_send_transaction(xonce_producer *p, const xonce_message *m, xonce_transaction_fn execute, void *arg, xonce_sent *out);
xonce_status xo_http_on_check(xonce_producer *p, const char *topic, const char *group, xonce_transaction_fn check, void *arg);
void xo_http_checkers_stop(xo_http_producer *p);
#endif
