/* One exchange with a PostgreSQL server: commands pipelined in front of one Sync, results read in order, every wait
 * with an end.
 *
 * An error in a pipeline makes the server skip everything up to the Sync, a COMMIT behind it included: that is what
 * lets a transaction's last statements and its COMMIT travel together. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include "base/clock.h"
#include "base/failpoint.h"
#include "store/postgres/impl.h"

int64_t xo_pg_patience(const xo_pg_conn *c)
{
    return (c->idle_ms > 0 ? c->idle_ms : 900000) + c->lock_ms + 10000;
}

/* Waits for the socket; XONCE_OK when something may have changed. */
static xonce_status wait_socket(xo_pg_conn *c, int writing, int64_t deadline)
{
    struct pollfd p;
    int64_t left = deadline - xo_mono_ms();
    int n;
    p.fd = PQsocket(c->pg);
    p.events = (short)(POLLIN | (writing ? POLLOUT : 0));
    p.revents = 0;
    if (p.fd < 0)
        return xo_pg_fail_lost(c, "waiting for the server");
    if (left <= 0) {
        xo_pg_mark_lost(c);
        return xo_fail_sql(XONCE_E_CONNECT, XO_SQL_LOST, 0, NULL,
                           "PostgreSQL did not answer in time; the connection was closed");
    }
    n = poll(&p, 1, left > 60000 ? 60000 : (int)left);
    if (n < 0 && errno != EINTR)
        return xo_pg_fail_lost(c, "waiting for the server");
    if (n > 0 && (p.revents & (POLLIN | POLLERR | POLLHUP)) && !PQconsumeInput(c->pg))
        return xo_pg_fail_lost(c, "reading");
    return XONCE_OK;
}

xonce_status xo_pg_next_result(xo_pg_conn *c, int64_t deadline, PGresult **out)
{
    *out = NULL;
    for (;;) {
        int unsent = PQflush(c->pg);
        if (!PQisBusy(c->pg)) {
            *out = PQgetResult(c->pg);
            return XONCE_OK;
        }
        if (unsent < 0)
            return xo_pg_fail_lost(c, "sending");
        if (wait_socket(c, unsent > 0, deadline) != XONCE_OK) {
            if (PQstatus(c->pg) == CONNECTION_BAD && !PQisBusy(c->pg) && (*out = PQgetResult(c->pg)) != NULL)
                return XONCE_OK; /* what the server said before it closed */
            return XONCE_E_CONNECT;
        }
    }
}

static void broken(xo_pg_conn *c)
{
    if (c->ex.broken)
        return;
    c->ex.broken = 1;
    if (c->ex.error.pub.code == XONCE_OK) {
        xo_error_save(&c->ex.error);
        c->ex.failed = c->ex.n;
    }
}

/* Sends all that libpq holds, reading meanwhile, so that neither side blocks on full buffers. */
static void pump(xo_pg_conn *c)
{
    c->ex.unread = 0;
    for (;;) {
        int unsent = c->ex.broken ? 0 : PQflush(c->pg);
        if (unsent == 0)
            return;
        if (unsent < 0)
            (void)xo_pg_fail_lost(c, "sending");
        if (unsent < 0 || wait_socket(c, 1, c->ex.deadline) != XONCE_OK)
            broken(c);
    }
}

void xo_pg_start(xo_pg_conn *c, int64_t ms)
{
    xo_pg_exchange *ex = &c->ex;
    xo_pg_op *op = ex->op;
    size_t cap = ex->cap;
    memset(ex, 0, sizeof(*ex));
    ex->op = op;
    ex->cap = cap;
    ex->deadline = xo_mono_ms() + ms;
    c->exchanges++;
    c->sync_doubt = c->no_tx = 0;
    if (c->pub.lost) {
        (void)xo_fail_sql(XONCE_E_CONNECT, XO_SQL_LOST, 0, NULL, "the connection to PostgreSQL is gone");
        broken(c);
        return;
    }
    if (!c->pub.joined)
        (void)PQsetNoticeReceiver(c->pg, xo_pg_notice, c); /* a handler may have put in its own */
    ex->was_nonblocking = PQisnonblocking(c->pg);
    if (PQpipelineStatus(c->pg) == PQ_PIPELINE_OFF) {
        ex->entered = PQenterPipelineMode(c->pg);
        if (!ex->entered) {
            (void)xo_pg_fail_lost(c, "starting a pipeline");
            broken(c);
            return;
        }
    }
    if (PQsetnonblocking(c->pg, 1) != 0) {
        (void)xo_pg_fail_lost(c, "starting a pipeline");
        broken(c);
    }
}

