/* The RocketMQ producer against the in-process cluster: what it sends and refuses, where to, tries and faults, batches, delays, asynchronous sends. */
#include "tests/remoting/sender.h"
#include <inttypes.h>

static mq *m;

static void setup(void)
{
    m = mq_start(2);
    mq_topic(m, MQ_ALL, "T", 2);
}

static void teardown(void)
{
    mq_stop(m);
}

static int64_t stored_in(int b, const char *topic)
{
    int64_t n = 0;
    for (int q = 0; q < 8; q++)
        n += mq_max(m, b, topic, q);
    return n;
}

static int64_t stored_all(const char *topic)
{
    return stored_in(0, topic) + stored_in(1, topic);
}

/* ---- what is sent ---- */

START_TEST(sends)
{
    xonce_producer *p = sender_open(mq_uri(m), NULL);
    xonce_message *x = sender_message("T", "hello", "TAGS", "TagA", "KEYS", "k1 k2", "own", "värde", NULL);
    xonce_sent sent[8], small = {.size = 8 + 16};
    for (int i = 0; i < 8; i++) {
        sent[i].size = sizeof sent[i];
        ck_ok(xonce_producer_send(p, x, &sent[i]));
        ck_assert_uint_eq(strlen(sent[i].id), 32);
        ck_assert(i == 0 || strcmp(sent[i].id, sent[i - 1].id) != 0);
    }
    ck_ok(xonce_producer_send(p, x, NULL));
    memset(small.id, '#', sizeof small.id);
    ck_ok(xonce_producer_send(p, x, &small)); /* of an older header */
    ck_assert_int_eq(small.id[16], '#');
    for (int b = 0; b < 2; b++) /* in turn, over all queues */
        for (int q = 0; q < 2; q++)
            ck_assert_int_ge(mq_max(m, b, "T", q), 2);
    ck_assert_int_eq(stored_all("T"), 10);
    for (int i = 0; i < 8; i++) {
        int b = !strcmp(sent[i].broker, mq_name(m, 1));
        ck_assert_str_eq(sent[i].broker, mq_name(m, b));
        xonce_message *y = mq_stored(m, b, "T", sent[i].queue, sent[i].offset);
        ck_assert_str_eq(xonce_message_property(y, "UNIQ_KEY"), sent[i].id);
        ck_assert_str_eq(xonce_message_tag(y), "TagA");
        ck_assert_str_eq(xonce_message_key(y), "k1 k2");
        ck_assert_str_eq(xonce_message_property(y, "own"), "värde");
        ck_assert_ptr_null(xonce_message_property(y, "EXTEND_UNIQ_INFO"));
        ck_body(y, "hello");
        xonce_message_free(y);
    }
    ck_assert_ptr_null(xonce_message_property(x, "UNIQ_KEY")); /* the caller's message stays as it was */
    xonce_message_free(x);
    x = sender_message("T", "again", "UNIQ_KEY", "order-17", NULL);
    ck_ok(xonce_producer_send(p, x, &sent[0]));
    ck_assert_str_eq(sent[0].id, "order-17");
    xonce_message_free(x);
    xonce_producer_close(p);
    p = sender_open(mq_uri(m), SETTINGS("send.exactly-once", "on"));
    char first[80];
    for (int i = 0; i < 2; i++) { /* a key of its own, sent twice by the application: one message */
        x = sender_message("T", "again", "UNIQ_KEY", "7F000001000000000000000000000001", NULL);
        ck_ok(xonce_producer_send(p, x, &sent[0]));
        xonce_message *y = mq_stored(m, !strcmp(sent[0].broker, mq_name(m, 1)), "T", sent[0].queue, sent[0].offset);
        const char *extended = xonce_message_property(y, "EXTEND_UNIQ_INFO");
        ck_assert(strlen(extended) == 40 && !strncmp(extended, "7F000001000000000000000000000001", 32) && strspn(extended + 32, "0123456789ABCDEF") == 8);
        if (i == 0)
            snprintf(first, sizeof first, "%s", extended);
        ck_assert_str_eq(extended, first);
        xonce_message_free(y);
        xonce_message_free(x);
    }
    xonce_producer_close(p);
}
END_TEST

