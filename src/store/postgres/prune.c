/* Pruning records in PostgreSQL, by one pruner of a database at a time.
 *
 * The pruner's lock is a transaction-scoped advisory lock, since behind a pooler nothing else stays with a client. To hold it from prune_lock to prune_unlock, a transaction that has done nothing but take the
 * lock stays open in between (it holds no snapshot and no row); the looks run in it, and the deletion ends it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "store/postgres/impl.h"

#define LOCK_SQL "SELECT pg_try_advisory_xact_lock(" XO_PG_PRUNE_KEY ")"

static void push_begin(xo_pg_conn *c)
{
    char idle[24];
    const char *v[1] = {idle};
    xo_pg_send settings = {.kind = PG_CONTROL, .n = 1, .v = v};
    /* In the order of an index, the oldest first: a planner without statistics of it would sort all of them for each step, or compile the condition for them. And a deletion that a crash undoes is
       done again: nobody waits for the disk. */
#define SETTINGS                                                                                                                                                            \
    "SELECT set_config('lock_timeout', '250', true), set_config('idle_in_transaction_session_timeout', $1, true), set_config('enable_sort', 'off', true), "                 \
    "set_config('enable_bitmapscan', 'off', true), set_config('synchronous_commit', 'off', true)"
    settings.text = PQserverVersion(c->pg) >= 110000 ? SETTINGS ", set_config('jit', 'off', true)" : SETTINGS;
#undef SETTINGS
    (void)snprintf(idle, sizeof(idle), "%d", c->idle_ms > 0 && c->idle_ms < INT32_MAX ? (int)c->idle_ms : 900000);
    xo_pg_push_text(c, PG_CONTROL, "BEGIN ISOLATION LEVEL READ COMMITTED");
    xo_pg_push(c, &settings);
}

static int is_true(const PGresult *r)
{
    return r && PQntuples(r) == 1 && PQgetvalue(r, 0, 0)[0] == 't';
}

static xonce_status may_begin(const xo_conn *x)
{
    return x->in_tx ? xo_fail(XONCE_E_INVALID, "pruning needs a connection without an open transaction") : XONCE_OK;
}

xonce_status xo_pg_prune_lock(xo_conn *x, int *got)
{
    xo_pg_conn *c = xo_pg_of(x);
    PGresult *r = NULL;
    xo_pg_send lock = {.kind = PG_CONTROL, .text = LOCK_SQL, .keep = &r};
    xonce_status st = may_begin(x);
    *got = c->prune_held;
    if (st != XONCE_OK || c->prune_held)
        return st;
    xo_pg_start(c, xo_pg_patience(c));
    push_begin(c);
    xo_pg_push(c, &lock);
    st = xo_pg_finish(c);
    *got = st == XONCE_OK && is_true(r);
    PQclear(r);
    c->prune_held = 1;
    if (!*got)
        xo_pg_prune_unlock(x);
    return st;
}

void xo_pg_prune_unlock(xo_conn *x)
{
    xo_pg_conn *c = xo_pg_of(x);
    xo_error e;
    if (!c->prune_held)
        return;
    c->prune_held = 0;
    if (x->lost)
        return;
    xo_error_save(&e);
    if (PQtransactionStatus(c->pg) != PQTRANS_IDLE && xo_pg_tell(c, "ROLLBACK", 0, NULL, 30000, NULL) != XONCE_OK)
        xo_pg_mark_lost(c);
    (void)xo_error_restore(&e);
}

static xonce_status know_table(xo_pg_conn *c)
{
    xonce_status st = c->table ? XONCE_OK : xo_pg_layout(&c->pub, NULL);
    if (st == XONCE_OK && !c->table)
        st = xo_fail_sql(XONCE_E_SCHEMA, XO_SQL_SETUP, 0, "42P01", "the table transaction_record is not in the search_path of this database");
    return st;
}

