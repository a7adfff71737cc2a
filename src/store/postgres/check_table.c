/* What `check` finds about a PostgreSQL record table, ours or one that was there before: columns, keys, triggers, its
 * sequence. */
#include <inttypes.h>
#include <string.h>
#include "store/postgres/impl.h"

/* ---- columns ---- */

typedef struct {
    const char *name, *types; /* accepted type names, between blanks */
    int length;               /* least length of a varchar */
    const char *add;          /* its type in ALTER TABLE */
    int ours;                 /* 1: claims work without it; 2: of a partitioned table only, and part of its key */
} column_rule;

static const column_rule columns[] = {
    {"consumer_group", " varchar text ", 128, "varchar(128) NOT NULL DEFAULT ''", 0},
    {"message_id", " varchar text ", 255, "varchar(255) COLLATE \"C\" NOT NULL DEFAULT ''", 0},
    {"topic_name", " varchar text ", 255, "varchar(255) NOT NULL DEFAULT ''", 0},
    {"ctime", " int8 ", 0, "bigint NOT NULL", 0},
    {"queue_id", " int4 int8 ", 0, "integer NOT NULL DEFAULT -1", 0},
    {"offset", " int8 ", 0, "bigint NOT NULL DEFAULT -1", 0},
    {"broker_name", " varchar text ", 128, "varchar(255) NOT NULL DEFAULT ''", 0},
    {"store_time", " int8 ", 0, "bigint", 1},
    {"log_offset", " int8 ", 0, "bigint", 1},
    {"digest", " bpchar varchar text ", 32, "char(32)", 1},
    {"store_day", " int4 int8 ", 0, "integer NOT NULL", 2},
};
enum { COL_NAME, COL_TYPE, COL_LENGTH, COL_UNFILLED, COL_COLLATION, COL_FOLDS };

static void check_column(xo_pg_checker *k, const column_rule *rule, const PGresult *r, int row)
{
    int length = (int)strtol(PQgetvalue(r, row, COL_LENGTH), NULL, 10);
    char *type = xo_printf(" %s ", PQgetvalue(r, row, COL_TYPE));
    if (!type) {
        k->st = xo_nomem();
        return;
    }
    if (!strstr(rule->types, type))
        xo_pg_say(
            k, 3, xo_printf("column \"%s\" of %s has the type %s", rule->name, k->table, PQgetvalue(r, row, COL_TYPE)),
            strcmp(rule->name, "message_id") == 0
                ? "ids that differ are taken for one, or the key is not used: messages are lost, or claims are slow"
                : "what is claimed does not fit, or is not compared as it should be",
            xo_printf("ALTER TABLE %s ALTER COLUMN \"%s\" TYPE %.*s;", k->table, rule->name,
                      (int)strcspn(rule->add, " "), rule->add));
    else if (length > 0 && length < rule->length)
        xo_pg_say(k, 2,
                  xo_printf("column \"%s\" of %s holds %d characters, %d are needed", rule->name, k->table, length,
                            rule->length),
                  "a longer value fails the claim of its whole batch, and its message never succeeds",
                  xo_printf("ALTER TABLE %s ALTER COLUMN \"%s\" TYPE %.*s;", k->table, rule->name,
                            (int)strcspn(rule->add, " "), rule->add));
    free(type);
}

static void check_collation(xo_pg_checker *k, const PGresult *r, int row)
{
    const char *name = PQgetvalue(r, row, COL_COLLATION);
    char *mend = xo_printf("ALTER TABLE %s ALTER COLUMN message_id TYPE varchar(255) COLLATE \"C\";", k->table);
    if (xo_pg_yes(r, row, COL_FOLDS))
        xo_pg_say(
            k, 2,
            xo_printf("message_id of %s has the collation %s, which takes different bytes for equal", k->table, name),
            "ids that differ only in case or accent collide: the second message's claim is refused and it never gets "
            "through",
            mend);
    else if (strcmp(name, "C") != 0 && strcmp(name, "POSIX") != 0)
        xo_pg_say(k, 1, xo_printf("message_id of %s has the collation %s, not C", k->table, name),
                  "claims are slower, and an upgrade of the operating system's locales can break the unique key "
                  "without a sign",
                  mend);
    else
        free(mend);
}

