/* The producer against a tiny endpoint: sends, what is refused, what is never repeated, transactions and their checks.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "message/message.h"
#include "producer/producer.h"
#include "proto/xml.h"
#include "tests/proto/fake.h"
#include <check.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int posts, gets;
    int cut_post; /* this POST is read and its connection closed without an answer, -1 */
    int wrong_md5, no_handle, deny_end;
    char target[2048], end_target[2048], end_handle[128], get_target[2048];
    int ends;
    int half_times; /* how often a half message is offered */
    char body[256], tag[64], properties[256];
} broker;

static void post(broker *b, const fake_request *r, xo_buf *out)
{
    xo_xml_send s;
    unsigned char digest[16];
    char hex[33], doc[512];
    if (xo_xml_read_send(&s, r->body, r->body_len)) {
        fake_error(out, "400 Bad Request", "MalformedXML");
        return;
    }
    snprintf(b->target, sizeof b->target, "%s", r->target);
    snprintf(b->body, sizeof b->body, "%s", s.body);
    snprintf(b->tag, sizeof b->tag, "%s", s.tag ? s.tag : "");
    snprintf(b->properties, sizeof b->properties, "%s", s.properties ? s.properties : "");
    xo_md5(s.body, s.body_len, digest);
    xo_hex(hex, digest, 16, 1);
    if (b->wrong_md5)
        hex[0] = hex[0] == 'A' ? 'B' : 'A';
    int half = strstr(b->properties, "__TransCheckT") && !b->no_handle;
    snprintf(doc, sizeof doc,
             "<Message xmlns=\"x\"><MessageId>M%d</MessageId><MessageBodyMD5>%s</MessageBodyMD5>%s</Message>", b->posts,
             hex, half ? "<ReceiptHandle>half-1</ReceiptHandle>" : "");
    fake_answer(out, "201 Created", NULL, doc);
    xo_xml_send_free(&s);
}

static void end(broker *b, const fake_request *r, xo_buf *out)
{
    char **handles;
    size_t n;
    snprintf(b->end_target, sizeof b->end_target, "%s", r->target);
    if (!xo_xml_read_handles(&handles, &n, r->body, r->body_len)) {
        snprintf(b->end_handle, sizeof b->end_handle, "%s", n ? handles[0] : "");
        xo_xml_handles_free(handles, n);
    }
    b->ends++;
    if (b->deny_end)
        fake_answer(out, "404 Not Found", NULL,
                    "<Errors><Error><ErrorCode>MessageNotExist</ErrorCode><ErrorMessage>expired</"
                    "ErrorMessage><ReceiptHandle>half-1</ReceiptHandle></Error></Errors>");
    else
        xo_buf_str(out, "HTTP/1.1 204 No Content\r\n\r\n");
}

static fake_then respond(fake *f, const fake_request *r, xo_buf *out)
{
    broker *b = f->arg;
    if (!strcmp(r->method, "POST")) {
        if (b->posts++ == b->cut_post)
            return FAKE_CLOSE;
        post(b, r, out);
    } else if (!strcmp(r->method, "DELETE")) {
        end(b, r, out);
    } else {
        xo_buf list = {0};
        b->gets++;
        snprintf(b->get_target, sizeof b->get_target, "%s", r->target);
        if (b->half_times <= 0)
            return FAKE_HANG;
        b->half_times--;
        fake_message(&list, "M9", "half-9", "body of half", xo_now_ms() + 10000, 1);
        fake_messages(out, &list);
    }
    return FAKE_KEEP;
}

static void start(fake *f, broker *b)
{
    memset(b, 0, sizeof *b);
    b->cut_post = -1;
    fake_start(f, respond, b);
}

static xonce_producer *open_producer(const char *uri)
{
    xonce_config *c;
    xonce_producer *p;
    ck_assert_int_eq(xonce_config_new(&c), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(c, "credentials.access-key-id", FAKE_ID), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(c, "credentials.access-key-secret", FAKE_SECRET), XONCE_OK);
    ck_assert_msg(xonce_producer_open(&p, uri, c) == XONCE_OK, "%s", xonce_error_last()->text);
    xonce_config_free(c);
    return p;
}

static xonce_message *message(const char *body)
{
    xonce_message *m;
    ck_assert_int_eq(xonce_message_new(&m, "orders", NULL, body, strlen(body)), XONCE_OK);
    return m;
}

