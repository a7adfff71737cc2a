/* The consumer's life: subscriptions, start, the orderly stop, counts. */
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "consumer/parts.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FLUSH_MS = 10000 }; /* for the last acks, when nobody said how long a stop may take */

static void read_settings(xonce_consumer *c, const xonce_config *cfg)
{
    c->nworkers = c->workers_max = (size_t)xo_config_int(cfg, "workers");
    c->batch_max = (size_t)xo_config_int(cfg, "batch.max");
    c->linger = xo_config_int(cfg, "batch.linger");
    c->suspend = xo_config_int(cfg, "suspend");
    c->handler_timeout = xo_config_int(cfg, "handler.timeout");
    c->idle = xo_config_int(cfg, "exit-when-idle");
    xo_prune_settings_of(cfg, &c->prune);
    c->unsafe_keep = (int)xo_config_int(cfg, "prune.unsafe");
    c->claim = xo_config_int(cfg, "claim") == 1 ? XONCE_CLAIM_OFFSET : XONCE_CLAIM_RECORD;
    c->buffer_messages = (size_t)xo_config_int(cfg, "buffer.messages");
    c->buffer_size = (size_t)xo_config_int(cfg, "buffer.size");
    c->attempts = xo_config_is_set(cfg, "attempts") ? (int)xo_config_int(cfg, "attempts") : c->store->max_attempts;
    if (c->source->max_attempts && (c->attempts == 0 || c->source->max_attempts < c->attempts)) {
        c->attempts = c->source->max_attempts;
    }
}

static int init_sync(xonce_consumer *c)
{
    if (pipe(c->stop_pipe) != 0) {
        return -1;
    }
    for (int i = 0; i < 2; i++) {
        (void)fcntl(c->stop_pipe[i], F_SETFD, FD_CLOEXEC);
        (void)fcntl(c->stop_pipe[i], F_SETFL, O_NONBLOCK);
    }
    if (pthread_mutex_init(&c->lock, NULL) != 0) {
        goto no_lock;
    }
    pthread_cond_t *conds[] = {&c->work, &c->room, &c->tick, &c->ended};
    for (size_t i = 0; i < 4; i++) {
        if (xo_cond_init(conds[i]) != 0) {
            while (i--) {
                pthread_cond_destroy(conds[i]);
            }
            pthread_mutex_destroy(&c->lock);
            goto no_lock;
        }
    }
    return 0;
no_lock:
    close(c->stop_pipe[0]);
    close(c->stop_pipe[1]);
    return -1;
}

/* All but locks and pipe. */
static void free_parts(xonce_consumer *c)
{
    for (size_t i = 0; i < c->nsubs; i++) {
        free(c->subs[i].topic);
        free(c->subs[i].tags);
        free(c->subs[i].table);
    }
    for (size_t i = 0; c->workers && i < c->nworkers; i++) {
        xo_worker_free(&c->workers[i]);
    }
    free(c->workers);
    free(c->subs);
    free(c->places);
    xonce_config_free(c->cfg);
    free(c);
}

xonce_status xonce_consumer_new(xonce_consumer **out, xonce_store *store, xonce_source *source, const xonce_config *cfg)
{
    if (!out) {
        return xo_fail(XONCE_E_INVALID, "xonce_consumer_new: no place for the consumer");
    }
    *out = NULL;
    if (!store || !source) {
        return xo_fail(XONCE_E_INVALID, "xonce_consumer_new: a consumer needs a store and a source");
    }
    xonce_consumer *c = xo_calloc(1, sizeof(*c));
    if (!c) {
        return xo_nomem();
    }
    size_t first;
    xonce_status st = xo_config_copy(&c->cfg, cfg);
    if (st == XONCE_OK) {
        st = xo_place_add(c, store, &first);
    }
    c->store = store;
    c->source = source;
    read_settings(c, cfg);
    xo_crew_init(&c->crew, c->nworkers, xo_one_writer(c));
    c->watch_at = INT64_MAX;
    c->workers = st == XONCE_OK ? xo_calloc(c->nworkers, sizeof(*c->workers)) : NULL;
    if (st == XONCE_OK && !c->workers) {
        st = xo_nomem();
    }
    if (st == XONCE_OK && init_sync(c) != 0) {
        st = xo_fail(XONCE_E_NOMEM, "xonce_consumer_new: no pipe or lock to be had: %s", strerror(errno));
    }
    if (st != XONCE_OK) {
        free_parts(c);
        return st;
    }
    *out = c;
    return XONCE_OK;
}

