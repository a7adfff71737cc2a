/* JSON as Java brokers write it: member names may be bare numbers ({0:"a"}) or objects ({{"topic":"t"}:5}). */
#ifndef XO_WIREJSON_H
#define XO_WIREJSON_H
#include "base/error.h"
#include <jansson.h>
/* Parses n bytes; NULL with the error set (PROTOCOL, NOMEM). A bare number becomes a member name of its digits, an object the name of its own JSON text, which may be parsed again. Nesting is bounded. */
json_t *xo_wire_json(const void *p, size_t n);
/* Members: "" and 0 when absent or of another type. Numbers may stand as text. */
const char *xo_json_text(const json_t *o, const char *name);
int64_t xo_json_int(const json_t *o, const char *name);
#endif
