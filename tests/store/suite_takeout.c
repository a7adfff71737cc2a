/* Bad messages among good ones: each leaves without its effects or its claim, or is rejected with its claim, and the others are applied once, whatever fails in between. */
#include "suite.h"
#include "base/failpoint.h"

#include <stdio.h>

enum { MOST = 64 };

static int calls;

/* A message's body says what its handler does. */
static xonce_verdict handle(xonce_tx *tx, const xonce_message *m, void *arg)
{
    char what[24];
    size_t n = 0;
    const char *body = xonce_message_body(m, &n);
    snprintf(what, sizeof what, "%.*s", (int)(n < sizeof what ? n : sizeof what - 1), body);
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
    if (strcmp(what, "null") == 0)
        return xonce_exec(tx, "INSERT INTO orders (id, body) VALUES ($1, $2)", xonce_null(), xonce_text("x")) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
    if (strcmp(what, "second") == 0) { /* its first statement is fine */
        book(tx, m, arg);
        return xonce_exec(tx, "INSERT INTO orders (id, body) VALUES ($1, $2)", xonce_null(), xonce_text("x")) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
    }
    if (strncmp(what, "sent", 4) == 0) {
        xonce_value v[] = {xonce_text(xonce_message_id(m))};
        if (xonce_exec_now(tx, "INSERT INTO orders (id, body) VALUES ($1, 'now')", v, 1, NULL) != XONCE_OK)
            return XONCE_RETRY;
        return strcmp(what, "sent-reject") == 0 ? XONCE_REJECT : XONCE_RETRY;
    }
    xonce_verdict v = book(tx, m, arg);
    if (strcmp(what, "reject") != 0)
        return strcmp(what, "retry") == 0 ? XONCE_RETRY : v;
    xonce_fail(tx, "not wanted");
    return XONCE_REJECT;
}

/* Runs messages id0.. with these bodies in one batch. Their outcomes, as letters. */
static const char *run_spec(xonce_store *s, const xo_spec *spec, const char *id, const char *const *bodies, size_t n, int attempt)
{
    static char said[MOST + 1];
    xo_item items[MOST];
    xonce_message *m[MOST];
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s%zu", id, i);
        m[i] = message(name, bodies[i] ? bodies[i] : "ok");
        m[i]->attempt = attempt;
        items[i].m = m[i];
    }
    calls = 0;
    xonce_status st = xo_run(s, items, n, spec);
    ck_assert_msg(st == XONCE_OK, "%s", xonce_error_last()->text);
    for (size_t i = 0; i < n; i++) {
        said[i] = items[i].outcome == XONCE_FRESH ? 'F' : items[i].outcome == XONCE_DUPLICATE ? 'D' : items[i].outcome == XONCE_REJECTED ? 'R' : '-';
        ck_assert_int_eq(items[i].error.pub.code != XONCE_OK, said[i] == 'R' || said[i] == '-');
        xonce_message_free(m[i]);
    }
    said[n] = 0;
    return said;
}

static const char *run_named(xonce_store *s, const char *id, const char *const *bodies, size_t n, int attempt)
{
    const xo_spec spec = {.one = handle};
    return run_spec(s, &spec, id, bodies, n, attempt);
}

#define RUN(s, id, ...) run_named(s, id, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), 1)

/* A first failure makes the next commits go in parts. */
static void make_trouble(xonce_store *s)
{
    ck_assert_str_eq(RUN(s, "first", "ok", "null", "ok"), "F-F");
    sql("DELETE FROM orders");
    sql("DELETE FROM transaction_record");
}

START_TEST(by_verdict_nobody_runs_twice)
{
    xonce_store *s = open_store("GID_a");
    ck_assert_str_eq(RUN(s, "m", "ok", "reject", "ok", "retry", "ok", "reject"), "FRF-FR");
    ck_assert_int_eq(calls, 6);
    ck_assert_int_eq(orders(), 3);
    ck_assert_int_eq(records(), 5); /* what is rejected is remembered, what is put off is not */
    ck_assert_int_eq(rejected(), 2);
    char *why = sql_text("SELECT reason FROM xonce_rejected WHERE message_id LIKE '%' ORDER BY id LIMIT 1");
    ck_assert_str_eq(why, "not wanted");
    free(why);
    ck_assert_str_eq(RUN(s, "m", "ok", "ok", "ok", "ok", "ok", "ok"), "DFDFDF"); /* other bodies under the ids of the rejected: other messages */
    xonce_store_close(s);
}
END_TEST

