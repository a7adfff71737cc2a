/* A bad message leaves its batch, and the transaction goes on with the others: no new run, and a rejected one is written down along with them.
 *
 * What a message that leaves had written must not stand, and its claim goes with it, unless its row in xonce_rejected takes the effects' place in the same transaction. The claim is taken back in the order of
 * the queue, never ahead of what is queued: a ROLLBACK TO among that would bring it back. */
#include "store/run.h"

#include <string.h>

enum { OUT_MAX = 16 };        /* more of them in one transaction: rather without them from the start */
enum { TROUBLED_COMMITS = 64 };

/* Another message under the same id has a key of its own only because this one is here: without it that message must be claimed anew. */
static int lends_its_id(const xo_runner *r, const size_t *set, size_t n, size_t who)
{
    for (size_t i = 0; i < n; i++)
        if (r->all[set[i]].cl.over == &r->all[who].cl && !r->all[set[i]].left)
            return 1;
    return 0;
}

/* Here its lane goes on behind it only with what the message's own transaction knows; a lane, or a queue's position, is left to a new run. */
static int may_stay_open(const xo_runner *r)
{
    return !r->spec->ordered && !r->by_offset && !r->spec->no_dedup;
}

static int may_reject_here(const xo_runner *r, size_t who)
{
    return may_stay_open(r) && !r->apart && r->all[who].cl.state == XO_CLAIM_FRESH && xo_reject_fits(r->all[who].cl.m);
}

/* The last error is why. later: the row is queued. Not DONE: it could not be. */
static xo_step reject_here(xo_runner *r, size_t who, int later)
{
    xo_member *m = &r->all[who];
    xo_error_save(&m->it->error);
    xonce_status st = xo_reject_here(&r->tx, &m->cl, m->it->error.pub.text, later ? who : SIZE_MAX);
    if (st == XONCE_OK) {
        m->rejected = 1;
        return XO_STEP_DONE;
    }
    xo_step step = xo_step_of_error();
    if (step == XO_STEP_AGAIN)
        return step;
    r->apart = 1;
    xo_error_restore(&m->it->error);
    xo_leave_by(r, who, XONCE_REJECT);
    return XO_STEP_WITHOUT;
}

static xonce_status forget_later(xo_runner *r, size_t who)
{
    xonce_value v[3];
    size_t n = 0;
    const char *sql = xo_claim_forget_sql(r->s, r->tx.c, &r->all[who].cl, v, &n);
    return xo_tx_later(&r->tx, sql, v, n, who);
}

/* ---- its handler is through ---- */

/* Undoes what it wrote, inside its savepoint. */
static xo_step undo_effects(xo_runner *r, size_t who)
{
    const xo_dialect *d = r->s->d;
    xo_error why;
    xo_error_save(&why);
    xo_tx_drop_item(&r->tx, who);
    xo_tx_clear_failure(&r->tx);
    xonce_status st = d->savepoint(r->tx.c, XO_ROLLBACK_TO);
    if (st == XONCE_OK)
        st = d->savepoint(r->tx.c, XO_RELEASE);
    if (st == XONCE_OK) {
        xo_error_restore(&why);
        return XO_STEP_DONE;
    }
    return xonce_error_last()->code == XONCE_E_TX_LOST ? XO_STEP_ESCAPED : XO_STEP_AGAIN;
}

/* In ordered mode messages behind one that left have claims too: they go. */
static xo_step undo_lane(xo_runner *r, const size_t *set, size_t n, size_t from)
{
    for (size_t i = from; i < n; i++) {
        xo_member *m = &r->all[set[i]];
        if (!m->left || m->ran || m->cl.state != XO_CLAIM_FRESH || r->spec->no_dedup)
            continue;
        if (lends_its_id(r, set, n, set[i]))
            return XO_STEP_WITHOUT;
        if (xo_claim_forget(r->s, r->tx.c, &m->cl) != XONCE_OK)
            return XO_STEP_AGAIN;
        m->cl.state = XO_CLAIM_NONE;
    }
    return XO_STEP_DONE;
}

/* It has a savepoint, behind which nothing is queued. */
static xo_step out_of_savepoint(xo_runner *r, const size_t *set, size_t n, size_t pos, xonce_verdict v)
{
    size_t who = set[pos];
    int here = v == XONCE_REJECT && may_reject_here(r, who);
    if (!here && lends_its_id(r, set, n, who)) {
        xo_leave_by(r, who, v);
        return XO_STEP_WITHOUT;
    }
    xo_step step = undo_effects(r, who);
    if (step != XO_STEP_DONE)
        return step;
    if (here)
        return reject_here(r, who, 0);
    xo_leave_by(r, who, v);
    if (!r->spec->no_dedup && xo_claim_forget(r->s, r->tx.c, &r->all[who].cl) != XONCE_OK)
        return xonce_error_last()->code == XONCE_E_TX_LOST ? XO_STEP_ESCAPED : XO_STEP_AGAIN;
    return r->spec->ordered ? undo_lane(r, set, n, pos + 1) : XO_STEP_DONE;
}

