/* Queues whose messages are claimed by offset: what is handed over to be claimed by what, and what becomes of a queue that has holes, gets another history, or is set elsewhere by an operator. */
#include "tests/source/offset.h"

/* Stored later than all before: what stands at an old offset is seen to be new. */
static void put_new(const char *body)
{
    mq_store(m, 0, &(mq_message){.topic = "T", .body = body, .body_len = strlen(body), .store_time = xo_now_ms() + 5});
}

/* ---- the usual course ---- */

START_TEST(each_claims_behind_the_one_before)
{
    rmq r;
    in_hand(&r, 5, SETTINGS());
    ck_assert_uint_eq(db_takes(&d), 1);
    for (int i = 0; i < 5; i++) {
        claims(r.got[i], i, 0, 0);
        ck_assert_int_eq(r.got[i]->claim_epoch, youngest().epoch);
    }
    ck_assert(youngest().by_offset && youngest().record_before == 0 && youngest().first == 0 && youngest().next == 0);
    some_heartbeats();
    ck_assert_int_le(told(), 0); /* handed over is not settled */
    work_to(&r, 5);
    applied_once(0, 5);
    ck_assert_uint_eq(db_records(&d), 0);
    rmq_close(&r);
}
END_TEST

START_TEST(stops_and_starts_again)
{
    rmq r;
    put(6);
    for (int k = 0; k < 3; k++) {
        open_it(&r, SETTINGS());
        put(2);
        WORK(&r, next() == 8 + 2 * k);
        rmq_close(&r);
        ck_assert_int_eq(told(), 8 + 2 * k);
        ck_assert_int_eq(youngest().epoch, k);
    }
    applied_once(0, 12);
    ck_assert_uint_eq(db_rows(&d, "T", "broker-a", 0), 1);
    ck_assert_uint_eq(db_records(&d), 0);
}
END_TEST

/* A new group that begins at the end: nobody has records, so none are written. */
START_TEST(begins_at_the_end)
{
    rmq r;
    put(5);
    open_it(&r, SETTINGS("consume-from", "last"));
    WAIT((rmq_poll(&r), mq_polling(m, 0, "T", 0) == 1));
    put(2);
    rmq_take(&r, 2);
    claims(r.got[0], 5, 0, 0);
    work_to(&r, 7);
    ck_assert(youngest().first == 5 && youngest().record_before == 0);
    ck_assert_uint_eq(db_records(&d), 0);
    rmq_close(&r);
}
END_TEST

/* What is in hand at the end is given back, and comes again from where the row stands. */
START_TEST(stops_with_messages_in_hand)
{
    rmq r;
    in_hand(&r, 6, SETTINGS());
    settle_first(&r, 2);
    rmq_close(&r);
    ck_assert(next() == 2 && told() == 2);
    open_it(&r, SETTINGS());
    rmq_take(&r, 4);
    claims(r.got[0], 2, 0, 0);
    work_to(&r, 6);
    applied_once(0, 6);
    rmq_close(&r);
}
END_TEST

/* The row moves with the messages; over what is filtered at the end it is moved by itself, when nothing is in hand. */
START_TEST(filtered_stretches)
{
    rmq r;
    for (int i = 0; i < 100; i++)
        put_tagged(0, i % 40 == 39 ? "A" : "B", 1);
    rmq_open_offset(&r, m, &d, "T", "A", SETTINGS());
    rmq_take(&r, 2);
    claims(r.got[0], 0, 0, 0);
    claims(r.got[1], 40, 0, 0);
    ck_assert(r.got[0]->offset == 39 && r.got[1]->offset == 79);
    some_heartbeats();
    ck_assert(next() == 0 && told() <= 0);
    ck_assert_int_eq(db_claim(&d, r.got[0]), DB_FRESH);
    rmq_ack(&r, 0);
    some_heartbeats();
    ck_assert(next() == 40 && told() <= 40); /* the broker never knows more than the database */
    work_to(&r, 100);
    put_tagged(0, "A", 1);
    rmq_take(&r, 3);
    ck_assert_int_eq(r.got[2]->claim_from, 100);
    work_to(&r, 101);
    applied_once(39, 40);
    applied_once(79, 80);
    ck_assert_uint_eq(db_takes(&d), 1);
    ck_assert_int_eq(lines_with("was taken over"), 0);
    rmq_close(&r);
}
END_TEST

