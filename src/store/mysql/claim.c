/* Claims on MySQL and MariaDB: insert the rows, and tell a refused id from every other reason why a row may not have come in. */
#include "base/clock.h"
#include "store/mysql/impl.h"

#include <stdlib.h>
#include <string.h>

enum { OP_INSERT = 1, OP_READ = 2, OP_LAYOUT = 3, OP_OTHER_DAYS = 4, OP_ANY_DAY = 5, OP_TAKE_BACK = 6, OP_INSERT_ASK = 7 };
/* More rows make a compound statement dearer than the trip that it saves: the server writes its text anew with all values. */
enum { ASK_ROWS = 32 };
enum { CLOCK_AGE_MS = 10000 };

/* What can only come in cut off is refused here, before INSERT IGNORE could cut it. */
static xonce_status check_row(const xo_my *m, const char *group, const xo_claim *r)
{
    xonce_value topic = {.kind = XONCE_TEXT, .len = strlen(r->topic), .v.p = r->topic};
    if (strlen(r->key) > 255 || strlen(group) > 128 || topic.len > 255 || strlen(r->broker) > 255 || strlen(r->digest) > 32)
        return xo_fail(XONCE_E_INVALID, "message %.64s: its id, topic, broker name or group is longer than the record's column", r->key);
    return xo_my_text_fits(m, &topic);
}

static void bind_text(MYSQL_BIND *b, const char *s)
{
    b->buffer_type = MYSQL_TYPE_STRING;
    b->buffer = (void *)(uintptr_t)s; /* only read */
    b->buffer_length = (unsigned long)strlen(s);
}

static void bind_int(MYSQL_BIND *b, const int64_t *v, int unknown_is_null)
{
    b->buffer_type = unknown_is_null && *v == -1 ? MYSQL_TYPE_NULL : MYSQL_TYPE_LONGLONG;
    b->buffer = (void *)(uintptr_t)v;
}

/* ---- a warning, where there should be none ---- */

typedef struct {
    int code;
    char text[256];
    int want_other; /* skip refusals by a unique key */
} warning;

static int take_warning(const xonce_row *r, void *arg)
{
    warning *w = arg;
    int code = r->ncols > 2 && r->text[1] ? (int)strtol(r->text[1], NULL, 10) : 0;
    if (r->ncols < 3 || strcmp(r->text[0], "Note") == 0 || (w->want_other && (code == XO_ER_DUP_ENTRY || code == 1586)))
        return 0;
    w->code = code;
    size_t n = r->len[2] < sizeof w->text - 1 ? r->len[2] : sizeof w->text - 1;
    memcpy(w->text, r->text[2], n);
    w->text[n] = 0;
    return 1;
}

static xonce_status warned(xo_my *m, int want_other, warning *w)
{
    memset(w, 0, sizeof *w);
    w->want_other = want_other;
    static const char sql[] = "SHOW WARNINGS";
    return xo_my_text(m, sql, sizeof sql - 1, take_warning, w, NULL);
}

/* ---- the locking read ---- */

typedef struct {
    const char *group;
    xo_claim *rows;
    size_t n, seen, found; /* rows that came; of these, those with exactly our bytes */
    int64_t now;
} reader;

static int by_key(const void *key, const void *row)
{
    return strcmp(key, ((const xo_claim *)row)->key);
}

static void take_found(const xonce_row *r, xo_claim *c)
{
    c->found = 1;
    c->found_row = r->text[5] ? strtoll(r->text[5], NULL, 10) : 0;
    for (int i = 2; i < 4; i++) {
        char *to = i == 2 ? c->found_topic : c->found_digest;
        size_t room = (i == 2 ? sizeof c->found_topic : sizeof c->found_digest) - 1, n = r->len[i] < room ? r->len[i] : room;
        if (r->text[i])
            memcpy(to, r->text[i], n);
        to[r->text[i] ? n : 0] = 0;
    }
}

