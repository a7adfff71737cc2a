/* Rejected messages: written with their claim, and run again when somebody marked them. */
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "store/batch.h"
#include "store/run.h"

#include <stdlib.h>
#include <string.h>

/* ---- properties as text: name=value&name=value, percent-encoded ---- */

static void add_property(const char *name, const char *value, void *arg)
{
    xo_buf *b = arg;
    char *n = xo_percent(name), *v = xo_percent(value);
    if (!n || !v)
        b->failed = 1;
    else
        xo_buf_printf(b, "%s%s=%s", b->len ? "&" : "", n, v);
    free(n);
    free(v);
}

static xonce_status read_properties(xonce_message *m, const char *text)
{
    xonce_status st = XONCE_OK;
    while (*text && st == XONCE_OK) {
        size_t len = strcspn(text, "&"), eq = strcspn(text, "=&");
        if (eq < len) {
            char *name = xo_unpercent(text, eq, 0, NULL), *value = xo_unpercent(text + eq + 1, len - eq - 1, 0, NULL);
            st = name && value ? xonce_message_set_property(m, name, value)
                               : xo_fail(XONCE_E_INVALID, "xonce_rejected: the properties of message %.64s are damaged", m->id);
            free(name);
            free(value);
        }
        text += len + (text[len] == '&');
    }
    return st;
}

/* ---- writing ---- */

/* later: queued for that message; SIZE_MAX: now. */
static xonce_status insert_row(xonce_tx *tx, const xo_claimant *cl, const char *key, const char *reason, int with_body, size_t later)
{
    const xonce_message *m = cl->m;
    xo_buf props = {0}, sql = {0};
    if (with_body)
        xonce_message_each_property(m, add_property, &props);
    xo_buf_printf(&sql,
                  "INSERT INTO xonce_rejected (consumer_group, message_id, uniq, topic_name, broker_name, queue_id, %s, store_time, attempts, body, "
                  "properties, reason, rejected_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, %s)",
                  tx->s->d->quoted_offset, tx->s->d->sql_now);
    xonce_status st = xo_buf_status(&props) == XONCE_OK ? xo_buf_status(&sql) : xo_buf_status(&props);
    if (st == XONCE_OK) {
        xonce_value v[] = {
            xonce_text(tx->s->group),
            xonce_text(key),
            *m->id ? xonce_blob(m->id, strlen(m->id)) : xonce_blob(cl->uniq, cl->nuniq),
            xonce_text(m->topic),
            xonce_text(m->broker),
            xonce_int(m->queue),
            xonce_int(m->offset),
            m->store_time >= 0 ? xonce_int(m->store_time) : xonce_null(),
            xonce_int(m->attempt),
            with_body ? xonce_blob(m->body, m->body_len) : xonce_null(),
            with_body ? xonce_blob(props.p ? props.p : "", props.len) : xonce_null(),
            xonce_text(reason),
        };
        st = later == SIZE_MAX ? xo_tx_query(tx, sql.p, v, sizeof v / sizeof *v, NULL, NULL, NULL) : xo_tx_later(tx, sql.p, v, sizeof v / sizeof *v, later);
    }
    xo_buf_free(&props);
    xo_buf_free(&sql);
    return st;
}

static int on_there(const xonce_row *r, void *arg)
{
    (void)r;
    *(int *)arg = 1;
    return 1;
}

/* key: in, the claim's; out, under which it is or is to be kept. In a table split by day the claim of another message with the same id may stand on another day: that one's row is not this one's. */
static xonce_status is_there(xonce_tx *tx, const xo_claimant *cl, char key[XO_KEY_SIZE], int *there)
{
    const xonce_message *m = cl->m;
    int same = 0;
    xonce_value v[] = {xonce_text(key), xonce_text(m->topic), xonce_blob(m->body, m->body_len)};
    xonce_status st = xo_tx_query(tx, "SELECT 1 FROM xonce_rejected WHERE message_id = $1", v, 1, on_there, there, NULL);
    if (st != XONCE_OK || !*there || !tx->c->partitioned)
        return st;
    st = xo_tx_query(tx, "SELECT 1 FROM xonce_rejected WHERE message_id = $1 AND topic_name = $2 AND (body IS NULL OR body = $3)", v, 3, on_there, &same, NULL);
    if (st != XONCE_OK || same)
        return st;
    *there = 0;
    st = xo_identity_collision_key(key, cl->uniq, cl->nuniq, tx->s->group, cl->digest, m->topic);
    v[0] = xonce_text(key);
    return st == XONCE_OK ? xo_tx_query(tx, "SELECT 1 FROM xonce_rejected WHERE message_id = $1", v, 1, on_there, there, NULL) : st;
}

