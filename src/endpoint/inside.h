/* Sending and declaring from inside the endpoint's own process, past HTTP and its faults. Any thread. */
#ifndef XO_INSIDE_H
#define XO_INSIDE_H
#include "endpoint/endpoint.h"
#include "endpoint/engine.h"
/* "", "ordered", "timed", "transaction"; 0 when it is none of them. */
int xo_kind_read(const char *text, xo_kind *kind);
/* Makes the topic, or changes its kind. */
xonce_status xo_inside_topic(xo_endpoint *ep, const char *name, xo_kind kind);
/* Stores what HTTP could carry; returns when it is durable. No half messages. id: 32 hexadecimal digits and a NUL. */
xonce_status xo_inside_send(xo_endpoint *ep, const xonce_message *m, char id[33]);
/* What happened since the start. */
typedef struct {
    xo_engine_counts engine;
    int64_t requests, errors, cuts; /* the last two: faults made */
} xo_figures;
void xo_endpoint_figures(xo_endpoint *ep, xo_figures *out);
#endif
