/* Those that leave a batch: bad messages, messages put off, and what a handler that ended its transaction left behind. */
#include "base/log.h"
#include "store/run.h"

#include <string.h>

/* One and its twins. */
static void mark_left(xo_runner *r, size_t who, xonce_verdict verdict, int failed_run)
{
    xo_member *m = &r->all[who];
    m->left = 1;
    m->verdict = verdict;
    m->it->failed_run |= failed_run;
    xo_error_save(&m->it->error);
    if (m->it->error.pub.code == XONCE_OK)
        m->it->error.pub.code = XONCE_E_INVALID;
    for (size_t i = 0; i < r->n; i++) {
        xo_member *t = &r->all[i];
        if (t->cl.state == XO_CLAIM_TWIN && t->cl.twin == &m->cl && !t->settled && !t->left) {
            t->left = 1;
            t->verdict = verdict;
            t->twin = who;
            t->it->error = m->it->error;
            t->it->failed_run |= failed_run;
        }
    }
}

/* A later message of a lane must not pass one that is put off, also not one in another part of a batch that was split. */
static void hold_lane(xo_runner *r, size_t who)
{
    xo_error why;
    if (!r->spec->ordered)
        return;
    xo_error_save(&why);
    xo_fail(XONCE_E_CONFLICT, "a message before it in its lane was put off");
    for (size_t i = who + 1; i < r->n; i++)
        if (r->all[i].lane == r->all[who].lane && !r->all[i].left && !r->all[i].settled)
            mark_left(r, i, XONCE_RETRY, 0);
    xo_error_restore(&why);
}

static void take_out(xo_runner *r, size_t who, xonce_verdict verdict, int failed_run)
{
    mark_left(r, who, verdict, failed_run);
    hold_lane(r, who);
}

void xo_leave_deferred(xo_runner *r, size_t who, xonce_verdict verdict, int failed_run)
{
    if (!r->all[who].left)
        take_out(r, who, verdict, failed_run);
}

/* With sql.errors=judge the database's answer decides: data at fault rejects, everything else comes again. */
static xonce_verdict judge(const xo_runner *r, xonce_verdict verdict, int sql_failed)
{
    if (sql_failed && verdict == XONCE_RETRY && r->s->judge_sql && xo_error_class() == XO_SQL_DATA)
        return XONCE_REJECT;
    return verdict;
}

static int most_deliveries(const xo_runner *r)
{
    return r->spec->max_attempts > 0 ? r->spec->max_attempts : r->s->max_attempts;
}

/* A failing message whose deliveries are used up is rejected. */
static int used_up(const xo_runner *r, const xo_member *m, xonce_verdict verdict)
{
    return verdict == XONCE_RETRY && m->it->failed_run && m->cl.m->attempt >= most_deliveries(r);
}

static xonce_verdict final_verdict(const xo_runner *r, const xo_member *m, xonce_verdict verdict)
{
    if (!used_up(r, m, verdict))
        return verdict;
    xo_error_context("delivery %d of at most %d failed", m->cl.m->attempt, most_deliveries(r));
    return XONCE_REJECT;
}

xo_step xo_judge_failed(xo_runner *r, size_t who, xonce_verdict *verdict, int sql_failed)
{
    const char *reason = r->tx.reason;
    xo_member *m = &r->all[who];
    if (m->rejected) { /* what failed is our writing that down: that is tried again, apart */
        xo_error_restore(&m->it->error);
        m->rejected = 0;
        r->apart = 1;
        *verdict = XONCE_REJECT;
        return XO_STEP_WITHOUT;
    }
    if (sql_failed && r->s->judge_sql && xo_error_class() == XO_SQL_SETUP)
        return XO_STEP_FATAL;
    if (!sql_failed && !*reason)
        xo_fail(XONCE_E_INVALID, *verdict == XONCE_REJECT ? "rejected by the handler" : "the handler asked for redelivery");
    else if (!sql_failed || (*verdict == XONCE_REJECT && *reason))
        xo_fail(XONCE_E_INVALID, "%s", reason);
    else
        *verdict = judge(r, *verdict, sql_failed);
    m->it->failed_run = 1;
    *verdict = final_verdict(r, m, *verdict);
    return XO_STEP_WITHOUT;
}

