/* The bare HTTP client of wire.h. */
#include "tests/proto/wire.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proto/xml.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

int wire_open(wire *w, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    wire_close(w);
    w->port = port;
    w->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (w->fd >= 0 && connect(w->fd, (struct sockaddr *)&a, sizeof a) == 0) {
        (void)setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        return 0;
    }
    wire_close(w);
    return -1;
}

void wire_close(wire *w)
{
    if (w->fd > 0)
        close(w->fd);
    w->fd = 0;
    xo_buf_reset(&w->in);
}

void wire_free(wire *w)
{
    wire_close(w);
    xo_buf_free(&w->in);
    xo_buf_free(&w->head);
    xo_buf_free(&w->body);
}

int wire_write(wire *w, const char *text, size_t n)
{
    while (n) {
        ssize_t k = send(w->fd, text, n, MSG_NOSIGNAL);
        if (k <= 0)
            return -1;
        text += k;
        n -= (size_t)k;
    }
    return 0;
}

/* More input; 0 or -1 at the end or when the time is up. */
static int more(wire *w, int64_t until)
{
    char part[65536];
    int64_t left = until - xo_mono_ms();
    struct pollfd p = {.fd = w->fd, .events = POLLIN};
    if (poll(&p, 1, left > 0 ? (int)left : 0) <= 0)
        return -1;
    ssize_t n = recv(w->fd, part, sizeof part, 0);
    if (n <= 0)
        return -1;
    xo_buf_add(&w->in, part, (size_t)n);
    return 0;
}

static long header_number(const xo_buf *head, const char *name)
{
    const char *at = strcasestr(head->p, name);
    return at ? strtol(at + strlen(name), NULL, 10) : -1;
}

static void use(wire *w, size_t n)
{
    memmove(w->in.p, w->in.p + n, w->in.len - n);
    w->in.len -= n;
    w->in.p[w->in.len] = 0;
}

int wire_read(wire *w, int timeout_ms)
{
    int64_t until = xo_mono_ms() + timeout_ms;
    const char *end;
    w->status = 0;
    xo_buf_reset(&w->head);
    xo_buf_reset(&w->body);
    while (!w->in.len || !(end = strstr(w->in.p, "\r\n\r\n")))
        if (more(w, until) != 0)
            return 0;
    size_t head = (size_t)(end - w->in.p) + 4;
    xo_buf_add(&w->head, w->in.p, head);
    use(w, head);
    int status = (int)strtol(w->head.p + 9, NULL, 10);
    if (status == 100)
        return w->status = status;
    long length = header_number(&w->head, "\r\nContent-Length:");
    for (size_t n = length > 0 ? (size_t)length : 0; w->in.len < n;)
        if (more(w, until) != 0)
            return 0;
    if (length > 0) {
        xo_buf_add(&w->body, w->in.p, (size_t)length);
        use(w, (size_t)length);
    }
    if (strcasestr(w->head.p, "\r\nConnection: close"))
        wire_close(w);
    return w->status = status;
}

int wire_call(wire *w, const char *method, const char *target, const char *body)
{
    xo_buf b = {0};
    w->status = 0;
    if (w->fd <= 0 && wire_open(w, w->port) != 0)
        return 0;
    xo_buf_printf(&b, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nx-mq-version: 2015-06-06\r\n", method, target, w->port);
    if (body)
        xo_buf_printf(&b, "Content-Type: text/xml\r\nContent-Length: %zu\r\n", strlen(body));
    xo_buf_str(&b, "\r\n");
    if (body)
        xo_buf_str(&b, body);
    int bad = wire_write(w, b.p, b.len);
    xo_buf_free(&b);
    if (!bad && wire_read(w, 40000) != 0)
        return w->status;
    wire_close(w);
    return 0;
}

/* Where the n-th element's text begins and ends. */
static const char *locate(const wire *w, const char *name, int n, const char **end)
{
    char *open = xo_printf("<%s>", name), *stop = xo_printf("</%s>", name);
    const char *at = w->body.p, *found = NULL;
    for (; at && open && (at = strstr(at, open)); n--) {
        at += strlen(open);
        if (n == 0) {
            found = at;
            *end = strstr(at, stop);
            break;
        }
    }
    free(open);
    free(stop);
    return found;
}

char *wire_element(const wire *w, const char *name, int n)
{
    static const struct {
        const char *from, *to;
    } escapes[] = {{"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#13;", "\r"}, {"&amp;", "&"}};
    const char *end = NULL, *p = locate(w, name, n, &end);
    xo_buf b = {0};
    if (!p || !end)
        return NULL;
    while (p < end) {
        size_t i = 0, known = sizeof escapes / sizeof escapes[0];
        while (i < known && strncmp(p, escapes[i].from, strlen(escapes[i].from)) != 0)
            i++;
        if (i < known)
            xo_buf_str(&b, escapes[i].to);
        else
            xo_buf_char(&b, *p);
        p += i < known ? strlen(escapes[i].from) : 1;
    }
    return xo_buf_take(&b);
}

int wire_count(const wire *w, const char *name)
{
    const char *end;
    int n = 0;
    while (locate(w, name, n, &end))
        n++;
    return n;
}

static void element(xo_buf *b, const char *name, const char *text)
{
    if (!text)
        return;
    xo_buf_printf(b, "<%s>", name);
    xo_xml_escape(b, text, strlen(text));
    xo_buf_printf(b, "</%s>", name);
}

int wire_send(wire *w, const char *topic, const char *body, const char *tag, const char *properties)
{
    xo_buf b = {0}, target = {0};
    xo_buf_printf(&target, "/topics/%s/messages", topic);
    xo_buf_str(&b, "<Message>");
    element(&b, "MessageBody", body);
    element(&b, "MessageTag", tag);
    element(&b, "Properties", properties);
    xo_buf_str(&b, "</Message>");
    int status = wire_call(w, "POST", target.p, b.p);
    xo_buf_free(&b);
    xo_buf_free(&target);
    return status;
}

int wire_consume(wire *w, const char *topic, const char *group, int max, int wait_s, const char *more_items)
{
    xo_buf target = {0};
    xo_buf_printf(&target, "/topics/%s/messages?consumer=%s&numOfMessages=%d", topic, group, max);
    if (wait_s)
        xo_buf_printf(&target, "&waitseconds=%d", wait_s);
    xo_buf_str(&target, more_items ? more_items : "");
    int status = wire_call(w, "GET", target.p, NULL);
    xo_buf_free(&target);
    return status;
}

int wire_ack(wire *w, const char *topic, const char *group, char *const *handles, int n, const char *more_items)
{
    xo_buf b = {0}, target = {0};
    xo_buf_printf(&target, "/topics/%s/messages?consumer=%s%s", topic, group, more_items ? more_items : "");
    xo_buf_str(&b, "<ReceiptHandles>");
    for (int i = 0; i < n; i++)
        element(&b, "ReceiptHandle", handles[i]);
    xo_buf_str(&b, "</ReceiptHandles>");
    int status = wire_call(w, "DELETE", target.p, b.p);
    xo_buf_free(&b);
    xo_buf_free(&target);
    return status;
}
