/* JSON bodies: a strict check, and values by path as they stand in the text: a number keeps its digits. */
#ifndef XO_CLI_JSONPATH_H
#define XO_CLI_JSONPATH_H
#include "base/buf.h"

typedef enum { XO_JSON_MISSING, XO_JSON_NULL, XO_JSON_TRUE, XO_JSON_FALSE, XO_JSON_NUMBER, XO_JSON_STRING, XO_JSON_OBJECT, XO_JSON_ARRAY } xo_json_kind;
typedef struct {
    xo_json_kind kind;
    const char *p; /* the value's text in the document, quotes or braces included */
    size_t len;
} xo_json;

enum { XO_JSON_DEPTH = 256 };
/* Is this one JSON value (RFC 8259, UTF-8, no lone surrogates, at most XO_JSON_DEPTH levels)? The error names byte and offset. Sets *root. */
xonce_status xo_json_check(xo_json *root, const char *text, size_t n);
/* The value under a path of names (of arrays: indexes), in a document that was checked. Of a name that occurs twice the last counts. */
xo_json xo_json_find(xo_json root, const char *const *steps, size_t nsteps);
/* Appends a string's characters, escapes resolved. Of a checked document. */
void xo_json_string(xo_buf *out, xo_json string);
int xo_json_has_escape(xo_json string);
/* Members of an object, one by one: p = NULL before the first; 0 at the end. name is a string value. */
typedef struct {
    const char *p, *end;
} xo_json_cursor;
xo_json_cursor xo_json_members(xo_json object); /* or the elements of an array: then name is not set */
int xo_json_next(xo_json_cursor *c, xo_json *name, xo_json *value);
#endif
