/* The RocketMQ source's inside.
 *
 * Threads: the service thread (heartbeats, routes, membership, starting and stopping queues, positions: whatever may wait for a broker or the database), the I/O thread of remoting (answers to
 * pulls and send-backs: decode, filter, hand over), and the consumer's (poll, ack, nack). One mutex, s->lock, guards all below but what is said otherwise. It is never held while a broker or the database is
 * called, a message decoded or the log written. A queue is freed by the service thread only. */
#ifndef XO_SOURCE_ROCKETMQ_H
#define XO_SOURCE_ROCKETMQ_H
#include "remoting/cluster.h"
#include "remoting/record.h"
#include "remoting/trace.h"
#include "remoting/wirejson.h"
#include "source/rocketmq/filter.h"
#include "source/rocketmq/track.h"
#include <pthread.h>

typedef struct {
    char *topic, *wire;        /* as subscribed; with the namespace */
    xo_filter filter;
    int ordered;
    int by_offset;             /* its messages are claimed by offset */
    int held;                  /* by the consumer: its queues are not read for now */
    int64_t version;           /* subVersion: constant for the life of the subscription */
    int routed;                /* a name server knew it when it was last asked: 1, 0; -1 not asked yet */
    int conflict;              /* the group's other members subscribe otherwise: its queues are not read (never settle what another's filter hid) */
    int64_t told;              /* monotonic, when that or a missing route was last logged */
} xo_rmq_sub;

typedef enum {
    XO_Q_WANTED,               /* ours by allocation; its position is not known yet (or, ordered, its lock not held) */
    XO_Q_RUNNING,
    XO_Q_LEAVING               /* no more pulls and nothing more handed over; waits for what the consumer has */
} xo_rmq_state;

typedef struct xo_rmq_queue {
    char *topic, *wire, *broker; /* topic: user's name, "%RETRY%group" of the retry queues */
    int32_t id;
    xo_rmq_sub *sub;           /* NULL: a retry queue */
    xo_rmq_state state;
    uint64_t mark;             /* names this assignment and this history; a new one after every change: what carries an old mark is ignored */
    int64_t pull_from;         /* the next offset to ask for */
    int64_t pull_due;          /* monotonic: not before (pause after an error, flow control) */
    int pulling;               /* a pull with the present mark is under way */
    int64_t node;              /* broker id that the broker suggested to read from; 0 = master */
    int empty;                 /* the last pull found nothing, with this mark */
    int look_back;             /* its broker was away or moved: find the start again (service thread) */
    int64_t seek;              /* >= 0: an operator's reset to this offset waits to be done (service thread); -1 */
    /* of a queue that is claimed by offset (offset.c) */
    int64_t epoch, generation; /* of the take-over that it runs by, and of the row that moves; epoch -1: not taken yet */
    int64_t handed;            /* end of what was handed over to be claimed by offset: who is handed over next claims from here */
    int64_t durable;           /* the row ends here or beyond, for sure */
    int64_t record_before;     /* what stands before is claimed by record as well; INT64_MAX: the queue's end at the take-over is not known yet */
    int record_known;          /* it became known, and is not written yet */
    int64_t reopen;            /* >= 0: a new row has to begin here, and does as soon as all that stands before is settled (service thread); -1 */
    size_t held, bytes;        /* messages in memory and not settled, and their bodies */
    size_t away;               /* given back unsettled, not in memory: read again when the consumer says so */
    int64_t again;             /* the next of them to ask for; -1: none now */
    int64_t turn;              /* of pulls: the answer to one of an older turn is not wanted any more */
    xo_track track;
    xo_range *rows;            /* what the database has of this queue: durable, so it may be believed */
    size_t nrows;
    int64_t committed;         /* what the broker was told last; -1 */
    int64_t locked;            /* monotonic, of the last successful lock; 0 = not held. Ordered only */
    int64_t lag, max_offset;   /* of the last pull's answer; -1 unknown */
    int64_t failing, told;     /* errors in a row; when last logged */
    struct xo_rmq_queue *next;
} xo_rmq_queue;

