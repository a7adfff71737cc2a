/* The endpoint's HTTP side: authorization in the order of its checks, addresses, arguments, documents, framing, sizes. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "tests/proto/endpoint_rig.h"
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GET_T "/topics/t/messages?consumer=G&numOfMessages=1&ns=I"
#define POST_T "/topics/t/messages?ns=I"
#define DELETE_T "/topics/t/messages?consumer=G&ns=I"
#define ONE "<Message><MessageBody>x</MessageBody></Message>"

static rig R;
static xo_credentials C = {(char[]){"id"}, (char[]){"secret"}, NULL};

static void setup(void)
{
    static const char *const topics[] = {"t", "o:ordered"};
    rig_init(&R);
    R.o.instance = "I";
    R.o.strict = 1;
    R.o.topics = topics;
    R.o.ntopics = 2;
    R.o.credentials = &C;
    rig_start(&R);
}

static void teardown(void)
{
    rig_end(&R);
}

/* One request with these header lines and nothing added but Host and Content-Length. */
static void request(const char *method, const char *target, const char *lines, const char *body)
{
    xo_buf b = {0};
    ck_assert(R.w.fd > 0 || wire_open(&R.w, R.port) == 0);
    xo_buf_printf(&b, "%s %s HTTP/1.1\r\nHost: h\r\n%s", method, target, lines);
    if (body)
        xo_buf_printf(&b, "Content-Length: %zu\r\n", strlen(body));
    xo_buf_printf(&b, "\r\n%s", body ? body : "");
    ck_assert_int_eq(wire_write(&R.w, b.p, b.len), 0);
    ck_assert_int_ne(wire_read(&R.w, 40000), 0);
    xo_buf_free(&b);
}

/* Signed header lines; date NULL: now. Caller frees. */
static char *sign(const char *method, const char *target, const char *secret, const char *date, const char *type, const char *md5)
{
    char now[30], signature[29], *text, *lines;
    if (!date) {
        xo_http_date(now, xo_now_ms());
        date = now;
    }
    const xo_header h[] = {{"X-MQ-Version", "2015-06-06"}, {"DATE", date}, {"content-type", type}, {"Content-Md5", md5}};
    ck_assert_int_eq(xo_string_to_sign(&text, method, target, h, 4), XONCE_OK);
    ck_assert_int_eq(xo_sign(signature, secret, text), XONCE_OK);
    lines = xo_printf("X-MQ-Version:   2015-06-06 \r\nDATE: %s\r\n%s%s%s%s%s%sauthorization: MQ id:%s\r\n", date, *type ? "content-type: " : "", type,
                      *type ? "\r\n" : "", *md5 ? "Content-Md5: " : "", md5, *md5 ? "\r\n" : "", signature);
    free(text);
    return lines;
}

static void signed_request(const char *method, const char *target, const char *body)
{
    char *lines = sign(method, target, "secret", NULL, body ? "text/xml" : "", "");
    request(method, target, lines, body);
    free(lines);
}

static void refuses(const char *method, const char *target, const char *body, int status, const char *code)
{
    signed_request(method, target, body);
    rig_refused(&R.w, status, code);
}

START_TEST(authorization_in_its_order)
{
    char *lines;
    request("GET", GET_T, "", NULL);
    rig_refused(&R.w, 400, "MissingAuthorizationHeader");
    request("GET", GET_T, "Authorization: Basic x\r\n", NULL);
    rig_refused(&R.w, 400, "InvalidAuthorizationHeader");
    request("GET", GET_T, "Authorization: MQ id:xxxx\r\n", NULL);
    rig_refused(&R.w, 400, "MissingDateHeader");
    request("GET", GET_T, "Authorization: MQ id:xxxx\r\nDate: yesterday\r\n", NULL);
    rig_refused(&R.w, 400, "InvalidDateHeader");
    request("GET", GET_T, "Authorization: MQ other:xxxx\r\nDate: Tue, 24 Nov 2026 08:00:00 GMT\r\n", NULL);
    rig_refused(&R.w, 403, "InvalidAccessKeyId");
    request("GET", GET_T, "Authorization: MQ id:xxxx\r\nDate: Tue, 24 Nov 2026 08:00:00 GMT\r\n", NULL);
    rig_refused(&R.w, 403, "SignatureDoesNotMatch");
    lines = sign("GET", GET_T, "secret!", NULL, "", "");
    request("GET", GET_T, lines, NULL);
    rig_refused(&R.w, 403, "SignatureDoesNotMatch");
    free(lines);
    for (int side = -1; side <= 1; side += 2) {
        char date[30];
        xo_http_date(date, xo_now_ms() + side * 16 * 60000);
        lines = sign("GET", GET_T, "secret", date, "", "");
        request("GET", GET_T, lines, NULL);
        rig_refused(&R.w, 408, "TimeExpired");
        free(lines);
    }
    refuses("GET", GET_T, NULL, 404, "MessageNotExist");
}
END_TEST

