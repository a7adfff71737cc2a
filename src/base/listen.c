/* Listening on HOST:PORT. */
#include "base/listen.h"
#include "base/mem.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int port_of(const char *text)
{
    size_t n = strspn(text, "0123456789");
    if (n < 1 || n > 5 || text[n]) {
        return -1;
    }
    long port = strtol(text, NULL, 10);
    return port > 65535 ? -1 : (int)port;
}

/* "HOST:PORT", "[HOST]:PORT" */
static xonce_status split(const char *what, const char *host_port, char *host, size_t size, const char **port)
{
    const char *colon = strrchr(host_port, ':'), *from = host_port, *to = colon;
    if (colon && *from == '[' && colon > from + 1 && colon[-1] == ']') {
        from++;
        to--;
    }
    if (!colon || to <= from || (size_t)(to - from) >= size || port_of(colon + 1) < 0) {
        return xo_fail(XONCE_E_INVALID, "%s: '%.300s' is not HOST:PORT such as 127.0.0.1:8080 (port 0: any free one)", what, host_port);
    }
    memcpy(host, from, (size_t)(to - from));
    host[to - from] = 0;
    *port = colon + 1;
    return XONCE_OK;
}

static int open_socket(const struct addrinfo *a)
{
    int on = 1, fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 1024) == 0) {
        return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static xonce_status look_at(xo_listener *l, const char *host)
{
    socklen_t size = sizeof(l->bound);
    if (getsockname(l->fd, (struct sockaddr *)&l->bound, &size) != 0) {
        return xo_fail(XONCE_E_CONNECT, "cannot listen on %s: %s", host, strerror(errno));
    }
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&l->bound;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&l->bound;
    unsigned port = ntohs(l->bound.ss_family == AF_INET6 ? v6->sin6_port : v4->sin_port);
    l->address = xo_printf(strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
    return l->address ? XONCE_OK : xo_nomem();
}

xonce_status xo_listen(xo_listener *out, const char *what, const char *host_port)
{
    char host[256];
    const char *port = "";
    *out = (xo_listener){.fd = -1};
    xonce_status st = split(what, host_port, host, sizeof(host), &port);
    if (st != XONCE_OK) {
        return st;
    }
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0) {
        return xo_fail(XONCE_E_INVALID, "%s: cannot find the address %s: %s", what, host, gai_strerror(rc));
    }
    out->fd = open_socket(found);
    int error = errno;
    freeaddrinfo(found);
    if (out->fd < 0) {
        return xo_fail(XONCE_E_CONNECT, "%s: cannot listen on %s: %s", what, host_port, strerror(error));
    }
    st = look_at(out, host);
    if (st != XONCE_OK) {
        close(out->fd);
        out->fd = -1;
    }
    return st;
}
