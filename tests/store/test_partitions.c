/* The record table split by day, over whichever of XONCE_TEST_POSTGRES_URI and XONCE_TEST_MYSQL_URI is set; MariaDB also taken as MySQL. */
#include "base/clock.h"
#include "store/partition.h"
#include "store/prune.h"
#include "store/run.h"
#include "store/settled.h"
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY ((int64_t)86400000)
#define KEEP "172800000" /* 2 days */
enum { OLD = 3 };        /* days ago: old enough to go, too young to be deleted one by one */

static struct {
    const char *uri, *dialect;
} engines[3];
static int nengines;
static const char *uri, *dialect;
static xonce_store *s;
static int64_t today;

/* ---- help ---- */

static xonce_store *open_as(const char *where, const char *group)
{
    xonce_config *cfg = NULL;
    xonce_store *out = NULL;
    ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(cfg, "store.connections", "8"), XONCE_OK);
    if (dialect)
        ck_assert_int_eq(xonce_config_set(cfg, "mysql.dialect", dialect), XONCE_OK);
    ck_assert_msg(xonce_store_open(&out, where, group, cfg) == XONCE_OK, "%s", xonce_error_last()->text);
    xonce_config_free(cfg);
    return out;
}

static void sql(const char *text)
{
    ck_assert_msg(xo_store_query(s, text, NULL, 0, NULL, NULL, NULL) == XONCE_OK, "%s: %s", text, xonce_error_last()->text);
}

static int on_int(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = xonce_row_int(r, 0);
    return 1;
}

static int64_t number(const char *text)
{
    int64_t n = -1;
    ck_assert_msg(xo_store_query(s, text, NULL, 0, on_int, &n, NULL) == XONCE_OK, "%s: %s", text, xonce_error_last()->text);
    return n;
}

/* The statement followed by a number. */
static int64_t number_with(const char *text, int64_t n)
{
    char all[300];
    snprintf(all, sizeof all, "%s%lld", text, (long long)n);
    return number(all);
}

/* As if the records had been written so much earlier. */
static void older(int64_t ms)
{
    char text[120];
    snprintf(text, sizeof text, "UPDATE transaction_record SET ctime = ctime - %lld", (long long)ms);
    sql(text);
}

#define records() number("SELECT COUNT(*) FROM transaction_record")
#define orders() number("SELECT COUNT(*) FROM orders")
#define is_pg() (s->d->kind == XO_DIALECT_PG)

static void drop_all(void)
{
    static const char *const tables[] = {"orders", "transaction_record", "xonce_rejected", "xonce_watermark", "xonce_settled", "xonce_store", "xonce_released"};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        char text[80];
        snprintf(text, sizeof text, "DROP TABLE IF EXISTS %s", tables[i]);
        sql(text);
    }
}

static void start(int engine)
{
    uri = engines[engine].uri;
    dialect = engines[engine].dialect;
    s = open_as(uri, "GID_a");
    drop_all();
    ck_assert_msg(xo_store_init_partitioned(s) == XONCE_OK, "%s", xonce_error_last()->text);
    sql("CREATE TABLE orders (id varchar(200) NOT NULL)");
    today = xo_now_ms() / DAY;
}

static void finish(void)
{
    drop_all();
    xonce_store_close(s);
    s = NULL;
}