/* While messages come, the row is not moved by itself past them: neither too far, nor taken for another's. */
START_TEST(filtered_tails_while_it_is_busy)
{
    rmq r;
    int a = 0;
    rmq_open_offset(&r, m, &d, "T", "A", SETTINGS("rocketmq.commit-every", "10ms"));
    for (int i = 0; i < 300; i++) {
        put_tagged(0, i % 3 ? "B" : "A", 1);
        a += i % 3 == 0;
        rmq_work(&r, &d);
    }
    work_to(&r, 300);
    ck_assert_uint_eq(d.napplied, (size_t)a);
    ck_assert_int_eq(lines_with("was taken over"), 0);
    ck_assert_uint_eq(db_takes(&d), 1);
    rmq_close(&r);
}
END_TEST

static _Atomic(rmq *) busy;

static void one_more(void)
{
    rmq *r = atomic_exchange(&busy, NULL);
    if (!r)
        return;
    put_tagged(0, "A", 1);
    while (!rmq_work(r, &d)) {
    }
}

/* The row is to be moved over a filtered tail while, after all, a message comes and moves it: that was no other member. */
START_TEST(row_moves_by_itself_and_by_a_message)
{
    rmq r;
    put_tagged(0, "A", 1);
    d.at_advance = one_more;
    rmq_open_offset(&r, m, &d, "T", "A", SETTINGS());
    work_to(&r, 1);
    atomic_store(&busy, &r);
    put_tagged(0, "B", 5);
    WAIT(next() == 7 && told() == 7);
    applied_once(0, 1);
    applied_once(6, 7);
    put_tagged(0, "B", 1);
    WAIT(next() == 8 && told() == 8);
    ck_assert_uint_eq(db_takes(&d), 1);
    ck_assert_int_eq(lines_with("was taken over"), 0);
    rmq_close(&r);
}
END_TEST

/* A filter made wider: what the old one hid is handed over as far as it is read again, under a row that knows it, and nothing twice. */
START_TEST(filter_made_wider)
{
    rmq r;
    for (int i = 0; i < 10; i++)
        put_tagged(0, i % 2 ? "A" : "B", 1);
    rmq_open_offset(&r, m, &d, "T", "A", SETTINGS());
    work_to(&r, 10);
    ck_assert_uint_eq(r.n, 5);
    rmq_close(&r);
    rmq_open_offset(&r, m, &d, "T", "A || B", SETTINGS());
    WORK(&r, db_rows(&d, "T", "broker-a", 0) == 2 && youngest().next == 10 && told() == 10);
    ck_assert_uint_eq(r.n, 5);
    ck_assert(youngest().generation == 1 && youngest().first == 0);
    applied_once(0, 10);
    ck_assert_uint_eq(db_records(&d), 5); /* where an older row was, they might have been claimed by record before */
    rmq_close(&r);
}
END_TEST

/* What the row passed over under another filter, below the youngest row: by record only, and nothing is sent back of it either. */
START_TEST(below_the_row_by_record)
{
    rmq r;
    for (int i = 0; i < 20; i++)
        put_tagged(0, i % 2 ? "A" : "B", 1);
    row(0, 0, 10);
    row(1, 10, 15);
    d.rows[0].tags[0] = 'A';
    db_by_offset(&d, "T", "broker-a", 0, 0);
    mq_commit(m, 0, "G", "T", 0, 0); /* so that all is read again */
    open_it(&r, SETTINGS());
    rmq_take(&r, 10);
    for (int i = 0; i < 5; i++)
        ck_assert_msg(r.got[i]->offset == 2 * i && r.got[i]->claim_epoch == -1 && r.got[i]->claim_record, "offset %lld", (long long)r.got[i]->offset);
    claims(r.got[5], 15, 1, 0);
    rmq_nack(&r, 1, 1);
    rmq_take(&r, 11);
    ck_assert(r.got[10]->offset == 2 && r.got[10]->claim_epoch == -1 && r.got[10]->claim_record);
    work_to(&r, 20);
    ck_assert_uint_eq(db_records(&d), 5);
    ck_assert_uint_eq(d.napplied, 10);
    ck_assert_uint_eq(mq_count(m, 0, XO_RMQ_SEND_BACK), 0);
    ck_assert_uint_eq(db_takes(&d), 1);
    rmq_close(&r);
}
END_TEST

