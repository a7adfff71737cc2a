/* Members of a group: sharing queues out as Java does, handing them over, and the locks of ordered queues. */
#include "tests/source/rmq.h"

static mq *m;
static db d;

static void setup(void)
{
    lines_reset();
    m = mq_start(2);
    db_open(&d, "0badcafe");
}

static void teardown(void)
{
    mq_stop(m);
    db_close(&d);
}

static void put(int b, int queue, int n)
{
    char body[32];
    for (int i = 0; i < n; i++) {
        snprintf(body, sizeof body, "%d/%d/%lld", b, queue, (long long)mq_max(m, b, "T", queue));
        mq_put(m, b, "T", queue, NULL, NULL, body);
    }
}

static int64_t beats(void)
{
    return (int64_t)mq_count(m, 0, XO_RMQ_HEARTBEAT);
}

/* ---- sharing out ---- */

/* Which of the queues 0..n-1 of T at broker 0 are polled, as a bit set. */
static unsigned polled(int n)
{
    unsigned set = 0;
    for (int i = 0; i < n; i++)
        set |= (unsigned)(mq_polling(m, 0, "T", i) > 0) << i;
    return set;
}

static unsigned bits(int from, int n)
{
    return ((1u << n) - 1) << from;
}

/* The table is the reference's formula worked out by hand: of 5 queues, by our place among the members. */
START_TEST(shares_as_java_does)
{
    static const struct {
        const char *others[3];
        int from, n; /* ours; our id begins with "127." */
    } cases[] = {
        {{NULL}, 0, 5},
        {{"zz"}, 0, 3},        /* 3 2 */
        {{"1.1.1.1@x"}, 3, 2}, /* sorted before us */
        {{"zz", "zzz"}, 0, 2}, /* 2 2 1 */
        {{"1.1.1.1@x", "zz"}, 2, 2},
        {{"1.1.1.1@x", "1.1.1.1@y"}, 4, 1},
        {{"zz", "zzz", "zzzz"}, 0, 2}, /* 2 1 1 1 */
        {{"1", "11", "zz"}, 3, 1},
    };
    rmq r;
    mq_topic(m, 0, "T", 5);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.long-poll", "200ms"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int k = 0; k < 3 && cases[i].others[k]; k++)
            mq_join(m, MQ_ALL, "G", cases[i].others[k], "T", "*");
        unsigned want = bits(cases[i].from, cases[i].n);
        for (int64_t end = xo_mono_ms() + 20000; polled(5) != want; xo_pause_ms(2))
            ck_assert_msg(xo_mono_ms() < end, "case %zu: queues %x are read, not %x", i, polled(5), want);
        for (int k = 0; k < 3 && cases[i].others[k]; k++)
            mq_leave(m, MQ_ALL, "G", cases[i].others[k]);
    }
    rmq_close(&r);
}
END_TEST

/* More members than queues: who has none reads none, and is no worse for it. */
START_TEST(more_members_than_queues)
{
    rmq r;
    mq_topic(m, 0, "T", 2);
    mq_join(m, MQ_ALL, "G", "1", "T", "*");
    mq_join(m, MQ_ALL, "G", "11", "T", "*");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    WAIT(mq_members(m, 0, "G") == 3);
    int64_t before = beats();
    WAIT(beats() > before + 4);
    ck_assert_uint_eq(polled(2), 0);
    put(0, 1, 1);
    mq_leave(m, MQ_ALL, "G", "11");
    rmq_take(&r, 1);
    rmq_close(&r);
}
END_TEST

/* Queues of several brokers are sorted by broker, then by number, not as text. */
START_TEST(sorted_by_broker_and_number)
{
    rmq r;
    mq_topic(m, 0, "T", 12);
    mq_topic(m, 1, "T", 2);
    mq_join(m, MQ_ALL, "G", "zz", "T", "*"); /* 14 queues: ours are 0..6 of broker-a */
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.long-poll", "1s"));
    WAIT(polled(12) == 0x7f);
    ck_assert_int_eq(mq_polling(m, 1, "T", 0), 0);
    rmq_close(&r);
}
END_TEST