/* How a rejected message is written: tried from above to below until the database takes it. */
typedef enum {
    WHOLE,
    PLAIN_REASON, /* a database with another character set */
    WITHOUT_BODY, /* it is too large: its coordinates and the reason still fit */
    NO_WAY
} form;
enum { LARGE_BODY = 1024 * 1024 };

typedef struct {
    xo_claimant *cl;
    int claim_stands, maybe; /* maybe: an earlier try may have committed */
    char *reason;
    form how;
} reject;

/* A claim by offset. After an unknown COMMIT it may stand already. */
static xonce_status move_behind(xonce_tx *tx, const reject *j)
{
    xonce_status st = xo_offset_move(tx, j->cl->m);
    return st == XONCE_E_FENCED && j->maybe && xo_offset_stands(tx, j->cl->m) == 1 ? XONCE_OK : st;
}

static xonce_status write_row(xonce_tx *tx, reject *j, xonce_outcome *what)
{
    xonce_status st = XONCE_OK;
    int there = 0;
    *what = XONCE_REJECTED;
    if (!j->claim_stands && (!xo_by_offset(j->cl->m) || j->cl->m->claim_record)) {
        j->cl->keep_key |= j->cl->state == XO_CLAIM_COLLIDES; /* it has a key of its own by now */
        st = xo_claim_all(tx->s, tx->c, &tx->arena, &j->cl, 1);
        if (st == XONCE_OK && j->cl->state == XO_CLAIM_COLLIDES && !j->cl->keep_key) { /* rejected as it is anyway, not for that */
            j->cl->keep_key = 1;
            st = xo_claim_all(tx->s, tx->c, &tx->arena, &j->cl, 1);
        }
        if (st == XONCE_OK && j->cl->state == XO_CLAIM_DUPLICATE)
            *what = XONCE_DUPLICATE;
        else if (st == XONCE_OK && j->cl->state != XO_CLAIM_FRESH)
            st = xo_fail(XONCE_E_SQL, "the claim of a message to reject was refused for another reason than its id");
    }
    if (st == XONCE_OK && !j->claim_stands && xo_by_offset(j->cl->m))
        st = move_behind(tx, j);
    char key[XO_KEY_SIZE];
    memcpy(key, j->cl->key, sizeof key);
    if (st == XONCE_OK && (*what == XONCE_REJECTED || j->maybe))
        st = is_there(tx, j->cl, key, &there);
    if (there) /* written by an earlier try, or for a record that is pruned by now */
        *what = XONCE_REJECTED;
    if (st == XONCE_OK && *what == XONCE_REJECTED && !there)
        st = insert_row(tx, j->cl, key, j->reason, j->how != WITHOUT_BODY, SIZE_MAX);
    return st;
}

static xonce_status write_once(xonce_store *s, reject *j, xonce_outcome *what)
{
    xonce_tx tx = {0};
    xonce_status st = xo_tx_open(&tx, s);
    if (st != XONCE_OK)
        return st;
    st = write_row(&tx, j, what);
    size_t failed = 0;
    int write = *what == XONCE_REJECTED || xo_by_offset(j->cl->m);
    if (st == XONCE_OK && write)
        st = xo_tx_commit(&tx, &failed);
    xo_tx_close(&tx, st != XONCE_OK || !write);
    return st;
}

