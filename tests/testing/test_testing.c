/* libxonce-test as a user sees it: the published headers only, and a consumer on SQLite. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xonce/test.h>
#include <xonce/xonce.h>

enum { WAIT_MS = 60000 };
#define OK(call) ck_assert_msg((call) == XONCE_OK, "%s: %s", #call, xonce_error_last()->text)
#define REFUSED(call, why, part)                                                                                                 \
    do {                                                                                                                         \
        ck_assert_int_eq((call), (why));                                                                                         \
        ck_assert_int_eq(xonce_error_last()->code, (why));                                                                       \
        ck_assert_msg(strstr(xonce_error_last()->text, (part)) != NULL, "%s", xonce_error_last()->text);                         \
    } while (0)

static xonce_test *endpoint;
static xonce_config *config;
static xonce_store *store;
static xonce_source *source;
static xonce_consumer *consumer;
static char folder[] = "/tmp/xonce-testing-XXXXXX";

static void begin(const xonce_test_options *o)
{
    char uri[64];
    xonce_tx *tx;
    OK(xonce_test_start(&endpoint, o));
    OK(xonce_config_new(&config));
    OK(xonce_test_configure(endpoint, config));
    memcpy(strrchr(folder, '-') + 1, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(uri, sizeof uri, "sqlite:%s/test.db", folder);
    OK(xonce_store_open(&store, uri, "GID_test", config));
    OK(xonce_store_upgrade(store));
    OK(xonce_tx_begin(store, &tx));
    OK(xonce_exec_now(tx, "CREATE TABLE seen (id TEXT, body TEXT)", NULL, 0, NULL));
    OK(xonce_tx_commit(tx));
    OK(xonce_source_open(&source, xonce_test_uri(endpoint), config));
    OK(xonce_consumer_new(&consumer, store, source, config));
}

static void end(void)
{
    char path[64];
    OK(xonce_consumer_stop(consumer, WAIT_MS));
    xonce_consumer_free(consumer);
    xonce_source_close(source);
    xonce_store_close(store);
    xonce_config_free(config);
    xonce_test_stop(endpoint);
    for (int i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/test.db%s", folder, i == 0 ? "" : i == 1 ? "-wal" : "-shm");
        (void)unlink(path);
    }
    ck_assert_int_eq(rmdir(folder), 0);
}

static int take_number(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = xonce_row_int(r, 0);
    return 0;
}

static int64_t number(const char *sql)
{
    int64_t n = -1;
    xonce_tx *tx;
    OK(xonce_tx_begin(store, &tx));
    OK(xonce_query(tx, sql, NULL, 0, take_number, &n));
    xonce_tx_rollback(tx);
    return n;
}

static xonce_verdict keep(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    return xonce_exec(tx, "INSERT INTO seen VALUES ($1, $2)", xonce_text(xonce_message_id(m)), xonce_body(m)) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

/* The first n calls put the message off. */
static xonce_verdict later(xonce_tx *tx, const xonce_message *m, void *arg)
{
    return atomic_fetch_sub((atomic_int *)arg, 1) > 0 ? XONCE_RETRY : keep(tx, m, arg);
}

static void send_some(const char *topic, const char *tag, int n)
{
    for (int i = 0; i < n; i++) {
        char body[32];
        (void)snprintf(body, sizeof body, "%s-%d", topic, i);
        OK(xonce_test_send_text(endpoint, topic, tag, body, NULL));
    }
}

