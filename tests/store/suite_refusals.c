/* Claims refused for another reason than their id, lost COMMIT answers, joined transactions, missing and unwilling databases. */
#include "suite.h"
#include "base/failpoint.h"
#include "xonce/mysql.h"
#include "xonce/postgres.h"
#include "xonce/sqlite.h"

#include <stdio.h>

static xonce_outcome try_once(xonce_store *s, const char *id, xonce_status *st)
{
    xonce_message *m = message(id, "x");
    xonce_outcome what = XONCE_FRESH;
    *st = xonce_once(s, m, book, NULL, &what);
    xonce_message_free(m);
    return what;
}

START_TEST(a_lagging_sequence_is_an_error)
{
    if (on == ON_SQLITE || (on == ON_POSTGRES && partitioned))
        return; /* row ids cannot lag; or no key is on them */
    xonce_store *s = open_store_with("GID_a", "store.tries", "2");
    once(s, "m1", "x");
    if (on == ON_POSTGRES)
        sql("ALTER TABLE transaction_record ALTER COLUMN id RESTART WITH 1");
    else /* AUTO_INCREMENT cannot be set below the maximum: a wrapped column shows the same error */
        sql("UPDATE transaction_record SET id = 9223372036854775807");
    xonce_status st;
    ck_assert_int_eq(try_once(s, "m2", &st), XONCE_DEFERRED);
    ck_assert_int_ne(st, XONCE_OK);
    ck_assert_int_eq(orders(), 1);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM transaction_record WHERE message_id = 'm2#GID_a'"), 0);
    xonce_store_close(s);
}
END_TEST

static void make_swallowing_trigger(void)
{
    void *c = connect_native(); /* a trigger's body is more than one statement to our lexer */
    if (on == ON_SQLITE) {
        run_native(c, "CREATE TRIGGER swallow BEFORE INSERT ON transaction_record WHEN NEW.message_id LIKE 'm2%' BEGIN SELECT RAISE(IGNORE); END");
    } else if (on == ON_POSTGRES) {
        run_native(c, "CREATE OR REPLACE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.message_id LIKE ''m2%'' THEN RETURN NULL; END IF; RETURN NEW; END'");
        run_native(c, "CREATE TRIGGER swallow BEFORE INSERT ON transaction_record FOR EACH ROW EXECUTE FUNCTION swallow()");
    } else { /* no trigger skips a row here, but INSERT IGNORE turns its error into a warning */
        run_native(c, "CREATE TRIGGER swallow BEFORE INSERT ON transaction_record FOR EACH ROW "
                      "IF NEW.message_id LIKE 'm2%' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'swallowed'; END IF");
    }
    disconnect_native(c);
}

