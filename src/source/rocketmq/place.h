/* Where a queue is to be read from, given what the database and its broker say (docs/guarantees.md). No I/O, no locks. */
#ifndef XO_PLACE_H
#define XO_PLACE_H
#include "source/rocketmq/data.h"

typedef struct {
    xo_rmq_queue *q;
    int wanted;                /* it does not run yet */
    int first;                 /* the database's position counts: it becomes ours, or is claimed by offset. Else it is ours and looks back, or seeks, and the track's does */
    int foreign;               /* members that are no xonce, or of other databases, take part: what we have settled is not all that was */
    int from_broker;           /* the broker's offset is the position */
    int failed;
    int64_t seek;              /* >= 0: an operator wants this offset */
    int64_t prefix;            /* settled up to here, by the track; -1 with first */
    int reopens;               /* a row of its own is to begin at `reopen`, and all before it is settled */
    int64_t reopen;
    int look_later;            /* it is to look back, but an operator's order goes first */
    xo_range *rows;            /* by generation */
    size_t nrows;
    int64_t search_time;       /* >= 0: the look-back begins at this store time; -1: no look-back */
    int64_t committed, min, max, searched; /* the broker's answers; committed and searched -1: none */
    /* decided */
    int64_t pos;               /* the position; -1 unknown */
    int64_t at;                /* where it is read from */
    xo_range range;            /* what its settled prefix will belong to; texts unset */
    int ahead, cut;            /* the broker's offset is beyond pos without a reason; the queue ends before pos */
    int64_t lost_from, lost_to; /* pos..minimum: gone unread; lost_to 0: nothing */
} xo_begin;
typedef enum { XO_PLACE_KNOWN, XO_PLACE_UNKNOWN } xo_place;

/* Sets search_time: from what store time on a stretch is read again. */
void xo_place_search_time(xo_begin *b, int64_t look_back_ms);
/* Sets pos and at. XO_PLACE_UNKNOWN: nobody has a position; the caller sets at. */
xo_place xo_place_find(xo_begin *b);
/* Brings at into what the broker has, and says what is lost. */
void xo_place_bound(xo_begin *b);
/* Up to where anything was ever settled; -1: no rows. */
int64_t xo_place_end(const xo_begin *b);
/* Sets range: the youngest row goes on where that bridges no gap and mixes no filters, else a new one begins. */
void xo_place_range(xo_begin *b, const char *tags);

/* ---- start.c: an answer to xo_offset_request. missing_is_fine: -1 when the broker has none (22). */
xonce_status xo_offset_read(const xo_call *c, int missing_is_fine, int64_t *out);

/* ---- offset.c. */
/* Is the queue to be taken over, rather than its row be written? By offset, or by record after it was by offset. No lock. */
int xo_offset_takes(const xo_begin *b);
/* Takes it over. XONCE_E_CONFLICT: its rows are others by now. Service thread, lock not held. */
xonce_status xo_offset_take(xo_rocketmq *s, xo_begin *b);
void xo_offset_begin(xo_rmq_queue *q, const xo_begin *b);           /* under the lock: q runs, by b */

/* ---- novel.c: consume-from, which counts only for a group that neither any broker nor the database know in any queue of the topic. Service thread. */
typedef enum { XO_GROUP_NOT_ASKED, XO_GROUP_KNOWN, XO_GROUP_NEW } xo_novelty;
/* Sets b->at for a queue without any position. What is found out about its topic is kept in *topic, so that all its queues are judged alike in one round; of a new group the beginning of every queue is written to
   the database at once, whoever's they are: then members that start together agree. */
xonce_status xo_consume_from(xo_rocketmq *s, xo_begin *b, xo_novelty *topic);
#endif
