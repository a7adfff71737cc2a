/* The MySQL dialect by itself: opening, claims, claims over two connections, joined connections. */
#include "my.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* ---- opening ---- */

static xonce_status open_uri(xo_conn **c, const char *uri)
{
    xo_open_options o = {.cfg = cfg, .lock_ms = 1000, .connect_ms = 1000, .idle_ms = 1000};
    ck_assert_msg(xo_uri_parse(&o.uri, uri) == XONCE_OK, "%s: %s", uri, xonce_error_last()->text);
    xonce_status st = d->open(c, &o);
    xo_uri_free(&o.uri);
    return st;
}

START_TEST(bad_uris)
{
    static const struct {
        const char *uri, *word;
    } bad[] = {{"mysql://u@h", "no database"},
               {"mysql://u@h/", "no database"},
               {"mysql://u@h/db/x", "slash"},
               {"mysql://u@h/db?sockett=/x", "did you mean \"socket\""},
               {"mysql://u@h/db?ssl-verify=maybe", "0 or 1"},
               {"mysql://u@h/db?mode=rx", "ro or rw"},
               {"mysql://u@h/db?defaults-file=/nonexistent/my.cnf", "cannot be read"},
               {"mysql://u@h/db?ssl-ca=/nonexistent/ca.pem", "cannot be read"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        xo_conn *c = NULL;
        ck_assert_int_eq(open_uri(&c, bad[i].uri), XONCE_E_INVALID);
        ck_assert_ptr_null(c);
        ck_assert_msg(strstr(xonce_error_last()->text, bad[i].word) != NULL, "%s: %s", bad[i].uri, xonce_error_last()->text);
    }
}
END_TEST

START_TEST(refused_connections_say_why)
{
    xo_conn *c = NULL;
    const char *user = server.user ? server.user : "root", *password = server.password ? server.password : "";
    expect_class(try_open(&c, DB, "nobody_here", "secret-word", ""), XONCE_E_AUTH, XO_SQL_SETUP, "denied");
    ck_assert_ptr_null(strstr(xonce_error_last()->text, "secret-word"));
    expect_class(try_open(&c, "no_such_db", user, password, ""), XONCE_E_SQL, XO_SQL_SETUP, "Unknown database");
    ck_assert_ptr_null(c);
    expect_class(open_uri(&c, "mysql://u@localhost/db?socket=/nonexistent/s"), XONCE_E_CONNECT, XO_SQL_LOST, "/nonexistent/s");
    expect_class(open_uri(&c, "mysql://u@127.0.0.1:1/db"), XONCE_E_CONNECT, XO_SQL_LOST, "127.0.0.1:1");
    ck_assert_ptr_null(c);
}
END_TEST

/* A server that takes the connection and then says nothing. */
START_TEST(silent_servers_time_out)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(fd, 4), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    char uri[80];
    xo_conn *c = NULL;
    snprintf(uri, sizeof uri, "mysql://u@127.0.0.1:%d/db", ntohs(a.sin_port));
    int64_t from = xo_mono_ms();
    expect_class(open_uri(&c, uri), XONCE_E_CONNECT, XO_SQL_LOST, "127.0.0.1");
    ck_assert_int_lt(xo_mono_ms() - from, 30000);
    close(fd);
}
END_TEST

static int keep_text(const xonce_row *r, void *arg)
{
    snprintf(arg, 256, "%s", r->text[0] ? r->text[0] : "NULL");
    return 0;
}

static void session_value(xo_conn *c, const char *name, char out[256])
{
    char sql[80];
    snprintf(sql, sizeof sql, "SELECT @@session.%s", name);
    xo_sql *s = make_sql(sql);
    ck_assert_msg(d->query(c, s, NULL, 0, keep_text, out, NULL) == XONCE_OK, "%s", xonce_error_last()->text);
    xo_sql_free(s);
}

