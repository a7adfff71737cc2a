/* One HTTP request at the endpoint, from its first line to its answer. */
#ifndef XO_REQUEST_H
#define XO_REQUEST_H
#include "endpoint/endpoint.h"
#include "endpoint/engine.h"
#include "proto/xml.h"
#include <jansson.h>
#include <microhttpd.h>
#include <stdatomic.h>

enum { XO_REQUEST_BODY_MAX = 32 * 1024 * 1024, XO_REQUEST_DRAIN_MAX = 256 * 1024 * 1024 };

struct xo_endpoint {
    struct MHD_Daemon *daemon;
    xo_engine *engine;
    char *url, *instance, *data, *cert, *key;
    int strict, secure, listen_fd;
    atomic_int stopping;           /* requests that begin now are turned away */
    int64_t started;               /* wall clock */
    char *page_policy, *page_url, *page_token; /* of the page for browsers; no token: everybody may look */
    xo_credentials credentials;
    int check;                     /* signatures are checked */
    xo_faults faults;              /* written with both locks held, read with either */
    xo_link delayed;               /* with the engine's lock */
    pthread_mutex_t lock;          /* of what is below */
    pthread_cond_t idle;           /* a request or a connection has ended */
    xo_link connections;           /* all that are open */
    int ending;                    /* and none shall be */
    int64_t running, requests, errors_made, cuts_made;
};

/* The codes of the protocol. */
typedef enum {
    XO_NO_REFUSAL, XO_ACCESS_DENIED, XO_INVALID_ACCESS_KEY, XO_INTERNAL_ERROR, XO_INVALID_AUTHORIZATION, XO_INVALID_DATE, XO_BAD_ELEMENT,
    XO_BAD_RANGE, XO_TOO_LONG, XO_INVALID_DIGEST, XO_INVALID_URL, XO_INVALID_QUERY, XO_MALFORMED_XML, XO_MISSING_AUTHORIZATION, XO_MISSING_DATE,
    XO_MISSING_HANDLE, XO_NO_MESSAGE, XO_HANDLE_EXPIRED, XO_HANDLE_ERROR, XO_BAD_SIGNATURE, XO_TIME_EXPIRED, XO_QPS, XO_NO_TOPIC
} xo_refusal;

typedef enum { XO_TRANS_NONE, XO_TRANS_ORDER, XO_TRANS_POP, XO_TRANS_COMMIT, XO_TRANS_ROLLBACK } xo_trans;
typedef enum { XO_SEND, XO_CONSUME, XO_ACK, XO_OTHER } xo_method;
typedef struct {
    char *topic, *ns, *consumer, *tag, *max, *wait; /* NULL when absent */
    xo_trans trans;
} xo_url;

typedef enum { XO_READING, XO_WAITING, XO_WRITTEN, XO_NOT_WRITTEN, XO_POLLED } xo_stage;
typedef struct {
    xo_endpoint *ep;
    struct MHD_Connection *connection;
    char *target, *method_text;
    xo_method method;
    int begun, page;          /* page: a browser asks, not a client of the protocol */
    xo_stage stage;
    char id[25];              /* x-mq-request-id */
    xo_refusal refusal;       /* found before the body was read */
    int error_status;         /* of an error on order */
    xo_buf body;
    int64_t received;
    xo_url url;
    xo_wait wait;
    xo_poll poll;
    const xo_tag **tags;
    xo_send send;
    xo_xml_send message;
    char *properties;         /* as stored */
    xo_group *group;
    char **handles;
    size_t nhandles;
    xo_handle_state *states;
    int unwritten, failed;    /* writes it waits for; one of them failed */
    xo_timer delay;
    xo_link delayed;          /* in the endpoint's list while --delay-ack holds it */
} xo_request;

/* ---- connections.c ---- */
/* For libmicrohttpd: whether a connection is let in, and that one was opened or closed. */
enum MHD_Result xo_connection_welcome(void *endpoint, const struct sockaddr *from, socklen_t size);
void xo_connection_notify(void *endpoint, struct MHD_Connection *connection, void **context, enum MHD_ConnectionNotificationCode what);
void xo_connections_wait(xo_endpoint *ep, int64_t until); /* for the requests that have begun */
void xo_connections_end(xo_endpoint *ep, int64_t until);  /* ends all, before the daemon is stopped */
/* ---- auth.c ---- */
xo_refusal xo_auth_check(xo_request *r);   /* all that the head of a request tells */
xo_refusal xo_digest_check(xo_request *r); /* Content-MD5 */
/* ---- url.c ---- */
/* Takes r->target apart; *what names the item at fault. */
xo_refusal xo_url_parse(xo_url *u, const char *target, xo_method method, const char **what);
void xo_url_free(xo_url *u);
int xo_whole_number(const char *text, int64_t *out); /* 1 when it is one */
int xo_name_ok(const char *name);
/* Tags "a || b" into r->tags; r->poll.tags stays NULL for all. With the lock held; -1: no memory. */
int xo_url_tags(xo_request *r, xo_topic *t);
/* ---- answer.c ---- */
enum MHD_Result xo_answer(xo_request *r, unsigned status, xo_buf *body); /* takes body; NULL: none */
enum MHD_Result xo_answer_refusal(xo_request *r, xo_refusal why, ...);   /* what the refusal's text wants */
enum MHD_Result xo_answer_fault(xo_request *r);                          /* the error of --error */
enum MHD_Result xo_answer_stopping(xo_request *r);                       /* 503, and the connection ends */
enum MHD_Result xo_answer_sent(xo_request *r);
enum MHD_Result xo_answer_messages(xo_request *r);
enum MHD_Result xo_answer_handles(xo_request *r); /* 204, or Errors for what r->states tells */
/* ---- api.c ---- */
enum MHD_Result xo_request_run(xo_request *r);    /* all is read */
enum MHD_Result xo_request_resume(xo_request *r); /* what it waited for has happened */
/* ---- page.c: what a browser may look at, below a path that no client uses ---- */
#define XO_PAGE_PATH "/xonce/"
int xo_page_is(const char *target);
xonce_status xo_page_start(xo_endpoint *ep);
enum MHD_Result xo_page_answer(xo_request *r);
/* ---- view.c: the same as data; NULL: no memory, or (*why) the database failed ---- */
json_t *xo_view_state(xo_endpoint *ep);
/* The newest messages of a topic below a position (-1: of all). NULL with *why = 404: there is no such topic. */
json_t *xo_view_messages(xo_endpoint *ep, const char *topic, int64_t before, unsigned *why);
/* ---- api_*.c ---- */
enum MHD_Result xo_api_send(xo_request *r, xo_topic *t);
enum MHD_Result xo_api_consume(xo_request *r, xo_topic *t);
enum MHD_Result xo_api_acknowledge(xo_request *r, xo_topic *t);
void xo_request_suspend(xo_request *r); /* with the lock held; no answer until xo_request_wake */
void xo_request_wake(xo_request *r, xo_stage stage);
void xo_api_hurry(xo_endpoint *ep); /* acknowledges that are held back happen now; with the lock held */
#endif
