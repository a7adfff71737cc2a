/* How workers and batches size themselves: the consumer's own loop between a source in memory and a database, for several loads and handlers.
 *
 * Usage: consumer [--seconds S] [--rounds N] [--json FILE] [--loads LIST] [--handlers LIST] [--set KEY=VALUE]... [URI...]
 * Loads: flood (as much as is taken), rate=N (messages a second, random gaps), burst=NxMS (N messages at once, every MS milliseconds).
 * Handlers: queued, blocking (waits for its statement), sleep=US (works so long elsewhere first).
 * Default: a SQLite file, and XONCE_TEST_POSTGRES_URI and XONCE_TEST_MYSQL_URI when set. Each URI's tables bench_orders, transaction_record and xonce_* are dropped and made anew.
 * Latency is from the time when a message was due at the source (flood: handed out) to its acknowledgement. */
#include "base/clock.h"
#include "bench/common.h"
#include "consumer/parts.h"
#include "source/source.h"
#include "store/store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PAYLOAD = 200, RING = 1 << 17, SAMPLES = 1 << 22, MAX_LIST = 16, MAX_ROUNDS = 15, DRAIN_MS = 20000 };

typedef enum { FLOOD, RATE, BURST } load_kind;
typedef struct {
    load_kind kind;
    char name[32];
    double per_second;
    int size, every_ms;
} load;
typedef struct {
    char name[32];
    int blocking, sleep_us;
} handler;
typedef struct {
    double per_second, per_transaction, cpu_us;
    int64_t p50, p99, p999;
    size_t workers, limit, conflicts; /* as they were at the end */
} result;

typedef struct {
    xonce_source base;
    pthread_mutex_t lock;
    const load *load;
    int64_t began, ends;
    int64_t next_due;
    uint64_t polled, acked, transactions, put_off;
    int64_t last_ack;
    int64_t due[RING];
    uint32_t *sample;
    size_t nsamples;
    uint64_t seed;
    int stopped;
} memory_source;

static double seconds = 2.0;
static int rounds = 3;
static const char *settings[2 * MAX_LIST];
static size_t nsettings;
static char payload[PAYLOAD + 1];
static unsigned long long serial;

/* ---- the source ---- */

static memory_source *of(xonce_source *s)
{
    return (memory_source *)s;
}

static xonce_status s_subscribe(xonce_source *s, const char *group, const char *topic, const char *tags, int ordered)
{
    (void)s, (void)group, (void)topic, (void)tags, (void)ordered;
    return XONCE_OK;
}

static xonce_status s_start(xonce_source *s)
{
    of(s)->began = of(s)->next_due = xo_mono_us();
    of(s)->ends = of(s)->began + (int64_t)(seconds * 1e6);
    return XONCE_OK;
}

static xonce_message *make(memory_source *b, int64_t due)
{
    char id[40];
    xonce_message *m = NULL;
    snprintf(id, sizeof id, "7F0000014E0942A5%016llX", ++serial);
    if (xonce_message_new(&m, "bench", id, payload, PAYLOAD) != XONCE_OK)
        bench_die("message");
    m->log_offset = (int64_t)b->polled;
    b->due[b->polled++ % RING] = due;
    return m;
}

/* The time of the message behind one that was due then: gaps as of many independent senders, without libm's log: the sum of two uniform ones is near enough. */
static int64_t following(memory_source *b, int64_t due)
{
    const load *l = b->load;
    if (l->kind == BURST)
        return (b->polled + 1) % (uint64_t)l->size ? due : due + l->every_ms * (int64_t)1000;
    uint32_t r[2];
    for (int i = 0; i < 2; i++) {
        b->seed = b->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        r[i] = (uint32_t)(b->seed >> 40);
    }
    return due + (int64_t)(((double)r[0] + r[1]) / (double)(1 << 24) * 1e6 / l->per_second);
}

static void sleep_until(int64_t us)
{
    int64_t left = us - xo_mono_us();
    if (left > 0) {
        struct timespec t = {.tv_sec = left / 1000000, .tv_nsec = left % 1000000 * 1000};
        (void)nanosleep(&t, NULL);
    }
}

