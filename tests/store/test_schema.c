/* Schema, watermark and pruning, over SQLite and whichever of XONCE_TEST_POSTGRES_URI and XONCE_TEST_MYSQL_URI is set.
 */
#include "base/clock.h"
#include "store/prune.h"
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOUR ((int64_t)3600 * 1000)
#define DAY (24 * HOUR)
enum { THREADS = 6 };

static const char *uris[3];
static int nuris;
static const char *uri;
static xonce_store *s;

/* ---- help ---- */

static xonce_store *open_group(const char *group)
{
    xonce_store *out = NULL;
    ck_assert_msg(xonce_store_open(&out, uri, group, NULL) == XONCE_OK, "%s", xonce_error_last()->text);
    return out;
}

static void sql(const char *text)
{
    ck_assert_msg(xo_store_query(s, text, NULL, 0, NULL, NULL, NULL) == XONCE_OK, "%s: %s", text,
                  xonce_error_last()->text);
}

static int on_int(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = xonce_row_int(r, 0);
    return 1;
}

static int64_t number(const char *text)
{
    int64_t n = -1;
    ck_assert_msg(xo_store_query(s, text, NULL, 0, on_int, &n, NULL) == XONCE_OK, "%s: %s", text,
                  xonce_error_last()->text);
    return n;
}

static void drop_all(void)
{
    sql("DROP TABLE IF EXISTS transaction_record");
    sql("DROP TABLE IF EXISTS xonce_rejected");
    sql("DROP TABLE IF EXISTS xonce_watermark");
    sql("DROP TABLE IF EXISTS xonce_settled");
    sql("DROP TABLE IF EXISTS xonce_store");
}

static void start(int engine)
{
    uri = uris[engine];
    s = open_group("g");
    drop_all();
}

static void start_with_tables(int engine)
{
    start(engine);
    ck_assert_msg(xonce_store_upgrade(s) == XONCE_OK, "%s", xonce_error_last()->text);
}

static void finish(void)
{
    drop_all();
    xonce_store_close(s);
    s = NULL;
}

static void records(const char *group, int64_t ctime, int step, int n)
{
    xo_buf text = {0};
    xo_buf_printf(&text,
                  "INSERT INTO transaction_record (consumer_group, message_id, topic_name, ctime, queue_id, %s, "
                  "broker_name) VALUES ",
                  s->d->quoted_offset);
    for (int i = 0; i < n; i++)
        xo_buf_printf(&text, "%s('%s', '%lld-%d#%s', 't', %lld, 0, 0, '')", i ? ", " : "", group, (long long)ctime, i,
                      group, (long long)(ctime + (int64_t)i * step));
    ck_assert_int_eq(xo_buf_status(&text), XONCE_OK);
    sql(text.p);
    xo_buf_free(&text);
}

/* ---- printing ---- */

typedef struct {
    int pieces, record, rejected, watermark, settled, store;
    int run;
} printed;

static void on_piece(const char *text, void *arg)
{
    printed *p = arg;
    size_t n = strlen(text);
    p->pieces++;
    ck_assert_int_eq(text[n - 1], ';');
    ck_assert_int_ne(text[0], '\n');
    p->record += strstr(text, "CREATE TABLE IF NOT EXISTS transaction_record") != NULL;
    p->rejected += strstr(text, "CREATE TABLE IF NOT EXISTS xonce_rejected") != NULL;
    p->watermark += strstr(text, "CREATE TABLE IF NOT EXISTS xonce_watermark") != NULL;
    p->settled += strstr(text, "CREATE TABLE IF NOT EXISTS xonce_settled") != NULL;
    p->store += strstr(text, "CREATE TABLE IF NOT EXISTS xonce_store ") != NULL;
    if (p->run)
        sql(text);
}

