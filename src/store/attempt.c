/* One attempt at a batch's transaction: begin, claim, handlers, commit. */
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "store/batch.h"
#include "store/run.h"

#include <stdlib.h>
#include <string.h>

/* What the last error means for the whole transaction. */
xo_step xo_step_of_error(void)
{
    xonce_status code = xonce_error_last()->code;
    switch (xo_error_class()) {
    case XO_SQL_AGAIN:
    case XO_SQL_LOST:
        return XO_STEP_AGAIN;
    case XO_SQL_SETUP:
        return XO_STEP_FATAL;
    case XO_SQL_NONE:
    case XO_SQL_OTHER:
    case XO_SQL_DATA:
    case XO_SQL_PARENT:
        break;
    }
    if (code == XONCE_E_FENCED)
        return XO_STEP_FENCED;
    if (code == XONCE_E_CONNECT || code == XONCE_E_CONFLICT || code == XONCE_E_UNKNOWN_COMMIT)
        return XO_STEP_AGAIN;
    if (code == XONCE_E_AUTH || code == XONCE_E_SCHEMA)
        return XO_STEP_FATAL;
    return XO_STEP_SPLIT;
}

static int again_class(void)
{
    return xo_step_of_error() == XO_STEP_AGAIN;
}

static int fenced(void)
{
    return xo_step_of_error() == XO_STEP_FENCED;
}

/* A stage of the run ends now. */
static void end_stage(xo_runner *r, xo_stage stage)
{
    xo_times *t = r->spec->times;
    if (!t)
        return;
    int64_t now = xo_mono_us();
    t->us[stage] += now - r->stage_us;
    t->n[stage]++;
    r->stage_us = now;
}

/* ---- claim ---- */

/* The very row that an attempt of ours claimed, which we did not commit: its handler did, and the connection broke before that was noticed. */
static int committed_by_handler(const xo_member *m)
{
    return m->exposed && !m->maybe && m->cl.row && m->cl.found_row == m->cl.row;
}

/* Those that can be neither fresh nor duplicate leave; their claims, if any, go with the rollback. */
static int take_out_odd(xo_runner *r, const size_t *set, size_t n)
{
    int any = 0;
    for (size_t i = 0; i < n; i++) {
        xo_member *m = &r->all[set[i]];
        switch (m->cl.state) {
        case XO_CLAIM_NO_ROW:
            xo_fail(XONCE_E_SQL, "the claim of message %.64s was refused, but no record of it is there: not a duplicate; run `xonce check`", m->cl.uniq);
            xo_leave_deferred(r, set[i], XONCE_RETRY, 0);
            break;
        case XO_CLAIM_TAKEN:
        case XO_CLAIM_WAITS:
            xo_fail(XONCE_E_CONFLICT, "another message that is not settled yet has the id %.64s: it must come again", m->cl.uniq);
            xo_leave_deferred(r, set[i], XONCE_RETRY, 0);
            break;
        case XO_CLAIM_STALE:
            xo_fail(XONCE_E_TIMEOUT, "message %.64s was taken from its source too long ago to be claimed safely: it must come again", m->cl.uniq);
            xo_leave_deferred(r, set[i], XONCE_RETRY, 0);
            break;
        case XO_CLAIM_FENCED:
            xo_fail(XONCE_E_FENCED, "messages of topic %.100s are claimed by offset by other members of the group, this one claims by record", m->cl.m->topic);
            xo_leave_deferred(r, set[i], XONCE_RETRY, 0);
            break;
        case XO_CLAIM_COLLIDES:
            xo_fail(XONCE_E_INVALID, "another message with the id %.64s was applied before (collision=reject)", m->cl.uniq);
            xo_leave_deferred(r, set[i], XONCE_REJECT, 0);
            break;
        case XO_CLAIM_DUPLICATE:
            if (!committed_by_handler(m))
                continue;
            xo_fail(XONCE_E_TX_LOST, "a handler committed the transaction before it broke off: the record is there, the effects perhaps in part; check, then replay or drop it");
            m->claim_stands = 1;
            xo_leave_deferred(r, set[i], XONCE_REJECT, 1);
            break;
        case XO_CLAIM_NONE:
        case XO_CLAIM_FRESH:
        case XO_CLAIM_REFUSED:
        case XO_CLAIM_TWIN:
        case XO_CLAIM_COVERED:
            continue;
        }
        any = 1;
    }
    return any;
}

