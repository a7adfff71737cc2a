/* What `check` finds about a PostgreSQL server: settings, clock, rights, and the tables that have to be there. */
#include <inttypes.h>
#include <string.h>
#include "base/clock.h"
#include "store/postgres/impl.h"

PGresult *xo_pg_ask(xo_pg_checker *k, const char *sql, const char *p1, const char *p2)
{
    const char *v[2] = {p1, p2};
    PGresult *r = NULL;
    if (k->st != XONCE_OK)
        return NULL;
    k->st = xo_pg_tell(k->c, sql, p2 ? 2 : p1 ? 1 : 0, v, xo_pg_patience(k->c), &r);
    return r;
}

int xo_pg_yes(const PGresult *r, int row, int col)
{
    return PQgetvalue(r, row, col)[0] == 't';
}

void xo_pg_say(xo_pg_checker *k, int severity, char *what, const char *why, char *sql)
{
    if (what && sql) {
        xonce_finding f = {.size = sizeof(f), .severity = severity, .what = what, .why = why, .sql = sql};
        k->fn(&f, k->arg);
    } else {
        k->st = xo_nomem();
    }
    free(what);
    free(sql);
}

/* ---- settings ---- */

typedef struct {
    const char *name, *bad; /* the bad values, between blanks */
    int severity;
    const char *why;
    const char *role; /* what ALTER ROLE user is to SET, or NULL */
    const char *mend; /* the statement otherwise */
} setting_rule;

static const setting_rule settings[] = {
    {"fsync", " off ", 2, "a crash of the server's machine can lose committed records and corrupt the database", NULL,
     "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();"},
    {"full_page_writes", " off ", 2, "a crash during a write can corrupt the record table", NULL,
     "ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf();"},
    {"synchronous_commit", " off local remote_write ", 0,
     "xonce raises it to on in its own transactions; transactions that you commit yourself after xonce_tx_leave() are "
     "raised too while they are joined, others are not",
     "synchronous_commit = 'on'", NULL},
    {"default_transaction_read_only", " on ", 3,
     "nothing can be claimed: every claim is refused and the messages stay in the source",
     "default_transaction_read_only = off", NULL},
    {"default_transaction_isolation", " serializable ", 0,
     "xonce's transactions ask for READ COMMITTED themselves; joined ones may have to be run again", NULL, ""},
    {"autovacuum", " off ", 1, "pruned records are never cleaned up: the table and its keys grow and slow down", NULL,
     "ALTER SYSTEM SET autovacuum = on; SELECT pg_reload_conf();"},
    {"track_counts", " off ", 1, "autovacuum does not work without it: the table and its keys grow and slow down", NULL,
     "ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf();"},
};

static void check_settings(xo_pg_checker *k)
{
    PGresult *r = xo_pg_ask(k, "SELECT name, setting FROM pg_catalog.pg_settings", NULL, NULL);
    size_t i;
    int row;
    for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        const setting_rule *rule = &settings[i];
        const char *value;
        char *padded;
        for (row = 0; r && row < PQntuples(r) && strcmp(PQgetvalue(r, row, 0), rule->name) != 0; row++)
            ;
        if (!r || row == PQntuples(r))
            continue;
        value = PQgetvalue(r, row, 1);
        padded = xo_printf(" %s ", value);
        if (!padded)
            k->st = xo_nomem();
        else if (strstr(rule->bad, padded))
            xo_pg_say(k, rule->severity, xo_printf("%s is %s", rule->name, value), rule->why,
                      rule->role ? xo_printf("ALTER ROLE %s SET %s;", k->user, rule->role) : xo_strdup(rule->mend));
        free(padded);
    }
    PQclear(r);
}

