/* What failed and comes again: send-back, retry copies and the identity of their originals, dead letters. */
#include "tests/source/rmq.h"

static mq *m;
static db d;

static void setup(void)
{
    lines_reset();
    m = mq_start(1);
    mq_topic(m, 0, "T", 1);
    mq_topic(m, 0, "%RETRY%G", 1);
    db_open(&d, "0badcafe");
}

static void teardown(void)
{
    mq_stop(m);
    db_close(&d);
}

static int uniq_is(const xonce_message *x, const char *want)
{
    size_t n;
    const char *u = x->uniq ? x->uniq : xo_message_uniq(x, &n);
    if (x->uniq)
        n = strlen(u);
    return u && n == strlen(want) && !memcmp(u, want, n);
}

#define ck_uniq(x, want) ck_assert_msg(uniq_is(x, want), "line %d: uniq %s", __LINE__, (x)->uniq ? (x)->uniq : "(of the properties)")

static int64_t beats(void)
{
    return (int64_t)mq_count(m, 0, XO_RMQ_HEARTBEAT);
}

static void pass_some_time(rmq *r)
{
    for (int64_t before = beats(); beats() < before + 4;)
        rmq_poll(r);
}

/* ---- send-back ---- */

static struct {
    atomic_int level, most, n;
    atomic_llong offset;
} sent_back;

static void watch_send_back(void *arg, int b, const xo_command *c)
{
    int64_t v;
    (void)arg;
    (void)b;
    if (c->code != XO_RMQ_SEND_BACK)
        return;
    atomic_fetch_add(&sent_back.n, 1);
    atomic_store(&sent_back.level, xo_command_get_int(c, "delayLevel", &v) ? -99 : (int)v);
    atomic_store(&sent_back.most, xo_command_get_int(c, "maxReconsumeTimes", &v) ? -99 : (int)v);
    atomic_store(&sent_back.offset, xo_command_get_int(c, "offset", &v) ? -99 : v);
}

/* Fails four times: each time it goes back with a limit above ours, comes later each time, with its original's id and place, and the last is settled
 * in the end. */
START_TEST(sent_back_and_back_again)
{
    rmq r;
    memset(&sent_back, 0, sizeof sent_back);
    mq_watch(m, watch_send_back, NULL);
    mq_put(m, 0, "T", 0, "A", "U1", "work");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("attempts", "20"));
    rmq_take(&r, 1);
    int64_t came = xo_mono_ms();
    for (int i = 0; i < 4; i++) {
        const xonce_message *x = r.got[i];
        ck_uniq(x, "U1");
        ck_assert_str_eq(x->topic, "T");
        ck_assert_int_eq(x->attempt, i + 1);
        ck_assert_int_eq(x->queue, 0);
        ck_assert_int_eq(x->offset, 0);
        ck_assert_int_eq(x->store_time, mq_store_time(m, 0, "T", 0, 0));
        ck_assert_int_eq(x->log_offset, 0);
        ck_assert_str_eq(xonce_message_tag(x), "A");
        ck_assert_ptr_null(x->refuse);
        if (i > 0) {
            ck_assert_int_eq(x->copy_offset, i - 1);
            ck_assert_int_eq(x->copy_log_offset, mq_log_offset(m, 0, "%RETRY%G", 0, i - 1));
        }
        int64_t at = x->copy_log_offset;
        rmq_nack(&r, (size_t)i, 1);
        rmq_take(&r, (size_t)i + 2);
        ck_assert_int_eq(atomic_load(&sent_back.n), i + 1);
        ck_assert_int_eq(atomic_load(&sent_back.offset), at); /* the physical offset of the copy in hand */
        ck_assert_int_eq(atomic_load(&sent_back.level), 0);
        ck_assert_int_gt(atomic_load(&sent_back.most), 20);
        static const int delays[] = {10, 30, 60, 120}; /* the levels 3, 4, 5, 6, a thousandth of each */
        ck_assert_int_ge(xo_mono_ms() - came, delays[i]);
        came = xo_mono_ms();
    }
    WAIT(mq_committed(m, 0, "G", "T", 0) == 1);
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "%RETRY%G", 0) == 4);
    ck_assert_int_eq(mq_max(m, 0, "%DLQ%G", 0), 0);
    rmq_close(&r);
    mq_watch(m, NULL, NULL);
}
END_TEST

