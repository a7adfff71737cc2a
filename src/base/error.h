/* The thread's last error. Every fallible internal function returns a status and has set it. */
#ifndef XO_ERROR_H
#define XO_ERROR_H
#include "xonce/xonce.h"
#include <stdarg.h>

/* What a failed SQL statement says about the message it was run for. */
typedef enum {
    XO_SQL_NONE = 0, /* not an SQL error */
    XO_SQL_OTHER,    /* anything not below: try again later */
    XO_SQL_DATA,     /* the data is at fault (SQLSTATE 22, 23 and counterparts): it will fail for ever */
    XO_SQL_PARENT,   /* foreign key: the parent row may still arrive */
    XO_SQL_SETUP,    /* missing table, missing right, syntax: no message can succeed */
    XO_SQL_AGAIN,    /* deadlock, serialization, lock timeout, busy: the same transaction may be run again at once */
    XO_SQL_LOST      /* the connection or the server is gone */
} xo_sql_class;

#define XO_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Sets the thread's error and returns code, for `return xo_fail(...)`. Text is cut at the buffer's end, on a character. */
xonce_status xo_fail(xonce_status code, const char *fmt, ...) XO_PRINTF(2, 3);
/* An error of a database. sqlstate may be NULL; `again` in the public error follows from cls (AGAIN and LOST). */
xonce_status xo_fail_sql(xonce_status code, xo_sql_class cls, int native, const char *sqlstate, const char *fmt, ...)
    XO_PRINTF(5, 6);
xonce_status xo_nomem(void);         /* XONCE_E_NOMEM, with its text; allocates nothing */
/* For errors outside SQL, right after xo_fail(): the other side's own number (an HTTP status), and whether the call may be run again where the code's usual
   answer (yes for NOMEM, CONNECT, CONFLICT, UNKNOWN_COMMIT, PROTOCOL, TIMEOUT) is wrong. */
void xo_error_set_native(int native, int again);
xo_sql_class xo_error_class(void);   /* class of the last error; XO_SQL_NONE when it was not SQL */

typedef struct {
    xonce_error pub;
    xo_sql_class cls;
} xo_error;
void xo_error_save(xo_error *out);          /* to keep an error over calls that may set another */
xonce_status xo_error_restore(const xo_error *e); /* makes it the thread's last again; returns its code */
/* Puts "what: " in front of the last error's text. Returns its code. */
xonce_status xo_error_context(const char *fmt, ...) XO_PRINTF(1, 2);
#endif
