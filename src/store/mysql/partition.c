/* The record table of MySQL and MariaDB that is split by day: its partitions are listed, made and dropped.
 *
 * Changing partitions wants the whole table for itself for an instant, which is not to be had while a transaction with a claim is open; meanwhile further claims wait. So it waits a second at most, and is tried
 * again another time. */
#include "base/clock.h"
#include "store/mysql/impl.h"
#include "store/partition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REST_SMALL = 5000, ADD_TRIES = 3 };

/* A partition by its upper bound. */
typedef struct {
    char name[68];
    int32_t less_than; /* INT32_MAX: MAXVALUE */
} part;

typedef struct {
    part *list;
    size_t n, cap;
    int failed;
} parts;

static xonce_status text(xo_my *m, xo_buf *b, xo_row_fn fn, void *arg)
{
    xonce_status st = xo_buf_status(b);
    if (st == XONCE_OK)
        st = xo_my_text(m, b->p, b->len, fn, arg, NULL);
    xo_buf_free(b);
    return st;
}

static int on_part(const xonce_row *r, void *arg)
{
    parts *p = arg;
    part *list = r->text[0] && r->text[1] && strlen(r->text[0]) <= 64 ? xo_grow(p->list, &p->cap, p->n + 1, sizeof *list) : NULL;
    if (!list) {
        p->failed = 1;
        return 1;
    }
    p->list = list;
    part *one = &list[p->n++];
    snprintf(one->name, sizeof one->name, "%s", r->text[0]);
    one->less_than = strcmp(r->text[1], "MAXVALUE") == 0 ? INT32_MAX : (int32_t)strtol(r->text[1], NULL, 10);
    return 0;
}

static xonce_status read_parts(xo_my *m, parts *p)
{
    static const char sql[] = "SELECT partition_name, partition_description FROM information_schema.partitions WHERE table_schema = DATABASE() AND table_name = 'transaction_record' "
                              "AND partition_name IS NOT NULL ORDER BY partition_ordinal_position";
    *p = (parts){0};
    xonce_status st = xo_my_know_layout(m);
    if (st == XONCE_OK && !m->c.partitioned)
        return xo_fail_sql(XONCE_E_SCHEMA, XO_SQL_SETUP, XO_ER_NO_SUCH_TABLE, NULL, "the table transaction_record is not there, or not partitioned");
    if (st == XONCE_OK)
        st = xo_my_text(m, sql, sizeof sql - 1, on_part, p, NULL);
    if (st == XONCE_OK && p->failed)
        st = xo_nomem();
    return st;
}

/* One before it ends where this day begins, or it takes all days before it as well; either way this day's records are in it. */
static int is_day(const parts *p, size_t i)
{
    return p->list[i].less_than > 0 && p->list[i].less_than != INT32_MAX;
}

/* Ends the statement's own transaction, whatever became of it. */
static xonce_status finish(xo_my *m, xonce_status st)
{
    xo_error e;
    if (st == XONCE_OK)
        return xo_my_plain_commit(m);
    xo_error_save(&e);
    xo_my_rollback(&m->c);
    return xo_error_restore(&e);
}

xonce_status xo_my_days(xo_conn *c, xo_days *out)
{
    xo_my *m = (xo_my *)c;
    parts p;
    xonce_status st = read_parts(m, &p);
    for (size_t i = 0; st == XONCE_OK && i < p.n; i++)
        if (is_day(&p, i))
            st = xo_days_add(out, p.list[i].less_than - 1);
    free(p.list);
    return finish(m, st);
}

/* ---- locks that are waited for but for a moment ---- */

static int on_int(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = r->text[0] ? strtoll(r->text[0], NULL, 10) : 0;
    return 0;
}

static xonce_status hurry(xo_my *m, int64_t *was)
{
    static const char sql[] = "SELECT @@SESSION.lock_wait_timeout";
    xonce_status st = xo_my_text(m, sql, sizeof sql - 1, on_int, was, NULL);
    return st == XONCE_OK ? xo_my_do(m, "SET SESSION lock_wait_timeout = 1") : st;
}

