/* Runs a load on a store: threads that make messages, take them through transactions as a consumer's workers do, and count. */
#include "cli/measure.h"
#include "base/clock.h"
#include "message/position.h"
#include "store/settled.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { AGO = 4096 /* a redelivery is of one of the last so many */ };
static char TOPIC[] = "xonce_bench", BROKER[] = "broker-a", ALL_TAGS[] = "*";

/* The messages of one transaction. */
typedef struct {
    xonce_message **m;
    xo_item *items;
    uint64_t *serial; /* what makes their ids; 0: not to be delivered again */
    size_t n;
} parcel;

/* Where threads wait until all are warm. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int ready, open, given_up;
} gate;

/* One connection's thread. */
typedef struct {
    xo_measure *m;
    const xo_load *load;
    pthread_t thread;
    int number;
    int64_t length_us, began, ended;
    gate *start;
    parcel parcels[2];             /* the one that runs, and the one whose claim travels behind its COMMIT */
    int now;                       /* which of them runs */
    xo_spec spec;
    xo_ahead ahead;
    uint64_t past[AGO], delivered; /* serials of earlier batches, in a ring */
    uint64_t chance;
    xo_range queue;                /* the one that is read by offset */
    uint64_t done;
    int failed;
    xo_error error;
} runner;

static uint64_t serials; /* atomic: ids rise in the order of arrival, as brokers make them, over all connections */

const char *xo_load_name(xo_load_mode mode)
{
    static const char *const names[] = {"bare", "none", "record", "offset"};
    return names[mode];
}

int xo_measure_is_bad(const xonce_message *message)
{
    return message->body_len > 0 && *(const char *)message->body == '!';
}

/* ---- messages ---- */

/* A dice for percents: the same throws in each run. */
static int happens(runner *r, int percent)
{
    r->chance = r->chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((r->chance >> 33) % 100) < percent;
}

static uint64_t earlier(runner *r)
{
    uint64_t known = r->delivered < AGO ? r->delivered : AGO;
    return known && r->load->duplicates && happens(r, r->load->duplicates) ? r->past[(r->chance >> 40) % known] : 0;
}

/* The next place of the runner's queue. */
static xonce_status place(runner *r, xonce_message *m)
{
    xo_range *q = &r->queue;
    if (xonce_message_set_origin(m, BROKER, q->queue, q->next) != XONCE_OK) {
        return XONCE_E_NOMEM;
    }
    m->store_time = 1700000000000 + q->next;
    m->log_offset = q->next * 300;
    m->claim_from = q->next++;
    m->claim_generation = q->generation;
    m->claim_epoch = q->epoch;
    return XONCE_OK;
}

static xonce_status make_message(runner *r, xonce_message **out, uint64_t *serial)
{
    static const char bad_body[] = "!";
    char id[48];
    uint64_t again = r->load->mode == XO_LOAD_OFFSET ? 0 : earlier(r);
    int bad = !again && r->load->bad && happens(r, r->load->bad);
    uint64_t number = again ? again : __atomic_add_fetch(&serials, 1, __ATOMIC_RELAXED);
    (void)snprintf(id, sizeof(id), XO_MEASURE_IDS "%016" PRIX64, number);
    *serial = bad || again ? 0 : number;
    xonce_status st = xonce_message_new(out, TOPIC, id, bad ? bad_body : r->m->body, bad ? 1 : r->m->body_len);
    return st == XONCE_OK && r->load->mode == XO_LOAD_OFFSET ? place(r, *out) : st;
}

static void drop_messages(parcel *p)
{
    for (size_t i = 0; i < p->n; i++) {
        xonce_message_free(p->m[i]);
    }
    p->n = 0;
}

/* Fills p with the runner's next batch, unless it was taken ahead. */
static xonce_status take_batch(runner *r, parcel *p)
{
    if (p->n) {
        return XONCE_OK;
    }
    memset(p->items, 0, r->load->batch * sizeof(*p->items));
    while (p->n < r->load->batch) {
        xonce_status st = make_message(r, &p->m[p->n], &p->serial[p->n]);
        if (st != XONCE_OK) {
            drop_messages(p);
            return st;
        }
        p->items[p->n].m = p->m[p->n];
        p->n++;
    }
    return XONCE_OK;
}

/* A source with a backlog: just before a COMMIT the next batch is there. */
static size_t take_ahead(void *arg, xo_item **items, const xo_spec **spec)
{
    runner *r = arg;
    parcel *p = &r->parcels[!r->now];
    *items = p->items;
    *spec = &r->spec;
    return take_batch(r, p) == XONCE_OK ? p->n : 0;
}

