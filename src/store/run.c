/* Runs a batch until each message's outcome is known: again on deadlock or a lost connection, in halves to find a bad one. */
#include "base/clock.h"
#include "base/log.h"
#include "store/run.h"

#include <stdlib.h>
#include <string.h>

/* Where a savepoint costs round trips, a batch that runs again without its bad messages is cheaper for long. */
enum { RERUNS_BEFORE_SAVEPOINTS = 8 };
/* After so many conflicts in a row a batch is split: one stuck message must not hold up the others. */
enum { CONFLICTS_BEFORE_SPLIT = 4, BACKOFF_MIN_MS = 5, BACKOFF_MAX_MS = 1000 };

static int stopping(const xo_runner *r)
{
    return r->spec->stopping && __atomic_load_n(r->spec->stopping, __ATOMIC_RELAXED);
}

void xo_back_off(int tries)
{
    int64_t ms = BACKOFF_MIN_MS;
    for (int i = 1; i < tries && ms < BACKOFF_MAX_MS; i++)
        ms *= 2;
    if (ms > BACKOFF_MAX_MS)
        ms = BACKOFF_MAX_MS;
    xo_pause_ms(ms / 2 + (int64_t)(xo_random() % (uint64_t)(ms / 2 + 1)));
}

size_t xo_runner_live(const xo_runner *r, size_t *live)
{
    size_t k = 0;
    for (size_t i = 0; i < r->n; i++)
        if (!r->all[i].left && !r->all[i].settled)
            live[k++] = i;
    return k;
}

static size_t live_of(const xo_runner *r, const size_t *set, size_t n, size_t *live)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (!r->all[set[i]].left && !r->all[set[i]].settled)
            live[k++] = set[i];
    return k;
}

static xonce_status run_set(xo_runner *r, const size_t *set, size_t n, int depth);

static xonce_status run_parts(xo_runner *r, const size_t *set, size_t n, size_t part, int depth)
{
    for (size_t at = 0; at < n; at += part) {
        xonce_status st = run_set(r, set + at, n - at < part ? n - at : part, depth + 1);
        if (st != XONCE_OK)
            return st;
    }
    return XONCE_OK;
}

/* The tries are used up, or the error is no conflict but nobody's fault either: one message alone is put off, a lost database is told upward. */
static xonce_status give_up(xo_runner *r, const size_t *live, size_t k)
{
    xonce_status code = xonce_error_last()->code;
    if (code == XONCE_E_CONNECT || code == XONCE_E_UNKNOWN_COMMIT || xo_error_class() == XO_SQL_LOST || stopping(r))
        return code;
    for (size_t i = 0; i < k; i++)
        xo_leave_deferred(r, live[i], XONCE_RETRY, 0);
    return XONCE_OK;
}

typedef struct {
    int tries, reruns;
} patience;

static xo_failed_cause cause_of(xo_step step)
{
    xo_sql_class cls = xo_error_class();
    xonce_status code = xonce_error_last()->code;
    if (step == XO_STEP_WITHOUT || step == XO_STEP_SPLIT || step == XO_STEP_SINGLY)
        return XO_FAILED_MESSAGE;
    if (step != XO_STEP_AGAIN)
        return XO_FAILED_OTHER;
    if (code == XONCE_E_UNKNOWN_COMMIT)
        return XO_FAILED_UNKNOWN_COMMIT;
    return cls == XO_SQL_AGAIN || code == XONCE_E_CONFLICT ? XO_FAILED_CONFLICT : cls == XO_SQL_LOST || code == XONCE_E_CONNECT ? XO_FAILED_CONNECTION : XO_FAILED_OTHER;
}

/* What to do after an attempt. *over = 1: the set is through (or st says why not). */
static xonce_status after_attempt(xo_runner *r, xo_step step, const size_t *live, size_t k, patience *p, int depth, int *over)
{
    *over = 0;
    switch (step) {
    case XO_STEP_DONE:
    case XO_STEP_WITHOUT:
        p->reruns++;
        return XONCE_OK;
    case XO_STEP_ESCAPED:
        step = xo_leave_escaped(r, live, k);
        if (step == XO_STEP_WITHOUT)
            return XONCE_OK;
        break;
    case XO_STEP_FENCED:
        (void)xo_leave_fenced(r, r->tx.failed_item, live, k);
        return XONCE_OK;
    case XO_STEP_AGAIN:
    case XO_STEP_SPLIT:
    case XO_STEP_SINGLY:
    case XO_STEP_FATAL:
        break;
    }
    if (step == XO_STEP_FATAL) {
        *over = 1;
        return xonce_error_last()->code;
    }
    int conflict = xo_error_class() == XO_SQL_AGAIN, more = k == 1 ? r->all[live[0]].slow : 0; /* until its handler is known to be at fault */
    if (step == XO_STEP_AGAIN && ++p->tries < r->s->tries + more && !stopping(r) && !(k > 1 && conflict && p->tries >= CONFLICTS_BEFORE_SPLIT)) {
        xo_back_off(p->tries);
        return XONCE_OK;
    }
    *over = 1;
    if (k == 1 || (step == XO_STEP_AGAIN && !conflict) || stopping(r))
        return give_up(r, live, k);
    return run_parts(r, live, k, step == XO_STEP_SINGLY ? 1 : (k + 1) / 2, depth);
}

