/* The SQLite dialect by itself: values and rows, classes of errors, full disks, pruning, findings of check. */
#include "lite.h"
#include <fcntl.h>

/* ---- values and rows ---- */

static const struct {
    const char *digits, *type;
} decimals[] = {
    {"0", "integer"},
    {"19", "integer"},
    {"-5", "integer"},
    {"9223372036854775807", "integer"},
    {"-9223372036854775808", "integer"},
    {"9223372036854775808", "text"},
    {"-9223372036854775809", "text"},
    {"12345678901234567890", "text"},
    {"007", "text"},
    {"+7", "text"},
    {"-0", "text"},
    {"-", "text"},
    {"", "text"},
    {"19.99", "real"},
    {"-19.99", "real"},
    {"0.1", "real"},
    {"0.0001", "real"},
    {"0.00001", "text"},
    {"19.90", "text"},
    {"1.0", "text"},
    {"1.", "text"},
    {".5", "text"},
    {"-.5", "text"},
    {"00.5", "text"},
    {"-00.5", "text"},
    {"-0.5", "real"},
    {"123456789012.345", "real"},
    {"1234567890123.456", "text"},
    {"0.123456789012345", "real"},
    {"0.1234567890123456", "text"},
    {"1e5", "text"},
    {"1.5e3", "text"},
    {"1..5", "text"},
    {"abc", "text"},
    {"0.0", "text"},
    {"-0.0", "text"},
    {"99999999999999.9", "real"},
    {"0.00000000000000000000000000001", "text"},
    {"179769313486231570000000000000.5", "text"},
};

static int take_text(const xonce_row *r, void *arg)
{
    char *out = arg;
    snprintf(out, 200, "%s|%s", r->text[0], r->text[1]);
    return 0;
}

START_TEST(digits_are_never_changed)
{
    xo_conn *c = open_db(100);
    xo_sql *s = NULL;
    ck_assert_int_eq(xo_sql_make(&s, XO_DIALECT_SQLITE, "SELECT typeof($1), CAST($1 AS TEXT)"), XONCE_OK);
    for (size_t i = 0; i < sizeof decimals / sizeof *decimals; i++) {
        char got[200] = "", want[200];
        xonce_value v = {.kind = XONCE_DECIMAL, .len = strlen(decimals[i].digits), .v = {.p = decimals[i].digits}};
        ck_assert_int_eq(d->query(c, s, &v, 1, take_text, got, NULL), XONCE_OK);
        snprintf(want, sizeof want, "%s|%s", decimals[i].type, decimals[i].digits);
        ck_assert_str_eq(got, want);
    }
    xo_sql_free(s);
    d->close(c);
}
END_TEST

/* A fraction must become the very double that strtod() makes of it. */
START_TEST(fractions_are_rounded_as_by_strtod)
{
    xo_conn *c = open_db(100);
    xo_sql *s = NULL;
    unsigned x = 7;
    ck_assert_int_eq(xo_sql_make(&s, XO_DIALECT_SQLITE, "SELECT $1 = $2, typeof($1)"), XONCE_OK);
    for (int i = 0; i < 3000; i++) {
        char digits[40], got[200] = "";
        x = x * 1103515245u + 12345u;
        unsigned whole = x >> 12;
        x = x * 1103515245u + 12345u;
        snprintf(digits, sizeof digits, "%u.%07u1", whole % 1000000u, (x >> 8) % 10000000u);
        xonce_value v[2] = {{.kind = XONCE_DECIMAL, .len = strlen(digits), .v = {.p = digits}},
                            {.kind = XONCE_REAL, .v = {.d = strtod(digits, NULL)}}};
        ck_assert_int_eq(d->query(c, s, v, 2, take_text, got, NULL), XONCE_OK);
        ck_assert_msg(strcmp(got, "1|real") == 0, "%s: %s", digits, got);
    }
    xo_sql_free(s);
    d->close(c);
}
END_TEST

static int take_all(const xonce_row *r, void *arg)
{
    int *rows = arg;
    ck_assert_int_eq(r->ncols, 9);
    ck_assert_ptr_null(r->text[0]);
    ck_assert_str_eq(r->text[1], "-7");
    ck_assert_str_eq(r->text[2], "2.5");
    ck_assert_str_eq(r->text[3], "1");
    ck_assert_uint_eq(r->len[4], 5);
    ck_assert_mem_eq(r->text[4], "a\0b\xc3\xa9", 6);
    ck_assert_uint_eq(r->len[5], 3);
    ck_assert_mem_eq(r->text[5], "\0\xff\0\0", 4);
    ck_assert_uint_eq(r->len[6], 0);
    ck_assert_str_eq(r->text[6], "");
    ck_assert_str_eq(r->text[7], "");
    ck_assert_str_eq(r->text[8], "1700000000123");
    return ++*rows == 2;
}

