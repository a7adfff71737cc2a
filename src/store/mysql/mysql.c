/* Transactions on MySQL and MariaDB: begin, guard, commit, rollback, savepoints; and the table of what this engine supplies. */
#include "base/clock.h"
#include "base/failpoint.h"
#include "store/mysql/impl.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static xonce_status out_of_step_error(xo_my *m)
{
    m->c.lost = 1;
    return xo_fail_sql(XONCE_E_SQL, XO_SQL_OTHER, XO_CR_OUT_OF_SYNC, "HY000",
                       "a result was left unread on the native handle: the transaction is rolled back; read results to their end and free them");
}

/* Reads away results that a handler did not fetch. What only its own MYSQL_RES or MYSQL_STMT could read, or an answer that nobody asked for, makes the connection useless: the answer to COMMIT must
   not be taken for another one. */
static xonce_status read_leftovers(xo_my *m)
{
    for (;;) {
        if (m->my->status == MYSQL_STATUS_GET_RESULT) {
            MYSQL_RES *r = mysql_use_result(m->my);
            if (r)
                mysql_free_result(r);
        }
        if (m->my->status != MYSQL_STATUS_READY)
            return out_of_step_error(m);
        if (!mysql_more_results(m->my) || mysql_next_result(m->my) > 0)
            break;
    }
    unsigned char head[5] = {0};
    struct pollfd p = {.fd = xo_my_socket(m), .events = POLLIN};
    if (poll(&p, 1, 0) <= 0)
        return XONCE_OK;
    ssize_t n = recv(p.fd, head, sizeof head, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0 && !(n == sizeof head && head[4] == 0xff && head[3] == 0))
        return out_of_step_error(m);
    m->c.lost = 1;
    return xo_my_ready(m);
}

/* Sends text that ends in a query for a number nobody else knows: only its answer proves that the answers before it were ours. */
typedef struct {
    char sql[160], nonce[20];
    int seen;
} proof;

static size_t proof_text(proof *p, const char *sql)
{
    memset(p, 0, sizeof *p);
    snprintf(p->nonce, sizeof p->nonce, "%016llx", (unsigned long long)xo_random());
    return (size_t)snprintf(p->sql, sizeof p->sql, "%s; SELECT '%s'", sql, p->nonce);
}

static int proof_row(const xonce_row *r, void *arg)
{
    proof *p = arg;
    p->seen = r->ncols == 1 && r->text[0] && strcmp(r->text[0], p->nonce) == 0;
    return 0;
}

/* A handler may have changed the current database. */
static void restore_database(xo_my *m)
{
    if (!m->c.lost && (!m->my->db || strcmp(m->my->db, m->db) != 0) && mysql_select_db(m->my, m->db) != 0)
        m->c.lost = 1;
}

static void tx_over(xo_my *m)
{
    int lent = m->c.lent;
    m->c.in_tx = m->c.lent = 0;
    m->guard = m->item = m->guard_in_item = m->part = 0;
    m->dead = 0;
    m->read_rows = NULL;
    if (lent && !m->c.joined)
        restore_database(m);
}

xonce_status xo_my_start(xo_my *m, int lock_s)
{
    xo_conn *c = &m->c;
    if (c->joined)
        return xo_fail(XONCE_E_INVALID, "a joined transaction is begun by its owner");
    m->dead = 0;
    xonce_status st = xo_my_ready(m);
    if (st == XONCE_OK && (m->my->server_status & SERVER_STATUS_IN_TRANS))
        st = xo_my_do(m, "ROLLBACK");
    if (st == XONCE_OK && (m->my->server_status & SERVER_STATUS_AUTOCOMMIT) && mysql_autocommit(m->my, 0) != 0)
        st = xo_my_fail_conn(m, "autocommit=0");
    if (st == XONCE_OK && m->lock_now != lock_s) {
        char sql[80];
        snprintf(sql, sizeof sql, "SET SESSION innodb_lock_wait_timeout = %d", lock_s);
        st = xo_my_do(m, sql);
        m->lock_now = lock_s;
    }
    if (st != XONCE_OK)
        return st;
    tx_over(m);
    c->in_tx = 1; /* the first statement opens it: autocommit is off */
    c->escaped = c->commit_refused = 0;
    return XONCE_OK;
}

