/* The frames recorded between real clients and brokers: each decodes to what it was recorded as; stored messages, binary headers and signatures come out as they were. */
#include "base/mem.h"
#include "base/text.h"
#include "remoting/command.h"
#include "remoting/record.h"
#include "remoting/wirejson.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *vectors;

static const char *text(const json_t *v, const char *name)
{
    const char *s = json_string_value(json_object_get(v, name));
    ck_assert_ptr_nonnull(s);
    return s;
}

static int digit(char c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* The frame's bytes, length word included. */
static char *bytes(const json_t *v, size_t *n)
{
    const char *hex = text(v, "hex");
    *n = strlen(hex) / 2;
    char *p = malloc(*n);
    ck_assert_ptr_nonnull(p);
    for (size_t i = 0; i < *n; i++)
        p[i] = (char)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    return p;
}

static void decode(xo_command *c, const json_t *v)
{
    size_t n;
    char *p = bytes(v, &n), *frame = xo_memdup0(p + 4, n - 4);
    ck_assert_uint_eq(n - 4, (unsigned char)p[2] << 8 | (unsigned char)p[3]);
    free(p);
    ck_assert_msg(xo_command_decode(c, frame, n - 4) == XONCE_OK, "%s: %s", text(v, "name"), xonce_error_last()->text);
}

static const json_t *decoded(const json_t *v)
{
    return json_object_get(v, "decoded");
}

static void check_header(const json_t *v, const xo_command *c)
{
    const json_t *h = json_object_get(decoded(v), "header"), *remark = json_object_get(h, "remark");
    json_t *ext = json_object_get(h, "extFields"), *value;
    const char *name, *what = text(v, "name");
    ck_assert_msg(c->code == json_integer_value(json_object_get(v, "code")), "%s", what);
    ck_assert_msg(c->flag == json_integer_value(json_object_get(h, "flag")), "%s", what);
    ck_assert_msg(c->opaque == json_integer_value(json_object_get(h, "opaque")), "%s", what);
    ck_assert_msg(c->version == json_integer_value(json_object_get(h, "version")), "%s", what);
    ck_assert_msg(c->language == (strcmp(text(h, "language"), "CPP") ? XO_LANGUAGE_JAVA : XO_LANGUAGE_CPP), "%s", what);
    ck_assert_msg(c->binary == !strcmp(text(decoded(v), "serialize"), "ROCKETMQ"), "%s", what);
    const char *type = c->flag & XO_FLAG_RESPONSE ? "response" : c->flag & XO_FLAG_ONEWAY ? "oneway" : "request";
    ck_assert_msg(!strcmp(text(decoded(v), "type"), type), "%s: %s", what, type);
    ck_assert_msg(c->remark ? json_is_string(remark) && !strcmp(c->remark, json_string_value(remark)) : !json_is_string(remark), "%s: remark", what);
    size_t there = 0;
    if (ext && !json_is_null(ext))
        json_object_foreach (ext, name, value) {
            const char *got = xo_command_get(c, name);
            ck_assert_msg(got && !strcmp(got, json_string_value(value)), "%s: %s is %s", what, name, got ? got : "absent");
            there++;
        }
    ck_assert_msg(there == c->nfields, "%s: %zu fields", what, c->nfields);
}

static int same_fields(const xo_command *a, const xo_command *b)
{
    int same = a->code == b->code && a->version == b->version && a->opaque == b->opaque && a->flag == b->flag && a->language == b->language &&
               a->nfields == b->nfields && a->body_len == b->body_len && !memcmp(a->body, b->body, a->body_len) && !a->remark == !b->remark &&
               (!a->remark || !strcmp(a->remark, b->remark));
    for (size_t i = 0; same && i < a->nfields; i++)
        same = !strcmp(a->fields[i].name, b->fields[i].name) && !strcmp(a->fields[i].value, b->fields[i].value);
    return same;
}

START_TEST(frames)
{
    size_t binary = 0, requests = 0;
    ck_assert_uint_eq(json_array_size(vectors), 175);
    for (size_t i = 0; i < json_array_size(vectors); i++) {
        const json_t *v = json_array_get(vectors, i);
        xo_command c, again;
        xo_buf out = {0};
        size_t n;
        char *p = bytes(v, &n);
        decode(&c, v);
        check_header(v, &c);
        ck_assert_int_eq(xo_command_encode(&c, &out), XONCE_OK);
        if (c.binary) {
            ck_assert_uint_eq(out.len, n);
            ck_assert_mem_eq(out.p, p, n);
            binary++;
        }
        requests += !(c.flag & XO_FLAG_RESPONSE);
        ck_assert_int_eq(xo_command_decode(&again, xo_memdup0(out.p + 4, out.len - 4), out.len - 4), XONCE_OK);
        ck_assert_msg(same_fields(&c, &again), "%s", text(v, "name"));
        xo_command_free(&again);
        xo_command_free(&c);
        xo_buf_free(&out);
        free(p);
    }
    ck_assert_uint_eq(binary, 5);
    ck_assert_uint_gt(requests, 80);
}
END_TEST

/* Every frame, cut short at each byte, and with each of its first bytes turned over: refused or decoded, never read beyond its end. */
START_TEST(damaged_frames)
{
    for (size_t i = 0; i < json_array_size(vectors); i++) {
        const json_t *v = json_array_get(vectors, i);
        size_t n, header;
        char *p = bytes(v, &n);
        xo_command c;
        header = 8 + ((size_t)(unsigned char)p[5] << 16 | (size_t)(unsigned char)p[6] << 8 | (unsigned char)p[7]);
        for (size_t cut = 0; cut < n - 4; cut++) {
            char *exact = malloc(cut ? cut : 1);
            memcpy(exact, p + 4, cut);
            xonce_status st = xo_command_decode(&c, exact, cut);
            ck_assert_int_eq(st, cut + 4 < header ? XONCE_E_PROTOCOL : XONCE_OK);
            xo_command_free(&c);
        }
        for (size_t k = 4; k < n && k < 80; k++) {
            char *bad = xo_memdup0(p + 4, n - 4);
            bad[k - 4] = (char)~bad[k - 4];
            xonce_status st = xo_command_decode(&c, bad, n - 4);
            ck_assert(st == XONCE_OK || st == XONCE_E_PROTOCOL);
            xo_command_free(&c);
        }
        free(p);
    }
}
END_TEST

static int64_t number(const json_t *o, const char *name)
{
    ck_assert_msg(json_is_integer(json_object_get(o, name)), "%s", name);
    return json_integer_value(json_object_get(o, name));
}

static void check_host(const unsigned char *host, size_t n, const char *want)
{
    char got[64];
    ck_assert_uint_eq(n, 8);
    snprintf(got, sizeof got, "%d.%d.%d.%d:%d", host[0], host[1], host[2], host[3], host[6] << 8 | host[7]);
    ck_assert_str_eq(got, want);
}

static void check_record(const json_t *want, const xo_record *r)
{
    char magic[16];
    snprintf(magic, sizeof magic, "%08X", (unsigned)r->magic);
    ck_assert_str_eq(magic, text(want, "magic"));
    ck_assert_int_eq(r->crc, number(want, "bodyCrc"));
    ck_assert_int_eq(r->queue, number(want, "queueId"));
    ck_assert_int_eq(r->flag, number(want, "flag"));
    ck_assert_int_eq(r->queue_offset, number(want, "queueOffset"));
    ck_assert_int_eq(r->log_offset, number(want, "commitLogOffset"));
    ck_assert_int_eq(r->sys_flag, number(want, "sysFlag"));
    ck_assert_int_eq(r->born_time, number(want, "bornTimestamp"));
    ck_assert_int_eq(r->store_time, number(want, "storeTimestamp"));
    ck_assert_int_eq(r->reconsume, number(want, "reconsumeTimes"));
    ck_assert_int_eq(r->prepared_offset, number(want, "preparedTransactionOffset"));
    ck_assert_uint_eq(r->body_len, (size_t)number(want, "bodyLen"));
    check_host(r->born_host, r->nborn, text(want, "bornHost"));
    check_host(r->store_host, r->nstore, text(want, "storeHost"));
    char id[XO_OFFSET_ID_SIZE];
    xo_record_id(r, id);
    ck_assert_str_eq(id, text(want, "offsetMsgId"));
}

static void check_message(const json_t *want, const xo_record *r)
{
    xonce_message *m;
    const char *name, *body = text(want, "body");
    json_t *value;
    ck_assert_msg(xo_record_message(r, "broker-a", &m) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_ptr_null(m->refuse);
    ck_assert_str_eq(m->topic, text(want, "topic"));
    ck_assert_str_eq(m->id, text(want, "offsetMsgId"));
    ck_assert_str_eq(m->broker, "broker-a");
    ck_assert_int_eq(m->offset, r->queue_offset);
    ck_assert_int_eq(m->copy_offset, r->queue_offset);
    ck_assert_int_eq(m->log_offset, r->log_offset);
    ck_assert_int_eq(m->copy_log_offset, r->log_offset);
    ck_assert_int_eq(m->store_time, r->store_time);
    ck_assert_int_eq(m->expires_mono, INT64_MAX);
    ck_assert_int_eq(m->attempt, r->reconsume + 1);
    ck_assert_uint_eq(m->body_len, (size_t)number(want, "bodyUncompressedLen"));
    size_t shown = strlen(body), dots = shown > 3 && !strcmp(body + shown - 3, "...") ? 3 : 0;
    ck_assert_mem_eq(m->body, body, shown - dots);
    size_t there = 0;
    json_object_foreach (json_object_get(want, "properties"), name, value) {
        const char *got = xonce_message_property(m, name);
        ck_assert_msg(got != NULL, "%s", name);
        if (strcmp(name, "UNIQ_KEY") != 0)
            ck_assert_str_eq(got, json_string_value(value));
        there++;
    }
    ck_assert_uint_eq(there, m->nproperties);
    xonce_message_free(m);
}

START_TEST(stored_messages)
{
    size_t frames_seen = 0, messages = 0, packed = 0;
    for (size_t i = 0; i < json_array_size(vectors); i++) {
        const json_t *v = json_array_get(vectors, i), *list = json_object_get(decoded(v), "messages");
        if (!list)
            continue;
        xo_command c;
        xo_record r;
        xo_buf out = {0};
        size_t at = 0, k = 0;
        int more;
        decode(&c, v);
        while (ck_assert_msg(xo_record_next(c.body, c.body_len, &at, &r, &more) == XONCE_OK, "%s: %s", text(v, "name"), xonce_error_last()->text), more) {
            const json_t *want = json_array_get(list, k++);
            check_record(want, &r);
            check_message(want, &r);
            packed += r.sys_flag & XO_SYS_COMPRESSED;
            xo_record_encode(&r, &out);
        }
        ck_assert_uint_eq(k, json_array_size(list));
        ck_assert_uint_eq(out.len, c.body_len);
        ck_assert_mem_eq(out.p, c.body, c.body_len);
        frames_seen++;
        messages += k;
        xo_buf_free(&out);
        xo_command_free(&c);
    }
    printf("# %zu messages in %zu frames, %zu of them compressed\n", messages, frames_seen, packed);
    ck_assert_uint_ge(frames_seen, 20);
    ck_assert_uint_ge(packed, 2);
}
END_TEST

/* A batch's members carry two UNIQ_KEYs each; copies of them from the retry topic only the batch's. */
START_TEST(two_uniq_keys)
{
    size_t seen = 0;
    for (size_t i = 0; i < json_array_size(vectors); i++) {
        const json_t *v = json_array_get(vectors, i), *lists = json_object_get(decoded(v), "propertiesList");
        xo_command c;
        xo_record r;
        size_t at = 0, len = 0;
        int more;
        if (!lists)
            continue;
        decode(&c, v);
        for (size_t k = 0; k < json_array_size(lists); k++) {
            const json_t *list = json_array_get(lists, k);
            const char *first = NULL;
            size_t keys = 0;
            ck_assert_int_eq(xo_record_next(c.body, c.body_len, &at, &r, &more), XONCE_OK);
            for (size_t j = 0; j < json_array_size(list); j++) {
                const char *name = json_string_value(json_array_get(json_array_get(list, j), 0)), *value = json_string_value(json_array_get(json_array_get(list, j), 1));
                if (strcmp(name, "UNIQ_KEY"))
                    continue;
                const char *got = xo_record_property(&r, "UNIQ_KEY", keys++, &len);
                ck_assert_ptr_nonnull(got);
                ck_assert_uint_eq(len, strlen(value));
                ck_assert_mem_eq(got, value, len);
                first = first ? first : value;
            }
            ck_assert_uint_eq(keys, 2);
            ck_assert_ptr_null(xo_record_property(&r, "UNIQ_KEY", 2, &len));
            xonce_message *m;
            ck_assert_int_eq(xo_record_message(&r, "b", &m), XONCE_OK);
            ck_assert_str_eq(xonce_message_property(m, "UNIQ_KEY"), first);
            xonce_message_free(m);
            seen++;
        }
        xo_command_free(&c);
    }
    ck_assert_uint_eq(seen, 3);
}
END_TEST

/* JSON bodies, standard or not, are the text that was recorded. */
START_TEST(json_bodies)
{
    size_t strange = 0, all = 0;
    for (size_t i = 0; i < json_array_size(vectors); i++) {
        const json_t *v = json_array_get(vectors, i), *body = json_object_get(decoded(v), "bodyText");
        xo_command c;
        json_error_t e;
        if (!body || json_string_value(body)[0] != '{')
            continue;
        decode(&c, v);
        json_t *ours = xo_wire_json(c.body, c.body_len), *plain = json_loadb(c.body, c.body_len, 0, &e);
        ck_assert_msg(ours != NULL, "%s: %s", text(v, "name"), xonce_error_last()->text);
        ck_assert(!plain || json_equal(ours, plain));
        strange += !plain;
        all++;
        json_decref(ours);
        json_decref(plain);
        xo_command_free(&c);
    }
    printf("# %zu JSON bodies, %zu that no other parser reads\n", all, strange);
    ck_assert_uint_ge(strange, 5);
    ck_assert_uint_ge(all, 25);
}
END_TEST

static json_t *body_of(const char *name)
{
    for (size_t i = 0; i < json_array_size(vectors); i++) {
        const json_t *v = json_array_get(vectors, i);
        if (!strcmp(text(v, "name"), name)) {
            xo_command c;
            decode(&c, v);
            json_t *o = xo_wire_json(c.body, c.body_len);
            xo_command_free(&c);
            ck_assert_ptr_nonnull(o);
            return o;
        }
    }
    ck_abort_msg("no vector %s", name);
}

START_TEST(strange_names)
{
    json_t *o = body_of("route_version0.response"), *key;
    const json_t *broker = json_array_get(json_object_get(o, "brokerDatas"), 0);
    ck_assert_str_eq(xo_json_text(json_object_get(broker, "brokerAddrs"), "0"), "127.0.0.1:29011");
    json_decref(o);
    o = body_of("topic_stats.response");
    json_t *table = json_object_get(o, "offsetTable"), *value;
    const char *name;
    int64_t sum = 0;
    ck_assert_uint_eq(json_object_size(table), 2);
    json_object_foreach (table, name, value) {
        key = xo_wire_json(name, strlen(name));
        ck_assert_ptr_nonnull(key);
        ck_assert_str_eq(xo_json_text(key, "topic"), "rm_py");
        ck_assert_str_eq(xo_json_text(key, "brokerName"), "broker-a");
        ck_assert_int_eq(xo_json_int(value, "maxOffset"), xo_json_int(key, "queueId") ? 0 : 4);
        sum += xo_json_int(key, "queueId");
        json_decref(key);
    }
    ck_assert_int_eq(sum, 1);
    json_decref(o);
}
END_TEST

static json_t *signatures_list; /* of the Java signer */

START_TEST(signatures)
{
    for (size_t i = 0; i < json_array_size(signatures_list); i++) {
        const json_t *v = json_array_get(signatures_list, i);
        json_t *ext = json_object_get(v, "extFields"), *value;
        const char *name, *body = text(v, "body");
        xo_command c;
        xo_command_init(&c, 11);
        json_object_foreach (ext, name, value)
            if (strcmp(name, "AccessKey") && strcmp(name, "SecurityToken"))
                xo_command_set(&c, name, json_string_value(value));
        c.body = body;
        c.body_len = strlen(body);
        ck_assert_int_eq(xo_acl_sign(&c, text(ext, "AccessKey"), text(v, "secretKey"), json_string_value(json_object_get(ext, "SecurityToken")), NULL), XONCE_OK);
        ck_assert_str_eq(xo_command_get(&c, "Signature"), text(v, "signature"));
        xo_command_free(&c);
    }
    ck_assert_uint_eq(json_array_size(signatures_list), 2);
}
END_TEST

/* Frames that a Java client signed: ours makes the same signature, and another once a field, the body or the secret differs. */
START_TEST(signed_frames)
{
    size_t seen = 0;
    for (size_t i = 0; i < json_array_size(vectors); i++) {
        const json_t *v = json_array_get(vectors, i);
        xo_command c;
        decode(&c, v);
        char *was = xo_strdup(xo_command_get(&c, "Signature"));
        if (was) {
            ck_assert_int_eq(xo_acl_sign(&c, "AK-test", "SK-secret-1234", "STS-token", NULL), XONCE_OK);
            ck_assert_msg(!strcmp(xo_command_get(&c, "Signature"), was), "%s", text(v, "name"));
            ck_assert_int_eq(xo_acl_sign(&c, "AK-test", "SK-secret-12345", "STS-token", NULL), XONCE_OK);
            ck_assert_str_ne(xo_command_get(&c, "Signature"), was);
            ck_assert_int_eq(xo_acl_sign(&c, "AK-test", "SK-secret-1234", "STS-token", "ALIYUN"), XONCE_OK);
            ck_assert_str_ne(xo_command_get(&c, "Signature"), was);
            ck_assert_str_eq(xo_command_get(&c, "OnsChannel"), "ALIYUN");
            seen++;
        }
        free(was);
        xo_command_free(&c);
    }
    ck_assert_uint_eq(seen, 2);
}
END_TEST

/* What the broker answered is what the caller is told. */
START_TEST(refusals)
{
    static const struct {
        const char *name;
        xonce_status status;
        int again;
    } expected[] = {
        {"route_missing_topic.response", XONCE_E_NOT_FOUND, 1},        {"query_offset_not_found.response", XONCE_E_NOT_FOUND, 0},
        {"unsupported_code.response", XONCE_E_INVALID, 0},             {"send_bad_queue.response", XONCE_E_INVALID, 0},
        {"pull_subscription_missing.response", XONCE_E_CONFLICT, 1},   {"pull_subscription_not_latest.response", XONCE_E_CONFLICT, 1},
        {"end_transaction_wrong_group.response", XONCE_E_PROTOCOL, 1}, {"pull_found_3.response", XONCE_OK, 0},
    };
    size_t seen = 0;
    for (size_t i = 0; i < json_array_size(vectors); i++) {
        const json_t *v = json_array_get(vectors, i);
        for (size_t k = 0; k < sizeof expected / sizeof *expected; k++)
            if (!strcmp(text(v, "name"), expected[k].name)) {
                xo_command c;
                decode(&c, v);
                ck_assert_msg(xo_command_error(&c, "the request") == expected[k].status, "%s", expected[k].name);
                if (expected[k].status != XONCE_OK) {
                    ck_assert_int_eq(xonce_error_last()->native, c.code);
                    ck_assert_msg(xonce_error_last()->again == expected[k].again, "%s", expected[k].name);
                    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "the request: "));
                }
                xo_command_free(&c);
                seen++;
            }
    }
    ck_assert_uint_eq(seen, sizeof expected / sizeof *expected);
}
END_TEST

int main(void)
{
    const char *top = getenv("TOP_SRCDIR");
    char *path = xo_printf("%s/tests/remoting/remoting-vectors.json", top ? top : ".");
    json_error_t e;
    json_t *all = json_load_file(path, 0, &e);
    if (!all) {
        printf("Bail out! %s: %s\n", path, e.text);
        free(path);
        return 1;
    }
    free(path);
    vectors = json_object_get(all, "vectors");
    signatures_list = json_object_get(all, "acl");
    Suite *s = suite_create("remoting vectors");
    TCase *c = tcase_create("vectors");
    tcase_add_test(c, frames);
    tcase_add_test(c, damaged_frames);
    tcase_add_test(c, stored_messages);
    tcase_add_test(c, two_uniq_keys);
    tcase_add_test(c, json_bodies);
    tcase_add_test(c, strange_names);
    tcase_add_test(c, signatures);
    tcase_add_test(c, signed_frames);
    tcase_add_test(c, refusals);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    json_decref(all);
    return failed != 0;
}
