/* Makes drawings and tables of measurements.
 *
 * Usage: plot FILE... [--out DIR] [--tables FILE]
 * FILE: JSON lines, as the programs of bench/ write them. Where two lines measure the same, the later one counts. DIR (docs/performance) gets one SVG for each question that
 * the lines answer; the tables of --tables, by default DIR.md if there is one, are written anew between their marks. What the lines do not answer stays as it is. */
#include "bench/plot.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const engines[] = {"sqlite", "postgresql", "mysql", NULL};
static const char *const dimensions[] = {"batch", "connections", "duplicates", "bad", "rtt_us", "rows", NULL};
const sweep sweeps[] = {
    {"batch", "batch", "Throughput and batch size", "messages in one transaction", 1, 1, A_FILE_EACH},
    {"connections", "connections", "Throughput and connections", "connections to the database, each with batches of its own", 1, 1, A_PANEL_EACH},
    {"rtt", "rtt_us", "Throughput and round-trip time", "round trip to the database", 0, 1, A_PANEL_EACH},
    {"rows", "rows", "Throughput and table size", "records in transaction_record at the start", 0, 1, A_PANEL_EACH},
    {"duplicates", "duplicates", "Throughput and redeliveries", "messages that were applied before", 0, 0, A_LINE_EACH},
    {"bad", "bad", NULL, NULL, 0, 0, NOT_DRAWN},
    {NULL, NULL, NULL, NULL, 0, 0, NOT_DRAWN},
};

static int failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int failed(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("plot: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return -1;
}

/* ---- what a line says */

const char *text_of(const json_t *r, const char *key)
{
    const char *text = json_string_value(json_object_get(r, key));
    return text ? text : "";
}

double number_of(const json_t *r, const char *key)
{
    const json_t *v = json_object_get(r, key);
    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

int is_text(const json_t *r, const char *key, const char *value) { return strcmp(text_of(r, key), value) == 0; }

json_t *machine_of(const figures *f)
{
    for (size_t i = 0; i < f->n; i++)
        if (is_text(f->all[i], "bench", "machine"))
            return f->all[i];
    return NULL;
}

const char *engine_name(const figures *f, const char *engine)
{
    if (strcmp(engine, "sqlite") == 0)
        return "SQLite";
    if (strcmp(engine, "postgresql") == 0)
        return "PostgreSQL";
    if (strcmp(engine, "mysql") != 0)
        return engine;
    const json_t *machine = machine_of(f);
    return *text_of(machine, "mysql") && !*text_of(machine, "mariadb") && !strstr(text_of(machine, "mysql"), "MariaDB") ? "MySQL" : "MariaDB";
}

size_t engine_rank(const json_t *r)
{
    size_t i = 0;
    while (engines[i] && !is_text(r, "engine", engines[i]))
        i++;
    return i;
}

const char *mode_name(const char *mode)
{
    static const char *const names[][2] = {{"bare", "bare inserts"}, {"none", "no dedup"}, {"record", "by record"}, {"offset", "by offset"}};
    for (size_t i = 0; i < 4; i++)
        if (strcmp(mode, names[i][0]) == 0)
            return names[i][1];
    return mode;
}

const char *system_name(const json_t *r)
{
    static const char *const names[][2] = {{"java", "Java, no dedup"}, {"java-record", "Java, record row"}, {"xonce-offset", "xonce, by offset"}, {"xonce-sql", "xonce consume"},
                                           {"store", "the store alone"}, {"endpoint", "the endpoint alone"}};
    const char *name = text_of(r, "system");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i][0]) == 0)
            return names[i][1];
    return name;
}

const sweep *sweep_of(const char *bench)
{
    for (const sweep *s = sweeps; s->bench; s++)
        if (strcmp(s->bench, bench) == 0)
            return s;
    return NULL;
}

static int same_text(const json_t *a, const json_t *b, const char *key) { return strcmp(text_of(a, key), text_of(b, key)) == 0; }