typedef struct {               /* a message list by ->next */
    xonce_message *first, **last;
    size_t n;
} xo_rmq_list;

typedef struct {               /* a message that is to be handed over again here, or whose origin is to be asked again */
    xonce_message *m;
    int64_t due;               /* monotonic */
    enum { XO_LATER_DELIVER, XO_LATER_ORIGIN } what;
} xo_rmq_later;

typedef struct {
    char *name, *address;      /* of a broker's master, as last seen: another one is another history */
} xo_rmq_master;

typedef struct xo_rocketmq {
    xonce_source base;
    xo_cluster *cluster;       /* thread-safe by itself */
    const xo_position_ops *positions; /* NULL: none */
    void *positions_self;
    xo_trace *trace;           /* thread-safe by itself; NULL: none are wanted */
    /* settings and what never changes after start */
    char *group, *wire_group, *retry_wire; /* "%RETRY%..." */
    char client_id[160], *instance_name;
    int64_t timeout, long_poll, heartbeat_every, route_every, rebalance_every, commit_every, look_back_ms, from_time, handler_timeout;
    int consume_from;          /* 0 first, 1 last, 2 timestamp */
    int start_broker, many_stores, dead_letter, attempts;
    int64_t pull_batch, queue_messages, queue_bytes, all_messages, all_bytes;
    xo_rmq_sub *subs;          /* conflict, told, version: service thread, or under the lock */
    size_t nsubs;
    pthread_t service;
    int started;
    int64_t started_at;        /* wall clock */
    /* the service thread's own */
    xo_rmq_master *masters;
    size_t nmasters;
    int64_t strangers_since;   /* monotonic: since when members with another database are seen; 0 */
    int again;                 /* the last rebalance left something open: look again soon */
    uint64_t route_sum;        /* of all routes' read queues: has one changed? */

    pthread_mutex_t lock;
    pthread_cond_t ready;      /* poll: a message, or the end */
    pthread_cond_t work;       /* service thread: something to do */
    pthread_cond_t settled;    /* who waits for settles */
    xo_rmq_queue *queues;
    uint64_t last_mark;
    xo_rmq_list buffer;        /* decoded, for poll */
    size_t held, bytes;        /* in memory, all queues */
    xo_rmq_later *later;       /* unordered */
    size_t nlater, cap_later;
    size_t busy;               /* send-backs and origin questions under way */
    int stopping, quit, woken, rebalance_now, heartbeat_now, routes_now, locks_now;
    int ended;                 /* the service thread has done its last: positions written, unregistered */
    int64_t confirmed_boot;    /* xo_boot_ms() of the last time a broker listed us as a member; 0 */
    int shared_out;            /* a rebalance succeeded once */
    int routes;                /* topics that had a route at the last look; -1 before the first */
    xo_error route_error;      /* why routes is 0 */
    int64_t reported_at;       /* monotonic: when poll last returned an error */
    int mixed;                 /* XO_MIXED_*: do the members claim alike? */
    int mixed_seen;            /* ever: others worked, or may have worked, on our queues without moving their rows */
    int ran;                   /* a queue of a subscription ran */
    int64_t mixed_told;        /* monotonic, when it was last logged; service thread */
    int foreign;               /* members that are no xonce were in the group at the last look: the broker's position counts */
    int64_t foreign_seen;      /* monotonic; 0 never */
    size_t members;
    int all_ours;              /* every queue of every topic and the retry topic was allocated to us at the last look */
    int failed;                /* permanent holds an error that ends it */
    xo_error permanent, transient;
    uint64_t ntransient;       /* transient was set so often; poll reports each once */
    int red;                   /* reasons for bad health: XO_RED_* */
    xo_source_counts counts;
} xo_rocketmq;
enum { XO_RED_FILTER = 1, XO_RED_POSITION = 2, XO_RED_LOSS = 4, XO_RED_MEMBERS = 8, XO_RED_CLAIMS = 16 };
enum {
    XO_MIXED_NO,
    XO_MIXED_FOREIGN,          /* some are no xonce, or write to another database: queues by offset are not begun */
    XO_MIXED_CLAIMS            /* some claim other topics by offset than this one: no queue is begun */
};