static xo_claim *claim_of(const reader *rd, const xonce_row *r)
{
    return r->text[0] && strlen(r->text[0]) == r->len[0] ? bsearch(r->text[0], rd->rows, rd->n, sizeof *rd->rows, by_key) : NULL;
}

static int take_row(const xonce_row *r, void *arg)
{
    reader *rd = arg;
    xo_claim *c = claim_of(rd, r);
    if (r->text[4])
        rd->now = strtoll(r->text[4], NULL, 10);
    if (c && r->ncols > 6 && r->text[6]) { /* of the message's own day, or where one of the two has none */
        int32_t day = (int32_t)strtol(r->text[6], NULL, 10);
        if ((day != c->day && day != XO_NO_DAY && c->day != XO_NO_DAY) || (c->found && strcmp(c->found_digest, c->digest) == 0))
            return 0;
    }
    rd->seen++;
    if (!c || c->fresh || !r->text[1] || strcmp(r->text[1], rd->group) != 0)
        return 0;
    rd->found += !c->found;
    take_found(r, c);
    return 0;
}

/* and: another condition */
static xonce_status build_read(const xo_my *m, size_t places, const char *and, xo_buf *b)
{
    xo_buf_printf(b, "SELECT message_id, consumer_group, topic_name, %s, " XO_MY_NOW ", id%s FROM %s WHERE %smessage_id IN (?", m->own_columns ? "digest" : "NULL", m->c.partitioned ? ", store_day" : "",
                  m->table, and);
    for (size_t i = 1; i < places; i++)
        xo_buf_str(b, ", ?");
    xo_buf_str(b, !m->server_maria && m->version >= 80001 ? ") FOR SHARE" : ") LOCK IN SHARE MODE");
    return xo_buf_status(b);
}

static xonce_status build_insert(const xo_my *m, size_t n, xo_buf *b)
{
    /* MariaDB works an expression out for each row: this one costs a tenth less of the claim */
    const char *now = m->returning ? "FLOOR(@@timestamp * 1000)" : XO_MY_NOW, *ours = m->c.partitioned ? ", ?, ?, ?, ?" : m->own_columns ? ", ?, ?, ?" : "";
    xo_buf_printf(b, "INSERT %sINTO %s (consumer_group, message_id, topic_name, ctime, queue_id, `offset`, broker_name%s) VALUES ", m->returning ? "IGNORE " : "", m->table,
                  m->c.partitioned ? ", store_time, log_offset, digest, store_day" : m->own_columns ? ", store_time, log_offset, digest" : "");
    for (size_t i = 0; i < n; i++) {
        xo_buf_printf(b, "%s(?, ?, ?, %s, ?, ?, ?%s)", i ? ", " : "", now, ours);
    }
    if (m->returning)
        xo_buf_str(b, " RETURNING message_id, ctime, id");
    return xo_buf_status(b);
}

static xonce_status build_take_back(const xo_my *m, xo_buf *b)
{
    xo_buf_printf(b, "DELETE FROM %s WHERE message_id = ? AND consumer_group = ? AND store_day = ?", m->table);
    return xo_buf_status(b);
}

/* The claim, how many warnings it gave, which a compound statement does not tell by itself, and what is asked behind it. */
static xonce_status build_insert_ask(const xo_my *m, size_t n, xo_buf *b)
{
    xo_buf_str(b, "BEGIN NOT ATOMIC ");
    build_insert(m, n, b);
    xo_buf_printf(b, "; SELECT @@warning_count; %s; END", m->c.ask->sql->text);
    return xo_buf_status(b);
}

static xonce_status build(const xo_my *m, int op, size_t n, xo_buf *b)
{
    switch (op) {
    case OP_INSERT_ASK: return build_insert_ask(m, n, b);
    case OP_INSERT: return build_insert(m, n, b);
    case OP_TAKE_BACK: return build_take_back(m, b);
    case OP_OTHER_DAYS: return build_read(m, n, "store_day = -1 AND ", b);
    default: return build_read(m, n, "", b);
    }
}

