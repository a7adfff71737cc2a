/* Settled prefixes and ranges, also against a naive model under random work. */
#include "base/clock.h"
#include "source/rocketmq/track.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add(xo_track *t, int64_t end, int done, int opens)
{
    ck_assert_int_eq(xo_track_add(t, end, 1000 + end, 10 * end, done, opens), 0);
}

START_TEST(prefix_grows_only_over_settled_ones)
{
    xo_track t = {0};
    xo_track_start(&t, 5, NULL, 3);
    ck_assert_int_eq(xo_track_prefix(&t), 5);
    ck_assert_int_eq(t.now.generation, 3);
    ck_assert_int_eq(t.now.first, 5);
    for (int64_t end = 6; end <= 9; end++) {
        add(&t, end, 0, 0);
    }
    ck_assert_uint_eq(t.open, 4);
    ck_assert_int_eq(xo_track_settle(&t, 6), 0);
    ck_assert_int_eq(xo_track_settle(&t, 8), 0);
    ck_assert_int_eq(xo_track_prefix(&t), 5);
    ck_assert_int_eq(t.changed, 0);
    ck_assert_int_eq(xo_track_settle(&t, 5), 1);
    ck_assert_int_eq(xo_track_prefix(&t), 7);
    ck_assert_int_eq(t.now.next, 7);
    ck_assert_int_eq(t.now.last_store_time, 1007);
    ck_assert_int_eq(t.now.last_log_offset, 70);
    ck_assert_int_eq(t.changed, 1);
    ck_assert_int_eq(xo_track_settle(&t, 7), 1);
    ck_assert_int_eq(xo_track_prefix(&t), 9);
    ck_assert_uint_eq(t.open, 0);
    ck_assert_uint_eq(t.n, 0);
    xo_track_free(&t);
}
END_TEST

START_TEST(settling_twice_or_what_is_not_there)
{
    xo_track t = {0};
    xo_track_start(&t, 0, NULL, 0);
    ck_assert_int_eq(xo_track_settle(&t, 0), -1);
    add(&t, 3, 0, 0); /* 0 and 1 were filtered by the broker */
    add(&t, 4, 1, 0);
    add(&t, 5, 0, 0);
    ck_assert_int_eq(xo_track_settle(&t, 0), -1);
    ck_assert_int_eq(xo_track_settle(&t, 1), -1);
    ck_assert_int_eq(xo_track_settle(&t, 3), -1);
    ck_assert_int_eq(xo_track_settle(&t, 5), -1);
    ck_assert_int_eq(xo_track_settle(&t, -1), -1);
    ck_assert_int_eq(xo_track_settle(&t, INT64_MAX), -1);
    ck_assert_int_eq(xo_track_settle(&t, 4), 0);
    ck_assert_int_eq(xo_track_settle(&t, 4), -1);
    ck_assert_int_eq(xo_track_settle(&t, 2), 1);
    ck_assert_int_eq(xo_track_settle(&t, 2), -1);
    ck_assert_int_eq(xo_track_prefix(&t), 5);
    ck_assert_int_eq(xo_track_add(&t, 5, 1, 1, 0, 0), -1);
    ck_assert_int_eq(xo_track_add(&t, 4, 1, 1, 0, 0), -1);
    ck_assert_int_eq(t.to, 5);
    xo_track_free(&t);
}
END_TEST

START_TEST(reading_again_raises_nothing_below_the_end)
{
    xo_track t = {0};
    xo_range now = {.generation = 2, .first = 10, .next = 100, .last_store_time = 500, .last_log_offset = 600, .epoch = 4};
    xo_track_start(&t, 90, &now, 0);
    ck_assert_int_eq(xo_track_prefix(&t), 90);
    ck_assert_int_eq(xo_track_add(&t, 99, 9999, 9999, 1, 0), 0);
    ck_assert_int_eq(xo_track_prefix(&t), 99);
    ck_assert_int_eq(t.now.next, 100);
    ck_assert_int_eq(t.now.last_store_time, 500);
    ck_assert_int_eq(t.changed, 0);
    ck_assert_int_eq(xo_track_add(&t, 101, 501, 700, 0, 0), 0);
    ck_assert_int_eq(xo_track_settle(&t, 100), 1);
    ck_assert_int_eq(t.now.next, 101);
    ck_assert_int_eq(t.now.last_store_time, 501);
    ck_assert_int_eq(t.now.last_log_offset, 700);
    ck_assert_int_eq(t.now.epoch, 4);
    ck_assert_int_eq(t.changed, 1);
    xo_track_free(&t);
}
END_TEST