START_TEST(settings_of_the_session)
{
    char v[256];
    raw("SET GLOBAL sql_mode = 'ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'");
    xo_conn *c = open_db(2500);
    raw("SET GLOBAL sql_mode = DEFAULT");
    session_value(c, "sql_mode", v);
    ck_assert_msg(strstr(v, "STRICT_ALL_TABLES") && strstr(v, "ERROR_FOR_DIVISION_BY_ZERO"), "%s", v);
    session_value(c, "autocommit", v);
    ck_assert_str_eq(v, "0");
    session_value(c, "time_zone", v);
    ck_assert_str_eq(v, "+00:00");
    session_value(c, "innodb_lock_wait_timeout", v);
    ck_assert_str_eq(v, "3");
    session_value(c, "character_set_client", v);
    ck_assert_str_eq(v, "utf8mb4");
    xo_my *m = (xo_my *)c;
    session_value(c, m->server_maria && m->version < 110100 ? "tx_isolation" : "transaction_isolation", v);
    ck_assert_str_eq(v, "READ-COMMITTED");
    if (m->server_maria) {
        session_value(c, "idle_transaction_timeout", v);
        ck_assert_str_eq(v, "30");
    }
    ck_assert_int_eq(c->in_tx, 0);
    ck_assert_int_eq(m->my->server_status & SERVER_STATUS_IN_TRANS, 0);
    ck_assert_int_eq(d->usable(c), 1);
    d->close(c);
}
END_TEST