START_TEST(refused)
{
    static const struct {
        const char *topic, *body, *name, *value, *says;
    } t[] = {
        {"a.b", "x", NULL, NULL, "0x2e at offset 1"},
        {"täg", "x", NULL, NULL, "letters"},
        {"T", "", NULL, NULL, "no body"},
        {"T", "x", "p", "a\x01", "property"},
        {"T", "x", "p\x02", "a", "property"},
        {"T", "x", "UNIQ_KEY", "", "UNIQ_KEY"},
        {"T", "x", "DELAY", "0", "a level"},
        {"T", "x", "DELAY", "3s", "a level"},
        {"T", "x", "DELAY", "1000", "a level"},
        {"T", "x", "TIMER_DELAY_SEC", "-1", "seconds"},
        {"T", "x", "__STARTDELIVERTIME", "tomorrow", "milliseconds"},
        {"T", "x", "__STARTDELIVERTIME", "1234567890123456789", "milliseconds"},
        {"T", "x", "TRAN_MSG", "true", "send_transaction"},
    };
    xonce_producer *p = sender_open(mq_uri(m), NULL);
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        xonce_message *x = sender_message(t[i].topic, t[i].body, t[i].name, t[i].value, NULL);
        ck_assert_int_eq(xonce_producer_send(p, x, NULL), XONCE_E_INVALID);
        ck_assert_msg(strstr(xonce_error_last()->text, t[i].says) != NULL, "%zu: %s", i, xonce_error_last()->text);
        ck_assert_int_eq(xonce_producer_send_async(p, x, sender_never, NULL), XONCE_E_INVALID);
        ck_assert_int_eq(xonce_producer_send_oneway(p, x), XONCE_E_INVALID);
        const xonce_message *list[1] = {x};
        ck_assert_int_eq(xonce_producer_send_batch(p, list, 1, NULL), XONCE_E_INVALID);
        ck_assert_int_eq(xo_producer_check(p, x), XONCE_E_INVALID);
        xonce_message_free(x);
    }
    char name[140], *big = xo_calloc(1, 5 << 20), *value = xo_calloc(1, 33000);
    memset(name, 'n', 128);
    name[128] = 0;
    memset(value, 'v', 32740);
    for (size_t i = 0; i < 5 << 20; i++)
        big[i] = (char)xo_random(); /* does not pack */
    xonce_message *x = sender_message(name, "x", NULL);
    ck_assert_int_eq(xonce_producer_send(p, x, NULL), XONCE_E_INVALID);
    xonce_message_free(x);
    x = sender_message("T", "x", "v", value, NULL); /* too long only with what is added */
    ck_assert_int_eq(xonce_producer_send(p, x, NULL), XONCE_E_INVALID);
    ck_assert_msg(strstr(xonce_error_last()->text, "32767") != NULL, "%s", xonce_error_last()->text);
    xonce_message_free(x);
    ck_ok(xonce_message_wrap(&x, "T", NULL, big, 5 << 20, NULL, NULL));
    ck_assert_int_eq(xonce_producer_send(p, x, NULL), XONCE_E_INVALID);
    ck_assert_msg(strstr(xonce_error_last()->text, "4 MiB") != NULL, "%s", xonce_error_last()->text);
    xonce_message_free(x);
    x = sender_message("T", "x", "DELAY", "1", "TIMER_DELAY_SEC", "1", NULL);
    ck_assert_int_eq(xonce_producer_send(p, x, NULL), XONCE_E_INVALID);
    ck_assert_msg(strstr(xonce_error_last()->text, "twice") != NULL, "%s", xonce_error_last()->text);
    xonce_message_free(x);
    ck_assert_int_eq(xonce_producer_send(p, NULL, NULL), XONCE_E_INVALID);
    ck_assert_int_eq(stored_all("T"), 0);
    xonce_producer_close(p);
    free(big);
    free(value);
}
END_TEST

START_TEST(compressed)
{
    static const struct {
        const char *name;
        int flags;
    } codecs[] = {{"zlib", 0x301}, {"lz4", 0x101}, {"zstd", 0x201}, {"none", 0}};
    char body[9000];
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = "exactly once"[i * i % 12];
    for (size_t i = 0; i < 4; i++) {
        xonce_producer *p = sender_open(mq_uri(m), SETTINGS("rocketmq.compression", codecs[i].name, "rocketmq.compress-over", "8000"));
        xonce_sent sent = {.size = sizeof sent};
        for (int small = 0; small < 2; small++) {
            xonce_message *x, *y;
            ck_ok(xonce_message_new(&x, "T", NULL, body, small ? 7999 : sizeof body));
            ck_ok(xonce_producer_send(p, x, &sent));
            char *bytes;
            size_t at = 0, n = mq_record(m, !strcmp(sent.broker, mq_name(m, 1)), "T", sent.queue, sent.offset, &bytes);
            xo_record r;
            int more;
            ck_ok(xo_record_next(bytes, n, &at, &r, &more));
            ck_assert_int_eq(r.sys_flag, small ? 0 : codecs[i].flags);
            ck_assert(r.body_len < sizeof body || !codecs[i].flags);
            ck_ok(xo_record_message(&r, "", &y));
            ck_assert(y->body_len == x->body_len && !memcmp(y->body, body, y->body_len));
            xonce_message_free(x);
            xonce_message_free(y);
            free(bytes);
        }
        xonce_producer_close(p);
    }
}
END_TEST