START_TEST(the_raw_target_is_signed)
{
    char *lines = sign("GET", GET_T "&tag=a%7C%7Cb+c%2a", "secret", NULL, "", "");
    request("GET", GET_T "&tag=a%7C%7Cb+c%2a", lines, NULL);
    rig_refused(&R.w, 404, "MessageNotExist");
    request("GET", GET_T "&tag=a%7c%7Cb+c%2a", lines, NULL);
    rig_refused(&R.w, 403, "SignatureDoesNotMatch");
    free(lines);
}
END_TEST

START_TEST(security_token)
{
    rig_stop(&R);
    C.security_token = (char[]){"token"};
    rig_start(&R);
    C.security_token = NULL;
    char *lines = sign("GET", GET_T, "secret", NULL, "", ""), *good = xo_printf("%sSecurity-Token: token\r\n", lines),
         *bad = xo_printf("%ssecurity-token: token2\r\n", lines);
    request("GET", GET_T, lines, NULL);
    rig_refused(&R.w, 403, "InvalidAccessKeyId");
    request("GET", GET_T, bad, NULL);
    rig_refused(&R.w, 403, "AccessDenied");
    request("GET", GET_T, good, NULL);
    rig_refused(&R.w, 404, "MessageNotExist");
    free(lines);
    free(good);
    free(bad);
}
END_TEST

START_TEST(digests)
{
    unsigned char md5[16];
    char hex[33];
    ck_assert_int_eq(xo_md5(ONE, strlen(ONE), md5), 0);
    xo_hex(hex, md5, 16, 0);
    char *forms[] = {xo_base64(md5, 16), xo_base64(hex, 32), xo_strdup("AAAAAAAAAAAAAAAAAAAAAA==")};
    for (int i = 0; i < 3; i++) {
        char *lines = sign("POST", POST_T, "secret", NULL, "text/xml", forms[i]);
        request("POST", POST_T, lines, ONE);
        ck_assert_int_eq(R.w.status, i < 2 ? 201 : 400);
        if (i == 2)
            rig_refused(&R.w, 400, "InvalidDigest");
        free(lines);
        free(forms[i]);
    }
}
END_TEST

START_TEST(addresses)
{
    static const char *const urls[] = {"/", "/topics", "/topics/t", "/topics/t/messages/", "/topics//messages", "/topics/a/b/messages", "/tropics/t/messages",
                                       "//topics/t/messages", "/topics/t%/messages", "/topics/t%00/messages", "/topics/a%20b/messages"};
    static const char *const queries[] = {"color=red", "ns=I&ns=I", "tag", "trans=pop", "numOfMessages=1", "consumer=G", "tag=%zz"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++)
        refuses("POST", urls[i], ONE, 400, "InvalidRequestURL");
    refuses("PUT", POST_T, ONE, 400, "InvalidRequestURL");
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        char *target = xo_printf("/topics/t/messages?%s", queries[i]), *text;
        refuses("POST", target, ONE, 400, "InvalidQueryString");
        char *name = xo_printf("\"%.*s\"", (int)strcspn(queries[i], "="), queries[i]);
        text = wire_element(&R.w, "Message", 0);
        ck_assert_msg(strstr(text, name) != NULL, "%s in %s", name, text);
        free(text);
        free(name);
        free(target);
    }
    refuses("GET", "/topics/t/messages?numOfMessages=1&ns=I", NULL, 400, "InvalidQueryString");
    refuses("GET", GET_T "&trans=commit", NULL, 400, "InvalidQueryString");
    refuses("POST", "/topics/nope/messages?ns=I", ONE, 404, "TopicNotExist");
    refuses("POST", "/topics/t/messages?ns=other", ONE, 404, "TopicNotExist");
    refuses("POST", "/topics/t/messages", ONE, 404, "TopicNotExist");
    refuses("GET", "/topics/%74/messages?&numOfMessages=1&&consumer=G&ns=I", NULL, 404, "MessageNotExist");
}
END_TEST