START_TEST(passwords_from_file_and_environment)
{
    char path[] = "/tmp/xonce-my-XXXXXX", query[80];
    xo_conn *c = NULL;
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    static const char text[] = "[client]\npassword=from-file\ndefault-character-set=latin1\n";
    ck_assert_int_eq(write(fd, text, sizeof text - 1), (ssize_t)sizeof text - 1);
    close(fd);
    raw("DROP USER IF EXISTS xonce_pw");
    raw("CREATE USER xonce_pw IDENTIFIED BY 'from-file'");
    raw("GRANT ALL ON xonce_dialect.* TO xonce_pw");
    snprintf(query, sizeof query, "&defaults-file=%s", path);
    ck_assert_msg(try_open(&c, DB, "xonce_pw", "", query) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_str_eq(mysql_character_set_name(((xo_my *)c)->my), "utf8mb4");
    d->close(c);
    ck_assert_int_eq(try_open(&c, DB, "xonce_pw", "", ""), XONCE_E_AUTH);
    setenv("MYSQL_PWD", "from-file", 1);
    ck_assert_msg(try_open(&c, DB, "xonce_pw", "", "") == XONCE_OK, "%s", xonce_error_last()->text);
    unsetenv("MYSQL_PWD");
    d->close(c);
    raw("DROP USER xonce_pw");
    unlink(path);
}
END_TEST

START_TEST(read_only_is_said)
{
    xo_open_options o = options_for(DB, server.user ? server.user : "root", server.password ? server.password : "", "", 1000);
    xo_conn *c = NULL;
    o.read_only = 1;
    ck_assert_msg(d->open(&c, &o) == XONCE_OK, "%s", xonce_error_last()->text);
    xo_uri_free(&o.uri);
    begin(c);
    expect_class(run(c, "INSERT INTO t (a) VALUES (1)"), XONCE_E_SQL, XO_SQL_SETUP, "READ ONLY");
    d->rollback(c);
    ck_assert_int_eq(c->lost, 0);
    d->close(c);
}
END_TEST

/* ---- claims ---- */

START_TEST(claims_and_duplicates)
{
    use_dialect(dialects[_i]);
    xo_conn *c = open_db(1000);
    int64_t now = 0, wall = xo_now_ms();
    begin(c);
    ck_assert_int_eq(claim(c, "g", "b#g"), 1);
    committed(c);
    begin(c);
    xo_claim r[] = {row("a#g"), row("b#g"), row("c#g"), row("d#g")};
    r[2].topic = "other";
    ck_assert_msg(d->claim(c, "g", r, 4, &now) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert(llabs(now - wall) < 60000);
    ck_assert(r[0].fresh && !r[1].fresh && r[2].fresh && r[3].fresh);
    ck_assert_int_eq(d->read_back(c, "g", r, 4), XONCE_OK);
    ck_assert_int_eq(r[1].found, 1);
    ck_assert_str_eq(r[1].found_digest, DIGEST);
    ck_assert_str_eq(r[1].found_topic, "orders");
    committed(c);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 4);
    expect_text("SELECT CONCAT_WS(',', consumer_group, message_id, topic_name, queue_id, `offset`, broker_name, store_time, COALESCE(log_offset, 'null'), digest) FROM transaction_record "
                "WHERE message_id = 'c#g'",
                "g,c#g,other,3,7,b,5,null,0123456789ABCDEF0123456789ABCDEF");
    ck_assert(llabs(number("SELECT ctime FROM transaction_record WHERE message_id = 'c#g'") - wall) < 60000);
    int64_t first = number("SELECT ctime FROM transaction_record WHERE message_id = 'c#g'");
    xo_pause_ms(20); /* the statement is prepared once, its time is of each run */
    begin(c);
    xo_claim later[] = {row("l1#g"), row("l2#g"), row("l3#g"), row("l4#g")};
    ck_assert_msg(d->claim(c, "g", later, 4, &now) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_ge(number("SELECT " XO_MY_NOW) + 1, now);
    committed(c);
    ck_assert_int_ge(number("SELECT ctime FROM transaction_record WHERE message_id = 'l4#g'"), first + 20);
    begin(c); /* all are there, and the time comes nevertheless */
    now = 0;
    ck_assert_msg(d->claim(c, "g", r, 4, &now) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert(!r[0].fresh && !r[1].fresh && !r[2].fresh && !r[3].fresh && llabs(now - wall) < 60000);
    /* another group's key is another row's, also when the bytes are the same */
    ck_assert_int_eq(d->read_back(c, "h", &r[0], 1), XONCE_OK);
    ck_assert_int_eq(r[0].found, 0);
    d->rollback(c);
    d->close(c);
}
END_TEST

typedef struct {
    int rows;
    int64_t count;
    char text[600];
} answer;

static int on_answer(const xonce_row *r, void *arg)
{
    answer *a = arg;
    a->rows++;
    a->count = xonce_row_int(r, 0);
    snprintf(a->text, sizeof a->text, "%s", xonce_row_text(r, 1));
    return 0;
}

/* A question goes along with a claim where the server takes both at once; it sees what the claim did. */
START_TEST(a_question_along_with_a_claim)
{
    use_dialect(dialects[_i]);
    xo_conn *c = open_db(1000);
    xo_sql *sql = NULL;
    answer a = {0};
    char text[500];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    ck_assert_int_eq(xo_sql_make(&sql, XO_DIALECT_MYSQL, "SELECT COUNT(*), $1 FROM transaction_record WHERE message_id LIKE $2"), XONCE_OK);
    xonce_value v[] = {xonce_text(text), xonce_text("%#g")};
    for (int round = 0; round < 3; round++) {
        xo_ask ask = {.sql = sql, .v = v, .fn = on_answer, .arg = &a};
        xo_claim r[] = {row("a#g"), row("b#g"), row("c#g")};
        r[0].key = round == 1 ? "d#g" : "a#g";
        begin(c);
        c->ask = &ask;
        ck_assert_msg(d->claim(c, "g", r, 3, NULL) == XONCE_OK, "%s", xonce_error_last()->text);
        c->ask = NULL;
        ck_assert_int_eq(ask.done, _i == 0);
        ck_assert(r[0].fresh == (round < 2) && r[1].fresh == (round == 0) && r[2].fresh == (round == 0));
        ck_assert_int_eq(d->read_back(c, "g", r, 3), XONCE_OK);
        ck_assert_int_eq(r[1].found, round > 0);
        committed(c);
        ck_assert_int_eq(a.rows, _i == 0 ? round + 1 : 0);
        ck_assert_int_eq(a.count, _i > 0 ? 0 : round ? 4 : 3);
        ck_assert(_i > 0 || strcmp(a.text, text) == 0);
    }
    xo_sql_free(sql);
    ck_assert_int_eq(xo_sql_make(&sql, XO_DIALECT_MYSQL, "SELECT 1 FROM no_such_table WHERE 1 = $1 OR 2 = $2"), XONCE_OK);
    xo_ask lost = {.sql = sql, .v = v, .fn = on_answer, .arg = &a};
    xo_claim r[] = {row("e#g"), row("f#g")};
    begin(c);
    c->ask = &lost;
    xonce_status st = d->claim(c, "g", r, 2, NULL);
    c->ask = NULL;
    ck_assert(lost.done == 0 && (_i == 0) == (st != XONCE_OK));
    d->rollback(c);
    begin(c); /* and the connection is of use still */
    ck_assert_int_eq(claim(c, "g", "e#g"), 1);
    committed(c);
    xo_sql_free(sql);
    d->close(c);
}
END_TEST

/* After a statement that failed the transaction goes on, provided that it is still there: an error may have taken all of it along. */
START_TEST(recovers_its_own_transaction_only)
{
    use_dialect(dialects[_i]);
    raw("CREATE TABLE IF NOT EXISTS fence (id INT PRIMARY KEY, n INT)");
    raw("TRUNCATE fence");
    xo_conn *c = open_db(1000);
    xo_sql *insert = NULL, *rollback = NULL;
    ck_assert_int_eq(xo_sql_make(&insert, XO_DIALECT_MYSQL, "INSERT INTO fence (id, n) VALUES ($1, 7)"), XONCE_OK);
    ck_assert_int_eq(xo_sql_make(&rollback, XO_DIALECT_MYSQL, "ROLLBACK"), XONCE_OK);
    xonce_value id[3] = {xonce_int(1), xonce_null(), xonce_int(3)};
    xo_stmt s[3];
    for (size_t i = 0; i < 3; i++)
        s[i] = (xo_stmt){.sql = insert, .v = &id[i]};
    for (int gone = 0; gone < 3; gone++) { /* 2: no savepoint was asked for */
        size_t failed = 99, from = 99;
        begin(c);
        c->parts = gone < 2;
        ck_assert_int_eq(d->commit(c, s, 3, &failed), XONCE_E_SQL);
        ck_assert_uint_eq(failed, 1);
        if (gone == 1)
            ck_assert_int_eq(d->query(c, rollback, NULL, 0, NULL, NULL, NULL), XONCE_OK);
        ck_assert_int_eq(d->recover(c, failed, &from) == XONCE_OK, gone == 0);
        c->parts = 0;
        if (gone == 0) {
            ck_assert_uint_eq(from, 1);
            ck_assert_int_eq(d->commit(c, s + 2, 1, &failed), XONCE_OK);
            ck_assert_int_eq(number("SELECT SUM(id) FROM fence"), 4);
            raw("TRUNCATE fence");
        } else {
            d->rollback(c);
        }
    }
    ck_assert_int_eq(number("SELECT COUNT(*) FROM fence"), 0);
    raw("DROP TABLE fence");
    xo_sql_free(insert);
    xo_sql_free(rollback);
    d->close(c);
}
END_TEST

/* Fences that go with the COMMIT: which one failed is told, and nothing is committed then. */
START_TEST(fences_with_the_commit)
{
    use_dialect(dialects[_i]);
    raw("CREATE TABLE IF NOT EXISTS fence (id INT PRIMARY KEY, n INT)");
    raw("TRUNCATE fence");
    raw("INSERT INTO fence VALUES (1, 0), (2, 0), (3, 0)");
    xo_conn *c = open_db(1000);
    xo_sql *move = NULL, *insert = NULL;
    ck_assert_int_eq(xo_sql_make(&move, XO_DIALECT_MYSQL, "UPDATE fence SET n = n + $2 WHERE id = $1"), XONCE_OK);
    ck_assert_int_eq(xo_sql_make(&insert, XO_DIALECT_MYSQL, "INSERT INTO fence (id, n) VALUES ($1, 7)"), XONCE_OK);
    static const struct {
        int fence[3], insert, failed;
        xonce_status st;
    } cases[] = {{{1, 2, 3}, 10, 4, XONCE_OK}, {{1, 9, 3}, 11, 1, XONCE_E_FENCED}, {{1, 2, 9}, 12, 2, XONCE_E_FENCED}, {{9, 2, 3}, 10, 0, XONCE_E_FENCED}, {{1, 2, 3}, 10, 3, XONCE_E_SQL}, {{3, 2, 1}, 13, 4, XONCE_OK}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        xonce_value v[3][2], row[] = {xonce_int(cases[i].insert)};
        xo_stmt s[4];
        size_t failed = 99;
        for (size_t k = 0; k < 3; k++) {
            v[k][0] = xonce_int(cases[i].fence[k]);
            v[k][1] = xonce_int(1);
            s[k] = (xo_stmt){.sql = move, .v = v[k], .fence = 1};
        }
        s[3] = (xo_stmt){.sql = insert, .v = row};
        begin(c);
        xonce_status st = d->commit(c, s, 4, &failed);
        ck_assert_msg(st == cases[i].st && failed == (size_t)cases[i].failed, "case %zu: %d, statement %zu: %s", i, st, failed, xonce_error_last()->text);
        if (st != XONCE_OK)
            d->rollback(c);
    }
    ck_assert_int_eq(number("SELECT SUM(n) FROM fence WHERE id < 4"), 6);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM fence"), 5);
    ck_assert_int_eq(((xo_my *)c)->compound, _i == 0);
    raw("DROP TABLE fence");
    xo_sql_free(move);
    xo_sql_free(insert);
    d->close(c);
}
END_TEST

START_TEST(many_claims_at_once)
{
    enum { N = 1300 };
    use_dialect(dialects[_i]);
    static char key[N][16];
    static xo_claim r[N];
    xo_conn *c = open_db(1000);
    for (int i = 0; i < N; i++) {
        snprintf(key[i], sizeof key[i], "m%05d#g", i);
        r[i] = row(key[i]);
    }
    begin(c);
    ck_assert_int_eq(claim(c, "g", key[700]), 1);
    ck_assert_int_eq(claim(c, "g", key[3]), 1);
    committed(c);
    begin(c);
    ck_assert_msg(d->claim(c, "g", r, N, NULL) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_eq(d->read_back(c, "g", r, N), XONCE_OK);
    for (int i = 0; i < N; i++)
        ck_assert_msg(r[i].fresh == (i != 3 && i != 700) && (r[i].fresh || r[i].found), "row %d", i);
    committed(c);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), N);
    d->close(c);
}
END_TEST

START_TEST(vendor_table)
{
    use_dialect(dialects[_i]);
    raw("DROP TABLE transaction_record");
    raw(VENDOR_TABLE("VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin"));
    xo_conn *c = open_db(1000);
    xo_layout l = {0};
    begin(c);
    ck_assert_int_eq(claim(c, "g", "a#g"), 1);
    ck_assert_int_eq(claim(c, "g", "a#g"), 0);
    committed(c);
    ck_assert_int_eq(d->layout(c, &l), XONCE_OK);
    ck_assert(l.exists && !l.has_ours);
    raw("ALTER TABLE transaction_record ADD COLUMN store_time BIGINT NULL, ADD COLUMN log_offset BIGINT NULL, ADD COLUMN digest CHAR(32) NULL");
    ck_assert_int_eq(d->layout(c, &l), XONCE_OK);
    ck_assert(l.exists && l.has_ours);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "b#g"), 1);
    ck_assert_int_eq(claim(c, "g", "a#g"), 0);
    committed(c);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record WHERE digest IS NULL"), 1);
    raw("DROP TABLE transaction_record");
    ck_assert_int_eq(d->layout(c, &l), XONCE_OK);
    ck_assert_int_eq(l.exists, 0);
    begin(c);
    xo_claim r = row("c#g");
    xonce_status st = d->claim(c, "g", &r, 1, NULL);
    ck_assert_msg(xo_error_class() == XO_SQL_SETUP && st != XONCE_OK, "%s", xonce_error_last()->text);
    d->rollback(c);
    d->close(c);
    c = open_db(1000);
    begin(c);
    expect_class(d->claim(c, "g", &r, 1, NULL), XONCE_E_SCHEMA, XO_SQL_SETUP, "xonce init");
    d->close(c);
}
END_TEST

