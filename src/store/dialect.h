/* What an engine supplies. postgres*.c, mysql*.c and sqlite*.c are the only files with client headers. Everything above is the same for all.
 *
 * Threads: a connection is used by one thread at a time. Errors: every op that fails has set the thread's error with xo_fail_sql(), so that xo_error_class() is right:
 * AGAIN means that the transaction (rolled back by the caller) may simply be run again; LOST that the connection is of no more use. */
#ifndef XO_DIALECT_H
#define XO_DIALECT_H
#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "message/message.h"
#include "store/sqltext.h"

typedef struct xo_dialect xo_dialect;

/* What the connections of a store are opened with. */
typedef struct {
    xo_uri uri;                 /* parsed; password wiped from argv by the program, not here */
    char *uri_text;             /* as given (libpq takes it as it is); wiped on free */
    const xonce_config *cfg;
    int64_t connect_ms, lock_ms /* waiting for a claim or a row */, idle_ms /* idle in transaction = handler timeout */;
    int read_only;
} xo_open_options;

typedef struct xo_claim xo_claim;
typedef struct xo_ask xo_ask;
typedef struct xo_company xo_company;

/* The state of a connection that the layer above may read. The engine's own struct begins with it. */
typedef struct {
    const xo_dialect *d;
    int joined;                 /* the user's own: never begin, commit, roll back, close */
    int lost;                   /* set by the engine: close it, do not reuse */
    int in_tx;                  /* between begin and commit / rollback */
    int lent;                   /* the native handle was lent, or an XO_STMT_OTHER ran, in this transaction: the guard savepoint is set */
    int escaped;                /* set by the engine as soon as it knows that the transaction was ended by somebody else */
    int commit_refused;         /* set by the engine when it refused a handler's COMMIT (SQLite): nothing of it was applied. Cleared by begin */
    int partitioned;            /* set by the engine: the record table is split by day, and the day is part of its key */
    xo_ask *ask;                /* in: to go along with the next claim */
    xo_company *with;           /* in: to go along with the next commit, of a dialect that pipelines */
    void *user;                 /* hooks.connected */
    int parts;                  /* in: queued statements of a commit are to be sent in parts that recover() can go back to */
    unsigned long id;           /* for logs */
} xo_conn;

enum { XO_NO_DAY = -1 };
static const int64_t XO_DAY_MS = 24 * 3600 * (int64_t)1000;

/* A row to claim. Rows come sorted ascending by key (bytes), keys are unique in a call. */
struct xo_claim {
    const char *key, *topic, *broker, *digest /* 32 hex, never NULL */;
    int32_t queue;
    int64_t offset, store_time, log_offset; /* -1: NULL (store_time, log_offset) */
    int32_t day;                /* of a partitioned table: which day's partition it belongs to, XO_NO_DAY: none's */
    int day_lost;               /* it has no day although other deliveries of the same message may have one: claimed alone, against all days */
    int fresh;                  /* out of claim() */
    int64_t row;                /* out of claim(), of a fresh one: what tells our row from any other that ever has this key; 0: not known */
    /* out of read_back(), for rows that are not fresh */
    int found;                  /* a row with exactly this key (bytes) and this group is there, locked or committed */
    char found_digest[33];      /* "" when the column is missing or NULL */
    char found_topic[256];
    int64_t found_row;          /* the same of the row that is there */
};

/* A queued statement of a handler. Values live in the transaction's arena. */
typedef struct {
    const xo_sql *sql;
    const xonce_value *v;       /* sql->nparams values */
    size_t item;                /* the message it was queued for */
    int fence;                  /* 1: it must change exactly one row, else the transaction is not to be committed: XONCE_E_FENCED. On PostgreSQL its text fails by itself then, so that it need not be
                                   waited for */
} xo_stmt;

/* A result row. The engine fills these per call of the row function; lens and texts are valid during it. */
struct xonce_row {
    int ncols;
    const char *const *text;    /* NUL-terminated, NULL = SQL NULL */
    const size_t *len;
};
typedef int (*xo_row_fn)(const xonce_row *r, void *arg);

