/* Claims: who a message is, and whether it is new. */
#ifndef XO_CLAIM_H
#define XO_CLAIM_H
#include "store/store.h"

typedef enum {
    XO_CLAIM_NONE = 0,
    XO_CLAIM_FRESH,
    XO_CLAIM_DUPLICATE,
    XO_CLAIM_TWIN,       /* the same message earlier in the same set: takes its outcome */
    XO_CLAIM_COLLIDES,   /* another message has its id, and collision=reject */
    XO_CLAIM_NO_ROW,     /* refused, but no row is there: an error, never a duplicate */
    XO_CLAIM_STALE,      /* polled too long ago */
    XO_CLAIM_TAKEN,      /* its id is another's, who is not settled yet or has the id made for collisions too: it must come again */
    XO_CLAIM_FENCED,     /* its queue is claimed by offset by others */
    XO_CLAIM_COVERED,    /* inside of a claim: its place is settled, its record was pruned */
    XO_CLAIM_WAITS       /* inside of a claim: `over` has its id and is decided first */
} xo_claim_state;

typedef struct xo_claimant {
    const xonce_message *m;
    const char *uniq;    /* in m, or in own_uniq */
    size_t nuniq;
    char own_uniq[256];  /* of an identify function */
    char key[XO_KEY_SIZE], digest[33];
    xo_claim_state state;
    struct xo_claimant *twin;
    struct xo_claimant *over; /* another message of the same set that has its id: when that one leaves, the id is free again */
    int64_t row, found_row; /* of the last claim that was fresh, of the row that refused the last one; 0: not known. The same: what we claimed before is committed */
    int moved;           /* key is the one made for a collision */
    int keep_key;        /* ... and stays so in further claims */
    size_t order;        /* delivery order, for twins */
} xo_claimant;

/* Fills in id, key and digest. XONCE_E_INVALID: it has no id, or the identify function refused it (text says why); the key is then made of topic and body. */
xonce_status xo_claimant_init(xonce_store *s, const xonce_message *m, size_t order, xo_claimant *out);
/* Claims all in the open transaction of c and sets their states. set is in any order; n <= 4096. */
xonce_status xo_claim_all(xonce_store *s, xo_conn *c, xo_arena *arena, xo_claimant **set, size_t n);
/* covered.c: of the fresh ones those in a settled range: their claims are taken back, they are duplicates. Part of xo_claim_all. */
xonce_status xo_claim_covered(xonce_store *s, xo_conn *c, xo_claimant **set, size_t n);
/* Takes a fresh claim back in the same transaction. */
xonce_status xo_claim_forget(xonce_store *s, xo_conn *c, const xo_claimant *cl);
#endif
