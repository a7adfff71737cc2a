/* What a plan says, for the status page. */
#ifndef XO_CLI_INFORCE_H
#define XO_CLI_INFORCE_H
#include "cli/fleet.h"
#include "status/status.h"
/* Tells the page, for each consumer of the fleet, its subscriptions and their databases, as sections; in place of what was told before. Passwords are
   masked. */
xonce_status xo_inforce_tell(xo_status *s, const xo_fleet *f, const xo_plan *p);
#endif
