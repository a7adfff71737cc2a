/* Claims: what is a duplicate, and what is not. */
#include "suite.h"

#include <stdio.h>

START_TEST(first_is_fresh_second_is_duplicate)
{
    xonce_store *s = open_store("GID_a");
    ck_assert_int_eq(once(s, "m1", "one"), XONCE_FRESH);
    ck_assert_int_eq(once(s, "m1", "one"), XONCE_DUPLICATE);
    ck_assert_int_eq(orders(), 1);
    ck_assert_int_eq(records(), 1);
    xonce_store_close(s);
}
END_TEST

START_TEST(two_groups_on_one_table)
{
    xonce_store *a = open_store("GID_a"), *b = NULL;
    ck_assert_int_eq(xonce_store_for_group(&b, a, "GID_b"), XONCE_OK);
    ck_assert_int_eq(once(a, "m1", "one"), XONCE_FRESH);
    ck_assert_int_eq(once(b, "m1", "one"), XONCE_FRESH);
    ck_assert_int_eq(once(a, "m1", "one"), XONCE_DUPLICATE);
    ck_assert_int_eq(once(b, "m1", "one"), XONCE_DUPLICATE);
    ck_assert_int_eq(orders(), 2);
    xonce_store_close(b);
    xonce_store_close(a);
}
END_TEST

START_TEST(ids_are_bytes)
{
    static const char *const ids[] = {"order-Ab", "order-aB", "order-Áb", "order-Ab ", "order-Ab  ", "order-Ab\t", "ordeR-Ab", "order-Ab\xcc\x81", " order-Ab"};
    xonce_store *s = open_store("GID_a");
    size_t n = sizeof ids / sizeof *ids;
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < n; i++)
            ck_assert_int_eq(once(s, ids[i], "x"), round ? XONCE_DUPLICATE : XONCE_FRESH);
    ck_assert_int_eq(orders(), (int64_t)n);
    xonce_store_close(s);
}
END_TEST

START_TEST(long_and_hostile_ids)
{
    xonce_store *s = open_store("GID_a");
    char a[601], b[601];
    memset(a, 'x', sizeof a);
    memset(b, 'x', sizeof b);
    a[600] = b[600] = 0;
    b[599] = 'y';
    const char *ids[] = {a, b, "'; DROP TABLE orders; --", "k\xf0\x9f\x98\x80", "k?", "%s%n", "\\", "a#b", "a#b#GID_a", "\x01\x02", "sha256:0"};
    size_t n = sizeof ids / sizeof *ids;
    /* the business table is narrower than these ids on purpose elsewhere; here only the record counts */
    sql("DROP TABLE orders");
    sql("CREATE TABLE orders (id varchar(700), body varchar(100), seq integer)");
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < n; i++)
            ck_assert_msg(once(s, ids[i], "x") == (round ? XONCE_DUPLICATE : XONCE_FRESH), "id %zu, round %d", i, round);
    ck_assert_int_eq(orders(), (int64_t)n);
    xonce_store_close(s);
}
END_TEST

START_TEST(same_id_other_body_is_another_message)
{
    xonce_store *s = open_store("GID_a");
    ck_assert_int_eq(once(s, "m1", "one"), XONCE_FRESH);
    ck_assert_int_eq(once(s, "m1", "two"), XONCE_FRESH);
    ck_assert_int_eq(once(s, "m1", "one"), XONCE_DUPLICATE);
    ck_assert_int_eq(once(s, "m1", "two"), XONCE_DUPLICATE);
    ck_assert_int_eq(orders(), 2);
    xonce_store_close(s);
}
END_TEST

START_TEST(collisions_can_be_rejected)
{
    xonce_store *s = open_store_with("GID_a", "collision", "reject");
    ck_assert_int_eq(once(s, "m1", "one"), XONCE_FRESH);
    ck_assert_int_eq(once(s, "m1", "two"), XONCE_REJECTED);
    ck_assert_int_eq(once(s, "m1", "two"), XONCE_DUPLICATE);
    ck_assert_int_eq(orders(), 1);
    ck_assert_int_eq(rejected(), 1);
    xonce_store_close(s);
}
END_TEST

START_TEST(seen_tells_when)
{
    xonce_store *s = open_store("GID_a");
    int64_t when = 0, before = xo_now_ms();
    ck_assert_int_eq(xonce_store_seen(s, "m1", &when), XONCE_E_NOT_FOUND);
    once(s, "m1", "one");
    ck_assert_int_eq(xonce_store_seen(s, "m1", &when), XONCE_OK);
    ck_assert(when >= before - 1000 && when <= xo_now_ms() + 1000);
    xonce_store_close(s);
}
END_TEST

static xonce_status by_body(const xonce_message *m, char *id, size_t size, void *arg)
{
    (void)arg;
    size_t len = 0;
    const char *body = xonce_message_body(m, &len);
    if (len == 0 || len >= size)
        return XONCE_E_INVALID;
    memcpy(id, body, len + 1);
    return XONCE_OK;
}

START_TEST(a_business_key_replaces_the_id)
{
    xonce_store *s = open_store("GID_a");
    ck_assert_int_eq(xonce_store_identify(s, by_body, NULL), XONCE_OK);
    ck_assert_int_eq(once(s, "m1", "payment-7"), XONCE_FRESH);
    ck_assert_int_eq(once(s, "m2", "payment-7"), XONCE_DUPLICATE);
    ck_assert_int_eq(once(s, "m3", ""), XONCE_REJECTED);
    ck_assert_int_eq(orders(), 1);
    ck_assert_int_eq(rejected(), 1);
    xonce_store_close(s);
}
END_TEST

