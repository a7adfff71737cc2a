/* The SQLite dialect by itself: opening, claims over two connections, guards, killed and stopped processes, joined
 * connections. */
#include "lite.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

static const char OTHER_DIGEST[] = "FEDCBA9876543210FEDCBA9876543210";

/* ---- opening ---- */

START_TEST(bad_uris)
{
    static const struct {
        const char *uri, *word;
    } bad[] = {{"sqlite:", "a file is needed"},
               {"sqlite::memory:", "memory"},
               {"sqlite://host/x.db", "names a host"},
               {"sqlite:/tmp/x.db?mode=rx", "mode=rx"},
               {"sqlite:/tmp/x.db?cache=shared", "cache"}};
    xo_conn *c = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(open_uri(&c, bad[i].uri, 100), XONCE_E_INVALID);
        ck_assert_ptr_null(c);
        ck_assert_msg(strstr(xonce_error_last()->text, bad[i].word) != NULL, "%s", xonce_error_last()->text);
    }
}
END_TEST

START_TEST(files_that_cannot_be_opened)
{
    char uri[400], path[400];
    xo_conn *c = NULL;
    snprintf(uri, sizeof uri, "sqlite:%s/none/a.db", dir);
    expect_class(open_uri(&c, uri, 100), XONCE_E_CONNECT, XO_SQL_SETUP, "unable to open");
    snprintf(uri, sizeof uri, "sqlite://%s/missing.db?mode=rw", dir);
    expect_class(open_uri(&c, uri, 100), XONCE_E_CONNECT, XO_SQL_SETUP, "unable to open");
    path_of(path, sizeof path, "text.db");
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    for (int i = 0; i < 200; i++)
        fputs("this is not a database\n", f);
    fclose(f);
    snprintf(uri, sizeof uri, "sqlite:%s/text.db", dir);
    expect_class(open_uri(&c, uri, 100), XONCE_E_CONNECT, XO_SQL_SETUP, "no SQLite database");
    ck_assert_ptr_null(c);
}
END_TEST

START_TEST(relative_and_odd_paths)
{
    static const char *const uris[] = {"sqlite:rel.db", "sqlite:file:x.db", "sqlite:with%20blank.db",
                                       "sqlite:a%3fb.db?mode=rwc"};
    static const char *const files[] = {"rel.db", "file:x.db", "with blank.db", "a?b.db"};
    char was[512], path[600];
    ck_assert_ptr_nonnull(getcwd(was, sizeof was));
    ck_assert_int_eq(chdir(dir), 0);
    for (size_t i = 0; i < sizeof uris / sizeof *uris; i++) {
        xo_conn *c = NULL;
        ck_assert_int_eq(open_uri(&c, uris[i], 100), XONCE_OK);
        d->close(c);
        path_of(path, sizeof path, files[i]);
        ck_assert_msg(access(path, F_OK) == 0, "%s", path);
    }
    ck_assert_int_eq(chdir(was), 0);
}
END_TEST

START_TEST(missing_table_is_named)
{
    xo_conn *c = open_db(100);
    xo_layout l = {.exists = 1};
    xo_claim r = row("m#g");
    ck_assert_int_eq(d->layout(c, &l), XONCE_OK);
    ck_assert_int_eq(l.exists, 0);
    begin(c);
    expect_class(d->claim(c, "g", &r, 1, NULL), XONCE_E_SCHEMA, XO_SQL_SETUP, "transaction_record");
    d->rollback(c);
    raw(OUR_TABLE); /* made meanwhile: the same connection goes on */
    begin(c);
    ck_assert_int_eq(claim(c, "g", "m#g"), 1);
    ck_assert_int_eq(commit(c), XONCE_OK);
    d->close(c);
}
END_TEST

