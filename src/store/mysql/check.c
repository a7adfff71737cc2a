/* What `check` finds about a MySQL or MariaDB database: the record table, its keys and collation, rights, durability, settings. */
#include "store/mysql/impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PACKET_WANTED = 4 * 1024 * 1024 + 256 * 1024 };

typedef struct {
    xo_my *m;
    void (*fn)(const xonce_finding *f, void *arg);
    void *arg;
    int is_table, transactional, auto_increment_column;
    long long next_id;             /* AUTO_INCREMENT, 0: unknown */
    unsigned columns, ours;        /* bits of required[], our_columns[] */
    char key[68], first[68];       /* the index being read, and its first column */
    int key_unique, key_columns, key_whole, key_day; /* key_day: the last of them is store_day */
    int unique;                    /* a fit key on message_id was found */
    char ctime[68];                /* a key that begins with ctime */
    char one[128];                 /* answers of one value */
    int log_bin, read_only;
} look;

static const char *const required[] = {"consumer_group", "message_id", "topic_name", "ctime", "queue_id", "offset", "broker_name"};
static const char *const our_columns[] = {"store_time", "log_offset", "digest"};
enum { REQUIRED = sizeof required / sizeof *required, OURS = sizeof our_columns / sizeof *our_columns };

/* A finding; every % in what and sql stands for name. */
static void find(const look *k, int severity, const char *what, const char *why, const char *sql, const char *name)
{
    xo_buf b[2] = {{0}, {0}};
    const char *in[2] = {what, sql};
    for (int i = 0; i < 2; i++)
        for (const char *p = in[i]; *p; p++) {
            if (*p == '%')
                xo_buf_str(&b[i], name ? name : "");
            else
                xo_buf_char(&b[i], *p);
        }
    char *w = xo_buf_take(&b[0]), *q = xo_buf_take(&b[1]);
    if (w && q) {
        xonce_finding f = {.size = sizeof f, .severity = severity, .what = w, .why = why, .sql = q};
        k->fn(&f, k->arg);
    }
    free(w);
    free(q);
}

static const char *cell(const xonce_row *r, int i)
{
    return i < r->ncols && r->text[i] ? r->text[i] : "";
}

static xonce_status ask(look *k, const char *sql, xo_row_fn fn)
{
    return xo_my_text(k->m, sql, strlen(sql), fn, k, NULL);
}

static int on_one(const xonce_row *r, void *arg)
{
    look *k = arg;
    snprintf(k->one, sizeof k->one, "%.120s", cell(r, 0));
    return 0;
}

/* ---- the table ---- */

static int on_table(const xonce_row *r, void *arg)
{
    look *k = arg;
    k->is_table = strcmp(cell(r, 0), "BASE TABLE") == 0;
    k->transactional = strcasecmp(cell(r, 1), "InnoDB") == 0;
    k->next_id = strtoll(cell(r, 2), NULL, 10);
    snprintf(k->one, sizeof k->one, "%.60s", cell(r, 1));
    if (!k->is_table)
        find(k, 3, "transaction_record is a %, not a table", "it cannot hold claims", "give it another name, then run `xonce init`", cell(r, 0));
    else if (!k->transactional)
        find(k, 2, "the engine of transaction_record is %", "it has no transactions: a record stays although its effects were rolled back, and the message is lost",
             "ALTER TABLE transaction_record ENGINE=InnoDB", k->one);
    return 0;
}

static int ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), e = strlen(end);
    return n >= e && strcmp(s + n - e, end) == 0;
}

static void on_message_id(const look *k, const char *type, long length, const char *collation)
{
    static const char alter[] = "ALTER TABLE transaction_record MODIFY message_id VARBINARY(255) NOT NULL";
    if (strcasecmp(type, "varbinary") != 0 && !ends_with(collation, "_bin"))
        find(k, 2, "message_id compares by %, not byte by byte", "ids that differ only in case or accents count as one message: the second is lost", alter, *collation ? collation : type);
    else if (strcasecmp(type, "varbinary") != 0 && !ends_with(collation, "_nopad_bin") && !ends_with(collation, "_0900_bin"))
        find(k, 0, "message_id compares by %, which takes no notice of trailing blanks", "xonce writes no blanks into ids; other writers might", alter, collation);
    if (length > 0 && length < 255)
        find(k, 2, "message_id is shorter than 255", "a longer id is refused, and its message comes again for ever", alter, NULL);
}

