/* xonce replay: marks rejected messages for a running consumer, or runs them itself. */
#include "cli/cli.h"
#include "cli/connect.h"
#include "cli/output.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *store, *group, *sql, *exec;
    int64_t exec_timeout;
    int dry_run, json;
    char **ids;
    size_t nids;
} options;

static int on_count(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = xonce_row_int(r, 0);
    return 1;
}

/* Marks, or with --dry-run counts, the message with this id or (NULL) all. An id may be given as it was sent, or as `xonce rejected` shows it. */
static xonce_status mark_some(xonce_store *s, const options *o, const char *id, int64_t *n)
{
    char key[XO_KEY_SIZE] = "";
    xo_buf sql = {0}, shown = {0};
    xonce_status st = id ? xo_identity_key(key, id, strlen(id), o->group) : XONCE_OK;
    if (o->dry_run) {
        xo_buf_str(&sql, "SELECT COUNT(*) FROM xonce_rejected WHERE consumer_group = $1");
    } else {
        xo_buf_printf(&sql, "UPDATE xonce_rejected SET replay_at = %s WHERE consumer_group = $1", s->d->sql_now);
    }
    xo_buf_str(&sql, id ? " AND (message_id = $2 OR message_id = $3)" : " AND replay_at IS NULL");
    xo_buf_printf(&shown, "%s#%s", id ? id : "", o->group);
    if (st == XONCE_OK && (sql.failed || shown.failed)) {
        st = xo_nomem();
    }
    if (st == XONCE_OK) {
        xonce_value v[] = {xonce_text(o->group), xonce_text(key), xonce_text(shown.p)};
        st = xo_store_query(s, sql.p, v, id ? 3 : 1, o->dry_run ? on_count : NULL, n, o->dry_run ? NULL : n);
    }
    xo_buf_free(&sql);
    xo_buf_free(&shown);
    return st;
}

/* Marks, or with --dry-run counts. XO_GO_ON, or an exit code. */
static int mark(xonce_store *s, const options *o, int64_t *total)
{
    int missing = 0;
    *total = 0;
    for (size_t i = 0; i < (o->nids ? o->nids : 1); i++) {
        const char *id = o->nids ? o->ids[i] : NULL;
        int64_t n = 0;
        if (mark_some(s, o, id, &n) != XONCE_OK) {
            return xo_out_failed(NULL);
        }
        if (id && n == 0) {
            xo_out_error("group %s has no rejected message %s", o->group, id);
            missing = 1;
        }
        *total += n;
    }
    return missing ? XO_EXIT_NOT : XO_GO_ON;
}

