/* Positions: how far each queue of a source with offsets is settled, and where that is kept. Sources use them, stores write them, and neither knows the other. */
#ifndef XO_POSITION_H
#define XO_POSITION_H
#include "base/error.h"

/* A stretch of a queue in which every message is settled: a row of xonce_settled. docs/design.md "Positions". */
typedef struct {
    char *topic, *broker, *tags; /* topic and group without namespace; tags as subscribed */
    int32_t queue;
    int64_t generation, first, next;        /* first <= offset < next */
    int64_t last_store_time, last_log_offset; /* the greatest in it; -1 = none yet */
    int64_t epoch;                          /* how often the queue was taken over */
    int by_offset;                          /* 1: the queue's messages are claimed by offset (NULL in record_before: they are not); */
    int64_t record_before;                  /* ... those before this one, which others may have claimed by record or sent back, by record as well. INT64_MAX: all of them, until the queue's end at the
                                               take-over is known */
} xo_range;
/* Where a source with offsets keeps its positions; the consumer hands it one that writes xonce_settled. Any thread; may block as a database does. */
typedef struct {
    /* All rows of a queue, by generation. The caller frees each text and the array (xo_ranges_free). */
    xonce_status (*load)(void *self, const char *topic, const char *broker, int32_t queue, xo_range **out, size_t *n);
    /* Is there a row of any queue of this topic? */
    xonce_status (*knows)(void *self, const char *topic, int *known);
    /* Writes rows, in one transaction: a new one as it is; of an existing one (same queue and generation) next and the maxima grow together, never shrink, and epoch is the greater.
       XONCE_E_CONFLICT: a row of this queue and generation was begun by somebody else and cannot be continued so (it ends before ours begins, or has other tags): the others are written, that
       one is as it was; load again and take another generation. XONCE_E_TIMEOUT: somebody holds the rows, try again. */
    xonce_status (*save)(void *self, const xo_range *r, size_t n);
    xonce_status (*store_id)(void *self, char out[9]); /* 8 hex digits that name this database */
    /* Takes a queue over: in one transaction, and provided that its rows are still the n that were loaded, writes r (which continues the youngest of them, or is new), gives all rows of the queue
       r->by_offset, r->record_before and a new epoch, which is in r->epoch then. Who holds an older one settles nothing more. XONCE_E_CONFLICT: the rows are others by now, load again; XONCE_E_TIMEOUT as above. */
    xonce_status (*take)(void *self, xo_range *r, const xo_range *loaded, size_t n);
    /* Of a queue that was taken over with r->epoch: moves the end of r's row, if that stands between from and r->next, to r->next, where nobody wants what lies between or other rows cover it; the maxima to the greater of the row's and r's;
       and writes record_before.
       XONCE_E_FENCED: it was taken over by somebody else, or does not stand there. */
    xonce_status (*advance)(void *self, const xo_range *r, int64_t from);
    /* Is there a record of a message of this queue, at offset or behind it? */
    xonce_status (*recorded)(void *self, const char *topic, const char *broker, int32_t queue, int64_t offset, int *yes);
} xo_position_ops;
/* Does offset lie in the row; and is what has this store time and physical offset as old as what it covers? */
int xo_range_inside(const xo_range *r, int64_t offset);
int xo_range_older(const xo_range *r, int64_t store_time, int64_t log_offset);
int xo_range_wants(const char *tags, const char *tag); /* is tag (NULL: none) one of "a || b"? An expression that is not understood wants nothing */
/* Is a message of this offset, store time and physical offset inside of one of these rows? Rows written for another tag expression count only when theirs covers the message: tag may be NULL. */
int xo_ranges_cover(const xo_range *r, size_t n, int64_t offset, int64_t store_time, int64_t log_offset, const char *tag);
void xo_ranges_free(xo_range *r, size_t n); /* texts and array; NULL is fine */
#endif
