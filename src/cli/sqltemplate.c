/* The language of --sql. */
#include "cli/sqltemplate.h"
#include "base/text.h"
#include <stdlib.h>
#include <string.h>

/* ---- fields ---- */

static const struct {
    const char *name;
    xo_field_kind kind;
} plain_fields[] = {{"id", XO_FIELD_ID},   {"topic", XO_FIELD_TOPIC}, {"tag", XO_FIELD_TAG},
                    {"key", XO_FIELD_KEY}, {"body", XO_FIELD_BODY},   {"attempt", XO_FIELD_ATTEMPT}};
enum { PLAIN_FIELDS = sizeof(plain_fields) / sizeof(plain_fields[0]) };

static xonce_status unknown_field(const char *name)
{
    const char *names[PLAIN_FIELDS + 2] = {0};
    char word[64];
    size_t n = strcspn(name, "."), i;
    for (i = 0; i < PLAIN_FIELDS; i++) {
        names[i] = plain_fields[i].name;
    }
    names[i] = "property";
    n = n < sizeof(word) - 1 ? n : sizeof(word) - 1;
    memcpy(word, name, n);
    word[n] = 0;
    const char *near = xo_nearest(word, names, PLAIN_FIELDS + 1);
    return xo_fail(XONCE_E_INVALID, "there is no parameter :%.80s%s%s%s; there are :id :topic :tag :key :body :attempt :property.NAME :body.PATH", name,
                   near ? ", did you mean :" : "", near ? near : "", near ? "" : "");
}

/* "a.b.0" into steps; a backslash keeps a '.' or '\' inside a name. */
static xonce_status split_path(xo_msg_field *f, const char *path)
{
    size_t steps = 1, n = strlen(path);
    for (const char *p = path; *p; p++) {
        steps += *p == '.';
    }
    f->steps = xo_calloc(1, steps * sizeof(*f->steps) + n + 1);
    if (!f->steps) {
        return xo_nomem();
    }
    char *out = (char *)(f->steps + steps), *start = out;
    for (const char *p = path;; p++) {
        if (*p == 0 || *p == '.') {
            if (out == start) {
                return xo_fail(XONCE_E_INVALID, "the path :%.80s has an empty name between its dots", f->name);
            }
            *out++ = 0;
            f->steps[f->nsteps++] = start;
            start = out;
            if (*p == 0) {
                return XONCE_OK;
            }
        } else {
            if (*p == '\\' && (p[1] == '.' || p[1] == '\\')) {
                p++;
            }
            *out++ = *p;
        }
    }
}

static char *unquote(const char *p, size_t n)
{
    char *name = xo_calloc(n + 1, 1), *out = name;
    if (name && n >= 2 && *p == '"') {
        for (size_t i = 1; i + 1 < n; i++) {
            i += p[i] == '"';
            *out++ = p[i];
        }
    } else if (name) {
        memcpy(name, p, n);
    }
    return name;
}

static xonce_status resolve(xo_msg_field *f)
{
    for (size_t i = 0; i < PLAIN_FIELDS; i++) {
        if (strcmp(plain_fields[i].name, f->name) == 0) {
            f->kind = plain_fields[i].kind;
            return XONCE_OK;
        }
    }
    if (strncmp(f->name, "property.", 9) == 0 && f->name[9]) {
        f->kind = XO_FIELD_PROPERTY;
        f->property = f->name + 9;
        return XONCE_OK;
    }
    if (strncmp(f->name, "body.", 5) == 0) {
        f->kind = XO_FIELD_JSON;
        return split_path(f, f->name + 5);
    }
    return unknown_field(f->name);
}

xonce_status xo_field_parse(xo_msg_field *out, const char *p, size_t n)
{
    memset(out, 0, sizeof(*out));
    out->name = unquote(p, n);
    if (!out->name) {
        return xo_nomem();
    }
    xonce_status rc = resolve(out);
    if (rc != XONCE_OK) {
        xo_field_free(out);
    }
    return rc;
}

void xo_field_free(xo_msg_field *f)
{
    free(f->name);
    free(f->steps);
    memset(f, 0, sizeof(*f));
}

