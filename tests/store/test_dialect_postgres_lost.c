/* The PostgreSQL dialect when connections break, and on connections of the user's: lost before, during and after
 * COMMIT, joined transactions, opening, pruning, check. */
#include "postgres_help.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static const char DIGEST[] = "0123456789ABCDEF0123456789ABCDEF";

static xonce_status claim_one(xo_conn *c, const char *key, int *fresh, int *found)
{
    xo_claim r = {.key = key,
                  .topic = "orders",
                  .broker = "b-0",
                  .digest = DIGEST,
                  .queue = 3,
                  .offset = 7,
                  .store_time = -1,
                  .log_offset = 5};
    xonce_status st = d->claim(c, "G", &r, 1, NULL);
    *fresh = r.fresh;
    if (st == XONCE_OK && found) {
        st = d->read_back(c, "G", &r, 1);
        *found = r.found;
    }
    return st;
}

static int backend(xo_conn *c)
{
    return PQbackendPID(d->native(c));
}

/* Ends or cancels a backend when it runs a statement like `what`. */
typedef struct {
    int pid;
    const char *function, *what;
} interruption;
static void *interrupt(void *arg)
{
    interruption *i = arg;
    PGconn *pg = raw();
    char sql_text[300];
    int64_t deadline = xo_mono_ms() + 60000;
    int done = 0;
    (void)snprintf(sql_text, sizeof(sql_text),
                   "SELECT %s(pid) FROM pg_stat_activity WHERE pid = %d AND state = 'active' AND (query LIKE '%s' OR "
                   "wait_event LIKE '%s')",
                   i->function, i->pid, i->what, i->what);
    while (!done && xo_mono_ms() < deadline) {
        PGresult *r = PQexec(pg, sql_text);
        done = PQntuples(r) == 1;
        PQclear(r);
        if (!done)
            xo_pause_ms(5);
    }
    PQfinish(pg);
    return NULL;
}

static pthread_t interrupt_later(interruption *i)
{
    pthread_t t;
    ck_assert_int_eq(pthread_create(&t, NULL, interrupt, i), 0);
    return t;
}

/* ---- lost connections ---- */

START_TEST(a_connection_ended_between_statements)
{
    xo_conn *a = open_conn();
    xo_sql *ins = make("INSERT INTO t VALUES (1)");
    xo_stmt s = {ins, NULL, 0, 0};
    char text[100];
    size_t failed;
    int fresh, i;
    sql("CREATE TABLE t (a int)");
    for (i = 0; i < 2; i++) {
        ok(d->begin(a));
        ok(claim_one(a, "k#G", &fresh, NULL));
        ck_assert(fresh);
        (void)snprintf(text, sizeof(text), "SELECT pg_terminate_backend(%d, 10000)", backend(a));
        sql(text);
        if (i == 0) {
            fails(d->run(a, &s, 1, &failed), XONCE_E_CONNECT, XO_SQL_LOST);
            ck_assert(xonce_error_last()->again);
        } else { /* what the server said shows that it read no COMMIT */
            fails(d->commit(a, &s, 1, &failed), XONCE_E_CONNECT, XO_SQL_LOST);
        }
        ck_assert(a->lost && !d->usable(a));
        fails(d->commit(a, NULL, 0, &failed), XONCE_E_CONNECT, XO_SQL_LOST);
        d->rollback(a);
        d->close(a);
        ck_assert_int_eq(number("SELECT count(*) FROM t"), 0);
        a = open_conn();
    }
    /* an idle one is noticed without a round trip */
    ck_assert(d->usable(a));
    (void)snprintf(text, sizeof(text), "SELECT pg_terminate_backend(%d, 10000)", backend(a));
    sql(text);
    ck_assert(!d->usable(a));
    xo_sql_free(ins);
    d->close(a);
}
END_TEST