START_TEST(namespaces_and_rights)
{
    mq_topic(m, 0, "N1%T", 1);
    mq_acl(m, "AK", "SK");
    xonce_producer *p = sender_open(mq_uri(m), SETTINGS("instance", "N1", "credentials.access-key-id", "AK", "credentials.access-key-secret", "SK"));
    xonce_message *x = sender_message("T", "x", NULL);
    xonce_sent sent = {.size = sizeof sent};
    ck_ok(xonce_producer_send(p, x, &sent));
    xonce_message *y = mq_stored(m, 0, "N1%T", 0, 0);
    ck_assert_str_eq(xonce_message_property(y, "INSTANCE_ID"), "N1");
    xonce_message_free(y);
    WAIT(mq_producers(m, 0, "N1%xonce_producer") == 1);
    xonce_producer_close(p);
    p = sender_open(mq_uri(m), SETTINGS("instance", "N1", "credentials.access-key-id", "AK", "credentials.access-key-secret", "wrong"));
    ck_assert_int_eq(xonce_producer_send(p, x, NULL), XONCE_E_AUTH);
    xonce_producer_close(p);
    xonce_message_free(x);
}
END_TEST

/* ---- where to ---- */

START_TEST(ordered)
{
    mq_topic(m, MQ_ALL, "T", 3);
    static const char *const keys[] = {"a", "order-😀", "polygenelubricants" /* its hash is the smallest number */, "0"};
    xonce_producer *p = sender_open(mq_uri(m), NULL);
    xonce_sent sent = {.size = sizeof sent};
    for (int i = 0; i < 40; i++) {
        char key[40];
        snprintf(key, sizeof key, "%s", i < 4 ? keys[i] : "");
        if (i >= 4)
            snprintf(key, sizeof key, "customer-%d", i * 7919);
        xonce_message *x = sender_message("T", "x", "__SHARDINGKEY", key, NULL);
        int64_t at = xo_java_hash(key) % 6;
        at = at < 0 ? -at : at;
        for (int n = 0; n < 2; n++) {
            ck_ok(xonce_producer_send(p, x, &sent));
            ck_assert_str_eq(sent.broker, mq_name(m, at >= 3));
            ck_assert_int_eq(sent.queue, at % 3);
        }
        xonce_message_free(x);
    }
    /* its queue cannot be had: it goes nowhere else */
    xonce_message *x = sender_message("T", "x", "__SHARDINGKEY", "a", NULL);
    mq_next(m, MQ_ALL, XO_RMQ_SEND_V2, 3, MQ_ANSWER, XO_RMQ_BUSY);
    size_t before[2] = {mq_count(m, 0, XO_RMQ_SEND_V2), mq_count(m, 1, XO_RMQ_SEND_V2)};
    int b = xo_java_hash("a") % 6 >= 3;
    ck_assert_int_eq(xonce_producer_send(p, x, NULL), XONCE_E_CONNECT);
    ck_assert_uint_eq(mq_count(m, b, XO_RMQ_SEND_V2), before[b] + 3);
    ck_assert_uint_eq(mq_count(m, !b, XO_RMQ_SEND_V2), before[!b]);
    xonce_message_free(x);
    xonce_producer_close(p);
}
END_TEST

START_TEST(new_topics)
{
    xonce_producer *p = sender_open(mq_uri(m), SETTINGS("rocketmq.route-every", "100ms"));
    xonce_message *x = sender_message("New", "x", NULL), *y = sender_message("T", "x", NULL);
    ck_assert_int_eq(xonce_producer_send(p, x, NULL), XONCE_E_NOT_FOUND);
    ck_assert(strstr(xonce_error_last()->text, "New") != NULL);
    mq_auto_create(m, 1);
    WAIT(xonce_producer_send(p, x, NULL) == XONCE_OK);
    ck_assert_int_eq(stored_all("New"), 1);
    for (int i = 0; i < 16; i++)
        ck_ok(xonce_producer_send(p, x, NULL));
    ck_assert_int_eq(stored_all("New"), 17);
    /* queues that are added are found, read-only ones are left alone */
    ck_ok(xonce_producer_send(p, y, NULL));
    mq_topic(m, 1, "T", 5);
    WAIT(!xonce_producer_send(p, y, NULL) && mq_max(m, 1, "T", 4) > 0);
    mq_perm(m, 1, "T", 4);
    int64_t before = -1;
    WAIT((before = stored_in(1, "T")) >= 0 && !xonce_producer_send(p, y, NULL) && !xonce_producer_send(p, y, NULL) && !xonce_producer_send(p, y, NULL) && stored_in(1, "T") == before);
    xonce_message_free(x);
    xonce_message_free(y);
    xonce_producer_close(p);
}
END_TEST

