/* The status server: what it tells of a consumer, and what it does not put up with. */
#include "base/histogram.h"
#include "status/status.h"
#include "tests/consumer/rig.h"
#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static rig R;
static broker B;
static xonce_consumer *C;

/* ---- a small client ---- */

static int dial(const char *address)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)strtol(strrchr(address, ':') + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_msg(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0, "cannot connect to %s", address);
    return fd;
}

static void put(int fd, const char *text, size_t n)
{
    while (n) {
        ssize_t k = send(fd, text, n, MSG_NOSIGNAL);
        if (k <= 0) {
            return; /* it was closed, which the answer shows */
        }
        text += k;
        n -= (size_t)k;
    }
}

/* All that comes until the other side closes, at most 20 s. Closes fd. */
static char *hear(int fd)
{
    static char answer[1 << 20];
    size_t n = 0;
    int64_t end = xo_mono_ms() + 20000;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ck_assert_msg(poll(&p, 1, (int)(end - xo_mono_ms())) == 1, "no end of the answer within 20 s");
        ssize_t k = recv(fd, answer + n, sizeof(answer) - 1 - n, 0);
        if (k <= 0) {
            break;
        }
        n += (size_t)k;
    }
    close(fd);
    answer[n] = 0;
    return answer;
}

static char *ask(const char *address, const char *request)
{
    int fd = dial(address);
    put(fd, request, strlen(request));
    return hear(fd);
}

static char *get(const char *address, const char *path)
{
    char request[200];
    (void)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: status\r\n\r\n", path);
    return ask(address, request);
}

static int status_of(const char *answer)
{
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? (int)strtol(answer + 9, NULL, 10) : 0;
}

static const char *body_of(const char *answer)
{
    const char *at = strstr(answer, "\r\n\r\n");
    return at ? at + 4 : "";
}

static json_t *get_json(const char *address)
{
    json_error_t why;
    const char *answer = get(address, "/status.json");
    ck_assert_int_eq(status_of(answer), 200);
    json_t *j = json_loads(body_of(answer), 0, &why);
    ck_assert_msg(j != NULL, "%s at %d: %s", why.text, why.position, body_of(answer));
    return j;
}

static json_t *first_consumer(json_t *j)
{
    return json_array_get(json_object_get(j, "consumers"), 0);
}

/* ---- a consumer ---- */