/* A query that runs behind a claim. An engine that can sends it along and sets done; else the caller runs it after. */
struct xo_ask {
    const xo_sql *sql;
    const xonce_value *v;       /* sql->nparams values */
    xo_row_fn fn;
    void *arg;
    int done;
};

/* What shares the trip of a COMMIT. */
struct xo_company {
    const char *group;
    xo_claim *refused;          /* in front of it: nrefused rows of which those that are not fresh are read back, as read_back() does; a failure of that is the commit's */
    size_t nrefused;
    void (*fill)(xo_company *with); /* called once the COMMIT is on its way, while the server is busy with it: says what is to follow. NULL: nothing */
    void *arg;
    xo_claim *next;             /* behind it: the claim of nnext rows in the next transaction, with ask (may be NULL) */
    size_t nnext;
    xo_ask *ask;
    int begun;                  /* out: committed, and that transaction is open. claim() of the same rows brings its result; rollback() ends it */
};

/* The record table as it stands. */
typedef struct {
    int exists;
    int has_ours;               /* columns store_time, log_offset, digest are there */
    int partitioned;            /* split by store_day (xonce init --partitioned) */
} xo_layout;

/* The days that have a partition of their own, ascending. */
typedef struct {
    int32_t *day;
    size_t n, cap;
} xo_days;

/* What became of a day's partition: gone, or emptied and to go another time; kept, since a record in it is still needed; others held locks. */
typedef enum { XO_DAY_GONE, XO_DAY_EMPTIED, XO_DAY_NEEDED, XO_DAY_BUSY } xo_day_end;

/* What makes record r keep its partition; of each group the record's own, h is that group's row of xonce_released or none. */
#define XO_DAY_NEEDS(quoted_offset) "(h.before_ms IS NULL OR r.ctime >= h.before_ms OR NOT " XO_PRUNE_COVERED(quoted_offset, "h.before_ms") ")"
/* A record that has a day is deleted by itself only where its partition should have gone so long ago, and could not. A look takes the records without a day first, then these; for the latter the tie
   is -1 - id. */
enum { XO_PRUNE_STUCK_MS = 2 * 24 * 3600 * 1000 };

typedef enum { XO_SAVE, XO_RELEASE, XO_ROLLBACK_TO, XO_ASK_GUARD, XO_RENEW_GUARD } xo_savepoint_op;

/* The condition under which record r may go at all, once it is older than `before` (the statement's own text for that time).
   One that has a place: a range of xonce_settled remembers it for good. Where the topic was read with several filters only a range of all tags does: which filter let this message through is not
   known any more. One without (HTTP, the vendor's, a copy by somebody's fallback): by age alone; but where positions are kept an operator can bring back whatever the broker still stores, so it
   stays 4 days longer, which is a broker's retention and a day. quoted_offset: the column's name as the engine writes it. */
#define XO_PRUNE_COVERED(quoted_offset, before)                                                                                                                  \
    "((r.log_offset IS NULL AND (r.ctime < " before " - 345600000 OR NOT EXISTS (SELECT 1 FROM xonce_settled g WHERE g.consumer_group = r.consumer_group)))"     \
    " OR EXISTS (SELECT 1 FROM xonce_settled s WHERE s.consumer_group = r.consumer_group AND s.topic_name = r.topic_name"                                        \
    " AND s.broker_name = r.broker_name AND s.queue_id = r.queue_id AND s.first_offset <= r." quoted_offset " AND s.next_offset > r." quoted_offset               \
    " AND s.last_store_time >= r.store_time AND s.last_log_offset >= r.log_offset AND (s.tags = '*' OR NOT EXISTS (SELECT 1 FROM xonce_settled o"                 \
    " WHERE o.consumer_group = s.consumer_group AND o.topic_name = s.topic_name AND o.tags <> s.tags))))"

/* A look at the oldest records, by ctime and among equal ones in the engine's own order, or by id, which grows with ctime but for a clock that was set or a table that was put together from others. Work is bounded by what is looked at, not by what is found: where most old records may not go yet, or are another
   group's, a pruner goes on behind them, step by step. */