static void needs_value(const look *k, const char *name, const char *type)
{
    char sql[400];
    snprintf(sql, sizeof sql, "ALTER TABLE transaction_record MODIFY `%%` %.250s NULL", type);
    find(k, 3, "the column % of transaction_record has no default", "every claim fails", sql, name);
}

/* Rows: name, type, length, collation, is_nullable, default, extra, the whole type. */
static int on_column(const xonce_row *r, void *arg)
{
    look *k = arg;
    const char *name = cell(r, 0), *extra = cell(r, 6);
    long length = strtol(cell(r, 2), NULL, 10);
    unsigned known = 0;
    for (unsigned i = 0; i < REQUIRED; i++)
        if (strcasecmp(name, required[i]) == 0)
            known = k->columns |= 1u << i;
    for (unsigned i = 0; i < OURS; i++)
        if (strcasecmp(name, our_columns[i]) == 0)
            known = k->ours |= 1u << i;
    if (strcasecmp(name, "message_id") == 0)
        on_message_id(k, cell(r, 1), length, cell(r, 3));
    else if (k->m->c.partitioned && strcasecmp(name, "store_day") == 0)
        ; /* claims fill it */
    else if (strcasecmp(name, "id") == 0)
        k->auto_increment_column = strcasestr(extra, "auto_increment") != NULL;
    else if (!known && strcmp(cell(r, 4), "NO") == 0 && !r->text[5] && !strcasestr(extra, "generated") && !strcasestr(extra, "auto_increment"))
        needs_value(k, name, cell(r, 7));
    if ((strcasecmp(name, "topic_name") == 0 && length < 255) || (strcasecmp(name, "consumer_group") == 0 && length < 128) || (strcasecmp(name, "broker_name") == 0 && length < 128))
        find(k, 1, "the column % of transaction_record is short", "a longer value makes its claim fail, and the message comes again for ever", "ALTER TABLE transaction_record MODIFY % VARCHAR(255) NOT NULL", name);
    return 0;
}

static void missing_columns(const look *k)
{
    for (unsigned i = 0; i < REQUIRED; i++)
        if (!(k->columns & 1u << i))
            find(k, 3, "transaction_record has no column %", "every claim fails", "see `xonce init --print` for the table as it should be", required[i]);
    for (unsigned i = 0; i < OURS; i++)
        if (!(k->ours & 1u << i))
            find(k, 1, "transaction_record has no column %", "another message under the same id is not told from a duplicate, and is skipped",
                 i == 2 ? "ALTER TABLE transaction_record ADD COLUMN % CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL" : "ALTER TABLE transaction_record ADD COLUMN % BIGINT NULL",
                 our_columns[i]);
    if (!k->auto_increment_column)
        find(k, 3, "transaction_record has no AUTO_INCREMENT column id", "claims fail, or pruning does", "ALTER TABLE transaction_record MODIFY id BIGINT NOT NULL AUTO_INCREMENT", NULL);
}

/* ---- keys ---- */

static void judge_key(look *k)
{
    if (!*k->key)
        return;
    if (strcasecmp(k->first, "ctime") == 0)
        memcpy(k->ctime, k->key, sizeof k->ctime);
    if (strcasecmp(k->key, "load_key") == 0)
        find(k, 1, "transaction_record has the index load_key", "it costs 10 to 40 % of a batch's speed and serves reports only", "DROP INDEX load_key ON transaction_record", NULL);
    if (!k->key_unique)
        return;
    if (k->key_columns == 1 && k->key_whole && strcasecmp(k->first, "message_id") == 0)
        k->unique = 1;
    else if (k->m->c.partitioned && k->key_columns == 2 && k->key_whole && k->key_day)
        k->unique |= strcasecmp(k->first, "message_id") == 0;
    else if (!(k->key_columns == 1 && strcasecmp(k->first, "id") == 0))
        find(k, 2, "transaction_record has another unique key, %", "a claim that it refuses is an error, and the message comes again for ever",
             strcmp(k->key, "PRIMARY") == 0 ? "" : "DROP INDEX `%` ON transaction_record", k->key);
}

