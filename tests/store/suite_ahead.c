/* A stream of batches, each one's claim sent behind the COMMIT of the one before where the engine can: the outcomes must be those of batches one by one, whatever fails in between. */
#include "suite.h"
#include "base/failpoint.h"

#include <stdio.h>

enum { SIZE = 8, LONGEST = 64 };

/* What is read: message i is the id and body of plan[i]. */
typedef struct {
    const char *const *ids;          /* NULL: new ones without end */
    size_t n, at, size;
    int fed_ahead;                   /* batches that were taken before a COMMIT */
    int stop_feeding;
    struct {
        xonce_message *m[SIZE];
        xo_item items[SIZE];
        size_t n;
    } half[2];
    int now;
    xo_spec spec;
    xo_ahead ahead;
    char outcomes[LONGEST + 1];
    size_t done;
} stream;

static const char *bad;              /* the message that its handler does not like */
static xonce_verdict verdict;
static int calls;

static xonce_verdict handle(xonce_tx *tx, const xonce_message *m, void *arg)
{
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
    if (bad && strcmp(bad, xonce_message_id(m)) == 0)
        return verdict;
    return book(tx, m, arg);
}

/* "id" or "id=body" */
static xonce_message *made(const char *text)
{
    char id[32];
    const char *body = strchr(text, '=');
    snprintf(id, sizeof id, "%.*s", body ? (int)(body - text) : (int)strlen(text), text);
    return message(id, body ? body + 1 : "body");
}

static size_t load(stream *t, int half)
{
    size_t n = 0;
    while (n < t->size && t->at < t->n) {
        char id[24];
        snprintf(id, sizeof id, "m%zu", t->at);
        xonce_message *m = made(t->ids ? t->ids[t->at] : id);
        t->at++;
        t->half[half].m[n] = m;
        t->half[half].items[n++] = (xo_item){.m = m};
    }
    t->half[half].n = n;
    return n;
}

static size_t take(void *arg, xo_item **items, const xo_spec **spec)
{
    stream *t = arg;
    if (t->stop_feeding)
        return 0;
    size_t n = load(t, !t->now);
    t->fed_ahead += n > 0;
    *items = t->half[!t->now].items;
    *spec = &t->spec;
    return n;
}

static void begin(stream *t, const char *const *ids, size_t n, size_t size)
{
    memset(t, 0, sizeof *t);
    t->ids = ids;
    t->n = n;
    t->size = size;
    t->ahead = (xo_ahead){.take = take, .arg = t};
    t->spec = (xo_spec){.one = handle, .ahead = &t->ahead};
    bad = NULL;
    calls = 0;
}

/* Runs the batch that is at hand; 0 when none is. */
static int step(stream *t, xonce_store *s, xonce_status *st)
{
    if (!t->half[t->now].n && !load(t, t->now))
        return 0;
    size_t n = t->half[t->now].n;
    *st = xo_run(s, t->half[t->now].items, n, &t->spec);
    for (size_t i = 0; i < n; i++) {
        xonce_outcome o = t->half[t->now].items[i].outcome;
        if (t->done < LONGEST)
            t->outcomes[t->done++] = o == XONCE_FRESH ? 'F' : o == XONCE_DUPLICATE ? 'D' : o == XONCE_REJECTED ? 'R' : '-';
        xonce_message_free(t->half[t->now].m[i]);
    }
    t->half[t->now].n = 0;
    t->now = !t->now;
    return 1;
}