/* A row in which nothing was settled yet says nothing about what stands before it: who is told to read that claims it by record. */
START_TEST(below_an_empty_row)
{
    rmq r;
    put(12);
    row(0, 10, 10);
    db_by_offset(&d, "T", "broker-a", 0, 0);
    mq_commit(m, 0, "G", "T", 0, 7);
    open_it(&r, SETTINGS());
    rmq_take(&r, 5);
    for (int i = 0; i < 3; i++)
        ck_assert(r.got[i]->offset == 7 + i && r.got[i]->claim_epoch == -1 && r.got[i]->claim_record);
    claims(r.got[3], 10, 0, 0);
    work_to(&r, 12);
    ck_assert_uint_eq(db_takes(&d), 1);
    rmq_close(&r);
}
END_TEST

/* The database is away while the row is to be moved over a filtered tail: the broker is not told, and is when it is back. */
START_TEST(row_cannot_be_moved)
{
    rmq r;
    put_tagged(0, "A", 1);
    rmq_open_offset(&r, m, &d, "T", "A", SETTINGS());
    work_to(&r, 1);
    db_fail_saves(&d, 1);
    put_tagged(0, "B", 5);
    WAIT(db_refused(&d) >= 3);
    some_heartbeats();
    ck_assert(told() == 1 && next() == 1);
    db_fail_saves(&d, 0);
    work_to(&r, 6);
    ck_assert_int_ge(lines_with("positions cannot be written"), 1);
    ck_assert_uint_eq(db_takes(&d), 1);
    rmq_close(&r);
}
END_TEST

START_TEST(ops_refuse)
{
    rmq r;
    rmq_new(&r, mq_uri(m), &d, SETTINGS());
    ck_assert_int_eq(r.s->ops->by_offset(r.s, "T"), XONCE_E_NOT_FOUND);
    ck_assert(!r.s->ops->subscribe(r.s, "G", "T", "*", 0) && !r.s->ops->by_offset(r.s, "T") && !r.s->ops->start(r.s));
    ck_assert_int_eq(r.s->ops->by_offset(r.s, "T"), XONCE_E_INVALID);
    rmq_close(&r);
    rmq_new(&r, mq_uri(m), NULL, SETTINGS());
    ck_assert(!r.s->ops->subscribe(r.s, "G", "T", "*", 0) && !r.s->ops->by_offset(r.s, "T"));
    ck_assert_int_eq(r.s->ops->start(r.s), XONCE_E_INVALID); /* nowhere to keep the row */
    rmq_close(&r);
    rmq_new(&r, mq_uri(m), &d, SETTINGS("stores", "many"));
    ck_assert(!r.s->ops->subscribe(r.s, "G", "T", "*", 0));
    ck_assert_int_eq(r.s->ops->by_offset(r.s, "T"), XONCE_E_INVALID);
    rmq_close(&r);
}
END_TEST