static xonce_verdict book(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    return xonce_exec(tx, "INSERT INTO orders (id) VALUES ($1)", xonce_text(xonce_message_id(m))) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

/* Stored `ago` days ago, in queue 1 of broker b; offset -1: without a place, and with `ago` -1 without a store time. */
static xonce_message *stored(const char *id, int ago, int64_t offset)
{
    xonce_message *m = NULL;
    ck_assert_int_eq(xonce_message_new(&m, "orders", id, "body", 4), XONCE_OK);
    if (ago >= 0)
        m->store_time = (today - ago) * DAY + 1000;
    if (offset >= 0) {
        ck_assert_int_eq(xonce_message_set_origin(m, "b", 1, offset), XONCE_OK);
        m->log_offset = 100 * offset;
    }
    return m;
}

/* A copy whose original is not known: as somebody's fallback sends it. */
static xonce_message *lost_copy(const char *id)
{
    xonce_message *m = stored(id, -1, -1);
    m->copy_topic = xo_strdup("%RETRY%GID_a");
    m->copy_broker = xo_strdup("b");
    m->copy_queue = 0;
    m->copy_offset = 7;
    m->copy_store_time = today * DAY;
    m->copy_log_offset = 9000;
    return m;
}

static xonce_outcome went(xonce_store *with, xonce_message *m)
{
    xonce_outcome what = XONCE_DEFERRED;
    ck_assert_msg(xonce_once(with, m, book, NULL, &what) == XONCE_OK, "%s", xonce_error_last()->text);
    xonce_message_free(m);
    return what;
}

/* Offsets first to next of queue 1 are settled. */
static void settled(xonce_store *with, int64_t first, int64_t next)
{
    xo_range r = {.topic = (char *)(uintptr_t)"orders", .broker = (char *)(uintptr_t)"b", .tags = (char *)(uintptr_t)"*", .queue = 1, .first = first, .next = next, .last_store_time = (today + 1) * DAY,
                  .last_log_offset = 100 * next};
    ck_assert_msg(xo_store_positions()->save(with, &r, 1) == XONCE_OK, "%s", xonce_error_last()->text);
}

/* As if each message had been applied on the day on which it was stored. */
static void age(void)
{
    sql("UPDATE transaction_record SET ctime = store_time WHERE store_time IS NOT NULL");
}

static int64_t prune(xonce_store *with)
{
    int64_t gone = -1;
    ck_assert_int_eq(xonce_store_caught_up(with), XONCE_OK);
    ck_assert_msg(xonce_store_prune(with, strtoll(KEEP, NULL, 10), 0, &gone) == XONCE_OK, "%s", xonce_error_last()->text);
    return gone;
}

static xo_days days(void)
{
    xo_days d = {0};
    xo_conn *c = NULL;
    ck_assert_int_eq(xo_pool_get(s->pool, &c), XONCE_OK);
    ck_assert_msg(s->d->days(c, &d) == XONCE_OK, "%s", xonce_error_last()->text);
    xo_pool_put(s->pool, c);
    return d;
}

static int has(int64_t day)
{
    xo_days d = days();
    int is = 0;
    for (size_t i = 0; i < d.n; i++)
        is |= d.day[i] == day;
    free(d.day);
    return is;
}

/* The partitions from so many days ahead on go. */
static void lose_days(int from)
{
    for (int i = from; i <= 7; i++) {
        char date[16], text[120];
        xo_day_text((int32_t)(today + i), date);
        snprintf(text, sizeof text, is_pg() ? "DROP TABLE transaction_record_%s" : "ALTER TABLE transaction_record DROP PARTITION p%s", date);
        sql(text);
    }
}

/* ---- the table ---- */

START_TEST(days_are_made_ahead)
{
    start(_i);
    xo_days d = days();
    ck_assert_uint_eq(d.n, 12);
    for (size_t i = 0; i < d.n; i++)
        ck_assert_int_eq(d.day[i], today - 4 + (int64_t)i);
    free(d.day);
    lose_days(5);
    ck_assert(!has(today + 7));
    int64_t gone = -1;
    ck_assert_int_eq(xonce_store_prune(s, strtoll(KEEP, NULL, 10), 0, &gone), XONCE_OK); /* nobody is caught up: it deletes nothing */
    ck_assert_int_eq(gone, 0);
    ck_assert(has(today + 5) && has(today + 6) && has(today + 7));
    ck_assert_int_eq(xonce_store_upgrade(s), XONCE_OK); /* a plain init leaves it partitioned */
    ck_assert_int_eq(xo_store_init_partitioned(s), XONCE_OK);
    ck_assert(xo_store_is_partitioned(s));
    finish();
}
END_TEST

static void on_finding(const xonce_finding *f, void *arg)
{
    char *all = arg;
    size_t n = strlen(all);
    if (f->severity >= 1)
        snprintf(all + n, 2000 - n, "%d %s; ", f->severity, f->what);
}

START_TEST(check_understands_it)
{
    start(_i);
    char all[2000] = "";
    ck_assert_int_eq(xonce_store_check(s, on_finding, all), XONCE_OK);
    ck_assert_msg(strstr(all, "transaction_record") == NULL && strstr(all, "xonce_") == NULL, "%s", all);
    lose_days(2);
    sql("DROP TABLE xonce_released");
    all[0] = 0;
    ck_assert_int_eq(xonce_store_check(s, on_finding, all), XONCE_OK);
    ck_assert_msg(strstr(all, "partitions for 2 of the next 4 days") && strstr(all, "xonce_released is missing"), "%s", all);
    finish();
}
END_TEST

START_TEST(a_plain_table_stays_plain)
{
    start(_i);
    drop_all();
    ck_assert_int_eq(xonce_store_upgrade(s), XONCE_OK);
    ck_assert_int_eq(xo_store_init_partitioned(s), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "not partitioned"));
    ck_assert(!xo_store_is_partitioned(s));
    sql("CREATE TABLE orders (id varchar(200) NOT NULL)");
    ck_assert_int_eq(went(s, stored("a", 1, 1)), XONCE_FRESH);
    sql("DROP TABLE transaction_record"); /* the same store finds another table in its place */
    ck_assert_int_eq(xo_store_init_partitioned(s), XONCE_OK);
    xonce_outcome what = XONCE_DEFERRED;
    for (int i = 0; i < 3 && what != XONCE_FRESH; i++) {
        xonce_message *m = stored("a", 1, 1);
        (void)xonce_once(s, m, book, NULL, &what);
        xonce_message_free(m);
    }
    ck_assert_msg(what == XONCE_FRESH, "%s", xonce_error_last()->text);
    ck_assert_int_eq(went(s, stored("a", 1, 1)), XONCE_DUPLICATE);
    finish();
}
END_TEST

