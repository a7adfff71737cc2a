/* Corners: ids that collide inside a batch, rejections that are hard to write, hooks that fail, calls at the wrong moment. */
#include "suite.h"
#include "base/failpoint.h"

#include <stdio.h>

/* ---- the same id, another body ---- */

typedef struct {
    const char *bad; /* the body whose message is not done */
    xonce_verdict say;
    int calls;
} by_body;

static int has_body(const xonce_message *m, const char *text)
{
    size_t len = 0;
    const char *body = xonce_message_body(m, &len);
    return text && len == strlen(text) && memcmp(body, text, len) == 0;
}

static xonce_verdict unless_bad(xonce_tx *tx, const xonce_message *m, void *arg)
{
    by_body *b = arg;
    b->calls++;
    xonce_verdict v = book(tx, m, NULL);
    return has_body(m, b->bad) ? b->say : v;
}

static xonce_verdict unless_bad_batch(xonce_tx *tx, xonce_batch *batch, void *arg)
{
    by_body *b = arg;
    b->calls++;
    for (size_t i = 0; i < xonce_batch_count(batch); i++) {
        const xonce_message *m = xonce_batch_at(batch, i);
        book(tx, m, NULL);
        if (has_body(m, b->bad) && b->say == XONCE_REJECT)
            xonce_batch_reject(batch, i, "bad");
        else if (has_body(m, b->bad))
            xonce_batch_retry(batch, i, "bad");
    }
    return XONCE_DONE;
}

static void run_bodies(xonce_store *s, const char *const *bodies, size_t n, const by_body *how, int batch, xonce_outcome *what)
{
    xo_item items[8];
    by_body arg = *how;
    xo_spec spec = {.one = batch ? NULL : unless_bad, .many = batch ? unless_bad_batch : NULL, .arg = &arg};
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < n; i++)
        items[i].m = message("m1", bodies[i]);
    ck_assert_msg(xo_run(s, items, n, &spec) == XONCE_OK, "%s", xonce_error_last()->text);
    for (size_t i = 0; i < n; i++) {
        what[i] = items[i].outcome;
        xonce_message_free((xonce_message *)items[i].m);
    }
}

static int64_t applied(const char *body)
{
    char text[160];
    snprintf(text, sizeof text, "SELECT COUNT(*) FROM orders WHERE body = '%s'", body);
    return sql_int(text);
}

START_TEST(the_first_of_two_bodies_leaves)
{
    static const char *const both[] = {"one", "two"};
    xonce_store *s = open_store("GID_a");
    xonce_outcome what[2];
    by_body bad = {.bad = "one", .say = _i % 2 ? XONCE_REJECT : XONCE_RETRY};
    run_bodies(s, both, 2, &bad, _i / 2, what);
    ck_assert_int_eq(what[0], _i % 2 ? XONCE_REJECTED : XONCE_DEFERRED);
    ck_assert_int_eq(what[1], XONCE_FRESH);
    ck_assert_int_eq(once(s, "m1", "two"), XONCE_DUPLICATE); /* its acknowledgement was lost */
    ck_assert_int_eq(once(s, "m1", "one"), _i % 2 ? XONCE_DUPLICATE : XONCE_FRESH);
    ck_assert_int_eq(once(s, "m1", "two"), XONCE_DUPLICATE);
    ck_assert_int_eq(applied("two"), 1);
    ck_assert_int_eq(applied("one"), _i % 2 ? 0 : 1);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_body_that_was_applied_behind_a_new_one)
{
    static const char *const bodies[] = {"two", "one", "three", "one", "two"};
    static const xonce_outcome want[] = {XONCE_FRESH, XONCE_DUPLICATE, XONCE_FRESH, XONCE_DUPLICATE, XONCE_DUPLICATE};
    xonce_store *s = open_store("GID_a");
    xonce_outcome what[5];
    by_body good = {0};
    once(s, "m1", "one");
    run_bodies(s, bodies, 5, &good, _i, what);
    for (int i = 0; i < 5; i++)
        ck_assert_msg(what[i] == want[i], "message %d: %d", i, what[i]);
    ck_assert_int_eq(orders(), 3);
    ck_assert_int_eq(records(), 3);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(once(s, "m1", bodies[i]), XONCE_DUPLICATE);
    xonce_store_close(s);
}
END_TEST