START_TEST(read_only)
{
    char uri[400];
    xo_conn *c = NULL;
    xo_claim r = row("m#g");
    raw("PRAGMA journal_mode=WAL;" OUR_TABLE);
    snprintf(uri, sizeof uri, "sqlite:%s/a.db?mode=ro", dir);
    ck_assert_msg(open_uri(&c, uri, 100) == XONCE_OK, "%s", xonce_error_last()->text);
    xonce_status st = d->begin(c);
    if (st == XONCE_OK)
        st = d->claim(c, "g", &r, 1, NULL);
    expect_class(st, XONCE_E_AUTH, XO_SQL_SETUP, "the database is read-only");
    d->rollback(c);
    d->close(c);
}
END_TEST

START_TEST(database_time)
{
    raw(OUR_TABLE);
    char sql[300];
    snprintf(sql, sizeof sql, "SELECT %s", d->sql_now);
    for (int i = 0; i < 50; i++) {
        int64_t a = xo_now_ms(), now = number(sql), b = xo_now_ms();
        ck_assert_int_ge(now, a);
        ck_assert_int_le(now, b);
    }
}
END_TEST

/* ---- claims ---- */

START_TEST(claims_and_duplicates)
{
    raw(OUR_TABLE);
    xo_conn *c = open_db(100);
    xo_claim rows[3] = {row("a#g"), row("b#g"), row("c#g")};
    int64_t now = 0;
    begin(c);
    ck_assert_int_eq(d->claim(c, "g", rows, 3, &now), XONCE_OK);
    ck_assert(rows[0].fresh && rows[1].fresh && rows[2].fresh);
    ck_assert_int_lt(llabs(now - xo_now_ms()), 60000);
    ck_assert_int_eq(commit(c), XONCE_OK);
    ck_assert_int_eq(c->in_tx, 0);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record WHERE store_time = 5 AND log_offset IS NULL AND "
                            "queue_id = 3 AND \"offset\" = 7 AND typeof(message_id) = 'text'"),
                     3);
    begin(c);
    xo_claim again[3] = {row("a#g"), row("aa#g"), row("c#g")};
    again[0].digest = again[2].digest = OTHER_DIGEST;
    ck_assert_int_eq(d->claim(c, "g", again, 3, NULL), XONCE_OK);
    ck_assert(!again[0].fresh && again[1].fresh && !again[2].fresh);
    ck_assert_int_eq(d->read_back(c, "g", again, 3), XONCE_OK);
    ck_assert(again[0].found && again[2].found);
    ck_assert_str_eq(again[0].found_digest, DIGEST);
    ck_assert_str_eq(again[2].found_topic, "orders");
    d->rollback(c);
    ck_assert_int_eq(c->in_tx, 0);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), 3);
    /* refused, but by another group's row: not ours, not a duplicate */
    begin(c);
    ck_assert_int_eq(claim(c, "h", "a#g"), -1);
    ck_assert_int_eq(claim(c, "g", "A#g"), 1);
    ck_assert_int_eq(claim(c, "g", "a#g "), 1);
    ck_assert_int_eq(claim(c, "g", "\xc3\xa1#g"), 1);
    ck_assert_int_eq(commit(c), XONCE_OK);
    d->close(c);
}
END_TEST

/* n claims with the ids from first on, sorted. A second time those that are there already are the refused ones. */
static void claim_many(xo_conn *c, int first, int n, const char *fresh)
{
    static char key[64][24];
    xo_claim rows[64];
    for (int i = 0; i < n; i++) {
        snprintf(key[i], sizeof key[i], "k%03d#g", first + i);
        rows[i] = row(key[i]);
        rows[i].offset = first + i;
    }
    begin(c);
    ck_assert_msg(d->claim(c, "g", rows, (size_t)n, NULL) == XONCE_OK, "%s", xonce_error_last()->text);
    for (int i = 0; i < n; i++)
        ck_assert_msg(rows[i].fresh == (fresh[i] == 'F'), "row %d of %s", i, fresh);
    ck_assert_int_eq(commit(c), XONCE_OK);
}

