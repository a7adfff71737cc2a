/* A handler as others write it: libpq, libmariadb or SQLite itself, one statement a message, waited for. */
#include "bench/blocking.h"
#ifdef HAVE_POSTGRESQL
#include "xonce/postgres.h"
#endif
#ifdef HAVE_MYSQL
#include "xonce/mysql.h"
#endif
#ifdef HAVE_SQLITE
#include "xonce/sqlite.h"
#endif
#include <string.h>

#define INSERT(a, b) "INSERT INTO bench_orders (id, payload) VALUES (" a ", " b ")"

static xonce_status failed(const char *what)
{
    return xo_fail(XONCE_E_SQL, "bench: a blocking handler: %s", what);
}

#ifdef HAVE_POSTGRESQL
static xonce_status postgres_prepare(xonce_tx *native, void **conn)
{
    PGconn *c = xonce_tx_postgres(native);
    PGresult *r = c ? PQprepare(c, "bench_order", INSERT("$1", "$2"), 2, NULL) : NULL;
    xonce_status st = PQresultStatus(r) == PGRES_COMMAND_OK ? XONCE_OK : failed(c ? PQerrorMessage(c) : "no connection");
    PQclear(r);
    *conn = NULL;
    return st;
}

static int postgres_run(xonce_tx *tx, const char *id, const char *body, size_t len)
{
    PGconn *c = xonce_tx_postgres(tx);
    const char *values[] = {id, body};
    const int lengths[] = {(int)strlen(id), (int)len}, formats[] = {0, 0};
    PGresult *r = c ? PQexecPrepared(c, "bench_order", 2, values, lengths, formats, 0) : NULL;
    int done = PQresultStatus(r) == PGRES_COMMAND_OK;
    PQclear(r);
    return done;
}
#endif

#ifdef HAVE_MYSQL
static xonce_status mysql_prepare_insert(xonce_tx *native, void **conn)
{
    static const char sql[] = INSERT("?", "?");
    MYSQL *c = xonce_tx_mysql(native);
    MYSQL_STMT *s = c ? mysql_stmt_init(c) : NULL;
    *conn = s;
    if (s && mysql_stmt_prepare(s, sql, sizeof sql - 1) == 0)
        return XONCE_OK;
    if (s)
        (void)mysql_stmt_close(s);
    return failed(c ? mysql_error(c) : "no connection");
}

static int mysql_run(xonce_tx *tx, const char *id, const char *body, size_t len)
{
    MYSQL_STMT *s = xonce_tx_connection(tx);
    unsigned long lengths[] = {strlen(id), len};
    MYSQL_BIND b[2];
    memset(b, 0, sizeof b);
    for (int i = 0; i < 2; i++) {
        b[i].buffer_type = MYSQL_TYPE_STRING;
        b[i].buffer = (void *)(uintptr_t)(i ? body : id);
        b[i].length = &lengths[i];
    }
    return xonce_tx_mysql(tx) && s && mysql_stmt_bind_param(s, b) == 0 && mysql_stmt_execute(s) == 0;
}
#endif

#ifdef HAVE_SQLITE
static xonce_status sqlite_prepare(xonce_tx *native, void **conn)
{
    sqlite3 *c = xonce_tx_sqlite(native);
    sqlite3_stmt *s = NULL;
    int fine = c && sqlite3_prepare_v3(c, INSERT("?", "?"), -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) == SQLITE_OK;
    *conn = s;
    return fine ? XONCE_OK : failed(c ? sqlite3_errmsg(c) : "no connection");
}

static int sqlite_run(xonce_tx *tx, const char *id, const char *body, size_t len)
{
    sqlite3_stmt *s = xonce_tx_connection(tx);
    if (!xonce_tx_sqlite(tx) || !s)
        return 0;
    int done = sqlite3_bind_text(s, 1, id, -1, SQLITE_STATIC) == SQLITE_OK && sqlite3_bind_text(s, 2, body, (int)len, SQLITE_STATIC) == SQLITE_OK && sqlite3_step(s) == SQLITE_DONE;
    (void)sqlite3_reset(s);
    return done;
}
#endif

static xonce_status prepare(void *arg, xonce_tx *native, void **conn)
{
    switch (((const xonce_store *)arg)->d->kind) {
#ifdef HAVE_POSTGRESQL
    case XO_DIALECT_PG: return postgres_prepare(native, conn);
#endif
#ifdef HAVE_MYSQL
    case XO_DIALECT_MYSQL: return mysql_prepare_insert(native, conn);
#endif
#ifdef HAVE_SQLITE
    case XO_DIALECT_SQLITE: return sqlite_prepare(native, conn);
#endif
    default: return failed("this build has no such engine");
    }
}

static void finish(void *arg, void *conn)
{
#ifdef HAVE_MYSQL
    if (conn && ((const xonce_store *)arg)->d->kind == XO_DIALECT_MYSQL)
        (void)mysql_stmt_close(conn);
#endif
#ifdef HAVE_SQLITE
    if (conn && ((const xonce_store *)arg)->d->kind == XO_DIALECT_SQLITE)
        (void)sqlite3_finalize(conn);
#endif
    (void)arg;
    (void)conn;
}

xonce_status bench_blocking_prepare(xonce_store *s)
{
    const xonce_hooks hooks = {.size = sizeof hooks, .connected = prepare, .disconnected = finish};
    return xonce_store_hooks(s, &hooks, s);
}

xonce_verdict bench_blocking(xonce_tx *tx, const xonce_message *m, void *arg)
{
    size_t len;
    const char *body = xonce_message_body(m, &len), *id = xonce_message_id(m);
    int done = 0;
    switch (((const xonce_store *)arg)->d->kind) {
#ifdef HAVE_POSTGRESQL
    case XO_DIALECT_PG: done = postgres_run(tx, id, body, len); break;
#endif
#ifdef HAVE_MYSQL
    case XO_DIALECT_MYSQL: done = mysql_run(tx, id, body, len); break;
#endif
#ifdef HAVE_SQLITE
    case XO_DIALECT_SQLITE: done = sqlite_run(tx, id, body, len); break;
#endif
    default: break;
    }
    return done ? XONCE_DONE : XONCE_RETRY;
}
