/* Settled ranges as memory: what a range covers is a duplicate although its record is gone, and a record goes only when a range covers it. */
#include "suite.h"
#include "store/prune.h"
#include "store/rewind.h"
#include "store/settled.h"

#include <stdio.h>

static int calls;

static xonce_verdict counted(xonce_tx *tx, const xonce_message *m, void *arg)
{
    calls++;
    return book(tx, m, arg);
}

static xonce_store *start(void)
{
    calls = 0;
    return open_store("GID_a");
}

/* A message of queue 1 of broker b, as the RocketMQ source makes it. */
static xonce_message *placed(const char *id, int64_t offset, int64_t store_time, int64_t log_offset)
{
    xonce_message *m = message(id, "body");
    ck_assert_int_eq(xonce_message_set_origin(m, "b", 1, offset), XONCE_OK);
    m->store_time = store_time;
    m->log_offset = log_offset;
    return m;
}

static void save_range(xonce_store *s, const char *topic, const char *broker, int32_t queue, int64_t generation, const char *tags, int64_t first, int64_t next, int64_t time, int64_t log)
{
    xo_range r = {.topic = (char *)(uintptr_t)topic, .broker = (char *)(uintptr_t)broker, .tags = (char *)(uintptr_t)tags, .queue = queue, .generation = generation, .first = first, .next = next,
                  .last_store_time = time, .last_log_offset = log};
    ck_assert_msg(xo_store_positions()->save(s, &r, 1) == XONCE_OK, "%s", xonce_error_last()->text);
}

static xonce_outcome run(xonce_store *s, xonce_message *m)
{
    xonce_outcome what = XONCE_DEFERRED;
    ck_assert_msg(xonce_once(s, m, counted, NULL, &what) == XONCE_OK, "%s", xonce_error_last()->text);
    xonce_message_free(m);
    return what;
}

START_TEST(what_a_range_covers_is_a_duplicate)
{
    xonce_store *s = start();
    save_range(s, "orders", "b", 1, 0, "*", 10, 20, 1000, 5000);
    ck_assert_int_eq(run(s, placed("first", 10, 500, 100)), XONCE_DUPLICATE);
    ck_assert_int_eq(run(s, placed("last", 19, 1000, 5000)), XONCE_DUPLICATE);
    ck_assert_int_eq(calls, 0);
    ck_assert_int_eq(records(), 0); /* the claim is taken back */
    ck_assert_int_eq(run(s, placed("before", 9, 500, 100)), XONCE_FRESH);
    ck_assert_int_eq(run(s, placed("behind", 20, 900, 4000)), XONCE_FRESH);
    ck_assert_int_eq(run(s, placed("newer", 12, 1001, 4000)), XONCE_FRESH);     /* the offset has another message by now */
    ck_assert_int_eq(run(s, placed("further", 13, 900, 5001)), XONCE_FRESH);
    ck_assert_int_eq(run(s, placed("no time", 14, -1, 100)), XONCE_FRESH);      /* not to be judged by its place */
    ck_assert_int_eq(run(s, placed("no log", 14, 500, -1)), XONCE_FRESH);
    ck_assert_int_eq(calls, 6);
    ck_assert_int_eq(orders(), 6);
    ck_assert_int_eq(records(), 6);
    xonce_store_close(s);
}
END_TEST

START_TEST(only_its_own_queue)
{
    xonce_store *s = start(), *other = open_store("GID_b");
    save_range(s, "other", "b", 1, 0, "*", 0, 100, 1000, 5000);
    save_range(s, "orders", "c", 1, 0, "*", 0, 100, 1000, 5000);
    save_range(s, "orders", "b", 2, 0, "*", 0, 100, 1000, 5000);
    save_range(other, "orders", "b", 1, 0, "*", 0, 100, 1000, 5000);
    ck_assert_int_eq(run(s, placed("a", 5, 500, 100)), XONCE_FRESH);
    save_range(s, "orders", "b", 1, 0, "*", 0, 3, 1000, 5000);
    save_range(s, "orders", "b", 1, 1, "*", 4, 9, 1000, 5000);
    ck_assert_int_eq(run(s, placed("b", 3, 500, 100)), XONCE_FRESH); /* the gap between two */
    ck_assert_int_eq(run(s, placed("c", 8, 500, 100)), XONCE_DUPLICATE);
    xonce_store_close(other);
    xonce_store_close(s);
}
END_TEST

