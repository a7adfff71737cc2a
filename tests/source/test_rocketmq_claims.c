/* Queues whose messages are claimed by offset: who has one, what becomes of it when it is taken over, how claims by record go over into claims by offset and back, and members that claim otherwise. */
#include "tests/source/offset.h"

/* ---- taken over ---- */

/* The row's end and maxima when all before `end` is settled. */
static xo_range settled_to(int64_t end)
{
    return (xo_range){.next = end, .last_store_time = mq_store_time(m, 0, "T", 0, end - 1), .last_log_offset = mq_log_offset(m, 0, "T", 0, end - 1)};
}

/* Another member takes the queue over and settles up to `end`. */
static int64_t steal(int64_t end)
{
    xo_range to = settled_to(end);
    db_steal(&d, "T", "broker-a", 0, &to);
    return youngest().epoch;
}

/* What is in hand is refused. The queue begins again from where the other left it, under an epoch of its own, and the broker hears nothing old of it. */
START_TEST(fenced)
{
    rmq r;
    in_hand(&r, 10, SETTINGS());
    settle_first(&r, 2);
    WAIT(told() == 2);
    int64_t epoch = steal(5);
    mq_commit(m, 0, "G", "T", 0, 5);
    ck_assert_int_eq(db_claim(&d, r.got[2]), DB_FENCED);
    int64_t began = xo_mono_ms();
    size_t left = r.n;
    for (size_t i = 2; i < left; i++) {
        r.got[i]->fenced = i == 2;
        rmq_nack(&r, i, 0);
    }
    ck_assert_int_eq(told(), 5);
    rmq_take(&r, left + 5);
    ck_assert_int_ge(xo_mono_ms() - began, 900); /* not at once: the other may be right, and the group is looked at first */
    ck_assert_int_eq(told(), 5);
    claims(r.got[left], 5, 0, 0);
    ck_assert_int_eq(r.got[left]->claim_epoch, epoch + 1);
    work_to(&r, 10);
    applied_once(5, 10);
    ck_assert_int_eq(lines_with("was taken over by another member"), 1);
    rmq_close(&r);
}
END_TEST

static void alike_id(const char *prefix, char *out, size_t size)
{
    char id[200];
    ck_assert(mq_client_id(m, 0, "G", 0, id, sizeof id));
    snprintf(out, size, "%s%s", prefix, strstr(id, "#xonce-"));
}

/* ... and it is not ours any more: nobody is told what it was when it was. */
START_TEST(fenced_and_gone)
{
    rmq r;
    char id[220];
    in_hand(&r, 10, SETTINGS());
    alike_id("000", id, sizeof id);
    settle_first(&r, 2);
    WAIT(told() == 2);
    steal(5);
    mq_commit(m, 0, "G", "T", 0, 5);
    r.got[2]->fenced = 1;
    rmq_nack(&r, 2, 0);
    mq_join(m, 0, "G", id, "T", "*");
    WAIT(!queue(&r).sub);
    some_heartbeats();
    ck_assert_int_eq(told(), 5);
    ck_assert_int_eq(rmq_counts(&r).unhealthy, 0);
    rmq_close(&r);
    ck_assert_int_eq(told(), 5);
}
END_TEST

/* The same found out by moving the row over what is filtered. */
START_TEST(fenced_when_nothing_is_in_hand)
{
    rmq r;
    put_tagged(0, "A", 3);
    rmq_open_offset(&r, m, &d, "T", "A", SETTINGS());
    work_to(&r, 3);
    xo_range own = youngest();
    ck_assert_int_eq(own.next, 3);
    steal(3);
    put_tagged(0, "B", 4);
    WAIT(lines_with("was taken over by another member") == 1);
    put_tagged(0, "A", 1);
    work_to(&r, 8);
    ck_assert_int_gt(youngest().epoch, own.epoch + 1);
    applied_once(0, 3);
    applied_once(7, 8);
    rmq_close(&r);
}
END_TEST

