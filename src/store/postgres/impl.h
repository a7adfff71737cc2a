/* The inside of the PostgreSQL store, shared by the files of this folder only: the connection, one pipelined exchange with the server, and prepared statements. */
#ifndef XO_POSTGRES_IMPL_H
#define XO_POSTGRES_IMPL_H
#include <libpq-fe.h>
#include <stdlib.h>
#include "store/dialect.h"

enum {
    PG_PREPARED_MAX = 200,   /* statements kept prepared on one connection */
    PG_PUMP_BYTES = 1 << 18, /* sent without reading at most this much */
    PG_SEND_BYTES = 1 << 13, /* handed to the kernel when so much has gathered: the server works while we still write */
    PG_PENDING_MAX = 16,
    PG_PART_MESSAGES = 16,   /* of a commit in parts: what is run again for a bad one */
    PG_PREP_TROUBLE = 2,     /* when they were gone so often none is prepared any more */
    PG_NAME_SIZE = 64
};
/* expression: the database's time in ms UTC */
#define PG_NOW_MS "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
#define PG_OWN_KEY(n) (UINT64_C(1) << 40 | (n)) /* cache keys of our own statements, above all serials */
enum { PG_KEY_SETTINGS = 1, PG_KEY_XID = 2, PG_KEY_ROOM = 3, PG_KEY_CLAIM = 16 /* + layout, + generation */ };

/* A statement prepared on the server. */
typedef struct {
    uint64_t key;
    unsigned long used; /* the exchange that used it last */
    int ready;          /* the server has confirmed it */
    int dropping;       /* a DEALLOCATE is on its way */
    char name[PG_NAME_SIZE];
} xo_pg_prep;

typedef enum {
    PG_CONTROL, /* BEGIN, SAVEPOINT, settings: failing with "no such savepoint / no transaction" means the transaction
                   was ended by somebody else */
    PG_GUARD,   /* the release of the guard */
    PG_PREPARE,
    PG_DROP,
    PG_PART, /* a savepoint between messages */
    PG_STATEMENT,
    PG_READ_BACK, /* of refused claims, in front of a COMMIT */
    PG_COMMIT
} xo_pg_op_kind;

/* One command of an exchange whose result is awaited. */
typedef struct {
    xo_pg_op_kind kind;
    size_t stmt;             /* of the caller's statements */
    char name[PG_NAME_SIZE]; /* of the prepared statement; "" when unnamed */
    uint64_t key;
    PGresult **keep; /* where its result is wanted */
} xo_pg_op;

/* What to send. */
typedef struct {
    xo_pg_op_kind kind;
    size_t stmt;
    const char *text;
    uint64_t key; /* 0: not to be prepared */
    int n;
    const char *const *v;
    const int *len, *format;
    size_t bytes;
    PGresult **keep;
} xo_pg_send;

typedef struct {
    xo_pg_op *op;
    size_t n, cap;
    int64_t deadline; /* xo_mono_ms() */
    size_t unread;    /* bytes sent since input was looked at */
    size_t unsent;    /* gathered since they were last handed to the kernel */
    size_t part;      /* commands of the first of two parts, each with a Sync of its own; 0: there is one */
    int64_t more_ms;  /* how long the second may take */
    int entered, was_nonblocking;
    int broken; /* nothing more can be sent; the error is in `error` */
    int commit_queued;
    xo_error error; /* of the first command that failed */
    size_t failed;  /* that command; n when none or the connection */
    int answered;   /* the error came from the server for that command */
} xo_pg_exchange;

/* What a claim brings. */
typedef struct {
    PGresult *fresh, *now, *xid, *asked;
    xo_ask *ask;
    const xo_claim *rows;
} xo_pg_claimed;

typedef struct {
    const char **v;
    int *len, *format;
    size_t cap, bytes;
    xo_arena arena;
} xo_pg_params;

