/* The endpoint's queues as a client sees them: sending, taking, acknowledging, order, time, transactions, filters, groups. */
#include "base/clock.h"
#include "base/mem.h"
#include "proto/receipt.h"
#include "tests/proto/endpoint_rig.h"
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rig R;

static void setup(void)
{
    rig_init(&R);
    rig_start(&R);
}

static void teardown(void)
{
    rig_end(&R);
}

static void take(taken *t, const char *topic, int max, int wait_s, const char *more)
{
    rig_take(&R, &R.w, t, topic, "G", max, wait_s, more);
}

/* Takes exactly these bodies in this order, in one answer, and acknowledges them. */
static void expect(const char *topic, const char *more, const char *const *bodies, int n)
{
    taken t;
    take(&t, topic, 16, 2, more);
    ck_assert_int_eq(t.n, n);
    for (int i = 0; i < n; i++)
        ck_assert_str_eq(t.body[i], bodies[i]);
    ck_assert_int_eq(rig_ack(&R.w, &t, topic, "G", NULL), 204);
    taken_free(&t);
}

static void expect_nothing(const char *topic, const char *more)
{
    taken t;
    take(&t, topic, 16, 0, more);
    ck_assert_int_eq(t.n, 0);
}

START_TEST(one_message)
{
    taken t;
    int64_t before = xo_now_ms();
    char *id = rig_send(&R.w, "t", "a<&>\"'\xe4\xbd\xa0", "TagA", "KEYS:k|a:1"), *text;
    ck_assert_ptr_nonnull(text = wire_element(&R.w, "MessageBodyMD5", 0));
    ck_assert_uint_eq(strspn(text, "0123456789ABCDEF"), 32);
    free(text);
    take(&t, "t", 16, 0, NULL);
    ck_assert_int_eq(t.n, 1);
    ck_assert_str_eq(t.id[0], id);
    ck_assert_str_eq(t.body[0], "a<&>\"'\xe4\xbd\xa0");
    ck_assert_int_eq(t.times[0], 1);
    ck_assert(t.first[0] >= before && t.next[0] == t.first[0] + 1200);
    ck_assert_str_eq(text = wire_element(&R.w, "MessageTag", 0), "TagA");
    free(text);
    ck_assert_str_eq(text = wire_element(&R.w, "Properties", 0), "KEYS:k|a:1|__BORNHOST:127.0.0.1|");
    free(text);
    xo_receipt r;
    ck_assert_int_eq(xo_receipt_read(&r, t.handle[0]), 1);
    ck_assert(r.queue >= 0 && r.queue < 8 && r.offset == 0 && *r.broker && r.invisible_ms == 1200);
    ck_assert_int_eq(strncmp(t.handle[0], id, 32), 0);
    ck_assert_int_eq(rig_ack(&R.w, &t, "t", "G", NULL), 204);
    ck_assert_uint_eq(R.w.body.len, 0);
    expect_nothing("t", NULL);
    free(id);
    taken_free(&t);
}
END_TEST

START_TEST(ids_are_never_the_same)
{
    char seen[300][33];
    for (int i = 0; i < 300; i++) {
        char *id = rig_send(&R.w, "t", "x", NULL, NULL);
        memcpy(seen[i], id, 33);
        free(id);
        for (int k = 0; k < i; k++)
            ck_assert_str_ne(seen[k], seen[i]);
    }
}
END_TEST

START_TEST(comes_again)
{
    taken first, second;
    rig_sent(&R.w, "t", "x", NULL, NULL);
    take(&first, "t", 1, 0, NULL);
    expect_nothing("t", NULL);
    take(&second, "t", 1, 3, NULL);
    ck_assert_int_eq(second.n, 1);
    ck_assert_int_ge(xo_now_ms(), first.next[0]);
    ck_assert_str_eq(second.id[0], first.id[0]);
    ck_assert_str_ne(second.handle[0], first.handle[0]);
    ck_assert_int_eq(second.times[0], 2);
    ck_assert_int_eq(second.first[0], first.first[0]);
    ck_assert_int_eq(rig_ack(&R.w, &first, "t", "G", NULL), 404);
    char *code = wire_element(&R.w, "ErrorCode", 0);
    ck_assert_str_eq(code, "MessageNotExist");
    free(code);
    ck_assert_int_eq(rig_ack(&R.w, &second, "t", "G", NULL), 204);
    ck_assert_int_eq(rig_ack(&R.w, &second, "t", "G", NULL), 404);
    taken_free(&first);
    taken_free(&second);
}
END_TEST

