/* Fuzz targets: SQL text with $n, and the language of --sql. SQLite's own parser is the judge where it takes the text. */
#include "cli/sqltemplate.h"
#include "store/sqltext.h"
#include "tests/fuzz/targets.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#ifdef HAVE_SQLITE
#include <sqlite3.h>
#endif

static const xo_dialect_kind kinds[] = {XO_DIALECT_PG, XO_DIALECT_MYSQL, XO_DIALECT_SQLITE};

static void lex(xo_dialect_kind kind, const char *s, size_t n)
{
    xo_lexer l;
    xo_lex_span span;
    const char *at = s;
    xonce_status st;
    xo_lex_init(&l, kind, s, n);
    while ((st = xo_lex_next(&l, &span)) == XONCE_OK && span.kind != XO_LEX_END) {
        PROMISE(span.p == at && span.len > 0);
        at += span.len;
    }
    PROMISE(st != XONCE_OK || at == s + n); /* spans joined are the text */
}

/* The placeholders in the text that goes to the engine. */
static unsigned placeholders(xo_dialect_kind kind, const char *text)
{
    xo_lexer l;
    xo_lex_span span;
    unsigned found = 0;
    xo_lex_init(&l, kind, text, strlen(text));
    for (;;) {
        PROMISE(xo_lex_next(&l, &span) == XONCE_OK);
        if (span.kind == XO_LEX_END) {
            return found;
        }
        if (kind == XO_DIALECT_PG) {
            found += span.kind == XO_LEX_DOLLAR;
            continue;
        }
        for (size_t i = 0; span.kind == XO_LEX_PLAIN && i < span.len; i++) {
            found += span.p[i] == '?';
        }
    }
}

#ifdef HAVE_SQLITE
static int transactions; /* of the statement that is being compiled */

static int on_action(void *arg, int action, const char *a, const char *b, const char *c, const char *d)
{
    (void)arg, (void)c, (void)d;
    transactions += action == SQLITE_TRANSACTION;
    transactions += action == SQLITE_SAVEPOINT && b && strncasecmp(b, "xonce_", 6) == 0 && a;
    return action == SQLITE_PRAGMA ? SQLITE_DENY : SQLITE_OK; /* some pragmas act while they are compiled */
}

/* What SQLite takes has as many parameters as were found, is one statement, and no guarded thing that was not seen. */
static void ask_sqlite(const xo_sql *q)
{
    static sqlite3 *db;
    sqlite3_stmt *stmt = NULL;
    const char *tail = q->text;
    if (!db) {
        PROMISE(sqlite3_open(":memory:", &db) == SQLITE_OK);
        PROMISE(sqlite3_exec(db, "CREATE TABLE t (a, b, id INTEGER PRIMARY KEY)", NULL, NULL, NULL) == SQLITE_OK);
        PROMISE(sqlite3_set_authorizer(db, on_action, NULL) == SQLITE_OK);
    }
    transactions = 0;
    if (sqlite3_prepare_v2(db, q->text, -1, &stmt, &tail) != SQLITE_OK || !stmt) {
        return;
    }
    PROMISE(sqlite3_bind_parameter_count(stmt) == (int)q->nparams);
    PROMISE(transactions == 0 || q->kind == XO_STMT_CONTROL || sqlite3_stmt_isexplain(stmt));
    PROMISE(sqlite3_column_count(stmt) == 0 || q->returns_rows);
    PROMISE(!q->is_insert || (sqlite3_column_count(stmt) == 0 && !sqlite3_stmt_readonly(stmt)));
    sqlite3_finalize(stmt);
    while (*tail) {
        const char *rest = tail;
        PROMISE(sqlite3_prepare_v2(db, rest, -1, &stmt, &tail) == SQLITE_OK && !stmt && tail > rest);
    }
}
#endif

void fuzz_sql(const uint8_t *p, size_t n)
{
    char *s = fuzz_text(p, n);
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        xo_sql *q;
        lex(kinds[k], s, n);
        if (xo_sql_make(&q, kinds[k], s) != XONCE_OK) {
            PROMISE(!q && xonce_error_last()->text[0]);
            continue;
        }
        PROMISE(q->text && q->original && strcmp(q->original, s) == 0 && (q->nplaces == 0) == (q->nparams == 0));
        unsigned most = 0;
        for (unsigned i = 0; i < q->nplaces; i++) {
            PROMISE(q->places[i] < q->nparams);
            most = q->places[i] + 1 > most ? q->places[i] + 1 : most;
        }
        PROMISE(most == q->nparams && placeholders(kinds[k], q->text) == q->nplaces);
        PROMISE(!q->is_insert || (q->kind == XO_STMT_PLAIN && !q->returns_rows));
#ifdef HAVE_SQLITE
        if (kinds[k] == XO_DIALECT_SQLITE) {
            ask_sqlite(q);
        }
#endif
        xo_sql_free(q);
    }
    free(s);
}

/* A field's value can be read whole, or the message is told to be at fault. */
static void read_fields(const xo_template_statement *st, const xonce_message *m)
{
    xo_field_reader r = {.m = m};
    for (size_t i = 0; i < st->nfields; i++) {
        xonce_value v;
        if (xo_field_read(&r, &st->fields[i], &v) == XONCE_OK) {
            if (v.kind == XONCE_TEXT || v.kind == XONCE_DECIMAL || v.kind == XONCE_BLOB) {
                char *copy = fuzz_bytes(v.v.p, v.len);
                PROMISE(v.kind != XONCE_TEXT || st->fields[i].kind != XO_FIELD_JSON || !memchr(copy, 0, v.len));
                free(copy);
            }
        } else {
            PROMISE(st->fields[i].kind == XO_FIELD_JSON);
        }
    }
    xo_field_reader_end(&r);
}

/* The statements, and behind a zero byte a body. */
void fuzz_template(const uint8_t *p, size_t n)
{
    char *s = fuzz_text(p, n);
    const char *body = strlen(s) < n ? s + strlen(s) + 1 : "{\"a\":[1.50,\"\\u00e4\",{}],\"odd.name\":null}";
    xonce_message *m;
    PROMISE(xonce_message_new(&m, "t", "i", body, strlen(s) < n ? n - strlen(s) - 1 : strlen(body)) == XONCE_OK);
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        xo_template *t;
        if (xo_template_make(&t, kinds[k], s) != XONCE_OK) {
            PROMISE(!t && xonce_error_last()->text[0]);
            continue;
        }
        PROMISE(t->n > 0);
        for (size_t i = 0; i < t->n; i++) {
            const xo_template_statement *st = &t->statements[i];
            xo_sql *q;
            PROMISE(st->nfields <= t->most_fields);
            /* what the template makes is at most refused, and has a parameter per field */
            if (xo_sql_make(&q, kinds[k], st->sql) == XONCE_OK) {
                PROMISE(q->nparams == st->nfields && q->nplaces == st->nfields);
                xo_sql_free(q);
            }
            read_fields(st, m);
        }
        xo_template_free(t);
    }
    xonce_message_free(m);
    free(s);
}
