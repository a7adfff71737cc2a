/* The SQLite dialect: connections, transactions and their guards, claims, the pruner's deletes. */
#include "store/sqlite/impl.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PRUNE_LOCK_MS = 250 };

static xo_lite *lite(xo_conn *c)
{
    return (xo_lite *)c;
}

/* ---- hooks: nobody but commit() ends a transaction of ours ---- */

/* Refusing turns the COMMIT into a rollback: nothing of it is applied. */
static int on_commit(void *arg)
{
    xo_lite *c = arg;
    if (!c->base.in_tx || c->ending)
        return 0;
    c->base.escaped = c->base.commit_refused = 1;
    return 1;
}

static void on_rollback(void *arg)
{
    xo_lite *c = arg;
    if (c->base.in_tx && !c->own_work)
        c->base.escaped = 1;
}

/* What to say when the transaction is gone, and whose doing it was. */
static xonce_status ended(xo_lite *c)
{
    if (c->aborted && !c->base.escaped && (c->aborted & 0xff) != SQLITE_CONSTRAINT) {
        xo_sql_class cls = xo_lite_class(c->aborted, 0, "");
        return xo_fail_sql(cls == XO_SQL_LOST ? XONCE_E_CONNECT : XONCE_E_SQL, cls, c->aborted, NULL,
                           "SQLite rolled the transaction back after an error: %s", sqlite3_errstr(c->aborted));
    }
    c->base.escaped = 1;
    return xo_fail(XONCE_E_TX_LOST, "the handler ended the transaction: a COMMIT of its own is refused and rolled "
                                    "back; a handler must not run BEGIN, COMMIT, ROLLBACK or OR ROLLBACK");
}

static int is_gone(const xo_lite *c)
{
    return c->base.escaped || sqlite3_get_autocommit(c->db);
}

xonce_status xo_lite_still_open(xo_lite *c)
{
    return c->base.in_tx && is_gone(c) ? ended(c) : XONCE_OK;
}

/* A file that was deleted or replaced under us still takes commits, and nobody will ever see them. */
static xonce_status still_there(xo_lite *c)
{
    int moved = 0;
    if (sqlite3_file_control(c->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) != SQLITE_OK || !moved)
        return XONCE_OK;
    c->base.lost = 1;
    return xo_fail_sql(XONCE_E_CONNECT, XO_SQL_LOST, 0, NULL,
                       "SQLite file %s was deleted, moved or replaced while it was open", c->file);
}

static xonce_status own(xo_lite *c, xo_lite_own which, const char *sql)
{
    sqlite3_stmt *s = NULL;
    xonce_status st = xo_lite_own_stmt(c, which, sql, &s);
    return st == XONCE_OK ? xo_lite_step(c, s, sql) : st;
}

/* ---- opening and closing ---- */

static xonce_status file_of(const xo_open_options *o, const char **file, int *flags)
{
    const xo_uri *u = &o->uri;
    *file = u->path;
    if (u->host && *u->host)
        return xo_fail(
            XONCE_E_INVALID,
            "store URI: sqlite://%s names a host; write sqlite:FILE, or sqlite:///FILE with an absolute path", u->host);
    if (!*u->path || strcmp(u->path, ":memory:") == 0)
        return xo_fail(
            XONCE_E_INVALID,
            "store URI: a file is needed, as in sqlite:orders.db; a database in memory forgets what was applied");
    *flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    for (size_t i = 0; i < u->nquery; i++) {
        const char *v = u->query[i].value;
        if (strcmp(u->query[i].name, "mode") != 0)
            return xo_fail(XONCE_E_INVALID, "store URI: unknown parameter \"%s\"; SQLite takes mode=ro, rw or rwc",
                           u->query[i].name);
        if (strcmp(v, "ro") == 0)
            *flags = SQLITE_OPEN_READONLY;
        else if (strcmp(v, "rw") == 0)
            *flags = SQLITE_OPEN_READWRITE;
        else if (strcmp(v, "rwc") != 0)
            return xo_fail(XONCE_E_INVALID, "store URI: mode=%s; it is ro, rw or rwc", v);
    }
    if (o->read_only)
        *flags = SQLITE_OPEN_READONLY;
    return XONCE_OK;
}

