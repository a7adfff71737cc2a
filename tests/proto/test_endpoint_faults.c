/* The endpoint when things go wrong: faults on order, restarts, kill -9 under load, a database that takes no more. */
#include "base/clock.h"
#include "base/mem.h"
#include "endpoint/request.h"
#include "endpoint/storage_db.h"
#include "proto/receipt.h"
#include "tests/proto/endpoint_rig.h"
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static rig R;

static void setup(void)
{
    rig_init(&R);
}

static void teardown(void)
{
    rig_end(&R);
}

static void take(taken *t, int max, int wait_s)
{
    rig_take(&R, &R.w, t, "t", "G", max, wait_s, NULL);
}

static int ack(const taken *t)
{
    return rig_ack(&R.w, t, "t", "G", NULL);
}

START_TEST(duplicates)
{
    taken a, b, c;
    R.o.faults.duplicate = 1;
    rig_start(&R);
    rig_sent(&R.w, "t", "x", NULL, NULL);
    take(&a, 16, 0);
    take(&b, 16, 0);
    take(&c, 16, 0);
    ck_assert(a.n == 1 && b.n == 1 && c.n == 0);
    ck_assert_str_eq(a.id[0], b.id[0]);
    ck_assert_str_ne(a.handle[0], b.handle[0]);
    ck_assert_int_eq(b.times[0], 2);
    ck_assert_int_eq(ack(&a), 204);
    ck_assert_int_eq(ack(&b), 204);
    ck_assert_int_eq(ack(&b), 404);
    taken_free(&a);
    taken_free(&b);
    rig_sent(&R.w, "t", "y", NULL, NULL);
    take(&a, 16, 0);
    ck_assert_int_eq(ack(&a), 204);
    take(&b, 16, 0); /* no longer in flight */
    ck_assert_int_eq(b.n, 0);
    taken_free(&a);
}
END_TEST

START_TEST(lost_acknowledges)
{
    taken t;
    R.o.faults.lose_ack = 1;
    rig_start(&R);
    rig_sent(&R.w, "t", "x", NULL, NULL);
    for (int i = 1; i <= 2; i++) {
        take(&t, 16, 5);
        ck_assert_int_eq(t.n, 1);
        ck_assert_int_eq(t.times[0], i);
        ck_assert_int_eq(ack(&t), 204);
        taken_free(&t);
    }
}
END_TEST

START_TEST(late_acknowledges)
{
    taken t;
    R.o.faults.delay_ack_ms = 300;
    R.o.redeliver_ms = 3000;
    rig_start(&R);
    rig_sent(&R.w, "t", "x", NULL, NULL);
    take(&t, 16, 0);
    int64_t begun = xo_mono_ms();
    ck_assert_int_eq(ack(&t), 204);
    ck_assert_int_ge(xo_mono_ms() - begun, 300);
    ck_assert_int_eq(ack(&t), 404);
    taken_free(&t);
}
END_TEST

START_TEST(errors_have_no_effect)
{
    R.o.faults.error = 1;
    R.o.faults.error_status = 503;
    rig_start(&R);
    ck_assert_int_eq(wire_send(&R.w, "t", "x", NULL, NULL), 503);
    rig_refused(&R.w, 503, "InternalError");
    rig_stop(&R);
    R.o.faults.error = 0;
    rig_start(&R);
    taken t;
    take(&t, 16, 0);
    ck_assert_int_eq(t.n, 0);
}
END_TEST

START_TEST(cut_answers)
{
    taken t;
    R.o.faults.cut = 1;
    rig_start(&R);
    ck_assert_int_eq(wire_send(&R.w, "t", "x", NULL, NULL), 0);
    ck_assert_uint_gt(R.w.head.len, 0); /* the answer had begun */
    rig_stop(&R);
    R.o.faults.cut = 0;
    rig_start(&R);
    take(&t, 16, 0);
    ck_assert_int_eq(t.n, 1);
    taken_free(&t);
}
END_TEST