/* Nothing of it has gone to the database. */
static xo_step out_of_queue(xo_runner *r, const size_t *set, size_t n, size_t who, xonce_verdict v)
{
    xo_tx_drop_item(&r->tx, who);
    if (v == XONCE_REJECT && may_reject_here(r, who))
        return reject_here(r, who, 1);
    xo_leave_by(r, who, v);
    if (lends_its_id(r, set, n, who))
        return XO_STEP_WITHOUT;
    return forget_later(r, who) == XONCE_OK ? XO_STEP_DONE : XO_STEP_WITHOUT;
}

xo_step xo_member_failed(xo_runner *r, const size_t *set, size_t n, size_t pos, xonce_verdict v)
{
    xonce_tx *tx = &r->tx;
    size_t who = set[pos];
    int sql_failed = tx->failed;
    if (tx->failed) {
        who = tx->failed_item;
        xo_error_restore(&tx->error);
        xo_step why = xo_step_of_error();
        if (why == XO_STEP_AGAIN || why == XO_STEP_FENCED)
            return why;
        if (v == XONCE_DONE || who != set[pos])
            v = XONCE_RETRY;
    }
    xo_step step = xo_judge_failed(r, who, &v, sql_failed);
    if (step == XO_STEP_FATAL)
        return step;
    if (who == set[pos] && r->savepoints)
        return out_of_savepoint(r, set, n, pos, v);
    if (who == set[pos] && !sql_failed && !tx->sent && may_stay_open(r) && !r->s->d->runs_at_once)
        return out_of_queue(r, set, n, who, v);
    xo_leave_by(r, who, v);
    return step;
}

/* ---- its statement failed in the commit ---- */

static int is_own_error(void)
{
    xonce_status code = xonce_error_last()->code;
    return code != XONCE_E_TX_LOST && code != XONCE_E_UNKNOWN_COMMIT && xo_step_of_error() == XO_STEP_SPLIT;
}

/* Nobody's savepoint is there: with one a handler had been lent the connection. */
static int may_take_out(const xo_runner *r, size_t who)
{
    return r->spec->one && may_stay_open(r) && r->s->d->recover && !r->tx.c->lent && !r->all[who].sent && r->taken_out < OUT_MAX;
}

/* Forgets the first n statements, which stand, and those of one message. 0: some of its stand too. */
static int shorten_queue(xonce_tx *tx, size_t n, size_t item)
{
    for (size_t i = 0; i < n; i++)
        if (tx->stmts[i].item == item)
            return 0;
    memmove(tx->stmts, tx->stmts + n, (tx->nstmts - n) * sizeof *tx->stmts);
    tx->nstmts -= n;
    xo_tx_drop_item(tx, item);
    return 1;
}

xo_step xo_out_by_statement(xo_runner *r, const size_t *set, size_t n, size_t who)
{
    xonce_tx *tx = &r->tx;
    xo_error why;
    size_t from = 0;
    xonce_verdict v = XONCE_RETRY;
    if (!is_own_error())
        return XO_STEP_SPLIT;
    __atomic_store_n(&r->s->troubled, TROUBLED_COMMITS, __ATOMIC_RELAXED);
    if (!may_take_out(r, who) || lends_its_id(r, set, n, who))
        return XO_STEP_SPLIT;
    xo_error_save(&why);
    int open = r->s->d->recover(tx->c, tx->failed_at, &from) == XONCE_OK && shorten_queue(tx, from, who);
    xo_error_restore(&why);
    if (!open)
        return XO_STEP_SPLIT;
    xo_tx_clear_failure(tx);
    r->taken_out++;
    xo_step step = xo_judge_failed(r, who, &v, 1);
    if (step == XO_STEP_FATAL)
        return step;
    if (v == XONCE_REJECT && may_reject_here(r, who))
        return reject_here(r, who, 1);
    xo_leave_by(r, who, v);
    return forget_later(r, who) == XONCE_OK ? XO_STEP_DONE : XO_STEP_WITHOUT;
}

int xo_in_parts(xonce_store *s)
{
    int left = __atomic_load_n(&s->troubled, __ATOMIC_RELAXED);
    if (left <= 0)
        return 0;
    __atomic_store_n(&s->troubled, left - 1, __ATOMIC_RELAXED); /* about so many: two that count at once count as one */
    return 1;
}
