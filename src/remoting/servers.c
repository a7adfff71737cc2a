/* Which name servers there are, and asking them. */
#include "base/clock.h"
#include "base/config.h"
#include "base/mem.h"
#include "base/text.h"
#include "remoting/cluster_int.h"
#include "remoting/io.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SCHEME "rocketmq://"
enum { SERVERS_MAX = 64, INSTANCE_MAX = 100, PORT = 9876 };

/* ---- the URI ---- */

static xonce_status bad_server(size_t number, const char *p, size_t n, const char *what)
{
    return xo_fail(XONCE_E_INVALID, "name server %zu of the URI, \"%.*s\": %s", number, n > 60 ? 60 : (int)n, p, what);
}

static int bad_host_byte(const char *p, size_t n, int v6)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char b = (unsigned char)p[i];
        if (!isalnum(b) && !strchr(v6 ? ":.%_-" : ".-_", b)) {
            return 1;
        }
    }
    return 0;
}

/* One of the list: host, host:port, [v6], [v6]:port; appended as "host:port". */
static xonce_status add_server(xo_cluster *c, const char *p, size_t n)
{
    size_t number = c->nservers + 1;
    const char *host = p, *end = p + n, *host_end, *digits = NULL;
    int v6 = n > 0 && *p == '[';
    if (n == 0) {
        return xo_fail(XONCE_E_INVALID, "name server %zu of the URI is empty: rocketmq://host:port;host:port", number);
    }
    if (v6) {
        host++;
        host_end = memchr(p, ']', n);
        if (!host_end || (host_end + 1 < end && host_end[1] != ':')) {
            return bad_server(number, p, n, "the '[' of an IPv6 address has no ']' before the port");
        }
        digits = host_end + 1 < end ? host_end + 2 : NULL;
    } else {
        const char *colon = memchr(p, ':', n);
        if (colon && memchr(colon + 1, ':', (size_t)(end - colon - 1))) {
            return bad_server(number, p, n, "it has two ':'; write an IPv6 address as [address]:port, and ';' between name servers");
        }
        host_end = colon ? colon : end;
        digits = colon ? colon + 1 : NULL;
    }
    if (host_end == host || (size_t)(host_end - host) >= XO_HOST_SIZE) {
        return bad_server(number, p, n, host_end == host ? "no host before the port" : "the host is too long");
    }
    if (memchr(p, ',', n)) {
        return bad_server(number, p, n, "name servers are separated by ';'");
    }
    if (bad_host_byte(host, (size_t)(host_end - host), v6)) {
        return bad_server(number, p, n, "the host holds a character that no host name has");
    }
    long port = PORT;
    if (digits) {
        size_t len = (size_t)(end - digits);
        port = 0;
        for (size_t i = 0; i < len && port <= 65535; i++) {
            port = isdigit((unsigned char)digits[i]) ? port * 10 + (digits[i] - '0') : 65536;
        }
        if (len == 0 || port == 0 || port > 65535) {
            return bad_server(number, p, n, "the port is no number of 1 to 65535");
        }
    }
    if (c->nservers == SERVERS_MAX) {
        return xo_fail(XONCE_E_INVALID, "the URI names more than %d name servers", SERVERS_MAX);
    }
    char *address = xo_printf("%s%.*s%s:%ld", v6 ? "[" : "", (int)(host_end - host), host, v6 ? "]" : "", port);
    if (!address) {
        return xo_nomem();
    }
    c->servers[c->nservers++] = address;
    return XONCE_OK;
}

static xonce_status set_instance(xo_cluster *c, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)p[i]) && p[i] != '_' && p[i] != '-') {
            return xo_fail(XONCE_E_INVALID, "instance \"%.*s\": only letters, digits, _ and - may be in it", n > 60 ? 60 : (int)n, p);
        }
    }
    if (n > INSTANCE_MAX) {
        return xo_fail(XONCE_E_INVALID, "instance: it is longer than %d characters", INSTANCE_MAX);
    }
    c->instance = xo_memdup0(p, n);
    return c->instance ? XONCE_OK : xo_nomem();
}

/* "MQ_INST_x_y" at the front of the first server's name. */
static size_t instance_label(const char *server)
{
    static const char prefix[] = "MQ_INST_";
    size_t n = strcspn(server, ".:");
    if (server[n] != '.' || strncmp(server, prefix, sizeof(prefix) - 1) != 0) {
        return 0;
    }
    const char *x = server + sizeof(prefix) - 1, *underscore = memchr(x, '_', (size_t)(server + n - x));
    return underscore && underscore > x && underscore + 1 < server + n ? n : 0;
}

