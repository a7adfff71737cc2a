/* The MySQL dialect by itself: values, bulk arrays and the row that fails in them, rows out, error classes, pruning, check. */
#include "my.h"

/* ---- values ---- */

static char got[8][64];
static int keep_row(const xonce_row *r, void *arg)
{
    for (int i = 0; i < r->ncols && i < 8; i++)
        snprintf(got[i], sizeof got[i], "%s", r->text[i] ? r->text[i] : "NULL");
    ++*(int *)arg;
    return 0;
}

static int ask(xo_conn *c, const char *sql, const xonce_value *v, size_t n)
{
    int rows = 0;
    xo_sql *s = make_sql(sql);
    memset(got, 0, sizeof got);
    ck_assert_msg(d->query(c, s, v, n, keep_row, &rows, NULL) == XONCE_OK, "%s: %s", sql, xonce_error_last()->text);
    xo_sql_free(s);
    return rows;
}

static xonce_value decimal(const char *s)
{
    xonce_value v = {.kind = XONCE_DECIMAL, .len = strlen(s), .v.p = s};
    return v;
}

START_TEST(values_arrive_exactly)
{
    xo_conn *c = open_db(1000);
    raw("CREATE TABLE v (i BIGINT, r DOUBLE, o BOOLEAN, x TEXT, n DECIMAL(40,10), s VARCHAR(100), w DATETIME(3), z TIMESTAMP(3) NULL, b BLOB)");
    xonce_value v[] = {xonce_int(INT64_MIN),           xonce_real(0.1),          xonce_bool(7), xonce_text_n("a'\\\"\xf0\x9f\x98\x80", 8), decimal("12345678901234567890.0987654321"),
                       xonce_time(1700000000123), xonce_blob("a\0b'\\", 5), xonce_null()};
    begin(c);
    ck_assert_msg(run_values(c, "INSERT INTO v VALUES ($1, $2, $3, $4, $5, $5, $6, $6, $7)", v, 7) == XONCE_OK, "%s", xonce_error_last()->text);
    committed(c);
    expect_text("SELECT CONCAT_WS('|', i, r, o, x, n, s) FROM v", "-9223372036854775808|0.1|1|a'\\\"\xf0\x9f\x98\x80|12345678901234567890.0987654321|12345678901234567890.0987654321");
    raw("SET time_zone = '+00:00'");
    expect_text("SELECT CONCAT_WS('|', w, z, HEX(b)) FROM v", "2023-11-14 22:13:20.123|2023-11-14 22:13:20.123|610062275C");
    begin(c);
    ck_assert_int_eq(ask(c, "SELECT x, b, i, z, $1, $2 + 1 FROM v WHERE i = $3", (xonce_value[]){xonce_null(), decimal("99999999999999999999.5"), xonce_int(INT64_MIN)}, 3), 1);
    ck_assert_str_eq(got[2], "-9223372036854775808");
    ck_assert_str_eq(got[3], "2023-11-14 22:13:20.123");
    ck_assert_str_eq(got[4], "NULL");
    ck_assert_msg(strncmp(got[5], "100000000000000000000.5", 23) == 0 && strspn(got[5] + 23, "0") == strlen(got[5] + 23), "%s", got[5]);
    d->rollback(c);
    d->close(c);
}
END_TEST

/* What DECIMAL cannot hold digit for digit goes as text. */
START_TEST(odd_numbers_keep_their_digits)
{
    static const char *const numbers[] = {"0", "-0", "0.10", "1e400", "1E-7", "-12.50", "123456789012345678901234567890123456789012345678901234567890123456", "0.0000000000000000000000000000001", "00.5", "-0.0", "1234567890123456789012345678901234567890123456789012345678901234",
                                          "1234567890123456789012345678901234567890.5", "12345.000000000000000000000000000001"};
    xo_conn *c = open_db(1000);
    raw("CREATE TABLE n (s VARCHAR(200))");
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        begin(c);
        xonce_value v = decimal(numbers[i]);
        ck_assert_int_eq(run_values(c, "INSERT INTO n VALUES ($1)", &v, 1), XONCE_OK);
        committed(c);
        expect_text("SELECT s FROM n", numbers[i]);
        raw("DELETE FROM n");
    }
    d->close(c);
}
END_TEST

