/* An open transaction: statements queued and run, steps by hand, transactions of the user's that were joined. */
#include "store/tx.h"
#include "base/clock.h"
#include "store/claim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { QUEUE_MAX = 1024, QUEUE_BYTES_MAX = 4 * 1024 * 1024 };
#define XO_PG_DIVISION_BY_ZERO "22012" /* what a fence fails with there */

xonce_status xo_tx_open(xonce_tx *tx, xonce_store *s)
{
    tx->s = s;
    tx->expires_mono = INT64_MAX;
    xonce_status st = xo_pool_writer_lock(s->pool);
    if (st != XONCE_OK)
        return st;
    tx->writer = 1;
    st = xo_pool_get(s->pool, &tx->c);
    if (st == XONCE_OK)
        st = s->d->begin(tx->c);
    if (st != XONCE_OK)
        xo_tx_close(tx, 1);
    return st;
}

void xo_tx_reset_queue(xonce_tx *tx)
{
    tx->nstmts = 0;
    tx->queued_bytes = 0;
    xo_arena_reset(&tx->arena);
}

void xo_tx_drop_item(xonce_tx *tx, size_t item)
{
    size_t k = 0;
    for (size_t i = 0; i < tx->nstmts; i++)
        if (tx->stmts[i].item != item)
            tx->stmts[k++] = tx->stmts[i];
    tx->nstmts = k;
}

void xo_tx_clear_failure(xonce_tx *tx)
{
    tx->failed = 0;
    memset(&tx->error, 0, sizeof tx->error);
    tx->reason[0] = 0;
}

void xo_tx_close(xonce_tx *tx, int rollback)
{
    if (tx->c) {
        xo_error e;
        xo_error_save(&e);
        if (tx->c->joined) {
            tx->s->d->close(tx->c);
        } else if (tx->s->group) {
            if (rollback || tx->c->in_tx)
                tx->s->d->rollback(tx->c);
            xo_pool_put(tx->s->pool, tx->c);
        }
        xo_error_restore(&e);
    }
    tx->c = NULL;
    if (tx->writer)
        xo_pool_writer_unlock(tx->s->pool);
    tx->writer = 0;
    for (xo_sql *q = tx->owned, *next; q; q = next) {
        next = q->next;
        xo_sql_free(q);
    }
    tx->owned = NULL;
    free(tx->stmts);
    tx->stmts = NULL;
    tx->nstmts = tx->cap_stmts = 0;
    xo_arena_free(&tx->arena);
}

/* ---- queue ---- */

/* Remembers a failure for the handler's message, with the statement in its text. */
static xonce_status note_failure(xonce_tx *tx, size_t item, const xo_sql *sql)
{
    if (sql)
        xo_error_context("\"%.100s%s\"", sql->original, strlen(sql->original) > 100 ? "..." : "");
    tx->failed = 1;
    tx->failed_item = item;
    xo_error_save(&tx->error);
    return tx->error.pub.code;
}

/* A queued statement failed. A fence that found no row is told from one that the database refused. */
static xonce_status note_queued(xonce_tx *tx, const xo_stmt *s)
{
    const xonce_error *e = xonce_error_last();
    if (s->fence && tx->s->d->kind == XO_DIALECT_PG && strcmp(e->sqlstate, XO_PG_DIVISION_BY_ZERO) == 0)
        (void)xo_fail(XONCE_E_FENCED, "its position was moved by another member");
    return note_failure(tx, s->item, s->fence ? NULL : s->sql);
}

static xonce_status flush(xonce_tx *tx)
{
    if (tx->failed)
        return xo_error_restore(&tx->error);
    if (tx->nstmts == 0)
        return XONCE_OK;
    size_t failed = 0;
    tx->sent |= tx->stmts[tx->nstmts - 1].item == tx->item;
    xonce_status st = tx->s->d->run(tx->c, tx->stmts, tx->nstmts, &failed);
    if (st != XONCE_OK)
        st = failed < tx->nstmts ? note_queued(tx, &tx->stmts[failed]) : note_failure(tx, tx->item, NULL);
    xo_tx_reset_queue(tx);
    return st;
}

static xonce_status check_open(xonce_tx *tx, const char *what)
{
    if (!tx || !tx->c)
        return xo_fail(XONCE_E_INVALID, "%s: no open transaction", what);
    if (tx->busy)
        return xo_fail(XONCE_E_INVALID, "%s: not inside a row callback of the same transaction", what);
    if (tx->failed)
        return xo_error_restore(&tx->error);
    if (tx->dead)
        return xo_fail(XONCE_E_CLOSED, "%s: an earlier error made this transaction useless: roll it back", what);
    return XONCE_OK;
}

