/* What the tables hold: statements that look at a bounded number of rows. */
#include "store/figures.h"

/* Below this what there is is counted; beyond it the engine's statistics are near enough, and counting is not cheap any more. */
#define COUNTED "10000"
#define COUNTED_AND_ONE "10001"
enum { COUNTED_ROWS = 10000 };

static int on_number(const xonce_row *r, void *arg)
{
    if (!xonce_row_is_null(r, 0))
        *(int64_t *)arg = xonce_row_int(r, 0);
    return 0;
}

xonce_status xo_store_ping(xonce_store *s, int claims, int64_t *watermark)
{
    const xonce_value group = xonce_text(s->group);
    int64_t n = 0;
    *watermark = -1;
    xonce_status st = claims ? xo_store_query(s, "SELECT watermark_ms FROM xonce_watermark WHERE consumer_group = $1", &group, 1, on_number, watermark, NULL)
                             : xo_store_query(s, "SELECT 1", NULL, 0, on_number, &n, NULL);
    if (*watermark == 0)
        *watermark = -1; /* the group has not caught up yet */
    return st;
}

/* What the engine believes, -1 when it has no opinion. */
static const char *estimate_of(const xonce_store *s)
{
    switch (s->d->kind) {
    case XO_DIALECT_PG:
        return "SELECT CAST(SUM(CASE WHEN c.reltuples < 0 THEN 0 ELSE c.reltuples END) AS bigint) FROM pg_class c WHERE c.relkind = 'r' AND (c.oid = to_regclass('transaction_record') OR "
               "c.oid IN (SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = to_regclass('transaction_record')))";
    case XO_DIALECT_MYSQL:
        return "SELECT SUM(t.table_rows) FROM information_schema.tables t WHERE t.table_schema = DATABASE() AND t.table_name = 'transaction_record'";
    case XO_DIALECT_SQLITE:
        return "SELECT (SELECT MAX(id) FROM transaction_record) - (SELECT MIN(id) FROM transaction_record) + 1";
    }
    return "SELECT -1";
}

static xonce_status count_rows(xonce_store *s, xo_figures *out)
{
    int64_t estimate = -1;
    xonce_status st = xo_store_query(s, estimate_of(s), NULL, 0, on_number, &estimate, NULL);
    if (st != XONCE_OK || estimate > 2 * COUNTED_ROWS) {
        out->rows = estimate;
        return st;
    }
    st = xo_store_query(s, "SELECT COUNT(*) FROM (SELECT 1 AS one FROM transaction_record LIMIT " COUNTED_AND_ONE ") counted", NULL, 0, on_number, &out->rows, NULL);
    out->exact = out->rows <= COUNTED_ROWS;
    if (!out->exact && estimate > out->rows)
        out->rows = estimate;
    return st;
}

static xonce_status find_oldest(xonce_store *s, xo_figures *out)
{
    xo_conn *c = NULL;
    xo_layout layout = {0};
    xonce_status st = xo_pool_get(s->pool, &c);
    if (st != XONCE_OK)
        return st;
    st = xo_pool_layout(s->pool, c, 0, &layout);
    xo_pool_put(s->pool, c);
    if (st != XONCE_OK)
        return st;
    /* by the key that there is: a partitioned table of PostgreSQL has none that begins with id */
    int by_ctime = s->d->kind == XO_DIALECT_PG && layout.partitioned;
    return xo_store_query(s, by_ctime ? "SELECT ctime FROM transaction_record ORDER BY ctime LIMIT 1" : "SELECT ctime FROM transaction_record ORDER BY id LIMIT 1", NULL, 0, on_number, &out->oldest, NULL);
}

xonce_status xo_store_figures(xonce_store *s, xo_figures *out)
{
    const xonce_value group = xonce_text(s->group);
    *out = (xo_figures){.rows = -1, .oldest = -1, .rejected = -1};
    xonce_status st = count_rows(s, out);
    if (st == XONCE_OK)
        st = find_oldest(s, out);
    if (st == XONCE_OK)
        st = xo_store_query(s, "SELECT COUNT(*) FROM (SELECT 1 AS one FROM xonce_rejected WHERE consumer_group = $1 LIMIT " COUNTED ") counted", &group, 1, on_number, &out->rejected, NULL);
    out->rejected_exact = out->rejected >= 0 && out->rejected < COUNTED_ROWS;
    return st;
}

xonce_status xo_store_rejected(xonce_store *s, int most, xo_row_fn fn, void *arg)
{
    const xonce_value v[] = {xonce_text(s->group), xonce_int(most)};
    return xo_store_query(s, "SELECT message_id, topic_name, reason, attempts, rejected_at, replay_at FROM xonce_rejected WHERE consumer_group = $1 ORDER BY id DESC LIMIT $2", v, 2, fn, arg, NULL);
}
