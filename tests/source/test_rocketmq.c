/* The RocketMQ source against the in-process cluster: consuming, committing, bounds, filters, broken brokers, requests from outside, stopping. */
#include "tests/source/rmq.h"
#include "remoting/cluster.h"
#include "remoting/wirejson.h"

static mq *m;
static db d;

static void setup(void)
{
    lines_reset();
    m = mq_start(2);
    mq_topic(m, MQ_ALL, "T", 2);
    db_open(&d, "0badcafe");
}

static void teardown(void)
{
    mq_stop(m);
    db_close(&d);
}

static void put_many(int b, int queue, int n, const char *tag)
{
    char uniq[32], body[32];
    for (int i = 0; i < n; i++) {
        snprintf(uniq, sizeof uniq, "U%d-%d-%lld", b, queue, (long long)mq_max(m, b, "T", queue));
        snprintf(body, sizeof body, "%d/%d/%lld", b, queue, (long long)mq_max(m, b, "T", queue));
        mq_put(m, b, "T", queue, tag, uniq, body);
    }
}

static int committed_all(void)
{
    for (int b = 0; b < 2; b++)
        for (int i = 0; i < 2; i++) {
            int64_t max = mq_max(m, b, "T", i);
            if ((max && mq_committed(m, b, "G", "T", i) != max) || (max && db_next(&d, "T", mq_name(m, b), i) != max))
                return 0;
        }
    return 1;
}

/* ---- consuming ---- */

START_TEST(each_message_once)
{
    rmq r;
    for (int i = 0; i < 4; i++)
        put_many(i / 2, i % 2, 50, "A");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 200);
    int64_t next[4] = {0};
    for (size_t i = 0; i < r.n; i++) {
        const xonce_message *x = r.got[i];
        char body[32], uniq[32];
        int b = !strcmp(x->broker, "broker-b");
        size_t n;
        ck_assert(b || !strcmp(x->broker, "broker-a"));
        ck_assert_int_eq(x->offset, next[b * 2 + x->queue]++); /* of a queue in order */
        snprintf(body, sizeof body, "%d/%d/%lld", b, x->queue, (long long)x->offset);
        snprintf(uniq, sizeof uniq, "U%d-%d-%lld", b, x->queue, (long long)x->offset);
        ck_body(x, body);
        const char *u = xo_message_uniq(x, &n);
        ck_assert(n == strlen(uniq) && !memcmp(u, uniq, n));
        ck_assert_str_eq(x->topic, "T");
        ck_assert_int_eq(x->attempt, 1);
        ck_assert_int_eq(x->store_time, mq_store_time(m, b, "T", x->queue, x->offset));
        ck_assert_int_eq(x->log_offset, mq_log_offset(m, b, "T", x->queue, x->offset));
        ck_assert_uint_eq(strlen(xonce_message_id(x)), 32);
    }
    rmq_ack_all(&r);
    WAIT(committed_all());
    rmq_close(&r);
    /* the next one begins behind them, though it looks back */
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    mq_put(m, 0, "T", 0, NULL, "UX", "more");
    mq_put(m, 1, "T", 1, NULL, "UY", "more");
    rmq_take(&r, 2);
    ck_assert_int_eq(rmq_has(&r, "more"), 2);
    rmq_close(&r);
}
END_TEST

START_TEST(long_poll_brings_what_comes_later)
{
    rmq r;
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.long-poll", "20s"));
    WAIT(mq_polling(m, 0, "T", 0) == 1 && mq_polling(m, 1, "T", 1) == 1);
    int64_t before = xo_mono_ms();
    put_many(1, 1, 1, NULL);
    rmq_take(&r, 1);
    ck_assert_int_lt(xo_mono_ms() - before, 10000);
    rmq_close(&r);
    ck_assert_int_lt(xo_mono_ms() - before, 15000); /* nor does stopping wait for polls */
}
END_TEST

