/* What pruning costs those who are at work beside it, and what a large table costs both.
 *
 * Usage: prune beside|steady|many [--seconds S] [--rounds N] [--rows N] [--filled] [--rate N] [--load N] [--batch N] [--json FILE] URI...
 *   beside URI [--server PID]...   messages a second alone and beside a pruner, by turns, with so many old records present; processor time of this program and of PID
 *   steady URI...   ten keep periods of applying so many messages a second (--load) and pruning: the table's size after each
 *   many EMPTY FULL...   pairs of databases: throughput and pruning without and with so many records present; --filled: FULL is as an earlier run left it
 * The tables bench_orders, transaction_record and xonce_* of each URI are dropped and made anew. */
#include "base/clock.h"
#include "bench/common.h"
#include "cli/measure.h"
#include "message/position.h"
#include "store/prune.h"
#include "store/settled.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_ROUNDS = 31, PAYLOAD = 200, MAX_BATCH = 512, MAX_THREADS = 16, QUEUES = 64, PERIODS = 10 };
static const int64_t KEEP_MS = INT64_C(4) * 86400 * 1000;

static double seconds = 2;
static int filled, rounds = 7, batch = 64, threads = 4;
static int64_t rows = 1000000, rate = 15000, offered = 10000;
static char payload[PAYLOAD + 1];

/* One database and what its load has done. Each thread has a queue of its own, whose settled range the pruner saves. */
typedef struct {
    const char *uri;
    xonce_store *s;
    long server;                        /* its process, where it is known */
    int light;                          /* a load whose own table does not grow */
    int64_t pace;                       /* messages a second of each thread; 0: as many as it can */
    int stop;                           /* atomic */
    int64_t next[MAX_THREADS];          /* atomic: offset of each queue's next message */
    int64_t done, put_off, refused, runs; /* atomic: messages, those without an outcome, errors a handler saw, handlers run */
    int64_t deleted;
} base;

static void to_stderr(int level, const char *area, const char *text, void *arg)
{
    (void)arg;
    fprintf(stderr, "%d %s: %s\n", level, area, text);
}

static int64_t add(int64_t *n, int64_t by)
{
    return __atomic_add_fetch(n, by, __ATOMIC_RELAXED);
}

static int64_t now_of(int64_t *n)
{
    return __atomic_load_n(n, __ATOMIC_RELAXED);
}

/* ---- tables ---- */

static void make_tables(base *b)
{
    xo_measure m;
    bench_tables(b->s);
    if (xo_measure_init(&m, b->s, "bench_orders", PAYLOAD) != XONCE_OK || xo_measure_create(&m) != XONCE_OK)
        bench_die("tables");
    xo_measure_free(&m);
    bench_query(b->s, "CREATE TABLE bench_count (id integer PRIMARY KEY, n bigint NOT NULL)");
    for (int i = 0; i < MAX_THREADS; i++) {
        char sql[80];
        snprintf(sql, sizeof sql, "INSERT INTO bench_count VALUES (%d, 0)", i);
        bench_query(b->s, sql);
    }
}

/* Old records, all of them covered. */
static void fill(base *b, int64_t from, int64_t n)
{
    bench_fill(b->s, from, n);
    for (int q = 0; q < QUEUES; q++) {
        xo_range r = {.topic = (char *)(uintptr_t)"orders", .broker = (char *)(uintptr_t)"broker-a", .tags = (char *)(uintptr_t)"*", .queue = q, .next = from + n, .last_store_time = INT64_MAX / 2, .last_log_offset = INT64_MAX / 2};
        if (xo_store_positions()->save(b->s, &r, 1) != XONCE_OK)
            bench_die("ranges");
    }
}

static void open_base(base *b, const char *uri, const char *pace, int as_it_is)
{
    memset(b, 0, sizeof *b);
    b->uri = uri;
    b->s = bench_open(uri, (const char *const[]){"prune.rate", pace, NULL});
    if (as_it_is) {
        for (int i = 0; i < MAX_THREADS; i++)
            b->next[i] = (int64_t)xo_now_ms() * 1000;
        return;
    }
    make_tables(b);
}

static void close_base(base *b)
{
    xonce_store_close(b->s);
}

/* ---- the load: a consumer's workers, without the source ---- */

typedef struct {
    base *b;
    int number;
} worker;

