/* The in-process cluster against frames recorded from real ones: the same requests, the same answers. */
#include "base/clock.h"
#include "base/mem.h"
#include "remoting/wirejson.h"
#include "tests/remoting/broker.h"
#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static json_t *file;
static mq *m;
static int fd; /* a connection to its broker */

static json_t *vector(const char *name)
{
    size_t i;
    json_t *v;
    if (!file) {
        char path[1024];
        const char *top = getenv("TOP_SRCDIR");
        snprintf(path, sizeof path, "%s/tests/remoting/remoting-vectors.json", top ? top : ".");
        ck_assert_msg((file = json_load_file(path, 0, NULL)) != NULL, "%s", path);
    }
    json_array_foreach(json_object_get(file, "vectors"), i, v) if (!strcmp(json_string_value(json_object_get(v, "name")), name)) return v;
    ck_abort_msg("no vector %s", name);
    return NULL;
}

static void decode_vector(const char *name, xo_command *out)
{
    const char *hex = json_string_value(json_object_get(vector(name), "hex"));
    size_t n = strlen(hex) / 2 - 4;
    char *frame = malloc(n + 1);
    ck_assert_ptr_nonnull(frame);
    for (size_t i = 0; i < n; i++)
        frame[i] = (char)strtol((char[]){hex[2 * i + 8], hex[2 * i + 9], 0}, NULL, 16);
    ck_assert_int_eq(xo_command_decode(out, frame, n), XONCE_OK);
}

/* ---- a client as simple as can be ---- */

static int dial(const char *address)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtol(strchr(address, ':') + 1, NULL, 10))};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert(s >= 0 && !connect(s, (struct sockaddr *)&a, sizeof a));
    return s;
}

static void send_command(xo_command *c)
{
    xo_buf b = {0};
    ck_assert_int_eq(xo_command_encode(c, &b), XONCE_OK);
    ck_assert_int_eq(send(fd, b.p, b.len, MSG_NOSIGNAL), (ssize_t)b.len);
    xo_buf_free(&b);
    xo_command_free(c);
}

static void recv_command(xo_command *out)
{
    unsigned char head[4];
    ck_assert_int_eq(recv(fd, head, 4, MSG_WAITALL), 4);
    size_t n = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    char *frame = malloc(n + 1);
    ck_assert_int_eq(recv(fd, frame, n, MSG_WAITALL), (ssize_t)n);
    ck_assert_int_eq(xo_command_decode(out, frame, n), XONCE_OK);
}

static void ask(xo_command *c, xo_command *answer)
{
    int32_t opaque = c->opaque = c->opaque + 1000;
    send_command(c);
    for (;;) {
        recv_command(answer);
        if (answer->flag & XO_FLAG_RESPONSE) {
            ck_assert_int_eq(answer->opaque, opaque);
            return;
        }
        xo_command_free(answer); /* 40 */
    }
}

/* ---- comparing ---- */

static void same_shape(const json_t *a, const json_t *b, const char *where)
{
    const char *name;
    json_t *v;
    ck_assert_msg(json_typeof(a) == json_typeof(b) || (json_is_number(a) && json_is_number(b)), "%s: another type", where);
    if (json_is_array(a) && json_array_size(a) && json_array_size(b))
        same_shape(json_array_get(a, 0), json_array_get(b, 0), where);
    if (!json_is_object(a))
        return;
    int table = strstr(where, "offsetTable") || strstr(where, "subscriptionTable"), first = 1;
    json_object_foreach((json_t *)a, name, v)
    {
        char deeper[256];
        snprintf(deeper, sizeof deeper, "%.150s/%.100s", where, name);
        json_t *other = json_object_get(b, name);
        if (table && !other && first)
            other = json_object_iter_value(json_object_iter((json_t *)b)); /* names are queues */
        first = 0;
        ck_assert_msg(other != NULL || table, "%s is missing", deeper);
        if (other)
            same_shape(v, other, deeper);
    }
}

static int has_property(const xo_record *r, const char *name, size_t n, const char *value, size_t len)
{
    char z[128];
    size_t got;
    const char *v;
    ck_assert_uint_lt(n, sizeof z);
    memcpy(z, name, n);
    z[n] = 0;
    for (size_t i = 0; (v = xo_record_property(r, z, i, &got)); i++)
        if (got == len && !memcmp(v, value, len))
            return 1;
    return 0;
}