/* A text that any database takes: what is not UTF-8, or all beyond ASCII, becomes '?'. Caller frees; NULL: no memory. */
static char *clean(const char *text, int ascii)
{
    char *copy = xo_strdup(text);
    size_t n = strlen(text), bad = 0;
    while (copy && !xo_utf8_valid(copy, n, &bad))
        copy[bad] = '?';
    for (size_t i = 0; copy && ascii && i < n; i++)
        if ((unsigned char)copy[i] >= 0x80)
            copy[i] = '?';
    return copy;
}

static int is_large(const xonce_message *m)
{
    size_t n = m->body_len;
    for (size_t i = 0; i < m->nproperties && n < LARGE_BODY; i++)
        n += strlen(m->properties[i].value);
    return n >= LARGE_BODY;
}

/* The database refused the row, for good as it seems. The body is given up only where its size may be why: it may be the last copy. */
static void other_form(reject *j)
{
    j->how++;
    if (j->how == PLAIN_REASON) {
        char *plain = clean(j->reason, 1);
        if (plain) {
            free(j->reason);
            j->reason = plain;
        }
    } else if (j->how == WITHOUT_BODY && !is_large(j->cl->m)) {
        j->how = NO_WAY;
    }
}

int xo_reject_fits(const xonce_message *m)
{
    return !is_large(m);
}

xonce_status xo_reject_here(xonce_tx *tx, const xo_claimant *cl, const char *reason, size_t later)
{
    char *text = clean(reason, 0);
    xonce_status st = text ? insert_row(tx, cl, cl->key, text, 1, later) : xo_nomem();
    free(text);
    return st;
}

xonce_status xo_reject_write(xonce_store *s, xo_claimant *cl, int claim_stands, const char *reason, xonce_outcome *what)
{
    reject j = {.cl = cl, .claim_stands = claim_stands, .reason = clean(reason, 0)};
    xonce_status st = j.reason ? XONCE_OK : xo_nomem();
    int done = st != XONCE_OK;
    for (int try = 1; !done; try++) {
        st = write_once(s, &j, what);
        xo_sql_class cls = xo_error_class();
        int again = st != XONCE_OK && (cls == XO_SQL_AGAIN || cls == XO_SQL_LOST || st == XONCE_E_UNKNOWN_COMMIT);
        j.maybe |= st == XONCE_E_UNKNOWN_COMMIT;
        if (st != XONCE_OK && !again)
            other_form(&j);
        done = st == XONCE_OK || st == XONCE_E_FENCED || (!again && cls == XO_SQL_SETUP) || j.how == NO_WAY || try >= s->tries;
        if (!done)
            xo_back_off(try);
    }
    free(j.reason);
    if (st != XONCE_OK)
        *what = XONCE_DEFERRED;
    return st;
}

/* ---- replay ---- */

typedef struct {
    int64_t id;
    xonce_message *m;
    xonce_status st;
} marked;

static xonce_status unhex(const char *hex, size_t n, xo_buf *out)
{
    for (size_t i = 0; i + 1 < n; i += 2) {
        int v = 0;
        for (size_t k = 0; k < 2; k++) {
            char c = hex[i + k];
            int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
            if (d < 0)
                return xo_fail(XONCE_E_PROTOCOL, "xonce_rejected: a body is not hex");
            v = v * 16 + d;
        }
        xo_buf_char(out, (char)v);
    }
    return xo_buf_status(out);
}

static xonce_status make_message(const xonce_row *r, xonce_message **out)
{
    xo_buf id = {0}, body = {0}, props = {0};
    xonce_status st = unhex(xonce_row_text(r, 1), strlen(xonce_row_text(r, 1)), &id);
    if (st == XONCE_OK)
        st = unhex(xonce_row_text(r, 8), strlen(xonce_row_text(r, 8)), &body);
    if (st == XONCE_OK)
        st = unhex(xonce_row_text(r, 9), strlen(xonce_row_text(r, 9)), &props);
    if (st == XONCE_OK)
        st = xonce_message_new(out, xonce_row_text(r, 2), id.p ? id.p : "", body.p ? body.p : "", body.len);
    if (st == XONCE_OK)
        st = xonce_message_set_origin(*out, xonce_row_text(r, 3), (int32_t)xonce_row_int(r, 4), xonce_row_int(r, 5));
    if (st == XONCE_OK)
        st = read_properties(*out, props.p ? props.p : "");
    if (st == XONCE_OK && !xonce_row_is_null(r, 6))
        (*out)->store_time = xonce_row_int(r, 6);
    if (st == XONCE_OK)
        (*out)->attempt = (int)xonce_row_int(r, 7) + 1;
    xo_buf_free(&id);
    xo_buf_free(&body);
    xo_buf_free(&props);
    if (st != XONCE_OK) {
        xonce_message_free(*out);
        *out = NULL;
    }
    return st;
}

