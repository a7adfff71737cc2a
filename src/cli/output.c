/* What the program shows. */
#include "cli/output.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/options.h"
#include "cli/service.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of stderr */
static int progress_shown;
static int stdout_error;

/* Lock held: the progress line makes way for a line that stays. */
static void clear_progress(void)
{
    if (progress_shown) {
        (void)fputs("\r\033[K", stderr);
        progress_shown = 0;
    }
}

static void log_line(const xo_log_line *line, void *arg)
{
    const xo_log_format *format = arg;
    xo_buf b = {0};
    xo_buf_str(&b, xo_service_level(line->level));
    if (b.len && *format == XO_LOG_TEXT) { /* the journal has the time and the level */
        const xo_log_line bare = {.text = line->text, .fields = line->fields, .n = line->n};
        xo_buf_printf(&b, "%s: ", line->area);
        xo_log_render(&b, XO_LOG_TEXT, &bare);
        xo_buf_char(&b, '\n');
    } else {
        xo_log_render(&b, *format, line);
    }
    pthread_mutex_lock(&lock);
    clear_progress();
    if (!b.failed && b.len) {
        (void)fwrite(b.p, 1, b.len, stderr);
    }
    pthread_mutex_unlock(&lock);
    xo_buf_free(&b);
}

/* SIGUSR1 makes the log say more, SIGUSR2 less. */
static void turn_level(int sig)
{
    int was = errno;
    xo_log_turn(sig == SIGUSR1 ? 1 : -1);
    errno = was;
}

static void catch_signals(void)
{
    struct sigaction a = {.sa_handler = turn_level, .sa_flags = SA_RESTART};
    (void)sigemptyset(&a.sa_mask);
    (void)sigaddset(&a.sa_mask, SIGUSR1);
    (void)sigaddset(&a.sa_mask, SIGUSR2);
    (void)sigaction(SIGUSR1, &a, NULL);
    (void)sigaction(SIGUSR2, &a, NULL);
}

int xo_out_log_start(const xonce_config *cfg, int verbose)
{
    static xo_log_format formats[] = {XO_LOG_TEXT, XO_LOG_LOGFMT, XO_LOG_JSON};
    int level = (int)xo_config_int(cfg, "log.level");
    if (verbose && level < XO_INFO) {
        level = XO_INFO;
    }
    catch_signals();
    if (!xo_config_text(cfg, "log.file")) {
        xo_log_to(log_line, NULL, &formats[xo_config_int(cfg, "log.format")], level);
    } else if (xonce_log_open(cfg) == XONCE_OK) {
        xo_log_start_at(level);
    } else {
        (void)xo_out_failed(NULL);
        return XO_EXIT_USAGE;
    }
    return XO_GO_ON;
}

void xo_out_log(int verbose)
{
    (void)xo_out_log_start(NULL, verbose);
}

void xo_out_error(const char *fmt, ...)
{
    va_list ap;
    pthread_mutex_lock(&lock);
    clear_progress();
    (void)fprintf(stderr, "%sxonce: ", xo_service_level(XO_ERROR));
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    pthread_mutex_unlock(&lock);
}

void xo_out_line(const char *text)
{
    pthread_mutex_lock(&lock);
    clear_progress();
    (void)fprintf(stderr, "%s\n", text);
    pthread_mutex_unlock(&lock);
}

int xo_out_failed(const char *what)
{
    const xonce_error *e = xonce_error_last();
    xo_out_error("%s%s%s", what ? what : "", what ? ": " : "", e->text[0] ? e->text : xonce_status_name(e->code));
    return XO_EXIT_FAILED;
}

int xo_out_has_progress(void)
{
    return isatty(STDERR_FILENO);
}

void xo_out_progress(const char *fmt, ...)
{
    if (!xo_out_has_progress()) {
        return;
    }
    va_list ap;
    pthread_mutex_lock(&lock);
    (void)fputs("\r\033[K", stderr);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fflush(stderr);
    progress_shown = 1;
    pthread_mutex_unlock(&lock);
}

void xo_out_progress_end(void)
{
    pthread_mutex_lock(&lock);
    clear_progress();
    pthread_mutex_unlock(&lock);
}

static void note_stdout(int failed)
{
    if (failed && !stdout_error) {
        stdout_error = errno ? errno : EIO;
    }
}

void xo_out(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    note_stdout(vprintf(fmt, ap) < 0);
    va_end(ap);
}

void xo_out_buf(xo_buf *b)
{
    if (b->failed) {
        errno = ENOMEM;
        note_stdout(1);
    } else if (b->len) {
        note_stdout(fwrite(b->p, 1, b->len, stdout) != b->len);
    }
    xo_buf_free(b);
}

int xo_out_end(int code)
{
    xo_out_progress_end();
    note_stdout(fflush(stdout) != 0 || ferror(stdout));
    if (stdout_error) {
        if (stdout_error != EPIPE) {
            xo_out_error("standard output: %s", strerror(stdout_error));
        }
        return code == XO_EXIT_OK ? XO_EXIT_FAILED : code;
    }
    return code;
}

void xo_table_cell(xo_table *t, const char *fmt, ...)
{
    char text[256];
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    char **cells = xo_grow(t->cells, &t->cap, t->n + 1, sizeof(*cells));
    if (cells) {
        t->cells = cells;
        char *longer = n >= (int)sizeof(text) ? xo_calloc((size_t)n + 1, 1) : NULL;
        if (longer) {
            (void)vsnprintf(longer, (size_t)n + 1, fmt, again);
        }
        const char *from = longer ? longer : text;
        cells[t->n] = xo_out_clean(from, strlen(from));
        free(longer);
    }
    va_end(again);
    if (!cells || !cells[t->n]) {
        t->failed = 1;
    } else {
        t->n++;
    }
}

/* Characters, not bytes; good enough for a heading over a column. */
static size_t width(const char *s)
{
    size_t n = 0;
    for (; *s; s++) {
        n += ((unsigned char)*s & 0xc0) != 0x80;
    }
    return n;
}

void xo_table_show(xo_table *t)
{
    size_t *widths = xo_calloc(t->columns, sizeof(*widths));
    xo_buf b = {.failed = t->failed || !widths};
    for (size_t i = 0; widths && i < t->n; i++) {
        size_t w = width(t->cells[i]);
        if (w > widths[i % t->columns]) {
            widths[i % t->columns] = w;
        }
    }
    for (size_t i = 0; widths && i < t->n; i++) {
        size_t column = i % t->columns;
        xo_buf_str(&b, t->cells[i]);
        if (column + 1 == t->columns) {
            xo_buf_char(&b, '\n');
        } else {
            xo_buf_printf(&b, "%*s", (int)(widths[column] - width(t->cells[i]) + 2), "");
        }
    }
    xo_out_buf(&b);
    free(widths);
    xo_table_free(t);
}

void xo_table_free(xo_table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->cells[i]);
    }
    free(t->cells);
    memset(t, 0, sizeof(*t));
}

char *xo_out_clean(const char *s, size_t n)
{
    char *out = xo_memdup0(s, n);
    size_t from = 0, bad = 0;
    if (!out) {
        return NULL;
    }
    while (!xo_utf8_valid(out + from, n - from, &bad)) {
        out[from + bad] = '?';
        from += bad + 1;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)out[i];
        if (c < 0x20 || c == 0x7f) {
            out[i] = c == '\n' || c == '\t' || c == '\r' ? ' ' : '?';
        } else if (c == 0xc2 && i + 1 < n && (unsigned char)out[i + 1] < 0xa0) {
            out[i] = out[i + 1] = '?'; /* C1 controls */
        }
    }
    return out;
}
