/* Maintenance: the caught-up watermark, pruning, replays of rejected messages, and a look at runs that take too long. */
#include "base/clock.h"
#include "base/log.h"
#include "consumer/parts.h"
#include "store/prune.h"

enum { TICK_MS = 1000, CAUGHT_UP_MS = 5000, ALIVE_MS = 60000, BUSY_MS = 60000, KEPT_A_MS = 10 };

typedef struct {
    xonce_consumer *c;
    void *state;                 /* of the user's hooks, for replays */
    int64_t heartbeat, alive, prune; /* monotonic: when each is due */
    int failing;
    /* pruning: where the next run begins, whether the last one was cut short, and of a pass over all old records: that it is on, what it could not delete, when the next one is due */
    xo_prune_at from;
    int cut, all;
    int64_t kept, all_again;
} keeper;

xonce_status xo_maintenance_check(const xonce_consumer *c)
{
    if (!c->prune_every || c->no_dedup) {
        return XONCE_OK;
    }
    int64_t least = c->source->keep_floor_ms + c->handler_timeout;
    if (c->keep >= least) {
        return XONCE_OK;
    }
    char is[32], floor[32];
    xo_format_duration(c->keep, is, sizeof(is));
    xo_format_duration(least, floor, sizeof(floor));
    if (c->unsafe_keep) {
        xo_log(XO_WARN, "consumer", "prune.keep is %s, less than the safe %s: what comes back later is applied again (prune.unsafe)", is, floor);
        return XONCE_OK;
    }
    return xo_fail(XONCE_E_INVALID,
                   "prune.keep=%s is too short: a message can come back for %s (what the source allows and handler.timeout) and would be applied again after its record was "
                   "deleted; set prune.keep=%s or more, or prune.every=0",
                   is, floor, floor);
}

/* One line when a job of the database starts to fail, one when it works again. */
static void note(keeper *k, xonce_status st, const char *what)
{
    if (st != XONCE_OK && !k->failing) {
        xo_log(XO_WARN, "consumer", "%s: %s", what, xonce_error_last()->text);
    }
    k->failing = st != XONCE_OK;
}

static int database_is_down(xonce_consumer *c)
{
    pthread_mutex_lock(&c->lock);
    int down = c->down;
    pthread_mutex_unlock(&c->lock);
    return down;
}

/* A source that can say how far its group is, all members together. */
static void ask_watermark(keeper *k, int64_t now)
{
    xonce_consumer *c = k->c;
    int64_t ms = -1;
    if (now < k->alive) {
        return;
    }
    k->alive = now + ALIVE_MS;
    if (c->source->ops->watermark(c->source, &ms) != XONCE_OK) {
        xo_log(XO_INFO, "consumer", "how far the group is cannot be found out, nothing more is pruned meanwhile: %s", xonce_error_last()->text);
        return;
    }
    note(k, xo_watermark_heartbeat(c->store, ms > 0 ? ms : XO_MARK_NONE), "the caught-up watermark cannot be written, nothing is pruned meanwhile");
}

static void heartbeat(keeper *k, int64_t now)
{
    xonce_consumer *c = k->c;
    if (now < k->heartbeat) {
        return;
    }
    k->heartbeat = now + CAUGHT_UP_MS;
    if (c->source->ops->watermark) {
        ask_watermark(k, now);
        return;
    }
    /* the source first: what it hands over after saying so is younger than the watermark */
    int caught_up = c->source->ops->caught_up(c->source);
    pthread_mutex_lock(&c->lock);
    caught_up = caught_up && c->in_flight == 0 && !c->source_down;
    pthread_mutex_unlock(&c->lock);
    if (caught_up || now >= k->alive) {
        k->alive = now + ALIVE_MS;
        note(k, xo_watermark_heartbeat(c->store, caught_up ? XO_MARK_NOW : XO_MARK_NONE), "the caught-up watermark cannot be written, nothing is pruned meanwhile");
    }
}

static int may_prune(const xonce_consumer *c)
{
    return xo_window_open(c->prune_window, xo_now_ms());
}

/* Between the steps of a run, which may be long. */
static int go_on_pruning(void *arg)
{
    keeper *k = arg;
    heartbeat(k, xo_mono_ms());
    return !xo_consumer_stopping(k->c) && !database_is_down(k->c) && may_prune(k->c);
}

