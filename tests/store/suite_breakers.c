/* Handlers that end the transaction unnoticed, in company: others fail, leave, or end it again. Nothing may pass for a duplicate that was not applied. */
#include "suite.h"
#include "base/failpoint.h"
#include "xonce/mysql.h"
#include "xonce/postgres.h"
#include "xonce/sqlite.h"

#include <stdio.h>
#include <sys/socket.h>

enum { N = 8 };

/* What the handler of each message does behind booking it. */
typedef struct {
    const char *native[N];  /* run through the native handle, errors and all */
    const char *queued[N];  /* given to xonce_exec */
    xonce_verdict say[N];
    int fails;              /* they do so in the first `fails` calls for a message only; 0: always */
    int calls[N];
    xonce_store *again;     /* whoever is to be looked at meanwhile */
} script;

static const char *commit_and_begin(void)
{
    return on == ON_SQLITE ? "COMMIT; BEGIN IMMEDIATE" : "COMMIT; BEGIN";
}

static const char *rollback_and_begin(void)
{
    return on == ON_SQLITE ? "ROLLBACK; BEGIN IMMEDIATE" : "ROLLBACK; BEGIN";
}

/* As end_transaction_natively(), but what fails may. */
static void run_lent(xonce_tx *tx, const char *text)
{
    if (on == ON_POSTGRES) {
        PGconn *c = xonce_tx_postgres(tx);
        if (c)
            PQclear(PQexec(c, text));
    } else if (on == ON_MYSQL) {
        MYSQL *c = xonce_tx_mysql(tx);
        char *copy = xo_strdup(text), *rest = NULL;
        for (char *one = strtok_r(copy, ";", &rest); c && one; one = strtok_r(NULL, ";", &rest))
            if (mysql_query(c, one) == 0)
                mysql_free_result(mysql_store_result(c));
        free(copy);
    } else {
        sqlite3 *c = xonce_tx_sqlite(tx);
        if (c)
            (void)sqlite3_exec(c, text, NULL, NULL, NULL);
    }
}

static int number_of(const xonce_message *m)
{
    return xonce_message_id(m)[1] - '0';
}

static xonce_verdict play(xonce_tx *tx, const xonce_message *m, void *arg)
{
    script *p = arg;
    int i = number_of(m), calm = p->fails && p->calls[i] >= p->fails;
    p->calls[i]++;
    if (book(tx, m, NULL) != XONCE_DONE)
        return XONCE_RETRY;
    if (p->native[i] && !calm)
        run_lent(tx, p->native[i]);
    if (p->queued[i] && !calm && xonce_exec_values(tx, p->queued[i], NULL, 0) != XONCE_OK)
        return XONCE_RETRY;
    return calm ? XONCE_DONE : p->say[i];
}

static xonce_verdict play_batch(xonce_tx *tx, xonce_batch *b, void *arg)
{
    script *p = arg;
    for (size_t k = 0; k < xonce_batch_count(b); k++) {
        const xonce_message *m = xonce_batch_at(b, k);
        int i = number_of(m);
        p->calls[i]++;
        book(tx, m, NULL);
        if (p->native[i])
            run_lent(tx, p->native[i]);
        if (p->say[i] == XONCE_REJECT)
            xonce_batch_reject(b, k, "marked");
        else if (p->say[i] == XONCE_RETRY)
            xonce_batch_retry(b, k, "marked");
    }
    return XONCE_DONE;
}

static void make(xo_item *items)
{
    memset(items, 0, N * sizeof *items);
    for (int i = 0; i < N; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        items[i].m = message(id, "x");
    }
}

static int64_t count_of(const char *table, const char *column, int i)
{
    char text[160];
    snprintf(text, sizeof text, "SELECT COUNT(*) FROM %s WHERE %s LIKE 'm%d%%'", table, column, i);
    return sql_int(text);
}

