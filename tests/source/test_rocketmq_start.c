/* Where the RocketMQ source begins to read, and what it reads again when a broker has another history than before. */
#include "tests/source/rmq.h"

static mq *m;
static db d;

static void setup(void)
{
    lines_reset();
    m = mq_start(1);
    mq_topic(m, 0, "T", 2);
    db_open(&d, "0badcafe");
}

static void teardown(void)
{
    mq_stop(m);
    db_close(&d);
}

/* n messages "q/offset". */
static void put_to(int b, const char *topic, int queue, int n)
{
    char body[32];
    for (int i = 0; i < n; i++) {
        snprintf(body, sizeof body, "%d/%lld", queue, (long long)mq_max(m, b, topic, queue));
        mq_put(m, b, topic, queue, NULL, NULL, body);
    }
}

static void put(int queue, int n)
{
    put_to(0, "T", queue, n);
}

/* A message of queue 0 whose body is another than its offset would say. */
static void put_new(const char *body)
{
    mq_store(m, 0, &(mq_message){.topic = "T", .body = body, .body_len = strlen(body), .store_time = xo_now_ms() + 5});
}

/* A row [first, next) of queue q as left by one who settled what stands there now. */
static void row(int queue, int64_t first, int64_t next)
{
    db_row(&d, "T", "broker-a", queue, 0, first, next, next > first ? mq_store_time(m, 0, "T", queue, next - 1) : -1,
           next > first ? mq_log_offset(m, 0, "T", queue, next - 1) : -1);
}

static void expect_first(const rmq *r, int queue, int64_t offset)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->got[i]->queue == queue && !strcmp(r->got[i]->topic, "T")) {
            ck_assert_int_eq(r->got[i]->offset, offset);
            return;
        }
    ck_abort_msg("nothing of queue %d", queue);
}

static void reading(rmq *r)
{
    WAIT((mq_polling(m, 0, "T", 0) == 1 && mq_polling(m, 0, "T", 1) == 1) || (rmq_poll(r), 0));
}

static void five_each(void)
{
    put(0, 5);
    put(1, 5);
}

/* Settles all that came; the broker hears that queue 0 is read up to `next`. */
static void settle_up_to(rmq *r, int64_t next)
{
    rmq_ack_all(r);
    WAIT(mq_committed(m, 0, "G", "T", 0) == next);
}

/* The same for both queues. */
static void settle_both(rmq *r, int64_t next)
{
    settle_up_to(r, next);
    WAIT(mq_committed(m, 0, "G", "T", 1) == next);
}

static void some_heartbeats(void)
{
    size_t beats = mq_count(m, 0, XO_RMQ_HEARTBEAT);
    WAIT(mq_count(m, 0, XO_RMQ_HEARTBEAT) > beats + 3);
}

static void dies_and_comes_back(int lose, int flags)
{
    mq_kill(m, 0, lose, flags);
    mq_restart(m, 0);
}

/* ---- a group that nobody knows ---- */

START_TEST(from_first)
{
    rmq r;
    five_each();
    mq_trim(m, 0, "T", 1, 3);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("consume-from", "first"));
    rmq_take(&r, 7);
    expect_first(&r, 0, 0);
    expect_first(&r, 1, 3);
    settle_both(&r, 5);
    ck_assert(!db_covers(&d, "T", "broker-a", 1, 2)); /* gaps are never bridged */
    rmq_close(&r);
}
END_TEST

/* LAST is for a new group only; what a queue or a broker that is added later holds already is read from its first. */
START_TEST(from_last)
{
    rmq r;
    five_each();
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("consume-from", "last"));
    reading(&r);
    put(0, 1);
    rmq_take(&r, 1);
    ck_body(r.got[0], "0/5");
    mq_topic(m, 0, "T", 3);
    put(2, 2); /* before anyone reads there */
    rmq_take(&r, 3);
    ck_assert(rmq_has(&r, "2/0") && rmq_has(&r, "2/1"));
    int b = mq_add_broker(m);
    mq_topic(m, b, "T", 1);
    put_to(b, "T", 0, 3);
    rmq_take(&r, 6);
    ck_assert(rmq_has(&r, "0/0") && rmq_has(&r, "0/1") && rmq_has(&r, "0/2"));
    rmq_ack_all(&r);
    WAIT(mq_committed(m, b, "G", "T", 0) == 3);
    rmq_close(&r);
    /* and a restart does not make it new again: one queue had no message yet */
    put(1, 1);
    put(0, 1);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("consume-from", "last"));
    rmq_take(&r, 2);
    ck_assert(rmq_has(&r, "1/5") && rmq_has(&r, "0/6"));
    rmq_close(&r);
}
END_TEST

