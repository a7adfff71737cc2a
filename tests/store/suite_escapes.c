/* Handlers that end the transaction, or go on after losing it. */
#include "suite.h"

#include <stdio.h>

typedef struct {
    const char *text;  /* run through the native handle after booking */
    const char *only;  /* for this message; NULL for all */
    int calls;
} escape;

static xonce_verdict escaping(xonce_tx *tx, const xonce_message *m, void *arg)
{
    escape *e = arg;
    e->calls++;
    if (book(tx, m, NULL) != XONCE_DONE)
        return XONCE_RETRY;
    if (!e->only || strcmp(e->only, xonce_message_id(m)) == 0)
        end_transaction_natively(tx, e->text);
    return XONCE_DONE;
}

static const char *begin_again(void)
{
    return on == ON_SQLITE ? "COMMIT; BEGIN IMMEDIATE" : "COMMIT; BEGIN";
}

START_TEST(a_handlers_commit_is_never_a_silent_duplicate)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *m = message("m1", "x");
    xonce_outcome what;
    escape e = {.text = _i ? begin_again() : "COMMIT"};
    ck_assert_int_eq(xonce_once(s, m, escaping, &e, &what), XONCE_OK);
    ck_assert_int_eq(what, XONCE_REJECTED);
    ck_assert_int_eq(rejected(), 1);
    ck_assert_int_eq(orders(), on == ON_SQLITE ? 0 : 1); /* SQLite refuses the COMMIT, the others cannot */
    char *why = sql_text("SELECT reason FROM xonce_rejected");
    ck_assert_ptr_nonnull(strstr(why, on == ON_SQLITE ? "COMMIT" : "ended the transaction"));
    free(why);
    ck_assert_int_eq(once(s, "m1", "x"), XONCE_DUPLICATE);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_handlers_rollback_comes_again)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *m = message("m1", "x");
    xonce_outcome what;
    escape e = {.text = _i ? (on == ON_SQLITE ? "ROLLBACK; BEGIN IMMEDIATE" : "ROLLBACK; BEGIN") : "ROLLBACK"};
    ck_assert_int_eq(xonce_once(s, m, escaping, &e, &what), XONCE_OK);
    ck_assert_int_eq(what, XONCE_DEFERRED);
    ck_assert_int_eq(orders() + records() + rejected(), 0);
    ck_assert_int_eq(once(s, "m1", "x"), XONCE_FRESH);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

START_TEST(one_bad_handler_in_a_batch)
{
    xonce_store *s = open_store("GID_a");
    xo_item items[8];
    memset(items, 0, sizeof items);
    for (int i = 0; i < 8; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        items[i].m = message(id, "x");
    }
    escape e = {.text = _i ? begin_again() : "COMMIT", .only = "m3"};
    xo_spec spec = {.one = escaping, .arg = &e};
    ck_assert_int_eq(xo_run(s, items, 8, &spec), XONCE_OK);
    /* none may be lost: applied once, or in the rejected table */
    for (int i = 0; i < 8; i++) {
        char text[120];
        snprintf(text, sizeof text, "SELECT COUNT(*) FROM orders WHERE id = 'm%d'", i);
        int64_t applied = sql_int(text);
        ck_assert_int_le(applied, 1);
        ck_assert_msg(items[i].outcome == XONCE_FRESH ? applied == 1 : items[i].outcome == XONCE_REJECTED, "m%d: outcome %d, applied %d", i, items[i].outcome, (int)applied);
    }
    ck_assert_int_eq(items[3].outcome, XONCE_REJECTED);
    if (_i == 0 || on == ON_SQLITE)
        ck_assert_int_eq(items[2].outcome, XONCE_FRESH);
    for (int i = 0; i < 8; i++)
        xonce_message_free((xonce_message *)items[i].m);
    xonce_store_close(s);
}
END_TEST

static xonce_verdict control_by_exec(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)m;
    xonce_status st = xonce_exec_values(tx, arg, NULL, 0);
    return st == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

START_TEST(control_statements_are_refused)
{
    static const char *const texts[] = {"COMMIT", " /* x */ commit", "BEGIN", "ROLLBACK", "START TRANSACTION", "-- x\nEND", "ABORT", "ROLLBACK WORK"};
    xonce_store *s = open_store("GID_a");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        xonce_message *m = message("m1", "x");
        xonce_outcome what;
        ck_assert_int_eq(xonce_once(s, m, control_by_exec, (void *)texts[i], &what), XONCE_OK);
        ck_assert_msg(what == XONCE_DEFERRED, "%s", texts[i]);
        xonce_message_free(m);
    }
    ck_assert_int_eq(records(), 0);
    xonce_store_close(s);
}
END_TEST