static int on_marked(const xonce_row *r, void *arg)
{
    marked *k = arg;
    k->id = xonce_row_int(r, 0);
    if (xonce_row_is_null(r, 8))
        k->st = xo_fail(XONCE_E_INVALID, "the body was too large for xonce_rejected: it cannot be replayed from here; send the message again");
    else
        k->st = make_message(r, &k->m);
    return 1;
}

/* Bytes come as hex, which every engine and every row form can carry. */
static void hex_of(xo_buf *b, const xo_dialect *d, const char *column)
{
    if (d->kind == XO_DIALECT_PG)
        xo_buf_printf(b, "encode(%s, 'hex')", column);
    else
        xo_buf_printf(b, "hex(%s)", column);
}

/* Locks the oldest marked row of the group. */
static xonce_status lock_marked(xonce_tx *tx, const char *topic, marked *k)
{
    xo_buf sql = {0};
    xo_buf_str(&sql, "SELECT id, ");
    hex_of(&sql, tx->s->d, "uniq");
    xo_buf_printf(&sql, ", topic_name, broker_name, queue_id, %s, store_time, attempts, CASE WHEN body IS NULL THEN NULL ELSE ", tx->s->d->quoted_offset);
    hex_of(&sql, tx->s->d, "body");
    xo_buf_str(&sql, " END, CASE WHEN properties IS NULL THEN '' ELSE ");
    hex_of(&sql, tx->s->d, "properties");
    xo_buf_printf(&sql, " END FROM xonce_rejected WHERE consumer_group = $1 AND replay_at IS NOT NULL%s ORDER BY replay_at, id LIMIT 1%s",
                  topic ? " AND topic_name = $2" : "", tx->s->d->sql_for_update);
    xonce_value v[] = {xonce_text(tx->s->group), xonce_text(topic)};
    xonce_status st = xo_buf_status(&sql);
    if (st == XONCE_OK)
        st = xo_tx_query(tx, sql.p, v, topic ? 2 : 1, on_marked, k, NULL);
    xo_buf_free(&sql);
    return st;
}

typedef struct {
    xonce_tx *tx;
    xonce_verdict verdict;
} replay_call;

static void leave_replay(void *arg, size_t i, xonce_verdict verdict, const char *reason)
{
    replay_call *call = arg;
    (void)i;
    call->verdict = verdict;
    xonce_fail(call->tx, "%s", reason);
}

static xonce_verdict call_handler(xonce_tx *tx, const xo_spec *spec, const xonce_message *m)
{
    if (spec->one)
        return spec->one(tx, m, spec->arg);
    replay_call call = {.tx = tx, .verdict = XONCE_DONE};
    xonce_batch b = {.m = &m, .n = 1, .leave = leave_replay, .arg = &call};
    xonce_verdict v = spec->many(tx, &b, spec->arg);
    return b.marked ? call.verdict : v;
}

