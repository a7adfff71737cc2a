/* An open transaction: its connection, its queue of statements, and what went wrong in it. */
#ifndef XO_TX_H
#define XO_TX_H
#include "store/store.h"

struct xonce_tx {
    xonce_store *s;
    xo_conn *c;
    xo_arena arena;            /* queued values; reset when the queue is empty */
    xo_stmt *stmts;
    size_t nstmts, cap_stmts, queued_bytes;
    size_t item;               /* the message that statements are queued for */
    xo_sql *owned;             /* statements that did not fit into the pool's cache */
    int writer;                /* holds the pool's writer lock */
    int busy;                  /* inside a row callback */
    int sent;                  /* set: something of `item` went to the database already. Who runs handlers clears it before each */
    int failed;                /* a statement failed: nothing more until the handler returns */
    size_t failed_item;
    size_t failed_at;          /* after a commit that failed by a queued statement: which one; the queue is as it was */
    xo_error error;            /* that failure */
    char reason[400];          /* xonce_fail() */
    void *worker;
    const int *stopping;
    int64_t expires_mono;      /* the smallest of its messages */
    size_t lender;             /* the message whose handler had the native handle last; SIZE_MAX: nobody. The guard was seen since anybody else had it */
    int escape_refused;        /* a handler's COMMIT was refused by the engine: nothing of it was applied */
    int dead;                  /* by hand: an error made it useless but for a rollback */
};

xonce_status xo_tx_open(xonce_tx *tx, xonce_store *s);    /* connection and BEGIN into a zeroed tx */
void xo_tx_reset_queue(xonce_tx *tx);                     /* forgets queued statements */
void xo_tx_drop_item(xonce_tx *tx, size_t item);          /* forgets those of one message */
void xo_tx_close(xonce_tx *tx, int rollback);             /* gives the connection back, frees what it holds, not tx itself */
void xo_tx_clear_failure(xonce_tx *tx);
xonce_status xo_tx_commit(xonce_tx *tx, size_t *failed_item); /* *failed_item: SIZE_MAX unless a queued statement failed */
/* Queues a statement of the library's own for a message; not where all run at once. */
xonce_status xo_tx_later(xonce_tx *tx, const char *sql, const xonce_value *v, size_t n, size_t item);
/* Queues an UPDATE of one row that must find that row, for a message: runs before what is queued behind it. XONCE_E_FENCED, from here, a flush or the commit: it did not. */
xonce_status xo_tx_fence(xonce_tx *tx, const char *update, const xonce_value *v, size_t n, size_t item);
/* Now, not queued, not checked for transaction control: the library's own statements. */
xonce_status xo_tx_query(xonce_tx *tx, const char *sql, const xonce_value *v, size_t n, xo_row_fn fn, void *arg, int64_t *changed);
/* For the accessors and joins of postgres.h, mysql.h, sqlite.h. */
void *xo_tx_native(xonce_tx *tx, xo_dialect_kind kind);
xonce_status xo_tx_join(xonce_store *s, xo_dialect_kind kind, void *native, xonce_tx **out);
#endif
