/* Pruning on MySQL and MariaDB: one pruner a database, old records by primary key in small transactions. */
#include "store/mysql_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OP_GET = 8, OP_RELEASE, OP_OLD, OP_DELETE };
enum { IDS_A_DELETE = 256 };

/* "xonce_prune_<database>", within the 64 characters that a lock's name may have. */
static xonce_status lock_name(const xo_my *m, char out[65])
{
    unsigned char sum[32];
    char hex[65];
    if (strlen(m->db) <= 52) {
        snprintf(out, 65, "xonce_prune_%s", m->db);
        return XONCE_OK;
    }
    if (xo_sha256(m->db, strlen(m->db), sum) != 0)
        return xo_fail(XONCE_E_INVALID, "SHA-256 is not available in the crypto library");
    xo_hex(hex, sum, sizeof sum, 0);
    snprintf(out, 65, "xonce_prune_%.40s", hex);
    return XONCE_OK;
}

/* Prepares once, runs with these values. */
static xonce_status run_own(xo_my *m, uint64_t key, const char *sql, const xonce_value *v, size_t n, xo_row_fn fn, void *arg, int64_t *changed)
{
    xo_my_cached *e = xo_my_find(m, key);
    xonce_status st = e ? XONCE_OK : xo_my_prepare(m, key, sql, strlen(sql), &e);
    if (st != XONCE_OK)
        return st;
    if (!e->stmt)
        return xo_fail_sql(XONCE_E_SQL, XO_SQL_SETUP, XO_ER_UNSUPPORTED_PS, "HY000", "the server cannot prepare: %.80s", sql);
    xo_arena_reset(&m->scratch);
    MYSQL_BIND *b = xo_arena_alloc(&m->scratch, n * sizeof *b);
    if (!b)
        return xo_nomem();
    for (size_t i = 0; i < n; i++) {
        st = xo_my_bind(m, &b[i], &v[i]);
        if (st != XONCE_OK)
            return st;
    }
    st = xo_my_execute(m, e, b, "prune");
    return st == XONCE_OK ? xo_my_fetch(m, e, fn, arg, changed, "prune") : st;
}

static xonce_value text_value(const char *s)
{
    return xonce_text_n(s, strlen(s));
}

static int take_flag(const xonce_row *r, void *arg)
{
    *(int *)arg = r->text[0] && strcmp(r->text[0], "1") == 0;
    return 0;
}

xonce_status xo_my_prune_lock(xo_conn *c, int *got)
{
    xo_my *m = (xo_my *)c;
    char name[65];
    *got = 0;
    xonce_status st = xo_my_ready(m);
    if (st == XONCE_OK)
        st = lock_name(m, name);
    if (st != XONCE_OK)
        return st;
    xonce_value v = text_value(name);
    st = run_own(m, XO_MY_OWN(OP_GET, 1), "SELECT GET_LOCK(?, 0)", &v, 1, take_flag, got, NULL);
    return st == XONCE_OK && !c->in_tx && !c->joined ? xo_my_plain_commit(m) : st;
}

void xo_my_prune_unlock(xo_conn *c)
{
    xo_my *m = (xo_my *)c;
    char name[65];
    int released = 0;
    xo_error kept;
    xo_error_save(&kept);
    if (xo_my_ready(m) == XONCE_OK && lock_name(m, name) == XONCE_OK) {
        xonce_value v = text_value(name);
        xonce_status st = run_own(m, XO_MY_OWN(OP_RELEASE, 1), "SELECT RELEASE_LOCK(?)", &v, 1, take_flag, &released, NULL);
        if (st == XONCE_OK && !c->in_tx && !c->joined)
            st = xo_my_plain_commit(m);
        if (st != XONCE_OK || !released)
            c->lost = 1; /* the lock ends with the connection */
    }
    if (kept.pub.code != XONCE_OK)
        xo_error_restore(&kept);
}