static xonce_verdict with_ddl(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    if (book(tx, m, NULL) != XONCE_DONE)
        return XONCE_RETRY;
    return xonce_exec(tx, "CREATE TABLE parents (id varchar(20))") == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

START_TEST(ddl_in_a_handler)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *m = message("m1", "x");
    xonce_outcome what;
    ck_assert_int_eq(xonce_once(s, m, with_ddl, NULL, &what), XONCE_OK);
    /* MySQL commits at DDL: never a silent duplicate. The others have transactional DDL. */
    ck_assert_int_eq(what, on == ON_MYSQL ? XONCE_REJECTED : XONCE_FRESH);
    ck_assert_int_eq(once(s, "m1", "x"), XONCE_DUPLICATE);
    sql("DROP TABLE parents");
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

static xonce_verdict swallow(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    book(tx, m, NULL);
    end_transaction_natively(tx, on == ON_SQLITE ? "INSERT INTO nowhere VALUES (1)" : "SELECT 1");
    if (on == ON_POSTGRES)
        end_transaction_natively(tx, "INSERT INTO nowhere VALUES (1)"); /* the transaction has failed; go on as if not */
    return XONCE_DONE;
}

START_TEST(a_failed_transaction_does_not_commit)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *m = message("m1", "x");
    xonce_outcome what;
    ck_assert_int_eq(xonce_once(s, m, swallow, NULL, &what), XONCE_OK);
    /* PostgreSQL's transaction is dead; the others go on after a failed statement */
    ck_assert_int_eq(what, on == ON_POSTGRES ? XONCE_DEFERRED : XONCE_FRESH);
    ck_assert_int_eq(orders(), on == ON_POSTGRES ? 0 : 1);
    ck_assert_int_eq(records(), orders());
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

/* ---- a swallowed deadlock ---- */

typedef struct {
    xonce_store *s;
    int first; /* 1 locks a then b, 2 the other way round */
    int *arrived;
    int tries;
} crossing;

static xonce_verdict cross(xonce_tx *tx, const xonce_message *m, void *arg)
{
    crossing *c = arg;
    if (++c->tries > 1) /* run again after the deadlock: now alone */
        return book(tx, m, NULL);
    xonce_value v[1] = {xonce_int(c->first)};
    if (xonce_exec_now(tx, "UPDATE parents SET n = n + 1 WHERE id = $1", v, 1, NULL) != XONCE_OK)
        return XONCE_RETRY;
    __atomic_add_fetch(c->arrived, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 4000 && __atomic_load_n(c->arrived, __ATOMIC_SEQ_CST) < 2; i++)
        xo_pause_ms(5);
    v[0] = xonce_int(3 - c->first);
    (void)xonce_exec_now(tx, "UPDATE parents SET n = n + 1 WHERE id = $1", v, 1, NULL); /* one of the two gets the deadlock and does not care */
    (void)book(tx, m, NULL);
    return XONCE_DONE;
}

static void *run_crossing(void *arg)
{
    crossing *c = arg;
    xonce_outcome what = XONCE_DEFERRED;
    xonce_message *m = message(c->first == 1 ? "m1" : "m2", "x");
    xonce_status st = xonce_once(c->s, m, cross, c, &what);
    xonce_message_free(m);
    return (void *)(intptr_t)(st == XONCE_OK && what == XONCE_FRESH);
}

START_TEST(a_swallowed_deadlock_is_run_again)
{
    if (on == ON_SQLITE)
        return; /* one writer: no deadlock */
    xonce_store *s = open_store("GID_a");
    sql("CREATE TABLE parents (id integer PRIMARY KEY, n integer)");
    sql("INSERT INTO parents VALUES (1, 0)");
    sql("INSERT INTO parents VALUES (2, 0)");
    int arrived = 0;
    crossing c[2] = {{.s = s, .first = 1, .arrived = &arrived}, {.s = s, .first = 2, .arrived = &arrived}};
    pthread_t t[2];
    void *ok[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, run_crossing, &c[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], &ok[i]);
    ck_assert(ok[0] && ok[1]);
    ck_assert_int_eq(c[0].tries + c[1].tries, 3);
    ck_assert_int_eq(orders(), 2);
    ck_assert_int_eq(records(), 2);
    ck_assert_int_eq(sql_int("SELECT SUM(n) FROM parents"), 2); /* only the winner's updates */
    sql("DROP TABLE parents");
    xonce_store_close(s);
}
END_TEST

Suite *suite_escapes(void)
{
    Suite *s = suite_create("escapes");
    TCase *t = tcase_create("escapes");
    tcase_add_checked_fixture(t, fresh_database, NULL);
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, a_handlers_commit_is_never_a_silent_duplicate, 0, 2);
    tcase_add_loop_test(t, a_handlers_rollback_comes_again, 0, 2);
    tcase_add_loop_test(t, one_bad_handler_in_a_batch, 0, 2);
    tcase_add_test(t, control_statements_are_refused);
    tcase_add_test(t, ddl_in_a_handler);
    tcase_add_test(t, a_failed_transaction_does_not_commit);
    tcase_add_test(t, a_swallowed_deadlock_is_run_again);
    suite_add_tcase(s, t);
    return s;
}