static xonce_status read_string(xo_field_reader *r, const xo_msg_field *f, xo_json v, xonce_value *out)
{
    if (!xo_json_has_escape(v)) {
        *out = xonce_text_n(v.p + 1, v.len - 2);
        return XONCE_OK;
    }
    xo_buf b = {0};
    xo_json_string(&b, v);
    xonce_status rc = xo_buf_status(&b);
    if (rc == XONCE_OK && b.len && memchr(b.p, 0, b.len)) {
        rc = xo_fail(XONCE_E_INVALID, ":%.80s holds a zero character, which no database text can", f->name);
    }
    char *text = rc == XONCE_OK ? xo_arena_dup(&r->arena, b.p, b.len) : NULL;
    if (rc == XONCE_OK) {
        rc = text ? XONCE_OK : xo_nomem();
        *out = xonce_text_n(text, b.len);
    }
    xo_buf_free(&b);
    return rc;
}

static xonce_status read_json(xo_field_reader *r, const xo_msg_field *f, xonce_value *out)
{
    if (!r->parsed) {
        size_t n;
        const char *body = xonce_message_body(r->m, &n);
        xonce_status rc = xo_json_check(&r->root, body, n);
        if (rc != XONCE_OK) {
            return xo_error_context("the body, of which :%.80s is wanted", f->name);
        }
        r->parsed = 1;
    }
    xo_json v = xo_json_find(r->root, (const char *const *)f->steps, f->nsteps);
    switch (v.kind) {
    case XO_JSON_MISSING:
    case XO_JSON_NULL: *out = xonce_null(); break;
    case XO_JSON_TRUE:
    case XO_JSON_FALSE: *out = xonce_bool(v.kind == XO_JSON_TRUE); break;
    case XO_JSON_NUMBER:
        *out = xonce_text_n(v.p, v.len);
        out->kind = XONCE_DECIMAL;
        break;
    case XO_JSON_STRING: return read_string(r, f, v, out);
    case XO_JSON_OBJECT:
    case XO_JSON_ARRAY: *out = xonce_text_n(v.p, v.len); break;
    }
    return XONCE_OK;
}

xonce_status xo_field_read(xo_field_reader *r, const xo_msg_field *f, xonce_value *out)
{
    switch (f->kind) {
    case XO_FIELD_ID: *out = r->m->id[0] ? xonce_text(r->m->id) : xonce_null(); break;
    case XO_FIELD_TOPIC: *out = xonce_text(r->m->topic); break;
    case XO_FIELD_TAG: *out = xonce_text(xonce_message_property(r->m, "TAGS")); break;
    case XO_FIELD_KEY: *out = xonce_text(xonce_message_property(r->m, "KEYS")); break;
    case XO_FIELD_BODY: *out = xonce_body(r->m); break;
    case XO_FIELD_ATTEMPT: *out = xonce_int(xonce_message_attempt(r->m)); break;
    case XO_FIELD_PROPERTY: *out = xonce_text(xonce_message_property(r->m, f->property)); break;
    case XO_FIELD_JSON: return read_json(r, f, out);
    }
    return XONCE_OK;
}

void xo_field_reader_end(xo_field_reader *r)
{
    xo_arena_free(&r->arena);
}

/* ---- statements ---- */

typedef struct {
    xo_template *t;
    xo_buf sql;
    xo_template_statement now;
    int has_text; /* something but blanks and comments was seen */
} builder;

static void free_statement(xo_template_statement *s)
{
    for (size_t i = 0; i < s->nfields; i++) {
        xo_field_free(&s->fields[i]);
    }
    free(s->fields);
    free(s->sql);
}

void xo_template_free(xo_template *t)
{
    if (t) {
        for (size_t i = 0; i < t->n; i++) {
            free_statement(&t->statements[i]);
        }
        free(t->statements);
        free(t);
    }
}

static xonce_status end_statement(builder *b)
{
    xo_template *t = b->t;
    if (!b->has_text) { /* blanks and comments belong to no statement */
        xo_buf_reset(&b->sql);
        return XONCE_OK;
    }
    xo_template_statement *list = xo_grow(t->statements, &t->cap, t->n + 1, sizeof(*list));
    if (!list) {
        return xo_nomem();
    }
    t->statements = list;
    b->now.sql = xo_buf_take(&b->sql);
    if (!b->now.sql) {
        return xo_nomem();
    }
    if (b->now.nfields > t->most_fields) {
        t->most_fields = b->now.nfields;
    }
    list[t->n++] = b->now;
    memset(&b->now, 0, sizeof(b->now));
    b->has_text = 0;
    return XONCE_OK;
}

