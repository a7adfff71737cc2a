/* The whole promise in one call: xonce_once() claims the message's id and runs your writes in one transaction. Here on SQLite, without a broker.
   Run it twice: the second time every message is a duplicate. */
#include <stdio.h>
#include <xonce/xonce.h>

/* Called only for messages that were never applied before. */
static xonce_verdict pay(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    if (xonce_exec(tx, "INSERT INTO payments (id, amount) VALUES ($1, $2)", xonce_text(xonce_message_id(m)), xonce_body(m)) != XONCE_OK)
        return XONCE_RETRY; /* rolled back; the message comes again */
    return XONCE_DONE;      /* committed together with the record of the message */
}

/* The record table (a deployment does this once, with `xonce init`) and a table of our own. */
static xonce_status set_up(xonce_store *store)
{
    xonce_tx *tx;
    xonce_status st = xonce_store_upgrade(store);
    if (st == XONCE_OK)
        st = xonce_tx_begin(store, &tx);
    if (st != XONCE_OK)
        return st;
    if ((st = xonce_exec(tx, "CREATE TABLE IF NOT EXISTS payments (id TEXT, amount INTEGER)")) == XONCE_OK)
        return xonce_tx_commit(tx);
    xonce_tx_rollback(tx);
    return st;
}

int main(int argc, char **argv)
{
    static const char *const said[] = {"applied", "a duplicate, skipped", "rejected", "put off: let it come again"};
    static const char *const ids[] = {"P-1", "P-2", "P-1", "P-3", "P-2"}; /* as a broker delivers: some twice */
    xonce_store *store;
    xonce_status st = xonce_store_open(&store, argc > 1 ? argv[1] : "sqlite:quickstart.db", "GID_quickstart", NULL);
    if (st == XONCE_OK)
        st = set_up(store);
    for (size_t i = 0; i < sizeof ids / sizeof *ids && st == XONCE_OK; i++) {
        xonce_message *m;
        xonce_outcome what;
        if ((st = xonce_message_new(&m, "payments", ids[i], "100", 3)) == XONCE_OK)
            st = xonce_once(store, m, pay, NULL, &what);
        if (st == XONCE_OK)
            printf("%s: %s\n", ids[i], said[what]);
        xonce_message_free(m);
    }
    if (st != XONCE_OK)
        fprintf(stderr, "%s\n", xonce_error_last()->text);
    xonce_store_close(store);
    return st != XONCE_OK;
}
