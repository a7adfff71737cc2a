/* The identity of a retry copy: a copy must get its original's id, or it is applied twice; siblings must not share one, or they are lost. */
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "source/rocketmq/rocketmq.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_AGAIN_MS = 1000, ASK_AGAIN_MAX_MS = 60000, BROKEN_MAX = 5 };

/* What m->handle keeps of the copy's record between the two steps. */
typedef struct {
    int64_t born_time;
    char born_host[41];
    int tries, broken; /* failures; of these, answers that could not even be taken as one */
} copy_facts;

static char *facts_text(const copy_facts *f)
{
    return xo_printf("%" PRId64 " %s %d %d", f->born_time, f->born_host, f->tries, f->broken);
}

static int facts_of(const xonce_message *m, copy_facts *f)
{
    return m->handle && sscanf(m->handle, "%" SCNd64 " %40[0-9A-F] %d %d", &f->born_time, f->born_host, &f->tries, &f->broken) == 4;
}

/* The physical offset in an offsetMsgId: hex of a store host of 4 or 16 bytes and its port, then of the offset. 0: it is none. */
static int decode_offset(const char *id, int64_t *offset)
{
    size_t n = strlen(id);
    uint64_t v = 0;
    if ((n != 32 && n != 56) || strspn(id, "0123456789abcdefABCDEF") != n) {
        return 0;
    }
    for (const char *p = id + n - 16; *p; p++) {
        v = v << 4 | (uint64_t)(*p <= '9' ? *p - '0' : (*p | 0x20) - 'a' + 10);
    }
    *offset = (int64_t)v;
    return *offset >= 0;
}

/* Whose coordinates they are is not known: better none than the retry queue's. */
static void forget_place(xonce_message *m)
{
    (void)xonce_message_set_origin(m, "", -1, -1);
    m->store_time = m->log_offset = -1;
}

/* Not to be run but kept as rejected, under an id of its own. 0: no memory. */
static int refuse(xonce_message *m, const char *origin, const char *why)
{
    char *uniq = xo_printf("origin-%s", origin), *reason = xo_printf("origin unknown: %s", why);
    if (!uniq || !reason) {
        free(uniq);
        free(reason);
        return 0;
    }
    free(m->uniq);
    free(m->refuse);
    m->uniq = uniq;
    m->refuse = reason;
    forget_place(m);
    return 1;
}

static int is_an_id(const xo_record *r, const char *origin, size_t n)
{
    const char *uniq;
    size_t len;
    for (size_t i = 0; (uniq = xo_record_property(r, "UNIQ_KEY", i, &len)); i++) {
        if (len == n && memcmp(uniq, origin, n) == 0) {
            return 1;
        }
    }
    return 0;
}

int xo_origin_known(const xo_record *r, xonce_message *m)
{
    const char *origin = xonce_message_property(m, "ORIGIN_MESSAGE_ID");
    int64_t offset;
    m->copy_offset = r->queue_offset;
    m->copy_log_offset = r->log_offset;
    if (!origin || !*origin || is_an_id(r, origin, strlen(origin))) {
        /* a plain send by somebody's fallback, or by hand: it kept the original's properties, so these say who it is, as they said of the original */
        forget_place(m);
        return 1;
    }
    if (!decode_offset(origin, &offset)) {
        return refuse(m, origin, "its ORIGIN_MESSAGE_ID is no address in a broker's log") ? 1 : -1;
    }
    copy_facts f = {.born_time = r->born_time};
    xo_hex(f.born_host, r->born_host, r->nborn <= sizeof(r->born_host) ? r->nborn : sizeof(r->born_host), 1);
    free(m->handle);
    m->handle = facts_text(&f);
    return m->handle ? 0 : -1;
}

/* ---- asking ---- */

typedef struct {
    xo_rocketmq *s;
    xonce_message *m;
    copy_facts facts;
    char broker[256];
} question;

/* NULL: the record is the copy's original; else what differs. */
static const char *difference(const xonce_message *m, const copy_facts *f, const xo_record *r, const xonce_message *original)
{
    char host[41];
    const char *topic = xonce_message_property(m, "RETRY_TOPIC");
    xo_hex(host, r->born_host, r->nborn <= sizeof(r->born_host) ? r->nborn : sizeof(r->born_host), 1);
    if (r->born_time != f->born_time || strcmp(host, f->born_host)) {
        return "another message, born elsewhere or at another time, stands where its original stood";
    }
    if (!topic || strlen(topic) != r->ntopic || memcmp(topic, r->topic, r->ntopic)) {
        return "a message of another topic stands where its original stood";
    }
    if (original->body_len != m->body_len || (m->body_len && memcmp(original->body, m->body, m->body_len))) {
        return "a message with another body stands where its original stood";
    }
    return NULL;
}

/* m gets the original's id and place. 0: no memory. */
static int become(xonce_message *m, const xonce_message *original, const char *broker)
{
    size_t n;
    const char *uniq = xo_message_uniq(original, &n);
    char *copy = uniq ? xo_memdup0(uniq, n) : NULL;
    if (!copy || xonce_message_set_origin(m, broker, original->queue, original->offset) != XONCE_OK) {
        free(copy);
        return 0;
    }
    free(m->uniq);
    m->uniq = copy;
    m->store_time = original->store_time;
    m->log_offset = original->log_offset;
    return 1;
}

typedef enum { SETTLED_WHO, ASK_AGAIN } verdict;

static verdict refuse_or_again(xonce_message *m, const char *why)
{
    const char *origin = xonce_message_property(m, "ORIGIN_MESSAGE_ID");
    return refuse(m, origin ? origin : "", why) ? SETTLED_WHO : ASK_AGAIN;
}