START_TEST(a_connection_ended_in_a_statement)
{
    xo_conn *a = open_conn();
    xo_sql *first = make("SELECT 1"), *slow = make("SELECT pg_sleep(20)");
    xo_stmt s[2] = {{first, NULL, 0, 0}, {slow, NULL, 1, 0}};
    interruption i = {backend(a), "pg_terminate_backend", "%pg_sleep%"};
    pthread_t t = interrupt_later(&i);
    size_t failed;
    ok(d->begin(a));
    fails(d->commit(a, s, 2, &failed), XONCE_E_CONNECT,
          XO_SQL_LOST); /* COMMIT was sent, but the server says that it never got there */
    pthread_join(t, NULL);
    d->close(a);
    a = open_conn();
    i = (interruption){backend(a), "pg_cancel_backend", "%pg_sleep%"};
    t = interrupt_later(&i);
    ok(d->begin(a));
    fails(d->commit(a, s, 2, &failed), XONCE_E_CONFLICT, XO_SQL_AGAIN);
    ck_assert_uint_eq(failed, 1);
    pthread_join(t, NULL);
    d->rollback(a);
    ck_assert(d->usable(a));
    xo_sql_free(first);
    xo_sql_free(slow);
    d->close(a);
}
END_TEST

START_TEST(a_commit_without_an_answer_is_unknown)
{
    xo_conn *a = open_conn();
    xo_sql *ins = make("INSERT INTO t VALUES (1)");
    xo_stmt s = {ins, NULL, 0, 0};
    interruption i = {0, "pg_terminate_backend", "PgSleep"};
    pthread_t t;
    size_t failed;
    int fresh, found;
    sql("CREATE TABLE t (a int)");
    /* cut after COMMIT was sent: it may or may not have happened, and the key tells */
    ok(d->begin(a));
    ok(claim_one(a, "k#G", &fresh, NULL));
    ok(xo_failpoints_load("commit-sent=error"));
    fails(d->commit(a, &s, 1, &failed), XONCE_E_UNKNOWN_COMMIT, XO_SQL_LOST);
    ok(xo_failpoints_load(""));
    ck_assert(a->lost);
    d->rollback(a);
    d->close(a);
    a = open_conn();
    ok(d->begin(a));
    ok(claim_one(a, "k#G", &fresh, &found));
    ck_assert(fresh != found);
    d->rollback(a);
    ck_assert_int_eq(number("SELECT count(*) FROM t"), fresh ? 0 : 1);
    /* ended inside of COMMIT, in a deferred trigger */
    sql("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(20); RETURN NULL; END';"
        "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION "
        "slow()");
    i.pid = backend(a);
    t = interrupt_later(&i);
    ok(d->begin(a));
    fails(d->commit(a, &s, 1, &failed), XONCE_E_UNKNOWN_COMMIT, XO_SQL_LOST);
    pthread_join(t, NULL);
    xo_sql_free(ins);
    d->close(a);
}
END_TEST

START_TEST(a_cancelled_wait_for_the_standby_is_unknown)
{
    xo_conn *a = open_conn();
    xo_sql *ins = make("INSERT INTO t VALUES (1)");
    xo_stmt s = {ins, NULL, 0, 0};
    interruption i = {backend(a), "pg_cancel_backend", "SyncRep"};
    pthread_t t;
    xonce_status st;
    size_t failed;
    int64_t deadline = xo_mono_ms() + 60000;
    sql("CREATE TABLE t (a int)");
    sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    sql("SELECT pg_reload_conf()");
    t = interrupt_later(&i);
    do { /* the setting takes a moment to come through */
        ok(d->begin(a));
        st = d->commit(a, &s, 1, &failed);
    } while (st == XONCE_OK && xo_mono_ms() < deadline);
    pthread_join(t, NULL);
    sql("ALTER SYSTEM RESET synchronous_standby_names");
    sql("SELECT pg_reload_conf()");
    ck_assert_msg(st == XONCE_E_UNKNOWN_COMMIT && a->lost && strstr(xonce_error_last()->text, "standby was cancelled"),
                  "%s", xonce_error_last()->text);
    xo_sql_free(ins);
    d->close(a);
}
END_TEST

START_TEST(a_stopped_holder_loses_its_transaction)
{
    xo_conn *a = open_conn_with(uri, 5000, 300), *b = open_conn();
    int fresh;
    size_t failed;
    ok(d->begin(a));
    ok(claim_one(a, "k#G", &fresh, NULL));
    ok(d->begin(b));
    ok(claim_one(b, "k#G", &fresh, NULL)); /* waits until the server ends the idle one */
    ck_assert(fresh);
    fails(d->commit(a, NULL, 0, &failed), XONCE_E_CONNECT, XO_SQL_LOST);
    d->rollback(b);
    d->close(a);
    d->close(b);
}
END_TEST

