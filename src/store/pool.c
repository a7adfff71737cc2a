/* Connections of one database, shared by threads and by the stores of several groups. */
#include "base/clock.h"
#include "base/log.h"
#include "store/tx.h"

#include <stdlib.h>
#include <string.h>

enum { SQL_CACHE_SLOTS = 512, SQL_CACHE_MAX = 4096 };
/* A jump of the database's clock against ours by more than this is remembered: messages polled before it are judged by the old one. */
enum { CLOCK_JUMP_MS = 60000 };

typedef struct idle_conn {
    xo_conn *c;
    struct idle_conn *next;
} idle_conn;

struct xo_pool {
    const xo_dialect *d;
    xo_open_options options;
    xonce_config *cfg;
    int users;
    pthread_mutex_t lock;
    pthread_cond_t free_cond;
    idle_conn *idle;          /* most recently used first */
    int count, max, waiting;
    int64_t wait_ms;
    unsigned long next_id;
    /* one writer at a time */
    pthread_cond_t writer_cond;
    int writer_taken;
    /* statements */
    pthread_rwlock_t sql_lock;
    xo_sql *sql[SQL_CACHE_SLOTS];
    size_t nsql;
    /* record table and clock */
    int has_layout;
    xo_layout layout;
    int clock_known;
    int64_t clock_offset, clock_before, clock_jump_boot;
    xonce_hooks hooks;
    void *hooks_arg;
};

static const xo_dialect *dialect_for(const char *scheme)
{
    if (strcmp(scheme, "sqlite") == 0)
        return xo_dialect_sqlite();
    if (strcmp(scheme, "postgresql") == 0 || strcmp(scheme, "postgres") == 0)
        return xo_dialect_postgres();
    if (strcmp(scheme, "mysql") == 0 || strcmp(scheme, "mariadb") == 0)
        return xo_dialect_mysql();
    return NULL;
}

static xonce_status choose_dialect(xo_pool *p, const char *scheme)
{
    p->d = dialect_for(scheme);
    if (p->d)
        return XONCE_OK;
    if (strcmp(scheme, "sqlite") == 0 || strncmp(scheme, "postgres", 8) == 0 || strcmp(scheme, "mysql") == 0 || strcmp(scheme, "mariadb") == 0)
        return xo_fail(XONCE_E_INVALID, "this build of xonce has no %s store: configure it with the client library installed", scheme);
    return xo_fail(XONCE_E_INVALID, "store URI: unknown scheme \"%s\"; use sqlite:FILE, postgresql://... or mysql://...", scheme);
}

static void free_pool(xo_pool *p)
{
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->free_cond);
    pthread_cond_destroy(&p->writer_cond);
    pthread_rwlock_destroy(&p->sql_lock);
    for (size_t i = 0; i < SQL_CACHE_SLOTS; i++)
        for (xo_sql *s = p->sql[i], *next; s; s = next) {
            next = s->next;
            xo_sql_free(s);
        }
    xo_uri_free(&p->options.uri);
    xo_wipe_free(p->options.uri_text);
    xonce_config_free(p->cfg);
    free(p);
}

xonce_status xo_pool_open(xo_pool **out, const char *uri, const xonce_config *cfg)
{
    *out = NULL;
    xo_pool *p = xo_calloc(1, sizeof *p);
    if (!p)
        return xo_nomem();
    pthread_mutex_init(&p->lock, NULL);
    pthread_rwlock_init(&p->sql_lock, NULL);
    xo_cond_init(&p->free_cond);
    xo_cond_init(&p->writer_cond);
    p->users = 1;
    xonce_status st = xo_uri_parse(&p->options.uri, uri);
    if (st == XONCE_OK)
        st = choose_dialect(p, p->options.uri.scheme);
    if (st == XONCE_OK)
        st = xo_config_copy(&p->cfg, cfg);
    if (st == XONCE_OK && !(p->options.uri_text = xo_strdup(uri)))
        st = xo_nomem();
    if (st != XONCE_OK) {
        free_pool(p);
        return st;
    }
    p->options.cfg = p->cfg;
    p->options.connect_ms = xo_config_int(p->cfg, "store.connect-timeout");
    p->options.lock_ms = xo_config_int(p->cfg, "store.lock-timeout");
    p->options.idle_ms = xo_config_int(p->cfg, "handler.timeout");
    const char *mode = xo_uri_query(&p->options.uri, "mode");
    p->options.read_only = mode && strcmp(mode, "ro") == 0;
    p->wait_ms = xo_config_int(p->cfg, "store.pool-timeout");
    p->max = (int)xo_config_int(p->cfg, "store.connections");
    if (p->max == 0)
        p->max = (int)xo_config_int(p->cfg, "workers") + 2;
    *out = p;
    return XONCE_OK;
}

