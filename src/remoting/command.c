/* Remoting commands: building them, and their two header forms, JSON and binary. */
#include "remoting/command.h"
#include "base/text.h"
#include "remoting/wire.h"
#include "remoting/wirejson.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const languages[XO_LANGUAGES] = {"JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP", "OMS", "RUST", "NODE_JS"};

/* ---- building */

void xo_command_init(xo_command *c, int32_t code)
{
    memset(c, 0, sizeof(*c));
    c->code = code;
    c->version = XO_REMOTING_VERSION;
    c->language = XO_LANGUAGE_CPP;
}

/* Room for n fields more; 0 = none. */
static int grow(xo_command *c, size_t n)
{
    if (c->cap - c->nfields >= n) {
        return 1;
    }
    size_t cap = c->cap * 2 > c->nfields + n ? c->cap * 2 : c->nfields + n;
    xo_command_field *list = cap < SIZE_MAX / sizeof(*list) ? xo_arena_alloc(&c->memory, cap * sizeof(*list)) : NULL;
    if (!list) {
        c->failed = 1;
        return 0;
    }
    if (c->nfields) {
        memcpy(list, c->fields, c->nfields * sizeof(*list));
    }
    c->fields = list;
    c->cap = cap;
    return 1;
}

/* Appends without a look at what is there. */
static int add(xo_command *c, const char *name, size_t nname, const char *value, size_t nvalue)
{
    if (c->failed || !grow(c, 1)) {
        return 0;
    }
    xo_command_field *f = &c->fields[c->nfields];
    f->name = xo_arena_dup(&c->memory, name, nname);
    f->value = xo_arena_dup(&c->memory, value, nvalue);
    if (!f->name || !f->value) {
        c->failed = 1;
        return 0;
    }
    c->nfields++;
    return 1;
}

/* Of a name twice, which only the binary form can carry, the last, as Java does. */
static xo_command_field *find(const xo_command *c, const char *name)
{
    for (size_t i = c->nfields; i-- > 0;) {
        if (strcmp(c->fields[i].name, name) == 0) {
            return &c->fields[i];
        }
    }
    return NULL;
}

void xo_command_set(xo_command *c, const char *name, const char *value)
{
    xo_command_field *f = value ? find(c, name) : NULL;
    if (f) {
        char *copy = xo_arena_dup(&c->memory, value, strlen(value));
        f->value = copy ? copy : "";
        c->failed |= !copy;
    } else if (value) {
        (void)add(c, name, strlen(name), value, strlen(value));
    }
}