static xonce_verdict apply(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    if (strcmp(xonce_message_id(m), "m7") == 0) {
        xonce_fail(tx, "a seven: <b>%s</b>", xonce_message_id(m));
        return XONCE_REJECT;
    }
    return xonce_exec(tx, "INSERT INTO effects (id) VALUES ($1)", xonce_text(xonce_message_id(m))) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

static const char *const secret_settings[] = {"credentials.access-key-secret", "marker-secret", NULL};

static void begin(const char *topic, int messages)
{
    rig_open(&R, secret_settings, 1);
    broker_init(&B);
    B.duplicates = 30;
    broker_add(&B, topic, messages, 0, 0);
    ck_assert_msg(xonce_consumer_new(&C, R.store, &B.base, R.cfg) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_eq(xonce_on(C, topic, "*", apply, NULL), XONCE_OK);
}

static const char *serve(void)
{
    ck_assert_msg(xonce_consumer_status_listen(C, "127.0.0.1:0") == XONCE_OK, "%s", xonce_error_last()->text);
    return xonce_consumer_status_address(C);
}

static void start(void)
{
    ck_assert_msg(xonce_consumer_start(C) == XONCE_OK, "%s", xonce_error_last()->text);
}

static void finish(void)
{
    (void)xonce_consumer_stop(C, 20000);
    xonce_consumer_free(C);
    broker_free(&B);
    rig_close(&R);
}

typedef struct {
    const char *address, *path;
    int status;
} wish;

static int says(void *arg)
{
    const wish *w = arg;
    xo_pause_ms(20);
    return status_of(get(w->address, w->path)) == w->status;
}

static void wait_for_status(const char *address, const char *path, int status)
{
    wish w = {address, path, status};
    WAIT_FOR(says, &w);
}

/* ---- what it tells ---- */

START_TEST(quantiles_are_estimated_inside_buckets)
{
    xo_histogram h = {0}, then, since;
    ck_assert(xo_histogram_quantile(&h, 0.5) < 0);
    for (int i = 0; i < 100; i++) {
        xo_histogram_add(&h, 600); /* in (500, 1000] */
    }
    ck_assert_double_ge(xo_histogram_quantile(&h, 0.01), 500);
    ck_assert_double_le(xo_histogram_quantile(&h, 0.99), 1000);
    then = h;
    xo_histogram_add(&h, -5);
    xo_histogram_add(&h, INT64_MAX / 2);
    ck_assert_uint_eq(h.n[0], 1);
    ck_assert_uint_eq(h.n[XO_BUCKETS], 1);
    xo_histogram_since(&since, &h, &then);
    ck_assert_uint_eq(since.count, 2);
    ck_assert_double_eq(xo_histogram_quantile(&since, 1), (double)xo_bucket_us[XO_BUCKETS - 1]);
}
END_TEST

static uint64_t sample(const char *metrics, const char *series)
{
    char line[300];
    (void)snprintf(line, sizeof(line), "\n%s ", series);
    const char *at = strstr(metrics, line);
    ck_assert_msg(at != NULL, "there is no %s in %s", series, metrics);
    return strtoull(at + strlen(line), NULL, 10);
}

START_TEST(what_was_done_is_counted)
{
    begin("orders", 40);
    const char *address = serve();
    start();
    WAIT_FOR(broker_is_done, &B);
    xonce_counts n = {.size = sizeof(n)};
    ck_assert_int_eq(xonce_consumer_counts(C, &n), XONCE_OK);
    ck_assert_uint_eq(n.fresh, 39);
    const char *metrics = get(address, "/metrics");
    ck_assert_int_eq(status_of(metrics), 200);
    ck_assert_ptr_nonnull(strstr(metrics, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    ck_assert_uint_eq(sample(metrics, "xonce_messages_total{group=\"GID_test\",topic=\"orders\",outcome=\"fresh\"}"), n.fresh);
    ck_assert_uint_eq(sample(metrics, "xonce_messages_total{group=\"GID_test\",topic=\"orders\",outcome=\"duplicate\"}"), n.duplicate);
    ck_assert_uint_eq(sample(metrics, "xonce_messages_total{group=\"GID_test\",topic=\"orders\",outcome=\"rejected\"}"), n.rejected);
    ck_assert_uint_eq(sample(metrics, "xonce_batch_messages_sum{group=\"GID_test\"}"), n.fresh + n.duplicate + n.rejected + n.retried);
    ck_assert_uint_gt(sample(metrics, "xonce_claim_seconds_count{group=\"GID_test\"}"), 0);
    ck_assert_uint_gt(sample(metrics, "xonce_commit_seconds_bucket{group=\"GID_test\",le=\"+Inf\"}"), 0);
    finish();
}
END_TEST

static int a_reject_is_listed(void *arg)
{
    json_t *j = get_json(arg), *store = json_array_get(json_object_get(first_consumer(j), "stores"), 0), *latest = json_object_get(json_object_get(store, "rejected"), "latest");
    int listed = json_array_size(latest) == 1;
    if (listed) {
        const char *reason = json_string_value(json_object_get(json_array_get(latest, 0), "reason"));
        ck_assert_str_eq(reason, "a seven: <b>m7</b>");
        ck_assert_str_eq(json_string_value(json_object_get(json_array_get(latest, 0), "id")), "m7");
    }
    json_decref(j);
    return listed;
}

static const char *in_force(json_t *c, const char *section, const char *key)
{
    size_t i;
    json_t *f;
    json_array_foreach(json_object_get(c, "in_force"), i, f)
    {
        if (strcmp(json_string_value(json_object_get(f, "section")), section) == 0 && strcmp(json_string_value(json_object_get(f, "key")), key) == 0) {
            return json_string_value(json_object_get(f, "value"));
        }
    }
    ck_abort_msg("%s of %s is not told", key, section);
}

START_TEST(the_document_has_it_all)
{
    begin("orders", 20);
    const char *address = serve();
    json_t *j = get_json(address); /* before the start */
    ck_assert_str_eq(json_string_value(json_object_get(first_consumer(j), "state")), "new");
    json_decref(j);
    ck_assert_int_eq(status_of(get(address, "/readyz")), 503);
    start();
    WAIT_FOR(broker_is_done, &B);
    WAIT_FOR(a_reject_is_listed, (void *)(uintptr_t)address);
    wait_for_status(address, "/readyz", 200);
    ck_assert_int_eq(status_of(get(address, "/healthz")), 200);
    j = get_json(address);
    json_t *c = first_consumer(j), *config = json_object_get(c, "config"), *key, *store = json_array_get(json_object_get(c, "stores"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(c, "state")), "running");
    ck_assert(json_is_true(json_object_get(c, "healthy")));
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(store, "table"), "rows")), 20);
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(c, "counts"), "fresh")), 19);
    size_t i, masked = 0;
    json_array_foreach(config, i, key)
    {
        const char *name = json_string_value(json_object_get(key, "key")), *value = json_string_value(json_object_get(key, "value"));
        masked += strcmp(name, "credentials.access-key-secret") == 0 && value && strcmp(value, "***") == 0;
    }
    ck_assert_uint_eq(masked, 1);
    ck_assert_str_eq(in_force(c, "source", "group"), "GID_test");
    ck_assert_str_eq(in_force(c, "subscription 1", "topic"), "orders");
    ck_assert_str_eq(in_force(c, "subscription 1", "claim"), "record");
    ck_assert(strncmp(in_force(c, "store 1", "uri"), "sqlite:", 7) == 0);
    json_decref(j);
    ck_assert_ptr_null(strstr(get(address, "/status.json"), "marker-secret"));
    finish();
}
END_TEST

