/* JSON without a tree: the text is checked once, then walked. Nothing here recurses. */
#include "cli/jsonpath.h"
#include "base/text.h"
#include <string.h>

typedef struct {
    const char *start, *p, *end;
} scanner;

static int is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *skip_blank(const char *p, const char *end)
{
    while (p < end && is_blank(*p)) {
        p++;
    }
    return p;
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static xonce_status bad(const scanner *s, const char *wanted)
{
    size_t at = (size_t)(s->p - s->start);
    if (s->p >= s->end) {
        return xo_fail(XONCE_E_INVALID, "not JSON: it ends at byte %zu where %s should stand", at, wanted);
    }
    return xo_fail(XONCE_E_INVALID, "not JSON: byte 0x%02x at offset %zu where %s should stand", (unsigned)(unsigned char)*s->p, at, wanted);
}

static int hex4(const char *p, const char *end, unsigned *out)
{
    unsigned v = 0;
    if (end - p < 4) {
        return 0;
    }
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int d = is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (d < 0) {
            return 0;
        }
        v = v << 4 | (unsigned)d;
    }
    *out = v;
    return 1;
}

/* \uXXXX, and its second half when it is a surrogate; p stands on the 'u'. The number of bytes, 0 when it is none. */
static size_t unicode_escape(const char *p, const char *end, unsigned *out)
{
    unsigned hi, lo;
    if (!hex4(p + 1, end, &hi) || (hi >= 0xdc00 && hi < 0xe000)) {
        return 0;
    }
    if (hi < 0xd800 || hi >= 0xe000) {
        *out = hi;
        return 5;
    }
    if (end - p < 11 || p[5] != '\\' || p[6] != 'u' || !hex4(p + 7, end, &lo) || lo < 0xdc00 || lo >= 0xe000) {
        return 0;
    }
    *out = 0x10000 + ((hi - 0xd800) << 10) + (lo - 0xdc00);
    return 11;
}

static xonce_status check_string(scanner *s)
{
    for (s->p++; s->p < s->end; s->p++) {
        unsigned char c = (unsigned char)*s->p;
        if (c == '"') {
            s->p++;
            return XONCE_OK;
        }
        if (c < 0x20) {
            return bad(s, "a character of a string, control characters escaped");
        }
        if (c == '\\') {
            unsigned v;
            s->p++;
            if (s->p < s->end && *s->p == 'u') {
                size_t n = unicode_escape(s->p, s->end, &v);
                if (n == 0) {
                    return bad(s, "a whole \\u escape");
                }
                s->p += n - 1;
            } else if (s->p >= s->end || !*s->p || !strchr("\"\\/bfnrt", *s->p)) {
                return bad(s, "an escape");
            }
        }
    }
    return bad(s, "the end of a string");
}

static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && is_digit(*p)) {
        p++;
    }
    return p;
}

static xonce_status check_number(scanner *s)
{
    s->p += *s->p == '-';
    if (s->p >= s->end || !is_digit(*s->p)) {
        return bad(s, "a digit");
    }
    s->p = *s->p == '0' ? s->p + 1 : skip_digits(s->p, s->end);
    if (s->p < s->end && *s->p == '.') {
        s->p++;
        if (s->p >= s->end || !is_digit(*s->p)) {
            return bad(s, "a digit");
        }
        s->p = skip_digits(s->p, s->end);
    }
    if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
        s->p++;
        s->p += s->p < s->end && (*s->p == '+' || *s->p == '-');
        if (s->p >= s->end || !is_digit(*s->p)) {
            return bad(s, "a digit");
        }
        s->p = skip_digits(s->p, s->end);
    }
    return XONCE_OK;
}

static xonce_status check_scalar(scanner *s)
{
    static const char *const words[] = {"true", "false", "null"};
    if (s->p < s->end && *s->p == '"') {
        return check_string(s);
    }
    if (s->p < s->end && (*s->p == '-' || is_digit(*s->p))) {
        return check_number(s);
    }
    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(s->end - s->p) >= n && memcmp(s->p, words[i], n) == 0) {
            s->p += n;
            return XONCE_OK;
        }
    }
    return bad(s, "a value");
}

