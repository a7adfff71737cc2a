/* Where a queue is to be read from. The database is the truth about what is settled; the broker's offset is a report; and what a broker may have stored
 * anew where we have been already is read again. */
#include "source/rocketmq/place.h"
#include <string.h>

int64_t xo_place_end(const xo_begin *b)
{
    int64_t end = -1;
    for (size_t i = 0; i < b->nrows; i++) {
        end = b->rows[i].next > end ? b->rows[i].next : end;
    }
    return end;
}

static int64_t least(int64_t a, int64_t b)
{
    return b >= 0 && b < a ? b : a;
}

void xo_place_search_time(xo_begin *b, int64_t look_back_ms)
{
    /* a row in which nothing is settled yet says only where it began: what the rows before it tell need not reach up to there, others may have been at
       work between */
    const xo_range *own = xo_ranges_youngest(b->rows, b->nrows);
    b->search_time = -1;
    if (own && own->last_store_time >= 0 && b->seek < 0 && !b->reopens && !b->from_broker && !(b->foreign && b->first)) {
        b->search_time = own->last_store_time > look_back_ms ? own->last_store_time - look_back_ms : 0;
    }
}

xo_place xo_place_find(xo_begin *b)
{
    const xo_range *own = xo_ranges_youngest(b->rows, b->nrows);
    b->pos = b->at = -1;
    if (b->seek >= 0) {
        b->pos = b->at = b->seek;
        return XO_PLACE_KNOWN;
    }
    if (b->reopens) {
        b->pos = b->at = b->reopen;
        return XO_PLACE_KNOWN;
    }
    if (!b->first) {
        b->pos = b->prefix;
    } else if (b->from_broker) {
        b->pos = b->committed >= 0 ? b->committed : own ? own->next : -1;
    } else {
        b->pos = own ? own->next : b->committed;
    }
    if (b->pos < 0) {
        return XO_PLACE_UNKNOWN;
    }
    b->at = b->pos;
    if (!b->from_broker && !b->foreign && (own || !b->first)) {
        b->at = least(least(b->at, b->searched), b->committed);
        b->ahead = b->first && b->committed > xo_place_end(b);
    } else if (!b->first && own && own->first < b->pos) {
        /* beside members of another kind: what they settled is none of ours, but at offsets that we settled ourselves the broker may have stored
         * something new all the same */
        b->at = least(b->at, b->searched);
        b->at = b->at < own->first ? own->first : b->at;
    }
    return XO_PLACE_KNOWN;
}

void xo_place_bound(xo_begin *b)
{
    if (b->pos >= 0 && b->pos < b->min && b->seek < 0) {
        int64_t end = xo_place_end(b);
        b->lost_from = end > b->pos ? end : b->pos;
        b->lost_to = b->lost_from < b->min ? b->min : 0;
    }
    b->cut = b->pos > b->max && b->seek < 0;
    b->at = b->at < b->min ? b->min : b->at > b->max ? b->max : b->at;
}

void xo_place_range(xo_begin *b, const char *tags)
{
    const xo_range *own = xo_ranges_youngest(b->rows, b->nrows);
    int64_t epoch = 0;
    for (size_t i = 0; i < b->nrows; i++) {
        epoch = b->rows[i].epoch > epoch ? b->rows[i].epoch : epoch;
    }
    /* Below its beginning a row does not remember what is settled now. Looking back, nothing there is to be handed over but what is newer, which opens
       a row of its own; an operator's reset is another thing. */
    int goes_on = own && !b->reopens && own->tags && strcmp(own->tags, tags) == 0 && b->at <= own->next && !(b->seek >= 0 && b->at < own->first);
    if (goes_on) {
        b->range = *own;
    } else {
        b->range = (xo_range){.generation = own ? own->generation + 1 : 0, .first = b->at, .next = b->at, .last_store_time = -1, .last_log_offset = -1};
    }
    b->range.topic = b->range.broker = b->range.tags = NULL;
    b->range.epoch = own ? epoch + 1 : 0;
}
