/* A member among others: joining, sharing, agreeing about the filter, locking. Against brokers inside of the test. */
#include "tests/source/control.h"

/* Polls until the source fails; 0: it did not. */
static int fails(rmq *r, int again)
{
    for (int64_t end = xo_mono_ms() + 20000; xo_mono_ms() < end;) {
        rmq_poll(r);
        if (r->errors && r->last.pub.again == again)
            return 1;
    }
    return 0;
}

static int red_of(rmq *r)
{
    xo_rocketmq *s = (xo_rocketmq *)r->s;
    pthread_mutex_lock(&s->lock);
    int red = s->red;
    pthread_mutex_unlock(&s->lock);
    return red;
}

/* ---- membership ---- */

START_TEST(joins_and_leaves)
{
    char id[200];
    mq_topic(m, 0, "T", 4);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    WAIT(mq_members(m, 0, "G") == 1);
    ck_assert(mq_client_id(m, 0, "G", 0, id, sizeof id));
    ck_assert_str_eq(xo_members_store_of(id), STORE);
    WAIT(queues_of(&a) == 4);
    put_n("T", 1, 5, "x");
    rmq_take(&a, 5);
    rmq_ack_all(&a);
    rmq_stop(&a);
    ck_assert_int_eq(mq_members(m, 0, "G"), 0);
    ck_assert_int_eq(mq_committed(m, 0, "G", "T", 1), 5);
    ck_assert_int_eq(db_next(&d, "T", "broker-a", 1), 5);
}
END_TEST

START_TEST(two_share)
{
    mq_topic(m, 0, "T", 5);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    WAIT(queues_of(&a) == 5);
    rmq_open(&b, m, &d, "T", "*", 0, SETTINGS());
    WAIT(queues_of(&a) + queues_of(&b) == 5 && queues_of(&a) >= 2 && queues_of(&b) >= 2);
    for (int q = 0; q < 5; q++)
        put_n("T", q, 3, "m");
    for (int64_t end = xo_mono_ms() + 20000; a.n + b.n < 15 && xo_mono_ms() < end;) {
        rmq_poll(&a);
        rmq_poll(&b);
    }
    ck_assert_uint_eq(a.n + b.n, 15);
    ck_assert_uint_ge(a.n, 6);
    ck_assert_uint_ge(b.n, 6);
    rmq_ack_all(&a);
    rmq_ack_all(&b);
    rmq_close(&b);
    WAIT(queues_of(&a) == 5);
    for (int q = 0; q < 5; q++)
        put_n("T", q, 1, "n");
    rmq_take(&a, a.n + 5);
}
END_TEST

/* A Java member sorts before ours: "10.." < its id; it owns what the average gives it. */
START_TEST(shares_with_foreign_members)
{
    mq_topic(m, 0, "T", 4);
    mq_join(m, 0, "G", "000@java", "T", "*");
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    WAIT(queues_of(&a) == 2);
    xo_rocketmq *s = (xo_rocketmq *)a.s;
    pthread_mutex_lock(&s->lock);
    for (const xo_rmq_queue *q = s->queues; q; q = q->next)
        ck_assert(!q->sub || q->id >= 2);
    ck_assert(s->foreign && s->foreign_seen && !s->all_ours);
    pthread_mutex_unlock(&s->lock);
    mq_leave(m, 0, "G", "000@java");
    WAIT(queues_of(&a) == 4);
    pthread_mutex_lock(&s->lock);
    ck_assert(!s->foreign && s->foreign_seen);
    pthread_mutex_unlock(&s->lock);
    for (const char *id = "zzz@java"; id; id = NULL)
        mq_join(m, 0, "G", id, "T", "*");
    WAIT(queues_of(&a) == 2);
    pthread_mutex_lock(&s->lock);
    for (const xo_rmq_queue *q = s->queues; q; q = q->next)
        ck_assert(!q->sub || q->id < 2 || q->state != XO_Q_RUNNING);
    pthread_mutex_unlock(&s->lock);
}
END_TEST

/* A broker that has not heard of us lists others only: then nothing is ours, whatever our place might be. */
START_TEST(not_listed_owns_nothing)
{
    mq_topic(m, 0, "T", 4);
    mq_join(m, 0, "G", "zzz@java", "T", "*");
    mq_next(m, 0, XO_RMQ_HEARTBEAT, 100000, MQ_ANSWER, XO_RMQ_OK);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    WAIT(mq_count(m, 0, XO_RMQ_CONSUMER_LIST) > 5);
    ck_assert_uint_eq(queues_of(&a), 0);
    ck_assert_uint_eq(mq_count(m, 0, XO_RMQ_PULL), 0);
    mq_next(m, 0, XO_RMQ_HEARTBEAT, 0, MQ_ANSWER, 0);
    WAIT(queues_of(&a) == 2);
}
END_TEST

