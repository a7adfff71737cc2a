/* store/sqltext: the lexer against nasty text, parameters, kinds of statements. */
#include "base/mem.h"
#include "store/sqltext.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

#define PG XO_DIALECT_PG
#define MY XO_DIALECT_MYSQL
#define LITE XO_DIALECT_SQLITE

/* ---- spans ---- */

/* The spans as letters: p plain, o opaque, c comment, w word, d dollar, n colon, s semicolon, ! error. Joined they must
 * be the text again. */
static void lex(xo_dialect_kind dialect, const char *text, size_t n, char *out, size_t size)
{
    static const char letters[] = {
        [XO_LEX_PLAIN] = 'p',  [XO_LEX_OPAQUE] = 'o', [XO_LEX_COMMENT] = 'c',  [XO_LEX_WORD] = 'w',
        [XO_LEX_DOLLAR] = 'd', [XO_LEX_COLON] = 'n',  [XO_LEX_SEMICOLON] = 's'};
    xo_lexer l;
    xo_lex_span w;
    size_t k = 0;
    const char *at = text;
    xo_lex_init(&l, dialect, text, n);
    for (;;) {
        if (xo_lex_next(&l, &w) != XONCE_OK) {
            ck_assert_int_eq(xonce_error_last()->code, XONCE_E_INVALID);
            if (k + 1 < size)
                out[k++] = '!';
            break;
        }
        ck_assert_ptr_eq(w.p, at);
        at += w.len;
        ck_assert(at <= text + n);
        if (w.kind == XO_LEX_END) {
            ck_assert_ptr_eq(at, text + n);
            break;
        }
        ck_assert_uint_gt(w.len, 0);
        if (k + 1 < size)
            out[k++] = letters[w.kind];
    }
    out[k] = '\0';
}

static const struct {
    xo_dialect_kind dialect;
    const char *text, *spans;
} lexed[] = {
    {PG, "", ""},
    {PG, "a", "w"},
    {PG, "SELECT $1", "wpd"},
    {PG, "'it''s' $1", "opd"},
    {PG, "'back\\' $1", "opd"},
    {MY, "'back\\' $1", "!"},
    {MY, "'back\\' $1' $1", "opd"},
    {MY, "\"a\\\"b\" $1", "opd"},
    {MY, "`a\\` $1", "opd"},
    {MY, "`a``b` $1", "opd"},
    {LITE, "'back\\' $1", "opd"},
    {LITE, "[a'b] $1", "opd"},
    {LITE, "`a'b` $1", "opd"},
    {PG, "a[1] $1", "wpppd"},
    {PG, "`a", "pw"},
    {PG, "E'a\\'$1' $1", "opd"},
    {PG, "e'a' \n 'b\\'$1' $1", "opd"},
    {PG, "e'a' -- x\n 'b\\'$1' $1", "opd"},
    {PG, "e'a' 'b\\' $1", "opopd"},
    {PG, "ye'a\\' $1", "wopd"},
    {LITE, "E'a\\' $1", "wopd"},
    {PG, "U&'\\0061' $1", "wpopd"},
    {PG, "$$ ; $1 ' $$ $1", "opd"},
    {PG, "$a$ $$ $b$ $a$ $1", "opd"},
    {PG, "$a$ $A$", "!"},
    {PG, "$\xc3\xa9$ x $\xc3\xa9$$1", "od"},
    {PG, "a$b$c$1", "w"},
    {LITE, "a$1 $1", "wpd"},
    {PG, "$ 1", "ppp"},
    {PG, "$1$2", "dd"},
    {PG, "1e5 0x1F 1.5e", "ppppp"},
    {PG, "a--b\nc", "wcpw"},
    {PG, "a--b\rc", "wcpw"},
    {MY, "1--1", "ppp"},
    {MY, "1-- 1\nx", "pcpw"},
    {MY, "1--", "pc"},
    {MY, "# ' \n x", "cpw"},
    {PG, "a #> b", "wpw"},
    {PG, "/* a /* ' */ b */ x", "cpw"},
    {LITE, "/* a /* ' */ x", "cpw"},
    {MY, "/*! ' */ x", "cpw"},
    {PG, "/* a /* b */ x", "!"},
    {PG, "/*/ x */ y", "cpw"},
    {PG, "a/b*/c", "wpwpw"},
    {PG, "x::int :name", "wpwpn"},
    {PG, "x:::name", "wpw"},
    {PG, ":a.b.0.c :\"odd-\"\"name\" :a. :1 : a", "npnpnpppppw"},
    {MY, "@x := 1", "pwppppp"},
    {PG, ":\"x", "!"},
    {PG, "'x", "!"},
    {PG, "\"x", "!"},
    {MY, "'x\\", "!"},
    {LITE, "[x", "!"},
    {PG, "E'\\", "!"},
    {PG, "a;b;", "wsws"},
    {PG, "\xc3\xa9t\xc3\xa9 $1", "wpd"},
    {PG, "'", "!"},
    {PG, "$", "p"},
    {PG, ":", "p"},
    {PG, "-", "p"},
    {PG, "/", "p"},
};