START_TEST(a_trigger_that_swallows_the_row_is_an_error)
{
    xonce_store *s = open_store_with("GID_a", "store.tries", "2");
    make_swallowing_trigger();
    xonce_status st;
    ck_assert_int_eq(try_once(s, "m2", &st), XONCE_DEFERRED);
    ck_assert_int_ne(st, XONCE_OK);
    ck_assert_int_eq(try_once(s, "m3", &st), XONCE_FRESH);
    /* in a batch it costs only itself */
    xo_item items[5];
    memset(items, 0, sizeof items);
    static const char *const ids[] = {"m1", "m2", "m4", "m5", "m6"};
    for (int i = 0; i < 5; i++)
        items[i].m = message(ids[i], "x");
    xo_spec spec = {.one = book};
    ck_assert_int_eq(xo_run(s, items, 5, &spec), XONCE_OK);
    for (int i = 0; i < 5; i++) {
        ck_assert_msg(items[i].outcome == (i == 1 ? XONCE_DEFERRED : XONCE_FRESH), "%s: %d", ids[i], items[i].outcome);
        xonce_message_free((xonce_message *)items[i].m);
    }
    ck_assert_int_eq(orders(), 5);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_lost_answer_to_commit_is_settled)
{
    xonce_store *s = open_store("GID_a");
    char spec[64];
    static const char *const points[] = {"commit-sent", "committed", "committing", "claimed", "begun", "handled"};
    snprintf(spec, sizeof spec, "%s=error@1", points[_i]);
    ck_assert_int_eq(xo_failpoints_load(spec), XONCE_OK);
    xonce_status st;
    ck_assert_msg(try_once(s, "m1", &st) == XONCE_FRESH && st == XONCE_OK, "%s: %s", points[_i], xonce_error_last()->text);
    ck_assert_int_eq(xo_failpoints_load(""), XONCE_OK);
    ck_assert_int_eq(orders(), 1);
    ck_assert_int_eq(records(), 1);
    ck_assert_int_eq(try_once(s, "m1", &st), XONCE_DUPLICATE);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_missing_table_is_said)
{
    sql("DROP TABLE transaction_record");
    xonce_store *s = open_store("GID_a");
    xonce_status st;
    ck_assert_int_eq(try_once(s, "m1", &st), XONCE_DEFERRED);
    ck_assert_int_ne(st, XONCE_OK);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "transaction_record"));
    ck_assert_int_eq(orders(), 0);
    ck_assert_int_eq(xonce_store_upgrade(s), XONCE_OK); /* and made: no restart needed */
    ck_assert_int_eq(try_once(s, "m1", &st), XONCE_FRESH);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_vendor_table_is_accepted)
{
    sql("DROP TABLE transaction_record");
    sql(on == ON_MYSQL ? "CREATE TABLE transaction_record (consumer_group varchar(128) NOT NULL DEFAULT '', message_id varbinary(255) NOT NULL DEFAULT '', "
                         "topic_name varchar(255) NOT NULL DEFAULT '', ctime bigint(20) NOT NULL, queue_id int(11) NOT NULL, `offset` bigint(20) NOT NULL, "
                         "broker_name varchar(255) NOT NULL DEFAULT '', id bigint(20) NOT NULL AUTO_INCREMENT, PRIMARY KEY (id), "
                         "UNIQUE KEY message_id_unique_key (message_id), KEY ctime_key (ctime), KEY load_key (queue_id, broker_name, topic_name, ctime)) ENGINE=InnoDB"
        : on == ON_POSTGRES
            ? "CREATE TABLE transaction_record (consumer_group varchar(128) NOT NULL, message_id varchar(255) COLLATE \"C\" NOT NULL UNIQUE, topic_name varchar(255) NOT NULL, "
              "ctime bigint NOT NULL, queue_id integer NOT NULL, \"offset\" bigint NOT NULL, broker_name varchar(255) NOT NULL, id bigserial PRIMARY KEY)"
            : "CREATE TABLE transaction_record (consumer_group varchar(128) NOT NULL, message_id varchar(255) NOT NULL UNIQUE, topic_name varchar(255) NOT NULL, "
              "ctime bigint NOT NULL, queue_id integer NOT NULL, \"offset\" bigint NOT NULL, broker_name varchar(255) NOT NULL, id integer PRIMARY KEY)");
    xonce_store *s = open_store("GID_a");
    xonce_status st;
    ck_assert_int_eq(try_once(s, "m1", &st), XONCE_FRESH);
    ck_assert_int_eq(try_once(s, "m1", &st), XONCE_DUPLICATE);
    ck_assert_int_eq(xonce_store_upgrade(s), XONCE_OK); /* our columns, the rows stay */
    ck_assert_int_eq(try_once(s, "m1", &st), XONCE_DUPLICATE);
    ck_assert_int_eq(try_once(s, "m2", &st), XONCE_FRESH);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM transaction_record WHERE digest IS NOT NULL"), 1);
    xonce_store_close(s);
}
END_TEST

/* ---- joined transactions ---- */

