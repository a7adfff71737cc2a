/* Pruning: deletes records that no delivery can need any more, slowly enough to be in nobody's way. */
#include "base/clock.h"
#include "base/log.h"
#include "store/prune.h"

/* Batches are sized for about 50 ms each; between them it rests as long as the last one took. */
enum { BATCH_START = 500, BATCH_MIN = 50, BATCH_MAX = 10000, BATCH_LONG_US = 75000, BATCH_SHORT_US = 35000 };
static const int64_t DAY_MS = 24 * 3600 * (int64_t)1000;

static int on_row(const xonce_row *r, void *arg)
{
    (void)r;
    *(int *)arg = 1;
    return 1;
}

xonce_status xo_prune_floor(xonce_store *s, int64_t *ms)
{
    xonce_value v[] = {xonce_text(s->group)};
    int has_offsets = 0;
    xonce_status st = xo_store_query(s, "SELECT generation FROM xonce_settled WHERE consumer_group = $1 LIMIT 1", v, 1, on_row, &has_offsets, NULL);
    *ms = (has_offsets ? DAY_MS / 4 : DAY_MS) + xo_config_int(s->cfg, "handler.timeout");
    return st;
}

static xonce_status check_keep(xonce_store *s, int64_t keep_ms)
{
    char keep[32], least[32];
    int64_t floor;
    xonce_status st = xo_prune_floor(s, &floor);
    if (st != XONCE_OK || keep_ms >= floor)
        return st;
    xo_format_duration(keep_ms < 0 ? 0 : keep_ms, keep, sizeof keep);
    xo_format_duration(floor, least, sizeof least);
    if (xo_config_int(s->cfg, "prune.unsafe")) {
        xo_log(XO_INFO, "store", "prune: keep is %s, less than the safe %s: what comes back later is applied again (prune.unsafe)", keep, least);
        return XONCE_OK;
    }
    return xo_fail(XONCE_E_INVALID,
                   "prune: keep is %s; the least is %s, what the source allows (24h over HTTP, 6h over RocketMQ's own protocol) and handler.timeout: so long a message can come back, and it would be "
                   "applied twice once its record is gone",
                   keep, least);
}

/* Records older than *before may go; 0: none may, and the log says why. */
static xonce_status horizon(xonce_store *s, xo_conn *c, int64_t keep_ms, int64_t *before)
{
    xo_marks m;
    *before = 0;
    xonce_status st = xo_marks_read(s, c, 1, &m);
    if (st != XONCE_OK)
        return st;
    if (m.clock_off > XO_CLOCK_OFF_MAX_MS || m.clock_off < -XO_CLOCK_OFF_MAX_MS)
        return xo_fail(XONCE_E_INVALID,
                       "prune: the clocks of the database and of this machine differ by %lld s, so that ages cannot be "
                       "trusted; set them right",
                       (long long)(m.clock_off / 1000));
    if (xo_config_int(s->cfg, "prune.unsafe")) {
        *before = m.now > keep_ms ? m.now - keep_ms : 0;
        return XONCE_OK;
    }
    if (!m.has_row || m.watermark <= 0) {
        xo_log(XO_INFO, "store", "prune: group %s was never seen caught up with its source; nothing is deleted",
               s->group);
        return XONCE_OK;
    }
    if (m.now - m.updated > XO_WATERMARK_STALE_MS || m.updated - m.now > XO_CLOCK_OFF_MAX_MS) {
        xo_log(
            XO_INFO, "store",
            "prune: the watermark of group %s was last confirmed %lld s ago; nothing is deleted until a consumer runs",
            s->group, (long long)((m.now - m.updated) / 1000));
        return XONCE_OK;
    }
    int64_t w = m.watermark < m.now ? m.watermark : m.now;
    *before = w > keep_ms ? w - keep_ms : 0;
    return XONCE_OK;
}

/* ---- deleting ---- */

static int next_size(int size, int64_t took_us)
{
    if (took_us > BATCH_LONG_US)
        size /= took_us > 2 * BATCH_LONG_US ? 4 : 2;
    else if (took_us < BATCH_SHORT_US)
        size *= 2;
    return size < BATCH_MIN ? BATCH_MIN : size > BATCH_MAX ? BATCH_MAX : size;
}

/* One batch with all that it needs taken and given back: between batches neither the connection nor the lock is kept
   from others. *got = 0: another pruner is at work. */
static xonce_status one_batch(xonce_store *s, int64_t before, int limit, int *got, int64_t *n, int64_t *took_us)
{
    xo_conn *c = NULL;
    *got = 0;
    xonce_status st = xo_pool_writer_lock(s->pool);
    if (st != XONCE_OK)
        return st;
    st = xo_pool_get(s->pool, &c);
    if (st == XONCE_OK)
        st = s->d->prune_lock(c, got);
    if (st == XONCE_OK && *got) {
        int64_t start = xo_mono_us();
        st = s->d->prune_some(c, s->group, before, limit, n);
        *took_us = xo_mono_us() - start;
        s->d->prune_unlock(c);
    }
    if (c)
        xo_pool_put(s->pool, c);
    xo_pool_writer_unlock(s->pool);
    return st;
}