/* Rows: index, non_unique, column, sub_part; ordered. */
static int on_key(const xonce_row *r, void *arg)
{
    look *k = arg;
    if (strcmp(k->key, cell(r, 0)) != 0) {
        judge_key(k);
        snprintf(k->key, sizeof k->key, "%.64s", cell(r, 0));
        snprintf(k->first, sizeof k->first, "%.64s", cell(r, 2));
        k->key_unique = strcmp(cell(r, 1), "0") == 0;
        k->key_columns = 0;
        k->key_whole = r->text[3] == NULL;
    }
    k->key_columns++;
    k->key_day = strcasecmp(cell(r, 2), "store_day") == 0;
    return 0;
}

static xonce_status look_at_keys(look *k)
{
    xonce_status st = ask(k, "SELECT index_name, non_unique, column_name, sub_part FROM information_schema.statistics WHERE table_schema = DATABASE() "
                             "AND table_name = 'transaction_record' ORDER BY index_name, seq_in_index", on_key);
    if (st != XONCE_OK)
        return st;
    judge_key(k);
    if (!k->unique)
        find(k, 3, "transaction_record has no unique key on message_id alone", "nothing would stop a second delivery",
             "ALTER TABLE transaction_record ADD UNIQUE KEY message_id_unique_key (message_id)", NULL);
    if (k->m->c.partitioned && !*k->ctime)
        find(k, 1, "no index of transaction_record begins with ctime", "every step of pruning reads the whole table", "ALTER TABLE transaction_record ADD KEY ctime_key (ctime)", NULL);
    if (!k->m->c.partitioned && *k->ctime)
        find(k, 0, "the key % of transaction_record begins with ctime", "xonce makes no use of it, and each claim pays for it", "ALTER TABLE transaction_record DROP KEY `%`", k->ctime);
    return st;
}

static int on_trigger(const xonce_row *r, void *arg)
{
    look *k = arg;
    find(k, 2, "transaction_record has a trigger, %", "a trigger can change or refuse a claim; such a message comes again for ever", "DROP TRIGGER `%`", cell(r, 0));
    return 0;
}

static xonce_status look_at_auto_increment(look *k)
{
    k->one[0] = 0;
    if (!k->auto_increment_column || k->next_id <= 0)
        return XONCE_OK;
    xonce_status st = ask(k, "SELECT MAX(id) FROM transaction_record", on_one);
    long long top = strtoll(k->one, NULL, 10);
    if (st == XONCE_OK && *k->one && top >= k->next_id) {
        snprintf(k->one, sizeof k->one, "%lld", top + 1);
        find(k, 3, "the AUTO_INCREMENT of transaction_record is behind its greatest id (next should be %)", "claims are refused for another reason than their id until it has caught up",
             "ALTER TABLE transaction_record AUTO_INCREMENT = %", k->one);
    }
    return xo_error_class() == XO_SQL_SETUP && st != XONCE_OK ? XONCE_OK : st; /* no right to read: told elsewhere */
}

static xonce_status look_at_table(look *k)
{
    if (!k->m->server_maria && k->m->version >= 80000) {
        xonce_status fresh = xo_my_do(k->m, "SET SESSION information_schema_stats_expiry = 0");
        if (fresh != XONCE_OK)
            return fresh;
    }
    xonce_status st = ask(k, "SELECT table_type, engine, auto_increment FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'transaction_record'", on_table);
    if (st != XONCE_OK)
        return st;
    if (!k->is_table) {
        if (!*k->one)
            find(k, 3, "the table transaction_record is missing in database %, or no right on it was granted", "no message can be claimed", "run `xonce init`, or the SQL of `xonce init --print`", k->m->db);
        return XONCE_OK;
    }
    st = ask(k, "SELECT column_name, data_type, character_maximum_length, collation_name, is_nullable, column_default, extra, column_type FROM information_schema.columns "
                "WHERE table_schema = DATABASE() AND table_name = 'transaction_record'", on_column);
    if (st != XONCE_OK)
        return st;
    missing_columns(k);
    st = look_at_keys(k);
    if (st == XONCE_OK)
        st = ask(k, "SELECT trigger_name FROM information_schema.triggers WHERE event_object_schema = DATABASE() AND event_object_table = 'transaction_record'", on_trigger);
    return st == XONCE_OK ? look_at_auto_increment(k) : st;
}

/* ---- rights ---- */