/* Limits of time that are set for this user and end transactions that we need. */
static void check_timeouts(xo_pg_checker *k)
{
    static const char *const names[] = {"statement_timeout", "transaction_timeout"};
    size_t i;
    for (i = 0; i < 2; i++) {
        int64_t need = i == 0 ? k->c->lock_ms : k->c->idle_ms;
        PGresult *r = xo_pg_ask(k, "SELECT setting FROM pg_catalog.pg_settings WHERE name = $1", names[i], NULL);
        int64_t ms = r && PQntuples(r) == 1 ? strtoll(PQgetvalue(r, 0, 0), NULL, 10) : 0;
        if (ms > 0 && ms < need)
            xo_pg_say(k, 1,
                      xo_printf("%s is %" PRId64 " ms, less than the %" PRId64 " ms of %s", names[i], ms, need,
                                i == 0 ? "store.lock-timeout" : "handler.timeout"),
                      i == 0 ? "waiting for the same message elsewhere, or a slow statement of a handler, is cut short "
                               "and run again and again"
                             : "a handler that may take that long loses its transaction",
                      xo_printf("ALTER ROLE %s SET %s = '%" PRId64 "ms';", k->user, names[i], need * 2));
        PQclear(r);
    }
}

static void check_server(xo_pg_checker *k)
{
    PGresult *r = xo_pg_ask(k, "SELECT pg_is_in_recovery(), getdatabaseencoding()", NULL, NULL);
    if (r && xo_pg_yes(r, 0, 0))
        xo_pg_say(k, 3, xo_strdup("this server is a standby"),
                  "it takes no writes: every claim is refused and the messages stay in the source",
                  xo_strdup("add target_session_attrs=read-write to the store URI, and the primary's host"));
    if (r && strcmp(PQgetvalue(r, 0, 1), "UTF8") != 0)
        xo_pg_say(k, 1, xo_printf("the database's encoding is %s, not UTF8", PQgetvalue(r, 0, 1)),
                  "topics, reasons and bodies with characters that it does not have are refused, and such messages "
                  "never succeed",
                  xo_strdup("CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0;"));
    PQclear(r);
}

static void check_clock(xo_pg_checker *k)
{
    int64_t before = xo_now_ms(), after, db, off;
    PGresult *r = xo_pg_ask(k, "SELECT " PG_NOW_MS, NULL, NULL);
    if (!r)
        return;
    after = xo_now_ms();
    db = strtoll(PQgetvalue(r, 0, 0), NULL, 10);
    PQclear(r);
    off = db < before ? before - db : db > after ? db - after : 0;
    if (off > 5000)
        xo_pg_say(k, off > 300000 ? 2 : 0,
                  xo_printf("the database's clock and this machine's differ by %" PRId64 " s", off / 1000),
                  off > 300000 ? "pruning goes by time and refuses to work; a record that goes too early lets its "
                                 "message be applied twice"
                               : "records carry the database's time; more than 300 s would stop pruning",
                  xo_strdup("synchronise both clocks (NTP)"));
}

/* ---- tables and rights ---- */

typedef struct {
    const char *table, *rights[5]; /* ends with NULL */
    int missing_severity;
    const char *missing_why, *right_why;
} table_rule;

static const table_rule tables[] = {
    {"transaction_record",
     {"SELECT", "INSERT", "UPDATE", "DELETE", NULL},
     3,
     "nothing can be claimed",
     "claims insert, duplicates are read back under a lock (which takes UPDATE), and messages that leave a batch and "
     "pruning delete"},
    {"xonce_rejected",
     {"SELECT", "INSERT", "UPDATE", "DELETE", NULL},
     3,
     "a message that must be rejected cannot be kept, and comes again for ever",
     "rejecting inserts, replaying marks, locks and deletes"},
    {"xonce_watermark",
     {"SELECT", "INSERT", "UPDATE", NULL},
     1,
     "nothing is ever pruned: the record table grows without end",
     "the caught-up watermark is kept there; without it nothing is pruned"},
};

static void check_rights(xo_pg_checker *k, const table_rule *t, const char *table)
{
    const char *const *right;
    for (right = t->rights; *right; right++) {
        /* a locking read is content with the right to update any one column */
        PGresult *r = xo_pg_ask(
            k, "SELECT has_table_privilege($1, $2) OR ($2 = 'UPDATE' AND has_any_column_privilege($1, 'UPDATE'))",
            table, *right);
        if (r && !xo_pg_yes(r, 0, 0))
            xo_pg_say(k, 3, xo_printf("this user may not %s in %s", *right, table), t->right_why,
                      xo_printf("GRANT %s ON %s TO %s;", *right, table, k->user));
        PQclear(r);
    }
}