typedef struct {
    int64_t ctime, tie;         /* tie: where among equal ones; by id: ctime is 0, and tie the id */
} xo_prune_at;
typedef struct {
    xo_prune_at at;             /* of the last record looked at, in and out; 0, 0 at the beginning */
    int most;                   /* records to look at, whosesoever */
    int max;                    /* ends when so many that may go are found: room in id */
    int64_t *id;                /* out: those n that may go */
    int n, seen;
    int end;                    /* out: there is none behind */
    int young;                  /* by id: how many that are not old yet came last */
} xo_prune_look;
/* For the engines: takes a row in; 1 when it was the last one wanted. */
int xo_prune_saw(xo_prune_look *l, int64_t id, int64_t ctime, int64_t tie, int may_go);
/* The same by id. over: it is old, or from a future that only a wrong clock can have made. Others are passed by where such a one is behind them; many side by side are the end. */
enum { XO_PRUNE_YOUNG_MAX = 1000, XO_PRUNE_FUTURE_MS = 3600 * 1000 };
int xo_prune_saw_by_id(xo_prune_look *l, int64_t id, int over, int may_go);

struct xo_dialect {
    const char *name;           /* "postgresql", "mysql", "sqlite" */
    xo_dialect_kind kind;
    int runs_at_once;           /* 1: run() is called for each statement as it is queued (SQLite) */
    int savepoint_each;         /* 1: a savepoint per message costs next to nothing (SQLite) */
    int one_writer;             /* 1: one connection writes, others would only wait (SQLite) */
    int pipelines;              /* 1: commit() takes company (PostgreSQL) */
    const char *quoted_offset;  /* "\"offset\"" or "`offset`" */
    const char *sql_now;        /* expression: database time in ms UTC as a 64-bit integer */
    const char *sql_for_update; /* " FOR UPDATE" or "" */

    /* Opens a connection; reads nothing of the schema but, when the table is there, its layout. wrap takes a user's handle (PGconn *, MYSQL *, sqlite3 *) which must be in a transaction
       (else XONCE_E_INVALID). close frees; of a wrapped one it puts back what it changed and leaves the handle to the user. */
    xonce_status (*open)(xo_conn **out, const xo_open_options *o);
    xonce_status (*wrap)(xo_conn **out, void *native, const xo_open_options *o);
    void (*close)(xo_conn *c);
    int (*usable)(xo_conn *c);  /* cheap: no round trip. 0 when the connection is known to be gone */

