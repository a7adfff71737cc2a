/* The MySQL dialect by itself: deadlocks, handlers that end their transaction or leave the connection in an odd state, killed connections. */
#include "my.h"

/* ---- deadlock ---- */

typedef struct {
    MYSQL *my;
    const char *sql;
    unsigned err;
} native_call;

static void *call_in_thread(void *arg)
{
    native_call *n = arg;
    n->err = mysql_query(n->my, n->sql) == 0 ? 0 : mysql_errno(n->my);
    return NULL;
}

/* c, which has locked row 1, is made the victim: the other side has changed more rows. Returns the error that c's statement on row 2 got. */
static unsigned deadlock(MYSQL *mine, xo_conn *c)
{
    MYSQL *other = raw_open(DB);
    native_call n = {.my = other, .sql = "UPDATE t SET b = 'other' WHERE a = 1"};
    pthread_t t;
    unsigned err = 0;
    raw_on(other, "SET autocommit = 0");
    raw_on(other, "UPDATE t SET b = 'other' WHERE a >= 2");
    pthread_create(&t, NULL, call_in_thread, &n);
    wait_for_lock_wait();
    if (mine) {
        err = mysql_query(mine, "UPDATE t SET b = 'mine' WHERE a = 2") == 0 ? 0 : mysql_errno(mine);
    } else {
        expect_class(run(c, "UPDATE t SET b = 'mine' WHERE a = 2"), XONCE_E_CONFLICT, XO_SQL_AGAIN, "1213");
        err = (unsigned)xonce_error_last()->native;
    }
    pthread_join(t, NULL);
    ck_assert_uint_eq(n.err, 0);
    raw_on(other, "ROLLBACK");
    mysql_close(other);
    return err;
}

static void fill_t(void)
{
    raw("DELETE FROM t");
    raw("INSERT INTO t (a) VALUES (1), (2), (3), (4), (5), (6), (7), (8)");
}

START_TEST(deadlock_ends_the_transaction)
{
    use_dialect(dialects[_i]);
    fill_t();
    xo_conn *c = open_db(5000);
    begin(c);
    ran(c, "UPDATE t SET b = 'mine' WHERE a = 1");
    ck_assert_uint_eq(deadlock(NULL, c), 1213);
    expect_class(run(c, "INSERT INTO t (a) VALUES (100)"), XONCE_E_CONFLICT, XO_SQL_AGAIN, "1213");
    ck_assert_ptr_null(d->native(c));
    ck_assert_int_eq(d->savepoint(c, XO_SAVE), XONCE_E_CONFLICT);
    ck_assert_int_eq(commit(c), XONCE_E_CONFLICT);
    d->rollback(c);
    ck_assert_int_eq(c->lost, 0);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM t WHERE b IS NOT NULL OR a = 100"), 0);
    begin(c);
    ran(c, "INSERT INTO t (a) VALUES (100)");
    committed(c);
    d->close(c);
}
END_TEST

START_TEST(swallowed_deadlock)
{
    use_dialect(dialects[_i]);
    for (int goes_on = 0; goes_on < 2; goes_on++) {
        fill_t();
        xo_conn *c = open_db(5000);
        begin(c);
        ck_assert_int_eq(claim(c, "g", "m#g"), 1);
        MYSQL *my = d->native(c);
        ck_assert_ptr_nonnull(my);
        ck_assert_int_eq(c->lent, 1);
        raw_on(my, "UPDATE t SET b = 'mine' WHERE a = 1");
        ck_assert_uint_eq(deadlock(my, c), 1213);
        if (goes_on) {
            raw_on(my, "INSERT INTO t (a) VALUES (100)");
            ck_assert_int_eq(commit(c), XONCE_E_TX_LOST);
            ck_assert_int_eq(c->escaped, 1);
        } else {
            expect_class(d->after_lent(c), XONCE_E_CONFLICT, XO_SQL_AGAIN, "1213");
            ck_assert_int_eq(commit(c), XONCE_E_CONFLICT);
        }
        d->rollback(c);
        ck_assert_int_eq(number("SELECT COUNT(*) FROM t WHERE a = 100"), 0);
        ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 0);
        d->close(c);
    }
}
END_TEST