static verdict judge_record(const question *q, const xo_command *answer)
{
    xo_record r;
    size_t at = 0;
    int more = 0;
    xonce_message *original = NULL;
    xonce_status st = xo_record_next(answer->body, answer->body_len, &at, &r, &more);
    if (st == XONCE_OK && more) {
        st = xo_record_message(&r, q->broker, &original);
    }
    if (st == XONCE_E_NOMEM) {
        return ASK_AGAIN;
    }
    if (st != XONCE_OK || !more) {
        return refuse_or_again(q->m, "no message stands where its original stood");
    }
    const char *why = difference(q->m, &q->facts, &r, original);
    verdict v = why ? refuse_or_again(q->m, why) : become(q->m, original, q->broker) ? SETTLED_WHO : ASK_AGAIN;
    xonce_message_free(original);
    return v;
}

/* Brokers answer a look into an empty place, or into the middle of a message, with the code of any trouble of theirs; only the words differ (seen with 4.9.7 and 5.3.3). */
static int is_gone(const xo_command *answer)
{
    static const char *const words[] = {"can not find message", "IllegalArgumentException: newLimit", "IllegalArgumentException: newPosition", "IndexOutOfBoundsException", "BufferUnderflowException"};
    if (answer->code == XO_RMQ_QUERY_NOT_FOUND) {
        return 1;
    }
    for (size_t i = 0; answer->code == XO_RMQ_SYSTEM_ERROR && answer->remark && i < sizeof(words) / sizeof(words[0]); i++) {
        if (strstr(answer->remark, words[i])) {
            return 1;
        }
    }
    return 0;
}

static void ask_later(question *q)
{
    int64_t pause = ASK_AGAIN_MS << (q->facts.tries < 6 ? q->facts.tries : 6);
    pause -= (int64_t)(xo_random() % (uint64_t)(pause / 2));
    q->facts.tries += q->facts.tries < 1000;
    char *text = facts_text(&q->facts);
    if (text) {
        free(q->m->handle);
        q->m->handle = text;
    }
    xo_rmq_later_add(q->s, q->m, XO_LATER_ORIGIN, xo_mono_ms() + (pause < ASK_AGAIN_MAX_MS ? pause : ASK_AGAIN_MAX_MS));
}

static void answered(xonce_status st, xo_command *answer, void *arg)
{
    question *q = arg;
    xo_rocketmq *s = q->s;
    xonce_message *m = q->m;
    verdict v = ASK_AGAIN;
    if (st == XONCE_OK && answer->code == XO_RMQ_OK) {
        v = judge_record(q, answer);
    } else if (st == XONCE_OK && is_gone(answer)) {
        v = refuse_or_again(m, "its original is gone from the broker");
    } else if (st == XONCE_E_PROTOCOL && ++q->facts.broken >= BROKEN_MAX) {
        /* what stands there makes the broker send so much rubbish that the connection breaks, with what others wait for on it: not for ever */
        v = refuse_or_again(m, "what stands where its original stood is no message");
    } else {
        if (st == XONCE_OK) {
            (void)xo_command_error(answer, "asking for the original of a retry copy");
        }
        xo_log(XO_WARN, "rocketmq", "%.60s of %.60s waits until %.60s can be asked for its original: %s", m->id, m->topic, q->broker, xonce_error_last()->text);
    }
    if (v == SETTLED_WHO && m->refuse) {
        xo_log(XO_WARN, "rocketmq", "%.60s of %.60s, a retry copy, is rejected: %s", m->id, m->topic, m->refuse);
    }
    pthread_mutex_lock(&s->lock);
    s->busy--;
    if (v == SETTLED_WHO) {
        free(m->handle);
        m->handle = NULL;
        xo_rmq_list one = {.first = m, .last = &m->next, .n = 1};
        m->next = NULL;
        xo_rmq_hand_over(s, &one);
    } else {
        ask_later(q);
    }
    pthread_cond_broadcast(&s->settled);
    pthread_mutex_unlock(&s->lock);
    free(q);
}

void xo_origin_ask(xo_rocketmq *s, xonce_message *m)
{
    question *q = calloc(1, sizeof(*q));
    const char *origin = xonce_message_property(m, "ORIGIN_MESSAGE_ID");
    int64_t offset = -1;
    char address[280];
    pthread_mutex_lock(&s->lock);
    const xo_rmq_queue *from = xo_rmq_find(s, m->mark);
    if (!q || !from || !origin || !decode_offset(origin, &offset) || !facts_of(m, &q->facts) || strlen(from->broker) >= sizeof(q->broker)) {
        if (from && !q) {
            xo_rmq_later_add(s, m, XO_LATER_ORIGIN, xo_mono_ms() + ASK_AGAIN_MS);
        } else {
            xo_rmq_release(s, m, 0);
        }
        pthread_mutex_unlock(&s->lock);
        free(q);
        return;
    }
    memcpy(q->broker, from->broker, strlen(from->broker) + 1);
    s->busy++;
    pthread_mutex_unlock(&s->lock);
    q->s = s;
    q->m = m;
    if (xo_cluster_broker(s->cluster, q->broker, 0, address, sizeof(address)) != XONCE_OK) {
        answered(xonce_error_last()->code, NULL, q);
        return;
    }
    xo_command c;
    xo_command_init(&c, XO_RMQ_VIEW_MESSAGE);
    xo_command_set_int(&c, "offset", offset);
    xo_remoting_send(xo_cluster_remoting(s->cluster), address, &c, s->timeout, answered, q);
}
