/* The HTTP source against an endpoint that behaves, and against one that does everything wrong. */
#include "base/clock.h"
#include "base/mem.h"
#include "proto/sign.h"
#include "proto/xml.h"
#include "source/source.h"
#include "tests/proto/fake.h"
#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MANY = 500 };

/* A queue of numbered messages; handles are h<number>-<times handed out>. */
typedef struct {
    int total, handed, acked, most_out, largest_ack, requests;
    int times[MANY];
    unsigned char done[MANY];
    int64_t life_ms;
    int hang_when_empty; /* a long poll */
    int ack_errors;      /* this many acks are answered 503 first */
    int refuse;          /* the handle of this message is refused once, -1 */
    int ack_hangs, hanging;
    const char *body;
    char last_target[2048], token[512];
} queue;

static fake_then give(queue *q, const fake_request *r, xo_buf *out)
{
    xo_buf list = {0};
    int n = fake_number(r, "numOfMessages"), given = 0;
    snprintf(q->last_target, sizeof q->last_target, "%s", r->target);
    snprintf(q->token, sizeof q->token, "%s", fake_header(r, "security-token"));
    for (; given < n && q->handed < q->total; given++, q->handed++) {
        char id[32], handle[48];
        snprintf(id, sizeof id, "ID%d", q->handed);
        snprintf(handle, sizeof handle, "h%d-%d", q->handed, ++q->times[q->handed]);
        fake_message(&list, id, handle, q->body ? q->body : "body", xo_now_ms() + q->life_ms, q->times[q->handed]);
    }
    if (q->handed - q->acked > q->most_out)
        q->most_out = q->handed - q->acked;
    if (given) {
        fake_messages(out, &list);
        return FAKE_KEEP;
    }
    xo_buf_free(&list);
    if (q->hang_when_empty) {
        q->hanging++;
        return FAKE_HANG;
    }
    fake_error(out, "404 Not Found", "MessageNotExist");
    return FAKE_KEEP;
}

static fake_then take(queue *q, const fake_request *r, xo_buf *out)
{
    char **handles;
    size_t n;
    xo_buf errors = {0};
    if (q->ack_hangs)
        return FAKE_HANG;
    if (q->ack_errors > 0) {
        q->ack_errors--;
        fake_error(out, "503 Service Unavailable", "InternalServerError");
        return FAKE_KEEP;
    }
    if (xo_xml_read_handles(&handles, &n, r->body, r->body_len))
        return FAKE_CLOSE;
    if ((int)n > q->largest_ack)
        q->largest_ack = (int)n;
    for (size_t i = 0; i < n; i++) {
        int k = (int)strtol(handles[i] + 1, NULL, 10);
        if (k < 0 || k >= q->total || q->done[k] || k == q->refuse) {
            xo_buf_printf(&errors,
                          "<Error><ErrorCode>MessageNotExist</ErrorCode><ErrorMessage>expired</"
                          "ErrorMessage><ReceiptHandle>%s</ReceiptHandle></Error>",
                          handles[i]);
            continue;
        }
        q->done[k] = 1;
        q->acked++;
    }
    xo_xml_handles_free(handles, n);
    if (errors.len) {
        char *doc = xo_printf("<Errors xmlns=\"http://mq.aliyuncs.com/doc/v1\">%s</Errors>", errors.p);
        fake_answer(out, "404 Not Found", NULL, doc);
        free(doc);
    } else {
        xo_buf_str(out, "HTTP/1.1 204 No Content\r\n\r\n");
    }
    xo_buf_free(&errors);
    return FAKE_KEEP;
}

static fake_then as_queue(fake *f, const fake_request *r, xo_buf *out)
{
    queue *q = f->arg;
    q->requests++;
    return strcmp(r->method, "GET") ? take(q, r, out) : give(q, r, out);
}

static void queue_init(queue *q, int total)
{
    memset(q, 0, sizeof *q);
    q->total = total;
    q->life_ms = 300000;
    q->refuse = -1;
}

static xonce_config *config(const char *more)
{
    xonce_config *c;
    ck_assert_int_eq(xonce_config_new(&c), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(c, "credentials.access-key-id", FAKE_ID), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(c, "credentials.access-key-secret", FAKE_SECRET), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(c, "http.wait", "1s"), XONCE_OK);
    char *list = xo_strdup(more), *save = NULL;
    for (char *item = strtok_r(list, " ", &save); item; item = strtok_r(NULL, " ", &save)) {
        char *eq = strchr(item, '=');
        *eq = 0;
        ck_assert_msg(xonce_config_set(c, item, eq + 1) == XONCE_OK, "%s", xonce_error_last()->text);
    }
    free(list);
    return c;
}