static const char *run_all(stream *t, xonce_store *s)
{
    xonce_status st = XONCE_OK;
    while (step(t, s, &st))
        ck_assert_msg(st == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_ptr_null(t->ahead.next);
    return t->outcomes;
}

static int goes_ahead(void)
{
    return on == ON_POSTGRES;
}

#define COUNT(a) (sizeof(a) / sizeof *(a))

START_TEST(duplicates_in_and_across_batches)
{
    static const char *const ids[] = {"a", "b", "a", "c", "b", "d", "a", "e", "f", "f", "e", "g"};
    xonce_store *s = open_store("GID_a");
    stream t;
    begin(&t, ids, COUNT(ids), 3);
    ck_assert_str_eq(run_all(&t, s), "FFDFDFDFFDDF");
    ck_assert_int_eq(orders(), 7);
    ck_assert_int_eq(records(), 7);
    ck_assert_int_eq(calls, 7);
    ck_assert_int_eq(t.fed_ahead, goes_ahead() ? 3 : 0);
    xonce_store_close(s);
}
END_TEST

/* One by one, a batch of nothing but duplicates ends without a COMMIT. */
START_TEST(duplicates_alone)
{
    static const char *const ids[] = {"a", "a", "a", "b", "a", "b", "c"};
    xonce_store *s = open_store("GID_a");
    stream t;
    begin(&t, ids, COUNT(ids), 1);
    ck_assert_str_eq(run_all(&t, s), "FDDFDDF");
    ck_assert_int_eq(orders(), 3);
    xonce_store_close(s);
}
END_TEST

/* Another message under an id that a record of an earlier batch has: applied, under an id of its own. */
START_TEST(another_message_under_the_same_id)
{
    static const char *const ids[] = {"a", "b", "a=other", "c", "d", "a=other", "a"};
    xonce_store *s = open_store("GID_a");
    stream t;
    begin(&t, ids, COUNT(ids), 2);
    ck_assert_str_eq(run_all(&t, s), "FFFFFDD");
    ck_assert_int_eq(orders(), 5);
    ck_assert_int_eq(records(), 5);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_bad_message_in_the_batch_before)
{
    static const char *const ids[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    xonce_store *s = open_store("GID_a");
    stream t;
    begin(&t, ids, COUNT(ids), 2);
    bad = "a";
    verdict = _i ? XONCE_REJECT : XONCE_RETRY;
    ck_assert_str_eq(run_all(&t, s), _i ? "RFFFFFFF" : "-FFFFFFF");
    ck_assert_int_eq(orders(), 7);
    ck_assert_int_eq(rejected(), _i);
    xonce_store_close(s);
}
END_TEST

/* A statement that the server refuses: it is noticed when the next claim is on its way already. */
static xonce_verdict refused(xonce_tx *tx, const xonce_message *m, void *arg)
{
    if (strcmp(xonce_message_id(m), "c") == 0)
        return xonce_exec(tx, "INSERT INTO orders (id, body) VALUES (NULL, $1)", xonce_text("x")) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
    return book(tx, m, arg);
}

START_TEST(a_statement_that_fails_with_the_commit)
{
    static const char *const ids[] = {"a", "b", "c", "d", "e", "f", "a", "g"};
    xonce_store *s = open_store("GID_a");
    stream t;
    begin(&t, ids, COUNT(ids), 2);
    t.spec.one = refused;
    ck_assert_str_eq(run_all(&t, s), "FF-FFFDF");
    ck_assert_int_eq(orders(), 6);
    ck_assert_int_eq(records(), 6);
    xonce_store_close(s);
}
END_TEST

/* The connection goes when both are on their way, or nobody has heard the COMMIT's answer: whether the first was committed is not known, the second was not. */
static const char *const unknown_at[] = {"commit-sent=error@2", "committed=error@2"};

START_TEST(the_outcome_of_the_commit_is_not_known)
{
    static const char *const ids[] = {"a", "b", "c", "d", "e", "f"};
    xonce_store *s = open_store("GID_a");
    stream t;
    begin(&t, ids, COUNT(ids), 2);
    ck_assert_int_eq(xo_failpoints_load(unknown_at[_i]), XONCE_OK);
    ck_assert_str_eq(run_all(&t, s), "FFFFFF");
    xo_failpoints_load("");
    ck_assert_int_eq(orders(), 6);
    ck_assert_int_eq(records(), 6);
    xonce_store_close(s);
}
END_TEST

/* What is claimed ahead is nobody's until it is committed. */
START_TEST(dropped_before_it_runs)
{
    static const char *const ids[] = {"a", "b", "c", "d"};
    xonce_store *s = open_store("GID_a");
    xonce_status st;
    stream t;
    begin(&t, ids, COUNT(ids), 2);
    ck_assert_int_eq(step(&t, s, &st), 1);
    ck_assert_int_eq(t.ahead.next != NULL, goes_ahead());
    xo_ahead_drop(&t.ahead);
    ck_assert_ptr_null(t.ahead.next);
    ck_assert_int_eq(records(), 2);
    ck_assert_int_eq(once(s, "c", "body"), XONCE_FRESH); /* and nobody waits for it */
    ck_assert_str_eq(run_all(&t, s), "FFDF");
    ck_assert_int_eq(orders(), 4);
    xonce_store_close(s);
}
END_TEST

typedef struct {
    stream *t;
    xonce_store *s;
    xonce_status st;
    int first_done, over;
} runner;

typedef struct {
    xonce_store *s;
    int done;
    xonce_status st;
} onlooker;

static void *run_in_thread(void *arg)
{
    runner *r = arg;
    (void)step(r->t, r->s, &r->st);
    __atomic_store_n(&r->first_done, 1, __ATOMIC_RELEASE);
    while (r->st == XONCE_OK && step(r->t, r->s, &r->st))
        continue;
    __atomic_store_n(&r->over, 1, __ATOMIC_RELEASE);
    return NULL;
}

static int is_set(void *flag)
{
    return __atomic_load_n((int *)flag, __ATOMIC_ACQUIRE);
}

/* The next batch waits for a claim that another holds: the one before is known to be committed all the same. */
START_TEST(waits_for_another_without_holding_up_the_batch_before)
{
    static const char *const ids[] = {"a", "b", "c", "d"};
    if (on == ON_SQLITE)
        return; /* one writer: nobody else can hold anything */
    xonce_store *s = open_store("GID_a"), *other = open_store("GID_a");
    xonce_tx *tx = NULL;
    xonce_message *m = message("c", "body");
    const xonce_message *one = m;
    xonce_outcome what;
    ck_assert_int_eq(xonce_tx_begin(other, &tx), XONCE_OK);
    ck_assert_int_eq(xonce_tx_claim(tx, &one, 1, &what), XONCE_OK);
    stream t;
    begin(&t, ids, COUNT(ids), 2);
    runner r = {.t = &t, .s = s};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, run_in_thread, &r), 0);
    ck_assert_int_eq(wait_until(is_set, &r.first_done, 20000), 1);
    ck_assert_int_eq(orders(), 2);
    ck_assert_int_eq(is_set(&r.over), 0);
    ck_assert_int_eq(xonce_tx_commit(tx), XONCE_OK);
    pthread_join(thread, NULL);
    ck_assert_msg(r.st == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_str_eq(t.outcomes, "FFDF");
    ck_assert_int_eq(records(), 4);
    xonce_message_free(m);
    xonce_store_close(other);
    xonce_store_close(s);
}
END_TEST

/* A handler that is lent the handle may do to the transaction what it likes: nothing is sent behind its COMMIT. */
static xonce_verdict lend(xonce_tx *tx, const xonce_message *m, void *arg)
{
    if (strcmp(xonce_message_id(m), "b") == 0)
        end_transaction_natively(tx, "INSERT INTO orders (id, body) VALUES ('native', 'x')"); /* ends nothing */
    return book(tx, m, arg);
}

START_TEST(nothing_goes_ahead_of_a_lent_handle)
{
    static const char *const ids[] = {"a", "b", "c", "d"};
    xonce_store *s = open_store("GID_a");
    xonce_status st;
    stream t;
    begin(&t, ids, COUNT(ids), 2);
    t.spec.one = lend;
    ck_assert_int_eq(step(&t, s, &st), 1);
    ck_assert_ptr_null(t.ahead.next);
    ck_assert_str_eq(run_all(&t, s), "FFFF");
    ck_assert_int_eq(orders(), 5);
    xonce_store_close(s);
}
END_TEST

/* Two streams over the same messages at once, in opposite order, many times: each applied once. */
START_TEST(two_streams_over_the_same_messages)
{
    enum { N = 60 };
    static char names[N][16];
    const char *up[N], *down[N];
    xonce_store *s[2] = {open_store("GID_a"), open_store("GID_a")};
    stream t[2];
    runner r[2] = {{.t = &t[0], .s = s[0]}, {.t = &t[1], .s = s[1]}};
    pthread_t thread[2];
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "m%d", i);
        up[i] = down[N - 1 - i] = names[i];
    }
    begin(&t[0], up, N, 4);
    begin(&t[1], down, N, 4);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, run_in_thread, &r[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    size_t fresh = 0;
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(r[i].st, XONCE_OK);
        for (size_t k = 0; k < t[i].done; k++)
            fresh += t[i].outcomes[k] == 'F';
        ck_assert_ptr_null(strchr(t[i].outcomes, '-'));
        xonce_store_close(s[i]);
    }
    ck_assert_int_eq(orders(), N);
    ck_assert_uint_eq(fresh, N);
}
END_TEST