START_TEST(partly_acknowledged)
{
    taken t;
    rig_sent(&R.w, "t", "x", NULL, NULL);
    take(&t, "t", 1, 0, NULL);
    char *handles[] = {(char[]){"no <handle>"}, t.handle[0], t.handle[0]};
    ck_assert_int_eq(wire_ack(&R.w, "t", "G", handles, 3, NULL), 404);
    ck_assert_ptr_nonnull(strstr(R.w.body.p, "<Errors xmlns="));
    ck_assert_int_eq(wire_count(&R.w, "Error"), 2);
    char *code = wire_element(&R.w, "ErrorCode", 0), *handle = wire_element(&R.w, "ReceiptHandle", 0), *again = wire_element(&R.w, "ErrorCode", 1);
    ck_assert_str_eq(code, "ReceiptHandleError");
    ck_assert_str_eq(handle, "no <handle>");
    ck_assert_str_eq(again, "MessageNotExist");
    free(code);
    free(handle);
    free(again);
    xo_pause_ms(1400); /* longer than one that is not acknowledged is away */
    expect_nothing("t", NULL);
    taken_free(&t);
}
END_TEST

START_TEST(handles_of_others)
{
    taken t;
    rig_sent(&R.w, "t", "x", NULL, NULL);
    take(&t, "t", 1, 0, NULL);
    ck_assert_int_eq(rig_ack(&R.w, &t, "t", "other", NULL), 404);
    ck_assert_int_eq(rig_ack(&R.w, &t, "other", "G", NULL), 404);
    ck_assert_int_eq(rig_ack(&R.w, &t, "t", "G", "&trans=commit"), 404);
    ck_assert_int_eq(rig_ack(&R.w, &t, "t", "G", NULL), 204);
    taken_free(&t);
}
END_TEST

START_TEST(groups_have_their_own_progress)
{
    taken t;
    rig_sent(&R.w, "t", "x", NULL, NULL);
    expect("t", NULL, (const char *[]){"x"}, 1);
    rig_sent(&R.w, "t", "y", NULL, NULL);
    rig_take(&R, &R.w, &t, "t", "late", 16, 0, NULL);
    ck_assert_int_eq(t.n, 2);
    ck_assert_str_eq(t.body[0], "x");
    ck_assert_str_eq(t.body[1], "y");
    taken_free(&t);
    expect("t", NULL, (const char *[]){"y"}, 1);
}
END_TEST

START_TEST(tags)
{
    static const char *const sent[] = {"A", "B", "C", "A b"};
    for (int i = 0; i < 4; i++)
        rig_sent(&R.w, "t", sent[i], sent[i], NULL);
    rig_sent(&R.w, "t", "none", NULL, NULL);
    expect_nothing("t", "&tag=X");
    expect("t", "&tag=B%7C%7CC", (const char *[]){"B", "C"}, 2);
    expect("t", "&tag=A+b+%7C%7C+Z", (const char *[]){"A b"}, 1);
    expect_nothing("t", "&tag=B");
    expect("t", "&tag=*", (const char *[]){"A", "none"}, 2);
}
END_TEST

START_TEST(order_within_a_key)
{
    taken t, u;
    for (int i = 0; i < 6; i++) {
        char body[16];
        (void)snprintf(body, sizeof body, "%d", i);
        rig_sent(&R.w, "o", body, NULL, i % 2 ? "__SHARDINGKEY:odd|" : "__SHARDINGKEY:even|");
    }
    take(&t, "o", 2, 0, "&trans=order");
    ck_assert_int_eq(t.n, 2);
    ck_assert_str_eq(t.body[0], "0");
    ck_assert_str_eq(t.body[1], "2");
    take(&u, "o", 16, 0, "&trans=order"); /* the other key is not held up, the first one is */
    ck_assert_int_eq(u.n, 3);
    ck_assert_str_eq(u.body[0], "1");
    ck_assert_str_eq(u.body[2], "5");
    ck_assert_int_eq(wire_ack(&R.w, "o", "G", t.handle, 1, NULL), 204);
    expect_nothing("o", "&trans=order"); /* one of two is not enough */
    ck_assert_int_eq(wire_ack(&R.w, "o", "G", t.handle + 1, 1, NULL), 204);
    expect("o", "&trans=order", (const char *[]){"4"}, 1);
    taken_free(&t);
    take(&t, "o", 16, 3, "&trans=order"); /* not acknowledged: the same again, in order */
    ck_assert_int_eq(t.n, 3);
    for (int i = 0; i < 3; i++) {
        ck_assert_str_eq(t.body[i], u.body[i]);
        ck_assert_int_eq(t.times[i], 2);
    }
    ck_assert_int_eq(rig_ack(&R.w, &t, "o", "G", NULL), 204);
    expect_nothing("o", "&trans=order");
    taken_free(&t);
    taken_free(&u);
}
END_TEST