static int posts(fake *f)
{
    pthread_mutex_lock(&f->lock);
    int n = ((broker *)f->arg)->posts;
    pthread_mutex_unlock(&f->lock);
    return n;
}

static int says(const char *word)
{
    return strstr(xonce_error_last()->text, word) != NULL;
}

START_TEST(sends)
{
    fake f;
    broker b;
    start(&f, &b);
    xonce_producer *p = open_producer(f.uri);
    xonce_message *m = message("hello <mq> & \r\n😀");
    xonce_sent sent;
    sent.size = sizeof sent;
    xonce_message_set_property(m, "TAGS", "TagA");
    xonce_message_set_property(m, "KEYS", "k1");
    xonce_message_set_property(m, "__SHARDINGKEY", "s1");
    for (int i = 0; i < 20; i++)
        ck_assert_msg(xonce_producer_send(p, m, &sent) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_str_eq(sent.id, "M20");
    ck_assert_str_eq(sent.broker, "");
    ck_assert_int_eq(sent.queue, -1);
    ck_assert_int_eq(sent.offset, -1);
    ck_assert_int_eq(xonce_producer_send(p, m, NULL), XONCE_OK);
    struct {
        size_t size;
        char id[256], rest[8];
    } small = {.size = sizeof(size_t) + 256, .rest = "intact"};
    ck_assert_int_eq(xonce_producer_send(p, m, (xonce_sent *)&small), XONCE_OK); /* of an older header */
    ck_assert_str_eq(small.id, "M22");
    ck_assert_str_eq(small.rest, "intact");
    xonce_producer_close(p);
    fake_stop(&f);
    ck_assert_str_eq(b.target, "/topics/orders/messages?ns=MQ_INST_t");
    ck_assert_str_eq(b.body, "hello <mq> & \r\n😀");
    ck_assert_str_eq(b.tag, "TagA");
    ck_assert_str_eq(b.properties, "KEYS:k1|__SHARDINGKEY:s1|");
    ck_assert_int_eq(f.connections, 1);
    ck_assert_int_eq(f.bad_signatures, 0);
    xonce_message_free(m);
}
END_TEST

START_TEST(refused)
{
    fake f;
    broker b;
    start(&f, &b);
    xonce_producer *p = open_producer(f.uri);
    xonce_message *m = message("a\x02");
    ck_assert_int_eq(xonce_producer_send(p, m, NULL), XONCE_E_INVALID);
    ck_assert(says("0x02") && says("offset 1"));
    xonce_message_free(m);
    m = message("");
    ck_assert_int_eq(xonce_producer_send(p, m, NULL), XONCE_E_INVALID);
    xonce_message_free(m);
    ck_assert_int_eq(xonce_producer_send(p, NULL, NULL), XONCE_E_INVALID);
    ck_assert_int_eq(posts(&f), 0);
    m = message("x");
    b.wrong_md5 = 1;
    ck_assert_int_eq(xonce_producer_send(p, m, NULL), XONCE_E_PROTOCOL);
    ck_assert(says("another body"));
    ck_assert_int_eq(xonce_error_last()->again, 0);
    xonce_message_free(m);
    xonce_producer_close(p);
    fake_stop(&f);
}
END_TEST

START_TEST(never_repeated)
{
    /* the second POST is read, and the reused connection closed without an answer: whether it was stored is open, so
     * libcurl must not send it again */
    fake f;
    broker b;
    start(&f, &b);
    b.cut_post = 1;
    xonce_producer *p = open_producer(f.uri);
    xonce_message *m = message("x");
    ck_assert_int_eq(xonce_producer_send(p, m, NULL), XONCE_OK);
    ck_assert_int_eq(xonce_producer_send(p, m, NULL), XONCE_E_CONNECT);
    ck_assert_msg(says("orders"), "%s", xonce_error_last()->text);
    ck_assert_int_eq(posts(&f), 2);
    ck_assert_int_eq(xonce_producer_send(p, m, NULL), XONCE_OK);
    ck_assert_int_eq(posts(&f), 3);
    /* on a fresh connection too */
    pthread_mutex_lock(&f.lock);
    b.cut_post = 3;
    pthread_mutex_unlock(&f.lock);
    xonce_producer *q = open_producer(f.uri);
    ck_assert_int_eq(xonce_producer_send(q, m, NULL), XONCE_E_CONNECT);
    ck_assert_int_eq(posts(&f), 4);
    xonce_producer_close(q);
    xonce_producer_close(p);
    fake_stop(&f);
    p = open_producer(f.uri);
    ck_assert_int_eq(xonce_producer_send(p, m, NULL), XONCE_E_CONNECT);
    ck_assert_msg(says("cannot connect") && says("orders"), "%s", xonce_error_last()->text);
    ck_assert_int_eq(xonce_error_last()->again, 1);
    xonce_producer_close(p);
    xonce_message_free(m);
}
END_TEST

static void *send_some(void *arg)
{
    xonce_message *m = message("x");
    for (int i = 0; i < 50; i++)
        if (xonce_producer_send(arg, m, NULL)) {
            xonce_message_free(m);
            return arg;
        }
    xonce_message_free(m);
    return NULL;
}

START_TEST(threads)
{
    fake f;
    broker b;
    start(&f, &b);
    xonce_producer *p = open_producer(f.uri);
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, send_some, p);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(t[i], &failed);
        ck_assert_ptr_null(failed);
    }
    ck_assert_int_eq(posts(&f), 200);
    ck_assert_int_le(f.connections, 4);
    xonce_producer_close(p);
    fake_stop(&f);
}
END_TEST