static void *look(void *arg)
{
    onlooker *o = arg;
    o->st = xo_store_query(o->s, "SELECT 1", NULL, 0, NULL, NULL, NULL);
    __atomic_store_n(&o->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* There is one connection, and a stream that would keep it for ever: somebody else gets it all the same. */
START_TEST(one_connection_for_all)
{
    xonce_store *s = open_store_with("GID_a", "store.connections", "1");
    stream t;
    onlooker o = {.s = s};
    pthread_t thread;
    xonce_status st;
    begin(&t, NULL, SIZE_MAX, 1);
    ck_assert_int_eq(step(&t, s, &st), 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, look, &o), 0);
    for (int64_t end = xo_mono_ms() + 20000; !is_set(&o.done) && xo_mono_ms() < end;)
        ck_assert_int_eq(step(&t, s, &st), 1);
    ck_assert_msg(is_set(&o.done), "it waited for %zu batches in vain", t.at);
    pthread_join(thread, NULL);
    ck_assert_int_eq(o.st, XONCE_OK);
    t.stop_feeding = 1;
    while (t.half[t.now].n)
        ck_assert_int_eq(step(&t, s, &st), 1);
    ck_assert_int_eq(orders(), (int64_t)t.at);
    xonce_store_close(s);
}
END_TEST

Suite *suite_ahead(void)
{
    Suite *s = suite_create("ahead");
    TCase *tc = tcase_create("ahead");
    tcase_add_checked_fixture(tc, fresh_database, NULL);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, duplicates_in_and_across_batches);
    tcase_add_test(tc, duplicates_alone);
    tcase_add_test(tc, another_message_under_the_same_id);
    tcase_add_loop_test(tc, a_bad_message_in_the_batch_before, 0, 2);
    tcase_add_test(tc, a_statement_that_fails_with_the_commit);
    tcase_add_loop_test(tc, the_outcome_of_the_commit_is_not_known, 0, 2);
    tcase_add_test(tc, dropped_before_it_runs);
    tcase_add_test(tc, waits_for_another_without_holding_up_the_batch_before);
    tcase_add_test(tc, nothing_goes_ahead_of_a_lent_handle);
    tcase_add_test(tc, two_streams_over_the_same_messages);
    tcase_add_test(tc, one_connection_for_all);
    suite_add_tcase(s, tc);
    return s;
}
