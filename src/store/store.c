/* A store: one database as seen by one consumer group. */
#include "base/clock.h"
#include "base/log.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

enum { UNSAFE_FRESH_MS = 6 * 3600 * 1000 };

static int on_clock(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = xonce_row_int(r, 0);
    return 0;
}

/* Version, table and clock are learnt once, at open, so that a typo in the URI or a dead server shows here. */
static xonce_status greet(xonce_store *s)
{
    xo_buf sql = {0};
    xo_buf_printf(&sql, "SELECT %s", s->d->sql_now);
    xonce_status st = xo_buf_status(&sql);
    int64_t now = 0;
    if (st == XONCE_OK)
        st = xo_store_query(s, sql.p, NULL, 0, on_clock, &now, NULL);
    xo_buf_free(&sql);
    if (st == XONCE_OK)
        xo_pool_clock(s->pool, now);
    return st;
}

static xonce_status make_store(xonce_store **out, xo_pool *pool, const char *group, const xonce_config *cfg)
{
    xonce_store *s = xo_calloc(1, sizeof *s);
    if (!s)
        return xo_nomem();
    s->pool = pool;
    s->d = xo_pool_dialect(pool);
    s->group = xo_strdup(group);
    xonce_status st = xo_config_copy(&s->cfg, cfg);
    if (st != XONCE_OK || !s->group) {
        free(s->group);
        free(s);
        return st != XONCE_OK ? st : xo_nomem();
    }
    s->max_attempts = (int)xo_config_int(s->cfg, "attempts");
    s->judge_sql = (int)xo_config_int(s->cfg, "sql.errors");
    s->reject_collision = (int)xo_config_int(s->cfg, "collision");
    s->keep_ms = xo_config_int(s->cfg, "prune.keep");
    if (xo_config_int(s->cfg, "prune.unsafe") && s->keep_ms < UNSAFE_FRESH_MS) { /* it makes records short-lived, not messages stale */
        s->keep_ms = UNSAFE_FRESH_MS;
    }
    s->tries = (int)xo_config_int(s->cfg, "store.tries");
    s->handler_ms = xo_config_int(s->cfg, "handler.timeout");
    *out = s;
    return XONCE_OK;
}

xonce_status xonce_store_open(xonce_store **out, const char *uri, const char *group, const xonce_config *cfg)
{
    if (!out || !uri || !group)
        return xo_fail(XONCE_E_INVALID, "xonce_store_open: out, uri and group must not be NULL");
    *out = NULL;
    xonce_status st = xo_check_group(group);
    if (st != XONCE_OK)
        return st;
    xo_pool *pool = NULL;
    st = xo_pool_open(&pool, uri, cfg);
    if (st != XONCE_OK)
        return st;
    xonce_store *s = NULL;
    st = make_store(&s, pool, group, cfg);
    if (st != XONCE_OK) {
        xo_pool_close(pool);
        return st;
    }
    st = greet(s);
    if (st != XONCE_OK) {
        xo_error e;
        xo_error_save(&e);
        xonce_store_close(s);
        return xo_error_restore(&e);
    }
    *out = s;
    return XONCE_OK;
}

xonce_status xonce_store_for_group(xonce_store **out, xonce_store *base, const char *group)
{
    if (!out || !base || !group)
        return xo_fail(XONCE_E_INVALID, "xonce_store_for_group: out, base and group must not be NULL");
    *out = NULL;
    xonce_status st = xo_check_group(group);
    if (st != XONCE_OK)
        return st;
    st = make_store(out, base->pool, group, base->cfg);
    if (st == XONCE_OK)
        xo_pool_share(base->pool);
    return st;
}

void xonce_store_close(xonce_store *s)
{
    if (!s)
        return;
    xo_pool_close(s->pool);
    xonce_config_free(s->cfg);
    free(s->group);
    free(s);
}

xonce_status xonce_store_identify(xonce_store *s, xonce_identify_fn fn, void *arg)
{
    if (!s)
        return xo_fail(XONCE_E_INVALID, "xonce_store_identify: store is NULL");
    s->identify = fn;
    s->identify_arg = arg;
    return XONCE_OK;
}