/* ---- tries ---- */

START_TEST(tried_again)
{
    static const struct {
        int code;
        xonce_status end;
    } t[] = {{1, XONCE_OK}, {2, XONCE_OK}, {14, XONCE_OK}, {16, XONCE_OK}, {17, XONCE_OK}, {204, XONCE_OK}, {205, XONCE_OK}, {1500, XONCE_OK}, {13, XONCE_E_INVALID}, {29, XONCE_E_INVALID}};
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        xonce_producer *p = sender_open(mq_uri(m), NULL);
        xonce_message *x = sender_message("T", "x", NULL);
        xonce_sent sent = {.size = sizeof sent};
        ck_ok(xonce_producer_send(p, x, &sent)); /* whose turn is it? the other's, or the same one's second queue */
        size_t before = mq_count(m, MQ_ALL, XO_RMQ_SEND_V2);
        int64_t had = stored_all("T");
        mq_next(m, 0, XO_RMQ_SEND_V2, 1, MQ_ANSWER, t[i].code);
        for (int n = 0; n < 4; n++) {
            xonce_status st = xonce_producer_send(p, x, &sent);
            ck_assert_msg(st == XONCE_OK || (n < 4 && st == t[i].end), "code %d: %s", t[i].code, xonce_error_last()->text);
        }
        ck_assert_int_eq(stored_all("T"), had + 4 - (t[i].end != XONCE_OK));
        ck_assert_uint_eq(mq_count(m, MQ_ALL, XO_RMQ_SEND_V2), before + 4 + (t[i].end == XONCE_OK));
        xonce_message_free(x);
        xonce_producer_close(p);
    }
}
END_TEST

START_TEST(one_identity_over_all_tries)
{
    xonce_producer *p = sender_open(mq_uri(m), NULL);
    xonce_message *x = sender_message("T", "x", NULL);
    xonce_sent sent = {.size = sizeof sent};
    mq_next(m, MQ_ALL, XO_RMQ_SEND_V2, 1, MQ_LOSE_ANSWER, 0);
    ck_ok(xonce_producer_send(p, x, &sent));
    int64_t n = stored_all("T");
    ck_assert_int_ge(n, 2);
    for (int b = 0; b < 2; b++)
        for (int q = 0; q < 2; q++)
            for (int64_t at = 0; at < mq_max(m, b, "T", q); at++) {
                xonce_message *y = mq_stored(m, b, "T", q, at);
                ck_assert_str_eq(xonce_message_property(y, "UNIQ_KEY"), sent.id);
                xonce_message_free(y);
            }
    xonce_message_free(x);
    xonce_producer_close(p);
}
END_TEST

START_TEST(weakly_stored_is_stored)
{
    xonce_producer *p = sender_open(mq_uri(m), NULL);
    xonce_message *x = sender_message("T", "x", NULL);
    for (int code = 10; code <= 12; code++) {
        mq_next(m, MQ_ALL, XO_RMQ_SEND_V2, 1, MQ_ANSWER, code);
        size_t before = mq_count(m, MQ_ALL, XO_RMQ_SEND_V2);
        sender_lines_reset();
        ck_ok(xonce_producer_send(p, x, NULL));
        ck_assert_uint_eq(mq_count(m, MQ_ALL, XO_RMQ_SEND_V2), before + 1);
        ck_assert_int_eq(sender_lines_with("not as safely"), 1);
        mq_next(m, MQ_ALL, XO_RMQ_SEND_V2, 0, MQ_ANSWER, 0);
    }
    xonce_message_free(x);
    xonce_producer_close(p);
}
END_TEST

/* A broker that failed is left alone for a while; one that hangs costs its share of the time. */
START_TEST(bad_brokers_are_avoided)
{
    xonce_producer *p = sender_open(mq_uri(m), SETTINGS("send.timeout", "3s"));
    xonce_message *x = sender_message("T", "x", NULL);
    ck_ok(xonce_producer_send(p, x, NULL));
    mq_hang(m, 0, 1);
    int64_t begun = xo_mono_ms();
    for (int i = 0; i < 20; i++)
        ck_ok(xonce_producer_send(p, x, NULL));
    ck_assert_int_lt(xo_mono_ms() - begun, 9000); /* each time it would have cost a second */
    ck_assert_uint_le(mq_count(m, 0, XO_RMQ_SEND_V2), 3);
    mq_hang(m, 1, 1);
    begun = xo_mono_ms();
    xonce_status st = xonce_producer_send(p, x, NULL);
    ck_assert_msg(st == XONCE_E_TIMEOUT || st == XONCE_E_CONNECT, "%s", xonce_error_last()->text);
    ck_assert_int_eq(xonce_error_last()->again, 1);
    ck_assert_int_lt(xo_mono_ms() - begun, 30000);
    mq_hang(m, 0, 0);
    mq_hang(m, 1, 0);
    mq_kill(m, 0, 0, 0);
    mq_kill(m, 1, 0, MQ_KEEP_ROUTE);
    ck_assert_int_ne(xonce_producer_send(p, x, NULL), XONCE_OK);
    mq_restart(m, 0);
    mq_restart(m, 1);
    WAIT(xonce_producer_send(p, x, NULL) == XONCE_OK);
    xonce_message_free(x);
    xonce_producer_close(p);
}
END_TEST