static void check_columns(xo_pg_checker *k)
{
    static const char sql[] = "SELECT a.attname, t.typname, CASE WHEN a.atttypmod > 4 THEN a.atttypmod - 4 ELSE 0 END, "
                              "a.attnotnull AND a.attidentity = '' AND NOT a.atthasdef, coalesce(o.collname, ''), "
                              "coalesce(NOT (to_jsonb(o) ->> 'collisdeterministic')::boolean, false) "
                              "FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid LEFT "
                              "JOIN pg_catalog.pg_collation o ON o.oid = a.attcollation "
                              "WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped";
    PGresult *r = xo_pg_ask(k, sql, k->table, NULL);
    size_t i;
    int row, n = r ? PQntuples(r) : 0;
    for (i = 0; r && i < sizeof(columns) / sizeof(columns[0]); i++) {
        for (row = 0; row < n && strcmp(PQgetvalue(r, row, COL_NAME), columns[i].name) != 0; row++)
            ;
        if (row < n)
            check_column(k, &columns[i], r, row);
        else if (columns[i].ours < 2)
            xo_pg_say(
                k, columns[i].ours ? 1 : 3, xo_printf("%s has no column \"%s\"", k->table, columns[i].name),
                columns[i].ours
                    ? "another message under an id that is taken cannot be told from a duplicate of it, and is skipped"
                    : "claims fail",
                xo_printf("ALTER TABLE %s ADD COLUMN \"%s\" %s;", k->table, columns[i].name, columns[i].add));
        if (row < n && strcmp(columns[i].name, "message_id") == 0)
            check_collation(k, r, row);
    }
    for (row = 0; row < n; row++) {
        const char *name = PQgetvalue(r, row, COL_NAME);
        for (i = 0; i < sizeof(columns) / sizeof(columns[0]) && (strcmp(columns[i].name, name) != 0 || (columns[i].ours == 2 && !k->c->layout.partitioned)); i++)
            ;
        if (i == sizeof(columns) / sizeof(columns[0]) && xo_pg_yes(r, row, COL_UNFILLED))
            xo_pg_say(k, 3,
                      xo_printf("column \"%s\" of %s is NOT NULL without a default, and claims do not fill it", name,
                                k->table),
                      "every claim fails",
                      xo_printf("ALTER TABLE %s ALTER COLUMN \"%s\" DROP NOT NULL;", k->table, name));
        if (strcmp(name, "id") == 0 && strcmp(PQgetvalue(r, row, COL_TYPE), "int4") == 0)
            xo_pg_say(k, 1, xo_printf("column id of %s is an integer", k->table),
                      "after 2,147,483,647 messages every claim fails",
                      xo_printf("ALTER TABLE %s ALTER COLUMN id TYPE bigint;", k->table));
    }
    PQclear(r);
}

/* ---- keys ---- */

enum { IX_NAME, IX_UNIQUE, IX_PRIMARY, IX_GOOD, IX_FLAW, IX_FIRST, IX_COLUMNS, IX_CONSTRAINT, IX_FOLDS };

static void no_unique_key(xo_pg_checker *k, const PGresult *r)
{
    int row;
    for (row = 0; row < PQntuples(r); row++)
        if (xo_pg_yes(r, row, IX_UNIQUE) && strstr(PQgetvalue(r, row, IX_COLUMNS), "message_id")) {
            xo_pg_say(
                k, 3,
                xo_printf("the unique key %s of %s cannot be used for claims: it is %s", PQgetvalue(r, row, IX_NAME),
                          k->table, PQgetvalue(r, row, IX_FLAW)),
                "every claim is refused; without a key that holds for message_id alone and at once, duplicates would "
                "pass",
                xo_printf("ALTER TABLE %s ADD CONSTRAINT message_id_unique_key_1 UNIQUE (message_id);", k->table));
            return;
        }
    xo_pg_say(k, 3, xo_printf("%s has no unique key on message_id", k->table),
              "every claim is refused: without it duplicates would pass",
              xo_printf("ALTER TABLE %s ADD CONSTRAINT message_id_unique_key UNIQUE (message_id);", k->table));
}

