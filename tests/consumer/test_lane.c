/* One lane by itself: where copies and older messages go, what is dropped when time is over, pauses and attempts. */
#include "base/clock.h"
#include "consumer/parts.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX = 16 };
static xonce_consumer C;
static xo_sub S;
static xo_worker W;
static xo_item items[MAX];
static xonce_message *messages[MAX];
static xo_fate fates[MAX];
static xo_lane *lanes[MAX];
static xo_list dropped;

static void setup(void)
{
    memset(&C, 0, sizeof(C));
    memset(&S, 0, sizeof(S));
    C.batch_max = MAX;
    C.suspend = 20;
    S.kind = XO_ORDERED;
    S.table = calloc(XO_LANE_BUCKETS, sizeof(xo_lane *));
    W = (xo_worker){.c = &C, .sub = &S, .items = items, .messages = messages, .fates = fates, .lanes = lanes};
    dropped = (xo_list){0};
}

static void free_list(xo_list *l)
{
    for (xonce_message *m; (m = xo_list_pop(l));) {
        xonce_message_free(m);
    }
}

static void teardown(void)
{
    xo_lanes_empty(&C, &S, &dropped);
    free_list(&dropped);
    ck_assert_uint_eq(C.waiting, 0);
    free(S.table);
}

/* left: ms until its time is over, 0 = it is, -1 = never. */
static xonce_message *add(const char *id, int64_t offset, int attempt, int64_t left)
{
    xonce_message *m;
    ck_assert_int_eq(xonce_message_new(&m, "t", id, "", 0), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_property(m, "__SHARDINGKEY", "lane"), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_origin(m, "b", 0, offset), XONCE_OK);
    m->attempt = attempt;
    m->expires_mono = left < 0 ? INT64_MAX : xo_mono_ms() + left;
    ck_assert_int_eq(xo_lane_add(&C, &S, m), 0);
    return m;
}

static size_t take(void)
{
    int64_t again = INT64_MAX;
    W.n = xo_lane_take(&C, &S, &W, C.batch_max, &dropped, &again);
    for (size_t i = 0; i < W.n; i++) {
        memset(&items[i], 0, sizeof(items[i]));
        items[i].m = messages[i];
    }
    return W.n;
}

/* The ids taken, as one text. */
static const char *taken(void)
{
    static char text[256];
    text[0] = 0;
    (void)take();
    for (size_t i = 0; i < W.n; i++) {
        size_t at = strlen(text);
        snprintf(text + at, sizeof(text) - at, "%s%s.%d", i ? " " : "", messages[i]->id, messages[i]->attempt);
    }
    return text;
}

/* The first `done` are acknowledged, the next failed. */
static void give_back(size_t done, int failed, int down)
{
    xo_list acks = {0}, nacks = {0};
    for (size_t i = 0; i < W.n; i++) {
        fates[i] = i < done ? XO_FATE_ACK : XO_FATE_NACK;
        items[i].failed_run = i == done && failed;
    }
    xo_lane_return(&C, &W, &acks, &nacks, down);
    ck_assert_uint_eq(acks.n, done);
    ck_assert_uint_eq(nacks.n, 0);
    free_list(&acks);
}

START_TEST(a_lane_is_with_one_worker_at_a_time)
{
    add("a", 1, 1, -1);
    add("b", 2, 1, -1);
    ck_assert_str_eq(taken(), "a.1 b.1");
    size_t n = W.n;
    add("c", 3, 1, -1);
    ck_assert_uint_eq(take(), 0);
    W.n = n;
    give_back(2, 0, 0);
    ck_assert_str_eq(taken(), "c.1");
    give_back(1, 0, 0);
    ck_assert_ptr_null(S.ready.head); /* an empty lane is gone */
}
END_TEST

START_TEST(an_expired_head_takes_its_lane_along)
{
    add("a", 1, 1, 0);
    add("b", 2, 1, -1);
    add("c", 3, 1, -1);
    ck_assert_uint_eq(take(), 0);
    ck_assert_uint_eq(dropped.n, 3);
    ck_assert_ptr_null(S.ready.head);
}
END_TEST