static int same_number(const json_t *a, const json_t *b, const char *key)
{
    double x = number_of(a, key), y = number_of(b, key);
    return x == y || (isnan(x) && isnan(y));
}

/* Whoever reads by offset knows redeliveries by their place: that it is given none is no difference. */
static int different(const json_t *a, const json_t *b, const char *key)
{
    if (strcmp(key, "duplicates") == 0 && !is_text(a, "bench", key) && is_text(a, "mode", "offset") != is_text(b, "mode", "offset"))
        return 0;
    return !same_number(a, b, key);
}

static int same_dimensions(const json_t *a, const json_t *b)
{
    for (const char *const *d = dimensions; *d; d++)
        if (different(a, b, *d))
            return 0;
    return 1;
}

static int known_kind(const json_t *r)
{
    static const char *const others[] = {"machine", "latency", "end-to-end", "http", "consumer", NULL};
    int known = sweep_of(text_of(r, "bench")) != NULL;
    for (const char *const *o = others; *o && !known; o++)
        known = is_text(r, "bench", *o);
    return known;
}

/* Do both measure the same? */
static int same_figure(const json_t *a, json_t *b)
{
    static const char *const texts[] = {"bench", "engine", "mode", "handler", "system", "load", "bad_by"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!same_text(a, b, texts[i]))
            return 0;
    const char *key;
    json_t *value;
    json_object_foreach(b, key, value) /* of a kind that is not known here, any text may tell them apart */
        if (json_is_string(value) && !known_kind(b) && !same_text(a, b, key))
            return 0;
    return same_dimensions(a, b) && (*text_of(a, "load") || same_number(a, b, "load_per_second"));
}

static int same_place(const json_t *a, const json_t *b) { return same_text(a, b, "bench") && same_text(a, b, "engine"); }

/* Batch and handler mean nothing to bare inserts. Where they were measured once only, that once serves all. */
const json_t *bare_of(const figures *f, const json_t *r)
{
    const sweep *s = sweep_of(text_of(r, "bench"));
    const json_t *found = NULL, *only = NULL;
    size_t n = 0;
    for (size_t i = 0; s && i < f->n; i++) {
        if (!same_place(f->all[i], r) || !is_text(f->all[i], "mode", "bare"))
            continue;
        only = f->all[i];
        n++;
        if (strcmp(s->key, "batch") == 0 || same_number(f->all[i], r, s->key))
            found = f->all[i];
    }
    return found ? found : n == 1 ? only : NULL;
}

const json_t *same_but_mode(const figures *f, const json_t *r, const char *mode)
{
    for (size_t i = 0; i < f->n; i++)
        if (same_place(f->all[i], r) && is_text(f->all[i], "mode", mode) && same_text(f->all[i], r, "handler") && same_dimensions(f->all[i], r))
            return f->all[i];
    return NULL;
}

void apart(const figures *f, const json_t *r, const char *key, char *out, size_t size)
{
    size_t n = 0;
    *out = 0;
    for (const char *const *d = dimensions; *d; d++) {
        int differs = 0;
        for (size_t i = 0; strcmp(*d, key) != 0 && i < f->n; i++)
            differs = differs || (same_place(f->all[i], r) && !is_text(f->all[i], "mode", "bare") && different(f->all[i], r, *d));
        char value[SHORT];
        if (differs && !isnan(number_of(r, *d)) && n < size)
            n += (size_t)snprintf(out + n, size - n, ", %s %s", strcmp(*d, "rtt_us") == 0 ? "µs" : *d, brief(number_of(r, *d), value));
    }
}

const char *brief(double v, char out[SHORT])
{
    const char *unit = fabs(v) >= 999500 ? "M" : fabs(v) >= 999.5 ? "k" : "";
    double d = *unit == 'M' ? v / 1e6 : *unit == 'k' ? v / 1e3 : v;
    int digits = fabs(d) >= 99.95 || d == 0 ? 0 : fabs(d) >= 9.995 ? 1 : 2;
    int n = snprintf(out, SHORT, "%.*f", digits, d);
    while (digits && n > 0 && (out[n - 1] == '0' || out[n - 1] == '.'))
        if (out[--n] == '.')
            break;
    snprintf(out + n, (size_t)(SHORT - n), "%s", unit);
    return out;
}

