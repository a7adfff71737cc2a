/* SQL text: one lexer for everything that looks into a statement, and the parsed form of a user's statement. */
#include "store/sqltext.h"
#include "base/mem.h"
#include "base/text.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SQL_MAX = 1024 * 1024, PARAMS_MAX = 65535, PARAMS_MAX_SQLITE = 32766 };

/* ---- the lexer ---- */

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int is_word_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static int is_name_byte(char c)
{
    return is_word_start(c) || is_digit(c);
}

static char at(const xo_lexer *l, const char *p)
{
    return p < l->end ? *p : '\0';
}

void xo_lex_init(xo_lexer *l, xo_dialect_kind dialect, const char *sql, size_t n)
{
    l->p = sql;
    l->end = sql + n;
    l->dialect = dialect;
}

static xonce_status give(xo_lexer *l, xo_lex_span *out, xo_lex_kind kind, const char *end)
{
    out->kind = kind;
    out->p = l->p;
    out->len = (size_t)(end - l->p);
    l->p = end;
    return XONCE_OK;
}

static xonce_status unterminated(const xo_lexer *l, const char *what)
{
    int shown = l->end - l->p > 40 ? 40 : (int)(l->end - l->p);
    return xo_fail(XONCE_E_INVALID, "SQL text: %s has no end: %.*s", what, shown, l->p);
}

/* Behind the closing quote of a text that starts at p, where a doubled quote, and with escapes also a backslash, stands
 * for a character. NULL: no end. */
static const char *skip_quoted(const xo_lexer *l, const char *p, char close, int doubled, int escapes)
{
    for (p++; p < l->end; p++) {
        if (escapes && *p == '\\')
            p++;
        else if (*p == close && doubled && at(l, p + 1) == close)
            p++;
        else if (*p == close)
            return p + 1;
    }
    return NULL;
}

static const char *line_end(const xo_lexer *l, const char *p)
{
    while (p < l->end && *p != '\n' && !(*p == '\r' && l->dialect == XO_DIALECT_PG))
        p++;
    return p;
}

static int is_line_comment(const xo_lexer *l, const char *p)
{
    if (*p == '#')
        return l->dialect == XO_DIALECT_MYSQL;
    if (*p != '-' || at(l, p + 1) != '-')
        return 0;
    /* in MySQL 1--1 is a subtraction */
    return l->dialect != XO_DIALECT_MYSQL || p + 2 >= l->end || (unsigned char)p[2] <= ' ' || p[2] == 0x7f;
}

static const char *skip_block_comment(const xo_lexer *l, const char *p)
{
    size_t depth = 1;
    for (p += 2; p + 1 < l->end; p++) {
        if (p[0] == '*' && p[1] == '/') {
            p++;
            if (--depth == 0)
                return p + 1;
        } else if (p[0] == '/' && p[1] == '*' && l->dialect == XO_DIALECT_PG) {
            p++;
            depth++;
        }
    }
    return NULL;
}

/* PostgreSQL goes on with a text in the next line's quotes, and by the rules of its first piece: E'a' <newline> '\'' is
 * one text with escapes. */
static const char *continued(const xo_lexer *l, const char *p)
{
    int newline = 0;
    while (p < l->end) {
        if (*p == '\n' || *p == '\r')
            newline = 1;
        if (is_space(*p))
            p++;
        else if (is_line_comment(l, p))
            p = line_end(l, p);
        else
            break;
    }
    return newline && at(l, p) == '\'' ? p : NULL;
}

static xonce_status lex_escape_text(xo_lexer *l, xo_lex_span *out)
{
    const char *end = skip_quoted(l, l->p + 1, '\'', 1, 1), *next;
    while (end && (next = continued(l, end)) != NULL)
        end = skip_quoted(l, next, '\'', 1, 1);
    return end ? give(l, out, XO_LEX_OPAQUE, end) : unterminated(l, "a quoted text");
}

static xonce_status lex_quoted(xo_lexer *l, xo_lex_span *out)
{
    char q = *l->p;
    int escapes = l->dialect == XO_DIALECT_MYSQL && q != '`';
    const char *end = skip_quoted(l, l->p, q == '[' ? ']' : q, q != '[', escapes);
    return end ? give(l, out, XO_LEX_OPAQUE, end) : unterminated(l, q == '\'' ? "a quoted text" : "a quoted name");
}

