/* What the tables know of one message. */
#include "cli/story.h"
#include "base/clock.h"
#include "base/text.h"
#include "message/trace.h"
#include "store/claim.h"
#include "store/prune.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BATCH_REACH = 4096, MOST_ROWS = 100 };

const char *xo_story_text(xo_story *s, const char *text, size_t n)
{
    if (!text || !n) {
        return NULL;
    }
    const char *copy = xo_arena_dup(&s->memory, text, n);
    s->failed |= copy == NULL;
    return copy;
}

static const char *copy_of(xo_story *s, const xonce_row *r, int column)
{
    const char *text = xonce_row_is_null(r, column) ? NULL : xonce_row_text(r, column);
    return xo_story_text(s, text, text ? strlen(text) : 0);
}

static int64_t number(const xonce_row *r, int column)
{
    return xonce_row_is_null(r, column) ? -1 : xonce_row_int(r, column);
}

const char *xo_story_id(xo_story *s, const char *key)
{
    size_t n = strlen(key), g = strlen(s->store->group);
    return xo_story_text(s, key, n > g + 1 && key[n - g - 1] == '#' ? n - g - 1 : n);
}

static xo_story_row *add(xo_story *s, xo_story_row **rows, size_t *n, size_t *cap, const xonce_row *r)
{
    xo_story_row *more = xo_grow(*rows, cap, *n + 1, sizeof(*more));
    if (!more) {
        s->failed = 1;
        return NULL;
    }
    *rows = more;
    more += (*n)++;
    *more = (xo_story_row){.transaction = -1, .batch = -1, .committed_ms = -1, .settled_to = -1, .attempts = -1, .size = -1, .marked_ms = -1};
    more->id = xo_story_id(s, xonce_row_text(r, 0));
    more->collides = strcmp(xonce_row_text(r, 0), s->key) != 0;
    more->topic = copy_of(s, r, 1);
    more->at_ms = number(r, 2);
    more->broker = copy_of(s, r, 3);
    more->queue = number(r, 4);
    more->offset = number(r, 5);
    more->stored_ms = number(r, 6);
    return more;
}

static int on_record(const xonce_row *r, void *arg)
{
    xo_story *s = arg;
    xo_story_row *row = add(s, &s->records, &s->nrecords, &s->cap_records, r);
    if (row) {
        row->transaction = number(r, 7);
        row->committed_ms = number(r, 8);
        row->batch = number(r, 9);
    }
    return row == NULL || s->nrecords == MOST_ROWS;
}

/* The trace id among "name=value&name=value": traceparent has nothing that would be percent-encoded. */
static const char *trace_of(xo_story *s, const char *properties, size_t n)
{
    static const char name[] = "traceparent=";
    char trace[XO_TRACE_ID + 1], text[128];
    for (size_t at = 0; at < n;) {
        const char *end = memchr(properties + at, '&', n - at);
        size_t len = end ? (size_t)(end - properties) - at : n - at, value = len > sizeof(name) - 1 ? len - (sizeof(name) - 1) : 0;
        if (value && value < sizeof(text) && strncasecmp(properties + at, name, sizeof(name) - 1) == 0) {
            memcpy(text, properties + at + sizeof(name) - 1, value);
            text[value] = 0;
            return xo_traceparent_parse(text, trace, NULL) ? xo_story_text(s, trace, XO_TRACE_ID) : NULL;
        }
        at += len + 1;
    }
    return NULL;
}

static int on_rejected(const xonce_row *r, void *arg)
{
    xo_story *s = arg;
    xo_story_row *row = add(s, &s->rejected, &s->nrejected, &s->cap_rejected, r);
    if (row) {
        size_t n = 0;
        const char *properties = xonce_row_blob(r, 11, &n);
        row->attempts = number(r, 7);
        row->reason = copy_of(s, r, 8);
        row->marked_ms = number(r, 9);
        row->size = number(r, 10);
        row->trace = properties ? trace_of(s, properties, n) : NULL;
    }
    return row == NULL || s->nrejected == MOST_ROWS;
}

