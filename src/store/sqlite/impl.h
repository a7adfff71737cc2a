/* The inside of the SQLite dialect, shared by the files of this folder only. */
#ifndef XO_SQLITE_IMPL_H
#define XO_SQLITE_IMPL_H
#include "store/dialect.h"
#include <sqlite3.h>

enum { XO_SQLITE_SLOTS = 128 };

/* The library's own statements on a connection. */
typedef enum {
    XO_LITE_BEGIN,
    XO_LITE_COMMIT,
    XO_LITE_ROLLBACK,
    XO_LITE_SAVE,
    XO_LITE_RELEASE,
    XO_LITE_BACK,
    XO_LITE_GUARD,
    XO_LITE_UNGUARD,
    XO_LITE_CLAIM,
    XO_LITE_CLAIM_MANY,
    XO_LITE_CLAIM_LAST,
    XO_LITE_CLAIM_ROW,
    XO_LITE_READ_BACK,
    XO_LITE_PRUNE_LOOK,
    XO_LITE_PRUNE_DELETE,
    XO_LITE_OWN_COUNT
} xo_lite_own;

typedef struct {
    xo_conn base;
    sqlite3 *db;
    sqlite3 *prune; /* holds the pruner's lock; NULL when not held */
    char *file;
    int64_t lock_ms;
    xo_layout layout;
    int wal_known; /* the journal mode was looked after */
    int wal;       /* it is WAL */
    int no_rowid;  /* transaction_record is WITHOUT ROWID */
    int own_work;  /* inside a call of ours: a rollback is an error's doing, not a handler's */
    int ending;    /* inside our own COMMIT: the commit hook lets it pass */
    int aborted;   /* not 0: the result code with which SQLite rolled the transaction back after a statement */
    int guard, item, guard_in_item; /* which savepoints are set */
    sqlite3_stmt *own[XO_LITE_OWN_COUNT];
    struct {
        unsigned serial;
        sqlite3_stmt *stmt;
    } cache[XO_SQLITE_SLOTS]; /* of users' statements; a newer one with the same slot takes its place */
    const char **row_text;    /* of the row that is being given out */
    size_t *row_len;
    size_t cap_text, cap_len;
    xo_buf row_bytes; /* blobs of that row, with a NUL behind each */
} xo_lite;

/* error.c */
/* Sets the thread's error from the connection's last one. preparing: an SQLITE_ERROR is then a matter of the schema or
 * the syntax. */
xonce_status xo_lite_fail(xo_lite *c, int preparing, const char *what);
/* The same for a connection that could not be opened; never a class that would be tried again when it cannot help. */
xonce_status xo_lite_fail_open(sqlite3 *db, int rc, const char *file);
/* What a result code says about the message that met it. */
xo_sql_class xo_lite_class(int rc, int preparing, const char *text);

/* stmt.c */
xonce_status xo_lite_query(xo_conn *c, const xo_sql *sql, const xonce_value *v, size_t n, xo_row_fn fn, void *arg,
                           int64_t *changed);
xonce_status xo_lite_run(xo_conn *c, const xo_stmt *s, size_t n, size_t *failed);
xonce_status xo_lite_try(xo_conn *c, const xo_sql *sql);
/* One text without parameters or with a given statement of ours; fn may be NULL. */
xonce_status xo_lite_exec(xo_lite *c, const char *sql, xo_row_fn fn, void *arg);
/* Prepares a statement of ours once per connection. */
xonce_status xo_lite_own_stmt(xo_lite *c, xo_lite_own which, const char *sql, sqlite3_stmt **out);
/* Steps a statement without rows to its end and resets it. */
xonce_status xo_lite_step(xo_lite *c, sqlite3_stmt *s, const char *what);
void xo_lite_finalize_all(xo_lite *c);

/* sqlite.c */
/* XONCE_OK outside a transaction and inside one that is still ours; else what became of it: nothing may run then, it would
   commit by itself. */
xonce_status xo_lite_still_open(xo_lite *c);

/* claim.c */
/* Inserts the rows of a claim whose ids are not there yet; sets fresh. The layout is known. */
xonce_status xo_lite_insert(xo_lite *c, const char *group, xo_claim *rows, size_t n, int64_t now);

/* check.c */
xonce_status xo_lite_check(xo_conn *c, const xo_open_options *o, void (*fn)(const xonce_finding *f, void *arg),
                           void *arg);
#endif