static void count_pieces(const char *text, void *arg)
{
    *(int *)arg += 1;
    if (strncmp(text, "--", 2) != 0 || strchr(text, '\n'))
        sql(text);
}

START_TEST(printed_sql_makes_it)
{
    start(_i);
    int n = 0;
    drop_all();
    ck_assert_msg(xo_store_print_partitioned(uri, count_pieces, &n) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_ge(n, 7);
    ck_assert(xo_store_is_partitioned(s) && has(today) && has(today + 7));
    ck_assert_int_eq(xo_store_print_partitioned("sqlite:x", count_pieces, &n), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "--partitioned"));
    finish();
}
END_TEST

/* ---- claims ---- */

START_TEST(a_redelivery_is_a_duplicate_on_any_day)
{
    start(_i);
    static const int ago[] = {0, 1, 3, 40, 20000}; /* the last ones have no partition of their own */
    for (size_t i = 0; i < sizeof ago / sizeof *ago; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%zu", i);
        ck_assert_int_eq(went(s, stored(id, ago[i], (int64_t)i)), XONCE_FRESH);
        ck_assert_int_eq(number_with("SELECT COUNT(*) FROM transaction_record WHERE store_day = ", today - ago[i]), 1);
    }
    ck_assert_int_eq(xonce_store_caught_up(s), XONCE_OK);
    older(DAY); /* a day later */
    for (size_t i = 0; i < sizeof ago / sizeof *ago; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%zu", i);
        ck_assert_int_eq(went(s, stored(id, ago[i], (int64_t)i)), XONCE_DUPLICATE);
    }
    xonce_message *m = stored("ahead", 0, 99);
    m->store_time += 400 * DAY; /* a broker whose clock is wrong */
    ck_assert_int_eq(went(s, m), XONCE_FRESH);
    m = stored("ahead", 0, 99);
    m->store_time += 400 * DAY;
    ck_assert_int_eq(went(s, m), XONCE_DUPLICATE);
    ck_assert_int_eq(orders(), 6);
    finish();
}
END_TEST

