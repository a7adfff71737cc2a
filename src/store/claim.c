/* Claims: the row that makes a message's effects happen once. */
#include "store/claim.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

static xonce_status key_of(xonce_store *s, xo_claimant *cl)
{
    return xo_identity_key(cl->key, cl->uniq, cl->nuniq, s->group);
}

/* A message that cannot tell who it is still needs a row in xonce_rejected: one made of its topic and body. */
static xonce_status key_of_content(xonce_store *s, xo_claimant *cl)
{
    unsigned char sum[32];
    char hex[65];
    xo_buf b = {0};
    xo_buf_str(&b, cl->m->topic);
    xo_buf_char(&b, '\n');
    xo_buf_add(&b, cl->m->body, cl->m->body_len);
    xonce_status st = xo_buf_status(&b);
    if (st == XONCE_OK && xo_sha256(b.p, b.len, sum) != 0)
        st = xo_fail(XONCE_E_INVALID, "SHA-256 is not available in the crypto library");
    xo_buf_free(&b);
    if (st != XONCE_OK)
        return st;
    xo_hex(hex, sum, sizeof sum, 0);
    memcpy(cl->own_uniq, "body-", 5);
    memcpy(cl->own_uniq + 5, hex, sizeof hex);
    cl->uniq = cl->own_uniq;
    cl->nuniq = strlen(cl->own_uniq);
    return key_of(s, cl);
}

xonce_status xo_claimant_init(xonce_store *s, const xonce_message *m, size_t order, xo_claimant *out)
{
    memset(out, 0, sizeof *out);
    out->m = m;
    out->order = order;
    xonce_status st = xo_message_digest(m, out->digest), id = XONCE_OK;
    if (st != XONCE_OK)
        return st;
    if (s->identify) {
        id = s->identify(m, out->own_uniq, sizeof out->own_uniq, s->identify_arg);
        out->own_uniq[sizeof out->own_uniq - 1] = 0;
        out->uniq = out->own_uniq;
        out->nuniq = strlen(out->own_uniq);
        if (id != XONCE_OK)
            id = xo_fail(XONCE_E_INVALID, "no id can be made of this message: %s",
                         xonce_error_last()->code == id ? xonce_error_last()->text : xonce_status_name(id));
        else if (out->nuniq == 0)
            id = xo_fail(XONCE_E_INVALID, "the id made of this message is empty");
    } else {
        out->uniq = xo_message_uniq(m, &out->nuniq);
        if (!out->uniq || out->nuniq == 0)
            id = xo_fail(XONCE_E_INVALID, "the message has no id; give it one, or set xonce_store_identify()");
    }
    if (id == XONCE_OK)
        return key_of(s, out);
    xo_error e;
    xo_error_save(&e);
    st = key_of_content(s, out);
    return st == XONCE_OK ? xo_error_restore(&e) : st;
}

static int decided(const xo_claimant *cl)
{
    return cl->state == XO_CLAIM_FRESH || cl->state == XO_CLAIM_DUPLICATE;
}

/* By key; of one key first the one that has it already, then in delivery order. */
static int by_key(const void *a, const void *b)
{
    const xo_claimant *x = *(xo_claimant *const *)a, *y = *(xo_claimant *const *)b;
    int c = strcmp(x->key, y->key);
    if (c == 0)
        c = decided(y) - decided(x);
    return c ? c : (x->order > y->order) - (x->order < y->order);
}

static int same_content(const xo_claimant *a, const xo_claimant *b)
{
    return strcmp(a->digest, b->digest) == 0 && strcmp(a->m->topic, b->m->topic) == 0;
}

/* Another message under an id that is taken: it gets a key of its own, or is refused where the user wants that. One whose own key is taken as well is not to be told from a duplicate: it is put off. */
static xonce_status collide(xonce_store *s, xo_claimant *cl)
{
    char old[XO_KEY_SIZE];
    memcpy(old, cl->key, sizeof old);
    cl->state = s->reject_collision ? XO_CLAIM_COLLIDES : XO_CLAIM_NONE;
    if (!s->reject_collision)
        xo_log(XO_WARN, "store", "group %s: another message has the id %.64s; topic %s, body digest %s: claimed as a message of its own",
               s->group, cl->uniq, cl->m->topic, cl->digest);
    xonce_status st = xo_identity_collision_key(cl->key, cl->uniq, cl->nuniq, s->group, cl->digest, cl->m->topic);
    cl->moved = 1;
    if (st == XONCE_OK && strcmp(old, cl->key) == 0)
        cl->state = XO_CLAIM_TAKEN;
    return st;
}

/* Marks twins, and lets other messages under the same id wait for the first one's claim, so that no key stands twice in a claim. */
static void settle_twins(xo_claimant **set, size_t n)
{
    xo_claimant *head = NULL;
    qsort(set, n, sizeof *set, by_key);
    for (size_t i = 0; i < n; i++) {
        xo_claimant *cl = set[i];
        if (cl->state != XO_CLAIM_NONE && !decided(cl))
            continue;
        if (!head || strcmp(head->key, cl->key) != 0) {
            head = cl;
        } else if (same_content(head, cl)) {
            cl->state = XO_CLAIM_TWIN;
            cl->twin = head;
        } else {
            cl->state = XO_CLAIM_WAITS;
            cl->over = head;
        }
    }
}

