/* xonce on PostgreSQL: the native handle of a transaction, and claims inside a transaction of your own. Needs libpq-fe.h. */
#ifndef XONCE_POSTGRES_H
#define XONCE_POSTGRES_H
#include <libpq-fe.h>
#include "xonce/xonce.h"
#ifdef __cplusplus
extern "C" {
#endif
/* The connection of an open transaction, for libpq calls as you know them. Sends what is queued first and leaves the pipeline; NULL when that fails (see
   xonce_error_last) or when the store is not PostgreSQL. Valid until the handler returns. Do not begin, commit or roll back on it: that is noticed before the commit. */
XONCE_API PGconn *xonce_tx_postgres(xonce_tx *tx);
/* Claims inside a transaction that you opened on conn, which must be in a transaction block and idle. End it with xonce_tx_leave (or _rollback), then commit yourself.
   conn stays yours; use it from this thread only meanwhile. At REPEATABLE READ or above a duplicate may surface as XONCE_E_CONFLICT: roll back and run again. */
XONCE_API xonce_status xonce_join_postgres(xonce_store *s, PGconn *conn, xonce_tx **out);
#ifdef __cplusplus
}
#endif
#endif
