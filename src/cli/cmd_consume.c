/* xonce consume: from a topic into a database, each message once. */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "cli/print.h"
#include "consumer/consumer.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    const char *from, *topic, *group, *tags, *store, *sql, *exec, *id;
    int64_t exec_timeout, stop_within;
    int ordered, no_dedup, unsafe_keep, print, json, verbose;
    xonce_config *cfg;
    xo_apply apply;
    xo_msg_field id_field;
    int has_id;
} options;

static xonce_consumer *volatile running;
static volatile sig_atomic_t stop_asked;

/* The first signal asks for an orderly stop, the second one ends the process. */
static void on_signal(int sig)
{
    (void)sig;
    stop_asked = 1;
    xonce_consumer *c = running;
    if (c) {
        xonce_consumer_ask_stop(c);
    }
}

static void catch_signals(void)
{
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART | (int)SA_RESETHAND};
    (void)sigemptyset(&a.sa_mask);
    (void)sigaction(SIGTERM, &a, NULL);
    (void)sigaction(SIGINT, &a, NULL);
}

/* --id: the id that counts is a field of the message. */
static xonce_status identify(const xonce_message *m, char *id, size_t size, void *arg)
{
    const xo_msg_field *f = arg;
    xo_field_reader reader = {.m = m};
    xonce_value v;
    xonce_status st = xo_field_read(&reader, f, &v);
    if (st == XONCE_OK) {
        if (v.kind == XONCE_INT || v.kind == XONCE_BOOL) {
            (void)snprintf(id, size, "%" PRId64, v.v.i);
        } else if (v.kind == XONCE_NULL || v.len == 0) {
            st = xo_fail(XONCE_E_INVALID, "no id: :%.80s is missing", f->name);
        } else if (v.len >= size || memchr(v.v.p, 0, v.len)) {
            st = xo_fail(XONCE_E_INVALID, "no id: :%.80s is longer than %zu bytes, or holds a zero byte", f->name, size - 1);
        } else {
            memcpy(id, v.v.p, v.len);
            id[v.len] = 0;
        }
    }
    xo_field_reader_end(&reader);
    return st;
}

static int parse_id(const xo_usage *u, options *o)
{
    if (!o->id) {
        return XO_GO_ON;
    }
    if (o->id[0] != ':' || xo_field_parse(&o->id_field, o->id + 1, strlen(o->id + 1)) != XONCE_OK) {
        return xo_args_wrong(u, "--id: %s", o->id[0] == ':' ? xonce_error_last()->text : "write :key or :body.path");
    }
    o->has_id = 1;
    return XO_GO_ON;
}

static int check_options(const xo_usage *u, options *o)
{
    if (!o->from || !o->topic || !o->group) {
        return xo_args_wrong(u, "%s is missing", !o->from ? "--from" : !o->topic ? "--topic" : "--group");
    }
    if (o->print && (o->sql || o->exec || o->store || o->no_dedup || o->id)) {
        return xo_args_wrong(u, "--print stands alone: it stores nothing");
    }
    if (o->no_dedup && o->id) {
        return xo_args_wrong(u, "--no-dedup and --id exclude each other");
    }
    return o->print ? XO_GO_ON : parse_id(u, o);
}

static int set_default(const options *o, const char *key, const char *value)
{
    return xo_config_is_set(o->cfg, key) || xonce_config_set(o->cfg, key, value) == XONCE_OK;
}

/* What --sql and --exec mean for the settings that were not made by hand. */
static int adjust_settings(const xo_usage *u, options *o)
{
    if (!set_default(o, "sql.errors", "judge") || (o->unsafe_keep && xonce_config_set(o->cfg, "prune.unsafe", "on") != XONCE_OK)) {
        return xo_out_failed(NULL);
    }
    if (o->sql) {
        return XO_GO_ON;
    }
    /* a crash runs a whole batch of programs again, so one at a time unless asked otherwise; a program may not outlive its transaction */
    char timeout[32];
    int64_t need = o->exec_timeout + 60000;
    (void)snprintf(timeout, sizeof(timeout), "%" PRId64 "ms", need);
    if (xo_config_is_set(o->cfg, "handler.timeout") && xo_config_int(o->cfg, "handler.timeout") < o->exec_timeout) {
        return xo_args_wrong(u, "--exec-timeout is longer than handler.timeout");
    }
    if (!set_default(o, "batch.max", "1") || (xo_config_int(o->cfg, "handler.timeout") < need && !set_default(o, "handler.timeout", timeout))) {
        return xo_out_failed(NULL);
    }
    return XO_GO_ON;
}

