/* What a consumer has counted and measured, and a picture of it all for who watches. */
#ifndef XO_METRICS_H
#define XO_METRICS_H
#include "base/histogram.h"
#include "source/source.h"
#include "store/store.h"

/* SETTLE is the source's: of a request that tells what is settled. END_TO_END: of a fresh message, from when it was born to when the consumer knows of its COMMIT. The others: of a batch, all its attempts. */
typedef enum { XO_TIME_CLAIM, XO_TIME_HANDLER, XO_TIME_COMMIT, XO_TIME_SETTLE, XO_TIME_END_TO_END, XO_TIME_KINDS } xo_time_kind;
/* Why a message was put off, to come again. */
typedef enum { XO_RETRY_HANDLER, XO_RETRY_SQL, XO_RETRY_CONFLICT, XO_RETRY_DATABASE, XO_RETRY_TAKEN_OVER, XO_RETRY_OTHER, XO_RETRY_CAUSES } xo_retry_cause;
extern const char *const xo_time_names[XO_TIME_KINDS], *const xo_retry_names[XO_RETRY_CAUSES], *const xo_failed_names[XO_FAILED_CAUSES];
enum { XO_BATCH_STEPS = 11 }; /* up to 1, 2, 4 ... 1024 messages */

typedef struct {
    uint64_t fresh, duplicate, rejected, retried;
} xo_outcomes;
/* Of pruning in one database. Times: ms since the epoch, 0 never. */
typedef struct {
    uint64_t runs, failed, total;
    int64_t last, took_ms, deleted;
    char error[512];             /* of the last run; "" */
} xo_prune_seen;
/* Guarded by the consumer's mutex. */
typedef struct {
    xo_histogram times[XO_TIME_KINDS]; /* but for SETTLE */
    uint64_t sizes[XO_BATCH_STEPS], batches, taken; /* messages of all batches: taken */
    uint64_t retries[XO_RETRY_CAUSES], failed[XO_FAILED_CAUSES];
    int64_t poll_since;          /* monotonic: since when the source has not returned from a poll; 0 */
    char source_error[512];
} xo_metrics;

typedef struct {
    const char *topic, *tags;    /* the consumer's */
    const char *kind;            /* "messages", "batches", "ordered" */
    int by_offset;
    xo_outcomes seen;
    int64_t waiting;             /* -1: in lanes, not counted */
    size_t batch_limit;
} xo_topic_view;
typedef struct {
    xonce_store *store;
    int down;
    char error[512];             /* why it is down */
    xo_prune_seen prune;
} xo_store_view;
enum { XO_REASONS_MAX = 8, XO_REASON_SIZE = 600 };
typedef enum { XO_VIEW_NEW, XO_VIEW_RUNNING, XO_VIEW_STOPPING, XO_VIEW_ENDED, XO_VIEW_FAILED } xo_view_state;
/* A consumer at one moment. */
typedef struct {
    xo_view_state state;
    int healthy, live, no_dedup;
    char reasons[XO_REASONS_MAX][XO_REASON_SIZE]; /* all that is wrong; those that make it not live come first */
    size_t nreasons, ndeadly;
    const char *group, *source_kind, *source_uri; /* source_uri: NULL when it has none */
    int source_ok;               /* it answers polls, as far as is known */
    int source_started;          /* it has answered one */
    xo_source_counts source;
    uint64_t polled, replayed, pruned;
    xo_outcomes seen;
    size_t waiting, in_flight, in_flight_bytes, workers, busy;
    int64_t last_message_ms;     /* ago; -1 never */
    int64_t prune_every, prune_keep;
    xo_metrics metrics;          /* SETTLE filled in */
    xo_topic_view *topics;
    size_t ntopics;
    xo_store_view *stores;
    size_t nstores;
} xo_view_of;
/* *out is the caller's: xo_consumer_unview(). Nothing is asked of database or source. Thread-safe, while the consumer exists. */
xonce_status xo_consumer_view(xonce_consumer *c, xo_view_of *out);
void xo_consumer_unview(xo_view_of *v);
/* A copy of the settings in force. */
xonce_status xo_consumer_settings(xonce_consumer *c, xonce_config **out);
/* The queues that are read here, as the source knows them; *n 0 when it has no offsets. */
xonce_status xo_consumer_queues(xonce_consumer *c, xo_source_queue **out, size_t *n);

/* Something that watches the consumer and must end before it is freed: end(arg) is called then. One at a time; *was is the one before, NULL when there was none. */
void xo_consumer_watched(xonce_consumer *c, void *arg, void (*end)(void *arg), void **was);
void *xo_consumer_watcher(xonce_consumer *c);
#endif