static xonce_status my_begin(xo_conn *c)
{
    return xo_my_start((xo_my *)c, ((xo_my *)c)->lock_s);
}

xonce_status xo_my_guard(xo_my *m)
{
    xonce_status st = xo_my_ready(m);
    if (st != XONCE_OK)
        return st;
    if (!m->guard && !m->c.joined) {
        m->in_trans_when_lent = (m->my->server_status & SERVER_STATUS_IN_TRANS) != 0;
        st = xo_my_do(m, "SAVEPOINT xonce_guard");
        if (st != XONCE_OK)
            return st;
        m->guard = 1;
        m->guard_in_item = m->item;
    }
    m->c.lent = 1;
    m->read_rows = NULL;
    return XONCE_OK;
}

static void *my_native(xo_conn *c)
{
    xo_my *m = (xo_my *)c;
    return xo_my_guard(m) == XONCE_OK ? m->my : NULL;
}

static xonce_status escaped(xo_my *m, const char *how)
{
    m->c.escaped = 1;
    return xo_fail(XONCE_E_TX_LOST, "the handler ended the transaction (%s): it must not BEGIN, COMMIT, ROLLBACK, run DDL, or go on after error 1213", how);
}

static xonce_status my_after_lent(xo_conn *c)
{
    xo_my *m = (xo_my *)c;
    unsigned e = mysql_errno(m->my);
    xonce_status st = xo_my_ready(m);
    if (st != XONCE_OK)
        return st;
    /* a lock timeout may have been meant (NOWAIT) and takes back one statement only; where it takes the transaction the guard tells */
    if (e && e != XO_ER_LOCK_TIMEOUT && e != 3572) {
        xo_sql_class cls = xo_my_classify(e, mysql_sqlstate(m->my));
        if (cls == XO_SQL_AGAIN || cls == XO_SQL_LOST)
            return xo_my_fail_conn(m, "in the handler");
    }
    if (c->joined)
        return XONCE_OK;
    if (m->my->server_status & SERVER_STATUS_AUTOCOMMIT)
        return escaped(m, "autocommit was set to 1");
    if (m->guard && m->in_trans_when_lent && !(m->my->server_status & SERVER_STATUS_IN_TRANS))
        return escaped(m, "no transaction is open");
    return read_leftovers(m);
}

/* ---- commit ---- */

static xonce_status unknown_commit(xo_my *m, const char *why)
{
    m->c.lost = 1;
    return xo_fail_sql(XONCE_E_UNKNOWN_COMMIT, XO_SQL_LOST, (int)mysql_errno(m->my), mysql_sqlstate(m->my), "COMMIT was sent, but its outcome is not known: %s", why);
}

/* st: an error instead of COMMIT's success. Only what the server says before it commits is a refusal; any other doubt is an unknown outcome. */
static xonce_status refused_or_unknown(xo_my *m, xonce_status st)
{
    switch (xo_error_class()) {
    case XO_SQL_AGAIN:
    case XO_SQL_SETUP:
    case XO_SQL_DATA:
    case XO_SQL_PARENT:
        return st;
    case XO_SQL_NONE:
    case XO_SQL_OTHER:
    case XO_SQL_LOST:
        break;
    }
    return unknown_commit(m, mysql_error(m->my));
}

static xonce_status commit_failed(xo_my *m)
{
    if (mysql_errno(m->my) == XO_ER_NO_SAVEPOINT)
        return escaped(m, "the guard savepoint is gone");
    return refused_or_unknown(m, xo_my_fail_conn(m, "COMMIT"));
}

static xonce_status read_proof(xo_my *m, proof *p)
{
    for (;;) {
        MYSQL_RES *res = mysql_store_result(m->my);
        if (!res && mysql_field_count(m->my) > 0)
            return commit_failed(m);
        p->seen = 0;
        if (res) {
            MYSQL_ROW row = mysql_fetch_row(res);
            p->seen = row && row[0] && strcmp(row[0], p->nonce) == 0;
            mysql_free_result(res);
        }
        int more = mysql_next_result(m->my);
        if (more > 0)
            return commit_failed(m);
        if (more < 0)
            return p->seen ? XONCE_OK : unknown_commit(m, "the answers on this connection are not those to our statements; was a result left unread on the native handle?");
    }
}