/* What was passed over is looked at again, but the rarer the more it is: a table full of records that may not go is not read at each run. */
static void note_pass(keeper *k, const xo_prune_result *r)
{
    k->kept += r->kept;
    k->cut = !r->whole;
    const int by_id = r->at.ctime == 0 && r->at.tie > 0;
    k->from = k->cut || by_id ? r->at : (xo_prune_at){.ctime = r->before};
    if (r->whole && k->all) {
        k->all = 0;
        k->all_again = xo_mono_ms() + k->kept / KEPT_A_MS;
    }
}

static void prune(keeper *k, int64_t now)
{
    xonce_consumer *c = k->c;
    if (!c->prune_every || now < k->prune || !may_prune(c)) {
        return;
    }
    if (!k->cut && now >= k->all_again) {
        k->from = (xo_prune_at){0};
        k->kept = 0;
        k->all = 1;
    }
    xo_prune_order order = {.keep_ms = c->keep, .from = k->from, .go_on = go_on_pruning, .arg = k};
    xo_prune_result r;
    xonce_status st = xo_prune_run(c->store, &order, &r);
    k->prune = xo_mono_ms() + c->prune_every;
    if (st == XONCE_E_CONFLICT) { /* another process prunes */
        k->prune = xo_mono_ms() + (c->prune_every < BUSY_MS ? c->prune_every : BUSY_MS);
    } else if (st != XONCE_OK) {
        note(k, st, "pruning");
    } else if (r.before > 0) {
        note_pass(k, &r);
    }
    pthread_mutex_lock(&c->lock);
    c->pruned += (uint64_t)r.deleted;
    pthread_mutex_unlock(&c->lock);
}

static void replay(keeper *k)
{
    xonce_consumer *c = k->c;
    for (size_t i = 0; i < c->nsubs; i++) {
        xo_spec spec;
        xo_spec_of(c, &c->subs[i], k->state, &spec);
        for (int found = 1; found && !xo_consumer_stopping(c);) {
            xo_item item = {.outcome = XONCE_DEFERRED};
            found = 0;
            xonce_status st = xo_replay_next(c->store, c->subs[i].topic, &spec, &found, &item);
            note(k, st, "replaying rejected messages");
            if (st != XONCE_OK) {
                return;
            }
            if (found && item.outcome == XONCE_DEFERRED) {
                break; /* it stays marked: next time */
            }
            pthread_mutex_lock(&c->lock);
            c->replayed += found && item.outcome == XONCE_FRESH;
            pthread_mutex_unlock(&c->lock);
        }
    }
}

/* A handler that hangs is named while it hangs. */
static void look_at_workers(xonce_consumer *c, int64_t now)
{
    const char *topic = NULL;
    int64_t ran = 0, over = 0;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->nworkers; i++) {
        const xo_worker *w = &c->workers[i];
        if (w->since && now - w->expires > over) {
            topic = w->sub->topic;
            ran = now - w->since;
            over = now - w->expires;
        }
    }
    pthread_mutex_unlock(&c->lock);
    if (topic) {
        xo_warn_slow(c, topic, ran, over);
    }
}

void *xo_maintenance_main(void *consumer)
{
    xonce_consumer *c = consumer;
    int64_t now = xo_mono_ms();
    /* the first prune soon, but not by all processes of a fleet at once */
    int64_t first = 10000 + (int64_t)(xo_random() % 20000);
    keeper k = {.c = c, .prune = now + (first < c->prune_every ? first : c->prune_every)};
    xonce_status st = XONCE_OK;
    k.state = xo_store_worker_start(c->store, &st);
    int can_replay = st == XONCE_OK;
    if (!can_replay) {
        xo_log(XO_WARN, "consumer", "worker_start failed: rejected messages are not replayed here");
    }
    pthread_mutex_lock(&c->lock);
    while (!c->stopping) {
        xo_cond_wait_ms(&c->tick, &c->lock, now + TICK_MS);
        int stopping = c->stopping;
        pthread_mutex_unlock(&c->lock);
        now = xo_mono_ms();
        if (!stopping) {
            look_at_workers(c, now);
        }
        if (!stopping && !c->no_dedup && !database_is_down(c)) {
            heartbeat(&k, now);
            prune(&k, now);
            if (can_replay) {
                replay(&k);
            }
        }
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    if (can_replay) {
        xo_store_worker_end(c->store, k.state);
    }
    return NULL;
}
