/* Help for tests of the MySQL dialect: a database of its own per test, connections of the dialect and raw ones. Included once by each test program. */
#ifndef XO_TEST_MY_H
#define XO_TEST_MY_H
#include "base/clock.h"
#include "base/config.h"
#include "base/failpoint.h"
#include "store/mysql/impl.h"
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char DIGEST[] = "0123456789ABCDEF0123456789ABCDEF";
static const char DB[] = "xonce_dialect";
static const char *const dialects[] = {"auto", "mysql"}; /* of the loop tests */
static const xo_dialect *d;
static xo_uri server;
static xonce_config *cfg;
static MYSQL *judge;

#define OUR_TABLE                                                                                                                             \
    "CREATE TABLE transaction_record (consumer_group VARCHAR(128) NOT NULL DEFAULT '', message_id VARBINARY(255) NOT NULL DEFAULT '', "       \
    "topic_name VARCHAR(255) NOT NULL DEFAULT '', ctime BIGINT NOT NULL, queue_id INT NOT NULL, `offset` BIGINT NOT NULL, "                   \
    "broker_name VARCHAR(255) NOT NULL DEFAULT '', id BIGINT NOT NULL AUTO_INCREMENT, store_time BIGINT NULL, log_offset BIGINT NULL, "       \
    "digest CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL, PRIMARY KEY (id), UNIQUE KEY message_id_unique_key (message_id)) "           \
    "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
#define VENDOR_TABLE(key)                                                                                                                     \
    "CREATE TABLE transaction_record (consumer_group VARCHAR(128) NOT NULL DEFAULT '', message_id " key " NOT NULL DEFAULT '', "              \
    "topic_name VARCHAR(255) NOT NULL DEFAULT '', ctime BIGINT(20) NOT NULL, queue_id INT(11) NOT NULL, `offset` BIGINT(20) NOT NULL, "       \
    "broker_name VARCHAR(255) NOT NULL DEFAULT '', id BIGINT(20) NOT NULL AUTO_INCREMENT, PRIMARY KEY (id), "                                 \
    "UNIQUE KEY message_id_unique_key (message_id), KEY ctime_key (ctime), KEY load_key (queue_id, broker_name, topic_name, ctime)) "         \
    "ENGINE=InnoDB DEFAULT CHARSET=utf8"

