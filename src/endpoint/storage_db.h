/* What the two files that speak SQL of the endpoint share. */
#ifndef XO_STORAGE_DB_H
#define XO_STORAGE_DB_H
#include "base/buf.h"
#include "endpoint/storage.h"
#include <sqlite3.h>
enum {
    XO_BEGIN, XO_COMMIT, XO_ROLLBACK, XO_TOPIC, XO_GROUP, XO_INSERT, XO_PLACE, XO_DELETE, XO_PROGRESS, XO_PROGRESS_MANY, XO_FLOOR, XO_BELOW, XO_COUNTERS,
    XO_READ, XO_READ_BEGIN, XO_READ_END, /* these on the reading connection */
    XO_STATEMENTS
};
struct xo_storage {
    sqlite3 *db, *reader;
    sqlite3_stmt *statements[XO_STATEMENTS];
    pthread_mutex_t read_lock;
    char *file;
    int lock_fd;
    int reading;         /* under the read_lock: XO_READ stands at the row read_at */
    int64_t read_at;
    int64_t transaction; /* number of the running or last one */
};
#endif