/* Refused during a stop: nothing is told to the broker. */
START_TEST(fenced_while_it_stops)
{
    rmq r;
    in_hand(&r, 4, SETTINGS("rocketmq.commit-every", "10m"));
    ck_assert_int_eq(db_claim(&d, r.got[0]), DB_FRESH);
    rmq_ack(&r, 0);
    steal(3);
    mq_commit(m, 0, "G", "T", 0, 3);
    r.s->ops->stop(r.s, 0);
    for (size_t i = 1; i < 4; i++) {
        ck_assert_int_eq(db_claim(&d, r.got[i]), DB_FENCED);
        r.got[i]->fenced = 1;
        rmq_nack(&r, i, 0);
    }
    rmq_close(&r);
    ck_assert_int_eq(told(), 3);
}
END_TEST

/* A handler that failed, a database that is away: nothing is sent back. The queue begins again where its row stands. */
START_TEST(given_back)
{
    rmq r;
    in_hand(&r, 6, SETTINGS());
    settle_first(&r, 2);
    rmq_nack(&r, 2, 1);
    for (size_t i = 3; i < 6; i++) {
        ck_assert_int_eq(db_claim(&d, r.got[i]), DB_FENCED); /* but not by another member */
        r.got[i]->fenced = 1;
        rmq_nack(&r, i, 0);
    }
    rmq_take(&r, 10);
    claims(r.got[6], 2, 0, 0);
    work_to(&r, 6);
    applied_once(0, 6);
    ck_assert_uint_eq(mq_count(m, 0, XO_RMQ_SEND_BACK), 0);
    ck_assert_int_eq(lines_with("was taken over"), 0);
    ck_assert_uint_eq(db_takes(&d), 2);
    rmq_close(&r);
}
END_TEST

/* As after a connection that broke. */
static void look_back(xo_rocketmq *s, xo_rmq_queue *q)
{
    (void)s;
    q->look_back = 1;
}

static rmq *holder;

static void refused_now(void)
{
    if (holder && holder->got[2]) {
        holder->got[2]->fenced = 1;
        rmq_nack(holder, 2, 0);
    }
}

/* What was in hand when the queue began anew is refused because of that, not because another member has the queue. */
START_TEST(refused_by_its_own_start)
{
    rmq r;
    in_hand(&r, 5, SETTINGS());
    holder = &r;
    d.at_take = refused_now;
    with_queue(&r, look_back);
    WAIT(db_takes(&d) == 2 && queue(&r).look_back == 0);
    holder = NULL;
    ck_assert(!r.got[2]);
    work_to(&r, 5);
    ck_assert_uint_eq(db_takes(&d), 2);
    ck_assert_int_eq(lines_with("was taken over"), 0);
    rmq_close(&r);
}
END_TEST

/* A batch that was under way moves the row between reading and taking over. */
START_TEST(taking_over_is_tried_again)
{
    rmq r;
    put(10);
    row(0, 0, 2);
    db_by_offset(&d, "T", "broker-a", 0, 0);
    d.move_at_take = settled_to(5);
    open_it(&r, SETTINGS());
    rmq_take(&r, 5);
    claims(r.got[0], 5, 0, 0);
    ck_assert_uint_eq(db_takes(&d), 2);
    ck_assert_int_eq(lines_with("cannot be started"), 0); /* at once */
    rmq_close(&r);
}
END_TEST

START_TEST(taking_over_fails_for_a_time)
{
    rmq r;
    put(3);
    d.fail_take = 1;
    open_it(&r, SETTINGS());
    WAIT((rmq_poll(&r), db_refused(&d) >= 2));
    ck_assert_uint_eq(r.n, 0);
    pthread_mutex_lock(&d.lock);
    d.fail_take = 0;
    pthread_mutex_unlock(&d.lock);
    WORK(&r, next() == 3);
    rmq_close(&r);
}
END_TEST

