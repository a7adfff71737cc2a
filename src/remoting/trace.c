/* Message traces: records gathered into messages for the trace topic. */
#include "remoting/trace.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "remoting/record.h"
#include "remoting/sending.h"
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_TOPIC "RMQ_SYS_TRACE_TOPIC"
#define TRACE_GROUP "_INNER_TRACE_PRODUCER-xonce"
#define DEFAULT_REGION "DefaultRegion"
/* A message of traces, and how long the first record of one waits for others. WAITING_MAX bounds what is kept while brokers are away. */
enum { BODY_MAX = 128000, KEYS_MAX = 16000, WAITING_MAX = 4 << 20, LINGER_MS = 500, CLOSE_MS = 2000, SAY_EVERY_MS = 60000 };

typedef struct parcel { /* a message being gathered */
    struct parcel *next;
    char *topic;
    xo_buf body, keys;
} parcel;
struct xo_trace {
    xo_cluster *cluster;
    int cloud; /* a topic for each region, and shorter records */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    parcel *first, **end;
    size_t waiting, turn;
    int closing;
    int64_t close_by;
    uint64_t dropped;
    int64_t said_at; /* the thread's */
};

/* ---- records ---- */

/* Neither a field's nor a record's separator may come from outside. */
static void put(xo_buf *b, const char *text)
{
    for (const char *p = text ? text : ""; *p; p++) {
        xo_buf_char(b, *p == 1 || *p == 2 ? ' ' : *p);
    }
}

static void field(xo_buf *b, const char *text)
{
    xo_buf_char(b, 1);
    put(b, text);
}

static void number(xo_buf *b, int64_t n)
{
    xo_buf_printf(b, "\x01%" PRId64, n);
}

static void yes_no(xo_buf *b, int yes)
{
    field(b, yes ? "true" : "false");
}

static void begin(xo_buf *b, const char *kind, const xo_trace_record *r)
{
    put(b, kind);
    number(b, r->time ? r->time : xo_now_ms());
    field(b, r->region && *r->region ? r->region : DEFAULT_REGION);
    field(b, r->group);
}

/* ids are separated by ',' and keys by blanks; in the KEYS of a message all by blanks. */
static void add_keys(xo_buf *keys, const char *text)
{
    int in_word = 0;
    for (const char *p = text ? text : ""; *p && keys->len < KEYS_MAX; p++) {
        if (*p == ' ' || *p == ',' || *p == 1 || *p == 2) {
            in_word = 0;
            continue;
        }
        if (!in_word && keys->len) {
            xo_buf_char(keys, ' ');
        }
        in_word = 1;
        xo_buf_char(keys, *p);
    }
}

static parcel *parcel_new(const char *topic)
{
    parcel *p = xo_calloc(1, sizeof(*p));
    if (p && !(p->topic = xo_strdup(topic))) {
        free(p);
        p = NULL;
    }
    return p;
}

static void parcel_free(parcel *p)
{
    free(p->topic);
    xo_buf_free(&p->body);
    xo_buf_free(&p->keys);
    free(p);
}

/* Lock held. The parcel of this topic with room for so many bytes; NULL when there is no memory. */
static parcel *parcel_for(xo_trace *t, const char *topic, size_t n)
{
    for (parcel *p = t->first; p; p = p->next) {
        if (p->body.len + n <= BODY_MAX && p->keys.len < KEYS_MAX && !strcmp(p->topic, topic)) {
            return p;
        }
    }
    parcel *p = parcel_new(topic);
    if (p) {
        *t->end = p;
        t->end = &p->next;
    }
    return p;
}