START_TEST(schema_is_printed)
{
    static const char *const known[] = {"sqlite:x", "postgresql://h/d", "postgres://h/d", "mysql://u@h/d",
                                        "mariadb://u@h/d"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        printed p = {0};
        ck_assert_int_eq(xonce_store_print_schema(known[i], on_piece, &p), XONCE_OK);
        ck_assert_int_ge(p.pieces, 3);
        ck_assert(p.record == 1 && p.rejected == 1 && p.watermark == 1 && p.settled == 1 && p.store == 1);
    }
    printed p = {0};
    ck_assert_int_eq(xonce_store_print_schema("oracle://h/d", on_piece, &p), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_store_print_schema("nothing", on_piece, &p), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_store_print_schema(NULL, on_piece, &p), XONCE_E_INVALID);
    ck_assert_int_eq(p.pieces, 0);
}
END_TEST

START_TEST(printed_schema_runs)
{
    start(_i);
    printed p = {.run = 1};
    ck_assert_int_eq(xonce_store_print_schema(uri, on_piece, &p), XONCE_OK);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 0);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM xonce_rejected"), 0);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM xonce_settled"), 0);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM xonce_store"), 0);
    ck_assert_int_eq(xonce_store_upgrade(s), XONCE_OK);
    finish();
}
END_TEST

/* ---- upgrade ---- */

START_TEST(init_twice)
{
    start_with_tables(_i);
    records("g", 1000, 1, 3);
    ck_assert_int_eq(xonce_store_upgrade(s), XONCE_OK);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record WHERE store_time IS NULL AND log_offset IS NULL "
                            "AND digest IS NULL"),
                     3);
    /* the key is the bytes of message_id, and only that */
    records("G", 1000, 1, 3);
    sql("UPDATE transaction_record SET message_id = 'a' WHERE message_id = '1000-0#g'");
    sql("UPDATE transaction_record SET message_id = 'A' WHERE message_id = '1000-1#g'");
    sql("UPDATE transaction_record SET message_id = 'a ' WHERE message_id = '1000-2#g'");
    ck_assert_int_eq(xo_store_query(s, "UPDATE transaction_record SET message_id = 'a' WHERE message_id = '1000-0#G'",
                                    NULL, 0, NULL, NULL, NULL),
                     XONCE_E_SQL);
    ck_assert_int_eq(xo_error_class(), XO_SQL_DATA);
    finish();
}
END_TEST

static void *upgrade_thread(void *arg)
{
    xonce_store *mine = open_group("g");
    int *ok = arg;
    *ok = xonce_store_upgrade(mine) == XONCE_OK;
    if (!*ok)
        fprintf(stderr, "# upgrade: %s\n", xonce_error_last()->text);
    xonce_store_close(mine);
    return NULL;
}

static void upgrade_at_once(void)
{
    pthread_t t[THREADS];
    int ok[THREADS];
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, upgrade_thread, &ok[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(ok[i], 1);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record WHERE digest IS NOT NULL"), 0);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM xonce_rejected"), 0);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM xonce_settled"), 0);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM xonce_store"), 0);
}

START_TEST(init_at_once)
{
    start(_i);
    for (int round = 0; round < 3; round++) {
        upgrade_at_once();
        ck_assert_int_eq(number("SELECT COUNT(*) FROM xonce_watermark"), 0);
        drop_all();
    }
    finish();
}
END_TEST

static void vendor_table(void)
{
    static const char *const id[] = {[XO_DIALECT_PG] = "id bigserial PRIMARY KEY",
                                     [XO_DIALECT_MYSQL] = "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY",
                                     [XO_DIALECT_SQLITE] = "id INTEGER PRIMARY KEY"};
    xo_buf text = {0};
    xo_buf_printf(&text,
                  "CREATE TABLE transaction_record (consumer_group varchar(128) NOT NULL, message_id varchar(255) NOT "
                  "NULL, topic_name varchar(255) NOT NULL,"
                  " ctime bigint NOT NULL, queue_id integer NOT NULL, %s bigint NOT NULL, broker_name varchar(255) NOT "
                  "NULL, %s, CONSTRAINT message_id_unique_key UNIQUE (message_id))",
                  s->d->quoted_offset, id[s->d->kind]);
    ck_assert_int_eq(xo_buf_status(&text), XONCE_OK);
    sql(text.p);
    xo_buf_free(&text);
    records("g", 1000, 1, 3);
}