static xonce_status claim_status(xo_conn *c, const char *key)
{
    xo_claim r[] = {row(key), row("z#g")};
    return d->claim(c, "g", r, 2, NULL);
}

/* The id is free, but another unique key is not: an AUTO_INCREMENT that lags after a restore (made here by a trigger), an index of somebody's. */
START_TEST(refused_by_another_key)
{
    use_dialect(dialects[_i]);
    xo_conn *c = open_db(1000);
    raw("INSERT INTO transaction_record (message_id, ctime, queue_id, `offset`) VALUES ('old#g', 1, 0, 0)");
    raw("CREATE TRIGGER lagging BEFORE INSERT ON transaction_record FOR EACH ROW SET NEW.id = (SELECT MIN(id) FROM transaction_record)");
    begin(c);
    expect_class(claim_status(c, "m1#g"), XONCE_E_SQL, XO_SQL_OTHER, "not because of its id");
    d->rollback(c);
    begin(c); /* also when one of the batch is a true duplicate */
    expect_class(claim_status(c, "old#g"), XONCE_E_SQL, XO_SQL_OTHER, "not because of its id");
    d->rollback(c);
    raw("DROP TRIGGER lagging");
    raw("CREATE UNIQUE INDEX somebodys ON transaction_record (topic_name)");
    begin(c);
    expect_class(claim_status(c, "m1#g"), XONCE_E_SQL, XO_SQL_OTHER, "not because of its id");
    d->rollback(c);
    raw("DROP INDEX somebodys ON transaction_record");
    raw("UPDATE transaction_record SET id = 9223372036854775807");
    begin(c);
    expect_class(claim_status(c, "m1#g"), XONCE_E_SQL, XO_SQL_OTHER, "");
    d->rollback(c);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 1);
    d->close(c);
}
END_TEST