START_TEST(times_at_the_edges)
{
    xo_conn *c = open_db(1000);
    raw("CREATE TABLE w (w DATETIME(3))");
    xonce_value v = xonce_time(-1);
    begin(c);
    ck_assert_int_eq(run_values(c, "INSERT INTO w VALUES ($1)", &v, 1), XONCE_OK);
    committed(c);
    expect_text("SELECT w FROM w", "1969-12-31 23:59:59.999");
    v = xonce_time(INT64_MAX);
    begin(c);
    expect_class(run_values(c, "INSERT INTO w VALUES ($1)", &v, 1), XONCE_E_INVALID, XO_SQL_DATA, "DATETIME");
    d->rollback(c);
    d->close(c);
}
END_TEST

typedef struct {
    size_t len;
    int ok, rows;
} big;
static int keep_big(const xonce_row *r, void *arg)
{
    big *b = arg;
    b->rows++;
    b->ok = r->len[0] == b->len && r->text[0][b->len] == 0;
    for (size_t i = 0; i < b->len && b->ok; i++)
        b->ok = r->text[0][i] == (char)(i % 251);
    return 1; /* early: the rest must not be in the way */
}

START_TEST(large_values_and_early_ends)
{
    xo_conn *c = open_db(1000);
    big b = {.len = 3 * 1024 * 1024 + 7};
    char *p = xo_calloc(1, b.len);
    for (size_t i = 0; i < b.len; i++)
        p[i] = (char)(i % 251);
    raw("CREATE TABLE big (id INT, b LONGBLOB)");
    begin(c);
    for (int i = 0; i < 3; i++) {
        xonce_value v[] = {xonce_int(i), xonce_blob(p, b.len)};
        ck_assert_msg(run_values(c, "INSERT INTO big VALUES ($1, $2)", v, 2) == XONCE_OK, "%s", xonce_error_last()->text);
    }
    xo_sql *s = make_sql("SELECT b FROM big");
    int64_t changed = -1;
    ck_assert_int_eq(d->query(c, s, NULL, 0, keep_big, &b, &changed), XONCE_OK);
    xo_sql_free(s);
    ck_assert_int_eq(b.rows, 1);
    ck_assert_int_eq(b.ok, 1);
    s = make_sql("UPDATE big SET id = id");
    ck_assert_int_eq(d->query(c, s, NULL, 0, NULL, NULL, &changed), XONCE_OK);
    ck_assert_int_eq(changed, 3); /* matched, as the other engines count */
    xo_sql_free(s);
    committed(c);
    free(p);
    d->close(c);
}
END_TEST

/* Outside a transaction each statement commits by itself, or leaves nothing open. */
START_TEST(queries_without_a_transaction)
{
    xo_conn *c = open_db(1000);
    ck_assert_int_eq(ask(c, "INSERT INTO t (a) VALUES (1)", NULL, 0), 0);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM t"), 1);
    xo_sql *s = make_sql("INSERT INTO t (a) VALUES (1)");
    expect_class(d->query(c, s, NULL, 0, NULL, NULL, NULL), XONCE_E_SQL, XO_SQL_DATA, "Duplicate");
    xo_sql_free(s);
    ck_assert_int_eq(ask(c, "SELECT a FROM t", NULL, 0), 1);
    ck_assert_int_eq(((xo_my *)c)->my->server_status & SERVER_STATUS_IN_TRANS, 0);
    raw("DROP TABLE t"); /* nobody holds it */
    d->close(c);
}
END_TEST

/* More statements than the cache of prepared ones holds. */
START_TEST(the_statement_cache_is_bounded)
{
    xo_conn *c = open_db(1000);
    char sql[64], want[16];
    ask(c, "SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'", NULL, 0);
    long long before = strtoll(got[1], NULL, 10);
    xo_sql *kept = make_sql("SELECT 'kept'");
    for (int i = 0; i < 300; i++) {
        int rows = 0;
        snprintf(sql, sizeof sql, "SELECT %d", i);
        snprintf(want, sizeof want, "%d", i);
        ck_assert_int_eq(ask(c, sql, NULL, 0), 1);
        ck_assert_str_eq(got[0], want);
        ck_assert_int_eq(d->query(c, kept, NULL, 0, keep_row, &rows, NULL), XONCE_OK);
        ck_assert_str_eq(got[0], "kept");
    }
    xo_sql_free(kept);
    ask(c, "SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'", NULL, 0);
    long long after = strtoll(got[1], NULL, 10);
    ck_assert_int_le(after - before, XO_MY_CACHE);
    d->close(c);
}
END_TEST