/* Takes the content of record. */
static void keep(xo_trace *t, xo_buf *record, const xo_trace_record *r)
{
    char topic[160] = TRACE_TOPIC;
    xo_buf_char(record, 2);
    if (t->cloud) {
        (void)snprintf(topic, sizeof(topic), "rmq_sys_TRACE_DATA_%.100s", r->region && *r->region ? r->region : DEFAULT_REGION);
    }
    pthread_mutex_lock(&t->lock);
    parcel *p = NULL;
    if (!record->failed && record->len <= BODY_MAX && !t->closing && t->waiting + record->len <= WAITING_MAX) {
        p = parcel_for(t, topic, record->len);
    }
    if (p) {
        size_t before = p->body.len + p->keys.len;
        xo_buf_add(&p->body, record->p, record->len);
        add_keys(&p->keys, r->id);
        add_keys(&p->keys, r->keys);
        t->waiting += p->body.len + p->keys.len - before;
        pthread_cond_signal(&t->changed);
    } else {
        t->dropped++;
    }
    pthread_mutex_unlock(&t->lock);
    xo_buf_free(record);
}

void xo_trace_pub(xo_trace *t, const xo_trace_record *r)
{
    xo_buf b = {0};
    if (!t) {
        return;
    }
    begin(&b, "Pub", r);
    field(&b, r->topic);
    field(&b, r->id);
    field(&b, r->tags);
    field(&b, r->keys);
    field(&b, r->store_host);
    number(&b, r->body_len);
    number(&b, r->cost_ms);
    number(&b, r->type);
    field(&b, r->offset_id);
    yes_no(&b, r->success);
    keep(t, &b, r);
}

void xo_trace_sub_before(xo_trace *t, const xo_trace_record *r)
{
    xo_buf b = {0};
    if (!t) {
        return;
    }
    begin(&b, "SubBefore", r);
    field(&b, r->request_id);
    field(&b, r->id);
    number(&b, r->retry_times);
    field(&b, r->keys);
    keep(t, &b, r);
}

void xo_trace_sub_after(xo_trace *t, const xo_trace_record *r)
{
    xo_buf b = {0};
    if (!t) {
        return;
    }
    put(&b, "SubAfter");
    field(&b, r->request_id);
    field(&b, r->id);
    number(&b, r->cost_ms);
    yes_no(&b, r->success);
    field(&b, r->keys);
    number(&b, r->context);
    if (!t->cloud) {
        number(&b, r->time ? r->time : xo_now_ms());
        field(&b, r->group);
    }
    keep(t, &b, r);
}

void xo_trace_end(xo_trace *t, const xo_trace_record *r)
{
    xo_buf b = {0};
    if (!t) {
        return;
    }
    begin(&b, "EndTransaction", r);
    field(&b, r->topic);
    field(&b, r->id);
    field(&b, r->tags);
    field(&b, r->keys);
    field(&b, r->store_host);
    number(&b, r->type);
    field(&b, r->transaction_id);
    field(&b, r->state);
    yes_no(&b, r->from_check);
    keep(t, &b, r);
}

int xo_trace_wanted(const xo_trace *t, const char *on)
{
    return t && !(on && !strcmp(on, "false"));
}

/* ---- the thread ---- */

static xonce_status post(xo_trace *t, const parcel *p, int64_t timeout_ms)
{
    xo_queue_id *queues;
    size_t n;
    int made_up;
    char id[XO_UNIQ_SIZE], address[280];
    xo_command request, answer;
    xo_buf properties = {0};
    xonce_status st = xo_send_queues(t->cluster, p->topic, 60000, &queues, &n, &made_up);
    if (st) {
        return st;
    }
    const xo_queue_id *q = &queues[t->turn++ % n];
    xo_make_uniq(id);
    xo_wire_property(&properties, "KEYS", p->keys.p ? p->keys.p : "");
    xo_wire_property(&properties, "UNIQ_KEY", id);
    st = xo_buf_status(&properties);
    if (!st) {
        st = xo_cluster_broker(t->cluster, q->broker, 0, address, sizeof(address));
    }
    if (!st) {
        xo_send_command(&request, &(xo_send_parts){.group = TRACE_GROUP, .topic = p->topic, .broker = q->broker, .queue = q->id, .born_time = xo_now_ms(),
                                                   .properties = properties.p, .body = p->body.p, .body_len = p->body.len});
        st = xo_remoting_call(xo_cluster_remoting(t->cluster), address, &request, timeout_ms, &answer);
    }
    if (!st) {
        if (answer.code < XO_RMQ_FLUSH_DISK_TIMEOUT || answer.code > XO_RMQ_FLUSH_SLAVE_TIMEOUT) {
            st = xo_command_error(&answer, "sending traces");
        }
        xo_command_free(&answer);
    }
    xo_buf_free(&properties);
    xo_queue_ids_free(queues, n);
    return st;
}

