/* Statements on a MySQL connection: text of ours, prepared statements with a bounded cache, and their rows as text. */
#include "store/mysql/impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

static xonce_status text_rows(xo_my *m, MYSQL_RES *res, xo_row_fn fn, void *arg)
{
    unsigned n = mysql_num_fields(res);
    size_t *len = xo_calloc(n, sizeof *len);
    if (!len)
        return xo_nomem();
    MYSQL_ROW row;
    while ((row = mysql_fetch_row(res))) {
        const unsigned long *l = mysql_fetch_lengths(res);
        for (unsigned i = 0; i < n; i++)
            len[i] = l[i];
        xonce_row r = {.ncols = (int)n, .text = (const char *const *)row, .len = len};
        if (fn(&r, arg) != 0)
            break;
    }
    free(len);
    (void)m;
    return XONCE_OK;
}

xonce_status xo_my_text(xo_my *m, const char *sql, size_t len, xo_row_fn fn, void *arg, int64_t *changed)
{
    m->read_rows = NULL;
    if (mysql_real_query(m->my, sql, (unsigned long)len) != 0)
        return xo_my_fail_conn(m, NULL);
    for (int first = 1;; first = 0) {
        MYSQL_RES *res = mysql_store_result(m->my);
        if (!res && mysql_field_count(m->my) > 0)
            return xo_my_fail_conn(m, NULL);
        if (first && changed)
            *changed = (int64_t)mysql_affected_rows(m->my);
        xonce_status st = XONCE_OK;
        if (res) {
            if (fn)
                st = text_rows(m, res, fn, arg);
            mysql_free_result(res);
        }
        int more = mysql_next_result(m->my);
        if (more > 0)
            return xo_my_fail_conn(m, NULL);
        if (st != XONCE_OK)
            return st;
        if (more < 0)
            return XONCE_OK;
    }
}

xonce_status xo_my_do(xo_my *m, const char *sql)
{
    return xo_my_text(m, sql, strlen(sql), NULL, NULL, NULL);
}

/* ---- the cache of prepared statements ---- */

xo_my_cached *xo_my_find(xo_my *m, uint64_t key)
{
    for (size_t i = 0; i < XO_MY_CACHE; i++)
        if (m->cache[i].key == key) {
            m->cache[i].used = ++m->uses;
            return &m->cache[i];
        }
    return NULL;
}

void xo_my_forget(xo_my *m, xo_my_cached *e)
{
    (void)m;
    if (e->stmt)
        mysql_stmt_close(e->stmt);
    memset(e, 0, sizeof *e);
}

static xo_my_cached *oldest(xo_my *m)
{
    xo_my_cached *e = &m->cache[0];
    for (size_t i = 0; i < XO_MY_CACHE && e->key; i++)
        if (!m->cache[i].key || m->cache[i].used < e->used)
            e = &m->cache[i];
    return e;
}

xonce_status xo_my_prepare(xo_my *m, uint64_t key, const char *text, size_t len, xo_my_cached **out)
{
    *out = NULL;
    xo_my_bool yes = 1;
    MYSQL_STMT *s = mysql_stmt_init(m->my);
    if (!s)
        return xo_nomem();
    mysql_stmt_attr_set(s, STMT_ATTR_UPDATE_MAX_LENGTH, &yes);
    if (mysql_stmt_prepare(s, text, (unsigned long)len) != 0) {
        unsigned e = mysql_stmt_errno(s);
        xonce_status st = e == XO_ER_UNSUPPORTED_PS ? XONCE_OK : xo_my_fail_stmt(m, s, NULL);
        mysql_stmt_close(s);
        if (st != XONCE_OK)
            return st;
        s = NULL;
    }
    *out = oldest(m);
    xo_my_forget(m, *out);
    (*out)->key = key;
    (*out)->stmt = s;
    (*out)->used = ++m->uses;
    return XONCE_OK;
}

