/* What the consumer tells a source with offsets: where positions are kept, and what became of each message that it settles. */
#include "tests/consumer/rig.h"
#include "store/settled.h"
#include <stdio.h>
#include <string.h>

static rig R;
static broker B;
static xonce_consumer *C;

/* What the source was told. */
static struct {
    pthread_mutex_t lock;
    const xo_position_ops *positions;
    void *self;
    int given_at_start, asked;
    int acks, acks_failed, acks_rejected, nacks, nacks_failed, nacks_rejected;
    char refuse[8]; /* id of the message to be refused */
    int unhealthy;
} S = {.lock = PTHREAD_MUTEX_INITIALIZER};
static xo_source_ops ops, broker_ops;
static int handled;

static void t_positions(xonce_source *s, const xo_position_ops *p, void *self)
{
    (void)s;
    S.positions = p;
    S.self = self;
    S.asked++;
}

static xonce_status t_start(xonce_source *s)
{
    S.given_at_start = S.positions != NULL;
    return broker_ops.start(s);
}

static xonce_status t_poll(xonce_source *s, size_t max, int64_t timeout_ms, xonce_message **list)
{
    xonce_status st = broker_ops.poll(s, max, timeout_ms, list);
    for (xonce_message *m = *list; m; m = m->next) {
        m->failed = m->rejected = 1; /* as an earlier delivery may have left it */
        if (strcmp(m->id, S.refuse) == 0) {
            m->refuse = strdup("origin unknown");
        }
    }
    return st;
}

static void t_ack(xonce_source *s, xonce_message *list)
{
    pthread_mutex_lock(&S.lock);
    for (const xonce_message *m = list; m; m = m->next) {
        S.acks++;
        S.acks_failed += m->failed;
        S.acks_rejected += m->rejected;
    }
    pthread_mutex_unlock(&S.lock);
    broker_ops.ack(s, list);
}

static void t_nack(xonce_source *s, xonce_message *m, int64_t delay_ms)
{
    pthread_mutex_lock(&S.lock);
    S.nacks++;
    S.nacks_failed += m->failed;
    S.nacks_rejected += m->rejected;
    pthread_mutex_unlock(&S.lock);
    broker_ops.nack(s, m, delay_ms);
}

static void t_counts(xonce_source *s, xo_source_counts *out)
{
    (void)s;
    pthread_mutex_lock(&S.lock);
    *out = (xo_source_counts){.unhealthy = S.unhealthy, .answers = 1};
    pthread_mutex_unlock(&S.lock);
}

static void begin(const char *const *settings)
{
    S.positions = NULL;
    S.self = NULL;
    S.given_at_start = S.asked = S.unhealthy = 0;
    S.acks = S.acks_failed = S.acks_rejected = S.nacks = S.nacks_failed = S.nacks_rejected = 0;
    S.refuse[0] = 0;
    __atomic_store_n(&handled, 0, __ATOMIC_SEQ_CST);
    rig_open(&R, settings, 1);
    broker_init(&B);
    broker_ops = ops = *B.base.ops;
    ops.positions = t_positions;
    ops.start = t_start;
    ops.poll = t_poll;
    ops.ack = t_ack;
    ops.nack = t_nack;
    B.base.ops = &ops;
    ck_assert_msg(xonce_consumer_new(&C, R.store, &B.base, R.cfg) == XONCE_OK, "%s", xonce_error_last()->text);
}

static void start(void)
{
    ck_assert_msg(xonce_consumer_start(C) == XONCE_OK, "%s", xonce_error_last()->text);
}

static void stop(void)
{
    ck_assert_msg(xonce_consumer_stop(C, 50000) == XONCE_OK, "%s", xonce_error_last()->text);
}

static void finish(void)
{
    xonce_consumer_free(C);
    broker_free(&B);
    rig_close(&R);
}

/* m1 fails at its first delivery, m2 is rejected, m3 is never done; the others are. */
static xonce_verdict by_name(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    const char *id = xonce_message_id(m);
    __atomic_add_fetch(&handled, 1, __ATOMIC_SEQ_CST);
    if (strcmp(id, "m2") == 0) {
        return XONCE_REJECT;
    }
    if (strcmp(id, "m3") == 0 || (strcmp(id, "m1") == 0 && xonce_message_attempt(m) == 1)) {
        return XONCE_RETRY;
    }
    return xonce_exec(tx, "INSERT INTO effects (id) VALUES ($1)", xonce_text(id)) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

static xonce_verdict fine(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    __atomic_add_fetch(&handled, 1, __ATOMIC_SEQ_CST);
    return xonce_exec(tx, "INSERT INTO effects (id) VALUES ($1)", xonce_text(xonce_message_id(m))) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

START_TEST(positions_are_kept_in_the_consumers_store)
{
    begin(NULL);
    ck_assert_int_eq(xonce_on(C, "orders", "*", fine, NULL), XONCE_OK);
    start();
    ck_assert_int_eq(S.given_at_start, 1); /* before start, once */
    ck_assert_int_eq(S.asked, 1);
    xo_range r = {.topic = (char *)"orders", .broker = (char *)"broker-a", .tags = (char *)"*", .queue = 3, .first = 7, .next = 9, .last_store_time = 11, .last_log_offset = 13, .epoch = 2};
    char id[9] = "";
    ck_assert_int_eq(S.positions->store_id(S.self, id), XONCE_OK);
    ck_assert_uint_eq(strlen(id), 8);
    ck_assert_int_eq(S.positions->save(S.self, &r, 1), XONCE_OK);
    stop();
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM xonce_settled WHERE consumer_group = 'GID_test' AND topic_name = 'orders' AND broker_name = 'broker-a' AND queue_id = 3 "
                                 "AND first_offset = 7 AND next_offset = 9 AND last_store_time = 11 AND last_log_offset = 13 AND epoch = 2 AND generation = 0 AND tags = '*'"),
                     1);
    finish();
}
END_TEST

