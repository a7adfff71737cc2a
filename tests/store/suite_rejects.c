/* Rejected messages and their replay; attempts; judged SQL errors. */
#include "suite.h"

#include <stdio.h>

static xonce_verdict refuse(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    book(tx, m, NULL);
    xonce_fail(tx, "amount %d is negative", -5);
    return XONCE_REJECT;
}

static xonce_verdict retry(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)m;
    (void)arg;
    xonce_fail(tx, "not today");
    return XONCE_RETRY;
}

static xonce_outcome with_handler(xonce_store *s, xonce_message *m, xonce_handler fn, void *arg)
{
    xonce_outcome what = XONCE_DEFERRED;
    ck_assert_msg(xonce_once(s, m, fn, arg, &what) == XONCE_OK, "%s", xonce_error_last()->text);
    return what;
}

START_TEST(a_rejected_message_is_kept_whole)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *m = NULL;
    ck_assert_int_eq(xonce_message_new(&m, "orders", "m1", "a\0b\xff", 4), XONCE_OK);
    xonce_message_set_property(m, "KEYS", "k=1&2%");
    xonce_message_set_origin(m, "broker-a", 2, 99);
    ck_assert_int_eq(with_handler(s, m, refuse, NULL), XONCE_REJECTED);
    ck_assert_int_eq(orders(), 0);
    ck_assert_int_eq(records(), 1);
    char *why = sql_text("SELECT reason FROM xonce_rejected WHERE broker_name = 'broker-a' AND queue_id = 2 AND attempts = 1");
    ck_assert_str_eq(why, "amount -5 is negative");
    free(why);
    ck_assert_int_eq(with_handler(s, m, book, NULL), XONCE_DUPLICATE); /* the record stops it */
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

