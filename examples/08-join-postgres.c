/* Claims inside a PostgreSQL transaction that you opened yourself on your own PGconn. */
#include <stdio.h>
#include <stdlib.h>
#include <xonce/postgres.h>

static int run(PGconn *conn, const char *sql)
{
    PGresult *r = PQexec(conn, sql);
    int ok = PQresultStatus(r) == PGRES_COMMAND_OK;
    if (!ok)
        fprintf(stderr, "%s: %s", sql, PQerrorMessage(conn));
    PQclear(r);
    return ok;
}

/* One transaction of ours, with the message's claim in it. 1: applied, 0: a duplicate, -1: failed, and rolled back. */
static int apply(xonce_store *store, PGconn *conn, const xonce_message *m)
{
    xonce_tx *tx;
    xonce_outcome what = XONCE_DEFERRED;
    if (!run(conn, "BEGIN"))
        return -1;
    if (xonce_join_postgres(store, conn, &tx) == XONCE_OK) {
        if (xonce_tx_claim(tx, &m, 1, &what) != XONCE_OK)
            xonce_tx_rollback(tx); /* lets go; the transaction stays ours to end */
        else if (xonce_tx_leave(tx) == XONCE_OK && (what != XONCE_FRESH || run(conn, "UPDATE example_join SET n = n + 1")) && run(conn, "COMMIT"))
            return what == XONCE_FRESH;
    }
    run(conn, "ROLLBACK");
    return -1;
}

int main(void)
{
    static const char *const ids[] = {"J-1", "J-2", "J-1", "J-2", "J-3"};
    const char *uri = getenv("XONCE_TEST_POSTGRES_URI");
    xonce_store *store = NULL;
    PGconn *conn;
    int ok;
    if (!uri) {
        puts("# SKIP XONCE_TEST_POSTGRES_URI names no scratch database (server: Debian package postgresql)");
        return 77;
    }
    conn = PQconnectdb(uri);
    ok = run(conn, "CREATE TABLE IF NOT EXISTS example_join (n integer)") && run(conn, "INSERT INTO example_join SELECT 0 WHERE NOT EXISTS (SELECT FROM example_join)") &&
         xonce_store_open(&store, uri, "GID_example_join", NULL) == XONCE_OK && xonce_store_upgrade(store) == XONCE_OK;
    for (size_t i = 0; i < sizeof ids / sizeof *ids && ok; i++) {
        xonce_message *m;
        int applied = -1;
        if (xonce_message_new(&m, "counts", ids[i], "", 0) == XONCE_OK)
            applied = apply(store, conn, m);
        xonce_message_free(m);
        ok = applied >= 0;
        if (ok)
            printf("%s: %s\n", ids[i], applied ? "applied" : "duplicate");
    }
    if (!ok)
        fprintf(stderr, "%s\n", xonce_error_last()->text);
    xonce_store_close(store);
    PQfinish(conn);
    return !ok;
}