static xonce_status look_up(xonce_tx *tx, const char *sql, size_t n, const xo_sql **out)
{
    if (!sql)
        return xo_fail(XONCE_E_INVALID, "no SQL text");
    int owned = 0;
    xonce_status st = xo_pool_sql(tx->s->pool, sql, out, &owned);
    if (st != XONCE_OK)
        return st;
    if (owned) {
        ((xo_sql *)*out)->next = tx->owned;
        tx->owned = (xo_sql *)*out;
    }
    if ((*out)->kind == XO_STMT_CONTROL)
        return xo_fail(XONCE_E_INVALID, "\"%.60s\": a handler must not begin, commit or roll back; xonce does", sql);
    if ((*out)->nparams != n)
        return xo_fail(XONCE_E_INVALID, "\"%.60s\" has %u parameters, %zu values were given", sql, (*out)->nparams, n);
    return XONCE_OK;
}

/* Lends the handle; the queue is empty. Before another message's handler gets it the guard is asked: two that end the transaction, each in its own way, could apply those between them twice. */
static void *lend(xonce_tx *tx)
{
    if (tx->c->lent && !tx->c->joined && tx->lender != tx->item && tx->s->d->savepoint(tx->c, XO_RENEW_GUARD) != XONCE_OK)
        return NULL;
    tx->lender = tx->item;
    return tx->s->d->native(tx->c);
}

/* A savepoint of the handler's must be younger than the guard: going back to it would take the guard along. */
static int sets_savepoint(const xo_sql *sql, xo_dialect_kind kind)
{
    xo_lexer l;
    xo_lex_span w = {.kind = XO_LEX_COMMENT};
    xo_lex_init(&l, kind, sql->text, strlen(sql->text));
    while (w.kind == XO_LEX_COMMENT || w.kind == XO_LEX_PLAIN)
        if (xo_lex_next(&l, &w) != XONCE_OK)
            return 0;
    return w.kind == XO_LEX_WORD && w.len == 9 && strncasecmp(w.p, "savepoint", 9) == 0;
}

/* A statement that may end the transaction by itself (DDL on MySQL, CALL) runs alone, behind the guard savepoint. */
static int needs_guard(const xonce_tx *tx, const xo_sql *sql)
{
    return !tx->c->joined && (sql->kind == XO_STMT_OTHER || ((!tx->c->lent || tx->lender != tx->item) && sets_savepoint(sql, tx->s->d->kind)));
}

static xonce_status arm_guard(xonce_tx *tx, const xo_sql *sql)
{
    if (!needs_guard(tx, sql))
        return XONCE_OK;
    return lend(tx) ? XONCE_OK : xonce_error_last()->code;
}

static xonce_status run_one(xonce_tx *tx, const xo_sql *sql, const xonce_value *v)
{
    xo_stmt one = {.sql = sql, .v = v, .item = tx->item};
    size_t failed = 0;
    tx->sent = 1;
    xonce_status st = arm_guard(tx, sql);
    if (st == XONCE_OK)
        st = tx->s->d->run(tx->c, &one, 1, &failed);
    return st == XONCE_OK ? st : note_failure(tx, tx->item, sql);
}

static xonce_status enqueue(xonce_tx *tx, const xo_sql *sql, const xonce_value *v, size_t n)
{
    xo_stmt *grown = xo_grow(tx->stmts, &tx->cap_stmts, tx->nstmts + 1, sizeof *grown);
    xonce_value *copy = xo_arena_alloc(&tx->arena, (n ? n : 1) * sizeof *copy);
    if (grown)
        tx->stmts = grown;
    if (!grown || !copy)
        return xo_nomem();
    for (size_t i = 0; i < n; i++) {
        copy[i] = v[i];
        if (v[i].kind == XONCE_TEXT || v[i].kind == XONCE_DECIMAL || v[i].kind == XONCE_BLOB) {
            copy[i].v.p = xo_arena_dup(&tx->arena, v[i].v.p, v[i].len);
            if (!copy[i].v.p)
                return xo_nomem();
            tx->queued_bytes += v[i].len;
        }
    }
    tx->stmts[tx->nstmts++] = (xo_stmt){.sql = sql, .v = copy, .item = tx->item};
    return XONCE_OK;
}