START_TEST(attempts_are_used_up)
{
    xonce_store *s = open_store_with("GID_a", "attempts", "3");
    xonce_message *m = message("m1", "x");
    for (int i = 1; i <= 3; i++) {
        ck_assert_int_eq(xonce_message_set_attempt(m, i), XONCE_OK);
        ck_assert_int_eq(with_handler(s, m, retry, NULL), i < 3 ? XONCE_DEFERRED : XONCE_REJECTED);
    }
    char *why = sql_text("SELECT reason FROM xonce_rejected");
    ck_assert_ptr_nonnull(strstr(why, "not today"));
    ck_assert_ptr_nonnull(strstr(why, "3"));
    free(why);
    xonce_message_free(m);
    /* a late delivery that does not fail is applied all the same */
    m = message("m2", "x");
    xonce_message_set_attempt(m, 50);
    ck_assert_int_eq(with_handler(s, m, book, NULL), XONCE_FRESH);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

static void check_replayed(const xonce_message *m)
{
    size_t len = 0;
    const char *body = xonce_message_body(m, &len);
    ck_assert_uint_eq(len, 4);
    ck_assert(memcmp(body, "a\0b\xff", 4) == 0);
    ck_assert_str_eq(xonce_message_key(m), "k=1&2%");
    ck_assert_str_eq(xonce_message_id(m), "m1");
    ck_assert_str_eq(xonce_message_topic(m), "orders");
}

static xonce_verdict replayed(xonce_tx *tx, const xonce_message *m, void *arg)
{
    check_replayed(m);
    ++*(int *)arg;
    return xonce_exec(tx, "INSERT INTO orders (id, body) VALUES ($1, 'replayed')", xonce_text(xonce_message_id(m))) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

START_TEST(replay_applies_and_deletes_in_one_transaction)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *m = NULL;
    xonce_message_new(&m, "orders", "m1", "a\0b\xff", 4);
    xonce_message_set_property(m, "KEYS", "k=1&2%");
    ck_assert_int_eq(with_handler(s, m, refuse, NULL), XONCE_REJECTED);
    int calls = 0, found = 1;
    xo_item out;
    xo_spec spec = {.one = replayed, .arg = &calls};
    ck_assert_int_eq(xo_replay_next(s, NULL, &spec, &found, &out), XONCE_OK);
    ck_assert(!found); /* nothing is marked */
    sql("UPDATE xonce_rejected SET replay_at = 1");
    ck_assert_int_eq(xo_replay_next(s, "payments", &spec, &found, &out), XONCE_OK);
    ck_assert(!found); /* of another topic */
    xo_spec bad = {.one = retry};
    ck_assert_int_eq(xo_replay_next(s, "orders", &bad, &found, &out), XONCE_OK);
    ck_assert(found && out.outcome == XONCE_REJECTED);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_rejected WHERE replay_at IS NULL AND reason = 'not today' AND attempts = 2"), 1);
    sql("UPDATE xonce_rejected SET replay_at = 1");
    ck_assert_msg(xo_replay_next(s, "orders", &spec, &found, &out) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert(found && out.outcome == XONCE_FRESH);
    ck_assert_int_eq(calls, 1);
    ck_assert_int_eq(orders(), 1);
    ck_assert_int_eq(rejected(), 0);
    ck_assert_int_eq(with_handler(s, m, book, NULL), XONCE_DUPLICATE);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

static void *replay_all(void *arg)
{
    xo_spec spec = {.one = book};
    int found = 1;
    for (int i = 0; i < 200 && found; i++) {
        xo_item out;
        if (xo_replay_next(arg, NULL, &spec, &found, &out) != XONCE_OK)
            found = 1;
    }
    return NULL;
}

START_TEST(replays_of_many_at_once)
{
    enum { N = 40, THREADS = 4 };
    xonce_store *s = open_store("GID_a");
    for (int i = 0; i < N; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        xonce_message *m = message(id, "x");
        ck_assert_int_eq(with_handler(s, m, refuse, NULL), XONCE_REJECTED);
        xonce_message_free(m);
    }
    sql("UPDATE xonce_rejected SET replay_at = 1");
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, replay_all, s);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    ck_assert_int_eq(replay_all(s) == NULL, 1);
    ck_assert_int_eq(rejected(), 0);
    ck_assert_int_eq(orders(), N);
    ck_assert_int_eq(sql_int("SELECT COUNT(DISTINCT id) FROM orders"), N);
    xonce_store_close(s);
}
END_TEST

/* ---- sql.errors=judge ---- */

static xonce_verdict run_text(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)m;
    return xonce_exec_values(tx, arg, NULL, 0) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

START_TEST(data_errors_reject_parents_retry_setup_stops)
{
    xonce_store *s = open_store_with("GID_a", "sql.errors", "judge");
    sql("DROP TABLE orders");
    sql("CREATE TABLE parents (id integer PRIMARY KEY)");
    sql(on == ON_MYSQL ? "CREATE TABLE orders (id varchar(20) PRIMARY KEY, n integer NOT NULL, parent integer, FOREIGN KEY (parent) REFERENCES parents (id))"
                       : "CREATE TABLE orders (id varchar(20) PRIMARY KEY, n integer NOT NULL, parent integer REFERENCES parents (id))");
    sql("INSERT INTO orders (id, n) VALUES ('there', 1)");
    static const struct {
        const char *text;
        xonce_outcome want;
    } cases[] = {
        {"INSERT INTO orders (id, n) VALUES ('there', 2)", XONCE_REJECTED},
        {"INSERT INTO orders (id, n) VALUES ('a', NULL)", XONCE_REJECTED},
        {"INSERT INTO orders (id, n, parent) VALUES ('b', 1, 77)", XONCE_DEFERRED},
        {"INSERT INTO orders (id, n) VALUES ('c', 1)", XONCE_FRESH},
    };
    int64_t n = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%zu", i);
        xonce_message *m = message(id, "x");
        xonce_outcome what = with_handler(s, m, run_text, (void *)cases[i].text);
        ck_assert_msg(what == cases[i].want, "%s: %d", cases[i].text, what);
        n += what == XONCE_REJECTED;
        xonce_message_free(m);
    }
    ck_assert_int_eq(rejected(), n);
    xonce_message *m = message("m9", "x");
    xonce_outcome what = XONCE_FRESH;
    xonce_status st = xonce_once(s, m, run_text, "INSERT INTO no_such_table VALUES (1)", &what);
    ck_assert_int_ne(st, XONCE_OK); /* no message can succeed: told so, nothing acknowledged */
    ck_assert_int_eq(what, XONCE_DEFERRED);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "no_such_table"));
    xonce_message_free(m);
    sql("DROP TABLE orders");
    sql("DROP TABLE parents");
    xonce_store_close(s);
}
END_TEST

Suite *suite_rejects(void)
{
    Suite *s = suite_create("rejects");
    TCase *t = tcase_create("rejects");
    tcase_add_checked_fixture(t, fresh_database, NULL);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, a_rejected_message_is_kept_whole);
    tcase_add_test(t, attempts_are_used_up);
    tcase_add_test(t, replay_applies_and_deletes_in_one_transaction);
    tcase_add_test(t, replays_of_many_at_once);
    tcase_add_test(t, data_errors_reject_parents_retry_setup_stops);
    suite_add_tcase(s, t);
    return s;
}
