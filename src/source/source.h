/* What a source gives the consumer. Workers only drain: a source owns its threads and buffers, bounds its memory, and applies back-pressure by not asking for more. */
#ifndef XO_SOURCE_H
#define XO_SOURCE_H
#include "base/histogram.h"
#include "message/message.h"
#include "message/position.h"
typedef struct xo_source_ops {
    /* Before start, once per topic. ordered: lanes are kept in order by the source as far as it can. */
    xonce_status (*subscribe)(xonce_source *s, const char *group, const char *topic, const char *tags, int ordered);
    xonce_status (*start)(xonce_source *s);
    /* Up to max messages, as a list by ->next, waiting up to timeout_ms for the first. *list NULL when none came. One caller at a time. An error is permanent when again = 0
       (credentials, unknown topic): the consumer stops. */
    xonce_status (*poll)(xonce_source *s, size_t max, int64_t timeout_ms, xonce_message **list);
    /* Takes the messages (list by ->next) and frees them when acknowledged. Returns at once; the work happens in the background. Any thread. */
    void (*ack)(xonce_source *s, xonce_message *list);
    /* Gives a message back, to come again; m->failed: its handler failed, an attempt is used up. Any thread. */
    void (*nack)(xonce_source *s, xonce_message *m, int64_t delay_ms);
    /* 1 when, since the last call, the source was seen empty on every subscription and nothing is in its buffer or unsettled: the caught-up watermark may move. */
    int (*caught_up)(xonce_source *s);
    /* No more polls; buffered messages are given back; then acks are sent for up to timeout_ms. XONCE_E_TIMEOUT when some were not. Called twice: with 0 when
       the stop begins, and at the end; acks and nacks come in between. */
    xonce_status (*stop)(xonce_source *s, int64_t timeout_ms);
    void (*wake)(xonce_source *s); /* any thread: a waiting poll returns */
    void (*close)(xonce_source *s);
    /* Before start; NULL in ops when the source has no offsets. Without it (or never called) the broker's committed offset is all there is. */
    void (*positions)(xonce_source *s, const xo_position_ops *ops, void *self);
    /* The store time (ms UTC) before which nothing of the group waits or is unsettled anywhere, whoever of its members has it; -1: that cannot be found out now. May take as long as a few
       requests do. NULL: caught_up() is all that the source knows. */
    xonce_status (*watermark)(xonce_source *s, int64_t *ms);
    /* Before start, after subscribe, and only with positions: the topic's messages are to be claimed by offset (claim_epoch set). NULL: a source without offsets. */
    xonce_status (*by_offset)(xonce_source *s, const char *topic);
} xo_source_ops;
typedef struct {
    uint64_t acked, ack_failed, expired, polls; /* expired: dropped from the buffer because their time was up */
    uint64_t answers;                           /* polls that the other side answered, with messages or with none */
    uint64_t heard;                             /* whatever else showed that it is there and lets us in, though it says nothing about messages */
    size_t buffered, unacked;
    int unhealthy;                              /* something is wrong that needs a person; the log said what */
    xo_histogram settling;                      /* of the requests that told the other side what is settled, until they were answered */
} xo_source_counts;
/* How far a queue that this member reads is. -1: not known. */
typedef struct {
    char *topic, *broker;
    int32_t queue;
    int64_t position, end;                      /* all before position is settled; end: the next offset that the broker will give, as it said with its last answer */
} xo_source_queue;
void xo_source_queues_free(xo_source_queue *q, size_t n);
struct xonce_source {
    const xo_source_ops *ops;
    const char *kind;               /* "http", "rocketmq", "custom" */
    int64_t keep_floor_ms;          /* never-forget: how long something can come back */
    int max_attempts;               /* reject at this many deliveries at the latest (HTTP 280); 0 = no limit */
    void (*counts)(xonce_source *s, xo_source_counts *out);
    /* The queues that are read here; *out is the caller's, xo_source_queues_free(). NULL: a source without offsets. Asks nobody. */
    xonce_status (*queues)(xonce_source *s, xo_source_queue **out, size_t *n);
    int several;                    /* set by the consumer before start: positions are kept in several databases, of which some may be away */
    size_t queue_messages;          /* a queue is read no further while so many of its messages are out; 0: no such bound */
    /* For a consumer of several databases, one of which is down. NULL: it cannot. Any thread, and not under a lock of its own that a poll waits for. */
    void (*hold)(xonce_source *s, const char *topic, int on); /* 1: asks for no more of this topic; what was asked for may still come. 0: goes on */
    void (*again)(xonce_source *s); /* what was given back with put_off comes again now; with it such messages wait where they came from, and cost no memory here */
    int keeps_back;                 /* what is given back stays in its memory, here: nothing is won by it */
    char *uri;                      /* as it was opened with, passwords masked; NULL: by no URI */
};
xonce_status xo_source_rocketmq_open(xonce_source **out, const char *uri, const xonce_config *cfg);
xonce_status xo_source_http_open(xonce_source **out, const char *uri, const xonce_config *cfg);
#endif