void xo_consumer_no_dedup(xonce_consumer *c)
{
    c->no_dedup = 1;
}

/* ---- subscriptions ---- */

static xonce_status subscribe(xonce_consumer *c, const char *topic, const char *tags, xo_sub sub)
{
    if (!c || !topic || !*topic || strlen(topic) > 255 || (!sub.one && !sub.many)) {
        return xo_fail(XONCE_E_INVALID, "a subscription needs a consumer, a topic of 1 to 255 bytes and a handler");
    }
    if (c->phase != XO_NEW) {
        return xo_fail(XONCE_E_INVALID, "topic %s: subscribe before the consumer is started", topic);
    }
    if (xo_find_sub(c, topic)) {
        return xo_fail(XONCE_E_INVALID, "topic %s has a handler already: one subscription per topic", topic);
    }
    xo_sub *subs = realloc(c->subs, (c->nsubs + 1) * sizeof(*subs));
    if (!subs) {
        return xo_nomem();
    }
    c->subs = subs;
    sub.nroutes = 1;
    sub.topic = xo_strdup(topic);
    sub.tags = xo_strdup(tags && *tags ? tags : "*");
    if (!sub.topic || !sub.tags) {
        free(sub.topic);
        free(sub.tags);
        return xo_nomem();
    }
    c->subs[c->nsubs++] = sub;
    return XONCE_OK;
}

xonce_status xonce_on(xonce_consumer *c, const char *topic, const char *tags, xonce_handler fn, void *arg)
{
    return subscribe(c, topic, tags, (xo_sub){.kind = XO_ONE, .one = fn, .arg = arg});
}

xonce_status xonce_on_batch(xonce_consumer *c, const char *topic, const char *tags, xonce_batch_handler fn, void *arg)
{
    return subscribe(c, topic, tags, (xo_sub){.kind = XO_MANY, .many = fn, .arg = arg});
}

xonce_status xonce_on_ordered(xonce_consumer *c, const char *topic, const char *tags, xonce_handler fn, void *arg)
{
    return subscribe(c, topic, tags, (xo_sub){.kind = XO_ORDERED, .one = fn, .arg = arg});
}

static xonce_status no_offsets(const xonce_consumer *c)
{
    return xo_fail(XONCE_E_INVALID, "claim=offset needs a source with offsets (rocketmq://); a source of kind %s has none", c->source->kind);
}

xonce_status xonce_on_claim(xonce_consumer *c, const char *topic, xonce_claim_mode mode)
{
    if (!c || !topic || c->phase != XO_NEW || (mode != XONCE_CLAIM_RECORD && mode != XONCE_CLAIM_OFFSET)) {
        return xo_fail(XONCE_E_INVALID, "xonce_on_claim: a consumer that is not started, a topic and a mode are needed");
    }
    xo_sub *s = xo_find_sub(c, topic);
    if (!s) {
        return xo_fail(XONCE_E_NOT_FOUND, "topic %.100s is not subscribed", topic);
    }
    if (mode == XONCE_CLAIM_OFFSET && !c->source->ops->by_offset) {
        return no_offsets(c);
    }
    for (size_t i = 0; i < c->nsubs; i++) {
        if (strcmp(c->subs[i].topic, topic) == 0) {
            c->subs[i].claim = mode;
            c->subs[i].claim_set = 1;
        }
    }
    return XONCE_OK;
}

/* ---- stop ---- */

int xo_consumer_stopping(const xonce_consumer *c)
{
    return __atomic_load_n(&c->stop_asked, __ATOMIC_ACQUIRE);
}

