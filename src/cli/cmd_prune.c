/* xonce prune: deletes records that are old enough, by the rules of the library. */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "store/prune.h"
#include <inttypes.h>

typedef struct {
    int64_t keep;
    int dry_run, print_sql, unsafe_keep, json;
} options;

static int count(xonce_store *s, const options *o)
{
    int64_t rows = 0, before = 0;
    char when[40];
    if (xo_prune_count(s, o->keep, &rows, &before) != XONCE_OK) {
        return xo_open_failed(NULL);
    }
    xo_format_time(before, when, sizeof(when));
    if (o->json) {
        xo_out("{\"deletable\":%" PRId64 ",\"before_ms\":%" PRId64 "}\n", rows, before);
    } else if (before == 0) {
        xo_out("0 records could be deleted: there is no fresh watermark to count age from\n");
    } else {
        xo_out("%" PRId64 " records could be deleted: those from before %s\n", rows, when);
    }
    return XO_EXIT_OK;
}

enum { ROWS_A_STATEMENT = 5000 };

static int print_sql(xonce_store *s, const options *o)
{
    xo_buf sql = {0};
    if (xo_prune_sql(s, o->keep, ROWS_A_STATEMENT, &sql) != XONCE_OK) {
        xo_buf_free(&sql);
        return xo_open_failed(NULL);
    }
    xo_out("-- Repeat while it deletes rows, one job at a time. It deletes nothing while no consumer of the group runs.\n");
    xo_buf_str(&sql, ";\n");
    xo_out_buf(&sql);
    return XO_EXIT_OK;
}

static int delete_old(xonce_store *s, const options *o)
{
    int64_t deleted = 0;
    xonce_status st = xonce_store_prune(s, o->keep, 0, &deleted);
    if (st != XONCE_OK) {
        return xo_open_failed(NULL);
    }
    int64_t rows = 0, before = 0;
    if (o->json) {
        xo_out("{\"deleted\":%" PRId64 "}\n", deleted);
    } else if (deleted == 0 && xo_prune_count(s, o->keep, &rows, &before) == XONCE_OK && before == 0) {
        xo_out("deleted 0 records: there is no fresh watermark to count age from\n");
    } else {
        xo_out("deleted %" PRId64 " records\n", deleted);
    }
    return XO_EXIT_OK;
}

static int run(const xo_usage *u, const char *store, const char *group, xonce_config *cfg, options *o)
{
    const char *uri = xo_store_uri(u, store);
    if (!uri) {
        return XO_EXIT_USAGE;
    }
    if (!group) {
        return xo_args_wrong(u, "--group is missing");
    }
    if (o->unsafe_keep && xonce_config_set(cfg, "prune.unsafe", "on") != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    xonce_store *s;
    int rc = xo_store_connect(&s, uri, group, cfg);
    if (rc == XO_GO_ON) {
        o->keep = xo_config_int(cfg, "prune.keep");
        rc = o->print_sql ? print_sql(s, o) : o->dry_run ? count(s, o) : delete_old(s, o);
        xonce_store_close(s);
    }
    return rc;
}

int xo_cmd_prune(int argc, char **argv)
{
    const char *store = NULL, *group = NULL;
    int verbose = 0;
    size_t nrest;
    options o = {0};
    xonce_config *cfg = NULL;
    const xo_arg args[] = {
        XO_ARG_STORE(&store),
        XO_ARG_GROUP(&group),
        {"keep", "TIME", XO_ARG_SETTING, &cfg, "prune.keep", 0, 0, "keep records younger than this; default 4d, at least 24h (6h with a RocketMQ cluster) and the handler timeout"},
        {"unsafe-keep", NULL, XO_ARG_SWITCH, &o.unsafe_keep, NULL, 0, 0, "let --keep be shorter than what is safe, and count age from now; only for tests and emergencies"},
        {"rate", "N", XO_ARG_SETTING, &cfg, "prune.rate", 0, 0, "delete at most so many records a second; default 0: it rests as long as it works"},
        {"dry-run", NULL, XO_ARG_SWITCH, &o.dry_run, NULL, 0, 0, "only count what would be deleted"},
        {"print-sql", NULL, XO_ARG_SWITCH, &o.print_sql, NULL, 0, 0, "print the statement for a DBA's own job instead"},
        XO_ARG_JSON(&o.json),
        XO_ARG_CONFIG_FILE(&cfg),
        XO_ARG_VERBOSE(&verbose),
    };
    const xo_usage usage = {
        .name = "prune",
        .synopsis = "--store URI --group GROUP [--keep 4d] [--rate N] [--dry-run | --print-sql] [--json]",
        .about = "Deletes records of a group that are old enough, in small transactions. Age is counted from the moment up to\n"
                 "which the group had caught up, not from now: after a stop nothing is forgotten that may still come back.\n"
                 "It begins at once: prune.window is for the consumer's own pruning.",
        .example = "  xonce prune --store sqlite:shop.db --group GID_orders --keep 4d --dry-run",
        .args = args,
        .nargs = sizeof(args) / sizeof(args[0]),
    };
    if (xonce_config_new(&cfg) != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    int rc = xo_args_parse(&usage, argc, argv, &nrest);
    rc = rc == XO_GO_ON ? xo_out_log_start(cfg, verbose) : rc;
    if (rc == XO_GO_ON) {
        rc = run(&usage, store, group, cfg, &o);
    }
    xonce_config_free(cfg);
    return rc;
}
