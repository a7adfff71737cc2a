/* JSON as Java brokers write it: member names may be bare numbers ({0:"a"}) or objects ({{"topic":"t"}:5}). */
#ifndef XO_WIREJSON_H
#define XO_WIREJSON_H
#include "base/error.h"
#include "remoting/command.h"
#include <jansson.h>
/* Parses n bytes; NULL with the error set (PROTOCOL, NOMEM). A bare number becomes a member name of its digits, an object the name of its own JSON text, which may be parsed again. Nesting is bounded. */
json_t *xo_wire_json(const void *p, size_t n);
/* Members: "" and 0 when absent or of another type. Numbers may stand as text. */
const char *xo_json_text(const json_t *o, const char *name);
int64_t xo_json_int(const json_t *o, const char *name);
/* header.c: the JSON header of a frame, when it is written as usual; names and values are ended with zero bytes where they stand. 0: it is not, and nothing was changed. */
int xo_header_read(xo_command *c, char *p, size_t n);
int xo_language_number(const char *name, size_t n); /* command.c; -1: unknown */
#endif