static xonce_status book_one(xonce_tx *tx, const worker *w, const xonce_message *m)
{
    if (w->b->light)
        return xonce_exec(tx, "UPDATE bench_count SET n = n + 1 WHERE id = $1", xonce_int(w->number));
    return xonce_exec(tx, "INSERT INTO bench_orders (id, payload) VALUES ($1, $2)", xonce_text(xonce_message_id(m)), xonce_body(m));
}

/* Flushes now, so that an error of the database would be seen here, in the handler. */
static xonce_verdict book(xonce_tx *tx, xonce_batch *all, void *arg)
{
    size_t n = xonce_batch_count(all);
    const worker *w = arg;
    xonce_status st = XONCE_OK;
    add(&w->b->runs, 1);
    for (size_t i = 0; i < (w->b->light ? 1 : n) && st == XONCE_OK; i++)
        st = book_one(tx, w, xonce_batch_at(all, i));
    if (st == XONCE_OK)
        st = xonce_tx_flush(tx);
    if (st == XONCE_OK)
        return XONCE_DONE;
    add(&w->b->refused, 1);
    fprintf(stderr, "a handler saw: %s\n", xonce_error_last()->text);
    return XONCE_RETRY;
}

static xonce_message *next_message(const worker *w, int64_t offset)
{
    char id[60];
    xonce_message *m = NULL;
    snprintf(id, sizeof id, "7F0000014E0942A5%02X%014" PRIX64, (unsigned)w->number, (uint64_t)offset);
    if (xonce_message_new(&m, "orders", id, payload, PAYLOAD) != XONCE_OK || xonce_message_set_origin(m, "broker-b", w->number, offset) != XONCE_OK)
        bench_die("message");
    m->store_time = offset + 1;
    m->log_offset = offset * 300;
    return m;
}

static void *work(void *arg)
{
    worker *w = arg;
    base *b = w->b;
    xonce_message *m[MAX_BATCH];
    xo_item items[MAX_BATCH];
    int64_t due = xo_mono_us();
    while (!__atomic_load_n(&b->stop, __ATOMIC_ACQUIRE)) {
        int64_t offset = now_of(&b->next[w->number]);
        memset(items, 0, sizeof items);
        for (int i = 0; i < batch; i++)
            items[i].m = m[i] = next_message(w, offset + i);
        xo_spec spec = {.many = book, .arg = w};
        xonce_status st = xo_run(b->s, items, (size_t)batch, &spec);
        int64_t fine = 0;
        for (int i = 0; i < batch; i++) {
            fine += items[i].outcome == XONCE_FRESH;
            xonce_message_free(m[i]);
        }
        if (st != XONCE_OK || fine != batch)
            fprintf(stderr, "put off: %d of %d: %s\n", batch - (int)fine, batch, xonce_error_last()->text);
        add(&b->done, fine);
        add(&b->put_off, batch - fine);
        __atomic_store_n(&b->next[w->number], offset + batch, __ATOMIC_RELEASE);
        if (b->pace) {
            due += (int64_t)batch * 1000000 / b->pace;
            xo_pause_ms((due - xo_mono_us()) / 1000);
        }
    }
    return NULL;
}

/* ---- the pruner ---- */

static int until_stop(void *arg)
{
    base *b = arg;
    return !__atomic_load_n(&b->stop, __ATOMIC_ACQUIRE);
}

/* As the source's owner does: what each queue has settled. */
static void save_ranges(base *b)
{
    xo_range r[MAX_THREADS];
    for (int i = 0; i < threads; i++) {
        int64_t next = __atomic_load_n(&b->next[i], __ATOMIC_ACQUIRE);
        r[i] = (xo_range){.topic = (char *)(uintptr_t)"orders", .broker = (char *)(uintptr_t)"broker-b", .tags = (char *)(uintptr_t)"*", .queue = i, .next = next, .last_store_time = next + 1, .last_log_offset = next * 300};
    }
    if (xo_store_positions()->save(b->s, r, (size_t)threads) != XONCE_OK)
        bench_die("ranges");
}

static int64_t prune_once(base *b, int64_t keep, int max)
{
    xo_prune_order o = {.keep_ms = keep, .max_rows = max, .go_on = until_stop, .arg = b};
    xo_prune_result r;
    if (xonce_store_caught_up(b->s) != XONCE_OK || xo_prune_run(b->s, &o, &r) != XONCE_OK)
        bench_die("prune");
    return r.deleted;
}