/* Two members, who come and go in the middle: each message once, whoever has it. */
START_TEST(two_members)
{
    rmq a, b;
    mq_topic(m, 0, "T", 4);
    open_it(&a, SETTINGS());
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 40; i++)
            put_tagged(i % 4, NULL, 1);
        WORK(&a, d.napplied >= (size_t)made - 30);
        open_it(&b, SETTINGS());
        for (int i = 0; i < 40; i++)
            put_tagged(i % 4, NULL, 1);
        WAIT((put_tagged(made % 4, NULL, b.n == 0), rmq_work(&a, &d), rmq_work(&b, &d), b.n > 0 && d.napplied >= (size_t)made - 10));
        if (round % 2)
            rmq_close(&b);
        else
            rmq_crash(&b);
        mq_disconnect(m, 0);
    }
    WORK(&a, d.napplied >= (size_t)made);
    applied_once(0, made);
    ck_assert_uint_eq(d.napplied, (size_t)made);
    ck_assert_uint_eq(db_records(&d), 0);
    rmq_close(&a);
}
END_TEST

/* ---- from claims by record, and back ---- */

/* Starts on ten messages of which five are settled. Those that the broker has when it is asked are claimed by record as well, the later ones are not, and the database hears of it. */
static void both_ways(rmq *r, int records)
{
    size_t in_hand = r->n;
    rmq_take(r, in_hand + 5);
    for (size_t i = in_hand; i < in_hand + 5; i++)
        claims(r->got[i], (int64_t)(5 + i - in_hand), 0, records);
    ck_assert_int_eq(youngest().record_before, records ? 10 : 0); /* already: who starts next need not begin anew with it */
    work_to(r, 10);
    put(1);
    rmq_take(r, in_hand + 6);
    claims(r->got[in_hand + 5], 10, 0, 0);
    work_to(r, 11);
    ck_assert_uint_eq(db_records(&d), records ? 5 : 0);
    applied_once(5, 11);
    rmq_close(r);
    open_it(r, SETTINGS()); /* and it stays so */
    put(1);
    rmq_take(r, 1);
    claims(r->got[0], 11, 0, 0);
    rmq_close(r);
}

static void five_settled(int by_offset)
{
    put(10);
    row(0, 0, 5);
    if (by_offset)
        db_by_offset(&d, "T", "broker-a", 0, 0);
}

START_TEST(no_evidence)
{
    rmq r;
    five_settled(1);
    mq_commit(m, 0, "G", "T", 0, 5);
    open_it(&r, SETTINGS());
    both_ways(&r, 0);
}
END_TEST

START_TEST(rows_by_record)
{
    rmq r;
    five_settled(0);
    mq_commit(m, 0, "G", "T", 0, 5);
    open_it(&r, SETTINGS());
    both_ways(&r, 1);
}
END_TEST

/* Another began the switch, and died before it was over. */
START_TEST(rows_between)
{
    rmq r;
    five_settled(0);
    db_by_offset(&d, "T", "broker-a", 0, INT64_MAX);
    open_it(&r, SETTINGS());
    both_ways(&r, 1);
}
END_TEST

/* ... or it was over, with some left to do. */
START_TEST(rows_nearly_by_offset)
{
    rmq r;
    five_settled(0);
    db_by_offset(&d, "T", "broker-a", 0, 7);
    open_it(&r, SETTINGS());
    rmq_take(&r, 5);
    for (int i = 0; i < 5; i++)
        claims(r.got[i], 5 + i, 0, i < 2);
    work_to(&r, 10);
    ck_assert_int_eq(youngest().record_before, 7);
    rmq_close(&r);
}
END_TEST

/* A record behind the row: somebody was at work. */
START_TEST(a_record_behind_the_row)
{
    rmq r;
    five_settled(1);
    snprintf(d.applied[0].body, sizeof d.applied[0].body, "m8");
    d.applied[0].offset = 8;
    d.napplied = 1;
    open_it(&r, SETTINGS());
    rmq_take(&r, 5);
    for (int i = 0; i < 5; i++)
        claims(r.got[i], 5 + i, 0, 1);
    work_to(&r, 10);
    applied_once(5, 10); /* m8 not again */
    rmq_close(&r);
}
END_TEST

/* The broker has an offset, the database no row; or one beyond all rows. */
START_TEST(the_brokers_offset)
{
    rmq r;
    put(10);
    mq_commit(m, 0, "G", "T", 0, 5);
    open_it(&r, SETTINGS());
    both_ways(&r, 1);
}
END_TEST

