/* xonce rewind: a wanted replay: from a place in the queues of a topic on, everything is applied again. */
#include "base/clock.h"
#include "cli/broker_view.h"
#include "cli/cli.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "store/rewind.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    const char *from, *topic, *group, *store, *to;
    int64_t queue, offset, time; /* offset or time: -1 when the other is meant */
    int yes, verbose;
    xonce_config *cfg;
} options;
typedef struct {
    const xo_view_queue *q;
    int64_t at, position; /* where it goes, and where it is: -1 unknown */
} target;
typedef struct {
    target *targets;
    size_t n;
    int64_t again;
} plan;

/* "120", or a time, see xo_parse_time, or "2h" ago. */
static int parse_to(const xo_usage *u, options *o)
{
    char *end;
    errno = 0;
    long long n = strtoll(o->to, &end, 10);
    int64_t ago;
    o->offset = o->time = -1;
    if (o->to[0] >= '0' && o->to[0] <= '9' && *end == 0 && !errno && n <= INT64_C(100000000000)) { /* no queue has so many messages, and as ms this is in 1973 */
        o->offset = n;
        return XO_GO_ON;
    }
    if (xo_parse_time(o->to, &o->time) == XONCE_OK) {
        return XO_GO_ON;
    }
    if (xo_parse_duration(o->to, "x", &ago) == XONCE_OK) {
        o->time = xo_now_ms() - ago;
        return XO_GO_ON;
    }
    return xo_args_wrong(u, "--to: \"%.60s\" is no offset and no time; write 1200, 2026-11-23T10:00:00Z or 2h (ago)", o->to);
}

static int check_options(const xo_usage *u, options *o)
{
    const char *missing = !o->from ? "--from" : !o->topic ? "--topic" : !o->group ? "--group" : !o->to ? "--to" : NULL;
    if (missing) {
        return xo_args_wrong(u, "%s is missing", missing);
    }
    int rc = parse_to(u, o);
    if (rc == XO_GO_ON && o->offset >= 0 && o->queue < 0) {
        return xo_args_wrong(u, "--to OFFSET goes with --queue: an offset says nothing of other queues");
    }
    return rc;
}

