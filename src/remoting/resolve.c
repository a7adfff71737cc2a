/* Name lookups: getaddrinfo() may take as long as it likes, on a thread of its own that nobody waits for. */
#include "base/mem.h"
#include "remoting/io.h"
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct xo_lookup {
    pthread_mutex_t lock;
    char host[XO_HOST_SIZE], port[8];
    void (*done)(void *arg); /* NULL: nobody waits any more */
    void *arg;
    int ended, rc, error;
    struct addrinfo *found;
};

enum { LOOKUPS_MAX = 64 };
static atomic_int running; /* also those that nobody waits for and that hang in the system's resolver */

static int look_up(const char *host, const char *port, int flags, struct addrinfo **found)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    *found = NULL;
    return getaddrinfo(host, port, &hints, found);
}

struct addrinfo *xo_lookup_numeric(const char *host, const char *port)
{
    struct addrinfo *found;
    return look_up(host, port, AI_NUMERICHOST, &found) == 0 ? found : NULL;
}

static void destroy(xo_lookup *l)
{
    if (l->found) {
        freeaddrinfo(l->found);
    }
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static void *run(void *arg)
{
    xo_lookup *l = arg;
    struct addrinfo *found;
    int rc = look_up(l->host, l->port, 0, &found), error = errno;
    pthread_mutex_lock(&l->lock);
    l->rc = rc;
    l->error = error;
    l->found = found;
    l->ended = 1;
    int wanted = l->done != NULL;
    if (wanted) {
        l->done(l->arg);
    }
    pthread_mutex_unlock(&l->lock);
    if (!wanted) {
        destroy(l);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static int start_thread(xo_lookup *l)
{
    pthread_t thread;
    pthread_attr_t attr;
    int rc = pthread_attr_init(&attr);
    if (rc == 0) {
        rc = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        if (rc == 0) { /* signals stay blocked, as on the I/O thread */
            rc = pthread_create(&thread, &attr, run, l);
        }
        pthread_attr_destroy(&attr);
    }
    return rc;
}

xonce_status xo_lookup_start(xo_lookup **out, const char *host, const char *port, void (*done)(void *arg), void *arg)
{
    *out = NULL;
    if (atomic_fetch_add(&running, 1) >= LOOKUPS_MAX) {
        atomic_fetch_sub(&running, 1);
        return xo_fail(XONCE_E_CONNECT, "%s: %d name lookups hang already; check the DNS", host, LOOKUPS_MAX);
    }
    xo_lookup *l = xo_calloc(1, sizeof(*l));
    if (!l || pthread_mutex_init(&l->lock, NULL) != 0) {
        free(l);
        atomic_fetch_sub(&running, 1);
        return xo_nomem();
    }
    memcpy(l->host, host, strnlen(host, sizeof(l->host) - 1));
    memcpy(l->port, port, strnlen(port, sizeof(l->port) - 1));
    l->done = done;
    l->arg = arg;
    int rc = start_thread(l);
    if (rc) {
        destroy(l);
        atomic_fetch_sub(&running, 1);
        return xo_fail(XONCE_E_NOMEM, "%s: no thread for its lookup: %s", host, strerror(rc));
    }
    *out = l;
    return XONCE_OK;
}

int xo_lookup_done(xo_lookup *l, struct addrinfo **found)
{
    pthread_mutex_lock(&l->lock);
    int ended = l->ended;
    *found = l->found;
    l->found = NULL;
    pthread_mutex_unlock(&l->lock);
    if (ended && !*found) {
        (void)xo_fail(XONCE_E_CONNECT, "%s: the host is not known (%s); check its name and the DNS", l->host,
                      l->rc == EAI_SYSTEM ? strerror(l->error) : l->rc ? gai_strerror(l->rc) : "no address");
    }
    return ended;
}

void xo_lookup_free(xo_lookup *l)
{
    if (!l) {
        return;
    }
    pthread_mutex_lock(&l->lock);
    l->done = NULL;
    int ended = l->ended;
    pthread_mutex_unlock(&l->lock);
    if (ended) {
        destroy(l);
    }
}
