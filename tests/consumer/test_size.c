/* How batches and workers size themselves, with models of a database and of handlers instead of a clock. */
#include "consumer/parts.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

static int64_t now;
static xo_size Z;
static size_t extra; /* workers that begin besides, since transactions take long */

static void setup(void)
{
    now = 1000000;
    extra = 0;
    xo_size_init(&Z, 128, 0);
}

/* Full batches, each of which takes fixed + n * each. */
static void run(int times, int64_t fixed, int64_t each)
{
    for (int i = 0; i < times; i++) {
        int64_t took = fixed + (int64_t)Z.limit * each;
        now += took;
        xo_size_ran(&Z, Z.limit, took, now);
    }
}

START_TEST(it_begins_with_one_message)
{
    ck_assert_uint_eq(Z.limit, 1);
    xo_size_init(&Z, 100, 1);
    ck_assert_uint_eq(Z.limit, 100); /* who asked for full batches gets them */
}
END_TEST

START_TEST(fast_handlers_get_full_batches_soon)
{
    run(7, 1000, 30);
    ck_assert_uint_eq(Z.limit, 128);
    run(1000, 1000, 30);
    ck_assert_uint_eq(Z.limit, 128);
    xo_size_init(&Z, 100, 0); /* not a power of two */
    run(7, 1000, 30);
    ck_assert_uint_eq(Z.limit, 100);
}
END_TEST

START_TEST(slow_handlers_keep_batches_short)
{
    static const int64_t each[] = {1000, 5000, 20000, 100000, 400000};
    for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
        setup();
        size_t longest = 0;
        for (int k = 0; k < 100; k++) {
            longest = Z.limit > longest ? Z.limit : longest;
            run(1, 1000, each[i]);
        }
        ck_assert_msg((int64_t)Z.limit * each[i] <= 50000 || Z.limit == 1, "%zu messages of %lld us", Z.limit, (long long)each[i]);
        ck_assert_msg((int64_t)longest * each[i] <= 100000 || longest <= 2, "%zu messages of %lld us", longest, (long long)each[i]);
    }
    setup();
    run(100, 1000, 1000000);
    ck_assert_uint_eq(Z.limit, 1);
}
END_TEST

/* Where it is the COMMIT that is slow, batches grow beyond what is short. */
START_TEST(a_slow_commit_is_shared)
{
    run(10, 60000, 100);
    ck_assert_uint_eq(Z.limit, 128);
    setup();
    run(10, 300000, 100);
    ck_assert_uint_eq(Z.limit, 128);
}
END_TEST

START_TEST(handlers_that_become_slow_shrink_it_at_once)
{
    run(100, 1000, 30);
    run(1, 1000, 500000);
    ck_assert_uint_le(Z.limit, 8);
    run(5, 1000, 500000);
    ck_assert_uint_le(Z.limit, 2);
    run(50, 1000, 30);
    ck_assert_uint_eq(Z.limit, 128);
    /* seen with few messages too */
    for (int i = 0; i < 3; i++) {
        xo_size_ran(&Z, 1, 500000, now += 500000);
    }
    ck_assert_uint_le(Z.limit, 2);
}
END_TEST

START_TEST(a_stall_is_forgiven)
{
    run(100, 1000, 30);
    run(1, 2000000, 30);
    run(20, 1000, 30);
    ck_assert_uint_eq(Z.limit, 128);
}
END_TEST

START_TEST(it_does_not_oscillate)
{
    static const int64_t each[] = {300, 700, 3000, 9000};
    for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
        setup();
        run(50, 10000, each[i]);
        int changes = 0;
        for (int k = 0; k < 200; k++) {
            size_t before = Z.limit;
            run(1, 10000, each[i]);
            changes += Z.limit != before;
        }
        ck_assert_int_le(changes, 4); /* it looks anew once a minute */
    }
}
END_TEST

START_TEST(a_quarter_of_the_messages_time_is_enough)
{
    run(3, 0, 1000);
    ck_assert_uint_eq(Z.limit, 8);
    ck_assert_uint_eq(xo_size_within(&Z, INT64_MAX), 8);
    ck_assert_uint_eq(xo_size_within(&Z, 1000000), 8);
    ck_assert_uint_eq(xo_size_within(&Z, 20), 5);
    ck_assert_uint_eq(xo_size_within(&Z, 1), 1);
    ck_assert_uint_eq(xo_size_within(&Z, 0), 1);
}
END_TEST

/* ---- the workers ---- */

