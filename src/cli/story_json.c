/* One message's story as JSON. */
#include "cli/output.h"
#include "cli/story.h"
#include <inttypes.h>
#include <string.h>

static void json_text(xo_buf *b, const char *name, const char *value)
{
    xo_buf_printf(b, ",\"%s\":", name);
    if (value) {
        xo_buf_json(b, value, strlen(value));
    } else {
        xo_buf_str(b, "null");
    }
}

static void json_number(xo_buf *b, const char *name, int64_t n)
{
    if (n < 0) {
        json_text(b, name, NULL);
    } else {
        xo_buf_printf(b, ",\"%s\":%" PRId64, name, n);
    }
}

static void json_row(xo_buf *b, const xo_story_row *r, int rejected)
{
    xo_buf_str(b, "{\"id\":");
    xo_buf_json(b, r->id ? r->id : "", r->id ? strlen(r->id) : 0);
    json_text(b, "topic", r->topic);
    json_text(b, "broker", r->broker);
    json_number(b, "queue", r->queue);
    json_number(b, "offset", r->offset);
    json_number(b, "stored_ms", r->stored_ms);
    json_number(b, "settled_to", r->settled_to);
    json_number(b, rejected ? "rejected_ms" : "applied_ms", r->at_ms);
    if (rejected) {
        json_text(b, "reason", r->reason);
        json_number(b, "attempts", r->attempts);
        json_number(b, "marked_ms", r->marked_ms);
        json_number(b, "body_bytes", r->size);
        json_text(b, "trace_id", r->trace);
    } else {
        json_number(b, "transaction", r->transaction);
        json_number(b, "transaction_records", r->batch);
        json_number(b, "committed_ms", r->committed_ms);
    }
    xo_buf_char(b, '}');
}

static void json_rows(xo_buf *b, const char *name, const xo_story_row *rows, size_t n, int rejected)
{
    xo_buf_printf(b, ",\"%s\":[", name);
    for (size_t i = 0; i < n; i++) {
        xo_buf_str(b, i ? "," : "");
        json_row(b, &rows[i], rejected);
    }
    xo_buf_char(b, ']');
}

static void json_place(xo_buf *b, const xo_story *s)
{
    xo_buf_str(b, ",\"at\":{\"topic\":");
    xo_buf_json(b, s->at->topic, strlen(s->at->topic));
    json_text(b, "broker", s->at->broker);
    xo_buf_printf(b, ",\"queue\":%" PRId64 ",\"offset\":%" PRId64 "},\"ranges\":[", s->at->queue, s->at->offset);
    for (size_t i = 0; i < s->nranges; i++) {
        const xo_story_range *r = &s->ranges[i];
        xo_buf_printf(b, "%s{\"generation\":%" PRId64 ",\"first\":%" PRId64 ",\"next\":%" PRId64, i ? "," : "", r->generation, r->first, r->next);
        json_number(b, "last_stored_ms", r->last_stored);
        json_text(b, "tags", r->tags);
        json_number(b, "record_before", r->record_before);
        xo_buf_char(b, '}');
    }
    xo_buf_char(b, ']');
}

static void json_lines(xo_buf *b, const xo_story *s)
{
    for (size_t i = 0; i < s->nlines; i++) {
        const xo_story_line *l = &s->lines[i];
        xo_buf_printf(b, "%s{\"time_ms\":%" PRId64, i ? "," : "", l->time);
        json_text(b, "msg", l->text);
        json_number(b, "attempt", l->attempt);
        json_number(b, "pid", l->pid);
        json_text(b, "cause", l->cause);
        json_text(b, "reason", l->reason);
        json_text(b, "trace_id", l->trace);
        xo_buf_char(b, '}');
    }
}

void xo_story_json(const xo_story *s, const xo_story_sentences *w, const char *state, int64_t pruned_before)
{
    xo_buf b = {0};
    xo_buf_str(&b, "{\"id\":");
    if (s->id) {
        xo_buf_json(&b, s->id, strlen(s->id));
    } else {
        xo_buf_str(&b, "null");
    }
    json_text(&b, "group", s->store->group);
    json_text(&b, "state", state);
    json_rows(&b, "records", s->records, s->nrecords, 0);
    json_rows(&b, "rejected", s->rejected, s->nrejected, 1);
    if (s->at) {
        json_place(&b, s);
    }
    json_number(&b, "watermark_ms", s->watermark);
    json_number(&b, "pruned_before_ms", pruned_before);
    xo_buf_printf(&b, ",\"by_offset\":%s,\"log\":[", s->by_offset ? "true" : "false");
    json_lines(&b, s);
    xo_buf_str(&b, "],\"says\":[");
    for (size_t i = 0; i < w->n; i++) {
        xo_buf_str(&b, i ? "," : "");
        xo_buf_json(&b, w->text[i], strlen(w->text[i]));
    }
    xo_buf_str(&b, "]}\n");
    b.failed |= w->failed;
    xo_out_buf(&b);
}
