/* The record table of PostgreSQL that is split by day: its partitions are listed, made and dropped.
 *
 * A claim holds a lock on the whole table until its transaction ends, but on the partition of its own day only. So an old partition can be emptied (TRUNCATE) beside running claims at any time; dropping what is then
 * empty wants the whole table for an instant, and is left for later when that cannot be had. A new partition is made apart and attached, which no claim is in the way of. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "store/partition.h"
#include "store/postgres/impl.h"

#define PARTITIONS                                                                                                                                          \
    "SELECT quote_ident(n.nspname) || '.' || quote_ident(p.relname), pg_get_expr(p.relpartbound, p.oid) FROM pg_catalog.pg_inherits i"                     \
    " JOIN pg_catalog.pg_class p ON p.oid = i.inhrelid JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace WHERE i.inhparent = $1::regclass"
enum { LOCK_MS = 200, DROP_LOCK_MS = 100, DROP_TRIES = 4 };

static xonce_status tell(xo_pg_conn *c, const char *sql)
{
    return xo_pg_tell(c, sql, 0, NULL, xo_pg_patience(c), NULL);
}

/* One answer of a statement made here; sql is freed. */
static xonce_status ask(xo_pg_conn *c, char *sql, PGresult **r)
{
    xonce_status st = sql ? xo_pg_tell(c, sql, 0, NULL, xo_pg_patience(c), r) : xo_nomem();
    free(sql);
    return st;
}

/* The day of a partition with these bounds; -1: it is not one of ours of a day. */
static int32_t day_of(const char *bounds)
{
    long from, to;
    char plain[80];
    size_t n = 0;
    for (const char *p = bounds; *p && n < sizeof(plain) - 1; p++)
        if (*p != '\'')
            plain[n++] = *p;
    plain[n] = 0;
    return sscanf(plain, "FOR VALUES FROM (%ld) TO (%ld)", &from, &to) == 2 && from >= 0 && from < INT32_MAX && to == from + 1 ? (int32_t)from : -1;
}