/* INSERT IGNORE makes a warning of a trigger's error, and cuts what does not fit. */
START_TEST(what_ignore_would_hide)
{
    use_dialect(dialects[_i]);
    xo_conn *c = open_db(1000);
    raw("CREATE TRIGGER no_m1 BEFORE INSERT ON transaction_record FOR EACH ROW IF NEW.message_id = 'm1#g' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'swallowed'; END IF");
    begin(c);
    expect_class(claim_status(c, "m1#g"), XONCE_E_SQL, XO_SQL_OTHER, "swallowed");
    d->rollback(c);
    raw("DROP TRIGGER no_m1");
    raw("CREATE TRIGGER rename_m1 BEFORE INSERT ON transaction_record FOR EACH ROW SET NEW.message_id = REPLACE(NEW.message_id, 'm1', 'm9')");
    if (((xo_my *)c)->returning) { /* MySQL returns nothing; there `check` warns of triggers */
        begin(c);
        expect_class(claim_status(c, "m1#g"), XONCE_E_SQL, XO_SQL_OTHER, "another id");
        d->rollback(c);
    }
    raw("DROP TRIGGER rename_m1");
    raw("ALTER TABLE transaction_record MODIFY topic_name VARCHAR(3) NOT NULL");
    begin(c);
    xonce_status st = claim_status(c, "m1#g");
    ck_assert_msg(st == XONCE_E_SQL && strstr(xonce_error_last()->text, "topic_name"), "%s", xonce_error_last()->text);
    d->rollback(c);
    raw("ALTER TABLE transaction_record MODIFY topic_name VARCHAR(255) CHARACTER SET latin1 NOT NULL");
    begin(c);
    xo_claim r = row("m2#g");
    r.topic = "\xe4\xb8\xad";
    expect_class(d->claim(c, "g", &r, 1, NULL), XONCE_E_SQL, XO_SQL_OTHER, "");
    d->rollback(c);
    char long_topic[300];
    memset(long_topic, 'x', sizeof long_topic);
    long_topic[299] = 0;
    r.topic = long_topic;
    begin(c);
    ck_assert_int_eq(d->claim(c, "g", &r, 1, NULL), XONCE_E_INVALID);
    d->rollback(c);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 0);
    d->close(c);
}
END_TEST