/* ---- a handler that ends the transaction ---- */

static void ends(const char *const *sql, size_t n, const char *what)
{
    xo_conn *c = open_db(1000);
    raw("DELETE FROM transaction_record");
    begin(c);
    ck_assert_int_eq(claim(c, "g", "m#g"), 1);
    MYSQL *my = d->native(c);
    for (size_t i = 0; i < n; i++)
        raw_on(my, sql[i]);
    xonce_status seen = d->after_lent(c), st = commit(c);
    ck_assert_msg(st == XONCE_E_TX_LOST, "%s: %d %s", what, (int)st, xonce_error_last()->text);
    ck_assert_msg(seen == XONCE_E_TX_LOST || seen == XONCE_OK, "%s: %d", what, (int)seen);
    ck_assert_int_eq(c->escaped, 1);
    d->rollback(c);
    if (!c->lost) {
        begin(c);
        ck_assert_int_eq(c->escaped, 0);
        ran(c, "SELECT 1");
        committed(c);
    }
    d->close(c);
}

START_TEST(handler_ends_the_transaction)
{
    static const char *const commit_sql[] = {"COMMIT"}, *const rollback_sql[] = {"ROLLBACK"}, *const begin_sql[] = {"COMMIT", "BEGIN"},
                      *const start_sql[] = {"START TRANSACTION"}, *const ddl[] = {"CREATE TABLE made (a INT)"}, *const on[] = {"SET autocommit = 1"},
                      *const busy[] = {"ROLLBACK", "INSERT INTO t (a) VALUES (50)"};
    use_dialect(dialects[_i]);
    ends(commit_sql, 1, "COMMIT");
    ends(rollback_sql, 1, "ROLLBACK");
    ends(begin_sql, 2, "COMMIT; BEGIN");
    ends(start_sql, 1, "START TRANSACTION");
    ends(ddl, 1, "DDL");
    ends(on, 1, "autocommit=1");
    ends(busy, 2, "ROLLBACK; INSERT");
    ck_assert_int_eq(number("SELECT COUNT(*) FROM t"), 0);
    raw("DROP TABLE made");
}
END_TEST

START_TEST(guarded_handler_commits)
{
    use_dialect(dialects[_i]);
    xo_conn *c = open_db(1000);
    for (int round = 0; round < 3; round++) {
        char key[16], sql[64];
        snprintf(key, sizeof key, "m%d#g", round);
        begin(c);
        ck_assert_int_eq(claim(c, "g", key), 1);
        MYSQL *my = d->native(c);
        snprintf(sql, sizeof sql, "INSERT INTO t (a) VALUES (%d)", round);
        raw_on(my, sql);
        raw_on(my, "SAVEPOINT mine");
        raw_on(my, "INSERT INTO t (a) VALUES (99)");
        raw_on(my, "ROLLBACK TO SAVEPOINT mine");
        ck_assert_ptr_eq(d->native(c), my);
        ck_assert_int_eq(d->after_lent(c), XONCE_OK);
        committed(c);
        ck_assert_int_eq(c->lent, 0);
    }
    ck_assert_int_eq(number("SELECT COUNT(*) FROM t"), 3);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 3);
    d->close(c);
}
END_TEST

/* DDL and CALL through run(): the guard is set by itself. */
START_TEST(statements_that_may_commit)
{
    use_dialect(dialects[_i]);
    raw("CREATE PROCEDURE two_results() BEGIN SELECT 1; INSERT INTO t (a) VALUES (60); SELECT 2, 3; END");
    raw("CREATE PROCEDURE ends_it() BEGIN COMMIT; INSERT INTO t (a) VALUES (61); END");
    xo_conn *c = open_db(1000);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "a#g"), 1);
    ran(c, "CALL two_results()");
    ck_assert_int_eq(c->lent, 1);
    committed(c);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM t WHERE a = 60"), 1);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "b#g"), 1);
    ran(c, "CALL ends_it()");
    ck_assert_int_eq(commit(c), XONCE_E_TX_LOST);
    d->rollback(c);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM t WHERE a = 61"), 0);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "c#g"), 1);
    ran(c, "CREATE TABLE by_ddl (a INT)");
    ck_assert_int_eq(commit(c), XONCE_E_TX_LOST);
    d->close(c);
}
END_TEST