START_TEST(only_what_its_filter_let_through)
{
    xonce_store *s = start();
    save_range(s, "orders", "b", 1, 0, "red || blue", 0, 100, 1000, 5000);
    static const struct {
        const char *tag;
        xonce_outcome what;
    } cases[] = {{"red", XONCE_DUPLICATE}, {"blue", XONCE_DUPLICATE}, {"green", XONCE_FRESH}, {"re", XONCE_FRESH}, {NULL, XONCE_FRESH}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%zu", i);
        xonce_message *m = placed(id, (int64_t)i, 500, 100);
        if (cases[i].tag)
            ck_assert_int_eq(xonce_message_set_property(m, "TAGS", cases[i].tag), XONCE_OK);
        ck_assert_int_eq(run(s, m), cases[i].what);
    }
    xonce_store_close(s);
}
END_TEST

/* A copy out of the retry queue: its original lies in a range because it was sent back, and only the retry queue's own range says that the copy is settled. */
static xonce_message *retried(const char *id, int64_t copy_offset)
{
    xonce_message *m = placed(id, 3, 500, 100);
    m->copy_topic = xo_strdup("%RETRY%GID_a");
    m->copy_broker = xo_strdup("b2");
    m->copy_queue = 0;
    m->copy_offset = copy_offset;
    m->copy_store_time = 5000;
    m->copy_log_offset = 9000;
    return m;
}

START_TEST(a_retried_message_is_judged_by_its_copy)
{
    xonce_store *s = start();
    save_range(s, "orders", "b", 1, 0, "*", 0, 10, 1000, 5000);
    save_range(s, "%RETRY%GID_a", "b2", 0, 0, "*", 0, 7, 6000, 10000);
    ck_assert_int_eq(run(s, retried("sent back", 7)), XONCE_FRESH);
    ck_assert_int_eq(run(s, retried("settled", 6)), XONCE_DUPLICATE);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM transaction_record WHERE topic_name = 'orders' AND queue_id = 1"), 1); /* the record has the original's place */
    xonce_message *m = retried("copied", 6), *copy = NULL;
    ck_assert_int_eq(xonce_message_copy(&copy, m), XONCE_OK);
    xonce_message_free(m);
    ck_assert_int_eq(run(s, copy), XONCE_DUPLICATE);
    xonce_store_close(s);
}
END_TEST

/* One of a batch is covered: the others are applied, its twin is a duplicate too. */
START_TEST(in_a_batch_only_the_covered_one_is_skipped)
{
    xonce_store *s = start();
    save_range(s, "orders", "b", 1, 0, "*", 0, 2, 1000, 5000);
    xonce_message *m[4] = {placed("a", 1, 500, 100), placed("b", 2, 1500, 6000), placed("a", 1, 500, 100), placed("c", 3, 1600, 7000)};
    xo_item items[4];
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < 4; i++)
        items[i] = (xo_item){.m = m[i], .outcome = XONCE_DEFERRED};
    xo_spec spec = {.one = counted};
    ck_assert_int_eq(xo_run(s, items, 4, &spec), XONCE_OK);
    ck_assert_int_eq(items[0].outcome, XONCE_DUPLICATE);
    ck_assert_int_eq(items[1].outcome, XONCE_FRESH);
    ck_assert_int_eq(items[2].outcome, XONCE_DUPLICATE);
    ck_assert_int_eq(items[3].outcome, XONCE_FRESH);
    ck_assert_int_eq(calls, 2);
    ck_assert_int_eq(records(), 2);
    for (size_t i = 0; i < 4; i++)
        xonce_message_free(m[i]);
    xonce_store_close(s);
}
END_TEST