/* Many rows go by one statement: which of them were refused is told all the same, whichever kind of table it is. */
START_TEST(many_claims)
{
    static const char *const tables[] = {
        OUR_TABLE,
        "CREATE TABLE transaction_record (consumer_group TEXT, message_id TEXT UNIQUE, topic_name TEXT, ctime BIGINT, queue_id INT, \"offset\" BIGINT, broker_name TEXT, id INTEGER PRIMARY KEY);"
        "CREATE TABLE t (a)",
        "CREATE TABLE transaction_record (consumer_group TEXT, message_id TEXT PRIMARY KEY, topic_name TEXT, ctime BIGINT, queue_id INT, \"offset\" BIGINT, broker_name TEXT) WITHOUT ROWID;"
        "CREATE TABLE t (a)",
        OUR_TABLE "INSERT INTO transaction_record VALUES ('g', 'last', 't', 1, 0, 0, '', 9223372036854775807, NULL, NULL, NULL);",
        OUR_TABLE "CREATE TRIGGER tr AFTER INSERT ON transaction_record BEGIN INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); END;",
    };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        raw("DROP TABLE IF EXISTS transaction_record; DROP TABLE IF EXISTS t");
        raw(tables[i]);
        int64_t before = number("SELECT count(*) FROM transaction_record");
        xo_conn *c = open_db(100);
        claim_many(c, 0, 20, "FFFFFFFFFFFFFFFFFFFF");
        claim_many(c, 12, 20, "........FFFFFFFFFFFF");
        claim_many(c, 30, 24, "..FFFFFFFFFFFFFFFFFFFFFF");
        raw("DELETE FROM transaction_record WHERE message_id IN ('k007#g', 'k009#g', 'k053#g')");
        claim_many(c, 0, 40, ".......F.F..............................");
        claim_many(c, 50, 9, "...FFFFFF");
        ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), before + 59);
        ck_assert_int_eq(number("SELECT count(*) FROM transaction_record WHERE message_id = 'k' || substr('000' || \"offset\", -3) || '#g' AND queue_id = 3 AND topic_name = 'orders'"), 59);
        d->close(c);
    }
}
END_TEST

START_TEST(many_claims_under_a_folding_key)
{
    raw("CREATE TABLE transaction_record (consumer_group TEXT, message_id TEXT COLLATE NOCASE UNIQUE, topic_name TEXT, ctime BIGINT, queue_id INT, \"offset\" BIGINT, broker_name TEXT, id INTEGER PRIMARY KEY)");
    xo_conn *c = open_db(100);
    xo_claim rows[] = {row("A"), row("B"), row("C"), row("a"), row("d"), row("e"), row("f"), row("g")};
    begin(c);
    ck_assert_int_eq(d->claim(c, "g", rows, 8, NULL), XONCE_OK);
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(rows[i].fresh, i != 3);
    d->rollback(c);
    d->close(c);
}
END_TEST

START_TEST(vendor_table)
{
    raw("CREATE TABLE Transaction_Record (consumer_group TEXT, message_id VARCHAR(255) UNIQUE, topic_name TEXT, ctime "
        "BIGINT, queue_id INT, \"offset\" BIGINT, broker_name TEXT, id INTEGER PRIMARY KEY)");
    xo_conn *c = open_db(100);
    xo_layout l;
    ck_assert_int_eq(d->layout(c, &l), XONCE_OK);
    ck_assert(l.exists && !l.has_ours);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "a#g"), 1);
    ck_assert_int_eq(claim(c, "g", "a#g"), 0);
    ck_assert_int_eq(commit(c), XONCE_OK);
    raw("ALTER TABLE transaction_record ADD COLUMN store_time BIGINT; ALTER TABLE transaction_record ADD COLUMN "
        "log_offset BIGINT; ALTER TABLE transaction_record ADD COLUMN digest CHAR(32)");
    ck_assert_int_eq(d->layout(c, &l), XONCE_OK);
    ck_assert_int_eq(l.has_ours, 1);
    begin(c);
    xo_claim r = row("a#g");
    ck_assert_int_eq(d->claim(c, "g", &r, 1, NULL), XONCE_OK);
    ck_assert_int_eq(d->read_back(c, "g", &r, 1), XONCE_OK);
    ck_assert(!r.fresh && r.found);
    ck_assert_str_eq(r.found_digest, ""); /* recorded before the column was there */
    ck_assert_int_eq(claim(c, "g", "b#g"), 1);
    ck_assert_int_eq(commit(c), XONCE_OK);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record WHERE digest IS NOT NULL"), 1);
    d->close(c);
}
END_TEST