void xo_leave_by(xo_runner *r, size_t who, xonce_verdict verdict)
{
    take_out(r, who, verdict, 1);
}

xo_step xo_leave_failed(xo_runner *r, size_t who, xonce_verdict verdict, int sql_failed)
{
    xo_step step = xo_judge_failed(r, who, &verdict, sql_failed);
    if (step != XO_STEP_FATAL)
        take_out(r, who, verdict, 1);
    return step;
}

xo_step xo_leave_fenced(xo_runner *r, size_t who, const size_t *set, size_t n)
{
    xo_error why;
    xo_error_save(&why);
    for (size_t i = 0; i < n; i++) {
        xo_member *m = &r->all[set[i]];
        if (m->lane != r->all[who].lane || m->left || m->settled)
            continue;
        if (m->maybe && xo_by_offset(m->cl.m) && xo_offset_settled(r->s, m->cl.m) == 1) {
            m->settled = 1; /* under our epoch nobody but that COMMIT can have moved it */
            m->it->outcome = XONCE_FRESH;
            continue;
        }
        xo_error_restore(&why);
        mark_left(r, set[i], XONCE_RETRY, 0);
    }
    xo_error_restore(&why);
    return XO_STEP_WITHOUT;
}

/* ---- a handler ended the transaction ---- */

/* Is the claim of this one committed, and not another's who came after us? 1, 0, or -1 when the database cannot say now. */
static int ask_claim(xo_runner *r, xo_member *m)
{
    if (xo_by_offset(m->cl.m))
        return xo_offset_settled(r->s, m->cl.m);
    xonce_tx tx = {0};
    xo_claimant *one = &m->cl;
    int64_t ours = one->row;
    if (xo_tx_open(&tx, r->s) != XONCE_OK)
        return -1;
    xonce_status st = xo_claim_all(r->s, tx.c, &tx.arena, &one, 1);
    xo_tx_close(&tx, 1);
    int stands = -1;
    if (st == XONCE_OK && one->state == XO_CLAIM_DUPLICATE)
        stands = !ours || !one->found_row || one->found_row == ours;
    else if (st == XONCE_OK && one->state == XO_CLAIM_FRESH)
        stands = 0;
    one->state = XO_CLAIM_FRESH;
    one->row = ours;
    return stands;
}

/* Asked with patience: run again without an answer, a record without effects would pass for a duplicate. */
static int claim_stands(xo_runner *r, xo_member *m)
{
    /* SQLite lets no COMMIT pass but ours: whoever has the claim now is somebody else */
    if (r->spec->no_dedup || r->s->d->kind == XO_DIALECT_SQLITE)
        return 0;
    int stands = ask_claim(r, m);
    for (int try = 1; stands < 0 && try < r->s->tries; try++) {
        xo_back_off(try);
        stands = ask_claim(r, m);
    }
    return stands;
}

static void escaped_with_claim(xo_runner *r, size_t who, int safe)
{
    xo_member *m = &r->all[who];
    if (safe && m->ran) {
        m->settled = 1; /* its statements were sent before any handler could commit: they are in */
        m->it->outcome = m->rejected ? XONCE_REJECTED : XONCE_FRESH;
        return;
    }
    m->claim_stands = 1;
    if (r->culprit != SIZE_MAX && who != r->culprit)
        xo_fail(XONCE_E_TX_LOST, "the handler of another message of this batch committed the transaction: the record is there, this message's effects %s",
                m->ran ? "perhaps in part; check, then replay or drop it" : "are not");
    else
        xo_fail(XONCE_E_TX_LOST, "a handler ended the transaction itself (COMMIT, DDL or a swallowed deadlock): the record is committed, the effects perhaps in part; check, then replay or drop it");
    mark_left(r, who, XONCE_REJECT, 1);
}

/* Those who left in that transaction did so on account of what is void now. */
static void put_back(xo_runner *r, const size_t *set, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        r->all[set[i]].left = 0;
        for (size_t j = 0; j < r->n; j++)
            if (r->all[j].left && r->all[j].twin == set[i]) {
                r->all[j].left = 0;
                r->all[j].twin = SIZE_MAX;
            }
    }
}

