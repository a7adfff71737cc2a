/* xonce consume: from a topic into a database, each message once. */
#include "base/log.h"
#include "cli/cli.h"
#include "cli/fleet.h"
#include "cli/inforce.h"
#include "cli/output.h"
#include "cli/print.h"
#include "cli/service.h"
#include "consumer/consumer.h"
#include "status/status.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    xo_plan_words words;
    xo_plan plan;
    int64_t stop_within;
    int no_dedup, unsafe_keep, print, json, verbose;
    xonce_config *cfg;
    int argc;
    char **argv;
    xo_status *status; /* NULL: it is not served */
} options;

static xo_fleet *volatile running;
static volatile sig_atomic_t stop_asked, reload_asked;

/* The first signal asks for an orderly stop; the next one, be it the other, ends the process. */
static void on_stop(int sig)
{
    (void)sig;
    struct sigaction a = {.sa_handler = SIG_DFL};
    (void)sigemptyset(&a.sa_mask);
    (void)sigaction(SIGTERM, &a, NULL);
    (void)sigaction(SIGINT, &a, NULL);
    stop_asked = 1;
    xo_fleet *f = running;
    if (f) {
        xo_fleet_ask_stop(f);
    }
}

static void on_reload(int sig)
{
    (void)sig;
    reload_asked = 1;
}

static void catch_signals(void)
{
    struct sigaction a = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
    (void)sigemptyset(&a.sa_mask);
    (void)sigaction(SIGTERM, &a, NULL);
    (void)sigaction(SIGINT, &a, NULL);
}

static int check_options(const xo_usage *u, options *o)
{
    const xo_plan_words *w = &o->words;
    if (o->print && (w->sql || w->exec || w->store || o->no_dedup || w->id)) {
        return xo_args_wrong(u, "--print stands alone: it stores nothing");
    }
    if (o->no_dedup && w->id) {
        return xo_args_wrong(u, "--no-dedup and --id exclude each other");
    }
    if (o->print && (!w->from || !w->topic || !w->group)) {
        return xo_args_wrong(u, "%s is missing", !w->from ? "--from" : !w->topic ? "--topic" : "--group");
    }
    return o->print ? XO_GO_ON : xo_plan_finish(&o->plan, u, w);
}

static int set_default(const options *o, const char *key, const char *value)
{
    return xo_config_is_set(o->cfg, key) || xonce_config_set(o->cfg, key, value) == XONCE_OK;
}

/* What SQL and programs mean for the settings that were not made by hand. */
static int adjust_settings(const xo_usage *u, options *o)
{
    int64_t longest = 0;
    if (!set_default(o, "sql.errors", "judge") || (o->unsafe_keep && xonce_config_set(o->cfg, "prune.unsafe", "on") != XONCE_OK)) {
        return xo_out_failed(NULL);
    }
    for (size_t i = 0; i < o->plan.nsubs; i++) {
        const xo_plan_sub *s = &o->plan.subs[i];
        longest = s->exec && s->exec_timeout > longest ? s->exec_timeout : longest;
    }
    if (!longest) {
        return XO_GO_ON;
    }
    /* a program may not outlive its transaction */
    char timeout[32];
    int64_t need = longest + 60000;
    (void)snprintf(timeout, sizeof(timeout), "%" PRId64 "ms", need);
    if (xo_config_is_set(o->cfg, "handler.timeout") && xo_config_int(o->cfg, "handler.timeout") < longest) {
        return xo_args_wrong(u, "--exec-timeout is longer than handler.timeout");
    }
    if (xo_config_int(o->cfg, "handler.timeout") < need && !set_default(o, "handler.timeout", timeout)) {
        return xo_out_failed(NULL);
    }
    return XO_GO_ON;
}

/* ---- new settings ---- */

static int parse(options *o, xo_usage *said);

static void options_free(options *o)
{
    xonce_config_free(o->cfg);
    xo_plan_free(&o->plan);
}

static void on_left(const char *key, void *arg)
{
    (void)arg;
    xo_log(XO_WARN, "consume", "%s has changed in the configuration: it holds after a restart", key);
}

/* Of the subscriptions of which nothing else has changed. */
static void take_batches(xo_fleet *f, options *o, const options *next)
{
    char keys[200];
    for (size_t i = 0; i < o->plan.nsubs; i++) {
        xo_plan_sub *was = &o->plan.subs[i];
        const xo_plan_sub *is = xo_plan_find_sub(&next->plan, was->name);
        if (is && xo_plan_sub_change(was, is, keys, sizeof(keys)) == XO_PLAN_LIVE) {
            xo_log(XO_INFO, "consume", "[subscription %.100s]: batch has changed", was->name ? was->name : "");
            was->batch = is->batch;
        }
    }
    xo_fleet_batches(f, &o->plan, next->cfg);
}