static void check_other_key(xo_pg_checker *k, const PGresult *r, int row)
{
    const char *name = PQgetvalue(r, row, IX_NAME), *cols = PQgetvalue(r, row, IX_COLUMNS);
    if (xo_pg_yes(r, row, IX_FOLDS) && xo_pg_yes(r, row, IX_GOOD))
        xo_pg_say(k, 2, xo_printf("the unique key %s takes different ids for equal (its collation)", name),
                  "the second message's claim is refused and it never gets through",
                  xo_printf("DROP INDEX %s; ALTER TABLE %s ADD CONSTRAINT message_id_unique_key_1 UNIQUE (message_id);",
                            name, k->table));
    if (xo_pg_yes(r, row, IX_UNIQUE) && !xo_pg_yes(r, row, IX_GOOD) && strcmp(cols, "id") != 0 &&
        !strstr(cols, "message_id"))
        xo_pg_say(k, 1, xo_printf("the unique key %s (%s) of %s is not about the id", name, cols, k->table),
                  "two different messages can conflict in it; then the claim of their batch fails, again and again",
                  xo_pg_yes(r, row, IX_CONSTRAINT) ? xo_printf("ALTER TABLE %s DROP CONSTRAINT %s;", k->table, name)
                                                   : xo_printf("DROP INDEX CONCURRENTLY %s;", name));
    if (!xo_pg_yes(r, row, IX_UNIQUE) && strcmp(PQgetvalue(r, row, IX_FIRST), "queue_id") == 0)
        xo_pg_say(k, 0, xo_printf("the key %s (%s) makes batches 10 to 40 %% slower", name, cols),
                  "only reports and pruning by queue read it", xo_printf("DROP INDEX CONCURRENTLY %s;", name));
}

static void check_keys(xo_pg_checker *k)
{
    static const char sql[] =
        "SELECT x.indexrelid::regclass, x.indisunique, x.indisprimary, "
        "x.indisunique AND x.indisvalid AND x.indimmediate AND x.indpred IS NULL AND x.indexprs IS NULL AND "
        "f.attname = 'message_id' AND (x.indnkeyatts = 1 OR ($2 = 'day' AND x.indnkeyatts = 2 AND EXISTS (SELECT 1 FROM pg_catalog.pg_attribute d WHERE "
        "d.attrelid = x.indrelid AND d.attnum = x.indkey[1] AND d.attname = 'store_day'))), "
        "CASE WHEN NOT x.indisvalid THEN 'not valid' WHEN NOT x.indimmediate THEN 'deferrable' WHEN x.indpred IS NOT "
        "NULL THEN 'partial' "
        "WHEN x.indexprs IS NOT NULL THEN 'on an expression' ELSE 'on several columns' END, coalesce(f.attname, ''), "
        "coalesce((SELECT string_agg(a.attname, ', ' ORDER BY i.n) FROM unnest(x.indkey::int[]) WITH ORDINALITY AS "
        "i(k, n) "
        "JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = i.k), ''), "
        "EXISTS (SELECT 1 FROM pg_catalog.pg_constraint c WHERE c.conindid = x.indexrelid), "
        "coalesce((SELECT NOT (to_jsonb(o) ->> 'collisdeterministic')::boolean FROM pg_catalog.pg_collation o WHERE "
        "o.oid = x.indcollation[0]), false) "
        "FROM pg_catalog.pg_index x LEFT JOIN pg_catalog.pg_attribute f ON f.attrelid = x.indrelid AND f.attnum = "
        "x.indkey[0] "
        "WHERE x.indrelid = $1::regclass ORDER BY 1";
    PGresult *r = xo_pg_ask(k, sql, k->table, k->c->layout.partitioned ? "day" : "");
    int row, unique = 0, id = 0, day = k->c->layout.partitioned;
    const char *ctime = NULL;
    if (!r)
        return;
    for (row = 0; row < PQntuples(r); row++) {
        unique |= xo_pg_yes(r, row, IX_GOOD);
        id |= strcmp(PQgetvalue(r, row, IX_FIRST), "id") == 0;
        if (strcmp(PQgetvalue(r, row, IX_FIRST), "ctime") == 0)
            ctime = PQgetvalue(r, row, IX_NAME);
        check_other_key(k, r, row);
    }
    if (!unique)
        no_unique_key(k, r);
    if (day && !ctime)
        xo_pg_say(k, 1, xo_printf("%s has no key on ctime", k->table), "pruning reads the whole table for each batch",
                  xo_printf("CREATE INDEX CONCURRENTLY transaction_record_ctime_key ON %s (ctime);", k->table));
    if (!day && !id)
        xo_pg_say(k, 1, xo_printf("%s has no key on id", k->table), "pruning reads the whole table for each batch",
                  xo_printf("CREATE UNIQUE INDEX CONCURRENTLY transaction_record_id_key ON %s (id);", k->table));
    if (!day && ctime)
        xo_pg_say(k, 0, xo_printf("the key %s of %s begins with ctime", ctime, k->table), "xonce makes no use of it, and each claim pays for it", xo_printf("DROP INDEX %s;", ctime));
    PQclear(r);
}

