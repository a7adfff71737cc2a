/* Batches: one transaction for many, and what a bad message does to the others. */
#include "suite.h"

#include <stdio.h>

typedef struct {
    int calls;            /* of the handler */
    const char *bad;      /* id of the message at fault, NULL for none */
    int how;              /* see fail_one */
} plan;

static int is(const xonce_message *m, const char *id)
{
    return id && strcmp(xonce_message_id(m), id) == 0;
}

static void make(xonce_message **m, size_t n, const char *prefix)
{
    for (size_t i = 0; i < n; i++) {
        char id[32];
        snprintf(id, sizeof id, "%s%04zu", prefix, i);
        m[i] = message(id, "x");
    }
}

static void drop(xonce_message **m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        xonce_message_free(m[i]);
}

static xonce_status run_one_by_one(xonce_store *s, xonce_message **m, size_t n, xonce_handler fn, void *arg, xo_item *items)
{
    xo_spec spec = {.one = fn, .arg = arg};
    for (size_t i = 0; i < n; i++)
        items[i].m = m[i];
    return xo_run(s, items, n, &spec);
}

static xonce_verdict book_all(xonce_tx *tx, xonce_batch *b, void *arg)
{
    plan *p = arg;
    p->calls++;
    for (size_t i = 0; i < xonce_batch_count(b); i++)
        book(tx, xonce_batch_at(b, i), NULL);
    return XONCE_DONE;
}

START_TEST(duplicates_inside_and_before)
{
    xonce_store *s = open_store("GID_a");
    once(s, "b0001", "x");
    xonce_message *m[8];
    make(m, 5, "b");
    m[5] = message("b0002", "x");
    m[6] = message("b0002", "x");
    m[7] = message("b0003", "another body");
    xonce_outcome what[8];
    plan p = {0};
    ck_assert_int_eq(xonce_once_batch(s, (const xonce_message *const *)m, 8, book_all, &p, what), XONCE_OK);
    static const xonce_outcome want[8] = {XONCE_FRESH, XONCE_DUPLICATE, XONCE_FRESH, XONCE_FRESH, XONCE_FRESH, XONCE_DUPLICATE, XONCE_DUPLICATE, XONCE_FRESH};
    for (int i = 0; i < 8; i++)
        ck_assert_msg(what[i] == want[i], "message %d: %d", i, what[i]);
    ck_assert_int_eq(orders(), 6);
    ck_assert_int_eq(records(), 6);
    ck_assert_int_eq(p.calls, 1);
    drop(m, 8);
    xonce_store_close(s);
}
END_TEST

START_TEST(delivery_order_is_kept)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *m[40];
    xo_item items[40] = {0};
    for (int i = 0; i < 40; i++) {
        char id[32];
        snprintf(id, sizeof id, "z%04d", 40 - i); /* ids run against the delivery order */
        m[i] = message(id, "x");
    }
    sql("DROP TABLE orders");
    sql(on == ON_MYSQL      ? "CREATE TABLE orders (n bigint AUTO_INCREMENT PRIMARY KEY, id varchar(200), body varchar(100))"
        : on == ON_POSTGRES ? "CREATE TABLE orders (n bigserial PRIMARY KEY, id varchar(200), body varchar(100))"
                            : "CREATE TABLE orders (n integer PRIMARY KEY, id varchar(200), body varchar(100))");
    ck_assert_int_eq(run_one_by_one(s, m, 40, book, NULL, items), XONCE_OK);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM orders a JOIN orders b ON b.n = a.n + 1 WHERE a.id > b.id"), 39);
    drop(m, 40);
    xonce_store_close(s);
}
END_TEST

/* The one at fault fails in one of several ways. */
static xonce_verdict fail_one(xonce_tx *tx, const xonce_message *m, void *arg)
{
    plan *p = arg;
    p->calls++;
    xonce_verdict v = book(tx, m, NULL);
    if (!is(m, p->bad))
        return v;
    switch (p->how) {
    case 0:
        return XONCE_RETRY;
    case 1:
        xonce_fail(tx, "it is %s", "no good");
        return XONCE_REJECT;
    case 2: /* a queued statement that will fail */
        xonce_exec(tx, "INSERT INTO orders (id, body) VALUES ($1, $2)", xonce_null(), xonce_text("null id"));
        return XONCE_DONE;
    default: /* one that fails at once */
        if (xonce_exec_now(tx, "INSERT INTO no_such_table VALUES (1)", NULL, 0, NULL) == XONCE_OK)
            return XONCE_DONE;
        return XONCE_RETRY;
    }
}

