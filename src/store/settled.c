/* xonce_settled: how far each queue of a source with offsets is settled; and the name of this database. */
#include "store/settled.h"
#include "base/clock.h"
#include "store/run.h"
#include "store/tx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* CHUNK: rows of one statement at most; smaller pieces are powers of two, so that few statements are prepared. PATIENCE: a source has other things to do. */
enum { CHUNK = 64, ROW_PARAMS = 11, KEY_PARAMS = 5, NAME_MAX_BYTES = 255, TAGS_MAX = 65535, PATIENCE_MS = 10000, LOST_TRIES = 3 };

/* ---- again, where the database says so ---- */

/* CONFLICT is kept for rows that do not continue each other: a deadlock or a lock that is held is out of time. */
static xonce_status give_up(const xonce_store *s, const char *what)
{
    xo_error e;
    xo_error_save(&e);
    if (e.pub.code == XONCE_E_CONFLICT)
        e.pub.code = XONCE_E_TIMEOUT;
    xo_error_restore(&e);
    return xo_error_context("%s of group %s", what, s->group);
}

xonce_status xo_patiently(xonce_store *s, xo_once_fn once, void *arg, const char *what)
{
    int64_t deadline = xo_mono_ms() + PATIENCE_MS;
    int lost = 0;
    for (int try = 1;; try++) {
        xonce_status st = once(s, arg);
        if (st == XONCE_OK)
            return st;
        xo_sql_class cls = xo_error_class();
        lost += cls == XO_SQL_LOST || st == XONCE_E_UNKNOWN_COMMIT;
        int again = cls == XO_SQL_AGAIN || ((cls == XO_SQL_LOST || st == XONCE_E_UNKNOWN_COMMIT) && lost < LOST_TRIES);
        if (!again || try >= s->tries || xo_mono_ms() >= deadline)
            return give_up(s, what);
        xo_back_off(try);
    }
}

/* ---- load ---- */

typedef struct {
    const char *topic, *broker;
    int32_t queue;
    xo_range *rows;
    size_t n, cap;
    int failed; /* no memory */
} loading;

static int take_row(const xonce_row *r, void *arg)
{
    loading *l = arg;
    xo_range *rows = xo_grow(l->rows, &l->cap, l->n + 1, sizeof *rows);
    if (!rows) {
        l->failed = 1;
        return 1;
    }
    l->rows = rows;
    xo_range *x = &rows[l->n++];
    *x = (xo_range){
        .topic = xo_strdup(l->topic),
        .broker = xo_strdup(l->broker),
        .tags = xo_strdup(xonce_row_text(r, 0)),
        .queue = l->queue,
        .generation = xonce_row_int(r, 1),
        .first = xonce_row_int(r, 2),
        .next = xonce_row_int(r, 3),
        .last_store_time = xonce_row_int(r, 4),
        .last_log_offset = xonce_row_int(r, 5),
        .epoch = xonce_row_int(r, 6),
        .by_offset = !xonce_row_is_null(r, 7),
        .record_before = xonce_row_int(r, 7),
    };
    l->failed = !x->topic || !x->broker || !x->tags;
    return l->failed;
}

static xonce_status load_once(xonce_store *s, void *arg)
{
    static const char sql[] = "SELECT tags, generation, first_offset, next_offset, last_store_time, last_log_offset, epoch, record_before FROM xonce_settled"
                              " WHERE consumer_group = $1 AND topic_name = $2 AND broker_name = $3 AND queue_id = $4 ORDER BY generation";
    loading *l = arg;
    xonce_value v[] = {xonce_text(s->group), xonce_text(l->topic), xonce_text(l->broker), xonce_int(l->queue)};
    xonce_status st = xo_store_query(s, sql, v, 4, take_row, l, NULL);
    if (l->failed)
        st = xo_nomem();
    if (st != XONCE_OK) {
        xo_ranges_free(l->rows, l->n);
        l->rows = NULL;
        l->n = l->cap = 0;
    }
    return st;
}