xonce_status xo_attempt_claims(xo_runner *r, const size_t *set, size_t n)
{
    xo_arena_reset(&r->arena);
    xo_claimant **cls = xo_arena_alloc(&r->arena, (n ? n : 1) * sizeof *cls);
    size_t k = 0;
    if (!cls)
        return xo_nomem();
    for (size_t i = 0; i < n; i++) {
        xo_claimant *cl = &r->all[set[i]].cl;
        if (r->spec->no_dedup || (xo_by_offset(cl->m) && !cl->m->claim_record))
            cl->state = XO_CLAIM_FRESH;
        else
            cls[k++] = cl;
    }
    r->claims = (xo_claims){0};
    return k ? xo_claim_prepare(r->s, &r->arena, cls, k, &r->claims) : XONCE_OK;
}

/* What refused a claim may be read back with the COMMIT, when it needs not be known before: no other message waits for it, and no earlier attempt may have made that row. */
static int may_read_later(const xo_runner *r)
{
    return r->s->d->pipelines && r->attempts == 1 && !r->spec->ordered && !r->by_offset;
}

static xo_step claim_set(xo_runner *r, const size_t *set, size_t n, int sent)
{
    if (!sent && xo_attempt_claims(r, set, n) != XONCE_OK)
        return xo_step_of_error();
    if (r->spec->no_dedup)
        return XO_STEP_DONE;
    size_t k = r->claims.n;
    if (k && xo_claim_take(r->s, r->tx.c, &r->claims, may_read_later(r)) != XONCE_OK)
        return xo_step_of_error();
    for (size_t i = 0; i < n; i++)
        if (r->all[set[i]].cl.state == XO_CLAIM_FRESH) /* so what an earlier attempt claimed is not there */
            r->all[set[i]].exposed = 0;
    if (k && take_out_odd(r, set, n))
        return XO_STEP_WITHOUT;
    return xo_offset_claim(r, set, n) == XONCE_OK ? XO_STEP_DONE : xo_step_of_error();
}

/* ---- handlers ---- */

/* Once may be an outage that nobody waited for; a second time it is the handler, which the database does not wait for either. */
enum { SLOW_MOST = 2 };

static int too_slow(xo_runner *r, const xo_member *m)
{
    char limit[32];
    if (m->slow < SLOW_MOST)
        return 0;
    xo_format_duration(r->s->handler_ms, limit, sizeof limit);
    xonce_fail(&r->tx, "its handler took longer than handler.timeout (%s) %d times, and the transaction was lost each time; make it faster or handler.timeout longer", limit, m->slow);
    return 1;
}

/* A transaction that was lost while its handlers took longer than they may: that is looked for message by message, and is no outage. */
static xo_step after_loss(xo_runner *r, const size_t *set, size_t n)
{
    xonce_status code = xonce_error_last()->code;
    if (r->handlers_ms <= r->s->handler_ms || (xo_error_class() != XO_SQL_LOST && code != XONCE_E_CONNECT && code != XONCE_E_UNKNOWN_COMMIT))
        return XO_STEP_AGAIN;
    if (n > 1)
        return XO_STEP_SINGLY;
    r->all[set[0]].slow++;
    return XO_STEP_AGAIN;
}

static xo_step check_lent(xo_runner *r, size_t who)
{
    xonce_tx *tx = &r->tx;
    if (!tx->c->lent && !tx->c->escaped)
        return XO_STEP_DONE;
    if (tx->failed && tx->error.pub.code == XONCE_E_TX_LOST) { /* it was noticed when this one asked for the handle */
        xo_error_restore(&tx->error);
        return XO_STEP_ESCAPED;
    }
    if (r->s->d->after_lent(tx->c) == XONCE_OK)
        return XO_STEP_DONE;
    if (xonce_error_last()->code == XONCE_E_TX_LOST) {
        r->culprit = who;
        return XO_STEP_ESCAPED;
    }
    if (again_class())
        return XO_STEP_AGAIN;
    if (!tx->failed) { /* the first failure says why */
        tx->failed = 1;
        tx->failed_item = who;
        xo_error_save(&tx->error);
    }
    return XO_STEP_DONE;
}