typedef struct {
    xo_conn pub; /* first */
    PGconn *pg;
    int64_t lock_ms, idle_ms, connect_ms;
    /* the transaction */
    int begun;         /* BEGIN was sent */
    int item_open;     /* savepoints xonce_item that are open */
    int guard_in_item; /* the guard was set inside of one: it goes with it */
    int recovering;    /* it has failed, and what is pending goes back to where it had not */
    const char *pending[PG_PENDING_MAX];
    size_t npending;
    /* the record table */
    xo_layout layout;
    int heap;              /* a table of its own, not of partitions */
    char *table;           /* qualified and quoted; NULL while it is missing */
    char *insert, *insert_one, *select; /* the claim's and the read-back's text for it */
    char *insert_any, *select_any; /* of a partitioned table, when a message without a day is among them: over all partitions */
    unsigned generation;   /* of that text */
    /* prepared statements */
    xo_pg_prep *prep;
    size_t nprep;
    unsigned long exchanges;
    unsigned long serial; /* of the connection in this process */
    unsigned names;
    int prep_trouble; /* how often prepared statements had vanished: a pooler that hands out other sessions */
    /* notices of the running exchange */
    int sync_doubt, no_tx;
    char farewell[160]; /* why the server has ended this idle session; "" while it has not */
    int prune_held;     /* the transaction of the pruner's lock is open */
    int64_t found_from, found_to; /* of a partitioned table: the ctimes of what the last look found */
    char lock_was[32];  /* wrapped: the user's lock_timeout */
    xo_pg_exchange ex;
    int ahead; /* the second part of the exchange, the next transaction's claim, is not read yet */
    xo_pg_claimed claimed;
    xo_pg_params params;
} xo_pg_conn;

static inline xo_pg_conn *xo_pg_of(xo_conn *x)
{
    return (xo_pg_conn *)x;
}

/* error.c */
xo_sql_class xo_pg_class_of(const char *sqlstate);
xonce_status xo_pg_fail_result(xo_pg_conn *c, const PGresult *r); /* from an error result */
xonce_status xo_pg_fail_lost(xo_pg_conn *c, const char *doing);   /* marks the connection lost; text from libpq */
xonce_status xo_pg_fail_aborted(xo_pg_conn *c); /* the transaction has failed and takes no statement */
xonce_status xo_pg_fail_escaped(xo_pg_conn *c); /* somebody else ended it: TX_LOST */
void xo_pg_mark_lost(xo_pg_conn *c);
void xo_pg_notice(void *arg, const PGresult *r);
const char *xo_pg_field(const PGresult *r, int code); /* never NULL */

/* open.c */
xonce_status xo_pg_open(xo_conn **out, const xo_open_options *o);
xonce_status xo_pg_wrap(xo_conn **out, void *native, const xo_open_options *o);
void xo_pg_close(xo_conn *x);
int xo_pg_usable(xo_conn *x);
int xo_pg_alive(xo_pg_conn *c); /* as far as this side knows; no round trip */

/* exchange.c: start, push commands, finish. Pushing never fails visibly; finish tells the first failure and,
 * when ex.failed < ex.n, whose it was. */
void xo_pg_start(xo_pg_conn *c, int64_t ms);
void xo_pg_push(xo_pg_conn *c, const xo_pg_send *s);
void xo_pg_push_text(xo_pg_conn *c, xo_pg_op_kind kind, const char *sql);
void xo_pg_push_parse(xo_pg_conn *c, const char *sql); /* only looks whether it can be prepared */
void xo_pg_give_up(xo_pg_conn *c);                     /* the thread's error ends the exchange and the connection */
void xo_pg_next_part(xo_pg_conn *c); /* what is pushed from here on has a fate of its own; what was pushed is on its way */
xonce_status xo_pg_finish(xo_pg_conn *c); /* of two parts the first */
xonce_status xo_pg_finish_part(xo_pg_conn *c, int64_t ms); /* the second; ms 0: as long as was said */
int64_t xo_pg_patience(const xo_pg_conn *c); /* how long the server may be busy with our statements */
xonce_status xo_pg_next_result(xo_pg_conn *c, int64_t deadline,
                               PGresult **out); /* CONNECT when the connection broke or the time is up */
xonce_status xo_pg_drain(xo_pg_conn *c);        /* brings a handle that a handler had back to idle, or marks it lost */
xonce_status xo_pg_tell(xo_pg_conn *c, const char *sql, int n, const char *const *v, int64_t ms,
                        PGresult **keep); /* one statement of ours as an exchange, no transaction prefix */

/* prepared.c */
const xo_pg_prep *xo_pg_prepared_get(xo_pg_conn *c, uint64_t key, int *fresh,
                                     const xo_pg_prep **victim); /* NULL: send it unnamed */
void xo_pg_prepared_result(xo_pg_conn *c, const xo_pg_op *op, int ok);
int xo_pg_prepared_gone(xo_pg_conn *c, const xo_pg_op *op,
                        const PGresult *r); /* the error says that it cannot be used any more: the cache is emptied, run
                                               the transaction again */
void xo_pg_prepared_forget(xo_pg_conn *c);

