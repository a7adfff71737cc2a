/* xonce_settled and the store's name: rows as they were saved, growing only, by many at once, there after a SIGKILL. */
#include "suite.h"
#include "store/settled.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

static const xo_position_ops *ops;

/* Of topic "t", broker "b", tags "*". */
static xo_range range(int32_t queue, int64_t generation, int64_t first, int64_t next, int64_t last)
{
    return (xo_range){.topic = (char *)"t", .broker = (char *)"b", .tags = (char *)"*", .queue = queue, .generation = generation, .first = first, .next = next,
                      .last_store_time = last, .last_log_offset = last < 0 ? -1 : last + 7, .epoch = 1};
}

static void save_all(xonce_store *s, const xo_range *r, size_t n)
{
    ck_assert_msg(ops->save(s, r, n) == XONCE_OK, "%s", xonce_error_last()->text);
}

static void save(xonce_store *s, xo_range r)
{
    save_all(s, &r, 1);
}

static size_t load(xonce_store *s, const char *topic, const char *broker, int32_t queue, xo_range **out)
{
    size_t n = 99;
    ck_assert_msg(ops->load(s, topic, broker, queue, out, &n) == XONCE_OK, "%s", xonce_error_last()->text);
    return n;
}

/* Row `i` of queue 0 must be this. */
static void expect(xonce_store *s, size_t rows, size_t i, xo_range want)
{
    xo_range *r = NULL;
    ck_assert_uint_eq(load(s, want.topic, want.broker, want.queue, &r), rows);
    ck_assert_str_eq(r[i].topic, want.topic);
    ck_assert_str_eq(r[i].broker, want.broker);
    ck_assert_str_eq(r[i].tags, want.tags);
    ck_assert_int_eq(r[i].queue, want.queue);
    ck_assert_int_eq(r[i].generation, want.generation);
    ck_assert_int_eq(r[i].first, want.first);
    ck_assert_int_eq(r[i].next, want.next);
    ck_assert_int_eq(r[i].last_store_time, want.last_store_time);
    ck_assert_int_eq(r[i].last_log_offset, want.last_log_offset);
    ck_assert_int_eq(r[i].epoch, want.epoch);
    xo_ranges_free(r, rows);
}

static xonce_store *start(void)
{
    ops = xo_store_positions();
    return open_store("GID_a");
}

START_TEST(rows_come_back_as_they_were)
{
    xonce_store *s = start(), *other = open_store("GID_A");
    xo_range *none = NULL;
    ck_assert_uint_eq(load(s, "t", "b", 0, &none), 0);
    ck_assert_ptr_null(none);
    ck_assert_int_eq(ops->save(s, NULL, 0), XONCE_OK);
    xo_range r = range(0, 0, 5, 5, -1);
    save(s, r); /* as a queue is taken over: nothing is settled yet */
    expect(s, 1, 0, r);
    ck_assert_uint_eq(load(other, "t", "b", 0, &none), 0); /* another group */
    ck_assert_uint_eq(load(s, "t", "b", 1, &none), 0);
    ck_assert_uint_eq(load(s, "t", "B", 0, &none), 0);
    xo_range big = {.topic = (char *)"%RETRY%GID_a", .broker = (char *)"broker-a \xf0\x9f\x98\x80", .tags = (char *)"TagA || 'x' || \xc3\xa9", .queue = 2147483647, .generation = 1700000000000,
                    .first = 9000000000000000000, .next = INT64_MAX, .last_store_time = INT64_MAX, .last_log_offset = INT64_MAX - 1, .epoch = INT64_MAX - 2};
    save(s, big);
    expect(s, 1, 0, big);
    xonce_store_close(other);
    xonce_store_close(s);
}
END_TEST

