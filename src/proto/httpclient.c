/* One signed request of the HTTP protocol over libcurl. */
#include "proto/httpclient.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/mem.h"
#include "base/text.h"
#include "proto/properties.h"
#include "proto/xml.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* 16 messages of 4 MiB in which every character is an escape of five, and their frames */
#define ANSWER_MAX ((size_t)352 * 1024 * 1024)

/* ---- endpoint ---- */

static int is_loopback(const char *host)
{
    size_t n = strlen(host);
    return !strncmp(host, "127.", 4) || !strcmp(host, "::1") || !strcasecmp(host, "localhost") ||
           (n > 10 && !strcasecmp(host + n - 10, ".localhost"));
}

static xonce_status check_uri(const xo_uri *u)
{
    if (strcmp(u->scheme, "http") && strcmp(u->scheme, "https"))
        return xo_fail(XONCE_E_INVALID, "an endpoint is http://host:port or https://host, not %.40s:", u->scheme);
    if (u->user || u->password)
        return xo_fail(XONCE_E_INVALID, "an endpoint's URI takes no user or password: credentials come from the "
                                        "environment, the configuration or a file");
    if (!*u->host)
        return xo_fail(XONCE_E_INVALID, "the endpoint's URI names no host: http://host:port");
    if (*u->path && strcmp(u->path, "/"))
        return xo_fail(XONCE_E_INVALID,
                       "the endpoint's URI ends with the path %.100s: only http://host:port is an endpoint", u->path);
    for (const char *p = u->host; *p; p++)
        if ((unsigned char)*p <= 0x20 || strchr("/?#@\\", *p))
            return xo_fail(XONCE_E_INVALID, "the endpoint's host holds byte 0x%02x", (unsigned char)*p);
    for (size_t i = 0; i < u->nquery; i++)
        if (strcmp(u->query[i].name, "instance"))
            return xo_fail(XONCE_E_INVALID, "the endpoint's URI has ?%.60s=: only ?instance= is known",
                           u->query[i].name);
    return XONCE_OK;
}

static xonce_status fill_endpoint(xo_http_endpoint *e, const xo_uri *u, const xonce_config *cfg)
{
    const char *instance = xo_uri_query(u, "instance"), *cacert = xo_config_text(cfg, "http.cacert");
    if (!instance)
        instance = xo_config_text(cfg, "instance");
    if (instance && *instance) {
        xonce_status st = xo_check_url_name("instance", instance);
        if (st)
            return st;
    }
    if (cacert && *cacert && access(cacert, R_OK))
        return xo_fail(XONCE_E_INVALID, "http.cacert: the file %.200s cannot be read", cacert);
    int v6 = strchr(u->host, ':') != NULL;
    e->base = u->port ? xo_printf("%s://%s%s%s:%d", u->scheme, v6 ? "[" : "", u->host, v6 ? "]" : "", u->port)
                      : xo_printf("%s://%s%s%s", u->scheme, v6 ? "[" : "", u->host, v6 ? "]" : "");
    e->instance = xo_strdup(instance ? instance : "");
    e->cacert = cacert && *cacert ? xo_strdup(cacert) : NULL;
    e->loopback = is_loopback(u->host);
    e->connect_ms = xo_config_int(cfg, "http.connect-timeout");
    if (!e->base || !e->instance || (cacert && *cacert && !e->cacert))
        return xo_nomem();
    if (!e->loopback)
        return xo_credentials_load(&e->credentials, cfg);
    int found; /* an endpoint on this machine may want none */
    return xo_credentials_find(&e->credentials, cfg, &found);
}

xonce_status xo_http_endpoint_open(xo_http_endpoint *out, const char *uri, const xonce_config *cfg)
{
    xo_uri u;
    memset(out, 0, sizeof *out);
    xonce_status st = xo_uri_parse(&u, uri);
    if (st)
        return st == XONCE_E_INVALID ? xo_error_context("an endpoint is http://host:port or https://host") : st;
    st = check_uri(&u);
    if (!st)
        st = fill_endpoint(out, &u, cfg);
    xo_uri_free(&u);
    if (st)
        xo_http_endpoint_close(out);
    return st;
}

