/* Settings that change while the consumer runs. */
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "consumer/parts.h"
#include <stdlib.h>
#include <string.h>

void xo_prune_settings_of(const xonce_config *cfg, xo_prune_settings *out)
{
    out->keep = xo_config_int(cfg, "prune.keep");
    out->every = xo_config_int(cfg, "prune.every");
    out->window = xo_config_int(cfg, "prune.window");
    out->rate = xo_config_int(cfg, "prune.rate");
}

static int same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Can this one change here and now? */
static int may_change(const xonce_consumer *c, const xonce_config *cfg, const char *key)
{
    if (strcmp(key, "workers") == 0) {
        return (size_t)xo_config_int(cfg, key) <= c->nworkers;
    }
    if (strcmp(key, "prune.keep") == 0) { /* half of the old one is how old a message may be that is claimed: records may not go sooner */
        return xo_config_int(cfg, key) >= c->prune.keep;
    }
    return xo_config_reloads(key);
}

/* Lock held. What workers and threads look at before their next step. */
static void take_over(xonce_consumer *c)
{
    const xonce_config *cfg = c->cfg;
    size_t workers = (size_t)xo_config_int(cfg, "workers");
    c->batch_max = (size_t)xo_config_int(cfg, "batch.max");
    c->linger = xo_config_int(cfg, "batch.linger");
    c->buffer_messages = (size_t)xo_config_int(cfg, "buffer.messages");
    c->buffer_size = (size_t)xo_config_int(cfg, "buffer.size");
    xo_prune_settings_of(cfg, &c->prune);
    for (size_t i = 0; i < c->nsubs; i++) {
        xo_size_limit(&c->subs[i].size, xo_batch_max(c, &c->subs[i]), c->linger > 0);
    }
    if (workers != c->workers_max) {
        c->workers_max = workers;
        xo_crew_limit(&c->crew, workers, xo_one_writer(c));
    }
    pthread_cond_broadcast(&c->work);
    pthread_cond_broadcast(&c->room);
}

typedef struct {
    const char **changed, **left;
    size_t nchanged, nleft;
} differences;

/* Lock held. The settings in force, with those of cfg that can change; NULL: no memory. */
static xonce_config *mix(const xonce_consumer *c, const xonce_config *cfg, differences *d)
{
    xonce_config *next = NULL;
    if (xo_config_copy(&next, c->cfg) != XONCE_OK) {
        return NULL;
    }
    for (size_t i = 0; i < xo_config_count; i++) {
        const char *key = xo_config_keys[i].key;
        if (same(xo_config_text(c->cfg, key), xo_config_text(cfg, key))) {
            continue;
        }
        if (!may_change(c, cfg, key)) {
            d->left[d->nleft++] = key;
        } else if (xo_config_take(next, cfg, key) == XONCE_OK) {
            d->changed[d->nchanged++] = key;
        } else {
            xonce_config_free(next);
            return NULL;
        }
    }
    return next;
}

static xonce_status change(xonce_consumer *c, const xonce_config *cfg, differences *d)
{
    pthread_mutex_lock(&c->lock);
    xonce_config *old = c->cfg, *next = mix(c, cfg, d);
    if (next) {
        c->cfg = next;
        take_over(c);
    }
    pthread_mutex_unlock(&c->lock);
    if (!next) {
        return xo_nomem();
    }
    xonce_config_free(old);
    return XONCE_OK;
}

xonce_status xo_consumer_check(const xonce_consumer *c, const xonce_config *cfg)
{
    xo_prune_settings prune;
    xo_prune_settings_of(cfg, &prune);
    return xo_maintenance_check(c, &prune);
}

xonce_status xonce_consumer_reconfigure(xonce_consumer *c, const xonce_config *cfg, void (*left)(const char *key, void *arg), void *arg)
{
    if (!c) {
        return xo_fail(XONCE_E_INVALID, "xonce_consumer_reconfigure: no consumer");
    }
    xonce_status st = xo_consumer_check(c, cfg);
    if (st != XONCE_OK) {
        return st;
    }
    differences d = {.changed = xo_calloc(xo_config_count, sizeof(*d.changed)), .left = xo_calloc(xo_config_count, sizeof(*d.left))};
    st = d.changed && d.left ? change(c, cfg, &d) : xo_nomem();
    for (size_t i = 0; st == XONCE_OK && i < d.nchanged; i++) {
        xo_log(XO_INFO, "consumer", "%s has changed", d.changed[i]);
    }
    for (size_t i = 0; st == XONCE_OK && i < d.nleft && left; i++) {
        left(d.left[i], arg);
    }
    free(d.changed);
    free(d.left);
    return st;
}

void xo_consumer_batch_most(xonce_consumer *c, const char *topic, size_t n)
{
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->nsubs; i++) {
        xo_sub *s = &c->subs[i];
        if (strcmp(s->topic, topic) == 0 && s->batch_most != n) {
            s->batch_most = n;
            xo_size_limit(&s->size, xo_batch_max(c, s), c->linger > 0);
        }
    }
    pthread_cond_broadcast(&c->work);
    pthread_mutex_unlock(&c->lock);
}
