/* The endpoint's page for browsers: what it answers and to whom, its figures, messages to look into; that it changes nothing and faults spare it. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/page.h"
#include "base/text.h"
#include "tests/proto/endpoint_rig.h"
#include <check.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define STATE "/xonce/status.json"

static rig R;
static xo_credentials C = {(char[]){"id"}, (char[]){"secret"}, NULL};

static void setup(void)
{
    rig_init(&R);
    rig_start(&R);
}

static void teardown(void)
{
    rig_end(&R);
}

static void again(void) /* with other options */
{
    rig_stop(&R);
    rig_start(&R);
}

static json_t *parse(const wire *w)
{
    json_error_t e;
    json_t *o = json_loadb(w->body.p, w->body.len, 0, &e);
    ck_assert_msg(o != NULL, "%s: %s", e.text, w->body.p);
    return o;
}

static json_t *ask(wire *w, const char *target)
{
    w->port = R.port;
    ck_assert_msg(wire_call(w, "GET", target, NULL) == 200, "%s: %d %s", target, w->status, w->body.p ? w->body.p : "");
    return parse(w);
}

/* A number by its path of names: "counts.accepted". */
static long long figure(json_t *o, const char *path)
{
    char name[32];
    for (const char *p = path; o && *p;) {
        size_t n = strcspn(p, ".");
        ck_assert_uint_lt(n, sizeof name);
        memcpy(name, p, n);
        name[n] = 0;
        o = json_object_get(o, name);
        p += n + (p[n] == '.');
    }
    ck_assert_msg(json_is_integer(o), "%s is no number", path);
    return (long long)json_integer_value(o);
}

static json_t *only(json_t *o, const char *list)
{
    json_t *l = json_object_get(o, list);
    ck_assert_uint_eq(json_array_size(l), 1);
    return json_array_get(l, 0);
}

static const char *text(json_t *o, const char *name)
{
    const char *t = json_string_value(json_object_get(o, name));
    ck_assert_msg(t != NULL, "no %s", name);
    return t;
}

static void has_digest(const char *open, const char *close)
{
    unsigned char sha[32];
    const char *from = strstr(R.w.body.p, open), *to = from ? strstr(from, close) : NULL;
    ck_assert(to && !strstr(to, open));
    from += strlen(open);
    ck_assert_int_eq(xo_sha256(from, (size_t)(to - from), sha), 0);
    char *digest = xo_base64(sha, 32);
    ck_assert_msg(strstr(R.w.head.p, digest) != NULL, "%s: %s is not in %s", open, digest, R.w.head.p);
    free(digest);
}

START_TEST(the_page)
{
    static const char *const headers[] = {"Content-Type: text/html; charset=utf-8", "default-src 'none'", "X-Content-Type-Options: nosniff",
                                          "Referrer-Policy: no-referrer", "Cache-Control: no-store", "Cross-Origin-Resource-Policy: same-origin",
                                          "frame-ancestors 'none'"};
    static const char *const never[] = {"innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "https://",
                                        " src=",     " style=",   " onclick=",      "@import",        "url("};
    ck_assert_int_eq(wire_call(&R.w, "GET", "/xonce/", NULL), 200);
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        ck_assert_msg(strstr(R.w.head.p, headers[i]) != NULL, "no %s in %s", headers[i], R.w.head.p);
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        ck_assert_msg(!strstr(R.w.body.p, never[i]), "%s", never[i]);
    ck_assert_ptr_null(strstr(R.w.head.p, "unsafe"));
    has_digest("<style>", "</style>");
    has_digest("<script>", "</script>");
    ck_assert_ptr_nonnull(strstr(R.w.body.p, "lang=\"en\""));
    char *url = xo_printf("%s/xonce/", xo_endpoint_url(R.ep));
    ck_assert_str_eq(xo_endpoint_page(R.ep), url);
    free(url);
    ck_assert_ptr_null(xo_page_policy("<style>no script</style>"));
    ck_assert_ptr_null(xo_page_policy(""));
}
END_TEST