static int is_quote(const xo_lexer *l, char c)
{
    if (c == '\'' || c == '"')
        return 1;
    if (c == '`')
        return l->dialect != XO_DIALECT_PG;
    return c == '[' && l->dialect == XO_DIALECT_SQLITE;
}

/* $1, PostgreSQL's $tag$...$tag$, else a lone '$'. */
static xonce_status lex_dollar(xo_lexer *l, xo_lex_span *out)
{
    const char *p = l->p + 1;
    if (is_digit(at(l, p))) {
        while (is_digit(at(l, p)))
            p++;
        return give(l, out, XO_LEX_DOLLAR, p);
    }
    if (l->dialect != XO_DIALECT_PG)
        return give(l, out, XO_LEX_PLAIN, p);
    while (p < l->end && is_name_byte(*p))
        p++;
    if (at(l, p) != '$')
        return give(l, out, XO_LEX_PLAIN, l->p + 1);
    size_t n = (size_t)(p + 1 - l->p);
    for (p++; (size_t)(l->end - p) >= n; p++) {
        p = memchr(p, '$', (size_t)(l->end - p) - n + 1);
        if (!p)
            break;
        if (memcmp(p, l->p, n) == 0)
            return give(l, out, XO_LEX_OPAQUE, p + n);
    }
    return unterminated(l, "a dollar-quoted text");
}

/* :name, :name.path.0, :"any name"; a run of colons is a cast or an operator. */
static xonce_status lex_colon(xo_lexer *l, xo_lex_span *out)
{
    const char *p = l->p + 1;
    if (at(l, p) == ':') {
        while (at(l, p) == ':')
            p++;
        return give(l, out, XO_LEX_PLAIN, p);
    }
    if (at(l, p) == '"') {
        p = skip_quoted(l, p, '"', 1, 0);
        return p ? give(l, out, XO_LEX_COLON, p) : unterminated(l, "a quoted name");
    }
    if (p >= l->end || !is_word_start(*p))
        return give(l, out, XO_LEX_PLAIN, p);
    while (p < l->end && (is_name_byte(*p) || (*p == '.' && p + 1 < l->end && is_name_byte(p[1]))))
        p++;
    return give(l, out, XO_LEX_COLON, p);
}

static int starts_span(const xo_lexer *l, const char *p)
{
    char c = *p;
    if (is_word_start(c) || is_digit(c) || is_quote(l, c) || c == '$' || c == ':' || c == ';' || c == '\0')
        return 1;
    return is_line_comment(l, p) || (c == '/' && at(l, p + 1) == '*');
}

static xonce_status lex_word(xo_lexer *l, xo_lex_span *out)
{
    if (l->dialect == XO_DIALECT_PG && (*l->p == 'e' || *l->p == 'E') && at(l, l->p + 1) == '\'')
        return lex_escape_text(l, out);
    const char *p = l->p;
    while (p < l->end && (is_name_byte(*p) || *p == '$'))
        p++;
    return give(l, out, XO_LEX_WORD, p);
}

xonce_status xo_lex_next(xo_lexer *l, xo_lex_span *out)
{
    const char *p = l->p;
    if (p >= l->end)
        return give(l, out, XO_LEX_END, l->end);
    if (*p == '\0')
        return xo_fail(XONCE_E_INVALID, "SQL text: it holds a zero byte");
    if (is_word_start(*p))
        return lex_word(l, out);
    if (is_quote(l, *p))
        return lex_quoted(l, out);
    if (*p == '$')
        return lex_dollar(l, out);
    if (*p == ':')
        return lex_colon(l, out);
    if (*p == ';')
        return give(l, out, XO_LEX_SEMICOLON, p + 1);
    if (is_line_comment(l, p))
        return give(l, out, XO_LEX_COMMENT, line_end(l, p));
    if (*p == '/' && at(l, p + 1) == '*') {
        p = skip_block_comment(l, p);
        return p ? give(l, out, XO_LEX_COMMENT, p) : unterminated(l, "a comment");
    }
    if (is_digit(*p)) { /* 0x1F, 1e5: the letters are no word */
        while (p < l->end && (is_name_byte(*p) || *p == '.'))
            p++;
        return give(l, out, XO_LEX_PLAIN, p);
    }
    for (p++; p < l->end && !starts_span(l, p);)
        p++;
    return give(l, out, XO_LEX_PLAIN, p);
}