static atomic_int arrived, lost;
static void count(xonce_status st, const xonce_sent *sent, void *arg)
{
    ck_assert_ptr_eq(arg, &arrived);
    ck_assert((st == XONCE_OK) == (sent && sent->id[0] == 'M'));
    atomic_fetch_add(st ? &lost : &arrived, 1);
    ck_assert(!st || (xonce_error_last()->code == st && says("orders")));
}

START_TEST(asynchronous)
{
    fake f;
    broker b;
    start(&f, &b);
    b.cut_post = 50;
    atomic_store(&arrived, 0);
    atomic_store(&lost, 0);
    xonce_producer *p = open_producer(f.uri);
    for (int i = 0; i < 100; i++) {
        xonce_message *m = message("x");
        ck_assert_int_eq(xonce_producer_send_async(p, m, count, &arrived), XONCE_OK);
        xonce_message_free(m); /* it was copied */
    }
    xonce_message *bad = message("a\x02");
    ck_assert_int_eq(xonce_producer_send_async(p, bad, count, &arrived), XONCE_E_INVALID);
    xonce_message_free(bad);
    bad = message("x");
    const xonce_message *list[1] = {bad};
    ck_assert_int_eq(xonce_producer_send_oneway(p, bad), XONCE_E_INVALID);
    ck_assert(says("oneway") && says("HTTP"));
    ck_assert_int_eq(xonce_producer_send_batch(p, list, 1, NULL), XONCE_E_INVALID);
    ck_assert(says("batches") && says("HTTP"));
    ck_assert(!xo_producer_batchable(p, bad));
    xonce_message_free(bad);
    xonce_producer_close(p); /* waits for all */
    ck_assert_int_eq(posts(&f), 100);
    ck_assert_int_eq(atomic_load(&arrived), 99);
    ck_assert_int_eq(atomic_load(&lost), 1);
    ck_assert_int_le(f.connections, 16);
    fake_stop(&f);
}
END_TEST

static xonce_transaction_state as_told(const xonce_message *m, void *arg)
{
    (void)m;
    return *(xonce_transaction_state *)arg;
}

static atomic_int checked;
static xonce_transaction_state checks(const xonce_message *m, void *arg)
{
    atomic_fetch_add(&checked, 1);
    if (strcmp(xonce_message_id(m), "M9") || strcmp(xonce_message_body(m, NULL), "body of half"))
        return XONCE_TRANSACTION_UNKNOWN;
    return *(xonce_transaction_state *)arg;
}

