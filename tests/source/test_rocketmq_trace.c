/* Traces of deliveries: as a Java consumer's were recorded, and one for each that the RocketMQ source hands over and gets back. */
#include "base/buf.h"
#include "remoting/trace.h"
#include "tests/source/rmq.h"
#include <jansson.h>

#define TRACES "RMQ_SYS_TRACE_TOPIC"
#define CLOUD_TRACES "rmq_sys_TRACE_DATA_DefaultRegion"
static mq *m;
static db d;
static rmq a;
static xo_buf all;

static void setup(void)
{
    lines_reset();
    m = mq_start(1);
    mq_topic(m, 0, "T", 1);
    mq_topic(m, 0, TRACES, 1);
    db_open(&d, "0badcafe");
    memset(&a, 0, sizeof a);
    all = (xo_buf){0};
}

static void teardown(void)
{
    rmq_close(&a);
    mq_stop(m);
    db_close(&d);
    xo_buf_free(&all);
}

/* ---- as Java writes them ---- */

enum { FIELDS = 16 };

/* Splits text in place. */
static int split(char *text, char at, char **fields, int max)
{
    int n = 0;
    for (char *p = text; p && n < max; n++) {
        fields[n] = p;
        if ((p = strchr(p, at)))
            *p++ = 0;
    }
    return n;
}

/* The same record, from what it says. 1: it is one that we write. */
static int write_again(xo_trace *t, char *record)
{
    char *f[FIELDS] = {0};
    int n = split(record, 1, f, FIELDS);
    if (!strcmp(f[0], "Pub") && strcmp(f[6], "null")) {
        ck_assert_int_eq(n, 14);
        xo_trace_pub(t, &(xo_trace_record){.time = atoll(f[1]), .region = f[2], .group = f[3], .topic = f[4], .id = f[5], .tags = f[6], .keys = f[7], .store_host = f[8],
                                           .body_len = atoll(f[9]), .cost_ms = atoll(f[10]), .type = atoi(f[11]), .offset_id = f[12], .success = !strcmp(f[13], "true")});
    } else if (!strcmp(f[0], "SubBefore")) {
        ck_assert_int_eq(n, 8);
        xo_trace_sub_before(t, &(xo_trace_record){.time = atoll(f[1]), .region = f[2], .group = f[3], .request_id = f[4], .id = f[5], .retry_times = atoi(f[6]),
                                                  .keys = strcmp(f[7], "null") ? f[7] : NULL});
    } else if (!strcmp(f[0], "SubAfter")) {
        ck_assert_int_eq(n, 9);
        xo_trace_sub_after(t, &(xo_trace_record){.request_id = f[1], .id = f[2], .cost_ms = atoll(f[3]), .success = !strcmp(f[4], "true"),
                                                 .keys = strcmp(f[5], "null") ? f[5] : NULL, .context = atoi(f[6]), .time = atoll(f[7]), .group = f[8]});
    } else {
        return 0;
    }
    return 1;
}

static int by_text(const void *x, const void *y)
{
    return strcmp(*(char *const *)x, *(char *const *)y);
}

/* Java's are the elements of a set, in no order. */
static void ck_same_keys(const char *got, const char *wanted)
{
    char *g = xo_strdup(got), *w = xo_strdup(wanted), *gs[64], *ws[64];
    int n = split(g, ' ', gs, 64), nw = split(w, ' ', ws, 64);
    qsort(gs, (size_t)n, sizeof *gs, by_text);
    qsort(ws, (size_t)nw, sizeof *ws, by_text);
    ck_assert_int_eq(n, nw);
    for (int i = 0; i < n; i++)
        ck_assert_str_eq(gs[i], ws[i]);
    free(g);
    free(w);
}

/* Writes the records of one recorded message, as one message of ours, which is compared. 0: it has some that we do not write. */
static int same_message(xo_cluster *c, const xonce_config *cfg, const char *body, const char *keys)
{
    xo_trace *t;
    char *text = xo_strdup(body), *records[64];
    int n = split(text, 2, records, 64), ours = 1;
    int64_t before = mq_max(m, 0, TRACES, 0);
    ck_assert_int_eq(xo_trace_open(&t, c, cfg), XONCE_OK);
    for (int i = 0; i + 1 < n; i++) /* behind the last separator there is nothing */
        ours &= write_again(t, records[i]);
    xo_trace_close(t);
    free(text);
    ck_assert_int_eq(mq_max(m, 0, TRACES, 0), before + 1);
    xonce_message *x = mq_stored(m, 0, TRACES, 0, before);
    if (ours) {
        ck_assert_uint_eq(x->body_len, strlen(body));
        ck_assert_mem_eq(x->body, body, x->body_len);
        ck_same_keys(xonce_message_key(x), keys);
    }
    xonce_message_free(x);
    return ours;
}