void xo_http_endpoint_close(xo_http_endpoint *e)
{
    if (!e)
        return;
    free(e->base);
    free(e->instance);
    free(e->cacert);
    xo_credentials_free(&e->credentials);
    memset(e, 0, sizeof *e);
}

xonce_status xo_http_target(xo_buf *out, const xo_http_endpoint *e, const char *topic, const char *group)
{
    xonce_status st = xo_check_url_name("topic", topic);
    if (!st && group)
        st = xo_check_url_name("consumer group", group);
    if (st)
        return st;
    xo_buf_printf(out, "/topics/%s/messages", topic);
    if (group)
        xo_buf_printf(out, "?consumer=%s", group);
    if (*e->instance)
        xo_buf_printf(out, "%cns=%s", group ? '&' : '?', e->instance);
    return xo_buf_status(out);
}

/* ---- a call ---- */

static void initialise(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

xonce_status xo_http_call_init(xo_http_call *c)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialise);
    memset(c, 0, sizeof *c);
    c->date_ms = -1;
    c->answer.max = ANSWER_MAX;
    return (c->easy = curl_easy_init()) ? XONCE_OK : xo_nomem();
}

void xo_http_call_free(xo_http_call *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->easy);
    xo_buf_free(&c->authorization);
    xo_buf_free(&c->url);
    xo_wipe_free(c->token);
    xo_buf_free(&c->request);
    xo_buf_free(&c->answer);
    memset(c, 0, sizeof *c);
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    xo_http_call *c = arg;
    xo_buf_add(&c->answer, p, size * n);
    return c->answer.failed ? 0 : size * n;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    xo_http_call *c = arg;
    size_t len = size * n;
    char line[128];
    if (len >= 5 && !memcmp(p, "HTTP/", 5)) {
        c->date_ms = -1;
        c->content_type[0] = 0;
        return len;
    }
    size_t keep = len < sizeof line ? len : sizeof line - 1;
    memcpy(line, p, keep);
    line[keep] = 0;
    line[strcspn(line, "\r\n")] = 0;
    if (!strncasecmp(line, "date:", 5)) {
        xo_error before; /* a bad Date is not this call's error */
        xo_error_save(&before);
        if (xo_parse_http_date(line + 5, &c->date_ms))
            (void)xo_error_restore(&before);
    } else if (!strncasecmp(line, "content-type:", 13)) {
        (void)snprintf(c->content_type, sizeof c->content_type, "%s", line + 13 + strspn(line + 13, " \t"));
    }
    return len;
}

/* Called when a connection is ready, before the request goes out. The second time libcurl found the reused connection
   dead and would send again on a new one, although the first may have been carried out. */