START_TEST(spans)
{
    char got[64];
    for (size_t i = 0; i < sizeof lexed / sizeof *lexed; i++) {
        lex(lexed[i].dialect, lexed[i].text, strlen(lexed[i].text), got, sizeof got);
        /* how plain text is cut up is nobody's business */
        char a[64], b[64];
        size_t n = 0, m = 0;
        for (const char *p = got; *p; p++)
            if (*p != 'p' || n == 0 || a[n - 1] != 'p')
                a[n++] = *p;
        for (const char *p = lexed[i].spans; *p; p++)
            if (*p != 'p' || m == 0 || b[m - 1] != 'p')
                b[m++] = *p;
        a[n] = b[m] = '\0';
        ck_assert_msg(strcmp(a, b) == 0, "%s: got %s, not %s", lexed[i].text, a, b);
    }
}
END_TEST

START_TEST(zero_byte_is_refused)
{
    char got[8];
    lex(PG, "a \0 b", 5, got, sizeof got);
    ck_assert_str_eq(got, "wp!");
    /* inside quotes it is text of theirs; the statement itself is a C string and cannot hold one */
    lex(PG, "'a\0b'", 5, got, sizeof got);
    ck_assert_str_eq(got, "o");
}
END_TEST

/* Every byte string is cut into spans that make it up, or refused; nothing is read beyond its end (for the sanitizers:
 * the copy ends where the text does). */
START_TEST(random_text)
{
    static const char alphabet[] = "'\"`[]$:;-/*#\\\n\r eE1aU&!()?@\xc3\xa9\xff";
    unsigned x = 12345;
    char got[256];
    for (int round = 0; round < 20000; round++) {
        x = x * 1103515245u + 12345u;
        size_t n = x >> 16 & 31;
        char *text = malloc(n + 1);
        ck_assert_ptr_nonnull(text);
        for (size_t i = 0; i < n; i++) {
            x = x * 1103515245u + 12345u;
            text[i] = alphabet[(x >> 16) % (sizeof alphabet - 1)];
        }
        char *exact = malloc(n ? n : 1);
        ck_assert_ptr_nonnull(exact);
        memcpy(exact, text, n);
        lex((xo_dialect_kind)(round % 3), exact, n, got, sizeof got);
        free(exact);
        text[n] = '\0';
        xo_sql *s = NULL;
        xonce_status st = xo_sql_make(&s, (xo_dialect_kind)(round % 3), text);
        ck_assert(st == XONCE_OK || (st == XONCE_E_INVALID && !s));
        xo_sql_free(s);
        free(text);
    }
}
END_TEST

/* ---- statements ---- */

static const struct {
    xo_dialect_kind dialect;
    const char *sql, *text;
    unsigned nparams, nplaces;
    unsigned places[4];
} made[] = {
    {PG, "INSERT INTO t VALUES ($1, $2)", "INSERT INTO t VALUES ($1, $2)", 2, 2, {0, 1}},
    {MY, "INSERT INTO t VALUES ($1, $2)", "INSERT INTO t VALUES (?, ?)", 2, 2, {0, 1}},
    {LITE, "INSERT INTO t VALUES ($1, $2)", "INSERT INTO t VALUES (?1, ?2)", 2, 2, {0, 1}},
    {MY, "SELECT $2, $1, $2", "SELECT ?, ?, ?", 2, 3, {1, 0, 1}},
    {LITE, "SELECT $2, $1, $2", "SELECT ?2, ?1, ?2", 2, 3, {1, 0, 1}},
    {PG, "SELECT $007", "SELECT $7", 7, 1, {6}},
    {PG, "SELECT '$1', \"$2\", $$ $3 $$ -- $4\n, $1::int", "SELECT '$1', \"$2\", $$ $3 $$ -- $4\n, $1::int", 1, 1, {0}},
    {LITE, "SELECT a$1 FROM t", "SELECT a$1 FROM t", 0, 0, {0}},
    {PG, "SELECT 1;", "SELECT 1", 0, 0, {0}},
    {PG, " ; SELECT 1 ; ; -- done", "  SELECT 1 ", 0, 0, {0}},
    {PG, "SELECT a ? 'b' FROM t WHERE c @> $1", "SELECT a ? 'b' FROM t WHERE c @> $1", 1, 1, {0}},
    {MY, "SELECT '?' , @x", "SELECT '?' , @x", 0, 0, {0}},
    {PG, "SELECT $65535", "SELECT $65535", 65535, 1, {65534}},
};