START_TEST(as_java_writes_them)
{
    const char *top = getenv("TOP_SRCDIR");
    char *path = xo_printf("%s/tests/source/trace-vectors.json", top ? top : ".");
    json_error_t e;
    json_t *file = json_load_file(path, 0, &e), *messages = json_object_get(file, "messages");
    xonce_config *cfg;
    xo_cluster *c;
    int same = 0;
    ck_assert_msg(file != NULL, "%s: %s", path, e.text);
    ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(cfg, "trace", "on"), XONCE_OK);
    ck_assert_int_eq(xo_cluster_open(&c, mq_uri(m), cfg, NULL, NULL), XONCE_OK);
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *x = json_array_get(messages, i);
        same += same_message(c, cfg, json_string_value(json_object_get(x, "body")), json_string_value(json_object_get(x, "keys")));
    }
    ck_assert_int_eq(same, 3); /* of 4: the producer's has a batch without tags, which we write as empty */
    xo_cluster_close(c);
    xonce_config_free(cfg);
    json_decref(file);
    free(path);
}
END_TEST

/* ---- of the source ---- */

static int has(const char *text)
{
    mq_traces(m, 1, TRACES, &all);
    return strstr(all.p, text) != NULL;
}

static int records(const char *kind)
{
    int n = 0;
    for (const char *s = all.p; (s = strstr(s, kind)); s++)
        n++;
    return n;
}

/* The fields of the record that has this in it, split in place. */
static int record_with(const char *kind, const char *text, char *line, size_t size, char **fields)
{
    for (const char *s = all.p, *end; *s && (end = strchr(s, '\n')); s = end + 1) {
        size_t n = (size_t)(end - s);
        if (n < size && !strncmp(s, kind, strlen(kind))) {
            memcpy(line, s, n);
            line[n] = 0;
            if (strstr(line, text))
                return split(line, '|', fields, FIELDS);
        }
    }
    ck_abort_msg("no %s with %s in\n%s", kind, text, all.p);
    return 0;
}

/* SubBefore of the delivery of id with so many retries before, and its SubAfter. */
static void ck_delivery(const char *id, int retries, const char *keys, const char *success, const char *context)
{
    char line[400], after[400], about[100], *b[FIELDS], *s[FIELDS];
    snprintf(about, sizeof about, "|%s|%d|%s", id, retries, keys);
    ck_assert_int_eq(record_with("SubBefore|", about, line, sizeof line, b), 8);
    ck_assert_int_gt(atoll(b[1]), xo_now_ms() - 60000);
    ck_assert_str_eq(b[2], "DefaultRegion");
    ck_assert_str_eq(b[3], "G");
    ck_assert_uint_ge(strlen(b[4]), 32);
    ck_assert_uint_eq(strspn(b[4], "0123456789ABCDEF"), strlen(b[4]));
    snprintf(about, sizeof about, "|%s|%s|", b[4], id);
    ck_assert_int_eq(record_with("SubAfter|", about, after, sizeof after, s), 9);
    ck_assert_int_ge(atoll(s[3]), 0);
    ck_assert_int_lt(atoll(s[3]), 60000);
    ck_assert_str_eq(s[4], success);
    ck_assert_str_eq(s[5], keys);
    ck_assert_str_eq(s[6], context);
    ck_assert_int_ge(atoll(s[7]), atoll(b[1]));
    ck_assert_str_eq(s[8], "G");
}