xonce_status xo_my_execute(xo_my *m, xo_my_cached *e, MYSQL_BIND *b, const char *what)
{
    m->read_rows = NULL;
    if ((!b || mysql_stmt_bind_param(e->stmt, b) == 0) && mysql_stmt_execute(e->stmt) == 0)
        return XONCE_OK;
    xonce_status st = xo_my_fail_stmt(m, e->stmt, what);
    if (mysql_stmt_errno(e->stmt) == XO_ER_UNKNOWN_STMT) /* somebody has reset the session */
        xo_my_forget(m, e);
    return st;
}

/* ---- rows of a prepared statement ---- */

typedef struct {
    unsigned n;
    MYSQL_BIND *b;
    unsigned long *length;
    xo_my_bool *null;
    char **buffer;
    size_t *len;
    const char **text;
} columns;

static void columns_free(columns *c)
{
    for (unsigned i = 0; c->buffer && i < c->n; i++)
        free(c->buffer[i]);
    free(c->b);
    free(c->length);
    free(c->null);
    free(c->buffer);
    free(c->len);
    free((void *)c->text);
}

static xonce_status columns_make(columns *c, MYSQL_RES *meta)
{
    memset(c, 0, sizeof *c);
    c->n = mysql_num_fields(meta);
    c->b = xo_calloc(c->n, sizeof *c->b);
    c->length = xo_calloc(c->n, sizeof *c->length);
    c->null = xo_calloc(c->n, sizeof *c->null);
    c->buffer = xo_calloc(c->n, sizeof *c->buffer);
    c->len = xo_calloc(c->n, sizeof *c->len);
    c->text = xo_calloc(c->n, sizeof *c->text);
    if (!c->b || !c->length || !c->null || !c->buffer || !c->len || !c->text)
        return xo_nomem();
    for (unsigned i = 0; i < c->n; i++) {
        const MYSQL_FIELD *f = mysql_fetch_field_direct(meta, i);
        size_t room = f->max_length > 64 ? f->max_length : 64;
        c->buffer[i] = xo_calloc(1, room + 1);
        if (!c->buffer[i])
            return xo_nomem();
        c->b[i].buffer_type = MYSQL_TYPE_STRING;
        c->b[i].buffer = c->buffer[i];
        c->b[i].buffer_length = (unsigned long)room;
        c->b[i].length = &c->length[i];
        c->b[i].is_null = &c->null[i];
    }
    return XONCE_OK;
}

/* A value that is longer than the server announced. */
static xonce_status widen(xo_my *m, MYSQL_STMT *s, columns *c, unsigned i)
{
    char *p = xo_calloc(1, c->length[i] + 1);
    if (!p)
        return xo_nomem();
    free(c->buffer[i]);
    c->buffer[i] = p;
    c->b[i].buffer = p;
    c->b[i].buffer_length = c->length[i];
    if (mysql_stmt_fetch_column(s, &c->b[i], i, 0) != 0)
        return xo_my_fail_stmt(m, s, "fetch");
    return mysql_stmt_bind_result(s, c->b) == 0 ? XONCE_OK : xo_my_fail_stmt(m, s, "fetch");
}

static xonce_status fetch_rows(xo_my *m, MYSQL_STMT *s, columns *c, xo_row_fn fn, void *arg)
{
    if (mysql_stmt_bind_result(s, c->b) != 0)
        return xo_my_fail_stmt(m, s, "fetch");
    for (;;) {
        int r = mysql_stmt_fetch(s);
        if (r == MYSQL_NO_DATA)
            return XONCE_OK;
        if (r != 0 && r != MYSQL_DATA_TRUNCATED)
            return xo_my_fail_stmt(m, s, "fetch");
        for (unsigned i = 0; i < c->n; i++) {
            if (!c->null[i] && c->length[i] > c->b[i].buffer_length) {
                xonce_status st = widen(m, s, c, i);
                if (st != XONCE_OK)
                    return st;
            }
            c->text[i] = c->null[i] ? NULL : c->buffer[i];
            c->len[i] = c->null[i] ? 0 : c->length[i];
            c->buffer[i][c->len[i]] = 0;
        }
        xonce_row row = {.ncols = (int)c->n, .text = c->text, .len = c->len};
        if (fn(&row, arg) != 0)
            return XONCE_OK;
    }
}

