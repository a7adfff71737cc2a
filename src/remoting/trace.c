/* Message traces: records gathered into messages for the trace topic. */
#include "remoting/trace.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
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

enum { NUMBER_DIGITS = 12 }; /* of a delivery, in the id of its request */
enum { SEEN_BITS = 11, SEEN = 1 << SEEN_BITS };

typedef struct parcel { /* a message being gathered */
    struct parcel *next;
    char *topic;
    xo_buf body, keys;
    uint64_t records;
    uint64_t seen[SEEN];     /* hashes of its keys, an open table; 0 = free */
    size_t nseen;
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
    uint64_t dropped;            /* records that had no room, ever */
    char maker[XO_UNIQ_SIZE - NUMBER_DIGITS]; /* what the ids of this process begin with */
    uint64_t lost, said;         /* the thread's: records lost in messages that could not be sent; of all lost ones, those that the log knows of */
    int64_t said_at;
};

/* ---- records ---- */

/* Neither a field's nor a record's separator may come from outside. */
static void put(xo_buf *b, const char *text)
{
    for (const char *p = text ? text : ""; *p;) {
        size_t n = strcspn(p, "\x01\x02");
        xo_buf_add(b, p, n);
        p += n;
        if (*p) {
            xo_buf_char(b, ' ');
            p++;
        }
    }
}

static void field(xo_buf *b, const char *text)
{
    xo_buf_char(b, 1);
    put(b, text);
}

static void number(xo_buf *b, int64_t n)
{
    char digits[21], *p = digits + sizeof(digits);
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    do {
        *--p = (char)('0' + rest % 10);
    } while ((rest /= 10) != 0);
    if (n < 0) {
        *--p = '-';
    }
    xo_buf_char(b, 1);
    xo_buf_add(b, p, (size_t)(digits + sizeof(digits) - p));
}

static void yes_no(xo_buf *b, int yes)
{
    field(b, yes ? "true" : "false");
}

/* As the last field it must not be empty: readers lose empty ones at a record's end, and then fail. "null" is what Java writes. */
static void keys_field(xo_buf *b, const char *keys)
{
    field(b, keys && *keys ? keys : "null");
}

static void begin(xo_buf *b, const char *kind, const xo_trace_record *r)
{
    put(b, kind);
    number(b, r->time ? r->time : xo_now_ms());
    field(b, r->region && *r->region ? r->region : DEFAULT_REGION);
    field(b, r->group);
}

/* 1: the parcel has this key already. What finds no room in the table counts as new. */
static int has_key(parcel *p, const char *key, size_t n)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ (unsigned char)key[i]) * UINT64_C(1099511628211);
    }
    hash = hash ? hash : 1;
    size_t at = (size_t)(hash >> (64 - SEEN_BITS));
    while (p->seen[at] && p->seen[at] != hash) {
        at = (at + 1) % SEEN;
    }
    if (p->seen[at]) {
        return 1;
    }
    if (p->nseen < SEEN / 4 * 3) {
        p->seen[at] = hash;
        p->nseen++;
    }
    return 0;
}

/* ids are separated by ',' and keys by blanks; in the KEYS of a message all by blanks. Each once: brokers index each, and consoles show a message again for each. */
static void add_keys(parcel *p, const char *text)
{
    static const char between[] = " ,\x01\x02";
    for (const char *at = text ? text : ""; *(at += strspn(at, between)) && p->keys.len < KEYS_MAX;) {
        size_t n = strcspn(at, between);
        if (n <= KEYS_MAX / 2 && !has_key(p, at, n)) {
            xo_buf_add(&p->keys, " ", p->keys.len != 0);
            xo_buf_add(&p->keys, at, n);
        }
        at += n;
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
        t->waiting += sizeof(*p);
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
        add_keys(p, r->id);
        add_keys(p, r->keys);
        p->records++;
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
    keys_field(&b, r->keys);
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
    keys_field(&b, r->keys);
    number(&b, r->context);
    if (t->cloud) {
        number(&b, r->exactly_once);
    } else {
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

/* ---- deliveries ---- */

uint64_t xo_trace_delivery(void)
{
    static _Atomic uint64_t last;
    return ++last;
}

void xo_trace_request(const xo_trace *t, uint64_t delivery, char out[XO_UNIQ_SIZE])
{
    size_t n = strlen(t->maker);
    unsigned char number[NUMBER_DIGITS / 2];
    for (size_t i = 0; i < sizeof(number); i++) {
        number[i] = (unsigned char)(delivery >> (8 * (sizeof(number) - 1 - i)));
    }
    memcpy(out, t->maker, n);
    xo_hex(out + n, number, sizeof(number), 1);
}

/* An id of ours less its time and number: address, process, and what tells it from an earlier one of the same number. */
static void find_maker(xo_trace *t)
{
    char id[XO_UNIQ_SIZE];
    xo_make_uniq(id);
    memcpy(t->maker, id, strlen(id) - NUMBER_DIGITS);
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
        t->waiting -= sizeof(*p) + p->body.len + p->keys.len;
    }
    return p;
}

/* Of what nobody heard yet, at most once a minute, and at the end. */
static void tell_lost(xo_trace *t, uint64_t dropped, xonce_status st, int last)
{
    uint64_t all = t->lost + dropped;
    if (all > t->said && (last || t->said_at == 0 || xo_mono_ms() - t->said_at >= SAY_EVERY_MS)) {
        t->said_at = xo_mono_ms();
        t->said = all;
        xo_log(XO_WARN, "trace", "traces are lost: %" PRIu64 " records so far, of which %" PRIu64 " had no room; the last message: %s", all, dropped,
               st ? xonce_error_last()->text : last ? "the end" : "sent");
    }
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
        t->lost += st ? p->records : 0;
        tell_lost(t, dropped, st, 0);
        parcel_free(p);
        pthread_mutex_lock(&t->lock);
    }
    uint64_t dropped = t->dropped;
    pthread_mutex_unlock(&t->lock);
    tell_lost(t, dropped, XONCE_OK, 1);
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
    find_maker(t);
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
