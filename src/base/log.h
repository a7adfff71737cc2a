/* Log lines go to where xonce_set_log() or xonce_log_open() said; without one of them they are dropped. The library never prints by itself. */
#ifndef XO_LOG_H
#define XO_LOG_H
#include "base/buf.h"
#include "base/error.h"
enum { XO_ERROR = 0, XO_WARN = 1, XO_INFO = 2, XO_DEBUG = 3 }; /* = XONCE_LOG_* */
/* What a line says besides its text, for programs that read logs. */
typedef struct {
    const char *name;   /* letters and '_' */
    const char *text;   /* NULL: the number */
    int64_t number;
} xo_log_field;
typedef struct {
    int64_t time;       /* ms UTC */
    int level;
    const char *area, *text;
    const xo_log_field *fields;
    size_t n;
} xo_log_line;
typedef enum { XO_LOG_TEXT, XO_LOG_LOGFMT, XO_LOG_JSON } xo_log_format; /* = the choices of log.format */

/* area: "store", "consumer", "http"... Never pass a secret. Thread-safe. */
void xo_log(int level, const char *area, const char *fmt, ...) XO_PRINTF(3, 4);
void xo_log_fields(int level, const char *area, const xo_log_field *fields, size_t n, const char *fmt, ...) XO_PRINTF(5, 6);
int xo_log_enabled(int level); /* does anybody take lines of it? */
/* Lines up to `level` go to fn, one at a time; done(arg) is called once when another takes its place. NULL drops them. */
void xo_log_to(void (*fn)(const xo_log_line *line, void *arg), void (*done)(void *arg), void *arg, int level);
void xo_log_turn(int by); /* the level by so many steps, within its ends. Also in a signal handler */
void xo_log_start_at(int level); /* right after xonce_log_open(): another level than the configuration's, which need not be told */
/* Tells the level when it was changed since it was told last; a line does so too. */
void xo_log_notice(void);
const char *xo_log_level_name(int level);
/* One line with its line end: printable UTF-8, whatever the texts hold. */
void xo_log_render(xo_buf *b, xo_log_format format, const xo_log_line *line);

/* logfile.c: appends lines to a file that is turned over by size. */
typedef struct xo_log_file xo_log_file;
/* size: bytes after which FILE becomes FILE.1, and so on up to FILE.(files - 1). */
xonce_status xo_log_file_open(xo_log_file **out, const char *path, int64_t size, int files);
int xo_log_file_write(xo_log_file *f, const char *line, size_t n); /* 0, or -1: it could not be written, or not all of it. One thread at a time */
void xo_log_file_close(xo_log_file *f);
#endif