/* What was said about each must be true: FRESH is applied, REJECTED stands in the table; and what comes again is not taken for a duplicate unless it is applied or rejected. */
static void check_truth(xonce_store *s, xo_item *items)
{
    for (int i = 0; i < N; i++) {
        int64_t applied = count_of("orders", "id", i), kept = count_of("xonce_rejected", "message_id", i);
        ck_assert_int_le(applied, 1);
        ck_assert_msg(items[i].outcome != XONCE_FRESH || applied == 1, "m%d was said to be fresh and is not applied", i);
        ck_assert_msg(items[i].outcome != XONCE_REJECTED || kept == 1, "m%d was said to be rejected and is not kept", i);
        ck_assert_msg(items[i].outcome != XONCE_DUPLICATE, "m%d is no duplicate", i);
        xonce_outcome what = XONCE_DEFERRED;
        ck_assert_int_eq(xonce_once(s, items[i].m, book, NULL, &what), XONCE_OK);
        applied = count_of("orders", "id", i);
        kept = count_of("xonce_rejected", "message_id", i);
        ck_assert_msg(applied + kept >= 1, "m%d is lost: first outcome %d, then %d", i, items[i].outcome, what);
        ck_assert_int_le(applied, 1);
        xonce_message_free((xonce_message *)items[i].m);
    }
}

static void run_script(xonce_store *s, script *p, xo_item *items, int batch)
{
    xo_spec spec = {.one = batch ? NULL : play, .many = batch ? play_batch : NULL, .arg = p};
    make(items);
    ck_assert_msg(xo_run(s, items, N, &spec) == XONCE_OK, "%s", xonce_error_last()->text);
}

/* ---- alone ---- */