/* The statement for n rows, prepared. Takes the vendor's table without our columns as it is. */
static xonce_status prepared(xo_my *m, int op, size_t n, xo_my_cached **out)
{
    xonce_status st = XONCE_OK;
    for (int vendor = 0; vendor < 3; vendor++) {
        uint64_t key = XO_MY_OWN(op, n * 4 + (size_t)m->own_columns + 2 * (size_t)m->c.partitioned) | (op == OP_INSERT_ASK ? m->c.ask->sql->serial : 0);
        *out = xo_my_find(m, key);
        if (*out)
            return XONCE_OK;
        xo_buf b = {0};
        st = build(m, op, n, &b);
        if (st == XONCE_OK)
            st = xo_my_prepare(m, key, b.p, b.len, out);
        xo_buf_free(&b);
        if (st == XONCE_OK || !m->own_columns || xonce_error_last()->native != XO_ER_BAD_FIELD)
            break;
        m->layout_known = 0;
        if (m->c.partitioned) /* another table has taken its place */
            m->c.partitioned = 0;
        else
            m->own_columns = 0;
    }
    if (st == XONCE_OK && !(*out)->stmt)
        return xo_fail_sql(XONCE_E_SQL, XO_SQL_SETUP, XO_ER_UNSUPPORTED_PS, "HY000", "the server cannot prepare the claim");
    int native = st == XONCE_OK ? 0 : xonce_error_last()->native;
    if (native == XO_ER_NO_SUCH_TABLE || native == XO_ER_BAD_FIELD) {
        xo_fail_sql(XONCE_E_SCHEMA, XO_SQL_SETUP, native, xonce_error_last()->sqlstate, "the record table %s is missing or has not its columns: run `xonce init`, `xonce check`", m->table);
        return XONCE_E_SCHEMA;
    }
    return st;
}

/* Asks for the keys of the n rows that are fresh, or that are not: waits for those who hold them, past any snapshot. */
static xonce_status ask_for(xo_my *m, reader *rd, int op, int fresh, size_t n, xo_row_fn fn, const char *what)
{
    size_t at = 0, places = 1;
    while (places < n)
        places *= 2;
    xo_my_cached *e = NULL;
    xonce_status st = prepared(m, op, places, &e);
    if (st != XONCE_OK)
        return st;
    xo_arena_reset(&m->scratch);
    MYSQL_BIND *b = xo_arena_alloc(&m->scratch, places * sizeof *b);
    if (!b)
        return xo_nomem();
    for (size_t i = 0; i < rd->n; i++)
        if (rd->rows[i].fresh == fresh)
            bind_text(&b[at++], rd->rows[i].key);
    for (; at < places; at++) /* the list is filled up, so that few lengths need preparing */
        b[at] = b[n - 1];
    st = xo_my_execute(m, e, b, what);
    return st == XONCE_OK ? xo_my_fetch(m, e, fn, rd, NULL, what) : st;
}

static xonce_status read_rows(xo_my *m, reader *rd)
{
    size_t n = 0;
    for (size_t i = 0; i < rd->n; i++)
        if (!rd->rows[i].fresh) {
            rd->rows[i].found = 0;
            rd->rows[i].found_digest[0] = rd->rows[i].found_topic[0] = 0;
            n++;
        }
    rd->seen = rd->found = 0;
    return n ? ask_for(m, rd, OP_READ, 0, n, take_row, "read back of claims") : XONCE_OK;
}

/* ---- the insert ---- */

typedef struct {
    xo_claim *rows;
    size_t n, at, fresh;
    int64_t now;
    int strange; /* an id came back that we did not send */
} inserted;

static void take_inserted(inserted *in, const char *key, int64_t row)
{
    while (in->at < in->n && (in->rows[in->at].fresh || strcmp(in->rows[in->at].key, key) != 0))
        in->at++;
    if (in->at == in->n) {
        in->strange = 1;
        return;
    }
    in->rows[in->at].fresh = 1;
    in->rows[in->at++].row = row;
    in->fresh++;
}

