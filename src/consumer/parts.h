/* The consumer's inside: what its threads share, and who does which part. One mutex guards it all; it is never held while the source, the store,
   a handler or the log is called. */
#ifndef XO_CONSUMER_PARTS_H
#define XO_CONSUMER_PARTS_H
#include "consumer/consumer.h"
#include "consumer/metrics.h"
#include "source/source.h"
#include "store/store.h"
#include <pthread.h>

typedef struct {
    xonce_message *head, *tail; /* by ->next */
    size_t n;
} xo_list;
void xo_list_push(xo_list *l, xonce_message *m);
void xo_list_append(xo_list *l, xo_list *more);  /* more is empty after */
void xo_list_prepend(xo_list *l, xo_list *more); /* likewise */
xonce_message *xo_list_pop(xo_list *l);          /* NULL when empty */
size_t xo_list_bytes(const xo_list *l);          /* of the bodies */

typedef enum { XO_LANE_READY, XO_LANE_BUSY, XO_LANE_SUSPENDED } xo_lane_state;
/* Messages that must stay in order. It exists while it has messages or one of its messages runs, so there are never more lanes than messages in memory. */
typedef struct xo_lane {
    char *name;
    xo_list waiting;
    xo_list running;             /* lent to a worker */
    xo_lane_state state;
    struct xo_lane *chain;       /* hash chain */
    struct xo_lane *prev, *next; /* in its subscription's ready or suspended queue */
    int64_t resume_at;           /* of a suspended one */
    int64_t pause;               /* the last suspension; 0 after progress */
    const xonce_message *failed; /* the head that failed here, `runs` times */
    int runs;
} xo_lane;
typedef struct {
    xo_lane *head, *tail;
} xo_lanes;

enum { XO_SIZE_STEPS = 11 };     /* up to 1, 2, 4 ... 1024 messages */
/* How large a subscription's batches may be now, and what makes it so. Times of workers in microseconds, monotonic. */
typedef struct {
    size_t max, limit;
    int64_t each_ns[XO_SIZE_STEPS], learnt_us[XO_SIZE_STEPS]; /* what a message took in batches of a step; 0: not known */
} xo_size;
/* How many workers run at once when there is work for all: measured, one step more or fewer tried now and then. */
typedef struct {
    size_t most, home, at_once;  /* at_once differs from home while another number is tried */
    size_t skip, batches;        /* the measurement that is on */
    uint64_t done;
    int64_t since_us, rate, try_us, wait_us;
    int up, wins, extra;         /* try more next; that number was better once; others began besides, since these take long */
} xo_crew;

typedef enum { XO_ONE, XO_MANY, XO_ORDERED } xo_sub_kind;
typedef struct {
    char *topic, *tags;
    xo_sub_kind kind;
    xonce_handler one;
    xonce_batch_handler many;
    void *arg;
    size_t place;                /* its database */
    xonce_route_fn route;        /* of a topic that goes to several: each has a subscription of its own, one behind the other; in the first of them */
    void *route_arg;
    size_t nroutes;              /* so many; 0 in all but the first */
    int held_up;                 /* the source asks for no more of the topic; in the first of them */
    xonce_claim_mode claim;
    int claim_set;               /* by xonce_on_claim; else the config says it */
    int in_lanes;                /* ordered, or claimed by offset */
    xo_list waiting;             /* without lanes */
    xo_lane **table;             /* with: XO_LANE_BUCKETS chains */
    xo_lanes ready, suspended;
    int64_t next_resume;         /* no suspended lane is due before */
    size_t batch_most;           /* fewer than batch.max; 0: that */
    xo_size size;
    size_t running;              /* workers in a transaction of it */
    int64_t taken_us;            /* when a batch of it was taken last */
    xo_outcomes seen;
} xo_sub;
enum { XO_LANE_BUCKETS = 4096 };

