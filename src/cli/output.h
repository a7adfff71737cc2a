/* What the program shows: errors, log lines, a progress line, tables. Results go to stdout, all else to stderr. */
#ifndef XO_CLI_OUTPUT_H
#define XO_CLI_OUTPUT_H
#include "base/buf.h"

/* Sends the library's log lines to stderr: warnings and errors, with verbose more. SIGUSR1 and SIGUSR2 turn the level. */
void xo_out_log(int verbose);
/* Likewise, but as the keys log.* say. May be called again: a log file is opened anew, level and format are those of cfg. XO_GO_ON, or the exit code after telling why not: the log before goes on. */
int xo_out_log_start(const xonce_config *cfg, int verbose);
/* "xonce: TEXT" on stderr. */
void xo_out_error(const char *fmt, ...) XO_PRINTF(1, 2);
/* A line on stderr as it is: what a program that we run said. */
void xo_out_line(const char *text);
/* The thread's last error as "xonce: WHAT: TEXT" (what may be NULL). Returns XO_EXIT_FAILED. */
int xo_out_failed(const char *what);
/* One line that is overwritten by the next; only on a terminal. xo_out_progress_end removes it. */
void xo_out_progress(const char *fmt, ...) XO_PRINTF(1, 2);
int xo_out_has_progress(void); /* is stderr a terminal? */
void xo_out_progress_end(void);
/* Prints to stdout; what cannot be written is remembered. */
void xo_out(const char *fmt, ...) XO_PRINTF(1, 2);
void xo_out_buf(xo_buf *b);    /* prints and frees b */
/* Flushes stdout. code, or XO_EXIT_FAILED (told on stderr) when something could not be written. */
int xo_out_end(int code);

/* A table of text, columns aligned when it is shown. */
typedef struct {
    size_t columns, n, cap;
    char **cells;
    int failed;
} xo_table;
void xo_table_cell(xo_table *t, const char *fmt, ...) XO_PRINTF(2, 3); /* the next cell, row by row */
void xo_table_show(xo_table *t);                                       /* the first row is the heading; frees it */
void xo_table_free(xo_table *t);
/* Control characters and bad UTF-8 of texts that others wrote become '?', for terminals. Caller frees. */
char *xo_out_clean(const char *s, size_t n);
#endif
