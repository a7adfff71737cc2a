/* Claims inside a MySQL transaction that you opened yourself on your own MYSQL handle. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xonce/mysql.h>

static int run(MYSQL *conn, const char *sql)
{
    int ok = mysql_query(conn, sql) == 0;
    if (!ok)
        fprintf(stderr, "%s: %s\n", sql, mysql_error(conn));
    return ok;
}

/* One transaction of ours, with the message's claim in it. 1: applied, 0: a duplicate, -1: failed, and rolled back. */
static int apply(xonce_store *store, MYSQL *conn, const xonce_message *m)
{
    xonce_tx *tx;
    xonce_outcome what = XONCE_DEFERRED;
    if (!run(conn, "START TRANSACTION"))
        return -1;
    if (xonce_join_mysql(store, conn, &tx) == XONCE_OK) {
        if (xonce_tx_claim(tx, &m, 1, &what) != XONCE_OK)
            xonce_tx_rollback(tx); /* lets go; the transaction stays ours to end */
        else if (xonce_tx_leave(tx) == XONCE_OK && (what != XONCE_FRESH || run(conn, "UPDATE example_join SET n = n + 1")) && run(conn, "COMMIT"))
            return what == XONCE_FRESH;
    }
    run(conn, "ROLLBACK");
    return -1;
}

/* Our own connection, to the same server and database as the store's: mysql://user:password@host:port/database */
static MYSQL *connect_to(const char *uri)
{
    char user[64], password[64], host[64], db[64];
    unsigned port;
    MYSQL *conn = mysql_init(NULL);
    if (sscanf(uri, "mysql://%63[^:]:%63[^@]@%63[^:]:%u/%63[^?]", user, password, host, &port, db) == 5 &&
        mysql_real_connect(conn, host, user, password, db, port, NULL, 0))
        return conn;
    mysql_close(conn);
    return NULL;
}

int main(void)
{
    static const char *const ids[] = {"J-1", "J-2", "J-1", "J-2", "J-3"};
    const char *uri = getenv("XONCE_TEST_MYSQL_URI");
    xonce_store *store = NULL;
    MYSQL *conn;
    int ok;
    if (!uri || !(conn = connect_to(uri))) {
        puts("# SKIP XONCE_TEST_MYSQL_URI names no scratch database (server: Debian package mariadb-server)");
        return 77;
    }
    ok = run(conn, "CREATE TABLE IF NOT EXISTS example_join (n int) ENGINE=InnoDB") &&
         run(conn, "INSERT INTO example_join SELECT 0 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM example_join)") &&
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
    mysql_close(conn);
    return !ok;
}
