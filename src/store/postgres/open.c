/* Opening and closing PostgreSQL connections: the store's own, and one that the user lends. */
#include <ctype.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/config.h"
#include "store/postgres/impl.h"

static atomic_ulong serials;

/* ---- passwords stay out of errors ---- */

/* Does [p, p+n) of the text overlap a place of the URI where a password may stand? Generous: a malformed URI has no
 * sure places. */
static int overlaps_secret(const char *uri, size_t at, size_t n)
{
    const char *authority = strstr(uri, "://"), *colon = authority ? strchr(authority + 3, ':') : NULL,
               *last_at = strrchr(uri, '@'), *p;
    if (colon && last_at && last_at > colon && at < (size_t)(last_at - uri) && at + n > (size_t)(colon - uri))
        return 1;
    for (p = uri; (p = strstr(p, "password=")) != NULL; p += 9) {
        size_t from = (size_t)(p - uri) + 9, to = from + strcspn(p + 9, "& ");
        if (at < to && at + n > from)
            return 1;
    }
    return 0;
}

static int is_secret(const char *uri, const char *text, size_t n)
{
    const char *p;
    char *copy;
    int hit = 0;
    if (n == 0)
        return 0;
    copy = xo_memdup0(text, n);
    if (!copy)
        return 1;
    for (p = uri; !hit && (p = strstr(p, copy)) != NULL; p++)
        hit = overlaps_secret(uri, (size_t)(p - uri), n);
    xo_wipe_free(copy);
    return hit;
}

/* One line of libpq's message; what it quotes from a password's place becomes ***. */
static void safe_message(xo_buf *out, const char *message, const xo_open_options *o)
{
    const char *uri = o->uri_text ? o->uri_text : "", *password = o->uri.password, *p = message;
    size_t end = strlen(message);
    if (password && password[0] && strstr(message, password)) {
        xo_buf_str(out, "(libpq's message held the password)");
        return;
    }
    while (end && isspace((unsigned char)message[end - 1]))
        end--;
    while (p < message + end) {
        const char *close = *p == '"' ? memchr(p + 1, '"', (size_t)(message + end - p) - 1) : NULL;
        if (close && is_secret(uri, p + 1, (size_t)(close - p) - 1)) {
            xo_buf_str(out, "\"***\"");
            p = close + 1;
        } else if (close) {
            xo_buf_add(out, p, (size_t)(close - p) + 1);
            p = close + 1;
        } else {
            xo_buf_char(out, *p == '\n' || *p == '\t' ? ' ' : *p);
            p++;
        }
    }
}

/* ---- connecting ---- */

static void drop_notice(void *arg, const PGresult *r)
{
    (void)arg;
    (void)r;
}

/* Lets a connection attempt come to its end; 0 when the time is up. Its errors carry SQLSTATEs, which the blocking call
 * hides. */
static int poll_connection(PGconn *pg, int64_t deadline)
{
    PostgresPollingStatusType want = PGRES_POLLING_WRITING;
    (void)PQsetErrorVerbosity(pg, PQERRORS_VERBOSE);
    while (want != PGRES_POLLING_OK && want != PGRES_POLLING_FAILED) {
        struct pollfd p;
        int64_t left = deadline - xo_mono_ms();
        p.fd = PQsocket(pg);
        p.events = want == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        p.revents = 0;
        if (left <= 0)
            return 0;
        if (p.fd < 0)
            return 1;
        if (poll(&p, 1, left > 60000 ? 60000 : (int)left) > 0)
            want = PQconnectPoll(pg);
    }
    (void)PQsetErrorVerbosity(pg, PQERRORS_DEFAULT);
    return 1;
}