START_TEST(it_only_reads)
{
    static const char *const methods[] = {"POST", "PUT", "DELETE", "PATCH", "OPTIONS"};
    rig_sent(&R.w, "t", "x", NULL, NULL);
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        ck_assert_int_eq(wire_call(&R.w, methods[i], STATE, i < 2 ? "a body" : NULL), 405);
        ck_assert_ptr_nonnull(strstr(R.w.head.p, "Allow: GET, HEAD"));
    }
    ck_assert_int_eq(wire_call(&R.w, "GET", "/xonce", NULL), 301);
    ck_assert_ptr_nonnull(strstr(R.w.head.p, "Location: /xonce/"));
    ck_assert_int_eq(wire_call(&R.w, "GET", "/xonce/nothing", NULL), 404);
    ck_assert_int_eq(wire_call(&R.w, "GET", "/xonce/status.json/x", NULL), 404);
    ck_assert_int_eq(wire_call(&R.w, "GET", "/xonce/../etc", NULL), 404);
    ck_assert_int_eq(wire_call(&R.w, "GET", "/xoncer/", NULL), 400);
    rig_refused(&R.w, 400, "InvalidRequestURL");
    ck_assert_int_eq(wire_call(&R.w, "GET", "/xonce/messages.json", NULL), 400);
    ck_assert_int_eq(wire_call(&R.w, "GET", "/xonce/messages.json?topic=t&before=-1", NULL), 400);
    ck_assert_int_eq(wire_call(&R.w, "GET", "/xonce/messages.json?topic=none", NULL), 404);
    json_t *o = ask(&R.w, STATE);
    ck_assert_uint_eq(json_array_size(json_object_get(o, "topics")), 1); /* asking made none */
    ck_assert_int_eq(figure(o, "counts.requests"), 2);                   /* a page's requests are not counted */
    json_decref(o);
    wire_close(&R.w);
    ck_assert_int_eq(wire_open(&R.w, R.port), 0);
    static const char head[] = "HEAD /xonce/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    ck_assert_int_eq(wire_write(&R.w, head, sizeof head - 1), 0);
    (void)wire_read(&R.w, 5000); /* without the body that its length tells */
    ck_assert(R.w.head.p && strncmp(R.w.head.p, "HTTP/1.1 200 OK\r\n", 17) == 0);
    ck_assert_uint_eq(R.w.in.len, 0);
    wire_close(&R.w);
}
END_TEST

START_TEST(figures)
{
    taken t;
    rig_sent(&R.w, "t", "one", "A", NULL);
    rig_sent(&R.w, "t", "two", NULL, NULL);
    rig_sent(&R.w, "t", "three", NULL, NULL);
    char *tomorrow = xo_printf("__STARTDELIVERTIME:%lld|", (long long)xo_now_ms() + 86400000);
    rig_sent(&R.w, "later", "x", NULL, tomorrow);
    free(tomorrow);
    rig_take(&R, &R.w, &t, "t", "G", 1, 0, "");
    ck_assert_int_eq(rig_ack(&R.w, &t, "t", "G", ""), 204);
    taken_free(&t);
    rig_take(&R, &R.w, &t, "t", "G", 1, 0, "");
    json_t *o = ask(&R.w, STATE), *topic = json_array_get(json_object_get(o, "topics"), 0), *group = only(topic, "groups"), *out = only(o, "in_flight");
    ck_assert_int_eq(figure(o, "counts.accepted"), 4);
    ck_assert_int_eq(figure(json_array_get(json_object_get(o, "topics"), 1), "timed"), 1);
    ck_assert_int_eq(figure(o, "counts.handed_out"), 2);
    ck_assert_int_eq(figure(o, "counts.acknowledged"), 1);
    ck_assert_int_eq(figure(topic, "stored"), 3);
    ck_assert_int_eq(figure(group, "lag"), 2);
    ck_assert_int_eq(figure(group, "in_flight"), 1);
    long long all = 0, ends = 0;
    for (size_t i = 0; i < 8; i++) {
        all += json_integer_value(json_array_get(json_object_get(group, "queues"), i));
        ends += json_integer_value(json_array_get(json_object_get(topic, "offsets"), i));
    }
    ck_assert_int_eq(all, 2);
    ck_assert_int_eq(ends, 3);
    ck_assert_str_eq(text(out, "id"), t.id[0]);
    ck_assert_str_eq(text(out, "group"), "G");
    ck_assert_int_eq(figure(out, "times"), 1);
    ck_assert_int_ge(figure(out, "again"), figure(out, "first"));
    json_decref(o);
    taken_free(&t);
    for (int64_t until = xo_mono_ms() + 30000;; xo_pause_ms(20)) { /* it comes back */
        o = ask(&R.w, STATE);
        group = only(json_array_get(json_object_get(o, "topics"), 0), "groups");
        long long still = figure(group, "in_flight");
        ck_assert_int_eq(figure(group, "lag"), 2);
        ck_assert(still > 0 || json_array_size(json_object_get(o, "in_flight")) == 0);
        json_decref(o);
        if (still == 0)
            break;
        ck_assert(xo_mono_ms() < until);
    }
    again(); /* and after a restart the same is told */
    rig_take(&R, &R.w, &t, "t", "G", 16, 0, "");
    ck_assert_int_eq(t.n, 2);
    o = ask(&R.w, STATE);
    group = only(json_array_get(json_object_get(o, "topics"), 0), "groups");
    ck_assert_int_eq(figure(group, "in_flight"), 2);
    ck_assert_int_eq(figure(group, "lag"), 2);
    json_decref(o);
    ck_assert_int_eq(rig_ack(&R.w, &t, "t", "G", ""), 204);
    taken_free(&t);
    o = ask(&R.w, STATE);
    group = only(json_array_get(json_object_get(o, "topics"), 0), "groups");
    ck_assert_int_eq(figure(group, "in_flight"), 0);
    ck_assert_int_eq(figure(group, "lag"), 0);
    json_decref(o);
}
END_TEST

