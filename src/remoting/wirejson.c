/* JSON as Java brokers write it: member names that no other JSON has are turned into strings, then jansson reads it. */
#include "remoting/wirejson.h"
#include "base/buf.h"
#include "remoting/command.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A value costs jansson up to this many times what it costs on the wire, so their number is bounded, not the bytes alone. */
enum { NESTING_MAX = 64, VALUES_MAX = 1 << 20, CONTAINER_WEIGHT = 4 };

typedef struct {
    const char *p;
    size_t n, at, copied;       /* everything before `copied` stands in out */
    char open[NESTING_MAX];     /* the { and [ around */
    size_t depth, values;
    int name;                   /* a member name may follow */
    int changed;
    xo_buf out;
} scanner;

static xonce_status malformed(const scanner *s, const char *what)
{
    return xo_fail(XONCE_E_PROTOCOL, "JSON from a broker: %s at byte %zu of %zu", what, s->at, s->n);
}

/* Behind the string that begins at s->at. */
static xonce_status skip_string(scanner *s)
{
    for (size_t i = s->at + 1; i < s->n; i++) {
        if (s->p[i] == '\\') {
            i++;
        } else if (s->p[i] == '"') {
            s->at = i + 1;
            return XONCE_OK;
        }
    }
    return malformed(s, "a text without end");
}

/* Makes what stands from s->at to end a string. */
static void quote(scanner *s, size_t end)
{
    xo_buf_add(&s->out, s->p + s->copied, s->at - s->copied);
    xo_buf_json(&s->out, s->p + s->at, end - s->at);
    s->copied = s->at = end;
    s->changed = 1;
    s->name = 0;
}

static xonce_status number_name(scanner *s)
{
    size_t end = s->at + 1;
    while (end < s->n && s->p[end] && strchr("0123456789+-.eE", s->p[end])) {
        end++;
    }
    quote(s, end);
    return XONCE_OK;
}

/* An object as a name: its text up to the brace that closes it. */
static xonce_status object_name(scanner *s)
{
    size_t begin = s->at, depth = s->depth;
    do {
        char c = s->at < s->n ? s->p[s->at] : 0;
        if (s->at >= s->n) {
            s->at = begin;
            return malformed(s, "an object without end");
        }
        if (c == '"') {
            xonce_status st = skip_string(s);
            if (st != XONCE_OK) {
                return st;
            }
            continue;
        }
        if ((c == '{' || c == '[') && ++depth > NESTING_MAX) {
            return malformed(s, "too many levels");
        }
        depth -= c == '}' || c == ']';
        s->at++;
    } while (depth > s->depth);
    size_t end = s->at;
    s->at = begin;
    quote(s, end);
    return XONCE_OK;
}

static xonce_status enter(scanner *s, char c)
{
    if (s->depth == NESTING_MAX) {
        return malformed(s, "too many levels");
    }
    s->open[s->depth++] = c;
    s->values += CONTAINER_WEIGHT;
    s->name = c == '{';
    s->at++;
    return XONCE_OK;
}

static xonce_status step(scanner *s)
{
    char c = s->p[s->at];
    switch (c) {
    case '"': s->name = 0; return skip_string(s);
    case '{': return s->name ? object_name(s) : enter(s, c);
    case '[': return enter(s, c);
    case '}':
    case ']':
        s->depth -= s->depth > 0; /* whether they match is for jansson to say */
        s->name = 0;
        break;
    case ',':
        s->name = s->depth > 0 && s->open[s->depth - 1] == '{';
        s->values++;
        break;
    case ' ':
    case '\t':
    case '\r':
    case '\n': break;
    default:
        if (s->name && (c == '-' || (c >= '0' && c <= '9'))) {
            return number_name(s);
        }
        s->name = 0;
    }
    s->at++;
    return XONCE_OK;
}

static xonce_status scan(scanner *s)
{
    if (s->n > XO_FRAME_MAX) {
        return xo_fail(XONCE_E_PROTOCOL, "JSON from a broker: %zu bytes are more than the %d allowed", s->n, XO_FRAME_MAX);
    }
    while (s->at < s->n) {
        xonce_status st = step(s);
        if (st == XONCE_OK && s->values > VALUES_MAX) {
            st = malformed(s, "too many values");
        }
        if (st != XONCE_OK) {
            return st;
        }
    }
    if (s->changed) {
        xo_buf_add(&s->out, s->p + s->copied, s->n - s->copied);
    }
    return s->out.failed ? xo_nomem() : XONCE_OK;
}

json_t *xo_wire_json(const void *p, size_t n)
{
    scanner s = {.p = n ? p : "", .n = n};
    json_t *v = NULL;
    json_error_t e;
    if (scan(&s) == XONCE_OK) {
        v = s.changed ? json_loadb(s.out.p, s.out.len, 0, &e) : json_loadb(s.p, s.n, 0, &e);
        if (!v && (json_error_code(&e) == json_error_out_of_memory || !e.text[0])) {
            (void)xo_nomem();
        } else if (!v) {
            (void)xo_fail(XONCE_E_PROTOCOL, "JSON from a broker: %s at byte %d", e.text, e.position);
        }
    }
    xo_buf_free(&s.out);
    return v;
}

const char *xo_json_text(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s ? s : "";
}

int64_t xo_json_int(const json_t *o, const char *name)
{
    const json_t *v = json_object_get(o, name);
    if (json_is_string(v)) {
        const char *s = json_string_value(v);
        char *end;
        errno = 0;
        long long i = strtoll(s, &end, 10);
        return end == s || *end || errno ? 0 : i;
    }
    return json_is_integer(v) ? json_integer_value(v) : 0;
}