/* The vendor's collation takes order-AB for order-ab: refused, but not a duplicate; the rest of the batch is not held up. */
START_TEST(folding_key_is_no_duplicate)
{
    use_dialect(dialects[_i]);
    raw("DROP TABLE transaction_record");
    raw(VENDOR_TABLE("VARCHAR(255)"));
    xo_conn *c = open_db(1000);
    begin(c);
    ck_assert_int_eq(claim(c, "g", "order-ab#g"), 1);
    committed(c);
    begin(c);
    xo_claim r[] = {row("a#g"), row("order-AB#g"), row("z#g")};
    ck_assert_msg(d->claim(c, "g", r, 3, NULL) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_eq(d->read_back(c, "g", r, 3), XONCE_OK);
    ck_assert(r[0].fresh && !r[1].fresh && !r[1].found && r[2].fresh);
    d->rollback(c);
    d->close(c);
}
END_TEST

/* ---- two connections ---- */

typedef struct {
    xo_conn *c;
    const char *key;
    int result; /* as claim(); -2: an error */
    xo_sql_class cls;
} waiter;

static void *claim_in_thread(void *arg)
{
    waiter *w = arg;
    xo_claim r = row(w->key);
    w->result = -2;
    xonce_status st = d->claim(w->c, "g", &r, 1, NULL);
    if (st == XONCE_OK && !r.fresh)
        st = d->read_back(w->c, "g", &r, 1);
    w->cls = xo_error_class();
    if (st == XONCE_OK)
        w->result = r.fresh ? 1 : r.found ? 0 : -1;
    return NULL;
}

static void second_copy(int commits, int want)
{
    xo_conn *a = open_db(5000), *b = open_db(5000);
    waiter w = {.c = b, .key = "m#g"};
    pthread_t t;
    begin(a);
    begin(b);
    ck_assert_int_eq(claim(a, "g", "m#g"), 1);
    pthread_create(&t, NULL, claim_in_thread, &w);
    wait_for_lock_wait();
    if (commits)
        committed(a);
    else
        d->rollback(a);
    pthread_join(t, NULL);
    ck_assert_int_eq(w.result, want);
    committed(b);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 1);
    d->close(a);
    d->close(b);
}

