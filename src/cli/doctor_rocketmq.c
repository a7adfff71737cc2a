/* A RocketMQ cluster's part of doctor: name servers, brokers, the topic's route, the group. */
#include "base/clock.h"
#include "base/mem.h"
#include "cli/broker_view.h"
#include "cli/doctor.h"
#include "remoting/wirejson.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const xo_doctor *d;
    xo_findings *f;
    xo_cluster *c;
    char *topic, *group; /* wire names; NULL: not named */
    int told_refused;    /* the credentials: said once, not for each broker */
    int open;            /* the broker that is looked at tells what it is, as clouds do not: questions that a member would not ask are no secret either */
    size_t group_unknown, masters;
} look;

/* Asks one address; the answer may have any code. The caller frees it when XONCE_OK. */
static xonce_status ask(look *k, const char *address, xo_command *request, xo_command *answer)
{
    return xo_remoting_call(xo_cluster_remoting(k->c), address, request, xo_cluster_timeout(k->c), answer);
}

/* ---- name servers ---- */

/* One that is silent costs nothing while another answers, until that one goes too. */
static int look_at_servers(look *k)
{
    const char *address;
    int answered = 0, silent = 0;
    for (size_t i = 0; (address = xo_cluster_server(k->c, i)) != NULL; i++) {
        xo_command request, answer;
        char what[340];
        int64_t before = xo_mono_ms();
        xo_command_init(&request, XO_RMQ_CLUSTER_INFO);
        (void)snprintf(what, sizeof(what), "name server %.280s", address);
        xonce_status st = ask(k, address, &request, &answer);
        if (st == XONCE_OK) {
            st = xo_command_error(&answer, "it refuses");
            xo_command_free(&answer);
        }
        if (st == XONCE_OK) {
            xo_findings_good(k->f, "%s answers, after %" PRId64 " ms", what, xo_mono_ms() - before);
            answered++;
        } else {
            xo_findings_failed(k->f, answered || xo_cluster_server(k->c, i + 1) ? XO_UNWISE : XO_BROKEN, what);
            silent++;
        }
    }
    if (!answered && silent > 1) {
        xo_findings_add(k->f, XO_BROKEN, "no name server answers", "nothing can be consumed", "check the addresses in --from");
    }
    return answered;
}

/* ---- brokers ---- */

/* "[ 0 days, 1 hours, 2 minutes, 3 seconds ]" in seconds; -1: it is not of that form. */
static int64_t uptime_s(const char *text)
{
    static const int64_t unit[4] = {86400, 3600, 60, 1};
    int64_t all = 0;
    int n = 0;
    while (n < 4 && *(text += strcspn(text, "0123456789"))) {
        int64_t v = 0;
        for (; isdigit((unsigned char)*text) || (*text == ',' && isdigit((unsigned char)text[1])); text++) {
            v = *text == ',' || v >= 1000000000 ? v : v * 10 + (*text - '0');
        }
        all += v * unit[n++];
    }
    return n == 4 ? all : -1;
}

/* Version and clock; 0: it does not answer. A broker does not tell its time, but when it began and how long ago that was, in whole seconds. */
static int broker_info(look *k, const xo_broker *b, const char *address)
{
    xo_command request, answer;
    char name[320];
    (void)snprintf(name, sizeof(name), "broker %.100s at %.200s", b->name, address);
    int64_t before = xo_mono_ms(), now = xo_now_ms();
    xo_command_init(&request, XO_RMQ_BROKER_INFO);
    if (ask(k, address, &request, &answer) != XONCE_OK) {
        xo_findings_failed(k->f, XO_BROKEN, name);
        return 0;
    }
    int64_t took = xo_mono_ms() - before;
    json_t *body = answer.code == XO_RMQ_OK ? xo_wire_json(answer.body, answer.body_len) : NULL, *table = body ? json_object_get(body, "table") : NULL;
    const char *version = table ? xo_json_text(table, "brokerVersionDesc") : "", *up = table ? xo_json_text(table, "runtime") : "";
    int64_t began = table ? xo_json_int(table, "bootTimestamp") : 0, seconds = up ? uptime_s(up) : -1;
    k->open = version && *version;
    xo_findings_good(k->f, "%s answers, after %" PRId64 " ms%s%s", name, took, version && *version ? ", version " : "", version ? version : "");
    if (began > 0 && began < INT64_C(1) << 53 && seconds >= 0 && seconds < INT64_C(1) << 40) {
        xo_doctor_clock(k->f, b->name, began + seconds * 1000 - now, 1000 + took);
    }
    json_decref(body);
    xo_command_free(&answer);
    return 1;
}