/* What a case-folding key refuses is not the same message. */
START_TEST(folding_key_is_no_duplicate)
{
    raw("CREATE TABLE transaction_record (consumer_group TEXT, message_id TEXT COLLATE NOCASE UNIQUE, topic_name TEXT, "
        "ctime BIGINT, queue_id INT, \"offset\" BIGINT, broker_name TEXT, id INTEGER PRIMARY KEY)");
    xo_conn *c = open_db(100);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "order-Ab#g"), 1);
    ck_assert_int_eq(claim(c, "g", "order-aB#g"), -1);
    ck_assert_int_eq(claim(c, "g", "order-Ab#g"), 0);
    d->rollback(c);
    d->close(c);
}
END_TEST

START_TEST(trigger_that_swallows_or_fails)
{
    raw(OUR_TABLE "CREATE TRIGGER x BEFORE INSERT ON transaction_record WHEN new.message_id = 'a#g' BEGIN SELECT "
                  "RAISE(IGNORE); END;"
                  "CREATE TRIGGER y BEFORE INSERT ON transaction_record WHEN new.message_id = 'b#g' BEGIN SELECT "
                  "RAISE(ABORT, 'not this one'); END;");
    xo_conn *c = open_db(100);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "a#g"), -1);
    xo_claim r = row("b#g");
    ck_assert_int_eq(d->claim(c, "g", &r, 1, NULL), XONCE_E_SQL);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "not this one"));
    d->rollback(c);
    d->close(c);
}
END_TEST

typedef struct {
    xo_conn *c;
    int claimed;
    xonce_status status;
    xo_sql_class cls;
} other;

static void *claim_elsewhere(void *arg)
{
    other *o = arg;
    xo_claim r = row("m#g");
    o->status = d->begin(o->c);
    if (o->status == XONCE_OK)
        o->status = d->claim(o->c, "g", &r, 1, NULL);
    o->cls = o->status == XONCE_OK ? XO_SQL_NONE : xo_error_class();
    o->claimed = r.fresh;
    if (o->status == XONCE_OK)
        o->status = commit(o->c);
    d->rollback(o->c);
    return NULL;
}

static void two_copies(int first_commits)
{
    xo_conn *a = open_db(5000);
    other o = {.c = open_db(5000)};
    pthread_t t;
    begin(a);
    ck_assert_int_eq(claim(a, "g", "m#g"), 1);
    ck_assert_int_eq(pthread_create(&t, NULL, claim_elsewhere, &o), 0);
    xo_pause_ms(100); /* it waits by now, as a rule; what comes of it is the same */
    if (first_commits)
        ck_assert_int_eq(commit(a), XONCE_OK);
    else
        d->rollback(a);
    pthread_join(t, NULL);
    ck_assert_int_eq(o.status, XONCE_OK);
    ck_assert_int_eq(o.claimed, !first_commits);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), 1);
    d->close(o.c);
    d->close(a);
}

START_TEST(second_copy_waits_for_a_commit)
{
    raw(OUR_TABLE);
    two_copies(1);
}
END_TEST

START_TEST(second_copy_waits_for_a_rollback)
{
    raw(OUR_TABLE);
    two_copies(0);
}
END_TEST

START_TEST(waiting_is_bounded)
{
    raw(OUR_TABLE);
    xo_conn *a = open_db(100), *b = open_db(150);
    begin(a);
    int64_t start = xo_mono_ms();
    expect_class(d->begin(b), XONCE_E_CONFLICT, XO_SQL_AGAIN, "lock-timeout");
    ck_assert_int_ge(xo_mono_ms() - start, 100);
    ck_assert_int_eq(xonce_error_last()->again, 1);
    ck_assert_int_eq(b->in_tx, 0);
    d->rollback(a);
    begin(b);
    d->rollback(b);
    d->close(a);
    d->close(b);
}
END_TEST

