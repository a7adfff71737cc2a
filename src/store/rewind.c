/* Rewinding a queue: its ranges and records beyond a place go. */
#include "store/rewind.h"
#include "store/run.h"
#include <stdlib.h>

typedef struct {
    int64_t rows, generation, epoch;
    char *tags; /* of the youngest */
    xonce_value record_before;
    int failed; /* no memory */
} found;

static int on_row(const xonce_row *r, void *arg)
{
    found *f = arg;
    int64_t epoch = xonce_row_int(r, 1);
    f->rows++;
    f->generation = xonce_row_int(r, 0);
    f->epoch = epoch > f->epoch ? epoch : f->epoch;
    free(f->tags);
    f->tags = xo_strdup(xonce_row_text(r, 2));
    f->record_before = xonce_row_is_null(r, 3) ? xonce_null() : xonce_int(xonce_row_int(r, 3));
    f->failed = !f->tags;
    return f->failed;
}

#define OF_QUEUE " WHERE consumer_group = $1 AND topic_name = $2 AND broker_name = $3 AND queue_id = $4"

/* Ends what goes beyond offset. The maxima may stay: what is newer than they were is newer still. *left: rows that are there after. */
static xonce_status cut_ranges(xonce_tx *tx, xonce_value *v, int64_t rows, int64_t *left)
{
    int64_t gone = 0;
    xonce_status st = xonce_exec_now(tx, "DELETE FROM xonce_settled" OF_QUEUE " AND first_offset >= $5", v, 5, &gone);
    if (st == XONCE_OK) {
        st = xonce_exec_now(tx, "UPDATE xonce_settled SET next_offset = $5, epoch = epoch + 1" OF_QUEUE " AND next_offset > $5", v, 5, NULL);
    }
    *left = rows - gone;
    return st;
}

static xonce_status rewind_in(xonce_tx *tx, xonce_store *s, const char *topic, const char *broker, int32_t queue, int64_t offset, int64_t *records)
{
    xonce_value v[9] = {xonce_text(s->group), xonce_text(topic), xonce_text(broker), xonce_int(queue), xonce_int(offset)};
    found f = {.generation = -1, .record_before = xonce_null()};
    int64_t left = 0;
    xonce_status st = xonce_query(tx, "SELECT generation, epoch, tags, record_before FROM xonce_settled" OF_QUEUE " ORDER BY generation", v, 4, on_row, &f);
    if (st == XONCE_OK) {
        st = f.failed ? xo_nomem() : cut_ranges(tx, v, f.rows, &left);
    }
    if (st == XONCE_OK && left == 0) { /* nothing before it: a row that says where to begin, of the same filter, or no range of the topic would free records any more */
        v[5] = xonce_int(f.generation + 1);
        v[6] = xonce_int(f.epoch + 1);
        v[7] = xonce_text(f.tags ? f.tags : "*");
        v[8] = f.record_before;
        st = xonce_exec_now(tx,
                            "INSERT INTO xonce_settled (consumer_group, topic_name, broker_name, queue_id, generation, tags, first_offset, next_offset, last_store_time, last_log_offset, epoch, record_before)"
                            " VALUES ($1, $2, $3, $4, $6, $8, $5, $5, -1, -1, $7, $9)",
                            v, 9, NULL);
    }
    if (st == XONCE_OK) {
        const char *sql = s->d->kind == XO_DIALECT_MYSQL ? "DELETE FROM transaction_record" OF_QUEUE " AND `offset` >= $5" : "DELETE FROM transaction_record" OF_QUEUE " AND \"offset\" >= $5";
        st = xonce_exec_now(tx, sql, v, 5, records);
    }
    free(f.tags);
    return st;
}

xonce_status xo_rewind_queue(xonce_store *s, const char *topic, const char *broker, int32_t queue, int64_t offset, int64_t *records)
{
    xonce_tx *tx = NULL;
    int64_t gone = 0;
    xonce_status st = xonce_tx_begin(s, &tx);
    if (st == XONCE_OK) {
        st = rewind_in(tx, s, topic, broker, queue, offset, &gone);
    }
    if (st == XONCE_OK) {
        st = xonce_tx_commit(tx);
    } else {
        xo_error e;
        xo_error_save(&e);
        xonce_tx_rollback(tx);
        (void)xo_error_restore(&e);
    }
    if (records) {
        *records = st == XONCE_OK ? gone : 0;
    }
    return st == XONCE_OK ? st : xo_error_context("rewinding queue %d of %s at %s", (int)queue, topic, broker);
}
