/* xonce upgrade: makes the tables of an earlier version, or of the vendor's consumer, safe and complete; rows keep their meaning. */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "store/partition.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
    char *what, *sql;
    int severity;
    int table; /* the statement changes one of our tables; others change the server, and are the DBA's */
} step;
typedef struct {
    step *steps;
    size_t n, cap;
    int failed;
} plan;

static int is_ours(const char *sql)
{
    static const char *const heads[] = {"ALTER TABLE ", "CREATE TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX ", "DROP INDEX "};
    if (strstr(sql, "--")) {
        return 0; /* a recipe for a person */
    }
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        if (strncmp(sql, heads[i], strlen(heads[i])) == 0) {
            return 1;
        }
    }
    return 0;
}

static void on_finding(const xonce_finding *f, void *arg)
{
    plan *p = arg;
    const char *sql = f->sql ? f->sql : "";
    step s = {.what = xo_strdup(f->what), .sql = xo_strdup(sql), .severity = f->severity, .table = is_ours(sql)};
    step *list = xo_grow(p->steps, &p->cap, p->n + 1, sizeof(*list));
    if (list) {
        p->steps = list;
    }
    if (!list || !s.what || !s.sql) {
        free(s.what);
        free(s.sql);
        p->failed = 1;
        return;
    }
    list[p->n++] = s;
}

static void plan_free(plan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->steps[i].what);
        free(p->steps[i].sql);
    }
    free(p->steps);
    *p = (plan){0};
}

static xonce_status make_plan(xonce_store *s, plan *p)
{
    *p = (plan){0};
    xonce_status st = xonce_store_check(s, on_finding, p);
    return st == XONCE_OK && p->failed ? xo_nomem() : st;
}

/* What is unsafe about our tables, and can be mended by a statement. What is only slow is for the DBA to decide: another program may want that index. */
static int is_work(const step *s)
{
    return s->table && s->severity >= 2;
}

static void print_sql(const char *sql, void *arg)
{
    (void)arg;
    xo_out("%s\n", sql);
}

static void print_step(const step *s)
{
    size_t n = strlen(s->sql);
    xo_out("-- %s%s\n%s%s\n", s->what, is_work(s) ? "" : " (not done by xonce upgrade)", s->sql, s->sql[n - 1] == ';' ? "" : ";");
}

/* Tables that are missing come with their whole SQL, which does nothing where a table is there. */
static int print_plan(xonce_store *s, const char *uri)
{
    plan p;
    size_t shown = 0, tables = 0;
    if (make_plan(s, &p) != XONCE_OK) {
        return xo_out_failed("the database could not be looked at");
    }
    for (size_t i = 0; i < p.n; i++) {
        const step *x = &p.steps[i];
        int creates = strncmp(x->sql, "CREATE TABLE ", 13) == 0 || strncmp(x->sql, "run `xonce init`", 16) == 0;
        if (creates && !tables++) {
            xo_out("-- %s\n", x->what);
            (void)(xo_store_is_partitioned(s) ? xo_store_print_partitioned : xonce_store_print_schema)(uri, print_sql, NULL);
        } else if (!creates && x->sql[0] && x->severity >= 1) {
            print_step(x);
        }
        shown += creates || (x->sql[0] && x->severity >= 1);
    }
    if (!shown) {
        xo_out("-- nothing to upgrade\n");
    }
    plan_free(&p);
    return XO_EXIT_OK;
}

/* "A; B;" is two statements. No text of ours holds a semicolon. */
static xonce_status run_statements(xonce_store *s, const char *sql)
{
    for (const char *p = sql; *p;) {
        size_t n = strcspn(p, ";");
        char *one = xo_memdup0(p, n);
        xonce_status st = one ? XONCE_OK : xo_nomem();
        if (st == XONCE_OK && one[strspn(one, " \n")]) {
            st = xo_store_query(s, one, NULL, 0, NULL, NULL, NULL);
        }
        free(one);
        if (st != XONCE_OK) {
            return st;
        }
        p += n + (p[n] == ';');
    }
    return XONCE_OK;
}