/* An answer that is here already would still be read from a closed socket. */
static xonce_status cut_on_order(xo_my *m)
{
    shutdown(xo_my_socket(m), SHUT_RDWR);
    return unknown_commit(m, "the connection was cut on order");
}

/* Releases the guard and commits in one text: the server stops at the first error, so without the guard nothing is committed. */
static xonce_status send_commit(xo_my *m)
{
    proof p = {.sql = "COMMIT"};
    size_t len = strlen(p.sql);
    int lent = m->c.lent || m->guard;
    if (lent)
        len = proof_text(&p, m->guard ? "RELEASE SAVEPOINT xonce_guard; COMMIT" : "COMMIT");
    m->read_rows = NULL;
    if (mysql_send_query(m->my, p.sql, (unsigned long)len) != 0) {
        if (mysql_errno(m->my) == XO_CR_OUT_OF_SYNC)
            return out_of_step_error(m);
        return unknown_commit(m, mysql_error(m->my));
    }
    if (xo_failpoint("commit-sent") != XONCE_OK)
        return cut_on_order(m);
    if (mysql_read_query_result(m->my) != 0)
        return commit_failed(m);
    return lent ? read_proof(m, &p) : XONCE_OK;
}

/* A statement of the handlers' failed ahead of the fences: that of a member that was taken over says nothing about the message. */
static xonce_status failed_ahead(xo_my *m, const xo_stmt *s, size_t fences, size_t *failed)
{
    xo_error why;
    size_t at = 0;
    xo_error_save(&why);
    xonce_status st = m->c.lost || m->dead ? XONCE_OK : xo_my_run(&m->c, s, fences, &at);
    if (st == XONCE_OK)
        return xo_error_restore(&why);
    *failed = at;
    return st;
}

/* Where it can, the fences go with the COMMIT, behind the handlers' statements: nothing has seen those yet. *done 0: in order then. */
static xonce_status commit_fenced(xo_my *m, const xo_stmt *s, size_t n, int *done, size_t *failed)
{
    size_t fences = 0;
    while (fences < n && s[fences].fence)
        fences++;
    *done = fences && fences <= XO_MY_FENCES && m->compound && !m->c.lent;
    if (!*done)
        return XONCE_OK;
    int sent = 0;
    xonce_status st = xo_my_run(&m->c, s + fences, n - fences, failed);
    *failed += fences;
    if (st != XONCE_OK)
        return failed_ahead(m, s, fences, failed);
    st = xo_my_ready(m);
    if (st == XONCE_OK)
        st = xo_my_fenced_commit(m, s, fences, &sent, failed);
    if (st == XONCE_OK && !sent) {
        st = xo_my_run(&m->c, s, fences, failed);
        if (st == XONCE_OK) {
            *failed = n;
            st = send_commit(m);
        }
        return st;
    }
    if (st == XONCE_OK && xo_failpoint("commit-sent") != XONCE_OK)
        return cut_on_order(m);
    return st == XONCE_OK || st == XONCE_E_FENCED || !sent ? st : refused_or_unknown(m, st);
}

static xonce_status begin_part(xo_my *m, size_t n)
{
    if (!m->c.parts || !n || m->c.lent)
        return XONCE_OK;
    xonce_status st = xo_my_do(m, "SAVEPOINT xonce_part");
    m->part = st == XONCE_OK;
    return st;
}

static xonce_status my_commit(xo_conn *c, const xo_stmt *s, size_t n, size_t *failed)
{
    xo_my *m = (xo_my *)c;
    *failed = n;
    if (c->joined)
        return xo_fail(XONCE_E_INVALID, "a joined transaction is committed by its owner");
    int done = 0;
    xonce_status st = commit_fenced(m, s, n, &done, failed);
    if (!done) {
        st = begin_part(m, n);
        if (st == XONCE_OK)
            st = xo_my_run(c, s, n, failed);
        if (st == XONCE_OK)
            st = c->lent ? my_after_lent(c) : xo_my_ready(m);
        if (st == XONCE_OK)
            st = send_commit(m);
    }
    if (st == XONCE_OK)
        tx_over(m);
    return st;
}

xonce_status xo_my_plain_commit(xo_my *m)
{
    xonce_status st = send_commit(m);
    if (st == XONCE_OK) {
        tx_over(m);
        return st;
    }
    xo_error kept;
    xo_error_save(&kept);
    xo_my_rollback(&m->c);
    return xo_error_restore(&kept);
}