START_TEST(extend_uniq_info_wins)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *m = message("delivery-1", "x");
    xonce_message_set_property(m, "UNIQ_KEY", "C0000202558C30946E0970EAE9EB0002");
    xonce_message_set_property(m, "EXTEND_UNIQ_INFO", "C0000202558C30946E0970EAE9EB00022482D281");
    xonce_outcome what;
    ck_assert_int_eq(xonce_once(s, m, book, NULL, &what), XONCE_OK);
    xonce_message_free(m);
    char *id = sql_text("SELECT message_id FROM transaction_record");
    ck_assert_str_eq(id, "C0000202558C30946E0970EAE9EB00022482D281#GID_a");
    free(id);
    xonce_store_close(s);
}
END_TEST

START_TEST(coordinates_are_recorded)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *m = message("m1", "x");
    xonce_message_set_origin(m, "broker-a", 3, 4711);
    xonce_outcome what;
    ck_assert_int_eq(xonce_once(s, m, book, NULL, &what), XONCE_OK);
    xonce_message_free(m);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM transaction_record WHERE broker_name = 'broker-a' AND queue_id = 3 AND topic_name = 'orders'"), 1);
    once(s, "m2", "y");
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM transaction_record WHERE broker_name = '' AND queue_id = -1"), 1);
    xonce_store_close(s);
}
END_TEST

START_TEST(steps_by_hand)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *m[3] = {message("m1", "x"), message("m2", "y"), message("m1", "x")};
    xonce_outcome what[3];
    xonce_tx *tx = NULL;
    ck_assert_int_eq(xonce_tx_begin(s, &tx), XONCE_OK);
    ck_assert_int_eq(xonce_tx_claim(tx, (const xonce_message *const *)m, 3, what), XONCE_OK);
    ck_assert_int_eq(what[0], XONCE_FRESH);
    ck_assert_int_eq(what[1], XONCE_FRESH);
    ck_assert_int_eq(what[2], XONCE_DUPLICATE);
    book(tx, m[0], NULL);
    xonce_tx_rollback(tx);
    ck_assert_int_eq(orders() + records(), 0);
    ck_assert_int_eq(xonce_tx_begin(s, &tx), XONCE_OK);
    ck_assert_int_eq(xonce_tx_claim(tx, (const xonce_message *const *)m, 1, what), XONCE_OK);
    book(tx, m[0], NULL);
    ck_assert_int_eq(xonce_tx_commit(tx), XONCE_OK);
    ck_assert_int_eq(orders(), 1);
    ck_assert_int_eq(records(), 1);
    for (int i = 0; i < 3; i++)
        xonce_message_free(m[i]);
    xonce_store_close(s);
}
END_TEST

START_TEST(values_arrive_as_given)
{
    sql("DROP TABLE orders");
    sql(on == ON_MYSQL ? "CREATE TABLE orders (a decimal(30,2), b bigint, c varchar(100), d boolean, e double, f longblob, g varchar(10))"
        : on == ON_POSTGRES ? "CREATE TABLE orders (a numeric, b bigint, c text, d boolean, e double precision, f bytea, g text)"
                            : "CREATE TABLE orders (a text, b integer, c text, d boolean, e real, f blob, g text)");
    xonce_store *s = open_store("GID_a"); /* after the DDL: SQLite checks its picture of the schema at the first claim only */
    xonce_tx *tx = NULL;
    ck_assert_int_eq(xonce_tx_begin(s, &tx), XONCE_OK);
    xonce_status st = xonce_exec(tx, "INSERT INTO orders VALUES ($1, $2, $3, $4, $5, $6, $7)", xonce_decimal("12345678901234567890.10"),
                                 xonce_int(INT64_MIN), xonce_text("it's \"$1\" \\ Ä"), xonce_bool(1), xonce_real(0.1), xonce_blob("a\0b", 3), xonce_null());
    ck_assert_msg(st == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_msg(xonce_tx_commit(tx) == XONCE_OK, "%s", xonce_error_last()->text);
    char *a = sql_text("SELECT a FROM orders"), *b = sql_text("SELECT b FROM orders"), *c = sql_text("SELECT c FROM orders");
    ck_assert_str_eq(a, "12345678901234567890.10");
    ck_assert_str_eq(b, "-9223372036854775808");
    ck_assert_str_eq(c, "it's \"$1\" \\ Ä");
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM orders WHERE d AND e = 0.1 AND g IS NULL AND length(f) = 3"), 1);
    free(a);
    free(b);
    free(c);
    xonce_store_close(s);
}
END_TEST

Suite *suite_claims(void)
{
    Suite *s = suite_create("claims");
    TCase *t = tcase_create("claims");
    tcase_add_checked_fixture(t, fresh_database, NULL);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, first_is_fresh_second_is_duplicate);
    tcase_add_test(t, two_groups_on_one_table);
    tcase_add_test(t, ids_are_bytes);
    tcase_add_test(t, long_and_hostile_ids);
    tcase_add_test(t, same_id_other_body_is_another_message);
    tcase_add_test(t, collisions_can_be_rejected);
    tcase_add_test(t, seen_tells_when);
    tcase_add_test(t, a_business_key_replaces_the_id);
    tcase_add_test(t, extend_uniq_info_wins);
    tcase_add_test(t, coordinates_are_recorded);
    tcase_add_test(t, steps_by_hand);
    tcase_add_test(t, values_arrive_as_given);
    suite_add_tcase(s, t);
    return s;
}