/* One of the consumer's databases; the first is that of xonce_consumer_new. Guarded by the mutex, but for the store. */
typedef struct {
    xonce_store *store;
    int down, probing;           /* it cannot be used; one worker tries */
    int64_t retry_at, pause;
    int put_off_streak;          /* runs in a row of which it took nothing */
    char error[512];             /* why it is down */
    int64_t unreached_until;     /* monotonic: positions could not be read or written there, and are not tried before; the service thread's */
    int copy_told;               /* that copies cannot be written was logged; likewise */
    int64_t down_since;          /* monotonic */
    size_t running, in_work;     /* workers in a transaction there, and their messages */
    int64_t moved;               /* monotonic: when the last of them ended, or the first began */
    int64_t usual_ms;            /* what transactions took lately, the long ones */
    size_t held, held_bytes;     /* of its messages, here */
    int full, told;              /* it is down and has its part of the room; that was logged */
    size_t put_off;              /* messages given back for that, since they were last asked for again */
    xo_prune_seen prune_seen;
} xo_place;

typedef enum { XO_FATE_ACK, XO_FATE_NACK, XO_FATE_HOLD } xo_fate;
/* What a worker's thread is at: one, however many batches it holds. Guarded by the mutex. */
typedef struct {
    xo_sub *sub;                 /* of the batch that it took last; NULL: none */
    size_t n;
    int64_t began_us;
    int watches;                 /* it waits until watch_at for all that wait */
} xo_pace;
typedef struct xo_worker {
    xonce_consumer *c;
    pthread_t thread;
    void **states;               /* of the user's hooks, one per database */
    xo_spec *spec;               /* of this batch */
    xo_ahead ahead;
    struct xo_worker *later;     /* no worker, but room for the batch after this one */
    xo_sub *sub;
    size_t room;                 /* so many messages at most */
    size_t only;                 /* takes of the database of this number alone, from 1; 0: of any */
    xo_item *items;
    xonce_message **messages;    /* the same messages, ours to settle */
    xo_fate *fates;
    xo_lane **lanes;             /* with lanes: the lane of each item */
    size_t n;
    int probing;                 /* this run finds out whether the database is back */
    xo_pace pace;
    xo_times times;              /* of the run that is on; the thread's own */
    int64_t since, expires;      /* of the run that is on, monotonic; since 0 = none. Guarded by the mutex */
} xo_worker;
xonce_status xo_worker_make(xonce_consumer *c, xo_worker *w);
void xo_worker_free(xo_worker *w);

/* Lines about single messages (tell.c): so many a second of each kind. */
typedef enum { XO_TELL_DUPLICATE, XO_TELL_RETRIED, XO_TELL_PUT_OFF, XO_TELL_REJECTED, XO_TELL_APPLIED, XO_TELL_KINDS } xo_tell_kind;
typedef struct {
    int64_t at, credit;          /* monotonic ms; thousandths of a line */
    uint64_t hidden;             /* left out since `since`, and not told yet */
    int64_t since;
} xo_telling;

typedef enum { XO_NEW, XO_RUNNING, XO_ENDED } xo_phase;
typedef struct {
    int64_t keep, every, window, rate;
} xo_prune_settings;
void xo_prune_settings_of(const xonce_config *cfg, xo_prune_settings *out);
struct xonce_consumer {
    xonce_store *store;          /* the first of the places */
    xonce_source *source;
    xo_sub *subs;
    size_t nsubs;
    xo_place *places;
    size_t nplaces;
    /* settings; those of the second line may change while it runs, and are guarded by the mutex then */
    size_t nworkers;             /* threads */
    size_t workers_max, batch_max, buffer_messages, buffer_size;
    int64_t linger;
    xo_prune_settings prune;
    int64_t suspend, handler_timeout, idle;
    int attempts, no_dedup, unsafe_keep;
    xonce_config *cfg;           /* what is in force; guarded by the mutex */
    xonce_claim_mode claim;

    int stop_asked;              /* atomic; also what spec.stopping points to */
    int stop_pipe[2];            /* a byte wakes the control thread */

