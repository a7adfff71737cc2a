/* Ids as the Java client makes them: of messages, of this member; and its hash of texts. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "remoting/cluster.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- the address of this machine ---- */

static pthread_once_t address_once = PTHREAD_ONCE_INIT;
static unsigned char address[16];
static size_t naddress; /* 4 or 16; 0: only loopback */

static int is_private(const unsigned char *ip)
{
    return ip[0] == 10 || (ip[0] == 172 && ip[1] >= 16 && ip[1] <= 31) || (ip[0] == 192 && ip[1] == 168) || (ip[0] == 169 && ip[1] == 254);
}

/* How good an address is to name this machine by: public before private, IPv4 before IPv6; 0: not at all. */
static int rate(const struct ifaddrs *i, const unsigned char **ip, size_t *n)
{
    if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) || (i->ifa_flags & IFF_LOOPBACK)) {
        return 0;
    }
    if (i->ifa_addr->sa_family == AF_INET) {
        *ip = (const unsigned char *)&((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr;
        *n = 4;
        return (*ip)[0] == 127 || (*ip)[0] == 0 ? 0 : is_private(*ip) ? 3 : 4;
    }
    if (i->ifa_addr->sa_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr;
        *ip = v6->s6_addr;
        *n = 16;
        return IN6_IS_ADDR_LOOPBACK(v6) ? 0 : IN6_IS_ADDR_LINKLOCAL(v6) ? 1 : 2;
    }
    return 0;
}

static void find_address(void)
{
    struct ifaddrs *all;
    int best = 0;
    if (getifaddrs(&all) != 0) {
        return;
    }
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        const unsigned char *ip = NULL;
        size_t n = 0;
        int score = rate(i, &ip, &n);
        if (score > best) {
            best = score;
            memcpy(address, ip, n);
            naddress = n;
        }
    }
    freeifaddrs(all);
}

/* ---- UNIQ_KEY ---- */

static pthread_mutex_t uniq_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    pid_t pid;
    uint32_t nonce;              /* of this process and month */
    int64_t month, month_end;    /* ms since the epoch: its begin, and the next one's */
    int64_t last;                /* ms since the month's begin << 16 | counter */
} uniq;

/* The months of local time, as in Java. */
static void new_month(int64_t now)
{
    time_t s = (time_t)(now / 1000);
    struct tm t;
    uniq.nonce = (uint32_t)xo_random();
    uniq.last = -1;
    uniq.month = now - now % 86400000;
    uniq.month_end = uniq.month + INT64_C(28) * 86400000;
    if (localtime_r(&s, &t)) {
        struct tm begin = {.tm_year = t.tm_year, .tm_mon = t.tm_mon, .tm_mday = 1, .tm_isdst = -1};
        struct tm end = {.tm_year = t.tm_year, .tm_mon = t.tm_mon + 1, .tm_mday = 1, .tm_isdst = -1};
        int64_t from = (int64_t)mktime(&begin) * 1000, to = (int64_t)mktime(&end) * 1000;
        if (from <= now && to > now) {
            uniq.month = from;
            uniq.month_end = to;
        }
    }
}

/* A number that only grows, also when the clock does not, or 65536 ids were made in a millisecond; and what belongs to it. */
static int64_t next_number(pid_t pid, uint32_t *nonce)
{
    int64_t now = xo_now_ms();
    pthread_mutex_lock(&uniq_lock);
    if (uniq.pid != pid || now >= uniq.month_end || now < uniq.month) {
        uniq.pid = pid; /* a child of fork() must not go on with its parent's */
        new_month(now);
    }
    int64_t least = (now - uniq.month) << 16;
    uniq.last = uniq.last >= least ? uniq.last + 1 : least;
    int64_t number = uniq.last;
    *nonce = uniq.nonce;
    pthread_mutex_unlock(&uniq_lock);
    return number;
}

void xo_make_uniq(char out[XO_UNIQ_SIZE])
{
    unsigned char id[28];
    uint32_t nonce;
    pthread_once(&address_once, find_address);
    pid_t pid = getpid();
    int64_t number = next_number(pid, &nonce);
    size_t n = naddress ? naddress : 4;
    static const unsigned char loopback[4] = {127, 0, 0, 1};
    memcpy(id, naddress ? address : loopback, n);
    uint32_t ms = (uint32_t)(number >> 16);
    const unsigned char rest[12] = {(unsigned char)(pid >> 8), (unsigned char)pid, (unsigned char)(nonce >> 24), (unsigned char)(nonce >> 16),
                                    (unsigned char)(nonce >> 8), (unsigned char)nonce, (unsigned char)(ms >> 24), (unsigned char)(ms >> 16),
                                    (unsigned char)(ms >> 8), (unsigned char)ms, (unsigned char)(number >> 8), (unsigned char)number};
    memcpy(id + n, rest, sizeof(rest));
    xo_hex(out, id, n + sizeof(rest), 1);
}

/* ---- the member ---- */

xonce_status xo_make_client_id(char *out, size_t size, const char *instance, const char *suffix)
{
    char ip[INET6_ADDRSTRLEN] = "127.0.0.1", own[64];
    pthread_once(&address_once, find_address);
    if (naddress && !inet_ntop(naddress == 4 ? AF_INET : AF_INET6, address, ip, sizeof(ip))) {
        (void)snprintf(ip, sizeof(ip), "127.0.0.1");
    }
    (void)snprintf(own, sizeof(own), "%ld#%016" PRIx64, (long)getpid(), xo_random());
    int n = snprintf(out, size, "%s@%s%s%s", ip, instance && *instance ? instance : own, suffix && *suffix ? "#" : "", suffix ? suffix : "");
    if (n < 0 || (size_t)n >= size) {
        return xo_fail(XONCE_E_INVALID, "rocketmq.instance-name: the client id made of it is longer than %zu characters", size - 1);
    }
    return XONCE_OK;
}

/* ---- String.hashCode ---- */

/* The next character; what is no UTF-8 counts as U+FFFD, a byte at a time. */
static uint32_t next_character(const char **p)
{
    const unsigned char *s = (const unsigned char *)*p;
    size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2, bad = 0;
    if (strnlen(*p, n) < n || !xo_utf8_valid(*p, n, &bad)) {
        ++*p;
        return 0xfffd;
    }
    static const unsigned char lead[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = s[0] & lead[n];
    for (size_t i = 1; i < n; i++) {
        c = c << 6 | (s[i] & 0x3f);
    }
    *p += n;
    return c;
}

int32_t xo_java_hash(const char *utf8)
{
    uint32_t h = 0;
    while (*utf8) {
        uint32_t c = next_character(&utf8);
        if (c >= 0x10000) {
            h = 31 * h + (0xd800 + ((c - 0x10000) >> 10));
            c = 0xdc00 + ((c - 0x10000) & 0x3ff);
        }
        h = 31 * h + c;
    }
    return (int32_t)h;
}