/* The day that each delivery of this message has. A key of the user's own making is to hold on any day. */
static int32_t day_of(const xonce_store *s, const xonce_message *m)
{
    static const int64_t year_10000 = 2932897;
    int64_t day = m->store_time / XO_DAY_MS;
    return s->identify || m->store_time < 0 || day >= year_10000 ? XO_NO_DAY : (int32_t)day;
}

static void fill_row(const xonce_store *s, xo_claim *r, const xo_claimant *cl)
{
    r->day = day_of(s, cl->m);
    r->day_lost = r->day == XO_NO_DAY && !s->identify && cl->m->copy_offset >= 0;
    r->key = cl->key;
    r->topic = cl->m->topic;
    r->broker = cl->m->broker ? cl->m->broker : "";
    r->digest = cl->digest;
    r->queue = cl->m->queue;
    r->offset = cl->m->offset;
    r->store_time = cl->m->store_time;
    r->log_offset = cl->m->log_offset;
}

/* The row that has its key is another message's. */
static int is_other(const xo_claimant *cl, const xo_claim *r)
{
    return r->found_digest[0] && (strcmp(r->found_digest, cl->digest) != 0 || strcmp(r->found_topic, cl->m->topic) != 0);
}

/* What a refused claim means: only a row read back under a lock makes it a duplicate. */
static xonce_status judge_refused(xonce_store *s, xo_claimant *cl, const xo_claim *r)
{
    if (!r->found) {
        cl->state = XO_CLAIM_NO_ROW;
        return XONCE_OK;
    }
    cl->over = NULL;
    cl->found_row = r->found_row;
    if (is_other(cl, r))
        return collide(s, cl);
    cl->state = XO_CLAIM_DUPLICATE;
    return XONCE_OK;
}

/* The row that refused one judges those that waited for it too. */
static xonce_status judge_all(xonce_store *s, xo_claimant **set, size_t n, xo_claimant **who, const xo_claim *rows, size_t k)
{
    xonce_status st = XONCE_OK;
    size_t waiting = 0;
    for (size_t j = 0; j < n; j++)
        waiting += set[j]->state == XO_CLAIM_WAITS;
    for (size_t i = 0; i < k && st == XONCE_OK; i++) {
        if (rows[i].fresh)
            continue;
        for (size_t j = 0; waiting && j < n && st == XONCE_OK; j++)
            if (set[j]->state == XO_CLAIM_WAITS && set[j]->over == who[i])
                st = judge_refused(s, set[j], &rows[i]);
        if (st == XONCE_OK)
            st = judge_refused(s, who[i], &rows[i]);
    }
    return st;
}

/* Those that still wait do so for one of this very transaction. Where a collision rejects, that is no reason yet: the other one is not committed. */
static xonce_status end_waiting(xonce_store *s, xo_claimant **set, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (set[i]->state != XO_CLAIM_WAITS)
            continue;
        xonce_status st = collide(s, set[i]);
        if (st != XONCE_OK)
            return st;
        if (s->reject_collision)
            set[i]->state = XO_CLAIM_TAKEN;
    }
    return XONCE_OK;
}

/* A message that lay in a buffer for so long (a suspended machine) that its record may have been pruned meanwhile must come again instead. */
static void refuse_stale(xonce_store *s, xo_claimant **set, size_t n, int64_t now)
{
    for (size_t i = 0; i < n; i++)
        if (set[i]->m->polled_boot > 0 && now - xo_pool_database_time(s->pool, set[i]->m->polled_boot) > s->keep_ms / 2)
            set[i]->state = XO_CLAIM_STALE;
    xo_pool_clock(s->pool, now);
}

/* The rows of those that have no state yet. */
static void fill_rows(const xonce_store *s, xo_claims *p)
{
    p->k = 0;
    for (size_t i = 0; i < p->n; i++)
        if (p->set[i]->state == XO_CLAIM_NONE) {
            p->who[p->k] = p->set[i];
            fill_row(s, &p->rows[p->k++], p->set[i]);
        }
}

/* Who was refused, by the rows that came back fresh or not. */
static size_t note_fresh(xo_claims *p)
{
    size_t refused = 0;
    for (size_t i = 0; i < p->k; i++) {
        if (!p->rows[i].fresh) {
            refused++;
            continue;
        }
        p->who[i]->state = XO_CLAIM_FRESH;
        p->who[i]->row = p->rows[i].row;
    }
    return refused;
}

static int waiting(const xo_claims *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->set[i]->state == XO_CLAIM_WAITS)
            return 1;
    return 0;
}

static void put_off_reading(xo_claims *p)
{
    for (size_t i = 0; i < p->k; i++)
        if (!p->rows[i].fresh)
            p->who[i]->state = XO_CLAIM_REFUSED;
    p->refused = 1;
}

