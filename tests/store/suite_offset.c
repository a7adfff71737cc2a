/* Claims by offset: the queue's row moves with the batch's writes, and whoever was taken over writes nothing. */
#include "suite.h"
#include "base/failpoint.h"
#include "store/rewind.h"
#include "store/settled.h"

#include <stdio.h>

enum { MAX = 16 };

static int calls, at_once;     /* at_once: by the batch handler */
static const char *bad;        /* the message that its handler does not like */
static xonce_verdict verdict;

static xonce_verdict handle(xonce_tx *tx, const xonce_message *m, void *arg)
{
    calls++;
    xonce_verdict v = book(tx, m, arg);
    return v == XONCE_DONE && bad && strcmp(bad, xonce_message_id(m)) == 0 ? verdict : v;
}

/* All at once; the bad one is rejected, put off, or its statement fails: one that the first half of a batch does not have. */
static xonce_verdict handle_all(xonce_tx *tx, xonce_batch *b, void *arg)
{
    calls++;
    for (size_t i = 0; i < xonce_batch_count(b); i++) {
        const xonce_message *m = xonce_batch_at(b, i);
        int is_bad = bad && strcmp(bad, xonce_message_id(m)) == 0;
        if (is_bad && verdict == XONCE_REJECT)
            xonce_batch_reject(b, i, "not wanted");
        else if (is_bad && verdict == XONCE_RETRY)
            xonce_batch_retry(b, i, "later");
        else if (is_bad)
            xonce_exec(tx, "INSERT INTO orders (id) VALUES ($1)", xonce_null());
        else if (book(tx, m, arg) != XONCE_DONE)
            return XONCE_RETRY;
    }
    return XONCE_DONE;
}

static xonce_store *start(void)
{
    calls = at_once = 0;
    bad = NULL;
    return open_store("GID_a");
}

static const xo_position_ops *ops(void)
{
    return xo_store_positions();
}

/* Queue 1 of broker b, read by this process from here on. */
static xo_range taken(xonce_store *s, int64_t record_before)
{
    xo_range *rows = NULL, r = {.topic = (char *)(uintptr_t)"orders", .broker = (char *)(uintptr_t)"b", .tags = (char *)(uintptr_t)"*", .queue = 1, .last_store_time = -1, .last_log_offset = -1};
    size_t n = 0;
    ck_assert_int_eq(ops()->load(s, "orders", "b", 1, &rows, &n), XONCE_OK);
    if (n) {
        r = rows[n - 1];
        r.topic = (char *)(uintptr_t)"orders";
        r.broker = (char *)(uintptr_t)"b";
        r.tags = (char *)(uintptr_t)"*";
    }
    r.by_offset = 1;
    r.record_before = record_before;
    ck_assert_msg(ops()->take(s, &r, rows, n) == XONCE_OK, "%s", xonce_error_last()->text);
    xo_ranges_free(rows, n);
    return r;
}

/* As the source makes it: what lies between from and offset nobody wants. */
static xonce_message *at(const xo_range *r, int64_t from, int64_t offset)
{
    char id[24];
    snprintf(id, sizeof id, "m%lld", (long long)offset);
    xonce_message *m = message(id, "body");
    ck_assert_int_eq(xonce_message_set_origin(m, "b", 1, offset), XONCE_OK);
    m->store_time = 1000 + offset;
    m->log_offset = 100 * offset;
    m->claim_from = from;
    m->claim_generation = r->generation;
    m->claim_epoch = r->epoch;
    m->claim_record = r->record_before > offset;
    return m;
}

typedef struct {
    xonce_message *m[MAX];
    xo_item items[MAX];
    size_t n;
} batch;

static batch of(const xo_range *r, int64_t first, int64_t end)
{
    batch b = {.n = 0};
    for (int64_t o = first; o < end; o++)
        b.m[b.n++] = at(r, o, o);
    return b;
}

