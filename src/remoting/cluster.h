/* A RocketMQ cluster as a client sees it: name servers, routes, brokers by name, the namespace. Thread-safe. */
#ifndef XO_CLUSTER_H
#define XO_CLUSTER_H
#include "remoting/remoting.h"
#include "message/message.h"

typedef struct {
    char *name, *cluster;
    struct {
        int64_t id;      /* 0 = master */
        char *address;
    } *nodes;
    size_t nnodes;
} xo_broker;
typedef struct {
    char *broker;
    int32_t read, write, perm; /* 4 read, 2 write */
} xo_route_queues;
typedef struct {
    xo_broker *brokers;        /* by name */
    size_t nbrokers;
    xo_route_queues *queues;   /* by broker name */
    size_t nqueues;
    char *order;               /* "broker-a:4;broker-b:4", NULL when not set */
} xo_route;
typedef struct {
    char *broker;
    int32_t id;
} xo_queue_id;

typedef struct xo_cluster xo_cluster;
/* uri: rocketmq://host[:port][;host[:port]]...[?instance=N], port 9876 when absent, [v6] in brackets. A first name label MQ_INST_x_y is the namespace when none is set. Connects to nothing yet. */
xonce_status xo_cluster_open(xo_cluster **out, const char *uri, const xonce_config *cfg, const xo_remoting_events *events, void *self);
void xo_cluster_close(xo_cluster *c);
xo_remoting *xo_cluster_remoting(const xo_cluster *c);
int64_t xo_cluster_timeout(const xo_cluster *c); /* rocketmq.timeout: of a request */
const char *xo_cluster_server(const xo_cluster *c, size_t i); /* the address of a name server; NULL behind the last */

/* "N%name" in namespace N (also behind %RETRY% and %DLQ%); system topics and a cluster without namespace: the name as it is. NULL on no memory. */
char *xo_cluster_wrap(const xo_cluster *c, const char *name);
const char *xo_cluster_unwrap(const xo_cluster *c, const char *name, xo_buf *space); /* back; uses space when the result is no part of name */

/* The route of a topic (wire name), from the cache when it is younger than max_age_ms, else asked for. NOT_FOUND (again = 1): no name server knows it. Several callers share one request. The caller frees. On the I/O thread: from the cache
 * alone, else NOT_FOUND (again = 1). */
xonce_status xo_cluster_route(xo_cluster *c, const char *topic, int64_t max_age_ms, xo_route **out);
void xo_route_free(xo_route *r);
/* Read queues (perm 4) and write queues (perm 2, with a master; the order configuration when it is set), sorted by broker name and id. A writing caller passes write = 1. Free the array with xo_queue_ids_free. */
xonce_status xo_route_queues_of(const xo_route *r, int write, xo_queue_id **out, size_t *n);
void xo_queue_ids_free(xo_queue_id *q, size_t n);
/* The address of a broker by name, of all routes seen lately: of its master, else (slave_too) any. NOT_FOUND (again = 1). */
xonce_status xo_cluster_broker(xo_cluster *c, const char *name, int slave_too, char *out, size_t size);
/* The name of the broker at this address, "" when unknown. */
void xo_cluster_broker_at(xo_cluster *c, const char *address, char *out, size_t size);
/* Every master (masters_only), or every node, of all routes seen lately: addresses, free with xo_addresses_free. */
xonce_status xo_cluster_addresses(xo_cluster *c, int masters_only, char ***out, size_t *n);
void xo_addresses_free(char **a, size_t n);
/* A call to a broker's master by name, its answer's code 0, else the error. answer may be NULL. */
xonce_status xo_cluster_ask(xo_cluster *c, const char *broker, xo_command *request, const char *what, xo_command *answer);
/* The broker names of the cluster, from the name server: for making topics. */
xonce_status xo_cluster_brokers(xo_cluster *c, xo_broker **out, size_t *n);
void xo_brokers_free(xo_broker *b, size_t n);

/* ---- ids.c */
enum { XO_UNIQ_SIZE = 57 };
void xo_make_uniq(char out[XO_UNIQ_SIZE]);   /* UNIQ_KEY made as Java makes it; thread-safe */
/* ip@pid#nonce[#suffix] */
xonce_status xo_make_client_id(char *out, size_t size, const char *instance, const char *suffix);
int32_t xo_java_hash(const char *utf8);      /* String.hashCode, over UTF-16 code units */
#endif