/* Every property of a stands in b, with its value. */
static void same_properties(const xo_record *a, const xo_record *b)
{
    for (const char *p = a->properties, *end = p + a->nproperties; p < end;) {
        const char *stop = memchr(p, 2, (size_t)(end - p)), *sep = memchr(p, 1, (size_t)(end - p));
        stop = stop ? stop : end;
        ck_assert(sep && sep < stop);
        ck_assert_msg(has_property(b, p, (size_t)(sep - p), sep + 1, (size_t)(stop - sep - 1)), "property %.*s", (int)(stop - p), p);
        p = stop + 1;
    }
}

static void same_records(const xo_command *want, const xo_command *got, int with_log)
{
    size_t i = 0, j = 0;
    xo_record a, b;
    int more_a = 0, more_b = 0;
    for (;;) {
        ck_assert(!xo_record_next(want->body, want->body_len, &i, &a, &more_a) && !xo_record_next(got->body, got->body_len, &j, &b, &more_b));
        ck_assert_int_eq(more_a, more_b);
        if (!more_a)
            return;
        ck_assert(a.magic == b.magic && a.crc == b.crc && a.queue == b.queue && a.flag == b.flag && a.sys_flag == b.sys_flag &&
                  a.reconsume == b.reconsume);
        ck_assert_int_eq(a.queue_offset, b.queue_offset);
        ck_assert_int_eq(a.born_time, b.born_time);
        ck_assert(a.ntopic == b.ntopic && !memcmp(a.topic, b.topic, a.ntopic) && a.body_len == b.body_len && !memcmp(a.body, b.body, a.body_len));
        if (with_log)
            ck_assert_int_eq(a.log_offset, b.log_offset);
        same_properties(&a, &b);
        same_properties(&b, &a);
    }
}

static void same_fields(const xo_command *want, const xo_command *got)
{
    static const char *const values[] = {"nextBeginOffset",      "maxOffset",     "minOffset",  "queueId", "queueOffset", "offset",
                                         "suggestWhichBrokerId", "transactionId", "MSG_REGION", "TRACE_ON"};
    ck_assert_msg(want->code == got->code, "code %d, not %d: %s", (int)got->code, (int)want->code, got->remark ? got->remark : "");
    for (size_t i = 0; i < want->nfields; i++)
        ck_assert_msg(xo_command_get(got, want->fields[i].name) != NULL, "%s is missing", want->fields[i].name);
    for (size_t i = 0; i < got->nfields; i++)
        ck_assert_msg(xo_command_get(want, got->fields[i].name) != NULL, "%s is too much", got->fields[i].name);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (xo_command_get(want, values[i]))
            ck_assert_str_eq(xo_command_get(got, values[i]), xo_command_get(want, values[i]));
    if (want->code == XO_RMQ_PULL_MOVED || want->code == XO_RMQ_PULL_NOT_FOUND || want->code == XO_RMQ_PULL_AGAIN ||
        want->code == XO_RMQ_QUERY_NOT_FOUND || want->code == XO_RMQ_OLD_SUBSCRIPTION)
        ck_assert_str_eq(got->remark, want->remark);
    ck_assert_int_eq(want->body_len != 0, got->body_len != 0);
}

enum { JSON, RECORDS, RECORDS_AT /* physical offsets too */ };

static void compare(const char *name, xo_command *got, int body)
{
    xo_command want;
    char answer[128];
    snprintf(answer, sizeof answer, "%s.response", name);
    decode_vector(json_is_object(vector(answer)) ? answer : name, &want);
    same_fields(&want, got);
    if (body == JSON && want.body_len) {
        json_t *a = xo_wire_json(want.body, want.body_len), *b = xo_wire_json(got->body, got->body_len);
        ck_assert(a && b);
        same_shape(a, b, name);
        same_shape(b, a, name);
        json_decref(a);
        json_decref(b);
    } else if (want.body_len) {
        same_records(&want, got, body == RECORDS_AT);
    }
    xo_command_free(&want);
    xo_command_free(got);
}

