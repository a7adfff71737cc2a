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
    int64_t offset, node, sent, version, turn;
    int again;                 /* it reads again what was given back */
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
    xo_pack *pack;             /* of all its messages, with the answer's bytes */
    char *packed_topic, *packed_broker;
    int last_try;              /* what fails its checksum is refused, not pulled again */
    xo_pulled *items;
    size_t n, cap;
    char stranger[128];        /* a tag whose hash is not in our filter came: members of the group disagree about it */
    int conflict;
} xo_unpacked;
/* Takes the frame out of the answer, in which it then stands still as long as u is not freed; what was read from it before stays readable so long. */
xonce_status xo_unpack(xo_unpacked *u, xo_command *answer);
void xo_unpacked_free(xo_unpacked *u); /* with the messages still in it */

/* ---- start.c */
const char *xo_queue_tags(const xo_rmq_queue *q);
int xo_queue_tell(xo_rmq_queue *q);    /* lock held: may a line about it be logged (one a minute)? */
/* An offset question or report (14, 15, 29, 30, 31) for a queue. */
void xo_offset_request(const xo_rocketmq *s, const xo_rmq_queue *q, int32_t code, xo_command *c);

#define XO_FENCED_TEXT "queue %" PRId32 " of %s at %s was taken over by another member: what was in hand of it is dropped, and it begins again if it is still ours"
/* ---- offset.c: queues whose messages are claimed by offset (docs/guarantees.md). All under the lock. */
int xo_rmq_by_offset(const xo_rmq_queue *q);
int xo_offset_waits(const xo_rocketmq *s, const xo_rmq_queue *q);    /* it is not begun while the members do not claim alike */
int xo_offset_reopens(const xo_rmq_queue *q);                        /* a new row is to begin, and can */
/* Is it a message of another history than the rows know, where something was settled before? */
int xo_offset_newer(const xo_rmq_queue *q, const xo_pulled *it);
void xo_offset_hand(xo_rmq_queue *q, xonce_message *m);             /* m is handed over: what it is claimed by */
/* An answer of node that was asked for after the queue began: its end, and where it goes on. */
void xo_offset_answered(xo_rmq_queue *q, int64_t node, int64_t max, int64_t next);
/* The end of what may be told to the broker: what is settled, and the database has it. */
int64_t xo_offset_told(const xo_rmq_queue *q);
/* Is the row to be moved over what nobody wants, or to hear of record_before? Then as *r (texts are q's), from *from on. Only while nothing is under way. */
int xo_offset_due(const xo_rmq_queue *q, xo_range *r, int64_t *from);
void xo_offset_moved(xo_rmq_queue *q, const xo_range *r);            /* the database has it */
/* Another member took the queue over: all that is here of it is dropped, and it waits as if it became ours only now, if it still is. */
void xo_offset_fenced(xo_rocketmq *s, xo_rmq_queue *q);
/* A message of it was given back: what stands behind it cannot be claimed, so it begins again from the database's position. */
void xo_offset_given_back(xo_rocketmq *s, xo_rmq_queue *q, int64_t delay_ms);

/* ---- watermark.c: the source's op. */
xonce_status xo_watermark(xonce_source *source, int64_t *ms);

enum { XO_COMMITTING = -2 };           /* in q->committed: a report to the broker is under way */
/* ---- commit.c */
/* Writes what is settled of one queue to the database. A row begun by somebody else is no failure here. Service thread. */
xonce_status xo_commit_queue(xo_rocketmq *s, xo_rmq_queue *q);
#endif
