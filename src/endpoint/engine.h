/* The queues behind the endpoint: topics, groups and what was handed out, in memory, with everything accepted or acknowledged in SQLite.
 *
 * One lock guards it all. A writer thread commits what has gathered in one transaction and then answers; a clock thread fires the timers. What is
 * in memory follows the database, never the other way round: a message is visible once its row is committed, done once its acknowledge is. */
#ifndef XO_ENGINE_H
#define XO_ENGINE_H
#include "base/clock.h"
#include "base/mem.h"
#include "base/series.h"
#include "endpoint/faults.h"
#include "endpoint/list.h"
#include "endpoint/map.h"
#include "endpoint/timers.h"
#include <pthread.h>
#include <stdatomic.h>

enum {
    XO_QUEUES = 8,           /* of a topic */
    XO_POLL_MAX = 16,        /* messages of one answer */
    XO_HANDOUTS_MAX = 288,   /* of one message to one group */
    XO_LOG_CHUNK = 1024,     /* entries */
    XO_HALF_EVERY_MS = 10000, /* a half message is offered again after that, and its handle is good for that long */
    XO_NAME_MAX = 255
};
#define XO_HALF_AGE_MS (INT64_C(24) * 3600 * 1000)
#define XO_BROKER "xonce"

typedef struct xo_engine xo_engine;
typedef struct xo_topic xo_topic;
typedef struct xo_group xo_group;
typedef struct xo_storage xo_storage;

typedef struct {
    const char *data, *instance;           /* borrowed for the engine's life */
    int64_t redeliver_ms, redeliver_ordered_ms;
    int strict, sync;                      /* sync: fsync each commit */
    const xo_faults *faults;               /* change with the lock held, but for clock_skew_ms, which the engine copies */
} xo_engine_options;

/* Something to write. run: on the writer's thread inside a transaction, without the lock. done: after COMMIT (ok) or when it failed,
   with the lock held, in order; it owns the op. */
typedef struct xo_op {
    struct xo_op *next;
    int (*run)(struct xo_op *op, xo_storage *s); /* 0 or -1 */
    void (*done)(struct xo_op *op, int ok);
} xo_op;

/* Who waits for an op. */
typedef struct xo_wait {
    void (*wake)(struct xo_wait *w, int ok); /* with the lock held */
} xo_wait;

typedef enum { XO_KIND_ANY, XO_KIND_ORDERED, XO_KIND_TIMED, XO_KIND_TRANSACTION } xo_kind;

/* A visible message. Bodies stay in the database. */
typedef struct {
    int64_t n; /* its row */
    int64_t offset, born, at /* visible since */;
    uint64_t lane;
    unsigned char id[16];
    const struct xo_tag *tag; /* NULL without */
    int32_t queue;
} xo_entry;

typedef struct xo_tag {
    xo_mapped by_text; /* in the topic */
    char text[];
} xo_tag;

/* What only the writer thread touches; `kept` is the copy to go back to when a transaction fails. */
typedef struct {
    int64_t next_pos, offsets[XO_QUEUES];
} xo_counters;

struct xo_topic {
    xo_engine *engine;
    xo_link link, touched;
    int64_t id;
    char *name;
    xo_kind kind;
    xo_entry **chunks; /* of XO_LOG_CHUNK entries, the first begins at chunk_pos */
    size_t nchunks, cap_chunks;
    int64_t chunk_pos, base_pos, next_pos; /* base: first kept; next: one past the last */
    int64_t pending;                       /* messages on their way into the log: room for them is reserved */
    xo_map tags;
    xo_link groups;
    xo_link halves, due_halves, half_polls, timed;
    xo_counters writing, kept;
    int64_t saved; /* writer's: the transaction that wrote its row, 0 = none */
    int pruning;
};

