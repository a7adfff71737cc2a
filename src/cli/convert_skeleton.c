/* xonce convert: a program in C with a handler for each listener. */
#include "cli/convert.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Inside of a comment: nothing that ends it, no line end. */
static void add_comment(xo_buf *b, const char *s)
{
    for (; *s; s++) {
        xo_buf_char(b, (unsigned char)*s < ' ' || *s == 0x7f || (*s == '/' && b->len && b->p[b->len - 1] == '*') || (*s == '*' && b->len && b->p[b->len - 1] == '/') ? ' ' : *s);
    }
}

static void add_string(xo_buf *b, const char *s)
{
    xo_buf_char(b, '"');
    for (; *s; s++) {
        if ((unsigned char)*s < ' ' || *s == 0x7f || *s == '?') { /* ? might begin a trigraph */
            xo_buf_printf(b, "\\%03o", (unsigned)(unsigned char)*s);
        } else {
            if (*s == '"' || *s == '\\') {
                xo_buf_char(b, '\\');
            }
            xo_buf_char(b, *s);
        }
    }
    xo_buf_char(b, '"');
}

static void add_value(xo_buf *b, const xo_cv_value *v)
{
    if (v->env) {
        xo_buf_printf(b, "value(\"%s\")", v->env);
    } else {
        add_string(b, v->text);
    }
}

static void add_head(xo_buf *b, xo_cv *cv, const xo_cv_consumer *c)
{
    const char *program = xo_cv_stem(cv, c, "consumer"), *settings = xo_cv_stem(cv, c, "xonce");
    xo_buf_str(b, "/* Handlers for the messages of ");
    add_comment(b, c->group.env ? c->group.env : c->group.text);
    xo_buf_str(b, ", the consumer ");
    add_comment(b, c->id);
    xo_buf_printf(b, " in Spring. Made by xonce convert; yours to fill in.\n\n"
                     "       cc -o %s %s.c $(pkg-config --cflags --libs xonce)\n"
                     "       set -a; . ./%s.env; set +a\n"
                     "       ./%s %s.conf\n\n"
                     "   A handler is never called for a duplicate. It writes through tx, whose transaction already holds the record of the message, and says what\n"
                     "   becomes of both: XONCE_DONE (CommitMessage) commits them, XONCE_RETRY (ReconsumeLater, an exception) rolls them back and lets the message\n"
                     "   come again, XONCE_REJECT keeps the message in xonce_rejected. It must not begin, commit or roll back by itself. */\n"
                     "#include <signal.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <xonce/xonce.h>\n\n"
                     "static xonce_consumer *consumer;\n\n",
                  program, program, settings, program, settings);
}

static void add_handler(xo_buf *b, const xo_cv_handler *h)
{
    xo_buf_str(b, "/* ");
    add_comment(b, *h->class ? h->class : "a listener whose class is not in the file");
    if (*h->bean) {
        xo_buf_str(b, ", bean ");
        add_comment(b, h->bean);
    }
    if (h->kind == XO_CV_BATCH) {
        xo_buf_printf(b, " */\nstatic xonce_verdict %s(xonce_tx *tx, xonce_batch *batch, void *arg)\n{\n"
                         "    (void)arg;\n"
                         "    /* for (size_t i = 0; i < xonce_batch_count(batch); i++) {\n"
                         "           const xonce_message *m = xonce_batch_at(batch, i);\n"
                         "           if (xonce_exec(tx, \"INSERT INTO orders (id, body) VALUES ($1, $2)\", xonce_text(xonce_message_key(m)), xonce_body(m)) != XONCE_OK)\n"
                         "               return XONCE_RETRY;\n"
                         "       }\n"
                         "       return XONCE_DONE; */\n"
                         "    xonce_fail(tx, \"%s() is not written yet: %%zu messages\", xonce_batch_count(batch));\n"
                         "    return XONCE_RETRY;\n}\n\n", h->name, h->name);
        return;
    }
    xo_buf_printf(b, "%s */\nstatic xonce_verdict %s(xonce_tx *tx, const xonce_message *m, void *arg)\n{\n"
                     "    (void)arg;\n"
                     "    /* return xonce_exec(tx, \"INSERT INTO orders (id, body) VALUES ($1, $2)\", xonce_text(xonce_message_key(m)), xonce_body(m)) == XONCE_OK\n"
                     "                  ? XONCE_DONE : XONCE_RETRY; */\n"
                     "    xonce_fail(tx, \"%s() is not written yet: message %%s\", xonce_message_id(m));\n"
                     "    return XONCE_RETRY;\n}\n\n",
                  h->kind == XO_CV_ORDERED ? "; in order: XONCE_RETRY holds up the messages of the same sharding key" : "", h->name, h->name);
}