static int on_text(const xonce_row *r, void *arg)
{
    snprintf(arg, 32, "%s", r->text[0] ? r->text[0] : "");
    return 1;
}

/* Two processes may do this to a new file at once; SQLite then says "locked" without waiting. */
static xonce_status ensure_wal(xo_lite *c)
{
    char mode[32] = "";
    int64_t deadline = xo_mono_ms() + c->lock_ms;
    xonce_status st;
    while ((st = xo_lite_exec(c, "PRAGMA journal_mode=WAL", on_text, mode)) != XONCE_OK &&
           xo_error_class() == XO_SQL_AGAIN && xo_mono_ms() < deadline)
        xo_pause_ms(10);
    if (st != XONCE_OK)
        return st;
    /* a rollback journal needs its folder synced too for a commit to outlive a power cut */
    c->wal = strcmp(mode, "wal") == 0;
    if (!c->wal)
        st = xo_lite_exec(c, "PRAGMA synchronous=EXTRA", NULL, NULL);
    c->wal_known = st == XONCE_OK;
    return st;
}

static xonce_status lite_layout(xo_conn *conn, xo_layout *out);

static xonce_status set_up(xo_lite *c, int flags)
{
    sqlite3_extended_result_codes(c->db, 1);
    sqlite3_busy_timeout(c->db, (int)c->lock_ms);
    sqlite3_commit_hook(c->db, on_commit, c);
    sqlite3_rollback_hook(c->db, on_rollback, c);
    c->wal_known = flags == SQLITE_OPEN_READONLY;
    xonce_status st = xo_lite_exec(c, "PRAGMA foreign_keys=ON", NULL, NULL);
    if (st == XONCE_OK)
        st = xo_lite_exec(c, "PRAGMA synchronous=FULL", NULL, NULL);
    if (st == XONCE_OK)
        st = xo_lite_exec(c, "PRAGMA fullfsync=ON", NULL, NULL);
    /* pages that many commits write go back into the file less often; the WAL may grow to 16 MB instead of 4. */
    if (st == XONCE_OK)
        st = xo_lite_exec(c, "PRAGMA wal_autocheckpoint=4000", NULL, NULL);
    xo_layout now;
    if (st == XONCE_OK)
        st = lite_layout(&c->base, &now);
    /* a file that was made by a mistyped URI stays empty */
    if (st == XONCE_OK && now.exists && !c->wal_known)
        st = ensure_wal(c);
    return st;
}

static void lite_close(xo_conn *conn)
{
    xo_lite *c = lite(conn);
    if (!c)
        return;
    xo_lite_finalize_all(c);
    sqlite3_close(c->prune);
    if (c->db && !c->base.joined) {
        sqlite3_commit_hook(c->db, NULL, NULL);
        sqlite3_rollback_hook(c->db, NULL, NULL);
        if (!sqlite3_get_autocommit(c->db))
            sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
        sqlite3_close_v2(c->db);
    }
    free(c->file);
    free(c->row_text);
    free(c->row_len);
    xo_buf_free(&c->row_bytes);
    free(c);
}

static xonce_status new_conn(xo_lite **out, const char *file, const xo_open_options *o)
{
    xo_lite *c = xo_calloc(1, sizeof *c);
    if (!c)
        return xo_nomem();
    c->base.d = xo_dialect_sqlite();
    c->lock_ms = o->lock_ms > 0 && o->lock_ms < INT32_MAX ? o->lock_ms : 5000;
    /* a leading "./" keeps SQLite from taking "file:x" for a URI of its own */
    c->file = xo_printf("%s%s", strncmp(file, "file:", 5) == 0 ? "./" : "", file);
    if (!c->file) {
        free(c);
        return xo_nomem();
    }
    *out = c;
    return XONCE_OK;
}

