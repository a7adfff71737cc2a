/* Connections to brokers that delay, cut, lie and go away. */
#include "tests/remoting/netrig.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(answers_come_back)
{
    xo_command c, a;
    request(&c, "echo");
    xo_command_set(&c, "topic", "T\xc3\xa9");
    c.body = "hello";
    c.body_len = 5;
    ck_assert_int_eq(xo_remoting_call(r, p.address, &c, 10000, &a), XONCE_OK);
    ck_assert_int_eq(a.code, 0);
    ck_assert_uint_eq(a.body_len, 5);
    ck_assert_mem_eq(a.body, "hello", 5);
    ck_assert_str_eq(xo_command_get(&a, "topic"), "T\xc3\xa9");
    xo_command_free(&a);
    request(&c, "code");
    xo_command_set_int(&c, "code", 17);
    ck_assert_int_eq(xo_remoting_call(r, p.address, &c, 10000, &a), XONCE_OK);
    ck_assert_int_eq(a.code, 17);
    ck_assert_str_eq(a.remark, "as told");
    xo_command_free(&a);
    ck_assert_int_eq(call("twice"), XONCE_OK); /* the second answer is nobody's */
    ck_assert_int_eq(call("echo"), XONCE_OK);
    ck_assert_int_eq(peer_connections(&p), 1);
    ck_assert_int_eq(atomic_load(&made), 1);
    ck_assert_int_eq(atomic_load(&p.signed_requests), 0);
}
END_TEST

START_TEST(answers_in_any_order)
{
    enum { N = 50 };
    xo_call calls[N + 1];
    char bodies[N][20];
    for (int i = 0; i <= N; i++) {
        (void)snprintf(calls[i].address, sizeof(calls[i].address), "%s", p.address);
        request(&calls[i].request, i < N ? "late" : "echo");
        xo_command_set_int(&calls[i].request, "ms", 0);
        if (i < N) {
            (void)snprintf(bodies[i], sizeof(bodies[i]), "body %d", i);
            calls[i].request.body = bodies[i];
            calls[i].request.body_len = strlen(bodies[i]);
            xo_command_set(&calls[i].request, "do", i % 2 ? "hold" : "echo");
        } else {
            xo_command_set(&calls[i].request, "do", "release");
        }
    }
    xo_remoting_call_all(r, calls, N + 1, 10000);
    for (int i = 0; i <= N; i++) {
        ck_assert_int_eq(calls[i].status, XONCE_OK);
        if (i < N && i % 2 == 0) {
            ck_assert_uint_eq(calls[i].answer.body_len, strlen(bodies[i]));
            ck_assert_mem_eq(calls[i].answer.body, bodies[i], strlen(bodies[i]));
        }
        xo_command_free(&calls[i].answer);
    }
    ck_assert_int_eq(peer_connections(&p), 1);
}
END_TEST

START_TEST(time_is_up)
{
    xo_command a;
    ck_assert_int_eq(call("echo"), XONCE_OK); /* connecting is not what is measured */
    int64_t before = xo_mono_ms();
    ck_assert_int_eq(call_at(p.address, "never", NULL, 200, &a), XONCE_E_TIMEOUT);
    int64_t took = xo_mono_ms() - before;
    ck_assert(took >= 200 && took < 30000);
    ck_assert(strstr(xonce_error_last()->text, "no answer within 200ms"));
    /* an answer that comes too late is nobody's, and the connection goes on */
    xo_command c;
    request(&c, "late");
    xo_command_set_int(&c, "ms", 300);
    ck_assert_int_eq(xo_remoting_call(r, p.address, &c, 100, &a), XONCE_E_TIMEOUT);
    ck_assert_int_eq(call("echo"), XONCE_OK);
    ck_assert_int_eq(peer_connections(&p), 1);
    /* each has its own */
    send_one(p.address, "never", 400);
    send_one(p.address, "never", 100);
    send_one(p.address, "never", 250);
    WAIT_FOR(results.failed, 3);
    ck_assert_int_eq(atomic_load(&results.last), XONCE_E_TIMEOUT);
}
END_TEST

