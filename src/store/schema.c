/* The schema: printed, created, brought up to date, and looked at. */
#include "base/clock.h"
#include "base/log.h"
#include "store/partition.h"
#include "store/prune.h"
#include "store/schema_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRIES = 12, CLOCK_NOTE_MS = 2000 };

typedef xonce_status (*statement_fn)(const char *sql, void *arg);

/* ---- the files, statement by statement ---- */

static xonce_status each_in_text(xo_dialect_kind kind, const char *text, statement_fn fn, void *arg)
{
    xo_lexer l;
    xo_lex_span w;
    const char *start = text;
    xo_lex_init(&l, kind, text, strlen(text));
    for (;;) {
        xonce_status st = xo_lex_next(&l, &w);
        if (st != XONCE_OK || w.kind == XO_LEX_END)
            return st;
        if (w.kind != XO_LEX_SEMICOLON)
            continue;
        start += strspn(start, " \n\t\r");
        char *one = xo_memdup0(start, (size_t)(w.p + w.len - start));
        if (!one)
            return xo_nomem();
        st = fn(one, arg);
        free(one);
        if (st != XONCE_OK)
            return st;
        start = w.p + w.len;
    }
}

/* What takes a file's place where the record is partitioned; or the file. */
static const xo_schema_file *variant_of(const xo_schema_file *f)
{
    char engine[40];
    snprintf(engine, sizeof engine, "%s-partitioned", f->engine);
    for (const xo_schema_file *v = xo_schema_files; v->engine; v++)
        if (strcmp(v->engine, engine) == 0 && strcmp(v->name, f->name) == 0)
            return v;
    return f;
}

static xonce_status each_statement(const char *engine, xo_dialect_kind kind, int partitioned, statement_fn fn, void *arg)
{
    for (const xo_schema_file *f = xo_schema_files; f->engine; f++) {
        xonce_status st = strcmp(f->engine, engine) == 0 ? each_in_text(kind, (partitioned ? variant_of(f) : f)->text, fn, arg) : XONCE_OK;
        if (st != XONCE_OK)
            return st;
    }
    return XONCE_OK;
}

typedef struct {
    void (*fn)(const char *sql, void *arg);
    void *arg;
} print_call;

static xonce_status print_one(const char *sql, void *arg)
{
    const print_call *p = arg;
    p->fn(sql, p->arg);
    return XONCE_OK;
}

static xonce_status print_schema(const char *uri, int partitioned, void (*fn)(const char *sql, void *arg), void *arg)
{
    static const struct {
        const char *scheme, *engine;
        xo_dialect_kind kind;
    } known[] = {{"sqlite", "sqlite", XO_DIALECT_SQLITE},
                 {"postgresql", "postgresql", XO_DIALECT_PG},
                 {"postgres", "postgresql", XO_DIALECT_PG},
                 {"mysql", "mysql", XO_DIALECT_MYSQL},
                 {"mariadb", "mysql", XO_DIALECT_MYSQL}};
    if (!uri || !fn)
        return xo_fail(XONCE_E_INVALID, "xonce_store_print_schema: uri or fn is NULL");
    xo_uri u;
    xonce_status st = xo_uri_parse(&u, uri);
    if (st != XONCE_OK)
        return st;
    print_call p = {.fn = fn, .arg = arg};
    size_t i = 0, n = sizeof known / sizeof *known;
    while (i < n && strcmp(known[i].scheme, u.scheme) != 0)
        i++;
    if (i < n && partitioned && known[i].kind == XO_DIALECT_SQLITE)
        st = xo_no_partitions(u.scheme);
    else if (i < n)
        st = each_statement(known[i].engine, known[i].kind, partitioned, print_one, &p);
    else
        st = xo_fail(XONCE_E_INVALID,
                     "store URI: unknown scheme \"%s\"; use sqlite:FILE, postgresql://... or mysql://...", u.scheme);
    if (st == XONCE_OK && partitioned)
        st = xo_partitions_print(known[i].kind, fn, arg);
    xo_uri_free(&u);
    return st;
}

xonce_status xonce_store_print_schema(const char *uri, void (*fn)(const char *sql, void *arg), void *arg)
{
    return print_schema(uri, 0, fn, arg);
}

xonce_status xo_store_print_partitioned(const char *uri, void (*fn)(const char *sql, void *arg), void *arg)
{
    return print_schema(uri, 1, fn, arg);
}

/* ---- upgrade ---- */

