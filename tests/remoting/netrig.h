/* What the tests of connections share: a server, our side of it, and requests with what became of them. */
#ifndef XO_TEST_NETRIG_H
#define XO_TEST_NETRIG_H
#include "base/clock.h"
#include "base/mem.h"
#include "remoting/io.h"
#include "remoting/remoting.h"
#include "tests/remoting/peer.h"
#include <check.h>

extern peer p;                  /* anew for each test */
extern xo_remoting *r;          /* opened by the fixture with a connect timeout of 2 s; a test may close it and open another */
extern atomic_int made, unmade; /* calls of events->changed */
extern void (*net_before_close)(void);
void open_with(const xo_remoting_events *events, const char *const *settings); /* name, value, ..., NULL; events NULL: counted */

void request(xo_command *c, const char *what); /* see peer.h */
xonce_status call_at(const char *address, const char *what, const char *body, int64_t timeout, xo_command *answer);
xonce_status call(const char *what);           /* at p */

/* What becomes of requests that nobody waits for. */
typedef struct {
    atomic_int ended, failed;
    atomic_int last;
    char text[600];
    pthread_mutex_t lock;
} result;
extern result results;
void on_answer(xonce_status st, xo_command *answer, void *res);
void send_one(const char *address, const char *what, int64_t timeout); /* ends in results */
int within(atomic_int *n, int at_least, int64_t ms);
#define WAIT_FOR(n, at_least) ck_assert(within(&(n), (at_least), 60000))

int run_net_tests(const char *name, const TTest *const *tests, size_t n);
#endif