START_TEST(a_lost_connection_fails_what_waits)
{
    for (int i = 0; i < 3; i++) {
        send_one(p.address, "never", 60000);
    }
    ck_assert_int_eq(call("echo"), XONCE_OK);
    int64_t before = xo_mono_ms();
    ck_assert_int_eq(call("close"), XONCE_E_CONNECT);
    ck_assert(strstr(xonce_error_last()->text, "closed by the other side"));
    WAIT_FOR(results.failed, 3);
    ck_assert(xo_mono_ms() - before < 50000);
    ck_assert_int_eq(atomic_load(&results.last), XONCE_E_CONNECT);
    /* it had worked: the next request makes a new one at once */
    ck_assert_int_eq(call("echo"), XONCE_OK);
    ck_assert_int_eq(peer_connections(&p), 2);
    peer_cut(&p);
    WAIT_FOR(unmade, 2);
    ck_assert_int_eq(call("echo"), XONCE_OK);
    WAIT_FOR(made, 3);
    ck_assert_int_eq(atomic_load(&unmade), 2);
}
END_TEST

/* Sends bytes as the server's and returns how the request ended that made it do so. */
static xonce_status raw(const void *bytes, size_t n)
{
    xo_command c, a;
    request(&c, "raw");
    c.body = bytes;
    c.body_len = n;
    xonce_status st = xo_remoting_call(r, p.address, &c, 10000, &a);
    xo_command_free(&a);
    return st;
}

START_TEST(garbage_ends_the_connection)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *says;
    } bad[] = {
        {"\xff\xff\xff\xff", 4, "a frame of 4294967295 bytes"},
        {"\0\0\0\3abc", 7, "a frame of 3 bytes"},
        {"\1\0\0\1", 4, "a frame of 16777217 bytes"},
        {"HTTP/1.1 200 OK\r\n\r\n", 19, "HTTP"},
        {"\x15\x03\x01\0\2\2\x46", 7, "tls=on"},
        {"\0\0\0\5\0\0\0\1{", 9, ""},
        {"\0\0\0\x10\0\0\xff\xff{\"code\":0,\"", 20, ""},
        {"\0\0\0\4\7\0\0\0", 8, ""},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t until = xo_mono_ms() + 60000;
        while (call("echo") != XONCE_OK) { /* backing off from the one before */
            ck_assert(xo_mono_ms() < until);
            xo_pause_ms(5);
        }
        send_one(p.address, "never", 20000);
        int64_t lied = xo_mono_ms();
        ck_assert_int_eq(raw(bad[i].bytes, bad[i].n), XONCE_E_PROTOCOL);
        ck_assert_msg(strstr(xonce_error_last()->text, bad[i].says) && strstr(xonce_error_last()->text, p.address), "%s", xonce_error_last()->text);
        WAIT_FOR(results.failed, (int)i + 1);
        xonce_status st = call("echo");
        ck_assert(st == XONCE_E_PROTOCOL || xo_mono_ms() - lied >= 60); /* a pause */
    }
    ck_assert_int_eq(peer_connections(&p), (int)(sizeof(bad) / sizeof(bad[0])));
}
END_TEST

START_TEST(cut_in_a_frame)
{
    ck_assert_int_eq(call("echo"), XONCE_OK);
    ck_assert_int_eq(call("cut"), XONCE_E_CONNECT);
    ck_assert_int_eq(call("echo"), XONCE_OK);
    ck_assert_int_eq(peer_connections(&p), 2);
}
END_TEST

/* An answer counts only on the connection that the request went over. */
START_TEST(answers_of_another)
{
    peer other;
    xo_command c, a;
    xo_buf frame = {0};
    peer_start(&other, NULL, 0);
    ck_assert_int_eq(call_at(other.address, "echo", NULL, 10000, &a), XONCE_OK);
    xo_command_free(&a);
    xo_command_init(&c, 0);
    c.flag = XO_FLAG_RESPONSE;
    c.opaque = atomic_load(&r->opaque);
    ck_assert_int_eq(xo_command_encode(&c, &frame), XONCE_OK);
    xo_command_free(&c);
    send_one(p.address, "never", 30000);
    request(&c, "raw");
    c.body = frame.p;
    c.body_len = frame.len;
    ck_assert_int_eq(xo_remoting_call(r, other.address, &c, 200, &a), XONCE_E_TIMEOUT);
    ck_assert_int_eq(atomic_load(&results.ended), 0);
    xo_buf_free(&frame);
    xo_remoting_close(r);
    ck_assert_int_eq(atomic_load(&results.last), XONCE_E_CLOSED);
    open_with(NULL, NULL);
    peer_stop(&other);
}
END_TEST

