/* What the tests of the RocketMQ source share. */
#include "tests/source/rmq.h"

/* ---- positions ---- */

static int is(const xo_range *r, const char *topic, const char *broker, int queue)
{
    return r->queue == queue && !strcmp(r->topic, topic) && !strcmp(r->broker, broker);
}

void db_open(db *d, const char *id)
{
    memset(d, 0, sizeof *d);
    pthread_mutex_init(&d->lock, NULL);
    snprintf(d->id, sizeof d->id, "%s", id);
}

static void free_row(xo_range *r)
{
    free(r->topic);
    free(r->broker);
    free(r->tags);
}

void db_close(db *d)
{
    for (size_t i = 0; i < d->n; i++)
        free_row(&d->rows[i]);
    free(d->rows);
    pthread_mutex_destroy(&d->lock);
}

static void copy_row(xo_range *to, const xo_range *from)
{
    *to = *from;
    to->topic = xo_strdup(from->topic);
    to->broker = xo_strdup(from->broker);
    to->tags = xo_strdup(from->tags ? from->tags : "*");
    ck_assert(to->topic && to->broker && to->tags);
}

static xonce_status refuse(db *d)
{
    d->refused++;
    pthread_mutex_unlock(&d->lock);
    return xo_fail(XONCE_E_CONNECT, "the test's database is down");
}

static xonce_status load(void *self, const char *topic, const char *broker, int32_t queue, xo_range **out, size_t *n)
{
    db *d = self;
    *out = NULL;
    *n = 0;
    pthread_mutex_lock(&d->lock);
    d->loads++;
    if (d->fail_load || (d->away && !strcmp(topic, d->away)))
        return refuse(d);
    xo_range *found = xo_calloc(d->n + 1, sizeof *found);
    ck_assert_ptr_nonnull(found);
    for (int64_t generation = 0, left = (int64_t)d->n; left > 0 && generation < 1000; generation++)
        for (size_t i = 0; i < d->n; i++)
            if (d->rows[i].generation == generation && is(&d->rows[i], topic, broker, queue))
                copy_row(&found[(*n)++], &d->rows[i]);
    *out = found;
    pthread_mutex_unlock(&d->lock);
    return XONCE_OK;
}

static xonce_status knows(void *self, const char *topic, int *known)
{
    db *d = self;
    pthread_mutex_lock(&d->lock);
    if (d->fail_knows)
        return refuse(d);
    *known = 0;
    for (size_t i = 0; i < d->n; i++)
        *known |= !strcmp(d->rows[i].topic, topic);
    pthread_mutex_unlock(&d->lock);
    return XONCE_OK;
}

static void put(db *d, const xo_range *r)
{
    xo_range *old = NULL;
    for (size_t i = 0; i < d->n; i++)
        if (is(&d->rows[i], r->topic, r->broker, r->queue) && d->rows[i].generation == r->generation)
            old = &d->rows[i];
    ck_assert_msg(r->first <= r->next && r->first >= 0, "a row [%lld,%lld)", (long long)r->first, (long long)r->next);
    if (!old) {
        d->rows = xo_grow(d->rows, &d->cap, d->n + 1, sizeof *d->rows);
        ck_assert_ptr_nonnull(d->rows);
        copy_row(&d->rows[d->n++], r);
        return;
    }
    ck_assert_msg(old->first == r->first, "the row of generation %lld began at %lld, not at %lld", (long long)r->generation, (long long)old->first,
                  (long long)r->first);
    if (r->next > old->next) { /* the maxima rise only together with next */
        old->next = r->next;
        old->last_store_time = r->last_store_time > old->last_store_time ? r->last_store_time : old->last_store_time;
        old->last_log_offset = r->last_log_offset > old->last_log_offset ? r->last_log_offset : old->last_log_offset;
    }
    old->epoch = r->epoch > old->epoch ? r->epoch : old->epoch;
}

static xonce_status save(void *self, const xo_range *r, size_t n)
{
    db *d = self;
    pthread_mutex_lock(&d->lock);
    int away = d->fail_save;
    for (size_t i = 0; i < n; i++)
        away |= d->away && !strcmp(r[i].topic, d->away);
    if (away)
        return refuse(d);
    d->saves++;
    for (size_t i = 0; i < n; i++)
        put(d, &r[i]);
    pthread_mutex_unlock(&d->lock);
    return XONCE_OK;
}

