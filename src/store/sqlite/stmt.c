/* Statements on a SQLite connection: the cache, parameters, rows. */
#include "store/sqlite/impl.h"

#include <stdlib.h>
#include <string.h>

/* ---- preparing ---- */

static xonce_status prepare(xo_lite *c, const char *sql, unsigned nparams, int keep, sqlite3_stmt **out)
{
    *out = NULL;
    if (sqlite3_prepare_v3(c->db, sql, -1, keep ? SQLITE_PREPARE_PERSISTENT : 0u, out, NULL) != SQLITE_OK)
        return xo_lite_fail(c, 1, "SQLite");
    if (!*out)
        return xo_fail(XONCE_E_INVALID, "SQLite: there is no statement in the text");
    if (sqlite3_bind_parameter_count(*out) != (int)nparams) {
        sqlite3_finalize(*out);
        *out = NULL;
        return xo_fail(XONCE_E_INVALID, "SQLite: the statement has parameters that are not $1, $2...");
    }
    return XONCE_OK;
}

static xonce_status cached(xo_lite *c, const xo_sql *sql, sqlite3_stmt **out)
{
    unsigned slot = sql->serial % XO_SQLITE_SLOTS;
    *out = c->cache[slot].stmt;
    if (*out && c->cache[slot].serial == sql->serial && !sqlite3_stmt_busy(*out))
        return XONCE_OK;
    sqlite3_stmt *made = NULL;
    xonce_status st = prepare(c, sql->text, sql->nparams, 1, &made);
    if (st != XONCE_OK)
        return st;
    sqlite3_finalize(*out);
    c->cache[slot].serial = sql->serial;
    c->cache[slot].stmt = *out = made;
    return XONCE_OK;
}

xonce_status xo_lite_own_stmt(xo_lite *c, xo_lite_own which, const char *sql, sqlite3_stmt **out)
{
    if (!c->own[which] &&
        sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &c->own[which], NULL) != SQLITE_OK) {
        *out = NULL;
        return xo_lite_fail(c, 1, "SQLite");
    }
    *out = c->own[which];
    return XONCE_OK;
}

void xo_lite_finalize_all(xo_lite *c)
{
    for (int i = 0; i < XO_LITE_OWN_COUNT; i++) {
        sqlite3_finalize(c->own[i]);
        c->own[i] = NULL;
    }
    for (int i = 0; i < XO_SQLITE_SLOTS; i++) {
        sqlite3_finalize(c->cache[i].stmt);
        c->cache[i].stmt = NULL;
    }
}

xonce_status xo_lite_try(xo_conn *conn, const xo_sql *sql)
{
    sqlite3_stmt *s = NULL;
    xonce_status st = prepare((xo_lite *)conn, sql->text, sql->nparams, 0, &s);
    sqlite3_finalize(s);
    return st;
}

/* ---- binding ---- */

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A whole number in its only form, within 64 bits. */
static int as_int(const char *p, size_t n, int64_t *out)
{
    size_t i = n > 0 && *p == '-';
    int negative = (int)i;
    if (i == n || n - i > 19 || (p[i] == '0' && n > 1))
        return 0;
    uint64_t u = 0;
    for (; i < n; i++) {
        if (!is_digit(p[i]))
            return 0;
        u = u * 10 + (uint64_t)(p[i] - '0');
    }
    if (u > (uint64_t)INT64_MAX + (uint64_t)negative)
        return 0;
    *out = negative ? (u > INT64_MAX ? INT64_MIN : -(int64_t)u) : (int64_t)u;
    return 1;
}

/* A fraction that a double gives back digit for digit: at most 15 significant digits, no exponent, no trailing zero,
   not so small that it would be shown with one. Its digits and the power of ten are exact as doubles then, so that one
   division rounds as strtod() would; strtod() itself looks at the locale. */