START_TEST(frames_in_pieces_and_large_ones)
{
    enum { SIZE = 12 << 20 };
    char *body = malloc(SIZE);
    ck_assert(body != NULL);
    for (size_t i = 0; i < SIZE; i++) {
        body[i] = (char)(i * 2654435761u >> 24);
    }
    for (size_t n = 1; n <= SIZE; n = n * 3 + 1) {
        xo_command c, a;
        request(&c, "echo");
        c.body = body;
        c.body_len = n;
        ck_assert_int_eq(xo_remoting_call(r, p.address, &c, 30000, &a), XONCE_OK);
        ck_assert_uint_eq(a.body_len, n);
        ck_assert(memcmp(a.body, body, n) == 0);
        xo_command_free(&a);
    }
    xo_command c, a;
    request(&c, "echo");
    c.body = body;
    c.body_len = XO_FRAME_MAX;
    ck_assert_int_eq(xo_remoting_call(r, p.address, &c, 1000, &a), XONCE_E_INVALID);
    ck_assert_int_eq(peer_connections(&p), 1);
    free(body);
}
END_TEST

/* ---- the end */

START_TEST(closing_ends_what_waits)
{
    for (int i = 0; i < 100; i++) {
        send_one(p.address, "never", 60000);
    }
    ck_assert_int_eq(call("echo"), XONCE_OK);
    ck_assert_int_eq(atomic_load(&results.ended), 0);
    int64_t before = xo_mono_ms();
    xo_remoting_close(r);
    ck_assert(xo_mono_ms() - before < 30000);
    ck_assert_int_eq(atomic_load(&results.failed), 100);
    ck_assert_int_eq(atomic_load(&results.last), XONCE_E_CLOSED);
    ck_assert_int_eq(atomic_load(&unmade), 0); /* who closes is not told */
    open_with(NULL, NULL);
    send_one("127.0.0.1:1", "never", 30000); /* not even connected */
    xo_remoting_close(r);
    ck_assert_int_eq(atomic_load(&results.failed), 101);
    xo_remoting_close(NULL);
    open_with(NULL, NULL);
}
END_TEST

START_TEST(oneway_is_not_answered)
{
    xo_command c;
    for (int i = 0; i < 50; i++) {
        request(&c, "echo");
        ck_assert_int_eq(xo_remoting_oneway(r, p.address, &c), XONCE_OK);
    }
    ck_assert_int_eq(call("echo"), XONCE_OK);
    ck_assert_int_eq(atomic_load(&p.oneways), 50);
    for (int i = 0; i < 50; i++) {
        request(&c, "echo");
        ck_assert_int_eq(xo_remoting_oneway(r, p.address, &c), XONCE_OK);
    }
    xo_remoting_close(r); /* also what was not written yet */
    WAIT_FOR(p.oneways, 100);
    open_with(NULL, NULL);
    request(&c, "echo");
    ck_assert_int_eq(xo_remoting_oneway(r, p.address, &c), XONCE_OK);
    xo_remoting_close(r); /* and when the connection is still to be made */
    WAIT_FOR(p.oneways, 101);
    open_with(NULL, NULL);
    request(&c, "echo");
    ck_assert_int_eq(xo_remoting_oneway(r, "nowhere", &c), XONCE_E_INVALID);
}
END_TEST

START_TEST(bad_addresses)
{
    static const char *const bad[] = {"", ":1", "host", "host:", "host:0", "host:65536", "host:1x", "::1:9876", "[::1]", "[::1:9876", "[]:1", "host:123456"};
    char host[XO_HOST_SIZE], port[8];
    xo_command a;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(xo_address_split(bad[i], host, port) == XONCE_E_INVALID, "%s", bad[i]);
        ck_assert_int_eq(call_at(bad[i], "echo", NULL, 1000, &a), XONCE_E_INVALID);
    }
    ck_assert_int_eq(xo_address_split("[fe80::1%eth0]:9876", host, port), XONCE_OK);
    ck_assert_str_eq(host, "fe80::1%eth0");
    ck_assert_str_eq(port, "9876");
    char longest[400];
    memset(longest, 'a', sizeof(longest));
    memcpy(longest + sizeof(longest) - 3, ":1", 3);
    ck_assert_int_eq(call_at(longest, "echo", NULL, 1000, &a), XONCE_E_INVALID);
}
END_TEST

/* ---- requests of the other side */