static xonce_status grantee(look *k)
{
    k->one[0] = 0;
    xonce_status st = ask(k, "SELECT CONCAT('''', REPLACE(SUBSTRING_INDEX(CURRENT_USER(), '@', 1), '''', ''''''), '''@''', SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '''')", on_one);
    return st;
}

/* Preparing checks the rights of a statement, and runs nothing. */
static xonce_status look_at_rights(look *k)
{
    static const struct {
        const char *table, *right, *sql;
        int severity;
    } need[] = {
        {"transaction_record", "SELECT", "SELECT message_id FROM transaction_record WHERE 1 = 0", 3},
        {"transaction_record", "INSERT", "INSERT INTO transaction_record (message_id) VALUES (?)", 3},
        {"transaction_record", "DELETE", "DELETE FROM transaction_record WHERE 1 = 0", 3},
        {"xonce_rejected", "INSERT", "INSERT INTO xonce_rejected (message_id) VALUES (?)", 3},
        {"xonce_rejected", "UPDATE", "UPDATE xonce_rejected SET replay_at = NULL WHERE 1 = 0", 1},
        {"xonce_rejected", "DELETE", "DELETE FROM xonce_rejected WHERE 1 = 0", 1},
        {"xonce_watermark", "INSERT", "INSERT INTO xonce_watermark (consumer_group) VALUES (?)", 1},
        {"xonce_watermark", "UPDATE", "UPDATE xonce_watermark SET updated_ms = 0 WHERE 1 = 0", 1},
    };
    xonce_status st = grantee(k);
    for (size_t i = 0; i < sizeof need / sizeof *need && st == XONCE_OK; i++) {
        MYSQL_STMT *s = mysql_stmt_init(k->m->my);
        if (!s)
            return xo_nomem();
        unsigned e = mysql_stmt_prepare(s, need[i].sql, (unsigned long)strlen(need[i].sql)) == 0 ? 0 : mysql_stmt_errno(s);
        if (e == 1142 || e == 1143 || e == 1044) {
            char what[120], sql[400];
            snprintf(what, sizeof what, "the right to %s %s is missing", need[i].right, need[i].table);
            snprintf(sql, sizeof sql, "GRANT %s ON `%.120s`.%s TO %.120s", need[i].right, k->m->db, need[i].table, k->one);
            xonce_finding f = {.size = sizeof f, .severity = need[i].severity, .what = what, .sql = sql,
                               .why = need[i].severity == 3 ? "messages cannot be claimed or rejected" : "replaying or pruning does not work"};
            k->fn(&f, k->arg);
        } else if (e && xo_my_classify(e, mysql_stmt_sqlstate(s)) == XO_SQL_LOST) {
            st = xo_my_fail_stmt(k->m, s, "rights");
        }
        mysql_stmt_close(s);
    }
    return st;
}

/* ---- the server ---- */

/* Rows: variable, value. */
static int on_variable(const xonce_row *r, void *arg)
{
    look *k = arg;
    const char *name = cell(r, 0), *v = cell(r, 1);
    int on = strcasecmp(v, "ON") == 0 || strcmp(v, "1") == 0;
    if (strcmp(name, "innodb_flush_log_at_trx_commit") == 0 && strcmp(v, "1") != 0)
        find(k, 2, "innodb_flush_log_at_trx_commit is %", "a crash of the server or a power cut takes commits that were acknowledged: their messages are lost", "SET GLOBAL innodb_flush_log_at_trx_commit = 1", v);
    else if (strcmp(name, "log_bin") == 0)
        k->log_bin = on;
    else if (strcmp(name, "sync_binlog") == 0 && k->log_bin && strcmp(v, "1") != 0)
        find(k, 2, "sync_binlog is %", "after a power cut, transactions that are missing in the binary log are rolled back although they were acknowledged", "SET GLOBAL sync_binlog = 1", v);
    else if (strcmp(name, "innodb_doublewrite") == 0 && (strcasecmp(v, "OFF") == 0 || strcmp(v, "0") == 0))
        find(k, 1, "innodb_doublewrite is off", "unless the file system writes pages as a whole, a power cut can damage the tables", "[mysqld] innodb_doublewrite = ON", NULL);
    else if (strcmp(name, "max_allowed_packet") == 0 && strtoll(v, NULL, 10) < PACKET_WANTED)
        find(k, 1, "max_allowed_packet is only %", "the largest messages (4 MiB) cannot be kept in xonce_rejected with their body", "SET GLOBAL max_allowed_packet = 16777216", v);
    else if ((strcmp(name, "read_only") == 0 || strcmp(name, "super_read_only") == 0) && strcasecmp(v, "OFF") != 0 && strcmp(v, "0") != 0)
        k->read_only = 1;
    return 0;
}