START_TEST(topic_that_appears)
{
    rmq r;
    rmq_open(&r, m, &d, "NEW", "*", 0, SETTINGS());
    WAIT(mq_members(m, 0, "G") >= 0 && mq_count(m, MQ_NAME_SERVER, XO_RMQ_ROUTE) > 3);
    for (int i = 0; i < 20; i++)
        rmq_poll(&r);
    if (r.errors)
        ck_assert_int_eq(r.last.pub.again, 1);
    mq_topic(m, 1, "NEW", 1);
    mq_put(m, 1, "NEW", 0, NULL, "U", "hello");
    rmq_take(&r, 1);
    rmq_close(&r);
}
END_TEST

START_TEST(bodies_packed_and_members_twice)
{
    static const int codecs[] = {XO_SYS_ZLIB, XO_SYS_LZ4, XO_SYS_ZSTD};
    rmq r;
    xo_buf big = {0};
    for (int i = 0; i < 500; i++)
        xo_buf_printf(&big, "line %d\n", i);
    for (int i = 0; i < 3; i++) {
        xo_buf packed = {0};
        ck_assert_int_eq(xo_codec_pack(codecs[i], 5, big.p, big.len, &packed), XONCE_OK);
        mq_store(m, 0,
                 &(mq_message){.topic = "T",
                               .uniq = (const char *[]){"UZ", "UL", "US"}[i],
                               .body = packed.p,
                               .body_len = packed.len,
                               .sys_flag = XO_SYS_COMPRESSED | codecs[i]});
        xo_buf_free(&packed);
    }
    mq_twice(m, 0, 1000); /* each record twice in every answer */
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 3);
    mq_put(m, 0, "T", 0, NULL, "UE", "end");
    rmq_take(&r, 4);
    for (int i = 0; i < 3; i++)
        ck_assert(r.got[i]->body_len == big.len && !memcmp(r.got[i]->body, big.p, big.len));
    rmq_ack_all(&r);
    WAIT(committed_all());
    rmq_close(&r);
    xo_buf_free(&big);
}
END_TEST

/* A damaged body is asked for again, then handed over as one that cannot be run: never skipped, never blocking. */
START_TEST(damaged_body)
{
    rmq r;
    put_many(0, 0, 3, NULL);
    mq_corrupt(m, 0, "T", 0, 1);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 3);
    int refused = 0;
    for (size_t i = 0; i < 3; i++) {
        refused += r.got[i]->refuse != NULL;
        ck_assert_int_eq(r.got[i]->refuse != NULL, r.got[i]->offset == 1);
    }
    ck_assert_int_eq(refused, 1);
    rmq_ack_all(&r);
    WAIT(committed_all());
    rmq_close(&r);
}
END_TEST

/* ---- commits ---- */

enum { QUEUES = 2, EACH = 100 };
static struct {
    atomic_llong allowed[QUEUES]; /* no commit may be beyond: the lowest unsettled offset */
    atomic_int commits, wrong;
    char text[200];
} guard;

/* On the cluster's thread: each commit as it arrives. */
static void check_commit(void *arg, int b, const xo_command *c)
{
    (void)arg;
    int64_t queue, offset, flag = 0;
    int pull = c->code == XO_RMQ_PULL;
    if (b != 0 || (c->code != XO_RMQ_UPDATE_OFFSET && !pull) || strcmp(xo_command_get(c, "topic"), "T") != 0)
        return;
    if (pull && (xo_command_get_int(c, "sysFlag", &flag) || !(flag & 1)))
        return;
    ck_assert(!xo_command_get_int(c, "queueId", &queue) && !xo_command_get_int(c, "commitOffset", &offset) && queue >= 0 && queue < QUEUES);
    int64_t saved = db_next(&d, "T", "broker-a", (int)queue);
    atomic_fetch_add(&guard.commits, 1);
    if (offset > atomic_load(&guard.allowed[queue]) || offset > saved) {
        atomic_fetch_add(&guard.wrong, 1);
        snprintf(guard.text, sizeof guard.text, "queue %d: commit %lld, allowed %lld, in the database %lld", (int)queue, (long long)offset,
                 (long long)atomic_load(&guard.allowed[queue]), (long long)saved);
    }
}

