/* See postgres_help.h. */
#include "postgres_help.h"
#include "base/failpoint.h"

const char *uri;
const xo_dialect *d;
static PGconn *judge;

int postgres_there(void)
{
    uri = getenv("XONCE_TEST_POSTGRES_URI");
    d = xo_dialect_postgres();
    if (uri && d)
        return 1;
    printf("1..0 # SKIP %s\n", d ? "XONCE_TEST_POSTGRES_URI is not set" : "built without PostgreSQL");
    return 0;
}

int run_suite(Suite *s)
{
    SRunner *sr = srunner_create(s);
    int failed;
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? 1 : 0;
}

void sql(const char *text)
{
    PGresult *r = PQexec(judge, text);
    ExecStatusType st = PQresultStatus(r);
    ck_assert_msg(st == PGRES_COMMAND_OK || st == PGRES_TUPLES_OK, "%s: %s", text, PQerrorMessage(judge));
    PQclear(r);
}

int64_t number(const char *text)
{
    PGresult *r = PQexec(judge, text);
    int64_t n;
    ck_assert_msg(PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1, "%s: %s", text, PQerrorMessage(judge));
    n = strtoll(PQgetvalue(r, 0, 0), NULL, 10);
    PQclear(r);
    return n;
}

PGconn *raw(void)
{
    PGconn *pg = PQconnectdb(uri);
    ck_assert_msg(PQstatus(pg) == CONNECTION_OK, "%s", PQerrorMessage(pg));
    return pg;
}

static void drop_notice(void *arg, const PGresult *r)
{
    (void)arg;
    (void)r;
}

void fresh(void)
{
    const xo_schema_file *f;
    judge = raw();
    (void)PQsetNoticeReceiver(judge, drop_notice, NULL);
    sql("SET client_min_messages = error; SET synchronous_commit = local");
    sql("ALTER ROLE xonce RESET ALL; DROP SCHEMA IF EXISTS other CASCADE; DROP SCHEMA IF EXISTS early CASCADE; DROP "
        "SCHEMA public CASCADE;"
        "CREATE SCHEMA public; CREATE SCHEMA other");
    for (f = xo_schema_files; f->engine; f++)
        if (strcmp(f->engine, "postgresql") == 0)
            sql(f->text);
}

void tidy(void)
{
    sql("ALTER ROLE xonce RESET ALL; DROP SCHEMA IF EXISTS other CASCADE; DROP SCHEMA IF EXISTS early CASCADE; DROP "
        "SCHEMA public CASCADE; CREATE SCHEMA public");
    PQfinish(judge);
    judge = NULL;
    (void)xo_failpoints_load("");
}

xo_sql *make(const char *text)
{
    xo_sql *s = NULL;
    ok(xo_sql_make(&s, XO_DIALECT_PG, text));
    return s;
}

xonce_status try_open(xo_conn **c, const char *where, int64_t connect_ms)
{
    xo_open_options o = {.connect_ms = connect_ms, .lock_ms = 5000, .idle_ms = 60000};
    xonce_status st;
    (void)xo_uri_parse(&o.uri, where);
    o.uri_text = xo_strdup(where);
    st = d->open(c, &o);
    xo_uri_free(&o.uri);
    free(o.uri_text);
    return st;
}

static xo_conn *open_as(xo_open_options o, const char *where)
{
    xo_conn *c = NULL;
    ok(xo_uri_parse(&o.uri, where));
    o.uri_text = xo_strdup(where);
    ok(d->open(&c, &o));
    xo_uri_free(&o.uri);
    free(o.uri_text);
    return c;
}

xo_conn *open_conn_with(const char *where, int64_t lock_ms, int64_t idle_ms)
{
    return open_as((xo_open_options){.connect_ms = 10000, .lock_ms = lock_ms, .idle_ms = idle_ms}, where);
}

xo_conn *open_conn_set(const char *key, const char *value)
{
    xonce_config *cfg = NULL;
    ok(xonce_config_new(&cfg));
    ok(xonce_config_set(cfg, key, value));
    xo_conn *c = open_as((xo_open_options){.connect_ms = 10000, .lock_ms = 5000, .idle_ms = 60000, .cfg = cfg}, uri);
    xonce_config_free(cfg);
    return c;
}

xo_conn *open_conn(void)
{
    return open_conn_with(uri, 5000, 60000);
}

xonce_status exec_now(xo_conn *c, const char *text)
{
    xo_sql *s = make(text);
    xonce_status st = d->query(c, s, NULL, 0, NULL, NULL, NULL);
    xo_sql_free(s);
    return st;
}

void commit(xo_conn *c)
{
    size_t failed;
    ok(d->commit(c, NULL, 0, &failed));
}