/* Collations take all of these for one. */
START_TEST(names_are_bytes)
{
    static const char *const names[] = {"t", "T", "t ", "t  ", "\xc3\xa4", "a\xcc\x88", "A\xcc\x88", "\xc3\x84", "\xc3\x9f", "ss"};
    enum { NAMES = sizeof names / sizeof *names };
    xonce_store *s = start();
    xo_range r[NAMES * 2];
    for (size_t i = 0; i < NAMES; i++) {
        r[i] = range(0, 0, 0, (int64_t)i + 1, 1);
        r[i].topic = (char *)names[i];
        r[NAMES + i] = range(0, 0, 0, (int64_t)i + 100, 1);
        r[NAMES + i].broker = (char *)names[i];
    }
    save_all(s, r, NAMES * 2);
    for (size_t i = 0; i < NAMES * 2; i++)
        expect(s, 1, 0, r[i]);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_settled"), NAMES * 2);
    int known = -1;
    ck_assert_int_eq(ops->knows(s, "T", &known), XONCE_OK);
    ck_assert_int_eq(known, 1);
    ck_assert_int_eq(ops->knows(s, "SS", &known), XONCE_OK);
    ck_assert_int_eq(known, 0);
    xonce_store_close(s);
}
END_TEST

START_TEST(rows_come_by_generation)
{
    xonce_store *s = start();
    const xo_range r[] = {range(0, 3, 300, 310, 30), range(0, 10, 1000, 1010, 100), range(0, 1, 100, 110, 10), range(0, 2, 200, 210, 20), range(1, 0, 0, 1, 1)};
    save_all(s, r, 5);
    expect(s, 4, 0, r[2]);
    expect(s, 4, 1, r[3]);
    expect(s, 4, 2, r[0]);
    expect(s, 4, 3, r[1]);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_row_grows_and_never_shrinks)
{
    xonce_store *s = start();
    xo_range row = range(0, 0, 10, 20, 100);
    save(s, row);
    save(s, range(0, 0, 10, 15, 90)); /* an older one */
    expect(s, 1, 0, row);
    save(s, range(0, 0, 10, 20, 500)); /* the maxima rise only with next_offset */
    expect(s, 1, 0, row);
    save(s, range(0, 0, 10, 30, 50)); /* the clock of a broker went back */
    row.next = 30;
    expect(s, 1, 0, row);
    save(s, range(0, 0, 10, 31, -1)); /* nothing for us was in it */
    row.next = 31;
    expect(s, 1, 0, row);
    save(s, range(0, 0, 25, 40, 200)); /* begun later by another owner, which joined on */
    row.next = 40;
    row.last_store_time = 200;
    row.last_log_offset = 207;
    expect(s, 1, 0, row);
    save(s, range(0, 0, 2, 50, 300)); /* begun before: what is before 10 is not claimed */
    row.next = 50;
    row.last_store_time = 300;
    row.last_log_offset = 307;
    expect(s, 1, 0, row);
    xo_range taken = range(0, 0, 10, 50, 300);
    taken.epoch = row.epoch = 7;
    save(s, taken);
    expect(s, 1, 0, row);
    save(s, range(0, 0, 10, 45, 1)); /* epoch 1, from before */
    expect(s, 1, 0, row);
    xonce_store_close(s);
}
END_TEST

START_TEST(gaps_are_never_bridged)
{
    xonce_store *s = start();
    xo_range row = range(0, 0, 10, 20, 100), beside = range(1, 0, 0, 5, 50), after = range(2, 0, 0, 9, 90);
    save(s, row);
    xo_range r[] = {beside, range(0, 0, 21, 40, 400), after};
    ck_assert_int_eq(ops->save(s, r, 3), XONCE_E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "topic t, broker b, queue 0, generation 0"));
    expect(s, 1, 0, row);
    expect(s, 1, 0, beside); /* the others are written */
    expect(s, 1, 0, after);
    xo_range other_tags = range(0, 0, 10, 40, 400);
    other_tags.tags = (char *)"A";
    ck_assert_int_eq(ops->save(s, &other_tags, 1), XONCE_E_CONFLICT);
    expect(s, 1, 0, row);
    save(s, range(0, 0, 20, 40, 400)); /* adjoins */
    row.next = 40;
    row.last_store_time = 400;
    row.last_log_offset = 407;
    expect(s, 1, 0, row);
    save(s, range(0, 0, 10, 12, 1)); /* inside */
    expect(s, 1, 0, row);
    xonce_store_close(s);
}
END_TEST