/* Numbers as numbers, and nothing is asked of the rows beforehand: they are as many as the claims. (They are stored first: only that reads the count of warnings.) */
static xonce_status fetch_inserted(xo_my *m, MYSQL_STMT *s, inserted *in)
{
    char key[257];
    unsigned long len = 0;
    xo_my_bool null[3] = {0, 0, 0}, no = 0;
    long long now = 0, row = 0;
    int r = 0;
    MYSQL_BIND b[3];
    memset(b, 0, sizeof b);
    b[0] = (MYSQL_BIND){.buffer_type = MYSQL_TYPE_STRING, .buffer = key, .buffer_length = sizeof key - 1, .length = &len, .is_null = &null[0]};
    b[1] = (MYSQL_BIND){.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &now, .is_null = &null[1]};
    b[2] = (MYSQL_BIND){.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &row, .is_null = &null[2]};
    mysql_stmt_attr_set(s, STMT_ATTR_UPDATE_MAX_LENGTH, &no);
    if (mysql_stmt_store_result(s) != 0 || mysql_stmt_bind_result(s, b) != 0) /* the statement streams: here it reports its deadlock */
        return xo_my_fail_stmt(m, s, "claim");
    while ((r = mysql_stmt_fetch(s)) == 0 || r == MYSQL_DATA_TRUNCATED) {
        key[null[0] ? 0 : len < sizeof key ? len : sizeof key - 1] = 0;
        take_inserted(in, key, null[2] ? 0 : row);
    }
    in->now = null[1] ? 0 : now;
    xonce_status st = r == MYSQL_NO_DATA ? XONCE_OK : xo_my_fail_stmt(m, s, "claim");
    mysql_stmt_free_result(s);
    return st;
}

/* Sends the INSERT of the rows that are neither fresh nor found, with ask behind it (may be NULL). */
static xonce_status insert(xo_my *m, const char *group, const xo_claim *rows, size_t n, const xo_ask *ask, xo_my_cached **used)
{
    size_t k = 0, at = 0, asked = ask ? ask->sql->nplaces : 0;
    for (size_t i = 0; i < n; i++)
        k += !rows[i].fresh && !rows[i].found;
    xonce_status st = prepared(m, ask ? OP_INSERT_ASK : OP_INSERT, k, used);
    if (st != XONCE_OK)
        return st;
    size_t per = m->c.partitioned ? 10 : m->own_columns ? 9 : 6; /* only now: preparing may have found that ours are missing */
    xo_arena_reset(&m->scratch);
    MYSQL_BIND *b = xo_arena_alloc(&m->scratch, (k * per + asked) * sizeof *b);
    int64_t *num = xo_arena_alloc(&m->scratch, 2 * k * sizeof *num);
    if (!b || !num)
        return xo_nomem();
    for (size_t i = 0; i < n; i++) {
        const xo_claim *r = &rows[i];
        if (r->fresh || r->found)
            continue;
        MYSQL_BIND *p = &b[at * per];
        num[at] = r->queue;
        bind_text(&p[0], group);
        bind_text(&p[1], r->key);
        bind_text(&p[2], r->topic);
        bind_int(&p[3], &num[at], 0);
        bind_int(&p[4], &r->offset, 0);
        bind_text(&p[5], r->broker);
        if (per >= 9) {
            bind_int(&p[6], &r->store_time, 1);
            bind_int(&p[7], &r->log_offset, 1);
            bind_text(&p[8], r->digest);
        }
        if (per == 10) {
            num[k + at] = r->day;
            bind_int(&p[9], &num[k + at], 0);
        }
        at++;
    }
    for (size_t i = 0; i < asked && st == XONCE_OK; i++)
        st = xo_my_bind(m, &b[k * per + i], &ask->v[ask->sql->places[i]]);
    return st == XONCE_OK ? xo_my_execute(m, *used, b, "claim") : st;
}

static xonce_status not_a_duplicate(xo_my *m, const char *key)
{
    warning w;
    xonce_status st = warned(m, 0, &w);
    if (st != XONCE_OK)
        return st;
    return xo_fail_sql(XONCE_E_SQL, XO_SQL_OTHER, w.code, NULL, "the claim of %.64s was refused, but not because of its id: %s; run `xonce check`", key,
                       w.code ? w.text : "a trigger or another unique key stands in the way");
}

