/* SQLite's result codes as the library's errors. */
#include "store/sqlite/impl.h"

#include <string.h>

static int starts_with(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* SQLITE_ERROR says little by itself: of a statement that is being prepared it is the schema or the syntax, of a
 * running one its text tells. */
static xo_sql_class class_of_error(int preparing, const char *text)
{
    static const char *const data[] = {"malformed JSON",    "JSON ",       "bad JSON", "integer overflow",
                                       "ESCAPE expression", "LIKE or GLOB"};
    if (preparing || starts_with(text, "no such ") || strstr(text, "has no column"))
        return XO_SQL_SETUP;
    for (size_t i = 0; i < sizeof data / sizeof *data; i++)
        if (starts_with(text, data[i]))
            return XO_SQL_DATA;
    return XO_SQL_OTHER;
}

xo_sql_class xo_lite_class(int rc, int preparing, const char *text)
{
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_SCHEMA: return XO_SQL_AGAIN;
    case SQLITE_CONSTRAINT: return rc == SQLITE_CONSTRAINT_FOREIGNKEY ? XO_SQL_PARENT : XO_SQL_DATA;
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG: return XO_SQL_DATA;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CANTOPEN: return XO_SQL_SETUP;
    case SQLITE_FULL: /* no message's fault, and none succeeds before there is room */
    case SQLITE_IOERR: return XO_SQL_LOST;
    case SQLITE_ERROR: return class_of_error(preparing, text);
    default: return XO_SQL_OTHER;
    }
}

static xonce_status code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_SCHEMA: return XONCE_E_CONFLICT;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH: return XONCE_E_AUTH;
    case SQLITE_CANTOPEN:
    case SQLITE_FULL:
    case SQLITE_IOERR: return XONCE_E_CONNECT;
    case SQLITE_NOMEM: return XONCE_E_NOMEM;
    default: return XONCE_E_SQL;
    }
}

/* What to do, where SQLite's own words do not say it. */
static const char *hint(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_BUSY:
        return rc == SQLITE_BUSY_SNAPSHOT
                   ? ": another connection wrote since this transaction began; roll back and begin again"
                   : ": another connection has been writing for longer than store.lock-timeout";
    case SQLITE_READONLY:
        return ": the database is read-only: look at mode=ro in the URI and at the rights of the file and its folder";
    case SQLITE_FULL: return ": the disk or max_page_count is full";
    case SQLITE_CORRUPT: return ": the database file is damaged; restore it, or try .recover of the sqlite3 shell";
    case SQLITE_NOTADB: return ": this file is no SQLite database";
    case SQLITE_CANTOPEN:
        return ": look at the path, at the rights of the file and its folder, and at the number of open files";
    default: return "";
    }
}

xonce_status xo_lite_fail(xo_lite *c, int preparing, const char *what)
{
    int rc = sqlite3_extended_errcode(c->db);
    const char *text = sqlite3_errmsg(c->db);
    xo_sql_class cls = xo_lite_class(rc, preparing, text);
    xonce_status code = code_of(rc);
    if (cls == XO_SQL_SETUP && (strstr(text, "transaction_record") || starts_with(text, "no such table: xonce_") || starts_with(text, "ON CONFLICT clause")) &&
        code == XONCE_E_SQL)
        code = XONCE_E_SCHEMA;
    if (cls == XO_SQL_LOST && !c->base.joined)
        c->base.lost = 1;
    if (code == XONCE_E_SCHEMA && starts_with(text, "no such table"))
        return xo_fail_sql(code, cls, rc, NULL, "%s: %s in %s: run `xonce init` on it, or is it the wrong file?", what,
                           text, c->file ? c->file : "this database");
    return xo_fail_sql(code, cls, rc, NULL, "%s: %s%s", what, text, hint(rc));
}

xonce_status xo_lite_fail_open(sqlite3 *db, int rc, const char *file)
{
    if (db)
        rc = sqlite3_extended_errcode(db);
    const char *text = db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    xonce_status code = code_of(rc);
    xo_sql_class cls = xo_lite_class(rc, 1, text);
    if (code == XONCE_E_SQL)
        code = XONCE_E_CONNECT;
    return xo_fail_sql(code, cls, rc, NULL, "SQLite file %s: %s%s", file, text, hint(rc));
}
