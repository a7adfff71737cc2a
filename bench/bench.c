/* What exactly-once costs: messages a second with and without the claim, one by one and in batches, per engine, in one run.
 *
 * Usage: bench [--seconds S] [--rounds N] [--json FILE] [URI...]   Default: a SQLite file, and XONCE_TEST_POSTGRES_URI and XONCE_TEST_MYSQL_URI when set.
 * Each URI's tables bench_orders, transaction_record and xonce_* are dropped and made anew. Modes take turns within a round; medians are shown. */
#include "base/clock.h"
#include "store/run.h"
#include "store/settled.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_ROUNDS = 15, PAYLOAD = 200, MAX_BATCH = 128, DUPLICATES_PERCENT = 5 };

typedef enum { BARE, PLAIN, ONCE, OFFSET } kind;
typedef struct {
    const char *name;
    kind what;
    size_t batch;
} mode;
static const mode modes[] = {
    {"bare INSERT, autocommit", BARE, 1}, {"no dedup, batch 1", PLAIN, 1},   {"no dedup, batch 32", PLAIN, 32}, {"no dedup, batch 128", PLAIN, 128},
    {"xonce, batch 1", ONCE, 1},          {"xonce, batch 32", ONCE, 32}, {"xonce, batch 128", ONCE, 128},
    {"xonce by offset, batch 1", OFFSET, 1}, {"xonce by offset, batch 32", OFFSET, 32}, {"xonce by offset, batch 128", OFFSET, 128},
};
enum { NMODES = sizeof modes / sizeof *modes };

static double seconds = 1.0;
static int rounds = 3;
static unsigned long long serial; /* ids in arrival order, as brokers make them */
static char payload[PAYLOAD + 1];

static void die(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, xonce_error_last()->text);
    exit(1);
}

static const char INSERT[] = "INSERT INTO bench_orders (id, payload) VALUES ($1, $2)";

