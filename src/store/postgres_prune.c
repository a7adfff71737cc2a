/* Pruning records in PostgreSQL, by one pruner of a database at a time.
 *
 * The pruner's lock is a transaction-scoped advisory lock, since behind a pooler nothing else stays with a client. To
 * hold it from prune_lock to prune_unlock, a transaction that has done nothing but take the lock stays open in between
 * (it holds no snapshot and no row): prune_some deletes in it and commits, and the same trip begins the next one and
 * takes the lock again. Should another pruner have got it in that instant, the next prune_some says so: two never
 * delete at once. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "store/postgres_int.h"

#define LOCK_SQL "SELECT pg_try_advisory_xact_lock(8678565190353055858)"
enum { PRUNE_LOCK_MS = 250 };

static void push_lock(xo_pg_conn *c, PGresult **got)
{
    char idle[24];
    const char *v[2] = {"250", idle};
    xo_pg_send settings = {.kind = PG_CONTROL, .n = 2, .v = v};
    xo_pg_send lock = {.kind = PG_CONTROL, .text = LOCK_SQL, .keep = got};
    /* the oldest first, straight from the index on ctime: the planner, which guesses that few records are covered, would judge and sort all of them for each batch */
    settings.text =
        "SELECT set_config('lock_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $2, true), "
        "set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)";
    (void)snprintf(idle, sizeof(idle), "%d", c->idle_ms > 0 && c->idle_ms < INT32_MAX ? (int)c->idle_ms : 900000);
    xo_pg_push_text(c, PG_CONTROL, "BEGIN ISOLATION LEVEL READ COMMITTED");
    xo_pg_push(c, &settings);
    xo_pg_push(c, &lock);
}

static int is_true(const PGresult *r)
{
    return r && PQntuples(r) == 1 && PQgetvalue(r, 0, 0)[0] == 't';
}

xonce_status xo_pg_prune_lock(xo_conn *x, int *got)
{
    xo_pg_conn *c = xo_pg_of(x);
    PGresult *r = NULL;
    xonce_status st;
    *got = 0;
    if (x->in_tx)
        return xo_fail(XONCE_E_INVALID, "pruning needs a connection without an open transaction");
    if (c->prune_held) {
        *got = 1;
        return XONCE_OK;
    }
    xo_pg_start(c, xo_pg_patience(c));
    push_lock(c, &r);
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

static void push_delete(xo_pg_conn *c, const char *sql, const char *group, int64_t before_ms, int limit,
                        PGresult **done)
{
    char before[24], max[16];
    const char *v[3] = {group, before, max};
    xo_pg_send s = {.kind = PG_STATEMENT, .text = sql, .n = 3, .v = v, .keep = done};
    (void)snprintf(before, sizeof(before), "%" PRId64, before_ms);
    (void)snprintf(max, sizeof(max), "%d", limit);
    xo_pg_push(c, &s);
}

static xonce_status delete_and_go_on(xo_pg_conn *c, const char *sql, const char *group, int64_t before_ms, int limit,
                                     int64_t *deleted)
{
    PGresult *done = NULL, *got = NULL;
    xonce_status st;
    int held;
    xo_pg_start(c, xo_pg_patience(c));
    push_delete(c, sql, group, before_ms, limit, &done);
    xo_pg_push_text(c, PG_CONTROL, "COMMIT");
    push_lock(c, &got);
    st = xo_pg_finish(c);
    if (st == XONCE_OK)
        *deleted = strtoll(PQcmdTuples(done), NULL, 10);
    held = st == XONCE_OK && is_true(got);
    PQclear(done);
    PQclear(got);
    if (!held)
        xo_pg_prune_unlock(&c->pub);
    return st == XONCE_OK ? st : xo_error_restore(&c->ex.error);
}

xonce_status xo_pg_prune_some(xo_conn *x, const char *group, int64_t before_ms, int limit, int64_t *deleted)
{
    xo_pg_conn *c = xo_pg_of(x);
    int had = c->prune_held, got;
    char *sql;
    xonce_status st = xo_pg_prune_lock(x, &got);
    *deleted = 0;
    if (st != XONCE_OK)
        return st;
    if (!got)
        return xo_fail_sql(XONCE_E_CONFLICT, XO_SQL_AGAIN, 0, NULL, "another pruner of this database is at work");
    if (!c->table)
        st = xo_pg_layout(x, NULL);
    if (st == XONCE_OK && !c->table)
        st = xo_fail_sql(XONCE_E_SCHEMA, XO_SQL_SETUP, 0, "42P01",
                         "the table transaction_record is not in the search_path of this database");
    if (st == XONCE_OK) {
        /* the conditions stand twice: in a partitioned table a ctid alone may mean several rows */
        sql = xo_printf("DELETE FROM %s WHERE ctid = ANY (ARRAY(SELECT ctid FROM %s r WHERE consumer_group = $1 AND "
                        "ctime < $2::bigint AND %s ORDER BY ctime "
                        "LIMIT $3::int FOR UPDATE OF r SKIP LOCKED)) AND consumer_group = $1 AND ctime < $2::bigint",
                        c->table, c->table, c->layout.has_ours ? XO_PRUNE_COVERED("\"offset\"", "$2::bigint") : "true");
        st = sql ? delete_and_go_on(c, sql, group, before_ms, limit, deleted) : xo_nomem();
        free(sql);
    }
    if (!had || (st != XONCE_OK && PQtransactionStatus(c->pg) != PQTRANS_INTRANS))
        xo_pg_prune_unlock(x);
    return st;
}
