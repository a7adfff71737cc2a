/* What the program needs of a consumer beyond the public header. */
#ifndef XO_CONSUMER_H
#define XO_CONSUMER_H
#include "base/error.h"
/* Before start: the at-least-once baseline, no claims, no pruning. */
void xo_consumer_no_dedup(xonce_consumer *c);
/* Would xonce_consumer_reconfigure() take these settings? */
xonce_status xo_consumer_check(const xonce_consumer *c, const xonce_config *cfg);
/* A topic's batches hold so many messages at most, if batch.max is not less; 0: batch.max alone counts. After the topic was subscribed to and its stores were said, at any time. */
void xo_consumer_batch_most(xonce_consumer *c, const char *topic, size_t n);
const char *xo_consumer_group(const xonce_consumer *c);
/* 1 when all threads have ended. *why (may be NULL) is then the error that ended them, code XONCE_OK after an orderly stop. */
int xo_consumer_ended(xonce_consumer *c, xo_error *why);
#endif