/* All records are old enough; the watermark is now. */
static int64_t prune(xonce_store *s)
{
    int64_t deleted = -1;
    sql("UPDATE transaction_record SET ctime = 1000");
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    ck_assert_msg(xonce_store_prune(s, INT64_C(4) * 86400000, 0, &deleted) == XONCE_OK, "%s", xonce_error_last()->text);
    return deleted;
}

START_TEST(a_record_goes_when_a_range_covers_it)
{
    xonce_store *s = start();
    ck_assert_int_eq(run(s, placed("a", 1, 500, 100)), XONCE_FRESH);
    ck_assert_int_eq(run(s, placed("b", 2, 600, 200)), XONCE_FRESH);
    ck_assert_int_eq(run(s, placed("c", 3, 700, 300)), XONCE_FRESH);
    ck_assert_int_eq(once(s, "http", "no place"), XONCE_FRESH);
    ck_assert_int_eq(prune(s), 1); /* what has no place goes by age alone */
    save_range(s, "orders", "b", 1, 0, "*", 0, 3, 600, 200);
    ck_assert_int_eq(prune(s), 2);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM transaction_record WHERE message_id = 'c#GID_a'"), 1);
    ck_assert_int_eq(run(s, placed("a", 1, 500, 100)), XONCE_DUPLICATE);
    ck_assert_int_eq(run(s, placed("b", 2, 600, 200)), XONCE_DUPLICATE);
    ck_assert_int_eq(run(s, placed("c", 3, 700, 300)), XONCE_DUPLICATE);
    save_range(s, "orders", "b", 1, 0, "*", 0, 4, 699, 300); /* covers its offset, but not its time */
    ck_assert_int_eq(prune(s), 0);
    save_range(s, "orders", "b", 1, 0, "*", 0, 5, 800, 400);
    ck_assert_int_eq(prune(s), 1);
    ck_assert_int_eq(run(s, placed("c", 3, 700, 300)), XONCE_DUPLICATE);
    ck_assert_int_eq(orders(), 4);
    xonce_store_close(s);
}
END_TEST

/* What is printed for a DBA does the same, and nothing when the watermark is stale. */
START_TEST(the_printed_statement_keeps_the_rules)
{
    xonce_store *s = start();
    xo_buf text = {0};
    int64_t rows = 0, before = 0;
    ck_assert_int_eq(run(s, placed("a", 1, 500, 100)), XONCE_FRESH);
    ck_assert_int_eq(run(s, placed("b", 7, 600, 200)), XONCE_FRESH);
    ck_assert_int_eq(once(s, "http", "no place"), XONCE_FRESH);
    save_range(s, "orders", "b", 1, 0, "*", 0, 5, 800, 400);
    sql("UPDATE transaction_record SET ctime = 1000");
    ck_assert_msg(xo_prune_sql(s, INT64_C(4) * 86400000, 100, &text) == XONCE_OK, "%s", xonce_error_last()->text);
    sql(text.p);
    ck_assert_int_eq(records(), 3); /* there is no watermark */
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    sql("UPDATE xonce_watermark SET updated_ms = updated_ms - 4000000");
    sql(text.p);
    ck_assert_int_eq(records(), 3); /* it is stale */
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    ck_assert_int_eq(xo_prune_count(s, INT64_C(4) * 86400000, &rows, &before), XONCE_OK);
    ck_assert_int_eq(rows, 2);
    sql(text.p);
    ck_assert_int_eq(records(), 1);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM transaction_record WHERE message_id = 'b#GID_a'"), 1); /* not covered */
    xo_buf_free(&text);
    xonce_store_close(s);
}
END_TEST

