/* The record table in PostgreSQL: where it is and what it has, the claim, and the read-back of rows that were refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "store/postgres/impl.h"

/* ---- layout ---- */

static void forget_texts(xo_pg_conn *c)
{
    char **const texts[] = {&c->table, &c->insert, &c->insert_one, &c->select, &c->insert_any, &c->select_any};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        free(*texts[i]);
        *texts[i] = NULL;
    }
}

/* In a partitioned table a message that has no day may have a record under its day, from a delivery that had one, and the other way round: the insert looks there as well. Who is committed while it
   runs is kept out by the room (push_room). any: one of the rows has no day. */
static char *insert_text(const xo_pg_conn *c, const char *table, int any)
{
    int ours = c->layout.has_ours, split = c->layout.partitioned;
    char *other = !split ? xo_strdup("")
                  : any  ? xo_printf("WHERE (SELECT 1 FROM %s x WHERE x.message_id = u.m AND (x.store_day = -1) <> (u.y = -1) LIMIT 1) IS NULL ", table)
                         : xo_printf("WHERE (SELECT 1 FROM %s x WHERE x.message_id = u.m AND x.store_day = -1) IS NULL ", table);
    /* unnest in the list of columns: in FROM each would fill a table of its own first */
    char *text = !other ? NULL
                        : xo_printf("INSERT INTO %s (consumer_group, message_id, topic_name, ctime, queue_id, \"offset\", broker_name%s%s) "
                                    "SELECT $1::text, u.m, u.t, (SELECT " PG_NOW_MS "), u.q, u.o, u.b%s%s FROM (SELECT unnest($2::text[]) AS m, unnest($3::text[]) AS t, "
                                    "unnest($4::int[]) AS q, unnest($5::bigint[]) AS o, unnest($6::text[]) AS b%s%s) u "
                                    "%sON CONFLICT (message_id%s) DO NOTHING RETURNING message_id%s",
                                    table, ours ? ", store_time, log_offset, digest" : "", split ? ", store_day" : "", ours ? ", u.s, u.l, u.d" : "", split ? ", u.y" : "",
                                    ours ? ", unnest($7::bigint[]) AS s, unnest($8::bigint[]) AS l, unnest($9::text[]) AS d" : "", split ? ", unnest($10::int[]) AS y" : "", other,
                                    split ? ", store_day" : "", c->heap ? ", xmin" : "");
    free(other);
    return text;
}

/* One row, without arrays. */
static char *insert_one_text(const xo_pg_conn *c, const char *table)
{
    int ours = c->layout.has_ours;
    return xo_printf("INSERT INTO %s (consumer_group, message_id, topic_name, ctime, queue_id, \"offset\", broker_name%s) "
                     "VALUES ($1::text, $2::text, $3::text, " PG_NOW_MS ", $4::int, $5::bigint, $6::text%s) ON CONFLICT (message_id) DO NOTHING RETURNING message_id%s",
                     table, ours ? ", store_time, log_offset, digest" : "", ours ? ", $7::bigint, $8::bigint, $9::text" : "", c->heap ? ", xmin" : "");
}

static char *select_text(const xo_pg_conn *c, const char *table, int any)
{
    int split = c->layout.partitioned;
    return xo_printf("SELECT message_id, consumer_group, topic_name, %s, xmin::text%s FROM %s WHERE message_id = ANY ($1::text[])%s FOR SHARE", c->layout.has_ours ? "digest" : "NULL",
                     split ? ", store_day" : "", table, split && !any ? " AND store_day = ANY ($2::int[])" : "");
}

static xonce_status make_texts(xo_pg_conn *c, const char *table)
{
    int split = c->layout.partitioned;
    forget_texts(c);
    c->table = xo_strdup(table);
    c->insert = insert_text(c, table, 0);
    c->select = select_text(c, table, 0);
    c->insert_one = split ? NULL : insert_one_text(c, table);
    c->insert_any = split ? insert_text(c, table, 1) : NULL;
    c->select_any = split ? select_text(c, table, 1) : NULL;
    c->pub.partitioned = split;
    c->generation++;
    if (c->table && c->insert && c->select && (split ? c->insert_any && c->select_any : c->insert_one != NULL))
        return XONCE_OK;
    forget_texts(c);
    return xo_nomem();
}