void xo_pool_share(xo_pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->users++;
    pthread_mutex_unlock(&p->lock);
}

static void close_conn(xo_pool *p, xo_conn *c)
{
    if (c->user && p->hooks.disconnected)
        p->hooks.disconnected(p->hooks_arg, c->user);
    c->user = NULL;
    p->d->close(c);
}

void xo_pool_close(xo_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    int users = --p->users;
    pthread_mutex_unlock(&p->lock);
    if (users > 0)
        return;
    for (idle_conn *i = p->idle, *next; i; i = next) {
        next = i->next;
        close_conn(p, i->c);
        free(i);
    }
    free_pool(p);
}

const xo_dialect *xo_pool_dialect(const xo_pool *p)
{
    return p->d;
}

const xo_open_options *xo_pool_options(const xo_pool *p)
{
    return &p->options;
}

/* The user's PREPAREs and SETs, outside any message: through a transaction object that is open on nothing. */
static xonce_status run_connected_hook(xo_pool *p, xo_conn *c);

static xonce_status open_conn(xo_pool *p, xo_conn **out)
{
    xonce_status st = p->d->open(out, &p->options);
    if (st != XONCE_OK)
        return st;
    pthread_mutex_lock(&p->lock);
    (*out)->id = ++p->next_id;
    pthread_mutex_unlock(&p->lock);
    st = run_connected_hook(p, *out);
    if (st != XONCE_OK) {
        xo_error why;
        xo_error_save(&why);
        close_conn(p, *out);
        *out = NULL;
        xo_error_restore(&why);
    }
    return st;
}

static xo_conn *take_idle(xo_pool *p)
{
    while (p->idle) {
        idle_conn *i = p->idle;
        xo_conn *c = i->c;
        p->idle = i->next;
        free(i);
        if (!c->lost && p->d->usable(c))
            return c;
        p->count--;
        pthread_mutex_unlock(&p->lock);
        close_conn(p, c);
        pthread_mutex_lock(&p->lock);
    }
    return NULL;
}

xonce_status xo_pool_get(xo_pool *p, xo_conn **out)
{
    *out = NULL;
    int64_t deadline = xo_mono_ms() + p->wait_ms;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        *out = take_idle(p);
        if (*out || p->count < p->max)
            break;
        p->waiting++;
        int late = xo_cond_wait_ms(&p->free_cond, &p->lock, deadline);
        p->waiting--;
        if (late && !p->idle && p->count >= p->max) {
            pthread_mutex_unlock(&p->lock);
            return xo_fail_sql(XONCE_E_TIMEOUT, XO_SQL_AGAIN, 0, NULL,
                               "no database connection became free in %lld ms: all %d are in use; raise store.connections or end transactions sooner",
                               (long long)p->wait_ms, p->max);
        }
    }
    if (*out) {
        pthread_mutex_unlock(&p->lock);
        return XONCE_OK;
    }
    p->count++;
    pthread_mutex_unlock(&p->lock);
    xonce_status st = open_conn(p, out);
    if (st != XONCE_OK) {
        pthread_mutex_lock(&p->lock);
        p->count--;
        pthread_cond_signal(&p->free_cond);
        pthread_mutex_unlock(&p->lock);
    }
    return st;
}

void xo_pool_put(xo_pool *p, xo_conn *c)
{
    if (!c)
        return;
    idle_conn *i = c->lost ? NULL : xo_calloc(1, sizeof *i);
    if (!i)
        close_conn(p, c);
    pthread_mutex_lock(&p->lock);
    if (i) {
        i->c = c;
        i->next = p->idle;
        p->idle = i;
    } else {
        p->count--;
    }
    pthread_cond_signal(&p->free_cond);
    pthread_mutex_unlock(&p->lock);
}

int xo_pool_wanted(xo_pool *p)
{
    pthread_mutex_lock(&p->lock);
    int wanted = p->waiting > 0;
    pthread_mutex_unlock(&p->lock);
    return wanted;
}

xonce_status xo_pool_writer_lock(xo_pool *p)
{
    if (!p->d->one_writer)
        return XONCE_OK;
    int64_t deadline = xo_mono_ms() + p->wait_ms;
    pthread_mutex_lock(&p->lock);
    while (p->writer_taken) {
        if (xo_cond_wait_ms(&p->writer_cond, &p->lock, deadline) && p->writer_taken) {
            pthread_mutex_unlock(&p->lock);
            return xo_fail_sql(XONCE_E_TIMEOUT, XO_SQL_AGAIN, 0, NULL, "another transaction of this process has been writing for %lld ms", (long long)p->wait_ms);
        }
    }
    p->writer_taken = 1;
    pthread_mutex_unlock(&p->lock);
    return XONCE_OK;
}

