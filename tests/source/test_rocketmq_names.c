/* The RocketMQ source with namespaces, credentials, several topics and brokers that come and go. */
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

/* On the wire everything has the namespace in front; here nothing has. */
START_TEST(namespaces)
{
    rmq r;
    char uri[200];
    mq_topic(m, 0, "MQ_INST_1_2%T", 1);
    mq_topic(m, 0, "T", 1); /* another's */
    mq_put(m, 0, "MQ_INST_1_2%T", 0, NULL, "U1", "work");
    mq_put(m, 0, "T", 0, NULL, "U2", "not ours");
    snprintf(uri, sizeof uri, "%s?instance=MQ_INST_1_2", mq_uri(m));
    rmq_new(&r, uri, &d, SETTINGS());
    rmq_start(&r, "T", "*", 0);
    rmq_take(&r, 1);
    ck_assert_str_eq(r.got[0]->topic, "T");
    ck_body(r.got[0], "work");
    rmq_nack(&r, 0, 1);
    rmq_take(&r, 2);
    ck_assert_str_eq(r.got[1]->topic, "T");
    ck_assert_str_eq(r.got[1]->uniq, "U1");
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "MQ_INST_1_2%G", "MQ_INST_1_2%T", 0) == 1 && mq_committed(m, 0, "MQ_INST_1_2%G", "%RETRY%MQ_INST_1_2%G", 0) == 1);
    ck_assert_int_eq(db_next(&d, "T", "broker-a", 0), 1);
    ck_assert_int_eq(db_next(&d, "%RETRY%G", "broker-a", 0), 1);
    ck_assert_int_eq(mq_members(m, 0, "MQ_INST_1_2%G"), 1);
    ck_assert_int_eq(mq_members(m, 0, "G"), 0);
    rmq_close(&r);
}
END_TEST

START_TEST(credentials)
{
    rmq r;
    mq_topic(m, 0, "T", 1);
    mq_put(m, 0, "T", 0, NULL, "U1", "work");
    mq_acl(m, "AK", "SK-secret-1234");
    rmq_open(&r, m, &d, "T", "*", 0,
             SETTINGS("credentials.access-key-id", "AK", "credentials.access-key-secret", "SK-secret-1234", "credentials.security-token", "STS"));
    rmq_take(&r, 1);
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 1);
    rmq_close(&r);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("credentials.access-key-id", "AK", "credentials.access-key-secret", "wrong-secret-9"));
    int64_t end = xo_mono_ms() + 20000;
    while (!r.errors || r.last.pub.again) { /* it does not try for ever */
        rmq_poll(&r);
        ck_assert(xo_mono_ms() < end);
    }
    ck_assert_int_eq(r.last.pub.code, XONCE_E_AUTH);
    ck_assert_uint_eq(r.n, 0);
    ck_assert_int_eq(lines_with("secret-9"), 0);
    rmq_close(&r);
}
END_TEST

/* Each topic has its filter; one that does not exist keeps the others from nothing. */
START_TEST(several_topics)
{
    rmq r;
    mq_topic(m, 0, "ONE", 2);
    mq_topic(m, 1, "TWO", 1);
    rmq_new(&r, mq_uri(m), &d, SETTINGS());
    ck_assert_int_eq(r.s->ops->subscribe(r.s, "G", "ONE", "A", 0), XONCE_OK);
    ck_assert_int_eq(r.s->ops->subscribe(r.s, "G", "TWO", "B || C", 1), XONCE_OK);
    ck_assert_int_eq(r.s->ops->subscribe(r.s, "G", "ONE", "A", 0), XONCE_E_INVALID);   /* twice */
    ck_assert_int_eq(r.s->ops->subscribe(r.s, "OTHER", "X", "*", 0), XONCE_E_INVALID); /* another group */
    rmq_start(&r, "NOWHERE", "*", 0);
    for (int i = 0; i < 3; i++) {
        mq_put(m, 0, "ONE", i % 2, "A", NULL, "1A");
        mq_put(m, 0, "ONE", i % 2, "B", NULL, "1B");
        mq_put(m, 1, "TWO", 0, "A", NULL, "2A");
        mq_put(m, 1, "TWO", 0, "B", NULL, "2B");
    }
    rmq_take(&r, 6);
    ck_assert(rmq_has(&r, "1A") == 3 && rmq_has(&r, "2B") == 3);
    for (size_t i = 0; i < 6; i++)
        ck_assert_int_eq(r.got[i]->ordered, !strcmp(r.got[i]->topic, "TWO"));
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "ONE", 0) == 4 && mq_committed(m, 0, "G", "ONE", 1) == 2 && mq_committed(m, 1, "G", "TWO", 0) == 6);
    mq_topic(m, 1, "NOWHERE", 1);
    mq_put(m, 1, "NOWHERE", 0, NULL, NULL, "at last");
    rmq_take(&r, 7);
    rmq_close(&r);
}
END_TEST

