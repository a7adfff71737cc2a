/* What the tests of the RocketMQ producer share. */
#ifndef XO_TEST_SENDER_H
#define XO_TEST_SENDER_H
#include "base/clock.h"
#include "base/mem.h"
#include "producer/producer.h"
#include "remoting/cluster.h"
#include "tests/remoting/broker.h"
#include <check.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Waits for a condition, at most 60 s (sanitizers and busy machines are slow). */
#define WAIT(cond)                                                                         \
    do {                                                                                   \
        int64_t end_ = xo_mono_ms() + 60000;                                               \
        while (!(cond)) {                                                                  \
            ck_assert_msg(xo_mono_ms() < end_, "line %d: waited too long for %s", __LINE__, #cond); \
            xo_pause_ms(2);                                                                \
        }                                                                                  \
    } while (0)
#define ck_ok(call) ck_assert_msg((call) == XONCE_OK, "%s", xonce_error_last()->text)
#define ck_body(m, text) ck_assert((m)->body_len == strlen(text) && !memcmp((m)->body, text, strlen(text)))
#define SETTINGS(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(,) NULL})
/* environment variable ONLY names one test */
#define ADD(t, fn)                                           \
    do {                                                     \
        if (!getenv("ONLY") || !strcmp(getenv("ONLY"), #fn)) \
            tcase_add_test(t, fn);                           \
    } while (0)

/* settings: key, value, ..., NULL on top of short times; or NULL. */
xonce_producer *sender_open(const char *uri, const char *const *settings);
/* name, value, ..., NULL: its properties. */
xonce_message *sender_message(const char *topic, const char *body, ...);
void sender_never(xonce_status st, const xonce_sent *sent, void *arg); /* must not be called */
/* The log: TEST_LOG in the environment shows it. */
void sender_lines_reset(void);
int sender_lines_with(const char *text);
int sender_run(const char *name, TCase *t); /* what main returns */
#endif