/* ---- joined ---- */

START_TEST(a_users_transaction_is_joined)
{
    xo_open_options o = {.lock_ms = 1234, .idle_ms = 60000, .connect_ms = 10000};
    PGconn *pg = raw();
    xo_conn *c = NULL;
    PGresult *r;
    int fresh, found, piped;
    fails(d->wrap(&c, pg, &o), XONCE_E_INVALID, XO_SQL_NONE);
    ck_assert_ptr_null(c);
    for (piped = 0; piped < 2; piped++) {
        char key[8];
        (void)snprintf(key, sizeof(key), "k%d#G", piped);
        PQclear(PQexec(pg, "BEGIN"));
        PQclear(PQexec(pg, "SET LOCAL synchronous_commit = off"));
        if (piped)
            ck_assert(PQenterPipelineMode(pg) && PQsetnonblocking(pg, 1) == 0);
        ok(d->wrap(&c, pg, &o));
        ck_assert(c->joined && c->in_tx);
        ok(claim_one(c, key, &fresh, &found));
        ck_assert(fresh);
        ok(exec_now(c, "SELECT 1"));
        ck_assert_int_eq(PQpipelineStatus(pg), piped ? PQ_PIPELINE_ON : PQ_PIPELINE_OFF);
        ck_assert_int_eq(PQisnonblocking(pg), piped);
        d->rollback(c); /* lets go only */
        d->close(c);
        if (piped)
            ck_assert(PQexitPipelineMode(pg) && PQsetnonblocking(pg, 0) == 0);
        r = PQexec(pg, "SELECT current_setting('lock_timeout') || current_setting('synchronous_commit') || (SELECT "
                       "count(*) FROM pg_prepared_statements)");
        ck_assert_str_eq(PQgetvalue(r, 0, 0), "0on0");
        PQclear(r);
        PQclear(PQexec(pg, piped ? "ROLLBACK" : "COMMIT"));
    }
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), 1);
    /* a duplicate that a snapshot cannot see */
    PQclear(PQexec(pg, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM transaction_record"));
    sql("INSERT INTO transaction_record (consumer_group, message_id, ctime, queue_id, \"offset\") VALUES ('G', 'k9#G', "
        "1, 1, 1)");
    ok(d->wrap(&c, pg, &o));
    fails(claim_one(c, "k9#G", &fresh, NULL), XONCE_E_CONFLICT, XO_SQL_AGAIN);
    d->close(c);
    fails(d->wrap(&c, pg, &o), XONCE_E_INVALID, XO_SQL_NONE); /* a failed transaction */
    PQclear(PQexec(pg, "ROLLBACK; SET client_encoding TO latin1; BEGIN"));
    fails(d->wrap(&c, pg, &o), XONCE_E_INVALID, XO_SQL_NONE);
    PQfinish(pg);
}
END_TEST

START_TEST(a_user_who_ends_it_meanwhile_is_told)
{
    xo_open_options o = {.lock_ms = 1234, .idle_ms = 60000, .connect_ms = 10000};
    PGconn *pg = raw();
    xo_conn *c = NULL;
    int fresh;
    PQclear(PQexec(pg, "BEGIN"));
    ok(d->wrap(&c, pg, &o));
    ok(claim_one(c, "k#G", &fresh, NULL));
    ck_assert_ptr_eq(d->native(c), pg);
    ok(d->after_lent(c));
    PQclear(PQexec(pg, "COMMIT"));
    fails(d->after_lent(c), XONCE_E_TX_LOST, XO_SQL_OTHER);
    fails(claim_one(c, "k2#G", &fresh, NULL), XONCE_E_TX_LOST, XO_SQL_OTHER);
    d->close(c);
    PQfinish(pg);
}
END_TEST

/* ---- opening ---- */

static void refused(const char *where, xonce_status status, const char *shown)
{
    xo_conn *c = NULL;
    int64_t t = xo_mono_ms();
    xonce_status st = try_open(&c, where, 3000);
    ck_assert_msg(st == status && !c, "%s: %s: %s", where, xonce_status_name(st), xonce_error_last()->text);
    ck_assert_msg(!strstr(xonce_error_last()->text, "s3cret"), "%s", xonce_error_last()->text);
    ck_assert_msg(strstr(xonce_error_last()->text, shown) != NULL, "%s lacks %s", xonce_error_last()->text, shown);
    ck_assert(xo_mono_ms() - t < 30000);
}

START_TEST(wrong_uris_are_told_without_the_password)
{
    char port[16], where[300];
    const char *at = strchr(uri, '@');
    ck_assert_ptr_nonnull(at);
    (void)snprintf(port, sizeof(port), "%.*s", (int)strcspn(strrchr(uri, ':') + 1, "/"), strrchr(uri, ':') + 1);
    (void)snprintf(where, sizeof(where), "postgresql://xonce:s3cret%s", at);
    refused(where, XONCE_E_AUTH, "authentication failed");
    (void)snprintf(where, sizeof(where), "postgresql://nobody_here:s3cret%s", at);
    refused(where, XONCE_E_AUTH, "nobody_here");
    (void)snprintf(where, sizeof(where), "postgresql://xonce:xonce@127.0.0.1:%s/no_such_db", port);
    refused(where, XONCE_E_SQL, "no_such_db");
    refused("postgresql://xonce:s3cret@no-such-host.invalid/x", XONCE_E_CONNECT, "no-such-host.invalid");
    refused("postgresql://xonce:s3cret@127.0.0.1:1/x", XONCE_E_CONNECT, "127.0.0.1");
    refused("postgresql://xonce:s3cret/with@127.0.0.1/x", XONCE_E_INVALID, "***");
    refused("postgresql://xonce@127.0.0.1/x?pasword=1", XONCE_E_INVALID, "pasword");
    refused("postgresql://xonce@127.0.0.1/x?sslmode=s&password=s3cret%zz", XONCE_E_INVALID, "***");
    (void)snprintf(where, sizeof(where), "postgresql://xonce@127.0.0.1:%s/xonce?passfile=/dev/null", port);
    unsetenv("PGPASSWORD");
    refused(where, XONCE_E_AUTH, "password");
}
END_TEST

START_TEST(a_password_may_come_from_elsewhere)
{
    char where[300], file[] = "/tmp/xonce-pgpass-XXXXXX";
    const char *port = strrchr(uri, ':') + 1;
    int fd = mkstemp(file);
    xo_conn *c = NULL;
    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(write(fd, "*:*:*:*:xonce\n", 14), 0);
    close(fd);
    (void)snprintf(where, sizeof(where), "postgresql://xonce@127.0.0.1:%.*s/xonce?application_name=mine",
                   (int)strcspn(port, "/"), port);
    setenv("PGPASSFILE", file, 1);
    ok(try_open(&c, where, 5000));
    ck_assert_int_eq(number("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mine'"), 1);
    d->close(c);
    unsetenv("PGPASSFILE");
    unlink(file);
    ok(try_open(&c, uri, 5000));
    ck_assert_int_eq(number("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'xonce'"), 1);
    d->close(c);
}
END_TEST

START_TEST(another_host_of_the_list_is_taken)
{
    char where[300];
    const char *port = strrchr(uri, ':') + 1;
    xo_conn *c = NULL;
    (void)snprintf(where, sizeof(where),
                   "postgresql://xonce:xonce@127.0.0.1:1,127.0.0.1:%.*s/xonce?target_session_attrs=read-write",
                   (int)strcspn(port, "/"), port);
    ok(try_open(&c, where, 5000));
    ck_assert(d->usable(c));
    d->close(c);
}
END_TEST

START_TEST(a_server_that_never_answers)
{
    xo_conn *c = NULL;
    char where[100];
    int64_t t = xo_mono_ms();
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, len), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    (void)snprintf(where, sizeof(where), "postgresql://a:s3cret@127.0.0.1:%d/x", ntohs(sa.sin_port));
    fails(try_open(&c, where, 700), XONCE_E_CONNECT, XO_SQL_LOST);
    ck_assert(xo_mono_ms() - t >= 600 && xo_mono_ms() - t < 30000);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "no answer"));
    close(fd);
}
END_TEST