START_TEST(one_place_twice_in_a_save)
{
    xonce_store *s = start();
    const xo_range r[] = {range(0, 0, 20, 30, 300), range(1, 0, 0, 1, 1), range(0, 0, 10, 20, 900), range(0, 0, 10, 15, 50)};
    save_all(s, r, 4);
    expect(s, 1, 0, range(0, 0, 10, 30, 900));
    const xo_range apart[] = {range(5, 0, 10, 20, 1), range(5, 0, 30, 40, 2)};
    ck_assert_int_eq(ops->save(s, apart, 2), XONCE_E_CONFLICT);
    expect(s, 1, 0, apart[0]);
    xonce_store_close(s);
}
END_TEST

START_TEST(wrong_rows_write_nothing)
{
    xonce_store *s = start();
    char long_name[300];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    xo_range bad[6];
    for (int i = 0; i < 6; i++)
        bad[i] = range(0, 0, 1, 2, 1);
    bad[0].next = 0;
    bad[1].first = -1;
    bad[2].queue = -1;
    bad[3].topic = (char *)"";
    bad[4].broker = long_name;
    bad[5].tags = NULL;
    for (int i = 0; i < 6; i++) {
        xo_range two[] = {range(3, 0, 0, 1, 1), bad[i]};
        ck_assert_int_eq(ops->save(s, two, 2), XONCE_E_INVALID);
    }
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_settled"), 0);
    xonce_store_close(s);
}
END_TEST

START_TEST(hundreds_of_rows_at_once)
{
    enum { N = 501 };
    xonce_store *s = start();
    xo_range *r = calloc(N, sizeof *r);
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < N; i++)
            r[i] = range((i * 37) % N, 0, 0, round * 10 + i, round * 10 + i);
        save_all(s, r, N);
        ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_settled"), N);
        for (int i = 0; i < N; i += 50)
            expect(s, 1, 0, r[i]);
    }
    int known = 0;
    ck_assert_int_eq(ops->knows(s, "t", &known), XONCE_OK);
    ck_assert_int_eq(known, 1);
    free(r);
    xonce_store_close(s);
}
END_TEST

/* ---- the store's name ---- */

START_TEST(a_store_has_one_name)
{
    xonce_store *s = start(), *other = open_store("GID_b");
    char a[9] = "", b[9] = "";
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_store"), 0); /* made when somebody asks */
    ck_assert_int_eq(ops->store_id(s, a), XONCE_OK);
    ck_assert_int_eq(ops->store_id(other, b), XONCE_OK);
    ck_assert_str_eq(a, b);
    ck_assert_uint_eq(strlen(a), 8);
    ck_assert_uint_eq(strspn(a, "0123456789abcdef"), 8);
    char *uuid = sql_text("SELECT value FROM xonce_store WHERE name = 'uuid'");
    ck_assert_uint_eq(strlen(uuid), 36);
    ck_assert(strncmp(uuid, a, 8) == 0 && uuid[8] == '-' && uuid[14] == '4' && strchr("89ab", uuid[19]));
    free(uuid);
    sql("DELETE FROM xonce_store");
    ck_assert_int_eq(ops->store_id(s, b), XONCE_OK);
    ck_assert_str_ne(a, b);
    sql("UPDATE xonce_store SET value = 'none'");
    ck_assert_int_eq(ops->store_id(s, b), XONCE_E_SCHEMA);
    ck_assert_str_eq(b, "");
    xonce_store_close(other);
    xonce_store_close(s);
}
END_TEST