START_TEST(order_among_many)
{
    int seen[7] = {0}, got = 0;
    for (int i = 0; i < 700; i++) {
        char body[16], properties[48];
        (void)snprintf(body, sizeof body, "%d", i / 7);
        (void)snprintf(properties, sizeof properties, "__SHARDINGKEY:%d|key:%d", i % 7, i % 7);
        rig_sent(&R.w, "o", body, NULL, properties);
    }
    for (taken t; got < 700; taken_free(&t)) {
        take(&t, "o", 16, 2, "&trans=order");
        ck_assert_int_ge(t.n, 1);
        for (int i = 0; i < t.n; i++, got++) {
            char *properties = wire_element(&R.w, "Properties", i);
            long key = strtol(strstr(properties, "key:") + 4, NULL, 10);
            ck_assert_int_eq(strtol(t.body[i], NULL, 10), seen[key]++);
            free(properties);
        }
        ck_assert_int_eq(rig_ack(&R.w, &t, "o", "G", NULL), 204);
    }
}
END_TEST

START_TEST(timed)
{
    char properties[64];
    taken t;
    int64_t due = xo_now_ms() + 700;
    (void)snprintf(properties, sizeof properties, "__STARTDELIVERTIME:%lld", (long long)due);
    rig_sent(&R.w, "d", "later", NULL, properties);
    rig_sent(&R.w, "d", "past", NULL, "__STARTDELIVERTIME:1000|");
    expect("d", NULL, (const char *[]){"past"}, 1);
    expect_nothing("d", NULL);
    take(&t, "d", 1, 3, NULL);
    ck_assert_int_eq(t.n, 1);
    ck_assert_str_eq(t.body[0], "later");
    ck_assert_int_ge(xo_now_ms(), due);
    taken_free(&t);
    ck_assert_int_eq(wire_send(&R.w, "d", "x", NULL, "__STARTDELIVERTIME:soon"), 400);
    rig_refused(&R.w, 400, "InvalidArgument");
    ck_assert_int_eq(wire_send(&R.w, "d", "x", NULL, "__STARTDELIVERTIME:99999999999999"), 400);
}
END_TEST

/* Sends a half message; its handle, caller frees. */
static char *send_half(const char *body, const char *more)
{
    char properties[96];
    (void)snprintf(properties, sizeof properties, "__TransCheckT:10|%s", more);
    rig_sent(&R.w, "h", body, NULL, properties);
    char *handle = wire_element(&R.w, "ReceiptHandle", 0);
    ck_assert_ptr_nonnull(handle);
    return handle;
}

START_TEST(half_messages)
{
    char timed_text[64];
    (void)snprintf(timed_text, sizeof timed_text, "__STARTDELIVERTIME:%lld", (long long)xo_now_ms() + 600);
    char *keep = send_half("keep", "a:1"), *drop = send_half("drop", ""), *later = send_half("later", timed_text);
    expect_nothing("h", NULL);
    expect_nothing("h", "&trans=pop");
    ck_assert_int_eq(wire_ack(&R.w, "h", "G", &keep, 1, NULL), 404); /* not a consumer's handle */
    ck_assert_int_eq(wire_ack(&R.w, "h", "", &keep, 1, "&trans=commit"), 204);
    ck_assert_int_eq(wire_ack(&R.w, "h", "G", &drop, 1, "&trans=rollback"), 204);
    ck_assert_int_eq(wire_ack(&R.w, "h", "G", &later, 1, "&trans=commit"), 204);
    ck_assert_int_eq(wire_ack(&R.w, "h", "G", &keep, 1, "&trans=commit"), 404);
    char *code = wire_element(&R.w, "ErrorCode", 0);
    ck_assert_str_eq(code, "MessageNotExist");
    free(code);
    expect("h", NULL, (const char *[]){"keep"}, 1);
    expect("h", NULL, (const char *[]){"later"}, 1);
    expect_nothing("h", NULL);
    free(keep);
    free(drop);
    free(later);
    ck_assert_int_eq(wire_send(&R.w, "h", "x", NULL, "__TransCheckT:9|"), 400);
    rig_refused(&R.w, 400, "InvalidArgument");
    ck_assert_int_eq(wire_send(&R.w, "h", "x", NULL, "__TransCheckT:301|"), 400);
}
END_TEST