START_TEST(commits_never_pass_an_unsettled_message)
{
    rmq r;
    unsigned char done[QUEUES][EACH] = {{0}};
    memset(&guard, 0, sizeof guard);
    for (int i = 0; i < QUEUES; i++)
        put_many(0, i, EACH, NULL);
    mq_watch(m, check_commit, NULL);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.commit-every", "10ms"));
    rmq_take(&r, QUEUES * EACH);
    unsigned seed = 12345;
    for (int left = QUEUES * EACH; left > 0; left--) {
        seed = seed * 1103515245u + 12345u;
        size_t i = (seed >> 8) % r.n;
        while (!r.got[i])
            i = (i + 1) % r.n;
        int q = r.got[i]->queue;
        done[q][r.got[i]->offset] = 1;
        int64_t low = 0;
        while (low < EACH && done[q][low])
            low++;
        atomic_store(&guard.allowed[q], low);
        rmq_ack(&r, i);
        if (left % 8 == 0) { /* let commits happen between */
            int seen = atomic_load(&guard.commits);
            for (int64_t end = xo_mono_ms() + 30; atomic_load(&guard.commits) == seen && xo_mono_ms() < end;)
                xo_pause_ms(1);
        }
    }
    WAIT(mq_committed(m, 0, "G", "T", 0) == EACH && mq_committed(m, 0, "G", "T", 1) == EACH);
    ck_assert_msg(!atomic_load(&guard.wrong), "%s", guard.text);
    ck_assert_int_gt(atomic_load(&guard.commits), 2);
    rmq_close(&r);
    ck_assert_msg(!atomic_load(&guard.wrong), "%s", guard.text);
    mq_watch(m, NULL, NULL);
}
END_TEST

START_TEST(no_commit_without_the_database)
{
    rmq r;
    memset(&guard, 0, sizeof guard);
    put_many(0, 0, 10, NULL);
    mq_watch(m, check_commit, NULL);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 10);
    db_fail_saves(&d, 1);
    rmq_ack_all(&r);
    atomic_store(&guard.allowed[0], 10);
    size_t refused = db_refused(&d);
    WAIT(db_refused(&d) > refused + 2);
    ck_assert_int_le(mq_committed(m, 0, "G", "T", 0), 0);
    db_fail_saves(&d, 0);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 10);
    ck_assert_msg(!atomic_load(&guard.wrong), "%s", guard.text);
    rmq_close(&r);
    mq_watch(m, NULL, NULL);
}
END_TEST

/* A database that cannot be read: nothing starts, nothing is lost, and it goes on when the database is back. */
START_TEST(no_start_without_the_database)
{
    rmq r;
    put_many(0, 0, 3, NULL);
    d.fail_load = d.fail_knows = 1;
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    WAIT(db_refused(&d) > 1 || (rmq_poll(&r), 0));
    ck_assert_uint_eq(r.n, 0);
    ck_assert_int_eq(mq_polling(m, 0, "T", 0), 0);
    pthread_mutex_lock(&d.lock);
    d.fail_load = d.fail_knows = 0;
    pthread_mutex_unlock(&d.lock);
    rmq_take(&r, 3);
    rmq_close(&r);
}
END_TEST

/* ---- bounds ---- */

/* Takes what comes until the source has looked round several times and asked for nothing. */
static void take_until_quiet(rmq *r)
{
    size_t pulls = 0, beats = 0, n = SIZE_MAX;
    for (int64_t end = xo_mono_ms() + 20000; xo_mono_ms() < end;) {
        rmq_poll(r);
        size_t p = mq_count(m, MQ_ALL, XO_RMQ_PULL), b = mq_count(m, 0, XO_RMQ_HEARTBEAT);
        if (p != pulls || r->n != n) {
            pulls = p;
            beats = b;
            n = r->n;
        } else if (b > beats + 4) {
            return;
        }
    }
    ck_abort_msg("it never becomes quiet");
}

