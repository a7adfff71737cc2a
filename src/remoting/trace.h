/* Message traces: what consoles show as the path of a message. Records are gathered and sent by a thread of their own; one that cannot be sent is dropped, never waited for.
 * The functions take a NULL trace and then do nothing, so that callers need not ask whether traces are wanted. Thread-safe. Texts may be NULL. */
#ifndef XO_TRACE_H
#define XO_TRACE_H
#include "remoting/cluster.h"

typedef struct xo_trace xo_trace;
/* *out is NULL when `trace` is off. The cluster is borrowed. */
xonce_status xo_trace_open(xo_trace **out, xo_cluster *c, const xonce_config *cfg);
void xo_trace_close(xo_trace *t); /* sends what is there, for two seconds at most */

enum { XO_TRACE_NORMAL = 0, XO_TRACE_HALF = 1, XO_TRACE_DELAYED = 3, XO_TRACE_ORDERED = 4 };
enum { XO_TRACE_SUCCESS = 0, XO_TRACE_TIMEOUT = 1, XO_TRACE_EXCEPTION = 2, XO_TRACE_NOTHING = 3, XO_TRACE_FAILED = 4 };
enum { XO_TRACE_UNCLAIMED = 0, XO_TRACE_APPLIED = 1, XO_TRACE_DUPLICATE = 2 };
/* What a record may say; each kind takes its own. Names without namespace. */
typedef struct {
    int64_t time;                     /* when it began, ms UTC; 0 = now */
    const char *region;               /* property MSG_REGION of the message or of the answer; NULL: the default one */
    const char *group, *topic;
    const char *id;                   /* UNIQ_KEY; several are separated by ',' */
    const char *tags, *keys;
    const char *store_host;           /* address of the broker */
    const char *offset_id;            /* offsetMsgId */
    int64_t body_len, cost_ms;
    int type;                         /* XO_TRACE_NORMAL... */
    int success;
    const char *request_id;           /* of a delivery: the same in SubBefore and SubAfter; xo_trace_request() makes one */
    int retry_times;
    int context;                      /* what came of it: XO_TRACE_SUCCESS... */
    int exactly_once;                 /* what the claim said: XO_TRACE_APPLIED... */
    const char *transaction_id;
    const char *state;                /* COMMIT_MESSAGE, ROLLBACK_MESSAGE, UNKNOW */
    int from_check;
} xo_trace_record;
void xo_trace_pub(xo_trace *t, const xo_trace_record *r);        /* sent: time region group topic id tags keys store_host body_len cost_ms type offset_id success */
void xo_trace_sub_before(xo_trace *t, const xo_trace_record *r); /* about to be handled: time region group request_id id retry_times keys */
void xo_trace_sub_after(xo_trace *t, const xo_trace_record *r);  /* handled: request_id id cost_ms success keys context, then time group or, in the cloud, exactly_once */
void xo_trace_end(xo_trace *t, const xo_trace_record *r);        /* half message ended: time region group topic id tags keys store_host type transaction_id state from_check */
/* Deliveries are numbered from 1 on, in the whole process; the id of one, unlike those of other processes. */
uint64_t xo_trace_delivery(void);
void xo_trace_request(const xo_trace *t, uint64_t delivery, char out[XO_UNIQ_SIZE]);
/* May a message be traced? on: its property TRACE_ON, or the field of the broker's answer; NULL when absent. */
int xo_trace_wanted(const xo_trace *t, const char *on);
#endif