const char *grouped(double v, char out[SHORT])
{
    char digits[SHORT];
    if (v < 999.5) {
        snprintf(out, SHORT, "%.3g", v);
        return out;
    }
    double power = pow(10, floor(log10(v)) - 2); /* three digits of it: no measurement here has more */
    int n = snprintf(digits, sizeof digits, "%.0f", round(v / power) * power), k = 0;
    for (int i = 0; i < n && k < SHORT - 2; i++) {
        if (i && (n - i) % 3 == 0)
            out[k++] = ',';
        out[k++] = digits[i];
    }
    out[k] = 0;
    return out;
}

/* ---- reading */

static int wrong(json_t *r, const char *file, int at)
{
    static const char *const latencies[] = {"load_per_second", "p50_us", "p99_us", "p999_us"};
    const char *bench = text_of(r, "bench"), *key;
    json_t *value;
    if (!json_is_object(r) || !*bench)
        return failed("%s:%d: not an object with the text \"bench\"", file, at);
    if (strcmp(bench, "machine") == 0)
        return 0;
    json_object_foreach(r, key, value)
        if (json_is_number(value) && !(json_number_value(value) >= 0))
            return failed("%s:%d: \"%s\" is below 0", file, at, key);
    const sweep *s = sweep_of(bench);
    int latency = strcmp(bench, "latency") == 0;
    if (!s && !latency && strcmp(bench, "end-to-end") != 0 && strcmp(bench, "http") != 0)
        return 0;
    if (!engines[engine_rank(r)])
        return failed("%s:%d: \"engine\" is none of sqlite, postgresql, mysql", file, at);
    if (!*text_of(r, s ? "mode" : "system"))
        return failed("%s:%d: no text \"%s\"", file, at, s ? "mode" : "system");
    for (size_t i = 0; latency && i < 4; i++)
        if (!(number_of(r, latencies[i]) > 0))
            return failed("%s:%d: no number \"%s\" above 0", file, at, latencies[i]);
    if (!latency && !(number_of(r, "per_second") > 0))
        return failed("%s:%d: no number \"per_second\" above 0", file, at);
    if (s && !is_text(r, "mode", "bare") && isnan(number_of(r, s->key)))
        return failed("%s:%d: no number \"%s\"", file, at, s->key);
    return 0;
}

static const char *plain_text(const json_t *v, char number[SHORT])
{
    snprintf(number, SHORT, "%.10g", json_number_value(v));
    return json_is_string(v) ? json_string_value(v) : json_is_number(v) ? number : "";
}

/* The first lines of several files become one. What differs, and is not the time, stands there with all its values. */
static void add_machine(json_t *machine, json_t *more)
{
    const char *key;
    json_t *value;
    if (!same_text(machine, more, "cpu") || (*text_of(more, "commit") && *text_of(machine, "commit") && !same_text(machine, more, "commit")))
        fprintf(stderr, "plot: the files are of different machines or versions of the source: what they say together is no comparison\n");
    json_object_foreach(more, key, value) {
        char a[SHORT], b[SHORT], both[512];
        const char *old = plain_text(json_object_get(machine, key), a), *new = plain_text(value, b);
        if (!*old) {
            json_object_set(machine, key, value);
        } else if (*new && !strstr(old, new) && strcmp(key, "date") != 0) {
            snprintf(both, sizeof both, "%s, %s", old, new);
            json_object_set_new(machine, key, json_string(both));
        }
    }
}