START_TEST(bound_of_a_queue)
{
    rmq r;
    put_many(0, 0, 200, NULL);
    mq_topic(m, 0, "ONE", 1);
    for (int i = 0; i < 200; i++)
        mq_put(m, 0, "ONE", 0, NULL, NULL, "x");
    rmq_open(&r, m, &d, "ONE", "*", 0, SETTINGS("rocketmq.queue-messages", "20", "rocketmq.pull-batch", "8", "rocketmq.long-poll", "100ms"));
    while (r.n < 20)
        rmq_poll(&r);
    /* nothing is settled: it stands still, but for the retry queue's polls */
    size_t beats = mq_count(m, 0, XO_RMQ_HEARTBEAT);
    while (mq_count(m, 0, XO_RMQ_HEARTBEAT) < beats + 5)
        rmq_poll(&r);
    ck_assert_uint_lt(r.n, 20 + 8);
    ck_assert_int_eq(mq_polling(m, 0, "ONE", 0), 0);
    ck_assert_uint_lt(rmq_counts(&r).buffered + rmq_counts(&r).unacked, 20 + 8 + 1);
    rmq_ack_all(&r);
    while (r.n < 200) {
        rmq_poll(&r);
        rmq_ack_all(&r);
    }
    WAIT(mq_committed(m, 0, "G", "ONE", 0) == 200);
    rmq_close(&r);
}
END_TEST

START_TEST(bound_over_all)
{
    rmq r;
    for (int i = 0; i < 4; i++)
        put_many(i / 2, i % 2, 200, NULL);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("buffer.messages", "100", "rocketmq.pull-batch", "10", "rocketmq.long-poll", "60s"));
    take_until_quiet(&r);
    ck_assert_uint_ge(r.n, 100);
    ck_assert_uint_lt(r.n, 100 + 4 * 10);
    int from[4] = {0};
    for (size_t i = 0; i < r.n; i++)
        from[(!strcmp(r.got[i]->broker, "broker-b")) * 2 + r.got[i]->queue]++;
    for (int i = 0; i < 4; i++)
        ck_assert_msg(from[i] > 0, "queue %d starves", i);
    while (r.n < 800) {
        rmq_ack_all(&r);
        rmq_poll(&r);
    }
    rmq_ack_all(&r);
    WAIT(committed_all());
    rmq_close(&r);
}
END_TEST

START_TEST(bound_of_bytes)
{
    rmq r;
    size_t n = 200 << 10;
    char *body = xo_calloc(n, 1);
    memset(body, 'x', n);
    mq_topic(m, 0, "ONE", 1);
    for (int i = 0; i < 20; i++)
        mq_store(m, 0, &(mq_message){.topic = "ONE", .body = body, .body_len = n});
    rmq_open(&r, m, &d, "ONE", "*", 0, SETTINGS("rocketmq.queue-size", "1M", "rocketmq.long-poll", "100ms"));
    while (r.n < 6)
        rmq_poll(&r);
    size_t beats = mq_count(m, 0, XO_RMQ_HEARTBEAT);
    while (mq_count(m, 0, XO_RMQ_HEARTBEAT) < beats + 5)
        rmq_poll(&r);
    ck_assert_uint_lt(r.n, 6 + 3);
    while (r.n < 20) {
        rmq_ack_all(&r);
        rmq_poll(&r);
    }
    rmq_close(&r);
    free(body);
}
END_TEST

/* One message that is never settled: what is settled behind it is remembered in bounded memory, so reading stops there too. */
START_TEST(bound_behind_a_stuck_message)
{
    rmq r;
    mq_topic(m, 0, "ONE", 1);
    for (int i = 0; i < 500; i++)
        mq_put(m, 0, "ONE", 0, NULL, NULL, "x");
    rmq_open(&r, m, &d, "ONE", "*", 0, SETTINGS("rocketmq.queue-messages", "50", "rocketmq.long-poll", "100ms"));
    rmq_poll(&r);
    size_t beats = mq_count(m, 0, XO_RMQ_HEARTBEAT);
    while (mq_count(m, 0, XO_RMQ_HEARTBEAT) < beats + 8) {
        rmq_poll(&r);
        for (size_t i = 1; i < r.n; i++)
            if (r.got[i])
                rmq_ack(&r, i);
    }
    ck_assert_uint_lt(r.n, 500);
    ck_assert_int_le(mq_committed(m, 0, "G", "ONE", 0), 0);
    rmq_ack(&r, 0);
    while (r.n < 500) {
        rmq_poll(&r);
        rmq_ack_all(&r);
    }
    WAIT(mq_committed(m, 0, "G", "ONE", 0) == 500);
    rmq_close(&r);
}
END_TEST

