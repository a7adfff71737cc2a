/* What exactly once costs and where it leads: messages a second against batch size, handler, connections, round-trip time, redeliveries, bad messages and table size, per engine.
 *
 * Usage: bench [--only PART[,PART...]] [--engine NAME[,NAME...]] [--seconds S] [--rounds N] [--rows N[,N...]] [--proxy PROGRAM] [--json FILE] [--server NAME=PID]... [URI...]
 *   PART: batch connections rtt duplicates bad rows; rows only where it is named or --rows is given, rtt only with --proxy, the tests' proxy
 *   Default: a SQLite file, and XONCE_TEST_POSTGRES_URI and XONCE_TEST_MYSQL_URI when set. The tables bench_*, transaction_record and xonce_* of each URI are dropped and made anew for each part.
 * The loads of a part take turns within a round; medians are shown. --server adds the processor time of an engine's server and its children. */
#include "bench/blocking.h"
#include "bench/common.h"
#include "bench/through.h"
#include "cli/measure.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_ROUNDS = 31, MAX_CELLS = 40, MAX_ROWS = 8, MAX_ENGINES = 16, DUPLICATES = 5, RTT_US = 500, PARTS = 6 };
static const char *const part_names[PARTS] = {"batch", "connections", "rtt", "duplicates", "bad", "rows"};
enum { BATCH, CONNECTIONS, RTT, SAME, BAD, ROWS };

static double seconds = 0.6;
static int rounds = 3, wanted[PARTS];
static const char *engines, *proxy_program;
static char own_file[64]; /* the SQLite database, when it is ours */
static int64_t row_counts[MAX_ROWS] = {0, 1000000, 10000000};
static size_t nrows = 3;
static FILE *json;

/* One engine: its database, and the same one through the proxy. */
typedef struct {
    const char *uri;
    long server;
    xonce_store *s, *far_s;
    xo_measure m, far_m;
    bench_proxy proxy;
} engine;

/* One load and what came of it. */
typedef struct {
    xo_load load;
    int is_far;
    double speed[MAX_ROUNDS], cpu[MAX_ROUNDS], server_cpu[MAX_ROUNDS], median;
} cell;

typedef struct {
    engine *e;
    int part;
    int64_t rows;
    cell cells[MAX_CELLS];
    size_t n;
} table;

/* ---- what is measured ---- */

static cell *add(table *t, xo_load_mode mode, size_t batch)
{
    if (t->n == MAX_CELLS)
        bench_die("too many loads in a part");
    cell *c = &t->cells[t->n++];
    memset(c, 0, sizeof *c);
    c->load = (xo_load){.mode = mode, .batch = batch, .connections = 1, .duplicates = DUPLICATES};
    return c;
}

static void add_batches(table *t)
{
    static const size_t sizes[] = {1, 8, 32, 128, 512, 1024};
    add(t, XO_LOAD_BARE, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (xo_load_mode mode = XO_LOAD_NONE; mode <= XO_LOAD_OFFSET; mode++)
            add(t, mode, sizes[i]);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (xo_load_mode mode = XO_LOAD_NONE; mode <= XO_LOAD_RECORD && (sizes[i] == 1 || sizes[i] == 32 || sizes[i] == 128); mode++) {
            xo_load *l = &add(t, mode, sizes[i])->load;
            l->handler = bench_blocking;
            l->arg = t->e->s;
        }
    }
}

static void add_connections(table *t)
{
    static const int counts[] = {1, 4, 16};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        add(t, XO_LOAD_BARE, 1)->load.connections = counts[i];
        for (size_t batch = 32; batch <= 128; batch *= 4) {
            add(t, XO_LOAD_NONE, batch)->load.connections = counts[i];
            add(t, XO_LOAD_RECORD, batch)->load.connections = counts[i];
        }
    }
}

static void add_round_trips(table *t)
{
    static const size_t sizes[] = {1, 32, 128};
    for (int is_far = 0; is_far < 2; is_far++) {
        add(t, XO_LOAD_BARE, 1)->is_far = is_far;
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            add(t, XO_LOAD_NONE, sizes[i])->is_far = is_far;
            add(t, XO_LOAD_RECORD, sizes[i])->is_far = is_far;
        }
    }
}

static void add_duplicates(table *t)
{
    static const int percents[] = {0, 5, 20, 50};
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++)
        add(t, XO_LOAD_RECORD, 128)->load.duplicates = percents[i];
}