/* ---- guards ---- */

static int handle_exec(xo_conn *c, const char *sql)
{
    sqlite3 *db = d->native(c);
    ck_assert_ptr_nonnull(db);
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* item: as a message of a batch. unhook: a handler that even set a commit hook of its own. */
static void escape(const char *sql, int item, int unhook, int found)
{
    xo_conn *c = open_db(100);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "m#g"), 1);
    if (item)
        ck_assert_int_eq(d->savepoint(c, XO_SAVE), XONCE_OK);
    sqlite3 *db = d->native(c);
    ck_assert_ptr_nonnull(db);
    ck_assert_int_eq(c->lent, 1);
    if (unhook) {
        sqlite3_commit_hook(db, NULL, NULL);
        sqlite3_rollback_hook(db, NULL, NULL);
    }
    sqlite3_exec(db, "INSERT INTO t VALUES (1)", NULL, NULL, NULL);
    char steps[120], *rest = NULL;
    snprintf(steps, sizeof steps, "%s", sql);
    for (char *one = strtok_r(steps, "|", &rest); one; one = strtok_r(NULL, "|", &rest))
        sqlite3_exec(db, one, NULL, NULL, NULL);
    xonce_status st = d->after_lent(c);
    if (st == XONCE_OK && item)
        st = d->savepoint(c, XO_RELEASE);
    if (st == XONCE_OK)
        st = commit(c);
    ck_assert_msg(st == XONCE_E_TX_LOST, "%s: %d", sql, (int)st);
    ck_assert_int_eq(c->escaped, 1);
    d->rollback(c);
    ck_assert_int_eq(c->escaped, 0);
    ck_assert_int_eq(number("SELECT count(*) FROM t"), found);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), found);
    d->close(c);
    raw("DELETE FROM t; DELETE FROM transaction_record");
}

START_TEST(handler_ends_the_transaction)
{
    static const char *const ways[] = {"COMMIT",
                                       "COMMIT|BEGIN",
                                       "COMMIT|BEGIN IMMEDIATE|INSERT INTO t VALUES (2)",
                                       "COMMIT|INSERT INTO t VALUES (2)",
                                       "END",
                                       "ROLLBACK",
                                       "ROLLBACK|BEGIN IMMEDIATE|INSERT INTO t VALUES (2)",
                                       "ROLLBACK|INSERT INTO t VALUES (3)",
                                       "RELEASE xonce_guard|COMMIT",
                                       "ROLLBACK|BEGIN IMMEDIATE|SAVEPOINT xonce_guard"};
    raw(OUR_TABLE);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        escape(ways[i], 0, 0, 0);
        escape(ways[i], 1, 0, 0);
    }
    /* without our hook the guard still tells, after the fact: the record and half the work are there */
    escape("COMMIT|BEGIN IMMEDIATE", 0, 1, 1);
    escape("COMMIT|BEGIN IMMEDIATE", 1, 1, 1);
    escape("COMMIT", 0, 1, 1);
}
END_TEST

START_TEST(refused_commit_says_so)
{
    raw(OUR_TABLE);
    xo_conn *c = open_db(100);
    begin(c);
    ck_assert_int_eq(handle_exec(c, "INSERT INTO t VALUES (1)"), SQLITE_OK);
    ck_assert_int_eq(handle_exec(c, "COMMIT") & 0xff, SQLITE_CONSTRAINT);
    ck_assert_int_eq(d->after_lent(c), XONCE_E_TX_LOST);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "COMMIT"));
    ck_assert_ptr_null(d->native(c));
    d->rollback(c);
    begin(c); /* and the connection is good again */
    ck_assert_int_eq(handle_exec(c, "INSERT INTO t VALUES (2)"), SQLITE_OK);
    ck_assert_int_eq(d->after_lent(c), XONCE_OK);
    ck_assert_int_eq(commit(c), XONCE_OK);
    ck_assert_int_eq(number("SELECT sum(a) FROM t"), 2);
    d->close(c);
}
END_TEST

