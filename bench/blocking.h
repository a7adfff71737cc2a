/* A handler as others write it: one prepared statement on the engine's own handle, waited for. */
#ifndef BENCH_BLOCKING_H
#define BENCH_BLOCKING_H
#include "store/store.h"
/* Prepares the INSERT on each connection that the store opens from now on. The table bench_orders must be there. */
xonce_status bench_blocking_prepare(xonce_store *s);
xonce_verdict bench_blocking(xonce_tx *tx, const xonce_message *m, void *arg);
#endif