START_TEST(brokers_move)
{
    xonce_producer *p = sender_open(mq_uri(m), SETTINGS("send.retries", "1"));
    xonce_message *x = sender_message("T", "x", NULL), *y = sender_message("T", "x", "__SHARDINGKEY", "k", NULL);
    ck_ok(xonce_producer_send(p, y, NULL));
    mq_move(m, 0);
    mq_move(m, 1);
    WAIT(xonce_producer_send(p, y, NULL) == XONCE_OK);
    ck_ok(xonce_producer_send(p, x, NULL));
    mq_disconnect(m, 0);
    mq_disconnect(m, 1);
    ck_ok(xonce_producer_send(p, y, NULL));
    mq_kill(m, MQ_NAME_SERVER, 0, 0); /* what is known goes on being used */
    for (int i = 0; i < 10; i++)
        ck_ok(xonce_producer_send(p, i % 2 ? x : y, NULL));
    mq_next(m, MQ_ALL, XO_RMQ_SEND_V2, 1, MQ_ANSWER, XO_RMQ_NOT_AVAILABLE); /* also when a fresh route is wanted */
    ck_ok(xonce_producer_send(p, y, NULL));
    xonce_message_free(x);
    xonce_message_free(y);
    xonce_producer_close(p);
}
END_TEST

START_TEST(no_more_tries_than_asked_for)
{
    xonce_producer *p = sender_open(mq_uri(m), SETTINGS("send.retries", "0"));
    xonce_message *x = sender_message("T", "x", NULL);
    mq_next(m, MQ_ALL, XO_RMQ_SEND_V2, 1, MQ_ANSWER, XO_RMQ_BUSY);
    ck_assert_int_eq(xonce_producer_send(p, x, NULL), XONCE_E_CONNECT);
    ck_assert(xo_producer_busy(p));
    ck_assert_uint_eq(mq_count(m, MQ_ALL, XO_RMQ_SEND_V2), 1);
    xonce_producer_close(p);
    xonce_message_free(x);
    p = sender_open("rocketmq://127.0.0.1:1", SETTINGS("send.timeout", "500ms"));
    x = sender_message("T", "x", NULL);
    int64_t begun = xo_mono_ms();
    ck_assert_int_eq(xonce_producer_send(p, x, NULL), XONCE_E_CONNECT);
    ck_assert_int_lt(xo_mono_ms() - begun, 30000);
    xonce_message_free(x);
    xonce_producer_close(p);
    ck_assert_int_eq(xonce_producer_open(&p, "rocketmq://", NULL), XONCE_E_INVALID);
    ck_assert_ptr_null(p);
    ck_assert_int_eq(xonce_producer_open(&p, "ftp://x", NULL), XONCE_E_INVALID);
}
END_TEST

/* ---- time of delivery ---- */

static const char *sent_property(xonce_producer *p, const char *name, const char *value, const char *wanted)
{
    static char text[64];
    xonce_message *x = sender_message("T", "x", name, value, NULL);
    int64_t had = stored_all("T");
    xonce_sent sent = {.size = sizeof sent};
    ck_ok(xonce_producer_send(p, x, &sent));
    ck_assert_int_eq(sent.offset, -1); /* where it waits is not where it will be */
    xonce_message_free(x);
    WAIT(stored_all("T") == had + 1);
    snprintf(text, sizeof text, "none");
    for (int b = 0; b < 2; b++)
        for (int q = 0; q < 2; q++)
            for (int64_t at = 0; at < mq_max(m, b, "T", q); at++) {
                xonce_message *y = mq_stored(m, b, "T", q, at);
                const char *had_value = xonce_message_property(y, name), *found = xonce_message_property(y, wanted);
                if (found && had_value && !strcmp(had_value, value))
                    snprintf(text, sizeof text, "%s", found);
                xonce_message_free(y);
            }
    return text;
}

