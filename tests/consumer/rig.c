/* See rig.h. */
#include "tests/consumer/rig.h"
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- store ---- */

int64_t rig_int(const rig *r, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    ck_assert_int_eq(sqlite3_open_v2(r->file, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    ck_assert_msg(sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
    ck_assert_int_eq(sqlite3_step(q), SQLITE_ROW);
    int64_t v = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    sqlite3_close(db);
    return v;
}

void rig_sql(const rig *r, const char *sql)
{
    sqlite3 *db = NULL;
    char *why = NULL;
    ck_assert_int_eq(sqlite3_open(r->file, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &why) == SQLITE_OK, "%s: %s", sql, why);
    sqlite3_close(db);
}

void rig_open(rig *r, const char *const *settings, int with_tables)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(r->dir, sizeof(r->dir), "%.40s/xonce-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(r->dir));
    snprintf(r->file, sizeof(r->file), "%s/db", r->dir);
    snprintf(r->uri, sizeof(r->uri), "sqlite:%s", r->file);
    ck_assert_int_eq(xonce_config_new(&r->cfg), XONCE_OK);
    for (; settings && *settings; settings += 2) {
        ck_assert_msg(xonce_config_set(r->cfg, settings[0], settings[1]) == XONCE_OK, "%s", xonce_error_last()->text);
    }
    ck_assert_msg(xonce_store_open(&r->store, r->uri, "GID_test", r->cfg) == XONCE_OK, "%s", xonce_error_last()->text);
    rig_sql(r, "PRAGMA journal_mode=WAL; CREATE TABLE effects (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, lane TEXT, seq INTEGER)");
    if (with_tables) {
        ck_assert_msg(xonce_store_upgrade(r->store) == XONCE_OK, "%s", xonce_error_last()->text);
    }
    run_hook = NULL;
    log_reset();
}

void rig_close(rig *r)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    xonce_store_close(r->store);
    xonce_config_free(r->cfg);
    for (size_t i = 0; i < 4; i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s%s", r->file, ends[i]);
        unlink(path);
    }
    rmdir(r->dir);
}

int wait_until(int (*fn)(void *arg), void *arg)
{
    int64_t end = xo_mono_ms() + 60000;
    while (!fn(arg)) {
        if (xo_mono_ms() > end) {
            return 0;
        }
        xo_pause_ms(2);
    }
    return 1;
}

xonce_status (*run_hook)(const xo_item *items, size_t n);
xonce_status __real_xo_run(xonce_store *s, xo_item *items, size_t n, const xo_spec *spec);
xonce_status __wrap_xo_run(xonce_store *s, xo_item *items, size_t n, const xo_spec *spec);
xonce_status __wrap_xo_run(xonce_store *s, xo_item *items, size_t n, const xo_spec *spec)
{
    xonce_status st = run_hook ? run_hook(items, n) : XONCE_OK;
    return st == XONCE_OK ? __real_xo_run(s, items, n, spec) : st;
}

/* ---- log ---- */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_text[1 << 16];
static size_t log_len;

static void take_line(int level, const char *area, const char *text, void *arg)
{
    (void)arg;
    if (getenv("RIG_LOG")) {
        fprintf(stderr, "# %d %s: %s\n", level, area, text);
    }
    pthread_mutex_lock(&log_lock);
    size_t n = strlen(text);
    if (log_len + n + 2 < sizeof(log_text)) {
        memcpy(log_text + log_len, text, n);
        log_len += n;
        log_text[log_len++] = '\n';
        log_text[log_len] = 0;
    }
    pthread_mutex_unlock(&log_lock);
}

void log_reset(void)
{
    pthread_mutex_lock(&log_lock);
    log_len = 0;
    log_text[0] = 0;
    pthread_mutex_unlock(&log_lock);
    xonce_set_log(take_line, NULL);
}

int log_count(const char *text)
{
    int n = 0;
    pthread_mutex_lock(&log_lock);
    for (const char *p = log_text; (p = strstr(p, text)); p++) {
        n++;
    }
    pthread_mutex_unlock(&log_lock);
    return n;
}

/* ---- broker ---- */

static broker *of(xonce_source *s)
{
    return (broker *)s;
}

static int chance(broker *b, int percent)
{
    return percent && (int)(rand_r(&b->seed) % 100) < percent;
}

static stock *find(broker *b, const xonce_message *m)
{
    for (size_t i = 0; i < b->n; i++) {
        if (strcmp(b->all[i].id, m->id) == 0) {
            return &b->all[i];
        }
    }
    ck_abort_msg("nobody sent %s", m->id);
}

static xonce_message *hand_out(broker *b, stock *s)
{
    xonce_message *m;
    char text[64];
    size_t n = s->body ? s->body : (size_t)snprintf(text, sizeof(text), "%d", s->seq);
    char *body = calloc(1, n + 1);
    memcpy(body, text, s->body ? 0 : n);
    ck_assert_int_eq(xonce_message_new(&m, s->topic, s->id, body, n), XONCE_OK);
    free(body);
    if (s->lane[0]) {
        ck_assert_int_eq(xonce_message_set_property(m, "__SHARDINGKEY", s->lane), XONCE_OK);
    }
    snprintf(text, sizeof(text), "%d", s->seq);
    ck_assert_int_eq(xonce_message_set_property(m, "SEQ", text), XONCE_OK);
    m->attempt = ++s->deliveries;
    m->log_offset = (int64_t)(s->handle = ++b->next_handle); /* the receipt */
    s->out = 1;
    s->ready_at = b->invisible ? xo_mono_ms() + b->invisible : INT64_MAX;
    m->expires_mono = s->ready_at;
    if (++b->out_now > b->out_max) {
        b->out_max = b->out_now;
    }
    b->bytes_now += n;
    if (b->bytes_now > b->bytes_max) {
        b->bytes_max = b->bytes_now;
    }
    return m;
}

/* A lane's next batch comes only when all of the one before is acknowledged; a message that is due again comes with all behind it. */
static int lane_is_held(const broker *b, const stock *s, int64_t now)
{
    for (const stock *x = b->all; b->lanes && x < s; x++) {
        if (!x->acked && strcmp(x->lane, s->lane) == 0 && x->out && x->ready_at > now) {
            return 1;
        }
    }
    return 0;
}

static xonce_message *take(broker *b, size_t max)
{
    xonce_message *head = NULL, **end = &head;
    int64_t now = xo_mono_ms();
    size_t n = 0;
    /* whether a lane is held is judged by what was out before this hand-out */
    char *give = calloc(b->n ? b->n : 1, 1);
    for (size_t i = 0; i < b->n; i++) {
        stock *s = &b->all[i];
        give[i] = (char)(!s->acked && (s->out ? s->ready_at <= now : s->ready_at <= now) && !lane_is_held(b, s, now));
    }
    for (size_t i = 0; i < b->n && n < max; i++) {
        for (int again = give[i]; again && n < max; again = chance(b, b->duplicates)) {
            *end = hand_out(b, &b->all[i]);
            end = &(*end)->next;
            n++;
        }
    }
    free(give);
    return head;
}

static xonce_status b_subscribe(xonce_source *s, const char *group, const char *topic, const char *tags, int ordered)
{
    (void)s, (void)group, (void)topic, (void)tags, (void)ordered;
    return XONCE_OK;
}

static xonce_status b_start(xonce_source *s)
{
    of(s)->started = 1;
    return XONCE_OK;
}

static xonce_status b_poll(xonce_source *s, size_t max, int64_t timeout_ms, xonce_message **list)
{
    broker *b = of(s);
    int64_t end = xo_mono_ms() + timeout_ms;
    pthread_mutex_lock(&b->lock);
    b->polls++;
    b->late_polls += b->stopped != 0;
    xonce_status fail = b->fail;
    int again = b->fail_again;
    *list = NULL;
    while (fail == XONCE_OK && !b->woken && !(*list = take(b, max)) && xo_mono_ms() < end) {
        int64_t next = xo_mono_ms() + 5;
        xo_cond_wait_ms(&b->changed, &b->lock, next < end ? next : end);
    }
    b->woken = 0;
    b->empty = b->empty || !*list;
    pthread_mutex_unlock(&b->lock);
    if (fail != XONCE_OK) {
        xo_error e;
        (void)xo_fail(fail, "the broker was told to fail");
        xo_error_save(&e);
        e.pub.again = again;
        return xo_error_restore(&e);
    }
    return XONCE_OK;
}

static void gone(broker *b, const xonce_message *m)
{
    b->out_now--;
    b->bytes_now -= m->body_len;
}

static void b_ack(xonce_source *s, xonce_message *list)
{
    broker *b = of(s);
    pthread_mutex_lock(&b->lock);
    for (xonce_message *m = list, *next; m; m = next) {
        next = m->next;
        stock *x = find(b, m);
        gone(b, m);
        b->acks++;
        if (x->handle == (unsigned long)m->log_offset && x->ready_at > xo_mono_ms() && !chance(b, b->lose_acks)) {
            x->acked = 1;
            x->out = 0;
        }
        xonce_message_free(m);
    }
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

static void b_nack(xonce_source *s, xonce_message *m, int64_t delay_ms)
{
    broker *b = of(s);
    pthread_mutex_lock(&b->lock);
    stock *x = find(b, m);
    gone(b, m);
    b->nacks++;
    if (!b->deaf && !x->acked && x->handle == (unsigned long)m->log_offset) {
        x->out = 0;
        x->ready_at = xo_mono_ms() + delay_ms;
    }
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
    xonce_message_free(m);
}

static int b_caught_up(xonce_source *s)
{
    broker *b = of(s);
    pthread_mutex_lock(&b->lock);
    int yes = b->empty; /* what is in the consumer's hands is the consumer's to know */
    b->empty = 0;
    b->looks++;
    pthread_mutex_unlock(&b->lock);
    return yes;
}

static xonce_status b_stop(xonce_source *s, int64_t timeout_ms)
{
    (void)timeout_ms;
    pthread_mutex_lock(&of(s)->lock);
    of(s)->stopped = 1;
    pthread_mutex_unlock(&of(s)->lock);
    return XONCE_OK;
}

static void b_wake(xonce_source *s)
{
    broker *b = of(s);
    pthread_mutex_lock(&b->lock);
    b->woken = 1;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

static void b_close(xonce_source *s)
{
    (void)s;
}

void broker_init(broker *b)
{
    static const xo_source_ops ops = {b_subscribe, b_start, b_poll, b_ack, b_nack, b_caught_up, b_stop, b_wake, b_close, NULL, NULL, NULL};
    memset(b, 0, sizeof(*b));
    b->base.ops = &ops;
    b->base.kind = "test";
    b->base.keep_floor_ms = 24 * 3600 * 1000;
    b->seed = (unsigned)xo_random();
    ck_assert_int_eq(pthread_mutex_init(&b->lock, NULL), 0);
    ck_assert_int_eq(xo_cond_init(&b->changed), 0);
}

void broker_add(broker *b, const char *topic, int n, int lanes, size_t body)
{
    pthread_mutex_lock(&b->lock);
    if (b->n + (size_t)n > b->cap) {
        b->cap = b->n + (size_t)n;
        b->all = realloc(b->all, b->cap * sizeof(*b->all));
        ck_assert_ptr_nonnull(b->all);
    }
    for (int i = 0; i < n; i++) {
        stock *s = &b->all[b->n];
        *s = (stock){.seq = lanes ? i / lanes : i, .body = body};
        snprintf(s->id, sizeof(s->id), "m%zu", b->n);
        snprintf(s->topic, sizeof(s->topic), "%s", topic);
        if (lanes) {
            snprintf(s->lane, sizeof(s->lane), "L%d", i % lanes);
        }
        b->n++;
    }
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

void broker_free(broker *b)
{
    free(b->all);
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->changed);
}

size_t broker_get(broker *b, const size_t *what)
{
    pthread_mutex_lock(&b->lock);
    size_t v = *what;
    pthread_mutex_unlock(&b->lock);
    return v;
}

void broker_invisible(broker *b, int64_t ms)
{
    pthread_mutex_lock(&b->lock);
    b->invisible = ms;
    pthread_mutex_unlock(&b->lock);
}

int broker_is_done(void *arg)
{
    broker *b = arg;
    int done = 1;
    pthread_mutex_lock(&b->lock);
    b->waited_from = b->waited_from ? b->waited_from : xo_mono_ms();
    if (b->invisible && b->invisible < 3000 && xo_mono_ms() - b->waited_from > 10000) {
        b->invisible = 3000;
    }
    for (size_t i = 0; done && i < b->n; i++) {
        done = b->all[i].acked;
    }
    pthread_mutex_unlock(&b->lock);
    return done;
}

typedef struct {
    broker *b;
    size_t until;
} looking;

static int has_looked(void *arg)
{
    looking *l = arg;
    pthread_mutex_lock(&l->b->lock);
    int yes = l->b->looks >= l->until;
    pthread_mutex_unlock(&l->b->lock);
    return yes;
}

void broker_seen_again(broker *b)
{
    looking l = {.b = b};
    pthread_mutex_lock(&b->lock);
    l.until = b->looks + 2;
    pthread_mutex_unlock(&b->lock);
    WAIT_FOR(has_looked, &l);
}