static void add_bad(table *t)
{
    for (int by_verdict = 0; by_verdict < 2; by_verdict++) {
        for (int bad = 0; bad < 2; bad++) {
            xo_load *l = &add(t, XO_LOAD_RECORD, 128)->load;
            l->bad = bad;
            l->bad_by_verdict = by_verdict;
            if (by_verdict && !bad)
                t->n--; /* it is there already */
        }
    }
}

static void add_rows(table *t)
{
    add(t, XO_LOAD_BARE, 1);
    add(t, XO_LOAD_RECORD, 1);
    add(t, XO_LOAD_NONE, 128);
    add(t, XO_LOAD_RECORD, 128);
}

/* ---- measuring ---- */

static void measure(table *t, cell *c, int round)
{
    xo_measured got;
    double before = bench_cpu_of(t->e->server);
    if (xo_measure_run(c->is_far ? &t->e->far_m : &t->e->m, &c->load, seconds, &got) != XONCE_OK)
        bench_die(part_names[t->part]);
    c->speed[round] = got.per_second;
    c->cpu[round] = got.cpu_us;
    c->server_cpu[round] = t->e->server ? (bench_cpu_of(t->e->server) - before) * 1e6 / (got.per_second * seconds) : 0;
}

static void sort_out(cell *c)
{
    c->median = xo_measure_median(c->speed, (size_t)rounds);
    c->cpu[0] = xo_measure_median(c->cpu, (size_t)rounds);
    c->server_cpu[0] = xo_measure_median(c->server_cpu, (size_t)rounds);
}

/* The load that another is to be compared with: the bare one, or what differs in nothing but records, redeliveries or bad messages. */
static const cell *against(const table *t, const cell *c, int bare)
{
    const xo_load *l = &c->load;
    for (size_t i = 0; i < t->n; i++) {
        const cell *o = &t->cells[i];
        const xo_load *k = &o->load;
        if (o->is_far != c->is_far || k->connections != l->connections)
            continue;
        if (bare ? k->mode == XO_LOAD_BARE
                 : t->part == SAME ? k->duplicates == 0 && l->duplicates
                 : t->part == BAD  ? k->bad == 0 && l->bad
                                   : k->mode == XO_LOAD_NONE && l->mode > XO_LOAD_NONE && k->batch == l->batch && k->handler == l->handler)
            return o;
    }
    return NULL;
}

static void describe(const table *t, const cell *c, char *out, size_t size)
{
    static const char *const names[] = {"bare INSERT, autocommit", "no record", "exactly once", "exactly once by offset"};
    const xo_load *l = &c->load;
    char batch[24] = "", other[64] = "";
    if (l->mode != XO_LOAD_BARE)
        snprintf(batch, sizeof batch, ", batch %zu", l->batch);
    if (t->part == CONNECTIONS)
        snprintf(other, sizeof other, ", %d connection%s", l->connections, l->connections > 1 ? "s" : "");
    else if (t->part == SAME)
        snprintf(other, sizeof other, ", %d %% redelivered", l->duplicates);
    else if (t->part == BAD)
        snprintf(other, sizeof other, ", %d %% bad%s", l->bad, l->bad ? l->bad_by_verdict ? " (by verdict)" : " (by statement)" : "");
    else if (c->is_far)
        snprintf(other, sizeof other, ", %.1f ms away", RTT_US / 1000.0);
    snprintf(out, size, "%s%s%s%s", names[l->mode], batch, l->handler ? ", blocking" : "", other);
}

static void show_ratio(const cell *c, const cell *other)
{
    if (other && other != c)
        printf(" %9.2f", c->median / other->median);
    else
        printf(" %9s", "");
}

static void write_json(const table *t, const cell *c)
{
    const xo_load *l = &c->load;
    fprintf(json, "{\"bench\":\"%s\",\"engine\":\"%s\",\"mode\":\"%s\",\"handler\":\"%s\",\"batch\":%zu,\"connections\":%d,\"duplicates\":%d,\"bad\":%d,\"rtt_us\":%d,\"rows\":%" PRId64,
            part_names[t->part], t->e->s->d->name, xo_load_name(l->mode), l->handler ? "blocking" : "queued", l->batch, l->connections, l->mode == XO_LOAD_OFFSET ? 0 : l->duplicates, l->bad,
            c->is_far ? RTT_US : 0, t->rows);
    if (l->bad)
        fprintf(json, ",\"bad_by\":\"%s\"", l->bad_by_verdict ? "verdict" : "statement");
    fprintf(json, ",\"rounds\":%d,\"seconds\":%.2f,\"per_second\":%.1f,\"min\":%.1f,\"max\":%.1f,\"client_cpu_us\":%.2f", rounds, seconds, c->median, c->speed[0], c->speed[rounds - 1], c->cpu[0]);
    if (t->e->server)
        fprintf(json, ",\"database_cpu_us\":%.2f", c->server_cpu[0]);
    fprintf(json, "}\n");
    fflush(json);
}

