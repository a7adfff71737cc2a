/* A RocketMQ cluster inside of the test's own process: a name server and brokers, each on a loopback port of its own, one thread for all, nothing on
 * disk. It answers as the real ones do (recorded frames are compared with its answers in test_broker.c) and breaks on order.
 *
 * b: a broker's number from 0; MQ_ALL: every broker; MQ_NAME_SERVER where that makes sense. Any thread may call; a broken expectation ends the test.
 */
#ifndef XO_TEST_BROKER_H
#define XO_TEST_BROKER_H
#include "remoting/command.h"
#include "remoting/record.h"

enum { MQ_BROKERS = 4, MQ_ALL = -1, MQ_NAME_SERVER = -2 };
typedef struct mq mq;

/* ---- the cluster */
mq *mq_start(int brokers); /* "broker-a", "broker-b", ... */
void mq_stop(mq *m);
const char *mq_uri(const mq *m);            /* rocketmq://127.0.0.1:PORT */
const char *mq_address(const mq *m, int b); /* 127.0.0.1:PORT, also of the name server */
const char *mq_name(const mq *m, int b);
int mq_add_broker(mq *m);                                   /* one more while it runs: its number. It has no topics */
void mq_topic(mq *m, int b, const char *topic, int queues); /* makes it, or gives it more queues */
void mq_perm(mq *m, int b, const char *topic, int perm);    /* 4 read, 2 write */
void mq_order(mq *m, const char *topic, const char *conf);  /* orderTopicConf of the route */
void mq_auto_create(mq *m, int on);                         /* TBW102 has a route, and brokers make a topic at its first send. Off at start */
/* Delays are divided by this; 1000 at start: level 3, 10 s, takes 10 ms. */
void mq_delay_divisor(mq *m, int64_t divisor);
void mq_version_4(mq *m); /* brokers of 4.9: timers are ignored, no UNIQ_KEY is made, setZeroIfNotFound is unknown */
/* Requests whose signature does not fit are answered with 16. NULL: not checked, as at start. */
void mq_acl(mq *m, const char *access_key, const char *secret);

/* ---- messages */
typedef struct {
    const char *topic, *tags, *keys, *uniq, *uniq2; /* uniq2: a second UNIQ_KEY behind the first, as of a batch */
    const char *properties;                         /* more, as the wire has them, or NULL */
    const void *body;
    size_t body_len;
    int queue, sys_flag, reconsume;
    int64_t born_time, store_time; /* 0 = now */
    int born_port;                 /* 0 = 4711 */
    int bare;                      /* no property is added by the broker */
    int members;                   /* of an inner batch: it takes so many offsets; 0 = 1 */
} mq_message;
int64_t mq_put(mq *m, int b, const char *topic, int queue, const char *tags, const char *uniq,
               const char *body); /* its offset. tags, uniq: NULL when it has none */
int64_t mq_store(mq *m, int b, const mq_message *x);
void mq_corrupt(mq *m, int b, const char *topic, int queue, int64_t offset); /* a byte of its body changes; the checksum does not */
void mq_trim(mq *m, int b, const char *topic, int queue, int64_t min);       /* what is before is deleted, also from the log */
void mq_expire(mq *m, int b, int64_t log_offset);                            /* this one is gone from the log, its queue still names it */
/* Copies of a stored message's record; free(*bytes). Returns its length, 0 when there is none. */
size_t mq_record(mq *m, int b, const char *topic, int queue, int64_t offset, char **bytes);
int64_t mq_log_offset(mq *m, int b, const char *topic, int queue, int64_t offset);
int64_t mq_store_time(mq *m, int b, const char *topic, int queue, int64_t offset);
int64_t mq_max(mq *m, int b, const char *topic, int queue); /* 0 when there is no such queue */
int64_t mq_min(mq *m, int b, const char *topic, int queue);
xonce_message *mq_stored(mq *m, int b, const char *topic, int queue, int64_t offset); /* as a consumer would get it */
/* All records of a topic of traces (queue 0 of the first so many brokers), one a line, fields separated by '|'; behind each message's a line KEYS=. */
void mq_traces(mq *m, int brokers, const char *topic, xo_buf *out);
size_t mq_delayed(mq *m, int b); /* copies that wait for their time */
size_t mq_halves(mq *m, int b);  /* half messages neither committed nor rolled back */