static xonce_status store_id(void *self, char out[9])
{
    snprintf(out, 9, "%s", ((db *)self)->id);
    return XONCE_OK;
}

/* ---- claims by offset */

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static xo_range *youngest(db *d, const char *topic, const char *broker, int queue)
{
    xo_range *y = NULL;
    for (size_t i = 0; i < d->n; i++)
        if (is(&d->rows[i], topic, broker, queue) && (!y || d->rows[i].generation > y->generation))
            y = &d->rows[i];
    return y;
}

static int same_rows(db *d, const xo_range *r, const xo_range *loaded, size_t n, int64_t *epoch)
{
    size_t seen = 0, same = 0;
    *epoch = -1;
    for (size_t i = 0; i < d->n; i++) {
        const xo_range *x = &d->rows[i];
        if (!is(x, r->topic, r->broker, r->queue))
            continue;
        seen++;
        *epoch = x->epoch > *epoch ? x->epoch : *epoch;
        for (size_t k = 0; k < n; k++)
            same += loaded[k].generation == x->generation && loaded[k].next == x->next && loaded[k].epoch == x->epoch;
    }
    return seen == n && same == n;
}

static void move(xo_range *y, const xo_range *to)
{
    y->next = to->next;
    y->last_store_time = to->last_store_time;
    y->last_log_offset = to->last_log_offset;
}

static xonce_status take(void *self, xo_range *r, const xo_range *loaded, size_t n)
{
    db *d = self;
    int64_t epoch;
    if (d->at_take)
        d->at_take();
    pthread_mutex_lock(&d->lock);
    if (d->fail_take)
        return refuse(d);
    d->takes++;
    xo_range *y = youngest(d, r->topic, r->broker, r->queue);
    if (d->move_at_take.next > 0 && y) {
        move(y, &d->move_at_take);
        d->move_at_take.next = 0;
    }
    if (!same_rows(d, r, loaded, n, &epoch)) {
        pthread_mutex_unlock(&d->lock);
        return xo_fail(XONCE_E_CONFLICT, "the rows are others by now");
    }
    ck_assert_msg(!y || r->generation > y->generation || (r->generation == y->generation && r->first == y->first && r->next == y->next),
                  "a row [%lld,%lld) is taken over as [%lld,%lld)", y ? (long long)y->first : -1, y ? (long long)y->next : -1, (long long)r->first,
                  (long long)r->next);
    put(d, r);
    for (size_t i = 0; i < d->n; i++)
        if (is(&d->rows[i], r->topic, r->broker, r->queue)) {
            d->rows[i].epoch = r->epoch = epoch + 1;
            d->rows[i].by_offset = r->by_offset;
            d->rows[i].record_before = r->record_before;
        }
    pthread_mutex_unlock(&d->lock);
    return XONCE_OK;
}

static xonce_status advance(void *self, const xo_range *r, int64_t from)
{
    db *d = self;
    xonce_status st = XONCE_E_FENCED;
    if (d->at_advance)
        d->at_advance();
    pthread_mutex_lock(&d->lock);
    if (d->fail_save)
        return refuse(d);
    for (size_t i = 0; i < d->n; i++) {
        xo_range *x = &d->rows[i];
        if (is(x, r->topic, r->broker, r->queue) && x->generation == r->generation && x->epoch == r->epoch && from <= x->next && x->next <= r->next) {
            x->next = r->next;
            x->last_store_time = greater(x->last_store_time, r->last_store_time);
            x->last_log_offset = greater(x->last_log_offset, r->last_log_offset);
            x->record_before = r->record_before;
            st = XONCE_OK;
        }
    }
    pthread_mutex_unlock(&d->lock);
    return st ? xo_fail(st, "the row stands elsewhere") : st;
}

static xonce_status recorded(void *self, const char *topic, const char *broker, int32_t queue, int64_t offset, int *yes)
{
    db *d = self;
    (void)topic;
    (void)broker;
    (void)queue;
    pthread_mutex_lock(&d->lock);
    *yes = 0;
    for (size_t i = 0; i < d->napplied; i++)
        *yes |= d->applied[i].offset >= offset;
    pthread_mutex_unlock(&d->lock);
    return XONCE_OK;
}

const xo_position_ops db_ops = {load, knows, save, store_id, take, advance, recorded};

void db_by_offset(db *d, const char *topic, const char *broker, int queue, int64_t record_before)
{
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->n; i++)
        if (is(&d->rows[i], topic, broker, queue)) {
            d->rows[i].by_offset = 1;
            d->rows[i].record_before = record_before;
        }
    pthread_mutex_unlock(&d->lock);
}