/* ---- pruning ---- */

/* A look and the deletion of what it found. */
static xonce_status prune_some(xo_conn *c, const char *group, int64_t before, int max, int64_t *deleted)
{
    int64_t id[1000];
    xo_prune_look l = {.most = 10000, .max = max, .id = id};
    *deleted = 0;
    xonce_status st = d->prune_look(c, group, before, &l);
    return st == XONCE_OK ? d->prune_delete(c, group, before, id, l.n, deleted) : st;
}

START_TEST(one_pruner_at_a_time)
{
    xo_conn *a = open_conn(), *b = open_conn();
    int got = 0;
    int64_t deleted = -1;
    sql("INSERT INTO transaction_record (consumer_group, message_id, ctime, queue_id, \"offset\") SELECT CASE WHEN i % "
        "2 = 0 THEN 'G' ELSE 'H' END, i || '#', i, 0, i "
        "FROM generate_series(1, 100) AS i");
    ok(d->prune_lock(a, &got));
    ck_assert(got);
    ok(d->prune_lock(b, &got));
    ck_assert(!got);
    fails(prune_some(b, "G", 1000, 5, &deleted), XONCE_E_CONFLICT, XO_SQL_AGAIN);
    ck_assert_int_eq(deleted, 0);
    ok(prune_some(a, "G", 51, 10, &deleted));
    ck_assert_int_eq(deleted, 10);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), 90); /* committed */
    ok(d->prune_lock(b, &got));
    ck_assert(got); /* a deletion ends it */
    d->prune_unlock(b);
    ok(d->prune_lock(a, &got));
    sql("BEGIN; SELECT 1 FROM transaction_record WHERE message_id IN ('22#', '24#') FOR UPDATE");
    ok(prune_some(a, "G", 51, 1000, &deleted));
    ck_assert_int_eq(deleted, 13); /* 22 to 50, but two that are locked */
    sql("COMMIT");
    ck_assert_int_eq(number("SELECT min(ctime) FROM transaction_record WHERE consumer_group = 'G'"), 22);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record WHERE consumer_group = 'H'"), 50);
    d->prune_unlock(a);
    ok(d->prune_lock(b, &got));
    ck_assert(got);
    d->prune_unlock(b);
    ok(prune_some(b, "G", 51, 1, &deleted)); /* by itself too */
    ck_assert_int_eq(deleted, 1);
    PGresult *r = PQexec(d->native(b), "SELECT current_setting('synchronous_commit'), current_setting('lock_timeout'), current_setting('enable_sort')");
    ck_assert_str_eq(PQgetvalue(r, 0, 0), "on"); /* a message's commit is to outlive a crash */
    ck_assert_str_ne(PQgetvalue(r, 0, 1), "250ms");
    ck_assert_str_eq(PQgetvalue(r, 0, 2), "on");
    PQclear(r);
    ok(d->prune_lock(a, &got));
    ck_assert(got);
    ok(d->begin(a)); /* lets the lock go */
    ok(d->prune_lock(b, &got));
    ck_assert(got);
    d->rollback(a);
    d->close(a);
    d->close(b);
}
END_TEST

