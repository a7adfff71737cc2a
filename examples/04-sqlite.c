/* SQLite's own interface inside a handler: the transaction's sqlite3 handle, prepared statements and a savepoint of the handler's own. */
#include <stdio.h>
#include <xonce/sqlite.h>

static int take_one(sqlite3 *db, const char *sku)
{
    sqlite3_stmt *s;
    int rc = sqlite3_prepare_v2(db, "UPDATE stock SET n = n - 1 WHERE sku = ?1", -1, &s, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_text(s, 1, sku, -1, SQLITE_TRANSIENT);
        sqlite3_step(s);
        rc = sqlite3_finalize(s);
    }
    return rc & 0xff;
}

/* Takes one piece out of stock, or notes a back order when there is none left. */
static xonce_verdict take(xonce_tx *tx, const xonce_message *m, void *arg)
{
    const char *sku = xonce_message_key(m);
    sqlite3 *db = xonce_tx_sqlite(tx);
    int rc;
    (void)arg;
    if (!db || sqlite3_exec(db, "SAVEPOINT take", NULL, NULL, NULL) != SQLITE_OK)
        return XONCE_RETRY;
    if ((rc = take_one(db, sku)) == SQLITE_CONSTRAINT) { /* CHECK (n >= 0): undo this part only */
        sqlite3_exec(db, "ROLLBACK TO take", NULL, NULL, NULL);
        rc = SQLITE_OK;
        if (xonce_exec(tx, "INSERT INTO back_orders (id, sku) VALUES ($1, $2)", xonce_text(xonce_message_id(m)), xonce_text(sku)) != XONCE_OK)
            return XONCE_RETRY;
    }
    if (rc != SQLITE_OK || sqlite3_exec(db, "RELEASE take", NULL, NULL, NULL) != SQLITE_OK) {
        xonce_fail(tx, "%s", sqlite3_errmsg(db));
        return XONCE_RETRY;
    }
    return XONCE_DONE;
}

int main(void)
{
    static const char *const ids[] = {"T-1", "T-2", "T-1", "T-3"}, *const said[] = {"applied", "duplicate", "rejected", "put off"};
    static const char setup[] = "CREATE TABLE IF NOT EXISTS stock (sku TEXT PRIMARY KEY, n INTEGER CHECK (n >= 0)); CREATE TABLE IF NOT EXISTS back_orders (id TEXT, sku TEXT);"
                                "INSERT OR IGNORE INTO stock VALUES ('bolt', 2);";
    xonce_store *store = NULL;
    sqlite3 *db = NULL;
    xonce_status st = XONCE_E_SQL;
    if (sqlite3_open("stock.db", &db) == SQLITE_OK && sqlite3_exec(db, setup, NULL, NULL, NULL) == SQLITE_OK)
        st = xonce_store_open(&store, "sqlite:stock.db", "GID_stock", NULL);
    sqlite3_close(db);
    if (st == XONCE_OK)
        st = xonce_store_upgrade(store);
    for (size_t i = 0; i < sizeof ids / sizeof *ids && st == XONCE_OK; i++) {
        xonce_message *m;
        xonce_outcome what;
        if ((st = xonce_message_new(&m, "orders", ids[i], "1", 1)) == XONCE_OK && (st = xonce_message_set_property(m, "KEYS", "bolt")) == XONCE_OK)
            st = xonce_once(store, m, take, NULL, &what);
        if (st == XONCE_OK)
            printf("%s: %s\n", ids[i], said[what]);
        xonce_message_free(m);
    }
    if (st != XONCE_OK)
        fprintf(stderr, "%s\n", xonce_error_last()->text);
    xonce_store_close(store);
    return st != XONCE_OK;
}