/* The same once more, as a broker would bring them. */
START_TEST(what_was_rejected_is_a_duplicate)
{
    xonce_store *s = open_store("GID_a");
    ck_assert_str_eq(RUN(s, "m", "reject", "ok", "retry", "null"), "RF--");
    ck_assert_str_eq(RUN(s, "m", "reject", "ok", "retry", "null"), "DD--");
    ck_assert_int_eq(rejected(), 1);
    ck_assert_int_eq(orders(), 1);
    ck_assert_int_eq(records(), 2);
    xonce_store_close(s);
}
END_TEST

START_TEST(what_was_sent_is_undone)
{
    xonce_store *s = open_store("GID_a");
    ck_assert_str_eq(RUN(s, "m", "ok", "sent-reject", "ok", "sent-retry", "ok"), "FRF-F");
    ck_assert_int_eq(orders(), 3);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM orders WHERE body = 'now'"), 0);
    ck_assert_int_eq(records(), 4);
    ck_assert_int_eq(rejected(), 1);
    xonce_store_close(s);
}
END_TEST

START_TEST(by_statement_nobody_runs_twice)
{
    xonce_store *s = open_store("GID_a");
    make_trouble(s);
    ck_assert_str_eq(RUN(s, "m", "ok", "null", "ok", NULL, NULL, "null", NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                         NULL, NULL, NULL, NULL, NULL, "null"),
                     "F-FFF-FFFFFFFFFFFFFFFFFFFFFFFFF-");
    ck_assert_int_eq(calls, 32);
    ck_assert_int_eq(orders(), 29);
    ck_assert_int_eq(records(), 29);
    ck_assert_int_eq(rejected(), 0);
    ck_assert_str_eq(RUN(s, "m", "ok", "null", "ok"), "D-D");
    xonce_store_close(s);
}
END_TEST

/* More than leave one transaction, at its beginning and its end, and side by side. */
START_TEST(many_at_once)
{
    const char *bodies[MOST];
    char said[MOST + 1] = {0};
    int good = 0;
    xonce_store *s = open_store("GID_a");
    make_trouble(s);
    for (int i = 0; i < MOST; i++) {
        int bad = _i ? i % 2 == 0 : i < 10 || i > 50;
        bodies[i] = bad ? "null" : "ok";
        said[i] = bad ? '-' : 'F';
        good += !bad;
    }
    ck_assert_str_eq(run_named(s, "m", bodies, MOST, 1), said);
    ck_assert_int_eq(orders(), good);
    ck_assert_int_eq(records(), good);
    xonce_store_close(s);
}
END_TEST

START_TEST(nothing_but_bad_ones)
{
    xonce_store *s = open_store("GID_a");
    make_trouble(s);
    ck_assert_str_eq(RUN(s, "m", "null", "null", "retry", "null"), "----");
    ck_assert_str_eq(RUN(s, "n", "reject", "null", "reject"), "R-R");
    ck_assert_int_eq(orders(), 0);
    ck_assert_int_eq(records(), 2);
    ck_assert_int_eq(rejected(), 2);
    xonce_store_close(s);
}
END_TEST

/* A statement of the message stands when the next one fails. */
START_TEST(half_of_a_message_does_not_stay)
{
    xonce_store *s = open_store("GID_a");
    make_trouble(s);
    ck_assert_str_eq(RUN(s, "m", "ok", "second", "ok", "second"), "F-F-");
    ck_assert_int_eq(orders(), 2);
    ck_assert_int_eq(records(), 2);
    xonce_store_close(s);
}
END_TEST

START_TEST(deliveries_used_up)
{
    xonce_store *s = open_store_with("GID_a", "attempts", "3");
    make_trouble(s);
    static const char *const bodies[] = {"ok", "null", "retry", "ok"};
    ck_assert_str_eq(run_named(s, "m", bodies, 4, 2), "F--F");
    ck_assert_str_eq(run_named(s, "m", bodies, 4, 3), "DRRD");
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_rejected WHERE reason LIKE 'delivery 3 of at most 3 failed%'"), 2);
    ck_assert_int_eq(orders(), 2);
    ck_assert_int_eq(records(), 4);
    xonce_store_close(s);
}
END_TEST

START_TEST(the_database_judges)
{
    xonce_store *s = open_store_with("GID_a", "sql.errors", "judge");
    ck_assert_str_eq(RUN(s, "first", "ok", "null", "ok"), "FRF");
    ck_assert_str_eq(RUN(s, "m", "ok", "null", "ok", "null"), "FRFR");
    ck_assert_int_eq(calls, 4);
    ck_assert_int_eq(orders(), 4);
    ck_assert_int_eq(records(), 7);
    ck_assert_int_eq(rejected(), 3);
    xonce_store_close(s);
}
END_TEST