static int has_line(const char *text, size_t n, const char *line)
{
    const char *end = text + n;
    size_t len = strlen(line);
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text)), *stop = newline ? newline : end;
        size_t own = (size_t)(stop - text);
        own -= own && text[own - 1] == '\r';
        if (own == len && memcmp(text, line, len) == 0) {
            return 1;
        }
        text = newline ? newline + 1 : end;
    }
    return 0;
}

static void broker_config(look *k, const xo_broker *b, const char *address)
{
    xo_command request, answer;
    char what[200];
    xo_command_init(&request, XO_RMQ_BROKER_CONFIG);
    if (ask(k, address, &request, &answer) != XONCE_OK) {
        return; /* it has just answered: what is left out is a note */
    }
    if (answer.code == XO_RMQ_OK && has_line(answer.body ? answer.body : "", answer.body_len, "flushDiskType=ASYNC_FLUSH")) {
        (void)snprintf(what, sizeof(what), "broker %.100s stores messages before they are on its disk", b->name);
        xo_findings_add(k->f, XO_NOTE, what, "a power cut may take messages that their senders were told are stored; what was consumed stays applied once",
                        "flushDiskType=SYNC_FLUSH, or a second broker with brokerRole=SYNC_MASTER, if that matters");
    }
    xo_command_free(&answer);
}

/* ---- rights ---- */

typedef struct {
    int32_t code;
    int own;          /* a member asks it too */
    const char *what; /* of which right the answer tells: RocketMQ 5's word for it; 4.x knows SUB alone */
    const char *name; /* of the topic or group; NULL: not named */
} question;

/* One that changes nothing whatever the answer: offsets, a message by a key that none has, the end of a lock that nobody holds, members, figures. */
static void make_request(const look *k, const xo_broker *b, const question *q, xo_command *r)
{
    xo_buf body = {0};
    xo_command_init(r, q->code);
    if (q->code == XO_RMQ_CONSUMER_LIST) {
        xo_command_set(r, "consumerGroup", q->name);
    } else if (q->code != XO_RMQ_UNLOCK) {
        xo_command_set(r, "topic", q->name);
    }
    if (q->code == XO_RMQ_MAX_OFFSET) {
        xo_command_set_int(r, "queueId", 0);
    } else if (q->code == XO_RMQ_QUERY_MESSAGE) {
        xo_command_set(r, "key", "xonce-doctor");
        xo_command_set_int(r, "maxNum", 1);
        xo_command_set_int(r, "beginTimestamp", 0);
        xo_command_set_int(r, "endTimestamp", 1);
    } else if (q->code == XO_RMQ_UNLOCK) {
        const char *const parts[] = {"{\"clientId\":\"xonce-doctor\",\"onlyThisBroker\":true,\"consumerGroup\":", k->group, ",\"mqSet\":[{\"queueId\":0,\"topic\":", k->topic, ",\"brokerName\":", b->name, "}]}"};
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
            if (i % 2) {
                xo_buf_json(&body, parts[i], strlen(parts[i]));
            } else {
                xo_buf_str(&body, parts[i]);
            }
        }
        xo_command_take_body(r, &body);
    }
    xo_buf_free(&body);
}