static xonce_status three_queues(xonce_source *s, xo_source_queue **out, size_t *n)
{
    (void)s;
    *out = xo_calloc(3, sizeof(**out));
    for (*n = 0; *n < 3; ++*n) {
        (*out)[*n] = (xo_source_queue){.topic = xo_strdup("orders"), .broker = xo_strdup("b"), .queue = (int32_t)*n, .position = *n == 2 ? -1 : 7, .end = *n ? 12 : 6};
    }
    return XONCE_OK;
}

START_TEST(lag_is_told_queue_by_queue)
{
    begin("orders", 0);
    B.base.queues = three_queues;
    const char *address = serve();
    start();
    const char *metrics = get(address, "/metrics");
    ck_assert_uint_eq(sample(metrics, "xonce_queue_lag_messages{group=\"GID_test\",topic=\"orders\",broker=\"b\",queue=\"0\"}"), 0); /* the end is older than the position */
    ck_assert_uint_eq(sample(metrics, "xonce_queue_lag_messages{group=\"GID_test\",topic=\"orders\",broker=\"b\",queue=\"1\"}"), 5);
    ck_assert_ptr_null(strstr(metrics, "xonce_queue_lag_messages{group=\"GID_test\",topic=\"orders\",broker=\"b\",queue=\"2\"}")); /* not known is not 0 */
    json_t *j = get_json(address), *lag = json_object_get(first_consumer(j), "lag");
    ck_assert_int_eq(json_integer_value(json_object_get(lag, "total")), 5);
    ck_assert_uint_eq(json_array_size(json_object_get(lag, "queues")), 3);
    ck_assert(json_is_null(json_object_get(json_array_get(json_object_get(lag, "queues"), 2), "lag")));
    json_decref(j);
    finish();
}
END_TEST

