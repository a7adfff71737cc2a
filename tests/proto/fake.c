/* A tiny HTTP server for tests. */
#include "tests/proto/fake.h"
#include "base/clock.h"
#include "base/text.h"
#include "proto/sign.h"
#include "proto/xml.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    fake *f;
    int socket, connection;
} peer;

const char *fake_header(const fake_request *r, const char *name)
{
    static _Thread_local char value[512];
    size_t n = strlen(name);
    value[0] = 0;
    for (const char *p = strstr(r->headers, "\r\n"); p; p = strstr(p + 2, "\r\n"))
        if (!strncasecmp(p + 2, name, n) && p[2 + n] == ':') {
            const char *v = p + 3 + n;
            v += strspn(v, " ");
            size_t len = strcspn(v, "\r\n");
            snprintf(value, sizeof value, "%.*s", (int)len, v);
            break;
        }
    return value;
}

int fake_number(const fake_request *r, const char *item)
{
    char name[64];
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%c%s=", i ? '?' : '&', item);
        const char *p = strstr(r->target, name);
        if (p)
            return (int)strtol(p + strlen(name), NULL, 10);
    }
    return -1;
}

void fake_answer(xo_buf *out, const char *status, const char *date, const char *body)
{
    char now[30];
    xo_http_date(now, xo_now_ms());
    xo_buf_printf(out, "HTTP/1.1 %s\r\nDate: %s\r\nContent-Type: text/xml;charset=utf-8\r\nContent-Length: %zu\r\n\r\n",
                  status, date ? date : now, strlen(body));
    xo_buf_str(out, body);
}

void fake_error(xo_buf *out, const char *status, const char *code)
{
    char body[512];
    snprintf(body, sizeof body,
             "<?xml version=\"1.0\" ?><Error xmlns=\"http://mq.aliyuncs.com/doc/v1\"><Code>%s</Code><Message>As the "
             "test wants it.</Message><RequestId>REQ1</RequestId><HostId>h</HostId></Error>",
             code);
    fake_answer(out, status, NULL, body);
}

void fake_message(xo_buf *out, const char *id, const char *handle, const char *body, int64_t next_consume, int times)
{
    xo_buf_printf(out, "<Message><MessageId>%s</MessageId><MessageBody>", id);
    xo_xml_escape(out, body, strlen(body));
    xo_buf_printf(out,
                  "</MessageBody><ReceiptHandle>%s</ReceiptHandle><PublishTime>%lld</PublishTime><FirstConsumeTime>1</"
                  "FirstConsumeTime><NextConsumeTime>%lld</NextConsumeTime>"
                  "<ConsumedTimes>%d</ConsumedTimes></Message>",
                  handle, (long long)xo_now_ms(), (long long)next_consume, times);
}

void fake_messages(xo_buf *out, xo_buf *list)
{
    xo_buf doc = {0};
    xo_buf_printf(&doc, "<Messages xmlns=\"http://mq.aliyuncs.com/doc/v1\">%s</Messages>", list->p ? list->p : "");
    fake_answer(out, "200 OK", NULL, doc.p);
    xo_buf_free(&doc);
    xo_buf_free(list);
}

static void check_signature(fake *f, const fake_request *r)
{
    char date[64], type[64], version[32], authorization[256], id[64], mac[29], *string;
    const char *signature;
    snprintf(date, sizeof date, "%s", fake_header(r, "date"));
    snprintf(type, sizeof type, "%s", fake_header(r, "content-type"));
    snprintf(version, sizeof version, "%s", fake_header(r, "x-mq-version"));
    snprintf(authorization, sizeof authorization, "%s", fake_header(r, "authorization"));
    const xo_header h[] = {{"date", date}, {"content-type", type}, {"x-mq-version", version}};
    int ok = !xo_string_to_sign(&string, r->method, r->target, h, 3);
    ok = ok && !xo_sign(mac, FAKE_SECRET, string) && !xo_parse_authorization(authorization, id, sizeof id, &signature);
    ok = ok && !strcmp(signature, mac) && !strcmp(id, FAKE_ID) && !strcmp(version, "2015-06-06") &&
         !*fake_header(r, "expect");
    if (!ok)
        atomic_fetch_add(&f->bad_signatures, 1);
    free(string);
}

