/* The record table split by day: partitions are made ahead of their day, and go as a whole when no group needs a record in them. */
#include "store/partition.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { AHEAD = 7, LEAST_AHEAD = 3, BACK = 4, AT_ONCE = 32, TELL_EVERY_MS = 3600 * 1000 };

xonce_status xo_days_add(xo_days *d, int32_t day)
{
    int32_t *list = xo_grow(d->day, &d->cap, d->n + 1, sizeof *list);
    if (!list)
        return xo_nomem();
    d->day = list;
    list[d->n++] = day;
    return XONCE_OK;
}

void xo_day_text(int32_t day, char out[16])
{
    struct tm tm = {0};
    time_t t = (time_t)day * 24 * 3600;
    (void)gmtime_r(&t, &tm);
    snprintf(out, 16, "%04d%02d%02d", (tm.tm_year + 1900) % 10000, (tm.tm_mon + 1) % 100, tm.tm_mday % 100);
}

static int has_day(const xo_days *d, int32_t day)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->day[i] == day)
            return 1;
    return 0;
}

static int on_now(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = xonce_row_int(r, 0);
    return 1;
}

/* Today by the database's clock. */
static xonce_status today_of(xonce_store *s, xo_conn *c, int32_t *today)
{
    xo_sql *parsed = NULL;
    xo_buf sql = {0};
    int64_t now = 0;
    xo_buf_printf(&sql, "SELECT %s", s->d->sql_now);
    xonce_status st = xo_buf_status(&sql);
    if (st == XONCE_OK)
        st = xo_sql_make(&parsed, s->d->kind, sql.p);
    if (st == XONCE_OK)
        st = s->d->query(c, parsed, NULL, 0, on_now, &now, NULL);
    xo_sql_free(parsed);
    xo_buf_free(&sql);
    *today = (int32_t)(now / XO_DAY_MS);
    return st;
}

static xonce_status is_partitioned(xonce_store *s, xo_conn *c, int *is)
{
    xo_layout layout = {0};
    xonce_status st = s->d->days ? xo_pool_layout(s->pool, c, 1, &layout) : XONCE_OK;
    *is = layout.partitioned;
    return st;
}

/* ---- days to come ---- */

/* *left: days ahead of today that have a partition, without a gap. */
static xonce_status add_days(xonce_store *s, xo_conn *c, int back, int *left)
{
    xo_days have = {0}, missing = {0};
    int32_t today = 0;
    *left = 0;
    xonce_status st = today_of(s, c, &today);
    if (st == XONCE_OK)
        st = s->d->days(c, &have);
    for (int32_t day = today - back; st == XONCE_OK && day <= today + AHEAD; day++)
        if (day >= 0 && !has_day(&have, day))
            st = xo_days_add(&missing, day);
    if (st == XONCE_OK && missing.n)
        st = s->d->day_add(c, missing.day, missing.n);
    if (st == XONCE_OK && missing.n)
        *left = AHEAD;
    else
        while (has_day(&have, today + *left + 1) && has_day(&have, today))
            ++*left;
    free(have.day);
    free(missing.day);
    return st;
}

xonce_status xo_no_partitions(const char *engine)
{
    return xo_fail(XONCE_E_INVALID, "%s has no partitioned tables: --partitioned is for PostgreSQL, MariaDB and MySQL; leave it out, the plain table is pruned by DELETE", engine);
}

xonce_status xo_partitions_first(xonce_store *s, xo_conn *c)
{
    int left;
    xonce_status st = add_days(s, c, BACK, &left);
    if (st == XONCE_OK || xo_error_class() != XO_SQL_AGAIN || c->lost)
        return st == XONCE_OK ? st : xo_error_context("partitions of transaction_record");
    xo_log(XO_WARN, "store", "the partitions of the days to come could not be made now, since claims are running: run this again, or let `xonce prune` do it: %s", xonce_error_last()->text);
    return XONCE_OK;
}