START_TEST(faults_do_not_show_in_the_table)
{
    enum { N = 400 };
    const xonce_test_options o = {.size = sizeof o, .instance = "MQ_INST_test", .redeliver_ms = 300};
    const xonce_test_faults faults = {.size = sizeof faults, .duplicate = 0.3, .lose_ack = 0.3, .error = 0.1, .cut = 0.1, .reorder = 1, .delay_ack_ms = 5};
    xonce_test_counts made = {.size = sizeof made};
    xonce_test_progress p = {.size = sizeof p};
    begin(&o);
    OK(xonce_test_set_faults(endpoint, &faults));
    send_some("orders", NULL, N);
    OK(xonce_on(consumer, "orders", "*", keep, NULL));
    OK(xonce_consumer_start(consumer));
    OK(xonce_test_wait(endpoint, "orders", "GID_test", NULL, WAIT_MS));
    ck_assert_int_eq(number("SELECT count(*) FROM seen"), N);
    ck_assert_int_eq(number("SELECT count(DISTINCT body) FROM seen"), N);
    OK(xonce_test_look(endpoint, "orders", "GID_test", NULL, &p));
    ck_assert_int_eq(p.messages, N);
    ck_assert_int_eq(p.settled, N);
    ck_assert_int_eq(p.in_flight + p.waiting + p.delayed + p.halves, 0);
    OK(xonce_test_count(endpoint, &made));
    ck_assert_int_eq(made.accepted, N);
    ck_assert_int_eq(made.acknowledged, N);
    ck_assert(made.acks_lost > 0 && made.duplicates > 0 && made.errors > 0 && made.cuts > 0);
    ck_assert_int_ge(made.again, made.duplicates);
    ck_assert_int_eq(made.handed_out - made.again, N);
    OK(xonce_test_set_faults(endpoint, NULL));
    OK(xonce_test_count(endpoint, &made));
    int64_t lost = made.acks_lost;
    send_some("orders", NULL, N);
    OK(xonce_test_wait(endpoint, "orders", "GID_test", "*", WAIT_MS));
    OK(xonce_test_count(endpoint, &made));
    ck_assert_int_eq(made.acks_lost, lost);
    end();
}
END_TEST

static void note(const xonce_test_flight *f, void *arg)
{
    xonce_test_flight *last = arg;
    ck_assert_uint_eq(f->size, sizeof *f);
    ck_assert_str_eq(f->tag, "blue");
    ck_assert_uint_eq(f->len, strlen("late-0"));
    ck_assert_str_eq((const char *)f->body, "late-0");
    ck_assert_uint_eq(strlen(f->id), 32);
    ck_assert(f->queue >= 0 && f->offset >= 0 && f->first_ms > 0 && f->again_in_ms >= 0 && f->again_in_ms <= 600000);
    last->times = f->times;
    last->size++;
}

static void wait_out(int times)
{
    xonce_test_flight last = {.size = 0};
    for (int i = 0; i < WAIT_MS / 5 && (last.size != 1 || last.times != times); i++) {
        memset(&last, 0, sizeof last);
        OK(xonce_test_in_flight(endpoint, "late", "GID_test", note, &last));
        usleep(5000);
    }
    ck_assert_int_eq(last.times, times);
}

START_TEST(what_is_in_flight_is_seen_and_expires_on_order)
{
    const xonce_test_options o = {.size = sizeof o, .redeliver_ms = 600000};
    atomic_int puts_off = 2;
    int64_t n = -1;
    begin(&o);
    send_some("late", "blue", 1);
    OK(xonce_on(consumer, "late", "*", later, &puts_off));
    OK(xonce_consumer_start(consumer));
    wait_out(1);
    REFUSED(xonce_test_wait(endpoint, "late", "GID_test", NULL, 20), XONCE_E_TIMEOUT, "has settled 0 of 1 messages of topic late: 1 in flight");
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "was handed out 1 times"));
    OK(xonce_test_expire(endpoint, "late", "GID_test", &n));
    ck_assert_int_eq(n, 1);
    wait_out(2);
    OK(xonce_test_expire(endpoint, "late", "GID_test", NULL));
    OK(xonce_test_wait(endpoint, "late", "GID_test", "red || blue", WAIT_MS));
    ck_assert_int_eq(number("SELECT count(*) FROM seen"), 1);
    OK(xonce_test_expire(endpoint, "late", "GID_test", &n));
    ck_assert_int_eq(n, 0);
    end();
}
END_TEST