static int on_ready(void *arg, char *to, char *from, int to_port, int from_port)
{
    (void)to, (void)from, (void)to_port, (void)from_port;
    xo_http_call *c = arg;
    return c->sends++ && c->once ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* The lines of a request's head that are signed or sign; the date is new each time. */
static char content_type[] = "Content-Type: text/xml;charset=utf-8", version[] = "x-mq-version: 2015-06-06", no_expect[] = "Expect:";

static const char *value_of(const char *line)
{
    return strchr(line, ':') + 2;
}

static xonce_status sign(xo_http_call *c, const xo_http_endpoint *e, const char *method, const char *target)
{
    char mac[29], *string = NULL;
    memcpy(c->date, "Date: ", 6);
    c->sent_ms = xo_now_ms();
    xo_http_date(c->date + 6, c->sent_ms);
    xo_buf_reset(&c->authorization);
    if (!e->credentials.access_key_id)
        return XONCE_OK;
    const xo_header h[] = {{"Content-Type", value_of(content_type)}, {"Date", c->date + 6}, {"x-mq-version", value_of(version)}};
    xonce_status st = xo_string_to_sign(&string, method, target, h, sizeof h / sizeof *h);
    if (!st)
        st = xo_sign(mac, e->credentials.access_key_secret, string);
    free(string);
    if (st)
        return st;
    xo_buf_str(&c->authorization, "Authorization: MQ ");
    xo_buf_str(&c->authorization, e->credentials.access_key_id);
    xo_buf_char(&c->authorization, ':');
    xo_buf_str(&c->authorization, mac);
    return xo_buf_status(&c->authorization);
}

/* The lines are the call's own memory: a list of curl's would be copied for each request. */
static void set_headers(xo_http_call *c)
{
    char *lines[XO_HTTP_HEADERS] = {content_type, c->date, version, no_expect};
    int n = 4;
    if (c->authorization.len)
        lines[n++] = c->authorization.p;
    if (c->token)
        lines[n++] = c->token;
    for (int i = 0; i < n; i++)
        c->headers[i] = (struct curl_slist){lines[i], i + 1 < n ? &c->headers[i + 1] : NULL};
}

static xonce_status set_up(xo_http_call *c, const xo_http_endpoint *e)
{
    CURL *h = c->easy;
    curl_easy_reset(h); /* keeps its connections */
    curl_easy_setopt(h, CURLOPT_ERRORBUFFER, c->error);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L); /* a signature is good for one target */
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(h, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, 2L);
    if (e->cacert)
        curl_easy_setopt(h, CURLOPT_CAINFO, e->cacert);
    if (e->loopback)
        curl_easy_setopt(h, CURLOPT_PROXY, "");
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)e->connect_ms);
    curl_easy_setopt(h, CURLOPT_USERAGENT, "xonce/" XONCE_VERSION);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(h, CURLOPT_PREREQFUNCTION, on_ready);
    curl_easy_setopt(h, CURLOPT_PREREQDATA, c);
    curl_easy_setopt(h, CURLOPT_PRIVATE, c);
    curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
    xo_wipe_free(c->token);
    c->token = NULL;
    if (e->credentials.security_token && !(c->token = xo_printf("security-token: %s", e->credentials.security_token)))
        return xo_nomem();
    c->set_up = e;
    return XONCE_OK;
}

static void set_method(xo_http_call *c, const char *method)
{
    int get = !strcmp(method, "GET");
    c->once = !strcmp(method, "POST");
    if (get) {
        curl_easy_setopt(c->easy, CURLOPT_HTTPGET, 1L);
    } else {
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->request.len);
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, c->request.p ? c->request.p : "");
    }
    curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, get || c->once ? NULL : method);
}

xonce_status xo_http_prepare(xo_http_call *c, const xo_http_endpoint *e, const char *method, const char *target,
                             int64_t timeout_ms)
{
    xonce_status st = xo_buf_status(&c->request);
    if (!st)
        st = sign(c, e, method, target);
    if (!st && c->set_up != e)
        st = set_up(c, e);
    if (st)
        return st;
    xo_buf_reset(&c->url);
    xo_buf_str(&c->url, e->base);
    xo_buf_str(&c->url, target);
    if ((st = xo_buf_status(&c->url)))
        return st;
    xo_buf_reset(&c->answer);
    c->status = 0;
    c->date_ms = -1;
    c->content_type[0] = c->error[0] = 0;
    c->sends = c->retry_hint = 0;
    set_method(c, method);
    set_headers(c);
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    if (curl_easy_setopt(c->easy, CURLOPT_URL, c->url.p) != CURLE_OK ||
        curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers) != CURLE_OK)
        return xo_nomem();
    return XONCE_OK;
}

/* The endpoint as the user named it, for errors. */
static void name_endpoint(const xo_http_call *c, char *out, size_t size)
{
    const char *url = c->url.p ? c->url.p : "", *slash = strstr(url, "://");
    size_t n = slash ? (size_t)(slash - url) + 3 + strcspn(slash + 3, "/") : 0;
    (void)snprintf(out, size, "%.*s", (int)n, url);
}