/* What is to be done, with the names in it. */
static void tell_refused(look *k, const char *broker, const question *q)
{
    char *finding = xo_printf("broker %.100s refuses %s: %s", broker, q->what, xonce_error_last()->text);
    char *remedy = xo_printf("check the access key and its secret; then what was granted: on RocketMQ 5 `mqadmin createAcl -s User:NAME -r Topic:%s,Group:%s -a Sub,Get -d Allow`, on 4.x SUB in topicPerms "
                             "and groupPerms of plain_acl.yml",
                             k->topic ? k->topic : "TOPIC", k->group ? k->group : "GROUP");
    int sure = q->own || k->open;
    xo_findings_add(k->f, sure ? XO_BROKEN : XO_UNWISE, finding ? finding : "a broker refuses the credentials", sure ? "without it no message is handed out" : "a consumer needs the same right", remedy);
    free(finding);
    free(remedy);
    k->told_refused = 1;
}

/* What a member of the group must be allowed to ask; the first needs right credentials only on 4.x. A right that is missing is told once. */
static void broker_rights(look *k, const xo_broker *b, const char *address)
{
    char *copies = k->group ? xo_printf("%%RETRY%%%s", k->group) : NULL, last[512] = "";
    const question questions[] = {{XO_RMQ_MAX_OFFSET, 1, "offsets of the topic (Get)", k->topic},
                                  {XO_RMQ_QUERY_MESSAGE, 0, "messages of the topic (Sub)", k->topic},
                                  {XO_RMQ_UNLOCK, 1, "messages of the topic for the group (Sub of both)", k->topic && k->group ? k->topic : NULL},
                                  {XO_RMQ_CONSUMER_LIST, 1, "the members of the group (Sub)", k->group},
                                  {XO_RMQ_TOPIC_STATS, 0, "offsets of the group's retry topic (Get of the group)", copies}};
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        xo_command request, answer;
        if (!questions[i].name) {
            continue;
        }
        make_request(k, b, &questions[i], &request);
        if (ask(k, address, &request, &answer) != XONCE_OK) {
            continue;
        }
        if (answer.code != XO_RMQ_OK && xo_command_error(&answer, "it says") == XONCE_E_AUTH && strcmp(last, xonce_error_last()->text) != 0) {
            (void)snprintf(last, sizeof(last), "%s", xonce_error_last()->text);
            tell_refused(k, b->name, &questions[i]);
        }
        xo_command_free(&answer);
    }
    free(copies);
}

static void broker_group(look *k, const xo_broker *b, const char *address)
{
    xo_command request, answer;
    char what[400];
    xo_command_init(&request, XO_RMQ_GROUPS);
    if (!k->group || ask(k, address, &request, &answer) != XONCE_OK) {
        return;
    }
    json_t *body = answer.code == XO_RMQ_OK ? xo_wire_json(answer.body, answer.body_len) : NULL;
    json_t *group = body ? json_object_get(json_object_get(body, "subscriptionGroupTable"), k->group) : NULL;
    k->group_unknown += body && !group;
    if (json_is_false(json_object_get(group, "consumeEnable"))) {
        (void)snprintf(what, sizeof(what), "broker %.100s has consuming by group %.128s switched off", b->name, k->d->group);
        xo_findings_add(k->f, XO_BROKEN, what, "it hands out no message to the group", "mqadmin updateSubGroup with -s true");
    }
    json_decref(body);
    xo_command_free(&answer);
}

static void look_at_brokers(look *k)
{
    xo_broker *brokers = NULL;
    size_t n = 0;
    if (xo_cluster_brokers(k->c, &brokers, &n) != XONCE_OK) {
        xo_findings_failed(k->f, XO_BROKEN, "the brokers of the cluster");
        return;
    }
    if (n == 0) {
        xo_findings_add(k->f, XO_BROKEN, "the name servers know no broker", "there is nothing to consume from", "start the brokers with this namesrvAddr, or ask the cluster's other name servers");
    }
    for (size_t i = 0; i < n; i++) {
        const char *master = NULL;
        for (size_t j = 0; j < brokers[i].nnodes; j++) {
            master = brokers[i].nodes[j].id == 0 ? brokers[i].nodes[j].address : master;
        }
        if (!master) {
            char what[160];
            (void)snprintf(what, sizeof(what), "broker %.100s has no master", brokers[i].name);
            xo_findings_add(k->f, XO_UNWISE, what, "its queues are not consumed until it is back", "start its master, or promote a replica");
            continue;
        }
        k->masters++;
        if (broker_info(k, &brokers[i], master)) {
            broker_config(k, &brokers[i], master);
            if (!k->told_refused) {
                broker_rights(k, &brokers[i], master);
            }
            broker_group(k, &brokers[i], master);
        }
    }
    xo_brokers_free(brokers, n);
}

