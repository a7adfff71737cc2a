/* A transactional producer on RocketMQ: consumers get the message exactly if the local transaction commits, whoever dies in between. The database is the user's own, here SQLite. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <xonce/xonce.h>

/* outcome has a row for each half message, written in the transaction that it belongs to: checks are answered from it. There is one lamp to be sold. */
static const char setup[] = "CREATE TABLE IF NOT EXISTS outcome (uniq TEXT PRIMARY KEY, committed INTEGER);"
                            "CREATE TABLE IF NOT EXISTS stock (item TEXT PRIMARY KEY, n INTEGER CHECK (n >= 0)); REPLACE INTO stock VALUES ('lamp', 1)";

/* Runs one statement with one parameter. SQLITE_DONE, SQLITE_ROW when it gave a number that is not 0, or an error. */
static int run(sqlite3 *db, const char *sql, const char *value)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
    if (rc == SQLITE_OK && value)
        rc = sqlite3_bind_text(s, 1, value, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    if (rc == SQLITE_ROW && sqlite3_column_int(s, 0) == 0)
        rc = SQLITE_DONE;
    sqlite3_finalize(s);
    return rc;
}

/* sell and check run on different threads: each has a connection of its own. */
static sqlite3 *open_database(void)
{
    sqlite3 *db = NULL;
    if (sqlite3_open("sales.db", &db) == SQLITE_OK)
        sqlite3_busy_timeout(db, 5000);
    return db;
}

/* Called once a broker holds the half message. */
static xonce_transaction_state sell(const xonce_message *m, void *arg)
{
    xonce_transaction_state state = XONCE_TRANSACTION_ROLLBACK;
    if (run(arg, "BEGIN IMMEDIATE", NULL) == SQLITE_DONE && run(arg, "INSERT INTO outcome VALUES (?, 1)", xonce_message_property(m, "UNIQ_KEY")) == SQLITE_DONE &&
        run(arg, "UPDATE stock SET n = n - 1 WHERE item = ?", xonce_message_key(m)) == SQLITE_DONE)
        state = run(arg, "COMMIT", NULL) == SQLITE_DONE ? XONCE_TRANSACTION_COMMIT : XONCE_TRANSACTION_UNKNOWN;
    if (state == XONCE_TRANSACTION_ROLLBACK)
        run(arg, "ROLLBACK", NULL);
    printf("%s\n", state == XONCE_TRANSACTION_COMMIT ? "sold, and told" : "not sold, and not told");
    return state;
}

/* Called when a commit was lost, or its process died. A half message without a row gets one, so that its transaction cannot commit any more: only then it may be rolled back. */
static xonce_transaction_state check(const xonce_message *m, void *arg)
{
    const char *uniq = xonce_message_property(m, "UNIQ_KEY");
    int found = run(arg, "INSERT OR IGNORE INTO outcome VALUES (?, 0)", uniq);
    if (found == SQLITE_DONE)
        found = run(arg, "SELECT committed FROM outcome WHERE uniq = ?", uniq);
    return found == SQLITE_ROW ? XONCE_TRANSACTION_COMMIT : found == SQLITE_DONE ? XONCE_TRANSACTION_ROLLBACK : XONCE_TRANSACTION_UNKNOWN;
}

int main(void)
{
    const char *uri = getenv("XONCE_TEST_ROCKETMQ_URI");
    xonce_producer *p = NULL;
    sqlite3 *mine = open_database(), *checks = open_database();
    int ok = mine && checks && sqlite3_exec(mine, setup, NULL, NULL, NULL) == SQLITE_OK;
    if (!uri) {
        puts("# SKIP XONCE_TEST_ROCKETMQ_URI names no RocketMQ, rocketmq://NAMESERVER:9876, that makes topics by itself");
        return sqlite3_close(mine), sqlite3_close(checks), 77;
    }
    ok = ok && xonce_producer_open(&p, uri, NULL) == XONCE_OK && xonce_producer_on_check(p, "sales", "GID_sales", check, checks) == XONCE_OK;
    for (int i = 0; i < 2 && ok; i++) {
        xonce_message *m = NULL;
        ok = xonce_message_new(&m, "sales", NULL, "a lamp was sold", 15) == XONCE_OK && xonce_message_set_property(m, "KEYS", "lamp") == XONCE_OK &&
             xonce_producer_send_transaction(p, m, sell, mine, NULL) == XONCE_OK;
        xonce_message_free(m);
    }
    if (!ok)
        fprintf(stderr, "%s\n", xonce_error_last()->text);
    xonce_producer_close(p);
    return sqlite3_close(mine), sqlite3_close(checks), !ok;
}
