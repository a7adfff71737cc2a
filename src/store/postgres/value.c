/* Parameters for PostgreSQL: text form without a type, so that the column decides, and blobs in binary.
 *
 * A time goes as ISO text in UTC (2026-11-24T08:00:00.123Z), which timestamptz, timestamp and text columns take; for a
 * bigint column bind the milliseconds with xonce_int(). A boolean goes as t or f. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "store/postgres/impl.h"

enum { VALUE_MAX = 1000000000, PARAMS_MAX = 65535 };

xonce_status xo_pg_value_check(const xonce_value *v, size_t n, const char *shown)
{
    size_t i;
    if (n > PARAMS_MAX)
        return xo_fail(XONCE_E_INVALID, "%zu parameters: PostgreSQL takes at most %d", n, PARAMS_MAX);
    for (i = 0; i < n; i++) {
        int text = v[i].kind == XONCE_TEXT || v[i].kind == XONCE_DECIMAL;
        if ((text || v[i].kind == XONCE_BLOB) && v[i].len > VALUE_MAX)
            return xo_fail_sql(XONCE_E_SQL, XO_SQL_DATA, 0, "54000",
                               "parameter $%zu is longer than PostgreSQL's 1 GB, in: %.100s", i + 1, shown);
        if (text && v[i].len && memchr(v[i].v.p, 0, v[i].len)) /* it would be cut there in silence */
            return xo_fail_sql(XONCE_E_SQL, XO_SQL_DATA, 0, "22021",
                               "parameter $%zu has a NUL byte, which PostgreSQL's text cannot hold, in: %.100s", i + 1,
                               shown);
    }
    return XONCE_OK;
}

static const char *format_real(xo_arena *a, double d)
{
    char raw[64], *out = xo_arena_alloc(a, 64);
    size_t i, o = 0;
    if (!out)
        return NULL;
    if (isnan(d))
        return "NaN";
    if (isinf(d))
        return d > 0 ? "Infinity" : "-Infinity";
    (void)snprintf(raw, sizeof(raw), "%.17g", d);
    /* the point may be any character or characters of the program's locale */
    for (i = 0; raw[i] && o < 62; i++) {
        if (strchr("0123456789+-eE", raw[i]))
            out[o++] = raw[i];
        else if (o == 0 || out[o - 1] != '.')
            out[o++] = '.';
    }
    return out;
}

static xonce_status set_one(xo_pg_params *p, size_t i, const xonce_value *v)
{
    char number[48];
    p->format[i] = 0;
    p->len[i] = 0;
    switch (v->kind) {
    case XONCE_NULL: p->v[i] = NULL; return XONCE_OK;
    case XONCE_BOOL: p->v[i] = v->v.i ? "t" : "f"; return XONCE_OK;
    case XONCE_REAL: p->v[i] = format_real(&p->arena, v->v.d); break;
    case XONCE_INT:
        (void)snprintf(number, sizeof(number), "%" PRId64, v->v.i);
        p->v[i] = xo_arena_dup(&p->arena, number, strlen(number));
        break;
    case XONCE_TIME:
        xo_format_time(v->v.i, number, sizeof(number));
        p->v[i] = xo_arena_dup(&p->arena, number, strlen(number));
        break;
    case XONCE_BLOB:
        p->format[i] = 1;
        p->v[i] = v->len ? v->v.p : "";
        p->len[i] = (int)v->len;
        p->bytes += v->len;
        break;
    case XONCE_TEXT:
    case XONCE_DECIMAL:
        p->v[i] = xo_arena_dup(&p->arena, v->len ? v->v.p : "", v->len);
        p->bytes += v->len;
        break;
    }
    return p->v[i] ? XONCE_OK : xo_nomem();
}

xonce_status xo_pg_params_set(xo_pg_params *p, const xonce_value *v, size_t n)
{
    size_t i;
    if (n > p->cap) {
        xo_pg_params_free(p);
        p->v = xo_calloc(n, sizeof(*p->v));
        p->len = xo_calloc(n, sizeof(*p->len));
        p->format = xo_calloc(n, sizeof(*p->format));
        if (!p->v || !p->len || !p->format) {
            xo_pg_params_free(p);
            return xo_nomem();
        }
        p->cap = n;
    }
    xo_arena_reset(&p->arena);
    p->bytes = n * 8;
    for (i = 0; i < n; i++)
        if (set_one(p, i, &v[i]) != XONCE_OK)
            return XONCE_E_NOMEM;
    return XONCE_OK;
}

void xo_pg_params_free(xo_pg_params *p)
{
    free(p->v);
    free(p->len);
    free(p->format);
    xo_arena_free(&p->arena);
    memset(p, 0, sizeof(*p));
}

/* An array as the server sends and takes it in binary: dimensions, whether there are NULLs, the elements' type, length, lower bound; then each element behind its length. */
static void add_int4(xo_buf *b, uint32_t i)
{
    const unsigned char raw[4] = {(unsigned char)(i >> 24), (unsigned char)(i >> 16), (unsigned char)(i >> 8), (unsigned char)i};
    xo_buf_add(b, raw, sizeof(raw));
}

void xo_pg_array_begin(xo_buf *b, uint32_t oid, size_t n)
{
    add_int4(b, n ? 1 : 0);
    add_int4(b, 1);
    add_int4(b, oid);
    if (n) {
        add_int4(b, (uint32_t)n);
        add_int4(b, 1);
    }
}

void xo_pg_array_text(xo_buf *b, const char *text)
{
    size_t n = strlen(text);
    add_int4(b, (uint32_t)n);
    xo_buf_add(b, text, n);
}

void xo_pg_array_int(xo_buf *b, int32_t i)
{
    add_int4(b, 4);
    add_int4(b, (uint32_t)i);
}

void xo_pg_array_bigint(xo_buf *b, int64_t i, int is_null)
{
    uint64_t u = (uint64_t)i;
    unsigned char raw[12] = {0, 0, 0, 8};
    if (is_null) {
        add_int4(b, UINT32_MAX);
        return;
    }
    for (int k = 11; k > 3; k--, u >>= 8)
        raw[k] = (unsigned char)u;
    xo_buf_add(b, raw, sizeof(raw));
}
