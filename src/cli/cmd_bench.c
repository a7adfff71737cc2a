/* xonce bench: what exactly once costs in a user's own database, and which batch and how many workers are enough. */
#include "cli/cli.h"
#include "cli/connect.h"
#include "cli/measure.h"
#include "cli/output.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 5, MAX_FIGURES = 24, DUPLICATES = 5 };
static const char TABLE[] = "xonce_bench", GROUP[] = "GID_xonce_bench";
static const size_t batches[] = {1, 32, 128};
enum { BATCHES = sizeof(batches) / sizeof(batches[0]) };

typedef struct {
    int64_t seconds, workers, body;
    int live, clean, json;
    xonce_config *cfg;
} options;

typedef struct {
    const options *o;
    xonce_store *s;
    xo_measure m;
    xo_figure figures[MAX_FIGURES];
    size_t n;
    double speed[MAX_FIGURES][ROUNDS];
    double round_trip_us, commit_us;
    xo_advice advice;
    char other[XO_KEY_SIZE]; /* another group that has records here */
    int broken;              /* findings that do not let it run */
    size_t nunsafe;
    xo_buf unsafe, unsafe_json;
} bench;

/* ---- stopping ---- */

static xo_measure *volatile running;

/* The first signal ends the measuring, not the removal of what it left; the second one ends the process. */
static void on_signal(int sig)
{
    (void)sig;
    xo_measure *m = running;
    if (m) {
        __atomic_store_n(&m->stop, 1, __ATOMIC_RELAXED);
    }
}

static void catch_signals(xo_measure *m)
{
    running = m;
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART | (int)SA_RESETHAND};
    (void)sigemptyset(&a.sa_mask);
    (void)sigaction(SIGTERM, &a, NULL);
    (void)sigaction(SIGINT, &a, NULL);
}

static void ignore_signals(void)
{
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGINT, SIG_DFL);
    running = NULL;
}

/* ---- before: is it safe to measure here? ---- */

static void on_finding(const xonce_finding *f, void *arg)
{
    bench *b = arg;
    const char *sql = f->sql ? f->sql : "";
    if (f->severity >= 3) {
        xo_out_error("%s%s%s", f->what, *sql ? "\n    > " : "", sql);
        b->broken = 1;
    } else if (f->severity == 2) {
        xo_buf_printf(&b->unsafe, "UNSAFE: %s\n    %s\n", f->what, f->why ? f->why : "");
        xo_buf_str(&b->unsafe_json, b->nunsafe++ ? "," : "");
        xo_buf_json(&b->unsafe_json, f->what, strlen(f->what));
    }
}

static int on_group(const xonce_row *r, void *arg)
{
    (void)snprintf(arg, XO_KEY_SIZE, "%s", xonce_row_text(r, 0));
    return 1;
}

static int find_others(bench *b)
{
    xonce_value v[] = {xonce_text(b->s->group)};
    if (xo_store_query(b->s, "SELECT consumer_group FROM transaction_record WHERE consumer_group <> $1 LIMIT 1", v, 1, on_group, b->other, NULL) != XONCE_OK) {
        return xo_out_failed("the record table could not be read");
    }
    return XO_GO_ON;
}

static int look_first(bench *b)
{
    if (xonce_store_check(b->s, on_finding, b) != XONCE_OK) {
        return xo_out_failed("the database could not be looked at");
    }
    if (b->broken) {
        xo_out_error("nothing was measured; for a first look, an empty database on the same server will do: create it, then xonce init");
        return XO_EXIT_FAILED;
    }
    int rc = find_others(b);
    if (rc == XO_GO_ON && *b->other && !b->o->live) {
        xo_out_error("the record table holds records of group %s: its consumers would feel the load. Measure in another database on the same server, or here with --live", b->other);
        return XO_EXIT_FAILED;
    }
    return rc;
}

static int make_table(bench *b)
{
    if (xo_measure_create(&b->m) == XONCE_OK) {
        return XO_GO_ON;
    }
    char sql[96];
    xo_error why;
    xo_error_save(&why);
    (void)snprintf(sql, sizeof(sql), "SELECT n, id, payload FROM %s", b->m.table);
    if (xo_store_try_sql(b->s, sql) == XONCE_OK) {
        xo_out_error("the table %s is there: another xonce bench runs, or was killed; then --clean removes what it left", b->m.table);
        return XO_EXIT_FAILED;
    }
    (void)xo_error_restore(&why);
    return xo_out_failed("the table for the messages could not be made");
}

