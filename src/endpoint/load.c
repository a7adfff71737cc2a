/* Reading the queues back when the endpoint starts. */
#include "base/log.h"
#include "endpoint/storage_db.h"
#include <stdlib.h>
#include <string.h>

/* Runs sql with one bound number and gives each row to fn, which returns a status. */
static xonce_status each(xo_storage *s, const char *sql, int64_t bound, const char *text, xonce_status (*fn)(sqlite3_stmt *, void *), void *arg)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) != SQLITE_OK)
        return xo_fail(XONCE_E_SQL, "%s: loading: %s", s->file, sqlite3_errmsg(s->db));
    if (text)
        sqlite3_bind_text(st, 1, text, -1, SQLITE_STATIC);
    else
        sqlite3_bind_int64(st, 1, bound);
    xonce_status status = XONCE_OK;
    int rc = SQLITE_DONE;
    while (status == XONCE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW)
        status = fn(st, arg);
    if (status == XONCE_OK && rc != SQLITE_DONE)
        status = xo_fail(XONCE_E_SQL, "%s: loading: %s", s->file, sqlite3_errmsg(s->db));
    sqlite3_finalize(st);
    return status;
}

static xonce_status load_topic(sqlite3_stmt *st, void *arg)
{
    xo_topic *t = xo_topic_new(arg, sqlite3_column_int64(st, 0), (const char *)sqlite3_column_text(st, 1), (xo_kind)sqlite3_column_int(st, 2));
    if (!t)
        return xo_nomem();
    t->saved = 1;
    t->kept.next_pos = sqlite3_column_int64(st, 3);
    const char *p = (const char *)sqlite3_column_text(st, 4);
    for (int i = 0; i < XO_QUEUES && p && *p; i++) {
        char *end;
        t->kept.offsets[i] = strtoll(p, &end, 10);
        p = end;
    }
    t->base_pos = t->chunk_pos = t->next_pos = t->kept.next_pos;
    return XONCE_OK;
}

/* Columns: n, state, pos, queue, offset, id, born, at, deliver_at, check_s, lane, tag */
static xonce_status load_message(sqlite3_stmt *st, void *arg)
{
    xo_topic *t = arg;
    const char *tag_text = (const char *)sqlite3_column_text(st, 11);
    const xo_tag *tag = tag_text ? xo_tag_get(t, tag_text) : NULL;
    if ((tag_text && !tag) || sqlite3_column_bytes(st, 5) != 16)
        return tag ? xo_fail(XONCE_E_SCHEMA, "a stored message has no proper id: the file is damaged") : xo_nomem();
    xo_entry e = {.n = sqlite3_column_int64(st, 0), .queue = sqlite3_column_int(st, 3) & (XO_QUEUES - 1), .offset = sqlite3_column_int64(st, 4),
                  .born = sqlite3_column_int64(st, 6), .at = sqlite3_column_int64(st, 7), .lane = (uint64_t)sqlite3_column_int64(st, 10), .tag = tag};
    memcpy(e.id, sqlite3_column_blob(st, 5), 16);
    int state = sqlite3_column_int(st, 1);
    if (state == XO_ROW_HALF) {
        xo_half *h = xo_half_new(t);
        if (!h)
            return xo_nomem();
        h->n = e.n;
        h->born = e.born;
        h->deliver_at = sqlite3_column_int64(st, 8);
        h->lane = e.lane;
        h->tag = tag;
        memcpy(h->id, e.id, 16);
        int64_t due = e.born + (int64_t)sqlite3_column_int(st, 9) * 1000 - xo_engine_now(t->engine);
        xo_half_add(h, due > 0 ? due : 0);
        return XONCE_OK;
    }
    if (state == XO_ROW_VISIBLE) {
        int64_t pos = sqlite3_column_int64(st, 2);
        if (t->next_pos == t->base_pos)
            t->base_pos = t->chunk_pos = t->next_pos = pos;
        if (pos != t->next_pos)
            return xo_fail(XONCE_E_SCHEMA, "topic %s: position %lld stands where %lld should: the file is damaged", t->name, (long long)pos,
                           (long long)t->next_pos);
        if (xo_topic_reserve(t) != 0)
            return xo_nomem();
        xo_topic_append(t, &e, pos);
        return XONCE_OK;
    }
    xo_timed *d = xo_timed_new(t, sqlite3_column_int64(st, 8));
    if (!d || xo_topic_reserve(t) != 0) {
        free(d);
        return xo_nomem();
    }
    d->entry = e;
    xo_timed_arm(d);
    return XONCE_OK;
}