START_TEST(another_database_refuses_to_start)
{
    mq_topic(m, 0, "T", 2);
    mq_join(m, 0, "G", "10.0.0.1@1#2#xonce-99999999", "T", "*");
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    ck_assert(fails(&a, 0));
    ck_assert_ptr_nonnull(strstr(a.last.pub.text, "another database"));
    ck_assert_uint_eq(queues_of(&a), 0);
    ck_assert(rmq_counts(&a).unhealthy);
}
END_TEST

START_TEST(another_database_that_leaves_again)
{
    mq_topic(m, 0, "T", 2);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    WAIT(queues_of(&a) == 2);
    mq_join(m, 0, "G", "10.0.0.1@1#2#xonce-99999999", "T", "*");
    WAIT(red_of(&a) & XO_RED_MEMBERS);
    mq_leave(m, 0, "G", "10.0.0.1@1#2#xonce-99999999");
    WAIT(!(red_of(&a) & XO_RED_MEMBERS) && queues_of(&a) == 2);
    mq_put(m, 0, "T", 0, NULL, "U1", "still here");
    rmq_until(&a, "still here");
}
END_TEST

START_TEST(many_stores)
{
    mq_topic(m, 0, "T", 2);
    mq_join(m, 0, "G", "000@1#2#xonce-99999999", "T", "*");
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("stores", "many"));
    WAIT(queues_of(&a) == 1);
    ck_assert(((xo_rocketmq *)a.s)->foreign);
}
END_TEST

START_TEST(waits_for_its_topic)
{
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    ck_assert(fails(&a, 1));
    ck_assert_int_eq(a.last.pub.code, XONCE_E_NOT_FOUND);
    WAIT(lines_with("has no route") == 1);
    mq_topic(m, 0, "T", 2);
    mq_put(m, 0, "T", 1, NULL, "U1", "late");
    rmq_until(&a, "late");
    ck_assert_int_eq(lines_with("has no route"), 1);
}
END_TEST

START_TEST(new_queues_and_brokers)
{
    mq_topic(m, 0, "T", 1);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    WAIT(queues_of(&a) == 1);
    mq_topic(m, 0, "T", 3);
    WAIT(queues_of(&a) == 3);
    int two = mq_add_broker(m);
    mq_topic(m, two, "T", 2);
    WAIT(queues_of(&a) == 5);
    mq_put(m, two, "T", 1, NULL, "U1", "from b");
    rmq_until(&a, "from b");
    ck_assert_str_eq(a.got[0]->broker, "broker-b");
}
END_TEST

START_TEST(wrong_credentials_are_final)
{
    mq_topic(m, 0, "T", 1);
    mq_acl(m, "AK", "SK");
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("credentials.access-key-id", "AK", "credentials.access-key-secret", "wrong"));
    ck_assert(fails(&a, 0));
    ck_assert_int_eq(a.last.pub.code, XONCE_E_AUTH);
}
END_TEST

/* A member whose share is nothing hears so: who stops when idle must not wait for ever. */
START_TEST(nothing_to_do_is_an_answer)
{
    mq_topic(m, 0, "T", 1);
    mq_join(m, 0, "G", "000@java", "T", "*");
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    WAIT(rmq_counts(&a).answers > 2);
    ck_assert_uint_eq(queues_of(&a), 0);
    ck_assert_uint_eq(mq_count(m, 0, XO_RMQ_PULL), 0);
}
END_TEST

START_TEST(hung_name_server)
{
    mq_topic(m, 0, "T", 2);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("rocketmq.timeout", "500ms"));
    WAIT(queues_of(&a) == 2);
    mq_hang(m, MQ_NAME_SERVER, 1);
    for (int i = 0; i < 10; i++) {
        char body[32];
        snprintf(body, sizeof body, "m%d", i);
        mq_put(m, 0, "T", i % 2, NULL, NULL, body);
        rmq_until(&a, body);
        rmq_ack_all(&a);
    }
    WAIT(mq_committed(m, 0, "G", "T", 0) == 5 && mq_committed(m, 0, "G", "T", 1) == 5);
    WAIT(a.errors > 0 || (rmq_poll(&a), 0)); /* it is told, and not as final */
    ck_assert(a.last.pub.again);
    ck_assert_uint_eq(queues_of(&a), 2);
    mq_hang(m, MQ_NAME_SERVER, 0);
    mq_topic(m, 0, "T", 3);
    WAIT(queues_of(&a) == 3);
}
END_TEST

