/* The PostgreSQL dialect by itself: claims, pipelines, the guard, prepared statements, joined connections, broken ones.
 * Needs a server of its own in XONCE_TEST_POSTGRES_URI. */
#include "postgres_help.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include <pthread.h>

static const char DIGEST[] = "0123456789ABCDEF0123456789ABCDEF";

/* ---- claims ---- */

static xo_claim row(const char *key)
{
    xo_claim r = {.key = key,
                  .topic = "orders",
                  .broker = "b-0",
                  .digest = DIGEST,
                  .queue = 3,
                  .offset = 7,
                  .store_time = -1,
                  .log_offset = 5};
    return r;
}

static xonce_status claim_one(xo_conn *c, const char *key, int *fresh)
{
    xo_claim r = row(key);
    xonce_status st = d->claim(c, "G", &r, 1, NULL);
    *fresh = r.fresh;
    return st;
}

START_TEST(a_claim_is_fresh_once)
{
    xo_conn *a = open_conn();
    xo_claim rows[3] = {row("a\"b\\c#G"), row("k1#G"), row("k2#G")};
    int64_t now = 0, wall = xo_now_ms();
    rows[1].topic = "quote \" back \\ brace {x,y} NULL";
    ok(d->begin(a));
    ok(d->claim(a, "G", rows, 3, &now));
    ck_assert(rows[0].fresh && rows[1].fresh && rows[2].fresh);
    ck_assert(now > wall - 60000 && now < wall + 60000);
    commit(a);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record WHERE queue_id = 3 AND \"offset\" = 7 AND "
                            "store_time IS NULL AND log_offset = 5 AND ctime > 1e12"),
                     3);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record WHERE topic_name = 'quote \" back \\ brace {x,y} "
                            "NULL' AND message_id = 'k1#G'"),
                     1);
    rows[2] = row("k3#G");
    now = 0;
    ok(d->begin(a));
    ok(d->claim(a, "G", rows, 3, &now));
    ck_assert(!rows[0].fresh && !rows[1].fresh && rows[2].fresh && now >= wall - 60000);
    ok(d->read_back(a, "G", rows, 3));
    ck_assert(rows[0].found && rows[1].found && !rows[2].found);
    ck_assert_str_eq(rows[1].found_digest, DIGEST);
    ck_assert_str_eq(rows[1].found_topic, "quote \" back \\ brace {x,y} NULL");
    ok(d->read_back(a, "OTHER", rows, 3));
    ck_assert(!rows[0].found && !rows[1].found);
    now = 0; /* a second claim in the same transaction is told the time too */
    ok(d->claim(a, "G", rows, 3, &now));
    ck_assert(now > 0 && !rows[2].fresh);
    d->rollback(a);
    ck_assert_int_eq(number("SELECT count(*) FROM transaction_record"), 3);
    d->close(a);
}
END_TEST

START_TEST(waiting_for_a_holder_ends)
{
    xo_conn *a = open_conn(), *b = open_conn_with(uri, 300, 60000);
    int fresh;
    int64_t t;
    ok(d->begin(a));
    ok(claim_one(a, "k#G", &fresh));
    ok(d->begin(b));
    t = xo_mono_ms();
    fails(claim_one(b, "k#G", &fresh), XONCE_E_CONFLICT, XO_SQL_AGAIN);
    ck_assert(xo_mono_ms() - t < 10000 && xonce_error_last()->again);
    ck_assert_str_eq(xonce_error_last()->sqlstate, "55P03");
    d->rollback(b);
    d->rollback(a);
    ok(d->begin(b));
    ok(claim_one(b, "k#G", &fresh));
    ck_assert(fresh);
    d->rollback(b);
    d->close(a);
    d->close(b);
}
END_TEST