/* What an earlier attempt wrote of it in xonce_rejected is undone. */
static void begin_member(xo_runner *r, size_t who)
{
    xo_member *m = &r->all[who];
    r->tx.item = who;
    r->tx.reason[0] = 0;
    r->tx.sent = 0;
    if (!m->rejected)
        return;
    m->rejected = m->it->failed_run = 0;
    memset(&m->it->error, 0, sizeof m->it->error);
}

static xo_step run_member(xo_runner *r, const size_t *set, size_t n, size_t pos)
{
    xonce_tx *tx = &r->tx;
    size_t who = set[pos];
    xo_member *m = &r->all[who];
    begin_member(r, who);
    if (r->savepoints && r->s->d->savepoint(tx->c, XO_SAVE) != XONCE_OK)
        return xo_step_of_error();
    xonce_verdict v = too_slow(r, m) ? XONCE_RETRY : r->spec->one(tx, m->cl.m, r->spec->arg);
    m->ran = 1;
    m->sent = tx->sent;
    if (xo_failpoint("handled") != XONCE_OK)
        return XO_STEP_AGAIN;
    xo_step step = check_lent(r, who);
    if (step != XO_STEP_DONE)
        return step;
    if (r->savepoints && v == XONCE_DONE)
        xonce_tx_flush(tx);
    if (v == XONCE_DONE && !tx->failed) {
        if (!r->savepoints || r->s->d->savepoint(tx->c, XO_RELEASE) == XONCE_OK)
            return XO_STEP_DONE;
        r->culprit = who;
        return xonce_error_last()->code == XONCE_E_TX_LOST ? XO_STEP_ESCAPED : xo_step_of_error();
    }
    return xo_member_failed(r, set, n, pos, v);
}

static xo_step run_each(xo_runner *r, const size_t *set, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        xo_member *m = &r->all[set[i]];
        if (m->left || m->cl.state != XO_CLAIM_FRESH)
            continue;
        xo_step step = run_member(r, set, n, i);
        if (step != XO_STEP_DONE)
            return step;
    }
    return XO_STEP_DONE;
}

/* ---- batch handler ---- */

typedef struct {
    xo_runner *r;
    const size_t *fresh;
    size_t n;
} batch_members;

static void leave_batch(void *arg, size_t i, xonce_verdict v, const char *reason)
{
    batch_members *b = arg;
    if (b->r->all[b->fresh[i]].left)
        return;
    xonce_fail(&b->r->tx, "%s", reason);
    xo_leave_failed(b->r, b->fresh[i], v, 0);
    b->r->tx.reason[0] = 0;
}

/* A batch failed as a whole: alone it leaves, among others it is looked for. */
static xo_step batch_failed(xo_runner *r, const size_t *fresh, size_t k, xonce_verdict v)
{
    int sql_failed = r->tx.failed;
    if (sql_failed) {
        xo_error_restore(&r->tx.error);
        if (again_class() || fenced())
            return xo_step_of_error();
        if (v == XONCE_DONE)
            v = XONCE_RETRY;
        if (r->s->judge_sql && xo_error_class() == XO_SQL_SETUP)
            return XO_STEP_FATAL;
    }
    if (k > 1 && v != XONCE_REJECT) {
        if (!sql_failed)
            xo_fail(XONCE_E_INVALID, "%s", r->tx.reason[0] ? r->tx.reason : "the batch handler asked for redelivery");
        return XO_STEP_SPLIT;
    }
    xo_step step = XO_STEP_WITHOUT;
    for (size_t i = 0; i < k && step != XO_STEP_FATAL; i++)
        if (!r->all[fresh[i]].left)
            step = xo_leave_failed(r, fresh[i], v, sql_failed);
    return step;
}

