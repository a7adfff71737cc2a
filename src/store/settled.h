/* Positions of queues, in xonce_settled: what a source with offsets keeps here. */
#ifndef XO_SETTLED_H
#define XO_SETTLED_H
#include "message/position.h"
#include "store/store.h"
/* Ops whose self is an xonce_store: rows of its group, on connections of its pool. */
const xo_position_ops *xo_store_positions(void);
#endif