START_TEST(savepoints_of_messages)
{
    use_dialect(dialects[_i]);
    xo_conn *c = open_db(1000);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "m#g"), 1);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(d->savepoint(c, XO_SAVE), XONCE_OK);
        char sql[64];
        snprintf(sql, sizeof sql, "INSERT INTO t (a) VALUES (%d)", i);
        if (i % 2)
            raw_on(d->native(c), sql);
        else
            ran(c, sql);
        if (i >= 2) {
            ck_assert_int_eq(run(c, "INSERT INTO t (a) VALUES (0)"), XONCE_E_SQL);
            ck_assert_int_eq(xo_error_class(), XO_SQL_DATA);
            ck_assert_int_eq(d->savepoint(c, XO_ROLLBACK_TO), XONCE_OK);
        }
        ck_assert_msg(d->savepoint(c, XO_RELEASE) == XONCE_OK, "%s", xonce_error_last()->text);
    }
    committed(c);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM t"), 2);
    begin(c);
    ck_assert_int_eq(d->savepoint(c, XO_SAVE), XONCE_OK);
    raw_on(d->native(c), "COMMIT");
    ck_assert_int_eq(d->savepoint(c, XO_RELEASE), XONCE_E_TX_LOST);
    ck_assert_int_eq(c->escaped, 1);
    d->rollback(c);
    d->close(c);
}
END_TEST

/* ---- what a handler may leave on the handle ---- */

typedef struct {
    xo_conn *c;
    MYSQL *my;
    MYSQL_RES *res;
    MYSQL_STMT *stmt;
} odd;

static odd odd_begin(const char *key)
{
    odd o = {.c = open_db(1000)};
    begin(o.c);
    ck_assert_int_eq(claim(o.c, "g", key), 1);
    o.my = d->native(o.c);
    ck_assert_ptr_nonnull(o.my);
    raw_on(o.my, "INSERT INTO t (a) VALUES (1)");
    return o;
}

/* Either it says that it is committed and it is, or it says not and nothing is there. */
static void odd_end(odd *o, int must_commit)
{
    xonce_status st = d->after_lent(o->c);
    if (st == XONCE_OK)
        st = commit(o->c);
    ck_assert_msg(!must_commit || st == XONCE_OK, "%s", xonce_error_last()->text);
    if (st != XONCE_OK)
        d->rollback(o->c);
    ck_assert_int_ne(st, XONCE_E_TX_LOST);
    if (o->res)
        mysql_free_result(o->res);
    if (o->stmt)
        mysql_stmt_close(o->stmt);
    if (!o->c->lost) {
        begin(o->c);
        ck_assert_int_eq(claim(o->c, "g", "after#g"), 1);
        d->rollback(o->c);
    }
    d->close(o->c);
    for (int i = 0; i < 500 && st != XONCE_OK && number("SELECT COUNT(*) FROM information_schema.innodb_trx") > 0; i++)
        xo_pause_ms(120);
    long long want = st == XONCE_OK;
    if (st != XONCE_E_UNKNOWN_COMMIT) {
        ck_assert_int_eq(number("SELECT COUNT(*) FROM t"), want);
        ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), want);
    }
    raw("DELETE FROM t");
    raw("DELETE FROM transaction_record");
}

START_TEST(results_left_unread)
{
    use_dialect(dialects[_i]);
    odd o = odd_begin("a#g");
    ck_assert_int_eq(mysql_query(o.my, "SELECT 1 UNION SELECT 2"), 0);
    odd_end(&o, 1);
    o = odd_begin("b#g");
    ck_assert_int_eq(mysql_query(o.my, "SELECT 1; SELECT 2; SELECT 3"), 0);
    odd_end(&o, 1);
    o = odd_begin("c#g");
    ck_assert_int_eq(mysql_query(o.my, "SELECT 1 UNION SELECT 2"), 0);
    o.res = mysql_use_result(o.my);
    odd_end(&o, 0);
    o = odd_begin("d#g");
    ck_assert_int_eq(mysql_send_query(o.my, "SELECT 1", 8), 0);
    xo_pause_ms(_i ? 100 : 0); /* the answer may have come, or not yet */
    odd_end(&o, 0);
    o = odd_begin("e#g");
    o.stmt = mysql_stmt_init(o.my);
    ck_assert_int_eq(mysql_stmt_prepare(o.stmt, "SELECT 1", 8), 0);
    ck_assert_int_eq(mysql_stmt_execute(o.stmt), 0);
    odd_end(&o, 0);
}
END_TEST

