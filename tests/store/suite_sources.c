/* What a source may say about a message: another id than its properties', and that no handler may see it. */
#include "suite.h"

#include <stdio.h>

static int calls;

static xonce_verdict counted(xonce_tx *tx, const xonce_message *m, void *arg)
{
    calls++;
    return book(tx, m, arg);
}

static xonce_verdict counted_batch(xonce_tx *tx, xonce_batch *b, void *arg)
{
    for (size_t i = 0; i < xonce_batch_count(b); i++)
        if (counted(tx, xonce_batch_at(b, i), arg) != XONCE_DONE)
            return XONCE_RETRY;
    return XONCE_DONE;
}

static xonce_message *refused(const char *id, const char *why)
{
    xonce_message *m = message(id, "body");
    m->refuse = xo_strdup(why);
    ck_assert_ptr_nonnull(m->refuse);
    return m;
}

static xonce_outcome one(xonce_store *s, const xonce_message *m)
{
    xonce_outcome what = XONCE_DEFERRED;
    ck_assert_msg(xonce_once(s, m, counted, NULL, &what) == XONCE_OK, "%s", xonce_error_last()->text);
    return what;
}

static void expect_reason(const char *want)
{
    char *why = sql_text("SELECT reason FROM xonce_rejected");
    ck_assert_str_eq(why, want);
    free(why);
}

static xonce_store *start(void)
{
    calls = 0;
    return open_store("GID_a");
}

START_TEST(the_sources_id_wins)
{
    xonce_store *s = start();
    xonce_message *first = message("0A01", "x"), *copy = NULL;
    ck_assert_int_eq(xonce_message_set_property(first, "UNIQ_KEY", "original"), XONCE_OK);
    ck_assert_int_eq(one(s, first), XONCE_FRESH);
    ck_assert_int_eq(xonce_message_copy(&copy, first), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_property(copy, "UNIQ_KEY", "of-the-copy"), XONCE_OK); /* a retry queue gave it another */
    ck_assert_int_eq(xonce_message_set_property(copy, "EXTEND_UNIQ_INFO", "of-the-copy-too"), XONCE_OK);
    copy->uniq = xo_strdup("original");
    ck_assert_int_eq(one(s, copy), XONCE_DUPLICATE);
    free(copy->uniq);
    copy->uniq = xo_strdup("a sibling, hashed");
    ck_assert_int_eq(one(s, copy), XONCE_FRESH);
    ck_assert_int_eq(one(s, copy), XONCE_DUPLICATE);
    ck_assert_int_eq(records(), 2);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM transaction_record WHERE message_id LIKE 'sha256:%'"), 1);
    xonce_message_free(copy);
    xonce_message_free(first);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_refused_message_is_rejected_unseen)
{
    xonce_store *s = start();
    xonce_message *m = refused("m1", "origin unknown: the broker has it no more");
    ck_assert_int_eq(one(s, m), XONCE_REJECTED);
    ck_assert_int_eq(calls, 0);
    ck_assert_int_eq(records(), 1);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM transaction_record WHERE message_id = 'm1#GID_a'"), 1);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_rejected WHERE topic_name = 'orders' AND attempts = 1 AND body IS NOT NULL"), 1);
    expect_reason("origin unknown: the broker has it no more");
    ck_assert_int_eq(one(s, m), XONCE_DUPLICATE); /* its acknowledgement was lost */
    ck_assert_int_eq(rejected(), 1);
    xonce_message_free(m);
    m = refused("m1", "again"); /* and its id stays taken */
    free(m->refuse);
    m->refuse = NULL;
    ck_assert_int_eq(one(s, m), XONCE_DUPLICATE);
    ck_assert_int_eq(calls, 0);
    xonce_message_free(m);
    m = refused("m2", "");
    ck_assert_int_eq(one(s, m), XONCE_REJECTED);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_rejected WHERE reason = 'refused by its source'"), 1);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

