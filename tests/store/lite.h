/* Help for tests of the SQLite dialect: a folder per test, connections of the dialect and raw ones. Included once by
 * each test program. */
#ifndef XO_TEST_LITE_H
#define XO_TEST_LITE_H
#include "base/clock.h"
#include "base/failpoint.h"
#include "store/dialect.h"
#include <check.h>
#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char DIGEST[] = "0123456789ABCDEF0123456789ABCDEF";
static char dir[256];
static const xo_dialect *d;

static inline void path_of(char *out, size_t size, const char *name)
{
    snprintf(out, size, "%s/%s", dir, name);
}

static inline void set_up(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/xonce-lite-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    d = xo_dialect_sqlite();
}

static inline void tear_down(void)
{
    DIR *list = opendir(dir);
    char path[600];
    for (struct dirent *e; list && (e = readdir(list)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        unlink(path);
    }
    if (list)
        closedir(list);
    rmdir(dir);
    xo_failpoints_load("");
}

static inline xonce_status open_uri(xo_conn **c, const char *uri, int64_t lock_ms)
{
    xo_open_options o = {.lock_ms = lock_ms, .connect_ms = 1000, .idle_ms = 1000};
    xonce_status st = xo_uri_parse(&o.uri, uri);
    ck_assert_msg(st == XONCE_OK, "%s: %s", uri, xonce_error_last()->text);
    st = d->open(c, &o);
    xo_uri_free(&o.uri);
    return st;
}

static inline xo_conn *open_db(int64_t lock_ms)
{
    char uri[400];
    xo_conn *c = NULL;
    snprintf(uri, sizeof uri, "sqlite:%s/a.db", dir);
    ck_assert_msg(open_uri(&c, uri, lock_ms) == XONCE_OK, "%s", xonce_error_last()->text);
    return c;
}

static inline sqlite3 *raw_open(const char *name)
{
    char path[400];
    sqlite3 *db = NULL;
    path_of(path, sizeof path, name);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 2000);
    return db;
}

static inline void raw(const char *sql)
{
    sqlite3 *db = raw_open("a.db");
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static inline int64_t number(const char *sql)
{
    sqlite3 *db = raw_open("a.db");
    sqlite3_stmt *s = NULL;
    ck_assert_msg(sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
    ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return n;
}

#define OUR_TABLE                                                                                                      \
    "CREATE TABLE transaction_record (consumer_group TEXT NOT NULL, message_id TEXT NOT NULL, topic_name TEXT NOT "    \
    "NULL, "                                                                                                           \
    "ctime BIGINT NOT NULL, queue_id INT NOT NULL, \"offset\" BIGINT NOT NULL, broker_name TEXT NOT NULL, id INTEGER " \
    "PRIMARY KEY, "                                                                                                    \
    "store_time BIGINT, log_offset BIGINT, digest CHAR(32), CONSTRAINT message_id_unique_key UNIQUE (message_id));"    \
    "CREATE TABLE t (a);"

static inline xo_claim row(const char *key)
{
    return (xo_claim){.key = key,
                      .topic = "orders",
                      .broker = "b",
                      .digest = DIGEST,
                      .queue = 3,
                      .offset = 7,
                      .store_time = 5,
                      .log_offset = -1};
}

/* 1 fresh, 0 refused and found, -1 refused and no row; the test fails on an error. */
static inline int claim(xo_conn *c, const char *group, const char *key)
{
    xo_claim r = row(key);
    ck_assert_msg(d->claim(c, group, &r, 1, NULL) == XONCE_OK, "%s", xonce_error_last()->text);
    if (r.fresh)
        return 1;
    ck_assert_int_eq(d->read_back(c, group, &r, 1), XONCE_OK);
    return r.found ? 0 : -1;
}

static inline void begin(xo_conn *c)
{
    ck_assert_msg(d->begin(c) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_eq(c->in_tx, 1);
}

static inline xonce_status commit(xo_conn *c)
{
    size_t failed = 0;
    return d->commit(c, NULL, 0, &failed);
}

static inline xonce_status run_values(xo_conn *c, const char *sql, const xonce_value *v, size_t n)
{
    xo_sql *s = NULL;
    size_t failed = 99;
    ck_assert_msg(xo_sql_make(&s, XO_DIALECT_SQLITE, sql) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_uint_eq(s->nparams, n);
    xo_stmt st = {.sql = s, .v = v};
    xonce_status rc = d->run(c, &st, 1, &failed);
    ck_assert_uint_eq(failed, rc == XONCE_OK);
    xo_sql_free(s);
    return rc;
}

static inline xonce_status run(xo_conn *c, const char *sql)
{
    return run_values(c, sql, NULL, 0);
}

static inline void expect_class(xonce_status got, xonce_status code, xo_sql_class cls, const char *word)
{
    ck_assert_msg(got == code && xo_error_class() == cls, "status %d class %d: %s", (int)got, (int)xo_error_class(),
                  xonce_error_last()->text);
    ck_assert_msg(strstr(xonce_error_last()->text, word) != NULL, "%s", xonce_error_last()->text);
}

static inline int run_suite(const char *name, const TTest *const *tests, size_t n)
{
    Suite *suite = suite_create(name);
    TCase *tc = tcase_create("all");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    for (size_t i = 0; i < n; i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(suite, tc);
    SRunner *sr = srunner_create(suite);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
#endif