/* In all consumers or in none: what one source takes another may refuse. */
static int take_config(xo_fleet *f, const options *next)
{
    xonce_status st = XONCE_OK;
    for (size_t i = 0; i < xo_fleet_count(f) && st == XONCE_OK; i++) {
        st = xo_consumer_check(xo_fleet_at(f, i), next->cfg);
    }
    for (size_t i = 0; i < xo_fleet_count(f) && st == XONCE_OK; i++) {
        st = xonce_consumer_reconfigure(xo_fleet_at(f, i), next->cfg, i ? NULL : on_left, NULL);
    }
    if (st != XONCE_OK) {
        xo_log(XO_ERROR, "consume", "the settings stay as they were: %s", xonce_error_last()->text);
    }
    return st == XONCE_OK;
}

static void take_settings(xo_fleet *f, options *o, const xo_usage *u, options *next)
{
    xo_fleet_change *change = NULL;
    if (xo_fleet_prepare(f, &next->plan, u, &change) != XO_GO_ON) {
        xo_log(XO_ERROR, "consume", "the new SQL cannot be used: all settings stay as they were");
        return;
    }
    if (!take_config(f, next)) {
        xo_fleet_drop(change);
        return;
    }
    xo_fleet_take(&o->plan, change);
    take_batches(f, o, next);
    xo_plan_tell_left(&o->plan, &next->plan);
    if (o->status && xo_inforce_tell(o->status, f, &o->plan) != XONCE_OK) {
        xo_log(XO_WARN, "consume", "the status page shows the sections as they were: %s", xonce_error_last()->text);
    }
    if (xo_config_int(next->cfg, "log.level") != xo_config_int(o->cfg, "log.level")) {
        int level = (int)xo_config_int(next->cfg, "log.level");
        (void)xonce_log_level(o->verbose && level < XO_INFO ? XO_INFO : level);
        (void)xo_config_take(o->cfg, next->cfg, "log.level");
    }
    xo_log(XO_INFO, "consume", "the configuration was read again");
}

/* SIGHUP: command line, environment and file are read again. What is wrong with them is told, and nothing changes. */
static void reload(xo_fleet *f, void *arg)
{
    options *o = arg, next = {.argc = o->argc, .argv = o->argv};
    xo_usage usage;
    int rc = parse(&next, &usage);
    rc = rc == XO_GO_ON ? check_options(&usage, &next) : rc;
    rc = rc == XO_GO_ON ? adjust_settings(&usage, &next) : rc;
    if (rc == XO_GO_ON) {
        take_settings(f, o, &usage, &next);
    } else {
        xo_log(XO_ERROR, "consume", "the configuration cannot be read again: the settings stay as they were");
    }
    options_free(&next);
}

/* ---- at work ---- */

/* Consumers of one group at several endpoints are told apart by a number. */
static xonce_status watch(xo_status *s, xo_fleet *f)
{
    xonce_status st = XONCE_OK;
    for (size_t i = 0; i < xo_fleet_count(f) && st == XONCE_OK; i++) {
        char number[24];
        int twice = 0;
        (void)snprintf(number, sizeof(number), "%zu", i + 1);
        for (size_t k = 0; k < xo_fleet_count(f); k++) {
            twice |= k != i && strcmp(xo_consumer_group(xo_fleet_at(f, k)), xo_consumer_group(xo_fleet_at(f, i))) == 0;
        }
        st = xo_status_add(s, xo_fleet_at(f, i), twice ? number : NULL);
    }
    return st;
}

static int serve_status(const options *o, xo_fleet *f, xo_status **out)
{
    const char *listen = xo_config_text(o->cfg, "status");
    *out = NULL;
    if (!listen) {
        return XO_GO_ON;
    }
    if (xo_status_start(out, listen) != XONCE_OK || watch(*out, f) != XONCE_OK || xo_inforce_tell(*out, f, &o->plan) != XONCE_OK) {
        int rc = xonce_error_last()->code == XONCE_E_INVALID ? XO_EXIT_USAGE : XO_EXIT_FAILED;
        (void)xo_out_failed(NULL);
        return rc;
    }
    xo_out("status on %s\n", xo_status_address(*out));
    (void)fflush(stdout);
    return XO_GO_ON;
}