/* Takes r, unless it fails. */
static int add(figures *f, json_t *r)
{
    json_t *machine = is_text(r, "bench", "machine") ? machine_of(f) : NULL;
    if (machine) {
        add_machine(machine, r);
        json_decref(r);
        return 0;
    }
    for (size_t i = 0; i < f->n; i++)
        if (same_figure(f->all[i], r)) {
            json_decref(f->all[i]);
            f->all[i] = r;
            return 0;
        }
    json_t **more = realloc(f->all, (f->n + 1) * sizeof *more);
    if (!more)
        return failed("no memory");
    f->all = more;
    f->all[f->n++] = r;
    return 0;
}

static int read_file(figures *f, const char *path)
{
    FILE *in = fopen(path, "r");
    char *text = NULL;
    size_t size = 0;
    int at = 0, status = 0;
    if (!in)
        return failed("%s: %s", path, strerror(errno));
    while (!status && getline(&text, &size, in) >= 0) {
        json_error_t why;
        at++;
        if (!text[strspn(text, " \t\r\n")])
            continue;
        json_t *r = json_loads(text, JSON_REJECT_DUPLICATES, &why);
        if (!r)
            status = failed("%s:%d: not JSON: %s", path, at, why.text);
        else if ((status = wrong(r, path, at)) != 0 || (status = add(f, r)) != 0)
            json_decref(r);
    }
    if (ferror(in))
        status = failed("%s: %s", path, strerror(errno));
    free(text);
    fclose(in);
    return status;
}

/* ---- drawings */

static const char *milliseconds(double us, char out[SHORT])
{
    char value[SHORT - 4];
    snprintf(value, sizeof value, "%.3g", us / 1000);
    snprintf(out, SHORT, "%s ms", value);
    return out;
}

static const char *whole(double v, char out[SHORT])
{
    snprintf(out, SHORT, "%.0f", v);
    return out;
}

static const char *percent(double v, char out[SHORT])
{
    snprintf(out, SHORT, "%.3g %%", v);
    return out;
}

static int by_x(const void *a, const void *b)
{
    const point *p = a, *q = b;
    return (p->x > q->x) - (p->x < q->x);
}

static int add_point(panel *p, const line *like, point q)
{
    size_t i = 0;
    while (i < p->n && strcmp(p->lines[i].label, like->label) != 0)
        i++;
    if (i == p->n) {
        if (i == MAX_LINES)
            return failed("%s: more than %d lines in one drawing", like->label, MAX_LINES);
        p->lines[p->n] = *like;
        p->lines[p->n].points = NULL;
        p->lines[p->n++].n = 0;
    }
    line *l = &p->lines[i];
    point *more = realloc(l->points, (l->n + 1) * sizeof *more);
    if (!more)
        return failed("no memory");
    l->points = more;
    l->points[l->n++] = q;
    qsort(l->points, l->n, sizeof *l->points, by_x);
    return 0;
}

static void free_points(chart *c)
{
    for (size_t p = 0; p < c->n; p++)
        for (size_t i = 0; i < c->panels[p].n; i++)
            free(c->panels[p].lines[i].points);
}

static line look_of(const figures *f, const json_t *r, const char *key)
{
    line l = {.look = 4, .hollow = is_text(r, "handler", "blocking")};
    static const char *const modes[] = {"record", "none", "offset", "bare"};
    char rest[64] = "";
    for (int i = 0; i < 4; i++)
        if (is_text(r, "mode", modes[i]))
            l.look = i;
    if (l.look == 3)
        l.hollow = 0;
    else
        apart(f, r, key, rest, sizeof rest);
    l.dash = l.look == 3 ? 2 : l.look == 1;
    snprintf(l.label, sizeof l.label, "%s%s%s", mode_name(text_of(r, "mode")), l.hollow ? ", blocking" : "", rest);
    return l;
}