START_TEST(values_and_rows)
{
    xo_conn *c = open_db(100);
    xo_sql *s = NULL;
    int rows = 0;
    int64_t changed = 5;
    xonce_value v[9] = {xonce_null(),
                        xonce_int(-7),
                        xonce_real(2.5),
                        xonce_bool(1),
                        xonce_text_n("a\0b\xc3\xa9", 5),
                        xonce_blob("\0\xff\0", 3),
                        xonce_blob("", 0),
                        xonce_text_n("", 0),
                        xonce_time(1700000000123)};
    ck_assert_int_eq(
        xo_sql_make(&s, XO_DIALECT_SQLITE,
                    "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 FROM (SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3)"),
        XONCE_OK);
    ck_assert_int_eq(d->query(c, s, v, 9, take_all, &rows, &changed), XONCE_OK);
    ck_assert_int_eq(rows, 2);
    ck_assert_int_eq(changed, 0);
    ck_assert_int_eq(d->query(c, s, v, 8, take_all, &rows, NULL), XONCE_E_INVALID);
    xo_sql_free(s);
    d->close(c);
}
END_TEST

START_TEST(changed_rows)
{
    raw(OUR_TABLE);
    xo_conn *c = open_db(100);
    static const struct {
        const char *sql;
        int64_t changed;
    } steps[] = {{"INSERT INTO t VALUES (1), (2), (3)", 3},
                 {"SELECT a FROM t", 0},
                 {"CREATE TABLE v (a)", 0},
                 {"UPDATE t SET a = a + 1 WHERE a > 1", 2},
                 {"DELETE FROM t WHERE a > 99", 0},
                 {"SELECT 1", 0}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        xo_sql *s = NULL;
        int64_t changed = -1;
        ck_assert_int_eq(xo_sql_make(&s, XO_DIALECT_SQLITE, steps[i].sql), XONCE_OK);
        ck_assert_int_eq(d->query(c, s, NULL, 0, NULL, NULL, &changed), XONCE_OK);
        ck_assert_msg(changed == steps[i].changed, "%s: %lld", steps[i].sql, (long long)changed);
        xo_sql_free(s);
    }
    ck_assert_int_eq(number("SELECT sum(a) FROM t"), 8); /* outside a transaction each committed by itself */
    d->close(c);
}
END_TEST

/* More statements than the cache has slots, each run twice, and one that shares a slot with another while both live. */
START_TEST(many_statements)
{
    raw(OUR_TABLE);
    xo_conn *c = open_db(100);
    xo_sql *s[300];
    begin(c);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 300; i++) {
            char sql[60];
            snprintf(sql, sizeof sql, "INSERT INTO t VALUES ($1 + %d)", i);
            if (round == 0)
                ck_assert_int_eq(xo_sql_make(&s[i], XO_DIALECT_SQLITE, sql), XONCE_OK);
            xonce_value v = xonce_int(1000);
            ck_assert_int_eq(d->query(c, s[i], &v, 1, NULL, NULL, NULL), XONCE_OK);
        }
    ck_assert_int_eq(commit(c), XONCE_OK);
    for (int i = 0; i < 300; i++)
        xo_sql_free(s[i]);
    ck_assert_int_eq(number("SELECT sum(a) FROM t"), 2 * (300 * 1000 + 299 * 150));
    d->close(c);
}
END_TEST

START_TEST(statements_are_tried_without_being_run)
{
    raw(OUR_TABLE);
    xo_conn *c = open_db(100);
    static const struct {
        const char *sql;
        xonce_status st;
        const char *word;
    } tried[] = {{"INSERT INTO t VALUES ($1)", XONCE_OK, ""},
                 {"DELETE FROM t", XONCE_OK, ""},
                 {"INSERT INTO nowhere VALUES (1)", XONCE_E_SQL, "no such table"},
                 {"SELECT b FROM t", XONCE_E_SQL, "no such column"},
                 {"INSRT INTO t", XONCE_E_SQL, "syntax"},
                 {"INSERT INTO t (b) VALUES (1)", XONCE_E_SQL, "no column"},
                 {"SELECT digest2 FROM transaction_record", XONCE_E_SQL, "digest2"}};
    raw("INSERT INTO t VALUES (1)");
    for (size_t i = 0; i < sizeof tried / sizeof *tried; i++) {
        xo_sql *s = NULL;
        ck_assert_int_eq(xo_sql_make(&s, XO_DIALECT_SQLITE, tried[i].sql), XONCE_OK);
        xonce_status st = d->try_sql(c, s);
        ck_assert_msg(st == tried[i].st, "%s: %d", tried[i].sql, (int)st);
        if (st != XONCE_OK)
            expect_class(st, tried[i].st, XO_SQL_SETUP, tried[i].word);
        xo_sql_free(s);
    }
    ck_assert_int_eq(number("SELECT count(*) FROM t"), 1);
    d->close(c);
}
END_TEST