static xonce_status lite_open(xo_conn **out, const xo_open_options *o)
{
    const char *file = NULL;
    int flags = 0;
    xo_lite *c = NULL;
    *out = NULL;
    if (!sqlite3_threadsafe())
        return xo_fail(XONCE_E_INVALID, "this SQLite library was built without threads (SQLITE_THREADSAFE=0)");
    xonce_status st = file_of(o, &file, &flags);
    if (st == XONCE_OK)
        st = new_conn(&c, file, o);
    if (st != XONCE_OK)
        return st;
    int rc = sqlite3_open_v2(c->file, &c->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        st = xo_lite_fail_open(c->db, rc, c->file);
    } else {
        st = set_up(c, flags);
        /* SQLite looks into the file only now */
        if (st == XONCE_E_SQL)
            st = xo_lite_fail_open(c->db, SQLITE_OK, c->file);
        else if (st != XONCE_OK)
            xo_error_context("SQLite file %s", c->file);
    }
    if (st != XONCE_OK) {
        xo_error e;
        xo_error_save(&e);
        lite_close(&c->base);
        return xo_error_restore(&e);
    }
    *out = &c->base;
    return XONCE_OK;
}

static xonce_status same_file(sqlite3 *db, const char *file)
{
    struct stat a, b;
    const char *theirs = sqlite3_db_filename(db, "main");
    if (!theirs || !*theirs)
        return xo_fail(XONCE_E_INVALID, "this SQLite connection has no file; the store's is %s", file);
    if (stat(theirs, &a) != 0 || stat(file, &b) != 0 || a.st_dev != b.st_dev || a.st_ino != b.st_ino)
        return xo_fail(
            XONCE_E_INVALID,
            "this SQLite connection is open on %s, the store on %s: a claim must be in the database of its effects",
            theirs, file);
    return XONCE_OK;
}

static xonce_status lite_wrap(xo_conn **out, void *native, const xo_open_options *o)
{
    sqlite3 *db = native;
    const char *file = NULL;
    int flags = 0;
    xo_lite *c = NULL;
    *out = NULL;
    if (sqlite3_get_autocommit(db))
        return xo_fail(XONCE_E_INVALID,
                       "this SQLite connection is not in a transaction: run BEGIN IMMEDIATE before joining");
    xonce_status st = file_of(o, &file, &flags);
    if (st == XONCE_OK)
        st = same_file(db, file);
    if (st == XONCE_OK)
        st = new_conn(&c, file, o);
    if (st != XONCE_OK)
        return st;
    c->db = db;
    c->wal_known = 1;
    c->base.joined = 1;
    c->base.in_tx = 1;
    xo_layout now;
    st = lite_layout(&c->base, &now);
    if (st != XONCE_OK) {
        lite_close(&c->base);
        return st;
    }
    *out = &c->base;
    return XONCE_OK;
}

static int lite_usable(xo_conn *c)
{
    return !c->lost;
}

/* ---- transactions ---- */

static void forget_tx(xo_lite *c)
{
    c->base.in_tx = c->base.lent = c->base.escaped = 0;
    c->guard = c->item = c->guard_in_item = c->aborted = 0;
}

/* A SELECT that a handler left open on the lent handle would hold its snapshot, and the next BEGIN IMMEDIATE would fail
 * for ever. */
static void reset_strays(xo_lite *c)
{
    if (!c->base.lent)
        return;
    for (sqlite3_stmt *s = sqlite3_next_stmt(c->db, NULL); s; s = sqlite3_next_stmt(c->db, s))
        if (sqlite3_stmt_busy(s))
            sqlite3_reset(s);
}

