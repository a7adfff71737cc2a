/* Which messages of one queue are settled. Pulled offsets are added in order; they are settled in any order; the settled prefix only grows. What was settled is described as ranges
 * (rows of xonce_settled): a new one begins where the history of the queue is another (a message inside of an old range but newer) or where offsets are missing. No locks, no I/O. */
#ifndef XO_TRACK_H
#define XO_TRACK_H
#include "source/source.h"
enum {
    XO_OPENS = 1, /* a new range begins with this span */
    XO_HOLE = 2   /* these offsets are missing in the queue: they are in no range, and a new one begins behind them */
};
typedef struct {
    int64_t end;                    /* covers [end of the one before, end) */
    int64_t store_time, log_offset; /* -1: nothing was there for us (the broker filtered it) */
    unsigned char done, opens;      /* opens: 0, XO_OPENS, XO_HOLE */
    unsigned char away;             /* its message was given back unsettled, and is not here */
} xo_span;
typedef struct {
    xo_span *spans;                 /* a ring; the first is never done */
    size_t first, n, cap;
    int64_t from;                   /* where the first span begins: everything before is settled */
    int64_t to;                     /* where the last ends: the next offset to add */
    int64_t last_open;              /* end of the last one that was added open */
    size_t open;                    /* spans not done */
    size_t opening;                 /* spans in the ring that open a range */
    xo_range now;                   /* the range that the prefix belongs to; texts are not used here. Its next may be ahead of from: then it is read again up to there */
    xo_range *closed;               /* ranges that ended and are not saved yet */
    size_t nclosed, cap_closed;
    int changed;                    /* something is to be saved */
    int skip_before;                /* set after a start that looks back: what stands before the youngest row, in the same history, is not ours (its owner decides by xo_ranges_before) */
} xo_track;
/* Begins at offset, as a continuation of range `now` (offset <= now->next) or, when now is NULL, with a range of this generation whose first = next = offset. */
void xo_track_start(xo_track *t, int64_t offset, const xo_range *now, int64_t generation);
/* Adds [to, end): end > to. done = 1: nothing to wait for; always with XO_HOLE. -1: no memory (or end is not behind to), nothing was added. */
int xo_track_add(xo_track *t, int64_t end, int64_t store_time, int64_t log_offset, int done, int opens);
/* The message at offset (the last of its span) is settled. 1: the prefix moved; 0: not; -1: no such open span (another copy was settled before). */
int xo_track_settle(xo_track *t, int64_t offset);
/* Appends what is to be saved (closed ranges, then the current one) to out, up to max; returns how many. Call xo_track_saved after they are in the database. */
size_t xo_track_ranges(const xo_track *t, xo_range *out, size_t max);
/* Forgets so many closed ones; changed is cleared when the current range still ends at next and no closed one is left. */
void xo_track_saved(xo_track *t, size_t nclosed, int64_t next);
/* The message at offset is given back, to be read again some time. -1: it is not one that is open and here. */
int xo_track_put_off(xo_track *t, int64_t offset);
/* The message at offset was read again. 1: it was away, and is here now; 0: it is settled, or has never left. */
int xo_track_come_back(xo_track *t, int64_t offset, int64_t store_time, int64_t log_offset);
int64_t xo_track_away(const xo_track *t, int64_t from); /* the offset of the first that is away, from this one on; -1: none */
int64_t xo_track_prefix(const xo_track *t);  /* = from */
/* How many offsets lie between the first and the last open one. */
int64_t xo_track_span(const xo_track *t);
/* Would the next message to add be one of another history than the current range speaks of, below its end? */
int xo_track_newer(const xo_track *t, int64_t offset, int64_t store_time, int64_t log_offset);
void xo_track_free(xo_track *t);
/* Is it inside of the row but newer: has the queue got another history? */
int xo_ranges_newer(const xo_range *r, size_t n, int64_t offset, int64_t store_time, int64_t log_offset);
const xo_range *xo_ranges_youngest(const xo_range *r, size_t n); /* of the greatest generation; NULL: there is none */
/* Does it stand before the youngest row's beginning, in the same history? Then it was settled before that, or was never ours: members of another kind had it, or the group began behind it. */
int xo_ranges_before(const xo_range *r, size_t n, int64_t offset, int64_t store_time, int64_t log_offset);
/* Does it lie inside of a row whose filter kept it from being delivered: was it passed over, not settled? tag may be NULL. */
int xo_ranges_hide(const xo_range *r, size_t n, int64_t offset, int64_t store_time, int64_t log_offset, const char *tag);
#endif