    pthread_mutex_t lock;
    pthread_cond_t work;         /* workers: something may be taken */
    pthread_cond_t room;         /* dispatcher: room in the buffer, or the database is back */
    pthread_cond_t tick;         /* maintenance: stop */
    pthread_cond_t ended;        /* who waits for the end */
    /* guarded by lock */
    xo_phase phase;
    int stopping, joined;
    int64_t stop_deadline;       /* monotonic, as wished by xonce_consumer_stop */
    xo_error failure;            /* why it cannot go on */
    size_t waiting, in_flight, in_flight_bytes; /* waiting: in queues and lanes */
    size_t next_sub;             /* fairness */
    xo_crew crew;
    size_t running;              /* workers in a transaction */
    int64_t watch_at;            /* monotonic ms: some worker wakes then; INT64_MAX: none */
    int full;                    /* the dispatcher waits for room: nobody should wait for a batch to fill */
    size_t down;                 /* so many of the places are */
    int64_t put_off_until;       /* monotonic: by then what was put off last may have come again */
    int source_down;
    int64_t last_message, tx_lost_at, warned_at; /* monotonic, 0 = never */
    uint64_t polled, fresh, duplicate, rejected, retried, replayed, pruned;
    xo_metrics metrics;
    void *watcher;               /* what watches it, and must end first */
    void (*watcher_end)(void *watcher);

    xo_telling telling[XO_TELL_KINDS];

    xo_worker *workers;
    pthread_t control, dispatcher, maintenance;
};

int xo_consumer_stopping(const xonce_consumer *c);  /* without the lock */
/* The consumer cannot go on: keeps the first error and asks to stop. */
void xo_consumer_die(xonce_consumer *c, const xo_error *why);
/* An exponential pause with jitter: from `first`, doubled, at most 30 s. */
int64_t xo_next_pause(int64_t last, int64_t first);
enum { XO_PAUSE_MAX = 30000 };

/* places.c: several databases. */
xonce_status xo_place_add(xonce_consumer *c, xonce_store *store, size_t *at);
int xo_place_rests(const xo_place *p, int64_t *look_again); /* nothing may be begun there now: it is down, and it is not time or somebody else tries. Lock held */
int xo_all_down(const xonce_consumer *c, int64_t *retry_at); /* and when the first of them is tried again. Lock held */
int xo_one_writer(const xonce_consumer *c);
/* The hooks worker_start and worker_end of a thread, in each database; *n is how many were started. */
xonce_status xo_states_start(const xonce_consumer *c, void **states, size_t *n);
void xo_states_end(const xonce_consumer *c, void **states, size_t n);
xo_sub *xo_sub_of(xonce_consumer *c, const xonce_message *m); /* by topic and place; NULL: nobody subscribed to it */
void xo_route(xonce_consumer *c, xonce_message *m);           /* sets its place. Lock not held */
const xo_position_ops *xo_place_positions(void);              /* self: the consumer. Positions are in the topic's first database, and copied to its others, where they say what is a duplicate and may be pruned */

/* batch.c: queues. Lock held. */
xo_sub *xo_find_sub(xonce_consumer *c, const char *topic);
void xo_enqueue(xonce_consumer *c, xo_sub *s, xonce_message *m); /* takes it */
/* Fills w with a batch if one is due, or returns 0 and says at which monotonic time to look again. Messages whose time is up land in dropped. A worker that holds no batch any more calls it with
   look_again, and the batch it had counts as ended; one that is still at its batch and would take the next one behind it passes NULL. */
size_t xo_take(xonce_consumer *c, xo_worker *w, xo_list *dropped, int64_t *look_again);
void xo_pace_end(xonce_consumer *c, xo_worker *w); /* it takes no more */
/* Wakes a worker if there is something for it to do, or to watch. */
void xo_call_worker(xonce_consumer *c);
void xo_empty_queues(xonce_consumer *c, xo_list *out);
size_t xo_batch_max(const xonce_consumer *c, const xo_sub *s);
/* batch.c: without the lock. Both empty the list and end its being counted as in flight. */
void xo_give_back(xonce_consumer *c, xo_list *l, int64_t delay_ms);
void xo_acknowledge(xonce_consumer *c, xo_list *l);