/* Queues of one topic by offset, of the other by record, and copies from the retry topic: by record. */
START_TEST(only_what_was_asked_for)
{
    rmq r;
    put(2);
    mq_topic(m, 0, "R", 1);
    mq_topic(m, 0, "%RETRY%G", 1);
    mq_put(m, 0, "R", 0, NULL, NULL, "r");
    mq_store(m, 0,
             &(mq_message){.topic = "%RETRY%G",
                           .uniq = "U7",
                           .properties = "RETRY_TOPIC\001T\002ORIGIN_MESSAGE_ID\001U7\002",
                           .body = "back",
                           .body_len = 4,
                           .reconsume = 1});
    rmq_new(&r, mq_uri(m), &d, SETTINGS());
    ck_assert(!r.s->ops->subscribe(r.s, "G", "T", "*", 0) && !r.s->ops->subscribe(r.s, "G", "R", "*", 0));
    ck_assert(!r.s->ops->by_offset(r.s, "T") && !r.s->ops->start(r.s));
    rmq_take(&r, 4);
    for (size_t i = 0; i < 4; i++) {
        const xonce_message *x = r.got[i];
        int by_offset = r.bodies[i][0] == 'm';
        ck_assert_msg((x->claim_epoch >= 0) == by_offset && x->claim_record == 0, "%s", r.bodies[i]);
    }
    rmq_close(&r);
}
END_TEST

/* ---- holes ---- */

START_TEST(hole_at_the_beginning)
{
    rmq r;
    put(20);
    row(0, 0, 5);
    db_by_offset(&d, "T", "broker-a", 0, 0);
    mq_trim(m, 0, "T", 0, 12);
    open_it(&r, SETTINGS());
    rmq_take(&r, 8);
    claims(r.got[0], 12, 1, 0);
    work_to(&r, 20);
    ck_assert(!db_covers(&d, "T", "broker-a", 0, 11) && !db_covers(&d, "T", "broker-a", 0, 5) && youngest().first == 12);
    ck_assert_int_eq(rmq_counts(&r).unhealthy, 1);
    applied_once(12, 20);
    rmq_close(&r);
}
END_TEST

/* Five are in hand, the first of them settled, when the broker loses what follows. */
static void five_before_a_hole(rmq *r)
{
    put(10);
    open_it(r, SETTINGS("rocketmq.queue-messages", "5", "rocketmq.pull-batch", "5"));
    rmq_take(r, 5);
    put(30);
    mq_trim(m, 0, "T", 0, 35);
    settle_first(r, 1);
}

/* The row behind the hole begins when they are settled, for who dies before begins with them. */
START_TEST(hole_while_it_runs)
{
    rmq r;
    five_before_a_hole(&r);
    WAIT(lines_with("offsets 5 to 34 are gone") == 1);
    size_t pulls = mq_count(m, 0, XO_RMQ_PULL);
    some_heartbeats();
    ck_assert_uint_le(mq_count(m, 0, XO_RMQ_PULL), pulls + 1);
    ck_assert(db_rows(&d, "T", "broker-a", 0) == 1 && queue(&r).reopen == 35 && told() <= 1);
    WORK(&r, r.n >= 6);
    work_to(&r, 40);
    claims(&(xonce_message){.claim_from = 35, .claim_generation = youngest().generation}, 35, 1, 0);
    ck_assert(youngest().first == 35 && !db_covers(&d, "T", "broker-a", 0, 5) && !db_covers(&d, "T", "broker-a", 0, 34));
    applied_once(0, 5);
    applied_once(35, 40);
    ck_assert_int_eq(lines_with("are gone"), 1);
    rmq_close(&r);
}
END_TEST

/* It dies while it waits for that: nothing of what was in hand is passed over. */
START_TEST(crash_before_a_hole)
{
    rmq r;
    five_before_a_hole(&r);
    WAIT(queue(&r).reopen == 35);
    rmq_crash(&r);
    ck_assert_int_eq(next(), 1); /* what stood behind is gone from the broker by now, too */
    open_it(&r, SETTINGS());
    work_to(&r, 40);
    ck_assert_int_eq(youngest().first, 35);
    rmq_close(&r);
}
END_TEST

/* ---- another history ---- */

static void dies_and_comes_back(int lose, int flags)
{
    mq_kill(m, 0, lose, flags);
    mq_restart(m, 0);
}

