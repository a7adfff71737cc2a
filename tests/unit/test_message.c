/* Messages, their properties, and their identity. */
#include "base/mem.h"
#include "message/message.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(new_copies_and_bounds)
{
    xonce_message *m;
    size_t len;
    char topic[257];
    memset(topic, 't', sizeof(topic) - 1);
    topic[256] = 0;
    ck_assert_int_eq(xonce_message_new(&m, topic, "1", "x", 1), XONCE_E_INVALID);
    ck_assert_ptr_null(m);
    ck_assert_int_eq(xonce_message_new(&m, "", "1", "x", 1), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_message_new(&m, NULL, "1", "x", 1), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_message_new(&m, "t", "", "x", 1), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_message_new(&m, "t", "1", NULL, 1), XONCE_E_INVALID);
    char body[] = "body";
    ck_assert_int_eq(xonce_message_new(&m, "t", NULL, body, 4), XONCE_OK);
    body[0] = 'x';
    ck_assert_str_eq(xonce_message_body(m, &len), "body");
    ck_assert_uint_eq(len, 4);
    ck_assert_str_eq(xonce_message_id(m), "");
    ck_assert_int_eq(xonce_message_attempt(m), 1);
    ck_assert_int_eq(xonce_message_store_time(m), -1);
    ck_assert_int_eq(xonce_message_offset(m, NULL, NULL), -1);
    ck_assert_int_eq(xonce_message_set_attempt(m, 0), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_message_set_attempt(m, 3), XONCE_OK);
    ck_assert_int_eq(xonce_message_attempt(m), 3);
    xonce_message_free(m);
    ck_assert_int_eq(xonce_message_new(&m, "t", "1", NULL, 0), XONCE_OK);
    ck_assert_ptr_nonnull(xonce_message_body(m, &len));
    ck_assert_uint_eq(len, 0);
    xonce_message_free(m);
    xonce_message_free(NULL);
}
END_TEST

static void count_release(void *owner)
{
    ++*(int *)owner;
}

START_TEST(wrapped_bodies_are_released_once)
{
    xonce_message *m, *c;
    int released = 0;
    const char body[] = "abc";
    ck_assert_int_eq(xonce_message_wrap(&m, "", "1", body, 3, count_release, &released), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_message_wrap(&m, "t", "1", body, 3, count_release, &released), XONCE_OK);
    ck_assert_ptr_eq(xonce_message_body(m, NULL), body);
    ck_assert_ptr_eq(xonce_message_owner(m), &released);
    ck_assert_int_eq(xonce_message_copy(&c, m), XONCE_OK);
    ck_assert_ptr_null(xonce_message_owner(c));
    xonce_message_free(m);
    ck_assert_int_eq(released, 1);
    ck_assert_str_eq(xonce_message_body(c, NULL), "abc");
    xonce_message_free(c);
    ck_assert_int_eq(released, 1);
}
END_TEST

START_TEST(copies_have_what_the_source_said)
{
    xonce_message *m, *c, *again;
    ck_assert_int_eq(xonce_message_new(&m, "t", "1", "x", 1), XONCE_OK);
    ck_assert(!m->uniq && !m->refuse && m->copy_offset == -1 && m->copy_log_offset == -1 && m->mark == 0);
    ck_assert_int_eq(xonce_message_copy(&c, m), XONCE_OK);
    ck_assert(!c->uniq && !c->refuse && c->copy_offset == -1 && c->copy_log_offset == -1);
    xonce_message_free(c);
    m->uniq = xo_strdup("0A01");
    m->refuse = xo_strdup("origin unknown");
    m->mark = 77;
    m->copy_offset = 5;
    m->copy_log_offset = 6;
    m->failed = m->rejected = 1;
    ck_assert_int_eq(xonce_message_copy(&c, m), XONCE_OK);
    xonce_message_free(m);
    ck_assert_str_eq(c->uniq, "0A01");
    ck_assert_str_eq(c->refuse, "origin unknown");
    ck_assert(c->mark == 77 && c->copy_offset == 5 && c->copy_log_offset == 6);
    ck_assert(!c->failed && !c->rejected); /* nothing became of the copy yet */
    ck_assert_int_eq(xonce_message_copy(&again, c), XONCE_OK);
    xonce_message_free(c);
    ck_assert_str_eq(again->uniq, "0A01");
    xonce_message_free(again);
}
END_TEST