static xonce_source *open_source(const char *uri, const char *more)
{
    xonce_config *c = config(more);
    xonce_source *s;
    ck_assert_msg(xo_source_http_open(&s, uri, c) == XONCE_OK, "%s", xonce_error_last()->text);
    xonce_config_free(c);
    return s;
}

static xonce_source *started(const char *uri, const char *more)
{
    xonce_source *s = open_source(uri, more);
    ck_assert_int_eq(s->ops->subscribe(s, "GID_t", "orders", "", 0), XONCE_OK);
    ck_assert_int_eq(s->ops->start(s), XONCE_OK);
    return s;
}

static xo_source_counts counts(xonce_source *s)
{
    xo_source_counts c;
    s->counts(s, &c);
    return c;
}

/* Polls and acknowledges until n messages came; the errors on the way are counted. */
static int drain(xonce_source *s, int n, int *errors)
{
    int got = 0;
    int64_t deadline = xo_mono_ms() + 60000;
    while (got < n && xo_mono_ms() < deadline) {
        xonce_message *list;
        xonce_status st = s->ops->poll(s, 32, 200, &list);
        if (st) {
            ck_assert_msg(errors && xonce_error_last()->again, "%s", xonce_error_last()->text);
            ck_assert_ptr_null(list);
            ++*errors;
            continue;
        }
        for (const xonce_message *m = list; m; m = m->next)
            got++;
        s->ops->ack(s, list);
    }
    return got;
}

/* The first error of poll(). */
static xonce_status first_error(xonce_source *s, int64_t within_ms)
{
    xonce_message *list;
    for (int64_t deadline = xo_mono_ms() + within_ms; xo_mono_ms() < deadline;) {
        xonce_status st = s->ops->poll(s, 32, 200, &list);
        if (st)
            return st;
        ck_assert_ptr_null(list);
    }
    return XONCE_OK;
}

static int says(const char *word)
{
    return strstr(xonce_error_last()->text, word) != NULL;
}

START_TEST(all_once)
{
    fake f;
    queue q;
    queue_init(&q, MANY);
    fake_start(&f, as_queue, &q);
    xonce_source *s = started(f.uri, "credentials.security-token=sts1 http.polls=4");
    ck_assert_str_eq(s->kind, "http");
    ck_assert_int_eq(s->keep_floor_ms, 24 * 3600 * 1000);
    ck_assert_int_eq(s->max_attempts, 280);
    ck_assert_int_eq(drain(s, MANY, NULL), MANY);
    ck_assert_int_eq(s->ops->stop(s, 60000), XONCE_OK);
    xo_source_counts c = counts(s);
    ck_assert_uint_eq(c.acked, MANY);
    ck_assert_uint_eq(c.ack_failed, 0);
    ck_assert_uint_eq(c.unacked, 0);
    ck_assert_uint_eq(c.buffered, 0);
    ck_assert_uint_gt(c.polls, 0);
    s->ops->close(s);
    fake_stop(&f);
    ck_assert_int_eq(q.acked, MANY);
    ck_assert_int_le(q.largest_ack, 16);
    ck_assert_int_gt(q.largest_ack, 1);
    ck_assert_int_eq(f.bad_signatures, 0);
    ck_assert_str_eq(q.token, "sts1");
    ck_assert_int_le(f.connections, 4 + 32); /* polls and acks, each on a connection that is kept */
    ck_assert_int_gt(q.requests, f.connections);
}
END_TEST

/* Polls that wait at the endpoint now. */
static int hanging(fake *f, const queue *q)
{
    pthread_mutex_lock(&f->lock);
    int n = q->hanging;
    pthread_mutex_unlock(&f->lock);
    return n;
}

START_TEST(more_polls_under_load)
{
    fake f;
    queue q;
    queue_init(&q, MANY);
    q.hang_when_empty = 1;
    fake_start(&f, as_queue, &q);
    xonce_source *s = started(f.uri, "");
    ck_assert_int_eq(drain(s, MANY, NULL), MANY);
    for (int64_t deadline = xo_mono_ms() + 60000; hanging(&f, &q) <= 4 && xo_mono_ms() < deadline;)
        xo_pause_ms(10);
    ck_assert_int_gt(hanging(&f, &q), 4); /* the number that it began with */
    ck_assert_int_le(hanging(&f, &q), 32);
    s->ops->close(s);
    fake_stop(&f);
}
END_TEST

