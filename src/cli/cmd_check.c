/* xonce check: what is unsafe or slow about a database. */
#include "cli/cli.h"
#include "cli/connect.h"
#include "cli/output.h"
#include <string.h>

typedef struct {
    int json;
    size_t n;
    int worst;
    xo_buf out;
} report;

static const char *const levels[] = {"note", "unwise", "UNSAFE", "BROKEN"};
static const char *const json_levels[] = {"note", "unwise", "unsafe", "broken"};

static void add_json(xo_buf *b, const char *name, const char *value)
{
    xo_buf_printf(b, ",\"%s\":", name);
    xo_buf_json(b, value, strlen(value));
}

static void on_finding(const xonce_finding *f, void *arg)
{
    report *r = arg;
    int level = f->severity < 0 ? 0 : f->severity > 3 ? 3 : f->severity;
    const char *why = f->why ? f->why : "", *sql = f->sql ? f->sql : "";
    if (level > r->worst) {
        r->worst = level;
    }
    if (r->json) {
        xo_buf_printf(&r->out, "%s{\"severity\":%d,\"level\":\"%s\"", r->n ? "," : "", level, json_levels[level]);
        add_json(&r->out, "what", f->what);
        add_json(&r->out, "why", why);
        add_json(&r->out, "sql", sql);
        xo_buf_char(&r->out, '}');
    } else {
        xo_buf_printf(&r->out, "%s: %s\n", levels[level], f->what);
        if (*why) {
            xo_buf_printf(&r->out, "    %s\n", why);
        }
        if (*sql) {
            xo_buf_printf(&r->out, "    > %s\n", sql);
        }
    }
    r->n++;
}

static int show(report *r)
{
    if (r->json) {
        xo_out("{\"findings\":[");
        xo_out_buf(&r->out);
        xo_out("],\"problems\":%s}\n", r->worst >= 2 ? "true" : "false");
    } else {
        xo_out_buf(&r->out);
        xo_out(r->n == 0 ? "nothing was found\n" : r->worst >= 2 ? "problems were found\n" : "no problems were found\n");
    }
    return r->worst >= 2 ? XO_EXIT_NOT : XO_EXIT_OK;
}

int xo_cmd_check(int argc, char **argv)
{
    const char *store = NULL, *group = "xonce";
    report r = {0};
    int verbose = 0;
    size_t nrest;
    xonce_config *cfg = NULL;
    const xo_arg args[] = {
        XO_ARG_STORE(&store),
        XO_ARG_GROUP(&group),
        XO_ARG_JSON(&r.json),
        XO_ARG_CONFIG_FILE(&cfg),
        XO_ARG_VERBOSE(&verbose),
    };
    const xo_usage usage = {
        .name = "check",
        .synopsis = "--store URI [--json]",
        .about = "Looks at table, keys, collation, engine, settings, rights and clock of a database, and tells what is unsafe\n"
                 "or slow, why, and the statement that mends it. Changes nothing.",
        .example = "  xonce check --store mysql://app@db/shop",
        .notes = "Exit code 3: something makes it possible to lose a message or to apply it twice, or does not work.",
        .args = args,
        .nargs = sizeof(args) / sizeof(args[0]),
    };
    if (xonce_config_new(&cfg) != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    int rc = xo_args_parse(&usage, argc, argv, &nrest);
    const char *uri = rc == XO_GO_ON ? xo_store_uri(&usage, store) : NULL;
    if (rc == XO_GO_ON) {
        rc = uri ? XO_GO_ON : XO_EXIT_USAGE;
    }
    xo_out_log(verbose);
    xonce_store *s = NULL;
    if (rc == XO_GO_ON) {
        rc = xo_store_connect(&s, uri, group, cfg);
    }
    if (rc == XO_GO_ON) {
        rc = xonce_store_check(s, on_finding, &r) == XONCE_OK ? show(&r) : xo_out_failed("the database could not be looked at");
    }
    xo_buf_free(&r.out);
    xonce_store_close(s);
    xonce_config_free(cfg);
    return rc;
}