xonce_status xo_partitions_print(xo_dialect_kind kind, void (*fn)(const char *sql, void *arg), void *arg)
{
    int32_t today = (int32_t)(xo_now_ms() / XO_DAY_MS);
    xo_buf b = {0};
    char date[16];
    if (kind == XO_DIALECT_MYSQL)
        xo_buf_str(&b, "-- The days around this one; `xonce prune` makes those that follow.\nALTER TABLE transaction_record REORGANIZE PARTITION p_rest INTO (");
    for (int32_t day = today - BACK; day <= today + AHEAD; day++) {
        xo_day_text(day, date);
        if (kind == XO_DIALECT_MYSQL) {
            xo_buf_printf(&b, "PARTITION p%s VALUES LESS THAN (%d), ", date, (int)day + 1);
            continue;
        }
        xo_buf_printf(&b, "CREATE TABLE IF NOT EXISTS transaction_record_%s PARTITION OF transaction_record FOR VALUES FROM (%d) TO (%d);", date, (int)day, (int)day + 1);
        if (xo_buf_status(&b) == XONCE_OK)
            fn(b.p, arg);
        b.len = 0;
    }
    if (kind == XO_DIALECT_MYSQL) {
        xo_buf_str(&b, "PARTITION p_rest VALUES LESS THAN MAXVALUE);");
        if (xo_buf_status(&b) == XONCE_OK)
            fn(b.p, arg);
    }
    xonce_status st = xo_buf_status(&b);
    xo_buf_free(&b);
    return st;
}

int xo_store_is_partitioned(xonce_store *s)
{
    xo_conn *c = NULL;
    int is = 0;
    if (xo_pool_get(s->pool, &c) != XONCE_OK)
        return 0;
    if (is_partitioned(s, c, &is) != XONCE_OK)
        is = 0;
    xo_pool_put(s->pool, c);
    return is;
}

void xo_partitions_ahead(xonce_store *s)
{
    static _Atomic int64_t told; /* a process of many groups says it once */
    xo_conn *c = NULL;
    xo_error kept;
    int is = 0, left = 0;
    xo_error_save(&kept);
    if (!s->d->days || xo_pool_get(s->pool, &c) != XONCE_OK)
        return;
    xonce_status st = is_partitioned(s, c, &is);
    if (st == XONCE_OK && is)
        st = add_days(s, c, 0, &left);
    if (st != XONCE_OK) {
        int64_t now = xo_mono_ms(), last = atomic_load(&told);
        int tell = left < LEAST_AHEAD && (!last || now - last > TELL_EVERY_MS);
        if (tell)
            atomic_store(&told, now);
        xo_log(tell ? XO_WARN : XO_DEBUG, "store",
               "no partitions of transaction_record could be made for the days to come (there are some for %d): records of days without one are claimed as ever, but deleted one by one; somebody who may change the "
               "table should run `xonce prune` once a day: %s",
               left, xonce_error_last()->text);
    }
    xo_pool_put(s->pool, c);
    if (kept.pub.code != XONCE_OK)
        (void)xo_error_restore(&kept);
}

/* ---- days gone by ---- */

static xonce_status exec_on(xonce_store *s, xo_conn *c, const char *sql, const xonce_value *v, size_t n, int64_t *changed)
{
    const xo_sql *parsed = NULL;
    int owned = 0;
    xonce_status st = xo_pool_sql(s->pool, sql, &parsed, &owned);
    if (st == XONCE_OK)
        st = s->d->query(c, parsed, v, n, NULL, NULL, changed);
    if (owned)
        xo_sql_free((xo_sql *)parsed);
    return st;
}

/* Only a group itself knows how long it needs its records. What it once needed no more it never needs again. */
static xonce_status release(xonce_store *s, xo_conn *c, int64_t before)
{
    static const char update[] = "UPDATE xonce_released SET before_ms = $2 WHERE consumer_group = $1";
    xonce_value v[] = {xonce_text(s->group), xonce_int(before)};
    int64_t changed = 0;
    xonce_status st = exec_on(s, c, update, v, 2, &changed);
    if (st != XONCE_OK || changed)
        return st;
    st = exec_on(s, c, "INSERT INTO xonce_released (consumer_group, before_ms) VALUES ($1, $2)", v, 2, NULL);
    return st != XONCE_OK && xo_error_class() == XO_SQL_DATA ? exec_on(s, c, update, v, 2, NULL) : st; /* another process was first, or MySQL took no change for none */
}

