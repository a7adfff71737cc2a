/* Writes a document's tables anew from measurements, so that no figure is ever typed: what stands between "<!-- table NAME [ENGINE] -->" and "<!-- end -->". */
#include "bench/plot.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int engine_wanted(const json_t *r, const char *engine) { return !*engine || is_text(r, "engine", engine); }

static const char *ratio(double a, double b, char out[SHORT])
{
    snprintf(out, SHORT, a > 0 && b > 0 ? a / b < 9.995 ? "%.2f" : "%.1f" : "–", a / b);
    return out;
}

static const char *count(double v, char out[SHORT])
{
    if (v > 0)
        return grouped(v, out);
    snprintf(out, SHORT, "–");
    return out;
}

/* A cell of text that came from outside. */
static void cell(FILE *out, const char *text)
{
    fputc(' ', out);
    for (; *text; text++)
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '|')
            fputs("\\|", out);
        else
            fputc((unsigned char)*text < ' ' ? ' ' : *text, out);
    fputs(" |", out);
}

/* ---- what a sweep measured: a row for each place, its modes side by side */

static const char *sort_key;

static int compare(const json_t *a, const json_t *b, const char *key)
{
    double x = number_of(a, key), y = number_of(b, key);
    return (x > y) - (x < y);
}

static int by_row(const void *pa, const void *pb)
{
    const json_t *a = *(json_t *const *)pa, *b = *(json_t *const *)pb;
    static const char *const keys[] = {"duplicates", "bad", "rtt_us", "rows", "connections", "batch"};
    int c = (engine_rank(a) > engine_rank(b)) - (engine_rank(a) < engine_rank(b));
    if (!c)
        c = strcmp(text_of(b, "handler"), text_of(a, "handler")); /* queued before blocking */
    for (size_t i = 0; !c && i < sizeof keys / sizeof *keys; i++)
        c = strcmp(keys[i], sort_key) == 0 ? 0 : compare(a, b, keys[i]);
    return c ? c : compare(a, b, sort_key);
}

static const char *place_text(const char *key, double v, char out[SHORT])
{
    if (strcmp(key, "rtt_us") == 0)
        snprintf(out, SHORT, "%.3g ms", v / 1000);
    else if (strcmp(key, "duplicates") == 0 || strcmp(key, "bad") == 0)
        snprintf(out, SHORT, "%.3g %%", v);
    else if (strcmp(key, "rows") == 0)
        brief(v, out);
    else
        snprintf(out, SHORT, "%.0f", v);
    return out;
}

/* The first measurement of each row: others differ from it in their mode only. */
static size_t rows_of(const figures *f, const sweep *s, const char *engine, const json_t **rows)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++) {
        const json_t *r = f->all[i], *same;
        int known = 0;
        if (!is_text(r, "bench", s->bench) || !engine_wanted(r, engine) || is_text(r, "mode", "bare"))
            continue;
        for (size_t k = 0; k < n && !known; k++)
            known = (same = same_but_mode(f, rows[k], text_of(r, "mode"))) == r;
        if (!known)
            rows[n++] = r;
    }
    sort_key = s->key;
    qsort(rows, n, sizeof *rows, by_row);
    return n;
}

static int any(const json_t *const *rows, size_t n, const figures *f, const char *mode)
{
    for (size_t i = 0; i < n; i++)
        if (same_but_mode(f, rows[i], mode))
            return 1;
    return 0;
}

/* The columns of a table: those for which there is a figure. */
typedef struct {
    const char *key;
    int engine, handler, bare, none, record, offset, of_batch;
} columns;