static int run_fleet(options *o, xo_fleet *f)
{
    const xo_fleet_wait wait = {.stop = &stop_asked, .reload = &reload_asked, .do_reload = reload, .arg = o, .stop_within = o->stop_within, .idle = xo_config_int(o->cfg, "exit-when-idle")};
    running = f;
    catch_signals();
    int rc = serve_status(o, f, &o->status);
    rc = rc == XO_GO_ON ? xo_fleet_start(f) : rc;
    int started = rc == XO_GO_ON;
    if (started) {
        xo_service_ready();
        rc = xo_fleet_wait_for_end(f, &wait);
        xo_fleet_print_counts(f);
    }
    running = NULL;
    if (started && !xo_fleet_has_ended(f)) { /* handlers still run: nothing of theirs may be freed */
        _exit(xo_out_end(rc));
    }
    xo_status_stop(o->status);
    o->status = NULL;
    return rc;
}

static int print_messages(const options *o)
{
    xonce_source *source = NULL;
    if (xonce_source_open(&source, o->words.from, o->cfg) != XONCE_OK) {
        (void)xo_out_failed(NULL);
        return XO_EXIT_USAGE;
    }
    xo_print_job job = {o->words.group, o->words.topic, o->words.tags, o->words.ordered, o->json, xo_config_int(o->cfg, "exit-when-idle"), &stop_asked};
    catch_signals();
    int rc = xo_print_messages(source, &job);
    xonce_source_close(source);
    return rc;
}

static int run(const xo_usage *u, options *o)
{
    xo_fleet *f = NULL;
    int rc = check_options(u, o);
    if (rc != XO_GO_ON || o->print) {
        return rc == XO_GO_ON ? print_messages(o) : rc;
    }
    rc = adjust_settings(u, o);
    if (rc == XO_GO_ON) {
        rc = xo_fleet_open(&f, &o->plan, u, o->cfg, o->no_dedup);
        rc = rc == XO_GO_ON ? run_fleet(o, f) : rc;
    }
    xo_fleet_free(f);
    return rc;
}

static const char about[] =
    "Takes messages of a topic and applies each one exactly once: a record of the message and your SQL are one transaction, the endpoint hears \"done\" after the "
    "commit, and a second delivery finds the record and is skipped.\n"
    "--sql is bound parameters only: :id :topic :tag :key :body :attempt :property.NAME, and of a JSON body :body.path.to, :body.items.0.sku, :\"body.odd-name\". "
    "Several statements, separated by ';', are one transaction. Data that the database refuses for good goes to the rejected table; a missing parent row is tried "
    "again; a missing table or right stops the program.\n"
    "--exec runs a program per message: body on stdin; XONCE_ID, XONCE_TOPIC, XONCE_TAG, XONCE_KEY, XONCE_ATTEMPT, XONCE_PROPERTY_NAME and TRACEPARENT in the environment. Exit 0 is done, "
    "65 rejects with the last line of stderr as the reason, all else is tried again. What the program does elsewhere happens at least once.";
static const char synopsis[] = "(--from URI --topic NAME --group GROUP (--store URI (--sql SQL | --exec PROGRAM) | --print) | --config FILE) [OPTION]...";
static const char example[] =
    "  xonce consume --from http://127.0.0.1:8080 --instance MQ_INST_demo --topic orders --group GID_orders --store sqlite:shop.db \\\n"
    "    --sql \"INSERT INTO orders (id, amount) VALUES (:body.id, :body.amount)\"";
static const char notes[] =
    "SIGTERM and SIGINT stop it in order: what runs is finished, committed and acknowledged. A second one, of either, ends it at once, which loses nothing either.\n"
    "SIGHUP reads file and environment again and takes over what can change at work (xonce.conf(5) says what); the rest is named and waits for a restart.\n"
    "SIGUSR1 makes the log say more, SIGUSR2 less.\n"
    "The last line of output is: consumed N fresh, N duplicate, N rejected, N retried.";