/* ---- what else touches the rows ---- */

static void check_triggers(xo_pg_checker *k)
{
    PGresult *r = xo_pg_ask(k,
                            "SELECT quote_ident(tgname), (tgtype & 2) <> 0 FROM pg_catalog.pg_trigger WHERE tgrelid = "
                            "$1::regclass AND NOT tgisinternal AND tgenabled <> 'D'",
                            k->table, NULL);
    int row;
    for (row = 0; r && row < PQntuples(r); row++)
        xo_pg_say(k, xo_pg_yes(r, row, 1) ? 2 : 1, xo_printf("%s has the trigger %s", k->table, PQgetvalue(r, row, 0)),
                  xo_pg_yes(r, row, 1)
                      ? "it can change or swallow the row of a claim: such messages are never applied"
                      : "it runs in each claim, makes it slower, and when it fails the message does not get through",
                  xo_printf("ALTER TABLE %s DISABLE TRIGGER %s;", k->table, PQgetvalue(r, row, 0)));
    PQclear(r);
    r = xo_pg_ask(k, "SELECT quote_ident(rulename) FROM pg_catalog.pg_rewrite WHERE ev_class = $1::regclass", k->table,
                  NULL);
    for (row = 0; r && row < PQntuples(r); row++)
        xo_pg_say(k, 2, xo_printf("%s has the rule %s", k->table, PQgetvalue(r, row, 0)),
                  "it can change or swallow the row of a claim: such messages are never applied",
                  xo_printf("DROP RULE %s ON %s;", PQgetvalue(r, row, 0), k->table));
    PQclear(r);
}