xonce_status xonce_exec_values(xonce_tx *tx, const char *sql, const xonce_value *v, size_t n)
{
    const xo_sql *parsed = NULL;
    xonce_status st = check_open(tx, "xonce_exec");
    if (st != XONCE_OK)
        return st;
    st = look_up(tx, sql, n, &parsed);
    if (st != XONCE_OK)
        return note_failure(tx, tx->item, NULL);
    if (tx->s->d->runs_at_once)
        return run_one(tx, parsed, v);
    if (parsed->kind == XO_STMT_OTHER || needs_guard(tx, parsed)) {
        st = flush(tx);
        return st == XONCE_OK ? run_one(tx, parsed, v) : st;
    }
    st = enqueue(tx, parsed, v, n);
    if (st != XONCE_OK)
        return note_failure(tx, tx->item, NULL);
    return tx->nstmts >= QUEUE_MAX || tx->queued_bytes >= QUEUE_BYTES_MAX ? flush(tx) : XONCE_OK;
}

xonce_status xo_tx_later(xonce_tx *tx, const char *sql, const xonce_value *v, size_t n, size_t item)
{
    const xo_sql *parsed = NULL;
    xonce_status st = look_up(tx, sql, n, &parsed);
    if (st == XONCE_OK)
        st = enqueue(tx, parsed, v, n);
    if (st == XONCE_OK)
        tx->stmts[tx->nstmts - 1].item = item;
    return st;
}

xonce_status xo_tx_fence(xonce_tx *tx, const char *update, const xonce_value *v, size_t n, size_t item)
{
    xo_buf text = {0};
    if (tx->s->d->kind == XO_DIALECT_PG) { /* goes out with what is behind it, the COMMIT too, and takes that down */
        xo_buf_printf(&text, "WITH moved AS (%s RETURNING 1) SELECT 1 / COUNT(*) FROM moved", update);
        update = text.p;
    }
    tx->item = item;
    xonce_status st = xo_buf_status(&text);
    if (st == XONCE_OK)
        st = xo_tx_later(tx, update, v, n, item);
    xo_buf_free(&text);
    if (st != XONCE_OK)
        return note_failure(tx, item, NULL);
    tx->stmts[tx->nstmts - 1].fence = 1;
    return tx->s->d->runs_at_once ? flush(tx) : XONCE_OK;
}

xonce_status xonce_tx_flush(xonce_tx *tx)
{
    xonce_status st = check_open(tx, "xonce_tx_flush");
    return st == XONCE_OK ? flush(tx) : st;
}

/* Where an engine goes on after a failed statement, the handler may too; PostgreSQL and a transaction that is gone take nothing more. */
static void note_if_fatal(xonce_tx *tx)
{
    xo_sql_class cls = xo_error_class();
    if (tx->s->d->kind == XO_DIALECT_PG || cls == XO_SQL_AGAIN || cls == XO_SQL_LOST || tx->c->escaped)
        note_failure(tx, tx->item, NULL);
}

typedef struct {
    xonce_tx *tx;
    int (*fn)(const xonce_row *r, void *arg);
    void *arg;
} row_call;

static int on_row(const xonce_row *r, void *arg)
{
    row_call *call = arg;
    if (!call->fn)
        return 0;
    call->tx->busy = 1;
    int stop = call->fn(r, call->arg);
    call->tx->busy = 0;
    return stop;
}

static xonce_status run_now(xonce_tx *tx, const char *what, const char *sql, const xonce_value *v, size_t n, row_call *call, int64_t *changed)
{
    const xo_sql *parsed = NULL;
    xonce_status st = check_open(tx, what);
    if (st == XONCE_OK)
        st = flush(tx);
    if (st != XONCE_OK)
        return st;
    st = look_up(tx, sql, n, &parsed);
    if (st != XONCE_OK)
        return st;
    tx->sent = 1;
    st = arm_guard(tx, parsed);
    if (st == XONCE_OK)
        st = tx->s->d->query(tx->c, parsed, v, n, call ? on_row : NULL, call, changed);
    if (st != XONCE_OK) {
        xo_error_context("\"%.100s%s\"", sql, strlen(sql) > 100 ? "..." : "");
        note_if_fatal(tx);
    }
    return st;
}

xonce_status xonce_exec_now(xonce_tx *tx, const char *sql, const xonce_value *v, size_t n, int64_t *changed)
{
    return run_now(tx, "xonce_exec_now", sql, v, n, NULL, changed);
}

xonce_status xonce_query(xonce_tx *tx, const char *sql, const xonce_value *v, size_t n, int (*fn)(const xonce_row *r, void *arg), void *arg)
{
    row_call call = {.tx = tx, .fn = fn, .arg = arg};
    return run_now(tx, "xonce_query", sql, v, n, &call, NULL);
}

