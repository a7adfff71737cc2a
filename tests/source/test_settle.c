/* What becomes of a message: given back, told apart from its copies, dropped at a stop; and what operators are told. Against brokers inside of the test. */
#include "tests/source/control.h"

static void uniq_is(const xonce_message *x, const char *text)
{
    size_t n;
    const char *uniq = xo_message_uniq(x, &n);
    ck_assert_msg(uniq && n == strlen(text) && !memcmp(uniq, text, n), "%.*s, not %s", (int)n, uniq, text);
}

/* ---- giving back ---- */

START_TEST(failed_goes_back_and_keeps_its_name)
{
    mq_topic(m, 0, "T", 3);
    mq_put(m, 0, "T", 1, NULL, "U0", "first");
    mq_put(m, 0, "T", 2, "TagA", "U1", "bad");
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&a, 2);
    int i = rmq_find(&a, "bad");
    int64_t log = mq_log_offset(m, 0, "T", 2, 0);
    for (int attempt = 1; attempt <= 3; attempt++) {
        const xonce_message *x = a.got[i];
        ck_assert_int_eq(x->attempt, attempt);
        ck_assert_str_eq(x->topic, "T");
        ck_assert_str_eq(x->broker, "broker-a");
        ck_assert_int_eq(x->queue, 2);
        ck_assert_int_eq(x->offset, 0);
        ck_assert_int_eq(x->log_offset, log);
        ck_assert_int_eq(x->store_time, mq_store_time(m, 0, "T", 2, 0));
        ck_assert_ptr_null(x->refuse);
        uniq_is(x, "U1");
        if (attempt < 3) {
            rmq_nack(&a, (size_t)i, 1);
            rmq_take(&a, a.n + 1);
            i = (int)a.n - 1;
            ck_body(a.got[i], "bad");
        }
    }
    rmq_ack_all(&a);
    WAIT(mq_committed(m, 0, "G", "T", 2) == 1);
    WAIT(mq_committed(m, 0, "G", "%RETRY%G", 0) == 2);
    ck_assert_uint_eq(mq_count(m, 0, XO_RMQ_SEND_BACK), 2);
    ck_assert_uint_eq(mq_count(m, 0, XO_RMQ_SEND_V2) + mq_count(m, 0, XO_RMQ_SEND), 0);
}
END_TEST

static int last_level, last_limit_ok;
static void watch_send_back(void *arg, int broker, const xo_command *c)
{
    (void)arg;
    (void)broker;
    if (c->code == XO_RMQ_SEND_BACK) {
        const char *limit = xo_command_get(c, "maxReconsumeTimes"), *level = xo_command_get(c, "delayLevel");
        last_limit_ok = limit && !strcmp(limit, "2147483647");
        last_level = level ? (int)strtol(level, NULL, 10) : -99;
    }
}

START_TEST(send_back_that_fails)
{
    static const mq_fault faults[] = {MQ_ANSWER, MQ_LOSE_REQUEST};
    mq_topic(m, 0, "T", 1);
    mq_watch(m, watch_send_back, NULL);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("rocketmq.timeout", "300ms"));
    for (int k = 0; k < 2; k++) {
        char body[32];
        snprintf(body, sizeof body, "bad%d", k);
        mq_put(m, 0, "T", 0, NULL, body, body);
        rmq_until(&a, body);
        mq_next(m, 0, XO_RMQ_SEND_BACK, 1, faults[k], XO_RMQ_SYSTEM_ERROR);
        rmq_nack(&a, a.n - 1, 1);
        rmq_take(&a, a.n + 1);
        ck_body(a.got[a.n - 1], body);
        ck_assert_int_eq(a.got[a.n - 1]->attempt, 2);
        ck_assert_int_eq(a.got[a.n - 1]->failed, 0);
        ck_assert_int_eq(last_level, 0);
        ck_assert_int_eq(last_limit_ok, 1);
        ck_assert_int_eq(mq_max(m, 0, "%RETRY%G", 0), 0);
        rmq_ack_all(&a);
    }
    WAIT(mq_committed(m, 0, "G", "T", 0) == 2);
    ck_assert_uint_eq(mq_count(m, 0, XO_RMQ_SEND_V2) + mq_count(m, 0, XO_RMQ_SEND), 0);
}
END_TEST

