/* The consumer of bench/end-to-end.sh and latency.sh, as a user would write it: one INSERT a message.
 *
 * end-to-end URI TOPIC GROUP STORE WARM COUNT [KEY=VALUE...] prints "warm" when WARM messages were committed and "done US" when COUNT more were, US microseconds later; then latencies of the
 * bodies that bring their send time (bench/load.c); and waits until its input ends. Looking on from outside the product: a message counts as committed when the source is told to acknowledge it,
 * which is the first thing after COMMIT returned. */
#include "base/clock.h"
#include "bench/stamp.h"
#include "source/source.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t warm, all;
static _Atomic uint64_t committed, timed;
static _Atomic int64_t began;
static int32_t *late; /* microseconds from sent to committed */
static void (*acknowledge)(xonce_source *s, xonce_message *list);

static int by_value(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static void show_done(int64_t now)
{
    size_t n = (size_t)timed;
    printf("done %" PRId64 "\n", now - began);
    if (n) {
        qsort(late, n, sizeof(*late), by_value);
        printf("latency n=%zu p50_us=%d p99_us=%d p999_us=%d max_us=%d\n", n, late[n / 2], late[n * 99 / 100], late[n * 999 / 1000], late[n - 1]);
    }
    fflush(stdout);
}

static void watch(xonce_source *s, xonce_message *list)
{
    int64_t now = bench_now_us(), mono = xo_mono_us();
    uint64_t n = 0;
    for (const xonce_message *m = list; m; m = m->next, n++) {
        size_t len;
        const char *body = xonce_message_body(m, &len);
        int64_t sent = bench_stamp_of(body, len);
        if (sent > 0) {
            uint64_t at = atomic_fetch_add(&timed, 1);
            if (at < all)
                late[at] = now - sent < INT32_MAX ? (int32_t)(now - sent) : INT32_MAX;
        }
    }
    acknowledge(s, list);
    uint64_t before = atomic_fetch_add(&committed, n);
    if (before < warm && before + n >= warm) {
        began = mono;
        printf("warm\n");
        fflush(stdout);
    }
    if (before < all && before + n >= all)
        show_done(mono);
}

static xonce_verdict book(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    return xonce_exec(tx, "INSERT INTO orders (id, payload) VALUES ($1, $2)", xonce_text(xonce_message_id(m)), xonce_body(m)) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

static void say(int level, const char *area, const char *text, void *arg)
{
    (void)arg;
    if (level <= XONCE_LOG_WARN)
        fprintf(stderr, "%s: %s\n", area, text);
}

static int failed(const char *what)
{
    fprintf(stderr, "end-to-end: %s: %s\n", what, xonce_error_last()->text);
    return 1;
}

int main(int argc, char **argv)
{
    static xo_source_ops ops;
    xonce_config *cfg = NULL;
    xonce_store *store = NULL;
    xonce_source *source = NULL;
    xonce_consumer *c = NULL;
    char byte;
    if (argc < 7) {
        fprintf(stderr, "usage: end-to-end URI TOPIC GROUP STORE WARM COUNT [KEY=VALUE...]\n");
        return 2;
    }
    warm = strtoull(argv[5], NULL, 10);
    all = warm + strtoull(argv[6], NULL, 10);
    late = calloc(all + 1, sizeof(*late));
    xonce_set_log(say, NULL);
    if (!late || xonce_config_new(&cfg) != XONCE_OK)
        return failed("memory");
    for (int i = 7; i < argc; i++) {
        char *eq = strchr(argv[i], '=');
        if (!eq)
            return 2;
        *eq = 0;
        if (xonce_config_set(cfg, argv[i], eq + 1) != XONCE_OK)
            return failed(argv[i]);
    }
    if (xonce_store_open(&store, argv[4], argv[3], cfg) != XONCE_OK || xonce_source_open(&source, argv[1], cfg) != XONCE_OK)
        return failed("open");
    ops = *source->ops;
    acknowledge = ops.ack;
    ops.ack = watch;
    source->ops = &ops;
    if (xonce_consumer_new(&c, store, source, cfg) != XONCE_OK || xonce_on(c, argv[2], "*", book, NULL) != XONCE_OK || xonce_consumer_start(c) != XONCE_OK)
        return failed("start");
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    if (xonce_consumer_stop(c, 30000) != XONCE_OK)
        return failed("stop");
    xonce_counts n = {.size = sizeof(n)};
    (void)xonce_consumer_counts(c, &n);
    printf("fresh %" PRIu64 " duplicate %" PRIu64 " rejected %" PRIu64 " retried %" PRIu64 " conflicts %" PRIu64 "\n", n.fresh, n.duplicate, n.rejected, n.retried, n.conflicts);
    xonce_consumer_free(c);
    xonce_source_close(source);
    xonce_store_close(store);
    xonce_config_free(cfg);
    free(late);
    return 0;
}
