/* The status server's inside.
 *
 * Threads: libmicrohttpd's one answers; the sampler takes a point of each consumer every XO_STEP_MS; the prober asks the databases, which may take long. One mutex guards what they share; it is not held while a
 * database is asked or a consumer viewed. */
#ifndef XO_STATUS_INSIDE_H
#define XO_STATUS_INSIDE_H
#include "base/buf.h"
#include "base/mem.h"
#include "base/series.h"
#include "consumer/consumer.h"
#include "consumer/metrics.h"
#include "status/status.h"
#include "store/figures.h"
#include <microhttpd.h>
#include <pthread.h>

enum { XO_REJECTED_SHOWN = 20, XO_RECENT_STEPS = 60 /* five minutes */ };

typedef struct {
    int64_t at;
    xo_outcomes seen;
    uint64_t in_flight;
    int64_t lag;                 /* -1: not known */
    xo_histogram times[XO_TIME_KINDS];
} xo_point;

typedef struct {
    char *id, *topic, *reason;
    int64_t attempts, at;
    int replay;
} xo_rejected;
/* What was last heard of a database. Times: ms since the epoch, 0 never. */
typedef struct {
    int asked, failed;           /* ever; the last time */
    int64_t checked, figured;
    int64_t figures_due;         /* monotonic; the prober's */
    int64_t asking;              /* monotonic: since when an answer is waited for; 0 */
    char error[512];
    int64_t watermark;
    xo_figures figures;
    xo_rejected rejected[XO_REJECTED_SHOWN];
    size_t nrejected;
    uint64_t rejected_then, runs_then, batches_then; /* the consumer's counts when these were asked for */
    xonce_store *own;            /* the prober's, with a connection that nobody else waits for */
} xo_heard;

typedef struct xo_watched {
    xonce_consumer *c;
    char *name;
    xo_series series;
    xo_point points[XO_POINTS];
    xo_heard *heard;             /* one per store, made when it has started */
    size_t nheard;
    char **facts;                /* section, key, value, section... */
    size_t nfacts;
    struct xo_watched *next;
} xo_watched;

enum { XO_CONNECTIONS = 64 };
typedef struct {
    int fd;                      /* -1: free */
    int answered;
    int64_t since;               /* monotonic */
} xo_client;

struct xo_status {
    pthread_mutex_t lock;
    pthread_cond_t tick;         /* sampler and prober: the end */
    int stopping, threads;       /* threads: how many of the two run */
    int leavable;                /* the prober waits for a database, and needs nothing that is not its own */
    int gone, left;              /* it has ended; it was left behind, and frees all this */
    pthread_t sampler, prober;
    struct MHD_Daemon *daemon;
    int fd;
    char *address, *policy;
    int64_t started;
    xo_watched *list;            /* grows only */
    xo_client clients[XO_CONNECTIONS];
};

/* server.c: the first one (w NULL), or the one behind w; NULL: there is none. */
xo_watched *xo_watched_next(xo_status *s, const xo_watched *w);

/* server.c: the prober's last step; *s may be gone after it. */
void xo_prober_ends(xo_status *s);

/* sample.c */
void *xo_sampler_main(void *status);
int xo_status_wait(xo_status *s, int64_t then); /* 0: it ends */
const xo_point *xo_point_at(const xo_watched *w, size_t i); /* 0: the oldest. Lock held */
/* What a queue is behind; -1 when that is not known. *all: of all queues, -1 when there are none or none is known. */
int64_t xo_queue_lag(const xo_source_queue *q);
int64_t xo_lag_of(const xo_source_queue *q, size_t n);

/* probe.c */
void *xo_prober_main(void *status);
/* Of one store as seen now. why ("" when it can be used) is filled in. Lock held. */
int xo_store_is_ok(const xo_watched *w, const xo_view_of *v, size_t store, char why[XO_REASON_SIZE]);
void xo_heard_free(xo_heard *h, size_t n);

/* health.c: 1 when it is; else the reasons are appended, one a line. */
int xo_status_live(xo_status *s, xo_buf *reasons);
int xo_status_ready(xo_status *s, xo_buf *reasons);

/* shot.c: all consumers at one moment, for a document. */
typedef struct {
    const xo_watched *w;
    xo_view_of v;
    xo_source_queue *queues;
    size_t nqueues;
    xonce_config *settings;
} xo_shot;
typedef struct {
    xo_shot *list;
    size_t n;
} xo_shots;
xonce_status xo_shots_take(xo_status *s, xo_shots *out);
void xo_shots_free(xo_shots *s);

/* facts.c */
void xo_facts_free(xo_watched *w);
void xo_facts_json(xo_buf *b, const xo_shot *s); /* of which nothing was told: what the consumer itself knows. Lock held */

/* Documents. XONCE_OK or why they cannot be made. */
xonce_status xo_status_prometheus(xo_status *s, xo_buf *out);
xonce_status xo_status_json(xo_status *s, xo_buf *out);

/* process.c: this process, as far as the system tells; -1 where it does not. */
typedef struct {
    double cpu_seconds, started_seconds;
    int64_t resident, virtual_size, open_fds, max_fds, threads;
} xo_process;
void xo_process_look(xo_process *out);

/* clients.c: connections, so that slow ones can be ended. */
enum MHD_Result xo_client_welcome(void *status, const struct sockaddr *from, socklen_t size);
void xo_client_notify(void *status, struct MHD_Connection *connection, void **context, enum MHD_ConnectionNotificationCode what);
void xo_clients_sweep(xo_status *s);
void xo_clients_end(xo_status *s);
#endif