/* Under the lock. The row that m moves; NULL: it is fenced. */
static xo_range *row_of(db *d, const xonce_message *m)
{
    for (size_t i = 0; i < d->n; i++) {
        xo_range *x = &d->rows[i];
        if (is(x, m->topic, m->broker, m->queue) && x->generation == m->claim_generation && x->epoch == m->claim_epoch && m->claim_from <= x->next &&
            x->next <= m->offset)
            return x;
    }
    return NULL;
}

/* Under the lock. Of a claim by record only: what the queue's rows say. */
static db_claimed look(db *d, const xonce_message *m)
{
    for (size_t i = 0; i < d->n; i++) {
        const xo_range *x = &d->rows[i];
        if (!is(x, m->topic, m->broker, m->queue))
            continue;
        if (x->by_offset && !m->claim_record)
            return DB_FENCED;
        if (xo_ranges_cover(x, 1, m->offset, m->store_time, m->log_offset, xonce_message_property(m, "TAGS")))
            return DB_KNOWN;
    }
    return DB_FRESH;
}

db_claimed db_claim(db *d, const xonce_message *m)
{
    char body[32];
    snprintf(body, sizeof body, "%.*s", (int)m->body_len, (const char *)m->body);
    pthread_mutex_lock(&d->lock);
    int by_record = m->claim_epoch < 0 || m->claim_record;
    xo_range *row = m->claim_epoch < 0 ? NULL : row_of(d, m);
    db_claimed what = m->claim_epoch < 0 ? look(d, m) : row ? DB_FRESH : DB_FENCED;
    for (size_t i = 0; what == DB_FRESH && by_record && i < d->napplied; i++)
        if (d->applied[i].offset >= 0 && !strcmp(d->applied[i].body, body))
            what = DB_KNOWN;
    if (row) {
        row->next = m->offset + 1;
        row->last_store_time = greater(row->last_store_time, m->store_time);
        row->last_log_offset = greater(row->last_log_offset, m->log_offset);
    }
    if (what == DB_FRESH) {
        ck_assert_uint_lt(d->napplied, sizeof d->applied / sizeof *d->applied);
        snprintf(d->applied[d->napplied].body, sizeof body, "%s", body);
        d->applied[d->napplied++].offset = by_record ? m->offset : -1;
    }
    pthread_mutex_unlock(&d->lock);
    return what;
}

void db_steal(db *d, const char *topic, const char *broker, int queue, const xo_range *x)
{
    pthread_mutex_lock(&d->lock);
    xo_range *y = youngest(d, topic, broker, queue);
    ck_assert(y && y->next <= x->next);
    int64_t epoch = y->epoch + 1;
    move(y, x);
    for (size_t i = 0; i < d->n; i++)
        if (is(&d->rows[i], topic, broker, queue)) {
            d->rows[i].epoch = epoch;
            d->rows[i].by_offset = 1;
        }
    pthread_mutex_unlock(&d->lock);
}

int db_recorded(db *d, const char *body)
{
    int found = 0;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->napplied; i++)
        found |= d->applied[i].offset >= 0 && !strcmp(d->applied[i].body, body);
    pthread_mutex_unlock(&d->lock);
    return found;
}

int db_applied(db *d, const char *body)
{
    int n = 0;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->napplied; i++)
        n += !strcmp(d->applied[i].body, body);
    pthread_mutex_unlock(&d->lock);
    return n;
}

size_t db_takes(db *d)
{
    pthread_mutex_lock(&d->lock);
    size_t n = d->takes;
    pthread_mutex_unlock(&d->lock);
    return n;
}

size_t db_records(db *d)
{
    size_t n = 0;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->napplied; i++)
        n += d->applied[i].offset >= 0;
    pthread_mutex_unlock(&d->lock);
    return n;
}

void db_row(db *d, const char *topic, const char *broker, int queue, int64_t generation, int64_t first, int64_t next, int64_t store_time,
            int64_t log_offset)
{
    char t[256], b[64];
    snprintf(t, sizeof t, "%s", topic);
    snprintf(b, sizeof b, "%s", broker);
    xo_range r = {.topic = t,
                  .broker = b,
                  .queue = queue,
                  .generation = generation,
                  .first = first,
                  .next = next,
                  .last_store_time = store_time,
                  .last_log_offset = log_offset};
    pthread_mutex_lock(&d->lock);
    put(d, &r);
    pthread_mutex_unlock(&d->lock);
}