static xonce_status batches(xonce_store *s, int64_t before, int max_rows, int64_t *deleted)
{
    int size = BATCH_START;
    for (int round = 0;; round++) {
        int64_t n = 0, took = 0;
        int got = 0, limit = max_rows > 0 && max_rows - *deleted < size ? (int)(max_rows - *deleted) : size;
        xonce_status st = one_batch(s, before, limit, &got, &n, &took);
        *deleted += n;
        if (st != XONCE_OK && xo_error_class() == XO_SQL_AGAIN) {
            xo_log(XO_DEBUG, "store", "prune: group %s: others hold locks; this round ends here", s->group);
            return XONCE_OK;
        }
        if (st == XONCE_OK && !got)
            return round > 0 ? XONCE_OK : xo_fail(XONCE_E_CONFLICT, "prune: another process is pruning this database");
        if (st != XONCE_OK || n < limit || (max_rows > 0 && *deleted >= max_rows))
            return st;
        xo_pause_ms(took / 1000 + 1);
        size = next_size(size, took);
    }
}

static xonce_status find_horizon(xonce_store *s, int64_t keep_ms, int64_t *before)
{
    xo_conn *c = NULL;
    *before = 0;
    xonce_status st = check_keep(s, keep_ms);
    if (st == XONCE_OK)
        st = xo_pool_get(s->pool, &c);
    if (st != XONCE_OK)
        return st;
    st = horizon(s, c, keep_ms, before);
    xo_pool_put(s->pool, c);
    return st;
}

xonce_status xonce_store_prune(xonce_store *s, int64_t keep_ms, int max_rows, int64_t *deleted)
{
    int64_t n = 0, before = 0;
    if (deleted)
        *deleted = 0;
    if (!s || max_rows < 0)
        return xo_fail(XONCE_E_INVALID, "xonce_store_prune: store is NULL or max_rows negative");
    xonce_status st = find_horizon(s, keep_ms, &before);
    if (st == XONCE_OK && before > 0)
        st = batches(s, before, max_rows, &n);
    if (deleted)
        *deleted = n;
    if (n > 0)
        xo_log(XO_INFO, "store", "prune: group %s: %lld records deleted", s->group, (long long)n);
    return st;
}

/* ---- counting ---- */

/* A vendor's table without our columns has no places. */
static xonce_status has_places(xonce_store *s, int *ours)
{
    xo_conn *c = NULL;
    xo_layout layout = {0};
    xonce_status st = xo_pool_get(s->pool, &c);
    if (st != XONCE_OK)
        return st;
    st = xo_pool_layout(s->pool, c, 1, &layout);
    xo_pool_put(s->pool, c);
    *ours = layout.has_ours;
    return st;
}

/* before: the text of the time before which records are old. */
static void add_covered(xo_buf *sql, const xonce_store *s, int ours, const char *before)
{
    if (ours)
        xo_buf_fill_in(sql, s->d->kind == XO_DIALECT_MYSQL ? XO_PRUNE_COVERED("`offset`", "@") : XO_PRUNE_COVERED("\"offset\"", "@"), '@', before);
    else
        xo_buf_str(sql, "1 = 1");
}

static int on_count(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = xonce_row_int(r, 0);
    return 1;
}

xonce_status xo_prune_count(xonce_store *s, int64_t keep_ms, int64_t *rows, int64_t *before)
{
    *rows = 0;
    xonce_status st = find_horizon(s, keep_ms, before);
    if (st != XONCE_OK || *before == 0)
        return st;
    xonce_value v[] = {xonce_text(s->group), xonce_int(*before)};
    xo_buf sql = {0};
    int ours = 0;
    st = has_places(s, &ours);
    xo_buf_str(&sql, "SELECT COUNT(*) FROM transaction_record r WHERE r.consumer_group = $1 AND r.ctime < $2 AND ");
    add_covered(&sql, s, ours, "$2");
    if (st == XONCE_OK)
        st = xo_buf_status(&sql);
    if (st == XONCE_OK)
        st = xo_store_query(s, sql.p, v, 2, on_count, rows, NULL);
    xo_buf_free(&sql);
    return st;
}

/* ---- for a DBA's own job ---- */

xonce_status xo_prune_sql(xonce_store *s, int64_t keep_ms, int rows, xo_buf *out)
{
    int ours = 0;
    xonce_status st = check_keep(s, keep_ms);
    if (st == XONCE_OK)
        st = has_places(s, &ours);
    if (st != XONCE_OK)
        return st;
    /* the group has no byte that needs quoting: xo_check_group */
    xo_buf before = {0};
    xo_buf_printf(&before, "(SELECT w.watermark_ms - %lld FROM xonce_watermark w WHERE w.consumer_group = '%s' AND w.watermark_ms > 0 AND w.updated_ms > %s - %d)", (long long)keep_ms, s->group,
                  s->d->sql_now, (int)XO_WATERMARK_STALE_MS);
    st = xo_buf_status(&before);
    if (st == XONCE_OK) {
        xo_buf_printf(out, "DELETE FROM transaction_record WHERE id IN (SELECT id FROM (SELECT r.id FROM transaction_record r\n  WHERE r.consumer_group = '%s' AND r.ctime < %s\n  AND ", s->group, before.p);
        add_covered(out, s, ours, before.p);
        xo_buf_printf(out, "\n  ORDER BY r.ctime LIMIT %d) old)", rows);
        st = xo_buf_status(out);
    }
    xo_buf_free(&before);
    return st;
}
