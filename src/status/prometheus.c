/* /metrics: Prometheus' text format 0.0.4. */
#include "base/clock.h"
#include "base/text.h"
#include "status/inside.h"
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void family(xo_buf *b, const char *name, const char *type, const char *help)
{
    xo_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void label(xo_buf *b, const char *name, const char *value)
{
    size_t bad;
    int whole = xo_utf8_valid(value, strlen(value), &bad);
    xo_buf_printf(b, ",%s=\"", name);
    for (const char *p = value; *p; p++) {
        if (*p == '\n') {
            xo_buf_str(b, "\\n");
            continue;
        }
        if (*p == '"' || *p == '\\') {
            xo_buf_char(b, '\\');
        }
        xo_buf_char(b, whole || (unsigned char)*p < 0x80 ? *p : '?'); /* one byte that is no UTF-8 would spoil it all */
    }
    xo_buf_char(b, '"');
}

/* name{group="g",consumer="c": others may follow; close() ends it. A group has no byte that needs escaping. */
static void begin(xo_buf *b, const char *name, const xo_shot *s)
{
    xo_buf_printf(b, "%s{group=\"%s\"", name, s->v.group);
    if (s->w->name) {
        label(b, "consumer", s->w->name);
    }
}

static void close_u(xo_buf *b, uint64_t value)
{
    xo_buf_printf(b, "} %" PRIu64 "\n", value);
}

static void close_d(xo_buf *b, double value)
{
    xo_buf_printf(b, "} %.15g\n", value);
}

/* ---- plain numbers ---- */

typedef struct {
    const char *name, *type, *help;
    size_t at;
    enum { U64, SIZE, INT } kind;
} number;
#define FIELD(f) offsetof(xo_view_of, f)
static const number numbers[] = {
    {"xonce_polled_messages_total", "counter", "Messages taken from the source, each delivery.", FIELD(polled), U64},
    {"xonce_replayed_messages_total", "counter", "Rejected messages that were run again with success.", FIELD(replayed), U64},
    {"xonce_unknown_commits_total", "counter", "COMMITs whose answer was lost; the unique key said afterwards what became of them.", FIELD(metrics.failed[XO_FAILED_UNKNOWN_COMMIT]), U64},
    {"xonce_acknowledged_messages_total", "counter", "Messages that the source was told are done.", FIELD(source.acked), U64},
    {"xonce_acknowledge_failures_total", "counter", "Acknowledgements that were not taken: these messages come again as duplicates.", FIELD(source.ack_failed), U64},
    {"xonce_expired_messages_total", "counter", "Messages dropped from the buffer because their time was up: they come again.", FIELD(source.expired), U64},
    {"xonce_poll_answers_total", "counter", "Answers of the source to polls, with messages or without.", FIELD(source.answers), U64},
    {"xonce_in_flight_messages", "gauge", "Messages taken from the source and not settled.", FIELD(in_flight), SIZE},
    {"xonce_in_flight_bytes", "gauge", "Bytes of their bodies.", FIELD(in_flight_bytes), SIZE},
    {"xonce_waiting_messages", "gauge", "Of these, messages that no worker has taken yet.", FIELD(waiting), SIZE},
    {"xonce_buffered_messages", "gauge", "Messages fetched by the source that the consumer has not taken yet.", FIELD(source.buffered), SIZE},
    {"xonce_unacknowledged_messages", "gauge", "Settled messages of which the other side has not been told yet.", FIELD(source.unacked), SIZE},
    {"xonce_workers", "gauge", "Most transactions at a time (config workers).", FIELD(workers), SIZE},
    {"xonce_workers_busy", "gauge", "Workers that are in a transaction.", FIELD(busy), SIZE},
    {"xonce_healthy", "gauge", "1 when database and source can be used and no handler broke its transaction lately.", FIELD(healthy), INT},
    {"xonce_source_up", "gauge", "0 while the source cannot be asked.", FIELD(source_ok), INT},
};

static uint64_t field_of(const xo_view_of *v, const number *n)
{
    const char *at = (const char *)v + n->at;
    uint64_t u;
    size_t size;
    int i;
    switch (n->kind) {
    case SIZE: memcpy(&size, at, sizeof(size)); return size;
    case INT: memcpy(&i, at, sizeof(i)); return (uint64_t)i;
    case U64: break;
    }
    memcpy(&u, at, sizeof(u));
    return u;
}

static void show_numbers(xo_buf *b, const xo_shots *all)
{
    for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++) {
        family(b, numbers[k].name, numbers[k].type, numbers[k].help);
        for (size_t i = 0; i < all->n; i++) {
            begin(b, numbers[k].name, &all->list[i]);
            close_u(b, field_of(&all->list[i].v, &numbers[k]));
        }
    }
    static const char last[] = "xonce_last_message_timestamp_seconds";
    family(b, last, "gauge", "When the last message came from the source.");
    for (size_t i = 0; i < all->n; i++) {
        if (all->list[i].v.last_message_ms >= 0) {
            begin(b, last, &all->list[i]);
            close_d(b, (double)(xo_now_ms() - all->list[i].v.last_message_ms) / 1000);
        }
    }
    static const char info[] = "xonce_consumer_info";
    family(b, info, "gauge", "Always 1: what the consumer reads from.");
    for (size_t i = 0; i < all->n; i++) {
        begin(b, info, &all->list[i]);
        label(b, "source", all->list[i].v.source_kind);
        close_u(b, 1);
    }
}

