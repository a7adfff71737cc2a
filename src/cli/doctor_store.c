/* The database's half of doctor. */
#include "base/clock.h"
#include "base/config.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/connect.h"
#include "cli/doctor.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRIPS = 5, SLOW_TRIP_US = 5000 };

typedef struct {
    char text[2][128];
    int rows;
} one_row;

static int on_row(const xonce_row *r, void *arg)
{
    one_row *row = arg;
    for (int i = 0; i < 2; i++) {
        (void)snprintf(row->text[i], sizeof(row->text[i]), "%s", xonce_row_text(r, i));
    }
    row->rows++;
    return 1;
}

/* One row of up to two columns; what the database refuses is told by check. group NULL: the statement has no parameter. */
static int ask(xonce_store *s, const char *sql, const char *group, one_row *row)
{
    xonce_value v = xonce_text(group);
    *row = (one_row){.rows = 0};
    return xo_store_query(s, sql, &v, group ? 1 : 0, on_row, row, NULL) == XONCE_OK && row->rows == 1;
}

static void version(xonce_store *s, xo_findings *f)
{
    one_row row;
    switch (s->d->kind) {
    case XO_DIALECT_PG:
        if (ask(s, "SELECT current_setting('server_version'), current_user", NULL, &row)) {
            xo_findings_good(f, "PostgreSQL %s, as user %s", row.text[0], row.text[1]);
        }
        break;
    case XO_DIALECT_MYSQL:
        if (ask(s, "SELECT version(), current_user()", NULL, &row)) {
            xo_findings_good(f, "%s %s, as user %s", strstr(row.text[0], "Maria") ? "MariaDB" : "MySQL", row.text[0], row.text[1]);
        }
        break;
    default:
        if (ask(s, "SELECT sqlite_version()", NULL, &row)) {
            xo_findings_good(f, "SQLite %s", row.text[0]);
        }
        break;
    }
}

/* The best of a few: what the way to the server costs, not what else happens there. */
static void way(xonce_store *s, xo_findings *f)
{
    one_row row;
    int64_t best = INT64_MAX;
    for (int i = 0; i < TRIPS; i++) {
        int64_t before = xo_mono_us();
        if (!ask(s, "SELECT 1", NULL, &row)) {
            return;
        }
        int64_t took = xo_mono_us() - before;
        best = took < best ? took : best;
    }
    if (best > SLOW_TRIP_US) {
        char what[96];
        (void)snprintf(what, sizeof(what), "a question to the database takes %.1f ms to be answered", (double)best / 1000);
        xo_findings_add(f, XO_NOTE, what, "every transaction waits for it two or three times", "run the consumer nearer to the database, or raise workers and batch.max; `xonce bench` measures");
    } else {
        xo_findings_good(f, "a question is answered in %.2f ms", (double)best / 1000);
    }
}

static void connections(const xo_doctor *d, xonce_store *s, xo_findings *f)
{
    one_row row;
    const char *sql = s->d->kind == XO_DIALECT_PG ? "SELECT current_setting('max_connections')" : s->d->kind == XO_DIALECT_MYSQL ? "SELECT @@max_connections" : NULL;
    int64_t need = xo_config_int(d->cfg, "store.connections");
    need = need ? need : xo_config_int(d->cfg, "workers") + 2;
    if (!sql || !ask(s, sql, NULL, &row)) {
        return;
    }
    int64_t most = strtoll(row.text[0], NULL, 10);
    if (most < need) {
        char what[128];
        (void)snprintf(what, sizeof(what), "the server takes %" PRId64 " connections, a consumer may open %" PRId64, most, need);
        xo_findings_add(f, XO_UNWISE, what, "under load connections are refused, and messages wait", "lower workers or set store.connections, or raise the server's max_connections");
    } else {
        xo_findings_good(f, "the server takes %" PRId64 " connections, a consumer of these settings at most %" PRId64, most, need);
    }
}

static void of_group(const xo_doctor *d, xonce_store *s, xo_findings *f)
{
    one_row row;
    char at[40], what[160];
    if (ask(s, "SELECT count(*) FROM xonce_rejected WHERE consumer_group = $1", d->group, &row) && strcmp(row.text[0], "0") != 0) {
        (void)snprintf(what, sizeof(what), "messages of the group in xonce_rejected: %.20s", row.text[0]);
        xo_findings_add(f, XO_NOTE, what, "they were given up, and are not applied", "xonce rejected lists them with their reasons, xonce replay runs them again");
    }
    if (ask(s, "SELECT watermark_ms FROM xonce_watermark WHERE consumer_group = $1 AND watermark_ms > 0", d->group, &row)) {
        xo_format_time(strtoll(row.text[0], NULL, 10), at, sizeof(at));
        xo_findings_good(f, "the group was last seen caught up at %s", at);
    } else {
        xo_findings_good(f, "no consumer of the group has been caught up in this database yet");
    }
}

xonce_status xo_doctor_look(const xo_doctor *d, xonce_store *s, xo_findings *f)
{
    if (f->whole) {
        version(s, f);
        if (s->d->kind != XO_DIALECT_SQLITE) {
            way(s, f);
        }
        connections(d, s, f);
    }
    int before = (int)f->problems;
    xonce_status st = xonce_store_check(s, xo_findings_on, f);
    if (f->whole && st == XONCE_OK && (int)f->problems == before) {
        xo_findings_good(f, "tables, keys, rights, durability and clock are as they should be");
    }
    if (f->whole && st == XONCE_OK && d->group) {
        of_group(d, s, f);
    }
    return st;
}

void xo_doctor_store(const xo_doctor *d, xo_findings *f)
{
    xonce_store *s = NULL;
    char *shown = xo_uri_mask(d->store);
    xo_findings_area(f, "database", shown ? shown : "");
    if (xo_store_existing(&s, d->store, d->group ? d->group : "xonce", d->cfg) != XONCE_OK) {
        xo_findings_failed(f, XO_BROKEN, "it cannot be opened");
    } else if (xo_doctor_look(d, s, f) != XONCE_OK) {
        xo_findings_failed(f, XO_BROKEN, "it could not be looked at to the end");
    }
    xonce_store_close(s);
    free(shown);
}
