/* Pruning: deletes records that no delivery can need any more, slowly enough to be in nobody's way. */
#include "base/clock.h"
#include "base/log.h"
#include "store/partition.h"
#include "store/prune.h"

#include <stdlib.h>

/* Looks and deletions are sized for about 20 ms each, a quarter of it where nobody else can write meanwhile; between steps it rests as long as the last one took. */
enum { LOOK_START = 2000, LOOK_MIN = 500, LOOK_MAX = 10000, LOOK_US = 20000, DELETE_START = 500, DELETE_MIN = 50, DELETE_MAX = 5000, DELETE_US = 20000 };
enum { REST_SLICE_US = 100000, RATE_SLACK_US = 200000, TURN_TRIES = 50, TURN_PAUSE_US = 100000, AGAIN_TRIES = 5 };
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

/* ---- looking and deleting ---- */

typedef struct {
    xonce_store *s;
    const xo_prune_order *order;
    int64_t before;
    int64_t rate;         /* most records a second, 0: no bound */
    int64_t due;          /* monotonic us: before it the rate is spent */
    xo_prune_look look;
    int64_t id[DELETE_MAX];
    int most, limit;      /* the sizes of the next step */
    int64_t deleted, kept;
} pruner;

int xo_prune_saw(xo_prune_look *l, int64_t id, int64_t ctime, int64_t tie, int may_go)
{
    l->at = (xo_prune_at){ctime, tie};
    l->seen++;
    if (may_go)
        l->id[l->n++] = id;
    return l->n >= l->max;
}

int xo_prune_saw_by_id(xo_prune_look *l, int64_t id, int over, int may_go)
{
    if (!over)
        return ++l->young >= XO_PRUNE_YOUNG_MAX;
    l->seen += l->young;
    l->young = 0;
    return xo_prune_saw(l, id, 0, id, may_go);
}

static int next_size(int size, int64_t took_us, int64_t target_us, int least, int most)
{
    if (took_us > 2 * target_us)
        size /= took_us > 4 * target_us ? 4 : 2;
    else if (took_us < target_us)
        size *= 2;
    return size < least ? least : size > most ? most : size;
}

enum { LOOK = 1, DELETE = 2 };

/* As many as should hold what may be deleted now, going by the last look; the server reads them all. */
static int look_at(const pruner *p)
{
    const xo_prune_look *l = &p->look;
    if (l->young)
        return LOOK_MAX;
    if (l->n == 0)
        return p->most;
    int64_t want = (int64_t)p->limit * l->seen / l->n;
    want += want / 8;
    return want < p->most ? (int)want : p->most;
}

/* Not where the look was too small to tell: few young ones came last, what is behind them nobody saw. */
static int at_the_end(const xo_prune_look *l)
{
    int cut = l->young > 0 && l->young < XO_PRUNE_YOUNG_MAX && l->seen + l->young >= l->most;
    return l->n < l->max && l->seen < l->most && !cut;
}

static xonce_status look(pruner *p, xo_conn *c)
{
    xo_prune_look l = p->look;
    int64_t start = xo_mono_us();
    l.id = p->id;
    l.most = look_at(p);
    l.max = p->limit;
    l.n = l.seen = l.young = 0;
    xonce_status st = p->s->d->prune_look(c, p->s->group, p->before, &l);
    if (st != XONCE_OK)
        return st;
    l.end = at_the_end(&l);
    p->look = l;
    p->kept += l.seen - l.n;
    int64_t took = xo_mono_us() - start;
    if (l.most == p->most || took > LOOK_US)
        p->most = next_size(p->most, took, LOOK_US, LOOK_MIN, LOOK_MAX);
    return XONCE_OK;
}

