/* The group: who is in it, which queues are ours, and whether its members agree. */
#include "base/clock.h"
#include "base/log.h"
#include "source/rocketmq/rocketmq.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DRAIN_MS = 3000, STRANGERS_MS = 30000, TELL_MS = 60000 };

/* ---- sharing out ---- */

void xo_allocate(size_t n, size_t m, size_t index, size_t *start, size_t *count)
{
    *start = *count = 0;
    if (m == 0 || index >= m || n == 0) {
        return;
    }
    size_t r = n % m, size = n <= m ? 1 : r > 0 && index < r ? n / m + 1 : n / m;
    *start = r > 0 && index < r ? index * size : index * size + r;
    if (*start < n) {
        *count = size < n - *start ? size : n - *start;
    }
}

const char *xo_members_store_of(const char *client_id)
{
    static const char mark[] = "#xonce-", hex[] = "0123456789abcdef";
    size_t n = strlen(client_id), tail = sizeof(mark) - 1 + XO_STORE_DIGITS, claims = XO_MARK_SIZE - 1;
    if (n > claims && client_id[n - claims] == '-' && strspn(client_id + n - claims + 1, hex) == claims - 1) {
        n -= claims;
    }
    if (n <= tail || strncmp(client_id + n - tail, mark, sizeof(mark) - 1) || strspn(client_id + n - XO_STORE_DIGITS, hex) < XO_STORE_DIGITS) {
        return NULL;
    }
    return client_id + n - XO_STORE_DIGITS;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void xo_members_mark(const xo_rocketmq *s, char out[XO_MARK_SIZE])
{
    uint64_t sum = UINT64_C(14695981039346656037);
    const char *before = "", *next;
    out[0] = 0;
    do { /* in the order of their names, without room for sorting them */
        next = NULL;
        for (size_t i = 0; i < s->nsubs; i++) {
            const xo_rmq_sub *sub = &s->subs[i];
            if (sub->by_offset && strcmp(sub->topic, before) > 0 && (!next || strcmp(sub->topic, next) < 0)) {
                next = sub->topic;
            }
        }
        for (const char *p = next; p; p = *p ? p + 1 : NULL) { /* with its end, so that names do not run into each other */
            sum = (sum ^ (unsigned char)*p) * UINT64_C(1099511628211);
        }
        before = next;
    } while (next);
    if (sum != UINT64_C(14695981039346656037)) {
        (void)snprintf(out, XO_MARK_SIZE, "-%04x", (unsigned)((sum ^ sum >> 32) & 0xffff));
    }
}

/* ---- what one broker says of the group ---- */

typedef struct {
    char *broker;
    char **ids;      /* sorted; NULL: it could not be asked */
    size_t nids, own;
    int listed;      /* we are among them, at own */
    json_t *subs;    /* registered subscriptions by topic, or NULL */
    size_t call[2];  /* of the two requests, SIZE_MAX: none */
} view;
typedef struct {
    view *views;
    size_t n, cap;
    xo_route **routes; /* of each subscription, then of the retry topic; NULL: it has none */
} look;

static void look_free(const xo_rocketmq *s, look *l)
{
    for (size_t i = 0; i < l->n; i++) {
        view *v = &l->views[i];
        free(v->broker);
        for (size_t k = 0; v->ids && k < v->nids; k++) {
            free(v->ids[k]);
        }
        free(v->ids);
        json_decref(v->subs);
    }
    free(l->views);
    for (size_t i = 0; l->routes && i <= s->nsubs; i++) {
        xo_route_free(l->routes[i]);
    }
    free(l->routes);
}

static view *find_view(const look *l, const char *broker)
{
    for (size_t i = 0; i < l->n; i++) {
        if (!strcmp(l->views[i].broker, broker)) {
            return &l->views[i];
        }
    }
    return NULL;
}

static xonce_status add_view(look *l, const char *broker)
{
    if (find_view(l, broker)) {
        return XONCE_OK;
    }
    view *grown = xo_grow(l->views, &l->cap, l->n + 1, sizeof(*grown));
    if (!grown) {
        return xo_nomem();
    }
    l->views = grown;
    grown[l->n] = (view){.broker = xo_strdup(broker), .call = {SIZE_MAX, SIZE_MAX}};
    if (!grown[l->n].broker) {
        return xo_nomem();
    }
    l->n++;
    return XONCE_OK;
}

static const char *wire_of(const xo_rocketmq *s, size_t i)
{
    return i < s->nsubs ? s->subs[i].wire : s->retry_wire;
}

/* The routes as known, and the brokers in them. */
static xonce_status find_brokers(xo_rocketmq *s, look *l)
{
    xonce_status st = XONCE_OK;
    int deaf = 0; /* no name server answered: only what is known already is looked at */
    l->routes = xo_calloc(s->nsubs + 1, sizeof(xo_route *));
    if (!l->routes) {
        return xo_nomem();
    }
    for (size_t i = 0; i <= s->nsubs && st == XONCE_OK; i++) {
        int known = i == s->nsubs || s->subs[i].routed == 1;
        xonce_status found = known || !deaf ? xo_cluster_route(s->cluster, wire_of(s, i), INT64_MAX / 4, &l->routes[i]) : XONCE_E_NOT_FOUND;
        if (found != XONCE_OK) {
            deaf |= found != XONCE_E_NOT_FOUND;
            l->routes[i] = NULL;
            s->again = 1;
            continue;
        }
        if (i < s->nsubs && s->subs[i].routed != 1) {
            pthread_mutex_lock(&s->lock);
            s->routes_now = 1;
            pthread_mutex_unlock(&s->lock);
        }
        for (size_t k = 0; k < l->routes[i]->nqueues && st == XONCE_OK; k++) {
            st = add_view(l, l->routes[i]->queues[k].broker);
        }
    }
    return st;
}

static xonce_status read_ids(const xo_rocketmq *s, view *v, const xo_command *answer)
{
    json_t *o = xo_wire_json(answer->body, answer->body_len);
    const json_t *list = json_object_get(o, "consumerIdList");
    size_t n = json_array_size(list);
    char **ids = xo_calloc(n ? n : 1, sizeof(*ids));
    xonce_status st = o && ids ? XONCE_OK : xo_nomem();
    size_t k = 0;
    for (size_t i = 0; st == XONCE_OK && i < n; i++) {
        const char *id = json_string_value(json_array_get(list, i));
        if (id && !(ids[k++] = xo_strdup(id))) {
            k--;
            st = xo_nomem();
        }
    }
    json_decref(o);
    if (st != XONCE_OK) {
        for (size_t i = 0; ids && i < k; i++) {
            free(ids[i]);
        }
        free(ids);
        return st;
    }
    qsort(ids, k, sizeof(*ids), by_text);
    v->ids = ids;
    v->nids = k;
    for (size_t i = 0; i < k; i++) {
        if (!strcmp(ids[i], s->client_id)) {
            v->own = i;
            v->listed = 1;
        }
    }
    return XONCE_OK;
}

static void read_answers(xo_rocketmq *s, look *l, xo_call *calls)
{
    for (size_t i = 0; i < l->n; i++) {
        view *v = &l->views[i];
        if (v->call[0] == SIZE_MAX) {
            continue;
        }
        xo_call *ids = &calls[v->call[0]], *subs = &calls[v->call[1]];
        char what[200];
        (void)snprintf(what, sizeof(what), "asking %.60s for the members of %.60s", v->broker, s->group);
        xonce_status st = ids->status == XONCE_OK ? xo_command_error(&ids->answer, what) : xo_error_restore(&ids->error);
        if (st == XONCE_OK) {
            st = read_ids(s, v, &ids->answer);
        }
        if (st != XONCE_OK) {
            xo_log(XO_DEBUG, "rocketmq", "%s: %s", what, xonce_error_last()->text);
        }
        if (subs->status == XONCE_OK && subs->answer.code == XO_RMQ_OK) {
            json_t *o = xo_wire_json(subs->answer.body, subs->answer.body_len);
            v->subs = json_incref(json_object_get(o, "subscriptionTable"));
            json_decref(o);
        }
    }
}

/* Every broker at once: its members, and the subscriptions it has for them. */
static void ask_brokers(xo_rocketmq *s, look *l)
{
    static const int32_t codes[2] = {XO_RMQ_CONSUMER_LIST, XO_RMQ_CONSUMER_CONNECTIONS};
    xo_call *calls = xo_calloc(2 * l->n + 1, sizeof(*calls));
    size_t n = 0;
    for (size_t i = 0; calls && i < l->n; i++) {
        char address[280];
        if (xo_cluster_broker(s->cluster, l->views[i].broker, 1, address, sizeof(address)) != XONCE_OK) {
            continue;
        }
        for (int k = 0; k < 2; k++) {
            xo_command_init(&calls[n].request, codes[k]);
            xo_command_set(&calls[n].request, "consumerGroup", s->wire_group);
            memcpy(calls[n].address, address, sizeof(address));
            l->views[i].call[k] = n++;
        }
    }
    if (!calls) {
        s->again = 1;
        return;
    }
    xo_remoting_call_all(xo_cluster_remoting(s->cluster), calls, n, s->timeout);
    read_answers(s, l, calls);
    for (size_t i = 0; i < n; i++) {
        xo_command_free(&calls[i].answer);
    }
    free(calls);
}

/* ---- members of another kind ---- */

/* Counts them over all views. stranger: an id with another database, or NULL. */
static size_t count_foreign(const xo_rocketmq *s, const look *l, const char **stranger)
{
    const char *own = xo_members_store_of(s->client_id);
    size_t foreign = 0;
    *stranger = NULL;
    for (size_t i = 0; i < l->n; i++) {
        for (size_t k = 0; k < l->views[i].nids; k++) {
            const char *id = l->views[i].ids[k], *store = xo_members_store_of(id);
            int is_stranger = store && own && strncmp(store, own, XO_STORE_DIGITS) != 0;
            if (is_stranger) {
                *stranger = id;
            }
            foreign += !store ? strcmp(id, s->client_id) != 0 : is_stranger;
        }
    }
    return foreign;
}

/* A newcomer that finds others' databases refuses to start, and so leaves at once: who runs already waits for that. 0: cannot go on. */
static int check_strangers(xo_rocketmq *s, const char *stranger)
{
    int64_t now = xo_mono_ms();
    if (!stranger || s->many_stores) {
        s->strangers_since = 0;
        pthread_mutex_lock(&s->lock);
        s->red &= ~XO_RED_MEMBERS;
        pthread_mutex_unlock(&s->lock);
        return 1;
    }
    if (!s->strangers_since) {
        s->strangers_since = now;
    }
    int end = !s->shared_out || now - s->strangers_since > STRANGERS_MS;
    (void)xo_fail(XONCE_E_CONFLICT, "group %s has a member that writes to another database: %s. What one of them did the other cannot know, so messages would be applied twice;"
                                    " give both the same database, or another group, or say stores=many to both", s->group, stranger);
    xo_error_set_native(0, 0);
    if (!end) {
        s->again = 1;
        xo_log(XO_ERROR, "rocketmq", "%s", xonce_error_last()->text);
    }
    pthread_mutex_lock(&s->lock);
    s->red |= XO_RED_MEMBERS;
    if (end) {
        xo_rmq_permanent(s);
    }
    pthread_mutex_unlock(&s->lock);
    return !end;
}

/* The first member that does not claim as we do; *how says in which way. */
static const char *find_mixed(const xo_rocketmq *s, const look *l, int *how)
{
    const char *own = xo_members_store_of(s->client_id), *mark = own ? own + XO_STORE_DIGITS : "", *foreign = NULL;
    for (size_t i = 0; i < l->n; i++) {
        for (size_t k = 0; k < l->views[i].nids; k++) {
            const char *id = l->views[i].ids[k], *store = xo_members_store_of(id);
            int same = own && store && !strncmp(store, own, XO_STORE_DIGITS);
            if (same && strcmp(store + XO_STORE_DIGITS, mark)) {
                *how = XO_MIXED_CLAIMS;
                return id;
            }
            foreign = !same && strcmp(id, s->client_id) ? id : foreign;
        }
    }
    *how = foreign && mark[0] ? XO_MIXED_FOREIGN : XO_MIXED_NO;
    return *how ? foreign : NULL;
}

static xonce_status mixed_error(const xo_rocketmq *s, int how, const char *who)
{
    char mark[XO_MARK_SIZE];
    xo_members_mark(s, mark);
    if (mark[0]) {
        return xo_fail(XONCE_E_INVALID,
                       "--claim offset is refused while members of the group claim by record or are no xonce: group %s has the member %s%s. By offset a message is known by its"
                       " place alone, which nobody else knows of: stop that member, or claim by record", s->group, who,
                       how == XO_MIXED_CLAIMS ? ", which claims other topics by offset than this one, or none" : "");
    }
    return xo_fail(XONCE_E_INVALID, "group %s has a member that claims by offset: %s. What it has done has no record, so all members must claim alike: say --claim offset here too, or stop that member",
                   s->group, who);
}

/* A newcomer refuses to start; who runs already begins no queue until the other is gone. 0: cannot go on. */
static int check_claims(xo_rocketmq *s, const look *l)
{
    int how, end = 0, tell = 0;
    const char *who = find_mixed(s, l, &how);
    int64_t now = xo_mono_ms();
    if (who) {
        (void)mixed_error(s, how, who);
        xo_error_set_native(0, 0);
    }
    pthread_mutex_lock(&s->lock);
    int was = s->mixed;
    s->mixed = how;
    s->mixed_seen |= how != XO_MIXED_NO;
    s->red = how ? s->red | XO_RED_CLAIMS : s->red & ~XO_RED_CLAIMS;
    if (how) {
        end = !s->shared_out || (!s->ran && xo_now_ms() - s->started_at < STRANGERS_MS);
        tell = !end && (!s->mixed_told || now - s->mixed_told >= TELL_MS);
        s->mixed_told = tell ? now : s->mixed_told;
    }
    if (end) {
        xo_rmq_permanent(s);
    }
    pthread_mutex_unlock(&s->lock);
    if (tell) {
        xo_log(XO_ERROR, "rocketmq", "%s", xonce_error_last()->text);
    } else if (was && !how) {
        xo_log(XO_INFO, "rocketmq", "all members of group %s claim alike now", s->group);
    }
    return !end;
}

static void note_foreign(xo_rocketmq *s, size_t foreign, size_t members)
{
    pthread_mutex_lock(&s->lock);
    int was = s->foreign;
    s->foreign = foreign > 0;
    if (foreign) {
        s->foreign_seen = xo_mono_ms();
    }
    s->members = members;
    pthread_mutex_unlock(&s->lock);
    if (foreign && !was) {
        xo_log(XO_WARN, "rocketmq", "group %s has members that are no xonce, or write to another database: the broker's positions count, and their messages are protected only as far as they do it themselves", s->group);
    } else if (was && !foreign) {
        xo_log(XO_INFO, "rocketmq", "group %s has only members of this kind now: the database's positions count", s->group);
    }
}

/* ---- do the members agree? ---- */

/* Compares what the broker holds for the group (its youngest subscription) with ours. */
static void check_filter(xo_rocketmq *s, xo_rmq_sub *sub, const view *v)
{
    const json_t *registered = json_object_get(v->subs, sub->wire);
    if (!registered) {
        return;
    }
    const char *theirs = xo_json_text(registered, "subString"), *type = xo_json_text(registered, "expressionType");
    int differs = (type && strcmp(type, "TAG")) || !theirs || !xo_filter_same(&sub->filter, theirs), red = 0, alone = v->nids == 1 && v->listed;
    int64_t now = xo_mono_ms();
    pthread_mutex_lock(&s->lock);
    int was = sub->conflict, tell = differs && (!sub->told || now - sub->told > TELL_MS || !was);
    sub->conflict = differs;
    if (differs && alone) { /* only the trace of one that left: a younger subscription of ours takes its place */
        int64_t younger = xo_json_int(registered, "subVersion") + 1, wall = xo_now_ms();
        sub->version = wall > younger ? wall : younger;
        s->heartbeat_now = 1;
        tell = 0;
    }
    if (tell) {
        sub->told = now;
    }
    for (size_t i = 0; i < s->nsubs; i++) {
        red |= s->subs[i].conflict;
    }
    s->red = red ? s->red | XO_RED_FILTER : s->red & ~XO_RED_FILTER;
    pthread_mutex_unlock(&s->lock);
    if (differs) {
        s->again = 1;
    }
    if (tell) {
        xo_log(XO_ERROR, "rocketmq", "the members of group %s disagree about topic %s: here it is \"%s\", another member subscribed \"%s\". The broker hides from all what one does not want,"
                                     " so nothing of it is read here until they agree", s->group, sub->topic, sub->filter.text, theirs ? theirs : "?");
    } else if (was && !differs) {
        xo_log(XO_INFO, "rocketmq", "the members of group %s agree about topic %s again", s->group, sub->topic);
    }
}

/* ---- queues ---- */

static xo_rmq_queue *new_queue(xo_rocketmq *s, xo_rmq_sub *sub, const char *topic, const char *wire, const xo_queue_id *id)
{
    xo_rmq_queue *q = xo_calloc(1, sizeof(*q));
    if (!q) {
        return NULL;
    }
    q->topic = xo_strdup(topic);
    q->wire = xo_strdup(wire);
    q->broker = xo_strdup(id->broker);
    if (!q->topic || !q->wire || !q->broker) {
        free(q->topic);
        free(q->wire);
        free(q->broker);
        free(q);
        return NULL;
    }
    q->id = id->id;
    q->sub = sub;
    q->state = XO_Q_WANTED;
    q->mark = ++s->last_mark;
    q->pull_from = q->seek = q->committed = q->lag = q->max_offset = q->epoch = q->reopen = q->again = -1;
    return q;
}

static int is_queue(const xo_rmq_queue *q, const char *wire, const xo_queue_id *id)
{
    return q->id == id->id && !strcmp(q->broker, id->broker) && !strcmp(q->wire, wire);
}

/* Marks what is lost and adds what is new of one topic. Returns how much changed. */
static size_t change_queues(xo_rocketmq *s, xo_rmq_sub *sub, const char *topic, const char *wire, const xo_queue_id *own, size_t n)
{
    size_t changed = 0;
    pthread_mutex_lock(&s->lock);
    for (xo_rmq_queue *q = s->queues; q; q = q->next) {
        size_t i = 0;
        while (i < n && !is_queue(q, wire, &own[i])) {
            i++;
        }
        if (i == n && !strcmp(q->wire, wire) && q->state != XO_Q_LEAVING) {
            q->state = XO_Q_LEAVING;
            xo_rmq_drop(s, q->mark);
            changed++;
        }
    }
    for (size_t i = 0; i < n; i++) {
        xo_rmq_queue *q = s->queues;
        while (q && !is_queue(q, wire, &own[i])) {
            q = q->next;
        }
        if (q) {
            s->again |= q->state == XO_Q_LEAVING;
            continue;
        }
        if (!(q = new_queue(s, sub, topic, wire, &own[i]))) {
            s->again = 1;
            break;
        }
        q->next = s->queues;
        s->queues = q;
        changed++;
    }
    pthread_mutex_unlock(&s->lock);
    return changed;
}

/* The first broker of the topic, by name, that could be asked: so that members ask the same one. */
static const view *view_of(const look *l, const xo_route *r)
{
    for (size_t i = 0; i < r->nqueues; i++) {
        const view *v = (r->queues[i].perm & 4) ? find_view(l, r->queues[i].broker) : NULL;
        if (v && v->ids) {
            return v;
        }
    }
    return NULL;
}

/* One topic's share. Returns 1 when every queue of it is ours. */
static int share_out(xo_rocketmq *s, const look *l, size_t i, size_t *changed, int *listed)
{
    xo_rmq_sub *sub = i < s->nsubs ? &s->subs[i] : NULL;
    const char *wire = wire_of(s, i);
    char retry[300];
    (void)snprintf(retry, sizeof(retry), "%%RETRY%%%s", s->group);
    const view *v = l->routes[i] ? view_of(l, l->routes[i]) : NULL;
    if (!v) {
        s->again = 1;
        return 0;
    }
    if (!v->listed) { /* it has not heard of us, or forgot us: with a guess two members would own one queue */
        pthread_mutex_lock(&s->lock);
        s->heartbeat_now = 1;
        pthread_mutex_unlock(&s->lock);
        s->again = 1;
        return 0;
    }
    *listed = 1;
    if (sub) {
        check_filter(s, sub, v);
    }
    xo_queue_id *queues = NULL;
    size_t n = 0, start, count;
    if (xo_route_queues_of(l->routes[i], 0, &queues, &n) != XONCE_OK) {
        s->again = 1;
        return 0;
    }
    xo_allocate(n, v->nids, v->own, &start, &count);
    if (sub && sub->conflict) {
        count = 0;
    }
    size_t news = change_queues(s, sub, sub ? sub->topic : retry, wire, queues + start, count);
    xo_queue_ids_free(queues, n);
    if (news) {
        xo_log(XO_INFO, "rocketmq", "%s: %zu of %zu queues are ours, %zu members", sub ? sub->topic : retry, count, n, v->nids);
    }
    *changed += news;
    return n > 0 && count == n;
}

/* All that leave drain together. */
static void let_go(xo_rocketmq *s)
{
    int64_t deadline = xo_mono_ms() + DRAIN_MS;
    pthread_mutex_lock(&s->lock);
    for (int waiting = 1, late = 0; waiting && !late && !s->quit;) {
        waiting = 0;
        for (const xo_rmq_queue *q = s->queues; q; q = q->next) {
            waiting |= q->state == XO_Q_LEAVING && q->held > 0;
        }
        late = waiting && xo_cond_wait_ms(&s->settled, &s->lock, deadline) != 0;
    }
    for (xo_rmq_queue *q = s->queues; q;) {
        if (q->state != XO_Q_LEAVING) {
            q = q->next;
            continue;
        }
        pthread_mutex_unlock(&s->lock);
        xo_leave(s, q, 0);
        pthread_mutex_lock(&s->lock);
        q = s->queues; /* that one is gone */
    }
    pthread_mutex_unlock(&s->lock);
}

void xo_members_rebalance(xo_rocketmq *s)
{
    look l = {0};
    const char *stranger;
    size_t changed = 0, members = 0;
    int all = 1, listed = 0;
    s->again = 0;
    if (find_brokers(s, &l) != XONCE_OK) {
        s->again = 1;
        look_free(s, &l);
        return;
    }
    ask_brokers(s, &l);
    size_t foreign = count_foreign(s, &l, &stranger);
    if (!check_strangers(s, stranger)) {
        look_free(s, &l);
        return;
    }
    for (size_t i = 0; i < l.n; i++) {
        members = l.views[i].nids > members ? l.views[i].nids : members;
    }
    if (members) {
        note_foreign(s, foreign, members);
        if (!check_claims(s, &l)) {
            look_free(s, &l);
            return;
        }
    }
    for (size_t i = 0; i <= s->nsubs; i++) {
        all &= share_out(s, &l, i, &changed, &listed);
    }
    look_free(s, &l);
    pthread_mutex_lock(&s->lock);
    s->all_ours = all;
    if (listed) {
        s->shared_out = 1;
        s->confirmed_boot = xo_boot_ms();
        s->counts.answers += !s->queues; /* others have all there is: that is an answer too */
    }
    s->heartbeat_now |= changed > 0;
    s->locks_now |= changed > 0;
    pthread_mutex_unlock(&s->lock);
    let_go(s);
}

/* ---- heartbeats ---- */

static json_t *subscription(const char *wire, const xo_filter *f, int64_t version)
{
    json_t *tags = json_array(), *codes = json_array();
    for (size_t i = 0; f && i < f->n; i++) {
        json_array_append_new(tags, json_string(f->tags[i]));
        json_array_append_new(codes, json_integer(f->codes[i]));
    }
    return json_pack("{s:b, s:o, s:s, s:s, s:I, s:o, s:s}", "classFilterMode", 0, "codeSet", codes, "expressionType", "TAG", "subString", f ? f->text : "*", "subVersion", (json_int_t)version,
                     "tagsSet", tags, "topic", wire);
}

json_t *xo_members_subscriptions(const xo_rocketmq *s)
{
    json_t *all = json_array();
    int bad = 0;
    for (size_t i = 0; i < s->nsubs; i++) {
        bad |= json_array_append_new(all, subscription(s->subs[i].wire, &s->subs[i].filter, s->subs[i].version));
    }
    bad |= json_array_append_new(all, subscription(s->retry_wire, NULL, s->nsubs ? s->subs[0].version : 0));
    if (bad) {
        json_decref(all);
        return NULL;
    }
    return all;
}

xonce_status xo_members_heartbeat_body(xo_rocketmq *s, xo_buf *out)
{
    static const char *const where[] = {"CONSUME_FROM_FIRST_OFFSET", "CONSUME_FROM_LAST_OFFSET", "CONSUME_FROM_TIMESTAMP"};
    pthread_mutex_lock(&s->lock);
    json_t *subs = xo_members_subscriptions(s);
    pthread_mutex_unlock(&s->lock);
    if (!subs) {
        return xo_nomem();
    }
    return xo_rmq_json(json_pack("{s:s, s:i, s:b, s:[], s:[{s:s, s:s, s:s, s:s, s:b, s:o}]}", "clientID", s->client_id, "heartbeatFingerprint", 0, "withoutSub", 0, "producerDataSet", "consumerDataSet",
                                 "groupName", s->wire_group, "consumeType", "CONSUME_PASSIVELY", "messageModel", "CLUSTERING", "consumeFromWhere", where[s->consume_from], "unitMode", 0,
                                 "subscriptionDataSet", subs), out);
}

/* One request to every broker, side by side. Returns how many heard it. */
static size_t tell_all(xo_rocketmq *s, int32_t code, const xo_buf *body, const char *what, int64_t timeout)
{
    char **addresses = NULL;
    size_t n = 0, heard = 0;
    xonce_status known = xo_cluster_addresses(s->cluster, 0, &addresses, &n);
    xo_call *calls = known == XONCE_OK ? xo_calloc(n ? n : 1, sizeof(*calls)) : NULL;
    for (size_t i = 0; calls && i < n; i++) {
        (void)snprintf(calls[i].address, sizeof(calls[i].address), "%s", addresses[i]);
        xo_command_init(&calls[i].request, code);
        if (body) {
            xo_buf copy = {0};
            xo_buf_add(&copy, body->p, body->len);
            calls[i].request.failed |= copy.failed;
            xo_command_take_body(&calls[i].request, &copy);
        } else {
            xo_command_set(&calls[i].request, "clientID", s->client_id);
            xo_command_set(&calls[i].request, "consumerGroup", s->wire_group);
        }
    }
    if (calls) {
        xo_remoting_call_all(xo_cluster_remoting(s->cluster), calls, n, timeout);
    }
    for (size_t i = 0; calls && i < n; i++) {
        char text[400];
        (void)snprintf(text, sizeof(text), "%s %s", what, addresses[i]);
        xonce_status st = calls[i].status == XONCE_OK ? xo_command_error(&calls[i].answer, text) : xo_error_restore(&calls[i].error);
        xo_command_free(&calls[i].answer);
        if (st != XONCE_OK && code == XO_RMQ_HEARTBEAT) {
            pthread_mutex_lock(&s->lock);
            (st == XONCE_E_AUTH ? xo_rmq_permanent : xo_rmq_transient)(s);
            pthread_mutex_unlock(&s->lock);
        }
        heard += st == XONCE_OK;
    }
    free(calls);
    xo_addresses_free(addresses, n);
    return heard;
}

int xo_members_heartbeat(xo_rocketmq *s)
{
    xo_buf body = {0};
    size_t heard = 0;
    if (xo_members_heartbeat_body(s, &body) != XONCE_OK) {
        pthread_mutex_lock(&s->lock);
        xo_rmq_transient(s);
        pthread_mutex_unlock(&s->lock);
    } else {
        heard = tell_all(s, XO_RMQ_HEARTBEAT, &body, "the heartbeat to", s->timeout);
    }
    xo_buf_free(&body);
    return heard > 0;
}

void xo_members_leave(xo_rocketmq *s)
{
    (void)tell_all(s, XO_RMQ_UNREGISTER, NULL, "leaving the group at", s->timeout < 1000 ? s->timeout : 1000);
}