xonce_status xo_pg_layout(xo_conn *x, xo_layout *out)
{
    /* a table of that name in another schema of the path must not take its place in a later transaction: it is named
     * with its schema from here on */
    static const char sql[] = "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), (SELECT count(*) FROM "
                              "pg_catalog.pg_attribute a WHERE a.attrelid = c.oid "
                              "AND a.attname IN ('store_time', 'log_offset', 'digest') AND NOT a.attisdropped) = 3, c.relkind = 'p' AND EXISTS "
                              "(SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'store_day' AND NOT a.attisdropped), c.relkind = 'r' "
                              "FROM pg_catalog.pg_class c "
                              "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = "
                              "to_regclass('transaction_record') AND c.relkind IN ('r', 'p')";
    xo_pg_conn *c = xo_pg_of(x);
    PGresult *r = NULL;
    xonce_status st;
    xo_pg_start(c, c->connect_ms + 10000);
    if (x->in_tx)
        xo_pg_tx_prefix(c, NULL);
    {
        xo_pg_send s = {.kind = PG_CONTROL, .text = sql, .keep = &r};
        xo_pg_push(c, &s);
    }
    st = xo_pg_finish(c);
    if (st != XONCE_OK) {
        PQclear(r);
        return xo_error_context("looking at the record table");
    }
    c->layout.exists = PQntuples(r) == 1;
    if (c->layout.exists) {
        const char *table = PQgetvalue(r, 0, 0);
        int ours = PQgetvalue(r, 0, 1)[0] == 't', split = ours && PQgetvalue(r, 0, 2)[0] == 't', heap = PQgetvalue(r, 0, 3)[0] == 't';
        if (!c->table || strcmp(c->table, table) != 0 || ours != c->layout.has_ours || split != c->layout.partitioned || heap != c->heap) {
            c->heap = heap;
            c->layout.has_ours = ours;
            c->layout.partitioned = split;
            st = make_texts(c, table);
        }
    } else {
        free(c->table);
        c->table = NULL;
        c->layout.has_ours = c->layout.partitioned = c->pub.partitioned = 0;
    }
    PQclear(r);
    if (out)
        *out = c->layout;
    return st;
}

static xonce_status need_table(xo_pg_conn *c)
{
    if (!c->table && xo_pg_layout(&c->pub, NULL) != XONCE_OK)
        return xonce_error_last()->code;
    if (c->table)
        return XONCE_OK;
    return xo_fail_sql(XONCE_E_SCHEMA, XO_SQL_SETUP, 0, "42P01",
                       "the table transaction_record is not in the search_path of this database: run `xonce init`");
}

/* ---- claim ---- */

enum { CLAIM_PARAMS = 10 };

static xonce_status params_status(const xo_buf b[CLAIM_PARAMS])
{
    for (int k = 1; k < CLAIM_PARAMS; k++)
        if (xo_buf_status(&b[k]) != XONCE_OK)
            return xonce_error_last()->code;
    return XONCE_OK;
}

static xonce_status fill_arrays(xo_buf b[CLAIM_PARAMS], const xo_claim *rows, size_t n)
{
    static const uint32_t type[CLAIM_PARAMS] = {0, XO_PG_TEXT, XO_PG_TEXT, XO_PG_INT4, XO_PG_INT8, XO_PG_TEXT, XO_PG_INT8, XO_PG_INT8, XO_PG_TEXT, XO_PG_INT4};
    for (int k = 1; k < CLAIM_PARAMS; k++)
        xo_pg_array_begin(&b[k], type[k], n);
    for (size_t i = 0; i < n; i++) {
        const xo_claim *r = &rows[i];
        xo_pg_array_text(&b[1], r->key);
        xo_pg_array_text(&b[2], r->topic);
        xo_pg_array_int(&b[3], r->queue);
        xo_pg_array_bigint(&b[4], r->offset, 0);
        xo_pg_array_text(&b[5], r->broker);
        xo_pg_array_bigint(&b[6], r->store_time, r->store_time < 0);
        xo_pg_array_bigint(&b[7], r->log_offset, r->log_offset < 0);
        xo_pg_array_text(&b[8], r->digest);
        xo_pg_array_int(&b[9], r->day);
    }
    return params_status(b);
}