void xonce_consumer_ask_stop(xonce_consumer *c)
{
    int keep = errno;
    __atomic_store_n(&c->stop_asked, 1, __ATOMIC_RELEASE);
    ssize_t n = write(c->stop_pipe[1], "", 1); /* a full pipe wakes the control thread as well */
    (void)n;
    errno = keep;
}

void xo_consumer_die(xonce_consumer *c, const xo_error *why)
{
    pthread_mutex_lock(&c->lock);
    int first = c->failure.pub.code == XONCE_OK;
    if (first) {
        c->failure = *why;
    }
    c->stopping = 1;
    pthread_mutex_unlock(&c->lock);
    if (first) {
        xo_log(XO_ERROR, "consumer", "cannot go on: %s", why->pub.text);
    }
    xonce_consumer_ask_stop(c);
}

static void give_back_queues(xonce_consumer *c)
{
    xo_list all = {0};
    pthread_mutex_lock(&c->lock);
    xo_empty_queues(c, &all);
    pthread_mutex_unlock(&c->lock);
    xo_give_back(c, &all, 0);
}

static void wake_everybody(xonce_consumer *c)
{
    pthread_mutex_lock(&c->lock);
    c->stopping = 1;
    pthread_cond_broadcast(&c->work);
    pthread_cond_broadcast(&c->room);
    pthread_cond_broadcast(&c->tick);
    pthread_mutex_unlock(&c->lock);
    c->source->ops->wake(c->source);
}

/* The last acks. They have at least a second, else what xonce_consumer_stop still has. */
static void stop_source(xonce_consumer *c)
{
    pthread_mutex_lock(&c->lock);
    int64_t left = c->stop_deadline ? c->stop_deadline - xo_mono_ms() : FLUSH_MS;
    pthread_mutex_unlock(&c->lock);
    if (left > FLUSH_MS) {
        left = FLUSH_MS;
    }
    if (c->source->ops->stop(c->source, left < 1000 ? 1000 : left) != XONCE_OK) {
        xo_log(XO_WARN, "consumer", "not all acknowledgements could be sent, their messages come again as duplicates: %s", xonce_error_last()->text);
    }
}