/* The answer is lost, the copy is made: both come, under one name. */
START_TEST(send_back_unanswered)
{
    mq_topic(m, 0, "T", 1);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("rocketmq.timeout", "300ms"));
    mq_put(m, 0, "T", 0, NULL, "U1", "bad");
    rmq_take(&a, 1);
    mq_next(m, 0, XO_RMQ_SEND_BACK, 1, MQ_LOSE_ANSWER, 0);
    rmq_nack(&a, 0, 1);
    rmq_take(&a, 3);
    for (size_t i = 1; i < 3; i++) {
        ck_body(a.got[i], "bad");
        uniq_is(a.got[i], "U1");
        ck_assert_int_eq(a.got[i]->queue, 0);
        ck_assert_int_eq(a.got[i]->offset, 0);
    }
    rmq_ack_all(&a);
}
END_TEST

START_TEST(put_off_stays_here)
{
    mq_topic(m, 0, "T", 1);
    mq_put(m, 0, "T", 0, NULL, "U1", "one");
    mq_put(m, 0, "T", 0, NULL, "U2", "two");
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&a, 2);
    rmq_ack(&a, 1);
    rmq_nack(&a, 0, 0);
    rmq_take(&a, 3);
    ck_body(a.got[2], "one");
    ck_assert_int_eq(a.got[2]->attempt, 1);
    ck_assert_int_eq(db_next(&d, "T", "broker-a", 0), 0);
    rmq_ack(&a, 2);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 2);
    ck_assert_uint_eq(mq_count(m, 0, XO_RMQ_SEND_BACK), 0);
}
END_TEST

static size_t bytes_held(void)
{
    xo_rocketmq *s = (xo_rocketmq *)a.s;
    pthread_mutex_lock(&s->lock);
    size_t n = s->bytes;
    const xo_rmq_queue *q = s->queues;
    while (q && !q->sub)
        q = q->next;
    ck_assert_uint_eq(q ? q->bytes : 0, n);
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* Messages that came in one answer share its bytes: these count until the last of them is settled. */
START_TEST(one_message_keeps_the_answer)
{
    mq_topic(m, 0, "T", 1);
    mq_put(m, 0, "T", 0, NULL, "U1", "one");
    mq_put(m, 0, "T", 0, NULL, "U2", "two");
    mq_put(m, 0, "T", 0, NULL, "U3", "three");
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&a, 3);
    const xonce_message *last = a.got[2];
    ck_assert_ptr_eq(a.got[0]->pack, last->pack);
    size_t all = bytes_held();
    ck_assert_uint_gt(all, 3 + 3 + 5 + 3 * 80); /* with headers */
    rmq_ack(&a, 0);
    rmq_nack(&a, 1, 0);
    rmq_take(&a, 4);
    ck_assert_uint_eq(bytes_held(), all);
    rmq_ack(&a, 3);
    ck_assert_uint_eq(bytes_held(), all);
    ck_body(last, "three");
    ck_assert_str_eq(xonce_message_property(last, "UNIQ_KEY"), "U3");
    rmq_ack(&a, 2);
    ck_assert_uint_eq(bytes_held(), 0);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 3);
}
END_TEST

START_TEST(ordered_stays_here)
{
    mq_topic(m, 0, "T", 1);
    mq_put(m, 0, "T", 0, NULL, "U1", "one");
    rmq_open(&a, m, &d, "T", "*", 1, SETTINGS());
    rmq_take(&a, 1);
    rmq_nack(&a, 0, 1);
    rmq_take(&a, 2);
    ck_body(a.got[1], "one");
    rmq_ack_all(&a);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 1);
    ck_assert_uint_eq(mq_count(m, 0, XO_RMQ_SEND_BACK), 0);
}
END_TEST

START_TEST(dead_letters)
{
    mq_topic(m, 0, "T", 1);
    mq_put(m, 0, "T", 0, NULL, "U1", "poison");
    mq_watch(m, watch_send_back, NULL);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("rocketmq.dead-letter", "on"));
    rmq_take(&a, 1);
    a.got[0]->rejected = 1;
    rmq_ack(&a, 0);
    WAIT(mq_count(m, 0, XO_RMQ_SEND_BACK) == 1);
    WAIT(mq_max(m, 0, "%DLQ%G", 0) == 1);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 1);
    ck_assert_int_eq(last_level, -1);
    ck_assert_int_eq(mq_max(m, 0, "%RETRY%G", 0), 0);
}
END_TEST

/* ---- whose copy ---- */