static void sweep_head(FILE *out, const columns *c)
{
    const struct {
        int shown;
        const char *name, *rule;
    } heads[] = {{c->engine, " |", " --- |"},
                 {c->handler, " handler |", " --- |"},
                 {1, strcmp(c->key, "rtt_us") == 0 ? " round trip |" : strcmp(c->key, "rows") == 0 ? " records |" : strcmp(c->key, "batch") == 0 ? " batch |" : " connections |", " ---: |"},
                 {c->bare && !c->of_batch, " bare |", " ---: |"},
                 {c->none, " no dedup |", " ---: |"},
                 {c->record, " by record |", " ---: |"},
                 {c->record && c->bare, " × bare |", " ---: |"},
                 {c->record && c->none, " × no dedup |", " ---: |"},
                 {c->offset, " by offset |", " ---: |"},
                 {c->offset && c->bare, " × bare |", " ---: |"},
                 {c->offset && c->none, " × no dedup |", " ---: |"}};
    for (int rules = 0; rules < 2; rules++) {
        fputc('|', out);
        for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
            if (heads[i].shown)
                fputs(rules ? heads[i].rule : heads[i].name, out);
        fputc('\n', out);
    }
}

static void sweep_row(FILE *out, const figures *f, const columns *c, const json_t *r)
{
    const json_t *bare = bare_of(f, r), *none = same_but_mode(f, r, "none");
    const struct {
        int shown;
        const json_t *ours;
    } ways[] = {{c->record, same_but_mode(f, r, "record")}, {c->offset, same_but_mode(f, r, "offset")}};
    char rest[64], text[SHORT];
    apart(f, r, c->key, rest, sizeof rest);
    fputc('|', out);
    if (c->engine)
        fprintf(out, " %s |", engine_name(f, text_of(r, "engine")));
    if (c->handler)
        cell(out, text_of(r, "handler"));
    fprintf(out, " %s%s |", place_text(c->key, number_of(r, c->key), text), rest);
    if (c->bare && !c->of_batch)
        fprintf(out, " %s |", count(number_of(bare, "per_second"), text));
    if (c->none)
        fprintf(out, " %s |", count(number_of(none, "per_second"), text));
    for (int i = 0; i < 2; i++) {
        double speed = number_of(ways[i].ours, "per_second");
        if (!ways[i].shown)
            continue;
        fprintf(out, " %s |", count(speed, text));
        if (c->bare)
            fprintf(out, " %s |", ratio(speed, number_of(bare, "per_second"), text));
        if (c->none)
            fprintf(out, " %s |", ratio(speed, number_of(none, "per_second"), text));
    }
    fputc('\n', out);
}

static int sweep_table(FILE *out, const figures *f, const sweep *s, const char *engine)
{
    const json_t **rows = calloc(f->n, sizeof *rows);
    size_t n = rows ? rows_of(f, s, engine, rows) : 0;
    columns c = {.key = s->key, .engine = !*engine, .none = any(rows, n, f, "none"), .record = any(rows, n, f, "record"), .offset = any(rows, n, f, "offset")};
    char text[SHORT];
    c.of_batch = strcmp(s->key, "batch") == 0;
    for (size_t i = 0; i < n; i++) {
        c.handler = c.handler || strcmp(text_of(rows[0], "handler"), text_of(rows[i], "handler")) != 0;
        c.bare = c.bare || bare_of(f, rows[i]);
    }
    if (n && c.of_batch && c.bare && *engine)
        fprintf(out, "Bare inserts, each a transaction of its own: %s a second.\n\n", grouped(number_of(bare_of(f, rows[0]), "per_second"), text));
    if (n)
        sweep_head(out, &c);
    for (size_t i = 0; i < n; i++)
        sweep_row(out, f, &c, rows[i]);
    free(rows);
    return n > 0;
}

/* The short answer: a row for each engine. */
static int cost_table(FILE *out, const figures *f)
{
    columns c = {.key = "batch", .engine = 1, .bare = 1, .none = 1, .record = 1, .offset = 1};
    int n = 0;
    for (const char *const *e = engines; *e; e++)
        for (size_t i = 0; i < f->n; i++) {
            const json_t *r = f->all[i];
            if (!is_text(r, "bench", "batch") || !is_text(r, "engine", *e) || !is_text(r, "mode", "record") || !is_text(r, "handler", "queued") || number_of(r, "batch") != 128)
                continue;
            if (!n++)
                sweep_head(out, &c);
            sweep_row(out, f, &c, r);
        }
    return n;
}