/* One claim statement for those that have no state yet. */
static xonce_status claim_round(xonce_store *s, xo_conn *c, xo_claims *p, int later)
{
    if (p->k == 0)
        return end_waiting(s, p->set, p->n);
    int64_t now = 0;
    xonce_status st = s->d->claim(c, s->group, p->rows, p->k, &now);
    if (st != XONCE_OK)
        return st;
    size_t refused = note_fresh(p);
    if (refused && refused < p->k && later && !waiting(p)) {
        put_off_reading(p);
    } else if (refused) {
        st = s->d->read_back(c, s->group, p->rows, p->k);
        if (st == XONCE_OK)
            st = judge_all(s, p->set, p->n, p->who, p->rows, p->k);
    }
    if (st == XONCE_OK)
        st = end_waiting(s, p->set, p->n);
    if (st == XONCE_OK && now > 0)
        refuse_stale(s, p->who, p->k, now);
    return st;
}

static int undecided(xo_claimant *const *set, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (set[i]->state == XO_CLAIM_NONE)
            return 1;
    return 0;
}

xonce_status xo_claim_prepare(xonce_store *s, xo_arena *arena, xo_claimant **set, size_t n, xo_claims *p)
{
    *p = (xo_claims){.set = set, .n = n, .rows = xo_arena_alloc(arena, n * sizeof *p->rows), .who = xo_arena_alloc(arena, n * sizeof *p->who)};
    if (!p->rows || !p->who)
        return xo_nomem();
    xonce_status st = XONCE_OK;
    for (size_t i = 0; i < n && st == XONCE_OK; i++) {
        xo_claimant *cl = set[i];
        cl->state = XO_CLAIM_NONE;
        cl->twin = cl->over = NULL;
        if (cl->moved && !cl->keep_key) { /* who had its id before may be gone by now */
            cl->moved = 0;
            st = key_of(s, cl);
        }
    }
    if (st != XONCE_OK)
        return st;
    settle_twins(set, n);
    fill_rows(s, p);
    return xo_cover_prepare(s, &p->cover, arena, set, n);
}

xonce_status xo_claim_take(xonce_store *s, xo_conn *c, xo_claims *p, int later)
{
    c->ask = p->cover.ask.sql ? &p->cover.ask : NULL;
    xonce_status st = claim_round(s, c, p, later);
    c->ask = NULL;
    for (int round = 1; round < 4 && st == XONCE_OK && undecided(p->set, p->n); round++) {
        p->cover.ask.done = 0; /* that was before these claims */
        settle_twins(p->set, p->n);
        fill_rows(s, p);
        st = claim_round(s, c, p, 0);
    }
    for (size_t i = 0; i < p->n; i++)
        if (p->set[i]->state == XO_CLAIM_NONE)
            p->set[i]->state = XO_CLAIM_TAKEN;
    if (st == XONCE_OK)
        st = xo_claim_covered(s, c, &p->cover, p->set, p->n);
    xo_cover_end(&p->cover);
    return st;
}

void xo_claim_judge(const xo_claims *p)
{
    for (size_t i = 0; i < p->k; i++) {
        const xo_claim *r = &p->rows[i];
        xo_claimant *cl = p->who[i];
        if (cl->state != XO_CLAIM_REFUSED || !r->found || is_other(cl, r))
            continue;
        cl->state = XO_CLAIM_DUPLICATE;
        cl->found_row = r->found_row;
    }
}

xonce_status xo_claim_all(xonce_store *s, xo_conn *c, xo_arena *arena, xo_claimant **set, size_t n)
{
    xo_claims p;
    xonce_status st = xo_claim_prepare(s, arena, set, n, &p);
    return st == XONCE_OK ? xo_claim_take(s, c, &p, 0) : st;
}

const char *xo_claim_forget_sql(const xonce_store *s, const xo_conn *c, const xo_claimant *cl, xonce_value v[3], size_t *n)
{
    v[0] = xonce_text(cl->key);
    v[1] = xonce_text(s->group);
    v[2] = xonce_int(day_of(s, cl->m));
    *n = c->partitioned ? 3 : 2;
    return c->partitioned ? "DELETE FROM transaction_record WHERE message_id = $1 AND consumer_group = $2 AND store_day = $3"
                          : "DELETE FROM transaction_record WHERE message_id = $1 AND consumer_group = $2";
}

xonce_status xo_claim_forget(xonce_store *s, xo_conn *c, const xo_claimant *cl)
{
    const xo_sql *sql = NULL;
    int owned = 0;
    xonce_value v[3];
    size_t n = 0;
    xonce_status st = xo_pool_sql(s->pool, xo_claim_forget_sql(s, c, cl, v, &n), &sql, &owned);
    if (st != XONCE_OK)
        return st;
    int64_t changed = 0;
    st = s->d->query(c, sql, v, n, NULL, NULL, &changed);
    if (owned)
        xo_sql_free((xo_sql *)sql);
    if (st == XONCE_OK && changed != 1)
        return xo_fail(XONCE_E_SQL, "taking back the claim of %.64s removed %lld rows instead of one", cl->key, (long long)changed);
    return st;
}
