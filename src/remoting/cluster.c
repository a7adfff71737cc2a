/* A cluster: routes and where brokers are, kept in memory and asked for when they are too old. */
#include "remoting/cluster.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/mem.h"
#include "remoting/cluster_int.h"
#include "remoting/io.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUTE_KEPT_MS = 600000 }; /* after the last time somebody asked for it */

/* ---- life ---- */

static void free_cached(xo_cached *e)
{
    xo_route_free(e->route);
    free(e->topic);
    free(e);
}

void xo_cluster_close(xo_cluster *c)
{
    if (!c) {
        return;
    }
    xo_remoting_close(c->remoting);
    while (c->routes) {
        xo_cached *e = c->routes;
        c->routes = e->next;
        free_cached(e);
    }
    for (size_t i = 0; i < c->nservers; i++) {
        free(c->servers[i]);
    }
    free(c->servers);
    free(c->instance);
    xo_brokers_free(c->known, c->nknown);
    pthread_cond_destroy(&c->asked);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

xonce_status xo_cluster_open(xo_cluster **out, const char *uri, const xonce_config *cfg, const xo_remoting_events *events, void *self)
{
    *out = NULL;
    xo_cluster *c = xo_calloc(1, sizeof(*c));
    if (!c || pthread_mutex_init(&c->lock, NULL) != 0) {
        free(c);
        return xo_nomem();
    }
    if (xo_cond_init(&c->asked) != 0) {
        pthread_mutex_destroy(&c->lock);
        free(c);
        return xo_nomem();
    }
    c->timeout = xo_config_int(cfg, "rocketmq.timeout");
    xonce_status st = xo_cluster_uri(c, uri, cfg);
    if (!st) {
        atomic_init(&c->current, (size_t)(xo_random() % c->nservers));
        st = xo_remoting_open(&c->remoting, cfg, events, self);
    }
    if (st) {
        xo_error why;
        xo_error_save(&why);
        xo_cluster_close(c);
        return xo_error_restore(&why);
    }
    *out = c;
    return XONCE_OK;
}

xo_remoting *xo_cluster_remoting(const xo_cluster *c)
{
    return c->remoting;
}

int64_t xo_cluster_timeout(const xo_cluster *c)
{
    return c->timeout;
}

const char *xo_cluster_server(const xo_cluster *c, size_t i)
{
    return i < c->nservers ? c->servers[i] : NULL;
}

/* ---- namespace ---- */

static int is_system(const char *name)
{
    static const char *const names[] = {"TBW102", "SCHEDULE_TOPIC_XXXX", "BenchmarkTest", "TRANS_CHECK_MAX_TIME_TOPIC", "SELF_TEST_TOPIC", "OFFSET_MOVED_EVENT"};
    static const char *const prefixes[] = {"rmq_sys_", "RMQ_SYS_", "CID_RMQ_SYS_"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            return 1;
        }
    }
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) {
            return 1;
        }
    }
    return 0;
}

/* The length of %RETRY% or %DLQ% in front of a name. */
static size_t kind_of(const char *name)
{
    return strncmp(name, "%RETRY%", 7) == 0 ? 7 : strncmp(name, "%DLQ%", 5) == 0 ? 5 : 0;
}

static int has_instance(const xo_cluster *c, const char *rest)
{
    size_t n = strlen(c->instance);
    return n > 0 && strncmp(rest, c->instance, n) == 0 && rest[n] == '%';
}

char *xo_cluster_wrap(const xo_cluster *c, const char *name)
{
    size_t kind = kind_of(name);
    char *out;
    if (*c->instance == 0 || is_system(name + kind) || has_instance(c, name + kind)) {
        out = xo_strdup(name);
    } else {
        out = xo_printf("%.*s%s%%%s", (int)kind, name, c->instance, name + kind);
    }
    if (!out) {
        (void)xo_nomem();
    }
    return out;
}

const char *xo_cluster_unwrap(const xo_cluster *c, const char *name, xo_buf *space)
{
    size_t kind = kind_of(name);
    if (!has_instance(c, name + kind)) {
        return name;
    }
    const char *rest = name + kind + strlen(c->instance) + 1;
    if (kind == 0) {
        return rest;
    }
    xo_buf_reset(space);
    xo_buf_add(space, name, kind);
    xo_buf_str(space, rest);
    return space->failed ? name : space->p;
}

/* ---- routes ---- */

