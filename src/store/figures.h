/* What the tables hold, for who watches: asked rarely, and cheap however large they are. */
#ifndef XO_FIGURES_H
#define XO_FIGURES_H
#include "store/store.h"
/* Is the database there, and up to when had the group caught up? *watermark: ms UTC, -1 when the group has none. claims 0: no table of ours is asked. */
xonce_status xo_store_ping(xonce_store *s, int claims, int64_t *watermark);
typedef struct {
    int64_t rows, oldest;           /* of transaction_record, all groups: rows, and ctime of the oldest; -1: none, or not known */
    int64_t rejected;               /* of the group */
    int exact, rejected_exact;      /* 0: rows is what the engine's statistics say; at least so many are rejected */
} xo_figures;
xonce_status xo_store_figures(xonce_store *s, xo_figures *out);
/* The group's rejected messages, the last ones first: message id without the group, topic, reason, attempts, rejected_at, replay_at (NULL: not marked). */
xonce_status xo_store_rejected(xonce_store *s, int most, xo_row_fn fn, void *arg);
#endif
