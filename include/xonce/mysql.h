/* xonce on MySQL and MariaDB: the native handle of a transaction, and claims inside a transaction of your own. Needs mysql.h of the client library. */
#ifndef XONCE_MYSQL_H
#define XONCE_MYSQL_H
#include <mysql.h>
#include "xonce/xonce.h"
#ifdef __cplusplus
extern "C" {
#endif
/* The connection of an open transaction (autocommit is off). Sends what is queued first; NULL when that fails (see xonce_error_last) or when the store is not MySQL. Valid until the
   handler returns. Do not begin, commit, roll back or run DDL on it, and do not go on after error 1213: that is noticed before the commit. */
XONCE_API MYSQL *xonce_tx_mysql(xonce_tx *tx);
/* Claims inside a transaction that you opened on conn (START TRANSACTION or autocommit=0). End it with xonce_tx_leave (or _rollback), then commit yourself. After error 1213 MySQL has rolled
   back everything: roll back and run all of it again. conn stays yours; use it from this thread only meanwhile. */
XONCE_API xonce_status xonce_join_mysql(xonce_store *s, MYSQL *conn, xonce_tx **out);
#ifdef __cplusplus
}
#endif
#endif