typedef struct {
    xonce_store *s;
    char id[9];
    xonce_status st;
} asker;

static void *ask_name(void *arg)
{
    asker *a = arg;
    a->st = ops->store_id(a->s, a->id);
    return NULL;
}

START_TEST(all_agree_about_the_name)
{
    enum { THREADS = 8 };
    asker a[THREADS];
    pthread_t t[THREADS];
    xonce_store *s = start();
    for (int i = 0; i < THREADS; i++)
        a[i] = (asker){.s = i % 2 ? open_store("GID_a") : s};
    for (int round = 0; round < 10; round++) {
        sql("DELETE FROM xonce_store");
        for (int i = 0; i < THREADS; i++)
            pthread_create(&t[i], NULL, ask_name, &a[i]);
        for (int i = 0; i < THREADS; i++)
            pthread_join(t[i], NULL);
        for (int i = 0; i < THREADS; i++) {
            ck_assert_int_eq(a[i].st, XONCE_OK);
            ck_assert_str_eq(a[i].id, a[0].id);
        }
    }
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_store"), 1);
    for (int i = 1; i < THREADS; i += 2)
        xonce_store_close(a[i].s);
    xonce_store_close(s);
}
END_TEST

/* ---- many at once ---- */

enum { QUEUES = 70, WRITERS = 6, ROUNDS = 25 };

/* Positions whose maxima follow from next: a row that took one without the other shows. */
static xo_range related(int32_t queue, int64_t next, int64_t epoch)
{
    xo_range r = range(queue, 0, 0, next, next * 10);
    r.last_log_offset = next * 100;
    r.epoch = epoch;
    return r;
}

typedef struct {
    xonce_store *s;
    unsigned seed;
    int64_t most[QUEUES];
    int failed;
    char why[600];
} writer;

static int64_t pick(unsigned *seed, int64_t n)
{
    *seed = *seed * 1103515245u + 12345u;
    return (int64_t)(*seed >> 8) % n;
}

static void *write_positions(void *arg)
{
    writer *w = arg;
    for (int i = 0; i < ROUNDS && !w->failed; i++) {
        xo_range r[QUEUES];
        size_t n = 0;
        for (int q = QUEUES - 1; q >= 0; q--) {
            int64_t next = i * 40 + pick(&w->seed, 100);
            if (pick(&w->seed, 4) == 0)
                continue;
            r[n++] = related(q, next, pick(&w->seed, 1000));
            if (next > w->most[q])
                w->most[q] = next;
        }
        w->failed = ops->save(w->s, r, n) != XONCE_OK;
        if (w->failed)
            snprintf(w->why, sizeof w->why, "%s", xonce_error_last()->text);
    }
    return NULL;
}

static const char wrong_rows[] = "SELECT COUNT(*) FROM xonce_settled WHERE last_store_time <> next_offset * 10 OR last_log_offset <> next_offset * 100 OR first_offset <> 0";

static void never_shrinks(int64_t seen[QUEUES])
{
    xonce_store *s = open_store("GID_a");
    for (int q = 0; q < QUEUES; q++) {
        xo_range *r = NULL;
        size_t n = load(s, "t", "b", q, &r);
        if (n) {
            ck_assert_int_ge(r[0].next, seen[q]);
            seen[q] = r[0].next;
        }
        xo_ranges_free(r, n);
    }
    xonce_store_close(s);
}