static xonce_status s_poll(xonce_source *s, size_t max, int64_t timeout_ms, xonce_message **list)
{
    memory_source *b = of(s);
    int64_t now = xo_mono_us(), until = now + timeout_ms * 1000;
    *list = NULL;
    int over = now >= b->ends;
    if (!over && b->load->kind != FLOOD && b->next_due > now)
        sleep_until(b->next_due < until ? b->next_due : until);
    else if (over)
        sleep_until(now + 10000);
    pthread_mutex_lock(&b->lock);
    over = over || b->stopped;
    now = xo_mono_us();
    for (size_t n = 0; !over && n < max && b->polled - b->acked < RING && (b->load->kind == FLOOD || b->next_due <= now); n++) {
        int64_t due = b->load->kind == FLOOD ? now : b->next_due;
        if (b->load->kind != FLOOD)
            b->next_due = following(b, due);
        xonce_message *m = make(b, due);
        *list = m;
        list = &m->next;
    }
    pthread_mutex_unlock(&b->lock);
    return XONCE_OK;
}

static void s_ack(xonce_source *s, xonce_message *list)
{
    memory_source *b = of(s);
    pthread_mutex_lock(&b->lock);
    int64_t now = b->last_ack = xo_mono_us();
    b->transactions++;
    for (xonce_message *m = list, *next; m; m = next) {
        next = m->next;
        int64_t late = now - b->due[m->log_offset % RING];
        if (b->nsamples < SAMPLES)
            b->sample[b->nsamples++] = late < UINT32_MAX ? (uint32_t)late : UINT32_MAX;
        b->acked++;
        xonce_message_free(m);
    }
    pthread_mutex_unlock(&b->lock);
}

static void s_nack(xonce_source *s, xonce_message *m, int64_t delay_ms)
{
    (void)delay_ms;
    pthread_mutex_lock(&of(s)->lock);
    of(s)->put_off++;
    of(s)->acked++;
    pthread_mutex_unlock(&of(s)->lock);
    xonce_message_free(m);
}

static int s_caught_up(xonce_source *s)
{
    (void)s;
    return 0;
}

static xonce_status s_stop(xonce_source *s, int64_t timeout_ms)
{
    (void)timeout_ms;
    pthread_mutex_lock(&of(s)->lock);
    of(s)->stopped = 1;
    pthread_mutex_unlock(&of(s)->lock);
    return XONCE_OK;
}

static void s_nothing(xonce_source *s)
{
    (void)s;
}

/* ---- the handler ---- */

