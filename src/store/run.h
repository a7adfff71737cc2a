/* Inside of the run: members of a batch, one attempt at a transaction, and what becomes of those that leave it. */
#ifndef XO_RUN_H
#define XO_RUN_H
#include "store/claim.h"
#include "store/offset.h"
#include "store/tx.h"

typedef struct {
    xo_claimant cl;
    xo_item *it;
    int settled;            /* its outcome is known */
    int left;               /* it leaves the batch, by the verdict */
    xonce_verdict verdict;
    int claim_stands;       /* a handler committed its claim without (all of) its effects: never a duplicate */
    int asked;              /* after a handler ended the transaction: is its claim committed? 1, 0, -1 when nobody could say */
    int exposed;            /* the last attempt that claimed it broke off after a handler had had the handle: that one may have committed */
    int maybe;              /* an unknown COMMIT may have applied it: a refused claim then is ours */
    int ran;                /* its handler returned in this attempt */
    int sent;               /* ... and something of it had gone to the database by then */
    int slow;               /* transactions lost, one after the other, while it alone was handled for longer than handler.timeout */
    int rejected;           /* in this transaction: its claim stays, its row in xonce_rejected is written or queued */
    size_t twin;            /* member whose outcome it takes, SIZE_MAX */
    uint64_t lane;          /* ordered: the same number for the same lane */
} xo_member;

struct xo_runner {
    xonce_store *s;
    const xo_spec *spec;
    const xo_item *items;
    xo_member *all;
    size_t *set;            /* room for n */
    size_t n;
    xonce_tx tx;
    xo_arena arena;         /* of an attempt's claims */
    xo_claims claims;
    int attempts;           /* begun */
    int open;               /* tx is open already, and its claims were sent */
    xo_runner *next;        /* while this one commits */
    int by_offset;          /* some are claimed by offset */
    int savepoints;         /* a savepoint around each message in this attempt */
    int apart;              /* the database refused a row of xonce_rejected: rejected ones are written each by itself, which has ways around that */
    int taken_out;          /* how many left this attempt without ending it */
    int asked_ahead;        /* the next batch was asked for */
    int64_t handlers_ms;    /* what the handlers of this attempt took */
    int64_t stage_us;       /* monotonic: when the stage began that is on; with spec->times */
    size_t culprit;         /* whose handler ended the transaction, SIZE_MAX when not known */
    size_t safe;            /* those that ran before this one were sent before a handler ended the transaction; SIZE_MAX: nobody was */
};

typedef enum {
    XO_STEP_DONE,     /* committed, outcomes are set */
    XO_STEP_WITHOUT,  /* some left: again without them */
    XO_STEP_AGAIN,    /* deadlock, lost connection, unknown COMMIT: the same again */
    XO_STEP_SPLIT,    /* one of them is at fault, nobody knows which: in halves */
    XO_STEP_SINGLY,   /* the COMMIT was refused: each alone */
    XO_STEP_ESCAPED,  /* a handler ended the transaction */
    XO_STEP_FENCED,   /* the queue of tx.failed_item was taken over by another member */
    XO_STEP_FATAL     /* no message can succeed; the thread's last error says why */
} xo_step;

/* attempt.c: one transaction over set (indexes, delivery order). Leaves r->tx closed. The reason of AGAIN and FATAL is the thread's last error. */
xo_step xo_attempt(xo_runner *r, const size_t *set, size_t n);

xo_step xo_step_of_error(void); /* what the thread's last error means for the whole transaction */

/* takeout.c: a bad message leaves, and the transaction goes on with the others. */
/* The handler of set[pos] does not want it applied, or a statement failed while it ran. DONE: the transaction goes on. */
xo_step xo_member_failed(xo_runner *r, const size_t *set, size_t n, size_t pos, xonce_verdict v);
/* Its queued statement failed in a commit. DONE: it left, or is rejected here, and the commit may be tried again. SPLIT: the transaction has to be ended for it, nothing is judged yet, and the thread's last
   error is the commit's. */
xo_step xo_out_by_statement(xo_runner *r, const size_t *set, size_t n, size_t who);
/* Is a commit to be sent in parts? */
int xo_in_parts(xonce_store *s);

/* The claims of an attempt over set; those for whom no record is written are fresh at once. */
xonce_status xo_attempt_claims(xo_runner *r, const size_t *set, size_t n);

/* run.c */
xo_runner *xo_runner_new(xonce_store *s, xo_item *items, size_t n, const xo_spec *spec, xonce_status *st); /* NULL: no memory */
void xo_runner_free(xo_runner *r);
size_t xo_runner_live(const xo_runner *r, size_t *live); /* those of all that have no outcome yet */

/* ahead.c: before the COMMIT of r, and after it. */
void xo_ahead_offer(xo_runner *r, xo_company *with);
void xo_ahead_end(xo_runner *r, int begun); /* begun: the connection is the next one's from here on */

/* leave.c */
/* All of these take a member's twins along, and in ordered mode all behind it in its lane, in whatever part of a split batch they are. */
/* Takes a member out, judging the thread's last error when sql_failed. FATAL when that error means that no message can succeed, else WITHOUT. */
xo_step xo_leave_failed(xo_runner *r, size_t who, xonce_verdict verdict, int sql_failed);
/* The first half of that: sets the reason as the thread's last error, and the verdict to what it comes to, RETRY or REJECT. */
xo_step xo_judge_failed(xo_runner *r, size_t who, xonce_verdict *verdict, int sql_failed);
/* The other half. */
void xo_leave_by(xo_runner *r, size_t who, xonce_verdict verdict);
/* Will what became of this one be written, in a transaction of its own? */
int xo_left_writes(const xo_runner *r, const xo_member *m);
/* Takes one out because of the last error, which is not its handler's fault. One that has left already stays as it is. */
void xo_leave_deferred(xo_runner *r, size_t who, xonce_verdict verdict, int failed_run);
/* After a transaction that a handler ended: finds out what is committed and settles or takes out. WITHOUT, SINGLY, or AGAIN when that changed nothing. */
xo_step xo_leave_escaped(xo_runner *r, const size_t *set, size_t n);
/* After a transaction in which the queue of this one was found taken over: those of its lane leave, or are settled where an unknown COMMIT was ours. WITHOUT. */
xo_step xo_leave_fenced(xo_runner *r, size_t who, const size_t *set, size_t n);
/* The outcome of one that left: deferred, or written to xonce_rejected. */
void xo_finish_left(xo_runner *r, xo_member *m);

/* offset.c: queues the moves of the rows of all queues of which set has messages that are claimed so. */
xonce_status xo_offset_claim(xo_runner *r, const size_t *set, size_t n);

/* run.c: the pause before another try. */
void xo_back_off(int tries);

/* reject.c: in the open transaction, which holds a fresh claim of cl: its row in xonce_rejected, queued for message `later`, or at once when that is SIZE_MAX. */
xonce_status xo_reject_here(xonce_tx *tx, const xo_claimant *cl, const char *reason, size_t later);
int xo_reject_fits(const xonce_message *m); /* not so large that the database may refuse it */
/* reject.c: claim (unless it stands already) and a row in xonce_rejected, in one transaction. XONCE_REJECTED or, when the claim is refused, XONCE_DUPLICATE. */
xonce_status xo_reject_write(xonce_store *s, xo_claimant *cl, int claim_stands, const char *reason, xonce_outcome *what);
#endif
