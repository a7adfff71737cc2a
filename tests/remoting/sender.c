/* What the tests of the RocketMQ producer share. */
#include "tests/remoting/sender.h"
#include "base/buf.h"
#include <pthread.h>
#include <stdarg.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static xo_buf lines;

static void take_line(int level, const char *area, const char *text, void *arg)
{
    (void)arg;
    if (getenv("TEST_LOG"))
        fprintf(stderr, "# %d %s: %s\n", level, area, text);
    pthread_mutex_lock(&lock);
    xo_buf_printf(&lines, "%s: %s\n", area, text);
    pthread_mutex_unlock(&lock);
}

void sender_lines_reset(void)
{
    xonce_set_log(take_line, NULL);
    pthread_mutex_lock(&lock);
    xo_buf_reset(&lines);
    pthread_mutex_unlock(&lock);
}

int sender_lines_with(const char *text)
{
    int n = 0;
    pthread_mutex_lock(&lock);
    for (const char *p = lines.p; p && (p = strstr(p, text)); p++)
        n++;
    pthread_mutex_unlock(&lock);
    return n;
}

xonce_producer *sender_open(const char *uri, const char *const *settings)
{
    static const char *const usual[] = {"rocketmq.timeout", "2s", "rocketmq.connect-timeout", "2s"};
    xonce_config *cfg;
    xonce_producer *p;
    ck_ok(xonce_config_new(&cfg));
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i += 2)
        ck_ok(xonce_config_set(cfg, usual[i], usual[i + 1]));
    for (size_t i = 0; settings && settings[i]; i += 2)
        ck_ok(xonce_config_set(cfg, settings[i], settings[i + 1]));
    ck_ok(xonce_producer_open(&p, uri, cfg));
    xonce_config_free(cfg);
    return p;
}

xonce_message *sender_message(const char *topic, const char *body, ...)
{
    xonce_message *m;
    const char *name, *value;
    va_list ap;
    ck_ok(xonce_message_new(&m, topic, NULL, body, strlen(body)));
    va_start(ap, body);
    while ((name = va_arg(ap, const char *)) && (value = va_arg(ap, const char *)))
        ck_ok(xonce_message_set_property(m, name, value));
    va_end(ap);
    return m;
}

void sender_never(xonce_status st, const xonce_sent *sent, void *arg)
{
    (void)sent;
    (void)arg;
    ck_abort_msg("a send that was refused ended with %d", (int)st);
}

int sender_run(const char *name, TCase *t)
{
    Suite *s = suite_create(name);
    tcase_set_timeout(t, 120);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
