/* xonce send: lines become messages. One thread reads and checks, a few send; what shares a sharding key goes through one of them, in order. */
#include "base/clock.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/connect.h"
#include "cli/line.h"
#include "cli/output.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE = 64, MOST_SENDERS = 64, TRIES = 8 };
enum { BATCH_BYTES = 1 << 20 }; /* of bodies */

struct sending;
typedef struct {
    xonce_message *m;
    uint64_t line;
    int batchable;
} job;
typedef struct {
    struct sending *all;
    pthread_t thread;
    pthread_cond_t changed; /* something to send, room, or the end */
    job jobs[QUEUE];
    size_t first, n;
    int started;
} sender;
typedef struct sending {
    xonce_producer *producer;
    pthread_mutex_t lock;
    sender *senders;
    size_t nsenders;
    int closed, failed;
    uint64_t sent, bad_line; /* bad_line: the first that failed, 0 = none */
    xo_error error;
    int64_t shown;
} sending;

/* Lock held. Of several lines that fail the first in the file is told. */
static void note_failure(sending *s, uint64_t line)
{
    if (!s->failed || line < s->bad_line) {
        s->bad_line = line;
        xo_error_save(&s->error);
    }
    s->failed = 1;
    for (size_t i = 0; i < s->nsenders; i++) {
        (void)pthread_cond_broadcast(&s->senders[i].changed);
    }
}

/* Who says that it is busy has not taken the message; any other doubt would make two messages of one. */
static xonce_status send_some(sending *s, const xonce_message *const *m, size_t n)
{
    int64_t pause = 20;
    for (int i = 1;; i++) {
        xonce_status st = n == 1 ? xonce_producer_send(s->producer, m[0], NULL) : xonce_producer_send_batch(s->producer, m, n, NULL);
        if (st == XONCE_OK || !xo_producer_busy(s->producer) || i == TRIES) {
            return st;
        }
        xo_pause_ms(pause + (int64_t)(xo_random() % (uint64_t)pause));
        pause *= 2;
    }
}

/* How many of the jobs that wait can go in one request; those before a failure elsewhere only. Lock held. */
static size_t together(const sender *me)
{
    sending *s = me->all;
    size_t n = 0, bytes = 0;
    for (; n < me->n; n++) {
        const job *j = &me->jobs[(me->first + n) % QUEUE];
        bytes += j->m->body_len;
        if ((s->failed && j->line > s->bad_line) || (n > 0 && (!j->batchable || bytes > BATCH_BYTES))) {
            break;
        }
        if (!j->batchable) {
            return 1;
        }
    }
    return n;
}

static void show_progress(sending *s)
{
    int64_t now = xo_mono_ms();
    if (now - s->shown >= 200) {
        s->shown = now;
        xo_out_progress("sent %" PRIu64, s->sent);
    }
}