/* Those under its id, and those of other messages that came under the same id: "<id>~...". */
#define OF_ID " WHERE consumer_group = $1 AND (message_id = $2 OR (message_id > $3 AND message_id < $4)) ORDER BY "

static xonce_status read_records(xo_story *s, const xonce_value *v)
{
    const xo_dialect *d = s->store->d;
    xo_buf sql = {0};
    xo_buf_printf(&sql, "SELECT message_id, topic_name, ctime, broker_name, queue_id, %s, %s, ", d->quoted_offset, s->has_ours ? "store_time" : "NULL");
    if (d->kind != XO_DIALECT_PG) {
        xo_buf_str(&sql, "NULL, NULL, NULL");
    } else { /* one transaction's records lie near each other */
        xo_buf_str(&sql, "xmin::text::bigint, CASE WHEN current_setting('track_commit_timestamp') = 'on' THEN"
                         " (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000)::bigint END, ");
        if (s->partitioned || !s->has_ours) {
            xo_buf_str(&sql, "NULL");
        } else {
            xo_buf_printf(&sql, "(SELECT count(*) FROM transaction_record o WHERE o.id BETWEEN transaction_record.id - %d AND transaction_record.id + %d AND o.xmin = transaction_record.xmin)",
                          BATCH_REACH, BATCH_REACH);
        }
    }
    xo_buf_str(&sql, " FROM transaction_record" OF_ID "message_id");
    xonce_status st = xo_buf_status(&sql);
    if (st == XONCE_OK) {
        st = xo_store_query(s->store, sql.p, v, 4, on_record, s, NULL);
    }
    xo_buf_free(&sql);
    return st;
}

static xonce_status read_rejected(xo_story *s, const xonce_value *v)
{
    xo_buf sql = {0};
    xo_buf_printf(&sql, "SELECT message_id, topic_name, rejected_at, broker_name, queue_id, %s, store_time, attempts, reason, replay_at, length(body), properties FROM xonce_rejected" OF_ID "id",
                  s->store->d->quoted_offset);
    xonce_status st = xo_buf_status(&sql);
    if (st == XONCE_OK) {
        st = xo_store_query(s->store, sql.p, v, 4, on_rejected, s, NULL);
    }
    xo_buf_free(&sql);
    return st;
}

static int on_settled(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = xonce_row_int(r, 0);
    return 1;
}

static xonce_status read_settled(xo_story *s, xo_story_row *row)
{
    if (row->offset < 0 || row->queue < 0 || !row->broker || !row->topic) {
        return XONCE_OK;
    }
    xonce_value v[] = {xonce_text(s->store->group), xonce_text(row->topic), xonce_text(row->broker), xonce_int(row->queue), xonce_int(row->offset), xonce_int(row->stored_ms)};
    return xo_store_query(s->store,
                          "SELECT next_offset FROM xonce_settled WHERE consumer_group = $1 AND topic_name = $2 AND broker_name = $3 AND queue_id = $4"
                          " AND first_offset <= $5 AND next_offset > $5 AND last_store_time >= $6 ORDER BY generation DESC",
                          v, 6, on_settled, &row->settled_to, NULL);
}

static int on_mark(const xonce_row *r, void *arg)
{
    xo_story *s = arg;
    s->watermark = xonce_row_int(r, 0) > 0 ? xonce_row_int(r, 0) : -1;
    s->updated = xonce_row_int(r, 1);
    return 1;
}

static int on_claims(const xonce_row *r, void *arg)
{
    *(int *)arg = xonce_row_int(r, 0) > 0;
    return 1;
}

