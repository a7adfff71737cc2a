/* What the consumer's tests share: a SQLite store in a directory of its own with a table of effects, a broker in memory with hand-outs, invisible times, lanes and duplicates, and a
   way to let the database fail. */
#ifndef RIG_H
#define RIG_H
#include "base/clock.h"
#include "consumer/consumer.h"
#include "source/source.h"
#include "store/store.h"
#include "xonce/xonce.h"
#include <check.h>
#include <pthread.h>

/* ---- store ---- */
typedef struct {
    char dir[64], file[96], uri[128];
    xonce_store *store;
    xonce_config *cfg;
} rig;
void rig_open(rig *r, const char *const *settings /* key, value, ..., NULL */, int with_tables);
void rig_close(rig *r);
int64_t rig_int(const rig *r, const char *sql); /* the first column of the first row, by a connection of its own */
void rig_sql(const rig *r, const char *sql);

/* Waits until fn(arg) is not 0, at most 60 s. */
int wait_until(int (*fn)(void *arg), void *arg);
#define WAIT_FOR(fn, arg) ck_assert_msg(wait_until(fn, arg), "waited too long for " #fn)

/* Called before each xo_run: a status other than XONCE_OK is returned instead of running. NULL: none. */
extern xonce_status (*run_hook)(const xo_item *items, size_t n);

/* Log lines of "consumer" and "source" that contain text, since log_reset(). */
void log_reset(void);
int log_count(const char *text);

/* ---- broker ---- */
typedef struct {
    char id[32], topic[32], lane[16];
    int seq;
    size_t body;             /* bytes, 0 = a short text */
    int deliveries, acked;
    int64_t ready_at;        /* monotonic; while it is out: when it comes back */
    unsigned long handle;    /* of the last hand-out */
    int out;
} stock;
typedef struct {
    xonce_source base;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    stock *all;
    size_t n, cap;
    int64_t invisible;       /* 0 = for ever; longer when all has not been acknowledged after 10 s of waiting: a slow machine must get through */
    int64_t waited_from;     /* broker_is_done was asked first, 0 = not yet */
    int lanes;               /* hold back a lane while earlier messages of it are out */
    int duplicates;          /* percent of hand-outs that come again at once */
    int lose_acks;           /* percent */
    int deaf;                /* nack is ignored, as over HTTP */
    unsigned long next_handle;
    size_t out_now, out_max, bytes_now, bytes_max, acks, nacks, given_back_unseen, polls, late_polls;
    int stopped, woken, started;
    xonce_status fail;       /* of polls */
    int fail_again;
    int empty;               /* for caught_up */
    size_t looks;            /* so often the consumer's maintenance has asked that: once a second */
    unsigned seed;
} broker;
void broker_init(broker *b);
void broker_add(broker *b, const char *topic, int n, int lanes, size_t body); /* ids m0, m1...; lanes 0: none */
void broker_free(broker *b);
size_t broker_get(broker *b, const size_t *what);    /* one of its numbers, under its lock */
void broker_invisible(broker *b, int64_t ms);         /* from now on */
int broker_is_done(void *broker);  /* all acknowledged */
void broker_seen_again(broker *b); /* until the maintenance has come by two more times */
#endif
