/* Claims by offset: the row of a queue in xonce_settled moves instead of a row a message being written. */
#ifndef XO_OFFSET_H
#define XO_OFFSET_H
#include "message/message.h"
#include "store/tx.h"

static inline int xo_by_offset(const xonce_message *m)
{
    return m->claim_epoch >= 0;
}
/* Moves the row behind one message now, in the open transaction. XONCE_E_FENCED: it does not stand there, or was taken over. */
xonce_status xo_offset_move(xonce_tx *tx, const xonce_message *m);
/* Is the move behind this message committed, under its own epoch, so by this process? 1, 0; -1: the database cannot say now. Locks the row, so that a COMMIT of the transaction waits for the standby that
   the first one may have been cancelled in waiting for. */
int xo_offset_stands(xonce_tx *tx, const xonce_message *m);
/* The same in a transaction of its own, which is committed: 1 is durable. */
int xo_offset_settled(xonce_store *s, const xonce_message *m);
#endif
