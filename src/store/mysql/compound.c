/* Several statements in one trip: compound statements of MariaDB, prepared once, with values of their own. The server stops at the first that fails, so a COMMIT may stand behind others. */
#include "store/mysql/impl.h"

#include <string.h>

enum { OP_FENCED_COMMIT = 20 };

/* A fence that changed no row raises a SQLSTATE of ours, which says which one it was. */
#define FENCE_STATE "XO0"

static int can_go(const xo_stmt *s, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (s[i].sql != s[0].sql)
            return 0;
    return n > 0 && n <= XO_MY_FENCES && s[0].sql->nplaces > 0;
}

static xonce_status prepare_commit(xo_my *m, uint64_t key, const char *update, size_t n, xo_my_cached **out)
{
    xo_buf b = {0};
    xo_buf_str(&b, "BEGIN NOT ATOMIC ");
    for (size_t i = 0; i < n; i++)
        xo_buf_printf(&b, "%s; IF ROW_COUNT() <> 1 THEN SIGNAL SQLSTATE '" FENCE_STATE "%02zu'; END IF; ", update, i);
    xo_buf_str(&b, "COMMIT; END");
    xonce_status st = xo_buf_status(&b);
    if (st == XONCE_OK)
        st = xo_my_prepare(m, key, b.p, b.len, out);
    xo_buf_free(&b);
    return st;
}

/* 1295, or for older servers no such syntax. */
static int cannot(xonce_status st, const xo_my_cached *e)
{
    return st == XONCE_OK ? !e->stmt : xonce_error_last()->native == 1064;
}

static xonce_status bind_all(xo_my *m, const xo_stmt *s, size_t n, MYSQL_BIND **out)
{
    const xo_sql *sql = s[0].sql;
    xo_arena_reset(&m->scratch);
    MYSQL_BIND *b = *out = xo_arena_alloc(&m->scratch, n * sql->nplaces * sizeof *b);
    if (!b)
        return xo_nomem();
    xonce_status st = XONCE_OK;
    for (size_t i = 0; i < n; i++)
        for (unsigned k = 0; k < sql->nplaces && st == XONCE_OK; k++)
            st = xo_my_bind(m, b++, &s[i].v[sql->places[k]]);
    return st;
}

xonce_status xo_my_fenced_commit(xo_my *m, const xo_stmt *s, size_t n, int *sent, size_t *failed)
{
    MYSQL_BIND *b = NULL;
    *sent = 0;
    if (!m->compound || !can_go(s, n))
        return XONCE_OK;
    const uint64_t key = XO_MY_OWN(OP_FENCED_COMMIT, n) | s[0].sql->serial;
    xo_my_cached *e = xo_my_find(m, key);
    xonce_status st = e ? XONCE_OK : prepare_commit(m, key, s[0].sql->text, n, &e);
    if (cannot(st, e)) {
        m->compound = 0;
        return XONCE_OK;
    }
    if (st == XONCE_OK)
        st = bind_all(m, s, n, &b);
    if (st != XONCE_OK)
        return st;
    st = xo_my_execute(m, e, b, "COMMIT");
    *sent = st == XONCE_OK || xonce_error_last()->native != XO_ER_UNKNOWN_STMT; /* somebody has reset the session: nothing was run */
    if (st == XONCE_OK)
        return xo_my_fetch(m, e, NULL, NULL, NULL, "COMMIT");
    const char *state = xonce_error_last()->sqlstate;
    size_t which = strncmp(state, FENCE_STATE, 3) == 0 ? (size_t)(state[3] - '0') * 10 + (size_t)(state[4] - '0') : n;
    if (which >= n)
        return *sent ? st : XONCE_OK;
    *failed = which;
    return xo_fail(XONCE_E_FENCED, "its position was moved by another member");
}
