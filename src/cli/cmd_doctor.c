/* xonce doctor: source and database, all that a consumer needs, in one look. */
#include "base/clock.h"
#include "base/config.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/connect.h"
#include "cli/doctor.h"
#include "cli/output.h"
#include "cli/plan.h"
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

/* What is looked at: sections of a file, or else what the options name. */
typedef struct {
    xo_doctor d;
    const xo_plan *plan;         /* NULL: none of its subscriptions */
    const xo_plan_store *stores; /* of its databases; none: d.store */
    size_t nstores;
    int json;
} task;

/* What stands in the settings, for a report that is passed on: no secret, no default. */
static void add_settings(xo_buf *b, const xonce_config *cfg)
{
    int n = 0;
    xo_buf_str(b, "\"settings\":{");
    for (size_t i = 0; i < xo_config_count; i++) {
        const xo_config_key *k = &xo_config_keys[i];
        const char *value = xo_config_is_set(cfg, k->key) ? xo_config_text(cfg, k->key) : NULL;
        if (value) {
            xo_buf_printf(b, "%s\"%s\":", n++ ? "," : "", k->key);
            xo_buf_json(b, k->secret ? "***" : value, strlen(k->secret ? "***" : value));
        }
    }
    xo_buf_char(b, '}');
}

static void add_text(xo_buf *b, const char *name, const char *value)
{
    xo_buf_printf(b, "\"%s\":", name);
    xo_buf_json(b, value, strlen(value));
    xo_buf_char(b, ',');
}

static void add_uri(xo_buf *b, const char *name, const char *uri)
{
    char *shown = uri ? xo_uri_mask(uri) : NULL;
    if (shown) {
        add_text(b, name, shown);
    }
    free(shown);
}

/* The [store] sections, each with what it sets for itself. */
static void add_stores(xo_buf *b, const task *t)
{
    for (size_t i = 0; i < t->nstores; i++) {
        const xo_plan_store *s = &t->stores[i];
        xo_buf_str(b, i ? ",{" : "\"stores\":[{");
        if (s->name) {
            add_text(b, "name", s->name);
        }
        add_uri(b, "uri", s->uri);
        add_settings(b, s->cfg);
        xo_buf_char(b, '}');
    }
    xo_buf_str(b, t->nstores ? "]," : "");
}

/* The members of the report's object in front of the findings. */
static char *report_head(const task *t)
{
    xo_buf b = {0};
    char now[40];
    struct utsname u;
    xo_format_time(xo_now_ms(), now, sizeof(now));
    add_text(&b, "xonce", xonce_version());
    add_text(&b, "time", now);
    if (uname(&u) == 0) {
        char *system = xo_printf("%s %s %s", u.sysname, u.release, u.machine);
        add_text(&b, "system", system ? system : "");
        free(system);
    }
    add_uri(&b, "store", t->nstores ? NULL : t->d.store);
    add_uri(&b, "from", t->d.from);
    if (t->d.group) {
        add_text(&b, "group", t->d.group);
    }
    if (t->d.topic) {
        add_text(&b, "topic", t->d.topic);
    }
    add_stores(&b, t);
    add_settings(&b, t->d.cfg);
    xo_buf_char(&b, ',');
    return xo_buf_take(&b);
}

/* The group that uses this database of the plan; NULL: none does. */
static const char *group_of(const xo_plan *p, const xo_plan_store *store)
{
    for (size_t i = 0; p && i < p->nsubs; i++) {
        for (size_t k = 0; k < p->subs[i].nstores; k++) {
            if (&p->stores[p->subs[i].stores[k]] == store) {
                return p->subs[i].group;
            }
        }
    }
    return NULL;
}

/* One database of the file, with the settings of its section over those of all. */
static void examine_store(const task *t, const xo_plan_store *s, xo_findings *f)
{
    const char *group = group_of(t->plan, s);
    xonce_config *own = NULL;
    if (xo_config_overlay(&own, t->d.cfg, s->cfg) != XONCE_OK) {
        xo_findings_failed(f, XO_BROKEN, "the settings of a section");
        return;
    }
    const xo_doctor d = {.store = s->uri, .group = group ? group : t->d.group, .cfg = own};
    xo_doctor_store(&d, f);
    xonce_config_free(own);
}

static void examine_sources(const task *t, xo_findings *f)
{
    for (size_t i = 0; t->plan && i < t->plan->nsubs; i++) {
        const xo_plan_sub *s = &t->plan->subs[i];
        const xo_doctor d = {.from = s->from, .group = s->group, .topic = s->topic, .cfg = t->d.cfg};
        xo_doctor_source(&d, f);
    }
    if (!t->plan && t->d.from) {
        xo_doctor_source(&t->d, f);
    }
}