static void run(xonce_store *s, batch *b)
{
    xo_spec spec = {.one = at_once ? NULL : handle, .many = at_once ? handle_all : NULL, .ordered = 1};
    for (size_t i = 0; i < b->n; i++)
        b->items[i] = (xo_item){.m = b->m[i]};
    ck_assert_msg(xo_run(s, b->items, b->n, &spec) == XONCE_OK, "%s", xonce_error_last()->text);
}

static void drop(batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        xonce_message_free(b->m[i]);
    b->n = 0;
}

/* Runs offsets first to end, and what becomes of each: F, D, R, '-' put off, 'x' fenced. */
static const char *went(xonce_store *s, const xo_range *r, int64_t first, int64_t end)
{
    static char text[MAX + 1];
    batch b = of(r, first, end);
    run(s, &b);
    memset(text, 0, sizeof text);
    for (size_t i = 0; i < b.n; i++) {
        const xo_item *it = &b.items[i];
        text[i] = it->outcome == XONCE_FRESH ? 'F' : it->outcome == XONCE_DUPLICATE ? 'D' : it->outcome == XONCE_REJECTED ? 'R' : it->error.pub.code == XONCE_E_FENCED ? 'x' : '-';
    }
    drop(&b);
    return text;
}

static int64_t next(void)
{
    return sql_int("SELECT next_offset FROM xonce_settled WHERE consumer_group = 'GID_a' AND queue_id = 1 ORDER BY generation DESC LIMIT 1");
}

START_TEST(the_row_moves_with_the_writes)
{
    xonce_store *s = start();
    xo_range r = taken(s, 0);
    ck_assert_str_eq(went(s, &r, 0, 5), "FFFFF");
    ck_assert_int_eq(next(), 5);
    ck_assert_int_eq(sql_int("SELECT last_store_time FROM xonce_settled"), 1004);
    ck_assert_int_eq(sql_int("SELECT last_log_offset FROM xonce_settled"), 400);
    ck_assert_str_eq(went(s, &r, 5, 7), "FF");
    ck_assert_int_eq(next(), 7);
    ck_assert_int_eq(orders(), 7);
    ck_assert_int_eq(records(), 0); /* no row a message */
    ck_assert_str_eq(went(s, &r, 5, 7), "xx");
    ck_assert_int_eq(orders(), 7);
    xonce_store_close(s);
}
END_TEST

START_TEST(what_nobody_wants_is_passed_over)
{
    xonce_store *s = start();
    xo_range r = taken(s, 0);
    batch b = {.m = {at(&r, 0, 3), at(&r, 4, 9)}, .n = 2};
    run(s, &b);
    ck_assert_int_eq(b.items[0].outcome, XONCE_FRESH);
    ck_assert_int_eq(b.items[1].outcome, XONCE_FRESH);
    ck_assert_int_eq(next(), 10);
    drop(&b);
    r.next = 20; /* the end of the queue has nothing for us */
    ck_assert_int_eq(ops()->advance(s, &r, 10), XONCE_OK);
    ck_assert_int_eq(ops()->advance(s, &r, 10), XONCE_OK);
    ck_assert_int_eq(next(), 20);
    r.last_store_time = 5000;
    r.last_log_offset = 100;
    ck_assert_int_eq(ops()->advance(s, &r, 20), XONCE_OK);
    ck_assert_int_eq(sql_int("SELECT last_store_time FROM xonce_settled"), 5000);
    ck_assert_int_eq(sql_int("SELECT last_log_offset FROM xonce_settled"), 900); /* of offset 9 */
    b = (batch){.m = {at(&r, 10, 25)}, .n = 1}; /* it had been taken before that */
    run(s, &b);
    ck_assert_int_eq(b.items[0].outcome, XONCE_FRESH);
    ck_assert_int_eq(next(), 26);
    drop(&b);
    r.next = 30;
    ck_assert_int_eq(ops()->advance(s, &r, 27), XONCE_E_FENCED);
    xonce_store_close(s);
}
END_TEST