static xonce_status transport_error(const xo_http_call *c, CURLcode rc, const char *where)
{
    const char *text = c->error[0] ? c->error : curl_easy_strerror(rc);
    switch (rc) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return xo_fail(XONCE_E_CONNECT, "%s: the host is not known (%s); check its name and the DNS", where, text);
    case CURLE_COULDNT_CONNECT:
        return xo_fail(XONCE_E_CONNECT, "%s: cannot connect (%s); check that the endpoint runs, and its host and port",
                       where, text);
    case CURLE_OPERATION_TIMEDOUT:
        if (c->retry_hint)
            return xo_fail(XONCE_E_TIMEOUT, "%s: no connection in time (%s); check host, port and firewall", where,
                           text);
        return xo_fail(XONCE_E_TIMEOUT, "%s: no complete answer in time (%s)", where, text);
    case CURLE_WRITE_ERROR:
        if (c->answer.failed && c->answer.len < c->answer.max / 2)
            return xo_nomem();
        return xo_fail(XONCE_E_PROTOCOL, "%s: the answer is larger than %zu bytes", where, c->answer.max);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CONNECT_ERROR:
        return xo_fail(XONCE_E_CONNECT,
                       "%s: TLS failed (%s); for a certificate of your own name its CA with http.cacert", where, text);
    case CURLE_ABORTED_BY_CALLBACK:
        return xo_fail(XONCE_E_CONNECT, "%s: the connection was closed before an answer came", where);
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
        return xo_fail(XONCE_E_PROTOCOL, "%s: the answer is not HTTP (%s); is it the right port?", where, text);
    case CURLE_OUT_OF_MEMORY: return xo_nomem();
    default: return xo_fail(XONCE_E_CONNECT, "%s: the exchange broke off (%s)", where, text);
    }
}

xonce_status xo_http_finish(xo_http_call *c, CURLcode rc)
{
    char where[256];
    c->retry_hint = rc != CURLE_OK && c->sends == 0;
    if (rc == CURLE_OK) {
        curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &c->status);
        if (c->status > 0)
            return XONCE_OK;
        rc = CURLE_WEIRD_SERVER_REPLY;
    }
    name_endpoint(c, where, sizeof where);
    return transport_error(c, rc, where);
}

/* OpenSSL writes to a closed connection raise SIGPIPE; the caller's thread must not see it, and the process's handlers
 * are not ours to change. */
xonce_status xo_http_perform(xo_http_call *c)
{
    sigset_t pipe_only, before, pending;
    const struct timespec no_time = {0, 0};
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    int was_pending = !sigpending(&pending) && sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    CURLcode rc = curl_easy_perform(c->easy);
    if (!was_pending)
        while (sigtimedwait(&pipe_only, NULL, &no_time) == SIGPIPE) {
        }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return xo_http_finish(c, rc);
}

/* ---- errors of the endpoint ---- */