static void remember(runner *r, const parcel *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->serial[i]) {
            r->past[r->delivered++ % AGO] = p->serial[i];
        }
    }
}

/* ---- running ---- */

/* The database refuses a row without an id: that is how a bad message's statement fails. */
static xonce_verdict book(xonce_tx *tx, const xonce_message *message, void *arg)
{
    const runner *r = arg;
    int bad = xo_measure_is_bad(message);
    if (bad && r->load->bad_by_verdict) {
        xonce_fail(tx, "bad");
        return XONCE_REJECT;
    }
    xonce_value id = bad ? xonce_null() : xonce_text(xonce_message_id(message));
    return xonce_exec(tx, r->m->insert, id, xonce_body(message)) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

/* Bad ones are put off or rejected. Another that is, was not measured. */
static xonce_status judge(const parcel *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if ((p->items[i].outcome == XONCE_DEFERRED || p->items[i].outcome == XONCE_REJECTED) && !xo_measure_is_bad(p->m[i])) {
            xo_error e = p->items[i].error;
            return e.pub.code != XONCE_OK ? xo_error_restore(&e) : xo_fail(XONCE_E_SQL, "a message was not applied, and nobody knows why");
        }
    }
    return XONCE_OK;
}

static void set_spec(runner *r)
{
    xonce_handler own = r->load->handler;
    r->ahead = (xo_ahead){.take = take_ahead, .arg = r};
    r->spec = (xo_spec){.one = own ? own : book, .arg = own ? r->load->arg : r, .no_dedup = r->load->mode == XO_LOAD_NONE, .ordered = r->load->mode == XO_LOAD_OFFSET, .ahead = &r->ahead};
}

static xonce_status apply(runner *r, parcel *p)
{
    if (r->load->mode == XO_LOAD_BARE) {
        xonce_value v[] = {xonce_text(xonce_message_id(p->m[0])), xonce_body(p->m[0])};
        return xo_store_query(r->m->s, r->m->insert, v, 2, NULL, NULL, NULL);
    }
    xonce_status st = xo_run(r->m->s, p->items, p->n, &r->spec);
    return st == XONCE_OK ? judge(p) : st;
}

static xonce_status step(runner *r)
{
    parcel *p = &r->parcels[r->now];
    xonce_status st = take_batch(r, p);
    if (st == XONCE_OK) {
        st = apply(r, p);
    }
    remember(r, p);
    drop_messages(p);
    r->now = !r->now;
    return st;
}

/* Takes the queue over, as its source does when it starts. */
static xonce_status take_queue(runner *r)
{
    const xo_position_ops *ops = xo_store_positions();
    xo_range *rows = NULL;
    size_t n = 0;
    r->queue = (xo_range){.topic = TOPIC, .broker = BROKER, .tags = ALL_TAGS, .queue = r->number, .last_store_time = -1, .last_log_offset = -1, .by_offset = 1};
    xonce_status st = ops->load(r->m->s, TOPIC, BROKER, r->number, &rows, &n);
    if (st == XONCE_OK && n) {
        r->queue.next = rows[0].next;
    }
    if (st == XONCE_OK) {
        st = ops->take(r->m->s, &r->queue, rows, n);
    }
    xo_ranges_free(rows, n);
    return st;
}

static int stopped(const xo_measure *m)
{
    return __atomic_load_n(&m->stop, __ATOMIC_RELAXED);
}

/* 1: go. */
static int pass_gate(gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->ready++;
    pthread_cond_broadcast(&g->changed);
    while (!g->open) {
        pthread_cond_wait(&g->changed, &g->lock);
    }
    int go = !g->given_up;
    pthread_mutex_unlock(&g->lock);
    return go;
}

