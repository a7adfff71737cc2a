/* The PostgreSQL engine's transaction: begin, savepoints, the guard around a lent handle, rollback, and the table of
 * its functions.
 *
 * BEGIN is put off and travels with the claim. No state of the session is relied on (a pooler may hand out another one
 * for each transaction): settings are SET LOCAL, tables are named with their schema. The isolation is READ COMMITTED;
 * READ WRITE is not asked for, so that a database set to default_transaction_read_only stays so and says it.
 * synchronous_commit is raised to `on` from off, local and remote_write: a commit that is acknowledged must survive the
 * loss of this server's power and, where there is a synchronous standby, of this server; remote_apply, the one stronger
 * choice, stays. */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "store/postgres/impl.h"

#define SAFE_COMMIT                                                                                                    \
    "CASE WHEN current_setting('synchronous_commit') = 'remote_apply' THEN NULL ELSE "                                 \
    "set_config('synchronous_commit', 'on', true) END"
#define SAVE_ITEM "SAVEPOINT xonce_item"

static void reset_tx(xo_pg_conn *c)
{
    c->pub.lent = 0;
    c->begun = c->pub.joined;
    c->item_open = c->guard_in_item = c->recovering = 0;
    c->npending = 0;
}

static xonce_status begin(xo_conn *x)
{
    xo_pg_conn *c = xo_pg_of(x);
    if (x->joined)
        return XONCE_OK;
    if (c->prune_held)
        xo_pg_prune_unlock(x);
    if (!x->lost && PQtransactionStatus(c->pg) != PQTRANS_IDLE) {
        c->begun = 1;
        xo_pg_rollback(x);
    }
    if (x->lost || PQstatus(c->pg) != CONNECTION_OK)
        return xo_pg_fail_lost(c, "it was not in use");
    reset_tx(c);
    x->in_tx = 1;
    x->escaped = 0;
    return XONCE_OK;
}

xonce_status xo_pg_tx_ready(xo_pg_conn *c)
{
    if (c->pub.lost || PQstatus(c->pg) != CONNECTION_OK)
        return xo_pg_fail_lost(c, "the transaction was open");
    if (!c->begun)
        return XONCE_OK;
    if (c->pub.lent && xo_pg_drain(c) != XONCE_OK)
        return xonce_error_last()->code;
    switch (PQtransactionStatus(c->pg)) {
    case PQTRANS_INTRANS: return XONCE_OK;
    case PQTRANS_IDLE: return xo_pg_fail_escaped(c);
    case PQTRANS_INERROR: return c->recovering ? XONCE_OK : xo_pg_fail_aborted(c);
    default: return xo_pg_fail_lost(c, "the transaction was open");
    }
}

void xo_pg_tx_prefix(xo_pg_conn *c, PGresult **settings)
{
    size_t i;
    if (!c->begun) {
        char lock[24], idle[24];
        const char *v[2] = {lock, idle};
        xo_pg_send s = {.kind = PG_CONTROL, .key = PG_OWN_KEY(PG_KEY_SETTINGS), .n = 2, .v = v, .keep = settings};
        s.text = "SELECT set_config('lock_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $2, "
                 "true), " SAFE_COMMIT ", " PG_NOW_MS;
        (void)snprintf(lock, sizeof(lock), "%d", c->lock_ms > INT32_MAX ? INT32_MAX : (int)c->lock_ms);
        (void)snprintf(idle, sizeof(idle), "%d",
                       c->idle_ms > INT32_MAX ? INT32_MAX
                       : c->idle_ms > 0       ? (int)c->idle_ms
                                              : 0);
        c->begun = 1;
        xo_pg_push_text(c, PG_CONTROL, "BEGIN ISOLATION LEVEL READ COMMITTED");
        xo_pg_push(c, &s);
    }
    for (i = 0; i < c->npending; i++)
        xo_pg_push_text(c, PG_CONTROL, c->pending[i]);
    c->npending = c->recovering = 0;
}

void xo_pg_push_safe_commit(xo_pg_conn *c)
{
    xo_pg_push_text(c, PG_CONTROL, "SELECT " SAFE_COMMIT);
}

void xo_pg_push_guard(xo_pg_conn *c)
{
    xo_pg_push_text(c, PG_CONTROL, "SAVEPOINT xonce_guard");
    c->pub.lent = 1;
    c->guard_in_item = c->item_open > 0;
}