/* Not settled before the broker has it: the answer decides. Refused: it runs again here, and nothing is sent in its place. */
START_TEST(send_back_refused)
{
    rmq r;
    mq_put(m, 0, "T", 0, NULL, "U1", "work");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 1);
    mq_next(m, 0, XO_RMQ_SEND_BACK, 2, MQ_ANSWER, XO_RMQ_SYSTEM_ERROR);
    for (size_t i = 0; i < 2; i++) {
        rmq_nack(&r, i, 1);
        rmq_take(&r, i + 2);
        ck_assert_int_eq(r.got[i + 1]->attempt, (int)i + 2);
        ck_assert_int_eq(r.got[i + 1]->copy_offset, 0);
        ck_assert_int_le(mq_committed(m, 0, "G", "T", 0), 0);
    }
    ck_assert_uint_eq(mq_count(m, 0, XO_RMQ_SEND_V2) + mq_count(m, 0, XO_RMQ_SEND), 0);
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 1);
    rmq_close(&r);
}
END_TEST

/* The answer is lost: it may be back or not. It runs again here and comes as a copy too: one identity, so the database drops the second. */
START_TEST(send_back_answer_lost)
{
    rmq r;
    mq_put(m, 0, "T", 0, NULL, "U1", "work");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.timeout", "300ms"));
    rmq_take(&r, 1);
    mq_next(m, 0, XO_RMQ_SEND_BACK, 1, MQ_LOSE_ANSWER, 0);
    rmq_nack(&r, 0, 1);
    rmq_take(&r, 3);
    for (size_t i = 1; i < 3; i++) {
        ck_uniq(r.got[i], "U1");
        ck_assert_int_eq(r.got[i]->offset, 0);
        ck_assert_int_eq(r.got[i]->attempt, 2);
    }
    ck_assert_int_le(mq_committed(m, 0, "G", "T", 0), 0);
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 1 && mq_committed(m, 0, "G", "%RETRY%G", 0) == 1);
    rmq_close(&r);
}
END_TEST

/* The connection breaks in the middle of a send-back. */
START_TEST(send_back_to_a_dead_broker)
{
    rmq r;
    mq_put(m, 0, "T", 0, NULL, "U1", "work");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 1);
    mq_next(m, 0, XO_RMQ_SEND_BACK, 1, MQ_LOSE_REQUEST, 0);
    rmq_nack(&r, 0, 1);
    WAIT(mq_count(m, 0, XO_RMQ_SEND_BACK) == 1);
    mq_kill(m, 0, 0, 0);
    mq_restart(m, 0);
    rmq_until(&r, "work");
    while (rmq_has(&r, "work") < 2)
        rmq_poll(&r);
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 1);
    rmq_close(&r);
}
END_TEST

/* Put off without having failed: it comes again here after its time, and no attempt is used up. */
START_TEST(put_off)
{
    rmq r;
    mq_put(m, 0, "T", 0, NULL, "U1", "work");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 1);
    int64_t before = xo_mono_ms();
    r.got[0]->failed = 0;
    r.s->ops->nack(r.s, r.got[0], 200);
    r.got[0] = NULL;
    rmq_take(&r, 2);
    ck_assert_int_ge(xo_mono_ms() - before, 190);
    ck_assert_int_eq(r.got[1]->attempt, 1);
    ck_assert_uint_eq(mq_count(m, 0, XO_RMQ_SEND_BACK), 0);
    rmq_close(&r);
}
END_TEST

/* Handed back while stopping: not sent back, the next run gets it. */
START_TEST(given_back_at_the_end)
{
    rmq r;
    mq_put(m, 0, "T", 0, NULL, "U1", "work");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 1);
    r.s->ops->stop(r.s, 0);
    rmq_nack(&r, 0, 1);
    ck_assert_int_eq(r.s->ops->stop(r.s, 10000), XONCE_OK);
    ck_assert_uint_eq(mq_count(m, 0, XO_RMQ_SEND_BACK), 0);
    rmq_close(&r);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 1);
    rmq_close(&r);
}
END_TEST

START_TEST(dead_letter)
{
    rmq r;
    mq_put(m, 0, "T", 0, NULL, "U1", "poison");
    mq_put(m, 0, "T", 0, NULL, "U2", "good");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.dead-letter", "on"));
    rmq_take(&r, 2);
    r.got[0]->rejected = 1;
    rmq_ack_all(&r);
    WAIT(mq_max(m, 0, "%DLQ%G", 0) == 1);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 2);
    pass_some_time(&r);
    ck_assert_int_eq(mq_max(m, 0, "%DLQ%G", 0), 1);
    ck_assert_uint_eq(r.n, 2);
    rmq_close(&r);
}
END_TEST