START_TEST(second_copy_waits)
{
    use_dialect(dialects[_i]);
    second_copy(1, 0);
    raw("DELETE FROM transaction_record");
    second_copy(0, 1);
}
END_TEST

START_TEST(waiting_is_bounded)
{
    use_dialect(dialects[_i]);
    xo_conn *a = open_db(1000), *b = open_db(1000);
    begin(a);
    begin(b);
    ck_assert_int_eq(claim(a, "g", "m#g"), 1);
    xo_claim r = row("m#g");
    int64_t from = xo_mono_ms();
    expect_class(d->claim(b, "g", &r, 1, NULL), XONCE_E_CONFLICT, XO_SQL_AGAIN, "1205");
    ck_assert_int_lt(xo_mono_ms() - from, 30000);
    ck_assert_int_eq(xonce_error_last()->again, 1);
    expect_class(run(b, "INSERT INTO t (a) VALUES (1)"), XONCE_E_CONFLICT, XO_SQL_AGAIN, "rolled back");
    ck_assert_int_eq(commit(b), XONCE_E_CONFLICT);
    d->rollback(b);
    begin(b);
    ran(b, "INSERT INTO t (a) VALUES (1)");
    committed(b);
    d->close(a);
    d->close(b);
}
END_TEST

/* ---- joined connections ---- */

START_TEST(joining)
{
    use_dialect(dialects[_i]);
    MYSQL *my = raw_open(DB);
    xo_conn *c = NULL;
    ck_assert_int_eq(wrap(&c, my), XONCE_E_INVALID);
    ck_assert_ptr_null(c);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "START TRANSACTION"));
    for (int round = 0; round < 3; round++) {
        raw_on(my, "START TRANSACTION");
        char sql[64];
        snprintf(sql, sizeof sql, "INSERT INTO t (a) VALUES (%d)", round);
        raw_on(my, sql);
        ck_assert_msg(wrap(&c, my) == XONCE_OK, "%s", xonce_error_last()->text);
        ck_assert(c->joined && c->in_tx);
        ck_assert_int_eq(claim(c, "g", "m#g"), round != 2);
        ck_assert_ptr_eq(d->native(c), my);
        ck_assert_int_eq(d->after_lent(c), XONCE_OK);
        size_t failed = 0;
        ck_assert_int_eq(d->commit(c, NULL, 0, &failed), XONCE_E_INVALID);
        d->rollback(c);
        d->close(c);
        raw_on(my, round == 1 ? "COMMIT" : "ROLLBACK");
    }
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record"), 1);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM t"), 1);
    ck_assert_int_eq(mysql_query(my, "SELECT 1"), 0);
    ck_assert_int_eq(wrap(&c, my), XONCE_E_INVALID);
    mysql_free_result(mysql_store_result(my));
    mysql_close(my);
}
END_TEST

