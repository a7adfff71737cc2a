/* How fast messages are taken from a broker or an endpoint (any source URI), with nothing behind: poll and settle. rocketmq URI TOPIC GROUP COUNT [KEY=VALUE...] prints
 * "N messages in MS ms, CPU US us a message", timed from the first one on. */
#include "base/clock.h"
#include "source/source.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 256, WAIT_MS = 500, PATIENCE_MS = 60000 };

static int failed(const char *what)
{
    fprintf(stderr, "bench/rocketmq: %s: %s\n", what, xonce_error_last()->text);
    return 1;
}

static int configure(xonce_config **cfg, int n, char **pair)
{
    if (xonce_config_new(cfg) != XONCE_OK)
        return failed("config");
    for (int i = 0; i < n; i++) {
        char *eq = strchr(pair[i], '=');
        if (!eq)
            return 2;
        *eq = 0;
        if (xonce_config_set(*cfg, pair[i], eq + 1) != XONCE_OK)
            return failed(pair[i]);
    }
    return 0;
}

int main(int argc, char **argv)
{
    xonce_config *cfg = NULL;
    xonce_source *s = NULL;
    if (argc < 5) {
        fprintf(stderr, "usage: rocketmq URI TOPIC GROUP COUNT [KEY=VALUE...]\n");
        return 2;
    }
    uint64_t want = strtoull(argv[4], NULL, 10), n = 0;
    clock_t cpu = 0;
    int64_t began = 0, last = xo_mono_ms();
    int rc = configure(&cfg, argc - 5, argv + 5);
    if (rc)
        return rc;
    if (xonce_source_open(&s, argv[1], cfg) != XONCE_OK || s->ops->subscribe(s, argv[3], argv[2], NULL, 0) != XONCE_OK || s->ops->start(s) != XONCE_OK)
        return failed("start");
    while (n < want && xo_mono_ms() - last < PATIENCE_MS) {
        xonce_message *list = NULL;
        if (s->ops->poll(s, BATCH, WAIT_MS, &list) != XONCE_OK && !xonce_error_last()->again)
            return failed("poll");
        if (!list)
            continue;
        last = xo_mono_ms();
        if (!began) {
            began = xo_mono_us();
            cpu = clock();
        }
        for (const xonce_message *m = list; m; m = m->next)
            n++;
        s->ops->ack(s, list);
    }
    if (n < want)
        return failed("no more messages");
    int64_t took = xo_mono_us() - began; /* the last acknowledgements may still be on their way: their cost belongs to it */
    (void)s->ops->stop(s, 0);
    (void)s->ops->stop(s, 10000);
    printf("%" PRIu64 " messages in %" PRId64 " ms, CPU %.1f us a message\n", n, took / 1000, (double)(clock() - cpu) * 1e6 / CLOCKS_PER_SEC / (double)n);
    xonce_source_close(s);
    xonce_config_free(cfg);
    return 0;
}