/* Its row in xonce_rejected is there although its record was pruned, or the table takes it only in another form: written apart. */
START_TEST(a_row_that_cannot_be_written_along)
{
    xonce_store *s = open_store("GID_a");
    ck_assert_str_eq(RUN(s, "m", "reject"), "R");
    sql("DELETE FROM transaction_record");
    ck_assert_str_eq(RUN(s, "m", "reject", "ok", "ok", "reject"), "RFFR");
    ck_assert_int_eq(orders(), 2);
    ck_assert_int_eq(records(), 4);
    ck_assert_int_eq(rejected(), 2);
    xonce_store_close(s);
}
END_TEST

/* Nobody knows whether the transaction with the rejected one was committed: it was, or not, and either way it is rejected once. */
static const char *const breaks[] = {"commit-sent=error@1", "committed=error@1", "committing=error@1", "handled=error@3"};

START_TEST(broken_off_with_a_rejected_one)
{
    xonce_store *s = open_store("GID_a");
    ck_assert_int_eq(xo_failpoints_load(breaks[_i]), XONCE_OK);
    ck_assert_str_eq(RUN(s, "m", "ok", "reject", "ok", "retry"), "FRF-");
    xo_failpoints_load("");
    ck_assert_int_eq(orders(), 2);
    ck_assert_int_eq(records(), 3);
    ck_assert_int_eq(rejected(), 1);
    xonce_store_close(s);
}
END_TEST

/* Rejected at first, wanted when it is run again. */
static xonce_verdict changes_its_mind(xonce_tx *tx, const xonce_message *m, void *arg)
{
    if (strcmp(xonce_message_id(m), "m1") == 0 && !*(int *)arg) {
        *(int *)arg = 1;
        return XONCE_REJECT;
    }
    return book(tx, m, NULL);
}

START_TEST(a_verdict_that_changes)
{
    int asked = 0;
    xonce_store *s = open_store("GID_a");
    xo_item items[3] = {0};
    xonce_message *m[3] = {message("m0", "x"), message("m1", "x"), message("m2", "x")};
    xo_spec spec = {.one = changes_its_mind, .arg = &asked};
    for (int i = 0; i < 3; i++)
        items[i].m = m[i];
    ck_assert_int_eq(xo_failpoints_load("committing=error@1"), XONCE_OK);
    ck_assert_int_eq(xo_run(s, items, 3, &spec), XONCE_OK);
    xo_failpoints_load("");
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(items[i].outcome, XONCE_FRESH);
        ck_assert_int_eq(items[i].error.pub.code, XONCE_OK);
        ck_assert_int_eq(items[i].failed_run, 0);
        xonce_message_free(m[i]);
    }
    ck_assert_int_eq(orders(), 3);
    ck_assert_int_eq(rejected(), 0);
    xonce_store_close(s);
}
END_TEST

/* Of a batch handler's statements nobody knows which message's they are. */
static xonce_verdict all_at_once(xonce_tx *tx, xonce_batch *b, void *arg)
{
    for (size_t i = 0; i < xonce_batch_count(b); i++)
        handle(tx, xonce_batch_at(b, i), arg);
    return XONCE_DONE;
}

START_TEST(a_batch_handler_is_run_again)
{
    static const char *const bodies[] = {"ok", "ok", "null", "ok"};
    xonce_store *s = open_store("GID_a");
    make_trouble(s);
    const xo_spec spec = {.many = all_at_once};
    ck_assert_str_eq(run_spec(s, &spec, "m", bodies, 4, 1), "FF-F");
    ck_assert_int_eq(orders(), 3);
    ck_assert_int_eq(records(), 3);
    xonce_store_close(s);
}
END_TEST

/* Another message under the id of the one that leaves: its key is free again, and the next delivery of the other must meet it there. */
START_TEST(its_id_is_lent_to_another)
{
    xonce_store *s = open_store("GID_a");
    make_trouble(s);
    xonce_message *m[3] = {message("x", _i ? "retry" : "null"), message("x", "ok"), message("y", "ok")};
    xo_item items[3] = {0};
    xo_spec spec = {.one = handle};
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++)
            items[i].m = m[i];
        ck_assert_int_eq(xo_run(s, round ? items + 1 : items, round ? 2 : 3, &spec), XONCE_OK);
        ck_assert_int_eq(items[1].outcome, round ? XONCE_DUPLICATE : XONCE_FRESH);
        ck_assert_int_eq(items[2].outcome, round ? XONCE_DUPLICATE : XONCE_FRESH);
    }
    ck_assert_int_eq(items[0].outcome, XONCE_DEFERRED);
    ck_assert_int_eq(orders(), 2);
    ck_assert_int_eq(records(), 2);
    for (int i = 0; i < 3; i++)
        xonce_message_free(m[i]);
    xonce_store_close(s);
}
END_TEST