START_TEST(writers_at_once_keep_the_greater)
{
    writer *w = calloc(WRITERS, sizeof *w);
    pthread_t t[WRITERS];
    int64_t seen[QUEUES] = {0};
    xonce_store *s = start();
    for (unsigned i = 0; i < WRITERS; i++) {
        w[i].s = i % 2 ? s : open_store("GID_a");
        w[i].seed = i + 1;
        pthread_create(&t[i], NULL, write_positions, &w[i]);
    }
    for (int i = 0; i < 5; i++) {
        never_shrinks(seen);
        ck_assert_int_eq(sql_int(wrong_rows), 0);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(t[i], NULL);
    never_shrinks(seen);
    ck_assert_int_eq(sql_int(wrong_rows), 0);
    for (int i = 0; i < WRITERS; i++)
        ck_assert_msg(!w[i].failed, "%s", w[i].why);
    for (int q = 0; q < QUEUES; q++) {
        int64_t most = 0;
        for (int i = 0; i < WRITERS; i++)
            most = w[i].most[q] > most ? w[i].most[q] : most;
        ck_assert_int_eq(seen[q], most);
    }
    for (int i = 0; i < WRITERS; i += 2)
        xonce_store_close(w[i].s);
    xonce_store_close(s);
    free(w);
}
END_TEST

/* ---- processes that are killed ---- */

/* Saves 1, 2, 3... of all queues, and tells each that is saved. */
static pid_t saver(int fd)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    xonce_store *s = open_store("GID_a");
    for (int64_t i = 1;; i++) {
        xo_range r[QUEUES];
        for (int q = 0; q < QUEUES; q++)
            r[q] = related(q, i, 1);
        if (ops->save(s, r, QUEUES) != XONCE_OK || write(fd, &i, sizeof i) != sizeof i)
            _exit(2);
    }
}

static int64_t read_told(int fd)
{
    int64_t told = 0;
    ck_assert_int_eq(read(fd, &told, sizeof told), sizeof told);
    return told;
}

START_TEST(what_was_saved_outlives_a_kill)
{
    for (int round = 0; round < 6; round++) {
        int fd[2];
        ops = xo_store_positions();
        sql("DELETE FROM xonce_settled");
        ck_assert_int_eq(pipe(fd), 0);
        pid_t pid = saver(fd[1]);
        close(fd[1]);
        int64_t told = 0, more;
        while (told < 1 + round * 2)
            told = read_told(fd[0]);
        if (round % 2) /* not always at the same place */
            xo_pause_ms(round);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        while (read(fd[0], &more, sizeof more) == sizeof more)
            told = more;
        close(fd[0]);
        ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_settled"), QUEUES);
        ck_assert_int_ge(sql_int("SELECT MIN(next_offset) FROM xonce_settled"), told);
        ck_assert_int_eq(sql_int("SELECT MAX(next_offset) - MIN(next_offset) FROM xonce_settled"), 0); /* one transaction */
        ck_assert_int_eq(sql_int(wrong_rows), 0);
    }
}
END_TEST

/* ---- a database that is not as it should be ---- */

START_TEST(a_missing_table_names_the_remedy)
{
    xonce_store *s = start();
    xo_range *r = NULL, one = range(0, 0, 0, 1, 1);
    size_t n = 0;
    int known = 0;
    char id[9];
    sql("DROP TABLE xonce_settled");
    sql("DROP TABLE xonce_store");
    ck_assert_int_eq(ops->load(s, "t", "b", 0, &r, &n), XONCE_E_SCHEMA);
    ck_assert_int_eq(ops->knows(s, "t", &known), XONCE_E_SCHEMA);
    ck_assert_int_eq(ops->store_id(s, id), XONCE_E_SCHEMA);
    ck_assert_int_eq(ops->save(s, &one, 1), XONCE_E_SCHEMA);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "xonce init"));
    ck_assert_int_eq(once(s, "m1", "x"), XONCE_FRESH); /* nothing else needs them */
    ck_assert_int_eq(xonce_store_upgrade(s), XONCE_OK);
    save(s, one);
    expect(s, 1, 0, one);
    xonce_store_close(s);
}
END_TEST