/* ---- redelivered and bad messages: how much slower than without them */

static const json_t *without(const figures *f, const json_t *r, const char *key)
{
    static const char *const same[] = {"bench", "engine", "mode", "handler"};
    for (size_t i = 0; i < f->n; i++) {
        int fits = number_of(f->all[i], "batch") == number_of(r, "batch") && number_of(f->all[i], key) == 0;
        for (size_t k = 0; k < 4 && fits; k++)
            fits = is_text(f->all[i], same[k], text_of(r, same[k]));
        if (fits)
            return f->all[i];
    }
    return NULL;
}

static int share_table(FILE *out, const figures *f, const sweep *s, const char *engine)
{
    const json_t **rows = calloc(f->n, sizeof *rows);
    size_t n = 0;
    char a[SHORT], b[SHORT], c[SHORT], d[SHORT];
    for (size_t i = 0; rows && i < f->n; i++)
        if (is_text(f->all[i], "bench", s->bench) && engine_wanted(f->all[i], engine) && !is_text(f->all[i], "mode", "bare"))
            rows[n++] = f->all[i];
    sort_key = s->key;
    if (n) {
        qsort(rows, n, sizeof *rows, by_row);
        fprintf(out, "| | batch | | %s | messages/s | × none |\n| --- | ---: | --- | ---: | ---: | ---: |\n", s->key);
    }
    for (size_t i = 0; i < n; i++) {
        const char *by = text_of(rows[i], "bad_by");
        double speed = number_of(rows[i], "per_second");
        fprintf(out, "| %s | %s |", engine_name(f, text_of(rows[i], "engine")), brief(number_of(rows[i], "batch"), a));
        cell(out, mode_name(text_of(rows[i], "mode")));
        fprintf(out, " %s%s | %s | %s |\n", place_text(s->key, number_of(rows[i], s->key), b),
                strcmp(by, "verdict") == 0 ? ", refused by the handler" : *by ? ", refused by the database" : "", grouped(speed, c),
                ratio(speed, number_of(without(f, rows[i], s->key), "per_second"), d));
    }
    free(rows);
    return n > 0;
}

/* ---- the rest */

static const json_t *system_of(const figures *f, const char *bench, const char *engine, const char *system)
{
    for (size_t i = 0; i < f->n; i++)
        if (is_text(f->all[i], "bench", bench) && is_text(f->all[i], "engine", engine) && is_text(f->all[i], "system", system))
            return f->all[i];
    return NULL;
}

/* A row of systems_table: how fast, and what it takes. */
static void system_row(FILE *out, const figures *f, const json_t *r, const json_t *other, int http)
{
    static const char *const keys[] = {"client_cpu_us", "database_cpu_us", "broker_cpu_us", "rss_mb"};
    char text[SHORT], times[SHORT];
    double twice = number_of(r, "booked_twice");
    fprintf(out, "| %s |", engine_name(f, text_of(r, "engine")));
    cell(out, system_name(r));
    fprintf(out, " %s | %s |", grouped(number_of(r, "per_second"), text), ratio(number_of(r, "per_second"), number_of(other, "per_second"), times));
    for (int i = 0; i < 4; i++)
        if (!http || i != 1)
            fprintf(out, " %s |", count(number_of(r, keys[i]), text));
    if (!http)
        fprintf(out, " %s |", isnan(twice) ? "–" : grouped(twice, text));
    fputc('\n', out);
}