/* What is missing in between was not settled: nothing behind it may be. */
START_TEST(a_gap_in_a_batch_is_refused)
{
    xonce_store *s = start();
    xo_range r = taken(s, 0);
    batch b = {.m = {at(&r, 0, 0), at(&r, 2, 2)}, .n = 2};
    run(s, &b);
    ck_assert_int_ne(b.items[1].outcome, XONCE_FRESH);
    ck_assert_int_le(next(), 1);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM orders WHERE id = 'm2'"), 0);
    drop(&b);
    ck_assert_str_eq(went(s, &r, 5, 6), "x");
    xonce_store_close(s);
}
END_TEST

START_TEST(who_was_taken_over_writes_nothing)
{
    xonce_store *s = start(), *other = open_store("GID_a");
    xo_range old = taken(s, 0), mine;
    ck_assert_str_eq(went(s, &old, 0, 2), "FF");
    mine = taken(other, 0);
    ck_assert_int_gt(mine.epoch, old.epoch);
    ck_assert_int_eq(mine.next, 2);
    ck_assert_str_eq(went(s, &old, 2, 4), "xx");
    ck_assert_int_eq(orders(), 2);
    ck_assert_int_eq(next(), 2);
    ck_assert_str_eq(went(other, &mine, 2, 4), "FF");
    old.next = 10;
    ck_assert_int_eq(ops()->advance(s, &old, 2), XONCE_E_FENCED);
    bad = "m4";
    verdict = XONCE_REJECT;
    ck_assert_str_eq(went(s, &old, 4, 5), "x"); /* nor does it reject */
    ck_assert_int_eq(rejected(), 0);
    ck_assert_int_eq(next(), 4);
    xonce_store_close(other);
    xonce_store_close(s);
}
END_TEST

START_TEST(only_one_takes_it)
{
    xonce_store *s = start();
    xo_range *rows = NULL, r = taken(s, 0), a = r, b = r;
    size_t n = 0;
    ck_assert_int_eq(ops()->load(s, "orders", "b", 1, &rows, &n), XONCE_OK);
    ck_assert_int_eq(ops()->take(s, &a, rows, n), XONCE_OK);
    ck_assert_int_eq(ops()->take(s, &b, rows, n), XONCE_E_CONFLICT);
    ck_assert_int_eq(ops()->take(s, &b, NULL, 0), XONCE_E_CONFLICT); /* the first row of a queue */
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_settled"), 1);
    xo_ranges_free(rows, n);
    ck_assert_int_eq(ops()->load(s, "orders", "b", 1, &rows, &n), XONCE_OK);
    b.generation++;
    b.first = b.next = 7; /* another history: the old row stays, and who holds it is fenced */
    ck_assert_int_eq(ops()->take(s, &b, rows, n), XONCE_OK);
    ck_assert_str_eq(went(s, &a, 0, 1), "x");
    ck_assert_str_eq(went(s, &b, 7, 8), "F");
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_settled"), 2);
    ck_assert_int_eq(sql_int("SELECT MIN(next_offset) FROM xonce_settled"), 0);
    xo_ranges_free(rows, n);
    ck_assert_int_eq(ops()->load(s, "orders", "b", 1, &rows, &n), XONCE_OK);
    sql("DELETE FROM xonce_settled");
    ck_assert_int_eq(ops()->take(s, &b, rows, n), XONCE_E_CONFLICT); /* what was loaded is gone */
    xo_ranges_free(rows, n);
    xonce_store_close(s);
}
END_TEST