/* ---- topic and group ---- */

static int look_at_topic(look *k)
{
    xo_route *route = NULL;
    xo_queue_id *queues = NULL;
    size_t n = 0;
    char what[320];
    xonce_status st = xo_cluster_route(k->c, k->topic, 0, &route);
    if (st == XONCE_OK) {
        st = xo_route_queues_of(route, 0, &queues, &n);
    }
    (void)snprintf(what, sizeof(what), "topic %.255s", k->d->topic);
    if (st != XONCE_OK) {
        xo_findings_failed(k->f, XO_BROKEN, what);
    } else if (n == 0) {
        (void)snprintf(what, sizeof(what), "topic %.255s has no queue that may be read", k->d->topic);
        xo_findings_add(k->f, XO_BROKEN, what, "nothing can be consumed from it", "mqadmin updateTopicPerm with -p 6");
        st = XONCE_E_NOT_FOUND;
    } else {
        xo_findings_good(k->f, "topic %.255s: %zu queues, %zu brokers", k->d->topic, n, route->nbrokers);
    }
    xo_queue_ids_free(queues, n);
    xo_route_free(route);
    return st == XONCE_OK;
}

static void look_at_group(look *k)
{
    xo_view v;
    size_t online = 0;
    if (k->group_unknown && k->group_unknown == k->masters) {
        char what[200];
        (void)snprintf(what, sizeof(what), "no broker knows the group %.128s", k->d->group);
        xo_findings_add(k->f, XO_NOTE, what, "its first member makes it known, unless the brokers are told not to allow that (autoCreateSubscriptionGroup=false)",
                        "if they are: mqadmin updateSubGroup");
        return;
    }
    if (xo_view_online(k->c, k->d->group, &online) == XONCE_OK) {
        xo_findings_good(k->f, "%s", online ? "members of the group run" : "no member of the group runs now");
    }
    if (xo_view_group(k->c, k->d->group, k->d->topic, &v) == XONCE_OK) {
        int64_t behind = 0;
        for (size_t i = 0; i < v.n; i++) {
            int64_t at = v.queues[i].committed >= 0 ? v.queues[i].committed : 0;
            behind += v.queues[i].max > at ? v.queues[i].max - at : 0;
        }
        if (v.n) {
            xo_findings_good(k->f, "by the brokers' positions the group is behind by %" PRId64 ", queues: %zu", behind, v.n);
        }
        xo_view_free(&v);
    }
}

void xo_doctor_rocketmq(const xo_doctor *d, xo_findings *f)
{
    look k = {.d = d, .f = f};
    if (xo_cluster_open(&k.c, d->from, d->cfg, NULL, NULL) != XONCE_OK) {
        xo_findings_failed(f, XO_BROKEN, "it cannot be asked");
        return;
    }
    k.topic = d->topic ? xo_cluster_wrap(k.c, d->topic) : NULL;
    k.group = d->group ? xo_cluster_wrap(k.c, d->group) : NULL;
    if ((d->topic && !k.topic) || (d->group && !k.group)) {
        (void)xo_nomem();
        xo_findings_failed(f, XO_BROKEN, "topic and group");
    } else if (look_at_servers(&k)) {
        look_at_brokers(&k);
        int consumable = k.topic ? look_at_topic(&k) : 1;
        if (consumable && k.group && !k.told_refused) {
            look_at_group(&k);
        }
        if (!k.topic || !k.group) {
            xo_findings_add(f, XO_NOTE, "topic and group were not both looked at", NULL, "give --topic and --group");
        }
    }
    xo_cluster_close(k.c);
    free(k.topic);
    free(k.group);
}
