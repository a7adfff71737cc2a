/* The RocketMQ producer's transactions against the in-process cluster: ends, questions, the traps of a second commit; and message traces. */
#include "base/config.h"
#include "remoting/trace.h"
#include "tests/remoting/sender.h"
#include <inttypes.h>
#include <unistd.h>

static mq *m;
static atomic_int checks, executes;

static void setup(void)
{
    m = mq_start(2);
    mq_topic(m, MQ_ALL, "T", 2);
    atomic_store(&checks, 0);
    atomic_store(&executes, 0);
}

static void teardown(void)
{
    mq_stop(m);
}

static int64_t stored_all(const char *topic)
{
    int64_t n = 0;
    for (int b = 0; b < 2; b++)
        for (int q = 0; q < 4; q++)
            n += mq_max(m, b, topic, q);
    return n;
}

static size_t halves(void)
{
    return mq_halves(m, 0) + mq_halves(m, 1);
}

/* The only message of T. */
static xonce_message *the_message(int *b)
{
    for (*b = 0; *b < 2; ++*b)
        for (int q = 0; q < 2; q++)
            if (mq_max(m, *b, "T", q) > 0)
                return mq_stored(m, *b, "T", q, 0);
    ck_abort_msg("there is none");
    return NULL;
}

static xonce_transaction_state execute(const xonce_message *x, void *arg)
{
    const char *id = xonce_message_property(x, "UNIQ_KEY");
    atomic_fetch_add(&executes, 1);
    ck_assert(id && strlen(id) == 32);
    ck_assert_str_eq(xonce_message_property(x, "p"), "v");
    ck_body(x, "body");
    ck_assert_int_eq(stored_all("T"), 0); /* nobody sees it yet */
    return *(xonce_transaction_state *)arg;
}

static xonce_transaction_state check(const xonce_message *x, void *arg)
{
    ck_assert_str_eq(xonce_message_topic(x), "T");
    ck_assert_str_eq(xonce_message_property(x, "p"), "v");
    ck_assert_uint_eq(strlen(xonce_message_property(x, "UNIQ_KEY")), 32);
    ck_body(x, "body");
    atomic_fetch_add(&checks, 1);
    return *(xonce_transaction_state *)arg;
}

static xonce_transaction_state commit_state = XONCE_TRANSACTION_COMMIT, rollback_state = XONCE_TRANSACTION_ROLLBACK, unknown_state = XONCE_TRANSACTION_UNKNOWN;

static xonce_producer *open_group(xonce_transaction_state *checked)
{
    xonce_producer *p = sender_open(mq_uri(m), NULL);
    ck_ok(xonce_producer_on_check(p, "T", "PG", check, checked));
    WAIT(mq_producers(m, 0, "PG") == 1 && mq_producers(m, 1, "PG") == 1); /* with nothing sent */
    return p;
}

/* Most tests' producer and message. */
static xonce_producer *p;
static xonce_message *x;

static void begin(xonce_transaction_state *checked)
{
    p = open_group(checked);
    x = sender_message("T", "body", "p", "v", NULL);
}

static void end(void)
{
    xonce_message_free(x);
    xonce_producer_close(p);
}

static int ask_all(int restore)
{
    return mq_check(m, 0, restore) + mq_check(m, 1, restore);
}

/* Lets the brokers ask until what is expected happened. A question may move the half message, which makes the answer to the one before come too late: answers are
   waited for, a second at most. */
