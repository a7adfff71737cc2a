/* xonce convert: ${name}, ${name:default} and the simple forms of #{...}; what stays open becomes an environment variable. */
#include "cli/convert.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { NESTED = 8, EXPANSIONS = 200000 };

static const char *look_up(const xo_cv *cv, const char *name, size_t n)
{
    for (size_t i = cv->given.n; i > 0; i--) {
        const xo_cv_pair *p = &cv->given.items[i - 1];
        if (strlen(p->name) == n && memcmp(p->name, name, n) == 0) {
            return p->value;
        }
    }
    return NULL;
}

static int expand(xo_cv *cv, xo_buf *out, const char *p, size_t n, int depth);

/* The text between the braces; 0: it stays open. */
static int one(xo_cv *cv, xo_buf *out, const char *p, size_t n, int depth)
{
    xo_buf name = {.max = XO_CV_TEXT_MAX};
    if (!expand(cv, &name, p, n, depth + 1) || !name.len || name.failed) { /* ${a.${b}} */
        xo_buf_free(&name);
        return 0;
    }
    const char *value = look_up(cv, name.p, name.len), *colon = value ? NULL : strchr(name.p, ':');
    int closed = 1;
    if (!value && colon) {
        value = look_up(cv, name.p, (size_t)(colon - name.p));
        value = value ? value : colon + 1;
    }
    closed = value && expand(cv, out, value, strlen(value), depth + 1);
    xo_buf_free(&name);
    return closed;
}

/* Behind the '}' that closes what p opens, nested ones counted; NULL when there is none. */
static const char *behind_brace(const char *p, const char *end)
{
    int open = 0;
    for (; p < end; p++) {
        open += *p == '{';
        if (*p == '}' && --open == 0) {
            return p + 1;
        }
    }
    return NULL;
}

/* #{bean['name']} and #{bean.name}: of properties that stand in the files; the name is n bytes. */
static const char *of_bean(xo_cv *cv, const char *bean, size_t nbean, const char *name, size_t n)
{
    while (nbean && *bean == ' ') {
        bean++;
        nbean--;
    }
    return nbean ? xo_cv_entry(cv, xo_cv_keep(cv, bean, nbean), xo_cv_keep(cv, name, n)) : NULL;
}

/* The whole of it in quotes, or a name in brackets, which may also be among the given values. */
static int quoted(xo_cv *cv, xo_buf *out, const char *p, const char *end, const char *quote, int depth)
{
    const char *close = memchr(quote + 1, '\'', (size_t)(end - quote - 1));
    if (close && quote == p && close + 1 == end) {
        return expand(cv, out, quote + 1, (size_t)(close - quote - 1), depth + 1);
    }
    if (!close || quote == p || quote[-1] != '[' || close + 2 != end || close[1] != ']') {
        return 0;
    }
    const char *value = of_bean(cv, p, (size_t)(quote - 1 - p), quote + 1, (size_t)(close - quote - 1));
    return value ? expand(cv, out, value, strlen(value), depth + 1) : one(cv, out, quote + 1, (size_t)(close - quote - 1), depth);
}

/* #{T(..PropertyKeyConst).GROUP_ID}, #{props['mq.topic']}, #{props.topic}, #{'text'}, and any of them with ?: and another one behind; 0: it is more than that. */
static int expression(xo_cv *cv, xo_buf *out, const char *p, size_t n, int depth)
{
    if (depth > NESTED || ++cv->expansions > EXPANSIONS) {
        return 0;
    }
    while (n && p[n - 1] == ' ') {
        n--;
    }
    while (n && *p == ' ') {
        p++;
        n--;
    }
    const char *end = p + n, *dot = NULL, *instead = memmem(p, n, "?:", 2);
    if (instead) {
        size_t before = out->len;
        if (expression(cv, out, p, (size_t)(instead - p), depth + 1)) {
            return 1;
        }
        if (out->p) {
            out->p[out->len = before] = 0;
        }
        return expression(cv, out, instead + 2, (size_t)(end - instead) - 2, depth + 1);
    }
    const char *quote = n ? memchr(p, '\'', n) : NULL;
    if (quote) {
        return quoted(cv, out, p, end, quote, depth);
    }
    for (const char *q = p; q < end; q++) {
        dot = *q == '.' ? q : dot;
    }
    if (n > 2 && p[0] == 'T' && p[1] == '(' && dot && memchr(p, ')', (size_t)(dot - p))) {
        xo_buf_add(out, dot + 1, (size_t)(end - dot - 1));
        return 1;
    }
    const char *first = n ? memchr(p, '.', n) : NULL, *value = first ? of_bean(cv, p, (size_t)(first - p), first + 1, (size_t)(end - first) - 1) : NULL;
    return value && expand(cv, out, value, strlen(value), depth + 1);
}

/* Appends the text with everything resolved; 0: something stays open, or it is too deep or too long. */
static int expand(xo_cv *cv, xo_buf *out, const char *p, size_t n, int depth)
{
    const char *end = p + n;
    if (depth > NESTED || ++cv->expansions > EXPANSIONS) {
        return 0;
    }
    while (p < end && !out->failed) {
        if ((*p == '$' || *p == '#') && p + 1 < end && p[1] == '{') {
            const char *behind = behind_brace(p + 1, end);
            if (!behind || !(*p == '$' ? one : expression)(cv, out, p + 2, (size_t)(behind - p) - 3, depth)) {
                return 0;
            }
            p = behind;
        } else {
            xo_buf_char(out, *p++);
        }
    }
    return !out->failed;
}

/* ORDERS_TOPIC for "${orders.topic}", ENV_ORDERS for "${env}-orders"; a default is left out. */
static const char *variable_name(xo_cv *cv, const char *text)
{
    xo_buf b = {.max = 100};
    int skip = 0;
    for (const char *p = text; *p && b.len < 80; p++) {
        skip = *p == ':' ? 1 : *p == '}' ? 0 : skip;
        int good = isalnum((unsigned char)*p) && (unsigned char)*p < 0x80 && !skip;
        if (good) {
            xo_buf_char(&b, (char)toupper((unsigned char)*p));
        } else if (!skip && b.len && b.p[b.len - 1] != '_') {
            xo_buf_char(&b, '_');
        }
    }
    while (b.len && b.p[b.len - 1] == '_') {
        b.p[--b.len] = 0;
    }
    const char *name = xo_cv_format(cv, "%s%s", !b.len || isdigit((unsigned char)b.p[0]) ? "VALUE_" : "", b.len ? b.p : "");
    xo_buf_free(&b);
    return name;
}

xo_cv_value xo_cv_resolve(xo_cv *cv, const xo_cv_node *at, const char *text)
{
    xo_cv_value v = {text, NULL, at ? at->line : 0};
    if (!strstr(text, "${") && !strstr(text, "#{")) {
        return v;
    }
    xo_buf b = {.max = XO_CV_TEXT_MAX};
    if (expand(cv, &b, text, strlen(text), 0)) {
        v.text = xo_cv_keep(cv, b.p ? b.p : "", b.len);
    } else {
        v.env = variable_name(cv, text);
    }
    xo_wipe(b.p, b.cap);
    xo_buf_free(&b);
    return v;
}