/* Sends one statement in the lock's transaction, or in one of its own that is left open. */
static xonce_status tell(xo_pg_conn *c, const char *sql, const char *const *v, int n, int commit, PGresult **out)
{
    xo_pg_send s = {.kind = PG_STATEMENT, .text = sql, .n = n, .v = v, .keep = out};
    xonce_status st;
    *out = NULL;
    xo_pg_start(c, xo_pg_patience(c));
    if (!c->prune_held)
        push_begin(c);
    xo_pg_push(c, &s);
    if (commit)
        xo_pg_push_text(c, PG_CONTROL, "COMMIT");
    st = xo_pg_finish(c);
    if (st == XONCE_OK && !commit)
        return st;
    xo_error why = c->ex.error; /* of this exchange: unlocking is another */
    c->prune_held = 1;          /* what failed is still open */
    xo_pg_prune_unlock(&c->pub);
    return st == XONCE_OK ? st : xo_error_restore(&why);
}

/* By the primary key: no other is needed for it. */
static xonce_status look(xo_pg_conn *c, const char *group, int64_t before_ms, xo_prune_look *l)
{
    char before[24], from[24], most[16], future[16];
    const char *v[5] = {group, before, from, most, future};
    PGresult *r = NULL;
    (void)snprintf(before, sizeof(before), "%" PRId64, before_ms);
    (void)snprintf(from, sizeof(from), "%" PRId64, l->at.tie);
    (void)snprintf(most, sizeof(most), "%d", l->most);
    (void)snprintf(future, sizeof(future), "%d", XO_PRUNE_FUTURE_MS);
    char *sql = xo_printf("SELECT r.id, r.ctime < $2::bigint OR r.ctime > " PG_NOW_MS " + $5::bigint, r.consumer_group = $1 AND r.ctime < $2::bigint AND %s FROM %s r "
                          "WHERE r.id > $3::bigint ORDER BY r.id LIMIT $4::int",
                          c->layout.has_ours ? XO_PRUNE_COVERED("\"offset\"", "$2::bigint") : "true", c->table);
    xonce_status st = sql ? tell(c, sql, v, 5, 0, &r) : xo_nomem();
    free(sql);
    for (int i = 0, last = 0; st == XONCE_OK && i < PQntuples(r) && !last; i++)
        last = xo_prune_saw_by_id(l, strtoll(PQgetvalue(r, i, 0), NULL, 10), PQgetvalue(r, i, 1)[0] == 't', PQgetvalue(r, i, 2)[0] == 't');
    PQclear(r);
    return st;
}

/* A partitioned table has no index on id: by ctime, and among equal ones by id. days: those that have a day, else those that have none. */
static xonce_status look_in_days(xo_pg_conn *c, const char *group, int64_t before_ms, int days, xo_prune_look *l)
{
    char before[24], stuck[24], from[24], tie[24], most[16];
    const char *v[6] = {group, before, from, tie, most, stuck};
    PGresult *r = NULL;
    (void)snprintf(before, sizeof(before), "%" PRId64, before_ms);
    (void)snprintf(stuck, sizeof(stuck), "%" PRId64, days ? before_ms - XO_PRUNE_STUCK_MS : before_ms);
    (void)snprintf(from, sizeof(from), "%" PRId64, l->at.ctime);
    (void)snprintf(tie, sizeof(tie), "%" PRId64, days ? -1 - l->at.tie : l->at.tie);
    (void)snprintf(most, sizeof(most), "%d", l->most - l->seen);
    char *sql = xo_printf("SELECT r.id, r.ctime, r.consumer_group = $1 AND " XO_PRUNE_COVERED("\"offset\"", "$2::bigint") " FROM %s r WHERE r.store_day %s AND r.ctime >= $3::bigint AND r.ctime < $6::bigint "
                          "AND (r.ctime > $3::bigint OR r.id > $4::bigint) ORDER BY r.ctime, r.id LIMIT $5::int", c->table, days ? ">= 0" : "= -1");
    xonce_status st = sql ? tell(c, sql, v, 6, 0, &r) : xo_nomem();
    free(sql);
    for (int i = 0, last = 0; st == XONCE_OK && i < PQntuples(r) && !last; i++) {
        int64_t id = strtoll(PQgetvalue(r, i, 0), NULL, 10), ctime = strtoll(PQgetvalue(r, i, 1), NULL, 10);
        c->found_from = ctime < c->found_from ? ctime : c->found_from;
        c->found_to = ctime > c->found_to ? ctime : c->found_to;
        last = xo_prune_saw(l, id, ctime, days ? -1 - id : id, PQgetvalue(r, i, 2)[0] == 't');
    }
    PQclear(r);
    return st;
}

