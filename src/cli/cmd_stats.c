/* xonce stats: what the tables hold, per group; or, asked for a cluster, the group's lag. */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/connect.h"
#include "cli/lag.h"
#include "cli/output.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char *name;
    int64_t records, oldest, newest;
} topic_stats;
typedef struct {
    char *name;
    topic_stats *topics;
    size_t ntopics, cap;
    int64_t records, oldest, newest, rejected, marked, watermark, updated; /* times: -1 when there is none */
} group_stats;
typedef struct {
    group_stats *groups;
    size_t n, cap;
    int failed;
} all_stats;

static group_stats *group_of(all_stats *all, const char *name)
{
    for (size_t i = 0; i < all->n; i++) {
        if (strcmp(all->groups[i].name, name) == 0) {
            return &all->groups[i];
        }
    }
    group_stats *list = xo_grow(all->groups, &all->cap, all->n + 1, sizeof(*list));
    char *copy = xo_strdup(name);
    if (list) {
        all->groups = list;
    }
    if (!list || !copy) {
        free(copy);
        all->failed = 1;
        return NULL;
    }
    list[all->n] = (group_stats){.name = copy, .oldest = -1, .newest = -1, .watermark = -1, .updated = -1};
    return &list[all->n++];
}

static int on_topic(const xonce_row *r, void *arg)
{
    all_stats *all = arg;
    group_stats *g = group_of(all, xonce_row_text(r, 0));
    topic_stats *list = g ? xo_grow(g->topics, &g->cap, g->ntopics + 1, sizeof(*list)) : NULL;
    char *name = xo_strdup(xonce_row_text(r, 1));
    if (list) {
        g->topics = list;
    }
    if (!list || !name) {
        free(name);
        all->failed = 1;
        return 1;
    }
    topic_stats t = {name, xonce_row_int(r, 2), xonce_row_int(r, 3), xonce_row_int(r, 4)};
    list[g->ntopics++] = t;
    g->records += t.records;
    g->oldest = g->oldest < 0 || t.oldest < g->oldest ? t.oldest : g->oldest;
    g->newest = t.newest > g->newest ? t.newest : g->newest;
    return 0;
}

static int on_rejected(const xonce_row *r, void *arg)
{
    group_stats *g = group_of(arg, xonce_row_text(r, 0));
    if (g) {
        g->rejected = xonce_row_int(r, 1);
        g->marked = xonce_row_int(r, 2);
    }
    return g == NULL;
}

static int on_watermark(const xonce_row *r, void *arg)
{
    group_stats *g = group_of(arg, xonce_row_text(r, 0));
    if (g) {
        int64_t at = xonce_row_int(r, 1); /* 0: the group has not caught up yet */
        g->watermark = at > 0 ? at : -1;
        g->updated = xonce_row_int(r, 2);
    }
    return g == NULL;
}

static xonce_status collect(xonce_store *s, const char *group, all_stats *all)
{
    static const struct {
        const char *every, *one;
        xo_row_fn fn;
    } queries[] = {
#define TOPICS(where)                                                                                                          \
    "SELECT consumer_group, topic_name, COUNT(*), MIN(ctime), MAX(ctime) FROM transaction_record" where                        \
    " GROUP BY consumer_group, topic_name ORDER BY consumer_group, topic_name"
#define REJECTED(where)                                                                                                        \
    "SELECT consumer_group, COUNT(*), SUM(CASE WHEN replay_at IS NULL THEN 0 ELSE 1 END) FROM xonce_rejected" where            \
    " GROUP BY consumer_group ORDER BY consumer_group"
#define WATERMARKS(where) "SELECT consumer_group, watermark_ms, updated_ms FROM xonce_watermark" where " ORDER BY consumer_group"
#define OF_ONE " WHERE consumer_group = $1"
        {TOPICS(""), TOPICS(OF_ONE), on_topic},
        {REJECTED(""), REJECTED(OF_ONE), on_rejected},
        {WATERMARKS(""), WATERMARKS(OF_ONE), on_watermark},
    };
    xonce_value v = xonce_text(group);
    if (group && !group_of(all, group)) {
        return xo_nomem();
    }
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        xonce_status st = xo_store_query(s, group ? queries[i].one : queries[i].every, &v, group ? 1 : 0, queries[i].fn, all, NULL);
        if (st != XONCE_OK) {
            return st;
        }
    }
    return all->failed ? xo_nomem() : XONCE_OK;
}

static void json_name(xo_buf *b, const char *name, const char *value)
{
    xo_buf_printf(b, "{\"%s\":", name);
    xo_buf_json(b, value, strlen(value));
}

static void json_time(xo_buf *b, const char *name, int64_t ms)
{
    if (ms < 0) {
        xo_buf_printf(b, ",\"%s\":null", name);
    } else {
        xo_buf_printf(b, ",\"%s\":%" PRId64, name, ms);
    }
}

