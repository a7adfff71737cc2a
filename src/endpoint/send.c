/* Taking in messages: at once into the log, at their time, or as halves. Positions and ids are given here. */
#include "base/log.h"
#include "endpoint/engine.h"
#include "endpoint/storage.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The layout of the open-source client's ids: address, process, a salt, milliseconds of the month, a counter. Within a month of one process the last six
   bytes only grow; a new month takes a new salt, so no id comes twice. */
void xo_message_id(xo_engine *e, unsigned char id[16])
{
    int64_t now_ms = xo_now_ms();
    time_t now = (time_t)(now_ms / 1000);
    struct tm tm;
    gmtime_r(&now, &tm);
    int64_t month = (int64_t)tm.tm_year * 12 + tm.tm_mon;
    int64_t ms = ((((int64_t)tm.tm_mday - 1) * 24 + tm.tm_hour) * 60 + tm.tm_min) * 60000 + tm.tm_sec * 1000 + now_ms % 1000;
    if (month != e->id_month) {
        uint64_t salt = xo_random();
        memcpy(e->id_salt, &salt, sizeof e->id_salt);
        e->id_month = month;
        e->id_seq = 0;
    }
    e->id_seq = ms * 65536 > e->id_seq ? ms * 65536 : e->id_seq + 1;
    unsigned pid = (unsigned)getpid();
    memcpy(id, e->id_host, 4);
    id[4] = (unsigned char)(pid >> 8);
    id[5] = (unsigned char)pid;
    memcpy(id + 6, e->id_salt, 4);
    for (int i = 0; i < 6; i++)
        id[10 + i] = (unsigned char)(e->id_seq >> (40 - 8 * i));
}

void xo_log_assign(xo_topic *t, xo_entry *e, int64_t *pos)
{
    *pos = t->writing.next_pos++;
    e->queue = (int32_t)((e->lane ? e->lane : (uint64_t)*pos) % XO_QUEUES);
    if (e->lane == 0)
        e->lane = (uint64_t)e->queue + 1;
    e->offset = t->writing.offsets[e->queue]++;
}

/* ---- timed messages ---- */

static int timed_run(xo_op *op, xo_storage *s)
{
    xo_timed *d = XO_OF(xo_timed, op, op);
    if (xo_storage_topic(s, d->topic) != 0)
        return -1;
    xo_log_assign(d->topic, &d->entry, &d->pos);
    return xo_storage_place(s, &d->entry, d->pos, XO_ROW_VISIBLE);
}

static void timed_fire(xo_timer *timer);

static void timed_done(xo_op *op, int ok)
{
    xo_timed *d = XO_OF(xo_timed, op, op);
    if (!ok) {
        xo_engine_timer(d->topic->engine, &d->timer, xo_mono_ms() + 1000, timed_fire);
        return;
    }
    xo_topic_append(d->topic, &d->entry, d->pos);
    xo_list_remove(&d->link);
    free(d);
}

static void timed_fire(xo_timer *timer)
{
    xo_timed *d = XO_OF(xo_timed, timer, timer);
    xo_engine *e = d->topic->engine;
    int64_t now = xo_engine_now(e);
    if (d->deliver_at > now) { /* the wall clock was set back, or the wait was cut in pieces */
        xo_timed_arm(d);
        return;
    }
    d->entry.at = now;
    d->op.run = timed_run;
    d->op.done = timed_done;
    xo_engine_write(e, &d->op);
}

xo_timed *xo_timed_new(xo_topic *t, int64_t deliver_at)
{
    xo_timed *d = xo_calloc(1, sizeof *d);
    if (d) {
        d->topic = t;
        d->deliver_at = deliver_at;
    }
    return d;
}

void xo_timed_arm(xo_timed *d)
{
    xo_engine *e = d->topic->engine;
    int64_t wait = d->deliver_at - xo_engine_now(e);
    if (wait > 3600000)
        wait = 3600000;
    if (!xo_linked(&d->link))
        xo_list_push(&d->topic->timed, &d->link);
    xo_engine_timer(e, &d->timer, xo_mono_ms() + (wait > 0 ? wait : 0), timed_fire);
}

/* ---- sending ---- */

static int send_run(xo_op *op, xo_storage *s)
{
    xo_send *m = XO_OF(xo_send, op, op);
    if (xo_storage_topic(s, m->topic) != 0)
        return -1;
    m->entry.n = ++m->topic->engine->next_message;
    xo_row_state state = m->half ? XO_ROW_HALF : m->timed ? XO_ROW_TIMED : XO_ROW_VISIBLE;
    m->pos = -1;
    if (state == XO_ROW_VISIBLE)
        xo_log_assign(m->topic, &m->entry, &m->pos);
    return xo_storage_insert(s, m, state);
}

static void send_failed(xo_send *m)
{
    xo_topic_unreserve(m->topic);
    if (m->half)
        xo_half_free(m->half);
    free(m->timed);
    m->half = NULL;
    m->timed = NULL;
}

static void send_done(xo_op *op, int ok)
{
    xo_send *m = XO_OF(xo_send, op, op);
    if (!ok) {
        send_failed(m);
    } else {
        m->topic->engine->counts.accepted++;
        if (m->half) {
            m->half->n = m->entry.n;
            if (xo_half_handle(m->half, (int64_t)m->check_s * 1000, &m->handle) != 0)
                m->handle = NULL; /* then a check settles it */
            xo_half_add(m->half, (int64_t)m->check_s * 1000);
            xo_topic_unreserve(m->topic);
        } else if (m->timed) {
            m->timed->entry = m->entry;
            xo_timed_arm(m->timed);
        } else {
            xo_topic_append(m->topic, &m->entry, m->pos);
        }
    }
    m->wait->wake(m->wait, ok);
}

int xo_send_fits(const xo_send *s, xo_kind kind)
{
    switch (kind) {
    case XO_KIND_ORDERED: return !s->deliver_at && !s->check_s;
    case XO_KIND_TIMED: return !s->shard && !s->check_s;
    case XO_KIND_TRANSACTION: return !s->shard && !s->deliver_at;
    case XO_KIND_ANY: break;
    }
    return 1;
}

int xo_send_begin(xo_send *m)
{
    xo_topic *t = m->topic;
    int64_t now = xo_engine_now(t->engine);
    const xo_tag *tag = m->tag ? xo_tag_get(t, m->tag) : NULL;
    if ((m->tag && !tag) || xo_topic_reserve(t) != 0)
        return -1;
    xo_message_id(t->engine, m->id);
    m->entry = (xo_entry){.born = now, .at = now, .lane = m->shard, .tag = tag};
    memcpy(m->entry.id, m->id, sizeof m->id);
    if (m->check_s && (m->half = xo_half_new(t))) {
        m->half->born = now;
        m->half->deliver_at = m->deliver_at;
        m->half->lane = m->shard;
        m->half->tag = tag;
        memcpy(m->half->id, m->id, sizeof m->id);
    } else if (!m->check_s && m->deliver_at > now) {
        m->timed = xo_timed_new(t, m->deliver_at);
    }
    if ((m->check_s && !m->half) || (!m->check_s && m->deliver_at > now && !m->timed)) {
        xo_topic_unreserve(t);
        return -1;
    }
    m->op.run = send_run;
    m->op.done = send_done;
    xo_engine_write(t->engine, &m->op);
    return 0;
}