static xo_step call_many(xo_runner *r, const size_t *own, const xonce_message **m, size_t k)
{
    batch_members members = {.r = r, .fresh = own, .n = k};
    xonce_batch b = {.m = m, .n = k, .leave = leave_batch, .arg = &members};
    for (size_t i = 0; i < k; i++)
        m[i] = r->all[own[i]].cl.m;
    r->tx.item = own[0];
    r->tx.reason[0] = 0;
    xonce_verdict v = too_slow(r, &r->all[own[0]]) ? XONCE_RETRY : r->spec->many(&r->tx, &b, r->spec->arg);
    for (size_t i = 0; i < k; i++)
        r->all[own[i]].ran = 1;
    xo_step step = xo_failpoint("handled") == XONCE_OK ? check_lent(r, own[0]) : XO_STEP_AGAIN;
    if (step == XO_STEP_ESCAPED && k > 1)
        r->culprit = SIZE_MAX;
    if (step != XO_STEP_DONE)
        return step;
    if (b.marked)
        return XO_STEP_WITHOUT;
    return v != XONCE_DONE || r->tx.failed ? batch_failed(r, own, k, v) : XO_STEP_DONE;
}

static xo_step run_many(xo_runner *r, const size_t *set, size_t n)
{
    /* not in the arena: a flush resets that */
    size_t *own = xo_calloc(n, sizeof *own), k = 0;
    const xonce_message **m = xo_calloc(n, sizeof *m);
    xo_step step = XO_STEP_DONE;
    if (!own || !m) {
        xo_nomem();
        step = XO_STEP_FATAL;
    }
    for (size_t i = 0; i < n && step == XO_STEP_DONE; i++)
        if (r->all[set[i]].cl.state == XO_CLAIM_FRESH)
            own[k++] = set[i];
    if (k > 0)
        step = call_many(r, own, m, k);
    free(own);
    free(m);
    return step;
}

/* ---- commit ---- */

/* After an unknown COMMIT: is the row that is there the one of that transaction? Where nobody knows, it is. */
static int maybe_ours(const xo_member *m)
{
    return !m->cl.row || !m->cl.found_row || m->cl.row == m->cl.found_row;
}

static void settle_set(xo_runner *r, const size_t *set, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        xo_member *m = &r->all[set[i]];
        if (m->left || m->cl.state == XO_CLAIM_TWIN || m->cl.state == XO_CLAIM_REFUSED) /* refused still: once more, looking closer */
            continue;
        if (m->cl.state != XO_CLAIM_FRESH && m->cl.state != XO_CLAIM_DUPLICATE) { /* no row was read back for it: whatever it is, it is no duplicate */
            xo_fail(XONCE_E_SQL, "message %.64s was neither claimed nor found", m->cl.uniq);
            xo_leave_deferred(r, set[i], XONCE_RETRY, 0);
            continue;
        }
        m->settled = 1;
        int ours = m->cl.state == XO_CLAIM_FRESH || (m->maybe && maybe_ours(m));
        m->it->outcome = !ours ? XONCE_DUPLICATE : m->rejected ? XONCE_REJECTED : XONCE_FRESH;
        if (m->it->outcome == XONCE_DUPLICATE && m->rejected) /* in an attempt that came to nothing */
            memset(&m->it->error, 0, sizeof m->it->error);
    }
    for (size_t i = 0; i < n; i++) {
        xo_member *m = &r->all[set[i]];
        if (m->left || m->cl.state != XO_CLAIM_TWIN || m->cl.twin->state == XO_CLAIM_REFUSED)
            continue;
        m->settled = 1;
        m->it->outcome = XONCE_DUPLICATE; /* of one that is rejected too: there is one row, as when it had come a batch later */
    }
}

static size_t count_fresh(const xo_runner *r, const size_t *set, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        k += !r->all[set[i]].left && r->all[set[i]].cl.state == XO_CLAIM_FRESH;
    return k;
}

static xo_step unknown_commit(xo_runner *r, const size_t *set, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (r->all[set[i]].cl.state == XO_CLAIM_FRESH)
            r->all[set[i]].maybe = 1;
    return XO_STEP_AGAIN;
}