START_TEST(parameters)
{
    unsigned last = 0;
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        xo_sql *s = NULL;
        ck_assert_msg(xo_sql_make(&s, made[i].dialect, made[i].sql) == XONCE_OK, "%s: %s", made[i].sql,
                      xonce_error_last()->text);
        ck_assert_str_eq(s->text, made[i].text);
        ck_assert_str_eq(s->original, made[i].sql);
        ck_assert_uint_eq(s->nparams, made[i].nparams);
        ck_assert_uint_eq(s->nplaces, made[i].nplaces);
        for (unsigned k = 0; k < s->nplaces; k++)
            ck_assert_uint_eq(s->places[k], made[i].places[k]);
        ck_assert_uint_gt(s->serial, last);
        last = s->serial;
        xo_sql_free(s);
    }
}
END_TEST

static const struct {
    xo_dialect_kind dialect;
    const char *sql, *word; /* in the error's text */
} refused[] = {
    {PG, "", "no statement"},
    {PG, " ; -- nothing\n /* at all */ ;", "no statement"},
    {PG, "SELECT 1; SELECT 2", "one statement"},
    {PG, "SELECT 1; COMMIT", "one statement"},
    {PG, "SELECT 1;;'x'", "one statement"},
    {MY, "SELECT 1; /*! COMMIT */", "one statement"},
    {MY, "SELECT 1 # ;\n; DELETE FROM t", "one statement"},
    {MY, "SELECT '\\'; SELECT 2", "has no end"},
    {PG, "SELECT '\\'; SELECT 2", "one statement"},
    {PG, "SELECT $0", "$0"},
    {PG, "SELECT $65536", "$65536"},
    {LITE, "SELECT $32767", "$32767"},
    {PG, "SELECT $99999999999999999999", "$1 to"},
    {PG, "SELECT 'x", "has no end"},
    {PG, "SELECT $x$ a", "has no end"},
    {PG, "SELECT /* x", "has no end"},
    {PG, "SELECT '\xff'", "UTF-8"},
    {PG, "SELECT '\xed\xa0\x80'", "UTF-8"},
    {MY, "SELECT ?", "$1"},
    {LITE, "SELECT ?1", "$1"},
    {LITE, "SELECT :a", ":a"},
    {LITE, "SELECT :0", "':' outside quotes"},
    {LITE, "SELECT @a", "@"},
    {LITE, "SELECT $a", "$"},
    {PG, "SAVEPOINT xonce_guard", "library's own"},
    {PG, "savepoint \"xonce_item\"", "library's own"},
    {MY, "RELEASE SAVEPOINT `XONCE_guard`", "library's own"},
    {LITE, "RELEASE [xonce_guard]", "library's own"},
    {LITE, "RELEASE 'xonce_guard'", "library's own"},
    {PG, "ROLLBACK WORK TO SAVEPOINT xonce_guard", "library's own"},
    {PG, "ROLLBACK TO xonce_item", "library's own"},
    {PG, "SAVEPOINT U&\"\\0078once_guard\"", "plain name"},
    {PG, "SAVEPOINT", "plain name"},
    {PG, "ROLLBACK TO", "plain name"},
    {PG, "RELEASE a b", "plain name"},
    {PG, "SAVEPOINT $1", "plain name"},
};

START_TEST(refused_text)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        xo_sql *s = NULL;
        ck_assert_msg(xo_sql_make(&s, refused[i].dialect, refused[i].sql) == XONCE_E_INVALID, "%s was taken",
                      refused[i].sql);
        ck_assert_ptr_null(s);
        ck_assert_msg(strstr(xonce_error_last()->text, refused[i].word) != NULL, "%s: %s", refused[i].sql,
                      xonce_error_last()->text);
    }
    xo_sql *s = NULL;
    ck_assert_int_eq(xo_sql_make(&s, PG, NULL), XONCE_E_INVALID);
}
END_TEST