START_TEST(few_polls_when_idle)
{
    fake f;
    queue q;
    xonce_message *list;
    queue_init(&q, 0);
    fake_start(&f, as_queue, &q);
    xonce_source *s = started(f.uri, "http.polls=64");
    /* an endpoint that does not wait: four at the beginning, then two at a time with growing pauses */
    int64_t begun = xo_mono_ms(), took = 0;
    for (; took < 500 || (counts(s).polls <= 8 && took < 60000); took = xo_mono_ms() - begun)
        ck_assert_int_eq(s->ops->poll(s, 32, 50, &list), XONCE_OK);
    ck_assert_uint_gt(counts(s).polls, 8);
    ck_assert_uint_lt(counts(s).polls, 4 + 2 * (uint64_t)took / 25);
    s->ops->close(s);
    fake_stop(&f);
    ck_assert_int_le(f.connections, 4);
}
END_TEST

START_TEST(fields)
{
    fake f;
    queue q;
    queue_init(&q, 1);
    fake_start(&f, as_queue, &q);
    xonce_source *s = open_source(f.uri, "http.polls=1");
    ck_assert_int_eq(s->ops->start(s), XONCE_E_INVALID);
    ck_assert_int_eq(s->ops->subscribe(s, "GID_t", "or/ders", "", 1), XONCE_E_INVALID);
    ck_assert_int_eq(s->ops->subscribe(s, "GID|t", "orders", "", 1), XONCE_E_INVALID);
    ck_assert_int_eq(s->ops->subscribe(s, "GID_t", "orders", "TagA || 标签&b", 1), XONCE_OK);
    ck_assert_int_eq(s->ops->subscribe(s, "GID_t", "orders", "", 0), XONCE_E_INVALID);
    ck_assert_int_eq(s->ops->start(s), XONCE_OK);
    ck_assert_int_eq(s->ops->subscribe(s, "GID_t", "other", "", 0), XONCE_E_INVALID);
    xonce_message *m = NULL;
    for (int64_t deadline = xo_mono_ms() + 60000; !m && xo_mono_ms() < deadline;)
        ck_assert_int_eq(s->ops->poll(s, 1, 200, &m), XONCE_OK);
    ck_assert_ptr_nonnull(m);
    ck_assert_str_eq(xonce_message_id(m), "ID0");
    ck_assert_str_eq(xonce_message_topic(m), "orders");
    ck_assert_str_eq(xonce_message_body(m, NULL), "body");
    ck_assert_int_eq(xonce_message_attempt(m), 1);
    ck_assert_int_eq(m->ordered, 1);
    ck_assert_int_eq(m->queue, -1);
    ck_assert_str_eq(m->broker, "");
    ck_assert_int_le(xo_boot_ms() - m->polled_boot, 60000);
    ck_assert_int_gt(m->expires_mono, xo_mono_ms() + 240000);
    ck_assert_int_le(m->expires_mono, xo_mono_ms() + 301000);
    ck_assert_int_eq(s->ops->caught_up(s), 0); /* it is out */
    s->ops->nack(s, m, 0);
    int caught = 0;
    for (int64_t deadline = xo_mono_ms() + 60000; !caught && xo_mono_ms() < deadline;) {
        ck_assert_int_eq(s->ops->poll(s, 1, 100, &m), XONCE_OK);
        caught = s->ops->caught_up(s);
    }
    ck_assert_int_eq(caught, 1);
    s->ops->close(s);
    fake_stop(&f);
    ck_assert_str_eq(q.last_target, "/topics/orders/"
                                    "messages?consumer=GID_t&ns=MQ_INST_t&tag=TagA%20%7C%7C%20%E6%A0%87%E7%AD%BE%26b&"
                                    "trans=order&numOfMessages=16&waitseconds=1");
}
END_TEST

