/* URIs: parsing, and a form without secrets. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static xonce_status decode(char **out, const char *what, const char *p, size_t n, int plus)
{
    size_t len = 0;
    char *s = xo_unpercent(p, n, plus, &len);
    if (!s) {
        return xo_fail(XONCE_E_INVALID, "uri: %s has a '%%' without two hex digits", what);
    }
    if (strlen(s) != len) {
        xo_wipe_free(s);
        return xo_fail(XONCE_E_INVALID, "uri: %s holds a zero byte", what);
    }
    *out = s;
    return XONCE_OK;
}

static xonce_status parse_port(xo_uri *u, const char *p, const char *end)
{
    int port = 0;
    for (; p < end; p++) {
        if (*p < '0' || *p > '9' || port > 65535) {
            return xo_fail(XONCE_E_INVALID, "uri: the port behind the host is not a number");
        }
        port = port * 10 + (*p - '0');
    }
    if (port > 65535) {
        return xo_fail(XONCE_E_INVALID, "uri: port %d is above 65535", port);
    }
    u->port = port;
    return XONCE_OK;
}

/* host, host:port, [v6]:port; a list "a:1,b:2" as libpq takes it stays one text. */
static xonce_status parse_host(xo_uri *u, const char *p, const char *end)
{
    const char *host_end = end, *colon = NULL;
    if (p < end && *p == '[') {
        const char *close = memchr(p, ']', (size_t)(end - p));
        if (!close || (close + 1 < end && close[1] != ':')) {
            return xo_fail(XONCE_E_INVALID, "uri: the host begins with '[' but has no ']' before the port");
        }
        colon = close + 1 < end ? close + 1 : NULL;
        p++;
        host_end = close;
    } else if (!memchr(p, ',', (size_t)(end - p))) {
        colon = memchr(p, ':', (size_t)(end - p));
        host_end = colon ? colon : end;
    }
    xonce_status rc = decode(&u->host, "the host", p, (size_t)(host_end - p), 0);
    if (rc == XONCE_OK && colon) {
        rc = parse_port(u, colon + 1, end);
    }
    return rc;
}

static xonce_status parse_authority(xo_uri *u, const char *p, const char *end)
{
    const char *at = NULL;
    for (const char *q = p; q < end; q++) {
        if (*q == '@') {
            at = q;
        }
    }
    if (at) {
        const char *colon = memchr(p, ':', (size_t)(at - p));
        xonce_status rc = decode(&u->user, "the user", p, (size_t)((colon ? colon : at) - p), 0);
        if (rc == XONCE_OK && colon) {
            rc = decode(&u->password, "the password", colon + 1, (size_t)(at - colon - 1), 0);
        }
        if (rc != XONCE_OK) {
            return rc;
        }
        p = at + 1;
    }
    return parse_host(u, p, end);
}

static xonce_status parse_query(xo_uri *u, const char *p)
{
    size_t items = 1;
    for (const char *q = p; *q; q++) {
        items += *q == '&';
    }
    u->query = xo_calloc(items, sizeof(*u->query));
    if (!u->query) {
        return xo_nomem();
    }
    while (*p) {
        size_t n = strcspn(p, "&");
        const char *eq = memchr(p, '=', n);
        size_t name = eq ? (size_t)(eq - p) : n;
        if (n > 0) {
            xo_pair *item = &u->query[u->nquery];
            xonce_status rc = decode(&item->name, "the query", p, name, 0);
            if (rc == XONCE_OK) {
                rc = decode(&item->value, "the query", eq ? eq + 1 : p + n, eq ? n - name - 1 : 0, 0);
            }
            u->nquery++;
            if (rc != XONCE_OK) {
                return rc;
            }
        }
        p += n + (p[n] == '&');
    }
    return XONCE_OK;
}

static xonce_status parse(xo_uri *u, const char *text)
{
    size_t scheme = 0;
    while (isalnum((unsigned char)text[scheme]) || (scheme && text[scheme] && strchr("+-.", text[scheme]))) {
        scheme++;
    }
    if (scheme == 0 || text[scheme] != ':') {
        return xo_fail(XONCE_E_INVALID, "uri: it does not begin with a scheme and ':', as postgresql://, mysql:// or sqlite:");
    }
    u->scheme = xo_memdup0(text, scheme);
    if (!u->scheme) {
        return xo_nomem();
    }
    for (char *p = u->scheme; *p; p++) {
        *p = (char)tolower((unsigned char)*p);
    }
    const char *p = text + scheme + 1;
    xonce_status rc = XONCE_OK;
    if (p[0] == '/' && p[1] == '/') {
        p += 2;
        size_t n = strcspn(p, "/?#");
        rc = parse_authority(u, p, p + n);
        p += n;
    } else {
        u->host = xo_strdup("");
        rc = u->host ? XONCE_OK : xo_nomem();
    }
    size_t n = strcspn(p, "?");
    if (rc == XONCE_OK) {
        rc = decode(&u->path, "the path", p, n, 0);
    }
    if (rc == XONCE_OK && p[n] == '?') {
        rc = parse_query(u, p + n + 1);
    }
    return rc;
}