int64_t db_next(db *d, const char *topic, const char *broker, int queue)
{
    int64_t v = -1;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->n; i++)
        if (is(&d->rows[i], topic, broker, queue) && d->rows[i].next > v)
            v = d->rows[i].next;
    pthread_mutex_unlock(&d->lock);
    return v;
}

size_t db_rows(db *d, const char *topic, const char *broker, int queue)
{
    size_t n = 0;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->n; i++)
        n += is(&d->rows[i], topic, broker, queue);
    pthread_mutex_unlock(&d->lock);
    return n;
}

int db_get(db *d, const char *topic, const char *broker, int queue, int64_t generation, xo_range *out)
{
    int found = 0;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->n; i++)
        if (is(&d->rows[i], topic, broker, queue) && d->rows[i].generation == generation) {
            *out = d->rows[i];
            found = 1;
        }
    pthread_mutex_unlock(&d->lock);
    out->topic = out->broker = out->tags = NULL;
    return found;
}

int db_covers(db *d, const char *topic, const char *broker, int queue, int64_t offset)
{
    int found = 0;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->n; i++)
        found |= is(&d->rows[i], topic, broker, queue) && d->rows[i].first <= offset && offset < d->rows[i].next;
    pthread_mutex_unlock(&d->lock);
    return found;
}

void db_fail_saves(db *d, int on)
{
    pthread_mutex_lock(&d->lock);
    d->fail_save = on;
    pthread_mutex_unlock(&d->lock);
}

size_t db_refused(db *d)
{
    pthread_mutex_lock(&d->lock);
    size_t n = d->refused;
    pthread_mutex_unlock(&d->lock);
    return n;
}

/* ---- a member ---- */

static const char *const quick[] = {"rocketmq.timeout",
                                    "2s",
                                    "rocketmq.connect-timeout",
                                    "1s",
                                    "rocketmq.route-every",
                                    "50ms",
                                    "rocketmq.heartbeat-every",
                                    "100ms",
                                    "rocketmq.rebalance-every",
                                    "50ms",
                                    "rocketmq.commit-every",
                                    "20ms",
                                    "rocketmq.long-poll",
                                    "300ms",
                                    NULL};

void rmq_new(rmq *r, const char *uri, db *d, const char *const *settings)
{
    memset(r, 0, sizeof *r);
    ck_assert_int_eq(xonce_config_new(&r->cfg), XONCE_OK);
    for (int own = 0; own < 2; own++)
        for (const char *const *p = own ? settings : quick; *p; p += 2)
            ck_assert_msg(!xonce_config_set(r->cfg, p[0], p[1]), "%s", xonce_error_last()->text);
    ck_assert_msg(!xo_source_rocketmq_open(&r->s, uri, r->cfg), "%s", xonce_error_last()->text);
    if (d)
        r->s->ops->positions(r->s, &db_ops, d);
}

void rmq_start(rmq *r, const char *topic, const char *tags, int ordered)
{
    ck_assert_msg(!r->s->ops->subscribe(r->s, "G", topic, tags, ordered), "%s", xonce_error_last()->text);
    ck_assert_msg(!r->s->ops->start(r->s), "%s", xonce_error_last()->text);
}

void rmq_open(rmq *r, const mq *m, db *d, const char *topic, const char *tags, int ordered, const char *const *settings)
{
    rmq_new(r, mq_uri(m), d, settings);
    rmq_start(r, topic, tags, ordered);
}

void rmq_open_offset(rmq *r, const mq *m, db *d, const char *topic, const char *tags, const char *const *settings)
{
    rmq_new(r, mq_uri(m), d, settings);
    ck_assert_msg(!r->s->ops->subscribe(r->s, "G", topic, tags, 0), "%s", xonce_error_last()->text);
    ck_assert_msg(!r->s->ops->by_offset(r->s, topic), "%s", xonce_error_last()->text);
    ck_assert_msg(!r->s->ops->start(r->s), "%s", xonce_error_last()->text);
}

size_t rmq_poll(rmq *r)
{
    xonce_message *list = NULL;
    size_t n = 0;
    if (r->s->ops->poll(r->s, 64, 10, &list)) {
        r->errors++;
        xo_error_save(&r->last);
    }
    for (; list; n++) {
        xonce_message *next = list->next;
        list->next = NULL;
        ck_assert_uint_lt(r->n, MOST);
        r->bodies[r->n] = xo_memdup0(list->body, list->body_len);
        r->got[r->n++] = list;
        list = next;
    }
    return n;
}