START_TEST(length_is_bounded)
{
    size_t n = 1024 * 1024 + 1;
    char *big = malloc(n + 1);
    ck_assert_ptr_nonnull(big);
    memset(big, '(', n);
    big[n] = '\0';
    xo_sql *s = NULL;
    ck_assert_int_eq(xo_sql_make(&s, PG, big), XONCE_E_INVALID);
    big[n - 1] = '\0'; /* a million parentheses, no recursion */
    ck_assert_int_eq(xo_sql_make(&s, PG, big), XONCE_OK);
    ck_assert_int_eq(s->kind, XO_STMT_OTHER);
    xo_sql_free(s);
    free(big);
}
END_TEST

static const struct {
    xo_dialect_kind dialect;
    const char *sql;
    xo_stmt_kind kind;
    int is_insert, returns_rows;
} kinds[] = {
    {PG, "select 1", XO_STMT_PLAIN, 0, 1},
    {PG, "-- x\n/* y */ ((SELECT 1) UNION SELECT 2)", XO_STMT_PLAIN, 0, 1},
    {PG, "WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", XO_STMT_PLAIN, 0, 1},
    {PG, "VALUES (1)", XO_STMT_PLAIN, 0, 1},
    {PG, "TABLE t", XO_STMT_PLAIN, 0, 1},
    {PG, "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", XO_STMT_PLAIN, 0, 0},
    {PG, "UPDATE t SET a = 1 RETURNING a", XO_STMT_PLAIN, 0, 1},
    {PG, "UPDATE t SET a = 'returning'", XO_STMT_PLAIN, 0, 0},
    {MY, "REPLACE INTO t VALUES (1)", XO_STMT_PLAIN, 0, 0},
    {PG, "INSERT INTO t VALUES ($1)", XO_STMT_PLAIN, 1, 0},
    {PG, "insert into s.\"t\" (a, b) values ($1, lower($2)) ;", XO_STMT_PLAIN, 1, 0},
    {PG, "INSERT INTO t VALUES ($1), ($2)", XO_STMT_PLAIN, 0, 0},
    {PG, "INSERT INTO t VALUES ($1) ON CONFLICT DO NOTHING", XO_STMT_PLAIN, 0, 0},
    {MY, "INSERT INTO t VALUES ($1) ON DUPLICATE KEY UPDATE a = 1", XO_STMT_PLAIN, 0, 0},
    {PG, "INSERT INTO t VALUES ($1) RETURNING a", XO_STMT_PLAIN, 0, 1},
    {MY, "INSERT IGNORE INTO t VALUES ($1)", XO_STMT_PLAIN, 0, 0},
    {LITE, "INSERT OR REPLACE INTO t VALUES ($1)", XO_STMT_PLAIN, 0, 0},
    {PG, "INSERT INTO t VALUES ((SELECT max(a) FROM t))", XO_STMT_PLAIN, 0, 0},
    {PG, "INSERT INTO t SELECT 1", XO_STMT_PLAIN, 0, 0},
    {MY, "INSERT INTO t SET a = 1", XO_STMT_PLAIN, 0, 0},
    {PG, "INSERT INTO t DEFAULT VALUES", XO_STMT_PLAIN, 0, 0},
    {MY, "INSERT INTO t VALUES ($1) AS n ON DUPLICATE KEY UPDATE a = n.a", XO_STMT_PLAIN, 0, 0},
    {PG, "BEGIN", XO_STMT_CONTROL, 0, 0},
    {PG, "/* x */ begin work", XO_STMT_CONTROL, 0, 0},
    {PG, "START TRANSACTION", XO_STMT_CONTROL, 0, 0},
    {PG, "COMMIT AND CHAIN", XO_STMT_CONTROL, 0, 0},
    {PG, "( COMMIT", XO_STMT_CONTROL, 0, 0},
    {PG, "END", XO_STMT_CONTROL, 0, 0},
    {PG, "ABORT", XO_STMT_CONTROL, 0, 0},
    {PG, "ROLLBACK", XO_STMT_CONTROL, 0, 0},
    {PG, "ROLLBACK WORK", XO_STMT_CONTROL, 0, 0},
    {PG, "ROLLBACK AND CHAIN", XO_STMT_CONTROL, 0, 0},
    {PG, "ROLLBACK PREPARED 'x'", XO_STMT_CONTROL, 0, 0},
    {PG, "PREPARE TRANSACTION 'x'", XO_STMT_CONTROL, 0, 0},
    {PG, "PREPARE x AS SELECT 1", XO_STMT_OTHER, 0, 0},
    {MY, "SET autocommit = 1", XO_STMT_CONTROL, 0, 0},
    {MY, "SET @@session.AutoCommit = 1", XO_STMT_CONTROL, 0, 0},
    {MY, "SET sql_mode = '', `autocommit` = 1", XO_STMT_CONTROL, 0, 0},
    {MY, "SET NAMES utf8mb4", XO_STMT_OTHER, 0, 0},
    {MY, "XA COMMIT 'x'", XO_STMT_CONTROL, 0, 0},
    {PG, "ROLLBACK TO a", XO_STMT_PLAIN, 0, 0},
    {PG, "ROLLBACK TRANSACTION TO SAVEPOINT a", XO_STMT_PLAIN, 0, 0},
    {PG, "rollback to savepoint \"a\";", XO_STMT_PLAIN, 0, 0},
    {PG, "SAVEPOINT savepoint", XO_STMT_PLAIN, 0, 0},
    {PG, "SAVEPOINT xonc", XO_STMT_PLAIN, 0, 0},
    {PG, "RELEASE SAVEPOINT a", XO_STMT_PLAIN, 0, 0},
    {PG, "RELEASE savepoint", XO_STMT_PLAIN, 0, 0},
    {PG, "CALL p()", XO_STMT_OTHER, 0, 1},
    {PG, "DO $$ BEGIN COMMIT; END $$", XO_STMT_OTHER, 0, 0},
    {PG, "CREATE TABLE t (a int)", XO_STMT_OTHER, 0, 0},
    {PG, "TRUNCATE t", XO_STMT_OTHER, 0, 0},
    {MY, "/*! COMMIT */", XO_STMT_OTHER, 0, 0},
    {MY, "/*!50000 BEGIN */ SELECT 1", XO_STMT_OTHER, 0, 1},
    {MY, "/*M! COMMIT */ SELECT 1", XO_STMT_OTHER, 0, 1},
    {MY, "INSERT INTO t VALUES (1) /*! ON DUPLICATE KEY UPDATE a = 1 */", XO_STMT_OTHER, 0, 0},
    {MY, "SELECT /*+ MAX_EXECUTION_TIME(1) */ 1", XO_STMT_PLAIN, 0, 1},
    {PG, "\"select\" 1", XO_STMT_OTHER, 0, 0},
    {LITE, "PRAGMA user_version", XO_STMT_OTHER, 0, 1},
    {LITE, "EXPLAIN SELECT 1", XO_STMT_OTHER, 0, 1},
};

