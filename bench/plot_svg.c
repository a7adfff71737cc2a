/* Draws lines as SVG: no script, no library, colours for light and dark readers, names beside the lines they belong to. */
#include "bench/plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 720, LEFT = 60, TALL = 290, LOW = 150, MAX_TICKS = 64, LABEL_HEIGHT = 16 };

/* Colours that people with any colour vision tell apart (after Okabe and Ito), darker on white and lighter on black; each has a marker of its own as well. */
static const char STYLE[] =
    "text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#1f2328}\n"
    "path,line,polyline{fill:none}\n"
    ".back{fill:#fff}.title{font-size:16px;font-weight:600}.head{font-weight:600}.soft{fill:#57606a}.right{text-anchor:end}.mid{text-anchor:middle}\n"
    ".grid{stroke:#e4e8ec}.axis{stroke:#8c959f}.lead{stroke:#afb8c1}.range{stroke-width:5;stroke-opacity:.22}\n"
    ".line{stroke-width:2.25;stroke-linejoin:round;stroke-linecap:round}.thin{stroke-width:1.5}.dash1{stroke-dasharray:7 5}.dash2{stroke-dasharray:1 5}\n"
    ".name{font-weight:600}.mark{stroke-width:1.5;stroke:#fff}.hollow{stroke-width:1.75;fill:#fff}\n"
    ".s0{stroke:#0067a5}.s1{stroke:#b84a00}.s2{stroke:#007358}.s3{stroke:#57606a}.s4{stroke:#8a3d7c}.s5{stroke:#6b5a00}\n"
    ".f0{fill:#0067a5}.f1{fill:#b84a00}.f2{fill:#007358}.f3{fill:#57606a}.f4{fill:#8a3d7c}.f5{fill:#6b5a00}\n"
    ".b0{fill:#0067a5}.b1{fill:#e69f00}.b2{fill:#9aa4ae}\n"
    "@media (prefers-color-scheme:dark){\n"
    "text{fill:#e6edf3}.back{fill:#0d1117}.soft{fill:#9ea7b0}.grid{stroke:#262c34}.axis{stroke:#6e7681}.lead{stroke:#484f58}.mark{stroke:#0d1117}.hollow{fill:#0d1117}\n"
    ".s0{stroke:#56b4e9}.s1{stroke:#f0953f}.s2{stroke:#33c79d}.s3{stroke:#9ea7b0}.s4{stroke:#dd8fc6}.s5{stroke:#e3cf4a}\n"
    ".f0{fill:#56b4e9}.f1{fill:#f0953f}.f2{fill:#33c79d}.f3{fill:#9ea7b0}.f4{fill:#dd8fc6}.f5{fill:#e3cf4a}\n"
    ".b0{fill:#56b4e9}.b1{fill:#e69f00}.b2{fill:#6e7681}\n"
    "}\n";

static void escaped(FILE *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '&')
            fputs("&amp;", out);
        else if (*p == '<')
            fputs("&lt;", out);
        else if (*p == '>')
            fputs("&gt;", out);
        else if (*p == '"')
            fputs("&quot;", out);
        else if (*p < ' ' || *p == 0x7f) /* not allowed in XML, or of no use in a label */
            fputc(' ', out);
        else
            fputc(*p, out);
    }
}

void svg_text(FILE *out, double x, double y, const char *attributes, const char *text)
{
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\"%s%s>", x, y, *attributes ? " " : "", attributes);
    escaped(out, text);
    fputs("</text>\n", out);
}

void svg_head(FILE *out, double height, const char *title, const char *desc, const char *subtitle)
{
    fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" viewBox=\"0 0 %d %.0f\" role=\"img\" aria-labelledby=\"title desc\">\n<title id=\"title\">", WIDTH, height,
            WIDTH, height);
    escaped(out, title);
    fputs("</title>\n<desc id=\"desc\">", out);
    escaped(out, desc);
    fprintf(out, "</desc>\n<style>\n%s</style>\n<rect class=\"back\" width=\"%d\" height=\"%.0f\"/>\n", STYLE, WIDTH, height);
    svg_text(out, 16, 28, "class=\"title\"", title);
    svg_text(out, 16, 47, "class=\"soft\"", subtitle);
}