START_TEST(failed_acks)
{
    fake f;
    queue q;
    queue_init(&q, 40);
    q.ack_errors = 2;
    q.refuse = 7;
    fake_start(&f, as_queue, &q);
    xonce_source *s = started(f.uri, "");
    int errors = 0;
    ck_assert_int_eq(drain(s, 40, &errors), 40);
    ck_assert_int_eq(s->ops->stop(s, 60000), XONCE_OK);
    xo_source_counts c = counts(s);
    ck_assert_uint_eq(c.acked, 39);
    ck_assert_uint_eq(c.ack_failed, 1);
    s->ops->close(s);
    fake_stop(&f);
    ck_assert_int_eq(q.acked, 39);
    ck_assert_int_eq(q.done[7], 0);
    ck_assert_int_eq(q.ack_errors, 0);
}
END_TEST

START_TEST(memory_is_bounded)
{
    fake f;
    queue q;
    queue_init(&q, MANY);
    fake_start(&f, as_queue, &q);
    xonce_source *s = started(f.uri, "buffer.messages=100");
    xonce_message *held[100], *list;
    int got = 0;
    /* take all there is without acknowledging: the source must stop asking */
    int64_t deadline = xo_mono_ms() + 60000;
    for (int64_t idle = xo_mono_ms() + 1000; got < 100 && xo_mono_ms() < (got > 80 ? idle : deadline);) {
        ck_assert_int_eq(s->ops->poll(s, 1, 100, &list), XONCE_OK);
        if (list) {
            held[got++] = list;
            idle = xo_mono_ms() + 1000;
        }
    }
    ck_assert_int_gt(got, 80);
    ck_assert_int_le(got, 100);
    for (int i = 0; i < got; i++)
        s->ops->ack(s, held[i]);
    ck_assert_int_eq(drain(s, MANY - got, NULL), MANY - got);
    ck_assert_int_eq(s->ops->stop(s, 60000), XONCE_OK);
    s->ops->close(s);
    fake_stop(&f);
    ck_assert_int_le(q.most_out, 100);
    ck_assert_int_eq(q.acked, MANY);
}
END_TEST

START_TEST(expired_in_the_buffer)
{
    fake f;
    queue q;
    queue_init(&q, 10);
    q.life_ms = 300;
    fake_start(&f, as_queue, &q);
    xonce_source *s = started(f.uri, "");
    for (int64_t deadline = xo_mono_ms() + 60000; counts(s).buffered < 10 && xo_mono_ms() < deadline;)
        xo_pause_ms(5);
    xo_pause_ms(350); /* longer than they are out */
    xonce_message *list;
    ck_assert_int_eq(s->ops->poll(s, 32, 0, &list), XONCE_OK);
    ck_assert_ptr_null(list);
    ck_assert_uint_eq(counts(s).expired, 10);
    ck_assert_uint_eq(counts(s).buffered, 0);
    s->ops->close(s);
    fake_stop(&f);
}
END_TEST

static void *wake_soon(void *arg)
{
    xonce_source *s = arg;
    xo_pause_ms(50);
    s->ops->wake(s);
    return NULL;
}

START_TEST(wake_and_stop)
{
    fake f;
    queue q;
    queue_init(&q, 5);
    q.hang_when_empty = 1;
    q.ack_hangs = 1;
    fake_start(&f, as_queue, &q);
    xonce_source *s = started(f.uri, "http.wait=30s");
    xonce_message *list, *first = NULL;
    for (int64_t deadline = xo_mono_ms() + 60000; !first && xo_mono_ms() < deadline;)
        ck_assert_int_eq(s->ops->poll(s, 1, 200, &first), XONCE_OK);
    ck_assert_ptr_nonnull(first);
    ck_assert_int_eq(s->ops->poll(s, 32, 200, &list), XONCE_OK);
    s->ops->ack(s, list);
    pthread_t t;
    pthread_create(&t, NULL, wake_soon, s);
    int64_t begun = xo_mono_ms();
    ck_assert_int_eq(s->ops->poll(s, 32, 60000, &list), XONCE_OK);
    ck_assert_int_lt(xo_mono_ms() - begun, 50000);
    ck_assert_ptr_null(list);
    pthread_join(t, NULL);
    begun = xo_mono_ms();
    ck_assert_int_eq(s->ops->stop(s, 200), XONCE_E_TIMEOUT); /* the endpoint does not answer acks */
    ck_assert_int_lt(xo_mono_ms() - begun, 20000);
    s->ops->ack(s, first); /* still allowed */
    ck_assert_int_eq(s->ops->poll(s, 32, 20000, &list), XONCE_E_CLOSED);
    s->ops->close(s);
    fake_stop(&f);
}
END_TEST