/* The lines of one engine. Bare inserts are one line across where they do not depend on what is varied. */
static int fill_panel(panel *p, const figures *f, const sweep *s, const char *engine)
{
    for (size_t i = 0; i < f->n; i++) {
        const json_t *r = f->all[i];
        if (!is_text(r, "bench", s->bench) || !is_text(r, "engine", engine))
            continue;
        line l = look_of(f, r, s->key);
        if (s->shape == A_LINE_EACH && !is_text(r, "mode", "record"))
            continue;
        if (s->shape == A_LINE_EACH) {
            l.look = (int)engine_rank(r);
            snprintf(l.label, sizeof l.label, "%s", engine_name(f, engine));
        }
        double x = number_of(r, s->key);
        if (add_point(p, &l, (point){isnan(x) ? 1 : x, number_of(r, "per_second"), number_of(r, "min"), number_of(r, "max")}) != 0)
            return -1;
    }
    for (size_t i = 0; i < p->n && s->shape != A_LINE_EACH; i++)
        if (p->lines[i].look == 3 && (p->lines[i].n == 1 || strcmp(s->key, "batch") == 0)) {
            p->lines[i].flat = 1;
            p->lines[i].n = 1;
        }
    return 0;
}

/* A line for each system and percentile. */
static int fill_latencies(panel *p, const figures *f, const char *engine)
{
    static const struct {
        const char *key, *name;
        int dash;
    } parts[] = {{"p50_us", "p50", 0}, {"p99_us", "p99", 1}, {"p999_us", "p99.9", 2}};
    for (size_t i = 0; i < f->n; i++) {
        const json_t *r = f->all[i];
        int java = is_text(r, "system", "java");
        if (!is_text(r, "bench", "latency") || !is_text(r, "engine", engine) || (!java && !is_text(r, "system", "xonce")))
            continue; /* the others are in the table: more lines would be too many */
        for (int k = 0; k < 3; k++) {
            line l = {.dash = parts[k].dash, .look = java};
            snprintf(l.label, sizeof l.label, "%s %s", java ? "Java" : "xonce", parts[k].name);
            if (add_point(p, &l, (point){number_of(r, "load_per_second"), number_of(r, parts[k].key), NAN, NAN}) != 0)
                return -1;
        }
    }
    return 0;
}

static FILE *open_drawing(const char *dir, const char *name, const char *engine, char path[1024])
{
    snprintf(path, 1024, "%s/%s%s%s.svg", dir, name, engine ? "-" : "", engine ? engine : "");
    FILE *out = fopen(path, "w");
    if (!out)
        failed("%s: %s", path, strerror(errno));
    return out;
}

static int close_drawing(FILE *out, const char *path)
{
    int bad = ferror(out);
    if (fclose(out) != 0 || bad)
        return failed("%s: %s", path, strerror(errno));
    printf("%s\n", path);
    return 0;
}

static int save_chart(const chart *c, const char *dir, const char *name, const char *engine)
{
    char path[1024];
    FILE *out = open_drawing(dir, name, engine, path);
    if (!out)
        return -1;
    draw_chart(out, c);
    return close_drawing(out, path);
}

/* s NULL: latencies. one: this engine only, in a file of its own. */
static int fill_chart(chart *c, const figures *f, const sweep *s, const char *one)
{
    int status = 0;
    for (const char *const *e = engines; *e && !status; e++) {
        if (one && strcmp(*e, one) != 0)
            continue;
        int together = s && s->shape == A_LINE_EACH;
        panel *p = &c->panels[together ? 0 : c->n];
        snprintf(p->title, sizeof p->title, "%s", together ? "" : engine_name(f, *e));
        status = s ? fill_panel(p, f, s, *e) : fill_latencies(p, f, *e);
        c->n = together ? p->n > 0 : c->n + (p->n > 0);
    }
    return status;
}

static void choose_units(chart *c, const sweep *s)
{
    *c = (chart){.axis = s ? s->axis : "messages a second", .log_x = s ? s->log_x : 1, .log_y = s ? s->log_y : 1, .x_text = brief, .y_text = s ? brief : milliseconds};
    if (s && strcmp(s->key, "rtt_us") == 0)
        c->x_text = milliseconds;
    else if (s && s->log_x)
        c->x_text = whole;
    else if (s && strcmp(s->key, "duplicates") == 0)
        c->x_text = percent;
}