/* ---- bulk arrays ---- */

enum { ROWS = 1500 };

typedef struct {
    xo_sql *sql;
    xonce_value v[ROWS][3];
    xo_stmt s[ROWS];
    char text[ROWS][32];
    size_t n;
} batch;

static batch *make_batch(size_t n)
{
    batch *b = xo_calloc(1, sizeof *b);
    ck_assert_ptr_nonnull(b);
    b->sql = make_sql("INSERT INTO t (a, b, c) VALUES ($1, $2, $3)");
    ck_assert_int_eq(b->sql->is_insert, 1);
    b->n = n;
    for (size_t i = 0; i < n; i++) {
        snprintf(b->text[i], sizeof b->text[i], "row %zu", i);
        b->v[i][0] = xonce_int((int64_t)i);
        b->v[i][1] = i % 7 == 3 ? xonce_null() : xonce_text_n(b->text[i], strlen(b->text[i]));
        b->v[i][2] = i % 3 == 0 ? xonce_int((int64_t)i) : i % 3 == 1 ? decimal("19.99") : xonce_null();
        b->s[i] = (xo_stmt){.sql = b->sql, .v = b->v[i], .item = i};
    }
    return b;
}

static void free_batch(batch *b)
{
    xo_sql_free(b->sql);
    free(b);
}

START_TEST(runs_of_one_insert)
{
    use_dialect(dialects[_i]);
    xo_conn *c = open_db(1000);
    batch *b = make_batch(ROWS);
    b->v[700][2] = xonce_text_n("7", 1); /* other kinds in between split the run */
    b->v[701][2] = xonce_real(2.5);
    b->v[702][0] = xonce_text_n("702", 3);
    size_t failed = 0;
    begin(c);
    ask(c, "SHOW SESSION STATUS LIKE 'Questions'", NULL, 0);
    long long before = strtoll(got[1], NULL, 10);
    ck_assert_msg(d->run(c, b->s, b->n, &failed) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_uint_eq(failed, b->n);
    ask(c, "SHOW SESSION STATUS LIKE 'Questions'", NULL, 0);
    long long sent = strtoll(got[1], NULL, 10) - before;
    if (((xo_my *)c)->bulk)
        ck_assert_int_lt(sent, 50);
    else
        ck_assert_int_ge(sent, ROWS);
    committed(c);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM t"), ROWS);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM t WHERE b IS NULL AND a % 7 = 3"), (ROWS + 3) / 7);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM t WHERE b = CONCAT('row ', a)"), ROWS - (ROWS + 3) / 7);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM t WHERE c = 19.99"), ROWS / 3 - 1);
    expect_text("SELECT GROUP_CONCAT(c ORDER BY a) FROM t WHERE a IN (6, 699, 700, 701)", "6.0000,699.0000,7.0000,2.5000");
    free_batch(b);
    d->close(c);
}
END_TEST

static void fails_at(size_t n, size_t bad, int how)
{
    xo_conn *c = open_db(1000);
    batch *b = make_batch(n);
    size_t failed = 99999;
    unsigned want = 1062;
    if (how == 0) {
        b->v[bad][0] = b->v[bad ? bad - 1 : 1][0];
        if (!bad)
            bad = 1;
    } else if (how == 1) {
        b->v[bad][0] = xonce_null();
        want = 1048;
    } else {
        b->v[bad][1] = xonce_text_n("much too long for a column of forty characters", 46);
        want = 1406;
    }
    begin(c);
    ck_assert_int_eq(claim(c, "g", "m#g"), 1);
    ck_assert_int_eq(d->run(c, b->s, b->n, &failed), XONCE_E_SQL);
    ck_assert_msg(failed == bad, "n %zu bad %zu how %d: %zu", n, bad, how, failed);
    ck_assert_int_eq(xo_error_class(), XO_SQL_DATA);
    ck_assert_uint_eq((unsigned)xonce_error_last()->native, want);
    d->rollback(c);
    begin(c);
    ck_assert_int_eq(d->commit(c, b->s, b->n, &failed), XONCE_E_SQL);
    ck_assert_uint_eq(failed, bad);
    d->rollback(c);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM t"), 0);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 0);
    free_batch(b);
    d->close(c);
}