static void lite_rollback(xo_conn *conn)
{
    xo_lite *c = lite(conn);
    if (c->base.joined)
        return;
    c->own_work++;
    reset_strays(c);
    if (!sqlite3_get_autocommit(c->db) && own(c, XO_LITE_ROLLBACK, "ROLLBACK") != XONCE_OK &&
        !sqlite3_get_autocommit(c->db))
        c->base.lost = 1;
    c->own_work--;
    forget_tx(c);
}

static xonce_status lite_begin(xo_conn *conn)
{
    xo_lite *c = lite(conn);
    if (!sqlite3_get_autocommit(c->db))
        lite_rollback(conn);
    xonce_status st = still_there(c);
    if (st == XONCE_OK && !c->wal_known)
        st = ensure_wal(c);
    if (st == XONCE_OK)
        st = own(c, XO_LITE_BEGIN, "BEGIN IMMEDIATE");
    if (st != XONCE_OK)
        return st;
    forget_tx(c);
    c->base.commit_refused = 0;
    c->base.in_tx = 1;
    return XONCE_OK;
}

/* An I/O error may have struck before or after the commit reached the disk: only the key can tell. */
static xonce_status commit_failed(xo_lite *c, xonce_status st)
{
    if ((sqlite3_extended_errcode(c->db) & 0xff) != SQLITE_IOERR)
        return st;
    c->base.lost = 1;
    return xo_fail_sql(XONCE_E_UNKNOWN_COMMIT, XO_SQL_LOST, sqlite3_extended_errcode(c->db), NULL,
                       "COMMIT: %s; whether it was applied is unknown", sqlite3_errmsg(c->db));
}

static xonce_status lite_commit(xo_conn *conn, const xo_stmt *s, size_t n, size_t *failed)
{
    xo_lite *c = lite(conn);
    xonce_status st = xo_lite_run(conn, s, n, failed);
    if (st != XONCE_OK)
        return st;
    reset_strays(c);
    if (is_gone(c) || (c->guard && own(c, XO_LITE_UNGUARD, "RELEASE xonce_guard") != XONCE_OK))
        return ended(c);
    st = still_there(c);
    if (st != XONCE_OK)
        return st;
    c->ending = 1;
    st = own(c, XO_LITE_COMMIT, "COMMIT");
    c->ending = 0;
    if (st != XONCE_OK)
        return commit_failed(c, st);
    forget_tx(c);
    if (xo_failpoint("commit-sent") == XONCE_OK)
        return XONCE_OK;
    c->base.lost = 1;
    return xo_fail_sql(XONCE_E_UNKNOWN_COMMIT, XO_SQL_LOST, 0, NULL,
                       "the answer to COMMIT was lost (failpoint commit-sent)");
}

static xonce_status lite_savepoint(xo_conn *conn, xo_savepoint_op op)
{
    xo_lite *c = lite(conn);
    if (is_gone(c))
        return ended(c);
    if (op == XO_ASK_GUARD || op == XO_RENEW_GUARD) /* the hooks would have told */
        return XONCE_OK;
    /* one that was rolled back to is still there: it must not pile up */
    int release = op == XO_RELEASE || (op == XO_SAVE && c->item);
    if (release && own(c, XO_LITE_RELEASE, "RELEASE xonce_item") != XONCE_OK)
        return ended(c);
    if (op == XO_ROLLBACK_TO && own(c, XO_LITE_BACK, "ROLLBACK TO xonce_item") != XONCE_OK)
        return ended(c);
    /* a guard that was set inside went with it; that xonce_item was still there proves as much */
    if (c->guard_in_item)
        c->guard = c->guard_in_item = 0;
    if (release)
        c->item = 0;
    if (op != XO_SAVE)
        return XONCE_OK;
    xonce_status st = own(c, XO_LITE_SAVE, "SAVEPOINT xonce_item");
    c->item = st == XONCE_OK;
    return st;
}