static xonce_status load(void *self, const char *topic, const char *broker, int32_t queue, xo_range **out, size_t *n)
{
    loading l = {.topic = topic, .broker = broker, .queue = queue};
    *out = NULL;
    *n = 0;
    xonce_status st = xo_patiently(self, load_once, &l, "reading the positions");
    if (st == XONCE_OK) {
        *out = l.rows;
        *n = l.n;
    }
    return st;
}

/* ---- knows ---- */

typedef struct {
    const char *topic;
    int known;
} knowing;

static int on_known(const xonce_row *r, void *arg)
{
    (void)r;
    ((knowing *)arg)->known = 1;
    return 1;
}

static xonce_status knows_once(xonce_store *s, void *arg)
{
    knowing *k = arg;
    xonce_value v[] = {xonce_text(s->group), xonce_text(k->topic)};
    k->known = 0;
    return xo_store_query(s, "SELECT 1 FROM xonce_settled WHERE consumer_group = $1 AND topic_name = $2 LIMIT 1", v, 2, on_known, k, NULL);
}

static xonce_status knows(void *self, const char *topic, int *known)
{
    knowing k = {.topic = topic};
    xonce_status st = xo_patiently(self, knows_once, &k, "reading the positions");
    *known = k.known;
    return st;
}

/* ---- save ---- */

static int by_place(const void *a, const void *b)
{
    const xo_range *x = a, *y = b;
    int c = strcmp(x->topic, y->topic);
    if (c == 0)
        c = strcmp(x->broker, y->broker);
    if (c == 0)
        c = (x->queue > y->queue) - (x->queue < y->queue);
    return c ? c : (x->generation > y->generation) - (x->generation < y->generation);
}

/* Sorted, so that two savers lock rows in the same order. */
static int in_order(const void *a, const void *b)
{
    const xo_range *x = a, *y = b;
    int c = by_place(a, b);
    if (c == 0)
        c = (x->first > y->first) - (x->first < y->first);
    return c ? c : (x->next > y->next) - (x->next < y->next);
}

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What the statement does with rows, done with two that are to be saved at once. 0: they do not adjoin. */
static int join(xo_range *into, const xo_range *r)
{
    into->epoch = greater(into->epoch, r->epoch);
    if (r->next <= into->next)
        return 1;
    if (r->first > into->next || strcmp(r->tags, into->tags) != 0)
        return 0;
    into->next = r->next;
    into->last_store_time = greater(into->last_store_time, r->last_store_time);
    into->last_log_offset = greater(into->last_log_offset, r->last_log_offset);
    return 1;
}

typedef struct {
    xo_range *rows; /* texts are the caller's */
    size_t n;
    int apart;      /* some do not continue what is there */
    char where[600];
} saving;

static void note_apart(saving *v, const char *topic, const char *broker, int64_t queue, int64_t generation)
{
    if (!v->apart)
        (void)snprintf(v->where, sizeof v->where, "topic %s, broker %s, queue %lld, generation %lld", topic, broker, (long long)queue, (long long)generation);
    v->apart = 1;
}

static xonce_status check_range(const xo_range *r)
{
    if (!r->topic || !*r->topic || strlen(r->topic) > NAME_MAX_BYTES || !r->broker || strlen(r->broker) > NAME_MAX_BYTES || !r->tags || strlen(r->tags) > TAGS_MAX ||
        r->queue < 0 || r->first < 0 || r->next < r->first)
        return xo_fail(XONCE_E_INVALID, "position of topic %.64s, queue %d: a name is missing or longer than its column, or the offsets are no range", r->topic ? r->topic : "(none)",
                       (int)r->queue);
    return XONCE_OK;
}