START_TEST(master_moves)
{
    mq_topic(m, 0, "T", 1);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    put_n("T", 0, 2, "x");
    rmq_take(&a, 2);
    rmq_ack_all(&a);
    WAIT(db_next(&d, "T", "broker-a", 0) == 2);
    mq_move(m, 0);
    WAIT(lines_with("the master of broker broker-a moved") == 1);
    mq_put(m, 0, "T", 0, NULL, "U9", "after the move");
    rmq_until(&a, "after the move");
    ck_assert_int_eq(mq_members(m, 0, "G"), 1);
    ck_assert_uint_eq(a.n, 3);
}
END_TEST

START_TEST(broker_forgets_us)
{
    mq_topic(m, 0, "T", 2);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("rocketmq.heartbeat-every", "20s"));
    WAIT(queues_of(&a) == 2);
    mq_kill(m, 0, 0, MQ_KEEP_ROUTE);
    mq_restart(m, 0);
    mq_put(m, 0, "T", 0, NULL, "U1", "after the restart");
    rmq_until(&a, "after the restart");
    ck_assert_int_eq(mq_members(m, 0, "G"), 1);
}
END_TEST

START_TEST(a_hung_broker_stalls_nobody)
{
    int two = mq_add_broker(m);
    mq_topic(m, 0, "T", 2);
    mq_topic(m, two, "T", 2);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("rocketmq.timeout", "500ms"));
    WAIT(queues_of(&a) == 4);
    mq_hang(m, two, 1);
    for (int i = 0; i < 20; i++) {
        char body[32];
        snprintf(body, sizeof body, "m%d", i);
        mq_put(m, 0, "T", i % 2, NULL, NULL, body);
        int64_t began = xo_mono_ms();
        rmq_until(&a, body);
        ck_assert_int_lt(xo_mono_ms() - began, 2000);
        rmq_ack_all(&a);
    }
    WAIT(mq_committed(m, 0, "G", "T", 1) == 10);
    mq_hang(m, two, 0);
    mq_put(m, two, "T", 0, NULL, NULL, "back");
    rmq_until(&a, "back");
}
END_TEST

/* ---- the filter ---- */

START_TEST(members_disagree)
{
    mq_topic(m, 0, "T", 2);
    rmq_open(&a, m, &d, "T", "TagA", 0, SETTINGS());
    WAIT(queues_of(&a) == 2);
    mq_join(m, 0, "G", "zzz@java", NULL, NULL);
    WAIT(queues_of(&a) == 1);
    mq_subscription(m, 0, "G", "T", "TagB");
    WAIT(queues_of(&a) == 0 && (red_of(&a) & XO_RED_FILTER));
    WAIT(lines_with("disagree about topic T") == 1);
    ck_assert_int_eq(lines_with("\"TagA\", another member subscribed \"TagB\""), 1);
    mq_put(m, 0, "T", 0, "TagA", "U1", "hidden");
    for (int i = 0; i < 20; i++)
        ck_assert_uint_eq(rmq_poll(&a), 0);
    ck_assert_int_eq(db_next(&d, "T", "broker-a", 0), 0);
    mq_subscription(m, 0, "G", "T", "TagA");
    WAIT(!(red_of(&a) & XO_RED_FILTER));
    rmq_until(&a, "hidden");
}
END_TEST

/* What a member that left has registered is replaced by ours. */
START_TEST(trace_of_another_filter)
{
    mq_topic(m, 0, "T", 1);
    rmq_open(&a, m, &d, "T", "TagA", 0, SETTINGS());
    WAIT(queues_of(&a) == 1);
    mq_join(m, 0, "G", "zzz@java", "T", "TagB");
    WAIT(red_of(&a) & XO_RED_FILTER);
    mq_leave(m, 0, "G", "zzz@java");
    WAIT(!(red_of(&a) & XO_RED_FILTER) && queues_of(&a) == 1);
    mq_put(m, 0, "T", 0, "TagA", "U1", "mine");
    rmq_until(&a, "mine");
}
END_TEST

/* ---- locks ---- */