/* ---- after ---- */

static void on_forgotten(int64_t deleted)
{
    xo_out_progress("removing what was measured: %" PRId64 " records", deleted);
}

/* What was measured goes, whatever happened. What one leaves that is killed here is told the next time. */
static int clean_up(bench *b, int64_t *deleted)
{
    xonce_value v[] = {xonce_text(b->s->group)};
    xonce_status st = xo_measure_forget(&b->m, *b->other != 0, on_forgotten, deleted);
    if (st == XONCE_OK) {
        st = xo_store_query(b->s, "DELETE FROM xonce_rejected WHERE consumer_group = $1", v, 1, NULL, NULL, NULL);
    }
    if (st == XONCE_OK) {
        st = xo_measure_drop(&b->m);
    }
    xo_out_progress_end();
    if (st != XONCE_OK) {
        (void)xo_out_failed("not all that was measured could be removed");
        xo_out_error("xonce bench --clean removes the rest: the table %s, and records of group %s", b->m.table, b->s->group);
        return XO_EXIT_FAILED;
    }
    return XO_EXIT_OK;
}

/* ---- measuring ---- */

static void add(bench *b, xo_load_mode mode, size_t batch, int connections)
{
    if (b->n < MAX_FIGURES && xo_figure_of(b->figures, b->n, mode, batch, connections) == 0) {
        b->figures[b->n++] = (xo_figure){.load = {.mode = mode, .batch = batch, .connections = connections, .duplicates = DUPLICATES}, .per_second = 1};
    }
}

static void plan(bench *b)
{
    int most = b->s->d->one_writer ? 1 : (int)b->o->workers, workers[] = {1, most / 4 ? most / 4 : 1, most};
    for (size_t w = 0; w < 3; w++) {
        add(b, XO_LOAD_BARE, 1, workers[w]);
        for (size_t i = 0; i < BATCHES; i++) {
            add(b, XO_LOAD_NONE, batches[i], workers[w]);
            add(b, XO_LOAD_RECORD, batches[i], workers[w]);
        }
    }
}

static xonce_status measure_one(bench *b, size_t i, int round, double seconds)
{
    static const char *const what[] = {"one INSERT and COMMIT each", "batches without records", "exactly once", ""};
    const xo_load *l = &b->figures[i].load;
    xo_out_progress("round %d of %d: %s, %zu a transaction, %d worker%s", round + 1, ROUNDS, what[l->mode], l->batch, l->connections, l->connections > 1 ? "s" : "");
    xo_measured got;
    xonce_status st = xo_measure_run(&b->m, l, seconds, &got);
    b->speed[i][round] = got.per_second;
    return st;
}

static xonce_status measure(bench *b)
{
    plan(b);
    double each = 0.95 * (double)b->o->seconds / ((double)b->n * ROUNDS);
    xo_out_progress("how long the way to the database takes");
    xonce_status st = xo_measure_ways(&b->m, &b->round_trip_us, &b->commit_us);
    for (int round = 0; round < ROUNDS && st == XONCE_OK; round++) {
        for (size_t i = 0; i < b->n && st == XONCE_OK; i++) {
            st = measure_one(b, (i + (size_t)round) % b->n, round, each);
        }
    }
    for (size_t i = 0; i < b->n; i++) {
        b->figures[i].per_second = xo_measure_median(b->speed[i], ROUNDS);
        b->figures[i].min = b->speed[i][0];
        b->figures[i].max = b->speed[i][ROUNDS - 1];
    }
    xo_measure_advise(b->figures, b->n, b->round_trip_us, b->commit_us, &b->advice);
    xo_out_progress_end();
    return st;
}

/* ---- showing ---- */

static double figure(const bench *b, xo_load_mode mode, size_t batch, int connections)
{
    return xo_figure_of(b->figures, b->n, mode, batch, connections);
}

