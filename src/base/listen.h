/* A listening TCP socket from "HOST:PORT". */
#ifndef XO_LISTEN_H
#define XO_LISTEN_H
#include "base/error.h"
#include <sys/socket.h>
typedef struct {
    int fd;                        /* not blocking, closed on exec */
    char *address;                 /* "127.0.0.1:8080", "[::1]:8080": the host as it was asked for, the port as it is. The caller frees */
    struct sockaddr_storage bound;
} xo_listener;
/* Listens on HOST:PORT or [HOST]:PORT, port 0: any free one, and on nothing else. what begins the errors: "--listen". */
xonce_status xo_listen(xo_listener *out, const char *what, const char *host_port);
#endif
