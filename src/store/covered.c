/* Claims that a settled range answers: a message whose record was pruned is known by its place.
 *
 * The claim comes first, and the ranges are read by a later statement. A record is pruned only after the range that covers it was committed, and a claim is taken only after the record's
 * deletion was: so whoever gets the key of a pruned record sees its range. Read in the other order, a range and a deletion between the two reads would let the message through. */
#include "message/position.h"
#include "store/claim.h"
#include <string.h>

/* Where a delivery stood. A copy out of a retry queue is judged by that queue: its original's place was settled by the very send-back that made the copy. */
typedef struct {
    const char *topic, *broker;
    int32_t queue;
    int64_t offset, store_time, log_offset;
} place;

static place place_of(const xonce_message *m)
{
    if (m->copy_topic) {
        return (place){m->copy_topic, m->copy_broker, m->copy_queue, m->copy_offset, m->copy_store_time, m->copy_log_offset};
    }
    return (place){m->topic, m->broker, m->queue, m->offset, m->store_time, m->log_offset};
}

/* Only what came from a queue with physical offsets can be judged by its place. */
static int has_place(const xo_claimant *cl, place *p)
{
    *p = place_of(cl->m);
    return p->log_offset >= 0 && p->store_time >= 0 && p->offset >= 0 && p->queue >= 0 && p->broker[0];
}

static int is_of(const xo_claimant *cl, const char *topic, place *p)
{
    return has_place(cl, p) && strcmp(p->topic, topic) == 0;
}

/* broker_name, queue_id, first_offset, next_offset, last_store_time, last_log_offset, tags, record_before. In the usual course no range reaches up to the claims, and no row is read. */
static int on_range(const xonce_row *r, void *arg)
{
    xo_cover *cv = arg;
    const char *broker = xonce_row_text(r, 0), *tags = xonce_row_text(r, 6);
    xo_cover_row *row = xo_arena_alloc(cv->arena, sizeof *row);
    if (!row) {
        cv->no_memory = 1;
        return 1;
    }
    *row = (xo_cover_row){.broker = xo_arena_dup(cv->arena, broker, strlen(broker)),
                          .queue = xonce_row_int(r, 1),
                          .range = {.tags = xo_arena_dup(cv->arena, tags, strlen(tags)),
                                    .first = xonce_row_int(r, 2),
                                    .next = xonce_row_int(r, 3),
                                    .last_store_time = xonce_row_int(r, 4),
                                    .last_log_offset = xonce_row_int(r, 5)},
                          .by_offset = !xonce_row_is_null(r, 7),
                          .next = cv->rows};
    cv->no_memory = !row->broker || !row->range.tags;
    cv->rows = row;
    return cv->no_memory;
}

/* What the ranges of one topic say about the fresh ones. */
static xonce_status judge(xo_cover *cv, xo_claimant **set, size_t n)
{
    place p;
    if (cv->no_memory) {
        return xo_nomem();
    }
    for (const xo_cover_row *row = cv->rows; row; row = row->next) {
        for (size_t i = 0; i < n; i++) {
            xo_claimant *cl = set[i];
            if (cl->state != XO_CLAIM_FRESH || !is_of(cl, cv->topic, &p) || p.queue != row->queue || strcmp(p.broker, row->broker) != 0) {
                continue;
            }
            if (row->by_offset && !cl->m->claim_record) {
                cl->state = XO_CLAIM_FENCED;
            } else if (xo_ranges_cover(&row->range, 1, p.offset, p.store_time, p.log_offset, xonce_message_property(cl->m, "TAGS"))) {
                cl->state = XO_CLAIM_COVERED;
                cv->hits++;
            }
        }
    }
    cv->rows = NULL;
    return XONCE_OK;
}

/* The question for the ranges of one topic. */
static xonce_status ask_for(xonce_store *s, xo_cover *cv, const char *topic, xo_claimant **set, size_t n)
{
    static const char sql[] = "SELECT broker_name, queue_id, first_offset, next_offset, last_store_time, last_log_offset, tags, record_before FROM xonce_settled"
                              " WHERE consumer_group = $1 AND topic_name = $2 AND ((next_offset > $3 AND first_offset <= $4) OR record_before IS NOT NULL)";
    int64_t low = INT64_MAX, high = -1;
    for (size_t i = 0; i < n; i++) {
        place p;
        if (is_of(set[i], topic, &p)) {
            low = p.offset < low ? p.offset : low;
            high = p.offset > high ? p.offset : high;
        }
    }
    cv->topic = topic;
    cv->v[0] = xonce_text(s->group);
    cv->v[1] = xonce_text(topic);
    cv->v[2] = xonce_int(low);
    cv->v[3] = xonce_int(high);
    cv->ask = (xo_ask){.v = cv->v, .fn = on_range, .arg = cv};
    return xo_pool_sql(s->pool, sql, &cv->ask.sql, &cv->owned);
}

static void end_ask(xo_cover *cv)
{
    if (cv->owned) {
        xo_sql_free((xo_sql *)(uintptr_t)cv->ask.sql);
    }
    cv->owned = 0;
    cv->ask.sql = NULL;
}

/* The topic of the i-th, when none before it has the same. */
static const char *another_topic(xo_claimant **set, size_t i)
{
    place p, other;
    if (!has_place(set[i], &p)) {
        return NULL;
    }
    for (size_t k = 0; k < i; k++) {
        if (is_of(set[k], p.topic, &other)) {
            return NULL;
        }
    }
    return p.topic;
}

xonce_status xo_cover_prepare(xonce_store *s, xo_cover *cv, xo_arena *arena, xo_claimant **set, size_t n)
{
    const char *only = NULL;
    *cv = (xo_cover){.arena = arena};
    for (size_t i = 0; i < n; i++) {
        const char *topic = set[i]->m->topic == only ? NULL : another_topic(set, i);
        if (topic && only) {
            return XONCE_OK; /* several: they are asked for one by one */
        }
        only = topic ? topic : only;
    }
    return only ? ask_for(s, cv, only, set, n) : XONCE_OK;
}

void xo_cover_end(xo_cover *cv)
{
    end_ask(cv);
}

static xonce_status look(xonce_store *s, xo_conn *c, xo_cover *cv, const char *topic, xo_claimant **set, size_t n)
{
    end_ask(cv);
    xonce_status st = ask_for(s, cv, topic, set, n);
    if (st == XONCE_OK) {
        st = s->d->query(c, cv->ask.sql, cv->v, 4, on_range, cv, NULL);
    }
    if (st == XONCE_OK) {
        st = judge(cv, set, n);
    }
    end_ask(cv);
    return st == XONCE_OK ? st : xo_error_context("looking for the messages in xonce_settled");
}

xonce_status xo_claim_covered(xonce_store *s, xo_conn *c, xo_cover *cv, xo_claimant **set, size_t n)
{
    xonce_status st = XONCE_OK;
    if (cv->ask.done) {
        st = judge(cv, set, n);
    }
    for (size_t i = 0; st == XONCE_OK && !cv->ask.done && i < n; i++) {
        const char *topic = another_topic(set, i);
        if (topic) {
            st = look(s, c, cv, topic, set, n);
        }
    }
    for (size_t i = 0; st == XONCE_OK && cv->hits && i < n; i++) {
        if (set[i]->state == XO_CLAIM_COVERED) {
            st = xo_claim_forget(s, c, set[i]);
            set[i]->state = XO_CLAIM_DUPLICATE;
        }
    }
    return st;
}
