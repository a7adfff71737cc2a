/* Brokers and resolvers that hang, refuse and are slow: nobody else waits for them. */
#include "tests/remoting/netrig.h"
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A resolver that hangs for names in .hang, and knows two addresses of two.test, of which the first refuses. */
static atomic_int resolver_go, lookups;
int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints, struct addrinfo **restrict found)
{
    typedef int (*real_fn)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    union {
        void *p;
        real_fn fn;
    } real = {dlsym(RTLD_NEXT, "getaddrinfo")};
    size_t n = name ? strlen(name) : 0;
    if (n > 5 && strcmp(name + n - 5, ".hang") == 0 && !(hints->ai_flags & AI_NUMERICHOST)) {
        atomic_fetch_add(&lookups, 1);
        while (!atomic_load(&resolver_go)) {
            xo_pause_ms(5);
        }
        return EAI_FAIL;
    }
    if (n && strcmp(name, "two.test") == 0 && !(hints->ai_flags & AI_NUMERICHOST)) {
        int rc = real.fn("127.0.0.2", service, hints, found);
        return rc ? rc : real.fn("127.0.0.1", service, hints, &(*found)->ai_next);
    }
    return real.fn(name, service, hints, found);
}

START_TEST(silence_ends_a_connection)
{
    xo_command a;
    xo_remoting_tune(r, 60000, 1000);
    ck_assert_int_eq(call("echo"), XONCE_OK);
    send_one(p.address, "never", 30000);
    ck_assert_int_eq(call_at(p.address, "never", NULL, 100, &a), XONCE_E_TIMEOUT);
    ck_assert_int_eq(atomic_load(&results.ended), 0);
    xo_pause_ms(1000); /* silence is a matter of time */
    ck_assert_int_eq(call_at(p.address, "never", NULL, 100, &a), XONCE_E_TIMEOUT);
    WAIT_FOR(results.failed, 1);
    ck_assert_int_eq(atomic_load(&results.last), XONCE_E_CONNECT);
    ck_assert(strstr(results.text, "nothing came for"));
    ck_assert_int_eq(call("echo"), XONCE_OK);
    ck_assert_int_eq(peer_connections(&p), 2);
}
END_TEST

START_TEST(one_slow_answer_is_no_silence)
{
    xo_command a;
    xo_remoting_tune(r, 60000, 500);
    ck_assert_int_eq(call("echo"), XONCE_OK);
    xo_pause_ms(700); /* nothing comes, as nothing was asked for */
    ck_assert_int_eq(call("echo"), XONCE_OK);
    ck_assert_int_eq(call_at(p.address, "never", NULL, 100, &a), XONCE_E_TIMEOUT);
    ck_assert_int_eq(call("echo"), XONCE_OK);
    xo_pause_ms(700);
    ck_assert_int_eq(call_at(p.address, "never", NULL, 100, &a), XONCE_E_TIMEOUT);
    ck_assert_int_eq(call("echo"), XONCE_OK);
    ck_assert_int_eq(peer_connections(&p), 1);
}
END_TEST

START_TEST(backs_off_and_comes_back)
{
    xo_command a, c;
    char address[40];
    int port = peer_free_port();
    (void)snprintf(address, sizeof(address), "127.0.0.1:%d", port);
    ck_assert_int_eq(call_at(address, "echo", NULL, 5000, &a), XONCE_E_CONNECT);
    ck_assert(strstr(xonce_error_last()->text, "Connection refused"));
    ck_assert(strstr(xonce_error_last()->text, address));
    ck_assert_int_eq(xonce_error_last()->again, 1);
    int64_t until = xo_mono_ms() + 2000, tries = 0;
    for (; xo_mono_ms() < until; tries++) { /* as fast as it goes: most fail for the old reason */
        ck_assert_int_eq(call_at(address, "echo", NULL, 5000, &a), XONCE_E_CONNECT);
        ck_assert(strstr(xonce_error_last()->text, "Connection refused"));
    }
    ck_assert_int_gt(tries, 20);
    xo_peer *at = r->peers;
    ck_assert_str_eq(at->address, address);
    int failures = at->failures; /* 100 + 200 + 400 + 800 ms */
    ck_assert(failures >= 3 && failures <= 7);
    request(&c, "echo");
    if (at->until > xo_mono_ms() + 50) {
        ck_assert_int_eq(xo_remoting_oneway(r, address, &c), XONCE_E_CONNECT);
    } else {
        xo_command_free(&c);
    }
    peer late;
    peer_start(&late, NULL, port);
    for (until = xo_mono_ms() + 60000; call_at(address, "echo", NULL, 5000, &a) != XONCE_OK; xo_pause_ms(5)) {
        ck_assert(xo_mono_ms() < until);
    }
    xo_command_free(&a);
    ck_assert_int_eq(peer_connections(&late), 1);
    ck_assert_int_eq(call("echo"), XONCE_OK);
    xo_remoting_close(r);
    peer_stop(&late);
    open_with(NULL, NULL);
}
END_TEST