static xonce_status run_set(xo_runner *r, const size_t *set, size_t n, int depth)
{
    if (depth > 16)
        return xo_fail(XONCE_E_INVALID, "a batch was split too often");
    size_t *live = xo_calloc(n, sizeof *live);
    if (!live)
        return xo_nomem();
    patience p = {0};
    xonce_status st = XONCE_OK;
    int over = 0;
    while (!over) {
        size_t k = live_of(r, set, n, live);
        if (k == 0)
            break;
        /* not where the claims of a lane are one: without its last messages that is another one */
        r->savepoints = r->spec->one && !r->by_offset && (r->s->d->savepoint_each || p.reruns >= RERUNS_BEFORE_SAVEPOINTS);
        xo_step step = xo_attempt(r, live, k);
        if (r->spec->times && step != XO_STEP_DONE)
            r->spec->times->failed[cause_of(step)]++;
        st = after_attempt(r, step, live, k, &p, depth, &over);
    }
    free(live);
    return st;
}

/* Two lanes under one number are one lane: in order still. */
static void number_lanes(xo_runner *r)
{
    char name[300];
    for (size_t i = 0; i < r->n; i++) {
        uint64_t h = UINT64_C(14695981039346656037);
        xo_message_lane(r->all[i].it->m, name, sizeof name);
        for (const char *p = name; *p; p++)
            h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
        r->all[i].lane = h;
    }
}

/* One that no handler may see: it is rejected, wherever it stands. */
static void leave_at_once(xo_runner *r, size_t who, int failed_run)
{
    if (!xo_by_offset(r->all[who].cl.m))
        r->all[who].left = 0; /* whatever it stands behind */
    xo_leave_deferred(r, who, XONCE_REJECT, failed_run);
}

static xonce_status init_members(xo_runner *r, xo_item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        items[i].outcome = XONCE_DEFERRED;
        items[i].failed_run = 0;
        memset(&items[i].error, 0, sizeof items[i].error);
        r->all[i].it = &items[i];
        r->all[i].twin = SIZE_MAX;
    }
    if (r->spec->ordered)
        number_lanes(r);
    for (size_t i = 0; i < n; i++) {
        r->by_offset |= xo_by_offset(items[i].m) && !r->spec->no_dedup;
        xonce_status st = xo_claimant_init(r->s, items[i].m, i, &r->all[i].cl);
        if (st == XONCE_E_NOMEM || !r->all[i].cl.key[0]) /* no memory, no crypto library: not the message's fault */
            return st;
        if (items[i].m->refuse) { /* the source cannot answer for it */
            xo_fail(XONCE_E_INVALID, "%s", *items[i].m->refuse ? items[i].m->refuse : "refused by its source");
            leave_at_once(r, i, 0);
        } else if (st != XONCE_OK) { /* it cannot say who it is: it will not be able to next time either */
            leave_at_once(r, i, 1);
        }
    }
    return XONCE_OK;
}

xo_runner *xo_runner_new(xonce_store *s, xo_item *items, size_t n, const xo_spec *spec, xonce_status *st)
{
    xo_runner *r = xo_calloc(1, sizeof *r);
    xo_member *all = xo_calloc(n, sizeof *all);
    size_t *set = xo_calloc(n, sizeof *set);
    if (!r || !all || !set) {
        free(r);
        free(all);
        free(set);
        *st = xo_nomem();
        return NULL;
    }
    *r = (xo_runner){.s = s, .spec = spec, .items = items, .n = n, .all = all, .set = set};
    *st = init_members(r, items, n);
    return r;
}