START_TEST(out_of_order)
{
    int moved = 0, sum = 0;
    R.o.faults.reorder = 1;
    rig_start(&R);
    for (int i = 0; i < 100; i++) {
        char body[16];
        (void)snprintf(body, sizeof body, "%d", i);
        rig_sent(&R.w, "t", body, NULL, NULL);
    }
    taken t;
    for (int i = 0; i < 100; taken_free(&t)) {
        take(&t, 16, 1);
        ck_assert_int_gt(t.n, 0);
        for (int k = 0; k < t.n; k++, i++) {
            int v = (int)strtol(t.body[k], NULL, 10);
            moved += v != i;
            sum += v;
        }
        ck_assert_int_eq(ack(&t), 204);
    }
    ck_assert_int_eq(sum, 4950);
    ck_assert_int_gt(moved, 20);
}
END_TEST

START_TEST(a_skewed_clock)
{
    taken t;
    R.o.faults.clock_skew_ms = -20 * 60000;
    rig_start(&R);
    rig_sent(&R.w, "t", "x", NULL, NULL);
    int64_t now;
    char date[30];
    memcpy(date, strstr(R.w.head.p, "\r\nDate: ") + 8, 29);
    date[29] = 0;
    ck_assert_int_eq(xo_parse_http_date(date, &now), XONCE_OK);
    ck_assert_int_lt(llabs(now - (xo_now_ms() - 20 * 60000)), 60000);
    take(&t, 16, 0);
    ck_assert_int_lt(llabs(t.first[0] - (xo_now_ms() - 20 * 60000)), 60000);
    taken_free(&t);
    take(&t, 16, 5); /* times within run as ever */
    ck_assert_int_eq(t.n, 1);
    taken_free(&t);
}
END_TEST

/* ---- restarts ---- */

START_TEST(everything_survives_a_restart)
{
    char properties[64], *half;
    taken t, u;
    rig_start(&R);
    for (int i = 0; i < 5; i++)
        rig_sent(&R.w, "t", (char[]){(char)('a' + i), 0}, "T", NULL);
    take(&t, 3, 0);
    ck_assert_int_eq(wire_ack(&R.w, "t", "G", t.handle + 1, 1, NULL), 204); /* b */
    (void)snprintf(properties, sizeof properties, "__STARTDELIVERTIME:%lld", (long long)xo_now_ms() + 1500);
    rig_sent(&R.w, "t", "timed", "T", properties);
    rig_sent(&R.w, "t", "half", "T", "__TransCheckT:10");
    half = wire_element(&R.w, "ReceiptHandle", 0);
    rig_stop(&R);
    rig_start(&R);
    ck_assert_int_eq(rig_ack(&R.w, &t, "t", "G", NULL), 404); /* old handles are stale, not unknown */
    char *code = wire_element(&R.w, "ErrorCode", 0);
    ck_assert_str_eq(code, "MessageNotExist");
    ck_assert_int_eq(wire_ack(&R.w, "t", "G", &half, 1, "&trans=commit"), 404);
    take(&u, 16, 0);
    ck_assert_int_eq(u.n, 4);
    for (int i = 0; i < 4; i++) {
        int again = strcmp(u.body[i], "a") == 0 || strcmp(u.body[i], "c") == 0;
        ck_assert_str_ne(u.body[i], "b");
        ck_assert_int_eq(u.times[i], again ? 2 : 1);
        if (again)
            ck_assert(u.first[i] == t.first[0] || u.first[i] == t.first[2]);
    }
    ck_assert_int_eq(ack(&u), 204);
    taken_free(&u);
    take(&u, 16, 5);
    ck_assert(u.n == 1 && strcmp(u.body[0], "timed") == 0);
    ck_assert_int_eq(ack(&u), 204);
    taken_free(&u);
    rig_stop(&R);
    rig_start(&R);
    take(&u, 16, 0);
    ck_assert_int_eq(u.n, 0);
    rig_take(&R, &R.w, &u, "t", "H", 16, 0, "&tag=T"); /* a new group */
    ck_assert_int_eq(u.n, 6);
    taken_free(&u);
    taken_free(&t);
    free(code);
    free(half);
}
END_TEST

START_TEST(earlier_topics_exist)
{
    rig_start(&R);
    rig_sent(&R.w, "sent", "x", NULL, NULL);
    ck_assert_int_eq(wire_consume(&R.w, "polled", "G", 1, 0, NULL), 404);
    rig_stop(&R);
    R.o.strict = 1;
    rig_start(&R);
    rig_sent(&R.w, "sent", "x", NULL, NULL);
    ck_assert_int_eq(wire_consume(&R.w, "polled", "G", 1, 0, NULL), 404);
    rig_refused(&R.w, 404, "MessageNotExist");
    ck_assert_int_eq(wire_send(&R.w, "other", "x", NULL, NULL), 404);
    rig_refused(&R.w, 404, "TopicNotExist");
}
END_TEST

