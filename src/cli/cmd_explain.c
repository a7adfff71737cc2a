/* xonce explain: one message's story, from the tables and, if they are given, the logs. */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "cli/story.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *store, *group, *log, *sent;
    int json, verbose;
    xonce_config *cfg;
    int64_t sent_ms, keep; /* sent: -1 when it was not told */
} options;

typedef enum { APPLIED, REJECTED, NOT_APPLIED, NOT_KNOWN } state;
static const char *const state_names[] = {"applied", "rejected", "not applied", "not known"};

/* Of the message itself, not of another one under the same id. */
static const xo_story_row *own(const xo_story_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!rows[i].collides) {
            return &rows[i];
        }
    }
    return NULL;
}

/* Records that are older than this may be gone; -1: none are. */
static int64_t gone_before(const xo_story *s, const options *o)
{
    return s->watermark < 0 ? -1 : s->watermark - o->keep;
}

static size_t count(const xo_story *s, const char *text)
{
    size_t n = 0;
    for (size_t i = 0; i < s->nlines; i++) {
        n += s->lines[i].text && strncmp(s->lines[i].text, text, strlen(text)) == 0;
    }
    return n;
}

/* The log knows of a record, whether there is one now or not. */
static int was_there(const xo_story *s)
{
    return count(s, "applied") + count(s, "duplicate") + count(s, "rejected") > 0;
}

static state judge(const xo_story *s, const options *o)
{
    if (own(s->rejected, s->nrejected)) {
        return REJECTED;
    }
    if (own(s->records, s->nrecords)) {
        return APPLIED;
    }
    int64_t gone = gone_before(s, o);
    return !s->by_offset && !was_there(s) && (gone < 0 || o->sent_ms >= gone) ? NOT_APPLIED : NOT_KNOWN;
}

/* ---- what it means, in sentences ---- */

typedef struct {
    char *text[16];
    size_t n;
    int failed;
} sentences;

#define SAY(out, ...) say((out), xo_printf(__VA_ARGS__))
static void say(sentences *out, char *text)
{
    if (text && out->n < sizeof(out->text) / sizeof(out->text[0])) {
        out->text[out->n++] = text;
    } else {
        out->failed |= text == NULL;
        free(text);
    }
}

static void say_not_there(sentences *out, const xo_story *s, const options *o, state what)
{
    int64_t gone = gone_before(s, o);
    char mark[40], keep[32], limit[40];
    xo_format_time(s->watermark, mark, sizeof(mark));
    xo_format_time(gone, limit, sizeof(limit));
    xo_format_duration(o->keep, keep, sizeof(keep));
    SAY(out, "The group has no record of it.");
    if (was_there(s)) {
        SAY(out, "The log says that it had one: it was settled, and the record has gone since.");
        return;
    }
    if (s->by_offset) {
        SAY(out, "This group claims by offset, at least in part: such messages have no record, the position of their queue says whether they are applied (xonce stats --from).");
    }
    if (gone < 0) {
        SAY(out, "The group was never seen caught up, so nothing was pruned: it has not been applied yet, or its id is another one.");
    } else if (what == NOT_APPLIED) {
        SAY(out, "The group had settled everything up to %s, and records are kept for %s: one of a message sent at the time given would still be there, so it has not been applied.", mark, keep);
        SAY(out, "If it was sent before %s and the group was caught up then, it never came to this group: look at topic, tags and id.", mark);
    } else {
        SAY(out, "The group had settled everything up to %s, and records are kept for %s: of a message sent before %s the record may have been pruned, a later one has not been applied.%s", mark, keep, limit,
            o->sent_ms < 0 ? " When was it sent? Tell with --sent TIME." : "");
    }
}

static void say_collisions(sentences *out, const xo_story *s)
{
    for (size_t i = 0; i < s->nrecords; i++) {
        if (s->records[i].collides) {
            SAY(out, "Another message came under the same id, with another body or topic. It was taken as a message of its own: %s", s->records[i].id);
            return;
        }
    }
}