static const char *first_missing(const xo_claim *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!rows[i].fresh && !rows[i].found)
            return rows[i].key;
    return "";
}

static int take_count(const xonce_row *r, void *arg)
{
    *(size_t *)arg = (size_t)xonce_row_int(r, 0);
    return 0;
}

static xonce_status next_result(xo_my *m, xo_my_cached *e, xo_row_fn fn, void *arg)
{
    int more = mysql_stmt_next_result(e->stmt);
    if (more > 0)
        return xo_my_fail_stmt(m, e->stmt, "claim");
    if (more < 0)
        return xo_fail_sql(XONCE_E_PROTOCOL, XO_SQL_OTHER, 0, NULL, "claim: the server gave fewer results than it was asked for");
    return xo_my_one_result(m, e->stmt, fn, arg, NULL, "claim");
}

/* What comes behind the rows of a claim with a question. *warnings: those of the claim. */
static xonce_status fetch_answer(xo_my *m, xo_my_cached *e, xo_ask *ask, size_t *warnings)
{
    xonce_status st = next_result(m, e, take_count, warnings);
    if (st == XONCE_OK)
        st = next_result(m, e, ask->fn, ask->arg);
    if (st == XONCE_OK)
        st = xo_my_rest(m, e, "claim");
    ask->done = st == XONCE_OK;
    return st;
}

/* The question that can go along with this claim, or NULL. */
static xo_ask *along(xo_my *m, size_t n)
{
    xo_my_cached *e = NULL;
    if (!m->c.ask || m->c.ask->done || !m->compound || m->c.joined || m->c.partitioned || n > ASK_ROWS)
        return NULL;
    xonce_status st = prepared(m, OP_INSERT_ASK, n, &e);
    if (st != XONCE_OK && !m->c.lost) /* whatever it is, it will show in the claim without */
        m->compound = 0;
    return st == XONCE_OK && !m->c.partitioned ? m->c.ask : NULL;
}

/* MariaDB: what INSERT IGNORE returns is in; each other row must have been refused by its id, and nothing else may have been ignored. */
static xonce_status claim_returning(xo_my *m, reader *rd)
{
    inserted in = {.rows = rd->rows, .n = rd->n};
    warning w;
    xo_my_cached *e = NULL;
    xo_ask *ask = along(m, rd->n);
    xonce_status st = insert(m, rd->group, rd->rows, rd->n, ask, &e);
    if (st == XONCE_OK)
        st = fetch_inserted(m, e->stmt, &in);
    size_t refused = rd->n - in.fresh, warnings = mysql_warning_count(m->my);
    if (st == XONCE_OK && ask)
        st = fetch_answer(m, e, ask, &warnings);
    if (st != XONCE_OK)
        return st;
    rd->now = in.now;
    if (in.strange)
        return xo_fail_sql(XONCE_E_SQL, XO_SQL_OTHER, 0, NULL, "the claim came in under another id than was sent: a trigger or the column's type changes message_id; run `xonce check`");
    if (warnings != refused && ask) { /* which ones, the server does not know any more: once more without company */
        m->compound = 0;
        return xo_my_fail(m, XO_ER_DEADLOCK, "40001", "the claim has warnings", "claim");
    }
    if (warnings != refused) {
        st = warned(m, 1, &w);
        if (st == XONCE_OK && w.code)
            st = xo_fail_sql(XONCE_E_SQL, XO_SQL_OTHER, w.code, NULL, "the claim would have been stored changed: %s", w.text);
    }
    if (st != XONCE_OK || !refused)
        return st;
    st = read_rows(m, rd);
    if (st == XONCE_OK && rd->seen < refused)
        st = not_a_duplicate(m, first_missing(rd->rows, rd->n));
    return st;
}

static xonce_status claim_plain(xo_my *m, reader *rd);

