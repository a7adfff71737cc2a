/* consume at work: the databases and consumers of a plan, from opening to the end. */
#include "cli/fleet.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/output.h"
#include "consumer/consumer.h"
#include "store/tx.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A database as one group sees it, and with one idea of what makes messages the same. */
typedef struct {
    size_t place;              /* of the plan's stores */
    const xo_plan_sub *first;  /* the subscription that it was opened for: group and id */
    xonce_store *store;
} opened;

/* With --exit-when-idle: since when nothing has come because the endpoint or a database cannot be reached. */
typedef struct {
    int64_t since;
    uint64_t before;
} outage;

/* One group at one endpoint. */
typedef struct {
    const char *from, *group;
    xonce_source *source;
    xonce_consumer *consumer;
    outage out;
    int started;
} member;

/* One handler per store of a subscription. Those that were replaced stay as long as the fleet: a handler may be at them. */
typedef struct applies {
    xo_apply *list;
    size_t n;
    struct applies *older;
} applies;
typedef struct {
    const xo_plan_sub *sub;
    applies *now;              /* atomic */
    xonce_store **stores;
} job;

struct xo_fleet_change {
    job **jobs;
    applies **made;
    xo_plan_sub **subs;        /* of next */
    size_t n;
};

struct xo_fleet {
    const xo_plan *plan;
    opened *stores;
    size_t nstores;
    member *members;
    size_t nmembers;
    job *jobs;
    size_t njobs;
};

/* ---- handlers ---- */

static xonce_verdict run_job(xonce_tx *tx, const xonce_message *m, void *arg)
{
    const job *j = arg;
    const applies *a = __atomic_load_n(&j->now, __ATOMIC_ACQUIRE);
    char reason[400];
    int at = j->sub->route ? xo_plan_find(j->sub, m, reason, sizeof(reason)) : 0;
    if (at < 0 || (size_t)at >= a->n) {
        xonce_fail(tx, "%s", reason);
        return XONCE_REJECT;
    }
    return a->list[at].fn(tx, m, a->list[at].arg);
}

/* The id that counts is a field of the message. */
static xonce_status identify(const xonce_message *m, char *id, size_t size, void *arg)
{
    const xo_msg_field *f = arg;
    xo_field_reader reader = {.m = m};
    xonce_value v;
    xonce_status st = xo_field_read(&reader, f, &v);
    if (st == XONCE_OK) {
        if (v.kind == XONCE_INT || v.kind == XONCE_BOOL) {
            (void)snprintf(id, size, "%" PRId64, v.v.i);
        } else if (v.kind == XONCE_NULL || v.len == 0) {
            st = xo_fail(XONCE_E_INVALID, "no id: :%.80s is missing", f->name);
        } else if (v.len >= size || memchr(v.v.p, 0, v.len)) {
            st = xo_fail(XONCE_E_INVALID, "no id: :%.80s is longer than %zu bytes, or holds a zero byte", f->name, size - 1);
        } else {
            memcpy(id, v.v.p, v.len);
            id[v.len] = 0;
        }
    }
    xo_field_reader_end(&reader);
    return st;
}

/* ---- databases ---- */

/* A claim that is rolled back: a missing table or right and a read-only database show before any message is taken. */
static xonce_status try_claim(xonce_store *store)
{
    xonce_message *m = NULL;
    xonce_tx *tx = NULL;
    xonce_outcome what;
    xonce_status st = xonce_message_new(&m, "xonce", "xonce-start", "", 0);
    if (st == XONCE_OK) {
        st = xonce_tx_begin(store, &tx);
    }
    if (st == XONCE_OK) {
        st = xonce_tx_claim(tx, (const xonce_message *const *)&m, 1, &what);
    }
    xonce_tx_rollback(tx);
    xonce_message_free(m);
    return st == XONCE_E_CONFLICT ? XONCE_OK : st; /* busy is not broken */
}

