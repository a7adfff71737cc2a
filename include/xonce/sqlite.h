/* xonce on SQLite: the native handle of a transaction, and claims inside a transaction of your own. Needs sqlite3.h. */
#ifndef XONCE_SQLITE_H
#define XONCE_SQLITE_H
#include <sqlite3.h>
#include "xonce/xonce.h"
#ifdef __cplusplus
extern "C" {
#endif
/* The connection of an open transaction; NULL when the store is not SQLite. Valid until the handler returns. A COMMIT on it is refused by a commit hook: do not set one of your own. */
XONCE_API sqlite3 *xonce_tx_sqlite(xonce_tx *tx);
/* Claims inside a transaction that you opened on db with BEGIN IMMEDIATE, on the same file as the store. End it with xonce_tx_leave (or _rollback), then commit yourself. db stays yours. */
XONCE_API xonce_status xonce_join_sqlite(xonce_store *s, sqlite3 *db, xonce_tx **out);
#ifdef __cplusplus
}
#endif
#endif
