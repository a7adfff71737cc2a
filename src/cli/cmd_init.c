/* xonce init: creates the tables. */
#include "cli/cli.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "store/partition.h"
#include <stdlib.h>

static void print_sql(const char *sql, void *arg)
{
    (void)arg;
    xo_out("%s\n\n", sql);
}

static int create(const char *uri, int partitioned)
{
    xonce_store *s;
    if (xonce_store_open(&s, uri, "xonce", NULL) != XONCE_OK) {
        return xo_store_refused(uri);
    }
    int rc;
    if ((partitioned ? xo_store_init_partitioned : xonce_store_upgrade)(s) != XONCE_OK) {
        rc = xo_out_failed("the tables could not be created");
    } else {
        char *shown = xo_uri_mask(uri);
        xo_out("%s is ready\n", shown ? shown : "the database");
        free(shown);
        rc = XO_EXIT_OK;
    }
    xonce_store_close(s);
    return rc;
}

int xo_cmd_init(int argc, char **argv)
{
    const char *store = NULL;
    int print = 0, partitioned = 0, verbose = 0;
    size_t nrest;
    const xo_arg args[] = {
        XO_ARG_STORE(&store),
        {"print", NULL, XO_ARG_SWITCH, &print, NULL, 0, 0, "print the SQL instead; needs no connection"},
        {"partitioned", NULL, XO_ARG_SWITCH, &partitioned, NULL, 0, 0, "split the record by the day on which the broker stored the message (PostgreSQL, MariaDB, MySQL)"},
        XO_ARG_VERBOSE(&verbose),
    };
    const xo_usage usage = {
        .name = "init",
        .synopsis = "--store URI [--partitioned] [--print]",
        .about = "Creates the tables of xonce in a database, and adds what is missing to those that are there.\n"
                 "Needs the right to create tables; consuming does not. A record that is split by day is pruned by dropping days, which costs next to nothing; but it notices a message that a producer sends again\n"
                 "on another day only as a new one: see docs/partitions.md.",
        .example = "  xonce init --store sqlite:shop.db\n  xonce init --store postgresql://dba@db/shop --print > xonce.sql",
        .args = args,
        .nargs = sizeof(args) / sizeof(args[0]),
    };
    int rc = xo_args_parse(&usage, argc, argv, &nrest);
    if (rc != XO_GO_ON) {
        return rc;
    }
    xo_out_log(verbose);
    const char *uri = xo_store_uri(&usage, store);
    if (!uri) {
        return XO_EXIT_USAGE;
    }
    if (!print) {
        return create(uri, partitioned);
    }
    return (partitioned ? xo_store_print_partitioned : xonce_store_print_schema)(uri, print_sql, NULL) == XONCE_OK ? XO_EXIT_OK : xo_open_failed(NULL);
}