static xonce_status delete_found(pruner *p, xo_conn *c)
{
    int64_t start = xo_mono_us(), gone = 0, target = p->s->d->one_writer ? DELETE_US / 4 : DELETE_US;
    xonce_status st = p->s->d->prune_delete(c, p->s->group, p->before, p->id, p->look.n, &gone);
    int64_t took = xo_mono_us() - start;
    p->deleted += gone;
    p->kept += p->look.n - gone;
    if (p->look.n >= p->limit || took > target)
        p->limit = next_size(p->limit, took, target, DELETE_MIN, DELETE_MAX);
    return st;
}

/* A turn with all that it needs taken and given back: between turns neither connection nor lock is kept from others. *got = 0: another pruner is at work. *took leaves out what was waited for. */
static xonce_status turn(pruner *p, int what, int *got, int64_t *took)
{
    xonce_store *s = p->s;
    xo_conn *c = NULL;
    *got = 0;
    xonce_status st = what & DELETE ? xo_pool_writer_lock(s->pool) : XONCE_OK;
    if (st != XONCE_OK)
        return st;
    st = xo_pool_get(s->pool, &c);
    int64_t start = xo_mono_us();
    if (st == XONCE_OK)
        st = s->d->prune_lock(c, got);
    if (st == XONCE_OK && *got) {
        if (what & LOOK)
            st = look(p, c);
        if (st == XONCE_OK && (what & DELETE) && p->look.n > 0)
            st = delete_found(p, c);
        s->d->prune_unlock(c);
    }
    *took += xo_mono_us() - start;
    if (c)
        xo_pool_put(s->pool, c);
    if (what & DELETE)
        xo_pool_writer_unlock(s->pool);
    return st;
}

static int go_on(const pruner *p)
{
    return !p->order->go_on || p->order->go_on(p->order->arg);
}

/* 0: it shall end. */
static int rest(const pruner *p, int64_t us)
{
    int64_t until = xo_mono_us() + us;
    for (int64_t left = us; left > 0 && go_on(p); left = until - xo_mono_us())
        xo_pause_ms(left > REST_SLICE_US ? REST_SLICE_US / 1000 : left / 1000 + 1);
    return go_on(p);
}

/* Pruners of several groups share a database by turns; who meets another again and again leaves the rest to it. */
static xonce_status patient_turn(pruner *p, int what, int first, int *got, int64_t *took)
{
    for (int tries = first ? 1 : TURN_TRIES;; tries--) {
        xonce_status st = turn(p, what, got, took);
        if (st != XONCE_OK || *got || tries <= 1 || !rest(p, TURN_PAUSE_US / 2 + (int64_t)(xo_random() % TURN_PAUSE_US)))
            return st;
    }
}

static void bound_sizes(pruner *p)
{
    int64_t left = p->order->max_rows > 0 ? p->order->max_rows - p->deleted : DELETE_MAX;
    int64_t slice = p->rate > 0 && p->rate / 20 < DELETE_MAX ? p->rate / 20 + 1 : DELETE_MAX; /* at least 20 times a second, not in gushes */
    if (p->limit > left)
        p->limit = (int)left;
    if (p->limit > slice)
        p->limit = (int)slice;
}

/* Without a rate it rests as long as it worked; with one, until that many may have gone. */
static int rest_after(pruner *p, int64_t start, int64_t took, int64_t rows)
{
    if (p->rate == 0 || rows == 0)
        return rest(p, took);
    p->due = (p->due > start - RATE_SLACK_US ? p->due : start) + rows * 1000000 / p->rate;
    return rest(p, p->due - xo_mono_us());
}

/* One step; what failed is put back, to be looked at again. */
static xonce_status step(pruner *p, int first, int *got, int64_t *took)
{
    const int what = p->s->d->one_writer ? LOOK : LOOK | DELETE; /* where writers take turns looking is no writer's work */
    xo_prune_look was = p->look;
    int64_t kept = p->kept;
    bound_sizes(p);
    xonce_status st = patient_turn(p, what, first, got, took);
    if (st == XONCE_OK && *got && !(what & DELETE) && p->look.n > 0)
        st = patient_turn(p, DELETE, 0, got, took);
    if (st != XONCE_OK || !*got) {
        p->look = was;
        p->kept = kept;
    }
    return st;
}