static int by_day(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static xonce_status partitions(xo_pg_conn *c, PGresult **r)
{
    xonce_status st = c->table ? XONCE_OK : xo_pg_layout(&c->pub, NULL);
    if (st == XONCE_OK && !c->layout.partitioned)
        return xo_fail_sql(XONCE_E_SCHEMA, XO_SQL_SETUP, 0, "42P01", "the table transaction_record is not there, or not partitioned");
    if (st == XONCE_OK) {
        const char *v[1] = {c->table};
        st = xo_pg_tell(c, PARTITIONS, 1, v, xo_pg_patience(c), r);
    }
    return st;
}

xonce_status xo_pg_days(xo_conn *x, xo_days *out)
{
    PGresult *r = NULL;
    xonce_status st = partitions(xo_pg_of(x), &r);
    for (int i = 0; st == XONCE_OK && i < PQntuples(r); i++) {
        int32_t day = day_of(PQgetvalue(r, i, 1));
        if (day >= 0)
            st = xo_days_add(out, day);
    }
    if (st == XONCE_OK && out->n)
        qsort(out->day, out->n, sizeof(*out->day), by_day);
    PQclear(r);
    return st;
}

static xonce_status begin(xo_pg_conn *c, int lock_ms)
{
    char sql[320];
    PGresult *r = NULL;
    /* a pooler may give each transaction another session */
    (void)snprintf(sql, sizeof(sql), "SELECT set_config('lock_timeout', '%d', true), set_config('idle_in_transaction_session_timeout', '60000', true), pg_try_advisory_xact_lock(" XO_PG_PRUNE_KEY ")", lock_ms);
    xonce_status st = tell(c, "BEGIN ISOLATION LEVEL READ COMMITTED");
    if (st == XONCE_OK)
        st = xo_pg_tell(c, sql, 0, NULL, xo_pg_patience(c), &r);
    if (st == XONCE_OK && PQgetvalue(r, 0, 2)[0] != 't')
        st = xo_fail_sql(XONCE_E_CONFLICT, XO_SQL_AGAIN, 0, NULL, "another pruner of this database is at work");
    PQclear(r);
    return st;
}

/* Commits, or rolls back and keeps the error. */
static xonce_status end(xo_pg_conn *c, xonce_status st)
{
    xo_error e;
    if (st == XONCE_OK)
        st = tell(c, "COMMIT");
    xo_error_save(&e);
    if (!c->pub.lost && PQtransactionStatus(c->pg) != PQTRANS_IDLE && tell(c, "ROLLBACK") != XONCE_OK)
        xo_pg_mark_lost(c);
    return st == XONCE_OK ? st : xo_error_restore(&e);
}

static xonce_status run_made(xo_pg_conn *c, char *sql)
{
    xonce_status st = sql ? tell(c, sql) : xo_nomem();
    free(sql);
    return st;
}

xonce_status xo_pg_day_add(xo_conn *x, const int32_t *day, size_t n)
{
    xo_pg_conn *c = xo_pg_of(x);
    xonce_status st = c->table ? XONCE_OK : xo_pg_layout(x, NULL);
    for (size_t i = 0; st == XONCE_OK && i < n; i++) {
        char date[16];
        xo_day_text(day[i], date);
        st = begin(c, LOCK_MS);
        if (st == XONCE_OK)
            st = run_made(c, xo_printf("CREATE TABLE %s_%s (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)", c->table, date, c->table));
        if (st == XONCE_OK)
            st = run_made(c, xo_printf("ALTER TABLE %s ATTACH PARTITION %s_%s FOR VALUES FROM (%d) TO (%d)", c->table, c->table, date, (int)day[i], (int)day[i] + 1));
        st = end(c, st);
    }
    return st;
}

/* ---- the end of a day ---- */

/* *needed: how many records (with limit: at most so many) need the partition; *rows: how many it holds. */
static xonce_status count(xo_pg_conn *c, const char *leaf, int64_t *needed, int64_t *rows)
{
    PGresult *r = NULL;
    xonce_status st = ask(c, xo_printf("SELECT count(*), count(*) FILTER (WHERE " XO_DAY_NEEDS("\"offset\"") ") FROM ONLY %s r LEFT JOIN xonce_released h ON h.consumer_group = r.consumer_group", leaf), &r);
    if (st == XONCE_OK) {
        *rows = strtoll(PQgetvalue(r, 0, 0), NULL, 10);
        *needed = strtoll(PQgetvalue(r, 0, 1), NULL, 10);
    }
    PQclear(r);
    return st;
}

static xonce_status is_needed(xo_pg_conn *c, const char *leaf, int *needed)
{
    PGresult *r = NULL;
    xonce_status st = ask(c, xo_printf("SELECT EXISTS (SELECT 1 FROM ONLY %s r LEFT JOIN xonce_released h ON h.consumer_group = r.consumer_group WHERE " XO_DAY_NEEDS("\"offset\"") ")", leaf), &r);
    *needed = st == XONCE_OK && PQgetvalue(r, 0, 0)[0] == 't';
    PQclear(r);
    return st;
}

/* Under the lock nobody writes into the partition, and who did has ended: what is counted is all there is. */
static xonce_status empty(xo_pg_conn *c, const char *leaf, int *needed, int64_t *rows)
{
    int64_t n = 0, held = 0;
    xonce_status st = begin(c, LOCK_MS);
    if (st == XONCE_OK)
        st = run_made(c, xo_printf("LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE", leaf));
    if (st == XONCE_OK)
        st = count(c, leaf, &held, &n);
    if (st == XONCE_OK && held == 0 && n > 0)
        st = run_made(c, xo_printf("TRUNCATE ONLY %s", leaf));
    st = end(c, st);
    *needed = held > 0;
    *rows = st == XONCE_OK && !*needed ? n : 0;
    return st;
}

/* Waits for the whole table but for a moment: whoever claims queues up behind this. *gone stays 0 when somebody wrote into it again. */
static xonce_status drop(xo_pg_conn *c, const char *leaf, int *gone)
{
    PGresult *r = NULL;
    *gone = 0;
    xonce_status st = begin(c, DROP_LOCK_MS);
    if (st == XONCE_OK)
        st = run_made(c, xo_printf("LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE", c->table));
    if (st == XONCE_OK)
        st = ask(c, xo_printf("SELECT EXISTS (SELECT 1 FROM ONLY %s)", leaf), &r);
    if (st == XONCE_OK && PQgetvalue(r, 0, 0)[0] != 't') {
        st = run_made(c, xo_printf("DROP TABLE %s", leaf));
        *gone = st == XONCE_OK;
    }
    PQclear(r);
    st = end(c, st);
    if (st != XONCE_OK)
        *gone = 0;
    return st;
}

static xonce_status end_leaf(xo_pg_conn *c, const char *leaf, xo_day_end *what, int64_t *rows)
{
    int needed = 0, gone = 0;
    xonce_status st = is_needed(c, leaf, &needed);
    if (st == XONCE_OK && !needed)
        st = empty(c, leaf, &needed, rows);
    if (st != XONCE_OK || needed) {
        *what = st == XONCE_OK ? XO_DAY_NEEDED : XO_DAY_BUSY;
        return st;
    }
    *what = XO_DAY_EMPTIED;
    for (int i = 0; i < DROP_TRIES && !gone; i++) {
        if (i)
            xo_pause_ms(100 + (int64_t)(xo_random() % 200));
        st = drop(c, leaf, &gone);
        if (st != XONCE_OK && xo_error_class() != XO_SQL_AGAIN)
            return st;
    }
    if (gone)
        *what = XO_DAY_GONE;
    return XONCE_OK;
}

xonce_status xo_pg_day_end(xo_conn *x, int32_t day, xo_day_end *what, int64_t *rows)
{
    xo_pg_conn *c = xo_pg_of(x);
    PGresult *r = NULL;
    *what = XO_DAY_GONE;
    *rows = 0;
    xonce_status st = partitions(c, &r);
    for (int i = 0; st == XONCE_OK && i < PQntuples(r); i++)
        if (day_of(PQgetvalue(r, i, 1)) == day) {
            st = end_leaf(c, PQgetvalue(r, i, 0), what, rows);
            break;
        }
    PQclear(r);
    return st;
}
