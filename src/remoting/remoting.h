/* Connections to name servers and brokers: one per address, requests multiplexed, made again with back-off. One thread does all input and output.
 *
 * Callbacks run on that thread: short, never blocking, never calling xo_remoting_call() or _close(). They may send. */
#ifndef XO_REMOTING_H
#define XO_REMOTING_H
#include "remoting/command.h"

typedef struct xo_remoting xo_remoting;
typedef struct {
    /* A request of the other side (also oneway ones). The answer, when one is due, is sent with xo_remoting_reply. c is valid during the call; it may be moved. */
    void (*request)(void *self, const char *address, xo_command *c);
    /* A connection that had been made ended, or (made = 1) one was made: what the other side knew of us is forgotten. Not called for those that xo_remoting_close() ends. */
    void (*changed)(void *self, const char *address, int made);
} xo_remoting_events;
/* Reads tls*, credentials.*, rocketmq.connect-timeout, rocketmq.ons-channel of cfg. events may be NULL. */
xonce_status xo_remoting_open(xo_remoting **out, const xonce_config *cfg, const xo_remoting_events *events, void *self);
void xo_remoting_close(xo_remoting *r); /* pending requests fail with XONCE_E_CLOSED, their functions are called before it returns */

/* answer is NULL unless st is XONCE_OK; it may have any code, is valid during the call and may be moved (take it by assignment and zero it). On failure the thread's error says why: CONNECT (also while
   an address is being backed off from: at once; also when the connection is lost after the request went out), TIMEOUT, CLOSED, PROTOCOL, CONFLICT (64 MiB wait for that address already), INVALID.
   After an answer XO_RMQ_GO_AWAY the next request makes a new connection: send it again. */
typedef void (*xo_answer_fn)(xonce_status st, xo_command *answer, void *arg);
/* Signs and sends; c is taken. fn is called exactly once, from the I/O thread, never from inside of this call. address: "host:port", "[v6]:port". */
void xo_remoting_send(xo_remoting *r, const char *address, xo_command *c, int64_t timeout_ms, xo_answer_fn fn, void *arg);
xonce_status xo_remoting_oneway(xo_remoting *r, const char *address, xo_command *c);
/* Waits. XONCE_OK: an answer came, of whatever code; the caller frees it. c is taken. */
xonce_status xo_remoting_call(xo_remoting *r, const char *address, xo_command *c, int64_t timeout_ms, xo_command *answer);
typedef struct {
    char address[280];
    xo_command request; /* taken */
    xonce_status status;
    xo_error error;     /* when status is not XONCE_OK */
    xo_command answer;  /* the caller frees it */
} xo_call;
void xo_remoting_call_all(xo_remoting *r, xo_call *calls, size_t n, int64_t timeout_ms); /* all at once; returns when each has its end */
/* Answers a request. body may be NULL. */
void xo_remoting_reply(xo_remoting *r, const char *address, int32_t opaque, int32_t code, const char *remark, xo_buf *body);
void xo_remoting_disconnect(xo_remoting *r, const char *address); /* GOAWAY, or a broker that left the route */
#endif
