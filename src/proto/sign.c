/* The signature: HMAC-SHA1 over the request as it goes over the wire. */
#include "proto/sign.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* ---- signature ---- */

/* The value without the blanks around it. */
static const char *value_of(const char *v, size_t *n)
{
    while (*v == ' ' || *v == '\t')
        v++;
    *n = strlen(v);
    while (*n && (v[*n - 1] == ' ' || v[*n - 1] == '\t'))
        --*n;
    return v;
}

static void add_header(xo_buf *b, const xo_header *h, size_t nh, const char *name)
{
    for (size_t i = 0; i < nh; i++)
        if (!strcasecmp(h[i].name, name)) {
            size_t n;
            const char *v = value_of(h[i].value, &n);
            xo_buf_add(b, v, n);
            break;
        }
    xo_buf_char(b, '\n');
}

static int is_mq(const xo_header *h)
{
    return !strncasecmp(h->name, "x-mq-", 5);
}

/* The next x-mq- header in the order of (lower-case name, place); NULL after the last. There are one or two in
 * practice. */
static const xo_header *next_mq(const xo_header *h, size_t nh, const xo_header *last)
{
    const xo_header *best = NULL;
    for (size_t i = 0; i < nh; i++) {
        if (!is_mq(&h[i]))
            continue;
        int after = last ? strcasecmp(h[i].name, last->name) : 1;
        if (after < 0 || (after == 0 && &h[i] <= last))
            continue;
        if (!best || strcasecmp(h[i].name, best->name) < 0)
            best = &h[i];
    }
    return best;
}

xonce_status xo_string_to_sign(char **out, const char *method, const char *target, const xo_header *h, size_t nh)
{
    xo_buf b = {0};
    *out = NULL;
    xo_buf_str(&b, method);
    xo_buf_char(&b, '\n');
    add_header(&b, h, nh, "content-md5");
    add_header(&b, h, nh, "content-type");
    add_header(&b, h, nh, "date");
    for (const xo_header *x = NULL; (x = next_mq(h, nh, x));) {
        size_t n;
        const char *v = value_of(x->value, &n);
        for (const char *p = x->name; *p; p++)
            xo_buf_char(&b, (char)tolower((unsigned char)*p));
        xo_buf_char(&b, ':');
        xo_buf_add(&b, v, n);
        xo_buf_char(&b, '\n');
    }
    xo_buf_str(&b, target);
    xonce_status st = xo_buf_status(&b);
    if (!st && !(*out = xo_buf_take(&b)))
        st = xo_nomem();
    xo_buf_free(&b);
    return st;
}

xonce_status xo_sign(char out[29], const char *secret, const char *string_to_sign)
{
    unsigned char mac[20];
    out[0] = 0;
    if (xo_hmac_sha1(secret, strlen(secret), string_to_sign, strlen(string_to_sign), mac))
        return xo_fail(XONCE_E_AUTH, "the crypto library refuses HMAC-SHA1, which the RocketMQ HTTP protocol signs "
                                     "with: is it in a restricted (FIPS) mode?");
    char *text = xo_base64(mac, sizeof mac);
    if (!text)
        return xo_nomem();
    memcpy(out, text, 29);
    free(text);
    return XONCE_OK;
}

xonce_status xo_parse_authorization(const char *value, char *id, size_t size, const char **signature)
{
    size_t n;
    const char *v = value_of(value, &n), *colon = memchr(v, ':', n);
    *signature = NULL;
    if (size)
        id[0] = 0;
    if (n < 3 || memcmp(v, "MQ ", 3) || !colon || colon == v + 3 || colon + 1 == v + n)
        return xo_fail(XONCE_E_INVALID, "the Authorization header is not of the form \"MQ AccessKeyId:Signature\"");
    size_t nid = (size_t)(colon - (v + 3));
    if (nid >= size)
        return xo_fail(XONCE_E_INVALID, "the access key id of the Authorization header is longer than %zu bytes",
                       size - 1);
    for (const char *p = v + 3; p < v + n; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
            return xo_fail(XONCE_E_INVALID, "the Authorization header holds byte 0x%02x at offset %zu",
                           (unsigned char)*p, (size_t)(p - v));
    memcpy(id, v + 3, nid);
    id[nid] = 0;
    *signature = colon + 1;
    return XONCE_OK;
}

/* ---- dates ---- */

static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

void xo_http_date(char out[30], int64_t now_ms)
{
    struct tm t;
    time_t s = (time_t)(now_ms / 1000);
    /* not strftime: %a and %b follow the locale */
    if (now_ms < 0 || !gmtime_r(&s, &t) || t.tm_year < 0 || t.tm_year > 8099) {
        memcpy(out, "Thu, 01 Jan 1970 00:00:00 GMT", 30);
        return;
    }
    char text[64];
    snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[t.tm_wday], t.tm_mday, months[t.tm_mon],
             t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
    memcpy(out, text, 29);
    out[29] = 0;
}

static int digits(const char *s, int n)
{
    int v = 0;
    for (int i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        v = v * 10 + (s[i] - '0');
    }
    return v;
}

static int lookup(const char *s, const char names[][4], int n)
{
    for (int i = 0; i < n; i++)
        if (!memcmp(s, names[i], 3))
            return i;
    return -1;
}

/* Days from 1970-01-01 in the proleptic Gregorian calendar; month from 1. */
static int64_t days_from_civil(int year, int month, int day)
{
    int64_t y = year - (month <= 2), era = y / 400, yoe = y - era * 400;
    int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static int month_length(int year, int month)
{
    static const int length[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && year % 4 == 0 && (year % 100 || year % 400 == 0) ? 29 : length[month - 1];
}

xonce_status xo_parse_http_date(const char *s, int64_t *ms)
{
    *ms = -1;
    size_t n;
    s = value_of(s, &n);
    if (n == 29 && !memcmp(s + 3, ", ", 2) && s[7] == ' ' && s[11] == ' ' && s[16] == ' ' && s[19] == ':' &&
        s[22] == ':' && !memcmp(s + 25, " GMT", 4) && lookup(s, days, 7) >= 0) {
        int day = digits(s + 5, 2), month = lookup(s + 8, months, 12) + 1, year = digits(s + 12, 4);
        int hour = digits(s + 17, 2), minute = digits(s + 20, 2), second = digits(s + 23, 2);
        if (month >= 1 && year >= 1970 && day >= 1 && day <= month_length(year, month) && hour >= 0 && hour <= 23 &&
            minute >= 0 && minute <= 59 && second >= 0 && second <= 60) {
            *ms = (((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000;
            return XONCE_OK;
        }
    }
    return xo_fail(XONCE_E_INVALID, "not a date of the form \"Tue, 24 Nov 2026 08:00:00 GMT\"");
}
