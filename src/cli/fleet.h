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
/* Tells the consumers how large the batches of each subscription may be: of programs one message, when neither section nor settings say more. */
void xo_fleet_batches(xo_fleet *f, const xo_plan *plan, const xonce_config *cfg);
/* The SQL of sections that were read again, for subscriptions where nothing else has changed. All of it is parsed and tried at the databases first: XO_GO_ON, or what is wrong was told and *out is empty. */
typedef struct xo_fleet_change xo_fleet_change;
int xo_fleet_prepare(xo_fleet *f, xo_plan *next, const xo_usage *u, xo_fleet_change **out);
/* Puts it in force, and into the plan that the fleet has (next loses it); each message is run by the one or the other. Frees it. */
void xo_fleet_take(xo_plan *plan, xo_fleet_change *c);
void xo_fleet_drop(xo_fleet_change *c);       /* frees it unused */
size_t xo_fleet_count(const xo_fleet *f);
xonce_consumer *xo_fleet_at(const xo_fleet *f, size_t i);
void xo_fleet_ends(const xo_fleet *f, size_t i, const char **from, const char **group); /* of that consumer, as its subscriptions name them */
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