START_TEST(an_applied_message_is_not_refused)
{
    xonce_store *s = start();
    ck_assert_int_eq(once(s, "m1", "body"), XONCE_FRESH);
    xonce_message *m = refused("m1", "a copy whose origin cannot be found");
    ck_assert_int_eq(one(s, m), XONCE_DUPLICATE);
    ck_assert_int_eq(rejected(), 0);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

static void batch_of(xonce_store *s, int many)
{
    enum { N = 5 };
    xonce_message *m[N];
    xonce_outcome what[N];
    for (int i = 0; i < N; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        m[i] = i == 1 || i == 3 ? refused(id, "not to be judged") : message(id, "x");
    }
    if (many) {
        ck_assert_int_eq(xonce_once_batch(s, (const xonce_message *const *)m, N, counted_batch, NULL, what), XONCE_OK);
    } else {
        xo_item items[N] = {{0}};
        xo_spec spec = {.one = counted};
        for (int i = 0; i < N; i++)
            items[i].m = m[i];
        ck_assert_int_eq(xo_run(s, items, N, &spec), XONCE_OK);
        for (int i = 0; i < N; i++) {
            what[i] = items[i].outcome;
            ck_assert(!items[i].failed_run); /* no handler failed: no attempt is used up */
        }
    }
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(what[i], m[i]->refuse ? XONCE_REJECTED : XONCE_FRESH);
        xonce_message_free(m[i]);
    }
    ck_assert_int_eq(calls, 3);
    ck_assert_int_eq(orders(), 3);
    ck_assert_int_eq(records(), 5);
    ck_assert_int_eq(rejected(), 2);
}

START_TEST(a_refused_message_in_a_batch)
{
    xonce_store *s = start();
    batch_of(s, _i);
    xonce_store_close(s);
}
END_TEST

START_TEST(twins_of_a_refused_message)
{
    xonce_store *s = start();
    xonce_message *a = refused("m1", "no"), *b = refused("m1", "no");
    xonce_outcome what[2];
    const xonce_message *both[] = {a, b};
    ck_assert_int_eq(xonce_once_batch(s, both, 2, counted_batch, NULL, what), XONCE_OK);
    ck_assert_int_eq(what[0], XONCE_REJECTED);
    ck_assert_int_eq(what[1], XONCE_DUPLICATE);
    ck_assert_int_eq(rejected(), 1);
    ck_assert_int_eq(calls, 0);
    xonce_message_free(a);
    xonce_message_free(b);
    xonce_store_close(s);
}
END_TEST

