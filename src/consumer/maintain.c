/* Maintenance: the caught-up watermark, pruning, replays of rejected messages, and a look at runs that take too long. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "consumer/parts.h"
#include "store/prune.h"
#include <stdlib.h>

enum { TICK_MS = 1000, CAUGHT_UP_MS = 5000, ALIVE_MS = 60000, BUSY_MS = 60000, KEPT_A_MS = 10 };

/* What is done in one database. */
typedef struct {
    struct keeper *k;
    xo_place *place;
    int64_t prune;               /* monotonic: when it is due */
    int failing;
    /* pruning: where the next run begins, whether the last one was cut short, and of a pass over all old records: that it is on, what it could not delete, when the next one is due */
    xo_prune_at from;
    int cut, all;
    int64_t kept, all_again;
} plot;

typedef struct keeper {
    xonce_consumer *c;
    void **states;               /* of the user's hooks, for replays, one per database */
    size_t nstates;
    int64_t heartbeat, alive;    /* monotonic: when each is due */
    xo_prune_settings prune;     /* as they are this second */
    plot *plots;
} keeper;

xonce_status xo_maintenance_check(const xonce_consumer *c, const xo_prune_settings *p)
{
    if (!p->every || c->no_dedup) {
        return XONCE_OK;
    }
    int64_t least = c->source->keep_floor_ms + c->handler_timeout;
    if (p->keep >= least) {
        return XONCE_OK;
    }
    char is[32], floor[32];
    xo_format_duration(p->keep, is, sizeof(is));
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
static void note(plot *l, xonce_status st, const char *what)
{
    if (st != XONCE_OK && !l->failing) {
        xo_log(XO_WARN, "consumer", "%s: %s", what, xonce_error_last()->text);
    }
    l->failing = st != XONCE_OK;
}

static int is_down(const plot *l)
{
    pthread_mutex_lock(&l->k->c->lock);
    int down = l->place->down;
    pthread_mutex_unlock(&l->k->c->lock);
    return down;
}

static void raise_watermark(keeper *k, int64_t mark)
{
    for (size_t i = 0; i < k->c->nplaces; i++) {
        plot *l = &k->plots[i];
        if (!is_down(l)) {
            note(l, xo_watermark_heartbeat(l->place->store, mark), "the caught-up watermark cannot be written, nothing is pruned meanwhile");
        }
    }
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
    raise_watermark(k, ms > 0 ? ms : XO_MARK_NONE);
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
    caught_up = caught_up && c->in_flight == 0 && !c->source_down && xo_mono_ms() >= c->put_off_until;
    pthread_mutex_unlock(&c->lock);
    if (caught_up || now >= k->alive) {
        k->alive = now + ALIVE_MS;
        raise_watermark(k, caught_up ? XO_MARK_NOW : XO_MARK_NONE);
    }
}

static int may_prune(const keeper *k)
{
    return xo_window_open(k->prune.window, xo_now_ms());
}

/* Between the steps of a run, which may be long. */
static int go_on_pruning(void *arg)
{
    const plot *l = arg;
    heartbeat(l->k, xo_mono_ms());
    return !xo_consumer_stopping(l->k->c) && !is_down(l) && may_prune(l->k);
}

/* What was passed over is looked at again, but the rarer the more it is: a table full of records that may not go is not read at each run. */
static void note_pass(plot *l, const xo_prune_result *r)
{
    l->kept += r->kept;
    l->cut = !r->whole;
    const int by_id = r->at.ctime == 0 && r->at.tie > 0;
    l->from = l->cut || by_id ? r->at : (xo_prune_at){.ctime = r->before};
    if (r->whole && l->all) {
        l->all = 0;
        l->all_again = xo_mono_ms() + l->kept / KEPT_A_MS;
    }
}

static void prune(plot *l, int64_t now)
{
    keeper *k = l->k;
    if (!k->prune.every || now < l->prune || !may_prune(k)) {
        return;
    }
    if (!l->cut && now >= l->all_again) {
        l->from = (xo_prune_at){0};
        l->kept = 0;
        l->all = 1;
    }
    xo_prune_order order = {.keep_ms = k->prune.keep, .rate = &k->prune.rate, .from = l->from, .go_on = go_on_pruning, .arg = l};
    xo_prune_result r;
    int64_t began = xo_mono_ms();
    xonce_status st = xo_prune_run(l->place->store, &order, &r);
    l->prune = xo_mono_ms() + k->prune.every;
    if (st == XONCE_E_CONFLICT) { /* another process prunes */
        l->prune = xo_mono_ms() + (k->prune.every < BUSY_MS ? k->prune.every : BUSY_MS);
    } else if (st != XONCE_OK) {
        note(l, st, "pruning");
    } else if (r.before > 0) {
        note_pass(l, &r);
    }
    pthread_mutex_lock(&k->c->lock);
    k->c->pruned += (uint64_t)r.deleted;
    if (st != XONCE_E_CONFLICT) {
        xo_count_prune(&l->place->prune_seen, st, r.deleted, xo_mono_ms() - began);
    }
    pthread_mutex_unlock(&k->c->lock);
}

/* Those of one subscription. 0: its database cannot be used. */
static int replay_sub(keeper *k, const xo_sub *s)
{
    xonce_consumer *c = k->c;
    xo_spec spec;
    xo_spec_of(c, s, k->states[s->place], &spec);
    for (int found = 1; found && !xo_consumer_stopping(c);) {
        xo_item item = {.outcome = XONCE_DEFERRED};
        found = 0;
        xonce_status st = xo_replay_next(c->places[s->place].store, s->topic, &spec, &found, &item);
        note(&k->plots[s->place], st, "replaying rejected messages");
        if (st != XONCE_OK) {
            return 0;
        }
        if (found && item.outcome == XONCE_DEFERRED) {
            break; /* it stays marked: next time */
        }
        pthread_mutex_lock(&c->lock);
        c->replayed += found && item.outcome == XONCE_FRESH;
        pthread_mutex_unlock(&c->lock);
    }
    return 1;
}

static void replay(keeper *k)
{
    for (size_t i = 0; i < k->c->nplaces; i++) {
        int fine = !is_down(&k->plots[i]);
        for (size_t n = 0; n < k->c->nsubs && fine; n++) {
            fine = k->c->subs[n].place != i || replay_sub(k, &k->c->subs[n]);
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

/* 0: no memory. */
static int make_plots(keeper *k, int64_t now)
{
    /* the first prune soon, but not by all processes of a fleet at once */
    int64_t first = 10000 + (int64_t)(xo_random() % 20000);
    k->plots = xo_calloc(k->c->nplaces, sizeof(*k->plots));
    k->states = xo_calloc(k->c->nplaces, sizeof(*k->states));
    for (size_t i = 0; k->plots && i < k->c->nplaces; i++) {
        k->plots[i] = (plot){.k = k, .place = &k->c->places[i], .prune = now + (first < k->prune.every ? first : k->prune.every)};
    }
    return k->plots && k->states;
}

static void tick(keeper *k, int64_t now, int can_replay)
{
    int all_down = 1;
    for (size_t i = 0; i < k->c->nplaces; i++) {
        all_down = all_down && is_down(&k->plots[i]);
    }
    if (all_down) {
        return;
    }
    heartbeat(k, now);
    for (size_t i = 0; i < k->c->nplaces; i++) {
        if (!is_down(&k->plots[i])) {
            prune(&k->plots[i], now);
        }
    }
    if (can_replay) {
        replay(k);
    }
}

static void keep_house(keeper *k, int can_replay)
{
    xonce_consumer *c = k->c;
    int64_t now = xo_mono_ms();
    pthread_mutex_lock(&c->lock);
    while (!c->stopping) {
        xo_cond_wait_ms(&c->tick, &c->lock, now + TICK_MS);
        int stopping = c->stopping;
        k->prune = c->prune;
        pthread_mutex_unlock(&c->lock);
        now = xo_mono_ms();
        if (!stopping) {
            xo_log_notice();
            xo_tell_rest(c, 0);
            look_at_workers(c, now);
        }
        if (!stopping && !c->no_dedup) {
            tick(k, now, can_replay);
        }
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
}

void *xo_maintenance_main(void *consumer)
{
    xonce_consumer *c = consumer;
    pthread_mutex_lock(&c->lock);
    keeper k = {.c = c, .prune = c->prune};
    pthread_mutex_unlock(&c->lock);
    if (make_plots(&k, xo_mono_ms())) {
        int can_replay = xo_states_start(c, k.states, &k.nstates) == XONCE_OK;
        if (!can_replay) {
            xo_log(XO_WARN, "consumer", "worker_start failed: rejected messages are not replayed here");
        }
        keep_house(&k, can_replay);
        xo_states_end(c, k.states, k.nstates);
    } else {
        xo_log(XO_WARN, "consumer", "no memory for pruning and replays: there are none in this process");
    }
    free(k.plots);
    free(k.states);
    return NULL;
}