/* Backlog for `ms`: each batch of 128 ends when the model says so. rate(k): messages a second of k workers. */
static void backlog(xo_crew *w, int ms, double (*rate)(size_t workers))
{
    for (int64_t end = now + ms * INT64_C(1000); now < end;) {
        now += (int64_t)(128e6 / rate(w->at_once + extra));
        xo_crew_ran(w, 128, now);
        xo_crew_took(w, w->at_once + extra, 1, now);
    }
}

static double sleeping(size_t n)
{
    return 400.0 * (double)n;
}

static double two_cores(size_t n)
{
    return n >= 4 ? 24000 : n >= 2 ? 18000 : 11000;
}

static double in_each_others_way(size_t n)
{
    return n > 4 ? 15000 : n == 4 ? 31000 : n >= 2 ? 20000 : 13000;
}

static double no_use(size_t n)
{
    return n ? 20000 : 0;
}

static xo_crew crew_of(size_t most)
{
    xo_crew w;
    xo_crew_init(&w, most, 0);
    ck_assert_uint_le(w.at_once, 4);
    return w;
}

START_TEST(all_work_where_that_helps)
{
    xo_crew w = crew_of(20);
    backlog(&w, 10000, sleeping);
    ck_assert_uint_eq(w.home, 20);
    w = crew_of(3);
    backlog(&w, 10000, sleeping);
    ck_assert_uint_eq(w.home, 3);
}
END_TEST

START_TEST(fewer_are_not_tried_where_more_were_needed)
{
    extra = 6;
    xo_crew w = crew_of(20);
    backlog(&w, 60000, sleeping);
    ck_assert_uint_eq(w.home, 20);
    w = crew_of(20);
    backlog(&w, 60000, no_use);
    ck_assert_uint_eq(w.home, 4);
}
END_TEST

START_TEST(no_more_work_than_helps)
{
    xo_crew w = crew_of(20);
    backlog(&w, 200000, two_cores);
    ck_assert_uint_eq(w.home, 4);
    w = crew_of(20);
    backlog(&w, 200000, in_each_others_way);
    ck_assert_uint_eq(w.home, 4);
    w = crew_of(20);
    backlog(&w, 200000, no_use);
    ck_assert_uint_eq(w.home, 1);
    backlog(&w, 200000, in_each_others_way); /* and it changes its mind */
    ck_assert_uint_eq(w.home, 4);
}
END_TEST

START_TEST(trials_are_rare)
{
    xo_crew w = crew_of(20);
    backlog(&w, 300000, in_each_others_way);
    int64_t away = 0, all = 0;
    for (int i = 0; i < 20000; i++) {
        int64_t before = now;
        backlog(&w, 1, in_each_others_way);
        all += now - before;
        away += w.at_once != w.home ? now - before : 0;
    }
    ck_assert_int_lt(away * 100, all * 3);
}
END_TEST

START_TEST(a_trial_without_backlog_ends)
{
    xo_crew w = crew_of(20);
    while (w.at_once == w.home) {
        backlog(&w, 1, two_cores);
    }
    for (int i = 0; i < 100; i++) {
        now += 10000;
        xo_crew_ran(&w, 1, now);
        xo_crew_took(&w, 1, 0, now);
    }
    ck_assert_uint_eq(w.at_once, w.home);
    ck_assert_uint_eq(w.home, 4);
}
END_TEST

START_TEST(one_writer_is_one)
{
    xo_crew w;
    xo_crew_init(&w, 20, 1);
    backlog(&w, 10000, sleeping);
    ck_assert_uint_eq(w.at_once, 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("size");
    TCase *t = tcase_create("size");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, it_begins_with_one_message);
    tcase_add_test(t, fast_handlers_get_full_batches_soon);
    tcase_add_test(t, slow_handlers_keep_batches_short);
    tcase_add_test(t, a_slow_commit_is_shared);
    tcase_add_test(t, handlers_that_become_slow_shrink_it_at_once);
    tcase_add_test(t, a_stall_is_forgiven);
    tcase_add_test(t, it_does_not_oscillate);
    tcase_add_test(t, a_quarter_of_the_messages_time_is_enough);
    tcase_add_test(t, all_work_where_that_helps);
    tcase_add_test(t, fewer_are_not_tried_where_more_were_needed);
    tcase_add_test(t, no_more_work_than_helps);
    tcase_add_test(t, trials_are_rare);
    tcase_add_test(t, a_trial_without_backlog_ends);
    tcase_add_test(t, one_writer_is_one);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
