/* What check and doctor find, as text or JSON: each finding with its reason and what to do about it. */
#ifndef XO_CLI_FINDINGS_H
#define XO_CLI_FINDINGS_H
#include "base/buf.h"

enum { XO_GOOD = -1, XO_NOTE = 0, XO_UNWISE = 1, XO_UNSAFE = 2, XO_BROKEN = 3 };
typedef struct {
    int json, whole;  /* whole: also what is good, under headings */
    const char *area; /* "database", "source": of the findings to come; literals */
    char *about;      /* which one; NULL */
    size_t n, problems;
    int worst;
    xo_buf out;
} xo_findings;
/* Begins an area; about stands beside its heading and may be NULL. */
void xo_findings_area(xo_findings *f, const char *area, const char *about);
/* why and remedy may be NULL or "". What is good is left out unless the whole is asked for. */
void xo_findings_add(xo_findings *f, int severity, const char *what, const char *why, const char *remedy);
void xo_findings_good(xo_findings *f, const char *fmt, ...) XO_PRINTF(2, 3);
/* The thread's last error as a finding: what went wrong, with what to do by its kind. */
void xo_findings_failed(xo_findings *f, int severity, const char *what);
/* As xonce_store_check() calls it. arg: the xo_findings. */
void xo_findings_on(const xonce_finding *finding, void *arg);
/* Shows all. more (may be NULL): members of the JSON object, each with a comma behind. Returns the exit code and frees. */
int xo_findings_show(xo_findings *f, const char *more);
#endif