/* Of one series, all steps together; *steps is how many there are. */
static long long sum_of(json_t *o, const char *name, size_t *steps)
{
    long long sum = 0;
    json_t *list = json_object_get(json_object_get(o, "series"), name);
    ck_assert_msg(json_is_array(list), "no series %s", name);
    *steps = json_array_size(list);
    for (size_t i = 0; i < *steps; i++)
        sum += json_integer_value(json_array_get(list, i));
    return sum;
}

/* Nobody looks while it happens: who opens the page later sees it nevertheless. */
START_TEST(the_last_minutes)
{
    taken t;
    size_t steps, others;
    rig_sent(&R.w, "t", "one", NULL, NULL);
    rig_sent(&R.w, "t", "two", NULL, NULL);
    rig_take(&R, &R.w, &t, "t", "G", 1, 0, "");
    ck_assert_int_eq(rig_ack(&R.w, &t, "t", "G", ""), 204);
    taken_free(&t);
    for (int64_t until = xo_mono_ms() + 30000;; xo_pause_ms(100)) {
        json_t *o = ask(&R.w, STATE);
        long long accepted = sum_of(o, "accepted", &steps);
        if (steps) {
            ck_assert_int_eq(accepted, 2);
            ck_assert_int_eq(sum_of(o, "handed_out", &others), 1);
            ck_assert_uint_eq(others, steps);
            ck_assert_int_eq(sum_of(o, "acknowledged", &others), 1);
            ck_assert_int_eq(sum_of(o, "again", &others) + sum_of(o, "duplicates", &others), 0);
            ck_assert_int_eq(figure(o, "series.step_ms"), 5000);
            json_decref(o);
            break;
        }
        json_decref(o);
        ck_assert(xo_mono_ms() < until);
    }
}
END_TEST

START_TEST(messages)
{
    static const char body[] = "<script>alert('x')</script> \"&\t\xf0\x9f\x98\x80";
    enum { LONG = 20001 };
    char *big = xo_calloc(LONG + 1, 1);
    taken t;
    big[0] = 'x'; /* so that the cut falls into a character */
    for (int i = 1; i + 1 < LONG; i += 2)
        memcpy(big + i, "\xc3\xa9", 2);
    for (int i = 0; i < 17; i++)
        rig_sent(&R.w, "t", "x", NULL, NULL);
    rig_sent(&R.w, "t", body, "<i>", "KEYS:<b>|");
    rig_sent(&R.w, "t", big, NULL, NULL);
    rig_take(&R, &R.w, &t, "t", "G", 2, 0, "");
    ck_assert_int_eq(t.n, 2);
    ck_assert_int_eq(wire_ack(&R.w, "t", "G", t.handle, 1, ""), 204);
    taken_free(&t);
    json_t *o = ask(&R.w, "/xonce/messages.json?topic=t"), *list = json_object_get(o, "messages"), *m = json_array_get(list, 1);
    ck_assert_uint_eq(json_array_size(list), 16);
    ck_assert(json_is_true(json_object_get(o, "more")));
    ck_assert_str_eq(text(m, "body"), body);
    ck_assert_str_eq(text(m, "tag"), "<i>");
    ck_assert_ptr_nonnull(strstr(text(m, "properties"), "KEYS:<b>|"));
    ck_assert_int_eq(figure(m, "size"), (long long)strlen(body));
    ck_assert_str_eq(text(json_object_get(m, "groups"), "G"), "waiting");
    m = json_array_get(list, 0);
    ck_assert_int_eq(figure(m, "size"), (long long)strlen(big));
    ck_assert_uint_eq(strlen(text(m, "body")), 16383);
    char *target = xo_printf("/xonce/messages.json?topic=t&before=%lld", figure(o, "next"));
    json_decref(o);
    o = ask(&R.w, target);
    list = json_object_get(o, "messages");
    ck_assert_uint_eq(json_array_size(list), 3);
    ck_assert(json_is_false(json_object_get(o, "more")));
    ck_assert_str_eq(text(json_object_get(json_array_get(list, 0), "groups"), "G"), "waiting");
    ck_assert_str_eq(text(json_object_get(json_array_get(list, 1), "groups"), "G"), "out");
    ck_assert_str_eq(text(json_object_get(json_array_get(list, 2), "groups"), "G"), "done");
    json_decref(o);
    o = ask(&R.w, "/xonce/messages.json?topic=t&before=0");
    ck_assert_uint_eq(json_array_size(json_object_get(o, "messages")), 0);
    json_decref(o);
    free(target);
    free(big);
}
END_TEST