/* Those whose claim is not committed: the one at fault leaves, the others run again. */
static xo_step leave_unclaimed(xo_runner *r, const size_t *set, size_t n, size_t unclaimed, const xo_error *why)
{
    if (unclaimed > 1 && r->culprit == SIZE_MAX)
        return XO_STEP_SINGLY;
    for (size_t i = 0; i < n; i++) {
        xo_member *m = &r->all[set[i]];
        if (m->left || m->settled || m->cl.state != XO_CLAIM_FRESH || (r->culprit != SIZE_MAX && set[i] != r->culprit))
            continue;
        xo_error_restore(why);
        take_out(r, set[i], r->tx.escape_refused ? XONCE_REJECT : XONCE_RETRY, 1);
    }
    return XO_STEP_WITHOUT;
}

/* All are asked before the first one leaves: in ordered mode that holds up those behind it. */
static size_t ask_claims(xo_runner *r, const size_t *set, size_t n)
{
    size_t asked = 0;
    for (size_t i = 0; i < n; i++) {
        xo_member *m = &r->all[set[i]];
        m->asked = 0;
        if (m->settled || m->cl.state != XO_CLAIM_FRESH)
            continue;
        m->asked = claim_stands(r, m);
        if (m->asked < 0)
            xo_error_save(&m->it->error);
        asked++;
    }
    return asked;
}

xo_step xo_leave_escaped(xo_runner *r, const size_t *set, size_t n)
{
    xo_error why;
    xo_error_save(&why);
    size_t unclaimed = 0;
    int safe = r->safe != SIZE_MAX;
    xo_log(XO_ERROR, "store", "group %s: a handler ended the transaction: %s", r->s->group, why.pub.text);
    put_back(r, set, n);
    size_t asked = ask_claims(r, set, n);
    for (size_t i = 0; i < n; i++) {
        xo_member *m = &r->all[set[i]];
        if (set[i] == r->safe)
            safe = 0;
        if (m->asked > 0) {
            escaped_with_claim(r, set[i], safe);
        } else if (m->asked < 0) { /* all that is left is to let it come again */
            xo_error_restore(&m->it->error);
            mark_left(r, set[i], XONCE_RETRY, 1);
        } else {
            unclaimed += !m->settled && m->cl.state == XO_CLAIM_FRESH;
        }
    }
    for (size_t i = 0; i < n; i++)
        if (r->all[set[i]].left && r->all[set[i]].asked)
            hold_lane(r, set[i]);
    xo_error_restore(&why);
    return asked == 0 ? XO_STEP_AGAIN : leave_unclaimed(r, set, n, unclaimed, &why);
}

/* ---- outcomes ---- */

static void write_rejected(xo_runner *r, xo_member *m)
{
    xonce_outcome what = XONCE_DEFERRED;
    xonce_status st = xo_reject_write(r->s, &m->cl, m->claim_stands || r->spec->no_dedup, m->it->error.pub.text, &what);
    if (st != XONCE_OK) {
        xo_log(XO_ERROR, "store", "group %s: message %.64s could not be written to xonce_rejected: %s", r->s->group, m->cl.uniq, xonce_error_last()->text);
        if (!m->it->failed_run || st == XONCE_E_FENCED) /* then that is why it is put off */
            xo_error_save(&m->it->error);
        what = XONCE_DEFERRED;
    }
    m->it->outcome = what;
}

int xo_left_writes(const xo_runner *r, const xo_member *m)
{
    return m->left && m->twin == SIZE_MAX && (m->verdict == XONCE_REJECT || used_up(r, m, m->verdict));
}

void xo_finish_left(xo_runner *r, xo_member *m)
{
    m->settled = 1;
    m->it->outcome = XONCE_DEFERRED;
    if (m->twin != SIZE_MAX) {
        m->it->outcome = r->all[m->twin].it->outcome;
        if (m->it->outcome == XONCE_DEFERRED)
            return;
        m->it->outcome = XONCE_DUPLICATE;
        memset(&m->it->error, 0, sizeof m->it->error);
        return;
    }
    if (used_up(r, m, m->verdict)) {
        xo_error_restore(&m->it->error);
        m->verdict = final_verdict(r, m, m->verdict);
        xo_error_save(&m->it->error);
    }
    if (m->verdict == XONCE_REJECT)
        write_rejected(r, m);
}
