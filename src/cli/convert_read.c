/* xonce convert: a file's bytes, as UTF-8 and without its document type. */
#include "base/text.h"
#include "cli/convert.h"
#include <ctype.h>
#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

xonce_status xo_cv_read_file(xo_cv *cv, const char *path, const char **bytes, size_t *n)
{
    char chunk[8192];
    xo_buf b = {.max = XO_CV_FILE_MAX};
    FILE *f = fopen(path, "re");
    if (!f) {
        return xo_fail(XONCE_E_INVALID, "%s: cannot be opened: %s", path, strerror(errno));
    }
    for (size_t got; !b.failed && (got = fread(chunk, 1, sizeof(chunk), f)) > 0;) {
        xo_buf_add(&b, chunk, got);
    }
    int failed = ferror(f), why = errno;
    (void)fclose(f);
    xo_wipe(chunk, sizeof(chunk));
    xonce_status st = XONCE_OK;
    if (failed) {
        st = xo_fail(XONCE_E_INVALID, "%s: cannot be read: %s", path, strerror(why));
    } else if (b.failed) {
        st = xo_fail(XONCE_E_INVALID, "%s: is larger than %d MiB, or memory is short; a Spring file with consumers has some kilobytes", path, XO_CV_FILE_MAX >> 20);
    } else {
        *bytes = xo_cv_keep(cv, b.p ? b.p : "", b.len);
        *n = b.len;
        st = cv->failed ? xo_nomem() : XONCE_OK;
    }
    xo_wipe(b.p, b.len);
    xo_buf_free(&b);
    return st;
}

enum { NAME_MAX_ = 40, HEAD = 400 };

