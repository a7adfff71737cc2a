/* What `check` finds about a SQLite file: table, keys, collation, triggers, journal, file system, rights, integrity. */
#include "store/sqlite/impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/vfs.h>
#endif

/* A full look at a larger file would take minutes. */
enum { QUICK_CHECK_MAX_MB = 512 };

typedef struct {
    xo_lite *c;
    void (*fn)(const xonce_finding *f, void *arg);
    void *arg;
    char type[16];     /* of transaction_record: "table", "view"; "" when missing */
    unsigned columns;  /* bits of required[] */
    unsigned ours;     /* bits of our_columns[] */
    int unique;        /* a fit unique key on message_id */
    char ctime[160];   /* an index that leads with ctime */
    char nocase[160], nocase_collation[32];
    char text[64];
} look;

static const char *const required[] = {"consumer_group", "message_id", "topic_name", "ctime",
                                       "queue_id",       "offset",     "broker_name"};
static const char *const our_columns[] = {"store_time", "log_offset", "digest"};
enum { REQUIRED = sizeof required / sizeof *required, OURS = sizeof our_columns / sizeof *our_columns };

static void find(const look *k, int severity, const char *what, const char *why, const char *sql)
{
    xonce_finding f = {.size = sizeof f, .severity = severity, .what = what, .why = why, .sql = sql};
    k->fn(&f, k->arg);
}

/* With one name in the finding and in its SQL. */
static void find_named(const look *k, int severity, const char *what, const char *why, const char *sql,
                       const char *name)
{
    xo_buf a = {0}, b = {0};
    const char *parts[2] = {what, sql};
    xo_buf *bufs[2] = {&a, &b};
    for (int i = 0; i < 2; i++)
        for (const char *p = parts[i]; *p; p++) {
            if (*p == '%')
                xo_buf_str(bufs[i], name);
            else
                xo_buf_char(bufs[i], *p);
        }
    char *w = xo_buf_take(&a), *q = xo_buf_take(&b);
    if (w && q)
        find(k, severity, w, why, q);
    free(w);
    free(q);
}

static int on_type(const xonce_row *r, void *arg)
{
    look *k = arg;
    snprintf(k->type, sizeof k->type, "%s", r->text[0]);
    return 0;
}

static int on_column(const xonce_row *r, void *arg)
{
    look *k = arg;
    for (unsigned i = 0; i < REQUIRED; i++)
        if (sqlite3_stricmp(r->text[0], required[i]) == 0)
            k->columns |= 1u << i;
    for (unsigned i = 0; i < OURS; i++)
        if (sqlite3_stricmp(r->text[0], our_columns[i]) == 0)
            k->ours |= 1u << i;
    return 0;
}

static xonce_status look_at_columns(look *k)
{
    xonce_status st = xo_lite_exec(k->c, "SELECT name FROM pragma_table_info('transaction_record')", on_column, k);
    if (st != XONCE_OK)
        return st;
    for (unsigned i = 0; i < REQUIRED; i++)
        if (!(k->columns & 1u << i))
            find_named(k, 3, "transaction_record has no column %", "every claim fails",
                       "ALTER TABLE transaction_record ADD COLUMN \"%\" NOT NULL DEFAULT ''", required[i]);
    for (unsigned i = 0; i < OURS; i++)
        if (!(k->ours & 1u << i))
            find_named(k, 1, "transaction_record has no column %",
                       "another message under the same id is not told from a duplicate, and is skipped",
                       i == 2 ? "ALTER TABLE transaction_record ADD COLUMN % CHAR(32)"
                              : "ALTER TABLE transaction_record ADD COLUMN % BIGINT",
                       our_columns[i]);
    return XONCE_OK;
}