/* ---- errors ---- */

START_TEST(classes_of_errors)
{
    static const struct {
        const char *sql;
        xo_sql_class cls;
        const char *word;
    } bad[] = {
        {"INSERT INTO k VALUES (1, 1, 1)", XO_SQL_DATA, "UNIQUE"},
        {"INSERT INTO k VALUES (2, NULL, 1)", XO_SQL_DATA, "NOT NULL"},
        {"INSERT INTO k VALUES (2, 200, 1)", XO_SQL_DATA, "CHECK"},
        {"INSERT INTO k VALUES (2, 2, 77)", XO_SQL_PARENT, "FOREIGN KEY"},
        {"INSERT INTO k VALUES ('x', 2, 1)", XO_SQL_DATA, "mismatch"},
        {"SELECT json_extract('{', '$.a')", XO_SQL_DATA, "JSON"},
        {"SELECT abs(-9223372036854775808)", XO_SQL_DATA, "overflow"},
        {"SELECT zeroblob(2000000000)", XO_SQL_DATA, "too big"},
        {"INSERT INTO nowhere VALUES (1)", XO_SQL_SETUP, "no such table"},
        {"SELECT no_such()", XO_SQL_SETUP, "no such function"},
        {"RELEASE mine", XO_SQL_SETUP, "no such savepoint"},
    };
    raw(OUR_TABLE "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE k (id INTEGER PRIMARY KEY, a NOT NULL CHECK "
                  "(a < 100), p REFERENCES p); INSERT INTO p VALUES (1); INSERT INTO k VALUES (1, 1, 1);");
    xo_conn *c = open_db(100);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        begin(c);
        expect_class(run(c, bad[i].sql), XONCE_E_SQL, bad[i].cls, bad[i].word);
        ck_assert_int_eq(c->escaped, 0);
        d->rollback(c);
    }
    d->close(c);
}
END_TEST

START_TEST(commit_refused_by_a_deferred_key)
{
    raw(OUR_TABLE
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE k (p REFERENCES p DEFERRABLE INITIALLY DEFERRED);");
    xo_conn *c = open_db(100);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "m#g"), 1);
    ck_assert_int_eq(run(c, "INSERT INTO k VALUES (5)"), XONCE_OK);
    expect_class(commit(c), XONCE_E_SQL, XO_SQL_PARENT, "FOREIGN KEY");
    ck_assert(!c->escaped && !c->lost);
    d->rollback(c);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), 0);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "m#g"), 1);
    ck_assert_int_eq(commit(c), XONCE_OK);
    d->close(c);
}
END_TEST

START_TEST(disk_full)
{
    raw(OUR_TABLE "CREATE TABLE b (a);");
    xo_conn *c = open_db(100);
    char sql[60];
    int64_t pages = number("PRAGMA page_count");
    snprintf(sql, sizeof sql, "PRAGMA max_page_count=%lld", (long long)pages + 10);
    ck_assert_int_eq(run(c, sql), XONCE_OK);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "a#g"), 1);
    ck_assert_int_eq(run(c, "INSERT INTO t VALUES (1)"), XONCE_OK);
    ck_assert_int_eq(d->savepoint(c, XO_SAVE), XONCE_OK);
    expect_class(run(c, "INSERT INTO b VALUES (zeroblob(1000000))"), XONCE_E_CONNECT, XO_SQL_LOST, "full");
    ck_assert_int_eq(c->escaped, 0); /* no handler did this */
    ck_assert_int_eq(c->lost, 1);    /* the database's fault, and no message's */
    xonce_status st = d->savepoint(c, XO_ROLLBACK_TO); /* works, or the whole transaction is known to be gone */
    if (st == XONCE_OK) {
        ck_assert_int_eq(commit(c), XONCE_OK);
        ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), 1);
        raw("DELETE FROM transaction_record");
    } else {
        ck_assert_int_eq(st, XONCE_E_CONNECT);
        d->rollback(c);
        ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), 0);
    }
    ck_assert_int_eq(number("SELECT count(*) FROM b"), 0);
    ck_assert_int_eq(run(c, "PRAGMA max_page_count=100000"), XONCE_OK);
    begin(c); /* room again: goes on */
    ck_assert_int_eq(claim(c, "g", "a#g"), 1);
    ck_assert_int_eq(run(c, "INSERT INTO b VALUES (zeroblob(1000000))"), XONCE_OK);
    ck_assert_int_eq(commit(c), XONCE_OK);
    ck_assert_int_eq(number("SELECT count(*) FROM b"), 1);
    d->close(c);
}
END_TEST

