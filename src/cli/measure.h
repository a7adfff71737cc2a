/* Measuring: how many messages a second a store takes, one way of working at a time; the table that this needs; and what to advise from the figures. */
#ifndef XO_CLI_MEASURE_H
#define XO_CLI_MEASURE_H
#include "store/store.h"

enum { XO_MEASURE_BATCH_MAX = 1024, XO_MEASURE_CONNECTIONS_MAX = 64, XO_MEASURE_BODY = 200, XO_MEASURE_BODY_MAX = 10000 };

typedef enum {
    XO_LOAD_BARE,   /* one INSERT a message that commits by itself, without anything of ours */
    XO_LOAD_NONE,   /* batches without claims: at least once */
    XO_LOAD_RECORD, /* exactly once, a record a message */
    XO_LOAD_OFFSET  /* exactly once, by the positions of queues: one of each connection's own. The source knows a redelivery by its place, so none gets here */
} xo_load_mode;
const char *xo_load_name(xo_load_mode mode); /* "bare" "none" "record" "offset" */

typedef struct {
    xo_load_mode mode;
    size_t batch;          /* 1 to XO_MEASURE_BATCH_MAX; a bare one has none */
    int connections;       /* each with a thread of its own */
    int duplicates;        /* percent that were delivered before, in an earlier batch */
    int bad;               /* percent that cannot be applied */
    int bad_by_verdict;    /* the handler's verdict rejects those; 0: their statement fails when it gets to the database, and they are put off */
    xonce_handler handler; /* instead of the queued INSERT; NULL: that */
    void *arg;
} xo_load;

typedef struct {
    double per_second;
    double cpu_us;         /* processor time of this process, a message */
} xo_measured;

typedef struct {
    xonce_store *s;
    char table[64];
    char insert[128];      /* with the id and the body as $1 and $2 */
    char *body;
    size_t body_len;
    int stop;              /* set to 1 (atomically), also by a signal's handler: no new batch is begun */
} xo_measure;

/* table: for the messages. s stays the caller's, and must have a connection for each of a load's and one more. */
xonce_status xo_measure_init(xo_measure *m, xonce_store *s, const char *table, size_t body_len);
void xo_measure_free(xo_measure *m);
/* Runs one load for so long, connections and statements being warm. XONCE_E_CLOSED: it was stopped. */
xonce_status xo_measure_run(xo_measure *m, const xo_load *load, double seconds, xo_measured *out);
/* Is this one of the messages that cannot be applied? For handlers of the caller's. */
int xo_measure_is_bad(const xonce_message *message);
/* Medians in microseconds: a statement there and back, and a COMMIT, its way included. */
xonce_status xo_measure_ways(xo_measure *m, double *round_trip_us, double *commit_us);

/* ---- measure_tables.c ---- */
/* Fails when a table of that name is there. */
xonce_status xo_measure_create(xo_measure *m);
xonce_status xo_measure_drop(xo_measure *m);
/* Deletes what loads left in the record table under the store's group, in small transactions; gently: with rests between them. *deleted grows meanwhile. */
xonce_status xo_measure_forget(xo_measure *m, int gently, void (*progress)(int64_t deleted), int64_t *deleted);
#define XO_MEASURE_IDS "7F0000014E0942A5" /* how the ids of all its messages begin, so that they are found again by the unique key */

/* ---- measure_advice.c ---- */
typedef struct {
    xo_load load;
    double per_second, min, max; /* the median of the rounds, the least and the most */
} xo_figure;
double xo_measure_median(double *v, size_t n); /* sorts v */
/* What was measured of a load like that, else 0. */
double xo_figure_of(const xo_figure *f, size_t n, xo_load_mode mode, size_t batch, int connections);
typedef struct {
    size_t batch;
    int workers;
    double per_second;
    char why[400];
} xo_advice;
/* The least that comes near the best of the loads with records: fewest connections first, then the smallest batch. */
void xo_measure_advise(const xo_figure *f, size_t n, double round_trip_us, double commit_us, xo_advice *out);
/* Does a COMMIT come back sooner than a disk can answer? */
int xo_measure_suspicious(double round_trip_us, double commit_us);
#endif
