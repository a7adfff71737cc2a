/* Named places where a test can make this process crash, fail or wait. Inert unless XONCE_FAILPOINTS is set.
   XONCE_FAILPOINTS="claimed=crash@3;committing=error;settled=delay:50ms@2+": NAME=ACTION[@N|@N+|%P], ';' between.
   crash = SIGKILL to oneself, error = the step fails as if the connection broke, delay:D = wait. @N: at the Nth hit only,
   @N+: from the Nth on, %P: with a chance of P percent; none: at every hit. */
#ifndef XO_FAILPOINT_H
#define XO_FAILPOINT_H
#include "base/error.h"
extern int xo_failpoints_on;                   /* 0 = all inert: one load and a branch */
xonce_status xo_failpoint_hit(const char *name); /* XONCE_OK, or XONCE_E_CONNECT when the action is error */
static inline xonce_status xo_failpoint(const char *name)
{
    return __builtin_expect(xo_failpoints_on, 0) ? xo_failpoint_hit(name) : XONCE_OK;
}
/* The arrows of the worker (docs/design.md): polled begun claimed handled committing committed settled. */
xonce_status xo_failpoints_load(const char *spec); /* NULL: from the environment; called once by the library's constructor */
#endif
