/* Forgetting on purpose: from a place in a queue on everything is to be applied again. */
#ifndef XO_REWIND_H
#define XO_REWIND_H
#include "store/store.h"
/* Makes offset the position of the queue, in one transaction: ranges end there at the latest, and records of messages from there on are deleted (*records, may be NULL). Only while no member of the group
   runs: one that does would write its position back. epoch grows, so that a batch that is still under way somewhere is fenced out where it looks. */
xonce_status xo_rewind_queue(xonce_store *s, const char *topic, const char *broker, int32_t queue, int64_t offset, int64_t *records);
#endif
