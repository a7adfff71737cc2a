/* The one thread that writes: commits all that has gathered in one transaction, then tells those who wait. */
#include "base/log.h"
#include "endpoint/engine.h"
#include "endpoint/storage.h"

enum { BATCH_MAX = 2048 };

void xo_engine_write(xo_engine *e, xo_op *op)
{
    op->next = NULL;
    *e->ops_tail = op;
    e->ops_tail = &op->next;
    if (e->nops++ == 0)
        pthread_cond_signal(&e->work);
}

static xo_op *take(xo_engine *e)
{
    xo_op *first = e->ops, **at = &e->ops;
    for (int i = 0; *at && i < BATCH_MAX; i++) {
        at = &(*at)->next;
        e->nops--;
    }
    e->ops = *at;
    *at = NULL;
    if (!e->ops)
        e->ops_tail = &e->ops;
    return first;
}

static int commit(xo_engine *e, xo_op *ops)
{
    int bad = xo_storage_begin(e->storage);
    for (xo_op *op = ops; op && !bad; op = op->next)
        bad = op->run(op, e->storage);
    if (!bad)
        bad = xo_storage_commit(e->storage);
    if (bad)
        xo_storage_rollback(e->storage);
    return !bad;
}

/* Nothing of the transaction was written: what run() noted down is not true. */
static void forget_transaction(xo_engine *e)
{
    int64_t lost = xo_storage_transaction(e->storage);
    for (xo_link *l = e->topics.next; l != &e->topics; l = l->next) {
        xo_topic *t = XO_OF(xo_topic, link, l);
        t->writing = t->kept;
        if (t->saved == lost)
            t->saved = 0;
        for (xo_link *k = t->groups.next; k != &t->groups; k = k->next)
            if (XO_OF(xo_group, link, k)->saved == lost)
                XO_OF(xo_group, link, k)->saved = 0;
    }
}

void *xo_writer_main(void *arg)
{
    xo_engine *e = arg;
    xo_engine_lock(e);
    while (e->ops || !e->stopping) {
        if (!e->ops) {
            pthread_cond_wait(&e->work, &e->lock);
            continue;
        }
        xo_op *ops = take(e), *next;
        e->writing = 1;
        xo_engine_unlock(e);
        int ok = commit(e, ops);
        xo_engine_lock(e);
        if (ok)
            e->counts.commits++;
        else
            forget_transaction(e);
        for (; ops; ops = next) {
            next = ops->next;
            ops->done(ops, ok);
        }
        e->writing = 0;
        xo_engine_serve(e);
        pthread_cond_broadcast(&e->written);
    }
    xo_engine_unlock(e);
    return NULL;
}