static void calm(xo_my *m, int64_t was)
{
    char sql[80];
    xo_error e;
    xo_error_save(&e);
    snprintf(sql, sizeof sql, "SET SESSION lock_wait_timeout = %lld", (long long)was);
    if (xo_my_do(m, sql) != XONCE_OK)
        m->c.lost = 1;
    if (e.pub.code != XONCE_OK)
        (void)xo_error_restore(&e);
}

/* ---- new days ---- */

/* What stands in the last partition is copied, with the table locked. */
static xonce_status rest_is_small(xo_my *m, const char *rest)
{
    int64_t n = 0;
    xo_buf b = {0};
    xo_buf_printf(&b, "SELECT COUNT(*) FROM (SELECT 1 FROM %s PARTITION (`%s`) LIMIT %d) x", m->table, rest, REST_SMALL + 1);
    xonce_status st = finish(m, text(m, &b, on_int, &n));
    if (st == XONCE_OK && n > REST_SMALL)
        return xo_fail(XONCE_E_INVALID, "the partition %s holds more than %d records of days that have no partition: making one would copy them while all wait; it is done once they are pruned", rest, REST_SMALL);
    return st;
}

static xonce_status add(xo_my *m, const char *rest, const int32_t *day, size_t n)
{
    xo_buf b = {0};
    xo_buf_printf(&b, "ALTER TABLE %s REORGANIZE PARTITION `%s` INTO (", m->table, rest);
    for (size_t i = 0; i < n; i++) {
        char date[16];
        xo_day_text(day[i], date);
        xo_buf_printf(&b, "PARTITION p%s VALUES LESS THAN (%d), ", date, (int)day[i] + 1);
    }
    xo_buf_printf(&b, "PARTITION `%s` VALUES LESS THAN MAXVALUE)", rest);
    return finish(m, text(m, &b, NULL, NULL));
}

xonce_status xo_my_day_add(xo_conn *c, const int32_t *day, size_t n)
{
    xo_my *m = (xo_my *)c;
    int64_t was = 0;
    parts p;
    xonce_status st = finish(m, read_parts(m, &p));
    const part *rest = st == XONCE_OK && p.n && p.list[p.n - 1].less_than == INT32_MAX ? &p.list[p.n - 1] : NULL;
    while (n && rest && p.n > 1 && *day < p.list[p.n - 2].less_than) { /* a partition has its records already */
        day++;
        n--;
    }
    if (st == XONCE_OK && !rest)
        st = xo_fail(XONCE_E_SCHEMA, "transaction_record has no partition VALUES LESS THAN MAXVALUE to split");
    if (st == XONCE_OK && n)
        st = rest_is_small(m, rest->name);
    if (st == XONCE_OK && n)
        st = hurry(m, &was);
    if (st == XONCE_OK && n) {
        for (int i = 1; (st = add(m, rest->name, day, n)) != XONCE_OK && xo_error_class() == XO_SQL_AGAIN && i < ADD_TRIES; i++)
            xo_pause_ms(100 + (int64_t)(xo_random() % 200));
    }
    if (was)
        calm(m, was);
    free(p.list);
    return st;
}

/* ---- the end of a day ---- */

typedef struct {
    int64_t rows, needed;
} counted;

static int on_counted(const xonce_row *r, void *arg)
{
    counted *k = arg;
    k->rows = r->text[0] ? strtoll(r->text[0], NULL, 10) : 0;
    k->needed = r->text[1] ? strtoll(r->text[1], NULL, 10) : 0;
    return 0;
}

static xonce_status is_needed(xo_my *m, const char *name, int64_t *needed)
{
    xo_buf b = {0};
    *needed = 0;
    xo_buf_printf(&b, "SELECT EXISTS (SELECT 1 FROM %s PARTITION (`%s`) r LEFT JOIN xonce_released h ON h.consumer_group = r.consumer_group WHERE " XO_DAY_NEEDS("`offset`") ")", m->table, name);
    return finish(m, text(m, &b, on_int, needed));
}