/* value.c */
xonce_status xo_pg_value_check(const xonce_value *v, size_t n, const char *shown);
xonce_status xo_pg_params_set(xo_pg_params *p, const xonce_value *v, size_t n);
void xo_pg_params_free(xo_pg_params *p);
enum { XO_PG_INT8 = 20, XO_PG_INT4 = 23, XO_PG_TEXT = 25 };
/* A parameter that is an array of n elements of a type, in binary; then each of them. */
void xo_pg_array_begin(xo_buf *b, uint32_t oid, size_t n);
void xo_pg_array_text(xo_buf *b, const char *text);
void xo_pg_array_int(xo_buf *b, int32_t i);
void xo_pg_array_bigint(xo_buf *b, int64_t i, int is_null);

/* postgres.c */
xonce_status xo_pg_tx_ready(xo_pg_conn *c); /* the transaction is still ours and takes statements */
void xo_pg_tx_prefix(
    xo_pg_conn *c,
    PGresult **settings); /* pushes BEGIN, settings (last column: database time) and savepoints that were put off */
void xo_pg_push_guard(xo_pg_conn *c); /* sets the savepoint that a lent handle must not take away */
void xo_pg_push_safe_commit(xo_pg_conn *c);
xonce_status xo_pg_tx_failed(xo_pg_conn *c, size_t stmt_none,
                             size_t *failed); /* turns a failed exchange into the caller's answer */
void xo_pg_rollback(xo_conn *x);

/* run.c */
xonce_status xo_pg_recover(xo_conn *x, size_t failed, size_t *from);
void xo_pg_push_stmt(xo_pg_conn *c, const xo_sql *sql, const xonce_value *v, size_t n, size_t index, PGresult **keep);
xonce_status xo_pg_each_row(const PGresult *r, xo_row_fn fn, void *arg);
xonce_status xo_pg_run(xo_conn *x, const xo_stmt *s, size_t n, size_t *failed);
xonce_status xo_pg_commit(xo_conn *x, const xo_stmt *s, size_t n, size_t *failed);
xonce_status xo_pg_query(xo_conn *x, const xo_sql *sql, const xonce_value *v, size_t n, xo_row_fn fn, void *arg,
                         int64_t *changed);
xonce_status xo_pg_try_sql(xo_conn *x, const xo_sql *sql);

/* claim.c */
xonce_status xo_pg_layout(xo_conn *x, xo_layout *out);
xonce_status xo_pg_claim(xo_conn *x, const char *group, xo_claim *rows, size_t n, int64_t *now_ms);
xonce_status xo_pg_read_back(xo_conn *x, const char *group, xo_claim *rows, size_t n);
/* The same as part of an exchange: push, and take the rows that came. */
xonce_status xo_pg_push_read_back(xo_pg_conn *c, xo_claim *rows, size_t n, PGresult **keep);
void xo_pg_take_back(const PGresult *r, const char *group, xo_claim *rows, size_t n);
/* Pushes the claim of the next transaction. Not OK: nothing was pushed. */
xonce_status xo_pg_push_ahead(xo_pg_conn *c, const xo_company *with);
void xo_pg_drop_ahead(xo_pg_conn *c); /* reads what came of it and forgets it; the transaction stays as it is */

/* prune.c */
xonce_status xo_pg_prune_lock(xo_conn *x, int *got);
void xo_pg_prune_unlock(xo_conn *x);
xonce_status xo_pg_prune_look(xo_conn *x, const char *group, int64_t before_ms, xo_prune_look *l);
xonce_status xo_pg_prune_delete(xo_conn *x, const char *group, int64_t before_ms, const int64_t *id, int n, int64_t *deleted);
#define XO_PG_PRUNE_KEY "8678565190353055858"

/* partition.c */
xonce_status xo_pg_days(xo_conn *x, xo_days *out);
xonce_status xo_pg_day_add(xo_conn *x, const int32_t *day, size_t n);
xonce_status xo_pg_day_end(xo_conn *x, int32_t day, xo_day_end *what, int64_t *rows);

/* check.c, check_table.c */
typedef struct {
    xo_pg_conn *c;
    void (*fn)(const xonce_finding *f, void *arg);
    void *arg;
    const char *table; /* qualified and quoted; NULL when missing */
    const char *user;  /* quoted: whoever runs the statements of the findings may be another */
    xonce_status st;   /* the first failure to look */
} xo_pg_checker;
PGresult *xo_pg_ask(xo_pg_checker *k, const char *sql, const char *p1, const char *p2); /* NULL: k->st is set */
int xo_pg_yes(const PGresult *r, int row, int col);
/* Reports a finding; what and sql are freed, NULL means no memory. */
void xo_pg_say(xo_pg_checker *k, int severity, char *what, const char *why, char *sql);
void xo_pg_check_table(xo_pg_checker *k);
xonce_status xo_pg_check(xo_conn *x, const xo_open_options *o, void (*fn)(const xonce_finding *f, void *arg),
                         void *arg);
#endif