START_TEST(half_message_is_checked)
{
    taken t;
    char *handle = send_half("x", "");
    int64_t begun = xo_mono_ms();
    take(&t, "h", 16, 15, "&trans=pop");
    ck_assert_int_eq(t.n, 1);
    ck_assert_int_ge(xo_mono_ms() - begun, 9000);
    ck_assert_str_eq(t.body[0], "x");
    ck_assert_int_eq(wire_ack(&R.w, "h", "G", &handle, 1, "&trans=commit"), 404); /* its time is over */
    expect_nothing("h", "&trans=pop");
    ck_assert_int_eq(rig_ack(&R.w, &t, "h", "G", "&trans=commit"), 204);
    expect("h", NULL, (const char *[]){"x"}, 1);
    taken_free(&t);
    free(handle);
}
END_TEST

static void *send_soon(void *arg)
{
    wire w = {.port = R.port};
    xo_pause_ms(300);
    rig_sent(&w, "t", "x", NULL, NULL);
    wire_free(&w);
    return arg;
}

START_TEST(long_polls)
{
    taken t;
    pthread_t thread;
    int64_t begun = xo_mono_ms();
    take(&t, "t", 1, 1, NULL);
    ck_assert_int_eq(t.n, 0);
    ck_assert_int_ge(xo_mono_ms() - begun, 1000);
    begun = xo_mono_ms();
    ck_assert_int_eq(pthread_create(&thread, NULL, send_soon, NULL), 0);
    take(&t, "t", 16, 20, NULL);
    pthread_join(thread, NULL);
    ck_assert_int_eq(t.n, 1);
    ck_assert_int_lt(xo_mono_ms() - begun, 18000);
    taken_free(&t);
}
END_TEST

START_TEST(a_poller_that_has_gone_gets_nothing)
{
    static const char request[] = "GET /topics/t/messages?consumer=G&numOfMessages=16&waitseconds=20 HTTP/1.1\r\nHost: x\r\n\r\n";
    wire dead = {.port = R.port};
    taken t;
    expect_nothing("t", NULL);
    ck_assert_int_eq(wire_open(&dead, R.port), 0);
    ck_assert_int_eq(wire_write(&dead, request, sizeof request - 1), 0);
    rig_requests(&R, 2);
    ck_assert_int_eq(wire_read(&dead, 300), 0); /* it waits */
    wire_free(&dead);
    rig_sent(&R.w, "t", "x", NULL, NULL);
    take(&t, "t", 16, 0, NULL);
    ck_assert_int_eq(t.n, 1);
    ck_assert_int_eq(t.times[0], 1);
    taken_free(&t);
}
END_TEST

START_TEST(stops_while_polls_wait)
{
    static const char request[] = "GET /topics/t/messages?consumer=G&numOfMessages=16&waitseconds=20 HTTP/1.1\r\nHost: x\r\n\r\n";
    wire w[5];
    memset(w, 0, sizeof w);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(wire_open(&w[i], R.port), 0);
        ck_assert_int_eq(wire_write(&w[i], request, sizeof request - 1), 0);
    }
    rig_requests(&R, 5);
    ck_assert_int_eq(wire_read(&w[4], 300), 0); /* they wait */
    int64_t begun = xo_mono_ms();
    rig_stop(&R);
    ck_assert_int_lt(xo_mono_ms() - begun, 18000);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(wire_read(&w[i], 10000), 404);
        wire_free(&w[i]);
    }
    rig_start(&R);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("endpoint");
    TCase *c = tcase_create("queues");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, one_message);
    tcase_add_test(c, ids_are_never_the_same);
    tcase_add_test(c, comes_again);
    tcase_add_test(c, partly_acknowledged);
    tcase_add_test(c, handles_of_others);
    tcase_add_test(c, groups_have_their_own_progress);
    tcase_add_test(c, tags);
    tcase_add_test(c, order_within_a_key);
    tcase_add_test(c, order_among_many);
    tcase_add_test(c, timed);
    tcase_add_test(c, half_messages);
    tcase_add_test(c, half_message_is_checked);
    tcase_add_test(c, long_polls);
    tcase_add_test(c, a_poller_that_has_gone_gets_nothing);
    tcase_add_test(c, stops_while_polls_wait);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