/* Rows: index, unique, origin, partial, number of key columns, first key column, its collation. */
static int on_index(const xonce_row *r, void *arg)
{
    look *k = arg;
    int unique = xonce_row_int(r, 1) != 0, partial = xonce_row_int(r, 3) != 0, one = xonce_row_int(r, 4) == 1;
    const char *name = xonce_row_text(r, 0), *column = xonce_row_text(r, 5), *collation = xonce_row_text(r, 6);
    if (sqlite3_stricmp(column, "ctime") == 0 && !unique)
        snprintf(k->ctime, sizeof k->ctime, "%s", name);
    if (!unique || strcmp(xonce_row_text(r, 2), "pk") == 0)
        return 0;
    if (sqlite3_stricmp(column, "message_id") == 0 && one && !partial) {
        if (sqlite3_stricmp(collation, "BINARY") == 0) {
            k->unique = 1;
        } else {
            snprintf(k->nocase, sizeof k->nocase, "%s", name);
            snprintf(k->nocase_collation, sizeof k->nocase_collation, "%s", collation);
        }
        return 0;
    }
    find_named(k, 2, "transaction_record has another unique key, %",
               "a claim that it refuses is an error and the message comes again for ever",
               strncmp(name, "sqlite_autoindex", 16) == 0 ? "" : "DROP INDEX \"%\"", name);
    return 0;
}

static xonce_status look_at_keys(look *k)
{
    static const char sql[] =
        "SELECT l.name, l.\"unique\", l.origin, l.partial,"
        " (SELECT count(*) FROM pragma_index_xinfo(l.name) x WHERE x.key), coalesce(f.name, ''), coalesce(f.coll, '')"
        " FROM pragma_index_list('transaction_record') l JOIN pragma_index_xinfo(l.name) f ON f.seqno = 0";
    xonce_status st = xo_lite_exec(k->c, sql, on_index, k);
    if (st != XONCE_OK)
        return st;
    if (*k->nocase)
        find_named(k, 2, "the unique key of message_id compares by collation %, not byte by byte",
                   "ids that differ only in case or trailing blanks count as one message: the second is lost",
                   "ALTER TABLE transaction_record RENAME TO transaction_record_old; -- then `xonce init`, then INSERT "
                   "INTO transaction_record SELECT * FROM transaction_record_old",
                   k->nocase_collation);
    else if (!k->unique)
        find(k, 3, "transaction_record has no unique key on message_id alone",
             "nothing would stop a second delivery; claims fail",
             "CREATE UNIQUE INDEX message_id_unique_key ON transaction_record (message_id)");
    if (*k->ctime)
        find_named(k, 0, "the index % of transaction_record begins with ctime", "xonce makes no use of it, and each claim pays for it", "DROP INDEX \"%\"", k->ctime);
    return XONCE_OK;
}

static int on_trigger(const xonce_row *r, void *arg)
{
    find_named(arg, 2, "transaction_record has a trigger, %",
               "a trigger can swallow or change a claim; such a message comes again for ever", "DROP TRIGGER \"%\"",
               xonce_row_text(r, 0));
    return 0;
}

static xonce_status look_at_table(look *k)
{
    xonce_status st = xo_lite_exec(
        k->c, "SELECT type FROM sqlite_master WHERE lower(name) = 'transaction_record' AND type IN ('table', 'view')",
        on_type, k);
    if (st != XONCE_OK)
        return st;
    if (!*k->type) {
        find(k, 3, "the table transaction_record is missing", "no message can be claimed",
             "run `xonce init`, or the SQL of `xonce init --print`");
        return XONCE_OK;
    }
    if (strcmp(k->type, "table") != 0) {
        find(k, 3, "transaction_record is a view", "it cannot hold claims", "DROP VIEW transaction_record");
        return XONCE_OK;
    }
    st = look_at_columns(k);
    if (st == XONCE_OK && k->columns & 2u)
        st = look_at_keys(k);
    if (st == XONCE_OK)
        st = xo_lite_exec(
            k->c, "SELECT name FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = 'transaction_record'",
            on_trigger, k);
    sqlite3_stmt *s = NULL;
    if (st == XONCE_OK &&
        sqlite3_prepare_v2(k->c->db, "SELECT rowid FROM transaction_record", -1, &s, NULL) != SQLITE_OK)
        find(k, 1, "transaction_record is WITHOUT ROWID", "pruning does not work", "copy it into a table as `xonce init --print` has it");
    sqlite3_finalize(s);
    return st;
}

static int on_text(const xonce_row *r, void *arg)
{
    look *k = arg;
    snprintf(k->text, sizeof k->text, "%s", xonce_row_text(r, 0));
    return 0;
}