static xonce_status load_group(sqlite3_stmt *st, void *arg)
{
    xo_group *g = xo_group_new(arg, sqlite3_column_int64(st, 0), (const char *)sqlite3_column_text(st, 1), sqlite3_column_int64(st, 2));
    if (!g)
        return xo_nomem();
    g->saved = 1;
    return XONCE_OK;
}

/* Columns: pos, times, first, done */
static xonce_status load_progress(sqlite3_stmt *st, void *arg)
{
    xo_group *g = arg;
    int64_t pos = sqlite3_column_int64(st, 0);
    if (pos < g->floor || pos >= g->topic->next_pos)
        return XONCE_OK;
    if (xo_group_reach(g, pos + 1) != 0)
        return xo_nomem();
    if (sqlite3_column_int(st, 3)) {
        xo_group_mark(g, pos, 1);
        return XONCE_OK;
    }
    xo_node *n = xo_node_new(g, pos);
    if (!n)
        return xo_nomem();
    n->times = sqlite3_column_int(st, 1);
    n->first = sqlite3_column_int64(st, 2);
    xo_node_park(n, 0);
    return XONCE_OK;
}

static xonce_status load_number(sqlite3_stmt *st, void *arg)
{
    *(int64_t *)arg = sqlite3_column_int64(st, 0);
    return XONCE_OK;
}

xonce_status xo_storage_load(xo_storage *s, xo_engine *e)
{
    int64_t next_topic = 0, next_group = 0; /* over all instances: the numbers are keys of the file */
    xonce_status st = each(s, "SELECT id, name, kind, next_pos, offsets FROM topic WHERE instance = ?1 ORDER BY id", 0, e->opt.instance, load_topic, e);
    if (st == XONCE_OK)
        st = each(s, "SELECT coalesce(max(n), 0) FROM message WHERE ?1 = 0", 0, NULL, load_number, &e->next_message);
    if (st == XONCE_OK)
        st = each(s, "SELECT coalesce(max(id), 0) + 1 FROM topic WHERE ?1 = 0", 0, NULL, load_number, &next_topic);
    if (st == XONCE_OK)
        st = each(s, "SELECT coalesce(max(id), 0) + 1 FROM consumer_group WHERE ?1 = 0", 0, NULL, load_number, &next_group);
    for (xo_link *l = e->topics.next; st == XONCE_OK && l != &e->topics; l = l->next) {
        xo_topic *t = XO_OF(xo_topic, link, l);
        st = each(s,
                  "SELECT n, state, pos, queue, \"offset\", id, born, at, deliver_at, check_s, lane, tag FROM message WHERE topic = ?1"
                  " ORDER BY state, pos",
                  t->id, NULL, load_message, t);
        if (st == XONCE_OK)
            st = each(s, "SELECT id, name, floor FROM consumer_group WHERE topic = ?1", t->id, NULL, load_group, t);
        for (xo_link *k = t->groups.next; st == XONCE_OK && k != &t->groups; k = k->next) {
            xo_group *g = XO_OF(xo_group, link, k);
            st = each(s, "SELECT pos, times, first, done FROM progress WHERE consumer_group = ?1 ORDER BY pos", g->id, NULL, load_progress, g);
            xo_group_settle_floor(g);
        }
        if (t->kept.next_pos < t->next_pos)
            t->kept.next_pos = t->next_pos;
        t->writing = t->kept;
    }
    e->next_topic = next_topic > e->next_topic ? next_topic : e->next_topic;
    e->next_group = next_group > e->next_group ? next_group : e->next_group;
    return st;
}