/* ---- a statement ---- */

/* What a pass over a statement has seen. */
typedef struct {
    xo_sql *s;
    xo_dialect_kind dialect;
    xo_buf text;
    size_t cap_places;
    xo_lex_span words[5]; /* the first ones, quoted names included */
    unsigned nwords;
    int started, ended; /* something but comments and parentheses was seen; a ';' was */
    int depth, groups;  /* groups: parentheses at depth 0 behind VALUES */
    int values, not_bulk, returning, autocommit, versioned, odd;
} scan;

static int word_is(const xo_lex_span *w, const char *text)
{
    return w->kind == XO_LEX_WORD && strlen(text) == w->len && strncasecmp(w->p, text, w->len) == 0;
}

static int word_in(const xo_lex_span *w, const char *const *list)
{
    for (; *list; list++)
        if (word_is(w, *list))
            return 1;
    return 0;
}

static xonce_status add_place(scan *c, const xo_lex_span *w)
{
    unsigned n = 0, max = c->dialect == XO_DIALECT_SQLITE ? PARAMS_MAX_SQLITE : PARAMS_MAX;
    for (size_t i = 1; i < w->len && n <= max; i++)
        n = n * 10 + (unsigned)(w->p[i] - '0');
    if (n == 0 || n > max)
        return xo_fail(XONCE_E_INVALID, "SQL text: parameter %.*s: they are $1 to $%u", w->len > 20 ? 20 : (int)w->len,
                       w->p, max);
    if (n > c->s->nparams)
        c->s->nparams = n;
    unsigned *grown = xo_grow(c->s->places, &c->cap_places, c->s->nplaces + 1u, sizeof *grown);
    if (!grown)
        return xo_nomem();
    c->s->places = grown;
    grown[c->s->nplaces++] = n - 1;
    if (c->dialect == XO_DIALECT_MYSQL)
        xo_buf_char(&c->text, '?');
    else
        xo_buf_printf(&c->text, "%c%u", c->dialect == XO_DIALECT_SQLITE ? '?' : '$', n);
    return XONCE_OK;
}

static void see_word(scan *c, const xo_lex_span *w)
{
    static const char *const not_bulk[] = {
        "on",      "returning",    "select",        "set",     "ignore",    "or",    "as",   "overriding",
        "default", "low_priority", "high_priority", "delayed", "partition", "table", "with", NULL};
    if (c->nwords < sizeof c->words / sizeof *c->words)
        c->words[c->nwords++] = *w;
    if (w->kind != XO_LEX_WORD) {
        c->autocommit |= w->len == 12 && strncasecmp(w->p + 1, "autocommit", 10) == 0;
        return;
    }
    c->autocommit |= word_is(w, "autocommit");
    c->returning |= word_is(w, "returning");
    c->not_bulk |= c->groups > 0 && c->depth == 0;
    if (word_is(w, "values") && c->depth == 0) {
        c->not_bulk |= c->values;
        c->values = 1;
    } else {
        c->not_bulk |= word_in(w, not_bulk);
    }
}

/* Parentheses, and the marks that an engine takes for parameters. */
static xonce_status see_plain(scan *c, const xo_lex_span *w)
{
    for (size_t i = 0; i < w->len; i++) {
        char ch = w->p[i];
        if (ch == '(') {
            c->groups += c->values && c->depth == 0;
            c->depth++;
        } else if (ch == ')') {
            c->depth--;
        } else if (ch == '?' && c->dialect != XO_DIALECT_PG) {
            return xo_fail(XONCE_E_INVALID, "SQL text: write parameters as $1, $2..., not as ?");
        } else if (c->dialect == XO_DIALECT_SQLITE && (ch == '@' || ch == '$' || ch == '#' || ch == ':')) {
            return xo_fail(XONCE_E_INVALID, "SQL text: '%c' outside quotes: write parameters as $1, $2...", ch);
        } else if (!is_space(ch) && c->nwords > 0 && c->nwords < sizeof c->words / sizeof *c->words) {
            c->odd = 1;
        }
        c->not_bulk |= c->groups > 1;
    }
    return XONCE_OK;
}

static int is_blank(const xo_lex_span *w)
{
    for (size_t i = 0; i < w->len; i++)
        if (!is_space(w->p[i]))
            return 0;
    return 1;
}