void xo_runner_free(xo_runner *r)
{
    if (!r)
        return;
    xo_cover_end(&r->claims.cover);
    xo_arena_free(&r->arena);
    free(r->set);
    free(r->all);
    free(r);
}

/* The one that was prepared for these items, or a new one. */
static xo_runner *runner_for(xonce_store *s, xo_item *items, size_t n, const xo_spec *spec, xonce_status *st)
{
    xo_ahead *a = spec->ahead;
    xo_runner *r = a ? a->next : NULL;
    *st = XONCE_OK;
    if (r && r->items == items && r->n == n && r->spec == spec) {
        a->next = NULL;
        return r;
    }
    if (a)
        xo_ahead_drop(a);
    return xo_runner_new(s, items, n, spec, st);
}

/* The outcomes of those that left. A record that a handler committed without its effects would pass for a duplicate next time: that one is written whatever became of the others. */
static void finish_left(xo_runner *r, int all_went)
{
    for (size_t i = 0; i < r->n && r->spec->ahead; i++)
        if (xo_left_writes(r, &r->all[i]))
            xo_ahead_drop(r->spec->ahead); /* it may hold what is written for them */
    for (size_t i = 0; i < r->n; i++)
        if (r->all[i].left && r->all[i].twin == SIZE_MAX && (all_went || r->all[i].claim_stands))
            xo_finish_left(r, &r->all[i]);
    for (size_t i = 0; i < r->n && all_went; i++)
        if (r->all[i].left && r->all[i].twin != SIZE_MAX)
            xo_finish_left(r, &r->all[i]);
}

enum { REST = 8 };

xonce_status xo_run(xonce_store *s, xo_item *items, size_t n, const xo_spec *spec)
{
    if (n == 0)
        return XONCE_OK;
    xonce_status st;
    xo_runner *r = runner_for(s, items, n, spec, &st);
    if (!r)
        return st;
    for (size_t i = 0; i < n; i++)
        r->set[i] = i;
    if (st == XONCE_OK)
        st = run_set(r, r->set, n, 0);
    xo_error e;
    xo_error_save(&e);
    finish_left(r, st == XONCE_OK);
    if (spec->ahead)
        spec->ahead->rest = r->attempts > 1 || st != XONCE_OK ? REST : spec->ahead->rest > 0 ? spec->ahead->rest - 1 : 0;
    xo_runner_free(r);
    if (st != XONCE_OK)
        xo_error_restore(&e);
    return st;
}

/* ---- the calls without a source ---- */

static xonce_status run_public(xonce_store *s, const xonce_message *const *m, size_t n, const xo_spec *spec, xonce_outcome *what)
{
    for (size_t i = 0; i < n; i++) {
        what[i] = XONCE_DEFERRED;
        if (!m[i])
            return xo_fail(XONCE_E_INVALID, "message %zu is NULL", i);
    }
    xo_item *items = xo_calloc(n ? n : 1, sizeof *items);
    if (!items)
        return xo_nomem();
    for (size_t i = 0; i < n; i++)
        items[i].m = m[i];
    xo_error before;
    xo_error_save(&before);
    xonce_status st = xo_run(s, items, n, spec);
    for (size_t i = 0; i < n; i++) {
        what[i] = items[i].outcome;
        /* put off by the database, not by the handler: the caller hears why */
        if (st == XONCE_OK && what[i] == XONCE_DEFERRED && !items[i].failed_run && items[i].error.pub.code != XONCE_OK)
            st = xo_error_restore(&items[i].error);
    }
    free(items);
    if (st == XONCE_OK) /* what went wrong on the way is nobody's concern */
        xo_error_restore(&before);
    return st;
}

xonce_status xonce_once(xonce_store *s, const xonce_message *m, xonce_handler fn, void *arg, xonce_outcome *what)
{
    if (!s || !m || !fn || !what)
        return xo_fail(XONCE_E_INVALID, "xonce_once: store, message, handler and outcome must not be NULL");
    xo_spec spec = {.one = fn, .arg = arg};
    return run_public(s, &m, 1, &spec, what);
}

xonce_status xonce_once_batch(xonce_store *s, const xonce_message *const *m, size_t n, xonce_batch_handler fn, void *arg, xonce_outcome *what)
{
    if (!s || !fn || (n && (!m || !what)) || n > 4096)
        return xo_fail(XONCE_E_INVALID, "xonce_once_batch: store, messages, handler or outcomes missing, or more than 4096 messages");
    xo_spec spec = {.many = fn, .arg = arg};
    return run_public(s, m, n, &spec, what);
}