/* Sorted, each place once. */
static xonce_status prepare(saving *v, const xo_range *r, size_t n)
{
    v->rows = xo_calloc(n, sizeof *v->rows);
    if (!v->rows)
        return xo_nomem();
    for (size_t i = 0; i < n; i++) {
        xonce_status st = check_range(&r[i]);
        if (st != XONCE_OK)
            return st;
        v->rows[i] = r[i];
    }
    qsort(v->rows, n, sizeof *v->rows, in_order);
    for (size_t i = 0; i < n; i++) {
        xo_range *last = v->n ? &v->rows[v->n - 1] : NULL;
        if (!last || by_place(last, &v->rows[i]) != 0)
            v->rows[v->n++] = v->rows[i];
        else if (!join(last, &v->rows[i]))
            note_apart(v, v->rows[i].topic, v->rows[i].broker, v->rows[i].queue, v->rows[i].generation);
    }
    return XONCE_OK;
}

/* The row stays what it was where the new one does not continue it: gaps are never bridged. Left to right, MySQL takes each new value into the next assignment: next_offset comes last. */
#define CONTINUES "VALUES(first_offset) <= next_offset AND VALUES(tags) = tags AND VALUES(next_offset) > next_offset"
static const char on_conflict_mysql[] =
    " ON DUPLICATE KEY UPDATE epoch = CASE WHEN VALUES(epoch) > epoch THEN VALUES(epoch) ELSE epoch END,"
    " last_store_time = CASE WHEN " CONTINUES " AND VALUES(last_store_time) > last_store_time THEN VALUES(last_store_time) ELSE last_store_time END,"
    " last_log_offset = CASE WHEN " CONTINUES " AND VALUES(last_log_offset) > last_log_offset THEN VALUES(last_log_offset) ELSE last_log_offset END,"
    " next_offset = CASE WHEN " CONTINUES " THEN VALUES(next_offset) ELSE next_offset END";
#undef CONTINUES
#define CONTINUES "excluded.first_offset <= xonce_settled.next_offset AND excluded.tags = xonce_settled.tags AND excluded.next_offset > xonce_settled.next_offset"
#define RISES(column) \
    column " = CASE WHEN " CONTINUES " AND excluded." column " > xonce_settled." column " THEN excluded." column " ELSE xonce_settled." column " END"
static const char on_conflict[] =
    " ON CONFLICT (consumer_group, topic_name, broker_name, queue_id, generation) DO UPDATE SET"
    " epoch = CASE WHEN excluded.epoch > xonce_settled.epoch THEN excluded.epoch ELSE xonce_settled.epoch END,"
    " " RISES("last_store_time") ", " RISES("last_log_offset") ", " RISES("next_offset")
    " WHERE excluded.next_offset > xonce_settled.next_offset OR excluded.epoch > xonce_settled.epoch";
#undef RISES
#undef CONTINUES

static void add_place(xo_buf *b, const char *format, size_t at)
{
    for (const char *p = format; *p; p++) {
        if (*p == '?')
            xo_buf_printf(b, "$%zu", at++);
        else
            xo_buf_char(b, *p);
    }
}

static xonce_status write_chunk(xonce_tx *tx, const xo_range *r, size_t n)
{
    xonce_value v[1 + CHUNK * ROW_PARAMS];
    size_t k = 0;
    xo_buf sql = {0};
    xo_buf_str(&sql, "INSERT INTO xonce_settled (consumer_group, topic_name, broker_name, queue_id, generation, tags, first_offset, next_offset, last_store_time, last_log_offset, epoch, record_before) VALUES ");
    v[k++] = xonce_text(tx->s->group);
    for (size_t i = 0; i < n; i++, r++) {
        add_place(&sql, i ? ", ($1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)" : "($1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", k + 1);
        const xonce_value row[ROW_PARAMS] = {xonce_text(r->topic), xonce_text(r->broker), xonce_int(r->queue), xonce_int(r->generation), xonce_text(r->tags), xonce_int(r->first),
                                             xonce_int(r->next), xonce_int(r->last_store_time), xonce_int(r->last_log_offset), xonce_int(r->epoch),
                                             r->by_offset ? xonce_int(r->record_before) : xonce_null()};
        memcpy(&v[k], row, sizeof row);
        k += ROW_PARAMS;
    }
    xo_buf_str(&sql, tx->s->d->kind == XO_DIALECT_MYSQL ? on_conflict_mysql : on_conflict);
    xonce_status st = xo_buf_status(&sql);
    if (st == XONCE_OK)
        st = xo_tx_query(tx, sql.p, v, k, NULL, NULL, NULL);
    xo_buf_free(&sql);
    return st;
}

