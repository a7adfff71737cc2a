/* A handler's statements on MySQL and MariaDB: one by one, and runs of one INSERT as bulk arrays where client and server have them. */
#include "store/mysql/impl.h"

#include <stdio.h>
#include <string.h>

enum { BULK_ROWS = 1024, PART_ROWS = 16 /* where bad ones are about: less is done in vain */ };

#if XO_MY_MARIADB_CLIENT

/* The type that a column of the array has with one more value in it; -1: none holds both. Numbers become decimals, nothing else is converted. */
static int joined_type(xo_my_wire a, xo_my_wire b)
{
    if (a == b || b == XO_W_NULL)
        return (int)a;
    if (a == XO_W_NULL)
        return (int)b;
    if ((a == XO_W_INT && b == XO_W_DECIMAL) || (a == XO_W_DECIMAL && b == XO_W_INT))
        return XO_W_DECIMAL;
    return -1;
}

static size_t value_bytes(const xonce_value *v, unsigned n)
{
    size_t sum = 16;
    for (unsigned i = 0; i < n; i++)
        sum += 16 + v[i].len;
    return sum;
}

/* How many statements from s on fit one array; fills the column types. */
static size_t bulk_length(const xo_my *m, const xo_stmt *s, size_t n, xo_my_wire *types)
{
    const xo_sql *sql = s->sql;
    size_t k = 0, bytes = 0;
    for (unsigned p = 0; p < sql->nparams; p++)
        types[p] = XO_W_NULL;
    for (; k < n && k < BULK_ROWS && s[k].sql == sql; k++) {
        bytes += value_bytes(s[k].v, sql->nparams);
        if (k && bytes > m->packet)
            break;
        unsigned p = 0;
        while (p < sql->nparams && joined_type(types[p], xo_my_wire_of(&s[k].v[p])) >= 0)
            p++;
        if (p < sql->nparams)
            break;
        for (p = 0; p < sql->nparams; p++)
            types[p] = (xo_my_wire)joined_type(types[p], xo_my_wire_of(&s[k].v[p]));
    }
    return k;
}

static xonce_status fill_cell(xo_my *m, MYSQL_BIND *b, xo_my_wire type, size_t row, const xonce_value *v)
{
    char digits[24];
    const void *p = v->v.p;
    size_t len = v->len;
    switch (type) {
    case XO_W_INT:
        ((long long *)b->buffer)[row] = v->v.i;
        return XONCE_OK;
    case XO_W_REAL:
        ((double *)b->buffer)[row] = v->v.d;
        return XONCE_OK;
    case XO_W_BOOL:
        ((signed char *)b->buffer)[row] = v->v.i != 0;
        return XONCE_OK;
    case XO_W_TIME:
        return xo_my_to_time(&((MYSQL_TIME *)b->buffer)[row], v->v.i);
    case XO_W_DECIMAL:
        if (v->kind == XONCE_INT) {
            len = (size_t)snprintf(digits, sizeof digits, "%lld", (long long)v->v.i);
            p = xo_arena_dup(&m->scratch, digits, len);
            if (!p)
                return xo_nomem();
        }
        break;
    case XO_W_TEXT: {
        xonce_status st = xo_my_text_fits(m, v);
        if (st != XONCE_OK)
            return st;
        break;
    }
    case XO_W_NULL:
    case XO_W_BLOB:
        break;
    }
    ((const char **)b->buffer)[row] = p;
    b->length[row] = (unsigned long)len;
    return XONCE_OK;
}

static size_t cell_size(xo_my_wire type)
{
    switch (type) {
    case XO_W_INT:
        return sizeof(long long);
    case XO_W_REAL:
        return sizeof(double);
    case XO_W_BOOL:
        return 1;
    case XO_W_TIME:
        return sizeof(MYSQL_TIME);
    case XO_W_NULL:
    case XO_W_TEXT:
    case XO_W_DECIMAL:
    case XO_W_BLOB:
        break;
    }
    return sizeof(char *);
}

/* One column of the array: the values of parameter `param` of n statements. */
static xonce_status fill_column(xo_my *m, MYSQL_BIND *b, xo_my_wire type, unsigned param, const xo_stmt *s, size_t n)
{
    memset(b, 0, sizeof *b);
    b->buffer_type = xo_my_type(type == XO_W_NULL ? XO_W_TEXT : type);
    b->buffer = xo_arena_alloc(&m->scratch, n * cell_size(type));
    b->length = xo_arena_alloc(&m->scratch, n * sizeof *b->length);
    b->u.indicator = xo_arena_alloc(&m->scratch, n);
    if (!b->buffer || !b->length || !b->u.indicator)
        return xo_nomem();
    for (size_t r = 0; r < n; r++) {
        const xonce_value *v = &s[r].v[param];
        if (v->kind == XONCE_NULL) {
            b->u.indicator[r] = STMT_INDICATOR_NULL;
            continue;
        }
        xonce_status st = fill_cell(m, b, type, r, v);
        if (st != XONCE_OK)
            return st;
    }
    return XONCE_OK;
}