typedef struct {
    int64_t *id;
    size_t n, max;
} ids;

static int take_id(const xonce_row *r, void *arg)
{
    ids *l = arg;
    if (l->n < l->max && r->text[0])
        l->id[l->n++] = strtoll(r->text[0], NULL, 10);
    return 0;
}

static int by_id(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static xonce_status find_old(xo_my *m, const char *group, int64_t before_ms, int limit, ids *out)
{
    xonce_value v[] = {text_value(group), xonce_int(before_ms), xonce_int(before_ms), xonce_int(limit)};
    xonce_status st = XONCE_OK;
    for (int again = 1; again;) {
        xo_buf b = {0};
        again = m->own_columns;
        xo_buf_printf(&b, "SELECT r.id FROM %s r WHERE r.consumer_group = ? AND r.ctime < ? AND %s ORDER BY r.ctime LIMIT ?%s", m->table,
                      m->own_columns ? XO_PRUNE_COVERED("`offset`", "?") : "r.ctime < ?", m->skip_locked ? " FOR UPDATE SKIP LOCKED" : "");
        st = xo_buf_status(&b);
        if (st == XONCE_OK)
            st = run_own(m, XO_MY_OWN(OP_OLD, 1 + (size_t)m->own_columns), b.p, v, 4, take_id, out, NULL);
        xo_buf_free(&b);
        again = again && st != XONCE_OK && xonce_error_last()->native == XO_ER_BAD_FIELD;
        if (again) /* a vendor's table, without our columns: its records have no place to be known by */
            m->own_columns = 0;
    }
    if (st == XONCE_OK)
        qsort(out->id, out->n, sizeof *out->id, by_id);
    return st;
}

static xonce_status delete_ids(xo_my *m, const char *group, int64_t before_ms, const int64_t *id, size_t n, int64_t *deleted)
{
    size_t places = 1;
    int64_t changed = 0;
    while (places < n)
        places *= 2;
    xo_buf b = {0};
    xo_buf_printf(&b, "DELETE FROM %s WHERE consumer_group = ? AND ctime < ? AND id IN (?", m->table);
    for (size_t i = 1; i < places; i++)
        xo_buf_str(&b, ", ?");
    xo_buf_char(&b, ')');
    xonce_value v[2 + IDS_A_DELETE];
    v[0] = text_value(group);
    v[1] = xonce_int(before_ms);
    for (size_t i = 0; i < places; i++)
        v[2 + i] = xonce_int(id[i < n ? i : n - 1]);
    xonce_status st = xo_buf_status(&b);
    if (st == XONCE_OK)
        st = run_own(m, XO_MY_OWN(OP_DELETE, places), b.p, v, 2 + places, NULL, NULL, &changed);
    xo_buf_free(&b);
    *deleted += changed;
    return st;
}

xonce_status xo_my_prune_some(xo_conn *c, const char *group, int64_t before_ms, int limit, int64_t *deleted)
{
    xo_my *m = (xo_my *)c;
    *deleted = 0;
    if (limit <= 0)
        return XONCE_OK;
    xonce_status st = xo_my_start(m, 1); /* the shortest lock timeout that there is */
    if (st != XONCE_OK)
        return st;
    ids old = {.id = xo_calloc((size_t)limit, sizeof(int64_t)), .max = (size_t)limit};
    if (!old.id)
        st = xo_nomem();
    if (st == XONCE_OK)
        st = find_old(m, group, before_ms, limit, &old);
    for (size_t at = 0; at < old.n && st == XONCE_OK; at += IDS_A_DELETE)
        st = delete_ids(m, group, before_ms, old.id + at, old.n - at < IDS_A_DELETE ? old.n - at : IDS_A_DELETE, deleted);
    free(old.id);
    if (st == XONCE_OK)
        st = xo_my_plain_commit(m);
    else
        xo_my_rollback(c);
    if (st != XONCE_OK)
        *deleted = 0;
    return st;
}