/* Where positions are kept, what has no place may still be brought back by an operator: it stays as long as a broker stores. */
START_TEST(a_record_without_a_place_stays_longer_beside_positions)
{
    static const int64_t DAY = 86400000;
    xonce_store *s = start();
    int64_t deleted = -1, rows = -1, before = 0;
    char text[200];
    ck_assert_int_eq(once(s, "no place", "x"), XONCE_FRESH);
    save_range(s, "orders", "b", 1, 0, "*", 0, 5, 800, 400);
    snprintf(text, sizeof text, "UPDATE transaction_record SET ctime = ctime - %lld", (long long)(5 * DAY));
    sql(text);
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    ck_assert_int_eq(xo_prune_count(s, DAY, &rows, &before), XONCE_OK);
    ck_assert_int_eq(xonce_store_prune(s, DAY + 3600000, 0, &deleted), XONCE_OK);
    ck_assert_int_eq(rows, 1); /* 5 days old: 1 and 4 */
    ck_assert_int_eq(deleted, 0);
    ck_assert_int_eq(xonce_store_prune(s, DAY - 3600000, 0, &deleted), XONCE_OK);
    ck_assert_int_eq(deleted, 1);
    xonce_store_close(s);
}
END_TEST

static xonce_status rewind_to(xonce_store *s, int64_t offset, int64_t *records)
{
    return xo_rewind_queue(s, "orders", "b", 1, offset, records);
}