/* A failing message holds up all behind it, in its queue only. */
START_TEST(behind_a_failing_one_nothing_is_settled)
{
    xonce_store *s = start();
    xo_range r = taken(s, 0);
    bad = "m2";
    verdict = XONCE_RETRY;
    ck_assert_str_eq(went(s, &r, 0, 5), "FF---");
    ck_assert_int_eq(next(), 2);
    ck_assert_int_eq(orders(), 2);
    verdict = XONCE_REJECT;
    ck_assert_str_eq(went(s, &r, 2, 5), "R--");
    ck_assert_int_eq(next(), 3);
    ck_assert_int_eq(rejected(), 1);
    ck_assert_str_eq(went(s, &r, 3, 5), "FF");
    ck_assert_int_eq(next(), 5);
    ck_assert_int_eq(orders(), 4);
    ck_assert_int_eq(records(), 0);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_batch_handler)
{
    xonce_store *s = start();
    xo_range r = taken(s, 0);
    at_once = 1;
    ck_assert_str_eq(went(s, &r, 0, 5), "FFFFF");
    ck_assert_int_eq(calls, 1);
    ck_assert_int_eq(next(), 5);
    bad = "m7";
    verdict = XONCE_RETRY;
    ck_assert_str_eq(went(s, &r, 5, 10), "FF---");
    ck_assert_int_eq(next(), 7);
    ck_assert_int_eq(orders(), 7);
    verdict = XONCE_DONE; /* and one whose statement fails, which is found by halves */
    ck_assert_str_eq(went(s, &r, 7, 10), "---");
    bad = "m9";
    ck_assert_str_eq(went(s, &r, 7, 12), "FF---");
    ck_assert_int_eq(next(), 9);
    verdict = XONCE_REJECT;
    ck_assert_int_eq(rejected(), 0);
    ck_assert_str_eq(went(s, &r, 9, 12), "R--");
    ck_assert_int_eq(next(), 10);
    ck_assert_int_eq(rejected(), 1);
    bad = "m11";
    ck_assert_str_eq(went(s, &r, 10, 13), "FR-");
    ck_assert_int_eq(next(), 12);
    ck_assert_str_eq(went(s, &r, 12, 13), "F");
    ck_assert_int_eq(rejected(), 2);
    ck_assert_int_eq(orders(), 11);
    ck_assert_int_eq(records(), 0);
    xonce_store_close(s);
}
END_TEST

/* Whatever its statements fail with is not the messages' fault: its successor has written the same. */
START_TEST(who_was_taken_over_is_fenced_not_failed)
{
    xonce_store *s = start(), *other = open_store("GID_a");
    sql("CREATE UNIQUE INDEX one_order ON orders (id)");
    xo_range old = taken(s, 0), mine = taken(other, 0);
    ck_assert_str_eq(went(other, &mine, 0, 3), "FFF");
    ck_assert_str_eq(went(s, &old, 0, 3), "xxx");
    ck_assert_str_eq(went(s, &old, 2, 3), "x");
    at_once = 1;
    ck_assert_str_eq(went(s, &old, 0, 3), "xxx");
    at_once = 0;
    sql("INSERT INTO orders (id) VALUES ('m4')"); /* and where it is, that holds it up as ever */
    ck_assert_str_eq(went(other, &mine, 3, 6), "F--");
    ck_assert_int_eq(next(), 4);
    ck_assert_int_eq(rejected(), 0);
    xonce_store_close(other);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_failing_one_is_rejected_in_the_end)
{
    xonce_store *s = start();
    xo_range r = taken(s, 0);
    xonce_message *m = at(&r, 0, 0);
    batch b = {.m = {m}, .n = 1};
    bad = "m0";
    verdict = XONCE_RETRY;
    m->attempt = 16;
    run(s, &b);
    ck_assert_int_eq(b.items[0].outcome, XONCE_REJECTED);
    ck_assert_int_eq(next(), 1);
    drop(&b);
    xonce_store_close(s);
}
END_TEST