/* The same of one row, as plain values; those that stay empty are NULL. */
static xonce_status fill_one(xo_buf b[CLAIM_PARAMS], const xo_claim *r)
{
    xo_buf_str(&b[1], r->key);
    xo_buf_str(&b[2], r->topic);
    xo_buf_printf(&b[3], "%d", r->queue);
    xo_buf_printf(&b[4], "%lld", (long long)r->offset);
    xo_buf_str(&b[5], r->broker);
    if (r->store_time >= 0)
        xo_buf_printf(&b[6], "%lld", (long long)r->store_time);
    if (r->log_offset >= 0)
        xo_buf_printf(&b[7], "%lld", (long long)r->log_offset);
    xo_buf_str(&b[8], r->digest);
    return params_status(b);
}

static int by_key(const void *key, const void *row)
{
    return strcmp(key, ((const xo_claim *)row)->key);
}

static xonce_status mark_fresh(const PGresult *r, const PGresult *xid, xo_claim *rows, size_t n)
{
    int64_t ours = xid && PQntuples(xid) == 1 ? strtoll(PQgetvalue(xid, 0, 0), NULL, 10) : 0;
    int i;
    if (!xid && PQnfields(r) == 2 && PQntuples(r) > 0)
        ours = strtoll(PQgetvalue(r, 0, 1), NULL, 10);
    for (i = 0; i < PQntuples(r); i++) {
        xo_claim *hit = bsearch(PQgetvalue(r, i, 0), rows, n, sizeof(*rows), by_key);
        if (!hit)
            return xo_fail_sql(XONCE_E_SCHEMA, XO_SQL_OTHER, 0, NULL,
                               "transaction_record stored another id than the claimed one (a trigger? a too short "
                               "column?): run `xonce check`");
        hit->fresh = 1;
        hit->row = ours;
    }
    return XONCE_OK;
}

/* An error of the claim is never the message's fault as an error of its handler's data would be. */
static xonce_status claim_failed(xo_pg_conn *c)
{
    xo_error e;
    const char *state;
    (void)xo_pg_tx_failed(c, 0, NULL);
    xo_error_save(&e);
    state = e.pub.sqlstate;
    if (strcmp(state, "42P01") == 0 || strcmp(state, "42703") == 0) { /* dropped or changed: look again next time */
        free(c->table);
        c->table = NULL;
        e.pub.code = XONCE_E_SCHEMA;
    } else if (strcmp(state, "42P10") == 0 ||
               strcmp(state, "55000") == 0) { /* no unique key on message_id alone that a claim can rely on; or it is another table by now */
        free(c->table);
        c->table = NULL;
        e.pub.code = XONCE_E_SCHEMA;
        e.cls = XO_SQL_SETUP;
    } else if (e.cls == XO_SQL_DATA || e.cls == XO_SQL_PARENT) {
        e.cls = XO_SQL_OTHER;
    }
    (void)xo_error_restore(&e);
    return xo_error_context("claiming in transaction_record");
}

/* In a user's transaction lock_timeout is the user's: it is set for the claim, where the user has none, and put back
 * behind it. */
static void push_user_lock(xo_pg_conn *c, PGresult **now)
{
    static const char *const none = "0";
    char lock[24];
    const char *v[1] = {lock};
    xo_pg_send s = {.kind = PG_CONTROL, .n = 1, .v = v, .keep = now};
    s.text = "SELECT set_config('lock_timeout', $1, true), " PG_NOW_MS;
    (void)snprintf(lock, sizeof(lock), "%d", c->lock_ms > INT32_MAX ? INT32_MAX : (int)c->lock_ms);
    if (strcmp(c->lock_was, none) != 0)
        v[0] = c->lock_was;
    if (!now)
        v[0] = c->lock_was;
    xo_pg_push(c, &s);
}