START_TEST(vendor_table_gets_our_columns)
{
    start(_i);
    vendor_table();
    upgrade_at_once();
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record WHERE store_time IS NULL"), 3);
    xo_conn *c = NULL;
    xo_layout l = {0};
    ck_assert_int_eq(xo_pool_get(s->pool, &c), XONCE_OK);
    ck_assert_int_eq(s->d->layout(c, &l), XONCE_OK);
    xo_pool_put(s->pool, c);
    ck_assert(l.exists && l.has_ours);
    finish();
}
END_TEST

/* ---- check ---- */

typedef struct {
    char text[8000];
    int worst;
} findings;

static void on_finding(const xonce_finding *f, void *arg)
{
    findings *k = arg;
    size_t n = strlen(k->text);
    ck_assert(f->what && f->why && f->sql && f->severity >= 0 && f->severity <= 3);
    snprintf(k->text + n, sizeof k->text - n, "%d %s [%s]\n", f->severity, f->what, f->sql);
    if (f->severity > k->worst)
        k->worst = f->severity;
}

static void look(findings *k)
{
    memset(k, 0, sizeof *k);
    ck_assert_msg(xonce_store_check(s, on_finding, k) == XONCE_OK, "%s", xonce_error_last()->text);
}

START_TEST(check_of_tables_and_watermark)
{
    findings k;
    start(_i);
    look(&k);
    ck_assert_msg(strstr(k.text, "3 the table xonce_rejected is ") && strstr(k.text, " the table xonce_watermark is ") && strstr(k.text, "transaction_record"), "%s",
                  k.text);
    ck_assert_int_eq(xonce_store_upgrade(s), XONCE_OK);
    look(&k);
    ck_assert_msg(!strstr(k.text, "missing") && k.worst < 3, "%s", k.text);
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    sql("UPDATE xonce_watermark SET updated_ms = updated_ms - 4000000");
    look(&k);
    ck_assert_msg(strstr(k.text, "0 the group's caught-up watermark is older") != NULL, "%s", k.text);
    finish();
}
END_TEST

/* What `check` prints for one missing table, statement and all. */
static void expect_missing(const findings *k, const char *table)
{
    char line[400];
    snprintf(line, sizeof line, "1 the table %s is missing, lacks columns, or may not be read [CREATE TABLE IF NOT EXISTS %s (", table, table);
    ck_assert_msg(strstr(k->text, line) != NULL, "%s", k->text);
}

static void run_if_create(const xonce_finding *f, void *arg)
{
    int *n = arg;
    if (strncmp(f->sql, "CREATE TABLE", 12) != 0)
        return;
    ++*n;
    sql(f->sql);
}

/* A database of ours from before these tables: HTTP goes on, `check` tells, its SQL or an upgrade mends it, and what was there stays. */
START_TEST(an_older_database_gets_the_new_tables)
{
    findings k;
    int mended = 0;
    start_with_tables(_i);
    records("g", 1000, 1, 3);
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    sql("DROP TABLE xonce_settled");
    sql("DROP TABLE xonce_store");
    look(&k);
    expect_missing(&k, "xonce_settled");
    expect_missing(&k, "xonce_store");
    ck_assert_msg(strstr(k.text, "xonce_rejected is missing") == NULL && k.worst < 3, "%s", k.text);
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    ck_assert_int_eq(xonce_store_check(s, run_if_create, &mended), XONCE_OK);
    ck_assert_int_eq(mended, 2);
    look(&k);
    ck_assert_msg(!strstr(k.text, "missing"), "%s", k.text);
    sql("INSERT INTO xonce_settled VALUES ('g', 't', 'b', 0, 0, '*', 1, 2, 3, 4, 5, NULL)");
    sql("DROP TABLE xonce_store");
    ck_assert_int_eq(xonce_store_upgrade(s), XONCE_OK);
    ck_assert_int_eq(xonce_store_upgrade(s), XONCE_OK);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM xonce_settled WHERE epoch = 5 AND last_log_offset = 4 AND next_offset = 2"), 1);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM xonce_store"), 0);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 3);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM xonce_watermark"), 1);
    sql("DROP TABLE xonce_settled");
    sql("DROP TABLE xonce_store");
    sql("DELETE FROM xonce_watermark");
    upgrade_at_once();
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 3);
    finish();
}
END_TEST