/* The retry topic always begins at its beginning. */
START_TEST(from_last_but_retries_from_first)
{
    rmq r;
    put(0, 2);
    mq_topic(m, 0, "%RETRY%G", 1);
    mq_store(m, 0,
             &(mq_message){.topic = "%RETRY%G",
                           .uniq = "U7",
                           .properties = "RETRY_TOPIC\001T\002ORIGIN_MESSAGE_ID\001U7\002",
                           .body = "back",
                           .body_len = 4,
                           .reconsume = 1});
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("consume-from", "last"));
    rmq_take(&r, 1);
    ck_body(r.got[0], "back");
    rmq_close(&r);
}
END_TEST

START_TEST(from_timestamp)
{
    rmq r;
    char time[32];
    int64_t t = xo_now_ms() - 3600000;
    for (int i = 0; i < 6; i++)
        mq_store(m, 0, &(mq_message){.topic = "T", .queue = i % 2, .body = "x", .body_len = 1, .store_time = t + i * 1000});
    snprintf(time, sizeof time, "%lld", (long long)t + 2500);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("consume-from", "timestamp", "consume-from.time", time));
    rmq_take(&r, 3);
    expect_first(&r, 0, 2);
    expect_first(&r, 1, 1);
    rmq_close(&r);
}
END_TEST

/* ---- a group that someone knows ---- */

/* The broker has a commit of one queue, the database nothing: the other queue begins at its minimum, not at its end. */
START_TEST(known_to_the_broker)
{
    rmq r;
    five_each();
    mq_commit(m, 0, "G", "T", 0, 3);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("consume-from", "last"));
    rmq_take(&r, 7);
    expect_first(&r, 0, 3);
    expect_first(&r, 1, 0);
    rmq_close(&r);
}
END_TEST

/* consumerOffset.json was deleted: the database knows. */
START_TEST(known_to_the_database)
{
    rmq r;
    five_each();
    row(0, 0, 4);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("consume-from", "last"));
    rmq_take(&r, 6);
    expect_first(&r, 0, 4);
    expect_first(&r, 1, 0);
    settle_both(&r, 5);
    rmq_close(&r);
}
END_TEST

/* A topic without messages: that its brokers are there is known long before a pull ends. */
START_TEST(soon_heard_of)
{
    rmq r;
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.long-poll", "60s"));
    WAIT(rmq_counts(&r).heard >= 2); /* one per queue */
    reading(&r);
    ck_assert_uint_eq(rmq_counts(&r).answers, 0);
    rmq_close(&r);
}
END_TEST

/* A right that is missing does not come by asking again, and must not look like a topic without messages. */
START_TEST(not_allowed_to_ask)
{
    rmq r;
    five_each();
    mq_next(m, MQ_ALL, XO_RMQ_QUERY_OFFSET, 1, MQ_ANSWER, XO_RMQ_NO_PERMISSION);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    WAIT(rmq_poll(&r) || r.last.pub.code == XONCE_E_AUTH);
    ck_assert_int_eq(r.last.pub.code, XONCE_E_AUTH);
    ck_assert_int_eq(r.last.pub.again, 0);
    ck_assert_ptr_nonnull(strstr(r.last.pub.text, " cannot be started: "));
    rmq_close(&r);
}
END_TEST

START_TEST(offsets_deleted_while_it_runs)
{
    rmq r;
    put(0, 5);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 5);
    settle_up_to(&r, 5);
    dies_and_comes_back(0, MQ_LOSE_OFFSET_FILE);
    put(0, 1);
    rmq_take(&r, 6);
    ck_body(r.got[5], "0/5");
    settle_up_to(&r, 6);
    rmq_close(&r);
}
END_TEST

/* Of eight messages the database knows five as settled, the broker as many as it has committed: `n` are read, from `first`. */
static void both_know(rmq *r, int64_t committed, const char *const *settings, size_t n, int64_t first)
{
    put(0, 8);
    row(0, 0, 5);
    mq_commit(m, 0, "G", "T", 0, committed);
    rmq_open(r, m, &d, "T", "*", 0, settings);
    rmq_take(r, n);
    expect_first(r, 0, first);
}