static void *prune_old(void *arg)
{
    base *b = arg;
    int64_t n = prune_once(b, KEEP_MS, 0);
    if (until_stop(b))
        fprintf(stderr, "the old records are used up: --rows is too small\n");
    b->deleted = n;
    return NULL;
}

/* ---- measuring ---- */

typedef struct {
    double load, pruned; /* a second */
    double cpu, messages, records;
} speed;

/* Of this program and of the server with its processes. Where others use the machine too, it says more than the clock. */
static double cpu_now(const base *b)
{
    return bench_own_cpu() + bench_cpu_of(b->server);
}

static speed run_for(base *b, double s, void *(*beside)(void *))
{
    pthread_t t[MAX_THREADS], p;
    worker w[MAX_THREADS];
    int n = b->s->d->one_writer ? 1 : threads;
    b->stop = 0;
    b->deleted = 0;
    int64_t before = now_of(&b->done), start = xo_mono_us();
    double cpu = cpu_now(b);
    if (beside && pthread_create(&p, NULL, beside, b) != 0)
        bench_die("thread");
    for (int i = 0; i < n; i++) {
        w[i] = (worker){b, i};
        if (pthread_create(&t[i], NULL, work, &w[i]) != 0)
            bench_die("thread");
    }
    xo_pause_ms((int64_t)(s * 1000));
    int64_t done = now_of(&b->done) - before;
    double took = (double)(xo_mono_us() - start) / 1e6;
    __atomic_store_n(&b->stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < n; i++)
        pthread_join(t[i], NULL);
    if (beside)
        pthread_join(p, NULL);
    return (speed){(double)done / took, (double)b->deleted / took, cpu_now(b) - cpu, (double)(now_of(&b->done) - before), (double)b->deleted};
}

static void troubles(const base *b, FILE *json)
{
    printf("  errors that reached a handler %" PRId64 ", messages put off %" PRId64 "\n\n", b->refused, b->put_off);
    if (json)
        fprintf(json, ",\"handler_errors\":%" PRId64 ",\"put_off\":%" PRId64 "}\n", b->refused, b->put_off);
}

static void beside(const char *uri, long server, FILE *json)
{
    base b;
    char pace[24];
    double alone[MAX_ROUNDS], with[MAX_ROUNDS], pruned[MAX_ROUNDS], ratio[MAX_ROUNDS];
    speed all[2];
    memset(all, 0, sizeof all);
    snprintf(pace, sizeof pace, "%" PRId64, rate);
    open_base(&b, uri, pace, 0);
    b.server = server;
    fill(&b, 1, rows);
    (void)run_for(&b, seconds, NULL); /* warm */
    for (int r = 0; r < rounds; r++) {
        for (int k = 0; k < 2; k++) {
            speed s = run_for(&b, seconds, (k + r) % 2 ? prune_old : NULL), *sum = &all[(k + r) % 2];
            sum->cpu += s.cpu;
            sum->messages += s.messages;
            sum->records += s.records;
            if ((k + r) % 2)
                with[r] = s.load, pruned[r] = s.pruned;
            else
                alone[r] = s.load;
        }
        ratio[r] = with[r] / alone[r];
        fprintf(stderr, "# %s round %d: alone %.0f, beside a pruner %.0f (%.2f), pruned %.0f\n", b.s->d->name, r + 1, alone[r], with[r], ratio[r], pruned[r]);
    }
    double a = xo_measure_median(alone, (size_t)rounds), w = xo_measure_median(with, (size_t)rounds), p = xo_measure_median(pruned, (size_t)rounds), q = xo_measure_median(ratio, (size_t)rounds);
    printf("%s  %" PRId64 " old records, batches of %d, %d rounds of %.1f s\n", b.s->d->name, rows, batch, rounds, seconds);
    printf("  alone %.0f messages/s, beside a pruner %.0f: %.2f (median of the rounds' ratios %.2f, %.2f to %.2f); pruned %.0f records/s\n", a, w, w / a, q, ratio[0], ratio[rounds - 1], p);
    double x = all[0].cpu * 1e6 / all[0].messages, y = (all[1].cpu * 1e6 - x * all[1].messages) / all[1].records, cpus = (double)sysconf(_SC_NPROCESSORS_ONLN);
    printf("  processor time: %.1f us a message, %.1f us a deletion; so %" PRId64 " of them take %.2f of the %.0f processors here\n", x, y, rate, y * (double)rate / 1e6 / cpus, cpus);
    if (json)
        fprintf(json, "{\"message_us\":%.1f,\"deletion_us\":%.1f,", x, y);
    if (json)
        fprintf(json, "\"what\":\"beside\",\"engine\":\"%s\",\"rows\":%" PRId64 ",\"batch\":%d,\"alone\":%.1f,\"beside\":%.1f,\"ratio\":%.3f,\"ratio_of_rounds\":%.3f,\"pruned\":%.1f", b.s->d->name, rows, batch, a, w,
                w / a, q, p);
    troubles(&b, json);
    close_base(&b);
}