static void *control_main(void *consumer)
{
    xonce_consumer *c = consumer;
    while (!xo_consumer_stopping(c)) {
        struct pollfd p = {.fd = c->stop_pipe[0], .events = POLLIN};
        (void)poll(&p, 1, 1000);
    }
    wake_everybody(c);
    (void)c->source->ops->stop(c->source, 0); /* takes nothing more from now on; acknowledgements still go out */
    give_back_queues(c);                      /* at once: a handler may still take long */
    pthread_join(c->dispatcher, NULL);
    give_back_queues(c);
    for (size_t i = 0; i < c->nworkers; i++) {
        pthread_join(c->workers[i].thread, NULL);
    }
    give_back_queues(c);
    pthread_join(c->maintenance, NULL);
    stop_source(c);
    xo_tell_rest(c, 1);
    pthread_mutex_lock(&c->lock);
    c->phase = XO_ENDED;
    pthread_cond_broadcast(&c->ended);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* Waits for the end until deadline (monotonic). 0: it has not come. */
static int wait_for_end(xonce_consumer *c, int64_t deadline)
{
    pthread_mutex_lock(&c->lock);
    while (c->phase == XO_RUNNING && (deadline == INT64_MAX || xo_mono_ms() < deadline)) {
        xo_cond_wait_ms(&c->ended, &c->lock, deadline);
    }
    int ended = c->phase != XO_RUNNING, join = c->phase == XO_ENDED && !c->joined;
    c->joined = c->joined || join;
    pthread_mutex_unlock(&c->lock);
    if (join) {
        pthread_join(c->control, NULL);
    }
    return ended;
}

xonce_status xonce_consumer_stop(xonce_consumer *c, int64_t timeout_ms)
{
    if (!c || timeout_ms < 0) {
        return xo_fail(XONCE_E_INVALID, "xonce_consumer_stop: a consumer and a time of 0 or more are needed");
    }
    int64_t deadline = timeout_ms > INT64_MAX / 2 ? INT64_MAX : xo_mono_ms() + timeout_ms;
    pthread_mutex_lock(&c->lock);
    c->stop_deadline = deadline;
    pthread_mutex_unlock(&c->lock);
    xonce_consumer_ask_stop(c);
    if (wait_for_end(c, deadline)) {
        return XONCE_OK;
    }
    pthread_mutex_lock(&c->lock);
    size_t running = 0;
    for (size_t i = 0; i < c->nworkers; i++) {
        running += c->workers[i].since != 0;
    }
    pthread_mutex_unlock(&c->lock);
    return xo_fail(XONCE_E_TIMEOUT, "the consumer did not stop within %lld ms: %zu workers are still in a transaction; stop again, or end the process: their messages come again",
                   (long long)timeout_ms, running);
}

/* ---- start ---- */

static xonce_status prepare_sub(xonce_consumer *c, xo_sub *s)
{
    const xo_source_ops *ops = c->source->ops;
    xonce_claim_mode mode = s->claim_set ? s->claim : c->claim;
    int by_offset = mode == XONCE_CLAIM_OFFSET && !c->no_dedup;
    if (by_offset && !ops->by_offset) {
        return no_offsets(c);
    }
    if (by_offset && s->nroutes != 1 && s->route) {
        return xo_fail(XONCE_E_INVALID, "topic %.100s: claim=offset moves a position in one database, and this topic goes to several: claim it by record", s->topic);
    }
    if (by_offset && c->places[s->place].store->identify) {
        return xo_fail(XONCE_E_INVALID, "topic %.100s: an id made of the content (xonce_store_identify, --id) and claim=offset exclude each other: by its offset a message is known by its place alone", s->topic);
    }
    s->in_lanes = s->kind == XO_ORDERED || by_offset;
    xo_size_init(&s->size, xo_batch_max(c, s), c->linger > 0);
    if (s->in_lanes && !s->table && !(s->table = xo_calloc(XO_LANE_BUCKETS, sizeof(xo_lane *)))) {
        return xo_nomem();
    }
    if (!s->nroutes) { /* the topic's first one has said so */
        return XONCE_OK;
    }
    xonce_status st = ops->subscribe(c->source, c->store->group, s->topic, s->tags, s->kind == XO_ORDERED);
    return st == XONCE_OK && by_offset ? ops->by_offset(c->source, s->topic) : st;
}

static xonce_status prepare(xonce_consumer *c)
{
    if (c->phase != XO_NEW) {
        return xo_fail(XONCE_E_INVALID, "a consumer is started once; make a new one");
    }
    if (!c->nsubs) {
        return xo_fail(XONCE_E_INVALID, "nothing to consume: subscribe with xonce_on before start");
    }
    xonce_status st = xo_maintenance_check(c, &c->prune);
    for (size_t i = 0; st == XONCE_OK && i < c->nworkers; i++) {
        if (!c->workers[i].items) {
            st = xo_worker_make(c, &c->workers[i]);
        }
    }
    const xo_source_ops *ops = c->source->ops;
    for (size_t i = 0; st == XONCE_OK && i < c->nsubs; i++) {
        st = prepare_sub(c, &c->subs[i]);
    }
    if (st == XONCE_OK && ops->positions && !c->no_dedup) {
        ops->positions(c->source, xo_place_positions(), c);
    }
    c->source->several = c->nplaces > 1;
    return st == XONCE_OK ? ops->start(c->source) : st;
}

/* All threads or none. */
static int start_threads(xonce_consumer *c)
{
    size_t n = 0;
    if (pthread_create(&c->dispatcher, NULL, xo_dispatcher_main, c) != 0) {
        return -1;
    }
    while (n < c->nworkers && pthread_create(&c->workers[n].thread, NULL, xo_worker_main, &c->workers[n]) == 0) {
        n++;
    }
    int maintenance = n == c->nworkers && pthread_create(&c->maintenance, NULL, xo_maintenance_main, c) == 0;
    if (maintenance && pthread_create(&c->control, NULL, control_main, c) == 0) {
        return 0;
    }
    xonce_consumer_ask_stop(c);
    wake_everybody(c);
    if (maintenance) {
        pthread_join(c->maintenance, NULL);
    }
    while (n--) {
        pthread_join(c->workers[n].thread, NULL);
    }
    pthread_join(c->dispatcher, NULL);
    give_back_queues(c);
    return -1;
}

xonce_status xonce_consumer_start(xonce_consumer *c)
{
    if (!c) {
        return xo_fail(XONCE_E_INVALID, "xonce_consumer_start: no consumer");
    }
    xonce_status st = prepare(c);
    if (st != XONCE_OK) {
        return st;
    }
    pthread_mutex_lock(&c->lock);
    c->phase = XO_RUNNING;
    pthread_mutex_unlock(&c->lock);
    if (start_threads(c) != 0) {
        stop_source(c);
        c->phase = XO_ENDED;
        c->joined = 1;
        return xo_fail(XONCE_E_NOMEM, "the consumer's %zu threads cannot be started: lower workers, or raise the limit of processes", c->nworkers + 3);
    }
    return XONCE_OK;
}

xonce_status xonce_consumer_run(xonce_consumer *c)
{
    xonce_status st = xonce_consumer_start(c);
    if (st != XONCE_OK) {
        return st;
    }
    (void)wait_for_end(c, INT64_MAX);
    return c->failure.pub.code == XONCE_OK ? XONCE_OK : xo_error_restore(&c->failure);
}

int xo_consumer_ended(xonce_consumer *c, xo_error *why)
{
    pthread_mutex_lock(&c->lock);
    int ended = c->phase == XO_ENDED;
    if (why) {
        *why = c->failure;
    }
    pthread_mutex_unlock(&c->lock);
    return ended;
}

/* ---- counts, free ---- */

xonce_status xonce_consumer_counts(xonce_consumer *c, xonce_counts *out)
{
    if (!c || !out || out->size < sizeof(out->size) || out->size > 65536) {
        return xo_fail(XONCE_E_INVALID, "xonce_consumer_counts: set size to sizeof(xonce_counts) first");
    }
    xo_source_counts s = {0};
    if (c->source->counts) {
        c->source->counts(c->source, &s);
    }
    pthread_mutex_lock(&c->lock);
    xonce_counts now = {
        .polled = c->polled,
        .fresh = c->fresh,
        .duplicate = c->duplicate,
        .rejected = c->rejected,
        .retried = c->retried,
        .acked = s.acked,
        .ack_failed = s.ack_failed,
        .conflicts = c->metrics.failed[XO_FAILED_CONFLICT],
        .unknown_commits = c->metrics.failed[XO_FAILED_UNKNOWN_COMMIT],
        .replayed = c->replayed,
        .pruned = c->pruned,
        .in_flight = c->in_flight,
        .last_poll_ms = c->last_message ? xo_mono_ms() - c->last_message : -1,
        .healthy = xo_is_healthy(c, &s),
    };
    pthread_mutex_unlock(&c->lock);
    size_t size = out->size;
    now.size = size;
    memcpy(out, &now, size < sizeof(now) ? size : sizeof(now)); /* a caller built with an older header has fewer fields, a newer one finds zeros */
    if (size > sizeof(now)) {
        memset((char *)out + sizeof(now), 0, size - sizeof(now));
    }
    return XONCE_OK;
}

void xonce_consumer_free(xonce_consumer *c)
{
    if (!c) {
        return;
    }
    if (c->phase != XO_NEW) {
        xonce_consumer_ask_stop(c);
        (void)wait_for_end(c, INT64_MAX);
    }
    if (c->watcher) {
        c->watcher_end(c->watcher);
    }
    pthread_cond_destroy(&c->work);
    pthread_cond_destroy(&c->room);
    pthread_cond_destroy(&c->tick);
    pthread_cond_destroy(&c->ended);
    pthread_mutex_destroy(&c->lock);
    close(c->stop_pipe[0]);
    close(c->stop_pipe[1]);
    free_parts(c);
}