void xo_my_rollback(xo_conn *c)
{
    xo_my *m = (xo_my *)c;
    if (c->joined)
        return;
    xo_error kept;
    xo_error_save(&kept);
    if (!c->lost) {
        proof p = {.sql = "ROLLBACK"};
        size_t len = strlen(p.sql);
        xonce_status st = XONCE_OK;
        if (c->lent) {
            st = read_leftovers(m);
            len = proof_text(&p, "ROLLBACK");
        }
        if (st == XONCE_OK)
            st = xo_my_text(m, p.sql, len, proof_row, &p, NULL);
        /* autocommit was turned on, or the session was reset: nobody knows what else */
        if (st != XONCE_OK || (c->lent && !p.seen) || (m->my->server_status & SERVER_STATUS_AUTOCOMMIT))
            c->lost = 1;
    }
    tx_over(m);
    if (kept.pub.code != XONCE_OK)
        xo_error_restore(&kept);
}

/* A statement that fails is undone by itself. Some errors take the whole transaction along, and what came next would be another one: the savepoint proves that it is still this one. */
static xonce_status my_recover(xo_conn *c, size_t failed, size_t *from)
{
    xo_my *m = (xo_my *)c;
    if (!m->part || c->lost || c->lent || c->escaped || m->dead)
        return xo_fail(XONCE_E_CLOSED, "the transaction is of no more use");
    m->part = 0;
    *from = failed;
    xonce_status st = xo_my_ready(m);
    return st == XONCE_OK ? xo_my_do(m, "RELEASE SAVEPOINT xonce_part") : st;
}

static xonce_status my_savepoint(xo_conn *c, xo_savepoint_op op)
{
    static const char *const text[] = {"SAVEPOINT xonce_item", "RELEASE SAVEPOINT xonce_item", "ROLLBACK TO SAVEPOINT xonce_item", "ROLLBACK TO SAVEPOINT xonce_guard",
                                       "RELEASE SAVEPOINT xonce_guard; SAVEPOINT xonce_guard"};
    int guard = op == XO_ASK_GUARD || op == XO_RENEW_GUARD;
    xo_my *m = (xo_my *)c;
    xonce_status st = xo_my_ready(m);
    if (st == XONCE_OK && guard)
        st = read_leftovers(m);
    if (st != XONCE_OK || (op == XO_RENEW_GUARD && !m->guard)) /* it went with a message's own savepoint; the next one sets another */
        return st;
    st = xo_my_do(m, text[op]);
    if (st != XONCE_OK)
        return xonce_error_last()->native == XO_ER_NO_SAVEPOINT ? escaped(m, "its savepoint is gone") : st;
    if (guard)
        return XONCE_OK;
    if (op == XO_SAVE) {
        m->item = 1;
        m->guard_in_item = 0;
        return XONCE_OK;
    }
    if (m->guard_in_item) /* it went with the older savepoint, whose being there has just proved the same */
        m->guard = m->guard_in_item = 0;
    if (op == XO_RELEASE)
        m->item = 0;
    return XONCE_OK;
}

static const xo_dialect dialect = {
    .name = "mysql",
    .kind = XO_DIALECT_MYSQL,
    .quoted_offset = "`offset`",
    .sql_now = XO_MY_NOW,
    .sql_for_update = " FOR UPDATE",
    .open = xo_my_open,
    .wrap = xo_my_wrap,
    .close = xo_my_close,
    .usable = xo_my_usable,
    .begin = my_begin,
    .claim = xo_my_claim,
    .read_back = xo_my_read_back,
    .run = xo_my_run,
    .commit = my_commit,
    .rollback = xo_my_rollback,
    .recover = my_recover,
    .savepoint = my_savepoint,
    .native = my_native,
    .after_lent = my_after_lent,
    .query = xo_my_query,
    .try_sql = xo_my_try_sql,
    .layout = xo_my_layout,
    .prune_lock = xo_my_prune_lock,
    .prune_unlock = xo_my_prune_unlock,
    .prune_look = xo_my_prune_look,
    .prune_delete = xo_my_prune_delete,
    .check = xo_my_check,
    .days = xo_my_days,
    .day_add = xo_my_day_add,
    .day_end = xo_my_day_end,
};

const xo_dialect *xo_dialect_mysql(void)
{
    return &dialect;
}
