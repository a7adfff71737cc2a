/* The same with GoogleTest, from C++: a message whose handler fails stays in flight, comes again, and is booked once.
   c++ 14-test-gtest.cc $(pkg-config --cflags --libs xonce-test gtest_main) */
#include <cstdio>
#include <gtest/gtest.h>
#include <xonce/test.h>
#include <xonce/xonce.h>

#define OK(call) ASSERT_EQ((call), XONCE_OK) << xonce_error_last()->text

/* What is tested; it fails the first time it sees a message. */
static xonce_verdict book(xonce_tx *tx, const xonce_message *m, void *)
{
    if (xonce_exec(tx, "UPDATE account SET balance = balance + $1", {xonce_decimal((const char *)xonce_message_body(m, NULL))}) != XONCE_OK)
        return XONCE_RETRY;
    return xonce_message_attempt(m) == 1 ? XONCE_RETRY : XONCE_DONE;
}

class Payments : public testing::Test {
protected:
    xonce_test *endpoint = nullptr;
    xonce_config *config = nullptr;
    xonce_store *store = nullptr;
    xonce_source *source = nullptr;
    xonce_consumer *consumer = nullptr;

    void SetUp() override
    {
        xonce_test_options options = {};
        xonce_tx *tx;
        options.size = sizeof options;
        options.redeliver_ms = 600000; /* nothing comes again before it is told to */
        OK(xonce_test_start(&endpoint, &options));
        OK(xonce_config_new(&config));
        OK(xonce_test_configure(endpoint, config));
        std::remove("account-cc.db");
        OK(xonce_store_open(&store, "sqlite:account-cc.db", "GID_account", config));
        OK(xonce_store_upgrade(store));
        OK(xonce_tx_begin(store, &tx));
        OK(xonce_exec(tx, "CREATE TABLE account AS SELECT 0 AS balance"));
        OK(xonce_tx_commit(tx));
        OK(xonce_source_open(&source, xonce_test_uri(endpoint), config));
        OK(xonce_consumer_new(&consumer, store, source, config));
        OK(xonce_on(consumer, "payments", "*", book, nullptr));
        OK(xonce_consumer_start(consumer));
    }
    void TearDown() override
    {
        if (consumer)
            EXPECT_EQ(xonce_consumer_stop(consumer, 10000), XONCE_OK);
        xonce_consumer_free(consumer);
        xonce_source_close(source);
        xonce_store_close(store);
        xonce_config_free(config);
        xonce_test_stop(endpoint);
    }
};

TEST_F(Payments, AFailedMessageComesAgainAndIsBookedOnce)
{
    int64_t balance = -1, again = 0;
    xonce_tx *tx;
    OK(xonce_test_send_text(endpoint, "payments", nullptr, "100", nullptr));
    xonce_test_progress progress = {};
    progress.size = sizeof progress;
    for (int i = 0; i < 1000 && progress.in_flight == 0; i++) {
        EXPECT_EQ(xonce_test_wait(endpoint, "payments", "GID_account", nullptr, 30), XONCE_E_TIMEOUT);
        OK(xonce_test_look(endpoint, "payments", "GID_account", nullptr, &progress));
    }
    OK(xonce_test_expire(endpoint, "payments", "GID_account", &again));
    EXPECT_EQ(again, 1);
    OK(xonce_test_wait(endpoint, "payments", "GID_account", nullptr, 30000));
    OK(xonce_tx_begin(store, &tx));
    OK(xonce_query(tx, "SELECT balance FROM account", nullptr, 0,
                   [](const xonce_row *r, void *out) { *static_cast<int64_t *>(out) = xonce_row_int(r, 0); return 1; }, &balance));
    xonce_tx_rollback(tx);
    EXPECT_EQ(balance, 100);
}
