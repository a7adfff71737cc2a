/* What consume is to do: subscriptions and databases, out of the sections of a configuration file or out of options. */
#ifndef XO_CLI_PLAN_H
#define XO_CLI_PLAN_H
#include "base/buf.h"
#include "cli/connect.h"

/* [store NAME]; name is NULL for a URI that was given without one. */
typedef struct {
    char *name, *uri, *tenants; /* tenants: "a||b" */
    xonce_config *cfg;          /* its own settings, over those of all */
} xo_plan_store;

typedef struct {
    const char *value; /* inside its store's tenants */
    size_t n, at;      /* its bytes; which of the subscription's stores */
} xo_plan_tenant;

/* [subscription NAME]; name is NULL for that of the command line. */
typedef struct {
    char *name;
    char *from, *group, *topic, *tags, *store, *sql, *exec, *id, *route;
    int64_t exec_timeout;
    int64_t batch;      /* most messages in a transaction; 0: not said */
    int ordered, claim; /* claim: -1 not said, else a xonce_claim_mode */
    /* found out by xo_plan_finish */
    xo_msg_field id_field, route_field;
    size_t *stores, nstores; /* of the plan's */
    int others;              /* a message of no tenant goes to the first of them; else it is rejected there */
    xo_plan_tenant *tenants; /* sorted */
    size_t ntenants, cap_tenants;
} xo_plan_sub;

typedef struct {
    char *from, *group, *store; /* [consume]: what subscriptions and command line do not say */
    xo_plan_sub *subs;
    size_t nsubs, cap_subs;
    xo_plan_store *stores;
    size_t nstores, cap_stores;
} xo_plan;

/* A xo_section_fn; arg is the plan. */
xonce_status xo_plan_line(const char *kind, const char *name, const char *key, const char *value, void *arg);
/* What the command line says: defaults for sections, or when it has a topic the one subscription. NULL: not given. */
typedef struct {
    const char *from, *group, *topic, *tags, *store, *sql, *exec, *id;
    int64_t exec_timeout;
    int ordered;
} xo_plan_words;
/* XO_GO_ON with a plan that can be carried out, or the exit code after telling what is missing. */
int xo_plan_finish(xo_plan *p, const xo_usage *u, const xo_plan_words *w);
void xo_plan_free(xo_plan *p);

/* Sections that were read again. What can change at work is the SQL and the batches of a subscription of which nothing else has changed. */
typedef enum { XO_PLAN_SAME, XO_PLAN_LIVE, XO_PLAN_RESTART } xo_plan_change;
/* keys: the lines that differ, "sql, route"; those that need a restart when there are such. */
xo_plan_change xo_plan_sub_change(const xo_plan_sub *was, const xo_plan_sub *is, char *keys, size_t size);
xo_plan_sub *xo_plan_find_sub(const xo_plan *p, const char *name);     /* NULL: there is none of this name */
/* A warning for each section that is new, gone or changed beyond that. */
void xo_plan_tell_left(const xo_plan *was, const xo_plan *is);

/* Which of the subscription's stores a message goes to: a xonce_route_fn whose arg is the xo_plan_sub. */
size_t xo_plan_route(const xonce_message *m, void *sub);
/* The same; -1 when it belongs nowhere: why in reason. */
int xo_plan_find(const xo_plan_sub *s, const xonce_message *m, char *reason, size_t size);
#endif