static int as_double(const char *p, size_t n, double *out)
{
    static const double power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9, 1e10,
                                   1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20};
    size_t i = n > 0 && *p == '-', start = i, fraction = 0;
    int point = 0, digits = 0;
    int64_t m = 0;
    for (; i < n; i++) {
        if (p[i] == '.' && !point && i > start) {
            point = 1;
            continue;
        }
        if (!is_digit(p[i]) || digits > 15)
            return 0;
        m = m * 10 + (p[i] - '0');
        digits += m > 0;
        fraction += (size_t)point;
    }
    int leading_zero = n - start > 1 && p[start] == '0' && p[start + 1] != '.';
    if (!point || fraction == 0 || fraction > 18 || digits > 15 || leading_zero || p[n - 1] == '0')
        return 0;
    double d = (double)m / power[fraction];
    if (d < 1e-4)
        return 0;
    *out = *p == '-' ? -d : d;
    return 1;
}

static int bind_decimal(sqlite3_stmt *s, int i, const xonce_value *v)
{
    int64_t n;
    double d;
    if (as_int(v->v.p, v->len, &n))
        return sqlite3_bind_int64(s, i, n);
    if (as_double(v->v.p, v->len, &d))
        return sqlite3_bind_double(s, i, d);
    return sqlite3_bind_text64(s, i, v->v.p, v->len, SQLITE_STATIC, SQLITE_UTF8);
}

static int bind_one(sqlite3_stmt *s, int i, const xonce_value *v)
{
    switch (v->kind) {
    case XONCE_INT:
    case XONCE_BOOL:
    case XONCE_TIME: return sqlite3_bind_int64(s, i, v->v.i);
    case XONCE_REAL: return sqlite3_bind_double(s, i, v->v.d);
    case XONCE_TEXT:
        return v->v.p ? sqlite3_bind_text64(s, i, v->v.p, v->len, SQLITE_STATIC, SQLITE_UTF8) : sqlite3_bind_null(s, i);
    case XONCE_DECIMAL: return v->v.p ? bind_decimal(s, i, v) : sqlite3_bind_null(s, i);
    case XONCE_BLOB:
        if (!v->v.p)
            return sqlite3_bind_null(s, i);
        return v->len ? sqlite3_bind_blob64(s, i, v->v.p, v->len, SQLITE_STATIC) : sqlite3_bind_zeroblob(s, i, 0);
    case XONCE_NULL: break;
    }
    return sqlite3_bind_null(s, i);
}

static xonce_status bind_all(xo_lite *c, sqlite3_stmt *s, const xo_sql *sql, const xonce_value *v, size_t n)
{
    if (n != sql->nparams)
        return xo_fail(XONCE_E_INVALID, "SQLite: the statement has %u parameters, %zu values were given", sql->nparams,
                       n);
    for (size_t i = 0; i < n; i++)
        if (bind_one(s, (int)i + 1, &v[i]) != SQLITE_OK)
            return xo_lite_fail(c, 0, "SQLite: binding a parameter");
    return XONCE_OK;
}

/* ---- running ---- */

/* Some errors (disk full, out of memory, OR ROLLBACK) take the whole transaction with them. */
static xonce_status after_error(xo_lite *c, const char *what)
{
    xonce_status st = xo_lite_fail(c, 0, what);
    if (c->base.in_tx && sqlite3_get_autocommit(c->db))
        c->aborted = sqlite3_extended_errcode(c->db);
    return st;
}

xonce_status xo_lite_step(xo_lite *c, sqlite3_stmt *s, const char *what)
{
    xonce_status st = XONCE_OK;
    c->own_work++;
    int rc;
    do
        rc = sqlite3_step(s);
    while (rc == SQLITE_ROW);
    if (rc != SQLITE_DONE)
        st = after_error(c, what);
    sqlite3_reset(s);
    c->own_work--;
    return st;
}

/* Fills the texts of one row. Blobs get a NUL behind them in a buffer of ours; they are entered by offset first, since
 * the buffer moves while it grows. */
