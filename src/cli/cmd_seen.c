/* xonce seen: was this message applied, and when? */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/connect.h"
#include "cli/output.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int on_time(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = xonce_row_int(r, 0);
    return 1;
}

/* By the message's id, else by the id as the record and `xonce rejected` show it: "sha256:..." or "...~...". */
static xonce_status look_up(xonce_store *s, const char *id, int64_t *ms)
{
    xonce_status st = xonce_store_seen(s, id, ms);
    char *key = st == XONCE_E_NOT_FOUND ? xo_printf("%s#%s", id, s->group) : NULL;
    if (!key) {
        return st;
    }
    xonce_value v[] = {xonce_text(key), xonce_text(s->group)};
    *ms = -1;
    st = xo_store_query(s, "SELECT ctime FROM transaction_record WHERE message_id = $1 AND consumer_group = $2", v, 2, on_time, ms, NULL);
    free(key);
    return st == XONCE_OK && *ms < 0 ? XONCE_E_NOT_FOUND : st;
}

static int show(xonce_store *s, const char *id, int json)
{
    int64_t ms = 0;
    char when[40];
    xonce_status st = look_up(s, id, &ms);
    if (st != XONCE_OK && st != XONCE_E_NOT_FOUND) {
        return xo_out_failed(NULL);
    }
    int seen = st == XONCE_OK;
    xo_format_time(ms, when, sizeof(when));
    xo_buf b = {0};
    if (json) {
        xo_buf_str(&b, "{\"id\":");
        xo_buf_json(&b, id, strlen(id));
        xo_buf_printf(&b, ",\"seen\":%s,\"applied_ms\":", seen ? "true" : "false");
        xo_buf_printf(&b, seen ? "%" PRId64 "}\n" : "null}\n", ms);
    } else if (seen) {
        xo_buf_printf(&b, "applied %s\n", when);
    } else {
        xo_buf_str(&b, "not applied\n");
    }
    xo_out_buf(&b);
    return seen ? XO_EXIT_OK : XO_EXIT_NOT;
}

int xo_cmd_seen(int argc, char **argv)
{
    const char *store = NULL, *group = NULL;
    int json = 0, verbose = 0;
    size_t nrest;
    const xo_arg args[] = {XO_ARG_STORE(&store), XO_ARG_GROUP(&group), XO_ARG_JSON(&json), XO_ARG_VERBOSE(&verbose)};
    const xo_usage usage = {
        .name = "seen",
        .synopsis = "--store URI --group GROUP ID [--json]",
        .about = "Tells whether a group has applied the message with this id, and when (the database's clock).",
        .example = "  xonce seen --store sqlite:shop.db --group GID_orders 1E057D5E6EAD42A57937046FE17AF5D8",
        .notes = "Exit code 3: there is no record of it. A message in the rejected table has a record too.",
        .args = args,
        .nargs = sizeof(args) / sizeof(args[0]),
        .max_rest = 1,
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
    if (!group || nrest != 1) {
        return xo_args_wrong(&usage, group ? "the message's id is missing" : "--group is missing");
    }
    xonce_store *s;
    rc = xo_store_connect(&s, uri, group, NULL);
    if (rc == XO_GO_ON) {
        rc = show(s, argv[1], json);
        xonce_store_close(s);
    }
    return rc;
}