typedef struct {
    xonce_store *s;
    xo_conn *c;
} upgrade_run;

static xonce_status run_once(const upgrade_run *u, const char *sql)
{
    const xo_sql *parsed = NULL;
    int owned = 0;
    xonce_status st = xo_pool_sql(u->s->pool, sql, &parsed, &owned);
    if (st != XONCE_OK)
        return st;
    st = u->s->d->query(u->c, parsed, NULL, 0, NULL, NULL, NULL);
    if (owned)
        xo_sql_free((xo_sql *)parsed);
    return st;
}

static int worth_another_try(const upgrade_run *u, xonce_status st)
{
    return st != XONCE_OK && st != XONCE_E_AUTH && st != XONCE_E_INVALID && st != XONCE_E_NOMEM && !u->c->lost;
}

/* Each statement may be run again. When two processes create the same table at once, PostgreSQL's IF NOT EXISTS still
   fails in one of them, with an error of the catalogue; the next try finds the table. */
static xonce_status run_patiently(const char *sql, void *arg)
{
    const upgrade_run *u = arg;
    xonce_status st = XONCE_OK;
    for (int i = 0; i < TRIES; i++) {
        st = run_once(u, sql);
        if (!worth_another_try(u, st))
            break;
        xo_pause_ms(20 + (int64_t)(xo_random() % 60));
    }
    return st == XONCE_OK ? st : xo_error_context("schema");
}

static int has_column(const upgrade_run *u, const char *column)
{
    xo_buf sql = {0};
    xo_sql *parsed = NULL;
    xo_buf_printf(&sql, "SELECT %s FROM transaction_record WHERE 1 = 0", column);
    int has = xo_buf_status(&sql) == XONCE_OK && xo_sql_make(&parsed, u->s->d->kind, sql.p) == XONCE_OK &&
              u->s->d->try_sql(u->c, parsed) == XONCE_OK;
    xo_sql_free(parsed);
    xo_buf_free(&sql);
    return has;
}

/* Another process may be faster: then the column is there, whatever the error was. */
static xonce_status add_column(const upgrade_run *u, const char *column, const char *sql)
{
    for (int i = 1;; i++) {
        xo_error e;
        if (has_column(u, column))
            return XONCE_OK;
        xonce_status st = run_once(u, sql);
        if (st == XONCE_OK)
            return st;
        xo_error_save(&e);
        if (has_column(u, column))
            return XONCE_OK;
        if (i == TRIES || !worth_another_try(u, e.pub.code))
            return xo_error_restore(&e);
        xo_pause_ms(20 + (int64_t)(xo_random() % 60));
    }
}

/* A vendor's table gets our columns. */
static xonce_status add_columns(const upgrade_run *u)
{
    static const char *const columns[][2] = {
        {"store_time", "BIGINT"}, {"log_offset", "BIGINT"}, {"digest", "CHAR(32)"}};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        const char *charset =
            i == 2 && u->s->d->kind == XO_DIALECT_MYSQL ? " CHARACTER SET ascii COLLATE ascii_bin" : "";
        xo_buf sql = {0};
        xo_buf_printf(&sql, "ALTER TABLE transaction_record ADD COLUMN %s %s%s NULL", columns[i][0], columns[i][1],
                      charset);
        xonce_status st = xo_buf_status(&sql);
        if (st == XONCE_OK)
            st = add_column(u, columns[i][0], sql.p);
        xo_buf_free(&sql);
        if (st != XONCE_OK)
            return xo_error_context("schema");
    }
    return XONCE_OK;
}

static xonce_status upgrade_on(xonce_store *s, xo_conn *c, int split)
{
    upgrade_run u = {.s = s, .c = c};
    xo_layout layout = {0};
    if (split && !s->d->days)
        return xo_no_partitions(s->d->name);
    xonce_status st = xo_pool_layout(s->pool, c, 1, &layout);
    if (st == XONCE_OK && split && layout.exists && !layout.partitioned)
        return xo_fail(XONCE_E_INVALID, "transaction_record is there and is not partitioned by day; it is not changed into one that is: see docs/partitions.md on how to move to one");
    if (st == XONCE_OK)
        st = each_statement(s->d->name, s->d->kind, split || layout.partitioned, run_patiently, &u);
    if (st == XONCE_OK)
        st = xo_pool_layout(s->pool, c, 1, &layout);
    if (st == XONCE_OK && split && !layout.partitioned)
        return xo_fail(XONCE_E_SCHEMA, "schema: transaction_record was made, but is not the partitioned one; is there another in the search path?");
    if (st == XONCE_OK && layout.partitioned)
        st = xo_partitions_first(s, c);
    if (st == XONCE_OK && !layout.has_ours) {
        st = add_columns(&u);
        if (st == XONCE_OK)
            st = xo_pool_layout(s->pool, c, 1, &layout);
    }
    if (st == XONCE_OK && !layout.has_ours)
        return xo_fail(XONCE_E_SCHEMA, "schema: transaction_record still lacks store_time, log_offset or digest; is it "
                                       "in another schema of the search path?");
    return st;
}