START_TEST(names_are_escaped)
{
    begin("odd\"topic\\\n", 1);
    const char *address = serve();
    start();
    WAIT_FOR(broker_is_done, &B);
    ck_assert_uint_eq(sample(get(address, "/metrics"), "xonce_messages_total{group=\"GID_test\",topic=\"odd\\\"topic\\\\\\n\",outcome=\"fresh\"}"), 1);
    json_decref(get_json(address));
    finish();
}
END_TEST

START_TEST(several_consumers_are_told_apart)
{
    begin("orders", 3);
    xo_status *s;
    ck_assert_int_eq(xo_status_start(&s, "127.0.0.1:0"), XONCE_OK);
    ck_assert_int_eq(status_of(get(xo_status_address(s), "/readyz")), 503); /* nobody is there yet */
    ck_assert_int_eq(xo_status_add(s, C, "1"), XONCE_OK);
    ck_assert_int_eq(xo_status_add(s, C, "two"), XONCE_OK);
    start();
    WAIT_FOR(broker_is_done, &B);
    const xo_fact told[] = {{"subscription a", "sql", "SELECT 'a \"b\"'"}}, other[] = {{"subscription b", "topic", "t"}, {"store c", "uri", "u"}};
    ck_assert_int_eq(xo_status_facts(s, C, told, 1), XONCE_OK);
    json_t *j = get_json(xo_status_address(s));
    ck_assert_str_eq(in_force(first_consumer(j), "subscription a", "sql"), "SELECT 'a \"b\"'");
    ck_assert_uint_eq(json_array_size(json_object_get(first_consumer(j), "in_force")), 1);
    json_decref(j);
    ck_assert_int_eq(xo_status_facts(s, C, other, 2), XONCE_OK); /* in place of it */
    j = get_json(xo_status_address(s));
    ck_assert_str_eq(in_force(first_consumer(j), "store c", "uri"), "u");
    ck_assert_uint_eq(json_array_size(json_object_get(first_consumer(j), "in_force")), 2);
    json_decref(j);
    const char *metrics = get(xo_status_address(s), "/metrics");
    ck_assert_uint_eq(sample(metrics, "xonce_messages_total{group=\"GID_test\",consumer=\"1\",topic=\"orders\",outcome=\"fresh\"}"), 3);
    ck_assert_uint_eq(sample(metrics, "xonce_messages_total{group=\"GID_test\",consumer=\"two\",topic=\"orders\",outcome=\"fresh\"}"), 3);
    xo_status_stop(s);
    finish();
}
END_TEST

START_TEST(the_dashboard_is_a_document)
{
    const char *top = getenv("TOP_SRCDIR");
    char path[4096];
    json_error_t why;
    (void)snprintf(path, sizeof(path), "%s/docs/monitoring/grafana-dashboard.json", top ? top : ".");
    json_t *j = json_load_file(path, 0, &why), *panel;
    ck_assert_msg(j != NULL, "%s: %s", path, why.text);
    size_t i;
    json_array_foreach(json_object_get(j, "panels"), i, panel)
    {
        ck_assert_uint_gt(json_array_size(json_object_get(panel, "targets")), 0);
    }
    ck_assert_uint_gt(i, 10);
    json_decref(j);
}
END_TEST

/* ---- health ---- */

static atomic_int cable_out;

static xonce_status no_database(const xo_item *items, size_t n)
{
    (void)items, (void)n;
    return !atomic_load(&cable_out) ? XONCE_OK : xo_fail_sql(XONCE_E_CONNECT, XO_SQL_LOST, 0, NULL, "the cable is out");
}

static xonce_status no_table(const xo_item *items, size_t n)
{
    (void)items, (void)n;
    return xo_fail(XONCE_E_SCHEMA, "the table is gone");
}

