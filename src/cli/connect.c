/* Opening a store for a command, and making a handler from its options. */
#include "cli/connect.h"
#include "base/text.h"
#include "cli/output.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *xo_store_uri(const xo_usage *u, const char *given)
{
    const char *uri = given ? given : getenv("XONCE_STORE");
    if (!uri || !*uri) {
        (void)xo_args_wrong(u, "--store URI is missing, and XONCE_STORE is not set");
        return NULL;
    }
    return uri;
}

int xo_open_failed(const char *what)
{
    xonce_status code = xonce_error_last()->code;
    (void)xo_out_failed(what);
    return code == XONCE_E_INVALID ? XO_EXIT_USAGE : XO_EXIT_FAILED;
}

/* SQLite would make the file of a mistyped URI. Anything else that is wrong with it is told by opening. */
static xonce_status sqlite_file_is_there(const char *uri)
{
    xo_uri u;
    if (strncmp(uri, "sqlite:", 7) != 0 || xo_uri_parse(&u, uri) != XONCE_OK) {
        return XONCE_OK;
    }
    xonce_status st = XONCE_OK;
    if (!*u.host && *u.path && u.nquery == 0 && strcmp(u.path, ":memory:") != 0 && access(u.path, F_OK) != 0 && errno == ENOENT) {
        st = xo_fail(XONCE_E_NOT_FOUND, "there is no file %s; `xonce init --store %s` makes it, with its tables", u.path, uri);
    }
    xo_uri_free(&u);
    return st;
}

xonce_status xo_store_existing(xonce_store **out, const char *uri, const char *group, const xonce_config *cfg)
{
    *out = NULL;
    xonce_status st = sqlite_file_is_there(uri);
    return st == XONCE_OK ? xonce_store_open(out, uri, group, cfg) : st;
}

int xo_store_connect(xonce_store **out, const char *uri, const char *group, const xonce_config *cfg)
{
    return xo_store_existing(out, uri, group, cfg) == XONCE_OK ? XO_GO_ON : xo_store_refused(uri);
}

int xo_store_refused(const char *uri)
{
    xo_error e;
    xo_error_save(&e);
    char *shown = xo_uri_mask(uri);
    (void)xo_error_restore(&e);
    int rc = xo_open_failed(shown);
    free(shown);
    return rc;
}

/* An unknown scheme is told by opening the store; until then any dialect will do. */
static xo_dialect_kind dialect_of(const char *uri)
{
    if (strncmp(uri, "postgres", 8) == 0) {
        return XO_DIALECT_PG;
    }
    return strncmp(uri, "mysql", 5) == 0 || strncmp(uri, "mariadb", 7) == 0 ? XO_DIALECT_MYSQL : XO_DIALECT_SQLITE;
}

int xo_apply_make(xo_apply *a, const xo_usage *u, const char *uri, const char *sql, const char *exec, int64_t exec_timeout_ms)
{
    memset(a, 0, sizeof(*a));
    if (!sql == !exec) {
        return xo_args_wrong(u, sql ? "--sql and --exec exclude each other" : "one of --sql and --exec is needed");
    }
    if (sql) {
        if (xo_template_make(&a->sql, dialect_of(uri), sql) != XONCE_OK) {
            return xo_args_wrong(u, "--sql: %s", xonce_error_last()->text);
        }
        a->fn = xo_template_handler;
        a->arg = a->sql;
        return XO_GO_ON;
    }
    if (xo_exec_find(&a->program, exec, exec_timeout_ms) != XONCE_OK) {
        return xo_args_wrong(u, "--exec: %s", xonce_error_last()->text);
    }
    a->fn = xo_exec_handler;
    a->arg = &a->program;
    return XO_GO_ON;
}

int xo_apply_try(const xo_apply *a, xonce_store *s)
{
    for (size_t i = 0; a->sql && i < a->sql->n; i++) {
        if (xo_store_try_sql(s, a->sql->statements[i].sql) != XONCE_OK) {
            return xo_open_failed("--sql");
        }
    }
    return XO_GO_ON;
}

void xo_apply_free(xo_apply *a)
{
    xo_template_free(a->sql);
    xo_exec_free(&a->program);
}