static void show_table(const bench *b)
{
    static const char *const heads[] = {"workers", "batch", "bare/s", "no record/s", "exactly once/s", "x no record", "x bare"};
    xo_table t = {.columns = sizeof(heads) / sizeof(heads[0])};
    for (size_t i = 0; i < t.columns; i++) {
        xo_table_cell(&t, "%s", heads[i]);
    }
    for (size_t i = 0; i < b->n; i++) {
        const xo_load *l = &b->figures[i].load;
        if (l->mode != XO_LOAD_RECORD) {
            continue;
        }
        double bare = figure(b, XO_LOAD_BARE, 1, l->connections), none = figure(b, XO_LOAD_NONE, l->batch, l->connections), once = b->figures[i].per_second;
        xo_table_cell(&t, "%d", l->connections);
        xo_table_cell(&t, "%zu", l->batch);
        xo_table_cell(&t, l->batch == 1 ? "%.0f" : "", bare);
        xo_table_cell(&t, "%.0f", none);
        xo_table_cell(&t, "%.0f", once);
        xo_table_cell(&t, "%.2f", none > 0 ? once / none : 0);
        xo_table_cell(&t, "%.1f", bare > 0 ? once / bare : 0);
    }
    xo_table_show(&t);
}

static void show(bench *b)
{
    xo_out("%s: round trip %.2f ms, COMMIT %.2f ms; messages of %" PRId64 " bytes, %d %% of them redelivered\n\n", b->s->d->name, b->round_trip_us / 1000, b->commit_us / 1000, b->o->body, DUPLICATES);
    show_table(b);
    xo_out("\nbare: one INSERT a message that commits by itself; no record: the same batches, at least once.\n");
    xo_out("\nbatch.max = %zu\nworkers = %d\n", b->advice.batch, b->advice.workers);
    xo_out("    %.0f messages/s: %s.\n", b->advice.per_second, b->advice.why);
    xo_out("    A handler that waits for answers of the database, or of anything else, gains more from workers than this one, which only queues an INSERT.\n");
    if (b->nunsafe) {
        xo_out("\nFigures of a database that may lose commits are worth little:\n");
        xo_out_buf(&b->unsafe);
    }
    if (xo_measure_suspicious(b->round_trip_us, b->commit_us)) {
        xo_out("\nSUSPICIOUS: a COMMIT takes only %.0f us more than a round trip. No disk answers so fast, unless it has a cache that survives a power cut:\n"
               "    else the file system, a virtual disk or a setting of the server makes a promise that it does not keep.\n",
               b->commit_us > b->round_trip_us ? b->commit_us - b->round_trip_us : 0);
    }
}

static void show_json(bench *b)
{
    xo_out("{\"engine\":\"%s\",\"round_trip_us\":%.0f,\"commit_us\":%.0f,\"suspicious_commit\":%s,\"unsafe\":[", b->s->d->name, b->round_trip_us, b->commit_us,
           xo_measure_suspicious(b->round_trip_us, b->commit_us) ? "true" : "false");
    xo_out_buf(&b->unsafe_json);
    xo_out("],\"rounds\":%d,\"duplicates\":%d,\"body\":%" PRId64 ",\"figures\":[", ROUNDS, DUPLICATES, b->o->body);
    for (size_t i = 0; i < b->n; i++) {
        const xo_figure *f = &b->figures[i];
        xo_out("%s{\"mode\":\"%s\",\"batch\":%zu,\"connections\":%d,\"per_second\":%.1f,\"min\":%.1f,\"max\":%.1f}", i ? "," : "", xo_load_name(f->load.mode), f->load.batch,
               f->load.connections, f->per_second, f->min, f->max);
    }
    xo_out("],\"advice\":{\"batch.max\":%zu,\"workers\":%d,\"per_second\":%.1f,\"why\":", b->advice.batch, b->advice.workers, b->advice.per_second);
    xo_buf why = {0};
    xo_buf_json(&why, b->advice.why, strlen(b->advice.why));
    xo_out_buf(&why);
    xo_out("}}\n");
}

/* ---- the command ---- */