static xonce_status read_query(xo_cluster *c, const char *query)
{
    xo_uri u;
    char *text = xo_printf("x:?%s", query);
    xonce_status st = text ? xo_uri_parse(&u, text) : xo_nomem();
    xo_wipe_free(text);
    if (st) {
        return st;
    }
    for (size_t i = 0; i < u.nquery && !st; i++) {
        if (strcmp(u.query[i].name, "instance") != 0) {
            st = xo_fail(XONCE_E_INVALID, "the URI has ?%.60s=: only ?instance= is known", u.query[i].name);
        } else if (c->instance) {
            st = xo_fail(XONCE_E_INVALID, "the URI names the instance twice");
        } else {
            st = set_instance(c, u.query[i].value, strlen(u.query[i].value));
        }
    }
    xo_uri_free(&u);
    return st;
}

xonce_status xo_cluster_uri(xo_cluster *c, const char *uri, const xonce_config *cfg)
{
    if (!uri || strncasecmp(uri, SCHEME, strlen(SCHEME)) != 0) {
        return xo_fail(XONCE_E_INVALID, "a RocketMQ cluster is given by its name servers: rocketmq://host:port;host:port");
    }
    const char *p = uri + strlen(SCHEME), *query = strchr(p, '?');
    size_t n = query ? (size_t)(query - p) : strlen(p);
    if (strchr(p, '@')) {
        return xo_fail(XONCE_E_INVALID, "the URI of a RocketMQ cluster takes no user or password: credentials come from the environment, the configuration or a file");
    }
    if (n > 0 && p[n - 1] == '/') {
        n--;
    }
    if (memchr(p, '/', n) || memchr(p, '#', n)) {
        return xo_fail(XONCE_E_INVALID, "the URI of a RocketMQ cluster has no path: rocketmq://host:port;host:port?instance=N");
    }
    c->servers = xo_calloc(SERVERS_MAX, sizeof(*c->servers));
    xonce_status st = c->servers ? XONCE_OK : xo_nomem();
    for (size_t at = 0, len; !st; at += len + 1) {
        const char *semicolon = memchr(p + at, ';', n - at);
        len = semicolon ? (size_t)(semicolon - p) - at : n - at;
        st = add_server(c, p + at, len);
        if (!semicolon) {
            break;
        }
    }
    if (!st && query) {
        st = read_query(c, query + 1);
    }
    const char *set = xo_config_text(cfg, "instance");
    if (!st && !c->instance) {
        st = set && *set ? set_instance(c, set, strlen(set)) : set_instance(c, c->servers[0], instance_label(c->servers[0]));
    }
    return st;
}

/* ---- asking ---- */

static xonce_status ask_server(xo_cluster *c, const char *server, int32_t code, const char *topic, const char *what, xo_command *answer)
{
    xo_command request;
    char text[400];
    xo_command_init(&request, code);
    if (topic) {
        xo_command_set(&request, "topic", topic);
        xo_command_set(&request, "acceptStandardJsonOnly", "true");
    }
    xonce_status st = xo_remoting_call(c->remoting, server, &request, c->timeout, answer);
    if (!st) {
        (void)snprintf(text, sizeof(text), "%s from name server %s", what, server);
        st = xo_command_error(answer, text);
        if (st) {
            xo_error why;
            xo_error_save(&why);
            xo_command_free(answer);
            st = xo_error_restore(&why);
        }
    }
    return st;
}

xonce_status xo_cluster_question(xo_cluster *c, int32_t code, const char *topic, const char *what, xo_command *answer)
{
    size_t first = atomic_load(&c->current);
    xo_error unknown, why;
    int is_unknown = 0;
    for (size_t i = 0; i < c->nservers; i++) {
        size_t at = (first + i) % c->nservers;
        xonce_status st = ask_server(c, c->servers[at], code, topic, what, answer);
        if (!st) {
            atomic_store(&c->current, at);
            return XONCE_OK;
        }
        xo_error_save(&why);
        if (st == XONCE_E_CLOSED) {
            return st;
        }
        if (st == XONCE_E_NOT_FOUND) { /* one that was just started does not know everything yet: perhaps another does */
            unknown = why;
            is_unknown = 1;
        }
    }
    if (is_unknown) {
        return xo_error_restore(&unknown);
    }
    (void)xo_error_restore(&why);
    if (c->nservers == 1) {
        return why.pub.code;
    }
    return xo_error_context("%s: none of the %zu name servers answers, the last one said", what, c->nservers);
}