/* Lines at log.level=debug say so. */
static void say_who(sentences *out, const xo_story *s)
{
    for (size_t i = 0; i < s->nlines; i++) {
        if (s->lines[i].pid >= 0 && s->lines[i].text && strcmp(s->lines[i].text, "applied") == 0) {
            SAY(out, "Process %" PRId64 " applied it, as the log says.", s->lines[i].pid);
            return;
        }
    }
    SAY(out, "Which process of the group applied it is not recorded; a log at log.level=debug would say.");
}

static void explain(sentences *out, const xo_story *s, const options *o, state what)
{
    const xo_story_row *row = own(s->records, s->nrecords), *rejected = own(s->rejected, s->nrejected);
    if (what == REJECTED) {
        SAY(out, "It was given up and acknowledged. Its effects were rolled back; it stands in xonce_rejected.");
        if (rejected->marked_ms >= 0) {
            SAY(out, "It is marked for replay: a running consumer of the group takes it.");
        } else {
            SAY(out, "To run it again: xonce replay --group %s %s", s->store->group, rejected->id);
        }
    } else if (what == APPLIED) {
        SAY(out, "Record and effects were committed in one transaction. Each further delivery is a duplicate, and skipped.");
        if (row->settled_to >= 0) {
            SAY(out, "Its queue is settled beyond it: a later copy is a duplicate even after the record is pruned.");
        }
        if (s->store->d->kind != XO_DIALECT_PG) {
            SAY(out, "%s does not tell which transaction wrote a row.", s->engine);
        }
        say_who(out, s);
    } else {
        say_not_there(out, s, o, what);
    }
    say_collisions(out, s);
    if (s->nlines) {
        SAY(out, "In the logs: duplicate %zu, failed %zu, put off %zu, rejected %zu; more, if lines were left out (log.rate) or deleted.", count(s, "duplicate"), count(s, "failed"),
            count(s, "put off"), count(s, "rejected"));
    } else if (s->files) {
        SAY(out, "The logs do not name it: it never failed or came twice while they were written, or these lines were left out (log.level, log.rate).");
    } else {
        SAY(out, "How often it came again is not in the database: give the consumers' log with --log.");
    }
}

/* ---- as text ---- */

static void line(xo_buf *b, const char *label, const char *fmt, ...) XO_PRINTF(3, 4);
static void line(xo_buf *b, const char *label, const char *fmt, ...)
{
    va_list ap;
    char text[1024];
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    char *clean = n < 0 ? NULL : xo_out_clean(text, strlen(text));
    if (clean) {
        xo_buf_printf(b, "  %-12s %s\n", label, clean);
    }
    b->failed |= clean == NULL;
    free(clean);
}

static void text_place(xo_buf *b, const xo_story_row *r)
{
    char stored[40];
    if (r->topic) {
        line(b, "topic", "%s", r->topic);
    }
    if (r->offset >= 0) {
        line(b, "place", "%s%squeue %" PRId64 ", offset %" PRId64, r->broker ? r->broker : "", r->broker ? ", " : "", r->queue, r->offset);
    }
    if (r->stored_ms >= 0) {
        xo_format_time(r->stored_ms, stored, sizeof(stored));
        line(b, "stored", "%s (by the broker)", stored);
    }
    if (r->settled_to >= 0) {
        line(b, "settled", "the queue is settled up to offset %" PRId64, r->settled_to);
    }
}

static void text_record(xo_buf *b, const xo_story_row *r, const char *word)
{
    char when[40];
    xo_format_time(r->at_ms, when, sizeof(when));
    line(b, word, "%s%s%s", when, r->collides ? "  as " : "", r->collides ? r->id : "");
    text_place(b, r);
    if (r->transaction >= 0) {
        char batch[64] = "";
        if (r->batch > 1) {
            (void)snprintf(batch, sizeof(batch), ", with %" PRId64 " other messages", r->batch - 1);
        }
        line(b, "transaction", "%" PRId64 "%s", r->transaction, batch);
    }
    if (r->committed_ms >= 0) {
        xo_format_time(r->committed_ms, when, sizeof(when));
        line(b, "committed", "%s", when);
    }
}