static void *lite_native(xo_conn *conn)
{
    xo_lite *c = lite(conn);
    if (c->base.joined || !c->base.in_tx)
        return c->db;
    if (is_gone(c)) {
        ended(c);
        return NULL;
    }
    if (!c->guard) {
        if (own(c, XO_LITE_GUARD, "SAVEPOINT xonce_guard") != XONCE_OK)
            return NULL;
        c->guard = 1;
        c->guard_in_item = c->item;
    }
    c->base.lent = 1;
    return c->db;
}

static xonce_status lite_after_lent(xo_conn *conn)
{
    xo_lite *c = lite(conn);
    return is_gone(c) ? ended(c) : XONCE_OK;
}

/* ---- claims ---- */

typedef struct {
    int exists;
    unsigned ours;
} seen_columns;

static int on_column(const xonce_row *r, void *arg)
{
    seen_columns *s = arg;
    s->exists = 1;
    s->ours += strcmp(r->text[0], "store_time") == 0 || strcmp(r->text[0], "log_offset") == 0 ||
               strcmp(r->text[0], "digest") == 0;
    return 0;
}

static xonce_status lite_layout(xo_conn *conn, xo_layout *out)
{
    xo_lite *c = lite(conn);
    seen_columns seen = {0};
    xonce_status st =
        xo_lite_exec(c, "SELECT lower(name) FROM pragma_table_info('transaction_record')", on_column, &seen);
    if (st != XONCE_OK)
        return st;
    out->exists = seen.exists;
    out->has_ours = seen.ours == 3;
    if (out->has_ours != c->layout.has_ours) { /* the claim was made for other columns */
        static const xo_lite_own made[] = {XO_LITE_CLAIM, XO_LITE_CLAIM_MANY, XO_LITE_READ_BACK, XO_LITE_PRUNE_LOOK};
        for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
            sqlite3_finalize(c->own[made[i]]);
            c->own[made[i]] = NULL;
        }
    }
    c->layout = *out;
    return XONCE_OK;
}

static xonce_status know_layout(xo_lite *c)
{
    xo_layout now;
    return c->layout.exists ? XONCE_OK : lite_layout(&c->base, &now);
}

static xonce_status lite_claim(xo_conn *conn, const char *group, xo_claim *rows, size_t n, int64_t *now_ms)
{
    xo_lite *c = lite(conn);
    int64_t now = xo_now_ms();
    xonce_status st = xo_lite_still_open(c);
    if (st == XONCE_OK)
        st = know_layout(c);
    if (st == XONCE_OK)
        st = xo_lite_insert(c, group, rows, n, now);
    if (now_ms)
        *now_ms = now;
    return st;
}

static void copy_column(sqlite3_stmt *s, int column, char *out, size_t size)
{
    const unsigned char *p = sqlite3_column_text(s, column);
    snprintf(out, size, "%s", p ? (const char *)p : "");
}

/* BEGIN IMMEDIATE holds the only write lock: what is read here is the latest and cannot change. */
static xonce_status read_back_one(xo_lite *c, sqlite3_stmt *s, const char *group, xo_claim *r)
{
    r->found = 0;
    r->found_digest[0] = r->found_topic[0] = '\0';
    if (sqlite3_bind_text(s, 1, r->key, -1, SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_bind_text(s, 2, group, -1, SQLITE_STATIC) != SQLITE_OK)
        return xo_lite_fail(c, 0, "reading a record back");
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        const char *id = (const char *)sqlite3_column_text(s, 0), *owner = (const char *)sqlite3_column_text(s, 1);
        if (!id || !owner || strcmp(id, r->key) != 0 ||
            strcmp(owner, group) != 0) /* a NOCASE column says yes too easily */
            continue;
        r->found = 1;
        copy_column(s, 2, r->found_topic, sizeof r->found_topic);
        copy_column(s, 3, r->found_digest, sizeof r->found_digest);
    }
    xonce_status st = rc == SQLITE_DONE ? XONCE_OK : xo_lite_fail(c, 0, "reading a record back");
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return st;
}

