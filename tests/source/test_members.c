/* The group's arithmetic and texts: who gets which queues, tag expressions, heartbeats, and what operators send. No broker is asked. */
#include "base/mem.h"
#include "remoting/wirejson.h"
#include "source/rocketmq/rocketmq.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

/* ---- sharing out ---- */

/* As the Java client does it: what range a member gets, by its own words. */
static void java_averagely(int queues, int members, int index, int *start, int *range)
{
    int mod = queues % members;
    int average = queues <= members ? 1 : (mod > 0 && index < mod ? queues / members + 1 : queues / members);
    *start = (mod > 0 && index < mod) ? index * average : index * average + mod;
    *range = average < queues - *start ? average : queues - *start;
    if (*range < 0)
        *range = 0;
}

START_TEST(allocate_table)
{
    static const struct {
        size_t n, m, index, start, count;
    } rows[] = {{4, 1, 0, 0, 4}, {4, 3, 0, 0, 2}, {4, 3, 1, 2, 1}, {4, 3, 2, 3, 1}, {8, 3, 0, 0, 3}, {8, 3, 1, 3, 3}, {8, 3, 2, 6, 2}, {2, 4, 0, 0, 1}, {2, 4, 1, 1, 1},
                {2, 4, 2, 0, 0}, {2, 4, 3, 0, 0}, {6, 3, 1, 2, 2}, {0, 3, 1, 0, 0}, {5, 0, 0, 0, 0}, {5, 2, 2, 0, 0}, {5, 2, 9, 0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t start = 99, count = 99;
        xo_allocate(rows[i].n, rows[i].m, rows[i].index, &start, &count);
        ck_assert_msg(count == rows[i].count && (!count || start == rows[i].start), "%zu queues, member %zu of %zu: [%zu, +%zu)", rows[i].n, rows[i].index, rows[i].m, start, count);
    }
}
END_TEST

START_TEST(allocate_each_queue_once)
{
    for (size_t n = 1; n <= 70; n++)
        for (size_t m = 1; m <= 40; m++) {
            unsigned char owned[70] = {0};
            for (size_t i = 0; i < m; i++) {
                size_t start, count;
                int java_start, java_count;
                xo_allocate(n, m, i, &start, &count);
                java_averagely((int)n, (int)m, (int)i, &java_start, &java_count);
                ck_assert_msg(count == (size_t)java_count && (!count || start == (size_t)java_start), "%zu/%zu/%zu", n, m, i);
                for (size_t k = start; k < start + count; k++) {
                    ck_assert_uint_lt(k, n);
                    owned[k]++;
                }
            }
            for (size_t k = 0; k < n; k++)
                ck_assert_msg(owned[k] == 1, "%zu queues, %zu members: queue %zu has %d owners", n, m, k, owned[k]);
        }
}
END_TEST

START_TEST(whose_member)
{
    ck_assert_str_eq(xo_members_store_of("10.0.0.1@77#1a2b#xonce-0123abcd"), "0123abcd");
    static const char *const others[] = {"10.0.0.1@77#123456", "xonce-0123abcd", "10.0.0.1@77#xonce-0123abc", "10.0.0.1@77#xonce-0123ABCD", "10.0.0.1@77#xonce-0123abcd1", "", "#xonce-",
                                         "a#xonce-0123abcg"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        ck_assert_msg(!xo_members_store_of(others[i]), "%s", others[i]);
}
END_TEST

/* ---- tag expressions ---- */

static void parses(const char *text, const char *as, size_t tags)
{
    xo_filter f;
    ck_assert_msg(!xo_filter_parse(&f, text), "%s: %s", text, xonce_error_last()->text);
    ck_assert_str_eq(f.text, as);
    ck_assert_uint_eq(f.n, tags);
    xo_filter_free(&f);
}

START_TEST(filter_reads)
{
    parses(NULL, "*", 0);
    parses("", "*", 0);
    parses("  * ", "*", 0);
    parses("TagB", "TagB", 1);
    parses(" TagB||TagA ", "TagB || TagA", 2);
    parses("b || a||b || c", "b || a || c", 3);
    parses("ab || a || abc", "ab || a || abc", 3);
    parses("标签", "标签", 1);
    parses("in", "in", 1); /* a word of SQL alone is a tag like any other */
    parses("order-1 || and", "order-1 || and", 2);
}
END_TEST

START_TEST(filter_refuses)
{
    static const struct {
        const char *text, *why;
    } rows[] = {{"a ||", "empty tag"}, {"|| a", "empty tag"}, {"a || || b", "empty tag"}, {"a | b", "0x7c"}, {"a || *", "stands alone"}, {"a\x01", "0x01"}, {"a\n", "0x0a"},
                {"a > 5", "SQL92"}, {"TAGS is not null", "SQL92"}, {"region in ('x', 'y')", "SQL92"}, {"a = 1 AND b = 2", "SQL92"}, {"x between 1 and 3", "SQL92"}, {"a\xff", "UTF-8"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        xo_filter f;
        ck_assert_msg(xo_filter_parse(&f, rows[i].text) == XONCE_E_INVALID, "%s", rows[i].text);
        ck_assert_msg(strstr(xonce_error_last()->text, rows[i].why), "%s: %s", rows[i].text, xonce_error_last()->text);
        ck_assert_ptr_null(f.tags);
    }
}
END_TEST

START_TEST(filter_matches)
{
    xo_filter f, all;
    ck_assert_int_eq(xo_filter_parse(&f, "TagB || TagA || TagAB || Aa || order-😀 || 标签"), XONCE_OK);
    static const char *const in[] = {"TagA", "TagB", "TagAB", "Aa", "order-😀", "标签"}, *const out[] = {"Tag", "TagC", "", "TagABC", "taga", "BB", "Z"};
    for (size_t i = 0; i < 6; i++) {
        ck_assert_msg(xo_filter_has(&f, in[i], strlen(in[i])), "%s", in[i]);
        ck_assert_msg(xo_filter_has_code(&f, in[i], strlen(in[i])), "%s", in[i]);
    }
    for (size_t i = 0; i < 7; i++)
        ck_assert_msg(!xo_filter_has(&f, out[i], strlen(out[i])), "%s", out[i]);
    /* "BB" and "Aa" share a Java hash: the broker lets it through, the exact look does not */
    ck_assert(xo_filter_has_code(&f, "BB", 2));
    ck_assert(!xo_filter_has_code(&f, "TagC", 4));
    ck_assert(xo_filter_has(&f, "TagAzzz", 4)); /* not terminated */
    ck_assert(!xo_filter_has(&f, NULL, 0));
    ck_assert(!xo_filter_has_code(&f, NULL, 0));
    ck_assert_int_eq(xo_filter_parse(&all, "*"), XONCE_OK);
    ck_assert(xo_filter_has(&all, NULL, 0));
    ck_assert(xo_filter_has_code(&all, "x", 1));
    for (size_t i = 0; i < f.n; i++) {
        if (!strcmp(f.tags[i], "TagA"))
            ck_assert_int_eq(f.codes[i], 2598919);
        if (!strcmp(f.tags[i], "标签"))
            ck_assert_int_eq(f.codes[i], 857175);
        if (!strcmp(f.tags[i], "order-😀"))
            ck_assert_int_eq(f.codes[i], 1236026434);
        if (i)
            ck_assert_str_lt(f.tags[i - 1], f.tags[i]);
    }
    xo_filter_free(&f);
    xo_filter_free(&all);
}
END_TEST

START_TEST(filter_long_tag)
{
    char tag[1100];
    xo_filter f;
    memset(tag, 't', sizeof tag);
    tag[1000] = 0;
    ck_assert_int_eq(xo_filter_parse(&f, tag), XONCE_OK);
    ck_assert(xo_filter_has_code(&f, tag, 1000));
    ck_assert(!xo_filter_has_code(&f, tag, 999));
    xo_filter_free(&f);
    tag[1000] = 't';
    tag[1099] = 0;
    ck_assert_int_eq(xo_filter_parse(&f, tag), XONCE_E_INVALID);
}
END_TEST

START_TEST(filter_compares)
{
    xo_filter f, all;
    ck_assert_int_eq(xo_filter_parse(&f, "a || b"), XONCE_OK);
    ck_assert_int_eq(xo_filter_parse(&all, NULL), XONCE_OK);
    ck_assert(xo_filter_same(&f, "b||a"));
    ck_assert(xo_filter_same(&f, "a || b || a"));
    ck_assert(!xo_filter_same(&f, "a"));
    ck_assert(!xo_filter_same(&f, "a || c"));
    ck_assert(!xo_filter_same(&f, "*"));
    ck_assert(!xo_filter_same(&f, "a || b || c"));
    ck_assert(!xo_filter_same(&f, "a > 5"));
    ck_assert(xo_filter_same(&all, "*"));
    ck_assert(xo_filter_same(&all, ""));
    ck_assert(!xo_filter_same(&all, "a"));
    xo_filter_free(&f);
    xo_filter_free(&all);
}
END_TEST

/* ---- a source that is not started ---- */

static xonce_source *base;
static xo_rocketmq *s;

static void subscribed(const char *tags, const char *instance)
{
    xonce_config *cfg;
    ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
    if (instance)
        ck_assert_int_eq(xonce_config_set(cfg, "instance", instance), XONCE_OK);
    ck_assert_msg(!xonce_source_open(&base, "rocketmq://127.0.0.1:1", cfg), "%s", xonce_error_last()->text);
    xonce_config_free(cfg);
    ck_assert_msg(!base->ops->subscribe(base, "rm_cg49", "rm_49", tags, 0), "%s", xonce_error_last()->text);
    s = (xo_rocketmq *)base;
    strcpy(s->client_id, "192.0.2.2@cap49c");
}

static void put_queue(int id)
{
    xo_rmq_queue *q = xo_calloc(1, sizeof *q);
    ck_assert_ptr_nonnull(q);
    *q = (xo_rmq_queue){.topic = xo_strdup("rm_49"), .wire = xo_strdup(s->subs[0].wire), .broker = xo_strdup("broker-a"), .id = id, .sub = &s->subs[0], .state = XO_Q_RUNNING,
                        .mark = ++s->last_mark, .seek = -1, .next = s->queues};
    s->queues = q;
}

static void teardown(void)
{
    xonce_source_close(base);
    base = NULL;
}

START_TEST(heartbeat_body)
{
    subscribed("TagA || TagB", NULL);
    s->subs[0].version = 1795386438993;
    xo_buf b = {0};
    ck_assert_msg(!xo_members_heartbeat_body(s, &b), "%s", xonce_error_last()->text);
    /* as a Java client of 4.9 wrote it, but for its producer part and the version of the retry topic */
    json_t *is = xo_wire_json(b.p, b.len);
    json_t *want = json_loads("{\"clientID\":\"192.0.2.2@cap49c\",\"heartbeatFingerprint\":0,\"withoutSub\":false,\"producerDataSet\":[],\"consumerDataSet\":[{\"consumeFromWhere\":"
                              "\"CONSUME_FROM_FIRST_OFFSET\",\"consumeType\":\"CONSUME_PASSIVELY\",\"groupName\":\"rm_cg49\",\"messageModel\":\"CLUSTERING\",\"subscriptionDataSet\":["
                              "{\"classFilterMode\":false,\"codeSet\":[2598919,2598920],\"expressionType\":\"TAG\",\"subString\":\"TagA || TagB\",\"subVersion\":1795386438993,"
                              "\"tagsSet\":[\"TagA\",\"TagB\"],\"topic\":\"rm_49\"},{\"classFilterMode\":false,\"codeSet\":[],\"expressionType\":\"TAG\",\"subString\":\"*\","
                              "\"subVersion\":1795386438993,\"tagsSet\":[],\"topic\":\"%RETRY%rm_cg49\"}],\"unitMode\":false}]}", 0, NULL);
    ck_assert_ptr_nonnull(want);
    ck_assert_msg(json_equal(is, want), "%s", b.p);
    json_decref(is);
    json_decref(want);
    xo_buf_free(&b);
}
END_TEST

START_TEST(heartbeat_in_a_namespace)
{
    subscribed("*", "MQ_INST_1_2");
    xo_buf b = {0};
    ck_assert_int_eq(xo_members_heartbeat_body(s, &b), XONCE_OK);
    ck_assert_ptr_nonnull(strstr(b.p, "\"MQ_INST_1_2%rm_cg49\""));
    ck_assert_ptr_nonnull(strstr(b.p, "\"MQ_INST_1_2%rm_49\""));
    ck_assert_ptr_nonnull(strstr(b.p, "\"%RETRY%MQ_INST_1_2%rm_cg49\""));
    xo_buf_free(&b);
}
END_TEST

static void tell(int32_t code, const char *group_field, const char *group, const char *body)
{
    xo_command c;
    xo_command_init(&c, code);
    c.flag = XO_FLAG_ONEWAY;
    xo_command_set(&c, group_field, group);
    xo_command_set(&c, "topic", "rm_49");
    c.body = body;
    c.body_len = body ? strlen(body) : 0;
    xo_rmq_request(s, "127.0.0.1:1", &c);
    xo_command_free(&c);
}

static int64_t seek_of(int id)
{
    for (const xo_rmq_queue *q = s->queues; q; q = q->next)
        if (q->id == id)
            return q->seek;
    return -2;
}

START_TEST(reset_by_objects)
{
    subscribed("*", NULL);
    put_queue(0);
    put_queue(2);
    static const char body[] = "{\"offsetTable\":{{\"brokerName\":\"broker-a\",\"queueId\":2,\"topic\":\"rm_49\"}:7,{\"brokerName\":\"broker-a\",\"queueId\":3,\"topic\":\"rm_49\"}:8,"
                               "{\"brokerName\":\"broker-b\",\"queueId\":0,\"topic\":\"rm_49\"}:9}}";
    tell(XO_RMQ_RESET_OFFSET, "group", "another", body);
    ck_assert_int_eq(seek_of(2), -1);
    tell(XO_RMQ_RESET_OFFSET, "group", "rm_cg49", body);
    ck_assert_int_eq(seek_of(2), 7);
    ck_assert_int_eq(seek_of(0), -1);
}
END_TEST

START_TEST(reset_by_list)
{
    subscribed("*", NULL);
    put_queue(0);
    put_queue(2);
    tell(XO_RMQ_RESET_OFFSET, "group", "rm_cg49",
         "{\"offsetTable\":[{\"brokerName\":\"broker-a\",\"queueId\":0,\"topic\":\"rm_49\",\"offset\":0},{\"brokerName\":\"broker-a\",\"queueId\":2,\"topic\":\"rm_49\"}]}");
    ck_assert_int_eq(seek_of(0), 0);
    ck_assert_int_eq(seek_of(2), -1); /* no offset: nothing to guess */
}
END_TEST

START_TEST(reset_rubbish)
{
    static const char *const bodies[] = {"", "{", "[]", "{\"offsetTable\":5}", "{\"offsetTable\":{\"x\":1}}", "{\"offsetTable\":[1,null,{}]}", "{\"offsetTable\":{{\"brokerName\":1,\"queueId\":\"x\"}:\"y\"}}"};
    subscribed("*", NULL);
    put_queue(0);
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        tell(XO_RMQ_RESET_OFFSET, "group", "rm_cg49", bodies[i]);
    tell(XO_RMQ_RESET_OFFSET, "group", "rm_cg49", NULL);
    ck_assert_int_eq(seek_of(0), -1);
}
END_TEST

START_TEST(members_changed)
{
    subscribed("*", NULL);
    tell(XO_RMQ_CONSUMERS_CHANGED, "consumerGroup", "another", NULL);
    ck_assert_int_eq(s->rebalance_now, 0);
    tell(XO_RMQ_CONSUMERS_CHANGED, "consumerGroup", "rm_cg49", NULL);
    ck_assert_int_eq(s->rebalance_now, 1);
}
END_TEST

/* ---- opening ---- */

static void refused(const char *uri, const char *key, const char *value, const char *why)
{
    xonce_config *cfg;
    xonce_source *x = NULL;
    ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
    if (key)
        ck_assert_msg(!xonce_config_set(cfg, key, value), "%s", xonce_error_last()->text);
    ck_assert_msg(xonce_source_open(&x, uri, cfg) == XONCE_E_INVALID, "%s", uri);
    ck_assert_ptr_null(x);
    ck_assert_msg(strstr(xonce_error_last()->text, why), "%s", xonce_error_last()->text);
    xonce_config_free(cfg);
}

START_TEST(open_refuses)
{
    refused("rocketmq://127.0.0.1:1", "message-model", "BROADCASTING", "exactly once is per group");
    refused("rocketmq://127.0.0.1:1", "consume-from", "timestamp", "consume-from.time");
    refused("rocketmq://127.0.0.1:1", "consume-from.time", "yesterday", "is no time");
    refused("rocketmq://127.0.0.1:1", "consume-from.time", "20261341000000", "is no time");
    refused("rocketmqq://127.0.0.1:1", NULL, NULL, "did you mean rocketmq://");
    refused("kafka://127.0.0.1:1", NULL, NULL, "rocketmq://");
}
END_TEST

START_TEST(open_reads_times)
{
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {{"19700101000001", 1000}, {"20261123040506", INT64_C(1795406706000)}, {"1795406706123", INT64_C(1795406706123)}};
    for (size_t i = 0; i < 3; i++) {
        xonce_config *cfg;
        ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
        ck_assert_int_eq(xonce_config_set(cfg, "consume-from.time", rows[i].text), XONCE_OK);
        ck_assert_msg(!xonce_source_open(&base, "rocketmq://127.0.0.1:1", cfg), "%s", xonce_error_last()->text);
        ck_assert_int_eq(((xo_rocketmq *)base)->from_time, rows[i].ms);
        xonce_config_free(cfg);
        teardown();
    }
}
END_TEST

START_TEST(subscribe_refuses)
{
    subscribed("*", NULL);
    ck_assert_int_eq(base->ops->subscribe(base, "rm_cg49", "rm_49", "*", 0), XONCE_E_INVALID);
    ck_assert_int_eq(base->ops->subscribe(base, "other", "t2", "*", 0), XONCE_E_INVALID);
    ck_assert_int_eq(base->ops->subscribe(base, "rm_cg49", "t 2", "*", 0), XONCE_E_INVALID);
    ck_assert_int_eq(base->ops->subscribe(base, "rm_cg49", "t2", "a = 1", 0), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "SQL92"));
    ck_assert_int_eq(base->ops->subscribe(base, "rm_cg49", "t2", "a", 0), XONCE_OK);
    ck_assert_uint_eq(s->nsubs, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("members");
    TCase *sharing = tcase_create("sharing out");
    tcase_set_timeout(sharing, 120);
    tcase_add_test(sharing, allocate_table);
    tcase_add_test(sharing, allocate_each_queue_once);
    tcase_add_test(sharing, whose_member);
    suite_add_tcase(suite, sharing);
    TCase *filter = tcase_create("tag expressions");
    tcase_add_test(filter, filter_reads);
    tcase_add_test(filter, filter_refuses);
    tcase_add_test(filter, filter_matches);
    tcase_add_test(filter, filter_long_tag);
    tcase_add_test(filter, filter_compares);
    suite_add_tcase(suite, filter);
    TCase *texts = tcase_create("texts");
    tcase_add_checked_fixture(texts, NULL, teardown);
    tcase_add_test(texts, heartbeat_body);
    tcase_add_test(texts, heartbeat_in_a_namespace);
    tcase_add_test(texts, reset_by_objects);
    tcase_add_test(texts, reset_by_list);
    tcase_add_test(texts, reset_rubbish);
    tcase_add_test(texts, members_changed);
    tcase_add_test(texts, open_refuses);
    tcase_add_test(texts, open_reads_times);
    tcase_add_test(texts, subscribe_refuses);
    suite_add_tcase(suite, texts);
    SRunner *sr = srunner_create(suite);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