static xo_pg_op *add_op(xo_pg_conn *c, xo_pg_op_kind kind, const xo_pg_send *s, const xo_pg_prep *p)
{
    xo_pg_exchange *ex = &c->ex;
    xo_pg_op *op;
    if (ex->n == ex->cap) {
        xo_pg_op *more = xo_grow(ex->op, &ex->cap, ex->n + 1, sizeof(*more));
        if (!more) {
            (void)xo_nomem();
            xo_pg_give_up(c);
            return NULL;
        }
        ex->op = more;
    }
    op = &ex->op[ex->n];
    memset(op, 0, sizeof(*op));
    op->kind = kind;
    op->stmt = s->stmt;
    if (p) {
        memcpy(op->name, p->name, sizeof(op->name));
        op->key = p->key;
    }
    return op;
}

/* Counts a command that libpq has taken, or gives up. */
static void sent(xo_pg_conn *c, int ok, size_t bytes)
{
    if (!ok) {
        (void)xo_pg_fail_lost(c, "sending a statement");
        broken(c);
        return;
    }
    c->ex.n++;
    c->ex.unread += bytes + 64;
    c->ex.unsent += bytes + 64;
    if (c->ex.unread > PG_PUMP_BYTES) {
        pump(c);
    } else if (c->ex.unsent > PG_SEND_BYTES) {
        c->ex.unsent = 0;
        if (PQflush(c->pg) < 0) {
            (void)xo_pg_fail_lost(c, "sending");
            broken(c);
        }
    }
}

static void push_drop(xo_pg_conn *c, const xo_pg_send *s, const xo_pg_prep *victim)
{
    char sql[PG_NAME_SIZE + 16] = "DEALLOCATE ";
    memcpy(sql + strlen(sql), victim->name, strlen(victim->name) + 1);
    if (add_op(c, PG_DROP, s, victim))
        sent(c, PQsendQueryParams(c->pg, sql, 0, NULL, NULL, NULL, NULL, 0), strlen(sql));
}

void xo_pg_push(xo_pg_conn *c, const xo_pg_send *s)
{
    const xo_pg_prep *p, *victim;
    char name[PG_NAME_SIZE] = "";
    int fresh, ok;
    xo_pg_op *op;
    if (c->ex.broken)
        return;
    p = xo_pg_prepared_get(c, s->key, &fresh, &victim);
    if (p)
        memcpy(name, p->name, sizeof(name));
    if (victim)
        push_drop(c, s, victim);
    if (fresh && !c->ex.broken && add_op(c, PG_PREPARE, s, p))
        sent(c, PQsendPrepare(c->pg, name, s->text, 0, NULL), strlen(s->text));
    if (c->ex.broken || !(op = add_op(c, s->kind, s, p)))
        return;
    op->keep = s->keep;
    if (s->kind == PG_COMMIT)
        c->ex.commit_queued = 1; /* from here on it may be on its way, whatever libpq says */
    ok = name[0] ? PQsendQueryPrepared(c->pg, name, s->n, s->v, s->len, s->format, 0)
                 : PQsendQueryParams(c->pg, s->text, s->n, NULL, s->v, s->len, s->format, 0);
    sent(c, ok, s->bytes + (name[0] ? 0 : strlen(s->text)));
}

void xo_pg_push_text(xo_pg_conn *c, xo_pg_op_kind kind, const char *sql)
{
    xo_pg_send s;
    memset(&s, 0, sizeof(s));
    s.kind = kind;
    s.text = sql;
    xo_pg_push(c, &s);
}

void xo_pg_push_parse(xo_pg_conn *c, const char *sql)
{
    xo_pg_send s = {.kind = PG_STATEMENT};
    if (!c->ex.broken && add_op(c, PG_STATEMENT, &s, NULL))
        sent(c, PQsendPrepare(c->pg, "", sql, 0, NULL), strlen(sql));
}

void xo_pg_give_up(xo_pg_conn *c)
{
    xo_pg_mark_lost(c);
    broken(c);
}

static void note_error(xo_pg_conn *c, size_t at, const PGresult *r)
{
    xo_pg_exchange *ex = &c->ex;
    const xo_pg_op *op = &ex->op[at];
    if (ex->error.pub.code != XONCE_OK)
        return;
    ex->answered = xo_pg_field(r, PG_DIAG_SQLSTATE)[0] != 0;
    if (xo_pg_prepared_gone(c, op, r))
        (void)xo_fail_sql(XONCE_E_CONFLICT, XO_SQL_AGAIN, 0, xo_pg_field(r, PG_DIAG_SQLSTATE),
                          "PostgreSQL: %s; it will be prepared again", xo_pg_field(r, PG_DIAG_MESSAGE_PRIMARY));
    else
        (void)xo_pg_fail_result(c, r);
    xo_error_save(&ex->error);
    ex->failed = ex->answered ? at : ex->n;
}