/* A collation takes another's id for one of ours: row by row tells which. */
static xonce_status claim_singly(xo_my *m, reader *rd)
{
    xonce_status st = XONCE_OK;
    for (size_t i = 0; i < rd->n && st == XONCE_OK; i++) {
        reader one = {.group = rd->group, .rows = &rd->rows[i], .n = 1};
        if (!rd->rows[i].found)
            st = claim_plain(m, &one);
    }
    return st;
}

static int take_increment(const xonce_row *r, void *arg)
{
    xo_my *m = arg;
    m->increment = r->text[0] ? strtoll(r->text[0], NULL, 10) : 1;
    m->increment_boot = xo_boot_ms();
    return 1;
}

/* The server numbers the rows of one INSERT in a row, and tells the first number. In a cluster the step may change. */
static xonce_status number_rows(xo_my *m, reader *rd, size_t sent, int64_t first)
{
    static const char sql[] = "SELECT @@session.auto_increment_increment";
    xonce_status st = XONCE_OK;
    if (sent > 1 && (!m->increment || xo_boot_ms() - m->increment_boot > CLOCK_AGE_MS))
        st = xo_my_text(m, sql, sizeof sql - 1, take_increment, m, NULL);
    for (size_t i = 0; i < rd->n && st == XONCE_OK && first > 0; i++)
        if (!rd->rows[i].found) {
            rd->rows[i].row = first;
            first += m->increment;
        }
    return st;
}

/* The plain INSERT went through: it must have stored each row, as it was sent. */
static xonce_status all_stored(xo_my *m, reader *rd, xo_my_cached *e, size_t sent)
{
    int64_t changed = 0;
    warning w = {0};
    unsigned notes = mysql_warning_count(m->my);
    int64_t first = (int64_t)mysql_stmt_insert_id(e->stmt);
    xonce_status st = xo_my_fetch(m, e, NULL, NULL, &changed, "claim");
    if (st == XONCE_OK && notes)
        st = warned(m, 0, &w);
    if (st == XONCE_OK && (w.code || changed != (int64_t)sent))
        st = xo_fail_sql(XONCE_E_SQL, XO_SQL_OTHER, w.code, NULL, "the claim would have been stored changed: %s", w.code ? w.text : "rows are missing");
    for (size_t i = 0; i < rd->n && st == XONCE_OK; i++)
        rd->rows[i].fresh = !rd->rows[i].found;
    return st == XONCE_OK ? number_rows(m, rd, sent, first) : st;
}

/* MySQL: a plain INSERT of all takes all or nothing. Refused: read which are there, insert the rest. */
static xonce_status claim_plain(xo_my *m, reader *rd)
{
    size_t left = rd->n;
    for (int round = 0; left > 0; round++) {
        xo_my_cached *e = NULL;
        xonce_status st = insert(m, rd->group, rd->rows, rd->n, NULL, &e);
        if (st == XONCE_OK)
            return all_stored(m, rd, e, left);
        int native = xonce_error_last()->native;
        if (native != XO_ER_DUP_ENTRY && native != 1586)
            return st;
        xo_error why;
        xo_error_save(&why);
        st = read_rows(m, rd);
        if (st != XONCE_OK)
            return st;
        if (rd->seen == 0 || round > 64)
            return xo_fail_sql(XONCE_E_SQL, XO_SQL_OTHER, native, "23000", "the claim of %.64s was refused, but not because of its id: %.300s; run `xonce check`",
                               rd->rows[0].key, why.pub.text);
        if (rd->n == 1)
            return XONCE_OK; /* refused; found tells whether by the same bytes */
        if (rd->n - rd->found == left)
            return claim_singly(m, rd);
        left = rd->n - rd->found;
    }
    return XONCE_OK;
}

/* ---- the days of a partitioned table ---- */

/* Keys hold for one day each. A message that has no day may have a record under its day, from a delivery that had one, and the other way round. */
static int take_other_day(const xonce_row *r, void *arg)
{
    reader *rd = arg;
    xo_claim *c = claim_of(rd, r);
    int32_t day = r->ncols > 6 && r->text[6] ? (int32_t)strtol(r->text[6], NULL, 10) : XO_NO_DAY;
    if (!c || !c->fresh || c->found || !r->text[1] || strcmp(r->text[1], rd->group) != 0 || (day == XO_NO_DAY) == (c->day == XO_NO_DAY))
        return 0;
    take_found(r, c);
    return 0;
}