/* ---- whose copy is it? ---- */

/* Members of a batch share their last UNIQ_KEY, and a broker's copy keeps only that one: the original tells them apart. */
START_TEST(batch_siblings)
{
    static const char *const own[] = {"OWN0", "OWN1", "OWN2"}, *const body[] = {"b0", "b1", "b2"};
    rmq r;
    for (int i = 0; i < 3; i++)
        mq_store(m, 0, &(mq_message){.topic = "T", .uniq = own[i], .uniq2 = "BATCH", .body = body[i], .body_len = 2});
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 3);
    for (size_t i = 0; i < 3; i++)
        ck_uniq(r.got[i], own[i]);
    for (size_t i = 0; i < 3; i++)
        rmq_nack(&r, i, 1);
    rmq_take(&r, 6);
    for (size_t i = 3; i < 6; i++) {
        int k = r.bodies[i][1] - '0';
        ck_uniq(r.got[i], own[k]);
        ck_assert_int_eq(r.got[i]->offset, k);
        ck_assert_int_eq(r.got[i]->attempt, 2);
    }
    /* and of the copy's copy */
    for (size_t i = 3; i < 6; i++)
        rmq_nack(&r, i, 1);
    rmq_take(&r, 9);
    for (size_t i = 6; i < 9; i++)
        ck_uniq(r.got[i], own[r.bodies[i][1] - '0']);
    rmq_close(&r);
}
END_TEST

/* Java's own way when its send-back fails: a plain send to the retry topic whose ORIGIN_MESSAGE_ID is the UNIQ_KEY. That is the id; nobody is asked.
 */
START_TEST(java_fallback)
{
    rmq r;
    mq_store(m, 0,
             &(mq_message){.topic = "%RETRY%G",
                           .uniq = "U1",
                           .properties = "RETRY_TOPIC\001T\002ORIGIN_MESSAGE_ID\001U1\002",
                           .body = "x",
                           .body_len = 1,
                           .reconsume = 3});
    /* also when it is one of two, of which the first is the message's own */
    mq_store(m, 0,
             &(mq_message){.topic = "%RETRY%G",
                           .uniq = "U2",
                           .uniq2 = "B",
                           .properties = "RETRY_TOPIC\001T\002ORIGIN_MESSAGE_ID\001B\002",
                           .body = "y",
                           .body_len = 1,
                           .reconsume = 1});
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 2);
    ck_assert_uint_eq(mq_count(m, 0, XO_RMQ_VIEW_MESSAGE), 0);
    int x = rmq_find(&r, "x"), y = rmq_find(&r, "y");
    ck_uniq(r.got[x], "U1");
    ck_assert_str_eq(r.got[x]->topic, "T");
    ck_assert_int_eq(r.got[x]->attempt, 4);
    ck_assert_int_eq(r.got[x]->offset, -1); /* where its original stood is not known; its own place says nothing */
    ck_assert_ptr_null(r.got[x]->refuse);
    ck_uniq(r.got[y], "U2");
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "%RETRY%G", 0) == 2);
    rmq_close(&r);
}
END_TEST

/* A retry copy of message 0 of T with the facts given changed. */
static void put_copy(const char *body, const char *topic, int64_t born_time, int born_port, const char *id)
{
    xo_buf p = {0};
    xo_buf_printf(&p, "RETRY_TOPIC\001%s\002ORIGIN_MESSAGE_ID\001%s\002", topic, id);
    mq_store(m, 0,
             &(mq_message){.topic = "%RETRY%G",
                           .uniq = "U1",
                           .properties = p.p,
                           .body = body,
                           .body_len = strlen(body),
                           .reconsume = 1,
                           .born_time = born_time,
                           .born_port = born_port});
    xo_buf_free(&p);
}

static void id_of(int64_t offset, char out[XO_OFFSET_ID_SIZE])
{
    char *bytes;
    xo_record x;
    size_t n = mq_record(m, 0, "T", 0, offset, &bytes), at = 0;
    int more;
    ck_assert(n && !xo_record_next(bytes, n, &at, &x, &more) && more);
    xo_record_id(&x, out);
    free(bytes);
}