static void note_copy(xo_pg_conn *c, size_t at)
{
    xo_pg_exchange *ex = &c->ex;
    xo_pg_mark_lost(c); /* the server waits for data, or sends some, in front of the Sync: there is no way back */
    (void)xo_fail_sql(XONCE_E_SQL, XO_SQL_SETUP, 0, "0A000",
                      "COPY cannot be queued: run it on the connection of xonce_tx_postgres()");
    xo_error_save(&ex->error);
    /* once the data of a COPY TO is sent the server goes on, to a COMMIT behind it as well */
    ex->failed = ex->commit_queued ? ex->n : at;
    ex->answered = !ex->commit_queued;
}

static void sync_up(xo_pg_conn *c)
{
    if (!c->ex.broken && !PQpipelineSync(c->pg)) {
        (void)xo_pg_fail_lost(c, "sending");
        broken(c);
    }
}

void xo_pg_next_part(xo_pg_conn *c)
{
    sync_up(c);
    if (!c->ex.broken && PQflush(c->pg) < 0) {
        (void)xo_pg_fail_lost(c, "sending");
        broken(c);
    }
    c->ex.unsent = 0;
    c->ex.part = c->ex.n;
}

/* Takes the result of command `at`. Returns 1 when reading must stop. */
static int take(xo_pg_conn *c, size_t at, PGresult *r, int *ok)
{
    xo_pg_op *op = &c->ex.op[at];
    switch (PQresultStatus(r)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
        *ok = 1;
        if (op->keep && !*op->keep) {
            *op->keep = r;
            return 0;
        }
        break;
    case PGRES_PIPELINE_ABORTED: break;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        note_copy(c, at);
        PQclear(r);
        return 1;
    default: note_error(c, at, r); break;
    }
    PQclear(r);
    return c->pub.lost;
}

/* Of the commands from `at` on, up to a Sync. */
static void read_results(xo_pg_conn *c, size_t at, size_t end)
{
    xo_pg_exchange *ex = &c->ex;
    int had = 0, ok = 0, empty = 0;
    for (;;) {
        PGresult *r;
        if (xo_pg_next_result(c, ex->deadline, &r) != XONCE_OK) {
            broken(c);
            return;
        }
        if (r && PQresultStatus(r) == PGRES_PIPELINE_SYNC) {
            PQclear(r);
            break;
        }
        if (r) {
            if (at >= end) { /* an error that belongs to no command: the connection ends */
                (void)xo_pg_fail_result(c, r);
                PQclear(r);
                xo_pg_mark_lost(c);
                broken(c);
                return;
            }
            had = 1;
            if (take(c, at, r, &ok)) {
                broken(c);
                return;
            }
        } else if (had) {
            if (ex->op[at].kind == PG_PREPARE || ex->op[at].kind == PG_DROP)
                xo_pg_prepared_result(c, &ex->op[at], ok);
            at++;
            had = ok = empty = 0;
        } else if (++empty > 2) {
            (void)xo_pg_fail_lost(c, "reading results");
            broken(c);
            return;
        }
    }
    if (at != end) {
        (void)xo_pg_fail_lost(c, "counting results");
        broken(c);
    }
}

/* All is read: back to how the connection was. */
static xonce_status leave(xo_pg_conn *c)
{
    xo_pg_exchange *ex = &c->ex;
    if (ex->broken) {
        xo_pg_mark_lost(c); /* results are outstanding that nobody will read */
        return xo_error_restore(&ex->error);
    }
    if (ex->entered && (!PQexitPipelineMode(c->pg) || PQsetnonblocking(c->pg, ex->was_nonblocking) != 0)) {
        (void)xo_pg_fail_lost(c, "leaving the pipeline");
        broken(c);
        return xo_error_restore(&ex->error);
    }
    if (!ex->entered)
        (void)PQsetnonblocking(c->pg, ex->was_nonblocking);
    if (ex->error.pub.code != XONCE_OK)
        return xo_error_restore(&ex->error);
    ex->failed = ex->n;
    return XONCE_OK;
}