/* A batch-type topic stores several messages as one: each comes by itself, at its own offset, and settles by itself. */
START_TEST(inner_batches)
{
    rmq r;
    xo_buf inner = {0};
    mq_topic(m, 0, "T", 1);
    for (int i = 0; i < 3; i++) {
        unsigned char head[20] = {0};
        char properties[32];
        int n = snprintf(properties, sizeof properties, "UNIQ_KEY\001I%d\002", i);
        head[3] = (unsigned char)(20 + 2 + 2 + n);
        head[19] = 2;
        xo_buf_add(&inner, head, 20);
        xo_buf_printf(&inner, "i%d", i);
        xo_buf_char(&inner, 0);
        xo_buf_char(&inner, (char)n);
        xo_buf_add(&inner, properties, (size_t)n);
    }
    mq_store(m, 0, &(mq_message){.topic = "T", .body = inner.p, .body_len = inner.len, .sys_flag = XO_SYS_INNER_BATCH, .bare = 1, .members = 3});
    mq_put(m, 0, "T", 0, NULL, "I3", "i3");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 4);
    for (int i = 0; i < 4; i++) {
        char body[16], uniq[16];
        size_t n;
        snprintf(body, sizeof body, "i%d", i);
        snprintf(uniq, sizeof uniq, "I%d", i);
        ck_body(r.got[i], body);
        ck_assert_int_eq(r.got[i]->offset, i);
        const char *u = xo_message_uniq(r.got[i], &n);
        ck_assert(u && n == 2 && !memcmp(u, uniq, 2));
    }
    rmq_ack(&r, 0);
    rmq_ack(&r, 2);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 1);
    rmq_close(&r);
    /* and from the middle on */
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 3);
    ck_body(r.got[0], "i1");
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 4);
    rmq_close(&r);
    xo_buf_free(&inner);
}
END_TEST

/* One of two brokers goes from the routes and comes back with the messages that we had not settled, and with more. */
START_TEST(broker_gone_for_a_while)
{
    rmq r;
    char body[16];
    mq_topic(m, MQ_ALL, "T", 1);
    for (int i = 0; i < 10; i++) {
        snprintf(body, sizeof body, "a%d", i);
        mq_put(m, 0, "T", 0, NULL, NULL, body);
    }
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 10);
    for (size_t i = 0; i < 4; i++)
        rmq_ack(&r, i);
    WAIT(db_next(&d, "T", "broker-a", 0) == 4);
    mq_kill(m, 0, 0, 0);
    mq_put(m, 1, "T", 0, NULL, NULL, "b0");
    rmq_take(&r, 11);
    for (size_t i = 4; i < 6; i++)
        rmq_ack(&r, i); /* while it is away */
    size_t beats = mq_count(m, 1, XO_RMQ_HEARTBEAT);
    WAIT(mq_count(m, 1, XO_RMQ_HEARTBEAT) > beats + 5);
    rmq_ack(&r, 10);
    WAIT(mq_committed(m, 1, "G", "T", 0) == 1);
    mq_restart(m, 0);
    mq_put(m, 0, "T", 0, NULL, NULL, "a10");
    rmq_until(&r, "a10");
    for (size_t i = 6; i < 10; i++)
        if (rmq_has(&r, r.bodies[i]) == 1)
            rmq_ack(&r, i); /* its queue may have left with its broker: then it came again */
    for (int i = 6; i < 11; i++) {
        snprintf(body, sizeof body, "a%d", i);
        ck_assert_int_ge(rmq_has(&r, body), 1);
    }
    for (int i = 0; i < 4; i++) {
        snprintf(body, sizeof body, "a%d", i);
        ck_assert_int_eq(rmq_has(&r, body), 1);
    }
    while (mq_committed(m, 0, "G", "T", 0) != 11) {
        rmq_ack_all(&r);
        rmq_poll(&r);
    }
    rmq_close(&r);
}
END_TEST

/* The name server still names it, but it is dead: it is tried again and again, and the other goes on. */
START_TEST(broker_dead_in_the_routes)
{
    rmq r;
    mq_topic(m, MQ_ALL, "T", 1);
    mq_put(m, 0, "T", 0, NULL, NULL, "a0");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.connect-timeout", "200ms"));
    rmq_take(&r, 1);
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 1);
    mq_kill(m, 0, 0, MQ_KEEP_ROUTE);
    for (int i = 0; i < 5; i++) {
        int64_t before = xo_mono_ms();
        mq_put(m, 1, "T", 0, NULL, NULL, "b");
        rmq_take(&r, 2 + (size_t)i);
        rmq_ack_all(&r);
        ck_assert_int_lt(xo_mono_ms() - before, 2000);
    }
    WAIT(mq_committed(m, 1, "G", "T", 0) == 5);
    mq_restart(m, 0);
    mq_put(m, 0, "T", 0, NULL, NULL, "a1");
    rmq_take(&r, 7);
    ck_assert_int_eq(rmq_has(&r, "a0"), 1);
    rmq_close(&r);
}
END_TEST

