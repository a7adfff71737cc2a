/* MySQL and MariaDB with their own C client: the handler borrows the transaction's MYSQL handle. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xonce/mysql.h>

static xonce_verdict count_order(xonce_tx *tx, const xonce_message *m, void *arg)
{
    char quoted[2 * 64 + 1], sql[256];
    const char *customer = xonce_message_key(m);
    MYSQL *conn = xonce_tx_mysql(tx);
    (void)arg;
    if (!conn)
        return XONCE_RETRY;
    if (strlen(customer) > 64) {
        xonce_fail(tx, "a customer's name has at most 64 bytes");
        return XONCE_REJECT;
    }
    mysql_real_escape_string(conn, quoted, customer, (unsigned long)strlen(customer));
    snprintf(sql, sizeof sql, "INSERT INTO example_mysql (customer, orders) VALUES ('%s', 1) ON DUPLICATE KEY UPDATE orders = orders + 1", quoted);
    if (mysql_query(conn, sql) != 0) {
        /* never go on after a failed statement: a deadlock has rolled back everything, the claim too */
        xonce_fail(tx, "%s", mysql_error(conn));
        return XONCE_RETRY;
    }
    return XONCE_DONE;
}

/* Our own table, through the same portable SQL that handlers may use. */
static xonce_status set_up(xonce_store *store)
{
    xonce_tx *tx;
    xonce_status st = xonce_store_upgrade(store);
    if (st == XONCE_OK && (st = xonce_tx_begin(store, &tx)) == XONCE_OK) {
        MYSQL *conn = xonce_tx_mysql(tx);
        if (!conn || mysql_query(conn, "CREATE TABLE IF NOT EXISTS example_mysql (customer varchar(64) PRIMARY KEY, orders int) ENGINE=InnoDB") != 0)
            st = XONCE_E_SQL;
        xonce_tx_rollback(tx); /* DDL has committed itself, which is why it has no place in a handler */
    }
    return st;
}

int main(void)
{
    static const struct { const char *id, *customer; } in[] = {{"O-1", "ada"}, {"O-2", "o'neil"}, {"O-1", "ada"}, {"O-3", "ada"}};
    static const char *const said[] = {"applied", "duplicate", "rejected", "put off"};
    const char *uri = getenv("XONCE_TEST_MYSQL_URI");
    xonce_store *store;
    xonce_status st;
    if (!uri) {
        puts("# SKIP XONCE_TEST_MYSQL_URI names no scratch database (server: Debian package mariadb-server)");
        return 77;
    }
    if ((st = xonce_store_open(&store, uri, "GID_example_mysql", NULL)) == XONCE_OK)
        st = set_up(store);
    for (size_t i = 0; i < sizeof in / sizeof *in && st == XONCE_OK; i++) {
        xonce_message *m;
        xonce_outcome what;
        if ((st = xonce_message_new(&m, "orders", in[i].id, "{}", 2)) == XONCE_OK && (st = xonce_message_set_property(m, "KEYS", in[i].customer)) == XONCE_OK)
            st = xonce_once(store, m, count_order, NULL, &what);
        if (st == XONCE_OK)
            printf("%s: %s\n", in[i].id, said[what]);
        xonce_message_free(m);
    }
    if (st != XONCE_OK)
        fprintf(stderr, "%s\n", xonce_error_last()->text);
    xonce_store_close(store);
    return st != XONCE_OK;
}