START_TEST(siblings_of_a_batch)
{
    char bodies[3][24];
    mq_topic(m, 0, "T", 1);
    for (int i = 0; i < 3; i++) {
        char uniq[24];
        snprintf(bodies[i], sizeof bodies[i], "member%d", i);
        snprintf(uniq, sizeof uniq, "OWN%d", i);
        mq_message x = {.topic = "T", .uniq = uniq, .uniq2 = "BATCH", .body = bodies[i], .body_len = strlen(bodies[i])};
        mq_store(m, 0, &x);
    }
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&a, 3);
    for (size_t i = 0; i < 3; i++)
        rmq_nack(&a, i, 1);
    rmq_take(&a, 6);
    for (int i = 0; i < 3; i++) {
        char own[24];
        int at = rmq_find(&a, bodies[i]);
        snprintf(own, sizeof own, "OWN%d", i);
        ck_assert_int_ge(at, 3);
        uniq_is(a.got[at], own);
        ck_assert_str_eq(xonce_message_property(a.got[at], "UNIQ_KEY"), "BATCH");
        ck_assert_int_eq(a.got[at]->offset, i);
    }
    rmq_ack_all(&a);
}
END_TEST

START_TEST(original_is_gone)
{
    char want[80];
    mq_topic(m, 0, "T", 1);
    mq_put(m, 0, "T", 0, NULL, "U1", "bad");
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&a, 1);
    mq_delay_divisor(m, 20); /* half a second: time to let the original expire */
    rmq_nack(&a, 0, 1);
    WAIT(mq_delayed(m, 0) == 1);
    mq_expire(m, 0, mq_log_offset(m, 0, "T", 0, 0));
    rmq_take(&a, 2);
    const xonce_message *x = a.got[1];
    ck_assert_msg(x->refuse && !strncmp(x->refuse, "origin unknown: ", 16), "%s", x->refuse ? x->refuse : "not refused");
    snprintf(want, sizeof want, "origin-%s", xonce_message_property(x, "ORIGIN_MESSAGE_ID"));
    uniq_is(x, want);
    ck_assert_int_eq(x->offset, -1);
    ck_assert_int_eq(x->queue, -1);
    rmq_ack_all(&a);
    WAIT(mq_committed(m, 0, "G", "%RETRY%G", 0) == 1);
}
END_TEST

/* A copy whose ORIGIN_MESSAGE_ID leads to another message. */
static void put_copy(const char *origin, const char *retry_topic, const char *body, int64_t born, int port)
{
    char properties[300];
    snprintf(properties, sizeof properties, "RETRY_TOPIC\x01%s\x02ORIGIN_MESSAGE_ID\x01%s\x02", retry_topic, origin);
    mq_message x = {.topic = "%RETRY%G", .uniq = "U1", .properties = properties, .body = body, .body_len = strlen(body), .reconsume = 1, .born_time = born, .born_port = port};
    mq_store(m, 0, &x);
}

static void origin_of(int64_t offset, char id[64])
{
    char *bytes;
    xo_record r;
    size_t at = 0, n = mq_record(m, 0, "T", 0, offset, &bytes);
    int more;
    ck_assert(n && !xo_record_next(bytes, n, &at, &r, &more));
    xo_record_id(&r, id);
    free(bytes);
}

START_TEST(original_is_another)
{
    char id[64];
    int64_t born = xo_now_ms() - 5000;
    mq_topic(m, 0, "T", 1);
    mq_topic(m, 0, "%RETRY%G", 1);
    mq_message x = {.topic = "T", .uniq = "U1", .body = "body", .body_len = 4, .born_time = born, .born_port = 99};
    mq_store(m, 0, &x);
    origin_of(0, id);
    put_copy(id, "T", "body", born, 99);     /* the true one */
    put_copy(id, "T", "ydob", born, 99);     /* another body */
    put_copy(id, "T", "body", born + 1, 99); /* another time */
    put_copy(id, "T", "body", born, 98);     /* another host */
    put_copy("U1", "T", "body", born, 99);   /* an id, no address */
    put_copy("nonsense", "T", "body", born, 99);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&a, 7);
    int refused = 0, ids = 0, placed = 0;
    for (size_t i = 0; i < 7; i++) {
        size_t n;
        const xonce_message *c = a.got[i];
        const char *uniq = xo_message_uniq(c, &n);
        refused += !!c->refuse;
        ids += n == 2 && !memcmp(uniq, "U1", 2);
        placed += c->queue == 0 && c->offset == 0;
        if (c->refuse)
            ck_assert_msg(n > 7 && !memcmp(uniq, "origin-", 7), "%.*s", (int)n, uniq);
    }
    ck_assert_int_eq(refused, 4);
    ck_assert_int_eq(ids, 3);
    ck_assert_int_eq(placed, 2);
    rmq_ack_all(&a);
}
END_TEST