xonce_status xo_my_one_result(xo_my *m, MYSQL_STMT *s, xo_row_fn fn, void *arg, int64_t *changed, const char *what)
{
    if (mysql_stmt_field_count(s) == 0) {
        if (changed)
            *changed = (int64_t)mysql_stmt_affected_rows(s);
        return XONCE_OK;
    }
    if (mysql_stmt_store_result(s) != 0) /* where a streaming statement (INSERT ... RETURNING) reports its deadlock */
        return xo_my_fail_stmt(m, s, what);
    if (changed)
        *changed = (int64_t)mysql_stmt_num_rows(s);
    xonce_status st = XONCE_OK;
    MYSQL_RES *meta = fn ? mysql_stmt_result_metadata(s) : NULL;
    if (meta) {
        columns c;
        st = columns_make(&c, meta);
        if (st == XONCE_OK)
            st = fetch_rows(m, s, &c, fn, arg);
        columns_free(&c);
        mysql_free_result(meta);
    } else if (fn) {
        st = xo_my_fail_stmt(m, s, what);
    }
    mysql_stmt_free_result(s);
    return st;
}

xonce_status xo_my_fetch(xo_my *m, xo_my_cached *e, xo_row_fn fn, void *arg, int64_t *changed, const char *what)
{
    if (changed)
        *changed = 0;
    xonce_status st = xo_my_one_result(m, e->stmt, fn, arg, changed, what), rest = xo_my_rest(m, e, what);
    return st == XONCE_OK ? rest : st;
}

xonce_status xo_my_rest(xo_my *m, xo_my_cached *e, const char *what)
{
    xonce_status st = XONCE_OK;
    while (mysql_more_results(m->my)) {
        int more = mysql_stmt_next_result(e->stmt);
        if (more > 0)
            return st == XONCE_OK ? xo_my_fail_stmt(m, e->stmt, what) : st;
        if (more < 0)
            break;
        xonce_status next = xo_my_one_result(m, e->stmt, NULL, NULL, NULL, what);
        if (st == XONCE_OK)
            st = next;
    }
    return st;
}

/* ---- one statement ---- */

static int has_time(const xonce_value *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (v[i].kind == XONCE_TIME)
            return 1;
    return 0;
}

static int take_zone(const xonce_row *r, void *arg)
{
    xo_my *m = arg;
    m->foreign_zone = strcmp(r->text[0] ? r->text[0] : "", "+00:00") != 0;
    if (r->len[0] < sizeof m->zone)
        memcpy(m->zone, r->text[0], r->len[0] + 1);
    return 0;
}

/* A time is UTC, also for the TIMESTAMP columns of a joined connection whose session has another time zone: its zone is changed for this one statement. */
static xonce_status zone(xo_my *m, int utc)
{
    static const char ask[] = "SELECT @@session.time_zone";
    xonce_status st = XONCE_OK;
    if (m->foreign_zone < 0)
        st = xo_my_text(m, ask, sizeof ask - 1, take_zone, m, NULL);
    if (st != XONCE_OK || m->foreign_zone != 1 || m->dead || m->c.lost)
        return st;
    if (utc)
        return xo_my_do(m, "SET SESSION time_zone = '+00:00'");
    char sql[128];
    snprintf(sql, sizeof sql, "SET SESSION time_zone = '%s'", m->zone); /* as the server gave it: a zone's name or offset */
    return xo_my_do(m, sql);
}