START_TEST(a_living_copy_saves_the_lane)
{
    add("a", 1, 1, 0);
    add("b", 2, 1, -1);
    add("a", 1, 2, -1);
    ck_assert_str_eq(taken(), "a.2 b.1");
    ck_assert_uint_eq(dropped.n, 1);
    give_back(2, 0, 0);
}
END_TEST

START_TEST(what_expires_behind_stops_the_run)
{
    add("a", 1, 1, -1);
    add("b", 2, 1, 0);
    add("c", 3, 1, -1);
    ck_assert_str_eq(taken(), "a.1");
    give_back(1, 0, 0);
    ck_assert_uint_eq(take(), 0);
    ck_assert_uint_eq(dropped.n, 2);
}
END_TEST

START_TEST(copies_stand_behind_their_twins)
{
    add("a", 1, 1, -1);
    add("b", 2, 1, -1);
    add("c", 3, 1, -1);
    add("b", 2, 2, -1);
    add("c", 3, 2, -1);
    ck_assert_str_eq(taken(), "a.1 b.1 b.2 c.1 c.2");
    give_back(5, 0, 0);
}
END_TEST

START_TEST(an_older_message_goes_before_newer_ones)
{
    add("c", 3, 1, -1);
    add("d", 4, 1, -1);
    add("a", 1, 1, -1);
    add("b", 2, 2, -1);
    ck_assert_str_eq(taken(), "a.1 b.2 c.1 d.1");
    give_back(4, 0, 0);
}
END_TEST

START_TEST(a_copy_of_what_runs_comes_first)
{
    C.batch_max = 1;
    add("a", 1, 1, -1);
    add("b", 2, 1, -1);
    ck_assert_str_eq(taken(), "a.1");
    add("a", 1, 2, -1);
    give_back(0, 1, 1);
    C.batch_max = MAX;
    ck_assert_str_eq(taken(), "a.1 a.2 b.1");
    give_back(3, 0, 0);
}
END_TEST

START_TEST(a_failure_suspends_and_counts)
{
    add("a", 1, 1, -1);
    add("b", 2, 1, -1);
    add("c", 3, 1, -1);
    ck_assert_uint_eq(take(), 3);
    give_back(1, 1, 0); /* b failed */
    ck_assert_uint_eq(take(), 0);
    ck_assert_int_eq(S.suspended.head->pause, 20);
    xo_pause_ms(25);
    ck_assert_str_eq(taken(), "b.2 c.1"); /* the try in place counted as a delivery */
    give_back(0, 1, 0);
    ck_assert_int_eq(S.suspended.head->pause, 40);
    xo_pause_ms(45);
    ck_assert_str_eq(taken(), "b.3 c.1");
    give_back(1, 1, 0); /* now c fails, for the first time */
    ck_assert_int_eq(S.suspended.head->pause, 20);
    xo_pause_ms(25);
    ck_assert_str_eq(taken(), "c.2");
    give_back(1, 0, 0);
}
END_TEST

START_TEST(an_outage_is_no_attempt)
{
    add("a", 1, 3, -1);
    ck_assert_uint_eq(take(), 1);
    give_back(0, 1, 1);
    ck_assert_ptr_null(S.suspended.head);
    ck_assert_str_eq(taken(), "a.3");
    give_back(1, 0, 0);
}
END_TEST

START_TEST(tries_in_place_do_not_lower_the_count)
{
    add("a", 1, 7, -1);
    ck_assert_uint_eq(take(), 1);
    give_back(0, 1, 0);
    xo_pause_ms(25);
    ck_assert_str_eq(taken(), "a.7"); /* one try here, seven deliveries: the greater counts */
    give_back(1, 0, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("lane");
    TCase *t = tcase_create("lane");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_lane_is_with_one_worker_at_a_time);
    tcase_add_test(t, an_expired_head_takes_its_lane_along);
    tcase_add_test(t, a_living_copy_saves_the_lane);
    tcase_add_test(t, what_expires_behind_stops_the_run);
    tcase_add_test(t, copies_stand_behind_their_twins);
    tcase_add_test(t, an_older_message_goes_before_newer_ones);
    tcase_add_test(t, a_copy_of_what_runs_comes_first);
    tcase_add_test(t, a_failure_suspends_and_counts);
    tcase_add_test(t, an_outage_is_no_attempt);
    tcase_add_test(t, tries_in_place_do_not_lower_the_count);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