xonce_status xo_tx_query(xonce_tx *tx, const char *sql, const xonce_value *v, size_t n, xo_row_fn fn, void *arg, int64_t *changed)
{
    const xo_sql *parsed = NULL;
    xonce_status st = look_up(tx, sql, n, &parsed);
    return st == XONCE_OK ? tx->s->d->query(tx->c, parsed, v, n, fn, arg, changed) : st;
}

xonce_status xo_tx_commit(xonce_tx *tx, size_t *failed_item)
{
    size_t failed = tx->nstmts;
    *failed_item = SIZE_MAX;
    xonce_status st = tx->s->d->commit(tx->c, tx->stmts, tx->nstmts, &failed);
    if (st != XONCE_OK && failed < tx->nstmts) {
        *failed_item = tx->stmts[failed].item;
        tx->failed_at = failed;
        return note_queued(tx, &tx->stmts[failed]);
    }
    xo_tx_reset_queue(tx);
    return st;
}

/* ---- what a handler may ask ---- */

int xonce_tx_stopping(const xonce_tx *tx)
{
    return tx && tx->stopping ? __atomic_load_n(tx->stopping, __ATOMIC_RELAXED) : 0;
}

int64_t xonce_tx_remaining_ms(const xonce_tx *tx)
{
    if (!tx || tx->expires_mono == INT64_MAX)
        return INT64_MAX;
    return tx->expires_mono - xo_mono_ms();
}

void *xonce_tx_worker(const xonce_tx *tx)
{
    return tx ? tx->worker : NULL;
}

void *xonce_tx_connection(const xonce_tx *tx)
{
    return tx && tx->c ? tx->c->user : NULL;
}

void xonce_fail(xonce_tx *tx, const char *fmt, ...)
{
    if (!tx)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(tx->reason, sizeof tx->reason, fmt, ap);
    va_end(ap);
}

void *xo_tx_native(xonce_tx *tx, xo_dialect_kind kind)
{
    if (check_open(tx, "native handle") != XONCE_OK)
        return NULL;
    if (tx->s->d->kind != kind) {
        xo_fail(XONCE_E_INVALID, "this store is %s, not what the accessor is for", tx->s->d->name);
        return NULL;
    }
    if (flush(tx) != XONCE_OK)
        return NULL;
    tx->sent = 1;
    void *h = lend(tx);
    if (!h)
        note_failure(tx, tx->item, NULL);
    return h;
}

/* ---- the steps by hand ---- */

xonce_status xonce_tx_begin(xonce_store *s, xonce_tx **out)
{
    if (!s || !out)
        return xo_fail(XONCE_E_INVALID, "xonce_tx_begin: store or out is NULL");
    *out = NULL;
    xonce_tx *tx = xo_calloc(1, sizeof *tx);
    if (!tx)
        return xo_nomem();
    xonce_status st = xo_tx_open(tx, s);
    if (st != XONCE_OK) {
        free(tx);
        return st;
    }
    *out = tx;
    return XONCE_OK;
}

xonce_status xo_tx_join(xonce_store *s, xo_dialect_kind kind, void *native, xonce_tx **out)
{
    if (!s || !native || !out)
        return xo_fail(XONCE_E_INVALID, "xonce_join: store, connection or out is NULL");
    *out = NULL;
    if (s->d->kind != kind)
        return xo_fail(XONCE_E_INVALID, "xonce_join: this store is %s", s->d->name);
    xonce_tx *tx = xo_calloc(1, sizeof *tx);
    if (!tx)
        return xo_nomem();
    tx->s = s;
    tx->expires_mono = INT64_MAX;
    xonce_status st = s->d->wrap(&tx->c, native, xo_pool_options(s->pool));
    if (st != XONCE_OK) {
        free(tx);
        return st;
    }
    *out = tx;
    return XONCE_OK;
}

