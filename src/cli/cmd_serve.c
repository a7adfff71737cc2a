/* xonce serve: runs the local endpoint until it is told to stop. */
#include "base/clock.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "endpoint/endpoint.h"
#include "proto/properties.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS (INT64_C(24) * 3600 * 1000)

typedef struct {
    const char *listen, *data, *instance, *duplicate, *lose_ack, *error, *cut, *skew, *tls_cert, *tls_key;
    int64_t redeliver, delay_ack;
    int reorder, no_auth, strict, sync, verbose;
    xo_list_value topics;
    xonce_config *config;
} arguments;

static const char about[] =
    "Runs a local endpoint of the RocketMQ HTTP protocol, for tests and demos, with faults on order. Its queues are kept in the folder --data and survive a "
    "kill -9: a message is accepted once it is stored. Topics and groups come into being on first use; a new group begins with the oldest message. "
    "Signatures are checked against the credentials of ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and, if set, "
    "ALIBABA_CLOUD_SECURITY_TOKEN, or of --credentials.";
static const char notes[] =
    "The first line on stdout is \"listening on URL\", the second \"page at URL\": open that in a browser to see queues, faults and messages. SIGTERM and "
    "SIGINT stop it, SIGUSR1 prints a line of figures on stderr, as does the end. Faults change what clients see, never what is stored. Exit codes: "
    "0 stopped, 1 failed, 2 wrong use, also without credentials and --no-auth.";
static const char example[] = "  xonce serve --listen 127.0.0.1:8080 --data /tmp/queues --instance MQ_INST_demo --no-auth --duplicate 10% --lose-ack 10%";
static const char synopsis[] = "--listen HOST:PORT --data DIR [--instance ID] [--redeliver TIME] [FAULT]... [--strict --topic NAME[:KIND]...]";

/* A clock skew, which may be negative. */
static xonce_status parse_skew(const char *text, int64_t *ms)
{
    int back = *text == '-';
    xonce_status st = xo_parse_duration(text + back, "ms", ms);
    if (st == XONCE_OK && back)
        *ms = -*ms;
    return st == XONCE_OK ? st : xo_error_context("--clock-skew");
}

static xonce_status parse_faults(const arguments *a, xo_faults *f)
{
    xonce_status st = XONCE_OK;
    f->delay_ack_ms = a->delay_ack;
    f->reorder = a->reorder;
    if (a->duplicate)
        st = xo_parse_percent("--duplicate", a->duplicate, &f->duplicate);
    if (st == XONCE_OK && a->lose_ack)
        st = xo_parse_percent("--lose-ack", a->lose_ack, &f->lose_ack);
    if (st == XONCE_OK && a->error)
        st = xo_parse_error_fault(a->error, &f->error_status, &f->error);
    if (st == XONCE_OK && a->cut)
        st = xo_parse_percent("--cut", a->cut, &f->cut);
    if (st == XONCE_OK && a->skew)
        st = parse_skew(a->skew, &f->clock_skew_ms);
    return st;
}

static void print_stats(xo_endpoint *ep)
{
    xo_buf line = {0};
    xo_endpoint_stats(ep, &line);
    if (!line.failed && line.p)
        (void)fprintf(stderr, "xonce: %s\n", line.p);
    xo_buf_free(&line);
}

/* Signals are blocked in all threads; this one waits for them. */
static int serve(const xo_endpoint_options *o)
{
    xo_endpoint *ep = NULL;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    xonce_status st = xo_endpoint_start(&ep, o);
    if (st != XONCE_OK) {
        int rc = xo_out_failed(NULL);
        return st == XONCE_E_INVALID ? XO_EXIT_USAGE : rc;
    }
    printf("listening on %s\npage at %s\n", xo_endpoint_url(ep), xo_endpoint_page(ep));
    int rc = fflush(stdout) == 0 ? XO_EXIT_OK : XO_EXIT_FAILED, signal_number = 0;
    while (rc == XO_EXIT_OK && sigwait(&set, &signal_number) == 0 && signal_number == SIGUSR1)
        print_stats(ep);
    print_stats(ep);
    xo_endpoint_stop(ep);
    return rc;
}