#define ASK_UNTIL(restore, cond)                                                                    \
    do {                                                                                            \
        for (int64_t end_ = xo_mono_ms() + 60000; !(cond);) {                                       \
            ck_assert_msg(xo_mono_ms() < end_, "line %d: waited too long for %s", __LINE__, #cond); \
            size_t answers_ = mq_count(m, MQ_ALL, XO_RMQ_END_TRANSACTION);                          \
            answers_ += (size_t)ask_all(restore);                                                   \
            int64_t next_ = xo_mono_ms() + 1000;                                                    \
            while (!(cond) && mq_count(m, MQ_ALL, XO_RMQ_END_TRANSACTION) < answers_ && xo_mono_ms() < next_) \
                xo_pause_ms(2);                                                                     \
        }                                                                                           \
    } while (0)

START_TEST(ended)
{
    static const struct {
        xonce_transaction_state *state;
        int stored;
        size_t open;
    } t[] = {{&commit_state, 1, 0}, {&rollback_state, 0, 0}, {&unknown_state, 0, 1}};
    for (size_t i = 0; i < 3; i++) {
        p = open_group(&unknown_state);
        x = sender_message("T", "body", "p", "v", "TAGS", "A", "__TransCheckT", "20", NULL);
        xonce_sent sent = {.size = sizeof sent};
        int b;
        ck_ok(xonce_producer_send_transaction(p, x, execute, t[i].state, &sent));
        ck_assert_int_eq(atomic_load(&executes), (int)i + 1);
        ck_assert_int_eq(stored_all("T"), t[i].stored);
        WAIT(halves() == t[i].open);
        if (t[i].stored) {
            xonce_message *y = the_message(&b);
            ck_assert_str_eq(xonce_message_property(y, "UNIQ_KEY"), sent.id);
            ck_assert_str_eq(xonce_message_property(y, "PGROUP"), "PG");
            ck_assert_str_eq(xonce_message_property(y, "TRAN_MSG"), "true");
            ck_assert_str_eq(xonce_message_property(y, "CHECK_IMMUNITY_TIME_IN_SECONDS"), "20");
            ck_assert_str_eq(sent.broker, mq_name(m, b));
            ck_assert_int_eq(sent.queue, y->queue);
            xonce_message_free(y);
        }
        xonce_message_free(x);
        xonce_producer_close(p);
        ck_assert_int_eq(mq_producers(m, 0, "PG"), 0);
        teardown();
        m = mq_start(2);
        mq_topic(m, MQ_ALL, "T", 2);
    }
}
END_TEST

START_TEST(refused)
{
    p = sender_open(mq_uri(m), NULL);
    x = sender_message("T", "body", "p", "v", NULL);
    ck_assert_int_eq(xonce_producer_send_transaction(p, x, execute, &commit_state, NULL), XONCE_E_INVALID);
    ck_assert(strstr(xonce_error_last()->text, "xonce_producer_on_check") != NULL);
    ck_assert_int_eq(xonce_producer_on_check(p, "T", "P.G", check, &commit_state), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_producer_on_check(p, "T.", "PG", check, &commit_state), XONCE_E_INVALID);
    ck_ok(xonce_producer_on_check(p, "T", "PG", check, &commit_state));
    ck_assert_int_eq(xonce_producer_on_check(p, "T", "PG2", check, &commit_state), XONCE_E_INVALID);
    xonce_message_set_property(x, "DELAY", "3");
    ck_assert_int_eq(xonce_producer_send_transaction(p, x, execute, &commit_state, NULL), XONCE_E_INVALID);
    ck_assert(strstr(xonce_error_last()->text, "DELAY") != NULL);
    xonce_message_free(x);
    x = sender_message("T", "body", "p", "v", NULL);
    mq_next(m, MQ_ALL, XO_RMQ_SEND_V2, 1, MQ_ANSWER, XO_RMQ_MESSAGE_ILLEGAL);
    ck_assert_int_eq(xonce_producer_send_transaction(p, x, execute, &commit_state, NULL), XONCE_E_INVALID);
    /* stored, but less safely than asked for: not to be built upon */
    for (int code = 10; code <= 12; code++) {
        mq_next(m, MQ_ALL, XO_RMQ_SEND_V2, 0, MQ_ANSWER, 0);
        mq_next(m, MQ_ALL, XO_RMQ_SEND_V2, 1, MQ_ANSWER, code);
        ck_assert_int_ne(xonce_producer_send_transaction(p, x, execute, &commit_state, NULL), XONCE_OK);
    }
    ck_assert_int_eq(atomic_load(&executes), 0);
    ck_assert_int_eq(stored_all("T"), 0);
    xonce_message_free(x);
    xonce_producer_close(p);
}
END_TEST

START_TEST(questions)
{
    static const struct {
        xonce_transaction_state *state;
        int stored, restore;
    } t[] = {{&commit_state, 1, 0}, {&commit_state, 1, 1}, {&rollback_state, 0, 1}};
    for (size_t i = 0; i < 3; i++) {
        begin(t[i].state);
        ck_ok(xonce_producer_send_transaction(p, x, execute, &unknown_state, NULL));
        ck_assert_uint_eq(halves(), 1);
        ck_assert_int_eq(ask_all(t[i].restore), 1);
        WAIT(halves() == 0);
        ck_assert_int_eq(atomic_load(&checks), (int)i + 1);
        WAIT(stored_all("T") == t[i].stored);
        ck_assert_int_eq(ask_all(0), 0);
        xonce_message_free(x);
        xonce_producer_close(p);
        teardown();
        m = mq_start(2);
        mq_topic(m, MQ_ALL, "T", 2);
    }
    /* undecided: asked again and again */
    begin(&unknown_state);
    ck_ok(xonce_producer_send_transaction(p, x, execute, &unknown_state, NULL));
    ASK_UNTIL(1, atomic_load(&checks) >= 6);
    ck_assert_uint_eq(halves(), 1);
    ck_assert_int_eq(stored_all("T"), 0);
    end();
}
END_TEST

/* The producer that sent it is gone: another one of its group is asked. */
START_TEST(an_earlier_run)
{
    begin(&unknown_state);
    xonce_sent sent = {.size = sizeof sent};
    int b;
    ck_ok(xonce_producer_send_transaction(p, x, execute, &unknown_state, &sent));
    xonce_producer_close(p);
    ck_assert_uint_eq(halves(), 1);
    p = open_group(&commit_state);
    ASK_UNTIL(1, halves() == 0);
    WAIT(stored_all("T") == 1);
    xonce_message *y = the_message(&b);
    ck_assert_str_eq(xonce_message_property(y, "UNIQ_KEY"), sent.id);
    xonce_message_free(y);
    end();
}
END_TEST

START_TEST(not_my_topic)
{
    mq_topic(m, MQ_ALL, "Other", 1);
    begin(&unknown_state);
    ck_ok(xonce_producer_send_transaction(p, x, execute, &unknown_state, NULL));
    xonce_producer_close(p);
    p = sender_open(mq_uri(m), NULL);
    ck_ok(xonce_producer_on_check(p, "Other", "PG", check, &commit_state));
    WAIT(mq_producers(m, 0, "PG") == 1 && mq_producers(m, 1, "PG") == 1);
    sender_lines_reset();
    ASK_UNTIL(0, sender_lines_with("does not check") > 0);
    ck_assert_uint_eq(halves(), 1);
    ck_assert_int_eq(atomic_load(&checks), 0);
    end();
}
END_TEST

/* ---- two commits make two messages ---- */

START_TEST(a_lost_answer_is_not_sent_again)
{
    begin(&commit_state);
    mq_next(m, MQ_ALL, XO_RMQ_END_TRANSACTION, 1, MQ_LOSE_ANSWER, 0);
    sender_lines_reset();
    ck_ok(xonce_producer_send_transaction(p, x, execute, &commit_state, NULL));
    ck_assert_int_eq(sender_lines_with("the check decides"), 1);
    ck_assert_int_eq(ask_all(1), 0); /* it was carried out */
    ck_assert_uint_eq(mq_count(m, MQ_ALL, XO_RMQ_END_TRANSACTION), 1);
    ck_assert_int_eq(stored_all("T"), 1);
    end();
}
END_TEST

START_TEST(a_lost_commit_is_asked_for)
{
    begin(&commit_state);
    mq_next(m, 0, XO_RMQ_END_TRANSACTION, 1, MQ_LOSE_REQUEST, 0);
    mq_next(m, 1, XO_RMQ_END_TRANSACTION, 1, MQ_LOSE_REQUEST, 0);
    ck_ok(xonce_producer_send_transaction(p, x, execute, &commit_state, NULL));
    mq_next(m, MQ_ALL, XO_RMQ_END_TRANSACTION, 0, MQ_LOSE_REQUEST, 0);
    size_t ends = mq_count(m, MQ_ALL, XO_RMQ_END_TRANSACTION);
    ck_assert_int_eq(ask_all(1), 1); /* it may have crossed the commit: left open */
    WAIT(mq_count(m, MQ_ALL, XO_RMQ_END_TRANSACTION) == ends + 1);
    ck_assert_int_eq(atomic_load(&checks), 0);
    ck_assert_uint_eq(halves(), 1);
    ASK_UNTIL(1, stored_all("T") > 0); /* but not for ever */
    xo_pause_ms(100); /* a second message would come about now */
    ck_assert_int_eq(stored_all("T"), 1);
    ck_assert_int_eq(atomic_load(&checks), 1);
    end();
}
END_TEST

static xonce_transaction_state execute_slowly(const xonce_message *half, void *arg)
{
    size_t ends = mq_count(m, MQ_ALL, XO_RMQ_END_TRANSACTION);
    (void)half;
    for (int i = 0; i < 3; i++) { /* the local transaction is not committed yet: a check that looks would say rollback */
        ck_assert_int_eq(ask_all(1), 1);
        WAIT(mq_count(m, MQ_ALL, XO_RMQ_END_TRANSACTION) == ends + (size_t)i + 1);
    }
    ck_assert_int_eq(atomic_load(&checks), 0);
    return *(xonce_transaction_state *)arg;
}

START_TEST(asked_while_it_runs)
{
    begin(&rollback_state);
    ck_ok(xonce_producer_send_transaction(p, x, execute_slowly, &commit_state, NULL));
    /* the question moved the half message: our own commit names a place where it is no more, and the check decides after all */
    ck_assert_int_eq(atomic_load(&checks), 0);
    end();
}
END_TEST

/* The answer to a half message is lost: it is sent again to another broker, and the first copy must not become a message as well. */
START_TEST(a_copy_of_a_half_message)
{
    begin(&commit_state);
    mq_next(m, MQ_ALL, XO_RMQ_SEND_V2, 1, MQ_LOSE_ANSWER, 0);
    ck_ok(xonce_producer_send_transaction(p, x, execute, &commit_state, NULL));
    ck_assert_int_eq(stored_all("T"), 1);
    ck_assert_uint_eq(halves(), 1);
    ASK_UNTIL(1, halves() == 0);
    ck_assert_int_eq(stored_all("T"), 1);
    ck_assert_int_eq(atomic_load(&checks), 0);
    end();
}
END_TEST

/* To the only client; no answer is waited for. */
static void tell(int b, xo_command *q)
{
    xo_command answer;
    q->flag = XO_FLAG_ONEWAY;
    ck_assert_int_eq(mq_ask(m, b, NULL, NULL, q, 20, &answer), 0);
}

/* A question that was on its way when the commit was carried out. */
START_TEST(a_late_question)
{
    begin(&commit_state);
    int b;
    ck_ok(xonce_producer_send_transaction(p, x, execute, &commit_state, NULL));
    xonce_message *y = the_message(&b);
    char *bytes;
    size_t n = mq_record(m, b, "T", y->queue, 0, &bytes), ends = mq_count(m, MQ_ALL, XO_RMQ_END_TRANSACTION);
    xo_buf body = {0};
    xo_command q;
    xo_command_init(&q, XO_RMQ_CHECK_TRANSACTION);
    xo_command_set_int(&q, "tranStateTableOffset", 0);
    xo_command_set_int(&q, "commitLogOffset", 0);
    xo_buf_add(&body, bytes, n);
    xo_command_take_body(&q, &body);
    free(bytes);
    tell(b, &q);
    WAIT(mq_count(m, MQ_ALL, XO_RMQ_END_TRANSACTION) == ends + 1);
    ck_assert_int_eq(atomic_load(&checks), 0);
    xo_pause_ms(50); /* a second message would come about now */
    ck_assert_int_eq(stored_all("T"), 1);
    /* and questions that are none */
    sender_lines_reset();
    for (int i = 0; i < 3; i++) {
        xo_command_init(&q, XO_RMQ_CHECK_TRANSACTION);
        if (i > 0)
            xo_command_set_int(&q, "tranStateTableOffset", 0);
        if (i > 1)
            xo_command_set_int(&q, "commitLogOffset", 0);
        tell(b, &q);
    }
    WAIT(sender_lines_with("asks about a half message, but") == 3);
    xo_command other, answer;
    xo_command_init(&other, XO_RMQ_RUNNING_INFO);
    ck_assert(mq_ask(m, b, NULL, NULL, &other, 60000, &answer));
    ck_assert_int_eq(answer.code, XO_RMQ_NOT_SUPPORTED);
    xo_command_free(&answer);
    xonce_message_free(y);
    end();
}
END_TEST

/* ---- traces ---- */

static void traces(xo_buf *out)
{
    mq_traces(m, 2, "RMQ_SYS_TRACE_TOPIC", out);
}

static xonce_transaction_state decided(const xonce_message *half, void *arg)
{
    (void)half;
    return *(xonce_transaction_state *)arg;
}

START_TEST(traced)
{
    xo_buf all = {0};
    char want[600];
    mq_topic(m, MQ_ALL, "RMQ_SYS_TRACE_TOPIC", 1);
    p = sender_open(mq_uri(m), SETTINGS("trace", "on"));
    x = sender_message("T", "body", "p", "v", "TAGS", "A", "KEYS", "k1 k2", NULL);
    xonce_sent sent = {.size = sizeof sent}, half = {.size = sizeof half};
    ck_ok(xonce_producer_send(p, x, &sent));
    ck_ok(xonce_producer_on_check(p, "T", "PG", check, &commit_state));
    xonce_message *y = sender_message("T", "body", "p", "v", NULL);
    ck_ok(xonce_producer_send_transaction(p, y, decided, &rollback_state, &half));
    xonce_producer_close(p); /* sends what is gathered */
    traces(&all);
    snprintf(want, sizeof want, "|DefaultRegion|xonce_producer|T|%s|A|k1 k2|%s|4|", sent.id, mq_address(m, !strcmp(sent.broker, mq_name(m, 1))));
    ck_assert_msg(strstr(all.p, "Pub|") == all.p || strstr(all.p, "\nPub|"), "%s", all.p);
    ck_assert_msg(strstr(all.p, want) != NULL, "%s\n%s", want, all.p);
    ck_assert_msg(strstr(all.p, "|0|7F000001") && strstr(all.p, "|true\n"), "%s", all.p);
    snprintf(want, sizeof want, "|%s|ROLLBACK_MESSAGE|false\n", half.id);
    ck_assert_msg(strstr(all.p, "EndTransaction|") && strstr(all.p, want), "%s", all.p);
    snprintf(want, sizeof want, "KEYS=%s k1 k2", sent.id);
    ck_assert_msg(strstr(all.p, want) != NULL, "%s\n%s", want, all.p);
    xo_buf_free(&all);
    xonce_message_free(x);
    xonce_message_free(y);
}
END_TEST

START_TEST(deliveries_are_traced)
{
    xo_buf all = {0};
    xonce_config *cfg;
    xo_cluster *c;
    xo_trace *t;
    mq_topic(m, 0, "RMQ_SYS_TRACE_TOPIC", 1);
    ck_ok(xonce_config_new(&cfg));
    ck_ok(xo_cluster_open(&c, mq_uri(m), cfg, NULL, NULL));
    ck_ok(xo_trace_open(&t, c, cfg));
    ck_assert_ptr_null(t); /* off */
    xo_trace_sub_before(t, &(xo_trace_record){.id = "U"});
    ck_assert(!xo_trace_wanted(t, NULL));
    xo_trace_close(t);
    ck_ok(xonce_config_set(cfg, "trace", "on"));
    ck_ok(xo_trace_open(&t, c, cfg));
    ck_assert(xo_trace_wanted(t, NULL) && xo_trace_wanted(t, "true") && !xo_trace_wanted(t, "false"));
    xo_trace_sub_before(t, &(xo_trace_record){.time = 7, .group = "G", .request_id = "R", .id = "U\x01\x02", .retry_times = 3, .keys = "k"});
    xo_trace_sub_after(t, &(xo_trace_record){.time = 9, .group = "G", .request_id = "R", .id = "U", .cost_ms = 5, .success = 1, .keys = "k", .context = 0});
    for (int i = 0; i < 3000; i++) /* several messages */
        xo_trace_sub_after(t, &(xo_trace_record){.time = 9, .group = "G", .request_id = "0123456789012345678901234567890123456789", .id = "0123456789012345678901234567890123456789", .success = 0});
    xo_trace_close(t);
    traces(&all);
    static const char first[] = "SubBefore|7|DefaultRegion|G|R|U  |3|k\nSubAfter|R|U|5|true|k|0|9|G\nSubAfter|0123";
    ck_assert_msg(strncmp(all.p, first, strlen(first)) == 0, "%.200s", all.p);
    int n = 0;
    for (const char *s = all.p; (s = strstr(s, "SubAfter|")); s++)
        n++;
    ck_assert_int_eq(n, 3001);
    ck_assert_int_ge(mq_max(m, 0, "RMQ_SYS_TRACE_TOPIC", 0), 2);
    /* a cluster that is away, or hangs, costs nothing but its traces */
    for (int hangs = 1; hangs >= 0; hangs--) {
        sender_lines_reset();
        ck_ok(xo_trace_open(&t, c, cfg));
        mq_hang(m, 0, hangs);
        if (!hangs)
            mq_kill(m, 0, 0, MQ_KEEP_ROUTE);
        int64_t begun = xo_mono_ms();
        for (int i = 0; i < 100000; i++) /* more than may wait */
            xo_trace_sub_before(t, &(xo_trace_record){.time = 7, .group = "G", .request_id = "R", .id = "0123456789012345678901234567890123456789", .retry_times = 3, .keys = "k"});
        xo_trace_close(t);
        ck_assert_int_lt(xo_mono_ms() - begun, 60000);
        ck_assert_int_ge(sender_lines_with("traces are lost: 100000 records so far, of which"), 1);
        ck_assert_msg(!hangs || !sender_lines_with("100000 records so far, of which 0 had no room"), "all had room");
    }
    xo_cluster_close(c);
    xonce_config_free(cfg);
    xo_buf_free(&all);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("half");
    tcase_add_checked_fixture(t, setup, teardown);
    ADD(t, ended);
    ADD(t, refused);
    ADD(t, questions);
    ADD(t, an_earlier_run);
    ADD(t, not_my_topic);
    ADD(t, a_lost_answer_is_not_sent_again);
    ADD(t, a_lost_commit_is_asked_for);
    ADD(t, asked_while_it_runs);
    ADD(t, a_copy_of_a_half_message);
    ADD(t, a_late_question);
    ADD(t, traced);
    ADD(t, deliveries_are_traced);
    return sender_run("rocketmq half messages", t);
}