START_TEST(ranges)
{
    static const char *const bad[] = {"numOfMessages=0", "numOfMessages=17", "numOfMessages=x", "numOfMessages=", "numOfMessages=-1", "numOfMessages=1.5",
                                      "numOfMessages=99999999999999999999", "tag=a", "numOfMessages=1&waitseconds=31", "numOfMessages=1&waitseconds=x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *target = xo_printf("/topics/t/messages?consumer=G&ns=I&%s", bad[i]);
        refuses("GET", target, NULL, 400, "InvalidArgument");
        free(target);
    }
    refuses("GET", GET_T "&waitseconds=0", NULL, 404, "MessageNotExist");
}
END_TEST

START_TEST(documents)
{
    static const struct {
        const char *body, *code;
    } bad[] = {{"", "MalformedXML"},
               {"x", "MalformedXML"},
               {"<Message><MessageBody>x</Message>", "MalformedXML"},
               {"<Message><MessageBody>\x01</MessageBody></Message>", "MalformedXML"},
               {"<Message><MessageBody>&#1;</MessageBody></Message>", "MalformedXML"},
               {"<!DOCTYPE a [<!ENTITY b \"x\">]><Message><MessageBody>&b;</MessageBody></Message>", "MalformedXML"},
               {"<Massage><MessageBody>x</MessageBody></Massage>", "InvalidArgument"},
               {"<Message><MessageTag>x</MessageTag></Message>", "InvalidArgument"},
               {"<Message><MessageBody></MessageBody></Message>", "InvalidArgument"},
               {"<Message><MessageBody>x</MessageBody><Properties>__TransCheckT:5</Properties></Message>", "InvalidArgument"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuses("POST", POST_T, bad[i].body, 400, bad[i].code);
    refuses("DELETE", DELETE_T, "<ReceiptHandles></ReceiptHandles>", 400, "MissingReceiptHandle");
    refuses("DELETE", DELETE_T, "<ReceiptHandles>", 400, "MalformedXML");
    refuses("POST", "/topics/o/messages?ns=I", "<Message><MessageBody>x</MessageBody><Properties>__TransCheckT:10</Properties></Message>", 400, "InvalidArgument");
    signed_request("POST", "/topics/o/messages?ns=I", "<Message><MessageBody>x</MessageBody><Properties>__SHARDINGKEY:1</Properties></Message>");
    ck_assert_int_eq(R.w.status, 201);
    signed_request("POST", POST_T, "<m:Message xmlns:m='http://mq.aliyuncs.com/doc/v1/'><m:MessageBody><![CDATA[a<b]]>&amp;</m:MessageBody></m:Message>");
    ck_assert_int_eq(R.w.status, 201);
    signed_request("GET", GET_T, NULL);
    char *body = wire_element(&R.w, "MessageBody", 0);
    ck_assert_str_eq(body, "a<b&");
    free(body);
}
END_TEST

START_TEST(answers_have_their_headers)
{
    static const char *const wanted[] = {"\r\nDate: ", "\r\nx-mq-request-id: ", "\r\nx-mq-version: 2015-06-06\r\n", "\r\nContent-Type: text/xml;charset=utf-8\r\n",
                                         "\r\nContent-Length: "};
    signed_request("POST", POST_T, ONE);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        ck_assert_msg(strstr(R.w.head.p, wanted[i]) != NULL, "%s in %s", wanted[i], R.w.head.p);
    ck_assert_ptr_null(strstr(strstr(R.w.head.p, "\r\nDate: ") + 1, "\r\nDate: "));
}
END_TEST

START_TEST(framing)
{
    char *lines = sign("POST", POST_T, "secret", NULL, "text/xml", "");
    char *asks = xo_printf("POST " POST_T " HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: %zu\r\n%s\r\n", strlen(ONE), lines);
    char *chunked = xo_printf("POST " POST_T " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n%s\r\n9\r\n<Message>\r\n%zx\r\n%s\r\n0\r\n\r\n", lines,
                              strlen(ONE) - 9, ONE + 9);
    char *two = xo_printf("%s%s", chunked, chunked);
    ck_assert_int_eq(wire_open(&R.w, R.port), 0);
    ck_assert_int_eq(wire_write(&R.w, asks, strlen(asks)), 0);
    ck_assert_int_eq(wire_read(&R.w, 5000), 100);
    ck_assert_int_eq(wire_write(&R.w, ONE, strlen(ONE)), 0);
    ck_assert_int_eq(wire_read(&R.w, 5000), 201);
    for (size_t i = 0; i < strlen(chunked); i++) /* byte by byte */
        ck_assert_int_eq(wire_write(&R.w, chunked + i, 1), 0);
    ck_assert_int_eq(wire_read(&R.w, 5000), 201);
    ck_assert_int_eq(wire_write(&R.w, two, strlen(two)), 0); /* two requests at once */
    ck_assert_int_eq(wire_read(&R.w, 5000), 201);
    ck_assert_int_eq(wire_read(&R.w, 5000), 201);
    free(lines);
    free(asks);
    free(chunked);
    free(two);
}
END_TEST

static char *document_of(size_t n, char c)
{
    xo_buf b = {0};
    xo_buf_str(&b, "<Message><MessageBody>");
    for (size_t i = 0; i < n; i++)
        xo_buf_char(&b, c);
    xo_buf_str(&b, "</MessageBody></Message>");
    return xo_buf_take(&b);
}

START_TEST(sizes)
{
    char *most = document_of(4 * 1024 * 1024, 'x'), *more = document_of(4 * 1024 * 1024 + 1, 'x'), *far = document_of(33 * 1024 * 1024, 'x');
    signed_request("POST", POST_T, most);
    ck_assert_int_eq(R.w.status, 201);
    refuses("POST", POST_T, more, 400, "InvalidArgument");
    refuses("POST", POST_T, far, 400, "InvalidArgument");
    signed_request("GET", GET_T, NULL);
    ck_assert_int_eq(R.w.status, 200);
    char *body = wire_element(&R.w, "MessageBody", 0);
    ck_assert_uint_eq(strlen(body), 4 * 1024 * 1024);
    free(body);
    free(most);
    free(more);
    free(far);
}
END_TEST

static void *garble(void *arg)
{
    static const char letters[] = "GETPOSDL /topics/t?&=%\r\n:HTTP1.0<>\x00\xff";
    wire w = {.port = R.port};
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    for (int i = 0; i < 200; i++) {
        char bytes[300];
        size_t n = 0;
        for (; n < sizeof bytes; n++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
            bytes[n] = letters[(seed >> 33) % (sizeof letters - 1)];
        }
        if (wire_open(&w, R.port) == 0 && wire_write(&w, "GET ", i % 4) == 0 && wire_write(&w, bytes, n) == 0 && i % 3 == 0)
            wire_read(&w, 1);
    }
    wire_free(&w);
    return NULL;
}

START_TEST(rubbish)
{
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, garble, (void *)(i + 1)), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    signed_request("POST", POST_T, ONE);
    ck_assert_int_eq(R.w.status, 201);
}
END_TEST

/* Most are refused by the HTTP library itself, each at another place; some are never whole. */
static const char *const malformed[] = {
    "GET / HTTP/9.9\r\nHost: h\r\n\r\n",
    "G\r\n\r\n",
    "GET " GET_T " HTTP/1.1\r\n\r\n",
    "GET " GET_T " HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
    "POST " POST_T " HTTP/1.1\r\nHost: h\r\nContent-Length: many\r\n\r\n",
    "POST " POST_T " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: rubbish\r\n\r\n",
    "POST " POST_T " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    "POST " POST_T " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxxxx\r\n0\r\n\r\n",
    "POST " POST_T " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno colon\r\n\r\n",
};
static atomic_int flooded, flood_ends;

/* Malformed requests one after the other, until it is told to end. */
static void *flood(void *arg)
{
    size_t kinds = sizeof malformed / sizeof malformed[0], i = (uintptr_t)arg;
    wire w = {.port = R.port};
    char large[70000]; /* more than the library's memory for a head */
    memset(large, 'x', sizeof large);
    for (; !atomic_load(&flood_ends); i++) {
        const char *text = malformed[i % kinds];
        if (wire_open(&w, R.port) != 0)
            continue;
        if (i % 16 == 0)
            (void)(wire_write(&w, "GET /", 5) == 0 && wire_write(&w, large, sizeof large));
        else if (wire_write(&w, text, strlen(text)) == 0 && i % 3 == 0)
            wire_read(&w, 10);
        atomic_fetch_add(&flooded, 1);
    }
    wire_free(&w);
    return NULL;
}

START_TEST(stops_while_malformed_requests_come)
{
    pthread_t threads[4];
    for (int round = 0; round < 25; round++) {
        int64_t until = xo_mono_ms() + 30000;
        atomic_store(&flooded, 0);
        atomic_store(&flood_ends, 0);
        for (uintptr_t i = 0; i < 4; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, flood, (void *)(i * 7)), 0);
        while (atomic_load(&flooded) < 20 + round && xo_mono_ms() < until)
            sched_yield();
        rig_stop(&R);
        atomic_store(&flood_ends, 1);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        ck_assert_int_ge(atomic_load(&flooded), 20 + round);
        rig_start(&R);
    }
    signed_request("POST", POST_T, ONE);
    ck_assert_int_eq(R.w.status, 201);
}
END_TEST

