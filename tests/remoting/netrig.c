/* What the tests of connections share: a server, our side of it, and requests with what became of them. */
#include "tests/remoting/netrig.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

peer p;
xo_remoting *r;
atomic_int made, unmade;
void (*net_before_close)(void);

static void on_changed(void *self, const char *address, int is_made)
{
    sigset_t blocked;
    (void)self, (void)address;
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, NULL, &blocked), 0);
    ck_assert_int_eq(sigismember(&blocked, SIGPIPE), 1); /* OpenSSL's writes may raise it on this thread */
    ck_assert_int_eq(sigismember(&blocked, SIGTERM), 1); /* signals are the program's */
    atomic_fetch_add(is_made ? &made : &unmade, 1);
}

void open_with(const xo_remoting_events *events, const char *const *settings)
{
    static const xo_remoting_events none = {NULL, on_changed};
    xonce_config *cfg;
    ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(cfg, "rocketmq.connect-timeout", "2s"), XONCE_OK);
    for (; settings && *settings; settings += 2) {
        ck_assert_int_eq(xonce_config_set(cfg, settings[0], settings[1]), XONCE_OK);
    }
    ck_assert_msg(xo_remoting_open(&r, cfg, events ? events : &none, NULL) == XONCE_OK, "%s", xonce_error_last()->text);
    xonce_config_free(cfg);
}

static void set_up(void)
{
    peer_start(&p, NULL, 0);
    open_with(NULL, NULL);
}

static void tear_down(void)
{
    if (net_before_close) {
        net_before_close();
    }
    xo_remoting_close(r);
    peer_stop(&p);
}

void request(xo_command *c, const char *what)
{
    xo_command_init(c, 1234);
    xo_command_set(c, "do", what);
}

xonce_status call_at(const char *address, const char *what, const char *body, int64_t timeout, xo_command *answer)
{
    xo_command c;
    request(&c, what);
    c.body = body;
    c.body_len = body ? strlen(body) : 0;
    return xo_remoting_call(r, address, &c, timeout, answer);
}

xonce_status call(const char *what)
{
    xo_command a;
    xonce_status st = call_at(p.address, what, NULL, 60000, &a);
    xo_command_free(&a);
    return st;
}

result results = {.lock = PTHREAD_MUTEX_INITIALIZER};

void on_answer(xonce_status st, xo_command *answer, void *arg)
{
    result *res = arg;
    ck_assert((answer != NULL) == (st == XONCE_OK));
    if (st) {
        pthread_mutex_lock(&res->lock);
        (void)snprintf(res->text, sizeof(res->text), "%s", xonce_error_last()->text);
        pthread_mutex_unlock(&res->lock);
        ck_assert_int_eq(st, xonce_error_last()->code);
        atomic_fetch_add(&res->failed, 1);
    }
    atomic_store(&res->last, (int)st);
    atomic_fetch_add(&res->ended, 1);
}

void send_one(const char *address, const char *what, int64_t timeout)
{
    xo_command c;
    request(&c, what);
    xo_remoting_send(r, address, &c, timeout, on_answer, &results);
}

int within(atomic_int *n, int at_least, int64_t ms)
{
    for (int64_t until = xo_mono_ms() + ms; atomic_load(n) < at_least; xo_pause_ms(2)) {
        if (xo_mono_ms() > until) {
            return 0;
        }
    }
    return 1;
}

int run_net_tests(const char *name, const TTest *const *tests, size_t n)
{
    Suite *s = suite_create(name);
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, set_up, tear_down);
    for (size_t i = 0; i < n; i++) {
        tcase_add_test(t, tests[i]);
    }
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