START_TEST(where_collisions_reject_the_first_must_be_committed)
{
    static const char *const both[] = {"one", "two"};
    xonce_store *s = open_store_with("GID_a", "collision", "reject");
    xonce_outcome what[2];
    by_body bad = {.bad = "one", .say = XONCE_RETRY}, good = {0};
    run_bodies(s, both, 2, &bad, 0, what);
    ck_assert_int_eq(what[0], XONCE_DEFERRED);
    ck_assert_int_ne(what[1], XONCE_REJECTED); /* nobody has that id yet */
    run_bodies(s, both, 2, &good, 0, what);
    ck_assert_int_eq(what[0] == XONCE_FRESH || what[0] == XONCE_DEFERRED, 1);
    for (int i = 0; i < 3; i++)
        run_bodies(s, both, 2, &good, 0, what);
    ck_assert_int_eq(orders(), 1);
    ck_assert_int_eq(rejected(), 1);
    ck_assert(what[0] == XONCE_DUPLICATE && what[1] == XONCE_DUPLICATE);
    xonce_store_close(s);
}
END_TEST

/* Whoever knows how ids are made for collisions must not be able to make a message pass for a duplicate. */
START_TEST(a_forged_id_of_a_collision)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *victim = message("m1", "two");
    char digest[33], key[XO_KEY_SIZE];
    ck_assert_int_eq(xo_message_digest(victim, digest), XONCE_OK);
    ck_assert_int_eq(xo_identity_collision_key(key, "m1", 2, "GID_a", digest, "orders"), XONCE_OK);
    *strchr(key, '#') = 0;
    once(s, "m1", "one");
    xo_item items[2];
    memset(items, 0, sizeof items);
    if (_i == 0) /* it was applied before */
        once(s, key, "forged");
    items[0].m = victim;
    items[1].m = message(key, _i == 2 ? "two" : "forged");
    xo_spec spec = {.one = book};
    ck_assert_int_eq(xo_run(s, items, 2, &spec), XONCE_OK);
    ck_assert(items[0].outcome != XONCE_FRESH || applied("two") == 1);
    ck_assert_msg(items[0].outcome != XONCE_DUPLICATE || applied("two") == 1, "taken for a duplicate of what was never applied");
    ck_assert_int_le(applied("forged"), 1);
    ck_assert_int_le(applied("two"), 1);
    xonce_message_free(victim);
    xonce_message_free((xonce_message *)items[1].m);
    xonce_store_close(s);
}
END_TEST

/* ---- ordered ---- */

static xonce_verdict fail_heads(xonce_tx *tx, const xonce_message *m, void *arg)
{
    ++*(int *)arg;
    xonce_verdict v = book(tx, m, NULL);
    return xonce_message_id(m)[0] == 'h' ? XONCE_RETRY : v;
}

START_TEST(many_failing_lanes)
{
    enum { LANES = 14, EACH = 3 };
    xonce_store *s = open_store("GID_a");
    xo_item items[LANES * EACH];
    memset(items, 0, sizeof items);
    for (int i = 0; i < LANES * EACH; i++) {
        char id[16], lane[16];
        int l = i % LANES, good = l == 5;
        snprintf(id, sizeof id, "%c%02d-%d", i < LANES && !good ? 'h' : 't', l, i / LANES);
        snprintf(lane, sizeof lane, "l%d", l);
        xonce_message *m = message(id, "x");
        xonce_message_set_property(m, "__SHARDINGKEY", lane);
        items[i].m = m;
    }
    int calls = 0;
    xo_spec spec = {.one = fail_heads, .arg = &calls, .ordered = 1};
    ck_assert_int_eq(xo_run(s, items, LANES * EACH, &spec), XONCE_OK);
    for (int i = 0; i < LANES * EACH; i++) {
        ck_assert_msg(items[i].outcome == (i % LANES == 5 ? XONCE_FRESH : XONCE_DEFERRED), "%s: %d", xonce_message_id(items[i].m), items[i].outcome);
        xonce_message_free((xonce_message *)items[i].m);
    }
    ck_assert_int_le(calls, 3 * LANES); /* each head once, with the two passes without savepoints a few more */
    ck_assert_int_eq(orders(), EACH);
    ck_assert_int_eq(records(), EACH);
    xonce_store_close(s);
}
END_TEST