/* Lock held. Waits until there is something to send, and then a little for more. NULL: closing, and nothing is left. */
static parcel *take(xo_trace *t)
{
    while (!t->first && !t->closing) {
        pthread_cond_wait(&t->changed, &t->lock);
    }
    int64_t until = xo_mono_ms() + LINGER_MS;
    while (t->first && !t->first->next && !t->closing && t->first->body.len < BODY_MAX / 2 && xo_cond_wait_ms(&t->changed, &t->lock, until) == 0) {
    }
    parcel *p = t->first;
    if (p) {
        t->first = p->next;
        if (!t->first) {
            t->end = &t->first;
        }
        t->waiting -= p->body.len + p->keys.len;
    }
    return p;
}

static void *trace_main(void *arg)
{
    xo_trace *t = arg;
    parcel *p;
    pthread_mutex_lock(&t->lock);
    while ((p = take(t))) {
        int64_t left = t->closing ? t->close_by - xo_mono_ms() : xo_cluster_timeout(t->cluster);
        uint64_t dropped = t->dropped;
        pthread_mutex_unlock(&t->lock);
        xonce_status st = left <= 0 ? xo_fail(XONCE_E_TIMEOUT, "no time was left") : p->body.failed || p->keys.failed ? xo_nomem() : post(t, p, left);
        if ((st || dropped) && (t->said_at == 0 || xo_mono_ms() - t->said_at >= SAY_EVERY_MS)) {
            t->said_at = xo_mono_ms();
            xo_log(XO_WARN, "trace", "traces are lost (%" PRIu64 " records had no room, the last message: %s)", dropped, st ? xonce_error_last()->text : "sent");
        }
        parcel_free(p);
        pthread_mutex_lock(&t->lock);
        t->dropped -= dropped;
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

static int is_cloud(const xonce_config *cfg)
{
    const char *channel = xo_config_text(cfg, "rocketmq.ons-channel");
    return channel && *channel;
}

xonce_status xo_trace_open(xo_trace **out, xo_cluster *c, const xonce_config *cfg)
{
    sigset_t all, before;
    *out = NULL;
    if (!xo_config_int(cfg, "trace")) {
        return XONCE_OK;
    }
    xo_trace *t = xo_calloc(1, sizeof(*t));
    if (!t) {
        return xo_nomem();
    }
    t->cluster = c;
    t->cloud = is_cloud(cfg);
    t->end = &t->first;
    pthread_mutex_init(&t->lock, NULL);
    int rc = xo_cond_init(&t->changed);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (rc == 0 && (rc = pthread_create(&t->thread, NULL, trace_main, t)) != 0) {
        pthread_cond_destroy(&t->changed);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc) {
        pthread_mutex_destroy(&t->lock);
        free(t);
        return xo_fail(XONCE_E_NOMEM, "cannot start the thread for traces: %s", strerror(rc));
    }
    *out = t;
    return XONCE_OK;
}

void xo_trace_close(xo_trace *t)
{
    if (!t) {
        return;
    }
    pthread_mutex_lock(&t->lock);
    t->closing = 1;
    t->close_by = xo_mono_ms() + CLOSE_MS;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    free(t);
}