static int is_any(const xo_claim *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (rows[i].day == XO_NO_DAY)
            return 1;
    return 0;
}

/* Two deliveries of one message that do not agree about its day have no key in common which could stop them. So who may be such a one has the group's room for himself until his transaction ends; all
   others share it. */
static void push_room(xo_pg_conn *c, const char *group, const xo_claim *rows, size_t n)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    int alone = 0;
    char room[16];
    const char *v[1] = {room};
    xo_pg_send s = {.kind = PG_CONTROL, .n = 1, .v = v};
    for (const char *p = group; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 16777619u;
    for (size_t i = 0; i < n; i++)
        alone |= rows[i].day_lost;
    (void)snprintf(room, sizeof(room), "%d", (int)hash);
    s.text = alone ? "SELECT pg_advisory_xact_lock(2020568687, $1::int)" : "SELECT pg_advisory_xact_lock_shared(2020568687, $1::int)";
    s.key = PG_OWN_KEY(PG_KEY_ROOM + (uint64_t)alone);
    xo_pg_push(c, &s);
}

/* The number of our transaction, as each row of it has it: a partitioned table's rows cannot return it themselves. */
static void push_xid(xo_pg_conn *c, PGresult **xid)
{
    xo_pg_send s = {.kind = PG_CONTROL, .text = "SELECT txid_current_if_assigned() % 4294967296", .key = PG_OWN_KEY(PG_KEY_XID), .keep = xid};
    xo_pg_push(c, &s);
}

static void push_now(xo_pg_conn *c, PGresult **now)
{
    xo_pg_send s = {.kind = PG_CONTROL, .text = "SELECT " PG_NOW_MS, .keep = now};
    xo_pg_push(c, &s);
}

/* How long n claims may wait for others. */
static int64_t claim_patience(const xo_pg_conn *c, size_t n)
{
    int64_t ms = (int64_t)(n + 1) * c->lock_ms + 30000;
    return ms < xo_pg_patience(c) ? ms : xo_pg_patience(c);
}

/* Forgets what a claim brought. */
static void forget_claimed(xo_pg_conn *c)
{
    xo_pg_claimed *got = &c->claimed;
    PQclear(got->fresh);
    PQclear(got->now);
    PQclear(got->xid);
    PQclear(got->asked);
    memset(got, 0, sizeof(*got));
}

static void push_claim(xo_pg_conn *c, const char *group, const xo_claim *rows, size_t n, const xo_buf b[CLAIM_PARAMS])
{
    xo_pg_claimed *got = &c->claimed;
    const char *v[CLAIM_PARAMS] = {group};
    int len[CLAIM_PARAMS] = {0}, format[CLAIM_PARAMS] = {0};
    xo_pg_send s = {.kind = PG_CONTROL, .v = v, .len = len, .format = format, .keep = &got->fresh};
    int begin_now = !c->begun, split = c->layout.partitioned, any = split && is_any(rows, n), one = !split && n == 1;
    for (size_t i = 1; i < CLAIM_PARAMS; i++) {
        v[i] = b[i].len ? b[i].p : i == 6 || i == 7 ? NULL : ""; /* of one row: no store time, no log offset */
        len[i] = (int)b[i].len;
        format[i] = !one;
        s.bytes += b[i].len;
    }
    s.n = split ? CLAIM_PARAMS : c->layout.has_ours ? CLAIM_PARAMS - 1 : CLAIM_PARAMS - 4;
    s.text = any ? c->insert_any : one ? c->insert_one : c->insert;
    s.key = PG_OWN_KEY(PG_KEY_CLAIM + 4 * (uint64_t)c->generation + 2 * (uint64_t)any + (uint64_t)one);
    xo_pg_tx_prefix(c, &got->now);
    if (c->pub.joined)
        push_user_lock(c, &got->now);
    else if (!begin_now)
        push_now(c, &got->now);
    if (split)
        push_room(c, group, rows, n);
    xo_pg_push(c, &s);
    if (c->pub.joined)
        push_user_lock(c, NULL);
    else if (!c->heap)
        push_xid(c, &got->xid);
    if (got->ask)
        xo_pg_push_stmt(c, got->ask->sql, got->ask->v, got->ask->sql->nparams, 0, &got->asked);
}