xonce_status xo_uri_parse(xo_uri *out, const char *text)
{
    memset(out, 0, sizeof(*out));
    if (!text) {
        return xo_fail(XONCE_E_INVALID, "uri: none was given");
    }
    xonce_status rc = parse(out, text);
    if (rc != XONCE_OK) {
        xo_uri_free(out);
    }
    return rc;
}

const char *xo_uri_query(const xo_uri *u, const char *name)
{
    for (size_t i = 0; i < u->nquery; i++) {
        if (strcmp(u->query[i].name, name) == 0) {
            return u->query[i].value;
        }
    }
    return NULL;
}

void xo_uri_free(xo_uri *u)
{
    for (size_t i = 0; i < u->nquery; i++) {
        free(u->query[i].name);
        xo_wipe_free(u->query[i].value);
    }
    free(u->query);
    free(u->scheme);
    free(u->user);
    xo_wipe_free(u->password);
    free(u->host);
    free(u->path);
    memset(u, 0, sizeof(*u));
}

static const char *last_at(const char *p, const char *end)
{
    while (end > p) {
        if (*--end == '@') {
            return end;
        }
    }
    return NULL;
}

/* Is there, before the path, nothing but a host with a port? Then a later '@' belongs to no password. */
static int plain_host(const char *p)
{
    size_t n = strcspn(p, "/?#");
    const char *colon = p[0] == '[' ? NULL : memchr(p, ':', n);
    return !colon || strspn(colon + 1, "0123456789") == (size_t)(p + n - colon - 1);
}

static int is_secret_name(const char *p, size_t n)
{
    static const char *const parts[] = {"passw", "pwd", "secret", "token", "signature", "access"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        size_t len = strlen(parts[i]);
        for (size_t at = 0; at + len <= n; at++) {
            if (strncasecmp(p + at, parts[i], len) == 0) {
                return 1;
            }
        }
    }
    return 0;
}

static void mask_query(xo_buf *b, const char *p)
{
    while (*p) {
        size_t n = strcspn(p, "&"), name = strcspn(p, "=&%");
        if (p[name] == '%') { /* a name that hides behind percent signs is not judged, but masked */
            name = strcspn(p, "=&");
            xo_buf_add(b, p, name);
            xo_buf_str(b, name < n ? "=***" : "");
        } else if (name < n && is_secret_name(p, name)) {
            xo_buf_add(b, p, name);
            xo_buf_str(b, "=***");
        } else {
            xo_buf_add(b, p, n);
        }
        p += n;
        if (*p == '&') {
            xo_buf_char(b, '&');
            p++;
        }
    }
}

/* From where on a user and a password may stand; NULL: nowhere. Of "mysql:user:password@host", which lacks its slashes, all is hidden behind the
   first ':'. A file of SQLite's may have any name. */
static const char *authority(const char *text)
{
    const char *slashes = strstr(text, "//"), *at = strchr(text, '@');
    size_t n = strcspn(text, ":");
    if (slashes && (!at || slashes < at)) {
        return slashes + 2;
    }
    return at && text + n < at && !(n >= 6 && strncasecmp(text + n - 6, "sqlite", 6) == 0) ? text : NULL;
}

/* A copy in which the password before the host is hidden, and where in it a query begins; NULL: no memory. */
static char *mask_authority(const char *text, size_t *query_at)
{
    xo_buf b = {0};
    const char *start = authority(text), *rest = text;
    size_t behind = SIZE_MAX;
    if (start) {
        const char *query = start + strcspn(start, "?");
        const char *at = last_at(start, query);
        /* no '@' where it belongs: perhaps the password holds a bare '?' */
        if (!at && !plain_host(start)) {
            at = last_at(start, start + strlen(start));
        }
        const char *colon = at ? memchr(start, ':', (size_t)(at - start)) : NULL;
        if (colon) {
            xo_buf_add(&b, text, (size_t)(colon + 1 - text));
            xo_buf_str(&b, "***");
            rest = at;
            if (at > query) { /* or that '?' did begin a query, and the '@' is in a value: then all is hidden */
                behind = b.len;
                rest = memchr(query, '=', (size_t)(at - query)) ? "" : at;
            }
        }
    }
    xo_buf_str(&b, rest);
    char *masked = xo_buf_take(&b);
    size_t n = masked ? strcspn(masked, "?") : 0;
    *query_at = n < behind ? n + (masked && masked[n] != 0) : behind;
    return masked;
}

char *xo_uri_mask(const char *text)
{
    xo_buf b = {0};
    size_t query;
    char *p = mask_authority(text ? text : "", &query);
    if (!p) {
        return NULL;
    }
    xo_buf_add(&b, p, query);
    mask_query(&b, p + query);
    xo_wipe_free(p);
    return xo_buf_take(&b);
}
