/* Claims inside a transaction that you opened yourself: BEGIN, join, claim, your own SQL, leave, COMMIT, all on your sqlite3 handle. */
#include <stdio.h>
#include <xonce/sqlite.h>

static int run(sqlite3 *db, const char *sql)
{
    char *error = NULL;
    int rc = sqlite3_exec(db, sql, NULL, NULL, &error);
    if (rc != SQLITE_OK)
        fprintf(stderr, "%s: %s\n", sql, error ? error : sqlite3_errstr(rc));
    sqlite3_free(error);
    return rc == SQLITE_OK;
}

/* One transaction of ours, with the message's claim in it. 1: applied, 0: a duplicate, -1: failed, and rolled back. */
static int apply(xonce_store *store, sqlite3 *db, const xonce_message *m)
{
    xonce_tx *tx;
    xonce_outcome what = XONCE_DEFERRED;
    if (!run(db, "BEGIN IMMEDIATE"))
        return -1;
    if (xonce_join_sqlite(store, db, &tx) != XONCE_OK) {
        run(db, "ROLLBACK");
        return -1;
    }
    if (xonce_tx_claim(tx, &m, 1, &what) != XONCE_OK) {
        xonce_tx_rollback(tx); /* lets go; the transaction stays ours to end */
        run(db, "ROLLBACK");
        return -1;
    }
    if (xonce_tx_leave(tx) == XONCE_OK && (what != XONCE_FRESH || run(db, "UPDATE counter SET n = n + 1")) && run(db, "COMMIT"))
        return what == XONCE_FRESH;
    run(db, "ROLLBACK");
    return -1;
}

int main(void)
{
    static const char *const ids[] = {"J-1", "J-2", "J-1", "J-2", "J-3"};
    xonce_store *store = NULL;
    sqlite3 *db = NULL;
    int ok = sqlite3_open("join.db", &db) == SQLITE_OK && sqlite3_busy_timeout(db, 5000) == SQLITE_OK &&
             run(db, "CREATE TABLE IF NOT EXISTS counter (n INTEGER); INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter)") &&
             xonce_store_open(&store, "sqlite:join.db", "GID_join", NULL) == XONCE_OK && xonce_store_upgrade(store) == XONCE_OK;
    for (size_t i = 0; i < sizeof ids / sizeof *ids && ok; i++) {
        xonce_message *m;
        int applied = -1;
        if (xonce_message_new(&m, "counts", ids[i], "", 0) == XONCE_OK)
            applied = apply(store, db, m);
        xonce_message_free(m);
        ok = applied >= 0;
        if (ok)
            printf("%s: %s\n", ids[i], applied ? "applied" : "duplicate");
    }
    if (!ok)
        fprintf(stderr, "%s\n", xonce_error_last()->text);
    xonce_store_close(store);
    sqlite3_close(db);
    return !ok;
}
