/* What the two halves of libxonce-test share. */
#ifndef XO_TESTING_H
#define XO_TESTING_H
#include "endpoint/endpoint.h"
#include "endpoint/engine.h"
#include "xonce/test.h"
struct xonce_test {
    xo_endpoint *ep;
    xo_engine *engine;
    char *uri, *folder; /* folder: the one to remove; NULL when it is the caller's */
    char *access_key_id, *access_key_secret;
};
/* This library has the internals it needs inside, and so a last error of its own: hands it to the caller's. */
xonce_status xo_testing_told(xonce_status st);
#endif
