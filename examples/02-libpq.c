/* PostgreSQL with libpq as you know it: the handler borrows the transaction's own PGconn. What can never succeed is rejected with its reason. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xonce/postgres.h>

static xonce_verdict book(xonce_tx *tx, const xonce_message *m, void *arg)
{
    const char *values[2] = {xonce_message_id(m), xonce_message_body(m, NULL)};
    PGconn *conn = xonce_tx_postgres(tx);
    xonce_verdict verdict = XONCE_DONE;
    PGresult *r;
    (void)arg;
    if (!conn)
        return XONCE_RETRY;
    r = PQexecParams(conn, "INSERT INTO example_libpq (id, amount) VALUES ($1, $2::numeric)", 2, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(r) != PGRES_COMMAND_OK) {
        const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
        /* class 22: the amount is not a number and never will be; anything else may pass */
        verdict = state && strncmp(state, "22", 2) == 0 ? XONCE_REJECT : XONCE_RETRY;
        xonce_fail(tx, "%s", PQresultErrorMessage(r));
    }
    PQclear(r);
    return verdict;
}

int main(void)
{
    static const struct { const char *id, *body; } in[] = {{"L-1", "19.99"}, {"L-2", "5.00"}, {"L-1", "19.99"}, {"L-3", "not a number"}};
    static const char *const said[] = {"applied", "duplicate", "rejected", "put off"};
    const char *uri = getenv("XONCE_TEST_POSTGRES_URI");
    xonce_store *store;
    xonce_status st;
    PGconn *conn;
    if (!uri) {
        puts("# SKIP XONCE_TEST_POSTGRES_URI names no scratch database (server: Debian package postgresql)");
        return 77;
    }
    conn = PQconnectdb(uri);
    PQclear(PQexec(conn, "CREATE TABLE IF NOT EXISTS example_libpq (id text, amount numeric(12,2))"));
    PQfinish(conn);
    st = xonce_store_open(&store, uri, "GID_example_libpq", NULL);
    if (st == XONCE_OK)
        st = xonce_store_upgrade(store);
    for (size_t i = 0; i < sizeof in / sizeof *in && st == XONCE_OK; i++) {
        xonce_message *m;
        xonce_outcome what;
        if ((st = xonce_message_new(&m, "payments", in[i].id, in[i].body, strlen(in[i].body))) == XONCE_OK)
            st = xonce_once(store, m, book, NULL, &what);
        if (st == XONCE_OK)
            printf("%s: %s\n", in[i].id, said[what]);
        xonce_message_free(m);
    }
    if (st != XONCE_OK)
        fprintf(stderr, "%s\n", xonce_error_last()->text);
    xonce_store_close(store);
    return st != XONCE_OK;
}