START_TEST(origin_must_be_the_same_message)
{
    rmq r;
    char id[XO_OFFSET_ID_SIZE], bad[XO_OFFSET_ID_SIZE];
    mq_topic(m, 0, "OTHER", 1);
    mq_store(m, 0, &(mq_message){.topic = "T", .uniq = "OWN", .uniq2 = "U1", .body = "same", .body_len = 4, .born_time = 1000000, .born_port = 99});
    mq_commit(m, 0, "G", "T", 0, 1);
    id_of(0, id);
    snprintf(bad, sizeof bad, "%s", id);
    bad[strlen(bad) - 1] = 'F';              /* where no message begins */
    put_copy("same", "T", 1000000, 99, id);  /* 0: it is */
    put_copy("other", "T", 1000000, 99, id); /* the body differs */
    put_copy("same", "T", 1000001, 99, id);  /* the birth */
    put_copy("same", "T", 1000000, 98, id);  /* the birth's host */
    put_copy("same", "OTHER", 1000000, 99, id);
    put_copy("same", "T", 1000000, 99, bad);
    put_copy("same", "T", 1000000, 99, "rubbish");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("look-back", "0"));
    rmq_take(&r, 7);
    for (size_t i = 0; i < 7; i++) {
        const xonce_message *x = r.got[i];
        if (x->copy_offset == 0) {
            ck_assert_ptr_null(x->refuse);
            ck_uniq(x, "OWN");
            ck_assert_int_eq(x->offset, 0);
        } else {
            ck_assert_msg(x->refuse != NULL, "copy %lld is believed", (long long)x->copy_offset);
            ck_assert_msg(!uniq_is(x, "OWN") && !uniq_is(x, "U1"), "copy %lld has a shared key", (long long)x->copy_offset);
        }
    }
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "%RETRY%G", 0) == 7);
    rmq_close(&r);
}
END_TEST

START_TEST(origin_gone)
{
    rmq r;
    mq_put(m, 0, "T", 0, NULL, "U1", "work");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 1);
    mq_delay_divisor(m, 10);
    rmq_nack(&r, 0, 1);
    WAIT(mq_committed(m, 0, "G", "T", 0) == 1);
    mq_expire(m, 0, 0);
    rmq_take(&r, 2);
    ck_assert_msg(r.got[1]->refuse && strstr(r.got[1]->refuse, "origin"), "%s", r.got[1]->refuse ? r.got[1]->refuse : "it is run");
    ck_assert(!uniq_is(r.got[1], "U1"));
    ck_assert_int_eq(r.got[1]->offset, -1);
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "%RETRY%G", 0) == 1);
    rmq_close(&r);
}
END_TEST

/* The broker does not say: nothing is guessed. The copy waits, unsettled, until it can be asked. */
static void ask_in_vain(mq_fault fault, int code)
{
    rmq r;
    mq_put(m, 0, "T", 0, NULL, "U1", "work");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS("rocketmq.timeout", "300ms"));
    rmq_take(&r, 1);
    mq_next(m, 0, XO_RMQ_VIEW_MESSAGE, 1000, fault, code);
    rmq_nack(&r, 0, 1);
    WAIT(mq_count(m, 0, XO_RMQ_VIEW_MESSAGE) >= 2 || (rmq_poll(&r), 0));
    ck_assert_uint_eq(r.n, 1);
    ck_assert_int_le(mq_committed(m, 0, "G", "%RETRY%G", 0), 0);
    ck_assert_int_eq(r.s->ops->caught_up(r.s), 0);
    mq_next(m, 0, XO_RMQ_VIEW_MESSAGE, 0, MQ_ANSWER, 0);
    rmq_take(&r, 2);
    ck_uniq(r.got[1], "U1");
    ck_assert_ptr_null(r.got[1]->refuse);
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "%RETRY%G", 0) == 1);
    rmq_close(&r);
}

START_TEST(origin_cannot_be_asked)
{
    ask_in_vain(MQ_LOSE_REQUEST, 0);
}
END_TEST

START_TEST(origin_question_fails)
{
    ask_in_vain(MQ_ANSWER, XO_RMQ_BUSY);
}
END_TEST