/* Two of ours side by side: each queue has one owner, each message is seen once, and when one goes the other takes all. */
START_TEST(two_members)
{
    rmq a, b;
    mq_topic(m, MQ_ALL, "T", 2);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("rocketmq.instance-name", "a"));
    rmq_open(&b, m, &d, "T", "*", 0, SETTINGS("rocketmq.instance-name", "b"));
    WAIT(mq_members(m, 0, "G") == 2 && mq_members(m, 1, "G") == 2);
    WAIT(mq_polling(m, 0, "T", 0) == 1 && mq_polling(m, 0, "T", 1) == 1 && mq_polling(m, 1, "T", 0) == 1 && mq_polling(m, 1, "T", 1) == 1);
    int64_t before = beats();
    WAIT(beats() > before + 6);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 2; i++)
            put(k, i, 20);
    while (a.n + b.n < 80) {
        rmq_poll(&a);
        rmq_poll(&b);
    }
    ck_assert_uint_eq(a.n, 40);
    ck_assert_uint_eq(b.n, 40);
    for (size_t i = 0; i < a.n; i++)
        ck_assert_int_eq(rmq_has(&b, a.bodies[i]), 0);
    rmq_ack_all(&a);
    rmq_close(&a); /* what b has in hand is not a's business */
    put(0, 0, 1);
    put(0, 1, 1);
    put(1, 0, 1);
    put(1, 1, 1);
    rmq_take(&b, 44);
    rmq_ack_all(&b);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 21 && mq_committed(m, 1, "G", "T", 1) == 21);
    rmq_close(&b);
}
END_TEST

/* ---- handing over ---- */

/* A queue that goes to another member: what we have of it is drained, its position written to the database, then to the broker, and it is read no
 * more. */
START_TEST(hand_over_drains_and_commits)
{
    rmq r;
    mq_topic(m, 0, "T", 2);
    put(0, 1, 10);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.commit-every", "10m"));
    rmq_take(&r, 10);
    for (size_t i = 0; i < 4; i++)
        rmq_ack(&r, i);
    mq_join(m, MQ_ALL, "G", "zz", "T", "*"); /* queue 1 is its now */
    WAIT(lines_with("T: 1 of 2 queues are ours"));
    rmq_ack(&r, 4); /* while it drains */
    rmq_ack(&r, 5);
    WAIT(mq_committed(m, 0, "G", "T", 1) >= 6);
    ck_assert_int_eq(mq_committed(m, 0, "G", "T", 1), 6);
    ck_assert_int_eq(db_next(&d, "T", "broker-a", 1), 6);
    WAIT(!mq_polling(m, 0, "T", 1));
    put(0, 1, 5);
    put(0, 0, 1);
    rmq_until(&r, "0/0/0");
    ck_assert_uint_eq(r.n, 11); /* nothing of queue 1 */
    for (size_t i = 6; i < 10; i++)
        rmq_ack(&r, i); /* too late: that queue is another's, who hands them out again */
    int64_t before = beats();
    WAIT(beats() > before + 4);
    ck_assert_int_eq(mq_committed(m, 0, "G", "T", 1), 6);
    /* and back: from where it was left */
    mq_leave(m, MQ_ALL, "G", "zz");
    rmq_until(&r, "0/1/14");
    ck_assert_uint_eq(r.n, 11 + 9);
    ck_assert_int_eq(rmq_has(&r, "0/1/5"), 1);
    ck_assert_int_eq(rmq_has(&r, "0/1/6"), 2);
    rmq_close(&r);
}
END_TEST