/* Sends the recorded request, with up to two fields changed, and compares the answer with the recorded one. */
static void replay(const char *name, int body, const char *field, const char *value, const char *field2, const char *value2)
{
    xo_command c, got;
    char request[128];
    snprintf(request, sizeof request, "%s.request", name);
    decode_vector(request, &c);
    if (field)
        xo_command_set(&c, field, value);
    if (field2)
        xo_command_set(&c, field2, value2);
    ask(&c, &got);
    compare(name, &got, body);
}
#define REPLAY(name, body) replay(name, body, NULL, NULL, NULL, NULL)

/* ---- the tests ---- */

static void set_up(void)
{
    m = mq_start(1);
    fd = dial(mq_address(m, 0));
}

static void tear_down(void)
{
    close(fd);
    mq_stop(m);
}

START_TEST(name_server)
{
    close(fd);
    fd = dial(mq_address(m, MQ_NAME_SERVER));
    mq_topic(m, 0, "rm_basic", 1);
    REPLAY("route", JSON);
    REPLAY("route_missing_topic", JSON);
    REPLAY("binary_route", JSON);
}
END_TEST

START_TEST(sends_and_pulls)
{
    mq_topic(m, 0, "rm_basic", 1);
    mq_topic(m, 0, "rm_other", 2);
    REPLAY("heartbeat_consumer", JSON);
    REPLAY("consumer_list", JSON);
    REPLAY("query_offset", JSON);
    REPLAY("send_v2", JSON);
    REPLAY("send_v2_compressed_zlib", JSON);
    REPLAY("send_v2_unicode", JSON);
    replay("pull_found_3", RECORDS_AT, "subVersion", "1795385574968", NULL, NULL);
    mq_put(m, 0, "rm_basic", 0, "TagA", "U4", "4");
    REPLAY("pull_no_matched", RECORDS);
    REPLAY("max_offset", JSON);
    REPLAY("min_offset", JSON);
    REPLAY("search_offset_lower", JSON);
    REPLAY("earliest_store_time", JSON);
    REPLAY("unsupported_code", JSON);
}
END_TEST

/* Batch members carry two UNIQ_KEYs; their retry copies share the second, and know their origins. */
START_TEST(batch_and_send_back)
{
    char offset[32];
    mq_topic(m, 0, "rm_other", 2);
    REPLAY("send_batch", JSON);
    REPLAY("batch_delivery_two_uniq_keys", RECORDS);
    for (int i = 0; i < 3; i++) {
        snprintf(offset, sizeof offset, "%lld", (long long)mq_log_offset(m, 0, "rm_other", 1, i));
        replay("send_back_first", JSON, "offset", offset, "group", "rm_pybg");
    }
    while (mq_delayed(m, 0))
        xo_pause_ms(1);
    xo_command c, got, want;
    decode_vector("batch_retry_delivery.request", &c);
    decode_vector("batch_retry_delivery.response", &want);
    ask(&c, &got);
    same_fields(&want, &got);
    size_t at = 0, at_want = 0;
    xo_record r, w;
    int more, ids = 0;
    while (!xo_record_next(got.body, got.body_len, &at, &r, &more) && more) {
        size_t len, nids;
        const char *u = xo_record_property(&r, "UNIQ_KEY", 0, &len), *o = xo_record_property(&r, "ORIGIN_MESSAGE_ID", 0, &nids);
        ck_assert(!xo_record_next(want.body, want.body_len, &at_want, &w, &more) && more);
        ck_assert(len == 56 && !memcmp(u + len - 4, "0007", 4) && !xo_record_property(&r, "UNIQ_KEY", 1, &len));
        ck_assert(o && nids == 32 && r.reconsume == 1 && r.reconsume == w.reconsume);
        for (const char *p = w.properties; p < w.properties + w.nproperties;
             p = (const char *)memchr(p, 2, (size_t)(w.properties + w.nproperties - p)) + 1) {
            char name[64];
            size_t n = (size_t)((const char *)memchr(p, 1, 64) - p);
            memcpy(name, p, n);
            name[n] = 0;
            ck_assert_msg(xo_record_property(&r, name, 0, &len) != NULL, "%s is missing", name);
        }
        ids++;
    }
    ck_assert_int_eq(ids, 3);
    xo_command_free(&want);
    xo_command_free(&got);
}
END_TEST