/* Waits for bytes; 0 when the peer has gone or the server stops. */
static ssize_t more(const peer *p, xo_buf *in)
{
    char part[65536];
    struct pollfd pf = {p->socket, POLLIN, 0};
    while (!atomic_load(&p->f->stopping)) {
        if (poll(&pf, 1, 50) <= 0)
            continue;
        ssize_t n = recv(p->socket, part, sizeof part, 0);
        if (n <= 0)
            return 0;
        xo_buf_add(in, part, (size_t)n);
        return n;
    }
    return 0;
}

static int read_request(const peer *p, xo_buf *in, fake_request *r)
{
    char *end;
    while (!(end = in->p ? strstr(in->p, "\r\n\r\n") : NULL))
        if (!more(p, in))
            return 0;
    size_t head = (size_t)(end - in->p) + 4;
    *(end + 2) = 0;
    r->headers = strdup(in->p);
    if (sscanf(r->headers, "%15s %2047s", r->method, r->target) != 2)
        return 0;
    r->body_len = (size_t)strtoul(fake_header(r, "content-length"), NULL, 10);
    while (in->len < head + r->body_len)
        if (!more(p, in))
            return 0;
    r->body = malloc(r->body_len + 1);
    memcpy(r->body, in->p + head, r->body_len);
    r->body[r->body_len] = 0;
    size_t rest = in->len - head - r->body_len;
    memmove(in->p, in->p + head + r->body_len, rest);
    in->len = rest;
    in->p[rest] = 0;
    return 1;
}

static void *serve(void *arg)
{
    peer p = *(peer *)arg;
    free(arg);
    xo_buf in = {0}, out = {0};
    int go = 1;
    for (int number = 0; go; number++) {
        fake_request r;
        memset(&r, 0, sizeof r);
        r.connection = p.connection;
        r.number = number;
        go = read_request(&p, &in, &r);
        if (go) {
            fake *f = p.f;
            check_signature(f, &r);
            xo_buf_reset(&out);
            pthread_mutex_lock(&f->lock);
            fake_then then = f->respond(f, &r, &out);
            pthread_mutex_unlock(&f->lock);
            for (size_t done = 0; done < out.len;) {
                ssize_t n = send(p.socket, out.p + done, out.len - done, MSG_NOSIGNAL);
                if (n <= 0)
                    break;
                done += (size_t)n;
            }
            go = then == FAKE_KEEP;
            if (then == FAKE_HANG)
                while (more(&p, &in)) {
                }
        }
        free(r.headers);
        free(r.body);
    }
    xo_buf_free(&in);
    xo_buf_free(&out);
    shutdown(p.socket, SHUT_RDWR);
    return NULL;
}

static void *accept_loop(void *arg)
{
    fake *f = arg;
    struct pollfd pf = {f->listener, POLLIN, 0};
    while (!atomic_load(&f->stopping)) {
        if (poll(&pf, 1, 50) <= 0)
            continue;
        int s = accept(f->listener, NULL, NULL), one = 1;
        if (s < 0 || f->connections == 256)
            continue;
        setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        peer *p = malloc(sizeof *p);
        *p = (peer){f, s, f->connections};
        f->sockets[f->connections] = s;
        pthread_create(&f->workers[f->connections++], NULL, serve, p);
    }
    return NULL;
}

void fake_start(fake *f, fake_fn respond, void *arg)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof a;
    memset(f, 0, sizeof *f);
    f->respond = respond;
    f->arg = arg;
    pthread_mutex_init(&f->lock, NULL);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    f->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(f->listener, (struct sockaddr *)&a, sizeof a) || listen(f->listener, 64) ||
        getsockname(f->listener, (struct sockaddr *)&a, &n)) {
        perror("fake server");
        abort();
    }
    f->port = ntohs(a.sin_port);
    snprintf(f->uri, sizeof f->uri, "http://127.0.0.1:%d?instance=MQ_INST_t", f->port);
    pthread_create(&f->thread, NULL, accept_loop, f);
}

void fake_stop(fake *f)
{
    atomic_store(&f->stopping, 1);
    pthread_join(f->thread, NULL);
    for (int i = 0; i < f->connections; i++) {
        pthread_join(f->workers[i], NULL);
        close(f->sockets[i]);
    }
    close(f->listener);
    pthread_mutex_destroy(&f->lock);
}