/* Near enough for the common sans-serif fonts at 12 px; a wide character counts as one. */
double text_width(const char *text)
{
    double n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) == 0x80 ? 0 : strchr("il.,:;|' ", *text) ? 3.6 : strchr("mwMW", *text) ? 10.4 : 7.1;
    return n;
}

/* ---- from values to places */

typedef struct {
    double ticks[MAX_TICKS];
    size_t n;
    double low, high, from, to; /* values, and where they lie */
    int log, even;              /* even: the ticks are equally far apart */
} scale;

static double at(const scale *s, double v)
{
    if (s->even) {
        size_t i = 0;
        while (i + 1 < s->n && s->ticks[i] < v)
            i++;
        return s->from + (s->to - s->from) * (s->n > 1 ? (double)i / (double)(s->n - 1) : 0.5);
    }
    if (s->high <= s->low)
        return (s->from + s->to) / 2;
    double part = s->log ? log(v / s->low) / log(s->high / s->low) : (v - s->low) / (s->high - s->low);
    return s->from + (s->to - s->from) * part;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void scale_x(const chart *c, scale *s)
{
    for (size_t p = 0; p < c->n; p++)
        for (size_t l = 0; l < c->panels[p].n; l++)
            for (size_t i = 0; !c->panels[p].lines[l].flat && i < c->panels[p].lines[l].n; i++) {
                double v = c->panels[p].lines[l].points[i].x;
                size_t k = 0;
                while (k < s->n && s->ticks[k] != v)
                    k++;
                if (k == s->n && s->n < MAX_TICKS)
                    s->ticks[s->n++] = v;
            }
    qsort(s->ticks, s->n, sizeof(double), by_value);
    s->low = s->n ? s->ticks[0] : 0;
    s->high = s->n ? s->ticks[s->n - 1] : 1;
    s->log = c->log_x && s->low > 0;
    int crowded = 0;
    for (size_t i = 1; !s->log && i < s->n; i++) {
        char a[SHORT], b[SHORT];
        double room = (text_width(c->x_text(s->ticks[i - 1], a)) + text_width(c->x_text(s->ticks[i], b))) / 2 + 10;
        crowded = crowded || at(s, s->ticks[i]) - at(s, s->ticks[i - 1]) < room;
    }
    s->even = crowded;
}

/* 1, 2 or 5 times a power of ten: the next not above v (direction -1) or not below it (1). */
static double round_to_125(double v, int direction)
{
    double power = pow(10, floor(log10(v))), best = power;
    static const double steps[] = {1, 2, 5, 10};
    for (size_t i = 0; i < 4; i++) {
        double step = steps[i] * power;
        if (direction < 0 && step <= v * 1.0001)
            best = step;
        if (direction > 0 && step >= v * 0.9999)
            return step;
    }
    return best;
}

static void log_ticks(scale *s)
{
    s->low = round_to_125(s->low, -1);
    s->high = round_to_125(s->high, 1);
    int wide = s->high / s->low > 2000;
    for (double v = s->low; v <= s->high * 1.001 && s->n < MAX_TICKS; v = round_to_125(v * 1.5, 1))
        if (!wide || fabs(log10(v) - round(log10(v))) < 0.001)
            s->ticks[s->n++] = v;
}

static void linear_ticks(scale *s)
{
    double step = round_to_125(s->high / 4, 1);
    s->low = 0;
    for (double v = 0; s->n < MAX_TICKS; v += step) {
        s->ticks[s->n++] = v;
        if (v >= s->high * 0.999)
            break;
    }
    s->high = s->ticks[s->n - 1];
}

static void scale_y(const chart *c, const panel *p, scale *s)
{
    s->low = INFINITY;
    for (size_t l = 0; l < p->n; l++)
        for (size_t i = 0; i < p->lines[l].n; i++) {
            const point *q = &p->lines[l].points[i];
            s->low = fmin(s->low, fmin(q->y, q->low));
            s->high = fmax(s->high, fmax(q->y, q->high));
        }
    s->log = c->log_y && s->low > 0;
    if (s->log)
        log_ticks(s);
    else
        linear_ticks(s);
}

/* ---- one panel */

static void marker(FILE *out, const line *l, double x, double y)
{
    char look[32];
    snprintf(look, sizeof look, l->hollow ? "hollow s%d" : "mark f%d", l->look);
    switch (l->look) {
    case 0: fprintf(out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"4.2\"/>\n", look, x, y); break;
    case 1: fprintf(out, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"7.6\" height=\"7.6\"/>\n", look, x - 3.8, y - 3.8); break;
    case 2: fprintf(out, "<polygon class=\"%s\" points=\"%.1f,%.1f %.1f,%.1f %.1f,%.1f\"/>\n", look, x, y - 5.2, x + 4.9, y + 3.7, x - 4.9, y + 3.7); break;
    case 3: fprintf(out, "<polygon class=\"%s\" points=\"%.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f\"/>\n", look, x, y - 5.2, x + 5.2, y, x, y + 5.2, x - 5.2, y); break;
    default: fprintf(out, "<polygon class=\"%s\" points=\"%.1f,%.1f %.1f,%.1f %.1f,%.1f\"/>\n", look, x, y + 5.2, x + 4.9, y - 3.7, x - 4.9, y - 3.7);
    }
}

static void draw_line(FILE *out, const line *l, const scale *x, const scale *y)
{
    char look[48];
    snprintf(look, sizeof look, "line s%d%s%s", l->look, l->dash ? l->dash == 1 ? " dash1" : " dash2" : "", l->hollow || l->flat ? " thin" : "");
    if (l->flat) {
        double v = at(y, l->points[0].y);
        fprintf(out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", look, x->from, v, x->to, v);
        return;
    }
    for (size_t i = 0; i < l->n; i++) {
        const point *p = &l->points[i];
        if (p->low < p->high)
            fprintf(out, "<line class=\"range s%d\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", l->look, at(x, p->x), at(y, p->low), at(x, p->x), at(y, p->high));
    }
    if (l->n > 1) {
        fprintf(out, "<polyline class=\"%s\" points=\"", look);
        for (size_t i = 0; i < l->n; i++)
            fprintf(out, "%s%.1f,%.1f", i ? " " : "", at(x, l->points[i].x), at(y, l->points[i].y));
        fputs("\"/>\n", out);
    }
    for (size_t i = 0; i < l->n; i++)
        marker(out, l, at(x, l->points[i].x), at(y, l->points[i].y));
}

typedef struct {
    const line *of;
    double want, place;
} name_tag;

static int by_place(const void *a, const void *b)
{
    const name_tag *x = a, *y = b;
    return x->want != y->want ? (x->want > y->want) - (x->want < y->want) : (x->of > y->of) - (x->of < y->of);
}

/* Each name stands beside the end of its line, moved as little as it takes to be legible. */
static void draw_names(FILE *out, const chart *c, const panel *p, const scale *x, const scale *y)
{
    name_tag tags[MAX_LINES];
    for (size_t i = 0; i < p->n; i++)
        tags[i] = (name_tag){&p->lines[i], at(y, p->lines[i].points[p->lines[i].n - 1].y), 0};
    qsort(tags, p->n, sizeof *tags, by_place);
    for (size_t i = 0; i < p->n; i++) {
        tags[i].place = i ? fmax(tags[i].want, tags[i - 1].place + LABEL_HEIGHT) : fmax(tags[i].want, y->to + 2);
    }
    double most = y->from - 2;
    for (size_t i = p->n; i-- > 0; most = tags[i].place - LABEL_HEIGHT)
        tags[i].place = fmin(tags[i].place, most);
    for (size_t i = 0; i < p->n; i++) {
        const line *l = tags[i].of;
        double end = l->flat ? x->to : at(x, l->points[l->n - 1].x) + 7;
        char value[SHORT], attributes[48];
        if (fabs(tags[i].place - tags[i].want) > 3 || end < x->to)
            fprintf(out, "<polyline class=\"lead\" points=\"%.1f,%.1f %.1f,%.1f %.1f,%.1f\"/>\n", end, tags[i].want, fmax(end, x->to + 7), tags[i].want, x->to + 15, tags[i].place);
        snprintf(attributes, sizeof attributes, "class=\"name f%d\"", l->look);
        svg_text(out, x->to + 18, tags[i].place + 4, attributes, l->label);
        svg_text(out, WIDTH - 10, tags[i].place + 4, "class=\"soft right\"", c->y_text(l->points[l->n - 1].y, value));
    }
}

static void draw_panel(FILE *out, const chart *c, const panel *p, scale *x, double top, double bottom)
{
    scale y = {.from = bottom, .to = top, .high = 0};
    char text[SHORT];
    scale_y(c, p, &y);
    for (size_t i = 0; i < y.n; i++) {
        double v = at(&y, y.ticks[i]);
        fprintf(out, "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", LEFT, v, x->to + 8, v);
        svg_text(out, LEFT - 8, v + 4, "class=\"soft right\"", c->y_text(y.ticks[i], text));
    }
    fprintf(out, "<line class=\"axis\" x1=\"%d\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", LEFT, bottom, x->to + 8, bottom);
    double last = -1000;
    for (size_t i = 0; i < x->n; i++) {
        double v = at(x, x->ticks[i]);
        const char *tick = c->x_text(x->ticks[i], text);
        fprintf(out, "<line class=\"axis\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", v, bottom, v, bottom + 4);
        if (v - last < text_width(tick) + 8)
            continue; /* no room for its text */
        svg_text(out, v, bottom + 18, "class=\"soft mid\"", tick);
        last = v;
    }
    for (int look = 5; look >= 0; look--) /* what this is all about comes last, on top */
        for (size_t i = 0; i < p->n; i++)
            if (p->lines[i].look == look)
                draw_line(out, &p->lines[i], x, &y);
    draw_names(out, c, p, x, &y);
}

/* For those who hear the drawing: each line from its first to its last value. */
static void describe(const chart *c, char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    for (size_t p = 0; p < c->n; p++)
        for (size_t i = 0; i < c->panels[p].n && n + 240 < size; i++) {
            const line *l = &c->panels[p].lines[i];
            char x1[SHORT], x2[SHORT], y1[SHORT], y2[SHORT];
            n += (size_t)snprintf(out + n, size - n, "%s%s%s: %s", c->panels[p].title, *c->panels[p].title ? ", " : "", l->label, c->y_text(l->points[0].y, y1));
            if (l->n > 1)
                n += (size_t)snprintf(out + n, size - n, " at %s, %s at %s", c->x_text(l->points[0].x, x1), c->y_text(l->points[l->n - 1].y, y2), c->x_text(l->points[l->n - 1].x, x2));
            n += (size_t)snprintf(out + n, size - n, ". ");
        }
}

void draw_chart(FILE *out, const chart *c)
{
    static char desc[16384];
    double height = c->n > 1 ? LOW : TALL, names = 60, head = c->n > 1 ? 30 : 12;
    char text[SHORT], axis[160];
    for (size_t p = 0; p < c->n; p++)
        for (size_t i = 0; i < c->panels[p].n; i++) {
            const line *l = &c->panels[p].lines[i];
            names = fmax(names, text_width(l->label) * 1.16 + text_width(c->y_text(l->points[l->n - 1].y, text)) + 18);
            height = fmax(height, (double)c->panels[p].n * LABEL_HEIGHT + 8);
        }
    scale x = {.from = LEFT + 14, .to = WIDTH - 28 - fmin(names, 280)};
    scale_x(c, &x);
    describe(c, desc, sizeof desc);
    svg_head(out, 60 + (double)c->n * (head + height + 24) + 26, c->title, desc, c->subtitle);
    double top = 60;
    for (size_t p = 0; p < c->n; p++, top += height + 24) {
        top += head;
        if (c->n > 1)
            svg_text(out, 16, top - 12, "class=\"head\"", c->panels[p].title);
        draw_panel(out, c, &c->panels[p], &x, top, top + height);
    }
    snprintf(axis, sizeof axis, "%s%s", c->axis, x.even ? " (not to scale)" : "");
    svg_text(out, (x.from + x.to) / 2, top + 12, "class=\"mid soft\"", axis);
    fputs("</svg>\n", out);
}