START_TEST(original_of_another_topic)
{
    char id[64];
    int64_t born = xo_now_ms() - 5000;
    mq_topic(m, 0, "T", 1);
    mq_topic(m, 0, "%RETRY%G", 1);
    mq_message x = {.topic = "T", .uniq = "U1", .body = "body", .body_len = 4, .born_time = born, .born_port = 99};
    mq_store(m, 0, &x);
    origin_of(0, id);
    put_copy(id, "T2", "body", born, 99);
    rmq_new(&a, mq_uri(m), &d, SETTINGS());
    ck_assert_int_eq(a.s->ops->subscribe(a.s, "G", "T2", "*", 0), XONCE_OK);
    rmq_start(&a, "T", "*", 0);
    rmq_take(&a, 2);
    int at = a.got[0]->refuse ? 0 : 1;
    ck_assert_ptr_nonnull(a.got[at]->refuse);
    ck_assert_ptr_nonnull(strstr(a.got[at]->refuse, "another topic"));
    rmq_ack_all(&a);
}
END_TEST

START_TEST(original_cannot_be_asked)
{
    mq_topic(m, 0, "T", 2);
    mq_put(m, 0, "T", 1, NULL, "U0", "fine");
    mq_put(m, 0, "T", 1, NULL, "U1", "bad");
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("rocketmq.timeout", "300ms"));
    rmq_take(&a, 2);
    rmq_ack(&a, 0);
    mq_next(m, 0, XO_RMQ_VIEW_MESSAGE, 1, _i ? MQ_LOSE_REQUEST : MQ_ANSWER, XO_RMQ_BUSY);
    rmq_nack(&a, 1, 1);
    WAIT(mq_count(m, 0, XO_RMQ_VIEW_MESSAGE) == 1);
    ck_assert_int_le(db_next(&d, "%RETRY%G", "broker-a", 0), 0);
    rmq_take(&a, 3);
    const xonce_message *x = a.got[2];
    ck_body(x, "bad");
    ck_assert_ptr_null(x->refuse);
    uniq_is(x, "U1");
    ck_assert_int_eq(x->queue, 1);
    ck_assert_int_eq(x->offset, 1);
    rmq_ack_all(&a);
}
END_TEST

/* ---- what brokers ask ---- */

static json_t *ask(int32_t code, const char *field, int32_t *answered)
{
    xo_command c, answer;
    xo_command_init(&c, code);
    xo_command_set(&c, field, "G");
    xo_command_set(&c, "topic", "T");
    ck_assert(mq_ask(m, 0, "G", NULL, &c, 5000, &answer));
    *answered = answer.code;
    json_t *o = answer.body_len ? xo_wire_json(answer.body, answer.body_len) : NULL;
    xo_command_free(&answer);
    return o;
}

START_TEST(operators_ask)
{
    int32_t code;
    mq_topic(m, 0, "T", 2);
    put_n("T", 0, 3, "x");
    rmq_open(&a, m, &d, "T", "TagA", 0, SETTINGS());
    rmq_take(&a, 3);
    rmq_ack(&a, 0);
    json_t *o = ask(XO_RMQ_CONSUMER_STATUS, "group", &code);
    ck_assert_int_eq(code, 0);
    ck_assert_int_eq(xo_json_int(json_object_get(o, "messageQueueTable"), "{\"brokerName\":\"broker-a\",\"queueId\":0,\"topic\":\"T\"}"), 1);
    json_decref(o);
    o = ask(XO_RMQ_RUNNING_INFO, "consumerGroup", &code);
    ck_assert_int_eq(code, 0);
    ck_assert_str_eq(xo_json_text(json_object_get(o, "properties"), "PROP_CONSUME_TYPE"), "CONSUME_PASSIVELY");
    ck_assert_int_gt(xo_json_int(json_object_get(o, "properties"), "PROP_CONSUMER_START_TIMESTAMP"), 1700000000000);
    ck_assert_uint_eq(json_array_size(json_object_get(o, "subscriptionSet")), 2);
    json_t *queue = json_object_get(json_object_get(o, "mqTable"), "{\"brokerName\":\"broker-a\",\"queueId\":0,\"topic\":\"T\"}");
    ck_assert_int_eq(xo_json_int(queue, "cachedMsgCount"), 2);
    ck_assert_int_eq(xo_json_int(queue, "commitOffset"), 1);
    json_decref(o);
    o = ask(XO_RMQ_CONSUME_DIRECTLY, "consumerGroup", &code);
    ck_assert_int_eq(code, XO_RMQ_SYSTEM_ERROR);
    json_decref(o);
    o = ask(9999, "group", &code);
    ck_assert_int_eq(code, XO_RMQ_NOT_SUPPORTED);
    json_decref(o);
}
END_TEST