START_TEST(the_table_is_found_again)
{
    xo_conn *a = open_conn();
    xo_layout l;
    int fresh;
    ok(d->layout(a, &l));
    ck_assert(l.exists && l.has_ours);
    sql("ALTER TABLE transaction_record SET SCHEMA other");
    ok(d->begin(a));
    fails(claim_one(a, "k#G", &fresh), XONCE_E_SCHEMA, XO_SQL_SETUP);
    d->rollback(a);
    ok(d->begin(a));
    fails(claim_one(a, "k#G", &fresh), XONCE_E_SCHEMA, XO_SQL_SETUP);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "xonce init"));
    d->rollback(a);
    sql("ALTER TABLE other.transaction_record SET SCHEMA public; ALTER TABLE transaction_record DROP COLUMN digest");
    ok(d->begin(a));
    ok(claim_one(a, "k#G", &fresh));
    ck_assert(fresh);
    commit(a);
    ok(d->layout(a, &l));
    ck_assert(l.exists && !l.has_ours);
    /* a table of the same name that comes in front of it later is not taken */
    sql("CREATE SCHEMA early; CREATE TABLE early.transaction_record (LIKE public.transaction_record INCLUDING ALL)");
    ok(exec_now(a, "SET search_path TO early, public"));
    ok(d->begin(a));
    ok(claim_one(a, "k#G", &fresh));
    ck_assert(!fresh);
    d->rollback(a);
    d->close(a);
}
END_TEST

START_TEST(a_claim_fails_for_other_reasons)
{
    xo_conn *a = open_conn();
    int fresh;
    sql("INSERT INTO transaction_record (id, message_id, ctime, queue_id, \"offset\") VALUES (1, 'x#G', 1, 1, 1)");
    ok(d->begin(a));
    fails(claim_one(a, "k#G", &fresh), XONCE_E_SQL, XO_SQL_OTHER); /* the lagging sequence: not the message's fault */
    d->rollback(a);
    sql("ALTER TABLE transaction_record DROP CONSTRAINT message_id_unique_key");
    ok(d->begin(a));
    fails(claim_one(a, "k#G", &fresh), XONCE_E_SCHEMA, XO_SQL_SETUP);
    d->rollback(a);
    sql("ALTER TABLE transaction_record ADD CONSTRAINT message_id_unique_key UNIQUE (message_id) DEFERRABLE");
    ok(d->begin(a));
    fails(claim_one(a, "k#G", &fresh), XONCE_E_SCHEMA, XO_SQL_SETUP);
    d->rollback(a);
    d->close(a);
}
END_TEST

/* ---- statements ---- */

static int look(const xonce_row *r, void *arg)
{
    char *out = arg;
    int i;
    for (i = 0; i < r->ncols; i++)
        (void)snprintf(out + strlen(out), 400 - strlen(out), "%s%s", i ? "|" : "", r->text[i] ? r->text[i] : "NULL");
    if (r->ncols > 8 && r->text[8])
        ck_assert(r->len[8] == 3 && memcmp(r->text[8], "a\0b", 3) == 0);
    return 0;
}