static int systems_table(FILE *out, const figures *f, const char *bench, const char *engine)
{
    int n = 0, http = strcmp(bench, "http") == 0; /* there the database is in the client */
    for (const char *const *e = engines; *e; e++)
        for (size_t i = 0; i < f->n; i++) {
            const json_t *r = f->all[i];
            if (!is_text(r, "bench", bench) || !is_text(r, "engine", *e) || !engine_wanted(r, engine))
                continue;
            if (!n++)
                fputs(http ? "| | | messages/s | × the store alone | client CPU, µs | endpoint CPU, µs | client memory, MB |\n| --- | --- | ---: | ---: | ---: | ---: | ---: |\n"
                           : "| | | messages/s | × Java, no dedup | client CPU, µs | database CPU, µs | broker CPU, µs | client memory, MB | booked twice |\n"
                             "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
                      out);
            system_row(out, f, r, system_of(f, bench, *e, http ? "store" : "java"), http);
        }
    return n;
}

static int latency_table(FILE *out, const figures *f, const char *engine)
{
    const json_t **rows = calloc(f->n, sizeof *rows);
    size_t n = 0;
    for (size_t i = 0; rows && i < f->n; i++)
        if (is_text(f->all[i], "bench", "latency") && engine_wanted(f->all[i], engine))
            rows[n++] = f->all[i];
    sort_key = "load_per_second";
    if (n)
        qsort(rows, n, sizeof *rows, by_row);
    for (size_t i = 0; i < n; i++) {
        char load[SHORT];
        if (!i)
            fputs("| | messages/s | | p50 | p99 | p99.9 |\n| --- | ---: | --- | ---: | ---: | ---: |\n", out);
        fprintf(out, "| %s | %s |", engine_name(f, text_of(rows[i], "engine")), grouped(number_of(rows[i], "load_per_second"), load));
        cell(out, system_name(rows[i]));
        fprintf(out, " %.3g ms | %.3g ms | %.3g ms |\n", number_of(rows[i], "p50_us") / 1000, number_of(rows[i], "p99_us") / 1000, number_of(rows[i], "p999_us") / 1000);
    }
    free(rows);
    return n > 0;
}

static int consumer_table(FILE *out, const figures *f, const char *engine)
{
    int n = 0;
    for (const char *const *e = engines; *e; e++)
        for (size_t i = 0; i < f->n; i++) {
            const json_t *r = f->all[i];
            static const char *const times[] = {"p50_us", "p99_us", "p999_us"};
            char speed[SHORT];
            if (!is_text(r, "bench", "consumer") || !is_text(r, "engine", *e) || !engine_wanted(r, engine))
                continue;
            if (!n++)
                fputs("| | handler | load | messages/s | in one transaction | CPU, µs | p50 | p99 | p99.9 |\n| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n", out);
            fprintf(out, "| %s |", engine_name(f, *e));
            cell(out, text_of(r, "handler"));
            cell(out, text_of(r, "load"));
            fprintf(out, " %s | %.3g | %.3g |", count(number_of(r, "per_second"), speed), number_of(r, "per_transaction"), number_of(r, "client_cpu_us"));
            for (int k = 0; k < 3; k++)
                fprintf(out, " %.3g ms |", number_of(r, times[k]) / 1000);
            fputc('\n', out);
        }
    return n;
}

/* Anything else: the lines of a kind as they are, a column for each key of the first one. */
static int lines_table(FILE *out, const figures *f, const char *bench)
{
    json_t *first = NULL, *value;
    const char *key;
    for (size_t i = 0; i < f->n; i++) {
        if (!is_text(f->all[i], "bench", bench))
            continue;
        for (int part = first ? 2 : 0; part < 3; part++) {
            first = first ? first : f->all[i];
            fputc('|', out);
            json_object_foreach(first, key, value) {
                char number[SHORT];
                const json_t *mine = json_object_get(f->all[i], key);
                if (strcmp(key, "bench") == 0)
                    continue;
                if (part < 2)
                    part ? (void)fputs(json_is_number(value) ? " ---: |" : " --- |", out) : cell(out, key);
                else if (strcmp(key, "engine") == 0)
                    cell(out, engine_name(f, text_of(f->all[i], key)));
                else
                    cell(out, json_is_number(mine) ? grouped(json_number_value(mine), number) : text_of(f->all[i], key));
            }
            fputc('\n', out);
        }
    }
    return first != NULL;
}

