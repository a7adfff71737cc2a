/* xonce-test: the endpoint of `xonce serve` inside a test's own process, for tests of your handlers.
 *
 * Start it, point a consumer at xonce_test_uri(), send, break things on order, wait until everything is settled, and look at your tables: a handler that is right
 * leaves the same rows whatever was delivered twice. pkg-config xonce-test; include/xonce/xonce.h has the conventions (statuses, xonce_error_last(), texts, times).
 * It must be of the same version as the libxonce it runs with, else xonce_test_start() refuses. Every call may be made from any thread, but not while xonce_test_stop() runs or after it. */
#ifndef XONCE_TEST_H
#define XONCE_TEST_H
#include <xonce/xonce.h>
#ifdef __cplusplus
extern "C" {
#endif

typedef struct xonce_test xonce_test; /* a running endpoint */

/* Settings of an endpoint. All is copied; what is 0 or NULL has the default. */
typedef struct {
    size_t size;                   /* sizeof(xonce_test_options) */
    const char *listen;            /* "HOST:PORT", port 0: any free one; default 127.0.0.1:0 */
    const char *instance;          /* instance id that clients must name; default none */
    const char *data;              /* folder of the queues; default one below $TMPDIR (else /tmp) that xonce_test_stop() removes */
    int64_t redeliver_ms;          /* 100 to 86400000: when an unacknowledged message comes again; default 2000 */
    const char *access_key_id;     /* default: signatures are not checked */
    const char *access_key_secret; /* both or none */
} xonce_test_options;
/* Starts an endpoint with threads of its own; o may be NULL. Several may run at once. The process' limit of open files is raised to its hard limit.
   XONCE_E_INVALID: an option, or libxonce is of another version; XONCE_E_CONNECT: the address is taken. */
XONCE_API xonce_status xonce_test_start(xonce_test **out, const xonce_test_options *o);
/* Answers what waits, stops the threads and removes the folder that was made. Stop consumers and producers first: they would only log errors. NULL is fine. */
XONCE_API void xonce_test_stop(xonce_test *t);
/* For xonce_source_open() and xonce_producer_open(), the instance included: "http://127.0.0.1:40123". Lives as long as t. */
XONCE_API const char *xonce_test_uri(const xonce_test *t);
/* Sets the credentials in c, without which a source does not open: those of the options, else made-up ones. */
XONCE_API xonce_status xonce_test_configure(const xonce_test *t, xonce_config *c);

/* Makes a topic, or changes its kind: NULL or "" takes every message, "ordered", "timed" and "transaction" no other special ones. Topics also come into being when
   something is sent to them or asks for them. A topic keeps its messages for three days; a new group begins with the oldest. */
XONCE_API xonce_status xonce_test_topic(xonce_test *t, const char *name, const char *kind);
/* Stores a message of xonce_message_new(); returns when it is durable. No fault touches it. Properties as for xonce_producer_send() over HTTP: __SHARDINGKEY orders,
   __STARTDELIVERTIME puts off; a half message needs a producer. id may be NULL, else has room for 33 bytes: the id that the consumer will see (the message's own is not sent). */
XONCE_API xonce_status xonce_test_send(xonce_test *t, const xonce_message *m, char *id);
/* The same for a text; tag and id may be NULL. */
XONCE_API xonce_status xonce_test_send_text(xonce_test *t, const char *topic, const char *tag, const char *body, char *id);

/* What clients are made to see; nothing stored is touched. Chances are from 0 to 1. */
typedef struct {
    size_t size;           /* sizeof(xonce_test_faults) */
    double duplicate;      /* a message is handed to two polls at once */
    double lose_ack;       /* an acknowledge is answered and forgotten: the message comes again after redeliver_ms */
    double error;          /* a request is answered with error_status and has no effect */
    double cut;            /* an answer ends in the middle of its body, after its effect */
    int error_status;      /* 400 to 599; 0: 503 */
    int reorder;           /* 1: messages come out of order, but not within a sharding key */
    int64_t delay_ack_ms;  /* 0 to 60000: acknowledges take effect and are answered that much later */
    int64_t clock_skew_ms; /* the endpoint's clock is ahead by that; negative: behind */
} xonce_test_faults;
/* From now on these and no others; NULL: none. */
XONCE_API xonce_status xonce_test_set_faults(xonce_test *t, const xonce_test_faults *f);
/* Every message of the topic that is out to the group comes again at once, as if its time were up; acknowledges of the earlier delivery are refused. *n (may be NULL) is how
   many there were. XONCE_E_NOT_FOUND: no such topic. */
XONCE_API xonce_status xonce_test_expire(xonce_test *t, const char *topic, const char *group, int64_t *n);

/* Waits until the group has settled every message of the topic with one of the tags ("a||b"; NULL, "" and "*": all), delayed ones included: until each was acknowledged, or came 288
   times. XONCE_E_TIMEOUT after timeout_ms: the text says how many are missing, and tells of the first. XONCE_E_NOT_FOUND: no such topic. */
XONCE_API xonce_status xonce_test_wait(xonce_test *t, const char *topic, const char *group, const char *tags, int64_t timeout_ms);
/* A topic as one group sees it. */
typedef struct {
    size_t size;       /* sizeof(xonce_test_progress), set by the caller */
    int64_t messages;  /* those with one of the tags, delayed ones included */
    int64_t settled;   /* acknowledged by the group */
    int64_t in_flight; /* handed out, neither acknowledged nor due again */
    int64_t waiting;   /* to be handed out, or in the middle of being acknowledged */
    int64_t delayed;   /* their time has not come */
    int64_t halves;    /* of transactions, neither committed nor rolled back; not among messages */
} xonce_test_progress;
/* Looks once, without waiting. XONCE_E_NOT_FOUND: no such topic. */
XONCE_API xonce_status xonce_test_look(xonce_test *t, const char *topic, const char *group, const char *tags, xonce_test_progress *out);
/* A message that is out. */
typedef struct {
    size_t size;          /* of this struct, as the library has it */
    const char *id, *tag; /* tag "" without */
    const void *body;     /* a NUL stands behind len bytes */
    size_t len;
    int32_t queue;
    int64_t offset;
    int times;            /* so often it was handed out to this group */
    int64_t first_ms;     /* when first, by the endpoint's clock */
    int64_t again_in_ms;  /* when it comes again, from now */
} xonce_test_flight;
/* Calls fn for each message of the topic that is out to the group, in the order of their first hand-out; texts are valid during the call, which may call any function but stop. */
XONCE_API xonce_status xonce_test_in_flight(xonce_test *t, const char *topic, const char *group, void (*fn)(const xonce_test_flight *f, void *arg), void *arg);
/* What the endpoint did since it was started: to see in a test that a fault did happen. */
typedef struct {
    size_t size;          /* sizeof(xonce_test_counts), set by the caller */
    int64_t requests;     /* requests that were answered */
    int64_t accepted;     /* messages sent to it */
    int64_t handed_out;   /* messages given to consumers, each time counted */
    int64_t again;        /* of those, not for the first time */
    int64_t duplicates;   /* of those, made by the fault */
    int64_t acknowledged; /* messages acknowledged */
    int64_t acks_lost;    /* faults made: acknowledges answered and forgotten */
    int64_t errors;       /* faults made: requests answered with error_status */
    int64_t cuts;         /* faults made: answers cut off */
} xonce_test_counts;
/* Reads these counts at this moment. */
XONCE_API xonce_status xonce_test_count(xonce_test *t, xonce_test_counts *out);

#ifdef __cplusplus
}
#endif
#endif
