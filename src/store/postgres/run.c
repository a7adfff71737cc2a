/* Running statements on PostgreSQL: a queue of them, a queue with the COMMIT behind it, one with its rows, and a look
 * at one without running it. */
#include <string.h>
#include <stdlib.h>
#include "store/postgres/impl.h"

static xonce_status check_values(const xo_stmt *s, size_t n, size_t *failed)
{
    size_t i;
    for (i = 0; i < n; i++) {
        xonce_status st = xo_pg_value_check(s[i].v, s[i].sql->nparams, s[i].sql->original);
        if (st != XONCE_OK) {
            *failed = i;
            return st;
        }
    }
    return XONCE_OK;
}

void xo_pg_push_stmt(xo_pg_conn *c, const xo_sql *sql, const xonce_value *v, size_t n, size_t index, PGresult **keep)
{
    xo_pg_send s = {
        .kind = PG_STATEMENT, .stmt = index, .text = sql->text, .key = sql->serial, .n = (int)n, .keep = keep};
    /* what may end the transaction by itself runs behind the guard */
    if (sql->kind == XO_STMT_OTHER) {
        s.key = 0;
        if (c->pub.in_tx && !c->pub.joined && !c->pub.lent)
            xo_pg_push_guard(c);
    }
    if (xo_pg_params_set(&c->params, v, n) != XONCE_OK) {
        xo_pg_give_up(c);
        return;
    }
    s.v = c->params.v;
    s.len = c->params.len;
    s.format = c->params.format;
    s.bytes = c->params.bytes;
    xo_pg_push(c, &s);
}

#define PART "xonce_part"

/* In front of a message's first statement, now and then. */
static void push_part(xo_pg_conn *c, const xo_stmt *s, size_t i, size_t *left)
{
    xo_pg_send save = {.kind = PG_PART, .stmt = i, .text = "SAVEPOINT " PART};
    if (i > 0 && s[i].item == s[i - 1].item)
        return;
    if (*left == 0) {
        xo_pg_push(c, &save);
        *left = PG_PART_MESSAGES;
    }
    --*left;
}

static void push_all(xo_pg_conn *c, const xo_stmt *s, size_t n, int parts)
{
    size_t i, left = 0;
    for (i = 0; i < n && !c->ex.broken; i++) {
        if (parts)
            push_part(c, s, i, &left);
        xo_pg_push_stmt(c, s[i].sql, s[i].v, s[i].sql->nparams, i, NULL);
    }
}

xonce_status xo_pg_recover(xo_conn *x, size_t failed, size_t *from)
{
    xo_pg_conn *c = xo_pg_of(x);
    const xo_pg_exchange *ex = &c->ex;
    size_t at = ex->failed;
    if (x->lost || x->lent || x->escaped || !ex->answered || at >= ex->n || ex->op[at].kind != PG_STATEMENT || ex->op[at].stmt != failed)
        return xo_pg_fail_aborted(c);
    while (at > 0 && ex->op[at].kind != PG_PART)
        at--;
    if (ex->op[at].kind != PG_PART)
        return xo_pg_fail_aborted(c);
    *from = ex->op[at].stmt;
    xo_pg_drop_ahead(c); /* nothing of it was run */
    if (x->lost || PQtransactionStatus(c->pg) != PQTRANS_INERROR)
        return xo_pg_fail_aborted(c);
    c->npending = 0;
    c->pending[c->npending++] = "ROLLBACK TO SAVEPOINT " PART;
    c->recovering = 1;
    return XONCE_OK;
}

xonce_status xo_pg_run(xo_conn *x, const xo_stmt *s, size_t n, size_t *failed)
{
    xo_pg_conn *c = xo_pg_of(x);
    xonce_status st;
    *failed = n;
    st = check_values(s, n, failed);
    if (st == XONCE_OK && x->in_tx)
        st = xo_pg_tx_ready(c);
    if (st != XONCE_OK || n == 0)
        return st;
    xo_pg_start(c, xo_pg_patience(c));
    if (x->in_tx)
        xo_pg_tx_prefix(c, NULL);
    push_all(c, s, n, 0);
    st = xo_pg_finish(c);
    if (st != XONCE_OK)
        return xo_pg_tx_failed(c, n, failed);
    return x->in_tx ? xo_pg_tx_ready(c) : XONCE_OK;
}

/* ---- commit ---- */

static xonce_status unknown_commit(xo_pg_conn *c, const char *why)
{
    xo_pg_mark_lost(c);
    return xo_fail_sql(XONCE_E_UNKNOWN_COMMIT, XO_SQL_LOST, 0, c->ex.error.pub.sqlstate,
                       "the outcome of COMMIT is not known: %s", why);
}