START_TEST(pull_without_heartbeat_locks_and_views)
{
    mq_topic(m, 0, "rm_py", 2);
    mq_topic(m, 0, "rm_basic", 1);
    mq_topic(m, 0, "rm_order", 2);
    REPLAY("pull_subscription_missing", JSON);
    for (int i = 0; i < 4; i++)
        mq_put(m, 0, "rm_py", 0, "A", "U", "x");
    REPLAY("pull_not_found", JSON);
    REPLAY("topic_stats", JSON);
    for (int i = 0; i < 4; i++)
        mq_put(m, 0, "rm_basic", 0, "A", "U", "x");
    REPLAY("pull_offset_moved", JSON);
    REPLAY("lock_batch", JSON);
    char owner[128];
    ck_assert(mq_lock_owner(m, 0, "rm_cg_order", "rm_order", 1, owner, sizeof owner));
    ck_assert_str_eq(owner, "192.0.2.2@caprm_cg_order");
    mq_lock(m, 0, "rm_pypcg", "rm_py", 0, "another");
    REPLAY("lock_refused", JSON);
    REPLAY("unlock_batch", JSON);
    ck_assert(!mq_lock_owner(m, 0, "rm_cg_order", "rm_order", 1, owner, sizeof owner));
    mq_join(m, 0, "rm_pypcg", "py@1", "rm_py", "A || B");
    REPLAY("consumer_connection", JSON);
}
END_TEST

/* The recorded sequence of an operator's reset: updates are swallowed, one pull gets it, and its own commit flag undoes it. */
START_TEST(operator_reset)
{
    mq_topic(m, 0, "rm_py", 2);
    for (int i = 0; i < 6; i++)
        mq_put(m, 0, "rm_py", 0, "A", "U", "x");
    mq_commit(m, 0, "rm_pyreset", "rm_py", 0, 4);
    mq_reset_5(m, 0, "rm_pyreset", "rm_py", 0, 0);
    REPLAY("update_offset_ignored_after_reset", JSON);
    REPLAY("query_offset_after_reset", JSON);
    REPLAY("pull_offset_reset", JSON);
    REPLAY("query_offset_after_reset_pull", JSON);
    ck_assert_int_eq(mq_committed(m, 0, "rm_pyreset", "rm_py", 0), 4);
    mq_trim(m, 0, "rm_py", 0, 1);
    replay("query_offset_not_found", JSON, "topic", "rm_py", "queueId", "0");
}
END_TEST

/* A half message is invisible; a commit stores it, a second one stores it again. */
START_TEST(transactions)
{
    mq_topic(m, 0, "rm_tran", 2);
    REPLAY("tran_half_send", JSON);
    ck_assert_uint_eq(mq_halves(m, 0), 1);
    ck_assert_int_eq(mq_max(m, 0, "rm_tran", 1), 0);
    char at[32];
    snprintf(at, sizeof at, "%lld", (long long)mq_log_offset(m, 0, "RMQ_SYS_TRANS_HALF_TOPIC", 0, 0));
    for (int i = 0; i < 2; i++) {
        xo_command c, got;
        decode_vector("end_transaction_sync.request", &c);
        xo_command_set(&c, "producerGroup", "rm_tpg");
        xo_command_set(&c, "commitLogOffset", at);
        xo_command_set(&c, "tranStateTableOffset", "0");
        ask(&c, &got);
        compare("end_transaction_sync", &got, JSON);
        ck_assert_int_eq(mq_max(m, 0, "rm_tran", 1), i + 1);
    }
    REPLAY("end_transaction_wrong_group", JSON);
    char *bytes;
    size_t n = mq_record(m, 0, "rm_tran", 1, 0, &bytes), from = 0;
    xo_record r, w;
    xo_command want;
    int more;
    decode_vector("tran_committed_delivery", &want);
    ck_assert(!xo_record_next(bytes, n, &from, &r, &more) && more);
    from = 0;
    ck_assert(!xo_record_next(want.body, want.body_len, &from, &w, &more) && more);
    ck_assert_int_eq(r.sys_flag, w.sys_flag);
    ck_assert_int_eq(r.prepared_offset, strtoll(at, NULL, 10));
    ck_assert_int_eq(r.crc, w.crc);
    free(bytes);
    xo_command_free(&want);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("broker");
    TCase *t = tcase_create("recorded");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, name_server);
    tcase_add_test(t, sends_and_pulls);
    tcase_add_test(t, batch_and_send_back);
    tcase_add_test(t, pull_without_heartbeat_locks_and_views);
    tcase_add_test(t, operator_reset);
    tcase_add_test(t, transactions);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    json_decref(file);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