static xonce_status tell_outcome(const xo_claimant *cl, xonce_outcome *what)
{
    switch (cl->state) {
    case XO_CLAIM_FRESH:
        *what = XONCE_FRESH;
        return XONCE_OK;
    case XO_CLAIM_TWIN:
    case XO_CLAIM_DUPLICATE:
        *what = XONCE_DUPLICATE;
        return XONCE_OK;
    case XO_CLAIM_COLLIDES:
        return xo_fail(XONCE_E_INVALID, "message %.64s: another message with this id was applied before (collision=reject)", cl->uniq);
    case XO_CLAIM_STALE:
        return xo_fail(XONCE_E_TIMEOUT, "message %.64s was taken from its source too long ago to be claimed safely: let it come again", cl->uniq);
    case XO_CLAIM_TAKEN:
    case XO_CLAIM_WAITS:
        return xo_fail(XONCE_E_CONFLICT, "another message that is not settled yet has the id %.64s: let this one come again", cl->uniq);
    case XO_CLAIM_FENCED:
        return xo_fail(XONCE_E_FENCED, "message %.64s: its queue is claimed by offset by other members of the group", cl->uniq);
    case XO_CLAIM_NO_ROW:
    case XO_CLAIM_NONE:
    case XO_CLAIM_COVERED:
    case XO_CLAIM_REFUSED:
        break;
    }
    return xo_fail(XONCE_E_SQL, "the claim of message %.64s was refused, but no record of it is there: not a duplicate; run `xonce check`", cl->uniq);
}

static xonce_status claim_by_hand(xonce_tx *tx, const xonce_message *const *m, size_t n, xonce_outcome *what)
{
    xo_claimant *cl = xo_calloc(n, sizeof *cl);
    xo_claimant **set = xo_calloc(n, sizeof *set);
    xonce_status st = cl && set ? XONCE_OK : xo_nomem();
    for (size_t i = 0; i < n && st == XONCE_OK; i++) {
        st = xo_claimant_init(tx->s, m[i], i, &cl[i]);
        set[i] = &cl[i];
        if (m[i]->expires_mono < tx->expires_mono)
            tx->expires_mono = m[i]->expires_mono;
    }
    if (st == XONCE_OK)
        st = xo_claim_all(tx->s, tx->c, &tx->arena, set, n);
    for (size_t i = 0; i < n && st == XONCE_OK; i++)
        st = tell_outcome(&cl[i], &what[i]);
    free(set);
    free(cl);
    return st;
}

xonce_status xonce_tx_claim(xonce_tx *tx, const xonce_message *const *m, size_t n, xonce_outcome *what)
{
    xonce_status st = check_open(tx, "xonce_tx_claim");
    if (st != XONCE_OK)
        return st;
    if (!m || !what || n > 4096)
        return xo_fail(XONCE_E_INVALID, "xonce_tx_claim: messages or outcomes missing, or more than 4096");
    for (size_t i = 0; i < n; i++)
        what[i] = XONCE_DEFERRED;
    if (n == 0)
        return XONCE_OK;
    st = flush(tx);
    if (st == XONCE_OK)
        st = claim_by_hand(tx, m, n, what);
    if (st != XONCE_OK) {
        tx->dead = 1;
        for (size_t i = 0; i < n; i++)
            what[i] = XONCE_DEFERRED;
    }
    return st;
}

static xonce_status end_by_hand(xonce_tx *tx, xonce_status st)
{
    xo_tx_close(tx, st != XONCE_OK);
    free(tx);
    return st;
}

xonce_status xonce_tx_commit(xonce_tx *tx)
{
    if (tx && tx->busy) /* its own row callback: the query above us still needs it */
        return check_open(tx, "xonce_tx_commit");
    if (tx && tx->c && tx->c->joined) {
        end_by_hand(tx, XONCE_OK);
        return xo_fail(XONCE_E_INVALID, "xonce_tx_commit: a joined transaction is committed by its owner, after xonce_tx_leave()");
    }
    xonce_status st = check_open(tx, "xonce_tx_commit");
    size_t failed = SIZE_MAX;
    if (st == XONCE_OK && tx->c->lent)
        st = tx->s->d->after_lent(tx->c);
    if (st == XONCE_OK)
        st = xo_tx_commit(tx, &failed);
    return tx ? end_by_hand(tx, st) : st;
}

xonce_status xonce_tx_leave(xonce_tx *tx)
{
    xonce_status st = check_open(tx, "xonce_tx_leave");
    if (tx && tx->busy)
        return st;
    if (st == XONCE_OK && !tx->c->joined)
        st = xo_fail(XONCE_E_INVALID, "xonce_tx_leave: this transaction was not joined; commit it");
    if (st == XONCE_OK)
        st = flush(tx);
    return tx ? end_by_hand(tx, st) : st;
}

void xonce_tx_rollback(xonce_tx *tx)
{
    if (!tx)
        return;
    if (tx->busy) {
        tx->dead = 1;
        return;
    }
    xo_tx_close(tx, 1);
    free(tx);
}
