/* The store's inside: pool, transaction, and the loop that runs a batch until its outcome is known. */
#ifndef XO_STORE_H
#define XO_STORE_H
#include "base/config.h"
#include "store/dialect.h"
#include <pthread.h>

typedef struct xo_pool xo_pool;           /* connections, shared by the stores of several groups */

struct xonce_store {
    xo_pool *pool;
    const xo_dialect *d;
    char *group;
    xonce_config *cfg;
    xonce_identify_fn identify;
    void *identify_arg;
    int max_attempts;                     /* config `attempts` */
    int judge_sql;                        /* config sql.errors=judge */
    int reject_collision;                 /* config collision=reject */
    int64_t keep_ms;                      /* config prune.keep: claims of messages polled more than half of it ago are refused */
    int tries;                            /* config store.tries */
    int64_t handler_ms;                   /* config handler.timeout */
    int troubled;                         /* so many commits more go in parts, since a queued statement failed lately. Atomic */
    xo_prune_at pruned_to;                /* where xonce_store_prune() was cut short; prune.c guards it */
};

/* ---- pool.c ---- */
xonce_status xo_pool_open(xo_pool **out, const char *uri, const xonce_config *cfg);
void xo_pool_share(xo_pool *p);                       /* one more user; xo_pool_close by each */
void xo_pool_close(xo_pool *p);
const xo_dialect *xo_pool_dialect(const xo_pool *p);
const xo_open_options *xo_pool_options(const xo_pool *p);
xonce_status xo_pool_get(xo_pool *p, xo_conn **out);  /* waits for a free one up to store.pool-timeout; opens and runs hooks when new */
void xo_pool_put(xo_pool *p, xo_conn *c);             /* closes it when lost */
int xo_pool_wanted(xo_pool *p);                       /* somebody waits for one */
/* Where an engine has one writer at a time, transactions of this process take turns here instead of colliding in the database. No-ops elsewhere. */
xonce_status xo_pool_writer_lock(xo_pool *p);
void xo_pool_writer_unlock(xo_pool *p);
/* A statement, parsed and cached for the pool's life; *owned = 1 when the cache is full and the caller must free it. */
xonce_status xo_pool_sql(xo_pool *p, const char *sql, const xo_sql **out, int *owned);
xonce_status xo_pool_layout(xo_pool *p, xo_conn *c, int refresh, xo_layout *out);
void xo_pool_hooks(xo_pool *p, const xonce_hooks *h, void *arg);
const xonce_hooks *xo_pool_get_hooks(const xo_pool *p, void **arg);
/* The database's clock against this machine's: learnt from each claim. */
void xo_pool_clock(xo_pool *p, int64_t database_now_ms);
int64_t xo_pool_database_time(xo_pool *p, int64_t boot_ms); /* what the database's clock showed at that xo_boot_ms(), as known before any jump after it */

/* ---- store.c ---- */
/* Portable SQL ($n) on a connection of its own, outside any transaction of a handler. */
xonce_status xo_store_query(xonce_store *s, const char *sql, const xonce_value *v, size_t n, xo_row_fn fn, void *arg, int64_t *changed);
/* Does this statement of a user's parse and fit the database? */
xonce_status xo_store_try_sql(xonce_store *s, const char *sql);
void *xo_store_worker_start(xonce_store *s, xonce_status *st);
void xo_store_worker_end(xonce_store *s, void *worker);

/* ---- run.c: one batch's way through a transaction ---- */
typedef struct {
    const xonce_message *m;
    xonce_outcome outcome;
    xo_error error;                       /* why it was deferred or rejected; code XONCE_OK when it was neither */
    int failed_run;                       /* its handler or its SQL failed in this delivery (an attempt), as opposed to the database */
} xo_item;
/* What runs took, and why transactions did not go through. The claim begins with the wait for a connection; what was sent ahead counts only as far as it was waited for. */
typedef enum { XO_STAGE_CLAIM, XO_STAGE_HANDLER, XO_STAGE_COMMIT, XO_STAGES } xo_stage;
typedef enum { XO_FAILED_CONFLICT, XO_FAILED_CONNECTION, XO_FAILED_UNKNOWN_COMMIT, XO_FAILED_MESSAGE, XO_FAILED_OTHER, XO_FAILED_CAUSES } xo_failed_cause;
typedef struct {
    int64_t us[XO_STAGES];                 /* of all attempts together */
    unsigned n[XO_STAGES];                 /* attempts that came to the end of this stage */
    unsigned failed[XO_FAILED_CAUSES];    /* attempts */
} xo_times;
typedef struct xo_runner xo_runner;
typedef struct xo_spec xo_spec;
/* A worker's: its next batch, whose claim is sent behind the COMMIT of the one that runs, where the engine can. */
typedef struct {
    /* Asked when a COMMIT is on its way: the next batch if one is there now, and its spec; 0 when none is. All must stay where they are. Whatever becomes of the claim, xo_run() of just these items comes next. */
    size_t (*take)(void *arg, xo_item **items, const xo_spec **spec);
    void *arg;
    xo_runner *next;                      /* it is on its way; xo_run() ends it, or xo_ahead_drop() */
    int rest;                             /* so many batches without: the last ones did not go through at once */
} xo_ahead;
void xo_ahead_drop(xo_ahead *a);
struct xo_spec {
    xonce_handler one;                    /* exactly one of the two */
    xonce_batch_handler many;
    void *arg;
    void *worker;                         /* xo_store_worker_start's */
    const int *stopping;                  /* set to 1 (atomically) when a stop was asked for; may be NULL */
    int ordered;                          /* a message that leaves takes all behind it in its lane with it */
    int no_dedup;                         /* the at-least-once baseline: no claim */
    int max_attempts;                     /* 0: the store's */
    xo_ahead *ahead;                      /* NULL: nothing is claimed ahead */
    xo_times *times;                      /* is added to; NULL: not measured */
};
/* Runs the items to their outcomes: XONCE_OK when each has one (DEFERRED included). Any other status: the database cannot be used now (CONNECT, CONFLICT after all tries) or at all (SCHEMA, AUTH,
   SQL of class SETUP: permanent); items without outcome are DEFERRED. */
xonce_status xo_run(xonce_store *s, xo_item *items, size_t n, const xo_spec *spec);

/* ---- reject.c ---- */
/* Replays one marked rejected message of `topic` (NULL: any): locks and deletes its row and runs the handler in one transaction. *found 0 when none is marked. */
xonce_status xo_replay_next(xonce_store *s, const char *topic, const xo_spec *spec, int *found, xo_item *out);
#endif