/* The handler's verdict on a replayed message. *again: roll back and take it once more. */
static xonce_status replay_verdict(xonce_tx *tx, const xo_spec *spec, marked *k, xonce_verdict *v, int *again)
{
    tx->expires_mono = INT64_MAX;
    *v = call_handler(tx, spec, k->m);
    xonce_status st = xo_failpoint("handled");
    if (st == XONCE_OK && (tx->c->lent || tx->c->escaped))
        st = tx->s->d->after_lent(tx->c);
    if (st == XONCE_OK && tx->failed)
        st = xo_error_restore(&tx->error);
    if (st == XONCE_OK && *v == XONCE_DONE) {
        int64_t changed = 0;
        xonce_value id = xonce_int(k->id);
        st = xonce_exec_now(tx, "DELETE FROM xonce_rejected WHERE id = $1", &id, 1, &changed);
        if (st == XONCE_OK && changed != 1)
            st = xo_fail_sql(XONCE_E_CONFLICT, XO_SQL_AGAIN, 0, NULL, "the rejected message was taken by another replay");
        size_t failed = 0;
        if (st == XONCE_OK)
            st = xo_failpoint("committing");
        if (st == XONCE_OK)
            st = xo_tx_commit(tx, &failed);
    }
    *again = st != XONCE_OK && (xo_error_class() == XO_SQL_AGAIN || xo_error_class() == XO_SQL_LOST || st == XONCE_E_CONNECT || st == XONCE_E_UNKNOWN_COMMIT);
    if (st == XONCE_OK && *v != XONCE_DONE)
        xo_fail(XONCE_E_INVALID, "%s", tx->reason[0] ? tx->reason : *v == XONCE_REJECT ? "rejected by the handler" : "the handler asked for redelivery");
    return st;
}

/* Not applied: the mark goes, the reason is renewed, the row stays. */
static xonce_status unmark(xonce_store *s, int64_t id, const char *reason)
{
    static const char sql[] = "UPDATE xonce_rejected SET replay_at = NULL, attempts = attempts + 1, reason = $1 WHERE id = $2";
    xonce_status st = XONCE_OK;
    for (int ascii = 0; ascii < 2; ascii++) {
        char *text = clean(reason, ascii);
        if (!text)
            return xo_nomem();
        xonce_value v[] = {xonce_text(text), xonce_int(id)};
        st = xo_store_query(s, sql, v, 2, NULL, NULL, NULL);
        free(text);
        if (st == XONCE_OK || xo_error_class() != XO_SQL_DATA)
            break;
    }
    return st;
}

/* One transaction. *again as above; *found says whether a marked row was there. */
static xonce_status replay_once(xonce_store *s, const char *topic, const xo_spec *spec, int *found, xo_item *out, int *again)
{
    xonce_tx tx = {.worker = spec->worker, .stopping = spec->stopping};
    marked k = {0};
    xonce_verdict v = XONCE_RETRY;
    *again = 0;
    xonce_status st = xo_tx_open(&tx, s);
    if (st == XONCE_OK)
        st = lock_marked(&tx, topic, &k);
    if (st != XONCE_OK) {
        *again = xo_error_class() == XO_SQL_AGAIN;
        xo_tx_close(&tx, 1);
        return st;
    }
    *found = k.id != 0;
    if (*found)
        st = k.st == XONCE_OK ? replay_verdict(&tx, spec, &k, &v, again) : k.st;
    xo_error why;
    xo_error_save(&why);
    if (tx.c && tx.c->lent && st != XONCE_OK)
        tx.c->lost = 1;
    xo_tx_close(&tx, st != XONCE_OK || v != XONCE_DONE || !*found);
    xonce_message_free(k.m);
    if (!*found || *again)
        return *found ? xo_error_restore(&why) : XONCE_OK;
    out->outcome = st == XONCE_OK && v == XONCE_DONE ? XONCE_FRESH : XONCE_REJECTED;
    if (out->outcome == XONCE_FRESH)
        return XONCE_OK;
    out->error = why;
    out->failed_run = 1;
    return unmark(s, k.id, why.pub.text);
}

xonce_status xo_replay_next(xonce_store *s, const char *topic, const xo_spec *spec, int *found, xo_item *out)
{
    memset(out, 0, sizeof *out);
    out->outcome = XONCE_DEFERRED;
    *found = 0;
    xonce_status st = XONCE_OK;
    int again = 1, maybe = 0;
    for (int try = 0; again && try < s->tries; try++) {
        if (try)
            xo_pause_ms(10 + (int64_t)(xo_random() % 100));
        st = replay_once(s, topic, spec, found, out, &again);
        maybe |= st == XONCE_E_UNKNOWN_COMMIT;
    }
    if (st == XONCE_OK && maybe && !*found) { /* the row is gone: that COMMIT took effect */
        *found = 1;
        out->outcome = XONCE_FRESH;
    }
    return st;
}
