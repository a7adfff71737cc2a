/* A growable byte buffer. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Makes room for n bytes and the NUL; 0 = failed. */
static int reserve(xo_buf *b, size_t n)
{
    size_t need;
    if (b->failed) {
        return 0;
    }
    if (__builtin_add_overflow(b->len, n, &need) || need == SIZE_MAX || (b->max && need > b->max)) {
        b->failed = 1;
        return 0;
    }
    if (need + 1 > b->cap) {
        size_t want = need + 1 < 128 ? 128 : need + 1;
        char *p = xo_grow(b->p, &b->cap, want, 1);
        if (!p) {
            b->failed = 1;
            return 0;
        }
        b->p = p;
    }
    return 1;
}

void xo_buf_add(xo_buf *b, const void *p, size_t n)
{
    if (reserve(b, n)) {
        if (n) {
            memcpy(b->p + b->len, p, n);
        }
        b->len += n;
        b->p[b->len] = 0;
    }
}

void xo_buf_str(xo_buf *b, const char *s)
{
    xo_buf_add(b, s, strlen(s));
}

void xo_buf_char(xo_buf *b, char c)
{
    xo_buf_add(b, &c, 1);
}

/* Most such texts are short: room for one is made before it is known how long it will be. */
void xo_buf_printf(xo_buf *b, const char *fmt, ...)
{
    enum { USUAL = 64 };
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    size_t room = b->cap - b->len > USUAL || (!b->max && reserve(b, USUAL)) ? b->cap - b->len : 0;
    int n = vsnprintf(room ? b->p + b->len : NULL, room, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->failed = 1;
    } else if (reserve(b, (size_t)n)) {
        if ((size_t)n >= room) {
            (void)vsnprintf(b->p + b->len, (size_t)n + 1, fmt, again);
        }
        b->len += (size_t)n;
    }
    if (b->p) {
        b->p[b->len] = 0; /* also of what did not find room */
    }
    va_end(again);
}

void xo_buf_fill_in(xo_buf *b, const char *text, char mark, const char *with)
{
    for (; *text; text++) {
        if (*text == mark) {
            xo_buf_str(b, with);
        } else {
            xo_buf_char(b, *text);
        }
    }
}

void xo_buf_reset(xo_buf *b)
{
    b->len = 0;
    b->failed = 0;
    if (b->p) {
        b->p[0] = 0;
    }
}

void xo_buf_free(xo_buf *b)
{
    free(b->p);
    b->p = NULL;
    b->len = b->cap = 0;
    b->failed = 0;
}

char *xo_buf_take(xo_buf *b)
{
    char *p = NULL;
    if (!b->failed) {
        p = b->p ? b->p : xo_strdup("");
        b->p = NULL;
    }
    xo_buf_free(b);
    return p;
}

xonce_status xo_buf_status(const xo_buf *b)
{
    if (!b->failed) {
        return XONCE_OK;
    }
    return b->max ? xo_fail(XONCE_E_INVALID, "text grows beyond its bound of %zu bytes", b->max) : xo_nomem();
}

/* n bytes of valid UTF-8 with what JSON wants escaped. */
static void add_escaped(xo_buf *b, const char *s, size_t n)
{
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        xo_buf_add(b, s + from, i - from);
        from = i + 1;
        switch (c) {
        case '"': xo_buf_str(b, "\\\""); break;
        case '\\': xo_buf_str(b, "\\\\"); break;
        case '\n': xo_buf_str(b, "\\n"); break;
        case '\r': xo_buf_str(b, "\\r"); break;
        case '\t': xo_buf_str(b, "\\t"); break;
        default: xo_buf_printf(b, "\\u%04x", c);
        }
    }
    xo_buf_add(b, s + from, n - from);
}

/* Has nothing to be escaped, as most texts have not. */
static int is_plain(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && s[i] >= 0x20 && s[i] < 0x7f && s[i] != '"' && s[i] != '\\') {
        i++;
    }
    return i == n;
}

void xo_buf_json(xo_buf *b, const char *s, size_t n)
{
    if (is_plain(s, n) && n < SIZE_MAX - 2 && reserve(b, n + 2)) {
        b->p[b->len] = '"';
        if (n) {
            memcpy(b->p + b->len + 1, s, n);
        }
        b->p[b->len + n + 1] = '"';
        b->len += n + 2;
        b->p[b->len] = 0;
        return;
    }
    xo_buf_char(b, '"');
    for (;;) {
        size_t good = n;
        int valid = xo_utf8_valid(s, n, &good);
        add_escaped(b, s, good);
        if (valid) {
            break;
        }
        xo_buf_str(b, "\xef\xbf\xbd");
        s += good + 1;
        n -= good + 1;
    }
    xo_buf_char(b, '"');
}