/* Two that the source cannot answer for, with others between: each is rejected once, in order. */
START_TEST(refused_by_the_source)
{
    xonce_store *s = start();
    xo_range r = taken(s, 0);
    int64_t done = 0;
    for (int round = 0; done < 5 && round < 5; round++) {
        batch b = of(&r, done, 5);
        for (size_t i = 0; i < b.n; i++)
            if (b.m[i]->offset == 1 || b.m[i]->offset == 3)
                b.m[i]->refuse = xo_strdup("not to be judged");
        run(s, &b);
        for (size_t i = 0; i < b.n; i++)
            done += b.items[i].outcome == XONCE_FRESH || b.items[i].outcome == XONCE_REJECTED;
        ck_assert_int_eq(next(), done);
        drop(&b);
    }
    ck_assert_int_eq(next(), 5);
    ck_assert_int_eq(orders(), 3);
    ck_assert_int_eq(rejected(), 2);
    xonce_store_close(s);
}
END_TEST

static const char *const breaks[] = {"begun=error@1", "claimed=error@1", "handled=error@1", "committing=error@1", "committed=error@1", "commit-sent=error@1"};

START_TEST(broken_off_anywhere)
{
    xonce_store *s = start();
    xo_range r = taken(s, 0);
    ck_assert_int_eq(xo_failpoints_load(breaks[_i]), XONCE_OK);
    ck_assert_str_eq(went(s, &r, 0, 4), "FFFF"); /* an unknown COMMIT is known by the epoch: nobody else can have moved the row */
    xo_failpoints_load("");
    ck_assert_int_eq(next(), 4);
    ck_assert_int_eq(orders(), 4);
    ck_assert_str_eq(went(s, &r, 4, 6), "FF");
    xonce_store_close(s);
}
END_TEST

START_TEST(broken_off_while_rejecting)
{
    xonce_store *s = start();
    xo_range r = taken(s, 0);
    bad = "m0";
    verdict = XONCE_REJECT;
    ck_assert_int_eq(xo_failpoints_load("commit-sent=error@1"), XONCE_OK);
    ck_assert_str_eq(went(s, &r, 0, 1), "R");
    xo_failpoints_load("");
    ck_assert_int_eq(next(), 1);
    ck_assert_int_eq(rejected(), 1);
    xonce_store_close(s);
}
END_TEST

/* What others may have claimed by record, or sent back, has a record too: it is applied once, whoever comes first. */
START_TEST(with_records_until_the_change_is_over)
{
    xonce_store *s = start();
    xo_range r = taken(s, 3);
    ck_assert_int_eq(once(s, "m1", "body"), XONCE_FRESH); /* a member by record, or a copy that was sent back */
    ck_assert_str_eq(went(s, &r, 0, 5), "FDFFF");
    ck_assert_int_eq(next(), 5);
    ck_assert_int_eq(records(), 3);
    ck_assert_int_eq(orders(), 5);
    ck_assert_int_eq(once(s, "m2", "body"), XONCE_DUPLICATE);
    xonce_store_close(s);
}
END_TEST

START_TEST(all_of_a_batch_applied_before)
{
    xonce_store *s = start();
    xo_range r = taken(s, INT64_MAX);
    ck_assert_int_eq(once(s, "m0", "body"), XONCE_FRESH);
    ck_assert_int_eq(once(s, "m1", "body"), XONCE_FRESH);
    ck_assert_str_eq(went(s, &r, 0, 2), "DD");
    ck_assert_int_eq(next(), 2); /* it moves all the same */
    bad = "m2";
    verdict = XONCE_REJECT;
    ck_assert_int_eq(once(s, "m2", "body"), XONCE_FRESH);
    ck_assert_str_eq(went(s, &r, 2, 3), "D");
    ck_assert_int_eq(next(), 3);
    xonce_store_close(s);
}
END_TEST

