/* Where a queue is read from: each case of what database and broker can say. */
#include "source/rocketmq/place.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { MINUTE = 60000 };

/* A queue of ours by 1 row [100, 200), whose last message was stored at 50 min; the broker has 0 to 250 and was told 200. */
static xo_range rows[3];
static xo_begin usual(void)
{
    rows[0] = (xo_range){.tags = (char *)"*", .generation = 0, .first = 100, .next = 200, .last_store_time = 50 * MINUTE, .last_log_offset = 9000, .epoch = 3};
    return (xo_begin){.first = 1, .seek = -1, .prefix = -1, .rows = rows, .nrows = 1, .committed = 200, .min = 0, .max = 250, .searched = -1};
}

static void place(xo_begin *b, int64_t searched)
{
    xo_place_search_time(b, 10 * MINUTE);
    b->searched = b->search_time >= 0 ? searched : -1;
    ck_assert_int_eq(xo_place_find(b), XO_PLACE_KNOWN);
    xo_place_bound(b);
    xo_place_range(b, "*");
}

START_TEST(looks_back_from_its_row)
{
    xo_begin b = usual();
    place(&b, 180);
    ck_assert_int_eq(b.search_time, 40 * MINUTE);
    ck_assert_int_eq(b.pos, 200);
    ck_assert_int_eq(b.at, 180);
    ck_assert_int_eq(b.range.generation, 0);
    ck_assert_int_eq(b.range.first, 100);
    ck_assert_int_eq(b.range.next, 200);
    ck_assert_int_eq(b.range.epoch, 4);
    ck_assert(!b.ahead && !b.cut && !b.lost_to);
}
END_TEST

/* A row of its own begins behind a hole, or in the middle of the old one where another history does: all before it is settled, so nothing is looked back for. */
START_TEST(another_row_begins)
{
    const int64_t at[] = {150, 220};
    for (int i = 0; i < 2; i++) {
        xo_begin b = usual();
        b.reopens = 1;
        b.reopen = at[i];
        place(&b, 0);
        ck_assert_int_eq(b.search_time, -1);
        ck_assert(b.pos == at[i] && b.at == at[i]);
        ck_assert(b.range.generation == 1 && b.range.first == at[i] && b.range.next == at[i] && b.range.last_store_time == -1);
        ck_assert(!b.ahead && !b.cut && !b.lost_to);
    }
}
END_TEST

START_TEST(the_brokers_offset_is_a_report)
{
    xo_begin b = usual();
    b.committed = 150; /* it lost some, or was set back */
    place(&b, 180);
    ck_assert_int_eq(b.at, 150);
    ck_assert(!b.ahead);
    b = usual();
    b.committed = -1;
    place(&b, 180);
    ck_assert_int_eq(b.at, 180);
    b = usual();
    b.committed = 230; /* nobody of ours said that */
    place(&b, 210);
    ck_assert_int_eq(b.at, 200);
    ck_assert(b.ahead);
    b = usual();
    rows[1] = rows[0];
    rows[1].generation = 1;
    rows[1].first = rows[1].next = 190;
    rows[1].last_store_time = rows[1].last_log_offset = -1;
    b.nrows = 2;
    b.committed = 199; /* an older row explains it */
    place(&b, 195);
    ck_assert_int_eq(b.search_time, -1);
    ck_assert_int_eq(b.pos, 190);
    ck_assert_int_eq(b.at, 190);
    ck_assert(!b.ahead);
}
END_TEST

START_TEST(foreign_members_and_start_broker)
{
    xo_begin b = usual();
    b.from_broker = b.foreign = 1;
    b.committed = 230;
    place(&b, 10);
    ck_assert_int_eq(b.search_time, -1);
    ck_assert_int_eq(b.at, 230);
    ck_assert(!b.ahead);
    ck_assert_int_eq(b.range.generation, 1); /* a gap is not bridged */
    ck_assert_int_eq(b.range.first, 230);
    ck_assert_int_eq(b.range.epoch, 4);
    b = usual();
    b.from_broker = 1;
    b.committed = 120;
    place(&b, 10);
    ck_assert_int_eq(b.at, 120);
    ck_assert_int_eq(b.range.generation, 0);
    b = usual();
    b.from_broker = 1;
    b.committed = -1;
    place(&b, 10);
    ck_assert_int_eq(b.at, 200);
}
END_TEST

START_TEST(a_queue_that_lost_its_end)
{
    xo_begin b = usual();
    b.max = 170;
    place(&b, 165);
    ck_assert_int_eq(b.at, 165);
    ck_assert(b.cut);
    ck_assert_int_eq(b.range.generation, 0);
    b = usual();
    b.max = 170;
    place(&b, 200);
    ck_assert_int_eq(b.at, 170);
    b = usual(); /* the topic was made anew */
    b.max = 0;
    b.committed = -1;
    place(&b, 0);
    ck_assert_int_eq(b.at, 0);
    ck_assert_int_eq(b.range.first, 100); /* what stands before it was never ours, no row for that */
}
END_TEST