/* Lock held. Entries that nobody wanted for long go. */
static xo_cached *find_entry(xo_cluster *c, const char *topic, int64_t now)
{
    xo_cached *found = NULL;
    for (xo_cached **at = &c->routes; *at;) {
        xo_cached *e = *at;
        if (strcmp(e->topic, topic) == 0) {
            found = e;
        } else if (!e->asking && e->waiters == 0 && now - e->used > ROUTE_KEPT_MS) {
            *at = e->next;
            free_cached(e);
            continue;
        }
        at = &e->next;
    }
    if (!found) {
        found = xo_calloc(1, sizeof(*found));
        if (found && !(found->topic = xo_strdup(topic))) {
            free(found);
            found = NULL;
        }
        if (found) {
            found->next = c->routes;
            c->routes = found;
        }
    }
    if (found) {
        found->used = now;
    }
    return found;
}

static xonce_status ask_route(xo_cluster *c, const char *topic, xo_route **out)
{
    char what[300];
    xo_command answer;
    *out = NULL;
    (void)snprintf(what, sizeof(what), "the route of %s", topic);
    xonce_status st = xo_cluster_question(c, XO_RMQ_ROUTE, topic, what, &answer);
    if (!st) {
        st = xo_route_parse(answer.body, answer.body_len, topic, out);
        if (st) {
            xo_error why;
            xo_error_save(&why);
            xo_command_free(&answer);
            return xo_error_restore(&why);
        }
        xo_command_free(&answer);
    }
    return st;
}

/* Lock held; released while a name server is asked. */
static void refresh(xo_cluster *c, xo_cached *e)
{
    xo_route *fresh;
    e->asking = 1;
    pthread_mutex_unlock(&c->lock);
    xonce_status st = ask_route(c, e->topic, &fresh);
    pthread_mutex_lock(&c->lock);
    if (st) {
        xo_error_save(&e->why);
    } else {
        xo_route_free(e->route);
        e->route = fresh;
        e->at = xo_mono_ms();
    }
    e->failed = st != XONCE_OK;
    e->asking = 0;
    e->rounds++;
    pthread_cond_broadcast(&c->asked);
}

xonce_status xo_cluster_route(xo_cluster *c, const char *topic, int64_t max_age_ms, xo_route **out)
{
    xonce_status st = XONCE_OK;
    *out = NULL;
    pthread_mutex_lock(&c->lock);
    int64_t now = xo_mono_ms();
    xo_cached *e = find_entry(c, topic, now);
    if (!e) {
        pthread_mutex_unlock(&c->lock);
        return xo_nomem();
    }
    if (!e->route || now - e->at >= max_age_ms) {
        if (xo_remoting_inside(c->remoting)) {
            pthread_mutex_unlock(&c->lock);
            (void)xo_fail(XONCE_E_NOT_FOUND, "the route of %s is not known, and a callback of a connection cannot wait for it", topic);
            xo_error_set_native(0, 1);
            return XONCE_E_NOT_FOUND;
        }
        uint64_t round = e->rounds;
        e->waiters++;
        if (!e->asking) {
            refresh(c, e);
        }
        while (e->rounds == round) {
            pthread_cond_wait(&c->asked, &c->lock); /* who asks has its own deadline */
        }
        e->waiters--;
        st = e->failed ? xo_error_restore(&e->why) : XONCE_OK;
    }
    if (!st) {
        *out = xo_route_copy(e->route);
        st = *out ? XONCE_OK : xo_nomem();
    }
    pthread_mutex_unlock(&c->lock);
    return st;
}

/* ---- brokers ---- */

/* Lock held. The newest route that knows the broker tells; else the cluster information. NULL: none. */
static const xo_broker *find_broker(const xo_cluster *c, const char *name)
{
    const xo_broker *found = NULL;
    int64_t at = INT64_MIN;
    for (const xo_cached *e = c->routes; e; e = e->next) {
        for (size_t i = 0; e->route && e->at >= at && i < e->route->nbrokers; i++) {
            if (strcmp(e->route->brokers[i].name, name) == 0) {
                found = &e->route->brokers[i];
                at = e->at;
            }
        }
    }
    for (size_t i = 0; !found && i < c->nknown; i++) {
        if (strcmp(c->known[i].name, name) == 0) {
            found = &c->known[i];
        }
    }
    return found;
}