static void on_request(void *self, const char *address, xo_command *c)
{
    (void)self;
    if (c->flag & XO_FLAG_ONEWAY) {
        atomic_fetch_add(&made, 1000);
        return;
    }
    xo_buf body = {0};
    xo_buf_add(&body, c->body, c->body_len);
    xo_buf_str(&body, " indeed");
    xo_remoting_reply(r, address, c->opaque, c->code + 1, NULL, &body);
    xo_remoting_reply(r, address, c->opaque, 99, NULL, NULL); /* a second one does not go out */
    xo_command a;
    ck_assert_int_eq(call_at(address, "echo", NULL, 100, &a), XONCE_E_INVALID); /* would wait for itself */
}

static void ask(int code, int oneway, xo_command *answer)
{
    xo_command c;
    request(&c, "ask");
    xo_command_set_int(&c, "code", code);
    xo_command_set(&c, "oneway", oneway ? "y" : NULL);
    c.body = "well";
    c.body_len = 4;
    ck_assert_int_eq(xo_remoting_call(r, p.address, &c, 10000, answer), XONCE_OK);
}

START_TEST(the_other_side_asks)
{
    static const xo_remoting_events events = {on_request, NULL};
    xo_command a;
    ask(307, 0, &a); /* nobody takes requests */
    ck_assert_int_eq(a.code, XO_RMQ_NOT_SUPPORTED);
    xo_command_free(&a);
    ask(40, 1, &a);
    xo_command_free(&a);
    xo_remoting_close(r);
    open_with(&events, NULL);
    ask(307, 0, &a);
    ck_assert_int_eq(a.code, 308);
    ck_assert_uint_eq(a.body_len, 11);
    ck_assert_mem_eq(a.body, "well indeed", 11);
    xo_command_free(&a);
    atomic_store(&made, 0);
    ask(40, 1, &a);
    xo_command_free(&a);
    WAIT_FOR(made, 1000);
    ck_assert_int_eq(call("echo"), XONCE_OK);
    ck_assert_int_eq(atomic_load(&p.requests), 5); /* no answer but one to each that wants one */
}
END_TEST

START_TEST(going_away)
{
    send_one(p.address, "hold", 10000);
    xo_command c, a;
    request(&c, "goaway");
    ck_assert_int_eq(xo_remoting_call(r, p.address, &c, 10000, &a), XONCE_OK);
    ck_assert_int_eq(a.code, XO_RMQ_GO_AWAY);
    xo_command_free(&a);
    ck_assert_int_eq(call("echo"), XONCE_OK); /* on a new one */
    ck_assert_int_eq(peer_connections(&p), 2);
    WAIT_FOR(results.ended, 1); /* the old one still brought its answer */
    ck_assert_int_eq(atomic_load(&results.last), XONCE_OK);
    WAIT_FOR(p.ended, 1);
    ck_assert_int_eq(atomic_load(&made), 2);
    ck_assert_int_eq(atomic_load(&unmade), 1);
    ck_assert_int_eq(call("echo"), XONCE_OK);
    ck_assert_int_eq(peer_connections(&p), 2);
}
END_TEST

START_TEST(idle_connections_are_closed)
{
    xo_remoting_tune(r, 150, 10000);
    int64_t sent = xo_mono_ms();
    send_one(p.address, "never", 2500);
    ck_assert_int_eq(call("echo"), XONCE_OK);
    xo_pause_ms(500); /* longer than it may be idle, but one that waits keeps it */
    ck_assert(atomic_load(&p.ended) == 0 || xo_mono_ms() - sent >= 2500);
    WAIT_FOR(p.ended, 1);
    WAIT_FOR(unmade, 1);
    ck_assert_int_eq(call("echo"), XONCE_OK); /* no pause */
    ck_assert_int_eq(peer_connections(&p), 2);
    peer_cut(&p); /* the server does so too */
    WAIT_FOR(unmade, 2);
    ck_assert_int_eq(call("echo"), XONCE_OK);
    xo_remoting_disconnect(r, p.address);
    xo_remoting_disconnect(r, "127.0.0.1:2");
    WAIT_FOR(unmade, 3);
    ck_assert_int_eq(call("echo"), XONCE_OK);
}
END_TEST

/* ---- bounds */

