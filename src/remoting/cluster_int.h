/* The inside of the cluster, shared by cluster.c, route.c and servers.c. */
#ifndef XO_CLUSTER_INT_H
#define XO_CLUSTER_INT_H
#include "remoting/cluster.h"
#include <pthread.h>
#include <stdatomic.h>

typedef struct xo_cached {
    struct xo_cached *next;
    char *topic;
    xo_route *route;      /* NULL: never had one */
    int64_t at, used;     /* monotonic: when it came, when somebody wanted it */
    int asking;           /* a thread is asking a name server */
    size_t waiters;
    uint64_t rounds;      /* questions that ended */
    int failed;           /* the last one did */
    xo_error why;
} xo_cached;

struct xo_cluster {
    xo_remoting *remoting;
    char **servers;       /* addresses of name servers */
    size_t nservers;
    atomic_size_t current; /* the one that answered last */
    char *instance;       /* the namespace, "" for none */
    int64_t timeout;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t asked;
    xo_cached *routes;
    xo_broker *known;     /* of the last cluster information */
    size_t nknown;
};

/* ---- servers.c */
/* Name servers and namespace of "rocketmq://host:port;host:port?instance=N". */
xonce_status xo_cluster_uri(xo_cluster *c, const char *uri, const xonce_config *cfg);
/* Asks the name servers one after the other until one answers with code 0. topic may be NULL. what: for errors, "the route of orders". */
xonce_status xo_cluster_question(xo_cluster *c, int32_t code, const char *topic, const char *what, xo_command *answer);
/* ---- route.c */
xonce_status xo_route_parse(const void *body, size_t n, const char *topic, xo_route **out);
xo_route *xo_route_copy(const xo_route *r); /* NULL: no memory */
xonce_status xo_brokers_parse(const void *body, size_t n, xo_broker **out, size_t *nout); /* of an answer to 106 */
xonce_status xo_brokers_copy(const xo_broker *from, size_t n, xo_broker **out);
#endif