    /* begin may be deferred and sent with the claim. SQLite: BEGIN IMMEDIATE; PostgreSQL READ COMMITTED; MySQL READ COMMITTED, autocommit=0. */
    xonce_status (*begin)(xo_conn *c);
    /* Inserts the rows, conflict target message_id only; sets fresh. now_ms (may be NULL): the database's time at the claim. Waits for other holders of a key up to lock_ms (then
       AGAIN). A refused row is no error here. A failure of any other kind (a trigger, the id sequence, a check) is an error. */
    xonce_status (*claim)(xo_conn *c, const char *group, xo_claim *rows, size_t n, int64_t *now_ms);
    /* A locking read (FOR SHARE, latest committed, never a snapshot) of the rows that are not fresh: found, found_digest, found_topic. */
    xonce_status (*read_back)(xo_conn *c, const char *group, xo_claim *rows, size_t n);
    /* Runs n statements and waits for all. On failure *failed is the index of the first that failed; those behind it had no effect or are undone with the transaction. */
    xonce_status (*run)(xo_conn *c, const xo_stmt *s, size_t n, size_t *failed);
    /* Runs n statements, then releases the guard (when lent) and commits, in as few round trips as the engine can do safely. XONCE_OK only after a durable commit of our own transaction.
       Failures: of a statement (*failed < n); XONCE_E_TX_LOST: the guard or the commit tag says that the transaction was ended by somebody else; XONCE_E_UNKNOWN_COMMIT: the
       connection broke after COMMIT was sent (c->lost is set); any other: the commit was refused, nothing is applied (*failed = n). */
    xonce_status (*commit)(xo_conn *c, const xo_stmt *s, size_t n, size_t *failed);
    /* Rolls back whatever is open and makes the connection ready for begin, or sets lost. Never fails. */
    void (*rollback)(xo_conn *c);
    /* After run() or commit() failed at statement `failed`, by an error of that statement's own: makes the transaction take statements again. *from: those before it stand, of it and those behind it nothing
       does. Any other status: only a rollback helps. NULL where each message has a savepoint of its own. */
    xonce_status (*recover)(xo_conn *c, size_t failed, size_t *from);
    /* Savepoint "xonce_item" around one message of a batch. Of the guard, when lent: XO_RENEW_GUARD sets it anew, XO_ASK_GUARD, before a rollback only, goes back to it. XONCE_OK: it was still
       there, nobody has ended the transaction; XONCE_E_TX_LOST: it was not; any other: nobody can say. */
    xonce_status (*savepoint)(xo_conn *c, xo_savepoint_op op);
    /* The native handle for a user; the guard savepoint "xonce_guard" is set when it is not yet (not when joined) and lent becomes 1. NULL on failure. */
    void *(*native)(xo_conn *c);
    /* After a handler that was lent the handle, no round trip: XONCE_OK, XONCE_E_TX_LOST (c->escaped) when the driver's flags already show that the transaction was ended, or the class AGAIN when the
       engine has rolled it back (MySQL 1213, tracked through errno and warnings as far as the driver shows). */
    xonce_status (*after_lent)(xo_conn *c);

    /* One statement now, blocking; fn may be NULL; changed may be NULL. Works inside and outside a transaction (then it commits by itself). */
    xonce_status (*query)(xo_conn *c, const xo_sql *sql, const xonce_value *v, size_t n, xo_row_fn fn, void *arg, int64_t *changed);
    /* Does this statement parse, and do its tables, columns and parameters exist? Nothing is run or kept. */
    xonce_status (*try_sql)(xo_conn *c, const xo_sql *sql);
    xonce_status (*layout)(xo_conn *c, xo_layout *out);
    /* Tries to become the one pruner of this database: *got. Held on this connection until prune_unlock or the connection's end. */
    xonce_status (*prune_lock)(xo_conn *c, int *got);
    void (*prune_unlock)(xo_conn *c);
    /* Looks for records of group with ctime < before that are covered (XO_PRUNE_COVERED). Locks none. */
    xonce_status (*prune_look)(xo_conn *c, const char *group, int64_t before_ms, xo_prune_look *look);
    /* Deletes these records of group with ctime < before in one transaction of its own, with a short lock timeout (250 ms or less), going around locked rows where the engine can. It needs not outlive a crash.
       Both are run with the lock; the deletion may let it go. */
    xonce_status (*prune_delete)(xo_conn *c, const char *group, int64_t before_ms, const int64_t *id, int n, int64_t *deleted);
    /* The findings of `check` about engine, table, settings, rights and clock. */
    xonce_status (*check)(xo_conn *c, const xo_open_options *o, void (*fn)(const xonce_finding *f, void *arg), void *arg);

    /* Of a partitioned table; NULL where the engine has none. days: out is to be freed by the caller. day_add makes partitions for n ascending days that have none: waits for locks but for a moment (AGAIN).
       day_end removes a day's partition when no record in it is needed (XO_DAY_NEEDS): nothing that comes in meanwhile is lost. rows: what was in it. */
    xonce_status (*days)(xo_conn *c, xo_days *out);
    xonce_status (*day_add)(xo_conn *c, const int32_t *day, size_t n);
    xonce_status (*day_end)(xo_conn *c, int32_t day, xo_day_end *what, int64_t *rows);
};

extern const xo_dialect *xo_dialect_postgres(void); /* NULL when not built in */
extern const xo_dialect *xo_dialect_mysql(void);
extern const xo_dialect *xo_dialect_sqlite(void);
#endif