/* The broker is ahead without an explanation: the database counts, and it is said. */
START_TEST(database_against_broker)
{
    rmq r;
    both_know(&r, 7, SETTINGS(), 3, 5);
    ck_assert_int_eq(rmq_counts(&r).unhealthy, 1);
    ck_assert_int_ge(lines_with("5") && lines_with("7"), 1);
    rmq_close(&r);
}
END_TEST

START_TEST(broker_behind_the_database)
{
    rmq r;
    both_know(&r, 2, SETTINGS(), 3, 5);
    settle_up_to(&r, 8);
    rmq_close(&r);
}
END_TEST

START_TEST(start_broker)
{
    rmq r;
    both_know(&r, 7, SETTINGS("start", "broker"), 1, 7);
    settle_up_to(&r, 8);
    ck_assert(!db_covers(&d, "T", "broker-a", 0, 5) && db_covers(&d, "T", "broker-a", 0, 7)); /* what was passed over was not settled */
    rmq_close(&r);
}
END_TEST

/* Java members in the group have settled messages that our database has not seen. */
START_TEST(broker_counts_with_java_members)
{
    rmq r;
    put(1, 2);
    mq_join(m, 0, "G", "zz-java", "T", "*");
    both_know(&r, 7, SETTINGS(), 1, 7); /* gets queue 0, the other one queue 1 */
    rmq_close(&r);
}
END_TEST

/* ---- another history ---- */

/* Consumes ten of queue 0, all settled and written. */
static void ten(rmq *r, const char *const *settings)
{
    put(0, 10);
    rmq_open(r, m, &d, "T", "*", 0, settings);
    while (r->n < 10) {
        rmq_poll(r);
        rmq_ack_all(r);
    }
    ck_assert_uint_eq(r->n, 10);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 10 && db_next(&d, "T", "broker-a", 0) == 10);
    mq_flush_commits(m, 0);
}

static void settled_again(rmq *r, int64_t next)
{
    settle_up_to(r, next);
    WAIT(db_next(&d, "T", "broker-a", 0) >= next);
}

#define BODIES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Puts `bodies` where the broker's log ends now. Every message above was handed over once, each of these once, and queue 0 is settled to `next`. */
static void refill(rmq *r, const char *const *bodies, int64_t next)
{
    size_t n = 0, before = r->n;
    for (; bodies[n]; n++)
        put_new(bodies[n]);
    rmq_until(r, bodies[n - 1]);
    rmq_take(r, before + n);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(rmq_has(r, bodies[i]) == 1, "%s", bodies[i]);
    settled_again(r, next);
}

/* The broker died with its last three messages, which all were settled, and was refilled before we read on: what is new at old offsets is handed
 * over, what is covered is not, and a row of the next generation begins at the first new one. */
START_TEST(truncated_and_refilled)
{
    rmq r;
    xo_range old, young;
    ten(&r, SETTINGS());
    dies_and_comes_back(3, 0);
    refill(&r, BODIES("new7", "new8", "new9", "new10"), 11);
    ck_assert(db_get(&d, "T", "broker-a", 0, 0, &old) && db_get(&d, "T", "broker-a", 0, 1, &young));
    ck_assert(old.first == 0 && old.next == 10);
    ck_assert(young.first == 7 && young.next == 11);
    rmq_close(&r);
    /* what one run knows the next knows too */
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    put_new("new11");
    rmq_take(&r, 1);
    ck_body(r.got[0], "new11");
    rmq_close(&r);
}
END_TEST

/* The same, but it was refilled later: for a time our position lies beyond the queue's end. */
START_TEST(truncated_and_refilled_later)
{
    rmq r;
    ten(&r, SETTINGS());
    dies_and_comes_back(3, 0);
    size_t polls = mq_count(m, 0, XO_RMQ_PULL);
    WAIT(mq_count(m, 0, XO_RMQ_PULL) > polls + 3 && mq_polling(m, 0, "T", 0) == 1); /* it waits at the new end, not beyond */
    refill(&r, BODIES("new7", "new8"), 9);
    rmq_close(&r);
}
END_TEST

/* The end of the log goes without a connection breaking, and part of it is refilled: the broker's advice to jump to its end would pass over what is
 * new. */