START_TEST(check_of_a_short_keep)
{
    findings k;
    xonce_config *cfg = NULL;
    start_with_tables(_i);
    xonce_store_close(s);
    ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(cfg, "prune.keep", "23h"), XONCE_OK);
    ck_assert_int_eq(xonce_store_open(&s, uri, "g", cfg), XONCE_OK);
    xonce_config_free(cfg);
    look(&k);
    ck_assert_msg(strstr(k.text, "1 prune.keep is below") != NULL, "%s", k.text);
    finish();
}
END_TEST

/* ---- watermark ---- */

START_TEST(watermark_moves_forward_only)
{
    start_with_tables(_i);
    ck_assert_int_eq(xo_watermark_heartbeat(s, XO_MARK_NONE), XONCE_OK);
    ck_assert_int_eq(number("SELECT watermark_ms FROM xonce_watermark WHERE consumer_group = 'g'"), 0);
    ck_assert_int_lt(llabs(number("SELECT updated_ms FROM xonce_watermark") - xo_now_ms()), 60000);
    ck_assert_int_eq(xo_watermark_heartbeat(s, XO_MARK_NOW), XONCE_OK);
    int64_t w = number("SELECT watermark_ms FROM xonce_watermark");
    ck_assert_int_lt(llabs(w - xo_now_ms()), 60000);
    sql("UPDATE xonce_watermark SET updated_ms = 7");
    ck_assert_int_eq(xo_watermark_heartbeat(s, XO_MARK_NONE), XONCE_OK);
    ck_assert_int_eq(number("SELECT watermark_ms FROM xonce_watermark"), w);
    ck_assert_int_ge(number("SELECT updated_ms FROM xonce_watermark"), w);
    sql("UPDATE xonce_watermark SET watermark_ms = 99999999999999");
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM xonce_watermark WHERE watermark_ms = 99999999999999"), 1);
    xonce_store *other = open_group("h");
    ck_assert_int_eq(xonce_store_caught_up(other), XONCE_OK);
    xonce_store_close(other);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM xonce_watermark"), 2);
    finish();
}
END_TEST

static void *beat_thread(void *arg)
{
    xonce_store *mine = open_group("g");
    int *ok = arg;
    *ok = 1;
    for (int i = 0; i < 10; i++)
        *ok &= xo_watermark_heartbeat(mine, i % 2 ? XO_MARK_NOW : XO_MARK_NONE) == XONCE_OK;
    xonce_store_close(mine);
    return NULL;
}