/* The user's snapshot is older than the other's commit: the claim and the read back see it all the same. */
START_TEST(joining_an_old_snapshot)
{
    use_dialect(dialects[_i]);
    MYSQL *my = raw_open(DB);
    xo_conn *c = NULL;
    raw_on(my, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ");
    raw_on(my, "START TRANSACTION WITH CONSISTENT SNAPSHOT");
    raw_on(my, "SELECT COUNT(*) FROM transaction_record");
    xo_conn *other = open_db(1000);
    begin(other);
    ck_assert_int_eq(claim(other, "g", "m#g"), 1);
    committed(other);
    d->close(other);
    ck_assert_int_eq(wrap(&c, my), XONCE_OK);
    ck_assert_int_eq(claim(c, "g", "m#g"), 0);
    ck_assert_int_eq(claim(c, "g", "n#g"), 1);
    d->close(c);
    raw_on(my, "ROLLBACK");
    mysql_close(my);
}
END_TEST

START_TEST(joined_sessions_keep_their_settings)
{
    MYSQL *my = raw_open(DB);
    xo_conn *c = NULL;
    raw("CREATE TABLE times (a TIMESTAMP(3) NULL, b DATETIME(3))");
    raw_on(my, "SET time_zone = '+05:30'");
    raw_on(my, "START TRANSACTION");
    ck_assert_int_eq(wrap(&c, my), XONCE_OK);
    xonce_value v[] = {xonce_time(1700000000123), xonce_time(1700000000123)};
    ck_assert_msg(run_values(c, "INSERT INTO times VALUES ($1, $2)", v, 2) == XONCE_OK, "%s", xonce_error_last()->text);
    d->close(c);
    raw_on(my, "COMMIT");
    raw_on(my, "SET @zone = @@session.time_zone");
    ck_assert_int_eq(mysql_query(my, "SELECT @@session.time_zone, @@session.autocommit"), 0);
    MYSQL_RES *r = mysql_store_result(my);
    MYSQL_ROW w = mysql_fetch_row(r);
    ck_assert_str_eq(w[0], "+05:30");
    ck_assert_str_eq(w[1], "1");
    mysql_free_result(r);
    raw("SET time_zone = '+00:00'");
    expect_text("SELECT CONCAT(a, ' ', b) FROM times", "2023-11-14 22:13:20.123 2023-11-14 22:13:20.123");
    /* in another character set only ASCII goes through unharmed */
    ck_assert_int_eq(mysql_set_character_set(my, "latin1"), 0);
    raw_on(my, "START TRANSACTION");
    ck_assert_int_eq(wrap(&c, my), XONCE_OK);
    xonce_value plain[] = {xonce_text_n("abc", 3)}, accent[] = {xonce_text_n("\xc3\xa1", 2)};
    ck_assert_int_eq(run_values(c, "INSERT INTO t (a, b) VALUES (1, $1)", plain, 1), XONCE_OK);
    ck_assert_int_eq(run_values(c, "INSERT INTO t (a, b) VALUES (2, $1)", accent, 1), XONCE_E_INVALID);
    d->close(c);
    raw_on(my, "ROLLBACK");
    mysql_close(my);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {bad_uris, 0}, {refused_connections_say_why, 0}, {silent_servers_time_out, 0}, {settings_of_the_session, 0}, {passwords_from_file_and_environment, 0}, {read_only_is_said, 0},
        {claims_and_duplicates, 1}, {a_question_along_with_a_claim, 1}, {recovers_its_own_transaction_only, 1}, {fences_with_the_commit, 1}, {many_claims_at_once, 1}, {vendor_table, 1}, {refused_by_another_key, 1}, {what_ignore_would_hide, 1}, {folding_key_is_no_duplicate, 1},
        {second_copy_waits, 1}, {waiting_is_bounded, 1}, {joining, 1}, {joining_an_old_snapshot, 1}, {joined_sessions_keep_their_settings, 0},
    };
    return run_suite("dialect mysql", tests, sizeof tests / sizeof *tests);
}