/* ---- steady ---- */

static void *prune_always(void *arg)
{
    base *b = arg;
    int64_t n = 0;
    while (until_stop(b)) {
        save_ranges(b);
        n += prune_once(b, (int64_t)(seconds * 1000), 0);
        xo_pause_ms(100);
    }
    b->deleted = n;
    return NULL;
}

/* Bytes of table and keys. A SQLite file holds all: what of it is in use. */
static int64_t size_of(xonce_store *s)
{
    switch (s->d->kind) {
    case XO_DIALECT_PG: return bench_number(s, "SELECT pg_total_relation_size('transaction_record')");
    case XO_DIALECT_MYSQL: return bench_number(s, "SELECT FILE_SIZE FROM information_schema.INNODB_SYS_TABLESPACES WHERE NAME = CONCAT(DATABASE(), '/transaction_record')");
    default: return bench_number(s, "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()");
    }
}

static void steady(const char *uri, FILE *json)
{
    base b;
    memset(&b, 0, sizeof b);
    b.uri = uri;
    char keep[24];
    snprintf(keep, sizeof keep, "%dms", (int)(seconds * 1000));
    b.s = bench_open(uri, (const char *const[]){"prune.unsafe", "on", NULL});
    make_tables(&b);
    b.light = 1;
    b.pace = offered / (b.s->d->one_writer ? 1 : threads);
    printf("%s  ten periods of %s at %" PRId64 " messages/s, batches of %d: after each, messages/s, records, MB of table and keys\n", b.s->d->name, keep, offered, batch);
    if (json)
        fprintf(json, "{\"what\":\"steady\",\"engine\":\"%s\",\"keep_s\":%.1f,\"periods\":[", b.s->d->name, seconds);
    for (int i = 0; i <= PERIODS; i++) { /* the first one only fills */
        speed s = run_for(&b, seconds, prune_always);
        int64_t left = bench_number(b.s, "SELECT COUNT(*) FROM transaction_record"), size = size_of(b.s);
        printf("  %2d %8.0f %8" PRId64 " %8.1f\n", i, s.load, left, (double)size / 1e6);
        fflush(stdout);
        if (json)
            fprintf(json, "%s{\"per_second\":%.1f,\"records\":%" PRId64 ",\"bytes\":%" PRId64 "}", i ? "," : "", s.load, left, size);
    }
    if (json)
        fprintf(json, "]");
    troubles(&b, json);
    close_base(&b);
}

/* ---- many ---- */

enum { PRUNED_AT_ONCE = 20000 };

static double prune_alone(base *b)
{
    b->stop = 0;
    int64_t start = xo_mono_us(), n = prune_once(b, KEEP_MS, PRUNED_AT_ONCE);
    if (n < PRUNED_AT_ONCE)
        fprintf(stderr, "only %" PRId64 " records were pruned\n", n);
    return (double)n * 1e6 / (double)(xo_mono_us() - start);
}