START_TEST(end_lost_without_a_word)
{
    rmq r;
    ten(&r, SETTINGS());
    WAIT(mq_polling(m, 0, "T", 0) == 1);
    mq_cut(m, 0, 5);
    refill(&r, BODIES("new5", "new6"), 7);
    rmq_close(&r);
}
END_TEST

/* Everything is gone, the topic was made anew. */
START_TEST(topic_made_anew)
{
    rmq r;
    ten(&r, SETTINGS());
    dies_and_comes_back(1000, MQ_LOSE_OFFSET_FILE);
    refill(&r, BODIES("a", "b"), 2);
    rmq_close(&r);
}
END_TEST

/* The broker was away only: it is looked back, and nothing comes twice. */
START_TEST(looks_back_and_hands_over_nothing_twice)
{
    rmq r;
    ten(&r, SETTINGS());
    size_t pulls = mq_count(m, 0, XO_RMQ_SEARCH_OFFSET);
    mq_disconnect(m, 0);
    WAIT(mq_count(m, 0, XO_RMQ_SEARCH_OFFSET) > pulls);
    refill(&r, BODIES("x"), 11);
    ck_assert_uint_eq(db_rows(&d, "T", "broker-a", 0), 1);
    rmq_close(&r);
}
END_TEST

/* The same while we were away. */
START_TEST(looks_back_at_start)
{
    rmq r;
    ten(&r, SETTINGS());
    rmq_close(&r);
    dies_and_comes_back(3, MQ_LOSE_COMMITS);
    for (int i = 7; i < 12; i++)
        put_new("new");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 5);
    ck_assert_int_eq(rmq_has(&r, "new"), 5);
    ck_assert_int_eq(r.got[0]->offset, 7);
    settled_again(&r, 12);
    rmq_close(&r);
}
END_TEST

/* Its broker has another address: a master that was promoted, or moved. */
START_TEST(broker_moves)
{
    rmq r;
    ten(&r, SETTINGS());
    mq_move(m, 0);
    refill(&r, BODIES("x"), 11);
    rmq_close(&r);
}
END_TEST

/* A message in hand from before its broker died: that it is settled says nothing about the one that stands at its offset now. */
START_TEST(settles_from_before_do_not_count)
{
    rmq r;
    put(0, 10);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 10);
    for (size_t i = 0; i < 7; i++)
        rmq_ack(&r, i);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 7);
    mq_flush_commits(m, 0);
    dies_and_comes_back(3, 0); /* 7, 8, 9 are in hand, and gone there */
    put_new("new7");
    put_new("new8");
    put_new("new9");
    rmq_until(&r, "new9");
    for (size_t i = 7; i < 10; i++)
        rmq_ack(&r, i);
    some_heartbeats();
    ck_assert_int_le(db_next(&d, "T", "broker-a", 0), 7);
    ck_assert_int_le(mq_committed(m, 0, "G", "T", 0), 7);
    for (int i = 7; i < 10; i++) {
        char body[16];
        snprintf(body, sizeof body, "new%d", i);
        ck_assert_int_eq(rmq_has(&r, body), 1);
    }
    settled_again(&r, 10);
    rmq_close(&r);
}
END_TEST

/* The same while our memory is full and no pull is under way: only the connection tells. */
START_TEST(truncated_while_nothing_is_asked)
{
    rmq r;
    put(0, 10);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.queue-messages", "10"));
    rmq_take(&r, 10);
    WAIT(mq_polling(m, 0, "T", 1) == 1 && mq_polling(m, 0, "T", 0) == 0);
    for (size_t i = 0; i < 7; i++)
        rmq_ack(&r, i);
    WAIT(mq_polling(m, 0, "T", 0) == 1);
    put(0, 7);
    rmq_take(&r, 17); /* full again: 7 to 16 */
    dies_and_comes_back(10, 0);
    put_new("new7");
    put_new("new8");
    rmq_until(&r, "new8");
    ck_assert_int_eq(rmq_has(&r, "new7"), 1);
    settled_again(&r, 9);
    rmq_close(&r);
}
END_TEST

