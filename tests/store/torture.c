/* Torture: threads and a process that is killed again and again deliver the same messages over and over, with handlers that do everything wrong, on connections that break; SQL judges what is left.
 *
 * A run is a row of generations, each with messages of its own and one of three kinds of trouble. When its time is up all its messages are delivered to good handlers until they are settled; then each
 * must be applied once, whole, or stand in xonce_rejected, and what was said about it must be true.
 * XONCE_TORTURE_SEED repeats a run as far as threads can, XONCE_TORTURE_SECONDS sets its length. */
#include "suite.h"
#include "base/buf.h"
#include "base/failpoint.h"
#include "xonce/mysql.h"
#include "xonce/postgres.h"
#include "xonce/sqlite.h"

#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>

enum { THREADS = 4, POOL = 600, WINDOW = 48, TAKE_MAX = 24, SETTLE_MS = 120000 };
typedef enum { QUIET, FAULTS, ESCAPES, MODES } trouble; /* FAULTS breaks connections, in ESCAPES handlers end transactions */
static const char *const mode_name[] = {"quiet", "faults", "escapes"};

extern char **environ;
engine on;
const char *store_uri;

/* What was said about a message, and by whom. */
typedef struct {
    int fresh, duplicate, rejected, escaped;
} said;

static struct {
    int number;
    trouble mode;
    uint64_t seed;
    int until_stop;     /* 1: over */
    int deliveries[POOL];
    said said[POOL];
    xonce_store *store;
    long start;         /* of the other process: where the front was when it began, and 1 at least */
    long calls, kills, errors, restarts;
} gen;

/* What SQL says. */
typedef struct {
    int part[2][POOL], kept[POOL];
    int64_t undone, records;
} truth;

static char problems[4000];

