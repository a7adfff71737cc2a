/* A tiny HTTP server for tests: one thread a connection, answers made by a function of the test, also such as no server
 * should give. */
#ifndef XO_TEST_FAKE_H
#define XO_TEST_FAKE_H
#include "base/buf.h"
#include <pthread.h>
#include <stdatomic.h>
typedef struct {
    char method[16], target[2048];
    char *headers; /* the whole head of the request, NUL-terminated */
    char *body;
    size_t body_len;
    int connection, number; /* which connection, which request on it, from 0 */
} fake_request;
typedef enum {
    FAKE_KEEP,
    FAKE_CLOSE /* after the answer, cut as it may be */,
    FAKE_HANG /* until the client goes or the server stops */
} fake_then;
typedef struct fake fake;
typedef fake_then (*fake_fn)(fake *f, const fake_request *r, xo_buf *answer);
struct fake {
    int listener, port;
    char uri[64];
    fake_fn respond; /* called under the lock */
    void *arg;
    pthread_mutex_t lock;
    pthread_t thread;
    pthread_t workers[256];
    int sockets[256], connections;
    atomic_int stopping;
    atomic_int bad_signatures;
};
void fake_start(fake *f, fake_fn respond, void *arg);
void fake_stop(fake *f);
/* The value of a header of r, "" when absent; in a static buffer of the thread. */
const char *fake_header(const fake_request *r, const char *name);
/* A whole answer. date NULL: now. */
void fake_answer(xo_buf *out, const char *status, const char *date, const char *body);
void fake_error(xo_buf *out, const char *status, const char *code);
/* One <Message> of a consume answer. */
void fake_message(xo_buf *out, const char *id, const char *handle, const char *body, int64_t next_consume, int times);
void fake_messages(xo_buf *out, xo_buf *list);            /* the whole answer; list is freed */
int fake_number(const fake_request *r, const char *item); /* of the query, -1 when absent */
#define FAKE_ID "fakeid"
#define FAKE_SECRET "fakesecret"
#endif
