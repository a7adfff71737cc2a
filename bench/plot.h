/* Measurements read from JSON lines, and what is made of them: drawings (plot_svg.c, plot_bars.c) and tables (plot_tables.c). */
#ifndef BENCH_PLOT_H
#define BENCH_PLOT_H
#include <jansson.h>
#include <stdio.h>

typedef struct {
    json_t **all;
    size_t n;
} figures;

/* plot.c: looking things up. An absent text is "", an absent number NAN. */
const char *text_of(const json_t *r, const char *key);
double number_of(const json_t *r, const char *key);
int is_text(const json_t *r, const char *key, const char *value);
const char *engine_name(const figures *f, const char *engine);
const char *mode_name(const char *mode);
const char *system_name(const json_t *r);
json_t *machine_of(const figures *f);
extern const char *const engines[]; /* in the order in which they are shown; ends with NULL */
size_t engine_rank(const json_t *r); /* where in it; the NULL's when it is no engine */

/* What a kind of measurement varies. */
typedef struct {
    const char *bench, *key, *title, *axis;
    int log_x, log_y;
    enum { A_FILE_EACH, A_PANEL_EACH, A_LINE_EACH, NOT_DRAWN } shape; /* what an engine gets */
} sweep;
extern const sweep sweeps[]; /* ends with a NULL bench */
const sweep *sweep_of(const char *bench);
/* What else tells r from others of its kind and engine, as "batch 32"; empty when nothing does. */
void apart(const figures *f, const json_t *r, const char *key, char *out, size_t size);
/* Bare inserts measured under the same conditions as r, or NULL. */
const json_t *bare_of(const figures *f, const json_t *r);
/* What differs from r in its mode only, or NULL. */
const json_t *same_but_mode(const figures *f, const json_t *r, const char *mode);

/* Numbers as people read them: 950, 1.5k, 10M; and 12,300. Both return out. */
enum { SHORT = 32 };
const char *brief(double v, char out[SHORT]);
const char *grouped(double v, char out[SHORT]);

/* plot_svg.c: a drawing of lines, one panel below the other. */
typedef struct {
    double x, y, low, high; /* low, high: the slowest and the fastest round, NAN when unknown */
} point;
typedef struct {
    char label[96];
    int look;               /* colour and marker: 0-5 */
    int dash;               /* 0 solid, 1 dashed, 2 dotted */
    int hollow, flat;       /* flat: one value, drawn across the whole width */
    point *points;
    size_t n;
} line;
enum { MAX_LINES = 16, MAX_PANELS = 3 };
typedef struct {
    char title[64];
    line lines[MAX_LINES];
    size_t n;
} panel;
typedef struct {
    const char *title, *subtitle, *axis;
    int log_x, log_y;
    const char *(*x_text)(double v, char out[SHORT]);
    const char *(*y_text)(double v, char out[SHORT]);
    panel panels[MAX_PANELS];
    size_t n;
} chart;
void draw_chart(FILE *out, const chart *c);

void svg_head(FILE *out, double height, const char *title, const char *desc, const char *subtitle);
void svg_text(FILE *out, double x, double y, const char *attributes, const char *text);
double text_width(const char *text);

/* plot_bars.c: messages a second and where the CPU goes, a group of bars for each engine. */
void draw_bars(FILE *out, const figures *f, const char *bench, const char *title);

/* plot_tables.c: writes the tables of a document anew, between their marks. 0 or -1, after a message. */
int write_tables(const figures *f, const char *path);
#endif
