/* The public face of the MySQL store: the native handle, and joining a transaction of the user's. */
#include "xonce/mysql.h"
#include "store/tx.h"

MYSQL *xonce_tx_mysql(xonce_tx *tx)
{
    return xo_tx_native(tx, XO_DIALECT_MYSQL);
}

xonce_status xonce_join_mysql(xonce_store *s, MYSQL *conn, xonce_tx **out)
{
    return xo_tx_join(s, XO_DIALECT_MYSQL, conn, out);
}