typedef struct {
    const char *code;
    xonce_status status;
    int again;
    const char *advice;
} known_error;
static const known_error known[] = {
    {"AccessDenied", XONCE_E_AUTH, 0, "; the account lacks a right on this topic or group"},
    {"InvalidAccessKeyId", XONCE_E_AUTH, 0, "; check ALIBABA_CLOUD_ACCESS_KEY_ID or the credentials file"},
    {"SignatureDoesNotMatch", XONCE_E_AUTH, 0, "; check ALIBABA_CLOUD_ACCESS_KEY_SECRET or the credentials file"},
    {"TimeExpired", XONCE_E_AUTH, 0, ""},
    {"TopicNotExist", XONCE_E_NOT_FOUND, 0, "; check topic and instance"},
    {"SubscriptionNotExist", XONCE_E_NOT_FOUND, 0, "; check group and instance"},
    {"MessageNotExist", XONCE_E_NOT_FOUND, 0, ""},
    {"InvalidArgument", XONCE_E_INVALID, 0, ""},
    {"MissingReceiptHandle", XONCE_E_PROTOCOL, 0, ""},
    {"ReceiptHandleError", XONCE_E_PROTOCOL, 0, ""},
    {"InvalidAuthorizationHeader", XONCE_E_AUTH, 0, ""},
    {"MissingAuthorizationHeader", XONCE_E_AUTH, 0, "; set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, or name a credentials file"},
    {"InvalidDateHeader", XONCE_E_PROTOCOL, 0, ""},
    {"MissingDateHeader", XONCE_E_PROTOCOL, 0, ""},
    {"InvalidDigest", XONCE_E_PROTOCOL, 0, ""},
    {"InvalidRequestURL", XONCE_E_INVALID, 0, "; check topic, group and instance"},
    {"InvalidQueryString", XONCE_E_INVALID, 0, "; check group, instance and tags"},
    {"MalformedXML", XONCE_E_PROTOCOL, 0, ""},
    {"HTTPForbidden", XONCE_E_PROTOCOL, 0, "; use a consumer group of its own for HTTP"},
};

static const known_error *look_up(const char *code)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].code, code))
            return &known[i];
    return NULL;
}

static void clock_advice(const xo_http_call *c, char *out, size_t size)
{
    int64_t off = c->sent_ms - c->date_ms;
    if (c->date_ms < 0)
        (void)snprintf(out, size, "; compare this machine's clock with the server's");
    else
        (void)snprintf(out, size, "; this machine's clock is %lld s %s the server's: set it right",
                       (long long)((off < 0 ? -off : off) / 1000), off < 0 ? "behind" : "ahead of");
}

/* The server's words as one line of at most size - 1 bytes, cut between characters. */
static const char *one_line(char *out, size_t size, const char *s)
{
    size_t n = strlen(s);
    if (n >= size)
        for (n = size - 1; n && ((unsigned char)s[n] & 0xc0) == 0x80;)
            n--;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)s[i] < 0x20 || s[i] == 0x7f ? ' ' : s[i];
    out[n] = 0;
    return out;
}

static xonce_status from_document(const xo_http_call *c, const char *what, const xo_xml_error *e)
{
    const known_error *k = look_up(e->code);
    char advice[128], error_code[64], message[160], request[48];
    (void)snprintf(advice, sizeof advice, "%s", k ? k->advice : "");
    if (!strcmp(e->code, "TimeExpired"))
        clock_advice(c, advice, sizeof advice);
    xonce_status st = k ? k->status : c->status == 401 || c->status == 403 ? XONCE_E_AUTH : XONCE_E_PROTOCOL;
    st = xo_fail(st, "%s: %s: %s%s (request %s)", what, one_line(error_code, sizeof error_code, e->code),
                 one_line(message, sizeof message, e->message), advice,
                 one_line(request, sizeof request, e->request_id));
    xo_error_set_native((int)c->status, k ? k->again : 1);
    return st;
}

xonce_status xo_http_error(const xo_http_call *c, const char *what, char *code)
{
    xo_xml_error e;
    char where[256];
    if (code)
        code[0] = 0;
    xonce_status st = xo_xml_read_error(&e, c->answer.p ? c->answer.p : "", c->answer.len);
    if (st == XONCE_OK) {
        if (code)
            (void)one_line(code, 64, e.code);
        st = from_document(c, what, &e);
        xo_xml_error_free(&e);
        return st;
    }
    if (st == XONCE_E_NOMEM)
        return st;
    name_endpoint(c, where, sizeof where);
    st = xo_fail(c->status == 401 || c->status == 403 ? XONCE_E_AUTH : XONCE_E_PROTOCOL,
                 "%s: %s answered %ld %.60s without an error document of the RocketMQ HTTP protocol; is it the right "
                 "endpoint, or is there a proxy between?",
                 what, where, c->status, c->content_type[0] ? c->content_type : "(no content type)");
    xo_error_set_native((int)c->status, 1);
    return st;
}
