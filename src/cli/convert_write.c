/* xonce convert: the settings file, the file of environment variables, and the report. */
#include "cli/convert.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *xo_cv_stem(xo_cv *cv, const xo_cv_consumer *c, const char *alone)
{
    return *c->file_name ? xo_cv_format(cv, "%s", c->file_name) : alone;
}

/* A text for one line of comment: no line ends, no control characters. */
static void add_line(xo_buf *b, const char *s)
{
    for (; *s; s++) {
        xo_buf_char(b, (unsigned char)*s < ' ' || *s == 0x7f ? ' ' : *s);
    }
}

static void add_value(xo_buf *b, const xo_cv_value *v)
{
    if (v->env) {
        xo_buf_printf(b, "${%s}", v->env);
    } else {
        add_line(b, v->text);
    }
}

/* The same consumer for xonce consume, all of it as comment: its SQL is to be written first. */
static void add_sections(xo_buf *b, const xo_cv_consumer *c)
{
    xo_buf_str(b, "\n# Without a program in C: write the SQL of each topic, take the \"# \" away from here on, and run: xonce consume --config FILE\n# [consume]\n# from = ");
    add_value(b, &c->from);
    xo_buf_str(b, "\n# group = ");
    add_value(b, &c->group);
    xo_buf_char(b, '\n');
    for (size_t i = 0; i < c->nsubscriptions; i++) {
        const xo_cv_subscription *s = &c->subscriptions[i];
        const xo_cv_handler *h = &c->handlers[s->handler];
        xo_buf_printf(b, "#\n# [subscription %s-%zu]\n# topic = ", h->name, i + 1);
        add_value(b, &s->topic);
        xo_buf_str(b, "\n# tags = ");
        add_value(b, &s->tags);
        xo_buf_printf(b, "\n%s# sql = INSERT INTO orders (id, body) VALUES (:key, :body)\n", h->kind == XO_CV_ORDERED ? "# ordered = yes\n" : "");
    }
}

void xo_cv_write_conf(xo_buf *b, const xo_cv *cv, const xo_cv_consumer *c)
{
    (void)cv;
    xo_buf_str(b, "# Settings of the consumer ");
    add_line(b, c->id);
    xo_buf_str(b, ", made by xonce convert; see xonce.conf(5).\n"
                  "# Keys and passwords stand in the environment, not here. Java's name of a setting stands above it.\n");
    for (size_t i = 0; i < c->nsettings; i++) {
        const xo_cv_setting *s = &c->settings[i];
        xo_buf_str(b, "\n# ");
        add_line(b, s->java);
        if (s->wrong) {
            xo_buf_str(b, "; refused: ");
            add_line(b, s->wrong);
        }
        xo_buf_printf(b, "\n%s%s = ", s->wrong ? "# " : "", s->key);
        add_line(b, s->value);
        xo_buf_char(b, '\n');
    }
    xo_buf_str(b, "\n# While Java members are in the group nothing is deleted here that they may want to know; take it out when the last one is gone.\nprune.every = 0\n");
    add_sections(b, c);
}

/* NAME="value", as a shell and systemd's EnvironmentFile both read it. */
static void add_assignment(xo_buf *b, const char *name, const char *value)
{
    /* what is to be filled in stays unset, so that it is asked for by its name */
    xo_buf_printf(b, "%s%s=\"", value && *value ? "" : "#", name);
    for (const char *p = value; p && *p; p++) {
        if (strchr("\"\\$`", *p)) {
            xo_buf_char(b, '\\');
        }
        xo_buf_char(b, (unsigned char)*p < ' ' ? ' ' : *p);
    }
    xo_buf_str(b, "\"\n");
}

static const xo_cv_variable *variable(const xo_cv *cv, const char *name, size_t n)
{
    for (size_t i = 0; i < cv->nstore_variables; i++) {
        if (strlen(cv->store_variables[i].name) == n && memcmp(cv->store_variables[i].name, name, n) == 0) {
            return &cv->store_variables[i];
        }
    }
    return NULL;
}

/* The store's URI with what is known in its place, and <NAME> for what is to be filled in. */
static void add_store(xo_buf *b, const xo_cv *cv, int secrets)
{
    for (const char *p = cv->store; *p;) {
        const char *close = p[0] == '$' && p[1] == '{' ? strchr(p, '}') : NULL;
        if (!close) {
            xo_buf_char(b, *p++);
            continue;
        }
        const xo_cv_variable *v = variable(cv, p + 2, (size_t)(close - p) - 2);
        if (v && v->value && (secrets || !v->secret)) {
            xo_buf_str(b, v->value);
        } else {
            xo_buf_printf(b, "<%.*s>", (int)(close - p) - 2, p + 2);
        }
        p = close + 1;
    }
}

void xo_cv_write_environment(xo_buf *b, const xo_cv *cv, const xo_cv_consumer *c, int secrets)
{
    xo_buf store = {0};
    add_store(&store, cv, secrets);
    xo_buf_str(b, "# Environment of the consumer ");
    add_line(b, c->id);
    xo_buf_str(b, ", for a shell (set -a; . ./FILE) or systemd (EnvironmentFile=).\n# It holds secrets once it is filled in: keep it readable for its user alone.\n\n# The database.");
    for (size_t i = 0; i < cv->nstore_variables; i++) {
        const xo_cv_variable *v = &cv->store_variables[i];
        int whole = strcmp(v->name, "XONCE_STORE") == 0;
        if (!v->value || (v->secret && !secrets)) {
            xo_buf_printf(b, "%s%s%s", whole ? " To be written: " : " In place of <", whole ? "" : v->name, whole ? "" : ">: ");
            add_line(b, v->what);
            xo_buf_char(b, '.');
        }
    }
    xo_buf_char(b, '\n');
    add_assignment(b, "XONCE_STORE", store.p);
    for (size_t i = 0; i < c->nvariables; i++) {
        const xo_cv_variable *v = &c->variables[i];
        xo_buf_str(b, "\n# ");
        add_line(b, v->what);
        xo_buf_char(b, '\n');
        add_assignment(b, v->name, v->value && (secrets || !v->secret) ? v->value : NULL);
    }
    b->failed |= store.failed;
    xo_wipe(store.p, store.cap);
    xo_buf_free(&store);
}

