/* The inside of the MySQL and MariaDB store: its connection, shared by the files of this folder only. Compiles against libmariadb and Oracle's libmysqlclient. */
#ifndef XO_MYSQL_IMPL_H
#define XO_MYSQL_IMPL_H
#include "store/dialect.h"

#include <mysql.h>
#include <stdbool.h>

#if defined(MARIADB_PACKAGE_VERSION_ID) || defined(MARIADB_BASE_VERSION)
#define XO_MY_MARIADB_CLIENT 1 /* has bulk arrays (STMT_ATTR_ARRAY_SIZE) and my_bool */
typedef my_bool xo_my_bool;
#else
#define XO_MY_MARIADB_CLIENT 0
typedef bool xo_my_bool;
#endif

/* Numbers that both servers share; the clients' headers name them differently. */
enum {
    XO_ER_DUP_ENTRY = 1062, XO_ER_BAD_FIELD = 1054, XO_ER_NO_SUCH_TABLE = 1146, XO_ER_LOCK_TIMEOUT = 1205, XO_ER_DEADLOCK = 1213,
    XO_ER_UNSUPPORTED_PS = 1295, XO_ER_NO_SAVEPOINT = 1305, XO_ER_UNKNOWN_STMT = 1243, XO_ER_UNKNOWN_VARIABLE = 1193, XO_ER_NO_BULK = 4033,
    XO_CR_OUT_OF_SYNC = 2014
};
enum { XO_MY_CACHE = 64, XO_MY_CLAIM_MAX = 512, XO_MY_FENCES = 8 };

typedef struct {
    uint64_t key, used;
    MYSQL_STMT *stmt; /* NULL: the server cannot prepare it, it runs as text */
} xo_my_cached;

typedef struct {
    xo_conn c; /* first */
    MYSQL *my;
    char *db, *table;           /* database; transaction_record, qualified and quoted: a handler may change the current database */
    int server_maria;           /* what the server is */
    unsigned version;           /* 101104 */
    int returning, bulk;        /* what may be used of it: mysql.dialect=mysql forbids both */
    int compound;               /* it takes BEGIN NOT ATOMIC ... END with values, for all that was seen so far */
    int skip_locked;
    int own_columns;            /* store_time, log_offset, digest; taken as there until a statement says otherwise */
    int layout_known;           /* own_columns and c.partitioned were asked for */
    int utf8;                   /* 0: a joined connection whose character set takes only ASCII from us */
    int foreign_zone;           /* a joined connection: -1 not asked yet, 0 its time zone is UTC, 1 it is not */
    char zone[64];
    size_t packet;              /* bytes that one statement may carry safely */
    int lock_s, lock_now;       /* innodb_lock_wait_timeout: wanted in transactions, set at present */
    int part;                       /* the savepoint of a commit in parts is set */
    int guard, item, guard_in_item; /* savepoints that are set; the guard was set after the item's */
    int in_trans_when_lent;     /* the driver showed an open transaction when the handle was lent */
    unsigned dead;              /* the error that ended the transaction: nothing more until rollback */
    int64_t increment, increment_boot; /* auto_increment_increment, and when it was asked */
    xo_claim *read_rows;        /* these rows were read back by claim() itself, and nothing has run since */
    size_t read_n;
    int64_t clock_offset, clock_boot; /* database time minus xo_boot_ms(), and when it was asked */
    xo_my_cached cache[XO_MY_CACHE];
    uint64_t uses;
    xo_arena scratch;           /* values of the statement being run */
} xo_my;

#define XO_MY_NOW "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(3)) DIV 1000)"

/* error.c */
xo_sql_class xo_my_classify(unsigned e, const char *sqlstate);
/* Makes a driver's error the thread's last one and notes in m what it means for connection and transaction. what: "claim", "COMMIT"... or NULL. */
xonce_status xo_my_fail(xo_my *m, unsigned e, const char *sqlstate, const char *text, const char *what);
xonce_status xo_my_fail_conn(xo_my *m, const char *what);
xonce_status xo_my_fail_stmt(xo_my *m, MYSQL_STMT *s, const char *what);
/* XONCE_OK, or why nothing can be run on m now: it is lost, or its transaction is over. */
xonce_status xo_my_ready(xo_my *m);

/* open.c */
xonce_status xo_my_open(xo_conn **out, const xo_open_options *o);
xonce_status xo_my_wrap(xo_conn **out, void *native, const xo_open_options *o);
void xo_my_close(xo_conn *c);
int xo_my_usable(xo_conn *c);
int xo_my_socket(const xo_my *m);