/* ---- by topic, cause and queue ---- */

static void outcome(xo_buf *b, const xo_shot *s, const char *topic, const char *what, uint64_t n)
{
    begin(b, "xonce_messages_total", s);
    label(b, "topic", topic);
    label(b, "outcome", what);
    close_u(b, n);
}

static void show_outcomes(xo_buf *b, const xo_shots *all)
{
    family(b, "xonce_messages_total", "counter", "Runs of messages by what became of them: applied (fresh), skipped (duplicate), given up (rejected), put off to come again (retried).");
    for (size_t i = 0; i < all->n; i++) {
        for (size_t k = 0; k < all->list[i].v.ntopics; k++) {
            const xo_topic_view *t = &all->list[i].v.topics[k];
            outcome(b, &all->list[i], t->topic, "fresh", t->seen.fresh);
            outcome(b, &all->list[i], t->topic, "duplicate", t->seen.duplicate);
            outcome(b, &all->list[i], t->topic, "rejected", t->seen.rejected);
            outcome(b, &all->list[i], t->topic, "retried", t->seen.retried);
        }
    }
}

static void show_causes(xo_buf *b, const xo_shots *all)
{
    family(b, "xonce_retries_total", "counter", "Messages that were put off to come again, by cause.");
    for (size_t i = 0; i < all->n; i++) {
        for (size_t k = 0; k < XO_RETRY_CAUSES; k++) {
            begin(b, "xonce_retries_total", &all->list[i]);
            label(b, "cause", xo_retry_names[k]);
            close_u(b, all->list[i].v.metrics.retries[k]);
        }
    }
    family(b, "xonce_transaction_failures_total", "counter", "Transactions that did not go through and were run again, by cause.");
    for (size_t i = 0; i < all->n; i++) {
        for (size_t k = 0; k < XO_FAILED_CAUSES; k++) {
            begin(b, "xonce_transaction_failures_total", &all->list[i]);
            label(b, "cause", xo_failed_names[k]);
            close_u(b, all->list[i].v.metrics.failed[k]);
        }
    }
}

static void queue_number(xo_buf *b, const char *name, const xo_shot *s, const xo_source_queue *q, int64_t value)
{
    if (value >= 0) {
        begin(b, name, s);
        label(b, "topic", q->topic);
        label(b, "broker", q->broker);
        xo_buf_printf(b, ",queue=\"%" PRId32 "\"} %" PRId64 "\n", q->queue, value);
    }
}

static int64_t position_of(const xo_source_queue *q)
{
    return q->position;
}

static int64_t end_of(const xo_source_queue *q)
{
    return q->end;
}

static void show_queues(xo_buf *b, const xo_shots *all)
{
    static const struct {
        const char *name, *help;
        int64_t (*of)(const xo_source_queue *q);
    } each[] = {
        {"xonce_queue_lag_messages", "Messages of a queue that are not settled, as of the broker's last answer (rocketmq).", xo_queue_lag},
        {"xonce_queue_position", "All of a queue before this offset is settled (rocketmq).", position_of},
        {"xonce_queue_end", "Offset at which a queue ends, as of the broker's last answer (rocketmq).", end_of},
    };
    for (size_t k = 0; k < sizeof(each) / sizeof(each[0]); k++) {
        family(b, each[k].name, "gauge", each[k].help);
        for (size_t i = 0; i < all->n; i++) {
            for (size_t q = 0; q < all->list[i].nqueues; q++) {
                queue_number(b, each[k].name, &all->list[i], &all->list[i].queues[q], each[k].of(&all->list[i].queues[q]));
            }
        }
    }
}

/* ---- histograms ---- */

static void bucket(xo_buf *b, const char *name, const xo_shot *s, const char *le, uint64_t n)
{
    begin(b, name, s);
    label(b, "le", le);
    close_u(b, n);
}

