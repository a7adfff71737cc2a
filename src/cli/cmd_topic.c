/* xonce topic: makes topics in a RocketMQ cluster, and shows what they hold. */
#include "base/clock.h"
#include "cli/broker_view.h"
#include "cli/cli.h"
#include "cli/connect.h"
#include "cli/output.h"
#include <inttypes.h>
#include <string.h>

typedef struct {
    const char *cluster, *topic, *type;
    int64_t queues;
    int order, json, verbose;
    xonce_config *cfg;
} options;

static int create(xo_cluster *c, const options *o)
{
    if (xo_view_create_topic(c, o->topic, (int)o->queues, o->order, o->type) != XONCE_OK) {
        return xo_out_failed(o->topic);
    }
    xo_out("topic %s has %" PRId64 " queues on each broker\n", o->topic, o->queues);
    return XO_EXIT_OK;
}

static void show_json(const options *o, const xo_view *v)
{
    xo_buf b = {0};
    xo_buf_str(&b, "{\"topic\":");
    xo_buf_json(&b, o->topic, strlen(o->topic));
    xo_buf_str(&b, ",\"queues\":[");
    for (size_t i = 0; i < v->n; i++) {
        const xo_view_queue *q = &v->queues[i];
        xo_buf_str(&b, i ? ",{\"broker\":" : "{\"broker\":");
        xo_buf_json(&b, q->broker, strlen(q->broker));
        xo_buf_printf(&b, ",\"queue\":%d,\"min_offset\":%" PRId64 ",\"max_offset\":%" PRId64, (int)q->queue, q->min, q->max);
        if (q->last_time >= 0) {
            xo_buf_printf(&b, ",\"last_stored_ms\":%" PRId64 "}", q->last_time);
        } else {
            xo_buf_str(&b, ",\"last_stored_ms\":null}");
        }
    }
    xo_buf_str(&b, "]}\n");
    xo_out_buf(&b);
}

static void show_text(const xo_view *v)
{
    xo_table t = {.columns = 5};
    static const char *const head[] = {"BROKER", "QUEUE", "MIN", "MAX", "LAST STORED"};
    for (size_t i = 0; i < 5; i++) {
        xo_table_cell(&t, "%s", head[i]);
    }
    int64_t all = 0;
    for (size_t i = 0; i < v->n; i++) {
        const xo_view_queue *q = &v->queues[i];
        char at[40] = "-";
        if (q->last_time >= 0) {
            xo_format_time(q->last_time, at, sizeof(at));
        }
        xo_table_cell(&t, "%s", q->broker);
        xo_table_cell(&t, "%d", (int)q->queue);
        xo_table_cell(&t, "%" PRId64, q->min);
        xo_table_cell(&t, "%" PRId64, q->max);
        xo_table_cell(&t, "%s", at);
        all += q->max - q->min;
    }
    xo_table_show(&t);
    xo_out("%" PRId64 " messages in %zu queues\n", all, v->n);
}

static int stats(xo_cluster *c, const options *o)
{
    xo_view v;
    if (xo_view_topic(c, o->topic, &v) != XONCE_OK) {
        int missing = xonce_error_last()->code == XONCE_E_NOT_FOUND;
        (void)xo_out_failed(NULL);
        return missing ? XO_EXIT_NOT : XO_EXIT_FAILED;
    }
    if (o->json) {
        show_json(o, &v);
    } else {
        show_text(&v);
    }
    xo_view_free(&v);
    return XO_EXIT_OK;
}

static int run(const xo_usage *u, const options *o, const char *action)
{
    static const char *const types[] = {"NORMAL", "FIFO", "DELAY", "TRANSACTION", "UNSPECIFIED", "MIXED"};
    int creates = action && strcmp(action, "create") == 0, known = !o->type;
    if (!action || (!creates && strcmp(action, "stats") != 0)) {
        return xo_args_wrong(u, action ? "topic %.40s: it is create or stats" : "say what: topic create or topic stats", action);
    }
    if (!o->cluster || !o->topic) {
        return xo_args_wrong(u, "%s is missing", o->cluster ? "--topic" : "--cluster");
    }
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]) && !known; i++) {
        known = strcmp(types[i], o->type) == 0;
    }
    if (!known) {
        return xo_args_wrong(u, "--type: \"%.40s\" is none of NORMAL, FIFO, DELAY, TRANSACTION, MIXED, UNSPECIFIED", o->type);
    }
    xo_cluster *c;
    if (xo_cluster_open(&c, o->cluster, o->cfg, NULL, NULL) != XONCE_OK) {
        return xo_open_failed(NULL);
    }
    int rc = creates ? create(c, o) : stats(c, o);
    xo_cluster_close(c);
    return rc;
}

int xo_cmd_topic(int argc, char **argv)
{
    options o = {.queues = 8};
    size_t nrest;
    const xo_arg args[] = {
        {"cluster", "URI", XO_ARG_TEXT, &o.cluster, NULL, 0, 0, "the name servers, rocketmq://HOST:9876;HOST:9876"},
        XO_ARG_INSTANCE(&o.cfg),
        XO_ARG_NAMESPACE(&o.cfg),
        {"topic", "NAME", XO_ARG_TEXT, &o.topic, NULL, 0, 0, "the topic"},
        {"queues", "N", XO_ARG_INT, &o.queues, NULL, 1, 1024, "create: queues on each broker; default 8"},
        {"order", NULL, XO_ARG_SWITCH, &o.order, NULL, 0, 0, "create: mark it as an ordered topic"},
        {"type", "TYPE", XO_ARG_TEXT, &o.type, NULL, 0, 0, "create: NORMAL, FIFO, DELAY, TRANSACTION; brokers from 5.0 on know it"},
        XO_ARG_JSON(&o.json),
        XO_ARG_CREDENTIALS(&o.cfg),
        XO_ARG_SET(&o.cfg),
        XO_ARG_CONFIG_FILE(&o.cfg),
        XO_ARG_VERBOSE(&o.verbose),
    };
    const xo_usage usage = {
        .name = "topic",
        .synopsis = "create|stats --cluster URI --topic NAME [OPTION]...",
        .about = "create makes a topic on every broker of a RocketMQ cluster, or changes one that is there. stats shows its queues: the first and the last offset, and when something was last stored.",
        .example = "  xonce topic create --cluster rocketmq://127.0.0.1:9876 --topic orders --queues 8\n"
                   "  xonce topic stats --cluster rocketmq://127.0.0.1:9876 --topic orders",
        .notes = "Exit code 3: no broker has the topic.",
        .args = args,
        .nargs = sizeof(args) / sizeof(args[0]),
        .max_rest = 1,
    };
    if (xonce_config_new(&o.cfg) != XONCE_OK) {
        return xo_out_failed(NULL);
    }
    int rc = xo_args_parse(&usage, argc, argv, &nrest);
    rc = rc == XO_GO_ON ? xo_out_log_start(o.cfg, o.verbose) : rc;
    if (rc == XO_GO_ON) {
        rc = run(&usage, &o, nrest ? argv[1] : NULL);
    }
    xonce_config_free(o.cfg);
    return rc;
}