/* What is new at old offsets is handed over, once, under a row of the next generation; what is covered is not. */
static void refilled(rmq *r)
{
    xo_range old;
    const char *const bodies[] = {"new7", "new8", "new9", "new10"};
    for (int i = 0; i < 4; i++)
        put_new(bodies[i]);
    WORK(r, db_applied(&d, "new10"));
    work_to(r, 11);
    for (int i = 0; i < 4; i++)
        ck_assert_msg(rmq_has(r, bodies[i]) == 1 && db_applied(&d, bodies[i]) == 1, "%s", bodies[i]);
    ck_assert(db_get(&d, "T", "broker-a", 0, 0, &old) && old.first == 0 && old.next == 10);
    ck_assert(youngest().generation == 1 && youngest().first == 7 && youngest().next == 11);
    applied_once(0, 10);
}

START_TEST(truncated_and_refilled)
{
    rmq r;
    ten(&r, SETTINGS());
    dies_and_comes_back(3, 0);
    refilled(&r);
    size_t came = r.n;
    ck_assert_uint_eq(came, 14);
    rmq_close(&r);
    open_it(&r, SETTINGS()); /* what one run knows the next knows too */
    put_new("new11");
    WORK(&r, db_applied(&d, "new11"));
    ck_assert_uint_eq(r.n, 1);
    claims(&(xonce_message){.claim_from = 11, .claim_generation = youngest().generation}, 11, 1, 0);
    rmq_close(&r);
}
END_TEST

START_TEST(truncated_and_refilled_later)
{
    rmq r;
    ten(&r, SETTINGS());
    dies_and_comes_back(3, 0);
    size_t polls = mq_count(m, 0, XO_RMQ_PULL);
    WAIT(mq_count(m, 0, XO_RMQ_PULL) > polls + 3 && mq_polling(m, 0, "T", 0) == 1);
    refilled(&r);
    rmq_close(&r);
}
END_TEST

START_TEST(truncated_while_nobody_reads)
{
    rmq r;
    ten(&r, SETTINGS());
    rmq_close(&r);
    dies_and_comes_back(3, MQ_LOSE_COMMITS);
    open_it(&r, SETTINGS());
    refilled(&r);
    rmq_close(&r);
}
END_TEST

/* The end is lost while messages are in hand: they cannot be claimed any more once the queue began anew, and what stands there now is. */
START_TEST(truncated_with_messages_in_hand)
{
    rmq r;
    in_hand(&r, 10, SETTINGS());
    settle_first(&r, 7);
    WAIT(told() == 7);
    mq_flush_commits(m, 0);
    size_t takes = db_takes(&d);
    dies_and_comes_back(3, 0);
    put_new("new7");
    put_new("new8");
    WAIT((rmq_poll(&r), rmq_has(&r, "new8")));
    ck_assert_uint_gt(db_takes(&d), takes);
    for (size_t i = 7; i < 10; i++)
        ck_assert_int_eq(db_claim(&d, r.got[i]), DB_FENCED);
    work_to(&r, 9);
    ck_assert(db_applied(&d, "new7") == 1 && db_applied(&d, "new8") == 1 && db_applied(&d, "m7") == 0);
    ck_assert_int_eq(lines_with("was taken over"), 0); /* these were of before: nobody took anything over */
    rmq_close(&r);
}
END_TEST

/* A new start of the broker that lost nothing: looked back for, and nothing handed over twice. */
START_TEST(looks_back)
{
    rmq r;
    ten(&r, SETTINGS());
    int64_t epoch = youngest().epoch;
    size_t searches = mq_count(m, 0, XO_RMQ_SEARCH_OFFSET);
    mq_disconnect(m, 0);
    WAIT(mq_count(m, 0, XO_RMQ_SEARCH_OFFSET) > searches);
    put(1);
    work_to(&r, 11);
    ck_assert_uint_eq(r.n, 11);
    ck_assert_int_gt(youngest().epoch, epoch);
    ck_assert_uint_eq(db_rows(&d, "T", "broker-a", 0), 1);
    rmq_close(&r);
}
END_TEST