static int on_count(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = xonce_row_int(r, 0);
    return 1;
}

static int on_apart(const xonce_row *r, void *arg)
{
    note_apart(arg, xonce_row_text(r, 0), xonce_row_text(r, 1), xonce_row_int(r, 2), xonce_row_int(r, 3));
    return 1;
}

/* Asks about the rows of a chunk: `what` of those whose next_offset compares so with ours. */
static xonce_status ask_chunk(xonce_tx *tx, const xo_range *r, size_t n, const char *what, const char *compares, xo_row_fn fn, void *arg)
{
    xonce_value v[1 + CHUNK * KEY_PARAMS];
    size_t k = 0;
    xo_buf sql = {0};
    xo_buf_printf(&sql, "SELECT %s FROM xonce_settled WHERE consumer_group = $1 AND (", what);
    v[k++] = xonce_text(tx->s->group);
    for (size_t i = 0; i < n; i++, r++) {
        xo_buf_str(&sql, i ? " OR " : "");
        add_place(&sql, "(topic_name = ? AND broker_name = ? AND queue_id = ? AND generation = ? AND next_offset ", k + 1);
        xo_buf_printf(&sql, "%s $%zu)", compares, k + KEY_PARAMS);
        const xonce_value key[KEY_PARAMS] = {xonce_text(r->topic), xonce_text(r->broker), xonce_int(r->queue), xonce_int(r->generation), xonce_int(r->next)};
        memcpy(&v[k], key, sizeof key);
        k += KEY_PARAMS;
    }
    xo_buf_char(&sql, ')');
    xonce_status st = xo_buf_status(&sql);
    if (st == XONCE_OK)
        st = xo_tx_query(tx, sql.p, v, k, fn, arg, NULL);
    xo_buf_free(&sql);
    return st;
}

/* Is it there? A row that is still behind what was written begins or filters otherwise. */
static xonce_status look_at_chunk(xonce_tx *tx, saving *s, const xo_range *r, size_t n)
{
    int64_t there = 0;
    xonce_status st = ask_chunk(tx, r, n, "COUNT(*)", ">=", on_count, &there);
    if (st != XONCE_OK || there == (int64_t)n)
        return st;
    int before = s->apart;
    s->apart = 0;
    st = ask_chunk(tx, r, n, "topic_name, broker_name, queue_id, generation", "<", on_apart, s);
    if (st == XONCE_OK && !s->apart)
        st = xo_fail(XONCE_E_SQL, "rows that were written to xonce_settled are not there (a trigger?)");
    s->apart |= before;
    return st;
}

static size_t piece(size_t left)
{
    size_t n = CHUNK;
    while (n > left)
        n /= 2;
    return n;
}

static xonce_status save_rows(xonce_tx *tx, saving *v)
{
    xonce_status st = XONCE_OK;
    for (size_t at = 0, n; st == XONCE_OK && at < v->n; at += n) {
        n = piece(v->n - at);
        st = write_chunk(tx, &v->rows[at], n);
        if (st == XONCE_OK)
            st = look_at_chunk(tx, v, &v->rows[at], n);
    }
    size_t failed = 0;
    return st == XONCE_OK ? xo_tx_commit(tx, &failed) : st;
}