/* Into o, which has argc and argv and is zero else. said: the usage, for later complaints; its options are none. */
static int parse(options *o, xo_usage *said)
{
    size_t nrest;
    const xo_sections sections = {&o->cfg, xo_plan_line, &o->plan};
    o->stop_within = 30000;
    o->words.exec_timeout = XO_EXEC_TIMEOUT_MS;
    const xo_arg args[] = {
        {"from", "URI", XO_ARG_TEXT, &o->words.from, NULL, 0, 0, "the endpoint, http://HOST:PORT or https://HOST, or the name servers of a cluster, rocketmq://HOST:9876;HOST:9876"},
        XO_ARG_INSTANCE(&o->cfg),
        XO_ARG_NAMESPACE(&o->cfg),
        {"topic", "NAME", XO_ARG_TEXT, &o->words.topic, NULL, 0, 0, "the topic"},
        XO_ARG_GROUP(&o->words.group),
        {"tags", "A||B", XO_ARG_TEXT, &o->words.tags, NULL, 0, 0, "only messages with one of these tags"},
        {"ordered", NULL, XO_ARG_SWITCH, &o->words.ordered, NULL, 0, 0, "in order per sharding key (ordered topics)"},
        XO_ARG_STORE(&o->words.store),
        {"sql", "SQL", XO_ARG_TEXT, &o->words.sql, NULL, 0, 0, "what to do with a message"},
        {"exec", "PROGRAM", XO_ARG_TEXT, &o->words.exec, NULL, 0, 0, "or run this program for each message"},
        {"exec-timeout", "TIME", XO_ARG_DURATION, &o->words.exec_timeout, NULL, 1, XO_EXEC_TIMEOUT_MAX_MS, "end a program after this long; default 5m"},
        {"id", ":FIELD", XO_ARG_TEXT, &o->words.id, NULL, 0, 0, "what makes two messages the same: a business key as :key or :body.payment_id; default: the message id"},
        {"claim", "MODE", XO_ARG_SETTING, &o->cfg, "claim", 0, 0, "record (default): a row a message; offset: the queue's position moves in the transaction instead, no row a message (rocketmq)"},
        {"workers", "N", XO_ARG_SETTING, &o->cfg, "workers", 0, 0, "most transactions at a time; default 20"},
        {"batch", "N", XO_ARG_SETTING, &o->cfg, "batch.max", 0, 0, "most messages in one transaction; default 128, with --exec 1"},
        {"linger", "TIME", XO_ARG_SETTING, &o->cfg, "batch.linger", 0, 0, "how long to wait for a batch to fill; default 0"},
        {"attempts", "N", XO_ARG_SETTING, &o->cfg, "attempts", 0, 0, "reject a failing message at this many deliveries; default 16"},
        {"exit-when-idle", "TIME", XO_ARG_SETTING, &o->cfg, "exit-when-idle", 0, 0, "stop after this long without a message"},
        {"keep", "TIME", XO_ARG_SETTING, &o->cfg, "prune.keep", 0, 0, "delete records older than this; default 4d"},
        {"unsafe-keep", NULL, XO_ARG_SWITCH, &o->unsafe_keep, NULL, 0, 0, "let --keep be shorter than what is safe; only for tests and emergencies"},
        {"prune-every", "TIME", XO_ARG_SETTING, &o->cfg, "prune.every", 0, 0, "how often to delete old records; default 1h, 0 = never"},
        {"no-dedup", NULL, XO_ARG_SWITCH, &o->no_dedup, NULL, 0, 0, "apply every delivery, duplicates too: only for comparison"},
        {"print", NULL, XO_ARG_SWITCH, &o->print, NULL, 0, 0, "show messages and acknowledge nothing; without --store"},
        {"json", NULL, XO_ARG_SWITCH, &o->json, NULL, 0, 0, "with --print: one JSON object a line"},
        XO_ARG_CREDENTIALS(&o->cfg),
        {"cacert", "FILE", XO_ARG_SETTING, &o->cfg, "http.cacert", 0, 0, "certificates to check an https endpoint against"},
        {"status", "HOST:PORT", XO_ARG_SETTING, &o->cfg, "status", 0, 0, "serve a status page, Prometheus metrics and health checks there; port 0: any free one"},
        {"stop-within", "TIME", XO_ARG_DURATION, &o->stop_within, NULL, 0, INT64_C(3600000), "how long an orderly stop may take; default 30s"},
        XO_ARG_SET(&o->cfg),
        {"config", "FILE", XO_ARG_SECTIONS, (void *)(uintptr_t)&sections, NULL, 0, 0, "settings, as in xonce.conf(5), and sections for several topics and databases; options win over them"},
        XO_ARG_VERBOSE(&o->verbose),
    };
    xo_usage usage = {
        .name = "consume",
        .synopsis = synopsis,
        .about = about,
        .example = example,
        .notes = notes,
        .args = args,
        .nargs = sizeof(args) / sizeof(args[0]),
    };
    if (xonce_config_new(&o->cfg) != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    int rc = xo_args_parse(&usage, o->argc, o->argv, &nrest);
    usage.args = NULL;
    usage.nargs = 0;
    *said = usage;
    return rc;
}

int xo_cmd_consume(int argc, char **argv)
{
    options o = {.argc = argc, .argv = argv};
    xo_usage usage;
    struct sigaction again = {.sa_handler = on_reload, .sa_flags = SA_RESTART};
    (void)sigemptyset(&again.sa_mask);
    (void)sigaction(SIGHUP, &again, NULL);
    xo_service_begin();
    int rc = parse(&o, &usage);
    rc = rc == XO_GO_ON ? xo_out_log_start(o.cfg, o.verbose) : rc;
    if (rc == XO_GO_ON) {
        rc = run(&usage, &o);
    }
    options_free(&o);
    return rc;
}
