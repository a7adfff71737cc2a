/* What the files of the data path share: pulling, unpacking, starting, committing. */
#ifndef XO_ROCKETMQ_DATA_H
#define XO_ROCKETMQ_DATA_H
#include "source/rocketmq/rocketmq.h"

enum { XO_TELL_EVERY_MS = 60000 };

/* ---- pull.c: one request for messages under way. */
typedef struct {
    xo_rocketmq *s;
    uint64_t mark;             /* of its queue, which may be gone when the answer comes */
    char *topic, *wire, *broker;
    const xo_rmq_sub *sub;     /* NULL: a retry queue */
    int32_t id;
    int64_t offset, node, sent, version;
    int64_t tries;             /* failures in a row before it */
} xo_pull;
void xo_pull_free(xo_pull *p);
void xo_pull_on_answers(void);         /* this is the thread that answers come on */

/* ---- answer.c. On the I/O thread; takes the xo_pull that arg is. */
void xo_pull_answered(xonce_status st, xo_command *answer, void *arg);
/* The pull did not succeed for the reason in the thread's error: its queue pauses. Any thread. */
void xo_pull_failed(const xo_pull *p, xonce_status st);

/* ---- unpack.c: stored messages to messages of ours. No locks. */
typedef struct {
    int64_t offset, store_time, log_offset;
    xonce_message *m;          /* NULL: not for us (another tag with the same hash), or handed over */
    int ask;                   /* its origin is to be asked first */
} xo_pulled;
typedef struct {
    const xo_rocketmq *s;      /* its subscriptions, cluster and limits only */
    const xo_rmq_sub *sub;
    const char *topic, *broker;
    uint64_t mark;
    int64_t next;              /* the offset to be unpacked next: what stands before it is passed over */
    int last_try;              /* what fails its checksum is refused, not pulled again */
    xo_pulled *items;
    size_t n, cap;
    char stranger[128];        /* a tag whose hash is not in our filter came: members of the group disagree about it */
    int conflict;
} xo_unpacked;
xonce_status xo_unpack(xo_unpacked *u, const void *p, size_t n);
void xo_unpacked_free(xo_unpacked *u); /* with the messages still in it */

/* ---- start.c */
const char *xo_queue_tags(const xo_rmq_queue *q);
int xo_queue_tell(xo_rmq_queue *q);    /* lock held: may a line about it be logged (one a minute)? */
/* An offset question or report (14, 15, 29, 30, 31) for a queue. */
void xo_offset_request(const xo_rocketmq *s, const xo_rmq_queue *q, int32_t code, xo_command *c);

/* ---- watermark.c: the source's op. */
xonce_status xo_watermark(xonce_source *source, int64_t *ms);

enum { XO_COMMITTING = -2 };           /* in q->committed: a report to the broker is under way */
/* ---- commit.c */
/* Writes what is settled of one queue to the database. A row begun by somebody else is no failure here. Service thread. */
xonce_status xo_commit_queue(xo_rocketmq *s, xo_rmq_queue *q);
#endif