static void check_sequence(xo_pg_checker *k)
{
    PGresult *r = xo_pg_ask(k,
                            "SELECT pg_get_serial_sequence($1, a.attname), "
                            "has_sequence_privilege(pg_get_serial_sequence($1, a.attname), 'SELECT') "
                            "AND has_column_privilege($1, a.attname, 'SELECT') FROM pg_catalog.pg_attribute a WHERE "
                            "a.attrelid = $1::regclass AND a.attname = 'id' AND NOT a.attisdropped",
                            k->table, NULL);
    const char *seq = r && PQntuples(r) == 1 && !PQgetisnull(r, 0, 0) ? PQgetvalue(r, 0, 0) : NULL;
    char *sql = NULL;
    PGresult *s;
    if (seq && xo_pg_yes(r, 0, 1))
        sql = xo_printf("SELECT m, l FROM (SELECT max(id) AS m FROM %s) AS t, (SELECT CASE WHEN is_called THEN "
                        "last_value ELSE last_value - 1 END AS l FROM %s) AS s WHERE m > l",
                        k->table, seq);
    s = sql ? xo_pg_ask(k, sql, NULL, NULL) : NULL;
    if (s && PQntuples(s) == 1)
        xo_pg_say(k, 3,
                  xo_printf("the sequence %s stands at %s, but %s has rows up to id %s", seq, PQgetvalue(s, 0, 1),
                            k->table, PQgetvalue(s, 0, 0)),
                  "claims fail until it has passed them (a restore or a copy of the table forgot the sequence)",
                  xo_printf("SELECT setval('%s', (SELECT max(id) FROM %s));", seq, k->table));
    PQclear(s);
    PQclear(r);
    free(sql);
}

/* Partitions are made and dropped by the table's owner. */
static void check_owner(xo_pg_checker *k)
{
    PGresult *r = xo_pg_ask(k, "SELECT pg_has_role(relowner, 'USAGE') AND has_schema_privilege(relnamespace, 'CREATE') FROM pg_catalog.pg_class WHERE oid = $1::regclass", k->table, NULL);
    if (r && PQntuples(r) == 1 && !xo_pg_yes(r, 0, 0))
        xo_pg_say(k, 0, xo_printf("this user may not make or drop partitions of %s", k->table), "that is its owner's: without, records are deleted one by one, two days later than partitions would go",
                  xo_strdup("let its owner run `xonce prune` once a day"));
    PQclear(r);
}

static void check_shape(xo_pg_checker *k)
{
    PGresult *r = xo_pg_ask(k,
                            "SELECT relkind = 'p', EXISTS (SELECT 1 FROM pg_catalog.pg_inherits WHERE inhparent = "
                            "c.oid) AND relkind <> 'p', reltuples > 100000 "
                            "AND coalesce(array_to_string(reloptions, ','), '') !~ 'autovacuum', "
                            "coalesce(array_to_string(reloptions, ','), '') ~ 'autovacuum_enabled=(false|off)' "
                            "FROM pg_catalog.pg_class c WHERE oid = $1::regclass",
                            k->table, NULL);
    if (k->c->layout.partitioned)
        check_owner(k);
    else if (r && xo_pg_yes(r, 0, 0))
        xo_pg_say(k, 1, xo_printf("%s is partitioned", k->table),
                  "a key on message_id alone holds over all partitions only when they are made by message_id; made by "
                  "time, a message that comes again later is applied twice",
                  xo_strdup(""));
    if (r && xo_pg_yes(r, 0, 1))
        xo_pg_say(k, 2, xo_printf("other tables inherit from %s", k->table),
                  "the unique key does not hold over them: records in them do not stop a duplicate", xo_strdup(""));
    if (r && xo_pg_yes(r, 0, 2))
        xo_pg_say(k, 0, xo_printf("%s has the server's autovacuum settings", k->table),
                  "while rows come and go all day, these keep it smaller and claims 20 to 50 % faster",
                  xo_printf("ALTER TABLE %s SET (autovacuum_vacuum_scale_factor = 0.02, "
                            "autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);",
                            k->table));
    if (r && xo_pg_yes(r, 0, 3))
        xo_pg_say(k, 1, xo_printf("autovacuum is off for %s", k->table),
                  "pruned records are never cleaned up: the table and its keys grow and slow down",
                  xo_printf("ALTER TABLE %s SET (autovacuum_enabled = true);", k->table));
    PQclear(r);
}

void xo_pg_check_table(xo_pg_checker *k)
{
    check_shape(k);
    check_columns(k);
    check_keys(k);
    check_triggers(k);
    if (!k->c->layout.partitioned) /* there ids may repeat */
        check_sequence(k);
}
