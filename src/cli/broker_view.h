/* What brokers tell about topics and groups, for the commands that show it. */
#ifndef XO_CLI_BROKER_VIEW_H
#define XO_CLI_BROKER_VIEW_H
#include "remoting/cluster.h"

typedef struct {
    char *topic, *broker;   /* topic without the namespace */
    int32_t queue;
    int64_t min, max;       /* offsets; -1 unknown */
    int64_t committed;      /* of a group; -1 none */
    int64_t last_time;      /* ms: of the last message stored (topic), of the last one consumed (group); -1 */
} xo_view_queue;
typedef struct {
    xo_view_queue *queues;  /* by topic, broker, queue */
    size_t n, cap;
} xo_view;
/* Creates or changes a topic on every master. Names each broker that refuses. */
xonce_status xo_view_create_topic(xo_cluster *c, const char *topic, int queues, int order, const char *message_type);
xonce_status xo_view_topic(xo_cluster *c, const char *topic, xo_view *out);
/* Every queue that the group has positions in; topic NULL: of all its topics. */
xonce_status xo_view_group(xo_cluster *c, const char *group, const char *topic, xo_view *out);
/* At how many brokers members of the group run. */
xonce_status xo_view_online(xo_cluster *c, const char *group, size_t *brokers);
void xo_view_free(xo_view *v);
#endif