START_TEST(heartbeats_at_once)
{
    pthread_t t[THREADS];
    int ok[THREADS];
    start_with_tables(_i);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, beat_thread, &ok[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(ok[i], 1);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM xonce_watermark"), 1);
    finish();
}
END_TEST

/* ---- pruning ---- */

static void expect_pruned(int64_t keep, int max_rows, int64_t rows)
{
    int64_t counted = -1, before = -1, n = -1;
    ck_assert_msg(xo_prune_count(s, keep, &counted, &before) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_msg(xonce_store_prune(s, keep, max_rows, &n) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_eq(n, rows);
    ck_assert_int_eq(counted, max_rows && counted > max_rows ? counted : rows);
}

START_TEST(prune_floor)
{
    int64_t n = -1, before;
    start_with_tables(_i);
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    /* 24 h and the default handler.timeout of 15 min */
    ck_assert_int_eq(xonce_store_prune(s, DAY + HOUR / 4 - 1, 0, &n), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "24h"));
    ck_assert_int_eq(n, 0);
    ck_assert_int_eq(xo_prune_count(s, -5, &n, &before), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_store_prune(s, DAY + HOUR / 4, -1, &n), XONCE_E_INVALID);
    expect_pruned(DAY + HOUR / 4, 0, 0);
    finish();
}
END_TEST

START_TEST(nothing_goes_without_a_fresh_watermark)
{
    start_with_tables(_i);
    records("g", xo_now_ms() - 30 * DAY, 1, 20);
    expect_pruned(2 * DAY, 0, 0); /* none */
    ck_assert_int_eq(xo_watermark_heartbeat(s, XO_MARK_NONE), XONCE_OK);
    expect_pruned(2 * DAY, 0, 0); /* alive, never caught up */
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    sql("UPDATE xonce_watermark SET updated_ms = updated_ms - 3601000");
    expect_pruned(2 * DAY, 0, 0); /* caught up, but not lately alive */
    ck_assert_int_eq(xo_watermark_heartbeat(s, XO_MARK_NONE), XONCE_OK);
    sql("UPDATE xonce_watermark SET updated_ms = updated_ms + 1000000");
    expect_pruned(2 * DAY, 0, 0); /* from the future: a clock was set back */
    ck_assert_int_eq(xo_watermark_heartbeat(s, XO_MARK_NONE), XONCE_OK);
    expect_pruned(2 * DAY, 0, 20);
    finish();
}
END_TEST

START_TEST(age_counts_from_the_watermark)
{
    start_with_tables(_i);
    int64_t now = xo_now_ms();
    records("g", now - 12 * DAY, 0, 5);
    records("g", now - 8 * DAY, 0, 7);
    records("h", now - 12 * DAY, 0, 9);
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    /* ten days of an outage: alive again, but what was sent meanwhile is still on its way */
    sql("UPDATE xonce_watermark SET watermark_ms = watermark_ms - 864000000");
    expect_pruned(4 * DAY, 0, 0);
    expect_pruned(DAY + HOUR, 0, 5);
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    expect_pruned(4 * DAY, 0, 7);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 9);
    /* a watermark beyond now does not make the young old */
    records("g", now, 0, 3);
    sql("UPDATE xonce_watermark SET watermark_ms = 99999999999999 WHERE consumer_group = 'g'");
    expect_pruned(4 * DAY, 0, 0);
    finish();
}
END_TEST

START_TEST(batches_and_bounds)
{
    start_with_tables(_i);
    for (int i = 0; i < 8; i++)
        records("g", xo_now_ms() - 30 * DAY + i * HOUR, 1, 500);
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    expect_pruned(4 * DAY, 700, 700);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 3300);
    expect_pruned(4 * DAY, 1, 1);
    expect_pruned(4 * DAY, 0, 3299);
    ck_assert_int_eq(xonce_store_prune(s, 4 * DAY, 0, NULL), XONCE_OK);
    finish();
}
END_TEST

/* Pruning goes by id: what came in late, from a restored table or under a wrong clock holds nothing up for ever. */
START_TEST(in_whatever_order_they_came)
{
    start_with_tables(_i);
    int64_t now = xo_now_ms(), old = now - 30 * DAY;
    records("g", old, 0, 10);
    records("g", now, 0, 900);
    records("g", now + 400 * DAY, 0, 1500); /* a clock ran ahead */
    records("g", old + HOUR, 0, 10);
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    expect_pruned(4 * DAY, 10, 10);
    expect_pruned(4 * DAY, 3, 3); /* small steps see past them too */
    expect_pruned(4 * DAY, 0, 7);
    records("g", now + 1, 0, 1200); /* restored in the wrong order */
    records("g", old, 0, 5);
    expect_pruned(4 * DAY, 0, 0);
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    expect_pruned(4 * DAY, 0, 0);
    sql("UPDATE transaction_record SET ctime = ctime - 864000000 WHERE ctime < 9000000000000 AND message_id LIKE '%#g'"); /* ten days later */
    expect_pruned(4 * DAY, 0, 2105);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 1500);
    finish();
}
END_TEST

