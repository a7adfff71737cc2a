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
    const char *store, *group, *log, *sent, *at;
    int json, verbose;
    xonce_config *cfg;
    int64_t sent_ms, keep; /* sent: -1 when it was not told */
} options;

typedef enum { APPLIED, REJECTED, SETTLED, NOT_APPLIED, NOT_KNOWN } state;
static const char *const state_names[] = {"applied", "rejected", "settled", "not applied", "not known"};

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

/* Of a place without a record: what the positions of its queue say. */
static state judge_place(const xo_story *s, const options *o)
{
    const xo_story_range *last = s->nranges ? &s->ranges[s->nranges - 1] : NULL;
    if (xo_story_holds(s, o->sent_ms)) {
        return SETTLED;
    }
    if (was_there(s) || !last) {
        return NOT_KNOWN;
    }
    /* beyond the end, or inside but younger than all that was settled */
    return s->at->offset >= last->next || (o->sent_ms >= 0 && xo_story_holds(s, -1)) ? NOT_APPLIED : NOT_KNOWN;
}

static state judge(const xo_story *s, const options *o)
{
    if (own(s->rejected, s->nrejected)) {
        return REJECTED;
    }
    if (own(s->records, s->nrecords)) {
        return APPLIED;
    }
    if (s->at) {
        return judge_place(s, o);
    }
    int64_t gone = gone_before(s, o);
    return !s->by_offset && !was_there(s) && (gone < 0 || o->sent_ms >= gone) ? NOT_APPLIED : NOT_KNOWN;
}

/* ---- what it means, in sentences ---- */

#define SAY(out, ...) say((out), xo_printf(__VA_ARGS__))
static void say(xo_story_sentences *out, char *text)
{
    if (text && out->n < sizeof(out->text) / sizeof(out->text[0])) {
        out->text[out->n++] = text;
    } else {
        out->failed |= text == NULL;
        free(text);
    }
}

static void say_not_there(xo_story_sentences *out, const xo_story *s, const options *o, state what)
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
        SAY(out, "This group claims by offset, at least in part: such messages have no record, the position of their queue says whether they are applied: ask by place, with --at (or xonce stats --from).");
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

static void say_settled(xo_story_sentences *out, const xo_story *s, const options *o)
{
    const xo_story_range *r = xo_story_holds(s, o->sent_ms);
    char stored[40];
    if (r->record_before >= 0 && s->at->offset >= r->record_before) {
        SAY(out, "Its queue is claimed by offset: the position moved beyond it in the transaction of its effects, and no record is written.");
    } else {
        SAY(out, "The group settled it and has no record of it: the record was pruned, the rejected message replayed or deleted, or %s.",
            r->tags && strcmp(r->tags, "*") == 0 ? "nobody wanted it" : "its tag was not wanted");
    }
    SAY(out, "A further delivery is a duplicate.");
    if (o->sent_ms < 0 && r->last_stored >= 0) {
        xo_format_time(r->last_stored, stored, sizeof(stored));
        SAY(out, "This holds for a message that the broker stored by %s; a later one at the same place (a topic made anew, a broker that lost the end of its log) is another one. Tell with --sent TIME.", stored);
    }
}

static void say_place(xo_story_sentences *out, const xo_story *s, const options *o, state what)
{
    const xo_story_range *first = s->ranges, *last = s->nranges ? &s->ranges[s->nranges - 1] : NULL;
    if (what == SETTLED) {
        say_settled(out, s, o);
    } else if (was_there(s)) {
        SAY(out, "There is no record of it. The log says that there was one: it was settled, and the record has gone since.");
    } else if (!last && s->queues) {
        SAY(out, "The group has no position of this queue; of queues of topic %s it has %" PRId64 ". Look at broker and queue.", s->at->topic, s->queues);
    } else if (!last) {
        SAY(out, "The group has neither a record nor a position of topic %s in this database: it never consumed it here over RocketMQ's own protocol, or its name is another one (without the namespace).", s->at->topic);
    } else if (s->at->offset >= last->next) {
        SAY(out, "The queue is settled up to offset %" PRId64 ": messages in front of it: %" PRId64 ". It has not been settled yet.", last->next, s->at->offset - last->next);
    } else if (what == NOT_APPLIED) {
        SAY(out, "The queue is settled beyond this offset, but with messages that were stored before the time given: one that was sent then is another one, and has not been applied.");
    } else if (s->at->offset < first->first) {
        SAY(out, "The group began with offset %" PRId64 " of this queue: what stood in front of that was not its to settle (consume-from, xonce skip, xonce rewind).", first->first);
    } else {
        SAY(out, "It lies between two stretches that the group settled: nothing is known of it.");
    }
}

static void say_collisions(xo_story_sentences *out, const xo_story *s)
{
    for (size_t i = 0; i < s->nrecords; i++) {
        if (s->records[i].collides) {
            SAY(out, "Another message came under the same id, with another body or topic. It was taken as a message of its own: %s", s->records[i].id);
            return;
        }
    }
}

/* Lines at log.level=debug say so. */
static void say_who(xo_story_sentences *out, const xo_story *s)
{
    for (size_t i = 0; i < s->nlines; i++) {
        if (s->lines[i].pid >= 0 && s->lines[i].text && strcmp(s->lines[i].text, "applied") == 0) {
            SAY(out, "Process %" PRId64 " applied it, as the log says.", s->lines[i].pid);
            return;
        }
    }
    SAY(out, "Which process of the group applied it is not recorded; a log at log.level=debug would say.");
}

