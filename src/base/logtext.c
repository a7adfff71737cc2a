/* One log line as text, as logfmt (name=value) or as JSON. */
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* What a terminal or a reader of lines would take for more than text becomes '?': control characters, and what is not UTF-8. */
static void add_clean(xo_buf *b, const char *s)
{
    for (size_t n = strlen(s); n;) {
        size_t good = n, from = 0;
        (void)xo_utf8_valid(s, n, &good);
        for (size_t i = 0; i < good; i++) {
            unsigned char c = (unsigned char)s[i], next = (unsigned char)(i + 1 < good ? s[i + 1] : 0);
            int c1 = c == 0xc2 && next < 0xa0;
            if (c < 0x20 || c == 0x7f || c1) {
                xo_buf_add(b, s + from, i - from);
                xo_buf_char(b, c == '\n' || c == '\r' || c == '\t' ? ' ' : '?');
                i += (size_t)c1;
                from = i + 1;
            }
        }
        xo_buf_add(b, s + from, good - from);
        if (good == n) {
            return;
        }
        xo_buf_char(b, '?');
        s += good + 1;
        n -= good + 1;
    }
}

/* A bare word where it can stand as one, else in quotes. */
static void add_value(xo_buf *b, const char *s)
{
    xo_buf clean = {0};
    add_clean(&clean, s);
    if (clean.failed) {
        b->failed = 1;
    } else if (clean.len == 0 || strpbrk(clean.p, " \"=\\")) {
        xo_buf_json(b, clean.p ? clean.p : "", clean.len);
    } else {
        xo_buf_add(b, clean.p, clean.len);
    }
    xo_buf_free(&clean);
}

static void add_fields(xo_buf *b, const xo_log_line *line)
{
    for (size_t i = 0; i < line->n; i++) {
        const xo_log_field *f = &line->fields[i];
        xo_buf_printf(b, " %s=", f->name);
        if (f->text) {
            add_value(b, f->text);
        } else {
            xo_buf_printf(b, "%" PRId64, f->number);
        }
    }
}

static void add_json(xo_buf *b, const xo_log_line *line, const char *time)
{
    xo_buf_printf(b, "{\"time\":\"%s\",\"level\":\"%s\",\"pid\":%ld,\"area\":", time, xo_log_level_name(line->level), (long)getpid());
    xo_buf_json(b, line->area, strlen(line->area));
    xo_buf_str(b, ",\"msg\":");
    xo_buf_json(b, line->text, strlen(line->text));
    for (size_t i = 0; i < line->n; i++) {
        const xo_log_field *f = &line->fields[i];
        xo_buf_printf(b, ",\"%s\":", f->name);
        if (f->text) {
            xo_buf_json(b, f->text, strlen(f->text));
        } else {
            xo_buf_printf(b, "%" PRId64, f->number);
        }
    }
    xo_buf_str(b, "}\n");
}

void xo_log_render(xo_buf *b, xo_log_format format, const xo_log_line *line)
{
    char time[40];
    xo_format_time(line->time, time, sizeof(time));
    switch (format) {
    case XO_LOG_JSON: add_json(b, line, time); return;
    case XO_LOG_LOGFMT:
        xo_buf_printf(b, "time=%s level=%s pid=%ld area=", time, xo_log_level_name(line->level), (long)getpid());
        add_value(b, line->area);
        xo_buf_str(b, " msg=");
        add_value(b, line->text);
        break;
    case XO_LOG_TEXT:
        if (line->area) {
            xo_buf_printf(b, "%s %s %s: ", time, xo_log_level_name(line->level), line->area);
        }
        add_clean(b, line->text);
        break;
    }
    add_fields(b, line);
    if (line->area) {
        xo_buf_char(b, '\n');
    }
}