START_TEST(a_bad_row_is_found)
{
    use_dialect(dialects[_i]);
    static const size_t at[] = {0, 1, 2, 31, 32, 63, 64, 99};
    for (int how = 0; how < 3; how++)
        for (size_t i = 0; i < sizeof at / sizeof *at; i++)
            fails_at(100, at[i], how);
    fails_at(2, 1, 1);
    fails_at(1400, 1200, 0);
}
END_TEST

/* What failed must not leave anything that a later use of the same statement would send. */
START_TEST(one_statement_alone_and_in_arrays)
{
    use_dialect(dialects[_i]);
    xo_conn *c = open_db(1000);
    batch *b = make_batch(60);
    size_t failed = 0;
    begin(c);
    ck_assert_int_eq(d->run(c, b->s, 1, &failed), XONCE_OK);
    ck_assert_int_eq(d->run(c, b->s + 1, 20, &failed), XONCE_OK);
    ck_assert_int_eq(d->run(c, b->s + 21, 1, &failed), XONCE_OK);
    ck_assert_int_eq(d->savepoint(c, XO_SAVE), XONCE_OK);
    ck_assert_int_eq(d->run(c, b->s + 15, 20, &failed), XONCE_E_SQL);
    ck_assert_uint_eq(failed, 0);
    ck_assert_int_eq(d->savepoint(c, XO_ROLLBACK_TO), XONCE_OK);
    ck_assert_int_eq(d->savepoint(c, XO_RELEASE), XONCE_OK);
    ck_assert_int_eq(d->commit(c, b->s + 22, 38, &failed), XONCE_OK);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM t"), 60);
    free_batch(b);
    d->close(c);
}
END_TEST