static xonce_status commit_failed(xo_pg_conn *c, size_t n, size_t *failed)
{
    const xo_pg_exchange *ex = &c->ex;
    int server_said_no = ex->answered && ex->failed < ex->n;
    *failed = n;
    if (!server_said_no)
        return ex->commit_queued ? unknown_commit(c, ex->error.pub.text) : xo_error_restore(&ex->error);
    if (ex->op[ex->failed].kind == PG_READ_BACK && ex->error.cls != XO_SQL_LOST) /* no handler's fault: by itself it tells whose */
        return xo_fail_sql(XONCE_E_CONFLICT, XO_SQL_AGAIN, 0, ex->error.pub.sqlstate, "reading back what refused a claim: %s", ex->error.pub.text);
    if (ex->op[ex->failed].kind != PG_COMMIT) /* everything behind it was skipped */
        return xo_pg_tx_failed(c, n, failed);
    /* a session that is ended while its COMMIT waits for a standby has committed here */
    return ex->error.cls == XO_SQL_LOST ? unknown_commit(c, ex->error.pub.text) : xo_error_restore(&ex->error);
}

static xonce_status judge_tag(xo_pg_conn *c, const char *tag, int lent)
{
    if (strcmp(tag, "COMMIT") == 0 && !c->no_tx) {
        if (!c->ahead && PQtransactionStatus(c->pg) != PQTRANS_IDLE) /* with more on its way libpq does not tell */
            return unknown_commit(c, "the server says that a transaction is still open");
        return c->sync_doubt ? unknown_commit(c, "the wait for the synchronous standby was cancelled") : XONCE_OK;
    }
    if (lent || c->no_tx)
        return xo_pg_fail_escaped(c);
    return xo_fail_sql(XONCE_E_SQL, XO_SQL_OTHER, 0, "25P02",
                       "COMMIT was answered with %.40s: a statement had failed in the transaction, nothing is applied",
                       tag);
}

/* May this commit be sent? Not OK, or *nothing: it is settled without. */
static xonce_status ready_to_commit(xo_pg_conn *c, const xo_stmt *s, size_t n, size_t *failed, int *nothing)
{
    xonce_status st;
    *failed = n;
    *nothing = 0;
    if (c->pub.joined)
        return xo_fail(XONCE_E_INVALID, "a joined transaction is committed by its owner");
    st = check_values(s, n, failed);
    if (st == XONCE_OK)
        st = xo_pg_tx_ready(c);
    if (st != XONCE_OK)
        return st;
    if (!c->begun && n == 0) { /* nothing was ever sent */
        c->npending = 0;
        c->pub.in_tx = 0;
        *nothing = 1;
        return XONCE_OK;
    }
    return xo_pg_alive(c) ? XONCE_OK : xo_pg_fail_lost(c, "the transaction was open"); /* better now than with a COMMIT on its way */
}

/* The company goes in front of the COMMIT. */
static void push_refused(xo_pg_conn *c, const xo_company *with, PGresult **back)
{
    if (with && with->nrefused && !c->ex.broken && xo_pg_push_read_back(c, with->refused, with->nrefused, back) != XONCE_OK)
        xo_pg_give_up(c);
}

/* What is next is looked for while the server works. */
static void push_ahead(xo_pg_conn *c, xo_company *with)
{
    xo_pg_next_part(c);
    if (!c->ex.broken)
        with->fill(with);
    if (with->nnext)
        (void)xo_pg_push_ahead(c, with); /* without memory it is claimed later */
}

static void ended(xo_pg_conn *c)
{
    c->pub.in_tx = c->pub.lent = 0;
    c->begun = c->item_open = c->guard_in_item = 0;
}

xonce_status xo_pg_commit(xo_conn *x, const xo_stmt *s, size_t n, size_t *failed)
{
    xo_pg_conn *c = xo_pg_of(x);
    xo_company *with = x->with;
    PGresult *r = NULL, *back = NULL;
    xo_pg_send end = {.kind = PG_COMMIT, .text = "COMMIT", .keep = &r};
    int lent, nothing;
    xonce_status st = ready_to_commit(c, s, n, failed, &nothing);
    if (st != XONCE_OK || nothing)
        return st;
    xo_pg_start(c, xo_pg_patience(c));
    xo_pg_tx_prefix(c, NULL);
    lent = x->lent;
    push_all(c, s, n, x->parts && !lent);
    push_refused(c, with, &back);
    if (lent) { /* the user's code ran on the connection: it may have committed, or lowered the durability */
        xo_pg_push_text(c, PG_GUARD, "RELEASE SAVEPOINT xonce_guard");
        xo_pg_push_safe_commit(c);
    }
    xo_pg_push(c, &end);
    if (with && with->fill && !lent)
        push_ahead(c, with);
    st = xo_pg_finish(c);
    st = st == XONCE_OK ? judge_tag(c, PQcmdStatus(r), lent) : commit_failed(c, n, failed);
    if (st == XONCE_OK) {
        ended(c);
        if (back)
            xo_pg_take_back(back, with->group, with->refused, with->nrefused);
        if (c->ahead)
            x->in_tx = c->begun = with->begun = 1;
    }
    PQclear(r);
    PQclear(back);
    return st;
}