static xonce_status take_back(xo_my *m, const char *group, const xo_claim *c)
{
    xo_my_cached *e = NULL;
    int64_t day = c->day, changed = 0;
    xonce_status st = prepared(m, OP_TAKE_BACK, 1, &e);
    if (st != XONCE_OK)
        return st;
    MYSQL_BIND b[3];
    memset(b, 0, sizeof b);
    bind_text(&b[0], c->key);
    bind_text(&b[1], group);
    bind_int(&b[2], &day, 0);
    st = xo_my_execute(m, e, b, "claim");
    if (st == XONCE_OK)
        st = xo_my_fetch(m, e, NULL, NULL, &changed, "claim");
    return st == XONCE_OK && changed != 1 ? xo_fail_sql(XONCE_E_SQL, XO_SQL_OTHER, 0, NULL, "taking back the claim of %.64s removed %lld rows instead of one", c->key, (long long)changed) : st;
}

/* After the insert, and by a read that waits for those who have not committed yet: of two who claim one message at once, one finds the other or both stand in a deadlock, which one survives. */
static xonce_status look_at_other_days(xo_my *m, reader *rd)
{
    size_t n = 0;
    int any = 0;
    for (size_t i = 0; i < rd->n; i++) {
        n += (size_t)rd->rows[i].fresh;
        any |= rd->rows[i].fresh && rd->rows[i].day == XO_NO_DAY;
    }
    xonce_status st = n ? ask_for(m, rd, any ? OP_ANY_DAY : OP_OTHER_DAYS, 1, n, take_other_day, "claim") : XONCE_OK;
    for (size_t i = 0; i < rd->n && st == XONCE_OK; i++)
        if (rd->rows[i].fresh && rd->rows[i].found) {
            st = take_back(m, rd->group, &rd->rows[i]);
            rd->rows[i].fresh = 0;
            rd->rows[i].row = 0;
        }
    return st;
}

/* The database's time without asking for it in each claim: asked now and then, counted on by our own clock. */
static int take_now(const xonce_row *r, void *arg)
{
    xo_my *m = arg;
    m->clock_boot = xo_boot_ms();
    m->clock_offset = (r->text[0] ? strtoll(r->text[0], NULL, 10) : 0) - m->clock_boot;
    return 0;
}

static xonce_status database_now(xo_my *m, int64_t *now)
{
    static const char sql[] = "SELECT " XO_MY_NOW;
    if (!m->clock_boot || xo_boot_ms() - m->clock_boot > CLOCK_AGE_MS) {
        xonce_status st = xo_my_text(m, sql, sizeof sql - 1, take_now, m, NULL);
        if (st != XONCE_OK)
            return st;
    }
    *now = xo_boot_ms() + m->clock_offset;
    return XONCE_OK;
}

/* Whatever stops the record from coming in, it is not the message's data that is at fault. */
static xonce_status not_the_data(xonce_status st)
{
    xo_sql_class cls = xo_error_class();
    if (cls != XO_SQL_DATA && cls != XO_SQL_PARENT)
        return st;
    xo_error e;
    xo_error_save(&e);
    return xo_fail_sql(st, XO_SQL_OTHER, e.pub.native, e.pub.sqlstate, "%s; run `xonce check`", e.pub.text);
}