static xonce_status save_once(xonce_store *s, void *arg)
{
    xonce_tx tx = {0};
    xonce_status st = xo_tx_open(&tx, s);
    if (st != XONCE_OK)
        return st;
    st = save_rows(&tx, arg);
    xo_tx_close(&tx, st != XONCE_OK);
    return st;
}

static xonce_status save(void *self, const xo_range *r, size_t n)
{
    saving v = {0};
    xonce_status st = n ? prepare(&v, r, n) : XONCE_OK;
    if (st == XONCE_OK && n)
        st = xo_patiently(self, save_once, &v, "writing the positions");
    free(v.rows);
    if (st == XONCE_OK && v.apart)
        return xo_fail(XONCE_E_CONFLICT, "writing the positions: %s was begun by another member, and what is settled here does not continue it", v.where);
    return st;
}

/* ---- the name of this database ---- */

typedef struct {
    char uuid[37];
    int found;
} naming;

static int on_uuid(const xonce_row *r, void *arg)
{
    naming *n = arg;
    (void)snprintf(n->uuid, sizeof n->uuid, "%s", xonce_row_text(r, 0));
    n->found = 1;
    return 1;
}

static xonce_status read_uuid(xonce_store *s, naming *n)
{
    n->found = 0;
    return xo_store_query(s, "SELECT value FROM xonce_store WHERE name = 'uuid'", NULL, 0, on_uuid, n, NULL);
}

static void make_uuid(char out[37])
{
    uint64_t a = (xo_random() & ~(uint64_t)0xf000) | 0x4000, b = (xo_random() >> 2) | (uint64_t)1 << 63; /* version 4, variant 10 */
    (void)snprintf(out, 37, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16 & 0xffff), (unsigned)(a & 0xffff), (unsigned)(b >> 48),
                   (unsigned long long)(b & 0xffffffffffffu));
}

static xonce_status insert_uuid(xonce_store *s)
{
    char uuid[37];
    xonce_tx tx = {0};
    make_uuid(uuid);
    xonce_value v[] = {xonce_text(uuid)};
    xonce_status st = xo_tx_open(&tx, s);
    if (st != XONCE_OK)
        return st;
    size_t failed = 0;
    st = xo_tx_query(&tx, "INSERT INTO xonce_store (name, value) VALUES ('uuid', $1)", v, 1, NULL, NULL, NULL);
    if (st == XONCE_OK)
        st = xo_tx_commit(&tx, &failed);
    xo_tx_close(&tx, st != XONCE_OK);
    return st;
}

/* The first one to ask gives it; a second one finds its key taken, and reads again. */
static xonce_status name_once(xonce_store *s, void *arg)
{
    naming *n = arg;
    xonce_status st = read_uuid(s, n);
    if (st != XONCE_OK || n->found)
        return st;
    st = insert_uuid(s);
    if (st != XONCE_OK && xo_error_class() != XO_SQL_DATA)
        return st;
    st = read_uuid(s, n);
    if (st == XONCE_OK && !n->found)
        return xo_fail(XONCE_E_SQL, "xonce_store: the uuid that was just written is not there");
    return st;
}

static xonce_status store_id(void *self, char out[9])
{
    naming n = {0};
    out[0] = 0;
    xonce_status st = xo_patiently(self, name_once, &n, "the store's name");
    if (st != XONCE_OK)
        return st;
    if (strspn(n.uuid, "0123456789abcdef") < 8)
        return xo_fail(XONCE_E_SCHEMA, "xonce_store: the value named uuid is none (\"%.36s\"); delete that row, and a new one is made", n.uuid);
    memcpy(out, n.uuid, 8);
    out[8] = 0;
    return XONCE_OK;
}

const xo_position_ops *xo_store_positions(void)
{
    static const xo_position_ops ops = {load, knows, save, store_id, xo_position_take, xo_position_advance, xo_position_recorded};
    return &ops;
}
