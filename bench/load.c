/* Sends what the benches consume: load URI TOPIC COUNT [rate=N] [duplicates=PERCENT] [bytes=200] [threads=8] [KEY=VALUE...]
 *
 * Without rate: as fast as it goes, in batches where the protocol has them; so many percent of the messages are one from some 500 messages before, sent once more under the same UNIQ_KEY.
 * With rate: an open loop. When each message is due is fixed before, its body brings that time, and a send that takes long delays no other: a stall is seen by all the messages that it
 * hit. Above 1000 a second the messages of a millisecond go as one batch. Prints "sent N distinct D", with rate also how late sends began and how long they took. */
#include "base/clock.h"
#include "bench/stamp.h"
#include "xonce/xonce.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { BATCH = 64, DISTANCE = 500, MAX_THREADS = 64, MAX_BYTES = 65536, BATCH_MAX = 1024 };

static xonce_producer *producer;
static const char *topic;
static uint64_t count, rate, duplicates, distinct, run;
static size_t bytes = 200, threads = 8;
static int batches;
static int64_t t0;            /* monotonic */
static int64_t wall;          /* what to add for the wall clock */
static _Atomic uint64_t turn; /* of the next request */
static _Atomic int bad;
static struct {
    int32_t late, took; /* microseconds, of each request */
} *requests;
static uint64_t nrequests;

static int failed(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, xonce_error_last()->text);
    bad = 1;
    return 1;
}

/* Which message stands at place i: a late place of every twenty (with 5 %) holds an earlier one. */
static uint64_t at_place(uint64_t i)
{
    uint64_t every = duplicates ? 100 / duplicates : 0;
    return every && i > DISTANCE && i % every == every - 1 ? i - DISTANCE / every * every - 1 : i;
}

static xonce_message *make(uint64_t place, int64_t stamp)
{
    static const char hex[] = "0123456789ABCDEF";
    char id[40], body[MAX_BYTES];
    xonce_message *m = NULL;
    uint64_t n = at_place(place);
    snprintf(id, sizeof(id), "7F0000014E0942A5%08" PRIX64 "%08" PRIX64, run & 0xffffffffu, n & 0xffffffffu);
    for (int i = 0; i < BENCH_STAMP; i++)
        body[i] = hex[(uint64_t)stamp >> (4 * (BENCH_STAMP - 1 - i)) & 15];
    memset(body + BENCH_STAMP, 'a' + (int)(n % 26), bytes - BENCH_STAMP);
    if (xonce_message_new(&m, topic, NULL, body, bytes) != XONCE_OK || (batches && xonce_message_set_property(m, "UNIQ_KEY", id) != XONCE_OK))
        return NULL;
    return m;
}

/* First message of request r. */
static uint64_t first_of(uint64_t r)
{
    uint64_t i = !rate ? r * (batches ? BATCH : 1) : rate > 1000 && batches ? r * rate / 1000 : r;
    return i < count ? i : count;
}

static int64_t due_us(uint64_t r) { return rate > 1000 && batches ? (int64_t)r * 1000 : (int64_t)(r * 1000000 / rate); }

static int send_one(uint64_t r)
{
    xonce_message *m[BATCH_MAX] = {NULL};
    size_t n = (size_t)(first_of(r + 1) - first_of(r)), made = 0;
    int64_t due = rate ? t0 + due_us(r) : 0, began, now;
    xonce_status st = XONCE_OK;
    for (; made < n && (m[made] = make(first_of(r) + made, rate ? due + wall : 0)); made++)
        ;
    while (rate && (now = xo_mono_us()) < due) {
        struct timespec pause = {.tv_nsec = (due - now < 500000 ? due - now : 500000) * 1000};
        nanosleep(&pause, NULL);
    }
    began = xo_mono_us();
    if (made < n)
        st = XONCE_E_NOMEM;
    else if (n)
        st = n > 1 ? xonce_producer_send_batch(producer, (const xonce_message *const *)m, n, NULL) : xonce_producer_send(producer, m[0], NULL);
    if (rate) {
        requests[r].late = (int32_t)(began - due);
        requests[r].took = (int32_t)(xo_mono_us() - began);
    }
    for (size_t i = 0; i < made; i++)
        xonce_message_free(m[i]);
    return st == XONCE_OK ? 0 : failed("send");
}

static void *sender(void *arg)
{
    uint64_t r;
    while (!bad && (r = atomic_fetch_add(&turn, 1)) < nrequests)
        if (send_one(r))
            break;
    return arg;
}

static int by_value(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static void show(const char *what, size_t offset)
{
    int32_t *v = calloc(nrequests, sizeof(*v));
    for (uint64_t i = 0; v && i < nrequests; i++)
        memcpy(&v[i], (const char *)&requests[i] + offset, sizeof(*v));
    if (v) {
        qsort(v, nrequests, sizeof(*v), by_value);
        printf(" %s_p50_us=%d %s_p99_us=%d %s_max_us=%d", what, v[nrequests / 2], what, v[nrequests * 99 / 100], what, v[nrequests - 1]);
    }
    free(v);
}

static int options(int argc, char **argv, xonce_config *cfg)
{
    for (int i = 4; i < argc; i++) {
        char *eq = strchr(argv[i], '=');
        if (!eq)
            return 2;
        *eq++ = 0;
        uint64_t n = strtoull(eq, NULL, 10);
        if (strcmp(argv[i], "rate") == 0)
            rate = n;
        else if (strcmp(argv[i], "duplicates") == 0)
            duplicates = n;
        else if (strcmp(argv[i], "bytes") == 0 && n >= BENCH_STAMP && n <= MAX_BYTES)
            bytes = (size_t)n;
        else if (strcmp(argv[i], "threads") == 0 && n >= 1 && n <= MAX_THREADS)
            threads = (size_t)n;
        else if (xonce_config_set(cfg, argv[i], eq) != XONCE_OK)
            return failed(argv[i]);
    }
    return 0;
}

int main(int argc, char **argv)
{
    xonce_config *cfg = NULL;
    pthread_t thread[MAX_THREADS];
    size_t started = 0;
    if (argc < 4) {
        fprintf(stderr, "usage: load URI TOPIC COUNT [rate=N] [duplicates=PERCENT] [bytes=N] [threads=N] [KEY=VALUE...]\n");
        return 2;
    }
    topic = argv[2];
    count = strtoull(argv[3], NULL, 10);
    batches = strncmp(argv[1], "rocketmq:", 9) == 0;
    run = (uint64_t)xo_now_ms();
    if (xonce_config_new(&cfg) != XONCE_OK || options(argc, argv, cfg))
        return 2;
    if (rate / 1000 >= BATCH_MAX || xonce_producer_open(&producer, argv[1], cfg) != XONCE_OK)
        return failed("open");
    while (first_of(nrequests) < count)
        nrequests++;
    requests = calloc(nrequests + 1, sizeof(*requests));
    if (!requests)
        return failed("memory");
    for (uint64_t i = 0; i < count; i++)
        distinct += at_place(i) == i;
    t0 = xo_mono_us() + 200000;
    wall = bench_now_us() - xo_mono_us();
    while (started < threads && pthread_create(&thread[started], NULL, sender, NULL) == 0)
        started++;
    for (size_t i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    printf("sent %" PRIu64 " distinct %" PRIu64, count, distinct);
    if (rate) {
        show("late", 0);
        show("took", sizeof(int32_t));
    }
    printf("\n");
    xonce_producer_close(producer);
    xonce_config_free(cfg);
    free(requests);
    return bad != 0;
}