enum { PATIENCE_MS = 30000 };

/* With --exit-when-idle: since when nothing has come because the endpoint or the database cannot be reached. */
typedef struct {
    int64_t idle, since;
    uint64_t before;
} outage;

static uint64_t progress_of(const xonce_counts *n)
{
    return n->polled + n->fresh + n->duplicate + n->rejected + n->retried;
}

/* An outage is sat out; but who wanted to end when idle does not want to wait for ever, least of all for what was never there. */
static int is_hopeless(outage *o, const xonce_counts *n)
{
    int64_t now = xo_mono_ms();
    if (n->healthy || progress_of(n) != o->before || o->since == 0) {
        o->before = progress_of(n);
        o->since = now;
    }
    return o->idle > 0 && !n->healthy && now - o->since >= o->idle + (n->polled ? PATIENCE_MS : 0);
}

static void show_progress(const xonce_counts *n)
{
    xo_out_progress("%" PRIu64 " fresh, %" PRIu64 " duplicate, %" PRIu64 " rejected, %" PRIu64 " retried, %" PRIu64 " in flight%s", n->fresh,
                    n->duplicate, n->rejected, n->retried, n->in_flight, n->healthy ? "" : "  NOT HEALTHY");
}

/* Until the consumer has ended. The stop that a signal asked for has a time limit. */
static int wait_for_end(const options *o, xonce_consumer *c)
{
    xo_error why;
    int rc = XO_EXIT_OK;
    int64_t give_up = INT64_MAX;
    outage out = {.idle = xo_config_int(o->cfg, "exit-when-idle")};
    for (int i = 0; !xo_consumer_ended(c, &why) && xo_mono_ms() < give_up && why.pub.code == XONCE_OK; i++) {
        xonce_counts n = {.size = sizeof(n)};
        if (i % 8 == 0 && xonce_consumer_counts(c, &n) == XONCE_OK) {
            show_progress(&n);
            if (is_hopeless(&out, &n)) {
                xo_out_error("gave up: nothing came, and the endpoint or the database cannot be reached");
                rc = XO_EXIT_FAILED;
                break;
            }
        }
        if (stop_asked && give_up == INT64_MAX) {
            give_up = xo_mono_ms() + o->stop_within;
        }
        xo_pause_ms(25);
    }
    xo_out_progress_end();
    int64_t left = give_up == INT64_MAX ? o->stop_within : give_up - xo_mono_ms();
    if (xonce_consumer_stop(c, left > 0 ? left : 0) != XONCE_OK) {
        rc = xo_out_failed(NULL);
    }
    (void)xo_consumer_ended(c, &why); /* its log line has told the reason already */
    return why.pub.code == XONCE_OK ? rc : XO_EXIT_FAILED;
}

static void print_counts(xonce_consumer *c)
{
    xonce_counts n = {.size = sizeof(n)};
    (void)xonce_consumer_counts(c, &n);
    xo_out("consumed %" PRIu64 " fresh, %" PRIu64 " duplicate, %" PRIu64 " rejected, %" PRIu64 " retried\n", n.fresh, n.duplicate, n.rejected, n.retried);
}

static int run_consumer(const options *o, xonce_store *store, xonce_source *source)
{
    xonce_consumer *c;
    if (xonce_consumer_new(&c, store, source, o->cfg) != XONCE_OK) {
        return xo_open_failed(NULL);
    }
    if (o->no_dedup) {
        xo_consumer_no_dedup(c);
    }
    xonce_status st = (o->ordered ? xonce_on_ordered : xonce_on)(c, o->topic, o->tags, o->apply.fn, o->apply.arg);
    running = c;
    catch_signals();
    if (st == XONCE_OK) {
        st = xonce_consumer_start(c);
    }
    int rc = st == XONCE_OK ? wait_for_end(o, c) : xo_open_failed(NULL);
    running = NULL;
    if (st == XONCE_OK) {
        print_counts(c);
    }
    if (st == XONCE_OK && !xo_consumer_ended(c, NULL)) { /* handlers still run: nothing of theirs may be freed */
        _exit(xo_out_end(rc));
    }
    xonce_consumer_free(c);
    return rc;
}