START_TEST(a_bad_message_takes_its_claim_with_it)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *m[32];
    make(m, 32, "b");
    xo_item items[32] = {0};
    plan p = {.bad = "b0017", .how = _i};
    ck_assert_int_eq(run_one_by_one(s, m, 32, fail_one, &p, items), XONCE_OK);
    for (int i = 0; i < 32; i++)
        ck_assert_msg(items[i].outcome == (i != 17 ? XONCE_FRESH : _i == 1 ? XONCE_REJECTED : XONCE_DEFERRED), "message %d: %d %s", i,
                      items[i].outcome, items[i].error.pub.text);
    ck_assert_int_eq(orders(), 31);
    ck_assert_int_eq(records(), _i == 1 ? 32 : 31);
    ck_assert_int_eq(rejected(), _i == 1);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM orders WHERE id = 'b0017'"), 0);
    ck_assert(items[17].failed_run);
    ck_assert_int_gt((int)strlen(items[17].error.pub.text), 0);
    /* it comes again, well this time */
    plan good = {0};
    xo_item again = {.m = m[17]};
    xo_spec spec = {.one = fail_one, .arg = &good};
    ck_assert_int_eq(xo_run(s, &again, 1, &spec), XONCE_OK);
    ck_assert_int_eq(again.outcome, _i == 1 ? XONCE_DUPLICATE : XONCE_FRESH);
    drop(m, 32);
    xonce_store_close(s);
}
END_TEST

START_TEST(many_bad_messages)
{
    xonce_store *s = open_store("GID_a");
    sql("DROP TABLE orders");
    sql("CREATE TABLE orders (id varchar(200) NOT NULL PRIMARY KEY, body varchar(2000), seq integer)");
    for (int i = 0; i < 64; i += 5) {
        char text[100];
        snprintf(text, sizeof text, "INSERT INTO orders (id, body) VALUES ('b%04d', 'in the way')", i);
        sql(text);
    }
    xonce_message *m[64];
    make(m, 64, "b");
    xo_item items[64] = {0};
    ck_assert_int_eq(run_one_by_one(s, m, 64, book, NULL, items), XONCE_OK);
    for (int i = 0; i < 64; i++)
        ck_assert_int_eq(items[i].outcome, i % 5 ? XONCE_FRESH : XONCE_DEFERRED);
    ck_assert_int_eq(orders(), 64);
    ck_assert_int_eq(records(), 51);
    drop(m, 64);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_twin_takes_its_twins_outcome)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *m[4];
    make(m, 3, "b");
    m[3] = message("b0001", "x");
    xo_item items[4] = {0};
    plan p = {.bad = "b0001", .how = 0};
    ck_assert_int_eq(run_one_by_one(s, m, 4, fail_one, &p, items), XONCE_OK);
    ck_assert_int_eq(items[1].outcome, XONCE_DEFERRED);
    ck_assert_int_eq(items[3].outcome, XONCE_DEFERRED);
    ck_assert_int_eq(orders(), 2);
    p.how = 1;
    ck_assert_int_eq(run_one_by_one(s, m, 4, fail_one, &p, items), XONCE_OK);
    ck_assert_int_eq(items[1].outcome, XONCE_REJECTED);
    ck_assert_int_eq(items[3].outcome, XONCE_DUPLICATE);
    ck_assert_int_eq(items[3].error.pub.code, XONCE_OK);
    ck_assert_int_eq(rejected(), 1);
    drop(m, 4);
    xonce_store_close(s);
}
END_TEST

/* A batch handler that marks, or fails without saying who. */
static xonce_verdict batch_with_bad(xonce_tx *tx, xonce_batch *b, void *arg)
{
    plan *p = arg;
    p->calls++;
    for (size_t i = 0; i < xonce_batch_count(b); i++) {
        const xonce_message *m = xonce_batch_at(b, i);
        if (is(m, p->bad) && p->how == 0)
            xonce_batch_reject(b, i, "marked");
        else if (is(m, p->bad) && p->how == 1)
            xonce_batch_retry(b, i, "later");
        else if (is(m, p->bad) && p->how == 2)
            xonce_exec(tx, "INSERT INTO orders (id) VALUES ($1)", xonce_null());
        else if (is(m, p->bad))
            return XONCE_RETRY;
        else
            book(tx, m, NULL);
    }
    return XONCE_DONE;
}