static void open_gate(gate *g, int n, int give_up)
{
    pthread_mutex_lock(&g->lock);
    while (g->ready < n) {
        pthread_cond_wait(&g->changed, &g->lock);
    }
    g->open = 1;
    g->given_up = give_up;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

static void *run_load(void *arg)
{
    runner *r = arg;
    set_spec(r);
    xonce_status st = r->load->mode == XO_LOAD_OFFSET ? take_queue(r) : XONCE_OK;
    if (st == XONCE_OK && !stopped(r->m)) {
        st = step(r); /* opens the connection, prepares the statements */
    }
    int go = pass_gate(r->start);
    r->began = r->ended = xo_mono_us();
    while (go && st == XONCE_OK && r->ended - r->began < r->length_us && !stopped(r->m)) {
        st = step(r);
        r->done += r->load->batch;
        r->ended = xo_mono_us();
    }
    if (st != XONCE_OK) {
        r->failed = 1;
        xo_error_save(&r->error);
    }
    xo_ahead_drop(&r->ahead);
    drop_messages(&r->parcels[0]);
    drop_messages(&r->parcels[1]);
    return NULL;
}

/* ---- a load ---- */

static void free_runners(runner *all, int n)
{
    for (int i = 0; all && i < 2 * n; i++) {
        parcel *p = &all[i / 2].parcels[i % 2];
        free(p->m);
        free(p->items);
        free(p->serial);
    }
    free(all);
}

static int make_room(parcel *p, size_t batch)
{
    p->m = xo_calloc(batch, sizeof(*p->m));
    p->items = xo_calloc(batch, sizeof(*p->items));
    p->serial = xo_calloc(batch, sizeof(*p->serial));
    return p->m && p->items && p->serial;
}

static runner *make_runners(xo_measure *m, const xo_load *load, double seconds, gate *start)
{
    runner *all = xo_calloc((size_t)load->connections, sizeof(*all));
    for (int i = 0; all && i < load->connections; i++) {
        runner *r = &all[i];
        r->m = m;
        r->load = load;
        r->number = i;
        r->chance = (uint64_t)i + 1;
        r->length_us = (int64_t)(seconds * 1e6);
        r->start = start;
        if (!make_room(&r->parcels[0], load->batch) || !make_room(&r->parcels[1], load->batch)) {
            free_runners(all, load->connections);
            return NULL;
        }
    }
    return all;
}

static double cpu_us(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) != 0) {
        return 0;
    }
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static xonce_status gather(runner *all, int n, xo_measured *out)
{
    double messages = 0, cpu = cpu_us();
    *out = (xo_measured){0};
    for (int i = 0; i < n; i++) {
        (void)pthread_join(all[i].thread, NULL);
    }
    cpu = cpu_us() - cpu;
    for (int i = 0; i < n; i++) {
        if (all[i].failed) {
            return xo_error_restore(&all[i].error);
        }
        messages += (double)all[i].done;
        out->per_second += all[i].done ? (double)all[i].done * 1e6 / (double)(all[i].ended - all[i].began) : 0;
    }
    out->cpu_us = messages > 0 ? cpu / messages : 0;
    return XONCE_OK;
}

xonce_status xo_measure_run(xo_measure *m, const xo_load *load, double seconds, xo_measured *out)
{
    if (load->batch < 1 || load->batch > XO_MEASURE_BATCH_MAX || load->connections < 1 || load->connections > XO_MEASURE_CONNECTIONS_MAX ||
        (load->mode == XO_LOAD_BARE && load->batch != 1)) {
        return xo_fail(XONCE_E_INVALID, "a load of %zu messages a batch on %d connections cannot be measured", load->batch, load->connections);
    }
    gate start = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    runner *all = make_runners(m, load, seconds, &start);
    if (!all) {
        return xo_nomem();
    }
    int started = 0;
    while (started < load->connections && pthread_create(&all[started].thread, NULL, run_load, &all[started]) == 0) {
        started++;
    }
    int missing = started < load->connections;
    open_gate(&start, started, missing);
    xonce_status st = gather(all, started, out);
    free_runners(all, load->connections);
    pthread_mutex_destroy(&start.lock);
    pthread_cond_destroy(&start.changed);
    if (st != XONCE_OK) {
        return st;
    }
    if (missing) {
        return xo_fail(XONCE_E_NOMEM, "no thread for each of %d connections", load->connections);
    }
    return stopped(m) ? xo_fail(XONCE_E_CLOSED, "it was stopped") : XONCE_OK;
}

/* ---- what a load is made of ---- */

xonce_status xo_measure_init(xo_measure *m, xonce_store *s, const char *table, size_t body_len)
{
    memset(m, 0, sizeof(*m));
    if (body_len < 2 || body_len > XO_MEASURE_BODY_MAX) {
        return xo_fail(XONCE_E_INVALID, "bodies of %zu bytes cannot be measured", body_len);
    }
    m->s = s;
    m->body_len = body_len;
    m->body = xo_calloc(body_len + 1, 1);
    if (!m->body) {
        return xo_nomem();
    }
    memset(m->body, 'p', body_len);
    (void)snprintf(m->table, sizeof(m->table), "%s", table);
    (void)snprintf(m->insert, sizeof(m->insert), "INSERT INTO %s (id, payload) VALUES ($1, $2)", m->table);
    uint64_t none = 0;
    (void)__atomic_compare_exchange_n(&serials, &none, (uint64_t)xo_now_ms() << 20, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return XONCE_OK;
}

void xo_measure_free(xo_measure *m)
{
    free(m->body);
    memset(m, 0, sizeof(*m));
}