/* What came of the claim. */
static xonce_status take_claimed(xo_pg_conn *c, xonce_status st, xo_claim *rows, size_t n, int64_t *now_ms)
{
    xo_pg_claimed *got = &c->claimed;
    const xo_pg_exchange *ex = &c->ex;
    if (st != XONCE_OK) {
        if (ex->answered && ex->failed < ex->n && ex->op[ex->failed].kind == PG_STATEMENT)
            return xo_pg_tx_failed(c, 0, NULL);
        return claim_failed(c);
    }
    st = mark_fresh(got->fresh, got->xid, rows, n);
    if (st == XONCE_OK && now_ms && got->now)
        *now_ms = strtoll(PQgetvalue(got->now, 0, PQnfields(got->now) - 1), NULL, 10);
    if (st == XONCE_OK && got->ask) {
        st = xo_pg_each_row(got->asked, got->ask->fn, got->ask->arg);
        got->ask->done = st == XONCE_OK;
    }
    return st;
}

static void mark_unclaimed(xo_claim *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        rows[i].fresh = 0;
        rows[i].row = 0;
    }
}

/* Fills the arrays and pushes; ahead: of the next transaction. Not OK: nothing was pushed. */
static xonce_status send_claim(xo_pg_conn *c, const char *group, xo_claim *rows, size_t n, int ahead)
{
    xo_buf b[CLAIM_PARAMS] = {{0}};
    xonce_status st = n == 1 && !c->layout.partitioned ? fill_one(b, rows) : fill_arrays(b, rows, n);
    if (st == XONCE_OK) {
        mark_unclaimed(rows, n);
        if (ahead) {
            c->ex.more_ms = claim_patience(c, n);
            c->begun = 0;
        }
        push_claim(c, group, rows, n, b);
    }
    for (size_t i = 0; i < CLAIM_PARAMS; i++)
        xo_buf_free(&b[i]);
    return st;
}

xonce_status xo_pg_claim(xo_conn *x, const char *group, xo_claim *rows, size_t n, int64_t *now_ms)
{
    xo_pg_conn *c = xo_pg_of(x);
    xonce_status st = XONCE_OK;
    if (c->ahead && c->claimed.rows == rows) {
        st = take_claimed(c, xo_pg_finish_part(c, 0), rows, n, now_ms);
    } else {
        st = xo_pg_tx_ready(c);
        if (st == XONCE_OK)
            st = need_table(c);
        if (st != XONCE_OK)
            return st;
        c->claimed = (xo_pg_claimed){.ask = x->joined ? NULL : x->ask, .rows = rows};
        xo_pg_start(c, claim_patience(c, n));
        st = send_claim(c, group, rows, n, 0);
        if (st != XONCE_OK)
            xo_pg_give_up(c);
        st = take_claimed(c, xo_pg_finish(c), rows, n, now_ms);
    }
    forget_claimed(c);
    return st;
}

xonce_status xo_pg_push_ahead(xo_pg_conn *c, const xo_company *with)
{
    c->claimed = (xo_pg_claimed){.ask = with->ask, .rows = with->next};
    return send_claim(c, with->group, with->next, with->nnext, 1);
}

enum { DROP_MS = 1000 };

void xo_pg_drop_ahead(xo_pg_conn *c)
{
    if (!c->ahead)
        return;
    xo_error e;
    xo_error_save(&e);
    (void)xo_pg_finish_part(c, DROP_MS); /* a claim that waits for another's: the connection goes */
    forget_claimed(c);
    (void)xo_error_restore(&e);
}

/* ---- read-back ---- */

static void copy_text(char *out, size_t size, const PGresult *r, int row, int col)
{
    (void)snprintf(out, size, "%s", PQgetisnull(r, row, col) ? "" : PQgetvalue(r, row, col));
}