static xonce_verdict book(xonce_tx *tx, const xonce_message *m, void *arg)
{
    const handler *h = arg;
    if (h->sleep_us)
        sleep_until(xo_mono_us() + h->sleep_us);
    xonce_status st = xonce_exec(tx, "INSERT INTO bench_orders (id, payload) VALUES ($1, $2)", xonce_text(xonce_message_id(m)), xonce_body(m));
    if (st == XONCE_OK && h->blocking)
        st = xonce_tx_flush(tx);
    return st == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

/* ---- a run ---- */

static int by_time(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int drained(memory_source *b)
{
    pthread_mutex_lock(&b->lock);
    int yes = xo_mono_us() >= b->ends && b->acked == b->polled;
    pthread_mutex_unlock(&b->lock);
    return yes;
}

static result judge(memory_source *b, double cpu)
{
    double n = b->acked ? (double)b->acked : 1;
    qsort(b->sample, b->nsamples, sizeof *b->sample, by_time);
    int64_t p[3] = {0};
    static const double at[] = {.5, .99, .999};
    for (int i = 0; i < 3 && b->nsamples; i++)
        p[i] = b->sample[(size_t)(at[i] * (double)(b->nsamples - 1))];
    return (result){.per_second = (double)b->acked * 1e6 / (double)(b->last_ack - b->began), .per_transaction = n / (double)(b->transactions ? b->transactions : 1),
                    .cpu_us = cpu * 1e6 / n, .p50 = p[0], .p99 = p[1], .p999 = p[2]};
}

static result run(xonce_store *store, const xonce_config *cfg, const load *l, handler *h)
{
    static const xo_source_ops ops = {s_subscribe, s_start, s_poll, s_ack, s_nack, s_caught_up, s_stop, s_nothing, s_nothing, NULL, NULL, NULL};
    static memory_source b;
    static uint32_t *sample;
    if (!sample && !(sample = malloc(SAMPLES * sizeof *sample)))
        bench_die("memory");
    memset(&b, 0, sizeof b);
    b.base.ops = &ops;
    b.base.kind = "memory";
    b.load = l;
    b.sample = sample;
    b.seed = 42;
    pthread_mutex_init(&b.lock, NULL);
    xonce_consumer *c = NULL;
    if (xonce_consumer_new(&c, store, &b.base, cfg) != XONCE_OK || xonce_on(c, "bench", "*", book, h) != XONCE_OK)
        bench_die("consumer");
    double cpu = bench_own_cpu();
    if (xonce_consumer_start(c) != XONCE_OK)
        bench_die("start");
    int64_t give_up = xo_mono_ms() + (int64_t)(seconds * 1e3) + DRAIN_MS;
    while (!drained(&b) && xo_mono_ms() < give_up)
        xo_pause_ms(2);
    cpu = bench_own_cpu() - cpu;
    if (xonce_consumer_stop(c, 60000) != XONCE_OK)
        bench_die("stop");
    size_t workers = c->crew.home, limit = c->subs[0].size.limit, conflicts = (size_t)c->metrics.failed[XO_FAILED_CONFLICT];
    xonce_consumer_free(c);
    pthread_mutex_destroy(&b.lock);
    if (b.put_off)
        fprintf(stderr, "consumer: %llu messages were put off\n", (unsigned long long)b.put_off);
    result r = judge(&b, cpu);
    r.workers = workers;
    r.limit = limit;
    r.conflicts = conflicts;
    return r;
}

/* ---- all of it ---- */

static xonce_store *fresh_store(const char *uri, const xonce_config *cfg)
{
    xonce_store *s = NULL;
    if (xonce_store_open(&s, uri, BENCH_GROUP, cfg) != XONCE_OK)
        bench_die("open");
    bench_tables(s);
    bench_query(s, s->d->kind == XO_DIALECT_MYSQL ? "CREATE TABLE bench_orders (n bigint AUTO_INCREMENT PRIMARY KEY, id varchar(64), payload varchar(200))"
                   : s->d->kind == XO_DIALECT_PG  ? "CREATE TABLE bench_orders (n bigserial PRIMARY KEY, id varchar(64), payload varchar(200))"
                                                  : "CREATE TABLE bench_orders (n integer PRIMARY KEY, id varchar(64), payload varchar(200))");
    return s;
}

static int by_rate(const void *a, const void *b)
{
    double x = ((const result *)a)->per_second, y = ((const result *)b)->per_second;
    return (x > y) - (x < y);
}

static void bench_store(const char *uri, const xonce_config *cfg, const load *loads, size_t nloads, handler *handlers, size_t nhandlers, FILE *json)
{
    xonce_store *s = fresh_store(uri, cfg);
    printf("%s  (median of %d rounds of %.1f s)\n  %-12s %-14s %11s %9s %10s %9s %9s %9s %8s %6s %9s\n", s->d->name, rounds, seconds, "handler", "load", "messages/s", "per tx", "us CPU/msg",
           "p50 us", "p99 us", "p99.9 us", "workers", "limit", "conflicts");
    for (size_t h = 0; h < nhandlers; h++) {
        for (size_t l = 0; l < nloads; l++) {
            result r[MAX_ROUNDS];
            for (int i = 0; i < rounds; i++)
                r[i] = run(s, cfg, &loads[l], &handlers[h]);
            qsort(r, (size_t)rounds, sizeof *r, by_rate);
            const result *m = &r[rounds / 2];
            printf("  %-12s %-14s %11.0f %9.1f %10.1f %9lld %9lld %9lld %8zu %6zu %9zu\n", handlers[h].name, loads[l].name, m->per_second, m->per_transaction, m->cpu_us, (long long)m->p50,
                   (long long)m->p99, (long long)m->p999, m->workers, m->limit, m->conflicts);
            fflush(stdout);
            if (json)
                fprintf(json,
                        "{\"bench\":\"consumer\",\"engine\":\"%s\",\"handler\":\"%s\",\"load\":\"%s\",\"load_per_second\":%.0f,\"rounds\":%d,\"seconds\":%.1f,\"per_second\":%.1f,"
                        "\"min\":%.1f,\"max\":%.1f,\"per_transaction\":%.2f,\"client_cpu_us\":%.2f,\"p50_us\":%lld,\"p99_us\":%lld,\"p999_us\":%lld,"
                        "\"workers\":%zu,\"limit\":%zu,\"conflicts\":%zu}\n",
                        s->d->name, handlers[h].name, loads[l].name, loads[l].per_second, rounds, seconds, m->per_second, r[0].per_second, r[rounds - 1].per_second, m->per_transaction,
                        m->cpu_us, (long long)m->p50, (long long)m->p99, (long long)m->p999, m->workers, m->limit, m->conflicts);
        }
    }
    xonce_store_close(s);
}

static size_t read_loads(char *list, load *out)
{
    size_t n = 0;
    char *state = NULL;
    for (char *name = strtok_r(list, ",", &state); name && n < MAX_LIST; name = strtok_r(NULL, ",", &state)) {
        load l = {.kind = FLOOD};
        snprintf(l.name, sizeof l.name, "%s", name);
        if (sscanf(name, "rate=%lf", &l.per_second) == 1 && l.per_second > 0)
            l.kind = RATE;
        else if (sscanf(name, "burst=%dx%d", &l.size, &l.every_ms) == 2 && l.size > 0 && l.every_ms > 0)
            l.kind = BURST, l.per_second = 1e3 * l.size / l.every_ms;
        else if (strcmp(name, "flood") != 0)
            return 0;
        out[n++] = l;
    }
    return n;
}

static size_t read_handlers(char *list, handler *out)
{
    size_t n = 0;
    char *state = NULL;
    for (char *name = strtok_r(list, ",", &state); name && n < MAX_LIST; name = strtok_r(NULL, ",", &state)) {
        handler h = {.blocking = strcmp(name, "blocking") == 0};
        snprintf(h.name, sizeof h.name, "%s", name);
        if (!h.blocking && strcmp(name, "queued") != 0 && sscanf(name, "sleep=%d", &h.sleep_us) != 1)
            return 0;
        out[n++] = h;
    }
    return n;
}

static int usage(void)
{
    fprintf(stderr, "usage: consumer [--seconds S] [--rounds N] [--json FILE] [--loads flood,rate=N,burst=NxMS] [--handlers queued,blocking,sleep=US] [--set KEY=VALUE]... [URI...]\n");
    return 2;
}

static void remove_file(const char *file)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char path[96];
        snprintf(path, sizeof path, "%s%s", file, ends[i]);
        unlink(path);
    }
}

