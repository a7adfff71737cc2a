/* Runs the store conformance suite over one engine, the one that is linked in. */
#include "suite.h"
#include "base/buf.h"
#include "store/partition.h"
#include "xonce/mysql.h"
#include "xonce/postgres.h"
#include "xonce/sqlite.h"

#include <stdio.h>

engine on;
const char *store_uri;
int partitioned;
static char sqlite_file[128], sqlite_uri[160];
static xonce_store *judge;

xonce_store *open_store_with(const char *group, const char *key, const char *value)
{
    xonce_config *cfg = NULL;
    xonce_store *s = NULL;
    ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(cfg, "store.connections", "16"), XONCE_OK);
    const char *dialect = getenv("XONCE_TEST_MYSQL_DIALECT");
    if (on == ON_MYSQL && dialect)
        ck_assert_int_eq(xonce_config_set(cfg, "mysql.dialect", dialect), XONCE_OK);
    if (key)
        ck_assert_msg(xonce_config_set(cfg, key, value) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_msg(xonce_store_open(&s, store_uri, group, cfg) == XONCE_OK, "open: %s", xonce_error_last()->text);
    xonce_config_free(cfg);
    return s;
}

xonce_store *open_store(const char *group)
{
    return open_store_with(group, NULL, NULL);
}

void sql(const char *text)
{
    ck_assert_msg(xo_store_query(judge, text, NULL, 0, NULL, NULL, NULL) == XONCE_OK, "%s: %s", text, xonce_error_last()->text);
}

static int on_int(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = xonce_row_int(r, 0);
    return 0;
}

int64_t sql_int(const char *text)
{
    int64_t v = -1;
    ck_assert_msg(xo_store_query(judge, text, NULL, 0, on_int, &v, NULL) == XONCE_OK, "%s: %s", text, xonce_error_last()->text);
    return v;
}

static int on_text(const xonce_row *r, void *arg)
{
    *(char **)arg = xo_strdup(xonce_row_text(r, 0));
    return 1;
}

char *sql_text(const char *text)
{
    char *v = NULL;
    ck_assert_msg(xo_store_query(judge, text, NULL, 0, on_text, &v, NULL) == XONCE_OK, "%s: %s", text, xonce_error_last()->text);
    return v ? v : xo_strdup("");
}

void fresh_database(void)
{
    if (judge)
        xonce_store_close(judge);
    if (on == ON_SQLITE) {
        char extra[160];
        snprintf(extra, sizeof extra, "%s-wal", sqlite_file);
        unlink(sqlite_file);
        unlink(extra);
        snprintf(extra, sizeof extra, "%s-shm", sqlite_file);
        unlink(extra);
    }
    judge = open_store("GID_judge");
    sql("DROP TABLE IF EXISTS orders");
    sql("DROP TABLE IF EXISTS parents");
    sql("DROP TABLE IF EXISTS transaction_record");
    sql("DROP TABLE IF EXISTS xonce_rejected");
    sql("DROP TABLE IF EXISTS xonce_watermark");
    sql("DROP TABLE IF EXISTS xonce_settled");
    sql("DROP TABLE IF EXISTS xonce_store");
    sql("DROP TABLE IF EXISTS xonce_released");
    ck_assert_msg((partitioned ? xo_store_init_partitioned : xonce_store_upgrade)(judge) == XONCE_OK, "upgrade: %s", xonce_error_last()->text);
    sql("CREATE TABLE orders (id varchar(200) NOT NULL, body varchar(2000), seq integer)");
}

/* In a partitioned table messages have a store time, the same for all deliveries of one. */
xonce_message *message(const char *id, const char *body)
{
    static int64_t now;
    if (!now)
        now = xo_now_ms();
    xonce_message *m = NULL;
    ck_assert_msg(xonce_message_new(&m, "orders", id, body, strlen(body)) == XONCE_OK, "%s", xonce_error_last()->text);
    if (partitioned)
        m->store_time = now;
    return m;
}

