/* A growable byte buffer with sticky failure: append at will, ask once at the end. */
#ifndef XO_BUF_H
#define XO_BUF_H
#include "base/error.h"
typedef struct {
    char *p; /* always NUL-terminated once anything was appended; NULL before */
    size_t len, cap;
    size_t max; /* 0 = no bound; appending beyond it fails */
    int failed; /* out of memory or over max: the content is not complete */
} xo_buf;       /* zero-initialised = empty */
void xo_buf_add(xo_buf *b, const void *p, size_t n);
void xo_buf_str(xo_buf *b, const char *s);
void xo_buf_char(xo_buf *b, char c);
void xo_buf_printf(xo_buf *b, const char *fmt, ...) XO_PRINTF(2, 3);
void xo_buf_fill_in(xo_buf *b, const char *text, char mark, const char *with); /* text, with `with` in the place of each mark */
void xo_buf_reset(xo_buf *b);            /* empty, memory kept, failure cleared */
void xo_buf_free(xo_buf *b);
char *xo_buf_take(xo_buf *b);            /* the text, now the caller's ("" when empty); NULL when failed. b is empty after */
xonce_status xo_buf_status(const xo_buf *b); /* XONCE_OK, or NOMEM / INVALID (over max) set as the error */
/* A JSON string literal with its quotes, from n bytes (bytes that are not UTF-8 become U+FFFD). */
void xo_buf_json(xo_buf *b, const char *s, size_t n);
#endif