/* ---- check ---- */

typedef struct {
    const char *want;
    int seen, worst, lines;
    char mend[512];
} findings;

static void collect(const xonce_finding *f, void *arg)
{
    findings *all = arg;
    if (getenv("SHOW_FINDINGS"))
        printf("# [%d] %s: %s => %s\n", f->severity, f->what, f->why, f->sql);
    all->lines++;
    if (f->severity > all->worst)
        all->worst = f->severity;
    if (all->want && strstr(f->what, all->want)) {
        all->seen = f->severity + 1;
        (void)snprintf(all->mend, sizeof(all->mend), "%s", f->sql);
    }
}

static int find(xo_conn *c, const char *want, findings *all)
{
    xo_open_options o = {.lock_ms = 5000};
    memset(all, 0, sizeof(*all));
    all->want = want;
    ok(d->check(c, &o, collect, all));
    return all->seen - 1;
}

/* Makes a flaw, finds it with its severity, mends it by the finding's own statement when it has one, and sees it gone.
 */
static void flaw(const char *make_it, const char *what, int severity, int mends)
{
    xo_conn *c;
    findings all;
    sql(make_it);
    c = open_conn();
    ck_assert_msg(find(c, what, &all) == severity, "%s: finding \"%s\" has severity %d", make_it, what, all.seen - 1);
    d->close(c);
    if (!mends)
        return;
    sql(all.mend);
    c = open_conn();
    ck_assert_msg(find(c, what, &all) == -1, "%s: still there", what);
    ck_assert_msg(all.worst < 2, "after mending: worst %d", all.worst);
    d->close(c);
}