/* The SQLSTATE in a verbose message: "FATAL:  28P01: ...", whatever the language. */
static void find_sqlstate(const char *message, char out[6])
{
    const char *p;
    out[0] = 0;
    for (p = message; (p = strstr(p, ":  ")) != NULL; p += 3) {
        size_t n = strspn(p + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (n == 5 && p[8] == ':') {
            memcpy(out, p + 3, 5);
            out[5] = 0;
        }
    }
}

static xonce_status fail_connect(PGconn *pg, const xo_open_options *o, int in_time)
{
    char state[6];
    xo_buf text = {0};
    const char *message = PQerrorMessage(pg), *location;
    xonce_status code = XONCE_E_CONNECT;
    xo_sql_class cls = XO_SQL_LOST;
    char *line = NULL;
    find_sqlstate(message, state);
    if (strncmp(state, "28", 2) == 0 || strcmp(state, "42501") == 0 || PQconnectionNeedsPassword(pg)) {
        code = XONCE_E_AUTH;
        cls = XO_SQL_SETUP;
    } else if (strcmp(state, "3D000") == 0) { /* no such database */
        code = XONCE_E_SQL;
        cls = XO_SQL_SETUP;
    } else if (strncmp(message, "invalid ", 8) == 0) { /* a parameter's value */
        code = XONCE_E_INVALID;
        cls = XO_SQL_SETUP;
    }
    location = strstr(message, "\nLOCATION:");
    line = location ? xo_memdup0(message, (size_t)(location - message)) : xo_strdup(message);
    safe_message(&text, line ? line : "", o);
    if (!in_time)
        xo_buf_str(&text, text.len ? " no answer within the connect timeout" : "no answer within the connect timeout");
    (void)xo_fail_sql(code, cls, 0, state, "cannot connect: %s", text.p ? text.p : "");
    free(line);
    xo_buf_free(&text);
    return code;
}

static xonce_status check_uri(const xo_open_options *o, int *hosts)
{
    char *why = NULL;
    PQconninfoOption *all = PQconninfoParse(o->uri_text, &why), *p;
    *hosts = 1;
    if (!all) {
        xo_buf text = {0};
        char *uri = xo_uri_mask(o->uri_text);
        safe_message(&text, why ? why : "out of memory", o);
        (void)xo_fail(XONCE_E_INVALID, "store URI %s: %s", uri ? uri : "", text.p ? text.p : "");
        free(uri);
        xo_buf_free(&text);
        PQfreemem(why);
        return XONCE_E_INVALID;
    }
    for (p = all; p->keyword; p++)
        if (p->val && strcmp(p->keyword, "host") == 0 && strchr(p->val, ','))
            *hosts = 2;
    PQconninfoFree(all);
    return XONCE_OK;
}

static xonce_status connect_to(PGconn **out, const xo_open_options *o)
{
    /* a cut network is noticed within half a minute; the URI may say otherwise of these, but not of the encoding */
    static const char *const names[] = {
        "connect_timeout",  "fallback_application_name", "keepalives", "keepalives_idle", "keepalives_interval",
        "keepalives_count", "tcp_user_timeout",          "dbname",     "client_encoding", NULL};
    char timeout[16];
    const char *values[10] = {timeout, "xonce", "1", "15", "5", "3", "30000", NULL, "UTF8", NULL};
    int64_t ms = o->connect_ms > 0 ? o->connect_ms : 10000;
    int hosts, in_time = 1;
    PGconn *pg;
    xonce_status st;
    *out = NULL;
    if (check_uri(o, &hosts) != XONCE_OK)
        return XONCE_E_INVALID;
    (void)snprintf(timeout, sizeof(timeout), "%d", ms > 600000 ? 600 : (int)((ms + 999) / 1000));
    values[7] = o->uri_text;
    pg = PQconnectStartParams(names, values, 1);
    if (!pg)
        return xo_nomem();
    (void)PQsetNoticeReceiver(pg, drop_notice, NULL); /* libpq's own prints to stderr */
    if (PQstatus(pg) != CONNECTION_BAD)
        in_time = poll_connection(pg, xo_mono_ms() + ms);
    if (PQstatus(pg) != CONNECTION_OK && hosts > 1) {
        /* a host that does not answer has used up the time: the blocking call gives each its own */
        PQfinish(pg);
        pg = PQconnectdbParams(names, values, 1);
        if (!pg)
            return xo_nomem();
    }
    if (PQstatus(pg) != CONNECTION_OK) {
        st = fail_connect(pg, o, in_time || hosts > 1);
        PQfinish(pg);
        return st;
    }
    *out = pg;
    return XONCE_OK;
}

static xo_pg_conn *new_conn(PGconn *pg, const xo_open_options *o)
{
    xo_pg_conn *c = xo_calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->pub.d = xo_dialect_postgres();
    c->pg = pg;
    c->lock_ms = o->lock_ms > 0 ? o->lock_ms : 5000;
    c->idle_ms = o->idle_ms;
    c->connect_ms = o->connect_ms > 0 ? o->connect_ms : 10000;
    c->serial = atomic_fetch_add(&serials, 1) + 1;
    c->prep_trouble = strcmp(xo_config_text(o->cfg, "postgresql.prepare"), "off") == 0 ? PG_PREP_TROUBLE : 0;
    return c;
}

xonce_status xo_pg_open(xo_conn **out, const xo_open_options *o)
{
    PGconn *pg;
    xo_pg_conn *c;
    xonce_status st = connect_to(&pg, o);
    *out = NULL;
    if (st != XONCE_OK)
        return st;
    c = new_conn(pg, o);
    if (!c) {
        PQfinish(pg);
        return xo_nomem();
    }
    (void)PQsetNoticeReceiver(pg, xo_pg_notice, c);
    if (PQserverVersion(pg) < 100000)
        st = xo_fail(XONCE_E_INVALID, "the server is PostgreSQL %d.%d: 10 or newer is needed",
                     PQserverVersion(pg) / 10000, PQserverVersion(pg) / 100 % 100);
    if (st == XONCE_OK)
        st = xo_pg_layout(&c->pub, NULL);
    if (st != XONCE_OK) {
        xo_pg_close(&c->pub);
        return st;
    }
    *out = &c->pub;
    return XONCE_OK;
}

/* What the user's session has, and safe durability for the commit that the user will make. */
static xonce_status enter_user_tx(xo_pg_conn *c)
{
    PGresult *r = NULL;
    const char *was;
    xonce_status st = xo_pg_tell(c,
                                 "SELECT current_setting('lock_timeout'), CASE WHEN "
                                 "current_setting('synchronous_commit') = 'remote_apply' THEN NULL "
                                 "ELSE set_config('synchronous_commit', 'on', true) END",
                                 0, NULL, c->connect_ms, &r);
    if (st != XONCE_OK)
        return st;
    was = PQgetvalue(r, 0, 0);
    if (strlen(was) < sizeof(c->lock_was))
        memcpy(c->lock_was, was, strlen(was) + 1);
    PQclear(r);
    return xo_pg_layout(&c->pub, NULL);
}

xonce_status xo_pg_wrap(xo_conn **out, void *native, const xo_open_options *o)
{
    PGconn *pg = native;
    xo_pg_conn *c;
    xonce_status st;
    *out = NULL;
    if (!pg || PQstatus(pg) != CONNECTION_OK)
        return xo_fail(XONCE_E_INVALID, "the PGconn to join is not connected");
    if (PQtransactionStatus(pg) != PQTRANS_INTRANS)
        return xo_fail(
            XONCE_E_INVALID,
            "the PGconn to join must be in an open transaction block (BEGIN), idle, and not in a failed one");
    if (PQpipelineStatus(pg) == PQ_PIPELINE_ABORTED)
        return xo_fail(XONCE_E_INVALID,
                       "the PGconn to join is in an aborted pipeline: read its results up to the Sync first");
    if (strcmp(pg_encoding_to_char(PQclientEncoding(pg)), "UTF8") != 0)
        return xo_fail(XONCE_E_INVALID,
                       "the PGconn to join has client_encoding %s: SET client_encoding TO 'UTF8' first",
                       pg_encoding_to_char(PQclientEncoding(pg)));
    c = new_conn(pg, o);
    if (!c)
        return xo_nomem();
    c->pub.joined = 1;
    c->pub.in_tx = 1;
    c->begun = 1;
    st = enter_user_tx(c);
    if (st != XONCE_OK) {
        xo_pg_close(&c->pub);
        return st;
    }
    *out = &c->pub;
    return XONCE_OK;
}

void xo_pg_close(xo_conn *x)
{
    xo_pg_conn *c = xo_pg_of(x);
    if (!x)
        return;
    if (!x->joined)
        PQfinish(c->pg);
    free(c->table);
    free(c->insert);
    free(c->insert_one);
    free(c->select);
    free(c->insert_any);
    free(c->select_any);
    free(c->prep);
    free(c->ex.op);
    xo_pg_params_free(&c->params);
    free(c);
}

int xo_pg_alive(xo_pg_conn *c)
{
    int i;
    /* a server that went away has left its farewell and an end of file */
    for (i = 0; i < 4; i++) {
        struct pollfd p;
        p.fd = PQsocket(c->pg);
        p.events = POLLIN;
        p.revents = 0;
        if (p.fd < 0 || poll(&p, 1, 0) <= 0)
            break;
        if (!PQconsumeInput(c->pg))
            break;
        (void)PQisBusy(c->pg); /* looks at what was read */
    }
    return !c->farewell[0] && PQstatus(c->pg) == CONNECTION_OK;
}

int xo_pg_usable(xo_conn *x)
{
    xo_pg_conn *c = xo_pg_of(x);
    /* a handler that was lent the connection may have changed its encoding for good */
    return !x->lost && PQstatus(c->pg) == CONNECTION_OK &&
           strcmp(pg_encoding_to_char(PQclientEncoding(c->pg)), "UTF8") == 0 && xo_pg_alive(c) &&
           PQtransactionStatus(c->pg) == PQTRANS_IDLE;
}
