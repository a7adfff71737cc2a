/* What an error of MySQL or MariaDB means: for the message, for the transaction, for the connection. */
#include "store/mysql/impl.h"

#include <string.h>

static int listed(unsigned e, const unsigned short *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == e)
            return 1;
    return 0;
}
#define IN(e, list) listed((e), (list), sizeof(list) / sizeof *(list))

/* deadlock, lock wait, no room for locks (all of it is rolled back), record changed since read, XA rolled back (time, deadlock), table definition changed, NOWAIT, needs a new prepare */
static const unsigned short again[] = {1213, 1205, 1206, 1020, 1613, 1614, 1412, 1615, 3572};
/* A full disk or table, the client's own (2xxx) and what a server says while it goes down or throws us out; the network errors it can still report. */
static const unsigned short lost[] = {1021, 1114, 2002, 2003, 2004, 2005, 2006, 2011, 2012, 2013, 2026, 2027, 2048, 2055, 1040, 1042, 1043, 1047, 1053, 1077,
                                      1079, 1080, 1129, 1152, 1154, 1155, 1156, 1157, 1158, 1159, 1160, 1161, 1184, 1203, 1927, 3169, 4031, 5012, 5013};
static const unsigned short parent[] = {1216, 1452};
/* duplicates, NULL, ranges, truncation, conversion, CHECK, JSON, rows that are too big */
static const unsigned short data[] = {1022, 1048, 1062, 1118, 1169, 1217, 1264, 1265, 1292, 1300, 1364, 1365, 1366, 1367, 1406, 1411, 1416, 1441, 1451,
                                      1525, 1557, 1586, 1690, 1761, 1762, 3140, 3141, 3155, 3156, 3157, 3819, 3903, 3988, 4025};
static const unsigned short setup[] = {1036, 1044, 1045, 1046, 1049, 1051, 1054, 1064, 1109, 1130, 1136, 1142, 1143, 1146, 1210, 1227, 1290, 1295,
                                       1305, 1318, 1356, 1370, 1449, 1698, 1792, 1836, 2059, 2061, 3100, 3955};
/* statement interrupted or out of time, resource limit, packet too big: not the message's fault, or not for ever */
static const unsigned short other[] = {1104, 1153, 1226, 1317, 1969, 3024, 2014, 2020};
/* errors of rights */
static const unsigned short rights[] = {1044, 1045, 1130, 1142, 1143, 1227, 1370, 1698, 2059, 2061, 3955};

xo_sql_class xo_my_classify(unsigned e, const char *sqlstate)
{
    if (IN(e, other))
        return XO_SQL_OTHER;
    if (IN(e, again))
        return XO_SQL_AGAIN;
    if (IN(e, lost))
        return XO_SQL_LOST;
    if (IN(e, parent))
        return XO_SQL_PARENT;
    if (IN(e, data))
        return XO_SQL_DATA;
    if (IN(e, setup))
        return XO_SQL_SETUP;
    if (!sqlstate)
        return XO_SQL_OTHER;
    if (strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "23", 2) == 0)
        return XO_SQL_DATA;
    if (strncmp(sqlstate, "40", 2) == 0)
        return XO_SQL_AGAIN;
    if (strncmp(sqlstate, "08", 2) == 0)
        return XO_SQL_LOST;
    return strncmp(sqlstate, "42", 2) == 0 ? XO_SQL_SETUP : XO_SQL_OTHER;
}

xonce_status xo_my_fail(xo_my *m, unsigned e, const char *sqlstate, const char *text, const char *what)
{
    xo_sql_class cls = xo_my_classify(e, sqlstate);
    xonce_status code = XONCE_E_SQL;
    if (cls == XO_SQL_AGAIN)
        code = XONCE_E_CONFLICT;
    else if (cls == XO_SQL_LOST)
        code = XONCE_E_CONNECT;
    else if (IN(e, rights))
        code = XONCE_E_AUTH;
    if (cls == XO_SQL_AGAIN)
        m->dead = e;
    if (cls == XO_SQL_LOST || e == XO_CR_OUT_OF_SYNC || e == 1153)
        m->c.lost = 1;
    m->read_rows = NULL;
    if (e == 1146 && text && (strstr(text, ".transaction_record") || strstr(text, ".xonce_")))
        return xo_fail_sql(XONCE_E_SCHEMA, cls, (int)e, sqlstate, "%s: run `xonce init` on this database, or is it the wrong one? (%s %u)", text,
                           m->server_maria ? "MariaDB" : "MySQL", e);
    return xo_fail_sql(code, cls, (int)e, sqlstate, "%s%s%s (%s %u)", what ? what : "", what ? ": " : "", text && *text ? text : "no reason was given",
                       m->server_maria ? "MariaDB" : "MySQL", e);
}

xonce_status xo_my_fail_conn(xo_my *m, const char *what)
{
    return xo_my_fail(m, mysql_errno(m->my), mysql_sqlstate(m->my), mysql_error(m->my), what);
}

xonce_status xo_my_fail_stmt(xo_my *m, MYSQL_STMT *s, const char *what)
{
    return xo_my_fail(m, mysql_stmt_errno(s), mysql_stmt_sqlstate(s), mysql_stmt_error(s), what);
}

xonce_status xo_my_ready(xo_my *m)
{
    if (m->c.lost)
        return xo_fail_sql(XONCE_E_CONNECT, XO_SQL_LOST, 2006, "08S01", "this connection to the database was lost; a new one is needed");
    if (m->dead)
        return xo_fail_sql(XONCE_E_CONFLICT, XO_SQL_AGAIN, (int)m->dead, "40001",
                           "this transaction was ended by error %u (deadlock or lock timeout): it must be rolled back and run again", m->dead);
    return XONCE_OK;
}