int main(int argc, char **argv)
{
    char some_loads[] = "flood,rate=200,rate=2000,burst=1000x500", some_handlers[] = "queued,blocking,sleep=5000";
    char *load_list = some_loads, *handler_list = some_handlers, file[64], own_uri[80];
    const char *uris[MAX_LIST], *json_path = NULL;
    size_t n = 0;
    for (int i = 1; i < argc; i++) {
        int more = i + 1 < argc;
        if (more && strcmp(argv[i], "--seconds") == 0)
            seconds = strtod(argv[++i], NULL);
        else if (more && strcmp(argv[i], "--rounds") == 0)
            rounds = (int)strtol(argv[++i], NULL, 10);
        else if (more && strcmp(argv[i], "--json") == 0)
            json_path = argv[++i];
        else if (more && strcmp(argv[i], "--loads") == 0)
            load_list = argv[++i];
        else if (more && strcmp(argv[i], "--handlers") == 0)
            handler_list = argv[++i];
        else if (more && strcmp(argv[i], "--set") == 0 && strchr(argv[i + 1], '=') && nsettings < 2 * MAX_LIST) {
            char *eq = strchr(argv[++i], '=');
            *eq = 0;
            settings[nsettings++] = argv[i];
            settings[nsettings++] = eq + 1;
        } else if (n < MAX_LIST && argv[i][0] != '-')
            uris[n++] = argv[i];
        else
            return usage();
    }
    load loads[MAX_LIST];
    handler handlers[MAX_LIST];
    size_t nloads = read_loads(load_list, loads), nhandlers = read_handlers(handler_list, handlers);
    if (!nloads || !nhandlers || rounds < 1 || rounds > MAX_ROUNDS || !(seconds > 0))
        return usage();
    memset(payload, 'p', PAYLOAD);
    serial = (unsigned long long)xo_now_ms() << 20;
    snprintf(file, sizeof file, "xonce-bench-%ld.db", (long)getpid());
    snprintf(own_uri, sizeof own_uri, "sqlite:%s", file);
    int own = n == 0;
    if (own) {
        uris[n++] = own_uri;
        if (getenv("XONCE_TEST_POSTGRES_URI"))
            uris[n++] = getenv("XONCE_TEST_POSTGRES_URI");
        if (getenv("XONCE_TEST_MYSQL_URI"))
            uris[n++] = getenv("XONCE_TEST_MYSQL_URI");
    }
    xonce_config *cfg = NULL;
    if (xonce_config_new(&cfg) != XONCE_OK || xonce_config_set(cfg, "prune.every", "0") != XONCE_OK)
        bench_die("config");
    for (size_t i = 0; i < nsettings; i += 2)
        if (xonce_config_set(cfg, settings[i], settings[i + 1]) != XONCE_OK)
            bench_die(settings[i]);
    FILE *json = bench_json(json_path, uris, n);
    for (size_t i = 0; i < n; i++)
        bench_store(uris[i], cfg, loads, nloads, handlers, nhandlers, json);
    if (json)
        fclose(json);
    xonce_config_free(cfg);
    if (own)
        remove_file(file);
    return 0;
}
