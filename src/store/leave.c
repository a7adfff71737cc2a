/* Those that leave a batch: bad messages, messages put off, and what a handler that ended its transaction left behind. */
#include "base/log.h"
#include "store/run.h"

#include <string.h>

static void take_out(xo_runner *r, size_t who, xonce_verdict verdict, int failed_run)
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
        }
    }
}

/* A later message of a lane must not pass one that is put off, also not one in another part of a batch that was split. */
static void take_out_lane(xo_runner *r, size_t who)
{
    xo_error why;
    xo_error_save(&why);
    for (size_t i = who + 1; i < r->n; i++) {
        xo_member *m = &r->all[i];
        if (m->lane == r->all[who].lane && !m->left && !m->settled) {
            xo_fail(XONCE_E_CONFLICT, "a message before it in its lane was put off");
            take_out(r, i, XONCE_RETRY, 0);
        }
    }
    xo_error_restore(&why);
}

void xo_leave_deferred(xo_runner *r, size_t who, int failed_run)
{
    take_out(r, who, XONCE_RETRY, failed_run);
    if (r->spec->ordered)
        take_out_lane(r, who);
}

/* With sql.errors=judge the database's answer decides: data at fault rejects, everything else comes again. */
static xonce_verdict judge(const xo_runner *r, xonce_verdict verdict, int sql_failed)
{
    if (sql_failed && verdict == XONCE_RETRY && r->s->judge_sql && xo_error_class() == XO_SQL_DATA)
        return XONCE_REJECT;
    return verdict;
}

xo_step xo_leave_failed(xo_runner *r, size_t who, xonce_verdict verdict, int sql_failed)
{
    if (sql_failed && r->s->judge_sql && xo_error_class() == XO_SQL_SETUP)
        return XO_STEP_FATAL;
    verdict = judge(r, verdict, sql_failed);
    if (!sql_failed) {
        const char *reason = r->tx.reason;
        if (*reason)
            xo_fail(XONCE_E_INVALID, "%s", reason);
        else
            xo_fail(XONCE_E_INVALID, verdict == XONCE_REJECT ? "rejected by the handler" : "the handler asked for redelivery");
    }
    take_out(r, who, verdict, 1);
    if (r->spec->ordered)
        take_out_lane(r, who);
    return XO_STEP_WITHOUT;
}

/* ---- a handler ended the transaction ---- */

/* Is the claim of this one committed? 1, 0, or -1 when the database cannot say now. */
static int claim_stands(xo_runner *r, xo_member *m)
{
    xonce_tx tx = {0};
    xo_claimant *one = &m->cl;
    if (xo_tx_open(&tx, r->s) != XONCE_OK)
        return -1;
    xonce_status st = xo_claim_all(r->s, tx.c, &tx.arena, &one, 1);
    xo_tx_close(&tx, 1);
    if (st != XONCE_OK)
        return -1;
    return m->cl.state == XO_CLAIM_DUPLICATE;
}

static void escaped_with_claim(xo_runner *r, size_t who, int before_culprit)
{
    xo_member *m = &r->all[who];
    if (before_culprit && m->ran) {
        m->settled = 1; /* its statements were sent before the handler that committed: they are in */
        m->it->outcome = XONCE_FRESH;
        return;
    }
    m->claim_stands = 1;
    if (r->culprit != SIZE_MAX && who != r->culprit)
        xo_fail(XONCE_E_TX_LOST, "the handler of another message of this batch committed the transaction: the record is there, this message's effects are not");
    else
        xo_fail(XONCE_E_TX_LOST, "a handler ended the transaction itself (COMMIT, DDL or a swallowed deadlock): the record is committed, the effects perhaps in part; check, then replay or drop it");
    take_out(r, who, XONCE_REJECT, 1);
}

xo_step xo_leave_escaped(xo_runner *r, const size_t *set, size_t n)
{
    xo_error why;
    xo_error_save(&why);
    int refused = r->tx.escape_refused, before = r->culprit != SIZE_MAX, unclaimed = 0;
    xo_log(XO_ERROR, "store", "group %s: a handler ended the transaction: %s", r->s->group, why.pub.text);
    for (size_t i = 0; i < n; i++) {
        xo_member *m = &r->all[set[i]];
        if (set[i] == r->culprit)
            before = 0;
        if (m->left || m->settled || m->cl.state != XO_CLAIM_FRESH)
            continue;
        int stands = r->spec->no_dedup ? 0 : claim_stands(r, m);
        if (stands < 0)
            return XO_STEP_AGAIN;
        m->cl.state = XO_CLAIM_FRESH;
        if (stands)
            escaped_with_claim(r, set[i], before);
        else
            unclaimed++;
    }
    if (unclaimed == 0)
        return XO_STEP_WITHOUT;
    if (r->culprit == SIZE_MAX && unclaimed > 1)
        return XO_STEP_SINGLY;
    for (size_t i = 0; i < n; i++) {
        xo_member *m = &r->all[set[i]];
        if (m->left || m->settled || m->cl.state != XO_CLAIM_FRESH || (r->culprit != SIZE_MAX && set[i] != r->culprit))
            continue;
        xo_error_restore(&why);
        take_out(r, set[i], refused ? XONCE_REJECT : XONCE_RETRY, 1);
    }
    return XO_STEP_WITHOUT;
}

/* ---- outcomes ---- */

static void write_rejected(xo_runner *r, xo_member *m)
{
    xonce_outcome what = XONCE_DEFERRED;
    xonce_status st = xo_reject_write(r->s, &m->cl, m->claim_stands || r->spec->no_dedup, m->it->error.pub.text, &what);
    if (st != XONCE_OK) {
        xo_log(XO_ERROR, "store", "group %s: message %.64s could not be written to xonce_rejected: %s", r->s->group, m->cl.uniq, xonce_error_last()->text);
        what = XONCE_DEFERRED;
    }
    m->it->outcome = what;
}

void xo_finish_left(xo_runner *r, xo_member *m)
{
    int max = r->spec->max_attempts > 0 ? r->spec->max_attempts : r->s->max_attempts;
    m->settled = 1;
    m->it->outcome = XONCE_DEFERRED;
    if (m->twin != SIZE_MAX) {
        xonce_outcome o = r->all[m->twin].it->outcome;
        m->it->outcome = o == XONCE_FRESH ? XONCE_DUPLICATE : o;
        return;
    }
    if (m->verdict == XONCE_RETRY && m->it->failed_run && m->cl.m->attempt >= max) {
        xo_error_restore(&m->it->error);
        xo_error_context("delivery %d of at most %d failed", m->cl.m->attempt, max);
        xo_error_save(&m->it->error);
        m->verdict = XONCE_REJECT;
    }
    if (m->verdict == XONCE_REJECT)
        write_rejected(r, m);
}
