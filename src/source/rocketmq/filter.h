/* Tag expressions: "*" or "a || b". */
#ifndef XO_FILTER_H
#define XO_FILTER_H
#include "base/error.h"
#include <jansson.h>
typedef struct {
    char **tags;      /* sorted, without doubles; none = everything */
    int32_t *codes;   /* Java hash of each */
    size_t n;
    char *text;       /* "a || b" in the order given, "*" for everything: what is registered and recorded */
} xo_filter;
/* XONCE_E_INVALID: an empty tag, a byte a tag cannot have, an SQL expression (refused with the reason). */
xonce_status xo_filter_parse(xo_filter *out, const char *expression);
void xo_filter_free(xo_filter *f);
int xo_filter_has(const xo_filter *f, const char *tag, size_t len);  /* exact; tag NULL: the message has none */
int xo_filter_has_code(const xo_filter *f, const char *tag, size_t len); /* as the broker compares: by hash */
int xo_filter_same(const xo_filter *a, const char *expression);      /* the same set, in any order and spacing */
#endif