/* ---- pruning ---- */

START_TEST(one_pruner)
{
    raw(OUR_TABLE);
    xo_conn *a = open_db(100), *b = open_db(100);
    int got = -1;
    ck_assert_int_eq(d->prune_lock(a, &got), XONCE_OK);
    ck_assert_int_eq(got, 1);
    ck_assert_int_eq(d->prune_lock(b, &got), XONCE_OK);
    ck_assert_int_eq(got, 0);
    d->prune_unlock(a);
    ck_assert_int_eq(d->prune_lock(b, &got), XONCE_OK);
    ck_assert_int_eq(got, 1);
    d->close(b); /* its end lets go too */
    ck_assert_int_eq(d->prune_lock(a, &got), XONCE_OK);
    ck_assert_int_eq(got, 1);
    d->prune_unlock(a);
    d->close(a);
}
END_TEST

/* A look and the deletion of what it found. */
static xonce_status prune_some(xo_conn *c, const char *group, int64_t before, int max, int64_t *deleted)
{
    int64_t id[1000];
    xo_prune_look l = {.most = 10000, .max = max, .id = id};
    *deleted = 0;
    xonce_status st = d->prune_look(c, group, before, &l);
    return st == XONCE_OK ? d->prune_delete(c, group, before, id, l.n, deleted) : st;
}

START_TEST(prune_takes_the_oldest_of_its_group)
{
    raw("CREATE TABLE xonce_settled (consumer_group TEXT, topic_name TEXT, broker_name TEXT, queue_id INTEGER, tags TEXT,"
        " first_offset INTEGER, next_offset INTEGER, last_store_time INTEGER, last_log_offset INTEGER)");
    raw(OUR_TABLE "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)"
                  " INSERT INTO transaction_record (consumer_group, message_id, topic_name, ctime, queue_id, "
                  "\"offset\", broker_name)"
                  " SELECT CASE WHEN i % 2 THEN 'g' ELSE 'h' END, i || '#x', 't', i, 0, 0, '' FROM n;");
    xo_conn *c = open_db(100);
    int64_t n = -1;
    ck_assert_int_eq(prune_some(c, "g", 51, 10, &n), XONCE_OK);
    ck_assert_int_eq(n, 10);
    ck_assert_int_eq(number("SELECT min(ctime) FROM transaction_record WHERE consumer_group = 'g'"), 21);
    ck_assert_int_eq(prune_some(c, "g", 51, 1000, &n), XONCE_OK);
    ck_assert_int_eq(n, 15);
    ck_assert_int_eq(prune_some(c, "g", 51, 1000, &n), XONCE_OK);
    ck_assert_int_eq(n, 0);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), 75);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record WHERE consumer_group = 'h'"), 50);
    sqlite3_stmt *ask = NULL;
    ck_assert_int_eq(sqlite3_prepare_v2(d->native(c), "PRAGMA synchronous", -1, &ask, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(ask), SQLITE_ROW);
    ck_assert_int_eq(sqlite3_column_int(ask, 0), 2); /* FULL again: a message's commit is to outlive a crash */
    sqlite3_finalize(ask);
    xo_conn *w = open_db(5000);
    begin(w); /* a writer at work: the pruner gives up soon, whatever lock_ms says, and keeps its own */
    int64_t start = xo_mono_ms();
    xo_conn *patient = open_db(20000);
    expect_class(prune_some(patient, "g", 1000, 10, &n), XONCE_E_CONFLICT, XO_SQL_AGAIN, "locked");
    ck_assert_int_lt(xo_mono_ms() - start, 15000);
    ck_assert_int_eq(n, 0);
    d->rollback(w);
    d->close(patient);
    d->close(w);
    d->close(c);
}
END_TEST

/* ---- check ---- */

typedef struct {
    char text[4000];
    int worst;
} findings;