static void take_row(const PGresult *r, int i, const char *group, xo_claim *rows, size_t n)
{
    xo_claim *hit = bsearch(PQgetvalue(r, i, 0), rows, n, sizeof(*rows), by_key);
    size_t end;
    if (!hit || hit->fresh || strcmp(PQgetvalue(r, i, 1), group) != 0)
        return;
    if (PQnfields(r) > 5) { /* of the message's own day, or where one of the two has none */
        int32_t day = (int32_t)strtol(PQgetvalue(r, i, 5), NULL, 10);
        if ((day != hit->day && day != XO_NO_DAY && hit->day != XO_NO_DAY) || (hit->found && strcmp(hit->found_digest, hit->digest) == 0))
            return;
    }
    hit->found = 1;
    hit->found_row = strtoll(PQgetvalue(r, i, 4), NULL, 10);
    copy_text(hit->found_digest, sizeof(hit->found_digest), r, i, 3);
    copy_text(hit->found_topic, sizeof(hit->found_topic), r, i, 2);
    for (end = strlen(hit->found_digest); end && hit->found_digest[end - 1] == ' '; end--)
        hit->found_digest[end - 1] = 0;
}

xonce_status xo_pg_push_read_back(xo_pg_conn *c, xo_claim *rows, size_t n, PGresult **keep)
{
    xo_buf keys = {0}, days = {0};
    const char *v[2];
    /* planned each time: a plan that was kept from when the table was small reads all of it */
    xo_pg_send s = {.kind = PG_READ_BACK, .v = v, .keep = keep};
    int any = c->layout.partitioned && is_any(rows, n);
    size_t asked = 0;
    for (size_t i = 0; i < n; i++) {
        rows[i].found = 0;
        rows[i].found_digest[0] = rows[i].found_topic[0] = 0;
        asked += !rows[i].fresh;
    }
    xo_pg_array_begin(&keys, XO_PG_TEXT, asked);
    xo_pg_array_begin(&days, XO_PG_INT4, asked + 1);
    xo_pg_array_int(&days, XO_NO_DAY);
    for (size_t i = 0; i < n; i++)
        if (!rows[i].fresh) {
            xo_pg_array_text(&keys, rows[i].key);
            xo_pg_array_int(&days, rows[i].day);
        }
    xonce_status st = xo_buf_status(&keys) == XONCE_OK ? xo_buf_status(&days) : xo_buf_status(&keys);
    if (st == XONCE_OK) {
        const int len[2] = {(int)keys.len, (int)days.len}, format[2] = {1, 1};
        v[0] = keys.p;
        v[1] = days.p;
        s.n = c->layout.partitioned && !any ? 2 : 1;
        s.len = len;
        s.format = format;
        s.bytes = keys.len;
        s.text = any ? c->select_any : c->select;
        xo_pg_push(c, &s);
    }
    xo_buf_free(&keys);
    xo_buf_free(&days);
    return st;
}

void xo_pg_take_back(const PGresult *r, const char *group, xo_claim *rows, size_t n)
{
    for (int k = 0; k < PQntuples(r); k++)
        take_row(r, k, group, rows, n);
}

static int all_fresh(const xo_claim *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!rows[i].fresh)
            return 0;
    return 1;
}

xonce_status xo_pg_read_back(xo_conn *x, const char *group, xo_claim *rows, size_t n)
{
    xo_pg_conn *c = xo_pg_of(x);
    PGresult *r = NULL;
    xonce_status st = xo_pg_tx_ready(c);
    if (st == XONCE_OK)
        st = need_table(c);
    if (st != XONCE_OK || all_fresh(rows, n))
        return st;
    xo_pg_start(c, xo_pg_patience(c));
    xo_pg_tx_prefix(c, NULL);
    st = xo_pg_push_read_back(c, rows, n, &r);
    if (st != XONCE_OK)
        xo_pg_give_up(c);
    st = xo_pg_finish(c);
    if (st == XONCE_OK)
        xo_pg_take_back(r, group, rows, n);
    else
        st = claim_failed(c);
    PQclear(r);
    return st;
}
