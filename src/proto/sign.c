/* Credentials and the signature: HMAC-SHA1 over the request as it goes over the wire. */
#include "proto/sign.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

#define ENV_ID "ALIBABA_CLOUD_ACCESS_KEY_ID"
#define ENV_SECRET "ALIBABA_CLOUD_ACCESS_KEY_SECRET"
#define ENV_TOKEN "ALIBABA_CLOUD_SECURITY_TOKEN"
enum { XO_CREDENTIALS_FILE_MAX = 64 * 1024 };

/* ---- credentials ---- */

void xo_credentials_free(xo_credentials *c)
{
    if (!c)
        return;
    xo_wipe_free(c->access_key_id);
    xo_wipe_free(c->access_key_secret);
    xo_wipe_free(c->security_token);
    memset(c, 0, sizeof *c);
}

/* They become header values: a line end inside would be another header. */
static xonce_status check_value(const char *what, const char *value)
{
    for (const char *p = value; *p; p++)
        if ((unsigned char)*p <= 0x20 || *p == 0x7f)
            return xo_fail(
                XONCE_E_AUTH,
                "%s holds a blank or control character at offset %zu: it was probably copied with a line end", what,
                (size_t)(p - value));
    return XONCE_OK;
}

static xonce_status take(xo_credentials *out, const char *where, const char *id, const char *secret, const char *token)
{
    if (!id || !*id || !secret || !*secret)
        return xo_fail(XONCE_E_AUTH, "%s names an access key %s without its %s: set both", where,
                       id && *id ? "id" : "secret", id && *id ? "secret" : "id");
    if (strchr(id, ':'))
        return xo_fail(XONCE_E_AUTH, "the access key id in %s holds a ':'", where);
    xonce_status st = check_value("the access key id", id);
    if (!st)
        st = check_value("the access key secret", secret);
    if (!st && token)
        st = check_value("the security token", token);
    if (st)
        return st;
    out->access_key_id = xo_strdup(id);
    out->access_key_secret = xo_strdup(secret);
    out->security_token = token && *token ? xo_strdup(token) : NULL;
    if (!out->access_key_id || !out->access_key_secret || (token && *token && !out->security_token)) {
        xo_credentials_free(out);
        return xo_nomem();
    }
    return XONCE_OK;
}

static char *trim(char *s)
{
    while (isspace((unsigned char)*s))
        s++;
    size_t n = strlen(s);
    while (n && isspace((unsigned char)s[n - 1]))
        s[--n] = 0;
    return s;
}

static int is_name(const char *name, const char *key, const char *env)
{
    if (!strncmp(name, "export ", 7))
        name += 7;
    if (!strncasecmp(name, "credentials.", 12))
        name += 12;
    return !strcasecmp(name, key) || !strcasecmp(name, env);
}

/* One "name = value" line; cuts line. */
static xonce_status read_line(char *line, const char *path, int number, char **values)
{
    char *s = trim(line), *eq;
    if (!*s || *s == '#')
        return XONCE_OK;
    if (!(eq = strchr(s, '=')))
        return xo_fail(XONCE_E_INVALID, "%s line %d: not of the form name = value", path, number);
    *eq = 0;
    char *name = trim(s), *value = trim(eq + 1);
    size_t n = strlen(value);
    if (n >= 2 && (*value == '"' || *value == '\'') && value[n - 1] == *value) {
        value[n - 1] = 0;
        value++;
    }
    if (is_name(name, "access-key-id", ENV_ID))
        values[0] = value;
    else if (is_name(name, "access-key-secret", ENV_SECRET))
        values[1] = value;
    else if (is_name(name, "security-token", ENV_TOKEN))
        values[2] = value;
    else
        return xo_fail(XONCE_E_INVALID,
                       "%s line %d: unknown name; use access-key-id, access-key-secret, security-token", path, number);
    return XONCE_OK;
}

static xonce_status read_lines(xo_credentials *out, const char *path, char *text)
{
    char *values[3] = {NULL, NULL, NULL}, *line = text;
    for (int number = 1; line; number++) {
        char *end = strchr(line, '\n');
        if (end)
            *end = 0;
        xonce_status st = read_line(line, path, number, values);
        if (st)
            return st;
        line = end ? end + 1 : NULL;
    }
    return take(out, path, values[0], values[1], values[2]);
}

static xonce_status from_file(xo_credentials *out, const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return xo_fail(XONCE_E_AUTH, "the credentials file %s cannot be opened: %s", path, strerror(errno));
    struct stat sb;
    if (!fstat(fileno(f), &sb) && S_ISREG(sb.st_mode) && (sb.st_mode & 077))
        xo_log(XO_WARN, "http", "the credentials file %s can be read by others: chmod 600 it", path);
    char *text = xo_calloc(1, XO_CREDENTIALS_FILE_MAX + 1);
    xonce_status st;
    if (!text) {
        st = xo_nomem();
    } else {
        size_t n = fread(text, 1, XO_CREDENTIALS_FILE_MAX, f);
        if (ferror(f))
            st = xo_fail(XONCE_E_AUTH, "the credentials file %s cannot be read: %s", path, strerror(errno));
        else if (!feof(f) && n == XO_CREDENTIALS_FILE_MAX)
            st = xo_fail(XONCE_E_AUTH, "the credentials file %s is larger than 64 KiB: is it the right file?", path);
        else
            st = read_lines(out, path, text);
        xo_wipe(text, n);
    }
    free(text);
    fclose(f);
    return st;
}

xonce_status xo_credentials_load(xo_credentials *out, const xonce_config *cfg)
{
    memset(out, 0, sizeof *out);
    const char *id = xo_config_text(cfg, "credentials.access-key-id"),
               *secret = xo_config_text(cfg, "credentials.access-key-secret");
    const char *file = xo_config_text(cfg, "credentials.file");
    if (id || secret)
        return take(out, "the configuration (credentials.*)", id, secret,
                    xo_config_text(cfg, "credentials.security-token"));
    if (file && *file)
        return from_file(out, file);
    id = getenv(ENV_ID);
    secret = getenv(ENV_SECRET);
    if ((id && *id) || (secret && *secret))
        return take(out, "the environment (" ENV_ID ", " ENV_SECRET ")", id, secret, getenv(ENV_TOKEN));
    return xo_fail(XONCE_E_AUTH, "no credentials: set " ENV_ID " and " ENV_SECRET " (with STS " ENV_TOKEN
                                 " too), or name a credentials file");
}

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