static void others_are_fast(int n)
{
    for (int i = 0; i < n; i++) {
        int64_t before = xo_mono_ms();
        ck_assert_int_eq(call("echo"), XONCE_OK);
        ck_assert_int_lt(xo_mono_ms() - before, 1900); /* less than any time that others wait for */
    }
}

START_TEST(a_hanging_broker_slows_no_other)
{
    peer slow;
    peer_hang deaf;
    peer_start(&slow, NULL, 0);
    int hangs = peer_hang_start(&deaf);
    int64_t sent = xo_mono_ms();
    send_one(slow.address, "stop", 4000);
    for (int i = 0; i < 20; i++) {
        send_one(slow.address, "echo", 4000);
    }
    if (hangs) {
        send_one(deaf.address, "echo", 4000);
    }
    others_are_fast(50);
    ck_assert(atomic_load(&results.ended) == 0 || xo_mono_ms() - sent >= 2000); /* what hangs goes on doing so; connecting may take 2 s */
    WAIT_FOR(results.failed, 21 + hangs);
    others_are_fast(5);
    xo_command a;
    if (hangs) { /* how long connecting may take is bounded too */
        int64_t before;
        do { /* while it still backs off from the last time that ends at once */
            before = xo_mono_ms();
            ck_assert_int_eq(call_at(deaf.address, "echo", NULL, 30000, &a), XONCE_E_CONNECT);
            ck_assert(before - sent < 60000);
        } while (!strstr(xonce_error_last()->text, "no answer in time") && (xo_pause_ms(5), 1));
        ck_assert(xo_mono_ms() - before < 25000);
    }
    peer_go(&slow);
    xo_remoting_close(r);
    open_with(NULL, NULL);
    peer_hang_stop(&deaf);
    peer_stop(&slow);
}
END_TEST

START_TEST(a_hanging_resolver_slows_nobody)
{
    xo_command a;
    send_one("some.hang:9876", "echo", 5000);
    WAIT_FOR(lookups, 1);
    others_are_fast(20);
    WAIT_FOR(results.failed, 1); /* the connect timeout */
    ck_assert(strstr(results.text, "looking up the name"));
    ck_assert_int_eq(call_at("some.hang:9876", "echo", NULL, 5000, &a), XONCE_E_CONNECT); /* backing off */
    send_one("other.hang:9876", "echo", 5000);
    WAIT_FOR(lookups, 2);
    int64_t before = xo_mono_ms();
    xo_remoting_close(r);
    ck_assert(xo_mono_ms() - before < 30000); /* it hangs until it is let go */
    ck_assert_int_eq(atomic_load(&results.failed), 2);
    ck_assert_int_eq(atomic_load(&results.last), XONCE_E_CLOSED);
    open_with(NULL, NULL);
    atomic_store(&resolver_go, 1);
    char address[60];
    (void)snprintf(address, sizeof(address), "two.test:%d", p.port);
    ck_assert_int_eq(call_at(address, "echo", NULL, 5000, &a), XONCE_OK);
    xo_command_free(&a);
    (void)snprintf(address, sizeof(address), "localhost:%d", p.port);
    ck_assert_int_eq(call_at(address, "echo", NULL, 5000, &a), XONCE_OK);
    xo_command_free(&a);
    ck_assert_int_eq(call_at("nobody.invalid:1", "echo", NULL, 20000, &a), XONCE_E_CONNECT);
}
END_TEST

START_TEST(a_slow_broker_is_bounded)
{
    enum { SIZE = 1 << 20, N = 100 };
    char *body = xo_calloc(1, SIZE);
    xo_command c;
    send_one(p.address, "stop", 30000);
    WAIT_FOR(p.requests, 1);
    for (int i = 0; i < N; i++) {
        request(&c, "echo");
        c.body = body;
        c.body_len = SIZE;
        xo_remoting_send(r, p.address, &c, 30000, on_answer, &results);
        xo_pause_ms(1); /* so that the inbox is not what is full */
    }
    WAIT_FOR(results.failed, 20);
    xo_command a; /* its turn comes after all of these */
    ck_assert_int_eq(call_at("nowhere", "echo", NULL, 1000, &a), XONCE_E_INVALID);
    ck_assert_int_eq(atomic_load(&results.last), XONCE_E_CONFLICT);
    ck_assert(strstr(results.text, "too slow"));
    ck_assert_int_lt(atomic_load(&results.failed), N - 50);
    int failed = atomic_load(&results.failed);
    peer_go(&p);
    WAIT_FOR(results.ended, N + 1);
    ck_assert_int_eq(atomic_load(&results.failed), failed);
    free(body);
}
END_TEST

static void let_resolver_go(void)
{
    atomic_store(&resolver_go, 1);
}

int main(void)
{
    static const char name[] = "net_hang";
    const TTest *const tests[] = {
        silence_ends_a_connection, one_slow_answer_is_no_silence, backs_off_and_comes_back, a_hanging_broker_slows_no_other, a_hanging_resolver_slows_nobody,
        a_slow_broker_is_bounded};
    net_before_close = let_resolver_go;
    return run_net_tests(name, tests, sizeof(tests) / sizeof(tests[0]));
}
