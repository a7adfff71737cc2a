/* Values on MySQL's wire: each xonce_value as the type that keeps it exactly. */
#include "store/mysql/impl.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

enum { DECIMAL_DIGITS = 65, DECIMAL_SCALE = 30 };

/* Fits DECIMAL as it is written, so that no digit changes: [-]digits[.digits] without leading zeros, exponent or minus zero. */
static int plain_decimal(const char *p, size_t n)
{
    size_t i = n && p[0] == '-', first = i, whole = 0, part = 0;
    int nonzero = 0;
    for (; i < n && isdigit((unsigned char)p[i]); i++, whole++)
        nonzero |= p[i] != '0';
    if (whole == 0 || (whole > 1 && p[first] == '0'))
        return 0;
    if (i < n && p[i] == '.') {
        for (i++; i < n && isdigit((unsigned char)p[i]); i++, part++)
            nonzero |= p[i] != '0';
        if (part == 0)
            return 0;
    }
    return i == n && whole + part <= DECIMAL_DIGITS && part <= DECIMAL_SCALE && (nonzero || first == 0);
}

xo_my_wire xo_my_wire_of(const xonce_value *v)
{
    switch (v->kind) {
    case XONCE_NULL:
        return XO_W_NULL;
    case XONCE_INT:
        return XO_W_INT;
    case XONCE_REAL:
        return XO_W_REAL;
    case XONCE_BOOL:
        return XO_W_BOOL;
    case XONCE_DECIMAL: /* what DECIMAL cannot hold goes as text: the column decides */
        return plain_decimal(v->v.p, v->len) ? XO_W_DECIMAL : XO_W_TEXT;
    case XONCE_TIME:
        return XO_W_TIME;
    case XONCE_BLOB:
        return XO_W_BLOB;
    case XONCE_TEXT:
        break;
    }
    return XO_W_TEXT;
}

enum enum_field_types xo_my_type(xo_my_wire w)
{
    static const enum enum_field_types type[] = {MYSQL_TYPE_NULL,   MYSQL_TYPE_LONGLONG,   MYSQL_TYPE_DOUBLE,   MYSQL_TYPE_TINY,
                                                 MYSQL_TYPE_STRING, MYSQL_TYPE_NEWDECIMAL, MYSQL_TYPE_DATETIME, MYSQL_TYPE_LONG_BLOB};
    return type[w];
}

xonce_status xo_my_to_time(MYSQL_TIME *t, int64_t ms)
{
    int64_t s = ms / 1000, rest = ms % 1000;
    if (rest < 0) {
        rest += 1000;
        s--;
    }
    time_t at = (time_t)s;
    struct tm tm;
    if (!gmtime_r(&at, &tm) || tm.tm_year < -899 || tm.tm_year > 8099)
        return xo_fail_sql(XONCE_E_INVALID, XO_SQL_DATA, 0, "22008", "the time %lld is outside of the years 1001 to 9999 that DATETIME can hold", (long long)ms);
    memset(t, 0, sizeof *t);
    t->year = (unsigned)(tm.tm_year + 1900);
    t->month = (unsigned)(tm.tm_mon + 1);
    t->day = (unsigned)tm.tm_mday;
    t->hour = (unsigned)tm.tm_hour;
    t->minute = (unsigned)tm.tm_min;
    t->second = (unsigned)tm.tm_sec;
    t->second_part = (unsigned long)rest * 1000;
    t->time_type = MYSQL_TIMESTAMP_DATETIME;
    return XONCE_OK;
}

xonce_status xo_my_text_fits(const xo_my *m, const xonce_value *v)
{
    if (m->utf8)
        return XONCE_OK;
    for (size_t i = 0; i < v->len; i++)
        if (((const unsigned char *)v->v.p)[i] & 0x80)
            return xo_fail(XONCE_E_INVALID, "the joined connection's character set is %s, which would garble UTF-8 text: use mysql_set_character_set(conn, \"utf8mb4\") before joining",
                           mysql_character_set_name(m->my));
    return XONCE_OK;
}

static xonce_status bind_copy(xo_my *m, MYSQL_BIND *b, const void *p, size_t n)
{
    b->buffer = xo_arena_alloc(&m->scratch, n);
    if (!b->buffer)
        return xo_nomem();
    memcpy(b->buffer, p, n);
    return XONCE_OK;
}

xonce_status xo_my_bind(xo_my *m, MYSQL_BIND *b, const xonce_value *v)
{
    xo_my_wire w = xo_my_wire_of(v);
    memset(b, 0, sizeof *b);
    b->buffer_type = xo_my_type(w);
    MYSQL_TIME t;
    signed char yes;
    xonce_status st;
    switch (w) {
    case XO_W_NULL:
        return XONCE_OK;
    case XO_W_INT:
        return bind_copy(m, b, &v->v.i, sizeof v->v.i);
    case XO_W_REAL:
        return bind_copy(m, b, &v->v.d, sizeof v->v.d);
    case XO_W_BOOL:
        yes = v->v.i != 0;
        return bind_copy(m, b, &yes, sizeof yes);
    case XO_W_TIME:
        st = xo_my_to_time(&t, v->v.i);
        return st == XONCE_OK ? bind_copy(m, b, &t, sizeof t) : st;
    case XO_W_TEXT:
        st = xo_my_text_fits(m, v);
        if (st != XONCE_OK)
            return st;
        break;
    case XO_W_DECIMAL:
    case XO_W_BLOB:
        break;
    }
    b->buffer = (void *)(uintptr_t)v->v.p; /* only read */
    b->buffer_length = (unsigned long)v->len;
    return XONCE_OK;
}