/* "name" : , the name of the next member. */
static xonce_status check_name(scanner *s)
{
    s->p = skip_blank(s->p, s->end);
    if (s->p >= s->end || *s->p != '"') {
        return bad(s, "a name in quotes");
    }
    xonce_status rc = check_string(s);
    if (rc != XONCE_OK) {
        return rc;
    }
    s->p = skip_blank(s->p, s->end);
    if (s->p >= s->end || *s->p != ':') {
        return bad(s, "\":\"");
    }
    s->p++;
    return XONCE_OK;
}

static xonce_status check_value(scanner *s)
{
    char close[XO_JSON_DEPTH]; /* of the containers that are open */
    size_t depth = 0;
    for (;;) {
        s->p = skip_blank(s->p, s->end);
        char c = s->p < s->end ? *s->p : 0;
        if (c == '{' || c == '[') {
            if (depth == XO_JSON_DEPTH) {
                return xo_fail(XONCE_E_INVALID, "JSON of more than %d levels is not read", XO_JSON_DEPTH);
            }
            close[depth++] = c == '{' ? '}' : ']';
            s->p = skip_blank(s->p + 1, s->end);
            if (s->p >= s->end || *s->p != close[depth - 1]) {
                if (c == '{' && check_name(s) != XONCE_OK) {
                    return XONCE_E_INVALID;
                }
                continue;
            }
        } else if (check_scalar(s) != XONCE_OK) {
            return XONCE_E_INVALID;
        }
        /* a value has ended, or an empty container is about to */
        for (s->p = skip_blank(s->p, s->end); depth > 0 && s->p < s->end && *s->p == close[depth - 1]; s->p = skip_blank(s->p, s->end)) {
            s->p++;
            depth--;
        }
        if (depth == 0) {
            return XONCE_OK;
        }
        if (s->p >= s->end || *s->p != ',') {
            return bad(s, close[depth - 1] == '}' ? "\",\" or \"}\"" : "\",\" or \"]\"");
        }
        s->p++;
        if (close[depth - 1] == '}' && check_name(s) != XONCE_OK) {
            return XONCE_E_INVALID;
        }
    }
}

/* ---- walking a checked text ---- */

static xo_json_kind kind_of(char c)
{
    switch (c) {
    case '{': return XO_JSON_OBJECT;
    case '[': return XO_JSON_ARRAY;
    case '"': return XO_JSON_STRING;
    case 't': return XO_JSON_TRUE;
    case 'f': return XO_JSON_FALSE;
    case 'n': return XO_JSON_NULL;
    default: return XO_JSON_NUMBER;
    }
}

static const char *string_end(const char *p)
{
    for (p++; *p != '"'; p++) {
        p += *p == '\\';
    }
    return p + 1;
}

static const char *value_end(const char *p, const char *end)
{
    size_t depth = 0;
    if (*p == '"') {
        return string_end(p);
    }
    if (*p != '{' && *p != '[') {
        while (p < end && !is_blank(*p) && !strchr(",]}", *p)) {
            p++;
        }
        return p;
    }
    do {
        if (*p == '"') {
            p = string_end(p);
            continue;
        }
        depth += *p == '{' || *p == '[';
        depth -= *p == '}' || *p == ']';
        p++;
    } while (depth > 0);
    return p;
}

static xo_json value_at(const char *p, const char *end)
{
    xo_json v = {.kind = kind_of(*p), .p = p};
    v.len = (size_t)(value_end(p, end) - p);
    return v;
}

xonce_status xo_json_check(xo_json *root, const char *text, size_t n)
{
    size_t where;
    scanner s = {text, text, text + n};
    if (!xo_utf8_valid(text, n, &where)) {
        return xo_fail(XONCE_E_INVALID, "not JSON: byte 0x%02x at offset %zu is not UTF-8", (unsigned)(unsigned char)text[where], where);
    }
    xonce_status rc = check_value(&s);
    if (rc != XONCE_OK) {
        return rc;
    }
    if (s.p < s.end) {
        return bad(&s, "the end");
    }
    const char *start = skip_blank(text, text + n);
    *root = value_at(start, text + n);
    return XONCE_OK;
}