static void change(const char *sql)
{
    char *file = xo_printf("%s/queues.db", R.dir);
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(file, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    free(file);
}

START_TEST(given_up_after_288_times)
{
    taken t;
    rig_start(&R);
    rig_sent(&R.w, "t", "x", NULL, NULL);
    take(&t, 1, 0);
    taken_free(&t);
    rig_stop(&R);
    change("UPDATE progress SET times = 286");
    rig_start(&R);
    for (int i = 287; i <= 288; i++) {
        take(&t, 1, 5);
        ck_assert_int_eq(t.n, 1);
        ck_assert_int_eq(t.times[0], i);
        taken_free(&t);
    }
    take(&t, 1, 3);
    ck_assert_int_eq(t.n, 0);
    rig_take(&R, &R.w, &t, "t", "H", 1, 0, NULL);
    ck_assert_int_eq(t.n, 1);
    taken_free(&t);
}
END_TEST

START_TEST(old_messages_go)
{
    taken t = {0};
    char group[16];
    rig_start(&R);
    for (int i = 0; i < 9; i++)
        rig_sent(&R.w, "t", "old", NULL, NULL);
    take(&t, 2, 0);
    ck_assert_int_eq(ack(&t), 204);
    rig_stop(&R);
    R.o.faults.clock_skew_ms = INT64_C(4) * 24 * 3600 * 1000;
    rig_start(&R);
    int64_t until = xo_mono_ms() + 60000;
    int i = 0;
    do { /* each group sees all there is */
        taken_free(&t);
        (void)snprintf(group, sizeof group, "G%d", i++);
        rig_take(&R, &R.w, &t, "t", group, 16, 0, NULL);
    } while (t.n && xo_mono_ms() < until);
    ck_assert_int_eq(t.n, 0);
    for (int again = 0; again < 2; again++) { /* positions and offsets go on */
        rig_sent(&R.w, "t", "new", NULL, NULL);
        take(&t, 16, 0);
        ck_assert(t.n == 1 && strcmp(t.body[0], "new") == 0);
        xo_receipt r;
        ck_assert_int_eq(xo_receipt_read(&r, t.handle[0]), 1);
        ck_assert_int_eq(r.queue, 1 + again);
        ck_assert_int_eq(r.offset, 1);
        ck_assert_int_eq(ack(&t), 204);
        taken_free(&t);
        rig_stop(&R);
        rig_start(&R);
    }
}
END_TEST

/* ---- kill -9 ---- */

enum { ROUNDS = 6, SENDERS = 4, SENT_MAX = 40000 };

/* The endpoint in a process of its own; its port, and its id in *pid. */
static int start_process(pid_t *pid)
{
    int fds[2], port = 0;
    ck_assert_int_eq(pipe(fds), 0);
    *pid = fork();
    ck_assert_int_ge(*pid, 0);
    if (*pid == 0) {
        xo_endpoint *ep;
        if (xo_endpoint_start(&ep, &R.o) == XONCE_OK)
            port = (int)strtol(strrchr(xo_endpoint_url(ep), ':') + 1, NULL, 10);
        if (write(fds[1], &port, sizeof port) != sizeof port)
            _exit(1);
        for (;;)
            pause();
    }
    close(fds[1]);
    ck_assert_int_eq(read(fds[0], &port, sizeof port), sizeof port);
    close(fds[0]);
    ck_assert_int_gt(port, 0);
    return port;
}

typedef struct {
    int port, from, accepted; /* bodies from + 0 .. from + accepted - 1 were answered 201 */
} sender;

static void *send_until_it_dies(void *arg)
{
    sender *s = arg;
    wire w = {.port = s->port};
    char body[32];
    for (;;) {
        (void)snprintf(body, sizeof body, "%d", s->from + s->accepted);
        if (s->accepted == SENT_MAX / SENDERS || wire_send(&w, "t", body, NULL, NULL) != 201)
            break;
        s->accepted++;
    }
    wire_free(&w);
    return NULL;
}

typedef struct {
    int port;
    unsigned char *acked, *came; /* by body: answered 204; handed out, perhaps acknowledged without our hearing of it */
} receiver;

static void *receive_until_it_dies(void *arg)
{
    receiver *r = arg;
    wire w = {.port = r->port};
    while (wire_consume(&w, "t", "G", 16, 1, NULL) != 0) {
        char *handles[16], *body;
        int n = w.status == 200 ? wire_count(&w, "Message") : 0, numbers[16];
        for (int i = 0; i < n; i++) {
            handles[i] = wire_element(&w, "ReceiptHandle", i);
            numbers[i] = (int)strtol(body = wire_element(&w, "MessageBody", i), NULL, 10);
            r->came[numbers[i]] = 1;
            free(body);
        }
        int status = n ? wire_ack(&w, "t", "G", handles, n, NULL) : 204;
        for (int i = 0; i < n; i++) {
            if (status == 204)
                r->acked[numbers[i]]++;
            free(handles[i]);
        }
    }
    wire_free(&w);
    return NULL;
}

/* Drains the queue and marks what came; 1 when something came that was acknowledged before. */
static int drain(unsigned char *acked, unsigned char *came)
{
    int again = 0;
    taken t;
    for (;; taken_free(&t)) {
        take(&t, 16, 3); /* longer than what is still out for the receiver that died */
        if (t.n == 0)
            return again;
        for (int i = 0; i < t.n; i++) {
            long n = strtol(t.body[i], NULL, 10);
            again |= acked[n];
            came[n] = 1;
        }
        ck_assert_int_eq(ack(&t), 204);
    }
}

START_TEST(kill_nine_loses_nothing_accepted)
{
    unsigned char *acked = xo_calloc(1, (size_t)ROUNDS * SENT_MAX), *came = xo_calloc(1, (size_t)ROUNDS * SENT_MAX);
    sender s[ROUNDS][SENDERS];
    ck_assert(acked && came);
    for (int round = 0; round < ROUNDS; round++) {
        pid_t pid;
        pthread_t threads[SENDERS + 1];
        int port = start_process(&pid);
        receiver r = {port, acked, came};
        for (int i = 0; i < SENDERS; i++) {
            s[round][i] = (sender){port, round * SENT_MAX + i * (SENT_MAX / SENDERS), 0};
            ck_assert_int_eq(pthread_create(&threads[i], NULL, send_until_it_dies, &s[round][i]), 0);
        }
        ck_assert_int_eq(pthread_create(&threads[SENDERS], NULL, receive_until_it_dies, &r), 0);
        xo_pause_ms(100 + (int64_t)(xo_random() % 300));
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        for (int i = 0; i <= SENDERS; i++)
            pthread_join(threads[i], NULL);
    }
    rig_start(&R);
    ck_assert_msg(!drain(acked, came), "an acknowledged message came again");
    int total = 0;
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < SENDERS; i++)
            for (int k = s[round][i].from; k < s[round][i].from + s[round][i].accepted; k++, total++)
                ck_assert_msg(came[k], "message %d was accepted and is lost", k);
    ck_assert_int_gt(total, ROUNDS * SENDERS);
    free(acked);
    free(came);
}
END_TEST