START_TEST(a_batch_handler_finds_the_bad_one)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *m[20];
    make(m, 20, "b");
    xonce_outcome what[20];
    plan p = {.bad = "b0013", .how = _i};
    ck_assert_msg(xonce_once_batch(s, (const xonce_message *const *)m, 20, batch_with_bad, &p, what) == XONCE_OK, "%s", xonce_error_last()->text);
    for (int i = 0; i < 20; i++)
        ck_assert_msg(what[i] == (i != 13 ? XONCE_FRESH : _i == 0 ? XONCE_REJECTED : XONCE_DEFERRED), "message %d: %d", i, what[i]);
    ck_assert_int_eq(orders(), 19);
    ck_assert_int_eq(records(), _i == 0 ? 20 : 19);
    ck_assert_int_eq(rejected(), _i == 0);
    ck_assert_int_lt(p.calls, 14); /* halves, not one by one */
    drop(m, 20);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_commit_refused_by_a_deferred_constraint)
{
    if (on == ON_MYSQL)
        return; /* has no deferred constraints */
    xonce_store *s = open_store("GID_a");
    sql("DROP TABLE orders");
    sql("CREATE TABLE parents (id varchar(200) PRIMARY KEY)");
    sql("CREATE TABLE orders (id varchar(200) REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED, body varchar(100), seq integer)");
    for (int i = 0; i < 10; i++) {
        char text[100];
        snprintf(text, sizeof text, "INSERT INTO parents VALUES ('b%04d')", i);
        if (i != 4)
            sql(text);
    }
    xonce_message *m[10];
    make(m, 10, "b");
    xo_item items[10] = {0};
    ck_assert_int_eq(run_one_by_one(s, m, 10, book, NULL, items), XONCE_OK);
    for (int i = 0; i < 10; i++)
        ck_assert_msg(items[i].outcome == (i != 4 ? XONCE_FRESH : XONCE_DEFERRED), "message %d: %d", i, items[i].outcome);
    ck_assert_int_eq(orders(), 9);
    ck_assert_int_eq(records(), 9);
    sql("INSERT INTO parents VALUES ('b0004')"); /* the parent arrives, the message comes again */
    ck_assert_int_eq(run_one_by_one(s, m + 4, 1, book, NULL, items), XONCE_OK);
    ck_assert_int_eq(items[0].outcome, XONCE_FRESH);
    drop(m, 10);
    sql("DROP TABLE orders");
    sql("DROP TABLE parents");
    xonce_store_close(s);
}
END_TEST

START_TEST(in_ordered_mode_nothing_passes)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *m[12];
    make(m, 12, "b");
    xo_item items[12];
    memset(items, 0, sizeof items);
    for (int i = 0; i < 12; i++) {
        xonce_message_set_property(m[i], "__SHARDINGKEY", i % 2 ? "odd" : "even");
        items[i].m = m[i];
    }
    plan p = {.bad = "b0004", .how = 0};
    xo_spec spec = {.one = fail_one, .arg = &p, .ordered = 1};
    ck_assert_int_eq(xo_run(s, items, 12, &spec), XONCE_OK);
    for (int i = 0; i < 12; i++)
        ck_assert_msg(items[i].outcome == (i % 2 || i < 4 ? XONCE_FRESH : XONCE_DEFERRED), "message %d: %d", i, items[i].outcome);
    ck_assert_int_eq(orders(), 8);
    ck_assert_int_eq(records(), 8);
    ck_assert(!items[6].failed_run); /* it did not fail, it waited */
    drop(m, 12);
    xonce_store_close(s);
}
END_TEST

START_TEST(no_dedup_is_at_least_once)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *m[3];
    make(m, 3, "b");
    xo_item items[3] = {{.m = m[0]}, {.m = m[1]}, {.m = m[2]}};
    xo_spec spec = {.one = book, .no_dedup = 1};
    ck_assert_int_eq(xo_run(s, items, 3, &spec), XONCE_OK);
    ck_assert_int_eq(xo_run(s, items, 3, &spec), XONCE_OK);
    ck_assert_int_eq(orders(), 6);
    ck_assert_int_eq(records(), 0);
    drop(m, 3);
    xonce_store_close(s);
}
END_TEST

Suite *suite_batches(void)
{
    Suite *s = suite_create("batches");
    TCase *t = tcase_create("batches");
    tcase_add_checked_fixture(t, fresh_database, NULL);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, duplicates_inside_and_before);
    tcase_add_test(t, delivery_order_is_kept);
    tcase_add_loop_test(t, a_bad_message_takes_its_claim_with_it, 0, 4);
    tcase_add_test(t, many_bad_messages);
    tcase_add_test(t, a_twin_takes_its_twins_outcome);
    tcase_add_loop_test(t, a_batch_handler_finds_the_bad_one, 0, 4);
    tcase_add_test(t, a_commit_refused_by_a_deferred_constraint);
    tcase_add_test(t, in_ordered_mode_nothing_passes);
    tcase_add_test(t, no_dedup_is_at_least_once);
    suite_add_tcase(s, t);
    return s;
}