/* A consumer that is quick to settle hands over at once; the drain's time is an upper bound. */
START_TEST(hand_over_waits_only_for_what_is_in_hand)
{
    rmq r;
    mq_topic(m, 0, "T", 2);
    put(0, 1, 3);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.commit-every", "10m"));
    rmq_take(&r, 3);
    rmq_ack_all(&r);
    int64_t before = xo_mono_ms();
    mq_join(m, MQ_ALL, "G", "zz", "T", "*");
    WAIT(mq_committed(m, 0, "G", "T", 1) == 3);
    ck_assert_int_lt(xo_mono_ms() - before, 2500);
    rmq_close(&r);
}
END_TEST

/* The database cannot be written when a queue goes: nothing is committed for it. */
START_TEST(hand_over_without_the_database)
{
    rmq r;
    mq_topic(m, 0, "T", 2);
    put(0, 1, 3);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.commit-every", "10m"));
    rmq_take(&r, 3);
    db_fail_saves(&d, 1);
    rmq_ack_all(&r);
    mq_join(m, MQ_ALL, "G", "zz", "T", "*");
    WAIT(!mq_polling(m, 0, "T", 1) && db_refused(&d) > 0);
    int64_t before = beats();
    WAIT(beats() > before + 4);
    ck_assert_int_le(mq_committed(m, 0, "G", "T", 1), 0);
    db_fail_saves(&d, 0);
    mq_leave(m, MQ_ALL, "G", "zz");
    put(0, 0, 1);
    rmq_until(&r, "0/0/0");
    rmq_close(&r);
}
END_TEST

/* A member that dies without a word: its connection ends, the others are told, and its queues go on with another. */
START_TEST(member_dies)
{
    rmq a, b;
    mq_topic(m, 0, "T", 2);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    rmq_open(&b, m, &d, "T", "*", 0, SETTINGS());
    WAIT(mq_members(m, 0, "G") == 2);
    WAIT(mq_polling(m, 0, "T", 0) == 1 && mq_polling(m, 0, "T", 1) == 1);
    int64_t before = beats();
    WAIT(beats() > before + 6);
    put(0, 0, 5);
    put(0, 1, 5);
    while (a.n + b.n < 10) {
        rmq_poll(&a);
        rmq_poll(&b);
    }
    ck_assert(a.n == 5 && b.n == 5);
    rmq_crash(&a);
    rmq_take(&b, 10);
    rmq_ack_all(&b);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 5 && mq_committed(m, 0, "G", "T", 1) == 5);
    rmq_close(&b);
}
END_TEST

/* A broker that has forgotten us (its restart) hears from us at once, not at the next heartbeat. */
START_TEST(registers_again)
{
    rmq r;
    mq_topic(m, 0, "T", 1);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.heartbeat-every", "60s"));
    WAIT(mq_members(m, 0, "G") == 1);
    mq_kill(m, 0, 0, 0);
    mq_restart(m, 0);
    put(0, 0, 1);
    rmq_take(&r, 1);
    ck_assert_int_eq(mq_members(m, 0, "G"), 1);
    rmq_close(&r);
}
END_TEST

/* ---- ordered ---- */

static struct {
    atomic_int pulls_unlocked, queries_unlocked, locks, unlocks;
    atomic_int held; /* a lock request was answered: as seen by the order of requests */
} seen;

static void watch_locks(void *arg, int b, const xo_command *c)
{
    (void)arg;
    const char *topic = xo_command_get(c, "topic");
    if (b != 0)
        return;
    if (c->code == XO_RMQ_LOCK) {
        atomic_fetch_add(&seen.locks, 1);
        atomic_store(&seen.held, 1);
    } else if (c->code == XO_RMQ_UNLOCK) {
        atomic_fetch_add(&seen.unlocks, 1);
        atomic_store(&seen.held, 0);
    } else if (topic && !strcmp(topic, "T") && !atomic_load(&seen.held)) {
        if (c->code == XO_RMQ_PULL)
            atomic_fetch_add(&seen.pulls_unlocked, 1);
        if (c->code == XO_RMQ_QUERY_OFFSET)
            atomic_fetch_add(&seen.queries_unlocked, 1);
    }
}