static inline MYSQL *raw_open(const char *db)
{
    MYSQL *my = mysql_init(NULL);
    ck_assert_ptr_nonnull(my);
    mysql_options(my, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    const char *socket_path = xo_uri_query(&server, "socket");
    ck_assert_msg(mysql_real_connect(my, socket_path ? NULL : server.host, server.user, server.password, db, (unsigned)server.port, socket_path, 0) != NULL, "%s",
                  mysql_error(my));
    ck_assert_int_eq(mysql_query(my, "SET NAMES utf8mb4"), 0);
    return my;
}

static inline void raw_on(MYSQL *my, const char *sql)
{
    ck_assert_msg(mysql_query(my, sql) == 0, "%s: %s", sql, mysql_error(my));
    MYSQL_RES *r = mysql_store_result(my);
    if (r)
        mysql_free_result(r);
}

static inline void raw(const char *sql)
{
    raw_on(judge, sql);
}

static inline char *text_of(const char *sql)
{
    ck_assert_msg(mysql_query(judge, sql) == 0, "%s: %s", sql, mysql_error(judge));
    MYSQL_RES *r = mysql_store_result(judge);
    ck_assert_ptr_nonnull(r);
    MYSQL_ROW row = mysql_fetch_row(r);
    char *s = xo_strdup(row && row[0] ? row[0] : "NULL");
    mysql_free_result(r);
    return s;
}

static inline long long number(const char *sql)
{
    char *s = text_of(sql);
    long long n = strtoll(s, NULL, 10);
    free(s);
    return n;
}

static inline void expect_text(const char *sql, const char *want)
{
    char *s = text_of(sql);
    ck_assert_msg(strcmp(s, want) == 0, "%s: %s, not %s", sql, s, want);
    free(s);
}

/* A test that failed may have left a transaction open, which would block the next one. */
static inline void kill_leftovers(void)
{
    char sql[160], *id;
    snprintf(sql, sizeof sql, "SELECT MAX(id) FROM information_schema.processlist WHERE db = '%s' AND id <> CONNECTION_ID()", DB);
    while (strcmp(id = text_of(sql), "NULL") != 0) {
        char kill[80];
        snprintf(kill, sizeof kill, "KILL CONNECTION %s", id);
        mysql_query(judge, kill);
        free(id);
        xo_pause_ms(5);
    }
    free(id);
}

static inline void set_up(void)
{
    const char *uri = getenv("XONCE_TEST_MYSQL_URI");
    d = xo_dialect_mysql();
    ck_assert_msg(xo_uri_parse(&server, uri) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
    judge = raw_open(NULL);
    kill_leftovers();
    char sql[120];
    snprintf(sql, sizeof sql, "DROP DATABASE IF EXISTS %s", DB);
    raw(sql);
    snprintf(sql, sizeof sql, "CREATE DATABASE %s CHARACTER SET utf8mb4", DB);
    raw(sql);
    ck_assert_int_eq(mysql_select_db(judge, DB), 0);
    raw(OUR_TABLE);
    raw("CREATE TABLE t (a INT PRIMARY KEY, b VARCHAR(40), c DECIMAL(30,4)) ENGINE=InnoDB");
}

static inline void tear_down(void)
{
    char sql[120];
    xo_failpoints_load("");
    kill_leftovers();
    snprintf(sql, sizeof sql, "DROP DATABASE IF EXISTS %s", DB);
    raw(sql);
    mysql_close(judge);
    xonce_config_free(cfg);
    xo_uri_free(&server);
}

static inline void use_dialect(const char *name)
{
    ck_assert_msg(xonce_config_set(cfg, "mysql.dialect", name) == XONCE_OK, "%s", xonce_error_last()->text);
}

/* Options as the pool makes them, for our database; free them with xo_uri_free(&o.uri). query: "" or "&x=y". */
static inline xo_open_options options_for(const char *db, const char *user, const char *password, const char *query, int64_t lock_ms)
{
    char uri[600];
    const char *path = xo_uri_query(&server, "socket");
    if (path)
        snprintf(uri, sizeof uri, "mysql://%s%s%s@localhost/%s?socket=%s%s", user, *password ? ":" : "", password, db, path, query);
    else
        snprintf(uri, sizeof uri, "mysql://%s%s%s@%s:%d/%s?mode=rw%s", user, *password ? ":" : "", password, server.host, server.port, db, query);
    xo_open_options o = {.cfg = cfg, .lock_ms = lock_ms, .connect_ms = 2000, .idle_ms = 30000};
    ck_assert_msg(xo_uri_parse(&o.uri, uri) == XONCE_OK, "%s", xonce_error_last()->text);
    return o;
}

static inline xonce_status try_open(xo_conn **c, const char *db, const char *user, const char *password, const char *query)
{
    xo_open_options o = options_for(db, user, password, query, 1000);
    xonce_status st = d->open(c, &o);
    xo_uri_free(&o.uri);
    return st;
}

static inline xo_conn *open_db(int64_t lock_ms)
{
    xo_conn *c = NULL;
    xo_open_options o = options_for(DB, server.user ? server.user : "root", server.password ? server.password : "", "", lock_ms);
    ck_assert_msg(d->open(&c, &o) == XONCE_OK, "%s", xonce_error_last()->text);
    xo_uri_free(&o.uri);
    return c;
}

static inline xonce_status wrap(xo_conn **c, MYSQL *my)
{
    xo_open_options o = options_for(DB, "nobody", "", "", 1000);
    xonce_status st = d->wrap(c, my, &o);
    xo_uri_free(&o.uri);
    return st;
}

static inline xo_claim row(const char *key)
{
    return (xo_claim){.key = key, .topic = "orders", .broker = "b", .digest = DIGEST, .queue = 3, .offset = 7, .store_time = 5, .log_offset = -1};
}

/* 1 fresh, 0 refused and found, -1 refused and no row; the test fails on an error. */
static inline int claim(xo_conn *c, const char *group, const char *key)
{
    xo_claim r = row(key);
    ck_assert_msg(d->claim(c, group, &r, 1, NULL) == XONCE_OK, "%s", xonce_error_last()->text);
    if (r.fresh)
        return 1;
    ck_assert_msg(d->read_back(c, group, &r, 1) == XONCE_OK, "%s", xonce_error_last()->text);
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

static inline void committed(xo_conn *c)
{
    ck_assert_msg(commit(c) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_eq(c->in_tx, 0);
}

static inline xo_sql *make_sql(const char *text)
{
    xo_sql *s = NULL;
    ck_assert_msg(xo_sql_make(&s, XO_DIALECT_MYSQL, text) == XONCE_OK, "%s: %s", text, xonce_error_last()->text);
    return s;
}

static inline xonce_status run_values(xo_conn *c, const char *sql, const xonce_value *v, size_t n)
{
    xo_sql *s = make_sql(sql);
    size_t failed = 99;
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

static inline void ran(xo_conn *c, const char *sql)
{
    ck_assert_msg(run(c, sql) == XONCE_OK, "%s: %s", sql, xonce_error_last()->text);
}

static inline void expect_class(xonce_status got, xonce_status code, xo_sql_class cls, const char *word)
{
    ck_assert_msg(got == code && xo_error_class() == cls, "status %d class %d: %s", (int)got, (int)xo_error_class(), xonce_error_last()->text);
    ck_assert_msg(strstr(xonce_error_last()->text, word) != NULL, "%s", xonce_error_last()->text);
}

static inline unsigned long connection_id(xo_conn *c)
{
    return mysql_thread_id(((xo_my *)c)->my);
}

/* Cuts a connection from the server's side, and waits until the server is through with it. */
static inline void kill_connection(xo_conn *c)
{
    char sql[160];
    snprintf(sql, sizeof sql, "KILL CONNECTION %lu", connection_id(c));
    raw(sql);
    snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM information_schema.processlist WHERE id = %lu", connection_id(c));
    for (int i = 0; i < 6000 && number(sql) != 0; i++)
        xo_pause_ms(10);
}

/* Waits until some connection waits for a lock. */
static inline void wait_for_lock_wait(void)
{
    for (int i = 0; i < 500; i++) {
        xo_pause_ms(120); /* the server keeps its answer for 100 ms after it was last asked */
        if (number("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'") > 0)
            return;
    }
    ck_abort_msg("nobody waits for a lock");
}

typedef struct {
    const TTest *test;
    int each_dialect;
} test_entry;

static inline int run_suite(const char *name, const test_entry *tests, size_t n)
{
    if (!getenv("XONCE_TEST_MYSQL_URI")) {
        printf("1..0 # SKIP XONCE_TEST_MYSQL_URI is not set: no mariadb-server (Debian package mariadb-server)\n");
        return 0;
    }
    Suite *suite = suite_create(name);
    TCase *tc = tcase_create("all");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    for (size_t i = 0; i < n; i++) {
        if (tests[i].each_dialect)
            tcase_add_loop_test(tc, tests[i].test, 0, 2);
        else
            tcase_add_test(tc, tests[i].test);
    }
    suite_add_tcase(suite, tc);
    SRunner *sr = srunner_create(suite);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
#endif
