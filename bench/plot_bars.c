/* Bars: messages a second on the left, CPU time of a message on the right, split into client, database and broker. */
#include "bench/plot.h"

#include <math.h>
#include <string.h>

enum { NAMES = 140, MIDDLE = 418, RIGHT = 704, BAR = 18, STEP = 27, HEAD = 30, MAX_BARS = 24 };

static const char *const parts[][2] = {{"client_cpu_us", "client"}, {"database_cpu_us", "database"}, {"broker_cpu_us", "broker"}};

static double cpu_of(const json_t *r)
{
    double sum = 0;
    for (int i = 0; i < 3; i++)
        sum += fmax(number_of(r, parts[i][0]), 0); /* fmax leaves NAN out */
    return sum;
}

static void bar(FILE *out, double x, double y, double width, int look)
{
    fprintf(out, "<rect class=\"b%d\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"/>\n", look, x, y, fmax(width, 0.5), BAR);
}

static void draw_row(FILE *out, const json_t *r, double y, double most, double most_cpu)
{
    char value[SHORT], text[96];
    double speed = number_of(r, "per_second"), x = MIDDLE, cpu = cpu_of(r);
    int ours = strncmp(text_of(r, "system"), "xonce", 5) == 0;
    svg_text(out, NAMES - 8, y + 13, ours ? "class=\"right name\"" : "class=\"right\"", system_name(r));
    bar(out, NAMES, y, speed / most * (MIDDLE - NAMES - 70), ours ? 0 : 2);
    svg_text(out, NAMES + speed / most * (MIDDLE - NAMES - 70) + 6, y + 13, "class=\"name\"", brief(speed, value));
    if (!(cpu > 0)) {
        svg_text(out, x, y + 13, "class=\"soft\"", "not measured");
        return;
    }
    for (int i = 0; i < 3; i++) {
        double width = fmax(number_of(r, parts[i][0]), 0) / most_cpu * (RIGHT - MIDDLE - 100);
        if (width > 0)
            bar(out, x, y, width - 1, i);
        x += width;
    }
    char own[SHORT];
    int client = number_of(r, "client_cpu_us") > 0 && number_of(r, "client_cpu_us") < cpu;
    snprintf(text, sizeof text, client ? "%s (client %s)" : "%s", brief(cpu, value), client ? brief(number_of(r, "client_cpu_us"), own) : "");
    svg_text(out, x + 5, y + 13, "class=\"soft\"", text);
}

static void legend(FILE *out, const figures *f, double y, const char *bench)
{
    svg_text(out, NAMES, y, "class=\"head\"", "messages a second");
    svg_text(out, MIDDLE, y, "class=\"head\"", "CPU time a message, µs");
    double x = MIDDLE;
    for (int i = 0; i < 3; i++) {
        int any = 0;
        for (size_t k = 0; k < f->n && !any; k++)
            any = is_text(f->all[k], "bench", bench) && number_of(f->all[k], parts[i][0]) > 0;
        if (!any)
            continue;
        const char *name = i == 2 && strcmp(bench, "http") == 0 ? "endpoint" : parts[i][1];
        fprintf(out, "<rect class=\"b%d\" x=\"%.1f\" y=\"%.1f\" width=\"10\" height=\"10\"/>\n", i, x, y + 9);
        svg_text(out, x + 15, y + 18, "class=\"soft\"", name);
        x += 15 + text_width(name) + 14;
    }
}

/* The rows of one engine as they were measured; returns how many. */
static size_t rows_of(const figures *f, const char *bench, const char *engine, const json_t **rows)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n && n < MAX_BARS; i++)
        if (is_text(f->all[i], "bench", bench) && is_text(f->all[i], "engine", engine))
            rows[n++] = f->all[i];
    return n;
}

void draw_bars(FILE *out, const figures *f, const char *bench, const char *title)
{
    static char desc[16384];
    const json_t *rows[MAX_BARS];
    double most = 0, most_cpu = 0, height = 104;
    size_t at = 0, n;
    for (const char *const *e = engines; *e; e++) {
        n = rows_of(f, bench, *e, rows);
        height += n ? HEAD + (double)n * STEP : 0;
        for (size_t i = 0; i < n; i++) {
            char speed[SHORT], cpu[SHORT];
            most = fmax(most, number_of(rows[i], "per_second"));
            most_cpu = fmax(most_cpu, cpu_of(rows[i]));
            if (at + 300 > sizeof desc)
                continue;
            at += (size_t)snprintf(desc + at, sizeof desc - at, "%s, %s: %s messages a second, %s microseconds of CPU a message. ", engine_name(f, *e), system_name(rows[i]),
                                   brief(number_of(rows[i], "per_second"), speed), brief(cpu_of(rows[i]), cpu));
        }
    }
    svg_head(out, height, title, desc, "medians of interleaved rounds on one machine: longer is faster on the left, costs more on the right");
    legend(out, f, 76, bench);
    double y = 88;
    for (const char *const *e = engines; *e; e++) {
        if ((n = rows_of(f, bench, *e, rows)) == 0)
            continue;
        y += HEAD;
        svg_text(out, 16, y - 2, "class=\"head\"", engine_name(f, *e));
        for (size_t i = 0; i < n; i++)
            draw_row(out, rows[i], y + 6 + (double)i * STEP, most, most_cpu);
        y += (double)n * STEP;
    }
    fputs("</svg>\n", out);
}
