/* Shared by the files of the in-process RocketMQ cluster; tests include broker.h. */
#ifndef XO_TEST_BROKER_INSIDE_H
#define XO_TEST_BROKER_INSIDE_H
#include "tests/remoting/broker.h"
#include <jansson.h>
#include <pthread.h>

/* ---- storage */
typedef struct {
    char *bytes; /* the record */
    size_t n;
    xo_record r; /* points into bytes */
    int gone;    /* deleted from the log */
} stored;
typedef struct {
    stored **at; /* by offset */
    size_t n, cap;
    int64_t min;
} queue;
typedef struct {
    char name[256];
    queue *queues;
    int n, perm;
} topic;
typedef struct { /* a message before it is stored; owns its texts */
    char topic[256];
    xo_buf properties, body;
    int32_t queue, flag, sys_flag, reconsume;
    int64_t born_time, store_time, prepared;
    unsigned char born[8];
    int bare, members;
} spec;
typedef struct {
    int64_t due; /* monotonic */
    spec s;
} delayed;
typedef struct {
    int64_t log_offset, table_offset;
    char group[256];
    int done;
} half;

/* ---- groups */
typedef struct {
    char group[256], topic[256];
    int queue;
    int64_t offset, reset; /* -1: none */
} commit;
typedef struct {
    char group[256], topic[256], client[256];
    int queue;
    int64_t until;
} lock;
typedef struct {
    char topic[256];
    char *text;
    int32_t *codes;
    char **tags;
    size_t n;
    int64_t version;
} subscription;
typedef struct {
    char client[256];
    int conn; /* 0: a member without one */
    int language, version;
} member;
typedef struct {
    char name[256], type[32], model[32], from[48];
    int producer;
    member *members;
    size_t n, cap;
    subscription *subs;
    size_t nsubs, cap_subs;
} group;

/* ---- network */
typedef struct {
    int fd, id, b;
    xo_buf in, out;
    size_t sent;
    int closing;
} conn;
typedef struct { /* a pull that is held */
    int conn;
    int64_t until;
    xo_command request;
} held;
typedef struct {
    int b, code, n, answer;
    mq_fault what;
} rule;
typedef struct {
    int used, up, hung, listener, port;
    char name[32], address[64];
    int in_route;
    topic **topics;
    size_t ntopics, cap_topics;
    stored **log;
    size_t nlog, cap_log;
    int64_t log_end;
    delayed *later;
    size_t nlater, cap_later;
    half *halves;
    size_t nhalves, cap_halves;
    commit *commits, *flushed;
    size_t ncommits, cap_commits, nflushed;
    lock *locks;
    size_t nlocks, cap_locks;
    group **groups;
    size_t ngroups, cap_groups;
    held *polls;
    size_t npolls, cap_polls;
    size_t counts[512];
    int twice;
    int64_t last_store;
    unsigned picks;
} broker;
struct mq {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    int wake[2], stopping;
    char uri[96];
    broker b[MQ_BROKERS], ns;
    int nb;
    conn **conns;
    size_t nconns, cap_conns;
    int last_conn, last_opaque, last_version;
    rule *rules;
    size_t nrules, cap_rules;
    mq_watch_fn watch;
    void *watch_arg;
    char order_topic[256], order_conf[256];
    int auto_create, version_4;
    int64_t divisor;
    char access_key[128], secret[128];
    int ask_conn, ask_opaque, ask_done; /* one question at a time */
    xo_command ask_answer;
    void (*job)(mq *m, int b, int lose, int flags); /* to be done on the cluster's thread, which alone closes sockets */
    int job_b, job_lose, job_flags;
    unsigned uniq;
};

#define MQ_MUST(x) mq_must(!!(x), __FILE__, __LINE__, #x)
void mq_must(int ok, const char *file, int line, const char *what);
void mq_grow(void *array, size_t *cap, size_t n, size_t size); /* array: address of the pointer; room for n + 1 */
void mq_copy(char *out, size_t size, const char *text);
broker *mq_broker(mq *m, int b);

/* ---- broker_log.c; the lock is held */
topic *log_topic(broker *k, const char *name);
topic *log_make_topic(broker *k, const char *name, int queues);
queue *log_queue(broker *k, const char *name, int id);
stored *log_at(broker *k, int64_t log_offset);
stored *log_append(mq *m, broker *k, spec *s); /* frees what s owns */
void log_usual(mq *m, spec *s);                /* the properties that a broker adds */
void log_delay(mq *m, broker *k, spec *s, int level);
void log_later(mq *m, broker *k, spec *s, int64_t ms);
int64_t log_run(mq *m, broker *k); /* stores what is due; when the next is (monotonic), INT64_MAX */
void log_cut(broker *k, int messages);
void log_free(broker *k);
void spec_of(spec *s, const stored *x); /* a copy; of a property twice only the last, as a broker's map keeps it */
void spec_set(spec *s, const char *name, const char *value);
char *spec_get(const spec *s, const char *name);
void spec_free(spec *s);
int64_t log_search(const queue *q, int64_t time, int upper);

/* ---- broker_requests.c; the lock is held */
void mq_handle(mq *m, conn *c, xo_command *r);                           /* r may be taken: it is zeroed then */
void mq_answer(mq *m, conn *c, xo_command *answer, int32_t opaque);      /* frees it */
void mq_send(mq *m, conn *c, xo_command *x);                             /* as it is; frees it */
void mq_arrived(mq *m, broker *k, const char *topic_name, int id);       /* wakes held pulls */
int64_t polls_run(mq *m, broker *k);                                     /* those whose time is up; when the next is */
void mq_handle_pull(mq *m, broker *k, conn *c, xo_command *r, int lose); /* r is taken when it is held */
void mq_handle_send(mq *m, broker *k, const xo_command *r, xo_command *a);
void mq_wake(mq *m);
conn *mq_conn_of(mq *m, int id);
group *group_find(broker *k, const char *name, int producer, int make);
member *group_has(group *g, const char *client);
void sub_parse(subscription *s, const char *text); /* s: zeroed but for topic and version */
void sub_free(subscription *s);
void group_subscribe(group *g, const char *topic_name, const char *text, int64_t version);
void group_leave(mq *m, broker *k, group *g, size_t i);
void group_notify(mq *m, group *g);
void group_forget(mq *m, broker *k, int conn_id); /* conn_id 0: everything of this broker */
commit *commit_find(broker *k, const char *group_name, const char *topic_name, int id, int make);
lock *lock_find(broker *k, const char *group_name, const char *topic_name, int id);
#endif