/* crowd.c: databases that are down, or answer nothing, beside others that do. Lock held, but for the last one. */
enum { XO_STUCK_MS = 1000 };
int xo_place_hangs(const xonce_consumer *c, const xo_place *p, int64_t ms);      /* workers are at it, and none has ended for so long */
size_t xo_work_left(const xonce_consumer *c, const xo_pace *own, const xo_place *p); /* so many of its messages may be begun now by the worker of this pace, whose own do not count */
size_t xo_stuck(const xonce_consumer *c);                                        /* workers that such databases, or down ones, have now */
int xo_crowds(const xonce_consumer *c, const xo_sub *s, const xonce_message *m); /* is m, which has just come, to be given back? */
void xo_count_put_off(xonce_consumer *c, xo_place *p, xonce_message *m);         /* it is */
void xo_place_has(xonce_consumer *c, const xo_sub *s, const xonce_message *m);   /* it is not: one more of its database's is here */
void xo_place_lost(xo_place *p, const xo_list *l);                               /* these leave */
void xo_crowd_look(xonce_consumer *c);                                           /* the dispatcher's, again and again */

/* lane.c. Lock held. */
int xo_lane_add(xonce_consumer *c, xo_sub *s, xonce_message *m); /* -1: no memory */
size_t xo_lane_take(xonce_consumer *c, xo_sub *s, xo_worker *w, size_t most, xo_list *dropped, int64_t *look_again);
size_t xo_lane_ready(const xo_sub *s, size_t enough); /* messages that may be taken; need not be counted beyond enough */
/* After a run: what is not acknowledged stays at the head of its lane, but for a queue that was taken over, whose messages are given back. down: the database was at fault, not the message. */
void xo_lane_return(xonce_consumer *c, xo_worker *w, xo_list *acks, xo_list *nacks, int down);
void xo_lanes_empty(xonce_consumer *c, xo_sub *s, xo_list *out);

/* size.c. Lock held. */
void xo_size_init(xo_size *z, size_t max, int at_once /* full batches from the start */);
void xo_size_ran(xo_size *z, size_t n, int64_t took_us, int64_t now_us);
size_t xo_size_within(const xo_size *z, int64_t left_ms);             /* most messages, when so much of their time is left */
int64_t xo_size_patience_us(const xo_size *z, size_t running);        /* how long a few messages wait for one of so many workers before another begins */
void xo_crew_init(xo_crew *w, size_t most, int one_writer);
void xo_crew_limit(xo_crew *w, size_t most, int one_writer);          /* another number of them from now on */
void xo_size_limit(xo_size *z, size_t max, int at_once);
void xo_crew_took(xo_crew *w, size_t running, int more, int64_t now_us); /* a batch was taken, or none was there; so many run now, and there is work for more */
void xo_crew_ran(xo_crew *w, size_t n, int64_t now_us);

/* tell.c. Lock not held. After a run, while the messages are the worker's still. fine: the database could be used. */
void xo_tell(xonce_consumer *c, const xonce_store *s, const xo_item *items, size_t n, int fine);
void xo_tell_rest(xonce_consumer *c, int all); /* how many were left out, now and then, or all that were */

/* metrics.c. Lock held. */
void xo_count_run(xonce_consumer *c, const xo_worker *w);                      /* a batch, after its run */
void xo_count_retry(xonce_consumer *c, xo_sub *s, const xo_item *item);        /* a message that was put off */
void xo_count_prune(xo_prune_seen *p, xonce_status st, int64_t deleted, int64_t took_ms); /* right after the run: with its error */
int xo_is_healthy(const xonce_consumer *c, const xo_source_counts *s);

/* threads */
void *xo_worker_main(void *worker);
void *xo_dispatcher_main(void *consumer);
void *xo_maintenance_main(void *consumer);
xonce_status xo_maintenance_check(const xonce_consumer *c, const xo_prune_settings *p); /* is prune.keep long enough? */
void xo_spec_of(const xonce_consumer *c, const xo_sub *s, void *worker, xo_spec *out);
/* Warns at most once a minute that a run is longer than its messages' time. Lock not held. */
void xo_warn_slow(xonce_consumer *c, const char *topic, int64_t ran_ms, int64_t over_ms);
#endif