static int machine_table(FILE *out, const figures *f)
{
    json_t *machine = machine_of(f);
    const char *key;
    json_t *value;
    if (!machine)
        return 0;
    fputs("| | |\n| --- | --- |\n", out);
    json_object_foreach(machine, key, value) {
        if (strcmp(key, "bench") == 0)
            continue;
        char number[SHORT];
        snprintf(number, sizeof number, "%.10g", json_number_value(value));
        fputc('|', out);
        cell(out, key);
        cell(out, json_is_string(value) ? json_string_value(value) : number);
        fputc('\n', out);
    }
    return 1;
}

/* ---- what was aimed at */

typedef struct {
    const char *what, *bench, *engine, *handler;
    double batch;
    const char *mode, *key;
    double value;            /* of key, where the batch alone does not say which measurement */
    const char *against;     /* another mode, or how bad messages are refused: then the same without them */
    double least;
} aim;
static const aim aims[] = {
    {"batches of 128, by record", "batch", "postgresql", "queued", 128, "record", NULL, 0, "bare", 12},
    {"batches of 128, by record", "batch", "postgresql", "queued", 128, "record", NULL, 0, "none", 0.7},
    {"the same through a round trip of 0.5 ms", "rtt", "postgresql", "queued", 128, "record", "rtt_us", 500, "bare", 14},
    {"batches of 32, a handler that waits for each statement", "batch", "postgresql", "blocking", 32, "record", NULL, 0, "none", 0.85},
    {"one message a transaction", "batch", "postgresql", "queued", 1, "record", NULL, 0, "bare", 0.95},
    {"batches of 128, by record", "batch", "mysql", "queued", 128, "record", NULL, 0, "bare", 10},
    {"batches of 128, by record", "batch", "mysql", "queued", 128, "record", NULL, 0, "none", 0.7},
    {"batches of 128, by record", "batch", "sqlite", "queued", 128, "record", NULL, 0, "bare", 30},
    {"batches of 128, by record", "batch", "sqlite", "queued", 128, "record", NULL, 0, "none", 0.5},
    {"batches of 128, by offset", "batch", "postgresql", "queued", 128, "offset", NULL, 0, "none", 0.9},
    {"batches of 128, by offset", "batch", "mysql", "queued", 128, "offset", NULL, 0, "none", 0.9},
    {"batches of 128, by offset", "batch", "sqlite", "queued", 128, "offset", NULL, 0, "none", 0.9},
    {"1 % of the messages refused by the database", "bad", "postgresql", "queued", 128, "record", "bad", 1, "statement", 0.8},
    {"1 % of the messages refused by the database", "bad", "sqlite", "queued", 128, "record", "bad", 1, "statement", 0.8},
    {"1 % of the messages refused by the database", "bad", "mysql", "queued", 128, "record", "bad", 1, "statement", 0.5},
    {"1 % of the messages refused by the handler", "bad", "postgresql", "queued", 128, "record", "bad", 1, "verdict", 0.8},
    {"1 % of the messages refused by the handler", "bad", "sqlite", "queued", 128, "record", "bad", 1, "verdict", 0.8},
    {"1 % of the messages refused by the handler", "bad", "mysql", "queued", 128, "record", "bad", 1, "verdict", 0.5},
};

