/* Pruning on MySQL and MariaDB: one pruner a database, old records by primary key in small transactions. */
#include "store/mysql/impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OP_GET = 8, OP_RELEASE, OP_LOOK, OP_FREE, OP_DELETE, OP_DELETE_RUN };
enum { IDS_A_STATEMENT = 128, IDS_A_RUN = 8 };

/* Seconds: the shortest lock timeout that there is. Who never waits is in no deadlock. But with 0 MariaDB's SKIP LOCKED fails with error 1180 where it meets a lock. */
static int lock_wait(const xo_my *m, int around_locks)
{
    return m->server_maria && !around_locks ? 0 : 1;
}

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

/* A statement without a table opens no transaction. */
static xonce_status commit_if_open(xo_my *m)
{
    return !m->c.in_tx && !m->c.joined && (m->my->server_status & SERVER_STATUS_IN_TRANS) ? xo_my_plain_commit(m) : XONCE_OK;
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
    return st == XONCE_OK ? commit_if_open(m) : st;
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
        if (st == XONCE_OK)
            st = commit_if_open(m);
        if (st != XONCE_OK || !released)
            c->lost = 1; /* the lock ends with the connection */
    }
    if (kept.pub.code != XONCE_OK)
        xo_error_restore(&kept);
}

/* ---- looking ---- */

static int take_row(const xonce_row *r, void *arg)
{
    return xo_prune_saw_by_id(arg, xonce_row_int(r, 0), xonce_row_int(r, 2) != 0, xonce_row_int(r, 1) != 0);
}

static int take_row_without_day(const xonce_row *r, void *arg)
{
    int64_t id = xonce_row_int(r, 0);
    return xo_prune_saw(arg, id, xonce_row_int(r, 1), id, xonce_row_int(r, 2) != 0);
}

static int take_row_of_days(const xonce_row *r, void *arg)
{
    int64_t id = xonce_row_int(r, 0);
    return xo_prune_saw(arg, id, xonce_row_int(r, 1), -1 - id, xonce_row_int(r, 2) != 0);
}

/* days: of a partitioned table those that have a day, else those that have none. */
static xonce_status look_in_days(xo_my *m, const char *group, int64_t before_ms, int days, xo_prune_look *l)
{
    const int64_t old = days ? before_ms - XO_PRUNE_STUCK_MS : before_ms, tie = days ? -1 - l->at.tie : l->at.tie;
    const xonce_value v[] = {text_value(group), xonce_int(before_ms), xonce_int(old), xonce_int(l->at.ctime), xonce_int(l->at.ctime), xonce_int(tie), xonce_int(l->most - l->seen)};
    xo_buf b = {0};
    xo_buf_printf(&b, "SELECT r.id, r.ctime, CASE WHEN r.consumer_group = ? AND " XO_PRUNE_COVERED("`offset`", "?") " THEN 1 ELSE 0 END FROM %s r WHERE r.store_day %s AND r.ctime < ? "
                      "AND (r.ctime > ? OR (r.ctime = ? AND r.id > ?)) ORDER BY r.ctime, r.id LIMIT ?", m->table, days ? ">= 0" : "= -1");
    xonce_status st = xo_buf_status(&b);
    if (st == XONCE_OK)
        st = run_own(m, XO_MY_OWN(OP_LOOK, 4 + days), b.p, v, sizeof v / sizeof *v, days ? take_row_of_days : take_row_without_day, l, NULL);
    xo_buf_free(&b);
    return st;
}

static xonce_status look_by_days(xo_my *m, const char *group, int64_t before_ms, xo_prune_look *l)
{
    xonce_status st = XONCE_OK;
    if (l->at.tie >= 0)
        st = look_in_days(m, group, before_ms, 0, l);
    if (st == XONCE_OK && l->n < l->max && l->seen < l->most) {
        if (l->at.tie >= 0)
            l->at = (xo_prune_at){0, -1};
        st = look_in_days(m, group, before_ms, 1, l);
    }
    return st;
}

/* By the primary key: no other is needed for it, and its rows are the records themselves. */
static xonce_status look(xo_my *m, const char *group, int64_t before_ms, xo_prune_look *l)
{
    const xonce_value v[] = {text_value(group), xonce_int(before_ms), xonce_int(before_ms), xonce_int(before_ms), xonce_int(XO_PRUNE_FUTURE_MS), xonce_int(l->at.tie), xonce_int(l->most)};
    xo_buf b = {0};
    xo_buf_printf(&b, "SELECT r.id, CASE WHEN r.consumer_group = ? AND r.ctime < ? AND %s THEN 1 ELSE 0 END, CASE WHEN r.ctime < ? OR r.ctime > " XO_MY_NOW " + ? THEN 1 ELSE 0 END FROM %s r "
                      "WHERE r.id > ? ORDER BY r.id LIMIT ?",
                  m->own_columns ? XO_PRUNE_COVERED("`offset`", "?") : "0 < ?", m->table);
    xonce_status st = xo_buf_status(&b);
    if (st == XONCE_OK)
        st = run_own(m, XO_MY_OWN(OP_LOOK, 1 + (size_t)m->own_columns), b.p, v, sizeof v / sizeof *v, take_row, l, NULL);
    xo_buf_free(&b);
    return st;
}

xonce_status xo_my_prune_look(xo_conn *c, const char *group, int64_t before_ms, xo_prune_look *l)
{
    xo_my *m = (xo_my *)c;
    xonce_status st = xo_my_start(m, lock_wait(m, 0));
    if (st != XONCE_OK)
        return st;
    st = xo_my_know_layout(m);
    if (st == XONCE_OK)
        st = (m->c.partitioned ? look_by_days : look)(m, group, before_ms, l);
    if (st != XONCE_OK && m->own_columns && xonce_error_last()->native == XO_ER_BAD_FIELD) {
        m->own_columns = 0; /* a vendor's table, without our columns: its records have no place to be known by */
        st = look(m, group, before_ms, l);
    }
    if (st == XONCE_OK)
        return xo_my_plain_commit(m);
    xo_my_rollback(c);
    return st;
}