static void join(const char *name, const char *value, void *arg)
{
    char *out = arg;
    size_t n = strlen(out);
    ck_assert_uint_lt(n + strlen(name) + strlen(value) + 3, 200);
    memcpy(out + n, name, strlen(name) + 1);
    n = strlen(out);
    out[n++] = '=';
    memcpy(out + n, value, strlen(value) + 1);
    n = strlen(out);
    out[n++] = ';';
    out[n] = 0;
}

START_TEST(properties_keep_their_order)
{
    xonce_message *m, *c;
    char all[200] = "";
    ck_assert_int_eq(xonce_message_new(&m, "t", "1", "x", 1), XONCE_OK);
    ck_assert_str_eq(xonce_message_tag(m), "");
    ck_assert_ptr_null(xonce_message_property(m, "a"));
    ck_assert_int_eq(xonce_message_set_property(m, "", "x"), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_message_set_property(m, "TAGS", "red"), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_property(m, "KEYS", "k1"), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_property(m, "a", ""), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_property(m, "TAGS", "blue"), XONCE_OK);
    ck_assert_int_eq(xo_message_put(m, "bcd", 1, "xyz", 2), XONCE_OK);
    ck_assert_int_eq(xo_message_put(m, "b\0d", 3, "x", 1), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_message_set_origin(m, "broker-a", 3, 77), XONCE_OK);
    ck_assert_int_eq(xonce_message_copy(&c, m), XONCE_OK);
    xonce_message_free(m);
    xonce_message_each_property(c, join, all);
    ck_assert_str_eq(all, "TAGS=blue;KEYS=k1;a=;b=xy;");
    ck_assert_str_eq(xonce_message_tag(c), "blue");
    ck_assert_str_eq(xonce_message_key(c), "k1");
    const char *broker;
    int32_t queue;
    ck_assert_int_eq(xonce_message_offset(c, &broker, &queue), 77);
    ck_assert_str_eq(broker, "broker-a");
    ck_assert_int_eq(queue, 3);
    char lane[64];
    xo_message_lane(c, lane, sizeof(lane));
    ck_assert_str_eq(lane, "broker-a/3");
    ck_assert_int_eq(xonce_message_set_property(c, "__SHARDINGKEY", "s1"), XONCE_OK);
    xo_message_lane(c, lane, sizeof(lane));
    ck_assert_str_eq(lane, "s1");
    xonce_message_free(c);
}
END_TEST

START_TEST(properties_are_bounded)
{
    xonce_message *m;
    char name[16];
    ck_assert_int_eq(xonce_message_new(&m, "t", "1", "x", 1), XONCE_OK);
    for (int i = 0; i < 8192; i++) {
        snprintf(name, sizeof(name), "p%d", i);
        ck_assert_int_eq(xonce_message_set_property(m, name, "v"), XONCE_OK);
    }
    ck_assert_int_eq(xonce_message_set_property(m, "one more", "v"), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_message_set_property(m, "p8191", "w"), XONCE_OK);
    ck_assert_str_eq(xonce_message_property(m, "p8191"), "w");
    xonce_message_free(m);
}
END_TEST

START_TEST(uniq_prefers_the_producers_id)
{
    xonce_message *m;
    size_t n;
    ck_assert_int_eq(xonce_message_new(&m, "t", "broker-id", "x", 1), XONCE_OK);
    ck_assert_str_eq(xo_message_uniq(m, &n), "broker-id");
    ck_assert_uint_eq(n, 9);
    ck_assert_int_eq(xonce_message_set_property(m, "UNIQ_KEY", "uniq"), XONCE_OK);
    ck_assert_str_eq(xo_message_uniq(m, &n), "uniq");
    ck_assert_int_eq(xonce_message_set_property(m, "EXTEND_UNIQ_INFO", "extended"), XONCE_OK);
    ck_assert_str_eq(xo_message_uniq(m, &n), "extended");
    m->uniq = xo_strdup("of the original");
    ck_assert_str_eq(xo_message_uniq(m, &n), "of the original");
    ck_assert_uint_eq(n, 15);
    m->uniq[0] = 0;
    ck_assert_str_eq(xo_message_uniq(m, &n), "extended");
    xonce_message_free(m);
    ck_assert_int_eq(xonce_message_new(&m, "t", NULL, "x", 1), XONCE_OK);
    ck_assert_ptr_null(xo_message_uniq(m, &n));
    xonce_message_free(m);
}
END_TEST

