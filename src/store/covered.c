/* Claims that a settled range answers: a message whose record was pruned is known by its place.
 *
 * The claim comes first, and the ranges are read by a later statement. A record is pruned only after the range that covers it was committed, and a claim is taken only after the record's
 * deletion was: so whoever gets the key of a pruned record sees its range. Read in the other order, a range and a deletion between the two reads would let the message through. */
#include "message/position.h"
#include "store/claim.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *topic;
    xo_claimant **set;
    size_t n;
    int hits;
} looking;

/* Only what came from a queue with physical offsets can be judged by its place. */
static int has_place(const xo_claimant *cl)
{
    const xonce_message *m = cl->m;
    return cl->state == XO_CLAIM_FRESH && m->log_offset >= 0 && m->store_time >= 0 && m->offset >= 0 && m->queue >= 0 && m->broker[0];
}

/* topic_name, broker_name, queue_id, first_offset, next_offset, last_store_time, last_log_offset, tags */
static int on_range(const xonce_row *r, void *arg)
{
    looking *l = arg;
    xo_range range = {.tags = (char *)(uintptr_t)xonce_row_text(r, 6),
                      .first = xonce_row_int(r, 2),
                      .next = xonce_row_int(r, 3),
                      .last_store_time = xonce_row_int(r, 4),
                      .last_log_offset = xonce_row_int(r, 5)};
    const char *broker = xonce_row_text(r, 0);
    int64_t queue = xonce_row_int(r, 1);
    for (size_t i = 0; i < l->n; i++) {
        xo_claimant *cl = l->set[i];
        const xonce_message *m = cl->m;
        if (has_place(cl) && m->queue == queue && strcmp(m->broker, broker) == 0 && strcmp(m->topic, l->topic) == 0 &&
            xo_ranges_cover(&range, 1, m->offset, m->store_time, m->log_offset, xonce_message_property(m, "TAGS"))) {
            cl->state = XO_CLAIM_COVERED;
            l->hits++;
        }
    }
    return 0;
}

/* One topic's claims against its ranges. In the usual course no range reaches up to them, and no row is read. */
static xonce_status look(xonce_store *s, xo_conn *c, looking *l)
{
    static const char sql[] = "SELECT broker_name, queue_id, first_offset, next_offset, last_store_time, last_log_offset, tags FROM xonce_settled"
                              " WHERE consumer_group = $1 AND topic_name = $2 AND next_offset > $3 AND first_offset <= $4";
    const xo_sql *parsed = NULL;
    int owned = 0;
    int64_t low = INT64_MAX, high = -1;
    for (size_t i = 0; i < l->n; i++) {
        const xonce_message *m = l->set[i]->m;
        if (has_place(l->set[i]) && strcmp(m->topic, l->topic) == 0) {
            low = m->offset < low ? m->offset : low;
            high = m->offset > high ? m->offset : high;
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
        const char *topic = set[i]->m->topic;
        int seen = !has_place(set[i]);
        for (size_t k = 0; !seen && k < i; k++) {
            seen = has_place(set[k]) && strcmp(set[k]->m->topic, topic) == 0;
        }
        if (!seen) {
            l.topic = topic;
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