static int run_marked(xonce_store *s, const options *o, const xo_apply *apply)
{
    int64_t done = 0, again = 0;
    int found = 1, rc = XO_EXIT_OK;
    xonce_status worker_status = XONCE_OK;
    xo_spec spec = {.one = apply->fn, .arg = apply->arg};
    spec.worker = xo_store_worker_start(s, &worker_status);
    if (worker_status != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    while (found && rc == XO_EXIT_OK) {
        xo_item item;
        if (xo_replay_next(s, NULL, &spec, &found, &item) != XONCE_OK) {
            rc = xo_out_failed("replay stopped");
        } else if (found && item.outcome == XONCE_FRESH) {
            done++;
        } else if (found) {
            xo_out_error("rejected again: %s", item.error.pub.text);
            again++;
        }
        xo_out_progress("replayed %" PRId64 ", rejected again %" PRId64, done, again);
    }
    xo_store_worker_end(s, spec.worker);
    xo_out_progress_end();
    if (o->json) {
        xo_out("{\"replayed\":%" PRId64 ",\"rejected\":%" PRId64 "}\n", done, again);
    } else {
        xo_out("replayed %" PRId64 ", rejected again %" PRId64 "\n", done, again);
    }
    return rc == XO_EXIT_OK && again ? XO_EXIT_FAILED : rc;
}

static int run(const xo_usage *u, options *o, const char *uri, xonce_config *cfg)
{
    xo_apply apply = {0};
    xonce_store *s = NULL;
    int64_t marked = 0;
    int own = o->sql || o->exec;
    int rc = own ? xo_apply_make(&apply, u, uri, o->sql, o->exec, o->exec_timeout) : XO_GO_ON;
    if (rc == XO_GO_ON) {
        rc = xo_store_connect(&s, uri, o->group, cfg);
    }
    if (rc == XO_GO_ON && own) {
        rc = xo_apply_try(&apply, s);
    }
    if (rc == XO_GO_ON) {
        rc = mark(s, o, &marked);
        if (rc == XO_GO_ON && own && !o->dry_run) {
            rc = run_marked(s, o, &apply);
        } else if (rc != XO_EXIT_FAILED) {
            const char *what = o->dry_run ? "would be marked" : "marked";
            if (o->json) {
                xo_out("{\"marked\":%" PRId64 "}\n", marked);
            } else {
                xo_out("%s %" PRId64 "\n", what, marked);
            }
            rc = rc == XO_GO_ON ? XO_EXIT_OK : rc;
        }
    }
    xonce_store_close(s);
    xo_apply_free(&apply);
    return rc;
}

int xo_cmd_replay(int argc, char **argv)
{
    options o = {.exec_timeout = XO_EXEC_TIMEOUT_MS};
    int verbose = 0;
    xonce_config *cfg = NULL;
    const xo_arg args[] = {
        XO_ARG_STORE(&o.store),
        XO_ARG_GROUP(&o.group),
        {"sql", "SQL", XO_ARG_TEXT, &o.sql, NULL, 0, 0, "run the marked messages now with this SQL, as consume --sql"},
        {"exec", "PROGRAM", XO_ARG_TEXT, &o.exec, NULL, 0, 0, "run the marked messages now with this program, as consume --exec"},
        {"exec-timeout", "TIME", XO_ARG_DURATION, &o.exec_timeout, NULL, 1, INT64_C(86400000), "stop a program after this long; default 5m"},
        {"dry-run", NULL, XO_ARG_SWITCH, &o.dry_run, NULL, 0, 0, "only count what would be marked"},
        XO_ARG_JSON(&o.json),
        XO_ARG_CONFIG_FILE(&cfg),
        XO_ARG_VERBOSE(&verbose),
    };
    const xo_usage usage = {
        .name = "replay",
        .synopsis = "--store URI --group GROUP [ID...] [--sql SQL | --exec PROGRAM] [--dry-run] [--json]",
        .about = "Marks rejected messages of a group, all of them or those named. A running consumer of the group takes marked ones like "
                 "messages: the row is deleted and the effects applied in one transaction. With --sql or --exec this command does that "
                 "itself. Replaying leaves the order of messages.",
        .example = "  xonce replay --store sqlite:shop.db --group GID_orders\n"
                   "  xonce replay --store sqlite:shop.db --group GID_orders --sql \"INSERT INTO orders (id) VALUES (:body.id)\"",
        .notes = "Exit code 1: one was rejected again; 3: an ID is not in the rejected table.",
        .args = args,
        .nargs = sizeof(args) / sizeof(args[0]),
        .max_rest = SIZE_MAX,
    };
    if (xonce_config_new(&cfg) != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    int rc = xo_args_parse(&usage, argc, argv, &o.nids);
    o.ids = argv + 1;
    xo_out_log(verbose);
    const char *uri = rc == XO_GO_ON ? xo_store_uri(&usage, o.store) : NULL;
    if (rc == XO_GO_ON && uri && !o.group) {
        rc = xo_args_wrong(&usage, "--group is missing");
    } else if (rc == XO_GO_ON) {
        rc = uri ? run(&usage, &o, uri, cfg) : XO_EXIT_USAGE;
    }
    xonce_config_free(cfg);
    return rc;
}
