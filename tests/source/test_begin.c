/* Queues that begin while others do something at the same time. */
#include "tests/source/rmq.h"

static mq *m;
static db d;

static void setup(void)
{
    lines_reset();
    m = mq_start(1);
    mq_topic(m, 0, "T", 4);
    db_open(&d, "0badcafe");
}

static void teardown(void)
{
    mq_stop(m);
    db_close(&d);
}

static int all_polled(void)
{
    int n = 0;
    for (int q = 0; q < 4; q++) {
        n += mq_polling(m, 0, "T", q) > 0;
    }
    return n == 4;
}

/* Two members of a new group that begins at the end: neither takes the other's first step for an older time of the group, in which it had missed messages. */
START_TEST(two_members_begin_at_the_end)
{
    static rmq a, b;
    char body[16];
    for (int i = 0; i < 40; i++) {
        mq_put(m, 0, "T", i % 4, NULL, NULL, "old");
    }
    rmq_new(&a, mq_uri(m), &d, SETTINGS("consume-from", "last"));
    rmq_new(&b, mq_uri(m), &d, SETTINGS("consume-from", "last"));
    rmq_start(&a, "T", "*", 0);
    rmq_start(&b, "T", "*", 0);
    WAIT(mq_members(m, 0, "G") == 2 && all_polled());
    WAIT(db_next(&d, "T", "broker-a", 3) == 10);
    for (int q = 0; q < 4; q++) {
        snprintf(body, sizeof(body), "new%d", q);
        mq_put(m, 0, "T", q, NULL, NULL, body);
    }
    WAIT((rmq_poll(&a), rmq_poll(&b), a.n + b.n >= 4));
    ck_assert_int_eq(rmq_has(&a, "old") + rmq_has(&b, "old"), 0);
    rmq_ack_all(&a);
    rmq_ack_all(&b);
    rmq_close(&a);
    rmq_close(&b);
}
END_TEST

/* All queues of a new group have their beginning in the database, whoever reads them: what comes before the other member gets to it is not lost, and what was there before does not come. */
START_TEST(beginnings_are_written_for_all)
{
    static rmq a;
    for (int i = 0; i < 40; i++) {
        mq_put(m, 0, "T", i % 4, NULL, NULL, "old");
    }
    mq_join(m, 0, "G", "0-of-another-kind", "T", "*");
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("consume-from", "last"));
    for (int q = 0; q < 4; q++) {
        WAIT(db_next(&d, "T", "broker-a", q) == 10);
    }
    rmq_close(&a);
}
END_TEST

/* From a time: the same, by each queue's own first message since then. */
START_TEST(beginnings_by_time)
{
    static rmq a;
    char since[24];
    for (int q = 0; q < 4; q++) {
        for (int i = 0; i < 10; i++) {
            mq_store(m, 0, &(mq_message){.topic = "T", .queue = q, .body = "x", .body_len = 1, .store_time = 1000000 + 100 * i + q});
        }
    }
    snprintf(since, sizeof(since), "%d", 1000502);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("consume-from", "timestamp", "consume-from.time", since));
    rmq_take(&a, 4 + 4 + 5 + 5);
    rmq_close(&a);
}
END_TEST

/* The broker's position counts for what other members had when it became ours, also when the database lets us wait until they are long gone. */
START_TEST(late_start_after_others)
{
    static rmq a;
    for (int i = 0; i < 40; i++) {
        mq_put(m, 0, "T", i % 4, NULL, NULL, i < 32 ? "theirs" : "ours");
    }
    for (int q = 0; q < 4; q++) {
        mq_commit(m, 0, "G", "T", q, 8);
        db_row(&d, "T", "broker-a", q, 0, 0, 3, mq_store_time(m, 0, "T", q, 2), mq_log_offset(m, 0, "T", q, 2));
    }
    mq_join(m, 0, "G", "0-of-another-kind", "T", "*");
    db_fail_saves(&d, 1);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("rocketmq.rebalance-every", "20ms", "rocketmq.timeout", "1500ms"));
    WAIT((rmq_poll(&a), lines_with("cannot be started") > 0));
    mq_leave(m, 0, "G", "0-of-another-kind");
    int64_t until = xo_mono_ms() + 2000; /* more than the while in which others are thought to be near, which is a matter of these two settings */
    WAIT((rmq_poll(&a), xo_mono_ms() > until));
    db_fail_saves(&d, 0);
    WAIT((rmq_poll(&a), rmq_has(&a, "ours") == 8));
    ck_assert_int_eq(rmq_has(&a, "theirs"), 0);
    rmq_close(&a);
}
END_TEST

/* What others had between two times of ours is in no row, and yet not to be read when we look back over it. */
START_TEST(looking_back_over_others_work)
{
    static rmq a;
    for (int i = 0; i < 40; i++) {
        mq_put(m, 0, "T", i % 4, NULL, NULL, i < 32 ? "theirs" : "ours");
    }
    for (int q = 0; q < 4; q++) {
        mq_commit(m, 0, "G", "T", q, 8);
        db_row(&d, "T", "broker-a", q, 0, 0, 3, mq_store_time(m, 0, "T", q, 2), mq_log_offset(m, 0, "T", q, 2));
    }
    mq_join(m, 0, "G", "0-of-another-kind", "T", "*");
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("rocketmq.rebalance-every", "20ms", "rocketmq.timeout", "1500ms"));
    WAIT((rmq_poll(&a), rmq_has(&a, "ours") == 4));
    mq_leave(m, 0, "G", "0-of-another-kind");
    WAIT((rmq_poll(&a), rmq_has(&a, "ours") == 8));
    rmq_ack_all(&a);
    for (int q = 0; q < 4; q++) {
        WAIT(db_next(&d, "T", "broker-a", q) == 10);
    }
    int64_t until = xo_mono_ms() + 2000;
    WAIT((rmq_poll(&a), xo_mono_ms() > until));
    for (int n = 0; n < 3; n++) {
        lines_reset();
        mq_disconnect(m, 0);
        WAIT((rmq_poll(&a), lines_with("is read from offset 0 (settled up to 10") >= 4));
    }
    for (int q = 0; q < 4; q++) {
        mq_put(m, 0, "T", q, NULL, NULL, "new");
    }
    WAIT((rmq_poll(&a), rmq_has(&a, "new") == 4));
    ck_assert_int_eq(rmq_has(&a, "theirs"), 0);
    ck_assert_int_eq(rmq_has(&a, "ours"), 8);
    rmq_close(&a);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("begin");
    tcase_add_checked_fixture(t, setup, teardown);
    ADD(t, two_members_begin_at_the_end);
    ADD(t, beginnings_are_written_for_all);
    ADD(t, beginnings_by_time);
    ADD(t, late_start_after_others);
    ADD(t, looking_back_over_others_work);
    return rmq_run(t);
}