/* A stop while a question is open ends in time, and the copy is not settled. */
START_TEST(stop_while_asking)
{
    rmq r;
    mq_put(m, 0, "T", 0, NULL, "U1", "work");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 1);
    mq_next(m, 0, XO_RMQ_VIEW_MESSAGE, 1000, MQ_LOSE_REQUEST, 0);
    rmq_nack(&r, 0, 1);
    WAIT(mq_count(m, 0, XO_RMQ_VIEW_MESSAGE) >= 1);
    int64_t before = xo_mono_ms();
    rmq_stop(&r);
    ck_assert_int_lt(xo_mono_ms() - before, 9000);
    ck_assert_int_le(mq_committed(m, 0, "G", "%RETRY%G", 0), 0);
    rmq_close(&r);
    mq_next(m, 0, XO_RMQ_VIEW_MESSAGE, 0, MQ_ANSWER, 0);
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 1);
    ck_uniq(r.got[0], "U1");
    rmq_close(&r);
}
END_TEST

/* The original came from a broker that is another than the one which holds the copy now would be: the copy's broker is asked, never an address
 * decoded from the id. */
START_TEST(nobody_is_asked_at_an_address_from_an_id)
{
    rmq r;
    char id[XO_OFFSET_ID_SIZE];
    mq *trap = mq_start(1);
    const char *port = strchr(mq_address(trap, 0), ':') + 1;
    snprintf(id, sizeof id, "7F000001%08lX%016X", strtoul(port, NULL, 10), 0u);
    put_copy("same", "T", 1000000, 99, id);
    mq_store(m, 0, &(mq_message){.topic = "T", .uniq = "U1", .body = "end", .body_len = 3});
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 2);
    ck_assert_uint_eq(mq_connections(trap, 0), 0);
    ck_assert_uint_eq(mq_count(trap, 0, XO_RMQ_VIEW_MESSAGE), 0);
    rmq_close(&r);
    mq_stop(trap);
}
END_TEST

/* A copy whose original is a message of a topic that is not subscribed here, or that does not say: rejected with the reason, not run. */
START_TEST(copies_of_strangers)
{
    rmq r;
    mq_topic(m, 0, "OTHER", 1);
    mq_store(m, 0,
             &(mq_message){.topic = "%RETRY%G",
                           .uniq = "U1",
                           .properties = "RETRY_TOPIC\001OTHER\002ORIGIN_MESSAGE_ID\001U1\002",
                           .body = "x",
                           .body_len = 1,
                           .reconsume = 1});
    mq_store(m, 0, &(mq_message){.topic = "%RETRY%G", .uniq = "U2", .body = "y", .body_len = 1, .reconsume = 1});
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 2);
    ck_assert(r.got[0]->refuse && r.got[1]->refuse);
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "%RETRY%G", 0) == 2);
    rmq_close(&r);
}
END_TEST

/* A filter does not apply to what came back: it was wanted when it failed. */
START_TEST(retries_pass_the_filter)
{
    rmq r;
    mq_put(m, 0, "T", 0, "A", "U1", "work");
    rmq_open(&r, m, &d, "T", "A", 0, SETTINGS());
    rmq_take(&r, 1);
    rmq_nack(&r, 0, 1);
    rmq_take(&r, 2);
    ck_uniq(r.got[1], "U1");
    rmq_ack_all(&r);
    WAIT(mq_committed(m, 0, "G", "%RETRY%G", 0) == 1);
    rmq_close(&r);
}
END_TEST

/* A transaction committed twice, or a producer's resend: two places, one key; both are handed over, the database drops one. */
START_TEST(resent_by_the_producer)
{
    rmq r;
    mq_put(m, 0, "T", 0, NULL, "U1", "work");
    mq_put(m, 0, "T", 0, NULL, "U1", "work");
    rmq_open(&r, m, &d, "T", "*", 0, SETTINGS());
    rmq_take(&r, 2);
    ck_uniq(r.got[0], "U1");
    ck_uniq(r.got[1], "U1");
    ck_assert_int_ne(r.got[0]->offset, r.got[1]->offset);
    rmq_close(&r);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("retry");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    ADD(t, sent_back_and_back_again);
    ADD(t, send_back_refused);
    ADD(t, send_back_answer_lost);
    ADD(t, send_back_to_a_dead_broker);
    ADD(t, put_off);
    ADD(t, given_back_at_the_end);
    ADD(t, dead_letter);
    ADD(t, batch_siblings);
    ADD(t, java_fallback);
    ADD(t, origin_must_be_the_same_message);
    ADD(t, origin_gone);
    ADD(t, origin_cannot_be_asked);
    ADD(t, origin_question_fails);
    ADD(t, stop_while_asking);
    ADD(t, nobody_is_asked_at_an_address_from_an_id);
    ADD(t, copies_of_strangers);
    ADD(t, retries_pass_the_filter);
    ADD(t, resent_by_the_producer);
    return rmq_run(t);
}
