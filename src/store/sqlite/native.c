/* The public face of the SQLite store: the native handle, and joining a transaction of the user's. */
#include "xonce/sqlite.h"
#include "store/tx.h"

sqlite3 *xonce_tx_sqlite(xonce_tx *tx)
{
    return xo_tx_native(tx, XO_DIALECT_SQLITE);
}

xonce_status xonce_join_sqlite(xonce_store *s, sqlite3 *db, xonce_tx **out)
{
    return xo_tx_join(s, XO_DIALECT_SQLITE, db, out);
}