static xonce_status lite_read_back(xo_conn *conn, const char *group, xo_claim *rows, size_t n)
{
    static const char with_ours[] = "SELECT message_id, consumer_group, topic_name, digest FROM transaction_record "
                                    "WHERE message_id = ?1 AND consumer_group = ?2";
    static const char plain[] = "SELECT message_id, consumer_group, topic_name, NULL FROM transaction_record WHERE "
                                "message_id = ?1 AND consumer_group = ?2";
    xo_lite *c = lite(conn);
    sqlite3_stmt *s = NULL;
    xonce_status st = know_layout(c);
    if (st == XONCE_OK)
        st = xo_lite_own_stmt(c, XO_LITE_READ_BACK, c->layout.has_ours ? with_ours : plain, &s);
    c->own_work++;
    for (size_t i = 0; i < n && st == XONCE_OK; i++)
        if (!rows[i].fresh)
            st = read_back_one(c, s, group, &rows[i]);
    c->own_work--;
    return st;
}

/* ---- pruning ---- */

/* The lock is SQLite's own, on an empty database beside the file: it works between processes and between threads, and
   goes with its holder. (Locking a file by hand is no way: closing any descriptor of a database file drops SQLite's
   locks on it.) */
static xonce_status lite_prune_lock(xo_conn *conn, int *got)
{
    xo_lite *c = lite(conn);
    *got = 0;
    const char *file = sqlite3_db_filename(c->db, "main");
    char *name = xo_printf("%s-xonce-prune", file && *file ? file : c->file);
    if (!name)
        return xo_nomem();
    xonce_status st = XONCE_OK;
    int rc = sqlite3_open_v2(name, &c->prune, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(c->prune, "BEGIN EXCLUSIVE", NULL, NULL, NULL);
    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY)
        st = xo_lite_fail_open(c->prune, rc, name);
    *got = rc == SQLITE_OK;
    if (!*got) {
        sqlite3_close(c->prune);
        c->prune = NULL;
    }
    free(name);
    return st;
}

static void lite_prune_unlock(xo_conn *conn)
{
    xo_lite *c = lite(conn);
    sqlite3_close(c->prune);
    c->prune = NULL;
}

static xonce_status lite_prune_look(xo_conn *conn, const char *group, int64_t before_ms, xo_prune_look *l)
{
#define LOOK(may_go)                                                                                                                                                       \
    "SELECT r.rowid, r.consumer_group = ?1 AND r.ctime < ?2 AND " may_go ", r.ctime < ?2 OR r.ctime > ?3 FROM transaction_record r WHERE r.rowid > ?4 ORDER BY r.rowid LIMIT ?5"
    xo_lite *c = lite(conn);
    sqlite3_stmt *s = NULL;
    xonce_status st = know_layout(c);
    if (st == XONCE_OK)
        st = xo_lite_own_stmt(c, XO_LITE_PRUNE_LOOK, c->layout.has_ours ? LOOK(XO_PRUNE_COVERED("\"offset\"", "?2")) : LOOK("1"), &s);
#undef LOOK
    if (st != XONCE_OK)
        return st;
    int rc = sqlite3_bind_text(s, 1, group, -1, SQLITE_STATIC);
    const int64_t v[] = {before_ms, xo_now_ms() + XO_PRUNE_FUTURE_MS, l->at.tie, l->most};
    for (int i = 0; i < 4 && rc == SQLITE_OK; i++)
        rc = sqlite3_bind_int64(s, i + 2, v[i]);
    c->own_work++;
    for (int last = 0; rc == SQLITE_OK && !last;) {
        rc = sqlite3_step(s);
        if (rc == SQLITE_ROW) {
            last = xo_prune_saw_by_id(l, sqlite3_column_int64(s, 0), sqlite3_column_int(s, 2), sqlite3_column_int(s, 1));
            rc = SQLITE_OK;
        }
    }
    if (rc != SQLITE_OK && rc != SQLITE_DONE)
        st = xo_lite_fail(c, 0, "prune");
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    c->own_work--;
    return st;
}