static xonce_status fill_row(xo_lite *c, sqlite3_stmt *s, int ncols, xonce_row *r)
{
    static const char mark = 0;
    const char **text = xo_grow(c->row_text, &c->cap_text, (size_t)ncols, sizeof *text);
    size_t *len = xo_grow(c->row_len, &c->cap_len, (size_t)ncols, sizeof *len);
    c->row_text = text ? text : c->row_text;
    c->row_len = len ? len : c->row_len;
    if (!text || !len)
        return xo_nomem();
    xo_buf_reset(&c->row_bytes);
    for (int i = 0; i < ncols; i++) {
        int type = sqlite3_column_type(s, i);
        text[i] = NULL;
        len[i] = 0;
        if (type == SQLITE_BLOB) {
            const void *p = sqlite3_column_blob(s, i);
            len[i] = (size_t)sqlite3_column_bytes(s, i);
            xo_buf_add(&c->row_bytes, p ? p : &mark, len[i]);
            xo_buf_char(&c->row_bytes, '\0');
            text[i] = &mark;
        } else if (type != SQLITE_NULL) {
            text[i] = (const char *)sqlite3_column_text(s, i);
            len[i] = (size_t)sqlite3_column_bytes(s, i);
            if (!text[i])
                return xo_nomem();
        }
    }
    if (xo_buf_status(&c->row_bytes) != XONCE_OK)
        return xo_nomem();
    size_t at = 0;
    for (int i = 0; i < ncols; i++)
        if (text[i] == &mark) {
            text[i] = c->row_bytes.p + at;
            at += len[i] + 1;
        }
    r->ncols = ncols;
    r->text = text;
    r->len = len;
    return XONCE_OK;
}

static xonce_status each_row(xo_lite *c, sqlite3_stmt *s, xo_row_fn fn, void *arg)
{
    xonce_row r;
    for (;;) {
        int rc = sqlite3_step(s);
        if (rc == SQLITE_DONE)
            return XONCE_OK;
        if (rc != SQLITE_ROW)
            return after_error(c, "SQLite");
        if (!fn)
            continue;
        xonce_status st = fill_row(c, s, sqlite3_column_count(s), &r);
        if (st != XONCE_OK)
            return st;
        c->own_work--; /* fn is not ours */
        int stop = fn(&r, arg);
        c->own_work++;
        if (stop)
            return XONCE_OK;
    }
}

xonce_status xo_lite_query(xo_conn *conn, const xo_sql *sql, const xonce_value *v, size_t n, xo_row_fn fn, void *arg,
                           int64_t *changed)
{
    xo_lite *c = (xo_lite *)conn;
    sqlite3_stmt *s = NULL;
    if (changed)
        *changed = 0;
    xonce_status st = xo_lite_still_open(c);
    if (st == XONCE_OK)
        st = cached(c, sql, &s);
    if (st != XONCE_OK)
        return st;
    c->own_work++;
    st = bind_all(c, s, sql, v, n);
    if (st == XONCE_OK)
        st = each_row(c, s, fn, arg);
    if (st == XONCE_OK && changed && sql->kind == XO_STMT_PLAIN && !sqlite3_stmt_readonly(s))
        *changed = sqlite3_changes(c->db);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s); /* the values were not copied */
    c->own_work--;
    return st;
}

xonce_status xo_lite_run(xo_conn *conn, const xo_stmt *s, size_t n, size_t *failed)
{
    for (size_t i = 0; i < n; i++) {
        int64_t changed = 1;
        xonce_status st = xo_lite_query(conn, s[i].sql, s[i].v, s[i].sql->nparams, NULL, NULL, s[i].fence ? &changed : NULL);
        if (st == XONCE_OK && changed != 1)
            st = xo_fail(XONCE_E_FENCED, "its position was moved by another member");
        if (st != XONCE_OK) {
            *failed = i;
            return st;
        }
    }
    *failed = n;
    return XONCE_OK;
}

xonce_status xo_lite_exec(xo_lite *c, const char *sql, xo_row_fn fn, void *arg)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(c->db, sql, -1, &s, NULL) != SQLITE_OK)
        return xo_lite_fail(c, 1, "SQLite");
    c->own_work++;
    xonce_status st = each_row(c, s, fn, arg);
    sqlite3_finalize(s);
    c->own_work--;
    return st;
}