xo_json_cursor xo_json_members(xo_json object)
{
    xo_json_cursor c = {object.p + 1, object.p + object.len};
    return c;
}

int xo_json_next(xo_json_cursor *c, xo_json *name, xo_json *value)
{
    const char *p = skip_blank(c->p, c->end);
    if (p < c->end && *p == ',') {
        p = skip_blank(p + 1, c->end);
    }
    if (p >= c->end || *p == '}' || *p == ']') {
        return 0;
    }
    int in_object = c->end[-1] == '}';
    if (in_object) {
        *name = value_at(p, c->end);
        p = skip_blank(p + name->len, c->end);
        p = skip_blank(p + 1, c->end); /* ':' */
    }
    *value = value_at(p, c->end);
    c->p = p + value->len;
    return 1;
}

int xo_json_has_escape(xo_json string)
{
    return memchr(string.p, '\\', string.len) != NULL;
}

static void add_utf8(xo_buf *out, unsigned c)
{
    if (c < 0x80) {
        xo_buf_char(out, (char)c);
    } else if (c < 0x800) {
        xo_buf_char(out, (char)(0xc0 | c >> 6));
    } else if (c < 0x10000) {
        xo_buf_char(out, (char)(0xe0 | c >> 12));
        xo_buf_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
    } else {
        xo_buf_char(out, (char)(0xf0 | c >> 18));
        xo_buf_char(out, (char)(0x80 | (c >> 12 & 0x3f)));
        xo_buf_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
    }
    if (c >= 0x80) {
        xo_buf_char(out, (char)(0x80 | (c & 0x3f)));
    }
}

void xo_json_string(xo_buf *out, xo_json string)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *p = string.p + 1, *end = string.p + string.len - 1;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        xo_buf_add(out, p, (size_t)((slash ? slash : end) - p));
        if (!slash) {
            break;
        }
        p = slash + 1;
        if (*p == 'u') {
            unsigned v = 0;
            size_t n = unicode_escape(p, end, &v);
            add_utf8(out, v);
            p += n ? n : 1;
        } else {
            const char *f = strchr(from, *p);
            xo_buf_char(out, f ? to[f - from] : *p);
            p++;
        }
    }
}

static int is_name(xo_json name, const char *step)
{
    size_t n = strlen(step);
    if (!xo_json_has_escape(name)) {
        return name.len == n + 2 && memcmp(name.p + 1, step, n) == 0;
    }
    xo_buf b = {0};
    xo_json_string(&b, name);
    int same = !b.failed && b.len == n && memcmp(b.p ? b.p : "", step, n) == 0;
    xo_buf_free(&b);
    return same;
}

/* "0", "12": an index without signs or leading zeros. */
static int as_index(const char *step, size_t *out)
{
    size_t v = 0;
    if (!is_digit(*step) || (step[0] == '0' && step[1])) {
        return 0;
    }
    for (; is_digit(*step); step++) {
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (size_t)(*step - '0'), &v)) {
            return 0;
        }
    }
    *out = v;
    return *step == 0;
}

static xo_json child(xo_json v, const char *step)
{
    xo_json found = {.kind = XO_JSON_MISSING}, name = found, value;
    size_t index = 0, i = 0;
    if ((v.kind != XO_JSON_OBJECT && v.kind != XO_JSON_ARRAY) || (v.kind == XO_JSON_ARRAY && !as_index(step, &index))) {
        return found;
    }
    for (xo_json_cursor c = xo_json_members(v); xo_json_next(&c, &name, &value); i++) {
        if (v.kind == XO_JSON_ARRAY && i == index) {
            return value;
        }
        if (v.kind == XO_JSON_OBJECT && is_name(name, step)) {
            found = value;
        }
    }
    return found;
}

xo_json xo_json_find(xo_json root, const char *const *steps, size_t nsteps)
{
    for (size_t i = 0; i < nsteps && root.kind != XO_JSON_MISSING; i++) {
        root = child(root, steps[i]);
    }
    return root;
}
