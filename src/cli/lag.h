/* Lag: how far a group is behind in each queue of a RocketMQ cluster. */
#ifndef XO_CLI_LAG_H
#define XO_CLI_LAG_H
#include "store/store.h"

typedef struct {
    const char *from, *group, *topic; /* topic NULL: all that the group has positions in */
    const xonce_config *cfg;
    int json;
} xo_lag_request;
/* Shows a queue a line; with a store (may be NULL) also the position that the database has. An exit code, told when it failed. */
int xo_lag_show(const xo_lag_request *r, xonce_store *s);
#endif