xonce_status xo_my_claim(xo_conn *c, const char *group, xo_claim *rows, size_t n, int64_t *now_ms)
{
    xo_my *m = (xo_my *)c;
    xonce_status st = xo_my_ready(m);
    size_t refused = 0;
    int64_t now = 0;
    for (size_t i = 0; i < n && st == XONCE_OK; i++) {
        rows[i].fresh = rows[i].found = 0;
        rows[i].row = rows[i].found_row = 0;
        st = check_row(m, group, &rows[i]);
    }
    if (st == XONCE_OK)
        st = xo_my_know_layout(m);
    for (size_t at = 0; at < n && st == XONCE_OK; at += XO_MY_CLAIM_MAX) {
        reader rd = {.group = group, .rows = rows + at, .n = n - at < XO_MY_CLAIM_MAX ? n - at : XO_MY_CLAIM_MAX};
        st = m->returning ? claim_returning(m, &rd) : claim_plain(m, &rd);
        if (st == XONCE_OK && m->c.partitioned)
            st = look_at_other_days(m, &rd);
        now = rd.now ? rd.now : now;
    }
    if (st == XONCE_OK && now_ms && !now)
        st = database_now(m, &now);
    if (st != XONCE_OK)
        return not_the_data(st);
    if (now_ms)
        *now_ms = now;
    for (size_t i = 0; i < n; i++)
        refused += !rows[i].fresh;
    /* claiming has read the refused rows already, and nothing else has run since */
    m->read_rows = refused ? rows : NULL;
    m->read_n = n;
    return XONCE_OK;
}

xonce_status xo_my_read_back(xo_conn *c, const char *group, xo_claim *rows, size_t n)
{
    xo_my *m = (xo_my *)c;
    xonce_status st = xo_my_ready(m);
    if (st == XONCE_OK && m->read_rows == rows && m->read_n == n)
        return XONCE_OK;
    for (size_t at = 0; at < n && st == XONCE_OK; at += XO_MY_CLAIM_MAX) {
        reader rd = {.group = group, .rows = rows + at, .n = n - at < XO_MY_CLAIM_MAX ? n - at : XO_MY_CLAIM_MAX};
        st = read_rows(m, &rd);
    }
    return st;
}

/* ---- layout ---- */

static int take_layout(const xonce_row *r, void *arg)
{
    int *count = arg;
    for (int i = 0; i < 4; i++)
        count[i] = (int)strtol(r->text[i] ? r->text[i] : "0", NULL, 10);
    return 0;
}

xonce_status xo_my_layout(xo_conn *c, xo_layout *out)
{
    static const char sql[] = "SELECT COUNT(*), COALESCE(SUM(LOWER(column_name) IN ('store_time', 'log_offset', 'digest')), 0), COALESCE(SUM(LOWER(column_name) = 'store_day'), 0), "
                              "(SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = ? AND table_name = 'transaction_record' AND create_options LIKE '%partitioned%') "
                              "FROM information_schema.columns WHERE table_schema = ? AND table_name = 'transaction_record'";
    xo_my *m = (xo_my *)c;
    int count[4] = {0, 0, 0, 0};
    xo_my_cached *e = xo_my_find(m, XO_MY_OWN(OP_LAYOUT, 1));
    xonce_status st = xo_my_ready(m);
    if (st == XONCE_OK && !e)
        st = xo_my_prepare(m, XO_MY_OWN(OP_LAYOUT, 1), sql, sizeof sql - 1, &e);
    if (st == XONCE_OK) {
        MYSQL_BIND b[2];
        memset(b, 0, sizeof b);
        bind_text(&b[0], m->db);
        bind_text(&b[1], m->db);
        st = xo_my_execute(m, e, b, "layout");
    }
    if (st == XONCE_OK)
        st = xo_my_fetch(m, e, take_layout, count, NULL, "layout");
    if (st != XONCE_OK)
        return st;
    out->exists = count[0] > 0;
    out->has_ours = count[1] == 3;
    out->partitioned = out->has_ours && count[2] == 1 && count[3] == 1;
    m->own_columns = !out->exists || out->has_ours;
    c->partitioned = out->partitioned;
    m->layout_known = out->exists;
    if (!c->in_tx && !c->joined)
        return xo_my_plain_commit(m);
    return XONCE_OK;
}

xonce_status xo_my_know_layout(xo_my *m)
{
    xo_layout now;
    return m->layout_known ? XONCE_OK : xo_my_layout(&m->c, &now);
}