START_TEST(a_database_that_fails_makes_it_not_ready)
{
    begin("orders", 5);
    run_hook = no_database;
    atomic_store(&cable_out, 1);
    const char *address = serve();
    start();
    wish w = {address, "/readyz", 503};
    WAIT_FOR(says, &w);
    for (int64_t end = xo_mono_ms() + 20000; !strstr(get(address, "/readyz"), "the cable is out");) {
        ck_assert_msg(xo_mono_ms() < end, "the reason is not told: %s", get(address, "/readyz"));
        xo_pause_ms(20);
    }
    ck_assert_int_eq(status_of(get(address, "/healthz")), 200); /* another process would not help */
    ck_assert_uint_eq(sample(get(address, "/metrics"), "xonce_database_up{group=\"GID_test\",store=\"1\"}"), 0);
    ck_assert_uint_eq(sample(get(address, "/metrics"), "xonce_healthy{group=\"GID_test\"}"), 0);
    atomic_store(&cable_out, 0);
    WAIT_FOR(broker_is_done, &B);
    wait_for_status(address, "/readyz", 200);
    finish();
}
END_TEST

START_TEST(an_idle_consumer_notices_too)
{
    begin("orders", 0);
    const char *address = serve();
    start();
    wait_for_status(address, "/readyz", 200);
    rig_sql(&R, "ALTER TABLE xonce_watermark RENAME TO gone");
    wait_for_status(address, "/readyz", 503);
    rig_sql(&R, "ALTER TABLE gone RENAME TO xonce_watermark");
    wait_for_status(address, "/readyz", 200);
    finish();
}
END_TEST

START_TEST(a_source_that_fails_makes_it_not_ready)
{
    begin("orders", 1);
    const char *address = serve();
    start();
    wait_for_status(address, "/readyz", 200);
    pthread_mutex_lock(&B.lock);
    B.fail = XONCE_E_CONNECT;
    B.fail_again = 1;
    pthread_mutex_unlock(&B.lock);
    wait_for_status(address, "/readyz", 503);
    ck_assert_ptr_nonnull(strstr(get(address, "/readyz"), "the source cannot be asked"));
    ck_assert_uint_eq(sample(get(address, "/metrics"), "xonce_source_up{group=\"GID_test\"}"), 0);
    pthread_mutex_lock(&B.lock);
    B.fail = XONCE_OK;
    pthread_mutex_unlock(&B.lock);
    wait_for_status(address, "/readyz", 200);
    finish();
}
END_TEST

START_TEST(one_that_cannot_go_on_is_not_healthy)
{
    begin("orders", 1);
    run_hook = no_table;
    const char *address = serve();
    start();
    wait_for_status(address, "/healthz", 503);
    ck_assert_ptr_nonnull(strstr(get(address, "/healthz"), "group GID_test: it cannot go on: the table is gone"));
    json_t *j = get_json(address);
    ck_assert_str_eq(json_string_value(json_object_get(first_consumer(j), "state")), "failed");
    json_decref(j);
    finish();
}
END_TEST

/* ---- what it does not put up with ---- */

START_TEST(it_is_for_looking_only)
{
    static const char *const methods[] = {"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"};
    begin("orders", 0);
    const char *address = serve();
    char request[200];
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        (void)snprintf(request, sizeof(request), "%s /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", methods[i]);
        const char *answer = ask(address, request);
        ck_assert_msg(status_of(answer) == 405, "%s: %.100s", methods[i], answer);
        ck_assert_ptr_nonnull(strstr(answer, "Allow: GET, HEAD\r\n"));
    }
    const char *head = ask(address, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    ck_assert_int_eq(status_of(head), 200);
    ck_assert_str_eq(body_of(head), "");
    ck_assert_int_eq(status_of(get(address, "/nowhere")), 404);
    ck_assert_int_eq(status_of(get(address, "/../etc/passwd")), 404);
    const char *page = get(address, "/");
    ck_assert_int_eq(status_of(page), 200);
    ck_assert_ptr_nonnull(strstr(page, "Content-Security-Policy: default-src 'none'"));
    ck_assert_ptr_nonnull(strstr(page, "Content-Type: text/html; charset=utf-8\r\n"));
    finish();
}
END_TEST