START_TEST(the_brokers_offset_ahead)
{
    rmq r;
    five_settled(1);
    mq_commit(m, 0, "G", "T", 0, 6);
    open_it(&r, SETTINGS());
    both_ways(&r, 1);
}
END_TEST

/* The broker's end is what counts, not where an answer ends. */
START_TEST(record_before_is_the_queues_end)
{
    rmq r;
    five_settled(0);
    open_it(&r, SETTINGS("rocketmq.pull-batch", "2", "rocketmq.queue-messages", "2"));
    WAIT((rmq_poll(&r), queue(&r).record_before == 10));
    put(2);
    work_to(&r, 12);
    ck_assert_int_eq(youngest().record_before, 10);
    ck_assert_uint_eq(db_records(&d), 5);
    rmq_close(&r);
}
END_TEST

/* A node that is not the master may lag, and so does not say where the queue ends; nor an answer that does not tell. */
START_TEST(only_the_masters_end_counts)
{
    xo_rmq_sub sub = {.by_offset = 1};
    xo_rmq_queue q = {.sub = &sub, .record_before = INT64_MAX};
    xo_offset_answered(&q, 1, 10, 5);
    xo_offset_answered(&q, 0, -1, 5);
    ck_assert(q.record_before == INT64_MAX && !q.record_known);
    xo_offset_answered(&q, 0, 10, 5);
    ck_assert(q.record_before == 10 && q.record_known);
    xo_offset_answered(&q, 0, 20, 5);
    ck_assert_int_eq(q.record_before, 10);
    q.record_before = INT64_MAX;
    xo_offset_answered(&q, 0, 10, 12); /* what the answer brought was stored while it was made */
    ck_assert_int_eq(q.record_before, 12);
}
END_TEST

static void no_end(void)
{
    mq_next(m, 0, XO_RMQ_MAX_OFFSET, 1, MQ_ANSWER, XO_RMQ_SYSTEM_ERROR);
}

/* The broker does not say its end after the take-over: all is claimed by record as well until an answer to a pull does, and the database hears of it when nothing is in hand. */
START_TEST(the_end_is_known_later)
{
    rmq r;
    five_settled(0);
    d.at_take = no_end;
    open_it(&r, SETTINGS("rocketmq.pull-batch", "2"));
    WAIT((rmq_poll(&r), r.n == 5));
    ck_assert_int_eq(queue(&r).record_before, 10);
    put(1);
    rmq_take(&r, 6);
    for (int i = 0; i < 6; i++)
        claims(r.got[i], 5 + i, 0, i < 5);
    work_to(&r, 11);
    WAIT(youngest().record_before == 10);
    rmq_close(&r);
}
END_TEST

/* The database does not hear of it at once. */
START_TEST(the_end_is_written_later)
{
    rmq r;
    five_settled(0);
    d.fail_save = 1;
    open_it(&r, SETTINGS());
    WAIT((rmq_poll(&r), queue(&r).record_before == 10));
    ck_assert(youngest().record_before == INT64_MAX);
    db_fail_saves(&d, 0);
    rmq_take(&r, 5);
    work_to(&r, 10);
    WAIT(youngest().record_before == 10);
    rmq_close(&r);
}
END_TEST

/* Back to claims by record: the queue is taken over, so that who still has it by offset is refused; and forth again. */
START_TEST(back_to_records)
{
    rmq r;
    ten(&r, SETTINGS());
    rmq_take(&r, 10);
    put(3);
    rmq_take(&r, 13);
    rmq_close(&r);
    ck_assert_int_eq(next(), 10);
    int64_t epoch = youngest().epoch;
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 3);
    ck_assert(r.got[0]->offset == 10 && r.got[0]->claim_epoch == -1 && !r.got[0]->claim_record);
    ck_assert(!youngest().by_offset && youngest().epoch > epoch);
    work_to(&r, 13);
    rmq_close(&r);
    in_hand(&r, 2, SETTINGS());
    claims(r.got[0], 13, 0, 1);
    work_to(&r, 15);
    applied_once(0, 15);
    ck_assert_uint_eq(db_rows(&d, "T", "broker-a", 0), 1);
    rmq_close(&r);
}
END_TEST