xonce_status xo_pg_finish(xo_pg_conn *c)
{
    xo_pg_exchange *ex = &c->ex;
    if (ex->part && ex->part == ex->n)
        ex->part = 0; /* nothing came to be the second */
    else
        sync_up(c);
    pump(c);
    if (!ex->broken && ex->commit_queued && xo_failpoint("commit-sent") != XONCE_OK) {
        (void)xo_fail_sql(XONCE_E_CONNECT, XO_SQL_LOST, 0, NULL, "failpoint commit-sent: the connection was cut");
        xo_pg_mark_lost(c);
        broken(c);
    }
    if (!ex->broken)
        read_results(c, 0, ex->part ? ex->part : ex->n);
    if (ex->broken || !ex->part)
        return leave(c);
    c->ahead = 1;
    if (ex->error.pub.code != XONCE_OK)
        return xo_error_restore(&ex->error);
    ex->failed = ex->n;
    return XONCE_OK;
}

xonce_status xo_pg_finish_part(xo_pg_conn *c, int64_t ms)
{
    xo_pg_exchange *ex = &c->ex;
    ex->deadline = xo_mono_ms() + (ms ? ms : ex->more_ms);
    memset(&ex->error, 0, sizeof(ex->error));
    ex->failed = 0;
    ex->answered = ex->commit_queued = 0;
    c->sync_doubt = c->no_tx = 0;
    c->ahead = 0;
    if (c->pub.lost) {
        (void)xo_fail_sql(XONCE_E_CONNECT, XO_SQL_LOST, 0, NULL, "the connection to PostgreSQL is gone");
        broken(c);
    } else {
        read_results(c, ex->part, ex->n);
    }
    return leave(c);
}

xonce_status xo_pg_tell(xo_pg_conn *c, const char *sql, int n, const char *const *v, int64_t ms, PGresult **keep)
{
    xo_pg_send s;
    xonce_status st;
    memset(&s, 0, sizeof(s));
    s.kind = PG_CONTROL;
    s.text = sql;
    s.n = n;
    s.v = v;
    s.keep = keep;
    xo_pg_start(c, ms);
    xo_pg_push(c, &s);
    st = xo_pg_finish(c);
    if (st != XONCE_OK && keep) {
        PQclear(*keep);
        *keep = NULL;
    }
    return st;
}

/* Ends a COPY that a handler left open. 0 when it cannot be ended. */
static int end_copy(xo_pg_conn *c, ExecStatusType status, int64_t deadline)
{
    char *data;
    int n;
    if (status == PGRES_COPY_IN)
        return PQputCopyEnd(c->pg, "the handler returned during COPY") == 1;
    if (status != PGRES_COPY_OUT)
        return 0;
    while ((n = PQgetCopyData(c->pg, &data, 1)) >= 0) {
        if (n > 0)
            PQfreemem(data);
        else if (wait_socket(c, 0, deadline) != XONCE_OK)
            return 0;
    }
    return n == -1;
}

xonce_status xo_pg_drain(xo_pg_conn *c)
{
    int64_t patience = c->idle_ms > 0 && c->idle_ms < 60000 ? c->idle_ms : 60000, deadline = xo_mono_ms() + patience;
    int piped = PQpipelineStatus(c->pg) != PQ_PIPELINE_OFF, synced = 0, empty = 0;
    if (PQstatus(c->pg) != CONNECTION_OK)
        return xo_pg_fail_lost(c, "the handler ran");
    if (!piped && PQtransactionStatus(c->pg) != PQTRANS_ACTIVE && !PQisnonblocking(c->pg))
        return XONCE_OK;
    if (PQsetnonblocking(c->pg, 1) != 0 || (piped && !PQpipelineSync(c->pg)))
        return xo_pg_fail_lost(c, "the handler ran");
    while (!synced) {
        PGresult *r;
        ExecStatusType status;
        if (xo_pg_next_result(c, deadline, &r) != XONCE_OK)
            return xo_error_context("the handler left results unread");
        if (!r) {
            if (!piped)
                break;
            /* the handler's own Syncs are answered first; ours is the last: then nothing is outstanding and the
             * pipeline can be left */
            if (++empty > 1 && PQexitPipelineMode(c->pg))
                break;
            if (empty > 1000000)
                return xo_pg_fail_lost(c, "reading what the handler left");
            continue;
        }
        empty = 0;
        status = PQresultStatus(r);
        PQclear(r);
        if (status == PGRES_PIPELINE_SYNC)
            synced = PQexitPipelineMode(c->pg);
        else if ((status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) &&
                 !end_copy(c, status, deadline))
            return xo_pg_fail_lost(c, "ending the handler's COPY");
    }
    return PQsetnonblocking(c->pg, 0) == 0 ? XONCE_OK : xo_pg_fail_lost(c, "the handler ran");
}