/* ---- source.c: life, poll, ack, nack, counts. */
/* Lock held: appends to the buffer and wakes poll; l is empty after. What has no queue any more, or comes during a stop, is released unsettled instead. */
void xo_rmq_hand_over(xo_rocketmq *s, xo_rmq_list *l);
void xo_rmq_transient(xo_rocketmq *s);                  /* lock held: keeps the thread's last error for poll to report */
void xo_rmq_permanent(xo_rocketmq *s);                  /* likewise; the consumer ends */
xo_rmq_queue *xo_rmq_find(xo_rocketmq *s, uint64_t mark); /* lock held; NULL when it is no more */
/* Lock held. A message comes into memory: counts it to q and s. copy_offset, copy_log_offset, broker and mark are set by then, of first copies too. */
void xo_rmq_count(xo_rocketmq *s, xo_rmq_queue *q, const xonce_message *m);
/* Lock held. Drops what waits here of the queue with this mark, unsettled: in the buffer, and what was to be handed over later. What the consumer has stays. */
void xo_rmq_drop(xo_rocketmq *s, uint64_t mark);
/* Lock held. A message that nobody needs any more: uncounts it from its queue (when that still has its mark) and from s, and frees it. settled: its copy_offset is done. */
void xo_rmq_release(xo_rocketmq *s, xonce_message *m, int settled);
void xo_rmq_later_add(xo_rocketmq *s, xonce_message *m, int what, int64_t due); /* lock held; without memory the message is dropped unsettled: it comes again after a restart */

/* ---- traces.c: what came of deliveries, for consoles. Lock not held; no waiting, and what has no room is dropped. */
void xo_rmq_trace_handed(xo_rocketmq *s, xonce_message *list);              /* before the consumer has them */
void xo_rmq_trace_settled(xo_rocketmq *s, xonce_message *m, int acked);    /* while m is still ours alone. acked 0: given back */

/* ---- lag.c: xonce_source.queues. */
xonce_status xo_rmq_queues(xonce_source *source, xo_source_queue **out, size_t *n);

/* ---- service.c: the thread. It calls, when due: xo_routes_refresh, xo_members_heartbeat, xo_members_rebalance, xo_locks_renew, xo_commit, xo_start, xo_leave, xo_later_run. */
void *xo_rmq_service_main(void *source);

/* ---- routes.c: asks for every topic's route. A broker whose master moved gets look_back for its queues. Service thread, lock not held. */
void xo_routes_refresh(xo_rocketmq *s);
/* The read queues of a topic; xo_queue_ids_free. */
xonce_status xo_routes_queues(xo_rocketmq *s, const char *wire, xo_queue_id **out, size_t *n);

/* ---- members.c: the group. Service thread, lock not held. */
int xo_members_heartbeat(xo_rocketmq *s);               /* to every broker, side by side. 0: none heard it */
/* Looks who is in the group, shares out, and adds and marks queues: new ones are XO_Q_WANTED, lost ones XO_Q_LEAVING. */
void xo_members_rebalance(xo_rocketmq *s);
void xo_members_leave(xo_rocketmq *s);                  /* UNREGISTER at every broker */
json_t *xo_members_subscriptions(const xo_rocketmq *s); /* lock held; as brokers know them, the retry topic's too. NULL: no memory */
xonce_status xo_members_heartbeat_body(xo_rocketmq *s, xo_buf *out);
enum { XO_STORE_DIGITS = 8, XO_MARK_SIZE = 6 };
/* "....#xonce-" and 8 hex digits, then the mark of xo_members_mark: a member of ours, and these digits; else NULL. */
const char *xo_members_store_of(const char *client_id);
/* What behind the store's digits says which topics are claimed by offset: "" for none, else "-" and 4 hex digits. */
void xo_members_mark(const xo_rocketmq *s, char out[XO_MARK_SIZE]);
/* The n queues (sorted) shared out to m members (sorted): ours are [*start, *start + *count). */
void xo_allocate(size_t n, size_t m, size_t index, size_t *start, size_t *count);
/* ---- locks.c: ordered queues. Service thread. */
void xo_locks_renew(xo_rocketmq *s);                    /* asks for the lock of each ordered queue that is WANTED or RUNNING; sets locked; a RUNNING one whose lock is older than 30 s stops pulling */
void xo_locks_release(xo_rocketmq *s, xo_rmq_queue *q); /* waits for the broker, a request's time at most */
void xo_locks_release_all(xo_rocketmq *s);
int xo_locks_held(const xo_rmq_queue *q, int64_t now);  /* lock held. 1: not ordered, or its lock is fresh. A queue without it is neither started nor pulled */
enum { XO_LOCK_EVERY_MS = 20000, XO_LOCK_FRESH_MS = 30000 };