/* ---- filters ---- */

/* "Aa" and "BB" have one hash: the broker lets both through, we do not. */
START_TEST(tags_are_compared_exactly)
{
    rmq r;
    ck_assert_int_eq(xo_java_hash("Aa"), xo_java_hash("BB"));
    for (int i = 0; i < 5; i++) {
        put_many(0, 0, 1, "Aa");
        put_many(0, 0, 1, "BB");
        put_many(0, 0, 1, "C");
        put_many(0, 0, 1, NULL);
    }
    rmq_open(&r, m, &d, "T", "Aa || D", 0, SETTINGS());
    rmq_take(&r, 5);
    put_many(0, 0, 1, "D");
    rmq_take(&r, 6);
    for (size_t i = 0; i < 5; i++)
        ck_assert_str_eq(xonce_message_tag(r.got[i]), "Aa");
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 21);
    ck_assert_int_eq(rmq_counts(&r).unhealthy, 0);
    rmq_close(&r);
}
END_TEST

START_TEST(members_that_disagree_about_the_filter)
{
    rmq r;
    put_many(0, 0, 2, "A");
    rmq_open(&r, m, &d, "T", "A", 0, SETTINGS());
    rmq_take(&r, 2);
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 2);
    mq_join(m, MQ_ALL, "G", "zzz", "T", "B");
    put_many(0, 0, 1, "B"); /* given out, and not ours */
    WAIT(rmq_counts(&r).unhealthy || (rmq_poll(&r), 0));
    put_many(0, 0, 1, "A");
    put_many(0, 0, 1, "B");
    size_t beats = mq_count(m, 0, XO_RMQ_HEARTBEAT);
    while (mq_count(m, 0, XO_RMQ_HEARTBEAT) < beats + 5)
        rmq_poll(&r);
    ck_assert_uint_eq(r.n, 2);
    ck_assert_int_eq(mq_committed(m, 0, "G", "T", 0), 2); /* nothing is settled that the other's filter showed or hid */
    ck_assert_int_eq(db_next(&d, "T", "broker-a", 0), 2);
    ck_assert_int_ge(lines_with("disagree"), 1);
    mq_leave(m, MQ_ALL, "G", "zzz"); /* what it subscribed stays; ours, made younger, takes its place */
    rmq_until(&r, "0/0/3");
    rmq_ack_all(&r);
    put_many(0, 0, 1, "A");
    rmq_take(&r, 4);
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 6);
    WAIT(!rmq_counts(&r).unhealthy);
    rmq_close(&r);
}
END_TEST

/* ---- broken brokers ---- */

START_TEST(hung_broker_stalls_no_other)
{
    rmq r;
    put_many(0, 0, 1, NULL);
    put_many(1, 0, 1, NULL);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.timeout", "3s"));
    rmq_take(&r, 2);
    mq_hang(m, 0, 1);
    int64_t before = xo_mono_ms(), longest = 0;
    for (size_t i = 0; i < 50; i++) {
        int64_t one = xo_mono_ms();
        put_many(1, (int)i % 2, 1, NULL);
        rmq_take(&r, 3 + i);
        rmq_ack_all(&r);
        longest = xo_mono_ms() - one > longest ? xo_mono_ms() - one : longest;
    }
    ck_assert_msg(longest < 2500, "a message waited %lld ms", (long long)longest);
    ck_assert_int_lt(xo_mono_ms() - before, 15000);
    WAIT(mq_committed(m, 1, "G", "T", 0) == 26 && mq_committed(m, 1, "G", "T", 1) == 25);
    mq_hang(m, 0, 0);
    put_many(0, 1, 1, NULL);
    rmq_until(&r, "0/1/0");
    rmq_close(&r);
}
END_TEST