/* The tail of a queue was lost and filled anew: offsets inside of the range, but newer. */
START_TEST(another_history_opens_a_range)
{
    xo_track t = {0};
    xo_range now = {.generation = 0, .first = 0, .next = 100, .last_store_time = 500, .last_log_offset = 600, .epoch = 1}, out[4];
    xo_track_start(&t, 90, &now, 0);
    add(&t, 95, 1, 0);
    ck_assert_int_eq(xo_track_newer(&t, 95, 400, 590), 0);
    ck_assert_int_eq(xo_track_newer(&t, 95, 501, 590), 1);
    ck_assert_int_eq(xo_track_newer(&t, 95, 400, 601), 1);
    ck_assert_int_eq(xo_track_newer(&t, 100, 501, 601), 0);
    ck_assert_int_eq(xo_track_add(&t, 96, 501, 601, 0, XO_OPENS), 0);
    ck_assert_int_eq(xo_track_newer(&t, 96, 502, 602), 0); /* one range is enough */
    ck_assert_int_eq(xo_track_add(&t, 97, 502, 602, 0, 0), 0);
    ck_assert_int_eq(xo_track_settle(&t, 96), 0);
    ck_assert_uint_eq(xo_track_ranges(&t, out, 4), 1);
    ck_assert_int_eq(out[0].next, 100);
    ck_assert_int_eq(xo_track_settle(&t, 95), 1);
    ck_assert_uint_eq(xo_track_ranges(&t, out, 4), 2);
    ck_assert_int_eq(out[0].generation, 0);
    ck_assert_int_eq(out[0].next, 100);
    ck_assert_int_eq(out[0].last_store_time, 500); /* the old one stays as it was */
    ck_assert_int_eq(out[1].generation, 1);
    ck_assert_int_eq(out[1].first, 95);
    ck_assert_int_eq(out[1].next, 97);
    ck_assert_int_eq(out[1].last_store_time, 502);
    ck_assert_int_eq(out[1].epoch, 1);
    ck_assert_int_eq(xo_track_newer(&t, 97, 503, 603), 0);
    xo_range late = {.first = 50, .next = 60, .last_store_time = 500, .last_log_offset = 600};
    xo_track_start(&t, 40, &late, 0); /* also below its beginning */
    ck_assert_int_eq(xo_track_newer(&t, 40, 500, 600), 0);
    ck_assert_int_eq(xo_track_newer(&t, 40, 501, 600), 1);
    xo_track_free(&t);
}
END_TEST

START_TEST(holes_are_in_no_range)
{
    xo_track t = {0};
    xo_range out[4];
    xo_track_start(&t, 0, NULL, 7);
    add(&t, 1, 0, 0);
    add(&t, 5, 1, XO_HOLE);
    add(&t, 6, 0, 0);
    ck_assert_int_eq(xo_track_settle(&t, 5), 0);
    ck_assert_int_eq(xo_track_settle(&t, 0), 1);
    ck_assert_int_eq(xo_track_prefix(&t), 6);
    ck_assert_uint_eq(xo_track_ranges(&t, out, 4), 2);
    ck_assert_int_eq(out[0].first, 0);
    ck_assert_int_eq(out[0].next, 1);
    ck_assert_int_eq(out[1].first, 5);
    ck_assert_int_eq(out[1].next, 6);
    ck_assert_int_eq(out[1].generation, 8);
    add(&t, 9, 1, XO_HOLE); /* nothing is open: at once */
    ck_assert_int_eq(t.now.first, 9);
    ck_assert_int_eq(t.now.next, 9);
    ck_assert_uint_eq(t.nclosed, 2);
    xo_track_free(&t);
}
END_TEST

