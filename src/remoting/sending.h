/* What everyone who sends messages to a broker needs: the request, and the queues that may be written to. */
#ifndef XO_SENDING_H
#define XO_SENDING_H
#include "remoting/cluster.h"

enum { XO_SEND_PROPERTIES_MAX = 32767, XO_SEND_BODY_MAX = 4 << 20, XO_SEND_TOPIC_MAX = 127, XO_SEND_GROUP_MAX = 120 };
typedef struct {
    const char *group, *topic, *broker; /* wire names */
    int32_t queue, sys_flag;
    int64_t born_time;
    const char *properties;             /* as on the wire */
    const void *body;                   /* borrowed by the request */
    size_t body_len;
    int batch;
} xo_send_parts;
/* A request 310, or 320 for a batch. */
void xo_send_command(xo_command *out, const xo_send_parts *s);
/* The queues of a topic (wire name) that may be written to, from a route not older than max_age_ms. A topic that no name server knows: those that brokers make for new topics, *made_up = 1.
   NOT_FOUND when there are none. Free with xo_queue_ids_free. */
xonce_status xo_send_queues(xo_cluster *c, const char *topic, int64_t max_age_ms, xo_queue_id **out, size_t *n, int *made_up);
/* XONCE_E_INVALID unless the name, as on the wire, has 1 to max characters of [A-Za-z0-9_%|-]. what: "topic". */
xonce_status xo_send_check_name(const char *what, const char *name, size_t max);
#endif