static xonce_status count(xo_my *m, const char *name, counted *k)
{
    xo_buf b = {0};
    xo_buf_printf(&b, "SELECT COUNT(*), SUM(" XO_DAY_NEEDS("`offset`") ") FROM %s PARTITION (`%s`) r LEFT JOIN xonce_released h ON h.consumer_group = r.consumer_group", m->table, name);
    return finish(m, text(m, &b, on_counted, k));
}

static xonce_status lock(xo_my *m)
{
    xo_buf b = {0};
    xo_buf_printf(&b, "LOCK TABLES %s WRITE", m->table);
    return text(m, &b, NULL, NULL);
}

/* Keeps the error. */
static xonce_status unlock(xo_my *m, xonce_status st)
{
    xo_error e;
    xo_error_save(&e);
    m->dead = 0;
    if (!m->c.lost && xo_my_do(m, "UNLOCK TABLES") != XONCE_OK) {
        m->c.lost = 1;
        if (st == XONCE_OK)
            return xonce_error_last()->code;
    }
    return st == XONCE_OK ? finish(m, st) : finish(m, xo_error_restore(&e));
}

/* All that is claimed up to now is committed or gone, and has an id up to *top; what comes later has a greater one. */
static xonce_status barrier(xo_my *m, int64_t *top)
{
    xo_buf b = {0};
    xonce_status st = lock(m);
    if (st != XONCE_OK)
        return finish(m, st);
    xo_buf_printf(&b, "SELECT COALESCE(MAX(id), 0) FROM %s", m->table);
    return unlock(m, text(m, &b, on_int, top));
}

/* Nobody else has the table: drops the partition, unless something has come into it since. */
static xonce_status drop(xo_my *m, const char *name, int64_t top, int *gone)
{
    int64_t newer = 0;
    xo_buf b = {0}, d = {0};
    *gone = 0;
    xonce_status st = lock(m);
    if (st != XONCE_OK)
        return finish(m, st);
    xo_buf_printf(&b, "SELECT EXISTS (SELECT 1 FROM %s PARTITION (`%s`) WHERE id > %lld)", m->table, name, (long long)top);
    st = text(m, &b, on_int, &newer);
    if (st == XONCE_OK && !newer) {
        xo_buf_printf(&d, "ALTER TABLE %s DROP PARTITION `%s`", m->table, name);
        st = text(m, &d, NULL, NULL);
        *gone = st == XONCE_OK;
    }
    return unlock(m, st);
}

static xonce_status end_part(xo_my *m, const char *name, xo_day_end *what, int64_t *rows)
{
    int64_t was = 0, needed = 0, top = 0;
    int gone = 0;
    counted k = {0, 0};
    *what = XO_DAY_BUSY;
    xonce_status st = is_needed(m, name, &needed);
    if (st == XONCE_OK && needed) {
        *what = XO_DAY_NEEDED;
        return st;
    }
    if (st == XONCE_OK)
        st = hurry(m, &was);
    if (st == XONCE_OK)
        st = barrier(m, &top);
    if (st == XONCE_OK)
        st = count(m, name, &k);
    if (st == XONCE_OK && k.needed > 0)
        *what = XO_DAY_NEEDED;
    else if (st == XONCE_OK)
        st = drop(m, name, top, &gone);
    if (gone) {
        *what = XO_DAY_GONE;
        *rows = k.rows;
    }
    if (was)
        calm(m, was);
    return st;
}

xonce_status xo_my_day_end(xo_conn *c, int32_t day, xo_day_end *what, int64_t *rows)
{
    xo_my *m = (xo_my *)c;
    int got = 0;
    parts p = {0};
    *what = XO_DAY_GONE;
    *rows = 0;
    xonce_status st = xo_my_prune_lock(c, &got);
    if (st == XONCE_OK && !got)
        return xo_fail_sql(XONCE_E_CONFLICT, XO_SQL_AGAIN, 0, NULL, "another pruner of this database is at work");
    if (st == XONCE_OK)
        st = finish(m, read_parts(m, &p));
    for (size_t i = 0; st == XONCE_OK && i < p.n; i++)
        if (is_day(&p, i) && p.list[i].less_than == day + 1) {
            st = end_part(m, p.list[i].name, what, rows);
            break;
        }
    free(p.list);
    if (got)
        xo_my_prune_unlock(c);
    return st;
}