/* n executions of one INSERT as one array: one statement to the server, which takes all of it back when a row fails. */
static xonce_status bulk(xo_my *m, xo_my_cached *e, const xo_my_wire *types, const xo_stmt *s, size_t n)
{
    const xo_sql *sql = s->sql;
    xo_arena_reset(&m->scratch);
    MYSQL_BIND *b = xo_arena_alloc(&m->scratch, sql->nplaces * sizeof *b);
    if (!b)
        return xo_nomem();
    for (unsigned i = 0; i < sql->nplaces; i++) {
        xonce_status st = fill_column(m, &b[i], types[sql->places[i]], sql->places[i], s, n);
        if (st != XONCE_OK)
            return st;
    }
    unsigned size = (unsigned)n, none = 0;
    mysql_stmt_attr_set(e->stmt, STMT_ATTR_ARRAY_SIZE, &size);
    xonce_status st = xo_my_execute(m, e, b, NULL);
    if (st == XONCE_OK)
        st = xo_my_fetch(m, e, NULL, NULL, NULL, NULL);
    if (e->stmt)
        mysql_stmt_attr_set(e->stmt, STMT_ATTR_ARRAY_SIZE, &none);
    return st;
}

/* A failed array names no row, but has left nothing behind: halves find it. *bad: its index. */
static xonce_status run_bulk(xo_my *m, const xo_my_wire *types, const xo_stmt *s, size_t n, size_t *bad)
{
    const xo_sql *sql = s->sql;
    xonce_status st = XONCE_OK;
    *bad = 0;
    for (size_t i = 0, step = m->c.parts && n > PART_ROWS ? PART_ROWS : n; i < n && st == XONCE_OK;) {
        size_t k = step < n - i ? step : n - i;
        xo_my_cached *e = xo_my_find(m, sql->serial);
        if (!e)
            st = xo_my_prepare(m, sql->serial, sql->text, strlen(sql->text), &e);
        int single = k == 1 || !m->bulk || (e && (!e->stmt || mysql_stmt_param_count(e->stmt) != sql->nplaces));
        if (single)
            k = 1;
        *bad = i;
        if (st == XONCE_OK)
            st = single ? xo_my_one(m, sql, s[i].v, NULL, NULL, NULL) : bulk(m, e, types, s + i, k);
        if (st == XONCE_OK) {
            i += k;
            continue;
        }
        unsigned native = (unsigned)xonce_error_last()->native;
        if (!single && (native == XO_ER_NO_BULK || native == XO_ER_UNSUPPORTED_PS)) {
            m->bulk = 0;
        } else {
            xo_sql_class cls = xo_error_class();
            if (single || cls == XO_SQL_AGAIN || cls == XO_SQL_LOST || cls == XO_SQL_SETUP || m->c.lost)
                break;
            step = (k + 1) / 2;
        }
        st = XONCE_OK;
    }
    return st;
}
#endif

/* The run of statements from s on that can go together; runs it. */
static xonce_status run_some(xo_my *m, const xo_stmt *s, size_t n, size_t *done, size_t *bad)
{
    *done = 1;
    *bad = 0;
#if XO_MY_MARIADB_CLIENT
    if (m->bulk && s->sql->is_insert && s->sql->nplaces && n > 1 && s[1].sql == s->sql && !m->c.joined) {
        xo_my_wire types[256];
        size_t k = s->sql->nparams <= 256 ? bulk_length(m, s, n, types) : 1;
        if (k > 1) {
            *done = k;
            return run_bulk(m, types, s, k, bad);
        }
    }
#endif
    if (s->sql->kind == XO_STMT_OTHER && m->c.in_tx && !m->c.joined) {
        xonce_status st = xo_my_guard(m);
        if (st != XONCE_OK)
            return st;
    }
    (void)n;
    int64_t changed = 1;
    xonce_status st = xo_my_one(m, s->sql, s->v, NULL, NULL, s->fence ? &changed : NULL);
    return st == XONCE_OK && changed != 1 ? xo_fail(XONCE_E_FENCED, "its position was moved by another member") : st;
}

xonce_status xo_my_run(xo_conn *c, const xo_stmt *s, size_t n, size_t *failed)
{
    xo_my *m = (xo_my *)c;
    *failed = 0;
    xonce_status st = n ? xo_my_ready(m) : XONCE_OK;
    for (size_t i = 0; i < n && st == XONCE_OK;) {
        size_t done, bad;
        st = run_some(m, s + i, n - i, &done, &bad);
        *failed = i + bad;
        i += done;
    }
    if (st == XONCE_OK)
        *failed = n;
    return st;
}