START_TEST(name_server_down)
{
    rmq r;
    put_many(0, 0, 1, NULL);
    mq_kill(m, MQ_NAME_SERVER, 0, 0);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.connect-timeout", "200ms"));
    WAIT(r.errors || (rmq_poll(&r), 0)); /* it says so, and goes on */
    ck_assert_int_eq(r.last.pub.again, 1);
    mq_restart(m, MQ_NAME_SERVER);
    rmq_take(&r, 1);
    mq_kill(m, MQ_NAME_SERVER, 0, 0);
    put_many(1, 1, 1, NULL);
    rmq_take(&r, 2);
    rmq_ack_all(&r);
    WAIT(committed_all());
    mq_restart(m, MQ_NAME_SERVER);
    size_t asked = mq_count(m, MQ_NAME_SERVER, XO_RMQ_ROUTE);
    WAIT(mq_count(m, MQ_NAME_SERVER, XO_RMQ_ROUTE) > asked + 1);
    put_many(1, 1, 1, NULL);
    rmq_take(&r, 3);
    rmq_close(&r);
}
END_TEST

START_TEST(one_of_two_name_servers_down)
{
    rmq r;
    mq *other = mq_start(0);
    char uri[128], dead[64];
    snprintf(dead, sizeof dead, "%s", mq_address(other, MQ_NAME_SERVER));
    mq_kill(other, MQ_NAME_SERVER, 0, 0);
    put_many(0, 0, 1, NULL);
    for (int i = 0; i < 2; i++) {
        snprintf(uri, sizeof uri, "rocketmq://%s;%s", i ? dead : mq_address(m, MQ_NAME_SERVER), i ? mq_address(m, MQ_NAME_SERVER) : dead);
        rmq_new(&r, uri, i ? NULL : &d, SETTINGS());
        rmq_start(&r, "T", "*", 0);
        rmq_take(&r, 1);
        rmq_close(&r);
    }
    mq_stop(other);
}
END_TEST

/* Errors of every kind in answers to pulls: it waits a little and asks again, and says what is wrong. */
START_TEST(pulls_that_fail)
{
    static const int codes[] = {XO_RMQ_SYSTEM_ERROR, XO_RMQ_OLD_SUBSCRIPTION, 9999};
    rmq r;
    mq_topic(m, 0, "ONE", 1);
    rmq_open(&r, m, &d, "ONE", "*", 0, SETTINGS());
    for (int i = 0; i < 3; i++) {
        char body[16];
        snprintf(body, sizeof body, "b%d", i);
        mq_next(m, 0, XO_RMQ_PULL, 2, MQ_ANSWER, codes[i]); /* of the two queues that are polled */
        mq_put(m, 0, "ONE", 0, NULL, NULL, body);
        rmq_until(&r, body);
    }
    rmq_take(&r, 3);
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "ONE", 0) == 3);
    rmq_close(&r);
}
END_TEST

/* ---- requests from outside ---- */

static json_t *ask_for(int code, int *answer_code)
{
    xo_command q, a;
    xo_command_init(&q, code);
    xo_command_set(&q, "consumerGroup", "G");
    xo_command_set(&q, "group", "G");
    xo_command_set(&q, "topic", "T");
    ck_assert_msg(mq_ask(m, 0, "G", NULL, &q, 10000, &a), "no answer to %d", code);
    *answer_code = a.code;
    json_t *o = a.body_len ? xo_wire_json(a.body, a.body_len) : NULL;
    xo_command_free(&a);
    return o;
}