/* ---- groups */
int64_t mq_committed(mq *m, int b, const char *group, const char *topic, int queue);           /* -1: none */
void mq_commit(mq *m, int b, const char *group, const char *topic, int queue, int64_t offset); /* as another member would */
void mq_forget_commits(mq *m, int b);                                                          /* consumerOffset.json was deleted */
void mq_flush_commits(mq *m, int b);             /* what is committed now outlives a kill with MQ_LOSE_COMMITS */
int mq_members(mq *m, int b, const char *group); /* registered now */
int mq_producers(mq *m, int b, const char *group);
int mq_client_id(mq *m, int b, const char *group, int n, char *out, size_t size); /* of the n-th member, in order of registration; 0: there is none */
/* A member without a connection: in the member list, and its heartbeat's subscription (tags NULL: none, what the group has stays). The others get 40.
 */
void mq_join(mq *m, int b, const char *group, const char *client_id, const char *topic, const char *tags);
void mq_leave(mq *m, int b, const char *group, const char *client_id);
void mq_subscription(mq *m, int b, const char *group, const char *topic,
                     const char *tags); /* the group's becomes this, as by another member's heartbeat. Newer than any */
int mq_lock_owner(mq *m, int b, const char *group, const char *topic, int queue, char *out, size_t size); /* 0: not locked */
void mq_lock(mq *m, int b, const char *group, const char *topic, int queue, const char *client_id);       /* NULL: unlocked */

/* ---- watching */
/* Called for each request as it arrives (also when a fault eats it), on the cluster's thread; the fake may not be called from inside. */
typedef void (*mq_watch_fn)(void *arg, int b, const xo_command *request);
void mq_watch(mq *m, mq_watch_fn fn, void *arg);
size_t mq_count(mq *m, int b, int code); /* requests of this code so far, of MQ_ALL: summed */
size_t mq_connections(mq *m, int b);
int mq_polling(mq *m, int b, const char *topic, int queue); /* pulls held for this queue */

/* ---- faults */
enum { MQ_LOSE_COMMITS = 1, MQ_KEEP_ROUTE = 2 /* the name server does not notice */, MQ_LOSE_OFFSET_FILE = 4 };
/* Connections end; registrations, locks and polls are forgotten; the last `lose` messages of its log are cut off, with all that stood in their
 * queues. b may be MQ_NAME_SERVER. */
void mq_kill(mq *m, int b, int lose, int flags);
void mq_cut(mq *m, int b, int lose); /* the last messages of its log are gone without a word: another took over behind the same address */
void mq_restart(mq *m, int b);       /* on the same port */
void mq_disconnect(mq *m, int b);    /* connections end; that is all */
void mq_hang(mq *m, int b, int on);  /* accepts and reads, and answers nothing */
void mq_move(mq *m, int b);          /* the broker gets another port, and the routes say so */
typedef enum { MQ_ANSWER /* with this code, nothing is done */, MQ_LOSE_ANSWER /* done, but not answered */, MQ_LOSE_REQUEST /* neither */ } mq_fault;
void mq_next(mq *m, int b, int code, int n, mq_fault what, int answer); /* of the next n requests of this code; n = 0: forgets the rule */
void mq_twice(mq *m, int b, int n);                                     /* the next n pull answers with messages hold each of them twice */
void mq_reset_5(mq *m, int b, const char *group, const char *topic, int queue, int64_t offset);
/* To every member's connection: 220 for this queue, as 4.9 (list = 1: the form for C++ clients). */
void mq_reset_4(mq *m, int b, const char *group, const char *topic, int queue, int64_t offset, int list);
/* Sends a request (taken) to a member (NULL: the first one with a connection), or to any client when group is NULL, and waits for its answer, which
 * the caller frees. 0: none came. */
int mq_ask(mq *m, int b, const char *group, const char *client_id, xo_command *request, int64_t timeout_ms, xo_command *answer);
void mq_tell(mq *m, int b, const char *group, xo_command *request); /* oneway, to every member's connection; taken */
/* Sends 39 for each half message that waits to a producer of its group; restore: stores it anew first, as a broker does. Returns how many were sent.
 */
int mq_check(mq *m, int b, int restore);
#endif