START_TEST(the_printed_statement_deletes_the_same)
{
    start_with_tables(_i);
    xo_buf text = {0};
    int64_t now = xo_now_ms();
    records("g", now - 30 * DAY, 1, 30);
    records("h", now - 30 * DAY, 1, 7);
    records("g", now, 0, 3);
    ck_assert_int_eq(xo_prune_sql(s, 4 * DAY, 20, &text), XONCE_OK);
    sql(text.p); /* nobody has been seen caught up */
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 40);
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    for (int left = 20; left >= 10; left -= 10) {
        sql(text.p);
        ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), left);
    }
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record WHERE consumer_group = 'h'"), 7);
    xo_buf_free(&text);
    finish();
}
END_TEST

START_TEST(one_pruner_a_database)
{
    int64_t n = -1;
    int got = 0;
    xo_conn *c = NULL;
    start_with_tables(_i);
    xonce_store *other = open_group("h");
    records("g", xo_now_ms() - 30 * DAY, 1, 20);
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    ck_assert_int_eq(xo_pool_get(other->pool, &c), XONCE_OK);
    ck_assert_int_eq(other->d->prune_lock(c, &got), XONCE_OK);
    ck_assert_int_eq(got, 1);
    ck_assert_int_eq(xonce_store_prune(s, 4 * DAY, 0, &n), XONCE_E_CONFLICT);
    ck_assert_int_eq(n, 0);
    other->d->prune_unlock(c);
    ck_assert_int_eq(xonce_store_prune(s, 4 * DAY, 0, &n), XONCE_OK);
    ck_assert_int_eq(n, 20);
    xo_pool_put(other->pool, c);
    xonce_store_close(other);
    finish();
}
END_TEST

/* A writer holds the oldest rows: the round ends, or goes around them, without an error and without waiting long. */
START_TEST(prune_gives_way)
{
    int64_t n = -1;
    xo_conn *c = NULL;
    start_with_tables(_i);
    xonce_store *other = open_group("h");
    records("g", xo_now_ms() - 30 * DAY, 1, 20);
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    xo_sql *hold = NULL;
    ck_assert_int_eq(
        xo_sql_make(&hold, s->d->kind, "UPDATE transaction_record SET queue_id = 5 WHERE consumer_group = 'g'"),
        XONCE_OK);
    ck_assert_int_eq(xo_pool_get(other->pool, &c), XONCE_OK);
    ck_assert_int_eq(other->d->begin(c), XONCE_OK);
    ck_assert_int_eq(other->d->query(c, hold, NULL, 0, NULL, NULL, NULL), XONCE_OK);
    int64_t begun = xo_mono_ms();
    ck_assert_msg(xonce_store_prune(s, 4 * DAY, 0, &n) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_lt(xo_mono_ms() - begun, 4000);
    ck_assert_int_eq(n, 0);
    other->d->rollback(c);
    xo_pool_put(other->pool, c);
    xonce_store_close(other);
    xo_sql_free(hold);
    ck_assert_int_eq(xonce_store_prune(s, 4 * DAY, 0, &n), XONCE_OK);
    ck_assert_int_eq(n, 20);
    finish();
}
END_TEST

static void *busy_thread(void *arg)
{
    xonce_store *mine = arg;
    xonce_tx *tx = NULL;
    int64_t until = xo_mono_ms() + 700;
    int done = 0;
    for (; xo_mono_ms() < until; done++)
        if (xonce_tx_begin(mine, &tx) != XONCE_OK ||
            xonce_exec_now(tx, "DELETE FROM xonce_rejected", NULL, 0, NULL) != XONCE_OK ||
            xonce_tx_commit(tx) != XONCE_OK)
            return NULL;
    return done > 0 ? arg : NULL;
}

/* With one connection for all, pruner and writers take turns and never wait for each other in a circle. */
START_TEST(one_connection_for_all)
{
    xonce_config *cfg = NULL;
    pthread_t t[2];
    void *ok;
    start_with_tables(_i);
    for (int i = 0; i < 8; i++)
        records("g", xo_now_ms() - 30 * DAY + i * HOUR, 1, 500);
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    xonce_store_close(s);
    ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(cfg, "store.connections", "1"), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(cfg, "store.pool-timeout", "20s"), XONCE_OK);
    ck_assert_int_eq(xonce_store_open(&s, uri, "g", cfg), XONCE_OK);
    xonce_config_free(cfg);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, busy_thread, s), 0);
    int64_t n = -1, all = 0, begun = xo_mono_ms();
    while (all < 4000 && xo_mono_ms() - begun < 60000) {
        ck_assert_msg(xonce_store_prune(s, 4 * DAY, 1000, &n) == XONCE_OK, "%s", xonce_error_last()->text);
        all += n;
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(t[i], &ok);
        ck_assert_ptr_nonnull(ok);
    }
    ck_assert_int_eq(all, 4000);
    finish();
}
END_TEST

