/* The public face of the PostgreSQL store: the native handle, and joining a transaction of the user's. */
#include "xonce/postgres.h"
#include "store/tx.h"

PGconn *xonce_tx_postgres(xonce_tx *tx)
{
    return xo_tx_native(tx, XO_DIALECT_PG);
}

xonce_status xonce_join_postgres(xonce_store *s, PGconn *conn, xonce_tx **out)
{
    return xo_tx_join(s, XO_DIALECT_PG, conn, out);
}