/* A statement through the library after the handler's own COMMIT would commit by itself: it must not run. */
START_TEST(nothing_runs_after_an_escape)
{
    raw(OUR_TABLE);
    xo_conn *c = open_db(100);
    xo_claim r = row("n#g");
    begin(c);
    ck_assert_int_eq(claim(c, "g", "m#g"), 1);
    handle_exec(c, "COMMIT");
    ck_assert_int_eq(run(c, "INSERT INTO t VALUES (1)"), XONCE_E_TX_LOST);
    ck_assert_int_eq(run(c, "SELECT 1"), XONCE_E_TX_LOST);
    ck_assert_int_eq(d->claim(c, "g", &r, 1, NULL), XONCE_E_TX_LOST);
    d->rollback(c);
    ck_assert_int_eq(number("SELECT count(*) FROM t") + number("SELECT count(*) FROM transaction_record"), 0);
    d->close(c);
}
END_TEST

/* The commit would succeed, in a file that nobody can see any more. */
START_TEST(file_deleted_or_replaced)
{
    char path[400], away[400];
    raw("PRAGMA journal_mode=WAL;" OUR_TABLE);
    path_of(path, sizeof path, "a.db");
    path_of(away, sizeof away, "b.db");
    for (int replaced = 0; replaced < 2; replaced++) {
        xo_conn *c = open_db(100), *idle = open_db(100);
        begin(c);
        ck_assert_int_eq(claim(c, "g", "m#g"), 1);
        ck_assert_int_eq(rename(path, away), 0);
        if (replaced) {
            sqlite3 *db = raw_open("a.db");
            ck_assert_int_eq(sqlite3_exec(db, "CREATE TABLE x (a)", NULL, NULL, NULL), SQLITE_OK);
            sqlite3_close(db);
        }
        expect_class(commit(c), XONCE_E_CONNECT, XO_SQL_LOST, "while it was open");
        ck_assert_int_eq(c->lost, 1);
        expect_class(d->begin(idle), XONCE_E_CONNECT, XO_SQL_LOST, "while it was open");
        d->rollback(c);
        d->close(c);
        d->close(idle);
        ck_assert_int_eq(rename(away, path), 0);
        ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), 0);
    }
}
END_TEST

START_TEST(savepoints_of_messages)
{
    raw(OUR_TABLE);
    xo_conn *c = open_db(100);
    begin(c);
    for (int i = 1; i <= 6; i++) {
        char sql[60];
        snprintf(sql, sizeof sql, "INSERT INTO t VALUES (%d)", i);
        ck_assert_int_eq(d->savepoint(c, XO_SAVE), XONCE_OK);
        if (i % 2)
            ck_assert_int_eq(handle_exec(c, sql), SQLITE_OK);
        else
            ck_assert_int_eq(run(c, sql), XONCE_OK);
        ck_assert_int_eq(run(c, "SAVEPOINT mine"), XONCE_OK);
        ck_assert_int_eq(run(c, "ROLLBACK TO mine"), XONCE_OK);
        ck_assert_int_eq(d->after_lent(c), XONCE_OK);
        if (i > 3)
            ck_assert_int_eq(d->savepoint(c, XO_ROLLBACK_TO), XONCE_OK);
        if (i != 5) /* may be released after it was rolled back to, or not */
            ck_assert_int_eq(d->savepoint(c, XO_RELEASE), XONCE_OK);
    }
    ck_assert_int_eq(handle_exec(c, "INSERT INTO t VALUES (10)"), SQLITE_OK);
    ck_assert_int_eq(commit(c), XONCE_OK);
    ck_assert_int_eq(number("SELECT sum(a) FROM t"), 16);
    d->close(c);
}
END_TEST

/* OR ROLLBACK takes the whole transaction: it must not look as if only its message failed. */
START_TEST(or_rollback)
{
    raw(OUR_TABLE "CREATE TABLE u (a UNIQUE); INSERT INTO u VALUES (1);");
    xo_conn *c = open_db(100);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "m#g"), 1);
    ck_assert_int_eq(d->savepoint(c, XO_SAVE), XONCE_OK);
    expect_class(run(c, "INSERT OR ROLLBACK INTO u VALUES (1)"), XONCE_E_SQL, XO_SQL_DATA, "UNIQUE");
    ck_assert_int_eq(d->savepoint(c, XO_ROLLBACK_TO), XONCE_E_TX_LOST);
    ck_assert_int_eq(commit(c), XONCE_E_TX_LOST);
    d->rollback(c);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), 0);
    d->close(c);
}
END_TEST