START_TEST(session_left_changed)
{
    use_dialect(dialects[_i]);
    xo_conn *c = open_db(1000);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "a#g"), 1);
    ck_assert_int_eq(mysql_select_db(d->native(c), "information_schema"), 0);
    committed(c);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "b#g"), 1);
    ran(c, "INSERT INTO t (a) VALUES (1)");
    raw_on(d->native(c), "USE information_schema");
    ck_assert_int_eq(claim(c, "g", "c#g"), 1);
    committed(c);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 3);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "d#g"), 1);
    ck_assert_int_eq(mysql_reset_connection(d->native(c)), 0);
    ck_assert_int_eq(commit(c), XONCE_E_TX_LOST);
    d->rollback(c);
    ck_assert_int_eq(c->lost, 1);
    ck_assert_int_eq(d->usable(c), 0);
    d->close(c);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 3);
}
END_TEST

/* ---- lost connections ---- */

START_TEST(killed_before_commit)
{
    use_dialect(dialects[_i]);
    xo_conn *c = open_db(1000);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "m#g"), 1);
    kill_connection(c);
    ck_assert_int_eq(d->usable(c), 0);
    expect_class(run(c, "INSERT INTO t (a) VALUES (1)"), XONCE_E_CONNECT, XO_SQL_LOST, "");
    ck_assert_int_eq(c->lost, 1);
    d->rollback(c);
    expect_class(d->begin(c), XONCE_E_CONNECT, XO_SQL_LOST, "lost");
    d->close(c);
    c = open_db(1000);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "m#g"), 1);
    kill_connection(c);
    ck_assert_int_eq(commit(c), XONCE_E_UNKNOWN_COMMIT);
    ck_assert_int_eq(c->lost, 1);
    d->rollback(c);
    d->close(c);
    c = open_db(1000);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "m#g"), 1);
    ck_assert_ptr_nonnull(d->native(c));
    kill_connection(c);
    expect_class(d->after_lent(c), XONCE_E_CONNECT, XO_SQL_LOST, "");
    d->rollback(c);
    d->close(c);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 0);
}
END_TEST

START_TEST(lost_answer_to_commit)
{
    use_dialect(dialects[_i]);
    for (int lent = 0; lent < 2; lent++) {
        xo_conn *c = open_db(1000);
        raw("DELETE FROM transaction_record");
        begin(c);
        ck_assert_int_eq(claim(c, "g", "m#g"), 1);
        if (lent)
            raw_on(d->native(c), "INSERT INTO t (a) VALUES (1)");
        ck_assert_int_eq(xo_failpoints_load("commit-sent=error"), XONCE_OK);
        ck_assert_int_eq(commit(c), XONCE_E_UNKNOWN_COMMIT);
        ck_assert_int_eq(xo_error_class(), XO_SQL_LOST);
        ck_assert_int_eq(xo_failpoints_load(""), XONCE_OK);
        ck_assert_int_eq(c->lost, 1);
        d->rollback(c);
        d->close(c);
        /* the key answers: the claim waits for the lost one, if it still runs */
        c = open_db(5000);
        begin(c);
        int fresh = claim(c, "g", "m#g");
        ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), !fresh);
        d->rollback(c);
        d->close(c);
    }
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {deadlock_ends_the_transaction, 1}, {swallowed_deadlock, 1}, {handler_ends_the_transaction, 1}, {guarded_handler_commits, 1}, {statements_that_may_commit, 1},
        {savepoints_of_messages, 1}, {results_left_unread, 1}, {session_left_changed, 1}, {killed_before_commit, 1}, {lost_answer_to_commit, 1},
    };
    return run_suite("dialect mysql guard", tests, sizeof tests / sizeof *tests);
}