static void one_histogram(xo_buf *b, const char *name, const xo_shot *s, const xo_histogram *h)
{
    char full[80], le[32];
    uint64_t n = 0;
    (void)snprintf(full, sizeof(full), "%s_bucket", name);
    for (size_t i = 0; i < XO_BUCKETS; i++) {
        n += h->n[i];
        (void)snprintf(le, sizeof(le), "%.10g", (double)xo_bucket_us[i] / 1e6);
        bucket(b, full, s, le, n);
    }
    bucket(b, full, s, "+Inf", h->count);
    (void)snprintf(full, sizeof(full), "%s_sum", name);
    begin(b, full, s);
    close_d(b, (double)h->sum_us / 1e6);
    (void)snprintf(full, sizeof(full), "%s_count", name);
    begin(b, full, s);
    close_u(b, h->count);
}

static void show_histograms(xo_buf *b, const xo_shots *all)
{
    static const struct {
        const char *name, *help;
    } each[XO_TIME_KINDS] = {
        [XO_TIME_CLAIM] = {"xonce_claim_seconds", "Claiming a batch: a connection, BEGIN and the records of its messages, all attempts together."},
        [XO_TIME_HANDLER] = {"xonce_handler_seconds", "The handlers of a batch. Statements that they queue are run with the COMMIT."},
        [XO_TIME_COMMIT] = {"xonce_commit_seconds", "The COMMIT of a batch, and the statements that travel with it."},
        [XO_TIME_SETTLE] = {"xonce_settle_seconds", "A request that tells the source what is settled, until it is answered."},
        [XO_TIME_END_TO_END] = {"xonce_end_to_end_seconds", "From when a message was sent, by the sender's clock, to when its COMMIT was answered; fresh messages."},
    };
    for (size_t k = 0; k < XO_TIME_KINDS; k++) {
        family(b, each[k].name, "histogram", each[k].help);
        for (size_t i = 0; i < all->n; i++) {
            one_histogram(b, each[k].name, &all->list[i], &all->list[i].v.metrics.times[k]);
        }
    }
}

static void show_sizes(xo_buf *b, const xo_shots *all)
{
    family(b, "xonce_batch_messages", "histogram", "Messages in a transaction.");
    for (size_t i = 0; i < all->n; i++) {
        const xo_metrics *m = &all->list[i].v.metrics;
        uint64_t n = 0;
        char le[16];
        for (size_t k = 0; k < XO_BATCH_STEPS; k++) {
            n += m->sizes[k];
            (void)snprintf(le, sizeof(le), "%d", 1 << k);
            bucket(b, "xonce_batch_messages_bucket", &all->list[i], le, n);
        }
        bucket(b, "xonce_batch_messages_bucket", &all->list[i], "+Inf", m->batches);
        begin(b, "xonce_batch_messages_sum", &all->list[i]);
        close_u(b, m->taken);
        begin(b, "xonce_batch_messages_count", &all->list[i]);
        close_u(b, m->batches);
    }
}

/* ---- databases ---- */

typedef struct {
    const xo_heard *h;           /* NULL: nothing was heard of it yet */
    const xo_store_view *v;
    int ok;
} store_shot;

static double up_of(const store_shot *s)
{
    return s->ok;
}

static double rows_of(const store_shot *s)
{
    return s->h ? (double)s->h->figures.rows : -1;
}

static double oldest_of(const store_shot *s)
{
    return s->h && s->h->figures.oldest > 0 ? (double)s->h->figures.oldest / 1000 : -1;
}

static double rejected_of(const store_shot *s)
{
    return s->h ? (double)s->h->figures.rejected : -1;
}

static double watermark_of(const store_shot *s)
{
    return s->h && s->h->watermark > 0 ? (double)s->h->watermark / 1000 : -1;
}

static double prune_runs_of(const store_shot *s)
{
    return (double)s->v->prune.runs;
}

static double prune_failures_of(const store_shot *s)
{
    return (double)s->v->prune.failed;
}

static double pruned_of(const store_shot *s)
{
    return (double)s->v->prune.total;
}

static double prune_last_of(const store_shot *s)
{
    return s->v->prune.last ? (double)s->v->prune.last / 1000 : -1;
}

static double prune_took_of(const store_shot *s)
{
    return s->v->prune.last ? (double)s->v->prune.took_ms / 1000 : -1;
}

static double prune_deleted_of(const store_shot *s)
{
    return s->v->prune.last ? (double)s->v->prune.deleted : -1;
}