static xonce_status delete_ids(xo_lite *c, const char *group, int64_t before_ms, const int64_t *id, int n, int64_t *deleted)
{
    sqlite3_stmt *s = NULL;
    xonce_status st = xo_lite_own_stmt(c, XO_LITE_PRUNE_DELETE, "DELETE FROM transaction_record WHERE rowid = ?1 AND consumer_group = ?2 AND ctime < ?3", &s);
    for (int i = 0; i < n && st == XONCE_OK; i++) {
        if (sqlite3_bind_int64(s, 1, id[i]) != SQLITE_OK || sqlite3_bind_text(s, 2, group, -1, SQLITE_STATIC) != SQLITE_OK || sqlite3_bind_int64(s, 3, before_ms) != SQLITE_OK)
            st = xo_lite_fail(c, 0, "prune");
        else
            st = xo_lite_step(c, s, "prune");
        if (st == XONCE_OK)
            *deleted += sqlite3_changes(c->db);
    }
    if (s)
        sqlite3_clear_bindings(s);
    return st;
}

static xonce_status lite_prune_delete(xo_conn *conn, const char *group, int64_t before_ms, const int64_t *id, int n, int64_t *deleted)
{
    xo_lite *c = lite(conn);
    *deleted = 0;
    sqlite3_busy_timeout(c->db, PRUNE_LOCK_MS);
    /* the next commit of anybody syncs it */
    xonce_status st = c->wal ? xo_lite_exec(c, "PRAGMA synchronous=NORMAL", NULL, NULL) : XONCE_OK;
    if (st == XONCE_OK)
        st = own(c, XO_LITE_BEGIN, "BEGIN IMMEDIATE");
    if (st == XONCE_OK) {
        st = delete_ids(c, group, before_ms, id, n, deleted);
        if (st == XONCE_OK)
            st = own(c, XO_LITE_COMMIT, "COMMIT");
        if (st != XONCE_OK) {
            xo_error why;
            xo_error_save(&why);
            lite_rollback(conn);
            *deleted = 0;
            xo_error_restore(&why);
        }
    }
    sqlite3_busy_timeout(c->db, (int)c->lock_ms);
    if (c->wal && sqlite3_exec(c->db, "PRAGMA synchronous=FULL", NULL, NULL, NULL) != SQLITE_OK)
        conn->lost = 1; /* nobody may commit with less */
    return st;
}

static const xo_dialect dialect = {
    .name = "sqlite",
    .kind = XO_DIALECT_SQLITE,
    .runs_at_once = 1,
    .savepoint_each = 1,
    .one_writer = 1,
    .quoted_offset = "\"offset\"",
    /* exact in ms; both halves see the same moment, since 'now' stands still within a statement */
    .sql_now = "(CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4) AS INTEGER))",
    .sql_for_update = "",
    .open = lite_open,
    .wrap = lite_wrap,
    .close = lite_close,
    .usable = lite_usable,
    .begin = lite_begin,
    .claim = lite_claim,
    .read_back = lite_read_back,
    .run = xo_lite_run,
    .commit = lite_commit,
    .rollback = lite_rollback,
    .savepoint = lite_savepoint,
    .native = lite_native,
    .after_lent = lite_after_lent,
    .query = xo_lite_query,
    .try_sql = xo_lite_try,
    .layout = lite_layout,
    .prune_lock = lite_prune_lock,
    .prune_unlock = lite_prune_unlock,
    .prune_look = lite_prune_look,
    .prune_delete = lite_prune_delete,
    .check = xo_lite_check,
};

const xo_dialect *xo_dialect_sqlite(void)
{
    return &dialect;
}
