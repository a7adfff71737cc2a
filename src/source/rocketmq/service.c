/* The service thread: everything of the source that may wait for a broker or the database, one thing after the other. */
#include "base/clock.h"
#include "base/log.h"
#include "source/rocketmq/data.h"

enum { SOON_MS = 1000, ASLEEP_MS = 10000, PULL_EVERY_MS = 10, REBALANCE_GAP_MS = 100 };

/* When each job is due, monotonic. */
typedef struct {
    int64_t routes, heartbeat, rebalance, locks, start, commit;
    int64_t pull, asked;       /* pulls, and a rebalance that somebody asks for: not before */
    int64_t asleep;            /* boot clock - monotonic clock: grows while the machine is suspended */
} plan;
/* What is to be done in this round. */
typedef struct {
    int routes, heartbeat, rebalance, locks, start, commit, later, pull;
} work;

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The pause before a job that has just been done is done again. What waited for a broker that does not answer waits the longer: this thread has other things to do. */
static int64_t soon_after(int64_t began)
{
    return SOON_MS + 2 * (xo_mono_ms() - began);
}

static int is_open(const xo_rmq_queue *q)
{
    return q->state != XO_Q_LEAVING && (q->state == XO_Q_WANTED || q->look_back || q->seek >= 0 || xo_offset_reopens(q));
}

/* Under the lock. After a suspension nothing that was known is: others may have had our queues, and gave them back. */
static void notice_sleep(xo_rocketmq *s, plan *p)
{
    int64_t asleep = xo_boot_ms() - xo_mono_ms(), was = p->asleep;
    p->asleep = asleep;
    if (asleep - was < ASLEEP_MS) {
        return;
    }
    for (xo_rmq_queue *q = s->queues; q; q = q->next) {
        if (q->state != XO_Q_LEAVING) {
            q->look_back = 1;
            q->locked = 0;
            xo_rmq_drop(s, q->mark);
        }
    }
    s->confirmed_boot = 0;
    s->routes_now = s->heartbeat_now = s->rebalance_now = s->locks_now = 1;
}

/* Under the lock. Returns when there is something to do: 1, or 0 when it is time to end. */
static int wait_for_work(xo_rocketmq *s, plan *p, work *w)
{
    for (;;) {
        int64_t now = xo_mono_ms(), next;
        int open = 0;
        if (s->quit) {
            return 0;
        }
        notice_sleep(s, p);
        for (const xo_rmq_queue *q = s->queues; q && !open; q = q->next) {
            open = is_open(q);
        }
        *w = (work){.heartbeat = s->heartbeat_now || now >= p->heartbeat, .commit = now >= p->commit, .locks = s->locks_now || now >= p->locks, .later = now >= xo_later_next_due(s)};
        next = sooner(sooner(p->heartbeat, p->commit), sooner(p->locks, xo_later_next_due(s)));
        if (!s->stopping) {
            w->routes = s->routes_now || now >= p->routes;
            int64_t rebalance = s->rebalance_now ? sooner(p->asked, p->rebalance) : p->rebalance;
            w->rebalance = now >= rebalance;
            int64_t pull = xo_pull_next_due(s);
            pull = pull < p->pull ? p->pull : pull;
            w->pull = now >= pull;
            w->start = open && (now >= p->start || w->pull);
            next = sooner(sooner(sooner(next, pull), p->routes), sooner(rebalance, open ? p->start : INT64_MAX));
        }
        if (w->routes || w->heartbeat || w->rebalance || w->locks || w->start || w->commit || w->later || w->pull) {
            return 1;
        }
        xo_cond_wait_ms(&s->work, &s->lock, next);
    }
}

static int wants_lock(xo_rocketmq *s)
{
    int64_t now = xo_mono_ms();
    int wanted = 0;
    pthread_mutex_lock(&s->lock);
    for (const xo_rmq_queue *q = s->queues; q; q = q->next) {
        wanted |= q->state != XO_Q_LEAVING && !xo_locks_held(q, now);
    }
    pthread_mutex_unlock(&s->lock);
    return wanted;
}

static void clear(xo_rocketmq *s, int *flag)
{
    pthread_mutex_lock(&s->lock);
    *flag = 0;
    pthread_mutex_unlock(&s->lock);
}

static int take_flag(xo_rocketmq *s, int *flag)
{
    pthread_mutex_lock(&s->lock);
    int was = *flag;
    *flag = 0;
    pthread_mutex_unlock(&s->lock);
    return was;
}

static int is_stopping(xo_rocketmq *s)
{
    pthread_mutex_lock(&s->lock);
    int stopping = s->stopping;
    pthread_mutex_unlock(&s->lock);
    return stopping;
}

static int has_to_end(xo_rocketmq *s)
{
    pthread_mutex_lock(&s->lock);
    int quit = s->quit;
    pthread_mutex_unlock(&s->lock);
    return quit;
}

/* The order matters: a broker must have heard of us before it lists us as a member, must list us before queues are ours, and an ordered queue is locked before its position is looked up. */
static void do_work(xo_rocketmq *s, plan *p, work *w)
{
    if (w->later) {
        xo_later_run(s);
    }
    if (w->routes) {
        clear(s, &s->routes_now);
        xo_routes_refresh(s);
        p->routes = xo_mono_ms() + s->route_every;
    }
    if (has_to_end(s)) {
        return;
    }
    if (take_flag(s, &s->heartbeat_now) || w->heartbeat) {
        int heard = xo_members_heartbeat(s);
        p->heartbeat = xo_mono_ms() + (heard ? s->heartbeat_every : sooner(SOON_MS, s->heartbeat_every));
    }
    if (w->rebalance && !is_stopping(s)) {
        int64_t began = xo_mono_ms();
        clear(s, &s->rebalance_now);
        xo_members_rebalance(s);
        p->rebalance = xo_mono_ms() + (s->again ? sooner(soon_after(began), s->rebalance_every) : s->rebalance_every);
        p->asked = xo_mono_ms() + REBALANCE_GAP_MS;
        w->start = 1;
    }
    if (has_to_end(s)) {
        return;
    }
    if (take_flag(s, &s->locks_now) || w->locks) {
        int64_t began = xo_mono_ms();
        xo_locks_renew(s);
        p->locks = xo_mono_ms() + (wants_lock(s) ? sooner(soon_after(began), XO_LOCK_EVERY_MS) : XO_LOCK_EVERY_MS);
        w->start = 1;
    }
    if (w->start && !is_stopping(s)) {
        xo_start(s);
        p->start = xo_mono_ms() + SOON_MS;
    }
    if (w->commit) {
        xo_commit(s);
        p->commit = xo_mono_ms() + s->commit_every;
    }
    xo_pull_go(s);
    if (w->pull) {
        p->pull = xo_mono_ms() + PULL_EVERY_MS;
    }
}

void *xo_rmq_service_main(void *source)
{
    xo_rocketmq *s = source;
    plan p = {.commit = xo_mono_ms() + s->commit_every, .asleep = xo_boot_ms() - xo_mono_ms()};
    work w;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        int go_on = wait_for_work(s, &p, &w);
        pthread_mutex_unlock(&s->lock);
        if (!go_on) {
            break;
        }
        do_work(s, &p, &w);
    }
    xo_commit(s);
    xo_commit(s); /* a broker that was being told an older position meanwhile hears the last one now */
    xo_locks_release_all(s);
    xo_members_leave(s);
    pthread_mutex_lock(&s->lock);
    s->ended = 1;
    pthread_cond_broadcast(&s->settled);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}
