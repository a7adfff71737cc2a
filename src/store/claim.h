/* Claims: who a message is, and whether it is new. */
#ifndef XO_CLAIM_H
#define XO_CLAIM_H
#include "message/position.h"
#include "store/store.h"

typedef enum {
    XO_CLAIM_NONE = 0,
    XO_CLAIM_FRESH,
    XO_CLAIM_DUPLICATE,
    XO_CLAIM_REFUSED,    /* the row that refused it is read back together with the COMMIT */
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

/* covered.c: what xonce_settled says about claims. */
typedef struct xo_cover_row {
    const char *broker;
    int64_t queue;
    xo_range range;
    int by_offset;
    struct xo_cover_row *next;
} xo_cover_row;
typedef struct {
    const char *topic;
    xonce_value v[4];
    xo_ask ask;          /* sql NULL: there is nothing to ask along with the claim */
    int owned;
    xo_arena *arena;
    xo_cover_row *rows;
    int no_memory, hits;
} xo_cover;
xonce_status xo_cover_prepare(xonce_store *s, xo_cover *cv, xo_arena *arena, xo_claimant **set, size_t n);
/* Of the fresh ones those in a settled range: their claims are taken back, they are duplicates. */
xonce_status xo_claim_covered(xonce_store *s, xo_conn *c, xo_cover *cv, xo_claimant **set, size_t n);
void xo_cover_end(xo_cover *cv);

/* The claims of one transaction, prepared before it is open. */
typedef struct {
    xo_claimant **set;   /* n of them, in any order before, by key after */
    size_t n;
    xo_claim *rows;      /* of the first statement: those k of the set that have no state yet */
    xo_claimant **who;
    size_t k;
    xo_cover cover;
    int refused;         /* some are XO_CLAIM_REFUSED: rows are to be read back with the COMMIT, then xo_claim_judge() */
} xo_claims;
/* n <= 4096. The arena must outlive the claims; set is kept. */
xonce_status xo_claim_prepare(xonce_store *s, xo_arena *arena, xo_claimant **set, size_t n, xo_claims *out);
/* Claims them in the open transaction of c and sets their states. later: rows that refuse some may be read back with the COMMIT. */
xonce_status xo_claim_take(xonce_store *s, xo_conn *c, xo_claims *p, int later);
/* After a COMMIT that read them back: those that are duplicates for certain become so. */
void xo_claim_judge(const xo_claims *p);
/* Both at once, nothing left for later. */
xonce_status xo_claim_all(xonce_store *s, xo_conn *c, xo_arena *arena, xo_claimant **set, size_t n);
/* Takes a fresh claim back in the same transaction: at once, so nothing may be queued, since that could bring it back (a ROLLBACK TO). The statement alone, with its values, is for the queue. */
xonce_status xo_claim_forget(xonce_store *s, xo_conn *c, const xo_claimant *cl);
const char *xo_claim_forget_sql(const xonce_store *s, const xo_conn *c, const xo_claimant *cl, xonce_value v[3], size_t *n);
#endif