static xonce_status look_at_server(look *k)
{
    xonce_status st = ask(k, "SHOW GLOBAL VARIABLES WHERE variable_name IN ('innodb_flush_log_at_trx_commit', 'log_bin', 'sync_binlog', 'innodb_doublewrite', 'max_allowed_packet', "
                             "'read_only', 'super_read_only')", on_variable);
    if (st != XONCE_OK || !k->read_only)
        return st;
    if (xo_my_do(k->m, "DELETE FROM transaction_record WHERE 1 = 0") == XONCE_OK)
        return XONCE_OK; /* this user may write nevertheless */
    int native = xonce_error_last()->native;
    if (native == 1290 || native == 1836 || native == 1792)
        find(k, 3, "the server is read-only", "nothing can be claimed here: is it a replica?", "SET GLOBAL read_only = OFF", NULL);
    else if (xo_error_class() == XO_SQL_LOST)
        return xonce_error_last()->code;
    return XONCE_OK;
}

/* Rows: isolation, sql_mode, wait_timeout. What a proxy or init_connect may have undone. */
static int on_session(const xonce_row *r, void *arg)
{
    look *k = arg;
    if (strcmp(cell(r, 0), "READ-COMMITTED") != 0)
        find(k, 1, "the session's isolation level is %, although READ COMMITTED was asked for", "claims deadlock more often", "look for a proxy or init_connect that sets it", cell(r, 0));
    if (!strstr(cell(r, 1), "STRICT_ALL_TABLES"))
        find(k, 2, "the session's sql_mode is not strict", "values that do not fit are cut off without an error", "SET GLOBAL sql_mode = CONCAT(@@GLOBAL.sql_mode, ',STRICT_ALL_TABLES')", NULL);
    if (!k->m->server_maria && strtol(cell(r, 2), NULL, 10) > 3600)
        find(k, 0, "MySQL has no limit for an idle transaction; wait_timeout is % s", "a consumer process that was stopped (SIGSTOP, a suspended machine) holds its messages' ids so long",
             "SET GLOBAL wait_timeout = 1800", cell(r, 2));
    return 0;
}

static xonce_status look_at_session(look *k)
{
    const xo_my *m = k->m;
    int new_name = m->server_maria ? m->version >= 110100 : m->version >= 50720;
    xonce_status st = ask(k, new_name ? "SELECT @@SESSION.transaction_isolation, @@SESSION.sql_mode, @@SESSION.wait_timeout" : "SELECT @@SESSION.tx_isolation, @@SESSION.sql_mode, @@SESSION.wait_timeout", on_session);
    char version[32];
    snprintf(version, sizeof version, "%u.%u.%u", m->version / 10000, m->version / 100 % 100, m->version % 100);
    if (m->server_maria ? m->version < 100300 : m->version < 50700)
        find(k, 1, "the server is version %, which is not tested", "use MariaDB 10.5 or later, or MySQL 8.0 or later", "", version);
    else if (m->server_maria && m->version < 100500)
        find(k, 1, "MariaDB % has no INSERT ... RETURNING", "claims with duplicates among them take more round trips; 10.5 has it", "", version);
    return st;
}

xonce_status xo_my_check(xo_conn *c, const xo_open_options *o, void (*fn)(const xonce_finding *f, void *arg), void *arg)
{
    look k = {.m = (xo_my *)c, .fn = fn, .arg = arg};
    (void)o;
    xonce_status st = xo_my_ready(k.m);
    k.m->layout_known = 0;
    if (st == XONCE_OK)
        st = xo_my_know_layout(k.m);
    if (st == XONCE_OK)
        st = look_at_table(&k);
    if (st == XONCE_OK)
        st = look_at_rights(&k);
    if (st == XONCE_OK)
        st = look_at_server(&k);
    if (st == XONCE_OK)
        st = look_at_session(&k);
    if (!c->in_tx && !c->joined)
        xo_my_rollback(c);
    return st;
}
