/* The rows of claims on SQLite: several by one statement, which costs a fifth less than each by its own. */
#include "store/sqlite/impl.h"

#include <string.h>

enum { ROWS = 8, SHARED = 2, OWN = 8, OWN_PLAIN = 5 };

#define COLUMNS_PLAIN "(consumer_group, ctime, message_id, topic_name, queue_id, \"offset\", broker_name"
#define COLUMNS COLUMNS_PLAIN ", store_time, log_offset, digest"
#define EIGHT(row) row ", " row ", " row ", " row ", " row ", " row ", " row ", " row
#define ROW_PLAIN "(?1, ?2, ?, ?, ?, ?, ?)"
#define ROW_OURS "(?1, ?2, ?, ?, ?, ?, ?, ?, ?, ?)"
#define INTO "INSERT INTO transaction_record "
#define END " ON CONFLICT (message_id) DO NOTHING"

static int bind_known(sqlite3_stmt *s, int i, int64_t v)
{
    return v < 0 ? sqlite3_bind_null(s, i) : sqlite3_bind_int64(s, i, v);
}

static int bind_text(sqlite3_stmt *s, int i, const char *text)
{
    return sqlite3_bind_text(s, i, text, (int)strlen(text), SQLITE_STATIC);
}

/* The group and the time are the same for all rows of a claim. */
static int bind_shared(sqlite3_stmt *s, const char *group, int64_t now)
{
    return bind_text(s, 1, group) | sqlite3_bind_int64(s, 2, now);
}

static int bind_row(sqlite3_stmt *s, int at, const xo_claim *r, int ours)
{
    int bad = bind_text(s, at, r->key) | bind_text(s, at + 1, r->topic) | sqlite3_bind_int(s, at + 2, r->queue) | sqlite3_bind_int64(s, at + 3, r->offset) | bind_text(s, at + 4, r->broker);
    if (ours)
        bad |= bind_known(s, at + 5, r->store_time) | bind_known(s, at + 6, r->log_offset) | bind_text(s, at + 7, r->digest);
    return bad;
}

static xonce_status insert(xo_lite *c, sqlite3_stmt *s, const xo_claim *rows, int n, int *inserted)
{
    int per = c->layout.has_ours ? OWN : OWN_PLAIN, bad = SQLITE_OK;
    for (int i = 0; i < n; i++)
        bad |= bind_row(s, 1 + SHARED + i * per, &rows[i], c->layout.has_ours);
    xonce_status st = bad == SQLITE_OK ? xo_lite_step(c, s, "claim") : xo_lite_fail(c, 0, "claim");
    *inserted = st == XONCE_OK ? sqlite3_changes(c->db) : 0;
    return st;
}

static xonce_status insert_each(xo_lite *c, const char *group, xo_claim *rows, size_t n, int64_t now)
{
    sqlite3_stmt *s = NULL;
    xonce_status st = xo_lite_own_stmt(c, XO_LITE_CLAIM, c->layout.has_ours ? INTO COLUMNS ") VALUES " ROW_OURS END : INTO COLUMNS_PLAIN ") VALUES " ROW_PLAIN END, &s);
    if (st == XONCE_OK && bind_shared(s, group, now) != SQLITE_OK)
        st = xo_lite_fail(c, 0, "claim");
    for (size_t i = 0; i < n && st == XONCE_OK; i++) {
        int inserted = 0;
        st = insert(c, s, &rows[i], 1, &inserted);
        rows[i].fresh = inserted == 1;
    }
    if (s)
        sqlite3_clear_bindings(s);
    return st;
}

/* One number of a query; -1: there is no row. */
static xonce_status ask(xo_lite *c, sqlite3_stmt *s, int64_t *out)
{
    int rc = sqlite3_step(s);
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : -1;
    xonce_status st = rc == SQLITE_ROW || rc == SQLITE_DONE ? XONCE_OK : xo_lite_fail(c, 0, "claim");
    sqlite3_reset(s);
    return st;
}

/* Some of the rows came in: those that stand behind what was the last row before, *last. Nobody else writes meanwhile. */
static xonce_status tell_apart(xo_lite *c, int64_t *last, xo_claim *rows, int n)
{
    sqlite3_stmt *s = NULL;
    const int64_t before = *last;
    xonce_status st = xo_lite_own_stmt(c, XO_LITE_CLAIM_ROW, "SELECT rowid FROM transaction_record WHERE message_id = ?1 AND message_id = ?1 COLLATE BINARY", &s);
    for (int i = 0; i < n && st == XONCE_OK; i++) {
        int64_t row = -1;
        st = bind_text(s, 1, rows[i].key) == SQLITE_OK ? ask(c, s, &row) : xo_lite_fail(c, 0, "claim");
        rows[i].fresh = st == XONCE_OK && row > before;
        *last = row > *last ? row : *last;
    }
    if (s)
        sqlite3_clear_bindings(s);
    return st;
}

/* Claims the first rows by statements of many; *done: how many. None where rows have no number that rises. */
static xonce_status insert_many(xo_lite *c, const char *group, xo_claim *rows, size_t n, int64_t now, size_t *done)
{
    sqlite3_stmt *s = NULL, *end = NULL;
    int64_t last = 0;
    if (xo_lite_own_stmt(c, XO_LITE_CLAIM_LAST, "SELECT coalesce(max(rowid), 0) FROM transaction_record", &end) != XONCE_OK) {
        c->no_rowid = 1;
        return XONCE_OK;
    }
    xonce_status st = xo_lite_own_stmt(c, XO_LITE_CLAIM_MANY, c->layout.has_ours ? INTO COLUMNS ") VALUES " EIGHT(ROW_OURS) END : INTO COLUMNS_PLAIN ") VALUES " EIGHT(ROW_PLAIN) END, &s);
    if (st == XONCE_OK)
        st = bind_shared(s, group, now) == SQLITE_OK ? ask(c, end, &last) : xo_lite_fail(c, 0, "claim");
    while (st == XONCE_OK && n - *done >= ROWS && last >= 0 && last < INT64_MAX - ROWS) {
        xo_claim *r = rows + *done;
        int inserted = 0;
        st = insert(c, s, r, ROWS, &inserted);
        for (int i = 0; i < ROWS; i++)
            r[i].fresh = inserted == ROWS;
        if (inserted == ROWS)
            last = sqlite3_last_insert_rowid(c->db);
        else if (inserted > 0)
            st = tell_apart(c, &last, r, ROWS);
        *done += ROWS;
    }
    if (s)
        sqlite3_clear_bindings(s);
    return st;
}

xonce_status xo_lite_insert(xo_lite *c, const char *group, xo_claim *rows, size_t n, int64_t now)
{
    size_t done = 0;
    xonce_status st = XONCE_OK;
    for (size_t i = 0; i < n; i++)
        rows[i].fresh = 0;
    c->own_work++;
    if (n >= ROWS && !c->no_rowid)
        st = insert_many(c, group, rows, n, now, &done);
    c->own_work--;
    return st == XONCE_OK ? insert_each(c, group, rows + done, n - done, now) : st;
}