/* The encoding that <?xml ... encoding="X"?> declares, "" when it does not; the head must be one byte a character. */
static void declared_in(const char *p, size_t n, char out[NAME_MAX_ + 1])
{
    char head[HEAD + 1];
    size_t len = n < HEAD ? n : HEAD;
    memcpy(head, p, len);
    head[len] = 0;
    out[0] = 0;
    char *end = strstr(head, "?>"), *at;
    if (strncmp(head, "<?xml", 5) != 0 || !end) {
        return;
    }
    *end = 0;
    at = strstr(head, "encoding");
    at = at ? at + 8 + strspn(at + 8, " \t\r\n=") : NULL;
    if (!at || (*at != '"' && *at != '\'')) {
        return;
    }
    size_t word = strspn(at + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    if (at[1 + word] == *at && word <= NAME_MAX_) {
        memcpy(out, at + 1, word);
        out[word] = 0;
    }
}

/* What the first bytes say; NULL: they say nothing. *mark: the length of a byte order mark. */
static const char *by_first_bytes(const unsigned char *p, size_t n, size_t *mark)
{
    *mark = 0;
    if (n >= 4 && ((p[0] == 0xff && p[1] == 0xfe && !p[2] && !p[3]) || (!p[0] && !p[1] && p[2] == 0xfe && p[3] == 0xff))) {
        return "UTF-32";
    }
    if (n >= 3 && p[0] == 0xef && p[1] == 0xbb && p[2] == 0xbf) {
        *mark = 3;
        return "UTF-8";
    }
    if (n >= 2 && ((p[0] == 0xff && p[1] == 0xfe) || (p[0] == 0xfe && p[1] == 0xff))) {
        *mark = 2;
        return p[0] == 0xff ? "UTF-16LE" : "UTF-16BE";
    }
    if (n >= 2 && ((p[0] == '<' && !p[1]) || (!p[0] && p[1] == '<'))) {
        return p[0] ? "UTF-16LE" : "UTF-16BE";
    }
    return NULL;
}

static int line_at(const char *p, size_t n)
{
    int line = 1;
    for (size_t i = 0; i < n; i++) {
        line += p[i] == '\n';
    }
    return line;
}

static xonce_status convert(xo_cv *cv, const char *path, const char *encoding, const char *p, size_t n, const char **text, size_t *len)
{
    /* what is declared as GB2312 or GBK is often a little more than that */
    const char *real = strcasecmp(encoding, "GB2312") == 0 || strcasecmp(encoding, "GBK") == 0 ? "GB18030" : encoding;
    iconv_t to = iconv_open("UTF-8", real);
    if (to == (iconv_t)-1) {
        return xo_fail(XONCE_E_INVALID, "%s: the encoding %s is not known here; convert the file to UTF-8 first", path, encoding);
    }
    size_t room = n * 4 + 16, left = room, rest = n;
    char *out = xo_arena_alloc(&cv->memory, room), *at = out, *in = (char *)(uintptr_t)p;
    size_t done = out ? iconv(to, &in, &rest, &at, &left) : (size_t)-1;
    (void)iconv_close(to);
    if (!out) {
        return xo_nomem();
    }
    if (done == (size_t)-1) {
        return xo_fail(XONCE_E_INVALID, "%s:%d: byte 0x%02x is no %s text, which the file says it is; name the encoding it really has by --encoding", path,
                       line_at(out, room - left), (unsigned char)*in, encoding);
    }
    *text = out;
    *len = room - left;
    return XONCE_OK;
}

/* Which encoding it is, and that those who say so agree. */
static xonce_status choose(xo_cv *cv, const char *path, const char *p, size_t n, char name[NAME_MAX_ + 1], size_t *mark)
{
    const char *seen = by_first_bytes((const unsigned char *)p, n, mark);
    int wide = seen && strncmp(seen, "UTF-16", 6) == 0;
    char declared[NAME_MAX_ + 1] = "";
    if (seen && strcmp(seen, "UTF-32") == 0) {
        return xo_fail(XONCE_E_INVALID, "%s: is UTF-32, which Java's XML readers do not take either; convert it to UTF-8", path);
    }
    if (!wide) {
        declared_in(p + *mark, n - *mark, declared);
    }
    if (cv->encoding) {
        (void)snprintf(name, NAME_MAX_ + 1, "%s", cv->encoding);
    } else if (seen && !wide && declared[0] && strcasecmp(declared, "UTF-8") != 0) {
        return xo_fail(XONCE_E_INVALID, "%s: begins with the mark of UTF-8 but declares %s; say which is true by --encoding", path, declared);
    } else if (!seen && strncasecmp(declared, "UTF-16", 6) == 0) {
        return xo_fail(XONCE_E_INVALID, "%s: declares %s but has one byte a character; say what it is by --encoding, as UTF-8", path, declared);
    } else {
        (void)snprintf(name, NAME_MAX_ + 1, "%s", seen ? seen : declared[0] ? declared : "UTF-8");
    }
    return XONCE_OK;
}

/* A document type that only names an outer DTD, as old Spring files do, becomes blanks: nothing of it is fetched. One that declares anything is refused. */
static xonce_status drop_doctype(const char *path, char *p, size_t n)
{
    char *end = p + n, *at = p;
    for (;;) {
        while (at < end && isspace((unsigned char)*at)) {
            at++;
        }
        const char *close = end - at > 4 && memcmp(at, "<!--", 4) == 0 ? "-->" : end - at > 2 && memcmp(at, "<?", 2) == 0 ? "?>" : NULL;
        char *behind = close ? memmem(at, (size_t)(end - at), close, strlen(close)) : NULL;
        if (!behind) {
            break;
        }
        at = behind + strlen(close);
    }
    if (end - at < 9 || memcmp(at, "<!DOCTYPE", 9) != 0) {
        return XONCE_OK;
    }
    char quote = 0, *q = at;
    for (; q < end && (quote || *q != '>'); q++) {
        if (!quote && *q == '[') {
            return xo_fail(XONCE_E_INVALID, "%s:%d: a document type with declarations of its own (entities) is refused; write its values into the file", path,
                           line_at(p, (size_t)(q - p)));
        }
        quote = quote ? (*q == quote ? 0 : quote) : *q == '"' || *q == '\'' ? *q : 0;
    }
    if (q == end) {
        return xo_fail(XONCE_E_INVALID, "%s:%d: the document type does not end", path, line_at(p, (size_t)(at - p)));
    }
    for (; at <= q; at++) {
        *at = *at == '\n' ? '\n' : ' ';
    }
    return XONCE_OK;
}

xonce_status xo_cv_load(xo_cv *cv, const char *path, const char **text, size_t *n)
{
    char name[NAME_MAX_ + 1];
    const char *p;
    size_t len, mark = 0, bad = 0;
    xonce_status st = xo_cv_read_file(cv, path, &p, &len);
    if (st == XONCE_OK) {
        st = choose(cv, path, p, len, name, &mark);
    }
    if (st != XONCE_OK) {
        return st;
    }
    p += mark;
    len -= mark;
    if (strcasecmp(name, "UTF-8") != 0 && strcasecmp(name, "US-ASCII") != 0) {
        st = convert(cv, path, name, p, len, &p, &len);
    } else if (!xo_utf8_valid(p, len, &bad)) {
        st = xo_fail(XONCE_E_INVALID, "%s:%d: byte 0x%02x is no %s text, which the file %s; name the encoding it really has by --encoding, as GBK", path,
                     line_at(p, bad), (unsigned char)p[bad], name, cv->encoding ? "is said to be" : "has to be by its declaration");
    }
    if (st == XONCE_OK) {
        st = drop_doctype(path, (char *)(uintptr_t)p, len); /* the arena's, ours to change */
    }
    *text = p;
    *n = len;
    return st;
}

/* ---- .properties ---- */

static int hex_digit(int c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void add_utf8(xo_buf *b, unsigned c)
{
    if (c < 0x80) {
        xo_buf_char(b, (char)c);
    } else if (c < 0x800) {
        xo_buf_char(b, (char)(0xc0 | c >> 6));
        xo_buf_char(b, (char)(0x80 | (c & 0x3f)));
    } else {
        xo_buf_char(b, (char)(0xe0 | c >> 12));
        xo_buf_char(b, (char)(0x80 | (c >> 6 & 0x3f)));
        xo_buf_char(b, (char)(0x80 | (c & 0x3f)));
    }
}

/* One character of a key or value, escapes resolved; returns behind it. latin: bytes above 127 are ISO-8859-1. */
static const char *one_character(xo_buf *b, const char *p, const char *end, int latin)
{
    if (*p != '\\' || p + 1 >= end) {
        if (latin && (unsigned char)*p >= 0x80) {
            add_utf8(b, (unsigned char)*p);
        } else {
            xo_buf_char(b, *p);
        }
        return p + 1;
    }
    p++;
    if (*p == '\n' || *p == '\r') { /* the line goes on */
        p += *p == '\r' && p + 1 < end && p[1] == '\n' ? 2 : 1;
        while (p < end && strchr(" \t\f", *p)) {
            p++;
        }
        return p;
    }
    if (*p == 'u' && end - p > 4) {
        int d[4] = {hex_digit(p[1]), hex_digit(p[2]), hex_digit(p[3]), hex_digit(p[4])};
        unsigned c = d[0] < 0 || d[1] < 0 || d[2] < 0 || d[3] < 0 ? 0 : (unsigned)(d[0] << 12 | d[1] << 8 | d[2] << 4 | d[3]);
        add_utf8(b, c && (c < 0xd800 || c > 0xdfff) ? c : '?');
        return p + 5;
    }
    static const char from[] = "tnrf", to[] = "\t\n\r\f";
    const char *known = *p ? strchr(from, *p) : NULL;
    xo_buf_char(b, known ? to[known - from] : *p);
    return p + 1;
}

void xo_cv_properties(xo_cv *cv, xo_cv_pairs *out, const char *p, size_t n)
{
    const char *end = p + n;
    int latin = !xo_utf8_valid(p, n, NULL);
    xo_buf key = {.max = XO_CV_TEXT_MAX}, value = {.max = XO_CV_TEXT_MAX};
    while (p < end && !cv->failed) {
        while (p < end && strchr(" \t\f\r\n", *p) && *p) {
            p++;
        }
        if (p < end && (*p == '#' || *p == '!')) {
            while (p < end && *p != '\n' && *p != '\r') {
                p++;
            }
            continue;
        }
        xo_buf_reset(&key);
        xo_buf_reset(&value);
        while (p < end && !(*p && strchr("=: \t\f\r\n", *p))) {
            p = one_character(&key, p, end, latin);
        }
        while (p < end && *p && strchr(" \t\f", *p)) {
            p++;
        }
        if (p < end && (*p == '=' || *p == ':')) {
            p++;
        }
        while (p < end && *p && strchr(" \t\f", *p)) {
            p++;
        }
        while (p < end && *p != '\n' && *p != '\r') {
            p = one_character(&value, p, end, latin);
        }
        xo_cv_pair *item = key.len && !key.failed && !value.failed ? xo_cv_more(cv, out->items, &out->n, &out->cap, sizeof(*item)) : NULL;
        if (item) {
            out->items = item;
            item[out->n - 1].name = xo_cv_keep(cv, key.p, key.len);
            item[out->n - 1].value = xo_cv_keep(cv, value.p ? value.p : "", value.len);
        }
    }
    xo_wipe(value.p, value.cap);
    xo_buf_free(&key);
    xo_buf_free(&value);
}
