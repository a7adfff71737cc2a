/* The producer over RocketMQ's own protocol: its state. */
#ifndef XO_PRODUCER_ROCKETMQ_H
#define XO_PRODUCER_ROCKETMQ_H
#include "base/buf.h"
#include "producer/producer.h"
#include "remoting/cluster.h"
#include "remoting/trace.h"

enum { XO_RMQ_NAME = 256, XO_RMQ_ADDRESS = 280, XO_RMQ_ID = 256 };
enum { XO_RMQ_TIMERS_SINCE = 413 }; /* 5.0.0: brokers before it do not know TIMER_* */

typedef struct xo_rmq_topic { /* a topic that was sent to */
    struct xo_rmq_topic *next;
    char *name;               /* on the wire */
    xo_queue_id *queues;
    size_t nqueues, turn;
    int made_up;              /* no name server knows it yet: these are the queues it will get */
    int stale;
    int64_t asked;            /* monotonic */
} xo_rmq_topic;
typedef struct xo_rmq_broker { /* what was noticed about a broker */
    struct xo_rmq_broker *next;
    char *name;
    int64_t avoid_until;      /* monotonic */
    int32_t version;          /* 0 = not heard yet */
} xo_rmq_broker;
typedef struct xo_rmq_checker {
    struct xo_rmq_checker *next;
    char *topic, *group;      /* as the user knows them */
    char *wire_topic, *wire_group;
    xonce_transaction_fn check;
    void *arg;
} xo_rmq_checker;

/* What became of the transactions of this process, so that a broker's check that crosses our own commit makes no second message. */
typedef enum { XO_HALF_NONE = 0, XO_HALF_RUNNING, XO_HALF_COMMITTED, XO_HALF_ROLLED_BACK } xo_half_state;
typedef struct {
    char *id, *broker;        /* UNIQ_KEY; the broker that holds the half message, NULL before it is known */
    xo_half_state state;
    int64_t since;            /* monotonic */
} xo_half;
enum { XO_HALVES = 4096 };

typedef struct {
    xonce_producer base;
    xo_cluster *cluster;
    xo_trace *trace;
    char *group, *space;      /* on the wire; the namespace, "" without */
    char client_id[256];
    int cloud, exactly_once, retries, codec;
    int64_t compress_over, route_ms, beat_ms;
    xo_work checks;           /* runs the users' checks */
    pthread_t keeper;         /* heartbeats and routes */
    int kept;                 /* it runs */
    pthread_cond_t changed;   /* beside base.lock, as all below */
    int stop, beat_now, beaten;
    xo_rmq_topic *topics;
    xo_rmq_broker *brokers;
    xo_rmq_checker *checkers; /* only added to */
    xo_half *halves;          /* XO_HALVES of them, used in turn */
    size_t next_half;
} xo_rmq_producer;

typedef struct {
    char broker[XO_RMQ_NAME], address[XO_RMQ_ADDRESS];
    int32_t queue;
} xo_rmq_place;
typedef enum { XO_RMQ_PLAIN, XO_RMQ_HALF, XO_RMQ_BATCH } xo_rmq_kind;
/* One send, from its message to the end of its last try. */
typedef struct {
    xo_rmq_kind kind;
    char *topic, *group;      /* on the wire */
    char *shown;              /* the topic as the user knows it */
    xo_buf properties, packed;
    const void *body;         /* packed's, or the message's */
    size_t body_len;
    int32_t sys_flag;
    int64_t born;
    int keyed, timed;         /* bound to a queue by its key; needs a broker that knows timers */
    int32_t hash;
    char id[XO_RMQ_ID];       /* UNIQ_KEY */
    xo_buf ids, tags, keys;   /* for the trace */
    int trace_type;
    int64_t begun, deadline;  /* monotonic */
    int left;                 /* tries */
    int tries;
    xo_rmq_place place;       /* of this try */
    char failed[XO_RMQ_NAME]; /* the broker of the one before */
    int64_t try_begun;
    /* from the answer */
    int32_t code, queue;
    int64_t offset;
    char offset_id[64], transaction_id[XO_RMQ_ID];
} xo_rmq_send;

/* ---- rocketmq_message.c: from messages to what is sent. m must live as long as s unless xo_rmq_send_keep() was called. */
xonce_status xo_rmq_check(xonce_producer *p, const xonce_message *m);
xonce_status xo_rmq_prepare(xo_rmq_producer *p, const xonce_message *m, xo_rmq_kind kind, const char *group, xo_rmq_send *s);
xonce_status xo_rmq_prepare_batch(xo_rmq_producer *p, const xonce_message *const *m, size_t n, xo_rmq_send *s);
xonce_status xo_rmq_send_keep(xo_rmq_send *s);
void xo_rmq_send_free(xo_rmq_send *s);
int xo_rmq_batchable(xonce_producer *p, const xonce_message *m);
xonce_status xo_rmq_later(xonce_producer *p, xonce_message *m, int64_t delay_ms, int64_t at_ms);

/* ---- rocketmq_queues.c: where to. */
/* The queue of the next try into s->place. */
xonce_status xo_rmq_choose(xo_rmq_producer *p, xo_rmq_send *s);
/* After an answer, or a failure (version 0), of a send to this broker that took so long; -1: of another request, which says nothing about sends. */
void xo_rmq_heard(xo_rmq_producer *p, const char *broker, int32_t version, int64_t took_ms, int failed);
void xo_rmq_stale(xo_rmq_producer *p, const char *topic);
/* The newest version among the brokers of a topic (wire name). */
xonce_status xo_rmq_topic_version(xo_rmq_producer *p, const char *topic, int32_t *version);
/* Asks again for routes that are old; waits. */
void xo_rmq_refresh(xo_rmq_producer *p);
void xo_rmq_queues_free(xo_rmq_producer *p);

/* ---- rocketmq_send.c */
xonce_status xo_rmq_send_one(xonce_producer *p, const xonce_message *m, xonce_sent *out);
xonce_status xo_rmq_send_async(xonce_producer *p, const xonce_message *m, const xo_async *a);
xonce_status xo_rmq_send_oneway(xonce_producer *p, const xonce_message *m);
xonce_status xo_rmq_send_batch(xonce_producer *p, const xonce_message *const *m, size_t n, xonce_sent *out);
/* All tries of a prepared send; waits. */
xonce_status xo_rmq_run(xo_rmq_producer *p, xo_rmq_send *s);

/* ---- rocketmq_half.c: transactions. */
xonce_status xo_rmq_send_transaction(xonce_producer *p, const xonce_message *m, xonce_transaction_fn execute, void *arg, xonce_sent *out);
xonce_status xo_rmq_on_check(xonce_producer *p, const char *topic, const char *group, xonce_transaction_fn check, void *arg);
/* A broker's request 39, on the I/O thread; c may be moved. */
void xo_rmq_asked(xo_rmq_producer *p, const char *address, xo_command *c);
void xo_rmq_halves_free(xo_rmq_producer *p);

/* ---- rocketmq.c */
/* Beats at once: a group or a broker is new. */
void xo_rmq_beat(xo_rmq_producer *p);
/* A heartbeat to one broker, for its version; waits. */
xonce_status xo_rmq_greet(xo_rmq_producer *p, const char *broker, const char *address);
#endif
