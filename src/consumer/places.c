/* Several databases under one consumer: which of them a message belongs to, which can be used, and positions that are kept in one and copied to the others. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "consumer/parts.h"
#include "store/settled.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

xonce_status xo_place_add(xonce_consumer *c, xonce_store *store, size_t *at)
{
    for (*at = 0; *at < c->nplaces; ++*at) {
        if (c->places[*at].store == store) {
            return XONCE_OK;
        }
    }
    if (c->store && strcmp(store->group, c->store->group) != 0) {
        return xo_fail(XONCE_E_INVALID, "the stores of a consumer belong to one group: one is of %.64s, another of %.64s", c->store->group, store->group);
    }
    xo_place *places = realloc(c->places, (c->nplaces + 1) * sizeof(*places));
    if (!places) {
        return xo_nomem();
    }
    c->places = places;
    places[c->nplaces++] = (xo_place){.store = store};
    return XONCE_OK;
}

int xo_place_rests(const xo_place *p, int64_t *look_again)
{
    if (!p->down) {
        return 0;
    }
    if (!p->probing && xo_mono_ms() >= p->retry_at) {
        return 0;
    }
    if (!p->probing && p->retry_at < *look_again) {
        *look_again = p->retry_at;
    }
    return 1;
}

int xo_all_down(const xonce_consumer *c, int64_t *retry_at)
{
    if (c->down < c->nplaces || !c->nplaces) {
        return 0;
    }
    *retry_at = c->places[0].retry_at;
    for (size_t i = 1; i < c->nplaces; i++) {
        if (c->places[i].retry_at < *retry_at) {
            *retry_at = c->places[i].retry_at;
        }
    }
    return 1;
}

int xo_one_writer(const xonce_consumer *c)
{
    for (size_t i = 0; i < c->nplaces; i++) {
        if (!c->places[i].store->d->one_writer) {
            return 0;
        }
    }
    return 1;
}

xonce_status xo_states_start(const xonce_consumer *c, void **states, size_t *n)
{
    xonce_status st = XONCE_OK;
    for (*n = 0; *n < c->nplaces; ++*n) {
        states[*n] = xo_store_worker_start(c->places[*n].store, &st);
        if (st != XONCE_OK) {
            return st;
        }
    }
    return XONCE_OK;
}

void xo_states_end(const xonce_consumer *c, void **states, size_t n)
{
    while (n--) {
        xo_store_worker_end(c->places[n].store, states[n]);
    }
}

/* ---- routes ---- */

void xo_route(xonce_consumer *c, xonce_message *m)
{
    const xo_sub *s = xo_find_sub(c, m->topic);
    m->place = 0;
    if (s && s->nroutes > 1) {
        size_t n = s->route(m, s->route_arg);
        m->place = n < s->nroutes ? n : 0;
    }
}

xo_sub *xo_sub_of(xonce_consumer *c, const xonce_message *m)
{
    xo_sub *s = xo_find_sub(c, m->topic);
    return s ? s + m->place : NULL;
}

static xonce_status copy_sub(xo_sub *to, const xo_sub *from)
{
    *to = *from;
    to->topic = xo_strdup(from->topic);
    to->tags = xo_strdup(from->tags);
    if (to->topic && to->tags) {
        return XONCE_OK;
    }
    free(to->topic);
    free(to->tags);
    return xo_nomem();
}

/* The topic's subscription s, n times one behind the other, each of its own database. */
static xonce_status spread(xonce_consumer *c, size_t at, const size_t *places, size_t n)
{
    xo_sub *subs = xo_calloc(c->nsubs + n, sizeof(*subs));
    size_t made = 1;
    xonce_status st = subs ? XONCE_OK : xo_nomem();
    for (; st == XONCE_OK && made < n; made++) {
        st = copy_sub(&subs[at + made], &c->subs[at]);
        if (st != XONCE_OK) {
            break;
        }
    }
    if (st != XONCE_OK) {
        for (size_t i = 1; subs && i < made; i++) {
            free(subs[at + i].topic);
            free(subs[at + i].tags);
        }
        free(subs);
        return st;
    }
    memcpy(subs, c->subs, (at + 1) * sizeof(*subs));
    memcpy(subs + at + n, c->subs + at + 1, (c->nsubs - at - 1) * sizeof(*subs));
    for (size_t i = 0; i < n; i++) {
        subs[at + i].place = places[i];
        subs[at + i].nroutes = i ? 0 : n;
    }
    free(c->subs);
    c->subs = subs;
    c->nsubs += n - 1;
    return XONCE_OK;
}