/* A handler that commits what stood before it, a rejected one among that, and one that was put off. */
static xonce_verdict commits(xonce_tx *tx, const xonce_message *m, void *arg)
{
    if (strcmp(xonce_message_id(m), "m2") == 0)
        end_transaction_natively(tx, "COMMIT");
    return handle(tx, m, arg);
}

START_TEST(behind_it_a_handler_commits)
{
    static const char *const bodies[] = {"reject", "retry", "ok", "ok"};
    if (on == ON_SQLITE)
        return; /* takes no COMMIT but ours */
    xonce_store *s = open_store("GID_a");
    const xo_spec spec = {.one = commits};
    const char *said = run_spec(s, &spec, "m", bodies, 4, 1);
    ck_assert_int_eq(said[0], 'R');
    ck_assert_int_eq(said[1] == '-' || said[1] == 'R', 1);
    /* none has a record without effects but those in xonce_rejected */
    ck_assert_int_eq(records(), orders() + rejected());
    xonce_store_close(s);
}
END_TEST

/* Takes longer than the store lets a handler, and its connection is gone then. */
static xonce_verdict slow(xonce_tx *tx, const xonce_message *m, void *arg)
{
    size_t n = 0;
    ck_assert_int_eq(xo_failpoints_load(""), XONCE_OK);
    if (strcmp(xonce_message_body(m, &n), "slow") == 0) {
        xo_pause_ms(60);
        ck_assert_int_eq(xo_failpoints_load("handled=error@1"), XONCE_OK);
    }
    return handle(tx, m, arg);
}

START_TEST(a_handler_that_takes_too_long)
{
    static const char *const bodies[] = {"ok", "slow", "ok", "ok"};
    static const xo_spec spec = {.one = slow}, lane = {.one = slow, .ordered = 1};
    xonce_store *s = open_store("GID_a");
    s->handler_ms = 30;
    ck_assert_str_eq(run_spec(s, &spec, "m", bodies, 4, 1), "F-FF"); /* an attempt, no outage */
    ck_assert_int_eq(calls, 2 + 1 + 2 + 2); /* a batch is lost with it, then each goes alone, and it twice */
    ck_assert_str_eq(run_spec(s, &spec, "m", bodies, 4, 16), "DRDD");
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_rejected WHERE reason LIKE '%took longer than handler.timeout (30ms) 2 times%'"), 1);
    ck_assert_str_eq(run_spec(s, &lane, "n", bodies, 4, 1), "F---"); /* those behind it wait */
    s->tries = 1; /* few are enough to tell */
    ck_assert_str_eq(run_spec(s, &spec, "p", (const char *const[]){"slow"}, 1, 1), "-");
    ck_assert_str_eq(run_spec(s, &spec, "p", (const char *const[]){"slow"}, 1, 16), "R");
    s->handler_ms = 60000;
    xonce_message *m = message("o", "slow");
    xo_item item = {.m = m};
    ck_assert_int_eq(xo_run(s, &item, 1, &spec), XONCE_E_CONNECT); /* in time: that is an outage */
    ck_assert_int_eq(item.failed_run, 0);
    xonce_message_free(m);
    ck_assert_int_eq(xo_failpoints_load(""), XONCE_OK);
    ck_assert_int_eq(orders(), 4);
    ck_assert_int_eq(records(), 6);
    xonce_store_close(s);
}
END_TEST

Suite *suite_takeout(void)
{
    Suite *s = suite_create("takeout");
    TCase *t = tcase_create("takeout");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, fresh_database, NULL);
    tcase_add_test(t, by_verdict_nobody_runs_twice);
    tcase_add_test(t, what_was_rejected_is_a_duplicate);
    tcase_add_test(t, what_was_sent_is_undone);
    tcase_add_test(t, by_statement_nobody_runs_twice);
    tcase_add_loop_test(t, many_at_once, 0, 2);
    tcase_add_test(t, nothing_but_bad_ones);
    tcase_add_test(t, half_of_a_message_does_not_stay);
    tcase_add_test(t, deliveries_used_up);
    tcase_add_test(t, the_database_judges);
    tcase_add_test(t, a_row_that_cannot_be_written_along);
    tcase_add_loop_test(t, broken_off_with_a_rejected_one, 0, sizeof breaks / sizeof *breaks);
    tcase_add_test(t, a_verdict_that_changes);
    tcase_add_test(t, a_batch_handler_is_run_again);
    tcase_add_loop_test(t, its_id_is_lent_to_another, 0, 2);
    tcase_add_test(t, behind_it_a_handler_commits);
    tcase_add_test(t, a_handler_that_takes_too_long);
    suite_add_tcase(s, t);
    return s;
}