START_TEST(transactions)
{
    fake f;
    broker b;
    start(&f, &b);
    xonce_producer *p = open_producer(f.uri);
    xonce_message *m = message("x");
    xonce_sent sent = {.size = sizeof sent};
    xonce_transaction_state state = XONCE_TRANSACTION_COMMIT, check_state = XONCE_TRANSACTION_UNKNOWN;
    ck_assert_int_eq(xonce_producer_send_transaction(p, m, as_told, &state, &sent), XONCE_E_INVALID);
    ck_assert(says("xonce_producer_on_check"));
    ck_assert_int_eq(xonce_producer_on_check(p, "orders", "GID/bad", checks, &check_state), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_producer_on_check(p, "orders", "GID_p", checks, &check_state), XONCE_OK);
    ck_assert_int_eq(xonce_producer_on_check(p, "orders", "GID_q", checks, &check_state), XONCE_E_INVALID);
    ck_assert_msg(xonce_producer_send_transaction(p, m, as_told, &state, &sent) == XONCE_OK, "%s",
                  xonce_error_last()->text);
    ck_assert_str_eq(sent.id, "M1");
    ck_assert_str_eq(b.properties, "__TransCheckT:30|");
    ck_assert_str_eq(b.end_target, "/topics/orders/messages?consumer=GID_p&ns=MQ_INST_t&trans=commit");
    ck_assert_str_eq(b.end_handle, "half-1");
    ck_assert_ptr_null(xonce_message_property(m, "__TransCheckT"));
    state = XONCE_TRANSACTION_ROLLBACK;
    xonce_message_set_property(m, "__TransCheckT", "10");
    ck_assert_int_eq(xonce_producer_send_transaction(p, m, as_told, &state, NULL), XONCE_OK);
    ck_assert_str_eq(b.properties, "__TransCheckT:10|");
    ck_assert_str_eq(b.end_target, "/topics/orders/messages?consumer=GID_p&ns=MQ_INST_t&trans=rollback");
    state = XONCE_TRANSACTION_UNKNOWN;
    ck_assert_int_eq(xonce_producer_send_transaction(p, m, as_told, &state, NULL), XONCE_OK);
    ck_assert_int_eq(b.ends, 2);
    state = XONCE_TRANSACTION_COMMIT;
    b.deny_end = 1; /* the check decides */
    ck_assert_int_eq(xonce_producer_send_transaction(p, m, as_told, &state, NULL), XONCE_OK);
    ck_assert_int_eq(b.ends, 3);
    b.no_handle = 1;
    ck_assert_int_eq(xonce_producer_send_transaction(p, m, as_told, &state, NULL), XONCE_E_PROTOCOL);
    ck_assert(says("plain"));
    int64_t begun = xo_mono_ms();
    xonce_producer_close(p); /* ends the poll in flight */
    ck_assert_int_lt(xo_mono_ms() - begun, 9000); /* it would last 10 s */
    fake_stop(&f);
    xonce_message_free(m);
}
END_TEST

START_TEST(half_messages_are_checked)
{
    static const struct {
        xonce_transaction_state state;
        const char *end;
    } t[] = {{XONCE_TRANSACTION_COMMIT, "&trans=commit"},
             {XONCE_TRANSACTION_ROLLBACK, "&trans=rollback"},
             {XONCE_TRANSACTION_UNKNOWN, NULL}};
    for (size_t i = 0; i < 3; i++) {
        fake f;
        broker b;
        start(&f, &b);
        b.half_times = 2;
        atomic_store(&checked, 0);
        xonce_transaction_state state = t[i].state;
        xonce_producer *p = open_producer(f.uri);
        ck_assert_int_eq(xonce_producer_on_check(p, "orders", "GID_p", checks, &state), XONCE_OK);
        int ends = 0;
        for (int64_t deadline = xo_mono_ms() + 60000; xo_mono_ms() < deadline;) {
            pthread_mutex_lock(&f.lock);
            ends = b.ends;
            pthread_mutex_unlock(&f.lock);
            if (atomic_load(&checked) >= 2 && (ends == 2 || !t[i].end))
                break;
            xo_pause_ms(5);
        }
        xonce_producer_close(p);
        fake_stop(&f);
        ck_assert_int_eq(checked, 2);
        ck_assert_int_eq(ends, t[i].end ? 2 : 0);
        ck_assert_str_eq(
            b.get_target,
            "/topics/orders/messages?consumer=GID_p&ns=MQ_INST_t&numOfMessages=16&trans=pop&waitseconds=10");
        if (t[i].end) {
            ck_assert_ptr_nonnull(strstr(b.end_target, t[i].end));
            ck_assert_str_eq(b.end_handle, "half-9");
        }
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("producer");
    TCase *c = tcase_create("producer");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, sends);
    tcase_add_test(c, refused);
    tcase_add_test(c, never_repeated);
    tcase_add_test(c, threads);
    tcase_add_test(c, asynchronous);
    tcase_add_test(c, transactions);
    tcase_add_test(c, half_messages_are_checked);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