xonce_status xonce_on_stores(xonce_consumer *c, const char *topic, xonce_store *const *stores, size_t n, xonce_route_fn fn, void *arg)
{
    enum { MOST = 1000 };
    if (!c || !topic || c->phase != XO_NEW || !stores || n < 1 || n > MOST || (n > 1 && !fn)) {
        return xo_fail(XONCE_E_INVALID, "xonce_on_stores: a consumer that is not started, a topic, 1 to %d stores, and for several a function are needed", MOST);
    }
    xo_sub *s = xo_find_sub(c, topic);
    if (!s) {
        return xo_fail(XONCE_E_NOT_FOUND, "topic %.100s is not subscribed", topic);
    }
    if (s->nroutes > 1) {
        return xo_fail(XONCE_E_INVALID, "topic %.100s has its stores already", topic);
    }
    size_t *places = xo_calloc(n, sizeof(*places));
    xonce_status st = places ? XONCE_OK : xo_nomem();
    for (size_t i = 0; st == XONCE_OK && i < n; i++) {
        st = stores[i] ? xo_place_add(c, stores[i], &places[i]) : xo_fail(XONCE_E_INVALID, "xonce_on_stores: topic %.100s: a store is NULL", topic);
    }
    if (st == XONCE_OK) {
        s->route = fn;
        s->route_arg = arg;
        st = spread(c, (size_t)(s - c->subs), places, n);
        xo_crew_init(&c->crew, c->nworkers, xo_one_writer(c));
    }
    free(places);
    return st;
}

/* ---- positions ---- */

/* Where the positions of a topic are kept. Of a retry topic and others that nobody subscribed to: the first of all. */
static size_t home_place(const xonce_consumer *c, const char *topic)
{
    const xo_sub *s = xo_find_sub((xonce_consumer *)(uintptr_t)c, topic);
    return s ? s->place : 0;
}

static xonce_store *home_of(const xonce_consumer *c, const char *topic)
{
    return c->places[home_place(c, topic)].store;
}

static int goes_to(const xonce_consumer *c, const char *topic, size_t place)
{
    int known = 0;
    for (size_t i = 0; i < c->nsubs; i++) {
        if (strcmp(c->subs[i].topic, topic) == 0) {
            known = 1;
            if (c->subs[i].place == place) {
                return 1;
            }
        }
    }
    return !known;
}

enum { UNREACHED_MS = 1000 };

/* Nobody waits for a database that is known to be away: there is a time for trying again. */
static xonce_status is_away(xonce_consumer *c, size_t place)
{
    const xo_place *p = &c->places[place];
    char why[sizeof(p->error)];
    int64_t now = xo_mono_ms();
    pthread_mutex_lock(&c->lock);
    int away = c->nplaces > 1 && p->down && now < p->retry_at, hangs = xo_place_hangs(c, p, XO_STUCK_MS), unreached = c->nplaces > 1 && now < p->unreached_until;
    (void)snprintf(why, sizeof(why), "%s", away ? p->error : hangs ? "no transaction has ended at this database for long: it is not waited for" : unreached ? "the database could not be reached a moment ago" : "");
    pthread_mutex_unlock(&c->lock);
    return why[0] ? xo_fail(XONCE_E_CONNECT, "%s", why) : XONCE_OK;
}

/* What the database said; when it cannot be reached the others of this moment need not wait for it too. */
static xonce_status heard(xonce_consumer *c, size_t place, xonce_status st)
{
    if (st == XONCE_E_CONNECT || st == XONCE_E_TIMEOUT) {
        pthread_mutex_lock(&c->lock);
        c->places[place].unreached_until = xo_mono_ms() + UNREACHED_MS;
        pthread_mutex_unlock(&c->lock);
    }
    return st;
}