static xonce_status upgrade(xonce_store *s, int split)
{
    xo_conn *c = NULL;
    xonce_status st = xo_pool_writer_lock(s->pool);
    if (st != XONCE_OK)
        return st;
    st = xo_pool_get(s->pool, &c);
    if (st == XONCE_OK) {
        st = upgrade_on(s, c, split);
        xo_pool_put(s->pool, c);
    }
    xo_pool_writer_unlock(s->pool);
    return st;
}

xonce_status xonce_store_upgrade(xonce_store *s)
{
    return s ? upgrade(s, 0) : xo_fail(XONCE_E_INVALID, "xonce_store_upgrade: store is NULL");
}

xonce_status xo_store_init_partitioned(xonce_store *s)
{
    return upgrade(s, 1);
}

/* ---- check ---- */

typedef struct {
    xonce_store *s;
    xo_conn *c;
    void (*fn)(const xonce_finding *f, void *arg);
    void *arg;
    int told_rejected, told_watermark, told_clock; /* the dialect has found it, and says it better */
} check_run;

static void find(const check_run *k, int severity, const char *what, const char *why, const char *sql)
{
    xonce_finding f = {.size = sizeof f, .severity = severity, .what = what, .why = why, .sql = sql};
    k->fn(&f, k->arg);
}

/* *fits: the statement's tables and columns are there. */
static xonce_status fits(const check_run *k, const char *sql, int *fits_out)
{
    xo_sql *parsed = NULL;
    *fits_out = 0;
    xonce_status st = xo_sql_make(&parsed, k->s->d->kind, sql);
    if (st != XONCE_OK)
        return st;
    st = k->s->d->try_sql(k->c, parsed);
    xo_sql_free(parsed);
    *fits_out = st == XONCE_OK;
    return st != XONCE_OK && xo_error_class() != XO_SQL_SETUP ? st : XONCE_OK;
}

typedef struct {
    const char *table;
    char *sql;
} creating;

static xonce_status keep_creating(const char *sql, void *arg)
{
    creating *m = arg;
    char head[80];
    int n = snprintf(head, sizeof head, "CREATE TABLE IF NOT EXISTS %s (", m->table);
    const char *at = n > 0 ? strstr(sql, head) : NULL;
    if (!at || m->sql)
        return XONCE_OK;
    m->sql = xo_strdup(at); /* without the comment before it */
    return m->sql ? XONCE_OK : xo_nomem();
}

/* A table that only sources with offsets use: HTTP does not miss it. `columns` must be there. */
static xonce_status check_offsets_table(const check_run *k, const char *table, const char *columns, const char *why)
{
    char what[128];
    creating m = {.table = table};
    xo_buf sql = {0};
    int there = 0;
    xo_buf_printf(&sql, "SELECT %s FROM %s WHERE 1 = 0", columns, table);
    xonce_status st = xo_buf_status(&sql);
    if (st == XONCE_OK)
        st = fits(k, sql.p, &there);
    xo_buf_free(&sql);
    if (st != XONCE_OK || there)
        return st;
    snprintf(what, sizeof what, "the table %s is missing, lacks columns, or may not be read", table);
    st = each_statement(k->s->d->name, k->s->d->kind, 0, keep_creating, &m);
    if (st == XONCE_OK)
        find(k, 1, what, why, m.sql ? m.sql : "run `xonce init`");
    free(m.sql);
    return st;
}

static xonce_status check_settled(const check_run *k)
{
    xonce_status st = check_offsets_table(k, "xonce_settled",
                                          "consumer_group, topic_name, broker_name, queue_id, generation, tags, first_offset, next_offset, last_store_time, last_log_offset, epoch",
                                          "consuming over HTTP works; consuming from rocketmq:// needs it: run `xonce init`, or the statement below");
    return st == XONCE_OK ? check_offsets_table(k, "xonce_store", "name, value",
                                                "consuming over HTTP works; consuming from rocketmq:// needs it: run `xonce init`, or the statement below")
                          : st;
}