static void show(table *t)
{
    static const char *const base[PARTS] = {"x no rec.", "x no rec.", "x no rec.", "x none", "x none", "x no rec."};
    printf("%s, %s", t->e->s->d->name, part_names[t->part]);
    if (t->part == ROWS)
        printf(", %" PRId64 " records in the table", t->rows);
    printf("  (%d rounds of %.1f s)\n  %-46s %10s %9s %9s %9s %9s %9s", rounds, seconds, "", "messages/s", "min", "max", "x bare", base[t->part], "client us");
    printf(t->e->server ? " %9s\n" : "\n", "server us");
    for (size_t i = 0; i < t->n; i++)
        sort_out(&t->cells[i]);
    for (size_t i = 0; i < t->n; i++) {
        cell *c = &t->cells[i];
        char what[120];
        describe(t, c, what, sizeof what);
        printf("  %-46s %10.0f %9.0f %9.0f", what, c->median, c->speed[0], c->speed[rounds - 1]);
        show_ratio(c, against(t, c, 1));
        show_ratio(c, against(t, c, 0));
        printf(" %9.1f", c->cpu[0]);
        printf(t->e->server ? " %9.1f\n" : "\n", c->server_cpu[0]);
        if (json)
            write_json(t, c);
    }
    printf("\n");
    fflush(stdout);
}

static void run_rounds(table *t)
{
    for (int r = 0; r < rounds; r++) {
        for (size_t i = 0; i < t->n; i++)
            measure(t, &t->cells[(i + (size_t)r) % t->n], r);
    }
    show(t);
}

/* ---- parts ---- */

static void start(engine *e, int is_far)
{
    e->s = bench_open(e->uri, NULL);
    bench_tables(e->s);
    if (xo_measure_init(&e->m, e->s, "bench_orders", XO_MEASURE_BODY) != XONCE_OK || xo_measure_create(&e->m) != XONCE_OK || bench_blocking_prepare(e->s) != XONCE_OK)
        bench_die("tables");
    if (!is_far)
        return;
    if (bench_proxy_start(&e->proxy, proxy_program, e->uri, RTT_US) != 0)
        exit(1);
    e->far_s = bench_open(e->proxy.uri, NULL);
    if (xo_measure_init(&e->far_m, e->far_s, "bench_orders", XO_MEASURE_BODY) != XONCE_OK)
        bench_die("proxy");
}

static void finish(engine *e)
{
    xo_measure_free(&e->m);
    xo_measure_free(&e->far_m);
    xonce_store_close(e->s);
    xonce_store_close(e->far_s);
    bench_proxy_end(&e->proxy);
    e->s = e->far_s = NULL;
}

static void run_part(engine *e, int part)
{
    static void (*const plans[PARTS])(table *) = {add_batches, add_connections, add_round_trips, add_duplicates, add_bad, add_rows};
    table *t = xo_calloc(1, sizeof *t);
    if (!t)
        bench_die("memory");
    t->e = e;
    t->part = part;
    start(e, part == RTT);
    plans[part](t);
    int64_t filled = 0;
    for (size_t i = 0; i < (part == ROWS ? nrows : 1); i++) {
        if (part == ROWS) {
            t->rows = row_counts[i];
            bench_fill(e->s, filled + 1, t->rows - filled);
            filled = t->rows;
        }
        run_rounds(t);
    }
    finish(e);
    free(t);
}

/* A file has one writer, and no way there. */
static int makes_sense(const engine *e, int part)
{
    int file = strncmp(e->uri, "sqlite", 6) == 0;
    return part == RTT ? proxy_program && !file : part != CONNECTIONS || !file;
}

/* Is word one of a list with commas? NULL: all are. */
static int in_list(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; p && *p; p += strcspn(p, ","), p += *p == ',')
        if (strcspn(p, ",") == n && strncmp(p, word, n) == 0)
            return 1;
    return !list;
}

static int is_wanted(const char *uri)
{
    return in_list(engines, strncmp(uri, "sqlite", 6) == 0 ? "sqlite" : strncmp(uri, "postgres", 8) == 0 ? "postgresql" : "mysql");
}

/* ---- the command line ---- */