static xonce_status end_days(xonce_store *s, xo_conn *c, int64_t before, int64_t *rows)
{
    xo_days have = {0};
    xonce_status st = s->d->days(c, &have);
    for (size_t i = 0; st == XONCE_OK && i < have.n && !c->lost; i++) {
        xo_day_end what = XO_DAY_NEEDED;
        int64_t n = 0;
        char date[16];
        if (((int64_t)have.day[i] + 1) * XO_DAY_MS > before)
            break;
        xo_day_text(have.day[i], date);
        st = s->d->day_end(c, have.day[i], &what, &n);
        *rows += n;
        if (n)
            xo_log(XO_INFO, "store", "prune: the partition of %s is gone, with %lld records", date, (long long)n);
        if (st == XONCE_OK && what == XO_DAY_NEEDED)
            xo_log(XO_DEBUG, "store", "prune: the partition of %s stays: a record in it is too young for its group, or not covered by what is settled", date);
        if (st != XONCE_OK && xo_error_class() == XO_SQL_AGAIN) {
            xo_log(XO_DEBUG, "store", "prune: the partition of %s stays for now: %s", date, xonce_error_last()->text);
            st = XONCE_OK;
        }
    }
    free(have.day);
    return st;
}

xonce_status xo_partitions_drop(xonce_store *s, int64_t before, int64_t *rows)
{
    static _Atomic int64_t told;
    xo_conn *c = NULL;
    int is = 0;
    *rows = 0;
    if (!s->d->days)
        return XONCE_OK;
    xonce_status st = xo_pool_get(s->pool, &c);
    if (st != XONCE_OK)
        return st;
    st = is_partitioned(s, c, &is);
    if (st == XONCE_OK && is)
        st = release(s, c, before);
    if (st == XONCE_OK && is) {
        st = end_days(s, c, before, rows);
        if (st != XONCE_OK && st != XONCE_E_CONNECT) { /* no right to: the records are deleted one by one, two days later */
            int64_t now = xo_mono_ms(), last = atomic_load(&told);
            int tell = !last || now - last > TELL_EVERY_MS;
            if (tell)
                atomic_store(&told, now);
            xo_log(tell ? XO_WARN : XO_DEBUG, "store", "prune: old partitions cannot be dropped, their records are deleted one by one two days later; somebody who may change the table should run `xonce prune` once a day: %s",
                   xonce_error_last()->text);
            st = XONCE_OK;
        }
    }
    xo_pool_put(s->pool, c);
    return st;
}

/* ---- check ---- */

typedef struct {
    void (*fn)(const xonce_finding *f, void *arg);
    void *arg;
} reporting;

static void say(const reporting *k, int severity, const char *what, const char *why, const char *sql)
{
    xonce_finding f = {.size = sizeof f, .severity = severity, .what = what, .why = why, .sql = sql};
    k->fn(&f, k->arg);
}

xonce_status xo_partitions_check(xonce_store *s, xo_conn *c, void (*fn)(const xonce_finding *f, void *arg), void *arg)
{
    const reporting k = {fn, arg};
    xo_days have = {0};
    int32_t today = 0;
    int is = 0, left = 0;
    xonce_status st = is_partitioned(s, c, &is);
    if (st != XONCE_OK || !is)
        return st;
    st = today_of(s, c, &today);
    if (st == XONCE_OK)
        st = s->d->days(c, &have);
    while (st == XONCE_OK && has_day(&have, today + left))
        left++;
    free(have.day);
    if (st != XONCE_OK)
        return st;
    if (left <= LEAST_AHEAD) {
        char what[120];
        snprintf(what, sizeof what, "transaction_record has partitions for %d of the next %d days", left, LEAST_AHEAD + 1);
        say(&k, 1, what, "records of days without one are claimed as ever, but deleted one by one", "let somebody who may change the table run `xonce prune` once a day");
    }
    xo_sql *parsed = NULL;
    st = xo_sql_make(&parsed, s->d->kind, "SELECT consumer_group, before_ms FROM xonce_released WHERE 1 = 0");
    if (st == XONCE_OK && s->d->try_sql(c, parsed) != XONCE_OK) {
        if (xo_error_class() == XO_SQL_SETUP)
            say(&k, 1, "the table xonce_released is missing, lacks columns, or may not be read", "no partition is ever dropped: records are deleted one by one, two days later", "run `xonce init`");
        else
            st = xonce_error_last()->code;
    }
    xo_sql_free(parsed);
    return st;
}