/* All that can be wrong with database and SQL is found before a message is taken. */
/* A claim that is rolled back: a missing table or right and a read-only database show before any message is taken. */
static xonce_status try_claim(xonce_store *store)
{
    xonce_message *m = NULL;
    xonce_tx *tx = NULL;
    xonce_outcome what;
    xonce_status st = xonce_message_new(&m, "xonce", "xonce-start", "", 0);
    if (st == XONCE_OK) {
        st = xonce_tx_begin(store, &tx);
    }
    if (st == XONCE_OK) {
        st = xonce_tx_claim(tx, (const xonce_message *const *)&m, 1, &what);
    }
    xonce_tx_rollback(tx);
    xonce_message_free(m);
    return st == XONCE_E_CONFLICT ? XONCE_OK : st; /* busy is not broken */
}

static int open_store(const options *o, const char *uri, xonce_store **store)
{
    int rc = xo_store_connect(store, uri, o->group, o->cfg);
    if (rc != XO_GO_ON) {
        return rc;
    }
    if (!o->no_dedup && try_claim(*store) != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    if (o->has_id && xonce_store_identify(*store, identify, (void *)(uintptr_t)&o->id_field) != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    return xo_apply_try(&o->apply, *store);
}

static int run(const xo_usage *u, options *o)
{
    xonce_store *store = NULL;
    xonce_source *source = NULL;
    const char *uri = NULL;
    int rc = check_options(u, o);
    if (rc == XO_GO_ON && !o->print) {
        uri = xo_store_uri(u, o->store);
        rc = uri ? xo_apply_make(&o->apply, u, uri, o->sql, o->exec, o->exec_timeout) : XO_EXIT_USAGE;
        rc = rc == XO_GO_ON ? adjust_settings(u, o) : rc;
    }
    if (rc == XO_GO_ON && xonce_source_open(&source, o->from, o->cfg) != XONCE_OK) {
        (void)xo_out_failed(NULL);
        rc = XO_EXIT_USAGE; /* it does not connect yet: what it refuses was given wrongly */
    }
    if (rc == XO_GO_ON && o->print) {
        xo_print_job job = {o->group, o->topic, o->tags, o->ordered, o->json, xo_config_int(o->cfg, "exit-when-idle"), &stop_asked};
        catch_signals();
        rc = xo_print_messages(source, &job);
    } else if (rc == XO_GO_ON) {
        rc = open_store(o, uri, &store);
        rc = rc == XO_GO_ON ? run_consumer(o, store, source) : rc;
    }
    xonce_source_close(source);
    xonce_store_close(store);
    xo_apply_free(&o->apply);
    xo_field_free(&o->id_field);
    return rc;
}

static const char about[] =
    "Takes messages of a topic and applies each one exactly once: a record of the message and your SQL are one transaction, the endpoint hears \"done\" after the "
    "commit, and a second delivery finds the record and is skipped.\n"
    "--sql is bound parameters only: :id :topic :tag :key :body :attempt :property.NAME, and of a JSON body :body.path.to, :body.items.0.sku, :\"body.odd-name\". "
    "Several statements, separated by ';', are one transaction. Data that the database refuses for good goes to the rejected table; a missing parent row is tried "
    "again; a missing table or right stops the program.\n"
    "--exec runs a program per message: body on stdin; XONCE_ID, XONCE_TOPIC, XONCE_TAG, XONCE_KEY, XONCE_ATTEMPT and XONCE_PROPERTY_NAME in the environment. Exit 0 is done, "
    "65 rejects with the last line of stderr as the reason, all else is tried again. What the program does elsewhere happens at least once.";
static const char synopsis[] = "--from URI --topic NAME --group GROUP (--store URI (--sql SQL | --exec PROGRAM) | --print) [OPTION]...";
static const char example[] =
    "  xonce consume --from http://127.0.0.1:8080 --instance MQ_INST_demo --topic orders --group GID_orders --store sqlite:shop.db \\\n"
    "    --sql \"INSERT INTO orders (id, amount) VALUES (:body.id, :body.amount)\"";
static const char notes[] =
    "SIGTERM and SIGINT stop it in order: what runs is finished, committed and acknowledged. A second signal ends it at once, which loses nothing either.\n"
    "The last line of output is: consumed N fresh, N duplicate, N rejected, N retried.";

int xo_cmd_consume(int argc, char **argv)
{
    options o = {.exec_timeout = XO_EXEC_TIMEOUT_MS, .stop_within = 30000};
    size_t nrest;
    const xo_arg args[] = {
        {"from", "URI", XO_ARG_TEXT, &o.from, NULL, 0, 0, "the endpoint, http://HOST:PORT or https://HOST, or the name servers of a cluster, rocketmq://HOST:9876;HOST:9876"},
        XO_ARG_INSTANCE(&o.cfg),
        XO_ARG_NAMESPACE(&o.cfg),
        {"topic", "NAME", XO_ARG_TEXT, &o.topic, NULL, 0, 0, "the topic"},
        XO_ARG_GROUP(&o.group),
        {"tags", "A||B", XO_ARG_TEXT, &o.tags, NULL, 0, 0, "only messages with one of these tags"},
        {"ordered", NULL, XO_ARG_SWITCH, &o.ordered, NULL, 0, 0, "in order per sharding key (ordered topics)"},
        XO_ARG_STORE(&o.store),
        {"sql", "SQL", XO_ARG_TEXT, &o.sql, NULL, 0, 0, "what to do with a message"},
        {"exec", "PROGRAM", XO_ARG_TEXT, &o.exec, NULL, 0, 0, "or run this program for each message"},
        {"exec-timeout", "TIME", XO_ARG_DURATION, &o.exec_timeout, NULL, 1, INT64_C(3) * 3600000 - 60000, "end a program after this long; default 5m"},
        {"id", ":FIELD", XO_ARG_TEXT, &o.id, NULL, 0, 0, "what makes two messages the same: a business key as :key or :body.payment_id; default: the message id"},
        {"claim", "MODE", XO_ARG_SETTING, &o.cfg, "claim", 0, 0, "record (default): a row a message; offset: the queue's position moves in the transaction instead, no row a message (rocketmq)"},
        {"workers", "N", XO_ARG_SETTING, &o.cfg, "workers", 0, 0, "most transactions at a time; default 20"},
        {"batch", "N", XO_ARG_SETTING, &o.cfg, "batch.max", 0, 0, "most messages in one transaction; default 128, with --exec 1"},
        {"linger", "TIME", XO_ARG_SETTING, &o.cfg, "batch.linger", 0, 0, "how long to wait for a batch to fill; default 0"},
        {"attempts", "N", XO_ARG_SETTING, &o.cfg, "attempts", 0, 0, "reject a failing message at this many deliveries; default 16"},
        {"exit-when-idle", "TIME", XO_ARG_SETTING, &o.cfg, "exit-when-idle", 0, 0, "stop after this long without a message"},
        {"keep", "TIME", XO_ARG_SETTING, &o.cfg, "prune.keep", 0, 0, "delete records older than this; default 4d"},
        {"unsafe-keep", NULL, XO_ARG_SWITCH, &o.unsafe_keep, NULL, 0, 0, "let --keep be shorter than what is safe; only for tests and emergencies"},
        {"prune-every", "TIME", XO_ARG_SETTING, &o.cfg, "prune.every", 0, 0, "how often to delete old records; default 1h, 0 = never"},
        {"no-dedup", NULL, XO_ARG_SWITCH, &o.no_dedup, NULL, 0, 0, "apply every delivery, duplicates too: only for comparison"},
        {"print", NULL, XO_ARG_SWITCH, &o.print, NULL, 0, 0, "show messages and acknowledge nothing; without --store"},
        {"json", NULL, XO_ARG_SWITCH, &o.json, NULL, 0, 0, "with --print: one JSON object a line"},
        XO_ARG_CREDENTIALS(&o.cfg),
        {"cacert", "FILE", XO_ARG_SETTING, &o.cfg, "http.cacert", 0, 0, "certificates to check an https endpoint against"},
        {"stop-within", "TIME", XO_ARG_DURATION, &o.stop_within, NULL, 0, INT64_C(3600000), "how long an orderly stop may take; default 30s"},
        XO_ARG_SET(&o.cfg),
        XO_ARG_CONFIG_FILE(&o.cfg),
        XO_ARG_VERBOSE(&o.verbose),
    };
    const xo_usage usage = {
        .name = "consume",
        .synopsis = synopsis,
        .about = about,
        .example = example,
        .notes = notes,
        .args = args,
        .nargs = sizeof(args) / sizeof(args[0]),
    };
    if (xonce_config_new(&o.cfg) != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    int rc = xo_args_parse(&usage, argc, argv, &nrest);
    if (rc == XO_GO_ON) {
        xo_out_log(o.verbose);
        rc = run(&usage, &o);
    }
    xonce_config_free(o.cfg);
    return rc;
}