START_TEST(check_finds_and_mends)
{
    xo_conn *c = open_conn();
    findings all;
    int64_t fsync_off = number("SELECT count(*) FROM pg_settings WHERE name = 'fsync' AND setting = 'off'");
    (void)find(c, "", &all);
    ck_assert_int_le(all.lines, fsync_off ? 1 : 0); /* a fresh database of ours has nothing */
    d->close(c);
    flaw("ALTER TABLE transaction_record SET UNLOGGED", "UNLOGGED", 2, 1);
    flaw("ALTER TABLE xonce_rejected SET UNLOGGED", "xonce_rejected is UNLOGGED", 2, 1);
    flaw("ALTER TABLE transaction_record ALTER COLUMN message_id TYPE char(255)",
         "\"message_id\" of public.transaction_record has the type bpchar", 3, 0);
    flaw("ALTER TABLE transaction_record ALTER COLUMN message_id TYPE varchar(64)", "holds 64 characters", 2, 1);
    flaw("ALTER TABLE transaction_record ALTER COLUMN message_id TYPE varchar(255) COLLATE \"default\"", "not C", 1, 1);
    flaw("CREATE COLLATION fold (provider = icu, locale = 'und-u-ks-level2', deterministic = false); ALTER TABLE "
         "transaction_record ALTER COLUMN message_id TYPE varchar(255) COLLATE fold",
         "takes different bytes for equal", 2, 1);
    flaw("ALTER TABLE transaction_record DROP COLUMN digest", "no column \"digest\"", 1, 1);
    flaw("ALTER TABLE transaction_record DROP COLUMN broker_name", "no column \"broker_name\"", 3, 1);
    flaw("ALTER TABLE transaction_record ALTER COLUMN ctime TYPE integer", "\"ctime\"", 3, 1);
    flaw("ALTER TABLE transaction_record ADD COLUMN extra int NOT NULL", "\"extra\"", 3, 1);
    flaw("ALTER TABLE transaction_record ALTER COLUMN id TYPE integer", "id of public.transaction_record is an integer",
         1, 1);
    flaw("ALTER TABLE transaction_record DROP CONSTRAINT message_id_unique_key", "no unique key on message_id", 3, 1);
    flaw("ALTER TABLE transaction_record DROP CONSTRAINT message_id_unique_key; CREATE UNIQUE INDEX two ON "
         "transaction_record (consumer_group, message_id)",
         "on several columns", 3, 1);
    flaw("DROP INDEX two; ALTER TABLE transaction_record DROP CONSTRAINT message_id_unique_key_1; ALTER TABLE "
         "transaction_record ADD CONSTRAINT d UNIQUE (message_id) DEFERRABLE",
         "deferrable", 3, 1);
    flaw("ALTER TABLE transaction_record DROP CONSTRAINT d; ALTER TABLE transaction_record DROP CONSTRAINT "
         "message_id_unique_key_1; CREATE UNIQUE INDEX part ON transaction_record (message_id) WHERE queue_id > 0",
         "partial", 3, 1);
    flaw("CREATE UNIQUE INDEX strange ON transaction_record (topic_name, \"offset\")", "not about the id", 1, 1);
    flaw("ALTER TABLE transaction_record DROP CONSTRAINT transaction_record_pkey", "no key on id", 1, 1);
    flaw("CREATE INDEX ctime_key ON transaction_record (ctime)", "ctime_key of public.transaction_record begins with ctime", 0, 1);
    flaw("CREATE INDEX load_key ON transaction_record (queue_id, broker_name, topic_name, ctime)", "10 to 40 %", 0, 1);
    flaw("CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER "
         "swallow BEFORE INSERT ON transaction_record FOR EACH ROW EXECUTE FUNCTION nothing()",
         "trigger swallow", 2, 1);
    flaw("CREATE TRIGGER later AFTER INSERT ON transaction_record FOR EACH ROW EXECUTE FUNCTION nothing()",
         "trigger later", 1, 1);
    flaw("CREATE RULE away AS ON INSERT TO transaction_record WHERE new.queue_id = 99 DO INSTEAD NOTHING", "rule away",
         2, 1);
    flaw("INSERT INTO transaction_record (id, message_id, ctime, queue_id, \"offset\") VALUES (77, 'x', 1, 1, 1)",
         "the sequence", 3, 1);
    flaw("ALTER TABLE transaction_record SET (autovacuum_enabled = false)", "autovacuum is off", 1, 1);
    flaw("CREATE TABLE other.transaction_record ()", "another schema", 1, 0);
    flaw("DROP TABLE other.transaction_record; ALTER ROLE xonce RESET ALL; ALTER ROLE xonce SET "
         "default_transaction_read_only = on",
         "default_transaction_read_only is on", 3, 0);
    flaw("ALTER ROLE xonce RESET ALL; ALTER ROLE xonce SET statement_timeout = 100", "statement_timeout is 100", 1, 1);
    flaw("ALTER ROLE xonce RESET ALL; ALTER ROLE xonce SET synchronous_commit = off", "synchronous_commit is off", 0,
         1);
    flaw("DROP TABLE xonce_watermark", "xonce_watermark is not there", 1, 0);
    flaw("DROP TABLE transaction_record", "transaction_record is not there", 3, 0);
}
END_TEST