START_TEST(requests_are_signed)
{
    static const char *const keys[] = {"credentials.access-key-id", "AK", "credentials.access-key-secret", "SK", "rocketmq.ons-channel", "ALIYUN", NULL};
    xo_remoting_close(r);
    open_with(NULL, keys);
    xo_command a;
    ck_assert_int_eq(call_at(p.address, "echo", "x", 10000, &a), XONCE_OK);
    ck_assert_str_eq(xo_command_get(&a, "AccessKey"), "AK");
    ck_assert_str_eq(xo_command_get(&a, "OnsChannel"), "ALIYUN");
    ck_assert(xo_command_get(&a, "Signature") != NULL);
    xo_command_free(&a);
    static const char *const half[] = {"credentials.access-key-id", "AK", NULL};
    xonce_config *cfg;
    xo_remoting *none;
    ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(cfg, half[0], half[1]), XONCE_OK);
    ck_assert_int_eq(xo_remoting_open(&none, cfg, NULL, NULL), XONCE_E_AUTH);
    ck_assert_ptr_null(none);
    xonce_config_free(cfg);
}
END_TEST

static void *hammer(void *arg)
{
    const char *address = arg;
    for (int i = 0; i < 50; i++) {
        xo_command a;
        char body[40];
        (void)snprintf(body, sizeof(body), "%p %d", (void *)&a, i);
        ck_assert_int_eq(call_at(address, i % 5 ? "echo" : "late", body, 30000, &a), XONCE_OK);
        ck_assert_uint_eq(a.body_len, strlen(body));
        ck_assert_mem_eq(a.body, body, strlen(body));
        xo_command_free(&a);
    }
    return NULL;
}

START_TEST(many_threads_at_once)
{
    peer other;
    pthread_t threads[64];
    peer_start(&other, NULL, 0);
    for (int i = 0; i < 64; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer, i % 3 ? p.address : other.address), 0);
    }
    for (int i = 0; i < 64; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_int_eq(peer_connections(&p), 1);
    ck_assert_int_eq(peer_connections(&other), 1);
    xo_remoting_close(r);
    open_with(NULL, NULL);
    peer_stop(&other);
}
END_TEST

static int open_files(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d)) {
        n++;
    }
    if (d) {
        closedir(d);
    }
    return n;
}

START_TEST(nothing_is_left_behind)
{
    xo_command a;
    int before = open_files();
    for (int i = 0; i < 30; i++) {
        ck_assert_int_eq(call("echo"), XONCE_OK);
        ck_assert_int_eq(call("close"), XONCE_E_CONNECT);
        (void)call_at("127.0.0.1:1", "echo", NULL, 1000, &a);
    }
    for (int64_t until = xo_mono_ms() + 60000; open_files() > before; xo_pause_ms(5)) {
        ck_assert(xo_mono_ms() < until);
    }
}
END_TEST

START_TEST(waits_heap_and_table)
{
    enum { N = 3000 };
    static xo_item items[N];
    xo_waits w = {0};
    for (int i = 0; i < N; i++) {
        items[i].deadline = (int64_t)(xo_random() % 500);
        items[i].opaque = i % 2 ? i : i - N; /* also far apart */
        ck_assert_int_eq(xo_waits_add(&w, &items[i]), 0);
    }
    for (int i = 0; i < N; i += 3) {
        ck_assert_ptr_eq(xo_waits_find(&w, NULL, items[i].opaque), &items[i]);
        xo_waits_remove(&w, &items[i]);
        ck_assert_ptr_null(xo_waits_find(&w, NULL, items[i].opaque));
    }
    int64_t last = -1;
    size_t left = w.n;
    ck_assert_uint_eq(left, N - N / 3);
    for (; w.n; left--) {
        xo_item *i = w.heap[0];
        ck_assert_int_ge(i->deadline, last);
        last = i->deadline;
        xo_waits_remove(&w, i);
    }
    ck_assert_uint_eq(left, 0);
    xo_waits_free(&w);
}
END_TEST

int main(void)
{
    static const char name[] = "net";
    const TTest *const tests[] = {
        answers_come_back, answers_in_any_order, time_is_up, a_lost_connection_fails_what_waits, garbage_ends_the_connection,
        cut_in_a_frame, answers_of_another, frames_in_pieces_and_large_ones, closing_ends_what_waits, oneway_is_not_answered,
        bad_addresses, the_other_side_asks, going_away, idle_connections_are_closed, requests_are_signed, many_threads_at_once,
        nothing_is_left_behind, waits_heap_and_table};
    return run_net_tests(name, tests, sizeof(tests) / sizeof(tests[0]));
}