static xonce_status load(void *self, const char *topic, const char *broker, int32_t queue, xo_range **out, size_t *n)
{
    size_t home = home_place(self, topic);
    xonce_status st = is_away(self, home);
    *out = NULL;
    *n = 0;
    return st == XONCE_OK ? heard(self, home, xo_store_positions()->load(home_of(self, topic), topic, broker, queue, out, n)) : st;
}

static xonce_status knows(void *self, const char *topic, int *known)
{
    size_t home = home_place(self, topic);
    xonce_status st = is_away(self, home);
    *known = 0;
    return st == XONCE_OK ? heard(self, home, xo_store_positions()->knows(home_of(self, topic), topic, known)) : st;
}

/* Those of r that are kept in this database, or copied to it. */
static xonce_status save_in(xonce_consumer *c, size_t place, const xo_range *r, size_t n, int copies)
{
    xonce_store *store = c->places[place].store;
    xo_range *some = xo_calloc(n, sizeof(*some));
    size_t k = 0;
    if (!some) {
        return xo_nomem();
    }
    for (size_t i = 0; i < n; i++) {
        if ((home_place(c, r[i].topic) != place) == copies && goes_to(c, r[i].topic, place)) {
            some[k++] = r[i];
        }
    }
    xonce_status st = k ? is_away(c, place) : XONCE_OK;
    if (k && st == XONCE_OK) {
        st = heard(c, place, xo_store_positions()->save(store, some, k));
    }
    free(some);
    return st;
}

/* First where they are kept: those of each database, whatever becomes of another's. A copy that cannot be written, or does not continue what is there (the rows of the two were made by different members), stays as it
   was: it makes fewer messages duplicates, and fewer prunable. */
static xonce_status save(void *self, const xo_range *r, size_t n)
{
    xonce_consumer *c = self;
    xonce_status st = XONCE_OK, apart = XONCE_OK;
    xo_error why, failed;
    for (size_t i = 0; i < c->nplaces; i++) {
        xonce_status one = save_in(c, i, r, n, 0);
        if (one == XONCE_E_CONFLICT) {
            apart = one;
            xo_error_save(&why);
        } else if (one != XONCE_OK && st == XONCE_OK) {
            st = one;
            xo_error_save(&failed);
        }
    }
    for (size_t i = 0; i < c->nplaces && st == XONCE_OK && apart == XONCE_OK && c->nplaces > 1; i++) {
        int failed_copy = save_in(c, i, r, n, 1) != XONCE_OK;
        if (failed_copy && !c->places[i].copy_told) {
            xo_log(XO_INFO, "consumer", "a copy of positions: %s", xonce_error_last()->text);
        }
        c->places[i].copy_told = failed_copy;
    }
    return st != XONCE_OK ? xo_error_restore(&failed) : apart == XONCE_OK ? st : xo_error_restore(&why);
}

static xonce_status store_id(void *self, char out[9])
{
    return xo_store_positions()->store_id(((xonce_consumer *)self)->store, out);
}

static xonce_status take(void *self, xo_range *r, const xo_range *loaded, size_t n)
{
    size_t home = home_place(self, r->topic);
    xonce_status st = is_away(self, home);
    return st == XONCE_OK ? heard(self, home, xo_store_positions()->take(home_of(self, r->topic), r, loaded, n)) : st;
}

static xonce_status advance(void *self, const xo_range *r, int64_t from)
{
    size_t home = home_place(self, r->topic);
    xonce_status st = is_away(self, home);
    return st == XONCE_OK ? heard(self, home, xo_store_positions()->advance(home_of(self, r->topic), r, from)) : st;
}

static xonce_status recorded(void *self, const char *topic, const char *broker, int32_t queue, int64_t offset, int *yes)
{
    return xo_store_positions()->recorded(home_of(self, topic), topic, broker, queue, offset, yes);
}

const xo_position_ops *xo_place_positions(void)
{
    static const xo_position_ops ops = {load, knows, save, store_id, take, advance, recorded};
    return &ops;
}
