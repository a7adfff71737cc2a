/* xonce rejected: the messages that were given up. */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/connect.h"
#include "cli/output.h"
#include <inttypes.h>
#include <string.h>

typedef struct {
    const char *group;
    int json;
    size_t n;
    xo_buf out;
    xo_table table;
} report;

/* The id as the commands take it: the message_id column without "#group". */
static size_t id_length(const char *key, const char *group)
{
    size_t n = strlen(key), g = strlen(group);
    return n > g + 1 && key[n - g - 1] == '#' && strcmp(key + n - g, group) == 0 ? n - g - 1 : n;
}

static int on_row(const xonce_row *r, void *arg)
{
    report *p = arg;
    const char *key = xonce_row_text(r, 0), *topic = xonce_row_text(r, 1), *reason = xonce_row_text(r, 3);
    int n = (int)id_length(key, p->group);
    char when[40];
    xo_format_time(xonce_row_int(r, 4), when, sizeof(when));
    int marked = !xonce_row_is_null(r, 5);
    if (p->json) {
        xo_buf_str(&p->out, p->n ? ",\n{\"id\":" : "{\"id\":");
        xo_buf_json(&p->out, key, (size_t)n);
        xo_buf_str(&p->out, ",\"topic\":");
        xo_buf_json(&p->out, topic, strlen(topic));
        xo_buf_printf(&p->out, ",\"attempts\":%" PRId64 ",\"reason\":", xonce_row_int(r, 2));
        xo_buf_json(&p->out, reason, strlen(reason));
        xo_buf_printf(&p->out, ",\"rejected_ms\":%" PRId64 ",\"time\":\"%s\",\"marked\":%s}", xonce_row_int(r, 4), when, marked ? "true" : "false");
    } else {
        xo_table_cell(&p->table, "%.*s", n, key);
        xo_table_cell(&p->table, "%s", topic);
        xo_table_cell(&p->table, "%" PRId64, xonce_row_int(r, 2));
        xo_table_cell(&p->table, "%s", when);
        xo_table_cell(&p->table, "%s%s", marked ? "(marked for replay) " : "", reason);
    }
    p->n++;
    return 0;
}

static int show(xonce_store *s, report *p)
{
    static const char *const heading[] = {"ID", "TOPIC", "ATTEMPTS", "TIME", "REASON"};
    p->table.columns = sizeof(heading) / sizeof(heading[0]);
    for (size_t i = 0; i < p->table.columns; i++) {
        xo_table_cell(&p->table, "%s", heading[i]);
    }
    xonce_value v = xonce_text(p->group);
    xonce_status st = xo_store_query(s,
                                     "SELECT message_id, topic_name, attempts, reason, rejected_at, replay_at FROM xonce_rejected"
                                     " WHERE consumer_group = $1 ORDER BY rejected_at, id",
                                     &v, 1, on_row, p, NULL);
    if (st != XONCE_OK) {
        xo_buf_free(&p->out);
        return xo_out_failed(NULL);
    }
    if (p->json) {
        xo_out("[");
        xo_out_buf(&p->out);
        xo_out("]\n");
    } else if (p->n) {
        xo_table_show(&p->table);
    } else {
        xo_out("no rejected messages\n");
    }
    return XO_EXIT_OK;
}

int xo_cmd_rejected(int argc, char **argv)
{
    const char *store = NULL;
    report r = {0};
    int verbose = 0;
    size_t nrest;
    const xo_arg args[] = {
        XO_ARG_STORE(&store),
        XO_ARG_GROUP(&r.group),
        XO_ARG_JSON(&r.json),
        XO_ARG_VERBOSE(&verbose),
    };
    const xo_usage usage = {
        .name = "rejected",
        .synopsis = "--store URI --group GROUP [--json]",
        .about = "Lists the messages of a group that were given up, oldest first, with the reason.",
        .example = "  xonce rejected --store sqlite:shop.db --group GID_orders",
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
    if (!r.group) {
        return xo_args_wrong(&usage, "--group is missing");
    }
    xonce_store *s;
    rc = xo_store_connect(&s, uri, r.group, NULL);
    if (rc == XO_GO_ON) {
        rc = show(s, &r);
        xo_table_free(&r.table);
        xonce_store_close(s);
    }
    return rc;
}