xonce_verdict book(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    xonce_status st = xonce_exec(tx, "INSERT INTO orders (id, body) VALUES ($1, $2)", xonce_text(xonce_message_id(m)), xonce_body(m));
    return st == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

int wait_until(int (*ready)(void *arg), void *arg, int64_t ms)
{
    int64_t deadline = xo_mono_ms() + ms;
    while (!ready(arg)) {
        if (xo_mono_ms() > deadline)
            return 0;
        xo_pause_ms(5);
    }
    return 1;
}

int64_t orders(void)
{
    return sql_int("SELECT COUNT(*) FROM orders");
}

int64_t records(void)
{
    return sql_int("SELECT COUNT(*) FROM transaction_record");
}

int64_t rejected(void)
{
    return sql_int("SELECT COUNT(*) FROM xonce_rejected");
}

xonce_outcome once(xonce_store *s, const char *id, const char *body)
{
    xonce_message *m = message(id, body);
    xonce_outcome what;
    ck_assert_msg(xonce_once(s, m, book, NULL, &what) == XONCE_OK, "%s", xonce_error_last()->text);
    xonce_message_free(m);
    return what;
}

void end_transaction_natively(xonce_tx *tx, const char *text)
{
    if (on == ON_POSTGRES) {
        PGconn *c = xonce_tx_postgres(tx);
        ck_assert_ptr_nonnull(c);
        PQclear(PQexec(c, text));
    } else if (on == ON_MYSQL) {
        MYSQL *c = xonce_tx_mysql(tx);
        ck_assert_ptr_nonnull(c);
        char *copy = xo_strdup(text), *rest = NULL;
        for (char *one = strtok_r(copy, ";", &rest); one; one = strtok_r(NULL, ";", &rest))
            ck_assert_msg(mysql_query(c, one) == 0, "%s", mysql_error(c));
        free(copy);
    } else {
        sqlite3 *c = xonce_tx_sqlite(tx);
        ck_assert_ptr_nonnull(c);
        sqlite3_exec(c, text, NULL, NULL, NULL);
    }
}

void run_native(void *native, const char *text)
{
    if (on == ON_POSTGRES) {
        PGresult *r = PQexec(native, text);
        ck_assert_msg(PQresultStatus(r) == PGRES_COMMAND_OK, "%s: %s", text, PQerrorMessage(native));
        PQclear(r);
    } else if (on == ON_MYSQL) {
        ck_assert_msg(mysql_query(native, text) == 0, "%s: %s", text, mysql_error(native));
    } else {
        ck_assert_msg(sqlite3_exec(native, text, NULL, NULL, NULL) == SQLITE_OK, "%s: %s", text, sqlite3_errmsg(native));
    }
}

void *connect_native(void)
{
    if (on == ON_POSTGRES) {
        PGconn *c = PQconnectdb(store_uri);
        ck_assert_int_eq(PQstatus(c), CONNECTION_OK);
        return c;
    }
    if (on == ON_MYSQL) {
        xo_uri u;
        ck_assert_int_eq(xo_uri_parse(&u, store_uri), XONCE_OK);
        MYSQL *c = mysql_init(NULL);
        const char *db = u.path && *u.path == '/' ? u.path + 1 : u.path;
        ck_assert_msg(mysql_real_connect(c, *u.host ? u.host : NULL, u.user, u.password, db, (unsigned)u.port, xo_uri_query(&u, "socket"), 0) != NULL, "%s", mysql_error(c));
        xo_uri_free(&u);
        return c;
    }
    sqlite3 *c = NULL;
    ck_assert_int_eq(sqlite3_open(store_uri + strlen("sqlite:"), &c), SQLITE_OK);
    return c;
}

void disconnect_native(void *c)
{
    if (on == ON_POSTGRES)
        PQfinish(c);
    else if (on == ON_MYSQL)
        mysql_close(c);
    else
        sqlite3_close(c);
}

static int skip(const char *what, const char *package)
{
    printf("1..0 # SKIP %s is not set: no %s (Debian package %s)\n", what, package, package);
    return 0;
}

int main(void)
{
    const char *which = suite_engine;
    partitioned = strstr(which, "partitioned") != NULL;
    if (strncmp(which, "postgres", 8) == 0) {
        on = ON_POSTGRES;
        store_uri = getenv("XONCE_TEST_POSTGRES_URI");
        if (!store_uri)
            return skip("XONCE_TEST_POSTGRES_URI", "postgresql");
    } else if (strncmp(which, "mysql", 5) == 0) {
        on = ON_MYSQL;
        store_uri = getenv("XONCE_TEST_MYSQL_URI");
        if (!store_uri)
            return skip("XONCE_TEST_MYSQL_URI", "mariadb-server");
        if (strncmp(which, "mysql-plain", 11) == 0)
            setenv("XONCE_TEST_MYSQL_DIALECT", "mysql", 1);
    } else {
        const char *tmp = getenv("TMPDIR");
        snprintf(sqlite_file, sizeof sqlite_file, "%s/xonce-suite-%ld.db", tmp && *tmp ? tmp : "/tmp", (long)getpid());
        snprintf(sqlite_uri, sizeof sqlite_uri, "sqlite:%s", sqlite_file);
        store_uri = sqlite_uri;
    }
    SRunner *sr = srunner_create(suite_claims());
    srunner_add_suite(sr, suite_batches());
    srunner_add_suite(sr, suite_concurrency());
    srunner_add_suite(sr, suite_escapes());
    srunner_add_suite(sr, suite_rejects());
    srunner_add_suite(sr, suite_refusals());
    srunner_add_suite(sr, suite_breakers());
    srunner_add_suite(sr, suite_corners());
    srunner_add_suite(sr, suite_sources());
    srunner_add_suite(sr, suite_positions());
    srunner_add_suite(sr, suite_ranges());
    if (!partitioned) /* it takes messages of several days for one */
        srunner_add_suite(sr, suite_offset());
    srunner_add_suite(sr, suite_ahead());
    srunner_add_suite(sr, suite_takeout());
    srunner_set_fork_status(sr, CK_NOFORK); /* threads, client libraries and sanitizers do not like fork */
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    xonce_store_close(judge);
    if (on == ON_SQLITE)
        unlink(sqlite_file);
    return failed ? 1 : 0;
}