START_TEST(locked_before_the_first_pull)
{
    rmq r;
    char id[256], owner[256];
    memset(&seen, 0, sizeof seen);
    mq_topic(m, 0, "T", 1);
    put(0, 0, 5);
    mq_watch(m, watch_locks, NULL);
    rmq_open(&r, m, &d, "T", "*", 1, SETTINGS());
    rmq_take(&r, 5);
    for (size_t i = 0; i < 5; i++) {
        ck_assert_int_eq(r.got[i]->offset, (int64_t)i);
        ck_assert_int_eq(r.got[i]->ordered, 1);
    }
    ck_assert_int_eq(atomic_load(&seen.pulls_unlocked), 0);
    ck_assert_int_eq(atomic_load(&seen.queries_unlocked), 0); /* an offset read before the lock may be the old owner's next-to-last */
    ck_assert(mq_client_id(m, 0, "G", 0, id, sizeof id) && mq_lock_owner(m, 0, "G", "T", 0, owner, sizeof owner));
    ck_assert_str_eq(owner, id);
    rmq_ack_all(&r);
    rmq_close(&r);
    ck_assert(!mq_lock_owner(m, 0, "G", "T", 0, owner, sizeof owner)); /* and unlocked at the end */
    ck_assert_int_eq(mq_committed(m, 0, "G", "T", 0), 5);
    mq_watch(m, NULL, NULL);
}
END_TEST

START_TEST(lock_of_another)
{
    rmq r;
    mq_topic(m, 0, "T", 1);
    put(0, 0, 3);
    mq_lock(m, 0, "G", "T", 0, "another");
    rmq_open(&r, m, &d, "T", "*", 1, SETTINGS());
    size_t locks = mq_count(m, 0, XO_RMQ_LOCK);
    WAIT(mq_count(m, 0, XO_RMQ_LOCK) > locks || (rmq_poll(&r), 0));
    int64_t before = beats();
    while (beats() < before + 4)
        rmq_poll(&r);
    ck_assert_uint_eq(r.n, 0);
    ck_assert_int_eq(mq_polling(m, 0, "T", 0), 0);
    mq_lock(m, 0, "G", "T", 0, NULL);
    rmq_take(&r, 3);
    rmq_close(&r);
}
END_TEST

/* A broker that restarts has forgotten the locks: they are taken anew before anything is read. */
START_TEST(locked_again_after_a_restart)
{
    rmq r;
    char owner[256];
    memset(&seen, 0, sizeof seen);
    mq_topic(m, 0, "T", 1);
    put(0, 0, 3);
    rmq_open(&r, m, &d, "T", "*", 1, SETTINGS());
    rmq_take(&r, 3);
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 3);
    mq_kill(m, 0, 0, 0);
    mq_watch(m, watch_locks, NULL); /* held is 0 */
    mq_restart(m, 0);
    put(0, 0, 3);
    rmq_take(&r, 6);
    ck_assert_int_eq(atomic_load(&seen.pulls_unlocked), 0);
    ck_assert(mq_lock_owner(m, 0, "G", "T", 0, owner, sizeof owner));
    for (size_t i = 3; i < 6; i++)
        ck_assert_int_eq(r.got[i]->offset, (int64_t)i);
    rmq_close(&r);
    mq_watch(m, NULL, NULL);
}
END_TEST

/* Another got the lock while its broker was away: we stop reading and hand over nothing more, until it is free again. */
START_TEST(lock_lost)
{
    rmq r;
    mq_topic(m, 0, "T", 1);
    put(0, 0, 3);
    rmq_open(&r, m, &d, "T", "*", 1, SETTINGS());
    rmq_take(&r, 3);
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 3);
    mq_kill(m, 0, 0, 0);
    mq_lock(m, 0, "G", "T", 0, "another");
    mq_restart(m, 0);
    put(0, 0, 2);
    size_t locks = mq_count(m, 0, XO_RMQ_LOCK);
    WAIT(mq_count(m, 0, XO_RMQ_LOCK) > locks || (rmq_poll(&r), 0));
    WAIT(mq_polling(m, 0, "%RETRY%G", 0) == 1 || (rmq_poll(&r), 0)); /* which needs no lock, and else fares as ours does */
    int64_t before = beats();
    while (beats() < before + 5)
        rmq_poll(&r);
    ck_assert_uint_eq(r.n, 3);
    mq_lock(m, 0, "G", "T", 0, NULL);
    rmq_take(&r, 5);
    rmq_close(&r);
}
END_TEST