/* Comments that MySQL and MariaDB run as SQL. */
static int is_versioned(const scan *c, const xo_lex_span *w)
{
    if (c->dialect != XO_DIALECT_MYSQL || w->p[0] != '/' || w->len < 3)
        return 0;
    return w->p[2] == '!' || (w->len > 3 && w->p[2] == 'M' && w->p[3] == '!');
}

static xonce_status see(scan *c, const xo_lex_span *w)
{
    if (w->kind == XO_LEX_SEMICOLON) {
        c->ended = c->started;
        return XONCE_OK;
    }
    int blank = w->kind == XO_LEX_COMMENT || (w->kind == XO_LEX_PLAIN && is_blank(w));
    if (blank) {
        if (w->kind == XO_LEX_COMMENT && is_versioned(c, w)) {
            c->versioned = 1;
            c->started = 1;
        }
        if (!c->ended)
            xo_buf_add(&c->text, w->p, w->len);
        return c->ended && c->versioned ? xo_fail(XONCE_E_INVALID, "SQL text: one statement a call") : XONCE_OK;
    }
    if (c->ended)
        return xo_fail(XONCE_E_INVALID, "SQL text: one statement a call; there is more behind the ';': %.*s",
                       w->len > 40 ? 40 : (int)w->len, w->p);
    c->started = 1;
    if (w->kind == XO_LEX_DOLLAR)
        return add_place(c, w);
    if (w->kind == XO_LEX_COLON && c->dialect == XO_DIALECT_SQLITE)
        return xo_fail(XONCE_E_INVALID, "SQL text: %.*s: write parameters as $1, $2...", w->len > 40 ? 40 : (int)w->len,
                       w->p);
    if (w->kind == XO_LEX_WORD || w->kind == XO_LEX_OPAQUE)
        see_word(c, w);
    xo_buf_add(&c->text, w->p, w->len);
    return w->kind == XO_LEX_PLAIN ? see_plain(c, w) : XONCE_OK;
}

static xonce_status walk(scan *c, const char *sql, size_t n)
{
    xo_lexer l;
    xo_lex_span w;
    xo_lex_init(&l, c->dialect, sql, n);
    for (;;) {
        xonce_status st = xo_lex_next(&l, &w);
        if (st != XONCE_OK)
            return st;
        if (w.kind == XO_LEX_END)
            break;
        st = see(c, &w);
        if (st != XONCE_OK)
            return st;
    }
    if (!c->started)
        return xo_fail(XONCE_E_INVALID, "SQL text: there is no statement in it");
    return xo_buf_status(&c->text);
}

/* ---- what kind of statement it is ---- */

/* SAVEPOINT n, RELEASE [SAVEPOINT] n, ROLLBACK [WORK | TRANSACTION] TO [SAVEPOINT] n: a handler's own savepoints are
 * fine, ours are not to be touched. */
static xonce_status judge_savepoint(scan *c, unsigned i)
{
    const xo_lex_span *w = &c->words[i];
    if (i + 1 != c->nwords || c->odd)
        return xo_fail(XONCE_E_INVALID, "SQL text: a savepoint needs one plain name");
    size_t quote = w->kind == XO_LEX_OPAQUE;
    if (w->len >= quote + 6 && strncasecmp(w->p + quote, "xonce_", 6) == 0)
        return xo_fail(XONCE_E_INVALID, "SQL text: savepoints named xonce_... are the library's own");
    c->s->kind = c->versioned ? XO_STMT_OTHER : XO_STMT_PLAIN;
    return XONCE_OK;
}

static xonce_status judge_rollback(scan *c)
{
    unsigned i = 1;
    if (i < c->nwords && (word_is(&c->words[i], "work") || word_is(&c->words[i], "transaction")))
        i++;
    if (i >= c->nwords || !word_is(&c->words[i], "to")) {
        c->s->kind = XO_STMT_CONTROL;
        return XONCE_OK;
    }
    i++;
    if (i + 1 < c->nwords && word_is(&c->words[i], "savepoint"))
        i++;
    return judge_savepoint(c, i);
}

