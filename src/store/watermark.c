/* The caught-up watermark: up to when a group has settled everything. Pruning counts age from there, so that an outage
 * forgets nothing. */
#include "base/clock.h"
#include "store/prune.h"

static int on_now(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = xonce_row_int(r, 0);
    return 1;
}

static int on_marks(const xonce_row *r, void *arg)
{
    xo_marks *m = arg;
    m->has_row = 1;
    m->watermark = xonce_row_int(r, 0);
    m->updated = xonce_row_int(r, 1);
    return 1;
}

static xonce_status query(xonce_store *s, xo_conn *c, const char *sql, const xonce_value *v, size_t n, xo_row_fn fn,
                          void *arg, int64_t *changed)
{
    const xo_sql *parsed = NULL;
    int owned = 0;
    xonce_status st = xo_pool_sql(s->pool, sql, &parsed, &owned);
    if (st != XONCE_OK)
        return st;
    st = s->d->query(c, parsed, v, n, fn, arg, changed);
    if (owned)
        xo_sql_free((xo_sql *)parsed);
    return st;
}

/* A statement with the engine's expression for now in the place of each '@'. */
static xonce_status query_now(xonce_store *s, xo_conn *c, const char *sql, const xonce_value *v, size_t n, xo_row_fn fn,
                              void *arg, int64_t *changed)
{
    xo_buf text = {0};
    xo_buf_fill_in(&text, sql, '@', s->d->sql_now);
    xonce_status st = xo_buf_status(&text);
    if (st == XONCE_OK)
        st = query(s, c, text.p, v, n, fn, arg, changed);
    xo_buf_free(&text);
    return st;
}

xonce_status xo_marks_read(xonce_store *s, xo_conn *c, int with_table, xo_marks *out)
{
    xonce_value v[] = {xonce_text(s->group)};
    *out = (xo_marks){0};
    int64_t before = xo_now_ms();
    xonce_status st = query_now(s, c, "SELECT @", NULL, 0, on_now, &out->now, NULL);
    int64_t after = xo_now_ms();
    if (st != XONCE_OK)
        return st;
    if (out->now < before)
        out->clock_off = out->now - before;
    else if (out->now > after)
        out->clock_off = out->now - after;
    return with_table ? query(s, c, "SELECT watermark_ms, updated_ms FROM xonce_watermark WHERE consumer_group = $1", v,
                              1, on_marks, out, NULL)
                      : XONCE_OK;
}

static xonce_status beat(xonce_store *s, xo_conn *c, int64_t mark)
{
    static const char alive[] = "UPDATE xonce_watermark SET updated_ms = @ WHERE consumer_group = $1";
    static const char caught[] = "UPDATE xonce_watermark SET updated_ms = @, watermark_ms = CASE WHEN watermark_ms < @ "
                                 "THEN @ ELSE watermark_ms END WHERE consumer_group = $1";
    static const char up_to[] = "UPDATE xonce_watermark SET updated_ms = @, watermark_ms = CASE WHEN watermark_ms < $2 "
                                "THEN $2 ELSE watermark_ms END WHERE consumer_group = $1";
    static const char first_alive[] =
        "INSERT INTO xonce_watermark (consumer_group, watermark_ms, updated_ms) VALUES ($1, 0, @)";
    static const char first_caught[] =
        "INSERT INTO xonce_watermark (consumer_group, watermark_ms, updated_ms) VALUES ($1, @, @)";
    static const char first_up_to[] =
        "INSERT INTO xonce_watermark (consumer_group, watermark_ms, updated_ms) VALUES ($1, $2, @)";
    xonce_value v[] = {xonce_text(s->group), xonce_int(mark)};
    const char *update = mark == XO_MARK_NONE ? alive : mark == XO_MARK_NOW ? caught : up_to;
    const char *insert = mark == XO_MARK_NONE ? first_alive : mark == XO_MARK_NOW ? first_caught : first_up_to;
    size_t n = mark == XO_MARK_NONE || mark == XO_MARK_NOW ? 1 : 2;
    int64_t changed = 0;
    xonce_status st = query_now(s, c, update, v, n, NULL, NULL, &changed);
    if (st != XONCE_OK || changed > 0)
        return st;
    st = query_now(s, c, insert, v, n, NULL, NULL, NULL);
    /* another process was first; or MySQL counted an update within one millisecond as no change */
    if (st != XONCE_OK && xo_error_class() == XO_SQL_DATA)
        st = query_now(s, c, update, v, n, NULL, NULL, NULL);
    return st;
}

xonce_status xo_watermark_heartbeat(xonce_store *s, int64_t mark)
{
    xo_conn *c = NULL;
    xonce_status st = xo_pool_writer_lock(s->pool);
    if (st != XONCE_OK)
        return st;
    st = xo_pool_get(s->pool, &c);
    if (st == XONCE_OK) {
        st = beat(s, c, mark);
        xo_pool_put(s->pool, c);
    }
    xo_pool_writer_unlock(s->pool);
    return st == XONCE_OK ? st : xo_error_context("watermark of group %s", s->group);
}

xonce_status xonce_store_caught_up(xonce_store *s)
{
    if (!s)
        return xo_fail(XONCE_E_INVALID, "xonce_store_caught_up: store is NULL");
    return xo_watermark_heartbeat(s, XO_MARK_NOW);
}