/* *whole: it got to the end. */
static xonce_status prune_steps(pruner *p, int *whole)
{
    for (int first = 1, again = 0;; first = 0) {
        int got = 0;
        int64_t took = 0, start = xo_mono_us(), before = p->deleted;
        xonce_status st = step(p, first, &got, &took);
        if (st != XONCE_OK && xo_error_class() == XO_SQL_AGAIN) {
            if (++again < AGAIN_TRIES && rest(p, TURN_PAUSE_US))
                continue;
            xo_log(XO_DEBUG, "store", "prune: group %s: others hold locks, this round ends here: %s", p->s->group, xonce_error_last()->text);
            return XONCE_OK;
        }
        again = 0;
        if (st == XONCE_OK && !got && first)
            return xo_fail(XONCE_E_CONFLICT, "prune: another process is pruning this database");
        *whole = st == XONCE_OK && got && p->look.end;
        if (st != XONCE_OK || !got || *whole || (p->order->max_rows > 0 && p->deleted >= p->order->max_rows) || !rest_after(p, start, took, p->deleted - before))
            return st;
    }
}

xonce_status xo_prune_run(xonce_store *s, const xo_prune_order *o, xo_prune_result *out)
{
    *out = (xo_prune_result){0};
    if (o->max_rows < 0)
        return xo_fail(XONCE_E_INVALID, "prune: a negative number of rows");
    xo_partitions_ahead(s);
    int64_t dropped = 0;
    xonce_status st = find_horizon(s, o->keep_ms, &out->before);
    if (st == XONCE_OK && out->before > 0)
        st = xo_partitions_drop(s, out->before, &dropped);
    out->deleted = dropped;
    if (st != XONCE_OK || out->before <= 0)
        return st;
    pruner *p = xo_calloc(1, sizeof *p);
    if (!p)
        return xo_nomem();
    p->s = s;
    p->order = o;
    p->before = out->before;
    p->rate = o->rate ? *o->rate : xo_config_int(s->cfg, "prune.rate");
    p->most = LOOK_START;
    p->limit = DELETE_START;
    p->look.at = o->from;
    st = prune_steps(p, &out->whole);
    out->deleted = dropped + p->deleted;
    out->kept = p->kept;
    out->at = p->look.at;
    free(p);
    if (out->deleted > 0)
        xo_log(XO_INFO, "store", "prune: group %s: %lld records deleted", s->group, (long long)out->deleted);
    return st;
}

xonce_status xonce_store_prune(xonce_store *s, int64_t keep_ms, int max_rows, int64_t *deleted)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the places where runs ended */
    if (deleted)
        *deleted = 0;
    if (!s || max_rows < 0)
        return xo_fail(XONCE_E_INVALID, "xonce_store_prune: store is NULL or max_rows negative");
    /* one that was cut short is gone on with: what may not go and lies before is not looked at again each time */
    xo_prune_order o = {.keep_ms = keep_ms, .max_rows = max_rows};
    pthread_mutex_lock(&lock);
    o.from = s->pruned_to;
    pthread_mutex_unlock(&lock);
    xo_prune_result r;
    xonce_status st = xo_prune_run(s, &o, &r);
    pthread_mutex_lock(&lock);
    s->pruned_to = r.whole ? (xo_prune_at){0} : r.at;
    pthread_mutex_unlock(&lock);
    if (deleted)
        *deleted = r.deleted;
    return st;
}

/* ---- counting ---- */

static xonce_status ask_layout(xonce_store *s, xo_layout *layout)
{
    xo_conn *c = NULL;
    xonce_status st = xo_pool_get(s->pool, &c);
    if (st != XONCE_OK)
        return st;
    st = xo_pool_layout(s->pool, c, 1, layout);
    xo_pool_put(s->pool, c);
    return st;
}