static int run(const xo_usage *u, arguments *a)
{
    xo_credentials credentials = {0};
    xo_endpoint_options o = {.listen = a->listen, .data = a->data, .instance = a->instance, .redeliver_ms = a->redeliver, .tls_cert = a->tls_cert,
                             .tls_key = a->tls_key, .topics = a->topics.items, .ntopics = a->topics.n, .strict = a->strict, .sync = a->sync};
    if (!a->listen || !a->data)
        return xo_args_wrong(u, "--listen and --data are needed");
    if (!a->tls_cert != !a->tls_key)
        return xo_args_wrong(u, "--tls-cert and --tls-key go together");
    if (*a->instance && xo_check_url_name("--instance", a->instance) != XONCE_OK)
        return xo_args_wrong(u, "%s", xonce_error_last()->text);
    if (parse_faults(a, &o.faults) != XONCE_OK)
        return xo_args_wrong(u, "%s", xonce_error_last()->text);
    if (!a->no_auth) {
        if (xo_credentials_load(&credentials, a->config) != XONCE_OK)
            return xo_args_wrong(u, "%s; or serve without checking signatures: --no-auth", xonce_error_last()->text);
        o.credentials = &credentials;
    }
    int rc = serve(&o);
    xo_credentials_free(&credentials);
    return rc;
}

int xo_cmd_serve(int argc, char **argv)
{
    arguments a = {.instance = ""};
    const xo_arg args[] = {
        {"listen", "HOST:PORT", XO_ARG_TEXT, &a.listen, NULL, 0, 0, "where to listen; port 0 takes a free one"},
        {"data", "DIR", XO_ARG_TEXT, &a.data, NULL, 0, 0, "folder of the queues, made when missing"},
        {"instance", "ID", XO_ARG_TEXT, &a.instance, NULL, 0, 0, "instance id that requests must name; without it they must name none"},
        {"redeliver", "TIME", XO_ARG_DURATION, &a.redeliver, NULL, 100, DAY_MS, "when an unacknowledged message comes again (default 5m, ordered 1m)"},
        {"duplicate", "P%", XO_ARG_TEXT, &a.duplicate, NULL, 0, 0, "so many messages are handed to two polls at once, each with a handle of its own"},
        {"lose-ack", "P%", XO_ARG_TEXT, &a.lose_ack, NULL, 0, 0, "so many acknowledges are answered and forgotten"},
        {"delay-ack", "TIME", XO_ARG_DURATION, &a.delay_ack, NULL, 0, 60000, "acknowledges take effect and are answered that much later"},
        {"error", "STATUS:P%", XO_ARG_TEXT, &a.error, NULL, 0, 0, "so many requests are answered with that status and have no effect"},
        {"cut", "P%", XO_ARG_TEXT, &a.cut, NULL, 0, 0, "so many answers end in the middle of their body, after their effect"},
        {"reorder", NULL, XO_ARG_SWITCH, &a.reorder, NULL, 0, 0, "messages come out of order, but not within a sharding key"},
        {"clock-skew", "TIME", XO_ARG_TEXT, &a.skew, NULL, 0, 0, "the endpoint's clock is ahead by that; -TIME: behind"},
        {"tls-cert", "FILE", XO_ARG_TEXT, &a.tls_cert, NULL, 0, 0, "serve https with this certificate (PEM)"},
        {"tls-key", "FILE", XO_ARG_TEXT, &a.tls_key, NULL, 0, 0, "and this key (PEM)"},
        {"credentials", "FILE", XO_ARG_SETTING, &a.config, "credentials.file", 0, 0, "file with the credentials, as lines key = value"},
        {"no-auth", NULL, XO_ARG_SWITCH, &a.no_auth, NULL, 0, 0, "do not check signatures and dates"},
        {"strict", NULL, XO_ARG_SWITCH, &a.strict, NULL, 0, 0, "topics do not come into being on first use"},
        {"topic", "NAME[:KIND]", XO_ARG_LIST, &a.topics, NULL, 0, 0, "make a topic; with KIND ordered, timed or transaction it takes no other special kind; repeatable"},
        {"fsync", NULL, XO_ARG_SWITCH, &a.sync, NULL, 0, 0, "sync each commit to disk: accepted messages survive a power cut, too"},
        {"verbose", NULL, XO_ARG_SWITCH, &a.verbose, NULL, 0, 0, "more on stderr"},
    };
    const xo_usage usage = {"serve", synopsis, about, example, notes, args, sizeof args / sizeof args[0], 0};
    size_t nrest;
    if (xonce_config_new(&a.config) != XONCE_OK)
        return xo_out_failed(NULL);
    int rc = xo_args_parse(&usage, argc, argv, &nrest);
    if (rc == XO_GO_ON) {
        xo_out_log(a.verbose);
        rc = run(&usage, &a);
    }
    xo_list_free(&a.topics);
    xonce_config_free(a.config);
    return rc;
}