/* A SELECT left open by a handler would keep its snapshot: the next transaction must still begin. */
START_TEST(stray_select)
{
    raw(OUR_TABLE "INSERT INTO t VALUES (1), (2), (3);");
    xo_conn *c = open_db(200);
    sqlite3_stmt *s = NULL;
    begin(c);
    ck_assert_int_eq(sqlite3_prepare_v2(d->native(c), "SELECT a FROM t", -1, &s, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
    ck_assert_int_eq(commit(c), XONCE_OK);
    raw("INSERT INTO t VALUES (4)");
    begin(c);
    ck_assert_int_eq(run(c, "INSERT INTO t VALUES (5)"), XONCE_OK);
    ck_assert_int_eq(commit(c), XONCE_OK);
    sqlite3_finalize(s);
    d->close(c);
    ck_assert_int_eq(number("SELECT sum(a) FROM t"), 15);
}
END_TEST

START_TEST(lost_answer_to_commit)
{
    raw(OUR_TABLE);
    xo_conn *c = open_db(100);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "m#g"), 1);
    ck_assert_int_eq(xo_failpoints_load("commit-sent=error@1"), XONCE_OK);
    expect_class(commit(c), XONCE_E_UNKNOWN_COMMIT, XO_SQL_LOST, "COMMIT");
    ck_assert_int_eq(c->lost, 1);
    ck_assert_int_eq(d->usable(c), 0);
    d->close(c);
    c = open_db(100);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "m#g"), 0);
    d->rollback(c);
    d->close(c);
}
END_TEST

/* ---- other processes ---- */

/* A child that claims and inserts, reports through a pipe, and waits to be killed. */
static pid_t child_at(int committed, int *ready)
{
    int p[2];
    ck_assert_int_eq(pipe(p), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        xo_conn *c = open_db(1000);
        begin(c);
        ck_assert_int_eq(claim(c, "g", "m#g"), 1);
        ck_assert_int_eq(run(c, "INSERT INTO t VALUES (1)"), XONCE_OK);
        if (committed)
            ck_assert_int_eq(commit(c), XONCE_OK);
        ck_assert_int_eq(write(p[1], "x", 1), 1);
        for (;;)
            pause();
    }
    close(p[1]);
    *ready = p[0];
    return pid;
}

static void kill_child(int committed)
{
    int ready, status;
    char x;
    raw(OUR_TABLE);
    pid_t pid = child_at(committed, &ready);
    ck_assert_int_eq(read(ready, &x, 1), 1);
    close(ready);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    xo_conn *c = open_db(1000);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "m#g"), !committed);
    d->rollback(c);
    d->close(c);
    ck_assert_int_eq(number("SELECT count(*) FROM t"), committed);
}

START_TEST(killed_before_commit)
{
    kill_child(0);
}
END_TEST

START_TEST(killed_after_commit)
{
    kill_child(1);
}
END_TEST

START_TEST(stopped_holder)
{
    int ready, status;
    char x;
    raw(OUR_TABLE);
    pid_t pid = child_at(0, &ready);
    ck_assert_int_eq(read(ready, &x, 1), 1);
    close(ready);
    kill(pid, SIGSTOP);
    xo_conn *c = open_db(200);
    expect_class(d->begin(c), XONCE_E_CONFLICT, XO_SQL_AGAIN, "locked");
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "m#g"), 1);
    ck_assert_int_eq(commit(c), XONCE_OK);
    d->close(c);
}
END_TEST

/* ---- a user's own connection ---- */