/* The broker dies again and again, with its last messages and refilled, while messages are settled, and members come and die. */
START_TEST(dies_again_and_again)
{
    rmq r;
    char body[16];
    int k = 0, first = 0;
    open_it(&r, SETTINGS());
    for (int round = 0; round < 12; round++) {
        first = k;
        for (int i = 0; i < 20; i++) {
            snprintf(body, sizeof body, "x%d", k++);
            put_new(body);
        }
        size_t enough = d.napplied + 5;
        WORK(&r, d.napplied >= enough);
        if (round % 3 == 2) {
            for (size_t i = 0; i < r.n; i++) {
                xonce_message_free(r.got[i]);
                r.got[i] = NULL;
            }
            rmq_crash(&r);
            open_it(&r, SETTINGS());
        }
        dies_and_comes_back(round % 2 ? 4 : 0, MQ_LOSE_COMMITS);
    }
    put_new("last");
    WORK(&r, db_applied(&d, "last"));
    for (int i = first; i < k - 4; i++) {
        snprintf(body, sizeof body, "x%d", i);
        ck_assert_msg(db_applied(&d, body) == 1, "%s", body);
    }
    for (int i = 0; i < first; i++) {
        snprintf(body, sizeof body, "x%d", i);
        ck_assert_msg(db_applied(&d, body) <= 1, "%s", body);
    }
    rmq_close(&r);
}
END_TEST

/* ---- operators ---- */

/* Set back: what is covered is not handed over. Below the row's beginning a row of its own takes what nobody settled, and remembers it. */
START_TEST(reset_backward)
{
    rmq r;
    ten(&r, SETTINGS());
    mq_reset_5(m, 0, "G", "T", 0, 2);
    WAIT(lines_with("operator") > 0 && queue(&r).seek < 0);
    put(1);
    work_to(&r, 11);
    ck_assert_uint_eq(r.n, 11);
    applied_once(0, 11);
    ck_assert_uint_eq(db_rows(&d, "T", "broker-a", 0), 1);
    rmq_close(&r);
}
END_TEST

START_TEST(reset_below_the_beginning)
{
    rmq r;
    put(20);
    row(0, 10, 15);
    db_by_offset(&d, "T", "broker-a", 0, 0);
    open_it(&r, SETTINGS());
    WORK(&r, next() == 20);
    ck_assert_uint_eq(r.n, 5);
    mq_reset_5(m, 0, "G", "T", 0, 4);
    WORK(&r, db_rows(&d, "T", "broker-a", 0) == 2 && youngest().next == 20 && told() == 20);
    ck_assert_uint_eq(r.n, 11); /* and 4 to 9 */
    ck_assert_int_eq(youngest().first, 4);
    for (size_t i = 5; i < 11; i++)
        ck_assert_int_eq(rmq_has(&r, r.bodies[i]), 1);
    applied_once(4, 10);
    rmq_close(&r);
    open_it(&r, SETTINGS());
    put(1);
    work_to(&r, 21);
    ck_assert_uint_eq(r.n, 1);
    rmq_close(&r);
}
END_TEST

/* Set back to where all that is wanted is covered: the row of its own that goes over it remembers how young that was, so that a broker which loses its end is found out. */
START_TEST(reset_over_what_is_known)
{
    rmq r;
    put_tagged(0, "B", 10);
    put_tagged(0, "A", 10);
    row(0, 10, 15);
    d.rows[0].tags[0] = 'A';
    db_by_offset(&d, "T", "broker-a", 0, 0);
    rmq_open_offset(&r, m, &d, "T", "A", SETTINGS());
    WORK(&r, next() == 20 && told() == 20);
    mq_reset_5(m, 0, "G", "T", 0, 4);
    WORK(&r, db_rows(&d, "T", "broker-a", 0) == 2 && youngest().next == 20 && told() == 20);
    ck_assert_uint_eq(r.n, 5);
    ck_assert(youngest().first == 4 && youngest().last_store_time == mq_store_time(m, 0, "T", 0, 19));
    ck_assert_int_eq(youngest().last_log_offset, mq_log_offset(m, 0, "T", 0, 19));
    mq_flush_commits(m, 0);
    dies_and_comes_back(3, 0);
    for (int i = 0; i < 5; i++) {
        char body[16];
        snprintf(body, sizeof body, "new%d", i);
        mq_store(m, 0, &(mq_message){.topic = "T", .tags = "A", .body = body, .body_len = strlen(body), .store_time = xo_now_ms() + 5});
    }
    WORK(&r, db_applied(&d, "new4"));
    for (int i = 0; i < 4; i++) {
        char body[16];
        snprintf(body, sizeof body, "new%d", i);
        ck_assert_msg(db_applied(&d, body) == 1, "%s", body);
    }
    rmq_close(&r);
}
END_TEST