START_TEST(what_expired_is_a_loss)
{
    xo_begin b = usual();
    b.min = 220;
    place(&b, 220);
    ck_assert_int_eq(b.at, 220);
    ck_assert_int_eq(b.lost_from, 200);
    ck_assert_int_eq(b.lost_to, 220);
    ck_assert_int_eq(b.range.generation, 1);
    ck_assert_int_eq(b.range.first, 220);
    b = usual();
    b.min = 190; /* was settled: no loss */
    place(&b, 190);
    ck_assert_int_eq(b.at, 190);
    ck_assert_int_eq(b.lost_to, 0);
    ck_assert_int_eq(b.range.generation, 0);
}
END_TEST

START_TEST(an_operators_reset)
{
    xo_begin b = usual();
    b.first = 0;
    b.prefix = 200;
    b.seek = 120;
    place(&b, 10);
    ck_assert_int_eq(b.search_time, -1);
    ck_assert_int_eq(b.at, 120);
    ck_assert_int_eq(b.range.generation, 0);
    b.seek = 20; /* before all we know: what is settled there must be remembered */
    place(&b, 10);
    ck_assert_int_eq(b.at, 20);
    ck_assert_int_eq(b.range.generation, 1);
    ck_assert_int_eq(b.range.first, 20);
    b.seek = 240;
    place(&b, 10);
    ck_assert_int_eq(b.at, 240);
    ck_assert_int_eq(b.range.generation, 1);
    ck_assert_int_eq(b.range.first, 240);
    ck_assert_int_eq(b.lost_to, 0);
    b.seek = 1000;
    place(&b, 10);
    ck_assert_int_eq(b.at, 250);
    ck_assert(!b.cut);
}
END_TEST

START_TEST(a_running_queue_looks_back)
{
    xo_begin b = usual();
    b.first = 0;
    b.prefix = 205;
    rows[0].next = 205;
    b.committed = 203;
    place(&b, 190);
    ck_assert_int_eq(b.pos, 205);
    ck_assert_int_eq(b.at, 190);
    b.foreign = 1;
    b.committed = 240;
    place(&b, 10);
    ck_assert_int_eq(b.at, rows[0].first); /* it is ours: others have no say in it, nor is it read from before we had it */
    place(&b, 190);
    ck_assert_int_eq(b.at, 190);
    b = (xo_begin){.prefix = 205, .seek = -1, .committed = 200, .max = 250, .searched = -1}; /* without a database */
    place(&b, 10);
    ck_assert_int_eq(b.at, 200);
    ck_assert_int_eq(b.range.first, 200);
    ck_assert_int_eq(b.range.epoch, 0);
}
END_TEST

START_TEST(rows_of_another_filter_or_generation)
{
    xo_begin b = usual();
    rows[0].tags = (char *)"a || b";
    place(&b, 180);
    ck_assert_int_eq(b.at, 180);
    ck_assert_int_eq(b.range.generation, 1);
    ck_assert_int_eq(b.range.first, 180);
    b = usual();
    rows[1] = (xo_range){.tags = (char *)"*", .generation = 1, .first = 190, .next = 195, .last_store_time = 51 * MINUTE, .last_log_offset = 9001, .epoch = 7};
    b.nrows = 2;
    b.committed = 195;
    place(&b, 150); /* below the beginning of the youngest */
    ck_assert_int_eq(b.search_time, 41 * MINUTE);
    ck_assert_int_eq(b.pos, 195);
    ck_assert_int_eq(b.at, 150);
    ck_assert_int_eq(b.range.generation, 1);
    ck_assert_int_eq(b.range.next, 195);
    ck_assert_int_eq(b.range.epoch, 8);
}
END_TEST

START_TEST(nobody_knows)
{
    xo_begin b = {.first = 1, .seek = -1, .prefix = -1, .committed = -1, .min = 5, .max = 250, .searched = -1};
    xo_place_search_time(&b, 1000);
    ck_assert_int_eq(b.search_time, -1);
    ck_assert_int_eq(xo_place_find(&b), XO_PLACE_UNKNOWN);
    b.at = b.max;
    xo_place_bound(&b);
    xo_place_range(&b, "a");
    ck_assert_int_eq(b.at, 250);
    ck_assert_int_eq(b.range.first, 250);
    ck_assert_int_eq(b.range.next, 250);
    ck_assert_int_eq(b.range.generation, 0);
    ck_assert_int_eq(b.lost_to, 0);
    b.committed = 77;
    ck_assert_int_eq(xo_place_find(&b), XO_PLACE_KNOWN);
    ck_assert_int_eq(b.at, 77);
    ck_assert(!b.ahead);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("place");
    TCase *c = tcase_create("place");
    tcase_add_test(c, looks_back_from_its_row);
    tcase_add_test(c, another_row_begins);
    tcase_add_test(c, the_brokers_offset_is_a_report);
    tcase_add_test(c, foreign_members_and_start_broker);
    tcase_add_test(c, a_queue_that_lost_its_end);
    tcase_add_test(c, what_expired_is_a_loss);
    tcase_add_test(c, an_operators_reset);
    tcase_add_test(c, a_running_queue_looks_back);
    tcase_add_test(c, rows_of_another_filter_or_generation);
    tcase_add_test(c, nobody_knows);
    suite_add_tcase(s, c);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