static xonce_status wrap(xo_conn **c, sqlite3 *db)
{
    char uri[400];
    xo_open_options o = {.lock_ms = 100};
    snprintf(uri, sizeof uri, "sqlite:%s/a.db", dir);
    ck_assert_int_eq(xo_uri_parse(&o.uri, uri), XONCE_OK);
    xonce_status st = d->wrap(c, db, &o);
    xo_uri_free(&o.uri);
    return st;
}

static void join(sqlite3 *db, int expect, const char *end)
{
    xo_conn *c = NULL;
    ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_msg(wrap(&c, db) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_eq(c->joined, 1);
    ck_assert_int_eq(claim(c, "g", "m#g"), expect);
    ck_assert_int_eq(run(c, "INSERT INTO t VALUES (1)"), XONCE_OK);
    ck_assert_ptr_eq(d->native(c), db);
    d->rollback(c); /* of a joined one: nothing */
    d->close(c);
    ck_assert_int_eq(sqlite3_get_autocommit(db), 0);
    ck_assert_int_eq(sqlite3_exec(db, end, NULL, NULL, NULL), SQLITE_OK);
}

START_TEST(joining)
{
    raw(OUR_TABLE);
    sqlite3 *db = raw_open("a.db");
    join(db, 1, "ROLLBACK");
    join(db, 1, "COMMIT");
    join(db, 0, "ROLLBACK");
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), 1);
    ck_assert_int_eq(number("SELECT count(*) FROM t"), 1);
    sqlite3_close(db);
}
END_TEST

START_TEST(joining_what_does_not_fit)
{
    xo_conn *c = NULL;
    raw(OUR_TABLE);
    sqlite3 *db = raw_open("a.db"), *else_where = raw_open("b.db"), *memory = NULL;
    ck_assert_int_eq(wrap(&c, db), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "BEGIN IMMEDIATE"));
    sqlite3_exec(else_where, "BEGIN", NULL, NULL, NULL);
    ck_assert_int_eq(wrap(&c, else_where), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "the store on"));
    ck_assert_int_eq(sqlite3_open(":memory:", &memory), SQLITE_OK);
    sqlite3_exec(memory, "BEGIN", NULL, NULL, NULL);
    ck_assert_int_eq(wrap(&c, memory), XONCE_E_INVALID);
    ck_assert_ptr_null(c);
    sqlite3_close(db);
    sqlite3_close(else_where);
    sqlite3_close(memory);
}
END_TEST

/* BEGIN without IMMEDIATE and an older snapshot: SQLite says so at once, and the transaction must be begun again. */
START_TEST(joining_an_old_snapshot)
{
    xo_conn *c = NULL;
    raw("PRAGMA journal_mode=WAL;" OUR_TABLE);
    sqlite3 *db = raw_open("a.db");
    sqlite3_exec(db, "BEGIN; SELECT count(*) FROM t", NULL, NULL, NULL);
    raw("INSERT INTO t VALUES (1)");
    ck_assert_int_eq(wrap(&c, db), XONCE_OK);
    xo_claim r = row("m#g");
    expect_class(d->claim(c, "g", &r, 1, NULL), XONCE_E_CONFLICT, XO_SQL_AGAIN, "begin again");
    d->close(c);
    sqlite3_close(db);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        bad_uris,
        files_that_cannot_be_opened,
        relative_and_odd_paths,
        missing_table_is_named,
        read_only,
        database_time,
        claims_and_duplicates,
        many_claims,
        many_claims_under_a_folding_key,
        vendor_table,
        folding_key_is_no_duplicate,
        trigger_that_swallows_or_fails,
        second_copy_waits_for_a_commit,
        second_copy_waits_for_a_rollback,
        waiting_is_bounded,
        handler_ends_the_transaction,
        refused_commit_says_so,
        nothing_runs_after_an_escape,
        file_deleted_or_replaced,
        savepoints_of_messages,
        or_rollback,
        stray_select,
        lost_answer_to_commit,
        killed_before_commit,
        killed_after_commit,
        stopped_holder,
        joining,
        joining_what_does_not_fit,
        joining_an_old_snapshot,
    };
    return run_suite("dialect sqlite", tests, sizeof tests / sizeof *tests);
}