void rmq_take(rmq *r, size_t n)
{
    int64_t end = xo_mono_ms() + RMQ_PATIENCE_MS;
    while (r->n < n) {
        rmq_poll(r);
        ck_assert_msg(xo_mono_ms() < end, "only %zu of %zu messages came; last error: %s", r->n, n, r->errors ? r->last.pub.text : "none");
    }
    ck_assert_uint_eq(r->n, n);
}

int rmq_has(const rmq *r, const char *body)
{
    int n = 0;
    for (size_t i = 0; i < r->n; i++)
        n += !strcmp(r->bodies[i], body);
    return n;
}

int rmq_find(const rmq *r, const char *body)
{
    for (size_t i = r->n; i-- > 0;)
        if (!strcmp(r->bodies[i], body))
            return (int)i;
    return -1;
}

void rmq_until(rmq *r, const char *body)
{
    int64_t end = xo_mono_ms() + RMQ_PATIENCE_MS;
    while (rmq_find(r, body) < 0) {
        rmq_poll(r);
        ck_assert_msg(xo_mono_ms() < end, "\"%s\" did not come; last error: %s", body, r->errors ? r->last.pub.text : "none");
    }
}

int rmq_work(rmq *r, db *d)
{
    int n = 0;
    rmq_poll(r);
    for (size_t i = 0; i < r->n; i++) {
        if (!r->got[i])
            continue;
        n++;
        if (db_claim(d, r->got[i]) != DB_FENCED) {
            rmq_ack(r, i);
            continue;
        }
        r->got[i]->fenced = 1;
        rmq_nack(r, i, 0);
    }
    return n;
}

void rmq_ack(rmq *r, size_t i)
{
    ck_assert_ptr_nonnull(r->got[i]);
    r->s->ops->ack(r->s, r->got[i]);
    r->got[i] = NULL;
}

void rmq_ack_all(rmq *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->got[i])
            rmq_ack(r, i);
}

void rmq_nack(rmq *r, size_t i, int failed)
{
    r->got[i]->failed = failed;
    r->s->ops->nack(r->s, r->got[i], 10);
    r->got[i] = NULL;
}

void rmq_stop(rmq *r)
{
    r->s->ops->stop(r->s, 0);
    for (size_t i = 0; i < r->n; i++)
        if (r->got[i])
            rmq_nack(r, i, 0);
    ck_assert_msg(!r->s->ops->stop(r->s, 10000), "%s", xonce_error_last()->text);
}

static void forget(rmq *r)
{
    r->s->ops->close(r->s);
    r->s = NULL;
    xonce_config_free(r->cfg);
    for (size_t i = 0; i < r->n; i++)
        free(r->bodies[i]);
    r->n = 0;
}

void rmq_close(rmq *r)
{
    if (r->s) {
        rmq_stop(r);
        forget(r);
    }
}

void rmq_crash(rmq *r)
{
    for (size_t i = 0; i < r->n; i++)
        xonce_message_free(r->got[i]);
    forget(r);
}

xo_source_counts rmq_counts(const rmq *r)
{
    xo_source_counts c = {0};
    r->s->counts(r->s, &c);
    return c;
}

/* ---- log lines ---- */

static pthread_mutex_t lines_lock = PTHREAD_MUTEX_INITIALIZER;
static char lines[1 << 16];

static void line(int level, const char *area, const char *text, void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lines_lock);
    size_t n = strlen(lines);
    snprintf(lines + n, sizeof lines - n, "%d %s: %s\n", level, area, text);
    pthread_mutex_unlock(&lines_lock);
    if (getenv("TEST_LOG"))
        fprintf(stderr, "%d %s: %s\n", level, area, text);
}

void lines_reset(void)
{
    pthread_mutex_lock(&lines_lock);
    lines[0] = 0;
    pthread_mutex_unlock(&lines_lock);
    xonce_set_log(line, NULL);
}

int lines_with(const char *text)
{
    int n = 0;
    pthread_mutex_lock(&lines_lock);
    for (const char *p = lines; (p = strstr(p, text)); p++)
        n++;
    pthread_mutex_unlock(&lines_lock);
    return n;
}

int rmq_run(TCase *t)
{
    Suite *s = suite_create("rocketmq");
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