static void check_sequence_right(xo_pg_checker *k, const char *table)
{
    PGresult *r = xo_pg_ask(k,
                            "SELECT s, has_sequence_privilege(s, 'USAGE') FROM (SELECT pg_get_serial_sequence($1, "
                            "a.attname) AS s FROM pg_catalog.pg_attribute a "
                            "WHERE a.attrelid = $1::regclass AND a.attname = 'id' AND a.attidentity = '' AND NOT "
                            "a.attisdropped) AS q WHERE s IS NOT NULL",
                            table, NULL);
    if (r && PQntuples(r) == 1 && !xo_pg_yes(r, 0, 1))
        xo_pg_say(k, 3, xo_printf("this user may not use the sequence %s", PQgetvalue(r, 0, 0)),
                  "each insert into its table fails",
                  xo_printf("GRANT USAGE ON SEQUENCE %s TO %s;", PQgetvalue(r, 0, 0), k->user));
    PQclear(r);
}

static void check_persistence(xo_pg_checker *k, const char *table)
{
    PGresult *r = xo_pg_ask(k,
                            "SELECT relpersistence = 'u', relpersistence = 't', relrowsecurity AND NOT "
                            "pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class "
                            "WHERE oid = $1::regclass",
                            table, NULL);
    if (r && xo_pg_yes(r, 0, 0))
        xo_pg_say(k, 2, xo_printf("%s is UNLOGGED", table),
                  "a crash of the server empties it: every message is applied twice, or rejected ones are lost",
                  xo_printf("ALTER TABLE %s SET LOGGED;", table));
    if (r && xo_pg_yes(r, 0, 1))
        xo_pg_say(k, 2, xo_printf("%s is a temporary table", table),
                  "it ends with the session and is seen by nobody else: duplicates are not noticed",
                  xo_printf("DROP TABLE %s;", table));
    if (r && xo_pg_yes(r, 0, 2))
        xo_pg_say(k, 2, xo_printf("row level security is on for %s", table),
                  "rows that a policy hides look like claims that were refused without a record",
                  xo_printf("ALTER TABLE %s DISABLE ROW LEVEL SECURITY;", table));
    PQclear(r);
}

static void check_tables(xo_pg_checker *k)
{
    size_t i;
    for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        PGresult *r = xo_pg_ask(k,
                                "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), (SELECT count(*) FROM "
                                "pg_catalog.pg_class o WHERE o.relname = $1 "
                                "AND o.relkind IN ('r', 'p')) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace "
                                "n ON n.oid = c.relnamespace "
                                "WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p')",
                                tables[i].table, NULL);
        const char *table = r && PQntuples(r) == 1 ? PQgetvalue(r, 0, 0) : NULL;
        if (r && !table)
            xo_pg_say(k, tables[i].missing_severity,
                      xo_printf("the table %s is not there, or not in the search_path", tables[i].table),
                      tables[i].missing_why, xo_strdup("xonce init"));
        if (table) {
            if (strtol(PQgetvalue(r, 0, 1), NULL, 10) > 1)
                xo_pg_say(k, 1, xo_printf("another schema has a table %s too; %s is used", tables[i].table, table),
                          "programs with another search_path would not see each other's records: messages are applied "
                          "once by each",
                          xo_printf("ALTER ROLE %s SET search_path = %.*s;", k->user, (int)strcspn(table, "."), table));
            check_persistence(k, table);
            check_rights(k, &tables[i], table);
            check_sequence_right(k, table);
        }
        PQclear(r);
    }
}

xonce_status xo_pg_check(xo_conn *x, const xo_open_options *o, void (*fn)(const xonce_finding *f, void *arg), void *arg)
{
    xo_pg_conn *c = xo_pg_of(x);
    xo_pg_checker k = {.c = c, .fn = fn, .arg = arg, .st = XONCE_OK};
    PGresult *who;
    (void)o;
    if (x->in_tx || c->prune_held)
        return xo_fail(XONCE_E_INVALID, "check needs a connection without an open transaction");
    k.st = xo_pg_layout(x, NULL);
    k.table = c->table;
    who = xo_pg_ask(&k, "SELECT quote_ident(current_user)", NULL, NULL);
    k.user = who ? PQgetvalue(who, 0, 0) : "";
    check_server(&k);
    check_settings(&k);
    check_timeouts(&k);
    check_clock(&k);
    check_tables(&k);
    if (k.table)
        xo_pg_check_table(&k);
    PQclear(who);
    return k.st;
}