static int with_token(const char *target, const char *token)
{
    xo_buf b = {0};
    wire_close(&R.w);
    ck_assert_int_eq(wire_open(&R.w, R.port), 0);
    xo_buf_printf(&b, "GET %s HTTP/1.1\r\nHost: h\r\n%s%s%s\r\n", target, *token ? "Authorization: Bearer " : "", token, *token ? "\r\n" : "");
    ck_assert_int_eq(wire_write(&R.w, b.p, b.len), 0);
    xo_buf_free(&b);
    return wire_read(&R.w, 20000);
}

START_TEST(who_may_look)
{
    R.o.credentials = &C;
    again();
    const char *token = strstr(xo_endpoint_page(R.ep), "/xonce/#");
    ck_assert(token && strlen(token += 8) == 32);
    static const char *const targets[] = {STATE, "/xonce/messages.json?topic=t"};
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(with_token(targets[i], ""), 401);
        ck_assert_int_eq(with_token(targets[i], "00000000000000000000000000000000"), 401);
        ck_assert_int_eq(with_token(targets[i], "x"), 401);
        ck_assert_int_eq(with_token(targets[i], token), i == 0 ? 200 : 404);
        ck_assert_ptr_null(strstr(R.w.body.p, token));
    }
    ck_assert_int_eq(with_token("/xonce/", ""), 200); /* the page itself tells nothing */
    ck_assert_ptr_null(strstr(R.w.body.p, token));
    ck_assert_int_eq(with_token("/topics/t/messages?consumer=G&numOfMessages=1", token), 400); /* and its token is no signature */
    char *before = xo_strdup(token);
    again();
    ck_assert_ptr_null(strstr(xo_endpoint_page(R.ep), before)); /* one for each start */
    free(before);
}
END_TEST

START_TEST(faults_spare_it)
{
    R.o.faults = (xo_faults){.error = 1, .error_status = 503, .cut = 1, .duplicate = 0.5, .clock_skew_ms = -60000};
    again();
    for (int i = 0; i < 20; i++) {
        json_t *o = ask(&R.w, STATE);
        ck_assert_int_eq(figure(o, "faults.error.status"), 503);
        ck_assert_int_eq(figure(o, "faults.error.made"), 0);
        ck_assert_int_eq(figure(o, "faults.cut.made"), 0);
        ck_assert_int_eq(figure(o, "faults.clock_skew_ms"), -60000);
        ck_assert(json_real_value(json_object_get(json_object_get(json_object_get(o, "faults"), "duplicate"), "chance")) == 0.5);
        json_decref(o);
    }
    ck_assert_int_eq(wire_send(&R.w, "t", "x", NULL, NULL), 0); /* refused, and the refusal cut */
    wire_close(&R.w);
    json_t *o = ask(&R.w, STATE);
    ck_assert_int_eq(figure(o, "faults.error.made"), 1);
    ck_assert_int_eq(figure(o, "faults.cut.made"), 1);
    json_decref(o);
}
END_TEST

static atomic_int Stop;

static void *work(void *arg)
{
    wire w = {.fd = -1, .port = R.port};
    (void)arg;
    while (!atomic_load(&Stop)) {
        taken t;
        ck_assert_int_eq(wire_send(&w, "t", "x", "A", NULL), 201);
        rig_take(&R, &w, &t, "t", "G", 4, 0, "");
        if (t.n)
            ck_assert_int_eq(rig_ack(&w, &t, "t", "G", ""), 204);
        taken_free(&t);
    }
    wire_free(&w);
    return NULL;
}

START_TEST(while_all_is_busy)
{
    pthread_t threads[3];
    R.o.faults = (xo_faults){.duplicate = 0.3, .lose_ack = 0.1, .reorder = 1};
    again();
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, NULL), 0);
    for (int i = 0; i < 100; i++) {
        json_t *o = ask(&R.w, STATE), *t = json_array_get(json_object_get(o, "topics"), 0);
        json_t *g = t ? json_array_get(json_object_get(t, "groups"), 0) : NULL;
        if (g)
            ck_assert_int_le(figure(g, "in_flight"), figure(g, "lag"));
        json_decref(o);
        if (g)
            json_decref(ask(&R.w, "/xonce/messages.json?topic=t"));
    }
    atomic_store(&Stop, 1);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("endpoint");
    TCase *c = tcase_create("page");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, the_page);
    tcase_add_test(c, it_only_reads);
    tcase_add_test(c, figures);
    tcase_add_test(c, the_last_minutes);
    tcase_add_test(c, messages);
    tcase_add_test(c, who_may_look);
    tcase_add_test(c, faults_spare_it);
    tcase_add_test(c, while_all_is_busy);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