static int needs_variables(const xo_cv_consumer *c)
{
    int need = c->group.env || c->from.env;
    for (size_t i = 0; i < c->nsubscriptions; i++) {
        need |= c->subscriptions[i].topic.env || c->subscriptions[i].tags.env;
    }
    return need;
}

static const char helpers[] =
    "static void on_signal(int sig)\n{\n    (void)sig;\n    xonce_consumer_ask_stop(consumer);\n}\n\n"
    "static void log_line(int level, const char *area, const char *text, void *arg)\n{\n    (void)arg;\n"
    "    if (level <= XONCE_LOG_WARN)\n        fprintf(stderr, \"%s: %s\\n\", area, text);\n}\n\n";

static const char reader[] =
    "/* What the file left to a placeholder. */\n"
    "static const char *value(const char *name)\n{\n    const char *v = getenv(name);\n    if (!v || !*v) {\n"
    "        fprintf(stderr, \"the environment variable %s is not set\\n\", name);\n        exit(2);\n    }\n    return v;\n}\n\n";

static void add_main(xo_buf *b, xo_cv *cv, const xo_cv_consumer *c)
{
    static const char *const ways[] = {"xonce_on", "xonce_on_ordered", "xonce_on_batch"};
    xo_buf_printf(b, "int main(int argc, char **argv)\n{\n"
                     "    const char *settings = argc > 1 ? argv[1] : \"%s.conf\", *store_uri = getenv(\"XONCE_STORE\");\n    const char *from = argc > 2 ? argv[2] : ", xo_cv_stem(cv, c, "xonce"));
    add_value(b, &c->from);
    xo_buf_str(b, ";\n    xonce_config *cfg = NULL;\n    xonce_store *store = NULL;\n    xonce_source *source = NULL;\n"
                  "    if (!store_uri) {\n        fprintf(stderr, \"XONCE_STORE is not set: it names the database, as mysql://user:password@host:3306/shop\\n\");\n        return 2;\n    }\n"
                  "    xonce_set_log(log_line, NULL);\n"
                  "    int ok = xonce_config_new(&cfg) == XONCE_OK && xonce_config_load(cfg, settings) == XONCE_OK &&\n"
                  "             xonce_store_open(&store, store_uri, ");
    add_value(b, &c->group);
    xo_buf_str(b, ", cfg) == XONCE_OK && xonce_source_open(&source, from, cfg) == XONCE_OK &&\n             xonce_consumer_new(&consumer, store, source, cfg) == XONCE_OK");
    for (size_t i = 0; i < c->nsubscriptions; i++) {
        const xo_cv_handler *h = &c->handlers[c->subscriptions[i].handler];
        xo_buf_printf(b, " &&\n             %s(consumer, ", ways[h->kind]);
        add_value(b, &c->subscriptions[i].topic);
        xo_buf_str(b, ", ");
        add_value(b, &c->subscriptions[i].tags);
        xo_buf_printf(b, ", %s, NULL) == XONCE_OK", h->name);
    }
    xo_buf_str(b, ";\n    if (ok) {\n        (void)signal(SIGTERM, on_signal);\n        (void)signal(SIGINT, on_signal);\n        ok = xonce_consumer_run(consumer) == XONCE_OK;\n    }\n"
                  "    if (!ok)\n        fprintf(stderr, \"%s\\n\", xonce_error_last()->text);\n"
                  "    xonce_consumer_free(consumer);\n    xonce_source_close(source);\n    xonce_store_close(store);\n    xonce_config_free(cfg);\n    return !ok;\n}\n");
}

void xo_cv_write_skeleton(xo_buf *b, const xo_cv *const_cv, const xo_cv_consumer *c)
{
    xo_cv *cv = (xo_cv *)(uintptr_t)const_cv; /* for names in its arena */
    add_head(b, cv, c);
    for (size_t i = 0; i < c->nhandlers; i++) {
        add_handler(b, &c->handlers[i]);
    }
    xo_buf_str(b, helpers);
    if (needs_variables(c)) {
        xo_buf_str(b, reader);
    }
    add_main(b, cv, c);
}