START_TEST(an_id_that_is_free_again_by_a_lane_held_up)
{
    static const char *const bodies[] = {"head", "one", "two"}, *const lanes[] = {"a", "a", "b"};
    xonce_store *s = open_store("GID_a");
    xo_item items[3];
    memset(items, 0, sizeof items);
    for (int i = 0; i < 3; i++) {
        xonce_message *m = message(i ? "m1" : "m0", bodies[i]);
        xonce_message_set_property(m, "__SHARDINGKEY", lanes[i]);
        items[i].m = m;
    }
    by_body bad = {.bad = "head", .say = XONCE_RETRY};
    xo_spec spec = {.one = unless_bad, .arg = &bad, .ordered = 1};
    ck_assert_int_eq(xo_run(s, items, 3, &spec), XONCE_OK);
    ck_assert_int_eq(items[1].outcome, XONCE_DEFERRED);
    ck_assert_int_eq(items[2].outcome, XONCE_FRESH);
    ck_assert_int_eq(once(s, "m1", "two"), XONCE_DUPLICATE);
    ck_assert_int_eq(once(s, "m1", "one"), XONCE_FRESH);
    ck_assert_int_eq(once(s, "m1", "two"), XONCE_DUPLICATE);
    ck_assert_int_eq(orders(), 2);
    for (int i = 0; i < 3; i++)
        xonce_message_free((xonce_message *)items[i].m);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_stale_message_holds_up_its_lane)
{
    xonce_store *s = open_store_with("GID_a", "prune.keep", "10m");
    xo_item items[4];
    memset(items, 0, sizeof items);
    for (int i = 0; i < 4; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        xonce_message *m = message(id, "x");
        xonce_message_set_property(m, "__SHARDINGKEY", i == 2 ? "b" : "a");
        m->polled_boot -= i == 1 ? 6 * 60 * 1000 : 0;
        items[i].m = m;
    }
    xo_spec spec = {.one = book, .ordered = 1};
    ck_assert_int_eq(xo_run(s, items, 4, &spec), XONCE_OK);
    for (int i = 0; i < 4; i++) {
        ck_assert_msg(items[i].outcome == (i % 2 ? XONCE_DEFERRED : XONCE_FRESH), "m%d: %d", i, items[i].outcome);
        ck_assert(!items[i].failed_run);
        xonce_message_free((xonce_message *)items[i].m);
    }
    xonce_store_close(s);
}
END_TEST

START_TEST(a_message_held_elsewhere_holds_up_its_lane)
{
    if (on == ON_SQLITE)
        return; /* one writer: it holds up everything */
    xonce_store *s = open_store_with("GID_a", "store.lock-timeout", "100ms"), *other = open_store("GID_a");
    xo_item items[6];
    memset(items, 0, sizeof items);
    for (int i = 0; i < 6; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        xonce_message *m = message(id, "x");
        xonce_message_set_property(m, "__SHARDINGKEY", i % 2 ? "odd" : "even");
        items[i].m = m;
    }
    xonce_tx *tx = NULL;
    xonce_outcome what;
    ck_assert_int_eq(xonce_tx_begin(other, &tx), XONCE_OK);
    ck_assert_int_eq(xonce_tx_claim(tx, &items[2].m, 1, &what), XONCE_OK);
    xo_spec spec = {.one = book, .ordered = 1};
    ck_assert_int_eq(xo_run(s, items, 6, &spec), XONCE_OK);
    xonce_tx_rollback(tx);
    for (int i = 0; i < 6; i++) {
        ck_assert_msg(items[i].outcome == (i % 2 || i == 0 ? XONCE_FRESH : XONCE_DEFERRED), "m%d: %d", i, items[i].outcome);
        xonce_message_free((xonce_message *)items[i].m);
    }
    xonce_store_close(other);
    xonce_store_close(s);
}
END_TEST

/* ---- rejections that are hard to write ---- */

typedef struct {
    const char *reason;
    int fail_first;
} refusal;