static void problem(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void problem(const char *fmt, ...)
{
    char line[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    size_t n = strlen(problems);
    snprintf(problems + n, sizeof problems - n, "# %s\n", line);
}

static void die(const char *what)
{
    if (!gen.start)
        printf("Bail out! %s: %s\n", what, xonce_error_last()->text);
    exit(1);
}

/* ---- chance ---- */

typedef struct {
    uint64_t x;
    int child;
    int broke; /* a handler of this delivery ended the transaction */
    int batch; /* 1 or 2: inside of a batch handler */
    void *native; /* of joined transactions */
} chance;

static uint64_t next(chance *c)
{
    uint64_t z = (c->x += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int below(chance *c, int n)
{
    return (int)(next(c) % (uint64_t)n);
}

/* ---- messages: number k has the body "b<k>"; some share their id with the one before ---- */

static xonce_message *deliver(int k)
{
    char id[40], body[16], lane[16];
    snprintf(id, sizeof id, "g%d-%d", gen.number, k % 5 == 1 ? k - 1 : k);
    snprintf(body, sizeof body, "b%d", k);
    snprintf(lane, sizeof lane, "l%d", k % 3);
    xonce_message *m = NULL;
    if (xonce_message_new(&m, "orders", id, body, strlen(body)) != XONCE_OK || xonce_message_set_property(m, "__SHARDINGKEY", lane) != XONCE_OK)
        die("message");
    xonce_message_set_attempt(m, __atomic_add_fetch(&gen.deliveries[k], 1, __ATOMIC_RELAXED));
    return m;
}

static int number_of(const xonce_message *m)
{
    size_t len = 0;
    return (int)strtol((const char *)xonce_message_body(m, &len) + 1, NULL, 10);
}

static void say(int k, xonce_outcome what)
{
    said *s = &gen.said[k];
    __atomic_add_fetch(what == XONCE_FRESH ? &s->fresh : what == XONCE_DUPLICATE ? &s->duplicate : &s->rejected, what != XONCE_DEFERRED, __ATOMIC_RELAXED);
}

/* ---- handlers ---- */

static void *lend(xonce_tx *tx)
{
    return on == ON_POSTGRES ? (void *)xonce_tx_postgres(tx) : on == ON_MYSQL ? (void *)xonce_tx_mysql(tx) : (void *)xonce_tx_sqlite(tx);
}

/* Statements on a native handle, up to the first that fails. 1: all went well. */
static int run_text(void *c, const char *text)
{
    if (!c)
        return 0;
    if (on == ON_POSTGRES) {
        PGresult *r = PQexec(c, text);
        ExecStatusType st = PQresultStatus(r);
        int ok = (st == PGRES_COMMAND_OK || st == PGRES_TUPLES_OK) && !(strcmp(text, "COMMIT") == 0 && strcmp(PQcmdStatus(r), "COMMIT") != 0);
        PQclear(r);
        return ok;
    }
    if (on == ON_SQLITE)
        return sqlite3_exec(c, text, NULL, NULL, NULL) == SQLITE_OK;
    char *copy = xo_strdup(text), *rest = NULL;
    int ok = copy != NULL;
    for (char *one = copy ? strtok_r(copy, ";", &rest) : NULL; one && ok; one = strtok_r(NULL, ";", &rest)) {
        ok = mysql_query(c, one) == 0;
        if (ok)
            mysql_free_result(mysql_store_result(c));
    }
    free(copy);
    return ok;
}

static xonce_status write_part(xonce_tx *tx, int k, int part)
{
    return xonce_exec(tx, "INSERT INTO effects (msg, part) VALUES ($1, $2)", xonce_int(k), xonce_int(part));
}

static const char *const undo = "INSERT INTO effects (msg, part) VALUES (-1, 0)";

/* Ends the transaction in one of several ways. */
static void break_out(xonce_tx *tx, chance *c)
{
    static const char *const ways[] = {"ROLLBACK", "ROLLBACK; BEGIN", "COMMIT", "COMMIT; BEGIN", "COMMIT; BEGIN; INSERT INTO effects (msg, part) VALUES (NULL, 0)"};
    int way = below(c, 5);
    if (c->batch) /* rolled back first and then committed in one call, that would be the batch handler's own work, outside of any claim */
        way = c->batch == 1 ? way % 2 : 2 + way % 3;
    c->broke = 1;
    run_text(lend(tx), ways[way]);
}

/* Does something that is allowed, or fails in a way that is. Returns 1 when the message has to fail. */
static int misbehave(xonce_tx *tx, const xonce_message *m, chance *c)
{
    int64_t when = 0;
    switch (below(c, 24)) {
    case 0:
        xonce_exec(tx, "INSERT INTO effects (msg, part) VALUES ($1, 0)", xonce_null());
        return 0;
    case 1: /* swallowed: PostgreSQL's transaction has failed, the others go on */
        xonce_exec_now(tx, "INSERT INTO effects (msg, part) VALUES (NULL, 0)", NULL, 0, NULL);
        return 0;
    case 2:
        xonce_exec(tx, "SAVEPOINT a");
        xonce_exec_values(tx, undo, NULL, 0);
        xonce_exec(tx, "ROLLBACK TO SAVEPOINT a");
        return 0;
    case 3:
        run_text(lend(tx), "SAVEPOINT b; INSERT INTO effects (msg, part) VALUES (-1, 0); ROLLBACK TO SAVEPOINT b");
        return 0;
    case 4:
        run_text(lend(tx), "SELECT 1");
        return 0;
    case 5:
        xo_pause_ms(below(c, 15));
        return 0;
    case 6:
        (void)xonce_store_seen(gen.store, xonce_message_id(m), &when);
        return 0;
    case 7:
        xonce_exec_values(tx, "COMMIT", NULL, 0);
        return 0;
    case 8:
        run_text(lend(tx), "INSERT INTO effects (msg, part) VALUES (NULL, 0)");
        return on != ON_MYSQL; /* which does not tell us that it failed, and need not */
    default:
        return 0;
    }
}

static xonce_verdict work(xonce_tx *tx, const xonce_message *m, chance *c)
{
    int k = number_of(m), roll = below(c, 100);
    if (write_part(tx, k, 1) != XONCE_OK)
        return XONCE_RETRY;
    if (gen.mode == ESCAPES && !c->child && roll < 4)
        break_out(tx, c);
    else if (roll < 30 && misbehave(tx, m, c))
        return XONCE_RETRY;
    if (write_part(tx, k, 2) != XONCE_OK)
        return XONCE_RETRY;
    if (roll >= 92)
        xonce_fail(tx, "because of %d", roll);
    return roll >= 97 ? XONCE_REJECT : roll >= 92 ? XONCE_RETRY : XONCE_DONE;
}

static xonce_verdict one(xonce_tx *tx, const xonce_message *m, void *arg)
{
    return work(tx, m, arg);
}

static xonce_verdict many(xonce_tx *tx, xonce_batch *b, void *arg)
{
    xonce_verdict all = XONCE_DONE;
    chance *c = arg;
    c->batch = 1 + below(c, 2);
    for (size_t i = 0; i < xonce_batch_count(b); i++) {
        xonce_verdict v = work(tx, xonce_batch_at(b, i), c);
        if (v == XONCE_DONE)
            continue;
        if (below(c, 4) == 0)
            all = v == XONCE_REJECT ? XONCE_RETRY : v; /* without saying for whom */
        else if (v == XONCE_REJECT)
            xonce_batch_reject(b, i, "marked");
        else
            xonce_batch_retry(b, i, "marked");
    }
    c->batch = 0;
    return all;
}

static xonce_verdict good(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    int k = number_of(m);
    return write_part(tx, k, 1) == XONCE_OK && write_part(tx, k, 2) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

/* ---- deliveries ---- */

typedef struct {
    int k[TAKE_MAX];
    xonce_message *m[TAKE_MAX];
    xonce_outcome what[TAKE_MAX];
    size_t n;
} hand;

static int pick(chance *c)
{
    /* mostly those around a front that moves on with each call, now and then one of long ago */
    long front = gen.start + __atomic_load_n(&gen.calls, __ATOMIC_RELAXED) * (c->child ? THREADS : 1);
    int newest = front + WINDOW < POOL ? (int)front + WINDOW : POOL;
    int k = below(c, 8) ? newest - WINDOW + below(c, WINDOW) : below(c, newest);
    return k;
}

static void take(chance *c, hand *h, int max)
{
    h->n = (size_t)below(c, max) + 1;
    for (size_t i = 0; i < h->n; i++) {
        h->k[i] = i && below(c, 8) == 0 ? h->k[below(c, (int)i)] : pick(c);
        h->m[i] = deliver(h->k[i]);
        h->what[i] = XONCE_DEFERRED;
    }
}

static void put_down(chance *c, hand *h, int settled)
{
    for (size_t i = 0; i < h->n; i++) {
        if (c->broke) /* all of the batch may be in xonce_rejected for it, applied or not */
            __atomic_store_n(&gen.said[h->k[i]].escaped, 1, __ATOMIC_RELAXED);
        if (settled)
            say(h->k[i], h->what[i]);
        xonce_message_free(h->m[i]);
    }
    c->broke = 0;
}

static void by_run(chance *c, hand *h)
{
    xo_item items[TAKE_MAX];
    xo_spec spec = {.one = one, .arg = c, .ordered = below(c, 4) == 0, .stopping = gen.mode == ESCAPES ? NULL : &gen.until_stop};
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < h->n; i++)
        items[i].m = h->m[i];
    if (xo_run(gen.store, items, h->n, &spec) != XONCE_OK)
        __atomic_add_fetch(&gen.errors, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < h->n; i++)
        h->what[i] = items[i].outcome;
}

/* The handler's part of a transaction by hand. 1: go on to the commit. */
static int work_by_hand(xonce_tx *tx, chance *c, hand *h)
{
    for (size_t i = 0; i < h->n; i++)
        if (h->what[i] == XONCE_FRESH && work(tx, h->m[i], c) != XONCE_DONE)
            return 0;
    return 1;
}

static int by_hand(chance *c, hand *h)
{
    xonce_tx *tx = NULL;
    if (xonce_tx_begin(gen.store, &tx) != XONCE_OK)
        return 0;
    if (xonce_tx_claim(tx, (const xonce_message *const *)h->m, h->n, h->what) == XONCE_OK && work_by_hand(tx, c, h))
        return xonce_tx_commit(tx) == XONCE_OK;
    xonce_tx_rollback(tx);
    return 0;
}

static void keep_quiet(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

static void *connect_own(void)
{
    if (on == ON_POSTGRES) {
        PGconn *c = PQconnectdb(store_uri);
        (void)PQsetNoticeProcessor(c, keep_quiet, NULL);
        if (PQstatus(c) == CONNECTION_OK)
            return c;
        PQfinish(c);
        return NULL;
    }
    if (on == ON_SQLITE) {
        sqlite3 *c = NULL;
        sqlite3_open(store_uri + strlen("sqlite:"), &c);
        sqlite3_busy_timeout(c, 2000);
        return c;
    }
    xo_uri u;
    MYSQL *c = mysql_init(NULL);
    if (xo_uri_parse(&u, store_uri) != XONCE_OK)
        die("uri");
    const char *db = *u.path == '/' ? u.path + 1 : u.path;
    int ok = mysql_real_connect(c, *u.host ? u.host : NULL, u.user, u.password, db, (unsigned)u.port, xo_uri_query(&u, "socket"), 0) != NULL;
    xo_uri_free(&u);
    if (ok)
        return c;
    mysql_close(c);
    return NULL;
}

static void disconnect_own(chance *c)
{
    if (c->native && on == ON_POSTGRES)
        PQfinish(c->native);
    else if (c->native && on == ON_MYSQL)
        mysql_close(c->native);
    else if (c->native)
        sqlite3_close(c->native);
    c->native = NULL;
}

/* Inside a transaction of the user's own, who commits. */
static int by_join(chance *c, hand *h)
{
    xonce_tx *tx = NULL;
    if (!c->native)
        c->native = connect_own();
    int ok = run_text(c->native, on == ON_SQLITE ? "BEGIN IMMEDIATE" : "BEGIN");
    if (ok) {
        ok = (on == ON_POSTGRES ? xonce_join_postgres(gen.store, c->native, &tx) : on == ON_MYSQL ? xonce_join_mysql(gen.store, c->native, &tx) : xonce_join_sqlite(gen.store, c->native, &tx)) ==
             XONCE_OK;
        ok = ok && xonce_tx_claim(tx, (const xonce_message *const *)h->m, h->n, h->what) == XONCE_OK;
        for (size_t i = 0; ok && i < h->n; i++)
            ok = h->what[i] != XONCE_FRESH || good(tx, h->m[i], NULL) == XONCE_DONE;
        if (ok)
            ok = xonce_tx_leave(tx) == XONCE_OK;
        else
            xonce_tx_rollback(tx);
        ok = ok && run_text(c->native, "COMMIT");
    }
    if (!ok && !run_text(c->native, "ROLLBACK"))
        disconnect_own(c);
    return ok;
}

static void deliver_some(chance *c)
{
    hand h;
    int settled = 1, way = below(c, 20);
    take(c, &h, way == 0 ? 1 : TAKE_MAX);
    if (way == 0) {
        settled = xonce_once(gen.store, h.m[0], one, c, &h.what[0]) == XONCE_OK;
    } else if (way < 7) {
        if (xonce_once_batch(gen.store, (const xonce_message *const *)h.m, h.n, many, c, h.what) != XONCE_OK)
            __atomic_add_fetch(&gen.errors, 1, __ATOMIC_RELAXED);
    } else if (way < 9 && gen.mode != ESCAPES) { /* by hand nobody notices whose handler it was: the caller would have to */
        settled = by_hand(c, &h);
    } else if (way < 11 && gen.mode != ESCAPES) {
        settled = by_join(c, &h);
    } else {
        by_run(c, &h);
    }
    put_down(c, &h, settled);
    __atomic_add_fetch(&gen.calls, 1, __ATOMIC_RELAXED);
}

static int over(void)
{
    return __atomic_load_n(&gen.until_stop, __ATOMIC_RELAXED);
}

static void *deliver_all_the_time(void *arg)
{
    chance *c = arg;
    while (!over())
        deliver_some(c);
    disconnect_own(c);
    return NULL;
}

/* Marks rejected messages and runs them again, often badly. Not where handlers end transactions: what they leave behind is for a human to look at. */
static void *replay_all_the_time(void *arg)
{
    while (!over()) {
        xo_spec spec = {.one = one, .arg = arg};
        xo_item out;
        int found = 0;
        if (gen.mode != ESCAPES) {
            (void)xo_store_query(gen.store, "UPDATE xonce_rejected SET replay_at = 1 WHERE replay_at IS NULL", NULL, 0, NULL, NULL, NULL);
            (void)xo_replay_next(gen.store, NULL, &spec, &found, &out);
        }
        if (!found)
            xo_pause_ms(20);
    }
    return NULL;
}

/* ---- the other process ---- */

static pid_t spawn_child(void)
{
    char seed[32], number[16], mode[8], start[24];
    char *argv[] = {(char *)"torture", (char *)"--child", seed, number, mode, start, NULL};
    pid_t pid = -1;
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)(gen.seed + (uint64_t)gen.restarts * 1000));
    snprintf(number, sizeof number, "%d", gen.number);
    snprintf(mode, sizeof mode, "%d", (int)gen.mode);
    snprintf(start, sizeof start, "%ld", __atomic_load_n(&gen.calls, __ATOMIC_RELAXED));
    setenv("XONCE_FAILPOINTS", "claimed=crash%1;handled=crash%1;committing=crash%2;commit-sent=crash%2;committed=crash%2", 1);
    int rc = posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ);
    unsetenv("XONCE_FAILPOINTS");
    return rc == 0 ? pid : -1;
}

static void kill_child(pid_t pid)
{
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
}

static xonce_store *open_with(uint64_t seed)
{
    chance c = {.x = seed};
    xonce_config *cfg = NULL;
    xonce_store *s = NULL;
    char connections[8];
    snprintf(connections, sizeof connections, "%d", 3 + below(&c, 6));
    const char *const set[][2] = {
        {"store.connections", connections}, {"store.lock-timeout", "300ms"}, {"store.pool-timeout", "500ms"}, {"store.tries", "20"}, {"sql.errors", below(&c, 2) ? "judge" : "retry"},
        {"attempts", below(&c, 2) ? "280" : "8"}, {"mysql.dialect", getenv("XONCE_TEST_MYSQL_DIALECT") ? getenv("XONCE_TEST_MYSQL_DIALECT") : "auto"},
    };
    if (xonce_config_new(&cfg) != XONCE_OK)
        die("configuration");
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        if (xonce_config_set(cfg, set[i][0], set[i][1]) != XONCE_OK)
            die(set[i][0]);
    if (xonce_store_open(&s, store_uri, "GID_torture", cfg) != XONCE_OK)
        die("open");
    xonce_config_free(cfg);
    return s;
}

static int be_child(char **argv)
{
    chance c = {.x = strtoull(argv[2], NULL, 10), .child = 1};
    gen.number = (int)strtol(argv[3], NULL, 10);
    gen.mode = (trouble)strtol(argv[4], NULL, 10);
    gen.start = strtol(argv[5], NULL, 10) + 1;
    gen.store = open_with(c.x);
    pid_t parent = getppid();
    while (getppid() == parent)
        deliver_some(&c);
    return 0;
}

/* ---- breaking connections ---- */

static int take_id(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = xonce_row_int(r, 0);
    return 1;
}

static void kill_a_connection(xonce_store *control)
{
    int64_t id = 0;
    char text[160];
    if (on == ON_POSTGRES) {
        static const char sql[] = "SELECT pg_terminate_backend(pid)::int FROM (SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1) p";
        (void)xo_store_query(control, sql, NULL, 0, take_id, &id, NULL);
    } else if (on == ON_MYSQL) {
        static const char sql[] = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID() ORDER BY RAND() LIMIT 1";
        if (xo_store_query(control, sql, NULL, 0, take_id, &id, NULL) != XONCE_OK || id == 0)
            return;
        snprintf(text, sizeof text, "KILL CONNECTION %lld", (long long)id);
        (void)xo_store_query(control, text, NULL, 0, NULL, NULL, NULL);
    }
    gen.kills += id != 0;
}

/* Until the generation's time is up: kills connections and the other process. */
static void make_trouble(xonce_store *control, chance *c, int64_t until)
{
    pid_t child = -1;
    int64_t kill_at = 0;
    while (xo_mono_ms() < until && __atomic_load_n(&gen.calls, __ATOMIC_RELAXED) < POOL * 2) {
        int64_t now = xo_mono_ms();
        if (gen.mode == FAULTS && child > 0 && (now >= kill_at || waitpid(child, NULL, WNOHANG) == child)) {
            kill_child(child);
            child = -1;
        }
        if (gen.mode == FAULTS && child < 0) {
            gen.restarts++;
            child = spawn_child();
            kill_at = now + 50 + below(c, 400);
        }
        xo_pause_ms(10 + below(c, 40));
        if (gen.mode == FAULTS)
            kill_a_connection(control);
    }
    kill_child(child);
}

/* ---- the end of a generation ---- */

/* All messages, to good handlers, until each is settled. */
static void settle_all(void)
{
    int open[POOL], n = POOL;
    int64_t until = xo_mono_ms() + SETTLE_MS;
    for (int i = 0; i < POOL; i++)
        open[i] = i;
    while (n > 0 && xo_mono_ms() < until) {
        xo_item items[POOL];
        xo_spec spec = {.one = good};
        memset(items, 0, sizeof items);
        for (int i = 0; i < n; i++)
            items[i].m = deliver(open[i]);
        (void)xo_run(gen.store, items, (size_t)n, &spec);
        int left = 0;
        for (int i = 0; i < n; i++) {
            say(open[i], items[i].outcome);
            if (items[i].outcome == XONCE_DEFERRED)
                open[left++] = open[i];
            xonce_message_free((xonce_message *)items[i].m);
        }
        n = left;
    }
    if (n > 0)
        problem("%d messages cannot be settled, b%d for one: %s", n, open[0], xonce_error_last()->text);
}

static int take_effect(const xonce_row *r, void *arg)
{
    truth *t = arg;
    int64_t k = xonce_row_int(r, 0), part = xonce_row_int(r, 1), n = xonce_row_int(r, 2);
    if (k >= 0 && k < POOL && (part == 1 || part == 2))
        t->part[part - 1][k] = (int)n;
    else
        t->undone += n;
    return 0;
}

static int take_kept(const xonce_row *r, void *arg)
{
    long k = strtol(xonce_row_text(r, 0) + (xonce_row_text(r, 0)[0] == 'b'), NULL, 10);
    if (k >= 0 && k < POOL)
        ((truth *)arg)->kept[k] = (int)xonce_row_int(r, 1);
    return 0;
}

static void ask(xonce_store *control, const char *sql, xo_row_fn fn, void *arg)
{
    if (xo_store_query(control, sql, NULL, 0, fn, arg, NULL) != XONCE_OK)
        die(sql);
}

static void look(xonce_store *control, truth *t)
{
    memset(t, 0, sizeof *t);
    ask(control, "SELECT msg, part, COUNT(*) FROM effects GROUP BY msg, part", take_effect, t);
    ask(control, on == ON_POSTGRES ? "SELECT encode(body, 'escape'), COUNT(*) FROM xonce_rejected GROUP BY body" : on == ON_MYSQL ? "SELECT CONVERT(body USING utf8mb4), COUNT(*) FROM xonce_rejected GROUP BY body"
                                                                                              : "SELECT CAST(body AS TEXT), COUNT(*) FROM xonce_rejected GROUP BY body",
        take_kept, t);
    ask(control, "SELECT COUNT(*) FROM transaction_record", take_id, &t->records);
}

static void judge_one(const truth *t, int k)
{
    const said *s = &gen.said[k];
    int a = t->part[0][k], b = t->part[1][k], kept = t->kept[k], whole = a == 1 && b == 1;
    if (a > 1 || b > 1)
        problem("b%d is applied %d and %d times", k, a, b);
    if (kept > 1)
        problem("b%d is rejected %d times", k, kept);
    if (!s->escaped && whole + (kept == 1) != 1)
        problem("b%d is %s: effects %d, %d, rejected %d", k, whole ? "applied and rejected" : a || b ? "applied in part" : "lost", a, b, kept);
    if (!s->escaped && kept && (a || b))
        problem("b%d is rejected and has effects %d, %d", k, a, b);
    if (s->escaped && !whole && !kept)
        problem("b%d, whose handler ended a transaction, is lost: effects %d, %d", k, a, b);
    if (s->rejected && !kept && !(whole && gen.mode != ESCAPES)) /* else a replay applied it */
        problem("b%d was said to be rejected and is neither kept nor replayed", k);
    if (s->fresh && !whole && !kept)
        problem("b%d was said to be fresh and is not applied", k);
    if (gen.mode == QUIET && (s->fresh > 1 || (s->fresh == 1 && !whole)))
        problem("b%d was said to be fresh %d times, effects %d, %d", k, s->fresh, a, b);
    if (s->fresh + s->rejected + s->duplicate == 0)
        problem("b%d was never settled", k);
}

static void judge(xonce_store *control)
{
    truth t;
    int settled = 0;
    look(control, &t);
    for (int k = 0; k < POOL; k++) {
        judge_one(&t, k);
        settled += (t.part[0][k] == 1 && t.part[1][k] == 1) || t.kept[k] == 1;
    }
    if (t.undone)
        problem("%lld rows that were rolled back are there", (long long)t.undone);
    if (gen.mode != ESCAPES && t.records != settled)
        problem("%lld records for %d messages", (long long)t.records, settled);
}

/* ---- generations ---- */

static void clear_tables(xonce_store *control)
{
    ask(control, "DELETE FROM effects", NULL, NULL);
    ask(control, "DELETE FROM transaction_record", NULL, NULL);
    ask(control, "DELETE FROM xonce_rejected", NULL, NULL);
}

static void begin_generation(int number, chance *c)
{
    static const char *const points[MODES] = {
        "", "begun=error%1;claimed=error%1;handled=error%1;committing=error%2;commit-sent=error%2;committed=error%2", "begun=error%1;claimed=error%1;handled=error%1;committing=error%2;committed=error%2"};
    memset(&gen, 0, sizeof gen);
    gen.number = number;
    gen.mode = (trouble)(number % MODES);
    gen.seed = next(c);
    gen.store = open_with(gen.seed);
    if (xo_failpoints_load(points[gen.mode]) != XONCE_OK)
        die("failpoints");
}

static void run_generation(xonce_store *control, int number, chance *c, int64_t ms)
{
    pthread_t t[THREADS + 1];
    chance own[THREADS + 1];
    begin_generation(number, c);
    for (int i = 0; i <= THREADS; i++) {
        own[i] = (chance){.x = next(c)};
        if (pthread_create(&t[i], NULL, i < THREADS ? deliver_all_the_time : replay_all_the_time, &own[i]) != 0)
            die("thread");
    }
    make_trouble(control, c, xo_mono_ms() + ms);
    __atomic_store_n(&gen.until_stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i <= THREADS; i++)
        pthread_join(t[i], NULL);
    (void)xo_failpoints_load("");
    settle_all();
    judge(control);
    printf("# generation %d, %s: %ld calls, %ld errors, %ld connections and %ld processes killed\n", number, mode_name[gen.mode], gen.calls, gen.errors, gen.kills, gen.restarts);
    fflush(stdout);
    xonce_store_close(gen.store);
}

static int skip(const char *what, const char *package)
{
    printf("1..0 # SKIP %s is not set: no %s (Debian package %s)\n", what, package, package);
    return 0;
}

/* 0: this engine is not there. */
static int choose_engine(int child)
{
    static char uri[200];
    if (strcmp(suite_engine, "sqlite") != 0) {
        on = strcmp(suite_engine, "postgres") == 0 ? ON_POSTGRES : ON_MYSQL;
        store_uri = getenv(on == ON_POSTGRES ? "XONCE_TEST_POSTGRES_URI" : "XONCE_TEST_MYSQL_URI");
        if (strcmp(suite_engine, "mysql-plain") == 0)
            setenv("XONCE_TEST_MYSQL_DIALECT", "mysql", 1);
        if (!store_uri)
            skip(on == ON_POSTGRES ? "XONCE_TEST_POSTGRES_URI" : "XONCE_TEST_MYSQL_URI", on == ON_POSTGRES ? "postgresql" : "mariadb-server");
        return store_uri != NULL;
    }
    if (!child) {
        const char *tmp = getenv("TMPDIR");
        snprintf(uri, sizeof uri, "sqlite:%s/xonce-torture-%ld.db", tmp && *tmp ? tmp : "/tmp", (long)getpid());
        setenv("XONCE_TORTURE_FILE", uri, 1);
    }
    store_uri = getenv("XONCE_TORTURE_FILE");
    return store_uri != NULL;
}

static void remove_file(void)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char name[240];
    for (size_t i = 0; on == ON_SQLITE && i < 3; i++) {
        snprintf(name, sizeof name, "%s%s", store_uri + strlen("sqlite:"), ends[i]);
        unlink(name);
    }
}

static xonce_store *prepare(void)
{
    static const char *const old[] = {"DROP TABLE IF EXISTS effects", "DROP TABLE IF EXISTS transaction_record", "DROP TABLE IF EXISTS xonce_rejected", "DROP TABLE IF EXISTS xonce_watermark"};
    xonce_store *control = open_with(1);
    for (size_t i = 0; i < sizeof old / sizeof *old; i++)
        ask(control, old[i], NULL, NULL);
    if (xonce_store_upgrade(control) != XONCE_OK)
        die("upgrade");
    ask(control, on == ON_MYSQL ? "CREATE TABLE effects (id bigint AUTO_INCREMENT PRIMARY KEY, msg integer NOT NULL, part integer) ENGINE=InnoDB" : "CREATE TABLE effects (msg integer NOT NULL, part integer)", NULL,
        NULL);
    return control;
}

int main(int argc, char **argv)
{
    const char *seed = getenv("XONCE_TORTURE_SEED"), *seconds = getenv("XONCE_TORTURE_SECONDS");
    int child = argc == 6 && strcmp(argv[1], "--child") == 0;
    if (!choose_engine(child))
        return 0;
    if (child)
        return be_child(argv);
    chance c = {.x = seed ? strtoull(seed, NULL, 10) : (xo_random() & 0xffffffff)};
    int64_t ms = (seconds ? strtol(seconds, NULL, 10) : 5) * 1000, until = xo_mono_ms() + ms;
    printf("1..1\n# seed %llu\n", (unsigned long long)c.x);
    xonce_store *control = prepare();
    int number = 0;
    while (!problems[0] && (number < MODES || xo_mono_ms() < until)) {
        clear_tables(control);
        run_generation(control, number++, &c, ms / 6 < 800 ? ms / 6 : 800);
    }
    xonce_store_close(control);
    if (!problems[0] || !getenv("XONCE_TORTURE_KEEP"))
        remove_file();
    printf("%s%sok 1 - torture\n", problems, problems[0] ? "not " : "");
    return problems[0] != 0;
}