static void swallow_positions(void)
{
    void *c = connect_native();
    if (on == ON_SQLITE) {
        run_native(c, "CREATE TRIGGER swallow_positions BEFORE INSERT ON xonce_settled WHEN NEW.queue_id = 1 BEGIN SELECT RAISE(IGNORE); END");
    } else if (on == ON_POSTGRES) {
        run_native(c, "CREATE OR REPLACE FUNCTION swallow_positions() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.queue_id = 1 THEN RETURN NULL; END IF; RETURN NEW; END'");
        run_native(c, "CREATE TRIGGER swallow_positions BEFORE INSERT ON xonce_settled FOR EACH ROW EXECUTE FUNCTION swallow_positions()");
    }
    disconnect_native(c);
}

START_TEST(a_row_that_was_swallowed_is_an_error)
{
    if (on == ON_MYSQL)
        return; /* no trigger skips a row there */
    xonce_store *s = start();
    swallow_positions();
    const xo_range r[] = {range(0, 0, 0, 1, 1), range(1, 0, 0, 1, 1)};
    ck_assert_int_eq(ops->save(s, r, 2), XONCE_E_SQL);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_settled"), 0);
    save(s, r[0]);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_row_that_is_held_is_no_conflict)
{
    ops = xo_store_positions();
    xonce_store *s = open_store_with("GID_a", "store.lock-timeout", "200ms");
    s->tries = 2;
    xo_range one = range(0, 0, 0, 1, 1);
    save(s, one);
    void *other = connect_native();
    run_native(other, on == ON_SQLITE ? "BEGIN IMMEDIATE" : "BEGIN");
    run_native(other, "UPDATE xonce_settled SET epoch = 9");
    one.next = 2;
    ck_assert_int_eq(ops->save(s, &one, 1), XONCE_E_TIMEOUT);
    ck_assert_int_eq(xonce_error_last()->again, 1);
    run_native(other, "COMMIT");
    disconnect_native(other);
    save(s, one);
    one.epoch = 9;
    expect(s, 1, 0, one);
    xonce_store_close(s);
}
END_TEST

/* The connections that the pool kept are gone: new ones are made without anybody noticing. */
START_TEST(a_restarted_server_is_no_error)
{
    if (on == ON_SQLITE)
        return; /* there is none */
    xonce_store *s = start();
    xo_range one = range(0, 0, 0, 1, 1);
    save(s, one);
    if (on == ON_POSTGRES) {
        sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()");
    } else {
        char *list = sql_text("SELECT GROUP_CONCAT(id) FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND db = DATABASE()"), *rest = NULL;
        for (char *id = strtok_r(list, ",", &rest); id; id = strtok_r(NULL, ",", &rest)) {
            char kill_it[64];
            snprintf(kill_it, sizeof kill_it, "KILL %s", id);
            sql(kill_it);
        }
        free(list);
    }
    one.next = 5;
    save(s, one);
    expect(s, 1, 0, one);
    xonce_store_close(s);
}
END_TEST

Suite *suite_positions(void)
{
    Suite *s = suite_create("positions");
    TCase *t = tcase_create("positions");
    tcase_add_checked_fixture(t, fresh_database, NULL);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, rows_come_back_as_they_were);
    tcase_add_test(t, names_are_bytes);
    tcase_add_test(t, rows_come_by_generation);
    tcase_add_test(t, a_row_grows_and_never_shrinks);
    tcase_add_test(t, gaps_are_never_bridged);
    tcase_add_test(t, one_place_twice_in_a_save);
    tcase_add_test(t, wrong_rows_write_nothing);
    tcase_add_test(t, hundreds_of_rows_at_once);
    tcase_add_test(t, a_store_has_one_name);
    tcase_add_test(t, all_agree_about_the_name);
    tcase_add_test(t, writers_at_once_keep_the_greater);
    tcase_add_test(t, what_was_saved_outlives_a_kill);
    tcase_add_test(t, a_missing_table_names_the_remedy);
    tcase_add_test(t, a_row_that_was_swallowed_is_an_error);
    tcase_add_test(t, a_row_that_is_held_is_no_conflict);
    tcase_add_test(t, a_restarted_server_is_no_error);
    suite_add_tcase(s, t);
    return s;
}
