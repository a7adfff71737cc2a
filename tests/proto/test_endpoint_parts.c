/* The endpoint's hash table and timer heap against plain models. */
#include "base/clock.h"
#include "endpoint/list.h"
#include "endpoint/map.h"
#include "endpoint/timers.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { N = 2000 };

typedef struct {
    xo_mapped by;
    unsigned key;
    int in;
} item;

static item *find(const xo_map *m, unsigned key)
{
    for (xo_mapped *e = xo_map_first(m, xo_hash(&key, sizeof key)); e; e = xo_map_again(e))
        if (XO_OF(item, by, e)->key == key)
            return XO_OF(item, by, e);
    return NULL;
}

START_TEST(map_like_a_model)
{
    static item items[N];
    xo_map m = {0};
    size_t count = 0;
    for (unsigned i = 0; i < N; i++)
        items[i].key = i;
    for (int step = 0; step < 20 * N; step++) {
        item *i = &items[xo_random() % N];
        ck_assert_ptr_eq(find(&m, i->key), i->in ? i : NULL);
        if (i->in)
            xo_map_remove(&m, &i->by);
        else
            xo_map_put(&m, &i->by, xo_hash(&i->key, sizeof i->key));
        i->in = !i->in;
        count += i->in ? 1 : (size_t)-1;
        ck_assert_uint_eq(m.count, count);
    }
    for (xo_mapped *e; (e = xo_map_any(&m)); count--)
        xo_map_remove(&m, e);
    ck_assert_uint_eq(count, 0);
    xo_map_free(&m);
}
END_TEST

START_TEST(map_with_equal_hashes)
{
    item a[5];
    xo_map m = {0};
    for (unsigned i = 0; i < 5; i++) {
        a[i].key = i;
        xo_map_put(&m, &a[i].by, i % 2);
    }
    xo_map_remove(&m, &a[2].by);
    unsigned seen = 0;
    for (xo_mapped *e = xo_map_first(&m, 0); e; e = xo_map_again(e))
        seen |= 1u << XO_OF(item, by, e)->key;
    ck_assert_uint_eq(seen, 1u << 0 | 1u << 4);
    xo_map_free(&m);
}
END_TEST

static void fire(xo_timer *t)
{
    t->at = -1;
}

START_TEST(timers_like_a_model)
{
    static xo_timer timers[N];
    xo_timers h = {NULL};
    for (int step = 0; step < 20 * N; step++) {
        xo_timer *t = &timers[xo_random() % N];
        int64_t at = (int64_t)(xo_random() % 1000);
        if (step % 3 == 0) {
            xo_timer_clear(&h, t);
            ck_assert_int_eq(t->set, 0);
        } else {
            ck_assert_int_eq(xo_timer_set(&h, t, at, fire), h.first == t);
        }
        if (step % 50)
            continue;
        int64_t least = INT64_MAX;
        for (int i = 0; i < N; i++)
            if (timers[i].set && timers[i].at < least)
                least = timers[i].at;
        ck_assert_int_eq(h.first ? h.first->at : INT64_MAX, least);
    }
    int64_t last = -1;
    while (h.first) {
        xo_timer *t = h.first;
        ck_assert_int_ge(t->at, last);
        last = t->at;
        xo_timer_clear(&h, t);
    }
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(timers[i].set, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("endpoint");
    TCase *c = tcase_create("parts");
    tcase_add_test(c, map_like_a_model);
    tcase_add_test(c, map_with_equal_hashes);
    tcase_add_test(c, timers_like_a_model);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