/* ---- caught up, stop ---- */

START_TEST(caught_up)
{
    mq_topic(m, 0, "T", 2);
    put_n("T", 0, 2, "x");
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&a, 2);
    xo_pause_ms(100);
    ck_assert(!a.s->ops->caught_up(a.s)); /* two are open */
    rmq_ack_all(&a);
    WAIT(a.s->ops->caught_up(a.s));
    ck_assert(!a.s->ops->caught_up(a.s)); /* once for each time that it was seen */
    WAIT(a.s->ops->caught_up(a.s));
    mq_join(m, 0, "G", "zzz@java", "T", "*");
    WAIT(queues_of(&a) == 1);
    for (int i = 0; i < 30; i++) {
        rmq_poll(&a);
        ck_assert(!a.s->ops->caught_up(a.s)); /* the other half is not ours to know */
    }
}
END_TEST

START_TEST(stop_drops_and_settles)
{
    mq_topic(m, 0, "T", 1);
    put_n("T", 0, 5, "x");
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    xonce_message *list = NULL;
    WAIT(rmq_counts(&a).buffered == 5);
    ck_assert_int_eq(a.s->ops->poll(a.s, 2, 1000, &list), XONCE_OK);
    ck_assert(list && list->next && !list->next->next);
    a.s->ops->stop(a.s, 0);
    ck_assert_uint_eq(rmq_counts(&a).buffered, 0);
    xonce_message *more = NULL;
    ck_assert_int_eq(a.s->ops->poll(a.s, 2, 10, &more), XONCE_OK);
    ck_assert_ptr_null(more);
    a.s->ops->ack(a.s, list);
    ck_assert_msg(!a.s->ops->stop(a.s, 5000), "%s", xonce_error_last()->text);
    ck_assert_int_eq(mq_committed(m, 0, "G", "T", 0), 2);
    ck_assert_int_eq(db_next(&d, "T", "broker-a", 0), 2);
}
END_TEST

START_TEST(stop_with_a_message_out)
{
    mq_topic(m, 0, "T", 1);
    put_n("T", 0, 1, "x");
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&a, 1);
    a.s->ops->stop(a.s, 0);
    ck_assert_int_eq(a.s->ops->stop(a.s, 100), XONCE_E_TIMEOUT);
    ck_assert_int_eq(mq_members(m, 0, "G"), 0);
    rmq_crash(&a);
}
END_TEST

START_TEST(stop_while_the_cluster_is_dead)
{
    mq_topic(m, 0, "T", 1);
    put_n("T", 0, 1, "x");
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("rocketmq.timeout", "500ms"));
    rmq_take(&a, 1);
    mq_hang(m, 0, 1);
    mq_hang(m, MQ_NAME_SERVER, 1);
    int64_t began = xo_mono_ms();
    rmq_ack_all(&a);
    a.s->ops->stop(a.s, 0);
    (void)a.s->ops->stop(a.s, 1000);
    a.s->ops->close(a.s);
    a.s = NULL;
    xonce_config_free(a.cfg);
    ck_assert_int_lt(xo_mono_ms() - began, 9000);
    ck_assert_int_eq(db_next(&d, "T", "broker-a", 0), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("settle");
    TCase *t = tcase_create("settling");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, failed_goes_back_and_keeps_its_name);
    tcase_add_test(t, send_back_that_fails);
    tcase_add_test(t, send_back_unanswered);
    tcase_add_test(t, put_off_stays_here);
    tcase_add_test(t, one_message_keeps_the_answer);
    tcase_add_test(t, ordered_stays_here);
    tcase_add_test(t, dead_letters);
    tcase_add_test(t, siblings_of_a_batch);
    tcase_add_test(t, original_is_gone);
    tcase_add_test(t, original_is_another);
    tcase_add_test(t, original_of_another_topic);
    tcase_add_loop_test(t, original_cannot_be_asked, 0, 2);
    tcase_add_test(t, operators_ask);
    tcase_add_test(t, caught_up);
    tcase_add_test(t, stop_drops_and_settles);
    tcase_add_test(t, stop_with_a_message_out);
    tcase_add_test(t, stop_while_the_cluster_is_dead);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