enum { NOTHING_LEFT = -2 };

/* One statement may mend several findings, so they are looked for anew after each: XO_GO_ON after one that ran, else the exit code. */
static int next_step(xonce_store *s, char **last)
{
    plan p;
    int rc = NOTHING_LEFT;
    if (make_plan(s, &p) != XONCE_OK) {
        return xo_out_failed("the database could not be looked at");
    }
    for (size_t i = 0; rc == NOTHING_LEFT && i < p.n; i++) {
        const step *x = &p.steps[i];
        if (!is_work(x)) {
            continue;
        }
        if (*last && strcmp(*last, x->sql) == 0) {
            xo_out_error("%s: the statement ran, but changed nothing: %s", x->what, x->sql);
            rc = XO_EXIT_FAILED;
        } else if (run_statements(s, x->sql) != XONCE_OK) {
            xo_out_error("%s: this has to be run by somebody who may: %s", x->what, x->sql);
            rc = xo_out_failed(NULL);
        } else {
            xo_out("%s: done: %s\n", x->what, x->sql);
            free(*last);
            *last = xo_strdup(x->sql);
            rc = XO_GO_ON;
        }
    }
    if (rc == NOTHING_LEFT) {
        rc = XO_EXIT_OK;
        for (size_t i = 0; i < p.n; i++) {
            if (p.steps[i].severity >= 2) {
                xo_out("left to do, outside of our tables: %s%s%s\n", p.steps[i].what, p.steps[i].sql[0] ? ": " : "", p.steps[i].sql);
                rc = XO_EXIT_NOT;
            }
        }
    }
    plan_free(&p);
    return rc;
}

static int upgrade(xonce_store *s)
{
    enum { MOST = 50 };
    char *last = NULL;
    if (xonce_store_upgrade(s) != XONCE_OK) {
        return xo_out_failed("tables or columns could not be added");
    }
    int rc = XO_GO_ON;
    for (int i = 0; rc == XO_GO_ON && i < MOST; i++) {
        rc = next_step(s, &last);
    }
    free(last);
    if (rc == XO_EXIT_OK) {
        xo_out("the tables are as they should be\n");
    }
    return rc;
}

int xo_cmd_upgrade(int argc, char **argv)
{
    const char *store = NULL, *group = "xonce";
    int print = 0, verbose = 0;
    size_t nrest;
    const xo_arg args[] = {
        XO_ARG_STORE(&store),
        {"print", NULL, XO_ARG_SWITCH, &print, NULL, 0, 0, "print the statements for a DBA, and change nothing"},
        XO_ARG_VERBOSE(&verbose),
    };
    const xo_usage usage = {
        .name = "upgrade",
        .synopsis = "--store URI [--print]",
        .about = "Makes the tables of an earlier version, or the transaction_record of the vendor's Java consumer, safe and complete: missing tables and columns, the comparison of ids byte by byte, keys. "
                 "Rows keep their meaning. Changing a column or a key rewrites the table: with many rows, print the statements and let them run at a quiet hour.",
        .example = "  xonce upgrade --store mysql://dba@db/shop --print\n  xonce upgrade --store mysql://dba@db/shop",
        .notes = "Exit code 3: the tables are safe, but something else about the database is not.",
        .args = args,
        .nargs = sizeof(args) / sizeof(args[0]),
    };
    int rc = xo_args_parse(&usage, argc, argv, &nrest);
    if (rc != XO_GO_ON) {
        return rc;
    }
    xo_out_log(verbose);
    const char *uri = xo_store_uri(&usage, store);
    xonce_store *s = NULL;
    rc = uri ? xo_store_connect(&s, uri, group, NULL) : XO_EXIT_USAGE;
    if (rc == XO_GO_ON) {
        rc = print ? print_plan(s, uri) : upgrade(s);
    }
    xonce_store_close(s);
    return rc;
}