START_TEST(requests_are_answered)
{
    rmq r;
    int code;
    put_many(0, 0, 3, NULL);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 3);
    rmq_ack_all(&r);
    WAIT(committed_all());
    json_t *o = ask_for(XO_RMQ_RUNNING_INFO, &code);
    ck_assert_int_eq(code, XO_RMQ_OK);
    ck_assert(json_is_object(json_object_get(o, "properties")) && json_is_array(json_object_get(o, "subscriptionSet")) &&
              json_is_object(json_object_get(o, "statusTable")));
    ck_assert_uint_ge(json_object_size(json_object_get(o, "mqTable")), 4);
    json_decref(o);
    o = ask_for(XO_RMQ_CONSUMER_STATUS, &code);
    ck_assert_int_eq(code, XO_RMQ_OK);
    int found = 0;
    const char *key;
    json_t *v;
    json_object_foreach(json_object_get(o, "messageQueueTable"), key, v)
    {
        json_t *queue = xo_wire_json(key, strlen(key));
        if (!strcmp(xo_json_text(queue, "brokerName"), "broker-a") && xo_json_int(queue, "queueId") == 0 &&
            !strcmp(xo_json_text(queue, "topic"), "T")) {
            found = 1;
            ck_assert_int_eq(json_integer_value(v), 3);
        }
        json_decref(queue);
    }
    ck_assert(found);
    json_decref(o);
    json_decref(ask_for(XO_RMQ_CONSUME_DIRECTLY, &code)); /* would run it outside of the record: refused */
    ck_assert_int_eq(code, XO_RMQ_SYSTEM_ERROR);
    json_decref(ask_for(4242, &code));
    ck_assert_int_eq(code, XO_RMQ_NOT_SUPPORTED);
    put_many(0, 0, 1, NULL);
    rmq_take(&r, 4);
    rmq_close(&r);
}
END_TEST

/* ---- what is refused ---- */

START_TEST(broadcasting_is_refused)
{
    xonce_config *cfg;
    xonce_source *s = NULL;
    ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
    xonce_status st = xonce_config_set(cfg, "message-model", "BROADCASTING");
    if (!st)
        st = xo_source_rocketmq_open(&s, mq_uri(m), cfg);
    ck_assert_int_eq(st, XONCE_E_INVALID);
    ck_assert_ptr_null(s);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "once"));
    xonce_config_free(cfg);
}
END_TEST

START_TEST(other_database_in_the_group)
{
    rmq r;
    char id[256];
    put_many(0, 0, 1, NULL);
    mq_join(m, MQ_ALL, "G", "127.0.0.1@1#1#xonce-deadbeef", "T", "*");
    mq_join(m, MQ_ALL, "%RETRY%x", "nobody", NULL, NULL); /* an unrelated group */
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("stores", "one"));
    int64_t end = xo_mono_ms() + 60000;
    while (!r.errors || r.last.pub.again) {
        rmq_poll(&r);
        ck_assert_msg(xo_mono_ms() < end, "it does not mind");
    }
    ck_assert_msg(strstr(r.last.pub.text, "stores") != NULL, "%s", r.last.pub.text);
    ck_assert_uint_eq(r.n, 0);
    rmq_close(&r);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("stores", "many"));
    WAIT(mq_members(m, 0, "G") == 2);
    ck_assert(mq_client_id(m, 0, "G", 1, id, sizeof id));
    ck_assert_msg(strlen(id) > 9 && !strcmp(id + strlen(id) - 8, "0badcafe"), "%s", id);
    for (int b = 0; b < 2; b++)
        for (int i = 0; i < 2; i++)
            put_many(b, i, 3, NULL);
    while (r.n < 1) /* it has a share */
        rmq_poll(&r);
    rmq_close(&r);
}
END_TEST

/* ---- stopping ---- */

START_TEST(stop_commits_and_leaves)
{
    rmq r;
    xonce_message *list = NULL;
    put_many(0, 0, 20, NULL);
    put_many(0, 1, 3, NULL);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.commit-every", "10m", "rocketmq.pull-batch", "10", "rocketmq.queue-messages", "10"));
    while (r.n < 13)
        rmq_poll(&r);
    for (size_t i = 0; i < r.n; i++)
        if (r.got[i]->queue == 0 && r.got[i]->offset < 3)
            rmq_ack(&r, i);
    r.s->ops->stop(r.s, 0);
    (void)r.s->ops->poll(r.s, 10, 50, &list);
    ck_assert_ptr_null(list);
    for (size_t i = 0; i < r.n; i++) {
        if (!r.got[i])
            continue;
        if (r.got[i]->queue == 0 && r.got[i]->offset < 7)
            rmq_ack(&r, i);
        else
            rmq_nack(&r, i, 0);
    }
    ck_assert_int_eq(r.s->ops->stop(r.s, 10000), XONCE_OK);
    ck_assert_int_eq(mq_committed(m, 0, "G", "T", 0), 7);
    ck_assert_int_eq(db_next(&d, "T", "broker-a", 0), 7);
    ck_assert_int_eq(mq_members(m, 0, "G"), 0);
    ck_assert_int_eq(mq_members(m, 1, "G"), 0);
    put_many(0, 0, 1, NULL);
    (void)r.s->ops->poll(r.s, 10, 20, &list);
    ck_assert_ptr_null(list);
    rmq_close(&r);
    ck_assert_uint_eq(mq_count(m, MQ_ALL, XO_RMQ_SEND_BACK), 0);
    /* whoever comes next gets exactly the rest */
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 14 + 3);
    rmq_close(&r);
}
END_TEST