START_TEST(values_arrive_as_they_are)
{
    xo_conn *a = open_conn();
    xo_sql *ins = make("INSERT INTO v VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
    xo_sql *sel =
        make("SELECT i, n, r, b, t, to_char(z AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS'), j, x, raw FROM v");
    xonce_value v[9] = {xonce_int(INT64_MIN),
                        xonce_null(),
                        xonce_real(0.1),
                        xonce_bool(1),
                        xonce_text_n("it's \xC3\xA9 cut", 8),
                        xonce_time(1764000000123),
                        xonce_text_n("{\"a\": [1]}", 10),
                        xonce_null(),
                        xonce_blob("a\0b", 3)};
    xonce_value nul[9];
    xo_stmt s[2] = {{ins, v, 0, 0}, {ins, nul, 1, 0}};
    char got[400] = "";
    size_t failed = 9;
    v[1].kind = XONCE_DECIMAL;
    v[1].v.p = "12345678901234567890.123456789";
    v[1].len = 30;
    sql("CREATE TABLE v (i bigint, n numeric, r double precision, b boolean, t text, z timestamptz, j jsonb, x text, "
        "raw bytea)");
    memcpy(nul, v, sizeof(v));
    nul[4] = xonce_text_n("a\0b", 3);
    fails(d->run(a, s, 2, &failed), XONCE_E_SQL, XO_SQL_DATA);
    ck_assert_uint_eq(failed, 1);
    ck_assert_int_eq(number("SELECT count(*) FROM v"), 0);
    ok(d->begin(a));
    ok(d->run(a, s, 1, &failed));
    ok(d->query(a, sel, NULL, 0, look, got, NULL));
    ck_assert_str_eq(got, "-9223372036854775808|12345678901234567890.123456789|0.1|t|it's \xC3\xA9 |2025-11-24 "
                          "16:00:00.123|{\"a\": [1]}|NULL|a");
    commit(a);
    xo_sql_free(ins);
    xo_sql_free(sel);
    d->close(a);
}
END_TEST

START_TEST(a_failed_statement_takes_the_commit_with_it)
{
    xo_conn *a = open_conn();
    xo_sql *good = make("INSERT INTO t VALUES ($1)"), *bad = make("INSERT INTO t VALUES (1 / ($1::int - $1::int))");
    xonce_value one = xonce_int(1);
    xo_stmt s[4] = {{good, &one, 0, 0}, {good, &one, 1, 0}, {bad, &one, 2, 0}, {good, &one, 3, 0}};
    size_t failed;
    int i;
    sql("CREATE TABLE t (a int)");
    for (i = 0; i < 3; i++) {
        ok(d->begin(a));
        fails(d->commit(a, s, 4, &failed), XONCE_E_SQL, XO_SQL_DATA);
        ck_assert_uint_eq(failed, 2);
        ck_assert_str_eq(xonce_error_last()->sqlstate, "22012");
        ck_assert(a->in_tx && !a->lost);
        d->rollback(a);
        ck_assert(d->usable(a));
    }
    ok(d->begin(a));
    fails(d->run(a, s, 4, &failed), XONCE_E_SQL, XO_SQL_DATA);
    ck_assert_uint_eq(failed, 2);
    /* PostgreSQL would answer COMMIT of this transaction with success and the tag ROLLBACK */
    ck_assert_int_ne(d->commit(a, NULL, 0, &failed), XONCE_OK);
    d->rollback(a);
    ck_assert_int_eq(number("SELECT count(*) FROM t"), 0);
    ok(d->begin(a));
    ok(d->commit(a, s, 2, &failed));
    ck_assert(!a->in_tx);
    ck_assert_int_eq(number("SELECT count(*) FROM t"), 2);
    xo_sql_free(good);
    xo_sql_free(bad);
    d->close(a);
}
END_TEST

static void class_of_commit(const char *text, xonce_status status, xo_sql_class cls, size_t at)
{
    xo_conn *a = open_conn();
    xo_sql *s = make(text);
    xo_stmt st = {s, NULL, 0, 0};
    size_t failed = 99;
    ok(d->begin(a));
    fails(d->commit(a, &st, 1, &failed), status, cls);
    ck_assert_msg(failed == at, "%s: failed is %zu", text, failed);
    d->rollback(a);
    ck_assert(d->usable(a));
    xo_sql_free(s);
    d->close(a);
}

START_TEST(what_errors_mean)
{
    sql("CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1);"
        "CREATE TABLE c (p int REFERENCES p); INSERT INTO c VALUES (1);"
        "CREATE TABLE dc (p int REFERENCES p DEFERRABLE INITIALLY DEFERRED, u int UNIQUE DEFERRABLE INITIALLY "
        "DEFERRED);");
    class_of_commit("INSERT INTO c VALUES (7)", XONCE_E_SQL, XO_SQL_PARENT, 0);
    class_of_commit("DELETE FROM p", XONCE_E_SQL, XO_SQL_DATA, 0);
    class_of_commit("INSERT INTO dc VALUES (7)", XONCE_E_SQL, XO_SQL_PARENT, 1); /* at COMMIT */
    class_of_commit("INSERT INTO dc VALUES (1, 5), (1, 5)", XONCE_E_SQL, XO_SQL_DATA, 1);
    class_of_commit("INSERT INTO p VALUES (1)", XONCE_E_SQL, XO_SQL_DATA, 0);
    class_of_commit("SELECT 'x'::int", XONCE_E_SQL, XO_SQL_DATA, 0);
    class_of_commit("INSERT INTO nowhere VALUES (1)", XONCE_E_SQL, XO_SQL_SETUP, 0);
    class_of_commit("SELEC 1", XONCE_E_SQL, XO_SQL_SETUP, 0);
    sql("ALTER ROLE xonce SET default_transaction_read_only = on");
    class_of_commit("INSERT INTO p VALUES (2)", XONCE_E_SQL, XO_SQL_SETUP, 0); /* read-only */
    sql("ALTER ROLE xonce RESET default_transaction_read_only");
    ck_assert_int_eq(number("SELECT count(*) FROM c") + number("SELECT count(*) FROM dc"), 1);
}
END_TEST

START_TEST(copy_does_not_hang)
{
    static const char *const texts[] = {"COPY t FROM STDIN", "COPY t TO STDOUT"};
    size_t i, failed;
    sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    for (i = 0; i < 2; i++) {
        xo_conn *a = open_conn();
        xo_sql *s = make(texts[i]);
        xo_stmt st = {s, NULL, 0, 0};
        ok(d->begin(a));
        fails(d->run(a, &st, 1, &failed), XONCE_E_SQL, XO_SQL_SETUP);
        ck_assert(a->lost && failed == 0);
        d->rollback(a);
        d->close(a);
        a = open_conn();
        ok(d->begin(a));
        fails(d->commit(a, &st, 1, &failed), XONCE_E_UNKNOWN_COMMIT,
              XO_SQL_LOST); /* after a COPY TO the server goes on to the COMMIT */
        d->rollback(a);
        d->close(a);
        xo_sql_free(s);
    }
}
END_TEST

START_TEST(a_big_queue_does_not_block)
{
    enum { N = 400, BIG = 40000 };
    xo_conn *a = open_conn();
    xo_sql *s = make("SELECT $1::text || $1::text");
    char *body = calloc(1, BIG);
    xonce_value v = xonce_text_n(body, BIG);
    xo_stmt *all = calloc(N, sizeof(*all));
    size_t failed, i;
    memset(body, 'x', BIG);
    for (i = 0; i < N; i++)
        all[i] = (xo_stmt){s, &v, i, 0};
    ok(d->begin(a));
    ok(d->run(a, all, N, &failed)); /* 16 MB up, 32 MB down */
    ok(d->commit(a, all, N, &failed));
    free(all);
    free(body);
    xo_sql_free(s);
    d->close(a);
}
END_TEST

START_TEST(prepared_statements_are_bounded)
{
    enum { KINDS = 450 };
    xo_conn *a = open_conn();
    xo_sql *all[KINDS], *count = make("SELECT count(*) FROM pg_prepared_statements");
    xo_stmt s[KINDS];
    char text[64], got[400] = "";
    size_t failed, i;
    for (i = 0; i < KINDS; i++) {
        (void)snprintf(text, sizeof(text), "SELECT %zu", i);
        all[i] = make(text);
        s[i] = (xo_stmt){all[i], NULL, i, 0};
    }
    ok(d->begin(a));
    ok(d->run(a, s, KINDS, &failed));
    for (i = 0; i < KINDS; i++)
        ok(d->run(a, &s[KINDS - 1 - i], 1, &failed));
    commit(a);
    ok(d->query(a, count, NULL, 0, look, got, NULL));
    ck_assert_msg(strtol(got, NULL, 10) <= 200 && strtol(got, NULL, 10) > 150, "%s prepared statements", got);
    for (i = 0; i < KINDS; i++)
        xo_sql_free(all[i]);
    xo_sql_free(count);
    d->close(a);
}
END_TEST

START_TEST(nothing_is_prepared_when_told_so)
{
    static const char *const modes[] = {"off", "auto"};
    xo_conn *a = open_conn_set("postgresql.prepare", modes[_i]);
    xo_sql *count = make("SELECT count(*) FROM pg_prepared_statements");
    char got[400] = "";
    int fresh;
    for (int i = 0; i < 3; i++) {
        ok(d->begin(a));
        ok(claim_one(a, i == 2 ? "k1#G" : i ? "k2#G" : "k1#G", &fresh));
        ck_assert_int_eq(fresh, i < 2);
        commit(a);
    }
    ok(d->query(a, count, NULL, 0, look, got, NULL));
    ck_assert_msg((strtol(got, NULL, 10) > 0) == _i, "%s prepared statements with %s", got, modes[_i]);
    xo_sql_free(count);
    d->close(a);
}
END_TEST

START_TEST(vanished_prepared_statements_are_made_again)
{
    xo_conn *a = open_conn();
    xo_sql *s = make("SELECT * FROM t"), *gone = make("EXECUTE nothing_of_that_name");
    xo_stmt st = {s, NULL, 0, 0}, other = {gone, NULL, 0, 0};
    size_t failed;
    int i;
    sql("CREATE TABLE t (a int)");
    for (i = 0; i < 3; i++) {
        ok(d->begin(a));
        ok(d->run(a, &st, 1, &failed));
        PQclear(PQexec(d->native(a), "DEALLOCATE ALL"));
        if (d->run(a, &st, 1, &failed) != XONCE_OK) {
            ck_assert_int_lt(i, 2); /* after the second time they are not kept any more */
            ck_assert_int_eq(xo_error_class(), XO_SQL_AGAIN);
        }
        d->rollback(a);
    }
    d->close(a);
    a = open_conn();
    ok(d->begin(a));
    ok(d->run(a, &st, 1, &failed));
    commit(a);
    sql("ALTER TABLE t ADD COLUMN b int");
    ok(d->begin(a));
    fails(d->run(a, &st, 1, &failed), XONCE_E_CONFLICT, XO_SQL_AGAIN); /* cached plan must not change result type */
    d->rollback(a);
    ok(d->begin(a));
    ok(d->run(a, &st, 1, &failed));
    fails(d->run(a, &other, 1, &failed), XONCE_E_SQL,
          XO_SQL_SETUP); /* the user's own mistake is not run again for ever */
    d->rollback(a);
    xo_sql_free(s);
    xo_sql_free(gone);
    d->close(a);
}
END_TEST

START_TEST(a_statement_is_looked_at)
{
    xo_conn *a = open_conn();
    xo_sql *good = make("INSERT INTO t VALUES ($1)"), *table = make("INSERT INTO tt VALUES ($1)"),
           *column = make("UPDATE t SET zz = $1"), *syntax = make("INSERT INTO t VALUE ($1)");
    int inside;
    size_t failed;
    sql("CREATE TABLE t (a int)");
    for (inside = 0; inside < 2; inside++) {
        if (inside)
            ok(d->begin(a));
        ok(d->try_sql(a, good));
        fails(d->try_sql(a, table), XONCE_E_SQL, XO_SQL_SETUP);
        fails(d->try_sql(a, column), XONCE_E_SQL, XO_SQL_SETUP);
        fails(d->try_sql(a, syntax), XONCE_E_SQL, XO_SQL_SETUP);
        ok(d->try_sql(a, good));
    }
    ok(d->commit(a, NULL, 0, &failed));
    ck_assert_int_eq(number("SELECT count(*) FROM t"), 0);
    xo_sql_free(good);
    xo_sql_free(table);
    xo_sql_free(column);
    xo_sql_free(syntax);
    d->close(a);
}
END_TEST

/* ---- settings ---- */

START_TEST(a_transaction_brings_its_settings)
{
    xo_conn *a;
    xo_sql *s = make("SELECT current_setting('synchronous_commit'), current_setting('lock_timeout'), "
                     "current_setting('idle_in_transaction_session_timeout'), "
                     "current_setting('transaction_isolation')");
    char got[400] = "", after[400] = "";
    sql("ALTER ROLE xonce SET synchronous_commit = off; ALTER ROLE xonce SET default_transaction_isolation = "
        "serializable");
    a = open_conn_with(uri, 1234, 5678);
    sql("ALTER ROLE xonce RESET ALL");
    ok(d->begin(a));
    ok(d->query(a, s, NULL, 0, look, got, NULL));
    ck_assert_str_eq(got, "on|1234ms|5678ms|read committed");
    PQclear(PQexec(d->native(a), "SET LOCAL synchronous_commit = off"));
    commit(a);
    ok(d->query(a, s, NULL, 0, look, after, NULL));
    ck_assert_str_eq(after, "off|0|0|serializable");
    xo_sql_free(s);
    d->close(a);
}
END_TEST

/* ---- the guard ---- */

static void escape(const char *text, int seen_at_once, xonce_status late)
{
    xo_conn *a = open_conn();
    xo_sql *ins = make("INSERT INTO t VALUES (1)");
    xo_stmt s = {ins, NULL, 0, 0};
    size_t failed = 0;
    int fresh;
    sql("DELETE FROM t");
    ok(d->begin(a));
    ok(claim_one(a, "k#G", &fresh));
    PQclear(PQexec(d->native(a), text));
    ck_assert(a->lent);
    if (seen_at_once) {
        fails(d->after_lent(a), XONCE_E_TX_LOST, XO_SQL_OTHER);
        ck_assert(a->escaped);
        fails(d->run(a, &s, 1, &failed), XONCE_E_TX_LOST, XO_SQL_OTHER);
    } else {
        ok(d->after_lent(a));
    }
    ck_assert_int_eq(d->commit(a, &s, 1, &failed), late);
    ck_assert(late != XONCE_E_TX_LOST || a->escaped);
    d->rollback(a);
    ck_assert(d->usable(a));
    ck_assert_int_eq(number("SELECT count(*) FROM t"), 0);
    xo_sql_free(ins);
    d->close(a);
}

START_TEST(a_handler_cannot_end_the_transaction_unseen)
{
    sql("CREATE TABLE t (a int)");
    escape("COMMIT", 1, XONCE_E_TX_LOST);
    escape("ROLLBACK", 1, XONCE_E_TX_LOST);
    escape("COMMIT; BEGIN", 0, XONCE_E_TX_LOST);
    escape("ROLLBACK; BEGIN", 0, XONCE_E_TX_LOST);
    escape("COMMIT AND CHAIN", 0, XONCE_E_TX_LOST);
    escape("RELEASE SAVEPOINT xonce_guard", 0, XONCE_E_TX_LOST);
}
END_TEST

START_TEST(a_failed_transaction_is_the_handlers_failure)
{
    xo_conn *a = open_conn();
    PGconn *pg;
    size_t failed;
    ok(d->begin(a));
    PQclear(PQexec(d->native(a), "SELECT 1 / 0"));
    fails(d->after_lent(a), XONCE_E_SQL, XO_SQL_OTHER);
    ck_assert(!a->escaped);
    fails(d->commit(a, NULL, 0, &failed), XONCE_E_SQL, XO_SQL_OTHER);
    d->rollback(a);
    ck_assert(d->usable(a));
    /* an error that the handler took back itself is none */
    ok(d->begin(a));
    pg = d->native(a);
    PQclear(PQexec(pg, "SAVEPOINT mine"));
    PQclear(PQexec(pg, "SELECT 1 / 0"));
    PQclear(PQexec(pg, "ROLLBACK TO mine"));
    ok(d->after_lent(a));
    commit(a);
    d->close(a);
}
END_TEST

START_TEST(a_handle_left_in_any_state_is_tidied_up)
{
    xo_conn *a = open_conn();
    PGconn *pg;
    int i;
    size_t failed;
    sql("CREATE TABLE t (a int)");
    for (i = 0; i < 6; i++) {
        int fine = i != 1;
        ok(d->begin(a));
        pg = d->native(a);
        if (i == 0)
            ck_assert(PQsendQuery(pg, "SELECT generate_series(1, 1000)"));
        if (i == 1)
            PQclear(PQexec(pg, "COPY t FROM STDIN"));
        if (i == 2)
            PQclear(PQexec(pg, "COPY (SELECT generate_series(1, 100000)) TO STDOUT"));
        if (i == 3 || i == 4) {
            ck_assert(PQenterPipelineMode(pg) && PQsendQueryParams(pg, "SELECT 1", 0, NULL, NULL, NULL, NULL, 0));
            ck_assert(i == 3 ||
                      (PQpipelineSync(pg) && PQsendQueryParams(pg, "SELECT 2", 0, NULL, NULL, NULL, NULL, 0)));
        }
        if (i == 5)
            ck_assert_int_eq(PQsetnonblocking(pg, 1), 0);
        ck_assert_msg((d->after_lent(a) == XONCE_OK) == fine, "%d: %s", i, xonce_error_last()->text);
        if (fine)
            commit(a);
        else
            ck_assert_int_ne(d->commit(a, NULL, 0, &failed), XONCE_OK);
        d->rollback(a);
        ck_assert_msg(d->usable(a) && PQpipelineStatus(pg) == PQ_PIPELINE_OFF && !PQisnonblocking(pg), "%d", i);
    }
    d->close(a);
}
END_TEST

START_TEST(savepoints_and_the_guard_go_together)
{
    xo_conn *a = open_conn();
    xo_sql *ins = make("INSERT INTO t VALUES ($1)"), *bad = make("INSERT INTO t SELECT 1 / 0"),
           *ddl = make("CREATE TABLE made (a int)");
    xonce_value v[3] = {xonce_int(1), xonce_int(2), xonce_int(3)};
    xo_stmt one = {ins, &v[0], 0, 0}, two = {ins, &v[1], 1, 0}, wrong = {bad, NULL, 1, 0}, three = {ins, &v[2], 2, 0},
            other = {ddl, NULL, 2, 0};
    size_t failed;
    sql("CREATE TABLE t (a int)");
    ok(d->begin(a));
    ok(d->savepoint(a, XO_SAVE));
    ok(d->run(a, &one, 1, &failed));
    ok(d->savepoint(a, XO_RELEASE));
    ok(d->savepoint(a, XO_SAVE));
    ok(d->run(a, &two, 1, &failed));
    PQclear(PQexec(d->native(a), "INSERT INTO t VALUES (20)"));
    fails(d->run(a, &wrong, 1, &failed), XONCE_E_SQL, XO_SQL_DATA);
    ok(d->savepoint(a, XO_ROLLBACK_TO));
    ok(d->savepoint(a, XO_RELEASE));
    ok(d->savepoint(a, XO_SAVE));
    PQclear(PQexec(d->native(a), "INSERT INTO t VALUES (30)"));
    ok(d->after_lent(a));
    ok(d->savepoint(a, XO_RELEASE));
    ok(d->savepoint(a, XO_SAVE));
    ok(d->run(a, &other, 1, &failed));
    ck_assert(a->lent);
    ok(d->savepoint(a, XO_RELEASE));
    ok(d->savepoint(a, XO_SAVE));
    ok(d->savepoint(a, XO_RELEASE));
    ok(d->commit(a, &three, 1, &failed));
    ck_assert_int_eq(number("SELECT count(*) * 1000 + sum(a) FROM t"), 3034);
    /* a handler that commits inside of its savepoint is found at the savepoint's end */
    ok(d->begin(a));
    ok(d->savepoint(a, XO_SAVE));
    PQclear(PQexec(d->native(a), "COMMIT; BEGIN"));
    ok(d->after_lent(a));
    fails(d->savepoint(a, XO_RELEASE), XONCE_E_TX_LOST, XO_SQL_OTHER);
    d->rollback(a);
    ok(d->begin(a));
    ok(d->savepoint(a, XO_SAVE));
    PQclear(PQexec(d->native(a), "COMMIT; BEGIN"));
    fails(d->savepoint(a, XO_ROLLBACK_TO), XONCE_E_TX_LOST, XO_SQL_OTHER);
    d->rollback(a);
    ck_assert(d->usable(a));
    xo_sql_free(ins);
    xo_sql_free(bad);
    xo_sql_free(ddl);
    d->close(a);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("dialect_postgres");
    TCase *t = tcase_create("engine");
    if (!postgres_there())
        return 0;
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, fresh, tidy);
    tcase_add_test(t, a_claim_is_fresh_once);
    tcase_add_test(t, waiting_for_a_holder_ends);
    tcase_add_test(t, the_table_is_found_again);
    tcase_add_test(t, a_claim_fails_for_other_reasons);
    tcase_add_test(t, values_arrive_as_they_are);
    tcase_add_test(t, a_failed_statement_takes_the_commit_with_it);
    tcase_add_test(t, what_errors_mean);
    tcase_add_test(t, copy_does_not_hang);
    tcase_add_test(t, a_big_queue_does_not_block);
    tcase_add_test(t, prepared_statements_are_bounded);
    tcase_add_loop_test(t, nothing_is_prepared_when_told_so, 0, 2);
    tcase_add_test(t, vanished_prepared_statements_are_made_again);
    tcase_add_test(t, a_statement_is_looked_at);
    tcase_add_test(t, a_transaction_brings_its_settings);
    tcase_add_test(t, a_handler_cannot_end_the_transaction_unseen);
    tcase_add_test(t, a_failed_transaction_is_the_handlers_failure);
    tcase_add_test(t, a_handle_left_in_any_state_is_tidied_up);
    tcase_add_test(t, savepoints_and_the_guard_go_together);
    suite_add_tcase(s, t);
    return run_suite(s);
}
