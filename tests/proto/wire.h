/* A bare HTTP client for tests of the endpoint: blocking, one connection, unsigned requests. */
#ifndef XO_WIRE_H
#define XO_WIRE_H
#include "base/buf.h"
typedef struct {
    int fd, port;
    xo_buf in;      /* what was read and not yet used */
    int status;     /* of the last answer; 0 when there was none */
    xo_buf head, body;
} wire;
/* 0, or -1 when nobody listens. */
int wire_open(wire *w, int port);
void wire_close(wire *w);
void wire_free(wire *w);
/* Sends bytes as they are. */
int wire_write(wire *w, const char *text, size_t n);
/* Reads one answer; its status, 0 when the connection ended or timed out (ms) before the whole answer. */
int wire_read(wire *w, int timeout_ms);
/* One request with a body (NULL: none), one answer. Opens the connection when it is closed. */
int wire_call(wire *w, const char *method, const char *target, const char *body);
/* The text of the n-th element of that name in the last answer's body, unescaped; NULL when there is none. Caller frees. */
char *wire_element(const wire *w, const char *name, int n);
int wire_count(const wire *w, const char *name);
/* Conveniences: the status; bodies are escaped. */
int wire_send(wire *w, const char *topic, const char *body, const char *tag, const char *properties);
int wire_consume(wire *w, const char *topic, const char *group, int max, int wait_s, const char *more);
int wire_ack(wire *w, const char *topic, const char *group, char *const *handles, int n, const char *more);
#endif