/* A broker that dies in the middle, again and again, while messages come and are settled: each is seen, and settled ones not again. */
START_TEST(broker_dies_again_and_again)
{
    rmq r;
    char body[16];
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    int k = 0;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 20; i++) {
            snprintf(body, sizeof body, "m%d", k++);
            mq_put(m, 0, "T", i % 2, NULL, NULL, body);
        }
        while (r.n < (size_t)k - 10)
            rmq_poll(&r);
        rmq_ack_all(&r);
        dies_and_comes_back(0, MQ_LOSE_COMMITS);
    }
    for (int i = 0; i < k; i++) {
        snprintf(body, sizeof body, "m%d", i);
        rmq_until(&r, body);
    }
    settle_both(&r, k / 2);
    ck_assert_int_eq(db_next(&d, "T", "broker-a", 0), k / 2);
    rmq_close(&r);
}
END_TEST

/* ---- code 21 ---- */

/* What is below the minimum is gone: it goes on there, says so, and no range claims the gap. */
START_TEST(offset_too_small)
{
    rmq r;
    ten(&r, SETTINGS());
    rmq_close(&r);
    put(0, 10);
    mq_trim(m, 0, "T", 0, 15);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 5);
    expect_first(&r, 0, 15);
    settled_again(&r, 20);
    ck_assert(!db_covers(&d, "T", "broker-a", 0, 12));
    ck_assert_int_eq(rmq_counts(&r).unhealthy, 1);
    rmq_close(&r);
}
END_TEST

/* Ten are settled, five in hand, and n - 5 wait at the broker, as no more than five are taken at a time. */
static void five_of(rmq *r, int n)
{
    ten(r, SETTINGS("rocketmq.queue-messages", "5", "rocketmq.pull-batch", "5"));
    put(0, n);
    while (r->n < 15)
        rmq_poll(r);
}

static void settle_until(rmq *r, const char *body)
{
    while (rmq_find(r, body) < 0) {
        rmq_ack_all(r);
        rmq_poll(r);
    }
}

/* What lies between is in no range. */
static void goes_on_at_35(rmq *r)
{
    settle_until(r, "0/39");
    settled_again(r, 40);
    ck_assert_int_eq(rmq_has(r, "0/35"), 1);
    ck_assert(!db_covers(&d, "T", "broker-a", 0, 34) && db_covers(&d, "T", "broker-a", 0, 35));
}

START_TEST(offset_too_small_while_it_runs)
{
    rmq r;
    five_of(&r, 30);
    mq_trim(m, 0, "T", 0, 35);
    goes_on_at_35(&r);
    rmq_close(&r);
}
END_TEST

static atomic_int confirmed;

static void watch_confirm(void *arg, int b, const xo_command *c)
{
    int64_t offset;
    const char *topic = xo_command_get(c, "topic");
    (void)arg;
    (void)b;
    if (c->code == XO_RMQ_UPDATE_OFFSET && topic && !strcmp(topic, "T") && !xo_command_get_int(c, "commitOffset", &offset) && offset == 2)
        atomic_fetch_add(&confirmed, 1);
}

/* 5.x: an operator sets the group back. What is settled is not handed over again; the broker hears our position anew, and what comes next comes once.
 */
START_TEST(reset_backward_5)
{
    rmq r;
    ten(&r, SETTINGS());
    atomic_store(&confirmed, 0);
    mq_watch(m, watch_confirm, NULL);
    mq_reset_5(m, 0, "G", "T", 0, 2);
    WAIT(atomic_load(&confirmed) > 0); /* the reset is confirmed first, as a report under way may have undone it */
    mq_watch(m, NULL, NULL);
    refill(&r, BODIES("x"), 11);
    rmq_close(&r);
}
END_TEST

enum { RESET_5, RESET_4, RESET_4_LIST };

/* An operator sets the group forward: what he skips is not read, and in no range. */
static void reset_forward(int how)
{
    rmq r;
    five_of(&r, 30);
    if (how == RESET_5)
        mq_reset_5(m, 0, "G", "T", 0, 35);
    else
        mq_reset_4(m, 0, "G", "T", 0, 35, how == RESET_4_LIST);
    goes_on_at_35(&r);
    ck_assert(!rmq_has(&r, "0/30"));
    rmq_close(&r);
}

START_TEST(reset_forward_5)
{
    reset_forward(RESET_5);
}
END_TEST