static void on_finding(const xonce_finding *f, void *arg)
{
    findings *k = arg;
    size_t n = strlen(k->text);
    ck_assert_uint_eq(f->size, sizeof *f);
    ck_assert_ptr_nonnull(f->sql);
    snprintf(k->text + n, sizeof k->text - n, "%d %s [%s]\n", f->severity, f->what, f->sql);
    if (f->severity > k->worst && !strstr(f->what, "file system in memory"))
        k->worst = f->severity;
}

static void look(findings *k, const char *sql)
{
    xo_open_options o = {.lock_ms = 100};
    raw(sql);
    memset(k, 0, sizeof *k);
    xo_conn *c = open_db(100);
    ck_assert_msg(d->check(c, &o, on_finding, k) == XONCE_OK, "%s", xonce_error_last()->text);
    d->close(c);
}

static void has(const findings *k, const char *text)
{
    ck_assert_msg(strstr(k->text, text) != NULL, "no \"%s\" in:\n%s", text, k->text);
}

START_TEST(check_findings)
{
    findings k;
    look(&k, "SELECT 1");
    has(&k, "3 the table transaction_record is missing");
    look(&k, OUR_TABLE);
    ck_assert_msg(k.worst == 0 && !strstr(k.text, "transaction_record"), "%s", k.text);
    look(&k, "CREATE INDEX old ON transaction_record (ctime)");
    ck_assert_msg(k.worst == 0, "%s", k.text);
    has(&k, "0 the index old of transaction_record begins with ctime [DROP INDEX \"old\"]");
    look(&k, "CREATE TRIGGER tr BEFORE INSERT ON transaction_record BEGIN SELECT 1; END; CREATE UNIQUE INDEX un ON "
             "transaction_record (topic_name)");
    has(&k, "2 transaction_record has a trigger, tr [DROP TRIGGER \"tr\"]");
    has(&k, "2 transaction_record has another unique key, un [DROP INDEX \"un\"]");
    look(&k, "DROP TABLE transaction_record; CREATE VIEW transaction_record AS SELECT 1");
    has(&k, "3 transaction_record is a view");
    look(&k, "DROP VIEW transaction_record; CREATE TABLE transaction_record (consumer_group, message_id COLLATE NOCASE "
             "UNIQUE, topic_name, ctime, queue_id, \"offset\")");
    has(&k, "3 transaction_record has no column broker_name");
    has(&k, "1 transaction_record has no column digest [ALTER TABLE transaction_record ADD COLUMN digest CHAR(32)]");
    has(&k, "2 the unique key of message_id compares by collation NOCASE");
    look(&k, "DROP TABLE transaction_record; CREATE TABLE transaction_record (consumer_group, message_id, topic_name, "
             "ctime, queue_id, \"offset\", broker_name, UNIQUE (consumer_group, message_id))");
    has(&k, "3 transaction_record has no unique key on message_id alone [CREATE UNIQUE INDEX");
    look(&k, "CREATE UNIQUE INDEX message_id_unique_key ON transaction_record (message_id) WHERE ctime > 0");
    has(&k, "3 transaction_record has no unique key on message_id alone");
}
END_TEST

START_TEST(check_of_a_damaged_file)
{
    findings k;
    xo_open_options o = {.lock_ms = 100};
    char path[400], junk[4096];
    raw(OUR_TABLE "INSERT INTO t SELECT zeroblob(20000);");
    path_of(path, sizeof path, "a.db");
    int fd = open(path, O_WRONLY);
    ck_assert_int_ge(fd, 0);
    memset(junk, 0x5a, sizeof junk);
    ck_assert_int_eq(pwrite(fd, junk, sizeof junk, 4096 * 3), (ssize_t)sizeof junk);
    close(fd);
    memset(&k, 0, sizeof k);
    xo_conn *c = open_db(100);
    xonce_status st = d->check(c, &o, on_finding, &k);
    ck_assert_msg(st != XONCE_OK || k.worst == 3, "%s", k.text);
    d->close(c);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        digits_are_never_changed,
        fractions_are_rounded_as_by_strtod,
        values_and_rows,
        changed_rows,
        many_statements,
        statements_are_tried_without_being_run,
        classes_of_errors,
        commit_refused_by_a_deferred_key,
        disk_full,
        one_pruner,
        prune_takes_the_oldest_of_its_group,
        check_findings,
        check_of_a_damaged_file,
    };
    return run_suite("dialect sqlite: values", tests, sizeof tests / sizeof *tests);
}