static void text_rejected(xo_buf *b, const xo_story_row *r)
{
    text_record(b, r, "rejected");
    line(b, "reason", "%s", r->reason ? r->reason : "none was given");
    line(b, "delivery", "%" PRId64, r->attempts);
    if (r->size >= 0) {
        line(b, "body", "%" PRId64 " bytes", r->size);
    } else {
        line(b, "body", "not kept: it was too large for the table");
    }
    if (r->trace) {
        line(b, "trace", "%s", r->trace);
    }
}

static void show_text(const xo_story *s, const sentences *w, state what)
{
    xo_buf b = {0};
    const xo_story_row *given_up = own(s->rejected, s->nrejected);
    char *id = xo_out_clean(s->id, strlen(s->id));
    xo_buf_printf(&b, "%s: %s by group %s\n", id ? id : "", state_names[what], s->store->group);
    free(id);
    for (size_t i = 0; i < s->nrecords; i++) {
        if (!given_up || s->records[i].collides) {
            text_record(&b, &s->records[i], "applied");
        }
    }
    for (size_t i = 0; i < s->nrejected; i++) {
        text_rejected(&b, &s->rejected[i]);
    }
    for (size_t i = 0; i < s->nlines; i++) {
        const xo_story_line *l = &s->lines[i];
        char when[40], delivery[40] = "";
        xo_format_time(l->time, when, sizeof(when));
        if (l->attempt >= 0) {
            (void)snprintf(delivery, sizeof(delivery), ", delivery %" PRId64, l->attempt);
        }
        line(&b, "log", "%s %s%s%s%s", when, l->text ? l->text : "", delivery, l->reason ? ": " : "", l->reason ? l->reason : "");
    }
    xo_buf_char(&b, '\n');
    for (size_t i = 0; i < w->n; i++) {
        xo_buf_printf(&b, "%s\n", w->text[i]);
    }
    b.failed |= w->failed;
    xo_out_buf(&b);
}

/* ---- as JSON ---- */

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

static void show_json(const xo_story *s, const sentences *w, const options *o, state what)
{
    xo_buf b = {0};
    xo_buf_str(&b, "{\"id\":");
    xo_buf_json(&b, s->id, strlen(s->id));
    json_text(&b, "group", s->store->group);
    json_text(&b, "state", state_names[what]);
    json_rows(&b, "records", s->records, s->nrecords, 0);
    json_rows(&b, "rejected", s->rejected, s->nrejected, 1);
    json_number(&b, "watermark_ms", s->watermark);
    json_number(&b, "pruned_before_ms", gone_before(s, o));
    xo_buf_printf(&b, ",\"by_offset\":%s,\"log\":[", s->by_offset ? "true" : "false");
    for (size_t i = 0; i < s->nlines; i++) {
        const xo_story_line *l = &s->lines[i];
        xo_buf_printf(&b, "%s{\"time_ms\":%" PRId64, i ? "," : "", l->time);
        json_text(&b, "msg", l->text);
        json_number(&b, "attempt", l->attempt);
        json_number(&b, "pid", l->pid);
        json_text(&b, "cause", l->cause);
        json_text(&b, "reason", l->reason);
        json_text(&b, "trace_id", l->trace);
        xo_buf_char(&b, '}');
    }
    xo_buf_str(&b, "],\"says\":[");
    for (size_t i = 0; i < w->n; i++) {
        xo_buf_str(&b, i ? "," : "");
        xo_buf_json(&b, w->text[i], strlen(w->text[i]));
    }
    xo_buf_str(&b, "]}\n");
    b.failed |= w->failed;
    xo_out_buf(&b);
}