START_TEST(what_a_producer_sends_again_on_another_day_is_new)
{
    start(_i);
    ck_assert_int_eq(went(s, stored("a", 1, 1)), XONCE_FRESH);
    ck_assert_int_eq(went(s, stored("a", 1, 2)), XONCE_DUPLICATE); /* on the same day: known by its id */
    ck_assert_int_eq(went(s, stored("a", 0, 3)), XONCE_FRESH);     /* the price of this table */
    ck_assert_int_eq(records(), 2);
    settled(s, 0, 5);
    ck_assert_int_eq(went(s, stored("a", 2, 4)), XONCE_DUPLICATE); /* covered: only its own claim is taken back */
    ck_assert_int_eq(records(), 2);
    finish();
}
END_TEST

START_TEST(with_and_without_a_store_time)
{
    start(_i);
    ck_assert_int_eq(went(s, stored("a", 1, 1)), XONCE_FRESH);
    ck_assert_int_eq(went(s, lost_copy("a")), XONCE_DUPLICATE);
    ck_assert_int_eq(went(s, lost_copy("b")), XONCE_FRESH);
    ck_assert_int_eq(went(s, stored("b", 1, 2)), XONCE_DUPLICATE);
    ck_assert_int_eq(went(s, stored("b", 30, 2)), XONCE_DUPLICATE);
    ck_assert_int_eq(went(s, lost_copy("b")), XONCE_DUPLICATE);
    ck_assert_int_eq(went(s, stored("own", -1, -1)), XONCE_FRESH);
    ck_assert_int_eq(went(s, stored("own", -1, -1)), XONCE_DUPLICATE);
    ck_assert_int_eq(went(s, stored("own", 0, 3)), XONCE_DUPLICATE);
    ck_assert_int_eq(orders(), 3);
    ck_assert_int_eq(records(), 3);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record WHERE store_day = -1"), 2);
    xonce_message *m[4] = {stored("c", 1, 5), lost_copy("a"), lost_copy("d"), stored("b", 2, 6)};
    xo_item items[4];
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < 4; i++)
        items[i] = (xo_item){.m = m[i], .outcome = XONCE_DEFERRED};
    xo_spec spec = {.one = book};
    ck_assert_int_eq(xo_run(s, items, 4, &spec), XONCE_OK);
    ck_assert_int_eq(items[0].outcome, XONCE_FRESH);
    ck_assert_int_eq(items[1].outcome, XONCE_DUPLICATE);
    ck_assert_int_eq(items[2].outcome, XONCE_FRESH);
    ck_assert_int_eq(items[3].outcome, XONCE_DUPLICATE);
    for (size_t i = 0; i < 4; i++)
        xonce_message_free(m[i]);
    ck_assert_int_eq(orders(), 5);
    finish();
}
END_TEST

static xonce_status by_body(const xonce_message *m, char *out, size_t size, void *arg)
{
    (void)arg;
    snprintf(out, size, "%s", (const char *)xonce_message_body(m, NULL));
    return XONCE_OK;
}

static xonce_verdict refuse(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)tx;
    (void)m;
    (void)arg;
    return XONCE_REJECT;
}

/* The same id on several days: what is kept of one message must not stand for another. */
START_TEST(rejected_on_several_days)
{
    start(_i);
    static const char *const bodies[] = {"one", "one", "two", "two"};
    for (int i = 0; i < 4; i++) {
        xonce_message *m = NULL;
        xonce_outcome what = XONCE_DEFERRED;
        ck_assert_int_eq(xonce_message_new(&m, "orders", "a", bodies[i], 3), XONCE_OK);
        m->store_time = (today - i) * DAY;
        ck_assert_msg(xonce_once(s, m, refuse, NULL, &what) == XONCE_OK, "%s", xonce_error_last()->text);
        ck_assert_int_eq(what, XONCE_REJECTED);
        xonce_message_free(m);
    }
    ck_assert_int_eq(records(), 4);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM xonce_rejected"), 2);
    finish();
}
END_TEST

/* A key of the user's own making holds on any day: that is what it was made for. */
START_TEST(own_ids_hold_on_any_day)
{
    start(_i);
    xonce_store *own = open_as(uri, "GID_a");
    xonce_store_identify(own, by_body, NULL);
    ck_assert_int_eq(went(own, stored("x", 1, 1)), XONCE_FRESH);
    ck_assert_int_eq(went(own, stored("y", 0, 2)), XONCE_DUPLICATE);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record WHERE store_day = -1"), 1);
    xonce_store_close(own);
    finish();
}
END_TEST

