/* A handler of one's own, tested with Check: the broker runs inside the test, delivers twice and loses acknowledgements, and the table must not show it.
   cc 13-test-check.c $(pkg-config --cflags --libs xonce-test check) */
#include <check.h>
#include <unistd.h>
#include <xonce/test.h>
#include <xonce/xonce.h>

#define OK(call) ck_assert_msg((call) == XONCE_OK, "%s", xonce_error_last()->text)

/* What is tested. */
static xonce_verdict book(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    return xonce_exec(tx, "UPDATE account SET balance = balance + $1", xonce_decimal(xonce_message_body(m, NULL))) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

static int first_number(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = xonce_row_int(r, 0);
    return 1;
}

START_TEST(a_payment_is_booked_once)
{
    const xonce_test_options options = {.size = sizeof options, .redeliver_ms = 500};
    const xonce_test_faults faults = {.size = sizeof faults, .duplicate = 0.5, .lose_ack = 0.3, .cut = 0.1};
    xonce_test_counts made = {.size = sizeof made};
    xonce_test *endpoint;
    xonce_config *config;
    xonce_store *store;
    xonce_source *source;
    xonce_consumer *consumer;
    xonce_tx *tx;
    int64_t balance = -1;
    OK(xonce_test_start(&endpoint, &options));
    OK(xonce_test_set_faults(endpoint, &faults));
    OK(xonce_config_new(&config));
    OK(xonce_test_configure(endpoint, config));
    (void)unlink("account.db");
    OK(xonce_store_open(&store, "sqlite:account.db", "GID_account", config));
    OK(xonce_store_upgrade(store));
    OK(xonce_tx_begin(store, &tx));
    OK(xonce_exec(tx, "CREATE TABLE account AS SELECT 0 AS balance"));
    OK(xonce_tx_commit(tx));
    OK(xonce_source_open(&source, xonce_test_uri(endpoint), config));
    OK(xonce_consumer_new(&consumer, store, source, config));
    OK(xonce_on(consumer, "payments", "*", book, NULL));
    for (int i = 0; i < 200; i++)
        OK(xonce_test_send_text(endpoint, "payments", NULL, "5", NULL));
    OK(xonce_consumer_start(consumer));
    OK(xonce_test_wait(endpoint, "payments", "GID_account", NULL, 30000));
    OK(xonce_test_count(endpoint, &made));
    ck_assert_int_gt(made.duplicates + made.acks_lost, 0);
    OK(xonce_tx_begin(store, &tx));
    OK(xonce_query(tx, "SELECT balance FROM account", NULL, 0, first_number, &balance));
    xonce_tx_rollback(tx);
    ck_assert_int_eq(balance, 1000);
    OK(xonce_consumer_stop(consumer, 10000));
    xonce_consumer_free(consumer);
    xonce_source_close(source);
    xonce_store_close(store);
    xonce_config_free(config);
    xonce_test_stop(endpoint);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("payments");
    TCase *all = tcase_create("all");
    tcase_set_timeout(all, 60);
    tcase_add_test(all, a_payment_is_booked_once);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