static const struct {
    const char *name, *type, *help;
    double (*of)(const store_shot *s); /* less than 0: not known, nothing is shown */
} store_numbers[] = {
    {"xonce_database_up", "gauge", "1 when the database answers and takes claims.", up_of},
    {"xonce_records", "gauge", "Rows of transaction_record, of all groups: counted up to 10000, else as the engine estimates.", rows_of},
    {"xonce_oldest_record_timestamp_seconds", "gauge", "When the oldest record was written.", oldest_of},
    {"xonce_rejected_messages", "gauge", "Messages of the group in xonce_rejected.", rejected_of},
    {"xonce_watermark_timestamp_seconds", "gauge", "Up to when the group had settled everything: records are pruned by it.", watermark_of},
    {"xonce_prune_runs_total", "counter", "Runs of pruning by this process.", prune_runs_of},
    {"xonce_prune_failures_total", "counter", "Runs of pruning that failed.", prune_failures_of},
    {"xonce_prune_deleted_records_total", "counter", "Records deleted by this process.", pruned_of},
    {"xonce_prune_last_timestamp_seconds", "gauge", "When this process last ended pruning.", prune_last_of},
    {"xonce_prune_last_duration_seconds", "gauge", "How long that took.", prune_took_of},
    {"xonce_prune_last_deleted_records", "gauge", "What that deleted.", prune_deleted_of},
};

static void store_begin(xo_buf *b, const char *name, const xo_shot *s, size_t store)
{
    begin(b, name, s);
    xo_buf_printf(b, ",store=\"%zu\"", store + 1);
}

static void show_store_number(xo_buf *b, const xo_shots *all, size_t k)
{
    char why[XO_REASON_SIZE];
    family(b, store_numbers[k].name, store_numbers[k].type, store_numbers[k].help);
    for (size_t i = 0; i < all->n; i++) {
        const xo_shot *s = &all->list[i];
        for (size_t n = 0; n < s->v.nstores; n++) {
            store_shot one = {n < s->w->nheard ? &s->w->heard[n] : NULL, &s->v.stores[n], xo_store_is_ok(s->w, &s->v, n, why)};
            double value = store_numbers[k].of(&one);
            if (value >= 0) {
                store_begin(b, store_numbers[k].name, s, n);
                close_d(b, value);
            }
        }
    }
}

static void show_stores(xo_buf *b, const xo_shots *all)
{
    for (size_t k = 0; k < sizeof(store_numbers) / sizeof(store_numbers[0]); k++) {
        show_store_number(b, all, k);
    }
    family(b, "xonce_store_info", "gauge", "Always 1: which database it is, without its password.");
    for (size_t i = 0; i < all->n; i++) {
        for (size_t n = 0; n < all->list[i].v.nstores; n++) {
            const xonce_store *store = all->list[i].v.stores[n].store;
            char *uri = xo_uri_mask(xo_pool_options(store->pool)->uri_text);
            store_begin(b, "xonce_store_info", &all->list[i], n);
            label(b, "engine", store->d->name);
            label(b, "uri", uri ? uri : "");
            close_u(b, 1);
            free(uri);
        }
    }
}

/* ---- the process ---- */

static void show_process(xo_buf *b)
{
    xo_process p;
    xo_process_look(&p);
    const struct {
        const char *name, *type, *help;
        double value;
    } each[] = {
        {"process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", p.cpu_seconds},
        {"process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.", p.started_seconds},
        {"process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", (double)p.resident},
        {"process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", (double)p.virtual_size},
        {"process_open_fds", "gauge", "Number of open file descriptors.", (double)p.open_fds},
        {"process_max_fds", "gauge", "Maximum number of open file descriptors.", (double)p.max_fds},
        {"process_threads", "gauge", "Number of OS threads in the process.", (double)p.threads},
    };
    family(b, "xonce_build_info", "gauge", "Always 1: the version of the library.");
    xo_buf_printf(b, "xonce_build_info{version=\"%s\"} 1\n", XONCE_VERSION);
    for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
        if (each[i].value >= 0) {
            family(b, each[i].name, each[i].type, each[i].help);
            xo_buf_printf(b, "%s %.15g\n", each[i].name, each[i].value);
        }
    }
}

xonce_status xo_status_prometheus(xo_status *s, xo_buf *out)
{
    xo_shots all;
    xonce_status st = xo_shots_take(s, &all);
    if (st != XONCE_OK) {
        return st;
    }
    show_numbers(out, &all);
    show_outcomes(out, &all);
    show_causes(out, &all);
    show_queues(out, &all);
    show_histograms(out, &all);
    show_sizes(out, &all);
    pthread_mutex_lock(&s->lock);
    show_stores(out, &all);
    pthread_mutex_unlock(&s->lock);
    show_process(out);
    xo_shots_free(&all);
    return xo_buf_status(out);
}