static xonce_verdict refuse(xonce_tx *tx, const xonce_message *m, void *arg)
{
    const refusal *r = arg;
    (void)m;
    if (r->fail_first)
        xonce_exec_now(tx, "INSERT INTO orders (id) VALUES (NULL)", NULL, 0, NULL);
    xonce_fail(tx, "%s", r->reason);
    return XONCE_REJECT;
}

START_TEST(reasons_that_are_no_text)
{
    char cut[1200] = "x";
    for (int i = 0; i < 398; i++)
        memcpy(cut + strlen(cut), "\xc3\xa4", 3);
    const refusal cases[] = {{.reason = "\xff\xfe not UTF-8 \xc3"}, {.reason = cut}, {.reason = "my own words", .fail_first = 1}};
    xonce_store *s = open_store("GID_a");
    xonce_message *m = message("m1", "x");
    xonce_outcome what = XONCE_DEFERRED;
    ck_assert_int_eq(xonce_once(s, m, refuse, (void *)&cases[_i], &what), XONCE_OK);
    ck_assert_int_eq(what, XONCE_REJECTED);
    char *why = sql_text("SELECT reason FROM xonce_rejected");
    ck_assert_msg(strncmp(why, _i == 0 ? "?? not UTF-8 ?" : cases[_i].reason, 12) == 0, "%s", why);
    free(why);
    /* and the same when a replay of it fails */
    sql("UPDATE xonce_rejected SET replay_at = 1");
    xo_spec spec = {.one = refuse, .arg = (void *)&cases[_i]};
    int found = 0;
    xo_item out;
    ck_assert_msg(xo_replay_next(s, NULL, &spec, &found, &out) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert(found && out.outcome == XONCE_REJECTED);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_rejected WHERE replay_at IS NULL AND attempts = 2"), 1);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_body_is_not_given_up_for_a_passing_reason)
{
    void *c = connect_native();
    if (on == ON_SQLITE)
        run_native(c, "CREATE TRIGGER no_bodies BEFORE INSERT ON xonce_rejected WHEN NEW.body IS NOT NULL BEGIN SELECT RAISE(ABORT, 'not now'); END");
    else
        run_native(c, "ALTER TABLE xonce_rejected ADD CONSTRAINT no_bodies CHECK (body IS NULL)");
    xonce_store *s = open_store_with("GID_a", "store.tries", "4");
    xonce_message *m = message("m1", "the only copy");
    refusal no = {.reason = "no"};
    xonce_outcome what = XONCE_FRESH;
    ck_assert_int_eq(xonce_once(s, m, refuse, &no, &what), XONCE_OK);
    ck_assert_int_eq(what, XONCE_DEFERRED);
    ck_assert_int_eq(records() + rejected(), 0);
    run_native(c, on == ON_SQLITE ? "DROP TRIGGER no_bodies" : "ALTER TABLE xonce_rejected DROP CONSTRAINT no_bodies");
    disconnect_native(c);
    ck_assert_int_eq(xonce_once(s, m, refuse, &no, &what), XONCE_OK);
    ck_assert_int_eq(what, XONCE_REJECTED);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_rejected WHERE body IS NOT NULL"), 1);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_lost_answer_while_rejecting)
{
    static const char *const points[] = {"commit-sent=error@1", "commit-sent=error@1;begun=delay:1ms", "commit-sent=error@2"};
    xonce_store *s = open_store("GID_a");
    xonce_message *m = message("m1", "x");
    refusal no = {.reason = "no"};
    xonce_outcome what = XONCE_DEFERRED;
    ck_assert_int_eq(xo_failpoints_load(points[_i]), XONCE_OK);
    ck_assert_int_eq(xonce_once(s, m, refuse, &no, &what), XONCE_OK);
    xo_failpoints_load("");
    ck_assert_int_eq(what, XONCE_REJECTED);
    ck_assert_int_eq(rejected(), 1);
    ck_assert_int_eq(records(), 1);
    ck_assert_int_eq(xonce_once(s, m, book, NULL, &what), XONCE_OK);
    ck_assert_int_eq(what, XONCE_DUPLICATE);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

START_TEST(rejected_again_after_its_record_was_pruned)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *m = message("m1", "x");
    refusal no = {.reason = "no"};
    xonce_outcome what = XONCE_DEFERRED;
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(xonce_once(s, m, refuse, &no, &what), XONCE_OK);
        ck_assert_int_eq(what, XONCE_REJECTED);
        sql("DELETE FROM transaction_record");
    }
    ck_assert_int_eq(rejected(), 1);
    xo_item item = {.m = m};
    xo_spec spec = {.one = refuse, .arg = &no, .no_dedup = 1};
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(xo_run(s, &item, 1, &spec), XONCE_OK);
        ck_assert_int_eq(item.outcome, XONCE_REJECTED);
    }
    ck_assert_int_eq(rejected(), 1);
    ck_assert_int_eq(records(), 0);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

/* ---- replay ---- */

static xonce_verdict commits(xonce_tx *tx, const xonce_message *m, void *arg)
{
    if (book(tx, m, NULL) != XONCE_DONE)
        return XONCE_RETRY;
    end_transaction_natively(tx, arg);
    return XONCE_DONE;
}

START_TEST(a_replay_that_commits_by_itself_stays)
{
    xonce_store *s = open_store("GID_a");
    xonce_message *m = message("m1", "x");
    refusal no = {.reason = "no"};
    xonce_outcome what;
    ck_assert_int_eq(xonce_once(s, m, refuse, &no, &what), XONCE_OK);
    sql("UPDATE xonce_rejected SET replay_at = 1");
    xo_spec spec = {.one = commits, .arg = _i == 0 ? "COMMIT" : on == ON_SQLITE ? "COMMIT; BEGIN IMMEDIATE" : "COMMIT; BEGIN"};
    int found = 0;
    xo_item out;
    ck_assert_int_eq(xo_replay_next(s, NULL, &spec, &found, &out), XONCE_OK);
    ck_assert(found && out.outcome == XONCE_REJECTED);
    ck_assert_int_eq(sql_int("SELECT COUNT(*) FROM xonce_rejected WHERE replay_at IS NULL"), 1);
    ck_assert_int_eq(orders(), on == ON_SQLITE ? 0 : 1);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

START_TEST(a_lost_answer_while_replaying)
{
    static const char *const points[] = {"commit-sent=error@1", "handled=error@1", "committing=error@1"};
    xonce_store *s = open_store("GID_a");
    xonce_message *m = message("m1", "x");
    refusal no = {.reason = "no"};
    xonce_outcome what;
    ck_assert_int_eq(xonce_once(s, m, refuse, &no, &what), XONCE_OK);
    sql("UPDATE xonce_rejected SET replay_at = 1");
    xo_spec spec = {.one = book};
    int found = 0;
    xo_item out;
    ck_assert_int_eq(xo_failpoints_load(points[_i]), XONCE_OK);
    ck_assert_msg(xo_replay_next(s, NULL, &spec, &found, &out) == XONCE_OK, "%s", xonce_error_last()->text);
    xo_failpoints_load("");
    ck_assert(found && out.outcome == XONCE_FRESH);
    ck_assert_int_eq(orders(), 1);
    ck_assert_int_eq(rejected(), 0);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

/* ---- hooks, connections, thread-local errors ---- */

typedef struct {
    int made, gone, fail;
} connections;

static xonce_status on_connected(void *arg, xonce_tx *native, void **conn)
{
    connections *c = arg;
    if (c->fail == 1)
        return XONCE_E_SQL;
    if (c->fail == 2) /* queued: it fails when the hook has returned */
        xonce_exec(native, "DELETE FROM no_such_table");
    c->made++;
    *conn = c;
    return XONCE_OK;
}

static void on_disconnected(void *arg, void *conn)
{
    connections *c = arg;
    ck_assert_ptr_eq(conn, c);
    c->gone++;
}

START_TEST(what_a_hook_made_is_handed_back)
{
    xonce_store *s = open_store("GID_a");
    connections c = {0};
    xonce_hooks h = {.size = sizeof h, .connected = on_connected, .disconnected = on_disconnected};
    ck_assert_int_eq(xonce_store_hooks(s, &h, &c), XONCE_OK);
    ck_assert_int_eq(once(s, "m1", "x"), XONCE_FRESH);
    ck_assert_int_eq(c.made, c.gone + 1);
    xo_conn *held[3];
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(xo_pool_get(s->pool, &held[i]), XONCE_OK);
    for (c.fail = 1; c.fail <= 2; c.fail++) {
        xo_conn *more = NULL;
        ck_assert_int_ne(xo_pool_get(s->pool, &more), XONCE_OK);
        ck_assert_ptr_null(more);
        ck_assert_int_eq(c.made, c.gone + 3);
    }
    c.fail = 0;
    for (int i = 0; i < 3; i++)
        xo_pool_put(s->pool, held[i]);
    xonce_store_close(s);
    ck_assert_int_eq(c.made, c.gone);
}
END_TEST

START_TEST(groups_may_be_closed_in_any_order)
{
    xonce_store *a = open_store("GID_a"), *b = NULL;
    ck_assert_int_eq(xonce_store_for_group(&b, a, "GID_b"), XONCE_OK);
    xonce_store_close(a);
    ck_assert_int_eq(once(b, "m1", "one"), XONCE_FRESH);
    xonce_store_close(b);
}
END_TEST

static xonce_verdict looks_elsewhere(xonce_tx *tx, const xonce_message *m, void *arg)
{
    int64_t when = 0;
    if (xonce_store_seen(arg, "m0", &when) != XONCE_OK || xonce_store_seen(arg, xonce_message_id(m), &when) != XONCE_E_NOT_FOUND)
        return XONCE_REJECT;
    return book(tx, m, NULL);
}

START_TEST(a_handler_may_ask_the_store)
{
    xonce_store *s = open_store_with("GID_a", "store.connections", "2");
    once(s, "m0", "x");
    xonce_message *m = message("m1", "x");
    xonce_outcome what = XONCE_DEFERRED;
    ck_assert_int_eq(xonce_once(s, m, looks_elsewhere, s, &what), XONCE_OK);
    ck_assert_int_eq(what, XONCE_FRESH);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

static int ask_and_commit(const xonce_row *r, void *arg)
{
    (void)r;
    ck_assert_int_eq(xonce_tx_commit(arg), XONCE_E_INVALID);
    ck_assert_int_eq(xonce_tx_flush(arg), XONCE_E_INVALID);
    return 0;
}

START_TEST(a_commit_inside_a_row_callback)
{
    xonce_store *s = open_store("GID_a");
    xonce_tx *tx = NULL;
    xonce_message *m = message("m1", "x");
    ck_assert_int_eq(xonce_tx_begin(s, &tx), XONCE_OK);
    book(tx, m, NULL);
    ck_assert_int_eq(xonce_query(tx, "SELECT 1", NULL, 0, ask_and_commit, tx), XONCE_OK);
    ck_assert_int_eq(xonce_tx_commit(tx), XONCE_OK);
    ck_assert_int_eq(orders(), 1);
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

START_TEST(the_error_of_the_thread_stays)
{
    xonce_store *s = open_store("GID_a");
    ck_assert_int_eq(xonce_store_seen(s, "nobody", NULL), XONCE_E_NOT_FOUND);
    xonce_error before = *xonce_error_last();
    ck_assert_int_eq(xo_failpoints_load("committing=error@1"), XONCE_OK);
    xonce_message *m = message("m1", "x");
    xonce_outcome what;
    ck_assert_int_eq(xonce_once(s, m, book, NULL, &what), XONCE_OK);
    xo_failpoints_load("");
    ck_assert_int_eq(what, XONCE_FRESH);
    ck_assert_str_eq(xonce_error_last()->text, before.text); /* unchanged by calls that succeed */
    xonce_message_free(m);
    xonce_store_close(s);
}
END_TEST

/* ---- stop, and large batches ---- */

static xonce_verdict asks_to_stop(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)tx;
    (void)m;
    __atomic_store_n((int *)arg, 1, __ATOMIC_SEQ_CST);
    return XONCE_DONE;
}

START_TEST(a_stop_ends_the_tries)
{
    xonce_store *s = open_store_with("GID_a", "store.tries", "100");
    xo_item item = {.m = message("m1", "x")};
    int stop = 0;
    xo_spec spec = {.one = asks_to_stop, .arg = &stop, .stopping = &stop};
    ck_assert_int_eq(xo_failpoints_load("committing=error"), XONCE_OK);
    int64_t since = xo_mono_ms();
    ck_assert_int_ne(xo_run(s, &item, 1, &spec), XONCE_OK);
    xo_failpoints_load("");
    ck_assert_int_lt(xo_mono_ms() - since, 5000);
    ck_assert_int_eq(item.outcome, XONCE_DEFERRED);
    ck_assert_int_eq(orders() + records(), 0);
    xonce_message_free((xonce_message *)item.m);
    xonce_store_close(s);
}
END_TEST

static xonce_verdict book_all(xonce_tx *tx, xonce_batch *b, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < xonce_batch_count(b); i++)
        book(tx, xonce_batch_at(b, i), NULL);
    return XONCE_DONE;
}

START_TEST(the_largest_batch)
{
    enum { MOST = 4096 };
    xonce_store *s = open_store("GID_a");
    xonce_message **m = xo_calloc(MOST + 1, sizeof *m);
    xonce_outcome *what = xo_calloc(MOST + 1, sizeof *what);
    for (int i = 0; i <= MOST; i++) {
        char id[32];
        snprintf(id, sizeof id, "m%d", i * 7919 % 3000); /* copies, and no order */
        m[i] = message(id, i % 1001 ? "x" : "another");
    }
    ck_assert_int_eq(xonce_once_batch(s, (const xonce_message *const *)m, MOST + 1, book_all, NULL, what), XONCE_E_INVALID);
    int64_t fresh = 0;
    for (int round = 0; round < 2; round++) {
        ck_assert_msg(xonce_once_batch(s, (const xonce_message *const *)m, MOST, book_all, NULL, what) == XONCE_OK, "%s", xonce_error_last()->text);
        for (int i = 0; i < MOST; i++) {
            ck_assert(what[i] == XONCE_FRESH || what[i] == XONCE_DUPLICATE);
            fresh += what[i] == XONCE_FRESH;
        }
        ck_assert_int_eq(fresh, orders());
        ck_assert_int_eq(fresh, records());
    }
    ck_assert_int_gt(fresh, 3000);
    for (int i = 0; i <= MOST; i++)
        xonce_message_free(m[i]);
    free(m);
    free(what);
    xonce_store_close(s);
}
END_TEST

Suite *suite_corners(void)
{
    Suite *s = suite_create("corners");
    TCase *t = tcase_create("corners");
    tcase_add_checked_fixture(t, fresh_database, NULL);
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, the_first_of_two_bodies_leaves, 0, 4);
    tcase_add_loop_test(t, a_body_that_was_applied_behind_a_new_one, 0, 2);
    tcase_add_test(t, where_collisions_reject_the_first_must_be_committed);
    tcase_add_loop_test(t, a_forged_id_of_a_collision, 0, 3);
    tcase_add_test(t, many_failing_lanes);
    tcase_add_test(t, an_id_that_is_free_again_by_a_lane_held_up);
    tcase_add_test(t, a_stale_message_holds_up_its_lane);
    tcase_add_test(t, a_message_held_elsewhere_holds_up_its_lane);
    tcase_add_loop_test(t, reasons_that_are_no_text, 0, 3);
    tcase_add_test(t, a_body_is_not_given_up_for_a_passing_reason);
    tcase_add_loop_test(t, a_lost_answer_while_rejecting, 0, 3);
    tcase_add_test(t, rejected_again_after_its_record_was_pruned);
    tcase_add_loop_test(t, a_replay_that_commits_by_itself_stays, 0, 2);
    tcase_add_loop_test(t, a_lost_answer_while_replaying, 0, 3);
    tcase_add_test(t, what_a_hook_made_is_handed_back);
    tcase_add_test(t, groups_may_be_closed_in_any_order);
    tcase_add_test(t, a_handler_may_ask_the_store);
    tcase_add_test(t, a_commit_inside_a_row_callback);
    tcase_add_test(t, the_error_of_the_thread_stays);
    tcase_add_test(t, a_stop_ends_the_tries);
    tcase_add_test(t, the_largest_batch);
    suite_add_tcase(s, t);
    return s;
}