START_TEST(statement_kinds)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        xo_sql *s = NULL;
        ck_assert_msg(xo_sql_make(&s, kinds[i].dialect, kinds[i].sql) == XONCE_OK, "%s: %s", kinds[i].sql,
                      xonce_error_last()->text);
        ck_assert_msg(s->kind == kinds[i].kind && s->is_insert == kinds[i].is_insert &&
                          s->returns_rows == kinds[i].returns_rows,
                      "%s: kind %d insert %d rows %d", kinds[i].sql, (int)s->kind, s->is_insert, s->returns_rows);
        xo_sql_free(s);
    }
}
END_TEST

START_TEST(implicit_commits)
{
    static const struct {
        xo_dialect_kind dialect;
        const char *text;
        int commits;
    } all[] = {
        {MY, "CREATE TABLE t (a int)", 1},
        {MY, "create or replace view v as select 1", 1},
        {MY, "/* x */ TRUNCATE t", 1},
        {MY, "DROP TABLE t", 1},
        {MY, "LOCK TABLES t WRITE", 1},
        {MY, "GRANT ALL ON t TO u", 1},
        {MY, "LOAD INDEX INTO CACHE t", 1},
        {MY, "CREATE TEMPORARY TABLE t (a int)", 0},
        {MY, "CREATE OR REPLACE TEMPORARY TABLE t (a int)", 0},
        {MY, "DROP TEMPORARY TABLE t", 0},
        {MY, "LOAD DATA INFILE 'f' INTO TABLE t", 0},
        {MY, "INSERT INTO t VALUES ('truncate')", 0},
        {MY, "CALL p()", 0},
        {PG, "CREATE TABLE t (a int)", 0},
        {LITE, "DROP TABLE t", 0},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        xo_sql *s = NULL;
        ck_assert_int_eq(xo_sql_make(&s, all[i].dialect, all[i].text), XONCE_OK);
        ck_assert_msg(s->commits == all[i].commits, "%s", all[i].text);
        xo_sql_free(s);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sqltext");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, spans);
    tcase_add_test(tc, zero_byte_is_refused);
    tcase_add_test(tc, random_text);
    tcase_add_test(tc, parameters);
    tcase_add_test(tc, refused_text);
    tcase_add_test(tc, length_is_bounded);
    tcase_add_test(tc, statement_kinds);
    tcase_add_test(tc, implicit_commits);
    suite_add_tcase(suite, tc);
    SRunner *sr = srunner_create(suite);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