START_TEST(delivered_later)
{
    char at[32];
    xonce_producer *p = sender_open(mq_uri(m), NULL);
    ck_assert_str_eq(sent_property(p, "DELAY", "3", "DELAY"), "3");
    ck_assert_str_eq(sent_property(p, "TIMER_DELAY_MS", "20", "TIMER_DELAY_MS"), "20");
    snprintf(at, sizeof at, "%" PRId64, xo_now_ms() + 300);
    ck_assert_str_eq(sent_property(p, "__STARTDELIVERTIME", at, "TIMER_DELIVER_MS"), at);
    /* what the program's options ask for */
    xonce_message *x = sender_message("T", "x", NULL);
    ck_ok(xo_producer_later(p, x, 12000, -1));
    ck_assert_str_eq(xonce_message_property(x, "TIMER_DELAY_MS"), "12000");
    ck_assert_ptr_null(xonce_message_property(x, "__STARTDELIVERTIME"));
    xonce_message_free(x);
    x = sender_message("T", "x", NULL);
    ck_ok(xo_producer_later(p, x, -1, 1795407354000));
    ck_assert_str_eq(xonce_message_property(x, "__STARTDELIVERTIME"), "1795407354000");
    xonce_message_free(x);
    x = sender_message("T", "x", NULL);
    ck_ok(xo_producer_later(p, x, 0, -1));
    ck_assert_uint_eq(x->nproperties, 0);
    xonce_message_free(x);
    xonce_producer_close(p);
}
END_TEST

START_TEST(old_brokers_do_not_know_timers)
{
    static const char *const names[] = {"__STARTDELIVERTIME", "TIMER_DELAY_SEC", "TIMER_DELAY_MS", "TIMER_DELIVER_MS"};
    mq_version_4(m);
    xonce_producer *p = sender_open(mq_uri(m), NULL);
    xonce_message *x;
    for (size_t i = 0; i < 4; i++) {
        x = sender_message("T", "x", names[i], "1795407354000", NULL);
        ck_assert_int_eq(xonce_producer_send(p, x, NULL), XONCE_E_INVALID);
        ck_assert_msg(strstr(xonce_error_last()->text, "older than 5.0") != NULL, "%s", xonce_error_last()->text);
        xonce_message_free(x);
    }
    ck_assert_uint_eq(mq_count(m, MQ_ALL, XO_RMQ_SEND_V2), 0);
    ck_assert_str_eq(sent_property(p, "DELAY", "2", "DELAY"), "2");
    x = sender_message("T", "x", NULL);
    ck_ok(xo_producer_later(p, x, 3600000, -1));
    ck_assert_str_eq(xonce_message_property(x, "DELAY"), "17");
    xonce_message_free(x);
    x = sender_message("T", "x", NULL);
    ck_assert_int_eq(xo_producer_later(p, x, 12000, -1), XONCE_E_INVALID);
    ck_assert_int_eq(xo_producer_later(p, x, -1, 1795407354000), XONCE_E_INVALID);
    xonce_message_free(x);
    xonce_producer_close(p);
    /* the cloud's: they honour it, whatever their version */
    p = sender_open(mq_uri(m), SETTINGS("rocketmq.ons-channel", "ALIYUN"));
    x = sender_message("T", "x", "__STARTDELIVERTIME", "1795407354000", NULL);
    ck_ok(xonce_producer_send(p, x, NULL));
    xonce_message_free(x);
    x = sender_message("T", "x", NULL);
    ck_ok(xo_producer_later(p, x, 12000, -1));
    ck_assert_ptr_nonnull(xonce_message_property(x, "__STARTDELIVERTIME"));
    xonce_message_free(x);
    xonce_producer_close(p);
}
END_TEST

/* ---- batches, oneway ---- */