START_TEST(huge_rows_go_in_several_arrays)
{
    enum { N = 12, SIZE = 700 * 1024 };
    xo_conn *c = open_db(1000);
    raw("CREATE TABLE big (id INT, b LONGBLOB)");
    xo_sql *s = make_sql("INSERT INTO big VALUES ($1, $2)");
    char *p = xo_calloc(1, SIZE);
    xonce_value v[N][2];
    xo_stmt st[N];
    for (int i = 0; i < N; i++) {
        v[i][0] = xonce_int(i);
        v[i][1] = xonce_blob(p, SIZE);
        st[i] = (xo_stmt){.sql = s, .v = v[i]};
    }
    size_t failed = 0;
    begin(c);
    ck_assert_msg(d->commit(c, st, N, &failed) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM big WHERE LENGTH(b) = 716800"), N);
    xo_sql_free(s);
    free(p);
    d->close(c);
}
END_TEST

/* ---- what errors mean ---- */

START_TEST(error_classes)
{
    static const struct {
        unsigned e;
        const char *state;
        xo_sql_class cls;
    } want[] = {{1213, "40001", XO_SQL_AGAIN}, {1205, "HY000", XO_SQL_AGAIN}, {1020, "HY000", XO_SQL_AGAIN}, {1062, "23000", XO_SQL_DATA}, {1452, "23000", XO_SQL_PARENT}, {1216, "23000", XO_SQL_PARENT},
                {1451, "23000", XO_SQL_DATA}, {3819, "HY000", XO_SQL_DATA}, {4025, "23000", XO_SQL_DATA}, {1146, "42S02", XO_SQL_SETUP}, {1142, "42000", XO_SQL_SETUP}, {1290, "HY000", XO_SQL_SETUP},
                {2006, "HY000", XO_SQL_LOST}, {2013, "HY000", XO_SQL_LOST}, {1053, "08S01", XO_SQL_LOST}, {1927, "70100", XO_SQL_LOST}, {1114, "HY000", XO_SQL_LOST}, {1021, "HY000", XO_SQL_LOST},
                {1226, "42000", XO_SQL_OTHER}, {1644, "45000", XO_SQL_OTHER}, {1644, "23000", XO_SQL_DATA}, {1644, "22001", XO_SQL_DATA}, {9999, "40001", XO_SQL_AGAIN}, {9999, NULL, XO_SQL_OTHER},
                {1690, "22003", XO_SQL_DATA}, {1317, "70100", XO_SQL_OTHER}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        ck_assert_msg(xo_my_classify(want[i].e, want[i].state) == want[i].cls, "%u %s", want[i].e, want[i].state ? want[i].state : "");
}
END_TEST

START_TEST(errors_of_statements)
{
    static const struct {
        const char *sql;
        xonce_status code;
        xo_sql_class cls;
    } bad[] = {{"INSERT INTO child VALUES (1, 5)", XONCE_E_SQL, XO_SQL_PARENT},   {"DELETE FROM parents", XONCE_E_SQL, XO_SQL_DATA},     {"INSERT INTO nowhere VALUES (1)", XONCE_E_SQL, XO_SQL_SETUP},
               {"INSERT INTO t (nocol) VALUES (1)", XONCE_E_SQL, XO_SQL_SETUP},   {"INSRT INTO t VALUES (1)", XONCE_E_SQL, XO_SQL_SETUP}, {"INSERT INTO t (a) VALUES ('x')", XONCE_E_SQL, XO_SQL_DATA},
               {"INSERT INTO child VALUES (-1, 1)", XONCE_E_SQL, XO_SQL_DATA},    {"INSERT INTO t (a) VALUES (99999999999)", XONCE_E_SQL, XO_SQL_DATA}};
    xo_conn *c = open_db(1000);
    raw("CREATE TABLE parents (id INT PRIMARY KEY) ENGINE=InnoDB");
    raw("CREATE TABLE child (a INT CHECK (a > 0), p INT, FOREIGN KEY (p) REFERENCES parents (id)) ENGINE=InnoDB");
    raw("INSERT INTO parents VALUES (1)");
    raw("INSERT INTO child VALUES (1, 1)");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        begin(c);
        xonce_status st = run(c, bad[i].sql);
        ck_assert_msg(st == bad[i].code && xo_error_class() == bad[i].cls, "%s: %d %d %s", bad[i].sql, (int)st, (int)xo_error_class(), xonce_error_last()->text);
        d->rollback(c);
    }
    d->close(c);
}
END_TEST

START_TEST(statements_are_tried)
{
    static const struct {
        const char *sql;
        int ok;
    } tries[] = {{"INSERT INTO t (a, b) VALUES ($1, $2)", 1}, {"SELECT * FROM t WHERE a = $1 OR b = $1", 1}, {"INSERT INTO t (a, nope) VALUES ($1, $2)", 0},
                 {"INSERT INTO nowhere VALUES ($1)", 0},     {"INSRT INTO t VALUES (1)", 0},                {"UPDATE t SET a = ", 0}, {"DELETE FROM t", 1}};
    xo_conn *c = open_db(1000);
    raw("INSERT INTO t (a) VALUES (1)");
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        xo_sql *s = make_sql(tries[i].sql);
        xonce_status st = d->try_sql(c, s);
        ck_assert_msg((st == XONCE_OK) == tries[i].ok, "%s: %s", tries[i].sql, xonce_error_last()->text);
        ck_assert_msg(tries[i].ok || xo_error_class() == XO_SQL_SETUP, "%s", tries[i].sql);
        xo_sql_free(s);
    }
    ck_assert_int_eq(number("SELECT COUNT(*) FROM t"), 1);
    d->close(c);
}
END_TEST

/* ---- pruning ---- */