START_TEST(saving)
{
    xo_track t = {0};
    xo_range out[4];
    xo_track_start(&t, 0, NULL, 0);
    add(&t, 1, 1, 0);
    ck_assert_uint_eq(xo_track_ranges(&t, out, 4), 1);
    add(&t, 2, 1, 0); /* meanwhile */
    xo_track_saved(&t, 0, out[0].next);
    ck_assert_int_eq(t.changed, 1);
    ck_assert_uint_eq(xo_track_ranges(&t, out, 4), 1);
    xo_track_saved(&t, 0, out[0].next);
    ck_assert_int_eq(t.changed, 0);
    add(&t, 4, 1, XO_HOLE);
    ck_assert_int_eq(t.changed, 1);
    ck_assert_uint_eq(xo_track_ranges(&t, out, 1), 1);
    ck_assert_int_eq(out[0].generation, 0);
    ck_assert_uint_eq(xo_track_ranges(&t, out, 4), 2);
    add(&t, 6, 1, XO_HOLE); /* meanwhile */
    xo_track_saved(&t, 1, out[1].next);
    ck_assert_int_eq(t.changed, 1);
    ck_assert_uint_eq(t.nclosed, 1);
    ck_assert_int_eq(t.closed[0].generation, 1);
    ck_assert_uint_eq(xo_track_ranges(&t, out, 4), 2);
    xo_track_saved(&t, 1, out[1].next);
    ck_assert_int_eq(t.changed, 0);
    ck_assert_uint_eq(t.nclosed, 0);
    xo_track_free(&t);
}
END_TEST

/* One message takes long while all others are filtered. */
START_TEST(filtered_ones_need_no_memory)
{
    xo_track t = {0};
    xo_track_start(&t, 0, NULL, 0);
    add(&t, 1, 0, 0);
    for (int64_t end = 2; end < 100000; end++) {
        add(&t, end, 1, 0);
    }
    ck_assert_uint_eq(t.n, 2);
    ck_assert_int_eq(xo_track_span(&t), 0);
    add(&t, 100000, 0, 0);
    ck_assert_int_eq(xo_track_span(&t), 99999);
    ck_assert_int_eq(xo_track_settle(&t, 0), 1);
    ck_assert_int_eq(t.now.last_store_time, 1000 + 99999);
    ck_assert_int_eq(xo_track_span(&t), 0);
    xo_track_free(&t);
}
END_TEST

START_TEST(rows_cover)
{
    xo_range r[] = {{.tags = "*", .generation = 0, .first = 0, .next = 100, .last_store_time = 500, .last_log_offset = 600},
                    {.tags = "*", .generation = 1, .first = 50, .next = 60, .last_store_time = 900, .last_log_offset = 700}};
    ck_assert_int_eq(xo_ranges_cover(r, 2, 0, 500, 600, NULL), 1);
    ck_assert_int_eq(xo_ranges_cover(r, 2, 99, 500, 600, "x"), 1);
    ck_assert_int_eq(xo_ranges_cover(r, 2, 100, 500, 600, NULL), 0);
    ck_assert_int_eq(xo_ranges_cover(r, 2, 10, 501, 600, NULL), 0);
    ck_assert_int_eq(xo_ranges_cover(r, 2, 10, 500, 601, NULL), 0);
    ck_assert_int_eq(xo_ranges_cover(r, 2, 55, 900, 700, NULL), 1);
    ck_assert_int_eq(xo_ranges_cover(r, 2, 60, 900, 700, NULL), 0);
    ck_assert_int_eq(xo_ranges_cover(r, 0, 0, 0, 0, NULL), 0);
    ck_assert_int_eq(xo_ranges_newer(r, 2, 10, 501, 600), 1);
    ck_assert_int_eq(xo_ranges_newer(r, 2, 10, 500, 600), 0);
    ck_assert_int_eq(xo_ranges_newer(r, 2, 55, 900, 700), 0);
    ck_assert_int_eq(xo_ranges_newer(r, 2, 55, 901, 700), 1);
    ck_assert_int_eq(xo_ranges_newer(r, 2, 100, 901, 701), 0);
}
END_TEST

