/* What the tests of the RocketMQ source share: a table of positions in memory, a member of a group that is driven by hand, and the log's lines. */
#ifndef XO_TEST_RMQ_H
#define XO_TEST_RMQ_H
#include "base/clock.h"
#include "base/mem.h"
#include "message/message.h"
#include "source/source.h"
#include "tests/remoting/broker.h"
#include "xonce/xonce.h"
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RMQ_PATIENCE_MS = 60000 }; /* sanitizers and busy machines are slow */
/* Waits for a condition. */
#define WAIT(cond)                                                                                                                                   \
    do {                                                                                                                                             \
        int64_t end_ = xo_mono_ms() + RMQ_PATIENCE_MS;                                                                                               \
        while (!(cond)) {                                                                                                                            \
            ck_assert_msg(xo_mono_ms() < end_, "line %d: waited too long for %s", __LINE__, #cond);                                                  \
            xo_pause_ms(2);                                                                                                                          \
        }                                                                                                                                            \
    } while (0)

/* ---- positions */
typedef struct {
    pthread_mutex_t lock;
    xo_range *rows;
    size_t n, cap;
    char id[9];
    int fail_load, fail_save, fail_knows, fail_take;
    const char *away;        /* the rows of this topic are in a database that is down */
    size_t loads, saves, refused, takes;
    void (*at_take)(void), (*at_advance)(void); /* called before */
    xo_range move_at_take;   /* next > 0: just before the next take-over the queue's row moves so far, as by a batch that was under way */
    struct {
        char body[32];       /* names a message */
        int64_t offset;      /* -1: applied without a record */
    } applied[4096];
    size_t napplied;
} db;
void db_open(db *d, const char *id);
void db_close(db *d);
extern const xo_position_ops db_ops;
/* Puts a row, as an earlier run would have left it. */
void db_row(db *d, const char *topic, const char *broker, int queue, int64_t generation, int64_t first, int64_t next, int64_t store_time,
            int64_t log_offset);
int64_t db_next(db *d, const char *topic, const char *broker, int queue); /* the greatest next of the queue's rows, -1: no row */
size_t db_rows(db *d, const char *topic, const char *broker, int queue);
int db_get(db *d, const char *topic, const char *broker, int queue, int64_t generation,
           xo_range *out); /* texts are not copied; of several the one that begins last */
int db_covers(db *d, const char *topic, const char *broker, int queue, int64_t offset);
/* The rows of a queue were left by one who claims by offset. */
void db_by_offset(db *d, const char *topic, const char *broker, int queue, int64_t record_before);
typedef enum { DB_FRESH, DB_KNOWN, DB_FENCED } db_claimed;
/* Another member takes the queue over by offset, and settles up to x->next. */
void db_steal(db *d, const char *topic, const char *broker, int queue, const xo_range *x);
db_claimed db_claim(db *d, const xonce_message *m);   /* claims and applies it as the store does, in a transaction of its own */
int db_applied(db *d, const char *body);              /* how often */
int db_recorded(db *d, const char *body);             /* with a record? */
size_t db_records(db *d);
size_t db_takes(db *d);
void db_fail_saves(db *d, int on);
size_t db_refused(db *d); /* calls that failed by order */

/* ---- a member */
enum { MOST = 4096 };
typedef struct {
    xonce_source *s;
    xonce_config *cfg;
    xonce_message *got[MOST]; /* handed over, in order; NULL once settled */
    char *bodies[MOST];       /* theirs, also of settled ones */
    size_t n;
    size_t errors;
    xo_error last;
} rmq;
/* settings: key, value, ..., NULL on top of short times. Opens and attaches; db NULL: without positions. */
void rmq_new(rmq *r, const char *uri, db *d, const char *const *settings);
void rmq_start(rmq *r, const char *topic, const char *tags, int ordered);
#define SETTINGS(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
/* The whole: new and start, group "G". */
void rmq_open(rmq *r, const mq *m, db *d, const char *topic, const char *tags, int ordered, const char *const *settings);
/* The same, claimed by offset. */
void rmq_open_offset(rmq *r, const mq *m, db *d, const char *topic, const char *tags, const char *const *settings);
size_t rmq_poll(rmq *r);                      /* once, for a moment; how many came */
void rmq_take(rmq *r, size_t n);              /* until n came in all; not one more */
void rmq_until(rmq *r, const char *body);     /* until a message of this body came */
int rmq_has(const rmq *r, const char *body);  /* how many of this body came */
int rmq_find(const rmq *r, const char *body); /* the index of the last one of this body, settled or not; -1 */
int rmq_work(rmq *r, db *d);                  /* claims in order what came and is not settled yet, and settles it as it turns out; how many */
void rmq_ack(rmq *r, size_t i);
void rmq_ack_all(rmq *r);
void rmq_nack(rmq *r, size_t i, int failed);
void rmq_stop(rmq *r);  /* in good order */
void rmq_close(rmq *r); /* stops when that was not done, gives everything back */
void rmq_crash(rmq *r); /* closes as near to a crash as can be: nothing was settled since, positions are cut off first */
xo_source_counts rmq_counts(const rmq *r);
#define ck_body(m, text)                                                                                                                             \
    do {                                                                                                                                             \
        ck_assert_uint_eq((m)->body_len, strlen(text));                                                                                              \
        ck_assert_msg(!memcmp((m)->body, text, strlen(text)), "%.*s", (int)(m)->body_len, (const char *)(m)->body);                                  \
    } while (0)

/* ---- running: environment variable ONLY names one test */
#define ADD(t, fn)                                                                                                                                   \
    do {                                                                                                                                             \
        if (!getenv("ONLY") || !strcmp(getenv("ONLY"), #fn))                                                                                         \
            tcase_add_test(t, fn);                                                                                                                   \
    } while (0)
int rmq_run(TCase *t); /* what main returns */

/* ---- log lines: TEST_LOG in the environment shows them */
void lines_reset(void);
int lines_with(const char *text);
#endif