START_TEST(reset_forward)
{
    rmq r;
    put(40);
    open_it(&r, SETTINGS("rocketmq.queue-messages", "5", "rocketmq.pull-batch", "5"));
    rmq_take(&r, 5);
    mq_reset_5(m, 0, "G", "T", 0, 35);
    ck_assert_int_eq(db_claim(&d, r.got[0]), DB_FRESH); /* so that a pull goes out, which hears of it */
    rmq_ack(&r, 0);
    WORK(&r, rmq_has(&r, "m39") || rmq_has(&r, r.bodies[r.n - 1]) > 1);
    work_to(&r, 40);
    ck_assert(youngest().first == 35 && youngest().generation == 1);
    ck_assert(!db_covers(&d, "T", "broker-a", 0, 34) && db_covers(&d, "T", "broker-a", 0, 35));
    ck_assert_uint_le(d.napplied, 10);
    rmq_close(&r);
}
END_TEST

/* A reset and a broker that came back, at once: after the reset it is looked back all the same. */
static void both(xo_rocketmq *s, xo_rmq_queue *q)
{
    (void)s;
    q->look_back = 1;
    q->seek = 10;
}

START_TEST(reset_and_look_back)
{
    for (int by_offset = 0; by_offset < 2; by_offset++) {
        rmq r;
        made = 0;
        if (by_offset) {
            teardown();
            setup();
            ten(&r, SETTINGS());
        } else {
            put(10);
            rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
            WAIT((rmq_poll(&r), rmq_ack_all(&r), next() == 10));
        }
        size_t searches = mq_count(m, 0, XO_RMQ_SEARCH_OFFSET);
        with_queue(&r, both);
        WAIT(mq_count(m, 0, XO_RMQ_SEARCH_OFFSET) > searches);
        ck_assert(queue(&r).seek < 0);
        rmq_close(&r);
    }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("offset");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    ADD(t, each_claims_behind_the_one_before);
    ADD(t, stops_and_starts_again);
    ADD(t, begins_at_the_end);
    ADD(t, stops_with_messages_in_hand);
    ADD(t, filtered_stretches);
    ADD(t, filtered_tails_while_it_is_busy);
    ADD(t, row_moves_by_itself_and_by_a_message);
    ADD(t, filter_made_wider);
    ADD(t, below_the_row_by_record);
    ADD(t, below_an_empty_row);
    ADD(t, row_cannot_be_moved);
    ADD(t, ops_refuse);
    ADD(t, only_what_was_asked_for);
    ADD(t, hole_at_the_beginning);
    ADD(t, hole_while_it_runs);
    ADD(t, crash_before_a_hole);
    ADD(t, truncated_and_refilled);
    ADD(t, truncated_and_refilled_later);
    ADD(t, truncated_while_nobody_reads);
    ADD(t, truncated_with_messages_in_hand);
    ADD(t, looks_back);
    ADD(t, dies_again_and_again);
    ADD(t, reset_backward);
    ADD(t, reset_below_the_beginning);
    ADD(t, reset_over_what_is_known);
    ADD(t, reset_forward);
    ADD(t, reset_and_look_back);
    return rmq_run(t);
}