static xo_step commit_failed(xo_runner *r, const size_t *set, size_t n, size_t failed_item)
{
    if (xonce_error_last()->code == XONCE_E_TX_LOST)
        return XO_STEP_ESCAPED;
    if (xonce_error_last()->code == XONCE_E_UNKNOWN_COMMIT)
        return unknown_commit(r, set, n);
    if (again_class() || fenced())
        return xo_step_of_error();
    size_t fresh = count_fresh(r, set, n);
    if (failed_item != SIZE_MAX && r->spec->one)
        return xo_leave_failed(r, failed_item, XONCE_RETRY, 1);
    if (fresh > 1)
        return failed_item != SIZE_MAX ? XO_STEP_SPLIT : XO_STEP_SINGLY;
    for (size_t i = 0; i < n; i++)
        if (!r->all[set[i]].left && r->all[set[i]].cl.state == XO_CLAIM_FRESH)
            return xo_leave_failed(r, set[i], XONCE_RETRY, 1);
    return XO_STEP_AGAIN;
}

static int any_maybe(const xo_runner *r, const size_t *set, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (r->all[set[i]].maybe)
            return 1;
    return 0;
}

static int any_by_offset(const xo_runner *r, const size_t *set, size_t n)
{
    for (size_t i = 0; r->by_offset && i < n; i++)
        if (xo_by_offset(r->all[set[i]].cl.m))
            return 1;
    return 0;
}

/* The COMMIT, again without each message whose statement fails, as long as the transaction can go on. */
static xo_step send_commit(xo_runner *r, const size_t *set, size_t n, xo_company *with)
{
    for (;;) {
        size_t failed_item = SIZE_MAX;
        r->tx.c->with = r->s->d->pipelines ? with : NULL;
        xonce_status st = xo_tx_commit(&r->tx, &failed_item);
        r->tx.c->with = NULL;
        if (st == XONCE_OK)
            return xo_failpoint("committed") == XONCE_OK ? XO_STEP_DONE : unknown_commit(r, set, n);
        xo_step step = failed_item == SIZE_MAX ? XO_STEP_SPLIT : xo_out_by_statement(r, set, n, failed_item);
        if (step == XO_STEP_SPLIT)
            return commit_failed(r, set, n, failed_item);
        if (step != XO_STEP_DONE)
            return step;
    }
}

/* Sends the COMMIT, and what may share its trip. */
static xo_step commit_with(xo_runner *r, const size_t *set, size_t n)
{
    xo_company with = {.group = r->s->group};
    if (r->claims.refused) {
        with.refused = r->claims.rows;
        with.nrefused = r->claims.k;
    }
    if (r->s->d->pipelines)
        xo_ahead_offer(r, &with);
    r->tx.c->parts = n > 1 && xo_in_parts(r->s);
    xo_step step = send_commit(r, set, n, &with);
    end_stage(r, XO_STAGE_COMMIT);
    if (r->tx.c)
        r->tx.c->parts = 0;
    xo_ahead_end(r, step == XO_STEP_DONE && with.begun);
    if (step != XO_STEP_DONE)
        return step;
    if (r->claims.refused)
        xo_claim_judge(&r->claims);
    settle_set(r, set, n);
    return step;
}

static xo_step commit_set(xo_runner *r, const size_t *set, size_t n)
{
    if (count_fresh(r, set, n) == 0 && !any_maybe(r, set, n) && !any_by_offset(r, set, n)) {
        /* only duplicates: what they wait for is committed, there is nothing of ours. (After an unknown COMMIT we do commit: the locking read makes that wait for the
           standby that the first COMMIT may have been cancelled in waiting for.) */
        xo_tx_close(&r->tx, 1);
        settle_set(r, set, n);
        return XO_STEP_DONE;
    }
    if (xo_failpoint("committing") != XONCE_OK)
        return XO_STEP_AGAIN;
    return commit_with(r, set, n);
}

