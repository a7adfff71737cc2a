/* SQL text: one lexer for everything that looks into a statement, and the parsed form of a user's statement. */
#ifndef XO_SQLTEXT_H
#define XO_SQLTEXT_H
#include "base/buf.h"

typedef enum { XO_DIALECT_PG = 0, XO_DIALECT_MYSQL = 1, XO_DIALECT_SQLITE = 2 } xo_dialect_kind;
/* Spans of a statement. Quoted text, identifiers in quotes, comments and dollar quotes (PostgreSQL, SQLite leaves $ to
 * parameters) come as OPAQUE. */
typedef enum {
    XO_LEX_END,
    XO_LEX_PLAIN,
    XO_LEX_OPAQUE,
    XO_LEX_COMMENT,
    XO_LEX_WORD,
    XO_LEX_DOLLAR /* $12 */,
    XO_LEX_COLON /* :name, :"name" not after another ':' */,
    XO_LEX_SEMICOLON
} xo_lex_kind;
typedef struct {
    xo_lex_kind kind;
    const char *p;
    size_t len;
} xo_lex_span;
typedef struct {
    const char *p, *end;
    xo_dialect_kind dialect;
} xo_lexer;
void xo_lex_init(xo_lexer *l, xo_dialect_kind dialect, const char *sql, size_t n);
/* The next span; spans joined together are the text again. A COLON span has the whole dotted name (:body.path.to,
   :"body.odd-name"); a comment of MySQL's that is run (slash-star-bang) comes as COMMENT. XONCE_E_INVALID for
   unterminated text and for a zero byte. */
xonce_status xo_lex_next(xo_lexer *l, xo_lex_span *out);

typedef enum {
    XO_STMT_PLAIN,  /* SELECT INSERT UPDATE DELETE REPLACE WITH MERGE VALUES TABLE, savepoints: cannot end a transaction
                     */
    XO_STMT_OTHER,  /* CALL, DO, DDL...: needs the guard */
    XO_STMT_CONTROL /* BEGIN START COMMIT END ROLLBACK (but ROLLBACK TO) ABORT PREPARE TRANSACTION, SET AUTOCOMMIT:
                       refused */
} xo_stmt_kind;
/* A statement with $1..$n, in a dialect's own form. Immutable once made; owned by the store's cache. */
typedef struct xo_sql {
    char *text; /* as the engine wants it: $n, ? or ?n */
    char *original;
    unsigned serial; /* unique in the process: a key for prepared-statement caches */
    xo_stmt_kind kind;
    int is_insert; /* a plain single-row INSERT ... VALUES (...) without RETURNING or ON clauses: fit for bulk arrays */
    int returns_rows;    /* SELECT, VALUES, TABLE, WITH, or has RETURNING */
    int commits;         /* MySQL: it commits by itself what was done before it (DDL, LOCK TABLES, GRANT...) */
    unsigned nparams;    /* the highest $n */
    unsigned nplaces;    /* placeholders in text, MySQL: one per mention */
    unsigned *places;    /* places[i]: 0-based parameter of the i-th placeholder */
    struct xo_sql *next; /* of the cache */
} xo_sql;
/* XONCE_E_INVALID: empty, more than one statement, unterminated, not UTF-8, longer than 1 MiB, $0 or a number too high,
 * or a placeholder of the engine's own (?, in SQLite also :x @x $x). A trailing ';' is dropped. */
xonce_status xo_sql_make(xo_sql **out, xo_dialect_kind dialect, const char *sql);
void xo_sql_free(xo_sql *s);
#endif
