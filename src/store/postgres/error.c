/* What a PostgreSQL error means: SQLSTATE to class and status, texts without secrets, notices. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "base/log.h"
#include "store/postgres/impl.h"

const char *xo_pg_field(const PGresult *r, int code)
{
    const char *s = r ? PQresultErrorField(r, code) : NULL;
    return s ? s : "";
}

void xo_pg_mark_lost(xo_pg_conn *c)
{
    c->pub.lost = 1;
    /* closing must not wait for a peer that does not answer; a user's own handle stays as it is */
    if (!c->pub.joined && PQsocket(c->pg) >= 0)
        (void)shutdown(PQsocket(c->pg), SHUT_RDWR);
}

xo_sql_class xo_pg_class_of(const char *sqlstate)
{
    static const struct {
        const char *prefix;
        xo_sql_class cls;
    } rules[] = {
        {"40", XO_SQL_AGAIN},     {"55P03", XO_SQL_AGAIN}, {"57014", XO_SQL_AGAIN}, {"57P", XO_SQL_LOST},
        {"25P03", XO_SQL_LOST},   {"25P04", XO_SQL_LOST},  {"08P01", XO_SQL_SETUP}, {"08", XO_SQL_LOST},
        {"23503", XO_SQL_PARENT}, {"22", XO_SQL_DATA},     {"23", XO_SQL_DATA},     {"42", XO_SQL_SETUP},
        {"3F", XO_SQL_SETUP},     {"3D", XO_SQL_SETUP},    {"28", XO_SQL_SETUP},    {"25006", XO_SQL_SETUP},
        {"0A", XO_SQL_SETUP},     {"26", XO_SQL_SETUP},
        /* out of disk, memory or connections, an I/O error: no message's fault, and none succeeds before that is over */
        {"53", XO_SQL_LOST},      {"58030", XO_SQL_LOST},
    };
    size_t i;
    for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (strncmp(sqlstate, rules[i].prefix, strlen(rules[i].prefix)) == 0)
            return rules[i].cls;
    return XO_SQL_OTHER;
}

static xo_sql_class class_of_result(const PGresult *r)
{
    const char *severity = xo_pg_field(r, PG_DIAG_SEVERITY_NONLOCALIZED);
    xo_sql_class cls = xo_pg_class_of(xo_pg_field(r, PG_DIAG_SQLSTATE));
    if (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0)
        return XO_SQL_LOST;
    /* a parent that is still referenced stays referenced; the SQLSTATE is the same as for one that is missing. Where
       the text is translated the difference does not show and the message is tried again until its attempts are used
       up. */
    if (cls == XO_SQL_PARENT && strncmp(xo_pg_field(r, PG_DIAG_MESSAGE_PRIMARY), "update or delete on", 19) == 0)
        return XO_SQL_DATA;
    return cls;
}

static xonce_status status_of(xo_sql_class cls, const char *sqlstate)
{
    if (cls == XO_SQL_AGAIN)
        return XONCE_E_CONFLICT;
    if (cls == XO_SQL_LOST)
        return XONCE_E_CONNECT;
    if (strncmp(sqlstate, "28", 2) == 0 || strcmp(sqlstate, "42501") == 0)
        return XONCE_E_AUTH;
    return XONCE_E_SQL;
}

xonce_status xo_pg_fail_result(xo_pg_conn *c, const PGresult *r)
{
    const char *state = xo_pg_field(r, PG_DIAG_SQLSTATE), *primary = xo_pg_field(r, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = xo_pg_field(r, PG_DIAG_MESSAGE_DETAIL);
    xo_sql_class cls = class_of_result(r);
    if (state[0] == 0) /* libpq's own: the connection broke, or the answer made no sense */
        return xo_pg_fail_lost(c, "waiting for the answer");
    if (cls == XO_SQL_LOST)
        xo_pg_mark_lost(c);
    if (strcmp(state, "42P01") == 0 && (strstr(primary, "transaction_record") || strstr(primary, "xonce_")))
        return xo_fail_sql(XONCE_E_SCHEMA, cls, 0, state, "PostgreSQL: %s: run `xonce init` on this database, or is it the wrong one?", primary);
    return xo_fail_sql(status_of(cls, state), cls, 0, state, "PostgreSQL: %s%s%s%s", primary, detail[0] ? " (" : "",
                       detail, detail[0] ? ")" : "");
}

xonce_status xo_pg_fail_lost(xo_pg_conn *c, const char *doing)
{
    char text[256];
    const char *m = c->farewell[0] ? c->farewell : PQerrorMessage(c->pg);
    size_t n = strcspn(m, "\n");
    if (n >= sizeof(text))
        n = sizeof(text) - 1;
    memcpy(text, m, n);
    text[n] = 0;
    xo_pg_mark_lost(c);
    return xo_fail_sql(XONCE_E_CONNECT, XO_SQL_LOST, 0, NULL, "the connection to PostgreSQL broke while %s%s%s", doing,
                       n ? ": " : "", text);
}

xonce_status xo_pg_fail_escaped(xo_pg_conn *c)
{
    c->pub.escaped = 1;
    return xo_fail_sql(XONCE_E_TX_LOST, XO_SQL_OTHER, 0, NULL,
                       "the transaction was ended by the handler: it must not BEGIN, COMMIT or ROLLBACK on the "
                       "connection it was lent");
}

xonce_status xo_pg_fail_aborted(xo_pg_conn *c)
{
    /* the handler had the result with the SQLSTATE; what libpq still has is the text */
    static const char *const again[] = {"deadlock detected", "could not serialize access",
                                        "canceling statement due to lock timeout"};
    const char *m = PQerrorMessage(c->pg);
    xo_sql_class cls = XO_SQL_OTHER;
    size_t i;
    for (i = 0; i < sizeof(again) / sizeof(again[0]); i++)
        if (strstr(m, again[i]))
            cls = XO_SQL_AGAIN;
    return xo_fail_sql(cls == XO_SQL_AGAIN ? XONCE_E_CONFLICT : XONCE_E_SQL, cls, 0, "25P02",
                       "a statement of the handler failed in the transaction%s%.*s", m[0] ? ": " : "",
                       (int)strcspn(m, "\n"), m);
}

void xo_pg_notice(void *arg, const PGresult *r)
{
    xo_pg_conn *c = arg;
    const char *state = xo_pg_field(r, PG_DIAG_SQLSTATE), *text = xo_pg_field(r, PG_DIAG_MESSAGE_PRIMARY);
    const char *severity = xo_pg_field(r, PG_DIAG_SEVERITY_NONLOCALIZED);
    int warning = strcmp(severity, "WARNING") == 0;
    if (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0) /* said to an idle connection */
        (void)snprintf(c->farewell, sizeof(c->farewell), "%s", text);
    /* the transaction is committed here and perhaps nowhere else */
    if (warning && (strcmp(xo_pg_field(r, PG_DIAG_SOURCE_FUNCTION), "SyncRepWaitForLSN") == 0 ||
                    strstr(text, "synchronous replication")))
        c->sync_doubt = 1;
    if (strcmp(state, "25P01") == 0)
        c->no_tx = 1;
    xo_log(warning ? XO_INFO : XO_DEBUG, "store", "PostgreSQL says: %s", text);
}