/* ---- SQLite only ---- */

START_TEST(read_only_upgrade_is_refused)
{
    char ro[300];
    xonce_store *other = NULL;
    if (strncmp(uris[0], "sqlite:", 7) != 0)
        return;
    start_with_tables(0);
    sql("DROP TABLE xonce_watermark");
    snprintf(ro, sizeof ro, "%s?mode=ro", uris[0]);
    ck_assert_msg(xonce_store_open(&other, ro, "g", NULL) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_eq(xonce_store_upgrade(other), XONCE_E_AUTH);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "read-only"));
    findings k = {0};
    ck_assert_int_eq(xonce_store_check(other, on_finding, &k), XONCE_OK);
    ck_assert_ptr_nonnull(strstr(k.text, "3 the database was opened read-only"));
    xonce_store_close(other);
    finish();
}
END_TEST

static int add_uris(char *file, size_t size)
{
    const char *tmp = getenv("TMPDIR"), *more[] = {getenv("XONCE_TEST_POSTGRES_URI"), getenv("XONCE_TEST_MYSQL_URI")};
    snprintf(file, size, "sqlite:%s/xonce-schema-%ld.db", tmp && *tmp ? tmp : "/tmp", (long)getpid());
    if (xo_dialect_sqlite())
        uris[nuris++] = file;
    for (int i = 0; i < 2; i++)
        if (more[i] && *more[i])
            uris[nuris++] = more[i];
        else
            printf("# %s is not set: that engine is skipped\n", i ? "XONCE_TEST_MYSQL_URI" : "XONCE_TEST_POSTGRES_URI");
    return nuris;
}

int main(void)
{
    static char file[200];
    const TTest *const tests[] = {
        printed_schema_runs,
        init_twice,
        init_at_once,
        vendor_table_gets_our_columns,
        check_of_tables_and_watermark,
        an_older_database_gets_the_new_tables,
        check_of_a_short_keep,
        watermark_moves_forward_only,
        heartbeats_at_once,
        prune_floor,
        nothing_goes_without_a_fresh_watermark,
        age_counts_from_the_watermark,
        batches_and_bounds,
        in_whatever_order_they_came,
        the_printed_statement_deletes_the_same,
        one_pruner_a_database,
        prune_gives_way,
        one_connection_for_all,
    };
    static const char *const leftovers[] = {"", "-wal", "-shm", "-xonce-prune"};
    int engines = add_uris(file, sizeof file);
    Suite *suite = suite_create("schema");
    TCase *tc = tcase_create("all");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, schema_is_printed);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_loop_test(tc, tests[i], 0, engines);
    if (engines)
        tcase_add_test(tc, read_only_upgrade_is_refused);
    suite_add_tcase(suite, tc);
    SRunner *sr = srunner_create(suite);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    for (size_t i = 0; i < sizeof leftovers / sizeof *leftovers; i++) {
        char path[260];
        snprintf(path, sizeof path, "%s%s", file + 7, leftovers[i]);
        unlink(path);
    }
    return failed != 0;
}