/* stmt.c: text and prepared statements. */
/* Runs text of ours and reads all of its results; fn (may be NULL) gets the rows. */
xonce_status xo_my_text(xo_my *m, const char *sql, size_t len, xo_row_fn fn, void *arg, int64_t *changed);
xonce_status xo_my_do(xo_my *m, const char *sql);
/* Prepared and cached: key is a statement's serial, or XO_MY_OWN. *found is 1 on a hit. */
#define XO_MY_OWN(op, n) ((uint64_t)(op) << 48 | (uint64_t)(n) << 32)
xo_my_cached *xo_my_find(xo_my *m, uint64_t key);
xonce_status xo_my_prepare(xo_my *m, uint64_t key, const char *text, size_t len, xo_my_cached **out);
void xo_my_forget(xo_my *m, xo_my_cached *e);
/* Binds (b may be NULL), executes. *changed after a statement without rows. */
xonce_status xo_my_execute(xo_my *m, xo_my_cached *e, MYSQL_BIND *b, const char *what);
/* Reads all rows and further results of what was executed. */
xonce_status xo_my_fetch(xo_my *m, xo_my_cached *e, xo_row_fn fn, void *arg, int64_t *changed, const char *what);
/* Its parts: the result that is at hand; and whatever comes behind it (of a procedure: further results and its status), all to be read before the connection can go on. */
xonce_status xo_my_one_result(xo_my *m, MYSQL_STMT *s, xo_row_fn fn, void *arg, int64_t *changed, const char *what);
xonce_status xo_my_rest(xo_my *m, xo_my_cached *e, const char *what);
xonce_status xo_my_query(xo_conn *c, const xo_sql *sql, const xonce_value *v, size_t n, xo_row_fn fn, void *arg, int64_t *changed);
xonce_status xo_my_try_sql(xo_conn *c, const xo_sql *sql);
/* One statement of a handler, with its values. */
xonce_status xo_my_one(xo_my *m, const xo_sql *sql, const xonce_value *v, xo_row_fn fn, void *arg, int64_t *changed);

/* bind.c: values on the wire. */
typedef enum { XO_W_NULL, XO_W_INT, XO_W_REAL, XO_W_BOOL, XO_W_TEXT, XO_W_DECIMAL, XO_W_TIME, XO_W_BLOB } xo_my_wire;
xo_my_wire xo_my_wire_of(const xonce_value *v);
xonce_status xo_my_bind(xo_my *m, MYSQL_BIND *b, const xonce_value *v);
xonce_status xo_my_to_time(MYSQL_TIME *t, int64_t ms);
enum enum_field_types xo_my_type(xo_my_wire w);
xonce_status xo_my_text_fits(const xo_my *m, const xonce_value *v);

/* run.c: a handler's statements, bulk arrays. */
xonce_status xo_my_run(xo_conn *c, const xo_stmt *s, size_t n, size_t *failed);

/* compound.c */
/* n fences, and COMMIT behind them. *sent 0 and XONCE_OK: this server cannot, nothing was sent. XONCE_E_FENCED: *failed is the first of them that changed no row. Any other error: a fence's or the COMMIT's. */
xonce_status xo_my_fenced_commit(xo_my *m, const xo_stmt *s, size_t n, int *sent, size_t *failed);

/* mysql.c: the transaction. */
xonce_status xo_my_start(xo_my *m, int lock_s); /* begins, with this lock timeout */
void xo_my_rollback(xo_conn *c);
xonce_status xo_my_guard(xo_my *m); /* sets the guard savepoint when it is not set yet; lent = 1 */
xonce_status xo_my_plain_commit(xo_my *m);

/* claim.c, prune.c, check.c */
xonce_status xo_my_claim(xo_conn *c, const char *group, xo_claim *rows, size_t n, int64_t *now_ms);
xonce_status xo_my_read_back(xo_conn *c, const char *group, xo_claim *rows, size_t n);
xonce_status xo_my_layout(xo_conn *c, xo_layout *out);
xonce_status xo_my_know_layout(xo_my *m); /* asks once */
xonce_status xo_my_prune_lock(xo_conn *c, int *got);
void xo_my_prune_unlock(xo_conn *c);
xonce_status xo_my_prune_look(xo_conn *c, const char *group, int64_t before_ms, xo_prune_look *l);
xonce_status xo_my_prune_delete(xo_conn *c, const char *group, int64_t before_ms, const int64_t *id, int n, int64_t *deleted);
/* partition.c */
xonce_status xo_my_days(xo_conn *c, xo_days *out);
xonce_status xo_my_day_add(xo_conn *c, const int32_t *day, size_t n);
xonce_status xo_my_day_end(xo_conn *c, int32_t day, xo_day_end *what, int64_t *rows);
xonce_status xo_my_check(xo_conn *c, const xo_open_options *o, void (*fn)(const xonce_finding *f, void *arg), void *arg);
#endif