static xonce_status join(xonce_store *s, void *native, xonce_tx **tx)
{
    return on == ON_POSTGRES ? xonce_join_postgres(s, native, tx) : on == ON_MYSQL ? xonce_join_mysql(s, native, tx) : xonce_join_sqlite(s, native, tx);
}

START_TEST(claims_inside_the_users_own_transaction)
{
    xonce_store *s = open_store("GID_a");
    void *c = connect_native();
    xonce_message *m = message("m1", "x");
    static const xonce_outcome want[] = {XONCE_FRESH, XONCE_FRESH, XONCE_DUPLICATE};
    for (int i = 0; i < 3; i++) {
        xonce_tx *tx = NULL;
        xonce_outcome what;
        run_native(c, on == ON_SQLITE ? "BEGIN IMMEDIATE" : "BEGIN");
        ck_assert_msg(join(s, c, &tx) == XONCE_OK, "%s", xonce_error_last()->text);
        ck_assert_msg(xonce_tx_claim(tx, (const xonce_message *const *)&m, 1, &what) == XONCE_OK, "%s", xonce_error_last()->text);
        ck_assert_int_eq(what, want[i]);
        if (what == XONCE_FRESH)
            ck_assert_int_eq(book(tx, m, NULL), XONCE_DONE);
        ck_assert_int_eq(xonce_tx_leave(tx), XONCE_OK);
        run_native(c, i == 0 ? "ROLLBACK" : "COMMIT");
        ck_assert_int_eq(orders(), i > 0);
    }
    xonce_tx *tx = NULL;
    if (on != ON_MYSQL) /* there a connection may have autocommit off and be in a transaction without a word */
        ck_assert_int_eq(join(s, c, &tx), XONCE_E_INVALID);
    disconnect_native(c);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_stale_message_must_come_again)
{
    xonce_store *s = open_store_with("GID_a", "prune.keep", "10m");
    xonce_message *m = message("m1", "x");
    m->polled_boot -= 6 * 60 * 1000; /* it lay in a buffer for more than half of the time that records are kept */
    xonce_outcome what = XONCE_FRESH;
    ck_assert_int_ne(xonce_once(s, m, book, NULL, &what), XONCE_OK);
    ck_assert_int_eq(what, XONCE_DEFERRED);
    ck_assert_int_eq(orders() + records(), 0);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

START_TEST(wrong_uris_are_said)
{
    static const char *const bad[] = {"", "sqlite", "oracle://x/y", "postgresql://u:secret@127.0.0.1:1/db", "mysql://u:secret@127.0.0.1:1/db", "sqlite:/no/such/dir/x.db"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        xonce_store *s = NULL;
        ck_assert_msg(xonce_store_open(&s, bad[i], "GID_a", NULL) != XONCE_OK, "%s", bad[i]);
        ck_assert_ptr_null(s);
        ck_assert_int_gt((int)strlen(xonce_error_last()->text), 10);
        ck_assert_ptr_null(strstr(xonce_error_last()->text, "secret"));
    }
    xonce_store *s = NULL;
    ck_assert_int_eq(xonce_store_open(&s, store_uri, "a#b", NULL), XONCE_E_INVALID);
}
END_TEST

Suite *suite_refusals(void)
{
    Suite *s = suite_create("refusals");
    TCase *t = tcase_create("refusals");
    tcase_add_checked_fixture(t, fresh_database, NULL);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, a_lagging_sequence_is_an_error);
    tcase_add_test(t, a_trigger_that_swallows_the_row_is_an_error);
    tcase_add_loop_test(t, a_lost_answer_to_commit_is_settled, 0, 6);
    tcase_add_test(t, a_missing_table_is_said);
    tcase_add_test(t, a_vendor_table_is_accepted);
    tcase_add_test(t, claims_inside_the_users_own_transaction);
    tcase_add_test(t, a_stale_message_must_come_again);
    tcase_add_test(t, wrong_uris_are_said);
    suite_add_tcase(s, t);
    return s;
}