/* MySQL's implicit commits. Temporary tables are made and dropped without; UNLOCK TABLES commits only after a LOCK. */
static int commits_by_itself(const scan *c)
{
    static const char *const verbs[] = {"alter",   "analyze", "cache",     "check",  "create", "drop",  "flush",    "grant", "install",
                                        "lock",    "load",    "optimize",  "rename", "repair", "reset", "truncate", "revoke", "uninstall", NULL};
    const xo_lex_span *w = c->words;
    if (c->dialect != XO_DIALECT_MYSQL || !word_in(w, verbs) || c->nwords < 2)
        return 0;
    if (word_is(w, "load")) /* LOAD DATA does not */
        return word_is(&w[1], "index");
    return !((word_is(w, "create") || word_is(w, "drop")) && word_is(&w[c->nwords > 3 && word_is(&w[1], "or") ? 3 : 1], "temporary"));
}

static xonce_status judge_kind(scan *c)
{
    static const char *const plain[] = {"select", "insert", "update", "delete", "replace",
                                        "with",   "merge",  "values", "table",  NULL};
    static const char *const control[] = {"begin", "start", "commit", "end", "abort", "xa", NULL};
    static const char *const rows[] = {"select", "values", "table",  "with",    "explain", "show", "describe",
                                       "desc",   "fetch",  "pragma", "execute", "call",    NULL};
    const xo_lex_span *w = c->words;
    c->s->kind = XO_STMT_OTHER;
    if (c->nwords == 0 || w->kind != XO_LEX_WORD)
        return XONCE_OK;
    c->s->returns_rows = word_in(w, rows) || c->returning;
    c->s->commits = commits_by_itself(c);
    if (word_in(w, plain))
        c->s->kind = XO_STMT_PLAIN;
    else if (word_in(w, control))
        c->s->kind = XO_STMT_CONTROL;
    else if (word_is(w, "prepare") && c->nwords > 1 && word_is(&w[1], "transaction"))
        c->s->kind = XO_STMT_CONTROL;
    else if (word_is(w, "set") && c->autocommit)
        c->s->kind = XO_STMT_CONTROL;
    else if (word_is(w, "savepoint"))
        return judge_savepoint(c, 1);
    else if (word_is(w, "release"))
        return judge_savepoint(c, c->nwords > 2 && word_is(&w[1], "savepoint") ? 2 : 1);
    else if (word_is(w, "rollback"))
        return judge_rollback(c);
    if (c->versioned && c->s->kind == XO_STMT_PLAIN)
        c->s->kind = XO_STMT_OTHER;
    c->s->is_insert = c->s->kind == XO_STMT_PLAIN && word_is(w, "insert") && c->nwords > 1 && word_is(&w[1], "into") &&
                      c->groups == 1 && c->depth == 0 && !c->not_bulk;
    return XONCE_OK;
}

static xonce_status parse(xo_sql *s, xo_dialect_kind dialect, const char *sql)
{
    size_t n = strlen(sql), bad = 0;
    if (n > SQL_MAX)
        return xo_fail(XONCE_E_INVALID, "SQL text: %zu bytes; the most is %d", n, SQL_MAX);
    if (!xo_utf8_valid(sql, n, &bad))
        return xo_fail(XONCE_E_INVALID, "SQL text: byte %zu (0x%02x) is not UTF-8; bind binary data as a parameter",
                       bad, (unsigned char)sql[bad]);
    scan c = {.s = s, .dialect = dialect};
    xonce_status st = walk(&c, sql, n);
    if (st == XONCE_OK)
        st = judge_kind(&c);
    if (st == XONCE_OK && !(s->text = xo_buf_take(&c.text)))
        st = xo_nomem();
    xo_buf_free(&c.text);
    return st;
}

xonce_status xo_sql_make(xo_sql **out, xo_dialect_kind dialect, const char *sql)
{
    static atomic_uint serial;
    *out = NULL;
    if (!sql)
        return xo_fail(XONCE_E_INVALID, "SQL text: none was given");
    xo_sql *s = xo_calloc(1, sizeof *s);
    if (!s)
        return xo_nomem();
    s->original = xo_strdup(sql);
    xonce_status st = s->original ? parse(s, dialect, sql) : xo_nomem();
    if (st != XONCE_OK) {
        xo_sql_free(s);
        return st;
    }
    s->serial = atomic_fetch_add(&serial, 1u) + 1u;
    *out = s;
    return XONCE_OK;
}

void xo_sql_free(xo_sql *s)
{
    if (!s)
        return;
    free(s->text);
    free(s->original);
    free(s->places);
    free(s);
}