/* Could this character and a $n beside it be taken for one word? */
static int is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

static xonce_status add_field(builder *b, const xo_lex_span *s)
{
    xo_msg_field *list = xo_grow(b->now.fields, &b->now.cap, b->now.nfields + 1, sizeof(*list));
    if (!list) {
        return xo_nomem();
    }
    b->now.fields = list;
    xonce_status rc = xo_field_parse(&list[b->now.nfields], s->p + 1, s->len - 1);
    if (rc == XONCE_OK) {
        b->now.nfields++;
        /* "LIMIT:key" and :"key"5 are two tokens each */
        int before = b->sql.len && is_word_char(b->sql.p[b->sql.len - 1]), after = is_word_char(s->p[s->len]);
        xo_buf_printf(&b->sql, "%s$%zu%s", before ? " " : "", b->now.nfields, after ? " " : "");
    }
    return rc;
}

static int is_blank_text(const xo_lex_span *s)
{
    for (size_t i = 0; i < s->len; i++) {
        if (!strchr(" \t\r\n\f\v", s->p[i])) {
            return 0;
        }
    }
    return 1;
}

static xonce_status add_span(builder *b, const xo_lex_span *s)
{
    switch (s->kind) {
    case XO_LEX_SEMICOLON: return end_statement(b);
    case XO_LEX_DOLLAR: return xo_fail(XONCE_E_INVALID, "%.*s: write :name for a field of the message, $n is not used here", s->len > 20 ? 20 : (int)s->len, s->p);
    case XO_LEX_COLON: b->has_text = 1; return add_field(b, s);
    case XO_LEX_COMMENT: break;
    default: b->has_text |= !is_blank_text(s);
    }
    xo_buf_add(&b->sql, s->p, s->len);
    return XONCE_OK;
}

static xonce_status build(builder *b, xo_dialect_kind dialect, const char *sql)
{
    xo_lexer lexer;
    xo_lex_span span;
    xo_lex_init(&lexer, dialect, sql, strlen(sql));
    for (;;) {
        xonce_status rc = xo_lex_next(&lexer, &span);
        if (rc == XONCE_OK && span.kind == XO_LEX_END) {
            rc = end_statement(b);
            if (rc == XONCE_OK && b->t->n == 0) {
                rc = xo_fail(XONCE_E_INVALID, "there is no statement");
            }
            return rc;
        }
        if (rc == XONCE_OK) {
            rc = add_span(b, &span);
        }
        if (rc != XONCE_OK) {
            return rc;
        }
    }
}

xonce_status xo_template_make(xo_template **out, xo_dialect_kind dialect, const char *sql)
{
    *out = NULL;
    builder b = {.t = xo_calloc(1, sizeof(*b.t))};
    if (!b.t) {
        return xo_nomem();
    }
    xonce_status rc = build(&b, dialect, sql);
    xo_buf_free(&b.sql);
    free_statement(&b.now);
    if (rc != XONCE_OK) {
        xo_template_free(b.t);
        return rc;
    }
    *out = b.t;
    return XONCE_OK;
}

enum { FEW = 24 };

xonce_verdict xo_template_handler(xonce_tx *tx, const xonce_message *m, void *arg)
{
    const xo_template *t = arg;
    xo_field_reader reader = {.m = m};
    xonce_value few[FEW], *values = t->most_fields > FEW ? xo_calloc(t->most_fields, sizeof(*values)) : few;
    xonce_verdict verdict = values ? XONCE_DONE : XONCE_RETRY;
    for (size_t i = 0; i < t->n && verdict == XONCE_DONE; i++) {
        const xo_template_statement *s = &t->statements[i];
        xonce_status rc = XONCE_OK;
        for (size_t k = 0; k < s->nfields && rc == XONCE_OK; k++) {
            rc = xo_field_read(&reader, &s->fields[k], &values[k]);
        }
        if (rc != XONCE_OK) { /* what is wrong with a message now is wrong for ever */
            verdict = rc == XONCE_E_INVALID ? XONCE_REJECT : XONCE_RETRY;
            xonce_fail(tx, "%s", xonce_error_last()->text);
        } else if (xonce_exec_values(tx, s->sql, values, s->nfields) != XONCE_OK) {
            verdict = XONCE_RETRY; /* the store knows the error, and judges it */
        }
    }
    xo_field_reader_end(&reader);
    if (values != few) {
        free(values);
    }
    return verdict;
}
