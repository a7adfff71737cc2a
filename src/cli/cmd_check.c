/* xonce check: what is unsafe or slow about a database. */
#include "cli/cli.h"
#include "cli/connect.h"
#include "cli/doctor.h"
#include "cli/output.h"

int xo_cmd_check(int argc, char **argv)
{
    const char *store = NULL, *group = "xonce";
    int json = 0, verbose = 0;
    size_t nrest;
    xonce_config *cfg = NULL;
    const xo_arg args[] = {
        XO_ARG_STORE(&store),
        XO_ARG_GROUP(&group),
        XO_ARG_JSON(&json),
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
        const xo_doctor d = {.store = uri, .group = group, .cfg = cfg};
        xo_findings f = {.json = json, .area = "database", .worst = XO_GOOD};
        rc = xo_doctor_look(&d, s, &f) == XONCE_OK ? xo_findings_show(&f, NULL) : xo_out_failed("the database could not be looked at");
        xo_buf_free(&f.out);
    }
    xonce_store_close(s);
    xonce_config_free(cfg);
    return rc;
}