START_TEST(rows_of_other_filters)
{
    xo_range r[] = {{.tags = "a || b", .first = 0, .next = 100, .last_store_time = 500, .last_log_offset = 600}};
    ck_assert_int_eq(xo_ranges_cover(r, 1, 1, 1, 1, "a"), 1);
    ck_assert_int_eq(xo_ranges_cover(r, 1, 1, 1, 1, "b"), 1);
    ck_assert_int_eq(xo_ranges_cover(r, 1, 1, 1, 1, "c"), 0);
    ck_assert_int_eq(xo_ranges_cover(r, 1, 1, 1, 1, ""), 0);
    ck_assert_int_eq(xo_ranges_cover(r, 1, 1, 1, 1, NULL), 0);
    ck_assert_int_eq(xo_ranges_cover(r, 1, 1, 1, 1, "a || b"), 0);
    r[0].tags = "ab||\tc ";
    ck_assert_int_eq(xo_ranges_cover(r, 1, 1, 1, 1, "a"), 0);
    ck_assert_int_eq(xo_ranges_cover(r, 1, 1, 1, 1, "ab"), 1);
    ck_assert_int_eq(xo_ranges_cover(r, 1, 1, 1, 1, "c"), 1);
    r[0].tags = "a > 3 AND b = 'x'";
    ck_assert_int_eq(xo_ranges_cover(r, 1, 1, 1, 1, "a"), 0);
}
END_TEST

START_TEST(what_stands_before_the_youngest_row)
{
    xo_range r[] = {{.generation = 1, .first = 100, .next = 200, .last_store_time = 500, .last_log_offset = 600}, {.generation = 0, .first = 0, .next = 50, .last_store_time = 300, .last_log_offset = 200}};
    ck_assert_ptr_eq(xo_ranges_youngest(r, 2), r);
    ck_assert_ptr_null(xo_ranges_youngest(r, 0));
    ck_assert_int_eq(xo_ranges_before(r, 2, 99, 400, 300), 1);
    ck_assert_int_eq(xo_ranges_before(r, 2, 60, 400, 300), 1); /* between the rows: others had it */
    ck_assert_int_eq(xo_ranges_before(r, 2, 100, 400, 300), 0);
    ck_assert_int_eq(xo_ranges_before(r, 2, 99, 501, 300), 0); /* stored anew */
    ck_assert_int_eq(xo_ranges_before(r, 2, 99, 400, 601), 0);
    r[0].last_store_time = r[0].last_log_offset = -1;
    ck_assert_int_eq(xo_ranges_before(r, 2, 99, 400, 300), 0); /* cannot be known */
    ck_assert_int_eq(xo_ranges_before(r, 0, 99, 400, 300), 0);
}
END_TEST

/* ---- the model: all spans ever added, judged anew each time ---- */

enum { STEPS = 4000 };
typedef struct {
    int64_t begin, end, store_time, log_offset;
    int done, opens;
} model_span;
typedef struct {
    model_span spans[STEPS];
    size_t n;
    int64_t start;
    xo_range initial;
} model;

static uint64_t seed;
static int64_t dice(int64_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((seed >> 33) % (uint64_t)n);
}

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* All ranges from the beginning, the last one current. */
static size_t model_ranges(const model *m, xo_range *out, int64_t *prefix)
{
    size_t n = 1;
    out[0] = m->initial;
    *prefix = m->start;
    for (size_t i = 0; i < m->n && m->spans[i].done; i++) {
        const model_span *s = &m->spans[i];
        if (s->opens) {
            int64_t first = s->opens == XO_HOLE ? s->end : s->begin;
            out[n] = (xo_range){.generation = out[n - 1].generation + 1, .first = first, .next = first, .last_store_time = -1, .last_log_offset = -1, .epoch = m->initial.epoch};
            n++;
        }
        xo_range *r = &out[n - 1];
        if (s->end > r->next) {
            r->next = s->end;
            r->last_store_time = greater(r->last_store_time, s->store_time);
            r->last_log_offset = greater(r->last_log_offset, s->log_offset);
        }
        *prefix = s->end;
    }
    return n;
}

static int same(const xo_range *a, const xo_range *b)
{
    return a->generation == b->generation && a->first == b->first && a->next == b->next && a->last_store_time == b->last_store_time && a->last_log_offset == b->last_log_offset && a->epoch == b->epoch;
}

static void model_add(model *m, xo_track *t)
{
    int64_t end = t->to + 1 + (dice(4) ? 0 : dice(5));
    int opens = dice(12) ? 0 : dice(2) ? XO_OPENS : XO_HOLE, done = opens == XO_HOLE || !dice(4), nothing = opens == XO_HOLE || (done && !dice(3));
    int64_t store_time = nothing ? -1 : 1000 + end + dice(10), log_offset = nothing ? -1 : 10 * end;
    m->spans[m->n++] = (model_span){t->to, end, store_time, log_offset, done, opens};
    ck_assert_int_eq(xo_track_add(t, end, store_time, log_offset, done, opens), 0);
}