/* A member that still claims by record, of a queue that is claimed by offset by now. */
START_TEST(by_record_where_others_claim_by_offset)
{
    xonce_store *s = start();
    xo_range r = taken(s, 0), record = {.epoch = -1};
    ck_assert_str_eq(went(s, &r, 0, 2), "FF");
    ck_assert_str_eq(went(s, &record, 2, 3), "x");
    ck_assert_int_eq(orders(), 2);
    ck_assert_int_eq(records(), 0);
    xonce_message *m = at(&record, 1, 1);
    m->claim_record = 1; /* read by a member of the new kind, which the row's filter hid from the old one */
    batch b = {.m = {m}, .n = 1};
    run(s, &b);
    ck_assert_int_eq(b.items[0].outcome, XONCE_DUPLICATE);
    drop(&b);
    xonce_store_close(s);
}
END_TEST

START_TEST(back_to_records)
{
    xonce_store *s = start();
    xo_range r = taken(s, 0), back = r, record = {.epoch = -1}, *rows = NULL;
    size_t n = 0;
    ck_assert_str_eq(went(s, &r, 0, 2), "FF");
    ck_assert_int_eq(ops()->load(s, "orders", "b", 1, &rows, &n), XONCE_OK);
    ck_assert_int_eq(rows[0].by_offset, 1);
    back.by_offset = 0;
    back.next = rows[0].next;
    ck_assert_int_eq(ops()->take(s, &back, rows, n), XONCE_OK);
    xo_ranges_free(rows, n);
    ck_assert_int_eq(ops()->load(s, "orders", "b", 1, &rows, &n), XONCE_OK);
    ck_assert_int_eq(rows[0].by_offset, 0);
    xo_ranges_free(rows, n);
    ck_assert_str_eq(went(s, &r, 2, 3), "x");
    ck_assert_str_eq(went(s, &record, 1, 3), "DF"); /* what was settled by offset is covered */
    ck_assert_int_eq(orders(), 3);
    xonce_store_close(s);
}
END_TEST

static xonce_verdict commits(xonce_tx *tx, const xonce_message *m, void *arg)
{
    calls++;
    if (book(tx, m, arg) != XONCE_DONE)
        return XONCE_RETRY;
    end_transaction_natively(tx, "COMMIT");
    return XONCE_DONE;
}

/* The row moved ahead of the handler's writes: its COMMIT takes that along, and nothing is applied again. */
START_TEST(a_handlers_own_commit)
{
    xonce_store *s = start();
    xo_range r = taken(s, 0);
    batch b = of(&r, 0, 1);
    xo_spec spec = {.one = commits, .ordered = 1};
    b.items[0] = (xo_item){.m = b.m[0]};
    ck_assert_int_eq(xo_run(s, b.items, 1, &spec), XONCE_OK);
    ck_assert_int_eq(b.items[0].outcome, XONCE_REJECTED);
    ck_assert_int_eq(rejected(), 1);
    ck_assert_int_eq(next(), 1);
    ck_assert_int_eq(orders(), on == ON_SQLITE ? 0 : 1);
    drop(&b);
    xonce_store_close(s);
}
END_TEST

START_TEST(several_queues_in_one_batch)
{
    xonce_store *s = start();
    xo_range a = taken(s, 0), b = a, *none = NULL;
    b.queue = 2;
    ck_assert_int_eq(ops()->take(s, &b, none, 0), XONCE_OK);
    batch all = {.m = {at(&a, 0, 0), at(&a, 1, 1), at(&b, 0, 10), at(&b, 11, 11)}, .n = 4};
    for (size_t i = 2; i < 4; i++)
        ck_assert_int_eq(xonce_message_set_origin(all.m[i], "b", 2, all.m[i]->offset), XONCE_OK);
    xo_range stolen = taken(s, 0); /* queue 1 */
    run(s, &all);
    ck_assert_int_eq(all.items[0].error.pub.code, XONCE_E_FENCED);
    ck_assert_int_eq(all.items[1].error.pub.code, XONCE_E_FENCED);
    ck_assert_int_eq(all.items[2].outcome, XONCE_FRESH);
    ck_assert_int_eq(all.items[3].outcome, XONCE_FRESH);
    ck_assert_int_eq(sql_int("SELECT next_offset FROM xonce_settled WHERE queue_id = 2"), 12);
    ck_assert_int_eq(orders(), 2);
    drop(&all);
    ck_assert_str_eq(went(s, &stolen, 0, 2), "FF");
    xonce_store_close(s);
}
END_TEST