static xonce_status look_by_days(xo_pg_conn *c, const char *group, int64_t before_ms, xo_prune_look *l)
{
    xonce_status st = XONCE_OK;
    c->found_from = INT64_MAX;
    c->found_to = 0;
    if (l->at.tie >= 0)
        st = look_in_days(c, group, before_ms, 0, l);
    if (st == XONCE_OK && l->n < l->max && l->seen < l->most) {
        if (l->at.tie >= 0)
            l->at = (xo_prune_at){0, -1};
        st = look_in_days(c, group, before_ms, 1, l);
    }
    return st;
}

xonce_status xo_pg_prune_look(xo_conn *x, const char *group, int64_t before_ms, xo_prune_look *l)
{
    xo_pg_conn *c = xo_pg_of(x);
    int held = c->prune_held;
    xonce_status st = may_begin(x);
    if (st == XONCE_OK)
        st = know_table(c);
    if (st != XONCE_OK)
        return st;
    st = (c->layout.partitioned ? look_by_days : look)(c, group, before_ms, l);
    if (st == XONCE_OK && !held) {
        c->prune_held = 1;
        xo_pg_prune_unlock(x);
    }
    return st;
}

/* In a partitioned table the id has no index of its own, but stands behind ctime in that one. */
#define THESE "id = ANY ($3::bigint[]) AND consumer_group = $1 AND ctime < $2::bigint%s"

static xonce_status delete_them(xo_pg_conn *c, const char *const v[3], int around_locks, int64_t *deleted)
{
    PGresult *r = NULL;
    char range[80] = "";
    if (c->layout.partitioned)
        (void)snprintf(range, sizeof(range), " AND ctime >= %" PRId64 " AND ctime <= %" PRId64, c->found_from, c->found_to);
    char *sql = around_locks ? xo_printf("DELETE FROM %s WHERE id = ANY (ARRAY(SELECT id FROM %s WHERE " THESE " FOR UPDATE SKIP LOCKED)) AND consumer_group = $1 AND ctime < $2::bigint%s", c->table, c->table, range, range)
                             : xo_printf("DELETE FROM %s WHERE " THESE, c->table, range);
    xonce_status st = sql ? tell(c, sql, v, 3, 1, &r) : xo_nomem();
    free(sql);
    if (st == XONCE_OK)
        *deleted = strtoll(PQcmdTuples(r), NULL, 10);
    PQclear(r);
    return st;
}

xonce_status xo_pg_prune_delete(xo_conn *x, const char *group, int64_t before_ms, const int64_t *id, int n, int64_t *deleted)
{
    xo_pg_conn *c = xo_pg_of(x);
    char before[24];
    xo_buf ids = {0};
    int got = 0;
    *deleted = 0;
    xonce_status st = xo_pg_prune_lock(x, &got);
    if (st == XONCE_OK && !got)
        st = xo_fail_sql(XONCE_E_CONFLICT, XO_SQL_AGAIN, 0, NULL, "another pruner of this database is at work");
    if (st == XONCE_OK)
        st = know_table(c);
    for (int i = 0; i < n; i++)
        xo_buf_printf(&ids, "%c%" PRId64, i ? ',' : '{', id[i]);
    xo_buf_str(&ids, n ? "}" : "{}");
    if (st == XONCE_OK)
        st = xo_buf_status(&ids);
    (void)snprintf(before, sizeof(before), "%" PRId64, before_ms);
    const char *v[3] = {group, before, ids.p};
    if (st == XONCE_OK)
        st = delete_them(c, v, 0, deleted);
    /* somebody holds one of them, which is rare: locking each of them first would be as much work again */
    if (st != XONCE_OK && xo_error_class() == XO_SQL_AGAIN && xo_pg_prune_lock(x, &got) == XONCE_OK && got)
        st = delete_them(c, v, 1, deleted);
    xo_buf_free(&ids);
    if (st != XONCE_OK)
        xo_pg_prune_unlock(x);
    return st;
}
