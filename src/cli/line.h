/* One line of `xonce send` as a message. */
#ifndef XO_CLI_LINE_H
#define XO_CLI_LINE_H
#include "cli/jsonpath.h"
#include "message/message.h"
#include "producer/producer.h"

typedef struct {
    const char *topic, *tag, *key, *sharding_key; /* NULL: none */
    const char *const *properties;                /* "NAME=VALUE" */
    size_t nproperties;
    int64_t delay_ms, deliver_at_ms;              /* -1: none */
    int json;                                     /* lines are {"body":...,"tag":...,"key":...,"properties":{...}} */
    xonce_producer *producer;                     /* which will send it; NULL: one that speaks HTTP */
} xo_line_rules;
/* A message that the producer can send, or XONCE_E_INVALID with what is wrong. */
xonce_status xo_line_message(xonce_message **out, const xo_line_rules *r, const char *line, size_t n);
#endif