START_TEST(a_rewound_queue_is_applied_again_from_there)
{
    xonce_store *s = start();
    int64_t records_gone = -1;
    for (int i = 0; i < 6; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        ck_assert_int_eq(run(s, placed(id, i, 100 + i, 1000 + i)), XONCE_FRESH);
    }
    save_range(s, "orders", "b", 1, 0, "red", 0, 3, 102, 1002);
    save_range(s, "orders", "b", 1, 1, "red", 4, 6, 105, 1005);
    save_range(s, "orders", "b", 2, 0, "red", 0, 6, 105, 1005);
    ck_assert_msg(rewind_to(s, 2, &records_gone) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_eq(records_gone, 4);
    ck_assert_int_eq(sql_int("SELECT next_offset FROM xonce_settled WHERE queue_id = 1"), 2);
    ck_assert_int_eq(run(s, placed("m1", 1, 101, 1001)), XONCE_DUPLICATE);
    ck_assert_int_eq(run(s, placed("m2", 2, 102, 1002)), XONCE_FRESH);
    ck_assert_int_eq(rewind_to(s, 0, &records_gone), XONCE_OK);
    ck_assert_int_eq(records_gone, 3);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_settled WHERE queue_id = 1 AND first_offset = 0 AND next_offset = 0 AND epoch > 1"), 1);
    char *tags = sql_text("SELECT tags FROM xonce_settled WHERE queue_id = 1");
    ck_assert_str_eq(tags, "red"); /* another filter would keep all ranges of the topic from freeing records */
    free(tags);
    ck_assert_int_eq(sql_int("SELECT next_offset FROM xonce_settled WHERE queue_id = 2"), 6);
    xonce_store_close(s);
}
END_TEST

/* A message let through by one filter, in a range that another wrote: once that is gone nobody would know it. */
START_TEST(a_range_of_one_filter_among_several_frees_nothing)
{
    xonce_store *s = start();
    ck_assert_int_eq(run(s, placed("a", 1, 500, 100)), XONCE_FRESH);
    save_range(s, "orders", "b", 1, 0, "red", 0, 5, 800, 400);
    save_range(s, "orders", "b", 2, 0, "blue", 0, 5, 800, 400);
    ck_assert_int_eq(prune(s), 0);
    save_range(s, "orders", "b", 1, 1, "*", 0, 5, 800, 400);
    ck_assert_int_eq(prune(s), 1);
    ck_assert_int_eq(run(s, placed("a", 1, 500, 100)), XONCE_DUPLICATE);
    xonce_store_close(s);
}
END_TEST

/* ---- pruning goes on behind what may not go ---- */

/* n old records of one moment, at place `queue`, offset 0 to n - 1. */
static void old_records(xonce_store *s, const char *group, const char *name, int queue, int n)
{
    for (int at = 0; at < n;) {
        xo_buf text = {0};
        xo_buf_printf(&text, "INSERT INTO transaction_record (consumer_group, message_id, topic_name, ctime, queue_id, %s, broker_name, store_time, log_offset%s) VALUES ", s->d->quoted_offset, partitioned ? ", store_day" : "");
        for (int i = 0; i < 1000 && at < n; i++, at++)
            xo_buf_printf(&text, "%s('%s', '%s%d#%s', 'orders', 1000, %d, %d, 'b', 500, 100%s)", i ? ", " : "", group, name, at, group, queue, at, !partitioned ? "" : at % 2 ? ", 0" : ", -1");
        ck_assert_int_eq(xo_buf_status(&text), XONCE_OK);
        sql(text.p);
        xo_buf_free(&text);
    }
}

static int count_steps(void *arg)
{
    int *steps = arg;
    (*steps)++;
    return 1;
}

static int stop_at_once(void *arg)
{
    (void)arg;
    return 0;
}

static xo_prune_result run_pruner(xonce_store *s, xo_prune_order o)
{
    xo_prune_result r;
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    o.keep_ms = INT64_C(4) * 86400000;
    ck_assert_msg(xo_prune_run(s, &o, &r) == XONCE_OK, "%s", xonce_error_last()->text);
    return r;
}

/* All are of one moment: the cursor has to tell equal ones apart. */
START_TEST(what_may_not_go_is_passed_by_in_steps)
{
    xonce_store *s = start();
    int steps = 0;
    old_records(s, "GID_a", "stays", 1, 9000);
    old_records(s, "GID_b", "other", 2, 3000);
    old_records(s, "GID_a", "goes", 2, 1500);
    save_range(s, "orders", "b", 2, 0, "*", 0, 5000, 1000, 5000);
    xo_prune_result r = run_pruner(s, (xo_prune_order){.go_on = stop_at_once});
    ck_assert_int_gt(r.kept, 0); /* no statement looked at them all */
    ck_assert_int_le(r.kept, 10000);
    ck_assert_int_eq(r.deleted, 0);
    r = run_pruner(s, (xo_prune_order){.max_rows = 600, .go_on = count_steps, .arg = &steps});
    ck_assert_int_eq(r.deleted, 600);
    ck_assert_int_eq(r.kept, partitioned ? 6000 : 12000); /* there half of them has no day, and that half comes first */
    ck_assert(!r.whole);
    ck_assert_int_ge(steps, 2);
    r = run_pruner(s, (xo_prune_order){.from = r.at});
    ck_assert_int_eq(r.deleted, 900);
    ck_assert_int_eq(r.kept, partitioned ? 6000 : 0); /* what was passed over is not looked at again */
    ck_assert(r.whole);
    ck_assert_int_eq(records(), 12000);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM transaction_record WHERE consumer_group = 'GID_b'"), 3000);
    /* the public call goes on where it was cut short, and begins anew after that */
    save_range(s, "orders", "b", 1, 0, "*", 0, 100, 1000, 5000);
    int64_t n = 0;
    ck_assert_int_eq(xonce_store_prune(s, INT64_C(4) * 86400000, 60, &n), XONCE_OK);
    ck_assert_int_eq(n, 60);
    save_range(s, "orders", "b", 1, 0, "*", 0, 9000, 1000, 5000);
    ck_assert_int_eq(xonce_store_prune(s, INT64_C(4) * 86400000, 0, &n), XONCE_OK);
    if (partitioned) { /* the first was cut short among those that have a day, and has gone on there */
        int64_t more = 0;
        ck_assert_int_eq(xonce_store_prune(s, INT64_C(4) * 86400000, 0, &more), XONCE_OK);
        n += more;
    }
    ck_assert_int_eq(n, 8940);
    ck_assert_int_eq(records(), 3000);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_step_is_bounded_and_a_run_ends_when_told)
{
    xonce_store *s = start();
    old_records(s, "GID_a", "goes", 1, 7000);
    save_range(s, "orders", "b", 1, 0, "*", 0, 7000, 1000, 5000);
    xo_prune_result r = run_pruner(s, (xo_prune_order){.go_on = stop_at_once});
    ck_assert_int_gt(r.deleted, 0);
    ck_assert_int_le(r.deleted, 5000);
    ck_assert(!r.whole);
    ck_assert_int_eq(records(), 7000 - r.deleted);
    xonce_store_close(s);
}
END_TEST

START_TEST(the_rate_is_kept)
{
    xonce_store *s = open_store_with("GID_a", "prune.rate", "2000");
    old_records(s, "GID_a", "goes", 1, 2000);
    save_range(s, "orders", "b", 1, 0, "*", 0, 2000, 1000, 5000);
    int64_t begun = xo_mono_ms();
    ck_assert_int_eq(run_pruner(s, (xo_prune_order){0}).deleted, 2000);
    ck_assert_int_ge(xo_mono_ms() - begun, 700);
    xonce_store_close(s);
}
END_TEST

typedef struct {
    const char *group;
    xonce_status st;
    int64_t deleted;
    int cut;
} side;

static void *prune_side(void *arg)
{
    side *x = arg;
    xonce_store *s = open_store(x->group);
    xo_prune_order o = {.keep_ms = INT64_C(4) * 86400000};
    for (int64_t until = xo_mono_ms() + 20000; xo_mono_ms() < until && x->deleted < 4000;) {
        xo_prune_result r;
        x->st = xo_prune_run(s, &o, &r);
        x->deleted += r.deleted;
        x->cut += x->st == XONCE_OK && !r.whole;
        if (x->st != XONCE_OK && x->st != XONCE_E_CONFLICT)
            break;
    }
    xonce_store_close(s);
    return NULL;
}

/* The one pruner's place of a database goes around: neither group waits for the other's end. */
START_TEST(groups_of_a_database_prune_by_turns)
{
    side x[2] = {{.group = "GID_a"}, {.group = "GID_b"}};
    pthread_t t[2];
    for (int i = 0; i < 2; i++) {
        xonce_store *s = open_store(x[i].group);
        old_records(s, x[i].group, "old", i, 4000);
        save_range(s, "orders", "b", i, 0, "*", 0, 4000, 1000, 5000);
        ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
        xonce_store_close(s);
    }
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, prune_side, &x[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    ck_assert_int_eq(x[0].deleted, 4000);
    ck_assert_int_eq(x[1].deleted, 4000);
    ck_assert_int_eq(x[0].cut + x[1].cut, 0); /* who has begun gets to the end */
    ck_assert_int_eq(records(), 0);
}
END_TEST

Suite *suite_ranges(void)
{
    Suite *s = suite_create("ranges");
    TCase *t = tcase_create("ranges");
    tcase_add_checked_fixture(t, fresh_database, NULL);
    tcase_add_test(t, what_a_range_covers_is_a_duplicate);
    tcase_add_test(t, only_its_own_queue);
    tcase_add_test(t, only_what_its_filter_let_through);
    tcase_add_test(t, a_retried_message_is_judged_by_its_copy);
    tcase_add_test(t, in_a_batch_only_the_covered_one_is_skipped);
    tcase_add_test(t, a_record_goes_when_a_range_covers_it);
    tcase_add_test(t, the_printed_statement_keeps_the_rules);
    tcase_add_test(t, a_record_without_a_place_stays_longer_beside_positions);
    tcase_add_test(t, a_rewound_queue_is_applied_again_from_there);
    tcase_add_test(t, a_range_of_one_filter_among_several_frees_nothing);
    tcase_add_test(t, what_may_not_go_is_passed_by_in_steps);
    tcase_add_test(t, a_step_is_bounded_and_a_run_ends_when_told);
    tcase_add_test(t, the_rate_is_kept);
    tcase_add_test(t, groups_of_a_database_prune_by_turns);
    tcase_set_timeout(t, 60);
    suite_add_tcase(s, t);
    return s;
}