static void show_json(const all_stats *all)
{
    xo_buf b = {0};
    xo_buf_str(&b, "{\"groups\":[");
    for (size_t i = 0; i < all->n; i++) {
        const group_stats *g = &all->groups[i];
        xo_buf_str(&b, i ? "," : "");
        json_name(&b, "group", g->name);
        xo_buf_printf(&b, ",\"records\":%" PRId64, g->records);
        json_time(&b, "oldest_ms", g->oldest);
        json_time(&b, "newest_ms", g->newest);
        xo_buf_str(&b, ",\"topics\":[");
        for (size_t k = 0; k < g->ntopics; k++) {
            xo_buf_str(&b, k ? "," : "");
            json_name(&b, "topic", g->topics[k].name);
            xo_buf_printf(&b, ",\"records\":%" PRId64, g->topics[k].records);
            json_time(&b, "oldest_ms", g->topics[k].oldest);
            json_time(&b, "newest_ms", g->topics[k].newest);
            xo_buf_char(&b, '}');
        }
        xo_buf_printf(&b, "],\"rejected\":%" PRId64 ",\"marked\":%" PRId64, g->rejected, g->marked);
        json_time(&b, "watermark_ms", g->watermark);
        json_time(&b, "watermark_updated_ms", g->updated);
        xo_buf_char(&b, '}');
    }
    xo_buf_str(&b, "]}\n");
    xo_out_buf(&b);
}

static void show_text(const all_stats *all)
{
    for (size_t i = 0; i < all->n; i++) {
        const group_stats *g = &all->groups[i];
        char oldest[40], newest[40], mark[40];
        xo_format_time(g->oldest, oldest, sizeof(oldest));
        xo_format_time(g->newest, newest, sizeof(newest));
        xo_format_time(g->watermark, mark, sizeof(mark));
        xo_out("%sgroup %s\n", i ? "\n" : "", g->name);
        xo_out("  records   %" PRId64 "\n", g->records);
        for (size_t k = 0; k < g->ntopics; k++) {
            xo_out("  topic     %s %" PRId64 "\n", g->topics[k].name, g->topics[k].records);
        }
        if (g->records) {
            xo_out("  oldest    %s\n  newest    %s\n", oldest, newest);
        }
        xo_out("  rejected  %" PRId64, g->rejected);
        if (g->marked) {
            xo_out(", %" PRId64 " of them marked for replay", g->marked);
        }
        xo_out("\n  watermark %s\n", g->watermark < 0 ? "none" : mark);
    }
    if (all->n == 0) {
        xo_out("no records\n");
    }
}

static void free_stats(all_stats *all)
{
    for (size_t i = 0; i < all->n; i++) {
        for (size_t k = 0; k < all->groups[i].ntopics; k++) {
            free(all->groups[i].topics[k].name);
        }
        free(all->groups[i].topics);
        free(all->groups[i].name);
    }
    free(all->groups);
}

static int records(xonce_store *s, const char *group, int json)
{
    all_stats all = {0};
    int rc = XO_EXIT_OK;
    if (collect(s, group, &all) != XONCE_OK) {
        rc = xo_out_failed(NULL);
    } else {
        (json ? show_json : show_text)(&all);
    }
    free_stats(&all);
    return rc;
}

typedef struct {
    const char *store, *group, *from, *topic;
    int json, verbose;
    xonce_config *cfg;
} options;

static int run(const xo_usage *u, const options *o)
{
    if (!o->from && o->topic) {
        return xo_args_wrong(u, "--topic goes with --from");
    }
    if (o->from && !o->group) {
        return xo_args_wrong(u, "--group is missing");
    }
    const char *uri = o->from && !o->store ? getenv("XONCE_STORE") : xo_store_uri(u, o->store);
    if (!uri && !o->from) {
        return XO_EXIT_USAGE;
    }
    xonce_store *s = NULL;
    int rc = uri ? xo_store_connect(&s, uri, o->group ? o->group : "xonce", o->cfg) : XO_GO_ON;
    if (rc != XO_GO_ON) {
        return rc;
    }
    xo_lag_request lag = {.from = o->from, .group = o->group, .topic = o->topic, .cfg = o->cfg, .json = o->json};
    rc = o->from ? xo_lag_show(&lag, s) : records(s, o->group, o->json);
    xonce_store_close(s);
    return rc;
}

int xo_cmd_stats(int argc, char **argv)
{
    options o = {0};
    size_t nrest;
    const xo_arg args[] = {
        XO_ARG_STORE(&o.store),
        {"group", "GROUP", XO_ARG_TEXT, &o.group, NULL, 0, 0, "only this consumer group"},
        {"from", "URI", XO_ARG_TEXT, &o.from, NULL, 0, 0, "the name servers of a RocketMQ cluster: show the group's lag instead"},
        {"topic", "NAME", XO_ARG_TEXT, &o.topic, NULL, 0, 0, "with --from: only this topic"},
        XO_ARG_INSTANCE(&o.cfg),
        XO_ARG_NAMESPACE(&o.cfg),
        XO_ARG_JSON(&o.json),
        XO_ARG_CREDENTIALS(&o.cfg),
        XO_ARG_SET(&o.cfg),
        XO_ARG_CONFIG_FILE(&o.cfg),
        XO_ARG_VERBOSE(&o.verbose),
    };
    const xo_usage usage = {
        .name = "stats",
        .synopsis = "--store URI [--group GROUP] | --from URI --group GROUP [--topic NAME] [--store URI]",
        .about = "Counts the records of each group and topic, with the oldest and the newest, the rejected messages, and tells the "
                 "watermark: up to when the group had caught up. Reads the whole record table.\n"
                 "With --from it shows for each queue of a RocketMQ cluster where it ends, what the group has committed, which position the database has, and the lag.",
        .example = "  xonce stats --store sqlite:shop.db --json\n"
                   "  xonce stats --from rocketmq://127.0.0.1:9876 --group GID_orders --store postgresql:///shop",
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