static int same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Another group's, or another id's, view of a database that is open shares its connections. */
static int connect_store(xo_fleet *f, opened *o, const xonce_config *cfg)
{
    const xo_plan_store *from = &f->plan->stores[o->place];
    for (size_t i = 0; i < f->nstores; i++) {
        if (f->stores[i].place == o->place) {
            return xonce_store_for_group(&o->store, f->stores[i].store, o->first->group) == XONCE_OK ? XO_GO_ON : xo_open_failed(NULL);
        }
    }
    xonce_config *own = NULL;
    if (xo_config_overlay(&own, cfg, from->cfg) != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    int rc = xo_store_connect(&o->store, from->uri, o->first->group, own);
    xonce_config_free(own);
    return rc;
}

static int open_store(xo_fleet *f, const xo_plan_sub *s, size_t place, const xonce_config *cfg, int no_dedup, xonce_store **out)
{
    for (size_t i = 0; i < f->nstores; i++) {
        const opened *o = &f->stores[i];
        if (o->place == place && strcmp(o->first->group, s->group) == 0 && same_text(o->first->id, s->id)) {
            *out = o->store;
            return XO_GO_ON;
        }
    }
    opened *o = &f->stores[f->nstores];
    *o = (opened){.place = place, .first = s};
    int rc = connect_store(f, o, cfg);
    if (rc != XO_GO_ON) {
        return rc;
    }
    f->nstores++;
    *out = o->store;
    if (!no_dedup && try_claim(o->store) != XONCE_OK) {
        return xo_out_failed(f->plan->stores[place].name);
    }
    if (s->id && xonce_store_identify(o->store, identify, (void *)(uintptr_t)&s->id_field) != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    return XO_GO_ON;
}

static void free_applies(applies *a)
{
    for (applies *older; a; a = older) {
        older = a->older;
        for (size_t i = 0; i < a->n; i++) {
            xo_apply_free(&a->list[i]);
        }
        free(a->list);
        free(a);
    }
}

/* The SQL is parsed before any database is asked: what was written wrongly shows first. from: whose SQL; its stores are those of s. */
static int make_applies(xo_fleet *f, const xo_plan_sub *s, const xo_plan_sub *from, const xo_usage *u, applies **out)
{
    applies *a = *out = xo_calloc(1, sizeof(*a));
    if (!a || !(a->list = xo_calloc(s->nstores, sizeof(*a->list)))) {
        return xo_out_failed(NULL);
    }
    int rc = XO_GO_ON;
    for (; a->n < s->nstores && rc == XO_GO_ON; a->n++) {
        rc = xo_apply_make(&a->list[a->n], u, f->plan->stores[s->stores[a->n]].uri, from->sql, from->exec, from->exec_timeout);
    }
    return rc;
}

static int open_stores(xo_fleet *f, job *j, const xonce_config *cfg, int no_dedup)
{
    int rc = XO_GO_ON;
    for (size_t i = 0; i < j->now->n && rc == XO_GO_ON; i++) {
        rc = open_store(f, j->sub, j->sub->stores[i], cfg, no_dedup, &j->stores[i]);
        rc = rc == XO_GO_ON ? xo_apply_try(&j->now->list[i], j->stores[i]) : rc;
    }
    return rc;
}

/* ---- consumers ---- */

static member *member_of(xo_fleet *f, const xo_plan_sub *s)
{
    for (size_t i = 0; i < f->nmembers; i++) {
        if (strcmp(f->members[i].from, s->from) == 0 && strcmp(f->members[i].group, s->group) == 0) {
            return &f->members[i];
        }
    }
    f->members[f->nmembers] = (member){.from = s->from, .group = s->group};
    return &f->members[f->nmembers++];
}

static int open_source(member *m, const xonce_config *cfg)
{
    if (m->source || xonce_source_open(&m->source, m->from, cfg) == XONCE_OK) {
        return XO_GO_ON;
    }
    (void)xo_out_failed(NULL);
    return XO_EXIT_USAGE; /* it does not connect yet: what it refuses was given wrongly */
}

static xonce_status subscribe(member *m, job *j)
{
    const xo_plan_sub *s = j->sub;
    xonce_status st = (s->ordered ? xonce_on_ordered : xonce_on)(m->consumer, s->topic, s->tags, run_job, j);
    if (st == XONCE_OK) {
        st = xonce_on_stores(m->consumer, s->topic, j->stores, j->now->n, s->route ? xo_plan_route : NULL, (void *)(uintptr_t)s);
    }
    if (st == XONCE_OK && s->claim >= 0) {
        st = xonce_on_claim(m->consumer, s->topic, (xonce_claim_mode)s->claim);
    }
    return st;
}

static int open_consumer(xo_fleet *f, job *j, const xonce_config *cfg, int no_dedup)
{
    member *m = member_of(f, j->sub);
    xonce_status st = XONCE_OK;
    if (!m->consumer) {
        st = xonce_consumer_new(&m->consumer, j->stores[0], m->source, cfg);
        if (st == XONCE_OK && no_dedup) {
            xo_consumer_no_dedup(m->consumer);
        }
    }
    if (st == XONCE_OK) {
        st = subscribe(m, j);
    }
    return st == XONCE_OK ? XO_GO_ON : xo_open_failed(j->sub->name);
}

static int make_room(xo_fleet *f)
{
    size_t stores = 1;
    for (size_t i = 0; i < f->plan->nsubs; i++) {
        stores += f->plan->subs[i].nstores;
    }
    f->njobs = f->plan->nsubs;
    f->jobs = xo_calloc(f->njobs, sizeof(*f->jobs));
    f->members = xo_calloc(f->njobs, sizeof(*f->members));
    f->stores = xo_calloc(stores, sizeof(*f->stores));
    return f->jobs && f->members && f->stores;
}

int xo_fleet_open(xo_fleet **out, const xo_plan *plan, const xo_usage *u, const xonce_config *cfg, int no_dedup)
{
    xo_fleet *f = xo_calloc(1, sizeof(*f));
    *out = f;
    if (!f) {
        return xo_out_failed(NULL);
    }
    f->plan = plan;
    int rc = make_room(f) ? XO_GO_ON : xo_out_failed(NULL);
    for (size_t i = 0; i < f->njobs && rc == XO_GO_ON; i++) {
        job *j = &f->jobs[i];
        j->sub = &plan->subs[i];
        j->stores = xo_calloc(j->sub->nstores, sizeof(*j->stores));
        rc = j->stores ? make_applies(f, j->sub, j->sub, u, &j->now) : xo_out_failed(NULL);
    }
    for (size_t i = 0; i < f->njobs && rc == XO_GO_ON; i++) {
        rc = open_source(member_of(f, &plan->subs[i]), cfg);
    }
    for (size_t i = 0; i < f->njobs && rc == XO_GO_ON; i++) {
        rc = open_stores(f, &f->jobs[i], cfg, no_dedup);
    }
    for (size_t i = 0; i < f->njobs && rc == XO_GO_ON; i++) {
        rc = open_consumer(f, &f->jobs[i], cfg, no_dedup);
    }
    if (rc == XO_GO_ON) {
        xo_fleet_batches(f, plan, cfg);
    }
    return rc;
}

int xo_fleet_start(xo_fleet *f)
{
    for (size_t i = 0; i < f->nmembers; i++) {
        if (xonce_consumer_start(f->members[i].consumer) != XONCE_OK) {
            return xo_open_failed(NULL);
        }
        f->members[i].started = 1;
    }
    return XO_GO_ON;
}

/* A crash runs a whole batch of programs again, so those run one at a time unless asked otherwise. */
void xo_fleet_batches(xo_fleet *f, const xo_plan *plan, const xonce_config *cfg)
{
    for (size_t i = 0; i < f->njobs && i < plan->nsubs; i++) {
        const xo_plan_sub *s = &plan->subs[i];
        size_t most = s->batch ? (size_t)s->batch : s->exec && !xo_config_is_set(cfg, "batch.max") ? 1 : 0;
        xo_consumer_batch_most(member_of(f, f->jobs[i].sub)->consumer, f->jobs[i].sub->topic, most);
    }
}

/* ---- new SQL ---- */

void xo_fleet_drop(xo_fleet_change *c)
{
    for (size_t i = 0; c && i < c->n; i++) {
        free_applies(c->made[i]);
    }
    if (c) {
        free(c->jobs);
        free(c->made);
        free(c->subs);
        free(c);
    }
}

static int prepare_job(xo_fleet *f, job *j, xo_plan_sub *is, const xo_usage *u, xo_fleet_change *c)
{
    applies *made = NULL;
    int rc = make_applies(f, j->sub, is, u, &made);
    c->jobs[c->n] = j;
    c->subs[c->n] = is;
    c->made[c->n++] = made;
    for (size_t i = 0; rc == XO_GO_ON && i < made->n; i++) {
        rc = xo_apply_try(&made->list[i], j->stores[i]);
    }
    return rc;
}

int xo_fleet_prepare(xo_fleet *f, xo_plan *next, const xo_usage *u, xo_fleet_change **out)
{
    char keys[200];
    xo_fleet_change *c = *out = xo_calloc(1, sizeof(*c));
    if (!c || !(c->jobs = xo_calloc(f->njobs, sizeof(*c->jobs))) || !(c->made = xo_calloc(f->njobs, sizeof(*c->made))) || !(c->subs = xo_calloc(f->njobs, sizeof(*c->subs)))) {
        xo_fleet_drop(c);
        *out = NULL;
        return xo_out_failed(NULL);
    }
    int rc = XO_GO_ON;
    for (size_t i = 0; i < f->njobs && rc == XO_GO_ON; i++) {
        job *j = &f->jobs[i];
        xo_plan_sub *is = xo_plan_find_sub(next, j->sub->name);
        if (is && xo_plan_sub_change(j->sub, is, keys, sizeof(keys)) == XO_PLAN_LIVE && strstr(keys, "sql")) {
            rc = prepare_job(f, j, is, u, c);
        }
    }
    if (rc != XO_GO_ON) {
        xo_fleet_drop(c);
        *out = NULL;
    }
    return rc;
}

void xo_fleet_take(xo_plan *plan, xo_fleet_change *c)
{
    for (size_t i = 0; i < c->n; i++) {
        xo_plan_sub *was = xo_plan_find_sub(plan, c->subs[i]->name);
        c->made[i]->older = c->jobs[i]->now;
        __atomic_store_n(&c->jobs[i]->now, c->made[i], __ATOMIC_RELEASE);
        char *sql = was->sql;
        was->sql = c->subs[i]->sql;
        c->subs[i]->sql = sql;
        xo_log(XO_INFO, "consume", "%s%.100s%s: sql has changed", was->name ? "[subscription " : "", was->name ? was->name : "", was->name ? "]" : "");
    }
    c->n = 0;
    xo_fleet_drop(c);
}

size_t xo_fleet_count(const xo_fleet *f)
{
    return f->nmembers;
}

xonce_consumer *xo_fleet_at(const xo_fleet *f, size_t i)
{
    return f->members[i].consumer;
}

void xo_fleet_ends(const xo_fleet *f, size_t i, const char **from, const char **group)
{
    *from = f->members[i].from;
    *group = f->members[i].group;
}

void xo_fleet_ask_stop(const xo_fleet *f)
{
    for (size_t i = 0; i < f->nmembers; i++) {
        if (f->members[i].consumer) {
            xonce_consumer_ask_stop(f->members[i].consumer);
        }
    }
}

/* ---- until the end ---- */

enum { PATIENCE_MS = 30000 };

static uint64_t progress_of(const xonce_counts *n)
{
    return n->polled + n->fresh + n->duplicate + n->rejected + n->retried;
}

/* An outage is sat out; but who wanted to end when idle does not want to wait for ever, least of all for what was never there. */
static int is_hopeless(outage *o, const xonce_counts *n, int64_t idle)
{
    int64_t now = xo_mono_ms();
    if (n->healthy || progress_of(n) != o->before || o->since == 0) {
        o->before = progress_of(n);
        o->since = now;
    }
    return idle > 0 && !n->healthy && now - o->since >= idle + (n->polled ? PATIENCE_MS : 0);
}

/* The counts of all. *hopeless: none that still runs will come to an end by itself. */
static void sum_up(xo_fleet *f, int64_t idle, xonce_counts *sum, int *hopeless)
{
    *sum = (xonce_counts){.size = sizeof(*sum), .healthy = 1};
    *hopeless = 0;
    size_t running = 0, lost = 0;
    for (size_t i = 0; i < f->nmembers; i++) {
        xonce_counts n = {.size = sizeof(n)};
        if (xonce_consumer_counts(f->members[i].consumer, &n) != XONCE_OK) {
            continue;
        }
        sum->fresh += n.fresh;
        sum->duplicate += n.duplicate;
        sum->rejected += n.rejected;
        sum->retried += n.retried;
        sum->in_flight += n.in_flight;
        sum->healthy = sum->healthy && n.healthy;
        if (!xo_consumer_ended(f->members[i].consumer, NULL)) {
            running++;
            lost += (size_t)is_hopeless(&f->members[i].out, &n, idle);
        }
    }
    *hopeless = lost && lost == running;
}

static void show_progress(const xonce_counts *n)
{
    xo_out_progress("%" PRIu64 " fresh, %" PRIu64 " duplicate, %" PRIu64 " rejected, %" PRIu64 " retried, %" PRIu64 " in flight%s", n->fresh,
                    n->duplicate, n->rejected, n->retried, n->in_flight, n->healthy ? "" : "  NOT HEALTHY");
}

/* *failed: one of them cannot go on. */
static int all_ended(const xo_fleet *f, int *failed)
{
    int all = 1;
    *failed = 0;
    for (size_t i = 0; i < f->nmembers; i++) {
        xo_error why = {.pub.code = XONCE_OK};
        all = xo_consumer_ended(f->members[i].consumer, &why) && all;
        *failed = *failed || why.pub.code != XONCE_OK; /* its log line has told the reason already */
    }
    return all;
}

static int stop_all(xo_fleet *f, int64_t give_up, int64_t within)
{
    int rc = XO_EXIT_OK;
    char time[32];
    xo_fleet_ask_stop(f);
    for (size_t i = 0; i < f->nmembers; i++) {
        int64_t left = give_up - xo_mono_ms();
        xonce_status st = xonce_consumer_stop(f->members[i].consumer, left > 0 ? left : 0);
        if (st == XONCE_E_TIMEOUT) {
            xo_format_duration(within, time, sizeof(time));
            xo_out_error("group %s did not stop within %s (--stop-within): handlers still run; their messages come again", f->members[i].group, time);
            rc = XO_EXIT_FAILED;
        } else if (st != XONCE_OK) {
            rc = xo_out_failed(NULL);
        }
    }
    return rc;
}

int xo_fleet_wait_for_end(xo_fleet *f, const xo_fleet_wait *w)
{
    int rc = XO_EXIT_OK, failed = 0;
    int64_t give_up = INT64_MAX;
    for (int i = 0; !all_ended(f, &failed) && !failed && xo_mono_ms() < give_up; i++) {
        xonce_counts n;
        int hopeless = 0;
        if (i % 8 == 0) {
            sum_up(f, w->idle, &n, &hopeless);
            show_progress(&n);
        }
        if (hopeless) {
            xo_out_error("gave up: nothing came, and the endpoint or the database cannot be reached");
            rc = XO_EXIT_FAILED;
            break;
        }
        if (*w->reload) {
            *w->reload = 0;
            w->do_reload(f, w->arg);
        }
        if (*w->stop && give_up == INT64_MAX) {
            give_up = xo_mono_ms() + w->stop_within;
        }
        xo_pause_ms(25);
    }
    xo_out_progress_end();
    int stopped = stop_all(f, give_up == INT64_MAX ? xo_mono_ms() + w->stop_within : give_up, w->stop_within);
    (void)all_ended(f, &failed);
    return failed ? XO_EXIT_FAILED : rc != XO_EXIT_OK ? rc : stopped;
}

void xo_fleet_print_counts(const xo_fleet *f)
{
    xonce_counts sum = {.size = sizeof(sum)};
    for (size_t i = 0; i < f->nmembers; i++) {
        xonce_counts n = {.size = sizeof(n)};
        (void)xonce_consumer_counts(f->members[i].consumer, &n);
        sum.fresh += n.fresh;
        sum.duplicate += n.duplicate;
        sum.rejected += n.rejected;
        sum.retried += n.retried;
        if (f->nmembers > 1) {
            xo_out("group %s: %" PRIu64 " fresh, %" PRIu64 " duplicate, %" PRIu64 " rejected, %" PRIu64 " retried\n", f->members[i].group, n.fresh, n.duplicate, n.rejected, n.retried);
        }
    }
    xo_out("consumed %" PRIu64 " fresh, %" PRIu64 " duplicate, %" PRIu64 " rejected, %" PRIu64 " retried\n", sum.fresh, sum.duplicate, sum.rejected, sum.retried);
}

int xo_fleet_has_ended(const xo_fleet *f)
{
    for (size_t i = 0; i < f->nmembers; i++) {
        if (f->members[i].started && !xo_consumer_ended(f->members[i].consumer, NULL)) {
            return 0;
        }
    }
    return 1;
}

void xo_fleet_free(xo_fleet *f)
{
    if (!f) {
        return;
    }
    xo_fleet_ask_stop(f);
    for (size_t i = 0; i < f->nmembers; i++) {
        xonce_consumer_free(f->members[i].consumer);
        xonce_source_close(f->members[i].source);
    }
    for (size_t i = f->nstores; i > 0; i--) { /* those that share connections before what they share */
        xonce_store_close(f->stores[i - 1].store);
    }
    for (size_t i = 0; i < f->njobs; i++) {
        free_applies(f->jobs[i].now);
        free(f->jobs[i].stores);
    }
    free(f->jobs);
    free(f->members);
    free(f->stores);
    free(f);
}