static void *send_on(void *arg)
{
    sender *s = arg;
    wire w = {.port = s->port};
    char body[32];
    for (int misses = 0; misses < 3;) {
        (void)snprintf(body, sizeof body, "%d", s->from + s->accepted);
        if (wire_send(&w, "t", body, NULL, NULL) == 201)
            s->accepted++;
        else
            misses++;
    }
    wire_free(&w);
    return NULL;
}

START_TEST(stops_under_load)
{
    pthread_t threads[SENDERS];
    sender s[SENDERS];
    int accepted = 0, kept = 0;
    rig_start(&R);
    for (int i = 0; i < SENDERS; i++) {
        s[i] = (sender){R.port, i * SENT_MAX, 0};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, send_on, &s[i]), 0);
    }
    rig_requests(&R, 200);
    int64_t begun = xo_mono_ms();
    rig_stop(&R);
    ck_assert_int_lt(xo_mono_ms() - begun, 30000);
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        accepted += s[i].accepted;
    }
    rig_start(&R);
    for (taken t;; taken_free(&t)) {
        take(&t, 16, 0);
        if (!t.n)
            break;
        kept += t.n;
        ck_assert_int_eq(ack(&t), 204);
    }
    ck_assert_int_gt(accepted, 0);
    ck_assert_int_eq(kept, accepted); /* what was turned away had no effect */
}
END_TEST

