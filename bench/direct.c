/* What the store itself applies, with messages that are in memory already: direct STORE GROUP COUNT BATCH, one thread, the INSERT of bench/end-to-end.c.
 * Prints "N messages in MS ms, CPU US us a message". */
#include "base/clock.h"
#include "bench/stamp.h"
#include "xonce/xonce.h"

#include <inttypes.h>
#include <stdio.h>

enum { BATCH_MAX = 1024, PAYLOAD = 200 };

static xonce_verdict book(xonce_tx *tx, xonce_batch *b, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < xonce_batch_count(b); i++) {
        const xonce_message *m = xonce_batch_at(b, i);
        if (xonce_exec(tx, "INSERT INTO orders (id, payload) VALUES ($1, $2)", xonce_text(xonce_message_id(m)), xonce_body(m)) != XONCE_OK)
            return XONCE_RETRY;
    }
    return XONCE_DONE;
}

static int failed(const char *what)
{
    fprintf(stderr, "direct: %s: %s\n", what, xonce_error_last()->text);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: direct STORE GROUP COUNT BATCH\n");
        return 2;
    }
    uint64_t count = strtoull(argv[3], NULL, 10), serial = (uint64_t)xo_now_ms() << 20;
    size_t batch = (size_t)strtoull(argv[4], NULL, 10);
    char payload[PAYLOAD], id[40];
    xonce_store *store = NULL;
    memset(payload, 'p', sizeof(payload));
    if (batch < 1 || batch > BATCH_MAX || xonce_store_open(&store, argv[1], argv[2], NULL) != XONCE_OK)
        return failed("open");
    int64_t began = xo_mono_us(), cpu = (int64_t)clock();
    for (uint64_t done = 0; done < count; done += batch) {
        xonce_message *m[BATCH_MAX] = {NULL};
        xonce_outcome what[BATCH_MAX];
        for (size_t i = 0; i < batch; i++) {
            snprintf(id, sizeof(id), "7F0000014E0942A5%016" PRIX64, ++serial);
            if (xonce_message_new(&m[i], "direct", id, payload, sizeof(payload)) != XONCE_OK)
                return failed("message");
        }
        if (xonce_once_batch(store, (const xonce_message *const *)m, batch, book, NULL, what) != XONCE_OK)
            return failed("apply");
        for (size_t i = 0; i < batch; i++) {
            if (what[i] != XONCE_FRESH)
                return failed("a message was not fresh");
            xonce_message_free(m[i]);
        }
    }
    int64_t took = xo_mono_us() - began;
    count = (count + batch - 1) / batch * batch;
    printf("%" PRIu64 " messages in %" PRId64 " ms, CPU %.1f us a message\n", count, took / 1000,
           (double)((int64_t)clock() - cpu) * 1e6 / CLOCKS_PER_SEC / (double)count);
    xonce_store_close(store);
    return 0;
}
