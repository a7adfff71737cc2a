/* The record table split by day: partitions made ahead, and dropped when nobody needs them. docs/partitions.md */
#ifndef XO_PARTITION_H
#define XO_PARTITION_H
#include "store/store.h"

/* Makes the tables with transaction_record partitioned; brings up to date what is there. XONCE_E_INVALID where the engine has no partitions, or the table is there and has none. */
xonce_status xo_store_init_partitioned(xonce_store *s);
/* The same for a person to read or run: the partitions are those of this machine's date. As xonce_store_print_schema. */
xonce_status xo_store_print_partitioned(const char *uri, void (*fn)(const char *sql, void *arg), void *arg);

/* Makes the partitions of the days to come where the table is partitioned. Whether that fails is told in the log only: what has no partition is claimed nevertheless. */
void xo_partitions_ahead(xonce_store *s);
/* Says that this group needs no record of before `before` any more, and drops the partitions that no group needs. *rows: records gone. */
xonce_status xo_partitions_drop(xonce_store *s, int64_t before, int64_t *rows);
/* Is the record table there, and partitioned? 0 as well when it cannot be asked. */
int xo_store_is_partitioned(xonce_store *s);
/* Findings of `check` about a partitioned table. */
xonce_status xo_partitions_check(xonce_store *s, xo_conn *c, void (*fn)(const xonce_finding *f, void *arg), void *arg);

/* ---- for schema.c ---- */
xonce_status xo_no_partitions(const char *engine);
xonce_status xo_partitions_first(xonce_store *s, xo_conn *c); /* those of the last days and of the days to come */
xonce_status xo_partitions_print(xo_dialect_kind kind, void (*fn)(const char *sql, void *arg), void *arg);

/* ---- for the engines ---- */
xonce_status xo_days_add(xo_days *d, int32_t day);
void xo_day_text(int32_t day, char out[16]); /* 20261123 */
#endif