START_TEST(check_finds_missing_rights)
{
    char where[300];
    xo_conn *c;
    findings all;
    const char *at = strchr(uri, '@');
    sql("DROP ROLE IF EXISTS poor; CREATE ROLE poor LOGIN PASSWORD 'poor'; GRANT USAGE ON SCHEMA public TO poor; GRANT "
        "INSERT ON transaction_record TO poor");
    (void)snprintf(where, sizeof(where), "postgresql://poor:poor%s", at);
    c = open_conn_with(where, 5000, 60000);
    ck_assert_int_eq(find(c, "may not SELECT in public.transaction_record", &all), 3);
    ck_assert_str_eq(all.mend, "GRANT SELECT ON public.transaction_record TO poor;");
    ck_assert_int_eq(find(c, "may not UPDATE in public.transaction_record", &all), 3);
    ck_assert_int_eq(find(c, "may not INSERT in public.transaction_record", &all), -1);
    ck_assert_int_eq(find(c, "may not INSERT in public.xonce_rejected", &all), 3);
    sql("GRANT SELECT, INSERT, UPDATE (message_id), DELETE ON transaction_record TO poor; GRANT SELECT, INSERT, "
        "UPDATE, DELETE ON xonce_rejected, xonce_watermark TO poor");
    (void)find(c, "", &all);
    ck_assert_int_lt(all.worst, 3);
    {
        int fresh, found;
        ok(d->begin(c)); /* and with just these it works */
        ok(claim_one(c, "k#G", &fresh, &found));
        ok(claim_one(c, "k#G", &fresh, &found));
        ck_assert(found);
        d->rollback(c);
        sql("REVOKE INSERT ON transaction_record FROM poor");
        ok(d->begin(c));
        fails(claim_one(c, "k2#G", &fresh, NULL), XONCE_E_AUTH, XO_SQL_SETUP);
        d->rollback(c);
    }
    d->close(c);
    sql("DROP OWNED BY poor; DROP ROLE poor");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("dialect_postgres_lost");
    TCase *t = tcase_create("engine");
    if (!postgres_there())
        return 0;
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, fresh, tidy);
    tcase_add_test(t, a_connection_ended_between_statements);
    tcase_add_test(t, a_connection_ended_in_a_statement);
    tcase_add_test(t, a_commit_without_an_answer_is_unknown);
    tcase_add_test(t, a_cancelled_wait_for_the_standby_is_unknown);
    tcase_add_test(t, a_stopped_holder_loses_its_transaction);
    tcase_add_test(t, a_users_transaction_is_joined);
    tcase_add_test(t, a_user_who_ends_it_meanwhile_is_told);
    tcase_add_test(t, wrong_uris_are_told_without_the_password);
    tcase_add_test(t, a_password_may_come_from_elsewhere);
    tcase_add_test(t, another_host_of_the_list_is_taken);
    tcase_add_test(t, a_server_that_never_answers);
    tcase_add_test(t, one_pruner_at_a_time);
    tcase_add_test(t, check_finds_and_mends);
    tcase_add_test(t, check_finds_missing_rights);
    suite_add_tcase(s, t);
    return run_suite(s);
}