static int plot_lines(const figures *f, const sweep *s, const char *one, const char *dir)
{
    chart c;
    char title[128], subtitle[160];
    choose_units(&c, s);
    int status = fill_chart(&c, f, s, one);
    if (!status && c.n) {
        int alone = c.n == 1 && *c.panels[0].title;
        snprintf(title, sizeof title, "%s%s%s", s ? s->title : "Latency: from the send to the commit", alone ? ", " : "", alone ? c.panels[0].title : "");
        snprintf(subtitle, sizeof subtitle, "%s; %s", s ? s->shape == A_LINE_EACH ? "messages a second, by record, in batches" : "messages a second" : "milliseconds, one line a percentile",
                 !c.log_y ? "shaded: slowest to fastest round" : s && s->log_x ? "both axes logarithmic; shaded: slowest to fastest round"
                 : s ? "vertical axis logarithmic; shaded: slowest to fastest round" : "both axes logarithmic");
        c.title = title;
        c.subtitle = subtitle;
        status = save_chart(&c, dir, s ? s->bench : "latency", one);
    } else if (!status) {
        fprintf(stderr, "plot: nothing measured for the drawing %s %s: it stays as it is\n", s ? s->bench : "latency", one ? one : "");
    }
    free_points(&c);
    return status;
}

static int plot_bars(const figures *f, const char *bench, const char *title, const char *dir)
{
    char path[1024];
    int any = 0;
    for (size_t i = 0; i < f->n; i++)
        any = any || is_text(f->all[i], "bench", bench);
    if (!any) {
        fprintf(stderr, "plot: nothing measured for the drawing %s: it stays as it is\n", bench);
        return 0;
    }
    FILE *out = open_drawing(dir, bench, NULL, path);
    if (!out)
        return -1;
    draw_bars(out, f, bench, title);
    return close_drawing(out, path);
}

static int plot_all(const figures *f, const char *dir)
{
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return failed("%s: %s", dir, strerror(errno));
    for (const sweep *s = sweeps; s->bench; s++) {
        if (s->shape != A_FILE_EACH && s->shape != NOT_DRAWN && plot_lines(f, s, NULL, dir) != 0)
            return -1;
        for (const char *const *e = engines; s->shape == A_FILE_EACH && *e; e++)
            if (plot_lines(f, s, *e, dir) != 0)
                return -1;
    }
    if (plot_lines(f, NULL, NULL, dir) != 0 || plot_bars(f, "end-to-end", "From the broker into the database", dir) != 0)
        return -1;
    return plot_bars(f, "http", "Over HTTP from xonce serve", dir);
}

int main(int argc, char **argv)
{
    figures f = {0};
    const char *dir = NULL, *tables = NULL;
    char beside[1024];
    int status = 0, files = 0;
    for (int i = 1; i < argc && !status; i++) {
        if (strcmp(argv[i], "--out") == 0 && i + 1 < argc)
            dir = argv[++i];
        else if (strcmp(argv[i], "--tables") == 0 && i + 1 < argc)
            tables = argv[++i];
        else if (argv[i][0] == '-')
            status = 2;
        else if (++files)
            status = read_file(&f, argv[i]);
    }
    if (status == 2 || (!status && (!files || (!dir && !tables)))) {
        fprintf(stderr, "usage: plot FILE... [--out DIR] [--tables FILE]\n");
        status = 2;
    } else if (!status && !f.n) {
        status = failed("no measurement in these files");
    }
    if (!tables && dir && snprintf(beside, sizeof beside, "%s.md", dir) < (int)sizeof beside && access(beside, F_OK) == 0)
        tables = beside;
    if (!status && dir)
        status = plot_all(&f, dir);
    if (!status && tables)
        status = write_tables(&f, tables);
    for (size_t i = 0; i < f.n; i++)
        json_decref(f.all[i]);
    free(f.all);
    return status < 0 ? 1 : status;
}