/* ---- */

static int tell_story(xonce_store *store, const char *id, const options *o)
{
    xo_story s = {.store = store, .id = id};
    sentences w = {.n = 0};
    xonce_status st = xo_story_read(&s);
    int rc = XO_EXIT_FAILED;
    if (st != XONCE_OK) {
        (void)xo_out_failed(NULL);
    } else if (o->log && xo_story_logs(&s, o->log) != XONCE_OK) {
        rc = xo_open_failed("--log");
    } else {
        state what = judge(&s, o);
        explain(&w, &s, o, what);
        if (o->json) {
            show_json(&s, &w, o, what);
        } else {
            show_text(&s, &w, what);
        }
        rc = what == APPLIED || what == REJECTED ? XO_EXIT_OK : XO_EXIT_NOT;
    }
    for (size_t i = 0; i < w.n; i++) {
        free(w.text[i]);
    }
    xo_story_free(&s);
    return rc;
}

static int run(const xo_usage *u, options *o, const char *id)
{
    const char *uri = xo_store_uri(u, o->store);
    if (!uri) {
        return XO_EXIT_USAGE;
    }
    if (!o->group || !id || !*id) {
        return xo_args_wrong(u, o->group ? "the message's id is missing" : "--group is missing");
    }
    o->sent_ms = -1;
    if (o->sent && xo_parse_time(o->sent, &o->sent_ms) != XONCE_OK) {
        return xo_args_wrong(u, "--sent: %s", xonce_error_last()->text);
    }
    o->keep = xo_config_int(o->cfg, "prune.keep");
    xonce_store *s;
    int rc = xo_store_connect(&s, uri, o->group, o->cfg);
    if (rc == XO_GO_ON) {
        rc = tell_story(s, id, o);
        xonce_store_close(s);
    }
    return rc;
}

int xo_cmd_explain(int argc, char **argv)
{
    options o = {0};
    size_t nrest;
    const xo_arg args[] = {
        XO_ARG_STORE(&o.store),
        XO_ARG_GROUP(&o.group),
        {"log", "FILE", XO_ARG_TEXT, &o.log, NULL, 0, 0, "the consumers' log: FILE, FILE.1, FILE.2 and so on, in any log.format"},
        {"sent", "TIME", XO_ARG_TEXT, &o.sent, NULL, 0, 0, "when the message was sent, as 2026-11-24T08:00:00Z or ms since 1970: tells one that was never applied from one whose record was pruned"},
        {"keep", "TIME", XO_ARG_SETTING, &o.cfg, "prune.keep", 0, 0, "how long the consumers keep records, when that is not in --config; default 4d"},
        XO_ARG_JSON(&o.json),
        XO_ARG_CONFIG_FILE(&o.cfg),
        XO_ARG_VERBOSE(&o.verbose),
    };
    const xo_usage usage = {
        .name = "explain",
        .synopsis = "--store URI --group GROUP ID [--log FILE] [--sent TIME] [--json]",
        .about = "Tells the story of one message in a group: when it was applied and in which transaction, why it was rejected, or what it means that there is no record of it.\n"
                 "With the consumers' log also how often it came again, failed or was put off. ID is the message's id, or the one that `xonce rejected` and the log show.",
        .example = "  xonce explain --store sqlite:shop.db --group GID_orders 1E057D5E6EAD42A57937046FE17AF5D8",
        .notes = "Exit code 3: there is no record of it. Times of the record are the database's clock.",
        .args = args,
        .nargs = sizeof(args) / sizeof(args[0]),
        .max_rest = 1,
    };
    if (xonce_config_new(&o.cfg) != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    int rc = xo_args_parse(&usage, argc, argv, &nrest);
    if (rc == XO_GO_ON) {
        xo_out_log(o.verbose);
        rc = run(&usage, &o, nrest ? argv[1] : NULL);
    }
    xonce_config_free(o.cfg);
    return rc;
}
