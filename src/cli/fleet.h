/* A plan carried out: databases opened, one consumer for each group and endpoint, until they end. */
#ifndef XO_CLI_FLEET_H
#define XO_CLI_FLEET_H
#include "cli/plan.h"
#include <signal.h>

typedef struct xo_fleet xo_fleet;
/* cfg is the settings of all, and stays the caller's. Opens sources and databases, tries the SQL, subscribes; takes no message yet. XO_GO_ON, or the exit code after telling what failed; *out is to be freed either
   way. no_dedup: the at-least-once baseline. */
int xo_fleet_open(xo_fleet **out, const xo_plan *plan, const xo_usage *u, const xonce_config *cfg, int no_dedup);
/* Starts all, or none. XO_GO_ON or an exit code, told. */
int xo_fleet_start(xo_fleet *f);
size_t xo_fleet_count(const xo_fleet *f);
xonce_consumer *xo_fleet_at(const xo_fleet *f, size_t i);
/* Asks all to stop; async-signal-safe. */
void xo_fleet_ask_stop(const xo_fleet *f);
/* What the program waits for besides the end. */
typedef struct {
    const volatile sig_atomic_t *stop;        /* a signal asked for the end */
    volatile sig_atomic_t *reload;            /* a signal asked for new settings: do_reload is called, and it is 0 again */
    void (*do_reload)(xo_fleet *f, void *arg);
    void *arg;
    int64_t stop_within, idle;                /* idle: exit-when-idle */
} xo_fleet_wait;
/* Until all have ended. The exit code. */
int xo_fleet_wait_for_end(xo_fleet *f, const xo_fleet_wait *w);
/* The last line of output. */
void xo_fleet_print_counts(const xo_fleet *f);
int xo_fleet_has_ended(const xo_fleet *f);    /* 0: handlers still run, nothing of theirs may be freed */
void xo_fleet_free(xo_fleet *f);
#endif