static int run(bench *b)
{
    int64_t deleted = 0;
    if (b->o->clean) {
        int rc = find_others(b);
        if (rc == XO_GO_ON) {
            rc = clean_up(b, &deleted);
        }
        if (rc == XO_EXIT_OK) {
            xo_out(b->o->json ? "{\"removed\":%" PRId64 "}\n" : "removed %" PRId64 " records\n", deleted);
        }
        return rc;
    }
    int rc = look_first(b);
    if (rc == XO_GO_ON) {
        rc = make_table(b);
    }
    if (rc != XO_GO_ON) {
        return rc;
    }
    catch_signals(&b->m);
    xonce_status st = measure(b);
    rc = st == XONCE_OK ? XO_EXIT_OK : XO_EXIT_FAILED;
    if (st == XONCE_E_CLOSED) {
        xo_out_error("stopped; what was measured is removed");
    } else if (st != XONCE_OK) {
        (void)xo_out_failed("measuring failed");
    }
    int cleaned = clean_up(b, &deleted);
    ignore_signals();
    if (rc == XO_EXIT_OK) {
        (b->o->json ? show_json : show)(b);
    }
    return rc == XO_EXIT_OK ? cleaned : rc;
}

static int open_and_run(const xo_usage *u, const char *store, const options *o)
{
    char connections[24];
    bench *b = NULL;
    const char *uri = xo_store_uri(u, store);
    if (!uri) {
        return XO_EXIT_USAGE;
    }
    (void)snprintf(connections, sizeof(connections), "%" PRId64, o->workers + 1);
    if (xonce_config_set(o->cfg, "store.connections", connections) != XONCE_OK || !(b = xo_calloc(1, sizeof(*b)))) {
        return xo_out_failed(NULL);
    }
    b->o = o;
    int rc = xo_store_connect(&b->s, uri, GROUP, o->cfg);
    if (rc == XO_GO_ON) {
        rc = xo_measure_init(&b->m, b->s, TABLE, (size_t)o->body) == XONCE_OK ? run(b) : xo_out_failed(NULL);
    }
    xo_measure_free(&b->m);
    xonce_store_close(b->s);
    xo_buf_free(&b->unsafe);
    xo_buf_free(&b->unsafe_json);
    free(b);
    return rc;
}

int xo_cmd_bench(int argc, char **argv)
{
    const char *store = NULL;
    options o = {.seconds = 30, .workers = 16, .body = XO_MEASURE_BODY};
    int verbose = 0;
    size_t nrest;
    const xo_arg args[] = {
        XO_ARG_STORE(&store),
        {"seconds", "N", XO_ARG_INT, &o.seconds, NULL, 1, 3600, "measure for so long; default 30"},
        {"workers", "N", XO_ARG_INT, &o.workers, NULL, 1, XO_MEASURE_CONNECTIONS_MAX, "the most workers to try, each with a connection; default 16. SQLite has one writer"},
        {"body", "N", XO_ARG_INT, &o.body, NULL, 2, XO_MEASURE_BODY_MAX, "bytes of a message; default 200"},
        {"live", NULL, XO_ARG_SWITCH, &o.live, NULL, 0, 0, "measure although the record table holds records of other groups, whose consumers feel the load meanwhile"},
        {"clean", NULL, XO_ARG_SWITCH, &o.clean, NULL, 0, 0, "only remove what a bench that was killed has left"},
        XO_ARG_JSON(&o.json),
        XO_ARG_SET(&o.cfg),
        XO_ARG_CONFIG_FILE(&o.cfg),
        XO_ARG_VERBOSE(&verbose),
    };
    const xo_usage usage = {
        .name = "bench",
        .synopsis = "--store URI [--seconds 30] [--workers 16] [--live] [--json]",
        .about = "Measures what exactly once costs in a database of yours: messages a second with one INSERT and COMMIT each, in batches without records and in batches with them, by turns, and recommends\n"
                 "batch.max and workers. It loads the database as much as it can meanwhile. It needs the tables of xonce init and the right to create one of its own, xonce_bench; that one and its records are\n"
                 "removed at the end.",
        .example = "  xonce bench --store postgresql://app@db/scratch",
        .args = args,
        .nargs = sizeof(args) / sizeof(args[0]),
    };
    if (xonce_config_new(&o.cfg) != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    int rc = xo_args_parse(&usage, argc, argv, &nrest);
    if (rc == XO_GO_ON) {
        xo_out_log(verbose);
        rc = open_and_run(&usage, store, &o);
    }
    xonce_config_free(o.cfg);
    return rc;
}