static void *send_main(void *arg)
{
    sender *me = arg;
    sending *s = me->all;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (me->n == 0 && !s->closed && !s->failed) {
            (void)pthread_cond_wait(&me->changed, &s->lock);
        }
        /* after a failure elsewhere what stands before it in the file is still sent */
        size_t n = together(me);
        if (n == 0) {
            break;
        }
        const xonce_message *some[QUEUE];
        uint64_t line = me->jobs[me->first].line;
        for (size_t i = 0; i < n; i++) {
            some[i] = me->jobs[(me->first + i) % QUEUE].m;
        }
        pthread_mutex_unlock(&s->lock);
        xonce_status st = send_some(s, some, n);
        if (st != XONCE_OK && n > 1) {
            (void)xo_error_context("together with %zu later ones", n - 1);
        }
        pthread_mutex_lock(&s->lock);
        for (size_t i = 0; i < n; i++) {
            xonce_message_free(me->jobs[(me->first + i) % QUEUE].m);
        }
        me->first = (me->first + n) % QUEUE;
        me->n -= n;
        if (st == XONCE_OK) {
            s->sent += n;
            show_progress(s);
        } else {
            note_failure(s, line);
        }
        (void)pthread_cond_broadcast(&me->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static uint64_t hash(const char *text)
{
    uint64_t h = 1469598103934665603u;
    for (; *text; text++) {
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    }
    return h;
}

/* Gives a message to its sender. 0 = nothing more may be sent. */
static int give(sending *s, xonce_message *m, uint64_t line)
{
    const char *key = xonce_message_property(m, "__SHARDINGKEY");
    sender *to = &s->senders[(key ? hash(key) : line) % s->nsenders];
    pthread_mutex_lock(&s->lock);
    while (to->n == QUEUE && !s->failed) {
        (void)pthread_cond_wait(&to->changed, &s->lock);
    }
    int go_on = !s->failed;
    if (go_on) {
        to->jobs[(to->first + to->n++) % QUEUE] = (job){m, line, xo_producer_batchable(s->producer, m)};
        (void)pthread_cond_broadcast(&to->changed);
    }
    pthread_mutex_unlock(&s->lock);
    if (!go_on) {
        xonce_message_free(m);
    }
    return go_on;
}

static void bad_line(sending *s, uint64_t line)
{
    pthread_mutex_lock(&s->lock);
    note_failure(s, line);
    pthread_mutex_unlock(&s->lock);
}

static void read_lines(sending *s, const xo_line_rules *rules, FILE *f)
{
    char *line = NULL;
    size_t cap = 0;
    uint64_t number = 0;
    ssize_t n;
    int go_on = 1;
    while (go_on && (n = getline(&line, &cap, f)) >= 0) {
        size_t len = (size_t)n - (n > 0 && line[n - 1] == '\n');
        xonce_message *m;
        number++;
        if (xo_line_message(&m, rules, line, len) != XONCE_OK) {
            bad_line(s, number);
            go_on = 0;
        } else {
            go_on = give(s, m, number);
        }
    }
    if (go_on && ferror(f)) {
        (void)xo_fail(XONCE_E_INVALID, "the input cannot be read: %s", strerror(errno));
        bad_line(s, number + 1);
    }
    free(line);
}

/* Any sender may wake any other, so all conditions exist before the first thread and until the last has ended. */
static int start(sending *s)
{
    for (size_t i = 0; i < s->nsenders; i++) {
        s->senders[i].all = s;
        if (pthread_cond_init(&s->senders[i].changed, NULL) != 0) {
            while (i-- > 0) {
                (void)pthread_cond_destroy(&s->senders[i].changed);
            }
            s->nsenders = 0;
            return 0;
        }
    }
    for (size_t i = 0; i < s->nsenders; i++) {
        if (pthread_create(&s->senders[i].thread, NULL, send_main, &s->senders[i]) != 0) {
            return 0;
        }
        s->senders[i].started = 1;
    }
    return 1;
}

static void finish(sending *s)
{
    pthread_mutex_lock(&s->lock);
    s->closed = 1;
    for (size_t i = 0; i < s->nsenders; i++) {
        (void)pthread_cond_broadcast(&s->senders[i].changed);
    }
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < s->nsenders; i++) {
        if (s->senders[i].started) {
            (void)pthread_join(s->senders[i].thread, NULL);
        }
    }
    for (size_t i = 0; i < s->nsenders; i++) {
        sender *one = &s->senders[i];
        (void)pthread_cond_destroy(&one->changed);
        for (; one->n > 0; one->n--) {
            xonce_message_free(one->jobs[one->first].m);
            one->first = (one->first + 1) % QUEUE;
        }
    }
}

static int send_all(xonce_producer *p, xo_line_rules *rules, FILE *f, size_t senders)
{
    sending s = {.producer = p, .nsenders = senders, .lock = PTHREAD_MUTEX_INITIALIZER};
    rules->producer = p;
    s.senders = xo_calloc(senders, sizeof(*s.senders));
    if (!s.senders) {
        (void)xo_nomem();
        return xo_out_failed(NULL);
    }
    int ok = start(&s);
    if (ok) {
        read_lines(&s, rules, f);
    } else {
        (void)xo_fail(XONCE_E_NOMEM, "threads cannot be started");
        xo_error_save(&s.error);
        s.failed = 1;
    }
    finish(&s);
    xo_out_progress_end();
    if (s.failed) {
        (void)xo_error_restore(&s.error);
        if (s.bad_line) {
            (void)xo_error_context("line %" PRIu64, s.bad_line);
        }
        (void)xo_out_failed(NULL);
    }
    xo_out("sent %" PRIu64 "\n", s.sent);
    free(s.senders);
    return s.failed ? XO_EXIT_FAILED : XO_EXIT_OK;
}

/* ---- options ---- */

typedef struct {
    const char *to;
    xo_list_value properties;
    xo_line_rules rules;
    int64_t parallel;
    int verbose;
    xonce_config *cfg;
} options;

static int check(const xo_usage *u, options *o)
{
    if (!o->to || !o->rules.topic) {
        return xo_args_wrong(u, "%s is missing", o->to ? "--topic" : "--to");
    }
    if (o->rules.delay_ms >= 0 && o->rules.deliver_at_ms >= 0) {
        return xo_args_wrong(u, "--delay and --deliver-at exclude each other");
    }
    for (size_t i = 0; i < o->properties.n; i++) {
        const char *eq = strchr(o->properties.items[i], '=');
        if (!eq || eq == o->properties.items[i]) {
            return xo_args_wrong(u, "--property: \"%.60s\" is not NAME=VALUE", o->properties.items[i]);
        }
    }
    o->rules.properties = o->properties.items;
    o->rules.nproperties = o->properties.n;
    return XO_GO_ON;
}

static int run(const xo_usage *u, options *o, const char *file)
{
    int rc = check(u, o);
    if (rc != XO_GO_ON) {
        return rc;
    }
    xonce_producer *p;
    if (xonce_producer_open(&p, o->to, o->cfg) != XONCE_OK) {
        (void)xo_out_failed(NULL);
        return XO_EXIT_USAGE; /* it does not connect yet: what it refuses was given wrongly */
    }
    int is_stdin = !file || strcmp(file, "-") == 0;
    FILE *f = is_stdin ? stdin : fopen(file, "re");
    if (!f) {
        xo_out_error("%s: %s", file, strerror(errno));
        rc = XO_EXIT_FAILED;
    } else {
        rc = send_all(p, &o->rules, f, o->rules.sharding_key ? 1 : (size_t)o->parallel);
    }
    if (f && !is_stdin) {
        (void)fclose(f);
    }
    xonce_producer_close(p);
    return rc;
}

int xo_cmd_send(int argc, char **argv)
{
    options o = {.rules = {.delay_ms = -1, .deliver_at_ms = -1}, .parallel = 8};
    size_t nrest;
    const xo_arg args[] = {
        {"to", "URI", XO_ARG_TEXT, &o.to, NULL, 0, 0, "http://HOST:PORT, https://HOST or rocketmq://NAMESERVER[;NAMESERVER]"},
        XO_ARG_INSTANCE(&o.cfg),
        XO_ARG_NAMESPACE(&o.cfg),
        {"topic", "NAME", XO_ARG_TEXT, &o.rules.topic, NULL, 0, 0, "the topic"},
        {"tag", "TAG", XO_ARG_TEXT, &o.rules.tag, NULL, 0, 0, "the messages' tag"},
        {"key", "KEY", XO_ARG_TEXT, &o.rules.key, NULL, 0, 0, "the messages' key"},
        {"property", "NAME=VALUE", XO_ARG_LIST, &o.properties, NULL, 0, 0, "a property; may be given again and again"},
        {"sharding-key", "KEY", XO_ARG_TEXT, &o.rules.sharding_key, NULL, 0, 0, "keep the lines in order under this key (ordered topics)"},
        {"delay", "TIME", XO_ARG_DURATION, &o.rules.delay_ms, NULL, 0, INT64_C(86400000) * 40, "deliver this long after sending, in the form that the broker honours"},
        {"deliver-at", "MS", XO_ARG_INT, &o.rules.deliver_at_ms, NULL, 0, INT64_MAX, "deliver at this time, milliseconds since 1970 UTC"},
        {"json", NULL, XO_ARG_SWITCH, &o.rules.json, NULL, 0, 0, "each line is {\"body\":...,\"tag\":...,\"key\":...,\"properties\":{...}}"},
        {"parallel", "N", XO_ARG_INT, &o.parallel, NULL, 1, MOST_SENDERS, "requests at a time; 1 keeps the order of the lines; default 8"},
        XO_ARG_CREDENTIALS(&o.cfg),
        {"cacert", "FILE", XO_ARG_SETTING, &o.cfg, "http.cacert", 0, 0, "certificates to check an https endpoint against"},
        XO_ARG_SET(&o.cfg),
        XO_ARG_CONFIG_FILE(&o.cfg),
        XO_ARG_VERBOSE(&o.verbose),
    };
    const xo_usage usage = {
        .name = "send",
        .synopsis = "--to URI [--instance ID] --topic NAME [OPTION]... [FILE]",
        .about = "Sends each line of FILE or of standard input as a message. A line that cannot be sent is told with its number,\n"
                 "and no later line is read. The last line of output is \"sent N\": so many the endpoint has confirmed.",
        .example = "  seq 1 100 | sed 's/.*/{\"id\":&}/' | xonce send --to http://127.0.0.1:8080 --topic orders --tag new",
        .notes = "Over HTTP a request without an answer leaves open whether the message was taken; it is not sent again.\n"
                 "To rocketmq:// it is sent again with the same UNIQ_KEY; lines without sharding key or delay share requests.",
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
    xo_list_free(&o.properties);
    xonce_config_free(o.cfg);
    return rc;
}