START_TEST(batches)
{
    enum { N = 50 };
    xonce_message *x[N];
    const xonce_message *list[N];
    char body[16];
    xonce_producer *p = sender_open(mq_uri(m), SETTINGS("send.timeout", "60s"));
    xonce_sent sent = {.size = sizeof sent};
    for (int i = 0; i < N; i++) {
        snprintf(body, sizeof body, "b%d", i);
        list[i] = x[i] = sender_message("T", body, "TAGS", i % 2 ? "odd" : "even", NULL);
    }
    ck_ok(xonce_producer_send_batch(p, list, N, &sent));
    ck_assert_uint_eq(mq_count(m, MQ_ALL, XO_RMQ_SEND_BATCH), 1);
    int b = !strcmp(sent.broker, mq_name(m, 1));
    ck_assert_int_eq(sent.offset, 0);
    ck_assert_int_eq(mq_max(m, b, "T", sent.queue), N);
    char last[80] = "";
    for (int i = 0; i < N; i++) {
        char *bytes;
        size_t at = 0, len, n = mq_record(m, b, "T", sent.queue, i, &bytes);
        xo_record r;
        int more;
        ck_ok(xo_record_next(bytes, n, &at, &r, &more));
        ck_assert_ptr_null(xo_record_property(&r, "UNIQ_KEY", 1, &len)); /* one each */
        free(bytes);
        xonce_message *y = mq_stored(m, b, "T", sent.queue, i);
        const char *id = xonce_message_property(y, "UNIQ_KEY");
        ck_assert(id && strcmp(id, last) != 0 && (i > 0 || !strcmp(id, sent.id)));
        snprintf(last, sizeof last, "%s", id);
        ck_assert_str_eq(xonce_message_tag(y), i % 2 ? "odd" : "even");
        snprintf(body, sizeof body, "b%d", i);
        ck_body(y, body);
        xonce_message_free(y);
    }
    /* what cannot be one */
    xonce_message_set_property(x[1], "DELAY", "1");
    ck_assert_int_eq(xonce_producer_send_batch(p, list, 2, NULL), XONCE_E_INVALID);
    ck_assert(!xo_producer_batchable(p, x[1]) && xo_producer_batchable(p, x[0]));
    xonce_message_set_property(x[2], "__SHARDINGKEY", "k");
    list[1] = x[2];
    ck_assert_int_eq(xonce_producer_send_batch(p, list, 2, NULL), XONCE_E_INVALID);
    ck_assert(strstr(xonce_error_last()->text, "sharding key") != NULL);
    xonce_message *other = sender_message("U", "x", NULL);
    list[1] = other;
    ck_assert_int_eq(xonce_producer_send_batch(p, list, 2, NULL), XONCE_E_INVALID);
    ck_assert(strstr(xonce_error_last()->text, "another topic") != NULL);
    ck_assert_int_eq(xonce_producer_send_batch(p, list, 0, NULL), XONCE_E_INVALID);
    char *big = xo_calloc(1, 3 << 20);
    xonce_message *half;
    ck_ok(xonce_message_wrap(&half, "T", NULL, big, 3 << 20, NULL, NULL));
    const xonce_message *two[2] = {half, half};
    ck_assert_int_eq(xonce_producer_send_batch(p, two, 2, NULL), XONCE_E_INVALID);
    ck_ok(xonce_producer_send_batch(p, two, 1, NULL));
    ck_assert_uint_eq(mq_count(m, MQ_ALL, XO_RMQ_SEND_BATCH), 2);
    xonce_message_free(half);
    free(big);
    xonce_message_free(other);
    for (int i = 0; i < N; i++)
        xonce_message_free(x[i]);
    xonce_producer_close(p);
}
END_TEST

START_TEST(oneway)
{
    xonce_producer *p = sender_open(mq_uri(m), NULL);
    xonce_message *x = sender_message("T", "x", NULL);
    mq_next(m, MQ_ALL, XO_RMQ_SEND_V2, 1, MQ_ANSWER, XO_RMQ_BUSY);
    for (int i = 0; i < 10; i++)
        ck_ok(xonce_producer_send_oneway(p, x));
    WAIT(mq_count(m, MQ_ALL, XO_RMQ_SEND_V2) == 10);
    WAIT(stored_all("T") >= 8);
    xonce_message_free(x);
    xonce_producer_close(p);
    ck_assert_uint_eq(mq_count(m, MQ_ALL, XO_RMQ_SEND_V2), 10);
}
END_TEST

/* ---- asynchronous ---- */

typedef struct {
    atomic_int done, failed, inside;
    xonce_producer *again; /* sends this from inside */
    xonce_message *m;
} tally;

static void count(xonce_status st, const xonce_sent *sent, void *arg)
{
    tally *t = arg;
    ck_assert_int_eq(atomic_fetch_add(&t->inside, 1), 0);
    ck_assert((st == XONCE_OK) == (sent != NULL));
    if (st) {
        ck_assert_int_eq(xonce_error_last()->code, st);
        atomic_fetch_add(&t->failed, 1);
    } else {
        ck_assert(*sent->id && *sent->broker && sent->queue >= 0 && sent->offset >= 0);
    }
    xonce_producer *again = t->again;
    t->again = NULL;
    if (again)
        for (int i = 0; i < 1500; i++) /* more than there is room for: it must not wait for itself */
            ck_ok(xonce_producer_send_async(again, t->m, count, t));
    atomic_fetch_sub(&t->inside, 1);
    atomic_fetch_add(&t->done, 1);
}

static void send_numbered(xonce_producer *p, int n, tally *t)
{
    for (int i = 0; i < n; i++) {
        char body[32];
        snprintf(body, sizeof body, "m%d", i);
        xonce_message *x = sender_message("T", body, NULL);
        ck_ok(xonce_producer_send_async(p, x, count, t));
        xonce_message_free(x); /* copied */
    }
}

START_TEST(asynchronous)
{
    tally t = {.m = sender_message("T", "x", NULL)};
    xonce_producer *p = t.again = sender_open(mq_uri(m), SETTINGS("send.timeout", "60s"));
    send_numbered(p, 2000, &t);
    xonce_producer_close(p); /* waits for all */
    ck_assert_int_eq(atomic_load(&t.done), 3500);
    ck_assert_int_eq(atomic_load(&t.failed), 0);
    ck_assert_int_eq(stored_all("T"), 3500);
    xonce_message_free(t.m);
}
END_TEST