/* Messages of a sharding key (or, without one, of a queue), of one group: in order, and only while none is out. */
typedef struct {
    xo_mapped by_key;
    xo_link eligible;    /* in the group's list when something is parked and nothing is out */
    xo_link parked;      /* nodes, by position */
    size_t out, nodes;
} xo_lane;

/* Parked messages with one tag, of one group. */
typedef struct {
    xo_mapped by_tag;
    const xo_tag *tag;
    xo_link parked;
} xo_tagged;

typedef enum { XO_PARKED, XO_OUT, XO_SETTLING } xo_node_state;
/* A message that one group has met and not yet done. */
typedef struct {
    xo_group *group;
    int64_t pos, first; /* first: FirstConsumeTime, 0 = never handed out */
    int times;
    xo_node_state state;
    xo_link in_all, in_tag, in_lane; /* while parked */
    xo_link twin;                    /* in the group's list of duplicates to make */
    uint64_t twin_not_for;           /* the poll that has it already */
    xo_link handles;
    xo_link unsaved;
    xo_lane *lane;
    xo_tagged *tagged;
} xo_node;

struct xo_group {
    xo_topic *topic;
    xo_link link;
    int64_t id;
    char *name;
    int64_t floor, floor_saved, cursor; /* floor: first not done; cursor: first never looked at */
    unsigned char *state;               /* of positions from state_pos: 0 never looked at, 1 a node, 2 done */
    int64_t state_pos;
    size_t cap_state;
    xo_link all;      /* parked nodes */
    size_t parked, out;
    xo_map tagged, lanes;
    xo_link eligible, twins, unsaved, polls;
    int64_t saved; /* writer's */
};

typedef struct {
    xo_topic *topic;
    xo_link link, due; /* all of the topic; those to be offered */
    xo_timer timer;
    int64_t n, born, deliver_at, first;
    int times;
    uint64_t lane;
    unsigned char id[16];
    const xo_tag *tag;
    xo_link handles;
    /* while it is settled: */
    xo_op op;
    int settling, commit;
    xo_wait *wait;
    struct xo_timed *timed; /* what it becomes when its time has not come */
    xo_entry entry;
    int64_t pos;
} xo_half;

typedef struct xo_timed {
    xo_topic *topic;
    xo_link link;
    xo_timer timer;
    int64_t deliver_at, pos;
    xo_entry entry;
    xo_op op;
} xo_timed;

typedef struct {
    xo_mapped by_text;
    xo_timer timer;
    xo_link of;        /* in its node's or half's list, or none when that is done already */
    xo_topic *topic;
    xo_group *group;   /* NULL: of a half message */
    xo_node *node;
    xo_half *half;
    char text[];
} xo_handle;

/* One message of an answer. */
typedef struct {
    int64_t n, born, first, next;
    int times;
    unsigned char id[16];
    char *handle; /* the answer's; freed by xo_poll_clear */
} xo_pick;

typedef struct xo_poll {
    /* the caller's: */
    xo_topic *topic;
    xo_group *group;             /* NULL: half messages */
    const xo_tag **tags;         /* NULL: all */
    size_t ntags;
    int max, ordered;
    int (*gone)(struct xo_poll *); /* 1: nobody waits for the answer any more */
    void (*wake)(struct xo_poll *); /* answered; called with the lock held, only after xo_poll_begin returned 0 */
    /* the engine's: */
    uint64_t serial;
    xo_link link;
    xo_timer timer;
    xo_pick picks[XO_POLL_MAX];
    int npicks;
} xo_poll;

typedef struct {
    int64_t accepted, handed_out, redelivered, duplicated, acked, acks_lost, half_committed, half_rolled_back, commits, dead_peers, dead_letters;
} xo_engine_counts;

