/* Messages that failed: back to their broker, which spaces them out through the retry topic, or run again here; and what is handed over later. */
#include "base/clock.h"
#include "base/log.h"
#include "source/rocketmq/rocketmq.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    xo_rocketmq *s;
    xonce_message *m;
    int64_t delay_ms;
    char what[320];
} send_back;

/* Under the lock. */
static void run_again_here(xo_rocketmq *s, xonce_message *m, int64_t delay_ms)
{
    if (m->attempt < INT32_MAX) {
        m->attempt++;
    }
    xo_rmq_later_add(s, m, XO_LATER_DELIVER, xo_mono_ms() + delay_ms);
}

/* The request for the copy in hand. Its maxReconsumeTimes lies above every limit of ours: with a lower one the broker would dead-letter a message that nobody here has rejected. */
static void make_request(xo_command *c, const xo_rocketmq *s, const xonce_message *m, int64_t level)
{
    const char *uniq = xonce_message_property(m, "UNIQ_KEY"), *retried = xonce_message_property(m, "RETRY_TOPIC");
    char *wire = retried ? NULL : xo_cluster_wrap(s->cluster, m->topic);
    xo_command_init(c, XO_RMQ_SEND_BACK);
    xo_command_set_int(c, "offset", m->copy_log_offset);
    xo_command_set(c, "group", s->wire_group);
    xo_command_set_int(c, "delayLevel", level);
    xo_command_set(c, "originMsgId", uniq ? uniq : m->id);
    xo_command_set(c, "originTopic", retried ? retried : wire ? wire : m->topic);
    xo_command_set_bool(c, "unitMode", 0);
    xo_command_set_int(c, "maxReconsumeTimes", INT32_MAX);
    free(wire);
}

/* Under the lock: the broker that holds the copy in hand; 0 when its queue is not ours any more. */
static int holder_of(xo_rocketmq *s, const xonce_message *m, char *out, size_t size)
{
    const xo_rmq_queue *q = xo_rmq_find(s, m->mark);
    size_t n = q ? strlen(q->broker) : 0;
    if (!q || q->state == XO_Q_LEAVING || n >= size) {
        return 0;
    }
    memcpy(out, q->broker, n + 1);
    return 1;
}

static void answered(xonce_status st, xo_command *answer, void *arg)
{
    send_back *b = arg;
    xo_rocketmq *s = b->s;
    if (st == XONCE_OK) {
        st = xo_command_error(answer, b->what);
    }
    if (st != XONCE_OK) {
        xo_log(XO_WARN, "rocketmq", "%s: it is run again here: %s", b->what, xonce_error_last()->text);
    }
    pthread_mutex_lock(&s->lock);
    s->busy--;
    if (st == XONCE_OK) {
        s->counts.acked++;
        xo_rmq_release(s, b->m, 1);
    } else {
        s->counts.ack_failed++;
        run_again_here(s, b->m, b->delay_ms);
    }
    pthread_cond_broadcast(&s->settled);
    pthread_mutex_unlock(&s->lock);
    free(b);
    if (st == XONCE_OK) {
        xo_pull_go(s);
    }
}

void xo_send_back(xo_rocketmq *s, xonce_message *m, int64_t delay_ms)
{
    send_back *b = malloc(sizeof(*b));
    char broker[256] = "", address[280];
    pthread_mutex_lock(&s->lock);
    int ours = holder_of(s, m, broker, sizeof(broker));
    if (!ours || !b || m->copy_log_offset < 0) {
        if (ours) {
            run_again_here(s, m, delay_ms);
        } else {
            xo_rmq_release(s, m, 0);
        }
        pthread_mutex_unlock(&s->lock);
        free(b);
        return;
    }
    s->busy++;
    pthread_mutex_unlock(&s->lock);
    *b = (send_back){.s = s, .m = m, .delay_ms = delay_ms};
    (void)snprintf(b->what, sizeof(b->what), "send-back of %.60s of %.60s to %.60s", m->id, m->topic, broker);
    if (xo_cluster_broker(s->cluster, broker, 0, address, sizeof(address)) != XONCE_OK) {
        answered(xonce_error_last()->code, NULL, b);
        return;
    }
    xo_command c;
    make_request(&c, s, m, 0);
    xo_remoting_send(xo_cluster_remoting(s->cluster), address, &c, s->timeout, answered, b);
}