static int wrong_use(void)
{
    fprintf(stderr, "usage: bench [--only batch,connections,rtt,duplicates,bad,rows] [--engine sqlite,postgresql,mysql] [--seconds S] [--rounds N] [--rows N,...]\n"
                    "             [--proxy PROGRAM] [--json FILE] [--server ENGINE=PID]... [URI...]\n");
    return 2;
}

static int set_only(const char *list)
{
    size_t named = 0, commas = 0;
    for (int i = 0; i < PARTS; i++)
        named += (size_t)(wanted[i] = in_list(list, part_names[i]));
    for (const char *p = list; *p; p++)
        commas += *p == ',';
    return named == commas + 1;
}

static int set_rows(const char *list)
{
    nrows = 0;
    wanted[ROWS] = 1;
    for (char *end; *list && nrows < MAX_ROWS; list = *end == ',' ? end + 1 : end) {
        row_counts[nrows] = strtoll(list, &end, 10);
        if (end == list || (*end && *end != ',') || row_counts[nrows] < (nrows ? row_counts[nrows - 1] : 0))
            return 0;
        nrows++;
    }
    return nrows > 0 && !*list;
}

typedef struct {
    engine all[MAX_ENGINES];
    size_t n;
    const char *json_path, *servers[MAX_ENGINES];
    size_t nservers;
} command;

static int parse(command *c, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        int fine = 1;
        if (argv[i][0] != '-' && c->n < MAX_ENGINES) {
            c->all[c->n++].uri = argv[i];
            continue;
        }
        if (strcmp(argv[i], "--seconds") == 0)
            fine = (seconds = strtod(value, NULL)) > 0;
        else if (strcmp(argv[i], "--rounds") == 0)
            fine = (rounds = (int)strtol(value, NULL, 10)) >= 1 && rounds <= MAX_ROUNDS;
        else if (strcmp(argv[i], "--only") == 0)
            fine = set_only(value);
        else if (strcmp(argv[i], "--rows") == 0)
            fine = set_rows(value);
        else if (strcmp(argv[i], "--engine") == 0)
            engines = value;
        else if (strcmp(argv[i], "--proxy") == 0)
            proxy_program = value;
        else if (strcmp(argv[i], "--json") == 0)
            c->json_path = value;
        else if (strcmp(argv[i], "--server") == 0 && c->nservers < MAX_ENGINES)
            c->servers[c->nservers++] = value;
        else
            fine = 0;
        if (!fine || !*value)
            return 0;
        i++;
    }
    return 1;
}

static void find_servers(command *c)
{
    for (size_t i = 0; i < c->n; i++) {
        for (size_t k = 0; k < c->nservers; k++) {
            size_t n = strcspn(c->servers[k], "=");
            if (strncmp(c->all[i].uri, c->servers[k], n) == 0 && c->servers[k][n])
                c->all[i].server = strtol(c->servers[k] + n + 1, NULL, 10);
        }
    }
}

static void add_defaults(command *c, const char *sqlite_uri)
{
    static const char *const names[] = {"XONCE_TEST_POSTGRES_URI", "XONCE_TEST_MYSQL_URI"};
    c->all[c->n++].uri = sqlite_uri;
    for (size_t i = 0; i < 2; i++)
        if (getenv(names[i]))
            c->all[c->n++].uri = getenv(names[i]);
}

static void remove_own(void)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char path[80];
        snprintf(path, sizeof path, "%s%s", own_file, ends[i]);
        unlink(path);
    }
}

static void keep_wanted(command *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        if (is_wanted(c->all[i].uri))
            c->all[n++] = c->all[i];
    c->n = n;
}

static void open_json(const command *c)
{
    const char *uris[MAX_ENGINES];
    for (size_t i = 0; i < c->n; i++)
        uris[i] = c->all[i].uri;
    json = bench_json(c->json_path, uris, c->n);
}

int main(int argc, char **argv)
{
    static command c;
    char uri[80];
    for (int i = 0; i < ROWS; i++)
        wanted[i] = 1;
    if (!parse(&c, argc, argv))
        return wrong_use();
    if (c.n == 0) {
        snprintf(own_file, sizeof own_file, "xonce-bench-%ld.db", (long)getpid());
        snprintf(uri, sizeof uri, "sqlite:%s", own_file);
        (void)atexit(remove_own);
        add_defaults(&c, uri);
    }
    keep_wanted(&c);
    find_servers(&c);
    open_json(&c);
    for (size_t i = 0; i < c.n; i++) {
        for (int part = 0; part < PARTS; part++)
            if (wanted[part] && makes_sense(&c.all[i], part))
                run_part(&c.all[i], part);
    }
    if (json)
        fclose(json);
    return 0;
}