START_TEST(without_dedup_there_are_no_positions)
{
    begin(NULL);
    xo_consumer_no_dedup(C);
    ck_assert_int_eq(xonce_on(C, "orders", "*", fine, NULL), XONCE_OK);
    start();
    stop();
    ck_assert_int_eq(S.asked, 0);
    finish();
}
END_TEST

START_TEST(settled_messages_say_what_became_of_them)
{
    begin((const char *const[]){"workers", "2", "suspend", "10ms", "attempts", "3", NULL});
    ck_assert_int_eq(xonce_on(C, "orders", "*", by_name, NULL), XONCE_OK);
    broker_add(&B, "orders", 6, 0, 0);
    start();
    WAIT_FOR(broker_is_done, &B);
    stop();
    ck_assert_int_eq(S.acks, 6);
    ck_assert_int_eq(S.acks_rejected, 2); /* m2, and m3 at its third delivery */
    ck_assert_int_eq(S.acks_failed, 2);   /* the same */
    ck_assert_int_eq(S.nacks, 3);         /* m1 once, m3 twice */
    ck_assert_int_eq(S.nacks_failed, 3);
    ck_assert_int_eq(S.nacks_rejected, 0);
    finish();
}
END_TEST

static xonce_status broken(const xo_item *items, size_t n)
{
    (void)items, (void)n;
    return xo_fail_sql(XONCE_E_CONNECT, XO_SQL_LOST, 0, NULL, "the test cut the wire");
}

static int some_wait(void *arg)
{
    (void)arg;
    return log_count("the database cannot be used") > 0;
}

START_TEST(an_outage_uses_up_no_attempt)
{
    begin((const char *const[]){"workers", "1", NULL});
    run_hook = broken;
    ck_assert_int_eq(xonce_on(C, "orders", "*", fine, NULL), XONCE_OK);
    broker_add(&B, "orders", 5, 0, 0);
    start();
    WAIT_FOR(some_wait, NULL);
    stop();
    run_hook = NULL;
    ck_assert_int_ge(S.nacks, 1); /* given back at the end */
    ck_assert_int_eq(S.nacks_failed, 0);
    ck_assert_int_eq(S.acks, 0);
    finish();
}
END_TEST

static int some_handled(void *arg)
{
    (void)arg;
    return __atomic_load_n(&handled, __ATOMIC_SEQ_CST) >= 2;
}

/* A lane's head that failed is given back as failed, what waited behind it is not. */
START_TEST(a_lane_says_who_failed)
{
    begin((const char *const[]){"workers", "1", "suspend", "200ms", NULL});
    ck_assert_int_eq(xonce_on_ordered(C, "orders", "*", by_name, NULL), XONCE_OK);
    broker_add(&B, "orders", 6, 1, 0);
    start();
    WAIT_FOR(some_handled, NULL);
    stop();
    ck_assert_int_ge(S.nacks, 2);
    ck_assert_int_eq(S.nacks_failed, 1);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects WHERE id > 'm3'"), 0);
    finish();
}
END_TEST

START_TEST(a_refused_message_is_settled_as_rejected)
{
    begin((const char *const[]){"workers", "1", NULL});
    snprintf(S.refuse, sizeof(S.refuse), "m1");
    ck_assert_int_eq(_i ? xonce_on_ordered(C, "orders", "*", fine, NULL) : xonce_on(C, "orders", "*", fine, NULL), XONCE_OK);
    broker_add(&B, "orders", 4, 1, 0);
    start();
    WAIT_FOR(broker_is_done, &B);
    stop();
    ck_assert_int_eq(__atomic_load_n(&handled, __ATOMIC_SEQ_CST), 3);
    ck_assert_int_eq(S.acks_rejected, 1);
    ck_assert_int_eq(S.acks_failed, 0);
    ck_assert_int_eq(S.nacks_failed, 0);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM effects WHERE id <> 'm1'"), 3);
    ck_assert_int_eq(rig_int(&R, "SELECT COUNT(*) FROM xonce_rejected WHERE reason = 'origin unknown'"), 1);
    finish();
}
END_TEST

START_TEST(an_unhealthy_source_shows)
{
    begin(NULL);
    B.base.counts = t_counts;
    ck_assert_int_eq(xonce_on(C, "orders", "*", fine, NULL), XONCE_OK);
    start();
    xonce_counts n = {.size = sizeof(n)};
    ck_assert_int_eq(xonce_consumer_counts(C, &n), XONCE_OK);
    ck_assert_int_eq(n.healthy, 1);
    pthread_mutex_lock(&S.lock);
    S.unhealthy = 4;
    pthread_mutex_unlock(&S.lock);
    ck_assert_int_eq(xonce_consumer_counts(C, &n), XONCE_OK);
    ck_assert_int_eq(n.healthy, 0);
    stop();
    finish();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("positions");
    TCase *c = tcase_create("positions");
    tcase_set_timeout(c, 60);
    suite_add_tcase(s, c);
    tcase_add_test(c, positions_are_kept_in_the_consumers_store);
    tcase_add_test(c, without_dedup_there_are_no_positions);
    tcase_add_test(c, settled_messages_say_what_became_of_them);
    tcase_add_test(c, an_outage_uses_up_no_attempt);
    tcase_add_test(c, a_lane_says_who_failed);
    tcase_add_loop_test(c, a_refused_message_is_settled_as_rejected, 0, 2);
    tcase_add_test(c, an_unhealthy_source_shows);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