static xonce_status bind_and_run(xo_my *m, const xo_sql *sql, const xonce_value *v, xo_my_cached *e, xo_row_fn fn, void *arg, int64_t *changed)
{
    if (mysql_stmt_param_count(e->stmt) != sql->nplaces)
        return xo_fail(XONCE_E_INVALID, "the statement has %lu parameters, %u were found in its text: %.120s", mysql_stmt_param_count(e->stmt),
                       sql->nplaces, sql->original);
    MYSQL_BIND *b = NULL;
    xo_arena_reset(&m->scratch);
    if (sql->nplaces) {
        b = xo_arena_alloc(&m->scratch, sql->nplaces * sizeof *b);
        if (!b)
            return xo_nomem();
        for (unsigned i = 0; i < sql->nplaces; i++) {
            xonce_status st = xo_my_bind(m, &b[i], &v[sql->places[i]]);
            if (st != XONCE_OK)
                return st;
        }
    }
    xonce_status st = xo_my_execute(m, e, b, NULL);
    return st == XONCE_OK ? xo_my_fetch(m, e, fn, arg, changed, NULL) : st;
}

xonce_status xo_my_one(xo_my *m, const xo_sql *sql, const xonce_value *v, xo_row_fn fn, void *arg, int64_t *changed)
{
    xo_my_cached *e = xo_my_find(m, sql->serial);
    xonce_status st = XONCE_OK;
    if (!e) {
        st = xo_my_prepare(m, sql->serial, sql->text, strlen(sql->text), &e);
        if (st != XONCE_OK)
            return st;
    }
    if (!e->stmt) {
        if (sql->nplaces)
            return xo_fail_sql(XONCE_E_SQL, XO_SQL_SETUP, XO_ER_UNSUPPORTED_PS, "HY000", "the server takes no parameters in this kind of statement: %.120s", sql->original);
        return xo_my_text(m, sql->text, strlen(sql->text), fn, arg, changed);
    }
    int shift = m->c.joined && m->foreign_zone != 0 && has_time(v, sql->nparams);
    if (shift)
        st = zone(m, 1);
    if (st == XONCE_OK)
        st = bind_and_run(m, sql, v, e, fn, arg, changed);
    if (shift && m->foreign_zone == 1) {
        xo_error kept;
        xo_error_save(&kept);
        xonce_status back = zone(m, 0);
        if (st != XONCE_OK)
            xo_error_restore(&kept);
        else
            st = back;
    }
    return st;
}

xonce_status xo_my_query(xo_conn *c, const xo_sql *sql, const xonce_value *v, size_t n, xo_row_fn fn, void *arg, int64_t *changed)
{
    xo_my *m = (xo_my *)c;
    xonce_status st = xo_my_ready(m);
    if (st != XONCE_OK)
        return st;
    if (n < sql->nparams)
        return xo_fail(XONCE_E_INVALID, "the statement has %u parameters, %zu values were given: %.120s", sql->nparams, n, sql->original);
    if (sql->kind == XO_STMT_OTHER && c->in_tx && !c->joined)
        st = xo_my_guard(m);
    if (st == XONCE_OK)
        st = xo_my_one(m, sql, v, fn, arg, changed);
    if (c->in_tx || c->joined)
        return st;
    if (st == XONCE_OK)
        return xo_my_plain_commit(m);
    xo_error kept;
    xo_error_save(&kept);
    xo_my_rollback(c);
    return xo_error_restore(&kept);
}

xonce_status xo_my_try_sql(xo_conn *c, const xo_sql *sql)
{
    xo_my *m = (xo_my *)c;
    xonce_status st = xo_my_ready(m);
    if (st != XONCE_OK)
        return st;
    MYSQL_STMT *s = mysql_stmt_init(m->my);
    if (!s)
        return xo_nomem();
    if (mysql_stmt_prepare(s, sql->text, (unsigned long)strlen(sql->text)) != 0) {
        if (mysql_stmt_errno(s) != XO_ER_UNSUPPORTED_PS)
            st = xo_my_fail_stmt(m, s, NULL);
    } else if (mysql_stmt_param_count(s) != sql->nplaces) {
        st = xo_fail(XONCE_E_INVALID, "the server sees %lu parameters in this statement, xonce %u: %.120s", mysql_stmt_param_count(s), sql->nplaces, sql->original);
    }
    mysql_stmt_close(s);
    if (m->dead && !c->in_tx && !c->joined)
        m->dead = 0;
    return st;
}