static xo_step transaction(xo_runner *r, const size_t *set, size_t n, int sent)
{
    if (xo_failpoint("begun") != XONCE_OK)
        return XO_STEP_AGAIN;
    xo_step step = claim_set(r, set, n, sent);
    if (step != XO_STEP_DONE)
        return step;
    if (xo_failpoint("claimed") != XONCE_OK)
        return XO_STEP_AGAIN;
    end_stage(r, XO_STAGE_CLAIM);
    int64_t began = xo_mono_ms();
    step = r->spec->one ? run_each(r, set, n) : run_many(r, set, n);
    r->handlers_ms = xo_mono_ms() - began;
    end_stage(r, XO_STAGE_HANDLER);
    return step == XO_STEP_DONE ? commit_set(r, set, n) : step;
}

/* Before what failed is rolled back: has a handler committed some of it, unnoticed so far? Its claims then stand, and run again all would be duplicates. */
static int guard_is_gone(xonce_tx *tx)
{
    if (!tx->c || !tx->c->lent || tx->c->lost)
        return 0;
    xo_error why;
    xo_error_save(&why);
    int gone = tx->s->d->savepoint(tx->c, XO_ASK_GUARD) != XONCE_OK && xonce_error_last()->code == XONCE_E_TX_LOST;
    if (!gone)
        xo_error_restore(&why);
    return gone;
}

/* Only who had the handle last can have ended the transaction: what had been sent before was under the guard. A batch handler has it for all. */
static void name_culprit(xo_runner *r)
{
    r->safe = r->spec->one && r->tx.c->lent ? r->tx.lender : SIZE_MAX;
    if (r->culprit == SIZE_MAX)
        r->culprit = r->safe;
}

/* Broken off, with the handle lent: whether a handler had committed nobody saw. */
static void note_exposed(xo_runner *r, const size_t *set, size_t n)
{
    for (size_t i = 0; r->tx.c && r->tx.c->lent && i < n; i++)
        if (r->all[set[i]].cl.state == XO_CLAIM_FRESH)
            r->all[set[i]].exposed = 1;
}

/* Opens the transaction, unless that was done behind the COMMIT of the batch before. */
static xonce_status open_tx(xo_runner *r, int sent)
{
    xonce_tx *tx = &r->tx;
    xonce_status st = XONCE_OK;
    if (!sent) {
        memset(tx, 0, sizeof *tx);
        st = xo_tx_open(tx, r->s);
    }
    tx->worker = r->spec->worker;
    tx->stopping = r->spec->stopping;
    tx->lender = SIZE_MAX;
    r->culprit = SIZE_MAX;
    return st;
}

xo_step xo_attempt(xo_runner *r, const size_t *set, size_t n)
{
    xonce_tx *tx = &r->tx;
    int sent = r->open;
    r->open = r->taken_out = 0;
    if (r->spec->times)
        r->stage_us = xo_mono_us();
    if (r->attempts++ && r->spec->ahead)
        xo_ahead_drop(r->spec->ahead); /* it may hold what this one needs */
    if (open_tx(r, sent) != XONCE_OK)
        return xo_step_of_error() == XO_STEP_SPLIT ? XO_STEP_FATAL : xo_step_of_error();
    for (size_t i = 0; i < n; i++) {
        xo_member *m = &r->all[set[i]];
        m->ran = m->sent = 0;
        if (m->cl.m->expires_mono < tx->expires_mono)
            tx->expires_mono = m->cl.m->expires_mono;
    }
    r->handlers_ms = 0;
    xo_step step = transaction(r, set, n, sent);
    if (step == XO_STEP_AGAIN)
        step = after_loss(r, set, n);
    if (step != XO_STEP_DONE && step != XO_STEP_ESCAPED && guard_is_gone(tx))
        step = XO_STEP_ESCAPED;
    if (tx->c && step == XO_STEP_ESCAPED) {
        name_culprit(r);
        tx->escape_refused = tx->c->commit_refused;
        tx->c->lost = 1; /* who knows what the handler left on it */
    }
    if (step != XO_STEP_DONE)
        note_exposed(r, set, n);
    xo_tx_close(tx, step != XO_STEP_DONE);
    return step;
}