static xonce_status look_at_journal(look *k)
{
    xonce_status st = xo_lite_exec(k->c, "PRAGMA journal_mode", on_text, k);
    if (st == XONCE_OK && strcmp(k->text, "memory") != 0 && strcmp(k->text, "off") != 0) {
        if (strcmp(k->text, "wal") != 0)
            find_named(k, 1, "journal_mode is %", "readers and the writer wait for each other, and a commit costs more",
                       "PRAGMA journal_mode=WAL", k->text);
    } else if (st == XONCE_OK) {
        find_named(k, 2, "journal_mode is %", "a crash in a commit destroys the file", "PRAGMA journal_mode=WAL",
                   k->text);
    }
    if (st == XONCE_OK)
        st = xo_lite_exec(k->c, "PRAGMA synchronous", on_text, k);
    if (st == XONCE_OK && strcmp(k->text, "2") != 0 && strcmp(k->text, "3") != 0)
        find_named(k, 2, "synchronous is % on this connection", "a power cut takes commits that were acknowledged",
                   "PRAGMA synchronous=FULL", k->text);
    return st;
}

#ifdef __linux__
static void look_at_file_system(look *k)
{
    static const struct {
        unsigned long magic;
        const char *name;
    } remote[] = {{0x6969, "NFS"},     {0xff534d42, "CIFS"}, {0xfe534d42, "SMB2"},
                  {0x517b, "SMB"},     {0x65735546, "FUSE"}, {0x01021997, "9p"},
                  {0x5346414f, "AFS"}, {0x00c36400, "Ceph"}, {0x0bd00bd0, "Lustre"}};
    struct statfs fs;
    if (statfs(k->c->file, &fs) != 0)
        return;
    unsigned long type = (unsigned long)fs.f_type & 0xffffffffu;
    if (type == 0x01021994 || type == 0x858458f6)
        find(k, 1, "the file is on a file system in memory",
             "it is gone after a restart of the machine, and what was acknowledged with it", "put it on a disk");
    for (size_t i = 0; i < sizeof remote / sizeof *remote; i++)
        if (remote[i].magic == type)
            find_named(k, 2, "the file is on a % file system",
                       "SQLite's locks and its WAL need a local disk: two writers can damage the file", "put it on a local disk",
                       remote[i].name);
}
#else
static void look_at_file_system(look *k)
{
    (void)k;
}
#endif

static xonce_status look_at_integrity(look *k)
{
    k->text[0] = '\0';
    xonce_status st = xo_lite_exec(
        k->c, "SELECT page_count * page_size / 1048576 FROM pragma_page_count, pragma_page_size", on_text, k);
    long long mb = strtoll(k->text, NULL, 10);
    if (st != XONCE_OK)
        return st;
    if (mb > QUICK_CHECK_MAX_MB) {
        find(k, 0, "the file was not checked for damage: it is large", "PRAGMA quick_check would take long",
             "PRAGMA quick_check");
        return XONCE_OK;
    }
    st = xo_lite_exec(k->c, "PRAGMA quick_check(1)", on_text, k);
    if (st == XONCE_OK && strcmp(k->text, "ok") != 0)
        find_named(k, 3, "the file is damaged: %", "claims and effects can be lost", "stop what writes to it, then restore a backup", k->text);
    return st;
}

xonce_status xo_lite_check(xo_conn *conn, const xo_open_options *o, void (*fn)(const xonce_finding *f, void *arg),
                           void *arg)
{
    look k = {.c = (xo_lite *)conn, .fn = fn, .arg = arg};
    int read_only = sqlite3_db_readonly(k.c->db, "main") == 1;
    if (read_only)
        find(&k, 3,
             o->read_only ? "the database was opened read-only (mode=ro)" : "the database file cannot be written",
             "no message can be claimed", o->read_only ? "leave mode=ro out of the URI" : "chmod u+w, and the right to write to its folder");
    xonce_status st = look_at_table(&k);
    if (st == XONCE_OK)
        st = look_at_journal(&k);
    look_at_file_system(&k);
    if (st == XONCE_OK)
        st = look_at_integrity(&k);
    if (st == XONCE_OK)
        find(&k, 0, "SQLite ends no transaction by itself",
             "a process that is stopped while it writes stops every other writer of this file until it goes on or is "
             "killed",
             "");
    return st;
}