START_TEST(large_requests_are_refused)
{
    enum { LARGE = 300000 };
    begin("orders", 0);
    const char *address = serve();
    char *request = malloc(LARGE + 200);
    ck_assert_ptr_nonnull(request);
    static const char *const before[] = {"GET / HTTP/1.1\r\nHost: x\r\nX-Large: ", "GET /"}, *const after[] = {"\r\n\r\n", " HTTP/1.1\r\nHost: x\r\n\r\n"};
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(before[i]);
        memcpy(request, before[i], n);
        memset(request + n, 'a', LARGE);
        memcpy(request + n + LARGE, after[i], strlen(after[i]));
        int fd = dial(address);
        put(fd, request, n + LARGE + strlen(after[i]));
        int status = status_of(hear(fd));
        ck_assert_msg(status == 431 || status == 414 || status == 413 || status == 0 /* cut off */, "%d", status);
        ck_assert_int_eq(status_of(get(address, "/healthz")), 200);
    }
    free(request);
    finish();
}
END_TEST

START_TEST(slow_clients_are_cut_off)
{
    enum { SILENT = 150, MOST_MS = 12000 };
    begin("orders", 0);
    const char *address = serve();
    int fds[SILENT], slow = dial(address);
    put(slow, "GET /metrics HT", 15);
    for (size_t i = 0; i < SILENT; i++) {
        fds[i] = dial(address); /* and says nothing */
    }
    int64_t began = xo_mono_ms();
    ck_assert_int_eq(status_of(get(address, "/healthz")), 200); /* more than there is room for keep nobody out */
    ck_assert_int_lt(xo_mono_ms() - began, 4000);
    for (int64_t end = began + MOST_MS; xo_mono_ms() < end;) { /* a byte now and then makes no request */
        struct pollfd p = {.fd = slow, .events = POLLIN};
        put(slow, "a", 1);
        if (poll(&p, 1, 300) == 1) {
            break;
        }
    }
    ck_assert_int_lt(xo_mono_ms() - began, MOST_MS);
    (void)hear(slow);
    for (size_t i = 0; i < SILENT; i++) {
        close(fds[i]);
    }
    finish();
}
END_TEST

/* ---- calls ---- */

START_TEST(bad_addresses_are_told)
{
    static const char *const bad[] = {"", "9180", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", ":9180", "127.0.0.1:80x", "[::1]9180"};
    begin("orders", 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(xonce_consumer_status_listen(C, bad[i]) == XONCE_E_INVALID, "'%s'", bad[i]);
        ck_assert_ptr_null(xonce_consumer_status_address(C));
    }
    ck_assert_int_eq(xonce_consumer_status_listen(NULL, "127.0.0.1:0"), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_consumer_status_listen(C, NULL), XONCE_E_INVALID);
    const char *address = serve();
    ck_assert_int_eq(xonce_consumer_status_listen(C, "127.0.0.1:0"), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, address));
    xo_status *other;
    ck_assert_int_eq(xo_status_start(&other, address + strlen("http://")), XONCE_E_CONNECT);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "cannot listen on 127.0.0.1:"));
    finish(); /* never started: ends the server as well */
}
END_TEST

int main(void)
{
    Suite *s = suite_create("status");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, quantiles_are_estimated_inside_buckets);
    tcase_add_test(t, what_was_done_is_counted);
    tcase_add_test(t, the_document_has_it_all);
    tcase_add_test(t, names_are_escaped);
    tcase_add_test(t, lag_is_told_queue_by_queue);
    tcase_add_test(t, several_consumers_are_told_apart);
    tcase_add_test(t, the_dashboard_is_a_document);
    tcase_add_test(t, a_database_that_fails_makes_it_not_ready);
    tcase_add_test(t, an_idle_consumer_notices_too);
    tcase_add_test(t, a_source_that_fails_makes_it_not_ready);
    tcase_add_test(t, one_that_cannot_go_on_is_not_healthy);
    tcase_add_test(t, it_is_for_looking_only);
    tcase_add_test(t, large_requests_are_refused);
    tcase_add_test(t, slow_clients_are_cut_off);
    tcase_add_test(t, bad_addresses_are_told);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