/* The connection opened at the start has not run the new hook: it is retired by asking for it once more. */
xonce_status xonce_store_hooks(xonce_store *s, const xonce_hooks *hooks, void *arg)
{
    if (!s || !hooks || hooks->size < sizeof(size_t))
        return xo_fail(XONCE_E_INVALID, "xonce_store_hooks: store or hooks missing, or hooks.size not set");
    xo_pool_hooks(s->pool, hooks, arg);
    xo_conn *c = NULL;
    xonce_status st = xo_pool_get(s->pool, &c);
    if (st != XONCE_OK)
        return st;
    c->lost = 1;
    xo_pool_put(s->pool, c);
    return XONCE_OK;
}

void *xo_store_worker_start(xonce_store *s, xonce_status *st)
{
    void *arg = NULL, *worker = NULL;
    const xonce_hooks *h = xo_pool_get_hooks(s->pool, &arg);
    *st = h->worker_start ? h->worker_start(arg, &worker) : XONCE_OK;
    return worker;
}

void xo_store_worker_end(xonce_store *s, void *worker)
{
    void *arg = NULL;
    const xonce_hooks *h = xo_pool_get_hooks(s->pool, &arg);
    if (h->worker_end)
        h->worker_end(arg, worker);
}

xonce_status xo_store_query(xonce_store *s, const char *sql, const xonce_value *v, size_t n, xo_row_fn fn, void *arg, int64_t *changed)
{
    const xo_sql *parsed = NULL;
    int owned = 0;
    xo_conn *c = NULL;
    xonce_status st = xo_pool_sql(s->pool, sql, &parsed, &owned);
    if (st != XONCE_OK)
        return st;
    st = xo_pool_get(s->pool, &c);
    if (st == XONCE_OK) {
        st = s->d->query(c, parsed, v, n, fn, arg, changed);
        xo_pool_put(s->pool, c);
    }
    if (owned)
        xo_sql_free((xo_sql *)parsed);
    return st;
}

xonce_status xo_store_try_sql(xonce_store *s, const char *sql)
{
    xo_sql *parsed = NULL;
    xonce_status st = xo_sql_make(&parsed, s->d->kind, sql);
    if (st != XONCE_OK)
        return st;
    if (parsed->kind == XO_STMT_CONTROL) {
        xo_sql_free(parsed);
        return xo_fail(XONCE_E_INVALID, "\"%.60s\": transaction control is not for a handler; xonce begins and commits", sql);
    }
    if (parsed->commits) {
        xo_sql_free(parsed);
        return xo_fail(XONCE_E_INVALID, "\"%.60s\": MySQL commits by itself at such a statement; the message's record and its effects would not be one transaction", sql);
    }
    xo_conn *c = NULL;
    st = xo_pool_get(s->pool, &c);
    if (st == XONCE_OK) {
        st = s->d->try_sql(c, parsed);
        xo_pool_put(s->pool, c);
    }
    xo_sql_free(parsed);
    return st;
}

xonce_status xonce_store_seen(xonce_store *s, const char *id, int64_t *applied_ms)
{
    if (!s || !id || !*id)
        return xo_fail(XONCE_E_INVALID, "xonce_store_seen: store or id missing");
    char key[XO_KEY_SIZE];
    xonce_status st = xo_identity_key(key, id, strlen(id), s->group);
    if (st != XONCE_OK)
        return st;
    int64_t when = -1;
    xonce_value v[] = {xonce_text(key), xonce_text(s->group)};
    st = xo_store_query(s, "SELECT ctime FROM transaction_record WHERE message_id = $1 AND consumer_group = $2", v, 2, on_clock, &when, NULL);
    if (st != XONCE_OK)
        return st;
    if (when < 0)
        return xo_fail(XONCE_E_NOT_FOUND, "group %s has no record of message %s", s->group, id);
    if (applied_ms)
        *applied_ms = when;
    return XONCE_OK;
}