static struct {
    atomic_int told, unlocked_before;
} order;

static void watch_order(void *arg, int b, const xo_command *c)
{
    int64_t queue, offset;
    (void)arg;
    (void)b;
    if (c->code == XO_RMQ_UPDATE_OFFSET && !xo_command_get_int(c, "queueId", &queue) && !xo_command_get_int(c, "commitOffset", &offset) &&
        queue == 1 && offset == 5)
        atomic_store(&order.told, 1);
    if (c->code == XO_RMQ_UNLOCK && !atomic_load(&order.told))
        atomic_store(&order.unlocked_before, 1);
}

/* A queue that leaves is drained, committed, then unlocked: the next owner finds the position when it gets the lock. */
START_TEST(unlocked_after_the_commit)
{
    rmq r;
    char owner[256];
    mq_topic(m, 0, "T", 2);
    put(0, 1, 5);
    rmq_open(&r, m, &d, "T", "*", 1, SETTINGS("rocketmq.commit-every", "10m"));
    rmq_take(&r, 5);
    rmq_ack_all(&r);
    memset(&order, 0, sizeof order);
    mq_watch(m, watch_order, NULL);
    mq_join(m, MQ_ALL, "G", "zz", "T", "*");
    WAIT(!mq_lock_owner(m, 0, "G", "T", 1, owner, sizeof owner));
    mq_watch(m, NULL, NULL);
    ck_assert_int_eq(atomic_load(&order.unlocked_before), 0);
    ck_assert_int_eq(mq_committed(m, 0, "G", "T", 1), 5);
    ck_assert_int_eq(db_next(&d, "T", "broker-a", 1), 5);
    ck_assert(mq_lock_owner(m, 0, "G", "T", 0, owner, sizeof owner));
    rmq_close(&r);
}
END_TEST

/* What fails in an ordered queue stays here, in front of the ones behind it: nothing is sent back. */
START_TEST(ordered_runs_again_in_place)
{
    rmq r;
    mq_topic(m, 0, "T", 1);
    put(0, 0, 3);
    rmq_open(&r, m, &d, "T", "*", 1, SETTINGS());
    rmq_take(&r, 3);
    rmq_nack(&r, 0, 1);
    rmq_take(&r, 4);
    ck_body(r.got[3], "0/0/0");
    ck_assert_uint_eq(mq_count(m, MQ_ALL, XO_RMQ_SEND_BACK), 0);
    rmq_ack(&r, 1);
    rmq_ack(&r, 2);
    int64_t before = beats();
    WAIT(beats() > before + 3);
    ck_assert_int_le(mq_committed(m, 0, "G", "T", 0), 0);
    rmq_ack(&r, 3);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 3);
    rmq_close(&r);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("group");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    ADD(t, shares_as_java_does);
    ADD(t, more_members_than_queues);
    ADD(t, sorted_by_broker_and_number);
    ADD(t, two_members);
    ADD(t, hand_over_drains_and_commits);
    ADD(t, hand_over_waits_only_for_what_is_in_hand);
    ADD(t, hand_over_without_the_database);
    ADD(t, member_dies);
    ADD(t, registers_again);
    ADD(t, locked_before_the_first_pull);
    ADD(t, lock_of_another);
    ADD(t, locked_again_after_a_restart);
    ADD(t, lock_lost);
    ADD(t, unlocked_after_the_commit);
    ADD(t, ordered_runs_again_in_place);
    return rmq_run(t);
}