static void key(char out[XO_KEY_SIZE], const char *uniq, const char *group)
{
    ck_assert_int_eq(xo_identity_key(out, uniq, strlen(uniq), group), XONCE_OK);
    ck_assert_uint_lt(strlen(out), XO_KEY_SIZE);
}

START_TEST(keys_of_different_messages_differ)
{
    char a[XO_KEY_SIZE], b[XO_KEY_SIZE], uniq[400], group[129];
    key(a, "0A0B", "GID_a");
    ck_assert_str_eq(a, "0A0B#GID_a");
    key(a, "order-Ab", "g");
    key(b, "order-aB", "g");
    ck_assert_str_ne(a, b);
    key(a, "x", "g");
    key(b, "x ", "g");
    ck_assert_str_ne(a, b);
    ck_assert_int_eq(strncmp(b, "sha256:", 7), 0);
    ck_assert_uint_eq(strlen(b), 7 + 64 + 2);
    key(a, b, "g"); /* an id that looks hashed is hashed itself */
    ck_assert_str_ne(a, b);
    memset(uniq, 'u', sizeof(uniq));
    memset(group, 'g', 128);
    group[128] = 0;
    ck_assert_int_eq(xo_check_group(group), XONCE_OK);
    for (size_t n = 1; n < sizeof(uniq); n++) {
        ck_assert_int_eq(xo_identity_key(a, uniq, n, group), XONCE_OK);
        ck_assert_uint_lt(strlen(a), XO_KEY_SIZE);
        ck_assert_int_eq(xo_identity_collision_key(b, uniq, n, group, "0CC175B9C0F1B6A831C399E269772661", "topic"), XONCE_OK);
        ck_assert_uint_lt(strlen(b), XO_KEY_SIZE);
        ck_assert_str_ne(a, b);
    }
    ck_assert_int_eq(xo_identity_key(a, "", 0, "g"), XONCE_E_INVALID);
    ck_assert_int_eq(xo_identity_collision_key(a, "id", 2, "g", "D1", "t1"), XONCE_OK);
    ck_assert_int_eq(xo_identity_collision_key(b, "id", 2, "g", "D1", "t2"), XONCE_OK);
    ck_assert_str_ne(a, b);
    ck_assert_int_eq(strncmp(a, "id~", 3), 0);
    ck_assert_uint_eq(strlen(a), 2 + 1 + 12 + 2);
}
END_TEST

START_TEST(groups_are_checked)
{
    static const char *const bad[] = {"", "a#b", "a b", "a.b", "\xc3\xa9"};
    char group[130];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(xo_check_group(bad[i]), XONCE_E_INVALID);
    }
    ck_assert_int_eq(xo_check_group(NULL), XONCE_E_INVALID);
    ck_assert_int_eq(xo_check_group("MQ_INST_1%GID_a-b|c"), XONCE_OK);
    memset(group, 'g', 129);
    group[129] = 0;
    ck_assert_int_eq(xo_check_group(group), XONCE_E_INVALID);
}
END_TEST

START_TEST(digest_is_the_brokers_or_ours)
{
    xonce_message *m;
    char d[33];
    ck_assert_int_eq(xonce_message_new(&m, "t", "1", "a", 1), XONCE_OK);
    ck_assert_int_eq(xo_message_digest(m, d), XONCE_OK);
    ck_assert_str_eq(d, "0CC175B9C0F1B6A831C399E269772661");
    memset(m->body_md5, 'F', 32);
    ck_assert_int_eq(xo_message_digest(m, d), XONCE_OK);
    ck_assert_str_eq(d, "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF");
    xonce_message_free(m);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("message");
    TCase *c = tcase_create("message");
    suite_add_tcase(s, c);
    tcase_add_test(c, new_copies_and_bounds);
    tcase_add_test(c, wrapped_bodies_are_released_once);
    tcase_add_test(c, copies_have_what_the_source_said);
    tcase_add_test(c, properties_keep_their_order);
    tcase_add_test(c, properties_are_bounded);
    tcase_add_test(c, uniq_prefers_the_producers_id);
    tcase_add_test(c, keys_of_different_messages_differ);
    tcase_add_test(c, groups_are_checked);
    tcase_add_test(c, digest_is_the_brokers_or_ours);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