/* ---- start.c: where a queue is read from. Service thread, lock not held. */
void xo_start(xo_rocketmq *s);                          /* every WANTED queue (ordered: with its lock) and every one with look_back, seek or reopen: finds the position and lets it run; what fails is tried again later */

/* ---- pull.c */
void xo_pull_go(xo_rocketmq *s);                        /* lock not held, any thread: sends the pulls that are due and within the bounds (of the queue, and of all) */
enum { XO_AWAY_MOST = 50000 };                          /* so many of a queue may be given back and wait at the broker */
int64_t xo_pull_next_due(const xo_rocketmq *s);         /* lock held: when to look again (monotonic), INT64_MAX */

/* ---- commit.c: positions. Service thread, lock not held. */
void xo_commit(xo_rocketmq *s);                         /* the settled prefixes: to the database first, then to the brokers, side by side */
/* Of one LEAVING queue: waits up to wait_ms for what the consumer has of it, writes its position, unlocks, forgets and frees it. */
void xo_leave(xo_rocketmq *s, xo_rmq_queue *q, int64_t wait_ms);

/* ---- sendback.c */
/* Takes m, whose handler failed: sends it back to its broker, to come again through the retry topic; settled when the broker says so, else run again here after delay_ms. Any thread, lock not held. */
void xo_send_back(xo_rocketmq *s, xonce_message *m, int64_t delay_ms);
void xo_dead_letter(xo_rocketmq *s, const xonce_message *m); /* a copy for %DLQ%; best effort, logged */
void xo_later_run(xo_rocketmq *s);                      /* service thread: what is due; a no-op between */
int64_t xo_later_next_due(const xo_rocketmq *s);        /* lock held */

/* ---- origin.c: the identity of a copy from the retry topic (docs/guarantees.md). */
/* Of a copy from a retry queue, right after xo_record_message(); sets copy_offset and copy_log_offset and takes the copy's coordinates off m where the original's are unknown. 1: m is ready to be handed
 * over (m->uniq or m->refuse may be set); 0: the broker is to be asked (xo_origin_ask; m->handle keeps what that needs, m->topic is not looked at); -1: no memory. */
int xo_origin_known(const xo_record *r, xonce_message *m);
/* Asks for the original, then hands m over with the original's id and coordinates, or with m->refuse; a network error is asked again later. Takes m. Any thread, lock not held. */
void xo_origin_ask(xo_rocketmq *s, xonce_message *m);

/* ---- requests.c: what brokers ask of us: 40, 220, 221, 307, 309, others. On the I/O thread. */
xonce_status xo_rmq_json(json_t *o, xo_buf *out);        /* takes o; its text as a command's body */
json_t *xo_rmq_mq(const char *topic, const char *broker, int32_t id); /* {"brokerName","queueId","topic"}; NULL on no memory */
void xo_rmq_request(void *source, const char *address, xo_command *c);
void xo_rmq_changed(void *source, const char *address, int made);
#endif