/* ---- endpoints that go wrong, first or for ever ---- */

typedef struct {
    const char *raw; /* sent as it is */
    const char *status, *code, *date;
    fake_then then;
    int times; /* then it behaves; -1: never */
    queue q;
} wrong;

static fake_then as_wrong(fake *f, const fake_request *r, xo_buf *out)
{
    wrong *w = f->arg;
    if (strcmp(r->method, "GET") || w->times == 0)
        return as_queue(&(fake){.arg = &w->q}, r, out);
    if (w->times > 0)
        w->times--;
    if (w->raw)
        xo_buf_str(out, w->raw);
    else if (w->code && w->date) {
        char doc[256];
        snprintf(doc, sizeof doc, "<Error><Code>%s</Code><Message>m</Message></Error>", w->code);
        fake_answer(out, w->status, w->date, doc);
    } else if (w->code)
        fake_error(out, w->status, w->code);
    return w->then;
}

START_TEST(passing_trouble)
{
    static const struct {
        const char *raw, *status, *code, *word;
        fake_then then;
    } t[] = {
        {"garbage\r\n\r\n", NULL, NULL, "not HTTP", FAKE_CLOSE},
        {"\x16\x03\x01\x02", NULL, NULL, "not HTTP", FAKE_CLOSE},
        {"", NULL, NULL, "orders", FAKE_CLOSE},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<Messages>", NULL, NULL, "broke off", FAKE_CLOSE},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n<Messages>", NULL, NULL, "well-formed", FAKE_KEEP},
        {"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>", NULL, NULL, "html", FAKE_KEEP},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", NULL, NULL, "empty", FAKE_KEEP},
        {"HTTP/1.1 200 OK\r\nContent-Length: 34\r\n\r\n<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", NULL, NULL, "document type",
         FAKE_KEEP},
        {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", NULL, NULL, "302",
         FAKE_KEEP},
        {"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", NULL, NULL,
         "text/html", FAKE_KEEP},
        {NULL, "503 Service Unavailable", "InternalServerError", "InternalServerError", FAKE_KEEP},
        {NULL, "400 Bad Request", "QpsLimitExceeded", "QpsLimitExceeded", FAKE_KEEP},
        {NULL, "500 x", "Some&#10;&#27;[31mthing", NULL, FAKE_KEEP},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        fake f;
        wrong w = {t[i].raw, t[i].status, t[i].code, NULL, t[i].then, 3, {0}};
        queue_init(&w.q, 20);
        fake_start(&f, as_wrong, &w);
        xonce_source *s = started(f.uri, "http.polls=1");
        ck_assert_msg(first_error(s, 60000) != XONCE_OK, "case %zu", i);
        ck_assert_msg(xonce_error_last()->again == 1, "case %zu: %s", i, xonce_error_last()->text);
        ck_assert_msg(!t[i].word || says(t[i].word), "case %zu: %s", i, xonce_error_last()->text);
        ck_assert_msg(!strpbrk(xonce_error_last()->text, "\r\n\x1b"), "case %zu: %s", i, xonce_error_last()->text);
        int errors = 0;
        ck_assert_int_eq(drain(s, 20, &errors), 20);
        ck_assert_int_le(errors, 3);
        ck_assert_int_eq(s->ops->stop(s, 60000), XONCE_OK);
        s->ops->close(s);
        fake_stop(&f);
        ck_assert_int_eq(w.q.acked, 20);
    }
}
END_TEST

START_TEST(empty_list)
{
    /* 200 without a message is taken as nothing there, and not asked for in a tight loop */
    fake f;
    wrong w = {"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n<Messages/>", NULL, NULL, NULL, FAKE_KEEP, -1, {0}};
    queue_init(&w.q, 0);
    fake_start(&f, as_wrong, &w);
    xonce_source *s = started(f.uri, "http.polls=1");
    xonce_message *list;
    int64_t begun = xo_mono_ms(), took = 0;
    for (; took < 500 || (counts(s).polls <= 2 && took < 60000); took = xo_mono_ms() - begun)
        ck_assert_int_eq(s->ops->poll(s, 32, 50, &list), XONCE_OK);
    ck_assert_uint_gt(counts(s).polls, 2);
    ck_assert_uint_lt(counts(s).polls, (uint64_t)took / 25);
    ck_assert_int_eq(s->ops->caught_up(s), 1);
    s->ops->close(s);
    fake_stop(&f);
}
END_TEST