START_TEST(commit_and_then_no)
{
    xonce_store *s = open_store_with("GID_a", "attempts", "2");
    script p = {.native[0] = commit_and_begin()};
    switch (_i) {
    case 0: p.say[0] = XONCE_RETRY; break;
    case 1: p.say[0] = XONCE_REJECT; break;
    case 2: p.queued[0] = "INSERT INTO orders (id) VALUES (NULL)"; break;
    default: p.native[0] = on == ON_SQLITE ? "COMMIT; BEGIN IMMEDIATE; INSERT INTO orders (id) VALUES (NULL)" : "COMMIT; BEGIN; INSERT INTO orders (id) VALUES (NULL)"; break;
    }
    xonce_message *m = message("m0", "x");
    xonce_outcome what = XONCE_DEFERRED;
    ck_assert_int_eq(xonce_once(s, m, play, &p, &what), XONCE_OK);
    ck_assert_int_eq(what, XONCE_REJECTED);
    ck_assert_int_eq(rejected(), 1);
    ck_assert_int_eq(p.calls[0], 1);
    char *why = sql_text("SELECT reason FROM xonce_rejected");
    ck_assert_msg(strstr(why, on == ON_SQLITE ? "COMMIT" : "ended the transaction") != NULL, "%s", why);
    free(why);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

/* ---- in company ---- */

START_TEST(an_unnoticed_commit_and_others_that_leave)
{
    xonce_store *s = open_store("GID_a");
    xo_item items[N];
    script p = {.native[2] = commit_and_begin()};
    switch (_i) {
    case 0: p.say[5] = XONCE_RETRY; break;
    case 1: p.say[5] = XONCE_REJECT; break;
    case 2: p.queued[5] = "INSERT INTO orders (id) VALUES (NULL)"; break;
    case 3: p.say[1] = XONCE_REJECT; break;
    default: p.queued[2] = "INSERT INTO orders (id) VALUES (NULL)"; break;
    }
    run_script(s, &p, items, 0);
    ck_assert_int_eq(items[2].outcome, XONCE_REJECTED);
    check_truth(s, items);
    xonce_store_close(s);
}
END_TEST

START_TEST(one_commits_and_another_rolls_back)
{
    xonce_store *s = open_store("GID_a");
    xo_item items[N];
    script p = {.fails = _i / 3};
    static const int second[] = {3, 6, 7};
    p.native[1] = commit_and_begin();
    p.native[second[_i % 3]] = _i % 2 ? "ROLLBACK" : rollback_and_begin();
    run_script(s, &p, items, 0);
    check_truth(s, items);
    xonce_store_close(s);
}
END_TEST

/* What the first one opened the second one commits: those in between must not be in it. */
START_TEST(one_rolls_back_and_another_commits)
{
    xonce_store *s = open_store("GID_a");
    xo_item items[N];
    script p = {.fails = _i / 2};
    p.native[1] = rollback_and_begin();
    p.native[5] = _i % 2 ? "COMMIT" : commit_and_begin();
    run_script(s, &p, items, 0);
    for (int i = 2; i < 5; i++)
        ck_assert_msg(items[i].outcome == XONCE_FRESH || items[i].outcome == XONCE_REJECTED, "m%d: %d", i, items[i].outcome);
    check_truth(s, items);
    xonce_store_close(s);
}
END_TEST

START_TEST(the_one_at_fault_is_found)
{
    xonce_store *s = open_store("GID_a");
    xo_item items[N];
    script p = {.native = {"SELECT 1", "SELECT 1", "SELECT 1", NULL, "SELECT 1", NULL, "SELECT 1", "SELECT 1"}};
    p.native[3] = _i % 2 ? "COMMIT" : commit_and_begin();
    run_script(s, &p, items, 0);
    for (int i = 0; i < N; i++) {
        int passed = i < 3 || on == ON_SQLITE;
        ck_assert_msg(items[i].outcome == (i != 3 && passed ? XONCE_FRESH : XONCE_REJECTED), "m%d: %d %s", i, items[i].outcome, items[i].error.pub.text);
    }
    check_truth(s, items);
    xonce_store_close(s);
}
END_TEST

/* Handlers that only look, while others of the batch fail again and again, so that each gets a savepoint of its own: nobody ended anything. */
START_TEST(the_handle_is_lent_to_many_among_failures)
{
    xonce_store *s = open_store("GID_a");
    xo_item items[N];
    script p = {.native = {"SELECT 1", "SELECT 1", "SELECT 1", "SELECT 1", "SELECT 1", "SELECT 1", "SELECT 1", "SELECT 1"}};
    for (int i = 0; i < 6; i += 2)
        p.say[i] = XONCE_RETRY;
    run_script(s, &p, items, 0);
    for (int i = 0; i < N; i++)
        ck_assert_msg(items[i].outcome == (p.say[i] == XONCE_DONE ? XONCE_FRESH : XONCE_DEFERRED), "m%d: %d %s", i, items[i].outcome, items[i].error.pub.text);
    ck_assert_int_eq(rejected(), 0);
    ck_assert_int_eq(orders(), 5);
    check_truth(s, items);
    xonce_store_close(s);
}
END_TEST

static void cut(xonce_tx *tx)
{
    if (on == ON_POSTGRES)
        shutdown(PQsocket(xonce_tx_postgres(tx)), SHUT_RDWR);
    else
        shutdown((int)mysql_get_socket(xonce_tx_mysql(tx)), SHUT_RDWR);
}

static int cuts;

/* Commits, and the wire breaks before anybody sees it. */
static xonce_verdict commit_and_cut(xonce_tx *tx, const xonce_message *m, void *arg)
{
    int way = *(int *)arg;
    if (book(tx, m, NULL) != XONCE_DONE)
        return XONCE_RETRY;
    if (number_of(m) != 2 || cuts++)
        return XONCE_DONE;
    run_lent(tx, way ? "SELECT 1" : commit_and_begin());
    cut(tx);
    return XONCE_DONE;
}

/* The record that is found is the very one that we claimed: nobody else's, so no duplicate. */
START_TEST(a_commit_and_then_a_cut_wire)
{
    if (on == ON_SQLITE)
        return; /* which has no wire, and refuses the COMMIT */
    xonce_store *s = open_store("GID_a");
    int way = _i % 2, alone = _i / 2, n = alone ? 1 : N;
    xo_item items[N];
    xo_spec spec = {.one = commit_and_cut, .arg = &way};
    cuts = 0;
    make(items);
    ck_assert_msg(xo_run(s, items + (alone ? 2 : 0), (size_t)n, &spec) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_ge(cuts, 1);
    if (way) { /* nothing was committed: all of it again */
        for (int i = 0; i < N; i++)
            ck_assert((alone && i != 2) || items[i].outcome == XONCE_FRESH);
        ck_assert_int_eq(orders(), n);
        ck_assert_int_eq(rejected(), 0);
    } else {
        ck_assert_msg(items[2].outcome == XONCE_REJECTED, "%d", items[2].outcome);
        char *why = sql_text("SELECT reason FROM xonce_rejected WHERE message_id LIKE 'm2%'");
        ck_assert_msg(strstr(why, "committed the transaction before it broke off") != NULL, "%s", why);
        free(why);
        for (int i = 0; i < N && !alone; i++)
            ck_assert_msg(items[i].outcome != XONCE_DUPLICATE, "m%d", i);
    }
    for (int i = 0; i < N; i++)
        xonce_message_free((xonce_message *)items[i].m);
    xonce_store_close(s);
}
END_TEST

/* Rolls back, and another consumer applies the message before anybody looks. */
static xonce_verdict give_way(xonce_tx *tx, const xonce_message *m, void *arg)
{
    if (book(tx, m, NULL) != XONCE_DONE)
        return XONCE_RETRY;
    if (number_of(m) == 2 && !cuts++) {
        run_lent(tx, "ROLLBACK");
        ck_assert_int_eq(once(arg, "m2", "x"), XONCE_FRESH);
    }
    return XONCE_DONE;
}

/* The record that is found then is not ours: nothing is rejected that was applied. */
START_TEST(a_rollback_and_another_who_is_quick)
{
    xonce_store *s = open_store("GID_a"), *other = open_store("GID_a");
    int alone = _i, n = alone ? 1 : N;
    xo_item items[N];
    xo_spec spec = {.one = give_way, .arg = other};
    cuts = 0;
    make(items);
    ck_assert_msg(xo_run(s, items + (alone ? 2 : 0), (size_t)n, &spec) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_eq(rejected(), 0);
    ck_assert_int_eq(orders(), n);
    ck_assert_msg(items[2].outcome == XONCE_DEFERRED || items[2].outcome == XONCE_DUPLICATE, "%d %s", items[2].outcome, items[2].error.pub.text);
    for (int i = 0; i < N; i++) {
        ck_assert(alone || i == 2 || items[i].outcome == XONCE_FRESH);
        xonce_message_free((xonce_message *)items[i].m);
    }
    ck_assert_int_eq(once(s, "m2", "x"), XONCE_DUPLICATE);
    xonce_store_close(other);
    xonce_store_close(s);
}
END_TEST

START_TEST(many_that_roll_back)
{
    xonce_store *s = open_store("GID_a");
    xo_item items[N];
    script p = {.native[0] = "ROLLBACK", .native[3] = rollback_and_begin(), .native[4] = "ROLLBACK", .native[7] = rollback_and_begin()};
    run_script(s, &p, items, _i);
    for (int i = 0; i < N; i++)
        ck_assert_msg(items[i].outcome == (p.native[i] ? XONCE_DEFERRED : XONCE_FRESH), "m%d: %d", i, items[i].outcome);
    check_truth(s, items);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_batch_handler_marks_and_commits)
{
    xonce_store *s = open_store("GID_a");
    xo_item items[N];
    script p = {.native[4] = _i % 2 ? commit_and_begin() : "COMMIT"};
    p.say[2] = _i < 2 ? XONCE_REJECT : XONCE_RETRY;
    run_script(s, &p, items, 1);
    check_truth(s, items);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_failure_elsewhere_between_commit_and_the_verdict)
{
    static const char *const points[] = {"handled=error@3", "handled=error@5", "committing=error@1", "committed=error@1"};
    xonce_store *s = open_store("GID_a");
    xo_item items[N];
    script p = {.native[2] = commit_and_begin()};
    ck_assert_int_eq(xo_failpoints_load(points[_i]), XONCE_OK);
    run_script(s, &p, items, 0);
    xo_failpoints_load("");
    check_truth(s, items);
    xonce_store_close(s);
}
END_TEST

START_TEST(what_was_committed_is_kept_although_the_run_fails)
{
    xonce_store *s = open_store_with("GID_a", "sql.errors", "judge");
    xo_item items[N];
    script p = {.native[0] = "COMMIT", .queued[5] = "INSERT INTO no_such_table VALUES (1)"};
    xo_spec spec = {.one = play, .arg = &p};
    make(items);
    xonce_status st = xo_run(s, items, N, &spec);
    if (on == ON_SQLITE) /* its COMMIT is refused: all run again, and the missing table stops them */
        ck_assert_int_ne(st, XONCE_OK);
    check_truth(s, items);
    xonce_store_close(s);
}
END_TEST

/* In ordered mode too each of those whose record was committed has to be kept, not just held up. */
START_TEST(a_commit_in_a_lane)
{
    xonce_store *s = open_store("GID_a");
    xo_item items[N];
    script p = {.native[2] = _i ? commit_and_begin() : "COMMIT"};
    xo_spec spec = {.one = play, .arg = &p, .ordered = 1};
    make(items);
    for (int i = 0; i < N; i++)
        xonce_message_set_property((xonce_message *)items[i].m, "__SHARDINGKEY", i % 4 == 3 ? "b" : "a");
    ck_assert_int_eq(xo_run(s, items, N, &spec), XONCE_OK);
    if (on == ON_SQLITE)
        ck_assert_int_eq(items[4].outcome, XONCE_DEFERRED);
    check_truth(s, items);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_rollback_holds_up_its_lane)
{
    xonce_store *s = open_store("GID_a");
    xo_item items[N];
    script p = {.native[2] = _i ? rollback_and_begin() : "ROLLBACK"};
    xo_spec spec = {.one = play, .arg = &p, .ordered = 1};
    make(items);
    for (int i = 0; i < N; i++)
        xonce_message_set_property((xonce_message *)items[i].m, "__SHARDINGKEY", i % 4 == 3 ? "b" : "a");
    ck_assert_int_eq(xo_run(s, items, N, &spec), XONCE_OK);
    for (int i = 0; i < N; i++)
        ck_assert_msg(items[i].outcome == (i < 2 || i % 4 == 3 ? XONCE_FRESH : XONCE_DEFERRED), "m%d: %d", i, items[i].outcome);
    check_truth(s, items);
    xonce_store_close(s);
}
END_TEST

/* ---- the database is in trouble just then ---- */

typedef struct {
    int go, held, done;
} locker;

static void *hold_the_table(void *arg)
{
    locker *l = arg;
    PGconn *c = connect_native();
    for (int i = 0; i < 4000 && !__atomic_load_n(&l->go, __ATOMIC_SEQ_CST); i++)
        xo_pause_ms(2);
    run_native(c, "BEGIN");
    run_native(c, "LOCK TABLE transaction_record IN ACCESS EXCLUSIVE MODE");
    __atomic_store_n(&l->held, 1, __ATOMIC_SEQ_CST);
    xo_pause_ms(600); /* longer than the lock timeout of those who ask */
    run_native(c, "COMMIT");
    disconnect_native(c);
    return NULL;
}

static int table_is_held(void *arg)
{
    return __atomic_load_n(&((locker *)arg)->held, __ATOMIC_SEQ_CST);
}

static xonce_verdict commit_into_trouble(xonce_tx *tx, const xonce_message *m, void *arg)
{
    locker *l = arg;
    if (book(tx, m, NULL) != XONCE_DONE)
        return XONCE_RETRY;
    if (number_of(m) == 2 && !l->done) {
        l->done = 1;
        run_lent(tx, "COMMIT");
        __atomic_store_n(&l->go, 1, __ATOMIC_SEQ_CST);
        ck_assert(wait_until(table_is_held, l, 10000));
    }
    return XONCE_DONE;
}

START_TEST(records_that_cannot_be_asked_for_at_once)
{
    if (on != ON_POSTGRES)
        return; /* SQLite refuses the COMMIT, MySQL's table locks have no such short timeout */
    xonce_store *s = open_store_with("GID_a", "store.lock-timeout", "200ms");
    xo_item items[N];
    locker l = {0};
    xo_spec spec = {.one = commit_into_trouble, .arg = &l};
    pthread_t t;
    pthread_create(&t, NULL, hold_the_table, &l);
    make(items);
    ck_assert_int_eq(xo_run(s, items, N, &spec), XONCE_OK);
    pthread_join(t, NULL);
    check_truth(s, items);
    xonce_store_close(s);
}
END_TEST

/* ---- what is no breach ---- */

static xonce_verdict with_savepoints(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    if (xonce_exec(tx, "SAVEPOINT mine") != XONCE_OK)
        return XONCE_RETRY;
    xonce_exec(tx, "INSERT INTO orders (id) VALUES ('undone')");
    run_lent(tx, "SELECT 1");
    if (xonce_exec(tx, "ROLLBACK TO SAVEPOINT mine") != XONCE_OK || xonce_exec(tx, "/* mine */ RELEASE SAVEPOINT mine") != XONCE_OK)
        return XONCE_RETRY;
    run_lent(tx, "SAVEPOINT theirs");
    run_lent(tx, "INSERT INTO orders (id) VALUES ('undone')");
    run_lent(tx, "ROLLBACK TO SAVEPOINT theirs");
    return book(tx, m, NULL);
}

START_TEST(savepoints_of_a_handlers_own)
{
    xonce_store *s = open_store("GID_a");
    xo_item items[N];
    xo_spec spec = {.one = with_savepoints};
    make(items);
    ck_assert_int_eq(xo_run(s, items, N, &spec), XONCE_OK);
    for (int i = 0; i < N; i++)
        ck_assert_msg(items[i].outcome == XONCE_FRESH, "m%d: %d %s", i, items[i].outcome, items[i].error.pub.text);
    ck_assert_int_eq(orders(), N);
    check_truth(s, items);
    xonce_store_close(s);
}
END_TEST

Suite *suite_breakers(void)
{
    Suite *s = suite_create("breakers");
    TCase *t = tcase_create("breakers");
    tcase_add_checked_fixture(t, fresh_database, NULL);
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, commit_and_then_no, 0, 4);
    tcase_add_loop_test(t, an_unnoticed_commit_and_others_that_leave, 0, 5);
    tcase_add_loop_test(t, one_commits_and_another_rolls_back, 0, 6);
    tcase_add_loop_test(t, one_rolls_back_and_another_commits, 0, 4);
    tcase_add_loop_test(t, the_one_at_fault_is_found, 0, 2);
    tcase_add_test(t, the_handle_is_lent_to_many_among_failures);
    tcase_add_loop_test(t, a_commit_and_then_a_cut_wire, 0, 4);
    tcase_add_loop_test(t, a_rollback_and_another_who_is_quick, 0, 2);
    tcase_add_loop_test(t, many_that_roll_back, 0, 2);
    tcase_add_loop_test(t, a_batch_handler_marks_and_commits, 0, 4);
    tcase_add_loop_test(t, a_failure_elsewhere_between_commit_and_the_verdict, 0, 4);
    tcase_add_test(t, what_was_committed_is_kept_although_the_run_fails);
    tcase_add_loop_test(t, a_commit_in_a_lane, 0, 2);
    tcase_add_loop_test(t, a_rollback_holds_up_its_lane, 0, 2);
    tcase_add_test(t, records_that_cannot_be_asked_for_at_once);
    tcase_add_test(t, savepoints_of_a_handlers_own);
    suite_add_tcase(s, t);
    return s;
}