enum { RACES = 150 };

typedef struct {
    int copies;
    pthread_barrier_t *gate;
    xonce_store *with;
    int failed;
} racer;

static void *race(void *arg)
{
    racer *r = arg;
    for (int i = 0; i < RACES; i++) {
        char id[16];
        xonce_outcome what = XONCE_DEFERRED;
        snprintf(id, sizeof id, "r%d", i);
        xonce_message *m = r->copies ? lost_copy(id) : stored(id, 1, i);
        pthread_barrier_wait(r->gate);
        for (int k = 0; k < 20 && what == XONCE_DEFERRED; k++)
            r->failed |= xonce_once(r->with, m, book, NULL, &what) != XONCE_OK;
        xonce_message_free(m);
    }
    return NULL;
}

START_TEST(with_and_without_a_store_time_at_once)
{
    start(_i);
    pthread_barrier_t gate;
    pthread_t t[3];
    racer r[3];
    pthread_barrier_init(&gate, NULL, 3);
    for (int i = 0; i < 3; i++) {
        r[i] = (racer){.copies = i == 1, .gate = &gate, .with = s};
        ck_assert_int_eq(pthread_create(&t[i], NULL, race, &r[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    pthread_barrier_destroy(&gate);
    ck_assert_int_eq(orders(), RACES);
    ck_assert_int_eq(number("SELECT COUNT(DISTINCT id) FROM orders"), RACES);
    ck_assert_int_eq(records(), RACES);
    finish();
}
END_TEST

/* ---- dropping ---- */

START_TEST(a_day_goes_as_a_whole)
{
    start(_i);
    for (int i = 0; i < 20; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        ck_assert_int_eq(went(s, stored(id, i < 10 ? OLD : 1, i)), XONCE_FRESH);
    }
    age();
    ck_assert_int_eq(prune(s), 0); /* nothing remembers them but their records */
    ck_assert(has(today - OLD));
    settled(s, 0, 30);
    ck_assert_int_eq(prune(s), 10);
    ck_assert(!has(today - OLD) && has(today - 1));
    ck_assert_int_eq(records(), 10);
    ck_assert_int_eq(went(s, stored("m3", OLD, 3)), XONCE_DUPLICATE); /* by its range */
    ck_assert_int_eq(went(s, stored("m13", 1, 13)), XONCE_DUPLICATE);
    ck_assert_int_eq(went(s, stored("late", OLD, 50)), XONCE_FRESH);  /* of a day that has no partition any more */
    ck_assert_int_eq(went(s, stored("late", OLD, 50)), XONCE_DUPLICATE);
    ck_assert_int_eq(orders(), 21);
    finish();
}
END_TEST

START_TEST(one_record_that_is_not_covered_keeps_its_day)
{
    start(_i);
    settled(s, 0, 10);
    for (int i = 0; i < 9; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        ck_assert_int_eq(went(s, stored(id, OLD, 100 + i)), XONCE_FRESH);
    }
    ck_assert_int_eq(went(s, stored("open", OLD, 200)), XONCE_FRESH);
    age();
    settled(s, 0, 150);
    ck_assert_int_eq(prune(s), 0);
    ck_assert_int_eq(records(), 10);
    ck_assert(has(today - OLD));
    settled(s, 0, 201);
    ck_assert_int_eq(prune(s), 10);
    ck_assert(!has(today - OLD));
    finish();
}
END_TEST

START_TEST(a_record_of_another_group_keeps_its_day)
{
    start(_i);
    xonce_store *other = open_as(uri, "GID_b");
    ck_assert_int_eq(went(s, stored("a", OLD, 1)), XONCE_FRESH);
    ck_assert_int_eq(went(other, stored("a", OLD, 1)), XONCE_FRESH);
    ck_assert_int_eq(went(other, stored("b", OLD, 20)), XONCE_FRESH);
    age();
    settled(s, 0, 10);
    settled(other, 0, 30);
    ck_assert_int_eq(prune(s), 0); /* it may be young for the other group, which has not said how long it needs it */
    ck_assert_int_eq(records(), 3);
    int64_t gone = -1;
    ck_assert_int_eq(xonce_store_caught_up(other), XONCE_OK);
    ck_assert_int_eq(xonce_store_prune(other, 10 * DAY, 0, &gone), XONCE_OK); /* 10 days */
    ck_assert_int_eq(prune(s), 0);
    sql("UPDATE xonce_settled SET next_offset = 10, last_log_offset = 1000 WHERE consumer_group = 'GID_b'");
    ck_assert_int_eq(prune(other), 0); /* 2 days, but one is not covered for it */
    ck_assert_int_eq(prune(s), 0);
    ck_assert_int_eq(records(), 3);
    settled(other, 0, 30);
    ck_assert_int_eq(prune(s), 3);
    ck_assert(!has(today - OLD));
    xonce_store_close(other);
    finish();
}
END_TEST

START_TEST(a_record_that_is_younger_than_its_day_keeps_it)
{
    start(_i);
    settled(s, 0, 1);
    ck_assert_int_eq(went(s, stored("a", OLD, 1)), XONCE_FRESH);
    age();
    ck_assert_int_eq(went(s, stored("b", OLD, 2)), XONCE_FRESH); /* applied just now */
    settled(s, 0, 10);
    ck_assert_int_eq(prune(s), 0);
    ck_assert_int_eq(records(), 2);
    sql("UPDATE transaction_record SET ctime = store_time WHERE message_id = 'b#GID_a'");
    ck_assert_int_eq(prune(s), 2);
    ck_assert(!has(today - OLD));
    finish();
}
END_TEST

/* Another group keeps the day: one's own records are deleted, later. */
START_TEST(what_cannot_be_dropped_is_deleted_later)
{
    start(_i);
    xonce_store *other = open_as(uri, "GID_b");
    for (int i = 0; i < 5; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        ck_assert_int_eq(went(s, stored(id, OLD, i)), XONCE_FRESH);
        ck_assert_int_eq(went(s, stored(id, 60, 10 + i)), XONCE_FRESH);
    }
    ck_assert_int_eq(went(other, stored("a", OLD, 1)), XONCE_FRESH);
    ck_assert_int_eq(went(other, stored("a", 60, 2)), XONCE_FRESH);
    ck_assert_int_eq(went(s, stored("open", 60, 99)), XONCE_FRESH);
    age();
    settled(s, 0, 20);
    ck_assert_int_eq(prune(s), 5); /* those of 60 days ago */
    ck_assert_int_eq(records(), 8);
    older(3 * DAY);
    ck_assert_int_eq(prune(s), 5);
    ck_assert_int_eq(records(), 3);
    ck_assert_int_eq(number("SELECT COUNT(*) FROM transaction_record WHERE consumer_group = 'GID_b'"), 2);
    xonce_store_close(other);
    finish();
}
END_TEST

START_TEST(what_has_no_day_is_deleted_by_age)
{
    start(_i);
    for (int i = 0; i < 30; i++) {
        char id[16];
        snprintf(id, sizeof id, "own%d", i);
        ck_assert_int_eq(went(s, stored(id, -1, -1)), XONCE_FRESH);
    }
    ck_assert_int_eq(prune(s), 0);
    older(3 * DAY);
    ck_assert_int_eq(went(s, stored("young", -1, -1)), XONCE_FRESH);
    ck_assert_int_eq(prune(s), 30);
    ck_assert_int_eq(records(), 1);
    finish();
}
END_TEST

/* Its transaction is open: the day stays, whatever else is in it. */
START_TEST(an_open_claim_keeps_its_day)
{
    start(_i);
    ck_assert_int_eq(went(s, stored("a", OLD, 1)), XONCE_FRESH);
    age();
    settled(s, 0, 3);
    xonce_tx *tx = NULL;
    xonce_message *m = stored("open", OLD, 8);
    ck_assert_int_eq(xonce_tx_begin(s, &tx), XONCE_OK);
    const xonce_message *claimed[] = {m};
    xonce_outcome what = XONCE_DEFERRED;
    xonce_status st = xonce_tx_claim(tx, claimed, 1, &what);
    ck_assert_msg(st == XONCE_OK && what == XONCE_FRESH, "%s", xonce_error_last()->text);
    int64_t began = xo_mono_ms();
    ck_assert_int_eq(prune(s), 0);
    ck_assert_int_lt(xo_mono_ms() - began, 6000);
    ck_assert_int_eq(xonce_tx_commit(tx), XONCE_OK);
    xonce_message_free(m);
    ck_assert_int_eq(prune(s), 0); /* young, and not covered */
    ck_assert_int_eq(records(), 2);
    ck_assert_int_eq(went(s, stored("open", OLD, 8)), XONCE_DUPLICATE);
    finish();
}
END_TEST

enum { ROUNDS = 80, COVERED = 1000 };

/* Records that are covered and old enough, of that day. */
static void fill_day(int64_t day)
{
    xo_buf b = {0};
    xo_buf_printf(&b, "INSERT INTO transaction_record (consumer_group, message_id, topic_name, ctime, queue_id, %s, broker_name, store_time, log_offset, digest, store_day) VALUES ", s->d->quoted_offset);
    for (int i = 0; i < COVERED; i++)
        xo_buf_printf(&b, "%s('GID_a', 'old%lld-%d#GID_a', 'orders', 1000, 1, %d, 'b', 1000, 0, '', %lld)", i ? ", " : "", (long long)day, i, i % 10, (long long)day);
    ck_assert_int_eq(xo_buf_status(&b), XONCE_OK);
    sql(b.p);
    xo_buf_free(&b);
}

typedef struct {
    int64_t day;
    int number, pause_us;
    xonce_outcome what;
} late;

static void *claim_late(void *arg)
{
    late *l = arg;
    for (int64_t until = xo_mono_us() + l->pause_us; xo_mono_us() < until;)
        ;
    for (int i = 0; i < 20 && l->what == XONCE_DEFERRED; i++) {
        char id[32];
        snprintf(id, sizeof id, "late%lld-%d", (long long)l->day, l->number);
        xonce_message *m = stored(id, 0, 1000 + l->number);
        m->store_time = l->day * DAY;
        (void)xonce_once(s, m, book, NULL, &l->what);
        xonce_message_free(m);
    }
    return NULL;
}

/* A late message of the very day that is being dropped, again and again. */
START_TEST(claims_race_with_a_drop)
{
    start(_i);
    int gone = 0, stayed = 0;
    settled(s, 0, 100);
    ck_assert_int_eq(prune(s), 0); /* says how long the records are needed */
    for (int i = 0; i < ROUNDS; i++) {
        int32_t day = (int32_t)(today + 8 + i);
        xo_conn *c = NULL;
        pthread_t t[2];
        late l[2];
        ck_assert_int_eq(xo_pool_get(s->pool, &c), XONCE_OK);
        ck_assert_msg(s->d->day_add(c, &day, 1) == XONCE_OK, "%s", xonce_error_last()->text);
        fill_day(day);
        for (int k = 0; k < 2; k++) {
            l[k] = (late){.day = day, .number = k, .pause_us = (i * 2 + k) * 37 % 120 * 500, .what = XONCE_DEFERRED};
            ck_assert_int_eq(pthread_create(&t[k], NULL, claim_late, &l[k]), 0);
        }
        xo_day_end what = XO_DAY_BUSY;
        int64_t rows = 0;
        (void)s->d->day_end(c, day, &what, &rows);
        for (int k = 0; k < 2; k++)
            pthread_join(t[k], NULL);
        xo_pool_put(s->pool, c);
        gone += rows > 0;
        stayed += rows == 0;
        ck_assert(l[0].what == XONCE_FRESH && l[1].what == XONCE_FRESH);
        ck_assert_msg(number_with("SELECT COUNT(*) FROM transaction_record WHERE message_id LIKE 'late%' AND store_day = ", day) == 2, "round %d: a record is lost", i);
    }
    ck_assert_int_eq(orders(), 2 * ROUNDS);
    printf("# %d days went, %d were needed first\n", gone, stayed);
    ck_assert_int_gt(gone, 0);
    finish();
}
END_TEST

/* ---- rights ---- */

static void make_user(char *out, size_t size)
{
    xo_uri u;
    if (is_pg())
        sql("DROP OWNED BY xonce_dml");
    ck_assert_int_eq(xo_uri_parse(&u, uri), XONCE_OK);
    snprintf(out, size, "%s://xonce_dml:dml@%s:%d%s%s", u.scheme, u.host, u.port, u.path && *u.path == '/' ? "" : "/", u.path ? u.path : "");
    xo_uri_free(&u);
}

START_TEST(without_the_right_to_change_the_table)
{
    start(_i);
    char as[300];
    if (is_pg()) {
        (void)xo_store_query(s, "CREATE ROLE xonce_dml LOGIN PASSWORD 'dml'", NULL, 0, NULL, NULL, NULL);
        make_user(as, sizeof as);
        sql("GRANT USAGE ON SCHEMA public TO xonce_dml");
        sql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO xonce_dml");
    } else {
        sql("CREATE USER IF NOT EXISTS xonce_dml IDENTIFIED BY 'dml'");
        make_user(as, sizeof as);
        sql("GRANT SELECT, INSERT, UPDATE, DELETE ON xonce.* TO xonce_dml");
    }
    lose_days(2);
    xonce_store *few = open_as(as, "GID_a");
    ck_assert_int_eq(went(few, stored("a", OLD, 1)), XONCE_FRESH);
    ck_assert_int_eq(went(few, stored("b", 60, 2)), XONCE_FRESH);
    ck_assert_int_eq(went(few, lost_copy("c")), XONCE_FRESH);
    age();
    settled(s, 0, 10);
    ck_assert_int_eq(prune(few), 1); /* what is stuck */
    ck_assert(has(today - OLD) && !has(today + 2));
    xonce_message *m = stored("ahead", 0, 99);
    m->store_time += 5 * DAY;
    ck_assert_int_eq(went(few, m), XONCE_FRESH);
    xonce_store_close(few);
    ck_assert_int_eq(prune(s), 1); /* the owner drops the day */
    ck_assert(!has(today - OLD));
    ck_assert(has(today + 2) && (has(today + 5) == !is_pg())); /* in PostgreSQL a record of that day is in the way, in MySQL it moves */
    m = stored("ahead", 0, 99);
    m->store_time += 5 * DAY;
    ck_assert_int_eq(went(s, m), XONCE_DUPLICATE);
    if (is_pg())
        sql("DROP OWNED BY xonce_dml");
    finish();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        days_are_made_ahead,
        check_understands_it,
        a_plain_table_stays_plain,
        printed_sql_makes_it,
        a_redelivery_is_a_duplicate_on_any_day,
        what_a_producer_sends_again_on_another_day_is_new,
        with_and_without_a_store_time,
        own_ids_hold_on_any_day,
        rejected_on_several_days,
        with_and_without_a_store_time_at_once,
        a_day_goes_as_a_whole,
        one_record_that_is_not_covered_keeps_its_day,
        a_record_of_another_group_keeps_its_day,
        a_record_that_is_younger_than_its_day_keeps_it,
        what_cannot_be_dropped_is_deleted_later,
        what_has_no_day_is_deleted_by_age,
        an_open_claim_keeps_its_day,
        claims_race_with_a_drop,
        without_the_right_to_change_the_table,
    };
    const char *pg = getenv("XONCE_TEST_POSTGRES_URI"), *my = getenv("XONCE_TEST_MYSQL_URI");
    if (pg && *pg)
        engines[nengines++].uri = pg;
    if (my && *my) {
        engines[nengines++].uri = my;
        engines[nengines].uri = my;
        engines[nengines++].dialect = "mysql";
    }
    if (!nengines) {
        printf("1..0 # SKIP neither XONCE_TEST_POSTGRES_URI nor XONCE_TEST_MYSQL_URI is set\n");
        return 0;
    }
    Suite *suite = suite_create("partitions");
    TCase *tc = tcase_create("all");
    tcase_set_timeout(tc, 120);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_loop_test(tc, tests[i], 0, nengines);
    suite_add_tcase(suite, tc);
    SRunner *sr = srunner_create(suite);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