START_TEST(asynchronous_tries)
{
    tally t = {0};
    xonce_producer *p = sender_open(mq_uri(m), SETTINGS("send.timeout", "6s"));
    mq_next(m, MQ_ALL, XO_RMQ_SEND_V2, 20, MQ_ANSWER, XO_RMQ_BUSY);
    mq_next(m, 0, XO_RMQ_SEND_V2, 1, MQ_LOSE_ANSWER, 0);
    send_numbered(p, 100, &t);
    xonce_producer_close(p);
    ck_assert_int_eq(atomic_load(&t.done), 100);
    ck_assert_int_eq(atomic_load(&t.failed), 0);
    ck_assert_int_ge(stored_all("T"), 100);
}
END_TEST

START_TEST(bounded)
{
    tally t = {0};
    xonce_producer *p = sender_open(mq_uri(m), SETTINGS("send.timeout", "700ms", "send.retries", "1"));
    xonce_message *x = sender_message("T", "x", NULL);
    ck_ok(xonce_producer_send(p, x, NULL));
    mq_hang(m, 0, 1);
    mq_hang(m, 1, 1);
    int accepted = 0;
    int64_t begun = xo_mono_ms();
    while (xonce_producer_send_async(p, x, count, &t) == XONCE_OK && accepted < 100000 && xo_mono_ms() - begun < 600)
        accepted++;
    ck_assert_int_le(accepted, XO_ASYNC_SENDS + 1);
    if (xo_mono_ms() - begun < 600)
        ck_assert_int_ge(accepted, 50);
    xonce_producer_close(p);
    ck_assert_int_ge(atomic_load(&t.done), accepted);
    ck_assert_int_eq(atomic_load(&t.failed), atomic_load(&t.done));
    mq_hang(m, 0, 0);
    mq_hang(m, 1, 0);
    xonce_message_free(x);
}
END_TEST

typedef struct {
    xonce_producer *p;
    int n, failed;
} job;

static void *send_many(void *arg)
{
    job *j = arg;
    xonce_message *x = sender_message("T", "x", NULL);
    for (int i = 0; i < j->n; i++)
        j->failed += xonce_producer_send(j->p, x, NULL) != XONCE_OK;
    xonce_message_free(x);
    return NULL;
}

START_TEST(many_threads)
{
    enum { THREADS = 6 };
    pthread_t threads[THREADS];
    job jobs[THREADS];
    tally t = {0};
    xonce_producer *p = sender_open(mq_uri(m), SETTINGS("send.timeout", "60s", "rocketmq.route-every", "50ms", "rocketmq.heartbeat-every", "50ms"));
    xonce_message *x = sender_message("T", "y", NULL);
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (job){p, 150, 0};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, send_many, &jobs[i]), 0);
    }
    for (int i = 0; i < 300; i++) {
        if (i == 100)
            mq_disconnect(m, 1);
        ck_ok(xonce_producer_send_async(p, x, count, &t));
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(jobs[i].failed, 0);
    }
    WAIT(mq_producers(m, 0, "xonce_producer") == 1 && mq_producers(m, 1, "xonce_producer") == 1); /* also after its connection was lost */
    xonce_producer_close(p);
    ck_assert_int_eq(atomic_load(&t.done), 300);
    ck_assert_int_eq(atomic_load(&t.failed), 0);
    ck_assert_int_ge(stored_all("T"), 1200);
    ck_assert_int_eq(mq_producers(m, 0, "xonce_producer"), 0); /* it said goodbye */
    ck_assert_uint_eq(mq_count(m, MQ_ALL, XO_RMQ_UNREGISTER), 2);
    xonce_message_free(x);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("producer");
    tcase_add_checked_fixture(t, setup, teardown);
    ADD(t, sends);
    ADD(t, refused);
    ADD(t, compressed);
    ADD(t, namespaces_and_rights);
    ADD(t, ordered);
    ADD(t, new_topics);
    ADD(t, tried_again);
    ADD(t, one_identity_over_all_tries);
    ADD(t, weakly_stored_is_stored);
    ADD(t, bad_brokers_are_avoided);
    ADD(t, brokers_move);
    ADD(t, no_more_tries_than_asked_for);
    ADD(t, delivered_later);
    ADD(t, old_brokers_do_not_know_timers);
    ADD(t, batches);
    ADD(t, oneway);
    ADD(t, asynchronous);
    ADD(t, asynchronous_tries);
    ADD(t, bounded);
    ADD(t, many_threads);
    return sender_run("rocketmq producer", t);
}