static const json_t *measured(const figures *f, const aim *a, double value)
{
    for (size_t i = 0; i < f->n; i++) {
        const json_t *r = f->all[i];
        if (is_text(r, "bench", a->bench) && is_text(r, "engine", a->engine) && is_text(r, "mode", a->mode) && is_text(r, "handler", a->handler) && number_of(r, "batch") == a->batch &&
            (!a->key || number_of(r, a->key) == value) && (value == 0 || strcmp(a->bench, "bad") != 0 || is_text(r, "bad_by", a->against)))
            return r;
    }
    return NULL;
}

/* limit: at least so much, or at most so much when it is negative */
static int aim_row(FILE *out, const char *engine, const char *what, const char *against, double limit, const char *unit, double got)
{
    char is[SHORT];
    if (isnan(got))
        return 0;
    snprintf(is, sizeof is, got < 9.995 ? "%.2f" : "%.1f", got);
    int held = limit < 0 ? got <= -limit : got >= limit;
    fprintf(out, "| %s | %s | %s | %s %.3g%s | %s%s | %s |\n", engine, what, against, limit < 0 ? "≤" : "≥", fabs(limit), unit, is, unit, held ? "yes" : "**no**");
    return 1;
}

static int against_java(FILE *out, const figures *f, const char *engine)
{
    const json_t *once = system_of(f, "end-to-end", engine, "xonce"), *java = system_of(f, "end-to-end", engine, "java"), *record = system_of(f, "end-to-end", engine, "java-record");
    const char *name = engine_name(f, engine);
    double speed = number_of(once, "per_second");
    int n = aim_row(out, name, "from the broker, 20 workers", "the Java client without dedup", 8, " x", speed / number_of(java, "per_second"));
    n += aim_row(out, name, "from the broker, 20 workers", "the Java client with a record row", 12, " x", speed / number_of(record, "per_second"));
    n += aim_row(out, name, "CPU of the client a message", "the Java client without dedup", -0.1, " x", number_of(once, "client_cpu_us") / number_of(java, "client_cpu_us"));
    return n + aim_row(out, name, "memory of the client", "", -50, " MB", number_of(once, "rss_mb"));
}

static int aims_table(FILE *out, const figures *f)
{
    int n = 0;
    fputs("| | | against | aim | measured | reached |\n| --- | --- | --- | ---: | ---: | --- |\n", out);
    for (size_t i = 0; i < sizeof aims / sizeof *aims; i++) {
        const aim *a = &aims[i];
        const json_t *r = measured(f, a, a->value), *other = NULL;
        int bare = strcmp(a->against, "bare") == 0, bad = strcmp(a->bench, "bad") == 0;
        if (r)
            other = bare ? bare_of(f, r) : bad ? measured(f, a, 0) : same_but_mode(f, r, a->against);
        n += aim_row(out, engine_name(f, a->engine), a->what, bare ? "bare inserts" : bad ? "none refused" : "the same without dedup", a->least, " x",
                     number_of(r, "per_second") / number_of(other, "per_second"));
    }
    n += against_java(out, f, "postgresql") + against_java(out, f, "mysql");
    const json_t *http = system_of(f, "http", "sqlite", "xonce"), *store = system_of(f, "http", "sqlite", "store");
    n += aim_row(out, engine_name(f, "sqlite"), "over HTTP", "the store alone", 0.5, " x", number_of(http, "per_second") / number_of(store, "per_second"));
    for (size_t i = 0; i < f->n; i++) {
        const json_t *r = f->all[i];
        char what[96], load[SHORT];
        if (!is_text(r, "bench", "latency") || !is_text(r, "system", "xonce"))
            continue;
        snprintf(what, sizeof what, "p99 at %s messages a second", grouped(number_of(r, "load_per_second"), load));
        for (size_t k = 0; k < f->n; k++)
            if (is_text(f->all[k], "bench", "latency") && is_text(f->all[k], "system", "java") && is_text(f->all[k], "engine", text_of(r, "engine")) &&
                number_of(f->all[k], "load_per_second") == number_of(r, "load_per_second"))
                n += aim_row(out, engine_name(f, text_of(r, "engine")), what, "the Java client without dedup", -1, " x", number_of(r, "p99_us") / number_of(f->all[k], "p99_us"));
    }
    return n;
}