/* 4.9: the broker tells each member, in both forms of the table. */
START_TEST(reset_backward_4)
{
    rmq r;
    ten(&r, SETTINGS());
    for (int list = 0; list < 2; list++) {
        char body[16];
        mq_commit(m, 0, "G", "T", 0, 2);
        mq_reset_4(m, 0, "G", "T", 0, 2, list);
        WAIT(lines_with("operator") > list);
        snprintf(body, sizeof body, "x%d", list);
        refill(&r, BODIES(body), 11 + list);
    }
    rmq_close(&r);
}
END_TEST

START_TEST(reset_forward_4)
{
    reset_forward(RESET_4);
}
END_TEST

START_TEST(reset_forward_4_as_a_list)
{
    reset_forward(RESET_4_LIST);
}
END_TEST

static void tell_reset(const char *group, const char *table)
{
    xo_command c;
    xo_buf body = {0};
    xo_command_init(&c, XO_RMQ_RESET_OFFSET);
    xo_command_set(&c, "topic", "T");
    xo_command_set(&c, "group", group);
    xo_buf_str(&body, table);
    xo_command_take_body(&c, &body);
    mq_tell(m, 0, "G", &c);
}

/* A group of its own is meant; one for another group, or rubbish, moves nothing. */
START_TEST(reset_for_others)
{
    rmq r;
    five_of(&r, 29);
    tell_reset("OTHER", "{\"offsetTable\":{{\"brokerName\":\"broker-a\",\"queueId\":0,\"topic\":\"T\"}:35}}");
    tell_reset("G", "{\"offsetTable\":{{{");
    WAIT(lines_with("cannot be understood")); /* that was the second */
    put_new("x");
    settle_until(&r, "x");
    ck_assert_uint_eq(r.n, 40); /* each once */
    settled_again(&r, 40);
    rmq_close(&r);
}
END_TEST

/* With a filter, offsets that the broker passes over are settled with what stands around them: the position keeps up. */
START_TEST(filtered_stretches)
{
    rmq r;
    for (int i = 0; i < 100; i++)
        mq_put(m, 0, "T", 0, i % 40 == 39 ? "A" : "B", NULL, i % 40 == 39 ? "a" : "b");
    rmq_open(&r, m, &d, "T", "A", 0, SETTINGS());
    rmq_take(&r, 2);
    ck_assert_int_eq(rmq_has(&r, "a"), 2);
    rmq_ack(&r, 1);
    some_heartbeats();
    ck_assert_int_le(mq_committed(m, 0, "G", "T", 0), 39);
    rmq_ack(&r, 0);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 100);
    rmq_close(&r);
    /* who widens the filter gets nothing of what was settled: the position went by. Only what comes */
    rmq_open(&r, m, &d, "T", "A || B", 0, SETTINGS("look-back", "0"));
    mq_put(m, 0, "T", 0, "B", NULL, "next");
    rmq_until(&r, "next");
    ck_assert_int_eq(rmq_has(&r, "a"), 0);
    rmq_close(&r);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("start");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    ADD(t, from_first);
    ADD(t, from_last);
    ADD(t, from_last_but_retries_from_first);
    ADD(t, from_timestamp);
    ADD(t, known_to_the_broker);
    ADD(t, known_to_the_database);
    ADD(t, soon_heard_of);
    ADD(t, not_allowed_to_ask);
    ADD(t, offsets_deleted_while_it_runs);
    ADD(t, database_against_broker);
    ADD(t, broker_behind_the_database);
    ADD(t, start_broker);
    ADD(t, broker_counts_with_java_members);
    ADD(t, truncated_and_refilled);
    ADD(t, truncated_and_refilled_later);
    ADD(t, end_lost_without_a_word);
    ADD(t, topic_made_anew);
    ADD(t, looks_back_and_hands_over_nothing_twice);
    ADD(t, looks_back_at_start);
    ADD(t, broker_moves);
    ADD(t, settles_from_before_do_not_count);
    ADD(t, truncated_while_nothing_is_asked);
    ADD(t, broker_dies_again_and_again);
    ADD(t, offset_too_small);
    ADD(t, offset_too_small_while_it_runs);
    ADD(t, reset_backward_5);
    ADD(t, reset_forward_5);
    ADD(t, reset_backward_4);
    ADD(t, reset_forward_4);
    ADD(t, reset_forward_4_as_a_list);
    ADD(t, reset_for_others);
    ADD(t, filtered_stretches);
    return rmq_run(t);
}