START_TEST(bad_options)
{
    static const char *const listen[] = {"", "127.0.0.1", ":1", "127.0.0.1:x", "127.0.0.1:65536"};
    static const char *const topics[] = {"t:odd", "", "a b", "t:"};
    xo_endpoint *ep;
    xo_endpoint_options o = R.o;
    ck_assert_int_eq(xo_endpoint_start(&ep, &o), XONCE_E_CONFLICT); /* the folder is in use */
    ck_assert_ptr_null(ep);
    rig_stop(&R);
    for (size_t i = 0; i < sizeof listen / sizeof listen[0]; i++) {
        o.listen = listen[i];
        ck_assert_int_eq(xo_endpoint_start(&ep, &o), XONCE_E_INVALID);
    }
    o = R.o;
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        o.topics = &topics[i];
        o.ntopics = 1;
        ck_assert_int_eq(xo_endpoint_start(&ep, &o), XONCE_E_INVALID);
    }
    o = R.o;
    o.data = "/dev/null/x";
    ck_assert_int_eq(xo_endpoint_start(&ep, &o), XONCE_E_INVALID);
    o = R.o;
    o.tls_cert = o.tls_key = "/dev/null";
    ck_assert_int_eq(xo_endpoint_start(&ep, &o), XONCE_E_INVALID);
    rig_start(&R);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("endpoint");
    TCase *c = tcase_create("http");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, authorization_in_its_order);
    tcase_add_test(c, the_raw_target_is_signed);
    tcase_add_test(c, security_token);
    tcase_add_test(c, digests);
    tcase_add_test(c, addresses);
    tcase_add_test(c, ranges);
    tcase_add_test(c, documents);
    tcase_add_test(c, answers_have_their_headers);
    tcase_add_test(c, framing);
    tcase_add_test(c, sizes);
    tcase_add_test(c, rubbish);
    tcase_add_test(c, stops_while_malformed_requests_come);
    tcase_add_test(c, bad_options);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