/* ---- dead letter: a copy for the eyes of operators; the message itself stands in xonce_rejected already ---- */

static void buried(xonce_status st, xo_command *answer, void *arg)
{
    char *what = arg;
    if (st == XONCE_OK) {
        st = xo_command_error(answer, what);
    }
    if (st != XONCE_OK) {
        xo_log(XO_WARN, "rocketmq", "%s failed, the rejected message stands in xonce_rejected only: %s", what, xonce_error_last()->text);
    }
    free(what);
}

void xo_dead_letter(xo_rocketmq *s, const xonce_message *m)
{
    char broker[256] = "", address[280];
    pthread_mutex_lock(&s->lock);
    int ours = holder_of(s, m, broker, sizeof(broker));
    pthread_mutex_unlock(&s->lock);
    char *what = xo_printf("the copy of %.60s of %.60s for %%DLQ%%%.60s", m->id, m->topic, s->group);
    if (!what) {
        return;
    }
    if (!ours || m->copy_log_offset < 0) {
        xo_log(XO_WARN, "rocketmq", "%s was not made: its queue is another member's by now", what);
        free(what);
        return;
    }
    if (xo_cluster_broker(s->cluster, broker, 0, address, sizeof(address)) != XONCE_OK) {
        buried(xonce_error_last()->code, NULL, what);
        return;
    }
    xo_command c;
    make_request(&c, s, m, -1);
    xo_remoting_send(xo_cluster_remoting(s->cluster), address, &c, s->timeout, buried, what);
}

/* ---- later ---- */

void xo_rmq_later_add(xo_rocketmq *s, xonce_message *m, int what, int64_t due)
{
    const xo_rmq_queue *q = xo_rmq_find(s, m->mark);
    if (s->stopping || !q || q->state == XO_Q_LEAVING) {
        xo_rmq_release(s, m, 0);
        return;
    }
    xo_rmq_later *grown = xo_grow(s->later, &s->cap_later, s->nlater + 1, sizeof(*grown));
    if (!grown) {
        xo_rmq_release(s, m, 0);
        return;
    }
    s->later = grown;
    s->later[s->nlater++] = (xo_rmq_later){.m = m, .due = due, .what = what};
    pthread_cond_signal(&s->work);
}

int64_t xo_later_next_due(const xo_rocketmq *s)
{
    int64_t due = INT64_MAX;
    for (size_t i = 0; i < s->nlater; i++) {
        due = s->later[i].due < due ? s->later[i].due : due;
    }
    return due;
}

/* A message that waited here counts as taken from the broker now only while we surely were a member all the time: after a suspension others may have run it, and its record may be pruned. */
static void refresh(const xo_rocketmq *s, xonce_message *m)
{
    int64_t boot = xo_boot_ms();
    if (s->confirmed_boot && boot - s->confirmed_boot < 3 * s->rebalance_every + 30000) {
        m->polled_boot = boot;
    }
}

void xo_later_run(xo_rocketmq *s)
{
    xo_rmq_list deliver = {.last = &deliver.first};
    xonce_message *origins = NULL;
    int64_t now = xo_mono_ms();
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->nlater;) {
        xo_rmq_later *l = &s->later[i];
        if (l->due > now) {
            i++;
            continue;
        }
        xonce_message *m = l->m;
        int what = l->what;
        *l = s->later[--s->nlater];
        m->next = NULL;
        if (what == XO_LATER_ORIGIN) {
            m->next = origins;
            origins = m;
            continue;
        }
        refresh(s, m);
        m->failed = m->rejected = 0;
        *deliver.last = m;
        deliver.last = &m->next;
        deliver.n++;
    }
    if (deliver.n) {
        xo_rmq_hand_over(s, &deliver);
    }
    pthread_mutex_unlock(&s->lock);
    for (xonce_message *m = origins, *next; m; m = next) {
        next = m->next;
        m->next = NULL;
        xo_origin_ask(s, m);
    }
}
