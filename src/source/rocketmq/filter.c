/* Tag expressions: reading, comparing, and the hash by which brokers compare. */
#include "source/rocketmq/filter.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "remoting/cluster.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { TAG_MAX = 1024, TAGS_MAX = 1024 };

static int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void trim(const char **p, size_t *n)
{
    while (*n && is_blank((*p)[0])) {
        ++*p;
        --*n;
    }
    while (*n && is_blank((*p)[*n - 1])) {
        --*n;
    }
}

/* Words that join or compare in SQL92, when they stand between others. */
static int has_sql_word(const char *p, size_t n)
{
    static const char *const words[] = {"and", "or", "not", "is", "in", "between", "like", "null"};
    size_t seen = 0, at = 0;
    int found = 0;
    while (at < n) {
        size_t len = 0;
        while (at < n && is_blank(p[at])) {
            at++;
        }
        while (at + len < n && !is_blank(p[at + len]) && p[at + len] != '(') {
            len++;
        }
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
            found |= strlen(words[i]) == len && strncasecmp(words[i], p + at, len) == 0;
        }
        seen += len > 0;
        at += len ? len : 1;
    }
    return found && seen > 1;
}

static xonce_status check_tag(const char *p, size_t n, const char *whole)
{
    if (n == 0) {
        return xo_fail(XONCE_E_INVALID, "the tag expression \"%.200s\" has an empty tag: write * or a || b", whole);
    }
    if (memchr(p, '=', n) || memchr(p, '<', n) || memchr(p, '>', n) || has_sql_word(p, n)) {
        return xo_fail(XONCE_E_INVALID, "\"%.200s\" looks like an SQL92 filter: those cannot be judged here, and a position is only safe when every member can judge which messages are its own;"
                       " filter by tags, as in \"a || b\", or subscribe to * and choose in the handler", whole);
    }
    if (n == 1 && *p == '*') {
        return xo_fail(XONCE_E_INVALID, "the tag expression \"%.200s\": * stands alone", whole);
    }
    size_t bad;
    if (!xo_utf8_valid(p, n, &bad)) {
        return xo_fail(XONCE_E_INVALID, "a tag is not valid UTF-8 at byte %zu", bad + 1);
    }
    if (n > TAG_MAX) {
        return xo_fail(XONCE_E_INVALID, "a tag has at most %d bytes", TAG_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f || p[i] == '|') {
            return xo_fail(XONCE_E_INVALID, "the tag expression \"%.200s\": a tag cannot have the byte 0x%02x; tags are separated by ||", whole, (unsigned)(unsigned char)p[i]);
        }
    }
    return XONCE_OK;
}

static xonce_status add_tag(xo_filter *f, size_t *cap, xo_buf *text, const char *p, size_t n)
{
    size_t at = 0;
    int order = 1;
    while (at < f->n && (order = strncmp(f->tags[at], p, n)) <= 0 && !(order == 0 && f->tags[at][n] != 0)) {
        if (order == 0) {
            return XONCE_OK; /* twice */
        }
        at++;
    }
    if (f->n == TAGS_MAX) {
        return xo_fail(XONCE_E_INVALID, "a tag expression has at most %d tags", TAGS_MAX);
    }
    char **grown = xo_grow(f->tags, cap, f->n + 1, sizeof(*grown));
    if (!grown) {
        return xo_nomem();
    }
    f->tags = grown;
    char *tag = xo_memdup0(p, n);
    if (!tag) {
        return xo_nomem();
    }
    memmove(f->tags + at + 1, f->tags + at, (f->n - at) * sizeof(*f->tags));
    f->tags[at] = tag;
    f->n++;
    xo_buf_str(text, text->len ? " || " : "");
    xo_buf_add(text, p, n);
    return XONCE_OK;
}

static xonce_status parse_tags(xo_filter *out, const char *expression, xo_buf *text)
{
    size_t cap = 0;
    for (const char *p = expression, *end; p; p = end ? end + 2 : NULL) {
        end = strstr(p, "||");
        const char *tag = p;
        size_t n = end ? (size_t)(end - p) : strlen(p);
        trim(&tag, &n);
        xonce_status st = check_tag(tag, n, expression);
        if (st == XONCE_OK) {
            st = add_tag(out, &cap, text, tag, n);
        }
        if (st != XONCE_OK) {
            return st;
        }
    }
    out->codes = xo_calloc(out->n, sizeof(*out->codes));
    if (!out->codes) {
        return xo_nomem();
    }
    for (size_t i = 0; i < out->n; i++) {
        out->codes[i] = xo_java_hash(out->tags[i]);
    }
    return XONCE_OK;
}

xonce_status xo_filter_parse(xo_filter *out, const char *expression)
{
    *out = (xo_filter){0};
    const char *all = expression ? expression : "*";
    size_t n = strlen(all);
    trim(&all, &n);
    xo_buf text = {0};
    xonce_status st = XONCE_OK;
    if (n == 0 || (n == 1 && *all == '*')) {
        xo_buf_str(&text, "*");
    } else {
        st = parse_tags(out, expression, &text);
    }
    if (st == XONCE_OK) {
        st = xo_buf_status(&text);
    }
    if (st == XONCE_OK && !(out->text = xo_buf_take(&text))) {
        st = xo_nomem();
    }
    xo_buf_free(&text);
    if (st != XONCE_OK) {
        xo_filter_free(out);
    }
    return st;
}

void xo_filter_free(xo_filter *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->tags[i]);
    }
    free(f->tags);
    free(f->codes);
    free(f->text);
    *f = (xo_filter){0};
}

int xo_filter_has(const xo_filter *f, const char *tag, size_t len)
{
    if (f->n == 0) {
        return 1;
    }
    size_t low = 0, high = f->n;
    while (tag && low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strncmp(f->tags[mid], tag, len);
        if (order == 0 && f->tags[mid][len] == 0) {
            return 1;
        }
        if (order < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return 0;
}

int xo_filter_has_code(const xo_filter *f, const char *tag, size_t len)
{
    if (f->n == 0) {
        return 1;
    }
    char small[128], *copy = NULL;
    if (!tag || (len >= sizeof(small) && !(copy = xo_memdup0(tag, len)))) {
        return !!tag; /* without memory: nothing to accuse the broker of */
    }
    if (!copy) {
        memcpy(small, tag, len);
        small[len] = 0;
    }
    int32_t code = xo_java_hash(copy ? copy : small);
    free(copy);
    for (size_t i = 0; i < f->n; i++) {
        if (f->codes[i] == code) {
            return 1;
        }
    }
    return 0;
}

int xo_filter_same(const xo_filter *a, const char *expression)
{
    xo_filter b;
    if (xo_filter_parse(&b, expression) != XONCE_OK) {
        return 0;
    }
    int same = a->n == b.n;
    for (size_t i = 0; same && i < a->n; i++) {
        same = strcmp(a->tags[i], b.tags[i]) == 0;
    }
    xo_filter_free(&b);
    return same;
}