START_TEST(one_pruner_a_database)
{
    xo_conn *a = open_db(1000), *b = open_db(1000);
    int got_it = 0;
    ck_assert_int_eq(d->prune_lock(a, &got_it), XONCE_OK);
    ck_assert_int_eq(got_it, 1);
    ck_assert_int_eq(d->prune_lock(b, &got_it), XONCE_OK);
    ck_assert_int_eq(got_it, 0);
    d->prune_unlock(a);
    ck_assert_int_eq(a->lost, 0);
    ck_assert_int_eq(d->prune_lock(b, &got_it), XONCE_OK);
    ck_assert_int_eq(got_it, 1);
    d->close(b); /* the lock ends with the connection */
    for (int i = 0; i < 6000; i++) {
        ck_assert_int_eq(d->prune_lock(a, &got_it), XONCE_OK);
        if (got_it)
            break;
        xo_pause_ms(10);
    }
    ck_assert_int_eq(got_it, 1);
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

START_TEST(prunes_its_own_old_rows)
{
    xo_conn *c = open_db(3000), *holder = open_db(1000);
    xo_buf fill = {0};
    raw("CREATE TABLE IF NOT EXISTS xonce_settled (consumer_group VARBINARY(128), topic_name VARBINARY(255), broker_name VARBINARY(255), queue_id INT, tags BLOB, first_offset BIGINT,"
        " next_offset BIGINT, last_store_time BIGINT, last_log_offset BIGINT)");
    xo_buf_str(&fill, "INSERT INTO transaction_record (consumer_group, message_id, ctime, queue_id, `offset`) VALUES ");
    for (int i = 1; i <= 3000; i++)
        xo_buf_printf(&fill, "%s('%c', 'm%d', %d, 0, 0)", i > 1 ? "," : "", i % 2 ? 'g' : 'h', i, i);
    raw(fill.p);
    xo_buf_free(&fill);
    int64_t deleted = -1;
    ck_assert_msg(prune_some(c, "g", 1001, 700, &deleted) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_eq(deleted, 500);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record WHERE consumer_group = 'h'"), 1500);
    ck_assert_int_eq(number("SELECT MIN(ctime) FROM transaction_record WHERE consumer_group = 'g'"), 1001);
    ck_assert_int_eq(prune_some(c, "g", 3001, 300, &deleted), XONCE_OK);
    ck_assert_int_eq(deleted, 300);
    ck_assert_int_eq(number("SELECT MIN(ctime) FROM transaction_record WHERE consumer_group = 'g'"), 1601);
    begin(holder); /* a row that somebody holds is left */
    ran(holder, "UPDATE transaction_record SET queue_id = 1 WHERE message_id = 'm1601'");
    xonce_status st = prune_some(c, "g", 3001, 300, &deleted);
    if (((xo_my *)c)->skip_locked)
        ck_assert_msg(st == XONCE_OK && deleted == 299, "%d %s", (int)deleted, xonce_error_last()->text);
    else
        expect_class(st, XONCE_E_CONFLICT, XO_SQL_AGAIN, "");
    d->rollback(holder);
    ck_assert_int_eq(number("SELECT MIN(ctime) FROM transaction_record WHERE consumer_group = 'g'"), 1601);
    /* and the connection serves transactions again, with their lock timeout */
    begin(c);
    ask(c, "SELECT @@session.innodb_lock_wait_timeout", NULL, 0);
    ck_assert_str_eq(got[0], "3");
    d->rollback(c);
    d->close(c);
    d->close(holder);
}
END_TEST

/* ---- check ---- */

typedef struct {
    xo_buf text;
    char sql[16][400];
    int n, worst;
} findings;

static void on_finding(const xonce_finding *f, void *arg)
{
    findings *all = arg;
    xo_buf_printf(&all->text, "%d %s | %s | %s\n", f->severity, f->what, f->why, f->sql);
    if (f->severity > all->worst)
        all->worst = f->severity;
    if (all->n < 16 && strncmp(f->sql, "ALTER", 5) == 0)
        snprintf(all->sql[all->n++], sizeof all->sql[0], "%s", f->sql);
}

static findings look(xo_conn *c)
{
    findings f = {.worst = -1};
    xo_open_options o = options_for(DB, "root", "", "", 1000);
    ck_assert_msg(d->check(c, &o, on_finding, &f) == XONCE_OK, "%s", xonce_error_last()->text);
    xo_uri_free(&o.uri);
    xo_buf_char(&f.text, '\n');
    return f;
}

static void has(const findings *f, const char *what)
{
    ck_assert_msg(strstr(f->text.p, what) != NULL, "no \"%s\" in:\n%s", what, f->text.p);
}

START_TEST(check_finds_and_mends)
{
    xo_conn *c = open_db(1000);
    findings f = look(c);
    ck_assert_msg(!strstr(f.text.p, "transaction_record"), "%s", f.text.p);
    xo_buf_free(&f.text);
    raw("DROP TABLE transaction_record");
    f = look(c);
    has(&f, "3 the table transaction_record is missing");
    xo_buf_free(&f.text);
    raw("CREATE TABLE transaction_record (consumer_group VARCHAR(20) NOT NULL, message_id VARCHAR(200) NOT NULL, topic_name VARCHAR(255) NOT NULL, ctime BIGINT NOT NULL, queue_id INT NOT NULL, "
        "`offset` BIGINT NOT NULL, broker_name VARCHAR(255) NOT NULL, id BIGINT NOT NULL, need INT NOT NULL, PRIMARY KEY (id), UNIQUE KEY topic (topic_name), KEY load_key (queue_id, ctime), "
        "KEY old (ctime)) "
        "ENGINE=MyISAM DEFAULT CHARSET=latin1");
    raw("CREATE TRIGGER trig BEFORE INSERT ON transaction_record FOR EACH ROW SET @x = 1");
    f = look(c);
    has(&f, "2 the engine of transaction_record is MyISAM");
    has(&f, "2 message_id compares by latin1_swedish_ci");
    has(&f, "2 message_id is shorter than 255");
    has(&f, "3 the column need of transaction_record has no default");
    has(&f, "1 the column consumer_group of transaction_record is short");
    has(&f, "1 transaction_record has no column digest");
    has(&f, "3 transaction_record has no AUTO_INCREMENT column id");
    has(&f, "2 transaction_record has another unique key, topic");
    has(&f, "1 transaction_record has the index load_key");
    has(&f, "3 transaction_record has no unique key on message_id alone");
    has(&f, "0 the key old of transaction_record begins with ctime");
    has(&f, "2 transaction_record has a trigger, trig");
    /* the SQL that it prints mends what it found */
    for (int i = 0; i < f.n; i++)
        raw(f.sql[i]);
    xo_buf_free(&f.text);
    raw("ALTER TABLE transaction_record DROP KEY topic, DROP KEY load_key");
    raw("DROP TRIGGER trig");
    f = look(c);
    ck_assert_msg(!strstr(f.text.p, "transaction_record"), "%s", f.text.p);
    xo_buf_free(&f.text);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "m#g"), 1);
    committed(c);
    d->close(c);
}
END_TEST

