/* Claims that a settled range answers: a message whose record was pruned is known by its place.
 *
 * The claim comes first, and the ranges are read by a later statement. A record is pruned only after the range that covers it was committed, and a claim is taken only after the record's
 * deletion was: so whoever gets the key of a pruned record sees its range. Read in the other order, a range and a deletion between the two reads would let the message through. */
#include "message/position.h"
#include "store/claim.h"
#include <stdlib.h>
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

typedef struct {
    const char *topic;
    xo_claimant **set;
    size_t n;
    int hits;
} looking;

/* Only what came from a queue with physical offsets can be judged by its place. */
static int has_place(const xo_claimant *cl, place *p)
{
    *p = place_of(cl->m);
    return cl->state == XO_CLAIM_FRESH && p->log_offset >= 0 && p->store_time >= 0 && p->offset >= 0 && p->queue >= 0 && p->broker[0];
}

static int is_of(const xo_claimant *cl, const char *topic, place *p)
{
    return has_place(cl, p) && strcmp(p->topic, topic) == 0;
}

/* broker_name, queue_id, first_offset, next_offset, last_store_time, last_log_offset, tags, record_before */
static int on_range(const xonce_row *r, void *arg)
{
    looking *l = arg;
    place p;
    xo_range range = {.tags = (char *)(uintptr_t)xonce_row_text(r, 6),
                      .first = xonce_row_int(r, 2),
                      .next = xonce_row_int(r, 3),
                      .last_store_time = xonce_row_int(r, 4),
                      .last_log_offset = xonce_row_int(r, 5)};
    const char *broker = xonce_row_text(r, 0);
    int64_t queue = xonce_row_int(r, 1);
    for (size_t i = 0; i < l->n; i++) {
        xo_claimant *cl = l->set[i];
        if (!is_of(cl, l->topic, &p) || p.queue != queue || strcmp(p.broker, broker) != 0) {
            continue;
        }
        if (!xonce_row_is_null(r, 7) && !cl->m->claim_record) {
            cl->state = XO_CLAIM_FENCED;
        } else if (xo_ranges_cover(&range, 1, p.offset, p.store_time, p.log_offset, xonce_message_property(cl->m, "TAGS"))) {
            cl->state = XO_CLAIM_COVERED;
            l->hits++;
        }
    }
    return 0;
}

/* One topic's claims against its ranges. In the usual course no range reaches up to them, and no row is read. */
static xonce_status look(xonce_store *s, xo_conn *c, looking *l)
{
    static const char sql[] = "SELECT broker_name, queue_id, first_offset, next_offset, last_store_time, last_log_offset, tags, record_before FROM xonce_settled"
                              " WHERE consumer_group = $1 AND topic_name = $2 AND ((next_offset > $3 AND first_offset <= $4) OR record_before IS NOT NULL)";
    const xo_sql *parsed = NULL;
    int owned = 0;
    int64_t low = INT64_MAX, high = -1;
    for (size_t i = 0; i < l->n; i++) {
        place p;
        if (is_of(l->set[i], l->topic, &p)) {
            low = p.offset < low ? p.offset : low;
            high = p.offset > high ? p.offset : high;
        }
    }
    xonce_value v[] = {xonce_text(s->group), xonce_text(l->topic), xonce_int(low), xonce_int(high)};
    xonce_status st = xo_pool_sql(s->pool, sql, &parsed, &owned);
    if (st == XONCE_OK) {
        st = s->d->query(c, parsed, v, 4, on_range, l, NULL);
    }
    if (owned) {
        xo_sql_free((xo_sql *)parsed);
    }
    return st == XONCE_OK ? st : xo_error_context("looking for the messages in xonce_settled");
}

xonce_status xo_claim_covered(xonce_store *s, xo_conn *c, xo_claimant **set, size_t n)
{
    looking l = {.set = set, .n = n};
    xonce_status st = XONCE_OK;
    for (size_t i = 0; st == XONCE_OK && i < n; i++) {
        place p, other;
        int seen = !has_place(set[i], &p);
        for (size_t k = 0; !seen && k < i; k++) {
            seen = is_of(set[k], p.topic, &other);
        }
        if (!seen) {
            l.topic = p.topic;
            st = look(s, c, &l);
        }
    }
    for (size_t i = 0; st == XONCE_OK && l.hits && i < n; i++) {
        if (set[i]->state == XO_CLAIM_COVERED) {
            st = xo_claim_forget(s, c, set[i]);
            set[i]->state = XO_CLAIM_DUPLICATE;
        }
    }
    return st;
}