void xo_pool_writer_unlock(xo_pool *p)
{
    if (!p->d->one_writer)
        return;
    pthread_mutex_lock(&p->lock);
    p->writer_taken = 0;
    pthread_cond_signal(&p->writer_cond);
    pthread_mutex_unlock(&p->lock);
}

/* ---- statements ---- */

static size_t sql_slot(const char *s)
{
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return (size_t)(h % SQL_CACHE_SLOTS);
}

static const xo_sql *sql_find(const xo_pool *p, size_t slot, const char *sql)
{
    for (const xo_sql *s = p->sql[slot]; s; s = s->next)
        if (strcmp(s->original, sql) == 0)
            return s;
    return NULL;
}

xonce_status xo_pool_sql(xo_pool *p, const char *sql, const xo_sql **out, int *owned)
{
    *owned = 0;
    size_t slot = sql_slot(sql);
    pthread_rwlock_rdlock(&p->sql_lock);
    *out = sql_find(p, slot, sql);
    pthread_rwlock_unlock(&p->sql_lock);
    if (*out)
        return XONCE_OK;
    xo_sql *made = NULL;
    xonce_status st = xo_sql_make(&made, p->d->kind, sql);
    if (st != XONCE_OK)
        return st;
    pthread_rwlock_wrlock(&p->sql_lock);
    *out = sql_find(p, slot, sql); /* another thread may have been quicker */
    if (*out) {
        xo_sql_free(made);
    } else if (p->nsql < SQL_CACHE_MAX) {
        made->next = p->sql[slot];
        p->sql[slot] = made;
        p->nsql++;
        *out = made;
    } else {
        *out = made;
        *owned = 1;
    }
    pthread_rwlock_unlock(&p->sql_lock);
    return XONCE_OK;
}

/* ---- record table, clock, hooks ---- */

xonce_status xo_pool_layout(xo_pool *p, xo_conn *c, int refresh, xo_layout *out)
{
    pthread_mutex_lock(&p->lock);
    int known = p->has_layout && !refresh;
    *out = p->layout;
    pthread_mutex_unlock(&p->lock);
    if (known)
        return XONCE_OK;
    xonce_status st = p->d->layout(c, out);
    if (st != XONCE_OK)
        return st;
    pthread_mutex_lock(&p->lock);
    p->layout = *out;
    p->has_layout = out->exists; /* a table that is missing now may be made later */
    pthread_mutex_unlock(&p->lock);
    return XONCE_OK;
}

void xo_pool_clock(xo_pool *p, int64_t database_now_ms)
{
    int64_t boot = xo_boot_ms(), offset = database_now_ms - boot;
    pthread_mutex_lock(&p->lock);
    if (!p->clock_known) {
        p->clock_before = offset;
        p->clock_known = 1;
    } else if (llabs(offset - p->clock_offset) > CLOCK_JUMP_MS) {
        p->clock_before = p->clock_offset;
        p->clock_jump_boot = boot;
    }
    p->clock_offset = offset;
    pthread_mutex_unlock(&p->lock);
}

int64_t xo_pool_database_time(xo_pool *p, int64_t boot_ms)
{
    pthread_mutex_lock(&p->lock);
    int64_t t = boot_ms + (boot_ms < p->clock_jump_boot ? p->clock_before : p->clock_offset);
    pthread_mutex_unlock(&p->lock);
    return t;
}

void xo_pool_hooks(xo_pool *p, const xonce_hooks *h, void *arg)
{
    size_t n = h->size < sizeof p->hooks ? h->size : sizeof p->hooks;
    memset(&p->hooks, 0, sizeof p->hooks);
    memcpy(&p->hooks, h, n);
    p->hooks_arg = arg;
}

const xonce_hooks *xo_pool_get_hooks(const xo_pool *p, void **arg)
{
    *arg = p->hooks_arg;
    return &p->hooks;
}

static xonce_status run_connected_hook(xo_pool *p, xo_conn *c)
{
    if (!p->hooks.connected)
        return XONCE_OK;
    xonce_store s = {.pool = p, .d = p->d, .cfg = p->cfg};
    xonce_tx tx = {.s = &s, .c = c};
    xonce_status st = p->hooks.connected(p->hooks_arg, &tx, &c->user);
    if (st == XONCE_OK)
        st = xonce_tx_flush(&tx);
    else
        c->user = NULL; /* nothing of the user's to be handed to disconnected() */
    xo_tx_close(&tx, 0);
    xo_error why;
    xo_error_save(&why);
    p->d->rollback(c);
    xo_error_restore(&why);
    return st;
}