static int examine(const task *t)
{
    xo_findings f = {.json = t->json, .whole = 1, .worst = XO_GOOD};
    xo_findings_area(&f, "program", NULL);
    xo_findings_good(&f, "xonce %s", xonce_version());
    for (size_t i = 0; i < t->nstores; i++) {
        examine_store(t, &t->stores[i], &f);
    }
    if (!t->nstores && t->d.store) {
        xo_doctor_store(&t->d, &f);
    }
    examine_sources(t, &f);
    char *head = t->json ? report_head(t) : NULL;
    int rc = XO_EXIT_FAILED;
    if (t->json && !head) {
        xo_buf_free(&f.out);
        free(f.about);
        (void)xo_nomem();
        (void)xo_out_failed(NULL);
    } else {
        rc = xo_findings_show(&f, head);
    }
    free(head);
    return rc;
}

/* The section that --store or its like names. */
static const xo_plan_store *section_of(const xo_plan *p, const char *store)
{
    for (size_t i = 0; store && i < p->nstores; i++) {
        if (p->stores[i].name && strcmp(p->stores[i].name, store) == 0) {
            return &p->stores[i];
        }
    }
    return NULL;
}

/* What the options name, with what the file says for all: the same database that consume would take. */
static int run_words(const xo_usage *u, task *t, const xo_plan *p)
{
    const char *variable = getenv("XONCE_STORE");
    xo_doctor *d = &t->d;
    d->store = d->store ? d->store : variable && *variable ? variable : p->store;
    d->from = d->from ? d->from : p->from;
    d->group = d->group ? d->group : p->group;
    const xo_plan_store *one = section_of(p, d->store);
    t->stores = one ? one : d->store ? NULL : p->stores;
    t->nstores = one ? 1 : d->store ? 0 : p->nstores;
    for (size_t i = 0; i < t->nstores; i++) {
        if (!t->stores[i].uri) {
            return xo_args_wrong(u, "[store %.100s]: uri is missing", t->stores[i].name);
        }
    }
    return d->store || t->nstores || d->from ? examine(t) : xo_args_wrong(u, "neither --store nor --from was given, and XONCE_STORE is not set");
}

static int run(const xo_usage *u, task *t, xo_plan *p)
{
    if (!p->nsubs || t->d.topic) {
        return run_words(u, t, p);
    }
    const xo_plan_words w = {.from = t->d.from, .group = t->d.group, .store = t->d.store};
    int rc = xo_plan_finish(p, u, &w);
    t->plan = p;
    t->stores = p->stores;
    t->nstores = p->nstores;
    return rc == XO_GO_ON ? examine(t) : rc;
}

int xo_cmd_doctor(int argc, char **argv)
{
    task t = {.d = {.store = NULL}};
    xonce_config *cfg = NULL;
    xo_plan plan = {.from = NULL};
    const xo_sections sections = {&cfg, xo_plan_line, &plan};
    int verbose = 0;
    size_t nrest;
    const xo_arg args[] = {
        XO_ARG_STORE(&t.d.store),
        {"from", "URI", XO_ARG_TEXT, &t.d.from, NULL, 0, 0, "the source, http://HOST:PORT or rocketmq://HOST:9876;HOST:9876"},
        {"topic", "TOPIC", XO_ARG_TEXT, &t.d.topic, NULL, 0, 0, "the topic that is to be consumed"},
        XO_ARG_GROUP(&t.d.group),
        XO_ARG_INSTANCE(&cfg),
        XO_ARG_NAMESPACE(&cfg),
        XO_ARG_CREDENTIALS(&cfg),
        XO_ARG_JSON(&t.json),
        XO_ARG_SET(&cfg),
        {"config", "FILE", XO_ARG_SECTIONS, (void *)(uintptr_t)&sections, NULL, 0, 0, "settings, as in xonce.conf(5); the databases and topics of its sections are looked at too"},
        XO_ARG_VERBOSE(&verbose),
    };
    const xo_usage usage = {
        .name = "doctor",
        .synopsis = "[--store URI] [--from URI] [--topic TOPIC] [--group GROUP] [--json]",
        .about = "Looks at all that a consumer needs and says what to do about what is wrong: the database as xonce check does, with its\n"
                 "version, distance and connections; the source, its credentials, its clock, topic and group. Takes no message, changes nothing.",
        .example = "  xonce doctor --store postgresql://app@db/shop --from 'rocketmq://ns1:9876;ns2:9876' --topic orders --group GID_orders",
        .notes = "Exit code 3: problems were found. --json is fit for a support request: passwords and secrets are left out.",
        .args = args,
        .nargs = sizeof(args) / sizeof(args[0]),
    };
    if (xonce_config_new(&cfg) != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    int rc = xo_args_parse(&usage, argc, argv, &nrest);
    if (rc == XO_GO_ON) {
        if (verbose) { /* what it finds is told below */
            xo_out_log(verbose);
        }
        t.d.cfg = cfg;
        rc = run(&usage, &t, &plan);
    }
    xo_plan_free(&plan);
    xonce_config_free(cfg);
    return rc;
}
