/* Watermark and pruning, for the consumer's maintenance and the program. */
#ifndef XO_PRUNE_H
#define XO_PRUNE_H
#include "store/store.h"
/* A group is alive: updated_ms becomes the database's now, and watermark_ms rises to mark, a time in ms UTC before which
   everything was settled. XO_MARK_NOW: the database's now (everything delivered was settled, nothing older waits in the
   source); XO_MARK_NONE: it stays. The watermark never moves back. To be called every few minutes while consuming:
   pruning stops when it is older than an hour. */
enum { XO_MARK_NONE = -1, XO_MARK_NOW = 0 };
xonce_status xo_watermark_heartbeat(xonce_store *s, int64_t mark);
/* One run: looks at the group's old records from the oldest on, deletes what may go, in small transactions with rests between them. */
typedef struct {
    int64_t keep_ms;
    int max_rows;               /* 0: all */
    const int64_t *rate;        /* instead of the store's prune.rate; NULL: that */
    xo_prune_at from;           /* begins behind this one */
    int (*go_on)(void *arg);    /* asked between steps and at least each 100 ms; 0 ends the run. May be NULL */
    void *arg;
} xo_prune_order;
typedef struct {
    int64_t deleted, kept;      /* kept: looked at, and not deleted: not covered, another group's, or locked */
    int64_t before;             /* the time before which records may go; 0: none may */
    xo_prune_at at;             /* how far it got */
    int whole;                  /* to the end */
} xo_prune_result;
/* XONCE_E_CONFLICT: another pruner was at work, nothing was deleted. */
xonce_status xo_prune_run(xonce_store *s, const xo_prune_order *o, xo_prune_result *out);
/* What xonce_store_prune() would delete now, by the same rules: rows of this group with ctime < *before (ms UTC; both 0
 * when nothing may go, the log says why). */
xonce_status xo_prune_count(xonce_store *s, int64_t keep_ms, int64_t *rows, int64_t *before);

/* The statement that deletes up to so many records by the same rules, for a DBA's own job: appended to out, without a semicolon. It reads the watermark itself, and deletes nothing while that is stale. */
xonce_status xo_prune_sql(xonce_store *s, int64_t keep_ms, int rows, xo_buf *out);

/* ---- between prune.c, watermark.c and schema.c ---- */
enum { XO_WATERMARK_STALE_MS = 3600 * 1000, XO_CLOCK_OFF_MAX_MS = 5 * 60 * 1000 };
/* What the database says about now and about the group. */
typedef struct {
    int64_t now;       /* the database's clock, ms UTC */
    int64_t clock_off; /* database minus local, the time of the question taken out; 0 within it */
    int has_row;
    int64_t watermark, updated; /* of the group's row */
} xo_marks;
/* with_table 0: the watermark's table is not asked. */
xonce_status xo_marks_read(xonce_store *s, xo_conn *c, int with_table, xo_marks *out);
/* How long something may still come back, and the longest that a handler may hold it: 24 h over HTTP and from custom sources, 6 h
   where positions are kept, and handler.timeout. */
xonce_status xo_prune_floor(xonce_store *s, int64_t *ms);
#endif