START_TEST(waiting_tells_what_is_missing)
{
    xonce_test_progress p = {.size = sizeof p};
    begin(NULL);
    REFUSED(xonce_test_wait(endpoint, "tagged", "GID_test", NULL, 0), XONCE_E_NOT_FOUND, "no topic tagged");
    REFUSED(xonce_test_look(endpoint, "tagged", "GID_test", NULL, &p), XONCE_E_NOT_FOUND, "no topic tagged");
    REFUSED(xonce_test_expire(endpoint, "tagged", "GID_test", NULL), XONCE_E_NOT_FOUND, "no topic tagged");
    send_some("tagged", "A", 3);
    send_some("tagged", "B", 2);
    send_some("tagged", NULL, 1);
    REFUSED(xonce_test_wait(endpoint, "tagged", "GID_test", NULL, 10), XONCE_E_TIMEOUT, "has not asked for topic tagged yet: 6 messages wait");
    OK(xonce_test_wait(endpoint, "tagged", "GID_test", "C", 0));
    OK(xonce_on(consumer, "tagged", "A||B", keep, NULL));
    OK(xonce_consumer_start(consumer));
    OK(xonce_test_wait(endpoint, "tagged", "GID_test", "A||B", WAIT_MS));
    REFUSED(xonce_test_wait(endpoint, "tagged", "GID_test", NULL, 10), XONCE_E_TIMEOUT, "has settled 5 of 6 messages");
    OK(xonce_test_look(endpoint, "tagged", "GID_test", "B", &p));
    ck_assert_int_eq(p.messages, 2);
    ck_assert_int_eq(p.settled, 2);
    OK(xonce_test_look(endpoint, "tagged", "GID_test", NULL, &p));
    ck_assert_int_eq(p.waiting, 1);
    end();
}
END_TEST

static xonce_status send_with(const char *topic, const char *name, const char *value, const char *body)
{
    xonce_message *m;
    char id[33];
    OK(xonce_message_new(&m, topic, NULL, body, strlen(body)));
    OK(xonce_message_set_property(m, name, value));
    xonce_status st = xonce_test_send(endpoint, m, id);
    xonce_message_free(m);
    return st;
}

START_TEST(kinds_and_delays)
{
    xonce_test_progress p = {.size = sizeof p};
    char at[24];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    (void)snprintf(at, sizeof at, "%lld", (long long)(now.tv_sec + 1) * 1000 + now.tv_nsec / 1000000);
    begin(NULL);
    OK(xonce_test_topic(endpoint, "lanes", "ordered"));
    REFUSED(xonce_test_topic(endpoint, "lanes", "sideways"), XONCE_E_INVALID, "'sideways' is no kind");
    REFUSED(xonce_test_topic(endpoint, "a b", NULL), XONCE_E_INVALID, "topic");
    REFUSED(send_with("lanes", "__STARTDELIVERTIME", at, "x"), XONCE_E_INVALID, "topic lanes is of a kind");
    REFUSED(send_with("any", "__TransCheckT", "30", "x"), XONCE_E_INVALID, "half message");
    REFUSED(send_with("any", "name", "a|b", "x"), XONCE_E_INVALID, "property name");
    REFUSED(xonce_test_send_text(endpoint, "any", NULL, "", NULL), XONCE_E_INVALID, "empty");
    OK(send_with("lanes", "__SHARDINGKEY", "k", "x"));
    OK(send_with("soon", "__STARTDELIVERTIME", at, "x"));
    OK(xonce_test_look(endpoint, "soon", "GID_test", NULL, &p));
    ck_assert_int_eq(p.delayed, 1);
    ck_assert_int_eq(p.messages, 1);
    REFUSED(xonce_test_wait(endpoint, "soon", "GID_test", NULL, 10), XONCE_E_TIMEOUT, "1 messages wait");
    OK(xonce_on(consumer, "soon", "*", keep, NULL));
    OK(xonce_on_ordered(consumer, "lanes", "*", keep, NULL));
    OK(xonce_consumer_start(consumer));
    OK(xonce_test_wait(endpoint, "soon", "GID_test", NULL, WAIT_MS));
    OK(xonce_test_wait(endpoint, "lanes", "GID_test", NULL, WAIT_MS));
    ck_assert_int_eq(number("SELECT count(*) FROM seen"), 2);
    end();
}
END_TEST