void xo_command_set_int(xo_command *c, const char *name, int64_t value)
{
    char text[24], *p = text + sizeof(text) - 1;
    uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;
    *p = 0;
    do {
        *--p = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    if (value < 0) {
        *--p = '-';
    }
    xo_command_set(c, name, p);
}

void xo_command_set_bool(xo_command *c, const char *name, int value)
{
    xo_command_set(c, name, value ? "true" : "false");
}

const char *xo_command_get(const xo_command *c, const char *name)
{
    const xo_command_field *f = find(c, name);
    return f ? f->value : NULL;
}

xonce_status xo_command_get_int(const xo_command *c, const char *name, int64_t *out)
{
    const char *s = xo_command_get(c, name);
    if (!s) {
        return xo_fail(XONCE_E_PROTOCOL, "the answer lacks the field %s", name);
    }
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (end == s || *end || errno || !strchr("-0123456789", s[0])) {
        return xo_fail(XONCE_E_PROTOCOL, "the answer's field %s is no number: \"%.40s\"", name, s);
    }
    *out = v;
    return XONCE_OK;
}

void xo_command_take_body(xo_command *c, xo_buf *body)
{
    size_t n = body->len;
    free(c->own_body);
    c->own_body = xo_buf_take(body);
    c->body = c->own_body;
    c->body_len = c->own_body ? n : 0;
    c->failed |= !c->own_body;
}

void xo_command_free(xo_command *c)
{
    free(c->own_body);
    free(c->frame);
    xo_arena_free(&c->memory);
    memset(c, 0, sizeof(*c));
}

/* ---- writing */

static xonce_status check_text(const char *name, const char *s)
{
    size_t bad = 0;
    if (xo_utf8_valid(s, strlen(s), &bad)) {
        return XONCE_OK;
    }
    return xo_fail(XONCE_E_INVALID, "field %s of a request is no UTF-8 at byte %zu", name, bad);
}

static xonce_status write_json(const xo_command *c, xo_buf *out)
{
    xo_buf_printf(out, "{\"code\":%" PRId32, c->code);
    for (size_t i = 0; i < c->nfields; i++) {
        const xo_command_field *f = &c->fields[i];
        if (check_text("(name)", f->name) != XONCE_OK || check_text(f->name, f->value) != XONCE_OK) {
            return XONCE_E_INVALID;
        }
        xo_buf_str(out, i ? "," : ",\"extFields\":{");
        xo_buf_json(out, f->name, strlen(f->name));
        xo_buf_char(out, ':');
        xo_buf_json(out, f->value, strlen(f->value));
    }
    xo_buf_printf(out, "%s,\"flag\":%" PRId32 ",\"language\":\"%s\",\"opaque\":%" PRId32, c->nfields ? "}" : "", c->flag,
                  languages[c->language >= 0 && c->language < XO_LANGUAGES ? c->language : XO_LANGUAGE_OTHER], c->opaque);
    if (c->remark) {
        xo_buf_str(out, ",\"remark\":");
        xo_buf_json(out, c->remark, strlen(c->remark));
    }
    xo_buf_printf(out, ",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":%" PRId32 "}", c->version);
    return XONCE_OK;
}

static xonce_status write_binary(const xo_command *c, xo_buf *out)
{
    size_t nremark = c->remark ? strlen(c->remark) : 0, ext = 0;
    if (c->code < INT16_MIN || c->code > INT16_MAX || c->version < INT16_MIN || c->version > INT16_MAX || nremark > XO_FRAME_MAX) {
        return xo_fail(XONCE_E_INVALID, "request %" PRId32 " cannot be written with a binary header: code and version have 16 bits there", c->code);
    }
    xo_put16(out, (uint16_t)c->code);
    xo_buf_char(out, (char)(c->language >= 0 && c->language <= UINT8_MAX ? c->language : XO_LANGUAGE_OTHER));
    xo_put16(out, (uint16_t)c->version);
    xo_put32(out, (uint32_t)c->opaque);
    xo_put32(out, (uint32_t)c->flag);
    xo_put32(out, (uint32_t)nremark);
    xo_buf_add(out, c->remark ? c->remark : "", nremark);
    for (size_t i = 0; i < c->nfields; i++) {
        size_t nname = strlen(c->fields[i].name), nvalue = strlen(c->fields[i].value);
        if (nname > INT16_MAX || nvalue > XO_FRAME_MAX || ext > XO_FRAME_MAX) {
            return xo_fail(XONCE_E_INVALID, "request %" PRId32 " cannot be written with a binary header: a field is too long", c->code);
        }
        ext += 2 + nname + 4 + nvalue;
    }
    xo_put32(out, (uint32_t)ext);
    for (size_t i = 0; i < c->nfields; i++) {
        const xo_command_field *f = &c->fields[i];
        xo_put16(out, (uint16_t)strlen(f->name));
        xo_buf_str(out, f->name);
        xo_put32(out, (uint32_t)strlen(f->value));
        xo_buf_str(out, f->value);
    }
    return XONCE_OK;
}

xonce_status xo_command_encode(const xo_command *c, xo_buf *out)
{
    size_t begin = out->len;
    if (c->failed) {
        return xo_nomem();
    }
    xo_put32(out, 0);
    xo_put32(out, 0);
    xonce_status st = c->binary ? write_binary(c, out) : write_json(c, out);
    size_t nheader = out->failed || st != XONCE_OK ? 0 : out->len - begin - 8;
    if (st == XONCE_OK && (nheader > 0xffffff || c->body_len > XO_FRAME_MAX || 4 + nheader + c->body_len > XO_FRAME_MAX)) {
        st = xo_fail(XONCE_E_INVALID, "request %" PRId32 " is larger than the %d bytes a frame may have", c->code, XO_FRAME_MAX);
    }
    if (st == XONCE_OK) {
        xo_buf_add(out, c->body, c->body_len);
        st = xo_buf_status(out);
    }
    if (st == XONCE_OK) {
        xo_set32(out->p + begin, (uint32_t)(4 + nheader + c->body_len));
        xo_set32(out->p + begin + 4, (uint32_t)nheader | (c->binary ? UINT32_C(1) << 24 : 0));
    } else if (!out->failed) {
        out->len = begin;
        out->p[begin] = 0;
    }
    return st;
}

/* ---- reading */

static xonce_status broken(const char *what)
{
    return xo_fail(XONCE_E_PROTOCOL, "a frame that is no command: %s", what);
}

/* Member `name` as a number of 32 bits; there must be one unless a default is given. */
static xonce_status read_int(const json_t *o, const char *name, const int32_t *absent, int32_t *out)
{
    const json_t *v = json_object_get(o, name);
    json_int_t i = json_integer_value(v);
    if ((!v || json_is_null(v)) && absent) {
        *out = *absent;
        return XONCE_OK;
    }
    if (!json_is_integer(v) || i < INT32_MIN || i > INT32_MAX) {
        return xo_fail(XONCE_E_PROTOCOL, "a frame that is no command: its header lacks a number \"%s\"", name);
    }
    *out = (int32_t)i;
    return XONCE_OK;
}

int xo_language_number(const char *name, size_t n)
{
    for (int i = 0; i < XO_LANGUAGES; i++) {
        if (strlen(languages[i]) == n && memcmp(name, languages[i], n) == 0) {
            return i;
        }
    }
    return -1;
}

static int read_language(const json_t *v)
{
    if (json_is_integer(v)) {
        json_int_t i = json_integer_value(v);
        return i >= 0 && i < XO_LANGUAGES ? (int)i : -1;
    }
    return json_is_string(v) ? xo_language_number(json_string_value(v), json_string_length(v)) : -1;
}

/* A value of extFields as text. */
static int add_value(xo_command *c, const char *name, const json_t *v)
{
    if (json_is_null(v)) {
        return 1;
    }
    if (json_is_string(v)) {
        return add(c, name, strlen(name), json_string_value(v), json_string_length(v));
    }
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    int added = text && add(c, name, strlen(name), text, strlen(text));
    free(text);
    return added;
}

static xonce_status read_members(xo_command *c, json_t *o)
{
    static const int32_t zero;
    json_t *ext = json_object_get(o, "extFields");
    const json_t *remark = json_object_get(o, "remark");
    const char *name;
    json_t *v;
    if (read_int(o, "code", NULL, &c->code) != XONCE_OK || read_int(o, "opaque", NULL, &c->opaque) != XONCE_OK ||
        read_int(o, "flag", &zero, &c->flag) != XONCE_OK || read_int(o, "version", &zero, &c->version) != XONCE_OK) {
        return XONCE_E_PROTOCOL;
    }
    c->language = read_language(json_object_get(o, "language"));
    if (json_is_string(remark)) {
        c->remark = xo_arena_dup(&c->memory, json_string_value(remark), json_string_length(remark));
        c->failed |= !c->remark;
    }
    if (ext && !json_is_null(ext) && !json_is_object(ext)) {
        return broken("extFields is no object");
    }
    if (ext && !json_is_null(ext) && json_object_size(ext) && grow(c, json_object_size(ext))) {
        json_object_foreach (ext, name, v) {
            if (!add_value(c, name, v)) {
                return xo_nomem();
            }
        }
    }
    return c->failed ? xo_nomem() : XONCE_OK;
}

static xonce_status read_json(xo_command *c, char *p, size_t n)
{
    if (xo_header_read(c, p, n)) {
        return XONCE_OK;
    }
    json_t *o = xo_wire_json(p, n);
    if (!o) {
        return xo_error_context("the header of a frame");
    }
    xonce_status st = json_is_object(o) ? read_members(c, o) : broken("its header is no JSON object");
    json_decref(o);
    return st;
}

/* A text of n bytes, which must hold no zero byte: nobody behind this could see what follows it. */
static xonce_status take_text(xo_reader *r, size_t n, const char **out)
{
    const char *s = xo_take(r, n);
    if (!s) {
        return broken("a length in its header exceeds it");
    }
    if (n && memchr(s, 0, n)) {
        return broken("a text in its header holds a zero byte");
    }
    *out = s;
    return XONCE_OK;
}

static xonce_status read_fields(xo_command *c, const char *p, size_t n)
{
    xo_reader r = xo_reader_of(p, n);
    while (r.at < r.n) {
        const char *name = "", *value = "";
        uint32_t nname = xo_get16(&r);
        if (nname > INT16_MAX) {
            return broken("a negative length in its header");
        }
        xonce_status st = take_text(&r, nname, &name);
        uint32_t nvalue = st == XONCE_OK ? xo_get32(&r) : 0;
        if (st == XONCE_OK) {
            st = take_text(&r, nvalue, &value);
        }
        if (st != XONCE_OK) {
            return st;
        }
        if (!add(c, name, nname, value, nvalue)) {
            return xo_nomem();
        }
    }
    return XONCE_OK;
}

static xonce_status read_binary(xo_command *c, const char *p, size_t n)
{
    xo_reader r = xo_reader_of(p, n);
    const char *remark = "", *ext;
    c->binary = 1;
    c->code = (int16_t)xo_get16(&r);
    c->language = xo_get8(&r);
    c->version = (int16_t)xo_get16(&r);
    c->opaque = (int32_t)xo_get32(&r);
    c->flag = (int32_t)xo_get32(&r);
    uint32_t nremark = xo_get32(&r);
    xonce_status st = take_text(&r, nremark, &remark);
    uint32_t next = st == XONCE_OK ? xo_get32(&r) : 0;
    if (st != XONCE_OK) {
        return st;
    }
    ext = xo_take(&r, next);
    if (r.failed || !ext) {
        return broken("its header is cut off");
    }
    if (nremark) {
        c->remark = xo_arena_dup(&c->memory, remark, nremark);
        if (!c->remark) {
            return xo_nomem();
        }
    }
    return read_fields(c, ext, next);
}

xonce_status xo_command_decode(xo_command *out, char *frame, size_t n)
{
    memset(out, 0, sizeof(*out));
    out->frame = frame;
    xo_reader r = xo_reader_of(frame, n);
    uint32_t word = xo_get32(&r), nheader = word & 0xffffff, form = word >> 24;
    xonce_status st;
    if (n < 4 || n > XO_FRAME_MAX) {
        st = broken("its length is out of bounds");
    } else if (nheader > n - 4) {
        st = broken("the header's length exceeds it");
    } else if (form > 1) {
        st = broken("the header is neither JSON nor binary");
    } else {
        st = form ? read_binary(out, frame + 4, nheader) : read_json(out, frame + 4, nheader);
    }
    if (st != XONCE_OK) {
        xo_command_free(out);
        return st;
    }
    out->body = frame + 4 + nheader;
    out->body_len = n - 4 - nheader;
    return XONCE_OK;
}