/* Stopping with everything dead ends in its time, and says that not all is well. */
START_TEST(stop_of_a_dead_cluster)
{
    rmq r;
    put_many(0, 0, 2, NULL);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.timeout", "500ms", "rocketmq.commit-every", "10m"));
    rmq_take(&r, 2);
    mq_hang(m, 0, 1);
    mq_hang(m, 1, 1);
    mq_hang(m, MQ_NAME_SERVER, 1);
    rmq_ack_all(&r);
    int64_t before = xo_mono_ms();
    r.s->ops->stop(r.s, 0);
    (void)r.s->ops->stop(r.s, 3000);
    ck_assert_int_lt(xo_mono_ms() - before, 8000);
    rmq_crash(&r);
    ck_assert_int_lt(xo_mono_ms() - before, 15000);
    ck_assert_int_eq(db_next(&d, "T", "broker-a", 0), 2); /* the database has it */
}
END_TEST

START_TEST(without_positions)
{
    rmq r;
    put_many(0, 0, 3, NULL);
    rmq_open(&r, m, NULL, "T", "*", 0, SETTINGS());
    rmq_take(&r, 3);
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 3);
    rmq_close(&r);
    rmq_open(&r, m, NULL, "T", "*", 0, SETTINGS("look-back", "0"));
    put_many(0, 0, 1, NULL);
    rmq_take(&r, 1);
    ck_body(r.got[0], "0/0/3");
    rmq_close(&r);
}
END_TEST

START_TEST(caught_up_only_when_empty)
{
    rmq r;
    put_many(0, 0, 3, NULL);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 3);
    WAIT(mq_polling(m, 0, "T", 0) == 1 && mq_polling(m, 1, "T", 0) == 1 && mq_polling(m, 1, "T", 1) == 1);
    for (int i = 0; i < 50; i++) {
        rmq_poll(&r);
        ck_assert_int_eq(r.s->ops->caught_up(r.s), 0); /* three are unsettled */
    }
    rmq_ack_all(&r);
    WAIT(r.s->ops->caught_up(r.s) == 1 || (rmq_poll(&r), 0));
    rmq_close(&r);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("source");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    ADD(t, each_message_once);
    ADD(t, long_poll_brings_what_comes_later);
    ADD(t, topic_that_appears);
    ADD(t, bodies_packed_and_members_twice);
    ADD(t, damaged_body);
    ADD(t, commits_never_pass_an_unsettled_message);
    ADD(t, no_commit_without_the_database);
    ADD(t, no_start_without_the_database);
    ADD(t, bound_of_a_queue);
    ADD(t, bound_over_all);
    ADD(t, bound_of_bytes);
    ADD(t, bound_behind_a_stuck_message);
    ADD(t, tags_are_compared_exactly);
    ADD(t, members_that_disagree_about_the_filter);
    ADD(t, hung_broker_stalls_no_other);
    ADD(t, name_server_down);
    ADD(t, one_of_two_name_servers_down);
    ADD(t, pulls_that_fail);
    ADD(t, requests_are_answered);
    ADD(t, broadcasting_is_refused);
    ADD(t, other_database_in_the_group);
    ADD(t, stop_commits_and_leaves);
    ADD(t, stop_of_a_dead_cluster);
    ADD(t, without_positions);
    ADD(t, caught_up_only_when_empty);
    return rmq_run(t);
}