START_TEST(lasting_trouble)
{
    static const struct {
        const char *status, *code, *word;
        xonce_status st;
    } t[] = {
        {"403 Forbidden", "InvalidAccessKeyId", "ALIBABA_CLOUD_ACCESS_KEY_ID", XONCE_E_AUTH},
        {"403 Forbidden", "SignatureDoesNotMatch", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", XONCE_E_AUTH},
        {"403 Forbidden", "AccessDenied", "right", XONCE_E_AUTH},
        {"404 Not Found", "TopicNotExist", "orders", XONCE_E_NOT_FOUND},
        {"400 Bad Request", "InvalidArgument", "InvalidArgument", XONCE_E_INVALID},
        {"400 Bad Request", "HTTPForbidden", "group of its own", XONCE_E_PROTOCOL},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        fake f;
        wrong w = {NULL, t[i].status, t[i].code, NULL, FAKE_KEEP, -1, {0}};
        fake_start(&f, as_wrong, &w);
        xonce_source *s = started(f.uri, "");
        ck_assert_msg(first_error(s, 60000) == t[i].st, "case %zu: %s", i, xonce_error_last()->text);
        ck_assert_int_eq(xonce_error_last()->again, 0);
        ck_assert_msg(says(t[i].word) && says(t[i].code), "case %zu: %s", i, xonce_error_last()->text);
        ck_assert(!says(FAKE_SECRET));
        xonce_message *list;
        ck_assert_int_eq(s->ops->poll(s, 32, 1000, &list), t[i].st); /* and it stays so */
        s->ops->close(s);
        fake_stop(&f);
    }
}
END_TEST

START_TEST(clock_off)
{
    fake f;
    char date[30];
    xo_http_date(date, xo_now_ms() + 20 * 60000);
    wrong w = {NULL, "408 Request Timeout", "TimeExpired", date, FAKE_KEEP, -1, {0}};
    fake_start(&f, as_wrong, &w);
    xonce_source *s = started(f.uri, "");
    ck_assert_int_eq(first_error(s, 60000), XONCE_E_AUTH);
    ck_assert_int_eq(xonce_error_last()->again, 0);
    ck_assert_msg(says("behind the server's") && (says("1199 s") || says("1200 s") || says("1198 s")), "%s",
                  xonce_error_last()->text);
    s->ops->close(s);
    fake_stop(&f);
}
END_TEST

/* An empty topic whose long polls end only by an order: with an error. */
typedef struct {
    int quick, waiting, break_off;
} empty_topic;

static fake_then as_empty(fake *f, const fake_request *r, xo_buf *out)
{
    empty_topic *e = f->arg;
    if (fake_number(r, "waitseconds") < 0) {
        e->quick++;
        fake_error(out, "404 Not Found", "MessageNotExist");
        return FAKE_KEEP;
    }
    if (e->break_off) {
        e->break_off--;
        fake_error(out, "503 Service Unavailable", "InternalServerError");
        return FAKE_KEEP;
    }
    e->waiting++;
    return FAKE_HANG;
}

static int heard_within(xonce_source *s, uint64_t n, int64_t ms)
{
    xonce_message *list;
    for (int64_t deadline = xo_mono_ms() + ms; counts(s).heard < n && xo_mono_ms() < deadline;)
        (void)s->ops->poll(s, 32, 20, &list);
    return counts(s).heard >= n;
}

START_TEST(soon_heard_of)
{
    fake f;
    empty_topic e = {.break_off = 1};
    fake_start(&f, as_empty, &e);
    xonce_source *s = started(f.uri, "http.wait=30s http.polls=2");
    ck_assert(heard_within(s, 2, 20000)); /* at the start, and after one that failed, without waiting for half a minute */
    ck_assert_uint_eq(counts(s).answers, 0); /* but it proves nothing about messages */
    ck_assert_int_eq(s->ops->caught_up(s), 0);
    for (int64_t deadline = xo_mono_ms() + 20000; xo_mono_ms() < deadline;) {
        pthread_mutex_lock(&f.lock);
        int there = e.waiting;
        pthread_mutex_unlock(&f.lock);
        if (there == 2)
            break;
        xo_pause_ms(10);
    }
    pthread_mutex_lock(&f.lock);
    ck_assert_int_eq(e.waiting, 2); /* and then they wait */
    ck_assert_int_eq(e.quick, 2);
    pthread_mutex_unlock(&f.lock);
    s->ops->close(s);
    fake_stop(&f);
}
END_TEST

START_TEST(never_answers)
{
    fake f;
    wrong w = {"", NULL, NULL, NULL, FAKE_HANG, -1, {0}};
    fake_start(&f, as_wrong, &w);
    xonce_source *s = started(f.uri, "http.wait=0 http.timeout=1s");
    ck_assert_int_eq(first_error(s, 60000), XONCE_E_TIMEOUT);
    ck_assert_int_eq(xonce_error_last()->again, 1);
    ck_assert(says("no complete answer in time"));
    s->ops->close(s);
    fake_stop(&f);
}
END_TEST

START_TEST(nobody_there)
{
    fake f;
    fake_start(&f, as_wrong, NULL);
    fake_stop(&f); /* its port is free now */
    xonce_source *s = started(f.uri, "");
    ck_assert_int_eq(first_error(s, 60000), XONCE_E_CONNECT);
    ck_assert_int_eq(xonce_error_last()->again, 1);
    ck_assert_msg(says("cannot connect") && says("127.0.0.1"), "%s", xonce_error_last()->text);
    /* errors come at most once a second, with their number */
    int64_t begun = xo_mono_ms();
    ck_assert_int_eq(first_error(s, 60000), XONCE_E_CONNECT);
    ck_assert_int_ge(xo_mono_ms() - begun, 800);
    ck_assert_msg(says("requests failed"), "%s", xonce_error_last()->text);
    s->ops->close(s);
    s = started("http://no-such-host.invalid:80", "");
    ck_assert_int_eq(first_error(s, 60000), XONCE_E_CONNECT);
    ck_assert_msg(says("not known"), "%s", xonce_error_last()->text);
    s->ops->close(s);
}
END_TEST

START_TEST(no_proxy_for_loopback)
{
    fake f;
    queue q;
    queue_init(&q, 3);
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    fake_start(&f, as_queue, &q);
    xonce_source *s = started(f.uri, "");
    ck_assert_int_eq(drain(s, 3, NULL), 3);
    s->ops->close(s);
    fake_stop(&f);
    unsetenv("http_proxy");
    unsetenv("all_proxy");
}
END_TEST

START_TEST(bad_uris)
{
    static const struct {
        const char *uri, *word;
    } t[] = {
        {"http://user:topsecret@h", "user or password"},
        {"http://h/path", "path"},
        {"http://h?foo=1", "foo"},
        {"ftp://h", "http"},
        {"http://", "host"},
        {"http:///", "host"},
        {"h:80", ""},
        {"http://h:99999", ""},
        {"http://h?instance=a%20b", "instance"},
        {"http://h%40evil", "0x40"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        xonce_source *s;
        xonce_config *c = config("");
        ck_assert_msg(xo_source_http_open(&s, t[i].uri, c) == XONCE_E_INVALID, "%s: %s", t[i].uri,
                      xonce_error_last()->text);
        ck_assert_msg(says(t[i].word), "%s: %s", t[i].uri, xonce_error_last()->text);
        ck_assert(!says("topsecret"));
        ck_assert_ptr_null(s);
        xonce_config_free(c);
    }
    xonce_source *s;
    xonce_config *c = config("http.cacert=/no/such/file");
    ck_assert_int_eq(xo_source_http_open(&s, "https://h", c), XONCE_E_INVALID);
    ck_assert(says("/no/such/file"));
    xonce_config_free(c);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("http_source");
    TCase *c = tcase_create("http_source");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, all_once);
    tcase_add_test(c, more_polls_under_load);
    tcase_add_test(c, few_polls_when_idle);
    tcase_add_test(c, fields);
    tcase_add_test(c, failed_acks);
    tcase_add_test(c, memory_is_bounded);
    tcase_add_test(c, expired_in_the_buffer);
    tcase_add_test(c, wake_and_stop);
    tcase_add_test(c, passing_trouble);
    tcase_add_test(c, empty_list);
    tcase_add_test(c, lasting_trouble);
    tcase_add_test(c, clock_off);
    tcase_add_test(c, soon_heard_of);
    tcase_add_test(c, never_answers);
    tcase_add_test(c, nobody_there);
    tcase_add_test(c, no_proxy_for_loopback);
    tcase_add_test(c, bad_uris);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
