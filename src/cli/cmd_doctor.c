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
    xo_buf_str(b, "},");
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

/* The members of the report's object in front of the findings. */
static char *report_head(const xo_doctor *d)
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
    add_uri(&b, "store", d->store);
    add_uri(&b, "from", d->from);
    if (d->group) {
        add_text(&b, "group", d->group);
    }
    if (d->topic) {
        add_text(&b, "topic", d->topic);
    }
    add_settings(&b, d->cfg);
    return xo_buf_take(&b);
}

/* The group that uses this database of the plan; NULL: none does. */
static const char *group_of(const xo_plan *p, size_t store)
{
    for (size_t i = 0; i < p->nsubs; i++) {
        for (size_t k = 0; k < p->subs[i].nstores; k++) {
            if (p->subs[i].stores[k] == store) {
                return p->subs[i].group;
            }
        }
    }
    return NULL;
}

/* All that the sections of a file name. */
static void examine_plan(const xo_plan *p, const xonce_config *cfg, xo_findings *f)
{
    for (size_t i = 0; i < p->nstores; i++) {
        const xo_doctor d = {.store = p->stores[i].uri, .group = group_of(p, i), .cfg = cfg};
        xo_doctor_store(&d, f);
    }
    for (size_t i = 0; i < p->nsubs; i++) {
        const xo_doctor d = {.from = p->subs[i].from, .group = p->subs[i].group, .topic = p->subs[i].topic, .cfg = cfg};
        xo_doctor_source(&d, f);
    }
}

static int examine(const xo_doctor *d, const xo_plan *p, int json)
{
    xo_findings f = {.json = json, .whole = 1, .worst = XO_GOOD};
    xo_findings_area(&f, "program", NULL);
    xo_findings_good(&f, "xonce %s", xonce_version());
    if (p) {
        examine_plan(p, d->cfg, &f);
    } else {
        if (d->store) {
            xo_doctor_store(d, &f);
        }
        if (d->from) {
            xo_doctor_source(d, &f);
        }
    }
    char *head = json ? report_head(d) : NULL;
    int rc = XO_EXIT_FAILED;
    if (json && !head) {
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

static int run(const xo_usage *u, xo_doctor *d, xo_plan *p, int json)
{
    const char *from_environment = getenv("XONCE_STORE");
    if (p->nsubs && !d->topic) {
        const xo_plan_words w = {.from = d->from, .group = d->group, .store = d->store};
        int rc = xo_plan_finish(p, u, &w);
        return rc == XO_GO_ON ? examine(d, p, json) : rc;
    }
    d->store = d->store ? d->store : p->store ? p->store : from_environment && *from_environment ? from_environment : NULL;
    d->from = d->from ? d->from : p->from;
    d->group = d->group ? d->group : p->group;
    return d->store || d->from ? examine(d, NULL, json) : xo_args_wrong(u, "neither --store nor --from was given, and XONCE_STORE is not set");
}

int xo_cmd_doctor(int argc, char **argv)
{
    xo_doctor d = {.store = NULL};
    xonce_config *cfg = NULL;
    xo_plan plan = {.said = {0}};
    const xo_sections sections = {&cfg, xo_plan_line, &plan};
    int json = 0, verbose = 0;
    size_t nrest;
    const xo_arg args[] = {
        XO_ARG_STORE(&d.store),
        {"from", "URI", XO_ARG_TEXT, &d.from, NULL, 0, 0, "the source, http://HOST:PORT or rocketmq://HOST:9876;HOST:9876"},
        {"topic", "TOPIC", XO_ARG_TEXT, &d.topic, NULL, 0, 0, "the topic that is to be consumed"},
        XO_ARG_GROUP(&d.group),
        XO_ARG_INSTANCE(&cfg),
        XO_ARG_NAMESPACE(&cfg),
        XO_ARG_CREDENTIALS(&cfg),
        XO_ARG_JSON(&json),
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
        d.cfg = cfg;
        rc = run(&usage, &d, &plan, json);
    }
    xo_plan_free(&plan);
    xonce_config_free(cfg);
    return rc;
}