static xonce_status check_tables(const check_run *k, int *watermark)
{
    xo_buf sql = {0};
    int rejected = 0;
    xo_buf_printf(&sql,
                  "SELECT id, consumer_group, message_id, topic_name, broker_name, queue_id, %s, store_time, attempts, "
                  "body, properties, reason, rejected_at, replay_at, uniq"
                  " FROM xonce_rejected WHERE 1 = 0",
                  k->s->d->quoted_offset);
    xonce_status st = xo_buf_status(&sql);
    if (st == XONCE_OK)
        st = fits(k, sql.p, &rejected);
    xo_buf_free(&sql);
    if (st == XONCE_OK && !rejected && !k->told_rejected)
        find(k, 3, "the table xonce_rejected is missing, lacks columns, or may not be read",
             "a message that is rejected cannot be kept, and comes again for ever",
             "run `xonce init`, or the SQL of `xonce init --print`");
    if (st == XONCE_OK)
        st = fits(k, "SELECT consumer_group, watermark_ms, updated_ms FROM xonce_watermark WHERE 1 = 0", watermark);
    if (st == XONCE_OK && !*watermark && !k->told_watermark)
        find(k, 1, "the table xonce_watermark is missing, lacks columns, or may not be read",
             "nothing is ever pruned, and the record table grows",
             "run `xonce init`, or the SQL of `xonce init --print`");
    return st == XONCE_OK ? check_settled(k) : st;
}

static void check_clock(const check_run *k, const xo_marks *m)
{
    char what[128];
    int64_t off = m->clock_off < 0 ? -m->clock_off : m->clock_off;
    int much = off > XO_CLOCK_OFF_MAX_MS;
    if (off <= CLOCK_NOTE_MS || k->told_clock)
        return;
    snprintf(what, sizeof what, "the database's clock is %lld ms %s this machine's", (long long)off,
             m->clock_off > 0 ? "ahead of" : "behind");
    find(k, much ? 2 : 1, what,
         much ? "pruning refuses to work: ages cannot be trusted" : "ages of records are off by as much", "synchronise both clocks (NTP)");
}

static void check_prune(const check_run *k, const xo_marks *m)
{
    char floor[32], what[96];
    int64_t least = 0;
    if (xo_prune_floor(k->s, &least) == XONCE_OK && k->s->keep_ms < least) { /* without the table another finding says so */
        xo_format_duration(least, floor, sizeof floor);
        snprintf(what, sizeof what, "prune.keep is below %s", floor);
        find(k, 1, what, "pruning refuses it: a message could come again after its record is gone", "raise prune.keep");
    }
    if (m->has_row && m->now - m->updated > XO_WATERMARK_STALE_MS)
        find(k, 0, "the group's caught-up watermark is older than an hour",
             "no consumer of the group runs; nothing is pruned until one does, which is right", "");
}

static void from_dialect(const xonce_finding *f, void *arg)
{
    check_run *k = arg;
    k->told_rejected |= strstr(f->what, "xonce_rejected") != NULL;
    k->told_watermark |= strstr(f->what, "xonce_watermark") != NULL;
    k->told_clock |= strstr(f->what, "clock") != NULL;
    k->fn(f, k->arg);
}

xonce_status xonce_store_check(xonce_store *s, void (*fn)(const xonce_finding *f, void *arg), void *arg)
{
    if (!s || !fn)
        return xo_fail(XONCE_E_INVALID, "xonce_store_check: store or fn is NULL");
    check_run k = {.s = s, .fn = fn, .arg = arg};
    int watermark = 0;
    xo_marks m = {0};
    xonce_status st = xo_pool_get(s->pool, &k.c);
    if (st != XONCE_OK)
        return st;
    st = s->d->check(k.c, xo_pool_options(s->pool), from_dialect, &k);
    if (st == XONCE_OK)
        st = check_tables(&k, &watermark);
    if (st == XONCE_OK)
        st = xo_partitions_check(s, k.c, fn, arg);
    if (st == XONCE_OK)
        st = xo_marks_read(s, k.c, watermark, &m);
    xo_pool_put(s->pool, k.c);
    if (st == XONCE_OK) {
        check_clock(&k, &m);
        check_prune(&k, &m);
    }
    return st;
}