/* What stands behind it in its lane runs, at the latest next time; nothing passes what stands before it. */
START_TEST(a_refused_message_in_a_lane)
{
    enum { N = 4 };
    xonce_store *s = start();
    xonce_message *m[N];
    xo_item items[N];
    xo_spec spec = {.one = counted, .ordered = 1};
    for (int i = 0; i < N; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        m[i] = i == 1 ? refused(id, "not in order") : message(id, "x");
        ck_assert_int_eq(xonce_message_set_origin(m[i], "b", 0, i), XONCE_OK);
    }
    int left = N;
    for (int round = 0; left && round < 3; round++) {
        size_t n = 0;
        memset(items, 0, sizeof items);
        for (int i = 0; i < N; i++)
            if (m[i])
                items[n++].m = m[i];
        ck_assert_int_eq(xo_run(s, items, n, &spec), XONCE_OK);
        for (size_t k = 0; k < n; k++) {
            int at = 0;
            while (m[at] != items[k].m)
                at++;
            if (items[k].outcome == XONCE_DEFERRED)
                continue;
            ck_assert_int_eq(items[k].outcome, at == 1 ? XONCE_REJECTED : XONCE_FRESH);
            xonce_message_free(m[at]);
            m[at] = NULL;
            left--;
        }
    }
    ck_assert_int_eq(left, 0);
    ck_assert_int_eq(calls, 3);
    ck_assert_int_eq(orders(), 3);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_refused_message_without_dedup)
{
    xonce_store *s = start();
    xonce_message *m = refused("m1", "no");
    xo_item item = {.m = m};
    xo_spec spec = {.one = counted, .no_dedup = 1};
    for (int i = 0; i < 2; i++) { /* the table holds it once, as it does what a handler rejects */
        ck_assert_int_eq(xo_run(s, &item, 1, &spec), XONCE_OK);
        ck_assert_int_eq(item.outcome, XONCE_REJECTED);
    }
    ck_assert_int_eq(calls, 0);
    ck_assert_int_eq(records(), 0);
    ck_assert_int_eq(rejected(), 1);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_refused_message_with_an_id_that_is_anothers)
{
    calls = 0;
    xonce_store *s = open_store_with("GID_a", "collision", _i ? "reject" : "claim");
    ck_assert_int_eq(once(s, "m1", "another body"), XONCE_FRESH);
    xonce_message *m = refused("m1", "origin unknown: \xc3\xa9");
    ck_assert_int_eq(one(s, m), XONCE_REJECTED);
    expect_reason("origin unknown: \xc3\xa9"); /* not made plain on the way */
    ck_assert_int_eq(records(), 2); /* under a key of its own */
    ck_assert_int_eq(one(s, m), XONCE_DUPLICATE);
    ck_assert_int_eq(rejected(), 1);
    ck_assert_int_eq(calls, 0);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

static xonce_status no_id(const xonce_message *m, char *out, size_t size, void *arg)
{
    (void)m;
    (void)arg;
    snprintf(out, size, "%s", "");
    return XONCE_OK;
}

START_TEST(a_refused_message_without_an_id)
{
    xonce_store *s = start();
    ck_assert_int_eq(xonce_store_identify(s, no_id, NULL), XONCE_OK);
    xonce_message *m = refused("m1", "origin unknown");
    ck_assert_int_eq(one(s, m), XONCE_REJECTED);
    expect_reason("origin unknown");
    ck_assert_int_eq(calls, 0);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_refused_message_can_be_replayed)
{
    xonce_store *s = start();
    xonce_message *m = refused("m1", "origin unknown");
    ck_assert_int_eq(one(s, m), XONCE_REJECTED);
    sql("UPDATE xonce_rejected SET replay_at = 1"); /* somebody looked, and decided */
    xo_item out;
    xo_spec spec = {.one = counted};
    int found = 0;
    ck_assert_int_eq(xo_replay_next(s, "orders", &spec, &found, &out), XONCE_OK);
    ck_assert(found && out.outcome == XONCE_FRESH);
    ck_assert_int_eq(calls, 1);
    ck_assert_int_eq(orders(), 1);
    ck_assert_int_eq(rejected(), 0);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

/* It waits like any other, and the error is the database's. */
START_TEST(a_refused_message_that_cannot_be_written_waits)
{
    xonce_store *s = start();
    xonce_message *m = refused("m1", "origin unknown");
    sql("DROP TABLE xonce_rejected");
    xonce_outcome what = XONCE_FRESH;
    ck_assert_int_ne(xonce_once(s, m, counted, NULL, &what), XONCE_OK);
    ck_assert_int_eq(what, XONCE_DEFERRED);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "xonce_rejected"));
    ck_assert_int_eq(records(), 0);
    ck_assert_int_eq(xonce_store_upgrade(s), XONCE_OK);
    ck_assert_int_eq(one(s, m), XONCE_REJECTED);
    ck_assert_int_eq(calls, 0);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

Suite *suite_sources(void)
{
    Suite *s = suite_create("sources");
    TCase *t = tcase_create("sources");
    tcase_add_checked_fixture(t, fresh_database, NULL);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, the_sources_id_wins);
    tcase_add_test(t, a_refused_message_is_rejected_unseen);
    tcase_add_test(t, an_applied_message_is_not_refused);
    tcase_add_loop_test(t, a_refused_message_in_a_batch, 0, 2);
    tcase_add_test(t, twins_of_a_refused_message);
    tcase_add_test(t, a_refused_message_in_a_lane);
    tcase_add_test(t, a_refused_message_without_dedup);
    tcase_add_loop_test(t, a_refused_message_with_an_id_that_is_anothers, 0, 2);
    tcase_add_test(t, a_refused_message_without_an_id);
    tcase_add_test(t, a_refused_message_can_be_replayed);
    tcase_add_test(t, a_refused_message_that_cannot_be_written_waits);
    suite_add_tcase(s, t);
    return s;
}