xonce_status xo_cluster_broker(xo_cluster *c, const char *name, int slave_too, char *out, size_t size)
{
    xonce_status st = XONCE_OK;
    pthread_mutex_lock(&c->lock);
    const xo_broker *b = find_broker(c, name);
    const char *address = b && b->nnodes > 0 && (slave_too || b->nodes[0].id == 0) ? b->nodes[0].address : NULL;
    if (!address || strlen(address) >= size) {
        st = XONCE_E_NOT_FOUND;
    } else {
        memcpy(out, address, strlen(address) + 1);
    }
    pthread_mutex_unlock(&c->lock);
    if (st) {
        (void)xo_fail(st, "broker %s: %s", name, b ? "its master is not known to the name servers now" : "no route names it");
        xo_error_set_native(0, 1);
    }
    return st;
}

void xo_cluster_broker_at(xo_cluster *c, const char *address, char *out, size_t size)
{
    const char *name = "";
    int64_t at = INT64_MIN;
    pthread_mutex_lock(&c->lock);
    for (const xo_cached *e = c->routes; e; e = e->next) {
        for (size_t i = 0; e->route && e->at >= at && i < e->route->nbrokers; i++) {
            const xo_broker *b = &e->route->brokers[i];
            for (size_t k = 0; k < b->nnodes; k++) {
                if (strcmp(b->nodes[k].address, address) == 0) {
                    name = b->name;
                    at = e->at;
                }
            }
        }
    }
    (void)snprintf(out, size, "%s", name);
    pthread_mutex_unlock(&c->lock);
}

typedef struct {
    char **p;
    size_t n, cap;
} text_list;

static int add_once(text_list *l, const char *text)
{
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->p[i], text) == 0) {
            return 0;
        }
    }
    char **p = xo_grow(l->p, &l->cap, l->n + 1, sizeof(*p));
    if (!p) {
        return -1;
    }
    l->p = p;
    p[l->n] = xo_strdup(text);
    return p[l->n] ? (l->n++, 0) : -1;
}

void xo_addresses_free(char **a, size_t n)
{
    for (size_t i = 0; a && i < n; i++) {
        free(a[i]);
    }
    free(a);
}

xonce_status xo_cluster_addresses(xo_cluster *c, int masters_only, char ***out, size_t *n)
{
    text_list l = {0};
    int failed = 0;
    pthread_mutex_lock(&c->lock);
    for (const xo_cached *e = c->routes; e; e = e->next) {
        for (size_t i = 0; e->route && i < e->route->nbrokers; i++) {
            const xo_broker *b = &e->route->brokers[i];
            /* a broker that moved is where the newest route says */
            b = find_broker(c, b->name);
            for (size_t k = 0; b && k < b->nnodes; k++) {
                if (!masters_only || b->nodes[k].id == 0) {
                    failed |= add_once(&l, b->nodes[k].address);
                }
            }
        }
    }
    pthread_mutex_unlock(&c->lock);
    *out = NULL;
    *n = 0;
    if (failed) {
        xo_addresses_free(l.p, l.n);
        return xo_nomem();
    }
    *out = l.p;
    *n = l.n;
    return XONCE_OK;
}

xonce_status xo_cluster_ask(xo_cluster *c, const char *broker, xo_command *request, const char *what, xo_command *answer)
{
    char address[280];
    xo_command space, *got = answer ? answer : &space;
    memset(got, 0, sizeof(*got));
    xonce_status st = xo_cluster_broker(c, broker, 0, address, sizeof(address));
    if (st) {
        xo_command_free(request);
        return xo_error_context("%s", what);
    }
    st = xo_remoting_call(c->remoting, address, request, c->timeout, got);
    if (st) {
        return xo_error_context("%s", what);
    }
    st = xo_command_error(got, what);
    if (st || !answer) {
        xo_error why;
        xo_error_save(&why);
        xo_command_free(got);
        if (st) {
            (void)xo_error_restore(&why);
        }
    }
    return st;
}

xonce_status xo_cluster_brokers(xo_cluster *c, xo_broker **out, size_t *n)
{
    xo_command answer;
    xo_broker *known;
    *out = NULL;
    *n = 0;
    xonce_status st = xo_cluster_question(c, XO_RMQ_CLUSTER_INFO, NULL, "the brokers of the cluster", &answer);
    if (st) {
        return st;
    }
    st = xo_brokers_parse(answer.body, answer.body_len, out, n);
    xo_command_free(&answer);
    if (!st) {
        st = xo_brokers_copy(*out, *n, &known);
    }
    if (st) {
        xo_brokers_free(*out, *n);
        *out = NULL;
        *n = 0;
        return st;
    }
    pthread_mutex_lock(&c->lock);
    xo_brokers_free(c->known, c->nknown);
    c->known = known;
    c->nknown = *n;
    pthread_mutex_unlock(&c->lock);
    return XONCE_OK;
}