START_TEST(a_sharding_key_keeps_the_order)
{
    const xonce_test_faults faults = {.size = sizeof faults, .reorder = 1, .duplicate = 0.5};
    begin(NULL);
    OK(xonce_test_set_faults(endpoint, &faults));
    for (int i = 0; i < 60; i++) {
        char body[16];
        (void)snprintf(body, sizeof body, "%c-%d", "abc"[i % 3], i);
        OK(send_with("lanes", "__SHARDINGKEY", i % 3 == 0 ? "a" : i % 3 == 1 ? "b" : "c", body));
    }
    OK(xonce_on_ordered(consumer, "lanes", "*", keep, NULL));
    OK(xonce_consumer_start(consumer));
    OK(xonce_test_wait(endpoint, "lanes", "GID_test", NULL, WAIT_MS));
    ck_assert_int_eq(number("SELECT count(*) FROM seen"), 60);
    ck_assert_int_eq(number("SELECT count(*) FROM seen x JOIN seen y ON substr(x.body, 1, 1) = substr(y.body, 1, 1) AND x.rowid < y.rowid "
                            "AND CAST(substr(x.body, 3) AS INTEGER) > CAST(substr(y.body, 3) AS INTEGER)"), 0);
    end();
}
END_TEST

START_TEST(credentials_are_checked_when_given)
{
    const xonce_test_options o = {.size = sizeof o, .access_key_id = "me", .access_key_secret = "my-secret"};
    xonce_config *other;
    xonce_producer *p;
    xonce_message *m;
    begin(&o);
    OK(xonce_on(consumer, "mine", "*", keep, NULL));
    OK(xonce_consumer_start(consumer));
    OK(xonce_config_new(&other));
    OK(xonce_config_set(other, "credentials.access-key-id", "me"));
    OK(xonce_config_set(other, "credentials.access-key-secret", "not-mine"));
    OK(xonce_message_new(&m, "mine", NULL, "x", 1));
    OK(xonce_producer_open(&p, xonce_test_uri(endpoint), other));
    ck_assert_int_eq(xonce_producer_send(p, m, NULL), XONCE_E_AUTH);
    xonce_producer_close(p);
    OK(xonce_producer_open(&p, xonce_test_uri(endpoint), config));
    OK(xonce_producer_send(p, m, NULL));
    xonce_producer_close(p);
    xonce_message_free(m);
    xonce_config_free(other);
    OK(xonce_test_wait(endpoint, "mine", "GID_test", NULL, WAIT_MS));
    end();
}
END_TEST

static void *sender(void *arg)
{
    const char *topic = arg;
    send_some(topic, NULL, 100);
    ck_assert_int_eq(xonce_test_wait(endpoint, topic, "GID_nobody", NULL, 1), XONCE_E_TIMEOUT); /* errors are of each thread */
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, topic));
    OK(xonce_test_wait(endpoint, topic, "GID_test", NULL, WAIT_MS));
    return NULL;
}