/* A member by record whose queue was taken over by offset meanwhile is refused, and waits. */
START_TEST(fenced_by_record)
{
    rmq r;
    put(4);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 4);
    WAIT(db_rows(&d, "T", "broker-a", 0) == 1);
    steal(2);
    mq_join(m, 0, "G", "zz#xonce-0badcafe-1234", "T", "*");
    mq_commit(m, 0, "G", "T", 0, 2);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(db_claim(&d, r.got[i]), DB_FENCED);
        r.got[i]->fenced = 1;
        rmq_nack(&r, i, 0);
    }
    WAIT(lines_with("has a member that claims by offset") > 0);
    some_heartbeats();
    ck_assert(youngest().by_offset && told() == 2 && queue(&r).state == XO_Q_WANTED);
    mq_leave(m, 0, "G", "zz#xonce-0badcafe-1234");
    rmq_take(&r, 6); /* it is alone: m2 and m3 */
    ck_assert(!youngest().by_offset && r.got[4]->offset == 2);
    rmq_close(&r);
}
END_TEST

/* ---- members that claim otherwise ---- */

static void refused(rmq *r, const char *text)
{
    WAIT((rmq_poll(r), r->errors > 0));
    ck_assert_int_eq(r->last.pub.code, XONCE_E_INVALID);
    ck_assert_int_eq(r->last.pub.again, 0);
    ck_assert_msg(strstr(r->last.pub.text, text) != NULL, "%s", r->last.pub.text);
    ck_assert_uint_eq(r->n, 0);
}

/* With a Java member, a member by record, one that claims other topics by offset: refused at its start. */
START_TEST(refused_at_start)
{
    const char *const others[] = {"zz-java", "zz#xonce-0badcafe", "zz#xonce-0badcafe-0000", "zz#xonce-deadbeef"};
    rmq r;
    put(2);
    for (size_t i = 0; i < 4; i++) {
        mq_join(m, 0, "G", others[i], "T", "*");
        open_it(&r, SETTINGS());
        if (i < 3) {
            refused(&r, "--claim offset is refused while members of the group claim by record or are no xonce");
            ck_assert(strstr(r.last.pub.text, others[i]) != NULL);
        } else {
            WAIT((rmq_poll(&r), r.errors > 0));
            ck_assert_int_eq(r.last.pub.code, XONCE_E_CONFLICT); /* another database: that is refused anyway */
        }
        ck_assert_uint_eq(db_takes(&d), 0);
        rmq_close(&r);
        mq_leave(m, 0, "G", others[i]);
    }
}
END_TEST

/* A member by record finds some that claim by offset. */
START_TEST(record_member_refused_at_start)
{
    rmq r;
    put(2);
    mq_join(m, 0, "G", "zz#xonce-0badcafe-1234", "T", "*");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    refused(&r, "claims by offset");
    rmq_close(&r);
}
END_TEST

/* One that claims alike is no trouble: as the trace of a process that died, or another member. */
START_TEST(alike)
{
    rmq r, old;
    char id[200], ghost[220];
    put(2);
    open_it(&old, SETTINGS());
    work_to(&old, 2);
    alike_id("zz", ghost, sizeof ghost);
    ck_assert(mq_client_id(m, 0, "G", 0, id, sizeof id));
    ck_assert_str_eq(xo_members_store_of(id) + 8, strrchr(id, '-'));
    ck_assert_uint_eq(strlen(strrchr(id, '-')), 5);
    rmq_crash(&old);
    mq_join(m, 0, "G", ghost, "T", "*");
    put(2);
    open_it(&r, SETTINGS());
    work_to(&r, 4);
    ck_assert_int_eq(rmq_counts(&r).unhealthy, 0);
    rmq_close(&r);
}
END_TEST