static xonce_verdict book(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    return xonce_exec(tx, INSERT, xonce_text(xonce_message_id(m)), xonce_body(m)) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

static xonce_message *next_message(void)
{
    char id[40];
    xonce_message *m = NULL;
    snprintf(id, sizeof id, "7F0000014E0942A5%016llX", ++serial);
    if (xonce_message_new(&m, "bench", id, payload, PAYLOAD) != XONCE_OK)
        die("message");
    return m;
}

/* Fresh messages; a share of them is the one before once more. */
static void fill(xonce_message **m, size_t n, xonce_message **old)
{
    static unsigned turn;
    for (size_t i = 0; i < n; i++) {
        if (*old && turn++ % 100 < DUPLICATES_PERCENT) {
            if (xonce_message_copy(&m[i], *old) != XONCE_OK)
                die("copy");
            continue;
        }
        m[i] = next_message();
        xonce_message_free(*old);
        if (xonce_message_copy(old, m[i]) != XONCE_OK)
            die("copy");
    }
}

static xo_range queue; /* the one that is read by offset */

/* Takes the queue over, as its source does when it starts. */
static void take_queue(xonce_store *s)
{
    const xo_position_ops *ops = xo_store_positions();
    xo_range *rows = NULL;
    size_t n = 0;
    queue = (xo_range){.topic = (char *)(uintptr_t)"bench", .broker = (char *)(uintptr_t)"broker-a", .tags = (char *)(uintptr_t)"*", .last_store_time = -1, .last_log_offset = -1, .by_offset = 1};
    if (ops->load(s, "bench", "broker-a", 0, &rows, &n) != XONCE_OK)
        die("load");
    if (n)
        queue.next = rows[0].next;
    if (ops->take(s, &queue, rows, n) != XONCE_OK)
        die("take");
    xo_ranges_free(rows, n);
}

/* The next of that queue. A redelivery never gets here: the source knows it by its place. */
static void place(xonce_message *m)
{
    if (xonce_message_set_origin(m, "broker-a", 0, queue.next) != XONCE_OK)
        die("origin");
    m->store_time = 1700000000000 + queue.next;
    m->log_offset = queue.next * 300;
    m->claim_from = queue.next++;
    m->claim_generation = 0;
    m->claim_epoch = queue.epoch;
}

static double run_mode(xonce_store *s, const mode *k)
{
    xonce_message *m[MAX_BATCH], *old = NULL;
    xo_item items[MAX_BATCH];
    xo_spec spec = {.one = book, .no_dedup = k->what == PLAIN, .ordered = k->what == OFFSET};
    uint64_t done = 0;
    int64_t began = xo_mono_us(), now = began;
    memset(items, 0, sizeof items);
    if (k->what == OFFSET)
        take_queue(s);
    while ((double)(now - began) < seconds * 1e6) {
        fill(m, k->batch, &old);
        for (size_t i = 0; i < k->batch; i++)
            items[i].m = m[i];
        for (size_t i = 0; k->what == OFFSET && i < k->batch; i++)
            place(m[i]);
        if (k->what == BARE) {
            xonce_value v[] = {xonce_text(xonce_message_id(m[0])), xonce_body(m[0])};
            if (xo_store_query(s, INSERT, v, 2, NULL, NULL, NULL) != XONCE_OK)
                die(k->name);
        } else if (xo_run(s, items, k->batch, &spec) != XONCE_OK) {
            die(k->name);
        }
        for (size_t i = 0; i < k->batch; i++) {
            if (k->what != BARE && items[i].outcome == XONCE_DEFERRED)
                die("a message was put off");
            xonce_message_free(m[i]);
        }
        done += k->batch;
        now = xo_mono_us();
    }
    xonce_message_free(old);
    return (double)done * 1e6 / (double)(now - began);
}

static void query(xonce_store *s, const char *sql)
{
    if (xo_store_query(s, sql, NULL, 0, NULL, NULL, NULL) != XONCE_OK)
        die(sql);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void bench_store(const char *uri, FILE *json, int first)
{
    double speed[NMODES][MAX_ROUNDS], median[NMODES];
    xonce_store *s = NULL;
    if (xonce_store_open(&s, uri, "GID_bench", NULL) != XONCE_OK)
        die("open");
    static const char *const tables[] = {"bench_orders", "transaction_record", "xonce_rejected", "xonce_watermark", "xonce_settled"};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        char sql[80];
        snprintf(sql, sizeof sql, "DROP TABLE IF EXISTS %s", tables[i]);
        query(s, sql);
    }
    if (xonce_store_upgrade(s) != XONCE_OK)
        die("init");
    query(s, s->d->kind == XO_DIALECT_MYSQL ? "CREATE TABLE bench_orders (n bigint AUTO_INCREMENT PRIMARY KEY, id varchar(64), payload varchar(200))"
             : s->d->kind == XO_DIALECT_PG  ? "CREATE TABLE bench_orders (n bigserial PRIMARY KEY, id varchar(64), payload varchar(200))"
                                            : "CREATE TABLE bench_orders (n integer PRIMARY KEY, id varchar(64), payload varchar(200))");
    for (int r = 0; r < rounds; r++)
        for (int k = 0; k < NMODES; k++)
            speed[(k + r) % NMODES][r] = run_mode(s, &modes[(k + r) % NMODES]);
    printf("%s  (%d rounds of %.1f s, %d-byte bodies, %d %% redeliveries)\n", s->d->name, rounds, seconds, PAYLOAD, DUPLICATES_PERCENT);
    printf("  %-26s %10s %9s %12s\n", "", "messages/s", "x bare", "x no dedup");
    for (int k = 0; k < NMODES; k++) {
        qsort(speed[k], (size_t)rounds, sizeof(double), by_value);
        median[k] = speed[k][rounds / 2];
    }
    if (json)
        fprintf(json, "%s{\"engine\":\"%s\",\"modes\":[", first ? "" : ",", s->d->name);
    for (int k = 0; k < NMODES; k++) {
        double same = modes[k].what == ONCE ? median[k] / median[k - 3] : modes[k].what == OFFSET ? median[k] / median[k - 6] : 0;
        printf("  %-26s %10.0f %9.2f", modes[k].name, median[k], median[k] / median[0]);
        printf(same > 0 ? " %12.2f\n" : "\n", same);
        if (json)
            fprintf(json, "%s{\"mode\":\"%s\",\"per_second\":%.1f,\"min\":%.1f,\"max\":%.1f}", k ? "," : "", modes[k].name, median[k], speed[k][0], speed[k][rounds - 1]);
    }
    if (json)
        fprintf(json, "]}");
    printf("\n");
    fflush(stdout);
    xonce_store_close(s);
}

int main(int argc, char **argv)
{
    const char *uris[16], *json_path = NULL;
    size_t n = 0;
    char file[64], uri[80];
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            seconds = strtod(argv[++i], NULL);
        else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            rounds = (int)strtol(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--json") == 0 && i + 1 < argc)
            json_path = argv[++i];
        else if (n < 16 && argv[i][0] != '-')
            uris[n++] = argv[i];
        else {
            fprintf(stderr, "usage: bench [--seconds S] [--rounds N] [--json FILE] [URI...]\n");
            return 2;
        }
    }
    if (rounds < 1 || rounds > MAX_ROUNDS || !(seconds > 0))
        rounds = 3, seconds = 1;
    memset(payload, 'p', PAYLOAD);
    serial = (unsigned long long)xo_now_ms() << 20;
    snprintf(file, sizeof file, "xonce-bench-%ld.db", (long)getpid());
    snprintf(uri, sizeof uri, "sqlite:%s", file);
    int own = n == 0;
    if (own) {
        uris[n++] = uri;
        if (getenv("XONCE_TEST_POSTGRES_URI"))
            uris[n++] = getenv("XONCE_TEST_POSTGRES_URI");
        if (getenv("XONCE_TEST_MYSQL_URI"))
            uris[n++] = getenv("XONCE_TEST_MYSQL_URI");
    }
    FILE *json = json_path ? fopen(json_path, "w") : NULL;
    if (json)
        fprintf(json, "{\"seconds\":%.2f,\"rounds\":%d,\"engines\":[", seconds, rounds);
    for (size_t i = 0; i < n; i++)
        bench_store(uris[i], json, i == 0);
    if (json) {
        fprintf(json, "]}\n");
        fclose(json);
    }
    if (own) {
        char extra[80];
        unlink(file);
        snprintf(extra, sizeof extra, "%s-wal", file);
        unlink(extra);
        snprintf(extra, sizeof extra, "%s-shm", file);
        unlink(extra);
    }
    return 0;
}
