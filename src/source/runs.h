/* Per queue, which delivered messages are settled: for sources that acknowledge by position, where an ack covers everything before it. */
#ifndef XO_RUNS_H
#define XO_RUNS_H
#include "message/message.h"
typedef struct xo_run_queue xo_run_queue;
typedef struct {
    xo_run_queue *queues;
    int broken; /* out of memory once: nothing is acknowledged any more */
} xo_runs; /* zero-initialised = empty */
/* m was delivered. Without memory nothing is acknowledged any more: everything comes again, nothing is lost. */
void xo_runs_delivered(xo_runs *r, const xonce_message *m);
/* m is done and becomes ours. *ack is the message to acknowledge now: the last of the settled run at the beginning of its queue, the caller's to free; NULL when an earlier one is
   still open. */
void xo_runs_settled(xo_runs *r, xonce_message *m, xonce_message **ack);
void xo_runs_free(xo_runs *r);
#endif
