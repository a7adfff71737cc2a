/* The batch that a batch handler sees. */
#ifndef XO_BATCH_H
#define XO_BATCH_H
#include "base/error.h"

struct xonce_batch {
    const xonce_message *const *m;
    size_t n;
    int marked; /* some were rejected or put off by the handler */
    void (*leave)(void *arg, size_t i, xonce_verdict verdict, const char *reason);
    void *arg;
};
#endif