/* What the group is like: how far it is, and how it claims. */
static xonce_status read_group(xo_story *s)
{
    xonce_value v = xonce_text(s->store->group);
    xonce_status st = xo_store_query(s->store, "SELECT watermark_ms, updated_ms FROM xonce_watermark WHERE consumer_group = $1", &v, 1, on_mark, s, NULL);
    if (st == XONCE_OK) {
        st = xo_store_query(s->store, "SELECT COUNT(*) FROM xonce_settled WHERE consumer_group = $1 AND record_before IS NOT NULL", &v, 1, on_claims, &s->by_offset, NULL);
    }
    for (size_t i = 0; st == XONCE_OK && i < s->nrecords; i++) {
        st = read_settled(s, &s->records[i]);
    }
    for (size_t i = 0; st == XONCE_OK && i < s->nrejected; i++) {
        st = read_settled(s, &s->rejected[i]);
    }
    return st;
}

static xonce_status read_layout(xo_story *s)
{
    xo_conn *c = NULL;
    xo_layout l = {0};
    xo_marks now;
    xonce_status st = xo_pool_get(s->store->pool, &c);
    if (st != XONCE_OK) {
        return st;
    }
    st = xo_pool_layout(s->store->pool, c, 0, &l);
    if (st == XONCE_OK && !l.exists) {
        st = xo_fail(XONCE_E_SCHEMA, "there is no table transaction_record: xonce init makes it");
    }
    if (st == XONCE_OK) {
        st = xo_marks_read(s->store, c, 0, &now);
        s->now = now.now;
    }
    xo_pool_put(s->store->pool, c);
    s->partitioned = l.partitioned;
    s->has_ours = l.has_ours;
    return st;
}

static xonce_status read_under(xo_story *s, const char *key)
{
    size_t n = strlen(key), g = strlen(s->store->group) + 1;
    char *from = xo_printf("%.*s~", (int)(n - g), key), *to = xo_printf("%.*s\x7f", (int)(n - g), key);
    xonce_status st = from && to ? XONCE_OK : xo_nomem();
    memcpy(s->key, key, n + 1);
    if (st == XONCE_OK) {
        xonce_value v[] = {xonce_text(s->store->group), xonce_text(key), xonce_text(from), xonce_text(to)};
        st = read_records(s, v);
        if (st == XONCE_OK && s->has_ours) {
            st = read_rejected(s, v);
        }
    }
    free(from);
    free(to);
    return st;
}

static xonce_status read_by_id(xo_story *s)
{
    char key[XO_KEY_SIZE];
    xonce_status st = xo_identity_key(key, s->id, strlen(s->id), s->store->group);
    if (st == XONCE_OK) {
        st = read_under(s, key);
    }
    if (st == XONCE_OK && !s->nrecords && !s->nrejected && strlen(s->id) + strlen(s->store->group) + 2 <= sizeof(key)) {
        /* as the record and `xonce rejected` show it: "sha256:..." or "...~..." */
        memcpy(key, s->id, strlen(s->id));
        key[strlen(s->id)] = '#';
        memcpy(key + strlen(s->id) + 1, s->store->group, strlen(s->store->group) + 1);
        st = read_under(s, key);
    }
    return st;
}

xonce_status xo_story_read(xo_story *s)
{
    static const char *const engines[] = {[XO_DIALECT_PG] = "PostgreSQL", [XO_DIALECT_MYSQL] = "MySQL", [XO_DIALECT_SQLITE] = "SQLite"};
    char key[XO_KEY_SIZE];
    s->watermark = s->updated = -1;
    s->engine = engines[s->store->d->kind];
    xonce_status st = read_layout(s);
    if (st == XONCE_OK && s->at) {
        st = xo_story_at(s);
        if (st == XONCE_OK && s->key[0]) {
            memcpy(key, s->key, sizeof(key));
            st = read_under(s, key);
        }
    } else if (st == XONCE_OK) {
        st = read_by_id(s);
    }
    if (st == XONCE_OK && s->has_ours) {
        st = read_group(s);
    }
    return st == XONCE_OK && s->failed ? xo_nomem() : st;
}

void xo_story_free(xo_story *s)
{
    free(s->records);
    free(s->rejected);
    free(s->lines);
    free(s->ranges);
    xo_arena_free(&s->memory);
}