START_TEST(any_thread_may_call)
{
    static char topics[4][8] = {"alpha", "beta", "gamma", "delta"};
    pthread_t threads[4];
    const xonce_test_faults faults = {.size = sizeof faults, .duplicate = 0.5, .cut = 0.05};
    begin(NULL);
    for (int i = 0; i < 4; i++)
        OK(xonce_on(consumer, topics[i], "*", keep, NULL));
    OK(xonce_consumer_start(consumer));
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, sender, topics[i]), 0);
    for (int i = 0; i < 20; i++)
        OK(xonce_test_set_faults(endpoint, i % 2 ? &faults : NULL));
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(number("SELECT count(DISTINCT body) FROM seen"), 400);
    ck_assert_int_eq(number("SELECT count(*) FROM seen"), 400);
    end();
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    xonce_test *t = (xonce_test *)&t;
    xonce_test_options o = {.size = 1};
    xonce_test_faults f = {.size = sizeof f, .duplicate = 1.5};
    xonce_test_counts counts = {.size = 0};
    REFUSED(xonce_test_start(&t, &o), XONCE_E_INVALID, "sizeof(xonce_test_options)");
    ck_assert_ptr_null(t);
    o = (xonce_test_options){.size = sizeof o, .redeliver_ms = 1};
    REFUSED(xonce_test_start(&t, &o), XONCE_E_INVALID, "redeliver_ms is 1");
    o = (xonce_test_options){.size = sizeof o, .access_key_id = "a"};
    REFUSED(xonce_test_start(&t, &o), XONCE_E_INVALID, "go together");
    o = (xonce_test_options){.size = sizeof o, .listen = "nowhere"};
    REFUSED(xonce_test_start(&t, &o), XONCE_E_INVALID, "nowhere");
    o = (xonce_test_options){.size = sizeof o, .instance = "a/b"};
    REFUSED(xonce_test_start(&t, &o), XONCE_E_INVALID, "instance");
    xonce_test_stop(NULL);
    OK(xonce_test_start(&t, NULL));
    REFUSED(xonce_test_set_faults(t, &f), XONCE_E_INVALID, "from 0 to 1");
    f = (xonce_test_faults){.size = sizeof f, .error_status = 200};
    REFUSED(xonce_test_set_faults(t, &f), XONCE_E_INVALID, "error_status is 200");
    f = (xonce_test_faults){.size = 3};
    REFUSED(xonce_test_set_faults(t, &f), XONCE_E_INVALID, "sizeof(xonce_test_faults)");
    f = (xonce_test_faults){.size = sizeof f, .delay_ack_ms = -1};
    REFUSED(xonce_test_set_faults(t, &f), XONCE_E_INVALID, "delay_ack_ms is -1");
    REFUSED(xonce_test_count(t, &counts), XONCE_E_INVALID, "sizeof(xonce_test_counts)");
    xonce_test_stop(t);
}
END_TEST

START_TEST(the_folder_goes_with_the_endpoint)
{
    char tmp[] = "/tmp/xonce-testing-tmp-XXXXXX";
    xonce_test *t, *second;
    ck_assert_ptr_nonnull(mkdtemp(tmp));
    ck_assert_int_eq(setenv("TMPDIR", tmp, 1), 0);
    OK(xonce_test_start(&t, NULL));
    OK(xonce_test_start(&second, NULL));
    ck_assert_str_ne(xonce_test_uri(t), xonce_test_uri(second));
    OK(xonce_test_send_text(t, "one", NULL, "x", NULL));
    ck_assert_int_ne(rmdir(tmp), 0);
    xonce_test_stop(t);
    xonce_test_stop(second);
    ck_assert_int_eq(rmdir(tmp), 0);
    REFUSED(xonce_test_start(&t, NULL), XONCE_E_INVALID, "cannot make a folder");
    unsetenv("TMPDIR");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("testing");
    TCase *c = tcase_create("testing");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, faults_do_not_show_in_the_table);
    tcase_add_test(c, what_is_in_flight_is_seen_and_expires_on_order);
    tcase_add_test(c, waiting_tells_what_is_missing);
    tcase_add_test(c, kinds_and_delays);
    tcase_add_test(c, a_sharding_key_keeps_the_order);
    tcase_add_test(c, credentials_are_checked_when_given);
    tcase_add_test(c, any_thread_may_call);
    tcase_add_test(c, wrong_arguments_are_refused);
    tcase_add_test(c, the_folder_goes_with_the_endpoint);
    suite_add_tcase(s, c);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