/* ---- the report ---- */

static void add_notes(xo_buf *b, const xo_cv *cv, xo_cv_level level, const char *heading, const char *none)
{
    size_t n = 0;
    xo_buf_printf(b, "\n## %s\n\n", heading);
    for (size_t i = 0; i < cv->nnotes; i++) {
        const xo_cv_note *note = &cv->notes[i];
        if (note->level == level) {
            xo_buf_printf(b, "- %s%s", note->where, *note->where ? ": " : "");
            add_line(b, note->text);
            xo_buf_char(b, '\n');
            n++;
        }
    }
    if (!n) {
        xo_buf_printf(b, "%s\n", none);
    }
    if (level == XO_CV_STOP && cv->dropped) {
        xo_buf_printf(b, "- and %zu more remarks that are not written down here\n", cv->dropped);
    }
}

static void add_consumer(xo_buf *b, xo_cv *cv, const xo_cv_consumer *c)
{
    static const char *const kinds[] = {"message by message", "ordered", "in batches"};
    xo_buf_str(b, "\n## The consumer ");
    add_line(b, c->id);
    xo_buf_str(b, "\n\n- group `");
    add_value(b, &c->group);
    xo_buf_str(b, "`, from `");
    add_value(b, &c->from);
    xo_buf_printf(b, "`, %s\n", kinds[c->kind]);
    for (size_t i = 0; i < c->nsubscriptions; i++) {
        const xo_cv_subscription *s = &c->subscriptions[i];
        const xo_cv_handler *h = &c->handlers[s->handler];
        xo_buf_str(b, "- topic `");
        add_value(b, &s->topic);
        xo_buf_str(b, "`, tags `");
        add_value(b, &s->tags);
        xo_buf_printf(b, "`: `%s()`%s", h->name, *h->class ? ", in Java " : "");
        add_line(b, h->class);
        xo_buf_char(b, '\n');
    }
    for (size_t i = 0; i < c->nsettings; i++) {
        const xo_cv_setting *s = &c->settings[i];
        xo_buf_str(b, "- `");
        add_line(b, s->java);
        xo_buf_printf(b, "` is `%s`%s\n", s->key, s->wrong ? ", with a value that is refused" : "");
    }
    const char *settings = xo_cv_stem(cv, c, "xonce"), *program = xo_cv_stem(cv, c, "consumer");
    xo_buf_printf(b, "\nFiles: `%s.conf`, `%s.env`, `%s.c`.\n", settings, settings, program);
    if (c->nvariables || cv->nstore_variables) {
        xo_buf_printf(b, "\nTo be written into `%s.env`, unless it stands there:\n\n", settings);
    }
    for (size_t i = 0; i < cv->nstore_variables + c->nvariables; i++) {
        const xo_cv_variable *v = i < cv->nstore_variables ? &cv->store_variables[i] : &c->variables[i - cv->nstore_variables];
        xo_buf_printf(b, "- %s`%s`%s: ", i < cv->nstore_variables && strcmp(v->name, "XONCE_STORE") != 0 ? "in `XONCE_STORE`, " : "", v->name, v->secret ? " (secret)" : "");
        add_line(b, v->what);
        xo_buf_char(b, '\n');
    }
    xo_buf_printf(b, "\nBuild, look, run:\n\n"
                     "    cc -o %s %s.c $(pkg-config --cflags --libs xonce)\n"
                     "    set -a; . ./%s.env; set +a\n"
                     "    xonce check\n"
                     "    xonce upgrade --print\n"
                     "    ./%s %s.conf\n", program, program, settings, program, settings);
}

void xo_cv_write_report(xo_buf *b, const xo_cv *const_cv, const char *dir)
{
    xo_cv *cv = (xo_cv *)(uintptr_t)const_cv; /* for names in its arena */
    xo_buf_str(b, "# From the Java consumer to xonce: what xonce convert found\n\nThe handlers are yours to write: what the listeners do is Java code, which was not read. The whole way, with a rolling plan and a way back, is in "
                  "docs/migrating-from-java.md.\n\nWritten to `");
    add_line(b, dir);
    xo_buf_str(b, "`.\n");
    add_notes(b, cv, XO_CV_STOP, "To be decided before it runs", "Nothing.");
    add_notes(b, cv, XO_CV_DIFFERS, "Without a counterpart, or with another one", "Nothing.");
    for (size_t i = 0; i < cv->nconsumers; i++) {
        add_consumer(b, cv, &cv->consumers[i]);
    }
    add_notes(b, cv, XO_CV_KEPT, "Nothing to do about these", "-");
    xo_buf_str(b, "\n## Before the first message\n\n"
                  "1. Run the rehearsal of docs/migrating-from-java.md: it proves on your own data that both consumers write the same ids. Without that, stop all Java members first.\n"
                  "2. All members of a group must subscribe to the same topics with the same tags.\n"
                  "3. Everything that a handler writes goes through its `tx`. What `MQDataSource` did not see was not exactly once, and is not here.\n"
                  "4. A handler that is not written yet gives its messages back; at `attempts` they go to `xonce_rejected`, from where `xonce replay` runs them.\n");
}