/* A member that runs would write its position back. */
static int nobody_runs(xo_cluster *c, const options *o)
{
    size_t brokers = 0;
    if (xo_view_online(c, o->group, &brokers) != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    if (brokers) {
        xo_out_error("group %s has members that run: stop them first; they would write their positions back", o->group);
        return XO_EXIT_FAILED;
    }
    return XO_GO_ON;
}

static xonce_status find_offset(xo_cluster *c, const options *o, const xo_view_queue *q, int64_t *at)
{
    *at = o->offset;
    if (o->offset < 0) {
        xo_command r, answer;
        char *wire = xo_cluster_wrap(c, o->topic);
        xo_command_init(&r, XO_RMQ_SEARCH_OFFSET);
        xo_command_set(&r, "topic", wire);
        xo_command_set_int(&r, "queueId", q->queue);
        xo_command_set_int(&r, "timestamp", o->time);
        xo_command_set(&r, "boundaryType", "LOWER");
        free(wire);
        xonce_status st = xo_cluster_ask(c, q->broker, &r, "looking for the offset of a time", &answer);
        if (st == XONCE_OK) {
            st = xo_command_get_int(&answer, "offset", at);
            xo_command_free(&answer);
        }
        if (st != XONCE_OK) {
            return st;
        }
    }
    *at = *at < q->min ? q->min : *at > q->max ? q->max : *at;
    return XONCE_OK;
}

static int on_position(const xonce_row *r, void *arg)
{
    plan *p = arg;
    for (size_t i = 0; i < p->n; i++) {
        target *t = &p->targets[i];
        if (strcmp(t->q->broker, xonce_row_text(r, 0)) == 0 && t->q->queue == xonce_row_int(r, 1)) {
            t->position = xonce_row_int(r, 2); /* by generation: the last one counts */
        }
    }
    return 0;
}

static int make_plan(xo_cluster *c, xonce_store *s, const options *o, const xo_view *v, plan *p)
{
    *p = (plan){.targets = xo_calloc(v->n ? v->n : 1, sizeof(*p->targets))};
    xonce_status st = p->targets ? XONCE_OK : xo_nomem();
    for (size_t i = 0; st == XONCE_OK && i < v->n; i++) {
        if (o->queue < 0 || o->queue == v->queues[i].queue) {
            target *t = &p->targets[p->n++];
            *t = (target){.q = &v->queues[i], .position = -1};
            st = find_offset(c, o, t->q, &t->at);
        }
    }
    xonce_value values[] = {xonce_text(o->group), xonce_text(o->topic)};
    if (st == XONCE_OK) {
        st = xo_store_query(s, "SELECT broker_name, queue_id, next_offset FROM xonce_settled WHERE consumer_group = $1 AND topic_name = $2 ORDER BY generation", values, 2, on_position, p, NULL);
    }
    if (st != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    size_t kept = 0;
    for (size_t i = 0; i < p->n; i++) { /* going forward would lose what lies between */
        if (p->targets[i].position > p->targets[i].at) {
            p->again += p->targets[i].position - p->targets[i].at;
            p->targets[kept++] = p->targets[i];
        }
    }
    p->n = kept;
    return XO_GO_ON;
}

static int ask(const options *o, const plan *p)
{
    char answer[16];
    for (size_t i = 0; i < p->n; i++) {
        const target *t = &p->targets[i];
        xo_out("queue %d of %s at %s: from %" PRId64 " back to %" PRId64 "\n", (int)t->q->queue, o->topic, t->q->broker, t->position, t->at);
    }
    xo_out("%" PRId64 " messages will be delivered again, and applied again; copies that still wait in the retry topic may add to them\n", p->again);
    if (o->yes) {
        return XO_GO_ON;
    }
    if (!isatty(STDIN_FILENO)) {
        xo_out_error("nothing was changed: say --yes");
        return XO_EXIT_USAGE;
    }
    xo_out("Rewind? [y/N] ");
    (void)xo_out_end(0);
    return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y') ? XO_GO_ON : XO_EXIT_FAILED;
}

/* The broker hears it too, for whoever reads its numbers. */
static xonce_status tell_broker(xo_cluster *c, const options *o, const target *t)
{
    xo_command r;
    char *wire = xo_cluster_wrap(c, o->topic), *group = xo_cluster_wrap(c, o->group);
    xo_command_init(&r, XO_RMQ_UPDATE_OFFSET);
    xo_command_set(&r, "consumerGroup", group);
    xo_command_set(&r, "topic", wire);
    xo_command_set_int(&r, "queueId", t->q->queue);
    xo_command_set_int(&r, "commitOffset", t->at);
    free(wire);
    free(group);
    return xo_cluster_ask(c, t->q->broker, &r, "telling the broker the offset", NULL);
}

static int carry_out(xo_cluster *c, xonce_store *s, const options *o, const plan *p)
{
    int64_t records = 0;
    for (size_t i = 0; i < p->n; i++) {
        const target *t = &p->targets[i];
        int64_t gone = 0;
        if (xo_rewind_queue(s, o->topic, t->q->broker, t->q->queue, t->at, &gone) != XONCE_OK || tell_broker(c, o, t) != XONCE_OK) {
            return xo_out_failed(NULL);
        }
        records += gone;
    }
    xo_out("rewound %zu queues, %" PRId64 " records deleted\n", p->n, records);
    return XO_EXIT_OK;
}

static int rewind_topic(xo_cluster *c, xonce_store *s, const options *o)
{
    xo_view v;
    plan p = {0};
    int rc = nobody_runs(c, o);
    if (rc != XO_GO_ON) {
        return rc;
    }
    if (xo_view_topic(c, o->topic, &v) != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    rc = make_plan(c, s, o, &v, &p);
    if (rc == XO_GO_ON && p.n == 0) {
        xo_out("nothing to rewind: no queue has a position in this database beyond that\n");
        rc = XO_EXIT_NOT;
    }
    rc = rc == XO_GO_ON ? ask(o, &p) : rc;
    rc = rc == XO_GO_ON ? carry_out(c, s, o, &p) : rc;
    free(p.targets);
    xo_view_free(&v);
    return rc;
}

static int run(const xo_usage *u, options *o)
{
    xonce_store *s = NULL;
    xo_cluster *c = NULL;
    int rc = check_options(u, o);
    const char *uri = rc == XO_GO_ON ? xo_store_uri(u, o->store) : NULL;
    if (rc == XO_GO_ON) {
        rc = uri ? xo_store_connect(&s, uri, o->group, o->cfg) : XO_EXIT_USAGE;
    }
    if (rc == XO_GO_ON && xo_cluster_open(&c, o->from, o->cfg, NULL, NULL) != XONCE_OK) {
        rc = xo_open_failed(NULL);
    }
    rc = rc == XO_GO_ON ? rewind_topic(c, s, o) : rc;
    xo_cluster_close(c);
    xonce_store_close(s);
    return rc;
}

int xo_cmd_rewind(int argc, char **argv)
{
    options o = {.queue = -1};
    size_t nrest;
    const xo_arg args[] = {
        {"from", "URI", XO_ARG_TEXT, &o.from, NULL, 0, 0, "the name servers, rocketmq://HOST:9876;HOST:9876"},
        XO_ARG_INSTANCE(&o.cfg),
        XO_ARG_NAMESPACE(&o.cfg),
        {"topic", "NAME", XO_ARG_TEXT, &o.topic, NULL, 0, 0, "the topic"},
        {"queue", "N", XO_ARG_INT, &o.queue, NULL, 0, 65535, "only this queue (of each broker)"},
        XO_ARG_GROUP(&o.group),
        XO_ARG_STORE(&o.store),
        {"to", "PLACE", XO_ARG_TEXT, &o.to, NULL, 0, 0, "an offset (with --queue), a time as 2026-11-23T10:00:00Z or ms since 1970, or 2h for two hours ago"},
        {"yes", NULL, XO_ARG_SWITCH, &o.yes, NULL, 0, 0, "do not ask"},
        XO_ARG_CREDENTIALS(&o.cfg),
        XO_ARG_SET(&o.cfg),
        XO_ARG_CONFIG_FILE(&o.cfg),
        XO_ARG_VERBOSE(&o.verbose),
    };
    const xo_usage usage = {
        .name = "rewind",
        .synopsis = "--from URI --topic NAME [--queue N] --group GROUP --store URI --to OFFSET|TIME [--yes]",
        .about = "Makes a group forget what it has settled of a topic from a place on: the messages are delivered and applied again. It says what it will do, and asks. "
                 "Resetting offsets at the broker does not do this: what the database knows to be settled stays settled. Only while no member of the group runs.",
        .example = "  xonce rewind --from rocketmq://127.0.0.1:9876 --topic orders --group GID_orders --store postgresql:///shop --to 2h",
        .notes = "Undo the effects of these messages before, or let the handler bear their being there. Exit code 3: there is nothing to rewind.",
        .args = args,
        .nargs = sizeof(args) / sizeof(args[0]),
    };
    if (xonce_config_new(&o.cfg) != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    int rc = xo_args_parse(&usage, argc, argv, &nrest);
    rc = rc == XO_GO_ON ? xo_out_log_start(o.cfg, o.verbose) : rc;
    if (rc == XO_GO_ON) {
        rc = run(&usage, &o);
    }
    xonce_config_free(o.cfg);
    return rc;
}
