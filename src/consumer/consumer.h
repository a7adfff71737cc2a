/* What the program needs of a consumer beyond the public header. */
#ifndef XO_CONSUMER_H
#define XO_CONSUMER_H
#include "base/error.h"
/* Before start: the at-least-once baseline, no claims, no pruning. */
void xo_consumer_no_dedup(xonce_consumer *c);
const char *xo_consumer_group(const xonce_consumer *c);
/* 1 when all threads have ended. *why (may be NULL) is then the error that ended them, code XONCE_OK after an orderly stop. */
int xo_consumer_ended(xonce_consumer *c, xo_error *why);
#endif