xonce_status xo_pg_tx_failed(xo_pg_conn *c, size_t none, size_t *failed)
{
    const xo_pg_exchange *ex = &c->ex;
    const char *state = ex->error.pub.sqlstate;
    if (failed)
        *failed = none;
    if (ex->failed >= ex->n)
        return xo_error_restore(&ex->error);
    switch (ex->op[ex->failed].kind) {
    case PG_CONTROL:
    case PG_PART:
    case PG_GUARD:
        if (strcmp(state, "3B001") == 0 || strcmp(state, "25P01") == 0)
            return xo_pg_fail_escaped(c);
        break;
    default:
        if (failed)
            *failed = ex->op[ex->failed].stmt;
        break;
    }
    return xo_error_restore(&ex->error);
}

void xo_pg_rollback(xo_conn *x)
{
    xo_pg_conn *c = xo_pg_of(x);
    int begun = c->begun;
    xo_error e;
    reset_tx(c);
    if (x->joined)
        return;
    x->in_tx = 0;
    xo_pg_drop_ahead(c);
    if (x->lost || !begun)
        return;
    xo_error_save(&e);
    if (xo_pg_drain(c) == XONCE_OK && PQtransactionStatus(c->pg) != PQTRANS_IDLE &&
        (xo_pg_tell(c, "ROLLBACK", 0, NULL, 30000, NULL) != XONCE_OK || PQtransactionStatus(c->pg) != PQTRANS_IDLE))
        xo_pg_mark_lost(c);
    (void)xo_error_restore(&e);
}

/* Sends what is pending, and up to two commands more, now. */
static xonce_status tell_in_tx(xo_pg_conn *c, const char *guard, const char *more)
{
    xonce_status st;
    xo_pg_start(c, xo_pg_patience(c));
    xo_pg_tx_prefix(c, NULL);
    if (guard)
        xo_pg_push_text(c, PG_GUARD, guard);
    if (more)
        xo_pg_push_text(c, PG_CONTROL, more);
    st = xo_pg_finish(c);
    return st == XONCE_OK ? st : xo_pg_tx_failed(c, 0, NULL);
}

static xonce_status save_item(xo_pg_conn *c)
{
    if (c->npending == PG_PENDING_MAX) {
        xonce_status st = xo_pg_tx_ready(c);
        if (st == XONCE_OK)
            st = tell_in_tx(c, NULL, NULL);
        if (st != XONCE_OK)
            return st;
    }
    c->pending[c->npending++] = SAVE_ITEM;
    c->item_open++;
    return XONCE_OK;
}

/* A savepoint's end takes a guard that was set inside of it along: the guard is asked first. */
static xonce_status release_item(xo_pg_conn *c)
{
    int guarded = c->pub.lent && c->guard_in_item;
    xonce_status st = XONCE_OK;
    if (c->item_open > 0)
        c->item_open--;
    if (c->npending && strcmp(c->pending[c->npending - 1], SAVE_ITEM) == 0) {
        c->npending--; /* nothing happened in between */
        return XONCE_OK;
    }
    if (!c->pub.lent && c->npending < PG_PENDING_MAX) {
        c->pending[c->npending++] = "RELEASE SAVEPOINT xonce_item";
        return XONCE_OK;
    }
    st = xo_pg_tx_ready(c);
    if (st == XONCE_OK)
        st = tell_in_tx(c, guarded && !c->pub.joined ? "RELEASE SAVEPOINT xonce_guard" : NULL,
                        "RELEASE SAVEPOINT xonce_item");
    if (st == XONCE_OK && guarded)
        c->pub.lent = c->guard_in_item = 0;
    return st;
}

static xonce_status rollback_item(xo_pg_conn *c)
{
    xonce_status st;
    if (c->pub.lent && xo_pg_drain(c) != XONCE_OK)
        return xonce_error_last()->code;
    if (c->begun && PQtransactionStatus(c->pg) == PQTRANS_IDLE)
        return xo_pg_fail_escaped(c);
    st = tell_in_tx(c, NULL, "ROLLBACK TO SAVEPOINT xonce_item");
    if (st == XONCE_OK && c->guard_in_item)
        c->pub.lent = c->guard_in_item = 0;
    return st;
}