/* before: the text of the time before which records are old. A vendor's table without our columns has no places. */
static void add_covered(xo_buf *sql, const xonce_store *s, int ours, const char *before)
{
    if (ours)
        xo_buf_fill_in(sql, s->d->kind == XO_DIALECT_MYSQL ? XO_PRUNE_COVERED("`offset`", "@") : XO_PRUNE_COVERED("\"offset\"", "@"), '@', before);
    else
        xo_buf_str(sql, "1 = 1");
}

/* By the very looks of a run, without its lock: bounded statements, and never another answer than the run's. */
static xonce_status count_steps(xonce_store *s, xo_conn *c, int64_t before, int64_t *rows)
{
    int64_t *id = xo_calloc(LOOK_MAX, sizeof *id);
    xo_prune_look l = {.id = id};
    xonce_status st = id ? XONCE_OK : xo_nomem();
    while (st == XONCE_OK && !l.end) {
        l.most = l.max = LOOK_MAX;
        l.n = l.seen = l.young = 0;
        st = s->d->prune_look(c, s->group, before, &l);
        l.end = at_the_end(&l);
        *rows += l.n;
    }
    free(id);
    return st;
}

xonce_status xo_prune_count(xonce_store *s, int64_t keep_ms, int64_t *rows, int64_t *before)
{
    xo_conn *c = NULL;
    *rows = 0;
    xonce_status st = find_horizon(s, keep_ms, before);
    if (st != XONCE_OK || *before == 0)
        return st;
    st = xo_pool_get(s->pool, &c);
    if (st == XONCE_OK)
        st = count_steps(s, c, *before, rows);
    xo_pool_put(s->pool, c);
    return st;
}

/* ---- for a DBA's own job ---- */

xonce_status xo_prune_sql(xonce_store *s, int64_t keep_ms, int rows, xo_buf *out)
{
    xo_layout layout = {0};
    xonce_status st = check_keep(s, keep_ms);
    if (st == XONCE_OK)
        st = ask_layout(s, &layout);
    if (st != XONCE_OK)
        return st;
    /* the group has no byte that needs quoting: xo_check_group */
    xo_buf before = {0};
    xo_buf_printf(&before, "(SELECT w.watermark_ms - %lld FROM xonce_watermark w WHERE w.consumer_group = '%s' AND w.watermark_ms > 0 AND w.updated_ms > %s - %d)", (long long)keep_ms, s->group,
                  s->d->sql_now, (int)XO_WATERMARK_STALE_MS);
    st = xo_buf_status(&before);
    if (st == XONCE_OK) {
        /* MySQL would look each record of the table up in what an IN gives, and lock it */
        const int joined = s->d->kind == XO_DIALECT_MYSQL;
        xo_buf_str(out, joined ? "DELETE gone FROM transaction_record gone JOIN (" : "DELETE FROM transaction_record WHERE id IN (SELECT id FROM (");
        xo_buf_printf(out, "SELECT r.id FROM transaction_record r\n  WHERE r.consumer_group = '%s' AND r.ctime < %s\n  AND ", s->group, before.p);
        add_covered(out, s, layout.has_ours, before.p);
        const int by_ctime = s->d->kind == XO_DIALECT_PG && layout.partitioned; /* elsewhere no key begins with it: by id, up to the first that is not old */
        if (!by_ctime)
            xo_buf_printf(out, "\n  AND r.id < COALESCE((SELECT y.id FROM transaction_record y WHERE y.ctime >= %s AND y.ctime < %s + %d ORDER BY y.id LIMIT 1), %lld)", before.p, s->d->sql_now,
                          (int)XO_PRUNE_FUTURE_MS, (long long)INT64_MAX);
        xo_buf_printf(out, "\n  ORDER BY r.%s LIMIT %d) old%s", by_ctime ? "ctime" : "id", rows, joined ? " ON gone.id = old.id" : ")");
        st = xo_buf_status(out);
    }
    xo_buf_free(&before);
    return st;
}