/* ---- deleting ---- */

typedef struct {
    int64_t id[IDS_A_STATEMENT];
    int n;
} ids;

static int take_id(const xonce_row *r, void *arg)
{
    ids *l = arg;
    if (l->n < IDS_A_STATEMENT)
        l->id[l->n++] = xonce_row_int(r, 0);
    return 0;
}

/* Runs text with these ids and behind it. ctime + 0: no key but the primary one will do. */
static xonce_status with_ids(xo_my *m, int op, const char *text, const char *end, const char *group, int64_t before_ms, const int64_t *id, int n, ids *out, int64_t *changed)
{
    int places = 1;
    while (places < n)
        places *= 2;
    xo_buf b = {0};
    xo_buf_printf(&b, "%s FROM %s WHERE consumer_group = ? AND ctime + 0 < ? AND id IN (?", text, m->table);
    for (int i = 1; i < places; i++)
        xo_buf_str(&b, ", ?");
    xo_buf_str(&b, end);
    xonce_value v[2 + IDS_A_STATEMENT];
    v[0] = text_value(group);
    v[1] = xonce_int(before_ms);
    for (int i = 0; i < places; i++)
        v[2 + i] = xonce_int(id[i < n ? i : n - 1]);
    xonce_status st = xo_buf_status(&b);
    if (st == XONCE_OK)
        st = run_own(m, XO_MY_OWN(op, places), b.p, v, 2 + (size_t)places, out ? take_id : NULL, out, changed);
    xo_buf_free(&b);
    return st;
}

/* Ids without a gap, all of them ours to delete: half the work of a list. */
static xonce_status delete_run(xo_my *m, const char *group, int64_t before_ms, int64_t first, int64_t last, int64_t *changed)
{
    xonce_value v[] = {text_value(group), xonce_int(before_ms), xonce_int(first), xonce_int(last)};
    xo_buf b = {0};
    xo_buf_printf(&b, "DELETE FROM %s WHERE consumer_group = ? AND ctime + 0 < ? AND id BETWEEN ? AND ?", m->table);
    xonce_status st = xo_buf_status(&b);
    if (st == XONCE_OK)
        st = run_own(m, XO_MY_OWN(OP_DELETE_RUN, 1), b.p, v, 4, NULL, NULL, changed);
    xo_buf_free(&b);
    return st;
}

static int run_length(const int64_t *id, int n)
{
    int k = 1;
    while (k < n && id[k] == id[k - 1] + 1)
        k++;
    return k;
}

/* One statement's worth of them, *took. */
static xonce_status delete_some(xo_my *m, const char *group, int64_t before_ms, const int64_t *id, int n, int around_locks, int *took, int64_t *deleted)
{
    int run = run_length(id, n);
    int64_t changed = 0;
    xonce_status st = XONCE_OK;
    if (run >= IDS_A_RUN && !around_locks) {
        *took = run;
        st = delete_run(m, group, before_ms, id[0], id[run - 1], &changed);
        *deleted += changed;
        return st;
    }
    /* up to the next run that is worth a statement of its own */
    while (!around_locks && run < n && run < IDS_A_STATEMENT) {
        int next = run_length(id + run, n - run);
        if (next >= IDS_A_RUN)
            break;
        run += next;
    }
    *took = around_locks ? n : run;
    if (*took > IDS_A_STATEMENT)
        *took = IDS_A_STATEMENT;
    n = *took;
    ids free_ones = {.n = 0};
    if (around_locks) {
        st = with_ids(m, OP_FREE, "SELECT id", ") FOR UPDATE SKIP LOCKED", group, before_ms, id, n, &free_ones, NULL);
        id = free_ones.id;
        n = free_ones.n;
    }
    if (st == XONCE_OK && n > 0)
        st = with_ids(m, OP_DELETE, "DELETE", ")", group, before_ms, id, n, NULL, &changed);
    *deleted += changed;
    return st;
}

static xonce_status delete_all(xo_my *m, const char *group, int64_t before_ms, const int64_t *id, int n, int around_locks, int64_t *deleted)
{
    *deleted = 0;
    xonce_status st = xo_my_start(m, lock_wait(m, around_locks));
    if (st != XONCE_OK)
        return st;
    for (int at = 0, took = 0; at < n && st == XONCE_OK; at += took)
        st = delete_some(m, group, before_ms, id + at, n - at, around_locks, &took, deleted);
    if (st == XONCE_OK)
        st = xo_my_plain_commit(m);
    else
        xo_my_rollback(&m->c);
    if (st != XONCE_OK)
        *deleted = 0;
    return st;
}

static int by_id(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

xonce_status xo_my_prune_delete(xo_conn *c, const char *group, int64_t before_ms, const int64_t *id, int n, int64_t *deleted)
{
    xo_my *m = (xo_my *)c;
    *deleted = 0;
    if (n <= 0)
        return XONCE_OK;
    int64_t *sorted = xo_calloc((size_t)n, sizeof *sorted);
    if (!sorted)
        return xo_nomem();
    memcpy(sorted, id, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_id);
    xonce_status st = delete_all(m, group, before_ms, sorted, n, 0, deleted);
    /* somebody holds one of them, which is rare: locking each of them first would cost every time */
    if (st != XONCE_OK && m->skip_locked && xo_error_class() == XO_SQL_AGAIN && !c->lost)
        st = delete_all(m, group, before_ms, sorted, n, 1, deleted);
    free(sorted);
    return st;
}