/* ---- one statement and its rows ---- */

enum { BYTEA_OID = 17 };

typedef struct {
    const char **text;
    size_t *len;
    unsigned char **raw;
} row_space;

static int one_row(const PGresult *r, int i, row_space *w, xo_row_fn fn, void *arg)
{
    xonce_row row = {.ncols = PQnfields(r), .text = w->text, .len = w->len};
    int k, stop = 0;
    for (k = 0; k < row.ncols; k++) {
        w->raw[k] = NULL;
        w->text[k] = PQgetisnull(r, i, k) ? NULL : PQgetvalue(r, i, k);
        w->len[k] = w->text[k] ? (size_t)PQgetlength(r, i, k) : 0;
        if (w->text[k] && PQftype(r, k) == BYTEA_OID) {
            w->raw[k] = PQunescapeBytea((const unsigned char *)w->text[k], &w->len[k]);
            if (!w->raw[k])
                stop = -1;
            w->text[k] = (const char *)w->raw[k];
        }
    }
    if (stop == 0)
        stop = fn(&row, arg) != 0;
    for (k = 0; k < row.ncols; k++)
        PQfreemem(w->raw[k]);
    return stop;
}

xonce_status xo_pg_each_row(const PGresult *r, xo_row_fn fn, void *arg)
{
    size_t cols = (size_t)PQnfields(r) + 1;
    row_space w = {xo_calloc(cols, sizeof(*w.text)), xo_calloc(cols, sizeof(*w.len)), xo_calloc(cols, sizeof(*w.raw))};
    int i, stop = w.text && w.len && w.raw ? 0 : -1;
    for (i = 0; stop == 0 && i < PQntuples(r); i++)
        stop = one_row(r, i, &w, fn, arg);
    free(w.text);
    free(w.len);
    free(w.raw);
    return stop < 0 ? xo_nomem() : XONCE_OK;
}

xonce_status xo_pg_query(xo_conn *x, const xo_sql *sql, const xonce_value *v, size_t n, xo_row_fn fn, void *arg,
                         int64_t *changed)
{
    xo_pg_conn *c = xo_pg_of(x);
    PGresult *r = NULL;
    xonce_status st = xo_pg_value_check(v, n, sql->original);
    if (changed)
        *changed = 0;
    if (st == XONCE_OK && x->in_tx)
        st = xo_pg_tx_ready(c);
    if (st != XONCE_OK)
        return st;
    xo_pg_start(c, xo_pg_patience(c));
    if (x->in_tx)
        xo_pg_tx_prefix(c, NULL);
    xo_pg_push_stmt(c, sql, v, n, 0, &r);
    st = xo_pg_finish(c);
    if (st != XONCE_OK) {
        PQclear(r);
        return xo_pg_tx_failed(c, 0, NULL);
    }
    if (changed && r)
        *changed = strtoll(PQcmdTuples(r), NULL, 10);
    if (fn && r && PQresultStatus(r) == PGRES_TUPLES_OK)
        st = xo_pg_each_row(r, fn, arg);
    PQclear(r);
    return st == XONCE_OK && x->in_tx ? xo_pg_tx_ready(c) : st;
}

/* ---- does a statement hold? ---- */

xonce_status xo_pg_try_sql(xo_conn *x, const xo_sql *sql)
{
    xo_pg_conn *c = xo_pg_of(x);
    xo_error e;
    xonce_status st = x->in_tx ? xo_pg_tx_ready(c) : XONCE_OK;
    if (st != XONCE_OK)
        return st;
    xo_pg_start(c, xo_pg_patience(c));
    if (x->in_tx) {
        xo_pg_tx_prefix(c, NULL);
        xo_pg_push_text(c, PG_CONTROL, "SAVEPOINT xonce_try");
    }
    xo_pg_push_parse(c, sql->text);
    st = xo_pg_finish(c);
    if (st != XONCE_OK)
        st = xo_pg_tx_failed(c, 0, NULL);
    if (!x->in_tx || x->lost || x->escaped)
        return st;
    xo_error_save(&e);
    if (xo_pg_tell(c, "ROLLBACK TO SAVEPOINT xonce_try", 0, NULL, xo_pg_patience(c), NULL) != XONCE_OK ||
        xo_pg_tell(c, "RELEASE SAVEPOINT xonce_try", 0, NULL, xo_pg_patience(c), NULL) != XONCE_OK)
        return xonce_error_last()->code;
    return st == XONCE_OK ? st : xo_error_restore(&e);
}
