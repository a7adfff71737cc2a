/* The next batch of a worker: its claim travels behind the COMMIT of the one before, so that a batch costs one trip to the database.
 *
 * Nothing is promised by it. It is a transaction of its own, begun only when the COMMIT in front of it went through; while the worker settles the batch before, it is open and holds the claims. Whatever
 * goes wrong, it is rolled back and the batch is run as any other. */
#include "store/run.h"

static int stopping(const xo_spec *spec)
{
    return spec->stopping && __atomic_load_n(spec->stopping, __ATOMIC_RELAXED);
}

static int may_go_ahead(const xo_runner *r)
{
    const xo_ahead *a = r->spec->ahead;
    for (size_t i = 0; i < r->n; i++)
        if (xo_left_writes(r, &r->all[i])) /* it may need what the next ones claim */
            return 0;
    return a->take && !a->next && a->rest == 0 && r->attempts == 1 && !r->by_offset && !r->spec->no_dedup && !r->tx.c->lost && !stopping(r->spec) &&
           !xo_pool_wanted(r->s->pool); /* who goes ahead keeps its connection */
}

/* Members, keys and rows of the batch. 0: it is not to be claimed ahead. */
static int prepare(xo_runner *next, xo_company *with)
{
    if (next->by_offset || next->spec->no_dedup)
        return 0;
    size_t k = xo_runner_live(next, next->set);
    if (xo_attempt_claims(next, next->set, k) != XONCE_OK || next->claims.k == 0)
        return 0;
    with->next = next->claims.rows;
    with->nnext = next->claims.k;
    with->ask = next->claims.cover.ask.sql ? &next->claims.cover.ask : NULL;
    return 1;
}

static void fill(xo_company *with)
{
    xo_runner *r = with->arg;
    xo_ahead *a = r->spec->ahead;
    xo_item *items = NULL;
    const xo_spec *spec = NULL;
    xonce_status st = XONCE_OK;
    if (r->asked_ahead) /* for a COMMIT that failed: what was found then goes along with this one */
        return;
    r->asked_ahead = 1;
    size_t n = a->take(a->arg, &items, &spec);
    if (n == 0)
        return;
    xo_error e;
    xo_error_save(&e);
    r->next = xo_runner_new(r->s, items, n, spec, &st);
    if (r->next && (st != XONCE_OK || !prepare(r->next, with))) {
        xo_runner_free(r->next);
        r->next = NULL;
    }
    xo_error_restore(&e); /* it will show again when the batch is run */
}

void xo_ahead_offer(xo_runner *r, xo_company *with)
{
    if (!r->spec->ahead || !may_go_ahead(r))
        return;
    with->fill = fill;
    with->arg = r;
}

void xo_ahead_end(xo_runner *r, int begun)
{
    xo_runner *next = r->next;
    r->next = NULL;
    if (!next || !begun) {
        xo_runner_free(next);
        return;
    }
    next->tx.s = r->s;
    next->tx.c = r->tx.c;
    next->tx.expires_mono = INT64_MAX;
    next->open = 1;
    r->tx.c = NULL;
    r->spec->ahead->next = next;
}

void xo_ahead_drop(xo_ahead *a)
{
    if (a->next) {
        xo_tx_close(&a->next->tx, 1);
        xo_runner_free(a->next);
    }
    a->next = NULL;
}
