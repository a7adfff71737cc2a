/* A server that speaks remoting and misbehaves on order: each request says what is to be done with it. One thread per connection. */
#ifndef XO_TEST_PEER_H
#define XO_TEST_PEER_H
#include "remoting/command.h"
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

/* extField "do" of a request:
 *   echo     (also when absent) answered with code 0, its body and its fields
 *   hold     kept; answered by the next release, last first
 *   release  answers what is held, then itself
 *   never    not answered
 *   late     answered after "ms"
 *   twice    answered twice
 *   code     answered with the code in "code" and the remark "as told"
 *   cut      half of an answer, then the connection is closed
 *   close    the connection is closed
 *   raw      its body is sent as it is, then the connection stays as it is
 *   goaway   answered with 1500; 100 ms later what is held is answered
 *   ask      the server sends a request of code "code" ("oneway" set: as such) and answers when its answer came, with that answer's code and body
 *   stop     nothing is read any more until peer_go()
 */
enum { PEER_CONNECTIONS = 128 };
typedef struct peer peer;
struct peer {
    /* When set, it fills in the answer (code 0 by now) instead of all the above. 0: no answer. Set before the first connection. */
    int (*serve)(peer *p, const xo_command *request, xo_command *answer);
    void *arg;
    int listener, port;
    char address[40];
    SSL_CTX *tls;                  /* NULL: plain */
    pthread_t thread;
    pthread_t workers[PEER_CONNECTIONS];
    int sockets[PEER_CONNECTIONS]; /* -1: closed */
    int connections;               /* accepted so far */
    pthread_mutex_t lock;
    atomic_int stopping, go, requests, oneways, ended; /* ended: connections that the client closed */
    atomic_int signed_requests;
};
void peer_start(peer *p, SSL_CTX *tls, int port); /* port 0: any */
void peer_stop(peer *p);
int peer_connections(peer *p);
void peer_cut(peer *p);                           /* closes every connection */
void peer_go(peer *p);
/* A port of this machine where nobody listens. */
int peer_free_port(void);
/* An address where connections are neither made nor refused; close(*fd) etc. by peer_hang_stop. */
typedef struct {
    int fds[16];
    size_t n;
    char address[40];
} peer_hang;
int peer_hang_start(peer_hang *h);                /* 0: this system does it otherwise */
void peer_hang_stop(peer_hang *h);
#endif