START_TEST(rewound_while_it_is_held)
{
    xonce_store *s = start();
    xo_range r = taken(s, 0);
    ck_assert_str_eq(went(s, &r, 0, 4), "FFFF");
    ck_assert_int_eq(xo_rewind_queue(s, "orders", "b", 1, 2, NULL), XONCE_OK);
    ck_assert_str_eq(went(s, &r, 4, 5), "x");
    sql("DELETE FROM orders WHERE id = 'm2' OR id = 'm3'");
    xo_range again = taken(s, 0);
    ck_assert_int_eq(again.next, 2);
    ck_assert_str_eq(went(s, &again, 2, 4), "FF");
    ck_assert_int_eq(xo_rewind_queue(s, "orders", "b", 1, 0, NULL), XONCE_OK);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_settled WHERE record_before IS NULL"), 0); /* still claimed by offset */
    xonce_store_close(s);
}
END_TEST

START_TEST(records_of_a_queue)
{
    xonce_store *s = start();
    xo_range r = taken(s, INT64_MAX);
    int yes = 1;
    ck_assert_int_eq(ops()->recorded(s, "orders", "b", 1, 0, &yes), XONCE_OK);
    ck_assert_int_eq(yes, 0);
    ck_assert_str_eq(went(s, &r, 0, 3), "FFF");
    ck_assert_int_eq(ops()->recorded(s, "orders", "b", 1, 2, &yes), XONCE_OK);
    ck_assert_int_eq(yes, 1);
    ck_assert_int_eq(ops()->recorded(s, "orders", "b", 1, 3, &yes), XONCE_OK);
    ck_assert_int_eq(yes, 0);
    ck_assert_int_eq(ops()->recorded(s, "orders", "b", 2, 0, &yes), XONCE_OK);
    ck_assert_int_eq(yes, 0);
    xonce_store_close(s);
}
END_TEST

Suite *suite_offset(void)
{
    Suite *s = suite_create("offset");
    TCase *t = tcase_create("offset");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, fresh_database, NULL);
    tcase_add_test(t, the_row_moves_with_the_writes);
    tcase_add_test(t, what_nobody_wants_is_passed_over);
    tcase_add_test(t, a_gap_in_a_batch_is_refused);
    tcase_add_test(t, who_was_taken_over_writes_nothing);
    tcase_add_test(t, only_one_takes_it);
    tcase_add_test(t, behind_a_failing_one_nothing_is_settled);
    tcase_add_test(t, a_batch_handler);
    tcase_add_test(t, who_was_taken_over_is_fenced_not_failed);
    tcase_add_test(t, a_failing_one_is_rejected_in_the_end);
    tcase_add_test(t, refused_by_the_source);
    tcase_add_loop_test(t, broken_off_anywhere, 0, (int)(sizeof breaks / sizeof *breaks));
    tcase_add_test(t, broken_off_while_rejecting);
    tcase_add_test(t, with_records_until_the_change_is_over);
    tcase_add_test(t, all_of_a_batch_applied_before);
    tcase_add_test(t, by_record_where_others_claim_by_offset);
    tcase_add_test(t, back_to_records);
    tcase_add_test(t, a_handlers_own_commit);
    tcase_add_test(t, several_queues_in_one_batch);
    tcase_add_test(t, rewound_while_it_is_held);
    tcase_add_test(t, records_of_a_queue);
    suite_add_tcase(s, t);
    return s;
}