START_TEST(ordered_queues_are_locked)
{
    char owner[200], id[200];
    mq_topic(m, 0, "T", 2);
    mq_lock(m, 0, "G", "T", 1, "another");
    rmq_open(&a, m, &d, "T", "*", 1, SETTINGS());
    put_n("T", 0, 2, "a");
    put_n("T", 1, 2, "b");
    rmq_take(&a, 2);
    ck_assert(rmq_has(&a, "a0") && rmq_has(&a, "a1"));
    ck_assert(mq_client_id(m, 0, "G", 0, id, sizeof id));
    ck_assert(mq_lock_owner(m, 0, "G", "T", 0, owner, sizeof owner));
    ck_assert_str_eq(owner, id);
    for (int i = 0; i < 20; i++)
        ck_assert_uint_eq(rmq_poll(&a), 0);
    mq_lock(m, 0, "G", "T", 1, NULL);
    rmq_take(&a, 4);
    rmq_ack_all(&a);
    rmq_stop(&a);
    ck_assert(!mq_lock_owner(m, 0, "G", "T", 0, owner, sizeof owner));
    ck_assert(!mq_lock_owner(m, 0, "G", "T", 1, owner, sizeof owner));
}
END_TEST

static int64_t locked(rmq *r)
{
    xo_rocketmq *s = (xo_rocketmq *)r->s;
    pthread_mutex_lock(&s->lock);
    int64_t at = 0;
    for (const xo_rmq_queue *q = s->queues; q; q = q->next)
        at = q->sub ? q->locked : at;
    s->locks_now = 1;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    return at;
}

/* Whoever has the lock moves on: what is in memory here is dropped, and the position looked up anew when it is ours again. */
START_TEST(lock_of_another)
{
    mq_topic(m, 0, "T", 1);
    rmq_open(&a, m, &d, "T", "*", 1, SETTINGS());
    put_n("T", 0, 2, "a");
    rmq_take(&a, 2);
    rmq_ack_all(&a);
    mq_lock(m, 0, "G", "T", 0, "another");
    WAIT(!locked(&a));
    int before = lines_with("queue 0 of T at broker-a is read from");
    mq_put(m, 0, "T", 0, NULL, "U9", "later");
    for (int i = 0; i < 20; i++)
        ck_assert_uint_eq(rmq_poll(&a), 0);
    ck_assert_uint_eq(rmq_counts(&a).buffered, 0);
    mq_lock(m, 0, "G", "T", 0, NULL);
    rmq_until(&a, "later");
    ck_assert(locked(&a));
    ck_assert_int_gt(lines_with("queue 0 of T at broker-a is read from"), before);
    ck_assert_uint_eq(a.n, 3);
}
END_TEST

START_TEST(locks_are_taken_anew)
{
    char owner[200];
    mq_topic(m, 0, "T", 1);
    rmq_open(&a, m, &d, "T", "*", 1, SETTINGS());
    put_n("T", 0, 2, "a");
    rmq_take(&a, 2);
    rmq_ack_all(&a);
    WAIT(db_next(&d, "T", "broker-a", 0) == 2);
    mq_kill(m, 0, 0, MQ_KEEP_ROUTE);
    mq_restart(m, 0);
    mq_put(m, 0, "T", 0, NULL, "U9", "later");
    rmq_until(&a, "later");
    ck_assert(mq_lock_owner(m, 0, "G", "T", 0, owner, sizeof owner));
    ck_assert_int_eq(rmq_has(&a, "later"), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("group");
    TCase *t = tcase_create("group");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, joins_and_leaves);
    tcase_add_test(t, two_share);
    tcase_add_test(t, shares_with_foreign_members);
    tcase_add_test(t, not_listed_owns_nothing);
    tcase_add_test(t, another_database_refuses_to_start);
    tcase_add_test(t, another_database_that_leaves_again);
    tcase_add_test(t, many_stores);
    tcase_add_test(t, waits_for_its_topic);
    tcase_add_test(t, new_queues_and_brokers);
    tcase_add_test(t, wrong_credentials_are_final);
    tcase_add_test(t, nothing_to_do_is_an_answer);
    tcase_add_test(t, hung_name_server);
    tcase_add_test(t, master_moves);
    tcase_add_test(t, broker_forgets_us);
    tcase_add_test(t, a_hung_broker_stalls_nobody);
    tcase_add_test(t, members_disagree);
    tcase_add_test(t, trace_of_another_filter);
    tcase_add_test(t, ordered_queues_are_locked);
    tcase_add_test(t, lock_of_another);
    tcase_add_test(t, locks_are_taken_anew);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