struct xo_engine {
    pthread_mutex_t lock;
    pthread_cond_t tick, work, written;
    xo_engine_options opt;
    xo_storage *storage;
    xo_link topics, touched;
    xo_map handles;
    xo_timers timers;
    xo_timer second, prune, sample;
    xo_op *ops, **ops_tail;
    size_t nops;
    int stopping, draining, writing;
    int have_clock, have_writer;
    pthread_t clock, writer;
    int64_t next_topic, next_group, next_message /* writer's */;
    uint64_t serial;
    _Atomic int64_t skew_ms;
    unsigned char id_host[4], id_salt[4];
    int64_t id_month, id_seq;
    xo_engine_counts counts;
    xo_series series;
    xo_engine_counts points[XO_POINTS];
};

/* ---- engine.c ---- */
xonce_status xo_engine_open(xo_engine **out, const xo_engine_options *o, const unsigned char host[4]);
/* Answers all waiting polls, also those still to come, at once. */
void xo_engine_drain(xo_engine *e);
void xo_engine_close(xo_engine *e); /* writes what is left; NULL is fine */
int64_t xo_engine_now(const xo_engine *e); /* the endpoint's wall clock: with its skew */
void xo_engine_lock(xo_engine *e);
void xo_engine_unlock(xo_engine *e);
void xo_engine_timer(xo_engine *e, xo_timer *t, int64_t at, void (*fire)(xo_timer *));
void xo_engine_serve(xo_engine *e); /* gives the waiting polls of touched topics what there is */

/* ---- writer.c ---- */
void *xo_writer_main(void *engine);
void xo_engine_write(xo_engine *e, xo_op *op);

/* ---- topic.c: all with the lock held ---- */
xo_topic *xo_topic_find(xo_engine *e, const char *name);
xo_topic *xo_topic_declare(xo_engine *e, const char *name, xo_kind kind); /* makes it, or changes its kind; NULL: no memory */
xo_topic *xo_topic_new(xo_engine *e, int64_t id, const char *name, xo_kind kind); /* when loading */
xo_group *xo_group_get(xo_topic *t, const char *name);                   /* makes it; NULL: no memory */
xo_group *xo_group_new(xo_topic *t, int64_t id, const char *name, int64_t floor);
const xo_tag *xo_tag_get(xo_topic *t, const char *text);
xo_entry *xo_topic_entry(const xo_topic *t, int64_t pos);
int xo_topic_reserve(xo_topic *t);                       /* room in the log for one more; 0 or -1 */
void xo_topic_unreserve(xo_topic *t);
void xo_topic_append(xo_topic *t, const xo_entry *entry, int64_t pos); /* uses up a reservation */
void xo_topic_forget(xo_topic *t, int64_t base);         /* positions below base are gone */
void xo_topic_touch(xo_topic *t);
void xo_topic_free(xo_topic *t);

/* ---- group.c: what is parked ---- */
int xo_group_reach(xo_group *g, int64_t end); /* room for the states below end; 0 or -1 */
unsigned char xo_group_state(const xo_group *g, int64_t pos);
void xo_group_mark(xo_group *g, int64_t pos, int done); /* within what was reached */
void xo_group_settle_floor(xo_group *g);
/* How many are not done, those handed out with them. Looks at up to *budget positions and takes them off; 1: queues[] tells how many of each queue,
   0: there were too many to look at, and it is a sum. */
int xo_group_lag(const xo_group *g, int64_t *budget, int64_t *lag, int64_t queues[XO_QUEUES]);
void xo_group_forget(xo_group *g, int64_t base);
xo_node *xo_node_new(xo_group *g, int64_t pos); /* parked nowhere yet; NULL: no memory */
void xo_node_park(xo_node *n, int again);       /* again: it comes back, before those never handed out */
void xo_node_take(xo_node *n);                  /* out of the parked lists, counted as out in its lane */
void xo_node_back(xo_node *n);                  /* no longer out: parked again, or dropped when its row is gone */
void xo_node_finish(xo_node *n);                /* done: frees it and moves the floor */
void xo_node_drop(xo_node *n);                  /* frees it with its handles left good but empty */
xo_node *xo_group_next(xo_group *g, const xo_poll *p);        /* the next parked node for an unordered poll, or NULL */
size_t xo_group_window(xo_group *g, size_t n);                /* looks at n more of the log; how many there were */
const xo_tag *xo_node_tag(const xo_node *n);
int xo_poll_wants(const xo_poll *p, const xo_tag *tag);
void xo_group_clear(xo_group *g); /* frees what it holds */

