/* What the HTTP protocol can carry: the property text "k:v|k:v|", names, and the characters of XML 1.0. */
#include "proto/properties.h"
#include <string.h>

size_t xo_xml_char(const unsigned char *s, size_t n)
{
    unsigned c = s[0];
    if (c < 0x80)
        return c >= 0x20 || c == 0x9 || c == 0xa || c == 0xd;
    size_t len = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (!len || n < len)
        return 0;
    unsigned code = len == 2 ? c & 0x1f : len == 3 ? c & 0xf : c & 7;
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3f);
    }
    if (len == 3 && (code < 0x800 || (code >= 0xd800 && code <= 0xdfff) || code > 0xfffd))
        return 0;
    if (len == 4 && (code < 0x10000 || code > 0x10ffff))
        return 0;
    return len;
}

xonce_status xo_check_xml_text(const char *what, const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < n;) {
        size_t len = s[i] >= 0x20 && s[i] < 0x80 ? 1 : xo_xml_char(s + i, n - i);
        if (!len)
            return xo_fail(XONCE_E_INVALID,
                           "%s: byte 0x%02x at offset %zu is not a character that HTTP can carry (UTF-8 of XML 1.0); "
                           "send it as Base64",
                           what, s[i], i);
        i += len;
    }
    return XONCE_OK;
}

static xonce_status check_part(const char *part, const char *name, const char *text)
{
    static const char forbidden[] = "'\"&<>|:";
    size_t n = strlen(text), at = strcspn(text, forbidden);
    if (!n)
        return xo_fail(XONCE_E_INVALID, "property %s: its %s is empty, which HTTP cannot carry", name, part);
    if (at < n)
        return xo_fail(XONCE_E_INVALID,
                       "property %.100s: byte 0x%02x '%c' at offset %zu of its %s is forbidden over HTTP, as are all "
                       "of ' \" & < > | :",
                       name, (unsigned char)text[at], text[at], at, part);
    xonce_status st = xo_check_xml_text(part, text, n);
    return st ? xo_error_context("property %.100s", name) : XONCE_OK;
}

xonce_status xo_properties_write(xo_buf *out, const xonce_message *m)
{
    for (size_t i = 0; i < m->nproperties; i++) {
        const xo_property *p = &m->properties[i];
        if (!strcmp(p->name, "TAGS"))
            continue;
        xonce_status st = check_part("name", p->name, p->name);
        if (!st)
            st = check_part("value", p->name, p->value);
        if (st)
            return st;
        xo_buf_str(out, p->name);
        xo_buf_char(out, ':');
        xo_buf_str(out, p->value);
        xo_buf_char(out, '|');
    }
    return xo_buf_status(out);
}

xonce_status xo_properties_read(xonce_message *m, const char *text, size_t n)
{
    const char *end = text + n;
    for (const char *p = text; p < end;) {
        const char *stop = memchr(p, '|', (size_t)(end - p));
        if (!stop)
            stop = end;
        const char *colon = memchr(p, ':', (size_t)(stop - p));
        if (colon && colon > p) {
            xonce_status st = xo_message_put(m, p, (size_t)(colon - p), colon + 1, (size_t)(stop - colon - 1));
            if (st)
                return st;
        }
        p = stop + 1;
    }
    return XONCE_OK;
}

xonce_status xo_check_url_name(const char *what, const char *name)
{
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";
    size_t n = strlen(name), at = strspn(name, safe);
    if (!n)
        return xo_fail(XONCE_E_INVALID, "the %s is empty", what);
    if (n > 255)
        return xo_fail(XONCE_E_INVALID, "the %s is longer than 255 bytes", what);
    if (at < n)
        return xo_fail(
            XONCE_E_INVALID,
            "%s %.100s: byte 0x%02x at offset %zu cannot stand in a URL; HTTP takes letters, digits and - _ . ~", what,
            name, (unsigned char)name[at], at);
    if (!strcmp(name, ".") || !strcmp(name, ".."))
        return xo_fail(XONCE_E_INVALID, "%s %s is not a name", what, name);
    return XONCE_OK;
}

/* A number between low and high, when the property is there. */
static xonce_status check_number(const xonce_message *m, const char *name, int64_t low, int64_t high, const char *unit)
{
    const char *s = xonce_message_property(m, name);
    if (!s)
        return XONCE_OK;
    int64_t v = 0;
    size_t n = strlen(s), at = strspn(s, "0123456789");
    for (size_t i = 0; i < at && at == n && n <= 18; i++)
        v = v * 10 + (s[i] - '0');
    if (!n || at < n || n > 18 || v < low || v > high)
        return xo_fail(XONCE_E_INVALID, "property %s is not a number of %s between %lld and %lld", name, unit,
                       (long long)low, (long long)high);
    return XONCE_OK;
}

xonce_status xo_check_http_message(const xonce_message *m)
{
    xonce_status st = xo_check_url_name("topic", m->topic);
    if (st)
        return st;
    if (!m->body_len)
        return xo_fail(XONCE_E_INVALID, "the body of a message for topic %s is empty, which HTTP cannot carry",
                       m->topic);
    if (m->body_len > XO_HTTP_BODY_MAX)
        return xo_fail(XONCE_E_INVALID, "the body of a message for topic %s has %zu bytes, HTTP carries at most %d",
                       m->topic, m->body_len, XO_HTTP_BODY_MAX);
    if ((st = xo_check_xml_text("body", m->body, m->body_len)))
        return st;
    const char *tag = xonce_message_tag(m);
    if ((st = xo_check_xml_text("tag", tag, strlen(tag))))
        return st;
    for (size_t i = 0; i < m->nproperties; i++) {
        const xo_property *p = &m->properties[i];
        if (strcmp(p->name, "TAGS") &&
            ((st = check_part("name", p->name, p->name)) || (st = check_part("value", p->name, p->value))))
            return st;
    }
    if ((st = check_number(m, "__STARTDELIVERTIME", 0, INT64_MAX / 10, "milliseconds")))
        return st;
    return check_number(m, "__TransCheckT", 10, 300, "seconds");
}