static void explain(xo_story_sentences *out, const xo_story *s, const options *o, state what)
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
    } else if (s->at) {
        say_place(out, s, o, what);
    } else {
        say_not_there(out, s, o, what);
    }
    if (s->other) {
        SAY(out, "Another message stood at this place before or since: %s", s->other);
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

static void text_ranges(xo_buf *b, const xo_story *s)
{
    for (size_t i = 0; i < s->nranges; i++) {
        const xo_story_range *r = &s->ranges[i];
        char stored[64] = "", by[64] = "";
        if (r->last_stored >= 0) {
            memcpy(stored, ", stored by ", 13);
            xo_format_time(r->last_stored, stored + 12, sizeof(stored) - 12);
        }
        if (r->record_before >= 0) {
            (void)snprintf(by, sizeof(by), ", claimed by offset from %" PRId64, r->record_before);
        }
        line(b, "position", "settled from offset %" PRId64 " up to but without %" PRId64 "%s%s", r->first, r->next, stored, r->record_before == INT64_MAX ? ", claimed by offset" : by);
    }
}

static void show_text(const xo_story *s, const options *o, const xo_story_sentences *w, state what)
{
    xo_buf b = {0};
    const xo_story_row *given_up = own(s->rejected, s->nrejected);
    const char *asked = s->id ? s->id : o->at;
    char *id = xo_out_clean(asked, strlen(asked));
    xo_buf_printf(&b, "%s: %s by group %s\n", id ? id : "", state_names[what], s->store->group);
    free(id);
    text_ranges(&b, s);
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

/* ---- */

static int tell_story(xonce_store *store, const char *id, const xo_story_place *at, const options *o)
{
    xo_story s = {.store = store, .id = id, .at = at};
    xo_story_sentences w = {.n = 0};
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
            xo_story_json(&s, &w, state_names[what], gone_before(&s, o));
        } else {
            show_text(&s, o, &w, what);
        }
        rc = what == APPLIED || what == REJECTED || what == SETTLED ? XO_EXIT_OK : XO_EXIT_NOT;
    }
    for (size_t i = 0; i < w.n; i++) {
        free(w.text[i]);
    }
    xo_story_free(&s);
    return rc;
}

static int run_at(const xo_usage *u, const options *o, const char *uri, const char *id)
{
    xo_story_place at = {.topic = NULL};
    if (o->at && xo_story_place_parse(&at, o->at) != XONCE_OK) {
        return xo_args_wrong(u, "--at: %s", xonce_error_last()->text);
    }
    xonce_store *s;
    int rc = xo_store_connect(&s, uri, o->group, o->cfg);
    if (rc == XO_GO_ON) {
        rc = tell_story(s, id, o->at ? &at : NULL, o);
        xonce_store_close(s);
    }
    xo_story_place_free(&at);
    return rc;
}

static int run(const xo_usage *u, options *o, const char *id)
{
    const char *uri = xo_store_uri(u, o->store);
    if (!uri) {
        return XO_EXIT_USAGE;
    }
    if (!o->group || (!o->at && (!id || !*id))) {
        return xo_args_wrong(u, o->group ? "the message's id is missing, or its place: --at TOPIC/BROKER/QUEUE/OFFSET" : "--group is missing");
    }
    if (o->at && id) {
        return xo_args_wrong(u, "an id and --at exclude each other");
    }
    o->sent_ms = -1;
    if (o->sent && xo_parse_time(o->sent, &o->sent_ms) != XONCE_OK) {
        return xo_args_wrong(u, "--sent: %s", xonce_error_last()->text);
    }
    o->keep = xo_config_int(o->cfg, "prune.keep");
    return run_at(u, o, uri, id);
}

int xo_cmd_explain(int argc, char **argv)
{
    options o = {0};
    size_t nrest;
    const xo_arg args[] = {
        XO_ARG_STORE(&o.store),
        XO_ARG_GROUP(&o.group),
        {"at", "PLACE", XO_ARG_TEXT, &o.at, NULL, 0, 0, "instead of ID: TOPIC/BROKER/QUEUE/OFFSET, as the message stands at a RocketMQ broker"},
        {"log", "FILE", XO_ARG_TEXT, &o.log, NULL, 0, 0, "the consumers' log: FILE, FILE.1, FILE.2 and so on, in any log.format"},
        {"sent", "TIME", XO_ARG_TEXT, &o.sent, NULL, 0, 0, "when the message was sent, as 2026-11-24T08:00:00Z or ms since 1970: tells one that was never applied from one whose record was pruned"},
        {"keep", "TIME", XO_ARG_SETTING, &o.cfg, "prune.keep", 0, 0, "how long the consumers keep records, when that is not in --config; default 4d"},
        XO_ARG_JSON(&o.json),
        XO_ARG_CONFIG_FILE(&o.cfg),
        XO_ARG_VERBOSE(&o.verbose),
    };
    const xo_usage usage = {
        .name = "explain",
        .synopsis = "--store URI --group GROUP {ID | --at TOPIC/BROKER/QUEUE/OFFSET} [--log FILE] [--sent TIME] [--json]",
        .about = "Tells the story of one message in a group: when it was applied and in which transaction, why it was rejected, or what it means that there is no record of it.\n"
                 "With the consumers' log also how often it came again, failed or was put off. ID is the message's id, or the one that `xonce rejected` and the log show.\n"
                 "With --at by its place over RocketMQ's own protocol: also of messages that are claimed by offset, which leave no record. The whole table of records is read for it.",
        .example = "  xonce explain --store sqlite:shop.db --group GID_orders 1E057D5E6EAD42A57937046FE17AF5D8",
        .notes = "Exit code 3: there is no record of it, and its place is not settled. Times of the record are the database's clock.",
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