/* Beside a Java member, too, a broker that lost its end and was refilled loses nothing of ours: of what this member settled it knows the place. */
START_TEST(truncated_and_refilled_beside_java)
{
    rmq r;
    char body[16];
    mq_topic(m, 0, "T", 2);
    mq_join(m, MQ_ALL, "G", "zz-java", "T", "*"); /* queue 1 is its */
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    for (int i = 0; i < 10; i++) {
        snprintf(body, sizeof body, "a%d", i);
        mq_put(m, 0, "T", 0, NULL, NULL, body);
    }
    rmq_take(&r, 10);
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 10);
    mq_flush_commits(m, 0);
    mq_kill(m, 0, 3, 0);
    mq_join(m, 0, "G", "zz-java", "T", "*"); /* it registers again, too */
    for (int i = 7; i < 12; i++) {
        snprintf(body, sizeof body, "new%d", i);
        mq_store(m, 0, &(mq_message){.topic = "T", .body = body, .body_len = strlen(body), .store_time = xo_now_ms() + 5});
    }
    mq_restart(m, 0);
    rmq_until(&r, "new11");
    for (int i = 7; i < 12; i++) {
        snprintf(body, sizeof body, "new%d", i);
        ck_assert_msg(rmq_has(&r, body) == 1, "%s came %d times", body, rmq_has(&r, body));
    }
    ck_assert_uint_eq(r.n, 15);
    rmq_close(&r);
}
END_TEST

/* A waiting poll returns when it is woken. */
static void *wake_it(void *s)
{
    ((xonce_source *)s)->ops->wake(s);
    return NULL;
}

START_TEST(wake)
{
    rmq r;
    pthread_t t;
    xonce_message *list = NULL;
    mq_topic(m, 0, "T", 1);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    WAIT(mq_polling(m, 0, "T", 0) == 1);
    int64_t before = xo_mono_ms();
    ck_assert_int_eq(pthread_create(&t, NULL, wake_it, r.s), 0);
    while (!list && xo_mono_ms() - before < 15000 && r.s->ops->poll(r.s, 1, 20000, &list)) /* an error is no wake-up */
        ;
    pthread_join(t, NULL);
    ck_assert_ptr_null(list);
    ck_assert_int_lt(xo_mono_ms() - before, 10000);
    rmq_close(&r);
}
END_TEST

/* What the source says of a queue of topic T; position and end -1 when it does not name it. */
static xo_source_queue queue_of(rmq *r, const char *broker, int queue)
{
    xo_source_queue *all, found = {.position = -1, .end = -1};
    size_t n;
    ck_assert_int_eq(r->s->queues(r->s, &all, &n), XONCE_OK);
    for (size_t i = 0; i < n; i++) {
        ck_assert(i == 0 || strcmp(all[i - 1].topic, all[i].topic) <= 0);
        if (!strcmp(all[i].topic, "T") && !strcmp(all[i].broker, broker) && all[i].queue == queue)
            found = all[i];
    }
    found.topic = found.broker = NULL;
    xo_source_queues_free(all, n);
    return found;
}

static uint64_t answered(const rmq *r)
{
    xo_source_counts n;
    r->s->counts(r->s, &n);
    return n.settling.count;
}

START_TEST(queues_tell_how_far_they_are)
{
    rmq r;
    mq_topic(m, MQ_ALL, "T", 2);
    for (int i = 0; i < 8; i++) {
        char uniq[8] = {'U', (char)('0' + i), 0};
        mq_put(m, 1, "T", i < 5 ? 0 : 1, NULL, uniq, uniq);
    }
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 8);
    WAIT(queue_of(&r, "broker-b", 0).end == 5);
    ck_assert_int_eq(queue_of(&r, "broker-b", 0).position, 0); /* taken is not settled */
    ck_assert_int_gt(r.got[0]->born_time, 0);
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 1, "G", "T", 0) == 5 && mq_committed(m, 1, "G", "T", 1) == 3);
    ck_assert_int_eq(queue_of(&r, "broker-b", 0).position, 5);
    ck_assert_int_eq(queue_of(&r, "broker-b", 1).position, 3);
    ck_assert_int_eq(queue_of(&r, "broker-a", 1).position, 0);
    WAIT(answered(&r) >= 2); /* the brokers have it before their answers are read */
    rmq_close(&r);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("names");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    ADD(t, namespaces);
    ADD(t, credentials);
    ADD(t, several_topics);
    ADD(t, inner_batches);
    ADD(t, broker_gone_for_a_while);
    ADD(t, broker_dead_in_the_routes);
    ADD(t, truncated_and_refilled_beside_java);
    ADD(t, wake);
    ADD(t, queues_tell_how_far_they_are);
    return rmq_run(t);
}