START_TEST(check_names_missing_rights_and_settings)
{
    xo_conn *c = NULL;
    raw("CREATE TABLE xonce_rejected (message_id VARBINARY(255) NOT NULL, replay_at BIGINT)");
    raw("DROP USER IF EXISTS xonce_few");
    raw("CREATE USER xonce_few IDENTIFIED BY 'few'");
    raw("GRANT SELECT, INSERT ON xonce_dialect.transaction_record TO xonce_few");
    raw("GRANT SELECT ON xonce_dialect.xonce_rejected TO xonce_few");
    raw("SET GLOBAL innodb_flush_log_at_trx_commit = 2");
    ck_assert_msg(try_open(&c, DB, "xonce_few", "few", "") == XONCE_OK, "%s", xonce_error_last()->text);
    findings f = look(c);
    raw("SET GLOBAL innodb_flush_log_at_trx_commit = 1");
    has(&f, "3 the right to DELETE transaction_record is missing");
    has(&f, "GRANT DELETE ON `xonce_dialect`.transaction_record TO 'xonce_few'@'%'");
    has(&f, "3 the right to INSERT xonce_rejected is missing");
    has(&f, "2 innodb_flush_log_at_trx_commit is 2");
    ck_assert_msg(!strstr(f.text.p, "right to INSERT transaction_record"), "%s", f.text.p);
    xo_buf_free(&f.text);
    xo_sql *s = make_sql("DELETE FROM transaction_record WHERE id = $1");
    expect_class(d->try_sql(c, s), XONCE_E_AUTH, XO_SQL_SETUP, "denied");
    xo_sql_free(s);
    d->close(c);
    raw("SET GLOBAL read_only = ON");
    ck_assert_msg(try_open(&c, DB, "xonce_few", "few", "") == XONCE_OK, "%s", xonce_error_last()->text);
    raw("GRANT DELETE ON xonce_dialect.transaction_record TO xonce_few");
    f = look(c);
    raw("SET GLOBAL read_only = OFF");
    has(&f, "3 the server is read-only");
    xo_buf_free(&f.text);
    d->close(c);
    raw("DROP USER xonce_few");
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {values_arrive_exactly, 0}, {odd_numbers_keep_their_digits, 0}, {times_at_the_edges, 0}, {large_values_and_early_ends, 0}, {queries_without_a_transaction, 0},
        {the_statement_cache_is_bounded, 0}, {runs_of_one_insert, 1}, {a_bad_row_is_found, 1}, {one_statement_alone_and_in_arrays, 1}, {huge_rows_go_in_several_arrays, 0},
        {error_classes, 0}, {errors_of_statements, 0}, {statements_are_tried, 0}, {one_pruner_a_database, 0}, {prunes_its_own_old_rows, 0}, {check_finds_and_mends, 0},
        {check_names_missing_rights_and_settings, 0},
    };
    return run_suite("dialect mysql values", tests, sizeof tests / sizeof *tests);
}