static void many(const char *empty, const char *full, FILE *json)
{
    base b[2];
    double load[2][MAX_ROUNDS], pruned[2][MAX_ROUNDS];
    open_base(&b[0], empty, "0", 0);
    open_base(&b[1], full, "0", filled);
    if (filled)
        rows = bench_number(b[1].s, "SELECT COUNT(*) FROM transaction_record");
    else
        fill(&b[1], 1, rows);
    for (int k = 0; k < 2; k++)
        (void)run_for(&b[k], seconds, NULL);
    int64_t at = 1;
    for (int r = 0; r < rounds; r++) {
        for (int k = 0; k < 2; k++)
            load[(k + r) % 2][r] = run_for(&b[(k + r) % 2], seconds, NULL).load;
        fill(&b[0], at, PRUNED_AT_ONCE + 1000); /* all that there is to prune, and a little more */
        at += PRUNED_AT_ONCE + 1000;
        for (int k = 0; k < 2; k++)
            pruned[(k + r) % 2][r] = prune_alone(&b[(k + r) % 2]);
        fprintf(stderr, "# %s round %d: messages/s %.0f and %.0f, pruned/s %.0f and %.0f\n", b[0].s->d->name, r + 1, load[0][r], load[1][r], pruned[0][r], pruned[1][r]);
    }
    double l0 = xo_measure_median(load[0], (size_t)rounds), l1 = xo_measure_median(load[1], (size_t)rounds), p0 = xo_measure_median(pruned[0], (size_t)rounds), p1 = xo_measure_median(pruned[1], (size_t)rounds);
    printf("%s  without and with %" PRId64 " records, batches of %d, %d rounds of %.1f s\n", b[0].s->d->name, rows, batch, rounds, seconds);
    printf("  messages/s %.0f and %.0f: %.2f; pruned records/s %.0f and %.0f: %.2f\n", l0, l1, l1 / l0, p0, p1, p1 / p0);
    if (json)
        fprintf(json, "{\"what\":\"many\",\"engine\":\"%s\",\"rows\":%" PRId64 ",\"load\":[%.1f,%.1f],\"load_ratio\":%.3f,\"pruned\":[%.1f,%.1f],\"pruned_ratio\":%.3f", b[0].s->d->name, rows, l0, l1, l1 / l0, p0, p1,
                p1 / p0);
    b[1].refused += b[0].refused;
    b[1].put_off += b[0].put_off;
    troubles(&b[1], json);
    close_base(&b[0]);
    close_base(&b[1]);
}

int main(int argc, char **argv)
{
    const char *uris[16], *json_path = NULL, *what = argc > 1 ? argv[1] : "";
    size_t n = 0;
    long servers[16] = {0};
    for (int i = 2; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--seconds") == 0)
            seconds = strtod(value, NULL), i++;
        else if (strcmp(argv[i], "--rounds") == 0)
            rounds = (int)strtol(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--batch") == 0)
            batch = (int)strtol(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--rows") == 0)
            rows = strtoll(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--rate") == 0)
            rate = strtoll(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--filled") == 0)
            filled = 1;
        else if (strcmp(argv[i], "--load") == 0)
            offered = strtoll(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--json") == 0)
            json_path = value, i++;
        else if (strcmp(argv[i], "--server") == 0 && n > 0 && n <= 16)
            servers[n - 1] = strtol(value, NULL, 10), i++;
        else if (argv[i][0] != '-' && n < 16)
            uris[n++] = argv[i];
        else
            n = 17;
    }
    int pairs = strcmp(what, "many") == 0;
    if (n == 0 || n > 16 || (pairs && n % 2) || rounds < 1 || rounds > MAX_ROUNDS || batch < 1 || batch > MAX_BATCH || !(seconds > 0) || rows < 0 || rate < 0 || offered < 0 ||
        (!pairs && strcmp(what, "beside") != 0 && strcmp(what, "steady") != 0)) {
        fprintf(stderr, "usage: prune beside|steady|many [--seconds S] [--rounds N] [--rows N] [--filled] [--rate N] [--load N] [--batch N] [--json FILE] URI...   (many: pairs of URIs)\n");
        return 2;
    }
    if (getenv("PRUNE_BENCH_LOG"))
        xonce_set_log(to_stderr, NULL);
    memset(payload, 'p', PAYLOAD);
    FILE *json = json_path ? fopen(json_path, "a") : NULL;
    for (size_t i = 0; i < n; i += pairs ? 2 : 1) {
        if (pairs)
            many(uris[i], uris[i + 1], json);
        else if (strcmp(what, "steady") == 0)
            steady(uris[i], json);
        else
            beside(uris[i], servers[i], json);
    }
    if (json)
        fclose(json);
    return 0;
}