static void model_settle(model *m, xo_track *t)
{
    int64_t offset = t->from - 2 + dice(t->to - t->from + 4), before, after;
    xo_range ranges[STEPS + 1];
    model_span *hit = NULL;
    for (size_t i = 0; i < m->n; i++) {
        hit = m->spans[i].end == offset + 1 && !m->spans[i].done ? &m->spans[i] : hit;
    }
    (void)model_ranges(m, ranges, &before);
    if (hit) {
        hit->done = 1;
    }
    (void)model_ranges(m, ranges, &after);
    ck_assert_int_eq(xo_track_settle(t, offset), !hit ? -1 : after > before);
}

static void compare(const model *m, const xo_track *t, size_t forgotten)
{
    static xo_range ranges[STEPS + 1];
    int64_t prefix;
    size_t n = model_ranges(m, ranges, &prefix), open = 0;
    for (size_t i = 0; i < m->n; i++) {
        open += !m->spans[i].done;
    }
    ck_assert_int_eq(xo_track_prefix(t), prefix);
    ck_assert_uint_eq(t->open, open);
    ck_assert_uint_eq(t->nclosed + forgotten + 1, n);
    for (size_t i = 0; i < t->nclosed; i++) {
        ck_assert(same(&t->closed[i], &ranges[forgotten + i]));
    }
    ck_assert(same(&t->now, &ranges[n - 1]));
}

static void random_run(uint64_t from_seed)
{
    static model m;
    xo_track t = {0};
    xo_range out[STEPS + 1];
    size_t forgotten = 0;
    seed = from_seed;
    int64_t next = dice(100);
    m = (model){.initial = {.generation = dice(3), .first = next - dice(next + 1), .next = next, .last_store_time = 900 + next, .last_log_offset = 10 * next, .epoch = 5}};
    m.start = next - dice(next + 1);
    xo_track_start(&t, m.start, &m.initial, 0);
    int64_t eager = 1 + dice(8);
    for (int i = 0; i < STEPS / 8; i++) {
        if (dice(10) < eager) {
            model_add(&m, &t);
        } else {
            model_settle(&m, &t);
        }
        compare(&m, &t, forgotten);
        if (!dice(50)) {
            size_t n = xo_track_ranges(&t, out, STEPS + 1);
            ck_assert_uint_eq(n, t.nclosed + 1);
            xo_track_saved(&t, n - 1, out[n - 1].next);
            ck_assert_int_eq(t.changed, 0);
            forgotten += n - 1;
        }
    }
    for (size_t i = 0; i < m.n; i++) { /* and all of it is settled in the end */
        if (!m.spans[i].done) {
            ck_assert_int_ge(xo_track_settle(&t, m.spans[i].end - 1), 0);
            m.spans[i].done = 1;
        }
    }
    compare(&m, &t, forgotten);
    ck_assert_int_eq(t.from, t.to);
    ck_assert_uint_eq(t.n, 0);
    ck_assert_uint_eq(t.opening, 0);
    xo_track_free(&t);
}

START_TEST(random_work_against_a_model)
{
    uint64_t base = xo_random();
    fprintf(stderr, "# seed %llu and the 60 after it\n", (unsigned long long)base);
    for (uint64_t i = 0; i < 60; i++) {
        random_run(base + i);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("track");
    TCase *c = tcase_create("track");
    tcase_add_test(c, prefix_grows_only_over_settled_ones);
    tcase_add_test(c, settling_twice_or_what_is_not_there);
    tcase_add_test(c, reading_again_raises_nothing_below_the_end);
    tcase_add_test(c, another_history_opens_a_range);
    tcase_add_test(c, holes_are_in_no_range);
    tcase_add_test(c, saving);
    tcase_add_test(c, filtered_ones_need_no_memory);
    tcase_add_test(c, rows_cover);
    tcase_add_test(c, rows_of_other_filters);
    tcase_add_test(c, what_stands_before_the_youngest_row);
    tcase_add_test(c, random_work_against_a_model);
    suite_add_tcase(s, c);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
