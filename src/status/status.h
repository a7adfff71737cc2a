/* The status server: a consumer seen from outside, over HTTP, read-only. */
#ifndef XO_STATUS_H
#define XO_STATUS_H
#include "base/error.h"
typedef struct xo_status xo_status;
/* Listens on HOST:PORT (port 0: any free one) and serves /, /status.json, /metrics, /healthz and /readyz, by threads of its own. */
xonce_status xo_status_start(xo_status **out, const char *listen);
/* A consumer to show; name (NULL: none) tells it from others of the same group. Before it is started or after. */
xonce_status xo_status_add(xo_status *s, xonce_consumer *c, const char *name);
/* What is in force beyond the keys of the configuration, for the page: lines of a section. Copied; secrets are masked by who calls. */
typedef struct {
    const char *section, *key, *value;
} xo_fact;
/* In place of those of this consumer so far. */
xonce_status xo_status_facts(xo_status *s, const xonce_consumer *c, const xo_fact *facts, size_t n);
const char *xo_status_address(const xo_status *s); /* "http://127.0.0.1:41234" */
void xo_status_stop(xo_status *s);                 /* before any of its consumers is freed; NULL is fine */
#endif