/* Works in a failed transaction too; what was put off is not wanted any more. */
static xonce_status ask_guard(xo_pg_conn *c)
{
    if (xo_pg_drain(c) != XONCE_OK)
        return xonce_error_last()->code;
    if (PQtransactionStatus(c->pg) == PQTRANS_IDLE)
        return xo_pg_fail_escaped(c);
    c->npending = 0;
    return tell_in_tx(c, NULL, "ROLLBACK TO SAVEPOINT xonce_guard");
}

static xonce_status renew_guard(xo_pg_conn *c)
{
    xonce_status st = xo_pg_tx_ready(c);
    if (st != XONCE_OK || c->item_open) /* a message with a savepoint of its own has a guard of its own */
        return st;
    return tell_in_tx(c, "RELEASE SAVEPOINT xonce_guard", "SAVEPOINT xonce_guard");
}

static xonce_status savepoint(xo_conn *x, xo_savepoint_op op)
{
    xo_pg_conn *c = xo_pg_of(x);
    if (x->lost)
        return xo_pg_fail_lost(c, "the transaction was open");
    if (op == XO_ASK_GUARD || op == XO_RENEW_GUARD)
        return op == XO_ASK_GUARD ? ask_guard(c) : renew_guard(c);
    return op == XO_SAVE ? save_item(c) : op == XO_RELEASE ? release_item(c) : rollback_item(c);
}

static void *native(xo_conn *x)
{
    xo_pg_conn *c = xo_pg_of(x);
    int guard = !x->joined && !x->lent;
    if (!x->in_tx) /* a connection hook: no transaction to guard */
        return c->pg;
    if (xo_pg_tx_ready(c) != XONCE_OK)
        return NULL;
    if (!c->begun || c->npending || guard) {
        xonce_status st;
        xo_pg_start(c, xo_pg_patience(c));
        xo_pg_tx_prefix(c, NULL);
        if (guard)
            xo_pg_push_guard(c);
        st = xo_pg_finish(c);
        if (st != XONCE_OK) {
            (void)xo_pg_tx_failed(c, 0, NULL);
            return NULL;
        }
    }
    x->lent = 1;
    if (PQpipelineStatus(c->pg) != PQ_PIPELINE_OFF && !PQexitPipelineMode(c->pg)) {
        (void)xo_pg_fail_lost(c, "leaving the pipeline");
        return NULL;
    }
    return c->pg;
}

static xonce_status after_lent(xo_conn *x)
{
    xo_pg_conn *c = xo_pg_of(x);
    if (x->in_tx)
        return xo_pg_tx_ready(c);
    if (x->lost || xo_pg_drain(c) != XONCE_OK)
        return xo_pg_fail_lost(c, "a hook had it");
    if (PQtransactionStatus(c->pg) == PQTRANS_IDLE)
        return XONCE_OK;
    xo_pg_mark_lost(c);
    return xo_fail(XONCE_E_INVALID, "a connection hook left a transaction open");
}

const xo_dialect *xo_dialect_postgres(void)
{
    static const xo_dialect dialect = {
        .name = "postgresql",
        .kind = XO_DIALECT_PG,
        .pipelines = 1,
        .quoted_offset = "\"offset\"",
        .sql_now = PG_NOW_MS,
        .sql_for_update = " FOR UPDATE",
        .open = xo_pg_open,
        .wrap = xo_pg_wrap,
        .close = xo_pg_close,
        .usable = xo_pg_usable,
        .begin = begin,
        .claim = xo_pg_claim,
        .read_back = xo_pg_read_back,
        .run = xo_pg_run,
        .commit = xo_pg_commit,
        .rollback = xo_pg_rollback,
        .recover = xo_pg_recover,
        .savepoint = savepoint,
        .native = native,
        .after_lent = after_lent,
        .query = xo_pg_query,
        .try_sql = xo_pg_try_sql,
        .layout = xo_pg_layout,
        .prune_lock = xo_pg_prune_lock,
        .prune_unlock = xo_pg_prune_unlock,
        .prune_look = xo_pg_prune_look,
        .prune_delete = xo_pg_prune_delete,
        .check = xo_pg_check,
        .days = xo_pg_days,
        .day_add = xo_pg_day_add,
        .day_end = xo_pg_day_end,
    };
    return &dialect;
}