/* ---- a database that takes no more ---- */

static void limit_pages(const char *sql)
{
    xo_engine *e = R.ep->engine;
    xo_engine_lock(e);
    while (e->ops || e->writing)
        pthread_cond_wait(&e->written, &e->lock);
    ck_assert_int_eq(sqlite3_exec(e->storage->db, sql, NULL, NULL, NULL), SQLITE_OK);
    xo_engine_unlock(e);
}

START_TEST(a_full_disk)
{
    char big[20000];
    taken t;
    int accepted = 0;
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    R.o.redeliver_ms = 2500;
    rig_start(&R);
    rig_sent(&R.w, "t", "first", NULL, NULL);
    take(&t, 1, 0);
    limit_pages("PRAGMA max_page_count=1"); /* as many as there are */
    int status;
    while ((status = wire_send(&R.w, "t", big, NULL, NULL)) == 201) /* free pages are used up first */
        ck_assert_int_lt(++accepted, 100);
    rig_refused(&R.w, 500, "InternalError");
    ck_assert_int_eq(wire_send(&R.w, "new", big, NULL, NULL), 500);
    limit_pages("PRAGMA max_page_count=100000");
    ck_assert_int_eq(ack(&t), 204);
    taken_free(&t);
    rig_sent(&R.w, "t", "second", NULL, NULL);
    rig_sent(&R.w, "new", "third", NULL, NULL);
    for (int again = 0; again < 2; again++) {
        rig_take(&R, &R.w, &t, "t", again ? "H" : "G", 16, 0, NULL);
        ck_assert_int_eq(t.n, accepted + 1 + again);
        ck_assert_str_eq(t.body[t.n - 1], "second");
        ck_assert_int_eq(rig_ack(&R.w, &t, "t", again ? "H" : "G", NULL), 204);
        taken_free(&t);
        rig_stop(&R);
        rig_start(&R);
    }
    rig_take(&R, &R.w, &t, "new", "G", 16, 0, NULL);
    ck_assert_int_eq(t.n, 1);
    taken_free(&t);
}
END_TEST

START_TEST(options)
{
    double p = -1;
    int status = 0;
    ck_assert_int_eq(xo_parse_percent("--x", "12.5%", &p), XONCE_OK);
    ck_assert(p > 0.1249 && p < 0.1251);
    static const char *const bad[] = {"", "%", "5", "-1%", "101%", "5%%", "x%", "1e1%", "nan%", "5 %"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(xo_parse_percent("--x", bad[i], &p) == XONCE_E_INVALID, "%s", bad[i]);
    ck_assert_int_eq(xo_parse_error_fault("503:5%", &status, &p), XONCE_OK);
    ck_assert_int_eq(status, 503);
    static const char *const worse[] = {"", "503", "503:", "503:5", "200:5%", "600:5%", "5035:5%", ":5%", "x:5%"};
    for (size_t i = 0; i < sizeof worse / sizeof worse[0]; i++)
        ck_assert_msg(xo_parse_error_fault(worse[i], &status, &p) == XONCE_E_INVALID, "%s", worse[i]);
    int hits = 0;
    for (int i = 0; i < 10000; i++)
        hits += xo_dice(0.1);
    ck_assert(hits > 700 && hits < 1300);
    rig_start(&R);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("endpoint");
    TCase *c = tcase_create("faults");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, options);
    tcase_add_test(c, duplicates);
    tcase_add_test(c, lost_acknowledges);
    tcase_add_test(c, late_acknowledges);
    tcase_add_test(c, errors_have_no_effect);
    tcase_add_test(c, cut_answers);
    tcase_add_test(c, out_of_order);
    tcase_add_test(c, a_skewed_clock);
    tcase_add_test(c, everything_survives_a_restart);
    tcase_add_test(c, earlier_topics_exist);
    tcase_add_test(c, given_up_after_288_times);
    tcase_add_test(c, old_messages_go);
    tcase_add_test(c, stops_under_load);
    tcase_add_test(c, kill_nine_loses_nothing_accepted);
    tcase_add_test(c, a_full_disk);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