/* ---- the document */

/* -1: no such table. Else whether there was anything to write. */
static int table(FILE *out, const figures *f, const char *name, const char *engine)
{
    const sweep *s = sweep_of(name);
    if (s && (s->shape == A_LINE_EACH || s->shape == NOT_DRAWN))
        return share_table(out, f, s, engine);
    if (s)
        return sweep_table(out, f, s, engine);
    if (strcmp(name, "end-to-end") == 0 || strcmp(name, "http") == 0)
        return systems_table(out, f, name, engine);
    if (strcmp(name, "lines") == 0 && *engine)
        return lines_table(out, f, engine);
    if (strcmp(name, "cost") == 0)
        return cost_table(out, f);
    if (strcmp(name, "latency") == 0)
        return latency_table(out, f, engine);
    if (strcmp(name, "consumer") == 0)
        return consumer_table(out, f, engine);
    return strcmp(name, "machine") == 0 ? machine_table(out, f) : strcmp(name, "aims") == 0 ? aims_table(out, f) : -1;
}

/* One table: from the line behind its first mark up to its last one, which is left in text. */
static int replace(FILE *in, FILE *out, const figures *f, char **text, size_t *size, const char *path)
{
    char name[32] = "", engine[32] = "", *old = NULL, *new = NULL;
    size_t old_size, new_size;
    int ended = 0, got;
    FILE *kept = open_memstream(&old, &old_size), *made = open_memstream(&new, &new_size);
    if (!kept || !made) {
        fprintf(stderr, "plot: no memory\n");
        exit(1);
    }
    sscanf(*text, "<!-- table %31s %31s", name, engine);
    if (strcmp(engine, "-->") == 0)
        *engine = 0;
    while (!ended && getline(text, size, in) >= 0 && strncmp(*text, "<!-- table ", 11) != 0)
        if ((ended = strncmp(*text, "<!-- end -->", 12) == 0) == 0)
            fputs(*text, kept);
    got = ended ? table(made, f, name, engine) : -1;
    fclose(kept);
    fclose(made);
    if (got > 0)
        fprintf(out, "\n%s\n", new);
    else if (got == 0)
        fputs(old, out);
    if (got == 0)
        fprintf(stderr, "plot: %s: nothing measured for the table %s %s: it stays as it is\n", path, name, engine);
    if (got < 0)
        fprintf(stderr, ended ? "plot: %s: there is no table \"%s\"\n" : "plot: %s: the table %s has no line <!-- end -->\n", path, name);
    free(old);
    free(new);
    return got < 0 ? -1 : 0;
}

int write_tables(const figures *f, const char *path)
{
    char part[1100], *text = NULL;
    size_t size = 0;
    int status = 0;
    snprintf(part, sizeof part, "%s.part", path);
    FILE *in = fopen(path, "r"), *out = in ? fopen(part, "w") : NULL;
    if (!out) {
        fprintf(stderr, "plot: %s: %s\n", in ? part : path, strerror(errno));
        if (in)
            fclose(in);
        return -1;
    }
    while (!status && getline(&text, &size, in) >= 0) {
        fputs(text, out);
        if (strncmp(text, "<!-- table ", 11) == 0 && (status = replace(in, out, f, &text, &size, path)) == 0)
            fputs(text, out);
    }
    int bad = ferror(in) | ferror(out);
    free(text);
    fclose(in);
    if (fclose(out) != 0 || bad || (!status && rename(part, path) != 0)) {
        fprintf(stderr, "plot: %s: %s\n", path, strerror(errno));
        status = -1;
    }
    if (status)
        remove(part);
    else
        printf("%s\n", path);
    return status;
}