START_TEST(each_delivery)
{
    mq_store(m, 0, &(mq_message){.topic = "T", .keys = "k1 k2", .uniq = "ID-FINE", .body = "fine", .body_len = 4});
    mq_put(m, 0, "T", 0, NULL, "ID-FAILS", "fails");
    mq_put(m, 0, "T", 0, NULL, "ID-LATER", "later");
    mq_put(m, 0, "T", 0, NULL, "ID-REJECTED", "rejected");
    mq_store(m, 0, &(mq_message){.topic = "T", .uniq = "ID-QUIET", .body = "quiet", .body_len = 5, .bare = 1, .properties = "TRACE_ON\1false"});
    mq_store(m, 0, &(mq_message){.topic = "T", .uniq = "ID-MEMBER", .uniq2 = "ID-BATCH", .body = "member", .body_len = 6});
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("trace", "on"));
    rmq_take(&a, 6);
    WAIT(has("|ID-FINE|0|k1 k2\n")); /* before it is settled, however long that takes */
    ck_assert_int_eq(records("SubAfter"), 0);
    rmq_ack(&a, (size_t)rmq_find(&a, "fine"));
    rmq_nack(&a, (size_t)rmq_find(&a, "fails"), 1);
    rmq_nack(&a, (size_t)rmq_find(&a, "later"), 0);
    int i = rmq_find(&a, "rejected");
    a.got[i]->failed = a.got[i]->rejected = 1;
    rmq_ack(&a, (size_t)i);
    rmq_take(&a, 8); /* two come again */
    rmq_ack_all(&a);
    WAIT(has("|ID-FAILS|1|null\n") && records("SubAfter|") == 7);
    rmq_close(&a);
    has("");
    ck_delivery("ID-FINE", 0, "k1 k2", "true", "0");
    ck_delivery("ID-FAILS", 0, "null", "false", "4");
    ck_delivery("ID-FAILS", 1, "null", "true", "0");
    ck_delivery("ID-LATER", 0, "null", "false", "3");
    ck_delivery("ID-REJECTED", 0, "null", "false", "4");
    ck_delivery("ID-MEMBER", 0, "null", "true", "0");
    ck_assert_int_eq(records("SubBefore|"), 7);
    ck_assert_int_eq(records("SubAfter|"), 7);
    ck_assert_int_eq(records("ID-QUIET"), 0);
}
END_TEST

START_TEST(off)
{
    mq_put(m, 0, "T", 0, NULL, "ID", "x");
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&a, 1);
    rmq_ack_all(&a);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 1);
    rmq_close(&a);
    ck_assert_int_eq(mq_max(m, 0, TRACES, 0), 0);
    ck_assert_uint_eq(mq_count(m, 0, XO_RMQ_SEND_V2) + mq_count(m, 0, XO_RMQ_SEND), 0);
}
END_TEST

/* The cloud's console shows what the claim said. */
START_TEST(in_the_cloud)
{
    static const char *const ids[] = {"ID-NEW", "ID-KNOWN", "ID-REJECTED"}, *const last[] = {"1", "2", "0"};
    char line[400], about[100], *f[FIELDS];
    mq_topic(m, 0, CLOUD_TRACES, 1);
    for (int i = 0; i < 3; i++)
        mq_put(m, 0, "T", 0, NULL, ids[i], ids[i]);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("trace", "on", "rocketmq.ons-channel", "CLOUD"));
    rmq_take(&a, 3);
    a.got[rmq_find(&a, "ID-KNOWN")]->duplicate = 1;
    a.got[rmq_find(&a, "ID-REJECTED")]->rejected = 1;
    rmq_ack_all(&a);
    rmq_close(&a);
    ck_assert_int_eq(mq_max(m, 0, TRACES, 0), 0);
    mq_traces(m, 1, CLOUD_TRACES, &all);
    for (int i = 0; i < 3; i++) {
        snprintf(about, sizeof about, "|%s|", ids[i]);
        ck_assert_int_eq(record_with("SubAfter|", about, line, sizeof line, f), 8);
        ck_assert_str_eq(f[7], last[i]);
    }
}
END_TEST

/* Where traces cannot be written, messages go on as ever. */
START_TEST(nobody_waits_for_them)
{
    enum { N = 300 };
    for (int i = 0; i < N; i++) {
        char text[32];
        snprintf(text, sizeof text, "m%d", i);
        mq_put(m, 0, "T", 0, NULL, text, text);
    }
    mq_next(m, 0, XO_RMQ_SEND_V2, 1000, MQ_LOSE_REQUEST, 0);
    mq_next(m, 0, XO_RMQ_SEND, 1000, MQ_LOSE_REQUEST, 0);
    rmq_open(&a, m, &d, "T", "*", 0, SETTINGS("trace", "on"));
    rmq_take(&a, N);
    int64_t began = xo_mono_ms();
    rmq_ack_all(&a);
    ck_assert_int_lt(xo_mono_ms() - began, 5000);
    WAIT(mq_committed(m, 0, "G", "T", 0) == N);
    rmq_close(&a);
    ck_assert_int_eq(mq_max(m, 0, TRACES, 0), 0);
    ck_assert_int_ge(lines_with("traces are lost: "), 1);
    ck_assert_int_ge(lines_with("traces are lost: 600 records so far, of which 0 had no room"), 1);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("traces");
    tcase_add_checked_fixture(t, setup, teardown);
    ADD(t, as_java_writes_them);
    ADD(t, each_delivery);
    ADD(t, off);
    ADD(t, in_the_cloud);
    ADD(t, nobody_waits_for_them);
    return rmq_run(t);
}