/* Who runs already goes on with its queues, says so, and begins no other until the other one is gone; then what that one may have had in hand is claimed by record as well. */
static void another_later(const char *id)
{
    rmq r;
    mq_topic(m, 0, "T", 2);
    open_it(&r, SETTINGS());
    put(2);
    WORK(&r, next() == 2);
    mq_join(m, 0, "G", id, "T", "*"); /* queue 1 is its */
    WAIT((rmq_poll(&r), lines_with("--claim offset is refused") == 1));
    ck_assert_int_eq(rmq_counts(&r).unhealthy, 1);
    put(1);
    WORK(&r, next() == 3);
    size_t searches = mq_count(m, 0, XO_RMQ_SEARCH_OFFSET);
    with_queue(&r, look_back);
    WAIT(mq_count(m, 0, XO_RMQ_SEARCH_OFFSET) > searches);
    put(1);
    WORK(&r, next() == 4); /* its own it keeps, and looks back in */
    mq_topic(m, 0, "T", 4);
    char body[16];
    snprintf(body, sizeof body, "m%d", made);
    put_tagged(1, NULL, 1);
    some_heartbeats();
    some_heartbeats();
    ck_assert_int_eq(db_next(&d, "T", "broker-a", 1), 0);
    ck_assert(db_rows(&d, "T", "broker-a", 1) == 1);
    ck_assert_int_eq(lines_with("--claim offset is refused"), 1);
    mq_leave(m, 0, "G", id);
    WORK(&r, db_next(&d, "T", "broker-a", 1) == 1);
    ck_assert_int_eq(lines_with("claim alike now"), 1);
    ck_assert(db_recorded(&d, body) && !db_recorded(&d, "m0"));
    ck_assert_int_eq(rmq_counts(&r).unhealthy, 0);
    rmq_close(&r);
}

START_TEST(java_member_later)
{
    another_later("zz-java");
}
END_TEST

START_TEST(record_member_later)
{
    another_later("zz#xonce-0badcafe");
}
END_TEST

START_TEST(marks)
{
    rmq r[4];
    char mark[4][XO_MARK_SIZE];
    const char *const topics[4][2] = {{"A", "B"}, {"B", "A"}, {"AB", "C"}, {"A", "C"}};
    for (int i = 0; i < 4; i++) {
        rmq_new(&r[i], mq_uri(m), &d, SETTINGS());
        xo_members_mark((xo_rocketmq *)r[i].s, mark[i]);
        ck_assert_str_eq(mark[i], "");
        for (int k = 0; k < 2; k++)
            ck_assert(!r[i].s->ops->subscribe(r[i].s, "G", topics[i][k], "*", 0) && (i == 3 && k == 1 ? 1 : !r[i].s->ops->by_offset(r[i].s, topics[i][k])));
        xo_members_mark((xo_rocketmq *)r[i].s, mark[i]);
        ck_assert(mark[i][0] == '-' && strlen(mark[i]) == 5);
    }
    ck_assert_str_eq(mark[0], mark[1]);
    ck_assert_str_ne(mark[0], mark[2]);
    ck_assert_str_ne(mark[0], mark[3]);
    for (int i = 0; i < 4; i++)
        rmq_close(&r[i]);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("claims");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    ADD(t, fenced);
    ADD(t, fenced_and_gone);
    ADD(t, fenced_when_nothing_is_in_hand);
    ADD(t, fenced_while_it_stops);
    ADD(t, given_back);
    ADD(t, refused_by_its_own_start);
    ADD(t, taking_over_is_tried_again);
    ADD(t, taking_over_fails_for_a_time);
    ADD(t, two_members);
    ADD(t, no_evidence);
    ADD(t, rows_by_record);
    ADD(t, rows_between);
    ADD(t, rows_nearly_by_offset);
    ADD(t, a_record_behind_the_row);
    ADD(t, the_brokers_offset);
    ADD(t, the_brokers_offset_ahead);
    ADD(t, record_before_is_the_queues_end);
    ADD(t, only_the_masters_end_counts);
    ADD(t, the_end_is_known_later);
    ADD(t, the_end_is_written_later);
    ADD(t, back_to_records);
    ADD(t, fenced_by_record);
    ADD(t, refused_at_start);
    ADD(t, record_member_refused_at_start);
    ADD(t, alike);
    ADD(t, java_member_later);
    ADD(t, record_member_later);
    ADD(t, marks);
    return rmq_run(t);
}