/* ---- deliver.c: handing out and acknowledging ---- */
/* 1: p is answered (perhaps with nothing); 0: it waits, at most wait_ms, and wake will be called. */
int xo_poll_begin(xo_poll *p, int64_t wait_ms);
void xo_poll_serve(xo_topic *t);
void xo_poll_cancel(xo_poll *p); /* no longer waiting; fine when it does not */
void xo_poll_clear(xo_poll *p);  /* frees the picks' handles */
/* A new handle, good for that long, and its pick in p's answer when p is given. NULL: no memory. */
xo_handle *xo_handle_new(xo_topic *t, const unsigned char id[16], int32_t queue, int64_t offset, int64_t good_ms, void (*expire)(xo_timer *));
int xo_pick_add(xo_poll *p, const xo_handle *h); /* text and ids; the caller fills in the rest of p->picks[p->npicks - 1] */
void xo_handle_free(xo_handle *h);
void xo_node_orphan(xo_node *n); /* its handles stay good and mean nothing any more */
typedef enum { XO_HANDLE_GOOD, XO_HANDLE_STALE, XO_HANDLE_INVALID } xo_handle_state;
/* Finds a handle for an acknowledge by group (of half messages: NULL). */
xo_handle_state xo_handle_find(xo_topic *t, const xo_group *g, const char *text, xo_handle **out);
/* Acknowledges n handles; states[i] says what each was. w is woken when the good ones are durable; 0: there were none, or no memory (-1), and w is not woken. */
int xo_topic_acknowledge(xo_group *g, char *const *handles, size_t n, xo_handle_state *states, xo_wait *w);

/* ---- send.c ---- */
typedef struct {
    xo_op op;
    xo_topic *topic;
    xo_wait *wait;
    char *tag, *properties, *body; /* borrowed until done; tag, properties NULL when absent */
    size_t body_len;
    int64_t deliver_at;            /* 0: at once */
    int check_s;                   /* of a half message, else 0 */
    uint64_t shard;                /* hash of the sharding key; 0 without */
    unsigned char id[16];
    char *handle;                  /* of a half message: the answer's */
    /* the writer's: */
    int64_t pos;
    xo_half *half;
    xo_timed *timed;
    xo_entry entry;
} xo_send;
int xo_send_fits(const xo_send *s, xo_kind kind); /* a topic of a declared kind takes no message of another special kind, as in production */
int xo_send_begin(xo_send *s);   /* w is woken when it is durable; -1: no memory */
xo_timed *xo_timed_new(xo_topic *t, int64_t deliver_at);
void xo_timed_arm(xo_timed *d);
/* Assigns queue, offset and position, in the writer. */
void xo_log_assign(xo_topic *t, xo_entry *e, int64_t *pos);
void xo_message_id(xo_engine *e, unsigned char id[16]);

/* ---- half.c ---- */
xo_half *xo_half_new(xo_topic *t);
void xo_half_add(xo_half *h, int64_t due_in_ms);
int xo_half_handle(xo_half *h, int64_t good_ms, char **text);
void xo_half_pick(xo_poll *p);
/* As xo_topic_acknowledge, for one handle: 1 begun, 0 not good (*state), -1 no memory. */
int xo_half_settle(xo_topic *t, const char *handle, int commit, xo_handle_state *state, xo_wait *w);
void xo_half_free(xo_half *h);

/* ---- keep.c: what is written now and then ---- */
void xo_keep_start(xo_engine *e);
int xo_group_save(xo_group *g); /* counts and floor; 0 or -1 */
#endif
