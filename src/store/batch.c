/* What a batch handler may do with its batch. */
#include "store/batch.h"

size_t xonce_batch_count(const xonce_batch *b)
{
    return b ? b->n : 0;
}

const xonce_message *xonce_batch_at(const xonce_batch *b, size_t i)
{
    return b && i < b->n ? b->m[i] : NULL;
}

static void mark(xonce_batch *b, size_t i, xonce_verdict verdict, const char *reason)
{
    if (!b || i >= b->n)
        return;
    b->marked = 1;
    b->leave(b->arg, i, verdict, reason ? reason : "");
}

void xonce_batch_reject(xonce_batch *b, size_t i, const char *reason)
{
    mark(b, i, XONCE_REJECT, reason);
}

void xonce_batch_retry(xonce_batch *b, size_t i, const char *reason)
{
    mark(b, i, XONCE_RETRY, reason);
}
