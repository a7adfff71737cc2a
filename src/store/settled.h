/* Positions of queues, in xonce_settled: what a source with offsets keeps here. */
#ifndef XO_SETTLED_H
#define XO_SETTLED_H
#include "message/position.h"
#include "store/store.h"
/* Ops whose self is an xonce_store: rows of its group, on connections of its pool. */
const xo_position_ops *xo_store_positions(void);

/* settled.c: again while the database says so, for a while. */
typedef xonce_status (*xo_once_fn)(xonce_store *s, void *arg);
xonce_status xo_patiently(xonce_store *s, xo_once_fn once, void *arg, const char *what);

/* takeover.c: the ops of queues that are claimed by offset. */
xonce_status xo_position_take(void *self, xo_range *r, const xo_range *loaded, size_t n);
xonce_status xo_position_advance(void *self, const xo_range *r, int64_t from);
xonce_status xo_position_recorded(void *self, const char *topic, const char *broker, int32_t queue, int64_t offset, int *yes);
#endif
